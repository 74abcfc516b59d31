// raw.h: RESP connections without any client library, for tests that look at every byte.
//
//     raw c;
//     raw_open(&c, "unix:/run/me/shared");
//     ask(&c, "SET k v");                       // its reply, as it came: "+OK\r\n"
//     says(&c, "GET k", "$1\r\nv\r\n");         // the same, asserted
//     raw_close(&c);
//
// Waits end after RAW_SECONDS with a failure, so a server that hangs is told by its line.
#ifndef WEFT_TEST_RAW_H
#define WEFT_TEST_RAW_H

#include <weft/deadline.h>

#include "../runner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { RAW_SECONDS = RUNNER_SANITIZED ? 200 : 50 };

// One connection.  Bytes used..have of `in` have come and are not looked at yet.
struct raw {
    int fd;
    char *in;
    size_t used, have, room;
};

// ---- What a reply is ----

// The number in the line at p, and where the line ends; 0: not all here.
static inline size_t resp_line(const char *p, size_t n, long long *number)
{
    const char *end = (const char *)memchr(p, '\n', n);
    if (end == nullptr)
        return 0;
    *number = n > 1 ? strtoll(p + 1, nullptr, 10) : 0;
    return (size_t)(end + 1 - p);
}

// How long the reply that begins at p is; 0 if it is not complete within n.
static inline size_t resp_size(const char *p, size_t n)
{
    long long count;
    size_t at = n == 0 ? 0 : resp_line(p, n, &count);
    if (at == 0)
        return 0;
    switch (*p) {
    case '+':
    case '-':
    case ':':
    case '_':
    case '#':
    case ',':
    case '(':
        return at;
    case '$':
    case '=':
    case '!':
        if (count < 0)
            return at;
        return at + (size_t)count + 2 <= n ? at + (size_t)count + 2 : 0;
    case '%':
        count *= 2;
        break;
    case '*':
    case '~':
    case '>':
        break;
    default:
        fprintf(stderr, "no reply begins with byte %d\n", *p);
        abort();
    }
    for (; count > 0; count--) {
        size_t one = resp_size(p + at, n - at);
        if (one == 0)
            return 0;
        at += one;
    }
    return at;
}

// ---- Showing bytes ----

static inline void show(FILE *to, const char *p, size_t n, size_t most)
{
    fputc('"', to);
    for (size_t i = 0; i < n && i < most; i++)
        if (p[i] == '\r' || p[i] == '\n')
            fputs(p[i] == '\r' ? "\\r" : "\\n", to);
        else if (p[i] < ' ' || p[i] > '~' || p[i] == '"' || p[i] == '\\')
            fprintf(to, "\\x%02x", (unsigned char)p[i]);
        else
            fputc(p[i], to);
    fprintf(to, n > most ? "\"... (%zu bytes)" : "\"", n);
}

// ---- Connections ----

static inline int raw_socket_unix(const char *path)
{
    struct sockaddr_un a = {};
    size_t n = strlen(path);
    a.sun_family = AF_UNIX;
    memcpy(a.sun_path, path, n);
    if (path[0] == '@')
        a.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (path[0] != '@'));
    if (connect(fd, (struct sockaddr *)&a, size) == 0)
        return fd;
    close(fd);
    return -1;
}

static inline int raw_socket_tcp(int port)
{
    struct sockaddr_in a = {};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_family = AF_INET;
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    close(fd);
    return -1;
}

// A blocking socket to "unix:PATH", "unix:@NAME" or "tcp:127.0.0.1:PORT"; -1 and errno.
static inline int raw_socket(const char *address)
{
    if (strncmp(address, "unix:", 5) == 0)
        return raw_socket_unix(address + 5);
    return raw_socket_tcp(atoi(strrchr(address, ':') + 1));
}

static inline void raw_adopt(raw *c, int fd)
{
    *c = {};
    c->fd = fd;
}

static inline void raw_open(raw *c, const char *address)
{
    raw_adopt(c, raw_socket(address));
    if (c->fd < 0)
        fail_msg("%s: %s", address, strerror(errno));
}

static inline void raw_close(raw *c)
{
    close(c->fd);
    free(c->in);
    *c = {};
    c->fd = -1;
}

// ---- Bytes in and out ----

static inline bool raw_ready(int fd, short events, weft_deadline d)
{
    struct pollfd p = {fd, events, 0};
    int64_t left = weft_left(d) / 1000000;
    return poll(&p, 1, left < 0 ? 0 : (int)left + (left > 0)) > 0;
}

static inline void raw_room(raw *c, size_t n)
{
    if (c->used == c->have)
        c->used = c->have = 0;
    if (c->room - c->have >= n)
        return;
    if (c->used > 0)
        memmove(c->in, c->in + c->used, c->have - c->used);
    c->have -= c->used;
    c->used = 0;
    if (c->room - c->have >= n)
        return;
    c->room = c->room * 2 + n;
    c->in = (char *)realloc(c->in, c->room);
}

