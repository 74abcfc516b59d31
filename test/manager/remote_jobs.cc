// Jobs, on both servers.  What time does is waited for.
#include "../twins/peers.h"

#include <weft/remote_jobs.h>

static weft_remote_jobs *jobs_open(const char *name, weft_remote_jobs_options o = {})
{
    weft_remote_jobs *q = weft_remote_jobs_open(client_of(&here), name, &o);
    assert_non_null(q);
    return q;
}

static int64_t put(weft_remote_jobs *q, const char *text, weft_remote_job_options o = {})
{
    int64_t id = 0;
    assert_int_equal(weft_remote_jobs_put(q, text, strlen(text), &o, &id, soon()), 0);
    assert_true(id > 0);
    return id;
}

// Takes the job of that value; its token, and that is another's with `id`.
static int64_t take(weft_remote_jobs *q, const char *text, int64_t id = 0)
{
    weft_remote_job *j = weft_remote_jobs_take(q, soon());
    assert_non_null(j);
    assert_string_equal(j->value, text);
    assert_true(id == 0 || j->id == id);
    assert_int_equal(j->state, WEFT_JOB_RUNNING);
    int64_t token = j->token;
    weft_remote_job_free(j);
    return token;
}

static void done(weft_remote_jobs *q, int64_t id, int64_t token, const char *result = "")
{
    assert_int_equal(weft_remote_jobs_done(q, id, token, result, strlen(result), soon()), 0);
}

static void is_empty(weft_remote_jobs *q)
{
    assert_errno(weft_remote_jobs_take(q, WEFT_NOW), ETIMEDOUT);
}

static int state_of(weft_remote_jobs *q, int64_t id)
{
    weft_remote_job *j = weft_remote_jobs_get(q, id, soon());
    int state = j != nullptr ? j->state : 0;
    weft_remote_job_free(j);
    return state;
}

static void comes_to(weft_remote_jobs *q, int64_t id, int state)
{
    for (weft_deadline d = soon(); state_of(q, id) != state; usleep(2000))
        assert_true(weft_left(d) > 0);
}

static weft_remote_jobs_counters counted(weft_remote_jobs *q)
{
    weft_remote_jobs_counters s;
    assert_int_equal(weft_remote_jobs_statistics(q, &s, soon()), 0);
    return s;
}

static void outcome_is(weft_remote_jobs *q, int64_t id, int state, const char *outcome)
{
    weft_remote_job *j = weft_remote_jobs_get(q, id, soon());
    assert_non_null(j);
    assert_int_equal(j->state, state);
    assert_string_equal(j->outcome, outcome);
    assert_int_equal(j->outcome_size, strlen(outcome));
    weft_remote_job_free(j);
}

// ---- Order ----

CASE(test_jobs_order)
{
    weft_remote_jobs *q = jobs_open("order");
    weft_remote_job_options high = {}, low = {};
    high.priority = 7;
    low.priority = -7;
    errno = 77;
    int64_t l = put(q, "low", low), one = put(q, "one"), two = put(q, "two"),
            h = put(q, "high", high);
    assert_true(l < one && one < two && two < h);
    int64_t a = take(q, "high", h), b = take(q, "one", one), c = take(q, "two", two),
            e = take(q, "low", l);
    assert_true(a < b && b < c && c < e);
    assert_int_equal(errno, 77);
    is_empty(q);
    assert_out_of_time(weft_remote_jobs_take(q, shortly()));
    assert_int_equal(counted(q).running, 4);
    done(q, l, e);
    done(q, h, a);
    done(q, two, c);
    done(q, one, b);
    weft_remote_jobs_counters s = counted(q);
    assert_int_equal(s.running + s.waiting + s.delayed + s.dead, 0);
    assert_int_equal(s.done, 4);
    assert_int_equal(s.put, 4);
    assert_int_equal(s.taken, 4);
    assert_int_equal(s.ended, 4);
    assert_int_equal(s.failed + s.lost, 0);
    done_with(q);
}

