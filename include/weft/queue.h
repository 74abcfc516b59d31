/* queue.h: hand fixed-size items from threads to threads.
 *
 *     weft_queue *q = weft_queue_create(sizeof(struct job), 64, NULL);
 *     weft_queue_put(q, &job, WEFT_FOREVER);                   // any thread
 *     while (weft_queue_get(q, &job, WEFT_FOREVER) == 0)       // any other
 *         work(&job);                                          // until EPIPE
 *
 * A weft_queue is a store under locks, a weft_ring is bounded, first in first out and lock-free,
 * for hot paths.  A call that fails has put or taken nothing.  Waits end with ECANCELED by a stop.
 */
#ifndef WEFT_QUEUE_H
#define WEFT_QUEUE_H

#include <weft/deadline.h>

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What becomes of that which is queued when a queue closes or an executor ends:
 * it is still taken, in order; or it is thrown away. */
#define WEFT_DRAIN 0
#define WEFT_DISCARD 1

/* ---- The queue ---- */

/* Which item leaves first. */
#define WEFT_FIFO 0     /* the oldest */
#define WEFT_LIFO 1     /* the newest */
#define WEFT_PRIORITY 2 /* the least by `compare`; of equals the oldest */

typedef struct weft_queue weft_queue;

typedef struct weft_queue_options {
    int order; /* WEFT_FIFO (the default), WEFT_LIFO, WEFT_PRIORITY */
    /* WEFT_PRIORITY: less than 0 when *a is to leave before *b, as for qsort(3).
     * Called with the queue locked: it must not use the queue. */
    int (*compare)(const void *a, const void *b, void *arg);
    void *arg; /* given to compare */
} weft_queue_options;

/* A queue of items of `item_size` bytes, at most `capacity` of them; 0: as many as
 * memory holds.  NULL: EINVAL (item_size 0, an unknown order, WEFT_PRIORITY without compare or
 * compare without it), EOVERFLOW (capacity times item_size is too large), ENOMEM. */
weft_queue *weft_queue_create(size_t item_size, size_t capacity, const weft_queue_options *opts);

/* Releases q and the items in it.  NULL is ignored.  -1, and nothing is changed: EBUSY (a thread
 * waits in it: close it first). */
int weft_queue_destroy(weft_queue *q);

/* Copies *item into q; waits for room while it is full.
 * -1: EPIPE (closed), ETIMEDOUT, ECANCELED, ENOMEM. */
int weft_queue_put(weft_queue *q, const void *item, weft_deadline d);

/* Takes the next item into *item; waits for one while q is empty.
 * -1: EPIPE (closed and empty), ETIMEDOUT, ECANCELED. */
int weft_queue_get(weft_queue *q, void *item, weft_deadline d);

/* Puts the n items of the array `items`, in order, waiting for room as often as it
 * takes.  Returns how many went in: fewer than n when the wait for the rest failed,
 * with errno saying why (as for put); -1 when none did.  n 0: 0. */
ssize_t weft_queue_put_many(weft_queue *q, const void *items, size_t n, weft_deadline d);

/* Waits until there is an item, then takes up to n that are there, in the order in
 * which get would.  Returns how many, or -1 as for get.  n 0: 0. */
ssize_t weft_queue_get_many(weft_queue *q, void *items, size_t n, weft_deadline d);

/* Waits until one of n queues has an item, takes it into *item, which has room for one of any of
 * them, and returns its queue's index, by chance if several have one.
 * -1: EINVAL (n 0), EPIPE (all are closed and empty), ETIMEDOUT, ECANCELED, ENOMEM. */
ssize_t weft_queue_get_any(weft_queue *const queues[], size_t n, void *item, weft_deadline d);

/* Ends the queue: puts fail with EPIPE from now on, gets too once it is empty, and
 * every thread that waits is woken.  `how`: WEFT_DRAIN leaves the items for gets;
 * WEFT_DISCARD throws them away, and they count as done for join.  Doesn't wait.
 * Again: the same, so a drain can be turned into a discard.  -1: EINVAL (`how`). */
int weft_queue_close(weft_queue *q, int how);

/* The items in q now.  Doesn't wait, takes no lock. */
size_t weft_queue_length(const weft_queue *q);

/* What it was created with; 0: unbounded. */
size_t weft_queue_capacity(const weft_queue *q);

/* Says that the work on one item got from q is done (Python's queue.task_done).
 * -1: EINVAL (more often than items were put). */
int weft_queue_task_done(weft_queue *q);

/* Waits until each item ever put has been reported by weft_queue_task_done (or
 * thrown away).  -1: ETIMEDOUT, ECANCELED. */
int weft_queue_join(weft_queue *q, weft_deadline d);

/* A descriptor (eventfd(2)), made by the first call and closed with q: readable while a get would
 * return at once.  Do not read it; get with WEFT_NOW.  Items that come into an empty queue, or
 * leave one, cost a system call from the first call on.  A forked child asks for one of its own.
 * -1: EMFILE, ENFILE, ENOMEM, EPERM. */
int weft_queue_fd(weft_queue *q);

/* ---- The ring ---- */

typedef struct weft_ring weft_ring;

/* A ring for `capacity` items of `item_size` bytes, rounded up to a power of two, 2
 * at least; all its memory is taken now.  (D. Vyukov's bounded MPMC queue)
 * NULL: EINVAL (item_size or capacity 0), EOVERFLOW (too large), ENOMEM. */
weft_ring *weft_ring_create(size_t item_size, size_t capacity);

/* As weft_queue_destroy. */
int weft_ring_destroy(weft_ring *r);

/* As their twins above.  What need not wait takes no lock, and makes no system call unless it has
 * somebody to wake. */
int weft_ring_put(weft_ring *r, const void *item, weft_deadline d);
int weft_ring_get(weft_ring *r, void *item, weft_deadline d);

/* As their twins above; cells are claimed many at a time. */
ssize_t weft_ring_put_many(weft_ring *r, const void *items, size_t n, weft_deadline d);
ssize_t weft_ring_get_many(weft_ring *r, void *items, size_t n, weft_deadline d);

/* As weft_queue_close. */
int weft_ring_close(weft_ring *r, int how);

/* The items in r: exact when nobody is putting or getting, else a recent figure
 * between 0 and the capacity. */
size_t weft_ring_length(const weft_ring *r);

/* The capacity after rounding. */
size_t weft_ring_capacity(const weft_ring *r);

/* As their twins above; they cost put and get nothing. */
int weft_ring_task_done(weft_ring *r);
int weft_ring_join(weft_ring *r, weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
