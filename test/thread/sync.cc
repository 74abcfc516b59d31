// Latch, once, timer, and what conditions and semaphores of threads alone have; for the rest see
// test/twins.
#include "asleep.h"
#include <weft/sync.h>

static uint64_t waiters(const uint64_t *state)
{
    return __atomic_load_n(state, __ATOMIC_ACQUIRE) >> 32;
}

static void await_waiters(const uint64_t *state, uint64_t n)
{
    while (waiters(state) < n)
        sched_yield();
}

// ---- condition ----

struct bequest {
    weft_mutex lock;
    weft_condition changed;
};

static void *die_holding(void *arg)
{
    bequest *b = (bequest *)arg;
    weft_mutex_lock(&b->lock, WEFT_FOREVER);
    weft_condition_signal(&b->changed);
    return nullptr;
}

CASE(test_condition_owner_dead)
{
    bequest b = {WEFT_MUTEX_INIT, WEFT_CONDITION_INIT};
    int code = 0;
    assert_int_equal(weft_mutex_init(&b.lock, WEFT_ROBUST), 0);
    assert_int_equal(weft_mutex_lock(&b.lock, WEFT_FOREVER), 0);
    weft_thread *t = weft_thread_start(die_holding, &b, nullptr);
    while (code == 0)
        code = weft_condition_wait(&b.changed, &b.lock, WEFT_FOREVER);
    assert_int_equal(errno, EOWNERDEAD);
    assert_int_equal(weft_mutex_consistent(&b.lock), 0); // we have it
    assert_int_equal(weft_mutex_unlock(&b.lock), 0);
    joined(t);
}

// ---- semaphore ----

CASE(test_bounded_semaphore_overflows)
{
    weft_semaphore s = WEFT_BOUNDED_SEMAPHORE_INIT(1, 2);
    assert_int_equal(weft_semaphore_post(&s), 0);
    assert_errno(weft_semaphore_post(&s), EOVERFLOW);
    assert_int_equal(weft_semaphore_value(&s), 2);
    assert_int_equal(weft_semaphore_init(&s, WEFT_SEMAPHORE_MAX, 0), 0);
    assert_errno(weft_semaphore_post(&s), EOVERFLOW);
    assert_errno(weft_semaphore_init(&s, 3, 2), EINVAL);
    assert_errno(weft_semaphore_init(&s, 0, (uint32_t)WEFT_SEMAPHORE_MAX + 1), EINVAL);
}

struct tokens {
    weft_semaphore free, used;
    int count;
};

static void *post_tokens(void *arg)
{
    tokens *k = (tokens *)arg;
    for (int i = 0; i < 5000; i++) {
        weft_semaphore_wait(&k->free, WEFT_FOREVER);
        add_word(&k->count);
        weft_semaphore_post(&k->used);
    }
    return nullptr;
}

static void *wait_tokens(void *arg)
{
    tokens *k = (tokens *)arg;
    for (int i = 0; i < 5000; i++) {
        weft_semaphore_wait(&k->used, WEFT_FOREVER);
        __atomic_fetch_sub(&k->count, 1, __ATOMIC_ACQ_REL);
        weft_semaphore_post(&k->free);
    }
    return nullptr;
}

CASE(test_semaphore_loses_nothing)
{
    tokens k = {WEFT_SEMAPHORE_INIT(1), WEFT_SEMAPHORE_INIT(0), 0};
    weft_thread *t[6];
    for (int i = 0; i < 6; i++)
        t[i] = weft_thread_start(i % 2 ? post_tokens : wait_tokens, &k, nullptr);
    for (weft_thread *each : t)
        joined(each);
    assert_int_equal(k.count, 0);
    assert_int_equal(weft_semaphore_value(&k.free), 1);
    assert_int_equal(weft_semaphore_value(&k.used), 0);
}

struct turns {
    weft_semaphore units;
    int begun, had, over;
};

static void *wait_each_turn(void *arg)
{
    turns *t = (turns *)arg;
    for (int i = 1;; i++) {
        await_word(&t->begun, i);
        if (t->over)
            return nullptr;
        weft_semaphore_wait(&t->units, WEFT_FOREVER);
        add_word(&t->had);
    }
}

// Who looks while a unit is there, then taken, then there again, doesn't sleep.
CASE(test_semaphore_taken_and_given_back)
{
    turns t = {WEFT_SEMAPHORE_INIT(0), 0, 0, 0};
    weft_thread *waiter = weft_thread_start(wait_each_turn, &t, nullptr);
    weft_deadline until = weft_in_s(2);
    for (int i = 1; i < 200000 && weft_left(until) > 0; i++) {
        add_word(&t.begun);
        weft_semaphore_post(&t.units);
        for (int again = i % 40; again > 0 && weft_semaphore_wait(&t.units, WEFT_NOW) == 0; again--)
            weft_semaphore_post(&t.units);
        await_word(&t.had, i);
    }
    t.over = 1;
    add_word(&t.begun);
    joined(waiter);
    assert_int_equal(weft_semaphore_value(&t.units), 0);
}

// ---- initialisers ----