// Many, and what is taken from the middle by time and removal leaves the rest in order.
CASE(test_jobs_many)
{
    enum { MANY = 300 };
    int64_t ids[MANY];
    weft_remote_jobs *q = jobs_open("many");
    for (int i = 0; i < MANY; i++) {
        weft_remote_job_options o = {};
        o.priority = i % 7;
        ids[i] = put(q, "job", o);
    }
    for (int i = 0; i < MANY; i += 3)
        assert_int_equal(weft_remote_jobs_remove(q, ids[i], soon()), 0);
    for (int priority = 6; priority >= 0; priority--)
        for (int i = 0; i < MANY; i++)
            if (i % 7 == priority && i % 3 != 0)
                take(q, "job", ids[i]);
    is_empty(q);
    done_with(q);
}

CASE(test_jobs_bytes)
{
    weft_remote_jobs *q = jobs_open("bytes");
    int64_t id;
    assert_int_equal(weft_remote_jobs_put(q, "a\0b\r\n", 5, nullptr, &id, soon()), 0);
    assert_int_equal(weft_remote_jobs_put(q, nullptr, 0, nullptr, nullptr, soon()), 0);
    weft_remote_job *j = weft_remote_jobs_take(q, soon());
    assert_int_equal(j->size, 5);
    assert_memory_equal(j->value, "a\0b\r\n", 6);
    assert_int_equal(weft_remote_jobs_done(q, id, j->token, "\0x", 2, soon()), 0);
    weft_remote_job_free(j);
    j = weft_remote_jobs_get(q, id, soon());
    assert_int_equal(j->outcome_size, 2);
    assert_memory_equal(j->outcome, "\0x", 2);
    weft_remote_job_free(j);
    j = weft_remote_jobs_take(q, soon());
    assert_int_equal(j->size, 0);
    weft_remote_job_free(j);
    weft_remote_job_free(nullptr);
    done_with(q);
}

CASE(test_jobs_key)
{
    weft_remote_jobs *q = jobs_open("key");
    weft_remote_job_options o = {};
    int64_t again = 0;
    o.key = "the one";
    int64_t id = put(q, "first", o);
    assert_int_equal(weft_remote_jobs_put(q, "second", 6, &o, &again, soon()), 1);
    assert_int_equal(again, id);
    done(q, id, take(q, "first"));
    assert_int_equal(weft_remote_jobs_put(q, "second", 6, &o, &again, soon()), 1);
    is_empty(q);
    assert_int_equal(weft_remote_jobs_remove(q, id, soon()), 0);
    assert_errno(weft_remote_jobs_remove(q, id, soon()), ENOENT);
    assert_true(put(q, "third", o) > id);
    weft_remote_job *j = weft_remote_jobs_take(q, soon());
    assert_string_equal(j->value, "third");
    assert_string_equal(j->key, "the one");
    weft_remote_job_free(j);
    done_with(q);
}

CASE(test_jobs_delay)
{
    weft_remote_jobs *q = jobs_open("delay");
    weft_remote_job_options o = {};
    o.delay_ns = 100000000;
    o.priority = 1;
    weft_deadline due = weft_in_ms(100);
    int64_t late = put(q, "late", o), now = put(q, "now");
    take(q, "now", now);
    assert_true(state_of(q, late) == WEFT_JOB_DELAYED || weft_left(due) == 0);
    take(q, "late", late); // waits for it
    assert_true(weft_left(due) == 0);
    done_with(q);
}

// ---- Ends ----

CASE(test_jobs_done)
{
    weft_remote_jobs *q = jobs_open("done");
    int64_t id = put(q, "job"), token = take(q, "job");
    assert_errno(weft_remote_jobs_done(q, id, token + 1, "", 0, soon()), EPERM);
    assert_errno(weft_remote_jobs_done(q, id + 1, token, "", 0, soon()), EPERM);
    assert_int_equal(weft_remote_jobs_heartbeat(q, id, token, 50, "half", soon()), 0);
    weft_remote_job *j = weft_remote_jobs_get(q, id, soon());
    assert_int_equal(j->state, WEFT_JOB_RUNNING);
    assert_int_equal(j->token, token);
    assert_int_equal(j->progress, 50);
    assert_string_equal(j->note, "half");
    char process[96];
    snprintf(process, sizeof process, ":%d", (int)getpid());
    assert_non_null(strstr(j->worker, process));
    assert_int_equal(j->tries, 1);
    assert_int_equal(j->retries, 3);
    assert_true(j->until_ns > j->since_ns);
    weft_remote_job_free(j);
    done(q, id, token, "the result");
    done(q, id, token, "said twice");
    outcome_is(q, id, WEFT_JOB_DONE, "the result");
    assert_errno(weft_remote_jobs_heartbeat(q, id, token, 0, nullptr, soon()), EPERM);
    assert_errno(weft_remote_jobs_fail(q, id, token, WEFT_JOB_AGAIN, "", soon()), EPERM);
    assert_int_equal(counted(q).ended, 1);
    done_with(q);
}

