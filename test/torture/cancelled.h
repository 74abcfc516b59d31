// cancelled.h: the calls that wait, each with what must hold when its thread was cancelled, or told
// to stop, in it.
//
// A row's thread makes the call by act(); meanwhile the main thread calls release(), after some
// milliseconds.  Then it calls check() with what act() gave: 0, an errno, or CANCELLED when the
// thread was ended in the call, which only a cancellation point allows.
#ifndef WEFT_TORTURE_CANCELLED_H
#define WEFT_TORTURE_CANCELLED_H

#include "../proc/operations.h"
#include "../shm/operations.h"
#include "../thread/closing.h"
#include "shared_objects.h"

#include <weft/executor.h>
#include <weft/queue.h>
#include <weft/shared_queue.h>
#include <weft/shared_sync.h>
#include <weft/shm.h>
#include <weft/sync.h>
#include <weft/thread.h>

#include <poll.h>
#include <sched.h>

enum { CANCELLED = -1 };

struct row {
    const char *name;
    void (*begin)(void);
    int (*act)(void);
    void (*release)(void); // or null
    int (*check)(int result);
    bool point; // is a cancellation point
};

// What a check found wrong, for people.
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__;                                                                       \
    } while (0)

static int code_of(int code)
{
    return code == 0 ? 0 : errno;
}

static weft_deadline shortly(void)
{
    return weft_in_ms(1);
}

static void nothing(void)
{
}

// ---- Locks ----

static weft_mutex mutex;
static weft_rwlock rwlock;
static weft_condition condition;
static int ready;

static void mutex_held(void)
{
    weft_mutex_init(&mutex, WEFT_CHECKED);
    weft_mutex_lock(&mutex, WEFT_FOREVER);
}

static int lock_mutex(void)
{
    if (weft_mutex_lock(&mutex, WEFT_FOREVER) != 0)
        return errno;
    return code_of(weft_mutex_unlock(&mutex));
}

static int lock_mutex_shortly(void)
{
    return weft_mutex_lock(&mutex, shortly()) == -1 && errno == ETIMEDOUT ? 0 : EINVAL;
}

static void mutex_free(void)
{
    weft_mutex_unlock(&mutex);
}

static int mutex_is_free(int result)
{
    REQUIRE(result == 0); // a stop does not end it either
    REQUIRE(weft_mutex_lock(&mutex, WEFT_NOW) == 0);
    REQUIRE(weft_mutex_unlock(&mutex) == 0);
    REQUIRE(weft_mutex_destroy(&mutex) == 0);
    return 0;
}

static int mutex_is_ours(int result)
{
    mutex_free();
    return mutex_is_free(result);
}

static void rwlock_written(void)
{
    weft_rwlock_init(&rwlock, 0);
    weft_rwlock_write(&rwlock, WEFT_FOREVER);
}

static int read_rwlock(void)
{
    return weft_rwlock_read(&rwlock, WEFT_FOREVER) != 0 ? errno
                                                        : code_of(weft_rwlock_unlock(&rwlock));
}

static int write_and_downgrade(void)
{
    if (weft_rwlock_write(&rwlock, weft_in_s(10)) != 0 || weft_rwlock_downgrade(&rwlock) != 0)
        return errno;
    return code_of(weft_rwlock_unlock(&rwlock));
}

static void rwlock_free(void)
{
    weft_rwlock_unlock(&rwlock);
}

static int rwlock_is_free(int result)
{
    REQUIRE(result == 0);
    REQUIRE(weft_rwlock_write(&rwlock, WEFT_NOW) == 0);
    REQUIRE(weft_rwlock_unlock(&rwlock) == 0);
    REQUIRE(weft_rwlock_destroy(&rwlock) == 0);
    return 0;
}

// After each wait the thread has the mutex again, whatever the result.
static void condition_begin(void)
{
    weft_mutex_init(&mutex, WEFT_CHECKED);
    weft_condition_init(&condition);
    ready = 0;
}

