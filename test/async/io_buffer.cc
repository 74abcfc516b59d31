// Writing by way of a buffer, lines with a limit: no byte lost or twice, whatever ends a call.
#include "paired.h"

static char memory[64];
static weft_io_buffer buffer;

static void begin_buffer(void)
{
    buffer = {memory, sizeof memory, 0, 0};
}

static ssize_t keep(const char *bytes, size_t n, weft_deadline d = WEFT_FOREVER)
{
    return weft_io_write_buffered(p[1], &buffer, bytes, n, d);
}

static int flush(weft_deadline d = WEFT_FOREVER)
{
    return weft_io_flush(p[1], &buffer, d);
}

// Byte i of what is sent.
static char nth(size_t i)
{
    return (char)(i * 7 + i / 251);
}

// `all` is where the reader is.  Returns how many were there.
static ssize_t check_next(size_t *all)
{
    static char some[1 << 14];
    ssize_t n = get(some, sizeof some, weft_in_ms(1));
    for (ssize_t i = 0; i < n; i++)
        if (some[i] != nth(*all + (size_t)i))
            fail_msg("byte %zu", *all + (size_t)i);
    *all += n > 0 ? (size_t)n : 0;
    return n;
}

static ssize_t flushing(transfer *t)
{
    return weft_io_flush(t->fd, &buffer, WEFT_FOREVER);
}

static ssize_t keeping(transfer *t)
{
    return weft_io_write_buffered(t->fd, &buffer, t->data, t->n, WEFT_FOREVER);
}

// ---- Writing ----

// Each message of such a socket is one system call.
INSIDE_CASE(test_buffered_is_one_call)
{
    char much[64] = "";
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p), 0);
    begin_buffer();
    for (int i = 0; i < 10; i++)
        assert_int_equal(keep("ab", 2), 2);
    assert_errno(get(text, sizeof text, WEFT_NOW), ETIMEDOUT);
    errno = 7;
    assert_int_equal(flush(), 0);
    assert_int_equal(errno, 7);
    gets("abababababababababab");
    assert_int_equal(flush(), 0); // nothing: no message
    assert_int_equal(keep("xyz", 3), 3);
    assert_int_equal(keep(much, 62), 62); // one too many: with what is there
    assert_int_equal(get(text, sizeof text), 64);
    assert_memory_equal(text, "xyz", 4);
    assert_int_equal(buffer.begin, buffer.end);
    assert_errno(get(text, sizeof text, WEFT_NOW), ETIMEDOUT);
    close_pair(p);
}

// Deadlines end the calls anywhere; what they say is what is done.
EACH_PAIR_CASE(test_buffered_loses_nothing)
{
    static char part[3000];
    size_t put = 0, got = 0, n = 3 << 20, left;
    begin_buffer();
    for (size_t turn = 0; got < n; turn++) {
        left = turn * 37 % (turn % 5 == 0 ? sizeof part : 60);
        left = left < n - put ? left : n - put;
        for (size_t i = 0; i < left; i++)
            part[i] = nth(put + i);
        ssize_t done = keep(part, left, turn % 3 ? WEFT_NOW : weft_in_us(50));
        put += done > 0 ? (size_t)done : 0;
        if (put == n || turn % 11 == 0)
            flush(turn % 2 ? WEFT_NOW : weft_in_us(50));
        if (done != (ssize_t)left || put == n)
            check_next(&got);
    }
    assert_int_equal(buffer.begin, buffer.end);
    assert_int_equal(check_next(&got), -1);
}

// Fills the connection up to the last byte.  Returns how many are in it.
static size_t fill_connection(void)
{
    size_t all = 0;
    for (char byte = nth(0); send(p[1], &byte, 1, MSG_DONTWAIT) == 1; byte = nth(all))
        all++;
    return all;
}

// Cancelled in its wait, and another goes on where it was.
PAIR_CASE(test_buffered_cancelled, UNIX_PAIR)
{
    char bytes[40];
    transfer t;
    size_t got = 0, all = fill_connection();
    begin_buffer();
    for (char &b : bytes)
        b = nth(all++);
    assert_int_equal(keep(bytes, sizeof bytes), sizeof bytes);
    for (int i = 0; i < 2; i++) {
        begin(&t, i == 0 ? flushing : keeping, p[1], bytes, sizeof bytes);
        weft_tasklet_cancel(t.tasklet);
        is_cancelled(&t);
    }
    begin(&t, flushing, p[1], nullptr, 0);
    while (got < all)
        check_next(&got);
    assert_int_equal(result_of(&t), 0);
    assert_int_equal(check_next(&got), -1);
}

