/* http_client.h: requests of HTTP/1.1, for tasklets in weft_io_run, over connections that are kept.
 *
 *     weft_http_response *r = weft_http_get(c, "http://127.0.0.1:8080/x", weft_in_s(10));
 *     if (r != NULL && r->status == 200)
 *         n = weft_http_response_read_all(r, &body, 1 << 20, weft_in_s(10));
 *     weft_http_response_close(r);
 *
 * Nothing is encrypted: https:// is refused, EPROTONOSUPPORT.  (RFC 9110, RFC 9112.)
 */
#ifndef WEFT_HTTP_CLIENT_H
#define WEFT_HTTP_CLIENT_H

#include <weft/deadline.h>
#include <weft/http.h>
#include <weft/http_parse.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The client: connections that are kept, and limits ---- */

/* One thread's, whose tasklets may all use it at once. */
typedef struct weft_http_client weft_http_client;

/* All zero is the default. */
typedef struct weft_http_client_options {
    weft_http_limits limits; /* of a head that comes */
    size_t body;             /* largest body that is read, bytes; 0: no limit */
    size_t url;              /* longest URL; 0: 8 KiB */
    size_t max;              /* idle connections that are kept; 0: 64 */
    size_t max_per_origin;   /* of these to one host and port; 0: 8 */
    int64_t idle_ns;         /* how long; 0: 30 s; below 0: none is kept */
    int redirects;           /* that are followed; 0: 10; below 0: none */
    const char *agent;       /* User-Agent; NULL: none; copied */
} weft_http_client_options;

/* NULL: EINVAL (a bad agent), ENOMEM. */
weft_http_client *weft_http_client_create(const weft_http_client_options *opts);

/* Closes the connections that are kept.  NULL is ignored.  EBUSY: a request or a response of it is
 * not closed yet. */
int weft_http_client_destroy(weft_http_client *c);

typedef struct weft_http_client_information {
    size_t idle;        /* connections that are kept, now */
    uint64_t requests;  /* sent, those of redirects and those sent again included */
    uint64_t connects;  /* new connections */
    uint64_t reused;    /* requests over one that was kept */
    uint64_t again;     /* requests sent again, as their kept connection had ended */
    uint64_t redirects; /* followed */
} weft_http_client_information;

/* What it has done.  Does not wait.  EINVAL: NULL. */
int weft_http_client_statistics(const weft_http_client *c, weft_http_client_information *out);

/* ---- Requests ----
 *
 * A URL is http://HOST[:PORT][/PATH] or unix:SOCKET[:/PATH].  Errors, beside those of
 * weft_io_connect (ECONNREFUSED, ENOENT: no such name or path, ...), each with one meaning:
 *   EINVAL           NULL; not a URL, method or field; a user's name, white space or a control in
 * one EPROTONOSUPPORT  neither http:// nor unix:, also of a redirect ENAMETOOLONG     the URL, or
 * its host or path ECONNRESET       the connection ended before the answer did: what came is not
 * whole EBADMSG          what came is no answer of HTTP, or may be read in two ways EMSGSIZE the
 * answer's head or body is beyond a limit ELOOP            too many redirects EPROTO           a
 * redirect to what is no URL, or from http:// to a unix socket ETIMEDOUT        the deadline, of
 * names, connecting, sending and the head ECANCELED        the tasklet was cancelled EPERM not in
 * weft_io_run ENOMEM
 */

/* All zero is the default. */
typedef struct weft_http_request_options {
    /* name, value, name, value, ..., NULL.  Host replaces the URL's.  What frames a message is the
     * client's own: Connection, Content-Length, Expect, Keep-Alive, Proxy-Connection, TE, Trailer,
     * Transfer-Encoding and Upgrade are EINVAL. */
    const char *const *fields;
    const void *body; /* `size` bytes */
    size_t size;
    /* Instead: called for up to n bytes of the body, may wait as tasklets do.  Returns how many; 0:
     * the end; -1: the request fails with its errno.  Sent chunked, or with `size` if that is not 0
     * (another number of bytes is EINVAL). */
    ssize_t (*read)(void *buf, size_t n, void *arg);
    void *arg;
} weft_http_request_options;

typedef struct weft_http_response {
    int status;     /* 200, ...; never 1xx */
    int version;    /* 10, 11 */
    int64_t length; /* of the body; WEFT_HTTP_CHUNKED, WEFT_HTTP_TO_THE_END: not known before */
    const weft_http_head *head; /* all fields; the values are terminated */
    const char *url;            /* whose it is, after redirects */
} weft_http_response;           /* closed by its user */

/* Sends a request and waits for the head of its answer; the body is still to be read.  Of redirects
 * (301, 302, 303, 307, 308 with a Location) it is the last one's: 303, and 301 and 302 of POST, go
 * on with GET and without the body; one whose body came from `read` and would be needed again is
 * returned itself.  Authorization and Cookie do not go to another host or port.  A kept connection
 * that ends before a byte of the answer came has the request sent again, over a new one, if the
 * method is idempotent (RFC 9110 section 9.2.2) and the body in memory; else ECONNRESET. */
