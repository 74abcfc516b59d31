// Messages that are written in the ring itself: in order, in one piece, and skipped if their
// maker dies.
#include "../runner.h"
#include "processes.h"

#include <weft/shared_queue.h>

#include <errno.h>
#include <poll.h>

static weft_shared_queue *q;
static char text[1024];

static void begin(size_t bytes)
{
    q = weft_shared_queue_create(nullptr, bytes, nullptr);
    assert_non_null(q);
}

static void end(void)
{
    assert_int_equal(weft_shared_queue_destroy(q), 0);
}

static int put(const char *what)
{
    return weft_shared_queue_put(q, what, strlen(what), WEFT_NOW);
}

static void *reserve(size_t n)
{
    return weft_shared_queue_reserve(q, n, WEFT_NOW);
}

static int commit(void *p, const char *what)
{
    memcpy(p, what, strlen(what));
    return weft_shared_queue_commit(q, p, strlen(what));
}

static void get(const char *expected)
{
    ssize_t n = weft_shared_queue_get(q, text, sizeof text, WEFT_NOW);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(text, expected, (size_t)n);
}

static int get_nothing(void)
{
    return (int)weft_shared_queue_get(q, text, sizeof text, WEFT_NOW);
}

CASE(test_order_is_that_of_the_reservations)
{
    begin(1024);
    void *a = reserve(100), *b = reserve(8);
    assert_int_equal((uintptr_t)a % 8, 0);
    assert_int_equal(put("third"), 0);
    assert_int_equal(commit(b, "second"), 0);
    assert_errno(get_nothing(), ETIMEDOUT);
    assert_errno(weft_shared_queue_next_size(q), ETIMEDOUT);
    assert_int_equal(commit(a, "first"), 0);
    assert_int_equal(weft_shared_queue_next_size(q), 5);
    assert_int_equal(weft_shared_queue_length(q), 3);
    get("first");
    get("second");
    get("third");
    assert_errno(get_nothing(), ETIMEDOUT);
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft_shared_queue_task_done(q), 0);
    assert_int_equal(weft_shared_queue_join(q, WEFT_NOW), 0);
    end();
}

CASE(test_cancelled_is_no_message)
{
    begin(256);
    void *a = reserve(80);
    assert_int_equal(put("x"), 0);
    assert_int_equal(weft_shared_queue_cancel(q, a), 0);
    assert_int_equal(weft_shared_queue_length(q), 1);
    get("x");
    assert_int_equal(weft_shared_queue_task_done(q), 0);
    assert_int_equal(weft_shared_queue_join(q, WEFT_NOW), 0);
    // Its room is free though nobody gets.
    for (int i = 0; i < 20; i++) {
        a = reserve(100);
        assert_non_null(a);
        assert_int_equal(weft_shared_queue_cancel(q, a), 0);
        assert_int_equal(weft_shared_queue_length(q), 0);
    }
    memset(text, 'y', sizeof text);
    assert_int_equal(weft_shared_queue_put(q, text, 248, WEFT_NOW), 0);
    assert_int_equal(weft_shared_queue_get(q, text, sizeof text, WEFT_NOW), 248);
    end();
}

CASE(test_errors)
{
    begin(256);
    assert_errno(reserve(113), EMSGSIZE);
    void *a = reserve(112), *b = reserve(112);
    assert_non_null(b);
    assert_errno(reserve(1), ETIMEDOUT);
    assert_errno(weft_shared_queue_reserve(q, 1, weft_in_ms(5)), ETIMEDOUT);
    assert_errno(weft_shared_queue_commit(q, a, 113), EMSGSIZE);
    assert_errno(weft_shared_queue_commit(q, (char *)a + 8, 1), ESTALE);
    assert_errno(weft_shared_queue_commit(q, text, 1), ESTALE);
    assert_int_equal(commit(a, "1"), 0);
    assert_errno(weft_shared_queue_commit(q, a, 1), ESTALE);
    assert_errno(weft_shared_queue_cancel(q, a), ESTALE);
    // What is reserved may be committed when the queue is closed; then it ends.
    assert_int_equal(weft_shared_queue_close(q, WEFT_DRAIN), 0);
    assert_errno(reserve(1), EPIPE);
    get("1");
    assert_errno(get_nothing(), ETIMEDOUT);
    assert_int_equal(commit(b, "2"), 0);
    get("2");
    assert_errno(get_nothing(), EPIPE);
    end();
    weft_shared_queue_options o = {};
    o.leases = true;
    q = weft_shared_queue_create(nullptr, 256, &o);
    assert_errno(reserve(1), EINVAL);
    assert_errno(weft_shared_queue_commit(q, text, 1), EINVAL);
    assert_errno(weft_shared_queue_cancel(q, text), EINVAL);
    end();
}

