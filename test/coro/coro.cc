// Coroutines: transfers, parents, states, cancel, destroy.
#include <weft/coro.h>

#include "../runner.h"

#include <errno.h>

static void *twice(void *arg, void *first)
{
    (void)arg;
    void *v = weft_coro_yield(first);
    return weft_coro_yield(v);
}

static void test_resume_passes_values(void **state)
{
    (void)state;
    weft_coro *co = weft_coro_create(twice, NULL, NULL);
    assert_non_null(co);
    assert_int_equal(weft_coro_state(co), WEFT_CORO_NEW);
    assert_ptr_equal(weft_coro_resume(co, (void *)1), (void *)1);
    assert_int_equal(weft_coro_state(co), WEFT_CORO_SUSPENDED);
    assert_ptr_equal(weft_coro_resume(co, (void *)2), (void *)2);
    assert_ptr_equal(weft_coro_resume(co, (void *)3), (void *)3);
    assert_int_equal(weft_coro_state(co), WEFT_CORO_DEAD);
    assert_ptr_equal(weft_coro_result(co), (void *)3);
    assert_int_equal(weft_coro_destroy(co), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_resume_passes_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
