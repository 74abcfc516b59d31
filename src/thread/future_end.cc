// future_end.cc: a task's end, and all that is told of it; see crew.h for the state word.
#include "crew.h"
#include "readable.h"

using namespace weft;

void weft::future_dispose(weft_future *f)
{
    if (future_state(f) & FUTURE_EXTRAS) {
        lock_future(f); // lets the thread that ended it go
        unlock_future(f);
        close_keep_errno(&f->fd);
    }
    if (!(f->kind & FUTURE_OWNED))
        future_free(f);
}

// Rings the executor.  It is there: its worker is, or who cancels is counted.
static void ring(const weft_executor *ex)
{
    if (ex != nullptr && !is_inherited(ex))
        readable_set(__atomic_load_n(&ex->fd, __ATOMIC_RELAXED));
}

static const weft_executor *to_ring(const weft_future *f)
{
    return f->kind & FUTURE_SILENT ? nullptr : f->executor;
}

static void finished(weft_future *f, uint32_t before)
{
    if (before & FUTURE_SLEPT_ON)
        wake_sleepers(&f->state, INT_MAX); // f may be gone: only its address is used
    if (before & FUTURE_RELEASED)
        future_dispose(f);
}

// ---- Watching ----

uint32_t weft::future_extras(weft_future *f)
{
    uint32_t s = __atomic_fetch_or(&f->state, FUTURE_EXTRAS, __ATOMIC_ACQ_REL);
    if (!(s & FUTURE_EXTRAS)) {
        f->watches = nullptr;
        f->then = nullptr;
        f->fd = -1;
    }
    return s;
}

bool weft::future_watch(weft_future *f, weft_private_watch *w)
{
    if (is_parents(f))
        return is_lost(f); // nothing to watch
    take_lock(&f->lock);
    // The ending thread either sees EXTRAS and comes by way of the lock, or has set FINAL.
    bool ended = future_extras(f) & FUTURE_FINAL;
    w->next = ended ? nullptr : f->watches; // those left there are others' to take off
    if (!ended)
        f->watches = w;
    drop_lock(&f->lock);
    return !ended;
}

void weft::future_unwatch(weft_future *f, weft_private_watch *w)
{
    if (is_parents(f))
        return;
    take_lock(&f->lock);
    weft_private_watch **at = &f->watches;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    drop_lock(&f->lock);
}

// Locked: wakes the threads, and takes off the others, first come first.
static weft_private_watch *tell_watches(weft_future *f)
{
    weft_private_watch *others = nullptr, **at = &f->watches, *w;
    while ((w = *at) != nullptr) {
        if (w->word != nullptr) {
            __atomic_fetch_or(w->word, (uint32_t)WATCHED_ENDED, __ATOMIC_RELEASE);
            wake_sleepers(w->word, 1);
            at = &w->next;
        } else {
            *at = w->next;
            w->next = others;
            others = w;
        }
    }
    return others;
}

// ---- The end with extras ----

// The end after the callback, or without one.
static void finish_with_extras(void *arg)
{
    weft_future *f = (weft_future *)arg;
    const weft_executor *ex = to_ring(f);
    take_lock(&f->lock);
    cycles_forget(f->watches);
    uint32_t before = __atomic_fetch_or(&f->state, FUTURE_FINAL, __ATOMIC_ACQ_REL);
    readable_set(f->fd);
    weft_private_watch *ended = tell_watches(f);
    drop_lock(&f->lock);
    finished(f, before);
    while (ended != nullptr) {
        weft_private_watch *w = ended;
        ended = w->next;
        w->ended(w);
    }
    ring(ex);
}

static void end_with_extras(weft_future *f, uint32_t outcome)
{
    __atomic_fetch_or(&f->state, outcome, __ATOMIC_ACQ_REL);
    take_lock(&f->lock);
    void (*then)(weft_future *, void *) = f->then; // set once
    drop_lock(&f->lock);
    int saved = errno;
    if (then != nullptr)
        call_or_leave(finish_with_extras, f, [=] { then(f, f->then_arg); });
    errno = saved;
    finish_with_extras(f);
}

void weft::future_end(weft_future *f, uint32_t outcome)
{
    const weft_executor *ex = to_ring(f); // f may be gone when we need it
    uint32_t s = __atomic_load_n(&f->state, __ATOMIC_RELAXED);
    do {
        if (s & FUTURE_EXTRAS && !is_parents(f)) { // whoever asked for those is not here
            end_with_extras(f, outcome);
            return;
        }
        // Release: the result goes before; acquire: the requests' data is seen.
    } while (!__atomic_compare_exchange_n(&f->state, &s, s | outcome | FUTURE_FINAL, false,
                                          __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    finished(f, s);
    ring(ex);
}
