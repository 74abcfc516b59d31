// Connections that are kept: how many, how long, and what is sent again.
#include "scripted.h"

#define NOTHING "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define LENGTH_5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"

static const answer three[] = {{LENGTH_5, STAY}, {LENGTH_5, STAY}, {LENGTH_5, STAY}};

SERVED_CASE(test_reuse, three)
{
    for (int i = 0; i < 3; i++)
        is_answer(get("/"), 200, "abcde");
    has_done(3, 1);
    assert_int_equal(information().idle, 1);
}

// One body is not read yet: another connection.
SERVED_CASE(test_one_at_a_time, three)
{
    weft_http_response *first = get("/"), *second = get("/");
    assert_non_null(first);
    is_answer(second, 200, "abcde");
    is_answer(get("/"), 200, "abcde");
    has_done(3, 2);
    is_answer(first, 200, "abcde");
    assert_int_equal(information().idle, 2);
}

// Closed without being read: what has come is skipped.
SERVED_CASE(test_close_skips, three)
{
    for (int i = 0; i < 3; i++) {
        weft_http_response *r = get("/");
        assert_non_null(r);
        weft_http_response_close(r);
    }
    has_done(3, 1);
}

static const answer not_again[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", STALL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n", STALL},
    {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", STALL},
    {NOTHING "HTTP/1.1 200 OK\r\n", STALL}, // more than was asked for
    {NOTHING "\r\n", STALL},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx", STALL},
    {"HTTP/1.1 204 No Content\r\n\r\nabcde", STALL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabcde", STALL}, // not read to its end
};

SERVED_CASE(test_not_reused, not_again)
{
    for (size_t i = 0; i < 8; i++) {
        weft_http_response *r = get("/");
        assert_non_null(r);
        char text[8];
        assert_true(weft_http_response_read(r, text, 8, weft_in_s(20)) >= 0);
        weft_http_response_close(r);
        assert_int_equal(information().idle, 0);
    }
    has_done(8, 8);
}

// Something comes while it is kept.
static void *send_late(void *arg)
{
    int fd = *(int *)arg;
    char head[512];
    ssize_t n = weft_io_read(fd, head, sizeof head, weft_in_s(20));
    n = n > 0 ? weft_io_write(fd, NOTHING, strlen(NOTHING), weft_in_s(20)) : n;
    return nullptr;
}

INSIDE_CASE(test_unasked_answer)
{
    memset(&server, 0, sizeof server);
    snprintf(server.address, sizeof server.address, "unix:@weft-http-late-%d", getpid());
    snprintf(server.url, sizeof server.url, "%.60s:", server.address);
    server.listener = weft_io_listen(server.address, nullptr);
    begin_client();
    int fds[2] = {-1, -1};
    for (int &fd : fds) {
        weft_tasklet *t = spawn(
            [](void *to) -> void * {
                *(int *)to = weft_io_accept(server.listener, weft_in_s(20));
                return send_late(to);
            },
            &fd, true);
        is_answer(get("/"), 200, "");
        join(t);
        assert_int_equal(information().idle, 1);
        assert_int_equal(weft_io_write(fd, NOTHING, 3, weft_in_s(20)), 3);
    }
    assert_int_equal(information().connects, 2);
    for (int fd : fds)
        weft_io_close(fd);
    end_client();
    weft_io_close(server.listener);
}

// ---- Limits ----

// So many at once, each on its own connection.
static void many(size_t n)
{
    weft_http_response *r[8];
    for (size_t i = 0; i < n; i++)
        assert_non_null(r[i] = get("/"));
    for (size_t i = 0; i < n; i++)
        is_answer(r[i], 200, "abcde");
}

static void with_limits(size_t max, size_t max_per_origin, size_t kept)
{
    answer answers[5];
    weft_http_client_options o = {};
    o.max = max;
    o.max_per_origin = max_per_origin;
    for (answer &each : answers)
        each = {LENGTH_5, STAY};
    serve(answers, 5);
    client = weft_http_client_create(&o);
    many(5);
    has_done(5, 5);
    assert_int_equal(information().idle, kept);
    end_client();
    end_server();
}

INSIDE_CASE(test_limits)
{
    with_limits(3, 4, 3);
    with_limits(4, 2, 2);
    with_limits(1, 0, 1);
    with_limits(0, 0, 5);
}

// The oldest of any origin make room.
INSIDE_CASE(test_limit_of_all)
{
    weft_http_client_options o = {};
    char first[80];
    answer answers[] = {{LENGTH_5, STAY}, {LENGTH_5, STAY}};
    o.max = 2;
    client = weft_http_client_create(&o);
    serve(answers, 2);
    many(2);
    int listener = server.listener;
    size_t open = server.open;
    snprintf(first, sizeof first, "%.79s", server.url);
    assert_int_equal(open, 2);
    serve(answers, 2);
    server.open = open; // the first server's count on
    is_answer(get("/"), 200, "abcde");
    assert_int_equal(information().idle, 2);
    while (server.open != 2)
        weft_tasklet_sleep(weft_in_us(100));
    end_client();
    while (server.open > 0)
        weft_tasklet_sleep(weft_in_us(100));
    weft_io_close(listener);
    weft_io_close(server.listener);
}

INSIDE_CASE(test_idle_time)
{
    serve(three, 3);
    begin_client(1000000); // 1 ms
    is_answer(get("/"), 200, "abcde");
    weft_tasklet_sleep(weft_in_ms(2));
    is_answer(get("/"), 200, "abcde");
    has_done(2, 2);
    end_client();
    begin_client(-1);
    is_answer(get("/"), 200, "abcde");
    assert_int_equal(information().idle, 0);
    end_client();
    end_server();
}

// ---- Ends ----

static const answer ends[] = {{NOTHING, CLOSE}, {NOTHING, CLOSE}, {NOTHING, STAY}};

// An end that has come is seen before anything is sent.
SERVED_CASE(test_ended_meanwhile, ends)
{
    for (int i = 0; i < 3; i++) {
        is_answer(get("/"), 200, "");
        while (i < 2 && server.open > 0)
            weft_tasklet_sleep(weft_in_us(100));
    }
    has_done(3, 3);
}

static const answer deaf[] = {{NOTHING, DEAF}, {NOTHING, STAY}};

static void with_deaf(const char *method, const weft_http_request_options *o, bool again)
{
    serve(deaf, again ? 2 : 1);
    begin_client();
    is_answer(get("/"), 200, "");
    if (again)
        is_answer(ask(method, "/", o), 200, "");
    else
        assert_errno(ask(method, "/", o), ECONNRESET);
    assert_int_equal(information().again, again);
    assert_int_equal(server.connections, 1 + again);
    end_client();
    end_server();
}

static ssize_t read_nothing(void *, size_t, void *)
{
    return 0;
}

INSIDE_CASE(test_sent_again)
{
    static const char *const idempotent[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
    static const char *const others[] = {"POST", "PATCH", "LOCK", "get"};
    weft_http_request_options o = {}, read = {};
    o.body = "abc";
    o.size = 3;
    read.read = read_nothing;
    for (const char *each : idempotent)
        with_deaf(each, nullptr, true);
    for (const char *each : others)
        with_deaf(each, nullptr, false);
    with_deaf("PUT", &o, true);
    with_deaf("POST", &o, false);
    with_deaf("PUT", &read, false);
}

// Not over a new connection, nor when a byte of an answer has come.
static const answer no_answer[] = {{"", CLOSE}, {NOTHING, STAY}, {"H", CLOSE}, {"", RESET}};

SERVED_CASE(test_not_sent_again, no_answer)
{
    assert_errno(get("/"), ECONNRESET);
    is_answer(get("/"), 200, "");
    assert_errno(get("/"), ECONNRESET);
    assert_errno(get("/"), ECONNRESET);
    has_done(4, 3);
}

// The second connection, too, was kept and has ended: it is sent over a new one.
static const answer both_deaf[] = {{LENGTH_5, DEAF}, {LENGTH_5, DEAF}, {LENGTH_5, STAY}};

SERVED_CASE(test_sent_again_over_a_new_one, both_deaf)
{
    many(2);
    is_answer(get("/"), 200, "abcde");
    has_done(4, 3, 1);
}

// ---- A forked child ----

static int child_asks(void)
{
    weft_http_response *r = get("/");
    return r != nullptr && r->status == 200 && information().connects == 2 ? 0 : 1;
}

// The parent's connection is not written to by two.
SERVED_CASE(test_fork, three)
{
    is_answer(get("/"), 200, "abcde");
    forks_coroutines();
    pid_t child = runner_fork();
    if (child == 0) {
        weft_io_close(server.listener);
        _exit(child_asks());
    }
    int status = -1;
    while (waitpid(child, &status, WNOHANG) == 0)
        weft_tasklet_sleep(weft_in_ms(1));
    assert_int_equal(status, 0);
    is_answer(get("/"), 200, "abcde");
    assert_int_equal(information().connects, 1);
    assert_int_equal(server.connections, 2);
}

RUN_CASES()
