/* result.h: what will come of a task in a pool of processes.
 *
 *     weft_result *r = weft_pool_apply_async(p, square, &x, sizeof x, sizeof y, WEFT_NOW);
 *     weft_outcome o;
 *     weft_result_wait(r, &o, WEFT_FOREVER);
 *     if (o.error == ECHILD)
 *         printf("killed by signal %d\n", WTERMSIG(o.status));
 *     weft_result_release(r);
 *
 * A result belongs to one thread at a time, of the process that created the pool (else EPERM).
 */
#ifndef WEFT_RESULT_H
#define WEFT_RESULT_H

#include <weft/deadline.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_result weft_result;

/* How a task ended. */
typedef struct weft_outcome {
    int error;  /* 0, or the errno with which it ended */
    int status; /* ECHILD: its worker's, as of waitpid(2): WIFSIGNALED, ...; else 0 */
} weft_outcome;

/* Waits until r has ended, copies its bytes to result (may be NULL; only if it ended with 0), and
 * releases r.  -1: the errno with which it ended, r is released; or ETIMEDOUT, ECANCELED of the
 * wait itself, **and r is still the caller's**: where a task too may end with these, call
 * weft_result_wait first. */
int weft_result_get(weft_result *r, void *result, weft_deadline d);

/* Waits until r has ended, well or ill, and leaves it at that; `outcome` (may be NULL) tells how.
 * -1: ETIMEDOUT, ECANCELED: of the wait. */
int weft_result_wait(weft_result *r, weft_outcome *outcome, weft_deadline d);

/* 1: it has ended, well or ill; 0: it has not.  Never waits.  -1: EINVAL (released), EPERM (another
 * process's pool). */
int weft_result_poll(weft_result *r);

/* Its bytes in the pool's memory, aligned to 16, without a copy, until r is released; NULL: it
 * has not ended with 0. */
const void *weft_result_bytes(weft_result *r);

/* Takes a task that has not begun out of the queue: it ends with ECANCELED.  Doesn't release r.
 * -1: EBUSY (it runs), EALREADY (it has ended otherwise). */
int weft_result_cancel(weft_result *r);

/* Has fn(r, arg) called once when r has ended: by weft_pool_dispatch or weft_pool_join, in the
 * thread that calls them; at once if it has ended already.  fn owns r, and releases it.
 * -1: EBUSY (it has a callback). */
int weft_result_then(weft_result *r, void (*fn)(weft_result *r, void *arg), void *arg);

/* Gives r up without its bytes, whatever its state: what is queued will still run.  NULL is
 * ignored. */
int weft_result_release(weft_result *r);

#ifdef __cplusplus
}
#endif

#endif
