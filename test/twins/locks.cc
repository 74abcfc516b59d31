// The cases that locks have in common, and the conditions of those that have any.
#include "sync_twins.h"

// ---- Locks ----

CASE(test_lock_excludes)
{
    void *l = opened(LOCK);
    assert_int_equal(by_other(l, LOCK_NOW), 0);
    errno = 77;
    keeps_errno(twin->lock(l, WEFT_FOREVER));
    assert_int_equal(by_other(l, LOCK_NOW), ETIMEDOUT);
    assert_int_equal(by_other(l, LOCK_SOON), ETIMEDOUT);
    assert_int_equal(by_other(l, LOCK_LATE), ETIMEDOUT);
    is_busy(LOCK, l);
    errno = 77;
    keeps_errno(twin->unlock(l));
    assert_int_equal(twin->lock(l, weft_in_s(30)), 0);
    assert_int_equal(twin->unlock(l), 0);
    closes(LOCK, l);
}

CASE(test_lock_wakes_sleeper)
{
    void *l = opened(LOCK);
    assert_int_equal(twin->lock(l, WEFT_NOW), 0);
    peer *p = begin(make_call, l, LOCK_FOREVER);
    if (!RUNNER_SANITIZED) // a build for TSan tries instead of sleeping
        let_it_sleep(p);
    assert_int_equal(twin->unlock(l), 0);
    end(p, 0, 0);
    closes(LOCK, l);
}

CASE(test_lock_recursive)
{
    void *l = opened(LOCK, WEFT_RECURSIVE);
    assert_int_equal(twin->lock(l, WEFT_FOREVER), 0);
    assert_int_equal(twin->lock(l, WEFT_NOW), 0);
    assert_int_equal(twin->lock(l, weft_in_s(30)), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(by_other(l, LOCK_NOW), ETIMEDOUT);
        assert_int_equal(twin->unlock(l), 0);
    }
    assert_int_equal(by_other(l, LOCK_NOW), 0);
    assert_errno(twin->unlock(l), EPERM);
    closes(LOCK, l);
}

CASE(test_lock_checked)
{
    void *l = opened(LOCK, WEFT_CHECKED);
    assert_errno(twin->unlock(l), EPERM);
    assert_int_equal(twin->lock(l, WEFT_FOREVER), 0);
    assert_errno(twin->lock(l, WEFT_FOREVER), EDEADLK);
    assert_int_equal(by_other(l, UNLOCK), EPERM);
    is_busy(LOCK, l);
    assert_int_equal(twin->unlock(l), 0);
    assert_errno(twin->unlock(l), EPERM);
    closes(LOCK, l);
}

