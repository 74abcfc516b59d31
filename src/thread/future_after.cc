// future_after.cc: tasks that are queued when a future has ended, and futures as they complete.
//
// A task that is deferred stands in its executor's ring `deferred` and in a slot of its
// continuation, which the other future's end calls.  Who exchanges the slot for null has the task:
// the end, which delivers it to the backlog and frees the continuation, or who cancels it, and
// then the end finds nothing and touches no executor.  The executor stays until the ring is empty,
// and the continuation until its task has left the ring: so each may use the other.
#include "crew.h"

#include <base/errno.h>

#include <stddef.h>

using namespace weft;

// ---- After another ----

namespace {
struct continuation {
    weft_private_watch watch; // the first member
    weft_future *slot;        // atomic
    weft_executor *executor;
};
} // namespace

// Locked on entry, not on return: f is its executor's like any other, or cancelled.
static void deliver_locked(weft_executor *ex, weft_future *f)
{
    list_remove(f);
    if (ex->discarding) {
        taken(f);
        ex->running++;
        drop_lock(&ex->lock);
        end_by_hand(ex, f, WEFT_FUTURE_CANCELLED);
        return;
    }
    mark_pending(f, IN_BACKLOG);
    backlog_add(ex, f);
    if (is_awaited(f))
        make_urgent(ex, f);
    find_hand(ex);
}

static void deliver(weft_private_watch *w)
{
    continuation *c = (continuation *)(void *)w;
    weft_executor *ex = c->executor;
    weft_future *f = __atomic_exchange_n(&c->slot, nullptr, __ATOMIC_SEQ_CST);
    if (f != nullptr && !is_inherited(ex)) { // or in a forked child, where nobody would run it
        take_lock(&ex->lock);                // who cancels has looked at the slot, or will not
        deliver_locked(ex, f);
    }
    free_keep_errno(c);
}

static int defer(weft_executor *ex, weft_future *f, weft_future *after, continuation *c)
{
    c->watch = {nullptr, nullptr, deliver, after};
    c->slot = f;
    c->executor = ex;
    f->at = &c->slot;
    f->pending = DEFERRED;
    take_lock(&ex->lock);
    int error = ex->closed ? EPIPE : 0;
    if (error == 0)
        list_insert(&ex->deferred, f);
    drop_lock(&ex->lock);
    return error;
}

weft_future *weft::deferred_after(const weft_future *f)
{
    weft_future *after = nullptr;
    if (future_pending(f) != DEFERRED)
        return nullptr;
    take_lock(&f->executor->lock);
    if (future_pending(f) == DEFERRED) { // so its continuation is there
        char *slot = (char *)__atomic_load_n(&f->at, __ATOMIC_RELAXED);
        after = ((continuation *)(void *)(slot - offsetof(continuation, slot)))->watch.of;
    }
    drop_lock(&f->executor->lock);
    return after;
}

weft_future *weft_executor_submit_after(weft_executor *ex, weft_future *f, void *(*fn)(void *),
                                        void *arg)
{
    weft_future *mine = f != nullptr ? task_make(ex, fn, arg) : nullptr;
    if (f == nullptr)
        errno = EINVAL;
    if (mine == nullptr)
        return nullptr;
    if (is_lost(f)) {
        future_free(mine);
        return fail_null(EPERM);
    }
    continuation *c = (continuation *)malloc(sizeof *c);
    int error = c == nullptr ? ENOMEM : defer(ex, mine, f, c);
    if (error != 0) {
        free(c);
        future_free(mine);
        errno = error;
        return nullptr;
    }
    if (!future_watch(f, &c->watch))
        deliver(&c->watch);
    return mine;
}

// ---- As they complete ----

namespace {
struct completion {
    weft_private_watch watch;    // the first member
    completion *next, *previous; // in `open` or `ended`
    weft_future *future;
    weft_completions *all;
};
} // namespace

struct weft_completions {
    uint32_t generation; // of the process that made it
    uint32_t lock;
    // Guarded by it.
    completion open, ended; // rings: those that have not, and the others
    size_t waiting;         // threads
    waiters list;
};

weft_completions *weft_completions_create(void)
{
    watch_forks();
    int error = cycles_prepare();
    weft_completions *c = error == 0 ? (weft_completions *)calloc(1, sizeof *c) : nullptr;
    if (c == nullptr) {
        errno = ENOMEM;
        return nullptr;
    }
    c->generation = fork_generation;
    list_init(&c->open);
    list_init(&c->ended);
    list_init(&c->list);
    return c;
}

static bool ours(void *c)
{
    return ((weft_completions *)c)->generation == fork_generation;
}

// EPERM: a forked child's parent made it.
static int refusal(weft_completions *c)
{
    return c == nullptr ? EINVAL : ours(c) ? 0 : EPERM;
}

