// Condition, semaphore, event, barrier, latch, once, timer.
#include "../runner.h"

#include "asleep.h"
#include <weft/sync.h>
#include <weft/thread.h>

#include <sys/mman.h>
#include <sys/wait.h>

// These tests unlock what they don't own and destroy what is broken, on purpose.
extern "C" const char *__tsan_default_options(void)
{
    return "report_mutex_bugs=0:report_destroy_locked=0";
}

static void *code_of(int code)
{
    return (void *)(intptr_t)(code >= 0 ? code : -errno);
}

static intptr_t joined(weft_thread *t)
{
    void *result = nullptr;
    assert_int_equal(weft_thread_join(t, &result, WEFT_FOREVER), 0);
    return (intptr_t)result;
}

static uint64_t waiters(const uint64_t *state)
{
    return __atomic_load_n(state, __ATOMIC_ACQUIRE) >> 32;
}

static void await_waiters(const uint64_t *state, uint64_t n)
{
    while (waiters(state) < n)
        sched_yield();
}

// ---- condition ----

struct mailbox {
    weft_mutex lock;
    weft_condition filled;
    int letters, taken;
    weft_deadline deadline;
};

static void mailbox_init(mailbox *b, int flags)
{
    *b = {};
    assert_int_equal(weft_mutex_init(&b->lock, flags), 0);
    assert_int_equal(weft_condition_init(&b->filled), 0);
    b->deadline = WEFT_FOREVER;
}

static void *take_letter(void *arg)
{
    mailbox *b = (mailbox *)arg;
    int code = 0;
    weft_mutex_lock(&b->lock, WEFT_FOREVER);
    while (b->letters == 0 && code == 0)
        code = weft_condition_wait(&b->filled, &b->lock, b->deadline);
    if (b->letters > 0) {
        b->letters--;
        b->taken++;
    }
    void *result = code_of(code);
    weft_mutex_unlock(&b->lock);
    return result;
}

static void await_condition_waiters(weft_condition *c, uint32_t n)
{
    while (__atomic_load_n(&c->waiters, __ATOMIC_ACQUIRE) < n)
        sched_yield();
}

static void put_letters(mailbox *b, int n, int (*wake)(weft_condition *), int inside)
{
    weft_mutex_lock(&b->lock, WEFT_FOREVER);
    b->letters += n;
    if (inside)
        wake(&b->filled);
    weft_mutex_unlock(&b->lock);
    if (!inside)
        wake(&b->filled);
}

static void condition_cases(int flags, int inside)
{
    mailbox b;
    weft_thread *t[4];
    mailbox_init(&b, flags);
    for (weft_thread *&each : t)
        each = weft_thread_start(take_letter, &b, nullptr);
    await_condition_waiters(&b.filled, 4);
    assert_errno(weft_condition_destroy(&b.filled), EBUSY);
    put_letters(&b, 1, weft_condition_signal, inside);
    put_letters(&b, 3, weft_condition_broadcast, inside);
    for (weft_thread *each : t)
        assert_int_equal(joined(each), 0);
    assert_int_equal(b.taken, 4);
    assert_int_equal(weft_condition_destroy(&b.filled), 0);
    assert_int_equal(weft_mutex_destroy(&b.lock), 0);
}

static void test_condition_wakes(void **)
{
    condition_cases(0, 1);
    condition_cases(0, 0);
    condition_cases(WEFT_RECURSIVE, 1);
    condition_cases(WEFT_CHECKED, 1);
}

