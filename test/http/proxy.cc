// The reverse proxy: a server of ours before others, scripted ones and ours.
#include "scripted.h"

#include <weft/http.h>

#include <sys/resource.h>

#define LENGTH_5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"

// ---- The proxy, and who asks it ----

static struct {
    weft_http_server *server;
    weft_http_proxy *proxy;
    int listener;
    weft_tasklet *serves;
    char url[80], address[64];
} front;

static bool on_unix;
static int64_t drain_ns;       // of the front; 0: as usual
static const char *front_name; // its field Server

static void *serve_front(void *)
{
    weft_http_serve(front.server, front.listener);
    return nullptr;
}

static void begin_front(const char *const *addresses, size_t n,
                        const weft_http_proxy_options *o = nullptr)
{
    front.proxy = weft_http_proxy_open(addresses, n, o);
    weft_http_server_options so = {};
    so.drain_ns = drain_ns;
    so.name = front_name;
    front.server = weft_http_server_create(&so);
    assert_non_null(front.proxy);
    assert_int_equal(
        weft_http_route(front.server, nullptr, "/", weft_http_proxy_handler, front.proxy), 0);
    snprintf(front.address, sizeof front.address, "unix:@weft-http-front-%d", getpid());
    front.listener = weft_io_listen(on_unix ? front.address : "tcp:127.0.0.1:0", nullptr);
    assert_true(front.listener >= 0);
    weft_io_address(front.listener, WEFT_IO_LOCAL, front.address, sizeof front.address);
    snprintf(front.url, sizeof front.url, "http://%.60s", front.address + 4);
    front.serves = spawn(serve_front, nullptr, true);
    begin_client();
    weft_tasklet_yield();
}

static void end_front(void)
{
    end_client();
    weft_http_stop(front.server);
    join(front.serves);
    weft_io_close(front.listener);
    assert_int_equal(weft_http_server_destroy(front.server), 0);
    assert_int_equal(weft_http_proxy_destroy(front.proxy), 0);
}

// Before the scripted server alone.
static void begin_proxied(const answer *answers, size_t n,
                          const weft_http_proxy_options *o = nullptr)
{
    const char *address = server.address;
    serve(answers, n);
    begin_front(&address, 1, o);
}

static void end_proxied(void)
{
    end_front();
    end_server();
}

static weft_http_response *ask_front(const char *method, const char *path,
                                     const weft_http_request_options *o = nullptr)
{
    char url[256];
    snprintf(url, sizeof url, "%.79s%.160s", front.url, path);
    return weft_http_request(client, method, url, o, weft_in_s(20));
}

static void front_is(const char *path, int status, const char *body)
{
    is_answer(ask_front("GET", path), status, body);
}

static weft_http_proxy_information proxy_information(void)
{
    weft_http_proxy_information i;
    assert_int_equal(weft_http_proxy_statistics(front.proxy, &i), 0);
    return i;
}

#define PROXIED_CASE(fn, answers)                                                                  \
    static void fn##_proxied(void);                                                                \
    INSIDE_CASE(fn)                                                                                \
    {                                                                                              \
        begin_proxied(answers, sizeof answers / sizeof answers[0]);                                \
        fn##_proxied();                                                                            \
        end_proxied();                                                                             \
    }                                                                                              \
    static void fn##_proxied(void)

// Sends this, and all that comes until the end is in `text`; -1: it ended with a reset.
static char text[1 << 16];

static int exchange_raw(const char *request)
{
    int fd = weft_io_connect(front.address, weft_in_s(20));
    size_t n = strlen(request), all = 0;
    assert_int_equal(weft_io_write(fd, request, n, weft_in_s(20)), n);
    ssize_t got;
    while ((got = weft_io_read(fd, text + all, sizeof text - all - 1, weft_in_s(20))) > 0)
        all += (size_t)got;
    text[all] = 0;
    int error = got < 0 ? errno : 0;
    weft_io_close(fd);
    return error;
}

// ---- Heads ----

static const answer one[] = {
    {"HTTP/1.1 203 So\r\nContent-Length: 2\r\nX-A: b\r\nConnection: keep-alive, x-drop\r\n"
     "X-Drop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nDate: yesterday\r\n"
     "Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Type: x/y\r\nTrailer: T\r\n\r\nok",
     STAY}};

