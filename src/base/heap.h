// heap.h: deadlines in order, without allocation: a pairing heap through the waiters themselves.
//
// Most deadlines never pass: what matters is that adding and removing are cheap.  Adding
// is one comparison, removing a link with no children one unlink, whatever the number of
// links; only taking the earliest is logarithmic (amortized).  (M. L. Fredman et al., "The
// Pairing Heap", 1986.)  Of equal deadlines the one added first is first.
#ifndef WEFT_BASE_HEAP_H
#define WEFT_BASE_HEAP_H

#include <weft/deadline.h>

namespace weft {

struct heap_link {
    weft_deadline at;
    uint64_t number; // of its adding
    heap_link *child;
    heap_link *next;     // sibling
    heap_link *previous; // sibling, or the parent of a first child
};

// Zeros: empty.
struct heap {
    heap_link *first; // nullptr: there is none
    uint64_t added;
};

static inline bool heap_is_before(const heap_link *a, const heap_link *b)
{
    return a->at < b->at || (a->at == b->at && a->number < b->number);
}

// Two heaps become one: the later root is made the first child of the earlier.
static inline heap_link *heap_meld(heap_link *a, heap_link *b)
{
    if (a == nullptr || b == nullptr)
        return a != nullptr ? a : b;
    if (heap_is_before(b, a)) {
        heap_link *later = a;
        a = b;
        b = later;
    }
    b->next = a->child;
    if (b->next != nullptr)
        b->next->previous = b;
    b->previous = a;
    a->child = b;
    a->next = a->previous = nullptr;
    return a;
}

// The children of a removed one become one heap: in pairs from left to right, then
// those from right to left.
static inline heap_link *heap_gather(heap_link *first)
{
    heap_link *pairs = nullptr, *all = nullptr;
    while (first != nullptr) {
        heap_link *a = first, *b = a->next;
        first = b != nullptr ? b->next : nullptr;
        a = heap_meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs != nullptr) {
        heap_link *a = pairs;
        pairs = a->next;
        a->next = nullptr;
        all = heap_meld(all, a);
    }
    if (all != nullptr)
        all->next = all->previous = nullptr;
    return all;
}

static inline void heap_add(heap *h, heap_link *t, weft_deadline at)
{
    t->at = at;
    t->number = h->added++;
    t->child = t->next = t->previous = nullptr;
    h->first = heap_meld(h->first, t);
}

static inline void heap_remove(heap *h, heap_link *t)
{
    heap_link *children = heap_gather(t->child);
    if (t == h->first) {
        h->first = children;
        return;
    }
    if (t->previous->child == t)
        t->previous->child = t->next;
    else
        t->previous->next = t->next;
    if (t->next != nullptr)
        t->next->previous = t->previous;
    if (children != nullptr)
        h->first = heap_meld(h->first, children);
}

} // namespace weft

#endif
