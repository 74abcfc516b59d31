// sigpipe.h: writing to a pipe without the risk of SIGPIPE.
//
// The signal is blocked in this thread around the writes; if one of them raised it (it
// is sent to the thread that writes), it is taken back before the mask is restored.  One
// that was pending before stays.
#ifndef WEFT_BASE_SIGPIPE_H
#define WEFT_BASE_SIGPIPE_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

namespace weft {

struct sigpipe {
    sigset_t before;
    bool was_pending;
};

static inline void sigpipe_hold(struct sigpipe *s)
{
    sigset_t set;
    sigpending(&set);
    s->was_pending = sigismember(&set, SIGPIPE) == 1;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, &s->before);
}

static inline void sigpipe_release(struct sigpipe *s, bool raised)
{
    int saved = errno;
    if (raised && !s->was_pending) {
        static const struct timespec at_once = {0, 0};
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGPIPE);
        while (sigtimedwait(&set, nullptr, &at_once) < 0 && errno == EINTR)
            ;
    }
    pthread_sigmask(SIG_SETMASK, &s->before, nullptr);
    errno = saved;
}

} // namespace weft

#endif
