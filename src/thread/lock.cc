// lock.cc: the inner lock when it is held.
#include "lock.h"

using namespace weft;

enum { SPINS = 40 };

void weft::take_lock_slowly(uint32_t *lock)
{
    for (int i = 0; i < SPINS; i++) {
        spin_pause();
        uint32_t seen = __atomic_load_n(lock, __ATOMIC_RELAXED);
        if (seen == 2)
            break; // others sleep already: don't overtake them for long
        if (seen == 0 &&
            __atomic_compare_exchange_n(lock, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return;
    }
    // Whoever gets the lock here leaves it at 2: it can't know whether it was the last
    // sleeper, and one wake too many is cheaper than one too few.
    while (__atomic_exchange_n(lock, 2, __ATOMIC_ACQUIRE) != 0)
        futex_wait(lock, 2, WEFT_FOREVER, 0);
}