PROXIED_CASE(test_heads, one)
{
    static const char *const fields[] = {"Accept",
                                         "a/b",
                                         "Cookie",
                                         "c",
                                         "X-Forwarded-For",
                                         "9.9.9.9",
                                         "X-Forwarded-Proto",
                                         "https",
                                         "Forwarded",
                                         "for=9.9.9.9",
                                         "X-Forwarded-Ssl",
                                         "on",
                                         "x-forwarded-prefix",
                                         "/x",
                                         "X-Real-IP",
                                         "9.9.9.9",
                                         "Proxy-Authorization",
                                         "secret",
                                         nullptr};
    weft_http_request_options o = {};
    o.fields = fields;
    weft_http_response *r = ask_front("GET", "/a%20b/../c?d", &o);
    assert_non_null(r);
    assert_int_equal(r->status, 203);
    assert_string_equal(weft_http_response_header(r, "X-A"), "b");
    assert_string_equal(weft_http_response_header(r, "Content-Type"), "x/y");
    static const char *const gone[] = {"X-Drop", "Keep-Alive", "Proxy-Authenticate", "Trailer",
                                       "Connection"};
    for (const char *each : gone)
        assert_null(weft_http_response_header(r, each));
    assert_string_not_equal(weft_http_response_header(r, "Date"), "yesterday");
    int cookies = 0;
    for (size_t i = 0; i < r->head->count; i++)
        cookies += r->head->fields[i].name.size == 10 &&
                   memcmp(r->head->fields[i].name.at, "Set-Cookie", 10) == 0;
    assert_int_equal(cookies, 2);
    is_answer(r, 203, "ok");
    char expected[512];
    snprintf(expected, sizeof expected,
             "GET /a%%20b/../c?d HTTP/1.1\r\nHost: %.60s\r\nAccept: a/b\r\nCookie: c\r\n"
             "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: %.60s\r\n"
             "Via: 1.1 weft\r\n\r\n",
             front.url + 7, front.url + 7);
    assert_string_equal(server.seen, expected);
}

static const answer three[] = {{LENGTH_5, STAY}, {LENGTH_5, STAY}, {LENGTH_5, STAY}};

INSIDE_CASE(test_forwarded)
{
    weft_http_proxy_options o = {};
    o.trust_forwarded = true;
    o.rewrite_host = true;
    begin_proxied(three, 1, &o);
    assert_int_equal(exchange_raw("GET http://named:8/x HTTP/1.1\r\nHost: other\r\n"
                                  "X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\n"
                                  "X-Forwarded-Proto: https\r\nConnection: close, x-y\r\n"
                                  "X-Y: z\r\nTE: trailers\r\nKeep-Alive: 3\r\n\r\n"),
                     0);
    assert_string_equal(server.seen, "GET /x HTTP/1.1\r\nHost: localhost\r\n"
                                     "X-Forwarded-Proto: https\r\n"
                                     "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 127.0.0.1\r\n"
                                     "X-Forwarded-Host: named:8\r\nVia: 1.1 weft\r\n\r\n");
    end_proxied();
}

// Many a server reads them as those with a -.
INSIDE_CASE(test_odd_names)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 9.9.9.9\r\nX-Forwarded_Proto: https\r\n"
        "x_real_ip: 9.9.9.9\r\nTransfer_Encoding: chunked\r\nContent_Length: 3\r\n"
        "X-Forwarded_Prefix: /x\r\nProxy_Authorization: x\r\nX_Own: y\r\nConnection: close\r\n\r\n";
    for (int trusts = 0; trusts < 2; trusts++) {
        weft_http_proxy_options o = {};
        o.trust_forwarded = trusts;
        begin_proxied(three, 1, &o);
        assert_int_equal(exchange_raw(request), 0);
        assert_string_equal(
            server.seen, "GET / HTTP/1.1\r\nHost: a\r\nX_Own: y\r\nX-Forwarded-For: 127.0.0.1\r\n"
                         "X-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nVia: 1.1 weft\r\n\r\n");
        end_proxied();
    }
}

// ---- Bodies ----

