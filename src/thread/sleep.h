// sleep.h: the one way to wait and the one place to sleep; for the floors above, too.
//
// A wait is a look at what is waited for, a while of watching, a sleep until it is worth
// another look, and so on.  Whatever sleeps returns 0 to look again, or the errno: ETIMEDOUT,
// ECANCELED.  That ends the wait, after one more look.
//
// A futex wait that weft_thread_stop can end.  Condition, semaphore, event,
// barrier, latch, timer, join, queue, ring and executor all wait here; mutexes
// and rwlocks do not (as with pthread_cancel, taking a lock is no place to stop:
// clean-up needs its locks).
//
// pthread_cond_t and sem_t would not do: nobody can end one thread's wait on
// them without a change of state that the others see, and glibc before 2.41 can
// lose a pthread_cond_signal (BZ 25847).
#ifndef WEFT_THREAD_SLEEP_H
#define WEFT_THREAD_SLEEP_H

#include "parked.h"

#include <base/poll.h>

#include <sched.h>

namespace weft {

enum {
    SHARED = 1,     // the word lies in memory that other processes map
    REGARDLESS = 2, // of weft_thread_stop: what must come to its end
};

// Sleeps while *word == expected.  0: awake, for whatever reason (look again);
// ETIMEDOUT: the deadline has passed; ECANCELED: this thread was told to stop,
// before or during the wait.  It returns the error and leaves errno alone.
//
// A waker's futex_wake may have been spent on a thread that gets ECANCELED
// here: after an error the caller looks once more whether it can go on, and if
// it leaves without taking anything while others may sleep, it wakes one.
int sleep_on(const uint32_t *word, uint32_t expected, weft_deadline d, int how);

// A thread's way to sleep while it is in weft_io_run (async/park.cc): the tasklet does, and others
// run.  It sleeps on the word if still(arg), which is called once at most, says so when it can be
// woken.  0, ETIMEDOUT, ECANCELED as above; EPERM: no tasklet can sleep here, so the thread has to.
typedef int sleep_way(const void *word, bool (*still)(void *arg), void *arg, weft_deadline d,
                      int how);

extern __thread sleep_way *way_to_sleep;

// Sets it, or takes it away.
void sleep_as_tasklets(sleep_way *way);

// Waits until look() is 0, or an errno for good; EAGAIN: not yet, so sleep(d).  Returns what look
// does or, if it still says EAGAIN after that, what ended the sleep.  With a past deadline it only
// looks.  After EPERM it does not: in a forked child that is the parent's.
template <class Look, class Sleep>
static inline int wait_for(weft_deadline d, Look look, Sleep sleep)
{
    for (int error = d <= WEFT_NOW ? ETIMEDOUT : 0;; error = sleep(d)) {
        int code = error != EPERM ? look() : EAGAIN;
        if (code != EAGAIN || error != 0)
            return code != EAGAIN ? code : error;
    }
}

// What goes before a sleep: watches for a while, and yields so that others can get there.  A sleep
// and a wake cost as much as a hundred items in a queue.  A tasklet has others to let run instead.
template <class Ready> static inline bool watch_for(Ready ready, int rounds = 4, int looks = 32)
{
    for (int round = 0; round < rounds && way_to_sleep == nullptr; round++) {
        for (int look = 0; look < looks; look++) {
            if (ready())
                return true;
            spin_pause();
        }
        sched_yield();
    }
    return ready();
}

// Sleeps until the word is not 0.
int await_word(const uint32_t *word, weft_deadline d, int how);

// The same for a word of this process, as a cancellation point.
int sleep_cancellable(const uint32_t *word, uint32_t expected, weft_deadline d);

// The way to poll (base/poll.h) of a thread that weft started: a stop of it ends that with
// ECANCELED.
int poll_stoppable(struct pollfd *fds, nfds_t n, weft_deadline d);

// In a forked child: the thread that runs it is not the one that weft started.
void disown_thread(void);

} // namespace weft

#endif
