// end.cc: how coroutines end: returning, cancelled, destroyed (coro.h).
//
// Ending is always the same way, coro_begin's last lines: the deferred functions
// run, and the value goes to the nearest living ancestor.  A suspended coroutine that is
// destroyed gets there without its body: a new first frame is put below its last one
// (whatever the deferred functions were given may lie in the frames above).
//
// A deferred function, or one that is being cancelled, may lose control to others, who may destroy
// what the caller waits for: after each transfer nothing is touched that could be gone.
#include "tree.h"

#include <base/errno.h>

using namespace weft;

// ---- From the first call to the last ----

static void run_deferred(weft_coro *co)
{
    if (!(co->special & SPECIAL_CANCELLED)) {
        co->special |= SPECIAL_CANCELLED; // nothing there may suspend
        co->error = ECANCELED;
    }
    while (co->deferred != nullptr) {
        leaving d = *co->deferred;
        if (d.allocated)
            free(co->deferred);
        co->deferred = d.next;
        d.fn(d.arg);
    }
}

// A thread ends inside a coroutine.
void weft::coro_leave_all(coro_thread *t)
{
    run_deferred(t->current); // from here on it may not suspend
    int depth = 0;
    for (weft_coro *co = &t->main; co != nullptr; co = (weft_coro *)coro_next(&t->main, co, &depth))
        if (co->deferred != nullptr) {
            run_deferred(co);
            co = &t->main; // the tree may be another
            depth = 0;
        }
}

leaving **weft::coro_leavings(void)
{
    coro_thread *t = &coro_here;
    return t->current != &t->main ? &t->current->deferred : nullptr;
}

// Everything that an end may have to do; `result` is what the body returned.
static __attribute__((noinline, noreturn)) void end(weft_coro *co, void *result)
{
    int error = result == WEFT_FAILED ? errno : 0;
    if (co->deferred != nullptr)
        run_deferred(co);
    co->special = (co->special | SPECIAL_DEAD) & ~(uint32_t)SPECIAL_PENDING;
    co->value = result;
    co->callee = nullptr;
    weft_coro *to = co->on_end != nullptr ? co->on_end(co, &result) : coro_heir(co);
    co->error = error;
    co->thread->last_ended = co;
    if (to->special & SPECIAL_BLOCKED)
        to = co->thread->shelter();
    if (to->special & SPECIAL_ASKS) { // and not this one: its call fails
        coro_forget_callee(to);
        result = WEFT_FAILED;
        error = EBUSY;
    }
    if (result == WEFT_FAILED)
        errno = error;
    leave(co, to, result);
}

void weft::coro_begin(void *first)
{
    // From here, not by a register on the new stack: known sooner.
    coro_thread *t = &coro_here;
    weft_coro *co = t->current;
    if (co->special & SPECIAL_WATCHED)
        coro_arrive(co);
    co->started = 1;
    void *result = co->dropping ? WEFT_FAILED : co->fn(co->arg, first);
    weft_coro *to = co->parent;
    if (likely(result != WEFT_FAILED && co->deferred == nullptr && co->on_end == nullptr &&
               to->callee == co) &&
        hop_is_plain(t, co, to, 0)) {
        co->special = SPECIAL_DEAD;
        co->callee = nullptr;
        co->value = result;
        t->last_ended = co;
        t->current = to;
        land(to->sp, result);
    }
    end(co, result);
}

// ---- Cancelling and destroying ----

static void die_unborn(weft_coro *co)
{
    co->special |= SPECIAL_DEAD;
    co->value = WEFT_FAILED;
}

// Whether `co` is still there and has not ended.  It may have been destroyed, so it is looked for
// in the tree before it is touched.
static int still_lives(const coro_thread *t, const weft_coro *co, uint64_t life)
{
    int depth = 0;
    for (const weft_coro *c = &t->main; c != nullptr; c = coro_next(&t->main, c, &depth))
        if (c == co)
            return co->life == life && !(co->special & SPECIAL_DEAD);
    return 0;
}

int weft_coro_throw(weft_coro *co, int error)
{
    int saved = errno;
    coro_thread *t = coro_enter();
    if (t == nullptr)
        return -1;
    int wrong = coro_check(co);
    if (wrong != 0 || error <= 0 || co == &t->main)
        return fail_with(wrong != 0 ? wrong : EINVAL);
    if (co->special & SPECIAL_DEAD)
        return 0;
    int above = co->started && coro_is_ancestor(co, t->current);
    if (above ? coro_waits(co) : coro_refusal(t->current, co))
        return fail_with(EBUSY);
    co->error = error;
    co->special |= SPECIAL_CANCELLED;
    if (co == t->current)
        return 0;
    if (!co->started) {
        die_unborn(co);
        return 0;
    }
    co->special |= SPECIAL_PENDING;
    if (above)
        return 0;
    uint64_t life = co->life;
    t->last_ended = nullptr;
    call(t->current, co, nullptr);
    if (t->last_ended != co && still_lives(t, co, life))
        return fail_with(EBUSY);
    errno = saved;
    return 0;
}

