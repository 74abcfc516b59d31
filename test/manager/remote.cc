// Proxies in forks and tasklets, on both servers.
#include <weft/io.h>

#include "../async/inside.h"
#include "../twins/peers.h"

// ---- Forks ----

static weft_remote *inherited[2];

static int put_in_child(void *)
{
    for (int i = 0; i < 20; i++)
        if (weft_remote_queue_put(inherited[0], "child", 5, soon()) != 0)
            return 1;
    // The parent's lock is not the child's.
    return weft_remote_lock_unlock(inherited[1], soon()) == -1 && errno == EPERM ? 0 : 2;
}

CASE(test_fork)
{
    weft_client *c = client_of(&here);
    weft_remote_queue *q = inherited[0] = weft_remote_queue_open(c, "forked", 0);
    weft_remote_lock *l = inherited[1] = weft_remote_lock_open(c, "forked", 0);
    assert_int_equal(weft_remote_lock_lock(l, nullptr, soon()), 0);
    pid_t child = child_of(put_in_child, nullptr);
    for (int i = 0; i < 20; i++)
        assert_int_equal(weft_remote_queue_put(q, "parent", 6, soon()), 0);
    assert_int_equal(end_of(child), 0);
    assert_int_equal(weft_remote_queue_length(q, soon()), 40);
    assert_int_equal(weft_remote_lock_unlock(l, soon()), 0);
    weft_remote_destroy(q);
    weft_remote_destroy(l);
    weft_client_destroy(c);
}

// ---- Tasklets ----

enum { TASKLETS = 8, ITEMS = 50 };
static int put_failures, got_items, got_error;

static void *putter(void *)
{
    weft_client *c = weft_client_connect(here.address, here.password, soon());
    weft_remote_queue *q = weft_remote_queue_open(c, "tasklets", 3);
    for (int i = 0; i < ITEMS; i++)
        put_failures += weft_remote_queue_put(q, &i, sizeof i, soon()) != 0;
    weft_remote_destroy(q);
    weft_client_destroy(c);
    return nullptr;
}

static void *getter(void *)
{
    int item;
    weft_client *c = weft_client_connect(here.address, here.password, soon());
    weft_remote_queue *q = weft_remote_queue_open(c, "tasklets", 3);
    while (weft_remote_queue_get(q, &item, sizeof item, soon()) == (ssize_t)sizeof item)
        got_items++;
    got_error = errno;
    weft_remote_destroy(q);
    weft_client_destroy(c);
    return nullptr;
}

CASE(test_tasklets)
{
    put_failures = got_items = 0;
    inside([] {
        weft_tasklet *putters[TASKLETS], *getters[2];
        for (int i = 0; i < TASKLETS; i++)
            putters[i] = spawn(putter, nullptr, true);
        for (int i = 0; i < 2; i++)
            getters[i] = spawn(getter, nullptr, true);
        for (int i = 0; i < TASKLETS; i++)
            join(putters[i]);
        weft_remote_queue *q = weft_remote_queue_open(client_of(&here), "tasklets", 3);
        assert_int_equal(weft_remote_queue_close(q, WEFT_DRAIN, soon()), 0);
        for (int i = 0; i < 2; i++)
            join(getters[i]);
        done_with(q);
    });
    assert_int_equal(put_failures, 0);
    assert_int_equal(got_items, TASKLETS * ITEMS);
    assert_int_equal(got_error, EPIPE);
}

static int cancelled_error;
static bool about_to_wait;

// Waits for each kind of thing in turn, and is cancelled in it.
static void *wait_for_kind(void *arg)
{
    weft_client *c = weft_client_connect(here.address, here.password, soon());
    intptr_t kind = (intptr_t)arg;
    weft_remote *r = kind == 0   ? weft_remote_queue_open(c, "cancelled", 0)
                     : kind == 1 ? weft_remote_lock_open(c, "cancelled", 0)
                     : kind == 2 ? weft_remote_semaphore_open(c, "cancelled", 0, soon())
                     : kind == 3 ? weft_remote_event_open(c, "cancelled")
                                 : weft_remote_barrier_open(c, "cancelled", 2);
    __atomic_store_n(&about_to_wait, true, __ATOMIC_RELEASE);
    int result = kind == 0   ? -(weft_remote_queue_take(r, WEFT_FOREVER) == nullptr)
                 : kind == 1 ? weft_remote_lock_lock(r, nullptr, WEFT_FOREVER)
                 : kind == 2 ? weft_remote_semaphore_wait(r, WEFT_FOREVER)
                 : kind == 3 ? weft_remote_event_wait(r, WEFT_FOREVER)
                             : weft_remote_barrier_wait(r, WEFT_FOREVER);
    cancelled_error = result == -1 ? errno : 0;
    weft_remote_destroy(r);
    weft_client_destroy(c);
    return nullptr;
}

