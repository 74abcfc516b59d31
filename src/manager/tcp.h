// tcp.h: a host that loses its power says nothing, and TCP alone never asks.
//
// Who waits for such a one would wait for ever, and what it held would not come back.  So both ends
// have the kernel ask one that has been silent for a minute, and end the connection when it has
// not answered for another.  Nor is the last part of a reply kept until the one before was
// acknowledged, for who waits for it has nothing to say.
#ifndef WEFT_MANAGER_TCP_H
#define WEFT_MANAGER_TCP_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace weft {

static inline void set_up_tcp(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},   {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 60}, {IPPROTO_TCP, TCP_KEEPINTVL, 10},
        {IPPROTO_TCP, TCP_KEEPCNT, 6},
    };
    int saved = errno;
    for (const auto &o : options)
        setsockopt(fd, o.level, o.name, &o.value, sizeof o.value);
    errno = saved;
}

} // namespace weft

#endif