CASE(test_jobs_fail)
{
    weft_remote_jobs_options o = {};
    o.retries = 1;
    o.backoff_ns = -1;
    weft_remote_jobs *q = jobs_open("fail", o);
    int64_t id = put(q, "job"), first = take(q, "job");
    assert_int_equal(weft_remote_jobs_fail(q, id, first, WEFT_JOB_AGAIN, "no", soon()), 1);
    outcome_is(q, id, WEFT_JOB_WAITING, "no");
    int64_t second = take(q, "job", id);
    assert_true(second > first);
    assert_errno(weft_remote_jobs_done(q, id, first, "", 0, soon()), EPERM);
    assert_int_equal(weft_remote_jobs_fail(q, id, second, WEFT_JOB_UNDONE, "", soon()), 1);
    second = take(q, "job", id);
    assert_int_equal(weft_remote_jobs_fail(q, id, second, WEFT_JOB_AGAIN, "never", soon()), 0);
    outcome_is(q, id, WEFT_JOB_DEAD, "never");
    is_empty(q);
    weft_remote_job *dead = weft_remote_jobs_list(q, WEFT_JOB_DEAD, 0, 10, soon());
    assert_int_equal(dead->id, id);
    assert_null(dead->next);
    weft_remote_job_free(dead);
    assert_int_equal(weft_remote_jobs_retry(q, id, soon()), 1);
    assert_int_equal(weft_remote_jobs_retry(q, id, soon()), 0);
    second = take(q, "job", id);
    assert_int_equal(weft_remote_jobs_fail(q, id, second, WEFT_JOB_NEVER, "bad", soon()), 0);
    outcome_is(q, id, WEFT_JOB_DEAD, "bad");
    assert_int_equal(counted(q).failed, 3);
    assert_int_equal(counted(q).taken, 3); // not the one that was given back
    assert_int_equal(weft_remote_jobs_remove(q, id, soon()), 0);
    assert_errno(weft_remote_jobs_get(q, id, soon()), ENOENT);
    assert_errno(weft_remote_jobs_retry(q, id, soon()), ENOENT);
    done_with(q);
}

CASE(test_jobs_back_off)
{
    weft_remote_jobs_options o = {};
    o.backoff_ns = 40000000;
    weft_remote_jobs *q = jobs_open("back off", o);
    int64_t id = put(q, "job");
    for (int try_ = 0; try_ < 2; try_++) {
        int64_t token = take(q, "job", id);
        weft_deadline earliest = weft_in_ms(40 << try_);
        assert_int_equal(weft_remote_jobs_fail(q, id, token, WEFT_JOB_AGAIN, "", soon()), 1);
        take(q, "job", id);
        assert_true(weft_left(earliest) == 0);
        weft_remote_job *j = weft_remote_jobs_get(q, id, soon());
        assert_int_equal(weft_remote_jobs_fail(q, id, j->token, WEFT_JOB_UNDONE, "", soon()), 1);
        weft_remote_job_free(j);
    }
    done_with(q);
}

// ---- Leases ----

CASE(test_jobs_lease_ends)
{
    weft_remote_jobs_options o = {};
    o.lease_ns = 30000000;
    weft_remote_jobs *q = jobs_open("lease", o), *other = jobs_open("lease");
    int64_t id = put(q, "job"), first = take(q, "job"), second = take(other, "job", id);
    assert_true(second > first);
    assert_errno(weft_remote_jobs_done(q, id, first, "late", 4, soon()), EPERM);
    assert_errno(weft_remote_jobs_fail(q, id, first, WEFT_JOB_AGAIN, "late", soon()), EPERM);
    assert_errno(weft_remote_jobs_heartbeat(q, id, first, 1, "late", soon()), EPERM);
    done(other, id, second, "in time");
    outcome_is(q, id, WEFT_JOB_DONE, "in time");
    assert_int_equal(counted(q).lost, 1);
    done_with(q);
    done_with(other);
}

