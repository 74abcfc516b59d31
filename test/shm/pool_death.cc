// The pool when workers, tasks, the supervisor or the program die: nothing hangs, nobody
// else is disturbed, nothing is left.
#include "pool_tasks.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>

// ---- One death ----

enum { BY_SIGNAL, BY_EXIT, BY_ABORT, BY_EXEC, BY_QUICK_EXIT, BY_FAULT };

static int die(const void *arg, size_t, void *, size_t)
{
    const char *const argv[] = {"sh", "-c", "exit 5", nullptr};
    signal(SIGABRT, SIG_DFL); // sanitizers have their own ideas
    signal(SIGSEGV, SIG_DFL);
    switch (*(const int *)arg) {
    case BY_SIGNAL:
        raise(SIGUSR1);
        break;
    case BY_EXIT:
        _exit(3);
    case BY_ABORT:
        abort();
    case BY_EXEC:
        execv("/bin/sh", (char *const *)argv);
        break;
    case BY_QUICK_EXIT:
        quick_exit(0);
    case BY_FAULT:
        raise(SIGSEGV);
    }
    return EPROTO;
}

CASE(test_ways_to_die)
{
    static const int signals[] = {SIGUSR1, 0, SIGABRT, 0, 0, SIGSEGV};
    static const int codes[] = {0, 3, 0, 5, 0, 0};
    weft_pool_counters s;
    weft_pool *p = pool_of(2, nullptr);
    for (int how = BY_SIGNAL; how <= BY_FAULT; how++) {
        weft_outcome o;
        weft_result *r = start(p, die, how), *other = start(p, square, how);
        assert_int_equal(weft_result_wait(r, &o, WEFT_FOREVER), 0);
        assert_int_equal(o.error, ECHILD);
        assert_int_equal(WIFSIGNALED(o.status) ? WTERMSIG(o.status) : 0, signals[how]);
        assert_int_equal(WIFEXITED(o.status) ? WEXITSTATUS(o.status) : 0, codes[how]);
        assert_errno(weft_result_get(r, nullptr, WEFT_NOW), ECHILD);
        assert_int_equal(get(other), how * how);
    }
    assert_int_equal(weft_pool_statistics(p, &s), 0);
    assert_int_equal(s.lost, 6);
    assert_int_equal(s.deaths, 6);
    assert_int_equal(s.retried, 0);
    assert_int_equal(s.done, 6);
    end(p);
}

// Dies as often as it is told to, then squares.
static int die_first(const void *arg, size_t n, void *result, size_t room)
{
    memset(result, 0x5a, room); // what a dead try wrote is not seen
    if (add(&shared->deaths_left, -1) >= 0)
        raise(SIGKILL);
    return square(arg, n, result, room);
}

CASE(test_retries)
{
    weft_pool_options o = {};
    weft_pool_counters s;
    weft_outcome outcome;
    o.retries = 3;
    weft_pool *p = pool_of(2, &o);
    shared->deaths_left = 3;
    assert_int_equal(get(start(p, die_first, 7)), 49);
    shared->deaths_left = 4;
    weft_result *r = start(p, die_first, 7);
    assert_int_equal(weft_result_wait(r, &outcome, WEFT_FOREVER), 0);
    assert_int_equal(outcome.error, ECHILD);
    assert_int_equal(WTERMSIG(outcome.status), SIGKILL);
    assert_int_equal(weft_result_release(r), 0);
    assert_int_equal(weft_pool_statistics(p, &s), 0);
    assert_int_equal(s.retried, 6);
    assert_int_equal(s.lost, 1);
    assert_int_equal(s.deaths, 7);
    end(p);
}

static int die_at_multiples(const void *arg, size_t n, void *result, size_t room)
{
    int x = *(const int *)arg;
    if (add(&shared->sum, 1) && x % 100 == 99)
        raise(SIGKILL);
    return square(arg, n, result, room);
}

