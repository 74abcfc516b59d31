// scheduler.cc: the slow side of a switch between tasklets (scheduler.h), and the keeper.
//
// Every so many switches the one who gives way looks at the clock: it fires the timers itself and
// lets the poller have a turn when that is due.
//
// The keeper is a coroutine with a stack of its own that is in the ring only while the poller has a
// turn, or nobody else is ready: it then waits for the next deadline or event.  If there can
// be none, all wait for one another: the main tasklet, which is one of them, is told.
#include "scheduler.h"
#include "wait.h"

#include <base/errno.h>
#include <base/time.h>

#include <stdio.h>
#include <string.h>

using namespace weft;

static const uint32_t BUDGET = 64;
static const int64_t POLL_INTERVAL = 100000;
static const size_t KEEPER_STACK = (size_t)256 << 10;

// ---- The thread ----

// Who runs before the thread's first call: alone, and refused everything.
static constexpr weft_tasklet make_nobody(void)
{
    weft_tasklet t = {};
    t.next = t.previous = &no_tasklet;
    t.cancelled = EPERM;
    return t;
}

static constexpr scheduler outside(void)
{
    scheduler s = {};
    s.running = &no_tasklet;
    return s;
}

weft_tasklet weft::no_tasklet = make_nobody();
__thread scheduler weft::scheduler_here = outside();

static void *keep(void *arg, void *first);
static void describe(void);
static weft_coro *shelter(void);
static void thread_end(int last);

static int start(scheduler *s)
{
    weft_coro_options o;
    coro_thread *t = coro_enter();
    if (t == nullptr)
        return -1;
    memset(&o, 0, sizeof o);
    o.name = "(scheduler)";
    o.stack_size = KEEPER_STACK;
    weft_coro *co = coro_create(keep, s, &o, sizeof(weft_tasklet));
    if (co == nullptr)
        return -1;
    coro_own(co);
    coro_adopt(&t->main, co);
    co->special |= SPECIAL_BLOCKED;
    weft_tasklet *keeper = tasklet_of(co);
    keeper->coro = keeper->leaf = co;
    keeper->home = s;
    keeper->cancelled = EPERM;
    weft_tasklet *m = &s->main;
    memset(m, 0, sizeof *m);
    m->next = m->previous = m;
    m->coro = m->leaf = &t->main;
    m->home = m->free_at = s;
    m->own.tasklet = m;
    m->own.index = PLAIN_WAITER;
    s->keeper = keeper;
    s->machine = co->machine;
    s->budget = BUDGET;
    s->random = (uint32_t)(uintptr_t)s | 1;
    s->running = m;
    t->shelter = shelter;
    t->scheduler_end = thread_end;
    t->before_dump = describe;
    return 0;
}

scheduler *weft::scheduler_enter(void)
{
    scheduler *s = &scheduler_here;
    return s->running != &no_tasklet || start(s) == 0 ? s : nullptr;
}

// A coroutine has ended and whoever should get its result waits elsewhere: the tasklet in which
// it ran does.
static weft_coro *shelter(void)
{
    return scheduler_here.running->coro;
}

static void each_tasklet(void (*fn)(weft_tasklet *t))
{
    weft_coro *eldest = coro_here.main.children, *co = eldest;
    do {
        if (co->on_end == tasklet_ended)
            fn(tasklet_of(co));
        co = co->younger;
    } while (co != eldest); // the keeper is one of them
}

static void describe_one(weft_tasklet *t)
{
    static const char *const what[] = {
        nullptr,    "receive from", "send to",    "send to",   "one of several channels",
        "sleep",    "a wake",       "the end of", "its scope", "all to end",
        "an event", "a wake",       nullptr};
    describe(t, what[t->state & ~IS_TIMED]);
}

// Says in the coroutines what their tasklets wait for.
static void describe(void)
{
    describe_one(&scheduler_here.main);
    each_tasklet(describe_one);
}

static void forget_wait(weft_tasklet *t)
{
    untie(t);
    t->state = IS_ENDED;
}

