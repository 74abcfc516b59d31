// Shared queues: order, sizes, wrap-around, deadlines, close, leases, descriptors, deaths.
#include "../runner.h"
#include "processes.h"

#include <weft/shared_queue.h>
#include <weft/thread.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

static weft_shared_queue *queue_of(size_t bytes, bool leases)
{
    weft_shared_queue_options o = {};
    o.leases = leases;
    o.spin = -1;
    weft_shared_queue *q = weft_shared_queue_create(nullptr, bytes, &o);
    assert_non_null(q);
    return q;
}

static void test_create_errors(void **)
{
    assert_errno(weft_shared_queue_create(nullptr, 0, nullptr), EINVAL);
    assert_errno(weft_shared_queue_create(nullptr, ((size_t)1 << 32) + 1, nullptr), EINVAL);
    weft_shm *s = weft_shm_create(nullptr, 8192, nullptr);
    assert_errno(weft_shared_queue_create(s, 1 << 16, nullptr), ENOMEM);
    assert_errno(weft_shared_queue_attach(s, 0), EINVAL);
    assert_errno(weft_shared_queue_attach(s, 4096), EINVAL); // none there
    assert_errno(weft_shared_queue_attach(s, 8192), EINVAL); // at the very end
    assert_errno(weft_shared_queue_attach(s, 4097), EINVAL);
    assert_errno(weft_shared_queue_detach(nullptr), EINVAL);
    assert_errno(weft_shared_queue_destroy(nullptr), EINVAL);
    weft_shm_detach(s);
}

static void test_put_get_order_and_sizes(void **)
{
    weft_shared_queue *q = queue_of(4096, false);
    char in[300], out[300];
    for (int round = 0; round < 2000; round++) {
        size_t n = (size_t)round * 7 % sizeof in;
        memset(in, round, sizeof in);
        assert_int_equal(weft_shared_queue_put(q, in, n, WEFT_NOW), 0);
        memset(in, round + 1, sizeof in);
        assert_int_equal(weft_shared_queue_put(q, in, 1, WEFT_NOW), 0);
        assert_int_equal(weft_shared_queue_length(q), 2);
        assert_int_equal(weft_shared_queue_next_size(q), n);
        assert_int_equal(weft_shared_queue_get(q, out, sizeof out, WEFT_NOW), n);
        for (size_t i = 0; i < n; i++)
            assert_int_equal((unsigned char)out[i], (unsigned char)round);
        assert_int_equal(weft_shared_queue_get(q, out, sizeof out, WEFT_NOW), 1);
        assert_int_equal((unsigned char)out[0], (unsigned char)(round + 1));
    }
    assert_int_equal(weft_shared_queue_length(q), 0);
    assert_errno(weft_shared_queue_next_size(q), ETIMEDOUT);
    assert_int_equal(weft_shared_queue_destroy(q), 0);
}

static void test_put_empty_messages(void **)
{
    weft_shared_queue *q = queue_of(32, false);
    for (int i = 0; i < 4; i++)
        assert_int_equal(weft_shared_queue_put(q, nullptr, 0, WEFT_NOW), 0);
    assert_errno(weft_shared_queue_put(q, nullptr, 0, WEFT_NOW), ETIMEDOUT);
    for (int i = 0; i < 4; i++)
        assert_int_equal(weft_shared_queue_get(q, nullptr, 0, WEFT_NOW), 0);
    weft_shared_queue_destroy(q);
}

static void test_capacity_two_wraps(void **)
{
    for (int leases = 0; leases < 2; leases++) {
        size_t cost = weft_shared_queue_cost(8, leases);
        weft_shared_queue *q = queue_of(2 * cost, leases);
        uint64_t put = 0, got = 0, m;
        for (int i = 0; i < 1000; i++) {
            weft_shared_lease l = {};
            while (weft_shared_queue_put(q, &put, 8, WEFT_NOW) == 0)
                put++;
            assert_int_equal(errno, ETIMEDOUT);
            ssize_t n = leases ? weft_shared_queue_lease(q, &m, 8, &l, WEFT_NOW)
                               : weft_shared_queue_get(q, &m, 8, WEFT_NOW);
            assert_int_equal(n, 8);
            assert_int_equal(m, got++);
            if (leases)
                assert_int_equal(weft_shared_queue_acknowledge(q, &l), 0);
        }
        assert_in_range(put, 1001, 1004);
        weft_shared_queue_destroy(q);
    }
}

