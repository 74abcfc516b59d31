// coro.cc: coroutines (coro.h).
//
// All coroutines of a thread form one tree, by parent, with the main one as its root: the
// tree is also the list of all that the dump and the thread's end go through.  No
// state is stored for who is running or waiting: the running one is `current`, its ancestors
// wait for it, the rest is suspended.  That leaves a transfer little to write.
//
// Ending is always the same way, weft_private_coro_begin's last lines: the deferred functions
// run, and the value goes to the nearest living ancestor.  A suspended coroutine that is
// destroyed gets there without its body: a new first frame is put below its last one
// (whatever the deferred functions were given may lie in the frames above).
#include "coroutine.h"

#include <base/saved_errno.h>

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

struct weft_private_deferred {
    weft_private_deferred *next;
    void (*fn)(void *);
    void *arg;
};

static void *fail(int error)
{
    errno = error;
    return WEFT_FAILED;
}

// ---- The thread ----

static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;
static int thread_key_error;

static void alternate_stack_drop(weft_private_coro_thread *t)
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

// The thread's end: its coroutines go, the youngest generation first.
static void thread_end(void *p)
{
    weft_private_coro_thread *t = (weft_private_coro_thread *)p;
    if (t->current != &t->main)
        return; // pthread_exit inside a coroutine: this very stack is one of them
    while (t->main.children != nullptr) {
        weft_coro *co = t->main.children;
        while (co->children != nullptr)
            co = co->children;
        weft_private_coro_release(co);
    }
    alternate_stack_drop(t);
    weft_private_machine_destroy(&t->main);
    weft_private_stacks_destroy(t->stacks);
    t->stacks = nullptr;
    t->current = &weft_private_nobody;
    t->ready = 0;
}

static void thread_key_create(void)
{
    thread_key_error = pthread_key_create(&thread_key, thread_end);
}

static int thread_start(weft_private_coro_thread *t)
{
    pthread_once(&thread_once, thread_key_create);
    if (thread_key_error != 0)
        return weft_fail(ENOMEM);
    t->watched = 0;
    weft_private_transfer_setup(t);
    memset(&t->main, 0, sizeof t->main);
    t->main.thread = t;
    t->main.up = &weft_private_nobody;
    t->main.started = 1;
    t->main.older = t->main.younger = &t->main;
    memcpy(t->main.name, "main", sizeof "main");
    t->stacks = weft_private_stacks_create();
    if (t->stacks == nullptr)
        return -1;
    if (weft_private_machine_create(&t->main) != 0 || pthread_setspecific(thread_key, t) != 0) {
        weft_private_machine_destroy(&t->main);
        weft_private_stacks_destroy(t->stacks);
        t->stacks = nullptr;
        return weft_fail(ENOMEM);
    }
    t->current = &t->main;
    t->ready = 1;
    return 0;
}

weft_private_coro_thread *weft_private_coro_enter(void)
{
    weft_private_coro_thread *t = &weft_private_coro;
    if (weft_private_likely(t->ready) || thread_start(t) == 0)
        return t;
    return nullptr;
}

// 0 when user calls may name `co`: one of this thread and no scheduler's own.  Else an errno.
static int check(const weft_coro *co)
{
    if (co == nullptr)
        return EINVAL;
    return co->thread != &weft_private_coro || co->owned ? EPERM : 0;
}

// ---- The tree ----

static void tree_link(weft_coro *parent, weft_coro *co)
{
    weft_coro *eldest = parent->children;
    co->parent = parent;
    co->up = co->owned ? &weft_private_nobody : parent;
    if (eldest == nullptr) {
        parent->children = co->older = co->younger = co;
        return;
    }
    co->older = eldest->older;
    co->younger = eldest;
    eldest->older->younger = co;
    eldest->older = co;
}

static void tree_unlink(weft_coro *co)
{
    weft_coro *parent = co->parent;
    if (parent->children == co)
        parent->children = co->younger == co ? nullptr : co->younger;
    co->older->younger = co->younger;
    co->younger->older = co->older;
}

