// sigpipe.h: writing to a pipe without the risk of SIGPIPE.
//
// The signal is blocked in this thread around the write; if that raised it (it is sent to the
// thread that writes), it is taken back before the mask is restored.
#ifndef WEFT_BASE_SIGPIPE_H
#define WEFT_BASE_SIGPIPE_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

namespace weft {

struct sigpipe {
    sigset_t before;
    bool was_pending;
};

static inline void sigpipe_hold(sigpipe *s)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, &s->before);
    // Only one that was blocked can be pending from before; it stays so.
    s->was_pending = sigismember(&s->before, SIGPIPE) == 1 && sigpending(&set) == 0 &&
                     sigismember(&set, SIGPIPE) == 1;
}

static inline void sigpipe_release(sigpipe *s, bool raised)
{
    int saved = errno;
    if (raised && !s->was_pending) {
        static const struct timespec at_once = {0, 0};
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGPIPE);
        while (uncancelled(sigtimedwait, &set, nullptr, &at_once) < 0 && errno == EINTR)
            ;
    }
    pthread_sigmask(SIG_SETMASK, &s->before, nullptr);
    errno = saved;
}

// write(2) that fails with EPIPE and raises nothing.
static inline ssize_t sigpipe_write(int fd, const void *bytes, size_t n)
{
    sigpipe hold;
    sigpipe_hold(&hold);
    ssize_t put = uncancelled(write, fd, bytes, n);
    sigpipe_release(&hold, put < 0 && errno == EPIPE);
    return put;
}

} // namespace weft

#endif
