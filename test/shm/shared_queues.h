// shared_queues.h: a shared queue for a test and its children.
#ifndef WEFT_TEST_SHARED_QUEUES_H
#define WEFT_TEST_SHARED_QUEUES_H

#include "processes.h"

#include <weft/shared_queue.h>

#include <errno.h>

static weft_shared_queue *queue_of(size_t bytes, bool leases)
{
    weft_shared_queue_options o = {};
    o.leases = leases;
    o.spin = -1;
    weft_shared_queue *q = weft_shared_queue_create(nullptr, bytes, &o);
    assert_non_null(q);
    return q;
}

#endif
