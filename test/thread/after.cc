// Tasks after other tasks, and futures as they complete.
#include "executing.h"

#include <weft/thread.h>

#include <errno.h>
#include <thread/future.h>

static void *count(void *arg)
{
    add_word((int *)arg);
    return arg;
}

// ---- After another ----

static void *plus_one(void *arg)
{
    void *before = NULL;
    weft_future_get((weft_future *)arg, &before, WEFT_NOW);
    return (void *)((intptr_t)before + 1);
}

// Each takes over what the one before returned.
CASE(test_after_makes_chains)
{
    for (int threads = 1; threads <= 3; threads++) {
        begin(threads);
        void *result = NULL;
        weft_future *f = weft_executor_submit(ex, same, NULL, WEFT_NOW);
        for (int i = 0; i < 1000; i++) {
            f = weft_executor_submit_after(ex, f, plus_one, f);
            assert_non_null(f);
        }
        assert_int_equal(weft_future_get(f, &result, WEFT_FOREVER), 0);
        assert_int_equal((intptr_t)result, 1000);
        end();
    }
}

CASE(test_after_waits_for_its_time)
{
    weft_executor *other = weft_executor_create(1, NULL);
    begin(1);
    weft_future *p = weft_future_create(), *f[10];
    int n = 0;
    assert_errno(weft_executor_submit_after(ex, NULL, count, &n), EINVAL);
    assert_errno(weft_executor_submit_after(ex, p, NULL, &n), EINVAL);
    for (int i = 0; i < 10; i++) // any number, of any executor
        f[i] = weft_executor_submit_after(i % 2 ? ex : other, p, count, &n);
    assert_int_equal(counters_of(ex).pending, 5);
    assert_int_equal(weft_future_state(f[3]), WEFT_FUTURE_PENDING);
    assert_errno(weft_future_wait(f[3], weft_in_ms(2)), ETIMEDOUT);
    assert_errno(weft_executor_wait(ex, weft_in_ms(2)), ETIMEDOUT);
    assert_int_equal(weft_future_cancel(f[4]), 0);
    assert_int_equal(n, 0);
    assert_int_equal(weft_future_set(p, NULL), 0);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(weft_future_wait(f[i], WEFT_FOREVER), 0);
        assert_int_equal(weft_future_release(f[i]), 0);
    }
    assert_int_equal(n, 9);
    weft_future *late = weft_executor_submit_after(ex, p, count, &n); // p has ended
    assert_int_equal(weft_future_get(late, NULL, WEFT_FOREVER), 0);
    assert_int_equal(n, 10);
    assert_int_equal(weft_future_release(p), 0);
    end();
    assert_int_equal(weft_executor_destroy(other), 0);
}

CASE(test_after_a_cancelled_one)
{
    begin(1);
    weft_event open = WEFT_EVENT_INIT;
    int n = 0;
    weft_future *held = weft_executor_submit(ex, pass, &open, WEFT_NOW);
    weft_future *f = weft_executor_submit(ex, same, NULL, WEFT_NOW);
    weft_future *g = weft_executor_submit_after(ex, f, count, &n);
    assert_int_equal(weft_future_cancel(f), 0);
    weft_event_set(&open);
    assert_int_equal(weft_future_get(g, NULL, WEFT_FOREVER), 0);
    assert_int_equal(n, 1);
    assert_int_equal(weft_future_release(f), 0);
    assert_int_equal(weft_future_release(held), 0);
    end();
}

static void *set_soon(void *arg)
{
    weft_thread_sleep(weft_in_ms(5));
    weft_future_set((weft_future *)arg, NULL);
    return arg;
}

CASE(test_after_and_shutdown)
{
    for (int i = 0; i < 40; i++) {
        begin(1 + i % 2);
        weft_future *p = weft_future_create();
        int n = 0;
        weft_future *f = weft_executor_submit_after(ex, p, count, &n);
        weft_thread *t = weft_thread_start(i % 4 < 2 ? set_soon : same, p, NULL);
        int how = i % 4 < 2 ? WEFT_DRAIN : WEFT_DISCARD;
        assert_errno(shut(ex, WEFT_DRAIN, WEFT_NOW), ETIMEDOUT);
        assert_errno(weft_executor_submit_after(ex, p, count, &n), EPIPE);
        assert_int_equal(finish(ex, how), 0);
        assert_int_equal(n, how == WEFT_DRAIN);
        assert_int_equal(weft_future_state(f),
                         how == WEFT_DRAIN ? WEFT_FUTURE_DONE : WEFT_FUTURE_CANCELLED);
        assert_int_equal(weft_future_release(f), 0);
        assert_int_equal(weft_thread_join(t, NULL, WEFT_FOREVER), 0);
        if (how == WEFT_DISCARD)
            assert_int_equal(weft_future_set(p, NULL), 0); // nobody is there any more
        assert_int_equal(weft_future_release(p), 0);
    }
}

