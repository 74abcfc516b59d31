/* shared_queue.h: a bounded queue of messages between processes.
 *
 *     weft_shared_queue *q = weft_shared_queue_create(NULL, 1 << 16, NULL);
 *     if (fork() == 0)
 *         _exit(weft_shared_queue_put(q, "done", 4, WEFT_FOREVER));
 *     char text[64];
 *     ssize_t n = weft_shared_queue_get(q, text, sizeof text, weft_in_ms(500));
 *
 * Whoever is killed, at whatever instruction, a message is there or not, never in part, never
 * twice.  What a killed process had got is gone with it, but not in lease mode.
 */
#ifndef WEFT_SHARED_QUEUE_H
#define WEFT_SHARED_QUEUE_H

#include <weft/queue.h> /* WEFT_DRAIN, WEFT_DISCARD */
#include <weft/shm.h>

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One per process and queue: made by create, attach or inherited over fork. */
typedef struct weft_shared_queue weft_shared_queue;

typedef struct weft_shared_queue_options {
    bool leases;      /* lease mode: weft_shared_queue_lease instead of get */
    int spin;         /* at most so many looks before sleeping; 0: the default, -1: none */
    int64_t lease_ns; /* a lease ends after so long, unless it is extended; 0: with its holder */
} weft_shared_queue_options;

/* A message got in lease mode. */
typedef struct weft_shared_lease {
    uint64_t place;      /* weft's own */
    uint32_t deliveries; /* 1, or more if it came back from a holder before */
} weft_shared_lease;

/* ---- making and finding ---- */

/* The bytes of a ring that a message of `n` bytes takes (`leases`: in lease mode). */
size_t weft_shared_queue_cost(size_t n, bool leases);

/* Makes a queue in `s` (NULL: in an anonymous segment of its own) whose ring has `bytes`, rounded
 * up to a power of two; in lease mode it takes twice that.
 * NULL: EINVAL (bytes 0 or above 4 GiB, in lease mode 2 GiB), ENOMEM, ENOSPC. */
weft_shared_queue *weft_shared_queue_create(weft_shm *s, size_t bytes,
                                            const weft_shared_queue_options *opts);

/* Where it lies in its segment, for the others to attach to.  `s` stays attached as long as the
 * handle.  NULL: EINVAL (no queue lies there), ENOMEM. */
uint64_t weft_shared_queue_offset(const weft_shared_queue *q);
weft_shared_queue *weft_shared_queue_attach(weft_shm *s, uint64_t offset);

/* Releases this process's handle. */
int weft_shared_queue_detach(weft_shared_queue *q);

/* The same, and gives the queue's memory back.  For the last who uses it.
 * -1: EBUSY (somebody is at work in it this moment). */
int weft_shared_queue_destroy(weft_shared_queue *q);

/* ---- put ---- */

/* Puts a copy of a message of 0 or more bytes; waits for room.
 * -1: EMSGSIZE (larger than the ring), EPIPE (closed), ETIMEDOUT, ECANCELED, EDEADLK (lease mode:
 * the calling thread has all that is in it on lease, so it would wait for itself). */
int weft_shared_queue_put(weft_shared_queue *q, const void *message, size_t n, weft_deadline d);

/* Puts `n` messages in order, as many as there is room for in one step that others see at once;
 * waits for room as often as it takes.  How many: fewer when the next could not be put, with errno
 * saying why (as for put); -1 when none could. */
ssize_t weft_shared_queue_put_many(weft_shared_queue *q, const struct iovec *messages, size_t n,
                                   weft_deadline d);

/* The same without a copy: room for a message of up to `n` bytes where it will be read, in one
 * piece, 8-byte aligned; waits for room.  It comes after what was put or reserved before, and what
 * comes after it waits until it is committed or cancelled; a dead process's is skipped.
 * NULL: EMSGSIZE (more than half the ring), EPIPE, ETIMEDOUT, ECANCELED, EINVAL (lease mode). */
