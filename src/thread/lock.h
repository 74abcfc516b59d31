// lock.h: the lock inside queues, rings' waiting rooms, executors and futures.
//
// One word: 0 free, 1 held, 2 held and somebody sleeps (U. Drepper, "Futexes Are
// Tricky", mutex3).  Smaller than pthread_mutex_t, and a release that nobody waits
// for is one exchange.  It is held for some instructions only and never across a
// user's call, except a priority queue's compare; so it spins a little before it
// sleeps and is no place to stop.
#ifndef WEFT_THREAD_LOCK_H
#define WEFT_THREAD_LOCK_H

#include <base/futex.h>

namespace weft {

void take_lock_slowly(uint32_t *lock);

static inline void take_lock(uint32_t *lock)
{
    uint32_t free = 0;
    // Acquire: what the last holder wrote is seen.
    if (!__atomic_compare_exchange_n(lock, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        take_lock_slowly(lock);
}

// After the exchange the word may be gone, with what it guards: the wake only names
// its address.
static inline void drop_lock(uint32_t *lock)
{
    // Release: the next holder sees what this one wrote.
    if (__atomic_exchange_n(lock, 0, __ATOMIC_RELEASE) == 2)
        futex_wake(lock, 1, 0);
}

} // namespace weft

#endif
