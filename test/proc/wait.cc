// Waiting, signals, stopping, statuses: also without pidfds, and with SIGCHLD ignored.
#include "children.h"

#include <proc/spawn.h>

#include <poll.h>
#include <pthread.h>
#include <time.h>

using namespace weft;

static weft_subprocess *reader(const char *script, int group)
{
    weft_subprocess_options o = piped();
    o.in.kind = WEFT_STREAM_PIPE;
    o.process_group = group;
    return started(script, &o);
}

CASE(test_wait_and_poll)
{
    int status = -1;
    weft_subprocess *p = reader("read x; exit 5", 0);
    assert_int_equal(weft_subprocess_poll(p, &status), 0);
    assert_errno(weft_subprocess_join(p, &status, WEFT_NOW), ETIMEDOUT);
    int64_t before = weft_now();
    assert_errno(weft_subprocess_join(p, &status, weft_in_ms(20)), ETIMEDOUT);
    assert_true(weft_now() - before >= 20000000);
    assert_errno(weft_subprocess_destroy(p), EBUSY);
    assert_int_equal(status, -1);
    assert_int_equal(weft_subprocess_close(p, 0), 0);
    assert_int_equal(weft_subprocess_join(p, &status, weft_in_s(50)), 0);
    assert_int_equal(weft_status_exited(status), 5);
    status = -1;
    assert_int_equal(weft_subprocess_join(p, &status, WEFT_NOW), 0);
    assert_int_equal(weft_status_exited(status), 5);
    assert_int_equal(weft_subprocess_poll(p, &status), 1);
    assert_int_equal(weft_subprocess_poll(p, NULL), 1);
    assert_int_equal(weft_subprocess_destroy(p), 0);
    assert_int_equal(weft_subprocess_destroy(NULL), 0);
}
CASE_WITHOUT(test_wait_and_poll, pidfd, NO_PIDFD)

CASE(test_fd_is_readable_at_the_end)
{
    weft_subprocess *p = reader("read x", 0);
    struct pollfd fd = {weft_subprocess_fd(p), POLLIN, 0};
    assert_true(fd.fd > 2);
    assert_int_equal(fcntl(fd.fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(poll(&fd, 1, 0), 0);
    weft_subprocess_close(p, 0);
    assert_int_equal(poll(&fd, 1, -1), 1);
    assert_int_equal(weft_subprocess_poll(p, NULL), 1);
    weft_subprocess_destroy(p);
}

CASE(test_fd_missing)
{
    spawn_without = NO_PIDFD;
    weft_subprocess *p = started("true", NULL);
    assert_errno(weft_subprocess_fd(p), ENOSYS);
    finished(p);
    spawn_without = 0;
}

CASE(test_wait_any)
{
    weft_subprocess *ps[4] = {reader("read x", 0), NULL, reader("read x", 0), reader("read x", 0)};
    assert_errno(weft_subprocess_join_any(ps, 4, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_subprocess_join_any(ps, 4, weft_in_ms(5)), ETIMEDOUT);
    weft_subprocess_close(ps[2], 0);
    assert_int_equal(weft_subprocess_join_any(ps, 4, WEFT_FOREVER), 2);
    assert_int_equal(weft_status_exited(finished(ps[2])), 1);
    ps[2] = NULL;
    weft_subprocess_close(ps[3], 0);
    assert_int_equal(weft_subprocess_join_any(ps, 4, weft_in_s(50)), 3);
    finished(ps[3]);
    ps[3] = NULL;
    weft_subprocess_kill(ps[0]);
    assert_int_equal(weft_subprocess_join_any(ps, 4, WEFT_FOREVER), 0);
    finished(ps[0]);
    ps[0] = NULL;
    assert_errno(weft_subprocess_join_any(ps, 4, WEFT_FOREVER), EINVAL);
    assert_errno(weft_subprocess_join_any(ps, 0, WEFT_FOREVER), EINVAL);
}
CASE_WITHOUT(test_wait_any, pidfd, NO_PIDFD)

CASE(test_wait_any_of_many)
{
    enum { MANY = 80 };
    weft_subprocess *ps[MANY];
    for (int i = 0; i < MANY; i++)
        ps[i] = reader("read x", 0);
    weft_subprocess_close(ps[MANY - 1], 0);
    assert_int_equal(weft_subprocess_join_any(ps, MANY, WEFT_FOREVER), MANY - 1);
    for (int i = 0; i < MANY; i++) {
        weft_subprocess_kill(ps[i]);
        finished(ps[i]);
    }
}

CASE(test_wait_leaves_other_children_alone)
{
    pid_t other = fork();
    if (other == 0)
        _exit(7);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)other, &info, WEXITED | WNOWAIT), 0);
    finished(started("true", NULL));
    const char *const no[] = {"/nonexistent", NULL};
    assert_errno(weft_subprocess_start(no, NULL), ENOENT);
    int status;
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(weft_status_exited(status), 7);
}

