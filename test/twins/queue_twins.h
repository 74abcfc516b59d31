// queue_twins.h: the queues: weft_queue in its orders, weft_ring, weft_shared_queue,
// weft_remote_queue.  Their items are ints.
#ifndef WEFT_TEST_QUEUE_TWINS_H
#define WEFT_TEST_QUEUE_TWINS_H

#include "../refuses.h"
#include "twins.h"

#include <weft/queue.h>
#include <weft/shared_queue.h>

typedef struct queue_calls {
    void *(*open)(size_t capacity, int how); // how: as the kind says
    int (*destroy)(void *q);
    int (*put)(void *q, const int *v, weft_deadline d);
    int (*get)(void *q, int *v, weft_deadline d);
    ssize_t (*put_many)(void *q, const int *v, size_t n, weft_deadline d); // or null
    ssize_t (*get_many)(void *q, int *v, size_t n, weft_deadline d);
    int (*close)(void *q, int how);
    ssize_t (*length)(void *q);
    int (*task_done)(void *q);
    int (*join)(void *q, weft_deadline d);
} queue_calls;

enum {
    NEWEST_FIRST = 1, // else the oldest, also where it is by priority: the cases put in that order
    SAYS_BUSY = 2,    // destroy does, while somebody waits
    UNBOUNDED = 4,    // it may be: capacity 0
};

typedef struct queue_kind {
    struct kin kin;
    const queue_calls *calls;
    int how;
    size_t least, tight; // capacities: the least; the least that holds an item of any size
    int each, rounds;    // how much stress: items of one producer, rounds
} queue_kind;

static const queue_calls *twin;
static const queue_kind *kind;

// ---- Between threads ----

static int by_value(const void *a, const void *b, void *)
{
    return *(const int *)a - *(const int *)b;
}

static void *queue_open(size_t capacity, int order)
{
    weft_queue_options o = {order, order == WEFT_PRIORITY ? by_value : nullptr, nullptr};
    return weft_queue_create(sizeof(int), capacity, &o);
}

