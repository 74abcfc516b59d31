// condition.cc: a condition is a counter of events.
//
// A waiter reads the counter while it has the mutex, unlocks, and sleeps while the
// counter stays what it was; a signal first adds 1, then wakes one.  So a signal given
// after the mutex was released is never missed.  `waiters` saves the system call when
// nobody waits: it is raised under the mutex, and a signaller that has changed what is
// waited for under the same mutex sees it.
#include "sleep.h"

#include <base/errno.h>
#include <weft/sync.h>

using namespace weft;

int weft_condition_init(weft_condition *c)
{
    if (c == nullptr)
        return fail_with(EINVAL);
    c->events = c->waiters = 0;
    return 0;
}

int weft_condition_destroy(weft_condition *c)
{
    if (c == nullptr)
        return 0;
    return __atomic_load_n(&c->waiters, __ATOMIC_ACQUIRE) != 0 ? fail_with(EBUSY) : 0;
}

int weft_condition_signal_n(weft_condition *c, uint32_t n)
{
    if (c == nullptr)
        return fail_with(EINVAL);
    if (n != 0 && __atomic_load_n(&c->waiters, __ATOMIC_ACQUIRE) != 0) {
        __atomic_fetch_add(&c->events, 1, __ATOMIC_RELEASE);
        wake_sleepers(&c->events, n < INT_MAX ? (int)n : INT_MAX);
    }
    return 0;
}

int weft_condition_signal(weft_condition *c)
{
    return weft_condition_signal_n(c, 1);
}

int weft_condition_broadcast(weft_condition *c)
{
    return weft_condition_signal_n(c, UINT32_MAX);
}

int weft_condition_wait(weft_condition *c, weft_mutex *m, weft_deadline d)
{
    if (c == nullptr)
        return fail_with(EINVAL);
    uint32_t seen = __atomic_load_n(&c->events, __ATOMIC_ACQUIRE);
    __atomic_fetch_add(&c->waiters, 1, __ATOMIC_ACQ_REL);
    int error = pthread_mutex_unlock(&m->pthread);
    if (error != 0) {
        __atomic_fetch_sub(&c->waiters, 1, __ATOMIC_ACQ_REL);
        return fail_with(error);
    }
    error = sleep_on(&c->events, seen, d, 0);
    // The signal that may have been spent on a thread that stops goes to another.
    if (error == ECANCELED)
        weft_condition_signal(c);
    __atomic_fetch_sub(&c->waiters, 1, __ATOMIC_ACQ_REL);
    return weft_mutex_lock(m, WEFT_FOREVER) == 0 ? from_pthread(error) : -1;
}
