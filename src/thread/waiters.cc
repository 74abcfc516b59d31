// waiters.cc: the list of sleepers; see waiters.h.
#include "waiters.h"

using namespace weft;

void weft::waiters_add(waiters *list, waiter *w)
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

void weft::waiters_remove(waiters *list, waiter *w)
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

void weft::waiters_wake_first(waiters *list)
{
    waiter *w = list->first;
    waiters_remove(list, w);
    // Release: a sleeper that sees it without the lock sees what led to it.
    __atomic_fetch_or(&w->woken, TAKEN_OFF, __ATOMIC_RELEASE);
    futex_wake(&w->woken, 1, 0);
}

size_t weft::waiters_wake(waiters *list, size_t most)
{
    size_t n = 0;
    for (; n < most && list->first != NULL; n++)
        waiters_wake_first(list);
    return n;
}

static int wait_in(waiters *list, uint32_t *lock, weft_deadline d, bool stoppable)
{
    waiter me;
    int error = 0;
    waiters_add(list, &me);
    drop_lock(lock);
    while (error == 0 && __atomic_load_n(&me.woken, __ATOMIC_ACQUIRE) == 0)
        error = stoppable ? sleep_on(&me.woken, 0, d, 0) : futex_wait(&me.woken, 0, d, 0);
    take_lock(lock);
    // Under the lock `woken` is final.  A wake outweighs an error: the caller looks
    // again, and meets the error at its next wait if it finds nothing.
    if (me.woken)
        return 0;
    waiters_remove(list, &me);
    return error;
}

int weft::waiters_wait(waiters *list, uint32_t *lock, weft_deadline d)
{
    return wait_in(list, lock, d, true);
}

int weft::waiters_wait_on(waiters *list, uint32_t *lock, weft_deadline d)
{
    return wait_in(list, lock, d, false);
}
