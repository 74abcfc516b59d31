// shared_event.cc: an event is a counter of its changes, odd while set.
//
// A waiter that saw it clear and finds another count later has missed nothing: it was set in
// between.  Set and clear are one compare-and-swap each.
#include "doorbell.h"

#include <base/errno.h>
#include <weft/shared_sync.h>

using namespace weft;

int weft_shared_event_init(weft_shared_event *e)
{
    if (e == nullptr)
        return fail_with(EINVAL);
    *e = {};
    return 0;
}

// Moves the count on if its lowest bit is `from`; whether it did.
static bool change(weft_shared_event *e, uint32_t from)
{
    uint32_t state = __atomic_load_n(&e->state, __ATOMIC_SEQ_CST);
    while ((state & 1) == from)
        if (__atomic_compare_exchange_n(&e->state, &state, state + 1, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST))
            return true;
    return false;
}

int weft_shared_event_set(weft_shared_event *e)
{
    if (e == nullptr)
        return fail_with(EINVAL);
    if (change(e, 0) && __atomic_exchange_n(&e->armed, 0, __ATOMIC_SEQ_CST) != 0)
        futex_wake(&e->state, INT_MAX, 1);
    return 0;
}

int weft_shared_event_clear(weft_shared_event *e)
{
    if (e == nullptr)
        return fail_with(EINVAL);
    change(e, 1);
    return 0;
}

bool weft_shared_event_is_set(const weft_shared_event *e)
{
    return e != nullptr && doorbell_count(&e->state) & 1;
}

int weft_shared_event_wait(weft_shared_event *e, weft_deadline d)
{
    if (e == nullptr)
        return fail_with(EINVAL);
    uint32_t seen = doorbell_count(&e->state);
    if (seen & 1)
        return 0;
    auto look = [=] {
        doorbell_arm(&e->armed);
        return doorbell_count(&e->state) != seen ? 0 : EAGAIN;
    };
    return from_pthread(wait_for(d, look, [=](weft_deadline until) {
        return doorbell_sleep(&e->state, seen, until, &e->look);
    }));
}
