// sleep.h: the one place where the thread library sleeps; for the floors above, too.
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

#include <base/futex.h>
#include <base/poll.h>

namespace weft {

// Sleeps while *word == expected.  0: awake, for whatever reason (look again);
// ETIMEDOUT: the deadline has passed; ECANCELED: this thread was told to stop,
// before or during the wait.  It returns the error and leaves errno alone.
//
// A waker's futex_wake may have been spent on a thread that gets ECANCELED
// here: after an error the caller looks once more whether it can go on, and if
// it leaves without taking anything while others may sleep, it wakes one.
int sleep_on(const uint32_t *word, uint32_t expected, weft_deadline d, int shared);

// The same for a word of this process, as a cancellation point.
int sleep_cancellable(const uint32_t *word, uint32_t expected, weft_deadline d);

// The way to poll (base/poll.h) of a thread that weft started: a stop of it ends that with
// ECANCELED.
int poll_stoppable(struct pollfd *fds, nfds_t n, weft_deadline d);

// In a forked child: the thread that runs it is not the one that weft started.
void disown_thread(void);

} // namespace weft

#endif
