// executor.cc: the pool of threads.
//
// One lock, one doubly linked backlog whose links are the futures themselves.  A worker
// ends its last task and takes the next in one locked section; a submit is one too.
// Private queues with stealing would contend less, and would let a short task wait
// behind a long one or out of order; with a lock this short, one queue is faster than
// the stealing pools people use.
//
// A worker that runs out of work looks around a little, counted in `searching`, before
// it sleeps.  While one is searching a submit wakes nobody: the searcher looks at the
// backlog under the lock before it goes to sleep; and a worker that comes from searching or
// sleeping, takes a task and leaves another behind, wakes the next one.
#include "crew.h"

#include <base/saved_errno.h>

#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>

enum { ROUNDS = 4, LOOKS = 32 };

__thread weft_private_worker *weft_private_crew;

// ---- The backlog ----

void weft_private_backlog_add(weft_executor *ex, weft_future *f)
{
    f->next = nullptr;
    f->previous = ex->last;
    if (ex->last != nullptr)
        ex->last->next = f;
    else
        ex->first = f;
    ex->last = f;
    __atomic_store_n(&ex->pending, ex->pending + 1, __ATOMIC_RELAXED);
}

void weft_private_backlog_remove(weft_executor *ex, weft_future *f)
{
    if (f->previous != nullptr)
        f->previous->next = f->next;
    else
        ex->first = f->next;
    if (f->next != nullptr)
        f->next->previous = f->previous;
    else
        ex->last = f->previous;
    __atomic_store_n(&f->pending, (uint16_t)0, __ATOMIC_RELAXED);
    __atomic_store_n(&ex->pending, ex->pending - 1, __ATOMIC_RELAXED);
    ex->running++;
    weft_private_waiters_wake_one(&ex->room);
}

bool weft_private_executor_is_quiet(const weft_executor *ex)
{
    return ex->first == nullptr && ex->running == 0;
}

void weft_private_task_ended(weft_executor *ex)
{
    ex->running--;
    if (__builtin_expect(ex->quiet.first != nullptr, 0) && weft_private_executor_is_quiet(ex))
        weft_private_waiters_wake(&ex->quiet, SIZE_MAX);
}

void weft_private_task_run(weft_executor *ex, weft_future *f)
{
    int saved = errno; // it may be run from within a call that is to succeed
    weft_private_frame frame = {f, weft_private_frames};
    weft_private_frames = &frame;
    f->result = f->fn(f->arg);
    weft_private_future_end(ex, f, WEFT_FUTURE_DONE);
    weft_private_frames = frame.outer;
    errno = saved;
}

void weft_private_task_cancel(weft_executor *ex, weft_future *f)
{
    weft_private_frame frame = {f, weft_private_frames};
    weft_private_frames = &frame;
    weft_private_future_end(ex, f, WEFT_FUTURE_CANCELLED);
    weft_private_frames = frame.outer;
}

// ---- The workers ----

static bool must_leave(const weft_executor *ex)
{
    return ex->alive > ex->wanted || (ex->closed && ex->first == nullptr);
}

// Locked.  Looks for a while without the lock, then sleeps.
static void idle(weft_executor *ex)
{
    ex->searching++;
    weft_private_unlock(&ex->lock);
    for (int round = 0; round < ROUNDS; round++) {
        for (int look = 0; look < LOOKS; look++) {
            if (__atomic_load_n(&ex->pending, __ATOMIC_RELAXED) != 0)
                goto found;
            weft_private_pause();
        }
        sched_yield();
    }
found:
    weft_private_lock(&ex->lock);
    ex->searching--;
    if (ex->first == nullptr && !must_leave(ex))
        // Not stoppable: a task may have been told to stop, the pool goes on.
        weft_private_waiters_wait_on(&ex->idle, &ex->lock, WEFT_FOREVER);
    if (ex->first != nullptr && ex->first->next != nullptr)
        weft_private_wake_worker(ex); // one task is ours, there is more
}

