// pipe.cc: pipes that never take the numbers of the standard streams.
#include "streams.h"

#include <fcntl.h>

using namespace weft;

int weft::above_streams(int fd)
{
    if (fd < 0 || fd > 2)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    close_keep_errno(&fd);
    return moved;
}

int weft::make_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    for (int i = 0; i < 2; i++)
        ends[i] = above_streams(ends[i]);
    if (ends[0] >= 0 && ends[1] >= 0)
        return 0;
    close_keep_errno(&ends[0]);
    close_keep_errno(&ends[1]);
    return -1;
}
