// weft_queue_fd: readable while a get would return at once, and only then.
#include "../descriptors.h"
#include "asleep.h"

#include <weft/executor.h>
#include <weft/queue.h>

#include <poll.h>
#include <sys/resource.h>

static weft_queue *fresh(size_t capacity)
{
    weft_queue *q = weft_queue_create(sizeof(int), capacity, nullptr);
    assert_non_null(q);
    return q;
}

static bool readable(int fd, int ms = 0)
{
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, ms) == 1 && p.revents == POLLIN;
}

static void put(weft_queue *q, int v)
{
    assert_int_equal(weft_queue_put(q, &v, WEFT_NOW), 0);
}

static void get(weft_queue *q)
{
    int v;
    assert_int_equal(weft_queue_get(q, &v, WEFT_NOW), 0);
}

CASE(test_readable_while_there_is_an_item)
{
    weft_queue *q = fresh(0);
    int fd = weft_queue_fd(q);
    assert_true(fd >= 0);
    assert_int_equal(weft_queue_fd(q), fd);
    for (int round = 0; round < 3; round++) {
        assert_false(readable(fd));
        put(q, 1);
        assert_true(readable(fd));
        put(q, 2);
        get(q);
        assert_true(readable(fd));
        get(q);
    }
    assert_false(readable(fd));
    assert_int_equal(weft_queue_destroy(q), 0);
}

CASE(test_many_at_a_time)
{
    weft_queue *q = fresh(2);
    int fd = weft_queue_fd(q), v[3] = {1, 2, 3};
    assert_int_equal(weft_queue_put_many(q, v, 3, WEFT_NOW), 2);
    assert_true(readable(fd));
    assert_int_equal(weft_queue_get_many(q, v, 3, WEFT_NOW), 2);
    assert_false(readable(fd));
    assert_int_equal(weft_queue_destroy(q), 0);
}

CASE(test_tells_of_what_was_there_before)
{
    weft_queue *q = fresh(0);
    put(q, 1);
    assert_true(readable(weft_queue_fd(q)));
    assert_int_equal(weft_queue_destroy(q), 0);
}

CASE(test_a_closed_queue_is_readable)
{
    for (int how = WEFT_DRAIN; how <= WEFT_DISCARD; how++) {
        weft_queue *q = fresh(0), *late = fresh(0);
        int fd = weft_queue_fd(q), v;
        assert_int_equal(weft_queue_close(q, how), 0);
        assert_int_equal(weft_queue_close(late, how), 0);
        assert_errno(weft_queue_get(q, &v, WEFT_NOW), EPIPE);
        assert_true(readable(fd));
        assert_true(readable(weft_queue_fd(late)));
        assert_int_equal(weft_queue_destroy(q), 0);
        assert_int_equal(weft_queue_destroy(late), 0);
    }
}

CASE(test_a_drained_queue_stays_readable)
{
    weft_queue *q = fresh(0);
    int fd = weft_queue_fd(q);
    put(q, 1);
    assert_int_equal(weft_queue_close(q, WEFT_DRAIN), 0);
    get(q);
    assert_true(readable(fd));
    assert_int_equal(weft_queue_destroy(q), 0);
}

CASE(test_descriptors_come_when_asked_and_go_with_the_queue)
{
    int before = open_descriptors();
    weft_queue *q = fresh(0);
    put(q, 1);
    assert_int_equal(open_descriptors(), before);
    weft_queue_fd(q);
    assert_int_equal(open_descriptors(), before + 1);
    assert_int_equal(weft_queue_destroy(q), 0);
    assert_int_equal(open_descriptors(), before);
}

