// store.h: a growing and shrinking array of equal items, in a queue's order.
//
// Its room doubles when it is full and falls to a quarter when an eighth is left, so between two
// such steps lie as many puts or gets as items are copied in them.  A little is always kept, for
// memory that comes and goes with each turn of the threads is dear.
//
// FIFO is a circle that starts at `head`; LIFO the same with `head` at rest; priority
// is a binary heap whose cells end in the number of their arrival, which settles ties:
// equals leave in the order they came.  No locks here.
#ifndef WEFT_THREAD_STORE_H
#define WEFT_THREAD_STORE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace weft {

struct store {
    char *cells;
    size_t room;  // cells there is memory for
    size_t low;   // with fewer items than this, it shrinks
    size_t head;  // FIFO: the oldest
    size_t count; // written with store_count, so that it can be read without a lock
    size_t item_size, stride;
    size_t limit; // the most it may hold
    int (*compare)(const void *, const void *, void *);
    void *arg;
    uint64_t arrivals;
    int order;
};

// False: capacity times item_size is too large.
bool store_init(store *s, size_t item_size, size_t limit, int order,
                int (*compare)(const void *, const void *, void *), void *arg);
bool store_grow(store *s);   // false: no memory
void store_shrink(store *s); // if there is memory to do that with
void store_clear(store *s);
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

// Relaxed: readers without the lock want a figure, not what goes with it.
static inline void store_count(store *s, size_t count)
{
    __atomic_store_n(&s->count, count, __ATOMIC_RELAXED);
}

// False: no memory.  The caller has checked the limit.
static inline bool store_push(store *s, const void *item)
{
    if (s->count == s->room && !store_grow(s))
        return false;
    if (s->compare != nullptr) {
        heap_push(s, item);
        return true;
    }
    size_t at = s->head + s->count;
    if (at >= s->room)
        at -= s->room;
    copy_item(store_cell(s, at), item, s->item_size);
    store_count(s, s->count + 1);
    return true;
}

// The store is not empty.
static inline void store_pop(store *s, void *item)
{
    size_t at = s->head;
    if (s->compare != nullptr) {
        heap_pop(s, item);
        return;
    }
    if (s->order != 0)
        at = s->count - 1;
    else if (++s->head == s->room)
        s->head = 0;
    copy_item(item, store_cell(s, at), s->item_size);
    store_count(s, s->count - 1);
    if (__builtin_expect(s->count < s->low, 0))
        store_shrink(s);
}

} // namespace weft

#endif
