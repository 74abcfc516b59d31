// signal.cc: signals and children in the loop.
#include "looped.h"

#include <weft/subprocess.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>

static weft_signal last; // as the last call found it

// Counts into *arg, and stops itself or another.
static void see(weft_signal *s, void *arg)
{
    last = *s;
    ++*(int *)arg;
}

static void see_and_stop(weft_signal *s, void *arg)
{
    weft_signal *other = s == &h.s ? &more.s : &h.s;
    see(s, arg);
    if (other->loop != nullptr)
        weft_loop_unwatch_signal(other);
}

static void see_and_stop_itself(weft_signal *s, void *arg)
{
    see(s, arg);
    weft_loop_unwatch_signal(s);
}

static void watch(weft_signal *s, int signo, void (*fn)(weft_signal *, void *) = see,
                  int *count = &calls)
{
    assert_int_equal(weft_loop_watch_signal(l, s, signo, fn, count), 0);
}

static bool blocked(int signo)
{
    sigset_t s;
    pthread_sigmask(SIG_BLOCK, nullptr, &s);
    return sigismember(&s, signo) == 1;
}

LOOP_CASE(test_signal_errors)
{
    static const int bad[] = {0,       -1,     65,     32,     SIGKILL, SIGSTOP,
                              SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (int signo : bad)
        assert_errno(weft_loop_watch_signal(l, &h.s, signo, see, nullptr), EINVAL);
    assert_errno(weft_loop_watch_signal(l, &h.s, SIGUSR1, nullptr, nullptr), EINVAL);
    assert_errno(weft_loop_unwatch_signal(&h.s), EALREADY);
    watch(&h.s, SIGRTMAX);
    assert_errno(weft_loop_watch_signal(l, &h.s, SIGUSR1, see, nullptr), EBUSY);
    assert_int_equal(weft_loop_unwatch_signal(&h.s), 0);
    assert_int_equal(run_all(), 0);
}

LOOP_CASE(test_signal_is_seen_with_its_sender)
{
    union sigval v;
    v.sival_int = 4711;
    assert_false(blocked(SIGUSR1));
    watch(&h.s, SIGUSR1);
    assert_true(blocked(SIGUSR1));
    assert_int_equal(sigqueue(getpid(), SIGUSR1, v), 0);
    assert_int_equal(once(), 1);
    assert_int_equal(calls, 1);
    assert_int_equal(last.code, SI_QUEUE);
    assert_int_equal(last.sender, getpid());
    assert_int_equal(last.value, 4711);
    assert_int_equal(last.signo, SIGUSR1);
    assert_int_equal(weft_loop_unwatch_signal(&h.s), 0);
    assert_false(blocked(SIGUSR1));
}

LOOP_CASE(test_signal_blocked_before_stays_blocked)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    watch(&h.s, SIGUSR2);
    weft_loop_unwatch_signal(&h.s);
    assert_true(blocked(SIGUSR2));
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    watch(&h.s, SIGUSR2);
    loop_destroy(); // stops it, too
    assert_null(h.s.loop);
    assert_false(blocked(SIGUSR2));
}

LOOP_CASE(test_signal_with_several_watchers)
{
    int others = 0;
    weft_signal other = {};
    watch(&h.s, SIGUSR1);
    watch(&more.s, SIGUSR1);
    watch(&other, SIGUSR2, see, &others);
    raise(SIGUSR1);
    assert_int_equal(once(), 1);
    assert_int_equal(calls, 2);
    assert_int_equal(others, 0);
    // The first that is called stops the second.
    weft_loop_unwatch_signal(&h.s);
    weft_loop_unwatch_signal(&more.s);
    watch(&h.s, SIGUSR1, see_and_stop);
    watch(&more.s, SIGUSR1, see_and_stop);
    raise(SIGUSR1);
    assert_int_equal(once(), 1);
    assert_int_equal(calls, 3);
    assert_true(blocked(SIGUSR1));
    raise(SIGUSR2);
    assert_int_equal(once(), 1);
    assert_int_equal(others, 1);
    loop_destroy();
    assert_false(blocked(SIGUSR1) || blocked(SIGUSR2));
}

