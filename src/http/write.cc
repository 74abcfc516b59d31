// write.cc: bodies of responses as they come, and connections that speak another protocol.
#include "server.h"
#include "text.h"

#include <base/sigpipe.h>

#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>

using namespace weft;

static const size_t PIECE = 256 << 10, FILE_PIECE = 1 << 20;
enum { CHUNK_HEAD = 20 };

// ---- What the response may still have ----

// 1: go on; 0: n bytes are dropped; -1: errno.
static int may_write(exchange *x, size_t n)
{
    if (x->pub.status == 0 || x->raw)
        return fail_with(EINVAL);
    if (x->c->broken || x->aborted)
        return fail_with(EPIPE);
    if (x->promised >= 0 && n > (uint64_t)x->promised)
        return fail_with(EINVAL);
    return x->mute ? 0 : 1;
}

static void written(exchange *x, size_t n)
{
    if (x->promised >= 0)
        x->promised -= (int64_t)n;
    if (!x->mute)
        x->pub.sent += n;
}

// ---- Pieces ----

static int put_chunk_head(const exchange *x, char *to, size_t n)
{
    return x->chunked ? snprintf(to, CHUNK_HEAD, "%zx\r\n", n) : 0;
}

static int put_piece(exchange *x, const char *piece, size_t n)
{
    runner *r = x->runner;
    char *to = output_room(r, n + CHUNK_HEAD + 2);
    if (to == nullptr)
        return -1;
    size_t head = (size_t)put_chunk_head(x, to, n), tail = x->chunked ? 2 : 0;
    memcpy(to + head, piece, n);
    memcpy(to + head + n, "\r\n", tail);
    output_used(r, head + n + tail);
    return 0;
}

// From where it lies.  What is not sent is copied, so that all of it is taken; -1: errno of the
// wait, or the client is gone.
static int send_piece(exchange *x, const char *piece, size_t n, weft_deadline d)
{
    runner *r = x->runner;
    char *to = output_room(r, CHUNK_HEAD);
    struct iovec pieces[2] = {{const_cast<char *>(piece), n}, {const_cast<char *>("\r\n"), 2}};
    size_t all = n + (x->chunked ? 2 : 0);
    if (to == nullptr)
        return -1;
    output_used(r, (size_t)put_chunk_head(x, to, n));
    size_t sent = (size_t)output_send(r, pieces, x->chunked ? 2 : 1, &x->go, d);
    if (sent == all)
        return 0;
    int error = errno;
    if (x->c->broken)
        return -1;
    if ((sent < n && output_put(r, piece + sent, n - sent) != 0) ||
        (x->chunked && output_put(r, &"\r\n"[sent > n], 2 - (sent > n)) != 0)) {
        x->aborted = true;
        return -1;
    }
    output_later(r);
    return fail_with(error);
}

// So much must be gone that there is room for more.
static int make_room(exchange *x, weft_deadline d)
{
    const bytes *out = &x->runner->out;
    int saved = errno;
    if (bytes_count(out) < OUTPUT_MAX)
        return 0;
    if (output_flush(x->runner, &x->go, d) != 0 && (x->c->broken || bytes_count(out) >= OUTPUT_MAX))
        return -1;
    errno = saved;
    return 0;
}

static int write_piece(exchange *x, const char *piece, size_t n, weft_deadline d)
{
    runner *r = x->runner;
    if (make_room(x, d) != 0)
        return -1;
    if (n > COPIED) {
        int result = send_piece(x, piece, n, d);
        if (x->c->broken || x->aborted)
            return -1;
        written(x, n);
        return result == 0 ? 0 : 1;
    }
    if (put_piece(x, piece, n) != 0)
        return -1;
    written(x, n);
    output_later(r);
    return 0;
}

// *done: n, if nothing of it is to be sent; else 0.
static int begin_write(exchange *x, size_t n, size_t *done)
{
    int may = may_write(x, n);
    if (may < 0)
        return -1;
    if (may == 0)
        written(x, n);
    *done = may == 0 ? n : 0;
    return 0;
}

ssize_t weft_http_write(weft_http_exchange *pub, const void *buf, size_t n, weft_deadline d)
{
    exchange *x = private_of(pub);
    size_t done;
    int saved = errno, result = 0;
    if (x == nullptr || (buf == nullptr && n > 0))
        return fail_with(EINVAL);
    if (begin_write(x, n, &done) != 0)
        return -1;
    while (done < n && result == 0) {
        size_t piece = n - done < PIECE ? n - done : PIECE;
        result = write_piece(x, (const char *)buf + done, piece, d);
        done += result < 0 ? 0 : piece;
    }
    if (done == n)
        errno = saved;
    return done > 0 || n == 0 ? (ssize_t)done : -1;
}

int weft_http_flush(weft_http_exchange *pub, weft_deadline d)
{
    exchange *x = private_of(pub);
    if (x == nullptr)
        return fail_with(EINVAL);
    return output_flush(x->runner, &x->go, d);
}

char *weft::exchange_room(weft_http_exchange *pub, size_t n)
{
    exchange *x = private_of(pub);
    if (x->c->broken || x->aborted)
        return (char *)fail_null(EPIPE);
    return output_room(x->runner, n);
}

void weft::exchange_used(weft_http_exchange *pub, size_t n)
{
    exchange *x = private_of(pub);
    output_used(x->runner, n);
    written(x, n);
    output_later(x->runner);
}

// ---- Files ----

// A short piece, through memory.  How many bytes; 0: the file ends.
static ssize_t copy_from(exchange *x, int fd, off_t offset, size_t n, weft_deadline d)
{
    char text[4096];
    n = n < sizeof text ? n : sizeof text;
    ssize_t got;
    do
        got = pread(fd, text, n, offset);
    while (got < 0 && errno == EINTR);
    return got > 0 ? weft_http_write(&x->pub, text, (size_t)got, d) : got;
}

