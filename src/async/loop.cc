// loop.cc: the loop itself: make it, run it, nest it, end it.
//
// A round: apply the changed masks, sleep in epoll until an event, the next alarm or the deadline,
// read the clock once, then call: descriptors first (data that has arrived beats the timeout of
// waiting for it), alarms, posts, deferred functions.  Each of these is bounded by what was there
// when it began, so a callback that always makes new work starves nobody.
#include "loop_state.h"

#include <base/above_streams.h>

#include <sys/eventfd.h>
#include <sys/timerfd.h>

using namespace weft;

__thread char weft::thread_mark;

// ---- The kernel's part ----

static void drained(weft_watch *w, int, void *)
{
    uint64_t count;
    int saved = errno;
    ssize_t n = read(w->fd, &count, sizeof count);
    (void)n; // EAGAIN: nothing left
    errno = saved;
}

static int open_kernel_part(weft_loop *l)
{
    if (events_open(&l->set) != 0)
        return -1;
    int wake = above_streams(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (wake < 0)
        return -1;
    if (loop_watch_internal(l, &l->wake_watch, wake, drained) == 0)
        return 0;
    close_keep_errno(&wake);
    l->wake_watch.fd = -1;
    return -1;
}

// In a forked child: epoll, eventfd, timerfd and signalfd are shared with the parent.  Makes new
// ones under the old numbers.
int weft::loop_reborn(weft_loop *l)
{
    int saved = errno;
    if (events_renew(&l->set) != 0 ||
        events_replace(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), l->wake_watch.fd) != 0)
        return -1;
    if (l->clock_watch.fd >= 0 &&
        events_replace(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
                       l->clock_watch.fd) != 0)
        return -1;
    if (loop_reborn_signals(l) != 0)
        return -1;
    l->clock_at = WEFT_FOREVER;
    loop_attach_all(l);
    events_keep(&l->set);
    errno = saved;
    return 0;
}

bool weft::loop_unstick(weft_loop *l)
{
    int saved = errno;
    bool fresh = events_renew(&l->set) == 0;
    if (fresh)
        loop_attach_all(l);
    errno = saved;
    return fresh;
}

// ---- Create, own, destroy ----

static void release(weft_loop *l)
{
    int saved = errno;
    events_close(&l->set);
    close_keep_errno(&l->wake_watch.fd);
    close_keep_errno(&l->clock_watch.fd);
    records_free(&l->slots);
    free(l->events);
    free(l);
    errno = saved;
}

static bool options_valid(const weft_loop_options *o)
{
    return o->batch >= 0 && o->blocked_ns >= 0;
}

weft_loop *weft_loop_create(const weft_loop_options *opts)
{
    weft_loop_options o = {};
    if (opts != nullptr)
        o = *opts;
    if (!options_valid(&o)) {
        errno = EINVAL;
        return nullptr;
    }
    weft_loop *l = (weft_loop *)calloc(1, sizeof *l);
    if (l == nullptr)
        return nullptr;
    l->set.fd = l->wake_watch.fd = l->clock_watch.fd = l->dirty = -1;
    l->owner = &thread_mark;
    l->batch = o.batch > 0 ? o.batch : 64;
    l->blocked_ns = o.blocked_ns > 0 ? o.blocked_ns : events_blocked_ns();
    l->blocked = o.blocked;
    l->arg = o.arg;
    l->now = weft_now();
    l->clock_at = WEFT_FOREVER;
    wheel_init(&l->wheel, tick_of(l->now));
    l->look = WEFT_FOREVER;
    weft_loop_link *const lists[] = {&l->near,     &l->soon, &l->due,
                                     &l->deferred, &l->idle, &l->signals};
    for (weft_loop_link *each : lists)
        list_init(each);
    l->events = (struct epoll_event *)calloc((size_t)l->batch, sizeof *l->events);
    if (l->events == nullptr || open_kernel_part(l) != 0) {
        release(l);
        return nullptr;
    }
    return l;
}

int weft_loop_own(weft_loop *l)
{
    if (l == nullptr)
        return fail_with(EINVAL);
    // In a forked child the thread that ran it may be gone.
    if (events_forked(&l->set) && !loop_owned(l))
        l->running = false;
    if (l->running)
        return fail_with(EBUSY);
    if (!loop_owned(l))
        loop_move_signals(l);
    __atomic_store_n(&l->owner, &thread_mark, __ATOMIC_RELAXED);
    return 0;
}

int weft_loop_destroy(weft_loop *l)
{
    if (l == nullptr)
        return 0;
    if (!loop_owned(l))
        return fail_with(EPERM);
    if (l->running)
        return fail_with(EBUSY);
    loop_drop_signals(l);
    loop_drop_alarms(l);
    loop_drop_tasks(l);
    loop_drop_watches(l);
    release(l);
    return 0;
}

// ---- A round ----

static bool has_posts(const weft_loop *l)
{
    return __atomic_load_n(&l->posted, __ATOMIC_RELAXED) != nullptr;
}

// What is excused by a hold below 0 does not keep the loop, but is there for one round.
static bool nothing_left(const weft_loop *l, int how)
{
    int64_t hold = how == WEFT_LOOP_ONCE && l->hold < 0 ? 0 : l->hold;
    return (int64_t)(l->stats.watches + l->stats.armed + l->tasks - l->internal) + hold <= 0 &&
           !has_posts(l);
}

// Until when there is nothing to do, unless the kernel tells.
static weft_deadline sleep_until(weft_loop *l)
{
    if (l->tasks > 0 || has_posts(l) || l->dirty >= 0)
        return WEFT_NOW;
    return loop_next_alarm(l);
}

