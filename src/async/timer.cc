// timer.cc: alarms on the wheel.
//
// An alarm is filed under the tick in which its time lies.  When that begins it goes to `near`,
// which is in no order: `look` says when to look through it, at the first time of those in it. With
// more than a few in it the next look waits for PATIENCE at least, so that each alarm is looked at
// no more often than a tick has room for that.  What is due when it is armed goes to `soon`, for
// the next round.
//
// An alarm that is put off is not moved: `at` says when it is due, `filed` where it lies, and what
// is collected before its time is filed again.  A timeout that each request puts off costs a store
// a request and one move a period.
#include "loop_state.h"

using namespace weft;

enum { FEW = 16, PATIENCE = 1 << 16 };

// Files one whose tick has begun.
static __attribute__((noinline)) void put_begun(weft_loop *l, weft_alarm *a)
{
    if (a->at <= l->now) {
        list_insert(&l->soon, &a->link);
        return;
    }
    alarm_file(a, alarm_tick(a), true);
    list_insert(&l->near, &a->link);
    if (a->at < l->look)
        l->look = a->at;
    if (++l->near_count > FEW && l->look < l->looked + PATIENCE)
        l->look = l->looked + PATIENCE;
}

static inline void file(weft_loop *l, weft_alarm *a)
{
    uint64_t tick = tick_of(a->at);
    alarm_file(a, tick, false);
    if (tick < l->wheel.tick)
        put_begun(l, a);
    else
        wheel_add(&l->wheel, a, tick);
}

static inline void take_out(weft_loop *l, weft_alarm *a)
{
    list_remove(&a->link);
    if (alarm_is_near(a) && --l->near_count == 0)
        l->look = WEFT_FOREVER;
}

// An alarm that is not armed keeps its loop in its link, for weft_alarm_set.
static weft_loop *home_of(const weft_alarm *a)
{
    return a->loop != nullptr ? a->loop : (weft_loop *)(void *)a->link.previous;
}

static void disarm(weft_loop *l, weft_alarm *a)
{
    take_out(l, a);
    a->link.previous = (weft_loop_link *)(void *)l;
    a->loop = nullptr;
    l->stats.armed--;
}

// With nothing armed the wheel stood still: brings it to the present, which skips the rest.
static __attribute__((noinline)) void catch_up(weft_loop *l)
{
    uint64_t now = tick_of(weft_now());
    if (now > l->wheel.tick)
        wheel_collect(&l->wheel, now - 1, &l->due);
}

static inline void arm(weft_loop *l, weft_alarm *a, weft_deadline at)
{
    if (__builtin_expect(l->stats.armed++ == 0, 0))
        catch_up(l);
    a->loop = l;
    a->at = at;
    file(l, a);
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

int weft_loop_arm(weft_loop *l, weft_alarm *a, int64_t every_ns, void (*fn)(weft_alarm *a, void *),
                  void *arg, weft_deadline at)
{
    if (l == nullptr || a == nullptr || fn == nullptr || every_ns < 0)
        return fail_with(EINVAL);
    bool plain = loop_ready(l) && a->loop == nullptr;
    if (__builtin_expect(!plain, 0) && prepare(l, a) != 0)
        return -1;
    a->fn = fn;
    a->arg = arg;
    a->every = every_ns;
    arm(l, a, at);
    loop_changed(l);
    return 0;
}

int weft_alarm_set(weft_alarm *a, weft_deadline at)
{
    if (a == nullptr)
        return fail_with(EINVAL);
    weft_loop *l = home_of(a);
    if (l == nullptr)
        return fail_with(EINVAL);
    if (loop_enter(l) != 0)
        return -1;
    if (a->loop == nullptr) {
        arm(l, a, at);
    } else {
        bool early_enough = at >= a->at || tick_of(at) > alarm_tick(a);
        a->at = at;
        if (early_enough)
            return 0;
        take_out(l, a);
        file(l, a);
    }
    loop_changed(l);
    return 0;
}

int weft_loop_disarm(weft_alarm *a)
{
    weft_loop *l = loop_enter_of(a);
    if (l == nullptr)
        return -1;
    disarm(l, a);
    return 0;
}

// ---- In the loop ----

// When to look at the wheel: when its next tick begins, or at the time of the only one that lies in
// that, which saves a look.
static weft_deadline next_in_wheel(weft_loop *l)
{
    uint64_t tick = wheel_next(&l->wheel);
    const weft_loop_link *slot = &l->wheel.slots[tick % WHEEL_SLOTS], *only = slot->next;
    bool at_level_0 = (tick ^ l->wheel.tick) < WHEEL_SLOTS;
    if (!at_level_0 || only->next != slot)
        return tick_begins(tick);
    weft_deadline at = ((const weft_alarm *)only)->at, ends = tick_begins(tick + 1);
    return at < ends ? at : ends; // it may have been put off
}

weft_deadline weft::loop_next_alarm(weft_loop *l)
{
    if (l->stats.armed == 0)
        return WEFT_FOREVER;
    if (!list_is_empty(&l->soon))
        return WEFT_NOW;
    weft_deadline next = next_in_wheel(l);
    return l->look < next ? l->look : next;
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
        take_out(l, a);
        a->at = next_time(a, l->now);
        file(l, a);
    }
    l->stats.alarms++;
    loop_call(l, "alarm", -1, a);
}

// A few that are due together are called in the order of their times.
static void sort_few(weft_loop_link *list)
{
    int n = 0;
    for (const weft_loop_link *i = list->next; i != list; i = i->next)
        if (++n > FEW)
            return;
    for (weft_loop_link *next, *i = list->next; i != list; i = next) {
        weft_loop_link *at = i;
        next = i->next;
        while (at->previous != list && ((weft_alarm *)at->previous)->at > ((weft_alarm *)i)->at)
            at = at->previous;
        if (at == i)
            continue;
        list_remove(i);
        list_insert(at, i);
    }
}

size_t weft::loop_run_alarms(weft_loop *l)
{
    if (l->stats.armed == 0)
        return 0;
    size_t called = 0;
    list_splice(&l->due, &l->soon);
    if (l->look <= l->now) {
        list_splice(&l->due, &l->near);
        l->look = WEFT_FOREVER;
        l->looked = l->now;
    }
    wheel_collect(&l->wheel, tick_of(l->now), &l->due);
    sort_few(&l->due);
    while (!list_is_empty(&l->due)) {
        weft_alarm *a = (weft_alarm *)l->due.next;
        if (a->at <= l->now) {
            call(l, a);
            called++;
            continue;
        }
        take_out(l, a); // it was put off, or its tick has only begun
        file(l, a);
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
    drop(&l->soon);
    for (weft_loop_link &slot : l->wheel.slots)
        drop(&slot);
}
