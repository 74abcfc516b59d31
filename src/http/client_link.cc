// client_link.cc: a connection to a server.
//
// A server may answer before it has read the whole request, to refuse it, and then read no more: so
// who sends and would have to wait looks for an answer, too (RFC 9112, 9.5).
#include "client.h"
#include "parse.h"

#include <weft/io.h>

#include <stdlib.h>
#include <string.h>

using namespace weft;

enum { FIRST_ROOM = 4096, BODY_ROOM = 16384, MOST_INTERIM = 100 };

http_link *weft::http_link_open(const char *address, size_t fields, weft_deadline d)
{
    size_t room = fields != 0 ? fields : 100, size;
    if (__builtin_mul_overflow(room, sizeof(weft_http_field), &size) ||
        __builtin_add_overflow(size, sizeof(http_link), &size))
        return fail_null(ENOMEM);
    http_link *l = (http_link *)malloc(size);
    if (l == nullptr)
        return fail_null(ENOMEM);
    memset(l, 0, sizeof *l);
    l->room = room;
    l->fields = (weft_http_field *)(l + 1);
    memcpy(l->address, address, strlen(address) + 1);
    l->fd = weft_io_connect(address, d);
    if (l->fd >= 0)
        return l;
    free_keep_errno(l);
    return nullptr;
}

void weft::http_link_close(http_link *l)
{
    int saved = errno;
    if (weft_io_close(l->fd) != 0 && errno == EPERM)
        close(l->fd); // weft_io_run has ended
    errno = saved;
    bytes_release(&l->in);
    bytes_release(&l->out);
    free_keep_errno(l);
}

// Reads what has come, at least a byte.  0: the end.
static ssize_t fill(http_link *l, size_t least, weft_deadline d)
{
    if (bytes_count(&l->in) == 0 && l->in.room < least)
        bytes_release(&l->in);
    char *to = bytes_room(&l->in, 1, least, realloc);
    if (to == nullptr)
        return -1;
    ssize_t n = weft_io_read(l->fd, to, bytes_free(&l->in), d);
    if (n > 0) {
        bytes_put(&l->in, (size_t)n);
        l->heard = true;
    }
    return n;
}

// ---- Sending ----

// Whether what has come while it was sent is an answer that counts, or the end.
static bool has_answered(http_link *l)
{
    int saved = errno;
    ssize_t got = fill(l, FIRST_ROOM, WEFT_NOW);
    if (got == 0 || (got < 0 && errno != ETIMEDOUT)) {
        l->gone = true;
        return true;
    }
    errno = saved;
    for (;;) {
        weft_http_head h = {};
        h.fields = l->fields;
        h.room = l->room;
        const char *text = bytes_at(&l->in);
        size_t there = bytes_count(&l->in);
        ssize_t n = weft_http_parse_response(&h, text, there, nullptr, false);
        if (n == 0) // "HTTP/1.1 1": an interim one
            return there >= 10 && text[9] != '1';
        if (n < 0 || h.status >= 200 || h.status == 101)
            return true;
        bytes_take(&l->in, (size_t)n);
    }
}

static ssize_t send_some(http_link *l, struct iovec *pieces, int count, weft_deadline d)
{
    if (count == 1)
        return weft_io_send(l->fd, pieces->iov_base, pieces->iov_len, 0, d);
    struct msghdr m = {};
    m.msg_iov = pieces;
    m.msg_iovlen = (size_t)count;
    return weft_io_sendmsg(l->fd, &m, 0, d);
}

static void advance(struct iovec **pieces, int *count, size_t n)
{
    while (*count > 0 && n >= (*pieces)->iov_len) {
        n -= (*pieces)->iov_len;
        ++*pieces;
        --*count;
    }
    if (*count > 0) {
        (*pieces)->iov_base = (char *)(*pieces)->iov_base + n;
        (*pieces)->iov_len -= n;
    }
}

