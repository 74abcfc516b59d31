// tasklet.cc: tasklets (tasklet.h) on the ring of scheduler.h.
//
// A tasklet's record lies below its coroutine's, on the tasklet's own stack: spawning allocates
// nothing but the stack.  All tasklets are children of the main coroutine.  One that is not
// joined is released by the next spawn, end or idle moment, for nobody can free the
// stack it stands on; so a stack is reused while it is still warm.
#include "scheduler.h"

#include <base/errno.h>

#include <string.h>

using namespace weft;

// 0 when `t` is one of this thread's that user calls may name.  Else an errno.
static int check(const weft_tasklet *t)
{
    if (t == nullptr)
        return EINVAL;
    return t->home != &scheduler_here ? EPERM : 0;
}

static int check_not_main(const weft_tasklet *t)
{
    int error = check(t);
    return error == 0 && t == &scheduler_here.main ? EINVAL : error;
}

// ---- Life ----

static void *body(void *arg, void *first)
{
    weft_tasklet *t = (weft_tasklet *)arg;
    (void)first;
    void *result = WEFT_FAILED;
    if (t->cancelled != 0)
        errno = (int)t->cancelled;
    else
        result = t->fn(t->arg);
    t->error = errno;
    return result;
}

weft_coro *weft::tasklet_ended(weft_coro *co, void **value)
{
    weft_tasklet *t = tasklet_of(co);
    scheduler *s = t->home;
    release_ended(s);
    t->state = IS_ENDED;
    if (t->children != nullptr)
        scope_abandon(t);
    if (t->scope != nullptr)
        scope_drop(t, co->value == WEFT_FAILED ? t->error : 0);
    if (t->joiner != nullptr)
        tasklet_wake(s, t->joiner);
    if (!t->joinable)
        s->ended = t;
    if (--s->alive == 0 && s->main_runs)
        tasklet_wake(s, &s->main);
    return next_to_run(s, t, value);
}

static int scope_refusal(const scheduler *s, const weft_scope *scope)
{
    if (scope == nullptr)
        return 0;
    if (scope->owner == nullptr)
        return EINVAL;
    if (scope->owner->home != s)
        return EPERM;
    return scope->cancelled ? ECANCELED : 0;
}

static weft_coro *create_coro(const weft_tasklet_options *opts)
{
    weft_coro_options o;
    if (opts == nullptr)
        return coro_create(body, nullptr, nullptr, sizeof(weft_tasklet));
    memset(&o, 0, sizeof o);
    o.name = opts->name;
    o.stack_size = opts->stack_size;
    o.keep_fp = opts->keep_fp;
    o.keep_mask = opts->keep_mask;
    return coro_create(body, nullptr, &o, sizeof(weft_tasklet));
}

weft_tasklet *weft_tasklet_spawn(void *(*fn)(void *arg), void *arg,
                                 const weft_tasklet_options *opts)
{
    scheduler *s = scheduler_enter();
    if (s == nullptr)
        return nullptr;
    int error = fn == nullptr ? EINVAL : scope_refusal(s, opts != nullptr ? opts->scope : nullptr);
    if (error == 0 && s->ending)
        error = ECANCELED;
    if (error != 0)
        return fail_null(error);
    release_ended(s);
    weft_coro *co = create_coro(opts);
    if (co == nullptr)
        return nullptr;
    weft_tasklet *t = tasklet_of(co);
    coro_own(co);
    coro_adopt(&coro_here.main, co);
    co->arg = t;
    co->on_end = tasklet_ended;
    co->special |= SPECIAL_BLOCKED;
    t->coro = t->leaf = co;
    t->own.tasklet = t;
    t->own.index = PLAIN_WAITER;
    t->fn = fn;
    t->arg = arg;
    t->home = t->free_at = s;
    t->joinable = opts == nullptr || !(opts->detached || opts->scope != nullptr);
    if (opts != nullptr && opts->scope != nullptr)
        scope_add(opts->scope, t);
    s->alive++;
    ring_insert(s->running, t);
    return t;
}

// ---- Waits ----

int weft_tasklet_run(void)
{
    scheduler *s = scheduler_enter();
    if (s == nullptr)
        return -1;
    int result = 0, error = s->running == &s->main ? refusal(s, WEFT_FOREVER) : EPERM;
    if (error != 0)
        return fail_with(error);
    if (s->alive != 0) {
        s->main_runs = 1;
        result = tasklet_suspend(s, IS_RUNNING_ALL, 0, WEFT_FOREVER);
        s->main_runs = 0;
    }
    release_ended(s);
    return result;
}

static __attribute__((noinline)) int yield_checked(void)
{
    scheduler *s = scheduler_enter();
    int error = refusal(s, WEFT_FOREVER);
    if (error != 0)
        return fail_with(error);
    weft_tasklet *me = s->running;
    me->value = 0;
    return me->next != me ? go_slowly(s, me, me->next) : look_around(s);
}

int weft_tasklet_yield(void)
{
    scheduler *s = &scheduler_here;
    weft_tasklet *me = s->running, *to = me->next;
    // One that is alone is not quick: its coroutine is not blocked.
    if (likely(quick(s, me, to, me->cancelled))) {
        me->value = 0;
        return jump(s, me, to);
    }
    return yield_checked();
}

