/* manager.h: a server process that holds what others share, and its clients.
 *
 *     weft_manager *m = weft_manager_start("unix:/run/me/shared", NULL);
 *
 *     weft_client *c = weft_client_connect("unix:/run/me/shared", NULL, weft_in_s(1));  // anywhere
 *     weft_remote_queue *jobs = weft_remote_queue_open(c, "jobs", 64);
 *     weft_remote_queue_put(jobs, "hello", 5, weft_in_s(1));
 *     weft_remote_destroy(jobs);
 *     weft_client_destroy(c);
 *
 * The server speaks RESP, the Redis protocol (versions 2 and 3), so that any Redis client can
 * talk to it: strings, lists and hashes with Redis's commands and error texts, and what Redis has
 * no safe primitive for in commands of its own, WEFT.LOCK and others (weft-manager(7)).  The
 * client here can be given the address of a real Redis instead; the manual's page weft_remote
 * says what differs there.
 *
 * What is shared lives as long as the server process.  What a client holds, locks and units of
 * semaphores, is released when its connection ends, in whatever way.
 *
 * Calls return 0, or -1 or NULL with errno set.
 */
#ifndef WEFT_MANAGER_H
#define WEFT_MANAGER_H

#include <weft/deadline.h>
#include <weft/queue.h> /* WEFT_DRAIN, WEFT_DISCARD */
#include <weft/sync.h>  /* WEFT_RECURSIVE */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The server ----
 *
 * Addresses are text:
 *     unix:PATH          a socket file of mode 0600; the peer's user id must be ours, or root's
 *     unix:@NAME         an abstract socket; the same check
 *     tcp:HOST:PORT      needs a password, on loopback too: other users live there.  Port 0: any
 *     fd:N, systemd:NAME a listening socket that was passed on (io.h)
 */

/* options.flags */
enum {
    WEFT_MANAGER_SIGNALS = 1 /* weft_manager_serve returns on SIGTERM and SIGINT, too */
};

/* Zero means the default, for each. */
typedef struct weft_manager_options {
    const char *password; /* who connects must say AUTH with it first; NULL, "": need not */
    size_t max_clients;   /* at once; 0: 10000, as far as there are descriptors (RLIMIT_NOFILE; of a
                             process of its own the hard limit).  One more gets an error, is cut */
    size_t max_memory;    /* bytes held; 0: no limit.  Commands that add then fail with OOM */
    size_t max_message;   /* bytes of one command; 0: 512 MiB, the most.  Longer: it is cut */
    size_t max_reply;     /* bytes of replies that wait for a client; 0: 1 GiB.  More: it is cut */
    int64_t stall_ns;     /* a client that reads nothing of them for so long is cut; 0: 60 s */
    int flags;            /* WEFT_MANAGER_... */
    /* Called once the server listens, in its process, with the address as a client may use it. */
    void (*listening)(const char *address, void *arg);
    void *listening_arg;
} weft_manager_options;

typedef struct weft_manager weft_manager;

/* Forks a server process; returns when it listens.  It closes what it inherits but standard error,
 * is in a session of its own (a terminal's ^C does not reach it), and ends when this process
 * dies in whatever way; when each process that has the handle, by fork, has destroyed it or ended;
 * on weft_manager_stop; or on the command SHUTDOWN.  It is no child of this process:
 * wait(2) does not see it.
 * NULL: EINVAL (no address, an option below 0, a longer max_message than there is), EACCES (tcp:
 * without a password), EADDRINUSE and others as weft_io_listen, EAGAIN, EMFILE, ENFILE, ENOMEM. */
weft_manager *weft_manager_start(const char *address, const weft_manager_options *opts);

/* The address as weft_client_connect takes it, with the port that was chosen; its process id. */
const char *weft_manager_address(const weft_manager *m);
pid_t weft_manager_pid(const weft_manager *m);

/* A descriptor (pidfd) that is readable once the server has ended.  It stays the handle's. */
int weft_manager_fd(const weft_manager *m);

/* Tells the server to end and waits until it has; at `d` it is killed.  0 also when it had ended.
 * -1: ETIMEDOUT (it was killed). */
int weft_manager_stop(weft_manager *m, weft_deadline d);

/* Releases this process's handle.  The server ends if nobody else has one; this does not wait for
 * that.  NULL is ignored. */
int weft_manager_destroy(weft_manager *m);

/* Serves in this process and thread until SHUTDOWN (or a signal, see flags).  0, or -1 as start. */
int weft_manager_serve(const char *address, const weft_manager_options *opts);

