// Tasklets that wait for what threads wait for, in the child of a fork at any moment: they go on
// there, whatever the parent's threads held.
#include "inside.h"

#include <weft/executor.h>
#include <weft/queue.h>
#include <weft/sync.h>
#include <weft/thread.h>

static weft_queue *queue;
static weft_ring *ring;
static weft_completions *completions;
static weft_future *open_future;
static weft_barrier barrier;
static int item, over;

// ---- While a thread is at work ----

struct object {
    void (*make)(void);
    int (*wait)(void);  // in a tasklet, again and again
    void (*work)(void); // in a thread, at the same time
    void (*end)(void);  // lets the last wait end
    void (*drop)(void);
};

static int release(weft_future *f)
{
    return f != nullptr ? weft_future_release(f) : -1;
}

static void use_queue(void)
{
    weft_queue_put(queue, &item, WEFT_NOW);
    weft_queue_task_done(queue);
}

static void make_queue(void)
{
    queue = weft_queue_create(sizeof item, 1, nullptr);
}

static void close_queue(void)
{
    weft_queue_close(queue, WEFT_DISCARD);
}

static void drop_queue(void)
{
    assert_int_equal(weft_queue_destroy(queue), 0);
}

static void complete_one(void)
{
    weft_future *f = weft_future_create();
    weft_completions_add(completions, f);
    weft_future_set(f, nullptr);
    release(weft_completions_next(completions, WEFT_NOW)); // or the tasklet has
}

static const object objects[] = {
    {make_queue, [] { return weft_queue_get(queue, &item, WEFT_FOREVER); }, use_queue, close_queue,
     drop_queue},
    {make_queue, [] { return (int)weft_queue_get_any(&queue, 1, &item, WEFT_FOREVER); }, use_queue,
     close_queue, drop_queue},
    {make_queue, [] { return weft_queue_put(queue, &item, WEFT_FOREVER); },
     [] { weft_queue_get(queue, &item, WEFT_NOW); }, close_queue, drop_queue},
    {[] {
         make_queue();
         weft_queue_put(queue, &item, WEFT_NOW);
     },
     [] {
         weft_queue_join(queue, WEFT_FOREVER);
         return -1; // not again: all is done
     },
     [] { weft_queue_put(queue, &item, WEFT_NOW); }, close_queue, drop_queue},
    {[] { ring = weft_ring_create(sizeof item, 2); },
     [] { return weft_ring_get(ring, &item, WEFT_FOREVER); },
     [] { weft_ring_put(ring, &item, WEFT_NOW); }, [] { weft_ring_close(ring, WEFT_DISCARD); },
     [] { assert_int_equal(weft_ring_destroy(ring), 0); }},
    {[] {
         completions = weft_completions_create();
         weft_completions_add(completions, open_future = weft_future_create());
     },
     [] { return release(weft_completions_next(completions, WEFT_FOREVER)); }, complete_one,
     [] { weft_future_set(open_future, nullptr); },
     [] { assert_int_equal(weft_completions_destroy(completions), 0); }},
    {[] { weft_barrier_init(&barrier, 2); },
     [] { return weft_barrier_wait(&barrier, WEFT_FOREVER); },
     [] { weft_barrier_waiting(&barrier); }, [] { weft_barrier_abort(&barrier); },
     [] { assert_int_equal(weft_barrier_destroy(&barrier), 0); }},
};

static void *wait_again(void *o)
{
    while (((const object *)o)->wait() >= 0) {
    }
    return nullptr;
}

static void *work_on(void *o)
{
    while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE))
        ((const object *)o)->work();
    return nullptr;
}

static int fork_often(void *arg)
{
    const object *o = (const object *)arg;
    weft_tasklet *t = spawn(wait_again, (void *)o, true);
    int failed = 0;
    for (int i = 0; i < (RUNNER_SANITIZED ? 30 : 100) && failed == 0; i++) {
        weft_tasklet_sleep(weft_in_us(100));
        pid_t child = runner_fork();
        if (child == 0) {
            alarm(20);
            weft_tasklet_sleep(weft_in_ms(1)); // it is told
            o->end();                          // if it has come back to wait here
            _exit(weft_tasklet_join(t, nullptr, WEFT_FOREVER) == 0 ? 0 : 1);
        }
        failed = end_of(child);
    }
    o->end();
    join(t);
    return failed;
}

CASE(test_a_fork_while_a_thread_is_at_work)
{
    forks_coroutines();
    for (const object &o : objects) {
        over = 0;
        o.make();
        weft_thread *t = weft_thread_start(work_on, (void *)&o, nullptr);
        int failed = weft_io_run(fork_often, (void *)&o);
        __atomic_store_n(&over, 1, __ATOMIC_RELEASE);
        assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
        if (failed != 0)
            print_message("the object at %td\n", &o - objects);
        assert_int_equal(failed, 0);
        o.drop();
    }
}

// ---- Barriers ----

static void *meet(void *arg)
{
    *(int *)arg = weft_barrier_wait(&barrier, WEFT_FOREVER) == -1 ? -errno : 0;
    return nullptr;
}

static int meet_in_child(weft_tasklet *t, const int *result, int expected)
{
    weft_tasklet *u;
    int one = 1, other = 1;
    join(t);
    if (*result != expected)
        return 1;
    t = spawn(meet, &one, true);
    u = spawn(meet, &other, true);
    join(t);
    join(u);
    return one != 0 || other != 0 ? 2 : weft_barrier_destroy(&barrier) != 0 ? 3 : 0;
}

static int fork_in_round(void *)
{
    int result = 1;
    weft_tasklet *t = spawn(meet, &result, true);
    weft_tasklet_yield();
    pid_t child = runner_fork();
    if (child == 0)
        _exit(meet_in_child(t, &result, -ECANCELED));
    weft_barrier_wait(&barrier, WEFT_FOREVER);
    join(t);
    return result == 0 ? end_of(child) : 100;
}

CASE(test_a_round_begins_anew)
{
    forks_coroutines();
    weft_barrier_init(&barrier, 2);
    assert_int_equal(weft_io_run(fork_in_round, nullptr), 0);
    assert_int_equal(weft_barrier_destroy(&barrier), 0);
}

// As long as a thread of the last but one round has not left it, nobody begins.
static int fork_before_round(void *)
{
    int result = 1;
    barrier.inside[0] = 1;
    weft_tasklet *t = spawn(meet, &result, true);
    weft_tasklet_yield();
    pid_t child = runner_fork();
    if (child == 0) {
        int other = 1;
        alarm(20);
        weft_tasklet *u = spawn(meet, &other, true);
        join(u);
        _exit(other == 0 ? meet_in_child(t, &result, 0) : 4);
    }
    barrier.inside[0] = 0;
    int error = end_of(child);
    weft_thread *last = weft_thread_start(
        [](void *) -> void * {
            weft_barrier_wait(&barrier, WEFT_FOREVER);
            return nullptr;
        },
        nullptr, nullptr);
    weft_tasklet_cancel(t);
    join(t);
    weft_thread_join(last, nullptr, WEFT_FOREVER);
    return error;
}

CASE(test_a_round_waits_for_nobody_in_a_child)
{
    forks_coroutines();
    weft_barrier_init(&barrier, 2);
    assert_int_equal(weft_io_run(fork_before_round, nullptr), 0);
}

RUN_CASES()
