// worker.h: what a worker process counts, in memory that it shares with its master alone.
#ifndef WEFT_ASYNC_WORKER_H
#define WEFT_ASYNC_WORKER_H

#include <stdint.h>

namespace weft {

struct worker_counts {
    uint64_t accepted; // connections that have begun
    int64_t now;       // and have not ended
};

inline worker_counts *counts_here; // in a worker; else null

// So many connections begin, or, below 0, end.
static inline void count_connections(int by)
{
    worker_counts *c = counts_here;
    if (c == nullptr)
        return;
    if (by > 0)
        __atomic_fetch_add(&c->accepted, (uint64_t)by, __ATOMIC_RELAXED);
    __atomic_fetch_add(&c->now, by, __ATOMIC_RELAXED);
}

} // namespace weft

#endif