// The end, a cancel and a shutdown meet: each task ends once.
CASE(test_after_raced_for)
{
    int n = 0, cancelled = 0;
    enum { ROUNDS = 300, EACH = 4 };
    weft_executor *source = weft_executor_create(2, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        begin(1);
        weft_future *f = weft_executor_submit(source, same, NULL, WEFT_NOW), *g[EACH];
        for (int k = 0; k < EACH; k++)
            g[k] = weft_executor_submit_after(ex, f, count, &n);
        weft_future_cancel(g[i % EACH]);
        assert_int_equal(finish(ex, i % 2 ? WEFT_DISCARD : WEFT_DRAIN), 0);
        for (int k = 0; k < EACH; k++) {
            cancelled += weft_future_state(g[k]) == WEFT_FUTURE_CANCELLED;
            assert_int_equal(weft_future_release(g[k]), 0);
        }
        assert_int_equal(weft_future_get(f, NULL, WEFT_FOREVER), 0);
    }
    assert_int_equal(n + cancelled, ROUNDS * EACH);
    assert_int_equal(weft_executor_destroy(source), 0);
}

// On one thread: what it waits for comes after something that another thread ends.
static void *wait_after(void *arg)
{
    weft_future **f = (weft_future **)arg;
    return weft_future_wait(f[1], WEFT_FOREVER) == 0 ? arg : NULL;
}

CASE(test_after_is_run_while_its_worker_waits)
{
    for (int i = 0; i < 50; i++) {
        begin(1);
        void *good = NULL;
        int n = 0;
        weft_future *f[2] = {weft_future_create(), NULL};
        f[1] = weft_executor_submit_after(ex, f[0], count, &n);
        weft_future *waits = weft_executor_submit(ex, wait_after, f, WEFT_NOW);
        if (i % 2)
            assert_errno(weft_future_wait(waits, weft_in_ms(2)), ETIMEDOUT);
        assert_int_equal(weft_future_set(f[0], NULL), 0);
        assert_int_equal(weft_future_get(waits, &good, WEFT_FOREVER), 0);
        assert_ptr_equal(good, f);
        assert_int_equal(n, 1);
        assert_int_equal(weft_future_release(f[0]), 0);
        assert_int_equal(weft_future_release(f[1]), 0);
        end();
    }
}

// ---- In a circle ----

namespace {
struct knot {
    weft_future *own, *next, *last;
    weft_completions *among;
    weft_event tied;
};
} // namespace

// What comes after the task that waits for it.
static void *wait_for_successor(void *arg)
{
    knot *k = (knot *)arg;
    weft_event_wait(&k->tied, WEFT_FOREVER);
    bool good = weft_future_wait(k->last, weft_in_ms(1)) == -1 && errno == ETIMEDOUT;
    good &= weft_future_wait(k->last, WEFT_FOREVER) == -1 && errno == EDEADLK;
    good &= weft_future_wait(k->next, WEFT_FOREVER) == -1 && errno == EDEADLK;
    return good ? arg : NULL;
}

CASE(test_after_the_one_that_waits)
{
    for (int i = 0; i < 20; i++) {
        knot k = {NULL, NULL, NULL, NULL, WEFT_EVENT_INIT};
        void *good = NULL;
        int n = 0;
        begin(1 + i % 2);
        k.own = weft_executor_submit(ex, wait_for_successor, &k, WEFT_NOW);
        k.next = weft_executor_submit_after(ex, k.own, count, &n);
        k.last = weft_executor_submit_after(ex, k.next, count, &n);
        weft_event_set(&k.tied);
        assert_int_equal(weft_future_get(k.last, NULL, WEFT_FOREVER), 0);
        assert_int_equal(weft_future_get(k.next, NULL, WEFT_FOREVER), 0);
        assert_int_equal(weft_future_get(k.own, &good, WEFT_FOREVER), 0);
        assert_ptr_equal(good, &k);
        assert_int_equal(n, 2);
        end();
    }
}

static void *take_all_there_are(void *arg)
{
    knot *k = (knot *)arg;
    weft_event_wait(&k->tied, WEFT_FOREVER);
    while (weft_completions_next(k->among, WEFT_FOREVER) != NULL) {
    }
    return errno == EDEADLK ? arg : NULL;
}

