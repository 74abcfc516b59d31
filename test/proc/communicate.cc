// communicate, run, and the pipes by hand: any amount in any direction, deadlines, early ends.
#include "children.h"

#include <proc/spawn.h>

#include <pthread.h>

using namespace weft;

enum { MEGABYTE = 1 << 20 };

// Bytes whose order shows.
static char *pattern(size_t n)
{
    char *bytes = (char *)malloc(n);
    uint32_t x = 1;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (char)(x >> 24);
    }
    return bytes;
}

static weft_subprocess *all_piped(const char *script)
{
    weft_subprocess_options o = no_options();
    o.in.kind = o.out.kind = o.err.kind = WEFT_STREAM_PIPE;
    return started(script, &o);
}

CASE(test_communicate_through_cat)
{
    const size_t sizes[] = {0, 1, 4096, 65535, 65536, 65537, 5 * MEGABYTE + 7};
    for (size_t size : sizes) {
        char *input = pattern(size);
        weft_buffer out = {}, err = {};
        weft_subprocess *p = all_piped("cat");
        assert_int_equal(weft_subprocess_communicate(p, input, size, &out, &err, WEFT_FOREVER), 0);
        assert_int_equal(out.size, size);
        assert_memory_equal(out.data, input, size);
        assert_int_equal(out.data[size], 0);
        assert_int_equal(err.size, 0);
        assert_string_equal(err.data, "");
        assert_int_equal(finished(p), 0);
        weft_buffer_free(&out);
        assert_null(out.data);
        weft_buffer_free(&err);
        free(input);
    }
    weft_buffer_free(NULL);
}

// Both outputs by the megabyte while the input waits: nobody blocks the other.
CASE(test_communicate_all_directions)
{
    char *input = pattern(2 * MEGABYTE);
    weft_buffer out = {}, err = {};
    weft_subprocess *p = all_piped("head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero; cat; "
                                   "head -c 1000000 /dev/zero >&2");
    assert_int_equal(weft_subprocess_communicate(p, input, 2 * MEGABYTE, &out, &err, WEFT_FOREVER),
                     0);
    assert_int_equal(out.size, 3000000 + 2 * MEGABYTE);
    assert_memory_equal(out.data + 3000000, input, 2 * MEGABYTE);
    assert_int_equal(err.size, 4000000);
    finished(p);
    weft_buffer_free(&out);
    weft_buffer_free(&err);
    free(input);
}

CASE(test_communicate_appends_and_drops)
{
    weft_buffer out = {};
    for (int i = 0; i < 2; i++) {
        weft_subprocess *p = all_piped("echo a; head -c 500000 /dev/zero >&2");
        assert_int_equal(weft_subprocess_communicate(p, NULL, 0, &out, NULL, WEFT_FOREVER), 0);
        finished(p);
    }
    assert_string_equal(out.data, "a\na\n");
    weft_buffer_free(&out);
}

// The child reads nothing of a large input, or a little; no SIGPIPE is left behind.
CASE(test_communicate_input_not_read)
{
    char *input = pattern(MEGABYTE);
    const char *const scripts[] = {"exit 3", "exec 0<&-; echo closed; exit 3",
                                   "head -c 10 >&2; exit 3"};
    for (const char *script : scripts) {
        weft_buffer out = {}, err = {};
        weft_subprocess *p = all_piped(script);
        errno = EDOM;
        assert_int_equal(weft_subprocess_communicate(p, input, MEGABYTE, &out, &err, WEFT_FOREVER),
                         0);
        assert_int_equal(errno, EDOM);
        // The same again: all has been done.
        assert_int_equal(weft_subprocess_communicate(p, input, MEGABYTE, &out, &err, WEFT_NOW), 0);
        assert_int_equal(weft_status_exited(finished(p)), 3);
        weft_buffer_free(&out);
        weft_buffer_free(&err);
    }
    sigset_t pending;
    sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
    free(input);
}

CASE(test_communicate_misuse)
{
    weft_subprocess *p = started("true", NULL);
    assert_errno(weft_subprocess_communicate(p, "x", 1, NULL, NULL, WEFT_FOREVER), EINVAL);
    assert_int_equal(weft_subprocess_communicate(p, NULL, 0, NULL, NULL, WEFT_FOREVER), 0);
    finished(p);
    p = all_piped("cat");
    assert_errno(weft_subprocess_communicate(p, NULL, 1, NULL, NULL, WEFT_FOREVER), EINVAL);
    assert_int_equal(weft_subprocess_close(p, 0), 0);
    assert_errno(weft_subprocess_communicate(p, "x", 1, NULL, NULL, WEFT_FOREVER), EINVAL);
    finished(p);
}

