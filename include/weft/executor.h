/* executor.h: run functions on a pool of threads, and collect what they return.
 *
 *     weft_executor *ex = weft_executor_create(0, NULL);       // a thread per CPU
 *     weft_future *f = weft_executor_submit(ex, parse, "a.txt", WEFT_NOW);
 *     weft_future_get(f, &tree, WEFT_FOREVER);                 // releases f
 *     weft_executor_destroy(ex);
 *
 * A task may submit tasks to its own executor and wait for them, also on one thread.  What is
 * inherited by a forked child is EPERM there.  Waits end with ECANCELED by weft_thread_stop.
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
    int spares;        /* how many threads may stand in for workers asleep in a wait; 0: as many as
                          threads, none for one thread; below 0: none */
    void (*begin)(void *arg); /* unless NULL: called in each thread before its first task */
    void (*end)(void *arg);   /* the same after its last one */
    void *arg;                /* theirs; they are to return, and wait for no task */
} weft_executor_options;

/* ---- The pool ---- */

/* A pool of `threads` threads; 0: as many as there are CPUs to use (weft_cpu_count).
 * NULL: EINVAL (threads below 0, the stack size), EAGAIN (no thread to be had), ENOMEM. */
weft_executor *weft_executor_create(int threads, const weft_executor_options *opts);

/* Lets no more tasks in (EPIPE).  WEFT_DRAIN: pending tasks are run; WEFT_DISCARD: they end as
 * cancelled, and the threads are told to stop (weft_thread_stop).  Doesn't wait: join.  Again: the
 * same, so a drain can be turned into a discard.  Own tasks may call it.  -1: EINVAL (`how`). */
int weft_executor_close(weft_executor *ex, int how);

/* Waits until the threads of a closed pool have ended.  -1: ETIMEDOUT, ECANCELED (some still run:
 * call again), EBUSY (it is not closed), EDEADLK (called by one of its own tasks). */
int weft_executor_join(weft_executor *ex, weft_deadline d);

/* Closes it with WEFT_DRAIN if it is open, joins it, whatever that takes, and releases ex.  Futures
 * that have not been got stay valid: they have ended.  NULL is ignored.
 * -1, and nothing is released: EBUSY (a thread waits in a call with ex), EDEADLK (as join). */
int weft_executor_destroy(weft_executor *ex);

/* Makes the pool `threads` threads strong.  More start at once; those too many end when they have
 * finished their task.  Doesn't wait.  -1: EINVAL (threads below 1), EPIPE (closed), EAGAIN and
 * ENOMEM (fewer than asked for could be started; those stay). */
int weft_executor_resize(weft_executor *ex, int threads);

typedef struct weft_executor_counters {
    size_t pending; /* tasks that nobody has begun */
    size_t running; /* threads that are in a task */
    int threads;    /* as many as there are to be: of the last create or resize */
    int alive;      /* as many as there are */
    int blocked;    /* of these, asleep in a task's wait that others may stand in for */
    int spares;     /* of these, more than `threads`: those that stand in, or are to end */
} weft_executor_counters;

/* How it stands at this moment.  Doesn't wait.  -1: EINVAL (NULL), EPERM. */
int weft_executor_statistics(weft_executor *ex, weft_executor_counters *c);

/* ---- Giving it work ---- */

/* Queues fn(arg) and returns its future, to be ended by weft_future_get or weft_future_release.
 * Waits until d for room if the backlog has a limit.
 * NULL: ETIMEDOUT (no room), EPIPE (closed), EINVAL (no fn), ECANCELED, ENOMEM, EAGAIN (in a task:
 * only another thread could make room, and there is none to be had). */
weft_future *weft_executor_submit(weft_executor *ex, void *(*fn)(void *), void *arg,
                                  weft_deadline d);

/* As submit, with the caller's memory for the future, whatever it holds: no allocation.  *f must
 * stay until weft_future_get or, after its end, weft_future_release has succeeded. */
int weft_executor_submit_at(weft_executor *ex, weft_future *f, void *(*fn)(void *), void *arg,
                            weft_deadline d);

/* As submit_at, for n tasks at once: fn(args[i]) with futures[i], all or none.  Waits for room for
 * all of them.  args may go when it returns.  -1 also: EMSGSIZE (more than the backlog's limit). */
int weft_executor_submit_many(weft_executor *ex, weft_future futures[], size_t n,
                              void *(*fn)(void *), void *const args[], weft_deadline d);

/* As submit, for a task that is queued when f has ended, be it by cancellation; until then it is
 * pending.  f may be of any executor, or a promise, and may have any number of these.  The
 * backlog's limit does not apply, so it never waits. */
weft_future *weft_executor_submit_after(weft_executor *ex, weft_future *f, void *(*fn)(void *),
                                        void *arg);

/* Calls fn(i, arg) once for each i from 0 to n - 1, in no order, on the pool's threads and the
 * caller's, and waits for all.
 * -1: ETIMEDOUT, ECANCELED (not all indices have been called; each call begun has returned), EPIPE
 * (closed), EINVAL (no fn), ENOMEM. */
int weft_executor_map(weft_executor *ex, void (*fn)(size_t i, void *arg), void *arg, size_t n,
                      weft_deadline d);

