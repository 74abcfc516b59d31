// pool_parent.h: a pool as the process that created it knows it.
#ifndef WEFT_SHM_POOL_PARENT_H
#define WEFT_SHM_POOL_PARENT_H

#include "pool_memory.h"

#include "pool_shared.h"
#include <base/child.h>
#include <base/leash.h>

#include <pthread.h>

namespace weft {

// A page that fork(2) empties in the child (MADV_WIPEONFORK): who looks at it knows at the
// cost of a load whether this is still the process that it takes itself for.
enum { POOL_NOBODY, POOL_PARENT, POOL_SUPERVISOR, POOL_WORKER };

} // namespace weft

using namespace weft;

struct weft_result {
    weft_pool *pool;
    weft_result *next; // in the list of free ones, or of those whose callbacks are due
    void (*then)(weft_result *, void *); // to be called when it has ended
    void (*due)(weft_result *, void *);  // the same, when it is in a list of such
    void *then_arg;
    bool live;      // the caller's
    bool abandoned; // nobody's, to be freed when its task has ended
};

struct weft_pool {
    pool_shared *shared;
    size_t shared_size;
    uint32_t *whose; // POOL_PARENT in the creator

    // What supervisor and workers need to begin.
    int (*initialiser)(void *);
    void *arg;
    char name[16];
    bool close_others;
    int *keep; // sorted
    size_t keep_count;
    int control_fd; // an eventfd: the supervisor is to look at shared->phase
    int held;       // the supervisor's end of the leash

    child supervisor;
    leash supervisor_leash;
    int epoll_fd; // made by the first weft_pool_fd; guarded by lock

    // Not 0 when the supervisor has ended: the error of the tasks that it left.  Atomic.
    int gone;
    bool gone_well; // it ended because it was told to; written before gone

    pthread_mutex_t lock; // guards all below, the queue's producing end, and shared->phase
    weft_result *results; // one a slot
    weft_result *free_results;
    uint32_t used_results; // those from here on have never been used
    pool_memory memory;
    uint64_t submitted;
    size_t callbacks; // results whose callback is to be called
    size_t imaps;
};

namespace weft {

// Supervisor and worker, from their first instruction.
[[noreturn]] void pool_supervise(weft_pool *p);
[[noreturn]] void pool_work(weft_pool *p, uint32_t place);

// 0, or EINVAL or EPERM: the calling process may use p.
int pool_check(const weft_pool *p);

// Looks whether the supervisor has ended; p->gone if so, else 0.
int pool_look(weft_pool *p);

// Frees the slots of ended results that nobody wants, and lists those whose callback is due
// (due null: leaves them be).  The caller holds p->lock.
void pool_sweep(weft_pool *p, weft_result **due);

// A task of `count` calls.  Null: EAGAIN, EMSGSIZE, EPIPE.
weft_result *pool_submit(weft_pool *p, weft_pool_fn fn, const void *arguments, size_t argument_size,
                         size_t count, size_t result_size);

// Waits until r has ended: 0, or ETIMEDOUT or ECANCELED.
int result_await(weft_result *r, weft_deadline d);

// How one of the calls of an ended r ended.
weft_outcome result_outcome(const weft_result *r, uint64_t item);

// Gives r up: its slot is free at once, or when its task has ended.
void result_release(weft_result *r);

// Takes r out of the queue, if nobody has begun with it: 0, EBUSY or EALREADY.
int result_cancel(weft_result *r);

// Sleeps until a task ends or a slot gets free, if still(arg) holds, or a while longer.
// 0, ETIMEDOUT, ECANCELED.
int pool_await_any(weft_pool *p, bool (*still)(void *), void *arg, weft_deadline d);

static inline pool_slot *slot_of(const weft_result *r)
{
    return &r->pool->shared->slot[r - r->pool->results];
}

} // namespace weft

#endif
