// weft_io_serve: its bound, its two ways to stop, what it does out of descriptors.
#include "inside.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>

static int listener, result, error, handled, at_once, most_at_once;
static weft_io_serve_options options;
static struct sockaddr_in where;
static char address[64];
static weft_tasklet *server;

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

static void listen_for(void (*fn)(int, void *))
{
    socklen_t size = sizeof where;
    handler = fn;
    result = -2;
    handled = at_once = most_at_once = 0;
    listener = weft_io_listen("tcp:127.0.0.1:0", nullptr);
    getsockname(listener, (struct sockaddr *)&where, &size);
    weft_io_address(listener, WEFT_IO_LOCAL, address, sizeof address);
}

static weft_tasklet *begin_serving(void)
{
    return spawn(
        [] {
            result = weft_io_serve(listener, handler, nullptr, &options);
            error = errno;
        },
        true);
}

static void serve(void (*fn)(int, void *), weft_io_serve_options o = {})
{
    options = o;
    listen_for(fn);
    server = begin_serving();
    weft_tasklet_yield();
}

static weft_io_serve_options at_most(size_t max)
{
    weft_io_serve_options o = {};
    o.max = max;
    return o;
}

static void stop_it(void)
{
    weft_io_stop(listener);
}

// The server ends, with a result or -1 and an error.
static void ends(int with, int and_error = 0)
{
    join(server);
    assert_int_equal(result, with);
    if (with < 0)
        assert_int_equal(error, and_error);
    assert_int_equal(at_once, 0);
    weft_io_close(listener);
}

static void stop_serving(int connections)
{
    assert_int_equal(weft_io_stop(listener), 0);
    ends(0);
    assert_int_equal(handled, connections);
}

static int open_one(void)
{
    int fd = weft_io_connect(address, weft_in_s(20));
    assert_true(fd >= 0);
    return fd;
}

static bool answers(int fd, weft_deadline d = weft_in_s(20))
{
    char byte;
    return weft_io_write(fd, "x", 1, d) == 1 && weft_io_read(fd, &byte, 1, d) == 1;
}

static int open_answered(void)
{
    int fd = open_one();
    assert_true(answers(fd));
    return fd;
}

static void is_ended(int fd)
{
    char byte;
    assert_int_equal(weft_io_read(fd, &byte, 1, weft_in_s(20)), 0);
    weft_io_close(fd);
}

INSIDE_CASE(test_serve_many)
{
    int fds[50];
    serve(echo);
    for (int &fd : fds)
        fd = open_one();
    for (int fd : fds)
        assert_true(answers(fd));
    for (int fd : fds)
        weft_io_close(fd);
    stop_serving(50);
}

INSIDE_CASE(test_serve_bound)
{
    int fds[5];
    char byte;
    weft_io_serve_options o = {};
    o.max = 2;
    o.name = "bounded";
    o.stack_size = 128 << 10;
    serve(echo, o);
    for (int &fd : fds)
        fd = open_one();
    assert_true(answers(fds[0]) && answers(fds[1]));
    assert_false(answers(fds[2], weft_in_ms(10)));
    weft_io_close(fds[0]);
    weft_io_close(fds[1]);
    // What was sent before is answered now.
    assert_int_equal(weft_io_read(fds[2], &byte, 1, weft_in_s(20)), 1);
    weft_io_close(fds[2]);
    assert_true(answers(fds[3]));
    weft_io_close(fds[3]);
    weft_io_close(fds[4]);
    stop_serving(5);
    assert_int_equal(most_at_once, 2);
}

// Those in the backlog are served; the stop waits for all.
INSIDE_CASE(test_serve_stop_drains)
{
    serve(echo, at_most(1));
    int a = open_answered(), b = open_one();
    assert_int_equal(weft_io_stop(listener), 0);
    assert_int_equal(weft_io_stop(listener), 0);
    assert_true(answers(a));
    assert_int_equal(result, -2);
    weft_io_close(a);
    assert_true(answers(b));
    weft_io_close(b);
    ends(0);
    assert_int_equal(handled, 2);
}

// Told to stop when a connection has woken it, but another process has taken that one.
INSIDE_CASE(test_serve_stop_while_it_wakes)
{
    weft_task theft = {};
    theft.fn = [](weft_task *, void *) {
        int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd >= 0)
            close(fd);
        stop_it();
    };
    serve(echo);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    // Both in one batch of events, the connection first.
    assert_int_equal(connect(client, (struct sockaddr *)&where, sizeof where), 0);
    assert_int_equal(weft_loop_post(weft_io_loop(), &theft), 0);
    ends(0);
    assert_int_equal(handled, 0);
    close(client);
}

