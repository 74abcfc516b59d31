// runner.h: cmocka for weft's tests, each under an alarm that names it.
//
//     CASE(test_mutex_lock_twice)
//     {
//         assert_int_equal(...);
//     }
//     RUN_CASES()
//
// A test that hangs is ended after RUNNER_SECONDS (environment; default 60, and
// four times that under a sanitizer) with its name on standard error.
// Assertions belong in the test's main thread and process.
#ifndef WEFT_TEST_RUNNER_H
#define WEFT_TEST_RUNNER_H

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif
#include <cmocka.h>
#ifdef __cplusplus
}
#endif

#ifndef RUNNER_EMULATED
#define RUNNER_EMULATED 0
#endif
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define RUNNER_TSAN 1
#define RUNNER_SANITIZED 1
#elif defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define RUNNER_TSAN 0
#define RUNNER_SANITIZED 1
#else
#define RUNNER_TSAN 0
#define RUNNER_SANITIZED 0
#endif

static const char *runner_test;

static inline void runner_hung(int sig)
{
    static const char head[] = "\nhung, ended by its alarm: ";
    ssize_t n = write(STDERR_FILENO, head, sizeof head - 1);
    n = write(STDERR_FILENO, runner_test, strlen(runner_test));
    n = write(STDERR_FILENO, "\n", 1);
    (void)n;
    signal(sig, SIG_DFL);
    abort();
}

static inline void runner_alarm(void)
{
    const char *seconds = getenv("RUNNER_SECONDS");
    int n = seconds != NULL ? atoi(seconds) : 60;
    signal(SIGALRM, runner_hung);
    alarm((unsigned)n * (RUNNER_SANITIZED ? 4 : 1));
}

// ---- Processes ----

// Forks; the child dies with the thread that did it, and of its own alarm.
static inline pid_t runner_fork(void)
{
    pid_t parent = getpid(), child = fork();
    if (child < 0) {
        perror("fork");
        abort();
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        runner_alarm();
    }
    return child;
}

// The child runs fn(arg) and exits with its result.
static inline pid_t child_of(int (*fn)(void *arg), void *arg)
{
    pid_t p = runner_fork();
    if (p == 0)
        _exit(fn(arg));
    return p;
}

// Its exit status, or 256 and the signal that killed it.
static inline int end_of(pid_t p)
{
    int status;
    if (waitpid(p, &status, 0) != p)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static inline void kill_and_reap(pid_t p)
{
    kill(p, SIGKILL);
    waitpid(p, NULL, 0);
}

// ---- What a test leaves behind ----

// The cases run in a child of the program, which is its subreaper: orphans become its children, not
// the test's.
enum { RUNNER_CHILDREN = 64 };
static pid_t runner_before[RUNNER_CHILDREN];

// Adds the children of a process to the ids, of which there are n: how many there are then.
static inline int runner_children(pid_t parent, pid_t *ids, int n)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/task", parent);
    DIR *threads = opendir(path);
    for (struct dirent *t; threads != NULL && (t = readdir(threads)) != NULL;) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/children", parent, t->d_name);
        FILE *f = t->d_name[0] != '.' ? fopen(path, "re") : NULL;
        while (f != NULL && n < RUNNER_CHILDREN && fscanf(f, "%d", &ids[n]) == 1)
            n++;
        if (f != NULL)
            fclose(f);
    }
    if (threads != NULL)
        closedir(threads);
    return n;
}

static inline bool runner_was_there(pid_t id)
{
    for (pid_t before : runner_before)
        if (before == id)
            return true;
    return false;
}

// A child, or orphan, that is alive and was not there before; 0: none is.  What has ended is
// reaped.
static inline pid_t runner_left(void)
{
    pid_t now[RUNNER_CHILDREN], left = 0;
    int own = runner_children(getpid(), now, 0), all = runner_children(getppid(), now, own);
    for (int i = 0; i < all; i++)
        if (now[i] != getpid() && !runner_was_there(now[i]) &&
            (i >= own || waitpid(now[i], NULL, WNOHANG) == 0))
            left = now[i];
    return left;
}

// What dies as its parent has died may take a moment.
static inline bool runner_left_none(void)
{
    pid_t left = runner_left();
    for (time_t end = time(NULL) + 20; left != 0 && time(NULL) < end; left = runner_left())
        usleep(1000);
    if (left == 0)
        return true;
    char command[64];
    snprintf(command, sizeof command, "ps -o pid,ppid,pgid,stat,args -p %d >&2", left);
    fprintf(stderr, "left behind: process %d\n", left);
    (void)!system(command);
    kill_and_reap(left);
    return false;
}

// Kills the orphans, and theirs, that cases which ended early have left.
static inline void runner_kill_orphans(void)
{
    pid_t ids[RUNNER_CHILDREN];
    for (int n; (n = runner_children(getpid(), ids, 0)) > 0;)
        while (n > 0)
            kill_and_reap(ids[--n]);
}

