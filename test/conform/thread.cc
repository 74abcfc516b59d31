// What weft(7) says of deadlines, stops, signals, errno and NULL, of the calls of libweft-thread.
#include <weft/executor.h>
#include <weft/queue.h>
#include <weft/sync.h>
#include <weft/thread.h>

#include "../thread/closing.h"
#include "conform.h"

#define INT(call) [] { return call; }

static int item, items[4];
static void *value;
static weft_semaphore gate = WEFT_SEMAPHORE_INIT(0); // what is at work is held up here

static void *pass_gate(void *arg)
{
    while (weft_semaphore_wait(&gate, WEFT_FOREVER) != 0)
        ;
    return arg;
}

static int inside;

static int run_once(void *)
{
    add_word(&inside);
    pass_gate(NULL);
    return 0;
}

static void ring_out(void *)
{
}

static void open_gate(void)
{
    weft_semaphore_post(&gate);
}

// ---- Locks and their like ----

static weft_mutex mutex = WEFT_MUTEX_INIT;
static weft_rwlock rwlock = WEFT_RWLOCK_INIT;
static weft_condition condition = WEFT_CONDITION_INIT;
static weft_semaphore semaphore = WEFT_SEMAPHORE_INIT(0);
static weft_event event = WEFT_EVENT_INIT;
static weft_barrier barrier = WEFT_BARRIER_INIT(2);
static weft_latch latch = WEFT_LATCH_INIT(1);
static weft_once once = WEFT_ONCE_INIT;
static weft_timer *timer;

static void begin_mutex(void)
{
    it = &mutex;
    hold(INT(weft_mutex_lock(&mutex, WEFT_FOREVER)), INT(weft_mutex_unlock(&mutex)));
}

static void begin_read(void)
{
    it = &rwlock;
    hold(INT(weft_rwlock_write(&rwlock, WEFT_FOREVER)), INT(weft_rwlock_unlock(&rwlock)));
}

static void begin_write(void)
{
    it = &rwlock;
    hold(INT(weft_rwlock_read(&rwlock, WEFT_FOREVER)), INT(weft_rwlock_unlock(&rwlock)));
}

static void begin_condition(void)
{
    it = &condition;
    weft_mutex_lock(&mutex, WEFT_FOREVER);
}

static void signal_condition(void)
{
    weft_mutex_lock(&mutex, WEFT_FOREVER); // so it waits
    __atomic_store_n(&signalled, 1, __ATOMIC_SEQ_CST);
    weft_condition_signal(&condition);
    weft_mutex_unlock(&mutex);
}

static void *come_to_barrier(void *)
{
    weft_barrier_wait(&barrier, WEFT_FOREVER);
    return NULL;
}

static void *come_to_once(void *)
{
    weft_once_run(&once, run_once, NULL, WEFT_FOREVER);
    return NULL;
}

static void begin_once(void)
{
    it = &once;
    weft_thread_start(come_to_once, NULL, NULL);
    await_word(&inside, 1);
}

// ---- Queues ----

static weft_queue *queue;
static weft_ring *ring;

static weft_queue *new_queue(void)
{
    return weft_queue_create(sizeof item, 2, NULL);
}

static void give_item(void)
{
    weft_queue_put(queue, &item, WEFT_FOREVER);
}

static void take_item(void)
{
    weft_queue_get(queue, &item, WEFT_FOREVER);
}

static weft_queue *full_queue(void)
{
    queue = new_queue();
    give_item();
    give_item();
    return queue;
}

static weft_ring *new_ring(void)
{
    return weft_ring_create(sizeof item, 2);
}

static void give_to_ring(void)
{
    weft_ring_put(ring, &item, WEFT_FOREVER);
}

static void take_from_ring(void)
{
    weft_ring_get(ring, &item, WEFT_FOREVER);
}

static weft_ring *full_ring(void)
{
    ring = new_ring();
    give_to_ring();
    give_to_ring();
    return ring;
}

// ---- Executors ----

static weft_executor *executor;
static weft_future *future;
static weft_completions *completions;
static size_t map_size = 100000;

static void take_a_while(size_t, void *)
{
    usleep(1000);
}

static void take_whiles(size_t, size_t, void *)
{
    usleep(1000);
}

// One task runs, and one waits, for which there is no more room.
static weft_future task;
static void *arguments[1];

static void begin_executor(void)
{
    weft_executor_options o = {};
    o.backlog = 1;
    it = executor = weft_executor_create(1, &o);
    weft_executor_submit(executor, pass_gate, NULL, WEFT_NOW);
    while (counters_of(executor).pending != 0)
        sched_yield();
    weft_executor_submit(executor, pass_gate, NULL, WEFT_NOW);
}

