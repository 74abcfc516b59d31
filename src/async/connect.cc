// connect.cc: connecting to one of several addresses (RFC 8305, "Happy Eyeballs").
//
// The attempts are in an epoll set of their own, and that is what the tasklet waits for: many
// descriptors at once are one wait, and the loser's end is close(2).
#include "address.h"
#include "descriptor.h"

#include <base/above_streams.h>
#include <base/errno.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>

using namespace weft;

static const int64_t ATTEMPT_DELAY_MS = 250; // RFC 8305, section 5
enum { MOST = 64 };                          // addresses that are tried

namespace {
struct race {
    const struct addrinfo *order[MOST];
    int fds[MOST]; // -1: not under way
    int count, begun, live;
    int set;   // epoll
    int error; // what the last one that failed said
};
} // namespace

// A socket that connects.  *done: it has.
static int attempt(const struct addrinfo *a, int *done)
{
    int one = 1;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0)
        return -1;
    if (a->ai_socktype == SOCK_STREAM && a->ai_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *done = connect(fd, a->ai_addr, a->ai_addrlen) == 0;
    if (!*done && errno != EINPROGRESS && errno != EINTR)
        close_keep_errno(&fd);
    return fd;
}

// What became of it.
static int outcome(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 ? errno : error;
}

static int adopt(int fd, const struct addrinfo *a)
{
    bool tcp = a->ai_socktype == SOCK_STREAM && a->ai_family != AF_UNIX;
    return io_adopt(fd, tcp ? KIND_STREAM : KIND_SOCKET);
}

static int connect_one(const struct addrinfo *a, weft_deadline d)
{
    int done = 0, fd = attempt(a, &done);
    if (fd < 0 || done)
        return fd < 0 ? -1 : adopt(fd, a);
    if (weft_io_wait(fd, WEFT_WRITE, d) < 0) {
        close_keep_errno(&fd);
        return -1;
    }
    int error = outcome(fd);
    if (error == 0)
        return adopt(fd, a);
    close(fd);
    return fail_with(error);
}

// A unix socket does not queue a connect: while the backlog is full there is only to try again.
static int connect_patiently(const struct addrinfo *a, weft_deadline d)
{
    for (int64_t ms = 1;; ms = ms < 16 ? 2 * ms : ms) {
        int fd = connect_one(a, d);
        if (fd >= 0 || errno != EAGAIN || a->ai_family != AF_UNIX)
            return fd;
        weft_deadline again = weft_in_ms(ms);
        if (weft_left(d) == 0)
            return fail_with(ETIMEDOUT);
        if (weft_tasklet_sleep(again < d ? again : d) != 0)
            return -1;
    }
}

// The families in turn, each in the list's order; the first address first.
static void interleave(race *r, const struct addrinfo *list)
{
    const struct addrinfo *of[2] = {list, list};
    int first = list->ai_family, turn = 0;
    while (r->count < MOST && (of[0] != nullptr || of[1] != nullptr)) {
        while (of[turn] != nullptr && (of[turn]->ai_family == first) != (turn == 0))
            of[turn] = of[turn]->ai_next;
        if (of[turn] != nullptr) {
            r->order[r->count++] = of[turn];
            of[turn] = of[turn]->ai_next;
        }
        turn = !turn;
    }
}

// Begins the next attempt.  The index of one that has connected at once, or -1.
static int begin_next(race *r)
{
    int i = r->begun++, done = 0;
    struct epoll_event e;
    e.events = EPOLLOUT;
    e.data.u32 = (uint32_t)i;
    r->fds[i] = attempt(r->order[i], &done);
    if (r->fds[i] < 0) {
        r->error = errno;
        return -1;
    }
    if (!done && epoll_ctl(r->set, EPOLL_CTL_ADD, r->fds[i], &e) != 0) {
        r->error = errno;
        close_keep_errno(&r->fds[i]);
        return -1;
    }
    r->live++;
    return done ? i : -1;
}

// Looks at those that have come to an end.  The index of one that has connected, or -1.
static int look(race *r)
{
    struct epoll_event e[MOST];
    int n = epoll_wait(r->set, e, MOST, 0);
    for (int k = 0; k < n; k++) {
        int i = (int)e[k].data.u32, error = outcome(r->fds[i]);
        if (error == 0)
            return i;
        r->error = error;
        r->live--;
        close_keep_errno(&r->fds[i]);
    }
    return -1;
}

static int run(race *r, weft_deadline d)
{
    weft_deadline next = WEFT_NOW;
    for (int live = 0;;) {
        if (r->begun < r->count && weft_left(next) == 0) {
            int i = begin_next(r);
            if (i >= 0)
                return i;
            // One that has failed already takes no time from the next.
            next = r->live > live ? weft_in_ms(ATTEMPT_DELAY_MS) : WEFT_NOW;
            live = r->live;
            continue;
        }
        if (r->live == 0)
            return fail_with(r->error);
        weft_deadline until = r->begun < r->count && next < d ? next : d;
        if (weft_io_wait(r->set, WEFT_READ, until) < 0 && (errno != ETIMEDOUT || until == d))
            return -1;
        int i = look(r);
        if (i >= 0)
            return i;
        if (r->live < live)
            next = WEFT_NOW; // one has failed: don't wait for the others
        live = r->live;
    }
}

int weft_io_connect_any(const struct addrinfo *list, weft_deadline d)
{
    race r;
    int saved = errno;
    if (io_here == nullptr)
        return fail_with(EPERM);
    if (list == nullptr)
        return fail_with(EINVAL);
    int error = wait_refusal(d);
    if (error != 0)
        return fail_with(error);
    if (list->ai_next == nullptr) {
        int fd = connect_patiently(list, d);
        errno = fd < 0 ? errno : saved;
        return fd;
    }
    memset(&r, 0, sizeof r);
    memset(r.fds, -1, sizeof r.fds);
    r.set = above_streams(epoll_create1(EPOLL_CLOEXEC));
    if (r.set < 0)
        return -1;
    interleave(&r, list);
    int winner = run(&r, d), fd = -1;
    if (winner >= 0) {
        fd = r.fds[winner];
        r.fds[winner] = -1;
    }
    close_keep_errno(&r.set);
    for (int i = 0; i < r.begun; i++)
        close_keep_errno(&r.fds[i]);
    if (winner < 0)
        return -1;
    fd = adopt(fd, r.order[winner]);
    errno = fd < 0 ? errno : saved;
    return fd;
}

int weft_io_connect(const char *address, weft_deadline d)
{
    endpoint a;
    struct addrinfo *list, one;
    int saved = errno;
    if (io_here == nullptr)
        return fail_with(EPERM);
    if (endpoint_parse(&a, address) != 0)
        return -1;
    if (a.kind > ADDRESS_UNIX)
        return fail_with(EINVAL);
    if (a.kind == ADDRESS_UNIX) {
        memset(&one, 0, sizeof one);
        one.ai_family = AF_UNIX;
        one.ai_socktype = SOCK_STREAM;
        one.ai_addr = (struct sockaddr *)&a.un;
        one.ai_addrlen = a.un_size;
        int fd = weft_io_connect_any(&one, d);
        errno = fd < 0 ? errno : saved;
        return fd;
    }
    if (endpoint_resolve(&a, 0, &list, d) != 0)
        return -1;
    int fd = weft_io_connect_any(list, d);
    saved = errno;
    freeaddrinfo(list);
    errno = saved;
    return fd;
}
