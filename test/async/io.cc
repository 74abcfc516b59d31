// Streams and messages: each call, its waits, its errors, and what ends them.
#include <weft/executor.h>
#include <weft/io.h>
#include <weft/offload.h>
#include <weft/subprocess.h>

#include "../refuses.h"
#include "inside.h"

#include <async/descriptor.h>

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

using namespace weft;

struct transfer {
    int fd;
    char *data;
    size_t n;
    ssize_t result;
    int error;
};

static void *reader(void *arg)
{
    transfer *t = (transfer *)arg;
    t->result = weft_io_read(t->fd, t->data, t->n, WEFT_FOREVER);
    t->error = errno;
    return nullptr;
}

static void *reader_of_all(void *arg)
{
    transfer *t = (transfer *)arg;
    t->result = weft_io_read_all(t->fd, t->data, t->n, WEFT_FOREVER);
    t->error = errno;
    return nullptr;
}

static void *writer(void *arg)
{
    transfer *t = (transfer *)arg;
    t->result = weft_io_write(t->fd, t->data, t->n, WEFT_FOREVER);
    t->error = errno;
    return nullptr;
}

CASE(test_run_returns_what_main_does)
{
    int n = 42;
    assert_int_equal(weft_io_run([](void *arg) -> int { return *(int *)arg; }, &n), 42);
    assert_errno(weft_io_run(nullptr, nullptr), EINVAL);
}

static int tasklets_ended;

CASE(test_run_waits_for_tasklets)
{
    tasklets_ended = 0;
    inside([] {
        for (int i = 0; i < 10; i++)
            spawn(
                [](void *) -> void * {
                    weft_tasklet_sleep(weft_in_ms(5));
                    tasklets_ended++;
                    return nullptr;
                },
                nullptr);
    });
    assert_int_equal(tasklets_ended, 10);
}

static int no_poll(weft_poller *, weft_deadline)
{
    return 0;
}

CASE(test_run_refuses)
{
    weft_poller other = {no_poll, 0};
    assert_errno(weft_io_read(0, nullptr, 0, WEFT_FOREVER), EPERM);
    assert_errno(weft_io_wait(0, WEFT_READ, WEFT_FOREVER), EPERM);
    assert_errno(weft_io_close(0), EPERM);
    assert_errno(weft_io_forget(0), EPERM);
    assert_errno(weft_io_shutdown(0, SHUT_RDWR), EPERM);
    assert_errno(weft_io_stop(0), EPERM);
    assert_errno(weft_io_connect("tcp:127.0.0.1:1", WEFT_FOREVER), EPERM);
    assert_errno(weft_io_loop(), EPERM);
    assert_int_equal(weft_tasklet_set_poller(&other), 0);
    assert_errno(weft_io_run([](void *) { return 0; }, nullptr), EBUSY);
    assert_int_equal(weft_tasklet_set_poller(nullptr), 0);
    inside([] {
        assert_errno(weft_io_run([](void *) { return 0; }, nullptr), EBUSY);
        weft_tasklet_cancel(spawn(
            [](void *) -> void * {
                pause_forever();
                return nullptr;
            },
            nullptr));
    });
    weft_tasklet *t = spawn(
        [](void *) -> void * {
            return (void *)(intptr_t)(weft_io_run([](void *) { return 0; }, nullptr) == -1 ? errno
                                                                                           : 0);
        },
        nullptr, true);
    void *error;
    assert_int_equal(weft_tasklet_join(t, &error, WEFT_FOREVER), 0);
    assert_int_equal((intptr_t)error, EPERM);
}

CASE(test_read_waits_for_data)
{
    inside([] {
        for (int kind = 0; kind < PAIRS; kind++) {
            int p[2];
            char text[8];
            make_pair(kind, p);
            transfer t = {p[0], text, sizeof text, -2, 0};
            weft_tasklet *r = spawn(reader, &t, true);
            weft_tasklet_yield();
            assert_int_equal(t.result, -2);
            errno = 77;
            assert_int_equal(weft_io_write(p[1], "hello", 5, WEFT_FOREVER), 5);
            assert_int_equal(errno, 77);
            join(r);
            assert_int_equal(t.result, 5);
            assert_memory_equal(text, "hello", 5);
            close_pair(p);
        }
    });
}

CASE(test_read_end)
{
    inside([] {
        for (int kind = 0; kind < PAIRS; kind++) {
            int p[2];
            char text[8];
            make_pair(kind, p);
            // Data before the hang-up is not lost to it, and the end is told each time.
            assert_int_equal(weft_io_write(p[1], "abc", 3, WEFT_FOREVER), 3);
            assert_int_equal(weft_io_close(p[1]), 0);
            assert_int_equal(weft_io_read(p[0], text, 2, WEFT_FOREVER), 2);
            assert_int_equal(weft_io_read(p[0], text, 2, WEFT_FOREVER), 1);
            assert_int_equal(weft_io_read(p[0], text, 2, WEFT_FOREVER), 0);
            assert_int_equal(weft_io_read(p[0], text, 2, WEFT_FOREVER), 0);
            assert_int_equal(weft_io_close(p[0]), 0);
        }
    });
}

