// future.cc: a task's end, and those who wait for it.
//
// See crew.h for the state word.  A thread outside the pool waits on the word itself, or
// with a node of its own that each of several futures has on its list of watches.  A
// worker that waits runs tasks as long as there are any: first the one it waits for, if
// that is still pending; when there are none it sleeps on a node that both its future's
// end and the next submit wake, so that work which only becomes pending later can't
// be left without a thread.
#include "crew.h"

#include <base/errno.h>

#include <sched.h>
#include <sys/eventfd.h>

using namespace weft;

enum { ROUNDS = 4, LOOKS = 32, FEW = 8 };

// `woken`, beside TAKEN_OFF: a watched future has ended.
static const uint32_t WATCHED_ENDED = 2;

// A thread's interest in one future's end; guarded by that future's lock.
struct weft_private_watch {
    struct weft_private_watch *next;
    uint32_t *word;
};

__thread task_frame *weft::task_frames;

static bool is_final(const weft_future *f)
{
    return (future_state(f) & FUTURE_FINAL) != 0;
}

static bool is_own(const weft_future *f)
{
    for (const task_frame *p = task_frames; p != nullptr; p = p->outer)
        if (p->future == f)
            return true;
    return false;
}

bool weft::in_task_of(const weft_executor *ex)
{
    // A worker is in a task whenever it runs a user's code.  (Frames would not do: a
    // callback's future may have been released by its callback.)
    return this_worker != nullptr && this_worker->executor == ex;
}

// ---- The end ----

static void signal_fd(int fd)
{
    int saved = errno;
    uint64_t one = 1;
    if (fd >= 0 && write(fd, &one, sizeof one) < 0) {
        // The counter is at its limit, so it is readable as it should be.
    }
    errno = saved;
}

static void dispose(weft_future *f)
{
    if (future_state(f) & FUTURE_EXTRAS) {
        take_lock(&f->lock); // lets the thread that ended it go
        drop_lock(&f->lock);
        close_keep_errno(&f->fd);
    }
    if (!(f->kind & FUTURE_OWNED))
        free_keep_errno(f);
}

// The end with a callback, a descriptor or watches.
static void end_with_extras(weft_future *f, uint32_t outcome)
{
    __atomic_fetch_or(&f->state, outcome, __ATOMIC_ACQ_REL);
    take_lock(&f->lock);
    if (f->then != nullptr) { // set once, so it can be read after the release
        int saved = errno;
        drop_lock(&f->lock);
        f->then(f, f->then_arg);
        take_lock(&f->lock);
        errno = saved;
    }
    uint32_t before = __atomic_fetch_or(&f->state, FUTURE_FINAL, __ATOMIC_ACQ_REL);
    signal_fd(f->fd);
    for (weft_private_watch *w = f->watches; w != nullptr; w = w->next) {
        __atomic_fetch_or(w->word, WATCHED_ENDED, __ATOMIC_RELEASE);
        futex_wake(w->word, 1, 0);
    }
    drop_lock(&f->lock);
    if (before & FUTURE_SLEPT_ON)
        futex_wake(&f->state, INT_MAX, 0); // f may be gone: only its address is used
    if (before & FUTURE_RELEASED)
        dispose(f);
}

