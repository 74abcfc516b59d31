// Many jobs in the server: no round of its loop does much of what befalls all of them at once, and
// the first is always the one whose turn it is.
#include "inside.h"

#include <manager/server/job.h>

using namespace weft;

enum { MANY = 200000, PART = MANY / 2 };

static const word name = {"jobs", 4}, no_key = {"", 0}, value = {"value", 5};

static job_queue *open_queue(void)
{
    inside_open();
    job_queue *q = jobs_open(&inside, &name);
    q->keep = 2 * MANY;
    return q;
}

static job *new_job(job_queue *q, int state, int64_t due)
{
    job *j = job_new(q, &value, &no_key);
    j->retries = 1;
    j->keep_ms = 1000000;
    job_move(j, state, due);
    return j;
}

// Rounds until none is in that state: many of them.
static void until_none(const job_queue *q, int state)
{
    size_t rounds = 0, last;
    for (; (last = q->counts[state]) > 0; rounds++) {
        inside_round();
        assert_true(last - q->counts[state] < PART);
    }
    assert_true(rounds > 4);
}

// Many in that state, which are due.
static job_queue *open_due(int state)
{
    job_queue *q = open_queue();
    int64_t due = weft_now() + 50000000;
    for (int i = 0; i < MANY; i++)
        new_job(q, state, due);
    while (weft_now() < due)
        usleep(1000);
    return q;
}

static void all_at_once(int from, int to)
{
    job_queue *q = open_due(from);
    until_none(q, from);
    if (to != 0)
        assert_int_equal(q->counts[to], MANY);
    inside_close();
}

CASE(test_delays_end_together)
{
    all_at_once(WEFT_JOB_DELAYED, WEFT_JOB_WAITING);
}

CASE(test_leases_end_together)
{
    all_at_once(WEFT_JOB_RUNNING, WEFT_JOB_WAITING);
}

// The last goes with the queue, which nobody knows then.
CASE(test_results_go_together)
{
    open_due(WEFT_JOB_DONE);
    size_t rounds = 0, full = bytes_in_use;
    for (size_t last = full; inside.places.count > 0; last = bytes_in_use, rounds++) {
        inside_round();
        assert_true(last < bytes_in_use + full / 2); // a table that shrinks has two at first
    }
    assert_true(rounds > 4);
    inside_close();
}

CASE(test_removed)
{
    job_queue *q = open_queue();
    for (int i = 0; i < MANY; i++)
        new_job(q, i % 2 == 0 ? WEFT_JOB_WAITING : WEFT_JOB_RUNNING, weft_now() + 10000000000000);
    size_t full = bytes_in_use, rounds = 0;
    jobs_remove(&inside, q->place);
    assert_null(jobs_find(&inside, &name)->by_id.buckets[0]);
    for (size_t last = full; inside.works != nullptr; last = bytes_in_use, rounds++) {
        inside_round();
        assert_true(last < bytes_in_use + full / 2); // a table that shrinks has two at first
    }
    assert_true(rounds > 4);
    assert_true(bytes_in_use < full / 100);
    inside_close();
}

// A connection that had many on lease.
CASE(test_tied_together)
{
    peer p = {};
    job_queue *q = open_queue();
    p.server = &inside;
    list_init(&p.jobs);
    for (int i = 0; i < MANY; i++)
        job_lease(new_job(q, WEFT_JOB_WAITING, 0), &p, 1000000, true);
    assert_int_equal(q->counts[WEFT_JOB_RUNNING], MANY);
    jobs_release(&p);
    assert_int_equal(q->counts[WEFT_JOB_RUNNING], MANY);
    until_none(q, WEFT_JOB_RUNNING);
    assert_int_equal(q->counts[WEFT_JOB_WAITING], MANY);
    assert_int_equal(q->lost, MANY);
    inside_close();
}

// ---- Whose turn it is ----

enum { AT_ONCE = 300, STEPS = 100000 };

static const job *first_by_hand(const job_queue *q)
{
    const job *first = nullptr, *ring = &q->rings[WEFT_JOB_WAITING];
    for (const job *j = ring->next; j != ring; j = j->next)
        if (first == nullptr || j->priority > first->priority ||
            (j->priority == first->priority && j->id < first->id))
            first = j;
    return first;
}

static job *any(job_queue *q, int state, unsigned *seed)
{
    job *ring = &q->rings[state], *j = ring->next;
    for (int n = q->counts[state] > 0 ? rand_r(seed) % (int)q->counts[state] : 0; n > 0; n--)
        j = j->next;
    return j != ring ? j : nullptr;
}

static void step(job_queue *q, unsigned *seed)
{
    int what = rand_r(seed) % 8, state = 1 + rand_r(seed) % WEFT_JOB_DEAD;
    int64_t later = weft_now() + 1000000000000 + rand_r(seed) % 1000;
    job *j = any(q, state, seed);
    if (what < 3 && q->by_id.count < AT_ONCE) {
        j = job_new(q, &value, &no_key);
        j->priority = what == 0 ? rand_r(seed) % 4 : 0;
        job_move(j, what == 1 ? WEFT_JOB_DELAYED : WEFT_JOB_WAITING, later);
    } else if (what < 5 && job_first(q) != nullptr) {
        peer p = {};
        job_lease(job_first(q), &p, 1000000 + rand_r(seed) % 1000, false);
    } else if (j != nullptr && what == 5 && state == WEFT_JOB_RUNNING) {
        job_extend(j, 1000000 + rand_r(seed) % 1000);
    } else if (j != nullptr && what == 6) {
        job_move(j, 1 + rand_r(seed) % WEFT_JOB_DEAD, later);
    } else if (j != nullptr && q->by_id.count > 1) {
        job_forget(j);
    }
}

CASE(test_turns)
{
    unsigned seed = 11;
    job_queue *q = open_queue();
    for (int i = 0; i < STEPS; i++) {
        step(q, &seed);
        assert_ptr_equal(job_first(q), first_by_hand(q));
        size_t all = 0;
        for (size_t count : q->counts)
            all += count;
        assert_int_equal(all, q->by_id.count);
    }
    inside_close();
}

RUN_CASES()