static void test_message_too_long(void **)
{
    weft_shared_queue *q = queue_of(1024, false);
    static char m[2048];
    assert_errno(weft_shared_queue_put(q, m, 1024, WEFT_NOW), EMSGSIZE);
    assert_errno(weft_shared_queue_put(q, m, SIZE_MAX - 3, WEFT_NOW), EMSGSIZE);
    assert_int_equal(weft_shared_queue_put(q, m, 1016, WEFT_NOW), 0);
    assert_errno(weft_shared_queue_get(q, m, 1015, WEFT_NOW), EMSGSIZE);
    assert_int_equal(weft_shared_queue_get(q, m, 1016, WEFT_NOW), 1016);
    weft_shared_queue_destroy(q);
}

static void test_deadlines(void **)
{
    weft_shared_queue *q = queue_of(64, false);
    char m[56];
    assert_errno(weft_shared_queue_get(q, m, sizeof m, WEFT_NOW), ETIMEDOUT);
    weft_deadline d = weft_in_ms(30);
    assert_errno(weft_shared_queue_get(q, m, sizeof m, d), ETIMEDOUT);
    assert_true(weft_now() >= d);
    assert_int_equal(weft_shared_queue_put(q, m, sizeof m, WEFT_NOW), 0);
    d = weft_in_ms(30);
    assert_errno(weft_shared_queue_put(q, m, sizeof m, d), ETIMEDOUT);
    assert_true(weft_now() >= d);
    weft_shared_queue_destroy(q);
}

