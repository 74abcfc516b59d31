// weft_io_serve: its bound, its two ways to stop, what it does out of descriptors.
#include <weft/io.h>

#include "../runner.h"
#include "inside.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>

static int listener, result, error, handled, at_once, most_at_once;
static weft_io_serve_options options;
static char address[64];

static void echo(int fd, void *)
{
    char text[256];
    at_once++;
    most_at_once = at_once > most_at_once ? at_once : most_at_once;
    for (ssize_t n; (n = weft_io_read(fd, text, sizeof text, WEFT_FOREVER)) > 0;)
        if (weft_io_write(fd, text, (size_t)n, WEFT_FOREVER) != n)
            break;
    at_once--;
    handled++;
}

static void close_itself(int fd, void *)
{
    weft_io_close(fd);
    handled++;
}

static void (*handler)(int, void *);

static void *serve(void *)
{
    result = weft_io_serve(listener, handler, nullptr, &options);
    error = errno;
    return nullptr;
}

static weft_tasklet *start(void (*fn)(int, void *))
{
    handler = fn;
    result = -2;
    handled = at_once = most_at_once = 0;
    listener = weft_io_listen("tcp:127.0.0.1:0", nullptr);
    weft_io_address(listener, WEFT_IO_LOCAL, address, sizeof address);
    weft_tasklet *t = spawn(serve, nullptr, true);
    weft_tasklet_yield();
    return t;
}

static int open_one(void)
{
    int fd = weft_io_connect(address, weft_in_s(20));
    assert_true(fd >= 0);
    return fd;
}

static bool answers(int fd, weft_deadline d)
{
    char byte;
    return weft_io_write(fd, "x", 1, d) == 1 && weft_io_read(fd, &byte, 1, d) == 1;
}

CASE(test_serve_many)
{
    options = {};
    inside([] {
        int fds[50];
        weft_tasklet *t = start(echo);
        for (int i = 0; i < 50; i++)
            fds[i] = open_one();
        for (int i = 0; i < 50; i++)
            assert_true(answers(fds[i], weft_in_s(20)));
        for (int i = 0; i < 50; i++)
            weft_io_close(fds[i]);
        assert_int_equal(weft_io_stop(listener), 0);
        join(t);
        assert_int_equal(result, 0);
        assert_int_equal(handled, 50);
        weft_io_close(listener);
    });
}

CASE(test_serve_bound)
{
    options = {};
    options.max = 2;
    options.name = "bounded";
    options.stack_size = 128 << 10;
    inside([] {
        int fds[5];
        weft_tasklet *t = start(echo);
        for (int i = 0; i < 5; i++)
            fds[i] = open_one();
        assert_true(answers(fds[0], weft_in_s(20)) && answers(fds[1], weft_in_s(20)));
        assert_false(answers(fds[2], weft_in_ms(10)));
        for (int i = 0; i < 2; i++)
            weft_io_close(fds[i]);
        char byte; // what was sent before is answered now
        assert_int_equal(weft_io_read(fds[2], &byte, 1, weft_in_s(20)), 1);
        weft_io_close(fds[2]);
        assert_true(answers(fds[3], weft_in_s(20)));
        weft_io_close(fds[3]);
        weft_io_close(fds[4]);
        weft_io_stop(listener);
        join(t);
        assert_int_equal(most_at_once, 2);
        assert_int_equal(handled, 5);
        weft_io_close(listener);
    });
}

// Those in the backlog are served; the stop waits for all.
CASE(test_serve_stop_drains)
{
    options = {};
    options.max = 1;
    inside([] {
        int a, b;
        weft_tasklet *t = start(echo);
        a = open_one();
        assert_true(answers(a, weft_in_s(20)));
        b = open_one();
        assert_int_equal(weft_io_stop(listener), 0);
        assert_int_equal(weft_io_stop(listener), 0);
        assert_true(answers(a, weft_in_s(20)));
        assert_int_equal(result, -2);
        weft_io_close(a);
        assert_true(answers(b, weft_in_s(20)));
        weft_io_close(b);
        join(t);
        assert_int_equal(result, 0);
        assert_int_equal(handled, 2);
        weft_io_close(listener);
    });
}

