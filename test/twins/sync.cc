// The cases that semaphores, events and barriers have in common.
#include "sync_twins.h"

// ---- Semaphores ----

CASE(test_semaphore_counts)
{
    void *s = opened(SEMAPHORE, 2);
    errno = 77;
    keeps_errno(twin->value(s), 2);
    keeps_errno(twin->acquire(s, WEFT_NOW));
    keeps_errno(twin->acquire(s, WEFT_FOREVER));
    times_out(twin->acquire, s);
    assert_int_equal(twin->value(s), 0);
    peer *p = begin_asleep(make_call, s, UNIT);
    is_busy(SEMAPHORE, s);
    errno = 77;
    keeps_errno(twin->post(s));
    end(p, 0, 0);
    assert_int_equal(twin->value(s), 1);
    assert_int_equal(twin->post(s), 0);
    assert_int_equal(twin->value(s), 2);
    assert_int_equal(twin->post(s), 0); // a new unit
    assert_int_equal(twin->value(s), 3);
    closes(SEMAPHORE, s);
}

CASE(test_semaphore_bounded)
{
    NEEDS(has(HAS_LIMITS));
    begin_case();
    assert_errno(twin->open(SEMAPHORE, 3, 2), EINVAL);
    void *s = twin->open(SEMAPHORE, 1, 2);
    assert_int_equal(twin->post(s), 0);
    assert_errno(twin->post(s), EOVERFLOW);
    assert_int_equal(twin->value(s), 2);
    assert_int_equal(twin->acquire(s, WEFT_NOW), 0);
    assert_int_equal(twin->post(s), 0);
    assert_errno(twin->post(s), EOVERFLOW);
    closes(SEMAPHORE, s);
}

CASE(test_semaphore_posts_all_or_none)
{
    NEEDS(twin->post_n);
    begin_case();
    void *s = twin->open(SEMAPHORE, 1, 4);
    errno = 77;
    keeps_errno(twin->post_n(s, 0));
    assert_errno(twin->post_n(s, 4), EOVERFLOW);
    assert_errno(twin->post_n(s, UINT32_MAX), EOVERFLOW);
    assert_int_equal(twin->value(s), 1);
    errno = 77;
    keeps_errno(twin->post_n(s, 3));
    assert_int_equal(twin->value(s), 4);
    for (int i = 0; i < 3; i++)
        assert_int_equal(twin->acquire(s, WEFT_NOW), 0);
    assert_errno(twin->post_n(s, 4), EOVERFLOW);
    assert_int_equal(twin->value(s), 1);
    assert_int_equal(twin->post_n(s, 2), 0);
    assert_int_equal(twin->post_n(s, 1), 0);
    assert_int_equal(twin->value(s), 4);
    closes(SEMAPHORE, s);
}

static ssize_t take_unit(peer *p)
{
    ssize_t code = twin->acquire(p->thing, WEFT_FOREVER);
    __atomic_fetch_add(&board->words[0], 1, __ATOMIC_ACQ_REL);
    return code;
}

CASE(test_semaphore_posts_wake_as_many)
{
    NEEDS(twin->post_n);
    void *s = opened(SEMAPHORE);
    for (int i = 0; i < 4; i++)
        begin_asleep(take_unit, s);
    assert_int_equal(twin->post_n(s, 3), 0);
    while (__atomic_load_n(&board->words[0], __ATOMIC_ACQUIRE) < 3)
        usleep(200);
    assert_int_equal(twin->post_n(s, 1), 0);
    for (int i = 0; i < 4; i++)
        end(&board->peers[i], 0, 0);
    closes(SEMAPHORE, s);
}

static bool two_at_most(int *inside)
{
    bool well = __atomic_add_fetch(inside, 1, __ATOMIC_ACQ_REL) <= 2;
    __atomic_fetch_sub(inside, 1, __ATOMIC_ACQ_REL);
    return well;
}

static ssize_t come_and_go(peer *p)
{
    return go_in_and_out(p, kind->times * 5, twin->acquire, twin->post, two_at_most);
}

CASE(test_semaphore_lets_as_many_in)
{
    void *s = opened(SEMAPHORE, 2);
    for (int i = 0; i < 6; i++)
        begin(come_and_go, s);
    for (int i = 0; i < 6; i++)
        end(&board->peers[i], 0, 0);
    assert_int_equal(twin->value(s), 2);
    closes(SEMAPHORE, s);
}

// ---- Events ----

CASE(test_event_sets_and_clears)
{
    void *e = opened(EVENT);
    assert_int_equal(twin->is_set(e), 0);
    times_out(twin->await, e);
    errno = 77;
    keeps_errno(twin->clear(e));
    keeps_errno(twin->set(e));
    keeps_errno(twin->set(e));
    keeps_errno(twin->is_set(e), 1);
    keeps_errno(twin->await(e, WEFT_NOW));
    keeps_errno(twin->await(e, WEFT_FOREVER));
    keeps_errno(twin->clear(e));
    keeps_errno(twin->clear(e));
    keeps_errno(twin->is_set(e), 0);
    assert_errno(twin->await(e, WEFT_NOW), ETIMEDOUT);
    closes(EVENT, e);
}

