// The cases that queues have in common: orders, bounds, batches, close, join, stop.
#include "queue_twins.h"

// ---- Orders, bounds, deadlines ----

CASE(test_order_over_many_laps)
{
    void *q = opened(2);
    for (int i = 0; i < 1000; i += 2) {
        assert_int_equal(put(q, i), 0);
        assert_int_equal(put(q, i + 1), 0);
        drains(q, i, 2);
    }
    closes(q);
}

CASE(test_deadlines)
{
    void *q = opened(kind->least);
    int v = 7;
    assert_errno(twin->get(q, &v, WEFT_NOW), ETIMEDOUT);
    int64_t start = weft_now();
    assert_out_of_time(twin->get(q, &v, shortly()));
    assert_true(weft_now() - start >= 5000000);
    assert_int_equal(v, 7);
    closes(q);
    q = full(kind->least);
    assert_errno(put(q, 9), ETIMEDOUT);
    start = weft_now();
    assert_out_of_time(twin->put(q, &v, shortly()));
    assert_true(weft_now() - start >= 5000000);
    drains(q, 1, (int)kind->least);
    closes(q);
}

CASE(test_batches)
{
    NEEDS(twin->put_many);
    void *q = opened(4);
    int in[6] = {0, 1, 2, 3, 4, 5}, out[6];
    assert_int_equal(twin->put_many(q, in, 0, WEFT_NOW), 0);
    assert_int_equal(twin->get_many(q, out, 0, WEFT_NOW), 0);
    assert_errno(twin->get_many(q, out, 6, WEFT_NOW), ETIMEDOUT);
    put(q, 0);
    assert_int_equal(get(q), 0); // so that the batch wraps
    errno = 0;
    assert_int_equal(twin->put_many(q, in, 6, WEFT_NOW), 4);
    assert_int_equal(errno, ETIMEDOUT);
    assert_errno(twin->put_many(q, in, 1, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(twin->get_many(q, out, 3, WEFT_NOW), 3);
    assert_int_equal(twin->get_many(q, out + 3, 6, WEFT_NOW), 1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(out[i], leaves(i, 4));
    closes(q);
}

// ---- Sleeping and waking ----

CASE(test_a_sleeping_get_wakes)
{
    void *q = opened(kind->least);
    peer *p = begin_asleep(make_call, q, GET);
    errno = 4711;
    put(q, 1);
    assert_int_equal(errno, 4711);
    end(p, 0, 0);
    assert_int_equal(p->items[0], 1);
    closes(q);
}

CASE(test_a_sleeping_put_wakes)
{
    void *q = full(kind->least);
    peer *p = begin_asleep(make_call, q, PUT);
    assert_int_equal(twin->length(q), kind->least);
    assert_int_equal(get(q), has(NEWEST_FIRST) ? kind->least : 1);
    end(p, 0, 0);
    for (int i = 2; i <= (int)kind->least; i++)
        assert_int_equal(get(q), i);
    assert_int_equal(get(q), 100);
    closes(q);
}

CASE(test_put_many_waits_again_and_again)
{
    NEEDS(twin->put_many);
    void *q = opened(kind->least);
    peer *p = begin(make_call, q, PUT_MANY);
    int v[4], seen = 0;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(twin->get(q, &v[i], WEFT_FOREVER), 0);
        seen |= 1 << (v[i] - 100);
        assert_true(has(NEWEST_FIRST) || v[i] == 100 + i);
    }
    assert_int_equal(seen, 15);
    end(p, 4, 0);
    closes(q);
}

// One notice for the batch, then each getter passes it on to the next.
CASE(test_put_many_wakes_every_get)
{
    NEEDS(twin->put_many);
    void *q = opened(4);
    int items[4] = {1, 2, 3, 4}, sum = 0;
    for (int i = 0; i < 4; i++)
        begin_asleep(make_call, q, GET);
    assert_int_equal(twin->put_many(q, items, 4, WEFT_NOW), 4);
    for (int i = 0; i < 4; i++) {
        end(&board->peers[i], 0, 0);
        sum += board->peers[i].items[0];
    }
    assert_int_equal(sum, 10);
    closes(q);
}

CASE(test_get_many_wakes_every_put)
{
    NEEDS(twin->get_many);
    void *q = full(4);
    int items[4];
    for (int i = 0; i < 4; i++)
        begin_asleep(make_call, q, PUT);
    assert_int_equal(twin->get_many(q, items, 4, WEFT_NOW), 4);
    for (int i = 0; i < 4; i++)
        end(&board->peers[i], 0, 0);
    assert_int_equal(twin->length(q), 4);
    closes(q);
}

// ---- Close ----

CASE(test_close_drains)
{
    void *q = opened(4);
    int v = 3;
    put(q, 1);
    put(q, 2);
    assert_errno(twin->close(q, 2), EINVAL);
    assert_errno(twin->close(q, -1), EINVAL);
    assert_int_equal(twin->close(q, WEFT_DRAIN), 0);
    assert_errno(put(q, 3), EPIPE);
    assert_errno(twin->put(q, &v, WEFT_FOREVER), EPIPE);
    if (twin->put_many != nullptr)
        assert_errno(twin->put_many(q, &v, 1, WEFT_FOREVER), EPIPE);
    drains(q, 1, 2);
    assert_errno(twin->get(q, &v, WEFT_NOW), EPIPE);
    assert_errno(twin->get(q, &v, WEFT_FOREVER), EPIPE);
    if (twin->get_many != nullptr)
        assert_errno(twin->get_many(q, &v, 1, WEFT_FOREVER), EPIPE);
    assert_int_equal(twin->close(q, WEFT_DRAIN), 0);
    closes(q);
}

CASE(test_close_discards)
{
    void *q = opened(4);
    int v;
    put(q, 1);
    put(q, 2);
    get(q);
    assert_int_equal(twin->close(q, WEFT_DRAIN), 0);
    assert_int_equal(twin->close(q, WEFT_DISCARD), 0);
    assert_int_equal(twin->close(q, WEFT_DISCARD), 0);
    assert_int_equal(twin->close(q, WEFT_DRAIN), 0); // no way back
    assert_int_equal(twin->length(q), 0);
    assert_errno(twin->get(q, &v, WEFT_FOREVER), EPIPE);
    assert_errno(twin->put(q, &v, WEFT_FOREVER), EPIPE);
    assert_errno(twin->join(q, WEFT_NOW), ETIMEDOUT); // one is at work
    assert_int_equal(twin->task_done(q), 0);
    assert_int_equal(twin->join(q, WEFT_NOW), 0); // what was thrown away is done
    assert_errno(twin->task_done(q), EINVAL);
    closes(q);
}

CASE(test_close_wakes_everybody)
{
    for (int filled = 0; filled <= 1; filled++)
        for (int how = WEFT_DRAIN; how <= WEFT_DISCARD; how++) {
            void *q = filled ? full(kind->least) : opened(kind->least);
            for (int i = 0; i < 4; i++) {
                int many = filled ? PUT_MANY : GET_MANY, one = filled ? PUT : GET;
                begin_asleep(make_call, q, i % 2 ? one : many_or_one(many, one));
            }
            assert_int_equal(twin->close(q, how), 0);
            for (int i = 0; i < 4; i++)
                end(&board->peers[i], -1, EPIPE);
            assert_int_equal(twin->length(q), filled && how == WEFT_DRAIN ? kind->least : 0);
            closes(q);
        }
}

CASE(test_destroy_while_threads_wait)
{
    NEEDS(has(SAYS_BUSY));
    void *q = opened(2);
    peer *p = begin_asleep(make_call, q, GET);
    assert_errno(twin->destroy(q), EBUSY);
    put(q, 1);
    end(p, 0, 0);
    p = begin_asleep(make_call, q, JOIN);
    assert_errno(twin->destroy(q), EBUSY);
    assert_int_equal(twin->task_done(q), 0);
    end(p, 0, 0);
    closes(q);
}

// ---- task_done and join ----

CASE(test_join_counts_tasks)
{
    void *q = opened(4);
    assert_int_equal(twin->join(q, WEFT_NOW), 0);
    assert_errno(twin->task_done(q), EINVAL);
    put(q, 1);
    put(q, 2);
    assert_errno(twin->join(q, WEFT_NOW), ETIMEDOUT);
    assert_out_of_time(twin->join(q, shortly()));
    peer *p = begin_asleep(make_call, q, JOIN);
    drains(q, 1, 2);
    assert_int_equal(twin->task_done(q), 0);
    assert_errno(twin->join(q, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(twin->task_done(q), 0);
    end(p, 0, 0);
    assert_errno(twin->task_done(q), EINVAL);
    closes(q);
}

CASE(test_discard_ends_join)
{
    void *q = full(2);
    peer *p = begin_asleep(make_call, q, JOIN);
    assert_int_equal(twin->close(q, WEFT_DISCARD), 0);
    end(p, 0, 0);
    closes(q);
}

// ---- Stop ----

CASE(test_stop_ends_every_wait)
{
    NEEDS(way != PROCESSES);
    int calls[] = {PUT, GET, JOIN, PUT_MANY, GET_MANY};
    for (int i = 0; i < many_or_one(5, 3); i++) {
        bool filled = calls[i] != GET && calls[i] != GET_MANY;
        void *q = filled ? full(kind->least) : opened(kind->least);
        peer *p = begin_asleep(make_call, q, calls[i]);
        stop_peer(p);
        end(p, -1, ECANCELED);
        assert_int_equal(twin->length(q), filled ? kind->least : 0);
        closes(q);
    }
}

// A wake spent on a stopped thread must not be lost: puts and stops race, and each item must still
// be got by somebody.
CASE(test_stop_loses_no_item)
{
    NEEDS(way != PROCESSES && here.kind != WEFT_SERVER_REDIS); // there it may be lost
    for (int round = 0; round < kind->rounds; round++) {
        void *q = opened(2);
        peer *a = begin(make_call, q, GET), *b = begin(make_call, q, GET);
        if (round % 2 == 0)
            let_it_sleep(a);
        put(q, 1);
        stop_peer(a);
        put(q, 2);
        end(a);
        end(b, 0, 0);
        assert_true(a->code == 0 || a->error == ECANCELED);
        for (weft_deadline d = soon(); twin->length(q) != (a->code == 0 ? 0 : 1);)
            assert_true(weft_left(d) > 0);
        closes(q);
    }
}

RUN_ON_ALL_QUEUES
