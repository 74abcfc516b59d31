// What weft_ring alone has: its capacity, items of any size; for the rest see test/twins.
#include "../runner.h"

#include <weft/queue.h>

#include <errno.h>

static weft_ring *create(size_t capacity)
{
    weft_ring *r = weft_ring_create(sizeof(int), capacity);
    assert_non_null(r);
    return r;
}

static int put(weft_ring *r, int v)
{
    return weft_ring_put(r, &v, WEFT_NOW);
}

// ---- Create ----

CASE(test_create_refuses_bad_arguments)
{
    assert_errno(weft_ring_create(0, 8), EINVAL);
    assert_errno(weft_ring_create(8, 0), EINVAL);
    assert_errno(weft_ring_create(8, SIZE_MAX), EOVERFLOW);
    assert_errno(weft_ring_create(SIZE_MAX - 8, 2), EOVERFLOW);
    assert_errno(weft_ring_create(64, SIZE_MAX / 64), EOVERFLOW);
    assert_int_equal(weft_ring_destroy(NULL), 0);
}

#if !RUNNER_SANITIZED // a sanitizer's malloc ends the process instead
CASE(test_create_out_of_memory)
{
    assert_errno(weft_ring_create(PTRDIFF_MAX / 4, 2), ENOMEM);
}
#endif

CASE(test_capacity_is_rounded_up)
{
    size_t asked[] = {1, 2, 3, 4, 5, 1000, 1024}, given[] = {2, 2, 4, 4, 8, 1024, 1024};
    for (int i = 0; i < 7; i++) {
        weft_ring *r = create(asked[i]);
        assert_int_equal(weft_ring_capacity(r), given[i]);
        for (size_t n = 0; n < given[i]; n++)
            assert_int_equal(put(r, (int)n), 0);
        assert_errno(put(r, 0), ETIMEDOUT);
        assert_int_equal(weft_ring_length(r), given[i]);
        assert_int_equal(weft_ring_destroy(r), 0);
    }
}

CASE(test_items_of_every_size)
{
    for (size_t size = 1; size <= 40; size++) {
        weft_ring *r = weft_ring_create(size, 2);
        char in[80], out[81];
        for (size_t i = 0; i < sizeof in; i++)
            in[i] = (char)(size + i);
        memset(out, 0, sizeof out);
        assert_int_equal(weft_ring_put_many(r, in, 2, WEFT_NOW), 2);
        assert_int_equal(weft_ring_get(r, out, WEFT_NOW), 0);
        assert_int_equal(weft_ring_get(r, out + size, WEFT_NOW), 0);
        assert_memory_equal(in, out, 2 * size);
        assert_int_equal(out[2 * size], 0);
        assert_int_equal(weft_ring_destroy(r), 0);
    }
}

RUN_CASES(NULL, NULL)
