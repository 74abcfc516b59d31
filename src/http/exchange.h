// exchange.h: responses, for what is made of the server: files, a proxy, events, WebSocket.
//
// What is put into the output goes out by itself (http.h, The response), in order.  No call here
// waits, unless it has a deadline.
#ifndef WEFT_HTTP_EXCHANGE_H
#define WEFT_HTTP_EXCHANGE_H

#include <weft/http.h>

#include <sys/uio.h>

namespace weft {

// As weft_http_begin, with prepared fields: fields[0..n) are whole lines with CR LF, put in as they
// are, before those of weft_http_set.  `said`: Content-Length is one of them, and not written
// again.
int exchange_begin(weft_http_exchange *x, int status, const char *fields, size_t n, int64_t length,
                   bool said);

// Where the next n bytes of the output go; exchange_used says how many were put there.  Of the body
// it counts what weft_http_write would, so this is for a body of known length, after
// exchange_begin.  nullptr: the client is gone, ENOMEM.
char *exchange_room(weft_http_exchange *x, size_t n);
void exchange_used(weft_http_exchange *x, size_t n);

// Whether the response's body is dropped (HEAD, 204, 304).
bool exchange_is_mute(const weft_http_exchange *x);

// Whether its server writes a field Server.
bool exchange_has_name(const weft_http_exchange *x);

// The connection's descriptor: for what it is, not to read or write.
int exchange_fd(const weft_http_exchange *x);

// The client's address as a number, without its port, asked for once a connection; "unix:".
// nullptr: it is gone, ENOMEM.
const char *exchange_peer(const weft_http_exchange *x);

// Status line's text, "404 Not Found"; of an unknown one "299 ".
const char *status_text(int status, size_t *n);

// Answers with the status and its text as a small body.  As weft_http_reply.
int exchange_answer(weft_http_exchange *x, int status);

// As weft_http_raw_write, of several pieces, which it changes.
ssize_t exchange_raw_writev(weft_http_exchange *x, struct iovec *pieces, int count,
                            weft_deadline d);

// Of an upgraded one: calls fn(arg), which must not wait, when the server begins to drain.  fn
// nullptr: no more.
void exchange_on_stop(weft_http_exchange *x, void (*fn)(void *arg), void *arg);

} // namespace weft

#endif
