// Requests and responses: what handlers get, and what clients hear.
#include "served.h"

#include <http/exchange.h>

#include <netinet/tcp.h>
#include <sys/mman.h>

// ---- The request ----

static char said[4096];

#define KEEP(...) snprintf(said, sizeof said, __VA_ARGS__)

static void keep_request(weft_http_exchange *x, void *)
{
    char value[64] = "", peer[128] = "";
    ssize_t n = weft_http_query(x, "q", value, sizeof value);
    int error = n < 0 ? errno : 0;
    const char *field = weft_http_header(x, "x-FIELD");
    weft_http_peer(x, peer, sizeof peer);
    KEEP("%s|%s|%s|%s|%d|%s|%s|%d|%.14s", x->method, x->target, x->path,
         x->query != nullptr ? x->query : "-", x->version, field != nullptr ? field : "-", value,
         error, peer);
    weft_http_reply(x, 204, nullptr, nullptr, 0);
}

INSIDE_CASE(test_request)
{
    static const struct {
        const char *request, *said;
    } table[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET|/|/|-|11|-||2|tcp:127.0.0.1:"},
        {"GET /a%20b?q=x%26y+z&r HTTP/1.1\r\nHost: a\r\nX-Field:  v w \r\n\r\n",
         "GET|/a%20b?q=x%26y+z&r|/a b|q=x%26y+z&r|11|v w|x&y z|0|tcp:127.0.0.1:"},
        {"DELETE /?r=1&q HTTP/1.1\r\nHost: a\r\nx-field:\r\n\r\n",
         "DELETE|/?r=1&q|/|r=1&q|11|||0|tcp:127.0.0.1:"},
        {"GET /? HTTP/1.1\r\nHost: a\r\n\r\n", "GET|/?|/||11|-||2|tcp:127.0.0.1:"},
        {"GET /?q=%zz HTTP/1.1\r\nHost: a\r\n\r\n", "GET|/?q=%zz|/|q=%zz|11|-||74|tcp:127.0.0.1:"},
        {"GET /x?q=%00a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
         "GET|/x?q=%00a|/x|q=%00a|10|-||0|tcp:127.0.0.1:"},
    };
    serve();
    route(nullptr, "/", keep_request);
    int fd = client();
    for (const auto &each : table) {
        assert_int_equal(ask(fd, each.request), 204);
        assert_string_equal(said, each.said);
    }
    weft_io_close(fd);
    unserve();
}

static void keep_query_errors(weft_http_exchange *x, void *)
{
    char value[4];
    int wrong = 0;
    wrong += weft_http_query(x, "none", value, sizeof value) != -1 || errno != ENOENT;
    wrong += weft_http_query(x, "long", value, sizeof value) != -1 || errno != ENOBUFS;
    wrong += weft_http_query(x, "fits", value, sizeof value) != 3 || strcmp(value, "abc") != 0;
    wrong += weft_http_query(x, "fits", value, 0) != -1 || errno != ENOBUFS;
    wrong += weft_http_query(x, "a b", value, sizeof value) != 1 || strcmp(value, "c") != 0;
    wrong += weft_http_query(nullptr, "a", value, sizeof value) != -1 || errno != EINVAL;
    wrong += weft_http_query(x, nullptr, value, sizeof value) != -1 || errno != EINVAL;
    KEEP("%d", wrong);
    weft_http_reply(x, 200, nullptr, nullptr, 0);
}

