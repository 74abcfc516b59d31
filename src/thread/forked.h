// forked.h: what a forked child needs to know about the process it was copied from.
//
// Only the thread that called fork(2) lives on in the child.  Who keeps a mark of a thread or
// of a lock beside the generation it was made in sees that nobody stands behind it any more.
#ifndef WEFT_THREAD_FORKED_H
#define WEFT_THREAD_FORKED_H

#include <stdint.h>

namespace weft {

// One more in each child.  Written while the child has one thread, so plain reads will do.
extern uint32_t fork_generation;

// Must have been called before a mark is made: the first call sets the handlers of
// pthread_atfork(3).  Leaves errno alone.
void watch_forks(void);

// An object that threads wait in keeps the generation in which it was made, or last put in order.
// True: it may be used here.  In a forked child the first to come calls tidy(object), which takes
// out what the parent's threads left (they may be on its lists, on stacks that are gone) or says
// false: one of them was in the middle of a change, and the object is of no use here, ever.
bool adopt(uint32_t *generation, bool (*tidy)(void *), void *object);

static inline bool is_ours(uint32_t *generation, bool (*tidy)(void *), void *object)
{
    return __builtin_expect(__atomic_load_n(generation, __ATOMIC_ACQUIRE) == fork_generation, 1) ||
           adopt(generation, tidy, object);
}

} // namespace weft

#endif
