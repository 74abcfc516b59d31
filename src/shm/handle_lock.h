// handle_lock.h: the private lock of a handle that forked children use too.
//
// Another thread may hold it at the moment of a fork, and does not exist in the child: there a
// plain mutex stays locked for ever.  Here the owner's word says which process it is in
// (holder.h), and what is another's counts as free.  So whoever takes it in a child may find
// what it guards half changed, and must not trust it before it has seen whose it is.
#ifndef WEFT_SHM_HANDLE_LOCK_H
#define WEFT_SHM_HANDLE_LOCK_H

#include "holder.h"

#include <base/futex.h>

namespace weft {

struct handle_lock {
    uint32_t word; // 0, or the owner's process; the lowest bit: somebody may sleep
};

// Id and start mixed; a parent's is another but for one in 2^31, and then only the child waits.
static inline uint32_t handle_tag(void)
{
    uint64_t who = holder_self();
    return (uint32_t)((who ^ who >> 31) * 0x9e3779b97f4a7c15 >> 32) | 2;
}

static inline void handle_lock_take(handle_lock *l)
{
    uint32_t mine = handle_tag() & ~1U, seen = 0, sleepers = 0;
    while (!__atomic_compare_exchange_n(&l->word, &seen, mine | sleepers, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED)) {
        if ((seen & ~1U) != mine)
            continue; // free, or a parent's
        if ((seen & 1) || __atomic_compare_exchange_n(&l->word, &seen, seen | 1, false,
                                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            futex_wait(&l->word, mine | 1, WEFT_FOREVER, 0);
        sleepers = 1;
        seen = 0;
    }
}

static inline void handle_lock_give(handle_lock *l)
{
    if (__atomic_exchange_n(&l->word, 0, __ATOMIC_RELEASE) & 1)
        futex_wake(&l->word, 1, 0);
}

} // namespace weft

#endif
