// crew.cc: which of an executor's threads are awake.
//
// As many as wanted are active.  One that finds nothing to do parks.  While one searches, a push
// wakes nobody: that one looks at all there is under the lock before it parks; and having found a
// task it wakes the next if there are more.
//
// A task that waits blocks its worker, which gives back its share.  The executor then wants as many
// active threads as before: a parked one is woken when there is work, or one is hired, up to
// `spares` of them.  Only where all threads are blocked and one of them, or anybody else, waits
// for a task that is pending does one more come, for that task: so what can be done is.
// When a blocked one goes on there are too many: after its task one of them parks.
#include "crew.h"

using namespace weft;

// ---- Who is awake ----

int weft::surplus(const weft_executor *ex)
{
    return ex->active + ex->parked - ex->wanted;
}

static void hint(uint32_t *word, bool value)
{
    if (*word != value)
        __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

static bool can_wake(const weft_executor *ex)
{
    return ex->searching == 0 && ex->active < ex->wanted && ex->parked > 0;
}

void weft::note(weft_executor *ex)
{
    hint(&ex->sleepers, can_wake(ex));
    hint(&ex->roomy, ex->active <= ex->wanted);
    hint(&ex->stalled, ex->active == 0 && ex->blocked > 0);
}

// Who is woken counts as active and searching from here on.
static void wake_first_idle(weft_executor *ex)
{
    ex->parked--;
    ex->active++;
    ex->searching++;
    waiters_wake_first(&ex->idle);
}

void weft::wake_worker(weft_executor *ex)
{
    if (!can_wake(ex) || !has_work(ex))
        return;
    wake_first_idle(ex);
    note(ex);
}

void weft::wake_all_idle(weft_executor *ex)
{
    while (!list_is_empty(&ex->idle))
        wake_first_idle(ex);
    note(ex);
}

void weft::poke(weft_executor *ex)
{
    if (__builtin_expect(__atomic_load_n(&ex->sleepers, __ATOMIC_SEQ_CST) == 0, 1))
        return;
    take_lock(&ex->lock);
    wake_worker(ex);
    drop_lock(&ex->lock);
}

bool weft::executor_is_quiet(const weft_executor *ex)
{
    // What is in a share counts as its worker's.
    return ex->pending == 0 && ex->running == 0 && list_is_empty(&ex->deferred) && !inbox_has(ex);
}

void weft::tell_quiet(weft_executor *ex)
{
    if (__builtin_expect(!list_is_empty(&ex->quiet), 0) && executor_is_quiet(ex))
        waiters_wake(&ex->quiet, SIZE_MAX);
}

void weft::task_ended(weft_executor *ex)
{
    ex->running--;
    tell_quiet(ex);
}

// ---- Standing in ----

// After a note(): when nobody is active and too many are blocked, finds a task that somebody waits
// for who is no worker of ex.
static void find_awaited(weft_executor *ex)
{
    if (ex->active > 0 || !is_short(ex) || !list_is_empty(&ex->urgent))
        return;
    collect(ex);
    weft_future *f = ex->backlog.next;
    while (f != &ex->backlog && !is_awaited(f))
        f = f->next;
    if (f != &ex->backlog)
        make_urgent(ex, f);
}

void weft::pass_on(weft_executor *ex)
{
    note(ex);
    find_awaited(ex);
    wake_worker(ex);
}

// Locked: whether a thread is to be hired, which is counted then.
static bool needs_hand(weft_executor *ex)
{
    bool needs = false;
    note(ex);
    find_awaited(ex);
    if (ex->active >= ex->wanted || ex->parked > 0)
        wake_worker(ex);
    else if (ex->alive < ex->wanted + spares_of(ex))
        needs = !ex->closed || (!ex->discarding && has_pending(ex));
    else
        needs = ex->active == 0 && (!list_is_empty(&ex->urgent) || ex->short_of_room > 0);
    ex->alive += needs;
    ex->active += needs;
    note(ex);
    return needs;
}

// Locked on entry, not on return.
int weft::find_hand(weft_executor *ex)
{
    bool needs = needs_hand(ex);
    drop_lock(&ex->lock);
    return needs ? hire(ex) : 0;
}

void weft::call_hand(weft_executor *ex)
{
    if (__atomic_load_n(&ex->stalled, __ATOMIC_SEQ_CST) == 0)
        return;
    take_lock(&ex->lock);
    find_hand(ex);
}

int weft::worker_blocks(crew_worker *me, weft_future *const futures[], size_t n, bool for_room)
{
    weft_executor *ex = me->executor;
    take_lock(&ex->lock);
    share_return(ex, me);
    for (; n > 0; n--)
        if (futures[n - 1]->executor == ex)
            make_urgent(ex, futures[n - 1]);
    bool first = me->blocks++ == 0;
    ex->active -= first;
    ex->blocked += first;
    ex->short_of_room += for_room;
    int error = find_hand(ex);
    // Without a thread it matters only where nobody is left to run what this one waits for.
    return __atomic_load_n(&ex->stalled, __ATOMIC_SEQ_CST) != 0 ? error : 0;
}

void weft::worker_goes_on(crew_worker *me, bool for_room)
{
    weft_executor *ex = me->executor;
    take_lock(&ex->lock);
    bool last = --me->blocks == 0;
    ex->blocked -= last;
    ex->active += last;
    ex->short_of_room -= for_room;
    note(ex);
    wake_worker(ex); // there may be spares again
    drop_lock(&ex->lock);
}
