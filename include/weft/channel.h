/* channel.h: how tasklets of one thread hand things to one another.
 *
 *     weft_channel *c = weft_channel_create(sizeof(int), 0);
 *     weft_channel_send(c, &i, WEFT_FOREVER);                         // in one tasklet
 *     while (weft_channel_next(c, &i, WEFT_FOREVER) == 1) work(i);    // in another
 *
 * Unbuffered (capacity 0), a send ends when a receiver has the item.  Those who wait are served in
 * the order they came.  A channel belongs to the thread that created it (others: EPERM).  Errors of
 * all calls that wait are in tasklet.h.  (C. A. R. Hoare, CSP, 1978; Stackless Python's channels.)
 */
#ifndef WEFT_CHANNEL_H
#define WEFT_CHANNEL_H

#include <weft/deadline.h>
#include <weft/tasklet.h>

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_channel weft_channel;

/* A channel of items of `item_size` bytes (0: signals only), `capacity` of them buffered.
 * NULL: ENOMEM, EINVAL (the sizes overflow). */
weft_channel *weft_channel_create(size_t item_size, size_t capacity);

/* Releases it with what is in its buffer.  NULL is ignored.  -1: EBUSY (someone waits on it: close
 * it first, and let them run), EPERM. */
int weft_channel_destroy(weft_channel *c);

/* Waits until a receiver has the item, or it is in the buffer.  -1: EINVAL (NULL), EPIPE (closed).
 */
int weft_channel_send(weft_channel *c, const void *item, weft_deadline d);

/* The same, but the receiver's call fails with errno `error`, which must be positive (else EINVAL).
 * (Stackless send_exception) */
int weft_channel_send_error(weft_channel *c, int error, weft_deadline d);

/* Waits for an item.  -1: EINVAL (NULL), EPIPE (closed and drained), or an error that was sent. */
int weft_channel_receive(weft_channel *c, void *item, weft_deadline d);

/* Receives, for loops: 1 an item, 0 closed and drained, -1 an error. */
int weft_channel_next(weft_channel *c, void *item, weft_deadline d);

/* No more sends.  Those waiting to send fail with EPIPE; receivers get what is in the
 * buffer, then EPIPE.  Closing twice changes nothing.  -1: EINVAL (NULL), EPERM. */
int weft_channel_close(weft_channel *c);

/* Items buffered and senders waiting, less receivers waiting: > 0, a receive need not wait; < 0,
 * so many receivers wait.  0 for NULL. */
ptrdiff_t weft_channel_balance(const weft_channel *c);

/* One of the things a select waits for. */
#define WEFT_RECEIVE 0
#define WEFT_SEND 1

/* The place of one that waits, in the channel's queue.  Private. */
struct weft_private_waiter {
    struct weft_private_waiter *next, *previous;
    weft_tasklet *tasklet;
    void *item;
    int error; /* a sender's: sent instead of an item */
    int index; /* of its case */
};

typedef struct weft_select_case {
    weft_channel *channel; /* NULL: never happens */
    int op;                /* WEFT_RECEIVE or WEFT_SEND */
    void *item;            /* where it goes, or what is sent (only read) */
    int error;             /* set for the case that happened: 0, or what the receive or send would
                              have failed with */
    struct weft_private_waiter waiter; /* private */
} weft_select_case;

/* Waits until one of the n cases can happen, has exactly that one happen, and returns its index.
 * If several can at once, each is as likely.  With WEFT_NOW: only if one can at once.  n 0
 * waits for the deadline.
 * -1: EINVAL (more cases than an int counts, NULL cases, a bad op), EPERM. */
ssize_t weft_select(weft_select_case cases[], size_t n, weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
