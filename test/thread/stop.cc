// weft_thread_stop against each wait of thread.h and sync.h.
#include "../descriptors.h"
#include "asleep.h"
#include <base/poll.h>
#include <weft/sync.h>

#include <fcntl.h>

static struct {
    weft_mutex lock;
    weft_condition condition;
    weft_semaphore semaphore;
    weft_event event;
    weft_barrier barrier;
    weft_latch latch;
    weft_once once;
    weft_thread *other;
    weft_timer *timer;
} all;

static int never(void *)
{
    return weft_event_wait(&all.event, WEFT_FOREVER);
}

// Each kind of wait, in a form that nobody but stop will end.
static int wait_condition(weft_deadline d)
{
    int code = 0;
    weft_mutex_lock(&all.lock, WEFT_FOREVER);
    while (code == 0)
        code = weft_condition_wait(&all.condition, &all.lock, d);
    int error = errno;
    weft_mutex_unlock(&all.lock);
    errno = error;
    return code;
}

static int wait_barrier(weft_deadline d)
{
    return weft_barrier_wait(&all.barrier, d);
}

static int (*const waits[])(weft_deadline) = {
    wait_condition,
    wait_barrier,
    weft_thread_sleep,
    [](weft_deadline d) { return weft_semaphore_wait(&all.semaphore, d); },
    [](weft_deadline d) { return weft_event_wait(&all.event, d); },
    [](weft_deadline d) { return weft_latch_wait(&all.latch, d); },
    [](weft_deadline d) { return weft_once_run(&all.once, never, nullptr, d); },
    [](weft_deadline d) { return weft_thread_join(all.other, nullptr, d); },
    [](weft_deadline d) { return weft_timer_join(all.timer, d); }};
enum { WAITS = sizeof waits / sizeof *waits };

struct waiter {
    int (*wait)(weft_deadline);
    weft_deadline deadline;
    int started, first, second, was_stopping;
};

static void *wait_twice(void *arg)
{
    waiter *w = (waiter *)arg;
    add_word(&w->started);
    w->first = w->wait(w->deadline) == 0 ? 0 : errno;
    w->was_stopping = weft_thread_stopping();
    w->second = w->wait(w->deadline) == 0 ? 0 : errno;
    return nullptr;
}

static void *wait_never(void *)
{
    return code_of(never(nullptr));
}

static void set_up(void)
{
    memset(&all, 0, sizeof all);
    weft_mutex_init(&all.lock, 0);
    weft_barrier_init(&all.barrier, 2);
    weft_latch_init(&all.latch, 1);
    all.other = weft_thread_start(wait_never, nullptr, nullptr);
    all.timer = weft_timer_start([](void *) {}, nullptr, nullptr, weft_in_s(3600));
}

static void tear_down(void)
{
    weft_event_set(&all.event);
    assert_int_equal(weft_timer_cancel(all.timer), 0);
    assert_int_equal(weft_timer_join(all.timer, WEFT_FOREVER), 0);
    assert_int_equal(weft_thread_join(all.other, nullptr, WEFT_FOREVER), 0);
    // A stopped waiter has left everything as it was.
    assert_int_equal(weft_condition_destroy(&all.condition), 0);
    assert_int_equal(weft_semaphore_destroy(&all.semaphore), 0);
    assert_int_equal(weft_event_destroy(&all.event), 0);
    assert_int_equal(weft_barrier_destroy(&all.barrier), 0);
    assert_int_equal(weft_latch_destroy(&all.latch), 0);
    assert_int_equal(weft_mutex_destroy(&all.lock), 0);
}

static void stop_one(int i, weft_deadline d, bool let_it_sleep)
{
    waiter w = {waits[i], d, 0, -1, -1, 0};
    set_up();
    weft_thread *t = weft_thread_start(wait_twice, &w, nullptr);
    await_word(&w.started, 1);
    if (let_it_sleep)
        await_asleep(weft_thread_id(t));
    assert_int_equal(weft_thread_stop(t), 0);
    assert_int_equal(weft_thread_stop(t), 0);
    assert_int_equal(weft_thread_join(t, nullptr, weft_in_s(200)), 0);
    assert_int_equal(w.first, ECANCELED);
    assert_true(w.was_stopping);
    // Once told to stop, each later wait fails too; the barrier is broken by then.
    assert_int_equal(w.second, waits[i] == wait_barrier ? EPIPE : ECANCELED);
    tear_down();
}

CASE(test_stop_ends_each_wait)
{
    for (int i = 0; i < WAITS; i++) {
        stop_one(i, WEFT_FOREVER, true);
        stop_one(i, weft_in_s(3600), true);
    }
}

// Without letting it sleep: the stop falls anywhere between its start and its sleep.
CASE(test_stop_races_each_wait)
{
    for (int i = 0; i < WAITS; i++)
        for (int n = 0; n < 40; n++)
            stop_one(i, WEFT_FOREVER, false);
}

static void *use_what_needs_no_wait(void *arg)
{
    intptr_t failed = 0;
    while (!weft_thread_stopping())
        sched_yield();
    failed += weft_semaphore_wait(&all.semaphore, WEFT_FOREVER) != 0;
    failed += weft_mutex_lock(&all.lock, WEFT_FOREVER) != 0;
    failed += weft_mutex_unlock(&all.lock) != 0;
    failed += weft_mutex_lock(&all.lock, weft_in_s(60)) != 0;
    failed += weft_mutex_unlock(&all.lock) != 0;
    failed += weft_thread_join((weft_thread *)arg, nullptr, WEFT_FOREVER) != 0;
    return (void *)failed;
}

