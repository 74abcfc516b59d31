// Tasklets: order, waits, results, cancel, removal, threads, poller.
#include <weft/channel.h>
#include <weft/coro.h>
#include <weft/generator.h>
#include <weft/tasklet.h>

#include "../runner.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

static char trace[256];

static void note(const char *what)
{
    strncat(trace, what, sizeof trace - strlen(trace) - 1);
}

static void start_trace(void)
{
    trace[0] = 0;
}

static const weft_tasklet_options detached = {NULL, 0, NULL, true, false, false};

static weft_tasklet *spawn(void *(*fn)(void *), const void *arg)
{
    weft_tasklet *t = weft_tasklet_spawn(fn, (void *)(uintptr_t)arg, NULL);
    assert_non_null(t);
    return t;
}

static void spawn_detached(void *(*fn)(void *), const void *arg)
{
    assert_non_null(weft_tasklet_spawn(fn, (void *)(uintptr_t)arg, &detached));
}

static void *note_thrice(void *name)
{
    for (int i = 0; i < 3; i++) {
        note((const char *)name);
        if (weft_tasklet_yield() != 0)
            note("!");
    }
    return NULL;
}

static void *identity(void *arg)
{
    return arg;
}

static void *fail_with_eio(void *arg)
{
    (void)arg;
    errno = EIO;
    return WEFT_FAILED;
}

// Waits for ever and notes why it stopped.
static void *suspend_for_ever(void *arg)
{
    (void)arg;
    int r = weft_tasklet_suspend(WEFT_FOREVER);
    note(r == 0 ? "woken " : errno == ECANCELED ? "cancelled " : "other ");
    return r == 0 ? arg : WEFT_FAILED;
}

// ---- Running ----

CASE(test_yield_takes_turns)
{
    start_trace();
    spawn_detached(note_thrice, "a");
    spawn_detached(note_thrice, "b");
    spawn_detached(note_thrice, "c");
    assert_int_equal(weft_tasklet_count(), 3);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_string_equal(trace, "abcabcabc");
    assert_int_equal(weft_tasklet_count(), 0);
}

CASE(test_yield_alone_returns)
{
    for (int i = 0; i < 1000; i++)
        assert_int_equal(weft_tasklet_yield(), 0);
}

CASE(test_run_with_nothing_returns)
{
    errno = 77;
    assert_int_equal(weft_tasklet_run(), 0);
    assert_int_equal(errno, 77);
}

static int run_result, run_errno;

static void *run_inside(void *arg)
{
    run_result = weft_tasklet_run();
    run_errno = errno;
    return arg;
}

CASE(test_run_in_a_tasklet_fails)
{
    spawn_detached(run_inside, NULL);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_int_equal(run_result, -1);
    assert_int_equal(run_errno, EPERM);
}

static void *spawn_more(void *arg)
{
    intptr_t n = (intptr_t)arg;
    note("x");
    if (n > 0)
        weft_tasklet_spawn(spawn_more, (void *)(n - 1), &detached);
    return NULL;
}

CASE(test_run_runs_what_is_spawned_meanwhile)
{
    start_trace();
    spawn_detached(spawn_more, (void *)4);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_string_equal(trace, "xxxxx");
}

CASE(test_spawn_checks_its_arguments)
{
    weft_scope closed;
    memset(&closed, 0, sizeof closed);
    weft_tasklet_options o = detached;
    assert_errno(weft_tasklet_spawn(NULL, NULL, NULL), EINVAL);
    o.stack_size = 100;
    assert_errno(weft_tasklet_spawn(identity, NULL, &o), EINVAL);
    o.stack_size = (size_t)1 << 60;
    assert_errno(weft_tasklet_spawn(identity, NULL, &o), ENOMEM);
    o.stack_size = 0;
    o.scope = &closed;
    assert_errno(weft_tasklet_spawn(identity, NULL, &o), EINVAL);
    assert_int_equal(weft_tasklet_count(), 0);
}

static void *name_of_self(void *arg)
{
    (void)arg;
    note(weft_tasklet_name(weft_tasklet_self()));
    return NULL;
}

CASE(test_spawn_takes_options)
{
    start_trace();
    weft_tasklet_options o = {"the name", 32768, NULL, true, true, true};
    assert_non_null(weft_tasklet_spawn(name_of_self, NULL, &o));
    assert_int_equal(weft_tasklet_run(), 0);
    assert_string_equal(trace, "the name");
    assert_string_equal(weft_tasklet_name(weft_tasklet_self()), "main");
    assert_null(weft_tasklet_name(NULL));
}

static int inside, intruders;

// Between two waits nobody else runs, though timers are due and others are ready.
static void *atomic_section(void *arg)
{
    int64_t item = 1;
    for (int i = 0; i < 200; i++) {
        intruders += inside;
        inside = 1;
        for (int64_t end = weft_now() + 2000; weft_now() < end;)
            weft_channel_send((weft_channel *)arg, &item, WEFT_NOW);
        inside = 0;
        weft_tasklet_sleep(weft_in_us(i % 5));
    }
    return NULL;
}

