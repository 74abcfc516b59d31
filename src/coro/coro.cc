// coro.cc: threads' coroutines, their creation and their transfers (coro.h).
//
// No state is stored for who is running or waiting: the running one is `current`, its
// ancestors wait for it, the rest is suspended.  That leaves a transfer little to write.
// A plain coroutine that is destroyed stays whole, as a spare (end.cc), and the next one
// created takes its record and its stack, still in the cache.
#include "tree.h"

#include <base/errno.h>

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

using namespace weft;

static void *fail(int error)
{
    errno = error;
    return WEFT_FAILED;
}

// ---- The thread ----

static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;
static int thread_key_error;

static void alternate_stack_drop(coro_thread *t)
{
    stack_t off, now;
    if (t->alternate_stack == nullptr)
        return;
    memset(&off, 0, sizeof off);
    off.ss_flags = SS_DISABLE;
    if (sigaltstack(nullptr, &now) == 0 && now.ss_sp == t->alternate_stack)
        sigaltstack(&off, nullptr);
    munmap(t->alternate_stack, t->alternate_size);
    t->alternate_stack = nullptr;
}

// All coroutines go, the youngest generation first: each time from where the last one was, unless
// that had functions deferred, which may have changed the tree.
static void release_all(coro_thread *t)
{
    weft_coro *co = &t->main;
    for (;;) {
        while (co->children != nullptr)
            co = co->children;
        if (co == &t->main)
            return;
        weft_coro *parent = co->deferred != nullptr ? &t->main : co->parent;
        coro_release(co);
        co = parent;
    }
}

// The thread's end.
static void thread_end(void *p)
{
    coro_thread *t = (coro_thread *)p;
    if (t->current != &t->main) { // pthread_exit inside a coroutine
        coro_leave_all(t);
        return;
    }
    if (t->scheduler_end != nullptr)
        t->scheduler_end(0);
    release_all(t);
    if (t->scheduler_end != nullptr)
        t->scheduler_end(1);
    alternate_stack_drop(t);
    slow_machine_destroy(&t->main);
    stacks_destroy(t->stacks);
    t->stacks = nullptr;
    memset((void *)t->spares, 0, sizeof t->spares); // they were on those
    t->current = &nobody;
    t->ready = 0;
    leavings_here = nullptr;
}

static void thread_key_create(void)
{
    thread_key_error = pthread_key_create(&thread_key, thread_end);
}

static int thread_start(coro_thread *t)
{
    pthread_once(&thread_once, thread_key_create);
    if (thread_key_error != 0)
        return fail_with(ENOMEM);
    t->watched = 0;
    memset(t->spares, 0, sizeof t->spares);
    transfer_setup(t);
    memset(&t->main, 0, sizeof t->main);
    t->main.thread = t;
    t->main.up = &nobody;
    t->main.started = 1;
    t->main.older = t->main.younger = &t->main;
    memcpy(t->main.name, "main", sizeof "main");
    t->stacks = stacks_create(t->valgrind != 0);
    if (t->stacks == nullptr)
        return -1;
    if (slow_machine_create(&t->main) != 0 || pthread_setspecific(thread_key, t) != 0) {
        slow_machine_destroy(&t->main);
        stacks_destroy(t->stacks);
        t->stacks = nullptr;
        return fail_with(ENOMEM);
    }
    t->current = &t->main;
    t->ready = 1;
    leavings_here = coro_leavings;
    return 0;
}

coro_thread *weft::coro_start(void)
{
    coro_thread *t = &coro_here;
    return thread_start(t) == 0 ? t : nullptr;
}

// ---- Creating ----

static int take_stack(coro_thread *t, const weft_coro_options *opts, stack *stack)
{
    size_t size = opts != nullptr ? opts->stack_size : 0;
    if (size != 0 && size < STACK_LEAST)
        return fail_with(EINVAL);
    if (opts == nullptr || opts->stack == nullptr) {
        size_t usual = STACK_DEFAULT;
        if (t->watched & SPECIAL_WATCHED)
            usual *= 4; // a sanitizer's frames are larger
        return stack_take(t->stacks, size != 0 ? size : usual, stack);
    }
    if (size == 0)
        return fail_with(EINVAL);
    stack->low = (char *)opts->stack;
    stack->size = size;
    stack->guard = 0;
    return 0;
}

// Records at the same place of every page would fight for the same few cache lines: spread them
// over one of every four.
static char *place_record(const stack *stack)
{
    size_t colour = (((uintptr_t)stack->low >> 16) ^ ((uintptr_t)stack->low >> 14)) % 16 * 64;
    uintptr_t top = (uintptr_t)stack->low + stack->size - colour - sizeof(weft_coro);
    return (char *)(top & ~(uintptr_t)63);
}

