// forks.h: what busy threads do while their process forks, and what each child then asks of the
// same things.
//
// `busy` goes on until told to stop; `use`, in the child, gives 0 or the line of what was wrong.
// Each call in it has a deadline: it may fail at once, or time out where a thread that is not there
// holds something, but it may not wait without end, and what is the child's own works.
#ifndef WEFT_TORTURE_FORKS_H
#define WEFT_TORTURE_FORKS_H

#include <weft/executor.h>
#include <weft/io.h>
#include <weft/loop.h>
#include <weft/manager.h>
#include <weft/offload.h>
#include <weft/pool.h>
#include <weft/process.h>
#include <weft/queue.h>
#include <weft/remote.h>
#include <weft/shared_map.h>
#include <weft/shared_queue.h>
#include <weft/shared_sync.h>
#include <weft/subprocess.h>
#include <weft/sync.h>
#include <weft/tasklet.h>
#include <weft/thread.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 3 };

struct kind {
    const char *name;
    void (*begin)(void); // makes the things
    void (*busy)(int i); // in each of the threads: one round
    int (*use)(void);    // in the child
};

static int *at; // where the child is, in memory that the parent sees

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        *at = __LINE__;                                                                            \
        if (!(condition))                                                                          \
            return __LINE__;                                                                       \
    } while (0)

// 0, or one of the errors that are allowed.
static inline bool is_one_of(int result, int a, int b, int c)
{
    return result == 0 || (result == -1 && (errno == a || errno == b || errno == c));
}

static inline weft_deadline briefly(void)
{
    return weft_in_ms(20);
}

static inline weft_deadline soon(void)
{
    return weft_in_s(5);
}

static inline void *return_it(void *arg)
{
    return arg;
}

// ---- Threads, timers, once ----

static weft_thread *started[THREADS];

static inline void busy_threads(int i)
{
    weft_thread_options o = {};
    o.name = "busy";
    started[i] = weft_thread_start(return_it, NULL, &o);
    char name[16];
    weft_thread_name(started[i], name, sizeof name);
    weft_thread_set_name("busy too");
    weft_thread_list(NULL, 0);
    weft_thread_join(started[i], NULL, WEFT_FOREVER);
}

static inline int use_threads(void)
{
    void *result = NULL;
    int x;
    weft_thread *t = weft_thread_start(return_it, &x, NULL);
    REQUIRE(t != NULL && weft_thread_join(t, &result, soon()) == 0 && result == &x);
    weft_thread_list(NULL, 0);
    return weft_thread_set_name("child") == 0 ? 0 : __LINE__;
}

static int rung;

static inline void ring(void *)
{
    __atomic_add_fetch(&rung, 1, __ATOMIC_SEQ_CST);
}

static inline void busy_timers(int)
{
    weft_timer *t = weft_timer_start(ring, NULL, NULL, weft_in_ns(20000));
    weft_timer_cancel(t);
    weft_timer_join(t, WEFT_FOREVER);
}

static inline int use_timers(void)
{
    int before = __atomic_load_n(&rung, __ATOMIC_SEQ_CST);
    weft_timer *t = weft_timer_start(ring, NULL, NULL, weft_in_ns(20000));
    REQUIRE(t != NULL && weft_timer_join(t, soon()) == 1);
    return __atomic_load_n(&rung, __ATOMIC_SEQ_CST) > before ? 0 : __LINE__;
}

enum { ONCES = 1 << 20 };
static weft_once *onces;
static int once_now;

static inline int once_fn(void *)
{
    for (volatile int i = 0; i < 2000; i++)
        ;
    return 0;
}

static inline void begin_once(void)
{
    onces = (weft_once *)calloc(ONCES, sizeof *onces);
}

