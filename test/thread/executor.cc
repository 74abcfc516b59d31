// weft_executor: create, submit, backlog, map, resize, close, join, destroy; and load.
#include "gated.h"

#include <errno.h>
#include <memory>
#include <poll.h>

static void *add_one(void *arg)
{
    __atomic_fetch_add((int *)arg, 1, __ATOMIC_RELAXED);
    return arg;
}

// ---- Create ----

CASE(test_create_refuses_bad_arguments)
{
    assert_errno(weft_executor_create(-1, NULL), EINVAL);
    weft_executor_options o = {NULL, 1, 0, 0, NULL, NULL, NULL};
    assert_errno(weft_executor_create(1, &o), EINVAL);
    assert_int_equal(weft_executor_destroy(NULL), 0);
}

CASE(test_create_takes_a_thread_per_cpu)
{
    weft_executor *ex = create(0);
    assert_int_equal(counters_of(ex).threads, weft_cpu_count());
    drain(ex);
}

static void *thread_name(void *arg)
{
    weft_thread_name(NULL, (char *)arg, 16);
    return NULL;
}

CASE(test_options_name_and_stack)
{
    weft_executor_options o = {"a-very-long-name-indeed", 256 * 1024, 0, 0, NULL, NULL, NULL};
    weft_executor *ex = weft_executor_create(1, &o);
    char name[16] = "";
    assert_int_equal(
        weft_future_get(weft_executor_submit(ex, thread_name, name, WEFT_NOW), NULL, WEFT_FOREVER),
        0);
    assert_string_equal(name, "a-very-long-nam");
    drain(ex);
    ex = create(1);
    assert_int_equal(
        weft_future_get(weft_executor_submit(ex, thread_name, name, WEFT_NOW), NULL, WEFT_FOREVER),
        0);
    assert_string_equal(name, "weft-worker");
    drain(ex);
}

// ---- Submit ----

CASE(test_submit_runs_every_task)
{
    weft_executor *ex = create(3);
    int n = 0;
    weft_future *f[200];
    for (int i = 0; i < 200; i++)
        assert_non_null(f[i] = weft_executor_submit(ex, add_one, &n, WEFT_NOW));
    for (int i = 0; i < 200; i++) {
        void *result = NULL;
        assert_int_equal(weft_future_get(f[i], &result, WEFT_FOREVER), 0);
        assert_ptr_equal(result, &n);
    }
    assert_int_equal(n, 200);
    drain(ex);
}

CASE(test_submit_refuses_no_function)
{
    weft_executor *ex = create(1);
    weft_future f;
    assert_errno(weft_executor_submit(ex, NULL, NULL, WEFT_NOW), EINVAL);
    assert_errno(weft_executor_submit(ex, NULL, NULL, WEFT_NOW), EINVAL);
    assert_errno(weft_executor_submit_at(ex, &f, NULL, NULL, WEFT_NOW), EINVAL);
    assert_errno(weft_executor_map(ex, NULL, NULL, 1, WEFT_FOREVER), EINVAL);
    assert_errno(weft_executor_map_ranges(ex, NULL, NULL, 1, 1, WEFT_FOREVER), EINVAL);
    drain(ex);
}

typedef struct numbered {
    int *log, *count, number;
} numbered;

static void *write_number(void *arg)
{
    numbered *n = (numbered *)arg;
    n->log[(*n->count)++] = n->number;
    return NULL;
}

CASE(test_one_worker_keeps_the_order)
{
    weft_executor *ex = create(1);
    int log[50], count = 0;
    numbered n[50];
    weft_future f[50];
    for (int i = 0; i < 50; i++) {
        n[i].log = log;
        n[i].count = &count;
        n[i].number = i;
        assert_int_equal(weft_executor_submit_at(ex, &f[i], write_number, &n[i], WEFT_NOW), 0);
    }
    assert_int_equal(weft_executor_wait(ex, WEFT_FOREVER), 0);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(log[i], i);
        assert_int_equal(weft_future_get(&f[i], NULL, WEFT_NOW), 0);
    }
    drain(ex);
}

CASE(test_submit_many)
{
    enum { N = 500 };
    static weft_future f[N];
    void *args[N];
    int n[2] = {0, 0};
    weft_executor *ex = create(2);
    assert_errno(weft_executor_submit_many(ex, f, N, NULL, args, WEFT_NOW), EINVAL);
    assert_errno(weft_executor_submit_many(ex, NULL, N, add_one, args, WEFT_NOW), EINVAL);
    assert_errno(weft_executor_submit_many(ex, f, N, add_one, NULL, WEFT_NOW), EINVAL);
    assert_int_equal(weft_executor_submit_many(ex, f, 0, add_one, args, WEFT_NOW), 0);
    for (int i = 0; i < N; i++)
        args[i] = &n[i % 2];
    assert_int_equal(weft_executor_submit_many(ex, f, N, add_one, args, WEFT_NOW), 0);
    for (int i = 0; i < N; i++) {
        void *result = NULL;
        assert_int_equal(weft_future_get(&f[i], &result, WEFT_FOREVER), 0);
        assert_ptr_equal(result, args[i]);
    }
    assert_int_equal(n[0], N / 2);
    assert_int_equal(n[1], N / 2);
    assert_int_equal(shut(ex, WEFT_DRAIN, WEFT_FOREVER), 0);
    assert_errno(weft_executor_submit_many(ex, f, 2, add_one, args, WEFT_NOW), EPIPE);
    drain(ex);
}

typedef struct crew {
    int begun, ended, out_of_turn; // atomic
} crew;
static __thread crew *in_crew;

static void begin_worker(void *arg)
{
    in_crew = (crew *)arg;
    add_word(&in_crew->begun);
}

