// closing.h: the end of an executor, and its counters, in one step, for tests.
#ifndef WEFT_TEST_CLOSING_H
#define WEFT_TEST_CLOSING_H

#include <weft/executor.h>

// Closes and joins it.
static inline int shut(weft_executor *ex, int how, weft_deadline d)
{
    return weft_executor_close(ex, how) == 0 ? weft_executor_join(ex, d) : -1;
}

// How it stands.
static inline weft_executor_counters counters_of(weft_executor *ex)
{
    weft_executor_counters c = {};
    weft_executor_statistics(ex, &c);
    return c;
}

// Closes and destroys it.
static inline int finish(weft_executor *ex, int how)
{
    return weft_executor_close(ex, how) == 0 ? weft_executor_destroy(ex) : -1;
}

#endif
