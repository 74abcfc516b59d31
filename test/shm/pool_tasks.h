// pool_tasks.h: what the pool's tests have in common.
#ifndef WEFT_TEST_POOL_TASKS_H
#define WEFT_TEST_POOL_TASKS_H

#include "processes.h"

#include <weft/pool.h>
#include <weft/thread.h>

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

// Shared with the workers: mapped before any pool is made.
static struct shared {
    int entered; // tasks that have come to the gate
    int gate;    // what it takes to pass
    int deaths_left;
    int sum;
    int ran; // tasks, by count_run
    uint8_t runs[1 << 16];
} * shared;

static inline int share(void **)
{
    shared = (struct shared *)mmap(nullptr, sizeof *shared, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return shared == MAP_FAILED ? -1 : 0;
}

static inline int add(int *word, int n)
{
    return __atomic_add_fetch(word, n, __ATOMIC_SEQ_CST);
}

static inline void await(const int *word, int value)
{
    while (__atomic_load_n(word, __ATOMIC_SEQ_CST) < value)
        sched_yield();
}

static inline int square(const void *arg, size_t n, void *result, size_t room)
{
    if (n != sizeof(int) || room != sizeof(int))
        return EBADMSG;
    unsigned x = *(const unsigned *)arg;
    *(unsigned *)result = x * x;
    return 0;
}

// Waits until the gate is open, then squares.
static inline int square_behind_gate(const void *arg, size_t n, void *result, size_t room)
{
    add(&shared->entered, 1);
    while (__atomic_load_n(&shared->gate, __ATOMIC_SEQ_CST) == 0)
        usleep(100);
    return square(arg, n, result, room);
}

static inline int tell_pid(const void *, size_t, void *result, size_t)
{
    *(pid_t *)result = getpid();
    return 0;
}

static inline weft_pool *pool_of(int workers, const weft_pool_options *o)
{
    memset(shared, 0, sizeof *shared);
    weft_pool *p = weft_pool_create(workers, o);
    assert_non_null(p);
    return p;
}

static inline void end(weft_pool *p)
{
    assert_int_equal(weft_pool_close(p), 0);
    assert_int_equal(weft_pool_join(p, WEFT_FOREVER), 0);
    assert_int_equal(weft_pool_destroy(p), 0);
}

static inline weft_result *start(weft_pool *p, weft_pool_fn fn, int x)
{
    weft_result *r = weft_pool_apply_async(p, fn, &x, sizeof x, sizeof(int), WEFT_NOW);
    assert_non_null(r);
    return r;
}

static inline int get(weft_result *r)
{
    int y = -1;
    assert_int_equal(weft_result_get(r, &y, WEFT_FOREVER), 0);
    return y;
}

// No child is left, and no descriptor: the last test of each program.
static int first_descriptor;

static inline int share_and_count(void **state)
{
    first_descriptor = next_descriptor();
    return share(state);
}

#define RUN_POOL_CASES()                                                                           \
    CASE(test_nothing_is_left)                                                                     \
    {                                                                                              \
        assert_int_equal(waitpid(-1, nullptr, WNOHANG), -1);                                       \
        assert_int_equal(errno, ECHILD);                                                           \
        assert_int_equal(next_descriptor(), first_descriptor);                                     \
    }                                                                                              \
    RUN_CASES(share_and_count)

#endif