static void test_batches(void **)
{
    weft_shared_queue *q = queue_of(128, false);
    uint64_t in[10], out[10];
    struct iovec v[10], w[10];
    for (size_t i = 0; i < 10; i++) {
        in[i] = i;
        v[i] = {&in[i], 8};
        w[i] = {&out[i], 8};
    }
    assert_int_equal(weft_shared_queue_put_batch(q, v, 0, WEFT_NOW), 0);
    assert_int_equal(weft_shared_queue_get_batch(q, w, 0, WEFT_NOW), 0);
    assert_int_equal(weft_shared_queue_put_batch(q, v, 10, WEFT_NOW), 8);
    assert_errno(weft_shared_queue_put_batch(q, v, 10, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_shared_queue_get_batch(q, w, 3, WEFT_NOW), 3);
    w[2].iov_len = 4; // ends before the one that is too long
    assert_int_equal(weft_shared_queue_get_batch(q, w, 10, WEFT_NOW), 2);
    assert_int_equal(weft_shared_queue_get_batch(q, w + 3, 7, WEFT_NOW), 3);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(out[3 + i], 5 + i);
    w[0].iov_len = 4;
    weft_shared_queue_put(q, in, 8, WEFT_NOW);
    assert_errno(weft_shared_queue_get_batch(q, w, 1, WEFT_NOW), EMSGSIZE);
    v[0].iov_len = 1000;
    assert_errno(weft_shared_queue_put_batch(q, v, 2, WEFT_NOW), EMSGSIZE);
    v[0].iov_len = 8, v[1].iov_len = 1000;
    assert_int_equal(weft_shared_queue_put_batch(q, v, 2, WEFT_NOW), 1);
    weft_shared_queue_destroy(q);
}

static weft_shared_queue *shared;

static int put_three(void *)
{
    for (uint64_t i = 0; i < 3; i++)
        if (weft_shared_queue_put(shared, &i, 8, WEFT_FOREVER) != 0)
            return 1;
    return 0;
}

static int get_three(void *)
{
    for (uint64_t i = 0, m; i < 3; i++)
        if (weft_shared_queue_get(shared, &m, 8, WEFT_FOREVER) != 8 || m != i)
            return 1;
    return 0;
}

static void test_get_waits_for_put_and_put_for_get(void **)
{
    shared = queue_of(32, false);
    pid_t p = child_of(get_three, nullptr);
    wait_asleep(p);
    assert_int_equal(put_three(nullptr), 0);
    assert_int_equal(end_of(p), 0);
    p = child_of(put_three, nullptr);
    wait_asleep(p);
    assert_int_equal(get_three(nullptr), 0);
    assert_int_equal(end_of(p), 0);
    weft_shared_queue_destroy(shared);
}

static int expect_epipe_get(void *)
{
    char m[8];
    return weft_shared_queue_get(shared, m, 8, WEFT_FOREVER) == -1 && errno == EPIPE ? 0 : 1;
}

static int expect_epipe_put(void *)
{
    char m[24] = {};
    return weft_shared_queue_put(shared, m, 24, WEFT_FOREVER) == -1 && errno == EPIPE ? 0 : 1;
}

static void test_close_drain(void **)
{
    shared = queue_of(32, false);
    char m[24] = {};
    assert_errno(weft_shared_queue_close(shared, 5), EINVAL);
    pid_t p = child_of(expect_epipe_get, nullptr);
    wait_asleep(p);
    assert_int_equal(weft_shared_queue_close(shared, WEFT_DRAIN), 0);
    assert_int_equal(end_of(p), 0);
    weft_shared_queue_destroy(shared);

    shared = queue_of(32, false);
    assert_int_equal(weft_shared_queue_put(shared, m, 24, WEFT_NOW), 0);
    p = child_of(expect_epipe_put, nullptr);
    wait_asleep(p);
    assert_int_equal(weft_shared_queue_close(shared, WEFT_DRAIN), 0);
    assert_int_equal(end_of(p), 0);
    assert_errno(weft_shared_queue_put(shared, m, 1, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_shared_queue_get(shared, m, 24, WEFT_FOREVER), 24);
    assert_errno(weft_shared_queue_get(shared, m, 24, WEFT_FOREVER), EPIPE);
    weft_shared_queue_destroy(shared);
}

static void test_close_discard(void **)
{
    shared = queue_of(64, false);
    char m[8] = {};
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft_shared_queue_put(shared, m, 8, WEFT_NOW), 0);
    assert_int_equal(weft_shared_queue_get(shared, m, 8, WEFT_NOW), 8);
    assert_int_equal(weft_shared_queue_close(shared, WEFT_DRAIN), 0);
    assert_int_equal(weft_shared_queue_close(shared, WEFT_DISCARD), 0);
    assert_int_equal(weft_shared_queue_close(shared, WEFT_DRAIN), 0); // no way back
    assert_errno(weft_shared_queue_get(shared, m, 8, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_shared_queue_length(shared), 0);
    assert_errno(weft_shared_queue_join(shared, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_shared_queue_task_done(shared), 0);
    assert_int_equal(weft_shared_queue_join(shared, WEFT_NOW), 0);
    weft_shared_queue_destroy(shared);
}

static int get_and_finish(void *)
{
    char m[8];
    while (weft_shared_queue_get(shared, m, 8, WEFT_FOREVER) >= 0)
        if (weft_shared_queue_task_done(shared) != 0)
            return 1;
    return errno == EPIPE ? 0 : 2;
}

static void test_task_done_join(void **)
{
    shared = queue_of(4096, false);
    assert_int_equal(weft_shared_queue_join(shared, WEFT_NOW), 0);
    assert_errno(weft_shared_queue_task_done(shared), EINVAL);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(weft_shared_queue_put(shared, &i, 8, WEFT_NOW), 0);
    assert_errno(weft_shared_queue_task_done(shared), EINVAL);
    assert_errno(weft_shared_queue_join(shared, weft_in_ms(10)), ETIMEDOUT);
    pid_t p = child_of(get_and_finish, nullptr), r = child_of(get_and_finish, nullptr);
    assert_int_equal(weft_shared_queue_join(shared, WEFT_FOREVER), 0);
    weft_shared_queue_close(shared, WEFT_DRAIN);
    assert_int_equal(end_of(p), 0);
    assert_int_equal(end_of(r), 0);
    weft_shared_queue_destroy(shared);
}

static void *wait_for_message(void *)
{
    char m[8];
    return weft_shared_queue_get(shared, m, 8, WEFT_FOREVER) == -1 && errno == ECANCELED
               ? nullptr
               : (void *)1;
}

static void test_stop_ends_a_wait(void **)
{
    shared = queue_of(64, false);
    weft_thread *t = weft_thread_start(wait_for_message, nullptr, nullptr);
    void *result;
    assert_int_equal(weft_thread_stop(t), 0);
    assert_int_equal(weft_thread_join(t, &result, WEFT_FOREVER), 0);
    assert_null(result);
    weft_shared_queue_destroy(shared);
}

// ---- two programs ----

static char segment[64];

static int other_program(void *arg)
{
    (void)arg;
    weft_shm *s = weft_shm_attach(segment, weft_in_s(20));
    uint64_t *offset = (uint64_t *)weft_shm_root(s);
    weft_shared_queue *q = weft_shared_queue_attach(s, *offset);
    int bad = weft_shared_queue_put(q, "from afar", 9, WEFT_FOREVER);
    weft_shared_queue_detach(q);
    weft_shm_detach(s);
    return bad;
}

static void test_attach_by_name(void **)
{
    snprintf(segment, sizeof segment, "weft-queue-%d", getpid());
    pid_t early = 0;
    weft_shm *s = weft_shm_create(segment, 1 << 16, nullptr);
    early = child_of(other_program, nullptr); // waits until it is ready
    weft_shared_queue *q = weft_shared_queue_create(s, 1024, nullptr);
    uint64_t *offset = (uint64_t *)weft_shm_allocate(s, sizeof *offset);
    *offset = weft_shared_queue_offset(q);
    weft_shm_set_root(s, offset);
    weft_shm_ready(s);
    char m[16];
    assert_int_equal(weft_shared_queue_get(q, m, sizeof m, WEFT_FOREVER), 9);
    assert_memory_equal(m, "from afar", 9);
    assert_int_equal(end_of(early), 0);
    assert_int_equal(weft_shared_queue_destroy(q), 0);
    assert_errno(weft_shared_queue_attach(s, *offset), EINVAL);
    weft_shm_detach(s);
}

// ---- leases ----

static void test_lease_acknowledge(void **)
{
    weft_shared_queue *q = queue_of(1024, true);
    weft_shared_lease a, b, c;
    char m[16];
    assert_errno(weft_shared_queue_get(q, m, sizeof m, WEFT_NOW), EINVAL);
    assert_errno(weft_shared_queue_task_done(q), EINVAL);
    weft_shared_queue_put(q, "one", 3, WEFT_NOW);
    weft_shared_queue_put(q, "three", 5, WEFT_NOW);
    assert_int_equal(weft_shared_queue_lease(q, m, sizeof m, &a, WEFT_NOW), 3);
    assert_int_equal(a.deliveries, 1);
    assert_errno(weft_shared_queue_lease(q, m, 4, &b, WEFT_NOW), EMSGSIZE);
    assert_int_equal(weft_shared_queue_lease(q, m, sizeof m, &b, WEFT_NOW), 5);
    assert_errno(weft_shared_queue_lease(q, m, sizeof m, &c, weft_in_ms(10)), ETIMEDOUT);
    assert_errno(weft_shared_queue_lease(q, m, sizeof m, nullptr, WEFT_NOW), EINVAL);
    // Out of order; then what came back goes first.
    assert_int_equal(weft_shared_queue_acknowledge(q, &b), 0);
    assert_errno(weft_shared_queue_acknowledge(q, &b), ESTALE);
    assert_errno(weft_shared_queue_join(q, WEFT_NOW), ETIMEDOUT);
    weft_shared_queue_put(q, "later", 5, WEFT_NOW);
    assert_int_equal(weft_shared_queue_give_back(q, &a), 0);
    assert_errno(weft_shared_queue_give_back(q, &a), ESTALE);
    assert_errno(weft_shared_queue_acknowledge(q, &a), ESTALE);
    assert_int_equal(weft_shared_queue_next_size(q), 3);
    assert_int_equal(weft_shared_queue_lease(q, m, sizeof m, &c, WEFT_NOW), 3);
    assert_memory_equal(m, "one", 3);
    assert_int_equal(c.deliveries, 2);
    assert_errno(weft_shared_queue_acknowledge(q, &a), ESTALE);
    assert_int_equal(weft_shared_queue_acknowledge(q, &c), 0);
    assert_int_equal(weft_shared_queue_lease(q, m, sizeof m, &a, WEFT_NOW), 5);
    assert_int_equal(weft_shared_queue_acknowledge(q, &a), 0);
    assert_int_equal(weft_shared_queue_join(q, WEFT_NOW), 0);
    weft_shared_queue_destroy(q);
    q = queue_of(64, false);
    assert_errno(weft_shared_queue_lease(q, m, sizeof m, &a, WEFT_NOW), EINVAL);
    assert_errno(weft_shared_queue_acknowledge(q, &a), EINVAL);
    assert_errno(weft_shared_queue_give_back(q, &a), EINVAL);
    weft_shared_queue_destroy(q);
}

static int lease_and_wait(void *)
{
    char m[16];
    weft_shared_lease l;
    if (weft_shared_queue_lease(shared, m, sizeof m, &l, WEFT_FOREVER) < 0)
        return 1;
    kill(getpid(), SIGKILL);
    return 0;
}

static void test_lease_comes_back_from_the_dead(void **)
{
    shared = queue_of(1024, true);
    weft_shared_lease l;
    char m[16];
    for (int i = 0; i < 5; i++) {
        weft_shared_queue_put(shared, "again", 5, WEFT_NOW);
        pid_t p = child_of(lease_and_wait, nullptr), r = 0;
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)p, &info, WEXITED | WNOWAIT), 0);
        // A zombie counts as dead.
        r = child_of(lease_and_wait, nullptr); // gets it next, dies of it too
        assert_int_equal(end_of(r), 256 + SIGKILL);
        assert_int_equal(weft_shared_queue_lease(shared, m, sizeof m, &l, weft_in_s(20)), 5);
        assert_int_equal(l.deliveries, 3);
        assert_int_equal(weft_shared_queue_acknowledge(shared, &l), 0);
        assert_int_equal(end_of(p), 256 + SIGKILL);
    }
    weft_shared_queue_destroy(shared);
}

