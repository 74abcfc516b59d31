// Rough clients: they go away in the midst of everything, while handlers wait, write and are
// cancelled.  The others never notice, and nothing is left.
#include "served.h"

#include <weft/websocket.h>

enum { ROUGH = 24, GENTLE = 4, ROUNDS = 150 };

static uint64_t seed;

static unsigned any(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

// ---- Handlers ----

static char large[1 << 19];
static weft_tasklet *holds[8]; // those that may be cancelled

static void answer_large(weft_http_exchange *x, void *)
{
    weft_http_reply(x, 200, "text/plain", large, sizeof large);
}

static void stream(weft_http_exchange *x, void *)
{
    if (weft_http_begin(x, 200, "text/plain", WEFT_HTTP_CHUNKED) != 0)
        return;
    for (int i = 0; i < 20; i++) {
        if (weft_http_write(x, large, 1 + any(40000), soon()) < 0)
            return;
        weft_tasklet_sleep(weft_in_us(any(200)));
    }
}

static void hold(weft_http_exchange *x, void *)
{
    weft_tasklet **mine = &holds[any(8)];
    *mine = weft_tasklet_self();
    int result = weft_tasklet_sleep(weft_in_ms(1 + any(5)));
    if (*mine == weft_tasklet_self())
        *mine = nullptr;
    if (result == 0)
        weft_http_reply(x, 200, "text/plain", "held\n", 5);
}

static void cancel_one(void)
{
    weft_tasklet *&t = holds[any(8)];
    if (t != nullptr)
        weft_tasklet_cancel(t);
    t = nullptr;
}

static void events(weft_http_exchange *x, void *)
{
    for (int i = 0; i < 10 && weft_http_event(x, "e", nullptr, "a\nb", soon()) == 0; i++)
        weft_tasklet_sleep(weft_in_us(any(300)));
}

static void *write_ticks(void *w)
{
    for (int i = 0; i < 20; i++)
        if (weft_websocket_write((weft_websocket *)w, WEFT_WEBSOCKET_TEXT, large, any(30000),
                                 soon()) != 0)
            break;
    return nullptr;
}

static void talk(weft_http_exchange *x, void *)
{
    weft_websocket_options o = {};
    weft_websocket_message m;
    o.close_ns = 50000000;
    weft_websocket *w = weft_websocket_accept(x, &o, soon());
    if (w == nullptr)
        return;
    weft_tasklet *writer = spawn(write_ticks, w, true);
    while (weft_websocket_read(w, &m, soon()) > 0)
        if (weft_websocket_write(w, m.kind, m.data, m.size, soon()) != 0)
            break;
    weft_tasklet_cancel(writer);
    while (weft_tasklet_join(writer, nullptr, WEFT_NOW) != 0 && errno == ETIMEDOUT)
        if (weft_tasklet_yield() != 0 && errno != ECANCELED)
            break;
    weft_websocket_destroy(w);
}

// ---- Clients ----

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static const char *const REQUESTS[] = {
    GET("/hello"),
    GET("/large"),
    GET("/stream"),
    GET("/hold"),
    GET("/events"),
    GET("/none"),
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789",
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\nno more",
    "GET /talk HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    "\x82\x81\0\0\0\0x\x89\x80\0\0\0\0\x02\x82\0\0\0\0ab",
    "nonsense\r\n\r\n",
};
enum { KINDS = sizeof REQUESTS / sizeof *REQUESTS };

// How long the text with 0 bytes is.
static size_t size_of(unsigned kind)
{
    return kind == KINDS - 2 ? strlen(REQUESTS[kind]) + 6 + 12 : strlen(REQUESTS[kind]);
}

static void go(int fd)
{
    struct linger none = {1, 0};
    char dropped[1000];
    switch (any(4)) {
    case 0:
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
        break;
    case 1:
        weft_io_shutdown(fd, SHUT_WR);
        while (weft_io_read(fd, dropped, sizeof dropped, weft_in_ms(any(20))) > 0)
            ;
        break;
    case 2:
        weft_tasklet_sleep(weft_in_us(any(3000)));
        break;
    }
    weft_io_close(fd);
}

static void be_rough(void)
{
    static char dropped[50000];
    for (int round = 0; round < ROUNDS; round++) {
        int fd = weft_io_connect(server_address, soon());
        if (fd < 0) // it has stopped
            return;
        for (unsigned i = any(5); i > 0; i--) {
            unsigned kind = any(KINDS);
            size_t n = any(4) != 0 ? size_of(kind) : any((unsigned)size_of(kind) + 1);
            if (weft_io_write(fd, REQUESTS[kind], n, weft_in_ms(50)) < 0)
                break;
            if (any(2) != 0)
                weft_io_read(fd, dropped, 1 + any(sizeof dropped), weft_in_us(any(3000)));
        }
        go(fd);
        if (any(4) == 0)
            cancel_one();
    }
}

// Gets every answer, and all of it.
static size_t answered;
static bool go_on;

static void be_gentle(void)
{
    char text[1000];
    int fd = weft_io_connect(server_address, soon());
    while (go_on && fd >= 0) {
        static const char request[] =
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" GET("/hello");
        if (weft_io_write(fd, request, sizeof request - 1, soon()) < 0)
            break;
        hear(fd, text, sizeof text);
        if (strncmp(body_of(text), "5\r\nhello\r\n0\r\n\r\n", 15) != 0)
            break;
        hear(fd, text, sizeof text);
        if (strcmp(body_of(text), "hello\n") != 0)
            break;
        answered++;
        weft_tasklet_sleep(weft_in_us(200));
    }
    if (go_on)
        answered = 0; // it was cut
    weft_io_close(fd);
}

static void serve_roughly(int64_t drain_ns)
{
    weft_http_server_options o = {};
    o.drain_ns = drain_ns;
    memset(holds, 0, sizeof holds);
    serve(&o);
    route("GET", "/hello", hello);
    route("POST", "/hello", hello);
    route("GET", "/large", answer_large);
    route("GET", "/stream", stream);
    route("GET", "/hold", hold);
    route("GET", "/events", events);
    route("GET", "/talk", talk);
    route("POST", "/echo", echo);
}

INSIDE_CASE(test_rough_clients)
{
    weft_tasklet *rough[ROUGH], *gentle[GENTLE];
    seed = 1;
    answered = 0;
    go_on = true;
    serve_roughly(0);
    for (weft_tasklet *&each : gentle)
        each = spawn(be_gentle, true);
    for (weft_tasklet *&each : rough)
        each = spawn(be_rough, true);
    for (weft_tasklet *each : rough)
        join(each);
    assert_int_equal(ask_once(GET("/hello")), 200);
    go_on = false;
    for (weft_tasklet *each : gentle)
        join(each);
    assert_true(answered > 0);
    unserve();
}

// The same while it drains, which cancels what takes too long.
INSIDE_CASE(test_rough_clients_in_a_drain)
{
    for (uint64_t round = 0; round < 10; round++) {
        weft_tasklet *rough[ROUGH];
        seed = round;
        serve_roughly(1 + (int64_t)round * 3000000);
        for (weft_tasklet *&each : rough)
            each = spawn(be_rough, true);
        weft_tasklet_sleep(weft_in_ms(20));
        assert_int_equal(weft_http_stop(server), 0);
        join(serving_tasklet);
        assert_int_equal(serve_result, 0);
        assert_int_equal(counters().connections, 0);
        assert_int_equal(counters().idle, 0);
        weft_io_close(listener); // those that wait in its backlog
        for (weft_tasklet *each : rough)
            join(each);
        assert_int_equal(weft_http_server_destroy(server), 0);
    }
}

RUN_CASES()
