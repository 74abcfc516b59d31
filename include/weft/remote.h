/* remote.h: what processes share that share no memory: proxies of what a manager holds.
 *
 *     weft_client *c = weft_client_connect("unix:/run/me/shared", NULL, weft_in_s(1));
 *     weft_remote_queue *jobs = weft_remote_queue_open(c, "jobs", 64);
 *     weft_remote_queue_put(jobs, "hello", 5, weft_in_s(1));
 *     weft_remote_destroy(jobs);
 *     weft_client_destroy(c);
 *
 * They work on a real Redis, too; the manual's page weft_remote says what differs there.
 */
#ifndef WEFT_REMOTE_H
#define WEFT_REMOTE_H

#include <weft/client.h>
#include <weft/queue.h> /* WEFT_DRAIN, WEFT_DISCARD */
#include <weft/sync.h>  /* WEFT_RECURSIVE */

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Proxies ----
 *
 * A proxy is a name on a client.  Those opened by the same name of one kind, by whomever, are the
 * same thing.  The client must outlive it.  Use by one thread at a time, as the client's.
 */
typedef struct weft_remote weft_remote;
typedef weft_remote weft_remote_queue;
typedef weft_remote weft_remote_lock;
typedef weft_remote weft_remote_semaphore;
typedef weft_remote weft_remote_event;
typedef weft_remote weft_remote_barrier;
typedef weft_remote weft_remote_value;
typedef weft_remote weft_remote_dict;
typedef weft_remote weft_remote_list;
typedef weft_remote weft_remote_namespace;
typedef weft_remote weft_remote_set;
typedef weft_remote weft_remote_subscriber;

/* Writes the proxy as text that weft_remote_open takes in any process; without the password.
 * Returns the length; what does not fit is cut, as with snprintf(3). */
ssize_t weft_remote_text(const weft_remote *r, char *text, size_t room);

/* Connects, and opens what the text names, on a client of its own. */
weft_remote *weft_remote_open(const char *text, const char *password, weft_deadline d);

/* Releases the proxy, and its client if it has one of its own.  The thing itself stays.
 * EBUSY: it is in a call.  NULL is ignored. */
int weft_remote_destroy(weft_remote *r);

/* Its client. */
weft_client *weft_remote_client(const weft_remote *r);

/* ---- queue: a Redis list, first in first out ---- */

/* `capacity` 0: not bounded.  It bounds this proxy's puts. */
weft_remote_queue *weft_remote_queue_open(weft_client *c, const char *name, size_t capacity);

/* Appends n bytes; waits while `capacity` or more are in it. */
int weft_remote_queue_put(weft_remote_queue *q, const void *v, size_t n, weft_deadline d);

/* Takes the first; waits for one.  Its size.  EMSGSIZE: longer than `room`, it stays.
 * It is this client's for good with the client's next command or weft_client_destroy; if the
 * connection ends before, it is the first in the queue again. */
ssize_t weft_remote_queue_get(weft_remote_queue *q, void *v, size_t room, weft_deadline d);

/* The same whatever its size: a STRING, the caller's. */
weft_reply *weft_remote_queue_take(weft_remote_queue *q, weft_deadline d);

/* As weft_queue_close; weft_queue_length; Python's task_done and join.  What others than these
 * proxies pushed does not count for join. */
int weft_remote_queue_close(weft_remote_queue *q, int how, weft_deadline d);
ssize_t weft_remote_queue_length(weft_remote_queue *q, weft_deadline d);
int weft_remote_queue_task_done(weft_remote_queue *q, weft_deadline d); /* EINVAL: too many */
int weft_remote_queue_join(weft_remote_queue *q, weft_deadline d);

/* ---- lock ---- */

/* `flags`: 0, or WEFT_RECURSIVE. */
weft_remote_lock *weft_remote_lock_open(weft_client *c, const char *name, int flags);

/* Locks it for the client; waits, first come first served, while another client has it.  *token
 * (unless NULL): greater than that of every earlier owner, for what is guarded to refuse those
 * who believe to have it still.  EDEADLK: this client has it, and it is not recursive. */
int weft_remote_lock_lock(weft_remote_lock *l, int64_t *token, weft_deadline d);

/* EPERM: this client does not have it (any more). */
int weft_remote_lock_unlock(weft_remote_lock *l, weft_deadline d);

