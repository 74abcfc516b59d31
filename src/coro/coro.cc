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

static const size_t SPARES = 64; // records kept for the next plain coroutines

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
    t->spare = nullptr;
    t->spares = 0;
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

weft_private_coro_thread *weft_private_coro_start(void)
{
    weft_private_coro_thread *t = &weft_private_coro;
    return thread_start(t) == 0 ? t : nullptr;
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

const weft_coro *weft_private_coro_next(const weft_coro *co, int *depth)
{
    if (co->children != nullptr) {
        ++*depth;
        return co->children;
    }
    for (; co->parent != nullptr; co = co->parent, --*depth)
        if (co->younger != co->parent->children)
            return co->younger;
    return nullptr;
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
    if (co->special & WEFT_SPECIAL_WATCHED)
        weft_private_coro_arrive(co);
    co->started = 1;
    void *result = co->dropping ? WEFT_FAILED : co->fn(co->arg, first);
    int error = result == WEFT_FAILED ? errno : 0;
    if (co->deferred != nullptr)
        run_deferred(co);
    co->special = (co->special | WEFT_SPECIAL_DEAD) & ~(uint32_t)WEFT_SPECIAL_PENDING;
    co->value = result;
    weft_coro *to =
        co->on_end != nullptr ? co->on_end(co, &result) : weft_private_coro_living(co->parent);
    co->error = error;
    if (result == WEFT_FAILED)
        errno = error;
    weft_private_coro_thread *t = &weft_private_coro;
    t->last_ended = co;
#if WEFT_PRIVATE_SWAP
    if (weft_private_likely(
            ((co->special ^ WEFT_SPECIAL_DEAD) | to->special | weft_private_in_flight(t)) == 0)) {
        t->current = to;
        weft_private_swap(&co->sp, to->sp, result);
    }
#endif
    weft_private_leave(co, to, result);
}

// ---- Creating ----

static inline void prepare(weft_coro *co, char *top)
{
#if WEFT_PRIVATE_SWAP
    if (weft_private_likely(!(co->special & WEFT_SPECIAL_UCONTEXT))) {
        // The swap's frame: the record in the register that the entry takes it from, and the
        // entry.  What the other registers start with is all the same.
#if defined(__x86_64__)
        void **frame = (void **)(void *)top - 7;
        frame[4] = co; // rbx
        frame[6] = (void *)weft_private_coro_entry;
#else
        void **frame = (void **)(void *)top - 20;
        frame[1] = (void *)weft_private_coro_entry; // x30
        frame[2] = co;                              // x19
#endif
        co->sp = frame;
        return;
    }
#endif
    weft_private_prepare_ucontext(co, top);
}

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
    size_t colour = (((uintptr_t)stack->low >> 16) ^ ((uintptr_t)stack->low >> 14)) % 16 * 64;
    uintptr_t top = (uintptr_t)stack->low + stack->size - colour - sizeof(weft_coro);
    return (char *)(top & ~(uintptr_t)63);
}

static void set_name(weft_coro *co, const char *name)
{
    co->name[0] = 0;
    if (name == nullptr)
        return;
    strncpy(co->name, name, sizeof co->name - 1);
    co->name[sizeof co->name - 1] = 0;
}

// What every life starts with; stack, thread and extra stay from one life to the next.
static inline void set_birth(weft_coro *co, void *(*fn)(void *, void *), void *arg)
{
    co->owned = 0;
    co->value = nullptr;
    co->fn = fn;
    co->arg = arg;
    co->error = 0;
    co->started = 0;
    co->dropping = 0;
    co->children = nullptr;
    co->deferred = nullptr;
    co->on_end = nullptr;
    co->on_orphan = nullptr;
    co->data = nullptr;
    co->waits_for = nullptr;
    co->waits_on = nullptr;
}

// A plain one is on the default stack and keeps nothing of its own.
static int is_plain(const weft_private_coro_thread *t, const weft_coro_options *opts)
{
    if (t->watched | t->valgrind)
        return 0;
    return opts == nullptr ||
           (opts->stack_size == 0 && opts->stack == nullptr && !opts->keep_fp && !opts->keep_mask);
}

static weft_coro *create_on_a_stack(weft_private_coro_thread *t, const weft_coro_options *opts,
                                    size_t extra)
{
    weft_private_stack stack;
    if (take_stack(t, opts, &stack) != 0)
        return nullptr;
    weft_coro *co = (weft_coro *)(void *)place_record(&stack);
    memset(co, 0, offsetof(weft_coro, name));
    co->thread = t;
    co->stack = stack;
    co->extra = extra;
    if (opts != nullptr && opts->keep_fp)
        co->keep |= WEFT_SPECIAL_FP;
    if (opts != nullptr && opts->keep_mask)
        co->keep |= WEFT_SPECIAL_MASK;
    if ((t->watched | t->valgrind | co->keep) != 0 && weft_private_machine_create(co) != 0) {
        weft_private_machine_destroy(co);
        if (stack.guard != 0)
            weft_private_stack_give(t->stacks, &stack);
        errno = ENOMEM;
        return nullptr;
    }
    return co;
}

// A destroyed plain one, if there is one with room for as much; its record is warm.
static inline weft_coro *take_spare(weft_private_coro_thread *t, size_t extra)
{
    weft_coro *co = t->spare;
    if (co == nullptr || co->extra != extra)
        return nullptr;
    t->spare = co->parent;
    t->spares--;
    co->special = 0;
    return co;
}

weft_coro *weft_private_coro_create(void *(*fn)(void *arg, void *first), void *arg,
                                    const weft_coro_options *opts, size_t extra)
{
    weft_private_coro_thread *t = weft_private_coro_enter();
    if (t == nullptr)
        return nullptr;
    int plain = is_plain(t, opts);
    weft_coro *co = plain ? take_spare(t, extra) : nullptr;
    if (co == nullptr && (co = create_on_a_stack(t, opts, extra)) == nullptr)
        return nullptr;
    set_birth(co, fn, arg);
    co->life = ++t->births;
    co->spareable = (uint8_t)plain;
    set_name(co, opts != nullptr ? opts->name : nullptr);
    char *top = (char *)weft_private_coro_extra(co, extra);
    if (extra != 0)
        memset(top, 0, extra);
    prepare(co, top);
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
    co->special &= ~(uint32_t)WEFT_SPECIAL_PENDING;
    // Below the red zone, and below what swapcontext has of frames of its own.
    char *top = (char *)(((uintptr_t)co->sp - 512) & ~(uintptr_t)15);
    prepare(co, top);
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

// The last destroyed are kept with their records, the rest of them as stacks.
static inline void bury(weft_coro *co)
{
    weft_private_coro_thread *t = co->thread;
    if (co->spareable && t->spares < SPARES) {
        co->parent = t->spare;
        t->spare = co;
        t->spares++;
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

static inline void release(weft_coro *co)
{
    if (co->started && !(co->special & WEFT_SPECIAL_DEAD))
        drop_to_its_end(co);
    if (co->children != nullptr)
        orphan_children(co);
    tree_unlink(co);
    bury(co);
}

void weft_private_coro_release(weft_coro *co)
{
    release(co);
}

int weft_coro_destroy(weft_coro *co)
{
    if (co == nullptr)
        return 0;
    weft_private_coro_thread *t = &weft_private_coro;
    if (co->thread != t || co->owned)
        return weft_fail(EPERM);
    // (One that is being dropped lost control in a deferred function: it has its destroyer.)
    if (co->parent == nullptr || co->dropping || weft_private_coro_is_ancestor(co, t->current))
        return weft_fail(EBUSY);
    release(co);
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