// Takes what is there: how much, 0 at the end, -1 if nothing is.
static inline ssize_t raw_fill(raw *c)
{
    raw_room(c, 65536);
    ssize_t n = recv(c->fd, c->in + c->have, c->room - c->have, MSG_DONTWAIT);
    if (n > 0)
        c->have += (size_t)n;
    return n < 0 && errno == ECONNRESET ? 0 : n;
}

// Sends all, or as much as the peer takes before it cuts the connection: how much.
static inline size_t raw_send(raw *c, const void *data, size_t n)
{
    size_t sent = 0;
    weft_deadline d = weft_in_s(RAW_SECONDS);
    while (sent < n) {
        ssize_t k = send(c->fd, (const char *)data + sent, n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k > 0)
            sent += (size_t)k;
        else if (errno != EAGAIN || !raw_ready(c->fd, POLLOUT, d))
            break;
    }
    return sent;
}

static inline size_t raw_text(raw *c, const char *text)
{
    return raw_send(c, text, strlen(text));
}

// The next reply: size bytes, no terminator, valid until the connection's next.  NULL: it ended, or
// at `d` none came.
static inline const char *raw_next(raw *c, size_t *size, weft_deadline d)
{
    while ((*size = resp_size(c->in + c->used, c->have - c->used)) == 0) {
        ssize_t n = raw_fill(c);
        if (n == 0 || (n < 0 && (errno != EAGAIN || !raw_ready(c->fd, POLLIN, d))))
            return nullptr;
    }
    c->used += *size;
    return c->in + c->used - *size;
}

// Whether the peer has cut the connection, and all it said until then: c->in + c->used.
static inline bool raw_ended(raw *c, weft_deadline d)
{
    for (;;) {
        ssize_t n = raw_fill(c);
        if (n == 0)
            return true;
        if (n < 0 && (errno != EAGAIN || !raw_ready(c->fd, POLLIN, d)))
            return false;
    }
}

// Waits until the other end has read all that was sent by this one.
static inline void wait_read(const raw *c)
{
    weft_deadline d = weft_in_s(RAW_SECONDS);
    for (int left = 1; ioctl(c->fd, SIOCOUTQ, &left) == 0 && left > 0 && weft_left(d) > 0;)
        usleep(10);
}

// ---- Requests ----

// A request of words that are parted by single spaces, as an array; into `to`.
static inline size_t request_of(char *to, size_t room, const char *line)
{
    size_t words = 1, n;
    for (const char *p = line; *p != 0; p++)
        words += *p == ' ';
    n = (size_t)snprintf(to, room, "*%zu\r\n", words);
    for (const char *p = line;; p++) {
        size_t k = strcspn(p, " ");
        n += (size_t)snprintf(to + n, room - n, "$%zu\r\n%.*s\r\n", k, (int)k, p);
        p += k;
        if (*p == 0)
            return n;
    }
}

static inline void raw_ask(raw *c, const char *line)
{
    char text[4096];
    assert_true(strlen(line) < 1000);
    raw_send(c, text, request_of(text, sizeof text, line));
}

// The reply as text of its own, until the next call but seven.
static inline const char *reply(raw *c)
{
    static char *kept[8];
    static unsigned turn;
    char **k = &kept[turn++ % 8];
    size_t n;
    const char *p = raw_next(c, &n, weft_in_s(RAW_SECONDS));
    if (p == nullptr)
        return "(no reply)";
    *k = (char *)realloc(*k, n + 1);
    memcpy(*k, p, n);
    (*k)[n] = 0;
    return *k;
}

static inline const char *ask(raw *c, const char *line)
{
    raw_ask(c, line);
    return reply(c);
}

static inline long long ask_number(raw *c, const char *line)
{
    const char *r = ask(c, line);
    if (r[0] != ':')
        fail_msg("%s: %s", line, r);
    return atoll(r + 1);
}

#define says(c, line, expected) assert_string_equal(ask(c, line), expected)

// What INFO or CLIENT INFO says of a field: "field:VALUE\r" or "field=VALUE ", or -1.
static inline long long field_number(const char *text, const char *field)
{
    const char *p = strstr(text, field);
    return p == nullptr ? -1 : atoll(p + strlen(field));
}

static inline long long blocked_clients(raw *c)
{
    return field_number(ask(c, "INFO clients"), "blocked_clients:");
}

// Waits until as many connections are blocked.
static inline bool wait_blocked(raw *c, long long n)
{
    for (weft_deadline d = weft_in_s(RAW_SECONDS); weft_left(d) > 0; usleep(200))
        if (blocked_clients(c) == n)
            return true;
    return false;
}

#endif
