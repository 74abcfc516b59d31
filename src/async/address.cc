// address.cc: addresses as text (io.h, "Connections").
#include "address.h"

#include "descriptor.h"
#include "job.h"

#include <weft/offload.h>

#include <base/errno.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

using namespace weft;

static int copy(char *to, size_t room, const char *from, size_t n)
{
    if (n >= room)
        return fail_with(ENAMETOOLONG);
    memcpy(to, from, n);
    to[n] = 0;
    return 0;
}

// A number that is no port: getaddrinfo(3) would take its last 16 bits.
static bool is_beyond(const char *port)
{
    return strspn(port, "0123456789") == strlen(port) && strtoul(port, nullptr, 10) > 65535;
}

// HOST:PORT, where HOST may be in brackets.
static int parse_host(endpoint *a, const char *text)
{
    const char *end, *port;
    if (*text == '[') {
        end = strchr(++text, ']');
        port = end != nullptr && end[1] == ':' ? end + 2 : nullptr;
    } else {
        end = strrchr(text, ':');
        port = end != nullptr ? end + 1 : nullptr;
        if (end != nullptr && memchr(text, ':', (size_t)(end - text)) != nullptr)
            return fail_with(EINVAL); // an IPv6 address without brackets
    }
    if (port == nullptr || *port == 0 || end == text || is_beyond(port))
        return fail_with(EINVAL);
    if (copy(a->host, sizeof a->host, text, (size_t)(end - text)) != 0)
        return -1;
    return copy(a->port, sizeof a->port, port, strlen(port));
}

static int parse_path(endpoint *a, const char *path)
{
    size_t n = strlen(path);
    if (n == 0 || (n == 1 && *path == '@'))
        return fail_with(EINVAL);
    if (n >= sizeof a->un.sun_path)
        return fail_with(ENAMETOOLONG);
    a->un.sun_family = AF_UNIX;
    memcpy(a->un.sun_path, path, n + 1);
    if (*path == '@')
        a->un.sun_path[0] = 0; // an abstract name ends where the address does
    a->un_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (*path != '@'));
    return 0;
}

int weft::endpoint_parse(endpoint *a, const char *text)
{
    static const char *const kinds[] = {"tcp:", "udp:", "unix:", "fd:", "systemd:"};
    int kind = 0;
    if (text == nullptr)
        return fail_with(EINVAL);
    while (kind < 5 && strncmp(text, kinds[kind], strlen(kinds[kind])) != 0)
        kind++;
    if (kind == 5)
        return fail_with(EINVAL);
    memset(a, 0, sizeof *a);
    a->kind = kind;
    a->rest = text + strlen(kinds[kind]);
    if (kind <= ADDRESS_UDP)
        return parse_host(a, a->rest);
    return kind == ADDRESS_UNIX ? parse_path(a, a->rest) : 0;
}

int weft::endpoint_resolve(const endpoint *a, int flags, struct addrinfo **list, weft_deadline d)
{
    struct addrinfo hints;
    memset(&hints, 0, sizeof hints);
    hints.ai_flags = flags;
    hints.ai_socktype = a->kind == ADDRESS_UDP ? SOCK_DGRAM : SOCK_STREAM;
    if (io_here == nullptr) // a server that listens before it runs
        return names_here(a->host, a->port, &hints, list);
    return weft_offload_getaddrinfo(a->host, a->port, &hints, list, nullptr, d);
}

// ---- As text again ----

static int print_un(const struct sockaddr_un *un, socklen_t size, char *text, size_t room)
{
    size_t n = size - offsetof(struct sockaddr_un, sun_path);
    const char *path = un->sun_path;
    if (size <= offsetof(struct sockaddr_un, sun_path))
        return snprintf(text, room, "unix:"); // it has no name
    if (*path == 0)
        return snprintf(text, room, "unix:@%.*s", (int)n - 1, path + 1);
    return snprintf(text, room, "unix:%.*s", (int)strnlen(path, n), path);
}

static int print_in(int type, const struct sockaddr *from, socklen_t size, char *text, size_t room)
{
    char host[INET6_ADDRSTRLEN + 32], port[8];
    if (getnameinfo(from, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return fail_with(EAFNOSUPPORT);
    const char *form = from->sa_family == AF_INET6 ? "%s:[%s]:%s" : "%s:%s:%s";
    return snprintf(text, room, form, type == SOCK_DGRAM ? "udp" : "tcp", host, port);
}

int weft_io_address(int fd, int whose, char *text, size_t room)
{
    struct sockaddr_storage a;
    socklen_t size = sizeof a, type_size = sizeof(int);
    int type, saved = errno, n = -1;
    if ((whose != WEFT_IO_LOCAL && whose != WEFT_IO_PEER) || text == nullptr)
        return fail_with(EINVAL);
    if ((whose == WEFT_IO_LOCAL ? getsockname : getpeername)(fd, (struct sockaddr *)&a, &size) !=
            0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) != 0)
        return -1;
    if (a.ss_family == AF_UNIX)
        n = print_un((const struct sockaddr_un *)&a, size, text, room);
    else if (a.ss_family == AF_INET || a.ss_family == AF_INET6)
        n = print_in(type, (const struct sockaddr *)&a, size, text, room);
    if (n < 0)
        return fail_with(EAFNOSUPPORT);
    if ((size_t)n >= room)
        return fail_with(ENOBUFS);
    errno = saved;
    return 0;
}
