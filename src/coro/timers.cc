// timers.cc: a pairing heap (timers.h).
#include "timers.h"

// Two heaps become one: the later root is made the first child of the earlier.
static weft_private_timer *meld(weft_private_timer *a, weft_private_timer *b)
{
    if (a == nullptr || b == nullptr)
        return a != nullptr ? a : b;
    if (b->at < a->at) {
        weft_private_timer *later = a;
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
static weft_private_timer *gather(weft_private_timer *first)
{
    weft_private_timer *pairs = nullptr, *all = nullptr;
    while (first != nullptr) {
        weft_private_timer *a = first, *b = a->next;
        first = b != nullptr ? b->next : nullptr;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs != nullptr) {
        weft_private_timer *a = pairs;
        pairs = a->next;
        a->next = nullptr;
        all = meld(all, a);
    }
    if (all != nullptr)
        all->next = all->previous = nullptr;
    return all;
}

void weft_private_timer_add(weft_private_timer **root, weft_private_timer *t, weft_deadline at)
{
    t->at = at;
    t->child = t->next = t->previous = nullptr;
    *root = meld(*root, t);
}

void weft_private_timer_remove(weft_private_timer **root, weft_private_timer *t)
{
    weft_private_timer *children = gather(t->child);
    if (t == *root) {
        *root = children;
        return;
    }
    if (t->previous->child == t)
        t->previous->child = t->next;
    else
        t->previous->next = t->next;
    if (t->next != nullptr)
        t->next->previous = t->previous;
    if (children != nullptr)
        *root = meld(*root, children);
}