/* On Redis a lock, and units of a semaphore, are on a lease of WEFT_REMOTE_LEASE_NS: after that
 * others get them.  Each lock and unlock by its owner renews that of the lock, each wait and post
 * that of all units that the client holds there; who works longer calls this in between.
 * Elsewhere it only looks.  EPERM: this client does not have it (any more). */
#define WEFT_REMOTE_LEASE_NS INT64_C(30000000000)
int weft_remote_lock_renew(weft_remote_lock *l, weft_deadline d);

/* ---- semaphore ---- */

/* Made with `count` units free by whom opens it first, which asks the server. */
weft_remote_semaphore *weft_remote_semaphore_open(weft_client *c, const char *name, uint32_t count,
                                                  weft_deadline d);

int weft_remote_semaphore_wait(weft_remote_semaphore *s, weft_deadline d);

/* Gives a unit back; if this client holds none, adds a new one.  EPERM: the unit that was got by
 * this proxy was taken back, because the connection (or lease) has ended; or it is the parent's. */
int weft_remote_semaphore_post(weft_remote_semaphore *s, weft_deadline d);

/* As weft_remote_lock_renew.  EPERM: no unit was got by this proxy, or it was taken back. */
int weft_remote_semaphore_renew(weft_remote_semaphore *s, weft_deadline d);
ssize_t weft_remote_semaphore_value(weft_remote_semaphore *s, weft_deadline d);

/* ---- event ---- */

weft_remote_event *weft_remote_event_open(weft_client *c, const char *name); /* starts clear */
int weft_remote_event_set(weft_remote_event *e, weft_deadline d);
int weft_remote_event_clear(weft_remote_event *e, weft_deadline d);
int weft_remote_event_is_set(weft_remote_event *e, weft_deadline d); /* 1, 0 */
int weft_remote_event_wait(weft_remote_event *e, weft_deadline d);

/* ---- barrier ---- */

weft_remote_barrier *weft_remote_barrier_open(weft_client *c, const char *name, uint32_t parties);

/* Waits until `parties` have come.  1 in the last to come, 0 in the others.  A wait that fails
 * breaks the barrier, with EPIPE for the others; a connection that ends in it, with EOWNERDEAD;
 * for all who come, until reset. */
int weft_remote_barrier_wait(weft_remote_barrier *b, weft_deadline d);
int weft_remote_barrier_abort(weft_remote_barrier *b, weft_deadline d);
int weft_remote_barrier_reset(weft_remote_barrier *b, weft_deadline d);
ssize_t weft_remote_barrier_waiting(weft_remote_barrier *b,
                                    weft_deadline d); /* -1, EPIPE: broken */

/* ---- value: a number, 0 at first ---- */

weft_remote_value *weft_remote_value_open(weft_client *c, const char *name);
int weft_remote_value_set(weft_remote_value *v, int64_t to, weft_deadline d);
int weft_remote_value_get(weft_remote_value *v, int64_t *number, weft_deadline d);
/* Adds; *sum (unless NULL).  EOVERFLOW. */
int weft_remote_value_add(weft_remote_value *v, int64_t n, int64_t *sum, weft_deadline d);
int weft_remote_value_exchange(weft_remote_value *v, int64_t to, int64_t *was, weft_deadline d);
/* Sets if it is *was: 1; if not, *was becomes what it is, and 0. */
int weft_remote_value_replace(weft_remote_value *v, int64_t *was, int64_t to, weft_deadline d);

/* ---- dict: a Redis hash; namespace: the same, keyed by names ----
 *
 * Keys and values are any bytes.  What reads returns the value's size and copies what fits into
 * `room`.  ENOENT: no such key.  The last two return an array of keys; of key, value, key, ... */
weft_remote_dict *weft_remote_dict_open(weft_client *c, const char *name);
int weft_remote_dict_set(weft_remote_dict *r, const void *key, size_t key_size, const void *v,
                         size_t n, weft_deadline d);
ssize_t weft_remote_dict_get(weft_remote_dict *r, const void *key, size_t key_size, void *v,
                             size_t room, weft_deadline d);
int weft_remote_dict_remove(weft_remote_dict *r, const void *key, size_t key_size, weft_deadline d);
int weft_remote_dict_contains(weft_remote_dict *r, const void *key, size_t key_size,
                              weft_deadline d); /* 1, 0 */
