// descriptor.h: what is known about each descriptor, and how a tasklet waits for one.
//
// Each descriptor is registered with epoll(7) once, edge-triggered and for both directions, at the
// first wait for it.  From then on its record has a bit for each direction, set by an event and
// cleared by a call that found nothing: while it is clear there is no need to ask the kernel, for
// an edge will come.  So a wait costs no epoll_ctl.
//
// A generation tells a descriptor from a later one with the same number: whoever waited
// compares it when he goes on, and events carry it.
#ifndef WEFT_ASYNC_DESCRIPTOR_H
#define WEFT_ASYNC_DESCRIPTOR_H

#include <weft/io.h>

#include <coro/scheduler.h>

#include <errno.h>

enum {
    WEFT_KIND_UNKNOWN,
    WEFT_KIND_STREAM, // TCP: a short read has emptied it
    WEFT_KIND_SOCKET, // any other: MSG_DONTWAIT
    WEFT_KIND_PLAIN,  // no socket
};

typedef struct weft_private_descriptor {
    weft_tasklet *waiter[2]; // by direction, until it goes on itself
    uint32_t generation;
    uint8_t kind;
    uint8_t ready;      // WEFT_READ, WEFT_WRITE
    uint8_t registered; // with epoll
    uint8_t blocking;   // it has no O_NONBLOCK: ask poll(2) first where MSG_DONTWAIT is no help
    uint8_t lasting;    // its end, an error or urgent data was seen: short reads say nothing
} weft_private_descriptor;

typedef struct weft_private_serve weft_private_serve;
typedef struct weft_private_post weft_private_post;

enum { WEFT_CHUNK = 512, WEFT_CHUNKS = 4096 };

// One per thread, in weft_io_run.
typedef struct weft_private_io {
    weft_poller poller;
    int epoll;
    uint32_t spree;             // calls since somebody waited
    size_t waiting;             // tasklets, for events
    uint32_t *forked;           // 1, and 0 in a child (MADV_WIPEONFORK)
    weft_private_serve *serves; // that run
    weft_private_post *post;    // what other threads leave; NULL until needed
    weft_loop *loop;            // for callbacks; NULL until needed
    weft_private_descriptor *chunks[WEFT_CHUNKS];
} weft_private_io;

extern __thread weft_private_io *weft_private_io_here;

#ifdef __cplusplus
extern "C" {
#endif

// The record of `fd`.  NULL: errno.
weft_private_descriptor *weft_private_descriptor_make(weft_private_io *io, int fd);

// As begin when something is to be found out first.
weft_private_descriptor *weft_private_io_begin_slowly(int fd, int direction, weft_deadline d);

// Waits until the direction's bit is set.
int weft_private_io_park(weft_private_descriptor *r, int fd, int direction, weft_deadline d);

// Whether a descriptor without O_NONBLOCK would not block, now; else its bit is cleared.
int weft_private_io_would_not_block(weft_private_descriptor *r, int fd, int direction);

// One system call, and what it takes.
typedef struct weft_private_call {
    ssize_t (*fn)(int fd, weft_private_descriptor *r, struct weft_private_call *c);
    void *data;
    size_t n;
    int flags;
    void *address;
    socklen_t *address_size;
} weft_private_call;

// Makes the call until it does something, or fails, and waits meanwhile.  What it returned; -1:
// errno, which stays as it was else.
ssize_t weft_private_io_do(int fd, int direction, weft_private_call *c, weft_deadline d);

// A socket that was made non-blocking just now by this library.  Closes it when that fails.
int weft_private_io_adopt(int fd, int kind);

// Suspends the running tasklet until somebody unparks it.  0, or -1 and errno.
int weft_private_io_suspend(weft_private_io *io, weft_deadline d);

// Registers `fd` for level-triggered reading; its events call weft_private_post_collect.
int weft_private_io_watch_post(weft_private_io *io, int fd);

// offload.cc: takes what other threads left; the thread ends its weft_io_run; a child was forked.
void weft_private_post_collect(weft_private_io *io);
void weft_private_post_end(weft_private_io *io);
void weft_private_post_forked(weft_private_io *io);

// listen.cc: weft_io_accept, which also fails with ECANCELED instead of a try or a wait when *stop
// is set.
int weft_private_io_accept(int listener, const int *stop, weft_deadline d);

// serve.cc: whether somebody serves this listener, who is told to stop (because it is closed).
int weft_private_serve_stop(weft_private_io *io, int listener, int closed);

#ifdef __cplusplus
}
#endif

static inline int weft_private_io_index(int direction)
{
    return direction >> 1;
}

// Which record, when there is one already.
static inline weft_private_descriptor *weft_private_descriptor_find(weft_private_io *io, int fd)
{
    unsigned chunk = (unsigned)fd / WEFT_CHUNK;
    if (chunk >= WEFT_CHUNKS || io->chunks[chunk] == nullptr)
        return nullptr;
    return &io->chunks[chunk][fd % WEFT_CHUNK];
}

// The start of each call: the record of `fd`, of known kind.  NULL: it may not wait (errno).
static inline weft_private_descriptor *weft_private_io_begin(int fd, int direction, weft_deadline d)
{
    weft_private_io *io = weft_private_io_here;
    if (__builtin_expect(io != nullptr && ++io->spree < 256, 1)) {
        weft_private_descriptor *r = weft_private_descriptor_find(io, fd);
        if (__builtin_expect(r != nullptr && r->kind != WEFT_KIND_UNKNOWN &&
                                 r->waiter[weft_private_io_index(direction)] == nullptr &&
                                 weft_private_refusal(&weft_private_sched, d) == 0,
                             1))
            return r;
    }
    return weft_private_io_begin_slowly(fd, direction, d);
}

#endif