static void retire(weft_executor *ex, weft_private_worker *me)
{
    weft_private_worker **at = &ex->workers;
    while (*at != me)
        at = &(*at)->next;
    *at = me->next;
    me->next = ex->ended;
    ex->ended = me;
    ex->alive--;
    if (ex->first != nullptr)
        weft_private_wake_worker(ex); // a wake may have been spent on this one
    if (ex->alive == 0)
        weft_private_waiters_wake(&ex->gone, SIZE_MAX);
}

static void *work(void *arg)
{
    weft_private_worker *me = (weft_private_worker *)arg;
    weft_executor *ex = me->executor;
    weft_private_crew = me;
    weft_private_lock(&ex->lock);
    while (!must_leave(ex)) {
        weft_future *f = ex->first;
        if (f == nullptr) {
            idle(ex);
            continue;
        }
        weft_private_backlog_remove(ex, f);
        weft_private_unlock(&ex->lock);
        weft_private_task_run(ex, f);
        weft_private_lock(&ex->lock);
        weft_private_task_ended(ex);
    }
    retire(ex, me);
    weft_private_unlock(&ex->lock);
    return nullptr;
}

// Locked: starts one thread, or returns the errno.  It waits at the lock until its
// handle is in place.
static int hire(weft_executor *ex)
{
    int saved = errno;
    weft_thread_options opts = {};
    opts.name = ex->name;
    opts.stack_size = ex->stack_size;
    weft_private_worker *w = (weft_private_worker *)malloc(sizeof *w);
    if (w == nullptr)
        return ENOMEM;
    w->executor = ex;
    w->thread = weft_thread_start(work, w, &opts);
    if (w->thread == nullptr) {
        int error = errno;
        free(w);
        errno = saved;
        return error;
    }
    w->next = ex->workers;
    ex->workers = w;
    ex->alive++;
    return 0;
}

// Joins the threads that have ended: they are past their last look at ex, so this is
// short, also for a caller that was told to stop.
static void reap(weft_executor *ex)
{
    int saved = errno;
    weft_private_lock(&ex->lock);
    weft_private_worker *w = ex->ended, *next;
    ex->ended = nullptr;
    weft_private_unlock(&ex->lock);
    for (; w != nullptr; w = next) {
        next = w->next;
        while (weft_thread_join(w->thread, nullptr, WEFT_FOREVER) != 0)
            sched_yield();
        free(w);
    }
    errno = saved;
}

// Locked: as many as wanted, or the errno.
static int hire_all(weft_executor *ex)
{
    int error = 0;
    while (ex->alive < ex->wanted && error == 0)
        error = hire(ex);
    if (error != 0)
        __atomic_store_n(&ex->wanted, ex->alive, __ATOMIC_RELAXED);
    return error;
}

// ---- Create and resize ----

static const char *name_of(const weft_executor_options *opts)
{
    return opts != nullptr && opts->name != nullptr ? opts->name : "weft-worker";
}

weft_executor *weft_executor_create(int threads, const weft_executor_options *opts)
{
    if (threads < 0) {
        errno = EINVAL;
        return nullptr;
    }
    weft_executor *ex = (weft_executor *)calloc(1, sizeof *ex);
    if (ex == nullptr)
        return nullptr;
    ex->fd = -1;
    ex->wanted = threads > 0 ? threads : weft_cpu_count();
    ex->limit = opts != nullptr && opts->backlog != 0 ? opts->backlog : SIZE_MAX;
    ex->stack_size = opts != nullptr ? opts->stack_size : 0;
    strncpy(ex->name, name_of(opts), sizeof ex->name - 1);
    weft_private_lock(&ex->lock);
    int error = hire_all(ex);
    weft_private_unlock(&ex->lock);
    if (error != 0) {
        if (ex->alive > 0)
            weft_executor_destroy(ex, WEFT_DISCARD);
        else
            free(ex);
        errno = error;
        return nullptr;
    }
    return ex;
}

int weft_executor_resize(weft_executor *ex, int threads)
{
    if (threads < 1)
        return weft_fail(EINVAL);
    weft_private_lock(&ex->lock);
    int error = EPIPE;
    if (!ex->closed) {
        __atomic_store_n(&ex->wanted, threads, __ATOMIC_RELAXED);
        if (ex->alive > ex->wanted)
            weft_private_waiters_wake(&ex->idle, SIZE_MAX);
        error = hire_all(ex);
    }
    weft_private_unlock(&ex->lock);
    reap(ex);
    return error == 0 ? 0 : weft_fail(error);
}