static int await_until(weft_deadline d)
{
    int code = 0, error;
    weft_mutex_lock(&mutex, WEFT_FOREVER);
    while (ready == 0 && code == 0)
        code = weft_condition_wait(&condition, &mutex, d);
    error = errno;
    if (weft_mutex_unlock(&mutex) != 0)
        return EPERM;
    return code == 0 ? 0 : error;
}

static int await_condition(void)
{
    return await_until(weft_in_s(10));
}

static int await_condition_shortly(void)
{
    int code = await_until(shortly());
    return code == ETIMEDOUT ? 0 : code;
}

static void set_ready(void)
{
    weft_mutex_lock(&mutex, WEFT_FOREVER);
    ready = 1;
    weft_condition_signal(&condition);
    weft_mutex_unlock(&mutex);
}

static int condition_is_free(int result)
{
    REQUIRE(result == 0 || result == ECANCELED);
    REQUIRE(weft_condition_destroy(&condition) == 0);
    return mutex_is_free(0);
}

// ---- What is counted ----

static weft_semaphore semaphore;
static weft_event event;
static weft_latch latch;
static weft_barrier barrier;

static void semaphore_begin(void)
{
    weft_semaphore_init(&semaphore, 0, 1);
}

static int take_unit(void)
{
    return code_of(weft_semaphore_wait(&semaphore, weft_in_s(10)));
}

static int take_unit_shortly(void)
{
    int code = code_of(weft_semaphore_wait(&semaphore, shortly()));
    return code == ETIMEDOUT ? 0 : code;
}

static void give_unit(void)
{
    weft_semaphore_post(&semaphore);
}

// The unit is the thread's or still there.
static int unit_is_somewhere(int result)
{
    REQUIRE(result == 0 || result == ECANCELED);
    REQUIRE(weft_semaphore_value(&semaphore) == (result != 0));
    REQUIRE(weft_semaphore_destroy(&semaphore) == 0);
    return 0;
}

static int no_unit_is_there(int result)
{
    REQUIRE(result == 0 || result == ECANCELED);
    REQUIRE(weft_semaphore_post(&semaphore) == 0);
    REQUIRE(weft_semaphore_wait(&semaphore, WEFT_NOW) == 0);
    REQUIRE(weft_semaphore_destroy(&semaphore) == 0);
    return 0;
}

static void event_begin(void)
{
    weft_event_init(&event);
}

static int await_event(void)
{
    return code_of(weft_event_wait(&event, weft_in_s(10)));
}

static void set_event(void)
{
    weft_event_set(&event);
}

static int event_is_free(int result)
{
    REQUIRE(result == 0 || result == ECANCELED);
    REQUIRE(weft_event_wait(&event, WEFT_NOW) == 0);
    REQUIRE(weft_event_destroy(&event) == 0);
    return 0;
}

static void latch_begin(void)
{
    weft_latch_init(&latch, 1);
}

static int await_latch(void)
{
    return code_of(weft_latch_wait(&latch, weft_in_s(10)));
}

static void open_latch(void)
{
    weft_latch_count_down(&latch, 1);
}

static int latch_is_free(int result)
{
    REQUIRE(result == 0 || result == ECANCELED);
    REQUIRE(weft_latch_destroy(&latch) == 0);
    return 0;
}

static int met; // what the main thread got

static void barrier_begin(void)
{
    weft_barrier_init(&barrier, 2);
}

static int meet(void)
{
    int code = weft_barrier_wait(&barrier, weft_in_s(10));
    return code >= 0 ? 0 : errno;
}

static int meet_shortly(void)
{
    int code = weft_barrier_wait(&barrier, shortly());
    return code == -1 && errno == ETIMEDOUT ? 0 : errno;
}

static void meet_too(void)
{
    met = weft_barrier_wait(&barrier, weft_in_s(10)) >= 0 ? 0 : errno;
}

// Both have met, or both know that they have not.
static int both_know(int result)
{
    REQUIRE(result == 0 ? met == 0 : result == ECANCELED && met == EPIPE);
    REQUIRE(weft_barrier_is_broken(&barrier) == (result != 0));
    REQUIRE(weft_barrier_destroy(&barrier) == 0);
    return 0;
}

