// waiters.cc: the list of sleepers; see waiters.h.
#include "waiters.h"

using namespace weft;

void weft::waiters_add(waiters *list, waiter *w)
{
    w->woken = 0;
    list_insert(list, w);
}

void weft::waiters_wake_first(waiters *list)
{
    waiter *w = list->next;
    list_remove(w);
    // Release: a sleeper that sees it without the lock sees what led to it.
    __atomic_fetch_or(&w->woken, TAKEN_OFF, __ATOMIC_RELEASE);
    futex_wake(&w->woken, 1, 0);
}

size_t weft::waiters_wake(waiters *list, size_t most)
{
    size_t n = 0;
    for (; n < most && !list_is_empty(list); n++)
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
    list_remove(&me);
    return error;
}

int weft::waiters_wait(waiters *list, uint32_t *lock, weft_deadline d)
{
    return wait_in(list, lock, d, true);
}

int weft::waiters_wait_regardless(waiters *list, uint32_t *lock, weft_deadline d)
{
    return wait_in(list, lock, d, false);
}
