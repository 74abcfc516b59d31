// Redirects: methods, references, other origins, limits.
#include "scripted.h"

#define NOTHING "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static char texts[8][256];

static const char *redirect(int i, int status, const char *location)
{
    snprintf(texts[i], sizeof texts[i],
             "HTTP/1.1 %d Elsewhere\r\nLocation: %s\r\nContent-Length: 2\r\n\r\nno", status,
             location);
    return texts[i];
}

static const char *first_line(int n)
{
    static char line[256];
    const char *at = server.seen;
    for (; n > 0; n--)
        at = strstr(at, "\r\n\r\n") + 4;
    snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\r"), at);
    return line;
}

// ---- Methods ----

static ssize_t read_nothing(void *, size_t, void *)
{
    return 0;
}

INSIDE_CASE(test_methods)
{
    static const struct {
        int status;
        const char *method, *then;
    } rules[] = {
        {301, "GET", "GET"},    {301, "POST", "GET"},  {301, "PUT", "PUT"},
        {301, "HEAD", "HEAD"},  {302, "POST", "GET"},  {302, "DELETE", "DELETE"},
        {303, "GET", "GET"},    {303, "POST", "GET"},  {303, "PUT", "GET"},
        {303, "DELETE", "GET"}, {303, "HEAD", "HEAD"}, {307, "GET", "GET"},
        {307, "POST", "POST"},  {308, "POST", "POST"}, {308, "PATCH", "PATCH"},
    };
    static const char *const fields[] = {"Content-Type", "a/b", "Content-Encoding", "x", "X-Y", "z",
                                         nullptr};
    for (auto &rule : rules) {
        char line[32], again[256];
        bool same = strcmp(rule.method, rule.then) == 0,
             post = strcmp(rule.method, "GET") != 0 && strcmp(rule.method, "HEAD") != 0;
        answer answers[] = {{redirect(0, rule.status, "/b"), STAY}, {NOTHING, STAY}};
        // A HEAD request's answer has no body.
        if (strcmp(rule.method, "HEAD") == 0)
            strstr(texts[0], "\r\n\r\n")[4] = 0;
        weft_http_request_options o = {};
        o.body = "abc";
        o.size = post ? 3 : 0;
        o.fields = fields;
        serve(answers, 2);
        begin_client();
        is_answer(ask(rule.method, "/a", &o), 200, "");
        snprintf(line, sizeof line, "%s /b HTTP/1.1", rule.then);
        char *second = strstr(server.seen, " /b HTTP");
        assert_non_null(second);
        second -= strlen(rule.then);
        snprintf(again, sizeof again, "%s\r\nHost: localhost\r\n%sX-Y: z\r\n%s\r\n%s", line,
                 same ? "Content-Type: a/b\r\nContent-Encoding: x\r\n" : "",
                 same && post ? "Content-Length: 3\r\n" : "", same && post ? "abc" : "");
        assert_string_equal(second, again);
        assert_int_equal(information().redirects, 1);
        has_done(2, 1);
        end_client();
        end_server();
    }
}

// What was read once can't be sent again: the redirect is the answer.
INSIDE_CASE(test_body_that_was_read)
{
    weft_http_request_options o = {};
    o.read = read_nothing;
    answer answers[] = {
        {redirect(0, 307, "/b"), STAY}, {redirect(1, 302, "/b"), STAY}, {NOTHING, STAY}};
    serve(answers, 3);
    begin_client();
    is_answer(ask("POST", "/a", &o), 307, "no");
    is_answer(ask("POST", "/a", &o), 200, "");
    end_client();
    end_server();
}

// ---- No redirects ----

static const answer none[] = {
    {"HTTP/1.1 302 Found\r\nContent-Length: 2\r\n\r\nno", STAY},
    {"HTTP/1.1 300 Many\r\nLocation: /b\r\nContent-Length: 2\r\n\r\nno", STAY},
    {"HTTP/1.1 304 Same\r\nLocation: /b\r\n\r\n", STAY},
    {"HTTP/1.1 305 Proxy\r\nLocation: /b\r\nContent-Length: 2\r\n\r\nno", STAY},
    {"HTTP/1.1 201 Made\r\nLocation: /b\r\nContent-Length: 2\r\n\r\nno", STAY},
};

SERVED_CASE(test_no_redirects, none)
{
    static const int statuses[] = {302, 300, 304, 305, 201};
    for (int status : statuses)
        is_answer(get("/a"), status, status == 304 ? "" : "no");
}

// ---- References ----

INSIDE_CASE(test_references)
{
    char absolute[128];
    answer answers[] = {{nullptr, STAY},
                        {redirect(1, 302, "c d?e#f"), STAY},
                        {redirect(2, 302, "?g"), STAY},
                        {redirect(3, 302, "../h"), STAY},
                        {NOTHING, STAY}};
    serve(answers, 5);
    snprintf(absolute, sizeof absolute, "%.79s/x/y/", server.url);
    answers[0].text = redirect(0, 302, absolute);
    begin_client();
    weft_http_response *r = get("/a");
    assert_non_null(r);
    assert_string_equal(r->url, url_of("/x/h"));
    is_answer(r, 200, "");
    static const char *const lines[] = {"GET /a HTTP/1.1", "GET /x/y/ HTTP/1.1",
                                        "GET /x/y/c%20d?e HTTP/1.1", "GET /x/y/c%20d?g HTTP/1.1",
                                        "GET /x/h HTTP/1.1"};
    for (int i = 0; i < 5; i++)
        assert_string_equal(first_line(i), lines[i]);
    has_done(5, 1);
    end_client();
    end_server();
}

