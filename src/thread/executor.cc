// executor.cc: the pool of threads.
//
// The futures are the links.  A submit pushes its future on the inbox, a stack, with one
// compare-and-swap.  Under the lock is the backlog, a doubly linked list; a worker ends
// its last task and takes the next in one locked section, and only when the backlog is
// empty does it take the whole inbox and turn it round.  So submitters and workers meet
// rarely, and there is one order for all: queues per worker would contend less still, and
// would let a short task wait behind a long one.  With a limited backlog a submit
// takes the lock, for its room must be counted.
//
// A submit that finds `sleepers` set takes the lock and wakes one.  "Push, then look at
// sleepers" against "set sleepers, then look at the inbox" is sequentially consistent on
// both sides: one of the two sees the other.
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

// Takes what is in the inbox, leaving `rest` there, and appends it in order.  The futures
// lie in the submitter's cache, and fetching them one by one, each link from the one
// before, would cost more than all else: so each names one some places further on.
static void collect(weft_executor *ex, weft_future *rest)
{
    // Acquire: the futures' contents.
    weft_future *f = __atomic_exchange_n(&ex->inbox, rest, __ATOMIC_SEQ_CST);
    weft_future *newest = f, *newer = nullptr, *older;
    size_t n = 0;
    if (f == nullptr)
        return;
    for (; f != nullptr; f = older) {
        older = f->next;
        __builtin_prefetch(f->previous, 1);
        f->next = newer;
        if (newer != nullptr)
            newer->previous = f;
        newer = f;
        n++;
    }
    newer->previous = ex->last;
    if (ex->last != nullptr)
        ex->last->next = newer;
    else
        ex->first = newer;
    ex->last = newest;
    __atomic_store_n(&ex->pending, ex->pending + n, __ATOMIC_RELAXED);
}

void weft_private_collect(weft_executor *ex)
{
    if (weft_private_inbox_has(ex)) // and it is only closed under the lock
        collect(ex, nullptr);
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
    return ex->first == nullptr && ex->running == 0 && !weft_private_inbox_has(ex);
}

void weft_private_note_sleepers(weft_executor *ex)
{
    bool any = ex->searching == 0 && (ex->idle.first != nullptr || ex->helpers.first != nullptr);
    if (ex->sleepers != any)
        __atomic_store_n(&ex->sleepers, any, __ATOMIC_SEQ_CST);
}

void weft_private_wake_worker(weft_executor *ex)
{
    if (ex->searching != 0 || weft_private_oldest(ex) == nullptr)
        return;
    if (ex->idle.first != nullptr)
        weft_private_waiters_wake_first(&ex->idle);
    else
        weft_private_waiters_wake_one(&ex->helpers);
    weft_private_note_sleepers(ex);
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

static bool looks_busy(const weft_executor *ex)
{
    return __atomic_load_n(&ex->inbox, __ATOMIC_RELAXED) != nullptr ||
           __atomic_load_n(&ex->pending, __ATOMIC_RELAXED) != 0;
}

// Locked, the backlog is empty.  Not stoppable: a task may have been told to stop, the
// pool goes on.
static void sleep_idle(weft_executor *ex)
{
    weft_private_waiter me;
    weft_private_waiters_add(&ex->idle, &me);
    weft_private_note_sleepers(ex);
    if (weft_private_inbox_has(ex)) {
        weft_private_waiters_remove(&ex->idle, &me);
        weft_private_note_sleepers(ex);
        return;
    }
    weft_private_unlock(&ex->lock);
    while (__atomic_load_n(&me.woken, __ATOMIC_ACQUIRE) == 0)
        weft_futex_wait(&me.woken, 0, WEFT_FOREVER, 0);
    weft_private_lock(&ex->lock);
}

// Locked.  Looks for a while without the lock, then sleeps.
static void idle(weft_executor *ex)
{
    ex->searching++;
    weft_private_note_sleepers(ex);
    weft_private_unlock(&ex->lock);
    for (int round = 0; round < ROUNDS; round++) {
        for (int look = 0; look < LOOKS; look++) {
            if (looks_busy(ex))
                goto found;
            weft_private_pause();
        }
        sched_yield();
    }
found:
    weft_private_lock(&ex->lock);
    ex->searching--;
    weft_private_note_sleepers(ex);
    if (weft_private_oldest(ex) == nullptr && !must_leave(ex))
        sleep_idle(ex);
    if (weft_private_oldest(ex) != nullptr && ex->first->next != nullptr)
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
        weft_future *f = weft_private_oldest(ex);
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
    weft_executor *ex = (weft_executor *)aligned_alloc(alignof(weft_executor), sizeof *ex);
    if (ex == nullptr)
        return nullptr;
    memset((void *)ex, 0, sizeof *ex);
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

static void wake_all_idle(weft_executor *ex)
{
    weft_private_waiters_wake(&ex->idle, SIZE_MAX);
    weft_private_note_sleepers(ex);
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
            wake_all_idle(ex);
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

size_t weft_executor_pending(weft_executor *ex)
{
    weft_private_lock(&ex->lock);
    weft_private_collect(ex);
    size_t n = ex->pending;
    weft_private_unlock(&ex->lock);
    return n;
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
    if (!ex->closed)
        collect(ex, WEFT_PRIVATE_CLOSED);
    ex->closed = 1;
    if (how == WEFT_DISCARD)
        discard(ex);
    wake_all_idle(ex);
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
