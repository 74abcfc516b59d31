// closed.cc: who waits for a descriptor that somebody closes by close(2).
//
// The kernel tells nobody of that, and no edge will come.  So while the thread sleeps it asks for
// those that are waited for, a chunk of records at a time, until it has been through all of them
// since a tasklet last ran; then only another thread could close one.
#include "descriptor.h"

#include <base/above_streams.h>
#include <base/time.h>

#include <sys/timerfd.h>
#include <unistd.h>

using namespace weft;

static const int64_t EVERY_NS = 1000000000, EVERY_NS_IF_TOLD = 20000000;

static bool is_waited_for(const descriptor *r)
{
    return waits_for_event(r->waiter[0]) || waits_for_event(r->waiter[1]);
}

// How many waits it ended.
static int check_chunk(io_state *io, int chunk)
{
    int ended = 0;
    for (int i = 0; i < CHUNK; i++) {
        descriptor *r = &io->records.chunks[chunk][i];
        int fd = chunk * CHUNK + i;
        if (!is_waited_for(r) || io_is_registered(io, r, fd))
            continue;
        events_tell_closed(fd, "waited for");
        io_forget(r);
        ended++;
    }
    return ended;
}

static void check_next(io_source *s)
{
    io_check *c = (io_check *)(void *)s;
    uint64_t times;
    int saved = errno;
    ssize_t n = read(c->fd, &times, sizeof times);
    (void)n;
    c->armed = false;
    do
        c->chunk = (c->chunk + 1) % CHUNKS;
    while (io_here->records.chunks[c->chunk] == nullptr); // somebody waits, so there is one
    c->left--;
    c->in_vain = check_chunk(io_here, c->chunk) == 0;
    errno = saved;
}

static void end(io_source *s)
{
    close(((io_check *)(void *)s)->fd);
}

// The parent's clock must stay as it is.
static void forked(io_source *s)
{
    list_remove(s);
    end(s);
    io_check_begin(io_here);
}

// Before anything waits, so that its clock has the number of nothing that was closed.
void weft::io_check_begin(io_state *io)
{
    io_check *c = &io->check;
    int saved = errno;
    c->source.event = check_next;
    c->source.forked = forked;
    c->source.end = end;
    c->every = events_checked() ? EVERY_NS_IF_TOLD : EVERY_NS;
    c->fd = above_streams(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    bool made = io_register(io, &c->source, c->fd) == 0;
    if (!made)
        close_keep_errno(&c->fd);
    c->armed = !made; // then there are no checks
    errno = saved;
}

void weft::io_check_arm(io_state *io)
{
    int saved = errno;
    struct itimerspec t = {};
    t.it_value = timespec_of(io->check.every);
    io->check.armed = timerfd_settime(io->check.fd, 0, &t, nullptr) == 0;
    errno = saved;
}
