// What holds in the child of a fork(2) by a program with threads: an answer, never a wait without
// end.
#include "../runner.h"

#include "asleep.h"
#include <weft/queue.h>
#include <weft/sync.h>
#include <weft/thread.h>

#include <errno.h>
#include <sys/wait.h>

// What fn(arg) returns in a forked child; its signal (SIGALRM: it hung) is a failure.
static int in_child(int (*fn)(void *), void *arg)
{
    int status;
    pid_t child = runner_fork();
    if (child == 0)
        _exit(fn(arg));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void *nothing(void *arg)
{
    return arg;
}

static uint32_t quit;

static bool go_on(void)
{
    return !__atomic_load_n(&quit, __ATOMIC_RELAXED);
}

// Runs `busy` in two threads while `fn` is tried in a hundred children.  How often it said 1.
static int beside(void *(*busy)(void *), int (*fn)(void *), void *arg)
{
    weft_thread *threads[2];
    int ones = 0;
    __atomic_store_n(&quit, 0, __ATOMIC_RELAXED);
    for (weft_thread *&t : threads)
        assert_non_null(t = weft_thread_start(busy, arg, nullptr));
    for (int i = 0; i < (RUNNER_SANITIZED ? 20 : 200); i++) {
        int said = in_child(fn, arg);
        assert_in_range(said, 0, 1);
        ones += said;
    }
    __atomic_store_n(&quit, 1, __ATOMIC_RELAXED);
    for (weft_thread *t : threads)
        assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
    return ones;
}

// ---- Threads ----

static void *start_and_name(void *)
{
    char name[WEFT_THREAD_NAME_MAX + 1];
    while (go_on()) {
        weft_thread *t = weft_thread_start(nothing, nullptr, nullptr);
        if (t != nullptr)
            weft_thread_join(t, nullptr, WEFT_FOREVER);
        for (int i = 0; i < 1000; i++)
            weft_thread_name(weft_thread_self(), name, sizeof name);
    }
    return nullptr;
}

static int starts_and_joins(void *)
{
    weft_thread *t = weft_thread_start(nothing, nullptr, nullptr);
    return t == nullptr || weft_thread_join(t, nullptr, WEFT_FOREVER) != 0;
}

CASE(test_start_in_child)
{
    if (RUNNER_SANITIZED)
        skip(); // a child may find their locks taken: by the allocator, by a thread that starts
    assert_int_equal(beside(start_and_name, starts_and_joins, nullptr), 0);
}

static void *wait_event(void *event)
{
    weft_event_wait((weft_event *)event, WEFT_FOREVER);
    return nullptr;
}

static int has_no_thread(void *t)
{
    weft_thread_information row;
    errno = 0;
    if (weft_thread_join((weft_thread *)t, nullptr, WEFT_FOREVER) != -1 || errno != ESRCH)
        return 1;
    if (weft_thread_stop((weft_thread *)t) != 0 || weft_thread_list(&row, 1) != 0)
        return 2;
    return weft_thread_detach((weft_thread *)t) != 0 || starts_and_joins(nullptr) ? 3 : 0;
}

CASE(test_thread_of_parent)
{
    if (RUNNER_TSAN)
        skip(); // the child of a program with threads must start none there
    weft_event event = WEFT_EVENT_INIT;
    weft_thread *t = weft_thread_start(wait_event, &event, nullptr);
    await_asleep(weft_thread_id(t));
    assert_int_equal(in_child(has_no_thread, t), 0);
    weft_event_set(&event);
    assert_int_equal(in_child(has_no_thread, t), 0); // ended, not joined
    assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
}

static void *join_and_exit(void *t)
{
    void *result = nullptr;
    int code = weft_thread_join((weft_thread *)t, &result, weft_in_s(20));
    _exit(code != 0 ? errno : result != t);
}

static void *fork_joined(void *)
{
    int status = -1;
    await_asleep(getpid()); // in its join
    pid_t child = runner_fork();
    if (child == 0) {
        if (weft_thread_start(join_and_exit, weft_thread_self(), nullptr) == nullptr)
            _exit(1);
        return weft_thread_self();
    }
    waitpid(child, &status, 0);
    return (void *)(intptr_t)status;
}

// Those who join it stay with the parent.
CASE(test_joined_thread_forks)
{
    if (RUNNER_SANITIZED)
        skip(); // as above
    assert_int_equal(in_thread(fork_joined, nullptr), 0);
}

// ---- Once ----

static weft_once once;

static int wait_in_once(void *event)
{
    return weft_event_wait((weft_event *)event, WEFT_FOREVER);
}

static int do_nothing(void *)
{
    return 0;
}

static void *run_once(void *event)
{
    weft_once_run(&once, wait_in_once, event, WEFT_FOREVER);
    return nullptr;
}

static int run_once_anew(void *)
{
    return weft_once_run(&once, do_nothing, nullptr, WEFT_FOREVER) != 0 ||
           weft_once_run(&once, nullptr, nullptr, WEFT_NOW) != 0;
}

CASE(test_once_of_parent)
{
    weft_event event = WEFT_EVENT_INIT;
    weft_thread *t = weft_thread_start(run_once, &event, nullptr);
    await_asleep(weft_thread_id(t));
    assert_int_equal(in_child(run_once_anew, nullptr), 0);
    assert_errno(weft_once_run(&once, do_nothing, nullptr, WEFT_NOW),
                 ETIMEDOUT); // here it still runs
    weft_event_set(&event);
    assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
    assert_int_equal(weft_once_run(&once, do_nothing, nullptr, WEFT_NOW), 0);
}

// ---- Queue and ring ----

#define VERBS(kind)                                                                                \
    static int put(weft_##kind *q, int x, weft_deadline d)                                         \
    {                                                                                              \
        return weft_##kind##_put(q, &x, d);                                                        \
    }                                                                                              \
    static int get(weft_##kind *q, int *x, weft_deadline d)                                        \
    {                                                                                              \
        return weft_##kind##_get(q, x, d);                                                         \
    }                                                                                              \
    static int close(weft_##kind *q)                                                               \
    {                                                                                              \
        return weft_##kind##_close(q, WEFT_DRAIN);                                                 \
    }                                                                                              \
    static int destroy(weft_##kind *q)                                                             \
    {                                                                                              \
        return weft_##kind##_destroy(q);                                                           \
    }
VERBS(queue)
VERBS(ring)

template <class Q> static void *churn(void *q)
{
    for (int x = 0; go_on(); x++) {
        put((Q *)q, x, weft_in_ms(1));
        get((Q *)q, &x, weft_in_ms(1));
    }
    return nullptr;
}

template <class Q> static void *get_seven(void *q)
{
    int x;
    return get((Q *)q, &x, WEFT_FOREVER) == 0 && x == 7 ? q : nullptr;
}

static bool is_refused(int code)
{
    return code == -1 && errno == EPERM;
}

// 0: it works, with a thread of the child's own that sleeps and is woken; 1: each call says EPERM.
template <class Q> static int use(void *arg)
{
    Q *q = (Q *)arg;
    int x;
    void *got = nullptr;
    while (get(q, &x, WEFT_NOW) == 0)
        ;
    if (errno == EPERM) {
        bool all = is_refused(put(q, 1, WEFT_FOREVER)) && is_refused(get(q, &x, WEFT_FOREVER)) &&
                   is_refused(close(q));
        return all && destroy(q) == 0 ? 1 : 2;
    }
    weft_thread *t = weft_thread_start(get_seven<Q>, q, nullptr);
    await_asleep(weft_thread_id(t));
    if (put(q, 7, WEFT_FOREVER) != 0 || weft_thread_join(t, &got, WEFT_FOREVER) != 0 || got != q)
        return 3;
    return destroy(q) == 0 ? 0 : 4;
}

template <class Q> static void check_queue(Q *q)
{
    beside(churn<Q>, use<Q>, q);
    int x;
    while (get(q, &x, WEFT_NOW) == 0)
        ;
    weft_thread *t = weft_thread_start(get_seven<Q>, q, nullptr);
    await_asleep(weft_thread_id(t));
    assert_int_equal(in_child(use<Q>, q), 0); // who sleeps here is not there
    assert_int_equal(put(q, 7, WEFT_NOW), 0);
    assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
    assert_int_equal(destroy(q), 0);
}

CASE(test_queue_in_child)
{
    if (RUNNER_TSAN)
        skip(); // the child of a program with threads must start none there
    check_queue(weft_queue_create(sizeof(int), 4, nullptr));
}

CASE(test_ring_in_child)
{
    if (RUNNER_TSAN)
        skip(); // the child of a program with threads must start none there
    check_queue(weft_ring_create(sizeof(int), 4));
}

// ---- Barriers ----

static void *meet(void *b)
{
    while (go_on())
        weft_barrier_wait((weft_barrier *)b, weft_in_ms(1)), weft_barrier_reset((weft_barrier *)b);
    return nullptr;
}

// Nobody of the parent's comes.  0: it timed out.
static int meets_nobody(void *b)
{
    weft_barrier_reset((weft_barrier *)b);
    return weft_barrier_wait((weft_barrier *)b, weft_in_ms(1)) == -1 && errno == ETIMEDOUT ? 0 : 2;
}

static void *wait_at(void *b)
{
    return weft_barrier_wait((weft_barrier *)b, WEFT_FOREVER) < 0 ? b : nullptr;
}

CASE(test_barrier_in_child)
{
    weft_barrier b = WEFT_BARRIER_INIT(2);
    beside(meet, meets_nobody, &b);
    weft_barrier_reset(&b);
    weft_thread *t = weft_thread_start(wait_at, &b, nullptr);
    await_asleep(weft_thread_id(t));
    assert_int_equal(in_child(meets_nobody, &b), 0); // who waits here is not there
    assert_int_equal(weft_barrier_wait(&b, WEFT_FOREVER), 1);
    assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
    assert_int_equal(weft_barrier_destroy(&b), 0);
}

RUN_CASES()
