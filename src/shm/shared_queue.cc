// shared_queue.cc: putting, waiting, the end.  queue_ring.h says how the ring works.
//
// Two robust locks, so that a producer and a consumer work at once.  A call that must
// wait looks some hundred times, then sleeps on a doorbell.  One getter is woken at a
// time: it wakes the next if there is more, so a burst of puts doesn't wake a crowd for
// what one consumer takes.
#include "queue_ring.h"

#include <base/errno.h>

#include <limits.h>

using namespace weft;

static const uint32_t LEAST_SPIN = 16;

// ---- copying ----

static void copy_in(weft_shared_queue *q, uint32_t unit, const void *from, size_t n)
{
    size_t at = (size_t)(unit & q->mask) * 8, room = ((size_t)q->mask + 1) * 8 - at;
    char *bytes = (char *)units_of(q->r);
    if (__builtin_expect(n <= room, 1)) {
        if (n != 0)
            memcpy(bytes + at, from, n);
        return;
    }
    memcpy(bytes + at, from, room);
    memcpy(bytes, (const char *)from + room, n - room);
}

// ---- waiting ----

// Looks for a while; longer where looking has helped of late, shorter where it has not: on a
// busy machine the one to wait for may need this processor.
static bool spin_until(weft_shared_queue *q, bool (*ready)(const weft_shared_queue *q, size_t n),
                       size_t n)
{
    uint32_t most = q->r->spin, limit = __atomic_load_n(&q->spin, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < limit && i < most; i++) {
        if (ready(q, n)) {
            __atomic_store_n(&q->spin, limit + limit / 4 < most ? limit + limit / 4 : most,
                             __ATOMIC_RELAXED);
            return true;
        }
        spin_pause();
    }
    __atomic_store_n(&q->spin, limit > LEAST_SPIN ? limit - limit / 4 : LEAST_SPIN,
                     __ATOMIC_RELAXED);
    return false;
}

static void ring_watches(weft_shared_queue *q)
{
    if ((__atomic_load_n(&q->r->watches_armed, __ATOMIC_SEQ_CST) & (ONE_ARMING - 1)) != 0)
        queue_ring_watches(q);
}

int weft::queue_wait(weft_shared_queue *q, bell *b,
                     bool (*ready)(const weft_shared_queue *q, size_t n), size_t n, weft_deadline d)
{
    if (d <= WEFT_NOW)
        return ETIMEDOUT;
    if (spin_until(q, ready, n))
        return 0;
    uint32_t seen = doorbell_count(&b->count);
    __atomic_fetch_add(&b->sleepers, 1, __ATOMIC_SEQ_CST);
    doorbell_arm(&b->armed);
    int error = ready(q, n) ? 0 : doorbell_sleep(&b->count, seen, d, &b->look);
    // The ring that woke us disarmed the bell for the others too.
    if (__atomic_sub_fetch(&b->sleepers, 1, __ATOMIC_SEQ_CST) != 0)
        doorbell_arm(&b->armed);
    // For a producer that was killed before it rang.
    if (queue_gettable(q, 0))
        ring_watches(q);
    return error;
}

void weft::queue_ring_getters(weft_shared_queue *q, size_t n)
{
    ring *r = q->r;
    doorbell_ring(&r->getters.count, &r->getters.armed, n < INT_MAX ? (int)n : INT_MAX);
    ring_watches(q);
}

// A wake-up may have been spent on a getter that took nothing, or one of many.
void weft::queue_pass_on(weft_shared_queue *q)
{
    bell *b = &q->r->getters;
    if (__atomic_load_n(&b->armed, __ATOMIC_SEQ_CST) != 0 && queue_gettable(q, 0))
        doorbell_ring_now(&b->count, &b->armed, 1);
}

// ---- put ----

bool weft::queue_has_room(const weft_shared_queue *q, size_t units)
{
    const ring *r = q->r;
    if (closed(q) != OPEN)
        return true;
    if (r->leases)
        return !__atomic_load_n(&r->cramped, __ATOMIC_SEQ_CST) &&
               __atomic_load_n(&r->live, __ATOMIC_SEQ_CST) + units <= r->room;
    uint32_t used = unit_of(load_place(&r->tail)) - unit_of(load_place(&r->head));
    return r->room - used >= units;
}

// Whether `units` fit behind `tail`.
bool weft::queue_fits(ring *r, uint64_t tail, size_t units)
{
    if (r->room - (unit_of(tail) - unit_of(r->seen_head)) >= units)
        return true;
    r->seen_head = load_place(&r->head);
    return r->room - (unit_of(tail) - unit_of(r->seen_head)) >= units;
}

static void write_record(weft_shared_queue *q, uint64_t place, const void *message, size_t n)
{
    record *h = record_at(q, place);
    h->length = (uint32_t)n;
    h->deliveries = 0;
    if (q->r->leases) {
        *field_at(q, place, OWNER) = NOBODY;
        *field_at(q, place, ORIGIN) = place;
        count_to(&q->r->live, q->r->live + ((uint32_t)units_for(n, true)));
        count_to(&q->r->waiting, q->r->waiting + 1);
    }
    copy_in(q, unit_of(place) + (uint32_t)(record_size(q->r->leases) / 8), message, n);
}

