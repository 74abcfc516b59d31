// sync_twins.h: locks, conditions, semaphores, events and barriers, of threads (weft_*), of
// processes (weft_shared_*) and of servers' clients (weft_remote_*).
#ifndef WEFT_TEST_SYNC_TWINS_H
#define WEFT_TEST_SYNC_TWINS_H

#include "twins.h"

#include <weft/shared_sync.h>
#include <weft/sync.h>

enum what { LOCK, CONDITION, SEMAPHORE, EVENT, BARRIER };

typedef struct sync_calls {
    // n: flags, units, parties.  limit: of a semaphore.
    void *(*open)(enum what what, int n, int limit);
    int (*close)(enum what what, void *thing);
    int (*lock)(void *l, weft_deadline d);
    int (*unlock)(void *l);
    int (*acquire)(void *s, weft_deadline d); // a unit
    int (*post)(void *s);
    int (*value)(void *s);
    int (*set)(void *e);
    int (*clear)(void *e);
    int (*is_set)(void *e);
    int (*await)(void *e, weft_deadline d);
    int (*meet)(void *b, weft_deadline d);
    int (*abort)(void *b);
    int (*reset)(void *b);
    int (*is_broken)(void *b);
    int (*waiting)(void *b);
    int (*wait)(void *c, void *l, weft_deadline d); // this and the rest, or null
    int (*signal)(void *c);
    int (*broadcast)(void *c);
    int (*signal_n)(void *c, uint32_t n);
    int (*post_n)(void *s, uint32_t n);
} sync_calls;

enum {
    SAYS_BUSY = 1,  // close does, while somebody waits or has it
    HAS_LIMITS = 2, // a semaphore may
    LOCKS_STOP = 4, // a thread that waits for a lock can be stopped
    PUNCTUAL = 8,   // a deadline of microseconds has a meaning
};

typedef struct sync_kind {
    struct kin kin;
    const sync_calls *calls;
    int times; // how much stress
} sync_kind;

static const sync_calls *twin;
static const sync_kind *kind;

static int run_sync(const sync_kind *k, const char *name)
{
    kind = k;
    twin = k->calls;
    return run_kind(&k->kin, name);
}

// ---- In memory ----

static void *new_room(void)
{
    enum { EACH = 4096 };
    assert_true(((size_t)board->things + 1) * EACH <= sizeof board->room);
    return board->room + board->things++ * EACH;
}

