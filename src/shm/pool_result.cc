// pool_result.cc: giving a pool one task, and getting its result.
//
// A result is the program's side of a slot, at the same index.  Both are reused last in
// first out, so that few of them stay in the caches.
#include "pool_parent.h"

#include <base/errno.h>
#include <thread/sleep.h>

#include <string.h>

using namespace weft;

static const int64_t SLICE_MS = 50;

// ---- Slots and their memory.  All under p->lock. ----

static weft_result *result_new(weft_pool *p)
{
    weft_result *r = p->free_results;
    if (r != nullptr)
        p->free_results = r->next;
    else if (p->used_results < p->shared->slots)
        (r = &p->results[p->used_results++])->pool = p;
    return r;
}

static void result_free(weft_pool *p, weft_result *r)
{
    pool_slot *s = slot_of(r);
    if (s->arguments != s->bytes)
        pool_memory_give(&p->memory, (size_t)(s->arguments - p->shared->memory), s->order);
    __atomic_store_n(&s->state, SLOT_FREE, __ATOMIC_RELAXED);
    if (r->then != nullptr)
        p->callbacks--;
    r->then = nullptr;
    r->live = false;
    r->abandoned = false;
    r->next = p->free_results;
    p->free_results = r;
}

// What one ready bit stands for: whether it is to be kept.
static bool sweep_one(weft_pool *p, weft_result *r, weft_result **due)
{
    if (p->gone == 0 && !has_ended(slot_state(slot_of(r))))
        return false; // of the slot's last use
    if (r->abandoned)
        result_free(p, r);
    if (!r->live || r->then == nullptr)
        return false;
    if (due == nullptr)
        return true;
    r->due = r->then;
    r->then = nullptr;
    p->callbacks--;
    r->next = *due;
    *due = r;
    return false;
}

void weft::pool_sweep(weft_pool *p, weft_result **due)
{
    for (uint32_t w = 0; w * 64 < p->used_results; w++) {
        uint64_t *word = &p->shared->ready[w];
        if (p->gone != 0) // whatever has not ended never will
            __atomic_store_n(word, ~(uint64_t)0, __ATOMIC_RELAXED);
        if (__atomic_load_n(word, __ATOMIC_RELAXED) == 0)
            continue;
        uint64_t bits = __atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST), keep = 0;
        for (; bits != 0; bits &= bits - 1) {
            uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(bits);
            if (i < p->used_results && sweep_one(p, &p->results[i], due))
                keep |= (uint64_t)1 << i % 64;
        }
        if (keep != 0)
            __atomic_fetch_or(word, keep, __ATOMIC_SEQ_CST);
    }
}

// ---- Submitting ----

// The bytes that the arguments, results and verdicts take; SIZE_MAX: too many to count.
static size_t bytes_for(size_t argument_size, size_t count, size_t result_size)
{
    size_t arguments, results, most = SIZE_MAX / 4;
    if (count > UINT32_MAX || __builtin_mul_overflow(argument_size, count, &arguments) ||
        __builtin_mul_overflow(result_size, count, &results) || arguments > most || results > most)
        return SIZE_MAX;
    size_t n = round_up_16(arguments) + results;
    return count == 1 ? n : round_up_16(n) + count * sizeof(pool_verdict);
}

// Gives s room for so many bytes: its own, or a block.
static int slot_make_room(weft_pool *p, pool_slot *s, size_t bytes)
{
    s->arguments = s->bytes;
    if (bytes <= SLOT_INLINE)
        return 0;
    if (bytes > (size_t)1 << (p->memory.orders - 1 + POOL_UNIT_SHIFT))
        return EMSGSIZE;
    s->order = pool_memory_order(bytes);
    ptrdiff_t at = pool_memory_take(&p->memory, s->order);
    if (at < 0)
        return EAGAIN;
    s->arguments = p->shared->memory + at;
    return 0;
}

// Puts a filled slot at the queue's end.  The state is in place before the tail tells of it.
static void enqueue(weft_pool *p, pool_slot *s)
{
    pool_shared *sh = p->shared;
    uint64_t tail = sh->tail;
    __atomic_store_n(&s->state, state_queued(tail), __ATOMIC_RELEASE);
    __atomic_store_n(&sh->queue[tail & sh->queue_mask], (uint32_t)(s - sh->slot), __ATOMIC_RELAXED);
    // SEQ_CST: a worker that goes to sleep sets its bit first and then looks at the tail.
    __atomic_store_n(&sh->tail, tail + 1, __ATOMIC_SEQ_CST);
}

// One task more: somebody must look.  While one worker looks anyway, it takes a single task.
static void wake_for_one(pool_shared *sh)
{
    if (__atomic_load_n(&sh->spinner, __ATOMIC_SEQ_CST) != 0 &&
        __atomic_load_n(&sh->tail, __ATOMIC_RELAXED) -
                __atomic_load_n(&sh->head, __ATOMIC_RELAXED) <=
            1)
        return;
    wake_a_worker(sh);
}

