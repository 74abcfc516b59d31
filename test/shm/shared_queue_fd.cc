// The descriptors of shared queues: when they are readable, in how many processes.
#include "shared_queues.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

static weft_shared_queue *shared;

static bool readable(int fd, int ms)
{
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, ms) == 1;
}

static int put_one(void *)
{
    return weft_shared_queue_put(shared, "1", 1, WEFT_FOREVER);
}

CASE(test_fd)
{
    shared = queue_of(1024, false);
    char m[8];
    int fd = weft_shared_queue_fd(shared);
    assert_true(fd >= 0);
    assert_int_equal(weft_shared_queue_fd(shared), fd);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_false(readable(fd, 0));
    for (int i = 0; i < 3; i++) {
        pid_t p = child_of(put_one, nullptr);
        assert_true(readable(fd, -1));
        assert_int_equal(end_of(p), 0);
        assert_int_equal(put_one(nullptr), 0);
        assert_int_equal(weft_shared_queue_get(shared, m, 8, WEFT_NOW), 1);
        assert_true(readable(fd, 0));
        assert_int_equal(weft_shared_queue_get(shared, m, 8, WEFT_NOW), 1);
        assert_errno(weft_shared_queue_get(shared, m, 8, WEFT_NOW), ETIMEDOUT);
        assert_false(readable(fd, 0));
    }
    weft_shared_queue_close(shared, WEFT_DRAIN);
    assert_true(readable(fd, 0));
    weft_shared_queue_destroy(shared);
}

static int watch_and_get(void *arg)
{
    char m[8];
    int fd = weft_shared_queue_fd(shared);
    if (fd < 0)
        return 1;
    weft_shm *ready = (weft_shm *)arg;
    __atomic_fetch_add((int *)weft_shm_address(ready), 1, __ATOMIC_SEQ_CST);
    if (!readable(fd, 20000))
        return 2;
    return weft_shared_queue_get(shared, m, 8, weft_in_s(20)) == 1 ? 0 : 3;
}

CASE(test_fd_in_many_processes)
{
    shared = queue_of(1024, false);
    weft_shm *ready = weft_shm_create(nullptr, 4096, nullptr);
    int mine = weft_shared_queue_fd(shared);
    assert_true(mine >= 0);
    pid_t p[15];
    for (pid_t &each : p)
        each = child_of(watch_and_get, ready);
    while (__atomic_load_n((int *)weft_shm_address(ready), __ATOMIC_SEQ_CST) != 15)
        usleep(500);
    pid_t one_too_many = fork();
    if (one_too_many == 0)
        _exit(weft_shared_queue_fd(shared) == -1 && errno == EUSERS ? 0 : 1);
    assert_int_equal(end_of(one_too_many), 0);
    for (int i = 0; i < 15; i++)
        assert_int_equal(put_one(nullptr), 0);
    for (pid_t each : p)
        assert_int_equal(end_of(each), 0);
    // Their places are free again.
    pid_t another = child_of(watch_and_get, ready);
    assert_int_equal(put_one(nullptr), 0);
    assert_int_equal(end_of(another), 0);
    weft_shm_detach(ready);
    weft_shared_queue_destroy(shared);
}

// At its limit of descriptors, so with no socket to ring by.
static int put_without_a_descriptor(void *go)
{
    while (__atomic_load_n((int *)go, __ATOMIC_SEQ_CST) == 0)
        usleep(500);
    struct rlimit none = {0, 0};
    return setrlimit(RLIMIT_NOFILE, &none) != 0 || put_one(nullptr) != 0;
}

CASE(test_fd_after_a_put_that_could_not_ring)
{
    shared = queue_of(1024, false);
    weft_shm *page = weft_shm_create(nullptr, 4096, nullptr);
    int *go = (int *)weft_shm_address(page);
    pid_t before_the_watch = child_of(put_without_a_descriptor, go);
    int fd = weft_shared_queue_fd(shared);
    assert_true(fd >= 0);
    __atomic_store_n(go, 1, __ATOMIC_SEQ_CST);
    assert_int_equal(end_of(before_the_watch), 0);
    assert_int_equal(put_one(nullptr), 0); // who can ring does, for both
    assert_true(readable(fd, 0));
    weft_shm_detach(page);
    weft_shared_queue_destroy(shared);
}

RUN_CASES(census_begin, census_end)
