// loop_watch.cc: descriptors, and the traps that lie between epoll and its users.
#include "looped.h"

#include <fcntl.h>
#include <netinet/in.h>

static int events; // of the last call

static void see(weft_watch *, int told, void *)
{
    calls++;
    events = told;
}

static void see_and_read(weft_watch *w, int told, void *arg)
{
    char c[4];
    see(w, told, nullptr);
    ssize_t n = read(w->fd, c, sizeof c);
    if (n > 0)
        *(ssize_t *)arg += n;
    else
        weft_loop_unwatch(w);
}

static void watch(int wanted)
{
    assert_int_equal(weft_loop_watch(l, &h.w, p[0], wanted, see, nullptr), 0);
}

LOOP_CASE(test_watch_errors)
{
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_errno(weft_loop_watch(l, &h.w, p[0], WEFT_READ, nullptr, nullptr), EINVAL);
    assert_errno(weft_loop_watch(l, &h.w, p[0], WEFT_ERROR, see, nullptr), EINVAL);
    assert_errno(weft_loop_watch(l, &h.w, p[0], 1 << 20, see, nullptr), EINVAL);
    assert_errno(weft_loop_watch(l, &h.w, -1, WEFT_READ, see, nullptr), EBADF);
    assert_errno(weft_loop_watch(l, &h.w, 99999, WEFT_READ, see, nullptr), EBADF);
    assert_errno(weft_loop_watch(l, &h.w, file, WEFT_READ, see, nullptr), EPERM);
    assert_null(h.w.loop);
    assert_errno(weft_watch_change(&h.w, WEFT_READ), EALREADY);
    assert_errno(weft_loop_unwatch(&h.w), EALREADY);
    assert_int_equal(weft_loop_watch(l, &h.w, p[0], WEFT_READ, see, nullptr), 0);
    assert_errno(weft_loop_watch(l, &h.w, p[1], WEFT_READ, see, nullptr), EBUSY);
    assert_errno(weft_loop_watch(l, &more.w, p[0], WEFT_READ, see, nullptr), EEXIST);
    assert_errno(weft_watch_change(&h.w, WEFT_ERROR), EINVAL);
    assert_ptr_equal(h.w.loop, l);
    assert_int_equal(h.w.fd, p[0]);
    assert_int_equal(h.w.events, WEFT_READ);
    assert_int_equal(weft_loop_unwatch(&h.w), 0);
    assert_null(h.w.loop);
    close(file);
}

LOOP_CASE(test_watch_level_and_edge)
{
    assert_int_equal(write(p[1], "x", 1), 1);
    watch(WEFT_READ);
    assert_int_equal(once(), 1);
    assert_int_equal(once(), 1);
    assert_int_equal(calls, 2);
    assert_int_equal(events, WEFT_READ);
    weft_loop_unwatch(&h.w);
    watch(WEFT_READ | WEFT_WRITE | WEFT_HANGUP | WEFT_EDGE);
    assert_int_equal(once(), 1);
    assert_int_equal(events, WEFT_READ | WEFT_WRITE);
    assert_true(quiet());
    assert_int_equal(write(p[1], "y", 1), 1);
    assert_int_equal(once(), 1);
    assert_int_equal(calls, 4);
}

LOOP_CASE(test_watch_many_descriptors)
{
    // More than a batch of four, and more than the first table of slots.
    enum { N = 100 };
    static weft_watch w[N];
    weft_loop_options o = {};
    ssize_t bytes = 0;
    int q[N][2];
    o.batch = 4;
    loop_create(&o);
    for (int i = 0; i < N; i++) {
        make_pair(q[i]);
        assert_int_equal(write(q[i][1], "abcde", 5), 5);
        close_end(&q[i][1]);
        assert_int_equal(weft_loop_watch(l, &w[i], q[i][0], WEFT_READ, see_and_read, &bytes), 0);
    }
    assert_int_equal(run_all(), 0);
    assert_int_equal(bytes, 5 * N);
    assert_int_equal(calls, 3 * N); // four bytes, one byte, the end
    for (auto &each : q)
        close_pair(each);
}