static int take_room(weft_pool *p, size_t bytes, weft_result **r)
{
    if ((*r = result_new(p)) == nullptr)
        return EAGAIN;
    int error = slot_make_room(p, slot_of(*r), bytes);
    if (error != 0) {
        (*r)->next = p->free_results;
        p->free_results = *r;
    }
    return error;
}

// Why there is no place for a task; or 0 and *r.  Under p->lock.
static int reserve(weft_pool *p, size_t bytes, weft_result **r)
{
    pool_shared *sh = p->shared;
    if (sh->phase != POOL_OPEN || __atomic_load_n(&p->gone, __ATOMIC_RELAXED) != 0)
        return EPIPE;
    if (sh->tail - __atomic_load_n(&sh->head, __ATOMIC_ACQUIRE) > sh->queue_mask)
        return EAGAIN; // full of cancelled entries
    int error = take_room(p, bytes, r);
    if (error == EAGAIN) {
        pool_sweep(p, nullptr);
        error = take_room(p, bytes, r);
    }
    return error;
}

static void fill(pool_slot *s, weft_pool_fn fn, const void *arguments, size_t argument_size,
                 size_t count, size_t result_size)
{
    s->item = 0;
    s->fn = fn;
    s->argument_size = argument_size;
    s->result_size = result_size;
    s->count = (uint32_t)count;
    s->tries = 0;
    if (argument_size != 0)
        memcpy(s->arguments, arguments, argument_size * count);
}

weft_result *weft::pool_submit(weft_pool *p, weft_pool_fn fn, const void *arguments,
                               size_t argument_size, size_t count, size_t result_size)
{
    weft_result *r = nullptr;
    size_t bytes = bytes_for(argument_size, count, result_size);
    pthread_mutex_lock(&p->lock);
    int error = reserve(p, bytes, &r);
    if (error == 0) {
        fill(slot_of(r), fn, arguments, argument_size, count, result_size);
        r->live = true;
        p->submitted += count;
        enqueue(p, slot_of(r));
    }
    pthread_mutex_unlock(&p->lock);
    if (error != 0) {
        errno = error;
        return nullptr;
    }
    wake_for_one(p->shared);
    return r;
}

// Why these can't be a task's parts; 0 if they can.
static int task_check(const weft_pool *p, weft_pool_fn fn, const void *argument, size_t n)
{
    int error = pool_check(p);
    return error == 0 && (fn == nullptr || (argument == nullptr && n != 0)) ? EINVAL : error;
}

namespace {
struct attempt {
    weft_pool *p;
    weft_pool_fn fn;
    const void *arg;
    size_t n, result_size;
    weft_result *r;
    int error;
};
} // namespace

static bool try_again(void *arg)
{
    attempt *a = (attempt *)arg;
    int saved = errno;
    a->r = pool_submit(a->p, a->fn, a->arg, a->n, 1, a->result_size);
    a->error = a->r == nullptr ? errno : 0;
    errno = saved;
    return a->error == EAGAIN;
}

weft_result *weft_pool_apply_async(weft_pool *p, weft_pool_fn fn, const void *arg, size_t n,
                                   size_t result_size, weft_deadline d)
{
    attempt a = {p, fn, arg, n, result_size, nullptr, task_check(p, fn, arg, n)};
    int error = a.error;
    if (error == 0 && try_again(&a))
        do
            error = pool_await_any(p, try_again, &a, d);
        while (error == 0 && a.error == EAGAIN);
    if (a.r != nullptr)
        return a.r;
    errno = a.error != EAGAIN ? a.error : error;
    return nullptr;
}

int weft_pool_apply(weft_pool *p, weft_pool_fn fn, const void *arg, size_t n, void *result,
                    size_t result_size, weft_deadline d)
{
    weft_result *r = weft_pool_apply_async(p, fn, arg, n, result_size, d);
    if (r == nullptr)
        return -1;
    int error = result_await(r, d);
    if (error == 0)
        return weft_result_get(r, result, WEFT_NOW);
    result_cancel(r);
    result_release(r);
    return fail_with(error);
}

// ---- Results ----

static int result_check(const weft_result *r)
{
    if (r == nullptr || r->pool == nullptr)
        return EINVAL;
    int error = pool_check(r->pool);
    return error == 0 && !r->live ? EINVAL : error;
}

static bool result_ended(const weft_result *r)
{
    return has_ended(slot_state(slot_of(r))) ||
           __atomic_load_n(&r->pool->gone, __ATOMIC_SEQ_CST) != 0;
}

// Most tasks end soon: looking for a little while is cheaper than a sleep and a wake.
static bool look_for_end(const weft_result *r, weft_deadline d)
{
    int64_t now = weft_now(), until = now + r->pool->shared->spin_ns;
    if (d != WEFT_NOW && way_to_sleep == nullptr)
        for (until = until < d ? until : d; now < until; now = weft_now())
            for (int i = 0; i < 64; i++) {
                if (has_ended(slot_state(slot_of(r))))
                    return true;
                spin_pause();
            }
    return result_ended(r);
}