// As the server sends it, and what of it the client is to have.
static const struct {
    const char *method, *text, *body;
    int status, then;
} forms[] = {
    {"GET", LENGTH_5, "abcde", 200, STAY},
    {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
     "abcde", 200, STAY},
    {"GET", "HTTP/1.0 200 OK\r\n\r\nabcde", "abcde", 200, CLOSE},
    {"GET", "HTTP/1.1 204 No\r\n\r\n", "", 204, STAY},
    {"GET", "HTTP/1.1 304 Same\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n", "", 304, STAY},
    {"GET", "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "", 404, STAY},
    {"GET", "HTTP/1.1 103 Hints\r\n\r\n" LENGTH_5, "abcde", 200, STAY},
    {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "", 200, STAY},
    {"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "", 200, STAY},
};

INSIDE_CASE(test_answers)
{
    for (auto &form : forms) {
        size_t n = strlen(form.text);
        answer answers[100];
        assert_true(n < 100);
        for (answer &each : answers)
            each = {form.text, form.then};
        begin_proxied(answers, n);
        for (server.split = 0; server.split < n; server.split++)
            is_answer(ask_front(form.method, "/"), form.status, form.body);
        assert_int_equal(server.connections, form.then == CLOSE ? n : 1);
        assert_int_equal(information().connects, 1); // the client's own is always kept
        end_proxied();
    }
}

// One field Server: the front's, if it has a name, else that of who answered.
INSIDE_CASE(test_name_of_server)
{
    static const answer named[] = {
        {"HTTP/1.1 200 OK\r\nServer: behind\r\nContent-Length: 0\r\n\r\n", STAY}};
    static const char *const names[] = {nullptr, "front"};
    for (const char *name : names) {
        front_name = name;
        begin_proxied(named, 1);
        weft_http_response *r = ask_front("GET", "/");
        int servers = 0;
        for (size_t i = 0; i < r->head->count; i++)
            servers += strncasecmp(r->head->fields[i].name.at, "Server:", 7) == 0;
        assert_int_equal(servers, 1);
        assert_string_equal(weft_http_response_header(r, "Server"),
                            name != nullptr ? name : "behind");
        is_answer(r, 200, "");
        end_proxied();
    }
    front_name = nullptr;
}

static const answer head[] = {{"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", STAY}};

PROXIED_CASE(test_length_of_head, head)
{
    weft_http_response *r = ask_front("HEAD", "/");
    assert_string_equal(weft_http_response_header(r, "Content-Length"), "7");
    is_answer(r, 200, "");
}

struct source {
    size_t left, sent;
};

static char nth(size_t i)
{
    return (char)('a' + (i * 7 + i / 251) % 26);
}

static ssize_t read_source(void *buf, size_t n, void *arg)
{
    source *s = (source *)arg;
    n = n < s->left ? n : s->left;
    for (size_t i = 0; i < n; i++)
        ((char *)buf)[i] = nth(s->sent + i);
    s->left -= n;
    s->sent += n;
    return (ssize_t)n;
}

PROXIED_CASE(test_requests_with_bodies, three)
{
    source s = {10, 0};
    weft_http_request_options o = {};
    o.body = "abc";
    o.size = 3;
    is_answer(ask_front("POST", "/1", &o), 200, "abcde");
    o = {};
    o.read = read_source;
    o.arg = &s;
    is_answer(ask_front("PUT", "/2", &o), 200, "abcde");
    is_answer(ask_front("POST", "/3"), 200, "abcde");
    assert_non_null(strstr(server.seen, "\r\nContent-Length: 3\r\n\r\nabc"));
    assert_non_null(strstr(server.seen, "\r\nTransfer-Encoding: chunked\r\n\r\na\r\nahovcjqxel"));
    assert_non_null(strstr(server.seen, "\r\n0\r\n\r\nPOST /3 "));
    assert_non_null(strstr(server.seen, "\r\nContent-Length: 0\r\n\r\n"));
    assert_int_equal(server.connections, 1);
}

// ---- Servers of ours behind it ----

enum { BACKS = 3, MUCH = 3 << 20 };
static struct back {
    weft_http_server *server;
    int listener;
    weft_tasklet *serves;
    char address[64], name[2];
    size_t asked;
} backs[BACKS];
static weft_tasklet *held[8]; // handlers that wait to be woken
static size_t held_count;

static void answer_name(weft_http_exchange *x, void *arg)
{
    back *b = (back *)arg;
    b->asked++;
    weft_http_reply(x, 200, "text/plain", b->name, 1);
}

static void answer_held(weft_http_exchange *x, void *arg)
{
    held[held_count++] = weft_tasklet_self();
    weft_tasklet_suspend(weft_in_s(20));
    answer_name(x, arg);
}

// What comes goes back, as it comes.
static void answer_echo(weft_http_exchange *x, void *)
{
    char part[4096];
    ssize_t n;
    weft_http_begin(x, 200, nullptr, WEFT_HTTP_CHUNKED);
    while ((n = weft_http_read(x, part, sizeof part, weft_in_s(20))) > 0)
        if (weft_http_write(x, part, (size_t)n, weft_in_s(20)) != n)
            break;
}

static size_t given; // of MUCH

static void answer_much(weft_http_exchange *x, void *)
{
    static char some[65536];
    memset(some, 'x', sizeof some);
    weft_http_begin(x, 200, nullptr, MUCH);
    for (given = 0; given < MUCH; given += sizeof some)
        if (weft_http_write(x, some, sizeof some, weft_in_s(20)) != sizeof some)
            break;
}

static void answer_redirect(weft_http_exchange *x, void *)
{
    weft_http_set(x, "Location", "/name");
    weft_http_reply(x, 302, nullptr, nullptr, 0);
}

static void *serve_back(void *arg)
{
    back *b = (back *)arg;
    weft_http_serve(b->server, b->listener);
    return nullptr;
}

static void begin_back(back *b, const char *address = "tcp:127.0.0.1:0")
{
    weft_http_server_options o = {};
    o.body = 16 << 20;
    b->server = weft_http_server_create(&o);
    snprintf(b->name, sizeof b->name, "%c", (char)('a' + (b - backs)));
    b->asked = 0;
    static const struct {
        const char *path;
        weft_http_handler fn;
    } routes[] = {{"/name", answer_name},
                  {"/held", answer_held},
                  {"/echo", answer_echo},
                  {"/much", answer_much},
                  {"/redirect", answer_redirect}};
    for (auto &each : routes)
        assert_int_equal(weft_http_route(b->server, nullptr, each.path, each.fn, b), 0);
    b->listener = weft_io_listen(address, nullptr);
    assert_true(b->listener >= 0);
    weft_io_address(b->listener, WEFT_IO_LOCAL, b->address, sizeof b->address);
    b->serves = spawn(serve_back, b, true);
}

static void end_back(back *b)
{
    weft_http_stop(b->server);
    join(b->serves);
    weft_io_close(b->listener);
    weft_http_server_destroy(b->server);
}

static const char *addresses[BACKS];

static void begin_backs(const weft_http_proxy_options *o = nullptr)
{
    char address[64];
    snprintf(address, sizeof address, "unix:@weft-http-back-%d", getpid());
    for (int i = 0; i < BACKS; i++) {
        begin_back(&backs[i], i == 1 ? address : "tcp:127.0.0.1:0");
        addresses[i] = backs[i].address;
    }
    held_count = 0;
    begin_front(addresses, BACKS, o);
}

static void end_backs(void)
{
    end_front();
    for (back &each : backs)
        end_back(&each);
}

#define BACKS_CASE(fn, options)                                                                    \
    static void fn##_backs(void);                                                                  \
    INSIDE_CASE(fn)                                                                                \
    {                                                                                              \
        begin_backs(options);                                                                      \
        fn##_backs();                                                                              \
        end_backs();                                                                               \
    }                                                                                              \
    static void fn##_backs(void)

static const weft_http_proxy_options in_turn = [] {
    weft_http_proxy_options o = {};
    o.in_turn = true;
    return o;
}();

BACKS_CASE(test_streams, nullptr)
{
    char *body;
    static const size_t sizes[] = {0, 1, 100000, 900000};
    for (size_t n : sizes) {
        source s = {n, 0};
        weft_http_request_options o = {};
        o.read = read_source;
        o.arg = &s;
        weft_http_response *r = ask_front("POST", "/echo", &o);
        assert_non_null(r);
        assert_int_equal(weft_http_response_read_all(r, &body, 1 << 20, weft_in_s(20)), n);
        for (size_t i = 0; i < n; i++)
            if (body[i] != nth(i))
                fail_msg("byte %zu of %zu", i, n);
        free(body);
        weft_http_response_close(r);
    }
    weft_http_response *r = ask_front("GET", "/much");
    assert_int_equal(r->length, MUCH);
    assert_int_equal(weft_http_response_read_all(r, &body, MUCH, weft_in_s(20)), MUCH);
    free(body);
    weft_http_response_close(r);
    r = ask_front("GET", "/redirect"); // which the client follows, and not the proxy
    is_answer(r, 200, "a");
}

// A client that does not read holds the server behind back: what is on its way is bounded.  On unix
// sockets, whose buffers do not grow.
INSIDE_CASE(test_bounded)
{
    char address[64];
    snprintf(address, sizeof address, "unix:@weft-http-bounded-%d", getpid());
    given = 0;
    begin_back(&backs[0], address);
    const char *back = backs[0].address;
    on_unix = true;
    begin_front(&back, 1);
    on_unix = false;
    int fd = weft_io_connect(front.address, weft_in_s(20));
    static const char request[] = "GET /much HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    weft_io_write(fd, request, sizeof request - 1, weft_in_s(20));
    for (int i = 0; i < 200; i++) {
        weft_tasklet_sleep(weft_in_us(200));
        assert_true(given <= MUCH / 2);
    }
    size_t all = 0;
    ssize_t n;
    while ((n = weft_io_read(fd, text, sizeof text, weft_in_s(20))) > 0)
        all += (size_t)n;
    assert_int_equal(n, 0);
    assert_int_equal(given, MUCH);
    assert_true(all > MUCH);
    weft_io_close(fd);
    end_front();
    end_back(&backs[0]);
}

// Many at once, and one of the servers ends and begins meanwhile: nobody notices.
static size_t well;

static void *ask_often(void *)
{
    for (int i = 0; i < 40; i++) {
        weft_http_response *r = ask_front("GET", "/name");
        char name;
        well += r != nullptr && r->status == 200 &&
                weft_http_response_read(r, &name, 1, weft_in_s(20)) == 1;
        if (r != nullptr)
            weft_http_response_close(r);
    }
    return nullptr;
}

BACKS_CASE(test_many, &in_turn)
{
    weft_tasklet *t[25];
    well = 0;
    for (weft_tasklet *&each : t)
        each = spawn(ask_often, nullptr, true);
    for (int i = 0; i < 3; i++) {
        while (well < 200 * (size_t)(i + 1))
            weft_tasklet_sleep(weft_in_us(100));
        char address[64];
        snprintf(address, sizeof address, "%s", backs[1].address);
        end_back(&backs[1]);
        begin_back(&backs[1], address);
    }
    for (weft_tasklet *each : t)
        join(each);
    assert_int_equal(well, 25 * 40);
    assert_int_equal(proxy_information().requests, 25 * 40);
    assert_int_equal(proxy_information().failed, 0);
}

BACKS_CASE(test_fewest, nullptr)
{
    weft_http_response *r[2];
    weft_tasklet *t[2];
    for (int i = 0; i < 2; i++) { // two of the three are busy
        t[i] = spawn(
            [](void *to) -> void * {
                *(weft_http_response **)to = ask_front("GET", "/held");
                return nullptr;
            },
            &r[i], true);
        while (held_count <= (size_t)i)
            weft_tasklet_sleep(weft_in_us(100));
    }
    for (int i = 0; i < 5; i++)
        front_is("/name", 200, "c");
    assert_int_equal(proxy_information().busy, 2);
    for (int i = 0; i < 2; i++) {
        weft_tasklet_wake(held[i]);
        join(t[i]);
        is_answer(r[i], 200, i == 0 ? "a" : "b");
    }
    assert_int_equal(proxy_information().busy, 0);
    assert_int_equal(proxy_information().requests, 7);
}

BACKS_CASE(test_in_turn, &in_turn)
{
    static const char *const names[] = {"a", "b", "c", "a", "b", "c", "a"};
    for (const char *each : names)
        front_is("/name", 200, each);
    assert_int_equal(proxy_information().connects, 3);
    assert_int_equal(proxy_information().reused, 4);
    assert_int_equal(proxy_information().idle, 3);
}

// ---- Servers that are not there ----

INSIDE_CASE(test_failover)
{
    static const char *const some[] = {"unix:@weft-nobody", "unix:/nonexistent/x", server.address};
    static const answer answers[] = {
        {LENGTH_5, STAY}, {LENGTH_5, STAY}, {LENGTH_5, STAY}, {LENGTH_5, STAY}, {LENGTH_5, STAY}};
    weft_http_proxy_options o = in_turn;
    weft_http_request_options q = {};
    q.body = "abc";
    q.size = 3;
    o.failures = 2;
    o.out_ns = INT64_C(3600000000000);
    serve(answers, 5);
    begin_front(some, 3, &o);
    is_answer(ask_front("POST", "/", &q), 200, "abcde"); // none of it has gone anywhere
    front_is("/", 200, "abcde");
    assert_int_equal(proxy_information().out, 2);
    assert_int_equal(proxy_information().again, 4);
    for (int i = 0; i < 3; i++)
        front_is("/", 200, "abcde");
    assert_int_equal(proxy_information().again, 4);
    assert_int_equal(proxy_information().failed, 0);
    end_proxied();
}

INSIDE_CASE(test_all_are_out)
{
    static const char *const none[] = {"unix:@weft-nobody", "unix:@weft-nobody-2"};
    weft_http_proxy_options o = {};
    o.failures = 1;
    o.out_ns = INT64_C(3600000000000);
    begin_front(none, 2, &o);
    is_answer(ask_front("GET", "/"), 502, "502 Bad Gateway\n");
    is_answer(ask_front("GET", "/"), 503, "503 Service Unavailable\n");
    assert_int_equal(proxy_information().failed, 2);
    end_front();
    o.out_ns = 1; // they are asked again
    begin_front(none, 2, &o);
    is_answer(ask_front("GET", "/"), 502, "502 Bad Gateway\n");
    is_answer(ask_front("GET", "/"), 502, "502 Bad Gateway\n");
    end_front();
    begin_front(none, 1, &o); // the only one is never out
    for (int i = 0; i < 3; i++)
        is_answer(ask_front("GET", "/"), 502, "502 Bad Gateway\n");
    assert_int_equal(proxy_information().out, 0);
    end_front();
}

// ---- Sent again ----

static const answer closes[] = {{"", CLOSE}, {"", CLOSE}, {LENGTH_5, STAY}};

INSIDE_CASE(test_again)
{
    static const char *const twice[] = {server.address, server.address, server.address};
    weft_http_proxy_options o = {};
    o.failures = 100;
    serve(closes, 3);
    begin_front(twice, 3, &o);
    front_is("/", 200, "abcde"); // by the third
    assert_int_equal(proxy_information().again, 2);
    end_proxied();
    serve(closes, 1);
    begin_front(twice, 3, &o);
    is_answer(ask_front("POST", "/"), 502, "502 Bad Gateway\n");
    assert_int_equal(proxy_information().again, 0);
    end_proxied();
}

static const answer part[] = {{"HTTP/1.1 200 OK\r\nContent", CLOSE}};

INSIDE_CASE(test_not_again)
{
    static const char *const twice[] = {server.address, server.address};
    serve(part, 1);
    begin_front(twice, 2);
    is_answer(ask_front("GET", "/"), 502, "502 Bad Gateway\n");
    end_proxied();
}

static const answer deaf[] = {{LENGTH_5, DEAF}, {LENGTH_5, STAY}};

PROXIED_CASE(test_kept_one_has_ended, deaf)
{
    front_is("/", 200, "abcde");
    front_is("/", 200, "abcde");
    assert_int_equal(proxy_information().again, 1);
    assert_int_equal(server.connections, 2);
}

// The kept one has ended, and no new one is to be had: another server is asked, if it may be.
INSIDE_CASE(test_kept_one_has_ended_for_good)
{
    static const answer first[] = {{LENGTH_5, DEAF}};
    for (int post = 0; post < 2; post++) {
        begin_back(&backs[0]);
        serve(first, 1);
        const char *two[] = {server.address, backs[0].address};
        begin_front(two, 2, &in_turn);
        front_is("/name", 200, "abcde");
        weft_io_close(server.listener);
        front_is("/name", 200, "a");
        if (post)
            is_answer(ask_front("POST", "/name"), 502, "502 Bad Gateway\n");
        else
            front_is("/name", 200, "a");
        end_front();
        end_back(&backs[0]);
        while (server.open > 0)
            weft_tasklet_sleep(weft_in_us(100));
    }
}

// ---- Answers that are cut, bad, or late ----

INSIDE_CASE(test_cut)
{
    static const char *const cut[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nz\r\n",
    };
    for (const char *each : cut)
        for (int then = CLOSE; then <= RESET; then++) {
            answer a = {each, then};
            begin_proxied(&a, 1);
            // What was sent may or may not overtake the reset: the end is one in any case.
            assert_int_equal(exchange_raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), ECONNRESET);
            assert_null(strstr(text, "\r\n0\r\n"));
            assert_int_equal(proxy_information().failed, 1);
            assert_int_equal(proxy_information().idle, 0);
            end_proxied();
        }
}

INSIDE_CASE(test_bad_answers)
{
    static const char *const bad[] = {
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    };
    for (const char *each : bad) {
        answer a = {each, STALL};
        begin_proxied(&a, 1);
        is_answer(ask_front("GET", "/"), 502, "502 Bad Gateway\n");
        end_proxied();
    }
}

static const answer late[] = {{"", STALL},
                              {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", STALL}};

INSIDE_CASE(test_late)
{
    weft_http_proxy_options o = {};
    o.answer_ns = 20000000;
    begin_proxied(late, 2, &o);
    is_answer(ask_front("GET", "/"), 504, "504 Gateway Timeout\n");
    assert_int_equal(exchange_raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), ECONNRESET);
    end_proxied();
}

// ---- Clients ----

static const answer unread[] = {{"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno", UNREAD}};

PROXIED_CASE(test_early_answer, unread)
{
    source s = {900000, 0};
    weft_http_request_options o = {};
    o.read = read_source;
    o.arg = &s;
    is_answer(ask_front("POST", "/", &o), 413, "no");
}

// One that ends in its body, or sends no body: the server behind never takes it for whole.
INSIDE_CASE(test_cut_request)
{
    begin_proxied(nullptr, 0);
    int fd = weft_io_connect(front.address, weft_in_s(20));
    static const char request[] = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "3\r\nabc\r\n";
    weft_io_write(fd, request, sizeof request - 1, weft_in_s(20));
    while (strstr(server.seen, "abc") == nullptr)
        weft_tasklet_sleep(weft_in_us(100));
    weft_io_close(fd);
    while (server.open > 0)
        weft_tasklet_sleep(weft_in_us(100));
    assert_null(strstr(server.seen, "0\r\n\r\n"));
    assert_int_equal(proxy_information().busy, 0);
    end_proxied();
}

PROXIED_CASE(test_http_1_0, three)
{
    assert_int_equal(exchange_raw("GET /x HTTP/1.0\r\n\r\n"), 0);
    assert_non_null(strstr(text, "\r\n\r\nabcde"));
    assert_memory_equal(server.seen, "GET /x HTTP/1.1\r\nHost: localhost\r\n", 34);
    assert_non_null(strstr(server.seen, "\r\nVia: 1.0 weft\r\n"));
    front_is("/", 200, "abcde");
    front_is("/", 200, "abcde");
}

// ---- WebSockets ----

static const char upgrade[] = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                              "Upgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\n";
static const answer switches[] = {
    {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
     "Sec-WebSocket-Accept: yes\r\n\r\nfirst\r\n\r\n",
     STAY},
    {"second", CLOSE}};

PROXIED_CASE(test_websocket, switches)
{
    char memory[1024], *line;
    weft_io_buffer b = {memory, sizeof memory, 0, 0};
    int fd = weft_io_connect(front.address, weft_in_s(20));
    weft_io_write(fd, upgrade, sizeof upgrade - 1, weft_in_s(20));
    ssize_t n = weft_io_read_until(fd, &b, "\r\n\r\n", 4, &line, weft_in_s(20));
    assert_true(n > 4);
    line[n - 1] = 0;
    assert_memory_equal(line, "HTTP/1.1 101 ", 13);
    assert_non_null(strstr(line, "\r\nSec-WebSocket-Accept: yes\r\n"));
    assert_non_null(strstr(line, "\r\nUpgrade: websocket\r\n"));
    assert_non_null(strstr(server.seen, "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
    assert_non_null(strstr(server.seen, "\r\nSec-WebSocket-Key: k\r\n"));
    assert_int_equal(weft_io_read_until(fd, &b, "\r\n\r\n", 4, &line, weft_in_s(20)), 9);
    assert_memory_equal(line, "first", 5);
    weft_io_write(fd, "bytes\r\n\r\n", 9, weft_in_s(20)); // which is all the script asks for
    assert_int_equal(weft_io_read_all(fd, memory, 7, weft_in_s(20)), 6);
    assert_memory_equal(memory, "second", 6);
    weft_io_close(fd);
}

// The client ends its side first, and then is told all.
static const answer waits[] = {
    {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
     STAY}};

PROXIED_CASE(test_websocket_client_ends, waits)
{
    char memory[512];
    int fd = weft_io_connect(front.address, weft_in_s(20));
    weft_io_write(fd, upgrade, sizeof upgrade - 1, weft_in_s(20));
    assert_true(weft_io_read(fd, memory, sizeof memory, weft_in_s(20)) > 0);
    weft_io_shutdown(fd, SHUT_WR);
    while (weft_io_read(fd, memory, sizeof memory, weft_in_s(20)) > 0) {
    }
    weft_io_close(fd);
    assert_int_equal(server.open, 0);
}

INSIDE_CASE(test_websocket_is_silent)
{
    char memory[512];
    weft_http_proxy_options o = {};
    o.tunnel_ns = 5000000;
    begin_proxied(waits, 1, &o);
    int fd = weft_io_connect(front.address, weft_in_s(20));
    weft_io_write(fd, upgrade, sizeof upgrade - 1, weft_in_s(20));
    while (weft_io_read(fd, memory, sizeof memory, weft_in_s(20)) > 0) {
    }
    weft_io_close(fd);
    end_proxied();
}

static char flood[(16 << 20) + 1];
static const answer floods[] = {{flood, CLOSE}};

// Who reads nothing of what comes is as silent.
INSIDE_CASE(test_websocket_is_not_read)
{
    static const char begin[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                "Connection: Upgrade\r\n\r\n";
    int few = 4096;
    weft_http_proxy_options o = {};
    o.tunnel_ns = 20000000;
    memset(flood, 'x', sizeof flood - 1);
    memcpy(flood, begin, sizeof begin - 1);
    begin_proxied(floods, 1, &o);
    int fd = weft_io_connect(front.address, weft_in_s(20));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &few, sizeof few);
    weft_io_write(fd, upgrade, sizeof upgrade - 1, weft_in_s(20));
    weft_deadline end = weft_in_s(20);
    while ((server.next == 0 || proxy_information().busy > 0) && weft_left(end) > 0)
        assert_int_equal(weft_tasklet_sleep(weft_in_ms(1)), 0);
    assert_int_equal(proxy_information().busy, 0);
    weft_io_close(fd);
    end_proxied();
}

// Another protocol is not passed on, nor what the server then says.
PROXIED_CASE(test_other_upgrade, three)
{
    exchange_raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\n"
                 "Upgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n");
    assert_non_null(strstr(text, "\r\n\r\nabcde"));
    assert_null(strcasestr(server.seen, "upgrade"));
    assert_null(strcasestr(server.seen, "http2"));
    front_is("/", 200, "abcde");
    front_is("/", 200, "abcde");
}

// ---- Ends of the proxy, of descriptors ----

static const answer hold[] = {{"", STALL},
                              {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", STALL},
                              {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\n\r\n",
                               STALL}};

// What is under way when the server drains is ended, and lets its connections go.
INSIDE_CASE(test_drain)
{
    drain_ns = 1000000;
    for (size_t i = 0; i < 3; i++) {
        char some[512];
        serve(hold + i, 1);
        const char *address = server.address;
        begin_front(&address, 1);
        int fd = weft_io_connect(front.address, weft_in_s(20));
        weft_io_write(fd, upgrade, sizeof upgrade - 1, weft_in_s(20));
        while (server.next == 0)
            weft_tasklet_sleep(weft_in_us(100));
        if (i > 0)
            assert_true(weft_io_read(fd, some, sizeof some, weft_in_s(20)) > 0);
        end_front();
        while (weft_io_read(fd, some, sizeof some, weft_in_s(20)) > 0) {
        }
        weft_io_close(fd);
        end_server();
    }
    drain_ns = 0;
}

// No server is to blame when we have none left.
INSIDE_CASE(test_no_descriptors)
{
    static int taken[1 << 10];
    size_t n = 0;
    struct rlimit limit, low;
    const char *two[] = {server.address, server.address};
    weft_http_proxy_options o = {};
    o.failures = 1;
    o.idle_ns = -1;
    serve(three, 2);
    begin_front(two, 2, &o);
    front_is("/", 200, "abcde");
    getrlimit(RLIMIT_NOFILE, &limit);
    low = limit;
    low.rlim_cur = 512;
    setrlimit(RLIMIT_NOFILE, &low);
    while (n < 1 << 10 && (taken[n] = dup(0)) >= 0)
        n++;
    is_answer(ask_front("GET", "/"), 503, "503 Service Unavailable\n");
    while (n > 0)
        close(taken[--n]);
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_int_equal(proxy_information().out, 0);
    front_is("/", 200, "abcde");
    end_proxied();
}

// ---- Checks ----

INSIDE_CASE(test_check)
{
    const char *three_of_them[3] = {"unix:@weft-nobody", server.address, backs[0].address};
    static const answer sick[] = {{"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", CLOSE}};
    serve(sick, 1);
    begin_back(&backs[0]);
    begin_front(three_of_them, 3);
    assert_int_equal(weft_http_proxy_check(front.proxy, "/name", weft_in_s(20)), 1);
    assert_int_equal(proxy_information().out, 2);
    for (int i = 0; i < 4; i++)
        front_is("/name", 200, "a");
    assert_non_null(strstr(server.seen, "GET /name HTTP/1.1\r\nHost: localhost\r\n"));
    static const char *const bad[] = {"", "name", "/a b", "/\r\n", "/a#b", nullptr};
    for (const char *each : bad)
        assert_errno(weft_http_proxy_check(front.proxy, each, weft_in_s(20)), EINVAL);
    end_front();
    end_back(&backs[0]);
    end_server();
}

// ---- Misuse ----

CASE(test_open_refused)
{
    static const char *const bad[] = {"",        "a:1",       "tcp:a", "http://a:1",   "fd:3",
                                      "udp:a:1", "systemd:x", "unix:", "tcp:a\r\nb:1", "tcp:a b:80",
                                      nullptr};
    for (const char *each : bad)
        assert_errno(weft_http_proxy_open(&each, 1, nullptr), EINVAL);
    const char *good = "tcp:localhost:80";
    weft_http_proxy_options o = {};
    o.answer_ns = -1;
    assert_errno(weft_http_proxy_open(&good, 1, &o), EINVAL);
    assert_errno(weft_http_proxy_open(&good, 0, nullptr), EINVAL);
    assert_errno(weft_http_proxy_open(nullptr, 1, nullptr), EINVAL);
    weft_http_proxy *p = weft_http_proxy_open(&good, 1, nullptr);
    assert_non_null(p);
    assert_errno(weft_http_proxy_check(p, "/", WEFT_NOW), EPERM);
    assert_errno(weft_http_proxy_statistics(p, nullptr), EINVAL);
    assert_int_equal(weft_http_proxy_destroy(p), 0);
}

RUN_CASES()