// The end comes while the reader waits after a short read, and with data before it.
CASE(test_read_end_after_a_short_read)
{
    inside([] {
        int p[2];
        char text[64];
        make_pair(TCP_PAIR, p);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(weft_io_write(p[1], "x", 1, WEFT_FOREVER), 1);
            transfer t = {p[0], text, sizeof text, -2, 0};
            weft_tasklet *r = spawn(reader, &t, true);
            join(r);
            assert_int_equal(t.result, 1);
        }
        transfer t = {p[0], text, sizeof text, -2, 0};
        weft_tasklet *r = spawn(reader, &t, true);
        weft_tasklet_yield();
        assert_int_equal(weft_io_shutdown(p[1], SHUT_WR), 0);
        join(r);
        assert_int_equal(t.result, 0);
        // Half-closed: the other way still works, until it is closed as well.
        assert_int_equal(weft_io_write(p[0], "back", 4, WEFT_FOREVER), 4);
        assert_int_equal(weft_io_shutdown(p[0], SHUT_WR), 0);
        assert_int_equal(weft_io_read(p[1], text, 64, WEFT_FOREVER), 4);
        assert_int_equal(weft_io_read(p[1], text, 64, WEFT_FOREVER), 0);
        assert_int_equal(weft_io_read(p[0], text, 64, WEFT_FOREVER), 0);
        assert_errno(weft_io_write(p[0], "x", 1, WEFT_FOREVER), EPIPE);
        assert_errno(weft_io_write(p[1], "x", 1, WEFT_FOREVER), EPIPE);
        close_pair(p);
    });
}

// Urgent data ends a read early: a short read that has not emptied the socket.
CASE(test_read_beyond_urgent_data)
{
    inside([] {
        int p[2];
        char text[64];
        make_pair(TCP_PAIR, p);
        transfer t = {p[0], text, sizeof text, -2, 0};
        weft_tasklet *r = spawn(reader, &t, true);
        weft_tasklet_yield();
        assert_int_equal(weft_io_send(p[1], "ab", 2, 0, WEFT_FOREVER), 2);
        assert_int_equal(weft_io_send(p[1], "!", 1, MSG_OOB, WEFT_FOREVER), 1);
        assert_int_equal(weft_io_send(p[1], "cd", 2, 0, WEFT_FOREVER), 2);
        join(r);
        size_t all = (size_t)t.result;
        while (all < 4) {
            ssize_t n = weft_io_read(p[0], text + all, sizeof text - all, weft_in_s(20));
            assert_true(n > 0);
            all += (size_t)n;
        }
        assert_memory_equal(text, "abcd", 4);
        close_pair(p);
    });
}

CASE(test_read_all)
{
    inside([] {
        int p[2];
        char text[8] = "";
        make_pair(PIPE_PAIR, p);
        transfer t = {p[0], text, 6, -2, 0};
        weft_tasklet *r = spawn(reader_of_all, &t, true);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(weft_io_write(p[1], "ab", 2, WEFT_FOREVER), 2);
            weft_tasklet_yield();
        }
        join(r);
        assert_int_equal(t.result, 6);
        assert_string_equal(text, "ababab");
        // A deadline after some: those, and errno.
        assert_int_equal(weft_io_write(p[1], "ab", 2, WEFT_FOREVER), 2);
        errno = 0;
        assert_int_equal(weft_io_read_all(p[0], text, 6, weft_in_ms(5)), 2);
        assert_int_equal(errno, ETIMEDOUT);
        assert_errno(weft_io_read_all(p[0], text, 6, weft_in_ms(5)), ETIMEDOUT);
        weft_io_close(p[1]);
        assert_int_equal(weft_io_read_all(p[0], text, 6, WEFT_FOREVER), 0);
        assert_int_equal(weft_io_read_all(p[0], text, 0, WEFT_FOREVER), 0);
        weft_io_close(p[0]);
    });
}

CASE(test_write_all_to_a_slow_reader)
{
    inside([] {
        const size_t n = 3 << 20;
        for (int kind = 0; kind < PAIRS; kind++) {
            int p[2];
            char *in = (char *)malloc(n), *out = (char *)malloc(n);
            for (size_t i = 0; i < n; i++)
                in[i] = (char)(i * 7 + i / 251);
            make_pair(kind, p);
            transfer t = {p[1], in, n, -2, 0};
            weft_tasklet *w = spawn(writer, &t, true);
            for (size_t all = 0; all < n;) {
                ssize_t got =
                    weft_io_read(p[0], out + all, 50000 < n - all ? 50000 : n - all, WEFT_FOREVER);
                assert_true(got > 0);
                all += (size_t)got;
                weft_tasklet_yield();
            }
            join(w);
            assert_int_equal(t.result, n);
            assert_memory_equal(in, out, n);
            close_pair(p);
            free(in);
            free(out);
        }
    });
}