CASE(test_without_a_descriptor)
{
    struct rlimit before, none;
    weft_queue *q = fresh(0);
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int fd = weft_queue_fd(q), error = errno;
    put(q, 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(fd, -1);
    assert_int_equal(error, EMFILE);
    fd = weft_queue_fd(q);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    get(q);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_false(readable(fd));
    assert_int_equal(weft_queue_destroy(q), 0);
}

// ---- Forks ----

static int use_copy(void *arg)
{
    weft_queue *q = (weft_queue *)arg;
    int v, old = open_descriptors();
    if (weft_queue_get(q, &v, WEFT_NOW) != 0 || open_descriptors() != old - 1)
        return 1; // the parent's is closed
    int fd = weft_queue_fd(q);
    if (fd < 0 || readable(fd) || weft_queue_put(q, &v, WEFT_NOW) != 0 || !readable(fd))
        return 2;
    return weft_queue_close(q, WEFT_DISCARD) != 0 || weft_queue_destroy(q) != 0;
}

CASE(test_a_forked_child_has_its_own)
{
    weft_queue *q = fresh(0);
    int fd = weft_queue_fd(q);
    put(q, 1);
    assert_int_equal(end_of(child_of(use_copy, q)), 0);
    assert_true(readable(fd));
    get(q);
    assert_int_equal(
        end_of(child_of([](void *p) { return weft_queue_close((weft_queue *)p, WEFT_DRAIN); }, q)),
        0);
    assert_false(readable(fd));
    assert_int_equal(weft_queue_destroy(q), 0);
}

// ---- Threads ----

enum { ITEMS = 20000 / (RUNNER_SANITIZED ? 10 : 1), SIDES = 2 };

static void *produce(void *q)
{
    for (int i = 0; i < ITEMS; i++)
        if (weft_queue_put((weft_queue *)q, &i, WEFT_FOREVER) != 0)
            return q;
    return nullptr;
}

// Who alone gets never finds it readable for nothing, nor waits while there is something.
static void move_by_polling(size_t capacity)
{
    weft_queue *q = fresh(capacity);
    weft_thread *t[SIDES];
    int fd = weft_queue_fd(q), v;
    for (int i = 0; i < SIDES; i++)
        t[i] = weft_thread_start(produce, q, nullptr);
    for (int n = 0; n < SIDES * ITEMS; n++) {
        assert_true(readable(fd, -1));
        get(q);
    }
    assert_false(readable(fd));
    for (int i = 0; i < SIDES; i++)
        assert_int_equal(joined(t[i]), 0);
    assert_errno(weft_queue_get(q, &v, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_queue_destroy(q), 0);
}

CASE(test_polling_misses_nothing)
{
    move_by_polling(1);
    move_by_polling(0);
}

// A thread that is cancelled in the middle of a change would leave the descriptor wrong.
static void *put_cancelled(void *q)
{
    int v = 1, before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    pthread_cancel(pthread_self());
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
    weft_queue_put((weft_queue *)q, &v, WEFT_NOW);
    weft_queue_get((weft_queue *)q, &v, WEFT_NOW);
    weft_queue_put((weft_queue *)q, &v, WEFT_NOW);
    return nullptr;
}

CASE(test_no_cancellation_point)
{
    weft_queue *q = fresh(0);
    int fd = weft_queue_fd(q);
    pthread_t t;
    void *end = q;
    assert_int_equal(pthread_create(&t, nullptr, put_cancelled, q), 0);
    assert_int_equal(pthread_join(t, &end), 0);
    assert_null(end);
    assert_true(readable(fd));
    get(q);
    assert_false(readable(fd));
    assert_int_equal(weft_queue_destroy(q), 0);
}

static int make_all(void *)
{
    weft_queue *q = weft_queue_create(sizeof(int), 4, nullptr);
    weft_future *f = weft_future_create();
    weft_executor *ex = weft_executor_create(1, NULL);
    bool well = q != NULL && weft_queue_fd(q) >= 0 && f != NULL && weft_future_fd(f) >= 0 &&
                ex != NULL && weft_executor_fd(ex) >= 0;
    return well ? 0 : 9;
}

CASE(test_streams_stay_closed)
{
    assert_int_equal(end_of(child_of(end_without_streams, (void *)make_all)), 0);
}

RUN_CASES(NULL, NULL)
