// serve.cc: a tasklet for each connection, so many at most.
//
// All tasklets are children of one scope of the caller's, so none outlives the call, and its close
// is the drain: wait, and cancel those that are left at the deadline.  A connection that
// was accepted is in a list until its tasklet has closed it, for one that is cancelled before it
// starts never runs.
#include "descriptor.h"

#include <base/saved_errno.h>

#include <stdlib.h>
#include <string.h>

static const int64_t PAUSE_MS = 50; // out of descriptors or memory
static const size_t MAX = 10000;

typedef struct connection {
    weft_private_serve *serve;
    struct connection *next, *previous;
    int fd;
    uint32_t generation;
} connection;

struct weft_private_serve {
    weft_private_serve *next;
    int listener;
    int stopping;
    int closed; // the listener is
    bool full;  // it waits for a connection's end
    weft_tasklet *self;
    void (*handler)(int fd, void *arg);
    void *arg;
    size_t count, max;
    int64_t drain_ns;
    weft_deadline end; // of the drain
    weft_tasklet_options tasklet;
    weft_scope scope;
    connection all; // the list's head
};

// ---- Stopping ----

static bool polls(const weft_tasklet *t)
{
    return t != nullptr && (t->state & ~WEFT_IS_TIMED) == WEFT_IS_POLLING;
}

// One who does not wait at the moment (an event has woken him, or he gives others a turn) is about
// to look whether he may accept: with the bit set he does, and finds that he has been stopped.
static void interrupt(weft_private_io *io, const weft_private_serve *v)
{
    weft_private_descriptor *r = weft_private_descriptor_find(io, v->listener);
    if (polls(v->self))
        weft_private_unpark_error(v->self, ECANCELED);
    else if (r != nullptr)
        r->ready |= WEFT_READ;
}

int weft_private_serve_stop(weft_private_io *io, int listener, int closed)
{
    int found = 0;
    for (weft_private_serve *v = io->serves; v != nullptr; v = v->next) {
        if (v->listener != listener || v->closed)
            continue;
        found = 1;
        v->closed = closed;
        if (v->stopping)
            continue;
        v->stopping = 1;
        v->end = v->drain_ns == 0 ? WEFT_FOREVER : weft_in_ns(v->drain_ns);
        interrupt(io, v);
    }
    return found;
}

// One that drains leaves the listener to the next.
static bool is_served(const weft_private_io *io, int listener)
{
    const weft_private_serve *v = io->serves;
    while (v != nullptr && (v->listener != listener || v->stopping))
        v = v->next;
    return v != nullptr;
}

int weft_io_stop(int listener)
{
    weft_private_io *io = weft_private_io_here;
    if (io == nullptr)
        return weft_fail(EPERM);
    if (listener < 0)
        return weft_fail(EBADF);
    if (weft_private_serve_stop(io, listener, 0))
        return 0;
    weft_private_descriptor *r = weft_private_descriptor_find(io, listener);
    if (r == nullptr || !polls(r->waiter[0]))
        return weft_fail(ENOENT);
    weft_private_unpark_error(r->waiter[0], ECANCELED);
    return 0;
}

// ---- One connection ----

// The handler may have closed the descriptor, and the number be another's.
static void release(connection *c)
{
    weft_private_io *io = weft_private_io_here;
    const weft_private_descriptor *r =
        io != nullptr ? weft_private_descriptor_find(io, c->fd) : nullptr;
    if (r != nullptr && r->generation == c->generation)
        weft_io_close(c->fd);
    c->next->previous = c->previous;
    c->previous->next = c->next;
    free(c);
}

// Stacks are all of one size, so the same frame of each handler would have its place in the same
// few sets of the cache: with many connections each would push out the others.  They begin apart.
static __attribute__((noinline)) void call_handler(weft_private_serve *v, int fd)
{
    volatile char *apart = (volatile char *)__builtin_alloca((size_t)(fd % 16) * 128 + 1);
    *apart = 0;
    v->handler(fd, v->arg);
}

static void *handle(void *arg)
{
    connection *c = (connection *)arg;
    weft_private_serve *v = c->serve;
    call_handler(v, c->fd);
    release(c);
    v->count--;
    if (v->full && polls(v->self)) {
        v->full = false;
        weft_private_tasklet_unpark(&weft_private_sched, v->self);
    }
    return nullptr;
}

