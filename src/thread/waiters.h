// waiters.h: threads that sleep until somebody has something for them.
//
// A list of nodes on the sleepers' own stacks, guarded by the lock of what they wait
// for.  A waker takes the first node off the list and wakes that thread, all under the
// lock: each wake meets one thread, no thread is woken twice, and a sleeper whose
// deadline passes knows whether a wake was spent on it.  Condition variables promise
// none of the three, which costs them system calls and thundering herds.
//
// Waking under the lock keeps the node alive: its thread needs the lock to leave.
#ifndef WEFT_THREAD_WAITERS_H
#define WEFT_THREAD_WAITERS_H

#include "lock.h"
#include "park.h"

#include <stddef.h>

typedef struct weft_private_waiter {
    struct weft_private_waiter *next, *previous;
    uint32_t woken; // the futex, and why it was woken: bits
} weft_private_waiter;

// A waker has taken the node off its list.  (The other bits are the waiter's own affair.)
#define WEFT_PRIVATE_TAKEN_OFF 1u

typedef struct weft_private_waiters {
    weft_private_waiter *first, *last;
} weft_private_waiters;

// All of these: with the list's lock held.
void weft_private_waiters_add(weft_private_waiters *list, weft_private_waiter *w);
void weft_private_waiters_remove(weft_private_waiters *list, weft_private_waiter *w);
void weft_private_waiters_wake_first(weft_private_waiters *list); // the list is not empty
size_t weft_private_waiters_wake(weft_private_waiters *list, size_t most);

static inline void weft_private_waiters_wake_one(weft_private_waiters *list)
{
    if (__builtin_expect(list->first != NULL, 0))
        weft_private_waiters_wake_first(list);
}

// Adds the caller to `list`, sleeps without the lock, and takes the lock again.
// 0: woken, by a waker that has taken it off; ETIMEDOUT or ECANCELED (returned, not
// in errno): off the list, and no wake was spent on it.
int weft_private_waiters_wait(weft_private_waiters *list, uint32_t *lock, weft_deadline d);

// The same for what must come to its end although the thread was told to stop.
int weft_private_waiters_wait_on(weft_private_waiters *list, uint32_t *lock, weft_deadline d);

#endif