static int barrier_is_broken(int result)
{
    REQUIRE(result == 0 || result == ECANCELED);
    REQUIRE(weft_barrier_wait(&barrier, WEFT_NOW) == -1 && errno == EPIPE);
    REQUIRE(weft_barrier_reset(&barrier) == 0);
    REQUIRE(weft_barrier_destroy(&barrier) == 0);
    return 0;
}

// ---- Threads, once, timers ----

static weft_thread *other;
static weft_once once;
static int calls;

static void *wait_for_event(void *)
{
    weft_event_wait(&event, WEFT_FOREVER);
    return &event;
}

static void other_begin(void)
{
    weft_event_init(&event);
    other = weft_thread_start(wait_for_event, nullptr, nullptr);
}

static int join_until(weft_deadline d)
{
    void *result = nullptr;
    if (weft_thread_join(other, &result, d) != 0)
        return errno;
    return result == &event ? 0 : EINVAL;
}

static int join_other(void)
{
    return join_until(WEFT_FOREVER);
}

static int join_other_in_time(void)
{
    return join_until(weft_in_s(10));
}

static int join_other_shortly(void)
{
    int code = join_until(shortly());
    return code == ETIMEDOUT ? 0 : code;
}

// Who has not joined it leaves that to another.
static int other_is_joined(int result)
{
    REQUIRE(result == 0 || result == ECANCELED || result == CANCELLED);
    if (result != 0)
        REQUIRE(join_other() == 0);
    REQUIRE(join_other() == EINVAL);
    REQUIRE(weft_thread_list(nullptr, 0) == 0);
    return event_is_free(0);
}

static int other_can_be_joined(int result)
{
    REQUIRE(result == 0 || result == ECANCELED || result == CANCELLED);
    REQUIRE(weft_thread_join(other, nullptr, WEFT_NOW) == -1 && errno == ETIMEDOUT);
    weft_event_set(&event);
    return other_is_joined(ECANCELED);
}

static int sleep_shortly(void)
{
    return code_of(weft_thread_sleep(shortly()));
}

static int anything(int result)
{
    return result == 0 || result == ECANCELED ? 0 : __LINE__;
}

static int is_right(int result)
{
    return result == 0 ? 0 : __LINE__;
}

static void *give_back(void *arg)
{
    return arg;
}

// A join is a cancellation point; this is about the rest.
static int start_threads(void)
{
    weft_thread_options o = {};
    for (int i = 0; i < 4; i++) {
        o.name = i & 1 ? "named" : nullptr;
        o.policy = i & 2 ? SCHED_BATCH : 0;
        weft_thread *t = weft_thread_start(give_back, nullptr, &o);
        if (t == nullptr || weft_thread_detach(t) != 0)
            return errno;
    }
    return weft_thread_set_name("renamed");
}

static int no_thread_is_there(int result)
{
    for (weft_deadline d = weft_in_s(10); weft_thread_list(nullptr, 0) != 0; usleep(100))
        REQUIRE(weft_left(d) != 0);
    return is_right(result);
}

static int stop_other(void)
{
    return code_of(weft_thread_stop(other));
}

static int other_was_stopped(int result)
{
    REQUIRE(result == 0);
    REQUIRE(join_other() == 0);
    return event_is_free(ECANCELED) == 0 ? __LINE__ : 0; // nobody has set it
}

static int count_processors(void)
{
    return weft_cpu_count() >= 1 ? 0 : EINVAL;
}

static int count_call(void *)
{
    calls++;
    return 0;
}

static int wait_in_once(void *)
{
    calls++;
    weft_event_wait(&event, WEFT_FOREVER);
    return 0;
}

static void *run_in_other(void *)
{
    weft_once_run(&once, wait_in_once, nullptr, WEFT_FOREVER);
    return &event;
}

static void once_in_other(void)
{
    calls = 0;
    once = WEFT_ONCE_INIT;
    weft_event_init(&event);
    other = weft_thread_start(run_in_other, nullptr, nullptr);
    while (__atomic_load_n(&calls, __ATOMIC_ACQUIRE) == 0)
        usleep(50);
}