// Where there is no room nothing needs none.
PAIR_CASE(test_flush_of_nothing, UNIX_PAIR)
{
    begin_buffer();
    fill_connection();
    assert_int_equal(keep("x", 1), 1);
    assert_errno(flush(weft_in_ms(1)), ETIMEDOUT);
    begin_buffer();
    assert_int_equal(flush(weft_in_s(1)), 0);
}

// Who puts more in meanwhile comes after the one that waits, whose bytes stay together.
PAIR_CASE(test_buffered_by_two, UNIX_PAIR)
{
    static char big[1 << 20], back[sizeof big + 8];
    transfer t;
    begin_buffer();
    memset(big, 'b', sizeof big);
    keep("<", 1);
    begin(&t, keeping, p[1], big, sizeof big);
    assert_int_equal(t.result, -2);
    assert_int_equal(keep("after", 5), 5);
    assert_errno(flush(), EBUSY);
    assert_int_equal(weft_io_read_all(p[0], back, sizeof big + 1, weft_in_s(20)), sizeof big + 1);
    assert_int_equal(result_of(&t), sizeof big);
    assert_int_equal(back[0], '<');
    assert_memory_equal(back + 1, big, sizeof big);
    assert_int_equal(flush(), 0);
    gets("after");
}

PAIR_CASE(test_buffered_errors, UNIX_PAIR)
{
    transfer t;
    begin_buffer();
    assert_int_equal(keep("kept", 4), 4);
    fill_connection();
    begin(&t, flushing, p[1], nullptr, 0);
    close_end(1); // another may have its number now
    is_cancelled(&t);
    assert_int_equal(buffer.end - buffer.begin, 4);
    assert_int_equal(keep("more", 4), 4); // it is not looked at
    assert_errno(flush(), EBADF);
    close_end(0);
    make_pair(UNIX_PAIR, p);
    close_end(0);
    assert_errno(flush(), EPIPE);
    assert_errno(keep(text, sizeof text), EPIPE);
    assert_memory_equal(buffer.data + buffer.begin, "keptmore", 8);
    buffer.begin = 99;
    assert_errno(flush(), EINVAL);
    assert_errno(keep("", 0), EINVAL);
    assert_errno(weft_io_flush(p[1], nullptr, WEFT_NOW), EINVAL);
}

// ---- Lines with a limit ----

static ssize_t skip_line(weft_deadline d = WEFT_FOREVER)
{
    return weft_io_skip_until(p[0], &buffer, "\r\n", 2, d);
}

static void next_line_is(const char *line)
{
    char *at;
    ssize_t n = weft_io_read_until(p[0], &buffer, "\r\n", 2, &at, weft_in_s(20));
    assert_int_equal(n, strlen(line));
    assert_memory_equal(at, line, n);
}

PAIR_CASE(test_skip_until, UNIX_PAIR)
{
    char *at, line[100];
    begin_buffer();
    for (size_t n = 0; n < 98; n++) { // the delimiter anywhere, also in two parts of the buffer
        memset(line, '.', n);
        line[n] = '\0';
        put(line);
        put("\r\nnext\r\n");
        if (n + 2 > sizeof memory)
            assert_errno(weft_io_read_until(p[0], &buffer, "\r\n", 2, &at, WEFT_NOW), EMSGSIZE);
        assert_int_equal(skip_line(), n + 2);
        next_line_is("next\r\n");
    }
    memset(line, '.', 99);
    line[99] = '\0';
    put(line);
    assert_errno(skip_line(weft_in_ms(1)), ETIMEDOUT);
    put("\r\nnext\r\nend");
    assert_true(skip_line() >= 2);
    next_line_is("next\r\n");
    close_end(1);
    errno = 7;
    assert_int_equal(skip_line(), 3);
    assert_int_equal(skip_line(), 0);
    assert_int_equal(errno, 7);
    assert_errno(weft_io_skip_until(p[0], &buffer, line, 65, WEFT_NOW), EINVAL);
    assert_errno(weft_io_skip_until(p[0], &buffer, line, 0, WEFT_NOW), EINVAL);
}

RUN_CASES()