#define CALLS(P)                                                                                   \
    [](void *l, weft_deadline d) { return P##mutex_lock((P##mutex *)l, d); },                      \
        [](void *l) { return P##mutex_unlock((P##mutex *)l); },                                    \
        [](void *s, weft_deadline d) { return P##semaphore_wait((P##semaphore *)s, d); },          \
        [](void *s) { return P##semaphore_post((P##semaphore *)s); },                              \
        [](void *s) { return (int)P##semaphore_value((P##semaphore *)s); },                        \
        [](void *e) { return P##event_set((P##event *)e); },                                       \
        [](void *e) { return P##event_clear((P##event *)e); },                                     \
        [](void *e) { return (int)P##event_is_set((P##event *)e); },                               \
        [](void *e, weft_deadline d) { return P##event_wait((P##event *)e, d); },                  \
        [](void *b, weft_deadline d) { return P##barrier_wait((P##barrier *)b, d); },              \
        [](void *b) { return P##barrier_abort((P##barrier *)b); },                                 \
        [](void *b) { return P##barrier_reset((P##barrier *)b); },                                 \
        [](void *b) { return (int)P##barrier_is_broken((P##barrier *)b); },                        \
        [](void *b) { return (int)P##barrier_waiting((P##barrier *)b); },                          \
        [](void *c, void *l, weft_deadline d) {                                                    \
            return P##condition_wait((P##condition *)c, (P##mutex *)l, d);                         \
        },                                                                                         \
        [](void *c) { return P##condition_signal((P##condition *)c); },                            \
        [](void *c) { return P##condition_broadcast((P##condition *)c); },                         \
        [](void *c, uint32_t n) { return P##condition_signal_n((P##condition *)c, n); },           \
        [](void *s, uint32_t n) { return P##semaphore_post_n((P##semaphore *)s, n); }

#define OPEN(P)                                                                                    \
    [](enum what what, int n, int limit) {                                                         \
        void *p = new_room();                                                                      \
        int code = what == LOCK        ? P##mutex_init((P##mutex *)p, n)                           \
                   : what == CONDITION ? P##condition_init((P##condition *)p)                      \
                   : what == SEMAPHORE                                                             \
                       ? P##semaphore_init((P##semaphore *)p, (uint32_t)n, (uint32_t)limit)        \
                   : what == EVENT ? P##event_init((P##event *)p)                                  \
                                   : P##barrier_init((P##barrier *)p, (uint32_t)n);                \
        return code == 0 ? p : nullptr;                                                            \
    }

static int thread_close(enum what what, void *p)
{
    return what == LOCK        ? weft_mutex_destroy((weft_mutex *)p)
           : what == CONDITION ? weft_condition_destroy((weft_condition *)p)
           : what == SEMAPHORE ? weft_semaphore_destroy((weft_semaphore *)p)
           : what == EVENT     ? weft_event_destroy((weft_event *)p)
                               : weft_barrier_destroy((weft_barrier *)p);
}

static const sync_calls thread_twin = {OPEN(weft_), thread_close, CALLS(weft_)};

static const sync_calls shared_twin = {OPEN(weft_shared_), [](enum what, void *) { return 0; },
                                       CALLS(weft_shared_)};

// ---- By a manager ----

static void *remote_open(enum what what, int n, int)
{
    weft_client *c = client_of(&here);
    const char *name = new_name();
    weft_remote *r = what == LOCK        ? weft_remote_lock_open(c, name, n & WEFT_RECURSIVE)
                     : what == SEMAPHORE ? weft_remote_semaphore_open(c, name, (uint32_t)n, soon())
                     : what == EVENT     ? weft_remote_event_open(c, name)
                                         : weft_remote_barrier_open(c, name, (uint32_t)n);
    int error = errno;
    if (r == nullptr)
        weft_client_destroy(c);
    errno = error;
    return r;
}

typedef weft_remote *remote;

static const sync_calls remote_twin = {
    remote_open,
    [](enum what, void *r) { return remote_destroy(r); },
    [](void *l, weft_deadline d) { return weft_remote_lock_lock(remote(l), nullptr, d); },
    [](void *l) { return weft_remote_lock_unlock(remote(l), soon()); },
    [](void *s, weft_deadline d) { return weft_remote_semaphore_wait(remote(s), d); },
    [](void *s) { return weft_remote_semaphore_post(remote(s), soon()); },
    [](void *s) { return (int)weft_remote_semaphore_value(remote(s), soon()); },
    [](void *e) { return weft_remote_event_set(remote(e), soon()); },
    [](void *e) { return weft_remote_event_clear(remote(e), soon()); },
    [](void *e) { return weft_remote_event_is_set(remote(e), soon()); },
    [](void *e, weft_deadline d) { return weft_remote_event_wait(remote(e), d); },
    [](void *b, weft_deadline d) { return weft_remote_barrier_wait(remote(b), d); },
    [](void *b) { return weft_remote_barrier_abort(remote(b), soon()); },
    [](void *b) { return weft_remote_barrier_reset(remote(b), soon()); },
    [](void *b) { return (int)(weft_remote_barrier_waiting(remote(b), soon()) == -1); },
    [](void *b) { return (int)weft_remote_barrier_waiting(remote(b), soon()); },
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr};

// ---- All of them ----

static const sync_kind kinds[] = {
    {{"thread", THREADS, SAYS_BUSY | HAS_LIMITS | PUNCTUAL}, &thread_twin, 1000},
    {{"shared", PROCESSES, HAS_LIMITS | PUNCTUAL}, &shared_twin, 200},
    {{"shared by threads", THREADS, HAS_LIMITS | PUNCTUAL}, &shared_twin, 200},
};

static const sync_kind remote_kind = {{"remote", CONNECTIONS, LOCKS_STOP}, &remote_twin, 5};

static inline int run_all_sync(void)
{
    int failed = 0;
    for (const sync_kind &each : kinds)
        failed += run_sync(&each, each.kin.name);
    return failed + with_both_servers([](const char *on) {
               return run_sync(&remote_kind, name_on("remote", on));
           });
}

#define RUN_ON_ALL_SYNC RUN_BY(run_all_sync())

// ---- What the cases share ----

// These tests unlock what they don't own, and lock in any order, on purpose.
extern "C" const char *__tsan_default_options(void)
{
    return "report_mutex_bugs=0:report_destroy_locked=0:detect_deadlocks=0";
}

static inline void *opened(enum what what, int n = 0, int limit = 0)
{
    begin_case();
    void *thing = twin->open(what, n, limit);
    assert_non_null(thing);
    return thing;
}

static inline void closes(enum what what, void *thing)
{
    assert_int_equal(twin->close(what, thing), 0);
}

// It cannot be closed now.
static inline void is_busy(enum what what, void *thing)
{
    if (has(SAYS_BUSY))
        assert_errno(twin->close(what, thing), EBUSY);
}

enum call { LOCK_LATE, LOCK_NOW, LOCK_SOON, LOCK_FOREVER, UNLOCK, UNIT, AWAIT, MEET, MEET_SOON };

static inline int lock_until(void *l, weft_deadline d)
{
    return twin->lock(l, d) == 0 ? twin->unlock(l) : -1;
}

// Whose process ends is to be missed by nobody.
static inline int meet_and_leave(void *b, weft_deadline d)
{
    int code = twin->meet(b, d), error = errno;
    if (way == PROCESSES)
        weft_shared_barrier_leave((weft_shared_barrier *)b);
    errno = error;
    return code;
}

static inline ssize_t make_call(peer *p)
{
    switch (p->call) {
    case LOCK_LATE:
        return lock_until(p->thing, -5);
    case LOCK_NOW:
        return lock_until(p->thing, WEFT_NOW);
    case LOCK_SOON:
        return lock_until(p->thing, shortly());
    case LOCK_FOREVER:
        return lock_until(p->thing, WEFT_FOREVER);
    case UNLOCK:
        return twin->unlock(p->thing);
    case UNIT:
        return twin->acquire(p->thing, WEFT_FOREVER) == 0 ? twin->post(p->thing) : -1;
    case AWAIT:
        return twin->await(p->thing, WEFT_FOREVER);
    default:
        return meet_and_leave(p->thing, p->call == MEET ? WEFT_FOREVER : weft_in_s(60));
    }
}

// How a call ends that another makes: its errno.
static inline int by_other(void *thing, enum call call)
{
    int error = 0;
    bool late = true; // as in assert_out_of_time
    for (patience = 1; late && patience < 200; patience *= 4) {
        peer *p = begin(make_call, thing, call);
        end(p);
        error = p->code == -1 ? p->error : 0;
        late = is_too_busy(error);
    }
    patience = 1;
    return error;
}

// Both deadlines pass, and the later one is waited for.
static inline void times_out(int (*call)(void *thing, weft_deadline d), void *thing)
{
    assert_errno(call(thing, WEFT_NOW), ETIMEDOUT);
    weft_deadline d;
    assert_out_of_time(call(thing, d = shortly()));
    assert_true(weft_now() >= d);
}

static inline void keeps_errno(int code, int expected = 0)
{
    assert_int_equal(code, expected);
    assert_int_equal(errno, 77);
}

// Goes in and out, in which time it looks at the word.
static inline ssize_t go_in_and_out(peer *p, int n, int (*in)(void *thing, weft_deadline d),
                                    int (*out)(void *thing), bool (*is_well)(int *word))
{
    for (int i = 0; i < n; i++) {
        if (in(p->thing, i % 3 ? WEFT_FOREVER : weft_in_s(60)) != 0)
            return 1;
        if (!is_well(&board->words[0]))
            return 2;
        if (out(p->thing) != 0)
            return 3;
    }
    return 0;
}

#endif
