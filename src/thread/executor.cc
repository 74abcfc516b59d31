// executor.cc: the pool of threads as a whole; see crew.h for the other files.
//
// It lies in memory of its own that a forked child finds wiped, `owner` with it: so each call
// there learns by one load that the threads are not.
#include "crew.h"

#include <base/wiped.h>

#include <string.h>
#include <sys/eventfd.h>

using namespace weft;

static_assert(sizeof(weft_executor) <= WIPED_SIZE, "an executor fits into a wiped page");

// ---- Create and resize ----

static void set_up(weft_executor *ex, int threads, const weft_executor_options *o)
{
    list_init(&ex->backlog);
    list_init(&ex->urgent);
    list_init(&ex->deferred);
    list_init(&ex->idle);
    list_init(&ex->room);
    list_init(&ex->quiet);
    list_init(&ex->gone);
    ex->owner = 1;
    ex->roomy = 1;
    ex->fd = -1;
    ex->wanted = threads > 0 ? threads : weft_cpu_count();
    ex->limit = o->backlog != 0 ? o->backlog : SIZE_MAX;
    ex->stack_size = o->stack_size;
    ex->spares = o->spares;
    ex->begin = o->begin;
    ex->end = o->end;
    ex->arg = o->arg;
    strncpy(ex->name, o->name != nullptr ? o->name : "weft-worker", sizeof ex->name - 1);
    pthread_sigmask(SIG_SETMASK, nullptr, &ex->signals);
    int saved = errno; // more processors than there are bits: they inherit
    ex->has_cpus = sched_getaffinity(0, sizeof ex->cpus, &ex->cpus) == 0;
    errno = saved;
}

// As many as wanted, or the errno.
static int hire_all(weft_executor *ex)
{
    int error = 0;
    for (;;) {
        take_lock(&ex->lock);
        if (error != 0)
            __atomic_store_n(&ex->wanted, ex->wanted + surplus(ex), __ATOMIC_RELAXED);
        bool more = surplus(ex) < 0;
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
    weft_executor *ex = (weft_executor *)wiped_make();
    if (ex == nullptr)
        return nullptr;
    set_up(ex, threads, opts != nullptr ? opts : &defaults);
    error = hire_all(ex);
    if (error != 0) {
        weft_executor_destroy(ex, WEFT_DISCARD);
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
    }
    drop_lock(&ex->lock);
    if (error == 0)
        error = hire_all(ex);
    reap(ex, WEFT_NOW);
    return error == 0 ? 0 : fail_with(error);
}

int weft_executor_threads(const weft_executor *ex)
{
    int error = executor_refusal(ex);
    return error == 0 ? __atomic_load_n(&ex->wanted, __ATOMIC_RELAXED) : fail_with(error);
}

size_t weft_executor_pending(weft_executor *ex)
{
    if (executor_refusal(ex) != 0)
        return 0;
    take_lock(&ex->lock);
    size_t n = count_pending(ex);
    drop_lock(&ex->lock);
    return n;
}

// ---- Shutdown ----

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
        ex->inside++;
        drop_lock(&ex->lock);
        end_by_hand(ex, f, WEFT_FUTURE_CANCELLED);
        take_lock(&ex->lock);
    }
}

namespace {
struct shutting_down {
    weft_executor *ex;
    int how;
    bool stays; // in the shutdown, to wait
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
    ex->inside -= !s->stays;
    wake_all_idle(ex);
    drop_lock(&ex->lock);
}

// Leaves the caller counted in `inside`.
static void close_down(weft_executor *ex, int how)
{
    shutting_down s = {ex, how, false};
    pthread_cleanup_push(closed_down, &s);
    take_lock(&ex->lock);
    ex->inside++;
    inbox_close(ex);
    waiters_wake(&ex->room, SIZE_MAX);
    if (how == WEFT_DISCARD)
        discard(ex);
    drop_lock(&ex->lock);
    s.stays = true;
    pthread_cleanup_pop(1);
}

// Also what is being cancelled, or delivered after the end of another.
static bool has_ended(const weft_executor *ex)
{
    return ex->alive == 0 && ex->running == 0 && list_is_empty(&ex->deferred);
}

// Waits until the threads have ended: 0 or the errno.
static int await_end(weft_executor *ex, weft_deadline d, bool stoppable)
{
    int error = 0;
    take_lock(&ex->lock);
    while (!has_ended(ex) && error == 0) {
        if (d <= WEFT_NOW)
            error = ETIMEDOUT;
        else if (stoppable)
            error = waiters_wait(&ex->gone, &ex->lock, d);
        else
            error = waiters_wait_regardless(&ex->gone, &ex->lock, d);
    }
    bool ended = has_ended(ex);
    drop_lock(&ex->lock);
    return ended ? 0 : error;
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

static int shut_down(weft_executor *ex, int how, weft_deadline d, bool stoppable)
{
    close_down(ex, how);
    int error = await_end(ex, d, stoppable);
    if (error == 0)
        error = join_all(ex, d, stoppable);
    take_lock(&ex->lock);
    ex->inside--;
    drop_lock(&ex->lock);
    return error;
}

static int check_end(const weft_executor *ex, int how)
{
    int error = executor_refusal(ex);
    if (error != 0)
        return error;
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

static void release(weft_executor *ex)
{
    crew_worker *w = ex->spent, *next;
    cycles_pass();
    for (; w != nullptr; w = next) {
        next = w->next;
        free_keep_errno(w);
    }
    close_keep_errno(&ex->fd);
    wiped_free(ex);
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
    release(ex);
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
    while (!executor_is_quiet(ex) && error == 0)
        error = d <= WEFT_NOW ? ETIMEDOUT : waiters_wait(&ex->quiet, &ex->lock, d);
    bool quiet = executor_is_quiet(ex);
    ex->inside--;
    drop_lock(&ex->lock);
    if (me != nullptr && d > WEFT_NOW)
        worker_goes_on(me, false);
    return quiet ? 0 : fail_with(error);
}

int weft_executor_fd(weft_executor *ex)
{
    int error = executor_refusal(ex);
    if (error != 0)
        return fail_with(error);
    take_lock(&ex->lock);
    int fd = ex->fd;
    if (fd < 0) {
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        __atomic_store_n(&ex->fd, fd, __ATOMIC_RELAXED);
    }
    drop_lock(&ex->lock);
    return fd;
}