/* The same by ranges, each of which is one call: fn(begin, end, arg) for pieces of `chunk` indices
 * (the last may be shorter).  chunk 0: an eighth of a thread's fair share. */
int weft_executor_map_ranges(weft_executor *ex, void (*fn)(size_t begin, size_t end, void *arg),
                             void *arg, size_t n, size_t chunk, weft_deadline d);

/* Waits until no task is pending or running.  -1: ETIMEDOUT, ECANCELED, EDEADLK (called by one of
 * its own tasks, or by a callback at the end of one). */
int weft_executor_wait(weft_executor *ex, weft_deadline d);

/* A descriptor (eventfd(2)), made by the first call and closed with the executor: its
 * counter grows by one for each task that ends from now on.  Poll it; read its eight
 * bytes, then look at the futures with WEFT_NOW.  -1: EMFILE, ENFILE, ENOMEM. */
int weft_executor_fd(weft_executor *ex);

/* Prints, for people, how many threads there are and what each does.  ex must not be destroyed
 * meanwhile.  Leaves errno alone. */
void weft_executor_dump(weft_executor *ex, FILE *out);

/* ---- Futures ---- */

#define WEFT_FUTURE_PENDING 0
#define WEFT_FUTURE_RUNNING 1
#define WEFT_FUTURE_DONE 2
#define WEFT_FUTURE_CANCELLED 3

/* Waits until f has ended, stores what its function returned in *result (unless
 * NULL), and releases f.
 * -1, and f is not released: ETIMEDOUT, ECANCELED (f was cancelled, or the caller was told to stop:
 * weft_future_state tells which), EDEADLK (f waits for the caller's own task, or is it), EPERM (f
 * is a parent process's), EAGAIN and ENOMEM (only another thread could run f, and there is none to
 * be had). */
int weft_future_get(weft_future *f, void **result, weft_deadline d);

/* Waits until f has ended, be it by cancellation, and leaves it at that. */
int weft_future_wait(weft_future *f, weft_deadline d);

/* Waits until all n have ended; n 0: not at all.  -1: as for get. */
int weft_future_wait_all(weft_future *const futures[], size_t n, weft_deadline d);

/* Waits until one of n has ended and returns the least such index.  The futures may
 * be of several executors.  -1: EINVAL (n 0), ENOMEM, and as for get. */
ssize_t weft_future_wait_any(weft_future *const futures[], size_t n, weft_deadline d);

/* One of WEFT_FUTURE_PENDING, _RUNNING, _DONE, _CANCELLED, at this moment.  -1: EINVAL (NULL). */
int weft_future_state(const weft_future *f);

/* Takes a pending f out of the backlog; it ends as cancelled.  Doesn't wait, doesn't release it.
 * 0 also if it was cancelled before.  -1: EBUSY (it is running), EALREADY (it is done). */
int weft_future_cancel(weft_future *f);

/* Gives f up without its result, whatever its state: what is pending will still run.  NULL is
 * ignored.  -1: EBUSY (f is in the caller's memory and has not ended). */
int weft_future_release(weft_future *f);

/* Has fn(f, arg) called once when f ends: by the worker that ran it or the thread that cancels it,
 * before any wait for f returns; at once, if it has ended.  fn may release f.
 * -1: EBUSY (f has a callback already), EINVAL (no fn). */
int weft_future_then(weft_future *f, void (*fn)(weft_future *f, void *arg), void *arg);

/* What f's function returned, once f has ended; NULL before, and if it was cancelled. */
void *weft_future_result(const weft_future *f);

/* A descriptor (eventfd(2)), made by the first call and closed when f is released:
 * readable from f's end on.  Do not read it.  -1: EMFILE, ENFILE, ENOMEM. */
int weft_future_fd(weft_future *f);

/* ---- Promises ---- */

/* A future of no executor, for what is completed elsewhere: in a callback of a loop, another
 * thread, another library.  It is pending until weft_future_set ends it as done or
 * weft_future_cancel as cancelled; all else is as for other futures.  NULL: ENOMEM. */
weft_future *weft_future_create(void);

/* Ends f, which weft_future_create made, with this result.  Whoever waits may release it at once:
 * afterwards it is its owner's alone; if released before, it goes.
 * -1: EALREADY (it was cancelled or set before, and is there still), EINVAL (a task's future). */
int weft_future_set(weft_future *f, void *result);

/* ---- As they complete ---- */

/* Gives futures back in the order in which they end, however many there are. */
typedef struct weft_completions weft_completions;

/* NULL: ENOMEM. */
weft_completions *weft_completions_create(void);

/* Has c give f back when it has ended; until then f must not be released.  -1: EINVAL, ENOMEM. */
int weft_completions_add(weft_completions *c, weft_future *f);

/* The next that has ended, waiting for one.  NULL: EDEADLK (all have been given back, or those left
 * wait for the caller), ETIMEDOUT, ECANCELED, EINVAL, EAGAIN and ENOMEM (as for get). */
weft_future *weft_completions_next(weft_completions *c, weft_deadline d);

/* Those not given back are left to their owner.  NULL is ignored.  -1: EBUSY (some have not ended,
 * or a thread waits). */
int weft_completions_destroy(weft_completions *c);

#ifdef __cplusplus
}
#endif

#endif
