// What locks, semaphores and barriers on a server alone have, on both servers; for the rest see
// test/twins.
#include "../twins/peers.h"

static bool on_redis(void)
{
    return here.kind == WEFT_SERVER_REDIS;
}

// ---- Locks ----

CASE(test_lock_tokens)
{
    static const int flags[] = {0, WEFT_RECURSIVE};
    for (int flag : flags) {
        weft_client *c = client_of(&here);
        weft_remote_lock *a = weft_remote_lock_open(c, flag ? "deep" : "flat", flag),
                         *b = weft_remote_lock_open(client_of(&here), flag ? "deep" : "flat", flag);
        int64_t first = -1, second = -1;
        assert_int_equal(weft_remote_lock_lock(a, &first, soon()), 0);
        if (flag) {
            assert_int_equal(weft_remote_lock_lock(a, &second, soon()), 0);
            assert_int_equal(second, first);
            assert_int_equal(weft_remote_lock_unlock(a, soon()), 0);
        }
        assert_errno(weft_remote_lock_lock(b, &second, WEFT_NOW), ETIMEDOUT);
        assert_int_equal(weft_remote_lock_renew(a, soon()), 0);
        assert_errno(weft_remote_lock_renew(b, soon()), EPERM);
        assert_int_equal(weft_remote_lock_unlock(a, soon()), 0);
        assert_errno(weft_remote_lock_renew(a, soon()), EPERM);
        assert_int_equal(weft_remote_lock_lock(b, &second, WEFT_NOW), 0);
        assert_true(second > first);
        assert_int_equal(weft_remote_lock_unlock(b, soon()), 0);
        assert_errno(weft_remote_lock_open(c, "x", 77), EINVAL);
        done_with(a);
        done_with(b);
    }
}

// The token, or -1.
static ssize_t lock_waiting(peer *p)
{
    int64_t token = -1;
    int result = weft_remote_lock_lock((weft_remote *)p->thing, &token, soon());
    if (result == 0)
        result = weft_remote_lock_unlock((weft_remote *)p->thing, soon());
    return result == 0 ? token : -1;
}

CASE(test_lock_waits)
{
    weft_remote_lock *l = weft_remote_lock_open(client_of(&here), "handed", 0);
    int64_t token;
    assert_int_equal(weft_remote_lock_lock(l, &token, soon()), 0);
    peer *p = begin_asleep(lock_waiting, l);
    assert_int_equal(weft_remote_lock_unlock(l, soon()), 0);
    end(p);
    assert_true(p->code > token);
    done_with(l);
}

// Deleted while somebody has it and another waits: both are told.
CASE(test_lock_that_is_deleted)
{
    if (on_redis())
        return;
    weft_client *keeper = client_of(&here);
    weft_remote_lock *l = weft_remote_lock_open(client_of(&here), "deleted", 0);
    assert_int_equal(weft_remote_lock_lock(l, nullptr, soon()), 0);
    peer *p = begin_asleep(lock_waiting, l);
    tell(keeper, "WEFT.DELETE", "LOCK", "deleted");
    end(p, -1, EIDRM);
    assert_errno(weft_remote_lock_unlock(l, soon()), EPERM);
    done_with(l);
    weft_client_destroy(keeper);
}

// What a dead holder had comes back: at once, or on Redis when its lease is over.
CASE(test_lock_of_the_dead)
{
    weft_client *keeper = client_of(&here);
    weft_remote_lock *l = weft_remote_lock_open(client_of(&here), "handed", 0);
    int64_t token;
    assert_int_equal(weft_remote_lock_lock(l, &token, soon()), 0);
    peer *p = begin_asleep(lock_waiting, l);
    if (on_redis()) {
        const char *const ttl[] = {"PTTL", "weft:{handed}:lock"};
        weft_reply *r = weft_client_command(keeper, 2, ttl, nullptr, soon());
        assert_in_range(r->integer, 1, WEFT_REMOTE_LEASE_NS / 1000000);
        weft_reply_free(r);
        tell(keeper, "PEXPIRE", "weft:{handed}:lock", "1"); // as if it were over
    } else {
        cut(l);
    }
    end(p);
    assert_true(p->code > token);
    assert_errno(weft_remote_lock_unlock(l, soon()), EPERM);
    done_with(l);
    weft_client_destroy(keeper);
}

