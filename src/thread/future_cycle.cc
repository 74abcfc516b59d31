// future_cycle.cc: tasks that wait in a circle.
//
// Before a worker sleeps until one of some futures has ended, it says which, and without a deadline
// goes from there: a future that has not ended is run by some worker, all of whose stack waits
// until the task on top goes on; and if that sleeps here, too, its futures are next.  Who finds
// nobody but such sleepers will never be woken, for one future would have to end first: EDEADLK.  A
// task that is pending will be run (crew.cc), a promise's keeper is not known, and a wait with a
// deadline ends: so none of these is ever part of a circle.  As the last wait of each circle
// looks, and they look one by one, each circle is found, by that one.
//
// The lock is the process's.  It lies in a page that a forked child finds wiped, and so free.
#include "crew.h"

#include <base/wiped.h>

#include <pthread.h>

using namespace weft;

static uint32_t *lock;
static uint32_t walks; // guarded by the lock
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_lock(void)
{
    lock = (uint32_t *)wiped_make();
}

int weft::cycles_prepare(void)
{
    int saved = errno;
    pthread_once(&once, make_lock);
    errno = saved;
    return lock != nullptr ? 0 : ENOMEM;
}

void weft::cycles_pass(void)
{
    take_lock(lock);
    drop_lock(lock);
}

// The worker that must go on before f ends; null: f has ended, or that is not a sleeper's.
static crew_worker *sleeper_of(const weft_future *f)
{
    // In this order: under the lock, who runs an f that has not ended stays.
    if (future_pending(f) != 0 || f->executor == nullptr)
        return nullptr;
    crew_worker *w = (crew_worker *)__atomic_load_n(&f->at, __ATOMIC_RELAXED);
    if (future_is_final(f) || w == nullptr || w->waits_for == nullptr || w->ends)
        return nullptr;
    return w;
}

// Locked.  Whether nobody can wake `me`; then *other is one of those that can give up, if any.
static bool is_stuck(crew_worker *me, crew_worker **other)
{
    crew_worker *last = me;
    me->walk = ++walks;
    me->walk_next = nullptr;
    for (crew_worker *w = me; w != nullptr; w = w->walk_next)
        for (size_t i = 0; i < w->waits; i++) {
            crew_worker *next = sleeper_of(w->waits_for[i]);
            if (next == nullptr)
                return false;
            if (next->walk == walks)
                continue;
            next->walk = walks;
            next->walk_next = nullptr;
            last = last->walk_next = next;
            if (next->word != nullptr)
                *other = next;
        }
    return true;
}

int weft::cycle_enter(crew_worker *me, weft_future *const futures[], size_t n, uint32_t *word,
                      bool ends)
{
    crew_worker *other = nullptr;
    take_lock(lock);
    me->waits_for = futures;
    me->waits = n;
    me->word = word;
    me->ends = ends;
    bool stuck = !ends && is_stuck(me, &other);
    if (stuck && word != nullptr) {
        me->waits_for = nullptr;
    } else if (stuck && other != nullptr) {
        other->waits_for = nullptr;
        __atomic_fetch_or(other->word, (uint32_t)DEADLOCKED, __ATOMIC_RELEASE);
        futex_wake(other->word, 1, 0);
    }
    drop_lock(lock);
    return stuck && word != nullptr ? EDEADLK : 0;
}

void weft::cycle_leave(crew_worker *me)
{
    take_lock(lock);
    me->waits_for = nullptr;
    drop_lock(lock);
}

bool weft::cycle_look(const crew_worker *w, void *(**fn)(void *), void **arg, size_t *n)
{
    take_lock(lock);
    bool sleeps = w->waits_for != nullptr;
    if (sleeps) {
        *fn = w->waits_for[0]->fn;
        *arg = __atomic_load_n(&w->waits_for[0]->value, __ATOMIC_RELAXED);
        *n = w->waits;
    }
    drop_lock(lock);
    return sleeps;
}
