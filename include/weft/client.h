/* client.h: a connection to a manager, or to a Redis server; remote.h has proxies on it.
 *
 *     weft_client *c = weft_client_connect("unix:/run/me/shared", NULL, weft_in_s(1));
 *     const char *const words[] = {"INCR", "visits"};
 *     weft_reply *r = weft_client_command(c, 2, words, NULL, weft_in_s(1));
 *     if (r != NULL && r->type == WEFT_REPLY_INTEGER)
 *         printf("%" PRId64, r->integer);
 *     weft_reply_free(r);
 *     weft_client_destroy(c);
 */
#ifndef WEFT_CLIENT_H
#define WEFT_CLIENT_H

#include <weft/deadline.h>

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Clients ----
 *
 * A client is one connection, for one thread or tasklet at a time; the next call makes one that has
 * ended again.  `d` bounds all that a call waits for: names, connecting, sending, what the server
 * waits for (which ends a little earlier), and its answer.  Until then it tries again what surely
 * did not run.  With WEFT_NOW, or a deadline that has passed, the server does not wait, and its
 * answer is waited for as weft_client_set_answer says.  All calls below share these errors:
 *   ENOTCONN   no connection, so the call surely had no effect; weft_client_error says why
 *   ECONNRESET the connection ended, or no answer came by `d`: it may have had its effect.  In the
 *              second case the connection stays, and what it holds
 *   EAGAIN     the server would not run it (LOADING, BUSY, READONLY, CLUSTERDOWN, ...), up to `d`
 *   ECANCELED  the tasklet was cancelled, the thread told to stop; the connection is closed
 *   EBUSY      another thread or tasklet is in a call
 *   EACCES     the server wants a password, or another one
 *   EPROTO     an error reply that has no errno of its own: weft_client_error says it; or what
 *              came is not RESP
 *   EINVAL     a bad argument; the name is of something else (WRONGTYPE)
 *   ENOMEM     here, or the server is at its max_memory
 * ETIMEDOUT is the server's: what was waited for did not come.
 */
typedef struct weft_client weft_client;

/* Connects (unix:, tcp:), says HELLO and AUTH.  `password`: NULL, or "password", kept for
 * connecting again.  One try; errors as weft_io_connect, ETIMEDOUT, and ECONNRESET for a connection
 * that ends meanwhile. */
weft_client *weft_client_connect(const char *address, const char *password, weft_deadline d);

/* Ends the connection (QUIT) and releases `c`.  EBUSY: proxies are open on it.  NULL is ignored. */
int weft_client_destroy(weft_client *c);

#define WEFT_SERVER_WEFT 1
#define WEFT_SERVER_REDIS 2

/* What it is connected to. */
int weft_client_server(const weft_client *c);

/* How long, in ns, a call that may not wait (WEFT_NOW) takes for the server's answer; 0: it looks
 * once.  100 ms at first.  EINVAL: less than 0. */
int weft_client_set_answer(weft_client *c, int64_t ns);

/* The last error reply, or why there was no connection; "" at first. */
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
 * next reply, or, when none is owed, for what comes out of order (RESP3 push).  Other calls fail
 * with EBUSY while some are owed.  After ETIMEDOUT (none has come by `d`), ENOTCONN or ECANCELED
 * they are owed still: call it again.  ENOENT: there is nothing, none is owed, and d is WEFT_NOW.
 * ECONNRESET: the connection ended, and none is owed any more. */
int weft_client_append(weft_client *c, size_t n, const char *const argv[], const size_t sizes[]);
weft_reply *weft_client_next(weft_client *c, weft_deadline d);

/* ---- Transactions ----
 *
 *     do {
 *         weft_client_watch(c, "stock", 5, d);
 *         ... look at it with weft_client_command ...
 *         weft_client_begin(c);
 *         weft_client_append(c, 2, (const char *const[]){"DECR", "stock"}, NULL);
 *         r = weft_client_execute(c, d);
 *     } while (r == NULL && errno == EAGAIN);
 */

/* From now on until execute or unwatch a change of the key, by whomever, is a conflict.
 * EAGAIN: what was watched before no longer is, since its connection has ended. */
int weft_client_watch(weft_client *c, const void *key, size_t key_size, weft_deadline d);
int weft_client_unwatch(weft_client *c, weft_deadline d); /* all of them */

/* What is appended from now on runs as a whole, or not at all.  Does not wait.  EBUSY: replies are
 * owed. */
int weft_client_begin(weft_client *c);

/* Sends the transaction, in one piece, and waits for its end: an array, of what each command
 * replies; some may be errors.  Then it is over, and nothing is watched any more, but for
 * ETIMEDOUT, ECANCELED, ENOTCONN: call it again, or discard.
 * EAGAIN: nothing ran; there was a conflict, or what was watched was lost with its connection.
 * EPROTO, ENOMEM, EACCES, EAGAIN: nothing ran, since a command was refused: weft_client_error says
 * why.  ECONNRESET: it may have run.  EINVAL: none was begun. */
weft_reply *weft_client_execute(weft_client *c, weft_deadline d);

/* Forgets the transaction and what is watched.  Had it been sent, its connection is ended. */
int weft_client_discard(weft_client *c, weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
