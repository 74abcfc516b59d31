// descriptor.h: what is known about each descriptor, and how a tasklet waits for one.
//
// Each descriptor is registered with epoll(7) once, edge-triggered and for both directions, at the
// first wait for it.  From then on its record has a bit for each direction, set by an event and
// cleared by a call that found nothing: while it is clear there is no need to ask the kernel, for
// an edge will come.  So a wait costs no epoll_ctl.
//
// A generation tells a descriptor from a later one with the same number: events carry it, and
// whatever gives way (a wait, a turn for the others, a pause) compares it when it goes on.  Nothing
// runs between the system calls of one that goes on in parts but what they give way to, so that is
// all it takes.
#ifndef WEFT_ASYNC_DESCRIPTOR_H
#define WEFT_ASYNC_DESCRIPTOR_H

#include "events.h"

#include <weft/io.h>

#include <base/errno.h>
#include <base/list.h>
#include <base/poll.h>
#include <coro/wait.h>

#include <errno.h>

namespace weft {

enum {
    KIND_UNKNOWN,
    KIND_STREAM, // TCP: a short read has emptied it
    KIND_SOCKET, // any other: MSG_DONTWAIT
    KIND_PLAIN,  // no socket
};

// What each descriptor is registered for, once.
const uint32_t IO_EDGES = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;

struct descriptor {
    weft_tasklet *waiter[2]; // by direction, until it goes on itself
    uint32_t generation;
    uint8_t kind;
    uint8_t ready;      // WEFT_READ, WEFT_WRITE
    uint8_t registered; // with epoll
    uint8_t blocking;   // it may block: ask poll(2) first where MSG_DONTWAIT is no help
    uint8_t lasting;    // its end, an error or urgent data was seen: short reads say nothing
    uint8_t urgent;     // an edge said so, in a wait for that
    uint8_t nowait;     // as far as is known it takes RWF_NOWAIT
    uint8_t limited;    // it has an io_limit
    uint8_t file;       // epoll refuses it: it is always ready, and may block all the same
    int own;            // it opened again with O_NONBLOCK; 0: it was not
    uint64_t kept;      // epoll has the descriptor of this number (io_keep_wait); 0: of none
};

// How long nothing may come or go while a tasklet waits for it, and how much in a second.
struct io_limit {
    int64_t idle;          // nanoseconds
    int64_t last;          // when something did
    size_t rate;           // bytes a second in each direction; 0: as they come
    weft_deadline turn[2]; // by direction: when the next may
};

// What else takes part in a thread's weft_io_run.  It is told of what it has a function for.
struct io_source {
    io_source *next, *previous;
    void (*event)(io_source *s);           // the descriptor it watches is readable
    void (*closing)(io_source *s, int fd); // a descriptor is about to be closed, or forgotten
    void (*forked)(io_source *s);          // in a child: what it watched is the parent's
    void (*end)(io_source *s);             // weft_io_run ends
    uint32_t number;
};

// Looks for descriptors that were closed elsewhere (closed.cc).
struct io_check {
    io_source source; // the first member
    int fd;           // a timerfd
    bool armed;
    bool in_vain;  // it woke the thread, and found nothing
    int chunk;     // the one looked at last
    int left;      // chunks to look at
    int64_t every; // nanoseconds
};

// One per thread, in weft_io_run.
struct io_state {
    weft_poller poller;
    event_set set;
    uint32_t spree;    // calls since somebody waited
    size_t waiting;    // tasklets, for events
    io_source sources; // the ring's head
    uint32_t last_source;
    int failed;      // errno: the set tells of nothing any more, and all are cancelled; or 0
    weft_loop *loop; // for callbacks; NULL until needed
    io_check check;
    bool watchdog; // it looks who holds the thread
    int pipe[2];   // weft_io_copy's, empty; 0: none
    pid_t pipe_of; // whose: a forked child shares it
    record_table<descriptor> records;
    record_table<io_limit> limits; // of those that are limited
};

extern __thread io_state *io_here;

// As begin when something is to be found out first.
descriptor *io_begin_slowly(int fd, int direction, weft_deadline d);

// Waits until the direction's bit is set.
int io_await(descriptor *r, int fd, int direction, weft_deadline d);

// Whether a descriptor without O_NONBLOCK would not block, now; else its bit is cleared.
int io_would_not_block(descriptor *r, int fd, int direction);

// One system call, and what it takes.
struct io_call {
    ssize_t (*fn)(int fd, descriptor *r, struct io_call *c);
    void *data;
    size_t n;
    int flags;
    void *address;
    socklen_t *address_size;
    bool elsewhere; // its EAGAIN says nothing of what epoll reports
    // From io_do: how many bytes of a stream it may move, and until when.
    size_t most = SIZE_MAX;
    weft_deadline d = WEFT_NOW;
};

// Before a call uses the set, or what sources have: a forked child makes its own first.  -1: errno.
int io_wake_child(io_state *io);

static inline int io_enter(io_state *io)
{
    return events_forked(&io->set) ? io_wake_child(io) : 0;
}

// io_plain.cc: finds a way to use what is no socket without blocking; there may be none.
void plain_learn(descriptor *r, int fd);

// What system calls take: it, or what it opened again.
static inline int io_number(const descriptor *r, int fd)
{
    return r->own > 0 ? r->own : fd;
}

// readv(2), and writev(2) and sendfile(2) that SIGPIPE does not end, in that way.
ssize_t plain_read(int fd, descriptor *r, const struct iovec *pieces, int count);
ssize_t plain_write(int fd, descriptor *r, const struct iovec *pieces, int count);
ssize_t plain_send_file(int fd, descriptor *r, int in, off_t *offset, size_t n);

// file.cc: readv(2) or writev(2) where the file stands, or a part of it, while the tasklet waits.
ssize_t file_read_on(int fd, const struct iovec *pieces, int count, weft_deadline d);
ssize_t file_write_on(int fd, const struct iovec *pieces, int count, weft_deadline d);

// Makes the call until it does something, or fails, and waits meanwhile.  What it returned; -1:
// errno, which stays as it was else.
ssize_t io_do(int fd, int direction, io_call *c, weft_deadline d);

// Writes c->n pieces, struct iovec at c->data, or a part of them.
ssize_t io_write_pieces(int fd, descriptor *r, io_call *c);

static inline bool io_buffer_is_sound(const weft_io_buffer *b)
{
    return b != nullptr && b->data != nullptr && b->room > 0 && b->begin <= b->end &&
           b->end <= b->room;
}

// What a call uses beside the one that it waits for, as long as that is what it was.
struct io_held {
    int fd;
    const descriptor *r;
    uint32_t generation;
};

// -1: EPERM, EBADF, ENOMEM.
int io_hold(io_held *h, int fd);

static inline bool io_is_same(const io_held *h)
{
    return h->r->generation == h->generation;
}

// From now on, and until it is closed or forgotten; 0: no limit.  -1: ENOMEM.
int io_limit_connection(int fd, int64_t idle_ns, size_t rate);

// A socket that was made non-blocking just now by this library.  Closes it when that fails.
int io_adopt(int fd, int kind);

// wait_for_event or wait_regardless, and counts it.  ECANCELED also of the first when the set has
// failed.
int io_suspend(io_state *io, weft_deadline d, bool regardless = false);

// Whether epoll still has what the record says.
bool io_is_registered(io_state *io, const descriptor *r, int fd);

// Ends its waits with ECANCELED; the record is the next one's of that number.
void io_forget(descriptor *r);

// closed.cc: makes the check, and arms its clock.
void io_check_begin(io_state *io);
void io_check_arm(io_state *io);

// Before a sleep until `d`.
static inline void io_check_later(io_state *io, weft_deadline d)
{
    io->check.in_vain = false;
    if (d > WEFT_NOW && !io->check.armed && io->check.left > 0 && io->waiting > 0)
        io_check_arm(io);
}

// io_many.cc: whether the kernel may cut datagrams; tests take it away.
extern bool io_segments;

// await.cc: a thread's way to poll while it is in weft_io_run.
int poll_as_tasklet(struct pollfd *fds, nfds_t n, weft_deadline d);

// park.cc: a thread's way to sleep meanwhile.
int park_tasklet(const void *word, bool (*still)(void *arg), void *arg, weft_deadline d, int how);

// Takes it in; list_remove lets it go again.  `fd` (-1: none) is watched for reading,
// level-triggered, until it is closed.
int io_register(io_state *io, io_source *s, int fd);

// listen.cc: weft_io_accept, which also fails with ECANCELED instead of a try or a wait when *stop
// is set.
int io_accept(int listener, const int *stop, weft_deadline d);

static inline int io_index(int direction)
{
    return direction >> 1;
}

// The record of `fd`; descriptor_find: if it has one.  NULL: errno.
static inline descriptor *descriptor_make(io_state *io, int fd)
{
    return record_make(&io->records, fd);
}

static inline descriptor *descriptor_find(const io_state *io, int fd)
{
    return record_find(&io->records, fd);
}

// The start of each call: the record of `fd`, of known kind.  NULL: it may not wait (errno).
static inline descriptor *io_begin(int fd, int direction, weft_deadline d)
{
    io_state *io = io_here;
    if (__builtin_expect(io != nullptr && ++io->spree < 256, 1)) {
        descriptor *r = descriptor_find(io, fd);
        if (__builtin_expect(r != nullptr && r->kind != KIND_UNKNOWN &&
                                 r->waiter[io_index(direction)] == nullptr && wait_refusal(d) == 0,
                             1))
            return r;
    }
    return io_begin_slowly(fd, direction, d);
}

} // namespace weft

#endif