int weft_coro_cancel(weft_coro *co)
{
    return weft_coro_throw(co, ECANCELED);
}

// Runs what a suspended one has deferred, on its own stack, below its frames.
static void drop(weft_coro *co)
{
    co->dropping = 1;
    co->on_end = nullptr;
    co->special &= ~(uint32_t)(SPECIAL_PENDING | SPECIAL_BLOCKED | SPECIAL_NESTED);
    if (co->special & SPECIAL_ASKS)
        coro_forget_callee(co);
    // Below the red zone, and below what swapcontext has of frames of its own.
    char *top = (char *)(((uintptr_t)co->sp - 512) & ~(uintptr_t)15);
    prepare(co, top);
    call(co->thread->current, co, nullptr);
}

static void orphan_children(weft_coro *co)
{
    weft_coro *child;
    while ((child = co->children) != nullptr) {
        if (child->on_orphan != nullptr)
            child->on_orphan(child);
        child->dropping = 0; // its destroyer is gone
        coro_adopt(co->parent, child);
    }
}

static inline void keep_whole(spare_list *spares, weft_coro *co)
{
    co->parent = spares->first;
    spares->first = co;
    spares->count++;
}

// The last destroyed are kept with their records, the rest of them as stacks.
static void release_ended(weft_coro *co)
{
    coro_thread *t = co->thread;
    if (co->spares != nullptr && co->spares->count < SPARES) {
        co->owned = 0;
        co->dropping = 0;
        co->on_end = nullptr;
        co->on_orphan = nullptr;
        co->callee = nullptr;
        keep_whole(co->spares, co);
        return;
    }
    if (co->machine != nullptr)
        slow_machine_destroy(co);
    if (co->stack.guard != 0)
        stack_give(t->stacks, &co->stack);
}

static void drop_to_its_end(weft_coro *co)
{
    int saved = errno;
    // Under ASan also without any deferred: its fake stack ends with the last switch.  Again
    // when one of them resumed a coroutine that switched back here: the rest are still to run.
    while (!(co->special & SPECIAL_DEAD) &&
           (co->deferred != nullptr || co->special & SPECIAL_WATCHED))
        drop(co);
    errno = saved;
}

void weft::coro_release(weft_coro *co)
{
    if (co->started && !(co->special & SPECIAL_DEAD))
        drop_to_its_end(co);
    if (co->children != nullptr)
        orphan_children(co);
    tree_unlink(co);
    release_ended(co);
}

static __attribute__((noinline)) int destroy_checked(weft_coro *co)
{
    coro_thread *t = &coro_here;
    if (co == nullptr)
        return 0;
    if (co->thread != t || co->owned)
        return fail_with(EPERM);
    // (One that is being dropped lost control in a deferred function: it has its destroyer, whose
    // child it stays, so that the two never wait for each other.)
    if (co->parent == nullptr || co->dropping || coro_is_ancestor(co, t->current) || coro_waits(co))
        return fail_with(EBUSY);
    coro_release(co);
    return 0;
}

int weft_coro_destroy(weft_coro *co)
{
    coro_thread *t = &coro_here;
    // Dead and without children it is nobody's ancestor; not owned, it has nothing of a
    // scheduler's.
    if (likely(co != nullptr && co->thread == t && co->special == SPECIAL_DEAD &&
               co->children == nullptr && (co->owned | co->dropping) == 0 &&
               co->spares == t->spares && t->spares->count < SPARES)) {
        tree_unlink(co);
        keep_whole(t->spares, co);
        return 0;
    }
    return destroy_checked(co);
}

// ---- Deferring, and giving back what the dead had ----

int weft_defer(void (*fn)(void *), void *arg)
{
    coro_thread *t = coro_enter();
    if (t == nullptr)
        return -1;
    if (fn == nullptr || t->current == &t->main)
        return fail_with(fn == nullptr ? EINVAL : EPERM);
    leaving *d = (leaving *)malloc(sizeof *d);
    if (d == nullptr)
        return -1;
    *d = {t->current->deferred, fn, arg, true};
    t->current->deferred = d;
    return 0;
}

void weft_coro_trim(void)
{
    int saved = errno;
    coro_thread *t = &coro_here;
    if (!t->ready)
        return;
    for (spare_list &spares : t->spares)
        for (weft_coro *co; (co = spares.first) != nullptr; spares.count--) {
            spares.first = co->parent;
            stack_give(t->stacks, &co->stack);
        }
    stacks_trim(t->stacks);
    errno = saved;
}
