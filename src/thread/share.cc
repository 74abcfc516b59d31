// share.cc: the tasks that a worker has to itself, as long as nobody else needs them.
//
// A worker takes several tasks in one locked section, one to run and the others into its share, if
// there are many for each; and what its own tasks submit goes there without any lock, as
// long as nothing is in the inbox and the backlog, so that all runs in (about) the order
// of its submission and nothing starves.  Who exchanges a slot's future for null has that task: its
// worker, from the oldest on; one that waits for it; who cancels it; a worker without work; and
// one that finds a share unmoved since the last look, for its worker is held up by
// a long task.
#include "crew.h"

using namespace weft;

static weft_future **slot_at(crew_worker *w, unsigned i)
{
    return &w->share[i % SHARE];
}

// Into the slot `tail`; the caller moves that.
static void put_slot(crew_worker *me, unsigned tail, weft_future *f)
{
    weft_future **slot = slot_at(me, tail);
    __atomic_store_n(&f->at, (void *)slot, __ATOMIC_RELAXED);
    mark_pending(f, IN_SHARE);
    __atomic_store_n(slot, f, __ATOMIC_RELEASE);
}

bool weft::share_push(weft_executor *ex, crew_worker *me, weft_future *f)
{
    while (me->tail != me->head && // those taken by who waited for them
           __atomic_load_n(slot_at(me, me->tail - 1), __ATOMIC_RELAXED) == nullptr)
        __atomic_store_n(&me->tail, me->tail - 1, __ATOMIC_RELAXED);
    if (me->tail - me->head == SHARE || __atomic_load_n(&ex->inbox, __ATOMIC_RELAXED) != nullptr ||
        __atomic_load_n(&ex->pending, __ATOMIC_RELAXED) != 0)
        return false;
    put_slot(me, me->tail, f);
    __atomic_store_n(&me->tail, me->tail + 1, __ATOMIC_SEQ_CST); // see the banner
    // Who closes the inbox and then looks into the shares sees it there, or we see it closed.
    return __atomic_load_n(&ex->inbox, __ATOMIC_SEQ_CST) != INBOX_CLOSED ||
           !take_slot(slot_at(me, me->tail - 1), f);
}

weft_future *weft::share_pop(crew_worker *me)
{
    while (me->head != me->tail) {
        weft_future *f = __atomic_exchange_n(slot_at(me, me->head), nullptr, __ATOMIC_SEQ_CST);
        __atomic_store_n(&me->head, me->head + 1, __ATOMIC_RELAXED);
        if (f != nullptr)
            return taken(f);
    }
    return nullptr;
}

void weft::share_return(weft_executor *ex, crew_worker *me)
{
    while (me->tail != me->head) {
        __atomic_store_n(&me->tail, me->tail - 1, __ATOMIC_RELAXED);
        weft_future *f = __atomic_exchange_n(slot_at(me, me->tail), nullptr, __ATOMIC_SEQ_CST);
        if (f != nullptr) {
            mark_pending(f, IN_BACKLOG);
            backlog_add_first(ex, f);
        }
    }
}

// How many slots of another's share to look at, from *first on.
static unsigned span_of(const crew_worker *w, unsigned *first)
{
    unsigned tail = __atomic_load_n(&w->tail, __ATOMIC_SEQ_CST);
    *first = __atomic_load_n(&w->head, __ATOMIC_RELAXED);
    unsigned n = tail - *first;
    return n < SHARE ? n : (unsigned)SHARE; // more: it moved between the two
}

// The oldest of a share, or null.
static weft_future *take_from(crew_worker *w)
{
    unsigned i, n = span_of(w, &i);
    for (; n > 0; n--, i++) {
        weft_future *f = __atomic_load_n(slot_at(w, i), __ATOMIC_ACQUIRE);
        if (f != nullptr && take_slot(slot_at(w, i), f))
            return taken(f);
    }
    return nullptr;
}

static size_t count_share(crew_worker *w)
{
    unsigned i, n = span_of(w, &i);
    size_t count = 0;
    for (; n > 0; n--, i++)
        count += __atomic_load_n(slot_at(w, i), __ATOMIC_ACQUIRE) != nullptr;
    return count;
}

weft_future *weft::steal(weft_executor *ex, const crew_worker *but)
{
    crew_worker *w = ex->workers;
    if (w == nullptr)
        return nullptr;
    do {
        weft_future *f = w != but ? take_from(w) : nullptr;
        if (f != nullptr)
            return f;
        w = w->next;
    } while (w != ex->workers);
    return nullptr;
}

// Looks at one other worker: if its share has not moved since the last look, takes one task of it.
weft_future *weft::take_over(weft_executor *ex, const crew_worker *me)
{
    crew_worker *w = ex->workers;
    unsigned head = __atomic_load_n(&w->head, __ATOMIC_RELAXED);
    bool unmoved = w != me && head == w->seen;
    w->seen = head;
    ex->workers = w->next;
    return unmoved ? take_from(w) : nullptr;
}

void weft::fill_share(weft_executor *ex, crew_worker *me)
{
    size_t n = ex->limit != SIZE_MAX ? 0 : ex->pending / (4 * (size_t)ex->active), moved = 0;
    weft_future *f = ex->backlog.next, *next;
    for (; moved < n && moved < BATCH - 1 && f != &ex->backlog; f = next) {
        next = f->next;
        __builtin_prefetch(f->at, 1); // see backlog.cc
        put_slot(me, me->tail + (unsigned)moved, f);
        moved++;
    }
    ex->backlog.next = f;
    f->previous = &ex->backlog;
    __atomic_store_n(&ex->pending, ex->pending - moved, __ATOMIC_RELAXED);
    __atomic_store_n(&me->tail, me->tail + (unsigned)moved, __ATOMIC_RELEASE);
}

size_t weft::count_shares(weft_executor *ex)
{
    size_t n = 0;
    crew_worker *w = ex->workers;
    if (w == nullptr)
        return 0;
    do {
        n += count_share(w);
        w = w->next;
    } while (w != ex->workers);
    return n;
}
