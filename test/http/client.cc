// Requests and their answers: what is sent, what is read at every split, bodies, early answers,
// deadlines, limits.
#include "scripted.h"

#define LENGTH_5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"
#define NOTHING "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static void saw(const char *requests)
{
    assert_string_equal(server.seen, requests);
}

// ---- What is sent, what comes ----

static const answer one_get[] = {
    {"HTTP/1.1 201 Made\r\ncontent-length: 3\r\nX-A:  b c \t\r\nx-a: d\r\nEmpty:\r\n\r\nxyz",
     STAY}};

SERVED_CASE(test_get, one_get)
{
    errno = 7;
    weft_http_response *r = get("/p?q#f");
    assert_non_null(r);
    assert_int_equal(errno, 7);
    assert_int_equal(r->status, 201);
    assert_int_equal(r->version, 11);
    assert_int_equal(r->length, 3);
    assert_int_equal(r->head->count, 4);
    assert_string_equal(r->url, url_of("/p?q#f"));
    assert_string_equal(weft_http_response_header(r, "X-a"), "b c");
    assert_string_equal(weft_http_response_header(r, "Empty"), "");
    assert_null(weft_http_response_header(r, "None"));
    char text[2];
    assert_int_equal(weft_http_response_read(r, text, 2, weft_in_s(20)), 2);
    assert_memory_equal(text, "xy", 2);
    assert_int_equal(weft_http_response_read(r, text, 2, weft_in_s(20)), 1);
    assert_int_equal(text[0], 'z');
    for (int i = 0; i < 2; i++)
        assert_int_equal(weft_http_response_read(r, text, 2, WEFT_NOW), 0);
    assert_int_equal(information().idle, 1); // before it is closed
    assert_int_equal(weft_http_response_close(r), 0);
    assert_int_equal(errno, 7);
    saw("GET /p?q HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

static const answer four[] = {{NOTHING, STAY}, {NOTHING, STAY}, {NOTHING, STAY}, {NOTHING, STAY}};

SERVED_CASE(test_request_fields, four)
{
    static const char *const fields[] = {"Accept", "a/b", "HOST", "other:8", "X", "", nullptr};
    weft_http_request_options o = {};
    o.fields = fields;
    is_answer(ask("OPTIONS", "", &o), 200, "");
    is_answer(ask("M-SEARCH", "?x"), 200, "");
    is_answer(ask("POST", "/"), 200, "");
    o = {};
    o.body = "a\r\nb";
    o.size = 4;
    is_answer(ask("PUT", "/", &o), 200, "");
    saw("OPTIONS / HTTP/1.1\r\nHost: other:8\r\nAccept: a/b\r\nX: \r\n\r\n"
        "M-SEARCH /?x HTTP/1.1\r\nHost: localhost\r\n\r\n"
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\na\r\nb");
    has_done(4, 1);
}

INSIDE_CASE(test_agent)
{
    static const char *const fields[] = {"user-agent", "mine", nullptr};
    weft_http_client_options o = {};
    weft_http_request_options q = {};
    o.agent = "weft/1";
    q.fields = fields;
    serve(four, 2);
    client = weft_http_client_create(&o);
    is_answer(get(""), 200, "");
    is_answer(ask("GET", "", &q), 200, "");
    saw("GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: weft/1\r\n\r\n"
        "GET / HTTP/1.1\r\nHost: localhost\r\nuser-agent: mine\r\n\r\n");
    end_client();
    end_server();
    static const char *const bad[] = {"", " a", "a ", "a\r\nb", "a\n", "\x01"};
    for (const char *each : bad) {
        o.agent = each;
        assert_errno(weft_http_client_create(&o), EINVAL);
    }
}

static const answer over_tcp[] = {{LENGTH_5, CLOSE}};

INSIDE_CASE(test_get_by_tcp)
{
    char host[128];
    serve(over_tcp, 1, true);
    begin_client();
    is_answer(get("/x"), 200, "abcde");
    snprintf(host, sizeof host, "GET /x HTTP/1.1\r\nHost: %.60s\r\n\r\n", server.url + 7);
    saw(host);
    end_client();
    end_server();
    begin_client();
    assert_errno(get("/x"), ECONNREFUSED);
    end_client();
}

// ---- Every way in which a body is sent, at every split ----

static const struct {
    const char *text, *body;
    int status, then;
} forms[] = {
    {LENGTH_5, "abcde", 200, STAY},
    {NOTHING, "", 200, STAY},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: "
     "chunked\r\n\r\n3\r\nabc\r\n00002;x=y\r\nde\r\n0\r\n\r\n",
     "abcde", 200, STAY},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nT: u\r\nV: w\r\n\r\n",
     "a", 200, STAY},
    {"HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", "", 200, STAY},
    {"HTTP/1.0 200 OK\r\n\r\nabcde", "abcde", 200, CLOSE},
    {"HTTP/1.1 404 No\r\nConnection: close\r\n\r\n", "", 404, CLOSE},
    {"HTTP/1.1 204 No Content\r\n\r\n", "", 204, STAY},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "", 304, STAY},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: </x>\r\n\r\n" LENGTH_5, "abcde", 200,
     STAY},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", "x", 200, STAY},
};