// In a map, a death costs the item it happened in, and nothing runs twice.
CASE(test_map_with_lethal_items)
{
    enum { N = 1000 };
    static int in[N], out[N];
    static weft_outcome outcomes[N];
    for (size_t chunk = 0; chunk <= 1000; chunk += 250) {
        weft_pool_map_options o = {};
        o.chunk = chunk;
        o.outcomes = outcomes;
        weft_pool *p = pool_of(2, nullptr);
        for (int i = 0; i < N; i++)
            in[i] = i;
        assert_errno(weft_pool_map(p, die_at_multiples, in, 4, N, out, 4, &o, WEFT_FOREVER),
                     ECHILD);
        for (int i = 0; i < N; i++) {
            bool lethal = i % 100 == 99;
            assert_int_equal(outcomes[i].error, lethal ? ECHILD : 0);
            assert_int_equal(outcomes[i].status, lethal ? SIGKILL : 0);
            assert_int_equal(out[i], lethal ? 0 : i * i);
        }
        assert_int_equal(shared->sum, N);
        end(p);
    }
}

// A process that a task forks, and that returns from the task, is no worker.
static int fork_and_return(const void *arg, size_t n, void *result, size_t room)
{
    pid_t pid = fork();
    if (pid > 0)
        waitpid(pid, nullptr, 0);
    add(&shared->sum, 1);
    return square(arg, n, result, room);
}

CASE(test_task_that_forks)
{
    weft_pool *p = pool_of(1, nullptr);
    for (int i = 0; i < 20; i++)
        assert_int_equal(get(start(p, fork_and_return, i)), i * i);
    assert_int_equal(shared->sum, 40);
    end(p);
}

// ---- Too long ----

static int loop_if_odd(const void *arg, size_t n, void *result, size_t room)
{
    if (*(const int *)arg % 2 == 1)
        for (volatile int forever = 1; forever;)
            ;
    return square(arg, n, result, room);
}

CASE(test_task_deadline)
{
    weft_pool_options o = {};
    weft_pool_counters s;
    weft_outcome outcome;
    o.task_ns = 250000000; // more than a busy machine keeps a short task waiting
    o.retries = 5;         // a task that took too long is not tried again
    weft_pool *p = pool_of(2, &o);
    weft_result *slow = start(p, loop_if_odd, 1), *fast[200];
    for (int i = 0; i < 200; i++)
        fast[i] = start(p, loop_if_odd, 2 * i);
    for (int i = 0; i < 200; i++)
        assert_int_equal(get(fast[i]), 4 * i * i);
    assert_int_equal(weft_result_wait(slow, &outcome, WEFT_FOREVER), 0);
    assert_int_equal(outcome.error, ETIMEDOUT);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(weft_result_release(slow), 0);
    assert_int_equal(weft_pool_statistics(p, &s), 0);
    assert_int_equal(s.timed_out, 1);
    assert_int_equal(s.lost + s.retried, 0);
    // In a map each item has its own time.
    int in[6] = {0, 1, 2, 3, 4, 6}, out[6];
    weft_outcome outcomes[6];
    weft_pool_map_options m = {};
    m.chunk = 6;
    m.outcomes = outcomes;
    assert_errno(weft_pool_map(p, loop_if_odd, in, 4, 6, out, 4, &m, WEFT_FOREVER), ETIMEDOUT);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(outcomes[i].error, in[i] % 2 ? ETIMEDOUT : 0);
        assert_int_equal(out[i], in[i] % 2 ? 0 : in[i] * in[i]);
    }
    end(p);
}

// Odd ones end at once, even ones within two milliseconds or a little later.
static int last_a_moment(const void *arg, size_t n, void *result, size_t room)
{
    int x = *(const int *)arg;
    __atomic_fetch_add(&shared->runs[x], 1, __ATOMIC_SEQ_CST);
    for (weft_deadline d = weft_in_us(x % 2 ? 10 : 1980 + x / 2); weft_left(d) != 0;)
        ;
    return square(arg, n, result, room);
}

