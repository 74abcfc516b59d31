// backlog.cc: where an executor's pending tasks are.
//
// The futures are the links.  A submit from outside pushes its future on the inbox, a stack, with
// one compare-and-swap.  Under the lock is the backlog, a doubly linked list; when it is empty
// the whole inbox is taken and turned round.  With a limited backlog a submit takes the lock, for
// its room must be counted.
//
// A worker takes several tasks in one locked section, one to run and the others into its share, if
// there are many for each; and what its own tasks submit goes there without any lock, as
// long as nothing is in the inbox and the backlog, so that all runs in (about) the order
// of its submission and nothing starves.  Who exchanges a slot's future for null has that task: its
// worker, from the oldest on; one that waits for it; who cancels it; a worker without work; and
// one that finds a share unmoved since the last look, for its worker is held up by
// a long task.
//
// "Push, then look at sleepers" against "set sleepers, then look for work" is sequentially
// consistent on both sides: one of the two sees the other.
#include "crew.h"

using namespace weft;

// ---- The backlog ----

static void set_pending(weft_executor *ex, size_t n)
{
    __atomic_store_n(&ex->pending, n, __ATOMIC_RELAXED);
}

static void mark_pending(weft_future *f, uint16_t where)
{
    // Release: with it comes `at`.
    __atomic_store_n(&f->pending, where, __ATOMIC_RELEASE);
}

// f is the caller's to run.
static weft_future *taken(weft_future *f)
{
    __atomic_store_n(&f->at, (void *)this_worker, __ATOMIC_RELAXED);
    mark_pending(f, 0);
    return f;
}

static void add_before(weft_executor *ex, weft_future *at, weft_future *f)
{
    list_insert(at, f);
    set_pending(ex, ex->pending + 1);
}

void weft::backlog_add(weft_executor *ex, weft_future *f)
{
    add_before(ex, &ex->backlog, f);
}

static void unlink(weft_executor *ex, weft_future *f)
{
    list_remove(f);
    set_pending(ex, ex->pending - 1);
    waiters_wake_one(&ex->room);
}

// Takes what is in the inbox, leaving `rest` there, and appends it in order.  The futures
// lie in the submitter's cache, and fetching them one by one, each link from the one
// before, would cost more than all else: so each names one some places further on.
static void collect_leaving(weft_executor *ex, weft_future *rest)
{
    // Acquire: the futures' contents.
    weft_future *f = __atomic_exchange_n(&ex->inbox, rest, __ATOMIC_SEQ_CST);
    weft_future *newer = &ex->backlog, *older;
    size_t n = 0;
    for (; f != nullptr; f = older) {
        older = f->next;
        __builtin_prefetch(f->previous, 1);
        list_insert(newer, f);
        newer = f;
        n++;
    }
    set_pending(ex, ex->pending + n);
}

void weft::collect(weft_executor *ex)
{
    if (inbox_has(ex)) // and it is only closed under the lock
        collect_leaving(ex, nullptr);
}

void weft::inbox_close(weft_executor *ex)
{
    if (!ex->closed)
        collect_leaving(ex, INBOX_CLOSED);
    ex->closed = true;
}

