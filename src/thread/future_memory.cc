// future_memory.cc: where the futures of weft_executor_submit come from.
//
// A task often costs less than malloc and free together, so futures are carved from
// slabs of SLOTS, in order, and a slab is freed when its last future is.  No slot is used
// twice: there is no list to guard, only a count.  The executor's current slab is under
// a try-lock; a submit that meets another one there takes a slab of a single slot.
#include "crew.h"

#include <base/saved_errno.h>

enum { SLOTS = 16 };

struct weft_private_slab {
    uint32_t live; // atomic: slots not yet freed, those not yet given out included
    weft_future slots[SLOTS];
};

static weft_private_slab *make_slab(uint32_t slots)
{
    size_t bytes = sizeof(weft_private_slab) - (SLOTS - slots) * sizeof(weft_future);
    weft_private_slab *s = (weft_private_slab *)malloc(bytes);
    if (s != nullptr)
        s->live = slots;
    return s;
}

static void give_back(weft_private_slab *s, uint32_t slots)
{
    // Release: our use of them is over; acquire, for the last: so is everybody's.
    if (__atomic_sub_fetch(&s->live, slots, __ATOMIC_ACQ_REL) == 0)
        free(s);
}

weft_future *weft_private_future_new(weft_executor *ex, uint16_t *kind)
{
    uint32_t slot = 0;
    weft_private_slab *s;
    if (__atomic_exchange_n(&ex->slab_lock, 1, __ATOMIC_ACQUIRE) != 0) {
        s = make_slab(1);
    } else {
        s = ex->slab != nullptr ? ex->slab : make_slab(SLOTS);
        slot = s != nullptr ? ex->slab_used++ : 0;
        ex->slab = s;
        if (ex->slab_used == SLOTS) { // from now on it may go at any time
            ex->slab = nullptr;
            ex->slab_used = 0;
        }
        __atomic_store_n(&ex->slab_lock, 0, __ATOMIC_RELEASE);
    }
    if (s == nullptr)
        return nullptr;
    *kind = (uint16_t)(slot << FUTURE_SLOT_SHIFT);
    return &s->slots[slot];
}

void weft_private_future_free(weft_future *f)
{
    int saved = errno;
    weft_future *first = f - (f->kind >> FUTURE_SLOT_SHIFT);
    give_back((weft_private_slab *)(void *)((char *)first - offsetof(weft_private_slab, slots)), 1);
    errno = saved;
}

void weft_private_slab_end(weft_executor *ex)
{
    if (ex->slab != nullptr)
        give_back(ex->slab, SLOTS - ex->slab_used);
}