void weft::future_end(weft_executor *ex, weft_future *f, uint32_t outcome)
{
    bool silent = (f->kind & FUTURE_SILENT) != 0; // f may be gone when we need it
    uint32_t s = __atomic_load_n(&f->state, __ATOMIC_RELAXED);
    do {
        if (s & FUTURE_EXTRAS) {
            end_with_extras(f, outcome);
            s = 0;
            break;
        }
        // Release: the result goes before; acquire: the requests' data is seen.
    } while (!__atomic_compare_exchange_n(&f->state, &s, s | outcome | FUTURE_FINAL, false,
                                          __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    if (s & FUTURE_SLEPT_ON)
        futex_wake(&f->state, INT_MAX, 0);
    if (s & FUTURE_RELEASED)
        dispose(f);
    if (!silent)
        signal_fd(__atomic_load_n(&ex->fd, __ATOMIC_RELAXED));
}

// ---- Watching ----

// False: f has ended, nothing is watched.
static bool watch(weft_future *f, weft_private_watch *w, uint32_t *word)
{
    w->word = word;
    take_lock(&f->lock);
    w->next = f->watches;
    f->watches = w;
    // The ending thread either sees EXTRAS and comes by way of the lock, or has set FINAL.
    bool ended = __atomic_fetch_or(&f->state, FUTURE_EXTRAS, __ATOMIC_ACQ_REL) & FUTURE_FINAL;
    if (ended)
        f->watches = w->next;
    drop_lock(&f->lock);
    return !ended;
}

static void unwatch(weft_future *f, weft_private_watch *w)
{
    take_lock(&f->lock);
    weft_private_watch **at = &f->watches;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    drop_lock(&f->lock);
}

// Watches n futures and sleeps until one has ended or the node was taken off its list.
static int sleep_watching(weft_future *const futures[], size_t n, weft_private_watch watches[],
                          waiter *me, weft_deadline d, bool stoppable)
{
    int error = 0;
    size_t watched = 0;
    while (watched < n && watch(futures[watched], &watches[watched], &me->woken))
        watched++;
    while (watched == n && error == 0 && __atomic_load_n(&me->woken, __ATOMIC_ACQUIRE) == 0)
        error = stoppable ? sleep_on(&me->woken, 0, d, 0) : futex_wait(&me->woken, 0, d, 0);
    while (watched-- > 0)
        unwatch(futures[watched], &watches[watched]);
    return error;
}

// ---- Waiting ----

static bool find_ended(weft_future *const futures[], size_t n, size_t *which)
{
    for (size_t i = 0; i < n; i++)
        if (is_final(futures[i])) {
            *which = i;
            return true;
        }
    return false;
}

// Locked: the task to run while waiting: one that is waited for, else the oldest.
static weft_future *pick(weft_executor *ex, weft_future *const futures[], size_t n)
{
    collect(ex); // what is pending is now in the backlog
    for (size_t i = 0; i < n; i++)
        if (futures[i]->executor == ex && futures[i]->pending)
            return futures[i];
    return oldest(ex);
}

// A worker's turn: runs one task, or sleeps as a helper.  Returns the wait's error.
static int help_or_sleep(weft_executor *ex, weft_future *const futures[], size_t n,
                         weft_private_watch watches[], weft_deadline d, bool stoppable)
{
    take_lock(&ex->lock);
    weft_future *f = pick(ex, futures, n);
    if (f != nullptr) {
        backlog_remove(ex, f);
        wake_worker(ex);
        drop_lock(&ex->lock);
        task_run(ex, f);
        take_lock(&ex->lock);
        task_ended(ex);
        drop_lock(&ex->lock);
        return 0;
    }
    waiter me;
    int error = 0;
    waiters_add(&ex->helpers, &me);
    note_sleepers(ex);
    if (!inbox_has(ex)) {
        drop_lock(&ex->lock);
        error = sleep_watching(futures, n, watches, &me, d, stoppable);
        take_lock(&ex->lock);
    }
    if (!(me.woken & TAKEN_OFF))
        list_remove(&me);
    else
        error = 0; // there may be a task to run first
    note_sleepers(ex);
    drop_lock(&ex->lock);
    return error;
}

// An outsider's turn.
static int sleep_outside(weft_future *const futures[], size_t n, weft_private_watch watches[],
                         weft_deadline d, bool stoppable)
{
    if (n > 1) {
        waiter me;
        me.woken = 0;
        return sleep_watching(futures, n, watches, &me, d, stoppable);
    }
    weft_future *f = futures[0];
    uint32_t s = __atomic_fetch_or(&f->state, FUTURE_SLEPT_ON, __ATOMIC_ACQ_REL);
    if (s & FUTURE_FINAL)
        return 0;
    s |= FUTURE_SLEPT_ON;
    return stoppable ? sleep_on(&f->state, s, d, 0) : futex_wait(&f->state, s, d, 0);
}

static void look_around(weft_future *const futures[], size_t n)
{
    size_t which;
    for (int round = 0; round < ROUNDS; round++) {
        for (int look = 0; look < LOOKS; look++) {
            if (find_ended(futures, n, &which))
                return;
            spin_pause();
        }
        sched_yield();
    }
}

// A helper may leave when it was just woken for a task: that wake goes to another.
static void pass_on(weft_executor *ex)
{
    take_lock(&ex->lock);
    wake_worker(ex);
    drop_lock(&ex->lock);
}

static int await_slowly(weft_future *const futures[], size_t n, weft_deadline d, bool stoppable,
                        size_t *which)
{
    weft_private_watch few[FEW], *watches = few;
    crew_worker *worker = this_worker;
    int error = 0;
    if (n > FEW) {
        int saved = errno;
        watches = (weft_private_watch *)malloc(n * sizeof *watches);
        errno = saved;
        if (watches == nullptr)
            return ENOMEM;
    }
    if (worker == nullptr)
        look_around(futures, n);
    for (;;) {
        if (find_ended(futures, n, which)) {
            error = 0;
            break;
        }
        if (error == 0 && weft_left(d) == 0)
            error = ETIMEDOUT;
        if (error != 0)
            break;
        if (worker != nullptr)
            error = help_or_sleep(worker->executor, futures, n, watches, d, stoppable);
        else
            error = sleep_outside(futures, n, watches, d, stoppable);
    }
    if (worker != nullptr)
        pass_on(worker->executor);
    if (watches != few)
        free_keep_errno(watches);
    return error;
}

int weft::future_await(weft_future *const futures[], size_t n, weft_deadline d, bool stoppable,
                       size_t *which)
{
    if (find_ended(futures, n, which))
        return 0;
    size_t own = 0;
    while (own < n && is_own(futures[own]))
        own++;
    if (own == n)
        return EDEADLK; // nobody but this thread can end them
    return d <= WEFT_NOW ? ETIMEDOUT : await_slowly(futures, n, d, stoppable, which);
}

// ---- The calls ----

int weft_future_wait(weft_future *f, weft_deadline d)
{
    size_t which;
    int error = future_await(&f, 1, d, true, &which);
    return error == 0 ? 0 : fail_with(error);
}

int weft_future_get(weft_future *f, void **result, weft_deadline d)
{
    if (!is_final(f) && weft_future_wait(f, d) != 0)
        return -1;
    if ((future_state(f) & FUTURE_OUTCOME) == WEFT_FUTURE_CANCELLED)
        return fail_with(ECANCELED);
    if (result != nullptr)
        *result = f->result;
    dispose(f);
    return 0;
}

int weft_future_wait_all(weft_future *const futures[], size_t n, weft_deadline d)
{
    for (size_t i = 0; i < n; i++)
        if (weft_future_wait(futures[i], d) != 0)
            return -1;
    return 0;
}

ssize_t weft_future_wait_any(weft_future *const futures[], size_t n, weft_deadline d)
{
    size_t which;
    if (n == 0)
        return fail_with(EINVAL);
    int error = future_await(futures, n, d, true, &which);
    return error == 0 ? (ssize_t)which : fail_with(error);
}

int weft_future_state(const weft_future *f)
{
    // The flag first: a task leaves the backlog before it ends.
    bool pending = __atomic_load_n(&f->pending, __ATOMIC_ACQUIRE) != 0;
    uint32_t outcome = future_state(f) & FUTURE_OUTCOME;
    if (outcome != 0)
        return (int)outcome;
    return pending ? WEFT_FUTURE_PENDING : WEFT_FUTURE_RUNNING;
}

void *weft_future_result(const weft_future *f)
{
    return future_state(f) & FUTURE_OUTCOME ? f->result : nullptr;
}

int weft_future_cancel(weft_future *f)
{
    uint32_t outcome = future_state(f) & FUTURE_OUTCOME;
    if (outcome == 0) { // so its executor is there
        weft_executor *ex = f->executor;
        take_lock(&ex->lock);
        collect(ex);
        bool pending = f->pending != 0;
        if (pending)
            backlog_remove(ex, f);
        ex->inside += pending;
        drop_lock(&ex->lock);
        if (pending) {
            task_cancel(ex, f);
            take_lock(&ex->lock);
            task_ended(ex);
            ex->inside--;
            drop_lock(&ex->lock);
            return 0;
        }
        outcome = future_state(f) & FUTURE_OUTCOME;
        if (outcome == 0)
            return fail_with(EBUSY);
    }
    return outcome == WEFT_FUTURE_CANCELLED ? 0 : fail_with(EALREADY);
}

int weft_future_release(weft_future *f)
{
    if (f == nullptr)
        return 0;
    uint32_t s = future_state(f);
    while (!(s & FUTURE_FINAL)) {
        if (f->kind & FUTURE_OWNED)
            return fail_with(EBUSY);
        if (__atomic_compare_exchange_n(&f->state, &s, s | FUTURE_RELEASED, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            return 0;
    }
    dispose(f);
    return 0;
}

int weft_future_then(weft_future *f, void (*fn)(weft_future *f, void *arg), void *arg)
{
    if (fn == nullptr)
        return fail_with(EINVAL);
    take_lock(&f->lock);
    uint32_t s = __atomic_fetch_or(&f->state, FUTURE_EXTRAS, __ATOMIC_ACQ_REL);
    bool second = f->then != nullptr || (s & FUTURE_CALLED);
    bool ended = (s & FUTURE_OUTCOME) != 0;
    if (!second && ended) {
        __atomic_fetch_or(&f->state, FUTURE_CALLED, __ATOMIC_RELAXED);
    } else if (!second) {
        f->then = fn;
        f->then_arg = arg;
    }
    drop_lock(&f->lock);
    if (second)
        return fail_with(EBUSY);
    if (ended)
        fn(f, arg);
    return 0;
}

int weft_future_fd(weft_future *f)
{
    take_lock(&f->lock);
    int fd = f->fd;
    if (fd < 0) {
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        f->fd = fd;
        uint32_t s = fd < 0 ? 0 : __atomic_fetch_or(&f->state, FUTURE_EXTRAS, __ATOMIC_ACQ_REL);
        if (s & FUTURE_FINAL)
            signal_fd(fd);
    }
    drop_lock(&f->lock);
    return fd;
}
