// Masters and workers: how they stop, drain, are replaced and reloaded.
#include "mastered.h"

#include <sys/resource.h>

static int stubborn_worker(void *)
{
    report(SAYS_READY);
    for (;;)
        pause();
}

static int short_lived_worker(void *)
{
    return 1;
}

static void on_user_signal(weft_signal *s, void *)
{
    report(SAYS_SIGNAL);
    weft_loop_stop(s->loop);
}

static int listening_worker(void *)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_signal s = {};
    weft_loop_watch_signal(l, &s, SIGUSR1, on_user_signal, nullptr);
    report(SAYS_READY);
    weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER);
    wait_for_stop();
    return 0;
}

CASE(test_run_errors)
{
    weft_workers_options o = {};
    assert_errno(weft_workers_run(0, good_worker, nullptr, nullptr), EINVAL);
    assert_errno(weft_workers_run(1, nullptr, nullptr, nullptr), EINVAL);
    o.drain_ns = -1;
    assert_errno(weft_workers_run(1, good_worker, nullptr, &o), EINVAL);
    o = {};
    o.pause_ns = -1;
    assert_errno(weft_workers_run(1, good_worker, nullptr, &o), EINVAL);
    o = {};
    o.pause_max_ns = -1;
    assert_errno(weft_workers_run(1, good_worker, nullptr, &o), EINVAL);
    assert_errno(weft_worker_stop_fd(), EPERM);
    assert_errno(weft_worker_number(), EPERM);
}

static void stopped_by(int signo)
{
    start(2, good_worker);
    int sum = hear(SAYS_READY).number;
    sum += hear(SAYS_READY).number;
    assert_int_equal(sum, 1); // 0 and 1
    kill(m, signo);
    hear(WEFT_WORKERS_STOPPING);
    hear(SAYS_STOP);
    hear(WEFT_WORKERS_ENDED);
    hear(WEFT_WORKERS_ENDED);
    master_ends(0);
}

CASE(test_run_stops_and_drains)
{
    stopped_by(SIGTERM);
    stopped_by(SIGINT);
}

static pid_t hear_of_a_kill(void)
{
    struct news n = hear(WEFT_WORKERS_ENDED);
    assert_true(WIFSIGNALED(n.status) && WTERMSIG(n.status) == SIGKILL);
    return n.pid;
}

CASE(test_run_kills_after_the_drain)
{
    weft_workers_options o = {};
    o.drain_ns = 20000000;
    start(1, stubborn_worker, o);
    hear(SAYS_READY);
    kill(m, SIGTERM);
    int64_t stopping = hear(WEFT_WORKERS_STOPPING).when;
    assert_true(hear(WEFT_WORKERS_KILLED).when - stopping >= o.drain_ns - 1000000);
    hear_of_a_kill();
    master_ends(ETIMEDOUT);
}

CASE(test_run_told_twice_kills_at_once)
{
    start_two(stubborn_worker); // it would drain 30 s
    kill(m, SIGTERM);
    hear(WEFT_WORKERS_STOPPING);
    kill(m, SIGTERM);
    hear(WEFT_WORKERS_KILLED);
    master_ends(ETIMEDOUT);
}

CASE(test_dead_worker_is_replaced)
{
    weft_workers_options o = {};
    o.pause_ns = 1000000;
    start(2, good_worker, o);
    struct news victim = hear(SAYS_READY);
    hear(SAYS_READY);
    kill(victim.pid, SIGTERM); // workers ignore it: the master alone decides
    kill(victim.pid, SIGKILL);
    assert_int_equal(hear_of_a_kill(), victim.pid);
    struct news n = hear(SAYS_READY);
    assert_int_equal(n.number, victim.number);
    assert_int_not_equal(n.pid, victim.pid);
    terminate();
}

CASE(test_replacement_backs_off)
{
    weft_workers_options o = {};
    o.pause_ns = 2000000;
    o.pause_max_ns = 10000000;
    start(1, short_lived_worker, o);
    static const int64_t at_least[] = {2000000, 4000000, 8000000, 10000000, 10000000};
    for (int64_t ns : at_least) {
        struct news end = hear(WEFT_WORKERS_ENDED);
        assert_int_equal(WEXITSTATUS(end.status), 1);
        // `when` is taken a little before the pause begins.
        assert_true(hear(WEFT_WORKERS_STARTED).when - end.when >= ns);
    }
    terminate();
}

// A worker is killed, and its master has no descriptor for the next one's pipe; then it has.
static void starve_and_feed(weft_workers_event e, int number, pid_t pid, int status, void *arg)
{
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = e == WEFT_WORKERS_ENDED ? 3 : r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    tell(e, number, pid, status, arg);
}

