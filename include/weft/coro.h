/* coro.h: coroutines, which hand the processor to one another by name.
 *
 *     weft_coro *co = weft_coro_create(counter, &i, NULL);     // yields &i again and again
 *     while ((p = weft_coro_resume(co, NULL)) != NULL) printf("%d\n", *p);
 *     weft_coro_destroy(co);
 *
 * A coroutine belongs to the thread that created it (others: EPERM); one that waits in a tasklet,
 * or for the answer of one that does, is that tasklet's business (EBUSY).  Nothing here waits.
 * (Terms: Conway 1963; de Moura and Ierusalimschy 2009; greenlet for parents.)
 */
#ifndef WEFT_CORO_H
#define WEFT_CORO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a function that returns a pointer returns when it fails and NULL could be a value. */
#ifdef __cplusplus
#define WEFT_FAILED (reinterpret_cast<void *>(-1L))
#else
#define WEFT_FAILED ((void *)-1)
#endif

typedef struct weft_coro weft_coro;

/* All zero is the default. */
typedef struct weft_coro_options {
    const char *name;  /* for the dump and the overflow report; copied, up to 31 bytes */
    size_t stack_size; /* bytes, guard and the coroutine's record included; at least 16 KiB; a
                          guarded one is rounded up to a power of two.  0: 64 KiB (on aarch64
                          128 KiB) */
    void *stack;       /* the caller's memory to run on, stack_size bytes, which must outlive
                          the coroutine; it has no guard.  NULL: a guarded stack */
    bool keep_fp;      /* own floating-point control words (rounding, exception masks) */
    bool keep_mask;    /* own signal mask, for one system call a switch */
} weft_coro_options;

/* A coroutine that will run fn(arg, first) when control is first transferred to it; `first` is
 * the value of that transfer.  Its parent is the caller.  What fn returns is its result, which
 * goes to its parent, or to the nearest living ancestor.
 * NULL: EINVAL (no fn, a bad size), ENOMEM (memory or mappings: the dump says which). */
weft_coro *weft_coro_create(void *(*fn)(void *arg, void *first), void *arg,
                            const weft_coro_options *opts);

/* Runs `co` until it yields, ends, or control comes back another way; returns the value that
 * came back.  The caller becomes the parent of `co`.  A dead one returns `value` at once.
 * WEFT_FAILED: EINVAL (NULL), EPERM (another thread's, a tasklet), EBUSY (the caller, an ancestor
 * of it, or one that waits or is being destroyed), or the error of a throw. */
void *weft_coro_resume(weft_coro *co, void *value);

/* Suspends the caller and hands `value` to its parent (to the nearest living ancestor, which
 * starts if it has not); returns what the next transfer here passes.
 * WEFT_FAILED: EPERM (on the main coroutine, directly in a tasklet or generator), EBUSY (the parent
 * waits), or the error of a throw. */
void *weft_coro_yield(void *value);

/* Suspends the caller and hands `value` to `to`, whatever their relation; parents stay as
 * they are.  Returns what the next transfer here passes.  To oneself: returns `value` at once.
 * To a dead one: to its nearest living ancestor.
 * WEFT_FAILED: EINVAL (NULL), EPERM (another thread's, to or in a tasklet), EBUSY (`to` waits), or
 * the error of a throw. */
void *weft_coro_switch(weft_coro *to, void *value);

/* Ends `co` from outside: its suspended call fails with `error`, and so does each later yield and
 * switch of it, until it returns.  A suspended one runs at once, up to its end, with the caller as
 * its parent; its result is kept.  One not started dies without running.  The caller itself, and an
 * ancestor of it, is only marked.  A dead one stays as it is.
 * -1: EINVAL (NULL, the main coroutine, an error that is not positive), EPERM (another thread's, a
 * tasklet), EBUSY (it waits; or control came back, and it has not ended). */
int weft_coro_throw(weft_coro *co, int error);

/* The same with ECANCELED. */
int weft_coro_cancel(weft_coro *co);

/* Ends and releases `co`.  A suspended one never runs on: its deferred functions run on
 * its stack and the stack is dropped (cancel it first if its body must clean up).  NULL is ignored.
 * -1: EBUSY (the caller, an ancestor of it, the main coroutine, one that waits or is being
 * destroyed), EPERM (another thread's, a tasklet). */
int weft_coro_destroy(weft_coro *co);

/* The running coroutine: the main one outside of any.  NULL: ENOMEM, only at the thread's first
 * call. */
weft_coro *weft_coro_self(void);

/* This thread's main coroutine, its own stack.  NULL: as weft_coro_self. */
weft_coro *weft_coro_main(void);

/* Who gets its yields and its result; NULL for the main coroutine, and: EINVAL (NULL), EPERM
 * (another thread's). */
weft_coro *weft_coro_parent(weft_coro *co);

/* Makes `parent` the parent of `co`, in any state.  -1: EINVAL (NULL, the main coroutine), ELOOP
 * (`co` is `parent` or an ancestor of it), EBUSY (`co` waits), EPERM (another thread's, a tasklet).
 */
int weft_coro_set_parent(weft_coro *co, weft_coro *parent);

/* WEFT_CORO_NORMAL: an ancestor of the running one, waiting for it. */
#define WEFT_CORO_NEW 0
#define WEFT_CORO_SUSPENDED 1
#define WEFT_CORO_RUNNING 2
#define WEFT_CORO_NORMAL 3
#define WEFT_CORO_DEAD 4

/* Its state.  -1: EINVAL (NULL), EPERM (another thread's). */
int weft_coro_state(const weft_coro *co);

/* What a dead coroutine returned.  If that was WEFT_FAILED, errno is set to what it was at the
 * return.  WEFT_FAILED: EINVAL (NULL), EPERM (another thread's), EBUSY (it has not ended). */
void *weft_coro_result(const weft_coro *co);

/* Its name: "main" for the main coroutine, "" if it has none, NULL for NULL. */
const char *weft_coro_name(const weft_coro *co);

/* Has fn(arg) run when the calling coroutine ends, however it does: last in, first out.  There
 * yield and switch fail with ECANCELED.  -1: EINVAL (no fn), ENOMEM, EPERM (the main coroutine). */
int weft_defer(void (*fn)(void *), void *arg);

/* Prints this thread's coroutines as a tree, for people.  Leaves errno alone. */
void weft_coro_dump(FILE *out);

/* Gives this thread's free stacks, of which it keeps up to 1,024 with their memory, back to the
 * kernel. */
void weft_coro_trim(void);

/* From now on the overflow of a guarded stack is told on standard error before the process ends by
 * SIGSEGV.  Installs a handler for SIGSEGV and SIGBUS in the process, and an alternate signal stack
 * for the calling thread if it has none: call it once in each thread that runs coroutines.
 * -1: ENOMEM, or what sigaction(2) says. */
int weft_coro_report_overflow(void);

#ifdef __cplusplus
}
#endif

#endif
