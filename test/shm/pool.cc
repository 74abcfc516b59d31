// The pool when nobody dies: its beginning and end, single tasks, options.  Maps and company have
// files of their own.
#include "pool_tasks.h"

#include <fcntl.h>
#include <sys/prctl.h>

// ---- Creating and ending ----

CASE(test_create_bad_arguments)
{
    int fd = 0, negative = -1;
    weft_pool_options o = {};
    assert_errno(weft_pool_create(-1, nullptr), EINVAL);
    assert_errno(weft_pool_create(WEFT_POOL_WORKERS_MAX + 1, nullptr), EINVAL);
    o.slots = WEFT_POOL_SLOTS_MAX + 1;
    assert_errno(weft_pool_create(1, &o), EINVAL);
    o = {};
    o.task_ns = -1;
    assert_errno(weft_pool_create(1, &o), EINVAL);
    o = {};
    o.memory = SIZE_MAX;
    assert_errno(weft_pool_create(1, &o), EINVAL);
    o = {};
    o.keep = &fd;
    o.keep_count = 1;
    assert_errno(weft_pool_create(1, &o), EINVAL);
    o.close_others = true;
    o.keep = &negative;
    assert_errno(weft_pool_create(1, &o), EBADF);
}

CASE(test_null_handles)
{
    weft_pool_counters s;
    assert_errno(weft_pool_close(nullptr), EINVAL);
    assert_errno(weft_pool_terminate(nullptr), EINVAL);
    assert_errno(weft_pool_join(nullptr, WEFT_NOW), EINVAL);
    assert_int_equal(weft_pool_destroy(nullptr), 0);
    assert_errno(weft_pool_fd(nullptr), EINVAL);
    assert_errno(weft_pool_dispatch(nullptr, WEFT_NOW), EINVAL);
    assert_errno(weft_pool_statistics(nullptr, &s), EINVAL);
    assert_errno(weft_pool_worker(nullptr, 0, nullptr), EINVAL);
    assert_errno(weft_pool_apply_async(nullptr, square, nullptr, 0, 0, WEFT_NOW), EINVAL);
    assert_errno(weft_pool_apply_async(nullptr, square, nullptr, 0, 0, WEFT_NOW), EINVAL);
    assert_errno(weft_pool_apply(nullptr, square, nullptr, 0, nullptr, 0, WEFT_NOW), EINVAL);
    assert_errno(weft_pool_map(nullptr, square, nullptr, 0, 1, nullptr, 0, nullptr, WEFT_NOW),
                 EINVAL);
    assert_errno(weft_pool_imap(nullptr, square, nullptr, 0, 1, 0, nullptr), EINVAL);
    assert_errno(weft_imap_next(nullptr, nullptr, nullptr, nullptr, WEFT_NOW), EINVAL);
    assert_int_equal(weft_imap_destroy(nullptr), 0);
    assert_errno(weft_result_get(nullptr, nullptr, WEFT_NOW), EINVAL);
    assert_errno(weft_result_wait(nullptr, nullptr, WEFT_NOW), EINVAL);
    assert_false(weft_result_poll(nullptr) == 1);
    assert_null(weft_result_bytes(nullptr));
    assert_errno(weft_result_cancel(nullptr), EINVAL);
    assert_int_equal(weft_result_release(nullptr), 0);
}

CASE(test_close_join_destroy)
{
    weft_pool *p = pool_of(2, nullptr);
    int x = 3;
    weft_result *r = start(p, square_behind_gate, x);
    assert_errno(weft_pool_join(p, WEFT_NOW), EBUSY);
    assert_errno(weft_pool_destroy(p), EBUSY);
    assert_int_equal(weft_pool_close(p), 0);
    assert_int_equal(weft_pool_close(p), 0);
    assert_errno(weft_pool_apply_async(p, square, &x, sizeof x, sizeof x, WEFT_NOW), EPIPE);
    assert_errno(weft_pool_join(p, weft_in_ms(5)), ETIMEDOUT);
    assert_errno(weft_pool_destroy(p), EBUSY);
    add(&shared->gate, 1);
    errno = 4711;
    assert_int_equal(weft_pool_join(p, WEFT_FOREVER), 0);
    assert_int_equal(weft_pool_join(p, WEFT_NOW), 0);
    assert_int_equal(errno, 4711);
    assert_int_equal(get(r), 9); // results outlive the processes
    assert_int_equal(weft_pool_destroy(p), 0);
}