// ---- against a model ----

CASE(test_as_the_model)
{
    enum { MOST = 64 };
    struct one {
        void *reserved; // not committed yet
        unsigned char what;
        size_t n;
    } model[MOST] = {};
    int count = 0;
    unsigned char serial = 0;
    begin(1024);
    srand(3);
    for (int i = 0; i < 300000; i++) {
        size_t n = (size_t)rand() % 300;
        int which = rand() % 6, at = count != 0 ? rand() % count : 0;
        struct one *m = &model[count], *old = &model[at];
        if (which < 2 && count < MOST) {
            *m = {which == 0 ? reserve(n) : nullptr, ++serial, n};
            memset(text, serial, n);
            if (which == 0 ? m->reserved != nullptr
                           : weft_shared_queue_put(q, text, n, WEFT_NOW) == 0)
                count++;
        } else if (which == 2 && count != 0 && old->reserved != nullptr) {
            old->n = rand() % 2 ? old->n : old->n / 2;
            memset(old->reserved, old->what, old->n);
            assert_int_equal(weft_shared_queue_commit(q, old->reserved, old->n), 0);
            old->reserved = nullptr;
        } else if (which == 3 && rand() % 8 == 0 && count != 0 && old->reserved != nullptr) {
            assert_int_equal(weft_shared_queue_cancel(q, old->reserved), 0);
            memmove(old, old + 1, (size_t)(--count - at) * sizeof *old);
        } else if (which > 3) {
            ssize_t got = weft_shared_queue_get(q, text, sizeof text, WEFT_NOW);
            bool there = count != 0 && model[0].reserved == nullptr;
            assert_int_equal(got, there ? (ssize_t)model[0].n : -1);
            for (ssize_t k = 0; k < got; k++)
                assert_int_equal((unsigned char)text[k], model[0].what);
            if (there)
                memmove(model, model + 1, (size_t)--count * sizeof *model);
        }
        assert_int_equal(weft_shared_queue_length(q), count);
    }
    end();
}

// ---- makers that die ----

static int reserve_and_die(void *)
{
    return reserve(50) == nullptr ? 1 : kill(getpid(), SIGKILL);
}

static int reserve_and_pause(void *)
{
    return reserve(50) == nullptr ? 1 : pause();
}

static int get_one(void *)
{
    return weft_shared_queue_get(q, text, sizeof text, WEFT_FOREVER) == 1 ? 0 : 1;
}

CASE(test_the_dead_are_skipped)
{
    begin(256);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(end_of(child_of(reserve_and_die, nullptr)), 256 + SIGKILL);
        assert_int_equal(put("x"), 0);
        get("x");
        assert_int_equal(weft_shared_queue_length(q), 0);
    }
    // While others wait for what comes after it; the descriptor tells, too.
    struct pollfd p = {weft_shared_queue_fd(q), POLLIN, 0};
    pid_t maker = child_of(reserve_and_pause, nullptr), getter = child_of(get_one, nullptr);
    while (weft_shared_queue_length(q) != 1)
        usleep(200);
    assert_int_equal(put("y"), 0);
    assert_int_equal(put("z"), 0);
    wait_asleep(getter);
    assert_errno(get_nothing(), ETIMEDOUT);
    assert_int_equal(poll(&p, 1, 0), 0);
    kill_and_reap(maker);
    assert_int_equal(end_of(getter), 0);
    assert_int_equal(poll(&p, 1, 10000), 1);
    get("z");
    end();
}

RUN_CASES(census_begin, census_end)
