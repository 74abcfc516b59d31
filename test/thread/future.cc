// weft_future: get, wait, cancel, callback, descriptor, release; and waiting in tasks.
#include "gated.h"

#include <errno.h>
#include <poll.h>

static void *same(void *arg)
{
    return arg;
}

// One worker that runs `running`; `pending` is behind it.
typedef struct held {
    weft_executor *ex;
    gate g;
    weft_future *running, *pending;
} held;

static void hold(held *h)
{
    h->ex = create(1);
    gate_init(&h->g);
    h->running = weft_executor_submit(h->ex, pass, &h->g, WEFT_NOW);
    await_word(&h->g.inside, 1);
    h->pending = weft_executor_submit(h->ex, same, h, WEFT_NOW);
    assert_non_null(h->pending);
}

static void let_go(held *h)
{
    weft_event_set(&h->g.open);
    assert_int_equal(weft_future_release(h->running), 0);
    assert_int_equal(weft_future_release(h->pending), 0);
    drain(h->ex);
}

// ---- Get and wait ----

CASE(test_get_returns_the_result)
{
    weft_executor *ex = create(2);
    void *result = NULL;
    errno = 4711;
    weft_future *f = weft_executor_submit(ex, same, &ex, WEFT_NOW);
    assert_int_equal(weft_future_get(f, &result, WEFT_FOREVER), 0);
    assert_ptr_equal(result, &ex);
    assert_int_equal(
        weft_future_get(weft_executor_submit(ex, same, NULL, WEFT_NOW), NULL, WEFT_FOREVER), 0);
    assert_int_equal(errno, 4711);
    drain(ex);
}

CASE(test_get_times_out_and_keeps_the_future)
{
    held h;
    void *result = NULL;
    hold(&h);
    assert_errno(weft_future_get(h.running, &result, WEFT_NOW), ETIMEDOUT);
    int64_t start = weft_now();
    assert_errno(weft_future_get(h.pending, &result, weft_in_ms(5)), ETIMEDOUT);
    assert_true(weft_now() - start >= 5000000);
    assert_errno(weft_future_wait(h.running, weft_in_ms(2)), ETIMEDOUT);
    weft_event_set(&h.g.open);
    assert_int_equal(weft_future_wait(h.pending, WEFT_FOREVER), 0);
    assert_int_equal(weft_future_wait(h.running, WEFT_NOW), 0);
    assert_ptr_equal(weft_future_result(h.running), &h.g);
    let_go(&h);
}

CASE(test_state_follows_the_task)
{
    held h;
    hold(&h);
    assert_int_equal(weft_future_state(h.running), WEFT_FUTURE_RUNNING);
    assert_int_equal(weft_future_state(h.pending), WEFT_FUTURE_PENDING);
    assert_null(weft_future_result(h.running));
    weft_event_set(&h.g.open);
    assert_int_equal(weft_future_wait(h.pending, WEFT_FOREVER), 0);
    assert_int_equal(weft_future_state(h.running), WEFT_FUTURE_DONE);
    assert_int_equal(weft_future_state(h.pending), WEFT_FUTURE_DONE);
    let_go(&h);
}

CASE(test_futures_outlive_the_executor)
{
    weft_executor *ex = create(1);
    weft_future *f = weft_executor_submit(ex, same, &ex, WEFT_NOW),
                *g = weft_executor_submit(ex, same, NULL, WEFT_NOW);
    assert_true(weft_future_fd(g) >= 0);
    drain(ex);
    void *result;
    assert_int_equal(weft_future_get(f, &result, WEFT_NOW), 0);
    assert_ptr_equal(result, &ex);
    assert_errno(weft_future_cancel(g), EALREADY);
    assert_int_equal(weft_future_get(g, NULL, WEFT_NOW), 0);
}

CASE(test_own_memory)
{
    held h;
    weft_future f;
    void *result = NULL;
    memset(&f, 0xa5, sizeof f);
    hold(&h);
    assert_int_equal(weft_executor_submit_at(h.ex, &f, same, &h, WEFT_NOW), 0);
    assert_errno(weft_future_release(&f), EBUSY);
    weft_event_set(&h.g.open);
    assert_int_equal(weft_future_get(&f, &result, WEFT_FOREVER), 0);
    assert_ptr_equal(result, &h);
    assert_int_equal(weft_executor_submit_at(h.ex, &f, same, NULL, WEFT_NOW), 0); // again
    assert_int_equal(weft_future_wait(&f, WEFT_FOREVER), 0);
    assert_int_equal(weft_future_release(&f), 0);
    let_go(&h);
}

// ---- Waiting threads ----

typedef struct waiter {
    weft_future *f[2];
    size_t n;
    weft_thread *thread;
    pid_t tid; // atomic
    ssize_t code;
    int error;
} waiter;

static void *wait_any(void *arg)
{
    waiter *w = (waiter *)arg;
    __atomic_store_n(&w->tid, weft_thread_id(NULL), __ATOMIC_RELEASE);
    w->code = w->n == 0 ? weft_future_wait(w->f[0], WEFT_FOREVER)
                        : weft_future_wait_any(w->f, w->n, WEFT_FOREVER);
    w->error = errno;
    return NULL;
}

