// timer.cc: a thread that sleeps until its time, or until it is told not to.
//
// The state leaves WAITING once, by a compare-and-swap of either the timer's thread or
// the canceller: who wins decides whether the function is called.
#include "sleep.h"

#include <base/errno.h>
#include <weft/sync.h>
#include <weft/thread.h>

using namespace weft;

enum { WAITING, CALLED, CANCELLED };

struct weft_timer {
    void (*fn)(void *);
    void *arg;
    weft_deadline at;
    weft_thread *thread;
    uint32_t state; // atomic
};

static bool leave_waiting(weft_timer *t, uint32_t next)
{
    uint32_t expected = WAITING;
    return __atomic_compare_exchange_n(&t->state, &expected, next, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

static void *timer_main(void *arg)
{
    weft_timer *t = (weft_timer *)arg;
    while (__atomic_load_n(&t->state, __ATOMIC_ACQUIRE) == WAITING)
        if (sleep_on(&t->state, WAITING, t->at, 0) == ETIMEDOUT && leave_waiting(t, CALLED))
            t->fn(t->arg);
    return nullptr;
}

weft_timer *weft_timer_start(void (*fn)(void *), void *arg, weft_deadline at)
{
    if (fn == nullptr || at == WEFT_FOREVER) {
        errno = EINVAL;
        return nullptr;
    }
    weft_timer *t = (weft_timer *)malloc(sizeof *t);
    if (t == nullptr)
        return nullptr;
    *t = {fn, arg, at, nullptr, WAITING};
    weft_thread_options o = {};
    o.name = "weft-timer";
    t->thread = weft_thread_start(timer_main, t, &o);
    if (t->thread == nullptr) {
        free_keep_errno(t);
        return nullptr;
    }
    return t;
}

int weft_timer_cancel(weft_timer *t)
{
    if (!leave_waiting(t, CANCELLED))
        return fail_with(EALREADY);
    futex_wake(&t->state, 1, 0);
    return 0;
}

int weft_timer_join(weft_timer *t, weft_deadline d)
{
    if (weft_thread_join(t->thread, nullptr, d) != 0)
        return -1;
    int called = __atomic_load_n(&t->state, __ATOMIC_ACQUIRE) == CALLED;
    free(t);
    return called;
}