void *weft_shared_queue_reserve(weft_shared_queue *q, size_t n, weft_deadline d);

/* The message, of `n` bytes, may be got; is none.  By any thread of the process that reserved it.
 * -1: ESTALE (nothing of the caller's is reserved there), EMSGSIZE (more than was reserved). */
int weft_shared_queue_commit(weft_shared_queue *q, void *message, size_t n);
int weft_shared_queue_cancel(weft_shared_queue *q, void *message);

/* ---- get ---- */

/* Takes the oldest message; waits for one.  Its size.
 * -1: EMSGSIZE (longer than `room`: it stays), EPIPE (closed, and empty), ETIMEDOUT, ECANCELED,
 * EINVAL (lease mode). */
ssize_t weft_shared_queue_get(weft_shared_queue *q, void *message, size_t room, weft_deadline d);

/* Takes as many as there are, up to `n`, each into its buffer, whose iov_len becomes the message's
 * size; waits for the first.  Ends before one that is too long.  How many; -1 as get. */
ssize_t weft_shared_queue_get_many(weft_shared_queue *q, struct iovec *messages, size_t n,
                                   weft_deadline d);

/* The size of the message that the next get (lease) would take.  -1: ETIMEDOUT (there is none). */
ssize_t weft_shared_queue_next_size(weft_shared_queue *q);

/* ---- lease mode ---- */

/* Takes the oldest message on lease for this process; waits for one.  Its size.  Messages that
 * come back go first.  A message that stays on lease takes its own room in the ring, and stops
 * no other.  -1: as get; EINVAL (not in lease mode). */
ssize_t weft_shared_queue_lease(weft_shared_queue *q, void *message, size_t room,
                                weft_shared_lease *l, weft_deadline d);

/* The message is dealt with: it is gone for good, and counts as done.  Gives it back: another
 * gets it.  Any thread of the holder's process may.  -1: ESTALE (not on this lease any more). */
int weft_shared_queue_acknowledge(weft_shared_queue *q, const weft_shared_lease *l);
int weft_shared_queue_give_back(weft_shared_queue *q, const weft_shared_lease *l);

/* The lease ends at `until` (WEFT_FOREVER: with its holder; WEFT_NOW: now), whatever was set
 * before. -1: ESTALE.  (Amazon SQS ChangeMessageVisibility) */
int weft_shared_queue_extend(weft_shared_queue *q, const weft_shared_lease *l, weft_deadline until);

/* ---- the whole ---- */

/* No more puts: they fail with EPIPE, also those that wait.  WEFT_DRAIN: gets go on until it is
 * empty; WEFT_DISCARD: they fail with EPIPE at once.  Closing again may go on to DISCARD.
 * -1: EINVAL. */
int weft_shared_queue_close(weft_shared_queue *q, int how);

/* Messages that wait to be got. */
size_t weft_shared_queue_length(const weft_shared_queue *q);

/* A message that was got is dealt with.  -1: EINVAL (more than were got, or lease mode).
 * (Python queue.Queue.task_done) */
int weft_shared_queue_task_done(weft_shared_queue *q);

/* Waits until as many are done as were put.  In lease mode: acknowledged.  A consumer killed
 * between get and task_done leaves its message undone for ever: there take lease mode.
 * -1: ETIMEDOUT, ECANCELED. */
int weft_shared_queue_join(weft_shared_queue *q, weft_deadline d);

/* Readable while there may be something to get; get with WEFT_NOW until ETIMEDOUT, then poll
 * again.  Made by the first call, and the handle's; each process has its own, also after a fork.
 * Poll no longer than a second: a producer killed between its put and its ring is heard of late.
 * -1: EUSERS (too many processes watch this queue), EMFILE. */
int weft_shared_queue_fd(weft_shared_queue *q);

#ifdef __cplusplus
}
#endif

#endif
