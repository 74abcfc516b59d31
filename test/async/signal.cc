// signal.cc: signals and children in the loop.
#include "../runner.h"

#include <weft/loop.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct seen {
    int calls, code, sender, value;
    weft_signal *stop;
};

static void see(weft_signal *s)
{
    struct seen *x = (struct seen *)s->arg;
    x->calls++;
    x->code = s->code;
    x->sender = s->sender;
    x->value = s->value;
    if (x->stop != nullptr && x->stop->loop != nullptr)
        weft_signal_stop(x->stop);
}

static bool blocked(int signo)
{
    sigset_t s;
    pthread_sigmask(SIG_BLOCK, nullptr, &s);
    return sigismember(&s, signo) == 1;
}

static int once(weft_loop *l)
{
    return weft_loop_run(l, WEFT_LOOP_ONCE, weft_in_s(30));
}

CASE(test_signal_errors)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_signal s = {};
    static const int bad[] = {0,       -1,     65,     32,     SIGKILL, SIGSTOP,
                              SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (int signo : bad)
        assert_errno(weft_loop_signal(l, &s, signo, see, nullptr), EINVAL);
    assert_errno(weft_loop_signal(l, &s, SIGUSR1, nullptr, nullptr), EINVAL);
    assert_errno(weft_signal_stop(&s), EALREADY);
    assert_int_equal(weft_loop_signal(l, &s, SIGRTMAX, see, nullptr), 0);
    assert_errno(weft_loop_signal(l, &s, SIGUSR1, see, nullptr), EBUSY);
    assert_int_equal(weft_signal_stop(&s), 0);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER), 0);
    weft_loop_destroy(l);
}

CASE(test_signal_is_seen_with_its_sender)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_signal s = {};
    struct seen x = {};
    union sigval v;
    v.sival_int = 4711;
    assert_false(blocked(SIGUSR1));
    assert_int_equal(weft_loop_signal(l, &s, SIGUSR1, see, &x), 0);
    assert_true(blocked(SIGUSR1));
    assert_int_equal(sigqueue(getpid(), SIGUSR1, v), 0);
    assert_int_equal(once(l), 1);
    assert_int_equal(x.calls, 1);
    assert_int_equal(x.code, SI_QUEUE);
    assert_int_equal(x.sender, getpid());
    assert_int_equal(x.value, 4711);
    assert_int_equal(s.signo, SIGUSR1);
    assert_int_equal(weft_signal_stop(&s), 0);
    assert_false(blocked(SIGUSR1));
    weft_loop_destroy(l);
}

CASE(test_signal_blocked_before_stays_blocked)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_signal s = {};
    struct seen x = {};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    weft_loop_signal(l, &s, SIGUSR2, see, &x);
    weft_signal_stop(&s);
    assert_true(blocked(SIGUSR2));
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    weft_loop_signal(l, &s, SIGUSR2, see, &x);
    weft_loop_destroy(l); // stops it, too
    assert_null(s.loop);
    assert_false(blocked(SIGUSR2));
}

CASE(test_signal_with_several_watchers)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_signal a = {}, b = {}, c = {};
    struct seen x = {}, y = {}, z = {};
    weft_loop_signal(l, &a, SIGUSR1, see, &x);
    weft_loop_signal(l, &b, SIGUSR1, see, &y);
    weft_loop_signal(l, &c, SIGUSR2, see, &z);
    raise(SIGUSR1);
    assert_int_equal(once(l), 1);
    assert_int_equal(x.calls + y.calls, 2);
    assert_int_equal(z.calls, 0);
    // The first that is called stops the second.
    x.stop = &b;
    y.stop = &a;
    raise(SIGUSR1);
    assert_int_equal(once(l), 1);
    assert_int_equal(x.calls + y.calls, 3);
    assert_true(blocked(SIGUSR1));
    raise(SIGUSR2);
    assert_int_equal(once(l), 1);
    assert_int_equal(z.calls, 1);
    weft_loop_destroy(l);
    assert_false(blocked(SIGUSR1) || blocked(SIGUSR2));
}

CASE(test_signal_stopped_by_itself)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_signal s = {};
    struct seen x = {};
    x.stop = &s;
    weft_loop_signal(l, &s, SIGUSR1, see, &x);
    raise(SIGUSR1);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, weft_in_s(30)), 0);
    assert_int_equal(x.calls, 1);
    assert_int_equal(weft_loop_signal(l, &s, SIGUSR1, see, &x), 0); // and a signalfd made again
    raise(SIGUSR1);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, weft_in_s(30)), 0);
    assert_int_equal(x.calls, 2);
    weft_loop_destroy(l);
}

static int exit_of(pid_t child)
{
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

CASE(test_signal_in_a_forked_child)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_signal s = {}, t = {};
    struct seen x = {};
    weft_loop_signal(l, &s, SIGUSR1, see, &x);
    weft_loop_signal(l, &t, SIGUSR2, see, &x);
    pid_t child = fork();
    if (child == 0) {
        raise(SIGUSR1);
        bool ok = once(l) == 1 && x.calls == 1 && x.sender == getpid();
        weft_signal_stop(&t); // must not make the parent deaf to it
        _exit(ok ? 0 : 1);
    }
    assert_int_equal(exit_of(child), 0);
    raise(SIGUSR2);
    assert_int_equal(once(l), 1);
    assert_int_equal(x.calls, 1);
    weft_loop_destroy(l);
}