CASE(test_event_pulse_frees_all_waiters)
{
    void *e = opened(EVENT);
    for (int i = 0; i < 4; i++)
        begin_asleep(make_call, e, AWAIT);
    is_busy(EVENT, e);
    assert_int_equal(twin->set(e), 0);
    assert_int_equal(twin->clear(e), 0);
    for (int i = 0; i < 4; i++)
        end(&board->peers[i], 0, 0);
    closes(EVENT, e);
}

// ---- Barriers ----

static void until_waiting(void *b, int n)
{
    for (weft_deadline d = soon(); twin->waiting(b) != n; usleep(200))
        assert_true(weft_left(d) > 0);
}

enum { HERE, FIRSTS };

static ssize_t come_often(peer *p)
{
    int parties = p->call, *here_now = &board->words[HERE];
    for (int i = 0; i < kind->times; i++) {
        __atomic_fetch_add(here_now, 1, __ATOMIC_ACQ_REL);
        int code = twin->meet(p->thing, WEFT_FOREVER);
        // Everybody has come, and nobody is further than the next round.
        int n = __atomic_load_n(here_now, __ATOMIC_ACQUIRE);
        if (code < 0 || n < (i + 1) * parties || n > (i + 2) * parties)
            return 1;
        __atomic_fetch_add(&board->words[FIRSTS], code, __ATOMIC_ACQ_REL);
    }
    return way == PROCESSES ? weft_shared_barrier_leave((weft_shared_barrier *)p->thing) : 0;
}

CASE(test_barrier_rounds)
{
    for (int parties = 1; parties <= 5; parties += 2) {
        void *b = opened(BARRIER, parties);
        for (int i = 0; i < parties; i++)
            begin(come_often, b, parties);
        for (int i = 0; i < parties; i++)
            end(&board->peers[i], 0, 0);
        assert_int_equal(board->words[FIRSTS], kind->times);
        assert_int_equal(twin->waiting(b), 0);
        assert_false(twin->is_broken(b));
        closes(BARRIER, b);
    }
    assert_errno(twin->open(BARRIER, 0, 0), EINVAL);
}

// All meet, as good as new.
static void meets(void *b)
{
    assert_false(twin->is_broken(b));
    for (int i = 0; i < 3; i++)
        begin(make_call, b, MEET);
    until_waiting(b, 3);
    errno = 77;
    keeps_errno(twin->meet(b, weft_in_s(60)), 1);
    for (int i = 0; i < 3; i++)
        end(&board->peers[i], 0, 0);
}

CASE(test_barrier_breaks)
{
    void *b = opened(BARRIER, 4);
    for (int how = 0; how < 3; how++) { // too late, abort, reset
        peer *one = begin(make_call, b, MEET), *two = begin(make_call, b, MEET_SOON);
        until_waiting(b, 2);
        is_busy(BARRIER, b);
        if (how == 0)
            assert_errno(twin->meet(b, way == CONNECTIONS ? weft_in_ms(1600) : shortly()),
                         ETIMEDOUT);
        else
            assert_int_equal(how == 1 ? twin->abort(b) : twin->reset(b), 0);
        end(one, -1, EPIPE);
        end(two, -1, EPIPE);
        assert_int_equal(twin->is_broken(b), how < 2);
        if (how < 2)
            assert_errno(twin->meet(b, WEFT_FOREVER), EPIPE);
        assert_int_equal(twin->reset(b), 0);
        assert_int_equal(twin->waiting(b), 0);
        meets(b);
    }
    closes(BARRIER, b);
}

// One of the two times out at once when it comes first, and so breaks every other round.  Whoever
// met the other must hear so, however late it looks: 0 and 1 always come in pairs.
static ssize_t meet_impatiently(peer *p)
{
    for (int i = 0; i < kind->times * 3; i++) {
        int code = twin->meet(p->thing, i % 2 ? WEFT_NOW : weft_in_us(50));
        if (code < 0)
            twin->reset(p->thing);
        else
            __atomic_fetch_add(&board->words[code], 1, __ATOMIC_ACQ_REL);
    }
    return way == PROCESSES ? weft_shared_barrier_leave((weft_shared_barrier *)p->thing) : 0;
}

CASE(test_barrier_tells_each_its_own_round)
{
    NEEDS(has(PUNCTUAL));
    void *b = opened(BARRIER, 2);
    for (int i = 0; i < 3; i++)
        begin(meet_impatiently, b);
    for (int i = 0; i < 3; i++)
        end(&board->peers[i]);
    assert_int_equal(board->words[0], board->words[1]);
    closes(BARRIER, b);
}

// ---- Stop ----

static void stop_ends(enum what what, int n, enum call call)
{
    void *thing = opened(what, n);
    peer *p = begin_asleep(make_call, thing, call);
    stop_peer(p);
    end(p, -1, ECANCELED);
    closes(what, thing);
}

CASE(test_stop_ends_each_wait)
{
    NEEDS(way != PROCESSES);
    stop_ends(SEMAPHORE, 0, UNIT);
    stop_ends(EVENT, 0, AWAIT);
    stop_ends(BARRIER, 2, MEET);
}

RUN_ON_ALL_SYNC
