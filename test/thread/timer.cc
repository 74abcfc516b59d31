// Timers: when they call, once and again; cancel, join, and what a function may do to its thread.
#include "asleep.h"

#include <weft/sync.h>
#include <weft/thread.h>

#include <sys/wait.h>

struct alarm_case {
    weft_event fired, go;
    int64_t at;
    weft_timer *self;
    int join_error;
};

static void ring(void *arg)
{
    alarm_case *c = (alarm_case *)arg;
    c->at = weft_now();
    weft_event_set(&c->fired);
    weft_event_wait(&c->go, WEFT_FOREVER);
    c->join_error = weft_timer_join(c->self, WEFT_FOREVER) == -1 ? errno : 0;
}

CASE(test_timer_fires_never_early)
{
    alarm_case c = {};
    weft_deadline at = weft_in_ms(10);
    c.self = weft_timer_start(ring, &c, nullptr, at);
    assert_non_null(c.self);
    assert_int_equal(weft_event_wait(&c.fired, weft_in_s(60)), 0);
    assert_true(c.at >= at);
    assert_errno(weft_timer_join(c.self, weft_in_ms(1)), ETIMEDOUT);
    assert_errno(weft_timer_cancel(c.self), EALREADY);
    weft_event_set(&c.go);
    assert_int_equal(weft_timer_join(c.self, WEFT_FOREVER), 1);
    assert_int_equal(c.join_error, EDEADLK);
}

CASE(test_timer_cancel)
{
    alarm_case c = {};
    weft_timer *t = weft_timer_start(ring, &c, nullptr, weft_in_s(3600));
    assert_int_equal(weft_timer_cancel(t), 0);
    assert_errno(weft_timer_cancel(t), EALREADY);
    assert_int_equal(weft_timer_join(t, WEFT_FOREVER), 0);
    assert_false(weft_event_is_set(&c.fired));
    assert_errno(weft_timer_start(nullptr, nullptr, nullptr, weft_in_ms(1)), EINVAL);
    assert_errno(weft_timer_start(ring, nullptr, nullptr, WEFT_FOREVER), EINVAL);
    weft_timer_options o = {-1, false};
    assert_errno(weft_timer_start(ring, nullptr, &o, WEFT_NOW), EINVAL);
}

static void count(void *word)
{
    add_word((int *)word);
}

// A cancel that succeeded means that the function is never called, one that failed that it was.
CASE(test_timer_races_cancel)
{
    int fired = 0, cancelled = 0, called = 0;
    for (int i = 0; i < 300; i++) {
        weft_timer *t = weft_timer_start(count, &fired, nullptr, weft_in_us(i % 100));
        for (int spin = 0; spin < i % 50; spin++)
            sched_yield();
        cancelled += weft_timer_cancel(t) == 0;
        called += weft_timer_join(t, WEFT_FOREVER);
    }
    assert_int_equal(fired, called);
    assert_int_equal(fired + cancelled, 300);
}

static size_t timer_threads(void)
{
    weft_thread_information row[16];
    size_t n = weft_thread_list(row, 16), found = 0;
    assert_true(n <= 16);
    while (n-- > 0)
        found += strcmp(row[n].name, "weft-timer") == 0;
    return found;
}

struct called {
    int *order, place;
};

static void note_order(void *arg)
{
    called *c = (called *)arg;
    c->place = __atomic_fetch_add(c->order, 1, __ATOMIC_ACQ_REL);
}

CASE(test_many_timers_have_one_thread)
{
    enum { MANY = 1000 };
    static called each[MANY];
    static weft_timer *timer[MANY];
    int order = 0;
    alarm_case first = {}; // holds up the thread until all are there
    weft_deadline at = weft_in_ms(1);
    first.self = weft_timer_start(ring, &first, nullptr, WEFT_NOW);
    assert_int_equal(weft_event_wait(&first.fired, WEFT_FOREVER), 0);
    for (int i = 0; i < MANY; i++) {
        each[i].order = &order;
        timer[i] = weft_timer_start(note_order, &each[i], nullptr, at + (i * 7 % 10) * 1000000);
        assert_non_null(timer[i]);
    }
    assert_int_equal(timer_threads(), 1);
    weft_event_set(&first.go);
    assert_int_equal(weft_timer_join(first.self, WEFT_FOREVER), 1);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(weft_timer_join(timer[i], WEFT_FOREVER), 1);
    for (int i = 0; i < MANY; i++)
        for (int k = i % 10; k < MANY; k += 99)
            if (i * 7 % 10 < k * 7 % 10 || (i * 7 % 10 == k * 7 % 10 && i < k))
                assert_true(each[i].place < each[k].place);
}

CASE(test_the_thread_ends_when_it_has_been_idle)
{
    int fired = 0;
    weft_timer *t = weft_timer_start(count, &fired, nullptr, WEFT_NOW);
    assert_int_equal(weft_timer_join(t, WEFT_FOREVER), 1);
    while (timer_threads() != 0)
        usleep(1000);
    t = weft_timer_start(count, &fired, nullptr, WEFT_NOW);
    assert_int_equal(weft_timer_join(t, WEFT_FOREVER), 1);
    assert_int_equal(fired, 2);
}

