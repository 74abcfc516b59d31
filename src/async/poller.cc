// poller.cc: the scheduler's poller, what else takes part in it, and weft_io_run (descriptor.h).
//
// A child of fork shares the parent's epoll set, so that each would take the other's
// events.  A word in memory that a fork wipes tells the child: it makes a set of its own before it
// waits or registers, and adding a descriptor reports what is ready.
#include "descriptor.h"
#include "here.h"
#include "loop_state.h"

#include <thread/sleep.h>

#include <base/errno.h>

#include <stdio.h>

using namespace weft;

// What epoll hands back: of a descriptor its generation and number; of a source its number, with a
// bit that no descriptor has.
static const uint64_t SOURCE = (uint64_t)1 << 31, LOOP = SOURCE; // sources are counted from 1
// Events fetched at once: so many that asking costs little each, so few that what was touched to
// wake the first is still in the cache when it runs.
static const int BATCH = 64;

__thread io_state *weft::io_here;

// ---- The poller ----

static void wake(descriptor *r, int i)
{
    end_wait(r->waiter[i], 0); // unless it was cancelled, and has not gone on yet
}

static int watch(io_state *io, int fd, uint64_t data)
{
    struct epoll_event e;
    e.events = EPOLLIN;
    e.data.u64 = data;
    return fd < 0 ? -1 : epoll_ctl(io->set.fd, EPOLL_CTL_ADD, fd, &e);
}

static void run_loop(io_state *io)
{
    weft_loop *l = io->loop;
    int saved = errno;
    if (l == nullptr) // it has been given up since it was told of
        return;
    weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW);
    if (l->stuck && loop_unstick(l))
        watch(io, l->set.fd, LOOP);
    io->check.in_vain = false;
    errno = saved;
}

static void dispatch(io_state *io, const struct epoll_event *e)
{
    if (e->data.u64 == LOOP) {
        run_loop(io);
        return;
    }
    if (e->data.u64 & SOURCE) {
        for (io_source *s = io->sources.next; s != &io->sources; s = s->next)
            if (s->number == e->data.u64 >> 32) {
                s->event(s);
                break;
            }
        return;
    }
    descriptor *r = descriptor_find(io, event_number(e));
    if (r == nullptr || r->generation != event_generation(e))
        return;
    uint32_t ends = EPOLLHUP | EPOLLERR;
    if (e->events & (ends | EPOLLRDHUP | EPOLLPRI))
        r->lasting = 1;
    if (e->events & EPOLLPRI)
        r->urgent = 1;
    if (e->events & (ends | EPOLLIN | EPOLLRDHUP | EPOLLPRI)) {
        r->ready |= WEFT_READ;
        wake(r, 0);
    }
    // One who waits for both is woken by either.
    if (e->events & (ends | EPOLLOUT)) {
        r->ready |= WEFT_WRITE;
        wake(r, 1);
    }
}

// Nobody hears of an event any more.
static int fail(io_state *io, int error)
{
    io->failed = error;
    cancel_all_tasklets();
    return 1;
}

static int poll_events(weft_poller *p, weft_deadline d)
{
    io_state *io = (io_state *)(void *)p; // its first member
    struct epoll_event events[BATCH];
    // Work that nobody waits for any more is still collected, but is no reason to wait.
    if (io->failed != 0 || (io->waiting == 0 && io->loop == nullptr &&
                            (list_is_empty(&io->sources) || d == WEFT_FOREVER)))
        return 0;
    if (events_forked(&io->set)) {
        if (io_wake_child(io) != 0)
            return -1; // the main tasklet's wait fails; it may be another time
        d = WEFT_NOW;  // it may have woken somebody
    }
    io->check.left = io->records.count;
    int n;
    do {
        weft_deadline due = io->loop != nullptr ? loop_due(io->loop) : WEFT_FOREVER;
        io_check_later(io, d);
        n = events_wait(&io->set, events, BATCH, weft_left(due < d ? due : d));
        for (int i = 0; i < n && !events_forked(&io->set); i++) // as in the loop
            dispatch(io, &events[i]);
        if (weft_left(due) == 0)
            run_loop(io);
    } while (n == 1 && io->check.in_vain);
    return n < 0 ? fail(io, errno) : 1;
}

int weft::io_register(io_state *io, io_source *s, int fd)
{
    descriptor *r = fd < 0 ? nullptr : descriptor_find(io, fd);
    if (r != nullptr)
        io_forget(r); // it was closed elsewhere
    s->number = ++io->last_source;
    if (fd >= 0 && watch(io, fd, (uint64_t)s->number << 32 | SOURCE) != 0)
        return -1;
    list_insert(&io->sources, s);
    return 0;
}

