// Executors in processes that fork and exit.
#include "../shm/processes.h"
#include "executing.h"

#include <sys/resource.h>

// The children exit with tasks and all.
extern "C" const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

static void never_called(size_t, void *)
{
    abort();
}

static weft_future *parents; // runs in the parent

static int use_inherited(void *)
{
    weft_future f;
    int fails = 0;
    fails += weft_executor_submit(ex, same, NULL, WEFT_NOW) == NULL && errno == EPERM;
    fails += weft_executor_submit(ex, same, NULL, WEFT_FOREVER) == NULL && errno == EPERM;
    fails += weft_executor_submit_at(ex, &f, same, NULL, WEFT_NOW) == -1 && errno == EPERM;
    fails += weft_executor_map(ex, never_called, NULL, 9, WEFT_FOREVER) == -1 && errno == EPERM;
    fails += weft_executor_wait(ex, WEFT_FOREVER) == -1 && errno == EPERM;
    fails += weft_executor_resize(ex, 3) == -1 && errno == EPERM;
    weft_executor_counters c;
    fails += weft_executor_statistics(ex, &c) == -1 && errno == EPERM;
    fails += weft_executor_fd(ex) == -1 && errno == EPERM;
    fails += shut(ex, WEFT_DISCARD, WEFT_FOREVER) == -1 && errno == EPERM;
    fails += finish(ex, WEFT_DISCARD) == -1 && errno == EPERM;
    fails += weft_future_get(parents, NULL, WEFT_FOREVER) == -1 && errno == EPERM;
    fails += weft_future_cancel(parents) == -1 && errno == EPERM;
    return fails;
}

static int own_executor(void *)
{
    if (RUNNER_SANITIZED) // which can't, in a child of threads: their locks are as they were
        return 0;
    weft_executor *own = weft_executor_create(2, NULL);
    weft_future *f = own != NULL ? weft_executor_submit(own, same, &ex, WEFT_NOW) : NULL;
    void *result = NULL;
    if (f == NULL || weft_future_get(f, &result, WEFT_FOREVER) != 0)
        return 1;
    return result != &ex || weft_executor_destroy(own) != 0;
}

static void *fork_in_task(void *arg)
{
    int (*fn)(void *) = *(int (**)(void *))arg;
    int code = end_of(child_of(fn, NULL));
    return (void *)(intptr_t)code;
}

CASE(test_a_forked_child_is_refused_and_has_its_own)
{
    weft_event open = WEFT_EVENT_INIT;
    begin(2);
    parents = weft_executor_submit(ex, pass, &open, WEFT_NOW);
    assert_int_equal(end_of(child_of(use_inherited, NULL)), 12);
    assert_int_equal(end_of(child_of(own_executor, NULL)), 0);
    int (*in_task[])(void *) = {use_inherited, own_executor};
    for (int i = 0; i < 2; i++) {
        void *code = NULL;
        weft_future *f = weft_executor_submit(ex, fork_in_task, &in_task[i], WEFT_NOW);
        assert_int_equal(weft_future_get(f, &code, WEFT_FOREVER), 0);
        assert_int_equal((intptr_t)code, i == 0 ? 12 : 0);
    }
    weft_event_set(&open);
    assert_int_equal(weft_future_get(parents, NULL, WEFT_FOREVER), 0);
    end();
}

// ---- Promises ----

static weft_future *promises[3]; // kept before the fork; not; not, and watched
static weft_completions *inherited;

static void not_called(weft_future *, void *)
{
    abort();
}

static int refused(intptr_t code)
{
    return code == -1 && errno == EPERM;
}

static int refused(void *result)
{
    return result == NULL && errno == EPERM;
}

static int use_promises(void *)
{
    int fails = 0;
    void *result = NULL;
    for (int i = 1; i < 3; i++) {
        weft_future *f = promises[i];
        fails += refused(weft_future_set(f, f)) + refused(weft_future_cancel(f));
        fails += refused(weft_future_wait(f, WEFT_FOREVER));
        fails += refused(weft_future_wait_any(&f, 1, WEFT_FOREVER));
        fails += refused(weft_future_fd(f)) + refused(weft_future_then(f, not_called, NULL));
        fails += refused(weft_completions_add(inherited, promises[0]));
        fails += weft_future_state(f) == WEFT_FUTURE_PENDING && weft_future_release(f) == 0;
    }
    fails += refused(weft_completions_next(inherited, WEFT_FOREVER));
    fails += refused(weft_completions_destroy(inherited));
    fails += weft_future_get(promises[0], &result, WEFT_NOW) == 0 && result == &ex;
    return fails;
}