LOOP_CASE(test_change_is_lazy_and_cancels_out)
{
    watch(WEFT_READ);
    assert_int_equal(weft_watch_change(&h.w, WEFT_READ | WEFT_WRITE), 0);
    assert_int_equal(record_find(&l->slots, p[0])->registered, EPOLLIN);
    assert_int_equal(weft_watch_change(&h.w, WEFT_READ), 0);
    assert_true(quiet());
    assert_int_equal(weft_watch_change(&h.w, WEFT_WRITE), 0);
    assert_int_equal(once(), 1);
    assert_int_equal(events, WEFT_WRITE);
    assert_int_equal(weft_watch_change(&h.w, WEFT_READ), 0);
    assert_true(quiet());
}

LOOP_CASE(test_change_of_a_closed_descriptor)
{
    watch(WEFT_READ);
    close_end(&p[0]); // before it was stopped: a mistake, but one that is told
    assert_int_equal(weft_watch_change(&h.w, WEFT_WRITE), 0);
    assert_int_equal(once(), 1);
    assert_int_equal(calls, 1);
    assert_int_equal(events, WEFT_ERROR);
    assert_int_equal(h.w.events, 0);
    assert_true(quiet());
    assert_int_equal(calls, 1);
    assert_int_equal(weft_loop_unwatch(&h.w), 0);
}

static void stop_itself(weft_watch *w, int, void *)
{
    weft_loop_unwatch(w);
}

// What it does when it is told may leave nothing to wait for.
static void refused_and_stopped(int how, int result)
{
    weft_loop_watch(l, &h.w, p[0], WEFT_READ, stop_itself, nullptr);
    close_end(&p[0]);
    assert_int_equal(weft_watch_change(&h.w, WEFT_WRITE), 0);
    assert_int_equal(weft_loop_run(l, how, WEFT_FOREVER), result);
    assert_null(h.w.loop);
}

LOOP_CASE(test_change_refused_and_stopped)
{
    refused_and_stopped(WEFT_LOOP_ALL, 0);
    close_pair(p);
    make_pair(p);
    refused_and_stopped(WEFT_LOOP_ONCE, 1);
}

// ---- Stale events ----

// What is done to a watch that has an event in the same batch: it is stopped; also freed; or its
// descriptor is closed, and another of the same number is watched.
enum mode { STOP, FREE, REUSE };

static enum mode mode;
static weft_watch fresh;
static int reused[2], fresh_calls;

static void kill_the_other(weft_watch *, int, void *arg)
{
    weft_watch *other = (weft_watch *)arg;
    int fd = other->fd;
    if (other->loop == nullptr)
        return;
    calls++;
    weft_loop_unwatch(other);
    if (mode == FREE)
        memset((void *)other, 0xee, sizeof *other);
    if (mode != REUSE)
        return;
    close(fd);
    if (dup2(reused[0], fd) == fd)
        weft_loop_watch(l, &fresh, fd, WEFT_READ, count_watch, &fresh_calls);
}

// Two are ready in one batch; the first that is called does something to the other.
static void batch_of_two(void (*fn)(weft_watch *w, int, void *), int q[2])
{
    make_pair(q);
    assert_int_equal(write(p[1], "x", 1) + write(q[1], "x", 1), 2);
    weft_loop_watch(l, &h.w, p[0], WEFT_READ, fn, &more.w);
    weft_loop_watch(l, &more.w, q[0], WEFT_READ, fn, &h.w);
    assert_int_equal(once(), 1);
    assert_int_equal(calls, 1);
}

static void kill_in_the_same_batch(enum mode how)
{
    int q[2];
    weft_loop_counters stats;
    mode = how;
    make_pair(reused);
    batch_of_two(kill_the_other, q);
    assert_int_equal(fresh_calls, 0); // nothing came for the new owner of the number
    weft_loop_statistics(l, &stats);
    assert_int_equal(stats.stale, 1);
    if (mode == REUSE) {
        assert_ptr_equal(fresh.loop, l);
        assert_int_equal(write(reused[1], "y", 1), 1);
        while (fresh_calls == 0)
            assert_int_equal(once(), 1);
    }
    loop_destroy();
    close_pair(q), close_pair(reused);
}

