// Executors whose tasks, callbacks or processes leave: by pthread_exit, cancellation, fork and
// exit.
#include "executing.h"

static void *leave(void *arg)
{
    pthread_exit(arg);
}

static void *be_cancelled(void *arg)
{
    pthread_cancel(pthread_self());
    pthread_testcancel();
    return arg;
}

// ---- Tasks ----

static void assert_cancelled(weft_future *f)
{
    assert_int_equal(weft_future_wait(f, WEFT_FOREVER), 0);
    assert_errno(weft_future_get(f, NULL, WEFT_FOREVER), ECANCELED);
    assert_int_equal(weft_future_state(f), WEFT_FUTURE_CANCELLED);
    assert_int_equal(weft_future_release(f), 0);
}

CASE(test_a_task_that_leaves_is_cancelled_and_its_worker_replaced)
{
    for (int threads = 1; threads <= 3; threads++) {
        begin(threads);
        for (int i = 0; i < 50; i++) {
            weft_future *f = weft_executor_submit(ex, i % 2 ? leave : be_cancelled, &ex, WEFT_NOW);
            weft_future *g = weft_executor_submit(ex, same, &ex, WEFT_NOW);
            assert_cancelled(f);
            assert_int_equal(weft_future_get(g, NULL, WEFT_FOREVER), 0);
        }
        end();
    }
}

static weft_future *inner, *innermost;

static void *leave_deep(void *arg)
{
    weft_future *f = weft_executor_submit(ex, leave, arg, WEFT_NOW);
    __atomic_store_n(&innermost, f, __ATOMIC_RELEASE);
    weft_future_wait(f, WEFT_FOREVER);
    return arg;
}

static void *wait_for_leaver(void *arg)
{
    weft_future *f = weft_executor_submit(ex, leave_deep, arg, WEFT_NOW);
    __atomic_store_n(&inner, f, __ATOMIC_RELEASE);
    weft_future_wait(f, WEFT_FOREVER);
    return arg;
}

// On one thread the third is run on top of the second, and that on top of the first: all leave.
CASE(test_a_task_that_leaves_takes_those_below_along)
{
    begin(1);
    weft_future *f = weft_executor_submit(ex, wait_for_leaver, &ex, WEFT_NOW);
    weft_future *g = weft_executor_submit(ex, same, &ex, WEFT_NOW);
    assert_cancelled(f);
    assert_cancelled(inner);
    assert_cancelled(innermost);
    assert_int_equal(weft_future_get(g, NULL, WEFT_FOREVER), 0);
    end();
}

static void leave_index(size_t i, void *arg)
{
    add_word((int *)arg);
    if (i == 7)
        pthread_exit(NULL);
}

static void *map_leaving(void *arg)
{
    weft_executor_map(ex, leave_index, arg, 20000, WEFT_FOREVER);
    return arg;
}

// By one of the pool, ECANCELED; by the caller, which is gone: nothing is left behind.
CASE(test_a_map_that_is_left)
{
    begin(2);
    for (int i = 0; i < 30; i++) {
        int calls = 0;
        void *result = NULL;
        weft_thread *t = weft_thread_start(map_leaving, &calls, NULL);
        assert_int_equal(weft_thread_join(t, &result, WEFT_FOREVER), 0);
        assert_int_equal(weft_executor_wait(ex, WEFT_FOREVER), 0);
        assert_in_range(calls, 1, 20000);
    }
    end();
}

// ---- Callbacks ----

static int seen_error; // atomic

static void wait_in_callback(weft_future *f, void *arg)
{
    int ok = weft_executor_wait(ex, WEFT_FOREVER) == -1 && errno == EDEADLK;
    ok &= weft_executor_join(ex, WEFT_FOREVER) == -1 && errno == EDEADLK;
    ok &= weft_executor_destroy(ex) == -1 && errno == EDEADLK;
    ok &= weft_future_wait(f, WEFT_FOREVER) == -1 && errno == EDEADLK;
    add_word((int *)arg);
    __atomic_store_n(&seen_error, ok ? EDEADLK : -1, __ATOMIC_RELEASE);
}

static weft_event may_pass;

// A task with a callback behind one that holds the only worker until it may pass.
static weft_future *behind(weft_future **held, void (*callback)(weft_future *, void *), int *calls)
{
    weft_event_clear(&may_pass);
    *held = weft_executor_submit(ex, pass, &may_pass, WEFT_NOW);
    weft_future *f = weft_executor_submit(ex, same, NULL, WEFT_NOW);
    assert_int_equal(weft_future_then(f, callback, calls), 0);
    return f;
}

static void let_pass(weft_future *held, weft_future *f, bool cancelled)
{
    weft_event_set(&may_pass);
    assert_int_equal(weft_future_wait(f, WEFT_FOREVER), 0);
    assert_int_equal(weft_future_state(f), cancelled ? WEFT_FUTURE_CANCELLED : WEFT_FUTURE_DONE);
    assert_int_equal(weft_future_release(f), 0);
    assert_int_equal(weft_future_get(held, NULL, WEFT_FOREVER), 0);
}

// In a worker and in a thread that cancels: both count as running.
CASE(test_a_callback_that_waits_for_its_executor)
{
    begin(1);
    int calls = 0;
    for (int cancel = 0; cancel < 2; cancel++) {
        weft_future *held, *f = behind(&held, wait_in_callback, &calls);
        if (cancel)
            assert_int_equal(weft_future_cancel(f), 0);
        let_pass(held, f, cancel);
        assert_int_equal(calls, cancel + 1);
        assert_int_equal(seen_error, EDEADLK);
    }
    end();
}

static void leave_callback(weft_future *, void *arg)
{
    add_word((int *)arg);
    pthread_exit(NULL);
}

static void *cancel_it(void *arg)
{
    weft_future_cancel((weft_future *)arg);
    return NULL;
}

CASE(test_a_callback_that_leaves)
{
    begin(1);
    int calls = 0;
    for (int i = 0; i < 20; i++) {
        weft_future *held, *f = behind(&held, leave_callback, &calls);
        weft_thread *t = i % 2 ? weft_thread_start(cancel_it, f, NULL) : NULL;
        if (t != NULL)
            assert_int_equal(weft_thread_join(t, NULL, WEFT_FOREVER), 0);
        let_pass(held, f, i % 2);
        assert_int_equal(calls, i + 1);
    }
    end();
}

RUN_CASES()