static void test_condition_deadline_has_lock_again(void **)
{
    mailbox b;
    mailbox_init(&b, WEFT_CHECKED);
    weft_mutex_lock(&b.lock, WEFT_FOREVER);
    assert_errno(weft_condition_wait(&b.filled, &b.lock, weft_in_ms(5)), ETIMEDOUT);
    assert_errno(weft_condition_wait(&b.filled, &b.lock, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_mutex_unlock(&b.lock), 0); // ours again
    assert_errno(weft_condition_wait(&b.filled, &b.lock, WEFT_NOW), EPERM);
    assert_int_equal(weft_condition_destroy(&b.filled), 0);
}

static void *die_holding(void *arg)
{
    mailbox *b = (mailbox *)arg;
    weft_mutex_lock(&b->lock, WEFT_FOREVER);
    weft_condition_signal(&b->filled);
    return nullptr;
}

static void test_condition_owner_dead(void **)
{
    mailbox b;
    mailbox_init(&b, WEFT_ROBUST);
    weft_thread *t = weft_thread_start(take_letter, &b, nullptr);
    await_condition_waiters(&b.filled, 1);
    joined(weft_thread_start(die_holding, &b, nullptr));
    assert_int_equal(joined(t), -EOWNERDEAD);
}

// Two threads hand a ball to and fro; a lost wake-up hangs them.
struct table_tennis {
    weft_mutex lock;
    weft_condition turned;
    int turn;
};

static void *play(void *arg)
{
    table_tennis *g = (table_tennis *)arg;
    int me = __atomic_fetch_add(&g->turn, 1000000, __ATOMIC_ACQ_REL) / 1000000;
    for (int i = 0; i < 5000; i++) {
        weft_mutex_lock(&g->lock, WEFT_FOREVER);
        while (__atomic_load_n(&g->turn, __ATOMIC_ACQUIRE) % 2 != me)
            weft_condition_wait(&g->turned, &g->lock, WEFT_FOREVER);
        __atomic_fetch_add(&g->turn, 1, __ATOMIC_ACQ_REL);
        weft_mutex_unlock(&g->lock);
        weft_condition_signal(&g->turned); // outside the lock, on purpose
    }
    return nullptr;
}

static void test_condition_loses_no_wakeup(void **)
{
    table_tennis g = {WEFT_MUTEX_INIT, WEFT_CONDITION_INIT, 0};
    weft_thread *a = weft_thread_start(play, &g, nullptr),
                *b = weft_thread_start(play, &g, nullptr);
    joined(a);
    joined(b);
    assert_int_equal(g.turn, 2010000);
}

// ---- semaphore ----

static void *take_unit(void *s)
{
    return code_of(weft_semaphore_wait((weft_semaphore *)s, WEFT_FOREVER));
}

static void test_semaphore_counts(void **)
{
    weft_semaphore s = WEFT_SEMAPHORE_INIT(2);
    assert_int_equal(weft_semaphore_wait(&s, WEFT_NOW), 0);
    assert_int_equal(weft_semaphore_wait(&s, WEFT_FOREVER), 0);
    assert_errno(weft_semaphore_wait(&s, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_semaphore_wait(&s, weft_in_ms(5)), ETIMEDOUT);
    assert_int_equal(weft_semaphore_value(&s), 0);
    weft_thread *t = weft_thread_start(take_unit, &s, nullptr);
    await_waiters(&s.state, 1);
    assert_errno(weft_semaphore_destroy(&s), EBUSY);
    assert_int_equal(weft_semaphore_post(&s), 0);
    assert_int_equal(joined(t), 0);
    assert_int_equal(weft_semaphore_post(&s), 0);
    assert_int_equal(weft_semaphore_value(&s), 1);
    assert_int_equal(weft_semaphore_destroy(&s), 0);
}

static void test_bounded_semaphore_overflows(void **)
{
    weft_semaphore s = WEFT_BOUNDED_SEMAPHORE_INIT(1, 2);
    assert_int_equal(weft_semaphore_post(&s), 0);
    assert_errno(weft_semaphore_post(&s), EOVERFLOW);
    assert_int_equal(weft_semaphore_value(&s), 2);
    assert_int_equal(weft_semaphore_init(&s, WEFT_SEMAPHORE_MAX, 0), 0);
    assert_errno(weft_semaphore_post(&s), EOVERFLOW);
    assert_errno(weft_semaphore_init(&s, 3, 2), EINVAL);
    assert_errno(weft_semaphore_init(&s, 0, (uint32_t)WEFT_SEMAPHORE_MAX + 1), EINVAL);
}

struct tokens {
    weft_semaphore free, used;
    int count;
};

static void *post_tokens(void *arg)
{
    tokens *k = (tokens *)arg;
    for (int i = 0; i < 5000; i++) {
        weft_semaphore_wait(&k->free, WEFT_FOREVER);
        add_word(&k->count);
        weft_semaphore_post(&k->used);
    }
    return nullptr;
}

static void *wait_tokens(void *arg)
{
    tokens *k = (tokens *)arg;
    for (int i = 0; i < 5000; i++) {
        weft_semaphore_wait(&k->used, WEFT_FOREVER);
        __atomic_fetch_sub(&k->count, 1, __ATOMIC_ACQ_REL);
        weft_semaphore_post(&k->free);
    }
    return nullptr;
}

static void test_semaphore_loses_nothing(void **)
{
    tokens k = {WEFT_SEMAPHORE_INIT(1), WEFT_SEMAPHORE_INIT(0), 0};
    weft_thread *t[6];
    for (int i = 0; i < 6; i++)
        t[i] = weft_thread_start(i % 2 ? post_tokens : wait_tokens, &k, nullptr);
    for (weft_thread *each : t)
        joined(each);
    assert_int_equal(k.count, 0);
    assert_int_equal(weft_semaphore_value(&k.free), 1);
    assert_int_equal(weft_semaphore_value(&k.used), 0);
}

// ---- event ----

static void *await_event(void *e)
{
    return code_of(weft_event_wait((weft_event *)e, WEFT_FOREVER));
}

static void test_event_sets_and_clears(void **)
{
    weft_event e = WEFT_EVENT_INIT;
    assert_false(weft_event_is_set(&e));
    assert_errno(weft_event_wait(&e, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_event_wait(&e, weft_in_ms(5)), ETIMEDOUT);
    assert_int_equal(weft_event_clear(&e), 0);
    assert_int_equal(weft_event_set(&e), 0);
    assert_int_equal(weft_event_set(&e), 0);
    assert_true(weft_event_is_set(&e));
    assert_int_equal(weft_event_wait(&e, WEFT_NOW), 0);
    assert_int_equal(weft_event_clear(&e), 0);
    assert_false(weft_event_is_set(&e));
    assert_int_equal(weft_event_destroy(&e), 0);
    assert_int_equal(weft_event_init(&e), 0);
    assert_int_equal(weft_event_set(&e), 0);
    assert_int_equal(weft_event_wait(&e, WEFT_FOREVER), 0);
}

static void test_event_pulse_frees_all_waiters(void **)
{
    weft_event e = WEFT_EVENT_INIT;
    weft_thread *t[4];
    for (weft_thread *&each : t)
        each = weft_thread_start(await_event, &e, nullptr);
    await_waiters(&e.state, 4);
    assert_errno(weft_event_destroy(&e), EBUSY);
    weft_event_set(&e);
    weft_event_clear(&e);
    for (weft_thread *each : t)
        assert_int_equal(joined(each), 0);
}

// ---- barrier ----

struct meeting {
    weft_barrier barrier;
    int rounds, here, errors, firsts;
    weft_deadline deadline;
};

static void *meet(void *arg)
{
    meeting *m = (meeting *)arg;
    for (int i = 0; i < m->rounds; i++) {
        add_word(&m->here);
        int code = weft_barrier_wait(&m->barrier, WEFT_FOREVER);
        // Everybody has come, and nobody is further than the next round.
        int here = __atomic_load_n(&m->here, __ATOMIC_ACQUIRE);
        int parties = (int)m->barrier.parties;
        if (code < 0 || here < (i + 1) * parties || here > (i + 2) * parties)
            add_word(&m->errors);
        if (code == 1)
            add_word(&m->firsts);
    }
    return nullptr;
}

static void test_barrier_rounds(void **)
{
    for (uint32_t parties = 1; parties <= 5; parties += 2) {
        meeting m = {};
        weft_thread *t[5];
        m.rounds = 1000;
        assert_int_equal(weft_barrier_init(&m.barrier, parties), 0);
        for (uint32_t i = 0; i < parties; i++)
            t[i] = weft_thread_start(meet, &m, nullptr);
        for (uint32_t i = 0; i < parties; i++)
            joined(t[i]);
        assert_int_equal(m.errors, 0);
        assert_int_equal(m.firsts, m.rounds);
        assert_int_equal(weft_barrier_destroy(&m.barrier), 0);
    }
}

static void *meet_once(void *arg)
{
    meeting *m = (meeting *)arg;
    return code_of(weft_barrier_wait(&m->barrier, m->deadline));
}

static void await_arrived(weft_barrier *b, uint32_t n)
{
    while (weft_barrier_waiting(b) < n)
        sched_yield();
}

static void test_barrier_abort_and_reset(void **)
{
    meeting m = {};
    weft_barrier fresh = WEFT_BARRIER_INIT(3);
    m.barrier = fresh;
    m.deadline = WEFT_FOREVER;
    for (int reset = 0; reset <= 1; reset++) {
        weft_thread *a = weft_thread_start(meet_once, &m, nullptr);
        weft_thread *b = weft_thread_start(meet_once, &m, nullptr);
        await_arrived(&m.barrier, 2);
        assert_errno(weft_barrier_destroy(&m.barrier), EBUSY);
        assert_int_equal(reset ? weft_barrier_reset(&m.barrier) : weft_barrier_abort(&m.barrier),
                         0);
        assert_int_equal(joined(a), -EPIPE);
        assert_int_equal(joined(b), -EPIPE);
        assert_int_equal(weft_barrier_is_broken(&m.barrier), !reset);
        if (!reset)
            assert_errno(weft_barrier_wait(&m.barrier, WEFT_FOREVER), EPIPE);
        assert_int_equal(weft_barrier_reset(&m.barrier), 0);
        assert_false(weft_barrier_is_broken(&m.barrier));
    }
    weft_thread *a = weft_thread_start(meet_once, &m, nullptr);
    weft_thread *b = weft_thread_start(meet_once, &m, nullptr);
    assert_true(weft_barrier_wait(&m.barrier, weft_in_s(60)) >= 0); // as good as new
    assert_true(joined(a) >= 0);
    assert_true(joined(b) >= 0);
    assert_int_equal(weft_barrier_destroy(&m.barrier), 0);
}

static void test_barrier_deadline_breaks_it(void **)
{
    meeting m = {};
    assert_int_equal(weft_barrier_init(&m.barrier, 3), 0);
    m.deadline = WEFT_FOREVER;
    weft_thread *t = weft_thread_start(meet_once, &m, nullptr);
    await_arrived(&m.barrier, 1);
    assert_errno(weft_barrier_wait(&m.barrier, weft_in_ms(5)), ETIMEDOUT);
    assert_int_equal(joined(t), -EPIPE);
    assert_true(weft_barrier_is_broken(&m.barrier));
    assert_errno(weft_barrier_init(&m.barrier, 0), EINVAL);
}

// One of the two times out at once when it comes first, and so breaks every other round.
// Whoever met the other must hear so, however late it looks: 0 and 1 always come in pairs.
struct pair_meeting {
    weft_barrier barrier;
    int met, last;
};

static void *meet_impatiently(void *arg)
{
    pair_meeting *m = (pair_meeting *)arg;
    for (int i = 0; i < 3000; i++) {
        int code = weft_barrier_wait(&m->barrier, i % 2 ? WEFT_NOW : weft_in_us(50));
        if (code == 0)
            add_word(&m->met);
        else if (code == 1)
            add_word(&m->last);
        else
            weft_barrier_reset(&m->barrier);
    }
    return nullptr;
}

static void test_barrier_tells_each_its_own_round(void **)
{
    pair_meeting m = {WEFT_BARRIER_INIT(2), 0, 0};
    weft_thread *t[3];
    for (weft_thread *&each : t)
        each = weft_thread_start(meet_impatiently, &m, nullptr);
    for (weft_thread *each : t)
        joined(each);
    assert_int_equal(m.met, m.last);
    assert_int_equal(weft_barrier_destroy(&m.barrier), 0);
}

// ---- latch ----

static void *await_latch(void *l)
{
    return code_of(weft_latch_wait((weft_latch *)l, WEFT_FOREVER));
}

static void test_latch(void **)
{
    weft_latch l = WEFT_LATCH_INIT(3);
    assert_errno(weft_latch_wait(&l, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_latch_wait(&l, weft_in_ms(5)), ETIMEDOUT);
    weft_thread *a = weft_thread_start(await_latch, &l, nullptr);
    weft_thread *b = weft_thread_start(await_latch, &l, nullptr);
    await_waiters(&l.state, 2);
    assert_errno(weft_latch_destroy(&l), EBUSY);
    assert_errno(weft_latch_count_down(&l, 4), EINVAL);
    assert_int_equal(weft_latch_count_down(&l, 1), 0);
    assert_int_equal(waiters(&l.state), 2);
    assert_int_equal(weft_latch_count_down(&l, 2), 0);
    assert_int_equal(joined(a), 0);
    assert_int_equal(joined(b), 0);
    assert_errno(weft_latch_count_down(&l, 1), EINVAL);
    assert_int_equal(weft_latch_wait(&l, WEFT_NOW), 0);
    assert_int_equal(weft_latch_destroy(&l), 0);
    assert_int_equal(weft_latch_init(&l, 0), 0);
    assert_int_equal(weft_latch_wait(&l, WEFT_FOREVER), 0);
}

// ---- once ----

struct once_case {
    weft_once once;
    weft_event go;
    int runs, fail;
    weft_deadline deadline;
};

static int run_slowly(void *arg)
{
    once_case *c = (once_case *)arg;
    add_word(&c->runs);
    weft_event_wait(&c->go, WEFT_FOREVER);
    errno = EXDEV;
    return __atomic_exchange_n(&c->fail, 0, __ATOMIC_ACQ_REL);
}

static void *run_once(void *arg)
{
    once_case *c = (once_case *)arg;
    return code_of(weft_once_run(&c->once, run_slowly, c, c->deadline));
}

static void test_once_runs_once(void **)
{
    once_case c = {WEFT_ONCE_INIT, WEFT_EVENT_INIT, 0, 0, WEFT_FOREVER};
    weft_thread *t[4];
    for (weft_thread *&each : t)
        each = weft_thread_start(run_once, &c, nullptr);
    await_word(&c.runs, 1);
    assert_errno(weft_once_run(&c.once, run_slowly, &c, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_once_run(&c.once, run_slowly, &c, weft_in_ms(5)), ETIMEDOUT);
    weft_event_set(&c.go);
    for (weft_thread *each : t)
        assert_int_equal(joined(each), 0);
    assert_int_equal(weft_once_run(&c.once, run_slowly, &c, WEFT_NOW), 0);
    assert_int_equal(c.runs, 1);
}

static void test_once_failure_is_tried_again(void **)
{
    once_case c = {WEFT_ONCE_INIT, WEFT_EVENT_INIT, 0, 1, WEFT_FOREVER};
    weft_thread *t[3];
    intptr_t sum = 0;
    for (weft_thread *&each : t)
        each = weft_thread_start(run_once, &c, nullptr);
    await_word(&c.runs, 1);
    weft_event_set(&c.go);
    for (weft_thread *each : t)
        sum += joined(each);
    assert_int_equal(sum, -EXDEV); // one of them, with the function's errno
    assert_int_equal(c.runs, 2);
}

static weft_once own = WEFT_ONCE_INIT;

static int call_itself(void *)
{
    return weft_once_run(&own, call_itself, nullptr, WEFT_FOREVER);
}

static void test_once_within_itself(void **)
{
    assert_errno(weft_once_run(&own, call_itself, nullptr, WEFT_FOREVER), EDEADLK);
}

// ---- timer ----

struct alarm_case {
    weft_event fired, go;
    int64_t at;
    weft_timer *self;
    int join_error;
};

static void ring(void *arg)
{
    alarm_case *c = (alarm_case *)arg;
    c->at = weft_now();
    weft_event_set(&c->fired);
    weft_event_wait(&c->go, WEFT_FOREVER);
    c->join_error = weft_timer_join(c->self, WEFT_FOREVER) == -1 ? errno : 0;
}

static void test_timer_fires_never_early(void **)
{
    alarm_case c = {};
    weft_deadline at = weft_in_ms(10);
    c.self = weft_timer_start(ring, &c, at);
    assert_non_null(c.self);
    assert_int_equal(weft_event_wait(&c.fired, weft_in_s(60)), 0);
    assert_true(c.at >= at);
    assert_errno(weft_timer_join(c.self, weft_in_ms(1)), ETIMEDOUT);
    assert_errno(weft_timer_cancel(c.self), EALREADY);
    weft_event_set(&c.go);
    assert_int_equal(weft_timer_join(c.self, WEFT_FOREVER), 1);
    assert_int_equal(c.join_error, EDEADLK);
}

static void test_timer_cancel(void **)
{
    alarm_case c = {};
    weft_timer *t = weft_timer_start(ring, &c, weft_in_s(3600));
    assert_int_equal(weft_timer_cancel(t), 0);
    assert_errno(weft_timer_cancel(t), EALREADY);
    assert_int_equal(weft_timer_join(t, WEFT_FOREVER), 0);
    assert_false(weft_event_is_set(&c.fired));
    assert_errno(weft_timer_start(nullptr, nullptr, weft_in_ms(1)), EINVAL);
    assert_errno(weft_timer_start(ring, nullptr, WEFT_FOREVER), EINVAL);
}

static void count(void *word)
{
    add_word((int *)word);
}

// A cancel that succeeded means that the function is never called, one that failed that it was.
static void test_timer_races_cancel(void **)
{
    int fired = 0, cancelled = 0, called = 0;
    for (int i = 0; i < 300; i++) {
        weft_timer *t = weft_timer_start(count, &fired, weft_in_us(i % 100));
        for (int spin = 0; spin < i % 50; spin++)
            sched_yield();
        cancelled += weft_timer_cancel(t) == 0;
        called += weft_timer_join(t, WEFT_FOREVER);
    }
    assert_int_equal(fired, called);
    assert_int_equal(fired + cancelled, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_condition_wakes),
        TEST(test_condition_deadline_has_lock_again),
        TEST(test_condition_owner_dead),
        TEST(test_condition_loses_no_wakeup),
        TEST(test_semaphore_counts),
        TEST(test_bounded_semaphore_overflows),
        TEST(test_semaphore_loses_nothing),
        TEST(test_event_sets_and_clears),
        TEST(test_event_pulse_frees_all_waiters),
        TEST(test_barrier_rounds),
        TEST(test_barrier_abort_and_reset),
        TEST(test_barrier_deadline_breaks_it),
        TEST(test_barrier_tells_each_its_own_round),
        TEST(test_latch),
        TEST(test_once_runs_once),
        TEST(test_once_failure_is_tried_again),
        TEST(test_once_within_itself),
        TEST(test_timer_fires_never_early),
        TEST(test_timer_cancel),
        TEST(test_timer_races_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
