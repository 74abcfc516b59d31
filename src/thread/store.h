// store.h: a growing array of equal items, in a queue's order.
//
// FIFO is a circle that starts at `head`; LIFO the same with `head` at rest; priority
// is a binary heap whose cells end in the number of their arrival, which settles ties:
// equals leave in the order they came.  No locks here.
#ifndef WEFT_THREAD_STORE_H
#define WEFT_THREAD_STORE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct weft_private_store {
    char *cells;
    size_t room;  // cells there is memory for
    size_t head;  // FIFO: the oldest
    size_t count; // written with store_count, so that it can be read without a lock
    size_t item_size, stride;
    size_t limit; // the most it may hold
    int (*compare)(const void *, const void *);
    uint64_t arrivals;
    int order;
} weft_private_store;

// False: capacity times item_size is too large.
bool weft_private_store_init(weft_private_store *s, size_t item_size, size_t limit, int order,
                             int (*compare)(const void *, const void *));
bool weft_private_store_grow(weft_private_store *s); // false: no memory
void weft_private_heap_push(weft_private_store *s, const void *item);
void weft_private_heap_pop(weft_private_store *s, void *item);

// The sizes that most queues have become a move or two.
static inline void weft_private_copy(void *to, const void *from, size_t n)
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

static inline char *weft_private_store_cell(const weft_private_store *s, size_t i)
{
    return s->cells + i * s->stride;
}

// Relaxed: readers without the lock want a figure, not what goes with it.
static inline void weft_private_store_count(weft_private_store *s, size_t count)
{
    __atomic_store_n(&s->count, count, __ATOMIC_RELAXED);
}

// False: no memory.  The caller has checked the limit.
static inline bool weft_private_store_push(weft_private_store *s, const void *item)
{
    if (s->count == s->room && !weft_private_store_grow(s))
        return false;
    if (s->compare != nullptr) {
        weft_private_heap_push(s, item);
        return true;
    }
    size_t at = s->head + s->count;
    if (at >= s->room)
        at -= s->room;
    weft_private_copy(weft_private_store_cell(s, at), item, s->item_size);
    weft_private_store_count(s, s->count + 1);
    return true;
}

// The store is not empty.
static inline void weft_private_store_pop(weft_private_store *s, void *item)
{
    size_t at = s->head;
    if (s->compare != nullptr) {
        weft_private_heap_pop(s, item);
        return;
    }
    if (s->order != 0)
        at = s->count - 1;
    else if (++s->head == s->room)
        s->head = 0;
    weft_private_copy(item, weft_private_store_cell(s, at), s->item_size);
    weft_private_store_count(s, s->count - 1);
}

#endif