CASE(test_write_says_how_much)
{
    inside([] {
        static char much[4 << 20];
        for (int kind = 0; kind < PAIRS; kind++) {
            int p[2];
            make_pair(kind, p);
            errno = 0;
            ssize_t n = weft_io_write(p[1], much, sizeof much, weft_in_ms(10));
            assert_true(n > 0 && n < (ssize_t)sizeof much);
            assert_int_equal(errno, ETIMEDOUT);
            assert_errno(weft_io_write(p[1], much, 1 << 16, weft_in_ms(5)), ETIMEDOUT);
            assert_errno(weft_io_write(p[1], much, 1 << 16, WEFT_NOW), ETIMEDOUT);
            close_pair(p);
        }
    });
}

CASE(test_write_without_a_reader)
{
    inside([] {
        for (int kind = 0; kind < PAIRS; kind++) {
            int p[2];
            struct iovec piece = {(void *)"x", 1};
            make_pair(kind, p);
            weft_io_close(p[0]);
            while (weft_io_write(p[1], "x", 1, weft_in_s(20)) == 1)
                weft_tasklet_yield(); // TCP has to be told
            assert_true(errno == EPIPE || errno == ECONNRESET);
            assert_errno(weft_io_writev(p[1], &piece, 1, weft_in_s(1)), EPIPE);
            weft_io_close(p[1]);
        }
    });
}

CASE(test_vectors)
{
    inside([] {
        for (int kind = 0; kind < PAIRS; kind++) {
            int p[2];
            static char big[300000], back[300000];
            struct iovec pieces[40], into[2] = {{back, 10}, {back + 10, sizeof back - 10}};
            make_pair(kind, p);
            for (size_t i = 0; i < sizeof big; i++)
                big[i] = (char)(i % 253);
            for (size_t i = 0; i < 40; i++)
                pieces[i] = {big + i * 7500, 7500};
            pieces[39].iov_len = 0;
            transfer t = {p[0], back, 39 * 7500, -2, 0};
            weft_tasklet *r = spawn(reader_of_all, &t, true);
            assert_int_equal(weft_io_writev(p[1], pieces, 40, WEFT_FOREVER), 39 * 7500);
            join(r);
            assert_memory_equal(big, back, 39 * 7500);
            memset(back, 0, sizeof back);
            assert_int_equal(weft_io_write(p[1], big, 30, WEFT_FOREVER), 30);
            assert_int_equal(weft_io_readv(p[0], into, 2, WEFT_FOREVER), 30);
            assert_memory_equal(big, back, 30);
            assert_int_equal(weft_io_writev(p[1], pieces, 0, WEFT_FOREVER), 0);
            assert_errno(weft_io_writev(p[1], pieces, -1, WEFT_FOREVER), EINVAL);
            assert_errno(weft_io_readv(p[0], into, -1, WEFT_FOREVER), EINVAL);
            close_pair(p);
        }
    });
}

CASE(test_sendfile)
{
    inside([] {
        for (int kind = 0; kind < PAIRS; kind++) {
            int p[2];
            const size_t n = 1 << 20;
            char *in = (char *)malloc(n), *out = (char *)malloc(n);
            FILE *f = tmpfile();
            for (size_t i = 0; i < n; i++)
                in[i] = (char)(i * 13 + i / 1000);
            assert_int_equal(fwrite(in, 1, n, f), n);
            fflush(f);
            make_pair(kind, p);
            transfer t = {p[0], out, n - 100, -2, 0};
            weft_tasklet *r = spawn(reader_of_all, &t, true);
            off_t from = 100;
            // More than there is: up to the file's end.
            assert_int_equal(weft_io_sendfile(p[1], fileno(f), &from, n, WEFT_FOREVER), n - 100);
            assert_int_equal(from, n);
            join(r);
            assert_memory_equal(in + 100, out, n - 100);
            ssize_t some;
            do {
                from = 0;
                errno = 0;
                some = weft_io_sendfile(p[1], fileno(f), &from, n, weft_in_ms(5));
                assert_true(some < 0 || some == from);
            } while (some == (ssize_t)n);
            assert_int_equal(errno, ETIMEDOUT);
            close_pair(p);
            fclose(f);
            free(in);
            free(out);
        }
    });
}