static void begin_asleep(waiter *w, weft_future *a, weft_future *b, size_t n)
{
    memset(w, 0, sizeof *w);
    w->f[0] = a;
    w->f[1] = b;
    w->n = n;
    w->thread = weft_thread_start(wait_any, w, NULL);
    await_told_asleep(&w->tid);
}

// Each of the three has got what it waited for.
static void join_three(const waiter w[3])
{
    for (int i = 0; i < 3; i++) {
        weft_thread_join(w[i].thread, NULL, WEFT_FOREVER);
        assert_int_equal(w[i].code, 0);
    }
}

CASE(test_several_threads_wait_for_one)
{
    held h;
    waiter w[3];
    hold(&h);
    for (int i = 0; i < 3; i++)
        begin_asleep(&w[i], h.pending, h.pending, (size_t)i % 3);
    weft_event_set(&h.g.open);
    join_three(w);
    let_go(&h);
}

CASE(test_stop_ends_a_wait)
{
    held h;
    waiter w;
    hold(&h);
    for (size_t n = 0; n <= 2; n++) {
        begin_asleep(&w, h.pending, h.running, n);
        weft_thread_stop(w.thread);
        weft_thread_join(w.thread, NULL, WEFT_FOREVER);
        assert_int_equal(w.code, -1);
        assert_int_equal(w.error, ECANCELED);
    }
    assert_int_equal(weft_future_state(h.running), WEFT_FUTURE_RUNNING);
    let_go(&h);
}

CASE(test_wait_all)
{
    held h;
    hold(&h);
    weft_future *both[] = {h.pending, h.running};
    assert_int_equal(weft_future_wait_all(both, 0, WEFT_NOW), 0);
    assert_errno(weft_future_wait_all(both, 2, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_future_wait_all(both, 2, weft_in_ms(2)), ETIMEDOUT);
    weft_event_set(&h.g.open);
    assert_int_equal(weft_future_wait_all(both, 2, WEFT_FOREVER), 0);
    let_go(&h);
}

CASE(test_wait_any)
{
    held a, b;
    waiter w;
    hold(&a);
    hold(&b);
    weft_future *both[] = {a.running, b.running};
    assert_errno(weft_future_wait_any(both, 0, WEFT_FOREVER), EINVAL);
    assert_errno(weft_future_wait_any(both, 2, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_future_wait_any(both, 2, weft_in_ms(2)), ETIMEDOUT);
    begin_asleep(&w, a.running, b.running, 2);
    weft_event_set(&b.g.open);
    weft_thread_join(w.thread, NULL, WEFT_FOREVER);
    assert_int_equal(w.code, 1);
    assert_int_equal(weft_future_wait_any(both, 2, WEFT_FOREVER), 1);
    weft_event_set(&a.g.open);
    assert_int_equal(weft_future_wait(a.running, WEFT_FOREVER), 0);
    assert_int_equal(weft_future_wait_any(both, 2, WEFT_FOREVER), 0);
    let_go(&a);
    let_go(&b);
}

CASE(test_wait_any_of_many)
{
    held h;
    weft_future *f[30];
    hold(&h);
    for (int i = 0; i < 30; i++)
        f[i] = weft_executor_submit(h.ex, same, NULL, WEFT_NOW);
    assert_errno(weft_future_wait_any(f, 30, weft_in_ms(2)), ETIMEDOUT);
    weft_event_set(&h.g.open);
    assert_true(weft_future_wait_any(f, 30, WEFT_FOREVER) >= 0);
    for (int i = 0; i < 30; i++)
        assert_int_equal(weft_future_get(f[i], NULL, WEFT_FOREVER), 0);
    let_go(&h);
}

// ---- Cancel and release ----

CASE(test_cancel_while_pending)
{
    held h;
    void *result = &h;
    hold(&h);
    assert_int_equal(weft_future_cancel(h.pending), 0);
    assert_int_equal(weft_future_cancel(h.pending), 0);
    assert_int_equal(counters_of(h.ex).pending, 0);
    assert_int_equal(weft_future_state(h.pending), WEFT_FUTURE_CANCELLED);
    assert_null(weft_future_result(h.pending));
    assert_int_equal(weft_future_wait(h.pending, WEFT_NOW), 0);
    assert_errno(weft_future_get(h.pending, &result, WEFT_FOREVER), ECANCELED);
    assert_ptr_equal(result, &h);
    let_go(&h);
}

CASE(test_cancel_too_late)
{
    held h;
    hold(&h);
    assert_errno(weft_future_cancel(h.running), EBUSY);
    weft_event_set(&h.g.open);
    assert_int_equal(weft_future_wait(h.running, WEFT_FOREVER), 0);
    assert_errno(weft_future_cancel(h.running), EALREADY);
    let_go(&h);
}

CASE(test_cancel_wakes_waiters)
{
    held h;
    waiter w[3];
    hold(&h);
    for (int i = 0; i < 3; i++)
        begin_asleep(&w[i], h.pending, h.running, (size_t)i);
    assert_int_equal(weft_future_cancel(h.pending), 0);
    join_three(w);
    let_go(&h);
}

CASE(test_cancel_in_the_middle)
{
    held h;
    weft_future *f[5];
    hold(&h);
    for (int i = 0; i < 5; i++)
        f[i] = weft_executor_submit(h.ex, same, &h, WEFT_NOW);
    int order[] = {2, 0, 4};
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft_future_cancel(f[order[i]]), 0);
    weft_event_set(&h.g.open);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(weft_future_wait(f[i], WEFT_FOREVER), 0);
        assert_int_equal(weft_future_state(f[i]), i % 2 ? WEFT_FUTURE_DONE : WEFT_FUTURE_CANCELLED);
        assert_int_equal(weft_future_release(f[i]), 0);
    }
    let_go(&h);
}

