// Children that run a function: how they end, what they keep, and whom they outlive.
#include "process_children.h"

#include <weft/process.h>
#include <weft/status.h>
#include <weft/thread.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

CASE(test_start_returns_its_code)
{
    int codes[] = {0, 3, 255, 256 + 7}, status;
    for (int &code : codes) {
        weft_process *p = weft_process_start(return_arg, &code, nullptr);
        assert_non_null(p);
        errno = 4711;
        assert_int_equal(weft_process_join(p, &status, WEFT_FOREVER), 0);
        assert_int_equal(errno, 4711);
        assert_int_equal(weft_status_exited(status), code & 0xff);
        assert_int_equal(weft_process_join(p, nullptr, WEFT_NOW), 0); // again
        status = -1;
        assert_int_equal(weft_process_poll(p, &status), 1);
        assert_int_equal(weft_status_exited(status), code & 0xff);
        assert_int_equal(weft_process_destroy(p), 0);
    }
}

CASE(test_start_bad_arguments)
{
    int fd = 0, negative = -1;
    weft_process_options unknown = {}, keep = {}, bad = {};
    unknown.flags = 1 << 20;
    keep.keep = &fd;
    keep.keep_count = 1;
    bad.keep = &negative;
    bad.keep_count = 1;
    bad.flags = WEFT_PROCESS_CLOSE_OTHERS;
    assert_errno(weft_process_start(nullptr, nullptr, nullptr), EINVAL);
    assert_errno(weft_process_start(return_arg, &fd, &unknown), EINVAL);
    assert_errno(weft_process_start(return_arg, &fd, &keep), EINVAL);
    assert_errno(weft_process_start(return_arg, &fd, &bad), EBADF);
}

CASE(test_null_handle)
{
    assert_errno(weft_process_join(nullptr, nullptr, WEFT_NOW), EINVAL);
    assert_errno(weft_process_poll(nullptr, nullptr), EINVAL);
    assert_errno(weft_process_pid(nullptr), EINVAL);
    assert_errno(weft_process_fd(nullptr), EINVAL);
    assert_errno(weft_process_send_signal(nullptr, SIGTERM), EINVAL);
    assert_int_equal(weft_process_destroy(nullptr), 0);
}

