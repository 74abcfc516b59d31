// loop_watch.cc: descriptors, and the traps that lie between epoll and its users.
#include "../runner.h"

#include <weft/loop.h>

#include <async/loop_state.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

using namespace weft;

struct seen {
    int calls, events;
    ssize_t bytes;
};

static void see(weft_watch *w, int events)
{
    struct seen *s = (struct seen *)w->arg;
    s->calls++;
    s->events = events;
}

static void see_and_read(weft_watch *w, int events)
{
    struct seen *s = (struct seen *)w->arg;
    char c[4];
    s->calls++;
    s->events = events;
    ssize_t n = read(w->fd, c, sizeof c);
    if (n > 0)
        s->bytes += n;
    else
        weft_watch_stop(w);
}

static void make_pair(int s[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), 0);
}

static void close_pair(int s[2])
{
    for (int i = 0; i < 2; i++)
        if (s[i] >= 0)
            close(s[i]);
}

static int once(weft_loop *l)
{
    return weft_loop_run(l, WEFT_LOOP_ONCE, weft_in_s(30));
}

// Nothing is ready.
static bool quiet(weft_loop *l)
{
    errno = 0;
    return weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW) == -1 && errno == ETIMEDOUT;
}

CASE(test_watch_errors)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_watch w = {}, other = {};
    int p[2], file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    make_pair(p);
    assert_errno(weft_loop_watch(l, &w, p[0], WEFT_READ, nullptr, nullptr), EINVAL);
    assert_errno(weft_loop_watch(l, &w, p[0], WEFT_ERROR, see, nullptr), EINVAL);
    assert_errno(weft_loop_watch(l, &w, p[0], 1 << 20, see, nullptr), EINVAL);
    assert_errno(weft_loop_watch(l, &w, -1, WEFT_READ, see, nullptr), EBADF);
    assert_errno(weft_loop_watch(l, &w, 99999, WEFT_READ, see, nullptr), EBADF);
    assert_errno(weft_loop_watch(l, &w, file, WEFT_READ, see, nullptr), EPERM);
    assert_null(w.loop);
    assert_errno(weft_watch_change(&w, WEFT_READ), EALREADY);
    assert_errno(weft_watch_stop(&w), EALREADY);
    assert_int_equal(weft_loop_watch(l, &w, p[0], WEFT_READ, see, nullptr), 0);
    assert_errno(weft_loop_watch(l, &w, p[1], WEFT_READ, see, nullptr), EBUSY);
    assert_errno(weft_loop_watch(l, &other, p[0], WEFT_READ, see, nullptr), EEXIST);
    assert_errno(weft_watch_change(&w, WEFT_ERROR), EINVAL);
    assert_ptr_equal(w.loop, l);
    assert_int_equal(w.fd, p[0]);
    assert_int_equal(w.events, WEFT_READ);
    assert_int_equal(weft_watch_stop(&w), 0);
    assert_null(w.loop);
    close(file), close_pair(p);
    weft_loop_destroy(l);
}

CASE(test_watch_level_and_edge)
{
    weft_loop *l = weft_loop_create(nullptr);
    struct seen s = {};
    weft_watch w = {};
    int p[2];
    make_pair(p);
    assert_int_equal(write(p[1], "x", 1), 1);
    weft_loop_watch(l, &w, p[0], WEFT_READ, see, &s);
    assert_int_equal(once(l), 1);
    assert_int_equal(once(l), 1);
    assert_int_equal(s.calls, 2);
    assert_int_equal(s.events, WEFT_READ);
    weft_watch_stop(&w);
    weft_loop_watch(l, &w, p[0], WEFT_READ | WEFT_WRITE | WEFT_HANGUP | WEFT_EDGE, see, &s);
    assert_int_equal(once(l), 1);
    assert_int_equal(s.events, WEFT_READ | WEFT_WRITE);
    assert_true(quiet(l));
    assert_int_equal(write(p[1], "y", 1), 1);
    assert_int_equal(once(l), 1);
    assert_int_equal(s.calls, 4);
    close_pair(p);
    weft_loop_destroy(l);
}

