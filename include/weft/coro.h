/* coro.h: coroutines, which hand the processor to one another by name.
 *
 *     static void *counter(void *arg, void *first)
 *     {
 *         (void)first;
 *         for (int *i = arg; *i < 3; ++*i)
 *             if (weft_coro_yield(i) == WEFT_FAILED) return NULL;
 *         return NULL;
 *     }
 *     weft_coro *co = weft_coro_create(counter, &i, NULL);
 *     while ((p = weft_coro_resume(co, NULL)) != NULL) printf("%d\n", *p);
 *     weft_coro_destroy(co);
 *
 * A coroutine has a stack of its own and runs until it transfers control: down to
 * one it resumes, back up to its parent by a yield, or to any other of its thread by
 * a switch (as Python's greenlets do).  A value goes in and comes out on each
 * transfer.  Nothing runs at the same time as anything else in its thread.
 *
 * A coroutine belongs to the thread that created it; every function here called
 * on another thread's coroutine fails with EPERM.  One that waits inside a tasklet (tasklet.h), or
 * for the answer of one that does, is that tasklet's business alone: for others resume, switch,
 * cancel, destroy and set_parent fail with EBUSY.  The thread's own stack counts as
 * a coroutine, the main one, which is the root of the tree of parents.  When a thread
 * ends, its coroutines are destroyed (inside one of them: their deferred functions run).
 *
 * errno is the thread's, not the coroutine's: read it before the next transfer.
 * No function here waits.  (Terms: M. E. Conway 1963; de Moura and Ierusalimschy,
 * "Revisiting Coroutines", 2004; greenlet for parents.)
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
                          guarded one is rounded up to a power of two.  0: 64 KiB (128 KiB on
                          aarch64, where the guard takes 64 KiB; four times that under a
                          sanitizer) */
    void *stack;       /* the caller's memory to run on, stack_size bytes, which must outlive
                          the coroutine; it has no guard.  NULL: a guarded stack */
    bool keep_fp;      /* own floating-point control words (rounding, exception masks) */
    bool keep_mask;    /* own signal mask, for one system call a switch */
} weft_coro_options;

/* A coroutine that will run fn(arg, first) when control is first transferred to it; `first` is
 * the value of that transfer.  Its parent is the caller.  What fn returns is its result, which
 * goes to its parent: returned by that one's suspended call; if the parent has not started, it
 * starts with it; if it is dead, or a generator in its yield, the nearest living ancestor gets it;
 * if that one waits for another, the tasklet in which fn ran goes on with it.
 * Without keep_fp or keep_mask it shares the control words or mask of its thread (the ucontext
 * backend keeps both always).
 * Fails (NULL) with EINVAL for a NULL fn or a bad size, ENOMEM for lack of memory or mappings
 * (the dump says which). */
weft_coro *weft_coro_create(void *(*fn)(void *arg, void *first), void *arg,
                            const weft_coro_options *opts);

/* Runs `co` until it yields, ends, or control comes back another way; returns the value that
 * came back.  The caller becomes the parent of `co`.  A dead one returns `value` at once.
 * Fails (WEFT_FAILED) with EINVAL for NULL, EPERM from another thread or on a tasklet, EBUSY
 * when `co` is the caller or one of its ancestors, or waits in a tasklet or for the answer of a
 * generator, or with the error of a cancel. */
void *weft_coro_resume(weft_coro *co, void *value);

/* Suspends the caller and hands `value` to its parent (to the nearest living ancestor, which
 * starts if it has not); returns what the next transfer here passes.
 * Fails (WEFT_FAILED) with EPERM on the main coroutine or directly in a tasklet, EBUSY when the
 * parent waits in a tasklet, or for a generator, or is one in its yield; or with the error of a
 * cancel: ECANCELED, unless the canceller said otherwise. */
void *weft_coro_yield(void *value);

/* Suspends the caller and hands `value` to `to`, whatever their relation; parents stay as
 * they are.  Returns what the next transfer here passes.  To oneself: returns `value` at once.
 * To one not started: starts it.  To a dead one: to its nearest living ancestor, so `value`
 * comes back at once when that is the caller.
 * Fails (WEFT_FAILED) with EINVAL for NULL, EPERM from another thread, to a tasklet or
 * directly in one, EBUSY as resume when `to` waits, or with the error of a cancel. */
