// places.h: how many names the server knows beside the keys.
#ifndef WEFT_TEST_PLACES_H
#define WEFT_TEST_PLACES_H

#include "served.h"

static inline long long places(void)
{
    return field_number(ask(&c, "INFO weft"), "weft_places:");
}

static inline bool wait_places(int n)
{
    for (weft_deadline d = in_time(); weft_left(d) > 0; usleep(500))
        if (places() == n)
            return true;
    return false;
}

static inline void put_three(void)
{
    for (int i = 0; i < 3; i++)
        says(&c, "WEFT.PUT q 0 0 job", ":1\r\n");
}

// So many items of "q" are not done.
static inline void pending_is(int n)
{
    assert_int_equal(ask_number(&c, "WEFT.PENDING q"), n);
}

#endif
