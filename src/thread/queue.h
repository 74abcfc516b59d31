// queue.h: a queue under locks, for queue.cc and queue_any.cc; what guards what is told there.
#ifndef WEFT_THREAD_QUEUE_H
#define WEFT_THREAD_QUEUE_H

#include "forked.h"
#include "store.h"

#include <base/errno.h>

#include <weft/queue.h>

struct weft_queue {      // NOLINT(clang-analyzer-optin.performance.Padding): a line for each end
    uint32_t generation; // forked.h
    // Changed with both locks held, read with one.
    int closed;
    int fd; // -1, or readable while `shown`
    // Constant: the locks of the store's ends.
    uint32_t *putting, *getting;
    size_t capacity;
    weft::store store;
    bool shown; // guarded by `putting`
    // Guarded by `getting`.
    size_t done; // items that were put, and reported as such or thrown away
    weft::waiters joiners;
};

namespace weft {

// False: a forked child where nothing here may be used but by destroy.
bool queue_is_ours(void *q);

// With `getting` held, after a change: what needs the other lock, too.
__attribute__((noinline)) void queue_settle(weft_queue *q);

// False: EPERM or EINVAL, in errno.
static inline bool is_usable(weft_queue *q)
{
    if (q == nullptr || !queue_is_ours(q)) {
        errno = q == nullptr ? EINVAL : EPERM;
        return false;
    }
    return true;
}

static inline bool enter_to_get(weft_queue *q)
{
    bool usable = is_usable(q);
    if (usable)
        take_lock(q->getting);
    return usable;
}

static inline size_t items_of(const weft_queue *q)
{
    return store_count(&q->store);
}

static inline void leave_get(weft_queue *q)
{
    if (__builtin_expect(q->fd >= 0 || store_is_sparse(&q->store), 0))
        queue_settle(q);
    drop_lock(q->getting);
}

// With its lock held: one waits no more at `end`, which began in that fork_generation.  (Of others
// tidy knows nothing.)
static inline void quit(store_end *end, uint32_t generation)
{
    end->inside -= generation == fork_generation;
}

// With `getting` held; there is an item.
static inline void take(weft_queue *q, void *item)
{
    store_pop(&q->store, item);
    waiters_wake_one(&q->store.out.sleepers);
}

} // namespace weft

#endif