CASE(test_read_until)
{
    inside([] {
        int p[2];
        char memory[16], *text, rest[8];
        weft_io_buffer b = {memory, sizeof memory, 0, 0};
        make_pair(UNIX_PAIR, p);
        weft_io_write(p[1], "one\r\ntwo\r", 9, WEFT_FOREVER);
        assert_int_equal(weft_io_read_until(p[0], &b, "\r\n", 2, &text, WEFT_FOREVER), 5);
        assert_memory_equal(text, "one\r\n", 5);
        assert_errno(weft_io_read_until(p[0], &b, "\r\n", 2, &text, weft_in_ms(5)), ETIMEDOUT);
        weft_io_write(p[1], "\n", 1, WEFT_FOREVER); // the delimiter in two pieces
        assert_int_equal(weft_io_read_until(p[0], &b, "\r\n", 2, &text, WEFT_FOREVER), 5);
        assert_memory_equal(text, "two\r\n", 5);
        weft_io_write(p[1], "0123456789abcdef\r\n", 18, WEFT_FOREVER);
        assert_errno(weft_io_read_until(p[0], &b, "\r\n", 2, &text, WEFT_FOREVER), EMSGSIZE);
        assert_int_equal(weft_io_read_buffered(p[0], &b, rest, 8, WEFT_FOREVER), 8);
        assert_memory_equal(rest, "01234567", 8);
        assert_int_equal(weft_io_read_until(p[0], &b, "\r\n", 2, &text, WEFT_FOREVER), 10);
        assert_memory_equal(text, "89abcdef\r\n", 10);
        weft_io_write(p[1], "end", 3, WEFT_FOREVER);
        assert_int_equal(weft_io_read_buffered(p[0], &b, rest, 1, WEFT_FOREVER), 1);
        weft_io_close(p[1]);
        assert_int_equal(weft_io_read_until(p[0], &b, "\r\n", 2, &text, WEFT_FOREVER), 2);
        assert_memory_equal(text, "nd", 2);
        assert_int_equal(weft_io_read_until(p[0], &b, "\r\n", 2, &text, WEFT_FOREVER), 0);
        assert_errno(weft_io_read_until(p[0], &b, "", 0, &text, WEFT_FOREVER), EINVAL);
        assert_errno(weft_io_read_until(p[0], nullptr, "x", 1, &text, WEFT_FOREVER), EINVAL);
        assert_errno(weft_io_read_until(p[0], &b, nullptr, 1, &text, WEFT_FOREVER), EINVAL);
        b.end = 99;
        assert_errno(weft_io_read_until(p[0], &b, "x", 1, &text, WEFT_FOREVER), EINVAL);
        assert_errno(weft_io_read_buffered(p[0], &b, rest, 1, WEFT_FOREVER), EINVAL);
        weft_io_close(p[0]);
    });
}

CASE(test_deadlines)
{
    inside([] {
        for (int kind = 0; kind < PAIRS; kind++) {
            int p[2];
            char text[8];
            make_pair(kind, p);
            weft_deadline d = weft_in_ms(10);
            assert_errno(weft_io_read(p[0], text, 8, d), ETIMEDOUT);
            assert_true(weft_now() >= d);
            assert_errno(weft_io_read(p[0], text, 8, WEFT_NOW), ETIMEDOUT);
            assert_errno(weft_io_wait(p[0], WEFT_READ, weft_in_ms(5)), ETIMEDOUT);
            assert_errno(weft_io_wait(p[0], WEFT_READ, WEFT_NOW), ETIMEDOUT);
            weft_io_write(p[1], "a", 1, WEFT_NOW);
            assert_int_equal(weft_io_read(p[0], text, 8, WEFT_FOREVER), 1);
            close_pair(p);
        }
    });
}

CASE(test_deadline_now_sees_what_is_there)
{
    inside([] {
        int p[2];
        char text[8];
        make_pair(TCP_PAIR, p);
        assert_errno(weft_io_read(p[0], text, 8, weft_in_ms(1)), ETIMEDOUT); // registered
        for (int i = 0; i < 100; i++) {
            weft_io_write(p[1], "x", 1, WEFT_NOW);
            ssize_t n;
            while ((n = weft_io_read(p[0], text, 8, WEFT_NOW)) < 0 && errno == ETIMEDOUT)
                ;
            assert_int_equal(n, 1);
        }
        close_pair(p);
    });
}

CASE(test_deadline_without_pwait2)
{
    io_precise = 0;
    test_deadlines(nullptr);
    io_precise = 1;
}

static int wait_a_little(void *)
{
    weft_deadline d = weft_in_ms(5);
    int p[2] = {-1, -1};
    char byte;
    if (pipe(p) != 0 || weft_io_read(p[0], &byte, 1, d) != -1 || errno != ETIMEDOUT)
        return 1;
    return weft_now() >= d && weft_io_close(p[0]) == 0 && weft_io_close(p[1]) == 0 ? 0 : 1;
}

// A filter that does not know the call, such as an older container's, may answer EPERM.
CASE(test_deadline_where_pwait2_is_forbidden)
{
    if (RUNNER_TSAN)
        skip(); // it takes the coroutines of a forked child for the parent's
    enum { NOT_PERMITTED = 100 };
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        _exit(refuses(SYS_epoll_pwait2, EPERM) ? weft_io_run(wait_a_little, nullptr)
                                               : NOT_PERMITTED);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_PERMITTED) {
        print_message("no filters of system calls here: not tested\n");
        skip();
    }
    assert_int_equal(status, 0);
}

