// client_connect.cc: connecting, for threads and tasklets alike.
//
// In weft_io_run that is weft_io_connect.  Elsewhere the thread waits, and the addresses of a name
// are tried one after the other, each with its share of the time.
#include "../tcp.h"
#include "client.h"

#include <async/address.h>
#include <async/here.h>
#include <base/above_streams.h>
#include <base/errno.h>
#include <netdb.h>
#include <unistd.h>
#include <weft/io.h>

using namespace weft;

// A host that vanishes with a command on its way to it is asked nothing more: the kernel only sends
// that again, for a quarter of an hour.  Not longer than a silent one is asked, either.  The server
// leaves it at that, for a client that is only stopped would be taken for one.
static void set_up(int fd)
{
    static const int most_ms = 120000;
    int saved = errno;
    set_up_tcp(fd);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &most_ms, sizeof most_ms);
    errno = saved;
}

static int finish(int fd, weft_deadline d)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (client_wait(fd, WEFT_WRITE, d) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return -1;
    return error != 0 ? fail_with(error) : 0;
}

static int try_one(int family, const struct sockaddr *to, socklen_t size, weft_deadline d)
{
    int fd = above_streams(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (fd < 0)
        return -1;
    if (family != AF_UNIX)
        set_up(fd);
    if (connect(fd, to, size) != 0 &&
        ((errno != EINPROGRESS && errno != EINTR) || finish(fd, d) != 0))
        close_keep_errno(&fd);
    return fd;
}

// A unix socket does not queue a connect: while the backlog is full there is only to try again.
static int connect_unix(const endpoint *a, weft_deadline d)
{
    for (int64_t ms = 1;; ms = ms < 16 ? 2 * ms : ms) {
        int fd = try_one(AF_UNIX, (const struct sockaddr *)&a->un, a->un_size, d);
        if (fd >= 0 || errno != EAGAIN)
            return fd;
        if (weft_left(d) == 0)
            return fail_with(ETIMEDOUT);
        weft_deadline again = weft_in_ms(ms);
        if (client_wait(-1, 0, again < d ? again : d) < 0 && errno != ETIMEDOUT)
            return -1;
    }
}

static int connect_tcp(const endpoint *a, weft_deadline d)
{
    struct addrinfo *list, *i;
    int fd = -1, count = 0;
    if (client_resolve(a, &list, d) != 0)
        return -1;
    for (i = list; i != nullptr; i = i->ai_next)
        count++;
    for (i = list; i != nullptr && fd < 0; i = i->ai_next, count--) {
        weft_deadline share = d == WEFT_FOREVER ? d : weft_in_ns(weft_left(d) / count);
        fd = try_one(i->ai_family, i->ai_addr, i->ai_addrlen, share);
    }
    int saved = errno;
    freeaddrinfo(list);
    errno = saved;
    return fd;
}

int weft::client_connect(const char *address, weft_deadline d)
{
    endpoint a;
    if (endpoint_parse(&a, address) != 0)
        return -1;
    if (a.kind != ADDRESS_UNIX && a.kind != ADDRESS_TCP)
        return fail_with(EINVAL);
    if (!in_io_run())
        return a.kind == ADDRESS_UNIX ? connect_unix(&a, d) : connect_tcp(&a, d);
    int fd = weft_io_connect(address, d);
    if (fd >= 0 && a.kind == ADDRESS_TCP)
        set_up(fd);
    // From now on only weft_io_wait sees it, also in other threads' weft_io_run.
    if (fd >= 0 && weft_io_forget(fd) != 0)
        close_keep_errno(&fd);
    return fd;
}
