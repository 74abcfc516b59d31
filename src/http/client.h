// client.h: what the client and the proxy are made of.
//
//   client_link.cc      a connection to a server: sends, and reads heads and bodies
//   client_pool.cc      connections that are kept
//   client_request.cc   the bytes of a request
//   client_response.cc  a response and its body
//   client.cc           requests, sent again where that is safe, and redirects
#ifndef WEFT_HTTP_CLIENT_PRIVATE_H
#define WEFT_HTTP_CLIENT_PRIVATE_H

#include "url.h"

#include <weft/http_client.h>

#include <base/bytes.h>

#include <sys/uio.h>

namespace weft {

// ---- Connections ----

struct http_link {
    http_link *next, *previous; // in a pool
    int fd;
    unsigned forks;      // of its pool, when it was taken: it is not for a forked child
    bool reused;         // it has had an answer before the present request
    bool heard;          // a byte of the present answer has come
    bool gone;           // the server takes no more: what it has sent is left
    weft_deadline until; // in a pool
    bytes in;            // what has come and is not taken yet
    bytes out;           // room for a head, which is made before it is sent
    size_t room;         // of fields, for a head
    weft_http_field *fields;
    char address[URL_ADDRESS];
};

// Connects.  `fields`: the most of a head; 0: 100.
http_link *http_link_open(const char *address, size_t fields, weft_deadline d);

void http_link_close(http_link *l);

// Sends all, whose pieces it changes, and looks for an early answer where that takes a wait.
// 1; 0: the server has answered, or ended its side, and wants no more; -1.
int http_link_send(http_link *l, struct iovec *pieces, int count, weft_deadline d);

// Reads the head of the answer, behind interim ones; 101 is one unless `upgrade`.  Returns its
// length: it is at the front of l->in.  -1: ECONNRESET, EBADMSG, EMSGSIZE, as reads do.
ssize_t http_link_head(http_link *l, weft_http_head *h, const weft_http_limits *limits,
                       bool to_head, bool upgrade, weft_deadline d);

// How far a body is.
struct http_body {
    int64_t left; // of a known length; or the head's length
    bool ended;
    weft_http_chunks chunks;
};

void http_body_begin(http_body *b, int64_t length, const weft_http_limits *limits);

// Reads a part.  0: its end; -1: ECONNRESET: it was cut; EBADMSG, as reads do.
ssize_t http_link_body(http_link *l, http_body *b, void *buf, size_t n, weft_deadline d);

// ---- Pools ----

// A ring, the one that was given last at the end.
struct http_pool {
    http_link links; // its head: only next and previous are used
    size_t count, max, max_per_origin;
    int64_t idle_ns;
    int *here;      // wiped at fork: 0 in a child.  nullptr: there is no such memory
    pid_t process;  // then this says it
    unsigned forks; // that were seen
};

// -1: ENOMEM.
int http_pool_init(http_pool *p, size_t max, size_t max_per_origin, int64_t idle_ns);
void http_pool_end(http_pool *p);

// One that is open and silent, for a new request; nullptr: there is none.  Closes those that are
// not, too old, or a parent's.
http_link *http_pool_take(http_pool *p, const char *address);

// A new one, for the pool to be given later.
http_link *http_pool_open(http_pool *p, const char *address, size_t fields, weft_deadline d);

// Keeps it, if it can; the oldest make room.
void http_pool_give(http_pool *p, http_link *l);

// ---- The client ----

// Whether a request that may have come through can be sent again (RFC 9110, 9.2.2).
bool http_is_idempotent(const char *method, size_t n);

// A request, as redirects change it.
struct http_ask {
    const char *method;
    const weft_http_request_options *opts;
    char *text; // the URL: weft_http_client's `url` bytes and a 0
    url to;
    bool other; // to another origin than the first: secrets stay here
    bool bare;  // without the body
};

// 0; EINVAL: its method, fields or body.
int http_ask_check(const http_ask *a);

static inline bool http_ask_has_body(const http_ask *a)
{
    return !a->bare && (a->opts->read != nullptr || a->opts->size > 0);
}

// Writes the head.  -1: ENOMEM.
int http_ask_head(const http_ask *a, const char *agent, bytes *out);

// Sends it, with its body.  As http_link_send.
int http_ask_send(const http_ask *a, http_link *l, const bytes *head, weft_deadline d);

// The answer of a link, whose head is `size` bytes at the front of l->in.  nullptr: ENOMEM, and
// the link is still the caller's.
weft_http_response *http_response_create(weft_http_client *c, const http_ask *a, http_link *l,
                                         const weft_http_head *h, size_t size, bool sent);

} // namespace weft

struct weft_http_client {
    weft_http_limits limits;
    size_t body, url;
    int redirects;
    char *agent;
    size_t users; // requests and responses that are open
    weft::http_pool pool;
    weft_http_client_information done;
};

#endif
