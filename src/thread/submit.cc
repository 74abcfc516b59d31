// submit.cc: giving an executor tasks.
#include "crew.h"

#include <base/errno.h>

using namespace weft;

void weft::future_make(weft_future *f, weft_executor *ex, void *(*fn)(void *), void *arg,
                       uint16_t kind)
{
    f->executor = ex;
    f->fn = fn;
    f->value = arg;
    f->at = nullptr;
    f->state = 0;
    f->lock = 0;
    f->pending = IN_BACKLOG;
    f->kind = kind;
}

// Locked: 0, EPIPE, or EAGAIN.
static int can_add(const weft_executor *ex, size_t n)
{
    if (ex->closed)
        return EPIPE;
    size_t room = ex->pending < ex->limit ? ex->limit - ex->pending : 0; // some don't count
    return n <= room ? 0 : EAGAIN;
}

// Adds n in one step when there is room for all, waiting for that until d.
static int enqueue_when_room(weft_executor *ex, weft_future futures[], size_t n, weft_deadline d)
{
    take_lock(&ex->lock);
    ex->inside++;
    ex->wide += n > 1;
    int error = wait_for(
        d, [=] { return can_add(ex, n); },
        [=](weft_deadline until) { return waiters_wait(&ex->room, &ex->lock, until); });
    for (size_t i = 0; i < n && error == 0; i++)
        backlog_add(ex, &futures[i]);
    if (error == 0)
        wake_worker(ex);
    ex->wide -= n > 1;
    ex->inside--;
    drop_lock(&ex->lock);
    return error;
}

// Only here is the backlog limited.  A task that waits for room gets another thread to make it.
static int enqueue_limited(weft_executor *ex, weft_future futures[], size_t n, weft_deadline d)
{
    if (n > ex->limit)
        return EMSGSIZE;
    int error = enqueue_when_room(ex, futures, n, WEFT_NOW);
    if (error != ETIMEDOUT || d <= WEFT_NOW)
        return error;
    crew_worker *me = worker_here();
    int alone = 0; // no other thread is to be had, which could make room
    if (me != nullptr)
        alone = worker_blocks(me, nullptr, 0, me->executor == ex);
    bool in_vain = alone != 0 && d == WEFT_FOREVER && me->executor == ex;
    error = in_vain ? alone : enqueue_when_room(ex, futures, n, d);
    if (me != nullptr)
        worker_goes_on(me, me->executor == ex);
    return error;
}

// Queues f.  0, or the errno.
static int enqueue(weft_executor *ex, weft_future *f, weft_deadline d)
{
    crew_worker *me = this_worker;
    if (ex->limit != SIZE_MAX)
        return enqueue_limited(ex, f, 1, d);
    int error =
        me != nullptr && me->executor == ex && share_push(ex, me, f) ? 0 : inbox_push_one(ex, f);
    if (error == 0)
        poke(ex);
    return error;
}

static int refusal(const weft_executor *ex, void *(*fn)(void *))
{
    return fn == nullptr ? EINVAL : executor_refusal(ex);
}

weft_future *weft::task_make(weft_executor *ex, void *(*fn)(void *), void *arg)
{
    int error = refusal(ex, fn);
    if (error != 0) {
        errno = error;
        return nullptr;
    }
    weft_future *f = future_allocate();
    if (f != nullptr)
        future_make(f, ex, fn, arg, 0);
    return f;
}

// f, or null and the errno.
static weft_future *made(weft_future *f, int error)
{
    if (error == 0)
        return f;
    future_free(f);
    errno = error;
    return nullptr;
}

weft_future *weft_executor_submit(weft_executor *ex, void *(*fn)(void *), void *arg,
                                  weft_deadline d)
{
    weft_future *f = task_make(ex, fn, arg);
    return f != nullptr ? made(f, enqueue(ex, f, d)) : nullptr;
}

int weft_executor_submit_at(weft_executor *ex, weft_future *f, void *(*fn)(void *), void *arg,
                            weft_deadline d)
{
    int error = f == nullptr ? EINVAL : refusal(ex, fn);
    if (error == 0) {
        future_make(f, ex, fn, arg, FUTURE_OWNED);
        error = enqueue(ex, f, d);
    }
    return error == 0 ? 0 : fail_with(error);
}

// ---- Many at once ----

int weft_executor_submit_many(weft_executor *ex, weft_future futures[], size_t n,
                              void *(*fn)(void *), void *const args[], weft_deadline d)
{
    int error = refusal(ex, fn);
    if (error == 0 && n != 0 && (futures == nullptr || args == nullptr))
        error = EINVAL;
    if (error != 0 || n == 0)
        return error == 0 ? 0 : fail_with(error);
    for (size_t i = 0; i < n; i++) {
        future_make(&futures[i], ex, fn, args[i], FUTURE_OWNED);
        futures[i].next = i > 0 ? &futures[i - 1] : nullptr;
        futures[i].previous = i >= INBOX_AHEAD ? &futures[i - INBOX_AHEAD] : nullptr;
    }
    error = ex->limit != SIZE_MAX ? enqueue_limited(ex, futures, n, d)
                                  : inbox_push(ex, &futures[0], &futures[n - 1]);
    if (error != 0)
        return fail_with(error);
    poke(ex);
    return 0;
}