CASE(test_tasklet_cancelled)
{
    inside([] {
        weft_client *c = client_of(&here);
        weft_remote_lock *l = weft_remote_lock_open(c, "cancelled", 0);
        weft_remote_barrier *b = weft_remote_barrier_open(c, "cancelled", 2);
        assert_int_equal(weft_remote_lock_lock(l, nullptr, soon()), 0);
        for (intptr_t kind = 0; kind < 5; kind++) {
            cancelled_error = 0;
            about_to_wait = false;
            weft_tasklet *t = spawn(wait_for_kind, (void *)kind, true);
            while (!about_to_wait) // which it does before anybody else runs
                weft_tasklet_yield();
            tell(c, "PING"); // Redis has answered its first try then
            weft_tasklet_yield();
            while (kind == 4 && weft_remote_barrier_waiting(b, soon()) == 0)
                weft_tasklet_yield();
            weft_tasklet_cancel(t);
            join(t);
            assert_int_equal(cancelled_error, ECANCELED);
        }
        // Who was cancelled in a barrier broke it, as soon as the server or another one finds out.
        if (here.kind == WEFT_SERVER_REDIS)
            make_past(c, "weft:{cancelled}:waiting");
        for (weft_deadline d = soon(); weft_remote_barrier_waiting(b, soon()) != -1;) {
            assert_true(weft_left(d) > 0);
            weft_tasklet_sleep(weft_in_ms(1));
        }
        assert_int_equal(errno, EOWNERDEAD);
        assert_int_equal(weft_remote_lock_unlock(l, soon()), 0);
        weft_remote_destroy(l);
        weft_remote_destroy(b);
        weft_client_destroy(c);
    });
}

// A proxy that is in a call stays, as a client does.
static void *wait_on(void *event)
{
    cancelled_error = weft_remote_event_wait((weft_remote *)event, soon());
    return nullptr;
}

CASE(test_destroy_in_use)
{
    inside([] {
        weft_client *c = client_of(&here);
        weft_remote_event *e = weft_remote_event_open(c, "in use"),
                          *idle = weft_remote_event_open(c, "in use"),
                          *k = weft_remote_event_open(client_of(&here), "in use");
        cancelled_error = -1;
        weft_tasklet *t = spawn(wait_on, e, true);
        weft_tasklet_yield();
        assert_errno(weft_remote_destroy(e), EBUSY);
        assert_int_equal(weft_remote_destroy(idle), 0);
        assert_int_equal(weft_remote_event_set(k, soon()), 0);
        join(t);
        assert_int_equal(cancelled_error, 0);
        assert_int_equal(weft_remote_destroy(e), 0);
        assert_int_equal(weft_client_destroy(c), 0);
        done_with(k);
    });
}

// In a child nobody is in the call of a thread that stayed behind.
static int destroy_in_child(void *r)
{
    return weft_remote_destroy((weft_remote *)r) == 0 ? 0 : 1;
}

static ssize_t take_something(peer *p)
{
    weft_reply *r = weft_remote_queue_take((weft_remote *)p->thing, soon());
    weft_reply_free(r);
    return r != nullptr ? 0 : -1;
}

CASE(test_destroy_after_fork)
{
    weft_remote_queue *in = weft_remote_queue_open(client_of(&here), "left behind", 0);
    peer *p = begin_asleep(take_something, in);
    assert_errno(weft_remote_destroy((weft_remote *)p->thing), EBUSY);
    assert_int_equal(end_of(child_of(destroy_in_child, p->thing)), 0);
    assert_int_equal(weft_remote_queue_put(in, "x", 1, soon()), 0);
    end(p, 0, 0);
    done_with(in);
}

// A tasklet forks while another waits: the child's twin of that one leaves the connection alone.
static int twin_error, child_status;

static void *wait_and_tell(void *arg)
{
    weft_reply *r = weft_remote_queue_take((weft_remote *)arg, soon());
    twin_error = r != nullptr ? 0 : errno;
    weft_reply_free(r);
    return nullptr;
}

static int be_the_child(weft_remote_queue *q, weft_remote_queue *in, weft_tasklet *twin)
{
    alarm(60);
    if (weft_remote_queue_length(q, soon()) != -1 || errno != EBUSY)
        return 1; // the twin is in a call
    weft_tasklet_cancel(twin);
    if (weft_tasklet_join(twin, nullptr, soon()) != 0)
        return 2;
    if (twin_error != ECANCELED && twin_error != ECONNRESET)
        return 3;
    if (weft_remote_queue_put(in, "a", 1, soon()) != 0)
        return 4;
    return weft_remote_queue_put(q, "b", 1, soon()) == 0 ? 0 : 5;
}

CASE(test_tasklet_forks)
{
    if (RUNNER_TSAN)
        skip(); // it does not know the parent's coroutines in the child
    inside([] {
        weft_remote_queue *q = weft_remote_queue_open(client_of(&here), "twins", 0),
                          *in = weft_remote_queue_open(client_of(&here), "twins", 0);
        twin_error = -1;
        weft_tasklet *t = spawn(wait_and_tell, q, true);
        weft_tasklet_yield(); // which is in its call now
        pid_t child = fork();
        if (child == 0)
            _exit(be_the_child(q, in, t));
        join(t);
        assert_int_equal(twin_error, 0);
        assert_int_equal(waitpid(child, &child_status, 0), child);
        assert_int_equal(weft_remote_queue_length(in, soon()), 1);
        done_with(q);
        done_with(in);
    });
    assert_true(WIFEXITED(child_status));
    assert_int_equal(WEXITSTATUS(child_status), 0);
}

RUN_ON_BOTH_SERVERS
