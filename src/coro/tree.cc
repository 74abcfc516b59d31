// tree.cc: who is whose parent (tree.h).
#include "tree.h"

using namespace weft;

void weft::coro_adopt(weft_coro *parent, weft_coro *co)
{
    if (co->parent == parent)
        return;
    tree_unlink(co);
    tree_link(parent, co);
}

void weft::coro_own(weft_coro *co)
{
    co->owned = 1;
    co->up = &nobody;
}

// Climbs from `of` and goes through what is below `co` at the same pace: one that has n below it is
// at most n steps away, so neither a deep tree nor a wide one makes the answer dear.
int weft::coro_is_ancestor(const weft_coro *co, const weft_coro *of)
{
    int depth = 0;
    for (const weft_coro *below = co; of != nullptr && below != nullptr; of = of->parent) {
        if (of == co)
            return 1;
        below = coro_next(co, below, &depth);
    }
    return 0;
}

const weft_coro *weft::coro_next(const weft_coro *top, const weft_coro *co, int *depth)
{
    if (co->children != nullptr) {
        ++*depth;
        return co->children;
    }
    for (; co != top; co = co->parent, --*depth)
        if (co->younger != co->parent->children)
            return co->younger;
    return nullptr;
}

// ---- Who waits for whom ----

weft_coro *weft::coro_callee(const weft_coro *co)
{
    weft_coro *child = co->children;
    if (child == nullptr || co->callee == nullptr)
        return nullptr;
    while (child != co->callee)
        if ((child = child->younger) == co->children)
            return nullptr;
    return child;
}

int weft::coro_waits(const weft_coro *co)
{
    while (co != nullptr && !(co->special & SPECIAL_BLOCKED))
        co = co->special & SPECIAL_NESTED ? coro_callee(co) : nullptr;
    return co != nullptr;
}

void weft::coro_mark_callers(const weft_coro *callee)
{
    for (weft_coro *co = callee->parent; co != nullptr && co->callee == callee; co = co->parent) {
        if (co->special & SPECIAL_NESTED)
            return;
        co->special |= SPECIAL_NESTED;
        callee = co;
    }
}

int weft::coro_refusal(const weft_coro *by, const weft_coro *to)
{
    if (to->special & (SPECIAL_BLOCKED | SPECIAL_ASKS))
        return EBUSY;
    // One that is being destroyed hears of its child alone, which can't become its parent.
    if (to->dropping && (to->callee != by || by->parent != to))
        return EBUSY;
    return to->callee != by && (to->on_orphan != nullptr || coro_waits(to)) ? EBUSY : 0;
}

weft_coro *weft::coro_heir(const weft_coro *co)
{
    weft_coro *to = coro_living(co->parent);
    // A generator that asks its consumer, not this one, is passed over.
    while (to->on_orphan != nullptr && to->callee != co)
        to = coro_living(to->parent);
    // One that waits for another: the tasklet in which this ran goes on.
    return to->callee != co && coro_waits(to) ? co->thread->shelter() : to;
}

void weft::coro_forget_callee(weft_coro *co)
{
    weft_coro *callee = coro_callee(co);
    co->special &= ~(uint32_t)SPECIAL_ASKS;
    co->callee = nullptr;
    if (callee != nullptr && callee->on_orphan != nullptr)
        callee->on_orphan(callee);
}

weft_coro *weft::coro_living(weft_coro *co)
{
    while (co->special & SPECIAL_DEAD)
        co = co->parent;
    return co;
}