// Beside its own.
static int use_own_promise(void *)
{
    weft_future *own = weft_future_create(), *both[] = {promises[1], own};
    weft_completions *c = weft_completions_create();
    int fails = weft_future_wait_any(both, 2, weft_in_ms(1)) == -1 && errno == ETIMEDOUT;
    fails += refused(weft_completions_add(c, promises[1]));
    fails += weft_completions_add(c, promises[0]) == 0;
    fails += weft_completions_next(c, WEFT_FOREVER) == promises[0];
    fails += weft_future_set(own, NULL) == 0;
    fails += weft_future_wait_any(both, 2, WEFT_FOREVER) == 1;
    return fails + (weft_future_release(own) == 0) + (weft_completions_destroy(c) == 0);
}

static void *watch_for_ever(void *)
{
    while (weft_future_wait_any(&promises[1], 2, weft_in_us(10)) == -1)
        ;
    return NULL;
}

// Beside a thread that always has one of their locks, or is about to.
CASE(test_promises_are_not_for_a_forked_child)
{
    inherited = weft_completions_create();
    for (weft_future *&f : promises)
        f = weft_future_create();
    assert_int_equal(weft_future_set(promises[0], &ex), 0);
    assert_int_equal(weft_completions_add(inherited, promises[2]), 0);
    weft_thread *t = weft_thread_start(watch_for_ever, NULL, NULL);
    for (int i = 0; i < (RUNNER_SANITIZED ? 10 : 50); i++) {
        assert_int_equal(end_of(child_of(use_promises, NULL)), 19);
        assert_int_equal(end_of(child_of(use_own_promise, NULL)), 8);
    }
    assert_int_equal(weft_future_set(promises[1], NULL), 0);
    assert_int_equal(weft_thread_join(t, NULL, WEFT_FOREVER), 0);
    assert_int_equal(weft_future_set(promises[2], NULL), 0);
    assert_ptr_equal(weft_completions_next(inherited, WEFT_FOREVER), promises[2]);
    assert_int_equal(weft_completions_destroy(inherited), 0);
    for (weft_future *f : promises)
        weft_future_release(f);
}

// The child's task returns: there is nobody to go on with, so the process ends.
static void *fork_and_return(void *arg)
{
    pid_t *child = (pid_t *)arg;
    *child = fork();
    return arg;
}

CASE(test_a_task_that_forks_and_returns_in_both)
{
    pid_t child;
    int n = 0;
    begin(1);
    weft_future *f = weft_executor_submit(ex, fork_and_return, &child, WEFT_NOW);
    for (int i = 0; i < 100; i++) // which the child is not to run
        weft_future_release(weft_executor_submit(ex, same, &n, WEFT_NOW));
    assert_int_equal(weft_future_get(f, NULL, WEFT_FOREVER), 0);
    assert_true(child > 0);
    assert_int_equal(end_of(child), 0);
    end();
}

namespace {
struct forking_map {
    pthread_t caller;
    weft_event held; // a worker, until the child has ended
    pid_t child;     // 0 in itself
    bool forked;
    int holds, strays, status; // workers in a part; calls in the child after the fork
};
} // namespace

static void fork_in_part(size_t, size_t, void *arg)
{
    forking_map *m = (forking_map *)arg;
    if (!pthread_equal(pthread_self(), m->caller)) {
        add_word(&m->holds);
        weft_event_wait(&m->held, WEFT_FOREVER);
    } else if (m->forked) {
        m->strays += m->child == 0;
    } else {
        await_word(&m->holds, 1);
        m->forked = true;
        m->child = runner_fork();
        m->status = m->child > 0 ? end_of(m->child) : 0;
        weft_event_set(&m->held);
    }
}