INSIDE_CASE(test_bad_locations)
{
    static const struct {
        const char *location;
        int error;
    } bad[] = {
        {"https://localhost/", EPROTONOSUPPORT},
        {"ftp://localhost/", EPROTONOSUPPORT},
        {"javascript:alert(1)", EPROTONOSUPPORT},
        {"http://user@localhost/", EPROTO},
        {"http://localhost:99999/", EPROTO},
        {"http://", EPROTO},
        {"//localhost/", EPROTO}, // of what scheme?
        {"unix:/run/other.sock:/x", EPROTO},
        {"/a\tb", EPROTO},
        {"/a\r\nLocation: /b", EPROTO},
    };
    for (auto &each : bad) {
        answer answers[] = {{redirect(0, 302, each.location), STAY}};
        serve(answers, 1);
        begin_client();
        if (get("/a") != nullptr || errno != each.error)
            fail_msg("%s: errno %d", each.location, errno);
        end_client();
        end_server();
    }
}

INSIDE_CASE(test_not_from_http_to_unix)
{
    answer answers[] = {{redirect(0, 302, "unix:/run/docker.sock:/x"), CLOSE}};
    serve(answers, 1, true);
    begin_client();
    assert_errno(get("/a"), EPROTO);
    end_client();
    end_server();
}

// ---- Limits ----

INSIDE_CASE(test_loop)
{
    answer answers[11];
    for (answer &each : answers)
        each = {redirect(0, 302, "/a"), STAY};
    serve(answers, 11);
    begin_client();
    assert_errno(get("/a"), ELOOP);
    has_done(11, 1);
    assert_int_equal(information().redirects, 10);
    end_client();
    end_server();
}

INSIDE_CASE(test_limit)
{
    for (int limit = -1; limit <= 2; limit++) {
        answer answers[] = {
            {redirect(0, 302, "/b"), STAY}, {redirect(1, 302, "/c"), STAY}, {NOTHING, STAY}};
        weft_http_client_options o = {};
        o.redirects = limit != 0 ? limit : 10;
        serve(answers, limit < 0 ? 1 : limit == 1 ? 2 : 3);
        client = weft_http_client_create(&o);
        if (limit < 0)
            is_answer(get("/a"), 302, "no");
        else if (limit == 1)
            assert_errno(get("/a"), ELOOP);
        else
            is_answer(get("/a"), 200, "");
        end_client();
        end_server();
    }
}

INSIDE_CASE(test_long_location)
{
    static char text[9000] = "HTTP/1.1 302 Elsewhere\r\nLocation: /";
    size_t n = strlen(text);
    answer answers[] = {{text, STAY}};
    weft_http_client_options o = {};
    memset(text + n, 'x', 8000);
    strcpy(text + n + 8000, "\r\nContent-Length: 0\r\n\r\n");
    o.url = 1000;
    serve(answers, 1);
    client = weft_http_client_create(&o);
    assert_errno(get("/a"), ENAMETOOLONG);
    end_client();
    end_server();
}

// ---- Other origins ----

static const char *const secrets[] = {"Authorization", "Basic eA==", "COOKIE", "a=b", "X-Y", "z",
                                      "Host",          "named",      nullptr};

static int first_listener;

static void accept_at_first(void)
{
    int fd = weft_io_accept(first_listener, weft_in_s(20));
    server.open++;
    spawn(serve_connection, (void *)(intptr_t)fd);
}

static const char *rest_of(int n)
{
    const char *at = server.seen;
    for (; n > 0; n--)
        at = strstr(at, "\r\n\r\n") + 4;
    return at;
}

// Both listeners have one list of answers.
INSIDE_CASE(test_secrets_stay)
{
    char away[128], place[80], expected[256];
    answer answers[] = {{nullptr, STAY}, {NOTHING, STAY}};
    weft_http_request_options o = {};
    o.fields = secrets;
    begin_client();
    snprintf(place, sizeof place, "unix:@weft-http-first-%d", getpid());
    int listener = weft_io_listen(place, nullptr);
    strcat(place, ":/a");
    serve(answers, 2, true);
    snprintf(away, sizeof away, "%.79s/b", server.url);
    answers[0].text = redirect(0, 307, away);
    // The first one's connections are accepted by a tasklet of its own.
    first_listener = listener;
    spawn(accept_at_first);
    is_answer(weft_http_request(client, "GET", place, &o, weft_in_s(20)), 200, "");
    snprintf(expected, sizeof expected,
             "GET /a HTTP/1.1\r\nHost: named\r\nAuthorization: Basic eA==\r\nCOOKIE: a=b\r\n"
             "X-Y: z\r\n\r\nGET /b HTTP/1.1\r\nHost: %.60s\r\nX-Y: z\r\n\r\n",
             server.url + 7);
    assert_string_equal(server.seen, expected);
    end_client();
    weft_io_close(listener);
    end_server();
}

// They go along where it stays.
INSIDE_CASE(test_secrets_go_along)
{
    answer answers[] = {{redirect(0, 302, "/b"), STAY}, {NOTHING, STAY}};
    weft_http_request_options o = {};
    o.fields = secrets;
    serve(answers, 2);
    begin_client();
    is_answer(ask("GET", "/a", &o), 200, "");
    assert_string_equal(rest_of(1),
                        "GET /b HTTP/1.1\r\nHost: named\r\nAuthorization: Basic eA==\r\n"
                        "COOKIE: a=b\r\nX-Y: z\r\n\r\n");
    end_client();
    end_server();
}

RUN_CASES()
