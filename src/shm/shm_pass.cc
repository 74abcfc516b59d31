// shm_pass.cc: a segment's descriptor over a Unix socket (unix(7), SCM_RIGHTS).
#include "shm_segment.h"

#include <base/errno.h>
#include <base/time.h>

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

using namespace weft;

namespace {
union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};
} // namespace

// Waits until `socket` is ready.
static int wait_for(int socket, short events, weft_deadline d)
{
    struct pollfd p = {socket, events, 0};
    for (;;) {
        int n = poll(&p, 1, poll_ms(d));
        if (n > 0)
            return 0;
        if (n == 0 && weft_left(d) == 0)
            return fail_with(ETIMEDOUT);
        if (n < 0 && errno != EINTR)
            return -1;
    }
}

int weft_shm_send(const weft_shm *s, int socket, weft_deadline d)
{
    int saved = errno;
    char byte = 'w';
    union control c = {};
    struct iovec v = {&byte, 1};
    struct msghdr m = {};
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    m.msg_control = c.bytes;
    m.msg_controllen = sizeof c.bytes;
    c.align.cmsg_level = SOL_SOCKET;
    c.align.cmsg_type = SCM_RIGHTS;
    c.align.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&c.align), &s->fd, sizeof(int));
    while (sendmsg(socket, &m, MSG_NOSIGNAL | MSG_DONTWAIT) != 1) {
        if (errno == EAGAIN && wait_for(socket, POLLOUT, d) != 0)
            return -1;
        if (errno != EAGAIN && errno != EINTR)
            return -1;
    }
    errno = saved;
    return 0;
}

weft_shm *weft_shm_receive(int socket, weft_deadline d)
{
    int saved = errno, fd = -1;
    char byte;
    union control c = {};
    struct iovec v = {&byte, 1};
    struct msghdr m = {};
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    m.msg_control = c.bytes;
    m.msg_controllen = sizeof c.bytes;
    ssize_t n;
    while ((n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT)) < 0) {
        if (errno == EAGAIN && wait_for(socket, POLLIN, d) != 0)
            return nullptr;
        if (errno != EAGAIN && errno != EINTR)
            return nullptr;
    }
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    if (h != nullptr && h->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(h), sizeof fd);
    if (fd < 0) {
        errno = n == 0 ? EPIPE : EBADMSG;
        return nullptr;
    }
    errno = saved;
    weft_shm *s = weft_shm_attach_fd(fd);
    close_keep_errno(&fd);
    return s;
}
