// peer.cc: who asks, for logs and other servers: once a connection, and not by way of printf(3).
#include "server.h"

#include <arpa/inet.h>
#include <string.h>

using namespace weft;

static char *put_byte(char *to, unsigned byte)
{
    if (byte >= 100)
        *to++ = (char)('0' + byte / 100);
    if (byte >= 10)
        *to++ = (char)('0' + byte / 10 % 10);
    *to++ = (char)('0' + byte % 10);
    return to;
}

static void print_ipv4(char *to, const unsigned char bytes[4])
{
    for (int i = 0; i < 4; i++) {
        to = put_byte(to, bytes[i]);
        *to++ = '.';
    }
    to[-1] = 0;
}

static const char *print_host(char text[INET6_ADDRSTRLEN], int fd)
{
    struct sockaddr_storage a;
    socklen_t size = sizeof a;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)&a;
    if (getpeername(fd, (struct sockaddr *)&a, &size) != 0)
        return nullptr; // it is gone
    if (a.ss_family == AF_INET)
        print_ipv4(text, (const unsigned char *)&((struct sockaddr_in *)(void *)&a)->sin_addr);
    else if (a.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
        print_ipv4(text, six->sin6_addr.s6_addr + 12);
    else if (a.ss_family == AF_INET6)
        return inet_ntop(AF_INET6, &six->sin6_addr, text, INET6_ADDRSTRLEN);
    else
        return "unix:";
    return text;
}

const char *weft::exchange_peer(const weft_http_exchange *x)
{
    connection *c = private_of(x)->c;
    char text[INET6_ADDRSTRLEN];
    if (c->peer != nullptr)
        return c->peer;
    int saved = errno;
    const char *host = print_host(text, c->fd);
    c->peer = host != nullptr ? strdup(host) : nullptr;
    if (c->peer != nullptr)
        errno = saved;
    return c->peer;
}