static void cancel(weft_tasklet *t)
{
    weft_tasklet_cancel(t);
}

void weft::cancel_all_tasklets(void)
{
    weft_tasklet *m = &scheduler_here.main;
    each_tasklet(cancel);
    if (m->state != IS_RUNNING_ALL)
        tasklet_fail_wait(m, ECANCELED);
}

// Before: nobody waits any more, nor can; the deferred functions that run now meet this.  After:
// as if there had been no call.
static void thread_end(int last)
{
    scheduler *s = &scheduler_here;
    if (last) {
        watchdog_end();
        memset(s, 0, sizeof *s);
        s->running = &no_tasklet;
        coro_here.before_dump = nullptr;
        coro_here.scheduler_end = nullptr;
        return;
    }
    s->ending = 1;
    s->ended = nullptr;
    each_tasklet(forget_wait);
    s->main.next = s->main.previous = &s->main;
    s->main.cancelled = ECANCELED;
    s->main.free_at = nullptr;
}

void weft::release_ended(scheduler *s)
{
    weft_tasklet *t = s->ended;
    if (t == nullptr)
        return;
    s->ended = nullptr;
    coro_release(t->coro);
}

// ---- Waits ----

int weft::refusal(scheduler *s, weft_deadline d)
{
    const weft_coro *self = coro_here.current;
    if (s == nullptr)
        return ENOMEM;
    if (d <= WEFT_NOW)
        return 0;
    if (s->running->cancelled != 0)
        return (int)s->running->cancelled;
    return self->special & SPECIAL_CANCELLED ? self->error : 0;
}

int weft::deadline(scheduler *s, weft_deadline d)
{
    if (d == WEFT_FOREVER)
        return 0;
    heap_add(&s->timers, &s->running->timer, d);
    return IS_TIMED;
}

int weft::tasklet_suspend(scheduler *s, int state, intptr_t value, weft_deadline d)
{
    return coro_block(s, s->running, state | deadline(s, d), value);
}

void weft::untie(weft_tasklet *t)
{
    int state = t->state & ~IS_TIMED;
    if (t->state != state)
        heap_remove(&t->home->timers, &t->timer);
    if (state >= IS_RECEIVING && state < IS_SELECTING)
        list_remove(&t->own);
    t->own.index = PLAIN_WAITER;
    if (state == IS_SELECTING)
        for (int i = 0; i < t->n; i++)
            if (t->cases[i].channel != nullptr)
                list_remove(&t->cases[i].waiter);
    // One that has ended stays its joiner's, which releases it when it goes on.
    if (state == IS_JOINING && t->joins->state != IS_ENDED)
        t->joins->joiner = nullptr;
    t->joins = nullptr;
}

void weft::pend(weft_tasklet *t, int error)
{
    t->leaf->error = error;
    t->leaf->special |= SPECIAL_PENDING;
}

void weft::tasklet_fail_wait(weft_tasklet *t, int error)
{
    int state = t->state & ~IS_TIMED;
    if (state == IS_READY || state >= IS_REMOVED)
        return;
    pend(t, error);
    tasklet_wake(t->home, t);
}

// ---- Switches ----

static weft_tasklet *tasklet_of(heap_link *timer)
{
    return (weft_tasklet *)(void *)((char *)timer - offsetof(weft_tasklet, timer));
}

static void fire(scheduler *s, int64_t now)
{
    while (s->timers.first != nullptr && s->timers.first->at <= now) {
        weft_tasklet *t = tasklet_of(s->timers.first);
        if (t->state == (IS_SLEEPING | IS_TIMED))
            tasklet_wake(s, t);
        else
            tasklet_fail_wait(t, ETIMEDOUT);
    }
}

// The quick switch may have found out already.
static int spent(scheduler *s)
{
    return s->budget == 0 || --s->budget == 0;
}

