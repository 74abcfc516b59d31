// fake.h: servers that do what a test tells them to.
//
// Each connection gets a thread's full attention, one after the other: `serve` is called once HELLO
// is answered, with how many there were before.
#ifndef WEFT_TEST_FAKE_H
#define WEFT_TEST_FAKE_H

#include <manager/client/client_reply.h>
#include <weft/manager.h>
#include <weft/remote.h>

#include "../runner.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

using namespace weft;

typedef struct fake {
    int listener;
    pthread_t thread;
    char address[128];
    const char *hello; // the answer; nullptr: the usual one
    size_t piece;      // sent so many bytes at a time; 0: at once
    void (*serve)(struct fake *f, int fd, int before);
    void *arg;
    int connections;
    reply_reader in; // commands are arrays of strings, so the reader of replies reads them
} fake;

static inline bool fake_send(fake *f, int fd, const char *bytes, size_t n)
{
    size_t piece = f->piece > 0 ? f->piece : n;
    for (size_t i = 0; i < n; i += piece)
        if (send(fd, bytes + i, piece < n - i ? piece : n - i, MSG_NOSIGNAL) < 0)
            return false;
    return true;
}

static inline bool fake_say(fake *f, int fd, const char *text)
{
    return fake_send(f, fd, text, strlen(text));
}

// The next command, to be freed; nullptr: the client has left.
static inline weft_reply *fake_command(fake *f, int fd)
{
    for (;;) {
        size_t room;
        weft_reply *r = reader_next(&f->in);
        if (r != nullptr && r->size == 1 && strcmp(r->items[0].text, "QUIT") == 0) {
            weft_reply_free(r);
            return nullptr;
        }
        if (r != nullptr)
            return r;
        char *to = reader_room(&f->in, &room);
        ssize_t n = recv(fd, to, room, 0);
        if (n <= 0)
            return nullptr;
        reader_got(&f->in, (size_t)n);
    }
}

// Waits until the client has left.
static inline void fake_wait_end(fake *f, int fd)
{
    for (weft_reply *r; (r = fake_command(f, fd)) != nullptr;)
        weft_reply_free(r);
}

static inline void *fake_main(void *arg)
{
    fake *f = (fake *)arg;
    for (int fd; (fd = accept4(f->listener, nullptr, nullptr, SOCK_CLOEXEC)) >= 0; close(fd)) {
        weft_reply *hello = fake_command(f, fd);
        const char *answer = f->hello != nullptr
                                 ? f->hello
                                 : "%2\r\n$6\r\nserver\r\n$4\r\nweft\r\n$5\r\nproto\r\n:3\r\n";
        if (hello != nullptr && fake_say(f, fd, answer) && f->serve != nullptr)
            f->serve(f, fd, f->connections);
        f->connections++;
        weft_reply_free(hello);
        reader_reset(&f->in);
    }
    return nullptr;
}

static inline void fake_start(fake *f)
{
    struct sockaddr_un a = {};
    static int count;
    a.sun_family = AF_UNIX;
    int n = snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "weft-fake-%d-%d", getpid(), count++);
    snprintf(f->address, sizeof f->address, "unix:@%s", a.sun_path + 1);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&a,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)),
                     0);
    assert_int_equal(listen(f->listener, 64), 0);
    assert_int_equal(pthread_create(&f->thread, nullptr, fake_main, f), 0);
}

// The clients must have left.
static inline void fake_end(fake *f)
{
    shutdown(f->listener, SHUT_RDWR);
    pthread_join(f->thread, nullptr);
    close(f->listener);
}

#endif
