/* executor.h: run functions on a pool of threads, and collect what they return.
 *
 *     weft_executor *ex = weft_executor_create(0, NULL);       // a thread per CPU
 *     weft_future *f = weft_executor_submit(ex, parse, "a.txt", WEFT_NOW);
 *     void *tree;
 *     weft_future_get(f, &tree, WEFT_FOREVER);                 // releases f
 *     weft_executor_destroy(ex);
 *
 * A task may submit tasks and wait for them on its own executor.  A worker that waits
 * without deadline runs what it waits for, if nobody has begun it, and nothing else;
 * otherwise it sleeps, and another thread may stand in for it.  So tasks that wait for
 * one another come to their end, also on one thread, unless they wait in a circle: that is
 * seen, and the wait that closes it fails with EDEADLK.
 *
 * In a child of fork(2) there are no workers: each call with an inherited executor or
 * completions, or for an inherited task or promise that had not ended, fails with EPERM (those
 * can be released).  exit(3) waits for no task.
 *
 * Every wait here ends with ECANCELED when weft_thread_stop ends it.
 */
#ifndef WEFT_EXECUTOR_H
#define WEFT_EXECUTOR_H

#include <weft/deadline.h>
#include <weft/queue.h> /* WEFT_DRAIN, WEFT_DISCARD */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_executor weft_executor;

/* A task and its result.  Its memory comes from weft_executor_submit, or it is the
 * caller's (weft_executor_submit_at); the fields are not to be touched. */
typedef struct weft_future {
    struct weft_future *next, *previous;
    void *(*fn)(void *);
    void *value; /* its argument, later its result */
    weft_executor *executor;
    void *at;
    uint32_t state;
    uint32_t lock;
    uint16_t pending;
    uint16_t kind;
    int fd;
    struct weft_private_watch *watches;
    void (*then)(struct weft_future *, void *);
    void *then_arg;
} weft_future;

typedef struct weft_executor_options {
    const char *name;  /* of its threads (cut after 15 bytes); NULL: "weft-worker" */
    size_t stack_size; /* of each thread, in bytes; 0: the system's default */
    size_t backlog;    /* how many tasks may be pending; 0: no limit */
    int spares; /* threads that stand in for workers asleep in a wait here, at most (more only
                   where nobody else could go on); 0: as many as threads, none for one thread
                   (so its tasks run one at a time); below 0: none */
    void (*begin)(void *arg); /* unless NULL: called in each thread before its first task */
    void (*end)(void *arg);   /* the same after its last one, also one that leaves its thread */
    void *arg;                /* theirs; they are to return, and wait for no task */
} weft_executor_options;

/* ---- The pool ---- */

/* A pool of `threads` threads; 0: as many as there are CPUs to use.
 * NULL and EINVAL: threads below 0 or a stack size the system won't have; ENOMEM;
 * EAGAIN: the system has no thread to give. */
weft_executor *weft_executor_create(int threads, const weft_executor_options *opts);

/* Lets no more tasks in (EPIPE).  WEFT_DRAIN: pending tasks are run; WEFT_DISCARD: they end with
 * ECANCELED, and the threads are told to stop, so that what a running task waits for in weft's
 * calls fails with ECANCELED.  Doesn't wait: join.  Again, to turn a drain into a discard.
 * EINVAL: another `how`. */
int weft_executor_close(weft_executor *ex, int how);

/* Waits until the threads of a closed pool have ended.  ETIMEDOUT, ECANCELED: some still run; call
 * again.  EBUSY: it is not closed; EDEADLK: called by one of its own tasks. */
int weft_executor_join(weft_executor *ex, weft_deadline d);

/* Closes it with WEFT_DRAIN if it is open, joins it, whatever that takes, and releases ex.  Futures
 * that have not been got stay valid: they have ended.  EBUSY: a thread waits in
 * weft_executor_submit and its kind, _map, _map_ranges, _wait or _join; EDEADLK: as join.  On an
 * error nothing is released.  NULL is ignored. */
int weft_executor_destroy(weft_executor *ex);

