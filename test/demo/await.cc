// await.cc: the models together: one tasklet awaits a pool's result, another a queue in shared
// memory, on the same thread, through their descriptors; and tasklets join a process.
#include "../runner.h"

#include <weft/io.h>
#include <weft/pool.h>
#include <weft/process.h>
#include <weft/shared_queue.h>
#include <weft/status.h>

#include <errno.h>
#include <sys/wait.h>

static int order, pool_ended, queue_ended; // as which they ended
static int answer, message;

// What they wait for is behind this gate in another process.  It is opened when both wait.
static int gate[2];

static int square(const void *arg, size_t, void *result, size_t)
{
    char byte;
    int x = *(const int *)arg, y = x * x;
    if (read(gate[0], &byte, 1) != 1)
        return EIO;
    memcpy(result, &y, sizeof y);
    return 0;
}

static void *await_result(void *arg)
{
    weft_pool *p = (weft_pool *)arg;
    int x = 12, fd = weft_pool_fd(p);
    weft_result *r = weft_pool_apply_async(p, square, &x, sizeof x, sizeof answer, WEFT_NOW);
    while (weft_result_get(r, &answer, WEFT_NOW) != 0 && errno == ETIMEDOUT) {
        weft_io_wait(fd, WEFT_READ, weft_in_s(20));
        weft_pool_dispatch(p, WEFT_NOW);
    }
    pool_ended = ++order;
    return nullptr;
}

static void *await_message(void *arg)
{
    weft_shared_queue *q = (weft_shared_queue *)arg;
    int fd = weft_shared_queue_fd(q);
    while (weft_shared_queue_get(q, &message, sizeof message, WEFT_NOW) < 0 && errno == ETIMEDOUT)
        weft_io_wait(fd, WEFT_READ, weft_in_s(1));
    queue_ended = ++order;
    return nullptr;
}

// The gate exists before the processes do.
static pid_t put_after_the_gate(weft_shared_queue *q)
{
    pid_t child = runner_fork();
    if (child != 0)
        return child;
    char byte;
    int number = 77;
    bool well = read(gate[0], &byte, 1) == 1 &&
                weft_shared_queue_put(q, &number, sizeof number, weft_in_s(20)) == 0;
    _exit(well ? 0 : 1);
}

static weft_pool *the_pool;
static weft_shared_queue *the_queue;

static int run(void *)
{
    weft_tasklet *first = weft_tasklet_spawn(await_result, the_pool, nullptr);
    weft_tasklet *second = weft_tasklet_spawn(await_message, the_queue, nullptr);
    weft_tasklet_yield();
    int both_wait = order == 0;
    bool opened = write(gate[1], "xx", 2) == 2;
    return weft_tasklet_join(first, nullptr, weft_in_s(30)) == 0 &&
                   weft_tasklet_join(second, nullptr, weft_in_s(30)) == 0 && both_wait && opened
               ? 0
               : 1;
}

CASE(test_tasklets_await_other_processes)
{
    int status = -1;
    assert_int_equal(pipe(gate), 0);
    the_queue = weft_shared_queue_create(nullptr, 4096, nullptr);
    the_pool = weft_pool_create(1, nullptr);
    assert_non_null(the_pool);
    pid_t child = put_after_the_gate(the_queue);
    assert_int_equal(weft_io_run(run, nullptr), 0);
    assert_int_equal(pool_ended + queue_ended, 3);
    assert_int_equal(answer, 144);
    assert_int_equal(message, 77);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    weft_pool_close(the_pool);
    assert_int_equal(weft_pool_join(the_pool, weft_in_s(30)), 0);
    assert_int_equal(weft_pool_destroy(the_pool), 0);
    assert_int_equal(weft_shared_queue_destroy(the_queue), 0);
    close(gate[0]), close(gate[1]);
}

// ---- A join ----

static int pass_the_gate(void *)
{
    char byte;
    return read(gate[0], &byte, 1) == 1 ? 5 : 1;
}

static void *join_child(void *child)
{
    int status = -1;
    int result = weft_process_join((weft_process *)child, &status, weft_in_s(30));
    return (void *)(intptr_t)(result != 0 ? -errno : weft_status_exited(status));
}

// The first is cancelled while it waits; the second waits until the main tasklet opens the gate.
static int run_joins(void *child)
{
    void *cancelled = nullptr, *joined = nullptr;
    weft_tasklet *first = weft_tasklet_spawn(join_child, child, nullptr);
    weft_tasklet *second = weft_tasklet_spawn(join_child, child, nullptr);
    weft_tasklet_yield();
    if (weft_tasklet_cancel(first) != 0 || weft_tasklet_join(first, &cancelled, weft_in_s(30)) != 0)
        return 1;
    if (write(gate[1], "x", 1) != 1 || weft_tasklet_join(second, &joined, weft_in_s(30)) != 0)
        return 2;
    return cancelled == (void *)-ECANCELED && joined == (void *)5 ? 0 : 3;
}

CASE(test_tasklets_join_a_process)
{
    assert_int_equal(pipe(gate), 0);
    weft_process *child = weft_process_start(pass_the_gate, nullptr, nullptr);
    assert_non_null(child);
    assert_int_equal(weft_io_run(run_joins, child), 0);
    assert_int_equal(weft_process_destroy(child), 0);
    close(gate[0]), close(gate[1]);
}

RUN_CASES()
