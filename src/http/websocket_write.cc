// websocket_write.cc: turns, and what is sent in them.
#include "websocket_state.h"

#include <base/errno.h>
#include <base/list.h>

#include <string.h>
#include <sys/random.h>
#include <sys/uio.h>

using namespace weft;

// ---- Turns ----

static void pass_turn(weft_websocket *w)
{
    websocket_turn *first = w->turns.next;
    w->sends = nullptr;
    if (list_is_empty(&w->turns))
        return;
    list_remove(first);
    first->who = w->sends = first->who;
    end_wait(w->sends, 0);
}

int weft::websocket_begin_turn(weft_websocket *w, weft_deadline d)
{
    int error = wait_refusal(d);
    if (error != 0)
        return fail_with(error);
    if (w->sends == nullptr) {
        w->sends = running_tasklet();
        return 0;
    }
    if (d <= WEFT_NOW)
        return fail_with(ETIMEDOUT);
    websocket_turn mine = {nullptr, nullptr, running_tasklet()};
    list_insert(&w->turns, &mine);
    if (wait_for_event(d) == 0)
        return 0;
    if (w->sends == mine.who) // it was given just when the wait ended otherwise
        pass_turn(w);
    else
        list_remove(&mine);
    return -1;
}

// What is still owed the next one sends, or the reader, who is woken to look.
void weft::websocket_end_turn(weft_websocket *w)
{
    pass_turn(w);
    if (w->sends == nullptr && websocket_owes(w))
        end_wait(w->receives, EAGAIN);
}

// ---- Control frames ----

static bool new_mask(weft_websocket *w, weft_websocket_frame *f)
{
    f->masked = w->is_client;
    return !f->masked || getrandom(f->mask, sizeof f->mask, 0) == (ssize_t)sizeof f->mask;
}

// Puts it behind those that are on their way: there is room for one of each kind.
static int add_control(weft_websocket *w, int opcode, const void *data, size_t n)
{
    weft_websocket_frame f = {n, opcode, true, false, {}};
    char *to = w->out + w->out_end;
    if (!new_mask(w, &f))
        return -1;
    size_t size = (size_t)weft_websocket_frame_build(&f, (unsigned char *)to);
    if (n > 0)
        memcpy(to + size, data, n);
    if (f.masked)
        weft_websocket_mask(to + size, n, f.mask, 0);
    w->out_end += size + n;
    return 0;
}

static int flush(weft_websocket *w, weft_deadline d)
{
    size_t n = w->out_end - w->out_begin;
    if (n == 0)
        return 0;
    struct iovec piece = {w->out + w->out_begin, n};
    ssize_t put = websocket_stream_write(w, &piece, 1, d);
    w->out_begin += put > 0 ? (size_t)put : 0;
    if (put != (ssize_t)n)
        return -1;
    w->out_begin = w->out_end = 0;
    return 0;
}

// Nothing follows a close.
static int add_owed(weft_websocket *w)
{
    if (w->pong.wanted && !w->close_sent &&
        add_control(w, WEFT_WEBSOCKET_PONG, w->pong.data, w->pong.size) != 0)
        return -1;
    w->pong.wanted = false;
    if (!w->close.wanted || w->close_sent)
        return 0;
    if (add_control(w, WEFT_WEBSOCKET_CLOSE, w->close.data, w->close.size) != 0)
        return -1;
    w->close_sent = true;
    w->close_by = weft_in_ns(w->close_ns);
    return 0;
}

int weft::websocket_send_owed(weft_websocket *w, weft_deadline d)
{
    if (w->cut)
        return fail_with(EPIPE);
    while (websocket_owes(w))
        if (flush(w, d) != 0 || add_owed(w) != 0)
            return -1;
    return 0;
}

static weft_deadline earlier(weft_deadline a, weft_deadline b)
{
    return a < b ? a : b;
}

int weft::websocket_settle(weft_websocket *w, weft_deadline d)
{
    if (w->sends != nullptr || w->cut)
        return 0;
    if (websocket_begin_turn(w, WEFT_NOW) != 0)
        return -1;
    int result = websocket_send_owed(w, earlier(d, weft_in_ns(w->close_ns)));
    websocket_end_turn(w);
    return result;
}

void weft::websocket_want_close(weft_websocket *w, int code, const char *reason, size_t n)
{
    websocket_control *c = &w->close;
    if (c->wanted)
        return;
    c->wanted = true;
    c->size = 0;
    if (code == 0)
        return;
    c->data[0] = (char)(code >> 8);
    c->data[1] = (char)code;
    if (n > 0)
        memcpy(c->data + 2, reason, n);
    c->size = (unsigned char)(2 + n);
}

// ---- Messages ----

// What is sent of a frame can't be taken back.
static int sent(weft_websocket *w, ssize_t put, size_t n)
{
    if (put == (ssize_t)n)
        return 0;
    w->cut = w->cut || put > 0;
    return -1;
}

