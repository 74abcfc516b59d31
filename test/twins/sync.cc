// The cases that locks, conditions, semaphores, events and barriers of threads, of processes and of
// servers' clients have in common.
#include "sync_twins.h"

// These tests unlock what they don't own, and lock in any order, on purpose.
extern "C" const char *__tsan_default_options(void)
{
    return "report_mutex_bugs=0:report_destroy_locked=0:detect_deadlocks=0";
}

static void *opened(enum what what, int n = 0, int limit = 0)
{
    begin_case();
    void *thing = twin->open(what, n, limit);
    assert_non_null(thing);
    return thing;
}

static void closes(enum what what, void *thing)
{
    assert_int_equal(twin->close(what, thing), 0);
}

// It cannot be closed now.
static void is_busy(enum what what, void *thing)
{
    if (has(SAYS_BUSY))
        assert_errno(twin->close(what, thing), EBUSY);
}

enum call { LOCK_LATE, LOCK_NOW, LOCK_SOON, LOCK_FOREVER, UNLOCK, UNIT, AWAIT, MEET, MEET_SOON };

static int lock_until(void *l, weft_deadline d)
{
    return twin->lock(l, d) == 0 ? twin->unlock(l) : -1;
}

// Whose process ends is to be missed by nobody.
static int meet_and_leave(void *b, weft_deadline d)
{
    int code = twin->meet(b, d), error = errno;
    if (way == PROCESSES)
        weft_shared_barrier_leave((weft_shared_barrier *)b);
    errno = error;
    return code;
}

static ssize_t make_call(peer *p)
{
    switch (p->call) {
    case LOCK_LATE:
        return lock_until(p->thing, -5);
    case LOCK_NOW:
        return lock_until(p->thing, WEFT_NOW);
    case LOCK_SOON:
        return lock_until(p->thing, weft_in_ms(5));
    case LOCK_FOREVER:
        return lock_until(p->thing, WEFT_FOREVER);
    case UNLOCK:
        return twin->unlock(p->thing);
    case UNIT:
        return twin->acquire(p->thing, WEFT_FOREVER) == 0 ? twin->post(p->thing) : -1;
    case AWAIT:
        return twin->await(p->thing, WEFT_FOREVER);
    default:
        return meet_and_leave(p->thing, p->call == MEET ? WEFT_FOREVER : weft_in_s(60));
    }
}

// How a call ends that another makes: its errno.
static int by_other(void *thing, enum call call)
{
    peer *p = begin(make_call, thing, call);
    end(p);
    return p->code == -1 ? p->error : 0;
}

// Both deadlines pass, and the later one is waited for.
static void times_out(int (*call)(void *thing, weft_deadline d), void *thing)
{
    assert_errno(call(thing, WEFT_NOW), ETIMEDOUT);
    weft_deadline d = weft_in_ms(5);
    assert_errno(call(thing, d), ETIMEDOUT);
    assert_true(weft_now() >= d);
}

static void keeps_errno(int code, int expected = 0)
{
    assert_int_equal(code, expected);
    assert_int_equal(errno, 77);
}

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

// Goes in and out, in which time it looks at the word.
static ssize_t go_in_and_out(peer *p, int n, int (*in)(void *thing, weft_deadline d),
                             int (*out)(void *thing), bool (*is_well)(int *word))
{
    for (int i = 0; i < n; i++) {
        if (in(p->thing, i % 3 ? WEFT_FOREVER : weft_in_s(60)) != 0)
            return 1;
        if (!is_well(&board->words[0]))
            return 2;
        if (out(p->thing) != 0)
            return 3;
    }
    return 0;
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
            assert_errno(twin->meet(b, weft_in_ms(5)), ETIMEDOUT);
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

CASE(test_stop_ends_each_wait)
{
    NEEDS(way != PROCESSES);
    static const struct {
        enum what what;
        enum call call;
        int n;
    } waits[] = {
        {SEMAPHORE, UNIT, 0}, {EVENT, AWAIT, 0}, {BARRIER, MEET, 2}, {LOCK, LOCK_FOREVER, 0}};
    for (int i = 0; i < (has(LOCKS_STOP) ? 4 : 3); i++) {
        void *thing = opened(waits[i].what, waits[i].n);
        if (waits[i].what == LOCK)
            assert_int_equal(twin->lock(thing, WEFT_NOW), 0);
        peer *p = begin_asleep(make_call, thing, waits[i].call);
        stop_peer(p);
        end(p, -1, ECANCELED);
        closes(waits[i].what, thing);
    }
    if (twin->wait != nullptr) {
        void *l = opened_both(0);
        peer *p = begin_asleep(take_letter, l);
        stop_peer(p);
        end(p, -1, ECANCELED);
        closes_both(l);
    }
}

int main(void)
{
    int failed = 0;
    for (const sync_kind &each : kinds)
        failed += run_sync(&each, each.kin.name);
    return failed + with_both_servers([](const char *on) {
               return run_sync(&remote_kind, name_on("remote", on));
           });
}