// The budget is spent: who is next, instead of `to`?
static weft_tasklet *look_around(scheduler *s, weft_tasklet *to)
{
    s->budget = BUDGET;
    s->rounds++;
    if (to == s->keeper || (s->timers.first == nullptr && s->poller == nullptr))
        return to;
    int64_t now = weft_now();
    s->running = to; // the ring's last place is before it
    fire(s, now);
    if (s->poller == nullptr)
        return to;
    int64_t interval = s->poller->interval_ns > 0 ? s->poller->interval_ns : POLL_INTERVAL;
    if (now - s->polled < interval)
        return to;
    ring_insert(to, s->keeper);
    return s->keeper;
}

static void block(weft_tasklet *t, weft_coro *leaf)
{
    t->leaf = leaf;
    if (leaf != t->coro) {
        coro_mark_callers(leaf);
        t->coro->special |= SPECIAL_BLOCKED | SPECIAL_NESTED;
    }
    leaf->special |= SPECIAL_BLOCKED;
}

static weft_coro *unblock(weft_tasklet *t)
{
    weft_coro *leaf = t->leaf;
    t->leaf = t->coro;
    t->coro->special &= ~(uint32_t)(SPECIAL_BLOCKED | SPECIAL_NESTED);
    leaf->special &= ~(uint32_t)SPECIAL_BLOCKED;
    return leaf;
}

int weft::go_slowly(scheduler *s, weft_tasklet *me, weft_tasklet *to)
{
    weft_coro *self = coro_here.current;
    block(me, self);
    if (me == s->keeper)
        s->budget = BUDGET; // it has just looked
    else if (spent(s))
        to = look_around(s, to);
    s->running = to;
    weft_coro *co = unblock(to);
    return transfer<int>(self, co, (void *)to->value);
}

weft_coro *weft::next_to_run(scheduler *s, weft_tasklet *dead, void **value)
{
    weft_tasklet *to = dead->next;
    if (to == dead) {
        ring_insert(dead, s->keeper);
        to = s->keeper;
    }
    list_remove(dead);
    if (spent(s))
        to = look_around(s, to);
    s->running = to;
    *value = (void *)to->value;
    return unblock(to);
}

int weft::look_around(scheduler *s)
{
    weft_tasklet *me = s->running;
    if (!spent(s))
        return 0;
    weft_tasklet *to = look_around(s, me);
    s->running = me;
    if (to == me)
        to = me->next;
    return to != me ? go(s, me, to) : 0;
}

// ---- The keeper ----

static void deadlock(scheduler *s)
{
    fputs("weft: deadlock: no tasklet of this thread can ever go on\n", stderr);
    weft_coro_dump(stderr);
    tasklet_fail_wait(&s->main, EDEADLK);
}

// Until the next deadline, which may be never.
static void sleep_until(scheduler *s)
{
    if (s->timers.first == nullptr) {
        deadlock(s);
        return;
    }
    struct timespec t = timespec_of(s->timers.first->at);
    uncancelled(clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr);
}

static void poll(scheduler *s, weft_deadline d)
{
    int r = 0;
    if (s->poller != nullptr)
        r = s->poller->poll(s->poller, d);
    if (r < 0)
        tasklet_fail_wait(&s->main, errno);
    else if (r == 0 && d != WEFT_NOW && s->keeper->next == s->keeper)
        sleep_until(s);
    int64_t now = s->timers.first != nullptr || s->poller != nullptr ? weft_now() : 0;
    s->polled = now;
    fire(s, now);
}

static void *keep(void *arg, void *first)
{
    scheduler *s = (scheduler *)arg;
    weft_tasklet *me = s->keeper;
    (void)first;
    for (;;) {
        release_ended(s);
        if (me->next != me) {
            poll(s, WEFT_NOW);
        } else {
            watchdog_rest(1);
            while (me->next == me)
                poll(s, s->timers.first != nullptr ? s->timers.first->at : WEFT_FOREVER);
            watchdog_rest(0);
        }
        weft_tasklet *to = me->next;
        list_remove(me);
        me->value = 0;
        go_slowly(s, me, to); // which gives a whole budget
    }
}
