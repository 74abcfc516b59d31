// serve.cc: a tasklet for each connection, so many at most.
//
// All tasklets are children of one scope of the caller's, so none outlives the call, and its close
// is the drain: wait, and cancel those that are left at the deadline.  A connection that
// was accepted is in a list until its tasklet has closed it, for one that is cancelled before it
// starts never runs.
#include "descriptor.h"
#include "worker.h"

#include <base/errno.h>
#include <base/list.h>

#include <stdlib.h>
#include <string.h>

using namespace weft;

static const int64_t PAUSE_MS = 50; // out of descriptors or memory
static const size_t MAX = 10000;
static const int64_t SECOND = 1000000000;

namespace {
struct serve_call;

struct connection {
    serve_call *serve;
    connection *next, *previous;
    int fd;
    uint32_t generation;
};

struct serve_call {
    io_source source; // the first member
    int listener;
    int stopping;
    int closed; // the listener is
    bool full;  // it waits for a connection's end
    weft_tasklet *self;
    void (*handler)(int fd, void *arg);
    void *arg;
    size_t count, max;
    int64_t drain_ns, idle_ns;
    size_t byte_rate;
    int64_t every;      // so many nanoseconds a connection; 0: as they come
    weft_deadline turn; // when the next may be accepted
    weft_deadline end;  // of the drain
    weft_tasklet_options tasklet;
    weft_scope scope;
    connection all; // the list's head
};
} // namespace

// ---- Stopping ----

// A server that does not wait at the moment (an event has woken it, or it gives others a turn) is
// about to look whether it may accept: with the bit set it does, and finds that it has been
// stopped.
static void interrupt(io_state *io, const serve_call *v)
{
    descriptor *r = descriptor_find(io, v->listener);
    if (waits_for_event(v->self))
        end_wait(v->self, ECANCELED);
    else if (r != nullptr)
        r->ready |= WEFT_READ;
}

static void stop(serve_call *v)
{
    if (v->stopping)
        return;
    v->stopping = 1;
    v->end = v->drain_ns == 0 ? WEFT_FOREVER : weft_in_ns(v->drain_ns);
    interrupt(io_here, v);
}

static void closing(io_source *s, int fd)
{
    serve_call *v = (serve_call *)(void *)s;
    if (v->listener != fd || v->closed)
        return;
    v->closed = 1;
    stop(v);
}

// Of those that serve this listener the next behind `v`, or the first (null); null: no more.
static serve_call *next_of(io_state *io, int listener, serve_call *v)
{
    io_source *s = v != nullptr ? v->source.next : io->sources.next;
    for (; s != &io->sources; s = s->next) {
        v = (serve_call *)(void *)s;
        if (s->closing == closing && v->listener == listener)
            return v;
    }
    return nullptr;
}

// One that drains leaves the listener to the next.
static bool is_served(io_state *io, int listener)
{
    for (serve_call *v = nullptr; (v = next_of(io, listener, v)) != nullptr;)
        if (!v->stopping)
            return true;
    return false;
}

int weft_io_stop(int listener)
{
    io_state *io = io_here;
    if (io == nullptr)
        return fail_with(EPERM);
    if (listener < 0)
        return fail_with(EBADF);
    bool found = false;
    for (serve_call *v = nullptr; (v = next_of(io, listener, v)) != nullptr;)
        if (!v->closed) {
            found = true;
            stop(v);
        }
    if (found)
        return 0;
    descriptor *r = descriptor_find(io, listener);
    if (r == nullptr || !waits_for_event(r->waiter[0]))
        return fail_with(ENOENT);
    end_wait(r->waiter[0], ECANCELED);
    return 0;
}

// ---- One connection ----

// The handler may have closed the descriptor, and the number be another's.
static void release(connection *c)
{
    io_state *io = io_here;
    const descriptor *r = io != nullptr ? descriptor_find(io, c->fd) : nullptr;
    if (r != nullptr && r->generation == c->generation)
        weft_io_close(c->fd);
    list_remove(c);
    free(c);
    count_connections(-1);
}

// Stacks are all of one size, so the same frame of each handler would have its place in the same
// few sets of the cache: with many connections each would push out the others.  They begin apart.
static __attribute__((noinline)) void call_handler(serve_call *v, int fd)
{
    volatile char *apart = (volatile char *)__builtin_alloca((size_t)(fd % 16) * 128 + 1);
    *apart = 0;
    v->handler(fd, v->arg);
}

static void *handle(void *arg)
{
    connection *c = (connection *)arg;
    serve_call *v = c->serve;
    call_handler(v, c->fd);
    release(c);
    v->count--;
    if (v->full && waits_for_event(v->self)) {
        v->full = false;
        end_wait(v->self, 0);
    }
    return nullptr;
}

