// weft_queue: orders, bounds, batches, close, join, stop; and stress with exact accounting.
#include "../runner.h"
#include "asleep.h"

#include <weft/queue.h>
#include <weft/thread.h>

#include <errno.h>
#include <pthread.h>

static weft_queue *create(size_t capacity, int order, int (*compare)(const void *, const void *))
{
    weft_queue_options o = {order, compare};
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

// A thread that makes one call on a queue and says how it ended.
enum call { PUT, GET, PUT_MANY, GET_MANY, JOIN };

typedef struct caller {
    weft_queue *q;
    enum call call;
    int items[4];
    weft_deadline d;
    pid_t tid; // atomic; set before the call
    ssize_t code;
    int error;
    weft_thread *thread;
} caller;

static void *call(void *arg)
{
    caller *c = (caller *)arg;
    __atomic_store_n(&c->tid, weft_thread_id(NULL), __ATOMIC_RELEASE);
    errno = 0;
    switch (c->call) {
    case PUT:
        c->code = weft_queue_put(c->q, c->items, c->d);
        break;
    case GET:
        c->code = weft_queue_get(c->q, c->items, c->d);
        break;
    case PUT_MANY:
        c->code = weft_queue_put_many(c->q, c->items, 4, c->d);
        break;
    case GET_MANY:
        c->code = weft_queue_get_many(c->q, c->items, 4, c->d);
        break;
    case JOIN:
        c->code = weft_queue_join(c->q, c->d);
    }
    c->error = errno;
    return NULL;
}

static void begin(caller *c, weft_queue *q, enum call what)
{
    memset(c, 0, sizeof *c);
    c->q = q;
    c->call = what;
    c->d = WEFT_FOREVER;
    for (int i = 0; i < 4; i++)
        c->items[i] = 100 + i;
    c->thread = weft_thread_start(call, c, NULL);
    assert_non_null(c->thread);
}

static void begin_asleep(caller *c, weft_queue *q, enum call what)
{
    pid_t tid;
    begin(c, q, what);
    while ((tid = __atomic_load_n(&c->tid, __ATOMIC_ACQUIRE)) == 0)
        sched_yield();
    await_asleep(tid);
}

static void end(caller *c, ssize_t code, int error)
{
    assert_int_equal(weft_thread_join(c->thread, NULL, WEFT_FOREVER), 0);
    assert_int_equal(c->code, code);
    assert_int_equal(c->error, error);
}

// ---- Create ----

static int by_value(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void test_create_refuses_bad_arguments(void **state)
{
    (void)state;
    weft_queue_options order = {7, NULL}, negative = {-1, NULL}, lost = {WEFT_PRIORITY, NULL},
                       needless = {WEFT_FIFO, by_value};
    assert_errno(weft_queue_create(0, 1, NULL), EINVAL);
    assert_errno(weft_queue_create(4, 1, &order), EINVAL);
    assert_errno(weft_queue_create(4, 1, &negative), EINVAL);
    assert_errno(weft_queue_create(4, 1, &lost), EINVAL);
    assert_errno(weft_queue_create(4, 1, &needless), EINVAL);
    assert_errno(weft_queue_create(4, SIZE_MAX / 2, NULL), EOVERFLOW);
    weft_queue_options heap = {WEFT_PRIORITY, by_value};
    assert_errno(weft_queue_create(SIZE_MAX - 3, 1, &heap), EOVERFLOW);
}

static void test_destroy_ignores_null(void **state)
{
    (void)state;
    assert_int_equal(weft_queue_destroy(NULL), 0);
}

#if !RUNNER_SANITIZED // a sanitizer's malloc ends the process instead
static void test_put_out_of_memory(void **state)
{
    (void)state;
    weft_queue *q = weft_queue_create(PTRDIFF_MAX / 20, 0, NULL);
    assert_non_null(q);
    char item = 0;
    assert_errno(weft_queue_put(q, &item, WEFT_NOW), ENOMEM);
    assert_errno(weft_queue_put_many(q, &item, 1, WEFT_NOW), ENOMEM);
    assert_int_equal(weft_queue_length(q), 0);
    assert_int_equal(weft_queue_join(q, WEFT_NOW), 0);
    assert_int_equal(weft_queue_destroy(q), 0);
}
#endif

// ---- Orders ----

static void test_fifo_wraps_and_grows(void **state)
{
    (void)state;
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

static void test_lifo_takes_the_newest(void **state)
{
    (void)state;
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

static int by_key(const void *a, const void *b)
{
    return ((const job *)a)->key - ((const job *)b)->key;
}

static void test_priority_is_stable(void **state)
{
    (void)state;
    weft_queue_options o = {WEFT_PRIORITY, by_key};
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

static void test_priority_interleaved(void **state)
{
    (void)state;
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

static void test_items_of_every_size(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 40; size++)
        for (int order = WEFT_FIFO; order <= WEFT_LIFO; order++) {
            weft_queue_options o = {order, NULL};
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

// ---- Bounds and deadlines ----

static void test_put_stops_at_capacity(void **state)
{
    (void)state;
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

static void test_get_from_empty(void **state)
{
    (void)state;
    weft_queue *q = fifo(3);
    int v = 7;
    assert_errno(weft_queue_get(q, &v, WEFT_NOW), ETIMEDOUT);
    int64_t start = weft_now();
    assert_errno(weft_queue_get(q, &v, weft_in_ms(5)), ETIMEDOUT);
    assert_true(weft_now() - start >= 5000000);
    assert_int_equal(v, 7);
    assert_int_equal(weft_queue_destroy(q), 0);
}

static void test_success_leaves_errno_alone(void **state)
{
    (void)state;
    weft_queue *q = fifo(1);
    caller c;
    begin_asleep(&c, q, GET);
    errno = 4711;
    put(q, 1);
    assert_int_equal(errno, 4711);
    end(&c, 0, 0);
    assert_int_equal(c.items[0], 1);
    assert_int_equal(weft_queue_destroy(q), 0);
}

static void test_get_wakes_a_sleeping_put(void **state)
{
    (void)state;
    weft_queue *q = fifo(1);
    caller c;
    put(q, 1);
    begin_asleep(&c, q, PUT);
    assert_int_equal(get(q), 1);
    end(&c, 0, 0);
    assert_int_equal(get(q), 100);
    assert_int_equal(weft_queue_destroy(q), 0);
}

// ---- Batches ----

static void test_put_many_in_part(void **state)
{
    (void)state;
    weft_queue *q = fifo(3);
    int items[5] = {1, 2, 3, 4, 5};
    assert_int_equal(weft_queue_put_many(q, items, 0, WEFT_NOW), 0);
    errno = 0;
    assert_int_equal(weft_queue_put_many(q, items, 5, WEFT_NOW), 3);
    assert_int_equal(errno, ETIMEDOUT);
    assert_errno(weft_queue_put_many(q, items, 1, WEFT_NOW), ETIMEDOUT);
    for (int i = 1; i <= 3; i++)
        assert_int_equal(get(q), i);
    assert_int_equal(weft_queue_destroy(q), 0);
}

static void test_get_many_takes_what_is_there(void **state)
{
    (void)state;
    weft_queue *q = fifo(0);
    int items[5] = {1, 2, 3, 4, 5}, out[5];
    assert_errno(weft_queue_get_many(q, out, 5, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_queue_get_many(q, out, 0, WEFT_NOW), 0);
    assert_int_equal(weft_queue_put_many(q, items, 5, WEFT_NOW), 5);
    assert_int_equal(weft_queue_get_many(q, out, 2, WEFT_NOW), 2);
    assert_int_equal(weft_queue_get_many(q, out + 2, 5, WEFT_NOW), 3);
    assert_memory_equal(items, out, sizeof items);
    assert_int_equal(weft_queue_destroy(q), 0);
}

static void test_put_many_waits_for_room_again_and_again(void **state)
{
    (void)state;
    weft_queue *q = fifo(1);
    caller c;
    begin(&c, q, PUT_MANY);
    for (int i = 0; i < 4; i++) {
        int v;
        assert_int_equal(weft_queue_get(q, &v, WEFT_FOREVER), 0);
        assert_int_equal(v, 100 + i);
    }
    end(&c, 4, 0);
    assert_int_equal(weft_queue_destroy(q), 0);
}

static void test_put_many_wakes_as_many_gets(void **state)
{
    (void)state;
    weft_queue *q = fifo(0);
    caller c[3];
    for (int i = 0; i < 3; i++)
        begin_asleep(&c[i], q, GET);
    int items[3] = {1, 2, 3}, sum = 0;
    assert_int_equal(weft_queue_put_many(q, items, 3, WEFT_NOW), 3);
    for (int i = 0; i < 3; i++) {
        end(&c[i], 0, 0);
        sum += c[i].items[0];
    }
    assert_int_equal(sum, 6);
    assert_int_equal(weft_queue_destroy(q), 0);
}

// ---- Close ----

static void test_close_drains(void **state)
{
    (void)state;
    weft_queue *q = fifo(0);
    int v;
    put(q, 1);
    put(q, 2);
    assert_errno(weft_queue_close(q, 2), EINVAL);
    assert_int_equal(weft_queue_close(q, WEFT_DRAIN), 0);
    assert_errno(put(q, 3), EPIPE);
    assert_errno(weft_queue_put_many(q, &v, 1, WEFT_FOREVER), EPIPE);
    assert_int_equal(get(q), 1);
    assert_int_equal(get(q), 2);
    assert_errno(weft_queue_get(q, &v, WEFT_FOREVER), EPIPE);
    assert_errno(weft_queue_get_many(q, &v, 1, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_queue_close(q, WEFT_DRAIN), 0);
    assert_int_equal(weft_queue_destroy(q), 0);
}

static void test_close_discards(void **state)
{
    (void)state;
    weft_queue *q = fifo(0);
    int v;
    put(q, 1);
    put(q, 2);
    assert_int_equal(weft_queue_close(q, WEFT_DRAIN), 0);
    assert_int_equal(weft_queue_close(q, WEFT_DISCARD), 0);
    assert_int_equal(weft_queue_length(q), 0);
    assert_errno(weft_queue_get(q, &v, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_queue_join(q, WEFT_NOW), 0);
    assert_int_equal(weft_queue_destroy(q), 0);
}

static void test_close_wakes_every_get(void **state)
{
    (void)state;
    weft_queue *q = fifo(1);
    caller c[4];
    for (int i = 0; i < 4; i++)
        begin_asleep(&c[i], q, i % 2 ? GET : GET_MANY);
    assert_int_equal(weft_queue_close(q, WEFT_DRAIN), 0);
    for (int i = 0; i < 4; i++)
        end(&c[i], -1, EPIPE);
    assert_int_equal(weft_queue_destroy(q), 0);
}

static void test_close_wakes_every_put(void **state)
{
    (void)state;
    weft_queue *q = fifo(1);
    caller c[4];
    put(q, 1);
    for (int i = 0; i < 4; i++)
        begin_asleep(&c[i], q, i % 2 ? PUT : PUT_MANY);
    assert_int_equal(weft_queue_close(q, WEFT_DRAIN), 0);
    for (int i = 0; i < 4; i++)
        end(&c[i], -1, EPIPE);
    assert_int_equal(get(q), 1);
    assert_int_equal(weft_queue_destroy(q), 0);
}

static void test_destroy_while_threads_wait(void **state)
{
    (void)state;
    enum call calls[] = {GET, JOIN};
    for (int i = 0; i < 2; i++) {
        weft_queue *q = fifo(2);
        caller c;
        if (calls[i] == JOIN)
            put(q, 1);
        begin_asleep(&c, q, calls[i]);
        assert_errno(weft_queue_destroy(q), EBUSY);
        if (calls[i] == JOIN)
            assert_int_equal(weft_queue_task_done(q), 0);
        else
            put(q, 5);
        end(&c, 0, 0);
        assert_int_equal(weft_queue_destroy(q), 0);
    }
}

// ---- task_done and join ----

static void test_join_counts_tasks(void **state)
{
    (void)state;
    weft_queue *q = fifo(0);
    caller c;
    assert_int_equal(weft_queue_join(q, WEFT_NOW), 0);
    assert_errno(weft_queue_task_done(q), EINVAL);
    put(q, 1);
    put(q, 2);
    assert_errno(weft_queue_join(q, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_queue_join(q, weft_in_ms(2)), ETIMEDOUT);
    begin_asleep(&c, q, JOIN);
    get(q);
    get(q);
    assert_int_equal(weft_queue_task_done(q), 0);
    assert_errno(weft_queue_join(q, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_queue_task_done(q), 0);
    end(&c, 0, 0);
    assert_errno(weft_queue_task_done(q), EINVAL);
    assert_int_equal(weft_queue_destroy(q), 0);
}

static void test_discard_ends_join(void **state)
{
    (void)state;
    weft_queue *q = fifo(0);
    caller c;
    put(q, 1);
    begin_asleep(&c, q, JOIN);
    assert_int_equal(weft_queue_close(q, WEFT_DISCARD), 0);
    end(&c, 0, 0);
    assert_int_equal(weft_queue_destroy(q), 0);
}

// ---- Stop ----

static void test_stop_ends_every_wait(void **state)
{
    (void)state;
    enum call calls[] = {PUT, GET, PUT_MANY, GET_MANY, JOIN};
    for (int i = 0; i < 5; i++) {
        bool full = calls[i] == PUT || calls[i] == PUT_MANY || calls[i] == JOIN;
        weft_queue *q = fifo(1);
        caller c;
        if (full)
            put(q, 1);
        begin_asleep(&c, q, calls[i]);
        assert_int_equal(weft_thread_stop(c.thread), 0);
        end(&c, -1, ECANCELED);
        assert_int_equal(weft_queue_length(q), full);
        assert_int_equal(weft_queue_destroy(q), 0);
    }
}

// A wake spent on a stopped thread must not be lost: puts and stops race, and each
// item must still be got by somebody.
static void test_stop_loses_no_item(void **state)
{
    (void)state;
    for (int round = 0; round < 100; round++) {
        weft_queue *q = fifo(0);
        caller a, b;
        begin(&a, q, GET);
        begin(&b, q, GET);
        if (round % 2 == 0) {
            while (__atomic_load_n(&a.tid, __ATOMIC_ACQUIRE) == 0)
                sched_yield();
            await_asleep(a.tid);
        }
        put(q, 1);
        weft_thread_stop(a.thread);
        put(q, 2);
        weft_thread_join(a.thread, NULL, WEFT_FOREVER);
        weft_thread_join(b.thread, NULL, WEFT_FOREVER);
        assert_int_equal(b.code, 0);
        assert_true(a.code == 0 || a.error == ECANCELED);
        assert_int_equal(weft_queue_length(q), a.code == 0 ? 0 : 1);
        assert_int_equal(weft_queue_destroy(q), 0);
    }
}

// ---- Stress ----

enum { THREADS = 4, EACH = 5000 };

typedef struct stress {
    weft_queue *q;
    uint64_t sum, count; // atomic
    bool many;
} stress;

static void *produce(void *arg)
{
    stress *s = (stress *)arg;
    for (int i = 1; i <= EACH; i += 2) {
        int v[2] = {i, i + 1};
        if (s->many) {
            weft_queue_put_many(s->q, v, 2, WEFT_FOREVER);
        } else {
            weft_queue_put(s->q, &v[0], WEFT_FOREVER);
            weft_queue_put(s->q, &v[1], WEFT_FOREVER);
        }
    }
    return NULL;
}

static void *consume(void *arg)
{
    stress *s = (stress *)arg;
    int v[3];
    for (;;) {
        ssize_t n = s->many ? weft_queue_get_many(s->q, v, 3, WEFT_FOREVER)
                            : weft_queue_get(s->q, v, WEFT_FOREVER) + 1;
        if (n <= 0)
            return NULL;
        for (ssize_t i = 0; i < n; i++) {
            __atomic_fetch_add(&s->sum, (uint64_t)v[i], __ATOMIC_RELAXED);
            __atomic_fetch_add(&s->count, 1, __ATOMIC_RELAXED);
            weft_queue_task_done(s->q);
        }
    }
}

static void run_stress(weft_queue *q, bool many)
{
    stress s = {q, 0, 0, many};
    weft_thread *producers[THREADS], *consumers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        consumers[i] = weft_thread_start(consume, &s, NULL);
        producers[i] = weft_thread_start(produce, &s, NULL);
    }
    for (int i = 0; i < THREADS; i++)
        weft_thread_join(producers[i], NULL, WEFT_FOREVER);
    assert_int_equal(weft_queue_join(q, WEFT_FOREVER), 0);
    assert_int_equal(weft_queue_close(q, WEFT_DRAIN), 0);
    for (int i = 0; i < THREADS; i++)
        weft_thread_join(consumers[i], NULL, WEFT_FOREVER);
    assert_int_equal(s.count, (uint64_t)THREADS * EACH);
    assert_int_equal(s.sum, (uint64_t)THREADS * EACH * (EACH + 1) / 2);
    assert_int_equal(weft_queue_destroy(q), 0);
}

static void test_stress_accounts_for_every_item(void **state)
{
    (void)state;
    run_stress(fifo(1), false);
    run_stress(fifo(2), true);
    run_stress(create(0, WEFT_LIFO, NULL), true);
    run_stress(create(7, WEFT_PRIORITY, by_value), false);
}

// Close against puts and gets under way: what went in is what came out or was thrown away.
typedef struct closing {
    weft_queue *q;
    uint64_t put, got; // atomic
    int started;       // atomic
} closing;

static void *put_until_closed(void *arg)
{
    closing *c = (closing *)arg;
    int v = 1;
    add_word(&c->started);
    while (weft_queue_put(c->q, &v, WEFT_FOREVER) == 0)
        __atomic_fetch_add(&c->put, 1, __ATOMIC_RELAXED);
    return errno == EPIPE ? NULL : arg;
}

static void *get_until_closed(void *arg)
{
    closing *c = (closing *)arg;
    int v;
    add_word(&c->started);
    while (weft_queue_get(c->q, &v, WEFT_FOREVER) == 0)
        __atomic_fetch_add(&c->got, 1, __ATOMIC_RELAXED);
    return errno == EPIPE ? NULL : arg;
}

static void test_close_under_load(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        closing c = {fifo(2), 0, 0, 0};
        weft_thread *t[6];
        for (int i = 0; i < 6; i++)
            t[i] = weft_thread_start(i % 2 ? put_until_closed : get_until_closed, &c, NULL);
        await_word(&c.started, 6);
        assert_int_equal(weft_queue_close(c.q, round % 2 ? WEFT_DISCARD : WEFT_DRAIN), 0);
        for (int i = 0; i < 6; i++) {
            void *bad = &c;
            assert_int_equal(weft_thread_join(t[i], &bad, WEFT_FOREVER), 0);
            assert_null(bad);
        }
        if (round % 2)
            assert_in_range(c.put - c.got, 0, 2);
        else
            assert_int_equal(c.put, c.got);
        assert_int_equal(weft_queue_destroy(c.q), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create_refuses_bad_arguments),
        TEST(test_destroy_ignores_null),
#if !RUNNER_SANITIZED
        TEST(test_put_out_of_memory),
#endif
        TEST(test_fifo_wraps_and_grows),
        TEST(test_lifo_takes_the_newest),
        TEST(test_priority_is_stable),
        TEST(test_priority_interleaved),
        TEST(test_items_of_every_size),
        TEST(test_put_stops_at_capacity),
        TEST(test_get_from_empty),
        TEST(test_success_leaves_errno_alone),
        TEST(test_get_wakes_a_sleeping_put),
        TEST(test_put_many_in_part),
        TEST(test_get_many_takes_what_is_there),
        TEST(test_put_many_waits_for_room_again_and_again),
        TEST(test_put_many_wakes_as_many_gets),
        TEST(test_close_drains),
        TEST(test_close_discards),
        TEST(test_close_wakes_every_get),
        TEST(test_close_wakes_every_put),
        TEST(test_destroy_while_threads_wait),
        TEST(test_join_counts_tasks),
        TEST(test_discard_ends_join),
        TEST(test_stop_ends_every_wait),
        TEST(test_stop_loses_no_item),
        TEST(test_stress_accounts_for_every_item),
        TEST(test_close_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