static void set_name(weft_coro *co, const char *name)
{
    strncpy(co->name, name, sizeof co->name - 1);
    co->name[sizeof co->name - 1] = 0;
}

// What every life starts with; stack, thread and extra stay from one life to the next, and what
// only a scheduler sets is cleared when its coroutine becomes a spare.
static inline void be_born(coro_thread *t, weft_coro *co, char *top, void *(*fn)(void *, void *),
                           void *arg)
{
    co->life = ++t->births;
    co->value = nullptr;
    co->fn = fn;
    co->arg = arg;
    co->error = 0;
    co->started = 0;
    co->children = nullptr;
    co->deferred = nullptr;
    co->waits_for = nullptr;
    co->waits_on = nullptr;
    co->name[0] = 0;
    prepare(co, top);
    tree_link(t->current, co);
}

// A plain one is on the default stack and keeps nothing of its own.
static int is_plain(const coro_thread *t, const weft_coro_options *opts)
{
    if (t->watched | t->valgrind)
        return 0;
    return opts == nullptr ||
           (opts->stack_size == 0 && opts->stack == nullptr && !opts->keep_fp && !opts->keep_mask);
}

static weft_coro *create_on_a_stack(coro_thread *t, const weft_coro_options *opts)
{
    struct stack stack;
    if (take_stack(t, opts, &stack) != 0)
        return nullptr;
    weft_coro *co = (weft_coro *)(void *)place_record(&stack);
    memset(co, 0, offsetof(weft_coro, name));
    co->thread = t;
    co->stack = stack;
    if (opts != nullptr && opts->keep_fp)
        co->keep |= SPECIAL_FP;
    if (opts != nullptr && opts->keep_mask)
        co->keep |= SPECIAL_MASK;
    if ((t->watched | t->valgrind | co->keep) != 0 && slow_machine_create(co) != 0) {
        slow_machine_destroy(co);
        if (stack.guard != 0)
            stack_give(t->stacks, &stack);
        return fail_null(ENOMEM);
    }
    return co;
}

// Where plain ones with so much below the record are kept; NULL when there is no list left.
static spare_list *spares_of(coro_thread *t, size_t extra)
{
    for (spare_list &each : t->spares)
        if (each.extra == extra || (each.extra == 0 && &each != t->spares)) {
            each.extra = extra;
            return &each;
        }
    return nullptr;
}

// A destroyed one, if there is one; its record is warm.
static inline weft_coro *take_spare(spare_list *spares)
{
    weft_coro *co = spares->first;
    if (co == nullptr)
        return nullptr;
    spares->first = co->parent;
    spares->count--;
    co->special = 0;
    return co;
}

weft_coro *weft::coro_create(void *(*fn)(void *arg, void *first), void *arg,
                             const weft_coro_options *opts, size_t extra)
{
    coro_thread *t = coro_enter();
    if (t == nullptr)
        return nullptr;
    spare_list *spares = is_plain(t, opts) ? spares_of(t, extra) : nullptr;
    weft_coro *co = spares != nullptr ? take_spare(spares) : nullptr;
    if (co == nullptr && (co = create_on_a_stack(t, opts)) == nullptr)
        return nullptr;
    co->spares = spares;
    char *top = (char *)coro_extra(co, extra);
    if (extra != 0)
        memset(top, 0, extra);
    be_born(t, co, top, fn, arg);
    if (opts != nullptr && opts->name != nullptr)
        set_name(co, opts->name);
    return co;
}

weft_coro *weft_coro_create(void *(*fn)(void *arg, void *first), void *arg,
                            const weft_coro_options *opts)
{
    coro_thread *t = &coro_here;
    if (fn == nullptr)
        return fail_null(EINVAL);
    weft_coro *co = opts == nullptr ? take_spare(t->spares) : nullptr;
    if (!likely(co != nullptr))
        return coro_create(fn, arg, opts, 0);
    be_born(t, co, (char *)co, fn, arg);
    return co;
}

// ---- Transfers ----
//
// The checked ones are whatever the quick path did not let through.

static __attribute__((noinline)) void *resume_checked(weft_coro *co, void *value)
{
    coro_thread *t = coro_enter();
    if (t == nullptr)
        return WEFT_FAILED;
    weft_coro *self = t->current;
    int error = coro_check(co);
    if (error == 0 && co->up != self && coro_is_ancestor(co, self))
        error = EBUSY;
    if (error != 0)
        return fail(error);
    if (co->special & SPECIAL_DEAD)
        return value;
    error = coro_refusal(self, co);
    return error != 0 ? fail(error) : call(self, co, value);
}

