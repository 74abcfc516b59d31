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

#include <base/errno.h>

#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>

using namespace weft;

enum { ROUNDS = 4, LOOKS = 32 };

__thread crew_worker *weft::this_worker;

// ---- The backlog ----

void weft::backlog_add(weft_executor *ex, weft_future *f)
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

void weft::collect(weft_executor *ex)
{
    if (inbox_has(ex)) // and it is only closed under the lock
        collect(ex, nullptr);
}

void weft::backlog_remove(weft_executor *ex, weft_future *f)
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
    waiters_wake_one(&ex->room);
}

bool weft::executor_is_quiet(const weft_executor *ex)
{
    return ex->first == nullptr && ex->running == 0 && !inbox_has(ex);
}

void weft::note_sleepers(weft_executor *ex)
{
    bool any = ex->searching == 0 && (!list_is_empty(&ex->idle) || !list_is_empty(&ex->helpers));
    if (ex->sleepers != any)
        __atomic_store_n(&ex->sleepers, any, __ATOMIC_SEQ_CST);
}

void weft::wake_worker(weft_executor *ex)
{
    if (ex->searching != 0 || oldest(ex) == nullptr)
        return;
    if (!list_is_empty(&ex->idle))
        waiters_wake_first(&ex->idle);
    else
        waiters_wake_one(&ex->helpers);
    note_sleepers(ex);
}

void weft::task_ended(weft_executor *ex)
{
    ex->running--;
    if (__builtin_expect(!list_is_empty(&ex->quiet), 0) && executor_is_quiet(ex))
        waiters_wake(&ex->quiet, SIZE_MAX);
}

void weft::task_run(weft_executor *ex, weft_future *f)
{
    int saved = errno; // it may be run from within a call that is to succeed
    task_frame frame = {f, task_frames};
    task_frames = &frame;
    f->result = f->fn(f->arg);
    future_end(ex, f, WEFT_FUTURE_DONE);
    task_frames = frame.outer;
    errno = saved;
}

void weft::task_cancel(weft_executor *ex, weft_future *f)
{
    task_frame frame = {f, task_frames};
    task_frames = &frame;
    future_end(ex, f, WEFT_FUTURE_CANCELLED);
    task_frames = frame.outer;
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
    waiter me;
    waiters_add(&ex->idle, &me);
    note_sleepers(ex);
    if (inbox_has(ex)) {
        list_remove(&me);
        note_sleepers(ex);
        return;
    }
    drop_lock(&ex->lock);
    while (__atomic_load_n(&me.woken, __ATOMIC_ACQUIRE) == 0)
        futex_wait(&me.woken, 0, WEFT_FOREVER, 0);
    take_lock(&ex->lock);
}

// Locked.  Looks for a while without the lock, then sleeps.
static void idle(weft_executor *ex)
{
    ex->searching++;
    note_sleepers(ex);
    drop_lock(&ex->lock);
    for (int round = 0; round < ROUNDS; round++) {
        for (int look = 0; look < LOOKS; look++) {
            if (looks_busy(ex))
                goto found;
            spin_pause();
        }
        sched_yield();
    }
found:
    take_lock(&ex->lock);
    ex->searching--;
    note_sleepers(ex);
    if (oldest(ex) == nullptr && !must_leave(ex))
        sleep_idle(ex);
    if (oldest(ex) != nullptr && ex->first->next != nullptr)
        wake_worker(ex); // one task is ours, there is more
}

static void leave_crew(weft_executor *ex, crew_worker *me)
{
    crew_worker **at = &ex->workers;
    while (*at != me)
        at = &(*at)->next;
    *at = me->next;
    me->next = ex->ended;
    ex->ended = me;
    ex->alive--;
    wake_worker(ex); // a wake may have been spent on this one
    if (ex->alive == 0)
        waiters_wake(&ex->gone, SIZE_MAX);
}

