// weft_ring: bounds, batches, close, stop, the fallbacks without membarrier(2), and
// stress on the smallest ring with exact accounting.
#include "../runner.h"
#include "asleep.h"

#include <weft/queue.h>
#include <weft/thread.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static weft_ring *create(size_t capacity)
{
    weft_ring *r = weft_ring_create(sizeof(int), capacity);
    assert_non_null(r);
    return r;
}

static int put(weft_ring *r, int v)
{
    return weft_ring_put(r, &v, WEFT_NOW);
}

static int get(weft_ring *r)
{
    int v = -1;
    assert_int_equal(weft_ring_get(r, &v, WEFT_NOW), 0);
    return v;
}

// A thread that makes one call on a ring and says how it ended.
enum call { PUT, GET, PUT_MANY, GET_MANY, JOIN };

typedef struct caller {
    weft_ring *r;
    enum call call;
    int items[4];
    pid_t tid; // atomic; set before the call
    ssize_t code;
    int error;
    weft_thread *thread;
} caller;

static void *call(void *arg)
{
    caller *c = (caller *)arg;
    __atomic_store_n(&c->tid, weft_thread_id(NULL), __ATOMIC_RELEASE);
    errno = 0;
    switch (c->call) {
    case PUT:
        c->code = weft_ring_put(c->r, c->items, WEFT_FOREVER);
        break;
    case GET:
        c->code = weft_ring_get(c->r, c->items, WEFT_FOREVER);
        break;
    case PUT_MANY:
        c->code = weft_ring_put_many(c->r, c->items, 4, WEFT_FOREVER);
        break;
    case GET_MANY:
        c->code = weft_ring_get_many(c->r, c->items, 4, WEFT_FOREVER);
        break;
    case JOIN:
        c->code = weft_ring_join(c->r, WEFT_FOREVER);
    }
    c->error = errno;
    return NULL;
}

static void begin(caller *c, weft_ring *r, enum call what)
{
    memset(c, 0, sizeof *c);
    c->r = r;
    c->call = what;
    for (int i = 0; i < 4; i++)
        c->items[i] = 100 + i;
    c->thread = weft_thread_start(call, c, NULL);
    assert_non_null(c->thread);
}

static void begin_asleep(caller *c, weft_ring *r, enum call what)
{
    pid_t tid;
    begin(c, r, what);
    while ((tid = __atomic_load_n(&c->tid, __ATOMIC_ACQUIRE)) == 0)
        sched_yield();
    await_asleep(tid);
}

static void end(caller *c, ssize_t code, int error)
{
    assert_int_equal(weft_thread_join(c->thread, NULL, WEFT_FOREVER), 0);
    assert_int_equal(c->code, code);
    assert_int_equal(c->error, error);
}

// ---- Create ----

static void test_create_refuses_bad_arguments(void **state)
{
    (void)state;
    assert_errno(weft_ring_create(0, 8), EINVAL);
    assert_errno(weft_ring_create(8, 0), EINVAL);
    assert_errno(weft_ring_create(8, SIZE_MAX), EOVERFLOW);
    assert_errno(weft_ring_create(SIZE_MAX - 8, 2), EOVERFLOW);
    assert_errno(weft_ring_create(64, SIZE_MAX / 64), EOVERFLOW);
    assert_int_equal(weft_ring_destroy(NULL), 0);
}

#if !RUNNER_SANITIZED // a sanitizer's malloc ends the process instead
static void test_create_out_of_memory(void **state)
{
    (void)state;
    assert_errno(weft_ring_create(PTRDIFF_MAX / 4, 2), ENOMEM);
}
#endif

static void test_capacity_is_rounded_up(void **state)
{
    (void)state;
    size_t asked[] = {1, 2, 3, 4, 5, 1000, 1024}, given[] = {2, 2, 4, 4, 8, 1024, 1024};
    for (int i = 0; i < 7; i++) {
        weft_ring *r = create(asked[i]);
        assert_int_equal(weft_ring_capacity(r), given[i]);
        for (size_t n = 0; n < given[i]; n++)
            assert_int_equal(put(r, (int)n), 0);
        assert_errno(put(r, 0), ETIMEDOUT);
        assert_int_equal(weft_ring_length(r), given[i]);
        assert_int_equal(weft_ring_destroy(r), 0);
    }
}

