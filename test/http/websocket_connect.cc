// A client's handshake, against a server that says what the test wants.
#include "../async/inside.h"

#include <http/sha1.h>
#include <weft/websocket.h>

#include "framed.h"

using namespace weft;

static const char *says;  // $ is the proof; beyond \f a byte at a time
static char asked[16384]; // what the client has sent
static char address[128], url[200];
static int listener;

static void say(int fd, const char *text, size_t n)
{
    const char *part = (const char *)memchr(text, '\f', n);
    size_t first = part != nullptr ? (size_t)(part - text) : n;
    weft_io_write(fd, text, first, weft_in_s(30));
    for (size_t i = first + 1; i < n; i++) {
        weft_tasklet_yield();
        weft_io_write(fd, text + i, 1, weft_in_s(30));
    }
}

static void answer(int fd, const char *key)
{
    char text[8192], proof[WEBSOCKET_PROOF + 1] = {};
    size_t n = 0;
    if (key != nullptr)
        websocket_proof(proof, key);
    for (const char *p = says; *p != 0; p++) {
        if (*p == '$')
            n += (size_t)snprintf(text + n, sizeof text - n, "%s", proof);
        else
            text[n++] = *p;
    }
    say(fd, text, n);
}

// One client.  After its bytes the server waits for the other end's.
static void *serve_one(void *)
{
    char *head;
    int fd = weft_io_accept(listener, weft_in_s(30));
    weft_io_buffer b = {asked, sizeof asked - 1, 0, 0};
    ssize_t n = weft_io_read_until(fd, &b, "\r\n\r\n", 4, &head, weft_in_s(30));
    asked[n > 0 ? n : 0] = 0;
    const char *key = strstr(asked, "Sec-WebSocket-Key: ");
    if (n > 0)
        answer(fd, key != nullptr ? key + strlen("Sec-WebSocket-Key: ") : nullptr);
    weft_io_shutdown(fd, SHUT_WR);
    char dropped[100];
    while (weft_io_read(fd, dropped, sizeof dropped, weft_in_s(30)) > 0)
        ;
    weft_io_close(fd);
    return nullptr;
}

static weft_websocket *connect_with(const char *answer, const char *path,
                                    const weft_websocket_options *o, weft_tasklet **server)
{
    says = answer;
    asked[0] = 0;
    *server = spawn(serve_one, nullptr, true);
    snprintf(url, sizeof url, "ws://%s%s", address + strlen("tcp:"), path);
    return weft_websocket_connect(url, o, weft_in_s(30));
}

static void with_listener(void (*body)(void))
{
    static void (*fn)(void);
    fn = body;
    inside([] {
        listener = weft_io_listen("tcp:127.0.0.1:0", nullptr);
        assert_int_equal(weft_io_address(listener, WEFT_IO_LOCAL, address, sizeof address), 0);
        fn();
        weft_io_close(listener);
    });
}

#define GOOD                                                                                       \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"            \
    "Sec-WebSocket-Accept: $\r\n"

// ---- What it asks for ----

static void is_asked(const char *line)
{
    if (strstr(asked, line) == nullptr)
        fail_msg("no \"%s\" in \"%s\"", line, asked);
}

CASE_IN(test_request, with_listener)
{
    weft_tasklet *server;
    weft_websocket_options o = {};
    char host[200];
    o.protocols = "chat, v2.chat";
    o.origin = "https://a.example";
    o.fields = "Authorization: Basic eDp5\r\nX-More: 1\r\n";
    weft_websocket *w =
        connect_with(GOOD "Sec-WebSocket-Protocol: v2.chat\r\n\r\n", "/a/b?c=d", &o, &server);
    assert_non_null(w);
    assert_string_equal(weft_websocket_protocol(w), "v2.chat");
    assert_int_equal(weft_websocket_destroy(w), 0);
    join(server);
    snprintf(host, sizeof host, "\r\nHost: %s\r\n", address + strlen("tcp:"));
    assert_memory_equal(asked, "GET /a/b?c=d HTTP/1.1\r\n", 23);
    is_asked(host);
    is_asked("\r\nUpgrade: websocket\r\n");
    is_asked("\r\nConnection: Upgrade\r\n");
    is_asked("\r\nSec-WebSocket-Version: 13\r\n");
    is_asked("\r\nSec-WebSocket-Protocol: chat, v2.chat\r\n");
    is_asked("\r\nOrigin: https://a.example\r\n");
    is_asked("\r\nAuthorization: Basic eDp5\r\nX-More: 1\r\n\r\n");
}

