// time.h: deadlines in the kernel's and pthreads' terms.
#ifndef WEFT_BASE_TIME_H
#define WEFT_BASE_TIME_H

#include <weft/deadline.h>

namespace weft {

// The same instant as an absolute timespec on CLOCK_MONOTONIC.
static inline struct timespec timespec_of(weft_deadline d)
{
    struct timespec t;
    t.tv_sec = (time_t)(d / 1000000000);
    t.tv_nsec = (long)(d % 1000000000);
    return t;
}

// Milliseconds for poll(2) and epoll_wait(2): rounded up, so that a wait that
// times out is never early; -1 for WEFT_FOREVER.
static inline int poll_ms(weft_deadline d)
{
    int64_t left = weft_left(d);
    if (left == WEFT_FOREVER)
        return -1;
    left = left / 1000000 + (left % 1000000 != 0);
    return left > INT32_MAX ? INT32_MAX : (int)left;
}

} // namespace weft

#endif
