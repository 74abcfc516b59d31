// A client whose Redis fails over to a replica: its address leads to the new server, and calls go
// on.
#include "redis_nodes.h"

#include <weft/remote_jobs.h>

static char address[96]; // a link to the socket of who is in charge
static redis all[2];

static void lead_to(const redis *r)
{
    char fresh[96];
    snprintf(fresh, sizeof fresh, "%s/fresh", folder);
    assert_int_equal(symlink(r->socket, fresh), 0);
    assert_int_equal(rename(fresh, address + 5), 0);
}

// In another thread, on a connection of its own.
static void *come(void *)
{
    static int result;
    weft_client *c = weft_client_connect(address, nullptr, soon());
    weft_remote_barrier *b = weft_remote_barrier_open(c, "barrier", 2);
    result = weft_remote_barrier_wait(b, soon());
    weft_remote_destroy(b);
    weft_client_destroy(c);
    return &result;
}

CASE(test_failover)
{
    if (!has_redis())
        skip();
    redis *old = &all[0], *next = &all[1];
    begin_nodes(all, 2, false);
    snprintf(address, sizeof address, "unix:%s/current", folder);
    lead_to(old);
    tell(next->client, "REPLICAOF", "127.0.0.1", old->port);
    until_it_says(next, "INFO", "replication", "master_link_status:up");

    weft_client *c = weft_client_connect(address, nullptr, soon());
    weft_remote_value *v = weft_remote_value_open(c, "value");
    weft_remote_lock *l = weft_remote_lock_open(c, "lock", 0);
    weft_remote_semaphore *u = weft_remote_semaphore_open(c, "units", 2, soon());
    weft_remote_barrier *b = weft_remote_barrier_open(c, "barrier", 2);
    weft_remote_jobs *q = weft_remote_jobs_open(c, "jobs", nullptr);
    pthread_t other;
    void *came;
    int64_t n, id;
    assert_int_equal(weft_remote_value_add(v, 1, &n, soon()), 0);
    assert_int_equal(weft_remote_lock_lock(l, nullptr, soon()), 0);
    assert_int_equal(weft_remote_semaphore_wait(u, soon()), 0);
    assert_int_equal(weft_remote_jobs_put(q, "job", 3, nullptr, &id, soon()), 0);
    weft_remote_job *j = weft_remote_jobs_take(q, soon());
    assert_non_null(j);
    assert_int_equal(pthread_create(&other, nullptr, come, nullptr), 0);
    while (weft_remote_barrier_waiting(b, soon()) != 1)
        usleep(1000);
    static const char *const wait[] = {"WAIT", "1", "20000"};
    weft_reply_free(weft_client_command(c, 3, wait, nullptr, soon()));

    tell(next->client, "REPLICAOF", "NO", "ONE");
    tell(old->client, "REPLICAOF", "127.0.0.1", next->port);
    // Still a replica's; EAGAIN unless its time is over while it connects or asks once more.
    assert_int_equal(weft_remote_value_add(v, 1, &n, weft_in_ms(50)), -1);
    assert_true(errno == EAGAIN || errno == ENOTCONN || errno == ECONNRESET);
    lead_to(next);
    assert_int_equal(weft_remote_value_add(v, 1, &n, soon()), 0);
    assert_int_equal(n, 2);
    // Their leases went along, and who waits, waits there.
    assert_int_equal(weft_remote_lock_unlock(l, soon()), 0);
    assert_int_equal(weft_remote_semaphore_value(u, soon()), 1);
    assert_int_equal(weft_remote_semaphore_post(u, soon()), 0);
    assert_int_equal(weft_remote_jobs_done(q, id, j->token, nullptr, 0, soon()), 0);
    weft_remote_job_free(j);
    int last = weft_remote_barrier_wait(b, soon());
    pthread_join(other, &came);
    assert_int_equal(last + *(int *)came, 1);

    // And when it is killed, to one that was a replica until then.
    tell(old->client, "REPLICAOF", "NO", "ONE");
    kill_node(next);
    assert_errno(weft_remote_value_get(v, &n, weft_in_ms(100)), ENOTCONN);
    lead_to(old);
    assert_int_equal(weft_remote_value_get(v, &n, soon()), 0);
    assert_in_range(n, 1, 2);
    weft_remote *proxies[] = {v, l, u, b, q};
    for (weft_remote *each : proxies)
        weft_remote_destroy(each);
    weft_client_destroy(c);
    end_nodes(all, 2);
}

RUN_CASES(census_begin, census_end)