// A time so long that its end would lie beyond the clock's.
CASE(test_task_without_a_deadline)
{
    weft_pool_options o = {};
    o.task_ns = INT64_MAX;
    weft_pool *p = pool_of(1, &o);
    assert_int_equal(get(start(p, last_a_moment, 3)), 9);
    end(p);
}

// Tasks that end just when their time does: each ends one way or the other, none disturbs the next.
CASE(test_tasks_at_their_deadline)
{
    enum { N = 60 };
    weft_pool_options o = {};
    weft_pool_counters s;
    weft_result *r[N];
    unsigned late = 0;
    o.task_ns = 2000000;
    weft_pool *p = pool_of(2, &o);
    for (int i = 0; i < N; i++)
        r[i] = start(p, last_a_moment, i);
    for (int i = 0; i < N; i++) {
        int y = 0, ok = weft_result_get(r[i], &y, WEFT_FOREVER);
        if (ok == 0) {
            assert_int_equal(y, i * i);
            assert_int_equal(shared->runs[i], 1);
        } else {
            assert_int_equal(errno, ETIMEDOUT);
            assert_in_range(shared->runs[i], 0, 1); // a busy machine may not let it begin in time
            late++;
        }
    }
    assert_int_equal(weft_pool_statistics(p, &s), 0);
    assert_int_equal(s.timed_out, late);
    assert_int_equal(s.lost, 0);
    end(p);
}

// ---- Storms ----

static int count_run(const void *arg, size_t n, void *result, size_t room)
{
    uint8_t *runs = &shared->runs[*(const int *)arg & 0xffff];
    __atomic_fetch_add(runs, 1, __ATOMIC_SEQ_CST);
    add(&shared->ran, 1);
    for (volatile int i = 0; i < 300; i++)
        ;
    return square(arg, n, result, room);
}

struct storm {
    weft_pool *p;
    int stop;
};

static void *kill_workers(void *arg)
{
    storm *s = (storm *)arg;
    unsigned seed = 12345;
    weft_pool_counters st;
    while (!__atomic_load_n(&s->stop, __ATOMIC_SEQ_CST)) {
        // A number that is out of date by now is nobody's: it comes round again after all
        // others.
        weft_pool_statistics(s->p, &st);
        pid_t pid = weft_pool_worker(s->p, (unsigned)rand_r(&seed) % (unsigned)st.workers, nullptr);
        if (pid > 0)
            kill(pid, SIGKILL);
        // Some tasks are run between two kills, however long a new worker takes.
        int ran = __atomic_load_n(&shared->ran, __ATOMIC_SEQ_CST);
        do
            usleep(200 + (useconds_t)rand_r(&seed) % 1500);
        while (!__atomic_load_n(&s->stop, __ATOMIC_SEQ_CST) &&
               __atomic_load_n(&shared->ran, __ATOMIC_SEQ_CST) - ran < 20);
    }
    return nullptr;
}

enum { BATCH = 500, DEATHS = RUNNER_SANITIZED ? 20 : 60 };

static uint64_t deaths(weft_pool *p)
{
    weft_pool_counters st = {};
    weft_pool_statistics(p, &st);
    return st.deaths;
}

// Runs batches of tasks while workers die, for a while, and until enough have; counts those that
// were lost.
static unsigned weather(weft_pool *p, int64_t ms)
{
    unsigned lost = 0;
    int base = 0;
    for (weft_deadline d = weft_in_ms(ms); weft_left(d) != 0 || deaths(p) < DEATHS; base += BATCH) {
        weft_result *r[BATCH];
        memset(shared->runs, 0, sizeof shared->runs);
        for (int i = 0; i < BATCH; i++)
            r[i] = start(p, count_run, (base + i) & 0x7fff);
        for (int i = 0; i < BATCH; i++) {
            int y = 0, x = (base + i) & 0x7fff;
            if (weft_result_get(r[i], &y, weft_in_s(20)) == 0) {
                assert_int_equal(y, x * x);
                assert_true(shared->runs[x] >= 1);
            } else {
                assert_int_equal(errno, ECHILD);
                lost++;
            }
        }
    }
    return lost;
}