CASE(test_atomic_between_two_waits)
{
    weft_channel *c = weft_channel_create(sizeof(int64_t), 3);
    inside = intruders = 0;
    for (int i = 0; i < 4; i++)
        spawn_detached(atomic_section, c);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_int_equal(intruders, 0);
    assert_int_equal(weft_channel_destroy(c), 0);
}

// ---- Join ----

CASE(test_join_gives_the_result)
{
    void *result = NULL;
    weft_tasklet *t = spawn(identity, (void *)42);
    assert_int_equal(weft_tasklet_ended(t), 0);
    errno = 77;
    assert_int_equal(weft_tasklet_join(t, &result, WEFT_FOREVER), 0);
    assert_ptr_equal(result, (void *)42);
    assert_int_equal(errno, 77);
}

CASE(test_join_of_an_ended_one)
{
    void *result = NULL;
    weft_tasklet *t = spawn(identity, (void *)43);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_int_equal(weft_tasklet_ended(t), 1);
    assert_int_equal(weft_tasklet_join(t, &result, WEFT_NOW), 0);
    assert_ptr_equal(result, (void *)43);
}

CASE(test_join_of_a_failed_one_sets_errno)
{
    void *result = NULL;
    weft_tasklet *t = spawn(fail_with_eio, NULL);
    assert_int_equal(weft_tasklet_join(t, &result, WEFT_FOREVER), 0);
    assert_ptr_equal(result, WEFT_FAILED);
    assert_int_equal(errno, EIO);
}

