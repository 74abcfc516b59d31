// Bytes from one descriptor to another: all of them, in their order, and no others.
#include "../refuses.h"
#include "paired.h"
#include "terminal.h"

#include <async/descriptor.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

using namespace weft;

static const size_t MANY = 3 << 20;

static int in[2], out[2]; // what is written to in[1] is to be read from out[0]
static char *sent, *got;

static ssize_t copying(transfer *t)
{
    return weft_io_copy(in[0], out[1], t->n, WEFT_FOREVER);
}

static void make_pairs(int from, int to, int flags)
{
    make_pair(from, in);
    make_pair(to, out);
    fcntl(in[0], F_SETFL, flags);
    fcntl(out[1], F_SETFL, flags);
}

static void close_pairs(void)
{
    close_pair(in);
    close_pair(out);
}

static void make_bytes(void)
{
    sent = (char *)malloc(MANY);
    got = (char *)malloc(MANY);
    for (size_t i = 0; i < MANY; i++)
        sent[i] = (char)(i * 7 + i / 251);
}

static void free_bytes(void)
{
    free(sent);
    free(got);
}

// Of MANY bytes all pass to the end, or the first n.
static bool copies(size_t n)
{
    transfer w, c;
    size_t most = n < MANY ? n : MANY;
    begin(&w, writing, in[1], sent, MANY);
    begin(&c, copying, -1, nullptr, n);
    memset(got, 0, MANY);
    if (weft_io_read_all(out[0], got, most, weft_in_s(50)) != (ssize_t)most)
        return false;
    size_t rest = MANY - most;
    if (rest > 0 && weft_io_read_all(in[0], got + most, rest, weft_in_s(50)) != (ssize_t)rest)
        return false;
    bool well = result_of(&w) == (ssize_t)MANY;
    weft_io_close(in[1]);
    return result_of(&c) == (ssize_t)most && well && memcmp(sent, got, MANY) == 0;
}

static void copy_between_all(void)
{
    make_bytes();
    for (int i = 0; i < PAIRS * PAIRS * 3; i++) {
        make_pairs(i % PAIRS, i / PAIRS % PAIRS, i < 2 * PAIRS * PAIRS ? O_NONBLOCK : 0);
        if (!copies(i < PAIRS * PAIRS ? SIZE_MAX : 1 << 20))
            fail_msg("%d to %d, flags of %d", i % PAIRS, i / PAIRS % PAIRS, i);
        close_pairs();
    }
    free_bytes();
}

INSIDE_CASE(test_copy)
{
    copy_between_all();
}

static int copy_all_in_child(void *)
{
    make_bytes();
    for (int i = 0; i < PAIRS * PAIRS; i++) {
        make_pairs(i % PAIRS, i / PAIRS, O_NONBLOCK);
        if (!copies(SIZE_MAX))
            return 1;
        close_pairs();
    }
    return 0;
}

CASE(test_copy_without_splice)
{
    int (*fn)(void) = [] {
        return refuses(SYS_splice, ENOSYS) ? weft_io_run(copy_all_in_child, nullptr)
                                           : (int)NOT_PERMITTED;
    };
    assert_int_equal(child_result(fn, "filters of system calls"), 0);
}

INSIDE_CASE(test_copy_files)
{
    int from = memfd_create("from", MFD_CLOEXEC), to = memfd_create("to", MFD_CLOEXEC);
    make_bytes();
    assert_int_equal(write(from, sent, MANY), MANY);
    lseek(from, 0, SEEK_SET);
    make_pairs(TCP_PAIR, UNIX_PAIR, O_NONBLOCK);
    in[0] = (weft_io_close(in[0]), from);
    transfer c;
    begin(&c, copying, -1, nullptr, SIZE_MAX);
    assert_int_equal(weft_io_read_all(out[0], got, MANY, WEFT_FOREVER), MANY);
    assert_memory_equal(sent, got, MANY);
    assert_int_equal(result_of(&c), MANY);
    close_pairs();
    make_pairs(UNIX_PAIR, UNIX_PAIR, O_NONBLOCK);
    out[1] = (weft_io_close(out[1]), to);
    transfer w;
    begin(&w, writing, in[1], sent, MANY);
    assert_int_equal(weft_io_copy(in[0], to, MANY, WEFT_FOREVER), MANY);
    assert_int_equal(result_of(&w), MANY);
    assert_int_equal(pread(to, got, MANY, 0), MANY);
    assert_memory_equal(sent, got, MANY);
    close_pairs();
    free_bytes();
}

