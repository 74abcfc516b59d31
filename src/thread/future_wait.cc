// future_wait.cc: waiting for tasks.
//
// A thread outside of tasks waits on the future's word itself, or with a node of its own that each
// of several futures has on its list of watches.  A worker that waits without a deadline for one
// that is pending runs it, on top of the task that waits: what is stacked there is always what the
// one below waits for, so tasks that could go on one by one can do so here.  In all other cases it
// sleeps: on a node, so that it can be told of a circle, too.  A wait with a deadline never
// runs anything, for that could outlast it, and nor does a wait for any of several.
#include "crew.h"

#include <base/errno.h>

using namespace weft;

enum { FEW = 8 };

static bool is_own(const weft_future *f)
{
    for (const task_frame *p = task_frames; p != nullptr; p = p->outer)
        if (p->future == f)
            return true;
    return false;
}

// ---- Sleeping ----

// Watches n futures and sleeps until one has ended or the word says something else.
static int sleep_watching(weft_future *const futures[], size_t n, weft_private_watch watches[],
                          uint32_t *word, weft_deadline d, bool stoppable)
{
    int error = 0;
    size_t watched = 0;
    for (; watched < n; watched++) {
        watches[watched] = {nullptr, word, nullptr, nullptr};
        if (!future_watch(futures[watched], &watches[watched]))
            break;
    }
    if (watched == n)
        error = await_word(word, d, stoppable ? 0 : REGARDLESS);
    while (watched-- > 0)
        future_unwatch(futures[watched], &watches[watched]);
    return error;
}

void weft::future_is_awaited(weft_future *f, const crew_worker *me)
{
    if (future_pending(f) == 0 || f->executor == nullptr)
        return;
    // Sequentially consistent, as crew.cc's `stalled`: one of the two sees the other.
    __atomic_fetch_or(&f->state, FUTURE_AWAITED, __ATOMIC_SEQ_CST);
    weft_executor *first = future_pending(f) == DEFERRED ? cycles_await(f) : f->executor;
    if (first != nullptr && (me == nullptr || first != me->executor))
        call_hand(first);
}

static bool all_pending(weft_future *const futures[], size_t n, const weft_executor *ex)
{
    size_t i = 0;
    while (i < n && futures[i]->executor == ex && future_pending(futures[i]) != 0)
        i++;
    return i == n;
}

// A task's turn.
static int sleep_inside(crew_worker *me, weft_future *const futures[], size_t n,
                        weft_private_watch watches[], weft_deadline d, bool stoppable)
{
    uint32_t word = 0;
    int error =
        cycle_enter(me, {futures, n, nullptr}, stoppable ? &word : nullptr, d != WEFT_FOREVER);
    if (error != 0)
        return error;
    for (size_t i = 0; i < n; i++)
        future_is_awaited(futures[i], me);
    error = worker_blocks(me, futures, n, false);
    if (error == 0 || d != WEFT_FOREVER || !stoppable || !all_pending(futures, n, me->executor))
        error = sleep_watching(futures, n, watches, &word, d, stoppable);
    worker_goes_on(me, false);
    cycle_leave(me);
    return word & DEADLOCKED ? EDEADLK : error;
}

// An outsider's turn.
static int sleep_outside(weft_future *const futures[], size_t n, weft_private_watch watches[],
                         weft_deadline d, bool stoppable)
{
    for (size_t i = 0; i < n; i++)
        future_is_awaited(futures[i], nullptr);
    if (n > 1) {
        uint32_t word = 0;
        return sleep_watching(futures, n, watches, &word, d, stoppable);
    }
    weft_future *f = futures[0];
    uint32_t s = __atomic_fetch_or(&f->state, FUTURE_SLEPT_ON, __ATOMIC_ACQ_REL);
    if (s & FUTURE_FINAL)
        return 0;
    s |= FUTURE_SLEPT_ON;
    return sleep_on(&f->state, s, d, stoppable ? 0 : REGARDLESS);
}

// ---- Waiting ----

static bool find_ended(weft_future *const futures[], size_t n, size_t *which)
{
    for (size_t i = 0; i < n; i++)
        if (future_is_final(futures[i])) {
            *which = i;
            return true;
        }
    return false;
}

static int await_asleep(weft_future *const futures[], size_t n, weft_private_watch watches[],
                        weft_deadline d, bool stoppable, size_t *which)
{
    crew_worker *me = worker_here();
    auto ended = [=] { return find_ended(futures, n, which); };
    watch_for(ended);
    return wait_for(
        d, [=] { return ended() ? 0 : EAGAIN; },
        [=](weft_deadline until) {
            return me != nullptr ? sleep_inside(me, futures, n, watches, until, stoppable)
                                 : sleep_outside(futures, n, watches, until, stoppable);
        });
}

// 0, or why a wait would be in vain.
static int refusal(weft_future *const futures[], size_t n)
{
    size_t own = 0, lost = 0;
    for (size_t i = 0; i < n; i++) {
        bool mine = is_own(futures[i]);
        own += mine;
        lost += !mine && is_lost(futures[i]);
    }
    if (own == n)
        return EDEADLK; // nobody but this thread can end them
    return own + lost == n ? EPERM : 0;
}

int weft::future_await(weft_future *const futures[], size_t n, weft_deadline d, bool stoppable,
                       size_t *which)
{
    if (find_ended(futures, n, which))
        return 0;
    if (n == 1 && d == WEFT_FOREVER && task_run_awaited(worker_here(), futures[0])) {
        *which = 0;
        return 0;
    }
    int error = refusal(futures, n);
    if (error != 0 || d <= WEFT_NOW)
        return error != 0 ? error : ETIMEDOUT;
    weft_private_watch few[FEW], *watches = few;
    if (n > FEW) {
        int saved = errno;
        watches = (weft_private_watch *)malloc(n * sizeof *watches);
        errno = saved;
        if (watches == nullptr)
            return ENOMEM;
    }
    error = await_asleep(futures, n, watches, d, stoppable, which);
    if (watches != few)
        free_keep_errno(watches);
    return error;
}