static void end_worker(void *arg)
{
    add_word(in_crew == arg ? &in_crew->ended : &((crew *)arg)->out_of_turn);
}

static void *is_begun(void *arg)
{
    if (in_crew != arg)
        add_word(&((crew *)arg)->out_of_turn);
    return arg;
}

static void *leave_crew(void *arg)
{
    pthread_exit(is_begun(arg));
}

CASE(test_workers_begin_and_end)
{
    crew c = {0, 0, 0};
    weft_executor_options o = {NULL, 0, 0, 0, begin_worker, end_worker, &c};
    weft_executor *ex = weft_executor_create(3, &o);
    for (int i = 0; i < 100; i++)
        weft_future_release(weft_executor_submit(ex, i % 10 ? is_begun : leave_crew, &c, WEFT_NOW));
    assert_int_equal(weft_executor_wait(ex, WEFT_FOREVER), 0);
    assert_int_equal(weft_executor_resize(ex, 1), 0);
    drain(ex);
    assert_int_equal(c.begun, 13); // ten have left
    assert_int_equal(c.ended, 13);
    assert_int_equal(c.out_of_turn, 0);
}

typedef struct first_last {
    weft_executor *ex; // atomic
    int n;
} first_last;

static void submit_one(void *arg)
{
    first_last *f = (first_last *)arg;
    weft_executor *ex = __atomic_load_n(&f->ex, __ATOMIC_ACQUIRE);
    if (ex != NULL)
        weft_future_release(weft_executor_submit(ex, add_one, &f->n, WEFT_NOW));
}

// What they submit is run by whoever is there.
CASE(test_begin_and_end_submit)
{
    first_last f = {NULL, 0};
    weft_executor_options o = {NULL, 0, 0, 0, submit_one, submit_one, &f};
    weft_executor *ex = weft_executor_create(1, &o);
    assert_int_equal(
        weft_future_get(weft_executor_submit(ex, add_one, &f.n, WEFT_NOW), NULL, WEFT_FOREVER),
        0); // the first has begun
    __atomic_store_n(&f.ex, ex, __ATOMIC_RELEASE);
    assert_int_equal(weft_executor_resize(ex, 3), 0);
    await_word(&f.n, 3);
    assert_int_equal(weft_executor_resize(ex, 1), 0);
    await_word(&f.n, 5);
    drain(ex);
    assert_int_equal(f.n, 5); // the last is past the end
}

// ---- Backlog ----

typedef struct full {
    weft_executor *ex;
    gate g;
    weft_future *running, *pending;
} full;

// One worker, held at the gate, and one task pending of one allowed.
static void fill(full *p)
{
    weft_executor_options o = {NULL, 0, 1, 0, NULL, NULL, NULL};
    p->ex = weft_executor_create(1, &o);
    gate_init(&p->g);
    p->running = weft_executor_submit(p->ex, pass, &p->g, WEFT_NOW);
    await_word(&p->g.inside, 1);
    p->pending = weft_executor_submit(p->ex, pass, &p->g, WEFT_NOW);
    assert_non_null(p->pending);
    assert_int_equal(counters_of(p->ex).pending, 1);
}

static void empty(full *p)
{
    weft_event_set(&p->g.open);
    assert_int_equal(weft_future_get(p->running, NULL, WEFT_FOREVER), 0);
    assert_int_equal(weft_future_get(p->pending, NULL, WEFT_FOREVER), 0);
    drain(p->ex);
}

