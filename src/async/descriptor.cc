// descriptor.cc: records of descriptors, and waits (descriptor.h).
//
// Records live in chunks that are made as numbers grow and stay where they are until weft_io_run
// ends.  Registered means: epoll has it, edge-triggered, under the record's generation.  A
// descriptor closed elsewhere would leave that standing, which is why io.h forbids it.
#include "descriptor.h"
#include "here.h"

#include <base/errno.h>

#include <fcntl.h>
#include <poll.h>
#include <string.h>

using namespace weft;

static const int64_t SECOND = 1000000000;
static const size_t PARTS = 8; // of a second's bytes: one moves at once where there is a rate

// ---- Records ----

static int find_kind(descriptor *r, int fd)
{
    int type, domain, saved = errno, flags = fcntl(fd, F_GETFL);
    socklen_t size = sizeof type;
    if (flags < 0)
        return -1;
    r->blocking = (flags & O_NONBLOCK) == 0;
    r->kind = KIND_PLAIN;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0) {
        bool tcp = type == SOCK_STREAM && (domain == AF_INET || domain == AF_INET6);
        r->kind = tcp ? KIND_STREAM : KIND_SOCKET;
    } else if (r->blocking) {
        plain_learn(r, fd);
    }
    errno = saved;
    return 0;
}

// In a child that has no set of its own yet this one is the parent's, who still waits.
static void unregister(io_state *io, int fd)
{
    if (!events_forked(&io->set))
        events_control(&io->set, EPOLL_CTL_DEL, fd, 0, 0);
}

bool weft::io_is_registered(io_state *io, const descriptor *r, int fd)
{
    // (A change would be told of as an edge.)
    if (events_control(&io->set, EPOLL_CTL_ADD, fd, IO_EDGES, r->generation) != 0)
        return errno != EBADF && errno != EPERM;
    unregister(io, fd);
    return false;
}

// `ready`: what may be tried.  EPERM: such as a regular file, which is always ready.
static int enroll(io_state *io, descriptor *r, int fd, int ready)
{
    if (io_enter(io) != 0 || events_add(&io->set, fd, IO_EDGES, r->generation) != 0)
        return -1;
    r->registered = 1;
    r->ready = (uint8_t)ready;
    return 0;
}

// It is still the same one, but nothing is known of it any more.
static void unlearn(descriptor *r)
{
    uint32_t same = r->generation;
    if (r->own > 0)
        close_keep_errno(&r->own);
    memset(r, 0, sizeof *r);
    r->generation = same;
}

// Lets the others have a turn, in which they may close what the record is of.
static int give_way(io_state *io, const descriptor *r, weft_deadline d)
{
    uint32_t generation = r->generation;
    io->spree = 0;
    if (d > WEFT_NOW && weft_tasklet_yield() != 0)
        return -1;
    return r->generation == generation ? 0 : fail_with(ECANCELED);
}

descriptor *weft::io_begin_slowly(int fd, int direction, weft_deadline d)
{
    io_state *io = io_here;
    int error = io == nullptr ? EPERM : fd < 0 ? EBADF : 0;
    if (error == 0)
        error = wait_refusal(d);
    if (error != 0) {
        errno = error;
        return nullptr;
    }
    descriptor *r = descriptor_make(io, fd);
    if (r == nullptr || (io->spree >= 256 && give_way(io, r, d) != 0))
        return nullptr;
    if (r->waiter[io_index(direction)] != nullptr) {
        errno = EBUSY;
        return nullptr;
    }
    if (r->kind != KIND_UNKNOWN)
        return r;
    if (find_kind(r, fd) != 0)
        return nullptr;
    // Of what is no socket nothing later would tell that the number is another's: known is the
    // same as registered.
    if (r->kind == KIND_PLAIN && enroll(io, r, fd, WEFT_READ | WEFT_WRITE) != 0) {
        static descriptor file = {{nullptr, nullptr}, 0, KIND_PLAIN, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0};
        unlearn(r);
        return errno == EPERM ? &file : nullptr; // it never waits, so nobody writes to this
    }
    return r;
}

int weft::io_hold(io_held *h, int fd)
{
    if (io_here == nullptr || fd < 0)
        return fail_with(io_here == nullptr ? EPERM : EBADF);
    h->fd = fd;
    h->r = descriptor_make(io_here, fd);
    if (h->r == nullptr)
        return -1;
    h->generation = h->r->generation;
    return 0;
}

void weft::io_forget(descriptor *r)
{
    for (int i = 0; i < 2; i++)
        end_wait(r->waiter[i], ECANCELED);
    unlearn(r);
    r->generation++;
}

