// A child process: its end, its signals, its pidfd; with and without the newer system calls.
#include <base/child.h>

#include "../runner.h"

#include <stdio.h>
#include <sys/prctl.h>

using namespace weft;

static child started(void (*fn)(void))
{
    child c;
    pid_t pid = child_fork(&c);
    if (pid == 0) {
        fn();
        _exit(7);
    }
    assert_true(pid > 0);
    return c;
}

static void at_once(void)
{
}

static void sleeps(void)
{
    for (;;)
        pause();
}

static void stubborn(void)
{
    signal(SIGTERM, SIG_IGN);
    prctl(PR_SET_NAME, "stubborn");
    sleeps();
}

static void leads(void)
{
    setpgid(0, 0);
    sleeps();
}

static const int ways[] = {0, CHILD_NO_PIDFD, CHILD_NO_PIDFD_SIGNAL, CHILD_NO_PIDFD_WAIT,
                           CHILD_NO_PIDFD_SIGNAL | CHILD_NO_PIDFD_WAIT};

static void each_way(void (*fn)(void))
{
    for (int way : ways) {
        child_without = way;
        fn();
    }
    child_without = 0;
}

CASE_IN(test_wait, each_way)
{
    child c = started(at_once);
    errno = 0;
    assert_int_equal(child_wait(&c, WEFT_FOREVER), 0);
    assert_int_equal(errno, 0);
    assert_true(c.ended && !c.lost);
    assert_int_equal(c.status, 7 << 8);
    assert_true(child_poll(&c));
    assert_true(child_has_ended(&c));
    assert_errno(child_signal(&c, SIGKILL), ESRCH);
    child_close(&c);
}

CASE_IN(test_wait_until, each_way)
{
    child c = started(sleeps);
    assert_errno(child_wait(&c, WEFT_NOW), ETIMEDOUT);
    assert_errno(child_wait(&c, weft_in_ms(10)), ETIMEDOUT);
    assert_errno(child_await(&c, weft_in_ms(10)), ETIMEDOUT);
    assert_false(child_poll(&c));
    assert_int_equal(child_signal(&c, SIGKILL), 0);
    assert_int_equal(child_await(&c, WEFT_FOREVER), 0);
    assert_false(c.ended);
    assert_int_equal(child_wait(&c, WEFT_NOW), 0);
    assert_int_equal(c.status, SIGKILL);
    child_close(&c);
}

CASE_IN(test_end, each_way)
{
    child c = started(sleeps);
    assert_int_equal(child_end(&c, WEFT_FOREVER, WEFT_FOREVER), 0);
    assert_int_equal(child_wait(&c, WEFT_NOW), 0);
    assert_int_equal(c.status, SIGTERM);
    child_close(&c);
    c = started(stubborn);
    char name[32] = "", path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", c.pid);
    while (strcmp(name, "stubborn\n") != 0) {
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        assert_non_null(fgets(name, sizeof name, f));
        fclose(f);
    }
    assert_int_equal(child_end(&c, weft_in_ms(20), WEFT_FOREVER), 0);
    assert_int_equal(child_wait(&c, WEFT_NOW), 0);
    assert_int_equal(c.status, SIGKILL);
    child_close(&c);
}

CASE_IN(test_signal_group, each_way)
{
    child c = started(leads);
    assert_errno(child_signal_group(&c, SIGKILL), EPERM); // it is not known to lead
    c.leads = true;
    setpgid(c.pid, c.pid);
    assert_int_equal(child_signal_group(&c, SIGTERM), 0);
    assert_int_equal(child_wait(&c, WEFT_FOREVER), 0);
    assert_int_equal(c.status, SIGTERM);
    assert_errno(child_signal_group(&c, SIGTERM), ESRCH);
    child_close(&c);
}

CASE_IN(test_reaped_by_another, each_way)
{
    child c = started(at_once);
    assert_int_equal(waitpid(c.pid, nullptr, 0), c.pid);
    assert_errno(child_signal(&c, SIGKILL), ESRCH);
    assert_int_equal(child_wait(&c, WEFT_FOREVER), 0);
    assert_true(c.ended && c.lost);
    assert_errno(child_signal(&c, SIGKILL), ESRCH);
    child_close(&c);
}

static void lose_to_kernel(void)
{
    child c = started(at_once);
    assert_int_equal(child_wait(&c, WEFT_FOREVER), 0);
    assert_true(c.lost);
    child_close(&c);
}

// Each start succeeds, though the child may have ended and been forgotten before anybody looks.
CASE(test_ignored_sigchld)
{
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 200; i++)
        lose_to_kernel();
    each_way(lose_to_kernel);
    signal(SIGCHLD, SIG_DFL);
}

static int ways_used;

static int count_ways(struct pollfd *fds, nfds_t n, weft_deadline d)
{
    ways_used++;
    way_to_poll = nullptr;
    int ready = poll_until(fds, n, d);
    way_to_poll = count_ways;
    return ready;
}

CASE(test_wait_by_another_way)
{
    child c = started(at_once);
    way_to_poll = count_ways;
    assert_int_equal(child_wait(&c, WEFT_FOREVER), 0);
    way_to_poll = nullptr;
    assert_true(ways_used <= 1); // 0: it had ended before
    child_close(&c);
}

CASE(test_usage)
{
    child c = started(at_once);
    assert_int_equal(child_wait(&c, WEFT_FOREVER), 0);
    assert_true(c.usage.ru_maxrss > 0);
    child_close(&c);
}

// No descriptor for the pidfd: there is no child then.
CASE(test_fork_without_descriptors)
{
    struct rlimit before, none;
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 3;
    setrlimit(RLIMIT_NOFILE, &none);
    child c;
    pid_t pid = child_fork(&c);
    int error = errno;
    setrlimit(RLIMIT_NOFILE, &before);
    if (pid == 0)
        _exit(1);
    assert_int_equal(pid, -1);
    assert_int_equal(error, EMFILE);
    assert_errno(waitpid(-1, nullptr, WNOHANG), ECHILD);
}

RUN_CASES()
