// gated.h: executors, and tasks that hold their workers.
#ifndef WEFT_TEST_GATED_H
#define WEFT_TEST_GATED_H

#include "asleep.h"
#include "closing.h"

#include <weft/executor.h>
#include <weft/sync.h>

static inline weft_executor *create(int threads)
{
    weft_executor *ex = weft_executor_create(threads, NULL);
    assert_non_null(ex);
    return ex;
}

static inline void drain(weft_executor *ex)
{
    assert_int_equal(weft_executor_destroy(ex), 0);
}

// A task that occupies a worker until its gate opens.
typedef struct gate {
    weft_event open;
    int inside; // atomic
} gate;

static inline void *pass(void *arg)
{
    gate *g = (gate *)arg;
    add_word(&g->inside);
    return weft_event_wait(&g->open, WEFT_FOREVER) == 0 ? arg : NULL;
}

static inline void gate_init(gate *g)
{
    assert_int_equal(weft_event_init(&g->open), 0);
    g->inside = 0;
}

#endif
