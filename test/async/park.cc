// Tasklets that wait for what threads wait for: the tasklet sleeps, and its thread goes on.
#include "../thread/closing.h"
#include "parked.h"

#include <weft/executor.h>
#include <weft/queue.h>
#include <weft/sync.h>
#include <weft/thread.h>

#include <fcntl.h>
#include <signal.h>

// ---- One of each ----

static weft_event gate; // opened by the wake, where a thread has to do something first
static weft_future *futures[2];
static weft_completions *completions;
static weft_queue *queue;
static weft_ring *ring;
static weft_semaphore semaphore;
static weft_event event;
static weft_latch latch;
static weft_barrier barrier;
static weft_condition condition;
static weft_mutex mutex;
static weft_rwlock rwlock;
static weft_executor *executor;
static weft_thread *thread;
static int item, held, changed;

static weft_tasklet *wait_for_event(void)
{
    weft_tasklet *t = spawn([] { weft_event_wait(&event, WEFT_FOREVER); }, true);
    weft_tasklet_yield();
    return t;
}

static int wait_in_both(void *)
{
    weft_tasklet *t = wait_for_event();
    pid_t child = runner_fork();
    if (child == 0) {
        alarm(20);
        join(t); // it was told
        t = wait_for_event();
    }
    weft_event_set(&event);
    join(t);
    if (child == 0)
        _exit(0);
    return end_of(child);
}

// Comes first, while nothing has been used that looks out for forks itself.
CASE(test_fork_at_first)
{
    forks_coroutines();
    assert_int_equal(weft_io_run(wait_in_both, nullptr), 0);
}

static void *wait_at_gate(void *)
{
    weft_event_wait(&gate, WEFT_FOREVER);
    return nullptr;
}

static void open_gate(void)
{
    weft_event_set(&gate);
}

static void make_futures(void)
{
    for (weft_future *&f : futures)
        f = weft_future_create();
    completions = weft_completions_create();
    weft_completions_add(completions, futures[1]);
}

static void set_future(void)
{
    weft_future_set(futures[1], &item);
}

static void drop_futures(void)
{
    weft_completions_destroy(completions);
    weft_future_set(futures[0], nullptr);
    for (weft_future *f : futures)
        weft_future_release(f);
}

static void make_queue(void)
{
    queue = weft_queue_create(sizeof item, 1, nullptr);
}

static void make_full(void)
{
    make_queue();
    weft_queue_put(queue, &item, WEFT_NOW);
}

static void get_one(void)
{
    weft_queue_get(queue, &item, WEFT_NOW);
    weft_queue_task_done(queue);
}

static void put_one(void)
{
    weft_queue_put(queue, &item, WEFT_NOW);
}

static void drop_queue(void)
{
    assert_int_equal(weft_queue_destroy(queue), 0);
}

static void make_executor(void)
{
    weft_executor_options o = {};
    o.backlog = 1;
    executor = weft_executor_create(1, &o);
    futures[0] = weft_executor_submit(executor, wait_at_gate, nullptr, WEFT_NOW);
    while (counters_of(executor).pending != 0) // until the worker has it
        sched_yield();
    futures[1] = weft_executor_submit(executor, wait_at_gate, nullptr, WEFT_NOW);
}

static void drop_executor(void)
{
    for (weft_future *f : futures)
        weft_future_release(f);
    assert_int_equal(weft_executor_destroy(executor), 0);
}

template <class Lock, class Unlock> static void *hold_until_gate(Lock lock, Unlock unlock)
{
    lock();
    __atomic_store_n(&held, 1, __ATOMIC_RELEASE);
    wait_at_gate(nullptr);
    unlock();
    return nullptr;
}

static void start(void *(*fn)(void *))
{
    held = 0;
    thread = weft_thread_start(fn, nullptr, nullptr);
    while (fn != wait_at_gate && !__atomic_load_n(&held, __ATOMIC_ACQUIRE))
        sched_yield();
}

static void join_thread(void)
{
    weft_thread_join(thread, nullptr, WEFT_FOREVER);
}

static int and_then(int result, int (*unlock)(void))
{
    return result == 0 ? unlock() : result;
}

static int unlock_rwlock(void)
{
    return weft_rwlock_unlock(&rwlock);
}

template <int (*lock)(weft_rwlock *, weft_deadline)> static void hold_rwlock(void)
{
    weft_rwlock_init(&rwlock, 0);
    start([](void *) {
        return hold_until_gate([] { lock(&rwlock, WEFT_FOREVER); }, [] { unlock_rwlock(); });
    });
}

