// task.cc: running one task, and every way out of it.
//
// A task may leave by pthread_exit(3) or be cancelled.  Clean-up handlers stand around each
// worker (worker.cc) and around each task that a wait has begun: its future ends as cancelled, then
// those of the tasks below.
#include "crew.h"

#include <base/errno.h>

using namespace weft;

__thread task_frame *weft::task_frames;

bool weft::in_task_of(const weft_executor *ex)
{
    for (const task_frame *p = task_frames; p != nullptr; p = p->outer)
        if (p->executor == ex)
            return true;
    return this_worker != nullptr && this_worker->executor == ex;
}

void weft::say(crew_worker *me, void *(*fn)(void *), void *arg, unsigned depth)
{
    __atomic_store_n(&me->runs, fn, __ATOMIC_RELAXED);
    __atomic_store_n(&me->with, arg, __ATOMIC_RELAXED);
    __atomic_store_n(&me->depth, depth, __ATOMIC_RELAXED);
}

void weft::task_run(crew_worker *me, task_frame *frame, weft_future *f)
{
    int saved = errno; // it may be run from within a call that is to succeed
    void *(*below)(void *) = me->runs;
    void *with = me->with;
    say(me, f->fn, f->value, me->depth + 1);
    frame->executor = me->executor;
    frame->future = f;
    frame->outer = task_frames;
    frame->ended = false;
    task_frames = frame;
    void *result = f->fn(f->value);
    // Atomic, for the dump.
    __atomic_store_n(&f->value, result, __ATOMIC_RELAXED);
    frame->ended = true;
    future_end(f, WEFT_FUTURE_DONE);
    task_frames = frame->outer;
    say(me, below, with, me->depth - 1);
    errno = saved;
}

void weft::task_left(void *arg)
{
    task_frame *frame = (task_frame *)arg;
    task_frames = frame; // those above have ended
    if (!frame->ended) {
        frame->ended = true;
        future_end(frame->future, WEFT_FUTURE_CANCELLED);
    }
    task_frames = frame->outer;
}

static void run_guarded(crew_worker *me, weft_future *f)
{
    task_frame frame;
    frame.outer = task_frames;
    frame.ended = true;
    pthread_cleanup_push(task_left, &frame);
    task_run(me, &frame, f);
    pthread_cleanup_pop(0);
}

// What it runs on top of the waiting task is to find half of the stack.  (A coroutine has
// a stack of its own: nothing is put on top of that, nor of the main tasklet, for others would
// wait.)
static bool stack_allows(const crew_worker *me)
{
    const char *here = (const char *)__builtin_frame_address(0);
    return way_to_sleep == nullptr && here > me->stack_half && here < me->stack_top;
}

bool weft::task_run_awaited(crew_worker *me, weft_future *f)
{
    if (me == nullptr || f->executor != me->executor || !stack_allows(me) ||
        !claim(me->executor, f))
        return false;
    run_guarded(me, f);
    return true;
}

namespace {
struct ending {
    weft_executor *ex;
    task_frame frame;
};
} // namespace

// Also when a callback leaves the thread.
static void ended_by_hand(void *arg)
{
    ending *e = (ending *)arg;
    task_frame **at = &task_frames; // tasklets of one thread do not end in order
    while (*at != nullptr && *at != &e->frame)
        at = &(*at)->outer;
    if (*at != nullptr)
        *at = e->frame.outer;
    if (e->ex == nullptr)
        return;
    take_lock(&e->ex->lock);
    task_ended(e->ex);
    if (e->ex->closed && !has_pending(e->ex)) // they slept for its sake only
        wake_all_idle(e->ex);
    waiters_wake(&e->ex->gone, SIZE_MAX); // who shuts it down waits for this, too
    drop_lock(&e->ex->lock);
}

void weft::end_by_hand(weft_executor *ex, weft_future *f, uint32_t outcome)
{
    ending e = {ex, {ex, f, task_frames, true}};
    task_frames = &e.frame;
    call_or_leave(ended_by_hand, &e, [=] { future_end(f, outcome); });
    ended_by_hand(&e);
}
