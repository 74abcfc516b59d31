// lock.cc: the inner lock when it is held.
#include "lock.h"

using namespace weft;

enum { LONGEST = 64 }; // pauses between two looks

void weft::take_lock_slowly(uint32_t *lock)
{
    for (int pauses = 1; pauses <= LONGEST; pauses *= 2) {
        for (int i = 0; i < pauses; i++)
            spin_pause();
        uint32_t free = 0;
        if (__atomic_load_n(lock, __ATOMIC_RELAXED) == 0 &&
            __atomic_compare_exchange_n(lock, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return;
    }
    // Whoever gets the lock here leaves it at 2: it can't know whether it was the last
    // sleeper, and one wake too many is cheaper than one too few.
    while (__atomic_exchange_n(lock, 2, __ATOMIC_ACQUIRE) != 0)
        futex_wait(lock, 2, WEFT_FOREVER, 0);
}
