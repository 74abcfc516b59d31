// Values and arrays between processes, some of which die.
#include "shared_world.h"

// ---- value ----

static int add_many(void *)
{
    for (int i = 0; i < 10000; i++) {
        weft_shared_value_add(&w->value, 1);
        int64_t was = weft_shared_value_get(&w->other);
        while (!weft_shared_value_replace(&w->other, &was, was + 2))
            ;
    }
    return 0;
}

CASE(test_value)
{
    weft_shared_value_set(&w->value, 5);
    assert_int_equal(weft_shared_value_exchange(&w->value, 7), 5);
    assert_int_equal(weft_shared_value_add(&w->value, -7), 0);
    int64_t was = 3;
    assert_false(weft_shared_value_replace(&w->value, &was, 9));
    assert_int_equal(was, 0);
    weft_shared_value_set(&w->other, 0);
    children_end_well(3, add_many, nullptr);
    assert_int_equal(weft_shared_value_get(&w->value), 30000);
    assert_int_equal(weft_shared_value_get(&w->other), 60000);
}

// ---- array ----

struct item {
    int64_t same[25];
};

static int set_for_ever(void *)
{
    struct item it;
    for (int64_t n = 0;; n++) {
        for (int64_t &each : it.same)
            each = n;
        if (weft_shared_array_set(&w->array, (size_t)n % 4, &it) != 0)
            return 1;
    }
}

CASE(test_array)
{
    weft_shared_array *a = &w->array;
    struct item it = {};
    assert_int_equal(weft_shared_array_bytes(SIZE_MAX / 8, 200), 0);
    assert_errno(weft_shared_array_init(a, 4, 0), EINVAL);
    assert_errno(weft_shared_array_init(a, SIZE_MAX / 8, 200), EINVAL);
    assert_true(weft_shared_array_bytes(4, sizeof it) >= 4 * sizeof it);
    assert_int_equal(weft_shared_array_init(a, 4, sizeof it), 0);
    assert_int_equal(weft_shared_array_count(a), 4);
    it.same[24] = 9;
    assert_int_equal(weft_shared_array_set(a, 3, &it), 0);
    it.same[24] = 0;
    assert_int_equal(weft_shared_array_get(a, 3, &it), 0);
    assert_int_equal(it.same[24], 9);
    assert_errno(weft_shared_array_get(a, 4, &it), EINVAL);
    assert_errno(weft_shared_array_set(a, 4, &it), EINVAL);
    assert_errno(weft_shared_array_unlock(a), EPERM);
    assert_int_equal(weft_shared_array_lock(a, WEFT_NOW), 0);
    assert_errno(weft_shared_array_get(a, 0, &it), EDEADLK);
    assert_errno(weft_shared_array_lock(a, WEFT_NOW), EDEADLK);
    assert_int_equal(((struct item *)weft_shared_array_items(a))[3].same[24], 9);
    if (fork() == 0)
        _exit(weft_shared_array_lock(a, WEFT_NOW) == -1 && errno == ETIMEDOUT &&
                      weft_shared_array_unlock(a) == -1 && errno == EPERM
                  ? 0
                  : 1);
    int status;
    wait(&status);
    assert_int_equal(status, 0);
    assert_int_equal(weft_shared_array_unlock(a), 0);
}

CASE(test_array_is_never_torn)
{
    weft_shared_array *a = &w->array;
    struct item it;
    weft_shared_array_init(a, 4, sizeof it);
    unsigned seed = 1;
    for (int i = 0; i < 300; i++) {
        pid_t p = child_of(set_for_ever, nullptr);
        usleep(300 + (unsigned)rand_r(&seed) % 500);
        kill_and_reap(p);
        for (size_t k = 0; k < 4; k++) {
            assert_int_equal(weft_shared_array_get(a, k, &it), 0);
            for (int64_t each : it.same)
                assert_int_equal(each, it.same[0]);
        }
        assert_int_equal(weft_shared_array_lock(a, WEFT_NOW), 0); // a set ends well
        assert_int_equal(weft_shared_array_unlock(a), 0);
    }
}

static int lock_array_and_die(void *)
{
    weft_shared_array_lock(&w->array, WEFT_FOREVER);
    kill(getpid(), SIGKILL);
    return 1;
}

CASE(test_array_owner_dies)
{
    weft_shared_array *a = &w->array;
    struct item it = {};
    weft_shared_array_init(a, 4, sizeof it);
    assert_int_equal(end_of(child_of(lock_array_and_die, nullptr)), 256 + SIGKILL);
    assert_int_equal(weft_shared_array_get(a, 0, &it), 0); // doesn't swallow it
    assert_errno(weft_shared_array_lock(a, WEFT_FOREVER), EOWNERDEAD);
    assert_int_equal(weft_shared_array_unlock(a), 0);
    assert_int_equal(weft_shared_array_lock(a, WEFT_FOREVER), 0);
    assert_int_equal(weft_shared_array_unlock(a), 0);
}

// ---- stop ----

RUN_CASES(begin, end)
