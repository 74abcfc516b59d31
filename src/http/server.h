// server.h: what a server is made of, for the files that make it.
//
// A connection is watched by the loop of weft_io_run (weft_io_loop), one watch and one alarm each.
// One that is idle is its struct alone.  One that is readable goes into the queue `ready` of its
// weft_http_serve, from which runners, which are tasklets, take one after the other: receive,
// parse, call the handlers, send.  So as long as no handler waits one tasklet serves all that is
// ready, on one stack and with the same two buffers, which stay in the cache.  Before a runner
// begins with a connection while others are queued it sees to it that another runner is ready: that
// one takes over when a handler waits.
#ifndef WEFT_HTTP_SERVER_H
#define WEFT_HTTP_SERVER_H

#include "date.h"
#include "exchange.h"

#include <base/bytes.h>
#include <base/errno.h>
#include <base/list.h>
#include <coro/wait.h>

#include <weft/io.h>
#include <weft/loop.h>
#include <weft/workers.h>

#include <netinet/in.h>

namespace weft {

struct connection;
struct serving;

// ---- Buffers ----

enum {
    BUFFER = 16 << 10,      // of a new one
    BUFFER_MAX = 128 << 10, // a larger one is not kept
    POOLED = 32,            // kept at most
    OUTPUT_MAX = 64 << 10,  // so much is sent before more is taken
    COPIED = 16 << 10,      // larger pieces are sent from where they lie
};

// Those that nobody has now; the last one given back is the first taken.
struct buffer_pool {
    bytes free[POOLED];
    size_t count;
};

// ---- One connection ----

enum {
    IS_IDLE,      // its runner is done; it is watched, or about to be
    IS_QUEUED,    // in `ready`
    IS_BUSY,      // a runner has it
    IS_LINGERING, // the last response is sent: what still comes is dropped
};

struct connection {
    weft_watch watch;
    weft_alarm alarm;
    connection *next, *previous; // all of the serving
    connection *queued;          // the next in `ready`
    serving *home;
    struct runner *runner;   // who has it; else nullptr
    weft_tasklet *waiter[2]; // by direction
    struct address_count *address;
    char *peer;            // the client's address (exchange_peer); nullptr: nobody has asked
    bytes in;              // begun requests; empty and without memory when idle
    weft_deadline head_at; // when the begun head must be there; 0: none has begun
    int64_t since;         // when it became ready
    int64_t now;           // when its last response was done; 0: it has waited since
    size_t dropped;        // bytes while it lingers
    int fd;
    unsigned spree; // what was done since somebody waited for it
    uint8_t state;
    bool fresh;   // nothing has come yet
    bool broken;  // the client is gone, or it was given up: nothing is sent any more
    bool reset;   // it is to end with a reset
    bool closing; // no further request is served
    bool lingers; // its end must not overtake the last response
    bool hung_up; // the kernel said so
};

static_assert(sizeof(connection) <= 512, "what an idle connection costs");

// How far a client is behind the least rate in one direction.  (Null: there is none.)
struct pace {
    int64_t credit; // nanoseconds that it may still be waited for
};

// ---- One request ----

enum {
    BODY_NONE,
    BODY_SIZED,
    BODY_CHUNKED,
    BODY_ENDED,
    BODY_FAILED, // errno in `body_error`
};

struct exchange {
    weft_http_exchange pub; // the first member
    struct runner *runner;
    connection *c;
    weft_http_head head;
    weft_http_chunks chunks;
    size_t body_at;     // in c->in: behind the head
    uint64_t body_left; // sized
    uint64_t body_read; // chunked
    int64_t promised;   // of the response: bytes still to come; WEFT_HTTP_CHUNKED
    int body_error;
    int failed_status; // instead of 500
    uint8_t body;
    bool keep;    // the connection goes on behind the response
    bool mute;    // the response's body is dropped
    bool chunked; // the response is
    bool to_end;  // the connection's end is the response's
    bool ask;     // 100 Continue is to be said
    bool aborted;
    bool raw;
    void (*on_stop)(void *arg);
    void *stop_arg;
    pace come, go;
};

struct runner {
    serving *home;
    runner *next, *previous; // all of the serving's
    runner *idle;            // the next that has nothing to do
    weft_tasklet *self;
    connection *c;
    bytes out;
    bool pushing; // the loop sends `out` on, for nobody waits to
    weft_task push;
    bytes fields; // that the handler has set
    bytes path;
    weft_http_field *found; // limits.fields
    exchange x;
};

// ---- A listener that is served ----

struct serving {
    serving *next, *previous;
    weft_http_server *server;
    weft_loop *loop;
    weft_listener listener;
    int listens;    // the descriptor
    connection all; // the list's head
    connection *ready, **ready_end;
    runner runners; // the list's head
    runner *idle;
    size_t idle_count;
    size_t count; // connections
    bool coming;  // a runner is on its way to `ready`
    bool stopping, over;
    bool ignores_sigpipe; // the process does
    bool full;            // it does not listen, for there are too many
    weft_tasklet *self;
    weft_deadline end; // of the drain
    weft_scope scope;
};

struct route {
    char *prefix, *method; // nullptr: each
    size_t size;
    weft_http_handler fn;
    void *arg;
};

enum { ADDRESS_BUCKETS = 1024 };
struct address_count {
    address_count *next;
    size_t count;
    unsigned char key[16];
};

} // namespace weft

