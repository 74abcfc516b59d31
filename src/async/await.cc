// await.cc: how what polls on lower floors waits in weft_io_run: the tasklet, not the thread.
//
// The descriptors go into an epoll set of their own, which the tasklet waits for as for any
// descriptor, so that who else waits for one of them does not matter.  This is the way to poll
// (base/poll.h) of a thread while it is in weft_io_run: children of proc and shm are waited for,
// fed and read so.
#include "descriptor.h"

#include <sys/epoll.h>

#include <base/poll.h>

using namespace weft;

static int make_set(const struct pollfd *fds, nfds_t n)
{
    int set = epoll_create1(EPOLL_CLOEXEC);
    for (nfds_t i = 0; set >= 0 && i < n; i++) {
        struct epoll_event e = {};
        e.events = (uint32_t)fds[i].events; // the bits are poll(2)'s
        if (fds[i].fd >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, fds[i].fd, &e) != 0 && errno != EEXIST)
            close_keep_errno(&set);
    }
    return set;
}

// As the thread: the poller's own turn, where no tasklet can wait.
static int poll_plainly(struct pollfd *fds, nfds_t n, weft_deadline d)
{
    poll_way *way = way_to_poll;
    way_to_poll = nullptr;
    int ready = poll_until(fds, n, d);
    way_to_poll = way;
    return ready;
}

int weft::poll_as_tasklet(struct pollfd *fds, nfds_t n, weft_deadline d)
{
    int saved = errno, ready = poll(fds, n, 0);
    if (ready != 0)
        return ready;
    int set = make_set(fds, n), result;
    if (set < 0)
        return errno == EPERM ? poll_plainly(fds, n, d) : -1;
    do {
        result = weft_io_wait(set, WEFT_READ, d);
        ready = poll(fds, n, 0); // what came before an error counts
    } while (result > 0 && ready == 0);
    close_keep_errno(&set);
    if (ready == 0 && errno == EPERM)
        return poll_plainly(fds, n, d);
    if (ready != 0)
        errno = saved;
    return ready != 0 ? ready : -1;
}