static void test_items_of_every_size(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 40; size++) {
        weft_ring *r = weft_ring_create(size, 2);
        char in[80], out[81];
        for (size_t i = 0; i < sizeof in; i++)
            in[i] = (char)(size + i);
        memset(out, 0, sizeof out);
        assert_int_equal(weft_ring_put_many(r, in, 2, WEFT_NOW), 2);
        assert_int_equal(weft_ring_get(r, out, WEFT_NOW), 0);
        assert_int_equal(weft_ring_get(r, out + size, WEFT_NOW), 0);
        assert_memory_equal(in, out, 2 * size);
        assert_int_equal(out[2 * size], 0);
        assert_int_equal(weft_ring_destroy(r), 0);
    }
}

// ---- One thread ----

static void test_order_over_many_laps(void **state)
{
    (void)state;
    weft_ring *r = create(2);
    for (int i = 0; i < 1000; i += 2) {
        assert_int_equal(put(r, i), 0);
        assert_int_equal(put(r, i + 1), 0);
        assert_int_equal(get(r), i);
        assert_int_equal(get(r), i + 1);
        assert_int_equal(weft_ring_length(r), 0);
    }
    assert_int_equal(weft_ring_destroy(r), 0);
}

static void test_deadlines(void **state)
{
    (void)state;
    weft_ring *r = create(2);
    int v = 7;
    assert_errno(weft_ring_get(r, &v, WEFT_NOW), ETIMEDOUT);
    int64_t start = weft_now();
    assert_errno(weft_ring_get(r, &v, weft_in_ms(5)), ETIMEDOUT);
    assert_true(weft_now() - start >= 5000000);
    assert_int_equal(v, 7);
    put(r, 1);
    put(r, 2);
    assert_errno(weft_ring_put(r, &v, weft_in_ms(2)), ETIMEDOUT);
    assert_int_equal(get(r), 1);
    assert_int_equal(weft_ring_destroy(r), 0);
}