static void storm_over(int workers, uint32_t retries, int64_t ms, unsigned *lost, storm *s)
{
    weft_pool_options o = {};
    o.retries = retries;
    *s = {pool_of(workers, &o), 0};
    weft_thread *killer = weft_thread_start(kill_workers, s, nullptr);
    *lost = weather(s->p, ms);
    __atomic_store_n(&s->stop, 1, __ATOMIC_SEQ_CST);
    weft_thread_join(killer, nullptr, WEFT_FOREVER);
}

CASE(test_storm_with_retries)
{
    storm s;
    unsigned lost;
    weft_pool_counters st;
    storm_over(3, 1000, 1200, &lost, &s);
    assert_int_equal(lost, 0);
    assert_int_equal(weft_pool_statistics(s.p, &st), 0);
    assert_int_equal(st.lost, 0);
    assert_int_equal(get(start(s.p, square, 5)), 25);
    end(s.p);
}

// Without retries nothing runs twice, and all that is not lost is right.
CASE(test_storm_without_retries)
{
    storm s;
    unsigned lost;
    weft_pool_counters st;
    storm_over(2, 0, 1200, &lost, &s);
    for (int i = 0; i < 1 << 16; i++)
        assert_true(shared->runs[i] <= 1);
    assert_int_equal(weft_pool_statistics(s.p, &st), 0);
    assert_int_equal(st.lost, lost);
    assert_true(st.deaths >= lost);
    assert_int_equal(st.retried, 0);
    end(s.p);
}

CASE(test_storm_over_a_map)
{
    enum { N = 60000 };
    static int in[N], out[N];
    static weft_outcome outcomes[N];
    weft_pool_options o = {};
    weft_pool_map_options m = {};
    weft_pool_counters st;
    m.outcomes = outcomes;
    for (uint32_t retries = 0; retries <= 1000; retries += 1000) {
        unsigned lost = 0;
        o.retries = retries;
        storm s = {pool_of(2, &o), 0};
        for (int i = 0; i < N; i++)
            in[i] = i;
        weft_thread *killer = weft_thread_start(kill_workers, &s, nullptr);
        for (int round = 0; round < 8; round++) {
            memset(shared->runs, 0, sizeof shared->runs);
            int r = weft_pool_map(s.p, count_run, in, 4, N, out, 4, &m, WEFT_FOREVER);
            unsigned here = 0;
            for (int i = 0; i < N; i++) {
                here += outcomes[i].error == ECHILD;
                assert_true(outcomes[i].error == 0 || outcomes[i].error == ECHILD);
                assert_int_equal(out[i], outcomes[i].error ? 0 : (int)((unsigned)i * (unsigned)i));
                assert_true(retries != 0 || shared->runs[i] <= 1);
                assert_true(outcomes[i].error != 0 || shared->runs[i] >= 1);
            }
            assert_int_equal(r != 0, here != 0);
            lost += here;
        }
        __atomic_store_n(&s.stop, 1, __ATOMIC_SEQ_CST);
        weft_thread_join(killer, nullptr, WEFT_FOREVER);
        assert_int_equal(weft_pool_statistics(s.p, &st), 0);
        assert_int_equal(st.lost, lost);
        assert_true(st.deaths > 0);
        assert_true(retries == 0 || lost == 0);
        end(s.p);
    }
}

// Idle workers that are killed are replaced, all of them, again and again.
CASE(test_idle_workers_killed)
{
    weft_pool *p = pool_of(3, nullptr);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < 3; i++) {
            pid_t pid = weft_pool_worker(p, i, nullptr);
            if (pid > 0)
                kill(pid, SIGKILL);
        }
        weft_outcome o = {};
        weft_result *r = start(p, square, round);
        assert_int_equal(weft_result_wait(r, &o, weft_in_s(20)), 0);
        assert_true(o.error == 0 || o.error == ECHILD); // it may have been begun just then
        weft_result_release(r);
    }
    end(p);
}

// ---- The death of the others ----

