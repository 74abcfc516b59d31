// mutex.cc: pthread mutexes and rwlocks with deadlines.
//
// Locking without a deadline is inline in the header and costs what pthread_mutex_lock
// costs.  Not waiting at all is a clocklock to a time before the clock's beginning, for
// which glibc makes no system call, and not a trylock: that leaves a mutex which is
// ENOTRECOVERABLE locked for ever (seen with glibc 2.36).
//
// A pthread_rwlock can't be downgraded.  So its writer says that it is downgrading, unlocks, and
// locks for reading; another writer that gets the lock in between sees that, lets go with no work
// done, and waits until it is over.
#include "tsan_locks.h"

#include "sleep.h"
#include <base/errno.h>
#include <weft/sync.h>

using namespace weft;

// What the kernel is to do for a mutex with PTHREAD_PRIO_INHERIT, it refuses before the beginning.
static bool inherits_priority(const weft_mutex *m)
{
    return (m->pthread.__data.__kind & 32) != 0; // PTHREAD_MUTEX_PRIO_INHERIT_NP
}

static int lock_until(weft_mutex *m, weft_deadline d)
{
    struct timespec t = timespec_of(d);
    if (d <= WEFT_NOW)
        t = {inherits_priority(m) ? 0 : -1, 0};
    return pthread_mutex_clocklock(&m->pthread, CLOCK_MONOTONIC, &t);
}

// Before Linux 5.14 and glibc 2.35 such a mutex knows deadlines of the wall clock alone: the kernel
// is asked for a free word of ours, glibc for the free mutex.
static bool has_monotonic_deadlines(weft_mutex *m)
{
    enum { LOCK_PI2 = 13 };
    uint32_t word = 0;
    int saved = errno;
    long n = syscall(SYS_futex, &word, LOCK_PI2 | FUTEX_PRIVATE_FLAG, 0, nullptr, nullptr, 0);
    errno = saved;
    if (n != 0 || lock_until(m, WEFT_NOW) != 0)
        return false;
    pthread_mutex_unlock(&m->pthread);
    return true;
}

int weft_mutex_init(weft_mutex *m, int flags)
{
    if (m == nullptr)
        return fail_with(EINVAL);
    if (flags &
            ~(WEFT_RECURSIVE | WEFT_CHECKED | WEFT_SHARED | WEFT_ROBUST | WEFT_PRIORITY_INHERIT) ||
        (flags & WEFT_RECURSIVE && flags & WEFT_CHECKED))
        return fail_with(EINVAL);
    pthread_mutexattr_t a;
    int code = pthread_mutexattr_init(&a);
    if (code != 0)
        return fail_with(code);
    // The setters fail only for values they don't know.
    if (flags & (WEFT_RECURSIVE | WEFT_CHECKED))
        pthread_mutexattr_settype(&a, flags & WEFT_RECURSIVE ? PTHREAD_MUTEX_RECURSIVE
                                                             : PTHREAD_MUTEX_ERRORCHECK);
    if (flags & WEFT_SHARED)
        pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    if (flags & WEFT_ROBUST)
        pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    if (flags & WEFT_PRIORITY_INHERIT)
        pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
    code = pthread_mutex_init(&m->pthread, &a);
    if (code == 0 && flags & WEFT_PRIORITY_INHERIT && !has_monotonic_deadlines(m)) {
        pthread_mutex_destroy(&m->pthread);
        code = ENOTSUP;
    }
    pthread_mutexattr_destroy(&a);
    return from_pthread(code);
}

int weft_mutex_destroy(weft_mutex *m)
{
    if (m == nullptr)
        return 0;
    // glibc's destroy sees a locked mutex only if it is not robust.
    int code = lock_until(m, WEFT_NOW);
    if (code == ETIMEDOUT || code == EDEADLK)
        return fail_with(EBUSY);
    bool nested = m->pthread.__data.__count > 1; // recursive, and the caller has it
    if (code == 0 || code == EOWNERDEAD)
        pthread_mutex_unlock(&m->pthread);
    if (nested)
        return fail_with(EBUSY);
    return from_pthread(pthread_mutex_destroy(&m->pthread));
}

// ---- In tasklets ----
//
// Who unlocks wakes threads alone: to look for tasklets would cost each unlock.  So a tasklet looks
// again and again, after pauses that grow, and others run meanwhile.

int weft_private_tasklets_lock;

// Whether the caller is a tasklet, and is to wait for what is no other process's.
static bool as_tasklet(weft_deadline d, bool shared)
{
    return way_to_sleep != nullptr && d > WEFT_NOW && !shared;
}

// Tries until it says something else than ETIMEDOUT.
template <class Try> static int try_as_tasklet(Try attempt, weft_deadline d)
{
    static const uint32_t nothing = 0;
    enum { FIRST_US = 20, LAST_US = 1000 };
    int code, us = FIRST_US;
    while ((code = attempt()) == ETIMEDOUT && weft_left(d) > 0) {
        weft_deadline soon = weft_in_us(us);
        sleep_on(&nothing, 0, soon < d ? soon : d, REGARDLESS);
        us = us * 2 < LAST_US ? us * 2 : LAST_US;
    }
    return code;
}

static int lock_in_turn(weft_mutex *m, weft_deadline d)
{
    const int shared = 128; // PTHREAD_MUTEX_PSHARED_BIT
    if (as_tasklet(d, m->pthread.__data.__kind & shared))
        return try_as_tasklet([=] { return lock_until(m, WEFT_NOW); }, d);
    return d == WEFT_FOREVER ? pthread_mutex_lock(&m->pthread) : lock_until(m, d);
}