CASE(test_wait_status_taken_by_another)
{
    int status = -1;
    weft_subprocess *p = started("exit 3", NULL);
    assert_int_equal(waitpid(weft_subprocess_pid(p), &status, 0), weft_subprocess_pid(p));
    assert_errno(weft_subprocess_join(p, &status, WEFT_FOREVER), ECHILD);
    assert_errno(weft_subprocess_poll(p, &status), ECHILD);
    assert_errno(weft_subprocess_send_signal(p, SIGTERM), ESRCH);
    assert_int_equal(weft_subprocess_destroy(p), 0);
}
CASE_WITHOUT(test_wait_status_taken_by_another, pidfd, NO_PIDFD)

CASE(test_wait_sigchld_ignored)
{
    struct sigaction ignore, old, now;
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGCHLD, &ignore, &old);
    weft_subprocess *p = reader("read x; exit 3", 0);
    int running = weft_subprocess_poll(p, NULL);
    weft_subprocess_close(p, 0);
    int forever = weft_subprocess_join(p, NULL, WEFT_FOREVER), error = errno;
    weft_subprocess *q = started("exit 3", NULL);
    int later = weft_subprocess_join(q, NULL, weft_in_s(50)), error2 = errno;
    const char *const no[] = {"/nonexistent", NULL};
    weft_subprocess *none = weft_subprocess_start(no, NULL);
    int error3 = errno;
    weft_subprocess_options o = piped();
    weft_subprocess_result r;
    // The child itself starts with the default: its own waits work.
    int run = weft_subprocess_run(sh("(exit 4); echo $?").argv, &o, &r, WEFT_FOREVER);
    int error4 = errno;
    sigaction(SIGCHLD, &old, &now);
    assert_true(now.sa_handler == SIG_IGN);
    assert_int_equal(running, 0);
    assert_int_equal(forever, -1);
    assert_int_equal(error, ECHILD);
    assert_int_equal(later, -1);
    assert_int_equal(error2, ECHILD);
    assert_null(none);
    assert_int_equal(error3, ENOENT);
    assert_int_equal(run, -1);
    assert_int_equal(error4, ECHILD);
    assert_string_equal(r.out.data, "4\n");
    weft_subprocess_result_free(&r);
    assert_int_equal(weft_subprocess_destroy(p), 0);
    assert_int_equal(weft_subprocess_destroy(q), 0);
}
CASE_WITHOUT(test_wait_sigchld_ignored, pidfd, NO_PIDFD)

static int handled;

static void count_signal(int signal)
{
    (void)signal;
    __atomic_add_fetch(&handled, 1, __ATOMIC_RELAXED);
}

// A signal every 200 us of real time, so that it also strikes in waits.
static timer_t start_storm(void)
{
    timer_t timer;
    struct sigaction action;
    struct sigevent event;
    const struct itimerspec every = {{0, 200000}, {0, 200000}};
    memset(&action, 0, sizeof action);
    action.sa_handler = count_signal;
    sigaction(SIGPROF, &action, NULL);
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGPROF;
    assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    assert_int_equal(timer_settime(timer, 0, &every, NULL), 0);
    return timer;
}

