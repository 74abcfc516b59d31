// tree.h: all coroutines of a thread form one tree, by parent.
//
// The main coroutine is its root, and siblings form a ring, the eldest first.  The tree is
// also the list of all, which the dump and the thread's end go through.
#ifndef WEFT_CORO_TREE_H
#define WEFT_CORO_TREE_H

#include "coroutine.h"

#include <errno.h>

namespace weft {

// 0 when user calls may name `co`: one of this thread, no scheduler's own.  Else an errno.
static inline int coro_check(const weft_coro *co)
{
    if (co == nullptr)
        return EINVAL;
    return co->thread != &coro_here || co->owned ? EPERM : 0;
}

static inline void tree_link(weft_coro *parent, weft_coro *co)
{
    weft_coro *eldest = parent->children;
    co->parent = parent;
    co->up = co->owned ? &nobody : parent;
    if (eldest == nullptr) {
        parent->children = co->older = co->younger = co;
        return;
    }
    co->older = eldest->older;
    co->younger = eldest;
    eldest->older->younger = co;
    eldest->older = co;
}

static inline void tree_unlink(weft_coro *co)
{
    weft_coro *parent = co->parent;
    if (co->younger == co) { // an only child: nobody to tell
        parent->children = nullptr;
        return;
    }
    if (parent->children == co)
        parent->children = co->younger;
    co->older->younger = co->younger;
    co->younger->older = co->older;
}

// Makes `co` start at `top` of its stack (16-aligned) when control comes to it.
static inline void prepare(weft_coro *co, char *top)
{
#if HAVE_SWAP
    if (likely(!(co->special & SPECIAL_UCONTEXT))) {
        // The swap's frame.  What the registers start with is all the same, but for where to.
#if defined(__x86_64__)
        void **frame = (void **)(void *)top - 7;
        frame[6] = (void *)coro_entry;
#else
        void **frame = (void **)(void *)top - 20;
        frame[1] = (void *)coro_entry; // x30
#endif
        co->sp = frame;
        return;
    }
#endif
    prepare_ucontext(co, top);
}

} // namespace weft

#endif
