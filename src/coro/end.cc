// end.cc: how coroutines end: returning, cancelled, destroyed (coro.h).
//
// Ending is always the same way, weft_private_coro_begin's last lines: the deferred functions
// run, and the value goes to the nearest living ancestor.  A suspended coroutine that is
// destroyed gets there without its body: a new first frame is put below its last one
// (whatever the deferred functions were given may lie in the frames above).
//
// A deferred function, or one that is being cancelled, may lose control to others, who may destroy
// what the caller waits for: after each transfer nothing is touched that could be gone.
#include "tree.h"

#include <base/saved_errno.h>

struct weft_private_deferred {
    weft_private_deferred *next;
    void (*fn)(void *);
    void *arg;
};

static const size_t SPARES = 64; // records kept for the next plain coroutines

// ---- From the first call to the last ----

static void run_deferred(weft_coro *co)
{
    if (!(co->special & WEFT_SPECIAL_CANCELLED)) {
        co->special |= WEFT_SPECIAL_CANCELLED; // nothing there may suspend
        co->error = ECANCELED;
    }
    while (co->deferred != nullptr) {
        weft_private_deferred *d = co->deferred;
        void (*fn)(void *) = d->fn;
        void *arg = d->arg;
        co->deferred = d->next;
        free(d);
        fn(arg);
    }
}

// Everything that an end may have to do; `result` is what the body returned.
static __attribute__((noinline, noreturn)) void end(weft_coro *co, void *result)
{
    int error = result == WEFT_FAILED ? errno : 0;
    if (co->deferred != nullptr)
        run_deferred(co);
    co->special = (co->special | WEFT_SPECIAL_DEAD) & ~(uint32_t)WEFT_SPECIAL_PENDING;
    co->value = result;
    weft_coro *to =
        co->on_end != nullptr ? co->on_end(co, &result) : weft_private_coro_living(co->parent);
    co->error = error;
    co->thread->last_ended = co;
    if (result == WEFT_FAILED)
        errno = error;
    if (to->special & WEFT_SPECIAL_BLOCKED)
        to = co->thread->shelter();
    weft_private_leave(co, to, result);
}

void weft_private_coro_begin(void *first)
{
    // From here, not by a register on the new stack: known sooner.
    weft_private_coro_thread *t = &weft_private_coro;
    weft_coro *co = t->current;
    if (co->special & WEFT_SPECIAL_WATCHED)
        weft_private_coro_arrive(co);
    co->started = 1;
    void *result = co->dropping ? WEFT_FAILED : co->fn(co->arg, first);
#if WEFT_PRIVATE_SWAP
    weft_coro *to = co->parent;
    if (weft_private_likely(result != WEFT_FAILED && co->deferred == nullptr &&
                            co->on_end == nullptr &&
                            (co->special | to->special | weft_private_in_flight(t)) == 0)) {
        co->special = WEFT_SPECIAL_DEAD;
        co->value = result;
        t->last_ended = co;
        t->current = to;
        weft_private_land(to->sp, result);
    }
#endif
    end(co, result);
}

// ---- Cancelling and destroying ----

static void die_unborn(weft_coro *co)
{
    co->special |= WEFT_SPECIAL_DEAD;
    co->value = WEFT_FAILED;
}

// Whether `co` is still there and has not ended.  It may have been destroyed, so it is looked for
// in the tree before it is touched.
static int still_lives(const weft_private_coro_thread *t, const weft_coro *co, uint64_t life)
{
    int depth = 0;
    for (const weft_coro *c = &t->main; c != nullptr; c = weft_private_coro_next(c, &depth))
        if (c == co)
            return co->life == life && !(co->special & WEFT_SPECIAL_DEAD);
    return 0;
}

int weft_coro_cancel(weft_coro *co, int error)
{
    int saved = errno;
    weft_private_coro_thread *t = weft_private_coro_enter();
    if (t == nullptr)
        return -1;
    int wrong = weft_private_coro_check(co);
    if (wrong != 0 || error < 0 || co == &t->main)
        return weft_fail(wrong != 0 ? wrong : EINVAL);
    if (co->special & WEFT_SPECIAL_DEAD)
        return 0;
    co->error = error != 0 ? error : ECANCELED;
    co->special |= WEFT_SPECIAL_CANCELLED;
    if (co == t->current)
        return 0;
    if (!co->started) {
        die_unborn(co);
        return 0;
    }
    co->special |= WEFT_SPECIAL_PENDING;
    if (weft_private_coro_is_ancestor(co, t->current))
        return 0;
    uint64_t life = co->life;
    t->last_ended = nullptr;
    weft_private_coro_adopt(t->current, co);
    weft_private_coro_transfer(t->current, co, nullptr);
    if (t->last_ended != co && still_lives(t, co, life))
        return weft_fail(EBUSY);
    errno = saved;
    return 0;
}