static inline void busy_once(int)
{
    int i = __atomic_load_n(&once_now, __ATOMIC_RELAXED);
    weft_once_run(&onces[i % ONCES], once_fn, NULL, WEFT_FOREVER);
    __atomic_compare_exchange_n(&once_now, &i, i + 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static inline int use_once(void)
{
    for (int i = once_now > 3 ? once_now - 3 : 0, n = i + 6; i < n; i++)
        REQUIRE(weft_once_run(&onces[i % ONCES], once_fn, NULL, soon()) == 0);
    return 0;
}

// ---- Locks and their like ----

static weft_mutex mutex = WEFT_MUTEX_INIT;
static weft_rwlock rwlock = WEFT_RWLOCK_INIT;
static weft_condition condition = WEFT_CONDITION_INIT;
static weft_semaphore semaphore = WEFT_SEMAPHORE_INIT(2);
static weft_event event = WEFT_EVENT_INIT;
static weft_barrier barrier = WEFT_BARRIER_INIT(THREADS);
static weft_latch latch = WEFT_LATCH_INIT(1);

static inline void busy_locks(int i)
{
    weft_mutex_lock(&mutex, WEFT_FOREVER);
    if (i == 0)
        weft_condition_broadcast(&condition);
    else
        weft_condition_wait(&condition, &mutex, weft_in_ns(50000));
    weft_mutex_unlock(&mutex);
    if (i == 0)
        weft_rwlock_write(&rwlock, WEFT_FOREVER);
    else
        weft_rwlock_read(&rwlock, WEFT_FOREVER);
    weft_rwlock_unlock(&rwlock);
    weft_semaphore_wait(&semaphore, WEFT_FOREVER);
    weft_semaphore_post(&semaphore);
    if (i == 0)
        weft_event_set(&event);
    else
        weft_event_wait(&event, weft_in_ns(50000));
    weft_event_clear(&event);
    weft_latch_wait(&latch, weft_in_ns(20000));
    weft_barrier_wait(&barrier, weft_in_ms(5));
    weft_barrier_reset(&barrier);
}

static inline int use_locks(void)
{
    weft_mutex own = WEFT_MUTEX_INIT;
    int locked = weft_mutex_lock(&mutex, briefly());
    REQUIRE(is_one_of(locked, ETIMEDOUT, EPERM, 0));
    if (locked == 0)
        weft_mutex_unlock(&mutex);
    locked = weft_rwlock_write(&rwlock, briefly());
    REQUIRE(is_one_of(locked, ETIMEDOUT, EPERM, 0));
    if (locked == 0)
        weft_rwlock_unlock(&rwlock);
    REQUIRE(weft_mutex_lock(&own, soon()) == 0);
    REQUIRE(is_one_of(weft_condition_wait(&condition, &own, briefly()), ETIMEDOUT, EPERM, EINVAL));
    weft_mutex_unlock(&own);
    REQUIRE(is_one_of(weft_condition_broadcast(&condition), EPERM, 0, 0));
    REQUIRE(is_one_of(weft_semaphore_wait(&semaphore, briefly()), ETIMEDOUT, EPERM, 0));
    REQUIRE(is_one_of(weft_semaphore_post(&semaphore), EPERM, EOVERFLOW, 0));
    REQUIRE(is_one_of(weft_event_set(&event), EPERM, 0, 0));
    REQUIRE(is_one_of(weft_event_wait(&event, briefly()), EPERM, 0, 0));
    REQUIRE(weft_latch_wait(&latch, briefly()) == -1 && errno == ETIMEDOUT);
    REQUIRE(weft_latch_count_down(&latch, 1) == 0 && weft_latch_wait(&latch, soon()) == 0);
    weft_barrier_reset(&barrier);
    REQUIRE(weft_barrier_wait(&barrier, briefly()) == -1 && errno == ETIMEDOUT);
    return 0;
}

// ---- Queues ----

static weft_queue *queue;
static weft_ring *small;

static inline void begin_queues(void)
{
    queue = weft_queue_create(sizeof(int), 4, NULL);
    small = weft_ring_create(sizeof(int), 4);
}

static inline void busy_queues(int i)
{
    int x = 0;
    if (i == 0) {
        weft_queue_put(queue, &x, weft_in_ms(1));
        weft_ring_put(small, &x, weft_in_ms(1));
    } else {
        weft_queue_get(queue, &x, weft_in_ms(1));
        weft_ring_get(small, &x, weft_in_ms(1));
    }
}

static inline int use_queues(void)
{
    int x = 0;
    REQUIRE(is_one_of(weft_queue_put(queue, &x, briefly()), ETIMEDOUT, EPERM, 0));
    REQUIRE(is_one_of(weft_queue_get(queue, &x, briefly()), ETIMEDOUT, EPERM, 0));
    REQUIRE(is_one_of(weft_ring_put(small, &x, briefly()), ETIMEDOUT, EPERM, 0));
    REQUIRE(is_one_of(weft_ring_get(small, &x, briefly()), ETIMEDOUT, EPERM, 0));
    weft_queue *own = weft_queue_create(sizeof(int), 4, NULL);
    REQUIRE(weft_queue_put(own, &x, soon()) == 0 && weft_queue_get(own, &x, soon()) == 0);
    return weft_queue_destroy(own) == 0 ? 0 : __LINE__;
}

// ---- Executors ----

static weft_executor *executor;
static weft_future *futures[THREADS];

static inline void begin_executor(void)
{
    executor = weft_executor_create(2, NULL);
}

static inline void busy_executor(int i)
{
    futures[i] = weft_executor_submit(executor, return_it, NULL, WEFT_NOW);
    weft_future_wait(futures[i], WEFT_FOREVER);
    weft_future *f = __atomic_exchange_n(&futures[i], NULL, __ATOMIC_SEQ_CST);
    weft_future_release(f);
}

static inline int use_executor(void)
{
    REQUIRE(weft_executor_submit(executor, return_it, NULL, WEFT_NOW) == NULL && errno == EPERM);
    REQUIRE(weft_executor_wait(executor, soon()) == -1 && errno == EPERM);
    for (weft_future *f : futures)
        if (f != NULL)
            REQUIRE(is_one_of(weft_future_wait(f, soon()), EPERM, ECANCELED, 0));
    int x;
    void *result = NULL;
    weft_executor *own = weft_executor_create(2, NULL);
    weft_future *f = own != NULL ? weft_executor_submit(own, return_it, &x, WEFT_NOW) : NULL;
    REQUIRE(f != NULL && weft_future_get(f, &result, soon()) == 0 && result == &x);
    return weft_executor_destroy(own) == 0 ? 0 : __LINE__;
}

// ---- Promises ----

static inline void busy_promises(int)
{
    weft_completions *c = weft_completions_create();
    weft_future *f = weft_future_create();
    weft_completions_add(c, f);
    weft_future_set(f, NULL);
    weft_completions_next(c, WEFT_FOREVER);
    weft_completions_destroy(c);
    weft_future_release(f);
}

static inline int use_promises(void)
{
    weft_completions *own = weft_completions_create();
    weft_future *f = weft_future_create();
    REQUIRE(weft_completions_add(own, f) == 0 && weft_future_set(f, NULL) == 0);
    REQUIRE(weft_completions_next(own, soon()) == f && weft_completions_destroy(own) == 0);
    return weft_future_release(f) == 0 ? 0 : __LINE__;
}

// ---- Shared memory ----

static weft_shared_queue *shared_queue;
static weft_shm *segment;
static weft_shared_mutex *shared_mutex;
static weft_shared_semaphore *shared_semaphore;

static inline void begin_shared(void)
{
    shared_queue = weft_shared_queue_create(NULL, 4096, NULL);
    weft_shared_queue_fd(shared_queue);
    segment = weft_shm_create(NULL, 1 << 20, NULL);
    shared_mutex = (weft_shared_mutex *)weft_shm_allocate(segment, sizeof *shared_mutex);
    shared_semaphore =
        (weft_shared_semaphore *)weft_shm_allocate(segment, sizeof *shared_semaphore);
    weft_shared_mutex_init(shared_mutex, 0);
    weft_shared_semaphore_init(shared_semaphore, 2, 2);
}

static inline void busy_shared(int i)
{
    char text[16] = "";
    if (i == 0)
        weft_shared_queue_put(shared_queue, text, sizeof text, weft_in_ms(1));
    else
        weft_shared_queue_get(shared_queue, text, sizeof text, weft_in_ms(1));
    weft_shared_mutex_lock(shared_mutex, WEFT_FOREVER);
    weft_shared_mutex_unlock(shared_mutex);
    weft_shared_semaphore_wait(shared_semaphore, WEFT_FOREVER);
    weft_shared_semaphore_post(shared_semaphore);
    weft_shm_free(segment, weft_shm_allocate(segment, 100));
}

static inline int use_shared(void)
{
    char text[16] = "";
    REQUIRE(is_one_of(weft_shared_queue_put(shared_queue, text, sizeof text, soon()), 0, 0, 0));
    ssize_t n = weft_shared_queue_get(shared_queue, text, sizeof text, WEFT_NOW);
    REQUIRE(n == sizeof text || (n == -1 && errno == ETIMEDOUT));
    REQUIRE(weft_shared_queue_fd(shared_queue) >= 0);
    REQUIRE(weft_shared_mutex_lock(shared_mutex, soon()) == 0);
    REQUIRE(weft_shared_mutex_unlock(shared_mutex) == 0);
    REQUIRE(weft_shared_semaphore_wait(shared_semaphore, soon()) == 0);
    REQUIRE(weft_shared_semaphore_post(shared_semaphore) == 0);
    void *block = weft_shm_allocate(segment, 100);
    return block != NULL && weft_shm_free(segment, block) == 0 ? 0 : __LINE__;
}

static weft_shared_rwlock *shared_rwlock;
static weft_shared_condition *shared_condition;
static weft_shared_event *shared_event;
static weft_shared_barrier *shared_barrier;
static weft_shared_array *shared_array;
static weft_shared_map *shared_map;

template <class T> static inline T *in_segment(size_t size = sizeof(T))
{
    return (T *)weft_shm_allocate(segment, size);
}

static inline void begin_sharing(void)
{
    segment = weft_shm_create(NULL, 1 << 20, NULL);
    weft_shared_mutex_init(shared_mutex = in_segment<weft_shared_mutex>(), 0);
    weft_shared_rwlock_init(shared_rwlock = in_segment<weft_shared_rwlock>());
    weft_shared_condition_init(shared_condition = in_segment<weft_shared_condition>());
    weft_shared_event_init(shared_event = in_segment<weft_shared_event>());
    weft_shared_barrier_init(shared_barrier = in_segment<weft_shared_barrier>(), THREADS);
    size_t size = weft_shared_array_bytes(4, sizeof(int));
    weft_shared_array_init(shared_array = in_segment<weft_shared_array>(size), 4, sizeof(int));
    size = weft_shared_map_bytes(4, 8, 8);
    weft_shared_map_init(shared_map = in_segment<weft_shared_map>(size), 4, 8, 8);
}

static inline void busy_sharing(int i)
{
    if (i == 0)
        weft_shared_rwlock_write(shared_rwlock, WEFT_FOREVER);
    else
        weft_shared_rwlock_read(shared_rwlock, WEFT_FOREVER);
    weft_shared_rwlock_unlock(shared_rwlock);
    weft_shared_array_set(shared_array, (size_t)i, &i);
    weft_shared_map_set(shared_map, &i, sizeof i, &i, sizeof i, WEFT_FOREVER);
    weft_shared_map_remove(shared_map, &i, sizeof i, WEFT_FOREVER);
    weft_shared_event_set(shared_event);
    weft_shared_event_clear(shared_event);
    weft_shared_mutex_lock(shared_mutex, WEFT_FOREVER);
    if (i == 0)
        weft_shared_condition_broadcast(shared_condition);
    else
        weft_shared_condition_wait(shared_condition, shared_mutex, weft_in_ns(50000));
    weft_shared_mutex_unlock(shared_mutex);
    if (weft_shared_barrier_wait(shared_barrier, weft_in_ms(1)) < 0)
        weft_shared_barrier_reset(shared_barrier);
}

static inline int use_sharing(void)
{
    int x = 7, y = 0;
    REQUIRE(weft_shared_rwlock_read(shared_rwlock, soon()) == 0);
    REQUIRE(weft_shared_rwlock_unlock(shared_rwlock) == 0);
    REQUIRE(weft_shared_rwlock_write(shared_rwlock, soon()) == 0);
    REQUIRE(weft_shared_rwlock_unlock(shared_rwlock) == 0);
    REQUIRE(weft_shared_array_lock(shared_array, soon()) == 0);
    REQUIRE(weft_shared_array_unlock(shared_array) == 0);
    REQUIRE(weft_shared_map_set(shared_map, "own", 3, &x, sizeof x, soon()) == 0);
    REQUIRE(weft_shared_map_get(shared_map, "own", 3, &y, sizeof y) == sizeof y && y == x);
    weft_shared_event_set(shared_event);
    REQUIRE(is_one_of(weft_shared_event_wait(shared_event, briefly()), ETIMEDOUT, 0, 0));
    REQUIRE(weft_shared_mutex_lock(shared_mutex, soon()) == 0);
    int waited = weft_shared_condition_wait(shared_condition, shared_mutex, briefly());
    REQUIRE(is_one_of(waited, ETIMEDOUT, 0, 0));
    REQUIRE(weft_shared_mutex_unlock(shared_mutex) == 0);
    *at = __LINE__;
    weft_shared_barrier_wait(shared_barrier, briefly());
    weft_shared_barrier_reset(shared_barrier);
    return 0;
}

// ---- Processes ----

static inline int end_well(void *)
{
    return 0;
}

static const char *const TRUE[] = {"true", NULL};
static weft_process *processes[THREADS];

// These run on.
static weft_process *lasting;
static weft_subprocess *running;

static inline int last(void *)
{
    return pause();
}

static inline void begin_processes(void)
{
    const char *const sleeps[] = {"sleep", "1000", NULL};
    weft_process_options o = {};
    weft_subprocess_options p = {};
    o.flags = WEFT_PROCESS_DIE_WITH_PARENT;
    p.flags = WEFT_SUBPROCESS_DIE_WITH_PARENT;
    lasting = weft_process_start(last, NULL, &o);
    running = weft_subprocess_start(sleeps, &p);
}

static inline void busy_processes(int i)
{
    weft_process_options o = {};
    o.flags = WEFT_PROCESS_DIE_WITH_PARENT;
    if (i == 0) {
        weft_subprocess_run(TRUE, NULL, NULL, weft_in_s(9));
        return;
    }
    processes[i] = weft_process_start(end_well, NULL, &o);
    weft_process_join(processes[i], NULL, WEFT_FOREVER);
    weft_process_destroy(__atomic_exchange_n(&processes[i], NULL, __ATOMIC_SEQ_CST));
}

static inline int use_processes(void)
{
    weft_subprocess_result r;
    REQUIRE(weft_process_join(lasting, NULL, soon()) == -1 && errno == ECHILD);
    REQUIRE(weft_subprocess_join(running, NULL, soon()) == -1 && errno == ECHILD);
    REQUIRE(weft_subprocess_run(TRUE, NULL, &r, soon()) == 0 && r.status == 0);
    weft_process *p = weft_process_start(end_well, NULL, NULL);
    REQUIRE(p != NULL && weft_process_join(p, NULL, soon()) == 0 && weft_process_destroy(p) == 0);
    return 0;
}

static weft_pool *pool;

static inline int no_task(const void *, size_t, void *, size_t)
{
    return 0;
}

static inline void begin_pool(void)
{
    pool = weft_pool_create(2, NULL);
    weft_pool_fd(pool);
}

static inline void busy_pool(int)
{
    weft_pool_apply(pool, no_task, NULL, 0, NULL, 0, WEFT_FOREVER);
}

static inline int use_pool(void)
{
    REQUIRE(weft_pool_apply(pool, no_task, NULL, 0, NULL, 0, soon()) == -1 && errno == EPERM);
    REQUIRE(weft_pool_join(pool, soon()) == -1 && errno == EPERM);
    weft_pool *own = weft_pool_create(1, NULL);
    REQUIRE(own != NULL && weft_pool_apply(own, no_task, NULL, 0, NULL, 0, soon()) == 0);
    REQUIRE(weft_pool_close(own) == 0 && weft_pool_join(own, soon()) == 0);
    return weft_pool_destroy(own) == 0 ? 0 : __LINE__;
}

// ---- Tasklets, loops ----

static inline int sleep_briefly(void *)
{
    void *result;
    weft_tasklet_sleep(weft_in_ns(100000));
    return weft_offload(return_it, NULL, &result, soon());
}

static inline void busy_tasklets(int)
{
    weft_io_run(sleep_briefly, NULL);
}

static inline int use_tasklets(void)
{
    return weft_io_run(sleep_briefly, NULL) == 0 ? 0 : __LINE__;
}

static weft_loop *loop;

static inline void on_task(weft_task *, void *)
{
}

static inline void begin_loop(void)
{
    weft_loop_options o = {};
    loop = weft_loop_create(&o);
}

// The loop is the first thread's; it is told by the others.
static inline void busy_loop(int i)
{
    static weft_task tasks[THREADS];
    static __thread weft_loop *own;
    own = own != NULL ? own : weft_loop_create(NULL);
    tasks[i] = {};
    tasks[i].fn = on_task;
    weft_loop_post(own, &tasks[i]);
    weft_loop_wake(loop);
    weft_loop_run(own, WEFT_LOOP_ALL, weft_in_ms(1));
}

static inline int use_loop(void)
{
    weft_task t = {};
    t.fn = on_task;
    weft_loop_wake(loop);
    REQUIRE(weft_loop_post(loop, &t) == 0);
    weft_loop *own = weft_loop_create(NULL);
    weft_task u = {};
    u.fn = on_task;
    REQUIRE(own != NULL && weft_loop_post(own, &u) == 0);
    REQUIRE(weft_loop_run(own, WEFT_LOOP_ALL, soon()) == 0);
    weft_loop_destroy(own);
    return 0;
}

// ---- Managers ----

static weft_manager *manager;
static weft_client *clients[THREADS];
static weft_remote_value *values[THREADS];

static inline void begin_manager(void)
{
    char address[64];
    snprintf(address, sizeof address, "unix:@weft-forks-%d", getpid());
    manager = weft_manager_start(address, NULL);
    for (int i = 0; i < THREADS; i++) {
        clients[i] = weft_client_connect(weft_manager_address(manager), NULL, soon());
        values[i] = weft_remote_value_open(clients[i], "number");
    }
}

static inline void busy_manager(int i)
{
    weft_remote_value_add(values[i], 1, NULL, weft_in_s(9));
}

static inline int use_manager(void)
{
    int64_t n = 0;
    for (weft_remote_value *v : values)
        REQUIRE(weft_remote_value_add(v, 1, &n, soon()) == 0 || errno == EBUSY ||
                errno == ECONNRESET);
    weft_client *own = weft_client_connect(weft_manager_address(manager), NULL, soon());
    REQUIRE(own != NULL);
    weft_client_destroy(own);
    return 0;
}

static const struct kind KINDS[] = {
    {"threads", NULL, busy_threads, use_threads},
    {"timers", NULL, busy_timers, use_timers},
    {"once", begin_once, busy_once, use_once},
    {"locks", NULL, busy_locks, use_locks},
    {"queues", begin_queues, busy_queues, use_queues},
    {"executor", begin_executor, busy_executor, use_executor},
    {"promises", NULL, busy_promises, use_promises},
    {"shared memory", begin_shared, busy_shared, use_shared},
    {"shared locks", begin_sharing, busy_sharing, use_sharing},
    {"processes", begin_processes, busy_processes, use_processes},
    {"pool", begin_pool, busy_pool, use_pool},
    {"tasklets", NULL, busy_tasklets, use_tasklets},
    {"loop", begin_loop, busy_loop, use_loop},
    {"manager", begin_manager, busy_manager, use_manager},
};

#endif
