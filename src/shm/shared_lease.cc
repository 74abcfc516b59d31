// shared_lease.cc: messages that come back when their holder dies, or keeps them too long.
//
// lease_ring.cc says how they lie in the ring.  Leases that have ended are looked for by whoever
// has the lock, when one is due and 20 times a second.
#include "queue_ring.h"

#include <base/errno.h>

#include <limits.h>

using namespace weft;

static void give(weft_shared_queue *q)
{
    brief_unlock(&q->r->put_lock);
}

// ---- lease ----

static void set_until(weft_shared_queue *q, uint64_t place, int64_t until)
{
    ring *r = q->r;
    __atomic_store_n(field_at(q, place, UNTIL), (uint64_t)until, __ATOMIC_RELAXED);
    if (until < r->look_again)
        r->look_again = until;
}

static ssize_t deliver(weft_shared_queue *q, uint64_t place, void *message, weft_shared_lease *l)
{
    ring *r = q->r;
    record *m = record_at(q, place);
    queue_copy_out(q, unit_of(place) + (uint32_t)(sizeof(record) / 8), message, m->length);
    m->deliveries++;
    l->place = *field_at(q, place, ORIGIN);
    l->deliveries = m->deliveries;
    *field_at(q, place, THREAD) = brief_this_thread()->id;
    set_until(q, place, weft_in_ns(r->lease_ns));
    set_owner(q, place, holder_self());
    if (place == r->next)
        store_place(&r->next, following(q, place));
    count_to(&r->waiting, r->waiting - 1);
    return (ssize_t)m->length;
}

// The message's size; -1: errno, EAGAIN for none there.
static ssize_t try_lease(weft_shared_queue *q, void *message, size_t room, weft_shared_lease *l,
                         weft_deadline d)
{
    ring *r = q->r;
    if (lease_lock(q, d) == ETIMEDOUT)
        return fail_with(ETIMEDOUT);
    uint64_t place;
    int error = 0;
    ssize_t size = -1;
    if (r->closed == DISCARDED)
        error = EPIPE;
    else if (!lease_choose(q, &place))
        error = r->closed != OPEN && r->head == r->tail ? EPIPE : EAGAIN;
    else if (record_at(q, place)->length > room)
        error = EMSGSIZE;
    else
        size = deliver(q, place, message, l);
    bool cramped = r->cramped != 0 && size >= 0;
    if (cramped)
        count_to(&r->cramped, 0);
    give(q);
    if (cramped)
        ring_all(&r->putters);
    return error != 0 ? fail_with(error) : size;
}

ssize_t weft_shared_queue_lease(weft_shared_queue *q, void *message, size_t room,
                                weft_shared_lease *l, weft_deadline d)
{
    if (q == nullptr || !q->r->leases || l == nullptr)
        return fail_with(EINVAL);
    int saved = errno;
    for (int error = 0, slept = 0;; slept = 1) {
        ssize_t size = try_lease(q, message, room, l, d);
        if (slept)
            queue_pass_on(q);
        if (size >= 0)
            errno = saved;
        if (size >= 0 || errno != EAGAIN)
            return size;
        if (error == ETIMEDOUT)
            queue_found_empty(q);
        if (error != 0)
            return fail_with(error);
        error = queue_wait(q, &q->r->getters, queue_gettable, 0, d);
    }
}

// ---- the holder's ----

// Whether `place` is the leased message's.
static bool is_its(const weft_shared_queue *q, const weft_shared_lease *l, uint64_t place)
{
    return *field_at(q, place, ORIGIN) == l->place &&
           record_at(q, place)->deliveries == l->deliveries && owner_of(q, place) == holder_self();
}

// Finds it where it was put, or if it has moved since, wherever it is.  False: not on this lease.
static bool find(const weft_shared_queue *q, const weft_shared_lease *l, uint64_t *place)
{
    const ring *r = q->r;
    uint32_t number = number_of(l->place) - number_of(r->head);
    uint32_t unit = unit_of(l->place) - unit_of(r->head);
    *place = l->place;
    if (number < number_of(r->tail) - number_of(r->head) &&
        unit < unit_of(r->tail) - unit_of(r->head) && is_its(q, l, *place))
        return true;
    for (*place = r->head; *place != r->tail; *place = following(q, *place))
        if (is_its(q, l, *place))
            return true;
    return false;
}

// Takes the lock and finds the leased message; -1: EINVAL, ESTALE, and it has no lock.
static int take(weft_shared_queue *q, const weft_shared_lease *l, uint64_t *place)
{
    if (!q->r->leases || l == nullptr)
        return fail_with(EINVAL);
    lease_lock(q, WEFT_FOREVER);
    if (find(q, l, place))
        return 0;
    give(q);
    return fail_with(ESTALE);
}

int weft_shared_queue_acknowledge(weft_shared_queue *q, const weft_shared_lease *l)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    ring *r = q->r;
    uint64_t place;
    if (take(q, l, &place) != 0)
        return -1;
    lease_end(q, place);
    count_to(&r->cramped, 0);
    bool all = r->head == r->tail;
    give(q);
    ring_all(&r->putters);
    if (all) {
        ring_all(&r->joiners);
        if (__atomic_load_n(&r->closed, __ATOMIC_SEQ_CST) != OPEN)
            queue_ring_getters(q, INT_MAX); // the end has come for them
    }
    return 0;
}

int weft_shared_queue_give_back(weft_shared_queue *q, const weft_shared_lease *l)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    uint64_t place;
    if (take(q, l, &place) != 0)
        return -1;
    lease_come_back(q, place);
    give(q);
    queue_ring_getters(q, 1);
    return 0;
}

int weft_shared_queue_extend(weft_shared_queue *q, const weft_shared_lease *l, weft_deadline until)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    uint64_t place;
    if (take(q, l, &place) != 0)
        return -1;
    set_until(q, place, until);
    give(q);
    return 0;
}
