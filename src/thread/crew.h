// crew.h: what the files of the executor share.
//
//  backlog.cc        pending tasks: the inbox, the backlog
//  share.cc          those that a worker has to itself
//  crew.cc           which threads are awake, and who stands in for those that wait
//  worker.cc         a worker's life
//  task.cc           running a task
//  submit.cc         giving it tasks
//  executor.cc       the whole: create, resize, wait
//  shutdown.cc       its end
//  map.cc            one function over a range
//  dump.cc           an executor as text
//
// future.h is the same for futures.
#ifndef WEFT_THREAD_CREW_H
#define WEFT_THREAD_CREW_H

#include "future.h"
#include "waiters.h"

#include <base/leave.h>
#include <weft/executor.h>
#include <weft/thread.h>

#include <sched.h>
#include <signal.h>

namespace weft {

enum { SHARE = 256, BATCH = 64, INBOX_AHEAD = 8 };

// The calling thread runs f, or ends it.
struct task_frame {
    weft_executor *executor;
    weft_future *future;
    task_frame *outer;
    bool ended; // its end is under way, or over: f may be gone
};

// One thread of the pool.  Its memory stays until the executor's end.
struct crew_worker {
    weft_future *no_slot; // null, and the first member: see `at` in future.h
    weft_executor *executor;
    crew_worker *next,
        *previous;       // in the executor's `workers`, or `next` alone in `ended`, `spent`
    weft_thread *thread; // set by itself
    const char *stack_half, *stack_top;
    task_frame bottom; // of the task that no wait has begun
    // What it runs, and how many tasks of it wait for one another; atomic, for the dump.
    void *(*runs)(void *);
    void *with;
    unsigned depth;
    // The waits of its task that others stand in for: several in tasklets.  Guarded by the
    // executor's lock.
    unsigned blocks;

    // While it sleeps in a wait; guarded by the cycles' lock (future_cycle.cc).
    awaited waits;  // nothing: it does not
    uint32_t *word; // to wake it with DEADLOCKED; null: it can't give up
    crew_worker *walk_next;
    uint32_t walk;
    bool ends; // the wait has a deadline

    // Its share: futures for which it need not take the lock.  Atomic: who exchanges the future in
    // a slot for null has it.  Only the worker fills slots, and moves head and tail.
    unsigned seen;       // its head when another last looked; guarded by the executor's lock
    unsigned head, tail; // atomic
    weft_future *share[SHARE];
};

} // namespace weft

using namespace weft;

// It lies in memory that a forked child finds wiped, and that stays an executor's (executor.cc).
struct weft_executor {
    // Atomic: futures just submitted, newest first; INBOX_CLOSED at the end.
    alignas(128) weft_future *inbox;
    // Atomic: some of the last futures pushed, to be prefetched and for nothing else: they
    // may be gone.
    weft_future *recent[INBOX_AHEAD];
    unsigned recent_at;

    // Atomic, seldom written, and only under the lock; see the table below.
    alignas(128) uint32_t sleepers, roomy, stalled;
    int fd; // -1, or the eventfd
    // Constant.
    uint32_t owner; // 0 in a child of fork; atomic
    weft_executor *next_spare;
    int spares;
    size_t limit;
    size_t stack_size;
    char name[WEFT_THREAD_NAME_MAX + 1];
    void (*begin)(void *), (*end)(void *);
    void *arg;
    sigset_t signals; // of the thread that created it, as the next
    cpu_set_t cpus;
    bool has_cpus;
    int policy, priority; // as weft_thread_priority; policy -1: as who hires them

