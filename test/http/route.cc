// weft_http_route: which handler answers, and what is answered where there is none.
#include "served.h"

static void say_name(weft_http_exchange *x, void *name)
{
    char text[256];
    int n = snprintf(text, sizeof text, "%s %s [%s]", (const char *)name, x->method, x->rest);
    weft_http_reply(x, 200, "text/plain", text, (size_t)n);
}

static void name_route(const char *method, const char *prefix, const char *name)
{
    route(method, prefix, say_name, (void *)name);
}

// What is answered: the body, or the status of what is no 200.
static const char *answer(const char *method, const char *target)
{
    static char request[512], status[8];
    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
             method, target);
    int fd = client();
    say(fd, request);
    hear_all(fd, heard, sizeof heard);
    weft_io_close(fd);
    snprintf(status, sizeof status, "%.3s", heard + strlen("HTTP/1.1 "));
    return strcmp(status, "200") == 0 ? body_of(heard) : status;
}

INSIDE_CASE(test_route_prefixes)
{
    static const struct {
        const char *target, *answer;
    } table[] = {
        {"/", "root GET []"},
        {"/x", "root GET [x]"},
        {"/a", "a GET []"},
        {"/a/", "a GET [/]"},
        {"/a/b", "ab GET []"},
        {"/a/b/c", "ab GET [/c]"},
        {"/a/bc", "a GET [/bc]"},
        {"/ab", "root GET [ab]"},
        {"/dir", "root GET [dir]"},
        {"/dir/", "dir GET []"},
        {"/dir/x/y", "dir GET [x/y]"},
        {"/a?b=/dir/", "a GET []"},
        {"//a///b", "ab GET []"},
        {"/x/../a/./b", "ab GET []"},
        {"/%61", "a GET []"},
        {"/a%2fb", "ab GET []"},
        {"http://other/a/b?x", "ab GET []"},
        {"http://other", "root GET []"},
        {"/..", "400"},
        {"/a/../../b", "400"},
        {"/%2e%2e/b", "400"},
        {"/a%00", "400"},
        {"/a%0a", "400"},
        {"/a%zz", "400"},
    };
    serve();
    name_route("GET", "/a", "a");
    name_route("GET", "/", "root");
    name_route("GET", "/a/b", "ab");
    name_route("GET", "/dir/", "dir");
    for (const auto &each : table)
        assert_string_equal(answer("GET", each.target), each.answer);
    unserve();
}

INSIDE_CASE(test_route_methods)
{
    serve();
    name_route("GET", "/", "root");
    name_route("POST", "/form", "post");
    name_route(nullptr, "/any", "any");
    name_route("PUT", "/any", "put");
    name_route("HEAD", "/head", "own");
    name_route("GET", "/head", "get");
    assert_string_equal(answer("POST", "/form"), "post POST []");
    assert_string_equal(answer("GET", "/form"), "root GET [form]");
    assert_string_equal(answer("DELETE", "/any/x"), "any DELETE [/x]");
    assert_string_equal(answer("OPTIONS", "/any"), "any OPTIONS []");
    assert_string_equal(answer("PUT", "/any"), "put PUT []");
    assert_string_equal(answer("GET", "/head"), "get GET []");

    assert_string_equal(answer("PUT", "/form"), "405");
    assert_true(heard_field("Allow: POST, GET, HEAD, OPTIONS"));
    assert_string_equal(answer("PUT", "/x"), "405");
    assert_true(heard_field("Allow: GET, HEAD, OPTIONS"));
    assert_string_equal(answer("get", "/"), "405"); // methods have a case
    unserve();
}

INSIDE_CASE(test_route_none)
{
    serve();
    assert_string_equal(answer("GET", "/"), "404");
    assert_string_equal(body_of(heard), "404 Not Found\n");
    name_route("GET", "/a", "a");
    assert_string_equal(answer("GET", "/b"), "404");
    assert_string_equal(answer("OPTIONS", "/b"), "404");
    unserve();
}

INSIDE_CASE(test_route_options)
{
    serve();
    name_route("GET", "/a", "a");
    name_route("DELETE", "/b", "b");
    assert_string_equal(answer("OPTIONS", "/a"), "204");
    assert_true(heard_field("Allow: GET, HEAD, OPTIONS"));
    assert_null(strstr(heard, "Content-Length"));
    assert_string_equal(answer("OPTIONS", "*"), "204");
    assert_true(heard_field("Allow: GET, HEAD, DELETE, OPTIONS"));
    assert_string_equal(answer("CONNECT", "a:80"), "501");
    unserve();
}

// What has no path.
INSIDE_CASE(test_route_without_path)
{
    serve();
    name_route(nullptr, "/", "root");
    assert_string_equal(answer("OPTIONS", "http://b"), "204");
    assert_string_equal(answer("OPTIONS", "http://b/"), "root OPTIONS []");
    assert_string_equal(answer("OPTIONS", "http://b?c"), "root OPTIONS []");
    assert_string_equal(answer("CONNECT", "a:80"), "501");
    name_route("CONNECT", "/", "tunnel");
    assert_string_equal(answer("CONNECT", "a:80"), "tunnel CONNECT []");
    unserve();
}

INSIDE_CASE(test_route_head)
{
    serve();
    route("GET", "/hello", hello);
    assert_int_equal(ask_once("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    char before[1024];
    snprintf(before, sizeof before, "%.*s", (int)(body_of(heard) - heard), heard);
    int fd = client();
    say(fd, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n"
            "Connection: close\r\n\r\n");
    hear_all(fd, heard, sizeof heard);
    weft_io_close(fd);
    // The next response is right behind the head; of the date the second may be another.
    const char *behind = body_of(heard);
    assert_int_equal(behind - heard, strlen(before));
    assert_true(heard_field("Content-Length: 6"));
    assert_memory_equal(behind, "HTTP/1.1 404 Not Found\r\n", 24);
    unserve();
}

CASE(test_route_errors)
{
    weft_http_server *s = weft_http_server_create(nullptr);
    assert_errno(weft_http_route(nullptr, "GET", "/", hello, nullptr), EINVAL);
    assert_errno(weft_http_route(s, "GET", nullptr, hello, nullptr), EINVAL);
    assert_errno(weft_http_route(s, "GET", "", hello, nullptr), EINVAL);
    assert_errno(weft_http_route(s, "GET", "a", hello, nullptr), EINVAL);
    assert_errno(weft_http_route(s, "", "/", hello, nullptr), EINVAL);
    assert_errno(weft_http_route(s, "G T", "/", hello, nullptr), EINVAL);
    assert_errno(weft_http_route(s, "GET", "/", nullptr, nullptr), EINVAL);
    assert_int_equal(weft_http_route(s, "GET", "/", hello, nullptr), 0);
    assert_errno(weft_http_route(s, "GET", "/", hello, nullptr), EEXIST);
    assert_int_equal(weft_http_route(s, nullptr, "/", hello, nullptr), 0);
    assert_errno(weft_http_route(s, nullptr, "/", hello, nullptr), EEXIST);
    assert_int_equal(weft_http_route(s, "PUT", "/", hello, nullptr), 0);
    assert_int_equal(weft_http_server_destroy(s), 0);
}

RUN_CASES()
