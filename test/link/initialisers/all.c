/* Static initialisers leave no byte of an object as it was: what `{0}` of a union sets is its first
 * member, and the rest only in some languages.  A local object on a stack full of something else
 * equals one with static storage, up to its last member. */
#include <weft/sync.h>

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define THING(type, last, ...)                                                                     \
    static type fresh_##type = __VA_ARGS__;                                                        \
    static int is_whole_##type(void)                                                               \
    {                                                                                              \
        type made = __VA_ARGS__;                                                                   \
        return memcmp(&made, &fresh_##type, offsetof(type, last) + sizeof made.last) == 0;         \
    }

THING(weft_mutex, pthread, WEFT_MUTEX_INIT)
THING(weft_rwlock, unused, WEFT_RWLOCK_INIT)
THING(weft_condition, waiters, WEFT_CONDITION_INIT)
THING(weft_semaphore, limit, WEFT_BOUNDED_SEMAPHORE_INIT(3, 7))
THING(weft_event, state, WEFT_EVENT_INIT)
THING(weft_barrier, forks, WEFT_BARRIER_INIT(5))
THING(weft_latch, state, WEFT_LATCH_INIT(5))
THING(weft_once, state, WEFT_ONCE_INIT)

static void fill_stack(void)
{
    volatile unsigned char stack[4096];
    size_t i;
    for (i = 0; i < sizeof stack; i++)
        stack[i] = 0xaa;
}

#define CHECK(type)                                                                                \
    fill_stack();                                                                                  \
    if (!is_whole_##type()) {                                                                      \
        puts(#type " is not initialised as a whole");                                              \
        failed = 1;                                                                                \
    }

int main(void)
{
    int failed = 0;
    CHECK(weft_mutex)
    CHECK(weft_rwlock)
    CHECK(weft_condition)
    CHECK(weft_semaphore)
    CHECK(weft_event)
    CHECK(weft_barrier)
    CHECK(weft_latch)
    CHECK(weft_once)
    return failed;
}