static int await_change(weft_deadline d)
{
    weft_mutex_lock(&mutex, WEFT_FOREVER);
    int result = 0;
    while (!changed && result == 0)
        result = weft_condition_wait(&condition, &mutex, d);
    weft_mutex_unlock(&mutex);
    return result;
}

static void change(void)
{
    weft_mutex_lock(&mutex, WEFT_FOREVER);
    changed = 1;
    weft_condition_signal(&condition);
    weft_mutex_unlock(&mutex);
}

static void nothing(void)
{
}

static const object objects[] = {
    {"future", make_futures, [](weft_deadline d) { return weft_future_wait(futures[1], d); },
     set_future, drop_futures, false},
    {"several futures", make_futures,
     [](weft_deadline d) { return weft_future_wait_any(futures, 2, d) < 0 ? -1 : 0; }, set_future,
     drop_futures, false},
    {"completions", make_futures,
     [](weft_deadline d) { return weft_completions_next(completions, d) != nullptr ? 0 : -1; },
     set_future, drop_futures, false},
    {"get", make_queue, [](weft_deadline d) { return weft_queue_get(queue, &item, d); }, put_one,
     drop_queue, false},
    {"put", make_full, [](weft_deadline d) { return weft_queue_put(queue, &item, d); }, get_one,
     drop_queue, false},
    {"get from any", make_queue,
     [](weft_deadline d) { return (int)weft_queue_get_any(&queue, 1, &item, d); }, put_one,
     drop_queue, false},
    {"queue's join", make_full, [](weft_deadline d) { return weft_queue_join(queue, d); }, get_one,
     drop_queue, false},
    {"ring", [] { ring = weft_ring_create(sizeof item, 2); },
     [](weft_deadline d) { return weft_ring_get(ring, &item, d); },
     [] { weft_ring_put(ring, &item, WEFT_NOW); },
     [] { assert_int_equal(weft_ring_destroy(ring), 0); }, false},
    {"semaphore", [] { weft_semaphore_init(&semaphore, 0, 0); },
     [](weft_deadline d) { return weft_semaphore_wait(&semaphore, d); },
     [] { weft_semaphore_post(&semaphore); },
     [] { assert_int_equal(weft_semaphore_destroy(&semaphore), 0); }, false},
    {"event", [] { weft_event_init(&event); },
     [](weft_deadline d) { return weft_event_wait(&event, d); }, [] { weft_event_set(&event); },
     nothing, false},
    {"latch", [] { weft_latch_init(&latch, 1); },
     [](weft_deadline d) { return weft_latch_wait(&latch, d); },
     [] { weft_latch_count_down(&latch, 1); }, nothing, false},
    {"barrier", [] { weft_barrier_init(&barrier, 2); },
     [](weft_deadline d) { return weft_barrier_wait(&barrier, d); },
     [] { weft_barrier_wait(&barrier, WEFT_FOREVER); },
     [] { assert_int_equal(weft_barrier_destroy(&barrier), 0); }, false},
    {"condition",
     [] {
         changed = 0;
         weft_mutex_init(&mutex, 0);
     },
     await_change, change, nothing, false},
    {"mutex",
     [] {
         weft_mutex_init(&mutex, 0);
         start([](void *) {
             return hold_until_gate([] { weft_mutex_lock(&mutex, WEFT_FOREVER); },
                                    [] { weft_mutex_unlock(&mutex); });
         });
     },
     [](weft_deadline d) {
         return and_then(weft_mutex_lock(&mutex, d), [] { return weft_mutex_unlock(&mutex); });
     },
     open_gate, join_thread, true},
    {"rwlock to read", hold_rwlock<weft_rwlock_write>,
     [](weft_deadline d) { return and_then(weft_rwlock_read(&rwlock, d), unlock_rwlock); },
     open_gate, join_thread, true},
    {"rwlock to write", hold_rwlock<weft_rwlock_read>,
     [](weft_deadline d) { return and_then(weft_rwlock_write(&rwlock, d), unlock_rwlock); },
     open_gate, join_thread, true},
    {"task", make_executor, [](weft_deadline d) { return weft_future_wait(futures[1], d); },
     open_gate, drop_executor, false},
    {"room", make_executor,
     [](weft_deadline d) {
         weft_future *f = weft_executor_submit(executor, wait_at_gate, nullptr, d);
         return f != nullptr ? weft_future_release(f) : -1;
     },
     open_gate, drop_executor, false},
    {"executor", make_executor, [](weft_deadline d) { return weft_executor_wait(executor, d); },
     open_gate, drop_executor, false},
    {"thread", [] { start(wait_at_gate); },
     [](weft_deadline d) { return weft_thread_join(thread, nullptr, d); }, open_gate, nothing,
     false},
};

