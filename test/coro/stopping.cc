// Tasklets: cancel, suspend and wake, remove, deadlock, other threads.
#include <weft/coro.h>
#include <weft/generator.h>

#include "tasklets.h"

#include <pthread.h>

// ---- Cancel ----

static weft_tasklet *waiting; // in a suspend, for ever
static int64_t item;

static int select_two(weft_deadline d)
{
    weft_select_case c[3] = {};
    c[0].channel = c[2].channel = channel;
    c[0].item = c[2].item = &item;
    c[2].op = WEFT_SEND;
    return (int)weft_select(c, 3, d);
}

static int close_a_scope(void)
{
    weft_scope s;
    weft_tasklet_options o = {};
    o.scope = &s;
    weft_scope_open(&s);
    weft_tasklet_spawn(
        [](void *arg) { return weft_tasklet_sleep(WEFT_FOREVER) == 0 ? arg : WEFT_FAILED; }, NULL,
        &o);
    return weft_scope_join(&s, WEFT_FOREVER);
}

// Runs a generator that waits.
static int wait_in_generator(void)
{
    weft_generator *g = weft_generator_create(
        [](weft_generator *self, void *) {
            int64_t got;
            return receive(&got) != 0 ? errno : weft_generator_yield(self, &got);
        },
        NULL, sizeof item, NULL);
    int r = weft_generator_next(g, &item), error = errno;
    weft_generator_destroy(g);
    errno = error;
    return r == 1 ? 0 : -1;
}

// Every call that waits.
static int (*const waits[])(void) = {
    [] { return weft_tasklet_yield(); },
    [] { return weft_tasklet_sleep(weft_in_s(500)); },
    [] { return weft_tasklet_sleep(WEFT_FOREVER); },
    [] { return weft_tasklet_suspend(weft_in_s(500)); },
    [] { return weft_tasklet_join(waiting, NULL, WEFT_FOREVER); },
    [] { return receive(&item); },
    [] { return weft_channel_next(channel, &item, weft_in_s(500)); },
    [] { return send(1); },
    [] { return weft_channel_send_error(channel, EIO, WEFT_FOREVER); },
    [] { return select_two(weft_in_s(500)); },
    close_a_scope,
    wait_in_generator};

static void *wait_by(void *which)
{
    return (*(int (*const *)(void))which)() >= 0 ? NULL : WEFT_FAILED;
}

static void begin_waiting(size_t capacity)
{
    open_channel(capacity);
    waiting = spawn(suspend_for_ever);
}

static void end_waiting(void)
{
    weft_tasklet_wake(waiting);
    join(waiting);
    assert_noted("woken ");
    close_channel();
}

CASE(test_cancel_at_every_suspension_point)
{
    for (int (*const &wait)(void) : waits) {
        begin_waiting(0);
        weft_tasklet *t = spawn(wait_by, (const void *)&wait);
        weft_tasklet_yield();
        if (weft_tasklet_poll(t) != 0)
            fail_msg("wait %d did not wait", (int)(&wait - waits));
        assert_int_equal(weft_tasklet_cancel(t), 0);
        assert_int_equal(weft_tasklet_cancel(t), 0);
        assert_int_equal(weft_channel_balance(channel), 0);
        assert_ptr_equal(join(t), WEFT_FAILED);
        assert_int_equal(errno, ECANCELED);
        end_waiting();
    }
}

CASE(test_cancel_lasts_and_spares_what_does_not_wait)
{
    begin_waiting(1);
    weft_tasklet *t = spawn([](void *) {
        intptr_t failures = 0;
        weft_tasklet_cancel(weft_tasklet_self());
        for (int (*const &wait)(void) : waits)
            failures += wait() == -1 && errno == ECANCELED;
        // What does not wait goes on working.
        failures += send(5, WEFT_NOW) == 0;
        failures += receive(&item, WEFT_NOW) == 0;
        failures += select_two(WEFT_NOW) == 2;
        return V(failures);
    });
    assert_ptr_equal(join(t), V(sizeof waits / sizeof *waits + 3));
    assert_int_equal(weft_channel_balance(channel), 1);
    end_waiting();
}

CASE(test_cancel_of_a_new_one_never_runs_it)
{
    weft_tasklet *t = spawn(note_thrice, "ran");
    assert_ptr_equal(cancel_and_join(t), WEFT_FAILED);
    assert_int_equal(errno, ECANCELED);
    assert_noted("");
}