// Reaps orphans until the child with the cases has ended: its exit status.
static inline int runner_watch(pid_t cases)
{
    int status = 0;
    for (pid_t ended = 0; ended != cases; ended = waitpid(-1, &status, 0))
        if (ended < 0)
            return 1;
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "%s: ended by signal %d\n", program_invocation_name, WTERMSIG(status));
        runner_kill_orphans();
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

// ---- The beginning and the end of a test ----

static inline int runner_begin(void **state)
{
    runner_test = (const char *)*state;
    memset(runner_before, 0, sizeof runner_before);
    runner_children(getppid(), runner_before, runner_children(getpid(), runner_before, 0));
    runner_alarm();
    return 0;
}

static inline int runner_end(void **)
{
    bool well = runner_left_none();
    alarm(0);
    return well ? 0 : -1;
}

// A test: it runs with those of its file, in their order.
#define CASE(fn) CASE_BETWEEN(fn, runner_begin, runner_end)

// One with a beginning and an end besides the alarm's, which they call.
#define CASE_BETWEEN(fn, begin, end)                                                               \
    static void fn(void **state);                                                                  \
    static const bool added_##fn [[maybe_unused]] = runner_add(#fn, fn, begin, end);               \
    static void fn(void **)

// One that is called by `around`.
#define CASE_IN(fn, around)                                                                        \
    static void fn##_itself(void);                                                                 \
    CASE(fn)                                                                                       \
    {                                                                                              \
        around(fn##_itself);                                                                       \
    }                                                                                              \
    static void fn##_itself(void)

enum { RUNNER_MOST = 100 };
static struct CMUnitTest runner_cases[RUNNER_MOST];
static size_t runner_count;

static inline bool runner_add(const char *name, void (*fn)(void **state), int (*begin)(void **),
                              int (*end)(void **))
{
    if (runner_count == RUNNER_MOST)
        abort();
    runner_cases[runner_count++] = {name, fn, begin, end, (void *)(uintptr_t)name};
    return true;
}

// As in a terminal: nohup(1), a shell's background jobs and interpreters leave signals ignored.
static inline void runner_signals(void)
{
    static const int often_ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTSTP};
    for (int each : often_ignored)
        signal(each, SIG_DFL);
}

// Runs them all, between `setup` and `teardown`.  `prefix`: what they are run on, for their names.
static inline int run_cases(int (*setup)(void **) = nullptr, int (*teardown)(void **) = nullptr,
                            const char *prefix = nullptr)
{
    static char names[RUNNER_MOST][100];
    struct CMUnitTest tests[RUNNER_MOST];
    fflush(NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t child = fork();
    if (child != 0)
        return runner_watch(child);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0); // where somebody is stopped, the kernel may send SIGHUP to the whole group
    runner_signals();
    memcpy(tests, runner_cases, sizeof tests);
    for (size_t i = 0; prefix != nullptr && i < runner_count; i++) {
        snprintf(names[i], sizeof names[i], "%s: %s", prefix, tests[i].name);
        tests[i].name = names[i];
        tests[i].initial_state = names[i];
    }
    exit(_cmocka_run_group_tests(prefix != nullptr ? prefix : "tests", tests, runner_count, setup,
                                 teardown));
}

// The main function of a test: what it returns.
#define RUN_BY(run)                                                                                \
    int main(void)                                                                                 \
    {                                                                                              \
        return run;                                                                                \
    }

#define RUN_CASES(...) RUN_BY(run_cases(__VA_ARGS__))

// How many of eight threads that run fn(arg) at the same time return something.
static inline int eight_at_once(void *(*fn)(void *arg), void *arg)
{
    pthread_t t[8];
    int n = 0;
    for (pthread_t &each : t)
        assert_int_equal(pthread_create(&each, NULL, fn, arg), 0);
    for (pthread_t &each : t) {
        void *result = NULL;
        pthread_join(each, &result);
        n += result != NULL;
    }
    return n;
}

// Whether /proc says that a process, or thread, sleeps; also when it is gone.
static inline bool is_asleep(pid_t id)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)id);
    FILE *f = fopen(path, "r");
    if (f == nullptr)
        return true;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    const char *end = strrchr(text, ')'); // the name may hold anything
    return end != nullptr && end[1] == ' ' && end[2] == 'S';
}

static inline void await_asleep(pid_t id)
{
    while (!is_asleep(id))
        usleep(100);
}

// ---- What is asserted ----

// What a failing call returns: -1; a pointer NULL, or WEFT_FAILED where NULL is a value.
static inline bool runner_failed(intptr_t result)
{
    return result == -1;
}
static inline bool runner_failed(const void *result)
{
    return result == NULL || (intptr_t)result == -1;
}

// Fails unless the expression fails with this errno.
#define assert_errno(expression, error)                                                            \
    do {                                                                                           \
        errno = 0;                                                                                 \
        assert_true(runner_failed(expression));                                                    \
        assert_int_equal(errno, error);                                                            \
    } while (0)

#endif