// Each connection has a key of its own, of 16 bytes.
CASE_IN(test_keys, with_listener)
{
    weft_tasklet *server;
    char keys[2][WEBSOCKET_KEY + 1] = {}, bytes[16];
    for (char(&key)[WEBSOCKET_KEY + 1] : keys) {
        weft_websocket *w = connect_with(GOOD "\r\n", "", nullptr, &server);
        assert_non_null(w);
        assert_null(weft_websocket_protocol(w));
        assert_int_equal(weft_websocket_destroy(w), 0);
        join(server);
        memcpy(key, strstr(asked, "Key: ") + 5, WEBSOCKET_KEY);
        assert_int_equal(base64_decode(bytes, sizeof bytes, key, WEBSOCKET_KEY), 16);
        assert_memory_equal(asked, "GET / HTTP/1.1\r\n", 16);
    }
    assert_string_not_equal(keys[0], keys[1]);
}

// ---- What it takes for an answer ----

static const struct answer_row {
    const char *text;
    int error; // 0: it is one
    const char *protocols;
} ANSWERS[] = {
    {GOOD "\r\n", 0, nullptr},
    {"HTTP/1.1 101 \r\nupgrade: WebSocket\r\nCONNECTION: keep-alive, "
     "UPGRADE\r\nsec-websocket-accept:$\r\n\r\n",
     0, nullptr},
    {"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" GOOD "\r\n", 0, nullptr},
    {"\f" GOOD "\r\n", 0, nullptr},
    {GOOD "Sec-WebSocket-Protocol: b\r\n\r\n", 0, "a, b"},
    {GOOD "\r\n", 0, "a, b"},
    {GOOD "Sec-WebSocket-Protocol: c\r\n\r\n", EPROTO, "a, b"},
    {GOOD "Sec-WebSocket-Protocol: A\r\n\r\n", EPROTO, "a"},
    {GOOD "Sec-WebSocket-Protocol: a\r\n\r\n", EPROTO, nullptr},
    {GOOD "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", EPROTO, nullptr},
    {"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: $\r\n\r\n", EPROTO, nullptr},
    {"HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: $\r\n\r\n",
     EPROTO, nullptr},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: $\r\n\r\n", EPROTO, nullptr},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", EPROTO, nullptr},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
     "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
     EPROTO, nullptr},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", EPROTO, nullptr},
    {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", EACCES, nullptr},
    {"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", EACCES, nullptr},
    {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ENOENT, nullptr},
    {"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", EPROTO, nullptr},
    {"SSH-2.0-OpenSSH_9.2\r\n", EPROTO, nullptr},
    {"HTTP/1.1 101 x\r\nUpgrade : websocket\r\n\r\n", EPROTO, nullptr},
    {"HTTP/1.1 101 Swit", ECONNRESET, nullptr},
    {"", ECONNRESET, nullptr},
};

CASE_IN(test_answers, with_listener)
{
    for (const answer_row &a : ANSWERS) {
        weft_tasklet *server;
        weft_websocket_options o = {};
        o.protocols = a.protocols;
        errno = 7777;
        weft_websocket *w = connect_with(a.text, "/", &o, &server);
        int error = w == nullptr ? errno : 0;
        if (error != a.error || (w != nullptr && errno != 7777))
            fail_msg("%s: %s", a.text, strerror(error));
        assert_int_equal(weft_websocket_destroy(w), 0);
        join(server);
    }
}

// A head that does not end.
CASE_IN(test_answer_without_end, with_listener)
{
    static char text[8000];
    weft_tasklet *server;
    size_t n = (size_t)snprintf(text, sizeof text, "HTTP/1.1 101 x\r\n");
    while (n + 100 < sizeof text)
        n += (size_t)snprintf(text + n, sizeof text - n, "A: b\r\n");
    assert_null(connect_with(text, "/", nullptr, &server));
    assert_int_equal(errno, EPROTO);
    join(server);
}