INSIDE_CASE(test_query)
{
    serve();
    route("GET", "/", keep_query_errors);
    assert_int_equal(
        ask_once("GET /?long=abcd&fits=abc&a+b=c&fits=z&%zz=1 HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    assert_string_equal(said, "0");
    unserve();
}

// ---- Bodies of requests ----

static const char SIZED[] =
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world";
static const char CHUNKED[] = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: dropped\r\n\r\n";
static const char *const BODIES[] = {SIZED, CHUNKED};
static const char ANSWERED[] = "b\r\nhello world\r\n0\r\n\r\n";

static void is_echoed(void)
{
    const char *body = body_of(heard);
    size_t n = 0;
    char text[64] = "";
    while (*body != '0') { // its chunks, however it was split
        char *end;
        size_t size = strtoul(body, &end, 16);
        memcpy(text + n, end + 2, size);
        n += size;
        body = end + 2 + size + 2;
    }
    assert_string_equal(text, "hello world");
}

INSIDE_CASE(test_body_at_every_split)
{
    serve();
    route("POST", "/echo", echo);
    int fd = client();
    for (const char *request : BODIES)
        for (size_t at = 1; at < strlen(request); at++) {
            say_bytes(fd, request, at);
            weft_tasklet_sleep(weft_in_us(200));
            assert_int_equal(ask(fd, request + at), 200);
            is_echoed();
        }
    assert_int_equal(ask(fd, SIZED), 200);
    assert_string_equal(body_of(heard), ANSWERED);
    weft_io_close(fd);
    unserve();
}

INSIDE_CASE(test_body_a_byte_at_a_time)
{
    serve();
    route("POST", "/echo", echo);
    int fd = client();
    for (const char *request : BODIES) {
        for (const char *at = request; *at != 0; at++) {
            say_bytes(fd, at, 1);
            weft_tasklet_yield();
        }
        hear(fd, heard, sizeof heard);
        is_echoed();
    }
    weft_io_close(fd);
    unserve();
}

INSIDE_CASE(test_body_limit)
{
    weft_http_server_options o = {};
    o.body = 10;
    serve(&o);
    route("POST", "/", count_body);
    int fd = client();
    assert_int_equal(ask(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789"),
                     200);
    assert_string_equal(body_of(heard), "10");
    assert_int_equal(ask(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n01234567890"),
                     413);
    assert_true(heard_field("Connection: close"));
    is_closed(fd);
    fd = client();
    assert_int_equal(ask(fd, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "a\r\n0123456789\r\n0\r\n\r\n"),
                     200);
    assert_int_equal(ask(fd, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "b\r\n01234567890\r\n0\r\n\r\n"),
                     413);
    is_closed(fd);
    unserve();
}

// The client sends much more than is read, and still hears why.
INSIDE_CASE(test_body_refused_is_heard)
{
    static char much[1 << 19];
    weft_http_server_options o = {};
    o.body = 10;
    serve(&o);
    route("POST", "/", count_body);
    for (int i = 0; i < 20; i++) {
        int fd = client();
        say(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 524288\r\n\r\n");
        say_bytes(fd, much, sizeof much);
        hear(fd, heard, sizeof heard);
        assert_string_equal(body_of(heard), "413 Content Too Large\n");
        is_closed(fd);
    }
    unserve();
}

INSIDE_CASE(test_body_malformed)
{
    serve();
    route("POST", "/", count_body);
    int fd = client();
    assert_int_equal(
        ask(fd, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"), 400);
    is_closed(fd);
    unserve();
}

INSIDE_CASE(test_body_continue)
{
    serve();
    route("POST", "/", count_body);
    route("POST", "/hello", hello);
    int fd = client();
    static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                               "Expect: 100-continue\r\n\r\n";
    assert_int_equal(ask(fd, head), 100);
    assert_string_equal(heard, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_int_equal(ask(fd, "12345"), 200);
    assert_string_equal(body_of(heard), "5");
    // One that sends the body at once needs no 100.
    say(fd, head);
    hear(fd, heard, sizeof heard);
    say(fd, "12345");
    assert_int_equal(ask(fd, ""), 200);
    char both[200];
    snprintf(both, sizeof both, "%s12345", head);
    assert_int_equal(ask(fd, both), 200);
    // Nobody asks for the body: the connection can't go on.
    assert_int_equal(ask(fd, "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                             "Expect: 100-continue\r\n\r\n"),
                     200);
    assert_true(heard_field("Connection: close"));
    is_closed(fd);
    unserve();
}

INSIDE_CASE(test_body_unread)
{
    static char much[100000];
    serve();
    route("POST", "/hello", hello);
    int fd = client();
    // A short one is dropped.
    for (const char *each : BODIES) {
        char request[256];
        snprintf(request, sizeof request, "POST /hello%s", each + strlen("POST /echo"));
        for (int i = 0; i < 3; i++) {
            assert_int_equal(ask(fd, request), 200);
            assert_string_equal(body_of(heard), "hello\n");
        }
    }
    // After a long one the connection ends, but not the response.
    say(fd, "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    hear(fd, heard, sizeof heard);
    assert_string_equal(body_of(heard), "hello\n");
    say_bytes(fd, much, sizeof much);
    is_closed(fd);
    unserve();
}

INSIDE_CASE(test_body_client_gone)
{
    serve();
    route("POST", "/", count_body);
    int fd = client();
    say(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12");
    weft_io_shutdown(fd, SHUT_WR);
    hear(fd, heard, sizeof heard);
    assert_memory_equal(heard, "HTTP/1.1 400 ", 13);
    is_closed(fd);
    unserve();
}

// ---- The response ----

static void with_fields(weft_http_exchange *x, void *)
{
    int wrong = 0;
    wrong += weft_http_set(x, "X-One", "1") != 0;
    wrong += weft_http_set(x, "Set-Cookie", "a=b") != 0;
    wrong += weft_http_set(x, "Set-Cookie", "c=d; x\ty") != 0;
    wrong += weft_http_set(x, "X-Empty", "") != 0;
    static const char *const bad[][2] = {{"X", "a\r\nEvil: 1"},
                                         {"X", "a\nb"},
                                         {"X", "\r"},
                                         {"X", " a"},
                                         {"X", "a\x7f"},
                                         {"X", "\x01"},
                                         {"X\r\nEvil", "1"},
                                         {"X:", "1"},
                                         {"", "1"},
                                         {"X Y", "1"},
                                         {"content-LENGTH", "1"},
                                         {"Date", "x"},
                                         {"connection", "x"},
                                         {"Transfer-Encoding", "chunked"},
                                         {"Upgrade", "x"},
                                         {"Keep-Alive", "x"},
                                         {"trailer", "x"}};
    for (const auto &each : bad)
        wrong += weft_http_set(x, each[0], each[1]) != -1 || errno != EINVAL;
    wrong += weft_http_set(nullptr, "a", "b") != -1 || errno != EINVAL;
    wrong += weft_http_reply(x, 200, "text/plain\r\nEvil: 1", "x", 1) != -1 || errno != EINVAL;
    wrong += weft_http_reply(x, 199, nullptr, "x", 1) != -1 || errno != EINVAL;
    wrong += weft_http_reply(x, 600, nullptr, "x", 1) != -1 || errno != EINVAL;
    wrong += weft_http_reply(x, 200, nullptr, nullptr, 1) != -1 || errno != EINVAL;
    wrong += weft_http_begin(x, 200, nullptr, -2) != -1 || errno != EINVAL;
    wrong += weft_http_write(x, "x", 1, soon()) != -1 || errno != EINVAL;
    wrong += weft_http_raw_write(x, "x", 1, soon()) != -1 || errno != EINVAL;
    wrong += weft_http_upgrade(x, "x", soon()) != -1 || errno != EINVAL;
    weft_http_reply(x, 201, nullptr, "x", 1);
    wrong += weft_http_set(x, "X-Late", "1") != -1 || errno != EALREADY;
    wrong += weft_http_reply(x, 200, nullptr, "x", 1) != -1 || errno != EALREADY;
    wrong += weft_http_begin(x, 200, nullptr, 0) != -1 || errno != EALREADY;
    wrong += weft_http_write(x, "x", 1, soon()) != -1 || errno != EINVAL;
    KEEP("%d", wrong);
}

INSIDE_CASE(test_fields)
{
    weft_http_server_options o = {};
    o.name = "weft test";
    serve(&o);
    route("GET", "/", with_fields);
    int fd = client();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 201);
        assert_string_equal(said, "0");
        assert_true(heard_field("Server: weft test"));
        assert_true(heard_field("X-One: 1"));
        assert_true(heard_field("Set-Cookie: a=b"));
        assert_true(heard_field("Set-Cookie: c=d; x\ty"));
        assert_true(heard_field("X-Empty: "));
        assert_null(strstr(heard, "Evil"));
        assert_null(strstr(heard, "Content-Type"));
        assert_null(strstr(heard, "Connection"));
        assert_non_null(strstr(heard, "\r\nDate: "));
        assert_int_equal(strlen(strstr(heard, "Date: ")) >= 35, 1);
    }
    weft_io_close(fd);
    unserve();
}

static void in_pieces(weft_http_exchange *x, void *length)
{
    char piece[3000];
    weft_http_begin(x, 200, nullptr, (int64_t)(intptr_t)length);
    for (int i = 0; i < 50; i++) {
        memset(piece, 'a' + i % 26, sizeof piece);
        if (weft_http_write(x, piece, sizeof piece, soon()) != sizeof piece)
            weft_http_abort(x);
    }
    if ((intptr_t)length >= 0 && (weft_http_write(x, "x", 1, soon()) != -1 || errno != EINVAL))
        weft_http_abort(x);
}

static bool pieces_are_right(const char *body, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (body[i] != (char)('a' + i / 3000 % 26))
            return false;
    return n == 150000;
}

// The chunks put together, in place: how many bytes.
static size_t unchunk(char *body)
{
    size_t n = 0;
    char *from = body, *end;
    for (size_t size; (size = strtoul(from, &end, 16)) > 0; from = end + 2 + size + 2) {
        memmove(body + n, end + 2, size);
        n += size;
    }
    return n;
}

static char large[1 << 22];

INSIDE_CASE(test_response_in_pieces)
{
    serve();
    route("GET", "/sized", in_pieces, (void *)150000);
    route("GET", "/chunked", in_pieces, (void *)WEFT_HTTP_CHUNKED);
    int fd = client();
    say(fd, "GET /sized HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    hear_all(fd, large, sizeof large);
    assert_true(pieces_are_right(body_of(large), strlen(body_of(large))));
    weft_io_close(fd);
    fd = client();
    say(fd, "GET /chunked HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    hear_all(fd, large, sizeof large);
    assert_non_null(strstr(large, "\r\nTransfer-Encoding: chunked\r\n"));
    char *body = (char *)body_of(large);
    assert_true(pieces_are_right(body, unchunk(body)));
    weft_io_close(fd);
    // To 1.0 it goes up to the end.
    fd = client();
    say(fd, "GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    hear_all(fd, large, sizeof large);
    assert_null(strstr(large, "Transfer-Encoding"));
    assert_non_null(strstr(large, "\r\nConnection: close\r\n"));
    assert_true(pieces_are_right(body_of(large), strlen(body_of(large))));
    weft_io_close(fd);
    unserve();
}

static const size_t LARGE = 1000000;
static char source[LARGE];

static void in_large(weft_http_exchange *x, void *length)
{
    weft_http_begin(x, 200, nullptr, (int64_t)(intptr_t)length);
    for (int i = 0; i < 3; i++)
        weft_http_write(x, source, LARGE, soon());
}

static void reply_large(weft_http_exchange *x, void *)
{
    weft_http_reply(x, 200, nullptr, source, LARGE);
}

static void fill_source(void)
{
    for (size_t i = 0; i < LARGE; i++)
        source[i] = (char)('a' + i % 23 + i / 1000 % 3);
}

// A small buffer at each end: each send takes a part.
static int narrow_client(void)
{
    int fd = client(), few = 32 << 10;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &few, sizeof few);
    return fd;
}

static void narrow_server(void)
{
    int few = 32 << 10;
    setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
}

INSIDE_CASE(test_response_larger_than_buffers)
{
    fill_source();
    serve();
    narrow_server();
    route("GET", "/sized", in_large, (void *)(3 * LARGE));
    route("GET", "/chunked", in_large, (void *)WEFT_HTTP_CHUNKED);
    route("GET", "/reply", reply_large);
    static const char *const targets[] = {"sized", "chunked", "reply"};
    for (const char *each : targets) {
        char request[128];
        int fd = narrow_client();
        snprintf(request, sizeof request,
                 "GET /%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", each);
        say(fd, request);
        hear_all(fd, large, sizeof large);
        weft_io_close(fd);
        char *body = (char *)body_of(large);
        size_t n = strcmp(each, "chunked") == 0 ? unchunk(body) : strlen(body);
        assert_int_equal(n, strcmp(each, "reply") == 0 ? LARGE : 3 * LARGE);
        for (size_t at = 0; at < n; at += LARGE)
            assert_memory_equal(body + at, source, LARGE);
    }
    unserve();
}

// ---- Files ----

static int file;

static void send_file(weft_http_exchange *x, void *size)
{
    weft_http_begin(x, 200, nullptr, (int64_t)(intptr_t)size);
    size_t n = (intptr_t)size < 0 ? LARGE : (size_t)(intptr_t)size;
    ssize_t sent = weft_http_send_file(x, file, 0, n, soon());
    KEEP("%zd", sent);
}

static size_t get_file(void)
{
    int fd = narrow_client();
    say(fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    size_t n = hear_all(fd, large, sizeof large);
    weft_io_close(fd);
    return n;
}

INSIDE_CASE(test_send_file)
{
    static const intptr_t sizes[] = {0, 1, 16384, 16385, 100000, LARGE, WEFT_HTTP_CHUNKED};
    fill_source();
    file = memfd_create("file", MFD_CLOEXEC);
    assert_int_equal(write(file, source, LARGE), LARGE);
    for (intptr_t size : sizes) {
        serve();
        narrow_server();
        route("GET", "/", send_file, (void *)size);
        get_file();
        char *body = (char *)body_of(large);
        size_t n = size < 0 ? unchunk(body) : strlen(body), all = size < 0 ? LARGE : (size_t)size;
        assert_int_equal(n, all);
        assert_memory_equal(body, source, all);
        assert_int_equal(atoi(said), all);
        unserve();
    }
    close(file);
}

// One that has become shorter is never taken for the whole.
INSIDE_CASE(test_send_file_short)
{
    static const int sizes[] = {100, 50000};
    for (int size : sizes) {
        file = memfd_create("file", MFD_CLOEXEC);
        assert_int_equal(write(file, source, (size_t)size / 2), size / 2);
        serve();
        route("GET", "/", send_file, (void *)(intptr_t)size);
        int fd = client();
        say(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        is_reset(fd);
        assert_int_equal(atoi(said), size / 2);
        assert_int_equal(counters().status[0], 1);
        unserve();
        close(file);
    }
}

// What is sent is sent at once, and every byte is counted.
static void keep_no_delay(weft_http_exchange *x, void *)
{
    int on = 0;
    socklen_t size = sizeof on;
    getsockopt(weft::exchange_fd(x), IPPROTO_TCP, TCP_NODELAY, &on, &size);
    KEEP("%d", on);
    weft_http_reply(x, 200, nullptr, said, 1);
}

INSIDE_CASE(test_no_delay)
{
    serve();
    route("GET", "/", keep_no_delay);
    int fd = client();
    say(fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    size_t n = hear_all(fd, heard, sizeof heard);
    assert_string_equal(said, "1");
    assert_int_equal(counters().out, n);
    weft_io_close(fd);
    unserve();
}

// ---- Handlers that leave something undone ----

static void nothing(weft_http_exchange *, void *)
{
}

static void too_little(weft_http_exchange *x, void *)
{
    weft_http_begin(x, 200, nullptr, 10);
    weft_http_write(x, "12345", 5, soon());
}

static void give_up(weft_http_exchange *x, void *)
{
    weft_http_begin(x, 200, nullptr, WEFT_HTTP_CHUNKED);
    weft_http_write(x, "12345", 5, soon());
    weft_http_flush(x, soon());
    weft_http_abort(x);
    ssize_t n = weft_http_write(x, "12345", 5, soon());
    KEEP("%zd %d", n, errno);
}

INSIDE_CASE(test_handler_incomplete)
{
    serve();
    route("GET", "/nothing", nothing);
    route("GET", "/little", too_little);
    route("GET", "/up", give_up);
    int fd = client();
    assert_int_equal(ask(fd, "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"), 500);
    assert_string_equal(body_of(heard), "500 Internal Server Error\n");
    assert_int_equal(ask(fd, "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"), 500);
    say(fd, "GET /little HTTP/1.1\r\nHost: a\r\n\r\n");
    is_reset(fd);
    fd = client();
    say(fd, "GET /up HTTP/1.1\r\nHost: a\r\n\r\n");
    is_reset(fd);
    char expected[32];
    snprintf(expected, sizeof expected, "-1 %d", EPIPE);
    assert_string_equal(said, expected);
    unserve();
}

// What is written goes out while the handler waits for something else.
static bool go_on;

static void slowly(weft_http_exchange *x, void *)
{
    weft_http_begin(x, 200, nullptr, WEFT_HTTP_CHUNKED);
    weft_http_write(x, "first", 5, soon());
    while (!go_on)
        weft_tasklet_sleep(weft_in_ms(1));
    weft_http_write(x, "second", 6, soon());
}

INSIDE_CASE(test_output_goes_while_the_handler_waits)
{
    char text[4096] = "";
    serve();
    route("GET", "/slow", slowly);
    route("GET", "/hello", hello);
    go_on = false;
    int fd = client();
    // Also what was answered before.
    say(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    size_t n = 0;
    while (strstr(text, "5\r\nfirst\r\n") == nullptr) {
        ssize_t got = weft_io_read(fd, text + n, sizeof text - 1 - n, soon());
        assert_true(got > 0);
        n += (size_t)got;
        text[n] = 0;
    }
    assert_non_null(strstr(text, "hello\n"));
    assert_int_equal(ask_once("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), 200); // others are served
    go_on = true;
    n = 0;
    while (n < 16)
        n += (size_t)weft_io_read(fd, text + n, 16 - n, soon());
    assert_memory_equal(text, "6\r\nsecond\r\n0\r\n\r\n", 16);
    weft_io_close(fd);
    unserve();
}

// ---- Another protocol ----

static void upper(weft_http_exchange *x, void *)
{
    char text[64];
    weft_http_set(x, "X-Field", "1");
    if (weft_http_upgrade(x, "upper", soon()) != 0)
        return;
    for (ssize_t n; (n = weft_http_raw_read(x, text, sizeof text, soon())) > 0;) {
        for (ssize_t i = 0; i < n; i++)
            text[i] = (char)(text[i] & ~32);
        weft_http_raw_write(x, text, (size_t)n, soon());
    }
}

INSIDE_CASE(test_upgrade)
{
    char text[64] = "";
    serve();
    route("GET", "/", upper);
    assert_int_equal(ask_once("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 500);
    int fd = client();
    say(fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: upper\r\n\r\nabc");
    hear(fd, heard, sizeof heard);
    assert_string_equal(heard, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                               "Upgrade: upper\r\nX-Field: 1\r\n\r\n");
    assert_int_equal(weft_io_read_all(fd, text, 3, soon()), 3);
    assert_string_equal(text, "ABC");
    for (int i = 0; i < 100; i++) {
        say(fd, "xyz");
        assert_int_equal(weft_io_read_all(fd, text, 3, soon()), 3);
        assert_string_equal(text, "XYZ");
    }
    weft_io_shutdown(fd, SHUT_WR);
    is_closed(fd);
    unserve();
}

// Not before the body is read: what is left of it is no byte of the protocol.
static void upper_behind_body(weft_http_exchange *x, void *)
{
    char text[64];
    int wrong = weft_http_upgrade(x, "upper", soon()) != -1 || errno != EINVAL;
    wrong += weft_http_read(x, text, 1, soon()) != 1;
    wrong += weft_http_upgrade(x, "upper", soon()) != -1 || errno != EINVAL;
    while (weft_http_read(x, text, sizeof text, soon()) > 0)
        ;
    KEEP("%d", wrong);
    upper(x, nullptr);
}

INSIDE_CASE(test_upgrade_behind_body)
{
    static const char *const bodies[] = {
        "Content-Length: 4\r\n\r\nbody",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"};
    serve();
    route("POST", "/", upper_behind_body);
    for (const char *body : bodies) {
        char text[8] = "";
        int fd = client();
        say(fd, "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: upper\r\n");
        say(fd, body);
        say(fd, "abc");
        hear(fd, heard, sizeof heard);
        assert_string_equal(said, "0");
        assert_int_equal(weft_io_read_all(fd, text, 3, soon()), 3);
        assert_string_equal(text, "ABC");
        weft_io_close(fd);
    }
    unserve();
}

RUN_CASES()
