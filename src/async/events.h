// events.h: the kernel's set of descriptors, on which stand the loop (callbacks, loop.cc) and
// weft_io_run (tasklets, poller.cc).
//
// Three things are made sure here.  The set is this process's own: a child of fork shares the
// parent's, and each would take the other's events, so the first call in a child makes it anew
// under the same number, and its owner adds everything again.  A wait ends at its deadline, to the
// nanosecond.  And an event is of the descriptor that was registered: it carries a generation,
// which is another for a later one of that number.
//
// What is known of each descriptor lies in a table of records by number.  What the records say
// differs: the loop is told as long as something lasts and registers what is watched for;
// tasklets are told of each change, once, of everything, and remember it.  The kernel keeps one
// registration of a descriptor in a set, and one that tasklets use may be watched as well: so
// the loop of weft_io_run has a set of its own, which lies in the other.
#ifndef WEFT_ASYNC_EVENTS_H
#define WEFT_ASYNC_EVENTS_H

#include <base/errno.h>

#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

namespace weft {

// ---- The set ----

struct event_set {
    int fd;
    uint32_t *kept; // 0 in a forked child (base/wiped.h); nullptr: compare pid
    pid_t pid;
};

// Whether there is epoll_pwait2 (Linux 5.11; a filter may forbid it); tests take it away.
extern bool events_exact;

// Made, empty.  -1: EMFILE, ENFILE, ENOMEM.
int events_open(event_set *s);
void events_close(event_set *s);

static inline bool events_forked(const event_set *s)
{
    return __builtin_expect(s->kept != nullptr, 1) ? *s->kept == 0 : s->pid != getpid();
}

// A new one under the old one's number, empty.  In a child the owner adds all, and then keeps it.
int events_renew(event_set *s);
void events_keep(event_set *s);

// Puts the descriptor `fresh` (-1: failed) where `old` was.
int events_replace(int fresh, int old);

// epoll_ctl(2).
static inline int events_control(const event_set *s, int op, int fd, uint32_t mask,
                                 uint32_t generation)
{
    struct epoll_event e = {};
    e.events = mask;
    e.data.u64 = (uint64_t)generation << 32 | (uint32_t)fd;
    return epoll_ctl(s->fd, op, fd, &e);
}

// Adds it; also where the set has it already, as it keeps one that was closed while a duplicate is
// open, and is back.
static inline int events_add(const event_set *s, int fd, uint32_t mask, uint32_t generation)
{
    int saved = errno;
    if (events_control(s, EPOLL_CTL_ADD, fd, mask, generation) != 0 &&
        (errno != EEXIST || events_control(s, EPOLL_CTL_MOD, fd, mask, generation) != 0))
        return -1;
    errno = saved;
    return 0;
}

static inline int event_number(const struct epoll_event *e)
{
    return (int)(uint32_t)e->data.u64;
}

static inline uint32_t event_generation(const struct epoll_event *e)
{
    return (uint32_t)(e->data.u64 >> 32);
}

// Waits `ns` at most (0 and below: not, INT64_MAX: for ever).  How many were found; 0 also when a
// signal handler ran; -1: errno, which stays as it was else.
int events_wait(const event_set *s, struct epoll_event *found, int room, int64_t ns);

// ---- Records ----

enum { CHUNK = 512, CHUNKS = 4096 };

// In chunks that are made as numbers grow and stay where they are; zeros at first.
template <class Record> struct record_table {
    Record *chunks[CHUNKS];
    int count; // of chunks
};

// nullptr: it has none.
template <class Record> static inline Record *record_find(const record_table<Record> *t, int fd)
{
    unsigned chunk = (unsigned)fd / CHUNK;
    if (chunk >= CHUNKS || t->chunks[chunk] == nullptr)
        return nullptr;
    return &t->chunks[chunk][fd % CHUNK];
}

// nullptr: EBADF, ENOMEM.
template <class Record> static inline Record *record_make(record_table<Record> *t, int fd)
{
    Record *r = record_find(t, fd);
    if (r != nullptr)
        return r;
    unsigned chunk = (unsigned)fd / CHUNK;
    if (chunk >= CHUNKS) {
        errno = EBADF;
        return nullptr;
    }
    t->chunks[chunk] = (Record *)calloc(CHUNK, sizeof(Record));
    t->count += t->chunks[chunk] != nullptr;
    return record_find(t, fd);
}

// The one after that of *fd (at first -1), whose number is left there; nullptr: that was the last.
template <class Record> static inline Record *record_next(const record_table<Record> *t, int *fd)
{
    for (++*fd; *fd < CHUNKS * CHUNK; *fd += CHUNK - *fd % CHUNK) {
        Record *r = record_find(t, *fd);
        if (r != nullptr)
            return r;
    }
    return nullptr;
}

template <class Record> static inline void records_free(record_table<Record> *t)
{
    for (Record *each : t->chunks)
        free(each);
}

// ---- Misuse ----

// Whether misuse that is healed is told on standard error (WEFT_IO_CHECK=1 in the environment).
bool events_checked(void);

// How long a tasklet or a callback may hold its thread until that is told on standard error
// (WEFT_IO_BLOCKED=MS in the environment), in nanoseconds; 0: it is not.
int64_t events_blocked_ns(void);

// "weft: descriptor 7 was closed while it was watched", if so; errno stays.
void events_tell_closed(int fd, const char *was);

} // namespace weft

#endif
