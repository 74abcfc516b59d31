// trace.h: what the code under test noted, in its order.
#ifndef WEFT_TEST_CORO_TRACE_H
#define WEFT_TEST_CORO_TRACE_H

#include "../runner.h"

#include <errno.h>

#define V(n) ((void *)(intptr_t)(n))

static char trace[256];

static inline void note(const char *what)
{
    strncat(trace, what, sizeof trace - strlen(trace) - 1);
}

// `what`, or the name of the error with which a call failed.
static inline void note_result(int r, const char *what)
{
    note(r < 0 ? strerrorname_np(errno) : what);
    note(" ");
}

// What was noted since the last time.
static inline void assert_noted(const char *expected)
{
    assert_string_equal(trace, expected);
    trace[0] = 0;
}

#endif
