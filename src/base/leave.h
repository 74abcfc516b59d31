// leave.h: what a call puts in order also when its caller never comes back to it.
//
// A call that runs a caller's function, or waits, may be left for good: by pthread_exit(3), by a
// cancel, or since the coroutine on which it stands is destroyed.  A thread's clean-up handlers are
// a stack, which would mix those of coroutines that take turns, and keep one whose frame is gone.
// So on the thread's own stack such a call leaves word with the thread, and on a coroutine's with
// the coroutine, which does it at its end as if deferred (coro/end.cc).
#ifndef WEFT_BASE_LEAVE_H
#define WEFT_BASE_LEAVE_H

#include <pthread.h>

namespace weft {

struct leaving {
    leaving *next; // what was begun before
    void (*fn)(void *arg);
    void *arg;
    bool allocated; // to be freed before the call
};

// In a thread that has coroutines: where the running one keeps them, the last first; null: this is
// the thread's own stack.
inline __thread leaving **(*leavings_here)(void);

// Calls body().  fn(arg) is called if that does not return, and not otherwise.
template <class Body> static inline void call_or_leave(void (*fn)(void *arg), void *arg, Body body)
{
    leaving **list = leavings_here != nullptr ? leavings_here() : nullptr;
    if (list == nullptr) {
        pthread_cleanup_push(fn, arg);
        body();
        pthread_cleanup_pop(0);
        return;
    }
    leaving me = {*list, fn, arg, false};
    *list = &me;
    body();
    while (*list != &me) // what was deferred meanwhile stays
        list = &(*list)->next;
    *list = me.next;
}

} // namespace weft

#endif
