// io_peer.cc: who is at the other end of a connection, and what passes to it besides bytes.
#include "descriptor.h"

#include <base/above_streams.h>
#include <base/errno.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#ifndef SO_PEERPIDFD // Linux 6.5
#define SO_PEERPIDFD 77
#endif

using namespace weft;

// ---- Descriptors ----

namespace {
struct envelope { // a message of one byte, with room for a descriptor
    struct msghdr m;
    struct iovec piece;
    io_held passed;
    char byte;
    alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
};
} // namespace

static void make_envelope(envelope *e)
{
    memset(e, 0, sizeof *e);
    e->piece = {&e->byte, 1};
    e->m.msg_iov = &e->piece;
    e->m.msg_iovlen = 1;
    e->m.msg_control = e->control;
    e->m.msg_controllen = CMSG_LEN(sizeof(int)); // no room for a second, which would be lost
}

static ssize_t send_passed(int fd, descriptor *, io_call *c)
{
    const envelope *e = (const envelope *)c->data;
    return io_is_same(&e->passed) ? sendmsg(fd, &e->m, MSG_DONTWAIT | MSG_NOSIGNAL)
                                  : fail_with(ECANCELED);
}

int weft_io_send_fd(int socket, int fd, weft_deadline d)
{
    envelope e;
    make_envelope(&e);
    struct cmsghdr *c = CMSG_FIRSTHDR(&e.m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    io_call call = {send_passed, &e, 0, 0, nullptr, nullptr, false};
    return io_hold(&e.passed, fd) == 0 && io_do(socket, WEFT_WRITE, &call, d) == 1 ? 0 : -1;
}

int weft_io_recv_fd(int socket, weft_deadline d)
{
    envelope e;
    int fd, saved = errno;
    make_envelope(&e);
    ssize_t n = weft_io_recvmsg(socket, &e.m, 0, d);
    if (n < 0)
        return -1;
    const struct cmsghdr *c = CMSG_FIRSTHDR(&e.m);
    if (c == nullptr || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
        return fail_with(n == 0 ? EPIPE : e.m.msg_flags & MSG_CTRUNC ? EMFILE : EBADMSG);
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    fd = above_streams(fd);
    if (fd < 0)
        return -1;
    errno = saved;
    return io_adopt(fd, KIND_UNKNOWN);
}

// ---- Processes ----

int weft_io_peer(int fd, weft_io_credentials *c)
{
    struct ucred u;
    socklen_t size = sizeof u;
    if (c == nullptr)
        return fail_with(EINVAL);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &size) != 0)
        return -1;
    if (u.pid <= 0 && u.uid == (uid_t)-1) // no unix socket, or none that is connected
        return fail_with(ENOTCONN);
    *c = {u.pid, u.uid, u.gid};
    return 0;
}

int weft_io_peer_pidfd(int fd)
{
    int pidfd;
    socklen_t size = sizeof pidfd;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
        return above_streams(pidfd); // close-on-exec always
    return errno == ENOPROTOOPT ? fail_with(EOPNOTSUPP)
           : errno == ENODATA   ? fail_with(ENOTCONN)
                                : -1;
}

// ---- TCP that has fallen silent ----

// Whole seconds, one at least.
static int seconds(int64_t ns)
{
    int64_t s = ns / 1000000000 + (ns % 1000000000 != 0);
    return s < 1 ? 1 : s < INT32_MAX ? (int)s : INT32_MAX;
}

static int set_tcp(int fd, int option, int value)
{
    return setsockopt(fd, IPPROTO_TCP, option, &value, sizeof value);
}

int weft_io_keep_alive(int fd, int64_t idle_ns, int64_t interval_ns, int probes)
{
    int on = idle_ns > 0;
    if (idle_ns < 0 || (on && (interval_ns <= 0 || probes < 1)))
        return fail_with(EINVAL);
    if (on && (set_tcp(fd, TCP_KEEPIDLE, seconds(idle_ns)) != 0 ||
               set_tcp(fd, TCP_KEEPINTVL, seconds(interval_ns)) != 0 ||
               set_tcp(fd, TCP_KEEPCNT, probes) != 0))
        return -1;
    return setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

int weft_io_user_timeout(int fd, int64_t ns)
{
    int64_t ms = ns / 1000000 + (ns % 1000000 != 0);
    return ns < 0 ? fail_with(EINVAL)
                  : set_tcp(fd, TCP_USER_TIMEOUT, ms < INT32_MAX ? (int)ms : INT32_MAX);
}

int weft_io_reset(int fd)
{
    struct linger none = {1, 0};
    if (io_here == nullptr)
        return fail_with(EPERM);
    if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none) != 0)
        return -1;
    return weft_io_close(fd);
}
