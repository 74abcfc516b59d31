// doorbell.h: sleeping between processes any of which may be killed.
//
// A doorbell holds no state: what is waited for lies elsewhere.  A sleeper reads the count,
// arms the bell, looks once more at what it waits for, and sleeps while the count stays what it
// was; who changes the thing rings, which is one load when nobody has armed.  (The
// change and the look at `armed`, the arming and the look at the thing: all sequentially
// consistent, so one of the two sees the other.)
//
// Whoever was killed between change and ring, or after it was woken in others' place,
// took a wake-up with it.  So somebody looks again every HEAL: one of the sleepers, by a word that
// says when a look is next promised.  Who finds that time over promises the next; the others
// sleep on, and now and then check whether the promises are kept: each less often the more they are
// that do, so that there are one or two checks every HEAL.  So a hundred idle sleepers cost little
// more than two, and one that is killed is missed no later.
#ifndef WEFT_SHM_DOORBELL_H
#define WEFT_SHM_DOORBELL_H

#include <thread/sleep.h>
#include <weft/shared_sync.h>

namespace weft {

static const int64_t HEAL = 50000000, LONGEST_NAP = 256 * HEAL; // ns

static inline uint32_t doorbell_count(const uint32_t *count)
{
    return __atomic_load_n(count, __ATOMIC_SEQ_CST);
}

static inline void doorbell_arm(uint32_t *armed)
{
    __atomic_store_n(armed, 1, __ATOMIC_SEQ_CST);
}

// Whether the look is now the caller's: nobody has promised one that is not due yet.
static inline bool look_is_mine(weft_shared_look *look, int64_t now)
{
    const int unit = 20; // about a millisecond
    uint32_t promised = __atomic_load_n(&look->promised, __ATOMIC_RELAXED);
    uint32_t at = (uint32_t)(now >> unit);
    int32_t left = (int32_t)(promised - at);
    return (left <= 0 || left > (int32_t)(HEAL >> unit)) &&
           __atomic_compare_exchange_n(&look->promised, &promised, at + (uint32_t)(HEAL >> unit),
                                       false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

// After a nap and a check: how long the next nap is, by how many others have checked meanwhile.
static inline int64_t next_nap(weft_shared_look *look, int64_t nap, uint32_t *seen)
{
    uint32_t checks = __atomic_fetch_add(&look->checks, 1, __ATOMIC_RELAXED);
    int64_t others = (int64_t)(checks - *seen) * HEAL;
    *seen = checks + 1;
    if (others > nap)
        return nap < LONGEST_NAP ? nap * 2 : nap;
    return others < nap / 2 && nap > HEAL ? nap / 2 : nap;
}

// Sleeps while *word == seen.  0: look again; ETIMEDOUT: `d` has passed; ECANCELED, unless `how` is
// REGARDLESS.  `look`: see above; null: each for itself.  Leaves errno alone.
static inline int doorbell_sleep(const uint32_t *word, uint32_t seen, weft_deadline d,
                                 weft_shared_look *look, int how = 0)
{
    int64_t now = weft_now(), nap = HEAL;
    // Who will not be here then promises nothing.
    bool mine = look == nullptr || (d > now + HEAL && look_is_mine(look, now));
    uint32_t checks = mine ? 0 : __atomic_load_n(&look->checks, __ATOMIC_RELAXED);
    for (;;) {
        // Not all at once, and not before who has promised could.
        weft_deadline wake = now + nap + (mine ? 0 : HEAL / 8 + (now >> 10) % HEAL / 2);
        int error = sleep_on(word, seen, d < wake ? d : wake, SHARED | how);
        if (error != ETIMEDOUT || d <= wake)
            return error;
        now = weft_now();
        if (mine || look_is_mine(look, now))
            return 0;
        nap = next_nap(look, nap, &checks);
    }
}

// Wakes `n` sleepers for certain.
static inline void doorbell_ring_now(uint32_t *count, uint32_t *armed, int n)
{
    __atomic_store_n(armed, 0, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(count, 1, __ATOMIC_SEQ_CST);
    futex_wake(count, n, 1);
}

// For many sleepers, where whoever is woken wakes the next: a ring disarms.
static inline void doorbell_ring(uint32_t *count, uint32_t *armed, int n)
{
    if (__atomic_load_n(armed, __ATOMIC_SEQ_CST) != 0)
        doorbell_ring_now(count, armed, n);
}

// Where each ring must wake `n` of the sleepers: those arm with a number that is odd and was never
// there before, and a ring disarms only when it has found no more sleepers and nobody has armed
// meanwhile, which the number tells.  One who has armed but doesn't sleep yet won't, since the
// count has changed.
static inline void doorbell_arm_each(uint32_t *armed)
{
    uint32_t seen = __atomic_load_n(armed, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(armed, &seen, (seen + 2) | 1, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED))
        ;
}

static inline void doorbell_ring_each(uint32_t *count, uint32_t *armed, int n)
{
    uint32_t seen = __atomic_load_n(armed, __ATOMIC_SEQ_CST);
    if (!(seen & 1))
        return;
    __atomic_fetch_add(count, 1, __ATOMIC_SEQ_CST);
    if (futex_wake(count, n, 1) < n)
        __atomic_compare_exchange_n(armed, &seen, seen - 1, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
}

} // namespace weft

#endif
