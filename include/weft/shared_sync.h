/* shared_sync.h: mutex, rwlock, condition, semaphore, event, barrier, value, array between
 * processes.
 *
 *     weft_shared_semaphore *doors = weft_shm_allocate(s, sizeof *doors);
 *     weft_shared_semaphore_init(doors, 3, 3);
 *     weft_shared_semaphore_wait(doors, weft_in_ms(250)); // in any process that maps it
 *     weft_shared_semaphore_post(doors);
 *
 * Plain structs at whatever address; initialise each once, before others see it.  **A SIGKILL of
 * any process at any instruction leaves them whole**, and what it held comes back.
 */
#ifndef WEFT_SHARED_SYNC_H
#define WEFT_SHARED_SYNC_H

#include <weft/sync.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How many processes at once may hold units of one semaphore, or be parties of one barrier; how
 * many threads may read under one rwlock. */
#define WEFT_SHARED_HOLDERS 128

/* Who looks for the dead, of those who wait; see src/shm/doorbell.h. */
typedef struct weft_shared_look {
    uint32_t promised; /* when somebody will look */
    uint32_t checks;   /* how often others have looked whether that holds */
} weft_shared_look;

/* ---- mutex ---- */

typedef struct weft_shared_mutex {
    uint32_t word;  /* the owner's thread id; see src/shm/brief_lock.h */
    uint32_t flags; /* written by init */
    uint32_t count; /* of the owner's further locks */
    weft_shared_look look;
    uint32_t unused;
    void *prev, *next; /* the owner's list of what it has, for the kernel */
} weft_shared_mutex;

/* `flags`: WEFT_RECURSIVE, WEFT_CHECKED or 0.  -1: EINVAL. */
int weft_shared_mutex_init(weft_shared_mutex *m, int flags);

/* Locks `m`; waits as long as its owner lives and keeps it.  When the owner dies (a thread's
 * end counts) the next one gets EOWNERDEAD, once: **it has the lock**, what `m` guards may be
 * half done; mend it, unlock as always.  -1: ETIMEDOUT, EOWNERDEAD, EDEADLK (CHECKED), EAGAIN
 * (RECURSIVE: too deep). */
int weft_shared_mutex_lock(weft_shared_mutex *m, weft_deadline d);

/* Unlocks it.  -1: EPERM (not the owner). */
int weft_shared_mutex_unlock(weft_shared_mutex *m);

/* ---- rwlock ---- */

typedef struct weft_shared_reader {
    uint64_t who;    /* as in weft_shared_holder */
    uint32_t thread; /* its id */
    uint32_t state;  /* how often it reads; see src/shm/shared_rwlock.cc */
} weft_shared_reader;

typedef struct weft_shared_rwlock {
    weft_shared_mutex writer;
    uint32_t writing;                /* not 0: a writer has come */
    uint32_t held;                   /* not 0: it is at work */
    uint32_t lock;                   /* robust; guards who the readers are */
    uint32_t left, left_armed;       /* readers wait for the writer to leave */
    uint32_t drained, drained_armed; /* the writer waits for the readers */
    weft_shared_look left_look, drained_look;
    uint64_t taken[2]; /* a bit for each place that somebody has had */
    weft_shared_reader readers[WEFT_SHARED_HOLDERS];
} weft_shared_rwlock;

int weft_shared_rwlock_init(weft_shared_rwlock *l);

/* Locks it for reading, with others, or for writing, alone; waits.  A writer that waits holds up
 * new readers, but a thread that reads may read again.  What dead readers held is free.  When a
 * writer dies at work the next one, **reader or writer, has the lock for writing** and gets
 * EOWNERDEAD: mend what it guards, unlock as always. -1: ETIMEDOUT, EOWNERDEAD, EDEADLK (the caller
 * has it, for writing or to be written), EUSERS (too many threads read), EAGAIN (too deep). */
int weft_shared_rwlock_read(weft_shared_rwlock *l, weft_deadline d);
int weft_shared_rwlock_write(weft_shared_rwlock *l, weft_deadline d);

/* Ends either.  -1: EPERM (the caller has neither). */
int weft_shared_rwlock_unlock(weft_shared_rwlock *l);

/* Makes a writer a reader: other readers may come from now on, but no writer in between.  Waits
 * for nobody's work.  -1: EPERM (the caller doesn't have it for writing). */
int weft_shared_rwlock_downgrade(weft_shared_rwlock *l);

/* ---- condition ---- */

