// latch.cc: a count that goes down once, see counted_waiters.h.
#include "counted_waiters.h"

#include <base/errno.h>
#include <weft/sync.h>

using namespace weft;

int weft_latch_init(weft_latch *l, uint32_t count)
{
    if (l == nullptr)
        return fail_with(EINVAL);
    l->state = count;
    return 0;
}

int weft_latch_destroy(weft_latch *l)
{
    return l != nullptr && waiters_of(load_state(&l->state)) != 0 ? fail_with(EBUSY) : 0;
}

int weft_latch_count_down(weft_latch *l, uint32_t n)
{
    if (l == nullptr)
        return fail_with(EINVAL);
    uint64_t before = load_state(&l->state);
    do
        if (n > value_of(before))
            return fail_with(EINVAL);
    while (!change_value(&l->state, &before, value_of(before) - n));
    if (value_of(before) == n && waiters_of(before) != 0)
        wake_sleepers(futex_of(&l->state), INT_MAX);
    return 0;
}

static bool is_zero(uint64_t *, uint64_t *seen, uint32_t)
{
    return value_of(*seen) == 0;
}

int weft_latch_wait(weft_latch *l, weft_deadline d)
{
    return l != nullptr ? from_pthread(wait_until(&l->state, is_zero, 0, d)) : fail_with(EINVAL);
}
