// loop_blocked.cc: which callback takes long, and what is counted.
#include "looped.h"

#include <weft/thread.h>

static void spin(int64_t ns)
{
    for (int64_t end = weft_now() + ns; weft_now() < end;)
        ;
}

static struct report {
    weft_loop_callback last;
    int count, inside;
} report;

static void on_blocked(weft_loop *, const weft_loop_callback *c, void *arg)
{
    struct report *r = (struct report *)arg;
    r->last = *c;
    r->count++;
}

static void slow_alarm(weft_alarm *, void *)
{
    weft_loop_callback c;
    spin(3000000);
    if (weft_loop_blocked(l, &c) == 1 && c.ns >= 3000000 && c.fn == (void (*)(void))slow_alarm)
        report.inside++;
}

static void slow_watch(weft_watch *w, int, void *)
{
    spin(2000000);
    weft_loop_unwatch(w);
}

static void slow_task(weft_task *, void *)
{
    spin(2000000);
}

LOOP_CASE(test_blocked_tells_which)
{
    weft_loop_options o = {};
    weft_loop_callback c;
    weft_loop_counters s;
    o.blocked_ns = 1500000;
    o.blocked = on_blocked;
    o.arg = &report;
    loop_create(&o);
    assert_int_equal(weft_loop_blocked(l, &c), 0);
    weft_loop_arm(l, &h.a, 0, slow_alarm, nullptr, WEFT_NOW);
    assert_int_equal(run_all(), 0);
    assert_int_equal(report.count, 1);
    assert_int_equal(report.inside, 1);
    assert_string_equal(report.last.kind, "alarm");
    assert_true(report.last.ns >= 3000000);
    assert_int_equal(weft_loop_watch(l, &h.w, p[1], WEFT_WRITE, slow_watch, nullptr), 0);
    assert_int_equal(run_all(), 0);
    assert_string_equal(report.last.kind, "watch");
    assert_int_equal(report.last.fd, p[1]);
    assert_ptr_equal((void *)report.last.fn, (void *)slow_watch);
    h.t = task(slow_task);
    weft_loop_post(l, &h.t);
    assert_int_equal(run_all(), 0);
    assert_string_equal(report.last.kind, "task");
    assert_int_equal(weft_loop_statistics(l, &s), 0);
    assert_true(s.blocked >= 3);
    assert_int_equal(s.blocked, report.count);
    assert_true(s.lag_max_ns >= 3000000);
    assert_int_equal(weft_loop_blocked(l, &c), 0);
}

LOOP_CASE(test_blocked_says_it_on_stderr)
{
    weft_loop_options o = {};
    char line[512] = "";
    int keep = dup(2);
    o.blocked_ns = 1000000;
    loop_create(&o);
    h.t = task(slow_task);
    weft_loop_post(l, &h.t);
    dup2(p[1], 2);
    run_all();
    dup2(keep, 2);
    close(keep);
    assert_true(read(p[0], line, sizeof line - 1) > 0);
    assert_non_null(strstr(line, "blocked the loop for "));
    assert_non_null(strstr(line, "task"));
}

static uint32_t saw; // atomic

static void *watch_the_loop(void *)
{
    weft_loop_callback c;
    while (weft_loop_blocked(l, &c) == 0 || c.ns < 1000000)
        ;
    __atomic_store_n(&saw, strcmp(c.kind, "task") == 0 ? 1 : 2, __ATOMIC_RELEASE);
    return nullptr;
}

LOOP_CASE(test_blocked_from_a_watchdog_thread)
{
    weft_loop_options o = {};
    o.blocked_ns = INT64_MAX;
    loop_create(&o);
    h.t = task([](weft_task *, void *) {
        while (__atomic_load_n(&saw, __ATOMIC_ACQUIRE) == 0)
            ;
    });
    weft_thread *th = weft_thread_start(watch_the_loop, nullptr, nullptr);
    weft_loop_post(l, &h.t);
    assert_int_equal(run_all(), 0);
    weft_thread_join(th, nullptr, WEFT_FOREVER);
    assert_int_equal(saw, 1);
}

LOOP_CASE(test_stats_count)
{
    weft_loop_counters s;
    h.t = task(count_task, &calls);
    weft_loop_arm(l, &h.a, 0, count_alarm, &calls, weft_in_s(60));
    weft_loop_watch(l, &h.w, p[1], WEFT_WRITE, count_watch, &calls);
    weft_loop_defer(l, &h.t);
    assert_int_equal(once(), 1);
    assert_int_equal(weft_loop_statistics(l, &s), 0);
    assert_true(s.watches == 1 && s.armed == 1);                                  // there are
    assert_true(s.events == 1 && s.tasks == 1 && s.alarms == 0 && s.rounds == 1); // there were
    weft_alarm_set(&h.a, WEFT_NOW);
    weft_loop_unwatch(&h.w);
    assert_int_equal(run_all(), 0);
    assert_int_equal(weft_loop_statistics(l, &s), 0);
    assert_int_equal(s.alarms, 1);
    assert_int_equal(s.watches, 0);
    assert_int_equal(s.armed, 0);
    assert_true(weft_loop_now(l) <= weft_now() && weft_loop_now(l) > weft_now() - 30000000000);
}

RUN_CASES()
