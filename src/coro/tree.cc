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

int weft::coro_is_ancestor(const weft_coro *co, const weft_coro *of)
{
    for (; of != nullptr; of = of->parent)
        if (of == co)
            return 1;
    return 0;
}

const weft_coro *weft::coro_next(const weft_coro *co, int *depth)
{
    if (co->children != nullptr) {
        ++*depth;
        return co->children;
    }
    for (; co->parent != nullptr; co = co->parent, --*depth)
        if (co->younger != co->parent->children)
            return co->younger;
    return nullptr;
}

weft_coro *weft::coro_living(weft_coro *co)
{
    while (co->special & SPECIAL_DEAD)
        co = co->parent;
    return co;
}