int weft_private_mutex_lock_until(weft_mutex *m, weft_deadline d)
{
    return from_pthread(m != nullptr ? lock_in_turn(m, d) : EINVAL);
}

int weft_mutex_consistent(weft_mutex *m)
{
    return m != nullptr ? from_pthread(pthread_mutex_consistent(&m->pthread)) : fail_with(EINVAL);
}

static_assert(sizeof(weft_rwlock().words) == sizeof(pthread_rwlock_t) &&
                  alignof(weft_rwlock) >= alignof(pthread_rwlock_t),
              "weft_rwlock has a pthread_rwlock_t's bytes");

static pthread_rwlock_t *pthread_of(weft_rwlock *l)
{
    return (pthread_rwlock_t *)(void *)l;
}

int weft_rwlock_init(weft_rwlock *l, int flags)
{
    if (flags & ~(WEFT_SHARED | WEFT_WRITERS_FIRST))
        return fail_with(EINVAL);
    pthread_rwlockattr_t a;
    int code = pthread_rwlockattr_init(&a);
    if (code != 0)
        return fail_with(code);
    if (flags & WEFT_SHARED)
        pthread_rwlockattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    if (flags & WEFT_WRITERS_FIRST)
        pthread_rwlockattr_setkind_np(&a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    code = pthread_rwlock_init(pthread_of(l), &a);
    l->downgrading = 0;
    pthread_rwlockattr_destroy(&a);
    return from_pthread(code);
}

int weft_rwlock_destroy(weft_rwlock *l)
{
    if (l == nullptr)
        return 0;
    // glibc's destroy doesn't look.
    if (weft_rwlock_write(l, WEFT_NOW) != 0)
        return fail_with(EBUSY);
    pthread_rwlock_unlock(pthread_of(l));
    return from_pthread(pthread_rwlock_destroy(pthread_of(l)));
}

static int try_read(weft_rwlock *l)
{
    int code = pthread_rwlock_tryrdlock(pthread_of(l));
    return code == EBUSY ? ETIMEDOUT : code;
}

static int try_write(weft_rwlock *l)
{
    int code = pthread_rwlock_trywrlock(pthread_of(l));
    return code == EBUSY ? ETIMEDOUT : code;
}

static bool is_shared(weft_rwlock *l)
{
    return pthread_of(l)->__data.__shared != 0;
}

int weft_rwlock_read(weft_rwlock *l, weft_deadline d)
{
    if (l == nullptr)
        return fail_with(EINVAL);
    if (as_tasklet(d, is_shared(l)))
        return from_pthread(try_as_tasklet([=] { return try_read(l); }, d));
    struct timespec t = timespec_of(d);
    return from_pthread(d == WEFT_FOREVER ? pthread_rwlock_rdlock(pthread_of(l))
                        : d > WEFT_NOW
                            ? pthread_rwlock_clockrdlock(pthread_of(l), CLOCK_MONOTONIC, &t)
                            : try_read(l));
}

static int lock_to_write(weft_rwlock *l, weft_deadline d)
{
    if (l == nullptr)
        return EINVAL;
    if (as_tasklet(d, is_shared(l)))
        return try_as_tasklet([=] { return try_write(l); }, d);
    struct timespec t = timespec_of(d);
    return d == WEFT_FOREVER ? pthread_rwlock_wrlock(pthread_of(l))
           : d > WEFT_NOW    ? pthread_rwlock_clockwrlock(pthread_of(l), CLOCK_MONOTONIC, &t)
                             : try_write(l);
}

int weft_rwlock_write(weft_rwlock *l, weft_deadline d)
{
    int code = lock_to_write(l, d);
    while (code == 0 && __atomic_load_n(&l->downgrading, __ATOMIC_RELAXED) != 0) {
        pthread_rwlock_unlock(pthread_of(l));
        code = futex_wait(&l->downgrading, 1, d, 1);
        if (code == 0)
            code = lock_to_write(l, d);
    }
    return from_pthread(code);
}

int weft_rwlock_unlock(weft_rwlock *l)
{
    return l != nullptr ? from_pthread(pthread_rwlock_unlock(pthread_of(l))) : fail_with(EINVAL);
}

// Whether the caller has it for writing: glibc says so, before anything else, to who wants to read.
static bool is_written_by_us(weft_rwlock *l)
{
    struct timespec past = {-1, 0};
    int code = pthread_rwlock_clockrdlock(pthread_of(l), CLOCK_MONOTONIC, &past);
    if (code == 0)
        pthread_rwlock_unlock(pthread_of(l));
    return code == EDEADLK;
}

int weft_rwlock_downgrade(weft_rwlock *l)
{
    if (l == nullptr)
        return fail_with(EINVAL);
    if (!is_written_by_us(l))
        return fail_with(EPERM);
    __atomic_store_n(&l->downgrading, 1, __ATOMIC_RELAXED); // the lock's own order is enough
    pthread_rwlock_unlock(pthread_of(l));
    while (pthread_rwlock_rdlock(pthread_of(l)) != 0)
        ; // EAGAIN: too many readers, of whom some will leave
    __atomic_store_n(&l->downgrading, 0, __ATOMIC_RELAXED);
    futex_wake(&l->downgrading, INT_MAX, 1);
    return 0;
}
