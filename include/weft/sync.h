/* sync.h: mutex, rwlock, condition, semaphore, event, barrier, latch, once, timer.
 *
 *     weft_mutex_lock(&lock, WEFT_FOREVER);
 *     while (count == 0 && weft_condition_wait(&filled, &lock, weft_in_ms(250)) == 0) {}
 *     weft_mutex_unlock(&lock);
 *
 * All but the timer are plain structs for the threads of one process (shared_sync.h is for
 * several). Waits fail with ETIMEDOUT and, but for mutexes and rwlocks, with ECANCELED
 * (weft_thread_stop).
 */
#ifndef WEFT_SYNC_H
#define WEFT_SYNC_H

#include <weft/deadline.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Flags for the init functions; an unknown or unfitting one is EINVAL. */
#define WEFT_RECURSIVE 1         /* mutex: its owner may lock it again */
#define WEFT_CHECKED 2           /* mutex: EDEADLK on a second lock, EPERM on another's unlock */
#define WEFT_SHARED 4            /* mutex, rwlock: may be used by all processes that map it */
#define WEFT_ROBUST 8            /* mutex: a dead owner's lock goes on with EOWNERDEAD */
#define WEFT_WRITERS_FIRST 16    /* rwlock: waiting writers hold up new readers */
#define WEFT_PRIORITY_INHERIT 32 /* mutex: its owner runs at its waiters' real-time priority */

/* Static initialisers: what init with no flags gives.  The two mutexes that glibc only
 * names under _GNU_SOURCE are there when it is defined. */
/* clang-format off */
#define WEFT_MUTEX_INIT {PTHREAD_MUTEX_INITIALIZER}
#ifdef PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP
#define WEFT_RECURSIVE_MUTEX_INIT {PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP}
#define WEFT_CHECKED_MUTEX_INIT {PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP}
#endif
#define WEFT_RWLOCK_INIT {{0, 0, 0, 0, 0, 0, 0}, 0, 0}
#define WEFT_CONDITION_INIT {0, 0}
#define WEFT_SEMAPHORE_INIT(count) {(count), WEFT_SEMAPHORE_MAX}
#define WEFT_BOUNDED_SEMAPHORE_INIT(count, limit) {(count), (limit)}
#define WEFT_EVENT_INIT {0}
#define WEFT_BARRIER_INIT(parties) {WEFT_MUTEX_INIT, (parties), 0, 0, 0, {0, 0}, {0, 0}, 1}
#define WEFT_LATCH_INIT(count) {(count)}
#define WEFT_ONCE_INIT {0}
/* clang-format on */

/* ---- mutex (POSIX pthread_mutex) ---- */

typedef struct weft_mutex {
    pthread_mutex_t pthread;
} weft_mutex;

/* RECURSIVE or CHECKED; SHARED; ROBUST; PRIORITY_INHERIT, which goes with all of these.
 * -1: EINVAL, ENOTSUP (PRIORITY_INHERIT: the system has none with monotonic deadlines). */
int weft_mutex_init(weft_mutex *m, int flags);
int weft_mutex_destroy(weft_mutex *m); /* EBUSY: locked */

/* Threads in weft_io_run, whose tasklets may wait for a lock; atomic. */
extern int weft_private_tasklets_lock;

int weft_private_mutex_lock_until(weft_mutex *m, weft_deadline d);

/* Locks `m`; waits as long as its owner keeps it.  WEFT_NOW tries once.
 * -1: ETIMEDOUT, EDEADLK (CHECKED: the caller has it), EAGAIN (RECURSIVE: too deep),
 * EOWNERDEAD (ROBUST: **the caller has the lock** of one who died: weft_mutex_consistent),
 * ENOTRECOVERABLE (ROBUST: somebody unlocked it unmended). */
static inline int weft_mutex_lock(weft_mutex *m, weft_deadline d)
{
    int code;
    if (d != WEFT_FOREVER || !m ||
        __builtin_expect(__atomic_load_n(&weft_private_tasklets_lock, __ATOMIC_RELAXED) != 0, 0))
        return weft_private_mutex_lock_until(m, d);
    code = pthread_mutex_lock(&m->pthread);
    if (code == 0)
        return 0;
    errno = code;
    return -1;
}

/* Unlocks it.  -1: EPERM (CHECKED, RECURSIVE, ROBUST: not the owner). */
static inline int weft_mutex_unlock(weft_mutex *m)
{
    int code = m ? pthread_mutex_unlock(&m->pthread) : EINVAL;
    if (code == 0)
        return 0;
    errno = code;
    return -1;
}

