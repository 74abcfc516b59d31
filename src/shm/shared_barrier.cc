// shared_barrier.cc: a barrier whose whole state is one word.
//
// The round's number, how many have arrived and what broke it change together by one store.  A
// process is written down before it arrives, with the round.  Whether a round failed is noted, for
// waiters slow to wake, before its number changes: who dies in between has changed nothing.
//
// One rule for the dead, whoever looks and when: a round can't end well if one of its dead was to
// be in it, which is who has arrived in it, or has entered and not left.  The last to come looks
// before it ends the round, and those who wait look meanwhile.  Who has only been in rounds that
// are over breaks nothing, and its place is anybody's.
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
    uint8_t unused;
};
} // namespace
enum { NOTED = 8 * sizeof(weft_shared_barrier::failures) }; // rounds
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
    if (b == nullptr || parties == 0 || parties > UINT16_MAX)
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

static uint32_t round_of(const weft_shared_barrier *b)
{
    return load(b).round;
}

// Whether the round needs this one.
static bool is_due(const weft_shared_barrier *b, const weft_shared_party *p)
{
    return p->who != 0 && (p->entered || (p->arrived && p->round == round_of(b)));
}

// The party that `who` (0: a free one) is, or NULL.
static weft_shared_party *party(weft_shared_barrier *b, uint64_t who)
{
    for (uint32_t i = 0; i < b->used; i++)
        if (b->members[i].who == who)
            return &b->members[i];
    return nullptr;
}

// One whose place may be taken: it is not needed.
static weft_shared_party *spare(weft_shared_barrier *b)
{
    for (uint32_t i = 0; i < b->used; i++)
        if (!is_due(b, &b->members[i]))
            return &b->members[i];
    return nullptr;
}

static uint64_t *note_of(const weft_shared_barrier *b, uint32_t round)
{
    return (uint64_t *)&b->failures[round / 64 % (NOTED / 64)];
}

static void end_round(weft_shared_barrier *b, bool failed)
{
    barrier_state s = load(b);
    uint64_t *note = note_of(b, s.round), bit = (uint64_t)1 << s.round % 64;
    __atomic_store_n(note, failed ? *note | bit : *note & ~bit, __ATOMIC_RELEASE);
    s.round++;
    s.arrived = 0;
    s.broken = 0;
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

static bool is_dead(const weft_shared_party *p)
{
    return p->who != 0 && !holder_lives(p->who);
}

// The place of a dead one that the round needs, among n from `first` on: so it breaks the barrier.
static weft_shared_party *break_by_dead(weft_shared_barrier *b, uint32_t first, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        weft_shared_party *p = &b->members[(first + i) % b->used];
        if (!is_due(b, p) || !is_dead(p))
            continue;
        breaks(b, EOWNERDEAD);
        return p;
    }
    return nullptr;
}

// The same for who waits: two at a time, so that a look costs little.
static bool broken_by_some(weft_shared_barrier *b)
{
    const uint32_t few = b->used < 2 ? b->used : 2;
    return break_by_dead(b, (uint32_t)(weft_now() / HEAL) * few, few) != nullptr;
}

// The caller's place, its own or a new one; NULL: none is left.
static weft_shared_party *place_for(weft_shared_barrier *b, uint64_t who)
{
    weft_shared_party *p = party(b, who);
    if (p != nullptr)
        return p;
    if ((p = party(b, 0)) == nullptr && b->used < WEFT_SHARED_HOLDERS) {
        p = &b->members[b->used];
        __atomic_store_n(&b->used, b->used + 1, __ATOMIC_RELEASE);
    }
    if (p == nullptr && (p = spare(b)) == nullptr && (p = break_by_dead(b, 0, b->used)) == nullptr)
        return nullptr;
    // Nobody's, until it is whole.
    __atomic_store_n(&p->who, 0, __ATOMIC_RELEASE);
    p->entered = p->arrived = 0;
    __atomic_store_n(&p->who, who, __ATOMIC_RELEASE);
    return p;
}

static void forget_dead(weft_shared_barrier *b)
{
    for (uint32_t i = 0; i < b->used; i++) {
        if (is_dead(&b->members[i]))
            __atomic_store_n(&b->members[i].who, 0, __ATOMIC_RELEASE);
    }
}

// ---- waiting ----

// How `round` ended: 0 or an errno; EAGAIN: it has not.
static int outcome(const weft_shared_barrier *b, uint32_t round)
{
    barrier_state s = load(b);
    if (s.round == round)
        return s.broken != 0 ? s.broken : EAGAIN;
    bool failed = __atomic_load_n(note_of(b, round), __ATOMIC_ACQUIRE) >> round % 64 & 1;
    // Of a round that long ago it is not known whether all came.
    return failed || round_of(b) - round >= NOTED ? EPIPE : 0;
}

