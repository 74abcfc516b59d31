// crew.h: what executor.cc, future.cc and map.cc share.
#ifndef WEFT_THREAD_CREW_H
#define WEFT_THREAD_CREW_H

#include "waiters.h"

#include <weft/executor.h>
#include <weft/thread.h>

namespace weft {

// One thread of the pool.
struct crew_worker {
    weft_executor *executor;
    weft_thread *thread;
    struct crew_worker *next; // in the executor's `workers` or `ended`
};

#define INBOX_AHEAD 8u

} // namespace weft

using namespace weft;

struct weft_executor {
    // Atomic: futures just submitted, newest first; INBOX_CLOSED at the end.
    alignas(128) weft_future *inbox;
    // Atomic: some of the last futures pushed, to be prefetched and for nothing else: they
    // may be gone.
    weft_future *recent[INBOX_AHEAD];
    unsigned recent_at;
    size_t limit; // constant, as the rest of these
    size_t stack_size;
    char name[WEFT_THREAD_NAME_MAX + 1];
    // Atomic: whether a submit has anybody to wake.  Written under the lock.
    uint32_t sleepers;

    alignas(128) uint32_t lock;
    // All below is guarded by the lock, but where it says otherwise.
    int closed;
    weft_future *first, *last; // the backlog, oldest first
    size_t pending;            // its length; atomic for readers without the lock
    size_t running;            // tasks taken out of it that have not ended
    int wanted, alive;         // threads; `wanted` is atomic for such readers
    int searching;             // idle workers that look for work before they sleep
    waiters idle;              // workers with nothing to do
    waiters helpers;           // workers that wait for a future
    waiters room;              // threads that wait for room in the backlog
    waiters quiet;             // threads that wait until nothing is pending or running
    waiters gone;              // threads that wait for the workers' end
    size_t inside;             // threads in a call that destroy must not pull away
    crew_worker *workers, *ended;
    int fd; // -1, or the eventfd; atomic
};

namespace weft {
#define INBOX_CLOSED ((weft_future *)1)

// ---- A future's `state` ----
//
// 0 until the task has ended.  The usual end is one compare-and-swap from 0 to FINAL | its outcome;
// after it the future belongs to whoever gets it.  The other bits are requests to the thread that
// ends it.
//
//  bit        means                           set by                            holding
//  OUTCOME    how it ended: 0, DONE or        the thread that ends it           with EXTRAS: its
//  lock
//             CANCELLED (executor.h)
//  FINAL      waits may return                the same; last                    -
//  SLEPT_ON   a thread sleeps on `state`      that thread                       -
//  EXTRAS     see below; never taken back     then, fd, watches                 its lock
//  RELEASED   free it at its end              weft_future_release               -
//  CALLED     then came late and has called   weft_future_then                  its lock
//
// With EXTRAS there is a callback, a descriptor or a watch: those are guarded by the future's lock,
// the end goes by way of that lock, and whoever frees the future passes through it first, so that
// the ending thread is out of it.
#define FUTURE_OUTCOME 3u
#define FUTURE_FINAL 4u
#define FUTURE_SLEPT_ON 8u
#define FUTURE_EXTRAS 16u
#define FUTURE_RELEASED 32u
#define FUTURE_CALLED 64u

// `pending`: whether it is in the inbox or the backlog.  Guarded by the executor's lock; atomic for
// weft_future_state.

// `kind`, constant:
#define FUTURE_OWNED 1  // in the caller's memory
#define FUTURE_SILENT 2 // a part of a map: not counted by weft_executor_fd

static inline uint32_t future_state(const weft_future *f)
{
    // Acquire: who sees the end sees the result.
    return __atomic_load_n(&f->state, __ATOMIC_ACQUIRE);
}

// ---- executor.cc ----

extern __thread crew_worker *this_worker; // the calling thread, if a worker

// With the executor's lock held.
void collect(weft_executor *ex); // the inbox into the backlog
void backlog_add(weft_executor *ex, weft_future *f);
void backlog_remove(weft_executor *ex, weft_future *f); // it counts as running
bool executor_is_quiet(const weft_executor *ex);
void task_ended(weft_executor *ex);
void wake_worker(weft_executor *ex);   // if there is work, and nobody searches
void note_sleepers(weft_executor *ex); // after a change of idle, helpers, searching
static inline bool inbox_has(const weft_executor *ex)
{
    // Sequentially consistent: see executor.cc.
    weft_future *newest = __atomic_load_n(&ex->inbox, __ATOMIC_SEQ_CST);
    return newest != nullptr && newest != INBOX_CLOSED;
}
static inline weft_future *oldest(weft_executor *ex)
{
    if (ex->first == nullptr)
        collect(ex);
    return ex->first;
}

// Without it.  `f` was removed from the backlog by the caller; it may be gone afterwards.
void task_run(weft_executor *ex, weft_future *f);
void task_cancel(weft_executor *ex, weft_future *f);
void future_make(weft_future *f, weft_executor *ex, void *(*fn)(void *), void *arg, uint16_t kind);

// ---- future.cc ----

// Ends f as done or cancelled; f may be gone afterwards.
void future_end(weft_executor *ex, weft_future *f, uint32_t outcome);

// The calling thread is about to run, or to end, f; until the second call.
struct task_frame {
    weft_future *future;
    struct task_frame *outer;
};
extern __thread task_frame *task_frames;
bool in_task_of(const weft_executor *ex);

// Waits until one of n futures has ended: 0 and *which, or the errno.
int future_await(weft_future *const futures[], size_t n, weft_deadline d, bool stoppable,
                 size_t *which);

} // namespace weft

#endif