/* After EOWNERDEAD: what `m` guards is whole again.  -1: EINVAL. */
int weft_mutex_consistent(weft_mutex *m);

/* ---- rwlock (POSIX pthread_rwlock) ---- */

typedef struct weft_rwlock {
    uint64_t words[7];    /* the bytes of a pthread_rwlock_t, whose name strict -std=c11 hides */
    uint32_t downgrading; /* not 0: a writer is about to read, and other writers give way */
    uint32_t unused;
} weft_rwlock;

int weft_rwlock_init(weft_rwlock *l, int flags); /* SHARED, WRITERS_FIRST */
int weft_rwlock_destroy(weft_rwlock *l);         /* EBUSY: locked */

/* Many may read, or one write.  A reader may lock again what it holds, but for WRITERS_FIRST.
 * -1: ETIMEDOUT, EDEADLK (the caller has it for writing; with WEFT_NOW that is ETIMEDOUT),
 * EAGAIN (too many readers). */
int weft_rwlock_read(weft_rwlock *l, weft_deadline d);
int weft_rwlock_write(weft_rwlock *l, weft_deadline d);
int weft_rwlock_unlock(weft_rwlock *l);

/* Makes a writer a reader: other readers may come from now on, but no writer in between.  Waits
 * for nobody's work.  -1: EPERM (the caller doesn't have it for writing).
 * (Boost unlock_and_lock_shared) */
int weft_rwlock_downgrade(weft_rwlock *l);

/* ---- condition ---- */

typedef struct weft_condition {
    uint32_t events;
    uint32_t waiters;
} weft_condition;

int weft_condition_init(weft_condition *c);
int weft_condition_destroy(weft_condition *c); /* EBUSY: waited on */

/* Unlocks `m`, sleeps until a signal or broadcast, locks `m` again: also when it fails,
 * except with EPERM and ENOTRECOVERABLE.  It may return without a signal: call it in a loop.
 * -1: ETIMEDOUT, ECANCELED, EPERM (CHECKED, RECURSIVE, ROBUST: `m` isn't the caller's),
 * EOWNERDEAD and ENOTRECOVERABLE as weft_mutex_lock. */
int weft_condition_wait(weft_condition *c, weft_mutex *m, weft_deadline d);

/* Wakes one waiter, up to `n` of them, or all: best with the mutex held.  Never waits.  -1: EINVAL
 * (NULL). */
int weft_condition_signal(weft_condition *c);
int weft_condition_signal_n(weft_condition *c, uint32_t n);
int weft_condition_broadcast(weft_condition *c);

/* ---- semaphore ---- */

#define WEFT_SEMAPHORE_MAX 0x7fffffff

/* The count in the low half, the number of waiters in the high half: one atomic word,
 * so that a post touches nothing after the count is out. */
typedef struct weft_semaphore {
    uint64_t state;
    uint32_t limit;
} weft_semaphore;

/* A semaphore with `count` units that never holds more than `limit`; 0 stands for
 * WEFT_SEMAPHORE_MAX.  -1: EINVAL (count above limit, limit above the maximum). */
int weft_semaphore_init(weft_semaphore *s, uint32_t count, uint32_t limit);
int weft_semaphore_destroy(weft_semaphore *s); /* EBUSY: waited on */

/* Takes a unit, waits for one.  -1: ETIMEDOUT, ECANCELED.  (POSIX sem_wait) */
int weft_semaphore_wait(weft_semaphore *s, weft_deadline d);

/* Gives a unit back; wakes one waiter.  May be called in a signal handler.
 * -1: EOVERFLOW (the limit is reached: one post too many). */
int weft_semaphore_post(weft_semaphore *s);

/* The same with `n` units at once: all of them, or none if that is too many. */
int weft_semaphore_post_n(weft_semaphore *s, uint32_t n);

/* The units there are now. */
uint32_t weft_semaphore_value(const weft_semaphore *s);

/* ---- event ---- */

/* Low half: odd while set, one more with each change; high half: waiters. */
typedef struct weft_event {
    uint64_t state;
} weft_event;

int weft_event_init(weft_event *e);    /* it starts out clear */
int weft_event_destroy(weft_event *e); /* EBUSY: waited on */

/* Sets the event: all waiters go on, also if it is cleared at once, and later waits
 * return at once until it is cleared.  May be called in a signal handler. */
int weft_event_set(weft_event *e);
int weft_event_clear(weft_event *e);
bool weft_event_is_set(const weft_event *e);

/* Waits until it is set.  -1: ETIMEDOUT, ECANCELED. */
int weft_event_wait(weft_event *e, weft_deadline d);

/* ---- barrier ---- */

