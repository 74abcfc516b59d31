// worker.cc: a worker's life: hired, works, looks around, parks, leaves.
//
// A worker takes tasks under the lock and runs them, with its share, without.  When it finds none
// it looks around a little, counted in `searching`, before it parks.  If a task leaves the
// thread (task.cc) another takes its place.
#include "crew.h"

#include <base/errno.h>

#include <string.h>

using namespace weft;

enum { KEPT = 8 };

__thread crew_worker *weft::this_worker;

// As many are kept beside those wanted as a tree of waiting tasks may soon need again.
static bool must_leave(weft_executor *ex)
{
    int more = surplus(ex), kept = KEPT + spares_of(ex);
    return more > kept || (more > 0 && ex->leaving > 0) ||
           (ex->closed && (ex->discarding || !has_pending(ex)));
}

static bool looks_busy(const weft_executor *ex)
{
    return __atomic_load_n(&ex->inbox, __ATOMIC_RELAXED) != nullptr ||
           __atomic_load_n(&ex->pending, __ATOMIC_RELAXED) != 0;
}

static void search(weft_executor *ex)
{
    ex->searching++;
    note(ex);
    drop_lock(&ex->lock);
    watch_for([=] { return looks_busy(ex); });
    take_lock(&ex->lock);
    ex->searching--;
    note(ex);
}

// Sleeps until woken.  Not stoppable: a task may have been told to stop, the pool goes on.
static void park(weft_executor *ex)
{
    waiter me;
    ex->active--;
    ex->parked++;
    waiters_add(&ex->idle, &me);
    pass_on(ex); // what came before the note: maybe to this very one
    drop_lock(&ex->lock);
    await_word(&me.woken, WEFT_FOREVER, REGARDLESS);
    take_lock(&ex->lock);
    ex->searching--; // as which it was woken
    note(ex);
}

// Locked on entry and return.  False: the thread is to leave.
static bool idle(weft_executor *ex)
{
    bool too_many = ex->active > ex->wanted;
    if (!too_many && !must_leave(ex)) {
        search(ex);
        if (has_work(ex))
            return true;
    }
    if (must_leave(ex))
        return false;
    park(ex);
    return true;
}

// Locked on entry and return, until the thread is to leave.  False: a task has forked, and this is
// the child, where it works for nobody and nothing is locked.
static bool serve(weft_executor *ex, crew_worker *me)
{
    bool fresh = true;
    for (;;) {
        bool may = ex->active <= ex->wanted && !ex->discarding;
        weft_future *f = may ? next_task(ex, me) : nullptr;
        if (f == nullptr) {
            if (!idle(ex))
                return true;
            fresh = true;
            continue;
        }
        ex->running++;
        if (fresh)
            wake_worker(ex); // one task is ours, there may be more
        fresh = false;
        drop_lock(&ex->lock);
        do
            task_run(me, &me->bottom, f);
        while (__atomic_load_n(&ex->roomy, __ATOMIC_RELAXED) && (f = share_pop(me)) != nullptr);
        if (is_inherited(ex))
            return false;
        take_lock(&ex->lock);
        share_return(ex, me);
        task_ended(ex);
    }
}

// Locked.
static void enter_crew(weft_executor *ex, crew_worker *me)
{
    if (ex->workers == nullptr)
        list_init(me);
    else
        list_insert(ex->workers, me);
    ex->workers = me;
}

// Locked on entry, not on return.
static void leave_crew(weft_executor *ex, crew_worker *me)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr); // a cancel would begin this anew
    ex->workers = me->next != me ? me->next : nullptr;
    list_remove(me);
    ex->active--;
    ex->leaving -= ex->leaving > 0;
    if (ex->closed)
        wake_all_idle(ex);
    pass_on(ex); // a wake may have been spent on this one
    drop_lock(&ex->lock);
    this_worker = nullptr; // what it submits from here on is an outsider's
    if (ex->end != nullptr)
        ex->end(ex->arg);
    take_lock(&ex->lock);
    me->next = ex->ended;
    ex->ended = me;
    ex->alive--;
    if (ex->alive == 0)
        waiters_wake(&ex->gone, SIZE_MAX);
    drop_lock(&ex->lock);
}