CASE(test_barrier_initialiser)
{
    weft_barrier b = WEFT_BARRIER_INIT(1);
    assert_int_equal(weft_barrier_wait(&b, WEFT_NOW), 1);
    assert_int_equal(weft_barrier_destroy(&b), 0);
}

// ---- latch ----

static void *await_latch(void *l)
{
    return code_of(weft_latch_wait((weft_latch *)l, WEFT_FOREVER));
}

CASE(test_latch)
{
    weft_latch l = WEFT_LATCH_INIT(3);
    assert_errno(weft_latch_wait(&l, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_latch_wait(&l, weft_in_ms(5)), ETIMEDOUT);
    weft_thread *a = weft_thread_start(await_latch, &l, nullptr);
    weft_thread *b = weft_thread_start(await_latch, &l, nullptr);
    await_waiters(&l.state, 2);
    assert_errno(weft_latch_destroy(&l), EBUSY);
    assert_errno(weft_latch_count_down(&l, 4), EINVAL);
    assert_int_equal(weft_latch_count_down(&l, 1), 0);
    assert_int_equal(waiters(&l.state), 2);
    assert_int_equal(weft_latch_count_down(&l, 2), 0);
    assert_int_equal(joined(a), 0);
    assert_int_equal(joined(b), 0);
    assert_errno(weft_latch_count_down(&l, 1), EINVAL);
    assert_int_equal(weft_latch_wait(&l, WEFT_NOW), 0);
    assert_int_equal(weft_latch_destroy(&l), 0);
    assert_int_equal(weft_latch_init(&l, 0), 0);
    assert_int_equal(weft_latch_wait(&l, WEFT_FOREVER), 0);
}

// ---- once ----

struct once_case {
    weft_once once;
    weft_event go;
    int runs, fail;
    weft_deadline deadline;
};

static int run_slowly(void *arg)
{
    once_case *c = (once_case *)arg;
    add_word(&c->runs);
    weft_event_wait(&c->go, WEFT_FOREVER);
    errno = EXDEV;
    return __atomic_exchange_n(&c->fail, 0, __ATOMIC_ACQ_REL);
}

static void *run_once(void *arg)
{
    once_case *c = (once_case *)arg;
    return code_of(weft_once_run(&c->once, run_slowly, c, c->deadline));
}

CASE(test_once_runs_once)
{
    once_case c = {WEFT_ONCE_INIT, WEFT_EVENT_INIT, 0, 0, WEFT_FOREVER};
    weft_thread *t[4];
    for (weft_thread *&each : t)
        each = weft_thread_start(run_once, &c, nullptr);
    await_word(&c.runs, 1);
    assert_errno(weft_once_run(&c.once, run_slowly, &c, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_once_run(&c.once, run_slowly, &c, weft_in_ms(5)), ETIMEDOUT);
    weft_event_set(&c.go);
    for (weft_thread *each : t)
        assert_int_equal(joined(each), 0);
    assert_int_equal(weft_once_run(&c.once, run_slowly, &c, WEFT_NOW), 0);
    assert_int_equal(c.runs, 1);
}

CASE(test_once_failure_is_tried_again)
{
    once_case c = {WEFT_ONCE_INIT, WEFT_EVENT_INIT, 0, 1, WEFT_FOREVER};
    weft_thread *t[3];
    intptr_t sum = 0;
    for (weft_thread *&each : t)
        each = weft_thread_start(run_once, &c, nullptr);
    await_word(&c.runs, 1);
    weft_event_set(&c.go);
    for (weft_thread *each : t)
        sum += joined(each);
    assert_int_equal(sum, -EXDEV); // one of them, with the function's errno
    assert_int_equal(c.runs, 2);
}

static int end_thread(void *how)
{
    if (how != nullptr)
        pthread_exit(how);
    pthread_cancel(pthread_self());
    pthread_testcancel();
    return 0;
}

static void *end_in_once(void *arg)
{
    once_case *c = (once_case *)arg;
    weft_once_run(&c->once, end_thread, c->fail ? c : nullptr, WEFT_FOREVER);
    return nullptr;
}

// Left by pthread_exit or a cancel, the function counts as never called.
CASE(test_once_left_by_its_thread)
{
    for (int exits = 0; exits < 2; exits++) {
        once_case c = {WEFT_ONCE_INIT, WEFT_EVENT_INIT, 0, exits, WEFT_FOREVER};
        void *result;
        weft_thread *t = weft_thread_start(end_in_once, &c, nullptr);
        assert_int_equal(weft_thread_join(t, &result, WEFT_FOREVER), 0);
        assert_ptr_equal(result, exits ? &c : PTHREAD_CANCELED);
        weft_event_set(&c.go);
        c.fail = 0;
        assert_int_equal(weft_once_run(&c.once, run_slowly, &c, WEFT_NOW), 0);
    }
}

static weft_once own = WEFT_ONCE_INIT;

static int call_itself(void *)
{
    return weft_once_run(&own, call_itself, nullptr, WEFT_FOREVER);
}

CASE(test_once_within_itself)
{
    assert_errno(weft_once_run(&own, call_itself, nullptr, WEFT_FOREVER), EDEADLK);
}

RUN_CASES()