// In the child it fails at once, and gives out nothing more.
CASE(test_a_map_whose_own_part_forks)
{
    for (int i = 0; i < 10; i++) {
        forking_map m = {pthread_self(), WEFT_EVENT_INIT, 0, false, 0, 0, -1};
        begin(1 + i % 3);
        int code = weft_executor_map_ranges(ex, fork_in_part, &m, 100, 1, WEFT_FOREVER);
        if (m.child == 0)
            _exit(code == -1 && errno == EPERM ? m.strays : 100);
        assert_int_equal(code, 0);
        assert_int_equal(m.status, 0);
        end();
    }
}

static void *submit_for_ever(void *arg)
{
    weft_future_release(weft_executor_submit(ex, submit_for_ever, arg, WEFT_NOW));
    add_word((int *)arg);
    return arg;
}

static void *exit_7(void *)
{
    exit(7);
}

// exit(3) waits for no task, and no lock of the library.
static int exits(void *in_task)
{
    int n = 0;
    weft_event never = WEFT_EVENT_INIT;
    ex = weft_executor_create(3, NULL);
    weft_executor_submit(ex, pass, &never, WEFT_NOW);
    weft_executor_submit(ex, submit_for_ever, &n, WEFT_NOW);
    await_word(&n, 100);
    if (in_task != NULL)
        weft_future_wait(weft_executor_submit(ex, exit_7, NULL, WEFT_NOW), WEFT_FOREVER);
    exit(7);
}

CASE(test_exit_while_tasks_run)
{
    for (int i = 0; i < 10 && !RUNNER_TSAN; i++)
        assert_int_equal(end_of(child_of(exits, i % 2 ? &ex : NULL)), 7);
}

// ---- No threads ----

static void *wait_for_either(void *arg)
{
    weft_future *f[] = {weft_executor_submit(ex, same, arg, WEFT_NOW),
                        weft_executor_submit(ex, same, arg, WEFT_NOW)};
    ssize_t code = weft_future_wait_any(f, 2, WEFT_FOREVER); // so it runs neither
    return code == -1 && (errno == EAGAIN || errno == ENOMEM) ? arg : NULL;
}

static void *wait_among(void *arg)
{
    weft_completions *c = weft_completions_create();
    weft_future *f = weft_executor_submit(ex, same, arg, WEFT_NOW);
    bool told = weft_completions_add(c, f) == 0 && weft_completions_next(c, WEFT_FOREVER) == NULL &&
                (errno == EAGAIN || errno == ENOMEM);
    return told ? arg : NULL;
}

static void *wait_for_room(void *arg)
{
    while (weft_executor_submit(ex, same, arg, WEFT_NOW) != NULL) {
    }
    weft_future *f = weft_executor_submit(ex, same, arg, WEFT_FOREVER);
    return f == NULL && (errno == EAGAIN || errno == ENOMEM) ? arg : NULL;
}

static int limited_memory(void *task)
{
    long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    weft_executor_options o = {};
    o.stack_size = (size_t)256 << 20;
    o.spares = -1;
    o.backlog = 2;
    ex = weft_executor_create(1, &o);
    if (ex == NULL || statm == NULL || fscanf(statm, "%ld", &pages) != 1)
        return 1;
    rlim_t now = (rlim_t)pages * 4096 + (rlim_t)(100 << 20);
    struct rlimit most = {now, now};
    void *told = NULL;
    if (setrlimit(RLIMIT_AS, &most) != 0)
        return 2;
    weft_future *f = weft_executor_submit(ex, *(void *(**)(void *))task, &ex, WEFT_NOW);
    if (weft_future_get(f, &told, WEFT_FOREVER) != 0)
        return 3;
    return told != &ex || weft_executor_destroy(ex) != 0;
}

CASE(test_a_wait_for_a_thread_that_is_not_to_be_had)
{
    static void *(*const waits[])(void *) = {wait_for_either, wait_among, wait_for_room};
    for (int i = 0; i < 3 && !RUNNER_SANITIZED; i++)
        assert_int_equal(end_of(child_of(limited_memory, (void *)&waits[i])), 0);
}

RUN_CASES()
