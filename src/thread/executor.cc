// executor.cc: the pool of threads as a whole; see crew.h for the other files.
//
// It lies in memory of its own that a forked child finds wiped, `owner` with it: so each call
// there learns by one load that the threads are not.  That memory is an executor's for ever: who
// waits for a future or cancels it may look at its executor when the future has ended and the
// executor is gone, or is another, and finds a lock to take and nothing of its own.
#include "crew.h"
#include "readable.h"

#include <base/stack.h>
#include <base/wiped.h>

#include <string.h>

using namespace weft;

static_assert(sizeof(weft_executor) <= WIPED_SIZE, "an executor fits into a wiped page");

// ---- Its memory ----

static weft_executor *spare; // a stack of those that are gone

static weft_executor *executor_get(void)
{
    weft_executor *ex = stack_pop(&spare, &weft_executor::next_spare);
    return ex != nullptr ? ex : (weft_executor *)wiped_make();
}

void weft::executor_put(weft_executor *ex)
{
    stack_push(&spare, &weft_executor::next_spare, ex, ex);
}

// ---- Create and resize ----

// What only its calls and workers look at.
static void configure(weft_executor *ex, const weft_executor_options *o)
{
    ex->fd = -1;
    ex->stack_size = o->stack_size;
    ex->begin = o->begin;
    ex->end = o->end;
    ex->arg = o->arg;
    memset(ex->name, 0, sizeof ex->name);
    strncpy(ex->name, o->name != nullptr ? o->name : "weft-worker", sizeof ex->name - 1);
    pthread_sigmask(SIG_SETMASK, nullptr, &ex->signals);
    int saved = errno; // more processors than there are bits: they inherit
    ex->has_cpus = sched_getaffinity(0, sizeof ex->cpus, &ex->cpus) == 0;
    if (sched_getscheduler(0) & SCHED_RESET_ON_FORK || // which is not for its threads
        weft_thread_priority(nullptr, &ex->policy, &ex->priority) != 0)
        ex->policy = -1;
    errno = saved;
}

// It is all zeros, or as another's end has left it.
static void open_up(weft_executor *ex, int threads, const weft_executor_options *o)
{
    take_lock(&ex->lock);
    list_init(&ex->backlog);
    list_init(&ex->urgent);
    list_init(&ex->deferred);
    list_init(&ex->idle);
    list_init(&ex->room);
    list_init(&ex->quiet);
    list_init(&ex->gone);
    __atomic_store_n(&ex->owner, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&ex->inbox, nullptr, __ATOMIC_RELAXED);
    ex->closed = ex->discarding = false;
    ex->leaving = 0;
    __atomic_store_n(&ex->wanted, threads, __ATOMIC_RELAXED);
    ex->limit = o->backlog != 0 ? o->backlog : SIZE_MAX;
    ex->spares = o->spares;
    note(ex);
    drop_lock(&ex->lock);
}

// As many as wanted, or the errno.
static int hire_all(weft_executor *ex)
{
    int error = 0;
    for (;;) {
        take_lock(&ex->lock);
        if (error != 0 && ex->alive < ex->wanted) // those asleep in waits will go on
            __atomic_store_n(&ex->wanted, ex->alive, __ATOMIC_RELAXED);
        bool more = error == 0 && surplus(ex) < 0;
        ex->alive += more;
        ex->active += more;
        note(ex);
        drop_lock(&ex->lock);
        if (!more)
            return error;
        error = hire(ex);
    }
}

weft_executor *weft_executor_create(int threads, const weft_executor_options *opts)
{
    static const weft_executor_options defaults = {};
    int error = threads < 0 ? EINVAL : cycles_prepare();
    if (error != 0) {
        errno = error;
        return nullptr;
    }
    if (opts == nullptr)
        opts = &defaults;
    if (threads == 0)
        threads = weft_cpu_count();
    weft_executor *ex = executor_get();
    if (ex == nullptr)
        return nullptr;
    configure(ex, opts);
    open_up(ex, threads, opts);
    error = hire_all(ex);
    if (error != 0) {
        weft_executor_close(ex, WEFT_DISCARD);
        weft_executor_destroy(ex);
        errno = error;
        return nullptr;
    }
    return ex;
}

int weft_executor_resize(weft_executor *ex, int threads)
{
    int error = threads < 1 ? EINVAL : executor_refusal(ex);
    if (error != 0)
        return fail_with(error);
    take_lock(&ex->lock);
    error = ex->closed ? EPIPE : 0;
    if (error == 0) {
        __atomic_store_n(&ex->wanted, threads, __ATOMIC_RELAXED);
        ex->leaving = surplus(ex) > 0 ? surplus(ex) : 0;
        note(ex);
        if (ex->leaving > 0)
            wake_all_idle(ex);
        else
            wake_worker(ex); // it wakes the next
    }
    drop_lock(&ex->lock);
    if (error == 0)
        error = hire_all(ex);
    reap(ex, WEFT_NOW);
    return error == 0 ? 0 : fail_with(error);
}

int weft_executor_statistics(weft_executor *ex, weft_executor_counters *c)
{
    int error = c == nullptr ? EINVAL : executor_refusal(ex);
    if (error != 0)
        return fail_with(error);
    take_lock(&ex->lock);
    int more = ex->alive - ex->wanted;
    *c = {count_pending(ex), ex->running, ex->wanted, ex->alive, ex->blocked, more > 0 ? more : 0};
    drop_lock(&ex->lock);
    return 0;
}

// ---- Waiting for all of it ----

int weft_executor_wait(weft_executor *ex, weft_deadline d)
{
    int error = executor_refusal(ex);
    if (error == 0 && in_task_of(ex))
        error = EDEADLK;
    if (error != 0)
        return fail_with(error);
    crew_worker *me = worker_here();
    if (me != nullptr && d > WEFT_NOW)
        worker_blocks(me, nullptr, 0, false);
    take_lock(&ex->lock);
    ex->inside++;
    error = wait_for(
        d, [=] { return executor_is_quiet(ex) ? 0 : EAGAIN; },
        [=](weft_deadline until) { return waiters_wait(&ex->quiet, &ex->lock, until); });
    ex->inside--;
    drop_lock(&ex->lock);
    if (me != nullptr && d > WEFT_NOW)
        worker_goes_on(me, false);
    return from_pthread(error);
}

int weft_executor_fd(weft_executor *ex)
{
    int error = executor_refusal(ex);
    if (error != 0)
        return fail_with(error);
    take_lock(&ex->lock);
    int fd = ex->fd;
    if (fd < 0) {
        fd = readable_make();
        __atomic_store_n(&ex->fd, fd, __ATOMIC_RELAXED);
    }
    drop_lock(&ex->lock);
    return fd;
}