int weft_completions_destroy(weft_completions *c)
{
    if (c == nullptr)
        return 0;
    if (refusal(c) != 0)
        return fail_with(EPERM);
    take_lock(&c->lock);
    bool busy = !list_is_empty(&c->open) || c->waiting != 0;
    drop_lock(&c->lock);
    if (busy)
        return fail_with(EBUSY);
    for (completion *one = c->ended.next, *next; one != &c->ended; one = next) {
        next = one->next;
        free_keep_errno(one);
    }
    free_keep_errno(c);
    return 0;
}

static void complete(weft_private_watch *w)
{
    completion *one = (completion *)(void *)w;
    weft_completions *c = one->all;
    take_lock(&c->lock);
    list_remove(one);
    list_insert(&c->ended, one);
    if (list_is_empty(&c->open)) // others that wait may wait in vain
        waiters_wake(&c->list, SIZE_MAX);
    else
        waiters_wake_one(&c->list);
    drop_lock(&c->lock);
}

int weft_completions_add(weft_completions *c, weft_future *f)
{
    int error = f == nullptr ? EINVAL : refusal(c);
    if (error == 0 && is_lost(f))
        error = EPERM;
    if (error != 0)
        return fail_with(error);
    completion *one = (completion *)malloc(sizeof *one);
    if (one == nullptr)
        return -1;
    one->watch = {nullptr, nullptr, complete, f};
    one->future = f;
    one->all = c;
    take_lock(&c->lock);
    list_insert(&c->open, one);
    drop_lock(&c->lock);
    future_is_awaited(f, nullptr);
    if (!future_watch(f, &one->watch)) {
        cycles_forget(&one->watch);
        complete(&one->watch);
    }
    return 0;
}

bool weft::completions_all(weft_completions *c, bool (*fn)(const weft_future *f, void *arg),
                           void *arg)
{
    take_lock(&c->lock);
    bool all = list_is_empty(&c->ended);
    for (completion *one = c->open.next; all && one != &c->open; one = one->next)
        all = one->watch.of != nullptr && fn(one->watch.of, arg);
    drop_lock(&c->lock);
    return all;
}

// 0 and one that has ended, EAGAIN, or EDEADLK.
static int take_completion(weft_completions *c, completion **one)
{
    take_lock(&c->lock);
    bool taken = !list_is_empty(&c->ended), others = c->waiting > 0;
    int error = taken ? 0 : list_is_empty(&c->open) ? EDEADLK : EAGAIN;
    *one = taken ? c->ended.next : nullptr;
    if (taken)
        list_remove(*one);
    drop_lock(&c->lock);
    if (taken && others && cycle_may_hold(c)) { // who waits has fewer to wait for
        take_lock(&c->lock);
        waiters_wake(&c->list, SIZE_MAX);
        drop_lock(&c->lock);
    }
    return error;
}

// The wait of a worker, which may be one of a circle.
static int sleep_among(weft_completions *c, crew_worker *me, waiter *w, weft_deadline d)
{
    int error = cycle_enter(me, {nullptr, 0, c}, &w->woken, d != WEFT_FOREVER);
    if (error != 0)
        return error;
    error = worker_blocks(me, nullptr, 0, false);
    if (error == 0 || d != WEFT_FOREVER || !cycles_all_pending(c, me->executor))
        error = await_word(&w->woken, d, 0);
    worker_goes_on(me, false);
    cycle_leave(me);
    return error;
}

// Until one has ended, or the errno.
static int await_completion(weft_completions *c, weft_deadline d)
{
    waiter w;
    int error = 0;
    crew_worker *me = worker_here();
    take_lock(&c->lock);
    bool wait = list_is_empty(&c->ended) && !list_is_empty(&c->open);
    if (wait && me == nullptr) {
        c->waiting++;
        error = waiters_wait(&c->list, &c->lock, d, 0, ours, c);
    } else if (wait) {
        c->waiting++;
        waiters_add(&c->list, &w);
        drop_lock(&c->lock);
        error = sleep_among(c, me, &w, d);
        if (!ours(c))
            return EPERM; // this is a forked child
        take_lock(&c->lock);
        if (w.woken & TAKEN_OFF)
            error = 0; // look again
        else
            list_remove(&w);
        if (error == 0 && (w.woken & DEADLOCKED))
            error = EDEADLK;
    }
    c->waiting -= wait;
    drop_lock(&c->lock);
    return error;
}

weft_future *weft_completions_next(weft_completions *c, weft_deadline d)
{
    completion *one = nullptr;
    auto look = [=, &one] { return take_completion(c, &one); };
    auto sleep = [=](weft_deadline until) { return await_completion(c, until); };
    int error = refusal(c);
    if (error == 0)
        error = wait_for(d, look, sleep);
    if (error != 0) {
        errno = error;
        return nullptr;
    }
    weft_future *f = one->future;
    free_keep_errno(one);
    return f;
}