CASE(test_cancel_ends_a_read)
{
    inside([] {
        int p[2];
        char text[8];
        make_pair(UNIX_PAIR, p);
        transfer t = {p[0], text, 8, -2, 0};
        weft_tasklet *r = spawn(reader, &t, true);
        weft_tasklet_yield();
        weft_tasklet_cancel(r);
        join(r);
        assert_int_equal(t.result, -1);
        assert_int_equal(t.error, ECANCELED);
        // Nothing was lost, and the descriptor is free again.
        weft_io_write(p[1], "abc", 3, WEFT_NOW);
        assert_int_equal(weft_io_read(p[0], text, 8, WEFT_FOREVER), 3);
        close_pair(p);
    });
}

static ssize_t when_cancelled[4];

CASE(test_cancelled_one_fails_at_once_but_now)
{
    inside([] {
        static int p[2];
        make_pair(UNIX_PAIR, p);
        weft_io_write(p[1], "abcd", 4, WEFT_NOW);
        weft_tasklet *t = spawn(
            [](void *) -> void * {
                char text[2];
                weft_tasklet_cancel(weft_tasklet_self());
                when_cancelled[0] = weft_io_read(p[0], text, 2, WEFT_FOREVER);
                when_cancelled[1] = errno;
                when_cancelled[2] = weft_io_read(p[0], text, 2, WEFT_NOW);
                when_cancelled[3] = weft_io_wait(p[0], WEFT_READ, WEFT_FOREVER);
                return nullptr;
            },
            nullptr, true);
        join(t);
        assert_int_equal(when_cancelled[0], -1);
        assert_int_equal(when_cancelled[1], ECANCELED);
        assert_int_equal(when_cancelled[2], 2);
        assert_int_equal(when_cancelled[3], -1);
        close_pair(p);
    });
}

// A wake meant for a suspension is kept while the tasklet waits for a descriptor.
CASE(test_wake_does_not_end_a_read)
{
    inside([] {
        static int p[2];
        static ssize_t got[2];
        make_pair(UNIX_PAIR, p);
        weft_tasklet *t = spawn(
            [](void *) -> void * {
                char text[8];
                got[0] = weft_io_read(p[0], text, 8, WEFT_FOREVER);
                got[1] = weft_tasklet_suspend(WEFT_NOW);
                return nullptr;
            },
            nullptr, true);
        weft_tasklet_yield();
        weft_tasklet_wake(t);
        weft_tasklet_yield();
        weft_io_write(p[1], "abc", 3, WEFT_NOW);
        join(t);
        assert_int_equal(got[0], 3);
        assert_int_equal(got[1], 0);
        close_pair(p);
    });
}

CASE(test_one_waiter_a_direction)
{
    inside([] {
        int p[2];
        char text[8], more[8];
        make_pair(UNIX_PAIR, p);
        transfer t = {p[0], text, 8, -2, 0};
        weft_tasklet *r = spawn(reader, &t, true);
        weft_tasklet_yield();
        assert_errno(weft_io_read(p[0], more, 8, WEFT_FOREVER), EBUSY);
        assert_errno(weft_io_wait(p[0], WEFT_READ, WEFT_FOREVER), EBUSY);
        assert_int_equal(weft_io_write(p[0], "other way", 9, WEFT_FOREVER), 9);
        assert_int_equal(weft_io_wait(p[0], WEFT_WRITE, WEFT_FOREVER), WEFT_WRITE);
        weft_io_write(p[1], "x", 1, WEFT_NOW);
        join(r);
        assert_int_equal(t.result, 1);
        close_pair(p);
    });
}

CASE(test_close_wakes)
{
    inside([] {
        for (int kind = 0; kind < PAIRS; kind++) {
            static char much[4 << 20];
            int p[2], q[2];
            char text[8];
            make_pair(kind, p);
            transfer t = {p[0], text, 8, -2, 0};
            weft_tasklet *r = spawn(reader, &t, true);
            weft_tasklet_yield();
            assert_int_equal(weft_io_close(p[0]), 0);
            // The number is another's before the waiter has gone on.
            make_pair(kind, q);
            weft_io_write(q[1], "new", 3, WEFT_NOW);
            join(r);
            assert_int_equal(t.result, -1);
            assert_int_equal(t.error, ECANCELED);
            assert_int_equal(weft_io_read(q[0], text, 8, WEFT_FOREVER), 3);
            close_pair(q);
            weft_io_close(p[1]);
            make_pair(kind, p);
            t = {p[1], much, sizeof much, -2, 0};
            weft_tasklet *w = spawn(writer, &t, true);
            // It waits: a second one may not.
            while (weft_io_wait(p[1], WEFT_WRITE, WEFT_NOW) >= 0 || errno != EBUSY)
                weft_tasklet_yield();
            weft_io_close(p[1]);
            join(w);
            assert_true(t.result > 0 && t.result < (ssize_t)sizeof much);
            assert_int_equal(t.error, ECANCELED);
            weft_io_close(p[0]);
        }
        assert_errno(weft_io_close(-1), EBADF);
        assert_errno(weft_io_close(1000), EBADF);
    });
}

