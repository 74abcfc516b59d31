// proxy_tunnel.cc: WebSockets, once the server has agreed: bytes in both directions.
//
// This tasklet passes what the server sends, and another what the client sends.  The end of the
// server's side ends both; that of the client's is passed on, and the server then ends its own.
#include "proxy.h"
#include "text.h"

#include <weft/io.h>
#include <weft/tasklet.h>

#include <string.h>
#include <sys/socket.h>

using namespace weft;

enum { PART = 8192 };

namespace {
struct tunnel {
    weft_http_exchange *x;
    http_link *l;
    int64_t silence; // how long neither may say anything
    int64_t last;    // when one did
};
} // namespace

// Reads a part from one side; waits on as long as the other one speaks.
static ssize_t read_part(tunnel *t, bool of_client, char *part)
{
    for (;;) {
        weft_deadline d = t->last + t->silence;
        ssize_t n = of_client ? weft_http_raw_read(t->x, part, PART, d)
                              : weft_io_read(t->l->fd, part, PART, d);
        if (n > 0)
            t->last = weft_now();
        if (n >= 0 || errno != ETIMEDOUT || t->last + t->silence <= d)
            return n;
    }
}

static void *pass_to_server(void *arg)
{
    tunnel *t = (tunnel *)arg;
    char part[PART];
    ssize_t n;
    do
        n = read_part(t, true, part);
    while (n > 0 && weft_io_write(t->l->fd, part, (size_t)n, weft_in_ns(t->silence)) == n);
    weft_io_shutdown(t->l->fd, n == 0 ? SHUT_WR : SHUT_RDWR);
    return nullptr;
}

static void pass_to_client(tunnel *t)
{
    char part[PART];
    ssize_t n = (ssize_t)bytes_count(&t->l->in); // what came behind the head
    if (n > 0 &&
        weft_http_raw_write(t->x, bytes_at(&t->l->in), (size_t)n, weft_in_ns(t->silence)) != n)
        return;
    while ((n = read_part(t, false, part)) > 0)
        if (weft_http_raw_write(t->x, part, (size_t)n, weft_in_ns(t->silence)) != n)
            return;
}

// Both in a scope: a join of that waits for the other one also when this one was cancelled.
static void pass_both(tunnel *t)
{
    weft_scope s;
    weft_tasklet_options o = {};
    if (weft_scope_open(&s) != 0)
        return;
    o.name = "websocket";
    o.scope = &s;
    if (weft_tasklet_spawn(pass_to_server, t, &o) != nullptr)
        pass_to_client(t);
    weft_scope_cancel(&s);
    weft_scope_join(&s, WEFT_FOREVER);
}

// The server's fields that the client needs, such as Sec-WebSocket-Accept.
static int set_fields(weft_http_exchange *x, const weft_http_head *h)
{
    static const char *const passed[] = {"Sec-WebSocket-Accept", "Sec-WebSocket-Protocol",
                                         "Sec-WebSocket-Extensions", "Set-Cookie"};
    char name[32], value[4096];
    for (size_t i = 0; i < h->count; i++)
        for (const char *each : passed) {
            weft_http_text n = h->fields[i].name, v = h->fields[i].value;
            if (!text_is(n, each) || v.size >= sizeof value)
                continue;
            memcpy(name, n.at, n.size);
            memcpy(value, v.at, v.size);
            name[n.size] = value[v.size] = 0;
            if (weft_http_set(x, name, value) != 0)
                return -1;
        }
    return 0;
}

proxy_outcome weft::proxy_tunnel(proxy_job *j, http_link *l, const weft_http_head *h, size_t size)
{
    int64_t silence = j->p->o.tunnel_ns;
    tunnel t = {j->x, l, silence, weft_now()};
    if (set_fields(j->x, h) == 0 &&
        weft_http_upgrade(j->x, "websocket", weft_in_ns(silence)) == 0) {
        bytes_take(&l->in, size);
        pass_both(&t);
    }
    http_link_close(l);
    return PROXY_DONE;
}
