// shared_condition.cc: a condition is a counter of events that holds nothing.
//
// pthread_cond_t counts its waiters in groups, and a killed one is waited for in vain.  Here
// nobody is counted.  A signal lost with whoever was killed is made good by a waiter's
// looking again every 50 ms, which the caller's loop around the wait does.
#include "doorbell.h"

#include <base/errno.h>
#include <weft/shared_sync.h>

using namespace weft;

int weft_shared_condition_init(weft_shared_condition *c)
{
    if (c == nullptr)
        return fail_with(EINVAL);
    *c = {};
    return 0;
}

int weft_shared_condition_wait(weft_shared_condition *c, weft_shared_mutex *m, weft_deadline d)
{
    if (c == nullptr)
        return fail_with(EINVAL);
    uint32_t seen = doorbell_count(&c->events);
    doorbell_arm_each(&c->armed);
    if (weft_shared_mutex_unlock(m) != 0)
        return -1;
    int error = doorbell_sleep(&c->events, seen, d, &c->look);
    // The signal that may have been spent on a thread that stops goes to another.
    if (error == ECANCELED)
        weft_shared_condition_signal(c);
    if (weft_shared_mutex_lock(m, WEFT_FOREVER) != 0)
        return -1;
    return error != 0 ? fail_with(error) : 0;
}

int weft_shared_condition_signal(weft_shared_condition *c)
{
    return weft_shared_condition_signal_n(c, 1);
}

int weft_shared_condition_signal_n(weft_shared_condition *c, uint32_t n)
{
    if (c == nullptr)
        return fail_with(EINVAL);
    if (n != 0)
        doorbell_ring_each(&c->events, &c->armed, n < INT_MAX ? (int)n : INT_MAX);
    return 0;
}

int weft_shared_condition_broadcast(weft_shared_condition *c)
{
    return weft_shared_condition_signal_n(c, UINT32_MAX);
}