CASE(test_interrupted_everywhere)
{
    enum { SIZE = 1 << 20 };
    static char input[SIZE];
    memset(input, 'i', SIZE);
    timer_t timer = start_storm();
    bool good = true;
    for (int i = 0; i < 5 && good; i++) {
        weft_subprocess_options o = piped();
        weft_subprocess_result r;
        o.input = input;
        o.input_size = SIZE;
        good = weft_subprocess_run(sh("cat; sleep 0.01; exit 2").argv, &o, &r, WEFT_FOREVER) == 0 &&
               r.out.size == SIZE && weft_status_exited(r.status) == 2;
        weft_subprocess_result_free(&r);
        weft_subprocess *p = started("sleep 0.01; exit 1", NULL);
        int status;
        good = good && weft_subprocess_join(p, &status, weft_in_s(50)) == 0 &&
               weft_status_exited(status) == 1;
        weft_subprocess_destroy(p);
    }
    timer_delete(timer);
    assert_true(good);
    assert_true(__atomic_load_n(&handled, __ATOMIC_RELAXED) > 10);
}

// ---- Signals ----

CASE(test_send_signal)
{
    weft_subprocess *p = reader("trap 'echo usr1' USR1; echo ready; read x; read x; exit 6", 0);
    expect_line(p, 1, "ready");
    assert_int_equal(weft_subprocess_send_signal(p, SIGUSR1), 0);
    assert_int_equal(weft_subprocess_write(p, "\n\n", 2, WEFT_FOREVER), 2);
    expect_line(p, 1, "usr1");
    int status;
    assert_int_equal(weft_subprocess_join(p, &status, WEFT_FOREVER), 0);
    assert_errno(weft_subprocess_send_signal(p, SIGUSR1), ESRCH);
    assert_errno(weft_subprocess_terminate(p), ESRCH);
    assert_errno(weft_subprocess_kill(p), ESRCH);
    assert_errno(weft_subprocess_send_signal_group(p, SIGUSR1), EPERM);
    weft_subprocess_destroy(p);
    p = reader("read x", 0);
    assert_errno(weft_subprocess_send_signal(p, 12345), EINVAL);
    assert_int_equal(weft_subprocess_terminate(p), 0);
    assert_int_equal(weft_status_signal(finished(p)), SIGTERM);
}
CASE_WITHOUT(test_send_signal, pidfd, NO_PIDFD)

// The grandchild holds the output pipe: its end is the grandchild's death.
static void expect_end(weft_subprocess *p)
{
    char byte;
    assert_int_equal(weft_subprocess_read(p, 1, &byte, 1, WEFT_FOREVER), 0);
}

CASE(test_signals_reach_the_group)
{
    weft_subprocess *p = reader("sleep 1000 & echo ready; wait", WEFT_GROUP_NEW);
    expect_line(p, 1, "ready");
    assert_int_equal(weft_subprocess_terminate(p), 0);
    assert_int_equal(weft_subprocess_join(p, NULL, WEFT_FOREVER), 0);
    expect_end(p);
    weft_subprocess_destroy(p);
    p = reader("sleep 1000 & echo ready; wait", WEFT_GROUP_NEW);
    expect_line(p, 1, "ready");
    assert_int_equal(weft_subprocess_send_signal_group(p, SIGKILL), 0);
    expect_end(p);
    assert_int_equal(weft_status_signal(finished(p)), SIGKILL);
}

// What a leader that was waited for left behind: reached by its pidfd, or else spared, since its
// number may be another group's.
CASE(test_signals_reach_what_is_left)
{
    weft_subprocess *p = reader("sleep 1000 & echo $!", WEFT_GROUP_NEW);
    char line[32] = "";
    assert_true(weft_subprocess_read(p, 1, line, sizeof line - 1, WEFT_FOREVER) > 0);
    assert_int_equal(weft_subprocess_join(p, NULL, WEFT_FOREVER), 0);
    errno = 0;
    if (weft_subprocess_kill(p) != 0) {
        assert_int_equal(errno, ESRCH);
        kill(atoi(line), SIGKILL);
    }
    expect_end(p);
    weft_subprocess_destroy(p);
}
CASE_WITHOUT(test_signals_reach_what_is_left, pidfd, NO_PIDFD)