weft_http_response *weft_http_request(weft_http_client *c, const char *method, const char *url,
                                      const weft_http_request_options *opts, weft_deadline d);

/* The same with GET and nothing else. */
weft_http_response *weft_http_get(weft_http_client *c, const char *url, weft_deadline d);

/* ---- Responses ---- */

/* The first field of that name, in letters of either size.  NULL: there is none; EINVAL: NULL. */
const char *weft_http_response_header(const weft_http_response *r, const char *name);

/* Reads up to n bytes of the body, as soon as there are any.  0 at its end, and only there.
 * Errors as above; after ETIMEDOUT and ECANCELED the next call goes on, after any other it fails
 * with the same. */
ssize_t weft_http_response_read(weft_http_response *r, void *buf, size_t n, weft_deadline d);

/* Reads all that is left of the body, up to `limit` bytes, into memory that the caller frees, ended
 * by a 0 that is not counted.  Returns how many.  EMSGSIZE: there are more.  After a failure what
 * was read is still to be read. */
ssize_t weft_http_response_read_all(weft_http_response *r, char **body, size_t limit,
                                    weft_deadline d);

/* Releases it.  The connection is kept if the body was read to its end, or the rest has come
 * already, else closed.  Does not wait.  EINVAL: NULL. */
int weft_http_response_close(weft_http_response *r);

/* ---- A reverse proxy: a handler that has other servers answer ---- */

typedef struct weft_http_proxy weft_http_proxy;

/* All zero is the default. */
typedef struct weft_http_proxy_options {
    weft_http_limits limits; /* of heads that come */
    size_t max;              /* idle connections that are kept to each server; 0: 64 */
    int64_t idle_ns;         /* how long; 0: 30 s; below 0: none is kept */
    int64_t connect_ns;      /* a server must take a connection so soon; 0: 5 s */
    int64_t answer_ns;       /* it must take each part of a request, and send its head and each part
                                of its body; 0: 60 s */
    int64_t tunnel_ns;       /* how long a WebSocket may be silent; 0: 10 minutes */
    size_t failures;         /* so many in a row take a server out; 0: 3 */
    int64_t out_ns;          /* for so long; 0: 10 s.  Never the only one */
    bool in_turn;            /* one server after the other; else who has the fewest requests */
    bool rewrite_host;       /* Host is the server's address; else as the client sent it */
    bool trust_forwarded;    /* X-Forwarded-*, Forwarded that come are passed on, and ours added;
                                else they are dropped first */
} weft_http_proxy_options;

/* For `count` servers: addresses as weft_io_connect takes, tcp: and unix:, copied.
 * NULL: EINVAL: none, or not an address; ENOMEM. */
weft_http_proxy *weft_http_proxy_open(const char *const *addresses, size_t count,
                                      const weft_http_proxy_options *opts);

/* NULL is ignored.  EBUSY: a request is under way. */
int weft_http_proxy_destroy(weft_http_proxy *p);

/* Has one of the servers answer, for weft_http_route(s, NULL, prefix, weft_http_proxy_handler, p).
 * Bodies pass in both directions as they come.  Another server is asked where one can't be reached,
 * or ends the connection before its answer, if the method is idempotent and there is no body; not
 * when a byte of an answer has come.  Else the client gets 502 (no server, or no answer of HTTP),
 * 503 (all servers are out, or no memory), 504 (not in time), 501 (CONNECT).  An answer that is cut
 * behind its head is a reset for the client.  Of protocols only websocket is passed on. */
void weft_http_proxy_handler(weft_http_exchange *x, void *proxy);

/* Asks each server for `path` at once, as a handler would: who answers with 2xx or 3xx is in again,
 * who does not is out, until the next check or for out_ns.  To be called again and again by a
 * tasklet.  Returns how many are in.  EINVAL: NULL, or not a path; ENOMEM, ECANCELED, EPERM: not in
 * weft_io_run. */
ssize_t weft_http_proxy_check(weft_http_proxy *p, const char *path, weft_deadline d);

typedef struct weft_http_proxy_information {
    size_t servers, out; /* of these: out now */
    size_t busy;         /* requests under way */
    size_t idle;         /* connections that are kept */
    uint64_t requests;   /* answered by a server */
    uint64_t failed;     /* answered 502, 503 or 504, or cut */
    uint64_t again;      /* asked another server, or over another connection */
    uint64_t connects, reused;
} weft_http_proxy_information;

/* EINVAL: NULL. */
int weft_http_proxy_statistics(const weft_http_proxy *p, weft_http_proxy_information *out);

#ifdef __cplusplus
}
#endif

#endif
