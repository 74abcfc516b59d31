// Tasklets that wait for what processes share: the tasklet sleeps, and its thread goes on.
#include "../async/parked.h"

#include <weft/pool.h>
#include <weft/result.h>
#include <weft/shared_queue.h>
#include <weft/shared_sync.h>

static weft_shared_semaphore semaphore;
static weft_shared_event event;
static weft_shared_barrier barrier;
static weft_shared_condition condition;
static weft_shared_mutex mutex;
static weft_shared_queue *queue;
static weft_pool *pool;
static weft_result *result;
static int gate[2]; // a pool's task reads there
static bool changed;
static char item[512];

static void nothing(void)
{
}

static void make_queue(void)
{
    queue = weft_shared_queue_create(NULL, 4096, NULL);
}

static void make_full(void)
{
    make_queue();
    while (weft_shared_queue_put(queue, item, sizeof item, WEFT_NOW) == 0)
        ;
}

static void empty(void)
{
    while (weft_shared_queue_get(queue, item, sizeof item, WEFT_NOW) >= 0)
        ;
}

static void drop_queue(void)
{
    assert_int_equal(weft_shared_queue_destroy(queue), 0);
}

static int await_change(weft_deadline d)
{
    int code = weft_shared_mutex_lock(&mutex, WEFT_FOREVER);
    while (!changed && code == 0)
        code = weft_shared_condition_wait(&condition, &mutex, d);
    int error = errno;
    weft_shared_mutex_unlock(&mutex);
    errno = error;
    return code;
}

static int read_gate(const void *, size_t, void *, size_t)
{
    char c;
    return read(gate[0], &c, 1) == 1 ? 0 : -1;
}

static void begin_task(void)
{
    assert_int_equal(pipe(gate), 0);
    pool = weft_pool_create(1, NULL);
    result = weft_pool_apply_async(pool, read_gate, NULL, 0, 0, WEFT_NOW);
    assert_non_null(result);
}

static void open_gate(void)
{
    assert_int_equal(write(gate[1], "", 1), 1);
}

static void drop_pool(void)
{
    weft_result_release(result);
    weft_pool_close(pool);
    assert_int_equal(weft_pool_join(pool, WEFT_FOREVER), 0);
    assert_int_equal(weft_pool_destroy(pool), 0);
    close(gate[0]);
    close(gate[1]);
}

static const object objects[] = {
    {"semaphore", [] { weft_shared_semaphore_init(&semaphore, 0, 0); },
     [](weft_deadline d) { return weft_shared_semaphore_wait(&semaphore, d); },
     [] { weft_shared_semaphore_post(&semaphore); }, nothing},
    {"event", [] { weft_shared_event_init(&event); },
     [](weft_deadline d) { return weft_shared_event_wait(&event, d); },
     [] { weft_shared_event_set(&event); }, nothing},
    {"barrier", [] { weft_shared_barrier_init(&barrier, 2); },
     [](weft_deadline d) { return weft_shared_barrier_wait(&barrier, d) < 0 ? -1 : 0; },
     [] { weft_shared_barrier_wait(&barrier, WEFT_FOREVER); }, nothing},
    {"condition",
     [] {
         weft_shared_mutex_init(&mutex, 0);
         weft_shared_condition_init(&condition);
         changed = false;
     },
     await_change,
     [] {
         changed = true;
         weft_shared_condition_signal(&condition);
     },
     nothing},
    {"get", make_queue,
     [](weft_deadline d) {
         return weft_shared_queue_get(queue, item, sizeof item, d) < 0 ? -1 : 0;
     },
     [] { weft_shared_queue_put(queue, item, 1, WEFT_NOW); }, drop_queue},
    {"put", make_full,
     [](weft_deadline d) { return weft_shared_queue_put(queue, item, sizeof item, d); }, empty,
     drop_queue},
    {"pool's result", begin_task, [](weft_deadline d) { return weft_result_wait(result, NULL, d); },
     open_gate, drop_pool},
};

INSIDE_CASE(test_woken)
{
    for (const object &o : objects) {
        waiting w;
        weft_tasklet *t = begin(&w, &o, WEFT_FOREVER);
        o.wake();
        join(t);
        end_well(&w);
        assert_int_equal(w.result, 0);
    }
}

static void end_badly(const waiting *w, weft_tasklet *t, int error)
{
    failed_with(w, t, error);
    if (w->what->wake == open_gate)
        open_gate();
    w->what->drop();
}

INSIDE_CASE(test_deadlines)
{
    for (const object &o : objects) {
        waiting w;
        weft_tasklet *t = begin(&w, &o, weft_in_ms(30));
        end_badly(&w, t, ETIMEDOUT);
    }
}

INSIDE_CASE(test_cancel)
{
    for (const object &o : objects) {
        waiting w;
        weft_tasklet *t = begin(&w, &o, WEFT_FOREVER);
        assert_int_equal(weft_tasklet_cancel(t), 0);
        end_badly(&w, t, ECANCELED);
    }
}

RUN_CASES()