CASE(test_join_deadline_leaves_it_joinable)
{
    start_trace();
    weft_tasklet *t = spawn(suspend_for_ever, (void *)1);
    assert_errno(weft_tasklet_join(t, NULL, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_tasklet_join(t, NULL, weft_in_ms(1)), ETIMEDOUT);
    assert_int_equal(weft_tasklet_wake(t), 0);
    assert_int_equal(weft_tasklet_join(t, NULL, weft_in_s(50)), 0);
    assert_string_equal(trace, "woken ");
}

static weft_tasklet *pair[2];

static void *join_other(void *arg)
{
    int r = weft_tasklet_join(pair[(intptr_t)arg], NULL, WEFT_FOREVER);
    if (r != 0)
        note(errno == EDEADLK ? "deadlock " : errno == EBUSY ? "busy " : "other ");
    else
        note("joined ");
    return NULL;
}

CASE(test_join_in_a_ring_is_refused)
{
    start_trace();
    pair[0] = spawn(join_other, (void *)1);
    pair[1] = spawn(join_other, (void *)0);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_string_equal(trace, "deadlock joined ");
    assert_int_equal(weft_tasklet_join(pair[0], NULL, WEFT_NOW), 0);
}

static void *join_self(void *arg)
{
    (void)arg;
    if (weft_tasklet_join(weft_tasklet_self(), NULL, WEFT_FOREVER) != 0 && errno == EDEADLK)
        note("self");
    return NULL;
}

CASE(test_join_refusals)
{
    start_trace();
    weft_tasklet *t = spawn(suspend_for_ever, NULL);
    pair[0] = t;
    weft_tasklet *first = spawn(join_other, NULL), *second = spawn(join_other, NULL);
    weft_tasklet_yield();
    assert_errno(weft_tasklet_join(NULL, NULL, WEFT_NOW), EINVAL);
    assert_errno(weft_tasklet_join(weft_tasklet_self(), NULL, WEFT_NOW), EINVAL);
    assert_errno(weft_tasklet_join(t, NULL, WEFT_NOW), EBUSY);
    assert_errno(weft_tasklet_detach(t), EBUSY);
    weft_tasklet_wake(t);
    assert_int_equal(weft_tasklet_join(first, NULL, WEFT_FOREVER), 0);
    assert_int_equal(weft_tasklet_join(second, NULL, WEFT_FOREVER), 0);
    assert_string_equal(trace, "busy woken joined ");
    start_trace();
    t = spawn(join_self, NULL);
    assert_int_equal(weft_tasklet_join(t, NULL, WEFT_FOREVER), 0);
    assert_string_equal(trace, "self");
}

// Between the end of the one that is joined and the joiner's going on.
static void *join_and_note(void *t)
{
    void *result = NULL;
    if (weft_tasklet_join((weft_tasklet *)t, &result, WEFT_FOREVER) == 0)
        note((const char *)result);
    return NULL;
}

CASE(test_join_claims_until_it_returns)
{
    start_trace();
    weft_tasklet *t = spawn(identity, "result");
    weft_tasklet *joiner = spawn(join_and_note, t);
    assert_int_equal(weft_tasklet_remove(t), 0);
    assert_int_equal(weft_tasklet_yield(), 0);
    assert_int_equal(weft_tasklet_wake(t), 0);
    for (int ended = 0; ended < 2; ended++) {
        assert_int_equal(weft_tasklet_ended(t), ended);
        assert_errno(weft_tasklet_join(t, NULL, WEFT_FOREVER), EBUSY);
        assert_errno(weft_tasklet_detach(t), EBUSY);
        assert_int_equal(ended ? weft_tasklet_cancel(joiner) : weft_tasklet_yield(), 0);
    }
    assert_int_equal(weft_tasklet_join(joiner, NULL, WEFT_FOREVER), 0);
    assert_string_equal(trace, "result");
}

CASE(test_detach_releases)
{
    weft_tasklet *t = spawn(identity, NULL);
    assert_int_equal(weft_tasklet_detach(t), 0);
    assert_errno(weft_tasklet_detach(t), EINVAL);
    assert_errno(weft_tasklet_join(t, NULL, WEFT_NOW), EINVAL);
    assert_int_equal(weft_tasklet_run(), 0);
    t = spawn(identity, NULL);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_int_equal(weft_tasklet_detach(t), 0); // an ended one: now
    assert_errno(weft_tasklet_detach(NULL), EINVAL);
    assert_errno(weft_tasklet_detach(weft_tasklet_self()), EINVAL);
}

// ---- Sleep ----

static void *sleep_and_note(void *arg)
{
    if (weft_tasklet_sleep(weft_in_ms((intptr_t)arg)) == 0)
        note((intptr_t)arg == 1 ? "1" : (intptr_t)arg == 8 ? "8" : "20");
    return NULL;
}

CASE(test_sleep_wakes_in_order_of_deadlines)
{
    start_trace();
    int64_t start = weft_now();
    spawn_detached(sleep_and_note, (void *)20);
    spawn_detached(sleep_and_note, (void *)1);
    spawn_detached(sleep_and_note, (void *)8);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_string_equal(trace, "1820");
    assert_true(weft_now() - start >= 20000000);
}

static void *sleep_now(void *arg)
{
    note("a");
    weft_tasklet_sleep(WEFT_NOW);
    note("a");
    return arg;
}

CASE(test_sleep_now_yields)
{
    start_trace();
    spawn_detached(sleep_now, NULL);
    spawn_detached(note_thrice, "b");
    assert_int_equal(weft_tasklet_run(), 0);
    assert_string_equal(trace, "ababb");
}

static bool slept;

static void *sleep_a_ms(void *arg)
{
    weft_tasklet_sleep(weft_in_ms(1));
    slept = true;
    return arg;
}

static void *yield_until_slept(void *arg)
{
    while (!slept && weft_tasklet_yield() == 0)
        ;
    return arg;
}

CASE(test_sleep_ends_under_load)
{
    slept = false;
    spawn_detached(sleep_a_ms, NULL);
    spawn_detached(yield_until_slept, NULL);
    spawn_detached(yield_until_slept, NULL);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_true(slept);
    // Also when there is nobody to yield to.
    slept = false;
    spawn_detached(sleep_a_ms, NULL);
    while (!slept)
        assert_int_equal(weft_tasklet_yield(), 0);
    assert_int_equal(weft_tasklet_run(), 0);
}

static int64_t woke_at[300];
static int woke;

static void *sleep_until(void *arg)
{
    weft_deadline d = *(weft_deadline *)arg;
    if (weft_tasklet_sleep(d) == 0)
        woke_at[woke++] = d;
    return NULL;
}

CASE(test_sleep_of_many_some_cancelled)
{
    static weft_deadline when[300];
    static weft_tasklet *t[300];
    uint32_t x = 12345;
    woke = 0;
    for (int i = 0; i < 300; i++)
        t[i] = spawn(sleep_until, &when[i]);
    weft_deadline start = weft_in_ms(100); // none is due before all wait
    for (int i = 0; i < 300; i++) {
        x = x * 1664525 + 1013904223;
        when[i] = start + (int64_t)(x >> 12);
    }
    weft_tasklet_yield();
    for (int i = 0; i < 300; i += 3)
        assert_int_equal(weft_tasklet_cancel(t[i]), 0);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_int_equal(woke, 200);
    for (int i = 1; i < woke; i++)
        assert_true(woke_at[i - 1] <= woke_at[i]);
    for (int i = 0; i < 300; i++)
        assert_int_equal(weft_tasklet_join(t[i], NULL, WEFT_NOW), 0);
}

// ---- Cancel ----

static weft_channel *channel;

static void *wait_yield(void *arg)
{
    (void)arg;
    return weft_tasklet_yield() == 0 ? NULL : WEFT_FAILED;
}
static void *wait_sleep(void *arg)
{
    (void)arg;
    return weft_tasklet_sleep(weft_in_s(500)) == 0 ? NULL : WEFT_FAILED;
}
static void *wait_sleep_for_ever(void *arg)
{
    (void)arg;
    return weft_tasklet_sleep(WEFT_FOREVER) == 0 ? NULL : WEFT_FAILED;
}
static void *wait_suspend(void *arg)
{
    (void)arg;
    return weft_tasklet_suspend(weft_in_s(500)) == 0 ? NULL : WEFT_FAILED;
}
static void *wait_join(void *arg)
{
    (void)arg;
    return weft_tasklet_join(pair[0], NULL, WEFT_FOREVER) == 0 ? NULL : WEFT_FAILED;
}
static void *wait_receive(void *arg)
{
    int64_t item;
    (void)arg;
    return weft_channel_receive(channel, &item, WEFT_FOREVER) == 0 ? NULL : WEFT_FAILED;
}
static void *wait_next(void *arg)
{
    int64_t item;
    (void)arg;
    return weft_channel_next(channel, &item, weft_in_s(500)) >= 0 ? NULL : WEFT_FAILED;
}
static void *wait_send(void *arg)
{
    int64_t item = 1;
    (void)arg;
    return weft_channel_send(channel, &item, WEFT_FOREVER) == 0 ? NULL : WEFT_FAILED;
}
static void *wait_send_error(void *arg)
{
    (void)arg;
    return weft_channel_send_error(channel, EIO, WEFT_FOREVER) == 0 ? NULL : WEFT_FAILED;
}
static void *wait_select(void *arg)
{
    int64_t item = 1;
    weft_select_case c[3];
    memset(c, 0, sizeof c);
    c[0].channel = c[2].channel = channel;
    c[0].item = c[2].item = &item;
    c[2].op = WEFT_SEND;
    (void)arg;
    return weft_select(c, 3, weft_in_s(500)) >= 0 ? NULL : WEFT_FAILED;
}
static void *wait_scope(void *arg)
{
    weft_scope s;
    weft_tasklet_options o = detached;
    (void)arg;
    o.detached = false;
    o.scope = &s;
    weft_scope_open(&s);
    weft_tasklet_spawn(wait_sleep_for_ever, NULL, &o);
    return weft_scope_close(&s, WEFT_FOREVER) == 0 ? NULL : WEFT_FAILED;
}

// Runs a generator that waits.
static int generate(weft_generator *g, void *arg)
{
    int64_t item = 1;
    (void)arg;
    if (weft_channel_receive(channel, &item, WEFT_FOREVER) != 0)
        return errno;
    return weft_generator_yield(g, &item);
}
static void *wait_in_generator(void *arg)
{
    int64_t item = 0;
    (void)arg;
    weft_generator *g = weft_generator_create(generate, NULL, sizeof item, NULL);
    int r = weft_generator_next(g, &item), error = errno;
    weft_generator_destroy(g);
    errno = error;
    return r == 1 ? NULL : WEFT_FAILED;
}

static void *(*const waits[])(void *) = {
    wait_yield, wait_sleep, wait_sleep_for_ever, wait_suspend, wait_join,  wait_receive,
    wait_next,  wait_send,  wait_send_error,     wait_select,  wait_scope, wait_in_generator};

CASE(test_cancel_at_every_suspension_point)
{
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        void *result = NULL;
        start_trace();
        channel = weft_channel_create(sizeof(int64_t), 0);
        pair[0] = spawn(suspend_for_ever, NULL);
        weft_tasklet *t = spawn(waits[i], NULL);
        weft_tasklet_yield();
        if (weft_tasklet_ended(t) != 0)
            fail_msg("wait %zu did not wait", i);
        assert_int_equal(weft_tasklet_cancel(t), 0);
        assert_int_equal(weft_tasklet_cancel(t), 0);
        assert_int_equal(weft_channel_balance(channel), 0);
        assert_int_equal(weft_tasklet_join(t, &result, WEFT_FOREVER), 0);
        assert_ptr_equal(result, WEFT_FAILED);
        assert_int_equal(errno, ECANCELED);
        weft_tasklet_wake(pair[0]);
        assert_int_equal(weft_tasklet_join(pair[0], NULL, WEFT_FOREVER), 0);
        assert_int_equal(weft_channel_destroy(channel), 0);
    }
}

