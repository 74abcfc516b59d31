// semaphore.cc: a count that can be waited for, see counted_waiters.h.
#include "counted_waiters.h"

#include <base/errno.h>
#include <weft/sync.h>

using namespace weft;

int weft_semaphore_init(weft_semaphore *s, uint32_t count, uint32_t limit)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    if (limit == 0)
        limit = WEFT_SEMAPHORE_MAX;
    if (count > limit || limit > WEFT_SEMAPHORE_MAX)
        return fail_with(EINVAL);
    s->state = count;
    s->limit = limit;
    return 0;
}

int weft_semaphore_destroy(weft_semaphore *s)
{
    return s != nullptr && waiters_of(load_state(&s->state)) != 0 ? fail_with(EBUSY) : 0;
}

static bool take_one(uint64_t *state, uint64_t *seen, uint32_t)
{
    while (value_of(*seen) > 0)
        if (change_value(state, seen, value_of(*seen) - 1))
            return true;
    return false;
}

int weft_semaphore_wait(weft_semaphore *s, weft_deadline d)
{
    return s != nullptr ? from_pthread(wait_until(&s->state, take_one, 0, d)) : fail_with(EINVAL);
}

int weft_semaphore_post(weft_semaphore *s)
{
    return weft_semaphore_post_n(s, 1);
}

int weft_semaphore_post_n(weft_semaphore *s, uint32_t n)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    uint32_t limit = s->limit;
    uint64_t before = load_state(&s->state);
    do
        if (n > limit || value_of(before) > limit - n)
            return fail_with(EOVERFLOW);
    while (!change_value(&s->state, &before, value_of(before) + n));
    if (n != 0 && waiters_of(before) != 0)
        wake_sleepers(futex_of(&s->state), (int)n);
    return 0;
}

uint32_t weft_semaphore_value(const weft_semaphore *s)
{
    return s != nullptr ? value_of(load_state(&s->state)) : 0;
}