// Told to stop when it lets the others have a turn, before its next accept.
INSIDE_CASE(test_serve_stop_while_others_have_a_turn)
{
    // Each 256th call of all tasklets is such a turn, if none has waited since.
    for (int calls = 250; calls < 260; calls++) {
        char text[1];
        int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        options = {};
        listen_for(echo);
        // Waits, and then it is known that no connection is there.
        assert_errno(weft_io_accept(listener, weft_in_us(100)), ETIMEDOUT);
        server = begin_serving();
        spawn(stop_it);
        for (int i = 0; i < calls; i++)
            assert_int_equal(weft_io_read(zero, text, 1, WEFT_NOW), 1);
        ends(0);
        weft_io_close(zero);
    }
}

INSIDE_CASE(test_serve_drain_has_an_end)
{
    static const int64_t drains[] = {5000000, -1};
    for (int64_t drain : drains) {
        weft_io_serve_options o = {};
        o.drain_ns = drain;
        serve(echo, o);
        int a = open_answered();
        stop_serving(1);
        is_ended(a);
    }
}

INSIDE_CASE(test_serve_close_stops)
{
    serve(echo);
    int a = open_answered();
    weft_io_close(listener);
    assert_true(answers(a));
    weft_io_close(a);
    listener = -1;
    ends(0);
    assert_errno(weft_io_connect(address, weft_in_s(20)), ECONNREFUSED);
}

INSIDE_CASE(test_serve_cancelled)
{
    serve(echo);
    int a = open_answered(), b = open_one();
    weft_tasklet_cancel(server);
    ends(-1, ECANCELED);
    weft_io_close(a);
    weft_io_close(b);
}

// Cancelled while it drains.
INSIDE_CASE(test_serve_cancelled_in_its_drain)
{
    serve(echo);
    int a = open_answered();
    stop_it();
    assert_true(answers(a));
    weft_tasklet_cancel(server);
    ends(-1, ECANCELED);
    weft_io_close(a);
}

INSIDE_CASE(test_serve_handler_may_close)
{
    serve(close_itself);
    for (int i = 0; i < 20; i++)
        is_ended(open_one());
    stop_serving(20);
}

CASE(test_serve_refuses)
{
    assert_errno(weft_io_serve(0, echo, nullptr, nullptr), EPERM);
    inside([] {
        int p[2];
        make_pair(UNIX_PAIR, p);
        serve(echo);
        assert_errno(weft_io_serve(listener, echo, nullptr, nullptr), EBUSY);
        assert_errno(weft_io_serve(listener, nullptr, nullptr, nullptr), EINVAL);
        assert_errno(weft_io_serve(p[0], echo, nullptr, nullptr), EINVAL);
        assert_errno(weft_io_serve(1000, echo, nullptr, nullptr), EBADF);
        weft_io_serve_options o = {};
        o.idle_ns = -1;
        assert_errno(weft_io_serve(listener, echo, nullptr, &o), EINVAL);
        assert_errno(weft_io_stop(-1), EBADF);
        close_pair(p);
        stop_serving(0);
    });
}

// Also while the other waits for a connection's end, and not for the next one.
INSIDE_CASE(test_serve_twice_when_full)
{
    static int again;
    serve(echo, at_most(1));
    int a = open_answered();
    join(spawn([] { again = weft_io_serve(listener, echo, nullptr, nullptr) == -1 ? errno : 0; },
               true));
    assert_int_equal(again, EBUSY);
    assert_true(answers(a));
    weft_io_close(a);
    stop_serving(1);
}

// The one that drains goes on with its connections, the next takes the new ones.
INSIDE_CASE(test_serve_again_while_one_drains)
{
    serve(echo);
    weft_tasklet *first = server;
    int a = open_answered();
    stop_it();
    weft_tasklet_yield();
    server = begin_serving();
    int b = open_answered();
    assert_true(answers(a));
    stop_it();
    weft_io_close(a);
    weft_io_close(b);
    join(first);
    ends(0);
    assert_int_equal(handled, 2);
}