// Runs what a suspended one has deferred, on its own stack, below its frames.
static void drop(weft_coro *co)
{
    weft_coro *self = co->thread->current;
    co->dropping = 1;
    co->on_end = nullptr;
    co->special &= ~(uint32_t)(WEFT_SPECIAL_PENDING | WEFT_SPECIAL_BLOCKED | WEFT_SPECIAL_NESTED);
    // Below the red zone, and below what swapcontext has of frames of its own.
    char *top = (char *)(((uintptr_t)co->sp - 512) & ~(uintptr_t)15);
    weft_private_prepare(co, top);
    weft_private_coro_adopt(self, co);
    weft_private_coro_transfer(self, co, nullptr);
}

static void orphan_children(weft_coro *co)
{
    weft_coro *child;
    while ((child = co->children) != nullptr) {
        if (child->on_orphan != nullptr)
            child->on_orphan(child);
        weft_private_coro_adopt(co->parent, child);
    }
}

static inline void keep_whole(weft_private_coro_thread *t, weft_coro *co)
{
    co->parent = t->spare;
    t->spare = co;
    t->spares++;
}

// The last destroyed are kept with their records, the rest of them as stacks.
static void bury(weft_coro *co)
{
    weft_private_coro_thread *t = co->thread;
    if (co->spareable && t->spares < SPARES) {
        co->owned = 0;
        co->dropping = 0;
        co->on_end = nullptr;
        co->on_orphan = nullptr;
        co->data = nullptr;
        keep_whole(t, co);
        return;
    }
    if (co->machine != nullptr)
        weft_private_machine_destroy(co);
    if (co->stack.guard != 0)
        weft_private_stack_give(t->stacks, &co->stack);
}

static void drop_to_its_end(weft_coro *co)
{
    int saved = errno;
    // Under ASan also without any deferred: its fake stack ends with the last switch.  Again
    // when one of them resumed a coroutine that switched back here: the rest are still to run.
    while (!(co->special & WEFT_SPECIAL_DEAD) &&
           (co->deferred != nullptr || co->special & WEFT_SPECIAL_WATCHED))
        drop(co);
    errno = saved;
}

void weft_private_coro_release(weft_coro *co)
{
    if (co->started && !(co->special & WEFT_SPECIAL_DEAD))
        drop_to_its_end(co);
    if (co->children != nullptr)
        orphan_children(co);
    weft_private_tree_unlink(co);
    bury(co);
}

static __attribute__((noinline)) int destroy_checked(weft_coro *co)
{
    weft_private_coro_thread *t = &weft_private_coro;
    if (co == nullptr)
        return 0;
    if (co->thread != t || co->owned || co->special & WEFT_SPECIAL_BLOCKED)
        return weft_fail(EPERM);
    // (One that is being dropped lost control in a deferred function: it has its destroyer.)
    if (co->parent == nullptr || co->dropping || weft_private_coro_is_ancestor(co, t->current))
        return weft_fail(EBUSY);
    weft_private_coro_release(co);
    return 0;
}

int weft_coro_destroy(weft_coro *co)
{
    weft_private_coro_thread *t = &weft_private_coro;
    // Dead and without children it is nobody's ancestor; not owned, it has nothing of a
    // scheduler's.
    if (weft_private_likely(co != nullptr && co->thread == t && co->special == WEFT_SPECIAL_DEAD &&
                            co->children == nullptr &&
                            (co->owned | co->dropping | !co->spareable) == 0 &&
                            t->spares < SPARES)) {
        weft_private_tree_unlink(co);
        keep_whole(t, co);
        return 0;
    }
    return destroy_checked(co);
}

// ---- Deferring, and giving back what the dead had ----

int weft_defer(void (*fn)(void *), void *arg)
{
    weft_private_coro_thread *t = weft_private_coro_enter();
    if (t == nullptr)
        return -1;
    if (fn == nullptr || t->current == &t->main)
        return weft_fail(fn == nullptr ? EINVAL : EPERM);
    weft_private_deferred *d = (weft_private_deferred *)malloc(sizeof *d);
    if (d == nullptr)
        return -1;
    d->fn = fn;
    d->arg = arg;
    d->next = t->current->deferred;
    t->current->deferred = d;
    return 0;
}

void weft_coro_trim(void)
{
    int saved = errno;
    weft_private_coro_thread *t = &weft_private_coro;
    if (!t->ready)
        return;
    for (weft_coro *co; (co = t->spare) != nullptr; t->spares--) {
        t->spare = co->parent;
        weft_private_stack_give(t->stacks, &co->stack);
    }
    weft_private_stacks_trim(t->stacks);
    errno = saved;
}
