// scheduler.cc: the slow side of a switch between tasklets (scheduler.h), and the keeper.
//
// Every so many switches the one who gives way looks at the clock: it fires the timers itself and
// lets the poller have a turn when that is due.
//
// The keeper is a coroutine with a stack of its own that is in the ring only while the poller has a
// turn, or nobody else is ready: it then waits for the next deadline or event.  If there can
// be none, all wait for one another: the main tasklet, which is one of them, is told.
#include "scheduler.h"

#include <base/saved_errno.h>
#include <base/timespec.h>

#include <stdio.h>
#include <string.h>

static const uint32_t BUDGET = 64;
static const int64_t POLL_INTERVAL = 100000;
static const size_t KEEPER_STACK = (size_t)256 << 10;

// ---- The thread ----

// Who runs before the thread's first call: alone, and refused everything.
static constexpr weft_tasklet nobody(void)
{
    weft_tasklet t = {};
    t.next = t.previous = &weft_private_no_tasklet;
    t.cancelled = EPERM;
    return t;
}

static constexpr weft_private_scheduler outside(void)
{
    weft_private_scheduler s = {};
    s.running = &weft_private_no_tasklet;
    return s;
}

weft_tasklet weft_private_no_tasklet = nobody();
__thread weft_private_scheduler weft_private_sched = outside();

static void *keep(void *arg, void *first);
static void describe(void);
static weft_coro *shelter(void);
static void thread_end(int last);

