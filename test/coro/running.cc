// Tasklets: turns, spawn, join, sleep, the slot.
#include <weft/coro.h>

#include "tasklets.h"

// ---- Turns ----

CASE(test_yield_takes_turns)
{
    spawn_detached(note_thrice, "a");
    spawn_detached(note_thrice, "b");
    spawn_detached(note_thrice, "c");
    assert_int_equal(weft_tasklet_count(), 3);
    run_all("abcabcabc");
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

CASE(test_only_the_main_tasklet_runs)
{
    spawn_detached([](void *arg) {
        note_result(weft_tasklet_run(), "ran");
        return arg;
    });
    run_all("EPERM ");
}

CASE(test_tasklet_does_not_yield_as_a_coroutine)
{
    spawn_detached([](void *arg) {
        note_result(weft_coro_yield(NULL) == WEFT_FAILED ? -1 : 0, "yielded");
        return arg;
    });
    run_all("EPERM ");
}

static void *spawn_more(void *arg)
{
    note("x");
    if (arg != NULL)
        spawn_detached(spawn_more, (char *)arg - 1);
    return NULL;
}

CASE(test_run_runs_what_is_spawned_meanwhile)
{
    spawn_detached(spawn_more, V(4));
    run_all("xxxxx");
}

CASE(test_spawn_checks_its_arguments)
{
    weft_scope closed = {};
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

CASE(test_spawn_takes_options)
{
    weft_tasklet_options o = {"the name", 32768, NULL, true, true, true};
    assert_non_null(weft_tasklet_spawn(
        [](void *arg) {
            note(weft_tasklet_name(weft_tasklet_self()));
            return arg;
        },
        NULL, &o));
    run_all("the name");
    assert_string_equal(weft_tasklet_name(weft_tasklet_self()), "main");
    assert_null(weft_tasklet_name(NULL));
}

static int inside, intruders;

// Between two waits nobody else runs, though timers are due and others are ready.
static void *atomic_section(void *arg)
{
    for (int i = 0; i < 200; i++) {
        intruders += inside;
        inside = 1;
        for (int64_t end = weft_now() + 2000; weft_now() < end;)
            send(1, WEFT_NOW);
        inside = 0;
        weft_tasklet_sleep(weft_in_us(i % 5));
    }
    return arg;
}

CASE(test_atomic_between_two_waits)
{
    open_channel(3);
    inside = intruders = 0;
    for (int i = 0; i < 4; i++)
        spawn_detached(atomic_section);
    run_all();
    assert_int_equal(intruders, 0);
    close_channel();
}

CASE(test_slot_is_each_ones_own)
{
    const auto keep = [](void *arg) {
        if (*weft_tasklet_slot() != NULL)
            note("not empty");
        *weft_tasklet_slot() = arg;
        weft_tasklet_yield();
        if (*weft_tasklet_slot() == arg)
            note("ok ");
        return arg;
    };
    *weft_tasklet_slot() = V(99);
    spawn_detached(keep, V(1));
    spawn_detached(keep, V(2));
    run_all("ok ok ");
    assert_ptr_equal(*weft_tasklet_slot(), V(99));
    *weft_tasklet_slot() = NULL;
}

// ---- Join ----

CASE(test_join_gives_the_result)
{
    weft_tasklet *t = spawn(identity, V(42));
    assert_int_equal(weft_tasklet_poll(t), 0);
    errno = 77;
    assert_ptr_equal(join(t), V(42));
    assert_int_equal(errno, 77);
}

CASE(test_join_of_an_ended_one)
{
    void *result = NULL;
    weft_tasklet *t = spawn(identity, V(43));
    run_all();
    assert_int_equal(weft_tasklet_poll(t), 1);
    assert_int_equal(weft_tasklet_join(t, &result, WEFT_NOW), 0);
    assert_ptr_equal(result, V(43));
}

CASE(test_join_of_a_failed_one_sets_errno)
{
    weft_tasklet *t = spawn([](void *) {
        errno = EIO;
        return WEFT_FAILED;
    });
    assert_ptr_equal(join(t), WEFT_FAILED);
    assert_int_equal(errno, EIO);
}

CASE(test_join_deadline_leaves_it_joinable)
{
    weft_tasklet *t = spawn(suspend_for_ever, V(1));
    assert_errno(weft_tasklet_join(t, NULL, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_tasklet_join(t, NULL, weft_in_ms(1)), ETIMEDOUT);
    assert_int_equal(weft_tasklet_wake(t), 0);
    assert_int_equal(weft_tasklet_join(t, NULL, weft_in_s(50)), 0);
    assert_noted("woken ");
}

static weft_tasklet *pair[2];

static void *join_one(void *which)
{
    note_result(weft_tasklet_join(pair[(intptr_t)which], NULL, WEFT_FOREVER), "joined");
    return NULL;
}

CASE(test_join_in_a_ring_is_refused)
{
    pair[0] = spawn(join_one, V(1));
    pair[1] = spawn(join_one, V(0));
    run_all("EDEADLK joined ");
    join(pair[0]);
    pair[0] = spawn(join_one, V(0)); // itself
    join(pair[0]);
    assert_noted("EDEADLK ");
}

CASE(test_join_refusals)
{
    weft_tasklet *t = pair[0] = spawn(suspend_for_ever);
    weft_tasklet *first = spawn(join_one), *second = spawn(join_one);
    weft_tasklet_yield();
    assert_errno(weft_tasklet_join(NULL, NULL, WEFT_NOW), EINVAL);
    assert_errno(weft_tasklet_join(weft_tasklet_self(), NULL, WEFT_NOW), EINVAL);
    assert_errno(weft_tasklet_join(t, NULL, WEFT_NOW), EBUSY);
    assert_errno(weft_tasklet_detach(t), EBUSY);
    weft_tasklet_wake(t);
    join(first);
    join(second);
    assert_noted("EBUSY woken joined ");
}

// Also between the end of the one that is joined and the joiner's going on.
CASE(test_join_claims_until_it_returns)
{
    weft_tasklet *t = pair[0] = spawn(identity), *joiner = spawn(join_one);
    assert_int_equal(weft_tasklet_remove(t), 0);
    assert_int_equal(weft_tasklet_yield(), 0);
    assert_int_equal(weft_tasklet_wake(t), 0);
    for (int ended = 0; ended < 2; ended++) {
        assert_int_equal(weft_tasklet_poll(t), ended);
        assert_errno(weft_tasklet_join(t, NULL, WEFT_FOREVER), EBUSY);
        assert_errno(weft_tasklet_detach(t), EBUSY);
        assert_int_equal(ended ? weft_tasklet_cancel(joiner) : weft_tasklet_yield(), 0);
    }
    join(joiner);
    assert_noted("joined ");
}

CASE(test_detach_releases)
{
    weft_tasklet *t = spawn(identity);
    assert_int_equal(weft_tasklet_detach(t), 0);
    assert_errno(weft_tasklet_detach(t), EINVAL);
    assert_errno(weft_tasklet_join(t, NULL, WEFT_NOW), EINVAL);
    run_all();
    t = spawn(identity);
    run_all();
    assert_int_equal(weft_tasklet_detach(t), 0); // an ended one: now
    assert_errno(weft_tasklet_detach(NULL), EINVAL);
    assert_errno(weft_tasklet_detach(weft_tasklet_self()), EINVAL);
}

// ---- Sleep ----

CASE(test_sleep_wakes_in_order_of_deadlines)
{
    static const char *const names[] = {"20 ", "1 ", "8 "};
    int64_t start = weft_now();
    for (const char *name : names)
        spawn_detached(
            [](void *arg) {
                if (weft_tasklet_sleep(weft_in_ms(atoi((const char *)arg))) == 0)
                    note((const char *)arg);
                return arg;
            },
            name);
    run_all("1 8 20 ");
    assert_true(weft_now() - start >= 20000000);
}

CASE(test_equal_deadlines_pass_in_order)
{
    static const char names[7][2] = {"1", "2", "3", "4", "5", "6", "7"};
    static weft_deadline at;
    at = weft_in_ms(2);
    for (const char *name : names)
        spawn_detached(
            [](void *arg) {
                weft_tasklet_sleep(at);
                note((const char *)arg);
                return arg;
            },
            name);
    run_all("1234567");
}

CASE(test_sleep_now_yields)
{
    spawn_detached([](void *arg) {
        note("a");
        weft_tasklet_sleep(WEFT_NOW);
        note("a");
        return arg;
    });
    spawn_detached(note_thrice, "b");
    run_all("ababb");
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
    for (int load = 2; load >= 0; load -= 2) {
        slept = false;
        spawn_detached(sleep_a_ms);
        for (int i = 0; i < load; i++)
            spawn_detached(yield_until_slept);
        if (load == 0)
            yield_until_slept(NULL); // also when there is nobody to yield to
        run_all();
        assert_true(slept);
    }
}

static int64_t woke_at[300];
static int woke;

CASE(test_sleep_of_many_some_cancelled)
{
    static weft_deadline when[300];
    weft_tasklet *t[300];
    uint32_t x = 12345;
    woke = 0;
    for (int i = 0; i < 300; i++)
        t[i] = spawn(
            [](void *arg) {
                weft_deadline d = *(weft_deadline *)arg;
                if (weft_tasklet_sleep(d) == 0)
                    woke_at[woke++] = d;
                return arg;
            },
            &when[i]);
    weft_deadline start = weft_in_ms(RUNNER_SANITIZED ? 500 : 100); // none is due before all wait
    for (weft_deadline &each : when) {
        x = x * 1664525 + 1013904223;
        each = start + (int64_t)(x >> 12);
    }
    weft_tasklet_yield();
    for (int i = 0; i < 300; i += 3)
        assert_int_equal(weft_tasklet_cancel(t[i]), 0);
    run_all();
    assert_int_equal(woke, 200);
    for (int i = 1; i < woke; i++)
        assert_true(woke_at[i - 1] <= woke_at[i]);
    for (weft_tasklet *each : t)
        join(each);
}

RUN_CASES()
