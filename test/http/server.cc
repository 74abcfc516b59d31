// weft_http_serve: connections, from their begin to the drain.
#include "served.h"

#include <malloc.h>
#include <sys/resource.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

INSIDE_CASE(test_serve_one)
{
    serve();
    route("GET", "/hello", hello);
    int fd = client();
    assert_int_equal(ask(fd, GET("/hello")), 200);
    assert_string_equal(body_of(heard), "hello\n");
    assert_true(heard_field("Content-Length: 6"));
    assert_true(heard_field("Content-Type: text/plain"));
    assert_int_equal(ask(fd, GET("/hello")), 200);
    assert_int_equal(ask(fd, GET("/none")), 404);
    weft_io_close(fd);
    UNTIL(counters().connections == 0);
    weft_http_counters c = counters();
    assert_int_equal(c.accepted, 1);
    assert_int_equal(c.requests, 3);
    assert_int_equal(c.status[2], 2);
    assert_int_equal(c.status[4], 1);
    assert_int_equal(c.in, 2 * strlen(GET("/hello")) + strlen(GET("/none")));
    uint64_t all = 0;
    for (uint64_t each : c.buckets)
        all += each;
    assert_int_equal(all, 3);
    assert_true(c.latency > 0);
    unserve();
}

INSIDE_CASE(test_serve_unix)
{
    char address[64];
    snprintf(address, sizeof address, "unix:@weft-http-%d", getpid());
    serve(nullptr, address);
    route("GET", "/hello", hello);
    assert_int_equal(ask_once(GET("/hello")), 200);
    unserve();
}

// ---- How long a connection lasts ----