/* Makes the pool `threads` threads strong.  More start at once; those too many end
 * when they have finished their task.  EINVAL: threads below 1; EPIPE: shut down;
 * EAGAIN, ENOMEM: fewer than asked for were started, the rest stand. */
int weft_executor_resize(weft_executor *ex, int threads);

/* How many threads the pool is to have, and how many tasks are pending. */
int weft_executor_threads(const weft_executor *ex);
size_t weft_executor_pending(weft_executor *ex);

/* ---- Giving it work ---- */

/* Queues fn(arg) and returns its future, to be ended by weft_future_get or weft_future_release.
 * One allocation.  Without a limit of the backlog it never waits, with one until d for room.
 * NULL and ETIMEDOUT: no room (WEFT_NOW: at once); EPIPE: closed; EINVAL: no fn; ECANCELED; ENOMEM;
 * EAGAIN, ENOMEM: in a task, only another thread could make room, and there is none to be had. */
weft_future *weft_executor_submit(weft_executor *ex, void *(*fn)(void *), void *arg,
                                  weft_deadline d);

/* As submit, with the caller's memory for the future: no allocation.  *f must stay
 * until it has ended and weft_future_get or weft_future_release has succeeded;
 * neither frees it.  What it held before is of no matter. */
int weft_executor_submit_at(weft_executor *ex, weft_future *f, void *(*fn)(void *), void *arg,
                            weft_deadline d);

/* As submit_at, for n tasks at once: fn(args[i]) with futures[i].  All or none, also in the
 * backlog; EMSGSIZE: more than it ever has room for.  args may go when it returns. */
int weft_executor_submit_many(weft_executor *ex, weft_future futures[], size_t n,
                              void *(*fn)(void *), void *const args[], weft_deadline d);

/* As submit, for a task that is queued when f has ended, be it by cancellation; until then it is
 * pending, and may be cancelled.  f may be of any executor, or a promise, and may have any
 * number of these.  Shutting ex down with WEFT_DRAIN waits for f, too.  The backlog's limit does
 * not apply. */
weft_future *weft_executor_submit_after(weft_executor *ex, weft_future *f, void *(*fn)(void *),
                                        void *arg);

/* Calls fn(i, arg) once for each i from 0 to n - 1, on the pool's threads and the
 * caller's, and waits for all.  Indices are given out in chunks; the order is not
 * defined.  The backlog's limit does not apply.
 * ETIMEDOUT, ECANCELED: gave out no more from d on (or when stopped, or when a call left
 * its thread by pthread_exit); some indices have not been called, and each call begun
 * has returned.  EPIPE: shut down; EINVAL: no fn. */
int weft_executor_map(weft_executor *ex, void (*fn)(size_t i, void *arg), void *arg, size_t n,
                      weft_deadline d);

/* The same by ranges, each of which is one call: fn(begin, end, arg) for pieces of `chunk` indices
 * (the last may be shorter).  chunk 0: an eighth of a thread's fair share. */
int weft_executor_map_ranges(weft_executor *ex, void (*fn)(size_t begin, size_t end, void *arg),
                             void *arg, size_t n, size_t chunk, weft_deadline d);

/* Waits until no task is pending or running.  EDEADLK: called by one of its own
 * tasks, or by a callback at the end of one; ETIMEDOUT; ECANCELED. */
int weft_executor_wait(weft_executor *ex, weft_deadline d);

/* A descriptor (eventfd(2)), made by the first call and closed with the executor: its
 * counter grows by one for each task that ends from now on.  Poll it; read its eight
 * bytes, then look at the futures with WEFT_NOW.  EMFILE, ENFILE, ENOMEM. */
int weft_executor_fd(weft_executor *ex);

/* Prints how many threads there are and what each does: the task it runs, and what that waits for.
 * For people; ex must not be destroyed meanwhile.  Leaves errno alone. */
void weft_executor_dump(weft_executor *ex, FILE *out);

/* ---- Futures ---- */

#define WEFT_FUTURE_PENDING 0
#define WEFT_FUTURE_RUNNING 1
#define WEFT_FUTURE_DONE 2
#define WEFT_FUTURE_CANCELLED 3