// Tells all that have this function; any of them may leave meanwhile.
static void tell_sources(io_state *io, void (*io_source::*fn)(io_source *))
{
    for (io_source *next, *s = io->sources.next; s != &io->sources; s = next) {
        next = s->next;
        if (s->*fn != nullptr)
            (s->*fn)(s);
    }
}

weft_loop *weft_io_loop(void)
{
    io_state *io = io_here;
    if (io == nullptr)
        errno = EPERM;
    if (io == nullptr || io->loop != nullptr)
        return io != nullptr ? io->loop : nullptr;
    if (io_enter(io) != 0)
        return nullptr;
    weft_loop *l = weft_loop_create(nullptr);
    if (l == nullptr)
        return nullptr;
    l->nested = true;
    if (watch(io, l->set.fd, LOOP) != 0) {
        int saved = errno;
        weft_loop_destroy(l);
        errno = saved;
        return nullptr;
    }
    return io->loop = l;
}

// ---- Beginning and end ----

// It may cost system calls of the program their EINTR, so it is on demand only.
static void watch_for_blocked(io_state *io)
{
    int64_t limit = events_blocked_ns();
    if (limit == 0)
        return;
    io->watchdog = weft_tasklet_watchdog(limit, 0, nullptr, NULL) == 0;
    if (!io->watchdog)
        perror("weft: WEFT_IO_BLOCKED");
}

int weft::io_wake_child(io_state *io)
{
    int saved = errno;
    if (events_renew(&io->set) != 0)
        return -1;
    tell_sources(io, &io_source::forked);
    if (io->loop != nullptr &&
        (loop_enter(io->loop) != 0 || watch(io, io->loop->set.fd, LOOP) != 0))
        return -1;
    descriptor *r;
    for (int fd = -1; (r = record_next(&io->records, &fd)) != nullptr;) {
        r->ready = 0;
        // What was closed meanwhile, and may be another's number, closed.cc finds.
        if (r->registered &&
            events_control(&io->set, EPOLL_CTL_ADD, fd, IO_EDGES, r->generation) != 0 &&
            errno != EBADF && errno != EPERM)
            return -1;
    }
    events_keep(&io->set);
    if (io->watchdog)
        watch_for_blocked(io);
    errno = saved;
    return 0;
}

static io_state *start(void)
{
    io_state *io = (io_state *)calloc(1, sizeof *io);
    if (io == nullptr)
        return nullptr;
    list_init(&io->sources);
    io->poller.poll = poll_events;
    if (events_open(&io->set) == 0 && weft_tasklet_set_poller(&io->poller) == 0)
        return io;
    events_close(&io->set);
    free_keep_errno(io);
    return nullptr;
}

static void finish(io_state *io)
{
    int saved = errno;
    descriptor *r;
    for (int fd = -1; (r = record_next(&io->records, &fd)) != nullptr;)
        io_forget(r); // none waits
    tell_sources(io, &io_source::end);
    weft_loop_destroy(io->loop);
    if (io->watchdog)
        weft_tasklet_watchdog(0, 0, nullptr, NULL);
    weft_tasklet_set_poller(nullptr);
    io_here = nullptr;
    records_free(&io->records);
    records_free(&io->limits);
    for (int fd : io->pipe)
        if (fd > 0)
            close(fd);
    events_close(&io->set);
    free(io);
    errno = saved;
}

bool weft::in_io_run(void)
{
    return io_here != nullptr;
}

int weft_io_run(int (*main_fn)(void *arg), void *arg)
{
    if (main_fn == nullptr)
        return fail_with(EINVAL);
    if (io_here != nullptr)
        return fail_with(EBUSY);
    if (enter_main_tasklet() != 0)
        return -1;
    io_state *io = start();
    if (io == nullptr)
        return -1;
    io_here = io;
    io_check_begin(io);
    watch_for_blocked(io);
    poll_way *way = way_to_poll;
    way_to_poll = poll_as_tasklet;
    sleep_as_tasklets(park_tasklet);
    int result = main_fn(arg), saved = errno;
    if (weft_tasklet_run() == 0) {
        errno = saved;
    } else {
        result = -1;
        if (errno != EDEADLK) { // a child has no set of its own
            fail(io, errno);
            weft_tasklet_run();
        }
    }
    if (io->failed != 0)
        result = fail_with(io->failed);
    way_to_poll = way;
    sleep_as_tasklets(nullptr);
    finish(io);
    return result;
}