// Told to stop when a connection has woken it, but another process has taken that one.
static void take_it_and_stop(weft_task *)
{
    int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    weft_io_stop(listener);
}

CASE(test_serve_stop_while_it_wakes)
{
    options = {};
    inside([] {
        struct sockaddr_storage where;
        socklen_t size = sizeof where;
        weft_task theft = {};
        theft.fn = take_it_and_stop;
        weft_tasklet *t = start(echo);
        weft_loop *l = weft_io_loop();
        int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        getsockname(listener, (struct sockaddr *)&where, &size);
        // Both in one batch of events, the connection first.
        assert_int_equal(connect(client, (struct sockaddr *)&where, size), 0);
        assert_int_equal(weft_loop_post(l, &theft), 0);
        join(t);
        assert_int_equal(result, 0);
        assert_int_equal(handled, 0);
        close(client);
        weft_io_close(listener);
    });
}

static void *stop_it(void *)
{
    weft_io_stop(listener);
    return nullptr;
}

// Told to stop when it lets the others have a turn, before its next accept.
CASE(test_serve_stop_while_others_have_a_turn)
{
    options = {};
    inside([] {
        // Each 256th call of all tasklets is such a turn, if none has waited since.
        for (int calls = 250; calls < 260; calls++) {
            char text[1];
            int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
            listener = weft_io_listen("tcp:127.0.0.1:0", nullptr);
            handler = echo;
            result = -2;
            // Waits, and then it is known that no connection is there.
            assert_errno(weft_io_accept(listener, weft_in_us(100)), ETIMEDOUT);
            weft_tasklet *t = spawn(serve, nullptr, true);
            spawn(stop_it, nullptr);
            for (int i = 0; i < calls; i++)
                assert_int_equal(weft_io_read(zero, text, 1, WEFT_NOW), 1);
            join(t);
            assert_int_equal(result, 0);
            weft_io_close(zero);
            weft_io_close(listener);
        }
    });
}

CASE(test_serve_drain_has_an_end)
{
    inside([] {
        static const int64_t drains[] = {5000000, -1};
        for (int i = 0; i < 2; i++) {
            char byte;
            options = {};
            options.drain_ns = drains[i];
            weft_tasklet *t = start(echo);
            int a = open_one();
            assert_true(answers(a, weft_in_s(20)));
            weft_io_stop(listener);
            join(t);
            assert_int_equal(result, 0);
            assert_int_equal(handled, 1);
            assert_int_equal(weft_io_read(a, &byte, 1, weft_in_s(20)), 0);
            weft_io_close(a);
            weft_io_close(listener);
        }
    });
}

CASE(test_serve_close_stops)
{
    options = {};
    inside([] {
        weft_tasklet *t = start(echo);
        int a = open_one();
        assert_true(answers(a, weft_in_s(20)));
        weft_io_close(listener);
        assert_true(answers(a, weft_in_s(20)));
        weft_io_close(a);
        join(t);
        assert_int_equal(result, 0);
        assert_errno(weft_io_connect(address, weft_in_s(20)), ECONNREFUSED);
    });
}

CASE(test_serve_cancelled)
{
    options = {};
    inside([] {
        weft_tasklet *t = start(echo);
        int a = open_one(), b = open_one();
        assert_true(answers(a, weft_in_s(20)));
        weft_tasklet_cancel(t);
        join(t);
        assert_int_equal(result, -1);
        assert_int_equal(error, ECANCELED);
        assert_int_equal(at_once, 0);
        weft_io_close(a);
        weft_io_close(b);
        weft_io_close(listener);
    });
}

// Cancelled while it drains.
CASE(test_serve_cancelled_in_its_drain)
{
    options = {};
    inside([] {
        weft_tasklet *t = start(echo);
        int a = open_one();
        assert_true(answers(a, weft_in_s(20)));
        weft_io_stop(listener);
        assert_true(answers(a, weft_in_s(20)));
        weft_tasklet_cancel(t);
        join(t);
        assert_int_equal(result, -1);
        assert_int_equal(error, ECANCELED);
        assert_int_equal(at_once, 0);
        weft_io_close(a);
        weft_io_close(listener);
    });
}

