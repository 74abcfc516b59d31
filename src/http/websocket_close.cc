// websocket_close.cc: the beginning and the end of one, whoever began it.
#include "exchange.h"
#include "websocket_state.h"

#include <weft/io.h>

#include <base/errno.h>
#include <base/list.h>

#include <stdlib.h>
#include <string.h>

using namespace weft;

static const size_t LIMIT = 1 << 20;
static const int64_t CLOSE_NS = 5 * (int64_t)1000000000;
static const size_t AT_FIRST = 4096;

static void release(weft_websocket *w)
{
    int saved = errno;
    free(w->data);
    free(w->masked);
    free(w->protocol);
    free(w);
    errno = saved;
}

static bool take_memory(weft_websocket *w, weft_http_text protocol, size_t come)
{
    w->room = come < AT_FIRST ? AT_FIRST : come;
    w->data = (char *)malloc(w->room);
    w->masked = w->is_client ? (char *)malloc(MASKED_AT_ONCE) : nullptr;
    w->protocol = protocol.at != nullptr ? strndup(protocol.at, protocol.size) : nullptr;
    return w->data != nullptr && (w->masked != nullptr || !w->is_client) &&
           (w->protocol != nullptr || protocol.at == nullptr);
}

weft_websocket *weft::websocket_create(weft_http_exchange *x, int fd, bool is_client,
                                       const weft_websocket_options *opts, weft_http_text protocol,
                                       weft_http_text come)
{
    weft_websocket_options none = {};
    const weft_websocket_options *o = opts != nullptr ? opts : &none;
    weft_websocket *w = (weft_websocket *)calloc(1, sizeof *w);
    if (w == nullptr)
        return nullptr;
    w->x = x;
    w->fd = fd;
    w->is_client = is_client;
    w->limit = o->limit > 0 ? o->limit : LIMIT;
    w->fragment = o->fragment;
    w->close_ns = o->close_ns > 0 ? o->close_ns : CLOSE_NS;
    list_init(&w->turns);
    w->heard = weft_now();
    if (!take_memory(w, protocol, come.size)) {
        release(w);
        return nullptr;
    }
    if (come.size > 0)
        memcpy(w->data, come.at, come.size);
    w->end = come.size;
    return w;
}

int weft_websocket_destroy(weft_websocket *w)
{
    if (w == nullptr)
        return 0;
    if (w->reads != nullptr || w->sends != nullptr || w->closes != nullptr)
        return fail_with(EBUSY);
    int saved = errno;
    if (!w->over)
        websocket_go_away(w);
    if (w->x != nullptr)
        exchange_on_stop(w->x, nullptr, nullptr);
    if (w->is_client)
        weft_io_close(w->fd);
    errno = saved;
    release(w);
    return 0;
}

const char *weft_websocket_protocol(const weft_websocket *w)
{
    return w != nullptr ? w->protocol : nullptr;
}

int64_t weft_websocket_heard(const weft_websocket *w)
{
    return w != nullptr ? w->heard : fail_with(EINVAL);
}

// ---- Closing ----

// Whoever waits to read, or has the turn, sends it.
void weft::websocket_go_away(void *socket)
{
    weft_websocket *w = (weft_websocket *)socket;
    int saved = errno;
    websocket_want_close(w, WEFT_WEBSOCKET_GOING_AWAY, nullptr, 0);
    if (waits_for_event(w->receives))
        end_wait(w->receives, EAGAIN);
    else
        websocket_settle(w, WEFT_NOW);
    errno = saved;
}

static int send_close(weft_websocket *w, weft_deadline d)
{
    if (w->close_sent)
        return 0;
    if (websocket_begin_turn(w, d) != 0)
        return -1;
    int result = websocket_send_owed(w, d);
    websocket_end_turn(w);
    return result;
}

static int wait_for_reader(weft_websocket *w, weft_deadline d)
{
    if (w->closes != nullptr)
        return fail_with(EBUSY);
    w->closes = running_tasklet();
    int result = wait_for_event(d);
    w->closes = nullptr;
    return result;
}

static int drop_one(weft_websocket *w, weft_deadline d)
{
    weft_websocket_message m;
    w->reads = running_tasklet();
    int result = websocket_next(w, &m, false, d);
    w->reads = nullptr;
    return result < 0 ? -1 : 0;
}

static int await_close(weft_websocket *w, weft_deadline d)
{
    int result = 0;
    bool late = false; // what comes on and on must not keep it
    while (result == 0 && !w->over) {
        if (late)
            return fail_with(ETIMEDOUT);
        result = w->reads != nullptr ? wait_for_reader(w, d) : drop_one(w, d);
        late = weft_now() >= d;
    }
    if (result == 0 && !w->close_received)
        return fail_with(ECONNRESET);
    return result;
}

static bool is_reason(const char *reason, size_t n)
{
    utf8_state text = {};
    return n <= REASON_MOST && utf8_take(&text, reason, n) && text.left == 0;
}

int weft_websocket_close(weft_websocket *w, int code, const char *reason, weft_deadline d)
{
    int saved = errno;
    size_t n = reason != nullptr ? strnlen(reason, REASON_MOST + 1) : 0;
    if (w == nullptr || (code != 0 && !is_close_code(code)) || (code == 0 && n > 0) ||
        (n > 0 && !is_reason(reason, n)))
        return fail_with(EINVAL);
    if (!w->over) {
        websocket_want_close(w, code, reason, n);
        if (send_close(w, d) != 0)
            return -1;
        if (await_close(w, d < w->close_by ? d : w->close_by) != 0) {
            w->over = w->over || (errno == ETIMEDOUT && weft_left(w->close_by) == 0);
            return -1;
        }
    }
    errno = saved;
    return 0;
}
