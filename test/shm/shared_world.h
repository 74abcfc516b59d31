// shared_world.h: what tests of shared_sync.h share with their children.
#ifndef WEFT_TEST_SHARED_WORLD_H
#define WEFT_TEST_SHARED_WORLD_H

#include "processes.h"

#include <weft/shared_sync.h>
#include <weft/shm.h>

#include <errno.h>

// These tests unlock what they don't own, and lock in any order, on purpose.
extern "C" const char *__tsan_default_options(void)
{
    return "report_mutex_bugs=0:report_destroy_locked=0:detect_deadlocks=0";
}

// What all tests share with their children.
struct world {
    weft_shared_value value, other;
    weft_shared_mutex mutex;
    weft_shared_condition condition;
    weft_shared_semaphore semaphore;
    weft_shared_barrier barrier;
    weft_shared_event event;
    weft_shared_array array; // and behind it its items
};
static weft_shm *segment;
static struct world *w;

static inline int begin(void **state)
{
    census_begin(state);
    segment = weft_shm_create(nullptr, 1 << 16, nullptr);
    w = (struct world *)weft_shm_allocate(segment, sizeof *w + 4096);
    return 0;
}

static inline int end(void **state)
{
    weft_shm_detach(segment);
    return census_end(state);
}

static inline void reach(weft_shared_value *v, int64_t n)
{
    while (weft_shared_value_get(v) < n)
        usleep(200);
}

#endif
