// poll.h: poll(2) with a deadline, in a way that a floor above can change for its threads.
//
// What waits for a descriptor on the floors that know of neither threads nor tasklets comes here. A
// thread that weft started has its own way set, by which weft_thread_stop ends the wait
// (thread/sleep.cc), and so has one in weft_io_run: there the tasklet waits and others run
// (async/await.cc).
#ifndef WEFT_BASE_POLL_H
#define WEFT_BASE_POLL_H

#include "time.h"

#include "above_streams.h"
#include "errno.h"

#include <poll.h>
#include <sys/epoll.h>

namespace weft {

// poll(2) that does not wait.  A signal's handler cuts even that short.
static inline int poll_now(struct pollfd *fds, nfds_t n)
{
    int saved = errno, ready;
    while ((ready = uncancelled(poll, fds, n, 0)) < 0 && errno == EINTR)
        errno = saved;
    return ready;
}

// As poll_until, for a deadline that has not passed.
typedef int poll_way(struct pollfd *fds, nfds_t n, weft_deadline d);

inline __thread poll_way *way_to_poll;

// How many are ready, which `revents` tell; -1: ETIMEDOUT, ECANCELED and what poll(2) fails with
// but EINTR.  With n = 0 it sleeps.  A past deadline looks and does not wait.
static inline int poll_until(struct pollfd *fds, nfds_t n, weft_deadline d)
{
    int saved = errno;
    if (way_to_poll != nullptr && d > WEFT_NOW)
        return way_to_poll(fds, n, d);
    for (;;) {
        int ready = uncancelled(poll, fds, n, poll_ms(d));
        if (ready > 0) {
            errno = saved;
            return ready;
        }
        if (ready < 0 && errno != EINTR)
            return -1;
        if (weft_left(d) == 0) {
            errno = ETIMEDOUT;
            return -1;
        }
    }
}

// What is waited for of the descriptor fds[i], up to there.
static inline uint32_t poll_wanted(const struct pollfd *fds, nfds_t i)
{
    uint32_t events = 0;
    for (nfds_t j = 0; j <= i; j++)
        events |= fds[j].fd == fds[i].fd ? (uint32_t)fds[j].events : 0;
    return events; // the bits are epoll's
}

// An epoll set of them all, which can be read when one of them is ready.  -1: EPERM, when one is of
// a kind that always is; EMFILE, ...
static inline int poll_set(const struct pollfd *fds, nfds_t n)
{
    int set = above_streams(epoll_create1(EPOLL_CLOEXEC)), saved = errno;
    for (nfds_t i = 0; set >= 0 && i < n; i++) {
        struct epoll_event e = {};
        e.events = (uint32_t)fds[i].events;
        if (fds[i].fd < 0 || epoll_ctl(set, EPOLL_CTL_ADD, fds[i].fd, &e) == 0)
            continue;
        e.events = poll_wanted(fds, i); // the same one again
        if (errno == EEXIST && epoll_ctl(set, EPOLL_CTL_MOD, fds[i].fd, &e) == 0)
            errno = saved;
        else
            close_keep_errno(&set);
    }
    return set;
}

} // namespace weft

#endif
