// timer.cc: one thread that calls what is due, for all timers of the process.
//
// It is started with the first timer and ends when there has been none for a second.  All below is
// guarded by one lock, which is not held in a call.  A function may end its thread (pthread_exit, a
// cancel) or tell it to stop: the clean-up then counts the call as made, and another thread goes
// on.
#include "forked.h"
#include "waiters.h"

#include <base/errno.h>
#include <base/heap.h>
#include <weft/sync.h>
#include <weft/thread.h>

#include <pthread.h>
#include <signal.h>

using namespace weft;

enum { IDLE_S = 1 };

struct weft_timer {
    heap_link due; // in the heap while WAITING
    void (*fn)(void *);
    void *arg;
    int64_t every;
    enum { WAITING, CALLED, CALLED_AND_CANCELLED, ENDED } state;
    bool detached, joined, called;
    uint32_t generation; // forked.h
    waiters joiner;
};

static struct {
    uint32_t lock;
    uint32_t generation;
    heap waiting;
    bool has_thread;
    uint32_t added; // the futex it sleeps on
} timers = {0, 1, {}, false, 0};

// The one that this thread calls.
static __thread weft_timer *called_here;

// In a forked child no thread is there and the parent's timers are not ours.
static bool tidy(void *)
{
    timers.waiting = {};
    timers.has_thread = false;
    timers.lock = 0;
    return true;
}

static bool ours(void *)
{
    return is_ours(&timers.generation, tidy, nullptr);
}

static void enter(void)
{
    ours(nullptr);
    take_lock(&timers.lock);
}

static void *timers_main(void *);

// Locked.  No signal of the process is handled on it but those that it would cause itself.
static int start_thread(void)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigset_t all, before;
    weft_thread_options o = {};
    o.name = "weft-timer";
    o.detached = true;
    sigfillset(&all);
    for (int sig : own)
        sigdelset(&all, sig);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    timers.has_thread = weft_thread_start(timers_main, nullptr, &o) != nullptr;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return timers.has_thread ? 0 : -1;
}

static void end(weft_timer *t)
{
    t->state = weft_timer::ENDED;
    if (t->detached)
        free(t);
    else
        waiters_wake(&t->joiner, SIZE_MAX);
}

// When a periodic timer is due again: times that have passed are left out.
static weft_deadline next_time(const weft_timer *t)
{
    weft_deadline now = weft_now(), next;
    if (__builtin_add_overflow(t->due.at, t->every, &next))
        return WEFT_FOREVER;
    return next > now ? next : next + (now - next + t->every) / t->every * t->every;
}

// The call is over, however it ended.  Takes the lock.
static void count_call(weft_timer *t)
{
    called_here = nullptr;
    enter();
    if (t->state == weft_timer::CALLED && t->every != 0) {
        t->state = weft_timer::WAITING;
        heap_add(&timers.waiting, &t->due, next_time(t));
    } else {
        end(t);
    }
}

// This thread can't go on.
static void hand_over(void *t)
{
    if (t != nullptr) {
        if (((weft_timer *)t)->generation != fork_generation)
            return; // a child forked in the call: its timers are others
        count_call((weft_timer *)t);
    }
    timers.has_thread = false;
    if (timers.waiting.first != nullptr)
        start_thread();
    drop_lock(&timers.lock);
}

// Unlocks, calls, and locks again.  False: not here.
static bool call(weft_timer *t)
{
    heap_remove(&timers.waiting, &t->due);
    t->state = weft_timer::CALLED;
    t->called = true;
    drop_lock(&timers.lock);
    called_here = t;
    pthread_cleanup_push(hand_over, t);
    t->fn(t->arg);
    pthread_cleanup_pop(0);
    if (t->generation != fork_generation)
        return false;
    count_call(t);
    return true;
}

static void *timers_main(void *)
{
    enter();
    for (weft_deadline idle_until = weft_in_s(IDLE_S); !weft_thread_stopping();) {
        weft_timer *t = (weft_timer *)(void *)timers.waiting.first;
        weft_deadline until = t != nullptr ? t->due.at : idle_until;
        if (t != nullptr && until <= weft_now()) {
            if (!call(t))
                return nullptr;
            idle_until = weft_in_s(IDLE_S);
        } else if (t == nullptr && weft_left(idle_until) == 0) {
            break;
        } else {
            uint32_t seen = timers.added;
            drop_lock(&timers.lock);
            sleep_on(&timers.added, seen, until, 0);
            take_lock(&timers.lock);
        }
    }
    hand_over(nullptr);
    return nullptr;
}

weft_timer *weft_timer_start(void (*fn)(void *), void *arg, const weft_timer_options *opts,
                             weft_deadline at)
{
    static const weft_timer_options defaults = {};
    if (opts == nullptr)
        opts = &defaults;
    if (fn == nullptr || at == WEFT_FOREVER || opts->every_ns < 0) {
        errno = EINVAL;
        return nullptr;
    }
    weft_timer *t = (weft_timer *)calloc(1, sizeof *t);
    if (t == nullptr)
        return nullptr;
    watch_forks();
    t->fn = fn;
    t->arg = arg;
    t->every = opts->every_ns;
    t->detached = opts->detached;
    t->generation = fork_generation;
    list_init(&t->joiner);
    enter();
    heap_add(&timers.waiting, &t->due, at);
    bool failed = !timers.has_thread && start_thread() != 0;
    if (failed)
        heap_remove(&timers.waiting, &t->due);
    if (timers.waiting.first == &t->due) {
        __atomic_fetch_add(&timers.added, 1, __ATOMIC_RELEASE);
        futex_wake(&timers.added, 1, 0);
    }
    drop_lock(&timers.lock);
    if (!failed)
        return t;
    free_keep_errno(t);
    return nullptr;
}

int weft_timer_cancel(weft_timer *t)
{
    if (t == nullptr)
        return fail_with(EINVAL);
    if (t->generation != fork_generation)
        return fail_with(ESRCH);
    int error = 0;
    enter();
    if (t->state == weft_timer::WAITING) {
        heap_remove(&timers.waiting, &t->due);
        end(t);
    } else if (t->state == weft_timer::CALLED && t->every != 0) {
        t->state = weft_timer::CALLED_AND_CANCELLED;
    } else {
        error = EALREADY;
    }
    drop_lock(&timers.lock);
    return error == 0 ? 0 : fail_with(error);
}

// Locked.
static int await_end(weft_timer *t, weft_deadline d)
{
    // A function that waits for another timer, without end, holds up the thread that is to call it.
    bool stuck = called_here != nullptr && called_here->generation == fork_generation &&
                 t->state != weft_timer::ENDED && (t == called_here || d == WEFT_FOREVER);
    int error = stuck ? EDEADLK : t->joined ? EBUSY : 0;
    if (error != 0)
        return error;
    t->joined = true;
    error = wait_for(
        d, [=] { return t->state == weft_timer::ENDED ? 0 : EAGAIN; },
        [=](weft_deadline until) {
            return waiters_wait(&t->joiner, &timers.lock, until, 0, ours);
        });
    if (error != 0)
        t->joined = false;
    return error; // 0: it stays the caller's, which releases it when it has let the lock go
}

int weft_timer_join(weft_timer *t, weft_deadline d)
{
    if (t == nullptr)
        return fail_with(EINVAL);
    if (t->generation != fork_generation)
        return fail_with(ESRCH);
    enter();
    int error = await_end(t, d);
    drop_lock(&timers.lock);
    if (error != 0)
        return fail_with(error);
    int called = t->called;
    free(t);
    return called;
}