static void *cancel_self_then_wait(void *arg)
{
    int (*wait)(void *) = (int (*)(void *))arg;
    (void)wait;
    weft_tasklet_cancel(weft_tasklet_self());
    int64_t item = 5;
    weft_select_case c;
    memset(&c, 0, sizeof c);
    c.channel = channel;
    c.item = &item;
    c.op = WEFT_SEND;
    int failures = 0;
    failures += weft_tasklet_yield() == -1 && errno == ECANCELED;
    failures += weft_tasklet_sleep(weft_in_ms(1)) == -1 && errno == ECANCELED;
    failures += weft_tasklet_suspend(WEFT_FOREVER) == -1 && errno == ECANCELED;
    failures += weft_tasklet_join(pair[0], NULL, WEFT_FOREVER) == -1 && errno == ECANCELED;
    failures += weft_channel_send(channel, &item, WEFT_FOREVER) == -1 && errno == ECANCELED;
    failures += weft_channel_receive(channel, &item, WEFT_FOREVER) == -1 && errno == ECANCELED;
    failures += weft_channel_next(channel, &item, WEFT_FOREVER) == -1 && errno == ECANCELED;
    failures += weft_channel_send_error(channel, 1, WEFT_FOREVER) == -1 && errno == ECANCELED;
    failures += weft_select(&c, 1, WEFT_FOREVER) == -1 && errno == ECANCELED;
    // What does not wait goes on working.
    failures += weft_channel_send(channel, &item, WEFT_NOW) == 0;
    failures += weft_channel_receive(channel, &item, WEFT_NOW) == 0;
    failures += weft_select(&c, 1, WEFT_NOW) == 0;
    return (void *)(intptr_t)failures;
}