CASE(test_watch_many_descriptors)
{
    // More than a batch of four, and more than the first table of slots.
    enum { N = 100 };
    weft_loop_options o = {};
    o.batch = 4;
    weft_loop *l = weft_loop_create(&o);
    static weft_watch w[N];
    struct seen s = {};
    int p[N][2];
    for (int i = 0; i < N; i++) {
        make_pair(p[i]);
        assert_int_equal(write(p[i][1], "abcde", 5), 5);
        close(p[i][1]);
        w[i] = {};
        assert_int_equal(weft_loop_watch(l, &w[i], p[i][0], WEFT_READ, see_and_read, &s), 0);
    }
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, weft_in_s(30)), 0);
    assert_int_equal(s.bytes, 5 * N);
    assert_int_equal(s.calls, 3 * N); // four bytes, one byte, the end
    for (auto &each : p)
        close(each[0]);
    weft_loop_destroy(l);
}

CASE(test_change_is_lazy_and_cancels_out)
{
    weft_loop *l = weft_loop_create(nullptr);
    struct seen s = {};
    weft_watch w = {};
    int p[2];
    make_pair(p);
    weft_loop_watch(l, &w, p[0], WEFT_READ, see, &s);
    assert_int_equal(weft_watch_change(&w, WEFT_READ | WEFT_WRITE), 0);
    assert_int_equal(l->slots[p[0]].registered, EPOLLIN);
    assert_int_equal(weft_watch_change(&w, WEFT_READ), 0);
    assert_true(quiet(l));
    assert_int_equal(weft_watch_change(&w, WEFT_WRITE), 0);
    assert_int_equal(once(l), 1);
    assert_int_equal(s.events, WEFT_WRITE);
    assert_int_equal(weft_watch_change(&w, WEFT_READ), 0);
    assert_true(quiet(l));
    close_pair(p);
    weft_loop_destroy(l);
}

CASE(test_change_of_a_closed_descriptor)
{
    weft_loop *l = weft_loop_create(nullptr);
    struct seen s = {};
    weft_watch w = {};
    int p[2];
    make_pair(p);
    weft_loop_watch(l, &w, p[0], WEFT_READ, see, &s);
    close(p[0]); // before it was stopped: a mistake, but one that is told
    assert_int_equal(weft_watch_change(&w, WEFT_WRITE), 0);
    assert_int_equal(once(l), 1);
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.events, WEFT_ERROR);
    assert_int_equal(w.events, 0);
    assert_true(quiet(l));
    assert_int_equal(s.calls, 1);
    assert_int_equal(weft_watch_stop(&w), 0);
    close(p[1]);
    weft_loop_destroy(l);
}

static void stop_itself(weft_watch *w, int)
{
    weft_watch_stop(w);
}

// What it does when it is told may leave nothing to wait for.
CASE(test_change_refused_and_stopped)
{
    static const int how[] = {WEFT_LOOP_ALL, WEFT_LOOP_ONCE};
    for (int i = 0; i < 2; i++) {
        weft_loop *l = weft_loop_create(nullptr);
        weft_watch w = {};
        int p[2];
        make_pair(p);
        weft_loop_watch(l, &w, p[0], WEFT_READ, stop_itself, nullptr);
        close(p[0]);
        assert_int_equal(weft_watch_change(&w, WEFT_WRITE), 0);
        assert_int_equal(weft_loop_run(l, how[i], WEFT_FOREVER), i);
        assert_null(w.loop);
        close(p[1]);
        weft_loop_destroy(l);
    }
}

// ---- Stale events ----

struct killer {
    weft_watch watch[2];
    struct seen *seen;
    int reused[2];
    weft_loop *l;
    int mode; // 0 stop, 1 stop and free, 2 close and reuse the number
    weft_watch *fresh;
    struct seen *fresh_seen;
};

static struct killer *the_killer;

static void kill_the_other(weft_watch *w, int)
{
    struct killer *k = the_killer;
    weft_watch *other = w == (weft_watch *)k->watch[0].arg ? nullptr : (weft_watch *)w->arg;
    if (other == nullptr || other->loop == nullptr)
        return;
    int fd = other->fd;
    weft_watch_stop(other);
    if (k->mode == 1) {
        memset((void *)other, 0xee, sizeof *other);
    } else if (k->mode == 2) {
        close(fd);
        if (dup2(k->reused[0], fd) == fd)
            weft_loop_watch(k->l, k->fresh, fd, WEFT_READ, see, k->fresh_seen);
    }
    k->seen->calls++;
}

