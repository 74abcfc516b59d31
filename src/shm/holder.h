// holder.h: who holds something in shared memory, and whether it lives.
//
// A process is one word: its id in the low 24 bits (Linux has at most 2^22), the time of its
// start above.  So it is written by one store, and a later process with the same id is
// another.
#ifndef WEFT_SHM_HOLDER_H
#define WEFT_SHM_HOLDER_H

#include <stdint.h>

namespace weft {

// This process, also after a fork.  Never 0, never ~0.
uint64_t holder_self(void);

// The same if it was asked for before, else 0; a load.
extern uint64_t *holder_page __attribute__((visibility("hidden")));
static inline uint64_t holder_known(void)
{
    uint64_t *page = __atomic_load_n(&holder_page, __ATOMIC_ACQUIRE);
    return page != nullptr ? __atomic_load_n(page, __ATOMIC_RELAXED) : 0;
}

// Whether it lives; a zombie doesn't.  Some ten microseconds.  Leaves errno alone.
bool holder_lives(uint64_t who);

} // namespace weft

#endif