CASE(test_cancel_lasts_and_spares_what_does_not_wait)
{
    void *result = NULL;
    channel = weft_channel_create(sizeof(int64_t), 1);
    start_trace();
    pair[0] = spawn(suspend_for_ever, NULL);
    weft_tasklet *t = spawn(cancel_self_then_wait, NULL);
    assert_int_equal(weft_tasklet_join(t, &result, WEFT_FOREVER), 0);
    assert_int_equal((intptr_t)result, 12);
    assert_int_equal(weft_channel_balance(channel), 1);
    weft_tasklet_wake(pair[0]);
    assert_int_equal(weft_tasklet_join(pair[0], NULL, WEFT_FOREVER), 0);
    assert_int_equal(weft_channel_destroy(channel), 0);
}

static void *note_ran(void *arg)
{
    note("ran");
    return arg;
}

CASE(test_cancel_of_a_new_one_never_runs_it)
{
    void *result = NULL;
    start_trace();
    weft_tasklet *t = spawn(note_ran, NULL);
    assert_int_equal(weft_tasklet_cancel(t), 0);
    assert_int_equal(weft_tasklet_join(t, &result, WEFT_FOREVER), 0);
    assert_ptr_equal(result, WEFT_FAILED);
    assert_int_equal(errno, ECANCELED);
    assert_string_equal(trace, "");
}

CASE(test_cancel_of_an_ended_one_changes_nothing)
{
    void *result = NULL;
    weft_tasklet *t = spawn(identity, (void *)9);
    weft_tasklet_run();
    assert_int_equal(weft_tasklet_cancel(t), 0);
    assert_int_equal(weft_tasklet_join(t, &result, WEFT_NOW), 0);
    assert_ptr_equal(result, (void *)9);
    assert_errno(weft_tasklet_cancel(NULL), EINVAL);
    assert_errno(weft_tasklet_cancel(weft_tasklet_self()), EINVAL);
}

static int64_t received;

static void *receive_one(void *arg)
{
    int r = weft_channel_receive(channel, &received, WEFT_FOREVER);
    note(r == 0 ? "got " : "lost ");
    if (r == 0 && weft_tasklet_yield() == -1 && errno == ECANCELED)
        note("then cancelled");
    return arg;
}

CASE(test_cancel_after_delivery_loses_nothing)
{
    int64_t item = 17;
    start_trace();
    channel = weft_channel_create(sizeof item, 0);
    weft_tasklet *t = spawn(receive_one, NULL);
    weft_tasklet_yield();
    assert_int_equal(weft_channel_send(channel, &item, WEFT_NOW), 0);
    assert_int_equal(weft_tasklet_cancel(t), 0);
    assert_int_equal(weft_tasklet_join(t, NULL, WEFT_FOREVER), 0);
    assert_string_equal(trace, "got then cancelled");
    assert_int_equal(received, 17);
    assert_int_equal(weft_channel_destroy(channel), 0);
}

static void note_deferred(void *what)
{
    note((const char *)what);
    if (weft_tasklet_yield() == -1 && errno == ECANCELED)
        note("-");
}

static void *defer_and_wait(void *arg)
{
    weft_defer(note_deferred, (void *)(uintptr_t) "1");
    weft_defer(note_deferred, (void *)(uintptr_t) "2");
    weft_tasklet_suspend(WEFT_FOREVER);
    return arg;
}

CASE(test_cancel_runs_deferred_functions)
{
    start_trace();
    weft_tasklet *t = spawn(defer_and_wait, NULL);
    weft_tasklet_yield();
    weft_tasklet_cancel(t);
    assert_int_equal(weft_tasklet_join(t, NULL, WEFT_FOREVER), 0);
    assert_string_equal(trace, "2-1-");
}

// ---- Suspend, wake, remove ----

CASE(test_suspend_until_woken)
{
    start_trace();
    weft_tasklet *t = spawn(suspend_for_ever, (void *)5);
    void *result = NULL;
    weft_tasklet_yield();
    assert_int_equal(weft_tasklet_wake(t), 0);
    assert_int_equal(weft_tasklet_join(t, &result, WEFT_FOREVER), 0);
    assert_ptr_equal(result, (void *)5);
    assert_errno(weft_tasklet_wake(NULL), EINVAL);
}

