// shared_queue_get.cc: getting.
#include "queue_ring.h"

#include <base/errno.h>

#include <limits.h>

using namespace weft;

void weft::queue_copy_out(const weft_shared_queue *q, uint32_t unit, void *to, size_t n)
{
    size_t at = (size_t)(unit & q->mask) * 8, room = ((size_t)q->mask + 1) * 8 - at;
    const char *bytes = (const char *)units_of(q->r);
    if (__builtin_expect(n <= room, 1)) {
        if (n != 0)
            memcpy(to, bytes + at, n);
        return;
    }
    memcpy(to, bytes + at, room);
    memcpy((char *)to + room, bytes, n - room);
}

bool weft::queue_gettable(const weft_shared_queue *q, size_t)
{
    const ring *r = q->r;
    uint32_t end = closed(q);
    uint64_t tail = load_place(&r->tail);
    if (!r->leases) {
        uint64_t head = load_place(&r->head);
        if (end == DISCARDED || unit_of(tail) == unit_of(head))
            return end != OPEN;
        return !(form_seen(q, head) & RESERVED);
    }
    return tail != load_place(&r->next) || __atomic_load_n(&r->returned, __ATOMIC_SEQ_CST) ||
           end == DISCARDED || (end == DRAINING && tail == load_place(&r->head));
}

// Whether the first message is there; moves *head over what is none.
static inline bool first(weft_shared_queue *q, uint64_t *head, uint32_t *form)
{
    ring *r = q->r;
    for (;; *head = behind(q, *head)) {
        // By units: a reservation that was undone is counted no more.
        if (unit_of(r->seen_tail) == unit_of(*head))
            r->seen_tail = load_place(&r->tail);
        if (unit_of(r->seen_tail) == unit_of(*head))
            return false;
        *form = form_at(q, *head);
        if (__builtin_expect(!(*form & PAD), 1))
            return !(*form & RESERVED);
    }
}

// How many were got; 0: none there; -1: errno.
static ssize_t try_get(weft_shared_queue *q, struct iovec *v, size_t n, weft_deadline d)
{
    ring *r = q->r;
    if (brief_lock(&r->get_lock, d) == ETIMEDOUT)
        return fail_with(ETIMEDOUT);
    uint32_t end = closed(q); // before looking for the last message
    uint64_t head = __atomic_load_n(&r->head, __ATOMIC_RELAXED), from = head; // only stored here
    size_t i;
    uint32_t form;
    int error = end == DISCARDED ? EPIPE : 0;
    for (i = 0; error == 0 && i < n && first(q, &head, &form); i++) {
        size_t length = record_at(q, head)->length;
        if (length > v[i].iov_len) {
            error = EMSGSIZE;
            break;
        }
        queue_copy_out(q, unit_of(head) + (form & WIDE ? 2 : 1), v[i].iov_base, length);
        v[i].iov_len = length;
        head = form == PLAIN ? past(head, (uint32_t)units_for(length, false)) : behind(q, head);
    }
    if (head != from)
        store_place(&r->head, head);
    bool ended = end != OPEN && unit_of(head) == unit_of(load_place(&r->tail));
    brief_unlock(&r->get_lock);
    if (head != from)
        ring_all(&r->putters);
    if (i != 0)
        return (ssize_t)i;
    if (error == 0 && ended)
        error = EPIPE;
    return error != 0 ? fail_with(error) : 0;
}

void weft::queue_skip_pads(weft_shared_queue *q)
{
    ring *r = q->r;
    if (brief_lock(&r->get_lock, WEFT_NOW) == ETIMEDOUT)
        return;
    uint64_t head = r->head;
    uint32_t form;
    first(q, &head, &form);
    bool moved = head != r->head;
    store_place(&r->head, head);
    brief_unlock(&r->get_lock);
    if (moved)
        ring_all(&r->putters);
}

ssize_t weft_shared_queue_get_many(weft_shared_queue *q, struct iovec *messages, size_t n,
                                   weft_deadline d)
{
    if (q == nullptr || q->r->leases)
        return fail_with(EINVAL);
    if (n == 0)
        return 0;
    for (int error = 0, slept = 0;; slept = 1) {
        if (slept && !queue_gettable(q, 0))
            queue_skip_dead(q);
        ssize_t got = queue_gettable(q, 0) ? try_get(q, messages, n, d) : 0;
        if (slept)
            queue_pass_on(q);
        if (got != 0)
            return got;
        if (error == ETIMEDOUT)
            queue_found_empty(q);
        if (error != 0)
            return fail_with(error);
        error = queue_wait(q, &q->r->getters, queue_gettable, 0, d);
    }
}

ssize_t weft_shared_queue_get(weft_shared_queue *q, void *message, size_t room, weft_deadline d)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    struct iovec one = {message, room};
    return weft_shared_queue_get_many(q, &one, 1, d) == 1 ? (ssize_t)one.iov_len : -1;
}

ssize_t weft_shared_queue_next_size(weft_shared_queue *q)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    ring *r = q->r;
    uint32_t *lock = r->leases ? &r->put_lock : &r->get_lock;
    if ((r->leases ? lease_lock(q, WEFT_NOW) : brief_lock(lock, WEFT_NOW)) == ETIMEDOUT)
        return fail_with(ETIMEDOUT);
    uint64_t place = r->head;
    uint32_t form;
    bool there =
        closed(q) != DISCARDED && (r->leases ? lease_choose(q, &place) : first(q, &place, &form));
    ssize_t size = there ? (ssize_t)record_at(q, place)->length : 0;
    brief_unlock(lock);
    return there ? size : fail_with(ETIMEDOUT);
}
