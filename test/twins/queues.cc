// The cases that queues have in common: orders, bounds, batches, close, join, stop, and stress with
// exact accounting.
#include "queue_twins.h"

#include <weft/thread.h>

static void *opened(size_t capacity)
{
    begin_case();
    void *q = twin->open(capacity, kind->how);
    assert_non_null(q);
    return q;
}

static int put(void *q, int v)
{
    return twin->put(q, &v, WEFT_NOW);
}

static int get(void *q)
{
    int v = -1;
    assert_int_equal(twin->get(q, &v, WEFT_NOW), 0);
    return v;
}

// One that holds 1, 2, 3 to its capacity.
static void *full(size_t capacity)
{
    void *q = opened(capacity);
    for (size_t i = 1; i <= capacity; i++)
        assert_int_equal(put(q, (int)i), 0);
    return q;
}

// Item i of n, counted from 0, that leaves.
static int leaves(int i, int n)
{
    return has(NEWEST_FIRST) ? n - 1 - i : i;
}

// It holds n items from this one on, as they were put.
static void drains(void *q, int from, int n)
{
    assert_int_equal(twin->length(q), n);
    for (int i = 0; i < n; i++)
        assert_int_equal(get(q), from + leaves(i, n));
    assert_int_equal(twin->length(q), 0);
}

static void closes(void *q)
{
    assert_int_equal(twin->destroy(q), 0);
}

enum call { PUT, GET, PUT_MANY, GET_MANY, JOIN };

static ssize_t make_call(peer *p)
{
    switch (p->call) {
    case PUT:
        return twin->put(p->thing, p->items, WEFT_FOREVER);
    case GET:
        return twin->get(p->thing, p->items, WEFT_FOREVER);
    case PUT_MANY:
        return twin->put_many(p->thing, p->items, 4, WEFT_FOREVER);
    case GET_MANY:
        return twin->get_many(p->thing, p->items, 4, WEFT_FOREVER);
    default:
        return twin->join(p->thing, WEFT_FOREVER);
    }
}

static int many_or_one(int many, int one)
{
    return twin->put_many != nullptr ? many : one;
}

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
    assert_errno(twin->get(q, &v, weft_in_ms(5)), ETIMEDOUT);
    assert_true(weft_now() - start >= 5000000);
    assert_int_equal(v, 7);
    closes(q);
    q = full(kind->least);
    assert_errno(put(q, 9), ETIMEDOUT);
    start = weft_now();
    assert_errno(twin->put(q, &v, weft_in_ms(5)), ETIMEDOUT);
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
    if (has(GOES_ON))
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
    NEEDS(has(GOES_ON));
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
    assert_errno(twin->join(q, weft_in_ms(2)), ETIMEDOUT);
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

// ---- Stress ----

enum { SIDES = 4, MANY = 1 };

static ssize_t produce(peer *p)
{
    for (int i = 0; i < kind->each; i += 2) {
        int from = p->call / 2 * kind->each + i, v[2] = {from, from + 1};
        ssize_t n = 0;
        while (n < 2) {
            ssize_t more = p->call % 2
                               ? twin->put_many(p->thing, v + n, (size_t)(2 - n), WEFT_FOREVER)
                               : twin->put(p->thing, v + n, WEFT_FOREVER) + 1;
            if (more <= 0)
                return 1;
            n += more;
        }
    }
    return 0;
}

// Each consumer sees the items of one producer in the order in which they were put.
static ssize_t consume(peer *p)
{
    int v[3], last[SIDES] = {-1, -1, -1, -1};
    for (;;) {
        ssize_t n = p->call == MANY ? twin->get_many(p->thing, v, 3, WEFT_FOREVER)
                                    : twin->get(p->thing, v, WEFT_FOREVER) + 1;
        if (n <= 0)
            return errno == EPIPE ? 0 : 1;
        for (ssize_t i = 0; i < n; i++) {
            if (v[i] < 0 || v[i] >= SIDES * kind->each)
                return 2;
            int *before = &last[v[i] / kind->each];
            if (v[i] <= *before && !has(NEWEST_FIRST))
                return 3;
            *before = v[i];
            __atomic_fetch_add(&board->seen[v[i]], 1, __ATOMIC_RELAXED);
            if (twin->task_done(p->thing) != 0)
                return 4;
        }
    }
}