    alignas(128) uint32_t lock;
    // All below is guarded by the lock, but where it says otherwise.
    bool closed, discarding;
    weft_future backlog;  // the head of a ring, oldest first
    weft_future urgent;   // the same: tasks that blocked workers wait for, the latest first
    weft_future deferred; // the same: tasks to be queued when another future ends
    size_t pending;       // the length of the first two; atomic for readers without the lock
    size_t running;       // workers with a task, and cancels under way
    int wanted;           // threads; atomic for such readers
    int alive;            // threads there are: active + parked + blocked
    int active;           // those that run tasks or look for them
    int parked;           // those in `idle`
    int blocked;          // those asleep in a wait of a task
    int searching;        // of the active ones, those that look for a task
    int leaving;          // how many of those too many are to leave (resize)
    int short_of_room;    // blocked ones that wait for room in the backlog
    waiters idle;         // workers with nothing to do
    waiters room;         // threads that wait for room in the backlog
    size_t wide;          // of these, those that want more than one place
    waiters quiet;        // threads that wait until nothing is pending or running
    waiters gone;         // threads that wait for the workers' end
    size_t inside;        // threads that wait in a call that destroy must not pull away
    crew_worker *workers; // a ring, or null
    crew_worker *ended;   // to be joined
    crew_worker *spent;   // joined: records to be used again
};

