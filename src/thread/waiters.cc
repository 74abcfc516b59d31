// waiters.cc: the list of sleepers; see waiters.h.
#include "waiters.h"

void weft_private_waiters_add(weft_private_waiters *list, weft_private_waiter *w)
{
    w->next = NULL;
    w->previous = list->last;
    w->woken = 0;
    if (list->last != NULL)
        list->last->next = w;
    else
        list->first = w;
    list->last = w;
}

void weft_private_waiters_remove(weft_private_waiters *list, weft_private_waiter *w)
{
    if (w->previous != NULL)
        w->previous->next = w->next;
    else
        list->first = w->next;
    if (w->next != NULL)
        w->next->previous = w->previous;
    else
        list->last = w->previous;
}

void weft_private_waiters_wake_first(weft_private_waiters *list)
{
    weft_private_waiter *w = list->first;
    weft_private_waiters_remove(list, w);
    // Release: a sleeper that sees it without the lock sees what led to it.
    __atomic_fetch_or(&w->woken, WEFT_PRIVATE_TAKEN_OFF, __ATOMIC_RELEASE);
    weft_futex_wake(&w->woken, 1, 0);
}

size_t weft_private_waiters_wake(weft_private_waiters *list, size_t most)
{
    size_t n = 0;
    for (; n < most && list->first != NULL; n++)
        weft_private_waiters_wake_first(list);
    return n;
}

static int wait_in(weft_private_waiters *list, uint32_t *lock, weft_deadline d, bool stoppable)
{
    weft_private_waiter me;
    int error = 0;
    weft_private_waiters_add(list, &me);
    weft_private_unlock(lock);
    while (error == 0 && __atomic_load_n(&me.woken, __ATOMIC_ACQUIRE) == 0)
        error =
            stoppable ? weft_private_park(&me.woken, 0, d, 0) : weft_futex_wait(&me.woken, 0, d, 0);
    weft_private_lock(lock);
    // Under the lock `woken` is final.  A wake outweighs an error: the caller looks
    // again, and meets the error at its next wait if it finds nothing.
    if (me.woken)
        return 0;
    weft_private_waiters_remove(list, &me);
    return error;
}

int weft_private_waiters_wait(weft_private_waiters *list, uint32_t *lock, weft_deadline d)
{
    return wait_in(list, lock, d, true);
}

int weft_private_waiters_wait_on(weft_private_waiters *list, uint32_t *lock, weft_deadline d)
{
    return wait_in(list, lock, d, false);
}
