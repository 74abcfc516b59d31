// submit.cc: tasks on their way into the backlog, and the wait until it is empty.
//
// How a submit meets the workers is told in executor.cc.
#include "crew.h"

#include <base/saved_errno.h>

#include <sys/eventfd.h>

// ---- Submit ----

void weft_private_future_make(weft_future *f, weft_executor *ex, void *(*fn)(void *), void *arg,
                              uint16_t kind)
{
    f->executor = ex;
    f->fn = fn;
    f->arg = arg;
    f->result = nullptr;
    f->state = 0;
    f->lock = 0;
    f->watches = nullptr;
    f->then = nullptr;
    f->then_arg = nullptr;
    f->fd = -1;
    f->pending = 1;
    f->kind = kind;
}

// Locked: 0, EPIPE, or EAGAIN.
static int can_add(const weft_executor *ex)
{
    if (ex->closed)
        return EPIPE;
    return ex->pending < ex->limit ? 0 : EAGAIN;
}

static int enqueue_limited(weft_executor *ex, weft_future *f)
{
    weft_private_lock(&ex->lock);
    int error = can_add(ex);
    if (error == 0) {
        weft_private_backlog_add(ex, f);
        weft_private_wake_worker(ex);
    }
    weft_private_unlock(&ex->lock);
    return error;
}

// Queues f.  0, or the errno.
static int enqueue(weft_executor *ex, weft_future *f)
{
    if (ex->limit != SIZE_MAX)
        return enqueue_limited(ex, f);
    // Relaxed, and not even one step: a lost hint is a slower fetch.
    unsigned at = __atomic_load_n(&ex->recent_at, __ATOMIC_RELAXED) % WEFT_PRIVATE_AHEAD;
    f->previous = __atomic_load_n(&ex->recent[at], __ATOMIC_RELAXED);
    __atomic_store_n(&ex->recent[at], f, __ATOMIC_RELAXED);
    __atomic_store_n(&ex->recent_at, at + 1, __ATOMIC_RELAXED);
    weft_future *newest = __atomic_load_n(&ex->inbox, __ATOMIC_RELAXED);
    do {
        if (newest == WEFT_PRIVATE_CLOSED)
            return EPIPE;
        f->next = newest;
        // Release: f's contents; sequentially consistent: see the banner.
    } while (!__atomic_compare_exchange_n(&ex->inbox, &newest, f, true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
    if (__builtin_expect(__atomic_load_n(&ex->sleepers, __ATOMIC_SEQ_CST) != 0, 0)) {
        weft_private_lock(&ex->lock);
        weft_private_wake_worker(ex);
        weft_private_unlock(&ex->lock);
    }
    return 0;
}

static weft_future *make(weft_executor *ex, void *(*fn)(void *), void *arg)
{
    if (fn == nullptr) {
        errno = EINVAL;
        return nullptr;
    }
    uint16_t kind = 0;
    weft_future *f = weft_private_future_new(ex, &kind);
    if (f != nullptr)
        weft_private_future_make(f, ex, fn, arg, kind);
    return f;
}

weft_future *weft_executor_submit(weft_executor *ex, void *(*fn)(void *), void *arg)
{
    weft_future *f = make(ex, fn, arg);
    if (f == nullptr)
        return nullptr;
    int error = enqueue(ex, f);
    if (error == 0)
        return f;
    weft_private_future_free(f);
    errno = error;
    return nullptr;
}

// Locked: runs one pending task.
static void help(weft_executor *ex)
{
    weft_future *f = ex->first;
    weft_private_backlog_remove(ex, f);
    weft_private_unlock(&ex->lock);
    weft_private_task_run(ex, f);
    weft_private_lock(&ex->lock);
    weft_private_task_ended(ex);
}

// Locked: until there is room, or EPIPE, ETIMEDOUT, ECANCELED.
static int await_room(weft_executor *ex, weft_deadline d)
{
    bool worker = weft_private_crew != nullptr && weft_private_crew->executor == ex;
    int wait_error = 0;
    for (;;) {
        int error = can_add(ex);
        if (error != EAGAIN)
            return error;
        if (wait_error != 0)
            return wait_error;
        if (weft_left(d) == 0)
            wait_error = ETIMEDOUT;
        else if (worker)
            help(ex); // a full backlog has a task to run
        else
            wait_error = weft_private_waiters_wait(&ex->room, &ex->lock, d);
    }
}

weft_future *weft_executor_submit_wait(weft_executor *ex, void *(*fn)(void *), void *arg,
                                       weft_deadline d)
{
    weft_future *f = make(ex, fn, arg);
    if (f == nullptr)
        return nullptr;
    weft_private_lock(&ex->lock);
    ex->inside++;
    int error = await_room(ex, d);
    if (error == 0) {
        weft_private_backlog_add(ex, f);
        weft_private_wake_worker(ex);
    }
    ex->inside--;
    weft_private_unlock(&ex->lock);
    if (error == 0)
        return f;
    weft_private_future_free(f);
    errno = error;
    return nullptr;
}

int weft_executor_submit_at(weft_executor *ex, weft_future *f, void *(*fn)(void *), void *arg)
{
    if (fn == nullptr)
        return weft_fail(EINVAL);
    weft_private_future_make(f, ex, fn, arg, FUTURE_OWNED);
    int error = enqueue(ex, f);
    return error == 0 ? 0 : weft_fail(error);
}

// ---- Waiting for all of it ----

int weft_executor_wait(weft_executor *ex, weft_deadline d)
{
    int error = 0;
    if (weft_private_in_task_of(ex))
        return weft_fail(EDEADLK);
    weft_private_lock(&ex->lock);
    ex->inside++;
    while (!weft_private_executor_is_quiet(ex) && error == 0)
        error = d <= WEFT_NOW ? ETIMEDOUT : weft_private_waiters_wait(&ex->quiet, &ex->lock, d);
    bool quiet = weft_private_executor_is_quiet(ex);
    ex->inside--;
    weft_private_unlock(&ex->lock);
    return quiet ? 0 : weft_fail(error);
}

int weft_executor_fd(weft_executor *ex)
{
    weft_private_lock(&ex->lock);
    int fd = ex->fd;
    if (fd < 0) {
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        __atomic_store_n(&ex->fd, fd, __ATOMIC_RELAXED);
    }
    weft_private_unlock(&ex->lock);
    return fd;
}
