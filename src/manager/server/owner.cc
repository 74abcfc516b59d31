// owner.cc: the process behind a connection over a Unix socket.  What a peer holds is given back
// when that process ends, also if another has the descriptor still, such as a child by fork(2).
//
// It is the process that connected, whoever uses the connection.  The kernel has a pidfd of it
// (SO_PEERPIDFD, Linux 6.5); before, there is pidfd_open(2) of the number that it had when it
// connected, unless who has the number now is younger than the connection.  Where neither is to be
// had, and over TCP, the connection's end alone counts.
//
// Only who holds something is watched, and a second longer, so that one who locks and unlocks
// again and again does not cost a descriptor each time.
#include "place.h"

#include <base/above_streams.h>
#include <base/errno.h>
#include <weft/io.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

using namespace weft;

struct weft::peer_owner {
    owner_ring ring; // first: in server->resting, or server->lost
    weft_watch watch;
    struct peer *peer;
    bool is_listed; // in one of those
};

// ---- A pidfd ----

static int64_t now_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// When the process that has this number began, in nanoseconds since boot; -1: it can't be told.
static int64_t began(pid_t pid)
{
    char text[1024];
    snprintf(text, sizeof text, "/proc/%d/stat", (int)pid);
    int fd = open(text, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    close_keep_errno(&fd);
    text[n > 0 ? n : 0] = 0;
    const char *p = strrchr(text, ')'); // the name before it may hold anything
    for (int field = 2; p != nullptr && field < 22; field++)
        p = strchr(p + 1, ' ');
    return p != nullptr ? strtoll(p + 1, nullptr, 10) * (1000000000 / sysconf(_SC_CLK_TCK)) : -1;
}

static int open_by_number(const peer *p)
{
    int fd = above_streams((int)syscall(SYS_pidfd_open, p->pid, 0));
    if (fd < 0)
        return -1;
    int64_t at = began(p->pid), age = weft_now() - p->since;
    if (at >= 0 && at <= now_of(CLOCK_BOOTTIME) - age)
        return fd;
    close(fd);
    return fail_with(at < 0 ? ENOSYS : ESRCH);
}

// -1: ESRCH: it has ended.
static int open_owner(const peer *p)
{
    int fd = owner_without & OWNER_NO_PEERPIDFD ? fail_with(EOPNOTSUPP)
                                                : weft_io_peer_pidfd(p->watch.fd);
    if (fd < 0 && errno == EINVAL)
        return fail_with(ESRCH);
    if (fd >= 0 || errno != EOPNOTSUPP || p->pid <= 0 || (owner_without & OWNER_NO_PIDFD))
        return fd;
    return open_by_number(p);
}

static bool has_ended(int pidfd)
{
    struct pollfd p = {pidfd, POLLIN, 0};
    return poll(&p, 1, 0) > 0;
}

// ---- Watching ----

static bool holds_something(const peer *p)
{
    return p->held > 0 || p->lease.item != nullptr || !list_is_empty(&p->jobs) ||
           (p->wait != nullptr && p->wait->ended != nullptr);
}

static void list_in(owner_ring *list, peer_owner *o)
{
    list_insert(list, &o->ring);
    o->is_listed = true;
}

static peer_owner *take_first(owner_ring *list)
{
    peer_owner *o = (peer_owner *)list->next;
    list_remove(&o->ring);
    o->is_listed = false;
    return o;
}

void weft::owner_unwatch(peer *p)
{
    peer_owner *o = p->owner;
    if (o == nullptr)
        return;
    p->owner = nullptr;
    if (o->is_listed)
        list_remove(&o->ring);
    if (o->watch.loop != nullptr) {
        int fd = o->watch.fd;
        weft_loop_unwatch(&o->watch);
        close(fd);
        p->server->processes--;
    }
    memory_give(o);
}

// What it has said is still done: it may have given back what it held.
static void has_died(peer_owner *o)
{
    peer *p = o->peer;
    if (holds_something(p))
        peer_read_rest(p);
    if (holds_something(p))
        peer_end(p);
    owner_unwatch(p);
}

static void on_death(weft_watch *w, int, void *)
{
    has_died((peer_owner *)((char *)w - offsetof(peer_owner, watch)));
}

static bool end_lost(server *s, void *)
{
    if (!list_is_empty(&s->lost))
        has_died(take_first(&s->lost));
    return !list_is_empty(&s->lost);
}

void weft::owner_watch_slowly(peer *p, bool always)
{
    server *s = p->server;
    if (s->count + s->processes >= s->descriptors)
        return;
    int fd = open_owner(p);
    bool ended = fd < 0 ? errno == ESRCH : has_ended(fd);
    if ((fd < 0 && !ended) || (ended && !always)) {
        close_keep_errno(&fd);
        return;
    }
    peer_owner *o = (peer_owner *)memory_take_zeroed(1, sizeof *o);
    o->peer = p;
    p->owner = o;
    if (fd >= 0 && weft_loop_watch(s->loop, &o->watch, fd, WEFT_READ, on_death, nullptr) == 0) {
        s->processes++;
    } else if (!ended) {
        close(fd);
        p->owner = nullptr;
        memory_give(o);
    } else { // not at once: this command is to end, and what it has sent besides is to be done
        close_keep_errno(&fd);
        if (list_is_empty(&s->lost))
            background(s, end_lost, nullptr);
        list_in(&s->lost, o);
    }
}

// ---- Who holds nothing any more ----

static bool forget_one(server *s, void *)
{
    peer *p = !list_is_empty(&s->resting) ? take_first(&s->resting)->peer : nullptr;
    if (p != nullptr && !holds_something(p))
        owner_unwatch(p);
    return !list_is_empty(&s->resting);
}

static void forget(weft_alarm *, void *arg)
{
    background((server *)arg, forget_one, nullptr);
}

void weft::owner_rest_slowly(peer *p)
{
    server *s = p->server;
    if (p->owner->is_listed || holds_something(p))
        return;
    if (list_is_empty(&s->resting) && s->rest.loop == nullptr)
        weft_loop_arm(s->loop, &s->rest, 0, forget, s, weft_in_s(1));
    list_in(&s->resting, p->owner);
}
