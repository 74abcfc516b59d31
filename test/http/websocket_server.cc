// WebSockets of the server: handshakes, against raw bytes; and messages, against our client and
// python3-websockets (left out if it is not there).
#include "framed.h"
#include "served.h"

#include <weft/subprocess.h>
#include <weft/websocket.h>

static weft_websocket_options opts;
static int accept_error, last_error; // of the last handler
static size_t handlers, messages;
static char agreed[64];

// Sends every message back, until something fails.
static void echo_messages(weft_http_exchange *x, void *)
{
    weft_websocket_message m;
    weft_websocket *w = weft_websocket_accept(x, &opts, soon());
    accept_error = w == nullptr ? errno : 0;
    if (w == nullptr)
        return;
    const char *protocol = weft_websocket_protocol(w);
    snprintf(agreed, sizeof agreed, "%s", protocol != nullptr ? protocol : "-");
    handlers++;
    int result;
    while ((result = weft_websocket_read(w, &m, soon())) > 0) {
        messages++;
        if (weft_websocket_write(w, m.kind, m.data, m.size, soon()) != 0)
            break;
    }
    last_error = result == 0 ? 0 : errno;
    weft_websocket_destroy(w);
    handlers--;
}

static void with_server(void (*body)(void))
{
    static void (*fn)(void);
    fn = body;
    opts = {};
    handlers = messages = 0;
    inside([] {
        serve();
        route(nullptr, "/echo", echo_messages);
        fn();
        UNTIL(handlers == 0);
        unserve();
    });
}

// ---- Handshakes ----

#define BEGIN "GET /echo HTTP/1.1\r\nHost: a.example:81\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"

