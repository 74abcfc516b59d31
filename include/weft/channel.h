/* channel.h: how tasklets of one thread hand things to one another.
 *
 *     weft_channel *c = weft_channel_create(sizeof(int), 0);
 *     ... in one tasklet:
 *     for (int i = 0; i < 10; i++) weft_channel_send(c, &i, WEFT_FOREVER);
 *     weft_channel_close(c);
 *     ... in another:
 *     while (weft_channel_next(c, &i, WEFT_FOREVER) == 1) printf("%d\n", i);
 *
 * An item is a fixed number of bytes, copied once: from the sender's memory straight into
 * the receiver's, or through the buffer.  Unbuffered (capacity 0), a send ends when a
 * receiver has the item.  Those who wait are served in the order they came; one that is
 * cancelled or whose deadline passes leaves the queue and has sent or received nothing.
 *
 * A channel belongs to the thread that created it (others: EPERM).  Outside of any
 * tasklet these calls may wait too: the main tasklet does.  Errors common to all calls
 * that wait are in tasklet.h.  (C. A. R. Hoare, CSP, 1978; Stackless Python's channels.)
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
 * Fails (NULL) with ENOMEM, EINVAL when the sizes overflow. */
weft_channel *weft_channel_create(size_t item_size, size_t capacity);

/* Releases it with what is in its buffer.  NULL does nothing.  Fails with EBUSY while someone
 * waits on it (close it first, and let them run), EPERM from another thread. */
int weft_channel_destroy(weft_channel *c);

/* Waits until a receiver has the item, or it is in the buffer.  Fails with EINVAL for NULL, EPIPE
 * when the channel is closed, or is closed before. */
int weft_channel_send(weft_channel *c, const void *item, weft_deadline d);

/* The same, but instead of an item the receiver's call gets this error (Stackless's
 * send_exception): it fails with errno `error`, which must be positive (else EINVAL). */
int weft_channel_send_error(weft_channel *c, int error, weft_deadline d);

/* Waits for an item.  Fails with EINVAL for NULL, EPIPE when the channel is closed and drained, or
 * with an error that was sent. */
int weft_channel_receive(weft_channel *c, void *item, weft_deadline d);

/* Receives, for loops: 1 an item, 0 closed and drained, -1 an error. */
int weft_channel_next(weft_channel *c, void *item, weft_deadline d);

/* No more sends.  Those waiting to send fail with EPIPE; receivers get what is in the
 * buffer, then EPIPE.  Closing twice changes nothing.  Fails with EINVAL for NULL, EPERM. */
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
                              have failed with: EPIPE when closed, an error that was sent */
    struct weft_private_waiter waiter; /* private */
} weft_select_case;

/* Waits until one of the n cases can happen, has exactly that one happen, and returns its index.
 * If several can at once, each is as likely.  With WEFT_NOW: only if one can at once.  n 0
 * waits for the deadline.
 * Fails (-1) with EINVAL for more cases than an int counts, NULL cases or a bad op, EPERM for
 * another thread's channel. */
ssize_t weft_select(weft_select_case cases[], size_t n, weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