int weft_tasklet_sleep(weft_deadline d)
{
    if (d <= WEFT_NOW)
        return weft_tasklet_yield();
    scheduler *s = scheduler_enter();
    int error = refusal(s, d);
    return error != 0 ? fail_with(error) : tasklet_suspend(s, IS_SLEEPING, 0, d);
}

static int join_refusal(const scheduler *s, weft_tasklet *t, weft_deadline d)
{
    int error = check_not_main(t);
    if (error == 0 && !t->joinable)
        error = EINVAL;
    if (error != 0)
        return error;
    if (t == s->running)
        return EDEADLK;
    // A ring goes through who joins the caller; mostly nobody does, and there is nothing to follow.
    if (s->running->joiner != nullptr)
        for (const weft_tasklet *each = t->joins; each != nullptr; each = each->joins)
            if (each == s->running)
                return EDEADLK;
    return t->joiner != nullptr ? EBUSY : refusal(&scheduler_here, d);
}

int weft_tasklet_join(weft_tasklet *t, void **result, weft_deadline d)
{
    scheduler *s = scheduler_enter();
    if (s == nullptr)
        return -1;
    int error = join_refusal(s, t, d);
    if (error == 0 && t->state != IS_ENDED && d <= WEFT_NOW)
        error = ETIMEDOUT;
    if (error != 0)
        return fail_with(error);
    if (t->state != IS_ENDED) {
        t->joiner = s->running;
        s->running->joins = t;
        if (tasklet_suspend(s, IS_JOINING, 0, d) != 0)
            return -1;
    }
    void *value = t->coro->value;
    error = t->error;
    coro_release(t->coro);
    if (result != nullptr)
        *result = value;
    if (value == WEFT_FAILED)
        errno = error;
    return 0;
}

int weft_tasklet_detach(weft_tasklet *t)
{
    int error = check_not_main(t);
    if (error == 0 && !t->joinable)
        error = EINVAL;
    if (error == 0 && t->joiner != nullptr)
        error = EBUSY;
    if (error != 0)
        return fail_with(error);
    t->joinable = 0;
    if (t->state == IS_ENDED)
        coro_release(t->coro);
    return 0;
}

// ---- Stopping and going on ----

static void insert_removed(weft_tasklet *t)
{
    ready(t->home, t);
}

// A signal handler may cancel the running one: that is the mark alone.
int weft_tasklet_cancel(weft_tasklet *t)
{
    int error = check_not_main(t);
    if (error != 0)
        return fail_with(error);
    if (t->cancelled != 0 || t->state == IS_ENDED)
        return 0;
    t->cancelled = ECANCELED;
    t->free_at = nullptr;
    if (t == t->home->running)
        return 0;
    if (t->state == IS_REMOVED)
        insert_removed(t);
    if (t->state != IS_READY)
        tasklet_fail_wait(t, ECANCELED);
    else if (t->coro->started && t->value == 0)
        pend(t, ECANCELED); // it yielded
    return 0;
}

int weft_tasklet_suspend(weft_deadline d)
{
    scheduler *s = scheduler_enter();
    int error = refusal(s, d);
    if (error == 0 && s->running->permit) {
        s->running->permit = 0;
        return 0;
    }
    if (error == 0 && d <= WEFT_NOW)
        error = ETIMEDOUT;
    if (error != 0)
        return fail_with(error);
    return tasklet_suspend(s, IS_SUSPENDED, 0, d);
}

int weft_tasklet_wake(weft_tasklet *t)
{
    int error = check(t);
    if (error != 0)
        return fail_with(error);
    if ((t->state & ~IS_TIMED) == IS_SUSPENDED)
        tasklet_wake(t->home, t);
    else if (t->state == IS_REMOVED)
        insert_removed(t);
    else
        t->permit = 1;
    return 0;
}

int weft_tasklet_remove(weft_tasklet *t)
{
    int error = check_not_main(t);
    if (error != 0)
        return fail_with(error);
    if (t->state == IS_ENDED)
        return fail_with(ESRCH);
    if (t->state == IS_REMOVED)
        return 0;
    if (t->state != IS_READY || t == t->home->running)
        return fail_with(EBUSY);
    list_remove(t);
    t->state = IS_REMOVED;
    return 0;
}

// ---- Who is who ----

weft_tasklet *weft_tasklet_self(void)
{
    scheduler *s = scheduler_enter();
    if (s == nullptr)
        return nullptr;
    if (s->running != s->keeper)
        return s->running;
    return fail_null(EPERM);
}

const char *weft_tasklet_name(const weft_tasklet *t)
{
    return t != nullptr ? t->coro->name : nullptr;
}

int weft_tasklet_poll(const weft_tasklet *t)
{
    int error = check(t);
    return error != 0 ? fail_with(error) : t->state == IS_ENDED;
}

size_t weft_tasklet_count(void)
{
    return scheduler_here.alive;
}

void **weft_tasklet_slot(void)
{
    weft_tasklet *t = weft_tasklet_self();
    return t != nullptr ? &t->slot : nullptr;
}

int weft_tasklet_set_poller(weft_poller *p)
{
    scheduler *s = scheduler_enter();
    if (s == nullptr)
        return -1;
    if (p != nullptr && p->poll == nullptr)
        return fail_with(EINVAL);
    if (p != nullptr && s->poller != nullptr && s->poller != p)
        return fail_with(EBUSY);
    s->poller = p;
    return 0;
}