// Neither an idle one nor a full one blocks the thread.
INSIDE_CASE(test_copy_of_terminals)
{
    static char much[1 << 20];
    int q[2];
    make_terminal(q, true);
    make_pair(UNIX_PAIR, p);
    assert_errno(weft_io_copy(q[1], p[1], 3, weft_in_ms(2)), ETIMEDOUT);
    assert_int_equal(weft_io_write(q[0], "abc", 3, WEFT_FOREVER), 3);
    assert_int_equal(weft_io_copy(q[1], p[1], 3, WEFT_FOREVER), 3);
    gets("abc");
    transfer w;
    begin(&w, writing, p[1], much, sizeof much);
    errno = 0;
    assert_true(weft_io_copy(p[0], q[1], sizeof much, weft_in_ms(20)) < (ssize_t)sizeof much);
    assert_int_equal(errno, ETIMEDOUT);
    close_pair(p);
    result_of(&w);
    close_pair(q);
}

INSIDE_CASE(test_copy_says_how_much)
{
    make_pairs(UNIX_PAIR, TCP_PAIR, O_NONBLOCK);
    assert_errno(weft_io_copy(in[0], out[1], 8, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_io_copy(in[0], out[1], 8, weft_in_ms(2)), ETIMEDOUT);
    assert_int_equal(weft_io_copy(in[0], out[1], 0, WEFT_FOREVER), 0);
    assert_int_equal(send(in[1], "abc", 3, 0), 3);
    errno = 0;
    assert_int_equal(weft_io_copy(in[0], out[1], 8, weft_in_ms(2)), 3);
    assert_int_equal(errno, ETIMEDOUT);
    assert_int_equal(weft_io_read(out[0], text, 8, WEFT_FOREVER), 3);
    assert_errno(weft_io_copy(in[0], 1000, 8, WEFT_FOREVER), EBADF);
    assert_errno(weft_io_copy(1000, out[1], 8, WEFT_FOREVER), EBADF);
    assert_errno(weft_io_copy(-1, out[1], 8, WEFT_FOREVER), EBADF);
    transfer c;
    begin(&c, copying, -1, nullptr, 8);
    assert_errno(weft_io_copy(in[0], out[1], 8, WEFT_FOREVER), EBUSY);
    weft_io_close(out[0]);
    weft_io_shutdown(out[1], SHUT_WR);
    assert_int_equal(send(in[1], "abc", 3, 0), 3);
    assert_int_equal(result_of(&c), -1);
    assert_int_equal(c.error, EPIPE);
    close_pairs();
}

// It waits for one end, and the other's number becomes another's.
static void reuse_an_end(bool of_from)
{
    transfer c;
    int q[2];
    static char much[1 << 20];
    make_pairs(UNIX_PAIR, UNIX_PAIR, O_NONBLOCK);
    while (of_from && send(out[1], much, sizeof much, MSG_DONTWAIT) > 0)
        ;
    if (of_from)
        assert_int_equal(send(in[1], "abc", 3, 0), 3);
    begin(&c, copying, -1, nullptr, SIZE_MAX);
    assert_int_equal(c.result, -2);
    int number = of_from ? in[0] : out[1];
    weft_io_close(number);
    make_pair(UNIX_PAIR, q);
    assert_int_equal(q[0], number);
    send(q[1], "foreign", 7, 0);
    if (!of_from)
        assert_int_equal(send(in[1], "abc", 3, 0), 3);
    while (of_from && recv(out[0], much, sizeof much, MSG_DONTWAIT) > 0)
        weft_tasklet_yield();
    assert_int_equal(result_of(&c), of_from ? 3 : -1);
    assert_int_equal(c.error, ECANCELED);
    assert_errno(recv(q[1], text, 8, MSG_DONTWAIT), EAGAIN);
    assert_int_equal(weft_io_read(q[0], text, 8, WEFT_FOREVER), 7);
    close_pair(q);
    (of_from ? in[0] : out[1]) = -1;
    close_pairs();
}

INSIDE_CASE(test_copy_when_an_end_is_reused)
{
    reuse_an_end(false);
    reuse_an_end(true);
}

// A forked child has a pipe of its own.
INSIDE_CASE(test_copy_in_a_child)
{
    forks_coroutines();
    make_pairs(UNIX_PAIR, UNIX_PAIR, O_NONBLOCK);
    send(in[1], "abc", 3, 0);
    assert_int_equal(weft_io_copy(in[0], out[1], 3, WEFT_FOREVER), 3); // its pipe is kept
    pid_t child = runner_fork();
    if (child == 0) {
        struct stat before, after;
        bool well = fstat(io_here->pipe[0], &before) == 0 && send(in[1], "def", 3, 0) == 3 &&
                    weft_io_copy(in[0], out[1], 3, WEFT_FOREVER) == 3 &&
                    fstat(io_here->pipe[0], &after) == 0 && before.st_ino != after.st_ino;
        _exit(well ? 0 : 1);
    }
    assert_int_equal(end_of(child), 0);
    assert_int_equal(weft_io_read(out[0], text, 8, WEFT_FOREVER), 6);
    close_pairs();
}

RUN_CASES()
