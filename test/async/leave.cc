// Calls of libweft-thread that run a caller's function, on coroutines that take turns: each puts in
// order what is its own, in whatever order they end, and nothing is left behind with the thread.
#include "../thread/closing.h"
#include "inside.h"

#include <weft/coro.h>
#include <weft/executor.h>
#include <weft/sync.h>
#include <weft/thread.h>

#include <pthread.h>

static weft_event gates[2]; // each opens one call
static weft_once onces[2];
static int calls;

static int pass(void *gate)
{
    calls++;
    return weft_event_wait((weft_event *)gate, WEFT_FOREVER);
}

static void pass_ended(weft_future *, void *gate)
{
    pass(gate);
}

static void *run_once(void *gate)
{
    weft_once_run(&onces[(weft_event *)gate - gates], pass, gate, WEFT_FOREVER);
    return nullptr;
}

static void *keep_promise(void *gate)
{
    weft_future *f = weft_future_create();
    weft_future_then(f, pass_ended, gate);
    weft_future_set(f, nullptr);
    weft_future_release(f);
    return nullptr;
}

static void *map_one(void *gate)
{
    weft_executor *ex = weft_executor_create(1, nullptr);
    weft_executor_map(
        ex, [](size_t, void *arg) { pass(arg); }, gate, 1, WEFT_FOREVER);
    weft_executor_destroy(ex);
    return nullptr;
}

static void *until_stopped(void *)
{
    weft_thread_sleep(WEFT_FOREVER);
    return nullptr;
}

static void *discard_one(void *gate)
{
    weft_executor *ex = weft_executor_create(1, nullptr);
    weft_future *running = weft_executor_submit(ex, until_stopped, nullptr, WEFT_NOW);
    while (counters_of(ex).pending != 0)
        sched_yield();
    weft_future *f = weft_executor_submit(ex, until_stopped, nullptr, WEFT_NOW);
    weft_future_then(f, pass_ended, gate);
    weft_executor_close(ex, WEFT_DISCARD);
    weft_executor_destroy(ex);
    weft_future_release(f);
    weft_future_release(running);
    return nullptr;
}

static void *const kinds[] = {(void *)run_once, (void *)keep_promise, (void *)map_one,
                              (void *)discard_one};

// The first ends first.
static int take_turns(void *kind)
{
    weft_tasklet *t[2];
    for (int i = 0; i < 2; i++) {
        weft_event_init(&gates[i]);
        t[i] = spawn((void *(*)(void *))kind, &gates[i], true);
        while (calls == i)
            weft_tasklet_yield();
    }
    for (int i = 0; i < 2; i++) {
        weft_event_set(&gates[i]);
        if (weft_tasklet_join(t[i], nullptr, WEFT_FOREVER) != 0)
            return 1;
    }
    return 0;
}

static void *exit_after_turns(void *kind)
{
    pthread_exit((void *)(intptr_t)weft_io_run(take_turns, kind));
}

static int in_thread(void *(*fn)(void *), void *arg)
{
    void *result = (void *)1;
    calls = 0;
    weft_thread *t = weft_thread_start(fn, arg, nullptr);
    weft_thread_join(t, &result, WEFT_FOREVER);
    return (int)(intptr_t)result;
}

static int no_call(void *)
{
    return -1;
}

static int check_turns(void *kind)
{
    int result = in_thread(exit_after_turns, kind);
    for (int i = 0; i < 2 && kind == (void *)run_once; i++)
        if (weft_once_run(&onces[i], no_call, nullptr, WEFT_NOW) != 0)
            return 2;
    return result;
}

CASE(test_ends_out_of_order)
{
    for (void *kind : kinds)
        assert_int_equal(end_of(child_of(check_turns, kind)), 0);
}

// ---- What never comes back ----

static int yield_in_once(void *)
{
    weft_coro_yield(nullptr);
    return 0;
}

static void *once_in_coro(void *, void *)
{
    weft_once_run(&onces[0], yield_in_once, nullptr, WEFT_FOREVER);
    return nullptr;
}

static int set_call(void *)
{
    calls++;
    return 0;
}

CASE(test_a_coroutine_destroyed_within)
{
    weft_coro *co = weft_coro_create(once_in_coro, nullptr, nullptr);
    weft_coro_resume(co, nullptr);
    assert_errno(weft_once_run(&onces[0], set_call, nullptr, WEFT_NOW), EDEADLK);
    assert_int_equal(weft_coro_destroy(co), 0);
    calls = 0;
    assert_int_equal(weft_once_run(&onces[0], set_call, nullptr, WEFT_NOW), 0);
    assert_int_equal(calls, 1);
}

static int exit_in_once(void *)
{
    pthread_exit(nullptr);
}

static int leave_within(void *)
{
    weft_event_init(&gates[1]);
    spawn(run_once, &gates[1]);
    while (calls == 0)
        weft_tasklet_yield();
    weft_tasklet *t =
        spawn([] { weft_once_run(&onces[0], exit_in_once, nullptr, WEFT_FOREVER); }, true);
    return weft_tasklet_join(t, nullptr, WEFT_FOREVER);
}

static int check_leave(void *)
{
    for (weft_once &o : onces)
        o = WEFT_ONCE_INIT;
    in_thread([](void *) { return (void *)(intptr_t)weft_io_run(leave_within, nullptr); }, nullptr);
    for (weft_once &o : onces)
        if (weft_once_run(&o, set_call, nullptr, WEFT_NOW) != 0)
            return 1;
    return calls == 3 ? 0 : 2;
}

// The calls of all its coroutines count as left.
CASE(test_a_thread_ends_within)
{
    forks_coroutines();
    assert_int_equal(end_of(child_of(check_leave, nullptr)), 0);
}

RUN_CASES()