INSIDE_CASE(test_woken_by_another_tasklet)
{
    for (const object &o : objects) {
        waiting w;
        weft_event_init(&gate);
        weft_tasklet *t = begin(&w, &o, WEFT_FOREVER);
        o.wake();
        join(t);
        end_well(&w);
    }
}

static void *call_wake(void *object)
{
    ((const struct object *)object)->wake();
    return nullptr;
}

INSIDE_CASE(test_woken_by_a_thread)
{
    for (const object &o : objects) {
        waiting w;
        weft_event_init(&gate);
        weft_tasklet *t = begin(&w, &o, weft_in_s(60));
        weft_thread *waker = weft_thread_start(call_wake, (void *)&o, nullptr);
        join(t);
        assert_int_equal(weft_thread_join(waker, nullptr, WEFT_FOREVER), 0);
        end_well(&w);
    }
}

static void end_badly(const waiting *w, weft_tasklet *t, int error)
{
    failed_with(w, t, error);
    w->what->wake();
    if (w->what->wait == objects[sizeof objects / sizeof *objects - 1].wait)
        join_thread();
    w->what->drop();
}

INSIDE_CASE(test_deadlines)
{
    for (const object &o : objects) {
        waiting w;
        weft_event_init(&gate);
        weft_tasklet *t = begin(&w, &o, weft_in_ms(50));
        end_badly(&w, t, ETIMEDOUT);
    }
}

INSIDE_CASE(test_cancel)
{
    for (const object &o : objects) {
        waiting w;
        weft_event_init(&gate);
        weft_tasklet *t = begin(&w, &o, WEFT_FOREVER);
        assert_int_equal(weft_tasklet_cancel(t), 0);
        if (!o.is_lock) {
            end_badly(&w, t, ECANCELED);
            continue;
        }
        for (int i = 0; i < 100; i++)
            weft_tasklet_yield();
        assert_false(w.done);
        o.wake();
        join(t);
        end_well(&w);
    }
}

static bool destroyed;

INSIDE_CASE(test_what_must_end_outlasts_a_cancel)
{
    weft_event_init(&gate);
    make_executor();
    destroyed = false;
    weft_tasklet *t = spawn(
        [] {
            drop_executor();
            destroyed = true;
        },
        true);
    weft_tasklet_yield();
    assert_int_equal(weft_tasklet_cancel(t), 0);
    for (int i = 0; i < 100; i++)
        weft_tasklet_yield();
    assert_false(destroyed);
    open_gate();
    join(t);
    assert_true(destroyed);
}

// ---- Locks between tasklets of one thread ----

static int order[2], orders;

static void *lock_in_turn(void *which)
{
    weft_mutex_lock(&mutex, WEFT_FOREVER);
    order[orders++] = (int)(intptr_t)which;
    weft_tasklet_yield(); // the other finds it locked
    weft_mutex_unlock(&mutex);
    return nullptr;
}

INSIDE_CASE(test_mutex_of_one_thread)
{
    orders = 0;
    weft_mutex_init(&mutex, 0);
    weft_tasklet *a = spawn(lock_in_turn, (void *)1, true);
    weft_tasklet *b = spawn(lock_in_turn, (void *)2, true);
    join(a);
    join(b);
    assert_int_equal(order[0] + order[1], 3);
    // The others say whose they are: the thread's.
    weft_mutex_init(&mutex, WEFT_CHECKED);
    assert_int_equal(weft_mutex_lock(&mutex, WEFT_NOW), 0);
    assert_errno(weft_mutex_lock(&mutex, WEFT_FOREVER), EDEADLK);
    assert_int_equal(weft_mutex_unlock(&mutex), 0);
}

// ---- Handlers, stops, forks ----

static void post_it(int)
{
    weft_semaphore_post(&semaphore);
}

INSIDE_CASE(test_post_in_a_handler)
{
    struct sigaction a = {};
    a.sa_handler = post_it;
    sigaction(SIGUSR1, &a, nullptr);
    weft_semaphore_init(&semaphore, 0, 0);
    for (int i = 0; i < 50; i++) {
        weft_tasklet *t = spawn([] { weft_semaphore_wait(&semaphore, WEFT_FOREVER); }, true);
        weft_tasklet_yield();
        raise(SIGUSR1);
        join(t);
    }
    assert_int_equal(weft_semaphore_value(&semaphore), 0);
}

