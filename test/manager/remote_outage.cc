// Servers that are away for some seconds, or are killed and have kept what they said: what becomes
// of locks, units, barriers and leases.
#include "../twins/peers.h"

#include <weft/remote_jobs.h>

#include <poll.h>

// For longer than a barrier on Redis waits for one that does not ask.
static const int STOPPED_MS = 5500;

static const int64_t SHORT_LEASE = 1000000000, LONG_LEASE = 60000000000; // ns

static ssize_t lock_it(peer *p)
{
    return weft_remote_lock_lock((weft_remote *)p->thing, nullptr, soon());
}

static ssize_t take_unit(peer *p)
{
    return weft_remote_semaphore_wait((weft_remote *)p->thing, soon());
}

static ssize_t await_event(peer *p)
{
    return weft_remote_event_wait((weft_remote *)p->thing, soon());
}

static ssize_t come(peer *p)
{
    return weft_remote_barrier_wait((weft_remote *)p->thing, soon());
}

static ssize_t get_item(peer *p)
{
    char item[8];
    return weft_remote_queue_get((weft_remote *)p->thing, item, sizeof item, soon());
}

namespace {
// A queue with one job, which is taken.
struct leased {
    weft_remote_jobs *q;
    int64_t id, token;
};
} // namespace

static leased lease(weft_client *c, const char *name, int64_t lease_ns)
{
    leased job = {};
    weft_remote_jobs_options o = {};
    o.lease_ns = lease_ns;
    job.q = weft_remote_jobs_open(c, name, &o);
    assert_int_equal(weft_remote_jobs_put(job.q, "job", 3, nullptr, &job.id, soon()), 0);
    weft_remote_job *j = weft_remote_jobs_take(job.q, soon());
    assert_non_null(j);
    job.token = j->token;
    weft_remote_job_free(j);
    return job;
}

// The lease goes on.
static void is_leased(leased *job)
{
    assert_int_equal(weft_remote_jobs_heartbeat(job->q, job->id, job->token, 1, nullptr, soon()),
                     0);
    assert_int_equal(weft_remote_jobs_done(job->q, job->id, job->token, nullptr, 0, soon()), 0);
}

// It is over, and the next has the job.
static void is_over(leased *job)
{
    assert_errno(weft_remote_jobs_done(job->q, job->id, job->token, nullptr, 0, soon()), EPERM);
    weft_remote_job *j = weft_remote_jobs_take(job->q, soon());
    assert_non_null(j);
    assert_int_equal(j->id, job->id);
    assert_int_equal(j->tries, 2);
    assert_true(j->token > job->token);
    weft_remote_job_free(j);
}

// Who waits goes on waiting; what is held stays held, but for a lease that was shorter.
CASE(test_stopped_for_seconds)
{
    weft_client *c = client_of(&here);
    weft_remote_lock *l = weft_remote_lock_open(c, "lock", 0);
    weft_remote_semaphore *s = weft_remote_semaphore_open(c, "units", 1, soon());
    weft_remote_event *e = weft_remote_event_open(c, "event");
    weft_remote_barrier *b = weft_remote_barrier_open(c, "barrier", 3);
    weft_remote_queue *q = weft_remote_queue_open(c, "queue", 0);
    leased slow = lease(c, "slow", LONG_LEASE), quick = lease(c, "quick", SHORT_LEASE);
    assert_int_equal(weft_remote_lock_lock(l, nullptr, soon()), 0);
    assert_int_equal(weft_remote_semaphore_wait(s, soon()), 0);
    begin_case();
    peer *locker = begin(lock_it, l), *taker = begin(take_unit, s), *waiter = begin(await_event, e),
         *getter = begin(get_item, q), *first = begin(come, b), *second = begin(come, b);
    while (weft_remote_barrier_waiting(b, soon()) != 2)
        usleep(1000);
    let_it_sleep(getter);

    kill(here.pid, SIGSTOP);
    poll(nullptr, 0, STOPPED_MS);
    kill(here.pid, SIGCONT);

    ssize_t last = weft_remote_barrier_wait(b, soon());
    end(first);
    end(second);
    assert_in_range(last, 0, 1);
    assert_in_range(first->code, 0, 1);
    assert_in_range(second->code, 0, 1);
    assert_int_equal(last + first->code + second->code, 1);
    assert_int_equal(weft_remote_lock_renew(l, soon()), 0);
    assert_int_equal(weft_remote_lock_unlock(l, soon()), 0);
    end(locker, 0, 0);
    assert_int_equal(weft_remote_semaphore_renew(s, soon()), 0);
    assert_int_equal(weft_remote_semaphore_post(s, soon()), 0);
    end(taker, 0, 0);
    assert_int_equal(weft_remote_event_set(e, soon()), 0);
    end(waiter, 0, 0);
    assert_int_equal(weft_remote_queue_put(q, "item", 4, soon()), 0);
    end(getter, 4, 0);
    is_leased(&slow);
    is_over(&quick);
    weft_remote *all[] = {l, s, e, b, q, slow.q, quick.q};
    for (weft_remote *each : all)
        weft_remote_destroy(each);
    assert_int_equal(weft_client_destroy(c), 0);
}

// Who died in a barrier, with nobody there to see it, is not taken for one of those who have come.
CASE(test_died_alone_in_barrier)
{
    weft_remote_barrier *b = weft_remote_barrier_open(client_of(&here), "mourning", 2);
    peer *dying = begin(come, b);
    while (weft_remote_barrier_waiting(b, soon()) != 1)
        usleep(1000);
    stop_peer(dying);
    end(dying, -1, ECANCELED);
    poll(nullptr, 0, 1200);
    assert_errno(weft_remote_barrier_wait(b, soon()), EOWNERDEAD);
    done_with(b);
}

// A Redis that writes what it says knows locks, units and leases when it is there again.
CASE(test_killed_and_durable)
{
    server mine = {};
    mine.kind = here.kind;
    mine.durable = true;
    if (here.kind != WEFT_SERVER_REDIS)
        return; // which keeps nothing (remote_server.cc)
    start_server(&mine);
    weft_client *c = client_of(&mine);
    weft_remote_lock *l = weft_remote_lock_open(c, "lock", 0);
    weft_remote_semaphore *s = weft_remote_semaphore_open(c, "units", 2, soon());
    leased job = lease(c, "jobs", LONG_LEASE);
    int64_t token, next;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(weft_remote_lock_lock(l, &token, soon()), 0);
        assert_int_equal(weft_remote_semaphore_wait(s, soon()), 0);
        kill_server(&mine);
        start_server(&mine);
        assert_int_equal(weft_remote_lock_renew(l, soon()), 0);
        assert_int_equal(weft_remote_lock_unlock(l, soon()), 0);
        assert_int_equal(weft_remote_semaphore_value(s, soon()), 1);
        assert_int_equal(weft_remote_semaphore_post(s, soon()), 0);
        assert_int_equal(weft_remote_lock_lock(l, &next, soon()), 0);
        assert_true(next > token);
        assert_int_equal(weft_remote_lock_unlock(l, soon()), 0);
    }
    is_leased(&job);
    weft_remote_destroy(l);
    weft_remote_destroy(s);
    weft_remote_destroy(job.q);
    assert_int_equal(weft_client_destroy(c), 0);
    end_server(&mine);
}

RUN_ON_BOTH_SERVERS