int weft::inbox_push(weft_executor *ex, weft_future *oldest, weft_future *newest)
{
    weft_future *before = __atomic_load_n(&ex->inbox, __ATOMIC_RELAXED);
    do {
        if (before == INBOX_CLOSED)
            return EPIPE;
        oldest->next = before;
        // Release: the futures' contents; sequentially consistent: see the banner.
    } while (!__atomic_compare_exchange_n(&ex->inbox, &before, newest, true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
    return 0;
}

int weft::inbox_push_one(weft_executor *ex, weft_future *f)
{
    // Relaxed, and not even one step: a lost hint is a slower fetch.
    unsigned at = __atomic_load_n(&ex->recent_at, __ATOMIC_RELAXED) % INBOX_AHEAD;
    f->previous = __atomic_load_n(&ex->recent[at], __ATOMIC_RELAXED);
    __atomic_store_n(&ex->recent[at], f, __ATOMIC_RELAXED);
    __atomic_store_n(&ex->recent_at, at + 1, __ATOMIC_RELAXED);
    return inbox_push(ex, f, f);
}

// ---- Shares ----

static weft_future **slot_at(crew_worker *w, unsigned i)
{
    return &w->share[i % SHARE];
}

static bool take_slot(weft_future **slot, weft_future *f)
{
    // Acquire: f's contents; sequentially consistent: who finds it empty knows who was first.
    return __atomic_compare_exchange_n(slot, &f, nullptr, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
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
    return true;
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
            add_before(ex, ex->backlog.next, f);
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
static weft_future *take_over(weft_executor *ex, const crew_worker *me)
{
    crew_worker *w = ex->workers;
    unsigned head = __atomic_load_n(&w->head, __ATOMIC_RELAXED);
    bool unmoved = w != me && head == w->seen;
    w->seen = head;
    ex->workers = w->next;
    return unmoved ? take_from(w) : nullptr;
}

static void fill_share(weft_executor *ex, crew_worker *me)
{
    size_t n = ex->pending / (4 * (size_t)ex->active);
    unsigned tail = me->tail;
    if (ex->limit != SIZE_MAX)
        return;
    for (n = n < BATCH ? n : BATCH - 1; n > 0 && !list_is_empty(&ex->backlog); n--) {
        weft_future *f = ex->backlog.next;
        unlink(ex, f);
        put_slot(me, tail++, f);
    }
    __atomic_store_n(&me->tail, tail, __ATOMIC_RELEASE);
}

// The first of `urgent`, then of the backlog, or null.
static weft_future *take_first(weft_executor *ex)
{
    weft_future *ring = list_is_empty(&ex->urgent) ? &ex->backlog : &ex->urgent;
    if (list_is_empty(ring))
        collect(ex);
    if (list_is_empty(ring))
        return nullptr;
    weft_future *f = ring->next;
    unlink(ex, f);
    return taken(f);
}

weft_future *weft::take_any(weft_executor *ex)
{
    weft_future *f = take_first(ex);
    if (f == nullptr)
        f = steal(ex, nullptr);
    for (weft_future *g = ex->deferred.next; f == nullptr && g != &ex->deferred; g = g->next)
        if (claim_deferred(g))
            return g;
    return f;
}

weft_future *weft::next_task(weft_executor *ex, crew_worker *me)
{
    if (is_short(ex))
        return list_is_empty(&ex->urgent) ? nullptr : take_first(ex);
    weft_future *f = take_over(ex, me);
    if (f == nullptr && (f = take_first(ex)) != nullptr)
        fill_share(ex, me);
    return f != nullptr ? f : steal(ex, me);
}

// ---- All of them ----

static size_t count_shares(weft_executor *ex)
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

bool weft::has_pending(weft_executor *ex)
{
    return ex->pending != 0 || !list_is_empty(&ex->deferred) || inbox_has(ex) ||
           count_shares(ex) != 0;
}

bool weft::has_work(weft_executor *ex)
{
    if (!list_is_empty(&ex->urgent))
        return true;
    return !is_short(ex) && (ex->pending != 0 || inbox_has(ex) || count_shares(ex) != 0);
}

size_t weft::count_pending(weft_executor *ex)
{
    collect(ex);
    size_t n = ex->pending + count_shares(ex);
    for (weft_future *f = ex->deferred.next; f != &ex->deferred; f = f->next)
        n++;
    return n;
}

static bool claim_slot(weft_future *f)
{
    weft_future **slot = (weft_future **)__atomic_load_n(&f->at, __ATOMIC_RELAXED);
    if (!take_slot(slot, f))
        return false;
    taken(f);
    return true;
}

bool weft::claim_locked(weft_executor *ex, weft_future *f)
{
    collect(ex); // what is pending is now in the backlog or a share
    unsigned where = future_pending(f);
    if (where == IN_BACKLOG) {
        unlink(ex, f);
        taken(f);
    }
    return where == IN_BACKLOG || (where == IN_SHARE && claim_slot(f));
}

bool weft::claim_deferred(weft_future *f)
{
    if (future_pending(f) != DEFERRED || !claim_slot(f)) // or it is being delivered
        return false;
    list_remove(f);
    return true;
}

bool weft::claim(weft_executor *ex, weft_future *f)
{
    unsigned where = future_pending(f);
    if (where == DEFERRED)
        return false;
    if (where == 0 || (where == IN_SHARE && claim_slot(f)))
        return where != 0;
    // In the backlog, or on its way: nothing moves under the lock but out of slots.
    take_lock(&ex->lock);
    bool claimed = claim_locked(ex, f);
    drop_lock(&ex->lock);
    return claimed;
}

void weft::make_urgent(weft_executor *ex, weft_future *f)
{
    collect(ex);
    unsigned where = future_pending(f);
    if (where == IN_BACKLOG)
        unlink(ex, f);
    else if (where != IN_SHARE ||
             !take_slot((weft_future **)__atomic_load_n(&f->at, __ATOMIC_RELAXED), f))
        return;
    mark_pending(f, IN_BACKLOG); // all along, for who doesn't look into the slot
    add_before(ex, ex->urgent.next, f);
}
