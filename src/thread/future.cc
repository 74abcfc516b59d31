// future.cc: the calls for one future.
#include "crew.h"
#include "readable.h"

using namespace weft;

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
        *result = f->value;
    future_dispose(f);
    return 0;
}

int weft_future_wait_all(weft_future *const futures[], size_t n, weft_deadline d)
{
    if (futures == nullptr && n > 0)
        return fail_with(EINVAL);
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
    if (futures == nullptr)
        return fail_with(EINVAL);
    size_t which;
    if (n == 0)
        return fail_with(EINVAL);
    int error = future_await(futures, n, d, true, &which);
    return error == 0 ? (ssize_t)which : fail_with(error);
}

int weft_future_state(const weft_future *f)
{
    if (f == nullptr)
        return fail_with(EINVAL);
    // The flag first: a task is taken before it ends.
    bool pending = future_pending(f) != 0;
    uint32_t outcome = future_state(f) & FUTURE_OUTCOME;
    if (outcome != 0)
        return (int)outcome;
    return pending ? WEFT_FUTURE_PENDING : WEFT_FUTURE_RUNNING;
}

void *weft_future_result(const weft_future *f)
{
    if (f == nullptr)
        return fail_null(EINVAL);
    return (future_state(f) & FUTURE_OUTCOME) == WEFT_FUTURE_DONE ? f->value : nullptr;
}

static bool take_promise(weft_future *f)
{
    uint16_t promised = PROMISED;
    return __atomic_compare_exchange_n(&f->pending, &promised, (uint16_t)0, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

// Takes a pending f, counted as end_by_hand wants it.
static bool take_to_cancel(weft_executor *ex, weft_future *f)
{
    if (ex == nullptr)
        return take_promise(f);
    for (static const uint32_t nothing = 0;;) {
        take_lock(&ex->lock);
        bool taken = claim_locked(ex, f) || claim_deferred(f);
        ex->running += taken;
        bool on_its_way = !taken && future_pending(f) == DEFERRED;
        drop_lock(&ex->lock);
        if (!on_its_way)
            return taken;
        // Who delivers it may need this processor.
        futex_wait(&nothing, 0, weft_in_us(50), 0);
    }
}

int weft_future_cancel(weft_future *f)
{
    if (f == nullptr)
        return fail_with(EINVAL);
    uint32_t outcome = future_state(f) & FUTURE_OUTCOME;
    if (outcome == 0) { // so its executor is there
        weft_executor *ex = f->executor;
        if (is_lost(f))
            return fail_with(EPERM);
        if (take_to_cancel(ex, f)) {
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
    if (f == nullptr || fn == nullptr)
        return fail_with(EINVAL);
    if (is_lost(f))
        return fail_with(EPERM);
    lock_future(f);
    uint32_t s = future_extras(f);
    bool second = f->then != nullptr || (s & FUTURE_CALLED);
    bool ended = (s & FUTURE_OUTCOME) != 0;
    if (!second && ended) {
        __atomic_fetch_or(&f->state, FUTURE_CALLED, __ATOMIC_RELAXED);
    } else if (!second) {
        f->then = fn;
        f->then_arg = arg;
    }
    unlock_future(f);
    if (second)
        return fail_with(EBUSY);
    if (ended)
        fn(f, arg);
    return 0;
}

int weft_future_fd(weft_future *f)
{
    if (f == nullptr)
        return fail_with(EINVAL);
    if (is_lost(f))
        return fail_with(EPERM);
    lock_future(f);
    uint32_t s = future_extras(f);
    int fd = f->fd;
    if (fd < 0) {
        fd = f->fd = readable_make();
        if (s & FUTURE_FINAL)
            readable_set(fd);
    }
    unlock_future(f);
    return fd;
}

// ---- Promises ----

weft_future *weft_future_create(void)
{
    watch_forks();
    weft_future *f = future_allocate();
    if (f != nullptr) {
        future_make(f, nullptr, nullptr, nullptr, 0);
        f->at = promise_mark();
        f->pending = PROMISED;
    }
    return f;
}

int weft_future_set(weft_future *f, void *result)
{
    if (f == nullptr || f->executor != nullptr)
        return fail_with(EINVAL);
    if (is_lost(f))
        return fail_with(EPERM);
    if (!take_promise(f))
        return fail_with(EALREADY);
    f->value = result;
    end_by_hand(nullptr, f, WEFT_FUTURE_DONE);
    return 0;
}