// Whether a pipe's last write end is closed within a second: all who held it are gone.
static void assert_gone(int held)
{
    char byte;
    struct pollfd f = {held, POLLIN, 0};
    assert_int_equal(poll(&f, 1, 1000), 1);
    assert_int_equal(read(held, &byte, 1), 0);
    close(held);
}

CASE(test_supervisor_killed)
{
    int held[2], x = 1;
    weft_pool_counters s;
    assert_int_equal(pipe2(held, O_CLOEXEC), 0);
    weft_pool *p = pool_of(2, nullptr);
    close(held[1]);
    weft_result *done = start(p, square, 6);
    assert_int_equal(weft_result_wait(done, nullptr, WEFT_FOREVER), 0);
    weft_result *r[5];
    for (weft_result *&one : r)
        one = start(p, square_behind_gate, 2);
    await(&shared->entered, 2);
    weft_result *called = start(p, square, 1);
    int error = 0;
    assert_int_equal(weft_result_then(
                         called,
                         [](weft_result *gone, void *arg) {
                             *(int *)arg =
                                 weft_result_get(gone, nullptr, WEFT_NOW) == 0 ? 0 : errno;
                         },
                         &error),
                     0);
    struct pollfd f = {weft_pool_fd(p), POLLIN, 0};
    assert_int_equal(weft_pool_dispatch(p, WEFT_NOW) == 0 || errno == ETIMEDOUT, 1);
    assert_int_equal(weft_pool_statistics(p, &s), 0);
    assert_int_equal(kill(s.supervisor, SIGKILL), 0);
    assert_gone(held[0]);
    assert_int_equal(poll(&f, 1, 1000), 1);
    for (weft_result *one : r)
        assert_errno(weft_result_get(one, nullptr, weft_in_s(1)), EPIPE);
    assert_int_equal(weft_pool_dispatch(p, WEFT_NOW), 1);
    assert_int_equal(error, EPIPE);
    assert_int_equal(get(done), 36);
    assert_errno(weft_pool_apply_async(p, square, &x, sizeof x, sizeof x, WEFT_NOW), EPIPE);
    assert_errno(weft_pool_join(p, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_pool_destroy(p), 0);
}

// While a wait sleeps.
static void *kill_it(void *pid)
{
    await(&shared->entered, 1);
    kill((pid_t)(intptr_t)pid, SIGKILL);
    return nullptr;
}

CASE(test_supervisor_killed_while_waiting)
{
    weft_pool_counters s;
    weft_pool *p = pool_of(1, nullptr);
    weft_result *r = start(p, square_behind_gate, 2);
    weft_pool_statistics(p, &s);
    weft_thread *t = weft_thread_start(kill_it, (void *)(intptr_t)s.supervisor, nullptr);
    assert_errno(weft_result_get(r, nullptr, weft_in_s(20)), EPIPE);
    weft_thread_join(t, nullptr, WEFT_FOREVER);
    weft_pool_close(p);
    assert_errno(weft_pool_join(p, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_pool_destroy(p), 0);
}

CASE(test_supervisor_terminated)
{
    int held[2];
    weft_pool_counters s;
    assert_int_equal(pipe2(held, O_CLOEXEC), 0);
    weft_pool *p = pool_of(2, nullptr);
    close(held[1]);
    weft_pool_statistics(p, &s);
    assert_int_equal(kill(s.supervisor, SIGTERM), 0);
    assert_gone(held[0]);
    struct pollfd f = {weft_pool_fd(p), POLLIN, 0};
    assert_int_equal(poll(&f, 1, 1000), 1);
    assert_errno(weft_pool_join(p, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_pool_destroy(p), 0);
}

// Who waits for all children takes the supervisor's status from the pool; it knows all the same.
CASE(test_supervisor_reaped_by_others)
{
    weft_pool_counters s;
    for (int killed = 0; killed < 2; killed++) {
        weft_pool *p = pool_of(1, nullptr);
        assert_int_equal(get(start(p, square, 3)), 9);
        weft_pool_statistics(p, &s);
        if (killed)
            assert_int_equal(kill(s.supervisor, SIGKILL), 0);
        weft_pool_close(p);
        assert_int_equal(waitpid(-1, nullptr, 0), s.supervisor);
        if (killed)
            assert_errno(weft_pool_join(p, WEFT_FOREVER), EPIPE);
        else
            assert_int_equal(weft_pool_join(p, WEFT_FOREVER), 0);
        assert_int_equal(weft_pool_destroy(p), 0);
    }
    signal(SIGCHLD, SIG_IGN);
    weft_pool *p = pool_of(1, nullptr);
    assert_int_equal(get(start(p, square, 3)), 9);
    end(p);
    signal(SIGCHLD, SIG_DFL);
}

// A program with two pools, a busy one and an idle one, and a child that outlives it: it
// holds copies of everything the program had.
[[noreturn]] static void be_a_program(int held)
{
    weft_pool *busy = weft_pool_create(2, nullptr), *idle = weft_pool_create(2, nullptr);
    int x = 3;
    if (busy == nullptr || idle == nullptr)
        _exit(1);
    weft_pool_apply_async(busy, square_behind_gate, &x, sizeof x, sizeof x, WEFT_NOW);
    weft_pool_apply_async(busy, square_behind_gate, &x, sizeof x, sizeof x, WEFT_NOW);
    pid_t child = fork();
    if (child == 0) {
        close(held);
        for (;;)
            pause();
    }
    await(&shared->entered, 2);
    add(&shared->sum, child);
    for (;;)
        pause();
}

CASE(test_program_killed)
{
    int held[2], status;
    assert_int_equal(pipe2(held, O_CLOEXEC), 0);
    memset(shared, 0, sizeof *shared);
    pid_t program = fork();
    if (program == 0)
        be_a_program(held[1]);
    close(held[1]);
    await(&shared->sum, 1);
    assert_int_equal(kill(program, SIGKILL), 0);
    assert_int_equal(waitpid(program, &status, 0), program);
    assert_gone(held[0]);
    assert_int_equal(kill(shared->sum, SIGKILL), 0);
}

CASE(test_program_exits)
{
    int held[2], status;
    assert_int_equal(pipe2(held, O_CLOEXEC), 0);
    memset(shared, 0, sizeof *shared);
    pid_t program = fork();
    if (program == 0) {
        weft_pool *p = weft_pool_create(2, nullptr);
        int x = 1;
        weft_pool_apply_async(p, square_behind_gate, &x, sizeof x, sizeof x, WEFT_NOW);
        await(&shared->entered, 1);
        _exit(0);
    }
    close(held[1]);
    assert_int_equal(waitpid(program, &status, 0), program);
    assert_int_equal(status, 0);
    assert_gone(held[0]);
}

// What the program becomes knows nothing of the pool: it ends, as when the program does.
CASE(test_exec_of_the_program_ends_the_pool)
{
    int report[2];
    pid_t supervisor = 0;
    assert_int_equal(pipe2(report, O_CLOEXEC), 0);
    pid_t program = fork();
    if (program == 0) {
        weft_pool_counters s;
        weft_pool *p = weft_pool_create(2, NULL);
        if (p == NULL || weft_pool_statistics(p, &s) != 0)
            _exit(1);
        (void)!write(report[1], &s.supervisor, sizeof s.supervisor);
        execlp("sleep", "sleep", "1000", (char *)NULL);
        _exit(1);
    }
    assert_int_equal(read(report[0], &supervisor, sizeof supervisor), sizeof supervisor);
    struct pollfd f = {(int)syscall(SYS_pidfd_open, supervisor, 0), POLLIN, 0};
    if (f.fd >= 0) // else it has ended
        assert_int_equal(poll(&f, 1, -1), 1);
    assert_int_equal(waitpid(program, NULL, WNOHANG), 0);
    kill(program, SIGKILL);
    assert_int_equal(waitpid(program, NULL, 0), program);
    close(f.fd);
    close(report[0]);
    close(report[1]);
}

RUN_POOL_CASES()