static void begin_join(void)
{
    begin_executor();
    weft_executor_close(executor, WEFT_DRAIN);
}

static void begin_map(void)
{
    it = executor = weft_executor_create(1, NULL);
}

static void begin_future(void)
{
    it = future = weft_future_create();
}

static void begin_futures(void)
{
    begin_future();
    it = &future;
}

static void end_future(void)
{
    weft_future_set(future, NULL);
}

static void begin_completions(void)
{
    begin_future();
    it = completions = weft_completions_create();
    weft_completions_add(completions, future);
}

static const row ROWS[] = {
    ROW(weft_thread_join, (it, NULL, d), DO(it = weft_thread_start(pass_gate, NULL, NULL)),
        open_gate),
    ROW(weft_thread_sleep, (d), DO(), NULL, SLEEPS | NO_HANDLE),
    ROW(weft_mutex_lock, (it, d), begin_mutex, let_go, UNSTOPPED),
    ROW(weft_rwlock_read, (it, d), begin_read, let_go, UNSTOPPED),
    ROW(weft_rwlock_write, (it, d), begin_write, let_go, UNSTOPPED),
    ROW_BY(weft_condition_wait, wait_for_signal(weft_condition_wait, it, &mutex, d),
           begin_condition, signal_condition, ONLY_WOKEN),
    ROW(weft_semaphore_wait, (it, d), DO(it = &semaphore), DO(weft_semaphore_post(&semaphore))),
    ROW(weft_event_wait, (it, d), DO(it = &event), DO(weft_event_set(&event))),
    ROW(weft_barrier_wait, (it, d), DO(it = &barrier),
        DO(weft_thread_start(come_to_barrier, NULL, NULL))),
    ROW(weft_latch_wait, (it, d), DO(it = &latch), DO(weft_latch_count_down(&latch, 1))),
    ROW(weft_once_run, (it, run_once, NULL, d), begin_once, open_gate),
    ROW(weft_timer_join, (it, d),
        DO(it = timer = weft_timer_start(ring_out, NULL, NULL, weft_in_s(1000))),
        DO(weft_timer_cancel(timer))),

    ROW(weft_queue_put, (it, &item, d), DO(it = full_queue()), take_item),
    ROW(weft_queue_get, (it, &item, d), DO(it = queue = new_queue()), give_item),
    ROW(weft_queue_put_many, (it, items, 2, d), DO(it = full_queue()),
        DO(take_item(); take_item())),
    ROW(weft_queue_get_many, (it, items, 2, d), DO(it = queue = new_queue()), give_item),
    ROW(weft_queue_get_any, (it, 1, &item, d), DO(queue = new_queue(); it = &queue), give_item),
    ROW(weft_queue_join, (it, d), DO(it = full_queue()), DO(weft_queue_close(queue, WEFT_DISCARD))),
    ROW(weft_ring_put, (it, &item, d), DO(it = full_ring()), take_from_ring),
    ROW(weft_ring_get, (it, &item, d), DO(it = ring = new_ring()), give_to_ring),
    ROW(weft_ring_put_many, (it, items, 2, d), DO(it = full_ring()),
        DO(take_from_ring(); take_from_ring())),
    ROW(weft_ring_get_many, (it, items, 2, d), DO(it = ring = new_ring()), give_to_ring),
    ROW(weft_ring_join, (it, d), DO(it = full_ring()), DO(weft_ring_close(ring, WEFT_DISCARD))),

    ROW(weft_executor_join, (it, d), begin_join, DO(open_gate(); open_gate())),
    ROW(weft_executor_submit, (it, pass_gate, NULL, d), begin_executor, open_gate),
    ROW(weft_executor_submit_at, (it, &task, pass_gate, NULL, d), begin_executor, open_gate),
    ROW(weft_executor_submit_many, (it, &task, 1, pass_gate, arguments, d), begin_executor,
        open_gate),
    ROW(weft_executor_map, (it, take_a_while, NULL, map_size, d), begin_map, DO(map_size = 1),
        ALONE),
    ROW(weft_executor_map_ranges, (it, take_whiles, NULL, map_size, 1, d), begin_map,
        DO(map_size = 1), ALONE),
    ROW(weft_executor_wait, (it, d), begin_executor, DO(open_gate(); open_gate())),
    ROW(weft_future_get, (it, &value, d), begin_future, end_future),
    ROW(weft_future_wait, (it, d), begin_future, end_future),
    ROW(weft_future_wait_all, (it, 1, d), begin_futures, end_future),
    ROW(weft_future_wait_any, (it, 1, d), begin_futures, end_future),
    ROW(weft_completions_next, (it, d), begin_completions, end_future),
};
RUN_ROWS(ROWS)