CASE(test_wake_before_suspend_counts_once)
{
    assert_int_equal(weft_tasklet_wake(weft_tasklet_self()), 0);
    assert_int_equal(weft_tasklet_wake(weft_tasklet_self()), 0);
    assert_int_equal(weft_tasklet_suspend(WEFT_NOW), 0);
    assert_errno(weft_tasklet_suspend(WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_tasklet_suspend(weft_in_ms(1)), ETIMEDOUT);
}

CASE(test_remove_and_wake)
{
    start_trace();
    weft_tasklet *a = spawn(note_thrice, "a"), *b = spawn(note_thrice, "b");
    assert_int_equal(weft_tasklet_remove(a), 0); // a new one
    assert_int_equal(weft_tasklet_remove(a), 0);
    weft_tasklet_yield();
    assert_int_equal(weft_tasklet_remove(b), 0); // one that yielded
    for (int i = 0; i < 5; i++)
        weft_tasklet_yield();
    assert_string_equal(trace, "b");
    assert_int_equal(weft_tasklet_wake(b), 0);
    assert_int_equal(weft_tasklet_wake(a), 0);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_string_equal(trace, "bbabaa");
    assert_errno(weft_tasklet_remove(a), ESRCH);
    assert_errno(weft_tasklet_remove(NULL), EINVAL);
    assert_errno(weft_tasklet_remove(weft_tasklet_self()), EINVAL);
    assert_int_equal(weft_tasklet_join(a, NULL, WEFT_NOW), 0);
    assert_int_equal(weft_tasklet_join(b, NULL, WEFT_NOW), 0);
}

static void *remove_self(void *arg)
{
    if (weft_tasklet_remove(weft_tasklet_self()) == -1 && errno == EBUSY)
        note("busy");
    return arg;
}

CASE(test_remove_refuses_who_waits_or_runs)
{
    start_trace();
    weft_tasklet *t = spawn(suspend_for_ever, NULL);
    spawn_detached(remove_self, NULL);
    weft_tasklet_yield();
    assert_errno(weft_tasklet_remove(t), EBUSY);
    assert_string_equal(trace, "busy");
    weft_tasklet_cancel(t);
    assert_int_equal(weft_tasklet_join(t, NULL, WEFT_FOREVER), 0);
}

CASE(test_remove_then_cancel)
{
    start_trace();
    weft_tasklet *t = spawn(note_thrice, "a");
    weft_tasklet_yield();
    weft_tasklet_remove(t);
    assert_int_equal(weft_tasklet_cancel(t), 0);
    assert_int_equal(weft_tasklet_join(t, NULL, WEFT_FOREVER), 0);
    assert_string_equal(trace, "a!a!a!");
}

// ---- Deadlock ----

static FILE *moved;
static int old_stderr;

static void move_stderr(void)
{
    fflush(stderr);
    moved = tmpfile();
    assert_non_null(moved);
    old_stderr = dup(STDERR_FILENO);
    dup2(fileno(moved), STDERR_FILENO);
}

static void restore_stderr(char *text, size_t room)
{
    fflush(stderr);
    dup2(old_stderr, STDERR_FILENO);
    close(old_stderr);
    rewind(moved);
    size_t n = fread(text, 1, room - 1, moved);
    text[n] = 0;
    fclose(moved);
}

CASE(test_run_reports_a_deadlock)
{
    char text[4096];
    weft_tasklet_options o = {"stuck", 0, NULL, false, false, false};
    channel = weft_channel_create(sizeof(int64_t), 0);
    weft_tasklet *t = weft_tasklet_spawn(wait_receive, NULL, &o);
    move_stderr();
    int r = weft_tasklet_run(), error = errno;
    restore_stderr(text, sizeof text);
    assert_int_equal(r, -1);
    assert_int_equal(error, EDEADLK);
    assert_non_null(strstr(text, "weft: deadlock"));
    assert_non_null(strstr(text, "\"stuck\""));
    assert_non_null(strstr(text, "waits for receive from"));
    // It is still there, and can be ended.
    assert_int_equal(weft_channel_balance(channel), -1);
    weft_tasklet_cancel(t);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_int_equal(weft_tasklet_join(t, NULL, WEFT_NOW), 0);
    assert_int_equal(weft_channel_destroy(channel), 0);
}

CASE(test_main_wait_reports_a_deadlock)
{
    char text[4096];
    int64_t item;
    channel = weft_channel_create(sizeof item, 0);
    move_stderr();
    int r = weft_channel_receive(channel, &item, WEFT_FOREVER), error = errno;
    restore_stderr(text, sizeof text);
    assert_int_equal(r, -1);
    assert_int_equal(error, EDEADLK);
    assert_non_null(strstr(text, "\"main\""));
    assert_int_equal(weft_channel_balance(channel), 0);
    assert_errno(weft_channel_receive(channel, &item, weft_in_ms(1)), ETIMEDOUT);
    assert_int_equal(weft_channel_destroy(channel), 0);
}

// ---- The slot ----

static void *keep_in_slot(void *arg)
{
    if (*weft_tasklet_slot() != NULL)
        note("not empty");
    *weft_tasklet_slot() = arg;
    weft_tasklet_yield();
    if (*weft_tasklet_slot() == arg)
        note("ok ");
    return NULL;
}

CASE(test_slot_is_each_ones_own)
{
    start_trace();
    *weft_tasklet_slot() = (void *)99;
    spawn_detached(keep_in_slot, (void *)1);
    spawn_detached(keep_in_slot, (void *)2);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_string_equal(trace, "ok ok ");
    assert_ptr_equal(*weft_tasklet_slot(), (void *)99);
    *weft_tasklet_slot() = NULL;
}

// ---- With coroutines and generators ----

CASE(test_wait_inside_a_generator)
{
    void *result = (void *)1;
    int64_t item = 6;
    channel = weft_channel_create(sizeof item, 0);
    weft_tasklet *t = spawn(wait_in_generator, NULL);
    weft_tasklet_yield();
    assert_int_equal(weft_channel_send(channel, &item, WEFT_FOREVER), 0);
    assert_int_equal(weft_tasklet_join(t, &result, WEFT_FOREVER), 0);
    assert_null(result);
    assert_int_equal(weft_channel_destroy(channel), 0);
}

static void *yield_directly(void *arg)
{
    if (weft_coro_yield(NULL) == WEFT_FAILED && errno == EPERM)
        note("refused");
    return arg;
}

CASE(test_tasklet_does_not_yield_as_a_coroutine)
{
    start_trace();
    spawn_detached(yield_directly, NULL);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_string_equal(trace, "refused");
}

// ---- Threads ----

struct foreign {
    weft_tasklet *tasklet;
    weft_channel *channel;
    int refused;
};

static void *meddle_from_afar(void *arg)
{
    struct foreign *f = (struct foreign *)arg;
    int64_t item = 0;
    weft_select_case c;
    memset(&c, 0, sizeof c);
    c.channel = f->channel;
    c.item = &item;
    f->refused += weft_tasklet_join(f->tasklet, NULL, WEFT_NOW) == -1 && errno == EPERM;
    f->refused += weft_tasklet_cancel(f->tasklet) == -1 && errno == EPERM;
    f->refused += weft_tasklet_wake(f->tasklet) == -1 && errno == EPERM;
    f->refused += weft_tasklet_remove(f->tasklet) == -1 && errno == EPERM;
    f->refused += weft_tasklet_detach(f->tasklet) == -1 && errno == EPERM;
    f->refused += weft_tasklet_ended(f->tasklet) == -1 && errno == EPERM;
    f->refused += weft_channel_send(f->channel, &item, WEFT_NOW) == -1 && errno == EPERM;
    f->refused += weft_channel_receive(f->channel, &item, WEFT_NOW) == -1 && errno == EPERM;
    f->refused += weft_channel_next(f->channel, &item, WEFT_NOW) == -1 && errno == EPERM;
    f->refused += weft_channel_send_error(f->channel, 1, WEFT_NOW) == -1 && errno == EPERM;
    f->refused += weft_channel_close(f->channel) == -1 && errno == EPERM;
    f->refused += weft_channel_destroy(f->channel) == -1 && errno == EPERM;
    f->refused += weft_select(&c, 1, WEFT_NOW) == -1 && errno == EPERM;
    return NULL;
}

CASE(test_another_thread_is_refused)
{
    pthread_t thread;
    struct foreign f = {spawn(identity, NULL), weft_channel_create(8, 1), 0};
    assert_int_equal(pthread_create(&thread, NULL, meddle_from_afar, &f), 0);
    pthread_join(thread, NULL);
    assert_int_equal(f.refused, 13);
    assert_int_equal(weft_tasklet_join(f.tasklet, NULL, WEFT_FOREVER), 0);
    assert_int_equal(weft_channel_destroy(f.channel), 0);
}

struct pump {
    weft_channel *channel;
    int64_t sum;
};

static void *pump_send(void *arg)
{
    struct pump *p = (struct pump *)arg;
    for (int64_t i = 0; i < 1000; i++)
        weft_channel_send(p->channel, &i, WEFT_FOREVER);
    weft_channel_close(p->channel);
    return NULL;
}

static void *pump_receive(void *arg)
{
    struct pump *p = (struct pump *)arg;
    int64_t item;
    while (weft_channel_next(p->channel, &item, WEFT_FOREVER) == 1)
        p->sum += item;
    return NULL;
}

static void *pump_thread(void *arg)
{
    struct pump *p = (struct pump *)arg;
    p->channel = weft_channel_create(sizeof(int64_t), 0);
    weft_tasklet_spawn(pump_send, p, &detached);
    weft_tasklet_spawn(pump_receive, p, &detached);
    weft_tasklet_run();
    weft_channel_destroy(p->channel);
    return NULL;
}

CASE(test_eight_threads_at_once)
{
    pthread_t thread[8];
    struct pump p[8];
    memset(p, 0, sizeof p);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, pump_thread, &p[i]), 0);
    for (int i = 0; i < 8; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(p[i].sum, 999 * 1000 / 2);
    }
}