LOOP_CASE(test_signal_stopped_by_itself)
{
    for (int times = 1; times <= 2; times++) { // with a signalfd made again
        watch(&h.s, SIGUSR1, see_and_stop_itself);
        raise(SIGUSR1);
        assert_int_equal(run_all(), 0);
        assert_int_equal(calls, times);
    }
}

LOOP_CASE(test_signal_watched_by_two_loops_of_a_thread)
{
    weft_loop *second = weft_loop_create(nullptr);
    weft_signal one = {}, other = {};
    watch(&h.s, SIGUSR1);
    assert_int_equal(weft_loop_watch_signal(second, &one, SIGUSR1, see, &calls), 0);
    assert_int_equal(weft_loop_watch_signal(second, &other, SIGUSR2, see, &calls), 0);
    weft_loop_unwatch_signal(&h.s);
    assert_true(blocked(SIGUSR1));
    watch(&h.s, SIGUSR1);
    assert_int_equal(weft_loop_destroy(second), 0);
    assert_true(blocked(SIGUSR1));
    assert_false(blocked(SIGUSR2));
    raise(SIGUSR1);
    assert_int_equal(once(), 1);
    assert_int_equal(calls, 1);
    weft_loop_unwatch_signal(&h.s);
    assert_false(blocked(SIGUSR1));
}

// What the thread must tell that gets the loop: 0, or a line.
static void *take_over(void *)
{
    if (weft_loop_own(l) != 0 || weft_loop_own(l) != 0 || !blocked(SIGUSR1))
        return (void *)__LINE__;
    pthread_kill(pthread_self(), SIGUSR1);
    if (once() != 1 || calls != 1)
        return (void *)__LINE__;
    loop_destroy();
    return blocked(SIGUSR1) ? (void *)__LINE__ : nullptr;
}

LOOP_CASE(test_signal_of_a_loop_that_moves)
{
    pthread_t t;
    sigset_t set;
    void *wrong;
    watch(&h.s, SIGUSR1);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr); // for the new thread not to inherit it
    assert_int_equal(pthread_create(&t, nullptr, take_over, nullptr), 0);
    pthread_join(t, &wrong);
    assert_int_equal((intptr_t)wrong, 0);
}

LOOP_CASE(test_signal_in_a_forked_child)
{
    watch(&h.s, SIGUSR1);
    watch(&more.s, SIGUSR2);
    pid_t child = runner_fork();
    if (child == 0) {
        raise(SIGUSR1);
        bool ok = once() == 1 && calls == 1 && last.sender == getpid();
        weft_loop_unwatch_signal(&more.s); // must not make the parent deaf to it
        _exit(ok ? 0 : 1);
    }
    assert_int_equal(end_of(child), 0);
    raise(SIGUSR2);
    assert_int_equal(once(), 1);
    assert_int_equal(calls, 1);
}

// ---- Children ----

static int end_status;

static void note_end(weft_child *, int status, void *)
{
    calls++;
    end_status = status;
}

static void wait_for_the_end(int fd)
{
    char c;
    close(p[1]);
    fcntl(fd, F_SETFL, 0);
    (void)!read(fd, &c, 1);
}

// A process that waits until p[1] is closed, then exits or kills itself.
static pid_t start(int code, int sig = 0)
{
    pid_t child = runner_fork();
    if (child == 0) {
        wait_for_the_end(p[0]);
        if (sig != 0)
            raise(sig);
        _exit(code);
    }
    return child;
}

LOOP_CASE(test_child_exits)
{
    pid_t child = start(7);
    assert_int_equal(weft_loop_watch_child(l, &h.c, child, note_end, nullptr), 0);
    assert_int_equal(h.c.pid, child);
    assert_errno(weft_loop_watch_child(l, &h.c, child, note_end, nullptr), EBUSY);
    assert_errno(weft_loop_watch_child_fd(l, &h.c, h.c.watch.fd, note_end, nullptr), EBUSY);
    assert_true(quiet());
    close_end(&p[1]);
    assert_int_equal(run_all(), 0);
    assert_int_equal(calls, 1);
    assert_true(WIFEXITED(end_status));
    assert_int_equal(WEXITSTATUS(end_status), 7);
    assert_errno(waitpid(child, nullptr, WNOHANG), ECHILD); // reaped
    assert_errno(weft_loop_unwatch_child(&h.c), EALREADY);
}