// At the deadline what came is kept, and the call can go on where it stopped.
CASE(test_communicate_deadline_keeps_output)
{
    weft_buffer out = {}, err = {};
    char script[128];
    int gate[2];
    assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
    snprintf(script, sizeof script, "echo out; echo err >&2; read x <&%d; echo end", gate[0]);
    weft_subprocess_options o = piped();
    o.err.kind = WEFT_STREAM_PIPE;
    o.pass = &gate[0];
    o.pass_count = 1;
    weft_subprocess *p = started(script, &o);
    while (out.size < 4 || err.size < 4)
        assert_errno(weft_subprocess_communicate(p, NULL, 0, &out, &err, weft_in_ms(5)), ETIMEDOUT);
    assert_string_equal(out.data, "out\n");
    assert_string_equal(err.data, "err\n");
    assert_int_equal(write(gate[1], "\n", 1), 1);
    assert_int_equal(weft_subprocess_communicate(p, NULL, 0, &out, &err, WEFT_FOREVER), 0);
    assert_string_equal(out.data, "out\nend\n");
    finished(p);
    close(gate[0]);
    close(gate[1]);
    weft_buffer_free(&out);
    weft_buffer_free(&err);
}

CASE(test_communicate_goes_on)
{
    char *input = pattern(3 * MEGABYTE);
    weft_buffer out = {};
    weft_subprocess *p = all_piped("cat");
    int calls = 0, result;
    do {
        result = weft_subprocess_communicate(p, input, 3 * MEGABYTE, &out, NULL, WEFT_NOW);
        calls++;
        assert_true(result == 0 || errno == ETIMEDOUT);
    } while (result != 0);
    assert_true(calls > 1);
    assert_int_equal(out.size, 3 * MEGABYTE);
    assert_memory_equal(out.data, input, 3 * MEGABYTE);
    finished(p);
    weft_buffer_free(&out);
    free(input);
}

// A child that never ends, writing all the time: the deadline holds.
CASE(test_communicate_deadline_under_flood)
{
    weft_subprocess *p = all_piped("exec yes");
    int64_t start = weft_now();
    assert_errno(weft_subprocess_communicate(p, NULL, 0, NULL, NULL, weft_in_ms(30)), ETIMEDOUT);
    assert_true(weft_now() - start >= 30000000);
    weft_subprocess_kill(p);
    assert_int_equal(weft_status_signal(finished(p)), SIGKILL);
}

// The child ends, its child keeps the pipes.
static const char *const holder = "sleep 1000 & echo $!; exit 9";

static void kill_holder(const char *number)
{
    assert_int_equal(kill((pid_t)atoi(number), SIGKILL), 0);
}

CASE(test_communicate_grandchild_and_deadline)
{
    weft_buffer out = {};
    weft_subprocess *p = all_piped(holder);
    while (weft_subprocess_poll(p, NULL) == 0)
        assert_errno(weft_subprocess_communicate(p, NULL, 0, &out, NULL, weft_in_ms(20)),
                     ETIMEDOUT);
    assert_errno(weft_subprocess_communicate(p, NULL, 0, &out, NULL, weft_in_ms(1)), ETIMEDOUT);
    assert_true(out.size > 1);
    assert_int_equal(weft_status_exited(finished(p)), 9);
    kill_holder(out.data);
    weft_buffer_free(&out);
}

CASE(test_communicate_grandchild_and_grace)
{
    weft_subprocess_options o = piped();
    weft_subprocess_result r;
    o.grace_ns = 20000000;
    assert_int_equal(weft_subprocess_run(sh(holder).argv, &o, &r, WEFT_FOREVER), 0);
    assert_true(r.incomplete);
    assert_int_equal(weft_status_exited(r.status), 9);
    kill_holder(r.out.data);
    weft_subprocess_result_free(&r);
    // Nobody holds anything: nothing is incomplete.
    assert_int_equal(weft_subprocess_run(sh("echo x").argv, &o, &r, WEFT_FOREVER), 0);
    assert_false(r.incomplete);
    weft_subprocess_result_free(&r);
    // One that floods the pipe does not outlast the grace.
    assert_int_equal(weft_subprocess_run(sh("echo $$; yes & exit 0").argv, &o, &r, WEFT_FOREVER),
                     0);
    assert_true(r.incomplete);
    weft_subprocess_result_free(&r);
}

CASE_WITHOUT(test_communicate_grandchild_and_grace, pidfd, NO_PIDFD)

// ---- By hand ----

