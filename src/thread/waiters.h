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
#include "sleep.h"

#include <base/list.h>

#include <stddef.h>

namespace weft {

struct waiter {
    waiter *next, *previous;
    uint32_t woken; // the futex, and why it was woken: bits
    uint32_t *also; // null, or what a thread sleeps on that has nodes on several lists
};

// A waker has taken the node off its list.  (The other bits are the waiter's own affair.)
enum { TAKEN_OFF = 1 };

// A list's head; list_init makes it ready.
typedef waiter waiters;

// All of these: with the list's lock held.
void waiters_add(waiters *list, waiter *w);
void waiters_wake_first(waiters *list); // the list is not empty
size_t waiters_wake(waiters *list, size_t most);

static inline void waiters_wake_one(waiters *list)
{
    if (__builtin_expect(!list_is_empty(list), 0))
        waiters_wake_first(list);
}

// Adds the caller to `list`, sleeps without the lock, and takes the lock again.
// 0: woken, by a waker that has taken it off; ETIMEDOUT or ECANCELED (returned, not
// in errno): off the list, and no wake was spent on it.
//
// In a forked child a tasklet goes on here, where a thread of the parent's may have the lock.
// ours(object) is asked first; false: EPERM, and the lock, which then guards nothing, is not taken.
int waiters_wait(waiters *list, uint32_t *lock, weft_deadline d, int how = 0,
                 bool (*ours)(void *object) = nullptr, void *object = nullptr);

} // namespace weft

#endif