// Two are ready in one batch; the first that is called stops the other.
static void batch_of_two(int mode)
{
    struct killer k = {};
    struct seen s = {}, fresh_seen = {};
    weft_watch a = {}, b = {}, fresh = {};
    int p[2], q[2];
    the_killer = &k;
    k.l = weft_loop_create(nullptr);
    k.seen = &s;
    k.mode = mode;
    k.fresh = &fresh;
    k.fresh_seen = &fresh_seen;
    make_pair(p), make_pair(q), make_pair(k.reused);
    assert_int_equal(write(p[1], "x", 1) + write(q[1], "x", 1), 2);
    weft_loop_watch(k.l, &a, p[0], WEFT_READ, kill_the_other, &b);
    weft_loop_watch(k.l, &b, q[0], WEFT_READ, kill_the_other, &a);
    assert_int_equal(once(k.l), 1);
    assert_int_equal(s.calls, 1);
    assert_int_equal(fresh_seen.calls, 0); // nothing came for the new owner of the number
    weft_loop_statistics stats;
    weft_loop_stats(k.l, &stats);
    assert_int_equal(stats.stale, 1);
    if (mode == 2) {
        assert_ptr_equal(fresh.loop, k.l);
        assert_int_equal(write(k.reused[1], "y", 1), 1);
        while (fresh_seen.calls == 0)
            assert_int_equal(once(k.l), 1);
    }
    weft_loop_destroy(k.l);
    close_pair(p), close_pair(q), close_pair(k.reused);
}

CASE(test_stop_in_the_same_batch)
{
    batch_of_two(0);
}

CASE(test_free_in_the_same_batch)
{
    batch_of_two(1);
}

CASE(test_number_reused_in_the_same_batch)
{
    batch_of_two(2);
}

static void change_the_other(weft_watch *w, int)
{
    struct seen *s = (struct seen *)w->arg;
    s->calls++;
    for (int i = 0; i < 2; i++)
        weft_watch_change(&the_killer->watch[i], WEFT_HANGUP);
}

CASE(test_change_in_the_same_batch)
{
    struct killer k = {};
    struct seen s = {};
    int p[2], q[2];
    the_killer = &k;
    k.l = weft_loop_create(nullptr);
    make_pair(p), make_pair(q);
    assert_int_equal(write(p[1], "x", 1) + write(q[1], "x", 1), 2);
    weft_loop_watch(k.l, &k.watch[0], p[0], WEFT_READ, change_the_other, &s);
    weft_loop_watch(k.l, &k.watch[1], q[0], WEFT_READ, change_the_other, &s);
    assert_int_equal(once(k.l), 1);
    assert_int_equal(s.calls, 1);
    weft_loop_destroy(k.l);
    close_pair(p), close_pair(q);
}

static void free_itself(weft_watch *w, int)
{
    int fd = w->fd;
    weft_watch_stop(w);
    close(fd);
    free(w);
}

CASE(test_close_and_free_itself)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_watch *w = (weft_watch *)calloc(1, sizeof *w);
    int p[2];
    make_pair(p);
    assert_int_equal(write(p[1], "x", 1), 1);
    weft_loop_watch(l, w, p[0], WEFT_READ, free_itself, nullptr);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, weft_in_s(30)), 0);
    close(p[1]);
    weft_loop_destroy(l);
}

CASE(test_stop_with_a_duplicate_open)
{
    weft_loop *l = weft_loop_create(nullptr);
    struct seen s = {};
    weft_watch w = {}, again = {};
    int p[2];
    make_pair(p);
    int copy = dup(p[0]);
    weft_loop_watch(l, &w, p[0], WEFT_READ, see, &s);
    weft_watch_stop(&w);
    close(p[0]);
    assert_int_equal(write(p[1], "x", 1), 1);
    weft_loop_hold(l, 1);
    assert_true(quiet(l)); // a registration left behind would wake us for ever
    weft_loop_statistics stats;
    weft_loop_stats(l, &stats);
    assert_int_equal(stats.stale, 0);
    assert_int_equal(weft_loop_watch(l, &again, copy, WEFT_READ, see, &s), 0);
    assert_int_equal(once(l), 1);
    close(copy), close(p[1]);
    weft_loop_destroy(l);
}

