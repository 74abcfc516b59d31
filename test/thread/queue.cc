// What weft_queue alone has: its orders, items of any size, growth; for the rest see test/twins.
#include "../runner.h"

#include <weft/queue.h>

#include <weft/thread.h>

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static weft_queue *create(size_t capacity, int order,
                          int (*compare)(const void *, const void *, void *))
{
    weft_queue_options o = {order, compare, NULL};
    weft_queue *q = weft_queue_create(sizeof(int), capacity, &o);
    assert_non_null(q);
    return q;
}

static weft_queue *fifo(size_t capacity)
{
    return create(capacity, WEFT_FIFO, NULL);
}

static int put(weft_queue *q, int v)
{
    return weft_queue_put(q, &v, WEFT_NOW);
}

static int get(weft_queue *q)
{
    int v = -1;
    assert_int_equal(weft_queue_get(q, &v, WEFT_NOW), 0);
    return v;
}

// ---- Create ----

static int by_value(const void *a, const void *b, void *)
{
    return *(const int *)a - *(const int *)b;
}

CASE(test_create_refuses_bad_arguments)
{
    weft_queue_options order = {7, NULL, NULL}, negative = {-1, NULL, NULL},
                       lost = {WEFT_PRIORITY, NULL, NULL}, needless = {WEFT_FIFO, by_value, NULL};
    assert_errno(weft_queue_create(0, 1, NULL), EINVAL);
    assert_errno(weft_queue_create(4, 1, &order), EINVAL);
    assert_errno(weft_queue_create(4, 1, &negative), EINVAL);
    assert_errno(weft_queue_create(4, 1, &lost), EINVAL);
    assert_errno(weft_queue_create(4, 1, &needless), EINVAL);
    assert_errno(weft_queue_create(4, SIZE_MAX / 2, NULL), EOVERFLOW);
    weft_queue_options heap = {WEFT_PRIORITY, by_value, NULL};
    assert_errno(weft_queue_create(SIZE_MAX - 3, 1, &heap), EOVERFLOW);
}

CASE(test_destroy_ignores_null)
{
    assert_int_equal(weft_queue_destroy(NULL), 0);
}

#if !RUNNER_SANITIZED // a sanitizer's malloc ends the process instead
CASE(test_put_out_of_memory)
{
    weft_queue *q = weft_queue_create(PTRDIFF_MAX / 20, 0, NULL);
    assert_non_null(q);
    char item = 0;
    assert_errno(weft_queue_put(q, &item, WEFT_NOW), ENOMEM);
    assert_errno(weft_queue_put_many(q, &item, 1, WEFT_NOW), ENOMEM);
    assert_int_equal(weft_queue_length(q), 0);
    assert_int_equal(weft_queue_join(q, WEFT_NOW), 0);
    assert_int_equal(weft_queue_destroy(q), 0);
}

enum { MIB = 1 << 20 };

// There is room for 16, then for 32, but not for 64.
static int put_what_fits(void *)
{
    long pages = 0;
    weft_queue *q = weft_queue_create(MIB, 0, NULL);
    char *items = (char *)malloc(50 * MIB);
    FILE *statm = fopen("/proc/self/statm", "r");
    if (q == NULL || items == NULL || statm == NULL || fscanf(statm, "%ld", &pages) != 1)
        return 1;
    rlim_t now = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (rlim_t)64 * MIB;
    struct rlimit most = {now, now};
    if (setrlimit(RLIMIT_AS, &most) != 0)
        return 2;
    ssize_t n = weft_queue_put_many(q, items, 50, WEFT_NOW);
    return n == 32 && errno == ENOMEM && weft_queue_length(q) == 32 ? 0 : 3;
}

CASE(test_put_many_puts_what_there_is_memory_for)
{
    assert_int_equal(end_of(child_of(put_what_fits, NULL)), 0);
}
#endif

// ---- Orders ----

CASE(test_fifo_wraps_and_grows)
{
    weft_queue *q = fifo(0);
    int in = 0, out = 0;
    assert_int_equal(weft_queue_capacity(q), 0);
    for (int round = 1; round < 60; round++) {
        for (int i = 0; i < round; i++)
            assert_int_equal(put(q, in++), 0);
        for (int i = 0; i < round - 1; i++)
            assert_int_equal(get(q), out++);
        assert_int_equal(weft_queue_length(q), round);
    }
    while (out < in)
        assert_int_equal(get(q), out++);
    assert_int_equal(weft_queue_destroy(q), 0);
}