INSIDE_CASE(test_every_split)
{
    for (auto &form : forms) {
        size_t n = strlen(form.text);
        answer answers[200];
        assert_true(n + 1 < 200);
        for (answer &each : answers)
            each = {form.text, form.then};
        serve(answers, n);
        begin_client();
        for (server.split = 0; server.split < n - 1; server.split++)
            is_answer(get("/"), form.status, form.body);
        server.by_bytes = true;
        is_answer(get("/"), form.status, form.body);
        has_done(n, form.then == CLOSE ? n : 1);
        end_client();
        end_server();
    }
}

// A byte at a time, also by who reads.
INSIDE_CASE(test_read_by_bytes)
{
    for (auto &form : forms) {
        answer a = {form.text, form.then};
        char byte;
        serve(&a, 1);
        begin_client();
        weft_http_response *r = get("/");
        assert_non_null(r);
        for (const char *c = form.body; *c != 0; c++) {
            assert_int_equal(weft_http_response_read(r, &byte, 1, weft_in_s(20)), 1);
            assert_int_equal(byte, *c);
        }
        assert_int_equal(weft_http_response_read(r, &byte, 1, weft_in_s(20)), 0);
        assert_int_equal(weft_http_response_close(r), 0);
        assert_int_equal(information().idle, form.then == STAY);
        end_client();
        end_server();
    }
}

static const answer heads[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", STAY},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", STAY},
    {"HTTP/1.1 200 OK\r\n\r\n", CLOSE},
};

SERVED_CASE(test_head, heads)
{
    for (int i = 0; i < 3; i++)
        is_answer(ask("HEAD", "/"), 200, "");
    has_done(3, 1);
}

// ---- Bodies of requests ----

struct source {
    const char *text;
    size_t part;
    int error;
};

static ssize_t read_source(void *buf, size_t n, void *arg)
{
    source *s = (source *)arg;
    size_t left = strlen(s->text), some = left < s->part ? left : s->part;
    some = some < n ? some : n;
    if (left == 0 && s->error != 0) {
        errno = s->error;
        return -1;
    }
    weft_tasklet_yield(); // as one that reads from elsewhere
    memcpy(buf, s->text, some);
    s->text += some;
    return (ssize_t)some;
}

