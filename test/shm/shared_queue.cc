// Shared queues: messages of any size, batches, two programs; what all queues have is in
// test/twins.
#include "shared_queues.h"

#include <poll.h>

CASE(test_create_errors)
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
    assert_int_equal(weft_shared_queue_destroy(nullptr), 0);
    weft_shm_detach(s);
}

CASE(test_put_get_order_and_sizes)
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

CASE(test_put_empty_messages)
{
    weft_shared_queue *q = queue_of(32, false);
    for (int i = 0; i < 4; i++)
        assert_int_equal(weft_shared_queue_put(q, nullptr, 0, WEFT_NOW), 0);
    assert_errno(weft_shared_queue_put(q, nullptr, 0, WEFT_NOW), ETIMEDOUT);
    for (int i = 0; i < 4; i++)
        assert_int_equal(weft_shared_queue_get(q, nullptr, 0, WEFT_NOW), 0);
    weft_shared_queue_destroy(q);
}

CASE(test_capacity_two_wraps)
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

CASE(test_message_too_long)
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

CASE(test_batches)
{
    weft_shared_queue *q = queue_of(128, false);
    uint64_t in[10], out[10];
    struct iovec v[10], w[10];
    for (size_t i = 0; i < 10; i++) {
        in[i] = i;
        v[i] = {&in[i], 8};
        w[i] = {&out[i], 8};
    }
    assert_int_equal(weft_shared_queue_put_many(q, v, 0, WEFT_NOW), 0);
    assert_int_equal(weft_shared_queue_get_many(q, w, 0, WEFT_NOW), 0);
    assert_int_equal(weft_shared_queue_put_many(q, v, 10, WEFT_NOW), 8);
    assert_errno(weft_shared_queue_put_many(q, v, 10, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_shared_queue_get_many(q, w, 3, WEFT_NOW), 3);
    w[2].iov_len = 4; // ends before the one that is too long
    assert_int_equal(weft_shared_queue_get_many(q, w, 10, WEFT_NOW), 2);
    assert_int_equal(weft_shared_queue_get_many(q, w + 3, 7, WEFT_NOW), 3);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(out[3 + i], 5 + i);
    w[0].iov_len = 4;
    weft_shared_queue_put(q, in, 8, WEFT_NOW);
    assert_errno(weft_shared_queue_get_many(q, w, 1, WEFT_NOW), EMSGSIZE);
    v[0].iov_len = 1000;
    assert_errno(weft_shared_queue_put_many(q, v, 2, WEFT_NOW), EMSGSIZE);
    v[0].iov_len = 8, v[1].iov_len = 1000;
    assert_int_equal(weft_shared_queue_put_many(q, v, 2, WEFT_NOW), 1);
    weft_shared_queue_destroy(q);
}

// It waits for room as often as it takes, and tells how far it came when the queue closes
// meanwhile.
CASE(test_a_batch_of_more_than_there_is_room_for)
{
    enum { MANY = 30, SOME = 20 };
    weft_shared_queue *q = queue_of(128, false);
    uint64_t in[MANY], out;
    struct iovec v[MANY];
    for (uint64_t i = 0; i < MANY; i++) {
        in[i] = i;
        v[i] = {&in[i], 8};
    }
    fflush(nullptr);
    pid_t pid = fork();
    if (pid == 0) {
        for (uint64_t i = 0; i < MANY + SOME; i++)
            if (weft_shared_queue_get(q, &out, 8, WEFT_FOREVER) != 8 || out != i % MANY)
                _exit(1);
        while (weft_shared_queue_length(q) != 8) // it is full again
            poll(nullptr, 0, 1);
        _exit(weft_shared_queue_close(q, WEFT_DRAIN));
    }
    assert_int_equal(weft_shared_queue_put_many(q, v, MANY, WEFT_FOREVER), MANY);
    assert_int_equal(weft_shared_queue_put_many(q, v, MANY, WEFT_FOREVER), SOME + 8);
    assert_int_equal(errno, EPIPE);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    weft_shared_queue_destroy(q);
}

CASE(test_task_done_counts_what_was_got)
{
    weft_shared_queue *q = queue_of(64, false);
    assert_int_equal(weft_shared_queue_put(q, "x", 1, WEFT_NOW), 0);
    assert_errno(weft_shared_queue_task_done(q), EINVAL);
    weft_shared_queue_destroy(q);
}

// ---- two programs ----

static char segment[64];

static int other_program(void *arg)
{
    (void)arg;
    weft_shm *s = weft_shm_attach(segment, NULL, weft_in_s(20));
    uint64_t *offset = (uint64_t *)weft_shm_root(s);
    weft_shared_queue *q = weft_shared_queue_attach(s, *offset);
    int bad = weft_shared_queue_put(q, "from afar", 9, WEFT_FOREVER);
    weft_shared_queue_detach(q);
    weft_shm_detach(s);
    return bad;
}

CASE(test_attach_by_name)
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

RUN_CASES(census_begin, census_end)
