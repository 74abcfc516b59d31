// shared_watch.cc: a shared queue as a descriptor.
//
// A futex can't be polled, and an eventfd doesn't reach processes that met by name.  So who
// asks for a descriptor gets a datagram socket bound to a random name in the abstract
// namespace (unix(7)), writes the name into one of the queue's slots, and arms it; a
// put that sees an armed slot sends one byte and disarms it.  The kernel forgets the socket
// with its process, so nothing stays behind; a slot whose socket is gone is cleared by the
// next that rings it or looks for a free one.
//
// Nobody tells of a lease that has ended.  So in lease mode the descriptor is an epoll set with a
// timer besides, which makes it readable once a second: then whoever polls it looks.
//
// The byte stays until a get finds the queue empty: then it is read and the slot armed again.
#include "empty_table.h"
#include "queue_ring.h"

#include <base/above_streams.h>
#include <base/errno.h>

#include <stdio.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

using namespace weft;

static socklen_t address_of(uint64_t name, struct sockaddr_un *a)
{
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    int n = snprintf(a->sun_path + 1, sizeof a->sun_path - 1, "weft-queue-%016llx",
                     (unsigned long long)name);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static int datagram_socket(void)
{
    return above_streams(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

enum outcome { RUNG, NOBODY_THERE, NOT_RUNG };

// A socket for each ring: one that is kept would have to be there in each process that puts, and
// still be a socket where a task has closed what it does not know.
static int send_ring(void *arg)
{
    struct sockaddr_un a;
    socklen_t n = address_of(*(const uint64_t *)arg, &a);
    int fd = datagram_socket();
    if (fd < 0)
        return -1;
    ssize_t sent = uncancelled(sendto, fd, "", 1, MSG_NOSIGNAL, (struct sockaddr *)&a, n);
    close_keep_errno(&fd);
    return sent == 1 || errno == EAGAIN ? RUNG // EAGAIN: it is full of rings
           : errno == ECONNREFUSED      ? NOBODY_THERE
                                        : NOT_RUNG;
}

static outcome ring_one(uint64_t name)
{
    int result = send_ring(&name);
    if (result < 0 && (errno == EMFILE || errno == EBADF))
        result = in_empty_table(send_ring, &name);
    return result < 0 ? NOT_RUNG : (outcome)result;
}

static void clear_slot(ring *r, int slot, uint64_t name)
{
    __atomic_compare_exchange_n(&r->watches[slot], &name, 0, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
}

// First the deed, then the note that it is done: who is killed in between, or can't ring, leaves
// the slot armed for the next put, or whoever waits in the queue and looks (queue_wait).  The note
// is only taken if nobody has armed again meanwhile, which the count in the upper half tells; else
// there is one ring too many.
void weft::queue_ring_watches(weft_shared_queue *q)
{
    ring *r = q->r;
    int saved = errno;
    uint32_t armed = __atomic_load_n(&r->watches_armed, __ATOMIC_SEQ_CST), rung = 0;
    for (int i = 0; i < WATCHES; i++) {
        uint64_t name = __atomic_load_n(&r->watches[i], __ATOMIC_SEQ_CST);
        if (!(armed >> i & 1))
            continue;
        outcome result = name != 0 ? ring_one(name) : NOBODY_THERE;
        if (result == NOBODY_THERE && name != 0)
            clear_slot(r, i, name);
        rung |= (uint32_t)(result != NOT_RUNG) << i;
    }
    __atomic_compare_exchange_n(&r->watches_armed, &armed, armed & ~rung, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
    errno = saved;
}

// Whether this process watches: a child of fork(2) finds its parent's watch here.
static bool mine(const weft_shared_queue *q)
{
    return __atomic_load_n(&q->watcher, __ATOMIC_ACQUIRE) == holder_self();
}

// Arms, then looks: a put in between has either seen it armed or is seen here.
static void arm(weft_shared_queue *q)
{
    ring *r = q->r;
    uint64_t name = __atomic_load_n(&r->watches[q->watch_slot], __ATOMIC_SEQ_CST);
    uint32_t armed = __atomic_load_n(&r->watches_armed, __ATOMIC_SEQ_CST);
    while (!__atomic_compare_exchange_n(&r->watches_armed, &armed,
                                        (armed + ONE_ARMING) | (uint32_t)1 << q->watch_slot, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
    if (queue_gettable(q, 0))
        ring_one(name);
}

void weft::queue_found_empty(weft_shared_queue *q)
{
    if (!mine(q))
        return;
    int saved = errno;
    char byte;
    handle_lock_take(&q->watch_lock);
    while (uncancelled(recv, q->watch, &byte, 1, 0) >= 0)
        ;
    uint64_t ticks;
    if (q->ticks >= 0)
        (void)!uncancelled(read, q->ticks, &ticks, sizeof ticks);
    arm(q);
    handle_lock_give(&q->watch_lock);
    errno = saved;
}

// A slot for `name`; -1: EUSERS.
static int claim_slot(weft_shared_queue *q, uint64_t name)
{
    ring *r = q->r;
    for (int i = 0; i < WATCHES; i++) {
        uint64_t old = __atomic_load_n(&r->watches[i], __ATOMIC_SEQ_CST);
        if (old != 0 && ring_one(old) == NOBODY_THERE) // a ring too many does no harm
            clear_slot(r, i, old);
        old = 0;
        if (__atomic_compare_exchange_n(&r->watches[i], &old, name, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST))
            return i;
    }
    return fail_with(EUSERS);
}

static void close_watch(weft_shared_queue *q)
{
    close_keep_errno(&q->watch_set);
    close_keep_errno(&q->ticks);
    close_keep_errno(&q->watch);
}

// The timer, and the set that the user polls.
static int start_ticks(weft_shared_queue *q, int watch)
{
    const int64_t least = 1000000, most = 1000000000, lease = q->r->lease_ns;
    const int64_t ns = lease < least ? least : lease < most ? lease : most;
    struct itimerspec every = {timespec_of(ns), timespec_of(ns)};
    struct epoll_event readable = {};
    readable.events = EPOLLIN;
    q->ticks = above_streams(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    q->watch_set = q->ticks >= 0 ? above_streams(epoll_create1(EPOLL_CLOEXEC)) : -1;
    return q->watch_set < 0 || timerfd_settime(q->ticks, 0, &every, nullptr) != 0 ||
                   epoll_ctl(q->watch_set, EPOLL_CTL_ADD, q->ticks, &readable) != 0 ||
                   epoll_ctl(q->watch_set, EPOLL_CTL_ADD, watch, &readable) != 0
               ? -1
               : 0;
}

static int polled(const weft_shared_queue *q)
{
    return q->watch_set >= 0 ? q->watch_set : q->watch;
}

static int watch_start(weft_shared_queue *q)
{
    uint64_t name = 0;
    struct sockaddr_un a;
    while (name == 0)
        if (uncancelled(getrandom, &name, sizeof name, 0) != (ssize_t)sizeof name)
            return -1;
    int fd = datagram_socket();
    if (fd < 0)
        return -1;
    socklen_t n = address_of(name, &a);
    if (bind(fd, (struct sockaddr *)&a, n) != 0 || (q->r->leases && start_ticks(q, fd) != 0) ||
        (q->watch_slot = claim_slot(q, name)) < 0) {
        close_keep_errno(&fd);
        close_watch(q);
        return -1;
    }
    q->watch = fd;
    __atomic_store_n(&q->watcher, holder_self(), __ATOMIC_RELEASE);
    arm(q);
    return polled(q);
}

int weft_shared_queue_fd(weft_shared_queue *q)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    handle_lock_take(&q->watch_lock);
    int saved = errno;
    if (!mine(q) && q->watcher != 0) { // a parent's, and whole
        q->watcher = 0;
        close_watch(q);
    }
    int fd = mine(q) ? polled(q) : watch_start(q);
    if (fd >= 0)
        errno = saved;
    handle_lock_give(&q->watch_lock);
    return fd;
}

void weft::queue_unwatch(weft_shared_queue *q)
{
    ring *r = q->r;
    if (mine(q)) {
        uint64_t name = __atomic_load_n(&r->watches[q->watch_slot], __ATOMIC_SEQ_CST);
        clear_slot(r, q->watch_slot, name);
    }
    if (q->watcher != 0)
        close_watch(q);
}