CASE(test_read_write_close)
{
    char bytes[16];
    weft_subprocess *p = all_piped("cat; echo end >&2");
    assert_true(weft_subprocess_stream(p, 0) > 2);
    assert_int_equal(fcntl(weft_subprocess_stream(p, 0), F_GETFD), FD_CLOEXEC);
    assert_errno(weft_subprocess_read(p, 1, bytes, sizeof bytes, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_subprocess_read(p, 1, bytes, sizeof bytes, weft_in_ms(2)), ETIMEDOUT);
    assert_int_equal(weft_subprocess_write(p, "hello", 5, WEFT_FOREVER), 5);
    assert_int_equal(weft_subprocess_read(p, 1, bytes, sizeof bytes, WEFT_FOREVER), 5);
    assert_memory_equal(bytes, "hello", 5);
    assert_int_equal(weft_subprocess_write(p, "", 0, WEFT_NOW), 0);
    assert_int_equal(weft_subprocess_close(p, 0), 0);
    assert_errno(weft_subprocess_close(p, 0), EBADF);
    assert_errno(weft_subprocess_close(p, 3), EBADF);
    assert_errno(weft_subprocess_stream(p, 0), EBADF);
    assert_errno(weft_subprocess_stream(p, -1), EBADF);
    assert_errno(weft_subprocess_write(p, "x", 1, WEFT_FOREVER), EBADF);
    assert_int_equal(weft_subprocess_read(p, 1, bytes, sizeof bytes, WEFT_FOREVER), 0);
    assert_int_equal(weft_subprocess_read(p, 2, bytes, sizeof bytes, WEFT_FOREVER), 4);
    assert_errno(weft_subprocess_read(p, 0, bytes, sizeof bytes, WEFT_FOREVER), EBADF);
    finished(p);
}

CASE(test_write_deadline_and_broken_pipe)
{
    char *input = pattern(MEGABYTE);
    weft_subprocess *p = all_piped("exec sleep 1000");
    // The pipe takes 64 KB; then it is full.
    assert_int_equal(weft_subprocess_write(p, input, MEGABYTE, weft_in_ms(5)), 65536);
    assert_int_equal(errno, ETIMEDOUT);
    weft_subprocess_kill(p);
    finished(p);
    p = all_piped("exec 0<&-; echo closed; exec sleep 1000");
    expect_line(p, 1, "closed");
    assert_errno(weft_subprocess_write(p, input, 10, WEFT_FOREVER), EPIPE);
    weft_subprocess_kill(p);
    finished(p);
    free(input);
}

// A SIGPIPE that was pending before is still there afterwards.
CASE(test_write_keeps_a_pending_sigpipe)
{
    sigset_t set, old, pending;
    weft_subprocess *p = all_piped("exec 0<&-; echo closed; exec sleep 1000");
    expect_line(p, 1, "closed");
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    pthread_kill(pthread_self(), SIGPIPE);
    assert_errno(weft_subprocess_write(p, "x", 1, WEFT_FOREVER), EPIPE);
    sigpending(&pending);
    int number = 0;
    assert_int_equal(sigismember(&pending, SIGPIPE), 1);
    assert_int_equal(sigwait(&set, &number), 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    weft_subprocess_kill(p);
    finished(p);
}

// ---- run ----

CASE(test_run)
{
    weft_subprocess_options o = no_options();
    weft_subprocess_result r;
    o.out.kind = o.err.kind = WEFT_STREAM_PIPE;
    o.input = "in";
    o.input_size = 2;
    assert_int_equal(weft_subprocess_run(sh("cat; echo e >&2; exit 7").argv, &o, &r, WEFT_FOREVER),
                     0);
    assert_string_equal(r.out.data, "in");
    assert_string_equal(r.err.data, "e\n");
    assert_int_equal(weft_status_exited(r.status), 7);
    assert_false(r.incomplete);
    assert_true(r.usage.ru_maxrss > 0);
    weft_subprocess_result_free(&r);
    assert_int_equal(weft_subprocess_run(sh("exit 1").argv, NULL, NULL, WEFT_FOREVER), 0);
    const char *const no[] = {"/nonexistent", NULL};
    o.input = NULL;
    assert_errno(weft_subprocess_run(sh("true").argv, &o, &r, WEFT_FOREVER), EINVAL);
    memset(&r, 'x', sizeof r);
    o.input_size = 0;
    assert_errno(weft_subprocess_run(no, &o, &r, WEFT_FOREVER), ENOENT);
    assert_null(r.out.data);
    weft_subprocess_result_free(&r);
    weft_subprocess_result_free(NULL);
}

CASE(test_run_deadline)
{
    weft_subprocess_options o = piped();
    weft_subprocess_result r;
    // The grandchild holds the pipe; the call ends all the same, and its group with it.
    o.process_group = WEFT_GROUP_NEW;
    const char *const scripts[] = {"echo before; exec sleep 1000",
                                   "echo before; sleep 1000 & wait"};
    for (const char *script : scripts) {
        int before = open_descriptors();
        r = run_until(script, "before", &o);
        assert_string_equal(r.out.data, "before\n");
        assert_int_equal(weft_status_signal(r.status), SIGTERM);
        weft_subprocess_result_free(&r);
        assert_int_equal(open_descriptors(), before);
        assert_true(no_children());
    }
    o.process_group = 0;
    assert_errno(weft_subprocess_run(sh("exec sleep 1000").argv, &o, NULL, WEFT_NOW), ETIMEDOUT);
    assert_true(no_children());
}

RUN_CASES()