CASE(test_cancel_of_an_ended_one_changes_nothing)
{
    weft_tasklet *t = spawn(identity, V(9));
    run_all();
    assert_ptr_equal(cancel_and_join(t), V(9));
    assert_errno(weft_tasklet_cancel(NULL), EINVAL);
    assert_errno(weft_tasklet_cancel(weft_tasklet_self()), EINVAL);
}

CASE(test_cancel_after_delivery_loses_nothing)
{
    open_channel(0);
    weft_tasklet *t = spawn([](void *arg) {
        note_result(receive(&item), "got");
        note_result(weft_tasklet_yield(), "yielded");
        return arg;
    });
    weft_tasklet_yield();
    assert_int_equal(send(17, WEFT_NOW), 0);
    cancel_and_join(t);
    assert_noted("got ECANCELED ");
    assert_int_equal(item, 17);
    close_channel();
}

CASE(test_cancel_runs_deferred_functions)
{
    const auto wait = [](void *arg) {
        const auto deferred = [](void *what) {
            note((const char *)what);
            note_result(weft_tasklet_yield(), "yielded");
        };
        weft_defer(deferred, (void *)(uintptr_t) "1");
        weft_defer(deferred, (void *)(uintptr_t) "2");
        weft_tasklet_suspend(WEFT_FOREVER);
        return arg;
    };
    weft_tasklet *t = spawn(wait);
    weft_tasklet_yield();
    cancel_and_join(t);
    assert_noted("2ECANCELED 1ECANCELED ");
}

// ---- Suspend, wake, remove ----

CASE(test_suspend_until_woken)
{
    weft_tasklet *t = spawn(suspend_for_ever, V(5));
    weft_tasklet_yield();
    assert_int_equal(weft_tasklet_wake(t), 0);
    assert_ptr_equal(join(t), V(5));
    assert_noted("woken ");
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
    weft_tasklet *a = spawn(note_thrice, "a"), *b = spawn(note_thrice, "b");
    assert_int_equal(weft_tasklet_remove(a), 0); // a new one
    assert_int_equal(weft_tasklet_remove(a), 0);
    weft_tasklet_yield();
    assert_int_equal(weft_tasklet_remove(b), 0); // one that yielded
    for (int i = 0; i < 5; i++)
        weft_tasklet_yield();
    assert_noted("b");
    assert_int_equal(weft_tasklet_wake(b), 0);
    assert_int_equal(weft_tasklet_wake(a), 0);
    run_all("babaa");
    assert_errno(weft_tasklet_remove(a), ESRCH);
    assert_errno(weft_tasklet_remove(NULL), EINVAL);
    assert_errno(weft_tasklet_remove(weft_tasklet_self()), EINVAL);
    join(a);
    join(b);
}

CASE(test_remove_refuses_who_waits_or_runs)
{
    weft_tasklet *t = spawn(suspend_for_ever);
    spawn_detached([](void *arg) {
        note_result(weft_tasklet_remove(weft_tasklet_self()), "removed");
        return arg;
    });
    weft_tasklet_yield();
    assert_errno(weft_tasklet_remove(t), EBUSY);
    cancel_and_join(t);
    assert_noted("EBUSY ECANCELED ");
}

CASE(test_remove_then_cancel)
{
    weft_tasklet *t = spawn(note_thrice, "a");
    weft_tasklet_yield();
    weft_tasklet_remove(t);
    cancel_and_join(t);
    assert_noted("a!a!a!");
}

// ---- Deadlock ----

CASE(test_run_reports_a_deadlock)
{
    weft_tasklet_options o = {"stuck", 0, NULL, false, false, false};
    open_channel(0);
    weft_tasklet *t = weft_tasklet_spawn(
        [](void *arg) { return receive(&item) == 0 ? arg : WEFT_FAILED; }, NULL, &o);
    move_stderr();
    int r = weft_tasklet_run(), error = errno;
    const char *said = restore_stderr();
    assert_int_equal(r, -1);
    assert_int_equal(error, EDEADLK);
    assert_non_null(strstr(said, "weft: deadlock"));
    assert_non_null(strstr(said, "\"stuck\""));
    assert_non_null(strstr(said, "waits for receive from"));
    // It is still there, and can be ended.
    assert_int_equal(weft_channel_balance(channel), -1);
    weft_tasklet_cancel(t);
    run_all();
    join(t);
    close_channel();
}

