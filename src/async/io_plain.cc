// io_plain.cc: what is no socket, used without blocking the thread.
//
// O_NONBLOCK belongs to all who share the open file, so it stays as it is.  Where it is not set
// poll(2) is no promise: another process may take what was there, and a terminal that says there is
// room may have it for one byte.  So a terminal is opened again, by way of /proc, for an open file
// of our own; pipes and others take RWF_NOWAIT.  What can have neither (a pseudo-terminal's master,
// a terminal of somebody else) is asked by poll(2) before, and little is written at once, as is the
// rest that epoll takes and nobody shares.
#include "descriptor.h"

#include <base/above_streams.h>
#include <base/errno.h>
#include <base/sigpipe.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

using namespace weft;

static const size_t LITTLE = 256; // a terminal that has room has it for that

// The name of a terminal of this kind makes a new one.
static bool is_master(int fd)
{
    int number;
    return ioctl(fd, TIOCGPTN, &number) == 0;
}

static bool is_same_file(int a, int b)
{
    struct stat s, t;
    return fstat(a, &s) == 0 && fstat(b, &t) == 0 && s.st_dev == t.st_dev && s.st_ino == t.st_ino;
}

static void open_again(descriptor *r, int fd)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int flags = fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND);
    int own = above_streams(open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (own >= 0 && !is_same_file(fd, own))
        close_keep_errno(&own);
    r->own = own >= 0 ? own : 0;
    r->blocking = own < 0;
}

void weft::plain_learn(descriptor *r, int fd)
{
    r->nowait = !isatty(fd);
    r->blocking = !r->nowait;
    if (r->blocking && !is_master(fd))
        open_again(r, fd);
}

// One that does not take RWF_NOWAIT: true, and it is to be asked another way.
static bool lacks_nowait(descriptor *r, int fd)
{
    struct stat s;
    if (errno != EOPNOTSUPP && !is_refused(errno))
        return false;
    r->nowait = 0;
    r->blocking = 1;
    if (fstat(fd, &s) == 0 && S_ISFIFO(s.st_mode))
        open_again(r, fd);
    errno = EINTR; // once more
    return true;
}

ssize_t weft::plain_read(int fd, descriptor *r, const struct iovec *pieces, int count)
{
    if (!r->nowait)
        return readv(io_number(r, fd), pieces, count);
    ssize_t got = preadv2(fd, pieces, count, -1, RWF_NOWAIT);
    if (got < 0)
        lacks_nowait(r, fd);
    return got;
}

ssize_t weft::plain_write(int fd, descriptor *r, const struct iovec *pieces, int count)
{
    sigpipe hold;
    struct iovec least = pieces[0];
    if (r->blocking) {
        least.iov_len = least.iov_len < LITTLE ? least.iov_len : LITTLE;
        pieces = &least;
        count = 1;
    }
    sigpipe_hold(&hold);
    ssize_t put = r->nowait ? pwritev2(fd, pieces, count, -1, RWF_NOWAIT)
                            : writev(io_number(r, fd), pieces, count);
    sigpipe_release(&hold, put < 0 && errno == EPIPE);
    if (put < 0 && r->nowait)
        lacks_nowait(r, fd);
    return put;
}

ssize_t weft::plain_send_file(int fd, descriptor *r, int in, off_t *offset, size_t n)
{
    sigpipe hold;
    if (r->blocking) { // a socket too: sendfile(2) has no MSG_DONTWAIT
        if (!io_would_not_block(r, fd, WEFT_WRITE))
            return fail_with(EAGAIN);
        size_t most = r->kind == KIND_PLAIN ? LITTLE : PIPE_BUF;
        n = n < most ? n : most;
    }
    sigpipe_hold(&hold); // nor MSG_NOSIGNAL
    ssize_t put = r->nowait ? splice(in, offset, fd, nullptr, n, SPLICE_F_NONBLOCK)
                            : sendfile(io_number(r, fd), in, offset, n);
    sigpipe_release(&hold, put < 0 && errno == EPIPE);
    if (put < 0 && r->nowait)
        lacks_nowait(r, fd);
    return put;
}