CASE(test_jobs_heartbeat)
{
    weft_remote_jobs *q = jobs_open("heartbeat");
    int64_t id = put(q, "job"), token = take(q, "job");
    weft_remote_job *before = weft_remote_jobs_get(q, id, soon());
    usleep(20000);
    assert_int_equal(weft_remote_jobs_heartbeat(q, id, token, 1, nullptr, soon()), 0);
    weft_remote_job *after = weft_remote_jobs_get(q, id, soon());
    assert_true(after->until_ns >= before->until_ns + 10000000);
    assert_true(after->since_ns - before->since_ns < 10000000); // it is known by two clocks
    weft_remote_job_free(before);
    weft_remote_job_free(after);
    done_with(q);
}

CASE(test_jobs_time_limit)
{
    weft_remote_job_options o = {};
    o.limit_ns = 50000000;
    o.retries = -1;
    weft_remote_jobs *q = jobs_open("limit");
    int64_t id = put(q, "job", o), token = take(q, "job");
    while (weft_remote_jobs_heartbeat(q, id, token, 0, nullptr, soon()) == 0)
        usleep(1000); // does not help
    assert_int_equal(errno, EPERM);
    comes_to(q, id, WEFT_JOB_DEAD);
    outcome_is(q, id, WEFT_JOB_DEAD, "out of time");
    done_with(q);
}

CASE(test_jobs_lost_too_often)
{
    weft_remote_jobs_options o = {};
    o.lease_ns = 10000000;
    o.retries = 1;
    weft_remote_jobs *q = jobs_open("too often", o);
    int64_t id = put(q, "job");
    take(q, "job", id);
    take(q, "job", id);
    comes_to(q, id, WEFT_JOB_DEAD);
    outcome_is(q, id, WEFT_JOB_DEAD, "the lease ended");
    assert_int_equal(counted(q).lost, 2);
    done_with(q);
}

CASE(test_jobs_tied)
{
    if (here.kind == WEFT_SERVER_REDIS)
        skip();
    weft_remote_jobs_options o = {};
    o.flags = WEFT_JOBS_TIED;
    weft_remote_jobs *q = jobs_open("tied", o), *other = jobs_open("tied");
    int64_t id = put(q, "job"), mine = put(q, "mine"), first = take(q, "job", id);
    done(q, mine, take(q, "mine", mine));
    cut(q);
    int64_t second = take(other, "job", id);
    assert_int_equal(state_of(other, mine), WEFT_JOB_DONE);
    while (weft_remote_jobs_done(q, id, first, "", 0, soon()) != 0 && errno != EPERM)
        ; // not sent, or it may have run
    assert_int_equal(errno, EPERM);
    done(other, id, second);
    done_with(q);
    done_with(other);
}

CASE(test_jobs_removed_while_running)
{
    weft_remote_jobs *q = jobs_open("removed");
    int64_t id = put(q, "job"), token = take(q, "job");
    assert_int_equal(weft_remote_jobs_remove(q, id, soon()), 0);
    assert_errno(weft_remote_jobs_done(q, id, token, "", 0, soon()), EPERM);
    done_with(q);
}

// ---- Waiting ----

static ssize_t take_one(peer *p)
{
    weft_remote_job *j = weft_remote_jobs_take((weft_remote *)p->thing, soon());
    ssize_t n = j != nullptr ? (ssize_t)j->size : -1;
    weft_remote_job_free(j);
    return n;
}

CASE(test_jobs_take_waits)
{
    weft_remote_jobs *q = jobs_open("waits");
    peer *a = begin_asleep(take_one, q), *b = begin_asleep(take_one, q);
    put(q, "1");
    if (here.kind == WEFT_SERVER_WEFT) { // first come first served
        end(a, 1, 0);
        put(q, "22");
        end(b, 2, 0);
    } else {
        put(q, "2");
        end(a, 1, 0);
        end(b, 1, 0);
    }
    is_empty(q);
    done_with(q);
}

CASE(test_jobs_pause)
{
    weft_remote_jobs *q = jobs_open("pause");
    put(q, "job");
    assert_int_equal(weft_remote_jobs_pause(q, true, soon()), 0);
    assert_true(counted(q).paused);
    is_empty(q);
    peer *p = begin_asleep(take_one, q);
    assert_int_equal(weft_remote_jobs_pause(q, false, soon()), 0);
    end(p, 3, 0);
    assert_false(counted(q).paused);
    done_with(q);
}