static int begin(serve_call *v, int fd)
{
    connection *c = (connection *)malloc(sizeof *c);
    if (c == nullptr)
        return -1;
    c->serve = v;
    c->fd = fd;
    c->generation = descriptor_find(io_here, fd)->generation;
    if (((v->idle_ns > 0 || v->byte_rate > 0) &&
         io_limit_connection(fd, v->idle_ns, v->byte_rate) != 0) ||
        weft_tasklet_spawn(handle, c, &v->tasklet) == nullptr) {
        free_keep_errno(c);
        return -1;
    }
    list_insert(&v->all, c);
    v->count++;
    count_connections(1);
    return 0;
}

// ---- All of them ----

static bool lacks_resources(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

// 0: go on; -1: errno.  Being stopped is no error.
static int pause_for(serve_call *v, weft_deadline d)
{
    int result = io_suspend(io_here, d);
    if (result == 0 || errno == ETIMEDOUT ||
        (errno == ECANCELED && v->stopping && !is_cancelled(v->self) && io_here->failed == 0))
        return 0;
    return -1;
}

// Waits until one more is allowed, or the drain is over.
static int wait_for_room(serve_call *v)
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

// Waits until the rate allows one more.  A drain is not slowed down: if more came meanwhile than
// the rate allows it would never end.
static int wait_for_turn(serve_call *v)
{
    while (v->every > 0 && !v->stopping && weft_left(v->turn) > 0)
        if (pause_for(v, v->turn) != 0)
            return -1;
    return 0;
}

// What was not used in the last second may be used at once.
static void count_turn(serve_call *v)
{
    weft_deadline least = weft_now() - SECOND + v->every;
    v->turn = (v->turn > least ? v->turn : least) + v->every;
}

// The next connection; -1 with errno 0: there is none for the moment, but to look again.
static int next_connection(serve_call *v)
{
    if (wait_for_turn(v) != 0 || wait_for_room(v) != 0)
        return -1;
    if (v->closed || v->count >= v->max)
        return fail_with(ETIMEDOUT);
    bool stopping = v->stopping;
    int fd = stopping ? weft_io_accept(v->listener, WEFT_NOW)
                      : io_accept(v->listener, &v->stopping, WEFT_FOREVER);
    if (fd >= 0) {
        count_turn(v);
        return fd;
    }
    if (errno == ECANCELED && v->stopping && !is_cancelled(v->self))
        return fail_with(0);
    if (!lacks_resources(errno))
        return -1;
    weft_deadline again = weft_in_ms(PAUSE_MS);
    if (stopping && v->end <= again)
        return fail_with(ETIMEDOUT);
    return pause_for(v, again) != 0 ? -1 : fail_with(0);
}

// Until stopped (0), or something fails.
static int accept_all(serve_call *v)
{
    for (;;) {
        int fd = next_connection(v);
        if (fd < 0 && errno == 0)
            continue;
        if (fd < 0)
            return v->stopping && !is_cancelled(v->self) ? 0 : -1;
        while (begin(v, fd) != 0) { // it was accepted: it must not be lost for want of memory
            int error = errno;
            if (!lacks_resources(error) || pause_for(v, weft_in_ms(PAUSE_MS)) != 0) {
                weft_io_close(fd);
                return fail_with(error);
            }
        }
    }
}

static void leave(serve_call *v)
{
    list_remove(&v->source);
    for (connection *next, *c = v->all.next; c != &v->all; c = next) {
        next = c->next;
        release(c); // never started
    }
}

static void set_options(serve_call *v, const weft_io_serve_options *o)
{
    v->max = o->max > 0 ? o->max : MAX;
    v->drain_ns = o->drain_ns;
    v->idle_ns = o->idle_ns;
    v->byte_rate = o->byte_rate;
    v->every = o->rate > 0 ? SECOND / (int64_t)o->rate : 0;
    v->tasklet.name = o->name;
    v->tasklet.stack_size = o->stack_size;
}

int weft_io_serve(int listener, void (*handler)(int fd, void *arg), void *arg,
                  const weft_io_serve_options *opts)
{
    io_state *io = io_here;
    static const weft_io_serve_options none = {};
    serve_call v;
    int listens = 0, saved = errno;
    socklen_t size = sizeof listens;
    if (io == nullptr)
        return fail_with(EPERM);
    if (handler == nullptr || (opts != nullptr && opts->idle_ns < 0))
        return fail_with(EINVAL);
    if (getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || !listens)
        return errno == EBADF ? -1 : fail_with(EINVAL);
    if (is_served(io, listener))
        return fail_with(EBUSY);
    memset(&v, 0, sizeof v);
    v.listener = listener;
    v.self = weft_tasklet_self();
    v.handler = handler;
    v.arg = arg;
    set_options(&v, opts != nullptr ? opts : &none);
    v.tasklet.scope = &v.scope;
    list_init(&v.all);
    if (v.self == nullptr || weft_scope_open(&v.scope) != 0)
        return -1;
    v.source.closing = closing;
    io_register(io, &v.source, -1);
    int result = accept_all(&v), error = result != 0 ? errno : saved;
    weft_scope_join(&v.scope, result != 0 ? WEFT_NOW : v.end);
    if (result == 0 && is_cancelled(v.self)) { // in the drain
        result = -1;
        error = ECANCELED;
    }
    leave(&v);
    errno = error;
    return result;
}