void weft_private_coro_adopt(weft_coro *parent, weft_coro *co)
{
    if (co->parent == parent)
        return;
    tree_unlink(co);
    tree_link(parent, co);
}

void weft_private_coro_own(weft_coro *co)
{
    co->owned = 1;
    co->up = &weft_private_nobody;
}

int weft_private_coro_is_ancestor(const weft_coro *co, const weft_coro *of)
{
    for (; of != nullptr; of = of->parent)
        if (of == co)
            return 1;
    return 0;
}

weft_coro *weft_private_coro_living(weft_coro *co)
{
    while (co->special & WEFT_SPECIAL_DEAD)
        co = co->parent;
    return co;
}

// ---- From the first call to the last ----

static void run_deferred(weft_coro *co)
{
    if (co->deferred == nullptr)
        return;
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

void weft_private_coro_begin(weft_coro *co, void *first)
{
    weft_private_coro_arrive(co);
    co->started = 1;
    void *result = WEFT_FAILED;
    int error = ECANCELED;
    if (!co->dropping) {
        result = co->fn(co->arg, first);
        error = errno;
    }
    run_deferred(co);
    co->special |= WEFT_SPECIAL_DEAD;
    co->special &= ~(uint32_t)WEFT_SPECIAL_PENDING;
    co->value = result;
    weft_coro *to =
        co->on_end != nullptr ? co->on_end(co, &result) : weft_private_coro_living(co->parent);
    co->error = error;
    if (result == WEFT_FAILED)
        errno = error;
    weft_private_leave(co, to, result);
}

// ---- Creating ----

static int take_stack(weft_private_coro_thread *t, const weft_coro_options *opts,
                      weft_private_stack *stack)
{
    size_t size = opts != nullptr ? opts->stack_size : 0;
    if (size != 0 && size < WEFT_STACK_LEAST)
        return weft_fail(EINVAL);
    if (opts == nullptr || opts->stack == nullptr) {
        size_t usual = WEFT_STACK_DEFAULT;
        if (t->watched & WEFT_SPECIAL_WATCHED)
            usual *= 4; // a sanitizer's frames are larger
        return weft_private_stack_take(t->stacks, size != 0 ? size : usual, stack);
    }
    if (size == 0)
        return weft_fail(EINVAL);
    stack->low = (char *)opts->stack;
    stack->size = size;
    stack->guard = 0;
    return 0;
}

// Records at the same place of every page would fight for the same few cache lines: spread them
// over one of every four.
static char *place_record(const weft_private_stack *stack)
{
    size_t colour = ((uintptr_t)stack->low / stack->size) % 16 * 64;
    uintptr_t top = (uintptr_t)stack->low + stack->size - colour - sizeof(weft_coro);
    return (char *)(top & ~(uintptr_t)63);
}

static void set_options(weft_coro *co, const weft_coro_options *opts)
{
    co->name[0] = 0;
    if (opts == nullptr)
        return;
    co->lent = opts->stack != nullptr;
    if (opts->keep_fp)
        co->keep |= WEFT_SPECIAL_FP;
    if (opts->keep_mask)
        co->keep |= WEFT_SPECIAL_MASK;
    if (opts->name != nullptr) {
        strncpy(co->name, opts->name, sizeof co->name - 1);
        co->name[sizeof co->name - 1] = 0;
    }
}

weft_coro *weft_private_coro_create(void *(*fn)(void *arg, void *first), void *arg,
                                    const weft_coro_options *opts, size_t extra)
{
    weft_private_stack stack;
    weft_private_coro_thread *t = weft_private_coro_enter();
    if (t == nullptr || take_stack(t, opts, &stack) != 0)
        return nullptr;
    weft_coro *co = (weft_coro *)(void *)place_record(&stack);
    memset(co, 0, offsetof(weft_coro, name));
    co->thread = t;
    co->fn = fn;
    co->arg = arg;
    co->stack = stack;
    set_options(co, opts);
    char *top = (char *)weft_private_coro_extra(co, extra);
    memset(top, 0, extra);
    if (weft_private_machine_create(co) != 0 || weft_private_prepare(co, top) != 0) {
        weft_private_machine_destroy(co);
        if (!co->lent)
            weft_private_stack_give(t->stacks, &stack);
        errno = ENOMEM;
        return nullptr;
    }
    tree_link(t->current, co);
    return co;
}

weft_coro *weft_coro_create(void *(*fn)(void *arg, void *first), void *arg,
                            const weft_coro_options *opts)
{
    if (fn == nullptr) {
        errno = EINVAL;
        return nullptr;
    }
    return weft_private_coro_create(fn, arg, opts, 0);
}

// ---- Transfers ----

// Whatever the quick path did not let through.
static __attribute__((noinline)) void *resume_checked(weft_coro *co, void *value)
{
    weft_private_coro_thread *t = weft_private_coro_enter();
    if (t == nullptr)
        return WEFT_FAILED;
    int error = check(co);
    if (error != 0)
        return fail(error);
    if (weft_private_coro_is_ancestor(co, t->current))
        return fail(EBUSY);
    if (co->special & WEFT_SPECIAL_DEAD)
        return value;
    weft_private_coro_adopt(t->current, co);
    return weft_private_coro_transfer(t->current, co, value);
}

void *weft_coro_resume(weft_coro *co, void *value)
{
#if WEFT_PRIVATE_SWAP
    weft_private_coro_thread *t = &weft_private_coro;
    weft_coro *self = t->current;
    // A child whose parent is running is alone in that: no cycle, no other thread.
    if (weft_private_likely(co != nullptr && co->up == self &&
                            (self->special | co->special | weft_private_in_flight(t)) == 0)) {
        t->current = co;
        return weft_private_swap(&self->sp, co->sp, value);
    }
#endif
    return resume_checked(co, value);
}

static __attribute__((noinline)) void *yield_checked(void *value)
{
    weft_private_coro_thread *t = weft_private_coro_enter();
    if (t == nullptr)
        return WEFT_FAILED;
    weft_coro *self = t->current;
    if (self->special & WEFT_SPECIAL_CANCELLED)
        return fail(self->error);
    if (self->up == &weft_private_nobody)
        return fail(EPERM);
    weft_coro *to = weft_private_coro_living(self->parent);
    return weft_private_coro_transfer(self, to, value);
}

void *weft_coro_yield(void *value)
{
#if WEFT_PRIVATE_SWAP
    weft_private_coro_thread *t = &weft_private_coro;
    weft_coro *self = t->current, *to = self->up;
    if (weft_private_likely((self->special | to->special | weft_private_in_flight(t)) == 0)) {
        t->current = to;
        return weft_private_swap(&self->sp, to->sp, value);
    }
#endif
    return yield_checked(value);
}

static __attribute__((noinline)) void *switch_checked(weft_coro *to, void *value)
{
    weft_private_coro_thread *t = weft_private_coro_enter();
    if (t == nullptr)
        return WEFT_FAILED;
    int error = check(to);
    if (error != 0)
        return fail(error);
    weft_coro *self = t->current;
    if (self->owned)
        return fail(EPERM);
    if (self->special & WEFT_SPECIAL_CANCELLED)
        return fail(self->error);
    to = weft_private_coro_living(to);
    if (to == self)
        return value;
    if (to->owned)
        return fail(EPERM);
    return weft_private_coro_transfer(self, to, value);
}

void *weft_coro_switch(weft_coro *to, void *value)
{
#if WEFT_PRIVATE_SWAP
    weft_private_coro_thread *t = &weft_private_coro;
    weft_coro *self = t->current;
    if (weft_private_likely(to != nullptr && to->thread == t && to != self &&
                            (self->owned | to->owned | self->special | to->special |
                             weft_private_in_flight(t)) == 0)) {
        t->current = to;
        return weft_private_swap(&self->sp, to->sp, value);
    }
#endif
    return switch_checked(to, value);
}

// ---- Cancelling and destroying ----

static void die_unborn(weft_coro *co)
{
    co->special |= WEFT_SPECIAL_DEAD;
    co->value = WEFT_FAILED;
}

int weft_coro_cancel(weft_coro *co, int error)
{
    int saved = errno;
    weft_private_coro_thread *t = weft_private_coro_enter();
    if (t == nullptr)
        return -1;
    int wrong = check(co);
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
    weft_private_coro_adopt(t->current, co);
    weft_private_coro_transfer(t->current, co, nullptr);
    if (!(co->special & WEFT_SPECIAL_DEAD))
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
    co->special &= ~(uint32_t)WEFT_SPECIAL_PENDING;
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

void weft_private_coro_release(weft_coro *co)
{
    int saved = errno;
    weft_private_stack stack = co->stack;
    weft_private_coro_thread *t = co->thread;
    int lent = co->lent;
    // Under ASan also without any: its fake stack ends with the last switch.  Again when one of
    // them resumed a coroutine that switched back here: the rest are still to run.
    while (co->started && !(co->special & WEFT_SPECIAL_DEAD) &&
           (co->deferred != nullptr || co->special & WEFT_SPECIAL_WATCHED))
        drop(co);
    orphan_children(co);
    tree_unlink(co);
    weft_private_machine_destroy(co);
    if (!lent)
        weft_private_stack_give(t->stacks, &stack);
    errno = saved;
}

int weft_coro_destroy(weft_coro *co)
{
    if (co == nullptr)
        return 0;
    weft_private_coro_thread *t = &weft_private_coro;
    if (co->thread != t || co->owned)
        return weft_fail(EPERM);
    if (co->parent == nullptr || weft_private_coro_is_ancestor(co, t->current))
        return weft_fail(EBUSY);
    weft_private_coro_release(co);
    return 0;
}

// ---- Who is who ----

weft_coro *weft_coro_self(void)
{
    weft_private_coro_thread *t = weft_private_coro_enter();
    return t != nullptr ? t->current : nullptr;
}

weft_coro *weft_coro_main(void)
{
    weft_private_coro_thread *t = weft_private_coro_enter();
    return t != nullptr ? &t->main : nullptr;
}

weft_coro *weft_coro_parent(weft_coro *co)
{
    if (co != nullptr && co->thread == &weft_private_coro)
        return co->parent;
    errno = co == nullptr ? EINVAL : EPERM;
    return nullptr;
}

int weft_coro_set_parent(weft_coro *co, weft_coro *parent)
{
    int error = check(co);
    if (error != 0)
        return weft_fail(error);
    if (co->parent == nullptr || parent == nullptr)
        return weft_fail(EINVAL);
    if (parent->thread != co->thread)
        return weft_fail(EPERM);
    if (weft_private_coro_is_ancestor(co, parent))
        return weft_fail(ELOOP);
    weft_private_coro_adopt(parent, co);
    return 0;
}

int weft_coro_state(const weft_coro *co)
{
    const weft_private_coro_thread *t = &weft_private_coro;
    if (co == nullptr || co->thread != t)
        return weft_fail(co == nullptr ? EINVAL : EPERM);
    if (co->special & WEFT_SPECIAL_DEAD)
        return WEFT_CORO_DEAD;
    if (co == t->current)
        return WEFT_CORO_RUNNING;
    if (!co->started)
        return WEFT_CORO_NEW;
    return weft_private_coro_is_ancestor(co, t->current) ? WEFT_CORO_NORMAL : WEFT_CORO_SUSPENDED;
}

void *weft_coro_result(const weft_coro *co)
{
    if (co == nullptr || co->thread != &weft_private_coro)
        return fail(co == nullptr ? EINVAL : EPERM);
    if (!(co->special & WEFT_SPECIAL_DEAD))
        return fail(EBUSY);
    return co->value == WEFT_FAILED ? fail(co->error) : co->value;
}

const char *weft_coro_name(const weft_coro *co)
{
    return co != nullptr ? co->name : nullptr;
}

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
    if (weft_private_coro.ready)
        weft_private_stacks_trim(weft_private_coro.stacks);
    errno = saved;
}
