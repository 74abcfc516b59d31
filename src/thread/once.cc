// once.cc: run a function once, with an argument and a way to fail.
//
// The state is NEW, DONE, or RUNNING with the runner's thread id above the two low
// bits, so that a function that waits for itself is seen.  Waiters turn RUNNING into
// WAITED, which tells the runner to wake them.
#include "sleep.h"

#include <base/errno.h>
#include <weft/sync.h>

using namespace weft;

enum { NEW = 0, RUNNING = 1, DONE = 2, WAITED = 3 };

static int finish(weft_once *o, int failed)
{
    uint32_t before = __atomic_exchange_n(&o->state, failed ? NEW : DONE, __ATOMIC_ACQ_REL);
    if ((before & 3) == WAITED)
        futex_wake(&o->state, INT_MAX, 0);
    return failed ? -1 : 0;
}

int weft_private_once_run(weft_once *o, int (*fn)(void *), void *arg, weft_deadline d)
{
    uint32_t me = (uint32_t)syscall(SYS_gettid) << 2;
    uint32_t s = __atomic_load_n(&o->state, __ATOMIC_ACQUIRE);
    int error = 0;
    while (s != DONE) {
        uint32_t next = s == NEW ? (me | RUNNING) : (s | WAITED);
        if (s != NEW && (s & ~3u) == me)
            return fail_with(EDEADLK);
        if (error == 0 && s != NEW && d <= WEFT_NOW)
            error = ETIMEDOUT;
        if (error != 0)
            return fail_with(error);
        if (s != next && !__atomic_compare_exchange_n(&o->state, &s, next, false, __ATOMIC_ACQ_REL,
                                                      __ATOMIC_ACQUIRE))
            continue;
        if (s == NEW)
            return finish(o, fn(arg) != 0);
        error = sleep_on(&o->state, next, d, 0);
        s = __atomic_load_n(&o->state, __ATOMIC_ACQUIRE);
        if (s == NEW)
            error = 0; // the runner failed: our turn
    }
    return 0;
}
