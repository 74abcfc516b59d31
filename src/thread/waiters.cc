// waiters.cc: the list of sleepers; see waiters.h.
#include "waiters.h"

#include "forked.h"

using namespace weft;

void weft::waiters_add(waiters *list, waiter *w)
{
    w->woken = 0;
    w->also = nullptr;
    list_insert(list, w);
}

void weft::waiters_wake_first(waiters *list)
{
    waiter *w = list->next;
    list_remove(w);
    // Release: a sleeper that sees it without the lock sees what led to it.
    __atomic_fetch_or(&w->woken, TAKEN_OFF, __ATOMIC_RELEASE);
    if (w->also != nullptr)
        __atomic_store_n(w->also, TAKEN_OFF, __ATOMIC_RELEASE);
    wake_sleepers(w->also != nullptr ? w->also : &w->woken, 1);
}

size_t weft::waiters_wake(waiters *list, size_t most)
{
    size_t n = 0;
    for (; n < most && !list_is_empty(list); n++)
        waiters_wake_first(list);
    return n;
}

int weft::waiters_wait(waiters *list, uint32_t *lock, weft_deadline d, int how,
                       bool (*ours)(void *), void *object)
{
    waiter me;
    uint32_t generation = fork_generation;
    waiters_add(list, &me);
    drop_lock(lock);
    int error = await_word(&me.woken, d, how);
    if (generation != fork_generation && ours != nullptr && !ours(object))
        return EPERM;
    take_lock(lock);
    // Under the lock `woken` is final.  A wake outweighs an error: the caller looks
    // again, and meets the error at its next wait if it finds nothing.
    if (me.woken)
        return 0;
    if (generation == fork_generation) // else the list has been put in order
        list_remove(&me);
    return error;
}
