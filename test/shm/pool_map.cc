// The pool over many items: maps and their iterators.
#include "pool_tasks.h"

// ---- Maps ----

static int square_or_fail(const void *arg, size_t n, void *result, size_t room)
{
    square(arg, n, result, room);
    return *(const int *)arg % 1000 == 777 ? ERANGE : 0;
}

CASE(test_map_sizes_and_chunks)
{
    enum { MOST = 20011 };
    static const size_t counts[] = {0, 1, 2, 17, 1000, MOST}, chunks[] = {0, 1, 7, 1000, SIZE_MAX};
    static int in[MOST], out[MOST];
    weft_pool *p = pool_of(2, nullptr);
    for (int i = 0; i < MOST; i++)
        in[i] = i;
    for (size_t n : counts)
        for (size_t chunk : chunks) {
            weft_pool_map_options o = {};
            o.chunk = chunk;
            memset(out, 0xff, sizeof out);
            assert_int_equal(
                weft_pool_map(p, square, in, sizeof *in, n, out, sizeof *out, &o, WEFT_FOREVER), 0);
            for (int i = 0; i < MOST; i++)
                assert_int_equal(out[i], (size_t)i < n ? i * i : -1);
        }
    // Without items, without results.
    assert_int_equal(
        weft_pool_map(p, tell_pid, nullptr, 0, 10, out, sizeof *out, nullptr, WEFT_FOREVER), 0);
    assert_true(out[9] > 0);
    end(p);
}

CASE(test_map_errors)
{
    enum { N = 3000 };
    static int in[N], out[N];
    static weft_outcome outcomes[N];
    weft_pool_map_options o = {};
    o.outcomes = outcomes;
    weft_pool *p = pool_of(2, nullptr);
    for (int i = 0; i < N; i++)
        in[i] = i;
    assert_errno(
        weft_pool_map(p, square_or_fail, in, sizeof *in, N, out, sizeof *out, &o, WEFT_FOREVER),
        ERANGE);
    for (int i = 0; i < N; i++) {
        assert_int_equal(outcomes[i].error, i % 1000 == 777 ? ERANGE : 0);
        assert_int_equal(out[i], i % 1000 == 777 ? 0 : i * i);
    }
    assert_errno(weft_pool_map(p, nullptr, in, 4, N, out, 4, nullptr, WEFT_FOREVER), EINVAL);
    assert_errno(weft_pool_map(p, square, nullptr, 4, N, out, 4, nullptr, WEFT_FOREVER), EINVAL);
    assert_errno(weft_pool_map(p, square, in, SIZE_MAX / 2, N, out, 4, nullptr, WEFT_FOREVER),
                 EMSGSIZE);
    o.chunk = (size_t)1 << 30;
    assert_errno(
        weft_pool_map(p, square, in, (size_t)1 << 20, (size_t)1 << 30, out, 4, &o, WEFT_FOREVER),
        EMSGSIZE);
    end(p);
    p = pool_of(1, nullptr);
    weft_pool_close(p);
    assert_errno(weft_pool_map(p, square, in, 4, N, out, 4, nullptr, WEFT_FOREVER), EPIPE);
    end(p);
}

CASE(test_map_deadline)
{
    enum { N = 100 };
    int in[N] = {}, out[N];
    weft_outcome outcomes[N];
    weft_pool_map_options o = {};
    o.chunk = 1;
    o.outcomes = outcomes;
    weft_pool *p = pool_of(1, nullptr);
    int64_t ms = 15;
    do // until the first has begun by then
        assert_errno(weft_pool_map(p, square_behind_gate, in, sizeof *in, N, out, sizeof *out, &o,
                                   weft_in_ms(ms *= 2)),
                     ETIMEDOUT);
    while (outcomes[0].error == ECANCELED);
    assert_int_equal(outcomes[0].error, ETIMEDOUT);
    assert_int_equal(outcomes[1].error, ECANCELED);
    assert_int_equal(outcomes[N - 1].error, ECANCELED);
    add(&shared->gate, 1);
    assert_int_equal(get(start(p, square, 3)), 9);
    assert_int_equal(shared->entered, 1);
    end(p);
}

