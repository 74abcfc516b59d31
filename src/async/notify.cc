// notify.cc: see notify.h.  A state is one datagram.
#include "notify.h"

#include <base/errno.h>
#include <base/number.h>

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

using namespace weft;

void weft::notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t n = path != nullptr ? strlen(path) : 0;
    struct sockaddr_un a = {};
    struct timeval patience = {1, 0};
    if (n < 2 || n > sizeof a.sun_path || (*path != '/' && *path != '@'))
        return;
    int saved = errno;
    a.sun_family = AF_UNIX;
    memcpy(a.sun_path, path, n);
    if (*path == '@')
        a.sun_path[0] = 0; // the abstract namespace
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&a,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
        close(fd);
    }
    errno = saved;
}

// 0: it is not there, or no number.
static int64_t number_in(const char *name)
{
    const char *text = getenv(name);
    int64_t n = 0;
    return text != nullptr && number_parse(text, strlen(text), &n) ? n : 0;
}

int64_t weft::notify_watchdog_ns(void)
{
    if (getenv("WATCHDOG_PID") != nullptr && number_in("WATCHDOG_PID") != getpid())
        return 0;
    int64_t us = number_in("WATCHDOG_USEC");
    return us > 0 && us < INT64_MAX / 1000 ? us * 500 : 0;
}