// No descriptor left: it does not spin, and serves soon after there is one.
INSIDE_CASE(test_serve_without_descriptors)
{
    struct rlimit before, few;
    serve(echo);
    int a = open_answered(), b = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    getrlimit(RLIMIT_NOFILE, &before);
    few = before;
    few.rlim_cur = (rlim_t)b; // the next would be one too many
    setrlimit(RLIMIT_NOFILE, &few);
    connect(b, (struct sockaddr *)&where, sizeof where);
    int64_t cpu = cpu_ns();
    weft_tasklet_sleep(weft_in_ms(300));
    cpu = cpu_ns() - cpu;
    setrlimit(RLIMIT_NOFILE, &before);
    assert_true(cpu < 300000000 / 10 * (RUNNER_SANITIZED ? 5 : 1));
    assert_true(answers(b));
    assert_true(answers(a));
    weft_io_close(a);
    weft_io_close(b);
    stop_serving(2);
}

// ---- Idle connections ----

static const int64_t IDLE = 60000000;
static int64_t moved; // before a byte moved last
static ssize_t last;  // what the handler's wait said
static bool go;

static void serve_idle(void (*fn)(int, void *))
{
    weft_io_serve_options o = {};
    o.idle_ns = IDLE;
    go = false;
    moved = weft_now();
    serve(fn, o);
}

// It has ended, and not too early.
static void is_ended_idle(int fd)
{
    is_ended(fd);
    assert_true(weft_now() - moved >= IDLE);
    stop_serving(1);
}

INSIDE_CASE(test_serve_ends_the_idle)
{
    serve_idle(echo);
    int a = open_one();
    for (int i = 0; i < 6; i++) {
        int64_t before = weft_now();
        if (!answers(a)) // on a machine that stood still
            break;
        moved = before;
        weft_tasklet_sleep(weft_in_ns(IDLE / 3));
    }
    is_ended_idle(a);
}

// What another tasklet writes counts, too.
INSIDE_CASE(test_serve_idle_in_both_directions)
{
    serve_idle([](int fd, void *) {
        static int to;
        char byte;
        to = fd;
        weft_tasklet *t = spawn(
            [] {
                for (int i = 0; i < 6; i++) {
                    int64_t before = weft_now();
                    if (weft_io_write(to, "", 1, WEFT_FOREVER) == 1)
                        moved = before;
                    weft_tasklet_sleep(weft_in_ns(IDLE / 3));
                }
            },
            true);
        last = weft_io_read(fd, &byte, 1, WEFT_FOREVER) < 0 ? errno : 0;
        weft_tasklet_join(t, nullptr, WEFT_FOREVER);
        handled++;
    });
    int a = open_one();
    char byte;
    while (weft_io_read(a, &byte, 1, weft_in_s(20)) == 1)
        ;
    is_ended_idle(a);
    assert_int_equal(last, ETIMEDOUT);
}

// Deadlines of its own don't begin it anew, and the other end may be the one that doesn't read.
INSIDE_CASE(test_serve_idle_of_a_writer)
{
    serve_idle([](int fd, void *) {
        static char much[1 << 20];
        do {
            moved = weft_now();
        } while (weft_io_write(fd, much, sizeof much, weft_in_ms(5)) > 0);
        do {
            last = weft_io_write(fd, much, sizeof much, weft_in_ms(5));
        } while (last > 0 || (last < 0 && errno == ETIMEDOUT));
        last = errno;
        handled++;
    });
    int a = open_one();
    while (handled == 0)
        weft_tasklet_sleep(weft_in_ms(1));
    weft_io_close(a);
    assert_int_equal(last, EPIPE);
    stop_serving(1);
}

// One that is busy elsewhere finds what came meanwhile.
INSIDE_CASE(test_serve_idle_but_busy)
{
    serve_idle([](int fd, void *) {
        char byte;
        while (!go)
            weft_tasklet_sleep(weft_in_ms(1));
        last = weft_io_read(fd, &byte, 1, WEFT_FOREVER);
        handled++;
    });
    int a = open_one();
    assert_int_equal(weft_io_write(a, "x", 1, WEFT_FOREVER), 1);
    weft_tasklet_sleep(weft_in_ns(2 * IDLE));
    go = true;
    is_ended(a);
    assert_int_equal(last, 1);
    stop_serving(1);
}

// So long that it never is.
INSIDE_CASE(test_serve_idle_for_ever)
{
    weft_io_serve_options o = {};
    o.idle_ns = INT64_MAX;
    serve(echo, o);
    int a = open_answered();
    weft_tasklet_sleep(weft_in_ms(1));
    assert_true(answers(a));
    weft_io_close(a);
    stop_serving(1);
}

// ---- Rate ----

static int64_t serve_at(size_t rate)
{
    weft_io_serve_options o = {};
    o.rate = rate;
    int64_t begun = weft_now();
    serve(close_itself, o);
    return begun;
}