// The lock guards it; a sanitizer for threads knows of no lock by a server.
static bool count(int *n)
{
    if (way == CONNECTIONS)
        __atomic_store_n(n, __atomic_load_n(n, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
    else
        *(volatile int *)n = *(volatile int *)n + 1;
    return true;
}

static ssize_t count_up(peer *p)
{
    return go_in_and_out(p, kind->times * 20, twin->lock, twin->unlock, count);
}

CASE(test_lock_guards)
{
    void *l = opened(LOCK);
    for (int i = 0; i < 8; i++)
        begin(count_up, l);
    for (int i = 0; i < 8; i++)
        end(&board->peers[i], 0, 0);
    assert_int_equal(board->words[0], 8 * 20 * kind->times);
    closes(LOCK, l);
}

// ---- Conditions ----

static void *condition; // beside a lock
enum { LETTERS, TAKEN };

static void *opened_both(int flags)
{
    void *l = opened(LOCK, flags);
    condition = twin->open(CONDITION, 0, 0);
    return l;
}

static void closes_both(void *l)
{
    closes(CONDITION, condition);
    closes(LOCK, l);
}

static ssize_t take_letter(peer *p)
{
    int *letters = &board->words[LETTERS], code = twin->lock(p->thing, WEFT_FOREVER);
    while (code == 0 && *letters == 0)
        code = twin->wait(condition, p->thing, WEFT_FOREVER);
    if (*letters > 0) {
        --*letters;
        board->words[TAKEN]++;
    }
    int error = errno;
    twin->unlock(p->thing);
    errno = error;
    return code;
}

static void put_letters(void *l, int n, int (*wake)(void *), bool inside)
{
    twin->lock(l, WEFT_FOREVER);
    board->words[LETTERS] += n;
    if (inside)
        wake(condition);
    twin->unlock(l);
    if (!inside)
        wake(condition);
}

CASE(test_condition_wakes)
{
    NEEDS(twin->wait);
    static const int flags[] = {0, 0, WEFT_RECURSIVE, WEFT_CHECKED};
    for (int i = 0; i < 4; i++) {
        void *l = opened_both(flags[i]);
        for (int k = 0; k < 4; k++)
            begin_asleep(take_letter, l);
        is_busy(CONDITION, condition);
        put_letters(l, 1, twin->signal, i > 0);
        put_letters(l, 3, twin->broadcast, i > 0);
        for (int k = 0; k < 4; k++)
            end(&board->peers[k], 0, 0);
        assert_int_equal(board->words[TAKEN], 4);
        closes_both(l);
    }
}

static int signal_two(void *c)
{
    return twin->signal_n(c, 2);
}

static int signal_many(void *c)
{
    return twin->signal_n(c, UINT32_MAX);
}

CASE(test_condition_wakes_some)
{
    NEEDS(twin->signal_n);
    void *l = opened_both(0);
    errno = 77;
    keeps_errno(twin->signal_n(condition, 3)); // nobody waits
    for (int k = 0; k < 5; k++)
        begin_asleep(take_letter, l);
    keeps_errno(twin->signal_n(condition, 0));
    put_letters(l, 2, signal_two, true);
    put_letters(l, 3, signal_many, false);
    for (int k = 0; k < 5; k++)
        end(&board->peers[k], 0, 0);
    assert_int_equal(board->words[TAKEN], 5);
    closes_both(l);
}

CASE(test_condition_deadline_has_lock_again)
{
    NEEDS(twin->wait);
    void *l = opened_both(WEFT_CHECKED);
    assert_errno(twin->wait(condition, l, WEFT_NOW), EPERM);
    assert_int_equal(twin->lock(l, WEFT_FOREVER), 0);
    assert_errno(twin->wait(condition, l, weft_in_ms(5)), ETIMEDOUT);
    assert_errno(twin->wait(condition, l, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(twin->unlock(l), 0); // ours again
    assert_errno(twin->wait(condition, l, WEFT_NOW), EPERM);
    closes_both(l);
}

// Two hand a ball to and fro; a lost wake-up hangs them.
static ssize_t play(peer *p)
{
    for (int i = 0; i < kind->times * 5; i++) {
        twin->lock(p->thing, WEFT_FOREVER);
        while (board->words[0] % 2 != p->call)
            twin->wait(condition, p->thing, WEFT_FOREVER);
        board->words[0]++;
        twin->unlock(p->thing);
        twin->signal(condition); // outside the lock, on purpose
    }
    return 0;
}

CASE(test_condition_loses_no_wakeup)
{
    NEEDS(twin->wait);
    void *l = opened_both(0);
    peer *a = begin(play, l, 0), *b = begin(play, l, 1);
    end(a, 0, 0);
    end(b, 0, 0);
    assert_int_equal(board->words[0], kind->times * 10);
    closes_both(l);
}

// ---- Stop ----

CASE(test_stop_ends_each_wait)
{
    NEEDS(way != PROCESSES);
    if (has(LOCKS_STOP)) {
        void *l = opened(LOCK);
        assert_int_equal(twin->lock(l, WEFT_NOW), 0);
        peer *p = begin_asleep(make_call, l, LOCK_FOREVER);
        stop_peer(p);
        end(p, -1, ECANCELED);
        closes(LOCK, l);
    }
    if (twin->wait != nullptr) {
        void *l = opened_both(0);
        peer *p = begin_asleep(take_letter, l);
        stop_peer(p);
        end(p, -1, ECANCELED);
        closes_both(l);
    }
}

RUN_ON_ALL_SYNC
