// looped.h: tests of a loop.  Each has a new one, `l`, a pair of connected sockets, `p`, and what
// the loop may still hold when it is destroyed, after the test.  What the test opens it closes.
#ifndef WEFT_TEST_LOOPED_H
#define WEFT_TEST_LOOPED_H

#include <weft/loop.h>

#include "../descriptors.h"
#include "../runner.h"

#include <async/loop_state.h>
#include <errno.h>
#include <sys/socket.h>

using namespace weft;

static weft_loop *l;
static int p[2], calls;
static struct handles {
    weft_watch w;
    weft_alarm a;
    weft_signal s;
    weft_child c;
    weft_listener li;
    weft_task t;
} h, more;

static inline void make_pair(int s[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s), 0);
}

static inline void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static inline void close_pair(int s[2])
{
    close_end(&s[0]);
    close_end(&s[1]);
}

static int next_before;

static inline void loop_destroy(void)
{
    assert_int_equal(weft_loop_destroy(l), 0);
    l = nullptr;
}

// Instead of the one that is there.
static inline void loop_create(const weft_loop_options *o)
{
    loop_destroy();
    l = weft_loop_create(o);
    assert_non_null(l);
}

static inline int loop_begin(void **state)
{
    next_before = next_descriptor();
    h = more = {};
    calls = 0;
    l = weft_loop_create(nullptr);
    make_pair(p);
    return runner_begin(state);
}

static inline int loop_end(void **state)
{
    int destroyed = weft_loop_destroy(l), next;
    close_pair(p);
    next = next_descriptor();
    if (next != next_before)
        fprintf(stderr, "left behind: descriptor %d\n", next_before);
    return runner_end(state) == 0 && destroyed == 0 && next == next_before ? 0 : -1;
}

#define LOOP_CASE(fn) CASE_BETWEEN(fn, loop_begin, loop_end)

static inline int once(void)
{
    return weft_loop_run(l, WEFT_LOOP_ONCE, weft_in_s(30));
}

static inline int run_all(void)
{
    return weft_loop_run(l, WEFT_LOOP_ALL, weft_in_s(30));
}

// Nothing is ready.
static inline bool quiet(void)
{
    errno = 0;
    return weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW) == -1 && errno == ETIMEDOUT;
}

// ---- Callbacks ----

static inline void count_task(weft_task *, void *arg)
{
    ++*(int *)arg;
}

static inline void count_alarm(weft_alarm *, void *arg)
{
    ++*(int *)arg;
}

static inline void count_watch(weft_watch *, int, void *arg)
{
    ++*(int *)arg;
}

static inline weft_task task(void (*fn)(weft_task *, void *), void *arg = nullptr)
{
    weft_task t = {};
    t.fn = fn;
    t.arg = arg;
    return t;
}

#endif
