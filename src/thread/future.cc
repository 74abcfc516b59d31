// future.cc: a task's end, and the calls for one; see crew.h for the state word.
#include "crew.h"

#include <base/errno.h>

#include <sys/eventfd.h>

using namespace weft;

// ---- The end ----

// Not write(2), which is a cancellation point.
static void signal_fd(int fd)
{
    int saved = errno;
    uint64_t one = 1;
    if (fd >= 0 && syscall(SYS_write, fd, &one, sizeof one) < 0) {
        // The counter is at its limit, so it is readable as it should be.
    }
    errno = saved;
}

void weft::future_dispose(weft_future *f)
{
    if (future_state(f) & FUTURE_EXTRAS) {
        take_lock(&f->lock); // lets the thread that ended it go
        drop_lock(&f->lock);
        close_keep_errno(&f->fd);
    }
    if (!(f->kind & FUTURE_OWNED))
        future_free(f);
}

// Rings the executor.  It is there: its worker is, or who cancels is counted.
static void ring(const weft_executor *ex)
{
    if (ex != nullptr && ex->owner != 0)
        signal_fd(__atomic_load_n(&ex->fd, __ATOMIC_RELAXED));
}

static const weft_executor *to_ring(const weft_future *f)
{
    return f->kind & FUTURE_SILENT ? nullptr : f->executor;
}

static void finished(weft_future *f, uint32_t before)
{
    if (before & FUTURE_SLEPT_ON)
        futex_wake(&f->state, INT_MAX, 0); // f may be gone: only its address is used
    if (before & FUTURE_RELEASED)
        future_dispose(f);
}

// The end after the callback, or without one.
static void finish_with_extras(void *arg)
{
    weft_future *f = (weft_future *)arg;
    const weft_executor *ex = to_ring(f);
    take_lock(&f->lock);
    uint32_t before = __atomic_fetch_or(&f->state, FUTURE_FINAL, __ATOMIC_ACQ_REL);
    signal_fd(f->fd);
    for (weft_private_watch *w = f->watches; w != nullptr; w = w->next) {
        __atomic_fetch_or(w->word, (uint32_t)WATCHED_ENDED, __ATOMIC_RELEASE);
        futex_wake(w->word, 1, 0);
    }
    drop_lock(&f->lock);
    finished(f, before);
    ring(ex);
}

static void end_with_extras(weft_future *f, uint32_t outcome)
{
    __atomic_fetch_or(&f->state, outcome, __ATOMIC_ACQ_REL);
    take_lock(&f->lock);
    void (*then)(weft_future *, void *) = f->then; // set once
    drop_lock(&f->lock);
    if (then == nullptr) {
        finish_with_extras(f);
        return;
    }
    int saved = errno;
    pthread_cleanup_push(finish_with_extras, f); // it may leave its thread
    then(f, f->then_arg);
    errno = saved;
    pthread_cleanup_pop(1);
}

void weft::future_end(weft_future *f, uint32_t outcome)
{
    const weft_executor *ex = to_ring(f); // f may be gone when we need it
    uint32_t s = __atomic_load_n(&f->state, __ATOMIC_RELAXED);
    do {
        if (s & FUTURE_EXTRAS) {
            end_with_extras(f, outcome);
            return;
        }
        // Release: the result goes before; acquire: the requests' data is seen.
    } while (!__atomic_compare_exchange_n(&f->state, &s, s | outcome | FUTURE_FINAL, false,
                                          __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    finished(f, s);
    ring(ex);
}

// ---- The calls ----

int weft_future_wait(weft_future *f, weft_deadline d)
{
    size_t which;
    int error = f != nullptr ? future_await(&f, 1, d, true, &which) : EINVAL;
    return error == 0 ? 0 : fail_with(error);
}

int weft_future_get(weft_future *f, void **result, weft_deadline d)
{
    if ((f == nullptr || !future_is_final(f)) && weft_future_wait(f, d) != 0)
        return -1;
    if ((future_state(f) & FUTURE_OUTCOME) == WEFT_FUTURE_CANCELLED)
        return fail_with(ECANCELED);
    if (result != nullptr)
        *result = f->result;
    future_dispose(f);
    return 0;
}

int weft_future_wait_all(weft_future *const futures[], size_t n, weft_deadline d)
{
    crew_worker *me = d == WEFT_FOREVER ? worker_here() : nullptr;
    for (size_t i = 0; me != nullptr && i < n; i++)
        if (!future_is_final(futures[i]))
            task_run_awaited(me, futures[i]);
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
    // The flag first: a task is taken before it ends.
    bool pending = future_pending(f) != 0;
    uint32_t outcome = future_state(f) & FUTURE_OUTCOME;
    if (outcome != 0)
        return (int)outcome;
    return pending ? WEFT_FUTURE_PENDING : WEFT_FUTURE_RUNNING;
}

void *weft_future_result(const weft_future *f)
{
    return future_state(f) & FUTURE_OUTCOME ? f->result : nullptr;
}

// Takes a pending f, counted as end_by_hand wants it.
static bool take_to_cancel(weft_executor *ex, weft_future *f)
{
    take_lock(&ex->lock);
    bool taken = claim_locked(ex, f);
    ex->running += taken;
    ex->inside += taken;
    drop_lock(&ex->lock);
    return taken;
}

static bool take_promise(weft_future *f)
{
    uint16_t promised = PROMISED;
    return __atomic_compare_exchange_n(&f->pending, &promised, (uint16_t)0, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

int weft_future_cancel(weft_future *f)
{
    if (f == nullptr)
        return fail_with(EINVAL);
    uint32_t outcome = future_state(f) & FUTURE_OUTCOME;
    if (outcome == 0) { // so its executor is there
        weft_executor *ex = f->executor;
        if (ex != nullptr && executor_refusal(ex) != 0)
            return fail_with(EPERM);
        if (ex != nullptr ? take_to_cancel(ex, f) : take_promise(f)) {
            end_by_hand(ex, f, WEFT_FUTURE_CANCELLED);
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
    future_dispose(f);
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

// ---- Promises ----

weft_future *weft_future_create(void)
{
    weft_future *f = future_allocate();
    if (f != nullptr) {
        future_make(f, nullptr, nullptr, nullptr, 0);
        f->pending = PROMISED;
    }
    return f;
}

int weft_future_set(weft_future *f, void *result)
{
    if (f == nullptr || f->executor != nullptr)
        return fail_with(EINVAL);
    if (!take_promise(f))
        return fail_with(EALREADY);
    f->result = result;
    end_by_hand(nullptr, f, WEFT_FUTURE_DONE);
    return 0;
}
