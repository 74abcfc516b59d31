// Shared queues in lease mode: acknowledged, given back, come back from the dead.
#include "shared_queues.h"

static weft_shared_queue *shared;

CASE(test_lease_acknowledge)
{
    weft_shared_queue *q = queue_of(1024, true);
    weft_shared_lease a, b, c;
    char m[16];
    assert_errno(weft_shared_queue_get(q, m, sizeof m, WEFT_NOW), EINVAL);
    assert_errno(weft_shared_queue_task_done(q), EINVAL);
    weft_shared_queue_put(q, "one", 3, WEFT_NOW);
    weft_shared_queue_put(q, "three", 5, WEFT_NOW);
    assert_int_equal(weft_shared_queue_lease(q, m, sizeof m, &a, WEFT_NOW), 3);
    assert_int_equal(a.deliveries, 1);
    assert_errno(weft_shared_queue_lease(q, m, 4, &b, WEFT_NOW), EMSGSIZE);
    assert_int_equal(weft_shared_queue_lease(q, m, sizeof m, &b, WEFT_NOW), 5);
    assert_errno(weft_shared_queue_lease(q, m, sizeof m, &c, weft_in_ms(10)), ETIMEDOUT);
    assert_errno(weft_shared_queue_lease(q, m, sizeof m, nullptr, WEFT_NOW), EINVAL);
    // Out of order; then what came back goes first.
    assert_int_equal(weft_shared_queue_acknowledge(q, &b), 0);
    assert_errno(weft_shared_queue_acknowledge(q, &b), ESTALE);
    assert_errno(weft_shared_queue_join(q, WEFT_NOW), ETIMEDOUT);
    weft_shared_queue_put(q, "later", 5, WEFT_NOW);
    assert_int_equal(weft_shared_queue_give_back(q, &a), 0);
    assert_errno(weft_shared_queue_give_back(q, &a), ESTALE);
    assert_errno(weft_shared_queue_acknowledge(q, &a), ESTALE);
    assert_int_equal(weft_shared_queue_next_size(q), 3);
    assert_int_equal(weft_shared_queue_lease(q, m, sizeof m, &c, WEFT_NOW), 3);
    assert_memory_equal(m, "one", 3);
    assert_int_equal(c.deliveries, 2);
    assert_errno(weft_shared_queue_acknowledge(q, &a), ESTALE);
    assert_int_equal(weft_shared_queue_acknowledge(q, &c), 0);
    assert_int_equal(weft_shared_queue_lease(q, m, sizeof m, &a, WEFT_NOW), 5);
    assert_int_equal(weft_shared_queue_acknowledge(q, &a), 0);
    assert_int_equal(weft_shared_queue_join(q, WEFT_NOW), 0);
    weft_shared_queue_destroy(q);
    q = queue_of(64, false);
    assert_errno(weft_shared_queue_lease(q, m, sizeof m, &a, WEFT_NOW), EINVAL);
    assert_errno(weft_shared_queue_acknowledge(q, &a), EINVAL);
    assert_errno(weft_shared_queue_give_back(q, &a), EINVAL);
    weft_shared_queue_destroy(q);
}

static int lease_and_wait(void *)
{
    char m[16];
    weft_shared_lease l;
    if (weft_shared_queue_lease(shared, m, sizeof m, &l, WEFT_FOREVER) < 0)
        return 1;
    kill(getpid(), SIGKILL);
    return 0;
}

CASE(test_lease_comes_back_from_the_dead)
{
    shared = queue_of(1024, true);
    weft_shared_lease l;
    char m[16];
    for (int i = 0; i < 5; i++) {
        weft_shared_queue_put(shared, "again", 5, WEFT_NOW);
        pid_t p = child_of(lease_and_wait, nullptr), r = 0;
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)p, &info, WEXITED | WNOWAIT), 0);
        // A zombie counts as dead.
        r = child_of(lease_and_wait, nullptr); // gets it next, dies of it too
        assert_int_equal(end_of(r), 256 + SIGKILL);
        assert_int_equal(weft_shared_queue_lease(shared, m, sizeof m, &l, weft_in_s(20)), 5);
        assert_int_equal(l.deliveries, 3);
        assert_int_equal(weft_shared_queue_acknowledge(shared, &l), 0);
        assert_int_equal(end_of(p), 256 + SIGKILL);
    }
    weft_shared_queue_destroy(shared);
}

static int lease_until_end(void *)
{
    char m[16];
    weft_shared_lease l;
    while (weft_shared_queue_lease(shared, m, sizeof m, &l, WEFT_FOREVER) >= 0)
        if (weft_shared_queue_acknowledge(shared, &l) != 0)
            return 1;
    return errno == EPIPE ? 0 : 2;
}

CASE(test_lease_close_waits_for_the_leased)
{
    shared = queue_of(1024, true);
    weft_shared_lease l;
    char m[16];
    weft_shared_queue_put(shared, "x", 1, WEFT_NOW);
    assert_int_equal(weft_shared_queue_lease(shared, m, sizeof m, &l, WEFT_NOW), 1);
    weft_shared_queue_close(shared, WEFT_DRAIN);
    pid_t p = child_of(lease_until_end, nullptr);
    wait_asleep(p);
    assert_int_equal(weft_shared_queue_give_back(shared, &l), 0);
    assert_int_equal(end_of(p), 0);
    assert_errno(weft_shared_queue_lease(shared, m, sizeof m, &l, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_shared_queue_join(shared, WEFT_NOW), 0);
    weft_shared_queue_destroy(shared);
}

CASE(test_lease_discard)
{
    weft_shared_queue *q = queue_of(1024, true);
    weft_shared_lease l;
    char m[16];
    weft_shared_queue_put(q, "x", 1, WEFT_NOW);
    weft_shared_queue_put(q, "y", 1, WEFT_NOW);
    weft_shared_queue_lease(q, m, sizeof m, &l, WEFT_NOW);
    weft_shared_queue_close(q, WEFT_DISCARD);
    assert_errno(weft_shared_queue_lease(q, m, sizeof m, &l, WEFT_FOREVER), EPIPE);
    assert_errno(weft_shared_queue_join(q, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_shared_queue_acknowledge(q, &l), 0);
    assert_int_equal(weft_shared_queue_join(q, WEFT_NOW), 0);
    weft_shared_queue_destroy(q);
}

RUN_CASES(census_begin, census_end)