INSIDE_CASE(test_serve_rate)
{
    int fds[30];
    int64_t begun = serve_at(20);
    for (int &fd : fds)
        fd = open_one();
    for (int fd : fds)
        is_ended(fd);
    // 20 at once, the others 50 ms apart.
    assert_true(weft_now() - begun >= 500000000);
    stop_serving(30);
}

INSIDE_CASE(test_serve_rate_when_stopped)
{
    int fds[30];
    for (int cancel = 0; cancel < 2; cancel++) {
        int64_t begun = serve_at(1);
        for (int &fd : fds)
            fd = open_one();
        is_ended(fds[0]);
        if (cancel) {
            weft_tasklet_cancel(server);
            ends(-1, ECANCELED);
        } else {
            stop_serving(30);
            assert_true(weft_now() - begun < 20000000000);
        }
        for (int i = 1; i < 30; i++)
            weft_io_close(fds[i]);
    }
}

// ---- Bytes a second ----

static void serve_bytes_at(size_t rate, int64_t idle_ns, void (*fn)(int, void *))
{
    weft_io_serve_options o = {};
    o.byte_rate = rate;
    o.idle_ns = idle_ns;
    serve(fn, o);
}

enum { BYTE_RATE = 1 << 20, BYTES = BYTE_RATE * 3 / 2 };

static char bytes[BYTES];

// A second's bytes at once, and the rest in half a second, an eighth of a second's at a time.
static void took_its_time(int64_t begun)
{
    assert_true(weft_now() - begun >= 350000000);
}

INSIDE_CASE(test_serve_byte_rate_of_what_goes)
{
    serve_bytes_at(BYTE_RATE, 0, [](int fd, void *) {
        struct iovec pieces[] = {{nullptr, 0}, {bytes, BYTES / 2}, {bytes + BYTES / 2, BYTES / 2}};
        handled += weft_io_writev(fd, pieces, 3, WEFT_FOREVER) == BYTES;
    });
    for (int i = 0; i < BYTES; i++)
        bytes[i] = (char)(i ^ i >> 8 ^ i >> 16);
    char *in = (char *)malloc(BYTES + 1);
    int64_t begun = weft_now();
    int a = open_one();
    assert_int_equal(weft_io_read_all(a, in, BYTES + 1, weft_in_s(20)), BYTES);
    took_its_time(begun);
    assert_memory_equal(in, bytes, BYTES);
    free(in);
    weft_io_close(a);
    stop_serving(1);
}

INSIDE_CASE(test_serve_byte_rate_of_what_comes)
{
    serve_bytes_at(BYTE_RATE, 0, [](int fd, void *) {
        static char in[BYTES + 1];
        handled += weft_io_read_all(fd, in, sizeof in, WEFT_FOREVER) == BYTES;
    });
    int64_t begun = weft_now();
    int a = open_one();
    assert_int_equal(weft_io_write(a, bytes, BYTES, weft_in_s(20)), BYTES);
    assert_int_equal(weft_io_shutdown(a, SHUT_WR), 0);
    is_ended(a);
    took_its_time(begun);
    stop_serving(1);
}

static int write_one(int fd, weft_deadline d)
{
    return weft_io_write(fd, "x", 1, d) < 0 ? errno : 0;
}

// A message that is half a second's bytes too many: the next waits so long, and is not idle.
INSIDE_CASE(test_serve_byte_rate_and_waits)
{
    static int seen[4];
    serve_bytes_at(1000, 20000000, [](int fd, void *) {
        handled += weft_io_send(fd, bytes, 1500, 0, WEFT_FOREVER) == 1500;
        seen[0] = write_one(fd, WEFT_NOW);
        seen[1] = write_one(fd, weft_in_ms(1));
        seen[2] = write_one(fd, WEFT_FOREVER);
        handled += weft_io_send(fd, bytes, 1500, 0, WEFT_FOREVER) == 1500;
        static int mine;
        mine = fd;
        spawn([] { weft_io_close(mine); });
        seen[3] = write_one(fd, WEFT_FOREVER); // a second later, were it not closed
    });
    char in[4000];
    int a = open_one();
    assert_int_equal(weft_io_read_all(a, in, sizeof in, weft_in_s(20)), 3001);
    weft_io_close(a);
    stop_serving(2);
    assert_int_equal(seen[0], ETIMEDOUT);
    assert_int_equal(seen[1], ETIMEDOUT);
    assert_int_equal(seen[2], 0);
    assert_int_equal(seen[3], ECANCELED);
}

RUN_CASES()