enum { LOCKERS = 4, TIMES = 50 };
static int guarded; // no atomic: the lock guards it

static ssize_t count_up(peer *p)
{
    int64_t last = 0, failures = 0;
    for (int i = 0; i < TIMES; i++) {
        int64_t token = 0;
        failures +=
            weft_remote_lock_lock((weft_remote *)p->thing, &token, soon()) != 0 || token <= last;
        last = token;
        int n = __atomic_load_n(&guarded, __ATOMIC_RELAXED);
        sched_yield();
        __atomic_store_n(&guarded, n + 1, __ATOMIC_RELAXED);
        failures += weft_remote_lock_unlock((weft_remote *)p->thing, soon()) != 0;
    }
    return failures;
}

CASE(test_lock_counts)
{
    weft_remote_lock *l = weft_remote_lock_open(client_of(&here), "counts", 0);
    peer *p[LOCKERS];
    guarded = 0;
    for (peer *&each : p)
        each = begin(count_up, l);
    for (peer *each : p)
        end(each, 0, 0);
    assert_int_equal(guarded, LOCKERS * TIMES);
    done_with(l);
}

// ---- Semaphores ----

static void is_value(weft_remote_semaphore *s, ssize_t n)
{
    assert_int_equal(weft_remote_semaphore_value(s, soon()), n);
}

// Two proxies of one, on clients of their own.
static void two_semaphores(const char *name, uint32_t units, weft_remote_semaphore **a,
                           weft_remote_semaphore **b)
{
    *a = weft_remote_semaphore_open(client_of(&here), name, units, soon());
    *b = weft_remote_semaphore_open(client_of(&here), name, 7, soon()); // who is first, makes it
    is_value(*b, units);
    assert_int_equal(weft_remote_semaphore_wait(*a, soon()), 0);
}

static void await_value(weft_remote_semaphore *s, ssize_t n)
{
    for (weft_deadline d = soon(); weft_remote_semaphore_value(s, soon()) != n;)
        assert_true(weft_left(d) > 0);
}

