// shm_pass.cc: a segment's descriptor over a Unix socket (unix(7), SCM_RIGHTS).
#include "shm_segment.h"

#include <base/errno.h>
#include <base/poll.h>

#include <string.h>
#include <sys/socket.h>

using namespace weft;

namespace {
// One byte, with room for a descriptor.
struct passing {
    char byte;
    struct iovec data;
    struct msghdr message;
    alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
};
} // namespace

static void prepare(passing *p)
{
    *p = {};
    p->byte = 'w';
    p->data = {&p->byte, 1};
    p->message.msg_iov = &p->data;
    p->message.msg_iovlen = 1;
    p->message.msg_control = p->control;
    p->message.msg_controllen = sizeof p->control;
}

static int wait_for(int socket, short events, weft_deadline d)
{
    struct pollfd p = {socket, events, 0};
    return poll_until(&p, 1, d) > 0 ? 0 : -1;
}

int weft_shm_send(const weft_shm *s, int socket, weft_deadline d)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    int saved = errno;
    passing p;
    prepare(&p);
    struct cmsghdr *c = CMSG_FIRSTHDR(&p.message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &s->fd, sizeof(int));
    while (uncancelled(sendmsg, socket, &p.message, MSG_NOSIGNAL | MSG_DONTWAIT) != 1) {
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
    passing p;
    prepare(&p);
    ssize_t n;
    while ((n = uncancelled(recvmsg, socket, &p.message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT)) < 0) {
        if (errno == EAGAIN && wait_for(socket, POLLIN, d) != 0)
            return nullptr;
        if (errno != EAGAIN && errno != EINTR)
            return nullptr;
    }
    struct cmsghdr *h = CMSG_FIRSTHDR(&p.message);
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
