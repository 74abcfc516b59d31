// above_streams.h: descriptors that never take the numbers of the standard streams.
//
// In a process that runs with one of those closed the next descriptor would get its number.  Then
// what prints would write into it, who opens the stream anew would close it, and the placing of a
// child's streams would overwrite it.  So all that a library keeps open for itself goes above.
#ifndef WEFT_BASE_ABOVE_STREAMS_H
#define WEFT_BASE_ABOVE_STREAMS_H

#include "errno.h"

#include <fcntl.h>

namespace weft {

// Moves fd to a number from `least` on, close-on-exec.  -1: as it came, or errno; then it is
// closed.
static inline int move_above(int fd, int least)
{
    if (fd < 0 || fd >= least)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, least);
    close_keep_errno(&fd);
    return moved;
}

static inline int above_streams(int fd)
{
    return move_above(fd, 3);
}

// Creates a pipe, close-on-exec and above the streams; the write end has the higher number.
static inline int make_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    ends[0] = above_streams(ends[0]);
    ends[1] = move_above(ends[1], ends[0] + 1);
    if (ends[0] >= 0 && ends[1] >= 0)
        return 0;
    close_keep_errno(&ends[0]);
    close_keep_errno(&ends[1]);
    return -1;
}

} // namespace weft

#endif
