// shared_barrier.cc: a barrier whose whole state is one word.
//
// The round's number, how many have arrived, what broke it, and how the last eight rounds
// ended (for waiters slow to wake) change together by one store.  Who waits here is written
// down as a member before it arrives; waiters look every 50 ms whether all members
// live, and if not, break the barrier.
#include "brief_lock.h"
#include "doorbell.h"

#include <base/errno.h>
#include <weft/shared_sync.h>

#include <string.h>

using namespace weft;

namespace {
struct barrier_state {
    uint32_t round;
    uint16_t arrived;
    uint8_t broken; // 0, EPIPE or EOWNERDEAD
    uint8_t failed; // bit k: the round before the last k rounds failed
};
} // namespace
static_assert(sizeof(barrier_state) == 8 && EOWNERDEAD < 256 && EPIPE < 256, "one word");

static barrier_state load(const weft_shared_barrier *b)
{
    uint64_t word = __atomic_load_n(&b->state, __ATOMIC_SEQ_CST);
    barrier_state s;
    memcpy(&s, &word, sizeof s);
    return s;
}

static void store(weft_shared_barrier *b, barrier_state s)
{
    uint64_t word;
    memcpy(&word, &s, sizeof word);
    __atomic_store_n(&b->state, word, __ATOMIC_SEQ_CST);
}

int weft_shared_barrier_init(weft_shared_barrier *b, uint32_t parties)
{
    if (parties == 0 || parties > UINT16_MAX)
        return fail_with(EINVAL);
    memset(b, 0, sizeof *b);
    b->parties = parties;
    return 0;
}

static void ring(weft_shared_barrier *b)
{
    doorbell_ring_each(&b->rings, &b->armed, INT_MAX);
}

// ---- under the lock ----

// The slot that holds `who` (0: a free one), or NULL.
static uint64_t *member(weft_shared_barrier *b, uint64_t who)
{
    for (uint32_t i = 0; i < b->used; i++)
        if (b->members[i] == who)
            return &b->members[i];
    return nullptr;
}

static int enter(weft_shared_barrier *b, uint64_t who)
{
    if (member(b, who) != nullptr)
        return 0;
    uint64_t *slot = member(b, 0);
    if (slot == nullptr && b->used < WEFT_SHARED_HOLDERS)
        slot = &b->members[b->used];
    if (slot == nullptr)
        return EUSERS;
    __atomic_store_n(slot, who, __ATOMIC_RELEASE);
    // Only now it counts.
    if (slot == &b->members[b->used])
        __atomic_store_n(&b->used, b->used + 1, __ATOMIC_RELEASE);
    return 0;
}

static void end_round(weft_shared_barrier *b, bool failed)
{
    barrier_state s = load(b);
    s.round++;
    s.arrived = 0;
    s.broken = 0;
    s.failed = (uint8_t)(s.failed << 1 | failed);
    store(b, s);
}

static void breaks(weft_shared_barrier *b, int error)
{
    barrier_state s = load(b);
    if (s.broken == 0) {
        s.broken = (uint8_t)error;
        s.arrived = 0;
        store(b, s);
    }
}

static bool dead_member(weft_shared_barrier *b, bool forget)
{
    bool found = false;
    for (uint32_t i = 0; i < b->used; i++) {
        uint64_t who = b->members[i];
        if (who == 0 || holder_lives(who))
            continue;
        found = true;
        if (forget)
            __atomic_store_n(&b->members[i], 0, __ATOMIC_RELEASE);
    }
    return found;
}

// ---- waiting ----

// How `round` ended: 0 or an errno; EAGAIN: it has not.
static int outcome(const weft_shared_barrier *b, uint32_t round)
{
    barrier_state s = load(b);
    uint32_t ago = s.round - round;
    if (ago == 0)
        return s.broken != 0 ? s.broken : EAGAIN;
    return ago <= 8 && (s.failed >> (ago - 1) & 1) ? EPIPE : 0;
}

// The wait ended with `error` or, if that is 0, may have to because somebody died.
static int give_up(weft_shared_barrier *b, uint32_t round, int error)
{
    brief_lock(&b->lock, WEFT_FOREVER);
    int code = outcome(b, round);
    if (code == EAGAIN && (error != 0 || dead_member(b, false))) {
        code = error != 0 ? error : EOWNERDEAD;
        breaks(b, error != 0 ? EPIPE : EOWNERDEAD);
    }
    brief_unlock(&b->lock);
    if (code != EAGAIN)
        ring(b);
    return code;
}

// Waits for the end of `round`; 0 or an errno.
static int wait_for_end(weft_shared_barrier *b, uint32_t round, weft_deadline d)
{
    for (int code, error = d <= WEFT_NOW ? ETIMEDOUT : 0;;) {
        uint32_t seen = doorbell_count(&b->rings);
        doorbell_arm_each(&b->armed);
        if ((code = outcome(b, round)) != EAGAIN)
            return code;
        if (error == 0)
            error = doorbell_sleep(&b->rings, seen, d);
        if (outcome(b, round) == EAGAIN && (code = give_up(b, round, error)) != EAGAIN)
            return code;
    }
}

int weft_shared_barrier_wait(weft_shared_barrier *b, weft_deadline d)
{
    uint64_t self = holder_self();
    if (brief_lock(&b->lock, d) == ETIMEDOUT)
        return fail_with(ETIMEDOUT);
    barrier_state s = load(b);
    int error = s.broken != 0 ? s.broken : enter(b, self);
    bool last = error == 0 && s.arrived + 1u == b->parties;
    if (last) {
        end_round(b, false);
    } else if (error == 0) {
        s.arrived++;
        store(b, s);
    }
    brief_unlock(&b->lock);
    if (last)
        ring(b);
    else if (error == 0)
        error = wait_for_end(b, s.round, d);
    return error != 0 ? fail_with(error) : last;
}

// ---- members, break, reset ----

int weft_shared_barrier_enter(weft_shared_barrier *b)
{
    uint64_t self = holder_self();
    brief_lock(&b->lock, WEFT_FOREVER);
    int error = enter(b, self);
    brief_unlock(&b->lock);
    return error != 0 ? fail_with(error) : 0;
}

int weft_shared_barrier_leave(weft_shared_barrier *b)
{
    uint64_t self = holder_self();
    brief_lock(&b->lock, WEFT_FOREVER);
    uint64_t *slot = member(b, self);
    if (slot != nullptr)
        __atomic_store_n(slot, 0, __ATOMIC_RELEASE);
    brief_unlock(&b->lock);
    return slot != nullptr ? 0 : fail_with(EINVAL);
}

int weft_shared_barrier_abort(weft_shared_barrier *b)
{
    brief_lock(&b->lock, WEFT_FOREVER);
    breaks(b, EPIPE);
    brief_unlock(&b->lock);
    ring(b);
    return 0;
}

int weft_shared_barrier_reset(weft_shared_barrier *b)
{
    brief_lock(&b->lock, WEFT_FOREVER);
    dead_member(b, true);
    end_round(b, true);
    brief_unlock(&b->lock);
    ring(b);
    return 0;
}

bool weft_shared_barrier_is_broken(weft_shared_barrier *b)
{
    return load(b).broken != 0;
}

uint32_t weft_shared_barrier_waiting(weft_shared_barrier *b)
{
    return load(b).arrived;
}
