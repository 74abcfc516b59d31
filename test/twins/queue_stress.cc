// Queues under load: each item is got once and in order, closing loses nothing, no wake is lost.
#include "queue_twins.h"

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

RUN_ON_ALL_QUEUES
