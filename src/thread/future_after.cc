// future_after.cc: tasks that are queued when a future has ended, and futures as they complete.
//
// A task that is deferred stands in its executor's ring `deferred` and in a slot of its
// continuation, which the other future's end calls.  Who exchanges the slot for null has the task:
// the end, which delivers it to the backlog and frees the continuation, or who cancels it, and
// then the end finds nothing and touches no executor.  The executor stays until the ring is empty,
// and the continuation until its task has left the ring: so each may use the other.
#include "crew.h"

#include <base/errno.h>

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

static int defer(weft_executor *ex, weft_future *f, continuation *c)
{
    c->watch = {nullptr, nullptr, deliver};
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

weft_future *weft_executor_submit_after(weft_executor *ex, weft_future *f, void *(*fn)(void *),
                                        void *arg)
{
    weft_future *mine = f != nullptr ? task_make(ex, fn, arg) : nullptr;
    if (f == nullptr)
        errno = EINVAL;
    if (mine == nullptr)
        return nullptr;
    continuation *c = (continuation *)malloc(sizeof *c);
    int error = c == nullptr ? ENOMEM : defer(ex, mine, c);
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
    weft_private_watch watch; // the first member; `next` also links those that have ended
    weft_future *future;
    weft_completions *all;
};
} // namespace

struct weft_completions {
    uint32_t lock;
    // Guarded by it.
    completion *first, *last; // those that have ended
    size_t open;              // those that have not
    size_t waiting;           // threads
    waiters list;
};

weft_completions *weft_completions_create(void)
{
    weft_completions *c = (weft_completions *)calloc(1, sizeof *c);
    if (c != nullptr)
        list_init(&c->list);
    return c;
}

int weft_completions_destroy(weft_completions *c)
{
    if (c == nullptr)
        return 0;
    take_lock(&c->lock);
    bool busy = c->open != 0 || c->waiting != 0;
    drop_lock(&c->lock);
    if (busy)
        return fail_with(EBUSY);
    for (completion *one = c->first, *next; one != nullptr; one = next) {
        next = (completion *)(void *)one->watch.next;
        free_keep_errno(one);
    }
    free_keep_errno(c);
    return 0;
}

static void complete(weft_private_watch *w)
{
    completion *one = (completion *)(void *)w;
    weft_completions *c = one->all;
    w->next = nullptr;
    take_lock(&c->lock);
    if (c->first == nullptr)
        c->first = one;
    else
        c->last->watch.next = w;
    c->last = one;
    c->open--;
    if (c->open == 0) // others that wait may wait in vain
        waiters_wake(&c->list, SIZE_MAX);
    else
        waiters_wake_one(&c->list);
    drop_lock(&c->lock);
}

int weft_completions_add(weft_completions *c, weft_future *f)
{
    completion *one = c != nullptr && f != nullptr ? (completion *)malloc(sizeof *one) : nullptr;
    if (c == nullptr || f == nullptr)
        errno = EINVAL;
    if (one == nullptr)
        return -1;
    one->watch = {nullptr, nullptr, complete};
    one->future = f;
    one->all = c;
    take_lock(&c->lock);
    c->open++;
    drop_lock(&c->lock);
    future_is_awaited(f, nullptr);
    if (!future_watch(f, &one->watch))
        complete(&one->watch);
    return 0;
}

// Locked.
static completion *take_completion(weft_completions *c)
{
    completion *one = c->first;
    if (one != nullptr)
        c->first = (completion *)(void *)one->watch.next;
    return one;
}

// One that has ended, or null and the errno.
static completion *await_completion(weft_completions *c, weft_deadline d, int *error)
{
    completion *one = nullptr;
    take_lock(&c->lock);
    c->waiting++;
    auto look = [=, &one] {
        one = take_completion(c);
        return one != nullptr ? 0 : c->open == 0 ? EDEADLK : EAGAIN;
    };
    *error = wait_for(d, look,
                      [=](weft_deadline until) { return waiters_wait(&c->list, &c->lock, until); });
    c->waiting--;
    drop_lock(&c->lock);
    return one;
}

weft_future *weft_completions_next(weft_completions *c, weft_deadline d)
{
    int error = c == nullptr ? EINVAL : 0;
    crew_worker *me = worker_here();
    completion *one = error == 0 ? await_completion(c, WEFT_NOW, &error) : nullptr;
    if (one == nullptr && error == ETIMEDOUT && d > WEFT_NOW) {
        if (me != nullptr)
            worker_blocks(me, nullptr, 0, false);
        one = await_completion(c, d, &error);
        if (me != nullptr)
            worker_goes_on(me, false);
    }
    if (one == nullptr) {
        errno = error;
        return nullptr;
    }
    weft_future *f = one->future;
    free_keep_errno(one);
    return f;
}