/* Waits until f has ended, stores what its function returned in *result (unless
 * NULL), and releases f.  On an error f is not released: ETIMEDOUT: not yet;
 * ECANCELED: f was cancelled, or the caller was told to stop (weft_future_state tells
 * which); EDEADLK: f is the caller's own task, or one below it, or waits for it, or comes after
 * it; EPERM: f is of the process that this one was forked from; EAGAIN, ENOMEM: only another thread
 * could run f, and there is none to be had. */
int weft_future_get(weft_future *f, void **result, weft_deadline d);

/* Waits until f has ended, be it by cancellation, and leaves it at that. */
int weft_future_wait(weft_future *f, weft_deadline d);

/* Waits until all n have ended.  Errors as for get; n 0: 0. */
int weft_future_wait_all(weft_future *const futures[], size_t n, weft_deadline d);

/* Waits until one of n has ended and returns the least such index.  The futures may
 * be of several executors.  EINVAL: n 0; ENOMEM; else as for get. */
ssize_t weft_future_wait_any(weft_future *const futures[], size_t n, weft_deadline d);

/* One of WEFT_FUTURE_PENDING, _RUNNING, _DONE, _CANCELLED, at this moment. */
int weft_future_state(const weft_future *f);

/* Takes a pending f out of the backlog; it ends as cancelled.  Does not release it.
 * 0 also if it was cancelled before.  EBUSY: it is running; EALREADY: it is done. */
int weft_future_cancel(weft_future *f);

/* Gives f up without its result, whatever its state: what is pending will still run.
 * EBUSY: f is in the caller's memory and has not ended.  NULL is ignored. */
int weft_future_release(weft_future *f);

/* Has fn(f, arg) called once when f ends: by the worker that ran it or the thread that
 * cancels it; at once, if it has ended.  It returns before waits for f do; within it
 * weft_future_state and weft_future_result are right, weft_future_get(f) is EDEADLK.
 * fn may release f.  EBUSY: f has a callback already; EINVAL: no fn. */
int weft_future_then(weft_future *f, void (*fn)(weft_future *f, void *arg), void *arg);

/* What f's function returned, once f has ended; NULL before, and if it was cancelled. */
void *weft_future_result(const weft_future *f);

/* A descriptor (eventfd(2)), made by the first call and closed when f is released:
 * readable from f's end on.  Do not read it.  EMFILE, ENFILE, ENOMEM. */
int weft_future_fd(weft_future *f);

/* ---- Promises ---- */

/* A future of no executor, for what is completed elsewhere: in a callback of a loop, another
 * thread, another library.  It is pending until weft_future_set ends it as done or
 * weft_future_cancel as cancelled; all else is as for other futures.  NULL and ENOMEM. */
weft_future *weft_future_create(void);

/* Ends f, which weft_future_create made, with this result.  Whoever waits may release it at once,
 * so it is not to be used afterwards but by its owner; if its owner has released it before, it
 * goes. EALREADY: it was cancelled or set before, and is there still; EINVAL: a task's future. */
int weft_future_set(weft_future *f, void *result);

/* ---- As they complete ---- */

/* Gives futures back in the order in which they end, however many there are. */
typedef struct weft_completions weft_completions;

/* NULL and ENOMEM. */
weft_completions *weft_completions_create(void);

/* Has c give f back when it has ended; until then f must not be released.  EINVAL; ENOMEM. */
int weft_completions_add(weft_completions *c, weft_future *f);

/* The next that has ended, waiting for one.  NULL and EDEADLK: all have been given back, or
 * those left wait for the caller; ETIMEDOUT; ECANCELED; EINVAL; EAGAIN, ENOMEM: as for
 * weft_future_wait. */
weft_future *weft_completions_next(weft_completions *c, weft_deadline d);

/* EBUSY: some have not ended, or a thread waits.  Those not given back are left to their owner.
 * NULL is ignored. */
int weft_completions_destroy(weft_completions *c);

#ifdef __cplusplus
}
#endif

#endif