static int run_once(void)
{
    return code_of(weft_once_run(&once, count_call, nullptr, weft_in_s(10)));
}

static int once_ran_in_other(int result)
{
    REQUIRE(result == 0 || result == ECANCELED);
    REQUIRE(join_other() == 0);
    REQUIRE(run_once() == 0 && calls == 1);
    return 0;
}

static int poll_in_once(void *)
{
    calls++;
    poll(nullptr, 0, 3);
    return 0;
}

static void once_begin(void)
{
    calls = 0;
    once = WEFT_ONCE_INIT;
}

static int run_once_and_poll(void)
{
    return code_of(weft_once_run(&once, poll_in_once, nullptr, weft_in_s(10)));
}

// A function that was cancelled counts as never called.
static int once_runs_anew(int result)
{
    REQUIRE(result == 0 || result == CANCELLED);
    int before = calls;
    REQUIRE(run_once() == 0 && calls == before + (result != 0));
    return 0;
}

static void nothing_of(void *)
{
}

static int start_timers(void)
{
    weft_timer *t = weft_timer_start(nothing_of, nullptr, nullptr, weft_in_s(100));
    if (t == nullptr || weft_timer_cancel(t) != 0 || weft_timer_join(t, WEFT_FOREVER) != 0)
        return errno;
    t = weft_timer_start(nothing_of, nullptr, nullptr, shortly());
    if (t == nullptr)
        return errno;
    while (weft_timer_join(t, weft_in_s(10)) < 0)
        if (errno != ECANCELED)
            return errno;
    return 0;
}

// ---- Queues, executors ----

static weft_queue *queue;
static weft_ring *ring;
static weft_executor *executor;
static int item;

static void queue_begin(void)
{
    queue = weft_queue_create(sizeof(int), 1, nullptr);
    ring = weft_ring_create(sizeof(int), 2);
}

static int get_from_queue(void)
{
    return code_of(weft_queue_get(queue, &item, weft_in_s(10)));
}

static int get_from_queue_shortly(void)
{
    int n, code = code_of(weft_queue_get(queue, &n, shortly()));
    return code == ETIMEDOUT ? 0 : code;
}

static int get_from_ring(void)
{
    return code_of(weft_ring_get(ring, &item, weft_in_s(10)));
}

static void put_in_both(void)
{
    int n = 7;
    weft_queue_put(queue, &n, WEFT_FOREVER);
    weft_ring_put(ring, &n, WEFT_FOREVER);
}

static int fill_queue(void)
{
    int items[4] = {1, 2, 3, 4};
    ssize_t n = weft_queue_put_many(queue, items, 4, weft_in_s(10));
    return n == 4 ? 0 : n >= 0 || errno == ECANCELED ? ECANCELED : errno;
}

static void empty_queue(void)
{
    for (int n, i = 0; i < 3; i++)
        weft_queue_get(queue, &n, weft_in_ms(50));
}

static int queues_work(int result)
{
    int n;
    REQUIRE(result == 0 || result == ECANCELED);
    while (weft_queue_get(queue, &n, WEFT_NOW) == 0)
        ;
    REQUIRE(weft_queue_put(queue, &n, WEFT_NOW) == 0 && weft_queue_length(queue) == 1);
    REQUIRE(weft_queue_close(queue, WEFT_DISCARD) == 0);
    REQUIRE(weft_queue_destroy(queue) == 0);
    while (weft_ring_get(ring, &n, WEFT_NOW) == 0)
        ;
    REQUIRE(weft_ring_put(ring, &n, WEFT_NOW) == 0 && weft_ring_length(ring) == 1);
    REQUIRE(weft_ring_close(ring, WEFT_DISCARD) == 0);
    REQUIRE(weft_ring_destroy(ring) == 0);
    return 0;
}

// The item was got by the thread, or is still there.
static int item_is_somewhere(int result)
{
    REQUIRE(weft_queue_length(queue) + weft_ring_length(ring) == (result == 0 ? 1 : 2));
    return queues_work(result);
}

