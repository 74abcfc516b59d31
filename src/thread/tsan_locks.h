// tsan_locks.h: the lock calls, and the join, that ThreadSanitizer doesn't know.
//
// The runtimes of gcc 12 and clang 14 intercept pthread_mutex_timedlock but not
// pthread_mutex_clocklock: they'd take a mutex locked there for unlocked.  A build for
// them tries again and again instead.
#ifndef WEFT_THREAD_TSAN_LOCKS_H
#define WEFT_THREAD_TSAN_LOCKS_H

#if defined(__SANITIZE_THREAD__)
#define TSAN_BUILD 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN_BUILD 1
#endif
#endif

#ifdef TSAN_BUILD
#include <weft/deadline.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>

// Tries by a deadline long past: not by a trylock, whose errors differ (see mutex.cc).
template <class Lock>
static int tsan_retry(int (*timed)(Lock *, const struct timespec *), Lock *l,
                      const struct timespec *until)
{
    static const struct timespec past = {0, 0};
    for (;;) {
        int code = timed(l, &past);
        if (code != ETIMEDOUT)
            return code;
        if (weft_now() >= (int64_t)until->tv_sec * 1000000000 + until->tv_nsec)
            return ETIMEDOUT;
        sched_yield();
    }
}

#define pthread_clockjoin_np(t, value, clock, until) ((void)(until), pthread_join(t, value))
#define pthread_mutex_clocklock(m, clock, t) tsan_retry(pthread_mutex_timedlock, m, t)
#define pthread_rwlock_clockrdlock(l, clock, t) tsan_retry(pthread_rwlock_timedrdlock, l, t)
#define pthread_rwlock_clockwrlock(l, clock, t) tsan_retry(pthread_rwlock_timedwrlock, l, t)
#endif

#endif