CASE(test_close_runs_what_is_queued)
{
    enum { N = 300 };
    weft_result *r[N];
    weft_pool *p = pool_of(3, nullptr);
    for (int i = 0; i < N; i++)
        r[i] = start(p, square, i);
    assert_int_equal(weft_pool_close(p), 0);
    assert_int_equal(weft_pool_join(p, WEFT_FOREVER), 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(get(r[i]), i * i);
    assert_int_equal(weft_pool_destroy(p), 0);
}

CASE(test_terminate)
{
    weft_pool *p = pool_of(1, nullptr);
    weft_result *done = start(p, square, 2);
    assert_int_equal(weft_result_wait(done, nullptr, WEFT_FOREVER), 0);
    weft_result *running = start(p, square_behind_gate, 1), *queued = start(p, square, 1);
    await(&shared->entered, 1);
    assert_int_equal(weft_pool_terminate(p), 0);
    assert_errno(weft_pool_apply_async(p, square, nullptr, 0, 0, WEFT_NOW), EPIPE);
    assert_int_equal(weft_pool_join(p, WEFT_FOREVER), 0);
    assert_int_equal(get(done), 4);
    assert_true(weft_result_poll(running) == 1);
    assert_null(weft_result_bytes(running));
    assert_errno(weft_result_cancel(running), EALREADY);
    assert_errno(weft_result_get(running, nullptr, WEFT_FOREVER), ECANCELED);
    assert_errno(weft_result_get(queued, nullptr, WEFT_FOREVER), ECANCELED);
    assert_int_equal(weft_pool_destroy(p), 0);
}

// A wait that began before the end is ended by it.
static void *get_it(void *r)
{
    return weft_result_get((weft_result *)r, nullptr, WEFT_FOREVER) == 0 ? nullptr
                                                                         : (void *)(intptr_t)errno;
}

CASE(test_terminate_ends_waits)
{
    void *error;
    weft_pool *p = pool_of(1, nullptr);
    weft_thread *t = weft_thread_start(get_it, start(p, square_behind_gate, 1), nullptr);
    await(&shared->entered, 1);
    assert_int_equal(weft_pool_terminate(p), 0);
    assert_int_equal(weft_thread_join(t, &error, WEFT_FOREVER), 0);
    assert_int_equal((intptr_t)error, ECANCELED);
    assert_int_equal(weft_pool_join(p, WEFT_FOREVER), 0);
    assert_int_equal(weft_pool_destroy(p), 0);
}

CASE(test_default_workers)
{
    weft_pool_counters s;
    weft_pool *p = pool_of(0, nullptr);
    assert_int_equal(weft_pool_statistics(p, &s), 0);
    assert_int_equal(s.workers, weft_cpu_count());
    assert_true(s.supervisor > 0);
    end(p);
}

// ---- One task ----

static int check_alignment(const void *arg, size_t n, void *result, size_t room)
{
    const unsigned char *bytes = (const unsigned char *)result;
    for (size_t i = 0; i < room; i++)
        if (bytes[i] != 0)
            return ENOTSUP;
    if ((uintptr_t)arg % 16 != 0 || (uintptr_t)result % 16 != 0)
        return EFAULT;
    memset(result, 0xff, room);
    memcpy(result, arg, n < room ? n : room);
    return 0;
}

// Nothing, what fits into a slot, what just doesn't, and much.
CASE(test_apply_sizes)
{
    static const size_t sizes[] = {0, 1, 7, 8, 88, 96, 97, 176, 192, 193, 5000, 1 << 20, 3 << 20};
    unsigned char *in = (unsigned char *)malloc(3 << 20), *out = (unsigned char *)malloc(3 << 20);
    weft_pool *p = pool_of(2, nullptr);
    for (size_t i = 0; i < 3 << 20; i++)
        in[i] = (unsigned char)(i * 7 + i / 255);
    for (size_t size : sizes)
        for (size_t room : sizes) {
            size_t same = size < room ? size : room;
            if (size > 5000 && room > 5000 && size != room)
                continue;
            assert_int_equal(weft_pool_apply(p, check_alignment, in, size, out, room, WEFT_FOREVER),
                             0);
            assert_memory_equal(in, out, same);
            if (room > same)
                assert_int_equal(out[room - 1], 0xff);
        }
    free(in);
    free(out);
    end(p);
}

static int return_it(const void *arg, size_t, void *result, size_t room)
{
    memset(result, 1, room);
    return *(const int *)arg;
}

CASE(test_task_errors)
{
    static const int codes[][2] = {{ENOENT, ENOENT}, {1, 1},       {4095, 4095},
                                   {4096, EINVAL},   {-1, EINVAL}, {INT32_MIN, EINVAL}};
    weft_pool *p = pool_of(1, nullptr);
    for (auto &code : codes) {
        int y = 7;
        weft_outcome o = {-1, -1};
        weft_result *r = start(p, return_it, code[0]);
        assert_int_equal(weft_result_wait(r, &o, WEFT_FOREVER), 0);
        assert_int_equal(o.error, code[1]);
        assert_int_equal(o.status, 0);
        assert_null(weft_result_bytes(r));
        assert_errno(weft_result_get(r, &y, WEFT_NOW), code[1]);
        assert_int_equal(y, 7);
        assert_errno(weft_result_get(r, &y, WEFT_NOW), EINVAL); // released, also with an error
    }
    end(p);
}

CASE(test_apply_bad_arguments)
{
    weft_pool *p = pool_of(1, nullptr);
    assert_errno(weft_pool_apply_async(p, nullptr, "x", 1, 0, WEFT_NOW), EINVAL);
    assert_errno(weft_pool_apply_async(p, square, nullptr, 1, 0, WEFT_NOW), EINVAL);
    assert_errno(weft_pool_apply_async(p, square, "x", 1, SIZE_MAX, WEFT_NOW), EMSGSIZE);
    assert_errno(weft_pool_apply_async(p, square, "x", 1, (size_t)1 << 40, WEFT_NOW), EMSGSIZE);
    assert_errno(weft_pool_apply_async(p, nullptr, "x", 1, 0, WEFT_NOW), EINVAL);
    end(p);
}

CASE(test_result_wait_ready_bytes)
{
    weft_pool *p = pool_of(1, nullptr);
    weft_result *r = start(p, square_behind_gate, 5);
    int y;
    assert_false(weft_result_poll(r) == 1);
    assert_null(weft_result_bytes(r));
    assert_errno(weft_result_get(r, &y, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_result_get(r, &y, weft_in_ms(3)), ETIMEDOUT);
    assert_errno(weft_result_wait(r, nullptr, weft_in_ms(3)), ETIMEDOUT);
    add(&shared->gate, 1);
    assert_int_equal(weft_result_wait(r, nullptr, WEFT_FOREVER), 0);
    assert_true(weft_result_poll(r) == 1);
    assert_int_equal(*(const int *)weft_result_bytes(r), 25);
    assert_int_equal(get(r), 25);
    assert_false(weft_result_poll(r) == 1);
    assert_errno(weft_result_release(r), EINVAL);
    end(p);
}

CASE(test_cancel)
{
    weft_pool *p = pool_of(1, nullptr);
    weft_outcome o;
    weft_result *running = start(p, square_behind_gate, 2), *queued = start(p, square, 3),
                *last = start(p, square, 4);
    await(&shared->entered, 1);
    assert_errno(weft_result_cancel(running), EBUSY);
    assert_int_equal(weft_result_cancel(queued), 0);
    assert_int_equal(weft_result_cancel(queued), 0);
    assert_int_equal(weft_result_wait(queued, &o, WEFT_NOW), 0);
    assert_int_equal(o.error, ECANCELED);
    assert_errno(weft_result_get(queued, nullptr, WEFT_NOW), ECANCELED);
    add(&shared->gate, 1);
    assert_int_equal(get(last), 16);
    assert_errno(weft_result_cancel(running), EALREADY);
    assert_int_equal(get(running), 4);
    end(p);
}

static weft_pool *pool_of_slots(size_t slots)
{
    weft_pool_options o = {};
    o.slots = slots;
    return pool_of(1, &o);
}

// Slots of cancelled tasks are used again while their old places in the queue still stand.
CASE(test_cancel_and_reuse_slots)
{
    weft_pool *p = pool_of_slots(4);
    weft_result *running = start(p, square_behind_gate, 2);
    await(&shared->entered, 1);
    int x = 6, full = 0;
    for (int i = 0; i < 10; i++) {
        weft_result *r = weft_pool_apply_async(p, square, &x, sizeof x, sizeof x, WEFT_NOW);
        if (r == nullptr) {
            assert_int_equal(errno, ETIMEDOUT);
            full++;
            continue;
        }
        assert_int_equal(weft_result_cancel(r), 0);
        assert_int_equal(weft_result_release(r), 0);
    }
    assert_true(full > 0); // of entries, not of slots
    add(&shared->gate, 1);
    assert_int_equal(get(running), 4);
    weft_result *r = weft_pool_apply_async(p, square, &x, sizeof x, sizeof x, WEFT_FOREVER);
    assert_int_equal(get(r), 36);
    end(p);
}

CASE(test_release_before_the_end)
{
    weft_pool *p = pool_of_slots(2);
    int x = 3;
    weft_result *r = start(p, square_behind_gate, 1);
    assert_int_equal(weft_result_release(r), 0);
    assert_errno(weft_result_get(r, nullptr, WEFT_NOW), EINVAL);
    assert_int_equal(weft_result_release(start(p, square_behind_gate, 1)), 0);
    assert_errno(weft_pool_apply_async(p, square, &x, sizeof x, sizeof x, WEFT_NOW), ETIMEDOUT);
    add(&shared->gate, 1);
    // Their slots come back by themselves.
    for (int i = 0; i < 100; i++) {
        r = weft_pool_apply_async(p, square, &x, sizeof x, sizeof x, WEFT_FOREVER);
        assert_non_null(r);
        assert_int_equal(weft_result_release(r), 0);
    }
    end(p);
}

// Of a thread that runs fn(arg): what it returns is an errno.
static void stop_ends(void *(*fn)(void *), void *arg)
{
    void *error;
    weft_thread *t = weft_thread_start(fn, arg, nullptr);
    assert_int_equal(weft_thread_stop(t), 0);
    assert_int_equal(weft_thread_join(t, &error, WEFT_FOREVER), 0);
    assert_int_equal((intptr_t)error, ECANCELED);
}

CASE(test_stop_ends_waits)
{
    weft_pool *p = pool_of(1, nullptr);
    weft_result *r = start(p, square_behind_gate, 1);
    stop_ends(get_it, r);
    add(&shared->gate, 1);
    assert_int_equal(get(r), 1);
    end(p);
}

static void *join_pool(void *p)
{
    return weft_pool_join((weft_pool *)p, WEFT_FOREVER) == 0 ? nullptr : (void *)(intptr_t)errno;
}

CASE(test_stop_ends_join)
{
    weft_pool *p = pool_of(1, nullptr);
    weft_result *r = start(p, square_behind_gate, 1);
    weft_pool_close(p);
    stop_ends(join_pool, p);
    add(&shared->gate, 1);
    assert_int_equal(get(r), 1);
    end(p);
}

CASE(test_apply_deadline)
{
    weft_pool *p = pool_of(1, nullptr);
    int x = 3, y = 0;
    assert_errno(weft_pool_apply(p, square_behind_gate, &x, sizeof x, &y, sizeof y, weft_in_ms(20)),
                 ETIMEDOUT);
    add(&shared->gate, 1);
    assert_int_equal(weft_pool_apply(p, square, &x, sizeof x, &y, sizeof y, WEFT_FOREVER), 0);
    assert_int_equal(y, 9);
    end(p);
}

// ---- Options ----

static int initialise(void *arg)
{
    add(&shared->entered, 1);
    shared->sum = *(int *)arg;
    return 0;
}

CASE(test_initialiser)
{
    int seven = 7;
    weft_pool_options o = {};
    o.initialiser = initialise;
    o.arg = &seven;
    weft_pool *p = pool_of(3, &o);
    await(&shared->entered, 3);
    assert_int_equal(shared->sum, 7);
    end(p);
}

static int fail_to_initialise(void *)
{
    return ENOENT;
}

static int crash_in_initialiser(void *)
{
    _exit(9);
}

CASE(test_initialiser_that_fails)
{
    for (int crash = 0; crash < 2; crash++) {
        weft_pool_options o = {};
        weft_pool_counters s;
        o.initialiser = crash ? crash_in_initialiser : fail_to_initialise;
        weft_pool *p = pool_of(2, &o);
        int x = 1;
        weft_result *r = weft_pool_apply_async(p, square, &x, sizeof x, sizeof x, WEFT_NOW);
        if (r != nullptr)
            assert_errno(weft_result_get(r, nullptr, WEFT_FOREVER), EPIPE);
        assert_int_equal(weft_pool_statistics(p, &s), 0);
        assert_int_equal(s.initialiser_error, crash ? ECHILD : ENOENT);
        assert_errno(weft_pool_join(p, WEFT_FOREVER), EPIPE);
        assert_int_equal(weft_pool_destroy(p), 0);
    }
}

CASE(test_tasks_per_child)
{
    weft_pool_options o = {};
    o.tasks_per_child = 3;
    weft_pool *p = pool_of(1, &o);
    weft_pool_counters s;
    pid_t pid[9];
    for (int i = 0; i < 9; i++)
        assert_int_equal(
            weft_pool_apply(p, tell_pid, nullptr, 0, &pid[i], sizeof pid[i], WEFT_FOREVER), 0);
    for (int i = 1; i < 9; i++)
        assert_int_equal(pid[i] == pid[i - 1], i % 3 != 0);
    assert_int_equal(weft_pool_statistics(p, &s), 0);
    assert_int_equal(s.deaths, 0);
    assert_true(s.forked >= 3);
    end(p);
}

CASE(test_slots)
{
    weft_pool *p = pool_of_slots(2);
    int x = 4;
    weft_result *a = start(p, square_behind_gate, 1), *b = start(p, square, 2);
    assert_errno(weft_pool_apply_async(p, square, &x, sizeof x, sizeof x, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_pool_apply_async(p, square, &x, sizeof x, sizeof x, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_pool_apply_async(p, square, &x, sizeof x, sizeof x, weft_in_ms(5)),
                 ETIMEDOUT);
    // Another thread gets a result, and so makes room.
    weft_thread *t = weft_thread_start(
        [](void *r) -> void * { return (void *)(intptr_t)get((weft_result *)r); }, a, nullptr);
    add(&shared->gate, 1);
    weft_result *c = weft_pool_apply_async(p, square, &x, sizeof x, sizeof x, WEFT_FOREVER);
    assert_non_null(c);
    assert_int_equal(get(b), 4);
    assert_int_equal(get(c), 16);
    weft_thread_join(t, nullptr, WEFT_FOREVER);
    end(p);
}

static int sum_bytes(const void *arg, size_t n, void *result, size_t)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((const unsigned char *)arg)[i];
    *(unsigned *)result = sum;
    return 0;
}

CASE(test_memory)
{
    static unsigned char bytes[1 << 16];
    weft_pool_options o = {};
    unsigned sum = 0, expected = 0;
    o.memory = 1 << 16;
    weft_pool *p = pool_of(2, &o);
    for (unsigned i = 0; i < sizeof bytes; i++)
        expected += bytes[i] = (unsigned char)i;
    assert_errno(weft_pool_apply_async(p, sum_bytes, bytes, sizeof bytes, 4, WEFT_NOW), EMSGSIZE);
    expected -= bytes[sizeof bytes - 1] + bytes[sizeof bytes - 2];
    for (int i = 0; i < 16; i++)
        expected -= bytes[sizeof bytes - 3 - (unsigned)i];
    size_t most = sizeof bytes - 18;
    weft_result *r = weft_pool_apply_async(p, sum_bytes, bytes, most, 4, WEFT_NOW);
    assert_non_null(r);
    assert_errno(weft_pool_apply_async(p, sum_bytes, bytes, 1000, 4, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_result_get(r, &sum, WEFT_FOREVER), 0);
    assert_int_equal(sum, expected);
    // Blocks of all sizes, in an order that splits and joins them.
    for (int round = 0; round < 50; round++) {
        weft_result *many[24] = {};
        int n = 0;
        while (n < 24 &&
               (many[n] = weft_pool_apply_async(
                    p, sum_bytes, bytes, 200 + (size_t)(n * round * 37 % 3000), 4, WEFT_NOW)))
            n++;
        assert_true(n > 5);
        for (int odd = 0; odd < 2; odd++)
            for (int i = odd; i < n; i += 2)
                assert_int_equal(weft_result_get(many[i], nullptr, WEFT_FOREVER), 0);
    }
    r = weft_pool_apply_async(p, sum_bytes, bytes, most, 4, WEFT_NOW); // all in one again
    assert_non_null(r);
    assert_int_equal(weft_result_get(r, &sum, WEFT_FOREVER), 0);
    assert_int_equal(sum, expected);
    end(p);
}

static int tell_name(const void *, size_t, void *result, size_t)
{
    return prctl(PR_GET_NAME, result) == 0 ? 0 : errno;
}

static int is_open(const void *arg, size_t, void *result, size_t)
{
    *(int *)result = fcntl(*(const int *)arg, F_GETFD) >= 0;
    return 0;
}

CASE(test_name_and_descriptors)
{
    char name[16];
    int kept = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int other = open("/dev/null", O_RDONLY | O_CLOEXEC);
    weft_pool_options o = {};
    o.name = "a rather long name";
    o.close_others = true;
    o.keep = &kept;
    o.keep_count = 1;
    weft_pool *p = pool_of(1, &o);
    assert_int_equal(weft_pool_apply(p, tell_name, nullptr, 0, name, sizeof name, WEFT_FOREVER), 0);
    assert_string_equal(name, "a rather long n");
    assert_int_equal(get(start(p, is_open, kept)), 1);
    assert_int_equal(get(start(p, is_open, other)), 0);
    weft_pool *inheriting = pool_of(1, nullptr);
    assert_int_equal(get(start(inheriting, is_open, other)), 1);
    close(kept);
    close(other);
    end(p);
    end(inheriting);
}

RUN_POOL_CASES()
