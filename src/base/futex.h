// futex.h: sleep until a 32-bit word changes (futex(2)).
//
// A wait compares and sleeps in one step: if the word no longer holds `expected`
// the call returns at once, so a waker that first changes the word and then
// wakes can't be missed.  Wakes without a cause happen; callers loop.
#ifndef WEFT_BASE_FUTEX_H
#define WEFT_BASE_FUTEX_H

#include "time.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace weft {

// Sleeps while *word == expected.  0: awake, for whatever reason; else ETIMEDOUT.
// `shared`: the word lies in memory that other processes map.  Leaves errno alone.
static inline int futex_wait(const uint32_t *word, uint32_t expected, weft_deadline d, int shared)
{
    int saved = errno, error = 0;
    struct timespec t = timespec_of(d < 0 ? 0 : d);
    // FUTEX_WAIT_BITSET takes an absolute time on CLOCK_MONOTONIC; FUTEX_WAIT a span.
    int op = shared ? FUTEX_WAIT_BITSET : FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG;
    if (syscall(SYS_futex, word, op, expected, d == WEFT_FOREVER ? nullptr : &t, nullptr,
                FUTEX_BITSET_MATCH_ANY) != 0 &&
        errno == ETIMEDOUT)
        error = ETIMEDOUT;
    errno = saved;
    return error;
}

// Wakes up to `count` sleepers (INT_MAX: all); how many there were.  Leaves errno alone, also
// when the word has been unmapped since: a wake may come after its object's end.
static inline int futex_wake(const uint32_t *word, int count, int shared)
{
    int saved = errno;
    long n = syscall(SYS_futex, word, shared ? FUTEX_WAKE : FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count,
                     nullptr, nullptr, 0);
    errno = saved;
    return n > 0 ? (int)n : 0;
}

// Between two looks at what another processor is about to change.
static inline void spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

} // namespace weft

#endif