// ---- Children ----

struct ended {
    int calls, status;
};

static void note_end(weft_child *c, int status)
{
    struct ended *e = (struct ended *)c->arg;
    e->calls++;
    e->status = status;
}

// A process that waits until `go` is closed, then exits or kills itself.
static pid_t start(int go[2], int code, int sig)
{
    if (pipe2(go, O_CLOEXEC) != 0)
        return -1;
    pid_t p = fork();
    if (p == 0) {
        char c;
        close(go[1]);
        ssize_t n = read(go[0], &c, 1);
        (void)n;
        if (sig != 0)
            raise(sig);
        _exit(code);
    }
    close(go[0]);
    return p;
}

CASE(test_child_exits)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_child c = {};
    struct ended e = {};
    int go[2];
    pid_t p = start(go, 7, 0);
    assert_int_equal(weft_loop_child(l, &c, p, note_end, &e), 0);
    assert_int_equal(c.pid, p);
    assert_errno(weft_loop_child(l, &c, p, note_end, &e), EBUSY);
    assert_errno(weft_loop_child_fd(l, &c, c.watch.fd, note_end, &e), EBUSY);
    assert_errno(weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW), ETIMEDOUT);
    close(go[1]);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, weft_in_s(30)), 0);
    assert_int_equal(e.calls, 1);
    assert_true(WIFEXITED(e.status));
    assert_int_equal(WEXITSTATUS(e.status), 7);
    assert_errno(waitpid(p, nullptr, WNOHANG), ECHILD); // reaped
    assert_errno(weft_child_stop(&c), EALREADY);
    weft_loop_destroy(l);
}

CASE(test_child_is_killed)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_child c = {};
    struct ended e = {};
    int go[2];
    pid_t p = start(go, 0, SIGKILL);
    weft_loop_child(l, &c, p, note_end, &e);
    close(go[1]);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, weft_in_s(30)), 0);
    assert_true(WIFSIGNALED(e.status));
    assert_int_equal(WTERMSIG(e.status), SIGKILL);
    weft_loop_destroy(l);
}

CASE(test_child_errors)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_child c = {};
    assert_errno(weft_loop_child(l, &c, 0, note_end, nullptr), EINVAL);
    assert_errno(weft_loop_child(l, &c, getpid(), nullptr, nullptr), EINVAL);
    assert_errno(weft_loop_child(l, &c, 0x7ffffff0, note_end, nullptr), ESRCH);
    assert_errno(weft_loop_child_fd(l, &c, 0, nullptr, nullptr), EINVAL);
    assert_errno(weft_loop_child_fd(l, &c, -1, note_end, nullptr), EBADF);
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_errno(weft_loop_child_fd(l, &c, file, note_end, nullptr), EBADF);
    close(file);
    weft_loop_destroy(l);
}

CASE(test_child_by_descriptor_and_stop)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_child c = {}, d = {};
    struct ended e = {};
    int go[2];
    pid_t p = start(go, 3, 0);
    int fd = (int)syscall(SYS_pidfd_open, p, 0);
    assert_int_equal(weft_loop_child_fd(l, &c, fd, note_end, &e), 0);
    assert_errno(weft_loop_child_fd(l, &d, fd, note_end, &e), EEXIST);
    assert_int_equal(weft_child_stop(&c), 0);
    close(go[1]);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, weft_in_s(30)), 0);
    assert_int_equal(e.calls, 0); // stopped, and not reaped:
    assert_int_equal(weft_loop_child_fd(l, &c, fd, note_end, &e), 0);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, weft_in_s(30)), 0);
    assert_int_equal(WEXITSTATUS(e.status), 3);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC); // still ours
    close(fd);
    weft_loop_destroy(l);
}

CASE(test_child_of_another_process)
{
    // A grandchild: its end is seen, its status is its parent's.
    int go[2], tell[2];
    pid_t grandchild = 0;
    assert_int_equal(pipe(tell), 0);
    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        close(go[1]);
        pid_t g = fork();
        if (g == 0) {
            char c;
            ssize_t n = read(go[0], &c, 1);
            _exit(n == 0 ? 0 : 1);
        }
        ssize_t n = write(tell[1], &g, sizeof g);
        (void)n;
        waitpid(g, nullptr, 0);
        _exit(0);
    }
    assert_int_equal(read(tell[0], &grandchild, sizeof grandchild), sizeof grandchild);
    weft_loop *l = weft_loop_create(nullptr);
    weft_child c = {};
    struct ended e = {};
    assert_int_equal(weft_loop_child(l, &c, grandchild, note_end, &e), 0);
    close(go[1]);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, weft_in_s(30)), 0);
    assert_int_equal(e.calls, 1);
    assert_int_equal(e.status, -1);
    assert_int_equal(exit_of(child), 0);
    close(go[0]), close(tell[0]), close(tell[1]);
    weft_loop_destroy(l);
}

CASE(test_child_watched_when_the_loop_goes)
{
    int go[2], next = dup(0);
    close(next);
    weft_loop *l = weft_loop_create(nullptr);
    weft_child c = {};
    pid_t p = start(go, 0, 0);
    weft_loop_child(l, &c, p, note_end, nullptr);
    weft_loop_destroy(l);
    close(go[1]);
    assert_int_equal(exit_of(p), 0);
    int again = dup(0);
    assert_int_equal(again, next); // no descriptor left behind
    close(again);
}

RUN_CASES()
