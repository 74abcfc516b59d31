/* http.h: a server of HTTP/1.1 and 1.0 (RFC 9112), whose handlers are tasklets.
 *
 *     static void hello(weft_http_exchange *x, void *arg)
 *     {
 *         weft_http_reply(x, 200, "text/plain", "hello\n", 6);
 *     }
 *
 *     weft_http_route(s, "GET", "/hello", hello, NULL); // of s = weft_http_server_create(NULL)
 *     weft_http_serve(s, listener);                     // in weft_io_run, until weft_http_stop
 */
#ifndef WEFT_HTTP_H
#define WEFT_HTTP_H

#include <weft/deadline.h>
#include <weft/http_parse.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_http_server weft_http_server;

/* One request and its response: the handler's until it returns.  All is readable; texts end with
 * a 0 and last as long. */
typedef struct weft_http_exchange {
    const char *method, *target;
    const char *path;  /* decoded, without //, . and ..; begins with / ; * for all of the server */
    const char *rest;  /* of the path: what is behind the route's prefix */
    const char *query; /* behind the ?, as it came; NULL: none */
    const weft_http_head *head; /* all fields */
    int64_t length;             /* of the body; 0: none; or WEFT_HTTP_CHUNKED */
    int version;                /* 10, 11 */
    int status;                 /* of the response; 0: it has not begun */
    uint64_t sent;              /* bytes of the response's body */
    int64_t began;              /* when the request was ready, as weft_now */
} weft_http_exchange;

/* Answers x; runs in a tasklet, and may wait. */
typedef void (*weft_http_handler)(weft_http_exchange *x, void *arg);

/* ---- The server ---- */

/* All zero is the default. */
typedef struct weft_http_server_options {
    weft_http_limits limits; /* of requests' heads */
    size_t body;             /* bytes of a request's body: else 413.  0: 1 MiB */
    size_t max;              /* connections at once; 0: 10000.  More wait in the backlog */
    size_t max_per_address;  /* of an IPv4 address or an IPv6 /64: else 503.  0: no limit */
    /* A head must be there so long after its first byte, or the connection's begin: else 408.
     * 0: 10 s. */
    int64_t header_ns;
    int64_t idle_ns;   /* of a connection between requests; 0: 60 s */
    size_t rate;       /* bytes a second at least, of a body and of a response; 0: 500 */
    int64_t grace_ns;  /* how long a client may fall behind that; 0: 5 s, 30 s after a while */
    int64_t drain_ns;  /* how long handlers have after a stop; 0: 30 s; below 0: none */
    size_t stack_size; /* of a handler's tasklet; 0: 64 KiB */
    const char *name;  /* for the field Server; NULL: none.  It is not copied */
    /* Called when an exchange is over, also one that the server answered itself: for a log.  It
     * must not wait. */
    void (*done)(const weft_http_exchange *x, void *arg);
    void *arg;
} weft_http_server_options;

/* NULL: EINVAL: an option below 0 or a name that is no field's value; ENOMEM. */
weft_http_server *weft_http_server_create(const weft_http_server_options *opts);

/* EBUSY: it serves.  NULL is ignored. */
int weft_http_server_destroy(weft_http_server *s);

/* Has fn(x, arg) answer requests of this method (NULL: each but CONNECT) for paths below `prefix`:
 * /a is for /a and /a/b and not for /ab; /a/ for /a/ and /a/b.  Of those that match the longest
 * prefix counts. Where only the methods differ the answer is 405, where there is none 404.  GET
 * answers HEAD, too, without the body; OPTIONS is answered, unless it has a handler.  Texts are
 * copied. EINVAL: NULL, no method, a prefix that does not begin with / ; EEXIST: both are taken;
 * ENOMEM. */
int weft_http_route(weft_http_server *s, const char *method, const char *prefix,
                    weft_http_handler fn, void *arg);

/* Serves the non-blocking socket `listener`, which stays the caller's, until weft_http_stop; then
 * takes what is in its backlog, waits for the handlers, cancels those that are left after drain_ns,
 * and returns 0.  Several listeners: a tasklet each.  Connections are counted by
 * weft_worker_connections.  Sets TCP_NODELAY and TCP_DEFER_ACCEPT of it.  In weft_io_run.
 * ECANCELED: the caller was, and so are the handlers; EINVAL: NULL, what does not listen, or would
 * block; EBUSY: it serves in another thread; EEXIST: it is served already; EPERM: not in
 * weft_io_run; ENOMEM, EMFILE, ENOSPC. */
int weft_http_serve(weft_http_server *s, int listener);

/* Ends each weft_http_serve of `s`.  From now on responses say Connection: close; what is idle is
 * closed.  Doesn't wait.  ENOENT: it does not serve; EPERM: another thread's; EINVAL: NULL. */
int weft_http_stop(weft_http_server *s);

#define WEFT_HTTP_BUCKETS 32

typedef struct weft_http_counters {
    size_t connections; /* now */
    size_t idle;        /* of these: no request has begun */
    uint64_t accepted;
    uint64_t refused;  /* connections over max_per_address, or for which there was no memory */
    uint64_t requests; /* exchanges that are over */
    uint64_t
        status[6];     /* of these, by the first digit: [2]: 2xx.  [0]: no response, or a cut one */
    uint64_t timeouts; /* of heads, and of clients that were too slow */
    uint64_t in, out;  /* bytes of the connections */
    int64_t latency;   /* ns, the sum over all requests: from being ready to the handler's return */
    uint64_t buckets[WEFT_HTTP_BUCKETS]; /* requests that took less than 2^i us, and no less than
                                            half */
} weft_http_counters;