// A queue that is deleted: who waits for a job, or for one's end, is told so.
static ssize_t wait_two(peer *p);
static int64_t waited[2];

CASE(test_jobs_deleted)
{
    if (here.kind == WEFT_SERVER_REDIS)
        skip();
    weft_remote_jobs *q = jobs_open("deleted");
    weft_remote_job_options late = {};
    late.delay_ns = INT64_C(1000000000000);
    waited[0] = put(q, "a", late);
    waited[1] = put(q, "b", late);
    peer *taker = begin_asleep(take_one, q), *waiter = begin_asleep(wait_two, q);
    tell(weft_remote_client(q), "WEFT.DELETE", "JOBS", "deleted");
    end(taker, -1, EIDRM);
    end(waiter, -1, ENOENT);
    assert_int_equal(state_of(q, waited[0]), 0);
    done_with(q);
}

// A take whose answer comes too late has not cost the job a try.
CASE(test_jobs_late_take)
{
    weft_remote_jobs_options o = {};
    o.retries = -1;
    weft_remote_jobs *q = jobs_open("late", o);
    int64_t id = put(q, "a");
    kill(here.pid, SIGSTOP);
    assert_errno(weft_remote_jobs_take(q, weft_in_ms(20)), ECONNRESET);
    kill(here.pid, SIGCONT);
    assert_int_equal(counted(q).waiting, 1);
    weft_remote_job *j = weft_remote_jobs_take(q, soon());
    assert_non_null(j);
    assert_int_equal(j->id, id);
    assert_int_equal(j->tries, 1);
    done(q, id, j->token);
    weft_remote_job_free(j);
    done_with(q);
}

static ssize_t wait_two(peer *p)
{
    return weft_remote_jobs_wait((weft_remote *)p->thing, waited, 2, soon());
}