static int watch_queue(void)
{
    int n = 1;
    if (weft_queue_fd(queue) < 0 || weft_queue_put(queue, &n, WEFT_NOW) != 0)
        return errno;
    return code_of(weft_queue_get(queue, &n, WEFT_NOW));
}

static void executor_begin(void)
{
    weft_event_init(&event);
    executor = weft_executor_create(2, nullptr);
}

static int get_future(void)
{
    weft_future *f = weft_executor_submit(executor, wait_for_event, nullptr, WEFT_NOW);
    if (f == nullptr)
        return errno;
    void *result;
    int code = code_of(weft_future_get(f, &result, weft_in_s(10)));
    return code != 0 && weft_future_release(f) != 0 ? EINVAL : code;
}

static int await_executor(void)
{
    weft_future *f = weft_executor_submit(executor, wait_for_event, nullptr, WEFT_NOW);
    if (f == nullptr || weft_future_fd(f) < 0 || weft_executor_fd(executor) < 0)
        return errno;
    int code = code_of(weft_executor_wait(executor, weft_in_s(10)));
    return weft_future_release(f) != 0 ? EINVAL : code;
}

static void add_index(size_t, void *n)
{
    __atomic_fetch_add((int *)n, 1, __ATOMIC_RELAXED);
}

static int map_in_executor(void)
{
    int n = 0;
    int code = code_of(weft_executor_map(executor, add_index, &n, 100, weft_in_s(10)));
    return code == 0 && n != 100 ? EINVAL : code;
}

static int resize_executor(void)
{
    if (weft_executor_resize(executor, 5) != 0 || weft_executor_resize(executor, 1) != 0)
        return errno;
    return 0;
}

static int executor_works(int result)
{
    weft_event_set(&event);
    REQUIRE(result == 0 || result == ECANCELED);
    weft_future *f = weft_executor_submit(executor, give_back, &event, WEFT_NOW);
    void *got = nullptr;
    REQUIRE(f != nullptr && weft_future_get(f, &got, weft_in_s(10)) == 0 && got == &event);
    REQUIRE(weft_executor_destroy(executor) == 0);
    return no_thread_is_there(0);
}

static int shut_executor_down(void)
{
    return code_of(shut(executor, WEFT_DRAIN, weft_in_s(10)));
}

static int executor_is_shut_down(int result)
{
    REQUIRE(result == 0 || result == ECANCELED);
    REQUIRE(weft_executor_submit(executor, give_back, nullptr, WEFT_NOW) == nullptr &&
            errno == EPIPE);
    REQUIRE(weft_executor_destroy(executor) == 0);
    return no_thread_is_there(0);
}

// ---- Between processes ----

static shared_objects shared;
static weft_shared_queue *shared_queue;

static void shared_begin(void)
{
    weft_shared_mutex_init(&shared.mutex, WEFT_CHECKED);
    weft_shared_rwlock_init(&shared.rwlock);
    weft_shared_condition_init(&shared.condition);
    weft_shared_semaphore_init_anonymous(&shared.semaphore, 0, 1);
    weft_shared_event_init(&shared.event);
    weft_shared_barrier_init(&shared.barrier, 2);
    ready = 0;
}

static void shared_held(void)
{
    shared_begin();
    weft_shared_mutex_lock(&shared.mutex, WEFT_FOREVER);
    weft_shared_rwlock_write(&shared.rwlock, WEFT_FOREVER);
}

static int lock_shared(void)
{
    if (weft_shared_mutex_lock(&shared.mutex, WEFT_FOREVER) != 0 ||
        weft_shared_rwlock_read(&shared.rwlock, WEFT_FOREVER) != 0 ||
        weft_shared_rwlock_unlock(&shared.rwlock) != 0)
        return errno;
    return code_of(weft_shared_mutex_unlock(&shared.mutex));
}

static void free_shared(void)
{
    weft_shared_mutex_unlock(&shared.mutex);
    usleep(1000);
    weft_shared_rwlock_unlock(&shared.rwlock);
}

