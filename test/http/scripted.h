// scripted.h: a server that reads requests and answers with what a test wrote down, byte for byte.
//
//     static const answer answers[] = {{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}};
//     serve(answers, 1);
//     ... weft_http_get(c, server.url, ...) ...
//     end_server(); // all of them were given
//
// It runs as tasklets beside the test's own, on a unix socket: there the kernel tells whether the
// client has read what was sent, so that parts of an answer come apart without waiting for time.
#ifndef WEFT_TEST_SCRIPTED_H
#define WEFT_TEST_SCRIPTED_H

#include "../async/inside.h"

#include <weft/http_client.h>

#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>

enum {
    STAY = 0,   // reads the next request of the connection
    CLOSE = 1,  // ends the connection behind it
    RESET = 2,  // and drops it
    STALL = 3,  // sends no more until the client closes
    UNREAD = 4, // answers as soon as the head has come, and reads no body
    DEAF = 5    // ends the connection on its next request, without a word
};

struct answer {
    const char *text;
    int then;
};

static struct {
    int listener;
    char url[80], address[64];
    const answer *answers;
    size_t count, next; // answers
    size_t connections, open;
    size_t split;       // an answer is sent in two parts, the first of so many bytes; 0: in one
    bool by_bytes;      // each byte by itself
    char seen[1 << 16]; // requests
    size_t seen_size;
} server;

// Until the client has read all.
static inline void await_read(int fd)
{
    for (int left = 1; ioctl(fd, SIOCOUTQ, &left) == 0 && left > 0;)
        weft_tasklet_sleep(weft_in_us(20));
}

static inline void send_part(int fd, const char *text, size_t n)
{
    if (n > 0 && weft_io_write(fd, text, n, weft_in_s(20)) == (ssize_t)n)
        await_read(fd);
}

static inline void send_answer(int fd, const char *text)
{
    size_t n = strlen(text), first = server.split < n ? server.split : n;
    for (; server.by_bytes && n > 1; n--)
        send_part(fd, text++, 1);
    if (server.split > 0 && !server.by_bytes) {
        send_part(fd, text, first);
        text += first;
        n -= first;
    }
    if (n > 0)
        weft_io_write(fd, text, n, weft_in_s(20));
}

static inline char *request_end(char *text, bool head_alone)
{
    char *end = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "\r\nContent-Length: ");
    if (end == nullptr || head_alone)
        return end != nullptr ? end + 4 : nullptr;
    if (length != nullptr && length < end) {
        size_t n = strtoul(length + 18, nullptr, 10);
        return strlen(end + 4) >= n ? end + 4 + n : nullptr;
    }
    if (strcasestr(text, "\r\nTransfer-Encoding: chunked\r\n") == nullptr)
        return end + 4;
    if (strncmp(end + 4, "0\r\n\r\n", 5) == 0)
        return end + 9;
    end = strstr(end, "\r\n0\r\n\r\n");
    return end != nullptr ? end + 7 : nullptr;
}

// Whether one came; it is added to what was seen.
static inline bool read_request(int fd, bool head_alone)
{
    char *from = server.seen + server.seen_size;
    for (;;) {
        size_t room = head_alone ? 256 : sizeof server.seen - server.seen_size - 1;
        ssize_t n = weft_io_read(fd, server.seen + server.seen_size, room, weft_in_s(30));
        if (n <= 0)
            return false;
        server.seen_size += (size_t)n;
        server.seen[server.seen_size] = 0;
        if (request_end(from, head_alone) != nullptr)
            return true;
    }
}

// Until the client has closed it, whatever it has sent.
static inline void await_hangup(int fd)
{
    for (struct pollfd p = {fd, 0, 0}; poll(&p, 1, 0) == 0 || !(p.revents & POLLHUP);)
        weft_tasklet_sleep(weft_in_us(100));
}

static inline void *serve_connection(void *arg)
{
    int fd = (int)(intptr_t)arg, then = STAY;
    bool deaf = false;
    while (then == STAY) {
        bool unread = server.next < server.count && server.answers[server.next].then == UNREAD;
        if (!read_request(fd, unread) || deaf)
            break;
        if (server.next == server.count) {
            then = CLOSE;
            break;
        }
        const answer *a = &server.answers[server.next++];
        then = a->then;
        send_answer(fd, a->text);
        deaf = then == DEAF;
        if (deaf)
            then = STAY;
    }
    if (then == STALL || then == UNREAD)
        await_hangup(fd);
    if (then == RESET) {
        await_read(fd);
        struct linger l = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    }
    weft_io_close(fd);
    server.open--;
    return nullptr;
}