SERVED_CASE(test_body_that_is_read, four)
{
    source s = {"abcdefgh", 3, 0};
    weft_http_request_options o = {};
    o.read = read_source;
    o.arg = &s;
    is_answer(ask("POST", "/", &o), 200, "");
    is_answer(ask("POST", "/", &o), 200, ""); // it has ended: an empty one
    s.text = "abcdefgh";
    o.size = 8;
    is_answer(ask("POST", "/", &o), 200, "");
    s.text = "abcdefgh";
    o.size = 5; // more is not asked for
    is_answer(ask("POST", "/", &o), 200, "");
    saw("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n3\r\ndef\r\n2\r\ngh\r\n0\r\n\r\n"
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nabcdefgh"
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabcde");
    has_done(4, 1);
}

INSIDE_CASE(test_body_that_fails)
{
    source s = {"abc", 3, EDOM};
    weft_http_request_options o = {};
    o.read = read_source;
    o.arg = &s;
    serve(nullptr, 0);
    begin_client();
    assert_errno(ask("POST", "/", &o), EDOM);
    s = {"abc", 3, 0};
    o.size = 4;
    assert_errno(ask("POST", "/", &o), EINVAL);
    assert_int_equal(information().idle, 0);
    end_client();
    end_server();
}

// A large one in both directions.
static char large[3 << 20];

static void *echo_large(void *)
{
    static char back[sizeof large];
    int fd = weft_io_accept(server.listener, weft_in_s(20));
    char memory[4096], *line;
    weft_io_buffer b = {memory, sizeof memory, 0, 0};
    weft_io_read_until(fd, &b, "\r\n\r\n", 4, &line, weft_in_s(20));
    size_t got = b.end - b.begin;
    memcpy(back, memory + b.begin, got);
    weft_io_read_all(fd, back + got, sizeof back - got, weft_in_s(20));
    weft_io_write(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", 38, weft_in_s(20));
    weft_io_write(fd, back, sizeof back, weft_in_s(20));
    weft_io_close(fd);
    return nullptr;
}

INSIDE_CASE(test_large_body)
{
    weft_http_request_options o = {};
    char *back;
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i * 7 + i / 251);
    memset(&server, 0, sizeof server);
    server.listener = weft_io_listen("tcp:127.0.0.1:0", nullptr);
    weft_io_address(server.listener, WEFT_IO_LOCAL, server.address, sizeof server.address);
    snprintf(server.url, sizeof server.url, "http://%.60s", server.address + 4);
    begin_client();
    weft_tasklet *t = spawn(echo_large, nullptr, true);
    o.body = large;
    o.size = sizeof large;
    weft_http_response *r = ask("POST", "/", &o);
    assert_non_null(r);
    assert_int_equal(weft_http_response_read_all(r, &back, sizeof large, weft_in_s(20)),
                     sizeof large);
    assert_memory_equal(back, large, sizeof large);
    free(back);
    weft_http_response_close(r);
    join(t);
    end_client();
    weft_io_close(server.listener);
}

// ---- Answers before the request has been read ----

static const answer too_early[] = {
    {"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", UNREAD},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", UNREAD},
    {"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", UNREAD},
};

SERVED_CASE(test_early_answer, too_early)
{
    weft_http_request_options o = {};
    o.body = large;
    o.size = sizeof large;
    for (size_t i = 0; i < 3; i++) {
        server.by_bytes = i == 2;
        is_answer(ask("POST", "/", &o), 413, "no");
    }
    has_done(3, 3);
}

// ---- What may not be asked ----

INSIDE_CASE(test_injection)
{
    static const char *const methods[] = {"",      " ",      "GET ",       "G T",    "GET\r\nX: y",
                                          "GET\n", "G\xc3T", "GET / HTTP", "CONNECT"};
    static const char *const fields[][2] = {
        {"", "x"},
        {"X ", "y"},
        {" X", "y"},
        {"X:", "y"},
        {"X\r\nY", "z"},
        {"X", "y\r\nZ: a"},
        {"X", "y\n"},
        {"X", "\r"},
        {"X", " y"},
        {"X", "y\t"},
        {"X", "y\x01"},
        {"X", "y\x7f"},
        {"Content-Length", "5"},
        {"transfer-encoding", "chunked"},
        {"Connection", "close"},
        {"Keep-Alive", "1"},
        {"Upgrade", "x"},
        {"TE", "trailers"},
        {"Trailer", "X"},
        {"Expect", "100-continue"},
        {"Proxy-Connection", "close"},
        {"X\xc3", "y"},
    };
    weft_http_request_options o = {};
    serve(nullptr, 0);
    begin_client();
    for (const char *each : methods)
        assert_errno(ask(each, "/"), EINVAL);
    for (auto &each : fields) {
        const char *const list[] = {"Good", "one", each[0], each[1], nullptr};
        o.fields = list;
        assert_errno(ask("GET", "/", &o), EINVAL);
    }
    static const char *const halves[] = {"X", nullptr}, *const hosts[] = {"Host", "a", "host", "b",
                                                                          nullptr};
    o.fields = halves;
    assert_errno(ask("GET", "/", &o), EINVAL);
    o.fields = hosts;
    assert_errno(ask("GET", "/", &o), EINVAL);
    o = {};
    o.size = 3;
    assert_errno(ask("POST", "/", &o), EINVAL);
    o.body = "abc";
    o.read = read_source;
    assert_errno(ask("POST", "/", &o), EINVAL);
    assert_errno(get("/a b"), EINVAL);
    assert_errno(get("/\r\nX: y"), EINVAL);
    assert_errno(get("/\xc3\xa4"), EINVAL);
    assert_errno(weft_http_get(client, "http://user@localhost/", WEFT_FOREVER), EINVAL);
    assert_errno(weft_http_get(client, "https://localhost/", WEFT_FOREVER), EPROTONOSUPPORT);
    assert_errno(weft_http_get(client, "unix:@weft-nobody-listens", WEFT_FOREVER), ECONNREFUSED);
    assert_errno(weft_http_get(client, "unix:/nonexistent/x", WEFT_FOREVER), ENOENT);
    assert_int_equal(server.connections, 0);
    end_client();
    end_server();
}

INSIDE_CASE(test_url_limit)
{
    static char url[8300];
    weft_http_client_options o = {};
    memset(url, 'a', sizeof url - 1);
    memcpy(url, "http://127.0.0.1:1/", 19);
    begin_client();
    assert_errno(weft_http_get(client, url, WEFT_FOREVER), ENAMETOOLONG);
    url[8192] = 0;
    assert_errno(weft_http_get(client, url, WEFT_FOREVER), ECONNREFUSED);
    end_client();
    o.url = 20;
    client = weft_http_client_create(&o);
    url[21] = 0;
    assert_errno(weft_http_get(client, url, WEFT_FOREVER), ENAMETOOLONG);
    url[20] = 0;
    assert_errno(weft_http_get(client, url, WEFT_FOREVER), ECONNREFUSED);
    end_client();
}

CASE(test_misuse)
{
    begin_client();
    assert_errno(weft_http_get(client, "http://localhost/", WEFT_FOREVER), EPERM);
    assert_errno(weft_http_get(client, nullptr, WEFT_FOREVER), EINVAL);
    assert_errno(weft_http_request(client, nullptr, "http://a", nullptr, WEFT_FOREVER), EINVAL);
    assert_errno(weft_http_client_statistics(client, nullptr), EINVAL);
    end_client();
}

// ---- Deadlines ----

static const answer slow[] = {
    {"", STALL},
    {"HTTP/1.1 200 OK\r\nConte", STALL},
    {"HTTP/1.1 100 Continue\r\n\r\n", STALL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", STALL},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", STALL}};

SERVED_CASE(test_deadlines, slow)
{
    char text[8];
    for (int i = 0; i < 3; i++)
        assert_errno(weft_http_get(client, url_of("/"), weft_in_ms(20)), ETIMEDOUT);
    for (int i = 0; i < 2; i++) {
        weft_http_response *r = get("/");
        assert_non_null(r);
        assert_int_equal(weft_http_response_read(r, text, 8, weft_in_s(20)), 3);
        for (int k = 0; k < 2; k++)
            assert_errno(weft_http_response_read(r, text, 8, k ? WEFT_NOW : weft_in_ms(5)),
                         ETIMEDOUT);
        assert_int_equal(weft_http_response_close(r), 0);
    }
    has_done(5, 5);
    assert_int_equal(information().idle, 0);
}

static const answer unread[] = {{"", UNREAD}};

SERVED_CASE(test_deadline_of_sending, unread)
{
    weft_http_request_options o = {};
    o.body = large;
    o.size = sizeof large;
    assert_errno(weft_http_request(client, "PUT", url_of("/"), &o, weft_in_ms(20)), ETIMEDOUT);
}

static void *get_cancelled(void *)
{
    weft_http_response *r = get("/");
    return r == nullptr ? (void *)(intptr_t)errno : nullptr;
}

static const answer stalled[] = {{"HTTP/1.1 200 OK\r\n", STALL}};

SERVED_CASE(test_cancel, stalled)
{
    void *error;
    weft_tasklet *t = spawn(get_cancelled, nullptr, true);
    while (server.next == 0)
        weft_tasklet_sleep(weft_in_us(100));
    weft_tasklet_cancel(t);
    assert_int_equal(weft_tasklet_join(t, &error, weft_in_s(20)), 0);
    assert_int_equal((intptr_t)error, ECANCELED);
}

// What was read before a deadline is not lost.
static const answer in_parts[] = {{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", STALL},
                                  {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", STAY}};

SERVED_CASE(test_read_all_goes_on, in_parts)
{
    char *body, text[8];
    weft_http_response *r = get("/");
    for (int i = 0; i < 3; i++)
        assert_errno(weft_http_response_read_all(r, &body, 5, weft_in_ms(5)), ETIMEDOUT);
    assert_int_equal(weft_http_response_read(r, text, 2, WEFT_NOW), 2);
    assert_memory_equal(text, "ab", 2);
    assert_int_equal(weft_http_response_read(r, text, 2, WEFT_NOW), 1);
    assert_int_equal(text[0], 'c');
    assert_errno(weft_http_response_read(r, text, 2, WEFT_NOW), ETIMEDOUT);
    weft_http_response_close(r);
    r = get("/");
    assert_int_equal(weft_http_response_read(r, text, 2, weft_in_s(20)), 2);
    assert_errno(weft_http_response_read_all(r, &body, 2, weft_in_s(20)), EMSGSIZE);
    assert_int_equal(weft_http_response_read_all(r, &body, 3, weft_in_s(20)), 3);
    assert_string_equal(body, "cde");
    free(body);
    assert_errno(weft_http_client_destroy(client), EBUSY);
    weft_http_response_close(r);
}

// ---- Limits ----

static const answer chunked_5[] = {
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n", STAY},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n", STAY},
    {LENGTH_5, STAY},
    {"HTTP/1.0 200 OK\r\n\r\nabcde", CLOSE},
};

SERVED_CASE(test_read_all_limit, chunked_5)
{
    char *body;
    for (size_t i = 0; i < 4; i++) {
        weft_http_response *r = get("/");
        for (size_t limit = 0; limit < 5; limit++)
            assert_errno(weft_http_response_read_all(r, &body, limit, weft_in_s(20)), EMSGSIZE);
        assert_int_equal(
            weft_http_response_read_all(r, &body, i == 1 ? SIZE_MAX : 5, weft_in_s(20)), 5);
        assert_string_equal(body, "abcde");
        free(body);
        assert_int_equal(weft_http_response_read_all(r, &body, 0, weft_in_s(20)), 0);
        assert_string_equal(body, "");
        free(body);
        weft_http_response_close(r);
    }
}

INSIDE_CASE(test_body_limit)
{
    char text[8];
    for (size_t limit = 4; limit <= 5; limit++) {
        weft_http_client_options o = {};
        o.body = limit;
        serve(chunked_5 + 1, 3);
        client = weft_http_client_create(&o);
        for (int i = 0; i < 3; i++) {
            weft_http_response *r = get("/");
            assert_non_null(r);
            if (limit == 5)
                assert_int_equal(weft_http_response_read(r, text, 8, weft_in_s(20)), 5);
            else
                for (int k = 0; k < 2; k++)
                    assert_errno(weft_http_response_read(r, text, 8, weft_in_s(20)), EMSGSIZE);
            weft_http_response_close(r);
        }
        end_client();
        end_server();
    }
}

static const answer long_heads[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nXXXXXXXXXXXXXXXXXX: yyyyyyyyyyyyyyyyyyyyyy\r\n\r\n",
     STALL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: b\r\nC: d\r\nE: f\r\n\r\n", STALL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: b\r\nC: dddddddddddddddddddd\r\n\r\n", STALL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: b\r\nC: d\r\n\r\n", STAY},
};

INSIDE_CASE(test_head_limits)
{
    weft_http_client_options o = {};
    o.limits = {40, 60, 3};
    serve(long_heads, 4);
    client = weft_http_client_create(&o);
    for (int i = 0; i < 3; i++)
        assert_errno(get("/"), EMSGSIZE);
    is_answer(get("/"), 200, "");
    end_client();
    end_server();
}

RUN_CASES()