namespace weft {
#define INBOX_CLOSED ((weft_future *)1)

// ---- The executor's hints ----
//
// Written under its lock by note(), after each change of what they say; read without.
//
//  word      says                                            read by
//  sleepers  a task pushed now has somebody to wake          who pushed one
//  roomy     no more threads are active than wanted; not     a worker after each task: or it gives
//            so after waits that others stood in for, and    back its share and parks
//            in a forked child
//  stalled   all threads are blocked                         who goes to sleep for a pending task

// In a child of fork: ex is the parent's.
static inline bool is_inherited(const weft_executor *ex)
{
    return __atomic_load_n(&ex->owner, __ATOMIC_RELAXED) == 0;
}

// 0, EINVAL for null, or EPERM in a child of fork.
static inline int executor_refusal(const weft_executor *ex)
{
    return ex == nullptr ? EINVAL : is_inherited(ex) ? EPERM : 0;
}

// The same of a future: here nobody will end it, and one of the parent's threads may have its lock.
static inline bool is_parents(const weft_future *f)
{
    return f->executor != nullptr ? is_inherited(f->executor) : f->at != promise_mark();
}
// ... and so waits for it would be in vain.
static inline bool is_lost(const weft_future *f)
{
    return is_parents(f) && !future_is_final(f);
}

// The lock, but in such a child.
static inline void lock_future(weft_future *f)
{
    if (!is_parents(f))
        take_lock(&f->lock);
}
static inline void unlock_future(weft_future *f)
{
    if (!is_parents(f))
        drop_lock(&f->lock);
}

static inline int spares_of(const weft_executor *ex)
{
    if (ex->spares != 0)
        return ex->spares > 0 ? ex->spares : 0;
    return ex->wanted > 1 ? ex->wanted : 0;
}

// With more workers asleep than spares may stand in for, only what they wait for is begun: else
// each would start another tree of waiting tasks.
static inline bool is_short(const weft_executor *ex)
{
    return ex->blocked > spares_of(ex) && ex->short_of_room == 0;
}

extern __thread crew_worker *this_worker; // the calling thread, if a worker

// The same, but null in a forked child, in which it works no more.
static inline crew_worker *worker_here(void)
{
    crew_worker *me = this_worker;
    return me != nullptr && !is_inherited(me->executor) ? me : nullptr;
}

// f, which the caller has just taken out of its place.
static inline weft_future *taken(weft_future *f)
{
    __atomic_store_n(&f->at, (void *)this_worker, __ATOMIC_RELAXED);
    mark_pending(f, 0);
    return f;
}

// ---- executor.cc ----

void executor_put(weft_executor *ex); // its memory, to be used again

// ---- backlog.cc ----

// With the executor's lock held.
void collect(weft_executor *ex); // the inbox into the backlog
void backlog_add(weft_executor *ex, weft_future *f);
void backlog_add_first(weft_executor *ex, weft_future *f);
void backlog_remove(weft_executor *ex, weft_future *f);
void make_urgent(weft_executor *ex, weft_future *f); // if it is pending
void inbox_close(weft_executor *ex);                 // nothing comes in any more
bool has_pending(weft_executor *ex);                 // tasks, wherever
bool has_work(weft_executor *ex);                    // the same, to be begun now
size_t count_pending(weft_executor *ex);
bool claim_locked(weft_executor *ex, weft_future *f); // takes f, if it is pending and not deferred
bool claim_deferred(weft_future *f);                  // takes f, if it is
weft_future *next_task(weft_executor *ex, crew_worker *me); // takes one, and fills the share
weft_future *take_any(weft_executor *ex);                   // takes one, whatever it is
static inline bool inbox_has(const weft_executor *ex)
{
    // Sequentially consistent: see backlog.cc.
    weft_future *newest = __atomic_load_n(&ex->inbox, __ATOMIC_SEQ_CST);
    return newest != nullptr && newest != INBOX_CLOSED;
}

// Without it.
bool claim(weft_executor *ex, weft_future *f); // as claim_locked
// 0 or EPIPE; several are linked from the newest to the oldest.
int inbox_push(weft_executor *ex, weft_future *oldest, weft_future *newest);
int inbox_push_one(weft_executor *ex, weft_future *f);

// ---- share.cc ----

// With the executor's lock held.
void fill_share(weft_executor *ex, crew_worker *me);           // from the backlog; it was empty
void share_return(weft_executor *ex, crew_worker *me);         // into the backlog's front
weft_future *steal(weft_executor *ex, const crew_worker *but); // takes one out of a share
// Looks at one other worker, and takes one out of its share if that has not moved since the last
// look.
weft_future *take_over(weft_executor *ex, const crew_worker *me);
size_t count_shares(weft_executor *ex);

// Without it.
static inline bool take_slot(weft_future **slot, weft_future *f)
{
    // Acquire: f's contents; sequentially consistent: who finds it empty knows who was first.
    return __atomic_compare_exchange_n(slot, &f, nullptr, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}
bool share_push(weft_executor *ex, crew_worker *me, weft_future *f); // false: no place for it
weft_future *share_pop(crew_worker *me);

// ---- crew.cc ----

// With the lock held.
void note(weft_executor *ex);        // after a change of what the hints say
void wake_worker(weft_executor *ex); // if there is work, and nobody searches
void wake_all_idle(weft_executor *ex);
void pass_on(weft_executor *ex); // one is active no longer: another for what there is
bool executor_is_quiet(const weft_executor *ex);
void tell_quiet(weft_executor *ex); // those who wait for it, if it is
void task_ended(weft_executor *ex); // `running` less one
int surplus(const weft_executor *ex);

// Without it.
void poke(weft_executor *ex); // after a push
// Around a sleep of a task, until one of these has ended; `for_room`: in the backlog.
int worker_blocks(crew_worker *me, weft_future *const futures[], size_t n, bool for_room);
void worker_goes_on(crew_worker *me, bool for_room);
// Has a thread hired if nobody else can run a task of ex that is awaited.
void call_hand(weft_executor *ex);
int find_hand(weft_executor *ex); // the same, with the lock held, but not on return

// ---- worker.cc ----

int hire(weft_executor *ex); // one thread, counted as alive and active already; or the errno
bool reap(weft_executor *ex, weft_deadline d); // joins those that have left; false: not all

// ---- task.cc ----

extern __thread task_frame *task_frames;
bool in_task_of(const weft_executor *ex);

// What the worker runs, for the dump, which wants no more than a look.
void say(crew_worker *me, void *(*fn)(void *), void *arg, unsigned depth);
// Runs f, which its caller has taken; f may be gone afterwards.
void task_run(crew_worker *me, task_frame *frame, weft_future *f);
// Runs f above the task that waits for it, if it can be taken and the stack allows.
bool task_run_awaited(crew_worker *me, weft_future *f);
// Ends f, which its caller has taken and, if it is a task of ex, counted in `running`.
void end_by_hand(weft_executor *ex, weft_future *f, uint32_t outcome);
// A clean-up handler: the task of this frame leaves the thread, maybe in the callback at its end.
void task_left(void *frame);

// ---- submit.cc ----

// A future for fn(arg), not yet queued, or null and errno.
weft_future *task_make(weft_executor *ex, void *(*fn)(void *), void *arg);

void future_make(weft_future *f, weft_executor *ex, void *(*fn)(void *), void *arg, uint16_t kind);

} // namespace weft

#endif
