// Locks, semaphores, events and barriers, on both servers.
#include "servers.h"

static bool on_redis(void)
{
    return here.kind == WEFT_SERVER_REDIS;
}

// ---- Locks ----

CASE(test_lock_excludes)
{
    weft_client *c = client_of(&here), *e = client_of(&here);
    weft_remote_lock *a = weft_remote_lock_open(c, "excludes", 0),
                     *b = weft_remote_lock_open(e, "excludes", 0);
    int64_t first = -1, second = -1;
    errno = 77;
    assert_int_equal(weft_remote_lock_lock(a, &first, soon()), 0);
    assert_int_equal(errno, 77);
    assert_errno(weft_remote_lock_lock(b, &second, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_remote_lock_lock(b, nullptr, weft_in_ms(20)), ETIMEDOUT);
    assert_errno(weft_remote_lock_unlock(b, soon()), EPERM);
    assert_errno(weft_remote_lock_lock(a, nullptr, soon()), EDEADLK);
    assert_int_equal(weft_remote_lock_renew(a, soon()), 0);
    assert_errno(weft_remote_lock_renew(b, soon()), EPERM);
    assert_int_equal(weft_remote_lock_unlock(a, soon()), 0);
    assert_errno(weft_remote_lock_unlock(a, soon()), EPERM);
    assert_errno(weft_remote_lock_renew(a, soon()), EPERM);
    assert_int_equal(weft_remote_lock_lock(b, &second, WEFT_NOW), 0);
    assert_true(second > first);
    assert_int_equal(weft_remote_lock_unlock(b, soon()), 0);
    assert_errno(weft_remote_lock_open(c, "x", 77), EINVAL);
    weft_remote_destroy(a);
    weft_remote_destroy(b);
    weft_client_destroy(c);
    weft_client_destroy(e);
}

CASE(test_lock_recursive)
{
    weft_client *c = client_of(&here), *e = client_of(&here);
    weft_remote_lock *a = weft_remote_lock_open(c, "recursive", WEFT_RECURSIVE),
                     *b = weft_remote_lock_open(e, "recursive", WEFT_RECURSIVE);
    int64_t first, again;
    assert_int_equal(weft_remote_lock_lock(a, &first, soon()), 0);
    assert_int_equal(weft_remote_lock_lock(a, &again, soon()), 0);
    assert_int_equal(first, again);
    assert_int_equal(weft_remote_lock_renew(a, soon()), 0);
    assert_int_equal(weft_remote_lock_unlock(a, soon()), 0);
    assert_errno(weft_remote_lock_lock(b, nullptr, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_remote_lock_unlock(a, soon()), 0);
    assert_int_equal(weft_remote_lock_lock(b, nullptr, WEFT_NOW), 0);
    weft_remote_destroy(a);
    weft_remote_destroy(b);
    weft_client_destroy(c);
    weft_client_destroy(e);
}

static int64_t lock_waiting(weft_client *c)
{
    int64_t token = -1;
    weft_remote_lock *l = weft_remote_lock_open(c, "handed", 0);
    int result = weft_remote_lock_lock(l, &token, soon());
    if (result == 0)
        result = weft_remote_lock_unlock(l, soon());
    weft_remote_destroy(l);
    return result == 0 ? token : -1;
}

CASE(test_lock_waits)
{
    weft_client *c = client_of(&here);
    weft_remote_lock *l = weft_remote_lock_open(c, "handed", 0);
    int64_t token;
    other o;
    assert_int_equal(weft_remote_lock_lock(l, &token, soon()), 0);
    begin_other(&o, lock_waiting);
    wait_until_waiting(&o);
    assert_int_equal(weft_remote_lock_unlock(l, soon()), 0);
    end_other(&o);
    assert_true(o.result > token);
    weft_remote_destroy(l);
    weft_client_destroy(c);
}

// What a dead holder had comes back: at once, or on Redis when its lease is over.
CASE(test_lock_of_the_dead)
{
    weft_client *c = client_of(&here), *keeper = client_of(&here);
    weft_remote_lock *l = weft_remote_lock_open(c, "handed", 0);
    int64_t token;
    other o;
    assert_int_equal(weft_remote_lock_lock(l, &token, soon()), 0);
    begin_other(&o, lock_waiting);
    wait_until_waiting(&o);
    if (on_redis()) {
        weft_reply *r;
        const char *const ttl[] = {"PTTL", "weft:{handed}:lock"};
        r = weft_client_command(keeper, 2, ttl, nullptr, soon());
        assert_in_range(r->integer, 1, WEFT_REMOTE_LEASE_MS);
        weft_reply_free(r);
        tell(keeper, "PEXPIRE", "weft:{handed}:lock", "1"); // as if it were over
    } else {
        shutdown(weft_client_fd(c), SHUT_RDWR);
    }
    end_other(&o);
    assert_true(o.result > token);
    if (!on_redis())
        assert_errno(weft_remote_lock_unlock(l, soon()), EPIPE);
    assert_errno(weft_remote_lock_unlock(l, soon()), EPERM);
    weft_remote_destroy(l);
    weft_client_destroy(c);
    weft_client_destroy(keeper);
}

enum { LOCKERS = 4, TIMES = 50 };
static int guarded; // no atomic: the lock guards it

static int64_t count_up(weft_client *c)
{
    weft_remote_lock *l = weft_remote_lock_open(c, "counts", 0);
    int64_t last = 0, failures = 0;
    for (int i = 0; i < TIMES; i++) {
        int64_t token = 0;
        failures += weft_remote_lock_lock(l, &token, soon()) != 0 || token <= last;
        last = token;
        int n = __atomic_load_n(&guarded, __ATOMIC_RELAXED);
        sched_yield();
        __atomic_store_n(&guarded, n + 1, __ATOMIC_RELAXED);
        failures += weft_remote_lock_unlock(l, soon()) != 0;
    }
    weft_remote_destroy(l);
    return failures;
}

CASE(test_lock_counts)
{
    other o[LOCKERS];
    guarded = 0;
    for (int i = 0; i < LOCKERS; i++)
        begin_other(&o[i], count_up);
    for (int i = 0; i < LOCKERS; i++) {
        end_other(&o[i]);
        assert_int_equal(o[i].result, 0);
    }
    assert_int_equal(guarded, LOCKERS * TIMES);
}

// ---- Semaphores ----

CASE(test_semaphore_units)
{
    weft_client *c = client_of(&here), *e = client_of(&here);
    weft_remote_semaphore *a = weft_remote_semaphore_open(c, "units", 2, soon()),
                          *b = weft_remote_semaphore_open(e, "units", 7, soon());
    assert_int_equal(weft_remote_semaphore_value(b, soon()), 2); // who comes first, makes it
    errno = 77;
    assert_int_equal(weft_remote_semaphore_wait(a, soon()), 0);
    assert_int_equal(weft_remote_semaphore_wait(a, WEFT_NOW), 0);
    assert_int_equal(errno, 77);
    assert_int_equal(weft_remote_semaphore_value(b, soon()), 0);
    assert_errno(weft_remote_semaphore_wait(b, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_remote_semaphore_wait(b, weft_in_ms(20)), ETIMEDOUT);
    assert_int_equal(weft_remote_semaphore_renew(a, soon()), 0);
    assert_errno(weft_remote_semaphore_renew(b, soon()), EPERM);
    assert_int_equal(weft_remote_semaphore_post(a, soon()), 0);
    assert_int_equal(weft_remote_semaphore_wait(b, soon()), 0);
    assert_int_equal(weft_remote_semaphore_post(b, soon()), 0);
    assert_int_equal(weft_remote_semaphore_post(a, soon()), 0);
    assert_int_equal(weft_remote_semaphore_value(a, soon()), 2);
    assert_int_equal(weft_remote_semaphore_post(b, soon()), 0); // it holds none: a new one
    assert_int_equal(weft_remote_semaphore_value(a, soon()), 3);
    weft_remote_destroy(a);
    weft_remote_destroy(b);
    weft_client_destroy(c);
    weft_client_destroy(e);
}

// The units of the dead come back, and they do not add new ones by giving back what they lost.
CASE(test_semaphore_of_the_dead)
{
    weft_client *c = client_of(&here), *keeper = client_of(&here);
    weft_remote_semaphore *s = weft_remote_semaphore_open(c, "dead", 3, soon()),
                          *k = weft_remote_semaphore_open(keeper, "dead", 3, soon());
    assert_int_equal(weft_remote_semaphore_wait(s, soon()), 0);
    assert_int_equal(weft_remote_semaphore_wait(s, soon()), 0);
    assert_int_equal(weft_remote_semaphore_value(k, soon()), 1);
    if (on_redis()) {
        make_past(keeper, "weft:{dead}:leases");
    } else {
        shutdown(weft_client_fd(c), SHUT_RDWR);
    }
    for (weft_deadline d = soon(); weft_remote_semaphore_value(k, soon()) != 3;)
        assert_true(weft_left(d) > 0);
    if (!on_redis()) {
        assert_errno(weft_remote_semaphore_value(s, soon()), EPIPE);
        assert_int_equal(weft_remote_semaphore_value(s, soon()), 3);
    }
    assert_errno(weft_remote_semaphore_renew(s, soon()), EPERM);
    assert_errno(weft_remote_semaphore_post(s, soon()), EPERM);
    assert_errno(weft_remote_semaphore_post(s, soon()), EPERM);
    assert_int_equal(weft_remote_semaphore_value(k, soon()), 3);
    assert_int_equal(weft_remote_semaphore_wait(s, soon()), 0);
    assert_int_equal(weft_remote_semaphore_post(s, soon()), 0);
    assert_int_equal(weft_remote_semaphore_value(k, soon()), 3);
    weft_remote_destroy(s);
    weft_remote_destroy(k);
    weft_client_destroy(c);
    weft_client_destroy(keeper);
}

// Nor does one who gives back as the first thing that he does on the new connection.
CASE(test_semaphore_post_connects)
{
    weft_client *c = client_of(&here), *keeper = client_of(&here);
    weft_remote_semaphore *s = weft_remote_semaphore_open(c, "anew", 2, soon()),
                          *k = weft_remote_semaphore_open(keeper, "anew", 2, soon());
    assert_int_equal(weft_remote_semaphore_wait(s, soon()), 0);
    shutdown(weft_client_fd(c), SHUT_RDWR);
    assert_errno(weft_remote_semaphore_post(s, soon()), EPIPE);
    assert_int_equal(weft_client_fd(c), -1);
    if (on_redis())
        assert_int_equal(weft_remote_semaphore_post(s, soon()), 0); // the lease is its own still
    else
        assert_errno(weft_remote_semaphore_post(s, soon()), EPERM);
    for (weft_deadline d = soon(); weft_remote_semaphore_value(k, soon()) != 2;)
        assert_true(weft_left(d) > 0);
    weft_remote_destroy(s);
    weft_remote_destroy(k);
    weft_client_destroy(c);
    weft_client_destroy(keeper);
}

// A child of fork does not have its parent's units.
static int post_in_child(void *s)
{
    return weft_remote_semaphore_post((weft_remote *)s, soon()) == -1 && errno == EPERM ? 0 : 1;
}

CASE(test_semaphore_after_fork)
{
    weft_client *c = client_of(&here);
    weft_remote_semaphore *s = weft_remote_semaphore_open(c, "forked", 2, soon());
    assert_int_equal(weft_remote_semaphore_wait(s, soon()), 0);
    assert_int_equal(end_of(child_of(post_in_child, s)), 0);
    assert_int_equal(weft_remote_semaphore_value(s, soon()), 1);
    assert_int_equal(weft_remote_semaphore_post(s, soon()), 0);
    assert_int_equal(weft_remote_semaphore_value(s, soon()), 2);
    weft_remote_destroy(s);
    weft_client_destroy(c);
}

// ---- Barriers ----

static int64_t come(weft_client *c)
{
    weft_remote_barrier *b = weft_remote_barrier_open(c, "barrier", 3);
    int result = weft_remote_barrier_wait(b, soon());
    int error = errno;
    weft_remote_destroy(b);
    errno = error;
    return result;
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
    other o[2];
    begin_other(&o[0], come);
    until_waiting(b, 1);
    assert_errno(weft_remote_barrier_wait(two, soon()), EINVAL);
    begin_other(&o[1], come);
    until_waiting(b, 2);
    assert_int_equal(weft_remote_barrier_wait(b, soon()), 1);
    for (int i = 0; i < 2; i++)
        end_other(&o[i]);
    weft_remote_destroy(b);
    weft_remote_destroy(two);
    weft_client_destroy(c);
}

// A connection that ends in it: on Redis the others find out that one does not ask any more.
CASE(test_barrier_of_the_dead)
{
    weft_client *c = client_of(&here);
    weft_remote_barrier *b = weft_remote_barrier_open(c, "barrier", 3);
    other living, dying;
    begin_other(&dying, come);
    until_waiting(b, 1);
    begin_other(&living, come);
    until_waiting(b, 2);
    shutdown(dying.fd, SHUT_RDWR);
    end_other(&dying);
    assert_int_equal(dying.error, EPIPE);
    if (on_redis())
        make_past(c, "weft:{barrier}:waiting");
    end_other(&living);
    assert_int_equal(living.result, -1);
    assert_int_equal(living.error, EOWNERDEAD);
    assert_errno(weft_remote_barrier_wait(b, soon()), EOWNERDEAD);
    assert_errno(weft_remote_barrier_waiting(b, soon()), EOWNERDEAD);
    assert_int_equal(weft_remote_barrier_reset(b, soon()), 0);
    assert_int_equal(weft_remote_barrier_waiting(b, soon()), 0);
    weft_remote_destroy(b);
    weft_client_destroy(c);
}

int main(void)
{
    return on_both_servers();
}
