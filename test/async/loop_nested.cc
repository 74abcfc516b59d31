// loop_nested.cc: loops in loops, and loops in forked children.
#include "looped.h"

#include <weft/thread.h>

#include <poll.h>

static bool readable(int fd, int ms)
{
    struct pollfd one = {fd, POLLIN, 0};
    return poll(&one, 1, ms) == 1;
}

// ---- Nesting ----

LOOP_CASE(test_fd_shows_what_is_ready)
{
    int fd = weft_loop_fd(l);
    assert_true(fd >= 0);
    assert_int_equal(weft_loop_fd(l), fd);
    assert_false(readable(fd, 0));
    // An alarm armed outside of a run.
    weft_loop_arm(l, &h.a, 0, count_alarm, &calls, weft_in_ms(3));
    assert_true(readable(fd, -1));
    while (calls == 0)
        weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW);
    weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW);
    assert_false(readable(fd, 0));
    // A change outside of a run.
    weft_loop_watch(l, &h.w, p[1], 0, count_watch, &calls);
    assert_false(readable(fd, 0));
    weft_watch_change(&h.w, WEFT_WRITE);
    assert_true(readable(fd, 0));
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), 1);
    assert_int_equal(calls, 2);
    weft_watch_change(&h.w, 0);
    assert_false(readable(fd, 0));
    // Deferred, posted.
    h.t = task(count_task, &calls);
    weft_loop_defer(l, &h.t);
    assert_true(readable(fd, -1));
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), 1);
    weft_loop_post(l, &h.t);
    assert_true(readable(fd, -1));
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), 1);
    while (weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW) == 1)
        ;
    assert_int_equal(calls, 4);
    assert_false(readable(fd, 0));
    // It doesn't keep the loop running.
    weft_loop_unwatch(&h.w);
    assert_int_equal(run_all(), 0);
}

// A wake-up that finds nothing to do is over when it has been looked at: else the outer loop
// would turn for ever.
LOOP_CASE(test_fd_is_quiet_after_a_wake_for_nothing)
{
    int fd = weft_loop_fd(l);
    weft_loop_wake(l);
    assert_true(readable(fd, 0));
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), 0);
    assert_false(readable(fd, 0));
    weft_loop_stop(l);
    assert_true(readable(fd, 0));
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), 1);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), 0);
    assert_false(readable(fd, 0));
}

static void run_inner(weft_watch *w, int, void *arg)
{
    if (weft_loop_run((weft_loop *)arg, WEFT_LOOP_ONCE, WEFT_NOW) == 0)
        weft_loop_unwatch(w);
}

static weft_loop *nest(void)
{
    weft_loop *inner = weft_loop_create(nullptr);
    assert_int_equal(weft_loop_watch(l, &h.w, weft_loop_fd(inner), WEFT_READ, run_inner, inner), 0);
    return inner;
}

// Whether an alarm of the inner loop goes off three times as the outer one is run.
static bool rings_thrice(weft_loop *inner)
{
    bool ok = weft_loop_arm(
                  inner, &h.a, 1000000,
                  [](weft_alarm *a, void *) {
                      if (++calls == 3)
                          weft_loop_disarm(a);
                  },
                  nullptr, weft_in_ms(1)) == 0;
    while (ok && calls < 3)
        ok = once() == 1;
    return ok;
}

LOOP_CASE(test_fd_in_another_loop)
{
    weft_loop *inner = nest();
    assert_true(rings_thrice(inner));
    loop_destroy();
    weft_loop_destroy(inner);
}

// ---- Fork ----

static void read_one(weft_watch *w, int, void *arg)
{
    char c;
    if (read(w->fd, &c, 1) == 1)
        ++*(int *)arg;
}