typedef struct weft_shared_condition {
    uint32_t events; /* one more with each signal */
    uint32_t armed;  /* odd: somebody may sleep */
    weft_shared_look look;
} weft_shared_condition;

int weft_shared_condition_init(weft_shared_condition *c);

/* Unlocks `m`, sleeps until a signal or broadcast, locks `m` again: also when it fails, except
 * with EPERM.  It may return without a signal, and one of those who wait does so 20 times a second:
 * call it in a loop around what is waited for.  A RECURSIVE mutex must be locked once. -1:
 * ETIMEDOUT, ECANCELED, EPERM (`m` is not the caller's), EOWNERDEAD (as for lock). */
int weft_shared_condition_wait(weft_shared_condition *c, weft_shared_mutex *m, weft_deadline d);

/* Wakes one waiter, up to `n` of them, or all.  Best called with the mutex held.  Never waits. */
int weft_shared_condition_signal(weft_shared_condition *c);
int weft_shared_condition_signal_n(weft_shared_condition *c, uint32_t n);
int weft_shared_condition_broadcast(weft_shared_condition *c);

/* ---- semaphore ---- */

/* Who a process is: its id and the time of its start, so that a later process with the same
 * id is another. */
typedef struct weft_shared_holder {
    uint64_t who;   /* id in the low 24 bits, start above; 0: nobody */
    uint32_t count; /* what it holds */
    uint32_t unused;
} weft_shared_holder;

typedef struct weft_shared_semaphore {
    uint32_t lock;  /* robust; guards count and holders */
    uint32_t count; /* of all units, held or not */
    uint32_t limit; /* 0: not bounded */
    uint32_t posts; /* one more when units become free; sleepers watch it */
    uint32_t armed; /* odd: somebody may sleep */
    weft_shared_look look;
    uint32_t used;      /* no holder lies behind this many */
    uint32_t anonymous; /* not 0: `count` is of those that are free, and nobody holds any */
    weft_shared_holder holders[WEFT_SHARED_HOLDERS];
} weft_shared_semaphore;

/* A semaphore with `count` units, and never more than `limit`; 0: not bounded.
 * -1: EINVAL. */
int weft_shared_semaphore_init(weft_shared_semaphore *s, uint32_t count, uint32_t limit);

/* The same, but its units are nobody's: any process posts, as often as it likes, and any number
 * wait, as a signal or to count what one produces and others consume.  **What a killed process took
 * is gone**, as with a POSIX semaphore; who waits for a post of the living is not harmed. */
int weft_shared_semaphore_init_anonymous(weft_shared_semaphore *s, uint32_t count, uint32_t limit);

/* Takes a unit for this process, waits for one.  A dead process's units come back.
 * -1: ETIMEDOUT, ECANCELED, EUSERS (too many processes hold some). */
int weft_shared_semaphore_wait(weft_shared_semaphore *s, weft_deadline d);

/* Gives back a unit of this process; if it holds none, adds a new one.
 * -1: EOVERFLOW (bounded: one post too many). */
int weft_shared_semaphore_post(weft_shared_semaphore *s);

/* The same with `n` units at once: all of them, or none if that is too many. */
int weft_shared_semaphore_post_n(weft_shared_semaphore *s, uint32_t n);

/* The units that are free now. */
uint32_t weft_shared_semaphore_value(weft_shared_semaphore *s);

/* ---- event ---- */

typedef struct weft_shared_event {
    uint32_t state; /* odd while set, one more with each change */
    uint32_t armed;
    weft_shared_look look;
} weft_shared_event;

int weft_shared_event_init(weft_shared_event *e); /* starts out clear */

/* Sets the event: all waiters go on, also if it is cleared at once, and later waits return at
 * once until it is cleared.  Never wait. */
int weft_shared_event_set(weft_shared_event *e);
int weft_shared_event_clear(weft_shared_event *e);
bool weft_shared_event_is_set(const weft_shared_event *e);

/* Waits until it is set.  -1: ETIMEDOUT, ECANCELED. */
int weft_shared_event_wait(weft_shared_event *e, weft_deadline d);

/* ---- barrier ---- */

typedef struct weft_shared_party {
    uint64_t who;   /* as in weft_shared_holder */
    uint32_t round; /* where it arrived last */
    uint16_t arrived, entered;
} weft_shared_party;

