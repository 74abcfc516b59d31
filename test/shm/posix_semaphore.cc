// POSIX semaphores: unnamed ones in a segment, and named ones.
#include "processes.h"

#include <weft/posix_semaphore.h>
#include <weft/shm.h>

#include <limits.h>

CASE(test_posix_semaphore)
{
    weft_shm *s = weft_shm_create(nullptr, 4096, nullptr);
    weft_posix_semaphore *sem =
        (weft_posix_semaphore *)weft_shm_allocate(s, sizeof(weft_posix_semaphore));
    assert_errno(weft_posix_semaphore_init(sem, ~0u), EINVAL);
    assert_int_equal(weft_posix_semaphore_init(sem, 1), 0);
    assert_int_equal(weft_posix_semaphore_wait(sem, WEFT_NOW), 0);
    assert_errno(weft_posix_semaphore_wait(sem, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_posix_semaphore_wait(sem, weft_in_ms(10)), ETIMEDOUT);
    if (fork() == 0)
        _exit(weft_posix_semaphore_post(sem));
    assert_int_equal(weft_posix_semaphore_wait(sem, WEFT_FOREVER), 0);
    wait(nullptr);
    assert_int_equal(weft_posix_semaphore_value(sem), 0);
    assert_int_equal(weft_posix_semaphore_destroy(sem), 0);
    assert_int_equal(weft_posix_semaphore_init(sem, SEM_VALUE_MAX), 0);
    assert_errno(weft_posix_semaphore_post(sem), EOVERFLOW);
    weft_shm_detach(s);
}

CASE(test_posix_semaphore_named)
{
    char slashed[80];
    snprintf(slashed, sizeof slashed, "/weft-test-%d", getpid());
    weft_posix_semaphore *a = weft_posix_semaphore_open(slashed, 2);
    weft_posix_semaphore *b = weft_posix_semaphore_open(slashed, 9);
    assert_non_null(a);
    assert_int_equal(weft_posix_semaphore_wait(b, WEFT_NOW), 0);
    assert_int_equal(weft_posix_semaphore_value(a), 1);
    assert_int_equal(weft_posix_semaphore_detach(a), 0);
    assert_int_equal(weft_posix_semaphore_detach(b), 0);
    assert_int_equal(weft_posix_semaphore_unlink(slashed), 0);
    assert_errno(weft_posix_semaphore_unlink(slashed), ENOENT);
}

RUN_CASES(census_begin, census_end)