CASE(test_lifo_takes_the_newest)
{
    weft_queue *q = create(0, WEFT_LIFO, NULL);
    for (int i = 0; i < 40; i++)
        assert_int_equal(put(q, i), 0);
    assert_int_equal(get(q), 39);
    assert_int_equal(put(q, 99), 0);
    assert_int_equal(get(q), 99);
    for (int i = 38; i >= 0; i--)
        assert_int_equal(get(q), i);
    assert_int_equal(weft_queue_destroy(q), 0);
}

typedef struct job {
    int key;
    int serial;
    char pad[5]; // an odd size
} job;

static int by_key(const void *a, const void *b, void *)
{
    return ((const job *)a)->key - ((const job *)b)->key;
}

CASE(test_priority_is_stable)
{
    weft_queue_options o = {WEFT_PRIORITY, by_key, NULL};
    weft_queue *q = weft_queue_create(sizeof(job), 0, &o);
    unsigned random = 1;
    for (int i = 0; i < 1000; i++) {
        random = random * 1103515245 + 12345;
        job j = {(int)(random >> 16) % 10, i, ""};
        assert_int_equal(weft_queue_put(q, &j, WEFT_NOW), 0);
    }
    job last = {-1, -1, ""}, j;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(weft_queue_get(q, &j, WEFT_NOW), 0);
        assert_true(j.key > last.key || (j.key == last.key && j.serial > last.serial));
        last = j;
    }
    assert_int_equal(weft_queue_destroy(q), 0);
}

CASE(test_priority_interleaved)
{
    weft_queue *q = create(8, WEFT_PRIORITY, by_value);
    for (int i = 8; i > 0; i--)
        assert_int_equal(put(q, i), 0);
    assert_errno(put(q, 0), ETIMEDOUT);
    assert_int_equal(get(q), 1);
    assert_int_equal(put(q, 5), 0);
    int expected[] = {2, 3, 4, 5, 5, 6, 7, 8};
    for (int i = 0; i < 8; i++)
        assert_int_equal(get(q), expected[i]);
    assert_int_equal(weft_queue_destroy(q), 0);
}

CASE(test_items_of_every_size)
{
    for (size_t size = 1; size <= 40; size++)
        for (int order = WEFT_FIFO; order <= WEFT_LIFO; order++) {
            weft_queue_options o = {order, NULL, NULL};
            weft_queue *q = weft_queue_create(size, 3, &o);
            char in[40], out[41];
            memset(in, (int)size, sizeof in);
            memset(out, 0, sizeof out);
            assert_int_equal(weft_queue_put(q, in, WEFT_NOW), 0);
            assert_int_equal(weft_queue_get(q, out, WEFT_NOW), 0);
            assert_memory_equal(in, out, size);
            assert_int_equal(out[size], 0);
            assert_int_equal(weft_queue_destroy(q), 0);
        }
}

CASE(test_put_stops_at_capacity)
{
    weft_queue *q = fifo(3); // not a power of two: exact
    for (int i = 0; i < 3; i++)
        assert_int_equal(put(q, i), 0);
    assert_int_equal(weft_queue_capacity(q), 3);
    assert_errno(put(q, 3), ETIMEDOUT);
    int v = 3;
    assert_errno(weft_queue_put(q, &v, weft_in_ms(2)), ETIMEDOUT);
    for (int i = 0; i < 3; i++)
        assert_int_equal(get(q), i);
    assert_int_equal(weft_queue_destroy(q), 0);
}

// ---- Memory ----

enum { BURST = 400000, LEFT = 10, SMALL = 300 * 1024 };

