// wait.h: what the floors above may know of tasklets: how one waits for something that they end.
//
// The poller of a scheduler (tasklet.h) says when there may be events; this is the other half, by
// which a call of its owner waits for one.
#ifndef WEFT_CORO_WAIT_H
#define WEFT_CORO_WAIT_H

#include <weft/tasklet.h>

namespace weft {

// 0 when the running tasklet may begin a wait until `d`, else the errno with which that fails.
int wait_refusal(weft_deadline d);

// Suspends the running tasklet until end_wait, or `d`.  0; -1: what end_wait said, ETIMEDOUT,
// ECANCELED; EPERM: it is the scheduler's own, which waits for events.
int wait_for_event(weft_deadline d);

// The same of one that was cancelled, too: a cancel ends the wait, and the next one waits again.
// EPERM also of a coroutine that was cancelled.
int wait_regardless(weft_deadline d);

// Whether it is in wait_for_event and nothing has ended that yet.
bool waits_for_event(const weft_tasklet *t);

// Whether it was cancelled: each wait that it begins fails.
bool is_cancelled(const weft_tasklet *t);

// Ends that wait, with an errno or 0.  Nothing if it does not wait so, or is null.
void end_wait(weft_tasklet *t, int error);

// Cancels all of this thread, and ends what the main one waits for but that all have ended.
void cancel_all_tasklets(void);

// The running one, in a thread that has tasklets.
weft_tasklet *running_tasklet(void);

// Makes the thread's scheduler ready.  0: the main tasklet runs; -1: EPERM, another one does;
// ENOMEM.
int enter_main_tasklet(void);

} // namespace weft

#endif