void *weft_coro_switch(weft_coro *to, void *value);

/* Ends `co` from outside: its suspended call fails with `error` (0 means ECANCELED), and so
 * does each later yield and switch of it, until it returns; resuming others still works.
 * A suspended one runs at once, up to its end, with the caller as its parent; its result is
 * kept.  One not started dies without running, with result WEFT_FAILED and `error`.  The caller
 * itself, and an ancestor of it, is only marked: the next call fails, or the one that waits.
 * Cancelling a dead one changes nothing.  Fails with EINVAL for NULL, a negative error or the
 * main coroutine, EPERM from another thread or on a tasklet, EBUSY as resume when it waits, and
 * when control came back and `co` has not ended (it resumed one that switched away). */
int weft_coro_throw(weft_coro *co, int error);

/* The same with ECANCELED. */
int weft_coro_cancel(weft_coro *co);

/* Ends and releases `co`.  A suspended one never runs on: its deferred functions run on
 * its stack and the stack is dropped (cancel it first if its body must clean up).  Its
 * children get its parent.  NULL does nothing.
 * Fails with EBUSY when `co` is the caller, an ancestor of it or the main coroutine, waits in a
 * tasklet, or is being destroyed already; EPERM from another thread or on a tasklet. */
int weft_coro_destroy(weft_coro *co);

/* The running coroutine: the main one outside of any.  Fails (NULL) with ENOMEM, only at the
 * thread's first call. */
weft_coro *weft_coro_self(void);

/* This thread's main coroutine, its own stack.  Fails as weft_coro_self does. */
weft_coro *weft_coro_main(void);

/* Who gets its yields and its result; NULL for the main coroutine (and, with errno, for NULL:
 * EINVAL, and from another thread: EPERM). */
weft_coro *weft_coro_parent(weft_coro *co);

/* Makes `parent` the parent of `co`, in any state.  Fails with EINVAL for NULL or the main
 * coroutine, ELOOP when `co` is `parent` or an ancestor of it, EBUSY when `co` waits in a tasklet,
 * EPERM from or to another thread or on a tasklet. */
int weft_coro_set_parent(weft_coro *co, weft_coro *parent);

/* WEFT_CORO_NORMAL: an ancestor of the running one, waiting for it. */
#define WEFT_CORO_NEW 0
#define WEFT_CORO_SUSPENDED 1
#define WEFT_CORO_RUNNING 2
#define WEFT_CORO_NORMAL 3
#define WEFT_CORO_DEAD 4

/* Its state.  Fails (-1) with EINVAL for NULL, EPERM from another thread. */
int weft_coro_state(const weft_coro *co);

/* What a dead coroutine returned.  If that was WEFT_FAILED, errno is set to what it was at the
 * return.  Fails (WEFT_FAILED) with EINVAL for NULL, EPERM from another thread, EBUSY when
 * it has not ended. */
void *weft_coro_result(const weft_coro *co);

/* Its name: "main" for the main coroutine, "" if it has none, NULL for NULL. */
const char *weft_coro_name(const weft_coro *co);

/* Has fn(arg) run when the calling coroutine ends, however it does: last in, first out.  There
 * yield and switch fail with ECANCELED.  Fails with EINVAL for NULL, ENOMEM, EPERM on the
 * main coroutine. */
int weft_defer(void (*fn)(void *), void *arg);

/* Prints this thread's coroutines as a tree: name, state, what each waits for, stack used,
 * where it stands; and why a create failed last for want of memory or mappings.
 * Leaves errno alone. */
void weft_coro_dump(FILE *out);

/* Gives this thread's free stacks back to the kernel: their memory and, of the mappings in which
 * no stack is in use, addresses and page tables too.  A thread keeps the memory of up to 1,024
 * anyway, no more. */
void weft_coro_trim(void);

/* From now on the overflow of a guarded stack prints
 *     weft: stack overflow in coroutine "NAME" (64 KiB stack)
 * on standard error before the process ends by SIGSEGV.  Installs a handler for SIGSEGV and
 * SIGBUS in the process, which passes what is not an overflow on to the program's own, and an
 * alternate signal stack (sigaltstack) for the calling thread if it has none: call it once in
 * each thread that runs coroutines.  Fails with ENOMEM or what sigaction(2) says. */
int weft_coro_report_overflow(void);

#ifdef __cplusplus
}
#endif

#endif