static int deferred_at_end;

static void count_deferred(void *arg)
{
    int64_t item = 0;
    deferred_at_end++;
    // The thread is ending: nothing can wait any more.
    deferred_at_end += weft_channel_receive((weft_channel *)arg, &item, WEFT_FOREVER) == -1;
    deferred_at_end += weft_tasklet_spawn(identity, NULL, NULL) == NULL;
}

static void *wait_with_deferred(void *arg)
{
    int64_t item;
    weft_defer(count_deferred, arg);
    weft_channel_receive((weft_channel *)arg, &item, WEFT_FOREVER);
    return NULL;
}

static void *end_with_tasklets(void *arg)
{
    weft_channel *c = weft_channel_create(sizeof(int64_t), 0);
    for (int i = 0; i < 3; i++)
        weft_tasklet_spawn(wait_with_deferred, c, NULL);
    weft_tasklet_spawn(wait_sleep, NULL, NULL);
    weft_tasklet_yield();
    weft_tasklet_spawn(identity, NULL, &detached); // never runs
    *(weft_channel **)arg = c;
    return NULL;
}

CASE(test_thread_end_releases_tasklets)
{
    pthread_t thread;
    weft_channel *c = NULL;
    deferred_at_end = 0;
    assert_int_equal(pthread_create(&thread, NULL, end_with_tasklets, &c), 0);
    pthread_join(thread, NULL);
    assert_int_equal(deferred_at_end, 9);
    free(c); // its thread is gone; it waits for nobody
}

// ---- The poller ----

