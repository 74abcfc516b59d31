// counted_waiters.h: a word to sleep on and the number of its sleepers, in one.
//
// Semaphore, event and latch keep their value in the low half of a 64-bit word and the
// number of waiters in the high half.  Whoever changes the value learns from the same
// atomic step whether somebody must be woken, and touches nothing afterwards but the
// address: a woken waiter may destroy the object at once (compare glibc BZ 12674).
#ifndef WEFT_THREAD_COUNTED_WAITERS_H
#define WEFT_THREAD_COUNTED_WAITERS_H

#include "sleep.h"

namespace weft {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the futex is the low half");

static const uint64_t ONE_WAITER = (uint64_t)1 << 32;

static inline uint32_t value_of(uint64_t state)
{
    return (uint32_t)state;
}

static inline uint64_t waiters_of(uint64_t state)
{
    return state >> 32;
}

static inline uint64_t load_state(const uint64_t *state)
{
    return __atomic_load_n(state, __ATOMIC_SEQ_CST);
}

static inline const uint32_t *futex_of(const uint64_t *state)
{
    return (const uint32_t *)(const void *)state;
}

// Replaces the value `old` was read with, keeping the waiters; on failure reads *old anew.
static inline bool change_value(uint64_t *state, uint64_t *old, uint32_t value)
{
    uint64_t next = (*old & ~(uint64_t)UINT32_MAX) | value;
    return __atomic_compare_exchange_n(state, old, next, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

// Sleeps until passed(state, &seen, arg), which may change the value; 0, ETIMEDOUT or ECANCELED.
// Where it has not, `seen` is what it last read, and no older: with a value from before that, which
// another has taken and given back since, we would sleep through what is there.
static inline int wait_until(uint64_t *state,
                             bool (*passed)(uint64_t *state, uint64_t *seen, uint32_t arg),
                             uint32_t arg, weft_deadline d)
{
    uint64_t seen = load_state(state);
    if (passed(state, &seen, arg))
        return 0;
    if (d <= WEFT_NOW)
        return ETIMEDOUT;
    __atomic_fetch_add(state, ONE_WAITER, __ATOMIC_SEQ_CST);
    int error = wait_for(
        d,
        [=, &seen] {
            seen = load_state(state);
            return passed(state, &seen, arg) ? 0 : EAGAIN;
        },
        [=, &seen](weft_deadline until) {
            return sleep_on(futex_of(state), value_of(seen), until, 0);
        });
    __atomic_fetch_sub(state, ONE_WAITER, __ATOMIC_SEQ_CST);
    return error;
}

} // namespace weft

#endif
