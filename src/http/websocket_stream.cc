// websocket_stream.cc: what a WebSocket stands on, and what both handshakes look for.
#include "exchange.h"
#include "text.h"
#include "websocket_state.h"

#include <weft/io.h>

using namespace weft;

ssize_t weft::websocket_stream_read(weft_websocket *w, void *buf, size_t n, weft_deadline d)
{
    return w->x != nullptr ? weft_http_raw_read(w->x, buf, n, d) : weft_io_read(w->fd, buf, n, d);
}

ssize_t weft::websocket_stream_write(weft_websocket *w, struct iovec *pieces, int count,
                                     weft_deadline d)
{
    return w->x != nullptr ? exchange_raw_writev(w->x, pieces, count, d)
                           : weft_io_writev(w->fd, pieces, count, d);
}

void weft::websocket_stream_end(weft_websocket *w)
{
    shutdown(w->x != nullptr ? exchange_fd(w->x) : w->fd, SHUT_WR);
}

// ---- Fields ----

bool weft::websocket_list_has(weft_http_text list, weft_http_text one)
{
    for (weft_http_text member; list_next(&list, &member);)
        if (member.size == one.size && memcmp(member.at, one.at, one.size) == 0)
            return true;
    return false;
}

bool weft::websocket_has_option(const weft_http_head *h, const char *name, const char *option)
{
    for (size_t i = 0; i < h->count; i++) {
        weft_http_text list = h->fields[i].value;
        if (!text_is(h->fields[i].name, name))
            continue;
        for (weft_http_text member; list_next(&list, &member);)
            if (text_is(member, option))
                return true;
    }
    return false;
}
