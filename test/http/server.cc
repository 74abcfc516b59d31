// weft_http_serve: connections, from their begin to the drain.
#include "served.h"

INSIDE_CASE(test_serve_one)
{
    serve();
    route("GET", "/hello", hello);
    int fd = client();
    assert_int_equal(ask(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    assert_string_equal(body_of(heard), "hello\n");
    assert_true(heard_field("Content-Length: 6"));
    assert_true(heard_field("Content-Type: text/plain"));
    assert_int_equal(ask(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    assert_int_equal(ask(fd, "GET /none HTTP/1.1\r\nHost: a\r\n\r\n"), 404);
    weft_io_close(fd);
    UNTIL(counters().connections == 0);
    assert_int_equal(counters().requests, 3);
    assert_int_equal(counters().status[2], 2);
    assert_int_equal(counters().status[4], 1);
    unserve();
}

RUN_CASES()