// What comes behind the answer in the same packet is not lost.
CASE_IN(test_frames_behind_the_answer, with_listener)
{
    weft_tasklet *server;
    weft_websocket_message m;
    weft_websocket *w =
        connect_with(GOOD "\r\n\x81\x05hello\x88\x02\x03\xe8", "/", nullptr, &server);
    assert_non_null(w);
    assert_int_equal(weft_websocket_read(w, &m, weft_in_s(30)), 1);
    assert_int_equal(m.size, 5);
    assert_memory_equal(m.data, "hello", 5);
    assert_int_equal(weft_websocket_read(w, &m, weft_in_s(30)), 0);
    assert_int_equal(m.code, 1000);
    assert_int_equal(weft_websocket_destroy(w), 0);
    join(server);
}

// ---- Deadlines, addresses, arguments ----

CASE_IN(test_no_answer, with_listener)
{
    snprintf(url, sizeof url, "ws://%s/", address + strlen("tcp:"));
    assert_errno(weft_websocket_connect(url, nullptr, weft_in_ms(20)), ETIMEDOUT);
}

CASE_IN(test_unix_socket, with_listener)
{
    weft_tasklet *server;
    weft_io_close(listener);
    listener = weft_io_listen("unix:@weft-websocket", nullptr);
    says = GOOD "\r\n";
    server = spawn(serve_one, nullptr, true);
    weft_websocket *w = weft_websocket_connect("unix:@weft-websocket:/a?b", nullptr, weft_in_s(30));
    assert_non_null(w);
    assert_int_equal(weft_websocket_destroy(w), 0);
    join(server);
    assert_memory_equal(asked, "GET /a?b HTTP/1.1\r\nHost: localhost\r\n", 36);
}

CASE_IN(test_arguments, with_listener)
{
    static const char *const urls[] = {
        "",           "ws:",          "ws://",           "ws:///x",       "ws://:80/",
        "http://a/",  "http:",        "ws://a:0/",       "ws://a:65536/", "ws://a:x/",
        "ws://a:-1/", "ws://a b/",    "ws://a/\r\nX: y", "ws://a/ x",     "ws://a/\xff",
        "ws://a/#b",  "ws://user@a/", "ws://[::1/",      "ws://[]/",      "ws://[a]b/",
        "ws://a\r/"};
    static const char *const fields[] = {"x",           "X: y",          "X: y\r\n\r\n",
                                         "X y\r\n",     ": y\r\n",       "X : y\r\n",
                                         "X: a\nb\r\n", "X: y\r\nZ\r\n", "X: \x01\r\n"};
    weft_websocket_options o = {};
    for (const char *each : urls) {
        errno = 0;
        if (weft_websocket_connect(each, nullptr, WEFT_NOW) != nullptr || errno != EINVAL)
            fail_msg("%s: %s", each, strerror(errno));
    }
    for (const char *each : fields) {
        o.fields = each;
        errno = 0;
        if (weft_websocket_connect("ws://a/", &o, WEFT_NOW) != nullptr || errno != EINVAL)
            fail_msg("%s: %s", each, strerror(errno));
    }
    o = {};
    o.protocols = "a\r\nX: y";
    assert_errno(weft_websocket_connect("ws://a/", &o, WEFT_NOW), EINVAL);
    o = {};
    o.origin = "a\nb";
    assert_errno(weft_websocket_connect("ws://a/", &o, WEFT_NOW), EINVAL);
    static char text[17000];
    memset(text, 'a', sizeof text - 1);
    memcpy(text, "X: ", 3);
    memcpy(text + sizeof text - 3, "\r\n", 2);
    o = {};
    o.fields = text;
    assert_errno(weft_websocket_connect("ws://a/", &o, WEFT_NOW), EMSGSIZE);
    memcpy(text, "ws://a/", 7);
    text[sizeof text - 3] = 0;
    assert_errno(weft_websocket_connect(text, nullptr, WEFT_NOW), ENAMETOOLONG);
    assert_errno(weft_websocket_connect(nullptr, nullptr, WEFT_NOW), EINVAL);
    assert_errno(weft_websocket_connect("wss://a/", nullptr, WEFT_NOW), EPROTONOSUPPORT);
    weft_io_close(listener);
    snprintf(url, sizeof url, "ws://%s/", address + strlen("tcp:"));
    assert_errno(weft_websocket_connect(url, nullptr, weft_in_s(30)), ECONNREFUSED);
    listener = weft_io_listen("tcp:127.0.0.1:0", nullptr);
}

RUN_CASES()