static int shared_is_free(int result)
{
    REQUIRE(result == 0 || result == ECANCELED);
    REQUIRE(weft_shared_mutex_lock(&shared.mutex, WEFT_NOW) == 0);
    REQUIRE(weft_shared_mutex_unlock(&shared.mutex) == 0);
    REQUIRE(weft_shared_rwlock_write(&shared.rwlock, WEFT_NOW) == 0);
    REQUIRE(weft_shared_rwlock_unlock(&shared.rwlock) == 0);
    return 0;
}

static int await_shared_condition(void)
{
    int code = 0, error;
    weft_shared_mutex_lock(&shared.mutex, WEFT_FOREVER);
    while (ready == 0 && code == 0)
        code = weft_shared_condition_wait(&shared.condition, &shared.mutex, weft_in_s(10));
    error = errno;
    if (weft_shared_mutex_unlock(&shared.mutex) != 0)
        return EPERM;
    return code == 0 ? 0 : error;
}

static void set_shared_ready(void)
{
    weft_shared_mutex_lock(&shared.mutex, WEFT_FOREVER);
    ready = 1;
    weft_shared_condition_signal(&shared.condition);
    weft_shared_mutex_unlock(&shared.mutex);
}

static int take_shared_unit(void)
{
    return code_of(weft_shared_semaphore_wait(&shared.semaphore, weft_in_s(10)));
}

static void give_shared_unit(void)
{
    weft_shared_semaphore_post(&shared.semaphore);
}

static int shared_unit_is_somewhere(int result)
{
    REQUIRE(weft_shared_semaphore_value(&shared.semaphore) == (result != 0));
    return shared_is_free(result);
}

static int await_shared_event(void)
{
    return code_of(weft_shared_event_wait(&shared.event, weft_in_s(10)));
}

static void set_shared_event(void)
{
    weft_shared_event_set(&shared.event);
}

static int meet_shared(void)
{
    int code = weft_shared_barrier_wait(&shared.barrier, weft_in_s(10));
    return code >= 0 ? 0 : errno;
}

static void meet_shared_too(void)
{
    met = weft_shared_barrier_wait(&shared.barrier, weft_in_s(10)) >= 0 ? 0 : errno;
}

static int both_know_shared(int result)
{
    REQUIRE(result == 0 ? met == 0 : result == ECANCELED && met == EPIPE);
    REQUIRE(weft_shared_barrier_is_broken(&shared.barrier) == (result != 0));
    return 0;
}

static void shared_queue_begin(void)
{
    shared_queue = weft_shared_queue_create(nullptr, 4096, nullptr);
}

static int get_from_shared_queue(void)
{
    ssize_t n = weft_shared_queue_get(shared_queue, &item, sizeof item, weft_in_s(10));
    return n == sizeof item ? 0 : errno;
}

static void put_in_shared_queue(void)
{
    int n = 7;
    weft_shared_queue_put(shared_queue, &n, sizeof n, WEFT_FOREVER);
}

static int shared_item_is_somewhere(int result)
{
    int n = 0;
    REQUIRE(result == 0 || result == ECANCELED);
    REQUIRE((weft_shared_queue_get(shared_queue, &n, sizeof n, WEFT_NOW) == sizeof n) ==
            (result != 0));
    REQUIRE(weft_shared_queue_destroy(shared_queue) == 0);
    return 0;
}

static int use_segment(void)
{
    weft_shm *s = weft_shm_create(nullptr, 4096, nullptr);
    if (s == nullptr)
        return errno;
    weft_shm *other = weft_shm_attach_fd(weft_shm_fd(s));
    if (other == nullptr || weft_shm_detach(other) != 0)
        return errno;
    return code_of(weft_shm_detach(s));
}

