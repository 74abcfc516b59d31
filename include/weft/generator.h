/* generator.h: generators, coroutines that yield items of one size.
 *
 *     weft_generator *g = weft_generator_create(countdown, &from, sizeof(int), NULL);
 *     while (weft_generator_next(g, &i) == 1) printf("%d\n", i);
 *     weft_generator_destroy(g);
 *
 * The calls are those of Python's generators (PEP 255, 342 and 380).  A generator belongs to the
 * thread that created it; any coroutine or tasklet of that thread may consume it, and nothing but
 * these calls transfers to it.  No function here waits.
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
 * be 0: then items are NULL and only the fact counts.  NULL: as weft_coro_create. */
weft_generator *weft_generator_create(int (*fn)(weft_generator *g, void *arg), void *arg,
                                      size_t item_size, const weft_coro_options *opts);

/* Runs it up to its next yield and copies that item to *item (NULL: dropped).
 * 1: an item; 0: exhausted, now or before.
 * -1: what fn returned, once; EINVAL (NULL), EPERM (another thread's), EBUSY (it is running, up the
 * chain of callers, or delegated to; or another child of the caller ended). */
int weft_generator_next(weft_generator *g, void *item);

/* The same, and weft_generator_sent gives `value` to the generator when its yield returns.
 * -1 also: EINVAL (it has not started, and value is not NULL). */
int weft_generator_send(weft_generator *g, void *value, void *item);

/* Makes the yield in which it is suspended fail, once, with `error`; then as next: if it goes on,
 * 1 with the next item.  One that has not started ends without running; that and an ended one fail
 * with `error`.  -1 also: EINVAL (error is not positive). */
int weft_generator_throw(weft_generator *g, int error, void *item);

/* Ends it: its yield, and each later one, fails with ECANCELED until fn returns; one it delegates
 * to is closed first.  Nothing to do on one that has not started or has ended.
 * -1: what fn returned, but for ECANCELED; EINVAL (NULL), EPERM and EBUSY as next; EBUSY (control
 * came back another way, and it has not ended). */
int weft_generator_close(weft_generator *g);

/* Closes it (what fn returns is lost) and releases it.  NULL is ignored.
 * -1, and it is not released: EPERM and EBUSY as close. */
int weft_generator_destroy(weft_generator *g);

/* In the generator: hands *item to the consumer and suspends.  0: go on.
 * -1: the error of a throw, ECANCELED (closed, or the consumer is gone), EINVAL (NULL), EPERM (not
 * called in g), EBUSY (the consumer is in another tasklet, and waits for something else). */
int weft_generator_yield(weft_generator *g, const void *item);

/* What the last send passed; NULL after a plain next. */
void *weft_generator_sent(const weft_generator *g);

/* In the generator g: yields every item of `inner` as its own (Python's yield from), at the same
 * cost however deep they nest.  Sends and throws reach inner.  `inner` stays the caller's to
 * destroy. 0: inner is exhausted.  -1: what inner's fn returned; the error of a throw or close;
 * EINVAL (NULL, another item size), EPERM as yield, EBUSY as next. */
int weft_generator_delegate(weft_generator *g, weft_generator *inner);

/* 1: it has ended, and next would return 0; 0: it has not.  -1: EINVAL, EPERM as next. */
int weft_generator_poll(const weft_generator *g);

#ifdef __cplusplus
}
#endif

#endif
