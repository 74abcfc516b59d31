/* tasklet.h: many tasks in one thread, which take turns by themselves.
 *
 *     static void *greet(void *name)
 *     {
 *         for (int i = 0; i < 3; i++) { puts(name); weft_tasklet_yield(); }
 *         return NULL;
 *     }
 *     weft_tasklet_spawn(greet, "ping", &(weft_tasklet_options){.detached = true});
 *     weft_tasklet_spawn(greet, "pong", &(weft_tasklet_options){.detached = true});
 *     weft_tasklet_run();
 *
 * A tasklet is a coroutine that a scheduler runs.  It goes on until it waits or yields; then
 * the next one that is ready goes on, first come first served.  Nothing interrupts it, so
 * what it does between two waits is atomic.  The caller outside of any tasklet is one
 * too, the main tasklet: it may call whatever waits, and the others run meanwhile.
 *
 * Each thread has its own scheduler; every function here and in channel.h called on
 * another thread's tasklet or channel fails with EPERM.  A generator or coroutine that runs in
 * a tasklet may wait as well: the whole tasklet does.  errno is the thread's: read it before
 * the next call that waits.
 *
 * Calls that wait (all that take a deadline, and yield) share these errors:
 *   ETIMEDOUT  the deadline has passed
 *   ECANCELED  the tasklet was cancelled (weft_thread_stop is for threads and does not do that);
 *              each later wait of it fails too, at once.  Calls with
 *              WEFT_NOW never wait and still do what they can, for clean-up
 *   EDEADLK    in the main tasklet: no tasklet can ever go on.  weft_coro_dump of them all goes
 *              to standard error first
 *   EPERM      called by a poller, which must not wait
 *   ENOMEM     the thread's scheduler could not be made (its first call only)
 * (Terms: Stackless Python; structured concurrency after M. Sustrik and N. J. Smith.)
 */
#ifndef WEFT_TASKLET_H
#define WEFT_TASKLET_H

#include <weft/coro.h> /* WEFT_FAILED */
#include <weft/deadline.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_tasklet weft_tasklet;
typedef struct weft_scope weft_scope;

/* All zero is the default. */
typedef struct weft_tasklet_options {
    const char
        *name; /* for the dump, the watchdog and the overflow report; copied, up to 31 bytes */
    size_t stack_size; /* bytes, as in weft_coro_options; 0: 64 KiB */
    weft_scope *scope; /* belongs to this open scope; it is never joined */
    bool detached;     /* released when it ends; it is never joined */
    bool keep_fp;      /* own floating-point control words */
    bool keep_mask;    /* own signal mask */
} weft_tasklet_options;

/* ---- Running ---- */

/* A tasklet that will run fn(arg) after all that are ready now.  What fn returns is its result;
 * WEFT_FAILED means that it failed, with the errno at that time.  The handle is released by a join,
 * or at its end if it is detached or in a scope.  Does not wait.
 * Fails (NULL) with EINVAL for a NULL fn, a bad size or a scope that is not open, ECANCELED when
 * the scope was cancelled, ENOMEM. */
weft_tasklet *weft_tasklet_spawn(void *(*fn)(void *arg), void *arg,
                                 const weft_tasklet_options *opts);

/* Runs tasklets until all but the main one have ended.  Fails with EDEADLK when none can ever
 * go on (those that are left stay as they are: cancel them, say, and run again), EPERM in any
 * tasklet but the main one, or with what the poller failed with. */
int weft_tasklet_run(void);

/* Lets all the others that are ready go first. */
int weft_tasklet_yield(void);

/* Waits until `d` and returns 0.  WEFT_NOW: yields; WEFT_FOREVER: until cancelled. */
int weft_tasklet_sleep(weft_deadline d);

/* Waits until `t` has ended, stores its result (unless `result` is NULL) and releases it.  If the
 * result is WEFT_FAILED, errno is set to what it was when fn returned.
 * Fails with EINVAL for NULL, the main tasklet, a detached one or one in a scope, EBUSY until the
 * join of another one has returned, EDEADLK when `t` waits, directly or not, to join the caller. */
int weft_tasklet_join(weft_tasklet *t, void **result, weft_deadline d);

/* From now on `t` is released when it ends.  Fails with EINVAL as join does, EBUSY while
 * someone joins it. */
int weft_tasklet_detach(weft_tasklet *t);

/* ---- Stopping and going on ---- */

/* Makes what `t` waits for fail with ECANCELED, and each later wait of it, until it returns: what
 * was delivered already is not lost.  One that has not started never runs fn; its result is
 * WEFT_FAILED with ECANCELED.  Does not wait: join it.  One that has ended stays as it is.
 * Fails with EINVAL for NULL or the main tasklet. */
int weft_tasklet_cancel(weft_tasklet *t);