static int use_shared_queue(void)
{
    int n = 3;
    weft_shared_queue *q = weft_shared_queue_create(nullptr, 4096, nullptr);
    if (q == nullptr || weft_shared_queue_fd(q) < 0 ||
        weft_shared_queue_put(q, &n, sizeof n, WEFT_NOW) != 0 ||
        weft_shared_queue_get(q, &n, sizeof n, WEFT_NOW) != sizeof n)
        return errno;
    return code_of(weft_shared_queue_destroy(q));
}

// clang-format off
static const struct row ROWS[] = {
    {"mutex lock", mutex_held, lock_mutex, mutex_free, mutex_is_free, false},
    {"mutex lock, late", mutex_held, lock_mutex_shortly, nullptr, mutex_is_ours, false},
    {"rwlock read", rwlock_written, read_rwlock, rwlock_free, rwlock_is_free, false},
    {"rwlock downgrade", rwlock_written, write_and_downgrade, rwlock_free, rwlock_is_free, false},
    {"condition wait", condition_begin, await_condition, set_ready, condition_is_free, false},
    {"condition wait, late", condition_begin, await_condition_shortly, nullptr, condition_is_free, false},
    {"semaphore wait", semaphore_begin, take_unit, give_unit, unit_is_somewhere, false},
    {"semaphore wait, late", semaphore_begin, take_unit_shortly, nullptr, no_unit_is_there, false},
    {"event wait", event_begin, await_event, set_event, event_is_free, false},
    {"latch wait", latch_begin, await_latch, open_latch, latch_is_free, false},
    {"barrier wait", barrier_begin, meet, meet_too, both_know, false},
    {"barrier wait, late", barrier_begin, meet_shortly, nullptr, barrier_is_broken, false},
    {"thread join", other_begin, join_other, set_event, other_is_joined, true},
    {"thread join, in time", other_begin, join_other_in_time, set_event, other_is_joined, true},
    {"thread join, late", other_begin, join_other_shortly, nullptr, other_can_be_joined, true},
    {"thread sleep", nothing, sleep_shortly, nullptr, anything, false},
    {"thread start", nothing, start_threads, nullptr, no_thread_is_there, false},
    {"thread stop", other_begin, stop_other, nullptr, other_was_stopped, false},
    {"processors", nothing, count_processors, nullptr, is_right, false},
    {"once, another's", once_in_other, run_once, set_event, once_ran_in_other, false},
    {"once, its own", once_begin, run_once_and_poll, nullptr, once_runs_anew, true},
    {"timer", nothing, start_timers, nullptr, is_right, false},
    {"queue get", queue_begin, get_from_queue, put_in_both, item_is_somewhere, false},
    {"queue get, late", queue_begin, get_from_queue_shortly, nullptr, queues_work, false},
    {"queue put", queue_begin, fill_queue, empty_queue, queues_work, false},
    {"queue descriptor", queue_begin, watch_queue, nullptr, queues_work, false},
    {"ring get", queue_begin, get_from_ring, put_in_both, item_is_somewhere, false},
    {"future get", executor_begin, get_future, set_event, executor_works, false},
    {"executor wait", executor_begin, await_executor, set_event, executor_works, false},
    {"executor map", executor_begin, map_in_executor, nullptr, executor_works, false},
    {"executor resize", executor_begin, resize_executor, nullptr, executor_works, false},
    {"executor shutdown", executor_begin, shut_executor_down, nullptr, executor_is_shut_down, false},
    {"shared locks", shared_held, lock_shared, free_shared, shared_is_free, false},
    {"shared condition", shared_begin, await_shared_condition, set_shared_ready, shared_is_free, false},
    {"shared semaphore", shared_begin, take_shared_unit, give_shared_unit, shared_unit_is_somewhere, false},
    {"shared event", shared_begin, await_shared_event, set_shared_event, shared_is_free, false},
    {"shared barrier", shared_begin, meet_shared, meet_shared_too, both_know_shared, false},
    {"shared queue get", shared_queue_begin, get_from_shared_queue, put_in_shared_queue, shared_item_is_somewhere, false},
    {"shared queue, whole", nothing, use_shared_queue, nullptr, is_right, false},
    {"segment", nothing, use_segment, nullptr, is_right, false},
};
// clang-format on

#endif
