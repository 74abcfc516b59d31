// timer.cc: alarms: never early, in time, put off lazily; the wheel against a plain list.
#include "looped.h"

struct fired {
    int calls;
    int64_t when;
    int stop_at;
};

static void note_time(weft_alarm *a, void *arg)
{
    struct fired *f = (struct fired *)arg;
    f->calls++;
    f->when = weft_now();
    if (f->calls == f->stop_at)
        weft_loop_disarm(a);
}

LOOP_CASE(test_timer_errors)
{
    weft_loop *other = weft_loop_create(nullptr);
    weft_alarm a = {};
    struct fired f = {};
    assert_errno(weft_loop_arm(l, &a, 0, nullptr, nullptr, 1), EINVAL);
    assert_errno(weft_loop_arm(l, &a, -1, note_time, &f, 1), EINVAL);
    assert_errno(weft_loop_arm(l, &a, -1, note_time, &f, 1), EINVAL);
    assert_errno(weft_alarm_set(&a, 1), EINVAL);
    assert_errno(weft_loop_disarm(&a), EALREADY);
    assert_int_equal(weft_loop_arm(l, &a, 0, note_time, &f, weft_in_s(60)), 0);
    assert_ptr_equal(a.loop, l);
    assert_errno(weft_loop_arm(other, &a, 0, note_time, &f, 1), EBUSY);
    assert_errno(weft_loop_arm(l, &a, 0, nullptr, nullptr, 1), EINVAL);
    assert_ptr_equal(a.loop, l); // still
    assert_int_equal(weft_loop_disarm(&a), 0);
    assert_errno(weft_loop_disarm(&a), EALREADY);
    assert_int_equal(run_all(), 0);
    assert_int_equal(f.calls, 0);
    weft_loop_destroy(other);
}

static void never_early(bool old_kernel)
{
    events_exact = !old_kernel;
    for (int i = 0; i < 20; i++) {
        weft_alarm a = {};
        struct fired f = {};
        weft_deadline at = weft_in_us(100 + i * 130);
        assert_int_equal(weft_loop_arm(l, &a, 0, note_time, &f, at), 0);
        assert_int_equal(run_all(), 0);
        assert_int_equal(f.calls, 1);
        assert_true(f.when >= at);
        assert_int_equal(a.at, at);
        assert_null(a.loop);
    }
}

LOOP_CASE(test_timer_never_early)
{
    never_early(true);
    never_early(false);
}

// The loop sleeps until the time and not until some tick before.  (It may cross ticks that nothing
// lies in: those where the wheel's slots move down.)
LOOP_CASE(test_timer_costs_one_wake_up)
{
    weft_alarm a = {};
    struct fired f = {};
    f.stop_at = 50;
    weft_loop_arm(l, &a, 1700000, note_time, &f, weft_in_us(700));
    assert_int_equal(run_all(), 0);
    assert_in_range(l->stats.rounds, 1, 50 + 3);
}

LOOP_CASE(test_few_timers_in_order)
{
    enum { FEW = 16 };
    weft_alarm a[FEW] = {};
    struct fired f[FEW] = {};
    int64_t now = weft_now();
    for (int late = 0; late < 2; late++) { // each in time, and all late
        for (int i = 0; i < FEW; i++)
            weft_loop_arm(l, &a[i], 0, note_time, &f[i], now + 1500000 + i * 7 % FEW * 100000);
        while (late && weft_now() < now + 4000000)
            ;
        assert_int_equal(run_all(), 0);
        for (int i = 0; i < FEW; i++)
            for (int j = 0; j < FEW; j++)
                assert_true(i * 7 % FEW <= j * 7 % FEW || f[i].when >= f[j].when);
    }
}

static void note_if_early(weft_alarm *a, void *arg)
{
    calls++;
    if (weft_now() < a->at)
        *(bool *)arg = true;
}

// So many in a few ticks that each round finds some, with some put off and some stopped meanwhile.
LOOP_CASE(test_many_timers_at_their_times)
{
    enum { MANY = 2000, SPAN_NS = 3000000 };
    static weft_alarm a[MANY];
    bool early = false;
    int64_t now = weft_now();
    int stopped = 0;
    for (int i = 0; i < MANY; i++)
        weft_loop_arm(l, &a[i], 0, note_if_early, &early, now + i * 7919 % MANY * (SPAN_NS / MANY));
    for (int i = 0; l->stats.armed > 0; i++) {
        weft_alarm *x = &a[i % MANY];
        assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, weft_in_s(30)), 1);
        if (x->loop != nullptr && i % 3 == 0)
            stopped += weft_loop_disarm(x) == 0;
        else if (x->loop != nullptr && i % 3 == 1)
            weft_alarm_set(x, x->at + 100000);
        else if (x->loop != nullptr)
            weft_alarm_set(x, x->at - 100000);
    }
    assert_int_equal(calls + stopped, MANY);
    assert_false(early);
    assert_int_equal(l->near_count, 0);
    assert_int_equal(run_all(), 0);
}

