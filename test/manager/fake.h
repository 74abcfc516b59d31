// fake.h: servers that do what a test tells them to.
//
// Each connection gets a thread's full attention, one after the other: `serve` is called once HELLO
// is answered, with how many there were before.
#ifndef WEFT_TEST_FAKE_H
#define WEFT_TEST_FAKE_H

#include <manager/client/client_reply.h>
#include <weft/manager.h>
#include <weft/remote.h>

#include "../loopback.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

using namespace weft;

typedef struct fake {
    int listener;
    struct sockaddr_un where;
    socklen_t size;
    pthread_t thread;
    char address[128];
    const char *hello; // the answer; nullptr: the usual one
    void (*heard)(const weft_reply *hello);
    size_t piece; // sent so many bytes at a time; 0: at once
    void (*serve)(struct fake *s, int fd, int before);
    void *arg;
    int connections;
    reply_reader in; // commands are arrays of strings, so the reader of replies reads them
} fake;

static inline bool fake_send(fake *s, int fd, const char *bytes, size_t n)
{
    size_t piece = s->piece > 0 ? s->piece : n;
    for (size_t i = 0; i < n; i += piece)
        if (send(fd, bytes + i, piece < n - i ? piece : n - i, MSG_NOSIGNAL) < 0)
            return false;
    return true;
}

static inline bool fake_say(fake *s, int fd, const char *text)
{
    return fake_send(s, fd, text, strlen(text));
}

// The next command, to be freed; nullptr: the client has left.
static inline weft_reply *fake_command(fake *s, int fd)
{
    for (;;) {
        size_t room;
        weft_reply *r = reader_next(&s->in);
        if (r != nullptr && r->size == 1 && strcmp(r->items[0].text, "QUIT") == 0) {
            weft_reply_free(r);
            return nullptr;
        }
        if (r != nullptr)
            return r;
        char *to = reader_room(&s->in, &room);
        ssize_t n = recv(fd, to, room, 0);
        if (n <= 0)
            return nullptr;
        reader_got(&s->in, (size_t)n);
    }
}

// Waits until the client has left.
static inline void fake_wait_end(fake *s, int fd)
{
    for (weft_reply *r; (r = fake_command(s, fd)) != nullptr;)
        weft_reply_free(r);
}

static inline void *fake_main(void *arg)
{
    fake *s = (fake *)arg;
    for (int fd; (fd = accept4(s->listener, nullptr, nullptr, SOCK_CLOEXEC)) >= 0; close(fd)) {
        weft_reply *hello = fake_command(s, fd);
        const char *answer = s->hello != nullptr
                                 ? s->hello
                                 : "%2\r\n$6\r\nserver\r\n$4\r\nweft\r\n$5\r\nproto\r\n:3\r\n";
        if (hello != nullptr && s->heard != nullptr)
            s->heard(hello);
        if (hello != nullptr && fake_say(s, fd, answer) && s->serve != nullptr)
            s->serve(s, fd, s->connections);
        s->connections++;
        weft_reply_free(hello);
        reader_reset(&s->in);
    }
    return nullptr;
}

// Listens where nobody else does; the socket's address is in `where`.
static inline void fake_listen(fake *s, int backlog)
{
    static int count;
    s->where.sun_family = AF_UNIX;
    int n = snprintf(s->where.sun_path + 1, sizeof s->where.sun_path - 1, "weft-fake-%d-%d",
                     getpid(), count++);
    s->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    snprintf(s->address, sizeof s->address, "unix:@%s", s->where.sun_path + 1);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&s->where, s->size), 0);
    assert_int_equal(listen(s->listener, backlog), 0);
}

// The same over TCP.
static inline void fake_listen_tcp(fake *s)
{
    struct sockaddr_in a;
    s->listener = loopback_socket(&a);
    assert_int_equal(listen(s->listener, 64), 0);
    snprintf(s->address, sizeof s->address, "tcp:127.0.0.1:%d", ntohs(a.sin_port));
}

// A socket that is connected to it, or -1 at once.
static inline int fake_dial(const fake *s)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(fd, (const struct sockaddr *)&s->where, s->size) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static inline void fake_start(fake *s, bool tcp = false)
{
    if (tcp)
        fake_listen_tcp(s);
    else
        fake_listen(s, 64);
    assert_int_equal(pthread_create(&s->thread, nullptr, fake_main, s), 0);
}

// The clients must have left.
static inline void fake_end(fake *s)
{
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, nullptr);
    close(s->listener);
}

// ---- Tests with one client of one fake ----

static fake f;
static weft_client *c;

static inline weft_client *connect_to(const fake *to)
{
    errno = 77;
    weft_client *made = weft_client_connect(to->address, nullptr, weft_in_s(20));
    assert_non_null(made);
    assert_int_equal(errno, 77);
    return made;
}

static inline void serve_by(void (*serve)(fake *, int, int), size_t piece = 0)
{
    f = {};
    f.serve = serve;
    f.piece = piece;
    fake_start(&f);
}

static inline void with_fake(void (*serve)(fake *, int, int), size_t piece, void (*body)(void))
{
    serve_by(serve, piece);
    c = connect_to(&f);
    body();
    weft_client_destroy(c);
    fake_end(&f);
}

#define FAKE_CASE(fn, serve)                                                                       \
    static void fn##_body(void);                                                                   \
    CASE(fn)                                                                                       \
    {                                                                                              \
        with_fake(serve, 0, fn##_body);                                                            \
    }                                                                                              \
    static void fn##_body(void)

static const char *const PING[] = {"PING"};

static inline weft_reply *ping(weft_deadline d = weft_in_s(20))
{
    return weft_client_command(c, 1, PING, nullptr, d);
}

static inline void is_pong(weft_reply *r)
{
    assert_non_null(r);
    assert_int_equal(r->type, WEFT_REPLY_STATUS);
    assert_string_equal(r->text, "PONG");
    weft_reply_free(r);
}

// One that answers each command with the same.
static inline void answer_all(fake *s, int fd, const char *text)
{
    for (weft_reply *r; (r = fake_command(s, fd)) != nullptr; weft_reply_free(r))
        if (!fake_say(s, fd, text))
            return weft_reply_free(r);
}

static inline void answer_pings(fake *s, int fd, int)
{
    answer_all(s, fd, "+PONG\r\n");
}

// One that answers nobody but its second connection.
static inline void be_silent_first(fake *s, int fd, int before)
{
    if (before == 0)
        fake_wait_end(s, fd);
    else
        answer_pings(s, fd, before);
}

// Says what was said, as an array.
static inline void echo(fake *s, int fd, int)
{
    for (weft_reply *r; (r = fake_command(s, fd)) != nullptr; weft_reply_free(r)) {
        char *text;
        size_t n;
        FILE *all = open_memstream(&text, &n);
        fprintf(all, "*%zu\r\n", r->size);
        for (size_t i = 0; i < r->size; i++) {
            fprintf(all, "$%zu\r\n", r->items[i].size);
            fwrite(r->items[i].text, 1, r->items[i].size, all);
            fputs("\r\n", all);
        }
        fclose(all);
        fake_send(s, fd, text, n);
        free(text);
    }
}

#endif