// The event has been taken, but the reader has not gone on when the descriptor is closed.
CASE(test_close_between_event_and_reader)
{
    inside([] {
        static int p[2], q[2];
        static transfer a, b;
        static char text[2][8];
        make_pair(UNIX_PAIR, p);
        make_pair(UNIX_PAIR, q);
        a = {p[0], text[0], 8, -2, 0};
        b = {q[0], text[1], 8, -2, 0};
        void *(*read_and_close)(void *) = [](void *arg) -> void * {
            transfer *t = (transfer *)arg;
            t->result = weft_io_read(t->fd, t->data, t->n, WEFT_FOREVER);
            t->error = errno;
            if (t->result > 0)
                weft_io_close(t == &a ? q[0] : p[0]);
            return nullptr;
        };
        weft_tasklet *one = spawn(read_and_close, &a, true), *two = spawn(read_and_close, &b, true);
        weft_tasklet_yield();
        send(p[1], "x", 1, 0); // both in one batch of events
        send(q[1], "x", 1, 0);
        join(one);
        join(two);
        assert_int_equal(a.result + b.result, 0);
        assert_int_equal((a.result < 0 ? a : b).error, ECANCELED);
        weft_io_close(a.result < 0 ? q[0] : p[0]);
        weft_io_close(p[1]);
        weft_io_close(q[1]);
    });
}

CASE(test_forget)
{
    inside([] {
        int p[2];
        char text[8];
        make_pair(UNIX_PAIR, p);
        transfer t = {p[0], text, 8, -2, 0};
        weft_tasklet *r = spawn(reader, &t, true);
        weft_tasklet_yield();
        assert_int_equal(weft_io_forget(p[0]), 0);
        join(r);
        assert_int_equal(t.error, ECANCELED);
        close(p[0]); // ours again
        weft_io_close(p[1]);
        make_pair(UNIX_PAIR, p);
        weft_io_write(p[1], "x", 1, WEFT_NOW);
        assert_int_equal(weft_io_read(p[0], text, 8, WEFT_FOREVER), 1);
        assert_errno(weft_io_forget(1000), EBADF);
        close_pair(p);
    });
}

CASE(test_bad_descriptors)
{
    inside([] {
        char text[4];
        assert_errno(weft_io_read(-1, text, 4, WEFT_FOREVER), EBADF);
        assert_errno(weft_io_read(1000, text, 4, WEFT_FOREVER), EBADF);
        assert_errno(weft_io_read(INT_MAX, text, 4, WEFT_FOREVER), EBADF);
        assert_errno(weft_io_write(1000, text, 4, WEFT_FOREVER), EBADF);
        assert_errno(weft_io_wait(1000, WEFT_READ, WEFT_FOREVER), EBADF);
        assert_errno(weft_io_wait(-1, WEFT_READ, WEFT_FOREVER), EBADF);
        assert_errno(weft_io_wait(0, 0, WEFT_FOREVER), EINVAL);
        assert_errno(weft_io_wait(0, 64, WEFT_FOREVER), EINVAL);
        assert_errno(weft_io_accept(1000, WEFT_FOREVER), EBADF);
        assert_errno(weft_io_shutdown(1000, SHUT_WR), EBADF);
    });
}

CASE(test_regular_file)
{
    inside([] {
        char text[8];
        FILE *f = tmpfile();
        int fd = fileno(f);
        assert_int_equal(weft_io_write(fd, "hello", 5, WEFT_FOREVER), 5);
        lseek(fd, 0, SEEK_SET);
        assert_int_equal(weft_io_read(fd, text, 8, WEFT_FOREVER), 5);
        assert_int_equal(weft_io_read(fd, text, 8, WEFT_FOREVER), 0);
        assert_int_equal(weft_io_wait(fd, WEFT_READ, WEFT_FOREVER), WEFT_READ);
        fclose(f);
    });
}

CASE(test_flags_stay)
{
    inside([] {
        int p[2];
        char text[8];
        make_pair(PIPE_PAIR, p); // without O_NONBLOCK
        assert_errno(weft_io_read(p[0], text, 8, weft_in_ms(1)), ETIMEDOUT);
        assert_int_equal(fcntl(p[0], F_GETFL) & O_NONBLOCK, 0);
        close_pair(p);
    });
}

CASE(test_fairness)
{
    // One that always finds data lets the others go on.
    inside([] {
        static bool done;
        done = false;
        int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        char text[16];
        spawn(
            [](void *) -> void * {
                done = true;
                return nullptr;
            },
            nullptr);
        for (int i = 0; i < 1000 && !done; i++)
            assert_int_equal(weft_io_read(zero, text, 16, WEFT_FOREVER), 16);
        assert_true(done);
        weft_io_close(zero);
    });
}

