// store.h: a growing and shrinking array of equal items, in a queue's order.
//
// Its room doubles when it is full and falls to a quarter when an eighth is left, so between two
// such steps lie as many puts or gets as items are copied in them.  A little is always kept, for
// memory that comes and goes with each turn of the threads is dear.
//
// FIFO is a circle, whose two ends move apart from each other: they lie on lines of their own, each
// with the lock of those who move it (queue.cc), and each knows the other's count from when it last
// had to look.  So in a queue that is neither empty nor full the two sides meet in nothing.  LIFO
// is the same with one end at rest, and priority a binary heap whose cells end in the number of
// their arrival, which settles ties: equals leave in the order they came.  In these one lock guards
// all.  Its callers lock.
#ifndef WEFT_THREAD_STORE_H
#define WEFT_THREAD_STORE_H

#include "waiters.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace weft {

struct alignas(128) store_end {
    uint32_t lock;
    size_t count; // of items that have passed here, ever; atomic
    size_t seen;  // the other end's, or less
    size_t at;    // FIFO: the cell of the next
    // The queue's: who sleeps until something comes in, or goes out, here; how many wait to put, or
    // to get; the pauses by which the next of these leaves the other end ahead.
    waiters sleepers;
    size_t inside;
    int ahead;
};

struct store {
    // Changed with both ends locked.
    char *cells;
    size_t room; // cells there is memory for
    size_t low;  // with fewer items than this, it shrinks
    // Constant.
    size_t item_size, stride;
    size_t limit; // the most it may hold
    int (*compare)(const void *, const void *, void *);
    void *arg;
    int order;
    store_end in, out;
};

// False: capacity times item_size is too large.
bool store_init(store *s, size_t item_size, size_t limit, int order,
                int (*compare)(const void *, const void *, void *), void *arg);
// With both ends locked.
bool store_grow(store *s, size_t needed); // room for as many; false: no memory
void store_shrink(store *s);              // if it is time, and there is memory to do that with
size_t store_clear(store *s);             // how many there were
// With the one lock.
void heap_push(store *s, const void *item);
void heap_pop(store *s, void *item);

// The sizes that most queues have become a move or two.
static inline void copy_item(void *to, const void *from, size_t n)
{
    switch (n) {
    case 4:
        memcpy(to, from, 4);
        return;
    case 8:
        memcpy(to, from, 8);
        return;
    case 16:
        memcpy(to, from, 16);
        return;
    default:
        memcpy(to, from, n);
    }
}

static inline char *store_cell(const store *s, size_t i)
{
    return s->cells + i * s->stride;
}

static inline size_t passed(const store_end *e)
{
    // Acquire: with the count come, or are given back, the cells.
    return __atomic_load_n(&e->count, __ATOMIC_ACQUIRE);
}

static inline void pass(store_end *e)
{
    __atomic_store_n(&e->count, e->count + 1, __ATOMIC_RELEASE);
}

// Exact with both ends locked; with one, or none, it may be on its way.
static inline size_t store_count(const store *s)
{
    size_t gone = passed(&s->out); // first, so that it is no more than have come
    return passed(&s->in) - gone;
}

// With `in` locked: cells that are free for sure; if there seems to be none, looks again.
static inline size_t store_free(store *s)
{
    if (s->in.count - s->in.seen >= s->room)
        s->in.seen = passed(&s->out);
    return s->room - (s->in.count - s->in.seen);
}

// With `out` locked, the same: items that are there for sure.
static inline size_t store_filled(store *s)
{
    if (s->out.seen == s->out.count)
        s->out.seen = passed(&s->in);
    return s->out.seen - s->out.count;
}

static inline char *store_next(const store *s, store_end *e)
{
    char *cell = store_cell(s, e->at);
    if (++e->at == s->room)
        e->at = 0;
    return cell;
}

// With `in` locked, and a cell free.
static inline void store_push(store *s, const void *item)
{
    if (s->compare != nullptr)
        heap_push(s, item);
    else if (s->order != 0)
        copy_item(store_cell(s, s->in.count - s->out.count), item, s->item_size);
    else
        copy_item(store_next(s, &s->in), item, s->item_size);
    pass(&s->in);
}

// With `out` locked, and an item there.
static inline void store_pop(store *s, void *item)
{
    if (s->compare != nullptr)
        heap_pop(s, item);
    else if (s->order != 0)
        copy_item(item, store_cell(s, s->in.count - s->out.count - 1), s->item_size);
    else
        copy_item(item, store_next(s, &s->out), s->item_size);
    pass(&s->out);
}

// With `out` locked: whether it may be time to shrink.
static inline bool store_is_sparse(store *s)
{
    return s->low != 0 && s->out.seen - s->out.count < s->low;
}

// What a call for many returns that did so many before it met the error, if any.
static inline ssize_t many_done(size_t done, int error)
{
    if (error != 0)
        errno = error;
    return error != 0 && done == 0 ? -1 : (ssize_t)done;
}

} // namespace weft

#endif