#define CALLS(Q)                                                                                   \
    [](void *q) { return Q##_destroy((Q *)q); },                                                   \
        [](void *q, const int *v, weft_deadline d) { return Q##_put((Q *)q, v, d); },              \
        [](void *q, int *v, weft_deadline d) { return Q##_get((Q *)q, v, d); },                    \
        [](void *q, const int *v, size_t n, weft_deadline d) {                                     \
            return Q##_put_many((Q *)q, v, n, d);                                                  \
        },                                                                                         \
        [](void *q, int *v, size_t n, weft_deadline d) { return Q##_get_many((Q *)q, v, n, d); },  \
        [](void *q, int how) { return Q##_close((Q *)q, how); },                                   \
        [](void *q) { return (ssize_t)Q##_length((Q *)q); },                                       \
        [](void *q) { return Q##_task_done((Q *)q); },                                             \
        [](void *q, weft_deadline d) { return Q##_join((Q *)q, d); }

static const queue_calls queue_twin = {queue_open, CALLS(weft_queue)};

static const queue_calls ring_twin = {
    [](size_t n, int) -> void * { return weft_ring_create(sizeof(int), n); }, CALLS(weft_ring)};

// ---- Between processes ----

// Messages are of several sizes, small ones of numbers below 256.
static size_t size_of(int v)
{
    return sizeof v + (size_t)(v >> 8) % 50;
}

static int shared_put(void *q, const int *v, weft_deadline d)
{
    char m[64];
    memset(m, *v, sizeof m);
    memcpy(m, v, sizeof *v);
    return weft_shared_queue_put((weft_shared_queue *)q, m, size_of(*v), d);
}

static int shared_get(void *q, int *v, weft_deadline d)
{
    char m[64], expected[64];
    ssize_t n = weft_shared_queue_get((weft_shared_queue *)q, m, sizeof m, d);
    if (n < 0)
        return -1;
    memcpy(v, m, sizeof *v);
    memset(expected, *v, sizeof expected);
    return (size_t)n == size_of(*v) && memcmp(m + 4, expected, (size_t)n - 4) == 0 ? 0 : -2;
}

static ssize_t shared_put_many(void *q, const int *v, size_t n, weft_deadline d)
{
    struct iovec messages[6];
    for (size_t i = 0; i < n; i++)
        messages[i] = {(void *)(v + i), sizeof *v};
    return weft_shared_queue_put_many((weft_shared_queue *)q, messages, n, d);
}

static ssize_t shared_get_many(void *q, int *v, size_t n, weft_deadline d)
{
    struct iovec messages[6];
    for (size_t i = 0; i < n; i++)
        messages[i] = {v + i, sizeof *v};
    return weft_shared_queue_get_many((weft_shared_queue *)q, messages, n, d);
}

static void *shared_open(size_t capacity, int spin)
{
    weft_shared_queue_options o = {};
    o.spin = spin;
    return weft_shared_queue_create(nullptr, capacity * weft_shared_queue_cost(4, false), &o);
}

static const queue_calls shared_twin = {
    shared_open,
    [](void *q) { return weft_shared_queue_destroy((weft_shared_queue *)q); },
    shared_put,
    shared_get,
    shared_put_many,
    shared_get_many,
    [](void *q, int how) { return weft_shared_queue_close((weft_shared_queue *)q, how); },
    [](void *q) { return (ssize_t)weft_shared_queue_length((weft_shared_queue *)q); },
    [](void *q) { return weft_shared_queue_task_done((weft_shared_queue *)q); },
    [](void *q, weft_deadline d) { return weft_shared_queue_join((weft_shared_queue *)q, d); }};

// ---- By a manager ----

static void *remote_open(size_t capacity, int)
{
    return weft_remote_queue_open(client_of(&here), new_name(), capacity);
}

static int remote_get(void *q, int *v, weft_deadline d)
{
    ssize_t n = weft_remote_queue_get((weft_remote *)q, v, sizeof *v, d);
    return n < 0 ? -1 : n == (ssize_t)sizeof *v ? 0 : -2;
}

static const queue_calls remote_twin = {
    remote_open,
    remote_destroy,
    [](void *q, const int *v, weft_deadline d) {
        return weft_remote_queue_put((weft_remote *)q, v, sizeof *v, d);
    },
    remote_get,
    nullptr,
    nullptr,
    [](void *q, int how) { return weft_remote_queue_close((weft_remote *)q, how, soon()); },
    [](void *q) { return weft_remote_queue_length((weft_remote *)q, soon()); },
    [](void *q) { return weft_remote_queue_task_done((weft_remote *)q, soon()); },
    [](void *q, weft_deadline d) { return weft_remote_queue_join((weft_remote *)q, d); }};

// ---- All of them ----

enum { EACH = 20000 / (RUNNER_SANITIZED ? 4 : 1), QUEUE = SAYS_BUSY | UNBOUNDED };

static const queue_kind kinds[] = {
    {{"ring", THREADS, SAYS_BUSY}, &ring_twin, 0, 2, 2, EACH, 100},
    {{"queue", THREADS, QUEUE}, &queue_twin, WEFT_FIFO, 1, 1, 5000, 40},
    {{"queue, LIFO", THREADS, QUEUE | NEWEST_FIRST}, &queue_twin, WEFT_LIFO, 1, 1, 5000, 40},
    {{"queue, priority", THREADS, QUEUE}, &queue_twin, WEFT_PRIORITY, 1, 1, 5000, 40},
    {{"shared queue", PROCESSES, 0}, &shared_twin, 0, 2, 4, EACH, 40},
    {{"shared queue of threads", THREADS, 0}, &shared_twin, -1, 2, 4, EACH, 40},
};

static const queue_kind remote = {
    {"remote queue", CONNECTIONS, UNBOUNDED}, &remote_twin, 0, 1, 1, 300, 10};

static int run_queues(const queue_kind *k, const char *name)
{
    kind = k;
    twin = k->calls;
    return run_kind(&k->kin, name);
}

// What uses membarrier(2) does without it, too.
static int run_without_membarrier(void)
{
    fflush(stdout);
    pid_t p = fork();
    if (p == 0)
        exit(!refuses(SYS_membarrier, ENOSYS) || run_queues(&kinds[0], "ring without membarrier"));
    return end_of(p);
}

static inline int run_all_queues(void)
{
    int failed = run_without_membarrier();
    for (const queue_kind &each : kinds)
        failed += run_queues(&each, each.kin.name);
    return failed + with_both_servers([](const char *on) {
               return run_queues(&remote, name_on("remote queue", on));
           });
}

#define RUN_ON_ALL_QUEUES RUN_BY(run_all_queues())

// ---- What the cases share ----

static inline void *opened(size_t capacity)
{
    begin_case();
    void *q = twin->open(capacity, kind->how);
    assert_non_null(q);
    return q;
}

static inline int put(void *q, int v)
{
    return twin->put(q, &v, WEFT_NOW);
}

static inline int get(void *q)
{
    int v = -1;
    assert_int_equal(twin->get(q, &v, WEFT_NOW), 0);
    return v;
}

// One that holds 1, 2, 3 to its capacity.
static inline void *full(size_t capacity)
{
    void *q = opened(capacity);
    for (size_t i = 1; i <= capacity; i++)
        assert_int_equal(put(q, (int)i), 0);
    return q;
}

// Item i of n, counted from 0, that leaves.
static inline int leaves(int i, int n)
{
    return has(NEWEST_FIRST) ? n - 1 - i : i;
}

// It holds n items from this one on, as they were put.
static inline void drains(void *q, int from, int n)
{
    assert_int_equal(twin->length(q), n);
    for (int i = 0; i < n; i++)
        assert_int_equal(get(q), from + leaves(i, n));
    assert_int_equal(twin->length(q), 0);
}

static inline void closes(void *q)
{
    assert_int_equal(twin->destroy(q), 0);
}

enum call { PUT, GET, PUT_MANY, GET_MANY, JOIN };

static inline ssize_t make_call(peer *p)
{
    switch (p->call) {
    case PUT:
        return twin->put(p->thing, p->items, WEFT_FOREVER);
    case GET:
        return twin->get(p->thing, p->items, WEFT_FOREVER);
    case PUT_MANY:
        return twin->put_many(p->thing, p->items, 4, WEFT_FOREVER);
    case GET_MANY:
        return twin->get_many(p->thing, p->items, 4, WEFT_FOREVER);
    default:
        return twin->join(p->thing, WEFT_FOREVER);
    }
}

static inline int many_or_one(int many, int one)
{
    return twin->put_many != nullptr ? many : one;
}

#endif