static int begin(weft_private_serve *v, int fd)
{
    connection *c = (connection *)malloc(sizeof *c);
    if (c == nullptr)
        return -1;
    c->serve = v;
    c->fd = fd;
    c->generation = weft_private_descriptor_find(weft_private_io_here, fd)->generation;
    c->next = &v->all;
    c->previous = v->all.previous;
    if (weft_tasklet_spawn(handle, c, &v->tasklet) == nullptr) {
        weft_free_keep_errno(c);
        return -1;
    }
    c->previous->next = v->all.previous = c;
    v->count++;
    return 0;
}

// ---- All of them ----

static bool lacks_resources(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

// 0: go on; -1: errno.  Being stopped is no error.
static int pause_for(weft_private_serve *v, weft_deadline d)
{
    int result = weft_private_io_suspend(weft_private_io_here, d);
    if (result == 0 || errno == ETIMEDOUT ||
        (errno == ECANCELED && v->stopping && v->self->cancelled == 0))
        return 0;
    return -1;
}

// Waits until one more is allowed, or the drain is over.
static int wait_for_room(weft_private_serve *v)
{
    while (v->count >= v->max && (!v->stopping || weft_left(v->end) > 0)) {
        v->full = true;
        int result = pause_for(v, v->stopping ? v->end : WEFT_FOREVER);
        v->full = false;
        if (result != 0)
            return -1;
    }
    return 0;
}

// The next connection; -1 with errno 0: there is none for the moment, but to look again.
static int next_connection(weft_private_serve *v)
{
    if (wait_for_room(v) != 0)
        return -1;
    if (v->closed || v->count >= v->max)
        return weft_fail(ETIMEDOUT);
    bool stopping = v->stopping;
    int fd = stopping ? weft_io_accept(v->listener, WEFT_NOW)
                      : weft_private_io_accept(v->listener, &v->stopping, WEFT_FOREVER);
    if (fd >= 0)
        return fd;
    if (errno == ECANCELED && v->stopping && v->self->cancelled == 0)
        return weft_fail(0);
    if (!lacks_resources(errno))
        return -1;
    weft_deadline again = weft_in_ms(PAUSE_MS);
    if (stopping && v->end <= again)
        return weft_fail(ETIMEDOUT);
    return pause_for(v, again) != 0 ? -1 : weft_fail(0);
}

// Until stopped (0), or something fails.
static int accept_all(weft_private_serve *v)
{
    for (;;) {
        int fd = next_connection(v);
        if (fd < 0 && errno == 0)
            continue;
        if (fd < 0)
            return v->stopping && v->self->cancelled == 0 ? 0 : -1;
        while (begin(v, fd) != 0) { // it was accepted: it must not be lost for want of memory
            int error = errno;
            if (!lacks_resources(error) || pause_for(v, weft_in_ms(PAUSE_MS)) != 0) {
                weft_io_close(fd);
                return weft_fail(error);
            }
        }
    }
}

static void leave(weft_private_serve *v)
{
    weft_private_serve **at = &weft_private_io_here->serves;
    while (*at != v)
        at = &(*at)->next;
    *at = v->next;
    while (v->all.next != &v->all)
        release(v->all.next); // never started
}

int weft_io_serve(int listener, void (*handler)(int fd, void *arg), void *arg,
                  const weft_io_serve_options *opts)
{
    weft_private_io *io = weft_private_io_here;
    weft_private_serve v;
    int listens = 0, saved = errno;
    socklen_t size = sizeof listens;
    if (io == nullptr)
        return weft_fail(EPERM);
    if (handler == nullptr)
        return weft_fail(EINVAL);
    if (getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || !listens)
        return errno == EBADF ? -1 : weft_fail(EINVAL);
    if (is_served(io, listener))
        return weft_fail(EBUSY);
    memset(&v, 0, sizeof v);
    v.listener = listener;
    v.self = weft_tasklet_self();
    v.handler = handler;
    v.arg = arg;
    v.max = opts != nullptr && opts->max > 0 ? opts->max : MAX;
    v.drain_ns = opts != nullptr ? opts->drain_ns : 0;
    v.tasklet.name = opts != nullptr ? opts->name : nullptr;
    v.tasklet.stack_size = opts != nullptr ? opts->stack_size : 0;
    v.tasklet.scope = &v.scope;
    v.all.next = v.all.previous = &v.all;
    if (v.self == nullptr || weft_scope_open(&v.scope) != 0)
        return -1;
    v.next = io->serves;
    io->serves = &v;
    int result = accept_all(&v), error = result != 0 ? errno : saved;
    weft_scope_close(&v.scope, result != 0 ? WEFT_NOW : v.end);
    if (result == 0 && v.self->cancelled != 0) { // in the drain
        result = -1;
        error = ECANCELED;
    }
    leave(&v);
    errno = error;
    return result;
}