/* ---- Clients ----
 *
 * A client is one connection, for one thread or tasklet at a time: a second call meanwhile fails
 * with EBUSY.  In a tasklet of weft_io_run the tasklet waits, elsewhere the thread.
 *
 * `d` bounds what the server may wait for (a lock, an item).  A server that has not answered a
 * second after that is given up: ETIMEDOUT, and the connection is closed.  So it is when a tasklet
 * is cancelled, or a thread told to stop, in a call (ECANCELED).
 *
 * A connection that has ended is made again by the next call, within its deadline: the call that
 * found it ended fails with EPIPE, and whether it had its effect is not known.  Locks and units
 * that were held are the server's again then.  After a fork the child's first call makes a
 * connection of its own.
 *
 * All calls below share these errors:
 *   ETIMEDOUT  see above
 *   EPIPE      the connection has ended, or the queue is closed
 *   ECANCELED  the tasklet was cancelled, the thread told to stop
 *   EBUSY      another thread or tasklet is in a call
 *   EACCES     the server wants a password, or another one
 *   EPROTO     an error reply that has no errno of its own: weft_client_error says it; or what
 *              came is not RESP
 *   EINVAL     a bad argument; the name is of something else (WRONGTYPE)
 *   ENOMEM     here, or the server is at its max_memory
 *   ECONNREFUSED, ENOENT, ... as weft_io_connect, when it connects
 */
typedef struct weft_client weft_client;

/* Connects (unix:, tcp:), says HELLO and AUTH.  `password`: NULL, or "password", kept for
 * connecting again. */
weft_client *weft_client_connect(const char *address, const char *password, weft_deadline d);

/* Ends the connection (QUIT) and releases `c`.  EBUSY: proxies are open on it.  NULL is ignored. */
int weft_client_destroy(weft_client *c);

#define WEFT_SERVER_WEFT 1
#define WEFT_SERVER_REDIS 2

/* What it is connected to. */
int weft_client_server(const weft_client *c);

/* The last error reply, "" if there was none. */
const char *weft_client_error(const weft_client *c);

/* The socket: readable when replies of weft_client_append wait; -1 when it is not connected.
 * Changes when it connects again. */
int weft_client_fd(const weft_client *c);

/* ---- Commands as they are ---- */

enum {
    WEFT_REPLY_STATUS = 1, /* text: "OK" */
    WEFT_REPLY_ERROR,      /* text: "ERR unknown command ..." */
    WEFT_REPLY_INTEGER,
    WEFT_REPLY_STRING, /* text: any bytes, and a 0 after them */
    WEFT_REPLY_NULL,
    WEFT_REPLY_ARRAY,  /* items */
    WEFT_REPLY_MAP,    /* items: key, value, key, ...; RESP3, as those below */
    WEFT_REPLY_SET,    /* items */
    WEFT_REPLY_PUSH,   /* items */
    WEFT_REPLY_DOUBLE, /* real, and text */
    WEFT_REPLY_BOOL,   /* integer */
    WEFT_REPLY_BIG     /* text: a whole number of any size */
};

typedef struct weft_reply weft_reply;
struct weft_reply {
    int type;
    size_t size; /* of text; how many items */
    int64_t integer;
    double real;
    const char *text;
    const weft_reply *items;
};

/* Sends a command of `n` words and waits for its reply, which is the caller's (weft_reply_free).
 * sizes[i] is the length of argv[i]; NULL: they end with 0.  An error reply is a reply. */
weft_reply *weft_client_command(weft_client *c, size_t n, const char *const argv[],
                                const size_t sizes[], weft_deadline d);
void weft_reply_free(weft_reply *r); /* NULL is ignored */

/* A pipeline: append notes commands without sending, next sends what is noted and waits for the
 * next reply; also for those out of order (RESP3 push) when none is owed.  One connection has its
 * replies in order: weft_client_command and proxies fail with EBUSY while some are owed.
 * next waits until `d` and no longer (but a second, if it has to connect), and when that passes, or
 * the tasklet is cancelled, the reply is still owed and the connection stays: call it again.
 * WEFT_NOW: takes what is there.  ENOENT: there is nothing, none is owed, and d is WEFT_NOW.
 * EPIPE, or why it could not connect: none is owed any more. */
int weft_client_append(weft_client *c, size_t n, const char *const argv[], const size_t sizes[]);
weft_reply *weft_client_next(weft_client *c, weft_deadline d);

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

/* Writes the proxy as text that weft_remote_open takes in any process; without the password.
 * Returns the length; what does not fit is cut, as with snprintf(3). */
int weft_remote_text(const weft_remote *r, char *text, size_t room);

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

/* On Redis a lock, and units of a semaphore, are on a lease of WEFT_REMOTE_LEASE_MS: after that
 * others get them.  Each lock and unlock by its owner renews that of the lock, each wait and post
 * that of all units that the client holds there; who works longer calls this in between.
 * Elsewhere it only looks.  EPERM: this client does not have it (any more). */
#define WEFT_REMOTE_LEASE_MS 30000
int weft_remote_lock_renew(weft_remote_lock *l, weft_deadline d);

/* ---- semaphore ---- */

/* Made with `units` free by whom opens it first, which asks the server. */
weft_remote_semaphore *weft_remote_semaphore_open(weft_client *c, const char *name, uint32_t units,
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

#ifdef __cplusplus
}
#endif

#endif