typedef struct weft_barrier {
    weft_mutex lock;     /* guards all but `inside` */
    uint32_t parties;    /* how many meet */
    uint32_t arrived;    /* how many wait in this round */
    uint32_t broken;     /* a wait failed, or abort */
    uint32_t generation; /* the round's number; sleepers watch it */
    uint32_t failed[2];  /* how the last even and the last odd round ended */
    uint32_t inside[2];  /* threads of those rounds that have not left yet */
    uint32_t forks;      /* the process whose threads those are */
} weft_barrier;

int weft_barrier_init(weft_barrier *b, uint32_t parties); /* EINVAL: 0 parties */
/* EBUSY: threads wait for others to come.  Waits for those on their way out. */
int weft_barrier_destroy(weft_barrier *b);

/* Waits until `parties` threads have come.  1 in the last to come, 0 in the others.
 * A wait that fails breaks the barrier: the others, and all who come later, get EPIPE
 * until reset.  -1: ETIMEDOUT, ECANCELED, EPIPE.  (Python threading.Barrier) */
int weft_barrier_wait(weft_barrier *b, weft_deadline d);

/* Breaks the barrier; makes it new (those who wait get EPIPE, later ones meet again). */
int weft_barrier_abort(weft_barrier *b);
int weft_barrier_reset(weft_barrier *b);
bool weft_barrier_is_broken(weft_barrier *b);
uint32_t weft_barrier_waiting(weft_barrier *b); /* how many wait in this round */

/* ---- latch ---- */

/* The count in the low half, waiters in the high half. */
typedef struct weft_latch {
    uint64_t state;
} weft_latch;

int weft_latch_init(weft_latch *l, uint32_t count);
int weft_latch_destroy(weft_latch *l); /* EBUSY: waited on */

/* Takes `n` off the count; at 0 all waiters go on, for good.  -1: EINVAL (more than is
 * left: the count stays). */
int weft_latch_count_down(weft_latch *l, uint32_t n);

/* Waits until the count is 0.  -1: ETIMEDOUT, ECANCELED.  (C++20 std::latch) */
int weft_latch_wait(weft_latch *l, weft_deadline d);

/* ---- once ---- */

typedef struct weft_once {
    uint32_t state;
} weft_once;

int weft_private_once_run(weft_once *o, int (*fn)(void *), void *arg, weft_deadline d);

/* Calls fn(arg) unless an earlier call here has succeeded (returned 0).  Callers who
 * come while it runs wait for its end.  When fn returns non-zero, or its thread ends in it, the
 * next caller tries again. -1: fn's errno, ETIMEDOUT, ECANCELED, EDEADLK (fn calls it for its own
 * `o`). */
static inline int weft_once_run(weft_once *o, int (*fn)(void *), void *arg, weft_deadline d)
{
    if (o && __atomic_load_n(&o->state, __ATOMIC_ACQUIRE) == 2)
        return 0;
    return weft_private_once_run(o, fn, arg, d);
}

/* ---- timer ---- */

typedef struct weft_timer weft_timer;

/* Zero means the default, for each. */
typedef struct weft_timer_options {
    int64_t every_ns; /* call it again each time that so much has passed since it was last due;
                         times that pass while it runs are left out; 0: once */
    bool detached; /* nobody will join it; it is released after its call, a periodic one when it is
                      cancelled */
} weft_timer_options;

/* Calls fn(arg) at the time `at`, never before, in **a thread that all timers of the process
 * share**: a function that takes long delays the others'.  `opts` may be NULL.  The handle is the
 * caller's until a join succeeds; that of a detached timer only until it can have been called, or
 * cancelled.  Doesn't wait.
 * NULL: EINVAL (no fn, WEFT_FOREVER, a negative span), EAGAIN, ENOMEM.  (Python threading.Timer) */
weft_timer *weft_timer_start(void (*fn)(void *), void *arg, const weft_timer_options *opts,
                             weft_deadline at);

/* Keeps the function from being called, or called again: it may be running.  Doesn't wait; the
 * timer still has to be joined.  -1: EALREADY (called, and not periodic; or cancelled before),
 * ESRCH (this is a forked child, and `t` its parent's). */
int weft_timer_cancel(weft_timer *t);

/* Waits until the function has returned or the timer was cancelled, for a periodic one both;
 * releases `t`.  1: the function was called, 0: it was not.
 * -1, and `t` is as before: ETIMEDOUT, ECANCELED, EDEADLK (called from the function, or without a
 * deadline from another timer's), EBUSY (another thread joins it), ESRCH (as for cancel). */
int weft_timer_join(weft_timer *t, weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
