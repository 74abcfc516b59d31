// await.cc: how what polls on lower floors waits in weft_io_run: the tasklet, not the thread.
//
// The descriptors go into an epoll set of their own, which the tasklet waits for as for any
// descriptor, so that who else waits for one of them does not matter.  This is the way to poll
// (base/poll.h) of a thread while it is in weft_io_run: children of proc and shm are waited for,
// fed and read so.
#include "descriptor.h"

#include <base/poll.h>

using namespace weft;

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
    int saved = errno, ready = poll_now(fds, n);
    if (ready != 0)
        return ready;
    int set = poll_set(fds, n), result;
    if (set < 0)
        return errno == EPERM ? poll_plainly(fds, n, d) : -1;
    do {
        result = weft_io_wait(set, WEFT_READ, d);
        ready = poll_now(fds, n); // what came before an error counts
    } while (result > 0 && ready == 0);
    close_keep_errno(&set);
    if (ready == 0 && errno == EPERM)
        return poll_plainly(fds, n, d);
    if (ready != 0)
        errno = saved;
    return ready != 0 ? ready : -1;
}