static void run_stress(size_t capacity, int many)
{
    void *q = opened(capacity);
    peer *producers[SIDES], *consumers[SIDES];
    for (int i = 0; i < SIDES; i++) {
        consumers[i] = begin(consume, q, many);
        producers[i] = begin(produce, q, 2 * i + many);
    }
    for (int i = 0; i < SIDES; i++)
        end(producers[i], 0, 0);
    assert_int_equal(twin->join(q, WEFT_FOREVER), 0);
    assert_int_equal(twin->close(q, WEFT_DRAIN), 0);
    for (int i = 0; i < SIDES; i++)
        end(consumers[i], 0, EPIPE);
    for (int i = 0; i < SIDES * kind->each; i++)
        assert_int_equal(board->seen[i], 1);
    closes(q);
}

CASE(test_stress_on_little_room)
{
    run_stress(kind->tight, 0);
    run_stress(kind->tight, many_or_one(MANY, 0));
}

CASE(test_stress_on_more_room)
{
    run_stress(8, many_or_one(MANY, 0));
    run_stress(64, 0);
    if (has(UNBOUNDED))
        run_stress(0, many_or_one(MANY, 0));
}

// Close against puts and gets under way: what went in is what came out or was thrown away.
enum { PUTS, GETS, STARTED };

static ssize_t call_until_closed(peer *p)
{
    int v = 1;
    __atomic_fetch_add(&board->words[STARTED], 1, __ATOMIC_ACQ_REL);
    while ((p->call == PUTS ? twin->put(p->thing, &v, WEFT_FOREVER)
                            : twin->get(p->thing, &v, WEFT_FOREVER)) == 0)
        __atomic_fetch_add(&board->words[p->call], 1, __ATOMIC_RELAXED);
    return -1;
}

CASE(test_close_under_load)
{
    for (int round = 0; round < kind->rounds; round++) {
        void *q = opened(2);
        for (int i = 0; i < 6; i++)
            begin(call_until_closed, q, i % 2 ? PUTS : GETS);
        while (__atomic_load_n(&board->words[STARTED], __ATOMIC_ACQUIRE) < 6)
            sched_yield();
        assert_int_equal(twin->close(q, round % 2 ? WEFT_DISCARD : WEFT_DRAIN), 0);
        for (int i = 0; i < 6; i++)
            end(&board->peers[i], -1, EPIPE);
        assert_in_range(board->words[PUTS] - board->words[GETS], 0, round % 2 ? 2 : 0);
        closes(q);
    }
}

// Many short sleeps on both sides, each ended by one item: a lost wake-up hangs here.
enum { ECHOES = 3 };
static void *back[ECHOES];

static ssize_t echo(peer *p)
{
    int v;
    while (twin->get(p->thing, &v, WEFT_FOREVER) == 0)
        twin->put(back[p->call], &v, WEFT_FOREVER);
    return -1;
}

CASE(test_ping_pong_loses_no_wake)
{
    void *to = opened(2), *from = twin->open(2, kind->how);
    for (int i = 0; i < ECHOES; i++) {
        back[i] = again(from);
        begin(echo, to, i);
    }
    for (int i = 0; i < kind->rounds * 30; i++) {
        int v = i;
        assert_int_equal(twin->put(to, &v, WEFT_FOREVER), 0);
        assert_int_equal(twin->get(from, &v, WEFT_FOREVER), 0);
        assert_int_equal(v, i);
    }
    assert_int_equal(twin->close(to, WEFT_DRAIN), 0);
    for (int i = 0; i < ECHOES; i++) {
        end(&board->peers[i], -1, EPIPE);
        release(back[i]);
    }
    closes(to);
    closes(from);
}

static int lose_membarrier(void *q)
{
    if (!refuses(SYS_membarrier, ENOSYS))
        return 1;
    peer *p = begin_asleep(make_call, q, GET);
    int bad = put(q, 5) != 0;
    weft_thread_join(p->thread, nullptr, WEFT_FOREVER);
    return bad || p->code != 0 || p->items[0] != 5 || twin->destroy(q) != 0;
}

// One that was made while there was membarrier(2).
CASE(test_membarrier_taken_away)
{
    NEEDS(way == THREADS);
    void *q = opened(2);
    assert_int_equal(end_of(child_of(lose_membarrier, q)), 0);
    closes(q);
}

int main(void)
{
    int failed = run_without_membarrier();
    for (const queue_kind &each : kinds)
        failed += run_queues(&each, each.kin.name);
    return failed + with_both_servers([](const char *on) {
               return run_queues(&remote, name_on("remote queue", on));
           });
}
