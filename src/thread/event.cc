// event.cc: set or clear, see counted_waiters.h.
//
// The value counts changes and is odd while the event is set.  A waiter goes on when the
// value differs from the even one it found: a set that was cleared before the waiter ran
// still counts, as with Python's threading.Event.
#include "counted_waiters.h"

#include <base/errno.h>
#include <weft/sync.h>

using namespace weft;

int weft_event_init(weft_event *e)
{
    if (e == nullptr)
        return fail_with(EINVAL);
    e->state = 0;
    return 0;
}

int weft_event_destroy(weft_event *e)
{
    if (e == nullptr)
        return 0;
    return waiters_of(load_state(&e->state)) != 0 ? fail_with(EBUSY) : 0;
}

static bool was_set(uint64_t *, uint64_t *seen, uint32_t before)
{
    uint32_t now = value_of(*seen);
    return now % 2 == 1 || now != before;
}

int weft_event_wait(weft_event *e, weft_deadline d)
{
    if (e == nullptr)
        return fail_with(EINVAL);
    uint32_t seen = value_of(load_state(&e->state));
    return from_pthread(wait_until(&e->state, was_set, seen, d));
}

int weft_event_set(weft_event *e)
{
    if (e == nullptr)
        return fail_with(EINVAL);
    uint64_t before = load_state(&e->state);
    while (value_of(before) % 2 == 0)
        if (change_value(&e->state, &before, value_of(before) + 1)) {
            if (waiters_of(before) != 0)
                wake_sleepers(futex_of(&e->state), INT_MAX);
            return 0;
        }
    return 0;
}

int weft_event_clear(weft_event *e)
{
    if (e == nullptr)
        return fail_with(EINVAL);
    uint64_t before = load_state(&e->state);
    while (value_of(before) % 2 == 1)
        if (change_value(&e->state, &before, value_of(before) + 1))
            return 0;
    return 0;
}

bool weft_event_is_set(const weft_event *e)
{
    return e != nullptr && value_of(load_state(&e->state)) % 2 == 1;
}
