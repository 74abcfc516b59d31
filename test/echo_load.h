// echo_load.h: clients of an echo server that must never notice what happens to it.
//
//     struct echo_load load;
//     echo_load_start(&load, &address);
//     ... reload the server, ten times ...
//     echo_load_end(&load);               // fails if one connection was refused, reset or cut
//     short
//
// Each client is a process of its own and of its own habit: a new connection for each message,
// several messages a connection, large ones with a half-close at the end.
#ifndef WEFT_TEST_ECHO_LOAD_H
#define WEFT_TEST_ECHO_LOAD_H

#include "runner.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ECHO_CLIENTS = 4, ECHO_LEAST = 50, ECHO_CUT_SHORT = 255 };

struct echo_load {
    pid_t clients[ECHO_CLIENTS];
    int stop[2]; // the clients end when the write end is closed
};

static const struct echo_habit {
    size_t size;
    int messages; // a connection
} echo_habits[ECHO_CLIENTS] = {{64, 1}, {1, 1}, {100, 20}, {32768, 5}};

// 0, or why not.
static inline int echo_message(int fd, size_t n)
{
    static char sent[32768], back[32768];
    memset(sent, (int)n + fd, n);
    memset(back, 0, n);
    if (send(fd, sent, n, MSG_NOSIGNAL) != (ssize_t)n)
        return errno;
    ssize_t got = recv(fd, back, n, MSG_WAITALL);
    return got < 0 ? errno : (size_t)got != n || memcmp(sent, back, n) != 0 ? ECHO_CUT_SHORT : 0;
}

static inline int echo_connection(const struct sockaddr_in *to, const struct echo_habit *h)
{
    char c;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), error = 0;
    if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof *to) != 0)
        return errno;
    for (int i = 0; i < h->messages && error == 0; i++)
        error = echo_message(fd, h->size);
    if (error == 0 && h->messages > 1 && (shutdown(fd, SHUT_WR) != 0 || read(fd, &c, 1) != 0))
        error = errno;
    close(fd);
    return error;
}

static inline void echo_load_start(struct echo_load *l, const struct sockaddr_in *to)
{
    assert_int_equal(pipe(l->stop), 0);
    for (int i = 0; i < ECHO_CLIENTS; i++) {
        l->clients[i] = runner_fork();
        if (l->clients[i] != 0)
            continue;
        struct pollfd stop = {l->stop[0], POLLIN, 0};
        close(l->stop[1]);
        for (int made = 0; made < ECHO_LEAST || poll(&stop, 1, 0) == 0; made++) {
            int error = echo_connection(to, &echo_habits[i]);
            if (error != 0)
                _exit(error);
        }
        _exit(0);
    }
    close(l->stop[0]);
}

static inline void echo_load_end(struct echo_load *l)
{
    close(l->stop[1]);
    for (int i = 0; i < ECHO_CLIENTS; i++) {
        int status = -1;
        assert_int_equal(waitpid(l->clients[i], &status, 0), l->clients[i]);
        if (status != 0)
            print_error("client %d: %s\n", i,
                        WEXITSTATUS(status) == ECHO_CUT_SHORT ? "cut short"
                                                              : strerror(WEXITSTATUS(status)));
        assert_int_equal(status, 0);
    }
}

#endif
