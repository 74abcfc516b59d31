// executing.h: an executor for a test, which ends with nothing left.
#ifndef WEFT_TEST_EXECUTING_H
#define WEFT_TEST_EXECUTING_H

#include "asleep.h"
#include "closing.h"

#include <weft/executor.h>
#include <weft/sync.h>

static weft_executor *ex;

static inline void begin(int threads)
{
    assert_non_null(ex = weft_executor_create(threads, NULL));
}

static inline void end(void)
{
    assert_int_equal(weft_executor_wait(ex, WEFT_FOREVER), 0);
    assert_int_equal(weft_executor_destroy(ex), 0);
}

static inline void *same(void *arg)
{
    return arg;
}

// Occupies a worker until the event is set.
static inline void *pass(void *arg)
{
    weft_event_wait((weft_event *)arg, WEFT_FOREVER);
    return arg;
}

#endif
