// shared_lease.cc: messages that come back when their holder dies.
//
// Before a message's bytes stands its owner, one word: NOBODY, a process, ACKNOWLEDGED.
// Leasing the one at `next` writes the owner, then moves `next`; before that the owner
// means nothing.  A message before `next` whose owner is NOBODY has come back, and
// `returned` is set before that can be: so as long as it is 0 nobody need search.
//
// Dead holders are looked for by whoever leases, at most 20 times a second.
#include "holder.h"
#include "queue_ring.h"

#include <base/errno.h>

#include <limits.h>

using namespace weft;

static uint64_t owner_of(const weft_shared_queue *q, uint64_t place)
{
    return __atomic_load_n(owner_at(q, place), __ATOMIC_RELAXED);
}

// Release: a crash in between must not show the owner before what belongs to it.
static void set_owner(const weft_shared_queue *q, uint64_t place, uint64_t owner)
{
    __atomic_store_n(owner_at(q, place), owner, __ATOMIC_RELEASE);
}

static uint64_t following(const weft_shared_queue *q, uint64_t place)
{
    return past(place, (uint32_t)units_for(record_at(q, place)->length, true));
}

// ---- all below under get_lock ----

// Moves `head` over what is acknowledged.
static bool move_head(weft_shared_queue *q)
{
    ring *r = q->r;
    uint64_t head = r->head, from = head;
    while (head != r->next && owner_of(q, head) == ACKNOWLEDGED)
        head = following(q, head);
    if (head != from)
        store_place(&r->head, head);
    return head != from;
}

static void come_back(weft_shared_queue *q, uint64_t place)
{
    __atomic_store_n(&q->r->returned, 1, __ATOMIC_SEQ_CST);
    set_owner(q, place, NOBODY);
}

static void take_back_from_dead(weft_shared_queue *q)
{
    ring *r = q->r;
    uint64_t living = 0; // the last that was seen to live
    for (uint64_t at = r->head; at != r->next; at = following(q, at)) {
        uint64_t owner = owner_of(q, at);
        if (owner == NOBODY || owner == ACKNOWLEDGED || owner == living)
            continue;
        if (holder_lives(owner))
            living = owner;
        else
            come_back(q, at);
    }
    move_head(q);
    r->look_again = weft_now() + HEAL;
}

void weft::queue_look_after_leases(weft_shared_queue *q)
{
    ring *r = q->r;
    if (!r->leases || brief_lock(&r->get_lock, WEFT_NOW) == ETIMEDOUT)
        return;
    if (weft_now() >= r->look_again)
        take_back_from_dead(q);
    brief_unlock(&r->get_lock);
}

// The message to lease: one that came back, else the one at `next`.  False: none.
static bool choose(weft_shared_queue *q, uint64_t *place)
{
    ring *r = q->r;
    if (r->returned) {
        for (*place = r->head; *place != r->next; *place = following(q, *place))
            if (owner_of(q, *place) == NOBODY)
                return true;
        __atomic_store_n(&r->returned, 0, __ATOMIC_SEQ_CST);
    }
    *place = r->next;
    return *place != load_place(&r->tail);
}

static ssize_t deliver(weft_shared_queue *q, uint64_t place, void *message, weft_shared_lease *l)
{
    record *m = record_at(q, place);
    queue_copy_out(q, place, message, m->length);
    m->deliveries++;
    l->place = place;
    l->deliveries = m->deliveries;
    set_owner(q, place, holder_self());
    if (place == q->r->next)
        store_place(&q->r->next, following(q, place));
    return (ssize_t)m->length;
}

// ---- lease ----

// The message's size; -1: errno, EAGAIN for none there.
static ssize_t try_lease(weft_shared_queue *q, void *message, size_t room, weft_shared_lease *l,
                         weft_deadline d)
{
    ring *r = q->r;
    int code = brief_lock(&r->get_lock, d);
    if (code == ETIMEDOUT)
        return fail_with(ETIMEDOUT);
    uint32_t end = __atomic_load_n(&r->closed, __ATOMIC_SEQ_CST);
    if (code == EOWNERDEAD || weft_now() >= r->look_again)
        take_back_from_dead(q);
    uint64_t place;
    int error = 0;
    ssize_t size = -1;
    if (end == DISCARDED)
        error = EPIPE;
    else if (!choose(q, &place))
        error = end != OPEN && r->head == load_place(&r->tail) ? EPIPE : EAGAIN;
    else if (record_at(q, place)->length > room)
        error = EMSGSIZE;
    else
        size = deliver(q, place, message, l);
    brief_unlock(&r->get_lock);
    return error != 0 ? fail_with(error) : size;
}

ssize_t weft_shared_queue_lease(weft_shared_queue *q, void *message, size_t room,
                                weft_shared_lease *l, weft_deadline d)
{
    if (!q->r->leases || l == nullptr)
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

// ---- giving up a lease ----

// Whether the lease still holds: messages from `head` to `next` stay where they are.
static bool held(const weft_shared_queue *q, const weft_shared_lease *l)
{
    const ring *r = q->r;
    uint32_t number = number_of(l->place) - number_of(r->head);
    uint32_t unit = unit_of(l->place) - unit_of(r->head);
    return number < number_of(r->next) - number_of(r->head) &&
           unit < unit_of(r->next) - unit_of(r->head) &&
           record_at(q, l->place)->deliveries == l->deliveries &&
           owner_of(q, l->place) == holder_self();
}

int weft_shared_queue_acknowledge(weft_shared_queue *q, const weft_shared_lease *l)
{
    ring *r = q->r;
    if (!r->leases)
        return fail_with(EINVAL);
    brief_lock(&r->get_lock, WEFT_FOREVER);
    bool valid = held(q, l), moved = false;
    if (valid) {
        set_owner(q, l->place, ACKNOWLEDGED);
        moved = move_head(q);
    }
    bool all = r->head == load_place(&r->tail);
    brief_unlock(&r->get_lock);
    if (moved)
        doorbell_ring(&r->putters.count, &r->putters.armed, INT_MAX);
    if (all) {
        doorbell_ring(&r->joiners.count, &r->joiners.armed, INT_MAX);
        if (__atomic_load_n(&r->closed, __ATOMIC_SEQ_CST) != OPEN)
            queue_ring_getters(q, INT_MAX); // the end has come for them
    }
    return valid ? 0 : fail_with(ESTALE);
}

int weft_shared_queue_give_back(weft_shared_queue *q, const weft_shared_lease *l)
{
    ring *r = q->r;
    if (!r->leases)
        return fail_with(EINVAL);
    brief_lock(&r->get_lock, WEFT_FOREVER);
    bool valid = held(q, l);
    if (valid)
        come_back(q, l->place);
    brief_unlock(&r->get_lock);
    if (valid)
        queue_ring_getters(q, 1);
    return valid ? 0 : fail_with(ESTALE);
}

ssize_t weft_shared_queue_next_size(weft_shared_queue *q)
{
    ring *r = q->r;
    if (brief_lock(&r->get_lock, WEFT_NOW) == ETIMEDOUT)
        return fail_with(ETIMEDOUT);
    uint64_t place = r->head;
    bool there = __atomic_load_n(&r->closed, __ATOMIC_SEQ_CST) != DISCARDED &&
                 (r->leases ? choose(q, &place) : place != load_place(&r->tail));
    ssize_t size = there ? (ssize_t)record_at(q, place)->length : 0;
    brief_unlock(&r->get_lock);
    return there ? size : fail_with(ETIMEDOUT);
}