CASE(test_release_lets_the_task_run)
{
    held h;
    hold(&h);
    gate second;
    assert_int_equal(weft_event_init(&second.open), 0);
    second.inside = 0;
    weft_event_set(&second.open);
    assert_int_equal(weft_future_release(weft_executor_submit(h.ex, pass, &second, WEFT_NOW)), 0);
    assert_int_equal(weft_future_release(NULL), 0);
    weft_event_set(&h.g.open);
    assert_int_equal(weft_executor_wait(h.ex, WEFT_FOREVER), 0);
    assert_int_equal(second.inside, 1);
    let_go(&h);
}

// ---- Callback ----

typedef struct called {
    int times, state, deadlock; // times: atomic
    void *result;
    bool release;
} called;

static void on_end(weft_future *f, void *arg)
{
    called *c = (called *)arg;
    c->state = weft_future_state(f);
    c->result = weft_future_result(f);
    c->deadlock = weft_future_get(f, NULL, WEFT_FOREVER) == -1 ? errno : 0;
    if (c->release)
        weft_future_release(f);
    add_word(&c->times);
}

CASE(test_then_is_called_before_waits_return)
{
    held h;
    called c = {0, 0, 0, NULL, false};
    hold(&h);
    assert_errno(weft_future_then(h.pending, NULL, NULL), EINVAL);
    assert_int_equal(weft_future_then(h.pending, on_end, &c), 0);
    assert_errno(weft_future_then(h.pending, on_end, &c), EBUSY);
    weft_event_set(&h.g.open);
    assert_int_equal(weft_future_wait(h.pending, WEFT_FOREVER), 0);
    assert_int_equal(c.times, 1);
    assert_int_equal(c.state, WEFT_FUTURE_DONE);
    assert_ptr_equal(c.result, &h);
    assert_int_equal(c.deadlock, EDEADLK);
    let_go(&h);
}

static void note_end(weft_future *f, void *arg)
{
    *(int *)arg = weft_future_state(f);
}

CASE(test_then_after_the_end)
{
    weft_executor *ex = create(1);
    weft_future *f = weft_executor_submit(ex, same, NULL, WEFT_NOW);
    int seen = -1;
    assert_int_equal(weft_future_wait(f, WEFT_FOREVER), 0);
    assert_int_equal(weft_future_then(f, note_end, &seen), 0);
    assert_int_equal(seen, WEFT_FUTURE_DONE);
    assert_errno(weft_future_then(f, note_end, &seen), EBUSY);
    assert_int_equal(weft_future_get(f, NULL, WEFT_NOW), 0);
    drain(ex);
}

CASE(test_then_on_cancel_and_discard)
{
    held h;
    called c = {0, 0, 0, &h, false}, d = {0, 0, 0, &h, true};
    hold(&h);
    assert_int_equal(weft_future_then(h.pending, on_end, &c), 0);
    errno = 4711;
    assert_int_equal(weft_future_cancel(h.pending), 0);
    assert_int_equal(errno, 4711);
    assert_int_equal(c.times, 1);
    assert_int_equal(c.state, WEFT_FUTURE_CANCELLED);
    assert_null(c.result);
    assert_int_equal(c.deadlock, EDEADLK);
    assert_int_equal(weft_future_then(weft_executor_submit(h.ex, same, NULL, WEFT_NOW), on_end, &d),
                     0);
    assert_int_equal(shut(h.ex, WEFT_DISCARD, WEFT_FOREVER), 0);
    assert_int_equal(d.times, 1);
    assert_int_equal(d.state, WEFT_FUTURE_CANCELLED);
    let_go(&h);
}

// The callback releases its future: nobody else needs to.
static void release_at_end(weft_future *f, void *arg)
{
    add_word((int *)arg);
    weft_future_release(f);
}

CASE(test_then_may_release)
{
    weft_executor *ex = create(2);
    int times = 0;
    for (int i = 0; i < 300; i++)
        assert_int_equal(weft_future_then(weft_executor_submit(ex, same, NULL, WEFT_NOW),
                                          release_at_end, &times),
                         0);
    assert_int_equal(weft_executor_wait(ex, WEFT_FOREVER), 0);
    assert_int_equal(times, 300);
    drain(ex);
}

// ---- Descriptor ----