static int start(weft_private_scheduler *s)
{
    weft_coro_options o;
    weft_private_coro_thread *t = weft_private_coro_enter();
    if (t == nullptr)
        return -1;
    memset(&o, 0, sizeof o);
    o.name = "(scheduler)";
    o.stack_size = KEEPER_STACK;
    weft_coro *co = weft_private_coro_create(keep, s, &o, sizeof(weft_tasklet));
    if (co == nullptr)
        return -1;
    weft_private_coro_own(co);
    weft_private_coro_adopt(&t->main, co);
    co->special |= WEFT_SPECIAL_BLOCKED;
    weft_tasklet *keeper = (weft_tasklet *)weft_private_coro_extra(co, sizeof(weft_tasklet));
    keeper->coro = keeper->leaf = co;
    keeper->home = s;
    keeper->cancelled = EPERM;
    weft_tasklet *m = &s->main;
    memset(m, 0, sizeof *m);
    m->next = m->previous = m;
    m->coro = m->leaf = &t->main;
    m->home = m->free_at = s;
    m->own.tasklet = m;
    m->own.index = WEFT_PRIVATE_PLAIN;
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

weft_private_scheduler *weft_private_sched_enter(void)
{
    weft_private_scheduler *s = &weft_private_sched;
    return s->running != &weft_private_no_tasklet || start(s) == 0 ? s : nullptr;
}

// A coroutine has ended and whoever should get its result waits elsewhere: the tasklet in which
// it ran does.
static weft_coro *shelter(void)
{
    return weft_private_sched.running->coro;
}

// Says in the coroutines what their tasklets wait for.
static void describe(void)
{
    static const char *const what[] = {
        nullptr,    "receive from", "send to",    "send to",   "one of several channels",
        "sleep",    "a wake",       "the end of", "its scope", "all to end",
        "an event", "a wake",       nullptr};
    weft_private_scheduler *s = &weft_private_sched;
    weft_coro *eldest = weft_private_coro.main.children, *co = eldest;
    weft_private_describe(&s->main, what[s->main.state & ~WEFT_IS_TIMED]);
    do {
        weft_tasklet *t = (weft_tasklet *)weft_private_coro_extra(co, sizeof(weft_tasklet));
        if (co->on_end == weft_private_tasklet_ended)
            weft_private_describe(t, what[t->state & ~WEFT_IS_TIMED]);
        co = co->younger;
    } while (co != eldest);
}

// Before: nobody waits any more, nor can; the deferred functions that run now meet this.  After:
// as if there had been no call.
static void thread_end(int last)
{
    weft_private_scheduler *s = &weft_private_sched;
    if (last) {
        weft_private_watchdog_end();
        memset(s, 0, sizeof *s);
        s->running = &weft_private_no_tasklet;
        weft_private_coro.before_dump = nullptr;
        weft_private_coro.scheduler_end = nullptr;
        return;
    }
    s->ending = 1;
    s->corpse = nullptr;
    weft_coro *eldest = weft_private_coro.main.children, *co = eldest;
    do {
        if (co->on_end == weft_private_tasklet_ended) {
            weft_tasklet *t = (weft_tasklet *)weft_private_coro_extra(co, sizeof(weft_tasklet));
            weft_private_untie(t);
            t->state = WEFT_IS_ENDED;
        }
        co = co->younger;
    } while (co != eldest); // the keeper is one of them
    s->main.next = s->main.previous = &s->main;
    s->main.cancelled = ECANCELED;
    s->main.free_at = nullptr;
}

void weft_private_bury(weft_private_scheduler *s)
{
    weft_tasklet *t = s->corpse;
    if (t == nullptr)
        return;
    s->corpse = nullptr;
    weft_private_coro_release(t->coro);
}

// ---- Waits ----

int weft_private_refusal(weft_private_scheduler *s, weft_deadline d)
{
    const weft_coro *self = weft_private_coro.current;
    if (d <= WEFT_NOW)
        return 0;
    if (s->running->cancelled != 0)
        return (int)s->running->cancelled;
    return self->special & WEFT_SPECIAL_CANCELLED ? self->error : 0;
}

int weft_private_deadline(weft_private_scheduler *s, weft_deadline d)
{
    if (d == WEFT_FOREVER)
        return 0;
    weft_private_timer_add(&s->timers, &s->running->timer, d);
    return WEFT_IS_TIMED;
}

int weft_private_tasklet_park(weft_private_scheduler *s, int state, intptr_t value, weft_deadline d)
{
    return weft_private_block(s, s->running, state | weft_private_deadline(s, d), value);
}

void weft_private_untie(weft_tasklet *t)
{
    int state = t->state & ~WEFT_IS_TIMED;
    if (t->state != state)
        weft_private_timer_remove(&t->home->timers, &t->timer);
    if (state >= WEFT_IS_RECEIVING && state < WEFT_IS_SELECTING)
        weft_private_waiter_remove(&t->own);
    t->own.index = WEFT_PRIVATE_PLAIN;
    if (state == WEFT_IS_SELECTING)
        for (int i = 0; i < t->n; i++)
            if (t->cases[i].channel != nullptr)
                weft_private_waiter_remove(&t->cases[i].waiter);
    if (state == WEFT_IS_JOINING)
        t->joins->joiner = nullptr;
    t->joins = nullptr;
}

void weft_private_pend(weft_tasklet *t, int error)
{
    t->leaf->error = error;
    t->leaf->special |= WEFT_SPECIAL_PENDING;
}

void weft_private_unpark_error(weft_tasklet *t, int error)
{
    int state = t->state & ~WEFT_IS_TIMED;
    if (state == WEFT_IS_READY || state >= WEFT_IS_REMOVED)
        return;
    weft_private_pend(t, error);
    weft_private_tasklet_unpark(t->home, t);
}

// ---- Switches ----

static weft_tasklet *tasklet_of(weft_private_timer *timer)
{
    return (weft_tasklet *)(void *)((char *)timer - offsetof(weft_tasklet, timer));
}

static void fire(weft_private_scheduler *s, int64_t now)
{
    while (s->timers != nullptr && s->timers->at <= now) {
        weft_tasklet *t = tasklet_of(s->timers);
        if (t->state == (WEFT_IS_SLEEPING | WEFT_IS_TIMED))
            weft_private_tasklet_unpark(s, t);
        else
            weft_private_unpark_error(t, ETIMEDOUT);
    }
}

// The quick switch may have found out already.
static int spent(weft_private_scheduler *s)
{
    return s->budget == 0 || --s->budget == 0;
}

// The budget is spent: who is next, instead of `to`?
static weft_tasklet *look_around(weft_private_scheduler *s, weft_tasklet *to)
{
    s->budget = BUDGET;
    s->rounds++;
    if (to == s->keeper || (s->timers == nullptr && s->poller == nullptr))
        return to;
    int64_t now = weft_now();
    s->running = to; // the ring's last place is before it
    fire(s, now);
    if (s->poller == nullptr)
        return to;
    int64_t interval = s->poller->interval > 0 ? s->poller->interval : POLL_INTERVAL;
    if (now - s->polled < interval)
        return to;
    weft_private_ring_insert(to, s->keeper);
    return s->keeper;
}

static void block(weft_tasklet *t, weft_coro *leaf)
{
    t->leaf = leaf;
    if (leaf != t->coro)
        t->coro->special |= WEFT_SPECIAL_BLOCKED | WEFT_SPECIAL_NESTED;
    leaf->special |= WEFT_SPECIAL_BLOCKED;
}

static weft_coro *unblock(weft_tasklet *t)
{
    weft_coro *leaf = t->leaf;
    t->leaf = t->coro;
    t->coro->special &= ~(uint32_t)(WEFT_SPECIAL_BLOCKED | WEFT_SPECIAL_NESTED);
    leaf->special &= ~(uint32_t)WEFT_SPECIAL_BLOCKED;
    return leaf;
}

int weft_private_go_slowly(weft_private_scheduler *s, weft_tasklet *me, weft_tasklet *to)
{
    weft_coro *self = weft_private_coro.current;
    block(me, self);
    if (me == s->keeper)
        s->budget = BUDGET; // it has just looked
    else if (spent(s))
        to = look_around(s, to);
    s->running = to;
    weft_coro *co = unblock(to);
    return (int)(intptr_t)weft_private_coro_transfer(self, co, (void *)to->value);
}

weft_coro *weft_private_next(weft_private_scheduler *s, weft_tasklet *dead, void **value)
{
    weft_tasklet *to = dead->next;
    if (to == dead) {
        weft_private_ring_insert(dead, s->keeper);
        to = s->keeper;
    }
    weft_private_ring_remove(dead);
    if (spent(s))
        to = look_around(s, to);
    s->running = to;
    *value = (void *)to->value;
    return unblock(to);
}

int weft_private_look_around(weft_private_scheduler *s)
{
    weft_tasklet *me = s->running;
    if (!spent(s))
        return 0;
    weft_tasklet *to = look_around(s, me);
    s->running = me;
    if (to == me)
        to = me->next;
    return to != me ? weft_private_go(s, me, to) : 0;
}

// ---- The keeper ----

static void deadlock(weft_private_scheduler *s)
{
    fputs("weft: deadlock: no tasklet of this thread can ever go on\n", stderr);
    weft_coro_dump(stderr);
    weft_private_unpark_error(&s->main, EDEADLK);
}

// Until the next deadline, which may be never.
static void sleep_until(weft_private_scheduler *s)
{
    if (s->timers == nullptr) {
        deadlock(s);
        return;
    }
    struct timespec t = weft_timespec(s->timers->at);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr);
}

static void poll(weft_private_scheduler *s, weft_deadline d)
{
    int r = 0;
    if (s->poller != nullptr)
        r = s->poller->poll(s->poller, d);
    if (r < 0)
        weft_private_unpark_error(&s->main, errno);
    else if (r == 0 && d != WEFT_NOW && s->keeper->next == s->keeper)
        sleep_until(s);
    int64_t now = s->timers != nullptr || s->poller != nullptr ? weft_now() : 0;
    s->polled = now;
    fire(s, now);
}

static void *keep(void *arg, void *first)
{
    weft_private_scheduler *s = (weft_private_scheduler *)arg;
    weft_tasklet *me = s->keeper;
    (void)first;
    for (;;) {
        weft_private_bury(s);
        if (me->next != me) {
            poll(s, WEFT_NOW);
        } else {
            weft_private_watchdog_rest(1);
            while (me->next == me)
                poll(s, s->timers != nullptr ? s->timers->at : WEFT_FOREVER);
            weft_private_watchdog_rest(0);
        }
        weft_tasklet *to = me->next;
        weft_private_ring_remove(me);
        me->value = 0;
        weft_private_go_slowly(s, me, to); // which gives a whole budget
    }
}