struct test_poller {
    weft_poller poller;
    weft_tasklet *waiter;
    int polls, polls_now, refused;
};

static int poll_and_wake(weft_poller *p, weft_deadline d)
{
    struct test_poller *t = (struct test_poller *)(void *)p;
    int64_t item;
    t->polls++;
    t->polls_now += d == WEFT_NOW;
    t->refused += weft_tasklet_yield() == -1 && errno == EPERM;
    t->refused += weft_tasklet_sleep(weft_in_ms(1)) == -1 && errno == EPERM;
    t->refused += weft_channel_receive(channel, &item, WEFT_FOREVER) == -1 && errno == EPERM;
    t->refused += weft_tasklet_run() == -1 && errno == EPERM;
    t->refused += weft_tasklet_self() == NULL && errno == EPERM;
    if (t->waiter == NULL)
        return 0;
    weft_tasklet_wake(t->waiter);
    t->waiter = NULL;
    return 1;
}

static int poll_fails(weft_poller *p, weft_deadline d)
{
    (void)p;
    (void)d;
    errno = EIO;
    return -1;
}

CASE(test_poller_wakes)
{
    struct test_poller p;
    weft_poller other = {poll_fails, 0}, empty = {NULL, 0};
    memset(&p, 0, sizeof p);
    start_trace();
    channel = weft_channel_create(sizeof(int64_t), 0);
    p.poller.poll = poll_and_wake;
    assert_int_equal(weft_tasklet_set_poller(&p.poller), 0);
    assert_int_equal(weft_tasklet_set_poller(&p.poller), 0);
    assert_errno(weft_tasklet_set_poller(&other), EBUSY);
    assert_errno(weft_tasklet_set_poller(&empty), EINVAL);
    p.waiter = spawn(suspend_for_ever, (void *)1);
    weft_tasklet *t = p.waiter;
    assert_int_equal(weft_tasklet_join(t, NULL, WEFT_FOREVER), 0);
    assert_string_equal(trace, "woken ");
    assert_int_equal(p.polls, 1);
    assert_int_equal(p.refused, 5);
    // Nothing to wait for outside: timers still work, and a deadlock is found.
    char text[4096];
    assert_int_equal(weft_tasklet_sleep(weft_in_ms(1)), 0);
    move_stderr();
    int r = weft_tasklet_suspend(WEFT_FOREVER), error = errno;
    restore_stderr(text, sizeof text);
    assert_int_equal(r, -1);
    assert_int_equal(error, EDEADLK);
    assert_int_equal(weft_tasklet_set_poller(NULL), 0);
    assert_int_equal(weft_channel_destroy(channel), 0);
}

static void *yield_until_woken(void *arg)
{
    struct test_poller *p = (struct test_poller *)arg;
    while (p->waiter != NULL && weft_tasklet_yield() == 0)
        ;
    return NULL;
}

CASE(test_poller_has_turns_under_load)
{
    struct test_poller p;
    memset(&p, 0, sizeof p);
    start_trace();
    channel = weft_channel_create(sizeof(int64_t), 0);
    p.poller.poll = poll_and_wake;
    p.poller.interval = 1000;
    assert_int_equal(weft_tasklet_set_poller(&p.poller), 0);
    p.waiter = spawn(suspend_for_ever, (void *)1);
    weft_tasklet *t = p.waiter;
    spawn_detached(yield_until_woken, &p);
    spawn_detached(yield_until_woken, &p);
    assert_int_equal(weft_tasklet_run(), 0);
    assert_true(p.polls_now > 0);
    assert_string_equal(trace, "woken ");
    assert_int_equal(weft_tasklet_join(t, NULL, WEFT_NOW), 0);
    assert_int_equal(weft_tasklet_set_poller(NULL), 0);
    assert_int_equal(weft_channel_destroy(channel), 0);
}

static int poll_counts(weft_poller *p, weft_deadline d)
{
    struct test_poller *t = (struct test_poller *)(void *)p;
    t->polls_now += d == WEFT_NOW;
    return 1;
}

static void *yield_until_polled(void *arg)
{
    struct test_poller *p = (struct test_poller *)arg;
    while (p->polls_now < 1000 && weft_tasklet_yield() == 0)
        ;
    return NULL;
}

CASE(test_poller_always_due)
{
    struct test_poller p;
    memset(&p, 0, sizeof p);
    p.poller.poll = poll_counts;
    p.poller.interval = 1;
    assert_int_equal(weft_tasklet_set_poller(&p.poller), 0);
    for (int i = 0; i < 3; i++)
        spawn_detached(yield_until_polled, &p);
    assert_int_equal(weft_tasklet_run(), 0);
    p.polls_now = 0;
    yield_until_polled(&p); // alone
    assert_int_equal(p.polls_now, 1000);
    assert_int_equal(weft_tasklet_set_poller(NULL), 0);
}

CASE(test_poller_failure_reaches_main)
{
    weft_poller p = {poll_fails, 0};
    assert_int_equal(weft_tasklet_set_poller(&p), 0);
    assert_errno(weft_tasklet_sleep(weft_in_s(500)), EIO);
    assert_int_equal(weft_tasklet_set_poller(NULL), 0);
}

RUN_CASES()