ssize_t weft_remote_dict_length(weft_remote_dict *r, weft_deadline d);
int weft_remote_dict_clear(weft_remote_dict *r, weft_deadline d);
weft_reply *weft_remote_dict_keys(weft_remote_dict *r, weft_deadline d);
weft_reply *weft_remote_dict_items(weft_remote_dict *r, weft_deadline d);

weft_remote_namespace *weft_remote_namespace_open(weft_client *c, const char *name);
int weft_remote_namespace_set(weft_remote_namespace *r, const char *key, const void *v, size_t n,
                              weft_deadline d);
ssize_t weft_remote_namespace_get(weft_remote_namespace *r, const char *key, void *v, size_t room,
                                  weft_deadline d);
int weft_remote_namespace_remove(weft_remote_namespace *r, const char *key, weft_deadline d);

/* ---- list: a Redis list; indices from 0, or from -1 at the end ---- */

weft_remote_list *weft_remote_list_open(weft_client *c, const char *name);
ssize_t weft_remote_list_append(weft_remote_list *l, const void *v, size_t n, weft_deadline d);
ssize_t weft_remote_list_prepend(weft_remote_list *l, const void *v, size_t n, weft_deadline d);
/* ENOENT: no such index. */
ssize_t weft_remote_list_get(weft_remote_list *l, int64_t i, void *v, size_t room, weft_deadline d);
int weft_remote_list_set(weft_remote_list *l, int64_t i, const void *v, size_t n, weft_deadline d);
/* Takes the first (0) or last (-1); a STRING.  ENOENT: it is empty.  EINVAL: another i. */
weft_reply *weft_remote_list_pop(weft_remote_list *l, int64_t i, weft_deadline d);
/* Removes the first that equals v.  ENOENT: none does. */
int weft_remote_list_remove(weft_remote_list *l, const void *v, size_t n, weft_deadline d);
ssize_t weft_remote_list_length(weft_remote_list *l, weft_deadline d);
int weft_remote_list_clear(weft_remote_list *l, weft_deadline d);
/* Items `from` to `to`, both included; an array. */
weft_reply *weft_remote_list_range(weft_remote_list *l, int64_t from, int64_t to, weft_deadline d);

/* ---- set: a Redis set; members are any bytes, each in it once ---- */

weft_remote_set *weft_remote_set_open(weft_client *c, const char *name);
/* 1; 0: it was in it. */
int weft_remote_set_add(weft_remote_set *s, const void *v, size_t n, weft_deadline d);
/* ENOENT: it was not in it. */
int weft_remote_set_remove(weft_remote_set *s, const void *v, size_t n, weft_deadline d);
int weft_remote_set_contains(weft_remote_set *s, const void *v, size_t n,
                             weft_deadline d); /* 1, 0 */
/* Takes any one out; a STRING.  ENOENT: it is empty. */
weft_reply *weft_remote_set_pop(weft_remote_set *s, weft_deadline d);
ssize_t weft_remote_set_length(weft_remote_set *s, weft_deadline d);
int weft_remote_set_clear(weft_remote_set *s, weft_deadline d);
/* All members, in no order; an array. */
weft_reply *weft_remote_set_items(weft_remote_set *s, weft_deadline d);

/* ---- messages: Redis's channels ----
 *
 * A message goes to whom is subscribed to its channel at that moment, and is not kept. */

/* Sends n bytes: to how many. */
ssize_t weft_remote_publish(weft_client *c, const char *channel, const void *v, size_t n,
                            weft_deadline d);

#define WEFT_SUBSCRIBE_PATTERN 1 /* not a channel, but all that fit: "news.*" */

/* Subscribes on a connection of its own, to where `c` is connected. */
weft_remote_subscriber *weft_remote_subscribe(weft_client *c, const char *channel, int flags,
                                              weft_deadline d);

/* Subscribes to one more; to one less, ENOENT: it was not subscribed to. */
int weft_remote_subscriber_add(weft_remote_subscriber *s, const char *channel, int flags,
                               weft_deadline d);
int weft_remote_subscriber_remove(weft_remote_subscriber *s, const char *channel, int flags,
                                  weft_deadline d);

/* Waits for the next message: an array of its channel and its text.  The descriptor of its client
 * is readable when there may be some: then take them with WEFT_NOW until ETIMEDOUT.
 * ECONNRESET: the connection had ended, and there is another one by now: messages may have been
 * lost; go on.  ENOTCONN: there is none up to `d`; a later call tries again. */
weft_reply *weft_remote_subscriber_next(weft_remote_subscriber *s, weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