static size_t bytes_in_use(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void gives_memory_back(int order, size_t at_a_time)
{
    int v[64] = {};
    weft_queue *q = create(0, order, order == WEFT_PRIORITY ? by_value : NULL);
    size_t before = bytes_in_use();
    for (int i = 0; i < BURST; i++)
        assert_int_equal(put(q, i), 0);
    assert_true(bytes_in_use() - before >= BURST * sizeof(int));
    while (weft_queue_length(q) > LEFT) {
        size_t more = weft_queue_length(q) - LEFT;
        assert_true(weft_queue_get_many(q, v, more < at_a_time ? more : at_a_time, WEFT_NOW) > 0);
    }
    assert_true(bytes_in_use() - before <= SMALL);
    for (int i = 0; i < LEFT; i++)
        assert_int_equal(get(q), order == WEFT_LIFO ? LEFT - 1 - i : BURST - LEFT + i);
    assert_int_equal(weft_queue_destroy(q), 0);
}

CASE(test_memory_shrinks_after_a_burst)
{
    if (RUNNER_SANITIZED)
        skip(); // another malloc
    for (int order = WEFT_FIFO; order <= WEFT_PRIORITY; order++) {
        gives_memory_back(order, 1);
        gives_memory_back(order, 64);
    }
}

CASE(test_discard_frees_the_items)
{
    if (RUNNER_SANITIZED)
        skip();
    size_t before = bytes_in_use();
    weft_queue *q = fifo(0);
    for (int i = 0; i < BURST; i++)
        assert_int_equal(put(q, i), 0);
    assert_int_equal(weft_queue_close(q, WEFT_DISCARD), 0);
    assert_true(bytes_in_use() - before <= SMALL);
    assert_int_equal(weft_queue_destroy(q), 0);
}

// Waves of all heights, so that the circle is cut open wherever its head stands.
CASE(test_order_holds_while_it_shrinks)
{
    weft_queue *q = fifo(0);
    int in = 0, out = 0;
    for (int wave = 0; wave < 60; wave++) {
        for (int i = wave * 997 % 20000; i >= 0; i--)
            assert_int_equal(put(q, in++), 0);
        for (int left = wave * 31 % 1500; in - out > left;)
            assert_int_equal(get(q), out++);
    }
    while (out < in)
        assert_int_equal(get(q), out++);
    assert_int_equal(weft_queue_destroy(q), 0);
}

// ---- Both ends at once ----

struct large {
    long n;
    char rest[1016];
};

enum { WAVES = 12, WAVE = 1500, TOGETHER = 20 };

static void *put_waves(void *arg)
{
    weft_queue *q = (weft_queue *)arg;
    static struct large many[TOGETHER];
    long n = 0;
    for (int wave = 0; wave < WAVES; wave++) {
        for (int i = 0; i < WAVE; i += TOGETHER) {
            for (int k = 0; k < TOGETHER; k++)
                many[k].n = n++;
            size_t alone = wave % 2 ? TOGETHER : 0;
            for (size_t k = 0; k < alone; k++)
                if (weft_queue_put(q, &many[k], WEFT_FOREVER) != 0)
                    return q;
            if (weft_queue_put_many(q, many, TOGETHER - alone, WEFT_FOREVER) < 0)
                return q;
        }
        while (weft_queue_length(q) > WAVE / 4)
            sched_yield();
    }
    return NULL;
}

// More than is kept, so it grows under the one and shrinks under the other.
CASE(test_order_holds_while_one_puts_and_another_gets)
{
    for (size_t capacity = 0; capacity <= WAVE; capacity += WAVE / 3) {
        weft_queue *q = weft_queue_create(sizeof(struct large), capacity, NULL);
        int fd = capacity == WAVE ? weft_queue_fd(q) : -1;
        weft_thread *t = weft_thread_start(put_waves, q, NULL);
        struct large item;
        for (long n = 0; n < WAVES * WAVE; n++) {
            assert_int_equal(weft_queue_get(q, &item, WEFT_FOREVER), 0);
            assert_int_equal(item.n, n);
            assert_int_equal(weft_queue_task_done(q), 0);
        }
        void *failed;
        assert_int_equal(weft_thread_join(t, &failed, WEFT_FOREVER), 0);
        assert_null(failed);
        assert_int_equal(weft_queue_join(q, WEFT_NOW), 0);
        assert_int_equal(weft_queue_length(q), 0);
        if (fd >= 0) {
            struct pollfd p = {fd, POLLIN, 0};
            assert_int_equal(poll(&p, 1, 0), 0);
        }
        assert_int_equal(weft_queue_destroy(q), 0);
    }
}

RUN_CASES(NULL, NULL)
