// timers.cc: a pairing heap (timers.h).
#include "timers.h"

using namespace weft;

// Two heaps become one: the later root is made the first child of the earlier.
static coro_timer *meld(coro_timer *a, coro_timer *b)
{
    if (a == nullptr || b == nullptr)
        return a != nullptr ? a : b;
    if (b->at < a->at) {
        coro_timer *later = a;
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
static coro_timer *gather(coro_timer *first)
{
    coro_timer *pairs = nullptr, *all = nullptr;
    while (first != nullptr) {
        coro_timer *a = first, *b = a->next;
        first = b != nullptr ? b->next : nullptr;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs != nullptr) {
        coro_timer *a = pairs;
        pairs = a->next;
        a->next = nullptr;
        all = meld(all, a);
    }
    if (all != nullptr)
        all->next = all->previous = nullptr;
    return all;
}

void weft::coro_timer_add(coro_timer **root, coro_timer *t, weft_deadline at)
{
    t->at = at;
    t->child = t->next = t->previous = nullptr;
    *root = meld(*root, t);
}

void weft::coro_timer_remove(coro_timer **root, coro_timer *t)
{
    coro_timer *children = gather(t->child);
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