typedef struct weft_shared_barrier {
    uint32_t lock; /* robust; guards state and members */
    uint32_t parties;
    uint32_t rings; /* one more with each change; sleepers watch it */
    uint32_t armed;
    weft_shared_look look;
    uint32_t used;  /* no member lies behind this many */
    uint64_t state; /* round, arrivals, what broke it: one store */
    weft_shared_party members[WEFT_SHARED_HOLDERS];
    uint64_t failures[64]; /* a bit for each of the last rounds, by its number */
} weft_shared_barrier;

int weft_shared_barrier_init(weft_shared_barrier *b, uint32_t parties); /* EINVAL: 0, > 65535 */

/* Waits until `parties` threads, of whatever processes, have come.  1 in the last to come, 0 in
 * the others.  If a process dies that has come to this round, or one that has entered and not left,
 * the barrier breaks with EOWNERDEAD for all, until reset: so those who wait for the dead go
 * on.  Who has only been in earlier rounds may end as it likes.  A wait that fails breaks it too:
 * with EPIPE for the others.
 * -1: ETIMEDOUT, ECANCELED, EOWNERDEAD, EPIPE, EUSERS (too many processes in this round). */
int weft_shared_barrier_wait(weft_shared_barrier *b, weft_deadline d);

/* From now on each round needs this process; no longer.  -1: EUSERS; EINVAL (was never here). */
int weft_shared_barrier_enter(weft_shared_barrier *b);
int weft_shared_barrier_leave(weft_shared_barrier *b);

/* Breaks it with EPIPE; makes it new, and forgets its dead (those who wait get EPIPE). */
int weft_shared_barrier_abort(weft_shared_barrier *b);
int weft_shared_barrier_reset(weft_shared_barrier *b);
bool weft_shared_barrier_is_broken(weft_shared_barrier *b);
uint32_t weft_shared_barrier_waiting(weft_shared_barrier *b); /* how many have arrived */

/* ---- value ---- */

/* A number changed in single steps.  Each call is one atomic operation, in one order that all
 * processes agree on. */
typedef struct weft_shared_value {
    int64_t number;
} weft_shared_value;

static inline void weft_shared_value_set(weft_shared_value *v, int64_t to)
{
    __atomic_store_n(&v->number, to, __ATOMIC_SEQ_CST);
}

static inline int64_t weft_shared_value_get(const weft_shared_value *v)
{
    return __atomic_load_n(&v->number, __ATOMIC_SEQ_CST);
}

/* Adds; the sum. */
static inline int64_t weft_shared_value_add(weft_shared_value *v, int64_t n)
{
    return __atomic_add_fetch(&v->number, n, __ATOMIC_SEQ_CST);
}

/* Sets; what it was. */
static inline int64_t weft_shared_value_exchange(weft_shared_value *v, int64_t to)
{
    return __atomic_exchange_n(&v->number, to, __ATOMIC_SEQ_CST);
}

/* Sets if it is *was; if not, *was becomes what it is, and false. */
static inline bool weft_shared_value_replace(weft_shared_value *v, int64_t *was, int64_t to)
{
    return __atomic_compare_exchange_n(&v->number, was, to, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

/* ---- array ---- */

/* Items of one size with a lock.  A set is whole or not at all, whoever is killed in it. */
typedef struct weft_shared_array {
    weft_shared_mutex lock; /* guards what follows */
    uint32_t item_size;
    uint32_t in_use; /* the thread between lock and unlock */
    uint64_t count;
    uint64_t pending; /* item number + 1 that is to be copied from the spare cell, or 0 */
    /* then a spare cell, then the items */
} weft_shared_array;

/* The bytes an array takes; 0: too many. */
size_t weft_shared_array_bytes(size_t count, uint32_t item_size);
int weft_shared_array_init(weft_shared_array *a, size_t count, uint32_t item_size); /* EINVAL */

/* Reads or writes one item under the lock.  -1: EINVAL (no such item), EDEADLK (the caller has
 * locked the array). */
int weft_shared_array_get(weft_shared_array *a, size_t i, void *item);
int weft_shared_array_set(weft_shared_array *a, size_t i, const void *item);

/* Locks it for more than one step; then the items may be used in place.
 * -1: ETIMEDOUT, EDEADLK, EOWNERDEAD (locked; the one before died at work on the items). */
int weft_shared_array_lock(weft_shared_array *a, weft_deadline d);
int weft_shared_array_unlock(weft_shared_array *a); /* EPERM */
void *weft_shared_array_items(weft_shared_array *a);
size_t weft_shared_array_count(const weft_shared_array *a);

#ifdef __cplusplus
}
#endif

#endif