static void *work(void *arg)
{
    crew_worker *me = (crew_worker *)arg;
    weft_executor *ex = me->executor;
    this_worker = me;
    take_lock(&ex->lock);
    while (!must_leave(ex)) {
        weft_future *f = oldest(ex);
        if (f == nullptr) {
            idle(ex);
            continue;
        }
        backlog_remove(ex, f);
        drop_lock(&ex->lock);
        task_run(ex, f);
        take_lock(&ex->lock);
        task_ended(ex);
    }
    leave_crew(ex, me);
    drop_lock(&ex->lock);
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
    crew_worker *w = (crew_worker *)malloc(sizeof *w);
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
    take_lock(&ex->lock);
    crew_worker *w = ex->ended, *next;
    ex->ended = nullptr;
    drop_lock(&ex->lock);
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
    list_init(&ex->idle);
    list_init(&ex->helpers);
    list_init(&ex->room);
    list_init(&ex->quiet);
    list_init(&ex->gone);
    ex->fd = -1;
    ex->wanted = threads > 0 ? threads : weft_cpu_count();
    ex->limit = opts != nullptr && opts->backlog != 0 ? opts->backlog : SIZE_MAX;
    ex->stack_size = opts != nullptr ? opts->stack_size : 0;
    strncpy(ex->name, name_of(opts), sizeof ex->name - 1);
    take_lock(&ex->lock);
    int error = hire_all(ex);
    drop_lock(&ex->lock);
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
    waiters_wake(&ex->idle, SIZE_MAX);
    note_sleepers(ex);
}

int weft_executor_resize(weft_executor *ex, int threads)
{
    if (threads < 1)
        return fail_with(EINVAL);
    take_lock(&ex->lock);
    int error = EPIPE;
    if (!ex->closed) {
        __atomic_store_n(&ex->wanted, threads, __ATOMIC_RELAXED);
        if (ex->alive > ex->wanted)
            wake_all_idle(ex);
        error = hire_all(ex);
    }
    drop_lock(&ex->lock);
    reap(ex);
    return error == 0 ? 0 : fail_with(error);
}

int weft_executor_threads(const weft_executor *ex)
{
    return __atomic_load_n(&ex->wanted, __ATOMIC_RELAXED);
}

size_t weft_executor_pending(weft_executor *ex)
{
    take_lock(&ex->lock);
    collect(ex);
    size_t n = ex->pending;
    drop_lock(&ex->lock);
    return n;
}

// ---- Shutdown ----

// Locked on entry and return.  The whole backlog counts as running while it is being
// cancelled, which takes callbacks and so goes without the lock.
static void discard(weft_executor *ex)
{
    weft_future *f = ex->first, *next;
    while (ex->first != nullptr)
        backlog_remove(ex, ex->first); // leaves `next` as it is
    for (crew_worker *w = ex->workers; w != nullptr; w = w->next)
        weft_thread_stop(w->thread);
    for (; f != nullptr; f = next) {
        next = f->next;
        drop_lock(&ex->lock);
        task_cancel(ex, f);
        take_lock(&ex->lock);
        task_ended(ex);
    }
}

static int shut_down(weft_executor *ex, int how, weft_deadline d, bool stoppable)
{
    int error = 0;
    take_lock(&ex->lock);
    ex->inside++;
    if (!ex->closed)
        collect(ex, INBOX_CLOSED);
    ex->closed = 1;
    if (how == WEFT_DISCARD)
        discard(ex);
    wake_all_idle(ex);
    waiters_wake(&ex->room, SIZE_MAX);
    while (ex->alive > 0 && error == 0) {
        if (d <= WEFT_NOW)
            error = ETIMEDOUT;
        else if (stoppable)
            error = waiters_wait(&ex->gone, &ex->lock, d);
        else
            error = waiters_wait_regardless(&ex->gone, &ex->lock, d);
    }
    bool ended = ex->alive == 0;
    drop_lock(&ex->lock);
    if (ended)
        reap(ex);
    take_lock(&ex->lock);
    ex->inside--;
    drop_lock(&ex->lock);
    return ended ? 0 : error;
}

static int check_end(const weft_executor *ex, int how)
{
    if (how != WEFT_DRAIN && how != WEFT_DISCARD)
        return EINVAL;
    return in_task_of(ex) ? EDEADLK : 0;
}

int weft_executor_shutdown(weft_executor *ex, int how, weft_deadline d)
{
    int error = check_end(ex, how);
    if (error == 0)
        error = shut_down(ex, how, d, true);
    return error == 0 ? 0 : fail_with(error);
}

