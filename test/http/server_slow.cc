// weft_http_serve: clients that are slow, or gone, while others are served.
#include "served.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static const int64_t MS = 1000000;

// By a unix socket: a TCP connection is told of when something comes.
static void serve_with(weft_http_server_options o)
{
    char address[64];
    snprintf(address, sizeof address, "unix:@weft-http-%d", getpid());
    serve(&o, address);
    route("GET", "/hello", hello);
}

static void others_are_served(void)
{
    assert_int_equal(ask_once(GET("/hello")), 200);
}

INSIDE_CASE(test_idle)
{
    weft_http_server_options o = {};
    o.idle_ns = 50 * MS;
    serve_with(o);
    int fd = client();
    assert_int_equal(ask(fd, GET("/hello")), 200);
    int64_t begin = weft_now();
    is_closed(fd);
    assert_true(weft_now() - begin >= 40 * MS);
    assert_int_equal(counters().timeouts, 0);
    unserve();
}

// So long that no clock gets there.
INSIDE_CASE(test_for_ever)
{
    weft_http_server_options o = {};
    o.header_ns = o.idle_ns = o.grace_ns = o.drain_ns = INT64_MAX;
    serve_with(o);
    int fd = client();
    for (int i = 0; i < 3; i++) {
        weft_tasklet_sleep(weft_in_ms(5));
        say(fd, "GET /he");
        weft_tasklet_sleep(weft_in_ms(5));
        assert_int_equal(ask(fd, "llo HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    }
    weft_io_close(fd);
    assert_int_equal(counters().timeouts, 0);
    unserve();
}

INSIDE_CASE(test_silent)
{
    weft_http_server_options o = {};
    o.header_ns = 50 * MS;
    serve_with(o);
    int fd = client();
    is_closed(fd);
    assert_int_equal(counters().timeouts, 1);
    assert_int_equal(counters().status[4], 0);
    unserve();
}

// Each byte in time, all of them not.
static void trickle(int fd, const char *text)
{
    weft_tasklet_sleep(weft_in_ms(5));
    while (*text != 0 && weft_io_write(fd, text++, 1, soon()) == 1)
        weft_tasklet_sleep(weft_in_ms(5));
}

static void *trickle_head(void *fd)
{
    trickle((int)(intptr_t)fd,
            "GET /hello HTTP/1.1\r\nHost: a\r\nX-Field: a long one, of many bytes\r\n");
    return nullptr;
}

INSIDE_CASE(test_slow_heads)
{
    enum { CLIENTS = 100 };
    int fds[CLIENTS];
    weft_tasklet *all[CLIENTS];
    weft_http_server_options o = {};
    o.header_ns = 150 * MS;
    serve_with(o);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client();
        all[i] = spawn(trickle_head, (void *)(intptr_t)fds[i], true);
    }
    int64_t begin = weft_now();
    others_are_served();
    for (int i = 0; i < CLIENTS; i++) {
        hear(fds[i], heard, sizeof heard);
        assert_memory_equal(heard, "HTTP/1.1 408 Request Timeout\r\n", 30);
        assert_true(heard_field("Connection: close"));
        others_are_served();
    }
    assert_true(weft_now() - begin >= 100 * MS);
    for (int i = 0; i < CLIENTS; i++) {
        join(all[i]);
        is_closed(fds[i]);
    }
    assert_int_equal(counters().timeouts, CLIENTS);
    unserve();
}

// One that has been served before gets as much time for its next head.
INSIDE_CASE(test_slow_second_head)
{
    weft_http_server_options o = {};
    o.header_ns = 50 * MS;
    serve_with(o);
    int fd = client();
    assert_int_equal(ask(fd, GET("/hello")), 200);
    assert_int_equal(ask(fd, GET("/hello") "GET /he"), 200);
    hear(fd, heard, sizeof heard);
    assert_memory_equal(heard, "HTTP/1.1 408 ", 13);
    is_closed(fd);
    unserve();
}

static void *trickle_body(void *fd)
{
    trickle((int)(intptr_t)fd, "0123456789012345678901234567890123456789");
    return nullptr;
}

INSIDE_CASE(test_slow_bodies)
{
    enum { CLIENTS = 50 };
    int fds[CLIENTS];
    weft_tasklet *all[CLIENTS];
    weft_http_server_options o = {};
    o.rate = 100000;
    o.grace_ns = 60 * MS;
    serve_with(o);
    route("POST", "/", count_body);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client();
        say(fds[i], i % 2 == 0 ? "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
                               : "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 "3e8\r\n");
        all[i] = spawn(trickle_body, (void *)(intptr_t)fds[i], true);
    }
    for (int i = 0; i < CLIENTS; i++) {
        hear(fds[i], heard, sizeof heard);
        assert_memory_equal(heard, "HTTP/1.1 408 ", 13);
        others_are_served();
    }
    for (int i = 0; i < CLIENTS; i++) {
        join(all[i]);
        is_closed(fds[i]);
    }
    assert_int_equal(counters().timeouts, CLIENTS);
    unserve();
}

// One that keeps to the rate may take as long as it likes.
static void *drip(void *fd)
{
    char piece[50] = "";
    for (int i = 0; i < 40; i++) {
        weft_io_write((int)(intptr_t)fd, piece, sizeof piece, soon());
        weft_tasklet_sleep(weft_in_ms(5));
    }
    return nullptr;
}

INSIDE_CASE(test_steady_body)
{
    weft_http_server_options o = {};
    o.rate = 100;
    o.grace_ns = 100 * MS;
    serve_with(o);
    route("POST", "/", count_body);
    int fd = client();
    say(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n");
    weft_tasklet *t = spawn(drip, (void *)(intptr_t)fd, true);
    hear(fd, heard, sizeof heard);
    assert_string_equal(body_of(heard), "2000");
    join(t);
    weft_io_close(fd);
    unserve();
}

// ---- Clients that don't read ----

static int result, error;

static void endless(weft_http_exchange *x, void *)
{
    static char piece[100000];
    ssize_t n;
    weft_http_begin(x, 200, nullptr, WEFT_HTTP_CHUNKED);
    while ((n = weft_http_write(x, piece, sizeof piece, WEFT_FOREVER)) == sizeof piece)
        ;
    error = errno;
    result++;
}

INSIDE_CASE(test_client_never_reads)
{
    weft_http_server_options o = {};
    o.grace_ns = 20 * MS;
    serve_with(o);
    route("GET", "/endless", endless);
    result = 0;
    int fd = client();
    say(fd, GET("/endless"));
    weft_deadline d = soon();
    while (result == 0 && weft_left(d) > 0) {
        others_are_served();
        weft_tasklet_sleep(weft_in_ms(5));
    }
    assert_int_equal(result, 1);
    assert_int_equal(error, EPIPE);
    UNTIL(counters().connections == 0);
    assert_int_equal(counters().timeouts, 1);
    assert_int_equal(counters().status[0], 1);
    weft_io_close(fd);
    unserve();
}

// Many requests, and no response is read: no more is kept than the limit, and it is cut.
INSIDE_CASE(test_pipeline_never_reads)
{
    weft_http_server_options o = {};
    o.grace_ns = 20 * MS;
    serve_with(o);
    int fd = client();
    while (weft_io_write(fd, GET("/hello"), strlen(GET("/hello")), weft_in_ms(300)) > 0)
        ;
    UNTIL(counters().connections == 0);
    assert_int_equal(counters().timeouts, 1);
    others_are_served();
    weft_io_close(fd);
    unserve();
}

static bool began, told;

static void until_gone(weft_http_exchange *x, void *)
{
    began = true;
    while (weft_http_stopping(x) == 0)
        weft_tasklet_sleep(weft_in_ms(1));
    told = true;
}

static void write_until_gone(weft_http_exchange *x, void *)
{
    weft_http_begin(x, 200, nullptr, WEFT_HTTP_CHUNKED);
    began = true;
    for (ssize_t n = 0; n >= 0;) {
        weft_tasklet_sleep(weft_in_ms(1));
        n = weft_http_write(x, "x", 1, soon()) == 1 ? weft_http_flush(x, soon()) : -1;
    }
    error = errno;
    told = true;
}

INSIDE_CASE(test_client_gone)
{
    serve_with({});
    route("GET", "/stopping", until_gone);
    route("GET", "/write", write_until_gone);
    static const char *const requests[] = {GET("/stopping"), GET("/write")};
    for (const char *request : requests) {
        began = told = false;
        int fd = client();
        say(fd, request);
        UNTIL(began);
        weft_io_close(fd);
        UNTIL(told);
        UNTIL(counters().connections == 0);
    }
    assert_true(error == EPIPE || error == ECONNRESET);
    others_are_served();
    unserve();
}

INSIDE_CASE(test_client_resets)
{
    serve();
    route("GET", "/hello", hello);
    route("GET", "/write", write_until_gone);
    began = told = false;
    int fd = client();
    say(fd, GET("/write"));
    UNTIL(began);
    weft_io_reset(fd);
    UNTIL(told);
    fd = client(); // while idle
    assert_int_equal(ask(fd, GET("/hello")), 200);
    weft_io_reset(fd);
    UNTIL(counters().connections == 0);
    others_are_served();
    unserve();
}

RUN_CASES()
