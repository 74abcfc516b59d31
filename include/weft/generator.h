/* generator.h: generators, coroutines that yield items of one size.
 *
 *     static int countdown(weft_generator *g, void *arg)
 *     {
 *         for (int i = *(int *)arg; i > 0; i--)
 *             if (weft_generator_yield(g, &i) != 0) return errno;
 *         return 0;
 *     }
 *     weft_generator *g = weft_generator_create(countdown, &from, sizeof(int), NULL);
 *     while (weft_generator_next(g, &i) == 1) printf("%d\n", i);
 *     weft_generator_destroy(g);
 *
 * An item goes straight from the generator's variable to the consumer's.  The calls are those
 * of Python's generators (PEP 255, 342 and 380): next, send, throw, close, yield from.
 * A generator belongs to the thread that created it; any coroutine or tasklet of that
 * thread may consume it.  Inside it weft_defer, resuming others and a tasklet's waits work as in
 * any coroutine, but it yields only items: weft_coro_yield and weft_coro_switch fail with EPERM
 * there, and so does transferring to it other than by the calls below.
 *
 * No function here waits.
 */
#ifndef WEFT_GENERATOR_H
#define WEFT_GENERATOR_H

#include <weft/coro.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_generator weft_generator;

/* A generator that will run fn(g, arg) at the first next.  fn returns 0 at the end of the
 * items, else an errno (or -1 with errno set), which the consumer's call fails with.  item_size may
 * be 0: then items are NULL and only the fact counts. Fails (NULL) with EINVAL for a NULL fn,
 * ENOMEM, and as weft_coro_create does. */
weft_generator *weft_generator_create(int (*fn)(weft_generator *g, void *arg), void *arg,
                                      size_t item_size, const weft_coro_options *opts);

/* Runs it up to its next yield and copies that item to *item (NULL: dropped).
 * 1: an item; 0: exhausted, now or before.
 * Until then nobody else can make the caller go on; if it is destroyed, the generator's yield
 * fails. Fails (-1) with what fn returned, once; EINVAL for NULL, EPERM from another thread, EBUSY
 * when it is running, up the chain of callers, or delegated to, or when another child of the caller
 * ended, whose result has nowhere else to go: the generator's yield fails then, too. */
int weft_generator_next(weft_generator *g, void *item);

/* The same, and weft_generator_sent gives `value` to the generator when its yield returns.
 * Also fails with EINVAL if it has not started (nobody waits for the value) and value is
 * not NULL. */
int weft_generator_send(weft_generator *g, void *value, void *item);

/* Makes the yield in which it is suspended fail, once, with `error`; then as next: if it goes on,
 * 1 with the next item.  When it delegates, the innermost one gets the error.  One that has
 * not started ends without running; that and an ended one fail with `error`.
 * Also fails with EINVAL when error is not positive. */
int weft_generator_throw(weft_generator *g, int error, void *item);

/* Ends it: its yield, and each later one, fails with ECANCELED until fn returns; one it delegates
 * to is closed first.  Nothing to do on one that has not started or has ended.
 * Fails (-1) with what fn returned, ECANCELED excepted; EINVAL for NULL, EPERM and EBUSY as
 * next; EBUSY also when control came back another way and it has not ended. */
int weft_generator_close(weft_generator *g);

/* Closes it (what fn returns is lost) and releases it.  NULL does nothing.
 * Fails with EPERM and EBUSY as close does, and then it is not released. */
int weft_generator_destroy(weft_generator *g);

/* In the generator: hands *item to the consumer and suspends.  0: go on.
 * Fails (-1) with the error of a throw, ECANCELED when closed or the consumer is gone, EINVAL for
 * NULL, EPERM when called elsewhere than in g, EBUSY when g runs in another tasklet than the
 * consumer's, which waits for something else. */
int weft_generator_yield(weft_generator *g, const void *item);

/* What the last send passed; NULL after a plain next. */
void *weft_generator_sent(const weft_generator *g);

/* In the generator g: yields every item of `inner` as its own (Python's yield from), at the same
 * cost however deep they nest: items go from the innermost straight to the consumer.
 * Sends and throws reach inner.  `inner` stays the caller's to destroy.
 * 0: inner is exhausted.  Fails (-1) with what inner's fn returned; with the error of a throw or
 * close; EINVAL for NULL or another item size, EPERM as yield, EBUSY as next. */
int weft_generator_delegate(weft_generator *g, weft_generator *inner);

/* 1 when it has ended: next would return 0.  Fails (-1) with EINVAL, EPERM as next. */
int weft_generator_done(const weft_generator *g);

#ifdef __cplusplus
}
#endif

#endif