int weft_executor_threads(const weft_executor *ex)
{
    return __atomic_load_n(&ex->wanted, __ATOMIC_RELAXED);
}

size_t weft_executor_pending(const weft_executor *ex)
{
    return __atomic_load_n(&ex->pending, __ATOMIC_RELAXED);
}

// ---- Shutdown ----

// Locked on entry and return.  The whole backlog counts as running while it is being
// cancelled, which takes callbacks and so goes without the lock.
static void discard(weft_executor *ex)
{
    weft_future *f = ex->first, *next;
    while (ex->first != nullptr)
        weft_private_backlog_remove(ex, ex->first); // leaves `next` as it is
    for (weft_private_worker *w = ex->workers; w != nullptr; w = w->next)
        weft_thread_stop(w->thread);
    for (; f != nullptr; f = next) {
        next = f->next;
        weft_private_unlock(&ex->lock);
        weft_private_task_cancel(ex, f);
        weft_private_lock(&ex->lock);
        weft_private_task_ended(ex);
    }
}

static int shut_down(weft_executor *ex, int how, weft_deadline d, bool stoppable)
{
    int error = 0;
    weft_private_lock(&ex->lock);
    ex->inside++;
    ex->closed = 1;
    if (how == WEFT_DISCARD)
        discard(ex);
    weft_private_waiters_wake(&ex->idle, SIZE_MAX);
    weft_private_waiters_wake(&ex->room, SIZE_MAX);
    while (ex->alive > 0 && error == 0) {
        if (d <= WEFT_NOW)
            error = ETIMEDOUT;
        else if (stoppable)
            error = weft_private_waiters_wait(&ex->gone, &ex->lock, d);
        else
            error = weft_private_waiters_wait_on(&ex->gone, &ex->lock, d);
    }
    bool ended = ex->alive == 0;
    weft_private_unlock(&ex->lock);
    if (ended)
        reap(ex);
    weft_private_lock(&ex->lock);
    ex->inside--;
    weft_private_unlock(&ex->lock);
    return ended ? 0 : error;
}

static int check_end(const weft_executor *ex, int how)
{
    if (how != WEFT_DRAIN && how != WEFT_DISCARD)
        return EINVAL;
    return weft_private_in_task_of(ex) ? EDEADLK : 0;
}

int weft_executor_shutdown(weft_executor *ex, int how, weft_deadline d)
{
    int error = check_end(ex, how);
    if (error == 0)
        error = shut_down(ex, how, d, true);
    return error == 0 ? 0 : weft_fail(error);
}

int weft_executor_destroy(weft_executor *ex, int how)
{
    if (ex == nullptr)
        return 0;
    int error = check_end(ex, how);
    if (error != 0)
        return weft_fail(error);
    weft_private_lock(&ex->lock);
    bool busy = ex->inside != 0;
    weft_private_unlock(&ex->lock);
    if (busy)
        return weft_fail(EBUSY);
    shut_down(ex, how, WEFT_FOREVER, false);
    weft_close_keep_errno(&ex->fd);
    free(ex);
    return 0;
}

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

// Queues f.  0, or the errno.
static int enqueue(weft_executor *ex, weft_future *f)
{
    weft_private_lock(&ex->lock);
    int error = can_add(ex);
    if (__builtin_expect(error == 0, 1)) {
        weft_private_backlog_add(ex, f);
        weft_private_wake_worker(ex);
    }
    weft_private_unlock(&ex->lock);
    return error;
}

static weft_future *make(weft_executor *ex, void *(*fn)(void *), void *arg)
{
    if (fn == nullptr) {
        errno = EINVAL;
        return nullptr;
    }
    weft_future *f = (weft_future *)malloc(sizeof *f);
    if (f != nullptr)
        weft_private_future_make(f, ex, fn, arg, 0);
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
    free(f);
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
    free(f);
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