static const char *status_line(const char *name, const weft_subprocess_options *o)
{
    char script[64];
    snprintf(script, sizeof script, "exec grep %s /proc/self/status", name);
    return output_of(script, o);
}

CASE(test_signal_mask_is_empty)
{
    sigset_t set, old;
    weft_subprocess_options o = no_options();
    sigfillset(&set);
    sigdelset(&set, SIGALRM);
    pthread_sigmask(SIG_SETMASK, &set, &old);
    pthread_sigmask(SIG_SETMASK, NULL, &set); // as the kernel keeps it
    const char *line = status_line("SigBlk", &o);
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, &old, &now);
    assert_string_equal(line, "SigBlk:\t0000000000000000\n");
    assert_memory_equal(&now, &set, 8);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    o.signal_mask = &set;
    assert_string_equal(status_line("SigBlk", &o), "SigBlk:\t0000000000000200\n");
}

static unsigned long long ignored_in_child(const weft_subprocess_options *o)
{
    return strtoull(status_line("SigIgn", o) + strlen("SigIgn:\t"), NULL, 16);
}

CASE(test_signal_dispositions)
{
    enum { HUP = 1 << (SIGHUP - 1), USR1 = 1 << (SIGUSR1 - 1) };
    enum { USR2 = 1 << (SIGUSR2 - 1), PIPE = 1 << (SIGPIPE - 1) };
    sigset_t reset, ignore;
    weft_subprocess_options o = no_options();
    sigemptyset(&reset);
    sigaddset(&reset, SIGUSR1);
    sigemptyset(&ignore);
    sigaddset(&ignore, SIGUSR2);
    sigaddset(&ignore, SIGPIPE);
    // Whoever started the tests may ignore some, too.
    signal(SIGHUP, SIG_DFL);
    unsigned long long others = ignored_in_child(&o);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    // SIGHUP and SIGUSR1 stay ignored, as nohup needs it.
    assert_true(ignored_in_child(&o) == (others | HUP | USR1));
    o.signal_default = &reset;
    assert_true(ignored_in_child(&o) == (others | HUP));
    o.signal_ignore = &ignore;
    assert_true(ignored_in_child(&o) == (others | HUP | USR2 | PIPE));
    signal(SIGUSR1, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
}

CASE_WITHOUT(test_signal_dispositions, clone3, NO_CLONE3)

// A handler of ours must never run in a child on our memory, whenever the signal comes.
CASE(test_signal_handler_stays_here)
{
    weft_subprocess_options o = no_options();
    o.process_group = WEFT_GROUP_NEW;
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = count_signal;
    sigaction(SIGUSR1, &action, &old);
    int before = __atomic_load_n(&handled, __ATOMIC_RELAXED), killed = 0;
    for (int i = 0; i < 200; i++) {
        spawn_without = i % 2 ? NO_CLONE3 : 0;
        weft_subprocess *p = started("true", &o);
        weft_subprocess_send_signal(p, SIGUSR1);
        killed += weft_status_signal(finished(p)) == SIGUSR1;
    }
    spawn_without = 0;
    sigaction(SIGUSR1, &old, NULL);
    assert_int_equal(__atomic_load_n(&handled, __ATOMIC_RELAXED), before);
    assert_true(killed > 0);
}

// ---- Stopping ----

CASE(test_stop_by_closing)
{
    int status = -1;
    weft_subprocess *p = reader("trap '' TERM; read x; exit 8", 0);
    assert_int_equal(weft_subprocess_end(p, &status, WEFT_FOREVER, WEFT_FOREVER, WEFT_FOREVER), 0);
    assert_int_equal(weft_status_exited(status), 8);
    // Again: it has ended already.
    assert_int_equal(weft_subprocess_end(p, &status, WEFT_NOW, WEFT_NOW, WEFT_NOW), 0);
    weft_subprocess_destroy(p);
}
CASE_WITHOUT(test_stop_by_closing, pidfd, NO_PIDFD)

CASE(test_stop_by_terminating)
{
    int status = -1;
    weft_subprocess *p = reader("exec sleep 1000", 0);
    assert_int_equal(weft_subprocess_end(p, &status, WEFT_NOW, WEFT_FOREVER, WEFT_FOREVER), 0);
    assert_int_equal(weft_status_signal(status), SIGTERM);
    weft_subprocess_destroy(p);
}

CASE(test_stop_by_killing)
{
    int status = -1;
    weft_subprocess *p = reader("trap '' TERM; echo ready; while :; do sleep 0.01; done", 0);
    expect_line(p, 1, "ready");
    assert_int_equal(weft_subprocess_end(p, &status, weft_in_ms(1), weft_in_ms(20), WEFT_FOREVER),
                     0);
    assert_int_equal(weft_status_signal(status), SIGKILL);
    weft_subprocess_destroy(p);
}
CASE_WITHOUT(test_stop_by_killing, pidfd, NO_PIDFD)

// The leader obeys, its child does not: the group goes as a whole.
CASE(test_stop_takes_the_group)
{
    weft_subprocess *p = reader(
        "sh -c \"trap '' TERM; echo ready; while :; do sleep 0.01; done\" & wait", WEFT_GROUP_NEW);
    expect_line(p, 1, "ready");
    assert_int_equal(weft_subprocess_end(p, NULL, WEFT_NOW, WEFT_FOREVER, WEFT_FOREVER), 0);
    expect_end(p);
    weft_subprocess_destroy(p);
}

// A child stopped by SIGSTOP has not ended, and is woken for its SIGTERM.
CASE(test_stop_of_a_stopped_child)
{
    int status = -1;
    weft_subprocess *p = reader("kill -STOP $$; exit 0", 0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)weft_subprocess_pid(p), &info, WSTOPPED | WNOWAIT), 0);
    assert_int_equal(weft_subprocess_poll(p, &status), 0);
    assert_errno(weft_subprocess_join(p, &status, weft_in_ms(2)), ETIMEDOUT);
    assert_int_equal(weft_subprocess_end(p, &status, WEFT_NOW, WEFT_FOREVER, WEFT_FOREVER), 0);
    assert_int_equal(weft_status_signal(status), SIGTERM);
    weft_subprocess_destroy(p);
}

