/* tasklet.h: many tasks in one thread, which take turns by themselves.
 *
 *     weft_tasklet_spawn(greet, "ping", &(weft_tasklet_options){.detached = true});
 *     weft_tasklet_run();
 *
 * Nothing interrupts a tasklet between two waits.  Calls that wait share: ETIMEDOUT, ECANCELED
 * (this tasklet was cancelled), EDEADLK (in the main one: none can ever go on), EPERM (another
 * thread's, or in a poller), ENOMEM (a thread's first call).
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
    const char *name;  /* for the dump and reports; copied, up to 31 bytes */
    size_t stack_size; /* bytes, as in weft_coro_options; 0: 64 KiB */
    weft_scope *scope; /* belongs to this open scope; it is never joined */
    bool detached;     /* released when it ends; it is never joined */
    bool keep_fp;      /* own floating-point control words */
    bool keep_mask;    /* own signal mask */
} weft_tasklet_options;

/* ---- Running ---- */

/* A tasklet that will run fn(arg) after all that are ready now.  What fn returns is its result;
 * WEFT_FAILED means that it failed, with the errno at that time.  The handle is released by a join,
 * or at its end if it is detached or in a scope.  Doesn't wait.
 * NULL: EINVAL (no fn, a bad size, a scope that is not open), ECANCELED (the scope was cancelled,
 * or the thread ends), ENOMEM. */
weft_tasklet *weft_tasklet_spawn(void *(*fn)(void *arg), void *arg,
                                 const weft_tasklet_options *opts);

/* Runs tasklets until all but the main one have ended.  -1: EDEADLK (none can ever go on; they stay
 * as they are), EPERM (in any tasklet but the main one), or what the poller failed with. */
int weft_tasklet_run(void);

/* Lets all the others that are ready go first. */
int weft_tasklet_yield(void);

/* Waits until `d` and returns 0.  WEFT_NOW: yields; WEFT_FOREVER: until cancelled. */
int weft_tasklet_sleep(weft_deadline d);

/* Waits until `t` has ended, stores its result (unless `result` is NULL) and releases it.  If the
 * result is WEFT_FAILED, errno is set to what it was when fn returned.
 * -1: EINVAL (NULL, the main tasklet, detached, in a scope), EBUSY (another one joins it), EDEADLK
 * (`t` waits, directly or not, to join the caller). */
int weft_tasklet_join(weft_tasklet *t, void **result, weft_deadline d);

/* From now on `t` is released when it ends.  -1: EINVAL (as join), EBUSY (someone joins it). */
int weft_tasklet_detach(weft_tasklet *t);

/* ---- Stopping and going on ---- */

/* Makes what `t` waits for fail with ECANCELED, and each later wait of it, until it returns; calls
 * with WEFT_NOW still work.  One that has not started never runs fn.  Doesn't wait: join it.
 * -1: EINVAL (NULL, the main tasklet). */
int weft_tasklet_cancel(weft_tasklet *t);

/* Waits until someone wakes the caller.  A wake that came before counts, once. */
int weft_tasklet_suspend(weft_deadline d);

/* Ends the suspension of `t`, or the next one if it is not suspended; puts it back into the run
 * queue if it was removed.  -1: EINVAL (NULL). */
int weft_tasklet_wake(weft_tasklet *t);

/* Takes `t`, which is ready to run (or new), out of the run queue until a wake or a cancel.
 * -1: EINVAL (NULL, the main tasklet), EBUSY (the caller, or it waits), ESRCH (it has ended). */
int weft_tasklet_remove(weft_tasklet *t);

/* ---- Who is who ---- */

/* The running tasklet; the main one outside of any.  NULL: EPERM in a poller, ENOMEM. */
weft_tasklet *weft_tasklet_self(void);

/* Its name: "main" for the main one, "" if it has none, NULL for NULL. */
const char *weft_tasklet_name(const weft_tasklet *t);

/* 1: `t`, which is not released yet, has ended; 0: it has not.  -1: EINVAL (NULL), EPERM. */
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
 * and join it in the one that opened it.  The first child that fails (its result is WEFT_FAILED)
 * cancels the others.  -1: EINVAL (NULL), ENOMEM. */
int weft_scope_open(weft_scope *s);

/* Waits until all children have ended, and closes the scope.  When the deadline passes or the
 * caller is cancelled it cancels them, and still waits for them. -1: the errno of the first child
 * that failed, else as waits do; EINVAL (NULL), EPERM (the caller did not open it, or it is
 * joined), EBUSY (an inner one is still open). */
int weft_scope_join(weft_scope *s, weft_deadline d);

/* Cancels all children, and refuses new ones.  The scope is still to be joined, which then returns
 * 0 if no child failed for another reason.  -1: EINVAL (NULL), EPERM (not open, another thread's).
 */
int weft_scope_cancel(weft_scope *s);

/* ---- The watchdog ---- */

/* From now on a tasklet of this thread that neither waits nor yields for `limit_ns` is reported,
 * once a turn: on standard error, or by report(hog, ns, arg), which is called in a signal handler
 * (it may call weft_tasklet_cancel).  0 ends it. Installs a handler for the signal `sig` (0:
 * SIGRTMAX - 1) in the process and a timer of the thread. -1: EINVAL (a negative limit, a bad
 * signal), EBUSY (the signal has a handler), EAGAIN (no timer to be had). */
int weft_tasklet_watchdog(int64_t limit_ns, int sig,
                          void (*report)(weft_tasklet *hog, int64_t ns, void *arg), void *arg);

/* ---- The poller: where events come from ---- */

/* What the scheduler asks when no tasklet is ready.  Filled in by its owner, who keeps it. */
typedef struct weft_poller weft_poller;
struct weft_poller {
    /* Waits until `d` at most for what tasklets wait for outside, and wakes those; on a stack of
     * the scheduler's own (256 KiB).  It must not wait in any other way.
     * Returns 1; 0, at once, when no tasklet waits for anything outside; -1: errno goes to the main
     * tasklet's wait. */
    int (*poll)(weft_poller *p, weft_deadline d);
    /* While tasklets are always ready, poll(p, WEFT_NOW) is called each time one gives way and
     * this many nanoseconds have passed.  0: 100 us. */
    int64_t interval_ns;
};

/* Plugs in this thread's poller; NULL: takes it out.  -1: EINVAL (one without poll), EBUSY (there
 * is another). */
int weft_tasklet_set_poller(weft_poller *p);

#ifdef __cplusplus
}
#endif

#endif
