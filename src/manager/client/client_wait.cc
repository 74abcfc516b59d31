// client_wait.cc: outside weft_io_run the thread waits.
#include "client.h"

#include <base/poll.h>
#include <weft/io.h>

using namespace weft;

int weft::client_wait(int fd, int events, weft_deadline d)
{
    struct pollfd f = {fd, 0, 0};
    f.events = (short)((events & WEFT_READ ? POLLIN : 0) | (events & WEFT_WRITE ? POLLOUT : 0));
    if (poll_until(&f, fd >= 0, d) < 0)
        return -1;
    return f.revents & ~POLLOUT ? events : events & WEFT_WRITE;
}
