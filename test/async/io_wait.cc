// What ends a wait for a descriptor: data, deadlines, cancels, who closes it; and who else may
// wait.
#include <weft/executor.h>
#include <weft/subprocess.h>

#include "../refuses.h"
#include "paired.h"

#include <async/descriptor.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>

using namespace weft;

// ---- Deadlines ----

EACH_PAIR_CASE(test_deadlines)
{
    weft_deadline d = weft_in_ms(10);
    assert_errno(get(text, 8, d), ETIMEDOUT);
    assert_true(weft_now() >= d);
    assert_errno(get(text, 8, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_io_wait(p[0], WEFT_READ, weft_in_ms(5)), ETIMEDOUT);
    assert_errno(weft_io_wait(p[0], WEFT_READ, WEFT_NOW), ETIMEDOUT);
    put("a");
    gets("a");
}

CASE(test_deadline_without_pwait2)
{
    events_exact = false;
    for (int kind = 0; kind < PAIRS; kind++)
        with_pair(kind, test_deadlines_body);
    events_exact = true;
}

PAIR_CASE(test_deadline_now_sees_what_is_there, TCP_PAIR)
{
    assert_errno(get(text, 8, weft_in_ms(1)), ETIMEDOUT); // registered
    for (int i = 0; i < 100; i++) {
        put("x");
        ssize_t n;
        while ((n = get(text, 8, WEFT_NOW)) < 0 && errno == ETIMEDOUT)
            ;
        assert_int_equal(n, 1);
    }
}

static int wait_a_little(void *)
{
    weft_deadline d = weft_in_ms(5);
    int q[2] = {-1, -1};
    char byte;
    if (pipe(q) != 0 || weft_io_read(q[0], &byte, 1, d) != -1 || errno != ETIMEDOUT)
        return 1;
    return weft_now() >= d && weft_io_close(q[0]) == 0 && weft_io_close(q[1]) == 0 ? 0 : 1;
}

// A filter that does not know the call, such as an older container's, may answer EPERM.
CASE(test_deadline_where_pwait2_is_forbidden)
{
    int (*fn)(void) = [] {
        return refuses(SYS_epoll_pwait2, EPERM) ? weft_io_run(wait_a_little, nullptr)
                                                : (int)NOT_PERMITTED;
    };
    assert_int_equal(child_result(fn, "filters of system calls"), 0);
}

// ---- Cancelling, waking ----

PAIR_CASE(test_cancel_ends_a_read, UNIX_PAIR)
{
    transfer t;
    begin_reading(&t);
    weft_tasklet_cancel(t.tasklet);
    is_cancelled(&t);
    // Nothing was lost, and the descriptor is free again.
    put("abc");
    gets("abc");
}

PAIR_CASE(test_cancelled_one_fails_at_once_but_now, UNIX_PAIR)
{
    static ssize_t got[4];
    put("abcd");
    join(spawn(
        [] {
            weft_tasklet_cancel(weft_tasklet_self());
            got[0] = get(text, 2);
            got[1] = errno;
            got[2] = get(text, 2, WEFT_NOW);
            got[3] = weft_io_wait(p[0], WEFT_READ, WEFT_FOREVER);
        },
        true));
    assert_int_equal(got[0], -1);
    assert_int_equal(got[1], ECANCELED);
    assert_int_equal(got[2], 2);
    assert_int_equal(got[3], -1);
}

// A wake meant for a suspension is kept while the tasklet waits for a descriptor.
PAIR_CASE(test_wake_does_not_end_a_read, UNIX_PAIR)
{
    static ssize_t got[2];
    weft_tasklet *t = spawn(
        [] {
            got[0] = get(text, 8);
            got[1] = weft_tasklet_suspend(WEFT_NOW);
        },
        true);
    weft_tasklet_yield();
    weft_tasklet_wake(t);
    weft_tasklet_yield();
    put("abc");
    join(t);
    assert_int_equal(got[0], 3);
    assert_int_equal(got[1], 0);
}

PAIR_CASE(test_one_waiter_a_direction, UNIX_PAIR)
{
    char other[8];
    transfer t;
    begin_reading(&t);
    assert_errno(get(other, 8), EBUSY);
    assert_errno(weft_io_wait(p[0], WEFT_READ, WEFT_FOREVER), EBUSY);
    assert_int_equal(weft_io_write(p[0], "other way", 9, WEFT_FOREVER), 9);
    assert_int_equal(weft_io_wait(p[0], WEFT_WRITE, WEFT_FOREVER), WEFT_WRITE);
    put("x");
    assert_int_equal(result_of(&t), 1);
}

PAIR_CASE(test_wait_both, UNIX_PAIR)
{
    assert_int_equal(weft_io_wait(p[0], WEFT_READ | WEFT_WRITE, WEFT_FOREVER), WEFT_WRITE);
    put("x");
    assert_int_equal(weft_io_wait(p[0], WEFT_READ | WEFT_WRITE, WEFT_FOREVER),
                     WEFT_READ | WEFT_WRITE);
}

// ---- Closing ----

// `kind` of both: the number is another's before the waiter has gone on.
static void close_a_reader(int kind)
{
    int q[2];
    transfer t;
    begin_reading(&t);
    close_end(0);
    make_pair(kind, q);
    weft_io_write(q[1], "new", 3, WEFT_NOW);
    is_cancelled(&t);
    assert_int_equal(weft_io_read(q[0], text, 8, WEFT_FOREVER), 3);
    close_pair(q);
}

static void close_a_writer(void)
{
    static char much[4 << 20];
    transfer t;
    begin(&t, writing, p[1], much, sizeof much);
    // It waits: a second one may not.
    while (weft_io_wait(p[1], WEFT_WRITE, WEFT_NOW) >= 0 || errno != EBUSY)
        weft_tasklet_yield();
    close_end(1);
    ssize_t n = result_of(&t);
    assert_true(n > 0 && n < (ssize_t)sizeof much);
    assert_int_equal(t.error, ECANCELED);
}

CASE(test_close_wakes)
{
    with_pair(UNIX_PAIR, [] { close_a_reader(UNIX_PAIR); });
    with_pair(TCP_PAIR, [] { close_a_reader(TCP_PAIR); });
    with_pair(PIPE_PAIR, [] { close_a_reader(PIPE_PAIR); });
    for (int kind = 0; kind < PAIRS; kind++)
        with_pair(kind, close_a_writer);
}

// The event has been taken, but the reader has not gone on when the descriptor is closed.
PAIR_CASE(test_close_between_event_and_reader, UNIX_PAIR)
{
    static int q[2];
    static transfer a, b;
    char more[8];
    ssize_t (*read_and_close)(transfer *) = [](transfer *t) {
        ssize_t n = reading(t);
        int error = errno;
        if (n > 0)
            weft_io_close(t == &a ? q[0] : p[0]);
        errno = error;
        return n;
    };
    make_pair(UNIX_PAIR, q);
    begin(&a, read_and_close, p[0], text, 8);
    begin(&b, read_and_close, q[0], more, 8);
    send(p[1], "x", 1, 0); // both in one batch of events
    send(q[1], "x", 1, 0);
    assert_int_equal(result_of(&a) + result_of(&b), 0);
    assert_int_equal((a.result < 0 ? a : b).error, ECANCELED);
    weft_io_close(a.result < 0 ? q[0] : p[0]);
    weft_io_close(q[1]);
    p[0] = -1;
}

PAIR_CASE(test_forget, UNIX_PAIR)
{
    transfer t;
    begin_reading(&t);
    assert_int_equal(weft_io_forget(p[0]), 0);
    is_cancelled(&t);
    close(p[0]); // ours again
    weft_io_close(p[1]);
    make_pair(UNIX_PAIR, p);
    put("x");
    gets("x");
}

// ---- Closed by close(2): a mistake, but no reason to wait for ever ----

// With a duplicate open, with the number in use again, waited for by weft_io_wait.
enum { DUPLICATE = 1, REUSED = 2, BY_WAIT = 4, WAYS = 8 };

static int way, closed, error_of_closed;

static void wait_for_closed(void)
{
    char c;
    int n = way & BY_WAIT ? weft_io_wait(closed, WEFT_READ, weft_in_s(30))
                          : (int)weft_io_read(closed, &c, 1, weft_in_s(30));
    error_of_closed = n < 0 ? errno : 0;
}

static void close_elsewhere(void)
{
    int q[2], copy = -1;
    make_pair(UNIX_PAIR, q);
    if (way & DUPLICATE)
        copy = dup(q[0]);
    closed = q[0];
    weft_tasklet *t = spawn(wait_for_closed, true);
    weft_tasklet_yield();
    close(closed);
    if (way & REUSED)
        assert_int_equal(dup2(q[1], closed), closed);
    join(t);
    assert_int_equal(error_of_closed, ECANCELED);
    if (way & REUSED)
        close(closed);
    if (copy >= 0)
        close(copy);
    weft_io_close(q[1]);
}

INSIDE_CASE(test_closed_elsewhere)
{
    way = 0;
    close_elsewhere();
}

CASE(test_closed_elsewhere_is_told)
{
    int keep = dup(2), said[2];
    char line[128] = "", expected[128];
    setenv("WEFT_IO_CHECK", "1", 1);
    for (way = 0; way < WAYS; way++) {
        assert_int_equal(pipe2(said, O_CLOEXEC | O_NONBLOCK), 0);
        dup2(said[1], 2);
        inside(close_elsewhere);
        dup2(keep, 2);
        assert_true(read(said[0], line, sizeof line - 1) > 0);
        snprintf(expected, sizeof expected,
                 "weft: descriptor %d was closed while it was waited for\n", closed);
        assert_string_equal(line, expected);
        ::close_pair(said);
        memset(line, 0, sizeof line);
    }
    close(keep);
    unsetenv("WEFT_IO_CHECK");
}

static long sleeps(void)
{
    struct rusage u;
    getrusage(RUSAGE_THREAD, &u);
    return u.ru_nvcsw;
}

// The checks go through all that is waited for, and then the thread sleeps on.
static void sleep_through_checks(void)
{
    int q[2];
    make_pair(UNIX_PAIR, q);
    long before = sleeps();
    assert_errno(weft_io_wait(q[0], WEFT_READ, weft_in_ms(300)), ETIMEDOUT);
    assert_in_range(sleeps() - before, 1, 8); // of 15
    close_pair(q);
}

CASE(test_checks_come_to_an_end)
{
    setenv("WEFT_IO_CHECK", "1", 1);
    inside(sleep_through_checks);
    unsetenv("WEFT_IO_CHECK");
}

// weft_io_wait keeps nothing: the owner closes the descriptor, and the next has its number.
INSIDE_CASE(test_wait_for_what_others_close)
{
    for (int i = 0; i < 20; i++) {
        static int e;
        e = eventfd(0, EFD_CLOEXEC);
        weft_tasklet *t = spawn([] { eventfd_write(e, 1); }, true);
        assert_int_equal(weft_io_wait(e, WEFT_READ, weft_in_s(20)), WEFT_READ);
        join(t);
        close(e);
    }
}

// ---- What shows its end by a descriptor ----

// What is waited for ends when the gate is opened, which a tasklet does once the test waits.
static int gate[2];

static void open_gate_later(void)
{
    spawn([] { close(gate[1]); });
}

INSIDE_CASE(test_wait_for_a_subprocess)
{
    const char *const argv[] = {"sh", "-c", "read line; exit 3", nullptr};
    for (int i = 0; i < 3; i++) {
        int status = 0;
        assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
        weft_subprocess_options o = {};
        o.in.kind = WEFT_STREAM_FD;
        o.in.fd = gate[0];
        weft_subprocess *child = weft_subprocess_start(argv, &o);
        assert_non_null(child);
        close(gate[0]);
        open_gate_later();
        assert_int_equal(weft_io_wait(weft_subprocess_fd(child), WEFT_READ, WEFT_FOREVER),
                         WEFT_READ);
        assert_int_equal(weft_subprocess_join(child, &status, WEFT_NOW), 0);
        assert_int_equal(WEXITSTATUS(status), 3);
        weft_subprocess_destroy(child);
    }
}

INSIDE_CASE(test_wait_for_a_future)
{
    void *result = nullptr;
    assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
    weft_executor *ex = weft_executor_create(1, nullptr);
    weft_future *f = weft_executor_submit(
        ex,
        [](void *) -> void * {
            char byte;
            return read(gate[0], &byte, 1) == 0 ? (void *)5 : nullptr;
        },
        nullptr, WEFT_NOW);
    open_gate_later();
    assert_int_equal(weft_io_wait(weft_future_fd(f), WEFT_READ, WEFT_FOREVER), WEFT_READ);
    assert_int_equal(weft_future_get(f, &result, WEFT_NOW), 0);
    assert_int_equal((intptr_t)result, 5);
    weft_executor_destroy(ex);
    close(gate[0]);
}

static weft_alarm bell;

PAIR_CASE(test_loop_beside, UNIX_PAIR)
{
    weft_loop *l = weft_io_loop();
    assert_non_null(l);
    assert_ptr_equal(l, weft_io_loop());
    assert_int_equal(weft_loop_arm(
                         l, &bell, 0,
                         [](weft_alarm *, void *) { weft_io_write(p[1], "ring", 4, WEFT_NOW); },
                         nullptr, weft_in_ms(5)),
                     0);
    gets("ring");
}

// A watch whose descriptor was closed before it was stopped does not keep the thread awake.
PAIR_CASE(test_loop_beside_heals, UNIX_PAIR)
{
    weft_watch w = {};
    int q[2];
    make_pair(UNIX_PAIR, q);
    weft_loop *l = weft_io_loop();
    int copy = dup(q[0]);
    weft_loop_watch(
        l, &w, q[0], WEFT_READ, [](weft_watch *, int, void *) {}, nullptr);
    close(q[0]);
    weft_loop_unwatch(&w);
    send(q[1], "x", 1, 0);
    weft_tasklet_sleep(weft_in_ms(5));
    weft_loop_counters before, after;
    weft_loop_statistics(l, &before);
    weft_tasklet_sleep(weft_in_ms(20));
    weft_loop_statistics(l, &after);
    assert_in_range(after.rounds - before.rounds, 0, 2);
    weft_loop_watch(
        l, &w, copy, WEFT_READ,
        [](weft_watch *self, int, void *) {
            weft_loop_unwatch(self);
            weft_io_write(p[1], "read", 4, WEFT_NOW);
        },
        nullptr);
    gets("read");
    weft_io_close(copy);
    weft_io_close(q[1]);
}

// A handler that runs while it looks is no failure.
PAIR_CASE(test_poll_amid_signals, UNIX_PAIR)
{
    struct itimerval often = {{0, 100}, {0, 100}}, never = {};
    struct pollfd f = {p[0], POLLIN, 0};
    int error = ETIMEDOUT;
    signal(SIGALRM, [](int) {});
    setitimer(ITIMER_REAL, &often, nullptr);
    for (int i = 0; i < 20000 && error == ETIMEDOUT; i++)
        error = poll_until(&f, 1, weft_in_us(1)) < 0 ? errno : 0;
    setitimer(ITIMER_REAL, &never, nullptr);
    signal(SIGALRM, SIG_DFL);
    assert_int_equal(error, ETIMEDOUT);
}

// ---- Forks ----

CASE(test_fork)
{
    forks_coroutines();
    with_pair(UNIX_PAIR, [] {
        int q[2];
        char more[8];
        transfer t;
        make_pair(UNIX_PAIR, q);
        begin_reading(&t);
        assert_errno(weft_io_read(q[0], more, 8, weft_in_ms(1)), ETIMEDOUT); // registered
        pid_t child = runner_fork();
        if (child == 0) {
            send(q[1], "ab", 2, 0);
            bool well = weft_io_read(q[0], more, 8, weft_in_s(20)) == 2;
            send(p[1], "abc", 3, 0);
            well = well && weft_tasklet_join(t.tasklet, nullptr, weft_in_s(20)) == 0;
            _exit(well && t.result == 3 ? 0 : 1);
        }
        assert_int_equal(end_of(child), 0);
        assert_int_equal(t.result, -2);
        send(p[1], "x", 1, 0);
        assert_int_equal(result_of(&t), 1);
        close_pair(q);
    });
}

// A loop that the child makes before it has waited is none of the parent's.
CASE(test_fork_makes_a_loop)
{
    forks_coroutines();
    with_pair(UNIX_PAIR, [] {
        pid_t child = runner_fork();
        if (child == 0) {
            static weft_watch w;
            char byte;
            weft_loop_watch(
                weft_io_loop(), &w, p[1], WEFT_WRITE, [](weft_watch *, int, void *) {}, nullptr);
            _exit(read(p[1], &byte, 1) == 1 ? 0 : 1); // with all that blocked
        }
        assert_errno(weft_io_read(p[0], text, 8, weft_in_ms(20)), ETIMEDOUT);
        send(p[0], "x", 1, 0);
        assert_int_equal(end_of(child), 0);
    });
}

// The child's twin of a tasklet that waits leaves its wait; the parent's must not notice.
CASE(test_fork_wait_cancelled)
{
    forks_coroutines();
    with_pair(UNIX_PAIR, [] {
        transfer t;
        begin(&t, waiting, p[0], nullptr, 0);
        weft_tasklet_sleep(weft_in_ms(1)); // it waits, registered
        pid_t child = runner_fork();
        if (child == 0) {
            weft_tasklet_cancel(t.tasklet);
            bool well = weft_tasklet_join(t.tasklet, nullptr, weft_in_s(20)) == 0;
            _exit(well && t.error == ECANCELED ? 0 : 1);
        }
        assert_int_equal(end_of(child), 0);
        send(p[1], "x", 1, 0);
        assert_int_equal(result_of(&t), WEFT_READ);
    });
}

CASE(test_fork_with_a_loop_beside)
{
    forks_coroutines();
    with_pair(UNIX_PAIR, [] {
        weft_watch w = {};
        transfer t;
        weft_loop *l = weft_io_loop();
        weft_loop_arm(
            l, &bell, 0, [](weft_alarm *, void *) { weft_io_write(p[1], "ring", 4, WEFT_NOW); },
            nullptr, weft_in_ms(20));
        pid_t child = runner_fork();
        if (child == 0) {
            int q[2];
            make_pair(UNIX_PAIR, q);
            weft_loop_disarm(&bell);
            weft_loop_watch(
                l, &w, q[0], WEFT_READ,
                [](weft_watch *self, int, void *) { weft_loop_unwatch(self); }, nullptr);
            send(q[1], "x", 1, 0);
            while (w.loop != nullptr && weft_tasklet_sleep(weft_in_ms(1)) == 0)
                ;
            _exit(0);
        }
        assert_int_equal(end_of(child), 0);
        begin_reading(&t);
        assert_int_equal(result_of(&t), 4); // the parent's alarm
    });
}

// The child has put a file in the place of what the parent's tasklet waits for.
CASE(test_fork_with_another_file)
{
    forks_coroutines();
    with_pair(UNIX_PAIR, [] {
        transfer t;
        begin_reading(&t);
        pid_t child = runner_fork();
        if (child == 0) {
            int file = memfd_create("file", MFD_CLOEXEC);
            bool well = dup2(file, p[0]) == p[0] && weft_io_wait(p[1], WEFT_WRITE, WEFT_NOW) > 0;
            well = well && weft_tasklet_join(t.tasklet, nullptr, weft_in_s(20)) == 0;
            _exit(well && t.error == ECANCELED ? 0 : 1);
        }
        assert_int_equal(end_of(child), 0);
        send(p[1], "x", 1, 0);
        assert_int_equal(result_of(&t), 1);
    });
}

// The last, for it leaves a tasklet behind.
CASE(test_run_deadlock)
{
    int saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDERR_FILENO); // the dump
    int result = weft_io_run(
        [](void *) {
            spawn(pause_forever);
            return 0;
        },
        nullptr);
    int error = errno;
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(null);
    assert_int_equal(result, -1);
    assert_int_equal(error, EDEADLK);
}

RUN_CASES()