CASE(test_fd_is_readable_from_the_end_on)
{
    held h;
    hold(&h);
    int fd = weft_future_fd(h.pending);
    assert_true(fd >= 0);
    assert_int_equal(weft_future_fd(h.pending), fd);
    struct pollfd p = {fd, POLLIN, 0};
    assert_int_equal(poll(&p, 1, 0), 0);
    weft_event_set(&h.g.open);
    assert_int_equal(poll(&p, 1, -1), 1);
    assert_int_equal(poll(&p, 1, 0), 1);
    assert_int_equal(weft_future_get(h.pending, NULL, WEFT_NOW), 0); // done when readable
    assert_int_equal(poll(&p, 1, 0), 1);
    assert_int_equal(p.revents, POLLNVAL); // closed
    h.pending = NULL;
    assert_int_equal(weft_future_wait(h.running, WEFT_FOREVER), 0);
    p.fd = weft_future_fd(h.running); // made after the end
    assert_int_equal(poll(&p, 1, 0), 1);
    assert_int_equal(p.revents, POLLIN);
    let_go(&h);
}

// ---- Waiting within tasks ----

typedef struct sums {
    weft_executor *ex;
    int from, to;
} sums;

// A tree of tasks, each waiting for two more.
static void *sum(void *arg)
{
    sums *s = (sums *)arg;
    if (s->to - s->from == 1)
        return (void *)(intptr_t)s->from;
    int middle = (s->from + s->to) / 2;
    sums left = {s->ex, s->from, middle}, right = {s->ex, middle, s->to};
    void *a = NULL, *b = NULL;
    weft_future *f = weft_executor_submit(s->ex, sum, &left, WEFT_NOW);
    weft_future *g = weft_executor_submit(s->ex, sum, &right, WEFT_NOW);
    weft_future *both[] = {f, g};
    if (middle % 3 == 0)
        weft_future_wait_any(both, 2, WEFT_FOREVER);
    weft_future_get(f, &a, WEFT_FOREVER);
    weft_future_get(g, &b, WEFT_FOREVER);
    return (void *)((intptr_t)a + (intptr_t)b);
}

CASE(test_nested_waits_never_deadlock)
{
    for (int threads = 1; threads <= 4; threads++) {
        weft_executor *ex = create(threads);
        sums all = {ex, 0, 500};
        void *total;
        assert_int_equal(
            weft_future_get(weft_executor_submit(ex, sum, &all, WEFT_NOW), &total, WEFT_FOREVER),
            0);
        assert_int_equal((intptr_t)total, 500 * 499 / 2);
        drain(ex);
    }
}

static void *get_own(void *arg)
{
    weft_future **f = (weft_future **)arg;
    int code = weft_future_get(*f, NULL, WEFT_FOREVER);
    return code == -1 && errno == EDEADLK ? arg : NULL;
}

CASE(test_get_of_the_own_task)
{
    weft_executor *ex = create(1);
    weft_future f, *self = &f;
    void *told = NULL;
    assert_int_equal(weft_executor_submit_at(ex, &f, get_own, &self, WEFT_NOW), 0);
    assert_int_equal(weft_future_get(&f, &told, WEFT_FOREVER), 0);
    assert_non_null(told);
    drain(ex);
}

// A waits for B; B needs C, which it submits but doesn't wait for in weft's calls: another thread
// stands in for A's worker and runs C.
typedef struct three {
    weft_executor *ex;
    weft_future b;
    weft_event done;
    pid_t tid;
} three;

static void *task_c(void *arg)
{
    weft_event_set(&((three *)arg)->done);
    return NULL;
}

static void *task_b(void *arg)
{
    three *t = (three *)arg;
    await_told_asleep(&t->tid);
    weft_future_release(weft_executor_submit(t->ex, task_c, t, WEFT_NOW));
    weft_event_wait(&t->done, WEFT_FOREVER);
    return NULL;
}

static void *task_a(void *arg)
{
    three *t = (three *)arg;
    weft_executor_submit_at(t->ex, &t->b, task_b, t, WEFT_NOW);
    while (weft_future_state(&t->b) == WEFT_FUTURE_PENDING) // until the other worker has it
        sched_yield();
    __atomic_store_n(&t->tid, weft_thread_id(NULL), __ATOMIC_RELEASE);
    weft_future_get(&t->b, NULL, WEFT_FOREVER);
    return NULL;
}

CASE(test_another_stands_in_for_a_worker_asleep)
{
    three t;
    memset(&t, 0, sizeof t);
    assert_int_equal(weft_event_init(&t.done), 0);
    t.ex = create(2);
    weft_future *a = weft_executor_submit(t.ex, task_a, &t, WEFT_NOW);
    assert_int_equal(weft_future_get(a, NULL, WEFT_FOREVER), 0);
    drain(t.ex);
}

// A worker that waits runs no task but the one it waits for.
typedef struct strangers {
    weft_executor *ex;
    weft_future *awaited;
    int ran, before, timed_out; // ran, timed_out: atomic
} strangers;