CASE(test_jobs_wait)
{
    weft_remote_jobs_options o = {};
    o.retries = -1;
    weft_remote_jobs *q = jobs_open("wait", o);
    int64_t a = waited[0] = put(q, "a"), b = waited[1] = put(q, "b");
    assert_errno(weft_remote_jobs_wait(q, waited, 2, WEFT_NOW), ETIMEDOUT);
    assert_out_of_time(weft_remote_jobs_wait(q, waited, 2, shortly()));
    peer *p = begin_asleep(wait_two, q);
    done(q, a, take(q, "a"));
    assert_errno(weft_remote_jobs_wait(q, waited, 2, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_remote_jobs_fail(q, b, take(q, "b"), WEFT_JOB_AGAIN, "", soon()), 0);
    end(p, 0, 0);
    assert_int_equal(weft_remote_jobs_wait(q, waited, 2, WEFT_NOW), 0);
    assert_int_equal(weft_remote_jobs_wait(q, nullptr, 0, WEFT_NOW), 0);
    int64_t unknown[] = {a, 5};
    assert_errno(weft_remote_jobs_wait(q, unknown, 2, soon()), ENOENT);
    done_with(q);
}

// More than a server takes at once.
CASE(test_jobs_wait_for_many)
{
    enum { MANY = 2500 };
    static int64_t ids[MANY];
    weft_remote_jobs *q = jobs_open("wait for many");
    for (int i = 0; i < MANY; i++) {
        ids[i] = put(q, "job");
        if (i != MANY - 1)
            done(q, ids[i], take(q, "job"));
    }
    assert_out_of_time(weft_remote_jobs_wait(q, ids, MANY, shortly()));
    assert_int_equal(weft_remote_jobs_wait(q, ids, MANY - 1, WEFT_NOW), 0);
    done(q, ids[MANY - 1], take(q, "job"));
    assert_int_equal(weft_remote_jobs_wait(q, ids, MANY, soon()), 0);
    done_with(q);
}

// One that goes while it is waited for.
CASE(test_jobs_wait_removed)
{
    weft_remote_jobs *q = jobs_open("wait removed");
    waited[0] = put(q, "a");
    waited[1] = put(q, "b");
    peer *p = begin_asleep(wait_two, q);
    assert_int_equal(weft_remote_jobs_remove(q, waited[1], soon()), 0);
    end(p, -1, ENOENT);
    done_with(q);
}

// ---- What is kept ----

CASE(test_jobs_keep)
{
    weft_remote_jobs_options few = {}, shortly = {};
    few.keep = 2;
    shortly.keep_ns = 20000000;
    weft_remote_jobs *q = jobs_open("keep", few);
    int64_t ids[4];
    for (int64_t &id : ids) {
        id = put(q, "job");
        done(q, id, take(q, "job"));
    }
    assert_int_equal(state_of(q, ids[0]), 0);
    assert_int_equal(state_of(q, ids[1]), 0);
    assert_int_equal(state_of(q, ids[2]), WEFT_JOB_DONE);
    assert_int_equal(state_of(q, ids[3]), WEFT_JOB_DONE);
    done_with(q);
    q = jobs_open("keep shortly", shortly);
    ids[0] = put(q, "job");
    done(q, ids[0], take(q, "job"));
    comes_to(q, ids[0], 0);
    done_with(q);
}

CASE(test_jobs_list)
{
    weft_remote_jobs *q = jobs_open("list");
    assert_errno(weft_remote_jobs_list(q, WEFT_JOB_WAITING, 0, 10, soon()), ENOENT);
    int64_t ids[5];
    for (int64_t &id : ids)
        id = put(q, "job");
    weft_remote_job *some = weft_remote_jobs_list(q, WEFT_JOB_WAITING, 0, 3, soon());
    assert_int_equal(some->id, ids[0]);
    assert_int_equal(some->next->id, ids[1]);
    assert_int_equal(some->next->next->id, ids[2]);
    assert_null(some->next->next->next);
    weft_remote_job_free(some);
    some = weft_remote_jobs_list(q, WEFT_JOB_WAITING, ids[2], 1000000, soon());
    assert_int_equal(some->id, ids[3]);
    assert_int_equal(some->next->id, ids[4]);
    weft_remote_job_free(some);
    assert_errno(weft_remote_jobs_list(q, WEFT_JOB_WAITING, ids[4], 10, soon()), ENOENT);
    assert_errno(weft_remote_jobs_list(q, WEFT_JOB_RUNNING, ids[4], 10, soon()), ENOENT);
    done_with(q);
}

// All goes, and who waits for it is told.
CASE(test_jobs_flushed)
{
    weft_remote_jobs *q = jobs_open("flushed");
    int64_t token = (put(q, "a"), take(q, "a"));
    waited[0] = put(q, "a");
    waited[1] = put(q, "b");
    peer *p = begin_asleep(wait_two, q);
    tell(weft_remote_client(q), "FLUSHALL");
    end(p, -1, ENOENT);
    assert_int_equal(state_of(q, waited[0]), 0);
    assert_errno(weft_remote_jobs_done(q, waited[0], token, "", 0, soon()), EPERM);
    is_empty(q);
    assert_int_equal(counted(q).put, 0);
    int64_t id = put(q, "again");
    assert_true(id > waited[1]);
    done(q, id, take(q, "again"));
    done_with(q);
}

// What the server has in use is what it was, when all jobs are forgotten.
static int64_t memory_of(weft_client *c)
{
    static const char *const words[] = {"INFO", "memory"};
    weft_reply *r = weft_client_command(c, 2, words, nullptr, soon());
    const char *at = strstr(r->text, "used_memory:");
    assert_non_null(at);
    int64_t bytes = atoll(at + strlen("used_memory:"));
    weft_reply_free(r);
    return bytes;
}

CASE(test_jobs_memory)
{
    enum { MANY = 3000 };
    if (here.kind == WEFT_SERVER_REDIS)
        skip();
    weft_remote_jobs_options o = {};
    o.keep_ns = 1000000;
    weft_remote_jobs *q = jobs_open("memory", o);
    weft_client *c = weft_remote_client(q);
    int64_t before = memory_of(c);
    for (int i = 0; i < MANY; i++) {
        weft_remote_job_options key = {};
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        key.key = text;
        int64_t id = put(q, text, key);
        if (i % 2 == 0)
            done(q, id, take(q, text, id), "result");
        else
            assert_int_equal(weft_remote_jobs_remove(q, id, soon()), 0);
    }
    for (weft_deadline d = soon(); counted(q).done > 0; usleep(2000))
        assert_true(weft_left(d) > 0);
    // The queue itself goes, too; tables and heaps keep a little room.  What earlier cases have
    // left may go meanwhile.
    int64_t after = memory_of(c);
    assert_true(after <= before + 65536);
    before = after < before ? after : before;
    for (int i = 0; i < MANY; i++)
        put(q, "a job of some length");
    assert_true(memory_of(c) > before + 65536);
    tell(c, "FLUSHALL");
    for (weft_deadline d = soon(); memory_of(c) > before + 65536; usleep(2000))
        assert_true(weft_left(d) > 0);
    done_with(q);
}

// When memory is full a job can end still, but with a short result; and no more are put.
CASE(test_jobs_full)
{
    if (here.kind == WEFT_SERVER_REDIS)
        skip();
    static char large[100000];
    static const char *const less[] = {"CONFIG", "SET", "maxmemory", "1"}, *const more[] = {
                                                                               "CONFIG", "SET",
                                                                               "maxmemory", "0"};
    weft_remote_jobs *q = jobs_open("full");
    weft_client *c = weft_remote_client(q);
    int64_t id = put(q, "job"), token = take(q, "job");
    weft_reply_free(weft_client_command(c, 4, less, nullptr, soon()));
    assert_errno(weft_remote_jobs_put(q, "", 0, nullptr, nullptr, soon()), ENOMEM);
    assert_errno(weft_remote_jobs_done(q, id, token, large, sizeof large, soon()), ENOMEM);
    assert_int_equal(weft_remote_jobs_heartbeat(q, id, token, 1, "going on", soon()), 0);
    done(q, id, token, "short");
    outcome_is(q, id, WEFT_JOB_DONE, "short");
    weft_reply_free(weft_client_command(c, 4, more, nullptr, soon()));
    put(q, "job");
    done_with(q);
}

// ---- Misuse ----

CASE(test_jobs_refuses)
{
    weft_client *c = client_of(&here);
    weft_remote_jobs_options bad[4] = {};
    bad[0].lease_ns = -1;
    bad[1].keep_ns = -1;
    bad[2].keep = SIZE_MAX;
    bad[3].flags = 2;
    for (const weft_remote_jobs_options &o : bad)
        assert_errno(weft_remote_jobs_open(c, "refuses", &o), EINVAL);
    assert_errno(weft_remote_jobs_open(nullptr, "refuses", nullptr), EINVAL);
    assert_errno(weft_remote_jobs_open(c, "", nullptr), EINVAL);
    weft_remote_jobs *q = weft_remote_jobs_open(c, "refuses", nullptr);
    weft_remote_lock *l = weft_remote_lock_open(c, "refuses", 0);
    weft_remote_job_options o = {};
    o.delay_ns = -1;
    assert_errno(weft_remote_jobs_put(q, "", 0, &o, nullptr, soon()), EINVAL);
    assert_errno(weft_remote_jobs_put(q, nullptr, 1, nullptr, nullptr, soon()), EINVAL);
    assert_errno(weft_remote_jobs_put(l, "", 0, nullptr, nullptr, soon()), EINVAL);
    assert_errno(weft_remote_jobs_take(l, soon()), EINVAL);
    assert_errno(weft_remote_jobs_take(nullptr, soon()), EINVAL);
    assert_errno(weft_remote_jobs_fail(q, 1, 1, 3, "", soon()), EINVAL);
    assert_errno(weft_remote_jobs_wait(q, nullptr, 1, soon()), EINVAL);
    assert_errno(weft_remote_jobs_list(q, 0, 0, 1, soon()), EINVAL);
    assert_errno(weft_remote_jobs_list(q, WEFT_JOB_DEAD, 0, 0, soon()), EINVAL);
    assert_errno(weft_remote_jobs_statistics(q, nullptr, soon()), EINVAL);
    assert_errno(weft_remote_jobs_get(q, 1, soon()), ENOENT);
    weft_remote_destroy(l);
    done_with(q);
}

CASE(test_jobs_text)
{
    char text[256];
    weft_remote_jobs_options o = {};
    o.lease_ns = 5000000000;
    weft_remote_jobs *q = jobs_open("by text", o);
    weft_remote_text(q, text, sizeof text);
    weft_remote_jobs *same = weft_remote_open(text, here.password, soon());
    assert_non_null(same);
    int64_t id = put(q, "job");
    take(same, "job", id);
    weft_remote_job *j = weft_remote_jobs_get(q, id, soon());
    assert_in_range((j->until_ns - j->since_ns) / 1000000, 4900, 5100);
    weft_remote_job_free(j);
    assert_int_equal(weft_remote_destroy(same), 0);
    done_with(q);
}

RUN_ON_BOTH_SERVERS
