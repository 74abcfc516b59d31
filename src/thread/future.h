// future.h: a future's words, and what its files share.
//
//  future.cc         the calls for one future
//  future_end.cc     a task's end
//  future_wait.cc    waiting for tasks
//  future_cycle.cc   telling those that wait in a circle
//  future_after.cc   what else happens at a future's end: tasks after it, completions
//  future_memory.cc  where futures come from
#ifndef WEFT_THREAD_FUTURE_H
#define WEFT_THREAD_FUTURE_H

#include "forked.h"

#include <weft/executor.h>

// An interest in one future's end; guarded by that future's lock.  Either `word` is a thread's, and
// the watch its own, or `ended` is called without the lock, once, and then has the watch.
struct weft_private_watch {
    weft_private_watch *next;
    uint32_t *word;
    void (*ended)(weft_private_watch *w);
    weft_future *of; // of the latter, until that begins to end; guarded by the cycles' lock
};

namespace weft {

struct crew_worker;

// ---- A future's `state` ----
//
// 0 until the task has ended.  The usual end is one compare-and-swap from 0 to FINAL | its outcome;
// after it the future belongs to whoever gets it.  The other bits are requests to the thread that
// ends it.
//
//  bit        means                           set by                            holding
//  OUTCOME    how it ended: 0, DONE or        the thread that ends it           with EXTRAS: its
//             CANCELLED (executor.h)                                            lock
//  FINAL      waits may return                the same; last                    -
//  SLEPT_ON   a thread sleeps on `state`      that thread                       -
//  EXTRAS     see below; never taken back     then, fd, watches                 its lock
//  RELEASED   free it at its end              weft_future_release               -
//  CALLED     then came late and has called   weft_future_then                  its lock
//  AWAITED    a thread sleeps, or slept,      that thread                       -
//             until it ends
//
// With EXTRAS there is a callback, a descriptor or a watch: those are guarded by the future's lock,
// the end goes by way of that lock, and whoever frees the future passes through it first, so that
// the ending thread is out of it.  The words for them are made ready by who asks first, so that a
// future without is the first 64 bytes of it.
#define FUTURE_OUTCOME 3u
#define FUTURE_FINAL 4u
#define FUTURE_SLEPT_ON 8u
#define FUTURE_EXTRAS 16u
#define FUTURE_RELEASED 32u
#define FUTURE_CALLED 64u
#define FUTURE_AWAITED 128u

// ---- A future's `pending`, and what `at` is then ----
//
//  value       the future is                      `at`                     changed by, holding
//  IN_BACKLOG  in the inbox or the backlog        a hint                   submit, -;
//                                                                          share_return, the lock
//  IN_SHARE    in a worker's share                its slot                 that worker, the lock
//                                                                          (a push: -)
//  DEFERRED    in `deferred` until another ends   the slot that holds it   submit_after, its
//  delivery
//                                                 until then               and cancel: the lock
//  PROMISED    a promise, not yet kept            promise_mark()           set and cancel: atomic
//  0           taken: running, ended, cancelled   who runs it: a worker    who took it, the lock or
//                                                 or null; of a promise    by the slot
//                                                 as above
//
// Who looks for the slot may find the worker already: its first member is never that future, so the
// exchange fails as it should.
#define IN_BACKLOG 1
#define IN_SHARE 2
#define PROMISED 3
#define DEFERRED 4

// `kind`, constant:
#define FUTURE_OWNED 1  // in the caller's memory
#define FUTURE_SILENT 2 // a part of a map: not counted by weft_executor_fd

static inline uint32_t future_state(const weft_future *f)
{
    // Acquire: who sees the end sees the result.
    return __atomic_load_n(&f->state, __ATOMIC_ACQUIRE);
}
static inline bool future_is_final(const weft_future *f)
{
    return (future_state(f) & FUTURE_FINAL) != 0;
}
// Sequentially consistent, after a note(): see future_is_awaited.
static inline bool is_awaited(const weft_future *f)
{
    return (__atomic_load_n(&f->state, __ATOMIC_SEQ_CST) & FUTURE_AWAITED) != 0;
}
static inline unsigned future_pending(const weft_future *f)
{
    // Acquire: with it comes `at`.
    return __atomic_load_n(&f->pending, __ATOMIC_ACQUIRE);
}
// Of the process that makes a promise.
static inline void *promise_mark(void)
{
    return (void *)(uintptr_t)fork_generation;
}
static inline void mark_pending(weft_future *f, uint16_t where)
{
    // Release: with it comes `at`.
    __atomic_store_n(&f->pending, where, __ATOMIC_RELEASE);
}

// ---- future_end.cc ----

// Ends f as done or cancelled; f may be gone afterwards.
void future_end(weft_future *f, uint32_t outcome);
// Gives back f, which has ended.
void future_dispose(weft_future *f);

// `woken`, beside TAKEN_OFF: a watched future has ended; nobody can end it.
enum { WATCHED_ENDED = 2, DEADLOCKED = 4 };

// Asks for EXTRAS, with f's lock held: the state before.
uint32_t future_extras(weft_future *f);
// Whether f has not ended: then w is on its list.
bool future_watch(weft_future *f, weft_private_watch *w);
void future_unwatch(weft_future *f, weft_private_watch *w);

// ---- future_wait.cc ----

// Says that somebody waits for f, and looks whether anybody can run it.  For a worker's own
// executor worker_blocks does.
void future_is_awaited(weft_future *f, const crew_worker *me);

// Waits until one of n futures has ended: 0 and *which, or the errno.
int future_await(weft_future *const futures[], size_t n, weft_deadline d, bool stoppable,
                 size_t *which);

// ---- future_cycle.cc ----

// What a wait is for: one of n futures, or one that has not been given back.
struct awaited {
    weft_future *const *futures;
    size_t n;
    weft_completions *completions; // or null
};

int cycles_prepare(void); // before all else: 0, or the errno
// The worker is about to sleep until one has ended.  EDEADLK: that is never.  `word` null: it must
// wait, so another of the circle is woken with DEADLOCKED.  `ends`: by a deadline.
int cycle_enter(crew_worker *me, awaited what, uint32_t *word, bool ends);
void cycle_leave(crew_worker *me);
// What f is deferred after is awaited, too: the executor of the first of all (null: a promise).
weft_executor *cycles_await(const weft_future *f);
// Whether all that these have not given back wait for others.
bool cycle_may_hold(weft_completions *c);
// Whether they are all pending in ex.
bool cycles_all_pending(weft_completions *c, weft_executor *ex);
// A future with these begins to end, and may be gone soon.
void cycles_forget(weft_private_watch *watches);
// What one waits for, the first of several: its fn, arg and how many.  False: it doesn't sleep.
bool cycle_look(const crew_worker *w, void *(**fn)(void *), void **arg, size_t *n);
void cycles_pass(void); // nobody looks at what was freed afterwards

// ---- future_after.cc ----

// With the cycles' lock held.
weft_future *deferred_after(const weft_future *f); // what f is deferred after, or null
// Whether nothing is there to be given back, and fn says so of each that has not ended.
bool completions_all(weft_completions *c, bool (*fn)(const weft_future *f, void *arg), void *arg);

// ---- future_memory.cc ----

weft_future *future_allocate(void); // null: ENOMEM
void future_free(weft_future *f);   // leaves errno alone

} // namespace weft

#endif
