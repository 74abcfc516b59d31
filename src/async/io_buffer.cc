// io_buffer.cc: reading and writing by way of a buffer of the caller's.
//
// What is read beyond a delimiter stays there, and what was searched already is not searched again.
//
// Written bytes are looked up in the buffer right before each system call and taken off right after
// it, with nothing that gives way between.  So no byte is written twice or left out, whatever ends
// a call, and whoever else puts more into the buffer while one waits.
#include "descriptor.h"

#include <base/errno.h>

#include <string.h>

using namespace weft;

// ---- Reading ----

static ssize_t take(weft_io_buffer *b, size_t n, char **text)
{
    *text = b->data + b->begin;
    b->begin += n;
    return (ssize_t)n;
}

// Makes room for n bytes behind what is there, if need be by moving that to the front.  Whether
// there is.
static bool make_room(weft_io_buffer *b, size_t n)
{
    size_t there = b->end - b->begin;
    if (there == 0) {
        b->begin = b->end = 0;
    } else if (n > b->room - b->end && n <= b->room - there) {
        memmove(b->data, b->data + b->begin, there);
        b->begin = 0;
        b->end = there;
    }
    return n <= b->room - b->end;
}

static ssize_t fill(int fd, weft_io_buffer *b, weft_deadline d)
{
    if (!make_room(b, 1))
        return fail_with(EMSGSIZE);
    ssize_t n = weft_io_read(fd, b->data + b->end, b->room - b->end, d);
    if (n > 0)
        b->end += (size_t)n;
    return n;
}

ssize_t weft_io_read_until(int fd, weft_io_buffer *b, const void *delimiter, size_t length,
                           char **text, weft_deadline d)
{
    if (!io_buffer_is_sound(b) || delimiter == nullptr || length == 0 || text == nullptr)
        return fail_with(EINVAL);
    for (size_t searched = 0;;) {
        const char *from = b->data + b->begin + searched;
        size_t n = b->end - b->begin;
        const char *at = (const char *)memmem(from, n - searched, delimiter, length);
        if (at != nullptr)
            return take(b, (size_t)(at - (b->data + b->begin)) + length, text);
        searched = n >= length ? n - length + 1 : 0;
        ssize_t got = fill(fd, b, d);
        if (got < 0)
            return -1;
        if (got == 0)
            return take(b, b->end - b->begin, text);
    }
}

ssize_t weft_io_skip_until(int fd, weft_io_buffer *b, const void *delimiter, size_t length,
                           weft_deadline d)
{
    if (!io_buffer_is_sound(b) || length > b->room)
        return fail_with(EINVAL);
    int saved = errno;
    size_t all = 0;
    for (char *text;;) {
        ssize_t n = weft_io_read_until(fd, b, delimiter, length, &text, d);
        if (n < 0 && errno != EMSGSIZE)
            return -1;
        if (n >= 0) {
            errno = saved;
            return (ssize_t)all + n;
        }
        size_t gone = b->room - (length - 1); // the rest may be the delimiter's beginning
        b->begin += gone;
        all += gone;
    }
}

ssize_t weft_io_read_buffered(int fd, weft_io_buffer *b, void *buf, size_t n, weft_deadline d)
{
    if (!io_buffer_is_sound(b))
        return fail_with(EINVAL);
    size_t there = b->end - b->begin;
    if (there == 0)
        return weft_io_read(fd, buf, n, d);
    n = n < there ? n : there;
    memcpy(buf, b->data + b->begin, n);
    b->begin += n;
    return (ssize_t)n;
}

// ---- Writing ----

namespace {
struct writing {
    weft_io_buffer *b;
    const char *more; // behind what is in the buffer
    size_t n;
    bool begun; // a part of `more` is out: its rest comes first
};
} // namespace

static ssize_t write_out(int fd, descriptor *r, io_call *call)
{
    writing *w = (writing *)call->data;
    weft_io_buffer *b = w->b;
    size_t there = w->begun ? 0 : b->end - b->begin;
    struct iovec pieces[2] = {{b->data + b->begin, there}, {(void *)w->more, w->n}};
    int from = there == 0, to = w->n == 0 ? 1 : 2;
    if (from == to)
        return 0;
    io_call part = {nullptr, pieces + from, (size_t)(to - from), 0, nullptr, nullptr, false};
    part.most = call->most;
    part.d = call->d;
    ssize_t put = io_write_pieces(fd, r, &part);
    if (put <= 0)
        return put;
    size_t taken = (size_t)put < there ? (size_t)put : there, rest = (size_t)put - taken;
    b->begin += taken;
    w->more += rest;
    w->n -= rest;
    w->begun = w->begun || rest > 0;
    return put;
}

// All that is in the buffer, or `more` and what is before it.
static int write_all(int fd, writing *w, weft_deadline d)
{
    do {
        io_call c = {write_out, w, 0, 0, nullptr, nullptr, false};
        if (io_do(fd, WEFT_WRITE, &c, d) < 0)
            return -1;
    } while (w->n > 0 || (!w->begun && w->b->begin < w->b->end));
    return 0;
}

ssize_t weft_io_write_buffered(int fd, weft_io_buffer *b, const void *buf, size_t n,
                               weft_deadline d)
{
    writing w = {b, (const char *)buf, n, false};
    if (!io_buffer_is_sound(b))
        return fail_with(EINVAL);
    if (make_room(b, n)) {
        memcpy(b->data + b->end, buf, n);
        b->end += n;
        return (ssize_t)n;
    }
    return write_all(fd, &w, d) != 0 && w.n == n ? -1 : (ssize_t)(n - w.n);
}

int weft_io_flush(int fd, weft_io_buffer *b, weft_deadline d)
{
    writing w = {b, nullptr, 0, false};
    if (!io_buffer_is_sound(b))
        return fail_with(EINVAL);
    return b->begin < b->end ? write_all(fd, &w, d) : 0;
}
