// Deadlines: spans, overflow, and the rounding of poll's milliseconds.
#include "../runner.h"

#include <base/time.h>
#include <weft/deadline.h>

using namespace weft;

CASE(test_in_ms_is_ahead_of_now)
{
    int64_t before = weft_now();
    weft_deadline d = weft_in_ms(1000);
    int64_t after = weft_now();
    assert_true(d >= before + 1000000000 && d <= after + 1000000000);
    assert_true(weft_left(d) > 0 && weft_left(d) <= 1000000000);
}

CASE(test_units_agree)
{
    int64_t s = weft_in_s(3600), ms = weft_in_ms(3600000), us = weft_in_us(3600000000);
    assert_true(s <= ms && ms <= us && us - s < 1000000000);
}

CASE(test_no_span_is_now)
{
    assert_true(weft_in_ns(0) == WEFT_NOW);
    assert_true(weft_in_ms(-5) == WEFT_NOW);
    assert_true(weft_in_s(INT64_MIN) == WEFT_NOW);
    assert_true(weft_left(WEFT_NOW) == 0);
    assert_true(weft_left(-1) == 0);
}

CASE(test_overflow_is_forever)
{
    assert_true(weft_in_s(INT64_MAX) == WEFT_FOREVER);
    assert_true(weft_in_ms(INT64_MAX / 1000000) == WEFT_FOREVER);
    assert_true(weft_in_us(INT64_MAX / 1000) == WEFT_FOREVER);
    assert_true(weft_in_ns(INT64_MAX - 1) == WEFT_FOREVER);
    assert_true(weft_left(WEFT_FOREVER) == WEFT_FOREVER);
}

CASE(test_poll_ms_rounds_up)
{
    assert_int_equal(poll_ms(WEFT_FOREVER), -1);
    assert_int_equal(poll_ms(WEFT_NOW), 0);
    assert_int_equal(poll_ms(weft_now() + 1000), 1);
    assert_int_equal(poll_ms(weft_in_s(INT32_MAX)), INT32_MAX);
}

RUN_CASES()