// A task has left the thread.
static void worker_left(void *arg)
{
    crew_worker *me = (crew_worker *)arg;
    weft_executor *ex = me->executor;
    if (is_inherited(ex))
        return;
    task_left(&me->bottom);
    take_lock(&ex->lock);
    ex->blocked -= me->blocks != 0; // by its tasklets, which are not to go on
    ex->active += me->blocks != 0;
    me->blocks = 0;
    share_return(ex, me);
    task_ended(ex);
    bool replace = !ex->closed || has_pending(ex);
    ex->alive += replace;
    ex->active += replace;
    drop_lock(&ex->lock);
    if (replace && hire(ex) != 0) { // no thread to be had: this one goes on, on its way out
        take_lock(&ex->lock);
        serve(ex, me);
    } else {
        take_lock(&ex->lock);
    }
    leave_crew(ex, me);
}

static void find_stack(crew_worker *me)
{
    pthread_attr_t a;
    void *low = nullptr;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &a) == 0) {
        pthread_attr_getstack(&a, &low, &size);
        pthread_attr_destroy(&a);
    }
    me->stack_half = (char *)low + size / 2;
    me->stack_top = (char *)low + size;
}

static void *work(void *arg)
{
    crew_worker *me = (crew_worker *)arg;
    weft_executor *ex = me->executor;
    find_stack(me);
    if (ex->has_cpus)
        sched_setaffinity(0, sizeof ex->cpus, &ex->cpus);
    if (ex->policy >= 0)
        weft_thread_set_priority(nullptr, ex->policy, ex->priority); // if that is allowed
    pthread_sigmask(SIG_SETMASK, &ex->signals, nullptr);
    if (ex->begin != nullptr)
        ex->begin(ex->arg);
    this_worker = me;
    say(me, nullptr, nullptr, 0);
    pthread_cleanup_push(worker_left, me);
    take_lock(&ex->lock);
    me->thread = weft_thread_self();
    enter_crew(ex, me);
    if (serve(ex, me))
        leave_crew(ex, me);
    pthread_cleanup_pop(0);
    return nullptr;
}

// ---- Hiring ----

static crew_worker *record_for(weft_executor *ex)
{
    take_lock(&ex->lock);
    crew_worker *w = ex->spent;
    if (w != nullptr)
        ex->spent = w->next;
    drop_lock(&ex->lock);
    if (w != nullptr) // as it was left
        return w;
    w = (crew_worker *)aligned_alloc(128, (sizeof *w + 127) / 128 * 128);
    if (w != nullptr) {
        memset((void *)w, 0, sizeof *w);
        w->executor = ex;
    }
    return w;
}

// With all signals blocked: the worker unblocks those it is to have.
static bool start(weft_executor *ex, crew_worker *w)
{
    sigset_t all, mine;
    weft_thread_options opts = {};
    opts.name = ex->name;
    opts.stack_size = ex->stack_size;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mine);
    bool started = weft_thread_start(work, w, &opts) != nullptr;
    pthread_sigmask(SIG_SETMASK, &mine, nullptr);
    return started;
}

int weft::hire(weft_executor *ex)
{
    int saved = errno, error = 0;
    reap(ex, WEFT_NOW);
    crew_worker *w = record_for(ex);
    if (w == nullptr || !start(ex, w)) {
        error = w == nullptr ? ENOMEM : errno;
        take_lock(&ex->lock);
        if (w != nullptr) {
            w->next = ex->spent;
            ex->spent = w;
        }
        ex->alive--;
        ex->active--;
        note(ex);
        if (ex->alive == 0) // who shuts it down may have seen this one counted
            waiters_wake(&ex->gone, SIZE_MAX);
        drop_lock(&ex->lock);
    }
    errno = saved;
    return error;
}

bool weft::reap(weft_executor *ex, weft_deadline d)
{
    int saved = errno, before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before); // a join could act on it
    bool all = true;
    take_lock(&ex->lock);
    crew_worker *w = ex->ended, *next;
    ex->ended = nullptr;
    drop_lock(&ex->lock);
    for (; w != nullptr; w = next) {
        next = w->next;
        bool joined = weft_thread_join(w->thread, nullptr, d) == 0;
        all &= joined;
        take_lock(&ex->lock);
        crew_worker **to = joined ? &ex->spent : &ex->ended;
        w->next = *to;
        *to = w;
        drop_lock(&ex->lock);
    }
    pthread_setcancelstate(before, nullptr);
    errno = saved;
    return all;
}