static void *wait_among_strangers(void *arg)
{
    strangers *s = (strangers *)arg;
    for (int i = 0; i < 10; i++)
        weft_future_release(weft_executor_submit(s->ex, count_one, &s->ran, WEFT_NOW));
    weft_future *mine = weft_executor_submit(s->ex, same, s, WEFT_NOW);
    int code = weft_future_get(mine, NULL, WEFT_FOREVER);
    code += weft_future_wait(s->awaited, weft_in_ms(2)) == -1 && errno == ETIMEDOUT ? 0 : 1;
    add_word(&s->timed_out);
    code += weft_future_wait(s->awaited, WEFT_FOREVER);
    s->before = __atomic_load_n(&s->ran, __ATOMIC_ACQUIRE);
    return code == 0 ? arg : NULL;
}

CASE(test_a_wait_runs_no_stranger)
{
    held h;
    void *good = NULL;
    hold(&h);
    strangers s = {create(1), h.running, 0, -1, 0};
    weft_future *f = weft_executor_submit(s.ex, wait_among_strangers, &s, WEFT_NOW);
    await_word(&s.timed_out, 1);
    assert_errno(weft_future_wait(f, weft_in_ms(20)), ETIMEDOUT);
    weft_event_set(&h.g.open);
    assert_int_equal(weft_future_get(f, &good, WEFT_FOREVER), 0);
    assert_ptr_equal(good, &s);
    assert_int_equal(s.before, 0);
    drain(s.ex);
    assert_int_equal(s.ran, 10);
    let_go(&h);
}

// Also when what it waits for is pending, and there is one thread: another runs it.
static void *wait_for_a_gate(void *arg)
{
    held *h = (held *)arg;
    weft_future *f = weft_executor_submit(h->ex, pass, &h->g, WEFT_NOW);
    int code = 0;
    do // until another thread has begun it
        code += weft_future_wait(f, weft_in_ms(5)) == -1 && errno == ETIMEDOUT ? 0 : 1;
    while (__atomic_load_n(&h->g.inside, __ATOMIC_ACQUIRE) == 0);
    weft_event_set(&h->g.open);
    code += weft_future_get(f, NULL, weft_in_s(50));
    return code == 0 ? arg : NULL;
}

CASE(test_a_deadline_in_a_task_holds)
{
    held h;
    void *good = NULL;
    memset(&h, 0, sizeof h);
    h.ex = create(1);
    assert_int_equal(weft_event_init(&h.g.open), 0);
    assert_int_equal(weft_future_get(weft_executor_submit(h.ex, wait_for_a_gate, &h, WEFT_NOW),
                                     &good, WEFT_FOREVER),
                     0);
    assert_ptr_equal(good, &h);
    drain(h.ex);
}

static int threads_seen; // atomic
static __thread bool thread_seen;

static void *wait_for_it(void *arg)
{
    if (!thread_seen)
        add_word(&threads_seen);
    thread_seen = true;
    weft_future_wait((weft_future *)arg, WEFT_FOREVER);
    return arg;
}

// Trees of tasks that wait with deadlines, and so run nothing themselves, take a thread for each
// level, not for each task.
static int begun, most_begun; // atomic