static int wait_in_main(void *)
{
    __atomic_store_n(&held, 1, __ATOMIC_RELEASE);
    return weft_semaphore_wait(&semaphore, WEFT_FOREVER) == -1 ? errno : 0;
}

CASE(test_thread_stop)
{
    weft_semaphore_init(&semaphore, 0, 0);
    for (int i = 0; i < 20; i++) {
        void *result;
        held = 0;
        weft_thread *t = weft_thread_start(
            [](void *) -> void * { return (void *)(intptr_t)weft_io_run(wait_in_main, nullptr); },
            nullptr, nullptr);
        while (!__atomic_load_n(&held, __ATOMIC_ACQUIRE))
            sched_yield();
        if (i % 2 == 0)
            await_asleep(weft_thread_id(t));
        assert_int_equal(weft_thread_stop(t), 0);
        assert_int_equal(weft_thread_join(t, &result, WEFT_FOREVER), 0);
        assert_int_equal((intptr_t)result, ECANCELED);
    }
    assert_int_equal(weft_semaphore_destroy(&semaphore), 0);
}

static int go_on_in_child(void *kind)
{
    waiting w, v;
    int other = 0;
    w = v = {(const object *)kind, WEFT_FOREVER, 0, 0, false};
    weft_tasklet *t = spawn(wait_for_it, &w, true);
    weft_tasklet_yield();
    pid_t child = runner_fork();
    for (int i = 0; i < 2 && child != 0; i++)
        weft_queue_put(queue, &other, WEFT_FOREVER); // they are the parent's
    if (child == 0)
        weft_queue_get(queue, &other, WEFT_NOW); // puts it in order, before the tasklet goes on
    join(t);
    if (child != 0)
        return w.result == 0 ? end_of(child) : 100;
    if (w.result != -1 || w.error != ECANCELED)
        _exit(1);
    t = spawn(wait_for_it, &v, true);
    weft_tasklet_yield();
    weft_queue_put(queue, &item, WEFT_NOW);
    join(t);
    _exit(v.result != 0 ? 2 : weft_queue_destroy(queue) != 0 ? 3 : 0);
}

static void *get_first(void *)
{
    int other;
    weft_queue_get(queue, &other, WEFT_FOREVER);
    return nullptr;
}

CASE(test_fork)
{
    forks_coroutines();
    for (int kind = 3; kind <= 5; kind += 2) { // a get, and from any
        make_queue();
        thread = weft_thread_start(get_first, nullptr, nullptr);
        await_asleep(weft_thread_id(thread));
        assert_int_equal(weft_io_run(go_on_in_child, (void *)&objects[kind]), 0);
        join_thread();
        drop_queue();
    }
}

static int destroy_in_child(void *)
{
    static int result, error;
    weft_tasklet *t = spawn(
        [] {
            result = weft_executor_destroy(executor);
            error = errno;
        },
        true);
    weft_tasklet_yield();
    pid_t child = runner_fork();
    if (child != 0)
        open_gate();
    else
        dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
    join(t);
    if (child != 0)
        return result == 0 ? end_of(child) : 100;
    _exit(result == 0 || error != EPERM ? 1 : fcntl(0, F_GETFD) < 0 ? 2 : 0);
}

CASE(test_fork_in_a_destroy)
{
    forks_coroutines();
    weft_event_init(&gate);
    make_executor();
    for (weft_future *f : futures)
        weft_future_release(f);
    assert_int_equal(weft_io_run(destroy_in_child, nullptr), 0);
}

// ---- In a task ----

static void *get_task(void *)
{
    void *result = nullptr;
    weft_future *f = weft_executor_submit(
        executor, [](void *arg) { return arg; }, &item, WEFT_NOW);
    weft_future_get(f, &result, WEFT_FOREVER);
    return result;
}

static int get_tasks(void *)
{
    void *results[3] = {};
    weft_tasklet *t[] = {spawn(get_task, nullptr, true), spawn(get_task, nullptr, true)};
    results[2] = get_task(nullptr);
    for (int i = 0; i < 2; i++)
        weft_tasklet_join(t[i], &results[i], WEFT_FOREVER);
    return (results[0] == &item) + (results[1] == &item) + (results[2] == &item);
}

