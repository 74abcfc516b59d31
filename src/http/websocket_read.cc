// websocket_read.cc: messages, made of the frames that come.
//
// Bytes are received behind one another in one memory, unmasked where they lie and moved only to
// close the gap that a header leaves within a message: a message of one frame is never copied.
#include "websocket_state.h"

#include <base/bytes.h>
#include <base/errno.h>

#include <stdlib.h>
#include <string.h>

using namespace weft;

static const size_t AT_FIRST = 4096; // bytes of memory
static const size_t LARGE = 65536;   // more than is kept for nothing
static const int AGAIN_MS = 20;      // how soon what is owed is tried again

static weft_deadline earlier(weft_deadline a, weft_deadline b)
{
    return a < b ? a : b;
}

// ---- Memory ----

// Closes the gap in front of what is not taken yet, and that in front of the message.
static void move_to_front(weft_websocket *w)
{
    size_t message = w->filled - w->start, rest = w->end - w->at;
    memmove(w->data, w->data + w->start, message);
    memmove(w->data + message, w->data + w->at, rest);
    w->start = 0;
    w->filled = w->at = message;
    w->end = message + rest;
}

static int make_room(weft_websocket *w)
{
    if (w->filled == w->start && w->at == w->end)
        w->start = w->filled = w->at = w->end = 0;
    if (w->end < w->room)
        return 0;
    if (w->start > 0 || w->filled < w->at)
        move_to_front(w);
    if (w->end < w->room && w->room - w->end >= w->room / 4)
        return 0;
    return grow(&w->data, &w->room, w->room + 1, AT_FIRST, realloc);
}

// What one large message took is not kept for small ones.
static void give_memory_back(weft_websocket *w)
{
    size_t size = w->filled - w->start;
    w->largest = size > w->largest ? size : w->largest - w->largest / 8;
    w->start = w->filled = w->at;
    w->given = false;
    if (w->room <= LARGE || w->at != w->end || w->largest >= w->room / 8)
        return;
    char *smaller = (char *)realloc(w->data, AT_FIRST);
    if (smaller == nullptr)
        return;
    w->data = smaller;
    w->room = AT_FIRST;
    w->start = w->filled = w->at = w->end = 0;
}

// ---- The stream ----

static ssize_t wait_to_read(weft_websocket *w, weft_deadline d)
{
    w->receives = running_tasklet();
    ssize_t n = websocket_stream_read(w, w->data + w->end, w->room - w->end, d);
    w->receives = nullptr;
    return n;
}

// What is owed and can't be sent at once is tried again while this reads on: the other end may send
// until we read, and not read before.  false: it may be sent at once, later.
static bool send_at_once(weft_websocket *w)
{
    if (!websocket_owes(w) || w->sends != nullptr || w->cut)
        return true;
    if (websocket_settle(w, WEFT_NOW) == 0)
        return true;
    w->cut = errno != ETIMEDOUT; // then reading tells what there is
    return w->cut;
}

// Something may have come, or it is time to look again.
static int receive(weft_websocket *w, weft_deadline d)
{
    if (make_room(w) != 0)
        return -1;
    weft_deadline until = send_at_once(w) ? d : earlier(d, weft_in_ms(AGAIN_MS));
    until = w->close_sent ? earlier(until, w->close_by) : until;
    bool late = w->came && w->heard >= until; // what comes on and on must not keep it
    ssize_t n = late ? fail_with(ETIMEDOUT) : wait_to_read(w, until);
    if (n > 0) {
        w->end += (size_t)n;
        w->came = true;
        w->heard = weft_now();
        return 0;
    }
    bool passed = n < 0 && errno == ETIMEDOUT && until < d;
    if ((n < 0 && errno == EAGAIN) || (passed && until != w->close_by))
        return 0;
    if (n == 0 || errno == EPIPE)
        errno = ECONNRESET;
    w->over = passed || errno == ECONNRESET;
    return -1;
}

// ---- The end ----

// What the other end still sends must not make the kernel drop what was told to it.  A server's
// connection sees to that when its handler has returned.
static void linger(weft_websocket *w, weft_deadline d)
{
    char dropped[2048];
    websocket_stream_end(w);
    while (websocket_stream_read(w, dropped, sizeof dropped, d) > 0)
        ;
}

// Tells why, and is the end.
static int fail(weft_websocket *w, int code, int error, weft_deadline d)
{
    weft_deadline until = earlier(d, weft_in_ns(w->close_ns));
    w->over = true;
    websocket_want_close(w, code, nullptr, 0);
    if (websocket_settle(w, until) == 0 && w->close_sent && w->x == nullptr)
        linger(w, until);
    return fail_with(error);
}

// A server is the first to end the connection (RFC 6455, section 7.1.1).
static int end_by_close(weft_websocket *w, weft_websocket_message *m, const char *data, size_t n,
                        weft_deadline d)
{
    utf8_state text = {};
    int code = n >= 2 ? (unsigned char)data[0] << 8 | (unsigned char)data[1] : 0;
    if (n == 1 || (n > 0 && !is_close_code(code)))
        return fail(w, WEFT_WEBSOCKET_PROTOCOL_ERROR, EBADMSG, d);
    if (n > 2 && (!utf8_take(&text, data + 2, n - 2) || text.left != 0))
        return fail(w, WEFT_WEBSOCKET_INVALID_TEXT, EILSEQ, d);
    w->close_received = w->over = true;
    websocket_want_close(w, code, nullptr, 0);
    if (websocket_settle(w, d) == 0 && w->close_sent && !w->is_client)
        websocket_stream_end(w);
    *m = {data + (n < 2 ? n : 2), n < 2 ? 0 : n - 2, WEFT_WEBSOCKET_CLOSE,
          code == 0 ? WEFT_WEBSOCKET_NO_CODE : code, false};
    return 0;
}