/* Of its beginning until now.  EINVAL: NULL. */
int weft_http_statistics(const weft_http_server *s, weft_http_counters *c);

/* ---- The request ----
 *
 * Of an exchange others of the thread's tasklets may call what is below, too, until its handler
 * returns; EBUSY: another one waits for the same direction. */

/* The value of the first field of this name, ended with a 0; upper or lower case.  NULL: there is
 * none (errno stays); EINVAL: NULL. */
const char *weft_http_header(const weft_http_exchange *x, const char *name);

/* Copies the value of a parameter of the query, decoded, with a 0 behind it; returns its length.
 * ENOENT: there is none; ENOBUFS: no room; EBADMSG: a % is no %XX; EINVAL: NULL. */
ssize_t weft_http_query(const weft_http_exchange *x, const char *name, char *value, size_t room);

/* Reads up to n bytes of the body as soon as there are any.  Returns how many; 0: its end.  Asks
 * for it, if the client waits for that (100 Continue).  A handler that fails here may return: then
 * the server answers 400, 408 or 413.
 * EMSGSIZE: it is longer than allowed; EBADMSG: it is no body; ECONNRESET: the client is gone;
 * ETIMEDOUT: also too slow; ECANCELED; EINVAL: NULL. */
ssize_t weft_http_read(weft_http_exchange *x, void *buf, size_t n, weft_deadline d);

/* The client's address as weft_io_address writes it, in 128 bytes at most. */
int weft_http_peer(const weft_http_exchange *x, char *text, size_t room);

/* 1: the server drains, or the client is gone, so what would go on for ever should end; 0: go on.
 * EINVAL: NULL. */
int weft_http_stopping(const weft_http_exchange *x);

/* ---- The response ----
 *
 * It goes out when the handler returns or waits, or much has come together.  EPIPE, ECONNRESET: the
 * client is gone, or was too slow. */

/* Adds a field to the response.  EINVAL: NULL, no name or value of a field, or one that the server
 * writes: Connection, Content-Length, Date, Keep-Alive, Trailer, Transfer-Encoding, Upgrade;
 * EALREADY: the response has begun; ENOMEM. */
int weft_http_set(weft_http_exchange *x, const char *name, const char *value);

/* Answers, with n bytes that are copied if need be: doesn't wait.  type NULL: no Content-Type.
 * EINVAL: NULL, a status below 200 or over 599, a type that is no field's value; EALREADY: the
 * response has begun; ENOMEM. */
int weft_http_reply(weft_http_exchange *x, int status, const char *type, const void *body,
                    size_t n);

/* Begins a response whose body, of `length` bytes, weft_http_write gives; WEFT_HTTP_CHUNKED: until
 * the handler returns.  A handler that returns before it has given `length` bytes ends the
 * connection with a reset; one that did not begin at all is answered 500.  As reply. */
int weft_http_begin(weft_http_exchange *x, int status, const char *type, int64_t length);

/* Writes all n bytes and returns n.  When that fails after some were taken, returns how many with
 * errno set; -1 if none were.  EINVAL: NULL, not begun, or more than `length`; ETIMEDOUT,
 * ECANCELED, ENOMEM. */
ssize_t weft_http_write(weft_http_exchange *x, const void *buf, size_t n, weft_deadline d);

/* The same with n bytes of a file from `offset` on, by sendfile(2).  Fewer: the file ends.  Costs
 * two system calls less where SIGPIPE is ignored from before weft_http_serve on. */
ssize_t weft_http_send_file(weft_http_exchange *x, int fd, off_t offset, size_t n, weft_deadline d);

/* Sends what was written.  As write; nothing is lost after ETIMEDOUT. */
int weft_http_flush(weft_http_exchange *x, weft_deadline d);

/* Sends an event to a browser's EventSource, at once (HTML, section 9.2); the first begins the
 * response.  The lines of `data` end with LF, CR or CR LF; NULL: none.  event, id NULL: none; with
 * none of the three a comment, which keeps others from taking the connection for dead.  0.
 * EINVAL: NULL, or an event or id of several lines; else as set, begin, write and flush: after a
 * failure part of it may be on its way. */
int weft_http_event(weft_http_exchange *x, const char *event, const char *id, const char *data,
                    weft_deadline d);

/* Tells the browser to wait so long, in whole milliseconds, before it comes back.  As
 * weft_http_event.  EINVAL: below 0. */
int weft_http_event_retry(weft_http_exchange *x, int64_t ns, weft_deadline d);

/* Ends the connection with a reset when the handler returns, so that nobody takes what was sent
 * for the whole; writes fail from now on.  EINVAL: NULL. */
int weft_http_abort(weft_http_exchange *x);

/* ---- Another protocol on the connection ---- */

/* Answers 101 with Upgrade: `protocol` and the fields that were set, and sends it.  From then on
 * the connection is the handler's, by the two calls below, until it returns.  EINVAL: NULL, no
 * protocol, the request asks for none or its body is not read to its end; EALREADY: the response
 * has begun; else as write. */
int weft_http_upgrade(weft_http_exchange *x, const char *protocol, weft_deadline d);

/* As weft_io_read and weft_io_write.  EINVAL: NULL, or not upgraded. */
ssize_t weft_http_raw_read(weft_http_exchange *x, void *buf, size_t n, weft_deadline d);
ssize_t weft_http_raw_write(weft_http_exchange *x, const void *buf, size_t n, weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