CASE(test_semaphore_units)
{
    weft_remote_semaphore *a, *b;
    two_semaphores("units", 2, &a, &b);
    assert_int_equal(weft_remote_semaphore_wait(a, WEFT_NOW), 0);
    is_value(b, 0);
    assert_errno(weft_remote_semaphore_wait(b, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_remote_semaphore_renew(a, soon()), 0);
    assert_errno(weft_remote_semaphore_renew(b, soon()), EPERM);
    assert_int_equal(weft_remote_semaphore_post(a, soon()), 0);
    assert_int_equal(weft_remote_semaphore_wait(b, soon()), 0);
    assert_int_equal(weft_remote_semaphore_post(b, soon()), 0);
    assert_int_equal(weft_remote_semaphore_post(a, soon()), 0);
    is_value(a, 2);
    assert_int_equal(weft_remote_semaphore_post(b, soon()), 0); // it holds none: a new one
    is_value(a, 3);
    done_with(a);
    done_with(b);
}

// The units of the dead come back, and they do not add new ones by giving back what they lost.
CASE(test_semaphore_of_the_dead)
{
    weft_remote_semaphore *s, *k;
    two_semaphores("dead", 3, &s, &k);
    assert_int_equal(weft_remote_semaphore_wait(s, soon()), 0);
    is_value(k, 1);
    if (on_redis())
        make_past(weft_remote_client(k), "weft:{dead}:leases");
    else
        cut(s);
    await_value(k, 3);
    if (!on_redis())
        is_value(s, 3); // connected again
    assert_errno(weft_remote_semaphore_renew(s, soon()), EPERM);
    for (int i = 0; i < 2; i++)
        assert_errno(weft_remote_semaphore_post(s, soon()), EPERM);
    is_value(k, 3);
    assert_int_equal(weft_remote_semaphore_wait(s, soon()), 0);
    assert_int_equal(weft_remote_semaphore_post(s, soon()), 0);
    is_value(k, 3);
    done_with(s);
    done_with(k);
}

// Nor does one who gives back as the first thing that he does on the new connection.
CASE(test_semaphore_post_connects)
{
    weft_remote_semaphore *s, *k;
    two_semaphores("anew", 2, &s, &k);
    cut(s);
    if (on_redis())
        assert_int_equal(weft_remote_semaphore_post(s, soon()), 0); // the lease is its own still
    else
        assert_errno(weft_remote_semaphore_post(s, soon()), EPERM);
    await_value(k, 2);
    done_with(s);
    done_with(k);
}

// A child of fork does not have its parent's units.
static int post_in_child(void *s)
{
    return weft_remote_semaphore_post((weft_remote *)s, soon()) == -1 && errno == EPERM ? 0 : 1;
}

CASE(test_semaphore_after_fork)
{
    weft_remote_semaphore *s, *k;
    two_semaphores("forked", 2, &s, &k);
    assert_int_equal(end_of(child_of(post_in_child, s)), 0);
    is_value(k, 1);
    assert_int_equal(weft_remote_semaphore_post(s, soon()), 0);
    is_value(k, 2);
    done_with(s);
    done_with(k);
}

// ---- Barriers ----

static ssize_t come(peer *p)
{
    return weft_remote_barrier_wait((weft_remote *)p->thing, soon());
}

static void until_waiting(weft_remote_barrier *b, ssize_t n)
{
    for (weft_deadline d = soon(); weft_remote_barrier_waiting(b, soon()) != n; usleep(500))
        assert_true(weft_left(d) > 0);
}

CASE(test_barrier_parties)
{
    weft_client *c = client_of(&here);
    weft_remote_barrier *b = weft_remote_barrier_open(c, "barrier", 3),
                        *two = weft_remote_barrier_open(c, "barrier", 2);
    peer *p = begin(come, b);
    until_waiting(b, 1);
    assert_errno(weft_remote_barrier_wait(two, soon()), EINVAL);
    peer *q = begin(come, b);
    until_waiting(b, 2);
    assert_int_equal(weft_remote_barrier_wait(b, soon()), 1);
    end(p, 0, 0);
    end(q, 0, 0);
    assert_int_equal(weft_remote_barrier_abort(b, soon()), 0);
    assert_errno(weft_remote_barrier_waiting(b, soon()), EPIPE);
    assert_int_equal(weft_remote_barrier_reset(b, soon()), 0);
    weft_remote_destroy(two);
    done_with(b);
}

// A connection that ends in it: on Redis the others find out that one does not ask any more.
CASE(test_barrier_of_the_dead)
{
    weft_remote_barrier *b = weft_remote_barrier_open(client_of(&here), "barrier", 3);
    peer *dying = begin(come, b);
    until_waiting(b, 1);
    peer *living = begin(come, b);
    until_waiting(b, 2);
    if (on_redis()) { // where a connection that is made again is as good
        stop_peer(dying);
        end(dying, -1, ECANCELED);
        make_past(weft_remote_client(b), "weft:{barrier}:waiting");
    } else {
        shutdown(dying->socket, SHUT_RDWR);
        end(dying, -1, ECONNRESET);
    }
    end(living, -1, EOWNERDEAD);
    assert_errno(weft_remote_barrier_wait(b, soon()), EOWNERDEAD);
    assert_errno(weft_remote_barrier_waiting(b, soon()), EOWNERDEAD);
    assert_int_equal(weft_remote_barrier_reset(b, soon()), 0);
    assert_int_equal(weft_remote_barrier_waiting(b, soon()), 0);
    done_with(b);
}

RUN_ON_BOTH_SERVERS