CASE(test_backlog_refuses_more)
{
    full p;
    weft_future f;
    int n = 0;
    fill(&p);
    assert_errno(weft_executor_submit(p.ex, add_one, &n, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_executor_submit_at(p.ex, &f, add_one, &n, WEFT_NOW), ETIMEDOUT);
    void *arg = &n;
    assert_errno(weft_executor_submit_many(p.ex, &f, 1, add_one, &arg, WEFT_NOW), ETIMEDOUT);
    weft_deadline d = weft_in_ms(2);
    assert_errno(weft_executor_submit(p.ex, add_one, &n, d), ETIMEDOUT);
    assert_true(weft_now() >= d);
    d = weft_in_ms(2);
    assert_errno(weft_executor_submit_at(p.ex, &f, add_one, &n, d), ETIMEDOUT);
    assert_true(weft_now() >= d);
    d = weft_in_ms(2);
    assert_errno(weft_executor_submit_many(p.ex, &f, 1, add_one, &arg, d), ETIMEDOUT);
    assert_true(weft_now() >= d);
    empty(&p);
    assert_int_equal(n, 0);
}

typedef struct submitter {
    weft_executor *ex;
    weft_thread *thread;
    pid_t tid; // atomic
    int n, error;
    weft_future *f, own;
} submitter;

// Says where it is, makes the call and says how that ended.
template <class Call> static void *submitter_calls(void *arg, Call call)
{
    submitter *s = (submitter *)arg;
    __atomic_store_n(&s->tid, weft_thread_id(NULL), __ATOMIC_RELEASE);
    call(s);
    s->error = errno;
    return NULL;
}

static void *submit_waiting(void *arg)
{
    return submitter_calls(arg, [](submitter *s) {
        s->f = weft_executor_submit(s->ex, add_one, &s->n, WEFT_FOREVER);
    });
}

static void *submit_at_waiting(void *arg)
{
    return submitter_calls(arg, [](submitter *s) {
        int code = weft_executor_submit_at(s->ex, &s->own, add_one, &s->n, WEFT_FOREVER);
        s->f = code == 0 ? &s->own : NULL;
    });
}

static void *submit_many_waiting(void *arg)
{
    return submitter_calls(arg, [](submitter *s) {
        void *args[] = {&s->n};
        int code = weft_executor_submit_many(s->ex, &s->own, 1, add_one, args, WEFT_FOREVER);
        s->f = code == 0 ? &s->own : NULL;
    });
}

static void begin_asleep(submitter *s, weft_executor *ex, void *(*fn)(void *))
{
    memset(s, 0, sizeof *s);
    s->ex = ex;
    s->thread = weft_thread_start(fn, s, NULL);
    await_told_asleep(&s->tid);
}

CASE(test_backlog_waits_for_room)
{
    void *(*const calls[])(void *) = {submit_waiting, submit_at_waiting, submit_many_waiting};
    for (auto each : calls) {
        full p;
        submitter s;
        fill(&p);
        begin_asleep(&s, p.ex, each);
        assert_errno(weft_executor_destroy(p.ex), EBUSY);
        assert_int_equal(weft_future_cancel(p.pending), 0); // makes room
        weft_thread_join(s.thread, NULL, WEFT_FOREVER);
        assert_non_null(s.f);
        assert_int_equal(weft_future_release(p.pending), 0);
        p.pending = s.f;
        empty(&p);
        assert_int_equal(s.n, 1);
    }
}

static void *submit_three_waiting(void *arg)
{
    return submitter_calls(arg, [](submitter *s) {
        static weft_future f[3];
        void *args[] = {&s->n, &s->n, &s->n};
        weft_executor_submit_many(s->ex, f, 3, add_one, args, WEFT_FOREVER);
    });
}

// Room that is too little for the first who waits is another's.
CASE(test_backlog_has_room_for_the_next)
{
    weft_executor_options o = {NULL, 0, 3, 0, NULL, NULL, NULL};
    gate g;
    weft_future *running, *pending[3];
    submitter three, one;
    weft_executor *ex = weft_executor_create(1, &o);
    gate_init(&g);
    running = weft_executor_submit(ex, pass, &g, WEFT_NOW);
    await_word(&g.inside, 1);
    for (weft_future *&each : pending)
        each = weft_executor_submit(ex, pass, &g, WEFT_NOW);
    begin_asleep(&three, ex, submit_three_waiting);
    begin_asleep(&one, ex, submit_waiting);
    assert_int_equal(weft_future_cancel(pending[0]), 0);
    assert_int_equal(weft_thread_join(one.thread, NULL, weft_in_s(5)), 0);
    assert_non_null(one.f);
    weft_event_set(&g.open);
    weft_thread_join(three.thread, NULL, WEFT_FOREVER);
    assert_int_equal(weft_future_get(running, NULL, WEFT_FOREVER), 0);
    for (weft_future *each : pending)
        assert_int_equal(weft_future_release(each), 0);
    assert_int_equal(weft_future_get(one.f, NULL, WEFT_FOREVER), 0);
    drain(ex);
    assert_int_equal(one.n, 1);
    assert_int_equal(three.n, 3);
}

CASE(test_backlog_wait_ends_by_stop_and_shutdown)
{
    full p;
    submitter s;
    fill(&p);
    begin_asleep(&s, p.ex, submit_waiting);
    weft_thread_stop(s.thread);
    weft_thread_join(s.thread, NULL, WEFT_FOREVER);
    assert_null(s.f);
    assert_int_equal(s.error, ECANCELED);
    begin_asleep(&s, p.ex, submit_waiting);
    assert_errno(shut(p.ex, WEFT_DRAIN, WEFT_NOW), ETIMEDOUT);
    weft_thread_join(s.thread, NULL, WEFT_FOREVER);
    assert_null(s.f);
    assert_int_equal(s.error, EPIPE);
    empty(&p);
}

static void *submit_from_worker(void *arg)
{
    weft_executor *ex = (weft_executor *)arg;
    static int n;
    n = 0;
    weft_future *f[20];
    for (int i = 0; i < 20; i++)
        f[i] = weft_executor_submit(ex, add_one, &n, WEFT_FOREVER);
    for (int i = 0; i < 20; i++)
        weft_future_get(f[i], NULL, WEFT_FOREVER);
    return &n;
}

CASE(test_worker_makes_its_own_room)
{
    weft_executor_options o = {NULL, 0, 2, 0, NULL, NULL, NULL};
    weft_executor *ex = weft_executor_create(1, &o);
    void *n;
    weft_future *f = weft_executor_submit(ex, submit_from_worker, ex, WEFT_NOW);
    assert_int_equal(weft_future_get(f, &n, WEFT_FOREVER), 0);
    assert_int_equal(*(int *)n, 20);
    drain(ex);
}

// ---- Wait for all ----

static void *wait_for_all(void *arg)
{
    weft_executor *ex = (weft_executor *)arg;
    int code = weft_executor_wait(ex, WEFT_FOREVER);
    return code != 0 && errno == EDEADLK ? arg : NULL;
}

static void *wait_outside(void *arg)
{
    return submitter_calls(arg,
                           [](submitter *s) { s->n = weft_executor_wait(s->ex, WEFT_FOREVER); });
}

// A thread that waits for the executor in fn is told to stop; meanwhile nobody destroys it.
static void ends_by_stop(submitter *s, weft_executor *ex, void *(*fn)(void *))
{
    begin_asleep(s, ex, fn);
    assert_errno(weft_executor_destroy(ex), EBUSY);
    weft_thread_stop(s->thread);
    weft_thread_join(s->thread, NULL, WEFT_FOREVER);
    assert_int_equal(s->n, -1);
    assert_int_equal(s->error, ECANCELED);
}

CASE(test_wait_for_quiet)
{
    full p;
    submitter s;
    fill(&p);
    assert_errno(weft_executor_wait(p.ex, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_executor_wait(p.ex, weft_in_ms(2)), ETIMEDOUT);
    ends_by_stop(&s, p.ex, wait_outside);
    begin_asleep(&s, p.ex, wait_outside);
    weft_event_set(&p.g.open);
    weft_thread_join(s.thread, NULL, WEFT_FOREVER);
    assert_int_equal(s.n, 0);
    empty(&p);
}

// A task of the executor that looks at it finds nothing wrong.
static void holds_within(weft_executor *ex, void *(*fn)(void *))
{
    void *right = NULL;
    weft_future *f = weft_executor_submit(ex, fn, ex, WEFT_NOW);
    assert_int_equal(weft_future_get(f, &right, WEFT_FOREVER), 0);
    assert_non_null(right);
}

CASE(test_wait_within_a_task)
{
    weft_executor *ex = create(1);
    holds_within(ex, wait_for_all);
    drain(ex);
}

// ---- Map ----

typedef struct tally {
    weft_executor *ex;
    int counts[5000]; // atomic
    size_t largest;   // atomic
    int depth;
    gate *g;
} tally;

static void count_index(size_t i, void *arg)
{
    add_word(&((tally *)arg)->counts[i]);
}

static void count_range(size_t begin, size_t end, void *arg)
{
    tally *t = (tally *)arg;
    size_t seen = __atomic_load_n(&t->largest, __ATOMIC_RELAXED);
    while (end - begin > seen && !__atomic_compare_exchange_n(&t->largest, &seen, end - begin, true,
                                                              __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    for (size_t i = begin; i < end; i++)
        add_word(&t->counts[i]);
}

CASE(test_map_calls_each_index_once)
{
    static tally t;
    int threads[] = {1, 3, 20}; // 20: more parts than the frame holds
    for (int k = 0; k < 3; k++) {
        weft_executor *ex = create(threads[k]);
        for (size_t n = 0; n <= 5000; n = n * 3 + 1) {
            memset(&t, 0, sizeof t);
            assert_int_equal(weft_executor_map(ex, count_index, &t, n, WEFT_FOREVER), 0);
            for (size_t i = 0; i < 5000; i++)
                assert_int_equal(t.counts[i], i < n);
        }
        drain(ex);
    }
}

CASE(test_map_ranges_keeps_the_chunk)
{
    static tally t;
    weft_executor *ex = create(2);
    size_t chunks[] = {1, 7, 1000, 5000, 100000, 0}, largest[] = {1, 7, 1000, 5000, 5000, 312};
    for (int k = 0; k < 6; k++) {
        memset(&t, 0, sizeof t);
        assert_int_equal(
            weft_executor_map_ranges(ex, count_range, &t, 5000, chunks[k], WEFT_FOREVER), 0);
        assert_int_equal(t.largest, largest[k]);
        for (size_t i = 0; i < 5000; i++)
            assert_int_equal(t.counts[i], 1);
    }
    drain(ex);
}

static void map_deeper(size_t i, void *arg)
{
    tally *t = (tally *)arg;
    weft_executor_map(t->ex, count_index, t, 20, WEFT_FOREVER);
    add_word(&t->counts[100 + i]);
}

CASE(test_map_within_map)
{
    static tally t;
    for (int threads = 1; threads <= 2; threads++) {
        memset(&t, 0, sizeof t);
        t.ex = create(threads);
        assert_int_equal(weft_executor_map(t.ex, map_deeper, &t, 30, WEFT_FOREVER), 0);
        for (int i = 0; i < 20; i++)
            assert_int_equal(t.counts[i], 30);
        for (int i = 0; i < 30; i++)
            assert_int_equal(t.counts[100 + i], 1);
        drain(t.ex);
    }
}

// A pool that is busy elsewhere: the caller does it all.
CASE(test_map_on_a_busy_pool)
{
    static tally t;
    full p;
    memset(&t, 0, sizeof t);
    fill(&p);
    assert_int_equal(weft_executor_map(p.ex, count_index, &t, 100, WEFT_FOREVER), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(t.counts[i], 1);
    assert_int_equal(counters_of(p.ex).pending, 1);
    empty(&p);
}

static weft_deadline map_deadline;

static void count_past_deadline(size_t begin, size_t end, void *arg)
{
    count_range(begin, end, arg);
    while (weft_left(map_deadline) > 0)
        sched_yield();
}

CASE(test_map_stops_at_the_deadline)
{
    static tally t;
    full p;
    memset(&t, 0, sizeof t);
    fill(&p); // the caller is alone
    assert_errno(weft_executor_map(p.ex, count_index, &t, 100, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(t.counts[0], 0);
    map_deadline = weft_in_ms(500);
    assert_errno(weft_executor_map_ranges(p.ex, count_past_deadline, &t, 100, 10, map_deadline),
                 ETIMEDOUT);
    assert_int_equal(t.counts[9], 1);
    assert_int_equal(t.counts[10], 0);
    empty(&p);
}

// Says that it runs, and waits until the thread is told to stop.
static tally *await_stop(void *arg)
{
    tally *t = (tally *)arg;
    add_word(&t->depth);
    while (!weft_thread_stopping())
        sched_yield();
    return t;
}

// A thread of fn, which calls await_stop(), is told to stop, and finds nothing wrong.
static void run_and_stop(void *(*fn)(void *), tally *t)
{
    weft_thread *thread = weft_thread_start(fn, t, NULL);
    void *bad = t;
    await_word(&t->depth, 1);
    weft_thread_stop(thread);
    weft_thread_join(thread, &bad, WEFT_FOREVER);
    assert_null(bad);
}

static void *map_stopped(void *arg)
{
    tally *t = await_stop(arg);
    int code = weft_executor_map(t->ex, count_index, t, 5000, WEFT_FOREVER);
    return code == -1 && errno == ECANCELED ? NULL : arg;
}

CASE(test_map_by_a_stopped_thread)
{
    static tally t;
    full p;
    memset(&t, 0, sizeof t);
    fill(&p); // no worker helps out
    t.ex = p.ex;
    run_and_stop(map_stopped, &t);
    assert_int_equal(t.counts[0], 0);
    empty(&p);
}

typedef struct quiet_waits {
    weft_executor *ex;
    int count, stop; // atomic
} quiet_waits;

static void *wait_quiet(void *arg)
{
    quiet_waits *w = (quiet_waits *)arg;
    while (__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE) == 0)
        if (weft_executor_wait(w->ex, WEFT_FOREVER) == 0) {
            add_word(&w->count);
            sched_yield(); // so that the map gets the lock, and a processor
        }
    return NULL;
}

// What a map takes back has never run, but ends a wait for all all the same.
CASE(test_map_taken_back_leaves_quiet)
{
    static tally t;
    quiet_waits w = {create(1), 0, 0};
    weft_thread *waits = weft_thread_start(wait_quiet, &w, NULL);
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(weft_executor_map(w.ex, count_index, &t, 2, WEFT_FOREVER), 0);
        await_word(&w.count, __atomic_load_n(&w.count, __ATOMIC_ACQUIRE) + 2);
    }
    add_word(&w.stop);
    assert_int_equal(weft_thread_join(waits, NULL, WEFT_FOREVER), 0);
    drain(w.ex);
}

// ---- Resize ----

CASE(test_resize_grows)
{
    weft_executor *ex = create(1);
    gate g;
    gate_init(&g);
    weft_future *f[4];
    for (int i = 0; i < 4; i++)
        f[i] = weft_executor_submit(ex, pass, &g, WEFT_NOW);
    assert_int_equal(weft_executor_resize(ex, 4), 0);
    assert_int_equal(counters_of(ex).threads, 4);
    await_word(&g.inside, 4); // all at once
    weft_event_set(&g.open);
    for (int i = 0; i < 4; i++)
        assert_int_equal(weft_future_get(f[i], NULL, WEFT_FOREVER), 0);
    drain(ex);
}

static int threads_of_this_process(void)
{
    int n = 0;
    char line[128];
    FILE *status = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "Threads: %d", &n) == 1)
            break;
    fclose(status);
    return n;
}

CASE(test_resize_shrinks)
{
    int before = threads_of_this_process(), n = 0;
    weft_executor *ex = create(5);
    assert_errno(weft_executor_resize(ex, 0), EINVAL);
    assert_int_equal(weft_executor_resize(ex, 2), 0);
    while (threads_of_this_process() > before + 2)
        sched_yield();
    for (int i = 0; i < 20; i++)
        weft_future_release(weft_executor_submit(ex, add_one, &n, WEFT_NOW));
    assert_int_equal(weft_executor_wait(ex, WEFT_FOREVER), 0);
    assert_int_equal(n, 20);
    assert_int_equal(weft_executor_resize(ex, 3), 0);
    assert_int_equal(counters_of(ex).threads, 3);
    drain(ex);
    assert_int_equal(threads_of_this_process(), before);
}

static void *look_at_self(void *arg)
{
    sigset_t signals;
    cpu_set_t cpus;
    int *seen = (int *)arg, priority;
    pthread_sigmask(SIG_SETMASK, NULL, &signals);
    sched_getaffinity(0, sizeof cpus, &cpus);
    seen[0] = sigismember(&signals, SIGUSR1);
    seen[1] = sigismember(&signals, SIGUSR2);
    seen[2] = CPU_COUNT(&cpus);
    weft_thread_priority(NULL, &seen[5], &priority);
    add_word(&seen[3]);
    while (__atomic_load_n(&seen[4], __ATOMIC_ACQUIRE) == 0)
        sched_yield();
    return NULL;
}

// Workers are as their executor's creator was, whoever hires them.
CASE(test_resize_by_another_kind_of_thread)
{
    sigset_t before, one, other;
    cpu_set_t cpus, narrow;
    int policy, priority;
    assert_int_equal(weft_thread_priority(NULL, &policy, &priority), 0);
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    sigemptyset(&other);
    sigaddset(&other, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &one, &before);
    weft_executor *ex = create(1);
    sched_getaffinity(0, sizeof cpus, &cpus);
    int first = 0, seen[2][6] = {};
    while (!CPU_ISSET(first, &cpus))
        first++;
    CPU_ZERO(&narrow);
    CPU_SET(first, &narrow);
    sched_setaffinity(0, sizeof narrow, &narrow);
    pthread_sigmask(SIG_SETMASK, &other, NULL);
    if (policy == SCHED_OTHER)
        assert_int_equal(weft_thread_set_priority(NULL, SCHED_BATCH, priority), 0);
    assert_int_equal(weft_executor_resize(ex, 2), 0);
    assert_int_equal(weft_thread_set_priority(NULL, policy, priority), 0);
    sched_setaffinity(0, sizeof cpus, &cpus);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (int i = 0; i < 2; i++) // each on a worker of its own
        weft_future_release(weft_executor_submit(ex, look_at_self, seen[i], WEFT_NOW));
    for (int i = 0; i < 2; i++)
        await_word(&seen[i][3], 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(seen[i][0], 1);
        assert_int_equal(seen[i][1], 0);
        assert_int_equal(seen[i][2], CPU_COUNT(&cpus));
        assert_int_equal(seen[i][5], policy);
        __atomic_store_n(&seen[i][4], 1, __ATOMIC_RELEASE);
    }
    drain(ex);
}

CASE(test_resize_after_shutdown)
{
    weft_executor *ex = create(1);
    assert_int_equal(shut(ex, WEFT_DRAIN, WEFT_FOREVER), 0);
    assert_errno(weft_executor_resize(ex, 2), EPIPE);
    drain(ex);
}

// ---- Shutdown and destroy ----

CASE(test_shutdown_drains)
{
    weft_executor *ex = create(2);
    weft_future f;
    int n = 0;
    for (int i = 0; i < 100; i++)
        weft_future_release(weft_executor_submit(ex, add_one, &n, WEFT_NOW));
    assert_errno(shut(ex, 3, WEFT_FOREVER), EINVAL);
    assert_int_equal(shut(ex, WEFT_DRAIN, WEFT_FOREVER), 0);
    assert_int_equal(n, 100);
    assert_errno(weft_executor_submit(ex, add_one, &n, WEFT_NOW), EPIPE);
    assert_errno(weft_executor_submit(ex, add_one, &n, WEFT_FOREVER), EPIPE);
    assert_errno(weft_executor_submit_at(ex, &f, add_one, &n, WEFT_NOW), EPIPE);
    static tally t;
    assert_errno(weft_executor_map(ex, count_index, &t, 10, WEFT_FOREVER), EPIPE);
    assert_int_equal(shut(ex, WEFT_DISCARD, WEFT_NOW), 0);
    assert_errno(finish(ex, 3), EINVAL);
    drain(ex);
}

static void *drain(void *ex)
{
    return code_of(shut((weft_executor *)ex, WEFT_DRAIN, WEFT_FOREVER));
}

// The last task that a drain waits for may end by being cancelled, with all workers asleep.
CASE(test_shutdown_drains_until_the_last_is_cancelled)
{
    weft_executor *ex = weft_executor_create(2, nullptr);
    weft_future *promise = weft_future_create();
    weft_future *after = weft_executor_submit_after(
        ex, promise, [](void *) -> void * { return nullptr; }, nullptr);
    weft_thread *t = weft_thread_start(drain, ex, nullptr);
    await_asleep(weft_thread_id(t));
    assert_int_equal(weft_future_cancel(after), 0);
    assert_int_equal(joined(t), 0);
    assert_int_equal(weft_executor_destroy(ex), 0);
    assert_int_equal(weft_future_cancel(promise), 0);
    weft_future_release(after);
    weft_future_release(promise);
}

// Tasks that a promise lets in do not count for the limit, and leave no room beyond it.
CASE(test_many_where_more_wait_than_the_limit)
{
    weft_executor_options o = {};
    o.backlog = 2;
    weft_executor *ex = weft_executor_create(1, &o);
    static weft_event go;
    weft_future *promise = weft_future_create(), *after[5], many[3];
    void *args[3] = {};
    auto wait = [](void *) -> void * {
        weft_event_wait(&go, WEFT_FOREVER);
        return nullptr;
    };
    weft_future *busy = weft_executor_submit(ex, wait, nullptr, WEFT_NOW);
    while (weft_future_state(busy) == WEFT_FUTURE_PENDING)
        sched_yield();
    for (weft_future *&each : after)
        each = weft_executor_submit_after(ex, promise, wait, nullptr);
    assert_int_equal(weft_future_set(promise, nullptr), 0);
    assert_errno(weft_executor_submit_many(ex, many, 3, wait, args, WEFT_NOW), EMSGSIZE);
    assert_errno(weft_executor_submit_many(ex, many, 1, wait, args, WEFT_NOW), ETIMEDOUT);
    weft_event_set(&go);
    assert_int_equal(weft_executor_destroy(ex), 0);
    for (weft_future *each : after)
        weft_future_release(each);
    weft_future_release(busy);
    weft_future_release(promise);
}

CASE(test_shutdown_times_out_then_discards)
{
    full p;
    void *result = &p;
    fill(&p);
    assert_errno(shut(p.ex, WEFT_DRAIN, weft_in_ms(2)), ETIMEDOUT);
    // The running task waits in weft_event_wait: the discard ends that.
    assert_int_equal(shut(p.ex, WEFT_DISCARD, WEFT_FOREVER), 0);
    assert_int_equal(weft_future_get(p.running, &result, WEFT_NOW), 0);
    assert_null(result);
    assert_int_equal(weft_future_state(p.pending), WEFT_FUTURE_CANCELLED);
    assert_errno(weft_future_get(p.pending, NULL, WEFT_NOW), ECANCELED);
    drain(p.ex);
    assert_int_equal(weft_future_release(p.pending), 0); // outlives its executor
    assert_int_equal(p.g.inside, 1);
}

static void *end_own_pool(void *arg)
{
    weft_executor *ex = (weft_executor *)arg;
    int ok = weft_executor_join(ex, WEFT_FOREVER) == -1 && errno == EDEADLK;
    ok &= weft_executor_close(ex, WEFT_DRAIN) == 0;
    ok &= weft_executor_join(ex, WEFT_FOREVER) == -1 && errno == EDEADLK;
    ok &= weft_executor_destroy(ex) == -1 && errno == EDEADLK;
    ok &= weft_executor_submit(ex, end_own_pool, ex, WEFT_NOW) == NULL && errno == EPIPE;
    ok &= weft_executor_close(ex, WEFT_DISCARD) == 0 && weft_thread_stopping();
    return ok ? arg : NULL;
}

CASE(test_close_by_an_own_task)
{
    weft_executor *ex = create(1);
    holds_within(ex, end_own_pool);
    assert_int_equal(weft_executor_join(ex, WEFT_FOREVER), 0);
    drain(ex);
}

CASE(test_join_wants_a_close_before)
{
    weft_executor *ex = create(1);
    int n = 0;
    assert_errno(weft_executor_join(ex, WEFT_NOW), EBUSY);
    assert_errno(weft_executor_join(ex, WEFT_FOREVER), EBUSY);
    weft_future_release(weft_executor_submit(ex, add_one, &n, WEFT_NOW)); // it is open still
    assert_int_equal(weft_executor_close(ex, WEFT_DRAIN), 0);
    assert_int_equal(weft_executor_join(ex, WEFT_FOREVER), 0);
    assert_int_equal(n, 1);
    assert_int_equal(weft_executor_join(ex, WEFT_NOW), 0);
    drain(ex);
}

CASE(test_drain_becomes_discard)
{
    full p;
    fill(&p);
    assert_int_equal(weft_executor_close(p.ex, WEFT_DRAIN), 0);
    assert_int_equal(weft_future_state(p.pending), WEFT_FUTURE_PENDING);
    assert_errno(weft_executor_join(p.ex, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_executor_close(p.ex, WEFT_DISCARD), 0);
    assert_int_equal(weft_future_state(p.pending), WEFT_FUTURE_CANCELLED);
    assert_int_equal(weft_executor_close(p.ex, WEFT_DRAIN), 0); // takes nothing back
    drain(p.ex);
    assert_int_equal(weft_future_get(p.running, NULL, WEFT_NOW), 0);
    assert_int_equal(weft_future_release(p.pending), 0);
    assert_int_equal(p.g.inside, 1);
}

// So it does for what calls it without a word, such as a pointer that owns an executor.
CASE(test_destroy_of_an_open_one_drains)
{
    int n = 0;
    {
        std::unique_ptr<weft_executor, int (*)(weft_executor *)> ex(create(2),
                                                                    weft_executor_destroy);
        for (int i = 0; i < 100; i++)
            weft_future_release(weft_executor_submit(ex.get(), add_one, &n, WEFT_NOW));
    }
    assert_int_equal(n, 100);
}

CASE(test_statistics)
{
    full p;
    fill(&p);
    weft_executor_counters c = counters_of(p.ex);
    assert_int_equal(c.pending, 1);
    assert_int_equal(c.running, 1);
    assert_int_equal(c.threads, 1);
    assert_int_equal(c.alive, 1);
    assert_int_equal(c.blocked, 0);
    assert_int_equal(c.spares, 0);
    assert_errno(weft_executor_statistics(p.ex, NULL), EINVAL);
    assert_errno(weft_executor_statistics(NULL, &c), EINVAL);
    empty(&p);
}

static void *shut_down_waiting(void *arg)
{
    return submitter_calls(arg, [](submitter *s) { s->n = shut(s->ex, WEFT_DRAIN, WEFT_FOREVER); });
}

CASE(test_shutdown_ends_by_stop)
{
    full p;
    submitter s;
    fill(&p);
    ends_by_stop(&s, p.ex, shut_down_waiting);
    empty(&p);
}

// Clean-up works in a thread that was told to stop.
static void *destroy_stopped(void *arg)
{
    tally *t = await_stop(arg);
    for (int i = 0; i < 50; i++)
        weft_future_release(weft_executor_submit(t->ex, add_one, t->counts, WEFT_NOW));
    return weft_executor_destroy(t->ex) == 0 ? NULL : arg;
}

CASE(test_destroy_by_a_stopped_thread)
{
    static tally t;
    memset(&t, 0, sizeof t);
    t.ex = create(2);
    run_and_stop(destroy_stopped, &t);
    assert_int_equal(t.counts[0], 50);
}

static weft_slot slow_slot;

static void end_slowly(void *arg)
{
    weft_event_wait((weft_event *)arg, WEFT_FOREVER);
}

static void *take_slow_slot(void *arg)
{
    return weft_slot_set(&slow_slot, arg) == 0 ? arg : NULL;
}

// What a task left in its thread may take its time: the deadline holds all the same.
CASE(test_shutdown_does_not_outlast_its_deadline)
{
    weft_event go = WEFT_EVENT_INIT;
    weft_executor *ex = create(1);
    void *set = NULL;
    assert_int_equal(weft_slot_init(&slow_slot, end_slowly), 0);
    assert_int_equal(weft_future_get(weft_executor_submit(ex, take_slow_slot, &go, WEFT_NOW), &set,
                                     WEFT_FOREVER),
                     0);
    assert_ptr_equal(set, &go);
    assert_errno(shut(ex, WEFT_DRAIN, weft_in_ms(20)), ETIMEDOUT);
    assert_errno(shut(ex, WEFT_DRAIN, WEFT_NOW), ETIMEDOUT);
    weft_event_set(&go);
    drain(ex);
    assert_int_equal(weft_slot_destroy(&slow_slot), 0);
}

// ---- Idle ----

static void *wait_for_promise(void *arg)
{
    weft_future_wait((weft_future *)arg, WEFT_FOREVER);
    return arg;
}

// Two tasks that wait for a promise.
typedef struct two_waits {
    weft_executor *ex;
    weft_future *p, *f[2];
} two_waits;

static two_waits begin_two_waits(int threads)
{
    two_waits w = {create(threads), weft_future_create(), {}};
    for (int i = 0; i < 2; i++)
        assert_non_null(w.f[i] = weft_executor_submit(w.ex, wait_for_promise, w.p, WEFT_NOW));
    return w;
}

static void end_two_waits(two_waits *w)
{
    assert_int_equal(weft_future_set(w->p, NULL), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(weft_future_get(w->f[i], NULL, WEFT_FOREVER), 0);
    assert_int_equal(weft_future_release(w->p), 0);
    drain(w->ex);
}

CASE(test_statistics_of_those_who_wait)
{
    two_waits w = begin_two_waits(2);
    weft_executor_counters c;
    while ((c = counters_of(w.ex)).blocked < 2)
        sched_yield();
    assert_int_equal(c.running, 2);
    assert_int_equal(c.pending, 0);
    assert_int_equal(c.threads, 2);
    assert_true(c.spares > 0);
    assert_int_equal(c.alive, 2 + c.spares);
    end_two_waits(&w);
}

// Parked workers, and one that waits within a task, sleep until there is something: so some span
// comes that takes no processor's time.
CASE(test_idle_workers_take_no_processor)
{
    two_waits w = begin_two_waits(4);
    struct timespec before, after;
    int64_t used;
    do {
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
        weft_thread_sleep(weft_in_ms(100));
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
        used = (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec;
    } while (used > 2000000);
    end_two_waits(&w);
}

// ---- The descriptor ----

CASE(test_fd_counts_ended_tasks)
{
    weft_executor *ex = create(2);
    int n = 0, fd = weft_executor_fd(ex);
    assert_true(fd >= 0);
    assert_int_equal(weft_executor_fd(ex), fd);
    struct pollfd p = {fd, POLLIN, 0};
    assert_int_equal(poll(&p, 1, 0), 0);
    static tally t;
    assert_int_equal(weft_executor_map(ex, count_index, &t, 100, WEFT_FOREVER), 0);
    assert_int_equal(poll(&p, 1, 0), 0); // a map's parts are not tasks of the user
    weft_future *f[3];
    for (int i = 0; i < 3; i++)
        f[i] = weft_executor_submit(ex, add_one, &n, WEFT_NOW);
    uint64_t sum = 0, ended;
    while (sum < 3) {
        assert_int_equal(poll(&p, 1, -1), 1);
        assert_int_equal(read(fd, &ended, sizeof ended), sizeof ended);
        sum += ended;
    }
    assert_int_equal(sum, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft_future_get(f[i], NULL, WEFT_NOW), 0);
    drain(ex);
    assert_int_equal(poll(&p, 1, 0), 1);
    assert_int_equal(p.revents, POLLNVAL); // closed with the executor
}

// ---- Load ----

enum { SUBMITTERS = 3, EACH = 2000 };

typedef struct load {
    weft_executor *ex;
    int ran, refused, cancelled, ended; // atomic
} load;

static void *submit_load(void *arg)
{
    load *l = (load *)arg;
    for (int i = 0; i < EACH; i++) {
        weft_future *f = weft_executor_submit(l->ex, count_one, &l->ran, WEFT_NOW);
        if (f == NULL) {
            add_word(&l->refused);
            continue;
        }
        if (i % 3 == 0 && weft_future_cancel(f) == 0)
            add_word(&l->cancelled);
        else if (i % 3 == 1 && weft_future_get(f, NULL, WEFT_FOREVER) != 0)
            add_word(&l->cancelled);
        else if (i % 3 == 1)
            continue;
        weft_future_release(f);
    }
    add_word(&l->ended);
    return NULL;
}

static void start_load(load *l, weft_thread *t[], int threads)
{
    memset(l, 0, sizeof *l);
    l->ex = create(threads);
    for (int i = 0; i < SUBMITTERS; i++)
        t[i] = weft_thread_start(submit_load, l, NULL);
}

CASE(test_resize_under_load)
{
    load l;
    weft_thread *t[SUBMITTERS];
    start_load(&l, t, 2);
    for (int i = 0; __atomic_load_n(&l.ended, __ATOMIC_ACQUIRE) < SUBMITTERS; i++) {
        assert_int_equal(weft_executor_resize(l.ex, 1 + i % 5), 0);
        sched_yield();
    }
    for (int i = 0; i < SUBMITTERS; i++)
        weft_thread_join(t[i], NULL, WEFT_FOREVER);
    assert_int_equal(weft_executor_wait(l.ex, WEFT_FOREVER), 0);
    assert_int_equal(l.ran + l.cancelled, SUBMITTERS * EACH);
    assert_int_equal(l.refused, 0);
    drain(l.ex);
}

CASE(test_shutdown_under_load)
{
    for (int round = 0; round < 10; round++) {
        load l;
        weft_thread *t[SUBMITTERS];
        start_load(&l, t, 2);
        await_word(&l.ran, 50 * round);
        int how = round % 2 ? WEFT_DISCARD : WEFT_DRAIN;
        assert_int_equal(shut(l.ex, how, WEFT_FOREVER), 0);
        int ran = l.ran;
        for (int i = 0; i < SUBMITTERS; i++)
            weft_thread_join(t[i], NULL, WEFT_FOREVER);
        assert_int_equal(l.ran, ran); // nothing after the shutdown
        // A discard also ends those that were released with nobody to count them.
        int known = l.ran + l.refused + l.cancelled;
        if (how == WEFT_DRAIN)
            assert_int_equal(known, SUBMITTERS * EACH);
        else
            assert_in_range(known, 1, SUBMITTERS * EACH);
        drain(l.ex);
    }
}

static void *discard_all(void *pool)
{
    weft_executor_close((weft_executor *)pool, WEFT_DISCARD);
    return NULL;
}

// Nor is it at its end between two of those tasks.
CASE(test_join_waits_for_another_threads_discard)
{
    enum { N = 10000, ROUNDS = 10 };
    static weft_future futures[N];
    static void *args[N];
    for (int round = 0; round < ROUNDS; round++) {
        gate g;
        gate_init(&g);
        weft_executor *ex = weft_executor_create(1, NULL);
        weft_future *f = weft_executor_submit(ex, pass, &g, WEFT_NOW);
        await_word(&g.inside, 1);
        assert_int_equal(weft_executor_submit_many(ex, futures, N, pass, args, WEFT_NOW), 0);
        weft_thread *t = weft_thread_start(discard_all, ex, NULL);
        while (weft_executor_join(ex, WEFT_NOW) != 0)
            assert_true(errno == EBUSY || errno == ETIMEDOUT); // EBUSY: not closed yet
        assert_int_equal(weft_future_state(&futures[N - 1]), WEFT_FUTURE_CANCELLED);
        weft_future_release(f);
        weft_thread_join(t, NULL, WEFT_FOREVER);
        assert_int_equal(weft_executor_destroy(ex), 0);
    }
}

RUN_CASES()