using namespace weft;

struct weft_http_server {
    weft_http_server_options o;
    char *name; // "Server: ...\r\n"
    size_t name_size;
    struct {
        route *all; // the longest prefix first
        size_t count;
    } routes;
    serving servings; // the list's head
    buffer_pool pool;
    address_count **addresses;
    int64_t dated; // the second of `date`
    char date[64]; // "Date: ...\r\n"
    size_t date_size;
    weft_http_counters stats;
};

namespace weft {

static inline exchange *private_of(const weft_http_exchange *x)
{
    return (exchange *)(void *)const_cast<weft_http_exchange *>(x);
}

static inline weft_http_server *server_of(const connection *c)
{
    return c->home->server;
}

// ---- buffer.cc ----

bytes buffer_take(weft_http_server *s); // may be without memory
void buffer_give(weft_http_server *s, bytes *b);
void buffers_free(weft_http_server *s);

// ---- accept.cc ----

int accept_begin(serving *v);
// `take`: what is in the backlog.
void accept_end(serving *v, bool take);
// One less: there may be room for the next.
void accept_more(serving *v);
void address_leave(weft_http_server *s, address_count *a);

// ---- connection.cc ----

void connection_begin(serving *v, int fd, address_count *a);
// It goes to the end of `ready`.
void connection_queue(connection *c);
// Until more comes; closes it, if nothing may.
void connection_rest(connection *c);
// After the last response: at once, or when the client has read that.
void connection_end(connection *c, bool linger);
void connection_close(connection *c);
// Waits for WEFT_READ or WEFT_WRITE.  0; -1: ETIMEDOUT, ECANCELED, EBUSY, EPERM.
int connection_wait(connection *c, int direction, weft_deadline d);
// The same, and ETIMEDOUT with c->broken when the client is too slow.
int connection_wait_paced(connection *c, int direction, pace *p, weft_deadline d);
void pace_begin(const weft_http_server *s, pace *p);
void pace_moved(const weft_http_server *s, pace *p, size_t n);
// The watch is for what is waited for.
int connection_watch(connection *c, int events);
int connection_interest(const connection *c);
// n bytes came or went without a wait.
static inline void connection_moved(connection *c, size_t n)
{
    c->spree += 1 + (unsigned)(n >> 14);
}
// Before more of that: a fast client may go on for ever, and the others have their turn.  errno
// stays.
void connection_give_way(connection *c, weft_deadline d);
// recv(2) behind what is in `in`: how many; 0: the end; -1: errno.
ssize_t connection_receive(connection *c);

// ---- runner.cc ----

// Sees to it that a runner comes to `ready`.
void runner_call(serving *v);
// Those that are idle end.
void runners_dismiss(serving *v);
// Those that never began.
void runners_free(serving *v);

// ---- output.cc ----

// Room for n bytes; nullptr: ENOMEM.
char *output_room(runner *r, size_t n);
static inline void output_used(runner *r, size_t n)
{
    bytes_put(&r->out, n);
}
int output_put(runner *r, const void *text, size_t n);
// It is sent when the handler waits.
void output_later(runner *r);
// Sends what can be sent now.  0: all; 1: not all; -1: broken.
int output_push(runner *r);
// Sends all.  -1: errno, and the rest is still there; EPIPE, ECONNRESET: broken.
int output_flush(runner *r, pace *p, weft_deadline d);
// The same where more follows at once.
int output_lead(runner *r, pace *p, weft_deadline d);
// Sends the output and, behind it, pieces from where they lie.  How many bytes of the pieces went;
// less than all: errno.
ssize_t output_send(runner *r, const struct iovec *pieces, int count, pace *p, weft_deadline d);
// What sendmsg(2) or sendfile(2) returned with -1: 0 if it is to be waited, else -1.
int output_failed(connection *c);

// ---- request.cc ----

// The next request in c->in.  1: an exchange; 0: it is not all there; -1: refused, and answered.
int request_begin(runner *r, connection *c);
// What is left of its body is read, or (-1) the connection must end.
int request_end(exchange *x);

// ---- response.cc ----

// After the handler: 500, last chunk, the connection's fate.
void response_end(exchange *x);
// A refused request's answer.
void response_refuse(exchange *x, int status, const char *why);

// ---- route.cc ----

// Calls the handler, or answers.
void route_call(exchange *x);
void routes_free(weft_http_server *s);

} // namespace weft

#endif