int weft_executor_destroy(weft_executor *ex, int how)
{
    if (ex == nullptr)
        return 0;
    int error = check_end(ex, how);
    if (error != 0)
        return fail_with(error);
    take_lock(&ex->lock);
    bool busy = ex->inside != 0;
    drop_lock(&ex->lock);
    if (busy)
        return fail_with(EBUSY);
    shut_down(ex, how, WEFT_FOREVER, false);
    close_keep_errno(&ex->fd);
    free(ex);
    return 0;
}

// ---- Submit ----

void weft::future_make(weft_future *f, weft_executor *ex, void *(*fn)(void *), void *arg,
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
    take_lock(&ex->lock);
    int error = can_add(ex);
    if (error == 0) {
        backlog_add(ex, f);
        wake_worker(ex);
    }
    drop_lock(&ex->lock);
    return error;
}

// Queues f.  0, or the errno.
static int enqueue(weft_executor *ex, weft_future *f)
{
    if (ex->limit != SIZE_MAX)
        return enqueue_limited(ex, f);
    // Relaxed, and not even one step: a lost hint is a slower fetch.
    unsigned at = __atomic_load_n(&ex->recent_at, __ATOMIC_RELAXED) % INBOX_AHEAD;
    f->previous = __atomic_load_n(&ex->recent[at], __ATOMIC_RELAXED);
    __atomic_store_n(&ex->recent[at], f, __ATOMIC_RELAXED);
    __atomic_store_n(&ex->recent_at, at + 1, __ATOMIC_RELAXED);
    weft_future *newest = __atomic_load_n(&ex->inbox, __ATOMIC_RELAXED);
    do {
        if (newest == INBOX_CLOSED)
            return EPIPE;
        f->next = newest;
        // Release: f's contents; sequentially consistent: see the banner.
    } while (!__atomic_compare_exchange_n(&ex->inbox, &newest, f, true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
    if (__builtin_expect(__atomic_load_n(&ex->sleepers, __ATOMIC_SEQ_CST) != 0, 0)) {
        take_lock(&ex->lock);
        wake_worker(ex);
        drop_lock(&ex->lock);
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
        future_make(f, ex, fn, arg, 0);
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
    backlog_remove(ex, f);
    drop_lock(&ex->lock);
    task_run(ex, f);
    take_lock(&ex->lock);
    task_ended(ex);
}

// Locked: until there is room, or EPIPE, ETIMEDOUT, ECANCELED.
static int await_room(weft_executor *ex, weft_deadline d)
{
    bool worker = this_worker != nullptr && this_worker->executor == ex;
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
            wait_error = waiters_wait(&ex->room, &ex->lock, d);
    }
}

weft_future *weft_executor_submit_wait(weft_executor *ex, void *(*fn)(void *), void *arg,
                                       weft_deadline d)
{
    weft_future *f = make(ex, fn, arg);
    if (f == nullptr)
        return nullptr;
    take_lock(&ex->lock);
    ex->inside++;
    int error = await_room(ex, d);
    if (error == 0) {
        backlog_add(ex, f);
        wake_worker(ex);
    }
    ex->inside--;
    drop_lock(&ex->lock);
    if (error == 0)
        return f;
    free(f);
    errno = error;
    return nullptr;
}

int weft_executor_submit_at(weft_executor *ex, weft_future *f, void *(*fn)(void *), void *arg)
{
    if (fn == nullptr)
        return fail_with(EINVAL);
    future_make(f, ex, fn, arg, FUTURE_OWNED);
    int error = enqueue(ex, f);
    return error == 0 ? 0 : fail_with(error);
}

// ---- Waiting for all of it ----

int weft_executor_wait(weft_executor *ex, weft_deadline d)
{
    int error = 0;
    if (in_task_of(ex))
        return fail_with(EDEADLK);
    take_lock(&ex->lock);
    ex->inside++;
    while (!executor_is_quiet(ex) && error == 0)
        error = d <= WEFT_NOW ? ETIMEDOUT : waiters_wait(&ex->quiet, &ex->lock, d);
    bool quiet = executor_is_quiet(ex);
    ex->inside--;
    drop_lock(&ex->lock);
    return quiet ? 0 : fail_with(error);
}

int weft_executor_fd(weft_executor *ex)
{
    take_lock(&ex->lock);
    int fd = ex->fd;
    if (fd < 0) {
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        __atomic_store_n(&ex->fd, fd, __ATOMIC_RELAXED);
    }
    drop_lock(&ex->lock);
    return fd;
}