// For tasks of its own executor, which has one thread.
CASE(test_a_task_waits_for_others)
{
    void *result = nullptr;
    executor = weft_executor_create(1, nullptr);
    weft_future *f = weft_executor_submit(
        executor, [](void *) { return (void *)(intptr_t)weft_io_run(get_tasks, nullptr); }, nullptr,
        WEFT_NOW);
    assert_int_equal(weft_future_get(f, &result, WEFT_FOREVER), 0);
    assert_int_equal((intptr_t)result, 3);
    assert_int_equal(weft_executor_destroy(executor), 0);
}

// ---- Many of both kinds ----

enum { ROUNDS = RUNNER_SANITIZED ? 300 : 1500, TASKLETS = 4, THREADS = 2 };

static int64_t put_sum, got_sum, guarded, entered;

// Puts and gets as many, now and then in vain; the sums are to agree.
static void *trade(void *)
{
    int64_t put = 0, got = 0;
    for (int i = 1; i <= ROUNDS; i++) {
        int mine = i;
        while (weft_queue_put(queue, &mine, i % 3 != 0 ? WEFT_FOREVER : weft_in_us(20)) != 0) {
        }
        put += i;
        while (weft_queue_get(queue, &mine, i % 5 != 0 ? WEFT_FOREVER : weft_in_us(20)) != 0) {
        }
        got += mine;
    }
    __atomic_fetch_add(&put_sum, put, __ATOMIC_RELAXED);
    __atomic_fetch_add(&got_sum, got, __ATOMIC_RELAXED);
    return nullptr;
}

// Two units: two at most are inside.
static void *take_units(void *)
{
    for (int i = 0; i < ROUNDS; i++) {
        while (weft_semaphore_wait(&semaphore, i % 3 != 0 ? WEFT_FOREVER : weft_in_us(20)) != 0) {
        }
        __atomic_fetch_add(&entered, 1, __ATOMIC_RELAXED);
        if (i % 7 == 0)
            sched_yield();
        weft_semaphore_post(&semaphore);
    }
    return nullptr;
}

static void *count_up(void *)
{
    for (int i = 0; i < ROUNDS / 5; i++) {
        bool write = i % 2 == 0;
        if (write)
            weft_mutex_lock(&mutex, WEFT_FOREVER);
        weft_rwlock_write(&rwlock, WEFT_FOREVER);
        guarded++;
        if (i % 16 == 0)
            sched_yield();
        weft_rwlock_unlock(&rwlock);
        if (write)
            weft_mutex_unlock(&mutex);
    }
    return nullptr;
}

static int run_tasklets(void *fn)
{
    for (int i = 0; i < TASKLETS; i++)
        spawn((void *(*)(void *))fn, nullptr);
    return 0;
}

static void *in_io_run(void *fn)
{
    return (void *)(intptr_t)weft_io_run(run_tasklets, fn);
}

// In threads and in tasklets of two threads at the same time.
static void everywhere(void *(*fn)(void *))
{
    weft_thread *t[2 * THREADS];
    for (int i = 0; i < THREADS; i++) {
        t[i] = weft_thread_start(fn, nullptr, nullptr);
        t[THREADS + i] = weft_thread_start(in_io_run, (void *)fn, nullptr);
    }
    for (weft_thread *each : t)
        assert_int_equal(weft_thread_join(each, nullptr, WEFT_FOREVER), 0);
}

enum { CALLERS = THREADS * (1 + TASKLETS) };

CASE(test_queue_of_both)
{
    put_sum = got_sum = 0;
    queue = weft_queue_create(sizeof item, CALLERS / 2, nullptr);
    everywhere(trade);
    assert_int_equal(put_sum, got_sum);
    assert_int_equal(put_sum, (int64_t)CALLERS * ROUNDS * (ROUNDS + 1) / 2);
    assert_int_equal(weft_queue_length(queue), 0);
    drop_queue();
}

CASE(test_semaphore_of_both)
{
    entered = 0;
    weft_semaphore_init(&semaphore, 2, 2);
    everywhere(take_units);
    assert_int_equal(entered, CALLERS * ROUNDS);
    assert_int_equal(weft_semaphore_value(&semaphore), 2);
    assert_int_equal(weft_semaphore_destroy(&semaphore), 0);
}

CASE(test_locks_of_both)
{
    guarded = 0;
    weft_mutex_init(&mutex, 0);
    weft_rwlock_init(&rwlock, 0);
    everywhere(count_up);
    assert_int_equal(guarded, CALLERS * (ROUNDS / 5));
    assert_int_equal(weft_mutex_destroy(&mutex), 0);
    assert_int_equal(weft_rwlock_destroy(&rwlock), 0);
}

RUN_CASES()