// Calls what is ready; returns how many calls that were.
static uint64_t call_all(weft_loop *l, int events)
{
    uint64_t before = l->stats.events + l->stats.alarms + l->stats.tasks;
    // (In a child that one of them has forked the rest is the parent's.)
    for (int i = 0; i < events && !events_forked(&l->set); i++)
        loop_dispatch(l, &l->events[i]);
    loop_run_alarms(l);
    loop_run_posted(l);
    if (!list_is_empty(&l->deferred))
        loop_run_list(l, &l->deferred);
    uint64_t called = l->stats.events + l->stats.alarms + l->stats.tasks - before;
    if (called == 0 && !list_is_empty(&l->idle))
        called = loop_run_list(l, &l->idle);
    return called;
}

// One look at the clock ends a round and begins the sleep.
static int64_t end_of_round(weft_loop *l)
{
    int64_t end = weft_now(), lag = end - l->now;
    l->stats.busy_ns += lag;
    l->stats.lag_ns = lag;
    if (lag > l->stats.lag_max_ns)
        l->stats.lag_max_ns = lag;
    return end;
}

// 1: something happened; 0: nothing did.
static int run_round(weft_loop *l, weft_deadline d)
{
    if (events_forked(&l->set) && loop_reborn(l) != 0)
        return -1;
    if (l->stuck && !l->nested) // a loop around it would not know the new set
        loop_unstick(l);
    bool told = loop_flush(l, true) > 0;
    // Those that were told may have left nothing to wait for.
    weft_deadline until = told ? WEFT_NOW : sleep_until(l);
    int64_t before = end_of_round(l);
    until = until < d ? until : d;
    int64_t ns = until == WEFT_FOREVER ? until : until > before ? until - before : 0;
    int n = events_wait(&l->set, l->events, l->batch, ns);
    l->now = weft_now();
    if (n < 0)
        return -1;
    l->stats.rounds++;
    return call_all(l, n) > 0 || n > 0 || told;
}

// With nothing left no round will read the eventfd, which then would keep an outer loop awake.
// True if it was written to: look again, as what it was written for may have come just now.
static bool was_woken(weft_loop *l)
{
    eventfd_t count;
    int saved = errno;
    bool woken = l->nested && eventfd_read(l->wake_watch.fd, &count) == 0;
    errno = saved;
    return woken;
}

static int run(weft_loop *l, int how, weft_deadline d)
{
    for (;;) {
        // acquire: what the stopper wrote before is seen after the run.
        if (__atomic_load_n(&l->stopped, __ATOMIC_RELAXED) &&
            __atomic_exchange_n(&l->stopped, 0, __ATOMIC_ACQUIRE))
            return 1;
        if (nothing_left(l, how)) {
            if (was_woken(l))
                continue;
            return 0;
        }
        int happened = run_round(l, d);
        if (happened < 0)
            return -1;
        if (how == WEFT_LOOP_ONCE && happened)
            return 1;
        if (d != WEFT_FOREVER && d <= l->now && !__atomic_load_n(&l->stopped, __ATOMIC_RELAXED))
            return fail_with(ETIMEDOUT);
    }
}

int weft_loop_run(weft_loop *l, int how, weft_deadline d)
{
    if (loop_enter(l) != 0)
        return -1;
    if (how != WEFT_LOOP_ALL && how != WEFT_LOOP_ONCE)
        return fail_with(EINVAL);
    if (l->running)
        return fail_with(EBUSY);
    l->running = true;
    l->now = weft_now();
    int r = run(l, how, d);
    end_of_round(l);
    l->running = false;
    loop_changed(l);
    return r;
}

int weft_loop_hold(weft_loop *l, int by)
{
    if (loop_enter(l) != 0)
        return -1;
    l->hold += by;
    return 0;
}

int64_t weft_loop_now(const weft_loop *l)
{
    return l != nullptr ? l->now : 0;
}

int weft_loop_statistics(const weft_loop *l, weft_loop_counters *s)
{
    if (l == nullptr || s == nullptr)
        return fail_with(EINVAL);
    if (!loop_owned(l))
        return fail_with(EPERM);
    *s = l->stats;
    s->watches -= l->internal;
    return 0;
}

// ---- In another loop ----

weft_deadline weft::loop_due(weft_loop *l)
{
    loop_flush(l, false);
    return sleep_until(l);
}

// The epoll descriptor is readable when a watched one is ready or the eventfd was written to; a
// timerfd makes it readable when an alarm is due, or at once when something waits to be called.
void weft::loop_show(weft_loop *l)
{
    weft_deadline at = loop_due(l);
    if (at == l->clock_at && at > weft_now())
        return;
    int saved = errno;
    struct itimerspec t = {};
    if (at != WEFT_FOREVER)
        t.it_value = {(time_t)(at / 1000000000), (long)(at % 1000000000) + (at == WEFT_NOW)};
    timerfd_settime(l->clock_watch.fd, TFD_TIMER_ABSTIME, &t, nullptr);
    l->clock_at = at;
    errno = saved;
}

int weft_loop_fd(weft_loop *l)
{
    if (loop_enter(l) != 0)
        return -1;
    if (l->clock_watch.fd >= 0)
        return l->set.fd;
    int fd = above_streams(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (fd < 0)
        return -1;
    if (loop_watch_internal(l, &l->clock_watch, fd, drained) != 0) {
        close_keep_errno(&fd);
        return -1;
    }
    l->nested = true;
    loop_changed(l);
    return l->set.fd;
}