CASE(test_main_wait_reports_a_deadlock)
{
    open_channel(0);
    move_stderr();
    int r = receive(&item), error = errno;
    assert_non_null(strstr(restore_stderr(), "\"main\""));
    assert_int_equal(r, -1);
    assert_int_equal(error, EDEADLK);
    assert_int_equal(weft_channel_balance(channel), 0);
    assert_errno(receive(&item, weft_in_ms(1)), ETIMEDOUT);
    close_channel();
}

CASE(test_wait_inside_a_generator)
{
    open_channel(0);
    weft_tasklet *t = spawn([](void *arg) { return wait_in_generator() == 0 ? arg : WEFT_FAILED; });
    weft_tasklet_yield();
    assert_int_equal(send(6), 0);
    assert_null(join(t));
    assert_int_equal(item, 6);
    close_channel();
}

// ---- Threads ----

static void in_thread(void *(*fn)(void *), void *arg)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fn, arg), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static int refused;

static void *meddle_from_afar(void *tasklet)
{
    weft_tasklet *t = (weft_tasklet *)tasklet;
    refused += weft_tasklet_join(t, NULL, WEFT_NOW) == -1 && errno == EPERM;
    refused += weft_tasklet_cancel(t) == -1 && errno == EPERM;
    refused += weft_tasklet_wake(t) == -1 && errno == EPERM;
    refused += weft_tasklet_remove(t) == -1 && errno == EPERM;
    refused += weft_tasklet_detach(t) == -1 && errno == EPERM;
    refused += weft_tasklet_poll(t) == -1 && errno == EPERM;
    refused += send(0, WEFT_NOW) == -1 && errno == EPERM;
    refused += receive(&item, WEFT_NOW) == -1 && errno == EPERM;
    refused += weft_channel_next(channel, &item, WEFT_NOW) == -1 && errno == EPERM;
    refused += weft_channel_send_error(channel, 1, WEFT_NOW) == -1 && errno == EPERM;
    refused += weft_channel_close(channel) == -1 && errno == EPERM;
    refused += weft_channel_destroy(channel) == -1 && errno == EPERM;
    refused += select_two(WEFT_NOW) == -1 && errno == EPERM;
    return NULL;
}

CASE(test_another_thread_is_refused)
{
    weft_tasklet *t = spawn(identity);
    open_channel(1);
    refused = 0;
    in_thread(meddle_from_afar, t);
    assert_int_equal(refused, 13);
    join(t);
    close_channel();
}

namespace {
struct pump {
    weft_channel *channel;
    int64_t sum;
};
} // namespace

static void *pump_send(void *arg)
{
    const pump *p = (pump *)arg;
    for (int64_t i = 0; i < 1000; i++)
        weft_channel_send(p->channel, &i, WEFT_FOREVER);
    weft_channel_close(p->channel);
    return NULL;
}

static void *pump_receive(void *arg)
{
    pump *p = (pump *)arg;
    for (int64_t got; weft_channel_next(p->channel, &got, WEFT_FOREVER) == 1;)
        p->sum += got;
    return NULL;
}

static void *pump_thread(void *arg)
{
    pump *p = (pump *)arg;
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
    pump p[8] = {};
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, pump_thread, &p[i]), 0);
    for (int i = 0; i < 8; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(p[i].sum, 999 * 1000 / 2);
    }
}

static int deferred_at_end;

static void count_deferred(void *)
{
    deferred_at_end++;
    // The thread is ending: nothing can wait any more.
    deferred_at_end += receive(&item) == -1;
    deferred_at_end += weft_tasklet_spawn(identity, NULL, NULL) == NULL;
}

static void *wait_with_deferred(void *arg)
{
    weft_defer(count_deferred, NULL);
    receive(&item);
    return arg;
}

static void *end_with_tasklets(void *arg)
{
    channel = weft_channel_create(sizeof(int64_t), 0);
    for (int i = 0; i < 3; i++)
        weft_tasklet_spawn(wait_with_deferred, NULL, NULL);
    weft_tasklet_spawn(suspend_for_ever, NULL, NULL);
    weft_tasklet_yield();
    weft_tasklet_spawn(identity, NULL, &detached); // never runs
    return arg;
}

CASE(test_thread_end_releases_tasklets)
{
    deferred_at_end = 0;
    in_thread(end_with_tasklets, NULL);
    assert_int_equal(deferred_at_end, 9);
    free(channel); // its thread is gone; it waits for nobody
}

RUN_CASES()
