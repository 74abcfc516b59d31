// Many workers, and what a pool can't have.
#include "pool_tasks.h"

#include <sys/resource.h>

// More than a word of bits tells who sleeps; and each is woken for a task of its own.
CASE(test_many_workers)
{
    enum { N = 70 };
    weft_result *r[N];
    weft_pool *p = pool_of(N, nullptr);
    for (int i = 0; i < N; i++)
        r[i] = start(p, square_behind_gate, i);
    await(&shared->entered, N);
    add(&shared->gate, 1);
    for (int i = 0; i < N; i++)
        assert_int_equal(get(r[i]), i * i);
    end(p);
}

// What create can't have: it says so, and leaves nothing.
CASE(test_create_without_descriptors)
{
    int failed;
    weft_pool *p =
        made_without_descriptors<weft_pool>([] { return weft_pool_create(1, nullptr); }, &failed);
    assert_true(failed >= 3);
    weft_pool_terminate(p); // its supervisor may lack what it needs
    weft_pool_join(p, WEFT_FOREVER);
    assert_int_equal(weft_pool_destroy(p), 0);
}

CASE(test_create_without_memory)
{
    if (RUNNER_SANITIZED) // they need all addresses for themselves
        return;
    struct rlimit before, little;
    getrlimit(RLIMIT_AS, &before);
    little = before;
    little.rlim_cur = 100 << 20;
    assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
    weft_pool *p = weft_pool_create(1, nullptr);
    int error = errno;
    setrlimit(RLIMIT_AS, &before);
    assert_null(p);
    assert_int_equal(error, ENOMEM);
}

// In a child that is somebody of whom there may be two processes: itself and the supervisor.
static int pool_without_workers(void)
{
    const struct rlimit two = {2, 2};
    uid_t nobody_else = 1000000000 + (uid_t)getpid();
    if (setresuid(nobody_else, nobody_else, nobody_else) != 0 || setrlimit(RLIMIT_NPROC, &two) != 0)
        return 1;
    int x = 3, y;
    weft_pool_counters s;
    weft_pool *p = weft_pool_create(2, nullptr);
    if (p == nullptr)
        return 2;
    if (weft_pool_apply(p, square, &x, sizeof x, &y, sizeof y, WEFT_FOREVER) != -1 ||
        errno != EAGAIN)
        return 3;
    weft_pool_statistics(p, &s);
    if (s.fork_error != EAGAIN || s.forked != 0)
        return 4;
    weft_pool_close(p);
    if (weft_pool_join(p, WEFT_FOREVER) != -1 || errno != EAGAIN)
        return 5;
    return weft_pool_destroy(p) == 0 ? 0 : 6;
}

CASE(test_no_process_for_a_worker)
{
    if (RUNNER_SANITIZED || geteuid() != 0) // they have threads of their own; who can be another
        return;
    pid_t child = fork();
    if (child == 0)
        _exit(pool_without_workers());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

RUN_POOL_CASES()
