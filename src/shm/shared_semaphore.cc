// shared_semaphore.cc: a semaphore that knows who holds its units.
//
// What is free is never stored: it is all units less those that processes hold, and each of
// these has its own count.  So taking and giving back is one store to that count, and a
// dead process's units come back by setting its count to 0.  A holder whose count is 0
// holds nothing, whatever else stands there: its place is free.
//
// Anonymous units have no holders: all there are are free.
#include "brief_lock.h"
#include "doorbell.h"

#include <base/errno.h>
#include <weft/shared_sync.h>

#include <string.h>

using namespace weft;

int weft_shared_semaphore_init(weft_shared_semaphore *s, uint32_t count, uint32_t limit)
{
    if (s == nullptr || (limit != 0 && count > limit))
        return fail_with(EINVAL);
    memset(s, 0, sizeof *s);
    s->count = count;
    s->limit = limit;
    return 0;
}

int weft_shared_semaphore_init_anonymous(weft_shared_semaphore *s, uint32_t count, uint32_t limit)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    if (weft_shared_semaphore_init(s, count, limit) != 0)
        return -1;
    s->anonymous = 1;
    return 0;
}

// ---- under the lock ----

static uint32_t free_units(const weft_shared_semaphore *s)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < s->used; i++)
        held += s->holders[i].count;
    return s->count - held;
}

static void set_count(weft_shared_holder *h, uint32_t count)
{
    // Release: a holder's name is there before its count is.
    __atomic_store_n(&h->count, count, __ATOMIC_RELEASE);
}

static weft_shared_holder *place_of(weft_shared_semaphore *s, uint64_t who)
{
    for (uint32_t i = 0; i < s->used; i++)
        if (s->holders[i].who == who && s->holders[i].count != 0)
            return &s->holders[i];
    return nullptr;
}

static weft_shared_holder *new_place(weft_shared_semaphore *s)
{
    for (uint32_t i = 0; i < s->used; i++)
        if (s->holders[i].count == 0)
            return &s->holders[i];
    if (s->used == WEFT_SHARED_HOLDERS)
        return nullptr;
    return &s->holders[s->used++];
}

// Takes back what dead processes hold; how many units.
static uint32_t take_back(weft_shared_semaphore *s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->used; i++) {
        weft_shared_holder *h = &s->holders[i];
        if (h->count != 0 && !holder_lives(h->who)) {
            n += h->count;
            set_count(h, 0);
        }
    }
    return n;
}

// 0, EAGAIN or EUSERS.
static int take(weft_shared_semaphore *s, uint64_t self)
{
    if (free_units(s) == 0)
        return EAGAIN;
    if (s->anonymous) {
        s->count--;
        return 0;
    }
    weft_shared_holder *h = place_of(s, self);
    if (h == nullptr) {
        h = new_place(s);
        if (h == nullptr)
            return EUSERS;
        h->who = self;
    }
    set_count(h, h->count + 1);
    return 0;
}

// ---- the calls ----

// 0, EAGAIN, EUSERS or ETIMEDOUT.  When it fails, may look for the dead and try again.
static int try_take(weft_shared_semaphore *s, bool look, weft_deadline d)
{
    uint64_t self = holder_self();
    uint32_t back = 0;
    if (brief_lock(&s->lock, d) == ETIMEDOUT)
        return ETIMEDOUT;
    int error = take(s, self);
    if (error != 0 && look && (back = take_back(s)) != 0)
        error = take(s, self);
    brief_unlock(&s->lock);
    if (back > 1)
        doorbell_ring_each(&s->posts, &s->armed, INT_MAX);
    return error;
}

int weft_shared_semaphore_wait(weft_shared_semaphore *s, weft_deadline d)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    for (int error = d <= WEFT_NOW ? ETIMEDOUT : 0, first = 1;; first = 0) {
        uint32_t seen = doorbell_count(&s->posts);
        if (!first)
            doorbell_arm_each(&s->armed);
        int code = try_take(s, !first || error != 0, d);
        if (code == 0)
            return 0;
        if (code == ETIMEDOUT || (code == EUSERS && (!first || error != 0)))
            return fail_with(code);
        if (error != 0) {
            doorbell_ring_each(&s->posts, &s->armed, 1); // the last may have been spent on us
            return fail_with(error);
        }
        if (!first)
            error = doorbell_sleep(&s->posts, seen, d, &s->look);
    }
}

int weft_shared_semaphore_post(weft_shared_semaphore *s)
{
    return weft_shared_semaphore_post_n(s, 1);
}

int weft_shared_semaphore_post_n(weft_shared_semaphore *s, uint32_t n)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    uint64_t self = holder_self();
    brief_lock(&s->lock, WEFT_FOREVER);
    weft_shared_holder *h = place_of(s, self);
    uint32_t back = h == nullptr ? 0 : h->count < n ? h->count : n;
    bool over = n - back > (s->limit != 0 ? s->limit : UINT32_MAX) - s->count;
    if (!over) {
        // Who is killed between the two stores gives the rest back by its death.
        __atomic_store_n(&s->count, s->count + n - back, __ATOMIC_RELEASE);
        if (h != nullptr)
            set_count(h, h->count - back);
    }
    brief_unlock(&s->lock);
    if (over)
        return fail_with(EOVERFLOW);
    if (n != 0)
        doorbell_ring_each(&s->posts, &s->armed, n < INT_MAX ? (int)n : INT_MAX);
    return 0;
}

uint32_t weft_shared_semaphore_value(weft_shared_semaphore *s)
{
    if (s == nullptr)
        return 0;
    brief_lock(&s->lock, WEFT_FOREVER);
    uint32_t back = take_back(s), n = free_units(s);
    brief_unlock(&s->lock);
    if (back != 0)
        doorbell_ring_each(&s->posts, &s->armed, INT_MAX);
    return n;
}