// The wait ended with `error` or, if that is 0, may have to because somebody died.
static int give_up(weft_shared_barrier *b, uint32_t round, int error)
{
    brief_lock(&b->lock, WEFT_FOREVER);
    int code = outcome(b, round);
    if (code == EAGAIN && error != 0) {
        code = error;
        breaks(b, EPIPE);
    } else if (code == EAGAIN && broken_by_some(b)) {
        code = EOWNERDEAD;
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
            error = doorbell_sleep(&b->rings, seen, d, &b->look);
        if (outcome(b, round) != EAGAIN && doorbell_count(&b->rings) == seen)
            ring(b); // whoever ended it was killed before it rang
        if (outcome(b, round) == EAGAIN && (code = give_up(b, round, error)) != EAGAIN)
            return code;
    }
}

// Under the lock: 0 and *last, or why the caller can't come.
static int arrive(weft_shared_barrier *b, uint64_t self, bool *last)
{
    barrier_state s = load(b);
    if (s.broken != 0)
        return s.broken;
    weft_shared_party *p = place_for(b, self);
    if (p == nullptr)
        return EUSERS;
    if (load(b).broken != 0) // by the one whose place it was
        return EOWNERDEAD;
    p->round = s.round;
    __atomic_store_n(&p->arrived, 1, __ATOMIC_RELEASE);
    *last = s.arrived + 1u == b->parties;
    if (*last && break_by_dead(b, 0, b->used) != nullptr)
        return EOWNERDEAD;
    if (*last) {
        end_round(b, false);
    } else {
        s.arrived++;
        store(b, s);
    }
    return 0;
}

int weft_shared_barrier_wait(weft_shared_barrier *b, weft_deadline d)
{
    if (b == nullptr)
        return fail_with(EINVAL);
    uint64_t self = holder_self();
    bool last = false;
    if (brief_lock(&b->lock, d) == ETIMEDOUT)
        return fail_with(ETIMEDOUT);
    uint32_t round = round_of(b);
    int error = arrive(b, self, &last);
    brief_unlock(&b->lock);
    if (last || error == EOWNERDEAD)
        ring(b);
    else if (error == 0)
        error = wait_for_end(b, round, d);
    return error != 0 ? fail_with(error) : last;
}

// ---- members, break, reset ----

int weft_shared_barrier_enter(weft_shared_barrier *b)
{
    if (b == nullptr)
        return fail_with(EINVAL);
    uint64_t self = holder_self();
    brief_lock(&b->lock, WEFT_FOREVER);
    weft_shared_party *p = place_for(b, self);
    if (p != nullptr)
        p->entered = 1;
    bool broken = load(b).broken != 0; // maybe by who had the place
    brief_unlock(&b->lock);
    if (broken)
        ring(b);
    return p == nullptr ? fail_with(EUSERS) : 0;
}

int weft_shared_barrier_leave(weft_shared_barrier *b)
{
    if (b == nullptr)
        return fail_with(EINVAL);
    uint64_t self = holder_self();
    brief_lock(&b->lock, WEFT_FOREVER);
    weft_shared_party *p = party(b, self);
    if (p != nullptr && !(p->arrived && p->round == round_of(b)))
        __atomic_store_n(&p->who, 0, __ATOMIC_RELEASE);
    else if (p != nullptr)
        p->entered = 0; // another thread waits: its arrival counts
    brief_unlock(&b->lock);
    return p != nullptr ? 0 : fail_with(EINVAL);
}

int weft_shared_barrier_abort(weft_shared_barrier *b)
{
    if (b == nullptr)
        return fail_with(EINVAL);
    brief_lock(&b->lock, WEFT_FOREVER);
    breaks(b, EPIPE);
    brief_unlock(&b->lock);
    ring(b);
    return 0;
}

int weft_shared_barrier_reset(weft_shared_barrier *b)
{
    if (b == nullptr)
        return fail_with(EINVAL);
    brief_lock(&b->lock, WEFT_FOREVER);
    forget_dead(b);
    end_round(b, true);
    brief_unlock(&b->lock);
    ring(b);
    return 0;
}

bool weft_shared_barrier_is_broken(weft_shared_barrier *b)
{
    return b != nullptr && load(b).broken != 0;
}

uint32_t weft_shared_barrier_waiting(weft_shared_barrier *b)
{
    return b != nullptr ? load(b).arrived : 0;
}