int weft::http_link_send(http_link *l, struct iovec *pieces, int count, weft_deadline d)
{
    weft_deadline until = WEFT_NOW;
    int saved = errno;
    advance(&pieces, &count, 0);
    while (count > 0) {
        ssize_t put = send_some(l, pieces, count, until);
        until = WEFT_NOW;
        if (put >= 0) {
            advance(&pieces, &count, (size_t)put);
            continue;
        }
        if (errno == EPIPE || errno == ECONNRESET) {
            l->gone = true;
            return 0;
        }
        if (errno != ETIMEDOUT)
            return -1;
        int is = weft_io_wait(l->fd, WEFT_READ | WEFT_WRITE, d);
        if (is < 0)
            return -1;
        if ((is & WEFT_READ) && has_answered(l))
            return 0;
        if (is & WEFT_WRITE)
            until = d;
    }
    errno = saved;
    return 1;
}

// ---- Heads ----

ssize_t weft::http_link_head(http_link *l, weft_http_head *h, const weft_http_limits *limits,
                             bool to_head, bool upgrade, weft_deadline d)
{
    *h = {};
    h->fields = l->fields;
    h->room = l->room;
    for (int interim = 0; interim < MOST_INTERIM;) {
        ssize_t n =
            weft_http_parse_response(h, bytes_at(&l->in), bytes_count(&l->in), limits, to_head);
        if (n < 0)
            return fail_with(h->private_flags & HEAD_TOO_LARGE ? EMSGSIZE : EBADMSG);
        if (n > 0 && (h->status >= 200 || (h->status == 101 && upgrade)))
            return n;
        if (n > 0 && h->status == 101)
            break;
        if (n > 0) {
            bytes_take(&l->in, (size_t)n);
            interim++;
            continue;
        }
        ssize_t got = fill(l, FIRST_ROOM, d);
        if (got <= 0)
            return got < 0 ? -1 : fail_with(ECONNRESET);
    }
    return fail_with(EBADMSG);
}

// ---- Bodies ----

void weft::http_body_begin(http_body *b, int64_t length, const weft_http_limits *limits)
{
    *b = {};
    b->left = length;
    b->ended = length == 0;
    b->chunks.limits = *limits;
}

static ssize_t take(http_link *l, void *buf, size_t n)
{
    size_t there = bytes_count(&l->in);
    n = n < there ? n : there;
    memcpy(buf, bytes_at(&l->in), n);
    bytes_take(&l->in, n);
    return (ssize_t)n;
}

static ssize_t read_chunks(http_link *l, http_body *b, void *buf, size_t n, weft_deadline d)
{
    for (;;) {
        weft_http_text data;
        size_t there = bytes_count(&l->in);
        // A piece is not longer than what is looked at, so it fits.
        ssize_t used =
            weft_http_chunks_next(&b->chunks, bytes_at(&l->in), there < n ? there : n, &data);
        if (used < 0)
            return -1;
        if (data.size > 0)
            memcpy(buf, data.at, data.size);
        bytes_take(&l->in, (size_t)used);
        b->ended = b->chunks.ended;
        if (data.size > 0 || b->ended)
            return (ssize_t)data.size;
        if (used > 0)
            continue;
        ssize_t got = fill(l, BODY_ROOM, d);
        if (got <= 0)
            return got < 0 ? -1 : fail_with(ECONNRESET);
    }
}

ssize_t weft::http_link_body(http_link *l, http_body *b, void *buf, size_t n, weft_deadline d)
{
    if (b->ended || n == 0)
        return 0;
    if (b->left == WEFT_HTTP_CHUNKED)
        return read_chunks(l, b, buf, n, d);
    if (b->left >= 0 && (uint64_t)b->left < n)
        n = (size_t)b->left;
    ssize_t got = bytes_count(&l->in) > 0 ? take(l, buf, n) : weft_io_read(l->fd, buf, n, d);
    if (got < 0)
        return -1;
    if (got == 0 && b->left >= 0)
        return fail_with(ECONNRESET);
    if (b->left >= 0)
        b->left -= got;
    b->ended = b->left == 0 || got == 0;
    return got;
}