// ---- Hang-ups and errors ----

CASE(test_data_comes_before_hangup)
{
    weft_loop *l = weft_loop_create(nullptr);
    struct seen s = {};
    weft_watch w = {};
    int p[2];
    make_pair(p);
    assert_int_equal(write(p[1], "0123456789", 10), 10);
    close(p[1]);
    p[1] = -1;
    weft_loop_watch(l, &w, p[0], WEFT_READ | WEFT_HANGUP, see_and_read, &s);
    assert_int_equal(once(l), 1);
    assert_int_equal(s.events, WEFT_READ | WEFT_HANGUP);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, weft_in_s(30)), 0);
    assert_int_equal(s.bytes, 10);
    close_pair(p);
    weft_loop_destroy(l);
}

CASE(test_half_close_both_ways)
{
    weft_loop *l = weft_loop_create(nullptr);
    struct seen s = {};
    weft_watch w = {};
    int p[2];
    make_pair(p);
    weft_loop_watch(l, &w, p[0], WEFT_HANGUP, see, &s);
    assert_true(quiet(l));
    shutdown(p[1], SHUT_WR); // the peer sends no more; we still may
    assert_int_equal(once(l), 1);
    assert_int_equal(s.events, WEFT_HANGUP);
    weft_watch_change(&w, WEFT_WRITE);
    assert_int_equal(once(l), 1);
    assert_int_equal(s.events, WEFT_WRITE);
    shutdown(p[0], SHUT_WR); // now both
    weft_watch_change(&w, WEFT_WRITE | WEFT_HANGUP);
    assert_int_equal(once(l), 1);
    assert_int_equal(s.events, WEFT_WRITE | WEFT_HANGUP);
    close_pair(p);
    weft_loop_destroy(l);
}

CASE(test_refused_connection_is_told)
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
    weft_loop *l = weft_loop_create(nullptr);
    struct seen s = {};
    weft_watch w = {};
    weft_loop_watch(l, &w, fd, WEFT_WRITE, see, &s);
    assert_int_equal(once(l), 1);
    assert_true(s.events & WEFT_WRITE);
    assert_true(s.events & WEFT_ERROR);
    length = sizeof error;
    if (error == 0)
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    assert_int_equal(error, ECONNREFUSED);
    close(closed), close(fd);
    weft_loop_destroy(l);
}

CASE(test_paused_watch_does_not_spin)
{
    weft_loop *l = weft_loop_create(nullptr);
    struct seen s = {};
    weft_watch w = {};
    int p[2];
    make_pair(p);
    weft_loop_watch(l, &w, p[0], 0, see, &s);
    close(p[1]); // a full hang-up, which epoll tells with any mask
    p[1] = -1;
    assert_int_equal(once(l), 1); // fetched once, and taken out
    assert_true(quiet(l));
    assert_int_equal(s.calls, 0);
    assert_int_equal(weft_watch_change(&w, WEFT_READ), 0); // and put back
    assert_int_equal(once(l), 1);
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.events, WEFT_READ);
    close_pair(p);
    weft_loop_destroy(l);
}

// ---- Listeners ----

struct accepted {
    int fds[200], count, stop_at;
};

static void keep(weft_listener *s, int fd)
{
    struct accepted *a = (struct accepted *)s->arg;
    a->fds[a->count++] = fd;
    if (a->count == a->stop_at)
        weft_listener_stop(s);
}

static int listener(struct sockaddr_un *a)
{
    static int number;
    *a = {};
    a->sun_family = AF_UNIX; // an abstract name: nothing to remove
    snprintf(a->sun_path + 1, sizeof a->sun_path - 1, "weft-loop-%d-%d", getpid(), number++);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)a, sizeof *a), 0);
    assert_int_equal(listen(fd, 128), 0);
    return fd;
}

static int connect_to(const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)a, sizeof *a), 0);
    return fd;
}