int weft::io_adopt(int fd, int kind)
{
    descriptor *r = descriptor_make(io_here, fd);
    if (r == nullptr) {
        close_keep_errno(&fd);
        return -1;
    }
    io_forget(r); // what had the number may have been closed elsewhere
    r->kind = (uint8_t)kind;
    return fd;
}

// ---- Waits ----

int weft::io_suspend(io_state *io, weft_deadline d, bool regardless)
{
    if (io->failed != 0 && !regardless)
        return fail_with(ECANCELED);
    io->spree = 0;
    io->waiting++;
    int result = regardless ? wait_regardless(d) : wait_for_event(d);
    io->waiting--;
    return result;
}

static void set_waiters(descriptor *r, int events, weft_tasklet *t)
{
    for (int direction = WEFT_READ; direction <= WEFT_WRITE; direction++)
        if (events & direction)
            r->waiter[io_index(direction)] = t;
}

// Until one of `events` is set in `ready`.
static int await_event(io_state *io, descriptor *r, int events, weft_deadline d)
{
    uint32_t generation = r->generation;
    while (!(r->ready & events)) {
        set_waiters(r, events, running_tasklet());
        int result = io_suspend(io, d);
        if (r->generation != generation)
            return fail_with(ECANCELED); // closed; the record is another's
        set_waiters(r, events, nullptr);
        if (result != 0)
            return -1;
    }
    return 0;
}

// So many have come or gone.  What was not used of the rate in the last second may be at once.
static void note_bytes(io_limit *l, int direction, size_t n)
{
    l->last = weft_now();
    if (l->rate == 0)
        return;
    weft_deadline *turn = &l->turn[io_index(direction)], least = l->last - SECOND;
    *turn = (*turn > least ? *turn : least) + (int64_t)((double)n / (double)l->rate * SECOND);
}

// Waits until the rate allows more, which is no idleness, and says how much.
static int await_turn(io_state *io, descriptor *r, int fd, int direction, io_call *c,
                      weft_deadline d)
{
    io_limit *l = record_find(&io->limits, fd);
    const weft_deadline *turn = &l->turn[io_index(direction)];
    uint32_t generation = r->generation;
    if (l->rate == 0)
        return 0;
    c->most = l->rate / PARTS + 1;
    while (weft_left(*turn) > 0) {
        if (d <= WEFT_NOW)
            return fail_with(ETIMEDOUT);
        set_waiters(r, direction, running_tasklet());
        int result = io_suspend(io, *turn < d ? *turn : d);
        if (r->generation != generation)
            return fail_with(ECANCELED);
        set_waiters(r, direction, nullptr);
        if (result != 0 && (errno != ETIMEDOUT || d < *turn))
            return -1;
        l->last = weft_now();
    }
    return 0;
}

// The same for one that may be idle only so long: then it is shut down, and the wait fails.
static int await(io_state *io, descriptor *r, int fd, int events, weft_deadline d)
{
    if (!r->limited)
        return await_event(io, r, events, d);
    const io_limit *l = record_find(&io->limits, fd);
    for (;;) {
        int64_t last = l->last;
        weft_deadline end = last + l->idle;
        if (await_event(io, r, events, end < d ? end : d) == 0) {
            record_find(&io->limits, fd)->last = weft_now();
            return 0;
        }
        if (errno != ETIMEDOUT || d <= end)
            return -1;
        if (l->last == last) {
            shutdown(fd, SHUT_RDWR);
            return fail_with(ETIMEDOUT);
        }
    }
}

int weft::io_limit_connection(int fd, int64_t idle_ns, size_t rate)
{
    io_limit *l = record_make(&io_here->limits, fd);
    if (l == nullptr)
        return -1;
    const int64_t most = WEFT_FOREVER / 2; // so that its end can be told
    *l = {idle_ns > 0 && idle_ns < most ? idle_ns : most, weft_now(), rate, {0, 0}};
    descriptor_find(io_here, fd)->limited = 1;
    return 0;
}

int weft::io_await(descriptor *r, int fd, int direction, weft_deadline d)
{
    io_state *io = io_here;
    if (d <= WEFT_NOW)
        return fail_with(ETIMEDOUT);
    if (!r->registered && enroll(io, r, fd, (WEFT_READ | WEFT_WRITE) & ~direction) != 0)
        return -1;
    return await(io, r, fd, direction, d);
}

int weft::io_would_not_block(descriptor *r, int fd, int direction)
{
    struct pollfd p = {fd, direction == WEFT_READ ? (short)POLLIN : (short)POLLOUT, 0};
    int saved = errno, ready = poll_now(&p, 1);
    errno = saved;
    if (ready == 0)
        r->ready &= (uint8_t)~direction;
    return ready != 0;
}

