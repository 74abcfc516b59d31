// The pool among threads, signals, output and event loops.
#include "pool_tasks.h"

#include <fcntl.h>
#include <sys/stat.h>

// ---- Callbacks and the descriptor ----

static void note_result(weft_result *r, void *arg)
{
    *(int *)arg += 1000 + get(r);
}

CASE(test_then_and_dispatch)
{
    int a = 0, b = 0;
    weft_pool *p = pool_of(1, nullptr);
    assert_int_equal(weft_pool_dispatch(p, WEFT_FOREVER), 0); // nothing to wait for
    weft_result *r = start(p, square_behind_gate, 3);
    assert_errno(weft_result_then(r, nullptr, nullptr), EINVAL);
    assert_int_equal(weft_result_then(r, note_result, &a), 0);
    assert_errno(weft_result_then(r, note_result, &a), EBUSY);
    assert_errno(weft_pool_dispatch(p, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_pool_dispatch(p, weft_in_ms(5)), ETIMEDOUT);
    add(&shared->gate, 1);
    assert_int_equal(weft_pool_dispatch(p, WEFT_FOREVER), 1);
    assert_int_equal(a, 1009);
    // At once when it has ended.
    r = start(p, square, 4);
    weft_result_wait(r, nullptr, WEFT_FOREVER);
    assert_int_equal(weft_result_then(r, note_result, &b), 0);
    assert_int_equal(b, 1016);
    assert_int_equal(weft_pool_dispatch(p, WEFT_FOREVER), 0);
    end(p);
}

static void note_error(weft_result *r, void *arg)
{
    *(int *)arg = weft_result_get(r, nullptr, WEFT_NOW) == 0 ? -1 : errno;
}

CASE(test_then_cancelled_and_lost)
{
    int cancelled = 0, lost = 0;
    weft_pool *p = pool_of(1, nullptr);
    weft_result *running = start(p, square_behind_gate, 3), *queued = start(p, square, 1);
    await(&shared->entered, 1);
    assert_int_equal(weft_result_then(running, note_error, &lost), 0);
    assert_int_equal(weft_result_then(queued, note_error, &cancelled), 0);
    assert_int_equal(weft_result_cancel(queued), 0);
    assert_int_equal(weft_pool_dispatch(p, WEFT_FOREVER), 1);
    assert_int_equal(cancelled, ECANCELED);
    assert_int_equal(weft_pool_terminate(p), 0);
    assert_int_equal(weft_pool_join(p, WEFT_FOREVER), 0); // calls back too
    assert_int_equal(lost, ECANCELED);
    assert_errno(weft_pool_dispatch(p, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_pool_destroy(p), 0);
}

CASE(test_join_calls_back)
{
    enum { N = 200 };
    int sums[N] = {};
    weft_pool *p = pool_of(2, nullptr);
    for (int i = 0; i < N; i++)
        assert_int_equal(weft_result_then(start(p, square, i), note_result, &sums[i]), 0);
    end(p);
    for (int i = 0; i < N; i++)
        assert_int_equal(sums[i], 1000 + i * i);
}

CASE(test_fd)
{
    weft_pool *p = pool_of(1, nullptr);
    struct pollfd f = {weft_pool_fd(p), POLLIN, 0};
    assert_true(f.fd >= 0);
    assert_int_equal(weft_pool_fd(p), f.fd);
    assert_int_equal(poll(&f, 1, 0), 0);
    weft_result *r = start(p, square, 5);
    assert_int_equal(poll(&f, 1, -1), 1);
    assert_int_equal(weft_pool_dispatch(p, WEFT_NOW), 0);
    assert_int_equal(poll(&f, 1, 0), 0);
    assert_int_equal(get(r), 25);
    weft_pool_close(p);
    assert_int_equal(poll(&f, 1, -1), 1); // the supervisor has ended
    end(p);
}

// ---- In company ----

static int send_self_sigint(const void *, size_t, void *, size_t)
{
    raise(SIGINT);
    raise(SIGQUIT);
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, nullptr, &blocked);
    struct sigaction a;
    sigaction(SIGUSR1, nullptr, &a);
    return sigismember(&blocked, SIGTERM) || a.sa_handler != SIG_DFL ? EPROTO : 0;
}

static void do_nothing(int)
{
}

CASE(test_signals_of_workers)
{
    sigset_t term, before;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    signal(SIGUSR1, do_nothing);
    sigprocmask(SIG_BLOCK, &term, &before);
    weft_pool *p = pool_of(1, nullptr);
    sigprocmask(SIG_SETMASK, &before, nullptr);
    signal(SIGUSR1, SIG_DFL);
    assert_int_equal(weft_pool_apply(p, send_self_sigint, nullptr, 0, nullptr, 0, WEFT_FOREVER), 0);
    end(p);
}

static int print_it(const void *arg, size_t n, void *, size_t)
{
    printf("%.*s", (int)n, (const char *)arg);
    return 0;
}

CASE(test_standard_output_of_tasks)
{
    int from, saved = take_output(&from);
    printf("first ");
    weft_pool *p = weft_pool_create(1, nullptr);
    weft_pool_apply(p, print_it, "task ", 5, nullptr, 0, WEFT_FOREVER);
    printf("last");
    give_output_back(saved, from, "first task last");
    end(p);
}

// A process that the program forks has no say in its pool.
CASE(test_not_in_a_child)
{
    int x = 2, status;
    weft_pool *p = pool_of(1, nullptr);
    weft_result *r = start(p, square, 3);
    pid_t pid = fork();
    if (pid == 0) {
        weft_pool_counters s;
        int wrong = 0;
        wrong += weft_pool_apply_async(p, square, &x, 4, 4, WEFT_NOW) != nullptr || errno != EPERM;
        wrong += weft_result_get(r, &x, WEFT_FOREVER) == 0 || errno != EPERM;
        wrong += weft_pool_close(p) == 0 || errno != EPERM;
        wrong += weft_pool_join(p, WEFT_FOREVER) == 0 || errno != EPERM;
        wrong += weft_pool_terminate(p) == 0 || errno != EPERM;
        wrong += weft_pool_destroy(p) == 0 || errno != EPERM;
        wrong += weft_pool_statistics(p, &s) == 0 || errno != EPERM;
        wrong += weft_result_cancel(r) == 0 || errno != EPERM;
        _exit(wrong);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(get(r), 9);
    end(p);
}

enum { THREADS = 4, EACH = 1500 };

static void *use_pool(void *arg)
{
    weft_pool *p = (weft_pool *)arg;
    weft_result *r[30];
    intptr_t wrong = 0;
    for (int i = 0; i < EACH; i += 30) {
        for (int k = 0; k < 30; k++) {
            int x = i + k;
            r[k] = weft_pool_apply_async(p, square, &x, sizeof x, sizeof x, WEFT_FOREVER);
        }
        for (int k = 0; k < 30; k++) {
            int y = 0;
            wrong += weft_result_get(r[k], &y, WEFT_FOREVER) != 0 || y != (i + k) * (i + k);
        }
    }
    return (void *)wrong;
}

CASE(test_many_threads)
{
    weft_pool_options o = {};
    weft_pool_counters s;
    weft_thread *t[THREADS];
    void *wrong;
    o.slots = 128;
    weft_pool *p = pool_of(2, &o);
    for (weft_thread *&thread : t)
        thread = weft_thread_start(use_pool, p, nullptr);
    for (weft_thread *thread : t) {
        assert_int_equal(weft_thread_join(thread, &wrong, WEFT_FOREVER), 0);
        assert_null(wrong);
    }
    assert_int_equal(weft_pool_statistics(p, &s), 0);
    assert_int_equal(s.submitted, THREADS * EACH);
    assert_int_equal(s.done, THREADS * EACH);
    assert_int_equal(s.lost + s.timed_out + s.retried + s.deaths, 0);
    assert_int_equal(s.pending, 0);
    end(p);
}

CASE(test_stat_and_worker)
{
    weft_pool_counters s;
    bool busy = false;
    pid_t pid;
    weft_pool *p = pool_of(1, nullptr);
    assert_errno(weft_pool_statistics(p, nullptr), EINVAL);
    assert_errno(weft_pool_worker(p, SIZE_MAX, nullptr), EINVAL);
    assert_errno(weft_pool_worker(p, 1, nullptr), EINVAL);
    assert_int_equal(weft_pool_apply(p, tell_pid, nullptr, 0, &pid, sizeof pid, WEFT_FOREVER), 0);
    assert_int_equal(weft_pool_worker(p, 0, &busy), pid);
    assert_false(busy);
    weft_result *r = start(p, square_behind_gate, 2), *next = start(p, square, 3);
    await(&shared->entered, 1);
    assert_int_equal(weft_pool_worker(p, 0, &busy), pid);
    assert_true(busy);
    assert_int_equal(weft_pool_statistics(p, &s), 0);
    assert_int_equal(s.busy, 1);
    assert_int_equal(s.alive, 1);
    assert_int_equal(s.pending, 1);
    assert_int_equal(s.submitted, 3);
    assert_int_equal(s.done, 1);
    add(&shared->gate, 1);
    assert_int_equal(get(r) + get(next), 13);
    weft_pool_close(p);
    weft_pool_join(p, WEFT_FOREVER);
    assert_errno(weft_pool_worker(p, 0, nullptr), ESRCH);
    end(p);
}

static int allocate(const void *arg, size_t, void *result, size_t)
{
    unsigned sum = 0;
    for (int i = 1; i < 50; i++) {
        unsigned char *m = (unsigned char *)malloc((size_t)i * 40);
        if (m == nullptr)
            return ENOMEM;
        memset(m, i, (size_t)i * 40);
        sum += m[i];
        free(m);
    }
    *(unsigned *)result = sum + *(const unsigned *)arg;
    return 0;
}

static int keep_allocating = 1;

static void *allocate_on(void *)
{
    while (__atomic_load_n(&keep_allocating, __ATOMIC_SEQ_CST))
        free(malloc(1000));
    return nullptr;
}

CASE(test_create_among_threads)
{
    weft_thread *t[4];
    for (weft_thread *&thread : t)
        thread = weft_thread_start(allocate_on, nullptr, nullptr);
    for (int round = 0; round < 15; round++) {
        weft_pool *p = pool_of(2, nullptr);
        for (int i = 0; i < 20; i++)
            assert_int_equal(get(start(p, allocate, i)), 49 * 50 / 2 + i);
        pid_t worker = weft_pool_worker(p, 0, nullptr);
        if (worker > 0) // -1 would be everybody
            kill(worker, SIGKILL);
        end(p);
    }
    __atomic_store_n(&keep_allocating, 0, __ATOMIC_SEQ_CST);
    for (weft_thread *thread : t)
        assert_int_equal(weft_thread_join(thread, nullptr, WEFT_FOREVER), 0);
}

// ---- Descriptors and stops ----

// As what daemonises does: closes what it does not know, and opens a file under those numbers.
static int write_own_file(const void *, size_t, void *, size_t)
{
    static int file = -1;
    if (file < 0) {
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        for (int fd = 3; fd < 16; fd++)
            file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
        for (int fd = 3; fd < file; fd++)
            dup2(file, fd);
    }
    return write(file, "mine\n", 5) == 5 ? 0 : EIO;
}

static int size_of_own_file(const void *, size_t, void *result, size_t)
{
    struct stat s;
    *(int *)result = fstat(3, &s) == 0 ? (int)s.st_size : -1;
    return 0;
}

static void told_by_descriptor(weft_pool *p, weft_pool_fn fn)
{
    weft_result *r = weft_pool_apply_async(p, fn, NULL, 0, 0, WEFT_NOW);
    struct pollfd f = {weft_pool_fd(p), POLLIN, 0};
    while (weft_result_poll(r) != 1) {
        assert_int_equal(poll(&f, 1, -1), 1);
        weft_pool_dispatch(p, WEFT_NOW);
    }
    assert_int_equal(weft_result_get(r, NULL, WEFT_FOREVER), 0);
}

CASE(test_a_tasks_own_file_is_spared)
{
    int size = -1;
    weft_pool *p = pool_of(1, NULL);
    assert_true(weft_pool_fd(p) >= 0); // ends are to be told by descriptor
    for (int i = 0; i < 4; i++)
        assert_int_equal(weft_pool_apply(p, write_own_file, NULL, 0, NULL, 0, WEFT_FOREVER), 0);
    assert_int_equal(
        weft_pool_apply(p, size_of_own_file, NULL, 0, &size, sizeof size, WEFT_FOREVER), 0);
    assert_int_equal(size, 4 * 5);
    told_by_descriptor(p, write_own_file); // ... and they are told all the same
    weft_pool_close(p);
    assert_int_equal(weft_pool_join(p, WEFT_FOREVER), 0);
    assert_int_equal(weft_pool_destroy(p), 0);
}

static int become_nobody(const void *, size_t, void *, size_t)
{
    return geteuid() != 0 || setresuid(65534, 65534, 65534) == 0 ? 0 : errno;
}

// A worker without the right to signal its supervisor.
CASE(test_a_task_gives_up_its_rights)
{
    weft_pool *p = pool_of(1, NULL);
    assert_true(weft_pool_fd(p) >= 0);
    for (int i = 0; i < 5; i++)
        told_by_descriptor(p, become_nobody);
    weft_pool_close(p);
    assert_int_equal(weft_pool_join(p, WEFT_FOREVER), 0);
    assert_int_equal(weft_pool_destroy(p), 0);
}

// What the program itself does is nothing to hear of.
CASE(test_fd_says_nothing_of_a_release)
{
    weft_pool *p = pool_of(1, NULL);
    int x = 3, y;
    struct pollfd f = {weft_pool_fd(p), POLLIN, 0};
    for (int i = 0; i < 20; i++) {
        weft_result *r = weft_pool_apply_async(p, square, &x, sizeof x, sizeof y, WEFT_NOW);
        assert_int_equal(poll(&f, 1, -1), 1);
        weft_pool_dispatch(p, WEFT_NOW);
        assert_true(weft_result_poll(r) == 1);
        assert_int_equal(weft_result_get(r, &y, WEFT_NOW), 0);
        assert_int_equal(poll(&f, 1, 0), 0);
    }
    weft_pool_close(p);
    assert_int_equal(weft_pool_join(p, WEFT_FOREVER), 0);
    assert_int_equal(weft_pool_destroy(p), 0);
}

static char state_of(pid_t pid)
{
    char path[32], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (f != NULL && fgets(text, sizeof text, f) == NULL)
        text[0] = 0;
    if (f != NULL)
        fclose(f);
    const char *name_end = strrchr(text, ')');
    return name_end != NULL ? name_end[2] : 0;
}

// The limit of a task's time is about the time in which it can run.
CASE(test_a_stopped_worker_has_time)
{
    weft_pool_options o = {};
    o.task_ns = 1000000000;
    weft_pool *p = pool_of(1, &o);
    int x = 5, y = 0;
    bool busy;
    weft_result *r = weft_pool_apply_async(p, square_behind_gate, &x, sizeof x, sizeof y, WEFT_NOW);
    await(&shared->entered, 1);
    pid_t worker = weft_pool_worker(p, 0, &busy);
    assert_int_equal(kill(worker, SIGSTOP), 0);
    while (state_of(worker) != 'T')
        usleep(1000);
    assert_errno(weft_result_get(r, &y, weft_in_ms(1400)), ETIMEDOUT);
    assert_int_equal(state_of(worker), 'T');
    __atomic_store_n(&shared->gate, 1, __ATOMIC_SEQ_CST);
    assert_int_equal(kill(worker, SIGCONT), 0);
    assert_int_equal(weft_result_get(r, &y, WEFT_FOREVER), 0);
    assert_int_equal(y, 25);
    weft_pool_close(p);
    assert_int_equal(weft_pool_join(p, WEFT_FOREVER), 0);
    assert_int_equal(weft_pool_destroy(p), 0);
}

RUN_POOL_CASES()
