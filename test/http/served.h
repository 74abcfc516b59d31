// served.h: a server in weft_io_run, and raw clients.  The body of a case is the main tasklet.
#ifndef WEFT_TEST_HTTP_SERVED_H
#define WEFT_TEST_HTTP_SERVED_H

#include <weft/http.h>
#include <weft/io.h>

#include "../async/inside.h"

static weft_http_server *server;
static int listener, serve_result, serve_error;
static char server_address[128];
static weft_tasklet *serving_tasklet;

static void serve_it(void)
{
    serve_result = weft_http_serve(server, listener);
    serve_error = errno;
}

// A server that has begun; add routes before or after.
static inline void serve(const weft_http_server_options *o = nullptr,
                         const char *where = "tcp:127.0.0.1:0")
{
    server = weft_http_server_create(o);
    assert_non_null(server);
    listener = weft_io_listen(where, nullptr);
    assert_true(listener >= 0);
    weft_io_address(listener, WEFT_IO_LOCAL, server_address, sizeof server_address);
    serve_result = -2;
    serving_tasklet = spawn(serve_it, true);
    weft_tasklet_yield();
}

static inline weft_http_counters counters(void)
{
    weft_http_counters c;
    assert_int_equal(weft_http_statistics(server, &c), 0);
    return c;
}

static inline void route(const char *method, const char *prefix, weft_http_handler fn,
                         void *arg = nullptr)
{
    assert_int_equal(weft_http_route(server, method, prefix, fn, arg), 0);
}

// Stops it; all must have ended well.
static inline void unserve(void)
{
    assert_int_equal(weft_http_stop(server), 0);
    join(serving_tasklet);
    assert_int_equal(serve_result, 0);
    assert_int_equal(counters().connections, 0);
    assert_int_equal(counters().idle, 0);
    assert_int_equal(weft_http_server_destroy(server), 0);
    weft_io_close(listener);
}

// ---- Clients ----

static inline weft_deadline soon(void)
{
    return weft_in_s(30);
}

static inline int client(void)
{
    int fd = weft_io_connect(server_address, soon());
    assert_true(fd >= 0);
    return fd;
}

static inline void say_bytes(int fd, const void *text, size_t n)
{
    assert_int_equal(weft_io_write(fd, text, n, soon()), n);
}

static inline void say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

// All up to the end.
static inline size_t hear_all(int fd, char *text, size_t room)
{
    size_t n = 0;
    for (ssize_t got; n + 1 < room && (got = weft_io_read(fd, text + n, room - 1 - n, soon())) > 0;)
        n += (size_t)got;
    text[n] = 0;
    return n;
}

// One response: its head, and a body of Content-Length or chunks as it came.  Reads no byte more.
static inline size_t hear(int fd, char *text, size_t room)
{
    size_t n = 0;
    char *end = nullptr;
    while (end == nullptr && n + 1 < room) {
        if (weft_io_read(fd, text + n, 1, soon()) != 1)
            break;
        text[++n] = 0;
        end = strstr(text, "\r\n\r\n");
    }
    text[n] = 0;
    const char *length = strcasestr(text, "\r\nContent-Length: ");
    size_t body = length != nullptr ? strtoul(length + 18, nullptr, 10) : 0;
    assert_true(n + body < room);
    n += (size_t)weft_io_read_all(fd, text + n, body, soon());
    text[n] = 0;
    if (strcasestr(text, "\r\nTransfer-Encoding: chunked") != nullptr)
        while (n + 1 < room && (n < 5 || strcmp(text + n - 5, "0\r\n\r\n") != 0) &&
               weft_io_read(fd, text + n, 1, soon()) == 1)
            text[++n] = 0;
    return n;
}

static inline const char *body_of(const char *response)
{
    const char *end = strstr(response, "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

static char heard[1 << 16];

// One exchange: the response's status; `heard` is all of it.
static inline int ask(int fd, const char *request)
{
    say(fd, request);
    hear(fd, heard, sizeof heard);
    return strncmp(heard, "HTTP/1.1 ", 9) == 0 ? atoi(heard + 9) : -1;
}

static inline bool heard_field(const char *line)
{
    char text[256];
    snprintf(text, sizeof text, "\r\n%s\r\n", line);
    const char *found = strstr(heard, text);
    return found != nullptr && found < body_of(heard);
}

// On a connection of its own.
static inline int ask_once(const char *request)
{
    int fd = client(), status = ask(fd, request);
    weft_io_close(fd);
    return status;
}

// The server closes it, without a reset, and without a byte more.
static inline void is_closed(int fd)
{
    char byte;
    assert_int_equal(weft_io_read(fd, &byte, 1, soon()), 0);
    weft_io_close(fd);
}

static inline void is_reset(int fd)
{
    char dropped[4096];
    ssize_t n;
    while ((n = weft_io_read(fd, dropped, sizeof dropped, soon())) > 0)
        ;
    assert_int_equal(n, -1);
    assert_int_equal(errno, ECONNRESET);
    weft_io_close(fd);
}

// Waits until something is so.
#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        weft_deadline until_at = soon();                                                           \
        while (!(condition) && weft_left(until_at) > 0)                                            \
            weft_tasklet_sleep(weft_in_ms(1));                                                     \
        assert_true(condition);                                                                    \
    } while (0)

// ---- Handlers ----

[[maybe_unused]] static void hello(weft_http_exchange *x, void *)
{
    weft_http_reply(x, 200, "text/plain", "hello\n", 6);
}

// What the request's body was.
[[maybe_unused]] static void echo(weft_http_exchange *x, void *)
{
    char text[1000];
    ssize_t n = 0;
    weft_http_begin(x, 200, "application/octet-stream", WEFT_HTTP_CHUNKED);
    while ((n = weft_http_read(x, text, sizeof text, soon())) > 0)
        weft_http_write(x, text, (size_t)n, soon());
    if (n < 0)
        weft_http_abort(x);
}

// How many bytes it had.
[[maybe_unused]] static void count_body(weft_http_exchange *x, void *)
{
    char text[1000];
    size_t all = 0;
    ssize_t n;
    while ((n = weft_http_read(x, text, sizeof text, soon())) > 0)
        all += (size_t)n;
    if (n == 0)
        weft_http_reply(x, 200, "text/plain", text,
                        (size_t)snprintf(text, sizeof text, "%zu", all));
}

#endif