LOOP_CASE(test_stop_in_the_same_batch)
{
    kill_in_the_same_batch(STOP);
}

LOOP_CASE(test_free_in_the_same_batch)
{
    kill_in_the_same_batch(FREE);
}

LOOP_CASE(test_number_reused_in_the_same_batch)
{
    kill_in_the_same_batch(REUSE);
}

static void change_both(weft_watch *, int, void *)
{
    calls++;
    weft_watch_change(&h.w, WEFT_HANGUP);
    weft_watch_change(&more.w, WEFT_HANGUP);
}

LOOP_CASE(test_change_in_the_same_batch)
{
    int q[2];
    batch_of_two(change_both, q);
    loop_destroy();
    close_pair(q);
}

static void free_itself(weft_watch *w, int, void *)
{
    int fd = w->fd;
    weft_loop_unwatch(w);
    close(fd);
    free(w);
}

LOOP_CASE(test_close_and_free_itself)
{
    weft_watch *w = (weft_watch *)calloc(1, sizeof *w);
    assert_int_equal(write(p[1], "x", 1), 1);
    weft_loop_watch(l, w, p[0], WEFT_READ, free_itself, nullptr);
    assert_int_equal(run_all(), 0);
    p[0] = -1;
}

LOOP_CASE(test_stop_with_a_duplicate_open)
{
    int copy = dup(p[0]);
    watch(WEFT_READ);
    weft_loop_unwatch(&h.w);
    close_end(&p[0]);
    assert_int_equal(write(p[1], "x", 1), 1);
    weft_loop_hold(l, 1);
    assert_true(quiet()); // a registration left behind would wake us for ever
    weft_loop_counters stats;
    weft_loop_statistics(l, &stats);
    assert_int_equal(stats.stale, 0);
    assert_int_equal(weft_loop_watch(l, &more.w, copy, WEFT_READ, see, nullptr), 0);
    assert_int_equal(once(), 1);
    weft_loop_unwatch(&more.w);
    close(copy);
}

// Also a mistake: the kernel still has it, and nobody can take it out.
static void closed_too_soon(bool paused)
{
    int copy = dup(p[0]);
    uint64_t rounds;
    assert_true(copy >= 0);
    watch(WEFT_READ);
    assert_int_equal(weft_loop_watch(l, &more.w, p[1], WEFT_WRITE | WEFT_EDGE, see, nullptr), 0);
    assert_int_equal(once(), 1);
    close_end(&p[0]);
    if (paused) { // and told of it
        weft_watch_change(&h.w, WEFT_WRITE);
        assert_int_equal(once(), 1);
    } else {
        weft_loop_unwatch(&h.w);
    }
    assert_int_equal(write(p[1], "x", 1), 1);
    weft_loop_hold(l, 1);
    for (int i = 0; i < 3; i++) // heals
        weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW);
    rounds = l->stats.rounds;
    assert_errno(weft_loop_run(l, WEFT_LOOP_ONCE, weft_in_ms(2)), ETIMEDOUT);
    assert_in_range(l->stats.rounds - rounds, 1, 2);
    calls = 0;
    assert_int_equal(write(copy, "y", 1), 1);
    weft_watch_change(&more.w, WEFT_READ);
    assert_int_equal(once(), 1); // the others are still watched
    assert_int_equal(calls, 1);
    if (h.w.loop != nullptr)
        weft_loop_unwatch(&h.w);
    weft_loop_unwatch(&more.w);
    weft_loop_hold(l, -1);
    close(copy);
    close_pair(p);
    make_pair(p);
}

LOOP_CASE(test_closed_before_its_stop_with_a_duplicate_open)
{
    closed_too_soon(false);
    closed_too_soon(true);
}

