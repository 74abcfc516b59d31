// Server-sent events, as the bytes that a browser gets.
#include "served.h"

static const struct event {
    const char *event, *id, *data, *text;
} EVENTS[] = {
    {nullptr, nullptr, "hello", "data: hello\n\n"},
    {"tick", nullptr, "1", "event: tick\ndata: 1\n\n"},
    {"tick", "7", "1", "event: tick\nid: 7\ndata: 1\n\n"},
    {nullptr, "8", nullptr, "id: 8\n\n"},
    {nullptr, "", nullptr, "id: \n\n"},
    {nullptr, nullptr, "", "data: \n\n"},
    {nullptr, nullptr, " blank", "data:  blank\n\n"},
    {nullptr, nullptr, "a\nb", "data: a\ndata: b\n\n"},
    {nullptr, nullptr, "a\rb", "data: a\ndata: b\n\n"},
    {nullptr, nullptr, "a\r\nb", "data: a\ndata: b\n\n"},
    {nullptr, nullptr, "a\n\rb", "data: a\ndata: \ndata: b\n\n"},
    {nullptr, nullptr, "a\r\r\nb\n", "data: a\ndata: \ndata: b\ndata: \n\n"},
    {nullptr, nullptr, "\n", "data: \ndata: \n\n"},
    {nullptr, nullptr, "id: 9\n\ndata: x", "data: id: 9\ndata: \ndata: data: x\n\n"},
    {nullptr, nullptr, nullptr, ":\n\n"},
};

static void send_events(weft_http_exchange *x, void *)
{
    for (const event &e : EVENTS)
        if (weft_http_event(x, e.event, e.id, e.data, soon()) != 0)
            return;
}

// The body of the chunked response that was heard, with a 0.
static const char *body(void)
{
    static char all[1 << 16];
    weft_http_chunks c = {};
    const char *from = body_of(heard);
    size_t n = strlen(from), size = 0;
    while (!c.ended) {
        weft_http_text piece;
        ssize_t used = weft_http_chunks_next(&c, from, n, &piece);
        assert_true(used > 0);
        if (piece.size > 0)
            memcpy(all + size, piece.at, piece.size);
        size += piece.size;
        from += used;
        n -= (size_t)used;
    }
    all[size] = 0;
    return all;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

INSIDE_CASE(test_events)
{
    char expected[4096] = "";
    serve();
    route("GET", "/", send_events);
    for (const event &e : EVENTS)
        strcat(expected, e.text);
    assert_int_equal(ask_once(GET("/")), 200);
    assert_true(heard_field("Content-Type: text/event-stream"));
    assert_true(heard_field("Cache-Control: no-cache"));
    assert_string_equal(body(), expected);
    unserve();
}

// Each goes out at once, while the handler goes on.
static bool go_on;

static void send_one_and_wait(weft_http_exchange *x, void *)
{
    weft_http_event_retry(x, 2500000000, soon());
    weft_http_event(x, nullptr, nullptr, "now", soon());
    while (!go_on)
        weft_tasklet_sleep(weft_in_ms(1));
    weft_http_event(x, nullptr, nullptr, "later", soon());
}

INSIDE_CASE(test_events_come_at_once)
{
    size_t n = 0;
    go_on = false;
    serve();
    route("GET", "/", send_one_and_wait);
    int fd = client();
    say(fd, GET("/"));
    while (n == 0 || strstr(heard, "data: now\n\n") == nullptr) {
        ssize_t got = weft_io_read(fd, heard + n, sizeof heard - 1 - n, soon());
        assert_true(got > 0);
        heard[n += (size_t)got] = 0;
    }
    go_on = true;
    while (strstr(heard, "\r\n0\r\n\r\n") == nullptr) {
        ssize_t got = weft_io_read(fd, heard + n, sizeof heard - 1 - n, soon());
        assert_true(got > 0);
        heard[n += (size_t)got] = 0;
    }
    assert_string_equal(body(), "retry: 2500\n\ndata: now\n\ndata: later\n\n");
    weft_io_close(fd);
    unserve();
}

static char long_text[20001];

static void send_long(weft_http_exchange *x, void *)
{
    memset(long_text, 'x', sizeof long_text - 1);
    weft_http_event(x, nullptr, nullptr, long_text, soon());
}

INSIDE_CASE(test_long_event)
{
    serve();
    route("GET", "/", send_long);
    assert_int_equal(ask_once(GET("/")), 200);
    const char *text = body();
    assert_memory_equal(text, "data: ", 6);
    assert_memory_equal(text + 6, long_text, sizeof long_text - 1);
    assert_string_equal(text + 6 + sizeof long_text - 1, "\n\n");
    unserve();
}

static int errors[8];

static void send_wrongly(weft_http_exchange *x, void *)
{
    static const char *const bad[] = {"a\n", "\r", "a\r\nb"};
    size_t i = 0;
    for (const char *each : bad) {
        errors[i++] = weft_http_event(x, each, nullptr, "x", soon()) != 0 ? errno : 0;
        errors[i++] = weft_http_event(x, nullptr, each, "x", soon()) != 0 ? errno : 0;
    }
    errors[i++] = weft_http_event_retry(x, -1, soon()) != 0 ? errno : 0;
    errors[i++] = x->status;
    errno = 7777;
    weft_http_event(x, nullptr, nullptr, "good", soon());
    errors[i - 1] += errno;
}

INSIDE_CASE(test_wrong_events)
{
    serve();
    route("GET", "/", send_wrongly);
    assert_int_equal(ask_once(GET("/")), 200);
    for (int i = 0; i < 7; i++)
        assert_int_equal(errors[i], EINVAL);
    assert_int_equal(errors[7], 7777);
    assert_string_equal(body(), "data: good\n\n");
    assert_errno(weft_http_event(nullptr, nullptr, nullptr, nullptr, soon()), EINVAL);
    assert_errno(weft_http_event_retry(nullptr, 0, soon()), EINVAL);
    unserve();
}

// A client that has gone ends it.
static bool ended;

static void send_on(weft_http_exchange *x, void *)
{
    while (weft_http_event(x, nullptr, nullptr, nullptr, soon()) == 0)
        weft_tasklet_sleep(weft_in_ms(1));
    ended = true;
}

INSIDE_CASE(test_client_goes)
{
    ended = false;
    serve();
    route("GET", "/", send_on);
    int fd = client();
    say(fd, GET("/"));
    assert_true(weft_io_read(fd, heard, sizeof heard, soon()) > 0);
    weft_io_close(fd);
    UNTIL(ended);
    unserve();
}

RUN_CASES()