int weft::result_await(weft_result *r, weft_deadline d)
{
    pool_slot *s = slot_of(r);
    if (result_ended(r) || look_for_end(r, d))
        return 0;
    if (d == WEFT_NOW)
        return pool_look(r->pool) != 0 ? 0 : ETIMEDOUT;
    for (int error = 0;;) {
        // SEQ_CST: whoever ends the task sees this flag, or we see its end.
        uint64_t state = __atomic_fetch_or(&s->state, SLOT_WAITED, __ATOMIC_SEQ_CST) | SLOT_WAITED;
        if (has_ended(state) || pool_look(r->pool) != 0)
            return 0;
        if (error == ECANCELED || (error == ETIMEDOUT && weft_left(d) == 0))
            return error;
        weft_deadline slice = weft_in_ms(SLICE_MS);
        error = sleep_on(state_futex(s), (uint32_t)state, slice < d ? slice : d, 1);
    }
}

weft_outcome weft::result_outcome(const weft_result *r, uint64_t item)
{
    pool_slot *s = slot_of(r);
    uint32_t phase = phase_of(slot_state(s));
    if (phase == SLOT_CANCELLED)
        return {ECANCELED, 0};
    if (phase != SLOT_DONE)
        return {__atomic_load_n(&r->pool->gone, __ATOMIC_SEQ_CST), 0};
    pool_verdict v = *slot_verdict(s, item);
    return {v.error, v.status};
}

void weft::result_release(weft_result *r)
{
    weft_pool *p = r->pool;
    pthread_mutex_lock(&p->lock);
    uint64_t state = __atomic_fetch_or(&slot_of(r)->state, SLOT_NOTIFY, __ATOMIC_SEQ_CST);
    if (has_ended(state) || p->gone != 0)
        result_free(p, r);
    else {
        r->live = false;
        r->abandoned = true;
        if (r->then != nullptr)
            p->callbacks--;
        r->then = nullptr;
    }
    pthread_mutex_unlock(&p->lock);
    ring_sleepers(p->shared); // one may wait for a slot
}

int weft::result_cancel(weft_result *r)
{
    pool_slot *s = slot_of(r);
    uint64_t state = slot_state(s);
    while (phase_of(state) == SLOT_QUEUED)
        if (__atomic_compare_exchange_n(&s->state, &state,
                                        (state & ~(uint64_t)SLOT_PHASE) | SLOT_CANCELLED, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)) {
            announce(r->pool->shared, s, state);
            return 0;
        }
    if (phase_of(state) == SLOT_CANCELLED)
        return 0;
    return phase_of(state) == SLOT_DONE ? EALREADY : EBUSY;
}

static int await_checked(weft_result *r, weft_deadline d)
{
    int error = result_check(r);
    if (error == 0)
        error = result_await(r, d);
    return error != 0 ? fail_with(error) : 0;
}

int weft_result_get(weft_result *r, void *result, weft_deadline d)
{
    if (await_checked(r, d) != 0)
        return -1;
    const pool_slot *s = slot_of(r);
    weft_outcome o = result_outcome(r, 0);
    if (o.error == 0 && result != nullptr && s->result_size != 0)
        memcpy(result, slot_result(s, 0), s->result_size);
    result_release(r);
    return o.error == 0 ? 0 : fail_with(o.error);
}

int weft_result_wait(weft_result *r, weft_outcome *outcome, weft_deadline d)
{
    if (await_checked(r, d) != 0)
        return -1;
    if (outcome != nullptr)
        *outcome = result_outcome(r, 0);
    return 0;
}

int weft_result_poll(weft_result *r)
{
    int error = result_check(r);
    if (error != 0)
        return fail_with(error);
    return result_ended(r) || pool_look(r->pool) != 0;
}

const void *weft_result_bytes(weft_result *r)
{
    if (result_check(r) != 0 || !result_ended(r) || result_outcome(r, 0).error != 0)
        return nullptr;
    return slot_result(slot_of(r), 0);
}

int weft_result_cancel(weft_result *r)
{
    int error = result_check(r);
    if (error == 0)
        error = result_ended(r) && phase_of(slot_state(slot_of(r))) != SLOT_CANCELLED
                    ? EALREADY
                    : result_cancel(r);
    return error == 0 ? 0 : fail_with(error);
}

int weft_result_then(weft_result *r, void (*fn)(weft_result *r, void *arg), void *arg)
{
    int error = fn == nullptr ? EINVAL : result_check(r);
    if (error != 0)
        return fail_with(error);
    weft_pool *p = r->pool;
    pthread_mutex_lock(&p->lock);
    bool taken = r->then != nullptr, ended = false;
    if (!taken) {
        uint64_t state = __atomic_fetch_or(&slot_of(r)->state, SLOT_NOTIFY, __ATOMIC_SEQ_CST);
        ended = has_ended(state) || p->gone != 0;
    }
    if (!taken && !ended) {
        r->then = fn;
        r->then_arg = arg;
        p->callbacks++;
    }
    pthread_mutex_unlock(&p->lock);
    if (taken)
        return fail_with(EBUSY);
    if (ended)
        fn(r, arg);
    return 0;
}

int weft_result_release(weft_result *r)
{
    if (r == nullptr)
        return 0;
    int error = result_check(r);
    if (error != 0)
        return fail_with(error);
    result_release(r);
    return 0;
}
