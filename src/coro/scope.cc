// scope.cc: scopes (tasklet.h).
//
// A scope lives in its owner's frame; its children are listed in the owner's record, for the frame
// may go without a close.  The owner waits in close for the last of them, suspended like any
// other, and goes on waiting whatever happens to it: that none outlives the block is the point.
#include "scheduler.h"

#include <base/errno.h>

#include <string.h>

using namespace weft;

void weft::scope_add(weft_scope *scope, weft_tasklet *child)
{
    weft_tasklet *owner = scope->owner;
    child->scope = scope;
    child->owner = owner;
    child->older = nullptr;
    child->younger = owner->children;
    if (owner->children != nullptr)
        owner->children->older = child;
    owner->children = child;
    scope->count++;
}

static void unlink_child(weft_tasklet *child)
{
    if (child->older != nullptr)
        child->older->younger = child->younger;
    else
        child->owner->children = child->younger;
    if (child->younger != nullptr)
        child->younger->older = child->older;
    child->scope = nullptr;
}

static void cancel_children(weft_scope *scope)
{
    scope->cancelled = 1;
    for (weft_tasklet *t = scope->owner->children; t != nullptr; t = t->younger)
        if (t->scope == scope)
            weft_tasklet_cancel(t);
}

void weft::scope_drop(weft_tasklet *child, int error)
{
    weft_scope *scope = child->scope;
    weft_tasklet *owner = scope->owner;
    unlink_child(child);
    scope->count--;
    // One that was cancelled and says so has not failed.
    if (error != 0 && scope->error == 0 && !(error == ECANCELED && child->cancelled)) {
        scope->error = error;
        cancel_children(scope);
    }
    if (scope->count == 0 && owner->closes == scope && (owner->state & ~IS_TIMED) == IS_CLOSING)
        tasklet_wake(owner->home, owner);
}

// The frames its scopes were in are gone.
void weft::scope_abandon(weft_tasklet *owner)
{
    while (owner->children != nullptr) {
        weft_tasklet_cancel(owner->children);
        unlink_child(owner->children);
    }
}

int weft_scope_open(weft_scope *scope)
{
    if (scope == nullptr)
        return fail_with(EINVAL);
    weft_tasklet *me = weft_tasklet_self();
    if (me == nullptr)
        return -1;
    memset(scope, 0, sizeof *scope);
    scope->owner = me;
    scope->outer = me->scopes;
    me->scopes = scope;
    return 0;
}

static int close_refusal(const scheduler *s, const weft_scope *scope)
{
    if (scope == nullptr)
        return EINVAL;
    if (scope->owner == nullptr || scope->owner != s->running)
        return EPERM;
    return s->running->scopes != scope ? EBUSY : 0;
}

int weft_scope_join(weft_scope *scope, weft_deadline d)
{
    int saved = errno;
    scheduler *s = &scheduler_here;
    int error = close_refusal(s, scope);
    if (error != 0)
        return fail_with(error);
    error = scope->count != 0 ? refusal(s, d) : 0;
    if (error == 0 && scope->count != 0 && d <= WEFT_NOW)
        error = ETIMEDOUT;
    while (scope->count != 0 && !s->ending) {
        if (error != 0) {
            cancel_children(scope);
            d = WEFT_FOREVER;
        }
        s->running->closes = scope;
        if (tasklet_suspend(s, IS_CLOSING, 0, d) != 0 && error == 0)
            error = errno;
    }
    s->running->scopes = scope->outer;
    scope->owner = nullptr;
    error = scope->error != 0 ? scope->error : error;
    if (error != 0)
        return fail_with(error);
    errno = saved;
    return 0;
}

int weft_scope_cancel(weft_scope *scope)
{
    if (scope == nullptr)
        return fail_with(EINVAL);
    if (scope->owner == nullptr || scope->owner->home != &scheduler_here)
        return fail_with(EPERM);
    cancel_children(scope);
    return 0;
}
