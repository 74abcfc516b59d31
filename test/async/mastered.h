// mastered.h: a master in a process of its own; the test talks to it by signals and hears of it
// through a pipe.
#ifndef WEFT_TEST_MASTERED_H
#define WEFT_TEST_MASTERED_H

#include "../echo_load.h"
#include "../notices.h"
#include "../runner.h"

#include <weft/io.h>
#include <weft/loop.h>
#include <weft/workers.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

struct news {
    int event, number, status;
    pid_t pid;
    int64_t when;
};

static int news_pipe[2];

static inline void say(int event, int number, pid_t pid, int status)
{
    struct news n = {event, number, status, pid, weft_now()};
    if (write(news_pipe[1], &n, sizeof n) != (ssize_t)sizeof n)
        abort();
}

static inline void tell(weft_workers_event e, int number, pid_t pid, int status, void *)
{
    say(e, number, pid, status);
}

static inline void report(int event)
{
    say(event, weft_worker_number(), getpid(), 0);
}

enum { SAYS_READY = 100, SAYS_SIGNAL, SAYS_STOP, SAYS_METRICS, SAYS_SUM, SAYS_OPEN };

// The next news that is `event`.
static inline struct news hear(int event)
{
    struct news n = {};
    do
        assert_int_equal(read(news_pipe[0], &n, sizeof n), sizeof n);
    while (n.event != event);
    return n;
}

static inline void wait_for_stop(void)
{
    struct pollfd p = {weft_worker_stop_fd(), POLLIN, 0};
    while (poll(&p, 1, -1) < 0 && errno == EINTR)
        ;
}

static inline int good_worker(void *)
{
    report(SAYS_READY);
    wait_for_stop();
    report(SAYS_STOP);
    return 0;
}

static pid_t m; // the master

// A master in a process of its own; it exits with 0, or with errno.
static inline void start(int workers, int (*fn)(void *), weft_workers_options o = {},
                         void *arg = nullptr)
{
    assert_int_equal(pipe2(news_pipe, O_CLOEXEC), 0);
    m = runner_fork();
    if (m != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGTERM); // a test that fails leaves nothing running
    if (o.tell == nullptr)
        o.tell = tell;
    int r = weft_workers_run(workers, fn, arg, &o);
    _exit(r == 0 ? 0 : errno);
}

static inline void start_two(int (*fn)(void *), void *arg = nullptr)
{
    start(2, fn, {}, arg);
    hear(SAYS_READY);
    hear(SAYS_READY);
}

static inline void master_ends(int result)
{
    assert_int_equal(end_of(m), result);
    close(news_pipe[0]);
    close(news_pipe[1]);
}

static inline void terminate(void)
{
    kill(m, SIGTERM);
    master_ends(0);
}

// ---- Servers ----

static inline void echo(int fd, void *)
{
    char text[4096];
    for (ssize_t n; (n = weft_io_read(fd, text, sizeof text, WEFT_FOREVER)) > 0;)
        weft_io_write(fd, text, (size_t)n, WEFT_FOREVER);
}

static inline int echo_all(void *listener)
{
    static weft_watch stop;
    weft_loop_watch(
        weft_io_loop(), &stop, weft_worker_stop_fd(), WEFT_READ,
        [](weft_watch *w, int, void *arg) {
            weft_io_stop(*(int *)arg);
            weft_loop_unwatch(w);
        },
        listener);
    report(SAYS_READY);
    return weft_io_serve(*(int *)listener, echo, nullptr, nullptr);
}

static inline int echoing_worker(void *listener)
{
    return weft_io_run(echo_all, listener);
}

// At the port of the address, which 0 leaves to the kernel.  -1: errno.
static inline int bind_to(struct sockaddr_in *a)
{
    socklen_t length = sizeof *a;
    int one = 1;
    a->sin_family = AF_INET;
    a->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)a, sizeof *a) != 0)
        return -1;
    getsockname(fd, (struct sockaddr *)a, &length);
    return fd;
}

static inline int listen_to(struct sockaddr_in *a)
{
    int fd = bind_to(a);
    return fd >= 0 && listen(fd, 128) == 0 ? fd : -1;
}

static inline int listen_on_loopback(struct sockaddr_in *a)
{
    *a = {};
    int listener = listen_to(a);
    assert_true(listener >= 0);
    return listener;
}

static inline int dial(const struct sockaddr_in *a)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)a, sizeof *a), 0);
    return fd;
}

// Two workers that echo, and clients of theirs: the listener.
static inline int start_under_load(struct sockaddr_in *a, struct echo_load *load)
{
    int listener = listen_on_loopback(a);
    start_two(echoing_worker, &listener);
    echo_load_start(load, a);
    return listener;
}

// What has been heard of a reload: two workers are to be ready, and two to end.
struct change {
    int ready, ended;
};

static inline void hear_of(struct change *c, int ready, int ended)
{
    while (c->ready < ready || c->ended < ended) {
        struct news n = {};
        assert_int_equal(read(news_pipe[0], &n, sizeof n), sizeof n);
        c->ready += n.event == SAYS_READY;
        c->ended += n.event == WEFT_WORKERS_ENDED;
        assert_true(n.event != WEFT_WORKERS_ENDED || n.status == 0);
    }
}

static inline void reload(void)
{
    kill(m, SIGHUP);
    hear(WEFT_WORKERS_RELOADING);
}

#endif