// A copy is masked, a part at a time: the bytes are the caller's.
static int put_masked(weft_websocket *w, const weft_websocket_frame *f, const char *data,
                      weft_deadline d)
{
    ssize_t size = weft_websocket_frame_build(f, (unsigned char *)w->masked);
    size_t have = (size_t)size, n = (size_t)f->length;
    for (size_t at = 0; at < n || have > 0;) {
        size_t part = n - at < MASKED_AT_ONCE - have ? n - at : MASKED_AT_ONCE - have;
        if (part > 0)
            memcpy(w->masked + have, data + at, part);
        weft_websocket_mask(w->masked + have, part, f->mask, at);
        bool first = at == 0;
        at += part;
        have += part;
        struct iovec piece = {w->masked, have};
        if (sent(w, websocket_stream_write(w, &piece, 1, d), have) != 0) {
            w->cut = w->cut || !first;
            return -1;
        }
        have = 0;
    }
    return 0;
}

static int put_frame(weft_websocket *w, int opcode, bool fin, const char *data, size_t n,
                     weft_deadline d)
{
    unsigned char header[WEFT_WEBSOCKET_HEADER];
    weft_websocket_frame f = {n, opcode, fin, false, {}};
    if (!new_mask(w, &f))
        return -1;
    if (f.masked)
        return put_masked(w, &f, data, d);
    size_t size = (size_t)weft_websocket_frame_build(&f, header);
    struct iovec pieces[2] = {{header, size}, {(void *)data, n}};
    return sent(w, websocket_stream_write(w, pieces, n > 0 ? 2 : 1, d), size + n);
}

// A piece, in frames of a bounded size.  What is owed goes between them.
static int put_piece(weft_websocket *w, int kind, bool more, const char *data, size_t n,
                     weft_deadline d)
{
    size_t most = w->fragment > 0 ? w->fragment : SIZE_MAX, at = 0;
    int opcode = w->said == 0 ? kind : WEFT_WEBSOCKET_CONTINUATION;
    do {
        size_t part = n - at < most ? n - at : most;
        if (websocket_send_owed(w, d) != 0)
            break;
        if (w->close_sent)
            return fail_with(EPIPE);
        if (put_frame(w, opcode, !more && at + part == n, data + at, part, d) != 0)
            break;
        at += part;
        opcode = WEFT_WEBSOCKET_CONTINUATION;
        if (at == n)
            return 0;
    } while (true);
    w->cut = w->cut || at > 0; // the message has begun, and does not end
    return -1;
}

static int write_piece(weft_websocket *w, int kind, bool more, const void *data, size_t n,
                       weft_deadline d)
{
    utf8_state goes = w->goes;
    if (w->said != 0 && w->said != kind)
        return fail_with(EINVAL);
    if (kind == WEFT_WEBSOCKET_TEXT && (!utf8_take(&goes, data, n) || (!more && goes.left != 0)))
        return fail_with(EILSEQ);
    if (put_piece(w, kind, more, (const char *)data, n, d) != 0)
        return -1;
    w->said = more ? kind : 0;
    w->goes = goes;
    return 0;
}

static bool is_open(const weft_websocket *w)
{
    return !w->cut && !w->over && !w->close.wanted;
}

int weft_websocket_write(weft_websocket *w, int kind, const void *data, size_t n, weft_deadline d)
{
    bool more = (kind & WEFT_WEBSOCKET_MORE) != 0;
    int plain = kind & ~WEFT_WEBSOCKET_MORE, saved = errno;
    if (w == nullptr || (data == nullptr && n > 0) || n > INT64_MAX ||
        (plain != WEFT_WEBSOCKET_TEXT && plain != WEFT_WEBSOCKET_BINARY))
        return fail_with(EINVAL);
    if (websocket_begin_turn(w, d) != 0)
        return -1;
    int result = is_open(w) ? write_piece(w, plain, more, data, n, d) : fail_with(EPIPE);
    int error = result == 0 ? saved : errno;
    websocket_send_owed(w, result == 0 ? d : WEFT_NOW); // what has come to be owed meanwhile
    websocket_end_turn(w);
    errno = error;
    return result;
}

int weft_websocket_ping(weft_websocket *w, const void *data, size_t n, weft_deadline d)
{
    int saved = errno;
    if (w == nullptr || n > CONTROL_MOST || (data == nullptr && n > 0))
        return fail_with(EINVAL);
    if (websocket_begin_turn(w, d) != 0)
        return -1;
    int result = is_open(w) ? websocket_send_owed(w, d) : fail_with(EPIPE);
    if (result == 0 && w->close_sent)
        result = fail_with(EPIPE);
    if (result == 0)
        result = add_control(w, WEFT_WEBSOCKET_PING, data, n);
    if (result == 0)
        result = flush(w, d);
    websocket_end_turn(w);
    if (result == 0)
        errno = saved;
    return result;
}