static const struct handshake {
    const char *request;
    int status, error;
    const char *origins;
} HANDSHAKES[] = {
    {BEGIN UPGRADE KEY VERSION "\r\n", 101, 0, nullptr},
    {BEGIN "upgrade: h2c, WebSocket\r\nCONNECTION: keep-alive, Upgrade\r\n" KEY VERSION "\r\n", 101,
     0, nullptr},
    {BEGIN
     "Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: keep-alive\r\nConnection: upgrade\r\n" KEY
         VERSION "\r\n",
     101, 0, nullptr},
    {BEGIN UPGRADE KEY VERSION "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 101, 0,
     nullptr},
    {BEGIN "\r\n", 400, EBADMSG, nullptr},
    {BEGIN "Connection: Upgrade\r\n" KEY VERSION "\r\n", 400, EBADMSG, nullptr},
    {BEGIN "Upgrade: websocket\r\n" KEY VERSION "\r\n", 400, EBADMSG, nullptr},
    {BEGIN "Upgrade: websockets\r\nConnection: Upgrade\r\n" KEY VERSION "\r\n", 400, EBADMSG,
     nullptr},
    {"POST /echo HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY VERSION "\r\n", 400, EBADMSG, nullptr},
    {"GET /echo HTTP/1.0\r\nHost: a\r\n" UPGRADE KEY VERSION "\r\n", 400, EBADMSG, nullptr},
    {BEGIN UPGRADE KEY VERSION "Content-Length: 3\r\n\r\nabc", 400, EBADMSG, nullptr},
    {BEGIN UPGRADE KEY "\r\n", 426, EBADMSG, nullptr},
    {BEGIN UPGRADE KEY "Sec-WebSocket-Version: 8\r\n\r\n", 426, EBADMSG, nullptr},
    {BEGIN UPGRADE KEY "Sec-WebSocket-Version: 13, 8\r\n\r\n", 426, EBADMSG, nullptr},
    {BEGIN UPGRADE KEY VERSION VERSION "\r\n", 426, EBADMSG, nullptr},
    {BEGIN UPGRADE VERSION "\r\n", 400, EBADMSG, nullptr},
    {BEGIN UPGRADE KEY KEY VERSION "\r\n", 400, EBADMSG, nullptr},
    {BEGIN UPGRADE "Sec-WebSocket-Key: \r\n" VERSION "\r\n", 400, EBADMSG, nullptr},
    {BEGIN UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n" VERSION "\r\n", 400, EBADMSG,
     nullptr},
    {BEGIN UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQA=\r\n" VERSION "\r\n", 400, EBADMSG,
     nullptr},
    {BEGIN UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j-Q==\r\n" VERSION "\r\n", 400, EBADMSG,
     nullptr},
    // Origins
    {BEGIN UPGRADE KEY VERSION "Origin: http://a.example:81\r\n\r\n", 101, 0, nullptr},
    {BEGIN UPGRADE KEY VERSION "Origin: https://A.example:81\r\n\r\n", 101, 0, nullptr},
    {BEGIN UPGRADE KEY VERSION "Origin: http://a.example\r\n\r\n", 403, EACCES, nullptr},
    {BEGIN UPGRADE KEY VERSION "Origin: http://b.example:81\r\n\r\n", 403, EACCES, nullptr},
    {BEGIN UPGRADE KEY VERSION "Origin: null\r\n\r\n", 403, EACCES, nullptr},
    {BEGIN UPGRADE KEY VERSION "Origin: http://a.example:81\r\nOrigin: http://b\r\n\r\n", 403,
     EACCES, nullptr},
    {BEGIN UPGRADE KEY VERSION "Origin: null\r\n\r\n", 101, 0, "*"},
    {BEGIN UPGRADE KEY VERSION "Origin: https://c\r\n\r\n", 101, 0, "https://b, https://c"},
    {BEGIN UPGRADE KEY VERSION "Origin: http://c\r\n\r\n", 403, EACCES, "https://b, https://c"},
    {BEGIN UPGRADE KEY VERSION "Origin: http://a.example:81\r\n\r\n", 403, EACCES, "https://b"},
    {BEGIN UPGRADE KEY VERSION "\r\n", 101, 0, "https://b"},
};

// Hears the head alone.
static int shake_hands(int fd, const char *request)
{
    say(fd, request);
    hear(fd, heard, sizeof heard);
    return atoi(heard + strlen("HTTP/1.1 "));
}

CASE_IN(test_handshakes, with_server)
{
    for (const handshake &h : HANDSHAKES) {
        opts.origins = h.origins;
        int fd = client(), status = shake_hands(fd, h.request);
        if (status != h.status || accept_error != h.error)
            fail_msg("%s: %d, %s", h.request, status, strerror(accept_error));
        if (status == 101) {
            assert_true(heard_field("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
            assert_true(heard_field("Upgrade: websocket"));
            assert_true(heard_field("Connection: Upgrade"));
        }
        assert_null(strstr(heard, "Sec-WebSocket-Extensions"));
        assert_null(strstr(heard, "Sec-WebSocket-Protocol"));
        assert_int_equal(heard_field("Sec-WebSocket-Version: 13"), status == 426);
        if (status == 426)
            assert_true(heard_field("Upgrade: websocket"));
        weft_io_close(fd);
        UNTIL(handlers == 0);
    }
}

CASE_IN(test_subprotocols, with_server)
{
    static const char *const rows[][3] = {
        {"v2, v1", "Sec-WebSocket-Protocol: v1, v2\r\n", "v2"},
        {"v2, v1", "Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: v2\r\n", "v2"},
        {"v2,v1", "Sec-WebSocket-Protocol: v3,v1\r\n", "v1"},
        {"v2, v1", "Sec-WebSocket-Protocol: V1, v\r\n", "-"},
        {"v2, v1", "", "-"},
        {nullptr, "Sec-WebSocket-Protocol: v1\r\n", "-"},
        {"", "Sec-WebSocket-Protocol: v1\r\n", "-"},
    };
    for (const char *const(&row)[3] : rows) {
        char request[1000], line[100];
        opts.protocols = row[0];
        snprintf(request, sizeof request, BEGIN UPGRADE KEY VERSION "%s\r\n", row[1]);
        snprintf(line, sizeof line, "Sec-WebSocket-Protocol: %s", row[2]);
        int fd = client();
        assert_int_equal(shake_hands(fd, request), 101);
        assert_string_equal(agreed, row[2]);
        assert_int_equal(heard_field(line), row[2][0] != '-');
        weft_io_close(fd);
        UNTIL(handlers == 0);
    }
}

// ---- Raw frames ----

static framed in, out;
static told frames;

static int raw_client(void)
{
    int fd = client();
    assert_int_equal(shake_hands(fd, BEGIN UPGRADE KEY VERSION "\r\n"), 101);
    return fd;
}

// Says these, and hears all up to the end, which is no reset.
static const char *exchange_frames(int fd, const char *texts)
{
    in.size = frames.size = 0;
    frames.text[0] = 0;
    put_all(&in, texts, true);
    say_bytes(fd, in.bytes, in.size);
    ssize_t n = weft_io_read_all(fd, out.bytes, sizeof out.bytes, soon());
    char byte;
    assert_int_equal(weft_io_read(fd, &byte, 1, soon()), 0);
    tell_frames(&frames, out.bytes, (size_t)n, false);
    weft_io_close(fd);
    return frames.text;
}

CASE_IN(test_frames, with_server)
{
    assert_string_equal(exchange_frames(raw_client(), "T:a P:p b:x C:y X:1000:bye"),
                        "T:a O:p B:xy X:1000");
    assert_string_equal(exchange_frames(raw_client(), "T:a R1T:b"), "T:a X:1002");
    assert_int_equal(last_error, EBADMSG);
    assert_string_equal(exchange_frames(raw_client(), "T:%ff"), "X:1007");
    assert_int_equal(last_error, EILSEQ);
    opts.limit = 3;
    assert_string_equal(exchange_frames(raw_client(), "T:abc T:abcd"), "T:abc X:1009");
    assert_int_equal(last_error, EMSGSIZE);
}

// Frames that come with the request, which a client must not send so early, are not lost.
CASE_IN(test_frames_behind_the_request, with_server)
{
    int fd = client();
    in.size = 0;
    memcpy(in.bytes, BEGIN UPGRADE KEY VERSION "\r\n",
           in.size = strlen(BEGIN UPGRADE KEY VERSION "\r\n"));
    put_all(&in, "T:early X:", true);
    say_bytes(fd, in.bytes, in.size);
    assert_true(hear_all(fd, heard, sizeof heard) > 0);
    assert_non_null(memmem(body_of(heard), 7,
                           "\x81\x05"
                           "early",
                           7));
    weft_io_close(fd);
}

// What a client sends on does not keep it from hearing why.
CASE_IN(test_error_before_much_more, with_server)
{
    static char more[400000];
    int fd = raw_client();
    in.size = frames.size = 0;
    put_all(&in, "C:x", true);
    say_bytes(fd, in.bytes, in.size);
    weft_io_write(fd, more, sizeof more, soon());
    ssize_t n = weft_io_read_all(fd, out.bytes, sizeof out.bytes, soon());
    assert_true(n > 0);
    tell_frames(&frames, out.bytes, (size_t)n, false);
    assert_string_equal(frames.text, "X:1002");
    weft_io_close(fd);
}

static const struct linger NO_LINGER = {1, 0};

CASE_IN(test_client_goes, with_server)
{
    int fd = raw_client();
    UNTIL(handlers == 1);
    weft_io_close(fd);
    UNTIL(handlers == 0);
    assert_int_equal(last_error, ECONNRESET);
    fd = raw_client();
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &NO_LINGER, sizeof NO_LINGER);
    weft_io_close(fd);
    UNTIL(handlers == 0);
    assert_int_equal(last_error, ECONNRESET);
}

static char large[1 << 20];

static void write_on(weft_http_exchange *x, void *)
{
    weft_websocket *w = weft_websocket_accept(x, &opts, soon());
    handlers++;
    while (weft_websocket_write(w, WEFT_WEBSOCKET_BINARY, large, sizeof large, soon()) == 0)
        messages++;
    last_error = errno;
    assert_int_equal(weft_websocket_destroy(w), 0);
    handlers--;
}

CASE_IN(test_client_goes_while_it_is_written_to, with_server)
{
    route("GET", "/echo/flood", write_on);
    int fd = client();
    assert_int_equal(
        shake_hands(fd, "GET /echo/flood HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY VERSION "\r\n"), 101);
    UNTIL(handlers == 1);
    weft_io_read(fd, heard, sizeof heard, soon());
    weft_io_close(fd);
    UNTIL(handlers == 0);
    assert_true(last_error == EPIPE || last_error == ECONNRESET);
}

// ---- Our client ----

static char url[200];

static weft_websocket *connect_to(const char *path)
{
    snprintf(url, sizeof url, "ws://%s%s", server_address + strlen("tcp:"), path);
    weft_websocket *w = weft_websocket_connect(url, &opts, soon());
    assert_non_null(w);
    return w;
}

CASE_IN(test_echo, with_server)
{
    weft_websocket_message m;
    weft_websocket *w = connect_to("/echo");
    static const size_t sizes[] = {0, 1, 125, 126, 5000, 65535, 65536, sizeof large};
    memset(large, 'x', sizeof large);
    for (size_t n : sizes) {
        assert_int_equal(weft_websocket_write(w, WEFT_WEBSOCKET_TEXT, large, n, soon()), 0);
        assert_int_equal(weft_websocket_read(w, &m, soon()), 1);
        assert_int_equal(m.kind, WEFT_WEBSOCKET_TEXT);
        assert_int_equal(m.size, n);
        assert_memory_equal(m.data, large, n);
    }
    assert_int_equal(weft_websocket_close(w, 1000, "bye", soon()), 0);
    UNTIL(handlers == 0);
    assert_int_equal(last_error, 0);
    assert_int_equal(weft_websocket_destroy(w), 0);
}

static size_t clients;

static void *converse(void *)
{
    weft_websocket_message m;
    char text[100];
    weft_websocket *w = weft_websocket_connect(url, &opts, soon());
    bool good = w != nullptr;
    for (int i = 0; i < 50 && good; i++) {
        size_t n = (size_t)snprintf(text, sizeof text, "%d of %p", i, (void *)w);
        good = weft_websocket_write(w, WEFT_WEBSOCKET_TEXT, text, n, soon()) == 0 &&
               weft_websocket_read(w, &m, soon()) == 1 && m.size == n &&
               memcmp(m.data, text, n) == 0;
    }
    clients += good && weft_websocket_close(w, 1000, nullptr, soon()) == 0;
    weft_websocket_destroy(w);
    return nullptr;
}

CASE_IN(test_many_clients, with_server)
{
    weft_tasklet *t[100];
    snprintf(url, sizeof url, "ws://%s/echo", server_address + strlen("tcp:"));
    clients = 0;
    for (weft_tasklet *&each : t)
        each = spawn(converse, nullptr, true);
    for (weft_tasklet *each : t)
        join(each);
    assert_int_equal(clients, 100);
    assert_int_equal(messages, 5000);
}

// A handler that reads and another tasklet that writes.
static weft_websocket *shared;
static size_t echoed;

static void *write_beside(void *)
{
    char text[32];
    for (int i = 0; i < 1000; i++) {
        size_t n = (size_t)snprintf(text, sizeof text, "tick %d", i);
        if (weft_websocket_write(shared, WEFT_WEBSOCKET_TEXT, text, n, soon()) != 0)
            break;
    }
    return nullptr;
}

static void read_beside(weft_http_exchange *x, void *)
{
    weft_websocket_message m;
    handlers++;
    shared = weft_websocket_accept(x, &opts, soon());
    weft_tasklet *t = spawn(write_beside, nullptr, true);
    while (weft_websocket_read(shared, &m, soon()) > 0)
        echoed++;
    weft_tasklet_join(t, nullptr, soon());
    weft_websocket_destroy(shared);
    handlers--;
}

CASE_IN(test_two_tasklets, with_server)
{
    weft_websocket_message m;
    route("GET", "/echo/two", read_beside);
    echoed = 0;
    weft_websocket *w = connect_to("/echo/two");
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(weft_websocket_write(w, WEFT_WEBSOCKET_BINARY, large, (size_t)i, soon()),
                         0);
        if (i % 50 == 0)
            assert_int_equal(weft_websocket_ping(w, "ping", 4, soon()), 0);
        assert_int_equal(weft_websocket_read(w, &m, soon()), 1);
        assert_int_equal(atoi(m.data + 5), i);
    }
    assert_int_equal(weft_websocket_close(w, 1000, nullptr, soon()), 0);
    weft_websocket_destroy(w);
    UNTIL(handlers == 0);
    assert_int_equal(echoed, 1000);
}

// ---- Draining ----

CASE(test_drain)
{
    opts = {};
    handlers = 0;
    inside([] {
        serve();
        route(nullptr, "/echo", echo_messages);
        weft_websocket_message m;
        weft_websocket *w[3];
        for (weft_websocket *&each : w)
            each = connect_to("/echo");
        UNTIL(handlers == 3);
        assert_int_equal(weft_http_stop(server), 0);
        for (weft_websocket *each : w) {
            assert_int_equal(weft_websocket_read(each, &m, soon()), 0);
            assert_int_equal(m.code, WEFT_WEBSOCKET_GOING_AWAY);
            assert_int_equal(weft_websocket_destroy(each), 0);
        }
        join(serving_tasklet);
        assert_int_equal(serve_result, 0);
        assert_int_equal(handlers, 0);
        assert_int_equal(last_error, 0);
        assert_int_equal(weft_http_server_destroy(server), 0);
        weft_io_close(listener);
    });
}

// One that does not answer is not waited for longer than close_ns.
CASE(test_drain_without_an_answer)
{
    opts = {};
    opts.close_ns = 20000000;
    handlers = 0;
    inside([] {
        serve();
        route(nullptr, "/echo", echo_messages);
        int fd = raw_client();
        UNTIL(handlers == 1);
        assert_int_equal(weft_http_stop(server), 0);
        UNTIL(handlers == 0);
        assert_int_equal(last_error, ETIMEDOUT);
        frames.size = 0;
        ssize_t n = weft_io_read_all(fd, out.bytes, sizeof out.bytes, soon());
        tell_frames(&frames, out.bytes, (size_t)n, false);
        assert_string_equal(frames.text, "X:1001");
        weft_io_close(fd);
        join(serving_tasklet);
        assert_int_equal(serve_result, 0);
        assert_int_equal(weft_http_server_destroy(server), 0);
        weft_io_close(listener);
    });
}

// ---- Another's client ----

static const char PYTHON[] =
    "import asyncio, sys, websockets\n"
    "async def main(url):\n"
    "    async with websockets.connect(url, max_size=None, subprotocols=['x', 'v1']) as w:\n"
    "        assert w.subprotocol == 'v1', w.subprotocol\n"
    "        for m in ['', 'hello', '\\u00e4\\U0001f600' * 1000, b'', bytes(range(256)) * 4000, "
    "'x' * 70000]:\n"
    "            await w.send(m)\n"
    "            assert await w.recv() == m\n"
    "        await w.send(['frag', 'men', 'ted'])\n"
    "        assert await w.recv() == 'fragmented'\n"
    "        for i in range(1000):\n"
    "            await w.send(str(i))\n"
    "        for i in range(1000):\n"
    "            assert await w.recv() == str(i)\n"
    "        for data in [b'', b'ping', b'x' * 125]:\n"
    "            await (await w.ping(data))\n"
    "        await w.close(3001, 'bye')\n"
    "        assert w.close_code == 3001, w.close_code\n"
    "    async with websockets.connect(url) as w:\n"
    "        try:\n"
    "            await w.send('x' * (3 << 20))\n"
    "            await w.recv()\n"
    "        except websockets.ConnectionClosed as e:\n"
    "            assert e.rcvd.code == 1009, e\n"
    "            print('good')\n"
    "asyncio.run(main(sys.argv[1]))\n";

CASE_IN(test_python_client, with_server)
{
    const char *const probe[] = {"/usr/bin/python3", "-c", "import websockets", nullptr};
    const char *const argv[] = {"/usr/bin/python3", "-c", PYTHON, url, nullptr};
    weft_subprocess_options o = {};
    weft_subprocess_result r;
    o.out.kind = o.err.kind = WEFT_STREAM_PIPE;
    bool there = weft_subprocess_run(probe, &o, &r, soon()) == 0 && r.status == 0;
    weft_subprocess_result_free(&r);
    if (!there) {
        print_message("left out, needs python3-websockets\n");
        return;
    }
    opts.protocols = "v1";
    snprintf(url, sizeof url, "ws://%s/echo", server_address + strlen("tcp:"));
    assert_int_equal(weft_subprocess_run(argv, &o, &r, weft_in_s(50)), 0);
    if (r.status != 0)
        fail_msg("status %d: %.*s", r.status, (int)r.err.size, r.err.data);
    assert_int_equal(r.out.size, 5);
    weft_subprocess_result_free(&r);
}

RUN_CASES()
