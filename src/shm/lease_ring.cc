// lease_ring.cc: the ring in lease mode, in which a slow lease stops nothing.
//
// A message has an owner, one word: NOBODY, a process, ACKNOWLEDGED.  Leasing writes the owner;
// from then on the message lies between `head` and `next`, or behind `next`, and is passed over.
// `head` moves over what is acknowledged.
//
// If one that is still on lease stays at `head`, those acknowledged behind it take room.  So it
// moves: it is copied behind `tail`, and then both places pass it.  These are two stores, so what
// is under way is written down before (`moving`), and whoever gets the lock of a dead one does them
// again.  The ring is twice as long as the room for messages, and a put leaves as much free as the
// largest takes: so there is always space for the copy, and each message is moved at most once in a
// round of the ring.  By its origin a lease finds its message again.
//
// `live` and `waiting` are counted anew after a death.
#include "queue_ring.h"

#include <base/errno.h>

using namespace weft;

static uint32_t units_at(const weft_shared_queue *q, uint64_t place)
{
    return (uint32_t)units_for(record_at(q, place)->length, true);
}

// Moves `head` over what is acknowledged, and `next` with it.
static void move_head(weft_shared_queue *q)
{
    ring *r = q->r;
    uint64_t head = r->head;
    while (head != r->tail && owner_of(q, head) == ACKNOWLEDGED) {
        if (head == r->next)
            r->next = following(q, head);
        head = following(q, head);
    }
    if (head != r->head)
        store_place(&r->head, head);
}

// Moves `next` over what need not be leased.
static void move_next(weft_shared_queue *q)
{
    ring *r = q->r;
    while (r->next != r->tail && owner_of(q, r->next) != NOBODY)
        store_place(&r->next, following(q, r->next));
}

void weft::lease_end(weft_shared_queue *q, uint64_t place)
{
    set_owner(q, place, ACKNOWLEDGED);
    count_to(&q->r->live, q->r->live - (units_at(q, place)));
    move_head(q);
}

void weft::lease_come_back(weft_shared_queue *q, uint64_t place)
{
    ring *r = q->r;
    if (r->closed == DISCARDED)
        return lease_end(q, place);
    __atomic_store_n(&r->returned, 1, __ATOMIC_SEQ_CST);
    set_owner(q, place, NOBODY);
    count_to(&r->waiting, r->waiting + 1);
}

void weft::lease_discard(weft_shared_queue *q)
{
    ring *r = q->r;
    for (uint64_t at = r->head; at != r->tail; at = following(q, at))
        if (owner_of(q, at) == NOBODY) {
            set_owner(q, at, ACKNOWLEDGED);
            count_to(&r->live, r->live - (units_at(q, at)));
        }
    count_to(&r->waiting, 0);
    move_next(q);
    move_head(q);
}

// ---- after a death, and leases that have ended ----

static void finish_move(weft_shared_queue *q)
{
    ring *r = q->r;
    store_place(&r->tail, following(q, r->moves_to));
    store_place(&r->head, following(q, r->moves_from));
    __atomic_store_n(&r->moving, 0, __ATOMIC_RELEASE);
}

static void mend(weft_shared_queue *q)
{
    ring *r = q->r;
    if (r->moving)
        finish_move(q);
    uint32_t live = 0, waiting = 0;
    for (uint64_t at = r->head; at != r->tail; at = following(q, at)) {
        uint64_t owner = owner_of(q, at);
        live += owner != ACKNOWLEDGED ? units_at(q, at) : 0;
        waiting += owner == NOBODY;
    }
    count_to(&r->live, live);
    count_to(&r->waiting, waiting);
    if (r->closed == DISCARDED)
        lease_discard(q);
    move_head(q);
    r->look_again = 0;
}

static void take_back(weft_shared_queue *q)
{
    ring *r = q->r;
    int64_t now = weft_now(), again = now + HEAL;
    uint64_t living = 0; // the last that was seen to live
    for (uint64_t at = r->head, next; at != r->tail; at = next) {
        uint64_t owner = owner_of(q, at);
        int64_t until = (int64_t)*field_at(q, at, UNTIL);
        next = following(q, at);
        if (owner == NOBODY || owner == ACKNOWLEDGED)
            continue;
        if (until <= now || (owner != living && !holder_lives(owner))) {
            lease_come_back(q, at);
            continue;
        }
        living = owner;
        again = until < again ? until : again;
    }
    r->look_again = again;
}

int weft::lease_lock(weft_shared_queue *q, weft_deadline d)
{
    ring *r = q->r;
    int code = brief_lock(&r->put_lock, d);
    if (code == ETIMEDOUT)
        return ETIMEDOUT;
    if (code == EOWNERDEAD)
        mend(q);
    if (weft_now() >= r->look_again)
        take_back(q);
    return 0;
}

void weft::queue_look_after_leases(weft_shared_queue *q)
{
    if (q->r->leases && lease_lock(q, WEFT_NOW) == 0)
        brief_unlock(&q->r->put_lock);
}

// ---- choosing ----

bool weft::lease_choose(weft_shared_queue *q, uint64_t *place)
{
    ring *r = q->r;
    if (r->returned) {
        for (*place = r->head; *place != r->tail; *place = following(q, *place))
            if (owner_of(q, *place) == NOBODY && record_at(q, *place)->deliveries != 0)
                return true;
        __atomic_store_n(&r->returned, 0, __ATOMIC_SEQ_CST);
    }
    move_next(q);
    *place = r->next;
    return *place != r->tail;
}

// ---- room ----

static uint32_t span(const ring *r)
{
    return unit_of(r->tail) - unit_of(r->head);
}

static void copy_record(weft_shared_queue *q, uint64_t to, uint64_t from)
{
    uint64_t *units = units_of(q->r);
    for (uint32_t i = 0, n = units_at(q, from); i < n; i++)
        units[(unit_of(to) + i) & q->mask] = units[(unit_of(from) + i) & q->mask];
}

// Moves the one at `head` behind `tail`.  False: it is not on lease.
static bool move_first(weft_shared_queue *q)
{
    ring *r = q->r;
    move_next(q);
    if (r->head == r->tail || owner_of(q, r->head) == NOBODY)
        return false;
    copy_record(q, r->tail, r->head);
    r->moves_from = r->head;
    r->moves_to = r->tail;
    __atomic_store_n(&r->moving, 1, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); // the places are touched after it is written down
    finish_move(q);
    move_head(q);
    return true;
}

static bool all_mine(weft_shared_queue *q)
{
    ring *r = q->r;
    uint64_t self = holder_self(), thread = brief_this_thread()->id;
    for (uint64_t at = r->head; at != r->tail; at = following(q, at)) {
        uint64_t owner = owner_of(q, at);
        if (owner != ACKNOWLEDGED && (owner != self || *field_at(q, at, THREAD) != thread))
            return false;
    }
    return true;
}

ssize_t weft::lease_room(weft_shared_queue *q, const struct iovec *v, size_t n)
{
    ring *r = q->r;
    size_t need = 0, i = 0;
    uint32_t largest = r->largest;
    for (; i < n; i++) {
        size_t units = units_for(v[i].iov_len, true);
        if (r->live + need + units > r->room)
            break;
        need += units;
        largest = units > largest ? (uint32_t)units : largest;
    }
    if (i == 0)
        return all_mine(q) ? -1 : 0;
    while (r->units - span(r) < need + largest)
        if (!move_first(q)) {
            count_to(&r->cramped, 1);
            return i > 1 ? lease_room(q, v, 1) : 0;
        }
    r->largest = largest;
    return (ssize_t)i;
}
