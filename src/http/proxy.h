// proxy.h: what the reverse proxy is made of.
//
//   proxy.cc          servers: which is asked, and which are out
//   proxy_fields.cc   heads, in both directions
//   proxy_pass.cc     one request over one connection, and its answer
//   proxy_tunnel.cc   WebSockets
#ifndef WEFT_HTTP_PROXY_PRIVATE_H
#define WEFT_HTTP_PROXY_PRIVATE_H

#include "client.h"
#include "exchange.h"

namespace weft {

// One of the servers behind the proxy.
struct proxy_server {
    char address[URL_ADDRESS], host[URL_ADDRESS];
    http_pool pool;
    size_t busy;       // requests under way
    size_t failures;   // in a row
    weft_deadline out; // until then it is not asked
    uint64_t asked_by; // the last job that has asked it
};

// A request on its way.
struct proxy_job {
    weft_http_proxy *p;
    weft_http_exchange *x;
    proxy_server *server;
    uint64_t number;
    bool websocket;
    bool fresh;     // over a new connection: a kept one had ended
    bool linked;    // a connection stands
    bool asked;     // one has stood, so the server may have acted on the request
    bool heard;     // a byte of an answer has come
    bool body_read; // the request's body was begun: it can't be sent again
};

enum proxy_outcome {
    PROXY_DONE,   // the client has its answer, or is gone
    PROXY_FAILED, // errno; nothing was passed on
    PROXY_STALE,  // the same, of a kept connection that had ended
};

// Writes the head that goes to the server.  -1: ENOMEM.
int proxy_request_head(const proxy_job *j, bytes *out);

// Writes the fields that go to the client, as lines.  -1: ENOMEM.
int proxy_response_fields(const proxy_job *j, const weft_http_head *h, bytes *out);

// Asks j->server, and passes its answer on.
proxy_outcome proxy_pass(proxy_job *j);

// The server has agreed to another protocol: passes bytes until either ends.
proxy_outcome proxy_tunnel(proxy_job *j, http_link *l, const weft_http_head *h, size_t size);

} // namespace weft

struct weft_http_proxy {
    weft_http_proxy_options o; // with the defaults filled in
    size_t count, turn, busy;
    weft_http_proxy_information done;
    uint64_t jobs;
    weft::proxy_server *servers; // in the same piece of memory
};

#endif