static ssize_t send_file_once(const exchange *x, int fd, off_t offset, size_t n)
{
    if (x->runner->home->ignores_sigpipe)
        return sendfile(x->c->fd, fd, &offset, n);
    sigpipe hold; // sendfile(2) has no MSG_NOSIGNAL
    sigpipe_hold(&hold);
    ssize_t sent = sendfile(x->c->fd, fd, &offset, n);
    sigpipe_release(&hold, sent < 0 && errno == EPIPE);
    return sent;
}

// A long piece, behind what is in the output.
static ssize_t send_from(exchange *x, int fd, off_t offset, size_t n, weft_deadline d)
{
    runner *r = x->runner;
    if (output_lead(r, &x->go, d) != 0)
        return -1;
    for (;;) {
        ssize_t sent = send_file_once(x, fd, offset, n < FILE_PIECE ? n : FILE_PIECE);
        if (sent >= 0) {
            r->home->server->stats.out += (size_t)sent;
            pace_moved(r->home->server, &x->go, (size_t)sent);
            written(x, (size_t)sent);
            return sent;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EPIPE && errno != ECONNRESET)
            return -1; // the file's
        if (output_failed(x->c) != 0 || connection_wait_paced(x->c, WEFT_WRITE, &x->go, d) != 0)
            return -1;
    }
}

ssize_t weft_http_send_file(weft_http_exchange *pub, int fd, off_t offset, size_t n,
                            weft_deadline d)
{
    exchange *x = private_of(pub);
    size_t done;
    int saved = errno;
    ssize_t some = 1;
    if (x == nullptr || offset < 0)
        return fail_with(EINVAL);
    if (begin_write(x, n, &done) != 0)
        return -1;
    while (done < n && some > 0) {
        size_t left = n - done;
        off_t at = offset + (off_t)done;
        some = left <= COPIED || x->chunked ? copy_from(x, fd, at, left, d)
                                            : send_from(x, fd, at, left, d);
        done += some > 0 ? (size_t)some : 0;
        if (some == (ssize_t)FILE_PIECE)
            weft_tasklet_yield(); // a fast client may take all of a large file
    }
    if (done == n || some == 0)
        errno = saved;
    return done > 0 || some >= 0 ? (ssize_t)done : -1;
}

// ---- Another protocol ----

int weft_http_upgrade(weft_http_exchange *pub, const char *protocol, weft_deadline d)
{
    exchange *x = private_of(pub);
    if (x == nullptr || protocol == nullptr || !x->head.upgrades ||
        !is_field_value(protocol, strlen(protocol)) || protocol[0] == 0)
        return fail_with(EINVAL);
    if (pub->status != 0)
        return fail_with(EALREADY);
    if (x->c->broken || x->aborted)
        return fail_with(EPIPE);
    if (x->body != BODY_NONE && x->body != BODY_ENDED)
        return fail_with(EINVAL); // what is left of it would be read as the protocol
    runner *r = x->runner;
    size_t n = strlen(protocol), own = bytes_count(&r->fields), room = 128 + n + own;
    char *to = output_room(r, room);
    if (to == nullptr)
        return -1;
    int used = snprintf(to, room,
                        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                        "Upgrade: %s\r\n%.*s\r\n",
                        protocol, (int)own, own > 0 ? bytes_at(&r->fields) : "");
    output_used(r, (size_t)used);
    pub->status = 101;
    x->raw = true;
    output_later(r);
    return output_flush(r, &x->go, d);
}

void weft::exchange_on_stop(weft_http_exchange *pub, void (*fn)(void *arg), void *arg)
{
    private_of(pub)->on_stop = fn;
    private_of(pub)->stop_arg = arg;
}

ssize_t weft_http_raw_read(weft_http_exchange *pub, void *buf, size_t n, weft_deadline d)
{
    exchange *x = private_of(pub);
    if (x == nullptr || (buf == nullptr && n > 0) || !x->raw)
        return fail_with(EINVAL);
    connection *c = x->c;
    connection_give_way(c, d);
    connection_moved(c, 0);
    size_t have = bytes_count(&c->in);
    if (have > 0) { // came behind the request
        n = n < have ? n : have;
        if (n > 0)
            memcpy(buf, bytes_at(&c->in), n);
        c->in.begin += n;
        return (ssize_t)n;
    }
    int saved = errno;
    for (;;) {
        ssize_t got = recv(c->fd, buf, n, MSG_DONTWAIT);
        if (got >= 0) {
            x->runner->home->server->stats.in += (size_t)got;
            errno = saved;
            return got;
        }
        if (errno == EAGAIN ? connection_wait(c, WEFT_READ, d) != 0 : errno != EINTR)
            return -1;
    }
}

ssize_t weft::exchange_raw_writev(weft_http_exchange *pub, struct iovec *pieces, int count,
                                  weft_deadline d)
{
    exchange *x = private_of(pub);
    if (!x->raw)
        return fail_with(EINVAL);
    if (x->c->broken || x->aborted)
        return fail_with(EPIPE);
    size_t all = 0;
    for (int i = 0; i < count; i++)
        all += pieces[i].iov_len;
    ssize_t sent = output_send(x->runner, pieces, count, nullptr, d);
    return sent > 0 || all == 0 ? sent : -1;
}

ssize_t weft_http_raw_write(weft_http_exchange *pub, const void *buf, size_t n, weft_deadline d)
{
    struct iovec piece = {const_cast<void *>(buf), n};
    if (pub == nullptr || (buf == nullptr && n > 0))
        return fail_with(EINVAL);
    return exchange_raw_writev(pub, &piece, 1, d);
}
