// shared_queue_create.cc: making, finding and ending a shared queue.
#include "queue_ring.h"
#include "shm_segment.h"

#include <base/errno.h>

using namespace weft;

static const int DEFAULT_SPIN = 1000;

static weft_shared_queue *handle_new(weft_shm *s, ring *r)
{
    weft_shared_queue *q = (weft_shared_queue *)calloc(1, sizeof *q);
    if (q == nullptr)
        return nullptr;
    q->r = r;
    q->shm = s;
    q->mask = r->units - 1;
    q->spin = r->spin / 8;
    q->watch = q->ticks = q->watch_set = -1;
    return q;
}

static uint64_t power_of_two(uint64_t n)
{
    uint64_t p = 4;
    while (p < n)
        p *= 2;
    return p;
}

static void ring_init(ring *r, uint64_t units, const weft_shared_queue_options *o)
{
    memset((void *)r, 0, sizeof *r);
    r->room = (uint32_t)units;
    r->units = (uint32_t)(o->leases ? 2 * units : units);
    r->leases = o->leases;
    r->lease_ns = o->lease_ns != 0 ? o->lease_ns : WEFT_FOREVER;
    r->spin = (uint32_t)(o->spin == 0 ? DEFAULT_SPIN : o->spin < 0 ? 0 : o->spin);
    r->magic = RING_MAGIC;
}

weft_shared_queue *weft_shared_queue_create(weft_shm *s, size_t bytes,
                                            const weft_shared_queue_options *opts)
{
    static const weft_shared_queue_options defaults = {};
    const weft_shared_queue_options *o = opts != nullptr ? opts : &defaults;
    if (bytes == 0 || bytes > (size_t)1 << (o->leases ? 31 : 32) || o->lease_ns < 0) {
        errno = EINVAL;
        return nullptr;
    }
    uint64_t units = power_of_two((bytes + 7) / 8);
    size_t size = sizeof(ring) + units * (o->leases ? 16 : 8);
    bool own = s == nullptr;
    if (own && (s = weft_shm_create(nullptr, size + 64, nullptr)) == nullptr)
        return nullptr;

    ring *r = (ring *)weft_shm_allocate(s, size);
    if (r != nullptr)
        ring_init(r, units, o);
    weft_shared_queue *q = r != nullptr ? handle_new(s, r) : nullptr;
    if (q != nullptr) {
        q->owns_shm = own;
        return q;
    }
    int saved = errno;
    weft_shm_free(s, r);
    if (own)
        weft_shm_detach(s);
    errno = saved;
    return nullptr;
}

uint64_t weft_shared_queue_offset(const weft_shared_queue *q)
{
    return q != nullptr ? weft_shm_offset(q->shm, q->r) : 0;
}

// The ring at `offset`, if one lies there whole.
static ring *ring_at(const weft_shm *s, uint64_t offset)
{
    ring *r = (ring *)weft_shm_at(s, offset);
    if (r == nullptr || offset % 64 != 0)
        return nullptr;
    size_t before = (size_t)((char *)r - (char *)weft_shm_address(s)), size = weft_shm_size(s);
    if (before > size || size - before < sizeof *r || r->magic != RING_MAGIC ||
        (size - before - sizeof *r) / 8 < r->units)
        return nullptr;
    return r;
}

weft_shared_queue *weft_shared_queue_attach(weft_shm *s, uint64_t offset)
{
    ring *r = ring_at(s, offset);
    if (r == nullptr || s->read_only) {
        errno = r == nullptr ? EINVAL : EACCES;
        return nullptr;
    }
    return handle_new(s, r);
}

int weft_shared_queue_detach(weft_shared_queue *q)
{
    if (q == nullptr)
        return fail_with(EINVAL);
    int saved = errno;
    queue_unwatch(q);
    if (q->owns_shm)
        weft_shm_detach(q->shm);
    free(q);
    errno = saved;
    return 0;
}

int weft_shared_queue_destroy(weft_shared_queue *q)
{
    if (q == nullptr)
        return 0;
    if (q == nullptr)
        return fail_with(EINVAL);
    ring *r = q->r;
    if (brief_lock(&r->put_lock, WEFT_NOW) == ETIMEDOUT)
        return fail_with(EBUSY);
    brief_unlock(&r->put_lock);
    if (brief_lock(&r->get_lock, WEFT_NOW) == ETIMEDOUT)
        return fail_with(EBUSY);
    brief_unlock(&r->get_lock);
    r->magic = 0;
    weft_shm_free(q->shm, r);
    return weft_shared_queue_detach(q);
}