static int lease_until_end(void *)
{
    char m[16];
    weft_shared_lease l;
    while (weft_shared_queue_lease(shared, m, sizeof m, &l, WEFT_FOREVER) >= 0)
        if (weft_shared_queue_acknowledge(shared, &l) != 0)
            return 1;
    return errno == EPIPE ? 0 : 2;
}

static void test_lease_close_waits_for_the_leased(void **)
{
    shared = queue_of(1024, true);
    weft_shared_lease l;
    char m[16];
    weft_shared_queue_put(shared, "x", 1, WEFT_NOW);
    assert_int_equal(weft_shared_queue_lease(shared, m, sizeof m, &l, WEFT_NOW), 1);
    weft_shared_queue_close(shared, WEFT_DRAIN);
    pid_t p = child_of(lease_until_end, nullptr);
    wait_asleep(p);
    assert_int_equal(weft_shared_queue_give_back(shared, &l), 0);
    assert_int_equal(end_of(p), 0);
    assert_errno(weft_shared_queue_lease(shared, m, sizeof m, &l, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_shared_queue_join(shared, WEFT_NOW), 0);
    weft_shared_queue_destroy(shared);
}

static void test_lease_discard(void **)
{
    weft_shared_queue *q = queue_of(1024, true);
    weft_shared_lease l;
    char m[16];
    weft_shared_queue_put(q, "x", 1, WEFT_NOW);
    weft_shared_queue_put(q, "y", 1, WEFT_NOW);
    weft_shared_queue_lease(q, m, sizeof m, &l, WEFT_NOW);
    weft_shared_queue_close(q, WEFT_DISCARD);
    assert_errno(weft_shared_queue_lease(q, m, sizeof m, &l, WEFT_FOREVER), EPIPE);
    assert_errno(weft_shared_queue_join(q, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_shared_queue_acknowledge(q, &l), 0);
    assert_int_equal(weft_shared_queue_join(q, WEFT_NOW), 0);
    weft_shared_queue_destroy(q);
}

// ---- descriptors ----

static bool readable(int fd, int ms)
{
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, ms) == 1;
}

static int put_one(void *)
{
    return weft_shared_queue_put(shared, "1", 1, WEFT_FOREVER);
}

static void test_fd(void **)
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

static void test_fd_in_many_processes(void **)
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

static void test_fd_after_a_put_that_could_not_ring(void **)
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

// ---- many at once ----

enum { EACH = 20000, PRODUCERS = 3, CONSUMERS = 3 };
struct tally {
    unsigned char seen[PRODUCERS * EACH];
};

static int produce(void *arg)
{
    uint32_t from = (uint32_t)(uintptr_t)arg * EACH;
    char m[64];
    for (uint32_t i = 0; i < EACH; i++) {
        uint32_t id = from + i;
        size_t n = 4 + id % 50;
        memset(m, (int)id, n);
        memcpy(m, &id, 4);
        if (weft_shared_queue_put(shared, m, n, WEFT_FOREVER) != 0)
            return 1;
    }
    return 0;
}

static int consume(void *arg)
{
    struct tally *t = (struct tally *)arg;
    char m[64];
    uint32_t last[PRODUCERS] = {};
    for (;;) {
        ssize_t n = weft_shared_queue_get(shared, m, sizeof m, WEFT_FOREVER);
        if (n < 0)
            return errno == EPIPE ? 0 : 1;
        uint32_t id;
        memcpy(&id, m, 4);
        if (id >= PRODUCERS * EACH || (size_t)n != 4 + id % 50)
            return 2;
        for (ssize_t i = 4; i < n; i++)
            if ((unsigned char)m[i] != (unsigned char)id)
                return 3;
        uint32_t *before = &last[id / EACH];
        if (*before > id)
            return 4; // one producer's messages keep their order
        *before = id;
        t->seen[id]++;
    }
}

static void test_many_producers_and_consumers(void **)
{
    weft_shm *s = weft_shm_create(nullptr, sizeof(struct tally), nullptr);
    struct tally *t = (struct tally *)weft_shm_address(s);
    weft_shared_queue_options o = {};
    shared = weft_shared_queue_create(nullptr, 512, &o);
    pid_t c[CONSUMERS], p[PRODUCERS];
    for (pid_t &each : c)
        each = child_of(consume, t);
    for (uintptr_t i = 0; i < PRODUCERS; i++)
        p[i] = child_of(produce, (void *)i);
    for (pid_t each : p)
        assert_int_equal(end_of(each), 0);
    weft_shared_queue_close(shared, WEFT_DRAIN);
    for (pid_t each : c)
        assert_int_equal(end_of(each), 0);
    for (size_t i = 0; i < sizeof t->seen; i++)
        assert_int_equal(t->seen[i], 1);
    weft_shared_queue_destroy(shared);
    weft_shm_detach(s);
}

static void *produce_in_thread(void *arg)
{
    return (void *)(intptr_t)produce(arg);
}

static void *consume_in_thread(void *arg)
{
    return (void *)(intptr_t)consume(arg);
}

static void test_many_threads(void **)
{
    static struct tally t;
    shared = weft_shared_queue_create(nullptr, 512, nullptr);
    weft_thread *c[CONSUMERS], *p[PRODUCERS];
    void *result;
    for (weft_thread *&each : c)
        each = weft_thread_start(consume_in_thread, &t, nullptr);
    for (uintptr_t i = 0; i < PRODUCERS; i++)
        p[i] = weft_thread_start(produce_in_thread, (void *)i, nullptr);
    for (weft_thread *each : p) {
        assert_int_equal(weft_thread_join(each, &result, WEFT_FOREVER), 0);
        assert_null(result);
    }
    weft_shared_queue_close(shared, WEFT_DRAIN);
    for (weft_thread *each : c) {
        assert_int_equal(weft_thread_join(each, &result, WEFT_FOREVER), 0);
        assert_null(result);
    }
    for (size_t i = 0; i < sizeof t.seen; i++)
        assert_int_equal(t.seen[i], 1);
    weft_shared_queue_destroy(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create_errors),
        TEST(test_put_get_order_and_sizes),
        TEST(test_put_empty_messages),
        TEST(test_capacity_two_wraps),
        TEST(test_message_too_long),
        TEST(test_deadlines),
        TEST(test_batches),
        TEST(test_get_waits_for_put_and_put_for_get),
        TEST(test_close_drain),
        TEST(test_close_discard),
        TEST(test_task_done_join),
        TEST(test_stop_ends_a_wait),
        TEST(test_attach_by_name),
        TEST(test_lease_acknowledge),
        TEST(test_lease_comes_back_from_the_dead),
        TEST(test_lease_close_waits_for_the_leased),
        TEST(test_lease_discard),
        TEST(test_fd),
        TEST(test_fd_in_many_processes),
        TEST(test_fd_after_a_put_that_could_not_ring),
        TEST(test_many_producers_and_consumers),
        TEST(test_many_threads),
    };
    return cmocka_run_group_tests(tests, census_begin, census_end);
}
