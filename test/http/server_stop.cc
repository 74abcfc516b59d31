// weft_http_stop: the drain; and the other ways in which weft_http_serve ends.
#include "served.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static bool began, go_on;
static int result, error;

static void until_told(weft_http_exchange *x, void *)
{
    began = true;
    while (!go_on)
        weft_tasklet_sleep(weft_in_ms(1));
    weft_http_reply(x, 200, nullptr, "done", 4);
}

static void for_ever(weft_http_exchange *x, void *)
{
    began = true;
    result = weft_tasklet_sleep(WEFT_FOREVER);
    error = errno;
    weft_http_reply(x, 200, nullptr, "late", 4);
}

static void begin(weft_http_server_options o = {})
{
    began = go_on = false;
    serve(&o);
    route("GET", "/hello", hello);
    route("GET", "/told", until_told);
    route("GET", "/ever", for_ever);
}

static int open_busy(const char *request)
{
    int fd = client();
    say(fd, request);
    UNTIL(began);
    return fd;
}

static weft_http_counters last;

static void ends(void)
{
    join(serving_tasklet);
    last = counters();
    assert_int_equal(counters().connections, 0);
    assert_int_equal(counters().idle, 0);
    weft_http_server_destroy(server);
    weft_io_close(listener);
}

INSIDE_CASE(test_stop_drains)
{
    begin();
    int busy = open_busy(GET("/told")), idle = client(), late = -1;
    assert_int_equal(ask(idle, GET("/hello")), 200);
    assert_int_equal(weft_http_stop(server), 0);
    assert_int_equal(weft_http_stop(server), 0);
    is_closed(idle); // at once
    assert_int_equal(counters().connections, 1);
    late = client(); // nobody takes it
    say(late, GET("/hello"));
    go_on = true;
    hear(busy, heard, sizeof heard);
    assert_string_equal(body_of(heard), "done");
    assert_true(heard_field("Connection: close"));
    is_closed(busy);
    ends();
    assert_int_equal(serve_result, 0);
    weft_io_close(late);
}

// What has been accepted by the kernel before, and what has been sent on idle connections.
INSIDE_CASE(test_stop_serves_what_has_come)
{
    enum { CLIENTS = 20 };
    int fds[CLIENTS], idle[CLIENTS];
    begin();
    for (int &each : idle) {
        each = client();
        assert_int_equal(ask(each, GET("/hello")), 200);
    }
    for (int &each : fds) {
        each = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in a;
        socklen_t size = sizeof a;
        getsockname(listener, (struct sockaddr *)&a, &size);
        assert_int_equal(connect(each, (struct sockaddr *)&a, size), 0);
        assert_int_equal(send(each, GET("/hello"), strlen(GET("/hello")), 0),
                         strlen(GET("/hello")));
    }
    for (int each : idle)
        assert_int_equal(send(each, GET("/hello"), strlen(GET("/hello")), 0),
                         strlen(GET("/hello")));
    assert_int_equal(weft_http_stop(server), 0);
    int *const both[] = {fds, idle};
    for (const int *each : both)
        for (int i = 0; i < CLIENTS; i++) {
            hear(each[i], heard, sizeof heard);
            assert_string_equal(body_of(heard), "hello\n");
            assert_true(heard_field("Connection: close"));
            is_closed(each[i]);
        }
    ends();
    assert_int_equal(serve_result, 0);
    assert_int_equal(last.status[2], 3 * CLIENTS);
}

INSIDE_CASE(test_stop_cancels_at_its_end)
{
    weft_http_server_options o = {};
    o.drain_ns = 30000000;
    begin(o);
    int fd = open_busy(GET("/ever")), begun = client();
    say(begun, "GET /hel");
    UNTIL(counters().connections == 2);
    assert_int_equal(weft_http_stop(server), 0);
    ends();
    assert_int_equal(serve_result, 0);
    assert_int_equal(result, -1);
    assert_int_equal(error, ECANCELED);
    weft_io_close(fd);
    weft_io_close(begun);
}

INSIDE_CASE(test_cancelled)
{
    begin();
    int fd = open_busy(GET("/ever")), idle = client();
    assert_int_equal(ask(idle, GET("/hello")), 200);
    weft_tasklet_cancel(serving_tasklet);
    ends();
    assert_int_equal(serve_result, -1);
    assert_int_equal(serve_error, ECANCELED);
    assert_int_equal(error, ECANCELED);
    weft_io_close(fd);
    weft_io_close(idle);
}

INSIDE_CASE(test_cancelled_in_the_drain)
{
    begin();
    int fd = open_busy(GET("/ever"));
    assert_int_equal(weft_http_stop(server), 0);
    weft_tasklet_yield(); // it waits in the drain now
    weft_tasklet_cancel(serving_tasklet);
    ends();
    assert_int_equal(serve_result, -1);
    assert_int_equal(serve_error, ECANCELED);
    weft_io_close(fd);
}

static void stop_it(weft_http_exchange *x, void *)
{
    weft_http_stop(server);
    weft_http_reply(x, 200, nullptr, "stopped", 7);
}

INSIDE_CASE(test_stop_in_a_handler)
{
    begin();
    route("GET", "/stop", stop_it);
    int fd = client();
    assert_int_equal(ask(fd, GET("/stop") GET("/hello")), 200);
    assert_true(heard_field("Connection: close"));
    is_closed(fd);
    ends();
    assert_int_equal(serve_result, 0);
}

static int second;

static void serve_second(void)
{
    result = weft_http_serve(server, second);
}

INSIDE_CASE(test_two_listeners)
{
    begin();
    char first[128];
    memcpy(first, server_address, sizeof first);
    second = weft_io_listen("tcp:127.0.0.1:0", nullptr);
    weft_tasklet *t = spawn(serve_second, true);
    weft_tasklet_yield();
    assert_int_equal(ask_once(GET("/hello")), 200);
    weft_io_address(second, WEFT_IO_LOCAL, server_address, sizeof server_address);
    assert_int_equal(ask_once(GET("/hello")), 200);
    assert_int_equal(counters().accepted, 2);
    assert_int_equal(weft_http_stop(server), 0);
    join(t);
    assert_int_equal(result, 0);
    ends();
    assert_int_equal(serve_result, 0);
    weft_io_close(second);
}

// The same server again.
INSIDE_CASE(test_serve_again)
{
    begin();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask_once(GET("/hello")), 200);
        assert_int_equal(weft_http_stop(server), 0);
        join(serving_tasklet);
        serving_tasklet = spawn(serve_it, true);
        weft_tasklet_yield();
    }
    unserve();
}

// ---- What is told ----

static int told;
static char said[256];

static void done(const weft_http_exchange *x, void *arg)
{
    told++;
    assert_ptr_equal(arg, said);
    snprintf(said, sizeof said, "%s %s %d %d", x->method, x->target, x->status, (int)x->sent);
}

INSIDE_CASE(test_done)
{
    weft_http_server_options o = {};
    o.done = done;
    o.arg = said;
    told = 0;
    begin(o);
    int fd = client();
    ask(fd, GET("/hello?x"));
    assert_string_equal(said, "GET /hello?x 200 6");
    ask(fd, GET("/none"));
    assert_string_equal(said, "GET /none 404 14");
    say(fd, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(told == 3);
    assert_string_equal(said, "HEAD /hello 200 0");
    weft_io_close(fd);
    fd = client();
    ask(fd, "bad\r\n\r\n");
    assert_int_equal(told, 4);
    assert_int_equal(strncmp(said, "  400 ", 6), 0);
    is_closed(fd);
    unserve();
}

RUN_CASES()