void *weft_coro_resume(weft_coro *co, void *value)
{
    coro_thread *t = &coro_here;
    weft_coro *self = t->current;
    // A child whose parent is running is alone in that: no cycle, no other thread.
    if (likely(co != nullptr && co->up == self) && hop_is_plain(t, self, co, 0)) {
        self->callee = co;
        return hop<void *>(t, self, co, value);
    }
    return resume_checked(co, value);
}

// Suspends `self` in favour of `to`: it waits for nobody, unless that is its child, whose yield
// will come back.
static void *give_way(weft_coro *self, weft_coro *to, void *value)
{
    int error = coro_refusal(self, to);
    if (error != 0)
        return fail(error);
    self->callee = to->parent == self ? to : nullptr;
    return transfer<void *>(self, to, value);
}

static __attribute__((noinline)) void *yield_checked(void *value)
{
    coro_thread *t = coro_enter();
    if (t == nullptr)
        return WEFT_FAILED;
    weft_coro *self = t->current;
    if (self->special & SPECIAL_CANCELLED)
        return fail(self->error);
    if (self->up == &nobody)
        return fail(EPERM);
    return give_way(self, coro_living(self->parent), value);
}

void *weft_coro_yield(void *value)
{
    coro_thread *t = &coro_here;
    weft_coro *self = t->current, *to = self->up;
    if (likely(to->callee == self) && hop_is_plain(t, self, to, 0)) {
        self->callee = nullptr;
        return hop<void *>(t, self, to, value);
    }
    return yield_checked(value);
}

static __attribute__((noinline)) void *switch_checked(weft_coro *to, void *value)
{
    coro_thread *t = coro_enter();
    if (t == nullptr)
        return WEFT_FAILED;
    int error = coro_check(to);
    if (error != 0)
        return fail(error);
    weft_coro *self = t->current;
    if (self->owned)
        return fail(EPERM);
    if (self->special & SPECIAL_CANCELLED)
        return fail(self->error);
    to = coro_living(to);
    if (to == self)
        return value;
    return to->owned ? fail(EPERM) : give_way(self, to, value);
}

void *weft_coro_switch(weft_coro *to, void *value)
{
    coro_thread *t = &coro_here;
    weft_coro *self = t->current;
    if (likely(to != nullptr && to->thread == t && to != self && (self->owned | to->owned) == 0) &&
        hop_is_plain(t, self, to, 0)) {
        self->callee = to->up == self ? to : nullptr;
        return hop<void *>(t, self, to, value);
    }
    return switch_checked(to, value);
}

// ---- Who is who ----

weft_coro *weft_coro_self(void)
{
    coro_thread *t = coro_enter();
    return t != nullptr ? t->current : nullptr;
}

weft_coro *weft_coro_main(void)
{
    coro_thread *t = coro_enter();
    return t != nullptr ? &t->main : nullptr;
}

weft_coro *weft_coro_parent(weft_coro *co)
{
    if (co != nullptr && co->thread == &coro_here)
        return co->parent;
    return fail_null(co == nullptr ? EINVAL : EPERM);
}

int weft_coro_set_parent(weft_coro *co, weft_coro *parent)
{
    int error = coro_check(co);
    if (error != 0)
        return fail_with(error);
    if (co->parent == nullptr || parent == nullptr)
        return fail_with(EINVAL);
    if (parent->thread != co->thread)
        return fail_with(EPERM);
    if (co->dropping || coro_waits(co))
        return fail_with(EBUSY);
    if (coro_is_ancestor(co, parent))
        return fail_with(ELOOP);
    coro_adopt(parent, co);
    return 0;
}

int weft_coro_state(const weft_coro *co)
{
    const coro_thread *t = &coro_here;
    if (co == nullptr || co->thread != t)
        return fail_with(co == nullptr ? EINVAL : EPERM);
    if (co->special & SPECIAL_DEAD)
        return WEFT_CORO_DEAD;
    if (co == t->current)
        return WEFT_CORO_RUNNING;
    if (!co->started)
        return WEFT_CORO_NEW;
    return coro_is_ancestor(co, t->current) ? WEFT_CORO_NORMAL : WEFT_CORO_SUSPENDED;
}

void *weft_coro_result(const weft_coro *co)
{
    if (co == nullptr || co->thread != &coro_here)
        return fail(co == nullptr ? EINVAL : EPERM);
    if (!(co->special & SPECIAL_DEAD))
        return fail(EBUSY);
    return co->value == WEFT_FAILED ? fail(co->error) : co->value;
}

const char *weft_coro_name(const weft_coro *co)
{
    return co != nullptr ? co->name : nullptr;
}