LOOP_CASE(test_timer_at_once)
{
    weft_alarm a = {}, b = {};
    struct fired f = {};
    weft_loop_arm(l, &a, 0, note_time, &f, WEFT_NOW);
    weft_loop_arm(l, &b, 0, note_time, &f, WEFT_NOW);
    while (f.calls < 2)
        assert_int_equal(once(), 1);
    assert_int_equal(run_all(), 0);
}

LOOP_CASE(test_timer_repeats)
{
    weft_alarm a = {}, b = {};
    struct fired f = {}, g = {};
    f.stop_at = g.stop_at = 5;
    int64_t begin = weft_now();
    weft_loop_arm(l, &a, 2000000, note_time, &f, begin + 1000000);
    weft_loop_arm(l, &b, 300000, note_time, &g, begin + 100000);
    assert_int_equal(run_all(), 0);
    assert_int_equal(f.calls, 5);
    assert_int_equal(g.calls, 5);
    assert_true(f.when >= begin + 9000000);
    assert_true(g.when >= begin + 1300000);
    assert_int_equal((a.at - begin - 1000000) % 2000000, 0); // times are kept, not spans
}

LOOP_CASE(test_timer_leaves_missed_times_out)
{
    weft_alarm a = {};
    struct fired f = {};
    f.stop_at = 2;
    int64_t begin = weft_now() - 1000000000;
    weft_loop_arm(l, &a, 700000, note_time, &f, begin); // 1400 of them were missed
    assert_int_equal(once(), 1);
    assert_int_equal(f.calls, 1);
    assert_true(a.at > weft_loop_now(l));
    assert_true(a.at <= weft_loop_now(l) + 700000);
    assert_int_equal(run_all(), 0);
}

LOOP_CASE(test_timer_for_ever)
{
    weft_alarm a = {}, b = {}, c = {};
    struct fired f = {};
    weft_loop_arm(l, &a, 0, note_time, &f, WEFT_FOREVER);
    weft_loop_arm(l, &b, 0, note_time, &f, WEFT_FOREVER);
    weft_loop_arm(l, &c, INT64_MAX, note_time, &f, weft_now() - 5);
    assert_errno(weft_loop_run(l, WEFT_LOOP_ALL, weft_in_ms(2)), ETIMEDOUT);
    assert_int_equal(f.calls, 1);
    assert_int_equal(c.at, WEFT_FOREVER);
    assert_int_equal(weft_alarm_set(&a, WEFT_NOW), 0); // from far to near
    assert_int_equal(once(), 1);
    assert_int_equal(f.calls, 2);
    weft_loop_disarm(&b);
    weft_loop_disarm(&c);
    assert_int_equal(run_all(), 0);
}

LOOP_CASE(test_set_puts_off_without_moving)
{
    weft_alarm a = {};
    struct fired f = {};
    weft_loop_arm(l, &a, 0, note_time, &f, weft_in_ms(2));
    uint64_t tick = alarm_tick(&a);
    weft_deadline later = weft_in_ms(6);
    assert_int_equal(weft_alarm_set(&a, later), 0);
    assert_int_equal(alarm_tick(&a), tick);
    assert_int_equal(run_all(), 0);
    assert_int_equal(f.calls, 1);
    assert_true(f.when >= later);
}

LOOP_CASE(test_set_sooner_and_again)
{
    weft_alarm a = {}, b = {};
    struct fired f = {};
    weft_loop_arm(l, &a, 0, note_time, &f, weft_in_s(3600));
    weft_loop_arm(l, &b, 0, note_time, &f, weft_in_s(3600));
    assert_int_equal(weft_alarm_set(&a, weft_in_ms(1)), 0);
    assert_int_equal(weft_alarm_set(&b, weft_in_us(50)), 0); // this very tick: near
    assert_int_equal(weft_alarm_set(&b, weft_in_us(2000)), 0);
    assert_int_equal(weft_alarm_set(&b, weft_in_us(100)), 0);
    assert_int_equal(run_all(), 0);
    assert_int_equal(f.calls, 2);
    assert_int_equal(weft_alarm_set(&a, weft_in_us(10)), 0); // one that has gone off
    assert_ptr_equal(a.loop, l);
    assert_int_equal(run_all(), 0);
    assert_int_equal(f.calls, 3);
}

static void stop_the_other(weft_alarm *, void *arg)
{
    weft_alarm *other = (weft_alarm *)arg;
    if (other->loop != nullptr)
        weft_loop_disarm(other);
}

static void put_off_the_other(weft_alarm *, void *arg)
{
    weft_alarm_set((weft_alarm *)arg, weft_in_ms(4));
}