// Whether a system call is worth its price.
static inline int may_try(descriptor *r, int fd, int direction, weft_deadline d)
{
    if (r->blocking && (r->kind == KIND_PLAIN || d == WEFT_NOW))
        return io_would_not_block(r, fd, direction);
    return (r->ready & direction) || !r->registered || d <= WEFT_NOW;
}

// A pause, longer with each try, 16 ms at most.
static int pause(descriptor *r, int direction, int tries, weft_deadline d)
{
    uint32_t generation = r->generation;
    weft_deadline again = weft_in_ms(1 << (tries < 4 ? tries : 4));
    if (weft_left(d) == 0)
        return fail_with(ETIMEDOUT);
    if (weft_tasklet_sleep(again < d ? again : d) != 0)
        return -1;
    if (r->generation != generation)
        return fail_with(ECANCELED);
    r->ready |= (uint8_t)direction;
    return 0;
}

// Waits after a call that found nothing, for the so-manieth time.  Where poll(2) says all the same
// that it can go on, no edge will tell when: a datagram's receiver is full, say.
static int wait_again(descriptor *r, int fd, int direction, int tries, weft_deadline d)
{
    r->ready &= (uint8_t)~direction;
    if (tries > 1 && direction == WEFT_WRITE && io_would_not_block(r, fd, direction))
        return pause(r, direction, tries - 2, d);
    return io_await(r, fd, direction, d);
}

// The same for one that looks elsewhere: any edge may mean that, and what is ready stays so.
static int wait_elsewhere(descriptor *r, int fd, int direction, weft_deadline d)
{
    uint32_t generation = r->generation;
    uint8_t ready = r->ready & (uint8_t)direction;
    int result = wait_again(r, fd, direction, 1, d);
    if (r->generation == generation)
        r->ready |= ready;
    return result;
}

ssize_t weft::io_do(int fd, int direction, io_call *c, weft_deadline d)
{
    int saved = errno, tries = 0;
    descriptor *r = io_begin(fd, direction, d);
    if (r == nullptr)
        return -1;
    c->d = d;
    for (;;) {
        if (__builtin_expect(r->limited, 0) && await_turn(io_here, r, fd, direction, c, d) != 0)
            return -1;
        if (c->elsewhere || may_try(r, fd, direction, d)) {
            ssize_t n = c->fn(fd, r, c);
            if (n >= 0) {
                if (__builtin_expect(r->limited, 0) && n > 0)
                    note_bytes(record_find(&io_here->limits, fd), direction, (size_t)n);
                errno = saved;
                return n;
            }
            if (errno == EINTR)
                continue;
            if (errno != EAGAIN)
                return -1;
            tries++;
        }
        if ((c->elsewhere ? wait_elsewhere(r, fd, direction, d)
                          : wait_again(r, fd, direction, tries, d)) != 0)
            return -1;
    }
}

// What poll(2) says of `fd`, as WEFT_IO_*; -1: errno.
static int ask(int fd, int events)
{
    struct pollfd p = {fd, 0, 0};
    p.events = (short)((events & WEFT_READ ? POLLIN | POLLPRI | POLLRDHUP : 0) |
                       (events & WEFT_WRITE ? POLLOUT : 0) | (events & WEFT_URGENT ? POLLPRI : 0));
    if (poll_now(&p, 1) < 0)
        return -1;
    if (p.revents & POLLNVAL)
        return fail_with(EBADF);
    if (p.revents & (POLLERR | POLLHUP))
        return events;
    int is = (p.revents & (POLLIN | POLLPRI | POLLRDHUP) ? WEFT_READ : 0) |
             (p.revents & POLLOUT ? WEFT_WRITE : 0) | (p.revents & POLLPRI ? WEFT_URGENT : 0);
    return is & events;
}

// What a wait for these events occupies.
static int directions_of(int events)
{
    return (events & (WEFT_READ | WEFT_URGENT) ? WEFT_READ : 0) | (events & WEFT_WRITE);
}

