// readable.h: a descriptor (eventfd(2)) that others poll: readable while something is so.
//
// -1 is none, and nothing happens to it.  None of these is a cancellation point, as read(2),
// write(2) and close(2) are: what was to be told or done next would be lost.
#ifndef WEFT_THREAD_READABLE_H
#define WEFT_THREAD_READABLE_H

#include <base/above_streams.h>

#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

namespace weft {

// Not readable yet.  -1: EMFILE, ENFILE, ENOMEM.
static inline int readable_make(void)
{
    return above_streams(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

// Adds one to its counter.
static inline void readable_set(int fd)
{
    int saved = errno;
    uint64_t one = 1;
    if (fd >= 0 && syscall(SYS_write, fd, &one, sizeof one) < 0) {
        // The counter is at its limit, so it is readable as it should be.
    }
    errno = saved;
}

static inline void readable_clear(int fd)
{
    int saved = errno;
    uint64_t n;
    if (fd >= 0 && syscall(SYS_read, fd, &n, sizeof n) < 0) {
        // Somebody else has read it.
    }
    errno = saved;
}

static inline void readable_close(int *fd)
{
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    close_keep_errno(fd);
    pthread_setcancelstate(before, nullptr);
}

} // namespace weft

#endif
