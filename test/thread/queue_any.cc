// weft_queue_get_any: from whichever of several queues has an item.
#include "asleep.h"

#include <weft/queue.h>

#include <poll.h>

enum { N = 12 }; // more than a call keeps on its stack

static weft_queue *queues[N];

static void begin_queues(size_t capacity)
{
    for (weft_queue *&q : queues)
        assert_non_null(q = weft_queue_create(sizeof(int), capacity, nullptr));
}

static void end_queues(void)
{
    for (weft_queue *q : queues)
        assert_int_equal(weft_queue_destroy(q), 0);
}

static void put(weft_queue *q, int v)
{
    assert_int_equal(weft_queue_put(q, &v, WEFT_NOW), 0);
}

static void close_queues(int from, int to)
{
    for (int i = from; i < to; i++)
        assert_int_equal(weft_queue_close(queues[i], WEFT_DRAIN), 0);
}

// The index and item, or -errno.
static intptr_t any(size_t n, weft_deadline d)
{
    int v = -1;
    ssize_t which = weft_queue_get_any(queues, n, &v, d);
    return which < 0 ? -errno : which * 1000 + v;
}

static void *wait_any(void *n)
{
    return (void *)any((size_t)n, WEFT_FOREVER);
}

static weft_thread *begin_wait(size_t n)
{
    weft_thread *t = weft_thread_start(wait_any, (void *)n, nullptr);
    assert_non_null(t);
    await_asleep(weft_thread_id(t));
    return t;
}

CASE(test_takes_what_is_there)
{
    begin_queues(0);
    put(queues[2], 7);
    assert_int_equal(any(3, WEFT_NOW), 2007);
    assert_int_equal(any(3, WEFT_NOW), -ETIMEDOUT);
    assert_int_equal(any(3, weft_in_ms(2)), -ETIMEDOUT);
    assert_int_equal(any(N, weft_in_ms(2)), -ETIMEDOUT);
    assert_int_equal(any(0, WEFT_NOW), -EINVAL);
    int v;
    assert_errno(weft_queue_get_any(nullptr, 1, &v, WEFT_NOW), EINVAL);
    end_queues();
}

CASE(test_sleeps_until_one_has_an_item)
{
    begin_queues(0);
    for (int i = 0; i < N; i++) {
        weft_thread *t = begin_wait(N);
        put(queues[i], i);
        assert_int_equal(joined(t), i * 1001);
    }
    end_queues();
}

CASE(test_ends_when_all_are_closed_and_empty)
{
    begin_queues(0);
    put(queues[1], 5);
    weft_thread *t = begin_wait(1);
    close_queues(0, 3);
    assert_int_equal(joined(t), -EPIPE);
    assert_int_equal(any(3, WEFT_FOREVER), 1005);
    assert_int_equal(any(3, WEFT_FOREVER), -EPIPE);
    t = begin_wait(N);
    close_queues(3, N - 1);
    put(queues[N - 1], 6);
    assert_int_equal(joined(t), (N - 1) * 1000 + 6);
    t = begin_wait(N);
    close_queues(N - 1, N);
    assert_int_equal(joined(t), -EPIPE);
    end_queues();
}

CASE(test_leaves_no_queue_out)
{
    enum { EACH = 300 };
    begin_queues(0);
    int v[EACH] = {}, got[3] = {};
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft_queue_put_many(queues[i], v, EACH, WEFT_NOW), EACH);
    for (int i = 0; i < EACH; i++)
        got[any(3, WEFT_NOW) / 1000]++;
    for (int n : got)
        assert_in_range(n, 30, EACH); // a third; so few by chance once in 10^15 times
    end_queues();
}

CASE(test_one_queue_twice)
{
    begin_queues(0);
    weft_queue *second = queues[1];
    queues[1] = queues[0];
    weft_thread *t = begin_wait(2);
    put(queues[0], 3);
    assert_int_equal(joined(t) % 1000, 3);
    queues[1] = second;
    end_queues();
}

CASE(test_stop_and_destroy)
{
    begin_queues(0);
    weft_thread *t = begin_wait(N);
    for (weft_queue *q : queues)
        assert_errno(weft_queue_destroy(q), EBUSY);
    assert_int_equal(weft_thread_stop(t), 0);
    assert_int_equal(joined(t), -ECANCELED);
    put(queues[4], 1);
    assert_int_equal(any(N, WEFT_NOW), 4001);
    end_queues();
}

CASE(test_makes_room_and_clears_the_descriptor)
{
    begin_queues(1);
    struct pollfd p = {weft_queue_fd(queues[0]), POLLIN, 0};
    put(queues[0], 1);
    assert_int_equal(poll(&p, 1, 0), 1);
    assert_int_equal(any(2, WEFT_NOW), 1);
    assert_int_equal(poll(&p, 1, 0), 0);
    put(queues[0], 2);
    end_queues();
}

// ---- Load ----

enum { THREADS = 3, EACH = 6000 / (RUNNER_SANITIZED ? 4 : 1), USED = 4 };

static int seen[THREADS * EACH];

static void *produce(void *number)
{
    int from = (int)(intptr_t)number * EACH;
    for (int i = from; i < from + EACH; i++)
        if (weft_queue_put(queues[i % USED], &i, WEFT_FOREVER) != 0)
            return code_of(-1);
    return nullptr;
}

// From all, from one, or from all with deadlines that pass at any moment.
static void *consume(void *number)
{
    int how = (int)(intptr_t)number;
    for (int v;;) {
        weft_deadline d = how == 2 ? weft_in_us(v = 50) : WEFT_FOREVER;
        ssize_t n =
            how == 0 ? weft_queue_get(queues[0], &v, d) : weft_queue_get_any(queues, USED, &v, d);
        if (n >= 0)
            __atomic_fetch_add(&seen[v], 1, __ATOMIC_RELAXED);
        else if (errno != ETIMEDOUT)
            return errno == EPIPE ? nullptr : code_of(-1);
    }
}

CASE(test_nothing_is_lost_nor_doubled)
{
    for (int round = 0; round < 3; round++) {
        weft_thread *producers[THREADS], *consumers[THREADS];
        begin_queues(round == 2 ? 0 : (size_t)round + 1);
        memset(seen, 0, sizeof seen);
        for (intptr_t i = 0; i < THREADS; i++) {
            consumers[i] = weft_thread_start(consume, (void *)i, nullptr);
            producers[i] = weft_thread_start(produce, (void *)i, nullptr);
        }
        for (weft_thread *t : producers)
            assert_int_equal(joined(t), 0);
        close_queues(0, N);
        for (weft_thread *t : consumers)
            assert_int_equal(joined(t), 0);
        for (int n : seen)
            assert_int_equal(n, 1);
        end_queues();
    }
}

// One who sleeps in all must not keep a wake-up from one who sleeps in the same queue.
CASE(test_passes_a_wake_on)
{
    begin_queues(0);
    for (int i = 0; i < 300; i++) {
        weft_thread *a = begin_wait(2);
        weft_thread *b = begin_wait(1);
        put(queues[1], 1);
        put(queues[0], 2);
        if (joined(a) == 2) { // it had both to choose from
            assert_int_equal(any(2, WEFT_NOW), 1001);
            put(queues[0], 2);
        }
        assert_int_equal(joined(b), 2);
    }
    end_queues();
}

RUN_CASES(NULL, NULL)