// The same file under the same number again is watched anew.
LOOP_CASE(test_closed_before_its_stop_and_back)
{
    int copy = dup(p[0]);
    watch(WEFT_READ);
    close(p[0]);
    weft_loop_unwatch(&h.w);
    assert_int_equal(dup2(copy, p[0]), p[0]);
    errno = 77;
    watch(WEFT_READ);
    assert_int_equal(errno, 77);
    assert_int_equal(write(p[1], "x", 1), 1);
    assert_int_equal(once(), 1);
    assert_int_equal(calls, 1);
    weft_loop_unwatch(&h.w);
    close(copy);
}

// ---- Hang-ups and errors ----

LOOP_CASE(test_data_comes_before_hangup)
{
    ssize_t bytes = 0;
    assert_int_equal(write(p[1], "0123456789", 10), 10);
    close_end(&p[1]);
    weft_loop_watch(l, &h.w, p[0], WEFT_READ | WEFT_HANGUP, see_and_read, &bytes);
    assert_int_equal(once(), 1);
    assert_int_equal(events, WEFT_READ | WEFT_HANGUP);
    assert_int_equal(run_all(), 0);
    assert_int_equal(bytes, 10);
}

LOOP_CASE(test_half_close_both_ways)
{
    watch(WEFT_HANGUP);
    assert_true(quiet());
    shutdown(p[1], SHUT_WR); // the peer sends no more; we still may
    assert_int_equal(once(), 1);
    assert_int_equal(events, WEFT_HANGUP);
    weft_watch_change(&h.w, WEFT_WRITE);
    assert_int_equal(once(), 1);
    assert_int_equal(events, WEFT_WRITE);
    shutdown(p[0], SHUT_WR); // now both
    weft_watch_change(&h.w, WEFT_WRITE | WEFT_HANGUP);
    assert_int_equal(once(), 1);
    assert_int_equal(events, WEFT_WRITE | WEFT_HANGUP);
}

LOOP_CASE(test_refused_connection_is_told)
{
    struct sockaddr_in a = {};
    socklen_t length = sizeof a;
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int closed = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(closed, (struct sockaddr *)&a, sizeof a), 0);
    getsockname(closed, (struct sockaddr *)&a, &length);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 0;
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0 && errno != EINPROGRESS)
        error = errno;
    weft_loop_watch(l, &h.w, fd, WEFT_WRITE, see, nullptr);
    assert_int_equal(once(), 1);
    assert_true(events & WEFT_WRITE);
    assert_true(events & WEFT_ERROR);
    length = sizeof error;
    if (error == 0)
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    assert_int_equal(error, ECONNREFUSED);
    weft_loop_unwatch(&h.w);
    close(closed), close(fd);
}

LOOP_CASE(test_paused_watch_does_not_spin)
{
    watch(0);
    close_end(&p[1]);            // a full hang-up, which epoll tells with any mask
    assert_int_equal(once(), 1); // fetched once, and taken out
    assert_true(quiet());
    assert_int_equal(calls, 0);
    assert_int_equal(weft_watch_change(&h.w, WEFT_READ), 0); // and put back
    assert_int_equal(once(), 1);
    assert_int_equal(calls, 1);
    assert_int_equal(events, WEFT_READ);
}

LOOP_CASE(test_exclusive_can_be_changed)
{
    assert_errno(
        weft_loop_watch(l, &h.w, p[0], WEFT_READ | WEFT_HANGUP | WEFT_EXCLUSIVE, see, nullptr),
        EINVAL);
    assert_int_equal(weft_loop_watch(l, &h.w, p[0], WEFT_READ | WEFT_EXCLUSIVE, see, nullptr), 0);
    assert_int_equal(weft_watch_change(&h.w, WEFT_WRITE | WEFT_EXCLUSIVE), 0);
    assert_int_equal(once(), 1);
    assert_int_equal(events, WEFT_WRITE);
    assert_int_equal(weft_watch_change(&h.w, WEFT_READ), 0);
    assert_true(quiet());
}

RUN_CASES()
