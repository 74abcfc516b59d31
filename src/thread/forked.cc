// forked.cc: putting in order, once in a forked child, what its parent's threads left.
#include "forked.h"

#include <base/futex.h>

using namespace weft;

enum : uint32_t { USELESS = 0, UNDER_WAY = 1u << 31 };

bool weft::adopt(uint32_t *generation, bool (*tidy)(void *), void *object)
{
    uint32_t now = fork_generation, seen = __atomic_load_n(generation, __ATOMIC_ACQUIRE);
    for (;;) {
        if (seen == now || seen == USELESS)
            return seen == now;
        if (seen == (now | UNDER_WAY)) { // by another thread
            futex_wait(generation, seen, WEFT_FOREVER, 0);
            seen = __atomic_load_n(generation, __ATOMIC_ACQUIRE);
        } else if (__atomic_compare_exchange_n(generation, &seen, now | UNDER_WAY, false,
                                               __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
            break;
        }
    }
    // Under way when our parent forked: nobody knows how far it got.
    bool usable = !(seen & UNDER_WAY) && tidy(object);
    __atomic_store_n(generation, usable ? now : (uint32_t)USELESS, __ATOMIC_RELEASE);
    futex_wake(generation, INT_MAX, 0);
    return usable;
}
