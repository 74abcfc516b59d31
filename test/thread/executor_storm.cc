// Everything at once on one executor, counted exactly: each task that was accepted has run or was
// cancelled, once.
#include "asleep.h"
#include "closing.h"

#include <weft/executor.h>
#include <weft/thread.h>

#include <errno.h>

enum { OUTSIDE = 3, EACH = RUNNER_SANITIZED ? 400 : 2000, ROUNDS = 8, DEPTH = 3 };

typedef struct storm {
    weft_executor *ex;
    int accepted, ran, refused, cancelled, done, failed; // atomic
    int busy;                                            // atomic: threads outside
} storm;

static storm s;
static __thread unsigned seed;

static int below(int n)
{
    if (seed == 0)
        seed = (unsigned)weft_thread_id(NULL);
    return (int)((unsigned)rand_r(&seed) % (unsigned)n);
}

static void *task(void *arg);

static void count_end(weft_future *f, void *)
{
    add_word(weft_future_state(f) == WEFT_FUTURE_DONE ? &s.done : &s.cancelled);
}

// f, just submitted, or null and errno.
static weft_future *given(weft_future *f)
{
    add_word(f != NULL ? &s.accepted : &s.refused);
    if (f == NULL && errno != EAGAIN && errno != ETIMEDOUT && errno != EPIPE && errno != ECANCELED)
        add_word(&s.failed);
    if (f != NULL && weft_future_then(f, count_end, NULL) != 0)
        add_word(&s.failed);
    return f;
}

static weft_future *give(intptr_t depth)
{
    weft_deadline d = below(2) ? WEFT_NOW : weft_in_us(below(300));
    return given(below(3) ? weft_executor_submit(s.ex, task, (void *)depth, WEFT_NOW)
                          : weft_executor_submit(s.ex, task, (void *)depth, d));
}

// Waits for it or not, and gives it up.
static void finish(weft_future *f)
{
    weft_deadline deadlines[] = {WEFT_NOW, weft_in_us(below(500)), WEFT_FOREVER, WEFT_FOREVER};
    weft_future *after = below(6) ? NULL : given(weft_executor_submit_after(s.ex, f, task, NULL));
    if (below(5) == 0)
        weft_future_cancel(f);
    if (after != NULL && below(3) == 0)
        weft_future_cancel(after);
    weft_future_release(after);
    if (below(9) == 0)
        weft_future_fd(f);
    int code = weft_future_get(f, NULL, deadlines[below(4)]);
    if (code != 0 && errno != ETIMEDOUT && errno != ECANCELED)
        add_word(&s.failed);
    if (code != 0)
        weft_future_release(f);
}

static void count_index(size_t, void *arg)
{
    add_word((int *)arg);
}

static void map_some(void)
{
    int n = 0, all = below(40);
    int code = weft_executor_map(s.ex, count_index, &n, (size_t)all, WEFT_FOREVER);
    if (code == 0 ? n != all : errno != EPIPE && errno != ECANCELED)
        add_word(&s.failed);
}

static void give_some(intptr_t depth)
{
    weft_future *f[4];
    int n = 0;
    for (int i = below(5); i > 0; i--)
        if ((f[n] = give(depth)) != NULL)
            n++;
    if (n > 0 && below(4) == 0)
        weft_future_wait_any(f, (size_t)n, weft_in_us(below(500)));
    if (n > 0 && below(4) == 0)
        weft_future_wait_all(f, (size_t)n, weft_in_us(below(500)));
    while (n > 0)
        finish(f[--n]);
}

static void *task(void *arg)
{
    intptr_t depth = (intptr_t)arg;
    if (depth > 0)
        give_some(depth - 1);
    if (below(20) == 0)
        map_some();
    add_word(&s.ran);
    return arg;
}

static void *outside(void *)
{
    for (int i = 0; i < EACH; i++) {
        give_some(below(DEPTH));
        if (below(20) == 0)
            map_some();
    }
    __atomic_fetch_sub(&s.busy, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

static void run_storm(int round)
{
    weft_thread *t[OUTSIDE];
    weft_executor_options o = {};
    memset(&s, 0, sizeof s);
    o.backlog = round % 2 ? (size_t)(1 + below(4)) : 0;
    o.spares = below(4) - 1;
    s.busy = OUTSIDE;
    s.ex = weft_executor_create(1 + below(3), &o);
    for (int i = 0; i < OUTSIDE; i++)
        t[i] = weft_thread_start(outside, NULL, NULL);
    while (__atomic_load_n(&s.busy, __ATOMIC_ACQUIRE) > round % 3) { // some are still at it
        assert_int_equal(weft_executor_resize(s.ex, 1 + below(4)), 0);
        weft_thread_sleep(weft_in_us(200));
    }
    if (round % 4 == 1)
        assert_int_equal(weft_executor_wait(s.ex, WEFT_FOREVER), 0);
    int how = round % 4 == 2 ? WEFT_DISCARD : WEFT_DRAIN;
    assert_int_equal(shut(s.ex, how, WEFT_FOREVER), 0);
    for (int i = 0; i < OUTSIDE; i++)
        assert_int_equal(weft_thread_join(t[i], NULL, WEFT_FOREVER), 0);
    assert_int_equal(counters_of(s.ex).pending, 0);
    assert_int_equal(weft_executor_destroy(s.ex), 0);
}

CASE(test_storm)
{
    for (int round = 0; round < ROUNDS; round++) {
        run_storm(round);
        assert_int_equal(s.failed, 0);
        assert_int_equal(s.done + s.cancelled, s.accepted);
        assert_int_equal(s.done, s.ran);
        assert_true(s.ran > 0);
    }
}

// ---- Late looks ----

enum { FEW = 20, LATE_ROUNDS = RUNNER_SANITIZED ? 1000 : 4000 };

namespace {
struct late {
    weft_future f[FEW];
    int round, looked; // atomic: of the executor that has f; looks at it that are over
};
} // namespace

static void *nothing(void *arg)
{
    return arg;
}

// Looks at each future as its executor ends.
static void *look_late(void *arg)
{
    late *l = (late *)arg;
    intptr_t faults = 0;
    for (int round = 1; round <= LATE_ROUNDS; round++) {
        await_word(&l->round, round);
        for (int i = 0; i < FEW; i++)
            faults += round % 2 ? weft_future_wait(&l->f[i], WEFT_FOREVER) != 0
                                : weft_future_cancel(&l->f[i]) != 0 && errno == EPERM;
        add_word(&l->looked);
    }
    return (void *)faults;
}

// Who waits for a future or cancels it does so beside its executor's end, and that of others.
CASE(test_late_looks_at_an_executor)
{
    static late l;
    static void *const args[FEW] = {};
    weft_thread *t[2];
    for (int i = 0; i < 2; i++)
        assert_non_null(t[i] = weft_thread_start(look_late, &l, NULL));
    for (int round = 1; round <= LATE_ROUNDS; round++) {
        weft_executor *ex = weft_executor_create(1, NULL);
        assert_int_equal(weft_executor_submit_many(ex, l.f, FEW, nothing, args, WEFT_NOW), 0);
        __atomic_store_n(&l.round, round, __ATOMIC_RELEASE);
        assert_int_equal(finish(ex, round % 3 ? WEFT_DRAIN : WEFT_DISCARD), 0);
        await_word(&l.looked, 2 * round);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(joined(t[i]), 0);
}

RUN_CASES()
