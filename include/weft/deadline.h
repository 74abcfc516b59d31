/* deadline.h: when to stop waiting.
 *
 * A call that can wait takes a deadline as its last argument, a time on the monotonic clock:
 *
 *     weft_deadline d = weft_in_ms(250);
 *     if (weft_queue_get(in, &item, d) == 0)
 *         weft_queue_put(out, &item, d);
 *
 * Setting the wall clock moves no deadline.  Nothing here waits or fails.
 */
#ifndef WEFT_DEADLINE_H
#define WEFT_DEADLINE_H

#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef CLOCK_MONOTONIC /* strict -std=c11 hides it: POSIX.1-2008 clock_gettime */
int clock_gettime(int clock, struct timespec *t);
#define WEFT_CLOCK_MONOTONIC 1
#else
#define WEFT_CLOCK_MONOTONIC CLOCK_MONOTONIC
#endif

/* Nanoseconds on CLOCK_MONOTONIC. */
typedef int64_t weft_deadline;

/* Never wait: what can't be done at once fails with ETIMEDOUT. */
#define WEFT_NOW INT64_C(0)

/* Wait as long as it takes. */
#define WEFT_FOREVER INT64_MAX

/* The monotonic clock, in nanoseconds (POSIX clock_gettime; no system call on Linux). */
static inline int64_t weft_now(void)
{
    struct timespec t;
    int64_t s;
    clock_gettime(WEFT_CLOCK_MONOTONIC, &t);
    s = t.tv_sec;
    return s * 1000000000 + t.tv_nsec;
}

/* The deadline `ns` nanoseconds from now.  A span of 0 or less is WEFT_NOW; one
 * that would overflow is WEFT_FOREVER. */
static inline weft_deadline weft_in_ns(int64_t ns)
{
    int64_t now;
    if (ns <= 0)
        return WEFT_NOW;
    now = weft_now();
    return ns >= WEFT_FOREVER - now ? WEFT_FOREVER : now + ns;
}

/* The same in microseconds, milliseconds and seconds. */
static inline weft_deadline weft_in_us(int64_t us)
{
    return us >= INT64_MAX / 1000 ? WEFT_FOREVER : weft_in_ns(us <= 0 ? 0 : us * 1000);
}

static inline weft_deadline weft_in_ms(int64_t ms)
{
    return ms >= INT64_MAX / 1000000 ? WEFT_FOREVER : weft_in_ns(ms <= 0 ? 0 : ms * 1000000);
}

static inline weft_deadline weft_in_s(int64_t s)
{
    return s >= INT64_MAX / 1000000000 ? WEFT_FOREVER : weft_in_ns(s <= 0 ? 0 : s * 1000000000);
}

/* Nanoseconds left until `d`: 0 when it has passed (and for WEFT_NOW),
 * WEFT_FOREVER for WEFT_FOREVER. */
static inline int64_t weft_left(weft_deadline d)
{
    int64_t now;
    if (d == WEFT_FOREVER || d <= 0)
        return d <= 0 ? 0 : WEFT_FOREVER;
    now = weft_now();
    return d > now ? d - now : 0;
}

#ifdef __cplusplus
}
#endif

#endif