// Under the lock: how many of the messages went in; -1: errno.
static ssize_t put_some(weft_shared_queue *q, const struct iovec *v, size_t n)
{
    ring *r = q->r;
    if (closed(q) != OPEN)
        return fail_with(EPIPE);
    ssize_t fit = r->leases ? lease_room(q, v, n) : (ssize_t)n;
    if (fit < 0)
        return fail_with(EDEADLK);
    uint64_t tail = __atomic_load_n(&r->tail, __ATOMIC_RELAXED); // only ever stored under put_lock
    size_t i;
    for (i = 0; i < n && i < (size_t)fit; i++) {
        size_t units = units_for(v[i].iov_len, r->leases);
        if (!r->leases && !queue_fits(r, tail, units))
            break;
        write_record(q, tail, v[i].iov_base, v[i].iov_len);
        tail = past(tail, (uint32_t)units);
    }
    if (i != 0)
        store_place(&r->tail, tail);
    return (ssize_t)i;
}

// How many of the messages went in; 0: no room; -1: errno.
static ssize_t try_put(weft_shared_queue *q, const struct iovec *v, size_t n, weft_deadline d)
{
    ring *r = q->r;
    if (queue_put_lock(q, d) == ETIMEDOUT)
        return fail_with(ETIMEDOUT);
    ssize_t put = put_some(q, v, n);
    brief_unlock(&r->put_lock);
    if (put > 0)
        queue_ring_getters(q, (size_t)put);
    return put;
}

static bool too_large(const weft_shared_queue *q, size_t n)
{
    return n > (size_t)q->r->room * 8 || units_for(n, q->r->leases) > q->r->room;
}

// Puts what there is room for, one at least; waits for that.  How many; -1: errno.
static ssize_t put_next(weft_shared_queue *q, const struct iovec *messages, size_t n,
                        weft_deadline d)
{
    size_t fit = 0;
    while (fit < n && !too_large(q, messages[fit].iov_len))
        fit++;
    if (fit == 0)
        return fail_with(EMSGSIZE);
    size_t units = units_for(messages[0].iov_len, q->r->leases);
    for (int error = 0;;) {
        ssize_t put = try_put(q, messages, fit, d);
        if (put != 0)
            return put;
        if (error != 0)
            return fail_with(error);
        queue_look_after_leases(q);
        error = queue_wait(q, &q->r->putters, queue_has_room, units, d);
        if (!queue_has_room(q, units))
            queue_skip_dead(q);
    }
}

ssize_t weft_shared_queue_put_many(weft_shared_queue *q, const struct iovec *messages, size_t n,
                                   weft_deadline d)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    size_t done = 0;
    while (done < n) {
        ssize_t put = put_next(q, messages + done, n - done, d);
        if (put < 0)
            return done != 0 ? (ssize_t)done : -1;
        done += (size_t)put;
    }
    return (ssize_t)done;
}

int weft_shared_queue_put(weft_shared_queue *q, const void *message, size_t n, weft_deadline d)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    struct iovec one = {(void *)(uintptr_t)message, n};
    return put_next(q, &one, 1, d) == 1 ? 0 : -1;
}

// ---- done and joined ----

// Messages put and not done with.
static uint32_t unfinished(const weft_shared_queue *q)
{
    const ring *r = q->r;
    uint32_t gone =
        r->leases ? number_of(load_place(&r->head)) : __atomic_load_n(&r->done, __ATOMIC_SEQ_CST);
    const uint64_t *last = closed(q) != DISCARDED || r->leases ? &r->tail : &r->head;
    return number_of(load_place(last)) - gone;
}

static bool all_done(const weft_shared_queue *q, size_t)
{
    return unfinished(q) == 0;
}

int weft_shared_queue_task_done(weft_shared_queue *q)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    ring *r = q->r;
    uint32_t done = __atomic_load_n(&r->done, __ATOMIC_SEQ_CST);
    do
        if (r->leases || done == number_of(load_place(&r->head)))
            return fail_with(EINVAL);
    while (!__atomic_compare_exchange_n(&r->done, &done, done + 1, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST));
    if (unfinished(q) == 0)
        ring_all(&r->joiners);
    return 0;
}

int weft_shared_queue_join(weft_shared_queue *q, weft_deadline d)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    auto look = [=] {
        if (unfinished(q) != 0)
            queue_look_after_leases(q);
        return unfinished(q) == 0 ? 0 : EAGAIN;
    };
    return from_pthread(wait_for(d, look, [=](weft_deadline until) {
        return queue_wait(q, &q->r->joiners, all_done, 0, until);
    }));
}

// ---- the whole ----

int weft_shared_queue_close(weft_shared_queue *q, int how)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    ring *r = q->r;
    if (how != WEFT_DRAIN && how != WEFT_DISCARD)
        return fail_with(EINVAL);
    // Under put_lock: once it is closed, no put is under way.
    queue_put_lock(q, WEFT_FOREVER);
    uint32_t end = how == WEFT_DRAIN ? DRAINING : DISCARDED;
    if (end > closed(q))
        __atomic_store_n(&r->closed, end, __ATOMIC_SEQ_CST);
    if (r->leases && closed(q) == DISCARDED)
        lease_discard(q);
    brief_unlock(&r->put_lock);
    ring_all(&r->putters);
    ring_all(&r->joiners);
    queue_ring_getters(q, INT_MAX);
    return 0;
}

size_t weft_shared_queue_length(const weft_shared_queue *q)
{
    if (q == nullptr)
        return 0;
    const ring *r = q->r;
    if (closed(q) == DISCARDED)
        return 0;
    if (r->leases)
        return __atomic_load_n(&r->waiting, __ATOMIC_SEQ_CST);
    // First the place that follows: read the other way round, it might be ahead.
    uint64_t head = load_place(&r->head);
    return number_of(load_place(&r->tail)) - number_of(head);
}

size_t weft_shared_queue_cost(size_t n, bool leases)
{
    return units_for(n, leases) * 8;
}