CASE(test_listen_accepts_in_batches)
{
    weft_loop *l = weft_loop_create(nullptr);
    struct sockaddr_un address;
    struct accepted a = {};
    weft_listener s = {};
    int fd = listener(&address), clients[100];
    a.stop_at = 100;
    assert_errno(weft_loop_listen(l, &s, fd, nullptr, nullptr), EINVAL);
    assert_errno(weft_loop_listen(l, &s, 99999, keep, nullptr), EBADF);
    int talker = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_errno(weft_loop_listen(l, &s, talker, keep, nullptr), EINVAL); // it does not listen
    close(talker);
    assert_errno(weft_listener_stop(&s), EALREADY);
    assert_int_equal(weft_loop_listen(l, &s, fd, keep, &a), 0);
    assert_errno(weft_loop_listen(l, &s, fd, keep, &a), EBUSY);
    for (int &c : clients)
        c = connect_to(&address);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, weft_in_s(30)), 0);
    assert_int_equal(a.count, 100);
    for (int i = 0; i < 100; i++) {
        assert_true(fcntl(a.fds[i], F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(a.fds[i], F_GETFL) & O_NONBLOCK);
        close(a.fds[i]), close(clients[i]);
    }
    fcntl(fd, F_SETFL, 0);
    assert_errno(weft_loop_listen(l, &s, fd, keep, &a), EINVAL);
    close(fd);
    weft_loop_destroy(l);
}

CASE(test_listen_without_descriptors)
{
    weft_loop *l = weft_loop_create(nullptr);
    struct sockaddr_un address;
    struct accepted a = {};
    struct rlimit before, none;
    weft_listener s = {};
    int fd = listener(&address), client = connect_to(&address), next = dup(0);
    close(next);
    a.stop_at = 1;
    assert_int_equal(weft_loop_listen(l, &s, fd, keep, &a), 0);
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = (rlim_t)next;
    setrlimit(RLIMIT_NOFILE, &none);
    // Three retries, a few rounds each: no spin.
    weft_loop_statistics stats = {};
    int r = weft_loop_run(l, WEFT_LOOP_ALL, weft_in_ms(350)), error = s.error;
    weft_loop_stats(l, &stats);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(r, -1);
    assert_int_equal(error, EMFILE);
    assert_true(stats.rounds < 30);
    assert_int_equal(a.count, 0);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, weft_in_s(30)), 0); // served after relief
    assert_int_equal(a.count, 1);
    assert_int_equal(s.error, 0);
    close(a.fds[0]), close(client), close(fd);
    weft_loop_destroy(l);
}

CASE(test_listen_stop_while_looking_away)
{
    weft_loop *l = weft_loop_create(nullptr);
    struct sockaddr_un address;
    struct accepted a = {};
    weft_listener s = {};
    int fd = listener(&address);
    assert_int_equal(weft_loop_listen(l, &s, fd, keep, &a), 0);
    shutdown(fd, SHUT_RDWR); // accept fails with EINVAL from now on
    while (s.error == 0)
        assert_int_equal(once(l), 1);
    assert_int_equal(s.error, EINVAL);
    assert_int_equal(weft_listener_stop(&s), 0);
    assert_int_equal(weft_loop_run(l, WEFT_LOOP_ALL, weft_in_s(30)), 0);
    close(fd);
    weft_loop_destroy(l);
}

CASE(test_exclusive_can_be_changed)
{
    weft_loop *l = weft_loop_create(nullptr);
    struct seen s = {};
    weft_watch w = {};
    int p[2];
    make_pair(p);
    assert_errno(weft_loop_watch(l, &w, p[0], WEFT_READ | WEFT_HANGUP | WEFT_EXCLUSIVE, see, &s),
                 EINVAL);
    assert_int_equal(weft_loop_watch(l, &w, p[0], WEFT_READ | WEFT_EXCLUSIVE, see, &s), 0);
    assert_int_equal(weft_watch_change(&w, WEFT_WRITE | WEFT_EXCLUSIVE), 0);
    assert_int_equal(once(l), 1);
    assert_int_equal(s.events, WEFT_WRITE);
    assert_int_equal(weft_watch_change(&w, WEFT_READ), 0);
    assert_true(quiet(l));
    close_pair(p);
    weft_loop_destroy(l);
}

RUN_CASES()
