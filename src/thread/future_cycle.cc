// future_cycle.cc: tasks that wait in a circle.
//
// Before a worker sleeps until one of some futures has ended, it says which, and without a deadline
// goes from there: a future that has not ended is run by some worker, all of whose stack waits
// until the task on top goes on, or will be when another has ended (future_after.cc); and if that
// worker sleeps here, too, its futures are next.  Who finds
// nobody but such sleepers will never be woken, for one future would have to end first: EDEADLK.  A
// task that is pending will be run (crew.cc), a promise's keeper is not known, and a wait with a
// deadline ends: so none of these is ever part of a circle.  As the last wait of each circle
// looks, and they look one by one, each circle is found, by that one.  (A wait for completions has
// fewer to wait for when another thread takes one: then it looks anew.)
//
// What a watch is of may be looked at under the lock: before a future ends it is taken out of its
// watches.
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

static bool sleeps(const crew_worker *w)
{
    return w->waits.n > 0 || w->waits.completions != nullptr;
}

// The worker that must go on before f ends; null: f has ended, or that is not a sleeper's.
static crew_worker *sleeper_of(const weft_future *f)
{
    for (const weft_future *before; (before = deferred_after(f)) != nullptr;)
        f = before;
    // In this order: under the lock, who runs an f that has not ended stays.
    if (future_pending(f) != 0 || f->executor == nullptr)
        return nullptr;
    crew_worker *w = (crew_worker *)__atomic_load_n(&f->at, __ATOMIC_RELAXED);
    if (future_is_final(f) || w == nullptr || !sleeps(w) || w->ends)
        return nullptr;
    return w;
}

namespace {
struct walk {
    crew_worker *last;
    crew_worker *other; // one that can give up, or null
};
} // namespace

// Whether f is a sleeper's, who is visited, too.
static bool follow(const weft_future *f, void *arg)
{
    walk *to = (walk *)arg;
    crew_worker *next = sleeper_of(f);
    if (next == nullptr)
        return false;
    if (next->walk == walks)
        return true;
    next->walk = walks;
    next->walk_next = nullptr;
    to->last = to->last->walk_next = next;
    if (next->word != nullptr)
        to->other = next;
    return true;
}

static bool follow_all(const awaited *what, walk *to)
{
    size_t i = 0;
    if (what->completions != nullptr)
        return completions_all(what->completions, follow, to);
    while (i < what->n && follow(what->futures[i], to))
        i++;
    return i == what->n;
}

// Locked.  Whether nobody can wake `me`; then *other is one of those that can give up, if any.
static bool is_stuck(crew_worker *me, crew_worker **other)
{
    walk to = {me, nullptr};
    me->walk = ++walks;
    me->walk_next = nullptr;
    for (crew_worker *w = me; w != nullptr; w = w->walk_next)
        if (!follow_all(&w->waits, &to))
            return false;
    *other = to.other;
    return true;
}

int weft::cycle_enter(crew_worker *me, awaited what, uint32_t *word, bool ends)
{
    crew_worker *other = nullptr;
    if (way_to_sleep != nullptr) // a tasklet, and others of its thread go on
        return 0;
    take_lock(lock);
    me->waits = what;
    me->word = word;
    me->ends = ends;
    bool stuck = !ends && is_stuck(me, &other);
    if (stuck && word != nullptr) {
        me->waits = {};
    } else if (stuck && other != nullptr) {
        other->waits = {};
        __atomic_fetch_or(other->word, (uint32_t)DEADLOCKED, __ATOMIC_RELEASE);
        wake_sleepers(other->word, 1);
    }
    drop_lock(lock);
    return stuck && word != nullptr ? EDEADLK : 0;
}

void weft::cycle_leave(crew_worker *me)
{
    take_lock(lock);
    me->waits = {};
    drop_lock(lock);
}

weft_executor *weft::cycles_await(const weft_future *f)
{
    weft_executor *ex = f->executor;
    take_lock(lock);
    for (weft_future *before; (before = deferred_after(f)) != nullptr; f = before) {
        ex = before->executor;
        __atomic_fetch_or(&before->state, FUTURE_AWAITED, __ATOMIC_SEQ_CST);
    }
    drop_lock(lock);
    return ex;
}

static bool is_sleepers(const weft_future *f, void *)
{
    return sleeper_of(f) != nullptr;
}

static bool is_pending_in(const weft_future *f, void *ex)
{
    return f->executor == ex && future_pending(f) != 0;
}

static bool all_are(weft_completions *c, bool (*fn)(const weft_future *f, void *arg), void *arg)
{
    take_lock(lock);
    bool all = completions_all(c, fn, arg);
    drop_lock(lock);
    return all;
}

bool weft::cycle_may_hold(weft_completions *c)
{
    return all_are(c, is_sleepers, nullptr);
}

bool weft::cycles_all_pending(weft_completions *c, weft_executor *ex)
{
    return all_are(c, is_pending_in, ex);
}

void weft::cycles_forget(weft_private_watch *watches)
{
    while (watches != nullptr && watches->ended == nullptr)
        watches = watches->next;
    if (watches == nullptr)
        return;
    take_lock(lock);
    for (; watches != nullptr; watches = watches->next)
        watches->of = nullptr;
    drop_lock(lock);
}

bool weft::cycle_look(const crew_worker *w, void *(**fn)(void *), void **arg, size_t *n)
{
    take_lock(lock);
    bool known = w->waits.n > 0;
    if (known) {
        *fn = w->waits.futures[0]->fn;
        *arg = __atomic_load_n(&w->waits.futures[0]->value, __ATOMIC_RELAXED);
        *n = w->waits.n;
    }
    drop_lock(lock);
    return known;
}