static void test_batches(void **state)
{
    (void)state;
    weft_ring *r = create(4);
    int in[6] = {1, 2, 3, 4, 5, 6}, out[6];
    assert_int_equal(weft_ring_put_many(r, in, 0, WEFT_NOW), 0);
    assert_int_equal(weft_ring_get_many(r, out, 0, WEFT_NOW), 0);
    assert_errno(weft_ring_get_many(r, out, 6, WEFT_NOW), ETIMEDOUT);
    put(r, 0);
    assert_int_equal(get(r), 0); // so that the batch wraps
    errno = 0;
    assert_int_equal(weft_ring_put_many(r, in, 6, WEFT_NOW), 4);
    assert_int_equal(errno, ETIMEDOUT);
    assert_errno(weft_ring_put_many(r, in, 1, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_ring_get_many(r, out, 3, WEFT_NOW), 3);
    assert_int_equal(weft_ring_get_many(r, out + 3, 6, WEFT_NOW), 1);
    assert_memory_equal(in, out, 4 * sizeof *in);
    assert_int_equal(weft_ring_destroy(r), 0);
}

// ---- Sleeping and waking ----

static void test_a_sleeping_get_wakes(void **state)
{
    (void)state;
    weft_ring *r = create(2);
    caller c;
    begin_asleep(&c, r, GET);
    errno = 4711;
    put(r, 1);
    assert_int_equal(errno, 4711);
    end(&c, 0, 0);
    assert_int_equal(c.items[0], 1);
    assert_int_equal(weft_ring_destroy(r), 0);
}

static void test_a_sleeping_put_wakes(void **state)
{
    (void)state;
    weft_ring *r = create(2);
    caller c;
    put(r, 1);
    put(r, 2);
    begin_asleep(&c, r, PUT);
    assert_int_equal(get(r), 1);
    end(&c, 0, 0);
    assert_int_equal(get(r), 2);
    assert_int_equal(get(r), 100);
    assert_int_equal(weft_ring_destroy(r), 0);
}

static void test_put_many_waits_again_and_again(void **state)
{
    (void)state;
    weft_ring *r = create(2);
    caller c;
    begin(&c, r, PUT_MANY);
    for (int i = 0; i < 4; i++) {
        int v;
        assert_int_equal(weft_ring_get(r, &v, WEFT_FOREVER), 0);
        assert_int_equal(v, 100 + i);
    }
    end(&c, 4, 0);
    assert_int_equal(weft_ring_destroy(r), 0);
}

// One notice for the batch, then each getter passes it on to the next.
static void test_put_many_wakes_every_get(void **state)
{
    (void)state;
    weft_ring *r = create(4);
    caller c[4];
    int items[4] = {1, 2, 3, 4}, sum = 0;
    for (int i = 0; i < 4; i++)
        begin_asleep(&c[i], r, GET);
    assert_int_equal(weft_ring_put_many(r, items, 4, WEFT_NOW), 4);
    for (int i = 0; i < 4; i++) {
        end(&c[i], 0, 0);
        sum += c[i].items[0];
    }
    assert_int_equal(sum, 10);
    assert_int_equal(weft_ring_destroy(r), 0);
}

static void test_get_many_wakes_every_put(void **state)
{
    (void)state;
    weft_ring *r = create(4);
    caller c[4];
    int items[4] = {1, 2, 3, 4};
    assert_int_equal(weft_ring_put_many(r, items, 4, WEFT_NOW), 4);
    for (int i = 0; i < 4; i++)
        begin_asleep(&c[i], r, PUT);
    assert_int_equal(weft_ring_get_many(r, items, 4, WEFT_NOW), 4);
    for (int i = 0; i < 4; i++)
        end(&c[i], 0, 0);
    assert_int_equal(weft_ring_length(r), 4);
    assert_int_equal(weft_ring_destroy(r), 0);
}

// ---- Close ----

static void test_close_drains(void **state)
{
    (void)state;
    weft_ring *r = create(4);
    int v;
    put(r, 1);
    put(r, 2);
    assert_errno(weft_ring_close(r, 2), EINVAL);
    assert_int_equal(weft_ring_close(r, WEFT_DRAIN), 0);
    assert_errno(put(r, 3), EPIPE);
    assert_errno(weft_ring_put(r, &v, WEFT_FOREVER), EPIPE);
    assert_errno(weft_ring_put_many(r, &v, 1, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_ring_length(r), 2);
    assert_int_equal(get(r), 1);
    assert_int_equal(get(r), 2);
    assert_errno(weft_ring_get(r, &v, WEFT_FOREVER), EPIPE);
    assert_errno(weft_ring_get_many(r, &v, 1, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_ring_close(r, WEFT_DRAIN), 0);
    assert_int_equal(weft_ring_destroy(r), 0);
}

static void test_close_discards(void **state)
{
    (void)state;
    weft_ring *r = create(4);
    int v;
    put(r, 1);
    put(r, 2);
    assert_int_equal(get(r), 1);
    assert_int_equal(weft_ring_task_done(r), 0);
    assert_int_equal(weft_ring_close(r, WEFT_DRAIN), 0);
    assert_int_equal(weft_ring_close(r, WEFT_DISCARD), 0);
    assert_int_equal(weft_ring_close(r, WEFT_DISCARD), 0);
    assert_int_equal(weft_ring_close(r, WEFT_DRAIN), 0);
    assert_int_equal(weft_ring_length(r), 0);
    assert_errno(weft_ring_get(r, &v, WEFT_FOREVER), EPIPE);
    assert_errno(weft_ring_put(r, &v, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_ring_join(r, WEFT_NOW), 0);
    assert_errno(weft_ring_task_done(r), EINVAL);
    assert_int_equal(weft_ring_destroy(r), 0);
}

static void test_close_wakes_everybody(void **state)
{
    (void)state;
    for (int full = 0; full <= 1; full++)
        for (int how = WEFT_DRAIN; how <= WEFT_DISCARD; how++) {
            weft_ring *r = create(2);
            caller c[4];
            if (full) {
                put(r, 1);
                put(r, 2);
            }
            for (int i = 0; i < 4; i++)
                begin_asleep(&c[i], r, full ? (i % 2 ? PUT : PUT_MANY) : i % 2 ? GET : GET_MANY);
            assert_int_equal(weft_ring_close(r, how), 0);
            for (int i = 0; i < 4; i++)
                end(&c[i], -1, EPIPE);
            assert_int_equal(weft_ring_destroy(r), 0);
        }
}

static void test_destroy_while_a_thread_waits(void **state)
{
    (void)state;
    weft_ring *r = create(2);
    caller c;
    begin_asleep(&c, r, GET);
    assert_errno(weft_ring_destroy(r), EBUSY);
    put(r, 1);
    end(&c, 0, 0);
    begin_asleep(&c, r, JOIN);
    assert_errno(weft_ring_destroy(r), EBUSY);
    assert_int_equal(weft_ring_task_done(r), 0);
    end(&c, 0, 0);
    assert_int_equal(weft_ring_destroy(r), 0);
}

// ---- task_done and join ----

static void test_join_counts_tasks(void **state)
{
    (void)state;
    weft_ring *r = create(4);
    caller c;
    assert_int_equal(weft_ring_join(r, WEFT_NOW), 0);
    assert_errno(weft_ring_task_done(r), EINVAL);
    put(r, 1);
    put(r, 2);
    assert_errno(weft_ring_join(r, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_ring_join(r, weft_in_ms(2)), ETIMEDOUT);
    begin_asleep(&c, r, JOIN);
    assert_int_equal(weft_ring_task_done(r), 0);
    assert_errno(weft_ring_join(r, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_ring_task_done(r), 0);
    end(&c, 0, 0);
    assert_errno(weft_ring_task_done(r), EINVAL);
    assert_int_equal(weft_ring_destroy(r), 0);
}

static void test_discard_ends_join(void **state)
{
    (void)state;
    weft_ring *r = create(4);
    caller c;
    put(r, 1);
    put(r, 2);
    begin_asleep(&c, r, JOIN);
    assert_int_equal(weft_ring_close(r, WEFT_DISCARD), 0);
    end(&c, 0, 0);
    assert_int_equal(weft_ring_destroy(r), 0);
}

// ---- Stop ----

static void test_stop_ends_every_wait(void **state)
{
    (void)state;
    enum call calls[] = {PUT, GET, PUT_MANY, GET_MANY, JOIN};
    for (int i = 0; i < 5; i++) {
        bool full = calls[i] == PUT || calls[i] == PUT_MANY || calls[i] == JOIN;
        weft_ring *r = create(2);
        caller c;
        if (full) {
            put(r, 1);
            put(r, 2);
        }
        begin_asleep(&c, r, calls[i]);
        assert_int_equal(weft_thread_stop(c.thread), 0);
        end(&c, -1, ECANCELED);
        assert_int_equal(weft_ring_length(r), full ? 2 : 0);
        assert_int_equal(weft_ring_destroy(r), 0);
    }
}

static void test_stop_loses_no_item(void **state)
{
    (void)state;
    for (int round = 0; round < 100; round++) {
        weft_ring *r = create(2);
        caller a, b;
        begin(&a, r, GET);
        begin(&b, r, GET);
        if (round % 2 == 0) {
            while (__atomic_load_n(&a.tid, __ATOMIC_ACQUIRE) == 0)
                sched_yield();
            await_asleep(a.tid);
        }
        put(r, 1);
        weft_thread_stop(a.thread);
        put(r, 2);
        weft_thread_join(a.thread, NULL, WEFT_FOREVER);
        weft_thread_join(b.thread, NULL, WEFT_FOREVER);
        assert_int_equal(b.code, 0);
        assert_true(a.code == 0 || a.error == ECANCELED);
        assert_int_equal(weft_ring_length(r), a.code == 0 ? 0 : 1);
        assert_int_equal(weft_ring_destroy(r), 0);
    }
}

// ---- Stress ----

enum { THREADS = 4, EACH = 20000 / (RUNNER_SANITIZED ? 4 : 1) };

typedef struct stress {
    weft_ring *r;
    uint64_t sum, count, disorder; // atomic
    int number;                    // atomic: the producers' numbers
    bool many;
} stress;

typedef struct item {
    uint32_t producer, serial;
} item;

static void *produce(void *arg)
{
    stress *s = (stress *)arg;
    uint32_t me = (uint32_t)__atomic_fetch_add(&s->number, 1, __ATOMIC_RELAXED);
    for (uint32_t i = 1; i <= EACH; i += 2) {
        item v[2] = {{me, i}, {me, i + 1}};
        if (s->many) {
            weft_ring_put_many(s->r, v, 2, WEFT_FOREVER);
        } else {
            weft_ring_put(s->r, &v[0], WEFT_FOREVER);
            weft_ring_put(s->r, &v[1], WEFT_FOREVER);
        }
    }
    return NULL;
}

// Each consumer sees the items of one producer in the order in which they were put.
static void *consume(void *arg)
{
    stress *s = (stress *)arg;
    uint32_t last[THREADS] = {0};
    item v[3];
    for (;;) {
        ssize_t n = s->many ? weft_ring_get_many(s->r, v, 3, WEFT_FOREVER)
                            : weft_ring_get(s->r, v, WEFT_FOREVER) + 1;
        if (n <= 0)
            return NULL;
        for (ssize_t i = 0; i < n; i++) {
            if (v[i].serial <= last[v[i].producer])
                __atomic_fetch_add(&s->disorder, 1, __ATOMIC_RELAXED);
            last[v[i].producer] = v[i].serial;
            __atomic_fetch_add(&s->sum, v[i].serial, __ATOMIC_RELAXED);
            __atomic_fetch_add(&s->count, 1, __ATOMIC_RELAXED);
            weft_ring_task_done(s->r);
        }
    }
}

// 0 when every item came out once and in order.
static int run_stress(size_t capacity, bool many)
{
    stress s = {weft_ring_create(sizeof(item), capacity), 0, 0, 0, 0, many};
    weft_thread *producers[THREADS], *consumers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        consumers[i] = weft_thread_start(consume, &s, NULL);
        producers[i] = weft_thread_start(produce, &s, NULL);
    }
    for (int i = 0; i < THREADS; i++)
        weft_thread_join(producers[i], NULL, WEFT_FOREVER);
    int bad = weft_ring_join(s.r, WEFT_FOREVER) != 0;
    bad |= weft_ring_close(s.r, WEFT_DRAIN) != 0;
    for (int i = 0; i < THREADS; i++)
        weft_thread_join(consumers[i], NULL, WEFT_FOREVER);
    bad |= s.count != (uint64_t)THREADS * EACH;
    bad |= s.sum != (uint64_t)THREADS * EACH * (EACH + 1) / 2;
    bad |= s.disorder != 0;
    return bad | (weft_ring_destroy(s.r) != 0);
}

static void test_stress_eight_threads_on_two_cells(void **state)
{
    (void)state;
    assert_int_equal(run_stress(2, false), 0);
    assert_int_equal(run_stress(2, true), 0);
}

static void test_stress_wider_rings(void **state)
{
    (void)state;
    assert_int_equal(run_stress(8, true), 0);
    assert_int_equal(run_stress(64, false), 0);
}

typedef struct closing {
    weft_ring *r;
    uint64_t put, got; // atomic
    int started;       // atomic
} closing;

static void *put_until_closed(void *arg)
{
    closing *c = (closing *)arg;
    int v = 1;
    add_word(&c->started);
    while (weft_ring_put(c->r, &v, WEFT_FOREVER) == 0)
        __atomic_fetch_add(&c->put, 1, __ATOMIC_RELAXED);
    return errno == EPIPE ? NULL : arg;
}

static void *get_until_closed(void *arg)
{
    closing *c = (closing *)arg;
    int v;
    add_word(&c->started);
    while (weft_ring_get(c->r, &v, WEFT_FOREVER) == 0)
        __atomic_fetch_add(&c->got, 1, __ATOMIC_RELAXED);
    return errno == EPIPE ? NULL : arg;
}

static void test_close_under_load(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        closing c = {create(2), 0, 0, 0};
        weft_thread *t[6];
        for (int i = 0; i < 6; i++)
            t[i] = weft_thread_start(i % 2 ? put_until_closed : get_until_closed, &c, NULL);
        await_word(&c.started, 6);
        assert_int_equal(weft_ring_close(c.r, round % 2 ? WEFT_DISCARD : WEFT_DRAIN), 0);
        for (int i = 0; i < 6; i++) {
            void *bad = &c;
            assert_int_equal(weft_thread_join(t[i], &bad, WEFT_FOREVER), 0);
            assert_null(bad);
        }
        if (round % 2)
            assert_in_range(c.put - c.got, 0, 2);
        else
            assert_int_equal(c.put, c.got);
        assert_int_equal(weft_ring_destroy(c.r), 0);
    }
}

// Many short sleeps on both sides, each ended by one item: a lost wake-up hangs here.
typedef struct pair {
    weft_ring *to, *from;
    int turns;
} pair;

static void *echo(void *arg)
{
    pair *p = (pair *)arg;
    int v;
    while (weft_ring_get(p->to, &v, WEFT_FOREVER) == 0)
        weft_ring_put(p->from, &v, WEFT_FOREVER);
    return NULL;
}

static void test_ping_pong_loses_no_wake(void **state)
{
    (void)state;
    pair p = {create(2), create(2), 3000};
    weft_thread *t[3];
    for (int i = 0; i < 3; i++)
        t[i] = weft_thread_start(echo, &p, NULL);
    for (int i = 0; i < p.turns; i++) {
        int v = i;
        assert_int_equal(weft_ring_put(p.to, &v, WEFT_FOREVER), 0);
        assert_int_equal(weft_ring_get(p.from, &v, WEFT_FOREVER), 0);
        assert_int_equal(v, i);
    }
    weft_ring_close(p.to, WEFT_DRAIN);
    for (int i = 0; i < 3; i++)
        weft_thread_join(t[i], NULL, WEFT_FOREVER);
    assert_int_equal(weft_ring_destroy(p.to), 0);
    assert_int_equal(weft_ring_destroy(p.from), 0);
}

// ---- Without membarrier ----

static int forbid_membarrier(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return 1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0;
}

static int slept_and_woke(weft_ring *r)
{
    caller c;
    begin_asleep(&c, r, GET);
    int bad = put(r, 5) != 0;
    weft_thread_join(c.thread, NULL, WEFT_FOREVER);
    return bad | (c.code != 0) | (c.items[0] != 5) | (weft_ring_destroy(r) != 0);
}

static int exit_status(pid_t pid)
{
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_membarrier_refused_from_the_start(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(forbid_membarrier() | run_stress(2, false) |
              slept_and_woke(weft_ring_create(sizeof(int), 2)));
    assert_int_equal(exit_status(pid), 0);
}

static void test_membarrier_taken_away(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        weft_ring *r = weft_ring_create(sizeof(int), 2);
        _exit(forbid_membarrier() | slept_and_woke(r));
    }
    assert_int_equal(exit_status(pid), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create_refuses_bad_arguments),
#if !RUNNER_SANITIZED
        TEST(test_create_out_of_memory),
#endif
        TEST(test_capacity_is_rounded_up),
        TEST(test_items_of_every_size),
        TEST(test_order_over_many_laps),
        TEST(test_deadlines),
        TEST(test_batches),
        TEST(test_a_sleeping_get_wakes),
        TEST(test_a_sleeping_put_wakes),
        TEST(test_put_many_waits_again_and_again),
        TEST(test_put_many_wakes_every_get),
        TEST(test_get_many_wakes_every_put),
        TEST(test_close_drains),
        TEST(test_close_discards),
        TEST(test_close_wakes_everybody),
        TEST(test_destroy_while_a_thread_waits),
        TEST(test_join_counts_tasks),
        TEST(test_discard_ends_join),
        TEST(test_stop_ends_every_wait),
        TEST(test_stop_loses_no_item),
        TEST(test_stress_eight_threads_on_two_cells),
        TEST(test_stress_wider_rings),
        TEST(test_close_under_load),
        TEST(test_ping_pong_loses_no_wake),
        TEST(test_membarrier_refused_from_the_start),
        TEST(test_membarrier_taken_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
