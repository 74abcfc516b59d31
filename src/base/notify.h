// notify.h: what a service says to systemd, without its library: sd_notify(3),
// sd_watchdog_enabled(3).  A state is one datagram.
#ifndef WEFT_BASE_NOTIFY_H
#define WEFT_BASE_NOTIFY_H

#include "errno.h"
#include "number.h"
#include "time.h"
#include "uncancelled.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

namespace weft {

// Sends it to NOTIFY_SOCKET, if there is one.  Nobody is told of a failure, as there; who does not
// read holds us up for a second at most.
static inline void notify(const char *state)
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
        uncancelled(sendto, fd, (const void *)state, strlen(state), MSG_NOSIGNAL,
                    (const struct sockaddr *)&a,
                    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
        close_keep_errno(&fd);
    }
    errno = saved;
}

// systemd wants the time of a reload with it.
static inline void notify_reloading(void)
{
    char state[64];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)(weft_now() / 1000));
    notify(state);
}

// 0: it is not there, or no number.
static inline int64_t notify_number_in(const char *name)
{
    const char *text = getenv(name);
    int64_t n = 0;
    return text != nullptr && number_parse(text, strlen(text), &n) ? n : 0;
}

// Half of what WATCHDOG_USEC says, in ns: how often to send WATCHDOG=1.  0: this process is not
// asked to.
static inline int64_t notify_watchdog_ns(void)
{
    if (getenv("WATCHDOG_PID") != nullptr && notify_number_in("WATCHDOG_PID") != getpid())
        return 0;
    int64_t us = notify_number_in("WATCHDOG_USEC");
    return us > 0 && us < INT64_MAX / 1000 ? us * 500 : 0;
}

} // namespace weft

#endif
