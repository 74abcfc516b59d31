// shared_reserve.cc: a message that is written where it will be read.
//
// A reservation is a record that says who has made it and that it is not committed.  `tail` moves
// past it at once, so its place in the order is that of the reservation; getters stop at
// it.  Committing is one store.  So that its bytes lie in one piece, a PAD may fill the ring up to
// its end.
//
// A reservation that is given up, or whose maker is dead, becomes a PAD, which is no message: so
// `tail` counts one message less.  These are two stores, so it is written down before, and whoever
// gets put_lock from a dead one does them again.
#include "queue_ring.h"

#include <base/errno.h>

using namespace weft;

static const uint32_t HEADER = 2; // units: a record's, and its maker

void weft::queue_finish_undo(weft_shared_queue *q)
{
    ring *r = q->r;
    if (!r->undoing)
        return;
    // First the count: a getter must not look for a message behind the last.
    store_place(&r->tail, r->undo_tail);
    set_form(q, r->undo_place, (form_at(q, r->undo_place) & ~(uint32_t)(RESERVED | WIDE)) | PAD);
    __atomic_store_n(&r->undoing, 0, __ATOMIC_RELEASE);
}

// Under put_lock.
static void undo(weft_shared_queue *q, uint64_t place)
{
    ring *r = q->r;
    r->undo_place = place;
    r->undo_tail = r->tail - past(0, 0);
    __atomic_store_n(&r->undoing, 1, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); // it is written down before it is done
    queue_finish_undo(q);
}

static uint64_t maker_of(const weft_shared_queue *q, uint64_t place)
{
    return __atomic_load_n(field_at(q, place, OWNER), __ATOMIC_RELAXED);
}

// Whether a dead one's reservation is at `head`.
static bool dead_at_head(const weft_shared_queue *q, uint64_t *place)
{
    *place = load_place(&q->r->head);
    return unit_of(*place) != unit_of(load_place(&q->r->tail)) && form_seen(q, *place) & RESERVED &&
           !holder_lives(maker_of(q, *place)) && // again: a commit takes no lock
           form_seen(q, *place) & RESERVED;
}

void weft::queue_skip_dead(weft_shared_queue *q)
{
    uint64_t place;
    if (q->r->leases)
        return;
    if (dead_at_head(q, &place) && queue_put_lock(q, WEFT_NOW) != ETIMEDOUT) {
        // With put_lock, none that is reserved becomes something else.
        bool dead = dead_at_head(q, &place);
        if (dead)
            undo(q, place);
        brief_unlock(&q->r->put_lock);
        if (dead) {
            queue_ring_getters(q, 1);
            ring_all(&q->r->joiners); // one message less
        }
    }
    if (unit_of(place) != unit_of(load_place(&q->r->tail)) && form_seen(q, place) & PAD)
        queue_skip_pads(q);
}

// ---- reserve ----

static uint32_t units_to_end(const weft_shared_queue *q, uint64_t place)
{
    return q->r->units - (unit_of(place) & q->mask);
}

static uint64_t write_pad(weft_shared_queue *q, uint64_t place, uint32_t units)
{
    record_at(q, place)->length = 0;
    set_form(q, place, units * ONE_UNIT | PAD);
    return behind(q, place);
}

static void *write_reservation(weft_shared_queue *q, uint64_t place, uint32_t units, size_t n)
{
    record_at(q, place)->length = (uint32_t)n;
    *field_at(q, place, OWNER) = holder_self();
    set_form(q, place, units * ONE_UNIT | WIDE | RESERVED);
    return &units_of(q->r)[(unit_of(place) & q->mask) + HEADER];
}

// The bytes; null: errno, EAGAIN when there is no room for *need units.
static void *try_reserve(weft_shared_queue *q, size_t n, size_t *need, weft_deadline d)
{
    ring *r = q->r;
    uint32_t units = (uint32_t)(HEADER + (n + 7) / 8);
    if (queue_put_lock(q, d) == ETIMEDOUT)
        return fail_with(ETIMEDOUT), nullptr;
    int error = __atomic_load_n(&r->closed, __ATOMIC_SEQ_CST) != OPEN ? EPIPE : 0;
    uint64_t tail = __atomic_load_n(&r->tail, __ATOMIC_RELAXED);
    uint32_t pad = units_to_end(q, tail) < units ? units_to_end(q, tail) : 0;
    void *bytes = nullptr;
    *need = (size_t)units + pad;
    if (error == 0 && !queue_fits(r, tail, *need))
        error = EAGAIN;
    if (error == 0) {
        if (pad != 0)
            tail = write_pad(q, tail, pad);
        bytes = write_reservation(q, tail, units, n);
        store_place(&r->tail, past(tail, units));
    }
    brief_unlock(&r->put_lock);
    if (error != 0)
        errno = error;
    return bytes;
}

void *weft_shared_queue_reserve(weft_shared_queue *q, size_t n, weft_deadline d)
{
    if (q == nullptr)
        return fail_null(EINVAL);
    int saved = errno;
    if (q->r->leases || n > (size_t)q->r->room * 8 || 2 * (HEADER + (n + 7) / 8) > q->r->room) {
        errno = q->r->leases ? EINVAL : EMSGSIZE;
        return nullptr;
    }
    for (int error = 0;;) {
        size_t need = 0;
        void *bytes = try_reserve(q, n, &need, d);
        if (bytes != nullptr || errno != EAGAIN) {
            if (bytes != nullptr)
                errno = saved;
            return bytes;
        }
        if (error != 0)
            return fail_with(error), nullptr;
        error = queue_wait(q, &q->r->putters, queue_has_room, need, d);
        if (!queue_has_room(q, need))
            queue_skip_dead(q);
    }
}

// ---- commit, cancel ----

// The place of the caller's reservation with these bytes: its unit alone, without a number.
static int reservation(const weft_shared_queue *q, const void *message, uint64_t *place)
{
    const ring *r = q->r;
    if (r->leases)
        return fail_with(EINVAL);
    uint64_t at = (uint64_t)((const char *)message - (const char *)(r + 1));
    uint32_t head = unit_of(load_place(&r->head)), tail = unit_of(load_place(&r->tail));
    *place = at / 8 - HEADER;
    bool inside = at % 8 == 0 && at / 8 >= HEADER && *place < r->units &&
                  (((uint32_t)*place - head) & q->mask) < tail - head;
    return inside && form_at(q, *place) & RESERVED && maker_of(q, *place) == holder_self()
               ? 0
               : fail_with(ESTALE);
}

int weft_shared_queue_commit(weft_shared_queue *q, void *message, size_t n)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    uint64_t place;
    if (reservation(q, message, &place) != 0)
        return -1;
    record *m = record_at(q, place);
    if (n > m->length)
        return fail_with(EMSGSIZE);
    m->length = (uint32_t)n;
    // SEQ_CST, as an unlock is: the doorbell's `armed` is loaded after.
    __atomic_fetch_and(&m->form, ~(uint32_t)RESERVED, __ATOMIC_SEQ_CST);
    queue_ring_getters(q, 1);
    return 0;
}

int weft_shared_queue_cancel(weft_shared_queue *q, void *message)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    uint64_t place;
    if (reservation(q, message, &place) != 0)
        return -1;
    queue_put_lock(q, WEFT_FOREVER);
    undo(q, place);
    brief_unlock(&q->r->put_lock);
    queue_ring_getters(q, 1); // who gets on makes room
    ring_all(&q->r->joiners); // one message less
    return 0;
}