INSIDE_CASE(test_keep_alive)
{
    static const struct {
        const char *request, *said;
        bool goes_on;
    } table[] = {
        {"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", nullptr, true},
        {"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", nullptr, true},
        {"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "Connection: close", false},
        {"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n", "Connection: close",
         false},
        {"GET /hello HTTP/1.0\r\n\r\n", "Connection: close", false},
        {"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "Connection: keep-alive", true},
        {"GET /hello HTTP/1.0\r\nConnection: Keep-Alive, x\r\n\r\n", "Connection: keep-alive",
         true},
    };
    serve();
    route("GET", "/hello", hello);
    for (const auto &each : table) {
        int fd = client();
        assert_int_equal(ask(fd, each.request), 200);
        if (each.said != nullptr)
            assert_true(heard_field(each.said));
        else
            assert_null(strstr(heard, "Connection"));
        if (each.goes_on) {
            assert_int_equal(ask(fd, GET("/hello")), 200);
            weft_io_close(fd);
        } else {
            is_closed(fd);
        }
    }
    unserve();
}

static void say_path(weft_http_exchange *x, void *)
{
    weft_http_reply(x, 200, "text/plain", x->path, strlen(x->path));
}

static char many[1 << 18];

// However the requests are cut, the responses come in their order.
INSIDE_CASE(test_pipeline)
{
    enum { REQUESTS = 500 };
    static const size_t cuts[] = {sizeof many, 1000, 77, 16384};
    serve();
    route("GET", "/", say_path);
    size_t n = 0;
    for (int i = 0; i < REQUESTS; i++)
        n += (size_t)snprintf(many + n, sizeof many - n, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i);
    for (size_t cut : cuts) {
        int fd = client();
        for (size_t at = 0; at < n; at += cut)
            say_bytes(fd, many + at, n - at < cut ? n - at : cut);
        for (int i = 0; i < REQUESTS; i++) {
            char expected[16];
            hear(fd, heard, sizeof heard);
            snprintf(expected, sizeof expected, "/%d", i);
            assert_string_equal(body_of(heard), expected);
        }
        weft_io_close(fd);
    }
    unserve();
}

static void slow_path(weft_http_exchange *x, void *)
{
    weft_tasklet_sleep(weft_in_ms(20 - 2 * (int)strtol(x->path + 1, nullptr, 10) % 20));
    say_path(x, nullptr);
}

INSIDE_CASE(test_pipeline_of_handlers_that_wait)
{
    serve();
    route("GET", "/", slow_path);
    int fd = client();
    say(fd, GET("/1") GET("/2") GET("/9") GET("/4"));
    for (const char *each = "1294"; *each != 0; each++) {
        hear(fd, heard, sizeof heard);
        assert_int_equal(body_of(heard)[1], *each);
    }
    weft_io_close(fd);
    unserve();
}

// What is behind a request for the end is not served.
INSIDE_CASE(test_pipeline_behind_close)
{
    serve();
    route("GET", "/", say_path);
    int fd = client();
    say(fd, "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/b"));
    hear(fd, heard, sizeof heard);
    assert_string_equal(body_of(heard), "/a");
    is_closed(fd);
    assert_int_equal(counters().requests, 1);
    unserve();
}

INSIDE_CASE(test_half_closed_client)
{
    serve();
    route("GET", "/", slow_path);
    int fd = client();
    say(fd, GET("/1") GET("/2"));
    weft_io_shutdown(fd, SHUT_WR);
    for (const char *each = "12"; *each != 0; each++) {
        hear(fd, heard, sizeof heard);
        assert_int_equal(body_of(heard)[1], *each);
    }
    is_closed(fd);
    unserve();
}

// ---- Requests that are refused ----

INSIDE_CASE(test_refused)
{
    static char line[10000], fields[40000];
    static const struct {
        const char *request;
        int status;
    } table[] = {
        {"x\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\nHost: a\n\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        {line, 414},
        {fields, 431},
    };
    memset(line, 'a', sizeof line - 1);
    memcpy(line, "GET /", 5);
    size_t n = (size_t)snprintf(fields, sizeof fields, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 200; i++)
        n += (size_t)snprintf(fields + n, sizeof fields - n, "X-%d: y\r\n", i);
    serve();
    route(nullptr, "/", hello);
    for (const auto &each : table) {
        int fd = client();
        say(fd, GET("/")); // what comes before is answered
        hear(fd, heard, sizeof heard);
        say(fd, each.request);
        hear(fd, heard, sizeof heard);
        assert_int_equal(atoi(heard + 9), each.status);
        assert_true(heard_field("Connection: close"));
        assert_int_equal(atoi(body_of(heard)), each.status);
        is_closed(fd);
    }
    assert_int_equal(counters().status[2], sizeof table / sizeof *table);
    unserve();
}

// ---- How many there are ----

INSIDE_CASE(test_max)
{
    weft_http_server_options o = {};
    o.max = 2;
    serve(&o);
    route("GET", "/hello", hello);
    int a = client(), b = client();
    assert_int_equal(ask(a, GET("/hello")), 200);
    assert_int_equal(ask(b, GET("/hello")), 200);
    int c = client(); // in the backlog
    say(c, GET("/hello"));
    for (int round = 0; round < 3; round++) // in each the loop could have taken it
        assert_int_equal(ask(a, GET("/hello")), 200);
    assert_int_equal(counters().accepted, 2);
    weft_io_close(b);
    assert_int_equal(ask(c, ""), 200);
    assert_int_equal(counters().accepted, 3);
    weft_io_close(a);
    weft_io_close(c);
    unserve();
}

INSIDE_CASE(test_max_per_address)
{
    weft_http_server_options o = {};
    o.max_per_address = 2;
    serve(&o);
    route("GET", "/hello", hello);
    for (int round = 0; round < 3; round++) {
        int a = client(), b = client();
        assert_int_equal(ask(a, GET("/hello")), 200);
        assert_int_equal(ask(b, GET("/hello")), 200);
        assert_int_equal(ask_once(GET("/hello")), 503);
        assert_int_equal(counters().refused, round + 1);
        weft_io_close(a);
        weft_io_close(b);
        UNTIL(counters().connections == 0);
    }
    unserve();
}

INSIDE_CASE(test_no_descriptor_left)
{
    struct rlimit before, few;
    serve();
    route("GET", "/hello", hello);
    int a = client(), b = client();
    assert_int_equal(ask(a, GET("/hello")), 200);
    getrlimit(RLIMIT_NOFILE, &before);
    few = before;
    few.rlim_cur = (rlim_t)next_descriptor();
    setrlimit(RLIMIT_NOFILE, &few);
    say(b, GET("/hello"));
    weft_loop_counters now, then;
    weft_tasklet_sleep(weft_in_ms(20));
    weft_loop_statistics(weft_io_loop(), &now);
    weft_tasklet_sleep(weft_in_ms(200));
    weft_loop_statistics(weft_io_loop(), &then);
    assert_int_equal(counters().accepted, 1);
    assert_int_equal(ask(a, GET("/hello")), 200); // others are served
    assert_true(then.rounds - now.rounds < 20);   // and it does not spin
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(ask(b, ""), 200);
    weft_io_close(a);
    weft_io_close(b);
    unserve();
}

// How many descriptors there may be.
static rlim_t many_descriptors(void)
{
    struct rlimit all;
    getrlimit(RLIMIT_NOFILE, &all);
    all.rlim_cur = all.rlim_max < 20000 ? all.rlim_max : 20000;
    setrlimit(RLIMIT_NOFILE, &all);
    return all.rlim_cur;
}

INSIDE_CASE(test_many_idle)
{
    static const size_t IDLE = 2000;
    static int fds[IDLE];
    size_t n = (many_descriptors() - 100) / 2;
    n = n < IDLE ? n : IDLE;
    serve();
    route("GET", "/hello", hello);
    assert_int_equal(ask_once(GET("/hello")), 200);
    UNTIL(counters().connections == 0);
    for (size_t i = 0; i < n; i++)
        fds[i] = client();
    struct mallinfo2 before = mallinfo2();
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ask(fds[i], GET("/hello")), 200);
    UNTIL(counters().idle == n);
    struct mallinfo2 after = mallinfo2();
    assert_int_equal(counters().connections, n);
    if (!RUNNER_SANITIZED)
        assert_true((after.uordblks - before.uordblks) / n < 1024);
    assert_true(weft_tasklet_count() < 16); // none has a stack
    for (size_t i = 0; i < n; i += 100)
        assert_int_equal(ask(fds[i], GET("/hello")), 200);
    for (size_t i = 0; i < n; i++)
        weft_io_close(fds[i]);
    UNTIL(counters().connections == 0);
    unserve();
}

// ---- Errors ----

CASE(test_errors_outside)
{
    weft_http_server_options o = {};
    o.idle_ns = -1;
    assert_errno(weft_http_server_create(&o), EINVAL);
    o.idle_ns = 0;
    o.name = "a\nb";
    assert_errno(weft_http_server_create(&o), EINVAL);
    weft_http_server *s = weft_http_server_create(nullptr);
    assert_errno(weft_http_serve(s, 0), EPERM);
    assert_errno(weft_http_serve(nullptr, 0), EINVAL);
    assert_errno(weft_http_stop(s), ENOENT);
    assert_errno(weft_http_stop(nullptr), EINVAL);
    assert_errno(weft_http_statistics(s, nullptr), EINVAL);
    assert_int_equal(weft_http_server_destroy(s), 0);
    assert_int_equal(weft_http_server_destroy(nullptr), 0);
}

static void *stop_elsewhere(void *)
{
    errno = 0;
    int result = weft_http_stop(server);
    return result == -1 && errno == EPERM ? server : nullptr;
}

INSIDE_CASE(test_errors)
{
    serve();
    assert_errno(weft_http_server_destroy(server), EBUSY);
    assert_errno(weft_http_serve(server, listener), EEXIST);
    assert_errno(weft_http_serve(server, 0), EINVAL);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    assert_errno(weft_http_serve(server, pair[0]), EINVAL);
    close(pair[0]);
    close(pair[1]);
    pthread_t t;
    void *refused;
    pthread_create(&t, nullptr, stop_elsewhere, nullptr);
    pthread_join(t, &refused);
    assert_non_null(refused);
    unserve();
}

RUN_CASES()