// ---- Frames ----

enum { GO_ON = 2, NEEDS_MORE = 3 }; // beside a call's results

static int take_control(weft_websocket *w, const weft_websocket_frame *f, size_t header,
                        weft_websocket_message *m, weft_deadline d)
{
    char *data = w->data + w->at + header;
    size_t n = (size_t)f->length;
    if (w->end - w->at < header + n)
        return NEEDS_MORE;
    weft_websocket_mask(data, n, f->mask, 0);
    w->at += header + n;
    if (f->opcode == WEFT_WEBSOCKET_CLOSE)
        return end_by_close(w, m, data, n, d);
    if (f->opcode == WEFT_WEBSOCKET_PING) { // of those not answered yet the last will do
        if (w->pong.wanted)
            websocket_settle(w, WEFT_NOW);
        w->pong.wanted = true;
        w->pong.size = (unsigned char)n;
        memcpy(w->pong.data, data, n);
    }
    return GO_ON;
}

static int take_header(weft_websocket *w, weft_websocket_message *m, weft_deadline d)
{
    weft_websocket_frame f;
    ssize_t header = weft_websocket_frame_parse(&f, w->data + w->at, w->end - w->at);
    if (header == 0)
        return NEEDS_MORE;
    if (header < 0 || f.masked == w->is_client)
        return fail(w, WEFT_WEBSOCKET_PROTOCOL_ERROR, EBADMSG, d);
    if (f.opcode >= WEFT_WEBSOCKET_CLOSE)
        return take_control(w, &f, (size_t)header, m, d);
    bool starts = f.opcode != WEFT_WEBSOCKET_CONTINUATION;
    if (starts != (w->kind == 0))
        return fail(w, WEFT_WEBSOCKET_PROTOCOL_ERROR, EBADMSG, d);
    if (starts) {
        w->kind = f.opcode;
        w->comes = {};
    }
    w->at += (size_t)header;
    if (w->filled == w->start)
        w->start = w->filled = w->at;
    w->frame = f;
    w->left = f.length;
    w->in_frame = true;
    return GO_ON;
}

static bool take_payload(weft_websocket *w)
{
    size_t there = w->end - w->at, n = w->left < there ? (size_t)w->left : there;
    char *to = w->data + w->filled;
    if (w->filled != w->at)
        memmove(to, w->data + w->at, n);
    if (w->frame.masked)
        weft_websocket_mask(to, n, w->frame.mask, w->frame.length - w->left);
    w->filled += n;
    w->at += n;
    w->left -= n;
    return w->kind != WEFT_WEBSOCKET_TEXT || utf8_take(&w->comes, to, n);
}

static int give(weft_websocket *w, weft_websocket_message *m, bool more)
{
    *m = {w->data + w->start, w->filled - w->start, w->kind, 0, more};
    w->given = true;
    if (!more)
        w->kind = 0;
    return 1;
}

static int take_more(weft_websocket *w, weft_websocket_message *m, bool whole, weft_deadline d)
{
    size_t size = w->filled - w->start;
    if (whole && (size > w->limit || w->left > w->limit - size))
        return fail(w, WEFT_WEBSOCKET_TOO_BIG, EMSGSIZE, d);
    if (!take_payload(w))
        return fail(w, WEFT_WEBSOCKET_INVALID_TEXT, EILSEQ, d);
    w->in_frame = w->left > 0;
    if (w->left == 0 && w->frame.fin) {
        if (w->kind == WEFT_WEBSOCKET_TEXT && w->comes.left != 0)
            return fail(w, WEFT_WEBSOCKET_INVALID_TEXT, EILSEQ, d);
        return give(w, m, false);
    }
    if (!whole && w->filled > w->start)
        return give(w, m, true);
    return w->left > 0 ? NEEDS_MORE : GO_ON;
}

int weft::websocket_next(weft_websocket *w, weft_websocket_message *m, bool whole, weft_deadline d)
{
    if (w->over)
        return fail_with(EPIPE);
    w->came = false;
    w->over = w->close_sent && weft_now() >= w->close_by;
    if (w->over)
        return fail_with(ETIMEDOUT);
    if (w->given)
        give_memory_back(w);
    for (;;) {
        int result = w->in_frame ? take_more(w, m, whole, d) : take_header(w, m, d);
        if (result < GO_ON)
            return result;
        if (result == NEEDS_MORE && receive(w, d) != 0)
            return -1;
    }
}

// ---- Calls ----

static int read_next(weft_websocket *w, weft_websocket_message *m, bool whole, weft_deadline d)
{
    int saved = errno;
    if (w == nullptr || m == nullptr)
        return fail_with(EINVAL);
    if (w->reads != nullptr)
        return fail_with(EBUSY);
    w->reads = running_tasklet();
    int result = websocket_next(w, m, whole, d);
    w->reads = nullptr;
    end_wait(w->closes, 0);
    if (result >= 0)
        errno = saved;
    return result;
}

int weft_websocket_read(weft_websocket *w, weft_websocket_message *m, weft_deadline d)
{
    return read_next(w, m, true, d);
}

int weft_websocket_read_piece(weft_websocket *w, weft_websocket_message *m, weft_deadline d)
{
    return read_next(w, m, false, d);
}