// More items than memory and slots hold at a time.
CASE(test_map_in_little_room)
{
    enum { N = 5000 };
    static int in[N], out[N];
    weft_pool_options o = {};
    weft_pool_map_options m = {};
    o.slots = 2;
    o.memory = 4096;
    m.chunk = 50;
    weft_pool *p = pool_of(2, &o);
    for (int i = 0; i < N; i++)
        in[i] = i;
    assert_int_equal(weft_pool_map(p, square, in, 4, N, out, 4, nullptr, WEFT_FOREVER), 0);
    assert_int_equal(weft_pool_map(p, square, in, 4, N, out, 4, &m, WEFT_FOREVER), 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(out[i], i * i);
    end(p);
}

CASE(test_imap)
{
    enum { N = 2500 };
    static int in[N];
    static bool seen[N];
    weft_pool *p = pool_of(3, nullptr);
    for (int i = 0; i < N; i++)
        in[i] = i;
    for (int unordered = 0; unordered < 2; unordered++) {
        weft_pool_map_options o = {};
        weft_outcome outcome;
        size_t index, count = 0;
        int y, r;
        o.unordered = unordered;
        o.chunk = 9;
        memset(seen, 0, sizeof seen);
        weft_imap *it = weft_pool_imap(p, square_or_fail, in, 4, N, 4, &o);
        assert_non_null(it);
        for (; (r = weft_imap_next(it, &y, &index, &outcome, WEFT_FOREVER)) == 1; count++) {
            assert_true(index < N && !seen[index]);
            seen[index] = true;
            if (!unordered)
                assert_int_equal(index, count);
            assert_int_equal(outcome.error, index % 1000 == 777 ? ERANGE : 0);
            if (outcome.error == 0)
                assert_int_equal(y, index * index);
        }
        assert_int_equal(r, 0);
        assert_int_equal(count, N);
        assert_int_equal(weft_imap_next(it, &y, &index, &outcome, WEFT_FOREVER), 0);
        assert_int_equal(weft_imap_destroy(it), 0);
    }
    end(p);
}

static int wait_if_first(const void *arg, size_t n, void *result, size_t room)
{
    return *(const int *)arg == 0 ? square_behind_gate(arg, n, result, room)
                                  : square(arg, n, result, room);
}

CASE(test_imap_waits)
{
    int in[4] = {0, 1, 2, 3}, y;
    size_t index;
    weft_pool_map_options o = {};
    o.chunk = 1;
    weft_pool *p = pool_of(2, nullptr);
    // In order, nothing comes before the first; unordered, all others do.
    weft_imap *it = weft_pool_imap(p, wait_if_first, in, 4, 4, 4, &o);
    assert_errno(weft_imap_next(it, &y, &index, nullptr, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_imap_next(it, &y, &index, nullptr, weft_in_ms(5)), ETIMEDOUT);
    add(&shared->gate, 1);
    assert_int_equal(weft_imap_next(it, &y, &index, nullptr, WEFT_FOREVER), 1);
    assert_int_equal(index, 0);
    assert_errno((weft_pool_close(p), weft_pool_destroy(p)), EBUSY);
    weft_pool_join(p, WEFT_FOREVER);
    assert_errno(weft_pool_destroy(p), EBUSY); // the imap is open
    assert_int_equal(weft_imap_destroy(it), 0);
    end(p);

    p = pool_of(2, nullptr);
    o.unordered = true;
    it = weft_pool_imap(p, wait_if_first, in, 4, 4, 4, &o);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weft_imap_next(it, &y, &index, nullptr, WEFT_FOREVER), 1);
        assert_true(index > 0);
    }
    assert_errno(weft_imap_next(it, &y, &index, nullptr, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_imap_next(it, &y, &index, nullptr, weft_in_ms(5)), ETIMEDOUT);
    add(&shared->gate, 1);
    assert_int_equal(weft_imap_next(it, &y, &index, nullptr, WEFT_FOREVER), 1);
    assert_int_equal(index, 0);
    assert_int_equal(weft_imap_next(it, &y, &index, nullptr, WEFT_FOREVER), 0);
    assert_int_equal(weft_imap_destroy(it), 0);
    end(p);
}

// The first item ends after the second.
static int second_first(const void *arg, size_t n, void *result, size_t room)
{
    if (*(const int *)arg == 0)
        await(&shared->sum, 1);
    else
        add(&shared->sum, 1);
    return square(arg, n, result, room);
}

// In order also when there was no room at first, and then for two chunks at a time.
CASE(test_imap_order_in_little_room)
{
    int in[3] = {0, 1, 2}, y;
    size_t index;
    weft_pool_options o = {};
    weft_pool_map_options m = {};
    o.slots = 2;
    m.chunk = 1;
    weft_pool *p = pool_of(2, &o);
    for (int i = 0; i < 2; i++)
        assert_int_equal(weft_result_release(start(p, square_behind_gate, 1)), 0);
    weft_imap *it = weft_pool_imap(p, second_first, in, 4, 3, 4, &m);
    assert_non_null(it);
    assert_errno(weft_imap_next(it, &y, &index, nullptr, weft_in_ms(2)), ETIMEDOUT);
    add(&shared->gate, 1);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(weft_imap_next(it, &y, &index, nullptr, WEFT_FOREVER), 1);
        assert_int_equal(index, i);
        assert_int_equal(y, i * i);
    }
    assert_int_equal(weft_imap_next(it, &y, &index, nullptr, WEFT_FOREVER), 0);
    assert_int_equal(weft_imap_destroy(it), 0);
    end(p);
}