CASE(test_failed_start_is_tried_again)
{
    weft_workers_options o = {};
    o.pause_ns = 1000000;
    o.tell = starve_and_feed;
    start(1, good_worker, o);
    kill(hear(SAYS_READY).pid, SIGKILL);
    hear(WEFT_WORKERS_ENDED);
    struct news n = hear(WEFT_WORKERS_FAILED);
    assert_int_equal(n.status, EMFILE);
    assert_int_equal(n.number, 0);
    hear(SAYS_READY);
    terminate();
}

CASE(test_run_without_descriptors)
{
    pid_t child = child_of(
        [](void *) {
            struct rlimit none = {3, 3};
            setrlimit(RLIMIT_NOFILE, &none);
            return weft_workers_run(1, good_worker, nullptr, nullptr) == -1 ? errno : 0;
        },
        nullptr);
    assert_int_equal(end_of(child), EMFILE);
}

CASE(test_workers_drain_when_the_master_dies)
{
    start_two(good_worker);
    kill(m, SIGKILL);
    hear(SAYS_STOP);
    hear(SAYS_STOP);
    master_ends(256 + SIGKILL);
}

CASE(test_user_signals_are_passed_on)
{
    start_two(listening_worker);
    kill(m, SIGUSR2); // ignored there
    kill(m, SIGUSR1);
    int sum = hear(SAYS_SIGNAL).number;
    sum += hear(SAYS_SIGNAL).number;
    assert_int_equal(sum, 1);
    terminate();
}

// ---- Reload under load ----

static void on_connection(weft_listener *, int fd, void *)
{
    char c; // the client writes before it reads: wait for that, then answer
    struct pollfd p = {fd, POLLIN, 0};
    poll(&p, 1, -1);
    if (read(fd, &c, 1) == 1 && write(fd, &c, 1) != 1)
        abort();
    close(fd);
}

static void on_told_to_stop(weft_watch *w, int, void *)
{
    weft_loop_stop(w->loop);
}

static int serving_worker(void *arg)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_listener s = {};
    weft_watch stop = {};
    if (weft_loop_listen(l, &s, *(int *)arg, on_connection, nullptr) != 0 ||
        weft_loop_watch(l, &stop, weft_worker_stop_fd(), WEFT_READ, on_told_to_stop, nullptr) != 0)
        return 1;
    report(SAYS_READY);
    weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER);
    return 0;
}

// In callbacks: each connection is answered at once.
CASE(test_reload_refuses_nobody)
{
    struct sockaddr_in a;
    int listener = listen_on_loopback(&a), stop[2];
    start_two(serving_worker, &listener);
    assert_int_equal(pipe(stop), 0);
    static const struct echo_habit once = {1, 1};
    pid_t client = runner_fork();
    if (client == 0) { // until told to stop; exits with 0 if all were answered
        struct pollfd p = {stop[0], POLLIN, 0};
        int error = 0;
        for (int made = 0; error == 0 && (made < 100 || poll(&p, 1, 0) == 0); made++)
            error = echo_connection(&a, &once);
        _exit(error);
    }
    for (int i = 0; i < 10; i++) {
        struct change c = {};
        reload();
        hear_of(&c, 2, 2);
    }
    assert_int_equal(write(stop[1], "x", 1), 1);
    assert_int_equal(end_of(client), 0);
    terminate();
    close(stop[0]), close(stop[1]), close(listener);
}

// In tasklets, under all kinds of load.  A connection that is half-way at the reload goes on with
// the old worker, which ends when it has.
CASE(test_reload_under_load)
{
    struct sockaddr_in a;
    struct echo_load load;
    int listener = start_under_load(&a, &load);
    for (int i = 0; i < 10; i++) {
        struct change c = {};
        int half_way = dial(&a);
        assert_int_equal(echo_message(half_way, 10), 0);
        reload();
        hear_of(&c, 2, 1); // the one that has not ended is this connection's
        assert_int_equal(c.ended, 1);
        assert_int_equal(echo_message(half_way, 10), 0);
        close(half_way);
        hear_of(&c, 2, 2);
    }
    echo_load_end(&load);
    terminate();
    close(listener);
}

static void reload_is_notified(int fd)
{
    kill(m, SIGHUP);
    assert_reloads(fd);
    kill(m, SIGTERM);
    assert_notice(fd, "STOPPING=1");
    master_ends(0);
    close(fd);
}

CASE(test_systemd_is_notified)
{
    int fd = listen_to_notices();
    start(1, good_worker);
    unsetenv("NOTIFY_SOCKET");
    assert_notice(fd, "READY=1");
    reload_is_notified(fd);
}

// A reload that finds no worker alive is also over when new ones run.
CASE(test_systemd_is_notified_of_a_reload_from_nothing)
{
    weft_workers_options o = {};
    o.pause_ns = 60000000000; // longer than the test
    o.pause_max_ns = o.pause_ns;
    int fd = listen_to_notices();
    start(1, short_lived_worker, o);
    unsetenv("NOTIFY_SOCKET");
    assert_notice(fd, "READY=1");
    hear(WEFT_WORKERS_ENDED);
    reload_is_notified(fd);
}

RUN_CASES()
