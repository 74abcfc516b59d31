// future_memory.cc: where the futures of weft_executor_submit come from.
//
// A task often costs less than malloc and free together, so futures are carved from
// slabs of SLOTS, in order, and a slab goes back when its last future does.  No slot is
// used twice in between: there is no list to guard, only a count.
//
// Futures outlive executors, so slabs go back to a home of their own, which counts the
// executor and every slab that is out.  It keeps MOST_SPARES, 1.4 MB: freed slabs would
// be given to the kernel and faulted in again at each wave of tasks.
#include "crew.h"

#include <base/saved_errno.h>

enum { SLOTS = 16, MOST_SPARES = 1024 };

typedef struct weft_private_slab {
    weft_private_home *home;
    struct weft_private_slab *next;
    uint32_t live; // atomic: slots not yet freed, those not yet given out included
    weft_future slots[SLOTS];
} slab;

struct weft_private_home {
    uint32_t users;       // atomic: the executor, and each slab that is out
    uint32_t spare_count; // atomic
    slab *returned;       // atomic: a stack, taken whole
    // Guarded by the executor's slab_lock.
    slab *current, *spares;
    uint32_t used; // slots of `current` given out
};

weft_private_home *weft_private_home_create(void)
{
    weft_private_home *h = (weft_private_home *)calloc(1, sizeof *h);
    if (h != nullptr)
        h->users = 1;
    return h;
}

static void free_slabs(slab *s)
{
    for (slab *next; s != nullptr; s = next) {
        next = s->next;
        free(s);
    }
}

static void leave(weft_private_home *h)
{
    // Acquire and release: the last one out sees all that was returned.
    if (__atomic_sub_fetch(&h->users, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    free_slabs(h->returned);
    free_slabs(h->spares);
    free(h);
}

static void return_slab(slab *s)
{
    weft_private_home *h = s->home;
    if (__atomic_add_fetch(&h->spare_count, 1, __ATOMIC_RELAXED) > MOST_SPARES) {
        __atomic_sub_fetch(&h->spare_count, 1, __ATOMIC_RELAXED);
        free(s);
    } else {
        s->next = __atomic_load_n(&h->returned, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(&h->returned, &s->next, s, true, __ATOMIC_RELEASE,
                                            __ATOMIC_RELAXED)) {
        }
    }
    leave(h);
}

static void give_back(slab *s, uint32_t slots)
{
    // Release: our use of them is over; acquire, for the last: so is everybody's.
    if (__atomic_sub_fetch(&s->live, slots, __ATOMIC_ACQ_REL) == 0)
        return_slab(s);
}

// Under the slab_lock.
static slab *fetch_slab(weft_private_home *h)
{
    if (h->spares == nullptr && __atomic_load_n(&h->returned, __ATOMIC_RELAXED) != nullptr)
        h->spares = __atomic_exchange_n(&h->returned, nullptr, __ATOMIC_ACQUIRE);
    slab *s = h->spares;
    if (s != nullptr) {
        h->spares = s->next;
        __atomic_sub_fetch(&h->spare_count, 1, __ATOMIC_RELAXED);
    } else {
        s = (slab *)malloc(sizeof *s);
    }
    if (s == nullptr)
        return nullptr;
    s->home = h;
    s->live = SLOTS;
    __atomic_add_fetch(&h->users, 1, __ATOMIC_RELAXED);
    return s;
}

static weft_future *next_slot(weft_private_home *h, uint16_t *kind)
{
    if (h->current == nullptr) {
        h->current = fetch_slab(h);
        h->used = 0;
    }
    if (h->current == nullptr)
        return nullptr;
    weft_future *f = &h->current->slots[h->used];
    *kind = (uint16_t)(h->used << FUTURE_SLOT_SHIFT);
    if (++h->used == SLOTS)
        h->current = nullptr; // from now on it may go at any time
    return f;
}

weft_future *weft_private_future_new(weft_executor *ex, uint16_t *kind)
{
    weft_private_lock(&ex->slab_lock);
    weft_future *f = next_slot(ex->home, kind);
    weft_private_unlock(&ex->slab_lock);
    return f;
}

void weft_private_future_free(weft_future *f)
{
    int saved = errno;
    char *first = (char *)(f - (f->kind >> FUTURE_SLOT_SHIFT));
    give_back((slab *)(void *)(first - offsetof(slab, slots)), 1);
    errno = saved;
}

void weft_private_home_leave(weft_private_home *h)
{
    if (h->current != nullptr)
        give_back(h->current, SLOTS - h->used);
    leave(h);
}
