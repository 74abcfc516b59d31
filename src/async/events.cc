// events.cc: the kernel's set of descriptors (events.h).
#include "events.h"

#include <base/above_streams.h>
#include <base/errno.h>
#include <base/time.h>
#include <base/wiped.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/syscall.h>

using namespace weft;

bool weft::events_exact = true;

void weft::events_keep(event_set *s)
{
    s->pid = getpid();
    if (s->kept != nullptr)
        *s->kept = 1;
}

int weft::events_open(event_set *s)
{
    s->fd = above_streams(epoll_create1(EPOLL_CLOEXEC));
    if (s->fd < 0)
        return -1;
    int saved = errno;
    s->kept = (uint32_t *)wiped_make();
    events_keep(s);
    errno = saved;
    return 0;
}

void weft::events_close(event_set *s)
{
    close_keep_errno(&s->fd);
    wiped_free(s->kept);
}

int weft::events_replace(int fresh, int old)
{
    if (fresh < 0)
        return -1;
    int r = dup3(fresh, old, O_CLOEXEC);
    close_keep_errno(&fresh);
    return r < 0 ? -1 : 0;
}

int weft::events_renew(event_set *s)
{
    return events_replace(epoll_create1(EPOLL_CLOEXEC), s->fd);
}

// epoll_pwait2(2) has nanoseconds, since Linux 5.11; before, poll(2) on the epoll descriptor has.
static int wait_exactly(const event_set *s, struct epoll_event *found, int room, int64_t ns)
{
    struct timespec t = timespec_of(ns);
    if (__atomic_load_n(&events_exact, __ATOMIC_RELAXED)) {
        int n = (int)syscall(SYS_epoll_pwait2, s->fd, found, room, &t, nullptr, (size_t)0);
        if (n >= 0 || !is_refused(errno))
            return n;
        __atomic_store_n(&events_exact, false, __ATOMIC_RELAXED);
    }
    struct pollfd p = {s->fd, POLLIN, 0};
    int n = ppoll(&p, 1, &t, nullptr);
    return n <= 0 ? n : epoll_wait(s->fd, found, room, 0);
}

int weft::events_wait(const event_set *s, struct epoll_event *found, int room, int64_t ns)
{
    int saved = errno, n;
    if (ns <= 0 || ns == INT64_MAX)
        n = epoll_wait(s->fd, found, room, ns <= 0 ? 0 : -1);
    else
        n = wait_exactly(s, found, room, ns);
    if (n < 0 && errno != EINTR)
        return -1;
    errno = saved;
    return n < 0 ? 0 : n;
}

bool weft::events_checked(void)
{
    const char *check = getenv("WEFT_IO_CHECK");
    return check != nullptr && *check == '1';
}

int64_t weft::events_blocked_ns(void)
{
    const char *ms = getenv("WEFT_IO_BLOCKED");
    int n = ms != nullptr ? atoi(ms) : 0;
    return n > 0 ? (int64_t)n * 1000000 : 0;
}

void weft::events_tell_closed(int fd, const char *was)
{
    int saved = errno;
    if (events_checked())
        fprintf(stderr, "weft: descriptor %d was closed while it was %s\n", fd, was);
    errno = saved;
}