/* Waits until someone wakes the caller.  A wake that came before counts, once. */
int weft_tasklet_suspend(weft_deadline d);

/* Ends the suspension of `t`, or the next one if it is not suspended; puts it back into the run
 * queue if it was removed.  Fails with EINVAL for NULL. */
int weft_tasklet_wake(weft_tasklet *t);

/* Takes `t`, which is ready to run (or new), out of the run queue until a wake or a cancel.
 * Fails with EINVAL for NULL or the main tasklet, EBUSY when it is the caller or waits for
 * something else, ESRCH when it has ended. */
int weft_tasklet_remove(weft_tasklet *t);

/* ---- Who is who ---- */

/* The running tasklet; the main one outside of any.  NULL: EPERM in a poller, ENOMEM. */
weft_tasklet *weft_tasklet_self(void);

/* Its name: "main" for the main one, "" if it has none, NULL for NULL. */
const char *weft_tasklet_name(const weft_tasklet *t);

/* Whether `t`, which is not released yet, has ended.  -1: EINVAL for NULL, EPERM. */
int weft_tasklet_poll(const weft_tasklet *t);

/* How many of this thread have not ended, the main one not counted. */
size_t weft_tasklet_count(void);

/* The running tasklet's own pointer, NULL at first: *weft_tasklet_slot() = p.  NULL: as self. */
void **weft_tasklet_slot(void);

/* ---- Scopes: no tasklet outlives the block that spawned it ---- */

/* Lives in the frame of the function that opens it.  The fields are private. */
struct weft_scope {
    weft_scope *outer;
    weft_tasklet *owner;
    size_t count;
    int error;
    int cancelled;
};

/* Opens a scope: spawn into it with weft_tasklet_options.scope, from any tasklet of the thread,
 * and close it in the one that opened it.  The first child that fails (its result is WEFT_FAILED)
 * cancels the others.  Fails with EINVAL for NULL, ENOMEM. */
int weft_scope_open(weft_scope *s);

/* Waits until all children have ended.  When the deadline passes or the caller is cancelled it
 * cancels them, and still waits for them.  A tasklet that ends with a scope open has its
 * children cancelled.
 * Fails with the errno of the first child that failed, else as waits do; EINVAL for NULL, EPERM
 * when the caller did not open it (or it is closed), EBUSY when an inner one is still open. */
int weft_scope_join(weft_scope *s, weft_deadline d);

/* Cancels all children, and refuses new ones.  The scope is still to be closed, which then returns
 * 0 if no child failed for another reason.  Fails with EINVAL for NULL, EPERM when it is not
 * open or another thread's. */
int weft_scope_cancel(weft_scope *s);

/* ---- The watchdog ---- */

/* From now on a tasklet of this thread that neither waits nor yields for `limit_ns` is reported:
 *     weft: tasklet "NAME" has held its thread for 150 ms
 * on standard error, once a turn, or by `report` if that is not NULL.  That one is
 * called in a signal handler: it may call weft_tasklet_cancel and what is async-signal-safe.  Looks
 * every limit_ns / 2, so the report comes up to half a limit late.
 * Installs a handler for the signal `sig` (0: SIGRTMAX - 1) in the process and a timer of the
 * thread, idle while no tasklet runs; a forked child has neither.  limit_ns 0 ends it.
 * Fails with EINVAL for a negative limit or a bad signal, EBUSY when the signal has a
 * handler already, EAGAIN for lack of timers (timer_create). */
int weft_tasklet_watchdog(int64_t limit_ns, int sig,
                          void (*report)(weft_tasklet *hog, int64_t ns, void *arg), void *arg);

/* ---- The poller: where events come from ---- */

/* What the scheduler asks when no tasklet is ready.  Filled in by its owner, who keeps it. */
typedef struct weft_poller weft_poller;
struct weft_poller {
    /* Waits until `d` at most for what tasklets wait for outside, and wakes those; runs on a
     * stack of the scheduler's own (256 KiB), not in a tasklet.  It may spawn, wake, cancel, and
     * send and receive with WEFT_NOW; it must not wait in any other way.
     * Returns 1; 0, at once, when no tasklet waits for anything outside (the scheduler then
     * sleeps until the next deadline, or finds the deadlock); -1: errno goes to the main tasklet's
     * wait. */
    int (*poll)(weft_poller *p, weft_deadline d);
    /* While tasklets are always ready, poll(p, WEFT_NOW) is called each time one gives way and
     * this many nanoseconds have passed.  0: 100 us. */
    int64_t interval;
};

/* Plugs in this thread's poller; NULL: takes it out.  Fails with EINVAL for one without poll,
 * EBUSY when there is another. */
int weft_tasklet_set_poller(weft_poller *p);

#ifdef __cplusplus
}
#endif

#endif
