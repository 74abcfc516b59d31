// timer.cc: alarms on the wheel.
//
// An ordinary alarm is filed under the first tick that doesn't begin before its time, so that it
// is never early; a precise one under the tick in which its time lies: when that begins it goes to
// `near`, sorted, and the loop sleeps until the first of those.
//
// An alarm that is put off is not moved: `at` says when it is due, `filed` where it lies, and what
// is collected before its time is filed again.  A timeout that each request puts off costs a store
// a request and one move a period.
#include "loop_state.h"

using namespace weft;

enum { ORDINARY, PRECISE, NEAR };

static inline uint64_t tick_for(uint32_t kind, weft_deadline at)
{
    return kind == ORDINARY ? tick_after(at) : tick_of(at);
}

// Puts it into `near`, behind those due before.
static void put_near(weft_loop *l, weft_alarm *a)
{
    weft_loop_link *at = &l->near;
    while (at->previous != &l->near && ((weft_alarm *)at->previous)->at > a->at)
        at = at->previous;
    list_insert(at, &a->link);
    alarm_file(a, alarm_tick(a), NEAR);
}

static inline void file(weft_loop *l, weft_alarm *a, uint64_t tick, uint32_t kind)
{
    alarm_file(a, tick, kind == NEAR ? (uint32_t)PRECISE : kind);
    if (kind != ORDINARY && tick < l->wheel.tick)
        put_near(l, a);
    else
        wheel_add(&l->wheel, a, tick);
}

static void file_again(weft_loop *l, weft_alarm *a)
{
    uint32_t kind = alarm_kind(a);
    file(l, a, tick_for(kind, a->at), kind);
}

// An alarm that is not armed keeps its loop in its link, for weft_alarm_set.
static weft_loop *home_of(const weft_alarm *a)
{
    return a->loop != nullptr ? a->loop : (weft_loop *)(void *)a->link.previous;
}

static void disarm(weft_loop *l, weft_alarm *a)
{
    list_remove(&a->link);
    a->link.previous = (weft_loop_link *)(void *)l;
    a->loop = nullptr;
    l->stats.armed--;
}

// With nothing armed the wheel stood still: brings it to the present, which skips the rest.
static __attribute__((noinline)) void catch_up(weft_loop *l)
{
    uint64_t now = tick_of(weft_now());
    if (now > l->wheel.tick && list_is_empty(&l->due))
        wheel_collect(&l->wheel, now - 1, &l->due);
}

static inline void arm(weft_loop *l, weft_alarm *a, weft_deadline at, uint32_t kind)
{
    if (__builtin_expect(l->stats.armed++ == 0, 0))
        catch_up(l);
    a->loop = l;
    a->at = at;
    file(l, a, tick_for(kind, at), kind);
}

// Before an alarm is started that is armed, or in a loop that must be looked at.
static __attribute__((noinline)) int prepare(weft_loop *l, weft_alarm *a)
{
    if (loop_enter(l) != 0)
        return -1;
    if (a->loop != nullptr && a->loop != l)
        return fail_with(EBUSY);
    if (a->loop != nullptr)
        disarm(l, a);
    return 0;
}

// Inlined into both, for each to have its kind as a constant: this is done very often.
static inline __attribute__((always_inline)) int start(weft_loop *l, weft_alarm *a,
                                                       weft_deadline at, int64_t every_ns,
                                                       void (*fn)(weft_alarm *a), void *arg,
                                                       uint32_t kind)
{
    if (fn == nullptr || every_ns < 0)
        return fail_with(EINVAL);
    bool plain = loop_ready(l) && a->loop == nullptr;
    if (__builtin_expect(!plain, 0) && prepare(l, a) != 0)
        return -1;
    if (kind == PRECISE)
        l->any_precise = true;
    a->fn = fn;
    a->arg = arg;
    a->every = every_ns;
    arm(l, a, at, kind);
    loop_changed(l);
    return 0;
}

int weft_loop_timer(weft_loop *l, weft_alarm *a, weft_deadline at, int64_t every_ns,
                    void (*fn)(weft_alarm *a), void *arg)
{
    return start(l, a, at, every_ns, fn, arg, ORDINARY);
}