static void *sum_by_deadline(void *arg)
{
    sums *s = (sums *)arg;
    if (s->to - s->from == 1)
        return (void *)(intptr_t)s->from;
    int now = __atomic_add_fetch(&begun, 1, __ATOMIC_RELAXED),
        most = __atomic_load_n(&most_begun, __ATOMIC_RELAXED);
    while (now > most && !__atomic_compare_exchange_n(&most_begun, &most, now, false,
                                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    int middle = (s->from + s->to) / 2;
    sums left = {s->ex, s->from, middle}, right = {s->ex, middle, s->to};
    void *a = NULL, *b = NULL;
    weft_future *f = weft_executor_submit(s->ex, sum_by_deadline, &left, WEFT_NOW);
    weft_future *g = weft_executor_submit(s->ex, sum_by_deadline, &right, WEFT_NOW);
    weft_future_get(f, &a, weft_in_s(600));
    weft_future_get(g, &b, weft_in_s(600));
    __atomic_fetch_sub(&begun, 1, __ATOMIC_RELAXED);
    return (void *)((intptr_t)a + (intptr_t)b);
}

CASE(test_trees_by_deadline_take_few_threads)
{
    for (int threads = 1; threads <= 3; threads++) {
        weft_executor *ex = create(threads);
        sums all = {ex, 0, 512};
        void *total = NULL;
        most_begun = 0;
        assert_int_equal(weft_future_get(weft_executor_submit(ex, sum_by_deadline, &all, WEFT_NOW),
                                         &total, WEFT_FOREVER),
                         0);
        assert_int_equal((intptr_t)total, 512 * 511 / 2);
        assert_in_range(most_begun, 9, 9 * 2 * threads + 10); // of 511
        drain(ex);
    }
}

// However many wait, there are not more threads than workers and their spares.
CASE(test_many_tasks_wait_for_one)
{
    gate g;
    assert_int_equal(weft_event_init(&g.open), 0);
    g.inside = 0;
    threads_seen = 0;
    weft_executor_options o = {NULL, 0, 0, 3, NULL, NULL, NULL};
    weft_executor *ex = weft_executor_create(2, &o);
    weft_future *f = weft_executor_submit(ex, pass, &g, WEFT_NOW);
    await_word(&g.inside, 1);
    for (int i = 0; i < 5000; i++)
        weft_future_release(weft_executor_submit(ex, wait_for_it, f, WEFT_NOW));
    await_word(&threads_seen, 4); // all but the one that runs f
    weft_event_set(&g.open);
    assert_int_equal(weft_executor_wait(ex, WEFT_FOREVER), 0);
    assert_in_range(threads_seen, 4, 5);
    assert_int_equal(weft_future_release(f), 0);
    drain(ex);
}

// Each waits for the next: what doesn't fit on one small stack goes on on another.
typedef struct chained {
    weft_future f;
    weft_event *ready;
    struct chained *next;
} chained;

static void *wait_for_next(void *arg)
{
    chained *c = (chained *)arg;
    weft_event_wait(c->ready, WEFT_FOREVER);
    return c->next == NULL || weft_future_wait(&c->next->f, WEFT_FOREVER) == 0 ? arg : NULL;
}

CASE(test_a_chain_longer_than_the_stack)
{
    enum { LENGTH = 2000 };
    static chained c[LENGTH];
    weft_event ready = WEFT_EVENT_INIT;
    weft_executor_options o = {};
    o.stack_size = RUNNER_SANITIZED ? 512 * 1024 : 128 * 1024;
    o.spares = -1;
    weft_executor *ex = weft_executor_create(1, &o);
    for (int i = 0; i < LENGTH; i++) {
        c[i].ready = &ready;
        c[i].next = i + 1 < LENGTH ? &c[i + 1] : NULL;
        assert_int_equal(weft_executor_submit_at(ex, &c[i].f, wait_for_next, &c[i], WEFT_NOW), 0);
    }
    weft_event_set(&ready);
    for (int i = 0; i < LENGTH; i++) {
        void *good = NULL;
        assert_int_equal(weft_future_get(&c[i].f, &good, WEFT_FOREVER), 0);
        assert_ptr_equal(good, &c[i]);
    }
    drain(ex);
}

// Nine workers park, as many as are kept, and the tenth leaves: one of those runs what is awaited.
typedef struct linked {
    weft_future f, *until[2]; // waits for any
    gate *g;
    pid_t tid; // atomic
} linked;

static void *wait_and_pass(void *arg)
{
    linked *l = (linked *)arg;
    __atomic_store_n(&l->tid, weft_thread_id(NULL), __ATOMIC_RELEASE);
    weft_future_wait_any(l->until, 2, WEFT_FOREVER);
    return l->g != NULL ? pass(l->g) : arg;
}

static void submit_linked(weft_executor *ex, linked *l, weft_future *a, weft_future *b, gate *g)
{
    l->until[0] = a;
    l->until[1] = b;
    l->g = g;
    assert_int_equal(weft_executor_submit_at(ex, &l->f, wait_and_pass, l, WEFT_NOW), 0);
}

CASE(test_one_that_leaves_hands_on_what_is_awaited)
{
    enum { LINKS = 9 };
    weft_executor_options o = {};
    o.spares = -1;
    weft_executor *ex = weft_executor_create(1, &o);
    weft_future *never = weft_future_create(), *soon = weft_future_create();
    linked sleeper, leaver, l[LINKS];
    waiter w[2];
    gate g;
    gate_init(&g);
    submit_linked(ex, &sleeper, never, never, NULL);
    submit_linked(ex, &leaver, soon, soon, &g);
    for (int i = 0; i < LINKS; i++) // the last waits for itself: in vain
        submit_linked(ex, &l[i], &l[i + 1 < LINKS ? i + 1 : i].f, i + 1 < LINKS ? never : &l[i].f,
                      NULL);
    begin_asleep(&w[0], &leaver.f, NULL, 0);
    assert_int_equal(weft_future_wait(&l[0].f, WEFT_FOREVER), 0);
    for (int i = 0; i < LINKS; i++)
        await_asleep(l[i].tid);
    weft_future_set(soon, NULL);
    await_word(&g.inside, 1);
    weft_future *f = weft_executor_submit(ex, same, NULL, WEFT_NOW);
    begin_asleep(&w[1], f, NULL, 0);
    weft_event_set(&g.open);
    for (int i = 0; i < 2; i++)
        joined(w[i].thread);
    weft_future_set(never, NULL);
    drain(ex); // so that nobody is in a wait any more
    weft_future *others[] = {f, never, soon};
    for (weft_future *one : others)
        assert_int_equal(weft_future_get(one, NULL, WEFT_FOREVER), 0);
}

// A worker of one pool waits for a task of another.
static void *get_foreign(void *arg)
{
    void *result = NULL;
    weft_future_get((weft_future *)arg, &result, WEFT_FOREVER);
    return result;
}

CASE(test_wait_across_pools)
{
    held h;
    hold(&h);
    weft_executor *ex = create(1);
    weft_future *f = weft_executor_submit(ex, get_foreign, h.pending, WEFT_NOW);
    weft_event_set(&h.g.open);
    void *result = NULL;
    assert_int_equal(weft_future_get(f, &result, WEFT_FOREVER), 0);
    assert_ptr_equal(result, &h);
    h.pending = NULL;
    drain(ex);
    let_go(&h);
}

static void *get_with_deadline(void *arg)
{
    weft_future *f = (weft_future *)arg;
    int code = weft_future_get(f, NULL, weft_in_ms(2));
    return code == -1 && errno == ETIMEDOUT ? arg : NULL;
}

CASE(test_wait_in_a_task_times_out)
{
    held h;
    hold(&h);
    weft_executor *ex = create(1);
    void *told = NULL;
    weft_future *f = weft_executor_submit(ex, get_with_deadline, h.running, WEFT_NOW);
    assert_int_equal(weft_future_get(f, &told, WEFT_FOREVER), 0);
    assert_non_null(told);
    drain(ex);
    let_go(&h);
}

// ---- Promises ----

static void *set_promise(void *arg)
{
    return weft_future_set((weft_future *)arg, arg) == 0 ? arg : NULL;
}

// One thread: while its task waits another keeps the promise, for a spare is there.
static void *promise_and_wait(void *arg)
{
    weft_executor *ex = (weft_executor *)arg;
    void *result = NULL;
    weft_future *p = weft_future_create();
    weft_future *f = weft_executor_submit(ex, set_promise, p, WEFT_NOW);
    int code = weft_future_get(p, &result, WEFT_FOREVER);
    code += weft_future_release(f);
    return code == 0 && result == p ? arg : NULL;
}

CASE(test_promise_is_kept)
{
    void *result = NULL;
    called c = {0, 0, 0, NULL, false};
    weft_future *p = weft_future_create();
    assert_int_equal(weft_future_state(p), WEFT_FUTURE_PENDING);
    assert_errno(weft_future_get(p, &result, weft_in_ms(1)), ETIMEDOUT);
    assert_int_equal(weft_future_then(p, on_end, &c), 0);
    struct pollfd fd = {weft_future_fd(p), POLLIN, 0};
    assert_int_equal(poll(&fd, 1, 0), 0);
    assert_int_equal(weft_future_set(p, &c), 0);
    assert_int_equal(poll(&fd, 1, 0), 1);
    assert_int_equal(c.state, WEFT_FUTURE_DONE);
    assert_int_equal(c.deadlock, EDEADLK);
    assert_errno(weft_future_set(p, NULL), EALREADY);
    assert_errno(weft_future_cancel(p), EALREADY);
    assert_int_equal(weft_future_get(p, &result, WEFT_FOREVER), 0);
    assert_ptr_equal(result, &c);
}

CASE(test_promise_is_cancelled_or_released)
{
    weft_future *p = weft_future_create();
    assert_int_equal(weft_future_cancel(p), 0);
    assert_errno(weft_future_set(p, NULL), EALREADY);
    assert_errno(weft_future_get(p, NULL, WEFT_FOREVER), ECANCELED);
    assert_int_equal(weft_future_release(p), 0);
    p = weft_future_create();
    assert_int_equal(weft_future_release(p), 0); // nobody will want it
    assert_int_equal(weft_future_set(p, NULL), 0);
    weft_executor *ex = create(1);
    weft_future *f = weft_executor_submit(ex, same, NULL, WEFT_NOW);
    assert_errno(weft_future_set(f, NULL), EINVAL);
    assert_errno(weft_future_set(NULL, NULL), EINVAL);
    assert_int_equal(weft_future_release(f), 0);
    drain(ex);
}

CASE(test_promise_between_tasks)
{
    weft_executor_options o = {};
    o.spares = 1;
    for (int i = 0; i < 200; i++) {
        weft_executor *ex = weft_executor_create(1, &o);
        void *good = NULL;
        weft_future *f = weft_executor_submit(ex, promise_and_wait, ex, WEFT_NOW);
        assert_int_equal(weft_future_get(f, &good, WEFT_FOREVER), 0);
        assert_ptr_equal(good, ex);
        drain(ex);
    }
}

typedef struct kept_outside {
    weft_event go;
    weft_future *promise, *task;
    pid_t tid; // atomic
} kept_outside;

static void *wait_for_promise(void *arg)
{
    kept_outside *k = (kept_outside *)arg;
    weft_event_wait(&k->go, WEFT_FOREVER);
    __atomic_store_n(&k->tid, weft_thread_id(NULL), __ATOMIC_RELEASE);
    return weft_future_get(k->promise, NULL, WEFT_FOREVER) == 0 ? arg : NULL;
}

static void *get_and_set(void *arg)
{
    kept_outside *k = (kept_outside *)arg;
    __atomic_store_n(&k->tid, weft_thread_id(NULL), __ATOMIC_RELEASE);
    weft_future_get(k->task, NULL, WEFT_FOREVER);
    weft_future_set(k->promise, NULL);
    return arg;
}

static void await_asleep_there(kept_outside *k)
{
    await_told_asleep(&k->tid);
    __atomic_store_n(&k->tid, 0, __ATOMIC_RELEASE);
}

// One worker waits for a promise that a thread keeps once a task behind it has run: it is run,
// whoever went to sleep first.
CASE(test_promise_kept_by_who_waits_for_a_task)
{
    for (int outside_first = 0; outside_first < 2; outside_first++) {
        weft_executor *ex = create(1);
        kept_outside k = {WEFT_EVENT_INIT, weft_future_create(), NULL, 0};
        void *good = NULL;
        weft_future *f = weft_executor_submit(ex, wait_for_promise, &k, WEFT_NOW);
        k.task = weft_executor_submit(ex, same, NULL, WEFT_NOW);
        if (!outside_first) {
            weft_event_set(&k.go);
            await_asleep_there(&k);
        }
        weft_thread *keeper = weft_thread_start(get_and_set, &k, NULL);
        if (outside_first) {
            await_asleep_there(&k);
            weft_event_set(&k.go);
        }
        assert_int_equal(weft_future_get(f, &good, WEFT_FOREVER), 0);
        assert_ptr_equal(good, &k);
        assert_int_equal(weft_thread_join(keeper, NULL, WEFT_FOREVER), 0);
        drain(ex);
    }
}

static void *cancel_promise(void *arg)
{
    weft_future_cancel((weft_future *)arg);
    return NULL;
}

// Set, cancelled and got at once: one end each, and nothing of it is left.
CASE(test_promise_raced_for)
{
    weft_executor *ex = create(3);
    for (int i = 0; i < 500; i++) {
        weft_future *p = weft_future_create();
        weft_future *f[] = {weft_executor_submit(ex, set_promise, p, WEFT_NOW),
                            weft_executor_submit(ex, cancel_promise, p, WEFT_NOW)};
        assert_int_equal(weft_future_wait(p, WEFT_FOREVER), 0);
        assert_int_equal(weft_future_wait_all(f, 2, WEFT_FOREVER), 0);
        int state = weft_future_state(p);
        assert_int_equal(state, weft_future_result(f[0]) != NULL ? WEFT_FUTURE_DONE
                                                                 : WEFT_FUTURE_CANCELLED);
        assert_int_equal(weft_future_release(f[0]), 0);
        assert_int_equal(weft_future_release(f[1]), 0);
        assert_int_equal(weft_future_release(p), 0);
    }
    drain(ex);
}

// ---- The dump ----

static void *dump_within(void *arg)
{
    char **text = (char **)arg;
    size_t size;
    FILE *out = open_memstream(text, &size);
    errno = 4711;
    weft_executor_dump((weft_executor *)text[1], out);
    int code = errno;
    fclose(out);
    return code == 4711 ? arg : NULL;
}

static void *wait_by_deadline(void *arg)
{
    return weft_future_wait((weft_future *)arg, weft_in_s(600)) == 0 ? arg : NULL;
}

CASE(test_dump_tells_what_each_does)
{
    held h;
    weft_executor *ex = create(3);
    void *good = NULL, *text[2] = {NULL, ex};
    hold(&h);
    weft_future *waits = weft_executor_submit(ex, wait_by_deadline, h.running, WEFT_NOW);
    for (bool seen = false; !seen;) { // until it sleeps
        assert_int_equal(weft_future_get(weft_executor_submit(ex, dump_within, text, WEFT_NOW),
                                         &good, WEFT_FOREVER),
                         0);
        assert_ptr_equal(good, text);
        char line[80];
        seen = strstr((char *)text[0], "waits for ") != NULL;
        snprintf(line, sizeof line, "(%p), waits for ", (void *)h.running);
        assert_true(!seen || strstr((char *)text[0], line) != NULL);
        snprintf(line, sizeof line, "(%p)", (void *)&h.g);
        assert_true(!seen || strstr((char *)text[0], line) != NULL);
        assert_non_null(strstr((char *)text[0], "\"weft-worker\": 3 threads wanted"));
        free(text[0]);
    }
    weft_event_set(&h.g.open);
    assert_int_equal(weft_future_get(waits, NULL, WEFT_FOREVER), 0);
    drain(ex);
    let_go(&h);
}

// ---- Load: ends, waits, watches, callbacks and releases against each other ----

CASE(test_load_of_extras)
{
    enum { ROUNDS = 400 };
    weft_executor *ex = create(3);
    called c = {0, 0, 0, NULL, false};
    for (int i = 0; i < ROUNDS; i++) {
        weft_future *f[6];
        for (int k = 0; k < 6; k++)
            f[k] = weft_executor_submit(ex, same, &c, WEFT_NOW);
        assert_true(weft_future_fd(f[0]) >= 0);
        assert_int_equal(weft_future_then(f[1], note_end, &c.state), 0);
        assert_int_equal(weft_future_release(f[2]), 0);
        f[2] = f[5];
        assert_true(weft_future_wait_any(f, 5, WEFT_FOREVER) >= 0);
        weft_future_cancel(f[4]);
        for (int k = 0; k < 5; k++)
            if (weft_future_get(f[k], NULL, WEFT_FOREVER) != 0)
                assert_int_equal(weft_future_release(f[k]), 0);
    }
    drain(ex);
}

RUN_CASES()
