// io_message.cc: one message, with its flags, addresses and ancillary data.
#include "descriptor.h"

#include <base/errno.h>

using namespace weft;

// Of what else the socket holds, or of what is behind what was looked at (SO_PEEK_OFF).
static bool looks_elsewhere(int flags)
{
    return (flags & (MSG_ERRQUEUE | MSG_OOB | MSG_PEEK)) != 0;
}

static ssize_t receive(int fd, descriptor *, io_call *c)
{
    return recvfrom(fd, c->data, c->n, c->flags | MSG_DONTWAIT, (struct sockaddr *)c->address,
                    c->address_size);
}

ssize_t weft_io_recv(int fd, void *buf, size_t n, int flags, weft_deadline d)
{
    return weft_io_recvfrom(fd, buf, n, flags, nullptr, nullptr, d);
}

ssize_t weft_io_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *from,
                         socklen_t *from_size, weft_deadline d)
{
    io_call c = {receive, buf, n, flags, from, from_size, looks_elsewhere(flags)};
    return io_do(fd, WEFT_READ, &c, d);
}

static ssize_t receive_message(int fd, descriptor *, io_call *c)
{
    return recvmsg(fd, (struct msghdr *)c->data, c->flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
}

ssize_t weft_io_recvmsg(int fd, struct msghdr *m, int flags, weft_deadline d)
{
    io_call c = {receive_message, m, 0, flags, nullptr, nullptr, looks_elsewhere(flags)};
    return io_do(fd, WEFT_READ, &c, d);
}

static ssize_t send_one(int fd, descriptor *, io_call *c)
{
    return sendto(fd, c->data, c->n, c->flags | MSG_DONTWAIT | MSG_NOSIGNAL,
                  (struct sockaddr *)c->address, c->address_size != nullptr ? *c->address_size : 0);
}

ssize_t weft_io_send(int fd, const void *buf, size_t n, int flags, weft_deadline d)
{
    return weft_io_sendto(fd, buf, n, flags, nullptr, 0, d);
}

ssize_t weft_io_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *to,
                       socklen_t to_size, weft_deadline d)
{
    io_call c = {send_one, (void *)buf, n, flags, (void *)to, &to_size, false};
    return io_do(fd, WEFT_WRITE, &c, d);
}

static ssize_t send_message(int fd, descriptor *, io_call *c)
{
    return sendmsg(fd, (const struct msghdr *)c->data, c->flags | MSG_DONTWAIT | MSG_NOSIGNAL);
}

ssize_t weft_io_sendmsg(int fd, const struct msghdr *m, int flags, weft_deadline d)
{
    io_call c = {send_message, (void *)m, 0, flags, nullptr, nullptr, false};
    return io_do(fd, WEFT_WRITE, &c, d);
}
