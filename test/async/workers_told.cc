// What a master tells: of crashes, in numbers, to systemd; and what a worker has of its master's.
#include "../descriptors.h"
#include "mastered.h"

#include <sys/un.h>

// Of number 0, and of all, in other places; left out while nobody reads.
static void tell_metrics(const weft_workers_counters *s, void *)
{
    const weft_worker_counters *w = &s->each[0];
    struct pollfd room = {news_pipe[1], POLLOUT, 0};
    if (poll(&room, 1, 0) != 1)
        return;
    say(SAYS_METRICS, (int)w->restarts, (pid_t)w->connections, w->last_status);
    say(SAYS_SUM, (int)s->all.early, (pid_t)s->all.accepted, s->all.last_status);
}

static weft_workers_options with_metrics(void)
{
    weft_workers_options o = {};
    o.metrics = tell_metrics;
    o.metrics_ns = 1000000;
    o.pause_ns = 1000000;
    o.pause_max_ns = 1000000;
    return o;
}

// ---- Crashes ----

static int crashing_worker(void *how)
{
    signal(SIGTRAP, SIG_DFL); // which no sanitizer handles
    if (how == nullptr)
        _exit(7);
    raise(SIGTRAP);
    return 0;
}

static void crashes_are_told(void *how, int status)
{
    start(1, crashing_worker, with_metrics(), how);
    for (int i = 0; i < 3; i++) {
        struct news early = hear(WEFT_WORKERS_EARLY), end = hear(WEFT_WORKERS_ENDED);
        assert_int_equal(early.status & 0xff7f, status); // less the bit of a core dump
        assert_int_equal(end.status, early.status);
        assert_int_equal(end.pid, early.pid);
    }
    while (hear(SAYS_METRICS).number < 3)
        ;
    struct news sum = hear(SAYS_SUM);
    assert_int_equal(sum.status & 0xff7f, status);
    assert_true(sum.number >= 3);
    terminate();
}

CASE(test_crash_at_start_is_told)
{
    crashes_are_told(nullptr, 7 << 8);
    crashes_are_told(&m, SIGTRAP);
}

// Who listens to no events reads of them.
CASE(test_crash_is_said)
{
    static int out[2];
    char said[256] = "";
    int number, pid, code;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    pid_t master = child_of(
        [](void *) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            dup2(out[1], STDERR_FILENO);
            return weft_workers_run(1, crashing_worker, nullptr, nullptr);
        },
        nullptr);
    assert_true(read(out[0], said, sizeof said - 1) > 0);
    assert_int_equal(
        sscanf(said, "weft: worker %d (process %d) exited with %d after", &number, &pid, &code), 3);
    assert_int_equal(number, 0);
    assert_int_equal(code, 7);
    assert_non_null(strstr(said, "; the next starts in 0.1 s\n"));
    kill(master, SIGTERM);
    assert_int_equal(end_of(master), 0);
    close(out[0]);
    close(out[1]);
}

// ---- Numbers ----

static void await_connections(int now, int accepted)
{
    struct news at, sum;
    do {
        at = hear(SAYS_METRICS);
        sum = hear(SAYS_SUM);
    } while (at.pid != now || sum.pid != accepted);
}

CASE(test_connections_are_counted)
{
    struct sockaddr_in a;
    int listener = listen_on_loopback(&a), fds[3];
    start(1, echoing_worker, with_metrics(), &listener);
    struct news worker = hear(SAYS_READY);
    for (int &fd : fds)
        fd = dial(&a);
    await_connections(3, 3);
    close(fds[0]);
    await_connections(2, 3);
    kill(worker.pid, SIGKILL);
    await_connections(0, 3); // they have ended with it
    for (int i = 1; i < 3; i++)
        close(fds[i]);
    assert_int_equal(echo_connection(&a, &echo_habits[0]), 0);
    await_connections(0, 4);
    terminate();
    close(listener);
    assert_errno(weft_worker_connections(1), EPERM);
}

// ---- Descriptors ----

static int counting_worker(void *)
{
    say(SAYS_OPEN, weft_worker_number(), getpid(), open_descriptors());
    wait_for_stop();
    return 0;
}

// In each of them as many are open, and so after a reload.
static void all_have(int descriptors)
{
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++)
            assert_int_equal(hear(SAYS_OPEN).status, descriptors);
        if (round == 0)
            kill(m, SIGHUP);
    }
    terminate();
}

CASE(test_worker_has_nothing_of_its_masters)
{
    assert_int_equal(pipe2(news_pipe, O_CLOEXEC), 0);
    int before = open_descriptors();
    close(news_pipe[0]), close(news_pipe[1]);
    start(3, counting_worker);
    all_have(before + 1); // weft_worker_stop_fd
}

CASE(test_worker_has_what_was_asked_for)
{
    struct sockaddr_in a;
    weft_workers_options o = {};
    int keep[2] = {-1, listen_on_loopback(&a)};
    o.flags = WEFT_WORKERS_CLOSE_OTHERS;
    o.keep = keep;
    o.keep_count = 2;
    assert_errno(weft_workers_run(1, good_worker, nullptr, &o), EBADF);
    assert_int_equal(pipe2(news_pipe, O_CLOEXEC), 0);
    keep[0] = news_pipe[1]; // it will have that number again
    close(news_pipe[0]), close(news_pipe[1]);
    start(3, counting_worker, o);
    assert_int_equal(news_pipe[1], keep[0]);
    all_have(3 + 2 + 1 + 3); // streams, kept, stop; the folder that lists them, and its dots
    close(keep[1]);
    o.flags = 0;
    assert_errno(weft_workers_run(1, good_worker, nullptr, &o), EINVAL);
    o.flags = 2;
    assert_errno(weft_workers_run(1, good_worker, nullptr, &o), EINVAL);
}

// ---- systemd ----

static int start_notified(const char *watchdog_us, pid_t of)
{
    char pid[32];
    int fd = listen_to_notices();
    snprintf(pid, sizeof pid, "%d", (int)of);
    setenv("WATCHDOG_USEC", watchdog_us, 1);
    if (of != 0)
        setenv("WATCHDOG_PID", pid, 1);
    start(1, good_worker);
    unsetenv("NOTIFY_SOCKET"), unsetenv("WATCHDOG_USEC"), unsetenv("WATCHDOG_PID");
    snprintf(pid, sizeof pid, "READY=1\nMAINPID=%d", (int)m);
    assert_notice(fd, pid);
    return fd;
}

CASE(test_watchdog_is_fed)
{
    int fd = start_notified("2000", 0);
    for (int i = 0; i < 3; i++)
        assert_notice(fd, "WATCHDOG=1");
    terminate();
    close(fd);
}

static void no_watchdog_is_fed(const char *us, pid_t of)
{
    int fd = start_notified(us, of);
    hear(SAYS_READY);
    usleep(5000);
    kill(m, SIGTERM);
    assert_notice(fd, "STOPPING=1");
    master_ends(0);
    close(fd);
}

CASE(test_watchdog_of_others_is_not_fed)
{
    no_watchdog_is_fed("2000", 1);
    no_watchdog_is_fed("0", 0);
    no_watchdog_is_fed("2 s", 0);
    no_watchdog_is_fed("-5", 0);
}

RUN_CASES()
