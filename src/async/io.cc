// io.cc: streams.  Each call is one system call, made again after each wait (descriptor.h).
//
// Sockets are asked with MSG_DONTWAIT, so that O_NONBLOCK, which belongs to all who share the open
// file, can stay as it is.  For what is no socket there is io_plain.cc, for regular files file.cc.
#include "descriptor.h"

#include <base/errno.h>

#include <limits.h>
#include <string.h>

using namespace weft;

static bool is_socket(const descriptor *r)
{
    return r->kind != KIND_PLAIN;
}

// ---- Reading ----

static void note_short(descriptor *r, ssize_t got, size_t n)
{
    if (r->kind == KIND_STREAM && got > 0 && (size_t)got < n && !r->lasting)
        r->ready &= (uint8_t)~WEFT_READ; // nothing more there: the next data is an edge
}

static ssize_t read_other(int fd, descriptor *r, const io_call *c, const struct iovec *pieces,
                          int count)
{
    return r->file ? file_read_on(fd, pieces, count, c->d) : plain_read(fd, r, pieces, count);
}

static ssize_t read_some(int fd, descriptor *r, io_call *c)
{
    struct iovec piece = {c->data, c->n < c->most ? c->n : c->most};
    if (!is_socket(r))
        return read_other(fd, r, c, &piece, 1);
    ssize_t got = recv(fd, c->data, piece.iov_len, MSG_DONTWAIT);
    note_short(r, got, piece.iov_len);
    return got;
}

// recv(2) of nothing waits for something, and so may others: it is done without them.
static ssize_t read_nothing(int fd, weft_deadline d)
{
    return io_begin(fd, WEFT_READ, d) != nullptr ? 0 : -1;
}

ssize_t weft_io_read(int fd, void *buf, size_t n, weft_deadline d)
{
    if (n == 0)
        return read_nothing(fd, d);
    io_call c = {read_some, buf, n, 0, nullptr, nullptr, false};
    return io_do(fd, WEFT_READ, &c, d);
}

ssize_t weft_io_read_all(int fd, void *buf, size_t n, weft_deadline d)
{
    size_t all = 0;
    do {
        ssize_t got = weft_io_read(fd, (char *)buf + all, n - all, d);
        if (got < 0)
            return all > 0 ? (ssize_t)all : -1;
        if (got == 0)
            break;
        all += (size_t)got;
    } while (all < n);
    return (ssize_t)all;
}

static size_t total(const struct iovec *pieces, int count)
{
    size_t n = 0;
    for (int i = 0; i < count; i++)
        n += pieces[i].iov_len;
    return n;
}

// Where a call may move so much: of its pieces the first that is not empty, and of that.
static void keep_to_limit(const io_call *c, struct iovec **pieces, int *count, struct iovec *one)
{
    *pieces = (struct iovec *)c->data;
    *count = (int)c->n;
    if (c->most == SIZE_MAX)
        return;
    while (*count > 1 && (*pieces)->iov_len == 0) {
        ++*pieces;
        --*count;
    }
    *one = **pieces;
    one->iov_len = one->iov_len < c->most ? one->iov_len : c->most;
    *pieces = one;
    *count = 1;
}

static ssize_t read_pieces(int fd, descriptor *r, io_call *c)
{
    struct msghdr m;
    struct iovec one, *pieces;
    int count;
    keep_to_limit(c, &pieces, &count, &one);
    if (!is_socket(r))
        return read_other(fd, r, c, pieces, count);
    memset(&m, 0, sizeof m);
    m.msg_iov = pieces;
    m.msg_iovlen = (size_t)count;
    ssize_t got = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got > 0)
        note_short(r, got, total(pieces, count));
    return got;
}

ssize_t weft_io_readv(int fd, const struct iovec *pieces, int count, weft_deadline d)
{
    io_call c = {read_pieces, (void *)pieces, (size_t)count, 0, nullptr, nullptr, false};
    if (count < 0 || count > IOV_MAX)
        return fail_with(EINVAL);
    return total(pieces, count) == 0 ? read_nothing(fd, d) : io_do(fd, WEFT_READ, &c, d);
}

// ---- Writing ----

ssize_t weft::io_write_pieces(int fd, descriptor *r, io_call *c)
{
    struct msghdr m;
    struct iovec one, *pieces;
    int count;
    keep_to_limit(c, &pieces, &count, &one);
    if (r->file)
        return file_write_on(fd, pieces, count, c->d);
    if (!is_socket(r))
        return plain_write(fd, r, pieces, count);
    if (count == 1)
        return send(fd, pieces->iov_base, pieces->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    memset(&m, 0, sizeof m);
    m.msg_iov = pieces;
    m.msg_iovlen = (size_t)count;
    return sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// The first few of what is left after `done` bytes.  Returns how many pieces.
static int remainder(const struct iovec *pieces, int count, size_t done, struct iovec *rest,
                     int room)
{
    int n = 0;
    for (int i = 0; i < count && n < room; i++) {
        if (done >= pieces[i].iov_len) {
            done -= pieces[i].iov_len;
            continue;
        }
        rest[n].iov_base = (char *)pieces[i].iov_base + done;
        rest[n++].iov_len = pieces[i].iov_len - done;
        done = 0;
    }
    return n;
}

ssize_t weft_io_writev(int fd, const struct iovec *pieces, int count, weft_deadline d)
{
    struct iovec rest[16];
    if (count < 0)
        return fail_with(EINVAL);
    size_t all = 0, n = total(pieces, count);
    do {
        int left = remainder(pieces, count, all, rest, 16);
        if (left == 0) // nothing at all: as a write of nothing
            rest[left++] = {nullptr, 0};
        io_call c = {io_write_pieces, rest, (size_t)left, 0, nullptr, nullptr, false};
        ssize_t put = io_do(fd, WEFT_WRITE, &c, d);
        if (put < 0)
            return all > 0 ? (ssize_t)all : -1;
        all += (size_t)put;
    } while (all < n);
    return (ssize_t)all;
}

ssize_t weft_io_write(int fd, const void *buf, size_t n, weft_deadline d)
{
    struct iovec piece = {(void *)buf, n};
    return weft_io_writev(fd, &piece, 1, d);
}

// ---- From a file ----

namespace {
struct file_part {
    io_held in;
    off_t *offset;
};
} // namespace

static ssize_t send_file(int fd, descriptor *r, io_call *c)
{
    const file_part *from = (const file_part *)c->data;
    return io_is_same(&from->in)
               ? plain_send_file(fd, r, from->in.fd, from->offset, c->n < c->most ? c->n : c->most)
               : fail_with(ECANCELED);
}

ssize_t weft_io_sendfile(int out, int in, off_t *offset, size_t n, weft_deadline d)
{
    size_t all = 0;
    file_part from = {{}, offset};
    if (io_hold(&from.in, in) != 0)
        return -1;
    while (all < n) {
        io_call c = {send_file, &from, n - all, 0, nullptr, nullptr, false};
        ssize_t put = io_do(out, WEFT_WRITE, &c, d);
        if (put < 0)
            return all > 0 ? (ssize_t)all : -1;
        if (put == 0)
            break;
        all += (size_t)put;
    }
    return (ssize_t)all;
}