// The first item makes room for the second, and ends after it.
static int room_then_second(const void *arg, size_t n, void *result, size_t room)
{
    if (*(const int *)arg == 0) {
        usleep(20000); // who waits for this item sleeps by now
        add(&shared->gate, 1);
    }
    return second_first(arg, n, result, room);
}

// In order, too, room is used when it comes, and not only when the first of all has ended.
CASE(test_imap_room_while_first_runs)
{
    int in[3] = {0, 1, 2}, out[3];
    weft_pool_options o = {};
    weft_pool_map_options m = {};
    o.slots = 2;
    m.chunk = 1;
    weft_pool *p = pool_of(2, &o);
    assert_int_equal(weft_result_release(start(p, square_behind_gate, 1)), 0);
    assert_int_equal(
        weft_pool_map(p, room_then_second, in, sizeof *in, 3, out, sizeof *out, &m, weft_in_s(20)),
        0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(out[i], i * i);
    end(p);
}

CASE(test_imap_terminated)
{
    int in[100] = {}, r, errors[2] = {};
    weft_outcome o;
    weft_pool_map_options m = {};
    m.chunk = 1;
    weft_pool *p = pool_of(1, nullptr);
    weft_imap *it = weft_pool_imap(p, square_behind_gate, in, 4, 100, 4, &m);
    await(&shared->entered, 1);
    weft_pool_terminate(p);
    while ((r = weft_imap_next(it, nullptr, nullptr, &o, WEFT_FOREVER)) == 1)
        errors[o.error == EPIPE] += o.error == EPIPE || o.error == ECANCELED;
    assert_int_equal(r, 0);
    assert_int_equal(errors[0] + errors[1], 100); // what was in the pool, and the rest
    assert_true(errors[0] > 0 && errors[1] > 0);
    assert_int_equal(weft_imap_destroy(it), 0);
    assert_int_equal(weft_pool_join(p, WEFT_FOREVER), 0);
    assert_int_equal(weft_pool_destroy(p), 0);
}

RUN_POOL_CASES()