// One task, or two, that wait for themselves and a promise, which they or another thread hear of.
CASE(test_completions_of_those_who_wait)
{
    for (int i = 0; i < 60; i++) {
        knot k = {NULL, NULL, NULL, weft_completions_create(), WEFT_EVENT_INIT};
        void *good[2] = {NULL, NULL};
        weft_future *f[2], *p = weft_future_create();
        begin(2);
        for (int j = 0; j <= i % 2; j++) {
            assert_non_null(f[j] = weft_executor_submit(ex, take_all_there_are, &k, WEFT_NOW));
            assert_int_equal(weft_completions_add(k.among, f[j]), 0);
        }
        assert_int_equal(weft_completions_add(k.among, p), 0);
        weft_event_set(&k.tied);
        if (i % 3 == 0)
            weft_thread_sleep(weft_in_ms(1));
        assert_int_equal(weft_future_set(p, NULL), 0);
        if (i % 4 < 2)
            weft_completions_next(k.among, WEFT_NOW);
        for (int j = 0; j <= i % 2; j++) {
            assert_int_equal(weft_future_wait(f[j], WEFT_FOREVER), 0);
            good[j] = weft_future_result(f[j]);
        }
        while (weft_completions_destroy(k.among) != 0)
            sched_yield();
        for (int j = 0; j <= i % 2; j++)
            assert_int_equal(weft_future_release(f[j]), 0);
        assert_int_equal(weft_future_release(p), 0);
        assert_true(good[0] == &k || good[1] == &k); // the other may hear of the first
        end();
    }
}

// ---- As they complete ----

CASE(test_completions_come_in_the_order_of_the_ends)
{
    enum { N = 200 };
    weft_completions *c = weft_completions_create();
    weft_future *p[N];
    assert_errno(weft_completions_next(c, WEFT_FOREVER), EDEADLK);
    assert_errno(weft_completions_next(NULL, WEFT_FOREVER), EINVAL);
    assert_errno(weft_completions_add(c, NULL), EINVAL);
    for (int i = 0; i < N; i++) {
        p[i] = weft_future_create();
        assert_int_equal(weft_completions_add(c, p[i]), 0);
    }
    assert_errno(weft_completions_next(c, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_completions_next(c, weft_in_ms(2)), ETIMEDOUT);
    assert_errno(weft_completions_destroy(c), EBUSY);
    for (int i = 0; i < N; i++)
        assert_int_equal(weft_future_set(p[i * 7 % N], NULL), 0);
    for (int i = 0; i < N; i++)
        assert_ptr_equal(weft_completions_next(c, WEFT_NOW), p[i * 7 % N]);
    assert_errno(weft_completions_next(c, WEFT_FOREVER), EDEADLK);
    assert_int_equal(weft_completions_add(c, p[0]), 0); // it has ended, and is not fetched
    assert_int_equal(weft_completions_destroy(c), 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(weft_future_release(p[i]), 0);
}

typedef struct collector {
    weft_completions *c;
    int got, errors; // atomic
} collector;

static void *collect_all(void *arg)
{
    collector *all = (collector *)arg;
    weft_future *f;
    while ((f = weft_completions_next(all->c, WEFT_FOREVER)) != NULL) {
        if (weft_future_get(f, NULL, WEFT_FOREVER) != 0)
            add_word(&all->errors);
        add_word(&all->got);
    }
    return errno == EDEADLK ? arg : NULL;
}

// One that has ended may have the watch of a waiter that was told and has not taken it off.
CASE(test_completions_touch_no_others_watch)
{
    uint32_t word = 0;
    weft_completions *c = weft_completions_create();
    weft_future *p = weft_future_create();
    weft_private_watch waiter = {nullptr, &word, nullptr, p};
    assert_true(weft::future_watch(p, &waiter));
    assert_int_equal(weft_future_set(p, NULL), 0);
    assert_true(word != 0);
    assert_int_equal(weft_completions_add(c, p), 0);
    assert_ptr_equal(waiter.of, p);
    weft::future_unwatch(p, &waiter);
    assert_ptr_equal(weft_completions_next(c, WEFT_NOW), p);
    assert_int_equal(weft_completions_destroy(c), 0);
    assert_int_equal(weft_future_release(p), 0);
}

// Several threads and a task share them; the task's one worker runs what it collects, too.
CASE(test_completions_shared)
{
    enum { N = 2000, THREADS = 3 };
    begin(2);
    collector all = {weft_completions_create(), 0, 0};
    weft_thread *t[THREADS];
    void *good = NULL;
    weft_event open = WEFT_EVENT_INIT;
    assert_int_equal(weft_completions_add(all.c, weft_executor_submit(ex, pass, &open, WEFT_NOW)),
                     0);
    for (int i = 0; i < THREADS; i++)
        t[i] = weft_thread_start(collect_all, &all, NULL);
    weft_future *f = weft_executor_submit(ex, collect_all, &all, WEFT_NOW);
    for (int i = 0; i < N; i++)
        assert_int_equal(
            weft_completions_add(all.c, weft_executor_submit(ex, same, NULL, WEFT_NOW)), 0);
    await_word(&all.got, N);
    weft_event_set(&open);
    assert_int_equal(weft_future_get(f, &good, WEFT_FOREVER), 0);
    assert_ptr_equal(good, &all);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(weft_thread_join(t[i], &good, WEFT_FOREVER), 0);
        assert_ptr_equal(good, &all);
    }
    assert_int_equal(all.got, N + 1);
    assert_int_equal(all.errors, 0);
    assert_int_equal(weft_completions_destroy(all.c), 0);
    end();
}

RUN_CASES()