CASE(test_serve_handler_may_close)
{
    options = {};
    inside([] {
        weft_tasklet *t = start(close_itself);
        for (int i = 0; i < 20; i++) {
            char byte;
            int fd = open_one();
            assert_int_equal(weft_io_read(fd, &byte, 1, weft_in_s(20)), 0);
            weft_io_close(fd);
        }
        weft_io_stop(listener);
        join(t);
        assert_int_equal(handled, 20);
        weft_io_close(listener);
    });
}

CASE(test_serve_refuses)
{
    options = {};
    assert_errno(weft_io_serve(0, echo, nullptr, nullptr), EPERM);
    inside([] {
        int p[2];
        make_pair(UNIX_PAIR, p);
        weft_tasklet *t = start(echo);
        assert_errno(weft_io_serve(listener, echo, nullptr, nullptr), EBUSY);
        assert_errno(weft_io_serve(listener, nullptr, nullptr, nullptr), EINVAL);
        assert_errno(weft_io_serve(p[0], echo, nullptr, nullptr), EINVAL);
        assert_errno(weft_io_serve(1000, echo, nullptr, nullptr), EBADF);
        assert_errno(weft_io_stop(-1), EBADF);
        close_pair(p);
        weft_io_stop(listener);
        join(t);
        weft_io_close(listener);
    });
}

// Also while the other waits for a connection's end, and not for the next one.
CASE(test_serve_twice_when_full)
{
    options = {};
    options.max = 1;
    inside([] {
        weft_tasklet *t = start(echo);
        int a = open_one();
        assert_true(answers(a, weft_in_s(20)));
        weft_tasklet *again = spawn(
            [](void *) -> void * {
                int r = weft_io_serve(listener, echo, nullptr, nullptr);
                return (void *)(intptr_t)(r == -1 ? errno : 0);
            },
            nullptr, true);
        void *what = nullptr;
        assert_int_equal(weft_tasklet_join(again, &what, weft_in_s(20)), 0);
        assert_int_equal((intptr_t)what, EBUSY);
        assert_true(answers(a, weft_in_s(20)));
        weft_io_close(a);
        weft_io_stop(listener);
        join(t);
        assert_int_equal(result, 0);
        weft_io_close(listener);
    });
}

// The one that drains goes on with its connections, the next takes the new ones.
CASE(test_serve_again_while_one_drains)
{
    options = {};
    inside([] {
        weft_tasklet *first = start(echo);
        int a = open_one();
        assert_true(answers(a, weft_in_s(20)));
        weft_io_stop(listener);
        weft_tasklet_yield();
        weft_tasklet *next = spawn(serve, nullptr, true);
        int b = open_one();
        assert_true(answers(b, weft_in_s(20)));
        assert_true(answers(a, weft_in_s(20)));
        weft_io_stop(listener);
        weft_io_close(a);
        weft_io_close(b);
        join(first);
        join(next);
        assert_int_equal(result, 0);
        assert_int_equal(handled, 2);
        weft_io_close(listener);
    });
}

static int64_t cpu_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// No descriptor left: it does not spin, and serves soon after there is one.
CASE(test_serve_without_descriptors)
{
    options = {};
    inside([] {
        struct rlimit before, few;
        weft_tasklet *t = start(echo);
        int a = open_one();
        assert_true(answers(a, weft_in_s(20)));
        int b = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_storage where;
        socklen_t size = sizeof where;
        getsockname(listener, (struct sockaddr *)&where, &size);
        getrlimit(RLIMIT_NOFILE, &before);
        few = before;
        few.rlim_cur = (rlim_t)b; // the next would be one too many
        setrlimit(RLIMIT_NOFILE, &few);
        connect(b, (struct sockaddr *)&where, size);
        int64_t cpu = cpu_time();
        weft_tasklet_sleep(weft_in_ms(300));
        cpu = cpu_time() - cpu;
        setrlimit(RLIMIT_NOFILE, &before);
        assert_true(cpu < 300000000 / 10 * (RUNNER_SANITIZED ? 5 : 1));
        assert_true(answers(b, weft_in_s(20)));
        assert_true(answers(a, weft_in_s(20)));
        weft_io_close(a);
        weft_io_close(b);
        weft_io_stop(listener);
        join(t);
        assert_int_equal(handled, 2);
        weft_io_close(listener);
    });
}

RUN_CASES()