CASE(test_periodic_timer)
{
    int fired = 0;
    weft_timer_options o = {1000000, false};
    int64_t start = weft_now();
    weft_timer *t = weft_timer_start(count, &fired, &o, weft_in_ms(1));
    await_word(&fired, 5);
    assert_true(weft_now() - start >= 5000000);
    assert_errno(weft_timer_join(t, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_timer_cancel(t), 0);
    assert_errno(weft_timer_cancel(t), EALREADY);
    assert_int_equal(weft_timer_join(t, WEFT_FOREVER), 1);
    int then = __atomic_load_n(&fired, __ATOMIC_ACQUIRE);
    weft_thread_sleep(weft_in_ms(5));
    assert_int_equal(__atomic_load_n(&fired, __ATOMIC_ACQUIRE), then);
}

// A function that outlasts its period is called once for all that it missed.
CASE(test_periodic_timer_leaves_out_what_has_passed)
{
    alarm_case c = {};
    weft_timer_options o = {1000, false}; // a microsecond
    c.self = weft_timer_start(ring, &c, &o, WEFT_NOW);
    assert_int_equal(weft_event_wait(&c.fired, WEFT_FOREVER), 0);
    weft_thread_sleep(weft_in_ms(2));
    assert_int_equal(weft_timer_cancel(c.self), 0); // while it runs: no other call
    weft_event_clear(&c.fired);
    weft_event_set(&c.go);
    assert_int_equal(weft_timer_join(c.self, WEFT_FOREVER), 1);
    assert_false(weft_event_is_set(&c.fired));
}

static void join_it(void *arg)
{
    alarm_case *c = (alarm_case *)arg;
    c->join_error = weft_timer_join(c->self, WEFT_FOREVER) == -1 ? errno : 0;
}

// They share a thread: the other's function could never be called.
CASE(test_function_joins_another_timer)
{
    alarm_case c = {};
    c.self = weft_timer_start(ring, &c, nullptr, weft_in_s(3600));
    weft_timer *t = weft_timer_start(join_it, &c, nullptr, WEFT_NOW);
    assert_int_equal(weft_timer_join(t, WEFT_FOREVER), 1);
    assert_int_equal(c.join_error, EDEADLK);
    assert_int_equal(weft_timer_cancel(c.self), 0);
    t = weft_timer_start(join_it, &c, nullptr, WEFT_NOW); // one that has ended is released there
    assert_int_equal(weft_timer_join(t, WEFT_FOREVER), 1);
    assert_int_equal(c.join_error, 0);
}

static weft_timer *own_timer;

static void cancel_at_three(void *word)
{
    weft_timer *self;
    while ((self = __atomic_load_n(&own_timer, __ATOMIC_ACQUIRE)) == nullptr)
        sched_yield();
    if (__atomic_add_fetch((int *)word, 1, __ATOMIC_ACQ_REL) == 3)
        weft_timer_cancel(self);
}

CASE(test_detached_timers)
{
    static int once, thrice;
    weft_timer_options detached = {0, true}, periodic = {1000000, true};
    assert_non_null(weft_timer_start(count, &once, &detached, weft_in_ms(1)));
    weft_timer *t = weft_timer_start(cancel_at_three, &thrice, &periodic, WEFT_NOW);
    __atomic_store_n(&own_timer, t, __ATOMIC_RELEASE);
    await_word(&once, 1);
    await_word(&thrice, 3);
    weft_thread_sleep(weft_in_ms(5));
    assert_int_equal(__atomic_load_n(&thrice, __ATOMIC_ACQUIRE), 3);
}

static void leave(void *how)
{
    switch ((intptr_t)how) {
    case 0:
        pthread_exit(nullptr);
    case 1:
        weft_thread_stop(weft_thread_self());
        break;
    default:
        pthread_cancel(pthread_self());
        pthread_testcancel();
    }
}

// The others are called all the same, in a thread that can wait.
CASE(test_function_ends_its_thread)
{
    for (intptr_t how = 0; how < 3; how++) {
        alarm_case c = {};
        weft_deadline at = weft_in_ms(1);
        weft_timer *t = weft_timer_start(leave, (void *)how, nullptr, at);
        c.self = weft_timer_start(ring, &c, nullptr, at);
        weft_event_set(&c.go);
        assert_int_equal(weft_timer_join(t, WEFT_FOREVER), 1);
        assert_int_equal(weft_timer_join(c.self, WEFT_FOREVER), 1);
        assert_int_equal(c.join_error, EDEADLK);
    }
}

static int use_timers(weft_timer *of_parent)
{
    int fired = 0;
    if (weft_timer_join(of_parent, WEFT_FOREVER) != -1 || errno != ESRCH ||
        weft_timer_cancel(of_parent) != -1 || errno != ESRCH)
        return 1;
    weft_timer *t = weft_timer_start(count, &fired, nullptr, weft_in_ms(1));
    return t == nullptr || weft_timer_join(t, WEFT_FOREVER) != 1 || fired != 1 ? 2 : 0;
}

CASE(test_timers_in_a_forked_child)
{
    if (RUNNER_TSAN)
        skip(); // the child of a program with threads must start none there
    alarm_case c = {};
    int status;
    weft_timer *t = weft_timer_start(ring, &c, nullptr, weft_in_ms(1));
    c.self = t;
    assert_int_equal(weft_event_wait(&c.fired, WEFT_FOREVER), 0);
    pid_t child = runner_fork();
    if (child == 0)
        _exit(use_timers(t));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    weft_event_set(&c.go);
    assert_int_equal(weft_timer_join(t, WEFT_FOREVER), 1);
}

RUN_CASES()
