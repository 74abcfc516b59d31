// Terminals, pipes and others without O_NONBLOCK, which belongs to all who share them: no call may
// block the thread, whatever poll(2) said and whoever came first.
#include "../refuses.h"
#include "paired.h"
#include "terminal.h"

#include <fcntl.h>
#include <sys/eventfd.h>

// ---- Pipes that processes share ----

enum { ROUNDS = 5000 };

// Takes bytes by read(2), as programs do, until the end.
static int read_plainly(void *fd)
{
    char byte;
    while (read(*(int *)fd, &byte, 1) == 1)
        ;
    return 0;
}

// What says that there is a byte may be followed by somebody else's read.
PAIR_CASE(test_read_beside_another_process, PIPE_PAIR)
{
    pid_t other = runner_fork();
    if (other == 0) {
        close(p[1]);
        _exit(read_plainly(&p[0]));
    }
    int got = 0;
    for (int i = 0; i < ROUNDS; i++) {
        char byte = '.';
        assert_int_equal(write(p[1], "x", 1), 1);
        got += get(&byte, 1, i % 2 ? WEFT_NOW : weft_in_us(20)) == 1;
        assert_true(byte == '.' || byte == 'x');
    }
    assert_true(got <= ROUNDS);
    close_end(1);
    assert_int_equal(end_of(other), 0);
}

// Room may be gone, too.
PAIR_CASE(test_write_beside_another_process, PIPE_PAIR)
{
    static char page[4096];
    assert_int_equal(fcntl(p[1], F_SETPIPE_SZ, 4096), 4096);
    pid_t other = runner_fork();
    if (other == 0) {
        close(p[0]);
        signal(SIGPIPE, SIG_DFL);
        for (;;)
            if (write(p[1], page, sizeof page) < 0)
                _exit(0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        ssize_t n = weft_io_write(p[1], page, sizeof page, weft_in_us(20));
        assert_true(n != 0 && n <= (ssize_t)sizeof page);
        assert_true(get(page, sizeof page, WEFT_FOREVER) > 0);
    }
    close_end(0);
    assert_int_equal(end_of(other), 256 + SIGPIPE);
}

// ---- Terminals ----

// All that is written to one end comes out of the other, both in this thread.
static bool passes(int from, int to, size_t n)
{
    static char lines[1 << 21], back[4096];
    transfer t;
    memset(lines, '\n', n);
    begin(&t, writing, from, lines, n);
    size_t all = 0;
    for (ssize_t got; all < n; all += (size_t)got) {
        got = weft_io_read(to, back, sizeof back, weft_in_s(30));
        if (got <= 0)
            return false;
        for (ssize_t i = 0; i < got; i++)
            if (back[i] != '\n')
                return false;
    }
    return result_of(&t) == (ssize_t)n;
}

INSIDE_CASE(test_write_to_a_terminal)
{
    int q[2];
    make_terminal(q, true);
    assert_true(passes(q[1], q[0], 1 << 21));
    assert_int_equal(fcntl(q[1], F_GETFL) & O_NONBLOCK, 0);
    assert_true(passes(q[0], q[1], 1 << 18));
    assert_int_equal(fcntl(q[0], F_GETFL) & O_NONBLOCK, 0);
    // Who is closed while it waits is told, and nothing of ours stays open.
    transfer t;
    begin(&t, reading, q[1], text, sizeof text);
    assert_int_equal(t.result, -2);
    weft_io_close(q[1]);
    is_cancelled(&t);
    weft_io_close(q[0]);
}

// Each line feed takes the room of two characters.
INSIDE_CASE(test_write_lines_to_a_terminal)
{
    static char lines[1 << 18], back[4096];
    int q[2];
    make_terminal(q, false);
    transfer t;
    memset(lines, '\n', sizeof lines);
    begin(&t, writing, q[1], lines, sizeof lines);
    size_t all = 0;
    while (all < 2 * sizeof lines) {
        ssize_t n = weft_io_read(q[0], back, sizeof back, weft_in_s(30));
        assert_true(n > 0);
        all += (size_t)n;
    }
    assert_int_equal(result_of(&t), sizeof lines);
    errno = 0;
    ssize_t some = weft_io_write(q[1], lines, sizeof lines, weft_in_ms(20));
    assert_int_equal(errno, ETIMEDOUT);
    assert_true(some > 0);
    while (weft_io_read(q[0], back, sizeof back, WEFT_NOW) > 0)
        ;
    // A line is read when it is whole.
    assert_errno(weft_io_read(q[1], text, sizeof text, weft_in_ms(1)), ETIMEDOUT);
    assert_int_equal(weft_io_write(q[0], "abc", 3, WEFT_FOREVER), 3);
    assert_errno(weft_io_read(q[1], text, sizeof text, weft_in_ms(1)), ETIMEDOUT);
    assert_int_equal(weft_io_write(q[0], "d\n", 2, WEFT_FOREVER), 2);
    assert_int_equal(weft_io_read(q[1], text, sizeof text, WEFT_FOREVER), 5);
    close_pair(q);
}

// ---- Where the ways are barred ----

static int pass_all(void *)
{
    int q[2], e = eventfd(0, EFD_CLOEXEC);
    uint64_t n = 3;
    if (pipe2(q, O_CLOEXEC) != 0 || !passes(q[1], q[0], 1 << 20))
        return 1;
    close_pair(q);
    make_terminal(q, true);
    if (!passes(q[1], q[0], 1 << 16) || !passes(q[0], q[1], 1 << 16))
        return 2;
    close_pair(q);
    if (weft_io_read(e, &n, 8, weft_in_ms(1)) != -1 || weft_io_write(e, &n, 8, WEFT_FOREVER) != 8)
        return 3;
    return weft_io_read(e, &n, 8, WEFT_FOREVER) == 8 && n == 3 && weft_io_close(e) == 0 ? 0 : 4;
}

CASE(test_without_nowait)
{
    int (*fn)(void) = [] {
        return refuses(SYS_preadv2, ENOSYS) && refuses(SYS_pwritev2, EPERM) &&
                       refuses(SYS_splice, EINVAL)
                   ? weft_io_run(pass_all, nullptr)
                   : (int)NOT_PERMITTED;
    };
    assert_int_equal(child_result(fn, "filters of system calls"), 0);
}

// Nothing can be opened again, but what the test opens itself by another call.
static int close_proc(void *)
{
    int q[2];
    make_terminal(q, true);
    if (!refuses(SYS_openat, EACCES))
        return NOT_PERMITTED;
    return passes(q[1], q[0], 1 << 16) && passes(q[0], q[1], 1 << 16) ? 0 : 1;
}

CASE(test_without_opening_again)
{
    int (*fn)(void) = [] { return weft_io_run(close_proc, nullptr); };
    assert_int_equal(child_result(fn, "filters of system calls"), 0);
}

RUN_CASES()
