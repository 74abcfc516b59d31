// readable.h: a descriptor (eventfd(2)) that others poll: readable while something is so.
//
// -1 is none, and nothing happens to it.
#ifndef WEFT_THREAD_READABLE_H
#define WEFT_THREAD_READABLE_H

#include <base/above_streams.h>

#include <stdint.h>
#include <sys/eventfd.h>

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
    if (fd >= 0 && uncancelled(write, fd, &one, sizeof one) < 0) {
        // The counter is at its limit, so it is readable as it should be.
    }
    errno = saved;
}

static inline void readable_clear(int fd)
{
    int saved = errno;
    uint64_t n;
    if (fd >= 0 && uncancelled(read, fd, &n, sizeof n) < 0) {
        // Somebody else has read it.
    }
    errno = saved;
}

} // namespace weft

#endif