LOOP_CASE(test_fork_child_has_its_own)
{
    int q[2], from_p = 0, from_q = 0;
    make_pair(q);
    weft_loop_fd(l); // nested, too
    weft_loop_watch(l, &h.w, p[0], WEFT_READ, read_one, &from_p);
    weft_loop_watch(l, &more.w, q[0], WEFT_READ, read_one, &from_q);
    pid_t child = runner_fork();
    if (child == 0) {
        // Stopping in the child doesn't stop in the parent; both can wait.
        h.t = task(count_task, &calls);
        bool ok = weft_loop_unwatch(&h.w) == 0 &&
                  weft_loop_arm(l, &h.a, 0, count_alarm, &calls, weft_in_ms(1)) == 0;
        ok = ok && weft_loop_post(l, &h.t) == 0;
        while (ok && (calls < 2 || from_q < 1))
            ok = once() == 1;
        ok = ok && weft_loop_destroy(l) == 0;
        _exit(ok && from_p == 0 ? 0 : 1);
    }
    // The child's one byte: the parent leaves it alone until the child has gone.
    assert_int_equal(write(q[1], "x", 1), 1);
    assert_int_equal(end_of(child), 0);
    assert_int_equal(write(p[1], "x", 1), 1);
    assert_int_equal(once(), 1);
    while (from_p == 0)
        assert_int_equal(once(), 1);
    assert_int_equal(from_p, 1);
    assert_int_equal(from_q, 0);
    weft_loop_unwatch(&more.w);
    close_pair(q);
}

static pid_t forked;

static void fork_here(weft_watch *w, int, void *)
{
    char c;
    forked = runner_fork();
    if (forked == 0)
        return; // goes on with the loop
    if (read(w->fd, &c, 1) != 1)
        abort();
    weft_loop_unwatch(w);
}

LOOP_CASE(test_fork_inside_a_callback)
{
    assert_int_equal(write(p[1], "x", 1), 1);
    weft_loop_watch(l, &h.w, p[0], WEFT_READ, fork_here, nullptr);
    assert_int_equal(once(), 1);
    if (forked == 0) {
        weft_loop_unwatch(&h.w);
        weft_loop_arm(
            l, &h.a, 0, [](weft_alarm *, void *) { _exit(42); }, nullptr, weft_in_ms(1));
        run_all();
        _exit(1);
    }
    assert_int_equal(end_of(forked), 42);
    assert_int_equal(run_all(), 0);
}

// What the parent has fetched with the event that forks is its own: the child asks anew.
LOOP_CASE(test_fork_amid_events)
{
    static int told, go[2];
    int q[2];
    told = 0;
    make_pair(q);
    assert_int_equal(pipe(go), 0);
    assert_int_equal(write(p[1], "x", 1), 1);
    assert_int_equal(write(q[1], "x", 1), 1);
    weft_loop_watch(
        l, &h.w, p[0], WEFT_READ,
        [](weft_watch *w, int, void *) {
            char c;
            forked = runner_fork();
            if (forked != 0)
                weft_loop_unwatch(w);
            else if (read(go[0], &c, 1) != 1) // until the parent has read all
                _exit(2);
        },
        nullptr);
    weft_loop_watch(
        l, &more.w, q[0], WEFT_READ,
        [](weft_watch *w, int, void *) {
            char c;
            told += forked != 0 ? (int)read(w->fd, &c, 1) : 1;
        },
        nullptr);
    assert_int_equal(once(), 1);
    if (forked == 0)
        _exit(told);
    assert_int_equal(told, 1);
    assert_int_equal(write(go[1], "x", 1), 1);
    assert_int_equal(end_of(forked), 0);
    weft_loop_unwatch(&more.w);
    close_pair(q);
    close_pair(go);
}

// Of two that are nested the inner one is made again first: then the outer one has the new one.
LOOP_CASE(test_fork_of_nested_loops)
{
    weft_loop *inner = nest();
    pid_t child = runner_fork();
    if (child == 0)
        _exit(weft_loop_fd(inner) >= 0 && rings_thrice(inner) ? 0 : 1);
    assert_int_equal(end_of(child), 0);
    assert_true(quiet()); // nothing came here
    loop_destroy();
    weft_loop_destroy(inner);
}

// A plain fork: the child outlives the thread.
static void *fork_elsewhere(void *)
{
    forked = fork();
    if (forked == 0) {
        h.t = task([](weft_task *, void *) { weft_loop_stop(l); });
        // The thread that ran it is not in this process.
        bool ok = weft_loop_own(l) == 0 && weft_loop_defer(l, &h.t) == 0 && run_all() == 1 &&
                  weft_loop_destroy(l) == 0;
        _exit(ok ? 0 : 1);
    }
    weft_loop_stop(l);
    return nullptr;
}

LOOP_CASE(test_fork_by_another_thread)
{
    weft_loop_hold(l, 1);
    weft_thread *t = weft_thread_start(fork_elsewhere, nullptr, nullptr);
    assert_int_equal(run_all(), 1);
    weft_thread_join(t, nullptr, WEFT_FOREVER);
    assert_int_equal(end_of(forked), 0);
}

RUN_CASES()
