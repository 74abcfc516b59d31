// backlog.cc: where an executor's pending tasks are.
//
// The futures are the links.  A submit from outside pushes its future on the inbox, a stack, with
// one compare-and-swap.  Under the lock is the backlog, a doubly linked list; when it is empty
// the whole inbox is taken and turned round.  With a limited backlog a submit takes the lock, for
// its room must be counted.
//
// "Push, then look at sleepers" against "set sleepers, then look for work" is sequentially
// consistent on both sides, here and in share.cc: one of the two sees the other.
#include "crew.h"

using namespace weft;

// ---- The backlog ----

static void set_pending(weft_executor *ex, size_t n)
{
    __atomic_store_n(&ex->pending, n, __ATOMIC_RELAXED);
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

void weft::backlog_add_first(weft_executor *ex, weft_future *f)
{
    add_before(ex, ex->backlog.next, f);
}

void weft::backlog_remove(weft_executor *ex, weft_future *f)
{
    list_remove(f);
    set_pending(ex, ex->pending - 1);
    if (ex->wide == 0)
        waiters_wake_one(&ex->room);
    else // the first may want more than there is, and the next may not
        waiters_wake(&ex->room, SIZE_MAX);
}

// Takes what is in the inbox, leaving `rest` there, and appends it in order.  The futures
// lie in the submitter's cache, and fetching them one by one, each link from the one
// before, would cost more than all else: so each names one some places further on, by `previous`
// for here, by `at` for who takes them (share.cc).
static void collect_leaving(weft_executor *ex, weft_future *rest)
{
    // Acquire: the futures' contents.
    weft_future *f = __atomic_exchange_n(&ex->inbox, rest, __ATOMIC_SEQ_CST);
    weft_future *last = ex->backlog.previous, *newer = &ex->backlog, *older;
    weft_future *ahead[INBOX_AHEAD] = {};
    size_t n = 0;
    for (; f != nullptr; f = older) {
        older = f->next;
        __builtin_prefetch(f->previous, 1);
        f->next = newer;
        f->at = ahead[n % INBOX_AHEAD];
        ahead[n % INBOX_AHEAD] = f;
        newer->previous = f;
        newer = f;
        n++;
    }
    newer->previous = last;
    last->next = newer;
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

// ---- Taking ----

// The first of `urgent`, then of the backlog, or null.
static weft_future *take_first(weft_executor *ex)
{
    weft_future *ring = list_is_empty(&ex->urgent) ? &ex->backlog : &ex->urgent;
    if (list_is_empty(ring))
        collect(ex);
    if (list_is_empty(ring))
        return nullptr;
    weft_future *f = ring->next;
    backlog_remove(ex, f);
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
    if (slot == nullptr || !take_slot(slot, f)) // null: one who is no worker has just taken it
        return false;
    taken(f);
    return true;
}

bool weft::claim_locked(weft_executor *ex, weft_future *f)
{
    collect(ex); // what is pending is now in the backlog or a share
    unsigned where = future_pending(f);
    if (where == IN_BACKLOG) {
        backlog_remove(ex, f);
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
        backlog_remove(ex, f);
    else if (where != IN_SHARE ||
             !take_slot((weft_future **)__atomic_load_n(&f->at, __ATOMIC_RELAXED), f))
        return;
    mark_pending(f, IN_BACKLOG); // all along, for who doesn't look into the slot
    add_before(ex, ex->urgent.next, f);
}
