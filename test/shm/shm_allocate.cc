// What is allocated in a segment, and where it lies.
#include "processes.h"

#include <weft/shm.h>

CASE(test_allocate)
{
    weft_shm_options o = {};
    o.fixed = 1000;
    weft_shm *s = weft_shm_create(nullptr, 8192, &o);
    char *first = (char *)weft_shm_allocate(s, 100), *second = (char *)weft_shm_allocate(s, 0);
    assert_true(first >= (char *)weft_shm_address(s) + 1000);
    assert_int_equal((uintptr_t)first % 64, 0);
    assert_non_null(second);
    assert_true(second >= first + 100);
    assert_errno(weft_shm_allocate(s, 8192), ENOMEM);
    assert_errno(weft_shm_allocate(s, SIZE_MAX), ENOMEM);
    assert_int_equal(weft_shm_free(s, nullptr), 0);
    assert_int_equal(weft_shm_free(s, first), 0);
    assert_errno(weft_shm_free(s, first), EINVAL);
    assert_errno(weft_shm_free(s, second + 64), EINVAL);
    assert_errno(weft_shm_free(s, &o), EINVAL);
    assert_ptr_equal(weft_shm_allocate(s, 50), first);
    weft_shm_detach(s);
}

CASE(test_allocate_grows)
{
    weft_shm_options o = {};
    o.room = 1 << 20;
    weft_shm *s = weft_shm_create(nullptr, 4096, &o);
    char *big = (char *)weft_shm_allocate(s, 500000);
    assert_non_null(big);
    memset(big, 1, 500000);
    weft_shm_seal(s);
    assert_errno(weft_shm_allocate(s, 400000), ENOMEM);
    weft_shm_detach(s);
}

CASE(test_allocate_joins_neighbours)
{
    weft_shm *s = weft_shm_create(nullptr, 1 << 16, nullptr);
    void *blocks[16];
    for (int round = 0; round < 3; round++) {
        size_t n = 0;
        while (n < 16 && (blocks[n] = weft_shm_allocate(s, 3000)) != nullptr)
            n++;
        assert_int_equal(n, 16);
        for (size_t i = 0; i < 16; i++)
            assert_int_equal(weft_shm_free(s, blocks[i * 7 % 16]), 0);
        void *all = weft_shm_allocate(s, 16 * 3000);
        assert_non_null(all);
        assert_int_equal(weft_shm_free(s, all), 0);
    }
    weft_shm_detach(s);
}

static int allocate_for_ever(void *arg)
{
    weft_shm *s = (weft_shm *)arg;
    unsigned seed = (unsigned)getpid();
    for (;;) {
        unsigned char *p[4];
        for (auto &each : p) {
            size_t n = 1 + (unsigned)rand_r(&seed) % 700;
            each = (unsigned char *)weft_shm_allocate(s, n);
            if (each != nullptr)
                memset(each, (int)n, n);
        }
        for (auto each : p)
            if (weft_shm_free(s, each) != 0)
                return 1;
    }
}

// Whoever is killed leaks at most the four blocks it had; all else stays usable.
CASE(test_allocate_survives_kills)
{
    weft_shm *s = weft_shm_create(nullptr, 4 << 20, nullptr);
    unsigned seed = 1;
    for (int round = 0; round < 200; round++) {
        pid_t p = child_of(allocate_for_ever, s), q = child_of(allocate_for_ever, s);
        usleep(200 + (unsigned)rand_r(&seed) % 1500);
        kill_and_reap(p);
        kill_and_reap(q);
        void *mine = weft_shm_allocate(s, 1000);
        assert_non_null(mine);
        assert_int_equal(weft_shm_free(s, mine), 0);
    }
    assert_non_null(weft_shm_allocate(s, (4 << 20) - 400 * 4 * 832 - 4096));
    weft_shm_detach(s);
}

CASE(test_offsets_and_root)
{
    weft_shm *s = weft_shm_create(nullptr, 8192, nullptr);
    weft_shm *t = weft_shm_attach_fd(weft_shm_fd(s));
    assert_null(weft_shm_root(s));
    int *p = (int *)weft_shm_allocate(s, sizeof *p);
    *p = 42;
    uint64_t offset = weft_shm_offset(s, p);
    assert_true(offset != 0);
    int *q = (int *)weft_shm_at(t, offset);
    assert_int_equal(*q, 42);
    assert_int_equal(weft_shm_offset(t, q), offset);
    assert_int_equal(weft_shm_set_root(s, p), 0);
    assert_ptr_equal(weft_shm_root(t), q);
    assert_errno(weft_shm_set_root(s, &offset), EINVAL);
    assert_int_equal(weft_shm_offset(s, &offset), 0);
    assert_null(weft_shm_at(s, 0));
    assert_null(weft_shm_at(s, 1 << 30));
    weft_shm_detach(t);
    weft_shm_detach(s);
}

RUN_CASES(census_begin, census_end)