static inline void accept_all(void)
{
    for (int fd; (fd = weft_io_accept(server.listener, WEFT_FOREVER)) >= 0;) {
        server.connections++;
        server.open++;
        spawn(serve_connection, (void *)(intptr_t)fd);
    }
}

// The answers in their order, whatever connection asks.
static inline void serve(const answer *answers, size_t count, bool tcp = false)
{
    static int number;
    memset(&server, 0, sizeof server);
    snprintf(server.address, sizeof server.address, "unix:@weft-http-%d-%d", getpid(), number++);
    server.listener = weft_io_listen(tcp ? "tcp:127.0.0.1:0" : server.address, nullptr);
    assert_true(server.listener >= 0);
    assert_int_equal(
        weft_io_address(server.listener, WEFT_IO_LOCAL, server.address, sizeof server.address), 0);
    snprintf(server.url, sizeof server.url,
             tcp ? "http://%.60s" : "%.60s:", server.address + (tcp ? 4 : 0));
    server.answers = answers;
    server.count = count;
    spawn(accept_all);
    weft_tasklet_yield();
}

// The connections end as the client's do.
static inline void close_server(void)
{
    weft_io_close(server.listener);
    while (server.open > 0)
        assert_int_equal(weft_tasklet_sleep(weft_in_us(100)), 0);
}

static inline void end_server(void)
{
    close_server();
    assert_int_equal(server.next, server.count);
}

// ---- The client's side ----

static weft_http_client *client;

static inline void begin_client(int64_t idle_ns = 0)
{
    weft_http_client_options o = {};
    o.idle_ns = idle_ns;
    client = weft_http_client_create(&o);
    assert_non_null(client);
}

static inline void end_client(void)
{
    assert_int_equal(weft_http_client_destroy(client), 0);
    client = nullptr;
}

static inline const char *url_of(const char *path)
{
    static char text[2][256];
    static int turn;
    turn = !turn;
    snprintf(text[turn], sizeof text[turn], "%.79s%.160s", server.url, path);
    return text[turn];
}

static inline weft_http_response *get(const char *path)
{
    return weft_http_get(client, url_of(path), weft_in_s(20));
}

static inline weft_http_response *ask(const char *method, const char *path,
                                      const weft_http_request_options *o = nullptr)
{
    return weft_http_request(client, method, url_of(path), o, weft_in_s(20));
}

// It is this, and closed.
static inline void is_answer(weft_http_response *r, int status, const char *body)
{
    char *text = nullptr;
    if (r == nullptr)
        fail_msg("no answer, but errno %d (%s)", errno, strerror(errno));
    assert_int_equal(r->status, status);
    ssize_t n = weft_http_response_read_all(r, &text, 1 << 20, weft_in_s(20));
    if (n != (ssize_t)strlen(body) || memcmp(text, body, (size_t)n) != 0)
        fail_msg("the body is \"%s\", errno %d", n >= 0 ? text : "none", errno);
    free(text);
    assert_int_equal(weft_http_response_close(r), 0);
}

static inline weft_http_client_information information(void)
{
    weft_http_client_information i;
    assert_int_equal(weft_http_client_statistics(client, &i), 0);
    return i;
}

static inline void has_done(uint64_t requests, uint64_t connects, uint64_t again = 0)
{
    weft_http_client_information i = information();
    assert_int_equal(i.requests, requests);
    assert_int_equal(i.connects, connects);
    assert_int_equal(i.again, again);
    assert_int_equal(i.reused, requests - connects);
    assert_int_equal(server.connections, connects);
}

#define SERVED_CASE(fn, answers)                                                                   \
    static void fn##_served(void);                                                                 \
    INSIDE_CASE(fn)                                                                                \
    {                                                                                              \
        serve(answers, sizeof answers / sizeof answers[0]);                                        \
        begin_client();                                                                            \
        fn##_served();                                                                             \
        end_client();                                                                              \
        end_server();                                                                              \
    }                                                                                              \
    static void fn##_served(void)

#endif