CASE(test_stopped_thread_can_clean_up)
{
    memset(&all, 0, sizeof all);
    weft_semaphore_init(&all.semaphore, 1, 0);
    weft_mutex_init(&all.lock, 0);
    weft_thread *ended = weft_thread_start([](void *arg) { return arg; }, nullptr, nullptr);
    await_ended(ended);
    weft_thread *t = weft_thread_start(use_what_needs_no_wait, ended, nullptr);
    assert_int_equal(weft_thread_stop(t), 0);
    assert_int_equal(joined(t), 0);
}

static void *stop_self(void *)
{
    weft_thread_stop(weft_thread_self());
    return code_of(weft_thread_sleep(WEFT_FOREVER));
}

CASE(test_stop_oneself_and_the_ended)
{
    weft_thread *t = weft_thread_start(stop_self, nullptr, nullptr);
    await_ended(t);
    assert_int_equal(weft_thread_stop(t), 0); // has ended: nothing to do
    assert_int_equal(joined(t), -ECANCELED);
}

// A signal or a unit that meets a thread being stopped must reach another waiter.
struct handover {
    weft_mutex lock;
    weft_condition changed;
    weft_semaphore units;
    int ready;
};

static void *take_ready(void *arg)
{
    handover *h = (handover *)arg;
    int code = 0;
    weft_mutex_lock(&h->lock, WEFT_FOREVER);
    while (h->ready == 0 && code == 0)
        code = weft_condition_wait(&h->changed, &h->lock, WEFT_FOREVER);
    bool took = h->ready > 0;
    h->ready -= took;
    weft_mutex_unlock(&h->lock);
    return took ? h : nullptr;
}

static void give_ready(handover *h)
{
    weft_mutex_lock(&h->lock, WEFT_FOREVER);
    h->ready++;
    weft_condition_signal(&h->changed);
    weft_mutex_unlock(&h->lock);
}

static void *take_unit(void *arg)
{
    handover *h = (handover *)arg;
    return weft_semaphore_wait(&h->units, WEFT_FOREVER) == 0 ? h : nullptr;
}

static void give_unit(handover *h)
{
    weft_semaphore_post(&h->units);
}

static uint32_t sleepers(handover *h)
{
    return __atomic_load_n(&h->changed.waiters, __ATOMIC_ACQUIRE) +
           (uint32_t)(__atomic_load_n(&h->units.state, __ATOMIC_ACQUIRE) >> 32);
}

static void stop_meets(void *(*take)(void *), void (*give)(handover *))
{
    for (int i = 0; i < 200; i++) {
        handover h = {WEFT_MUTEX_INIT, WEFT_CONDITION_INIT, WEFT_SEMAPHORE_INIT(0), 0};
        weft_thread *a = weft_thread_start(take, &h, nullptr);
        weft_thread *b = weft_thread_start(take, &h, nullptr);
        while (sleepers(&h) < 2)
            sched_yield();
        give(&h);
        assert_int_equal(weft_thread_stop(a), 0);
        if (joined(a) != 0)
            give(&h); // b's turn is yet to come
        assert_int_equal(joined(b), (intptr_t)&h);
    }
}

CASE(test_stop_loses_no_signal)
{
    stop_meets(take_ready, give_ready);
    stop_meets(take_unit, give_unit);
}

// ---- Polls of many descriptors ----

enum { PIPES = 100 };

using namespace weft;

static struct pollfd ends[PIPES + 1];

// The place of the first that is ready, or -errno.
static void *poll_all(void *)
{
    if (poll_until(ends, PIPES + 1, WEFT_FOREVER) < 0)
        return (void *)(intptr_t)-errno;
    intptr_t at = 0;
    while (ends[at].revents == 0)
        at++;
    return (void *)at;
}

// They have been asked for one by one, in vain, and a set of them is waited for.
CASE(test_stop_ends_a_poll_of_many)
{
    int writers[PIPES];
    for (int i = 0; i < PIPES; i++) {
        int pipe[2];
        assert_int_equal(pipe2(pipe, O_CLOEXEC), 0);
        ends[i] = {pipe[0], POLLIN, 0};
        writers[i] = pipe[1];
    }
    ends[PIPES] = {ends[7].fd, POLLPRI, 0}; // the same one twice
    int before = open_descriptors();
    const int results[] = {7, 99, -ECANCELED};
    for (int i : results) {
        weft_thread *t = weft_thread_start(poll_all, nullptr, nullptr);
        while (open_descriptors() == before)
            usleep(1000);
        if (i >= 0)
            assert_int_equal(write(writers[i], "", 1), 1);
        else
            weft_thread_stop(t);
        assert_int_equal((intptr_t)joined(t), i);
        char byte;
        if (i >= 0)
            assert_int_equal(read(ends[i].fd, &byte, 1), 1);
        assert_int_equal(open_descriptors(), before);
    }
    for (int i = 0; i < PIPES; i++) {
        close(ends[i].fd);
        close(writers[i]);
    }
}

RUN_CASES()
