// select.cc: waiting for one of several channels (channel.h).
//
// The caller's cases are themselves the waiters in the channels' queues: a select of any size
// allocates nothing.  Whoever has one happen takes the others out of their queues.
#include "scheduler.h"

#include <base/errno.h>

using namespace weft;

// xorshift (G. Marsaglia, 2003): fairness needs no more.
static uint32_t draw(scheduler *s)
{
    uint32_t x = s->random;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return s->random = x;
}

// One of those that can happen at once, each as likely; -1: none.
static int pick(scheduler *s, const weft_select_case cases[], int n)
{
    int picked = -1;
    uint32_t ready = 0;
    for (int i = 0; i < n; i++)
        if (case_ready(&cases[i]) && (++ready == 1 || draw(s) % ready == 0))
            picked = i;
    return picked;
}

static int refusal(scheduler *s, const weft_select_case cases[], int n, weft_deadline d)
{
    if (n < 0 || (n > 0 && cases == nullptr))
        return EINVAL;
    for (int i = 0; i < n; i++) {
        int error = case_check(&cases[i]);
        if (error != 0)
            return error;
    }
    return refusal(s, d);
}

ssize_t weft_select(weft_select_case cases[], size_t count, weft_deadline d)
{
    int n = count <= INT32_MAX ? (int)count : -1;
    scheduler *s = scheduler_enter();
    int error = refusal(s, cases, n, d);
    if (error != 0)
        return fail_with(error);
    int i = pick(s, cases, n);
    if (i >= 0) {
        case_happen(&cases[i]);
        return i;
    }
    if (d <= WEFT_NOW)
        return fail_with(ETIMEDOUT);
    weft_tasklet *me = s->running;
    for (i = 0; i < n; i++)
        if (cases[i].channel != nullptr)
            case_queue(&cases[i], me, i);
    me->cases = cases;
    me->n = n;
    return tasklet_suspend(s, IS_SELECTING, 0, d);
}