LOOP_CASE(test_stop_and_set_in_the_same_batch)
{
    weft_alarm a = {}, b = {};
    struct fired f = {};
    weft_deadline at = weft_in_us(200);
    weft_loop_arm(l, &a, 0, stop_the_other, &b, at);
    weft_loop_arm(l, &b, 0, note_time, &f, at);
    assert_int_equal(run_all(), 0);
    assert_int_equal(f.calls, 0);
    at = weft_in_us(200);
    weft_loop_arm(l, &a, 0, put_off_the_other, &b, at);
    weft_loop_arm(l, &b, 0, note_time, &f, at);
    assert_int_equal(run_all(), 0);
    assert_int_equal(f.calls, 1);
    assert_true(f.when >= at + 4000000 - 200000);
}

static void rearm_at_once(weft_alarm *a, void *arg)
{
    struct fired *f = (struct fired *)arg;
    if (++f->calls < 3)
        weft_alarm_set(a, WEFT_NOW);
}

LOOP_CASE(test_alarm_may_free_and_rearm_itself)
{
    weft_alarm *a = (weft_alarm *)calloc(1, sizeof *a), again = {};
    struct fired f = {};
    weft_loop_arm(
        l, a, 0, [](weft_alarm *self, void *) { free(self); }, nullptr, WEFT_NOW);
    weft_loop_arm(l, &again, 0, rearm_at_once, &f, WEFT_NOW);
    assert_int_equal(run_all(), 0);
    assert_int_equal(f.calls, 3);
}

LOOP_CASE(test_alarm_at_once_comes_in_the_next_round)
{
    weft_alarm a = {}, others[40] = {};
    struct fired f = {};
    f.calls = -997;
    for (weft_alarm &each : others) // some lie in the same tick
        weft_loop_arm(l, &each, 500000, count_alarm, &calls, weft_in_us(500));
    weft_loop_arm(l, &a, 0, rearm_at_once, &f, WEFT_NOW);
    while (a.loop != nullptr)
        assert_int_equal(once(), 1);
    assert_int_equal(f.calls, 3);
    assert_in_range(l->stats.rounds, 1000, 1001);
    for (weft_alarm &each : others)
        weft_loop_disarm(&each);
    assert_int_equal(run_all(), 0);
}

// ---- The wheel alone ----

static uint64_t next_random(void)
{
    static uint64_t x = 88172645463325252;
    x ^= x << 13, x ^= x >> 7;
    return x ^= x << 17;
}

enum { ALARMS = 400, STEPS = 3000 };

// Random ticks, near and far, with random stops and steps of the clock, against the definition:
// what is collected is exactly what is due, in the order of its ticks.
static void wheel_against_list(uint64_t begin)
{
    static wheel w;
    static weft_alarm a[ALARMS];
    bool filed[ALARMS] = {};
    auto tick_of = [](int i) { return alarm_tick(&a[i]); };
    uint64_t now = begin;
    wheel_init(&w, now + 1);
    for (int step = 0; step < STEPS; step++) {
        for (int k = 0; k < 8; k++) {
            uint64_t i = next_random() % ALARMS;
            if (filed[i]) {
                list_remove(&a[i].link);
                filed[i] = false;
                continue;
            }
            alarm_file(&a[i], now + 1 + (next_random() & ((1ull << next_random() % 34) - 1)),
                       false);
            wheel_add(&w, &a[i], tick_of((int)i));
            filed[i] = true;
        }
        uint64_t first = UINT64_MAX;
        for (int i = 0; i < ALARMS; i++)
            if (filed[i] && tick_of(i) < first)
                first = tick_of(i);
        assert_true(wheel_next(&w) <= first);
        uint64_t before = now;
        now += next_random() & ((1ull << next_random() % 32) - 1);
        weft_loop_link due;
        list_init(&due);
        wheel_collect(&w, now, &due);
        uint64_t last = 0;
        while (!list_is_empty(&due)) {
            weft_alarm *x = (weft_alarm *)due.next;
            list_remove(&x->link);
            if (alarm_tick(x) > now) { // from beyond the wheel's end: filed again
                wheel_add(&w, x, alarm_tick(x));
                continue;
            }
            // (Over the wheel's end, what waited there comes first.)
            assert_true(alarm_tick(x) >= last || before >> 32 != now >> 32);
            last = alarm_tick(x);
            filed[x - a] = false;
        }
        for (int i = 0; i < ALARMS; i++)
            assert_false(filed[i] && tick_of(i) <= now);
    }
}

CASE(test_wheel_against_a_list)
{
    wheel_against_list(0);
    wheel_against_list(255);
    wheel_against_list(UINT32_MAX - 1000);
    wheel_against_list((1ull << 40) - 2);
}

RUN_CASES()