int weft_loop_precise_timer(weft_loop *l, weft_alarm *a, weft_deadline at, int64_t every_ns,
                            void (*fn)(weft_alarm *a), void *arg)
{
    return start(l, a, at, every_ns, fn, arg, PRECISE);
}

int weft_alarm_set(weft_alarm *a, weft_deadline at)
{
    weft_loop *l = home_of(a);
    if (l == nullptr)
        return fail_with(EINVAL);
    if (loop_enter(l) != 0)
        return -1;
    uint32_t kind = alarm_kind(a);
    if (a->loop == nullptr) {
        arm(l, a, at, kind);
    } else {
        uint64_t tick = tick_for(kind, at);
        a->at = at;
        if (kind != NEAR && tick >= alarm_tick(a))
            return 0; // it lies early enough
        list_remove(&a->link);
        file(l, a, tick, kind);
    }
    loop_changed(l);
    return 0;
}

int weft_alarm_stop(weft_alarm *a)
{
    weft_loop *l = a->loop;
    if (loop_enter_of(l) != 0)
        return -1;
    disarm(l, a);
    return 0;
}

// ---- In the loop ----

weft_deadline weft::loop_next_alarm(weft_loop *l)
{
    if (l->stats.armed == 0)
        return WEFT_FOREVER;
    weft_deadline next = tick_begins(wheel_next(&l->wheel));
    if (!list_is_empty(&l->near)) {
        const weft_alarm *a = (const weft_alarm *)l->near.next;
        next = a->at < next ? a->at : next;
    }
    return next;
}

// The next time after now, a whole number of periods from the last.
static weft_deadline next_time(const weft_alarm *a, int64_t now)
{
    int64_t missed = a->at < now ? (now - a->at) / a->every : 0, step;
    weft_deadline next;
    if (__builtin_mul_overflow(a->every, missed + 1, &step) ||
        __builtin_add_overflow(a->at, step, &next))
        return WEFT_FOREVER;
    return next;
}

static void call(weft_loop *l, weft_alarm *a)
{
    // WEFT_NOW and other times long gone count as now: they are neither late nor missed periods.
    if (a->at <= 0)
        a->at = l->now;
    if (l->now - a->at > l->stats.late_max_ns)
        l->stats.late_max_ns = l->now - a->at;
    if (a->every == 0) {
        disarm(l, a);
    } else {
        list_remove(&a->link);
        a->at = next_time(a, l->now);
        file_again(l, a);
    }
    l->stats.alarms++;
    loop_call(l, "alarm", -1, a);
}

// Precise alarms are called in the order of their times, also when several are late.
static void sort_precise(weft_loop *l)
{
    for (weft_loop_link *next, *i = l->due.next; i != &l->due; i = next) {
        next = i->next;
        weft_alarm *a = (weft_alarm *)i;
        uint32_t kind = alarm_kind(a);
        if (kind == ORDINARY || tick_for(kind, a->at) >= l->wheel.tick)
            continue;
        list_remove(i);
        put_near(l, a);
    }
    while (!list_is_empty(&l->near) && ((weft_alarm *)l->near.next)->at <= l->now) {
        weft_loop_link *first = l->near.next;
        list_remove(first);
        list_insert(&l->due, first);
    }
}

size_t weft::loop_run_alarms(weft_loop *l)
{
    if (l->stats.armed == 0)
        return 0;
    size_t called = 0;
    wheel_collect(&l->wheel, tick_of(l->now), &l->due);
    if (l->any_precise)
        sort_precise(l);
    while (!list_is_empty(&l->due)) {
        weft_alarm *a = (weft_alarm *)l->due.next;
        if (a->at <= l->now) {
            call(l, a);
            called++;
            continue;
        }
        list_remove(&a->link); // it was put off
        file_again(l, a);
    }
    return called;
}

static void drop(weft_loop_link *list)
{
    for (weft_loop_link *next, *i = list->next; i != list; i = next) {
        next = i->next;
        *i = {}; // it has no loop any more to be set in
        ((weft_alarm *)i)->loop = nullptr;
    }
}

void weft::loop_drop_alarms(weft_loop *l)
{
    drop(&l->near);
    for (weft_loop_link &slot : l->wheel.slots)
        drop(&slot);
}
