// wait.cc: how a tasklet waits for what a floor above ends.
#include "wait.h"

#include "scheduler.h"

#include <base/errno.h>

using namespace weft;

int weft::wait_refusal(weft_deadline d)
{
    return refusal(&scheduler_here, d);
}

int weft::wait_for_event(weft_deadline d)
{
    scheduler *s = &scheduler_here;
    int error = refusal(s, d);
    if (error == 0 && d <= WEFT_NOW)
        error = ETIMEDOUT;
    if (error == 0 && s->running == s->keeper)
        error = EPERM;
    return error != 0 ? fail_with(error) : tasklet_suspend(s, IS_POLLING, 0, d);
}

int weft::wait_regardless(weft_deadline d)
{
    scheduler *s = &scheduler_here;
    weft_tasklet *me = s->running;
    uint32_t cancelled = me->cancelled;
    if (me == s->keeper)
        return fail_with(EPERM);
    me->cancelled = 0;
    int result = refusal(s, d) != 0 ? fail_with(EPERM) : wait_for_event(d);
    if (cancelled != 0)
        me->cancelled = cancelled;
    return result;
}

bool weft::waits_for_event(const weft_tasklet *t)
{
    return t != nullptr && (t->state & ~IS_TIMED) == IS_POLLING;
}

bool weft::is_cancelled(const weft_tasklet *t)
{
    return t->cancelled != 0;
}

void weft::end_wait(weft_tasklet *t, int error)
{
    if (!waits_for_event(t))
        return;
    if (error != 0)
        tasklet_fail_wait(t, error);
    else
        tasklet_wake(t->home, t);
}

weft_tasklet *weft::running_tasklet(void)
{
    return scheduler_here.running;
}

int weft::enter_main_tasklet(void)
{
    const scheduler *s = scheduler_enter();
    if (s == nullptr)
        return -1;
    return s->running == &s->main ? 0 : fail_with(EPERM);
}