// ---- Statuses ----

CASE(test_status)
{
    char text[64];
    char small[10]; // no compiler warns of that
    int status = finished(started("exit 3", NULL));
    assert_int_equal(weft_status_exited(status), 3);
    assert_int_equal(weft_status_signal(status), 0);
    assert_int_equal(weft_status_code(status), 3);
    assert_false(weft_status_core(status));
    assert_string_equal(weft_status_text(status, text, sizeof text), "exited with 3");
    status = finished(started("kill -KILL $$", NULL));
    assert_int_equal(weft_status_exited(status), -1);
    assert_int_equal(weft_status_signal(status), SIGKILL);
    assert_int_equal(weft_status_code(status), 137);
    assert_string_equal(weft_status_text(status, text, sizeof text), "killed by SIGKILL");
    assert_true(weft_status_core(SIGSEGV | 0x80));
    assert_int_equal(weft_status_signal(SIGSEGV | 0x80), SIGSEGV);
    assert_string_equal(weft_status_text(SIGSEGV | 0x80, text, sizeof text),
                        "killed by SIGSEGV (core dumped)");
    assert_string_equal(weft_status_text(SIGRTMIN + 3, text, sizeof text), "killed by signal 37");
    assert_string_equal(weft_status_text(SIGKILL, small, sizeof small), "killed by");
}

RUN_CASES()