LOOP_CASE(test_child_is_killed)
{
    weft_loop_watch_child(l, &h.c, start(0, SIGKILL), note_end, nullptr);
    close_end(&p[1]);
    assert_int_equal(run_all(), 0);
    assert_true(WIFSIGNALED(end_status));
    assert_int_equal(WTERMSIG(end_status), SIGKILL);
}

LOOP_CASE(test_child_errors)
{
    assert_errno(weft_loop_watch_child(l, &h.c, 0, note_end, nullptr), EINVAL);
    assert_errno(weft_loop_watch_child(l, &h.c, getpid(), nullptr, nullptr), EINVAL);
    assert_errno(weft_loop_watch_child(l, &h.c, 0x7ffffff0, note_end, nullptr), ESRCH);
    assert_errno(weft_loop_watch_child_fd(l, &h.c, 0, nullptr, nullptr), EINVAL);
    assert_errno(weft_loop_watch_child_fd(l, &h.c, -1, note_end, nullptr), EBADF);
    assert_errno(weft_loop_watch_child_fd(l, &h.c, p[0], note_end, nullptr), EBADF); // no process
}

LOOP_CASE(test_child_by_descriptor_and_stop)
{
    int fd = (int)syscall(SYS_pidfd_open, start(3), 0);
    assert_int_equal(weft_loop_watch_child_fd(l, &h.c, fd, note_end, nullptr), 0);
    assert_errno(weft_loop_watch_child_fd(l, &more.c, fd, note_end, nullptr), EEXIST);
    assert_int_equal(weft_loop_unwatch_child(&h.c), 0);
    close_end(&p[1]);
    assert_int_equal(run_all(), 0);
    assert_int_equal(calls, 0); // stopped, and not reaped:
    assert_int_equal(weft_loop_watch_child_fd(l, &h.c, fd, note_end, nullptr), 0);
    assert_int_equal(run_all(), 0);
    assert_int_equal(WEXITSTATUS(end_status), 3);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC); // still ours
    close(fd);
}

static void see_end(weft_watch *w, int, void *arg)
{
    calls += weft_subprocess_poll((weft_subprocess *)arg, &end_status);
    weft_loop_unwatch(w);
    weft_subprocess_destroy((weft_subprocess *)arg);
}

// By a watch: the status stays its handle's.  With a warden, too.
LOOP_CASE(test_subprocess_ends)
{
    const int flags[] = {0, WEFT_SUBPROCESS_TREE};
    const char *const argv[] = {"sh", "-c", "read x; exit 5", nullptr};
    for (int each : flags) {
        weft_watch w = {};
        weft_subprocess_options o = {};
        o.flags = each;
        o.in.kind = WEFT_STREAM_PIPE;
        calls = 0;
        weft_subprocess *s = weft_subprocess_start(argv, &o);
        assert_int_equal(weft_loop_watch(l, &w, weft_subprocess_fd(s), WEFT_READ, see_end, s), 0);
        assert_true(quiet());
        weft_subprocess_close(s, 0);
        assert_int_equal(run_all(), 0);
        assert_int_equal(calls, 1);
        assert_int_equal(WEXITSTATUS(end_status), 5);
    }
}

LOOP_CASE(test_child_of_another_process)
{
    // A grandchild: its end is seen, its status is its parent's.
    int tell[2];
    assert_int_equal(pipe2(tell, O_CLOEXEC), 0);
    pid_t grandchild = 0, child = runner_fork();
    if (child == 0) {
        pid_t g = start(0);
        (void)!write(tell[1], &g, sizeof g);
        close(p[1]);
        _exit(end_of(g));
    }
    assert_int_equal(read(tell[0], &grandchild, sizeof grandchild), sizeof grandchild);
    assert_int_equal(weft_loop_watch_child(l, &h.c, grandchild, note_end, nullptr), 0);
    close_end(&p[1]);
    assert_int_equal(run_all(), 0);
    assert_int_equal(calls, 1);
    assert_int_equal(end_status, -1);
    assert_int_equal(end_of(child), 0);
    close_pair(tell);
}

LOOP_CASE(test_child_watched_when_the_loop_goes)
{
    pid_t child = start(0);
    weft_loop_watch_child(l, &h.c, child, note_end, nullptr);
    loop_destroy();
    close_end(&p[1]);
    assert_int_equal(end_of(child), 0);
}

RUN_CASES()