CASE(test_running_child)
{
    weft_process *p = weft_process_start(wait_for_signal, nullptr, nullptr);
    assert_non_null(p);
    int status = 4711;
    assert_int_equal(weft_process_poll(p, &status), 0);
    assert_int_equal(status, 4711);
    assert_errno(weft_process_join(p, nullptr, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_process_join(p, nullptr, weft_in_ms(2)), ETIMEDOUT);
    assert_errno(weft_process_destroy(p), EBUSY);
    assert_errno(weft_process_send_signal(p, 12345), EINVAL);
    struct pollfd f = {weft_process_fd(p), POLLIN, 0};
    assert_int_equal(poll(&f, 1, 0), 0);
    assert_int_equal(weft_process_terminate(p), 0);
    assert_int_equal(poll(&f, 1, -1), 1);
    assert_int_equal(weft_process_join(p, nullptr, WEFT_NOW), 0);
    assert_int_equal(weft_process_poll(p, &status), 1);
    assert_int_equal(weft_status_signal(status), SIGTERM);
    assert_errno(weft_process_kill(p), ESRCH);
    assert_true(weft_process_pid(p) > 0);
    assert_int_equal(weft_process_destroy(p), 0);
}

CASE(test_status_lost)
{
    int code = 1;
    weft_process *p = weft_process_start(return_arg, &code, nullptr);
    assert_non_null(p);
    assert_int_equal(waitpid(weft_process_pid(p), nullptr, 0), weft_process_pid(p));
    assert_errno(weft_process_join(p, nullptr, WEFT_FOREVER), ECHILD);
    assert_errno(weft_process_poll(p, nullptr), ECHILD);
    assert_int_equal(weft_process_destroy(p), 0);
    signal(SIGCHLD, SIG_IGN);
    p = weft_process_start(wait_for_signal, nullptr, nullptr);
    assert_non_null(p);
    assert_int_equal(weft_process_kill(p), 0);
    assert_errno(weft_process_join(p, nullptr, WEFT_FOREVER), ECHILD);
    signal(SIGCHLD, SIG_DFL);
    assert_int_equal(weft_process_destroy(p), 0);
}

static void *join_it(void *p)
{
    errno = 0;
    int r = weft_process_join((weft_process *)p, nullptr, WEFT_FOREVER);
    return r == 0 ? nullptr : (void *)(intptr_t)errno;
}

CASE(test_join_by_threads_and_stop)
{
    void *result;
    weft_process *p = weft_process_start(wait_for_signal, nullptr, nullptr);
    weft_thread *stopped = weft_thread_start(join_it, p, nullptr);
    assert_int_equal(weft_thread_stop(stopped), 0);
    assert_int_equal(weft_thread_join(stopped, &result, WEFT_FOREVER), 0);
    assert_int_equal((intptr_t)result, ECANCELED);
    weft_thread *t[4];
    for (weft_thread *&thread : t)
        thread = weft_thread_start(join_it, p, nullptr);
    assert_int_equal(weft_process_kill(p), 0);
    for (weft_thread *thread : t) {
        assert_int_equal(weft_thread_join(thread, &result, WEFT_FOREVER), 0);
        assert_null(result);
    }
    assert_int_equal(weft_process_destroy(p), 0);
}

static int look_at_self(void *)
{
    return weft_thread_self() != nullptr || weft_thread_stopping() ? 1 : 0;
}

static void *start_while_stopping(void *)
{
    while (!weft_thread_stopping())
        sched_yield();
    weft_process *p = weft_process_start(look_at_self, nullptr, nullptr);
    int status = 0;
    while (weft_process_poll(p, &status) == 0)
        sched_yield();
    weft_process_destroy(p);
    return (void *)(intptr_t)weft_status_exited(status);
}

CASE(test_child_of_a_thread_is_a_main_thread)
{
    void *code;
    weft_thread *t = weft_thread_start(start_while_stopping, nullptr, nullptr);
    assert_int_equal(weft_thread_stop(t), 0);
    assert_int_equal(weft_thread_join(t, &code, WEFT_FOREVER), 0);
    assert_int_equal((intptr_t)code, 0);
}

static int print_word(void *)
{
    printf("child ");
    return 0;
}

// What waits in the parent's buffer is written once, and what the child prints too.
CASE(test_standard_output_is_written_once)
{
    int from, saved = take_output(&from);
    printf("parent ");
    weft_process *p = weft_process_start(print_word, nullptr, nullptr);
    weft_process_join(p, nullptr, WEFT_FOREVER);
    give_output_back(saved, from, "parent child ");
    assert_int_equal(weft_process_destroy(p), 0);
}

// Starts that fail leave nothing, and so do those that don't.
CASE(test_no_descriptor_is_left)
{
    int code = 0, negative = -1, before = next_descriptor();
    weft_process_options o = {}, bad = {};
    o.flags = WEFT_PROCESS_DIE_WITH_PARENT;
    bad = {nullptr, WEFT_PROCESS_DIE_WITH_PARENT | WEFT_PROCESS_CLOSE_OTHERS, &negative, 1};
    assert_errno(weft_process_start(return_arg, &code, &bad), EBADF);
    weft_process *p = weft_process_start(return_arg, &code, &o);
    assert_int_equal(weft_process_join(p, nullptr, WEFT_FOREVER), 0);
    assert_int_equal(weft_process_destroy(p), 0);
    assert_int_equal(next_descriptor(), before);
    assert_int_equal(waitpid(-1, nullptr, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

CASE(test_start_without_descriptors)
{
    int failed;
    weft_process *p = made_without_descriptors<weft_process>(
        [] {
            static int code = 3;
            weft_process_options o = {};
            o.flags = WEFT_PROCESS_DIE_WITH_PARENT;
            return weft_process_start(return_arg, &code, &o);
        },
        &failed);
    assert_int_equal(failed, 3); // a pipe and a pidfd
    assert_int_equal(weft_process_join(p, nullptr, WEFT_FOREVER), 0);
    assert_int_equal(weft_process_destroy(p), 0);
    assert_int_equal(waitpid(-1, nullptr, WNOHANG), -1);
}

// ---- Numbers that another process has by now ----

static int ends_at_once(void *)
{
    return 7;
}

// A process with this number, which is free; null: the kernel does not let one choose.
static pid_t fork_as(pid_t number)
{
    char text[32];
    for (int tries = 0; tries < 50; tries++) {
        int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
        int n = snprintf(text, sizeof text, "%d", number - 1);
        bool set = fd >= 0 && write(fd, text, (size_t)n) == n;
        if (fd >= 0)
            close(fd);
        if (!set)
            return 0;
        pid_t pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;)
                pause();
        }
        if (pid == number)
            return pid;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return 0;
}

CASE(test_kill_spares_a_stranger)
{
    for (int flags = 0; flags <= WEFT_PROCESS_NEW_GROUP; flags += WEFT_PROCESS_NEW_GROUP) {
        weft_process_options o = {};
        o.flags = flags;
        weft_process *p = weft_process_start(ends_at_once, NULL, &o);
        assert_non_null(p);
        pid_t number = weft_process_pid(p);
        assert_int_equal(waitpid(number, NULL, 0), number); // as a handler of SIGCHLD may
        pid_t stranger = fork_as(number);
        if (stranger == 0) {
            print_message("left out: numbers can't be chosen here\n");
        } else {
            setpgid(stranger, stranger);
            assert_errno(weft_process_kill(p), ESRCH);
            assert_int_equal(waitpid(stranger, NULL, WNOHANG), 0);
            kill(stranger, SIGKILL);
            waitpid(stranger, NULL, 0);
        }
        assert_errno(weft_process_join(p, NULL, WEFT_FOREVER), ECHILD);
        assert_int_equal(weft_process_destroy(p), 0);
    }
}

CASE(test_start_while_sigchld_is_ignored)
{
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 300; i++) {
        weft_process *p = weft_process_start(ends_at_once, NULL, NULL);
        assert_non_null(p);
        assert_errno(weft_process_join(p, NULL, WEFT_FOREVER), ECHILD);
        assert_int_equal(weft_process_destroy(p), 0);
    }
    signal(SIGCHLD, SIG_DFL);
}

RUN_CASES(share)