CASE(test_messages)
{
    inside([] {
        int p[2];
        char text[8];
        struct sockaddr_in to = {}, from = {};
        socklen_t size = sizeof to;
        p[0] = weft_io_listen("udp:127.0.0.1:0", nullptr);
        p[1] = weft_io_listen("udp:127.0.0.1:0", nullptr);
        getsockname(p[0], (struct sockaddr *)&to, &size);
        assert_int_equal(weft_io_sendto(p[1], "abc", 3, 0, (struct sockaddr *)&to, size, WEFT_NOW),
                         3);
        size = sizeof from;
        assert_int_equal(
            weft_io_recvfrom(p[0], text, 8, 0, (struct sockaddr *)&from, &size, WEFT_FOREVER), 3);
        assert_int_equal(from.sin_family, AF_INET);
        // Small messages one by one: a short read says nothing of the next.
        for (int i = 0; i < 2; i++)
            weft_io_sendto(p[1], "de", 2, 0, (struct sockaddr *)&to, sizeof to, WEFT_NOW);
        assert_int_equal(weft_io_recv(p[0], text, 8, 0, WEFT_FOREVER), 2);
        assert_int_equal(weft_io_recv(p[0], text, 8, 0, weft_in_s(20)), 2);
        assert_errno(weft_io_recv(p[0], text, 8, 0, weft_in_ms(2)), ETIMEDOUT);
        close_pair(p);
        make_pair(UNIX_PAIR, p);
        assert_int_equal(weft_io_send(p[1], "abc", 3, 0, WEFT_FOREVER), 3);
        assert_int_equal(weft_io_recv(p[0], text, 8, MSG_PEEK, WEFT_FOREVER), 3);
        assert_int_equal(weft_io_recv(p[0], text, 8, 0, WEFT_FOREVER), 3);
        close_pair(p);
    });
}

