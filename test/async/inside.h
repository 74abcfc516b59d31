// inside.h: tests of what runs in weft_io_run.  The body is the main tasklet, so assertions may
// stand in it; other tasklets leave what they found to be looked at.
#ifndef WEFT_TEST_INSIDE_H
#define WEFT_TEST_INSIDE_H

#include <weft/io.h>

#include "../descriptors.h"
#include "../runner.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

static inline int call_body(void *body)
{
    (*(void (**)(void))body)();
    return 0;
}

// Those there were before are left.  (A thread of the pools may be about to close its last one.)
static inline void nothing_left_open(int before)
{
    int after;
    for (weft_deadline d = weft_in_s(5);
         (after = open_descriptors()) != before && weft_left(d) > 0;)
        usleep(1000);
    assert_int_equal(after, before);
}

// Runs it in weft_io_run; no descriptor may be left.
static inline void inside(void (*body)(void))
{
    int before = open_descriptors();
    assert_int_equal(weft_io_run(call_body, (void *)&body), 0);
    nothing_left_open(before);
}

#define INSIDE_CASE(fn) CASE_IN(fn, inside)

static inline weft_tasklet *spawn(void *(*fn)(void *), void *arg, bool joinable = false)
{
    weft_tasklet_options o = {};
    o.detached = !joinable;
    return weft_tasklet_spawn(fn, arg, &o);
}

// What has neither argument nor result.
static inline weft_tasklet *spawn(void (*fn)(void), bool joinable = false)
{
    void *(*call)(void *) = [](void *arg) -> void * {
        ((void (*)(void))arg)();
        return nullptr;
    };
    return spawn(call, (void *)fn, joinable);
}

static inline void join(weft_tasklet *t)
{
    assert_int_equal(weft_tasklet_join(t, nullptr, weft_in_s(30)), 0);
}

// This thread's time on a processor.
static inline int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void pause_forever(void)
{
    weft_tasklet_suspend(WEFT_FOREVER);
}

// ---- In forked children ----

// The thread sanitizer does not know the parent's coroutines in the child.
static inline void forks_coroutines(void)
{
    if (RUNNER_TSAN)
        skip();
}

enum { NOT_PERMITTED = 100 };

// What fn returns in a child, or 256 and the signal that ended it.  NOT_PERMITTED: the test is left
// out, for there is no `what` here.
static inline int child_result(int (*fn)(void), const char *what)
{
    forks_coroutines();
    int result = end_of(child_of([](void *f) { return ((int (*)(void))f)(); }, (void *)fn));
    if (result != NOT_PERMITTED)
        return result;
    print_message("%s: left out, no %s\n", runner_test, what);
    skip();
    return result;
}

// ---- Connected ends ----

enum { UNIX_PAIR, TCP_PAIR, PIPE_PAIR, PAIRS };

// The kernel lets TCP's buffers grow to many MiB if it has time; these stay.
static inline void keep_buffers_small(int fd)
{
    int size = 1 << 16;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

// Two connected ends: [0] to read, [1] to write.  The pipe has no O_NONBLOCK, the TCP pair is
// made by system calls alone.
static inline void make_pair(int kind, int p[2])
{
    if (kind == UNIX_PAIR) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
    } else if (kind == PIPE_PAIR) {
        assert_int_equal(pipe(p), 0);
    } else {
        struct sockaddr_in a = {};
        socklen_t size = sizeof a;
        int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        keep_buffers_small(l); // and what it accepts
        a.sin_family = AF_INET;
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(bind(l, (struct sockaddr *)&a, size), 0);
        assert_int_equal(listen(l, 5), 0);
        getsockname(l, (struct sockaddr *)&a, &size);
        p[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        keep_buffers_small(p[1]);
        assert_int_equal(connect(p[1], (struct sockaddr *)&a, size), 0);
        p[0] = accept4(l, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        close(l);
    }
}

static inline void close_pair(const int p[2])
{
    weft_io_close(p[0]);
    weft_io_close(p[1]);
}

#endif
