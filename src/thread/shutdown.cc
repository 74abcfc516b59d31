// shutdown.cc: the end of an executor.
//
// Closed it takes no more.  A drain leaves the rest to the workers; a discard ends what is pending
// in the thread that asks for it, callbacks and all, while no worker begins anything.  Then there
// is no worker left, no cancel and no delivery under way, and nobody else knows it.
#include "crew.h"
#include "readable.h"

using namespace weft;

static void stop_workers(weft_executor *ex)
{
    crew_worker *w = ex->workers;
    if (w != nullptr)
        do {
            weft_thread_stop(w->thread);
            w = w->next;
        } while (w != ex->workers);
}

// Locked on entry and return; callbacks go without the lock.  Meanwhile no worker begins a task.
static void discard(weft_executor *ex)
{
    weft_future *f;
    ex->discarding = true;
    stop_workers(ex);
    while ((f = take_any(ex)) != nullptr) {
        ex->running++;
        drop_lock(&ex->lock);
        end_by_hand(ex, f, WEFT_FUTURE_CANCELLED);
        take_lock(&ex->lock);
    }
}

namespace {
struct shutting_down {
    weft_executor *ex;
    int how;
};
} // namespace

// Also when a callback leaves the thread: then the rest is discarded here.
static void closed_down(void *arg)
{
    shutting_down *s = (shutting_down *)arg;
    weft_executor *ex = s->ex;
    take_lock(&ex->lock);
    if (s->how == WEFT_DISCARD)
        discard(ex);
    ex->inside--;
    wake_all_idle(ex);
    drop_lock(&ex->lock);
}

static void close_down(weft_executor *ex, int how)
{
    shutting_down s = {ex, how};
    call_or_leave(closed_down, &s, [=] {
        take_lock(&ex->lock);
        ex->inside++;
        inbox_close(ex);
        waiters_wake(&ex->room, SIZE_MAX);
        if (how == WEFT_DISCARD)
            discard(ex);
        drop_lock(&ex->lock);
    });
    closed_down(&s);
}

// Also what is being cancelled, or delivered after the end of another, and what a discard has still
// before it.
static bool has_ended(const weft_executor *ex)
{
    return ex->alive == 0 && ex->running == 0 && list_is_empty(&ex->deferred) &&
           !(ex->discarding && ex->pending != 0);
}

// Waits until the threads have ended: 0 or the errno.
static int await_end(weft_executor *ex, weft_deadline d, bool stoppable)
{
    take_lock(&ex->lock);
    int error = wait_for(
        d, [=] { return has_ended(ex) ? 0 : EAGAIN; },
        [=](weft_deadline until) {
            return waiters_wait(&ex->gone, &ex->lock, until, stoppable ? 0 : REGARDLESS);
        });
    drop_lock(&ex->lock);
    return error;
}

// Joins them: their thread-local data may have destructors that take their time.
static int join_all(weft_executor *ex, weft_deadline d, bool stoppable)
{
    static const uint32_t nothing = 0;
    while (!reap(ex, d)) {
        if (weft_left(d) == 0)
            return ETIMEDOUT;
        if (stoppable)
            return ECANCELED;
        futex_wait(&nothing, 0, weft_in_us(200), 0); // told to stop, so no join waits
    }
    return 0;
}

static int join_crew(weft_executor *ex, weft_deadline d, bool stoppable)
{
    take_lock(&ex->lock);
    bool open = !ex->closed;
    ex->inside += !open;
    drop_lock(&ex->lock);
    if (open)
        return EBUSY;
    int error = await_end(ex, d, stoppable);
    if (error == 0)
        error = join_all(ex, d, stoppable);
    take_lock(&ex->lock);
    ex->inside--;
    drop_lock(&ex->lock);
    return error;
}

static int check_join(const weft_executor *ex)
{
    int error = executor_refusal(ex);
    return error == 0 && in_task_of(ex) ? EDEADLK : error;
}

int weft_executor_close(weft_executor *ex, int how)
{
    int error = executor_refusal(ex);
    if (error == 0 && how != WEFT_DRAIN && how != WEFT_DISCARD)
        error = EINVAL;
    if (error != 0)
        return fail_with(error);
    close_down(ex, how);
    return 0;
}

int weft_executor_join(weft_executor *ex, weft_deadline d)
{
    int error = check_join(ex);
    if (error == 0)
        error = join_crew(ex, d, true);
    return error == 0 ? 0 : fail_with(error);
}

static void release(weft_executor *ex)
{
    crew_worker *w = ex->spent, *next;
    cycles_pass();
    for (; w != nullptr; w = next) {
        next = w->next;
        free_keep_errno(w);
    }
    ex->spent = nullptr;
    close_keep_errno(&ex->fd);
    executor_put(ex);
}

int weft_executor_destroy(weft_executor *ex)
{
    if (ex == nullptr)
        return 0;
    int error = check_join(ex);
    if (error != 0)
        return fail_with(error);
    take_lock(&ex->lock);
    bool busy = ex->inside != 0, open = !ex->closed;
    drop_lock(&ex->lock);
    if (busy)
        return fail_with(EBUSY);
    if (open)
        close_down(ex, WEFT_DRAIN);
    join_crew(ex, WEFT_FOREVER, false);
    if (is_inherited(ex)) // a tasklet waited, and this is a forked child
        return fail_with(EPERM);
    release(ex);
    return 0;
}