CASE(test_ancillary_data)
{
    inside([] {
        int p[2], e = eventfd(7, EFD_CLOEXEC), got;
        char text[4];
        union {
            char bytes[CMSG_SPACE(sizeof(int))];
            struct cmsghdr align;
        } control;
        make_pair(UNIX_PAIR, p);
        struct iovec piece = {(void *)"fd", 2};
        struct msghdr m = {};
        m.msg_iov = &piece;
        m.msg_iovlen = 1;
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &e, sizeof e);
        assert_int_equal(weft_io_sendmsg(p[1], &m, 0, WEFT_FOREVER), 2);
        piece = {text, sizeof text};
        memset(&control, 0, sizeof control);
        assert_int_equal(weft_io_recvmsg(p[0], &m, 0, WEFT_FOREVER), 2);
        c = CMSG_FIRSTHDR(&m);
        assert_non_null(c);
        memcpy(&got, CMSG_DATA(c), sizeof got);
        assert_int_equal(fcntl(got, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        uint64_t seven = 0;
        assert_int_equal(weft_io_read(got, &seven, 8, WEFT_FOREVER), 8);
        assert_int_equal(seven, 7);
        weft_io_close(got);
        weft_io_close(e);
        close_pair(p);
    });
}

CASE(test_wait_both)
{
    inside([] {
        int p[2];
        make_pair(UNIX_PAIR, p);
        assert_int_equal(weft_io_wait(p[0], WEFT_READ | WEFT_WRITE, WEFT_FOREVER), WEFT_WRITE);
        weft_io_write(p[1], "x", 1, WEFT_NOW);
        assert_int_equal(weft_io_wait(p[0], WEFT_READ | WEFT_WRITE, WEFT_FOREVER),
                         WEFT_READ | WEFT_WRITE);
        close_pair(p);
    });
}

// weft_io_wait keeps nothing: the owner closes the descriptor, and the next has its number.
CASE(test_wait_for_what_others_close)
{
    inside([] {
        for (int i = 0; i < 20; i++) {
            static int e;
            e = eventfd(0, EFD_CLOEXEC);
            weft_tasklet *t = spawn(
                [](void *) -> void * {
                    eventfd_write(e, 1);
                    return nullptr;
                },
                nullptr, true);
            assert_int_equal(weft_io_wait(e, WEFT_READ, weft_in_s(20)), WEFT_READ);
            join(t);
            close(e);
        }
    });
}

// What is waited for ends when the gate is opened, which a tasklet does once the test waits.
static int gate[2];

static void open_gate_later(void)
{
    spawn(
        [](void *) -> void * {
            close(gate[1]);
            return nullptr;
        },
        nullptr);
}

CASE(test_wait_for_a_subprocess)
{
    inside([] {
        const char *const argv[] = {"sh", "-c", "read line; exit 3", nullptr};
        for (int i = 0; i < 3; i++) {
            int status = 0;
            assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
            weft_subprocess_options o = {};
            o.in = {WEFT_STREAM_FD, gate[0], nullptr, nullptr};
            weft_subprocess *p = weft_subprocess_start(argv, &o);
            assert_non_null(p);
            close(gate[0]);
            open_gate_later();
            assert_int_equal(weft_io_wait(weft_subprocess_fd(p), WEFT_READ, WEFT_FOREVER),
                             WEFT_READ);
            assert_int_equal(weft_subprocess_wait(p, &status, WEFT_NOW), 0);
            assert_int_equal(WEXITSTATUS(status), 3);
            weft_subprocess_destroy(p);
        }
    });
}

CASE(test_wait_for_a_future)
{
    inside([] {
        void *result = nullptr;
        assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
        weft_executor *ex = weft_executor_create(1, nullptr);
        weft_future *f = weft_executor_submit(
            ex,
            [](void *) -> void * {
                char byte;
                return read(gate[0], &byte, 1) == 0 ? (void *)5 : nullptr;
            },
            nullptr);
        open_gate_later();
        assert_int_equal(weft_io_wait(weft_future_fd(f), WEFT_READ, WEFT_FOREVER), WEFT_READ);
        assert_int_equal(weft_future_get(f, &result, WEFT_NOW), 0);
        assert_int_equal((intptr_t)result, 5);
        weft_executor_destroy(ex, WEFT_DRAIN);
        close(gate[0]);
    });
}

CASE(test_fork)
{
    if (RUNNER_TSAN)
        skip(); // it does not know the parent's coroutines in the child
    inside([] {
        int p[2], q[2];
        char text[8];
        make_pair(UNIX_PAIR, p);
        make_pair(UNIX_PAIR, q);
        transfer t = {p[0], text, 8, -2, 0};
        weft_tasklet *r = spawn(reader, &t, true);
        weft_tasklet_yield();
        assert_errno(weft_io_read(q[0], text, 8, weft_in_ms(1)), ETIMEDOUT); // registered
        pid_t child = fork();
        if (child == 0) {
            send(q[1], "ab", 2, 0);
            bool well = weft_io_read(q[0], text, 8, weft_in_s(20)) == 2;
            send(p[1], "abc", 3, 0);
            well = well && weft_tasklet_join(r, nullptr, weft_in_s(20)) == 0 && t.result == 3;
            _exit(well ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_int_equal(t.result, -2);
        send(p[1], "x", 1, 0);
        join(r);
        assert_int_equal(t.result, 1);
        close_pair(p);
        close_pair(q);
    });
}

static void *waiter(void *arg)
{
    transfer *t = (transfer *)arg;
    t->result = weft_io_wait(t->fd, WEFT_READ, WEFT_FOREVER);
    t->error = errno;
    return nullptr;
}

// The child's twin of a tasklet that waits leaves its wait; the parent's must not notice.
CASE(test_fork_wait_cancelled)
{
    if (RUNNER_TSAN)
        skip(); // as above
    inside([] {
        int p[2], status;
        make_pair(UNIX_PAIR, p);
        transfer t = {p[0], nullptr, 0, -2, 0};
        weft_tasklet *w = spawn(waiter, &t, true);
        weft_tasklet_sleep(weft_in_ms(1)); // it waits, registered
        pid_t child = fork();
        if (child == 0) {
            weft_tasklet_cancel(w);
            bool well = weft_tasklet_join(w, nullptr, weft_in_s(20)) == 0 && t.error == ECANCELED;
            _exit(well ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        send(p[1], "x", 1, 0);
        join(w);
        assert_int_equal(t.result, WEFT_READ);
        close_pair(p);
    });
}

static weft_alarm bell;

static int ring(void *)
{
    weft_loop *l = weft_io_loop();
    assert_non_null(l);
    assert_ptr_equal(l, weft_io_loop());
    static int p[2];
    char text[8];
    make_pair(UNIX_PAIR, p);
    assert_int_equal(weft_loop_timer(
                         l, &bell, weft_in_ms(5), 0,
                         [](weft_alarm *) { weft_io_write(p[1], "ring", 4, WEFT_NOW); }, nullptr),
                     0);
    assert_int_equal(weft_io_read(p[0], text, 8, WEFT_FOREVER), 4);
    close_pair(p);
    return 7;
}

CASE(test_loop_beside)
{
    assert_int_equal(weft_io_run(ring, nullptr), 7);
}

// The last, for it leaves a tasklet behind.
CASE(test_run_deadlock)
{
    int saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDERR_FILENO); // the dump
    int result = weft_io_run(
        [](void *) {
            spawn(
                [](void *) -> void * {
                    pause_forever();
                    return nullptr;
                },
                nullptr);
            return 0;
        },
        nullptr);
    int error = errno;
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(null);
    assert_int_equal(result, -1);
    assert_int_equal(error, EDEADLK);
}

RUN_CASES()
