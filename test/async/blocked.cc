// WEFT_IO_BLOCKED: who holds the thread is told, as long as it does.
#include "inside.h"

#include <fcntl.h>

static int said[2];
static char lines[4096];
static size_t length;

// What was said since the last look.
static bool was_said(const char *what)
{
    ssize_t n;
    while ((n = read(said[0], lines + length, sizeof lines - 1 - length)) > 0)
        length += (size_t)n;
    return strstr(lines, what) != nullptr;
}

static void *hog(void *what)
{
    while (!was_said((const char *)what)) // nothing in here gives way
        if (RUNNER_SANITIZED)
            usleep(1); // TSan holds signals back until such a call
    return nullptr;
}

static void hold_the_thread(void)
{
    static char line[] = "weft: tasklet \"greedy\" has held its thread for ";
    weft_tasklet_options o = {};
    o.name = "greedy";
    join(weft_tasklet_spawn(hog, line, &o));
}

// With this limit, and standard error in `said`.
static void with_limit(const char *ms, void (*body)(void))
{
    int keep = dup(2);
    memset(lines, 0, sizeof lines);
    length = 0;
    assert_int_equal(pipe2(said, O_CLOEXEC | O_NONBLOCK), 0);
    dup2(said[1], 2);
    setenv("WEFT_IO_BLOCKED", ms, 1);
    int result = weft_io_run(call_body, (void *)&body);
    unsetenv("WEFT_IO_BLOCKED");
    dup2(keep, 2);
    close(keep);
    assert_int_equal(result, 0);
    was_said("");
    close(said[0]);
    close(said[1]);
}

CASE(test_blocked_tasklet_is_told)
{
    with_limit("20", hold_the_thread);
}

// Also in a child, which has no timer of its parent's.
CASE(test_blocked_tasklet_is_told_in_a_child)
{
    forks_coroutines();
    with_limit("20", [] {
        hold_the_thread();
        pid_t child = runner_fork();
        if (child == 0) {
            length = 0;
            memset(lines, 0, sizeof lines);
            weft_tasklet_sleep(weft_in_ms(1)); // the first call here
            hold_the_thread();
            _exit(0);
        }
        assert_int_equal(end_of(child), 0);
    });
}

CASE(test_blocked_callback_is_told)
{
    with_limit("1", [] {
        static weft_task t;
        t.fn = [](weft_task *, void *) {
            for (int64_t end = weft_now() + 2000000; weft_now() < end;)
                ;
        };
        weft_loop_post(weft_io_loop(), &t);
        while (!was_said("a callback blocked the loop for "))
            weft_tasklet_sleep(weft_in_ms(1));
    });
    assert_non_null(strstr(lines, " ms: task, "));
}

// No timer is there, then.
CASE(test_blocked_is_off)
{
    static const char *const none[] = {"", "0", "-5", "often"};
    for (const char *each : none) {
        with_limit(each, [] {
            struct sigaction a;
            signal(SIGRTMAX - 1, SIG_DFL);
            weft_tasklet_yield();
            assert_int_equal(sigaction(SIGRTMAX - 1, nullptr, &a), 0);
            assert_true(a.sa_handler == SIG_DFL);
        });
        assert_string_equal(lines, "");
    }
}

// It says why it can't be on.
CASE(test_blocked_without_its_signal)
{
    signal(SIGRTMAX - 1, [](int) {});
    with_limit("1", [] {});
    signal(SIGRTMAX - 1, SIG_DFL);
    assert_non_null(strstr(lines, "weft: WEFT_IO_BLOCKED: "));
}

RUN_CASES()
