// loop_task.cc: tasks: posted by threads and signal handlers, deferred, idle.
#include "looped.h"

#include <weft/thread.h>

#include <signal.h>

// ---- Posted ----

enum { POSTERS = 3, POSTS = 2000 };

static void *post_many(void *arg)
{
    weft_task *tasks = (weft_task *)arg;
    for (int i = 0; i < POSTS; i++) {
        tasks[i] = task(count_task, &calls); // plain: the loop's thread alone counts
        if (weft_loop_post(l, &tasks[i]) != 0)
            return nullptr;
    }
    return arg;
}

LOOP_CASE(test_post_from_threads)
{
    static weft_task tasks[POSTERS][POSTS];
    weft_thread *threads[POSTERS];
    weft_loop_hold(l, 1);
    for (int i = 0; i < POSTERS; i++)
        threads[i] = weft_thread_start(post_many, tasks[i], nullptr);
    while (calls < POSTERS * POSTS)
        assert_int_equal(once(), 1);
    for (weft_thread *t : threads) {
        void *result = nullptr;
        assert_int_equal(weft_thread_join(t, &result, WEFT_FOREVER), 0);
        assert_non_null(result);
    }
    assert_int_equal(calls, POSTERS * POSTS);
}

static void note_order(weft_task *, void *arg)
{
    *(int *)arg = ++calls;
}

LOOP_CASE(test_post_in_order_and_once)
{
    int order[3] = {}, twice_calls = 0;
    weft_task t[3], twice = task(count_task, &twice_calls), none = {};
    for (int i = 0; i < 3; i++) {
        t[i] = task(note_order, &order[i]);
        assert_int_equal(weft_loop_post(l, &t[i]), 0);
    }
    assert_int_equal(weft_loop_post(l, &twice), 0);
    assert_int_equal(weft_loop_post(l, &twice), 0);
    assert_errno(weft_loop_post(l, &none), EINVAL);
    assert_errno(weft_loop_defer(l, &twice), EBUSY);
    assert_errno(weft_task_cancel(&twice), EALREADY);
    assert_int_equal(run_all(), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(order[i], i + 1);
    assert_int_equal(twice_calls, 1);
}

LOOP_CASE(test_post_itself_again)
{
    h.t = task([](weft_task *t, void *) {
        if (++calls < 5)
            weft_loop_post(l, t);
    });
    weft_loop_post(l, &h.t);
    assert_int_equal(run_all(), 0);
    assert_int_equal(calls, 5);
}

LOOP_CASE(test_post_may_free_itself)
{
    for (int i = 0; i < 3; i++) {
        weft_task *t = (weft_task *)calloc(1, sizeof *t);
        t->fn = [](weft_task *self, void *) { free(self); };
        assert_int_equal(weft_loop_post(l, t), 0);
    }
    assert_int_equal(run_all(), 0);
}

LOOP_CASE(test_post_when_the_counter_is_full)
{
    uint64_t full = UINT64_MAX - 1;
    h.t = task(count_task, &calls);
    assert_int_equal(write(l->wake_watch.fd, &full, sizeof full), sizeof full);
    errno = 7;
    assert_int_equal(weft_loop_post(l, &h.t), 0);
    weft_loop_wake(l);
    assert_int_equal(errno, 7);
    assert_int_equal(run_all(), 0);
    assert_int_equal(calls, 1);
}

// One that does it with `l` in a thread.
static weft_thread *from_afar(void *(*fn)(void *), void *arg = nullptr)
{
    weft_thread *t = weft_thread_start(fn, arg, nullptr);
    assert_non_null(t);
    return t;
}

LOOP_CASE(test_post_from_a_signal_handler)
{
    pthread_t self = pthread_self();
    struct sigaction now = {}, before;
    h.t = task(count_task, &calls);
    now.sa_handler = [](int) { weft_loop_post(l, &h.t); };
    sigaction(SIGUSR2, &now, &before);
    weft_loop_hold(l, 1);
    weft_thread *t = from_afar(
        [](void *arg) -> void * {
            pthread_kill(*(pthread_t *)arg, SIGUSR2);
            return nullptr;
        },
        &self);
    while (calls == 0)
        assert_int_equal(once(), 1);
    weft_thread_join(t, nullptr, WEFT_FOREVER);
    sigaction(SIGUSR2, &before, nullptr);
}

LOOP_CASE(test_stop_and_wake_from_a_thread)
{
    weft_loop_hold(l, 1);
    weft_thread *t = from_afar([](void *) -> void * {
        weft_loop_stop(l);
        return nullptr;
    });
    assert_int_equal(run_all(), 1);
    weft_thread_join(t, nullptr, WEFT_FOREVER);
    while (weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW) == 1)
        ; // the wake-up that went with the stop
    t = from_afar([](void *) -> void * {
        weft_loop_wake(l);
        return nullptr;
    });
    assert_int_equal(once(), 1);
    weft_thread_join(t, nullptr, WEFT_FOREVER);
}

// ---- Deferred and idle ----

LOOP_CASE(test_defer_runs_once)
{
    weft_task t = task(count_task, &calls), none = {};
    assert_int_equal(weft_loop_defer(l, &t), 0);
    assert_errno(weft_loop_defer(l, &t), EBUSY);
    assert_errno(weft_loop_idle(l, &t), EBUSY);
    assert_errno(weft_loop_post(l, &t), EBUSY);
    assert_errno(weft_loop_defer(l, &none), EINVAL);
    assert_errno(weft_loop_idle(l, &none), EINVAL);
    assert_int_equal(weft_task_cancel(&t), 0);
    assert_errno(weft_task_cancel(&t), EALREADY);
    assert_int_equal(run_all(), 0);
    assert_int_equal(calls, 0);
    assert_int_equal(weft_loop_defer(l, &t), 0);
    assert_int_equal(run_all(), 0);
    assert_int_equal(calls, 1);
}

static void defer_again(weft_task *t, void *arg)
{
    weft_loop_counters s;
    weft_loop_statistics(l, &s);
    ((uint64_t *)arg)[calls++] = s.rounds;
    if (calls < 3)
        weft_loop_defer(l, t);
}

LOOP_CASE(test_defer_again_is_the_next_round)
{
    uint64_t rounds[3];
    weft_task t = task(defer_again, rounds);
    weft_loop_defer(l, &t);
    assert_int_equal(run_all(), 0);
    assert_int_equal(calls, 3);
    assert_int_equal(rounds[1], rounds[0] + 1);
    assert_int_equal(rounds[2], rounds[1] + 1);
}

static void idle_thrice(weft_task *t, void *arg)
{
    if (++*(int *)arg == 3)
        weft_task_cancel(t);
}

LOOP_CASE(test_idle_when_nothing_else)
{
    int idle = 0;
    weft_task i = task(idle_thrice, &idle), d = task(count_task, &calls);
    assert_int_equal(weft_loop_idle(l, &i), 0);
    assert_int_equal(weft_loop_defer(l, &d), 0);
    assert_int_equal(once(), 1);
    assert_int_equal(calls, 1);
    assert_int_equal(idle, 0);
    assert_int_equal(run_all(), 0);
    assert_int_equal(idle, 3);
}

LOOP_CASE(test_stop_within_a_batch_of_tasks)
{
    weft_task victim = task(count_task, &calls);
    weft_task killer =
        task([](weft_task *, void *arg) { weft_task_cancel((weft_task *)arg); }, &victim);
    weft_loop_defer(l, &killer);
    weft_loop_defer(l, &victim);
    assert_int_equal(run_all(), 0);
    assert_int_equal(calls, 0);
}

RUN_CASES()