// A wait that poll(2) decides: the edges only say when to ask again.  What is urgent they may be
// the only ones to say, for it is told once (/proc/pressure).  What they say of other things is
// no reason to go on, and is put back.
static int wait_any(io_state *io, descriptor *r, int fd, int events, weft_deadline d)
{
    uint32_t generation = r->generation;
    int directions = directions_of(events), is = ask(fd, events);
    uint8_t seen = 0;
    if (is != 0)
        return is;
    if (d <= WEFT_NOW)
        return fail_with(ETIMEDOUT);
    // What epoll knows of it may be an earlier one of that number here, so each wait makes sure.
    if (enroll(io, r, fd, 0) != 0)
        return -1;
    while (is == 0) {
        seen |= r->ready;
        r->ready &= (uint8_t)~directions;
        r->urgent = 0;
        if (await(io, r, fd, directions, d) != 0)
            is = -1;
        else
            is = r->urgent ? events & WEFT_URGENT : 0;
        if (is == 0)
            is = ask(fd, events);
    }
    if (r->generation == generation)
        r->ready |= seen;
    return is;
}

static int check(io_state *io, int fd, int events, weft_deadline d)
{
    if (io == nullptr)
        return EPERM;
    if (events == 0 || (events & ~(WEFT_READ | WEFT_WRITE | WEFT_URGENT)) != 0)
        return EINVAL;
    return fd < 0 ? EBADF : wait_refusal(d);
}

// The record of a descriptor that may be waited for.  nullptr: errno.
static descriptor *descriptor_to_wait(io_state *io, int fd, int events, weft_deadline d)
{
    int error = check(io, fd, events, d);
    return error == 0 ? descriptor_make(io, fd) : fail_null(error);
}

int weft_io_wait(int fd, int events, weft_deadline d)
{
    io_state *io = io_here;
    descriptor *r = descriptor_to_wait(io, fd, events, d);
    if (r == nullptr)
        return -1;
    int directions = directions_of(events);
    if ((directions & WEFT_READ && r->waiter[0] != nullptr) ||
        (directions & WEFT_WRITE && r->waiter[1] != nullptr))
        return fail_with(EBUSY);
    uint32_t generation = r->generation;
    int is = wait_any(io, r, fd, events, d), saved = errno;
    // One that only this call uses is somebody else's, who may close it.
    if (r->generation == generation && r->kind == KIND_UNKNOWN && r->registered &&
        r->waiter[0] == nullptr && r->waiter[1] == nullptr) {
        unregister(io, fd);
        unlearn(r);
    }
    errno = saved;
    return is;
}

// ---- Those that floors above keep ----

// Only its own waits take it for registered: whoever closes it elsewhere leaves the record as it
// is, and the next descriptor with that number is registered anew.
int weft::io_keep_wait(int fd, uint64_t number, int events, weft_deadline d)
{
    io_state *io = io_here;
    descriptor *r = descriptor_to_wait(io, fd, events, d);
    if (r == nullptr)
        return -1;
    if (r->waiter[0] != nullptr || r->waiter[1] != nullptr)
        return fail_with(EBUSY);
    if (r->kept != number || events_forked(&io->set)) {
        io_forget(r);
        if (enroll(io, r, fd, 0) != 0)
            return -1;
        r->kept = number;
    }
    uint32_t generation = r->generation;
    r->registered = 1;
    int is = await_event(io, r, events, d) == 0 ? r->ready & events : -1;
    if (r->generation == generation) {
        r->ready &= (uint8_t)~events;
        r->registered = 0;
    }
    return is;
}

void weft::io_keep_end(int fd, uint64_t number)
{
    descriptor *r = io_here != nullptr ? descriptor_find(io_here, fd) : nullptr;
    if (r == nullptr || r->kept != number)
        return;
    int saved = errno;
    io_forget(r);
    unregister(io_here, fd);
    errno = saved;
}

// ---- Closing ----

// The record, if there is anything to forget.  NULL: errno.
static int let_go(int fd)
{
    io_state *io = io_here;
    if (io == nullptr)
        return fail_with(EPERM);
    if (fd < 0)
        return fail_with(EBADF);
    for (io_source *s = io->sources.next; s != &io->sources; s = s->next)
        if (s->closing != nullptr)
            s->closing(s, fd);
    descriptor *r = descriptor_find(io, fd);
    if (r != nullptr)
        io_forget(r);
    return 0;
}

int weft_io_close(int fd)
{
    if (let_go(fd) != 0)
        return -1;
    // Linux has closed it also when it says EINTR.
    int saved = errno, result = close(fd);
    if (result != 0 && errno == EINTR) {
        errno = saved;
        return 0;
    }
    return result;
}

int weft_io_forget(int fd)
{
    io_state *io = io_here;
    if (io != nullptr && fcntl(fd, F_GETFD) < 0)
        return -1;
    if (let_go(fd) != 0)
        return -1;
    int saved = errno;
    unregister(io, fd);
    errno = saved;
    return 0;
}

int weft_io_shutdown(int fd, int how)
{
    return io_here == nullptr ? fail_with(EPERM) : shutdown(fd, how);
}
