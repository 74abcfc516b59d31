// once.cc: run a function once, with an argument and a way to fail.
//
// The state is NEW, DONE, or a runner's mark: RUNNING, which waiters turn into WAITED to be woken;
// above these two bits its thread id (the kernel's limit is 2^22), so that a function that waits
// for itself is seen; above that the low bits of the fork generation: a mark of another generation
// is of a thread that doesn't exist here, and counts as NEW.
#include "forked.h"
#include "sleep.h"

#include <base/errno.h>
#include <base/leave.h>
#include <weft/sync.h>

using namespace weft;

enum { NEW = 0, RUNNING = 1, DONE = 2, WAITED = 3 };

static void finish(weft_once *o, uint32_t next)
{
    uint32_t before = __atomic_exchange_n(&o->state, next, __ATOMIC_ACQ_REL);
    if ((before & 3) == WAITED)
        wake_sleepers(&o->state, INT_MAX);
}

static void give_up(void *o)
{
    finish((weft_once *)o, NEW);
}

static int call(weft_once *o, int (*fn)(void *), void *arg)
{
    int failed = 0;
    call_or_leave(give_up, o, [=, &failed] { failed = fn(arg); }); // left: as if never called
    finish(o, failed ? NEW : DONE);
    return failed ? -1 : 0;
}

static bool is_new(uint32_t s)
{
    return s == NEW || (s != DONE && s >> 24 != (fork_generation & 0xff));
}

int weft_private_once_run(weft_once *o, int (*fn)(void *), void *arg, weft_deadline d)
{
    if (o == nullptr || fn == nullptr)
        return fail_with(EINVAL);
    watch_forks();
    uint32_t s = __atomic_load_n(&o->state, __ATOMIC_ACQUIRE);
    int error = 0;
    while (s != DONE) {
        // Anew each time: a tasklet may go on in a forked child.
        uint32_t me = (fork_generation & 0xff) << 24 | (uint32_t)syscall(SYS_gettid) << 2;
        bool ours = is_new(s);
        uint32_t next = ours ? (me | RUNNING) : (s | WAITED);
        if (ours)
            error = 0; // also after an error: the runner failed, and we are here
        else if ((s & ~3u) == me)
            error = EDEADLK;
        else if (error == 0 && d <= WEFT_NOW)
            error = ETIMEDOUT;
        if (error != 0)
            return fail_with(error);
        if (s != next && !__atomic_compare_exchange_n(&o->state, &s, next, false, __ATOMIC_ACQ_REL,
                                                      __ATOMIC_ACQUIRE))
            continue;
        if (ours)
            return call(o, fn, arg);
        error = sleep_on(&o->state, next, d, 0);
        s = __atomic_load_n(&o->state, __ATOMIC_ACQUIRE);
    }
    return 0;
}
