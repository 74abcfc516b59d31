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

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif
#include <cmocka.h>
#ifdef __cplusplus
}
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RUNNER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RUNNER_SANITIZED 1
#endif
#endif
#ifndef RUNNER_SANITIZED
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

static inline int runner_begin(void **state)
{
    const char *seconds = getenv("RUNNER_SECONDS");
    int n = seconds != NULL ? atoi(seconds) : 60;
    runner_test = (const char *)*state;
    signal(SIGALRM, runner_hung);
    alarm((unsigned)n * (RUNNER_SANITIZED ? 4 : 1));
    return 0;
}

static inline int runner_end(void **state)
{
    (void)state;
    alarm(0);
    return 0;
}

// A test: it runs with those of its file, in their order.
#define CASE(fn) CASE_BETWEEN(fn, runner_begin, runner_end)

// One with a beginning and an end besides the alarm's, which they call.
#define CASE_BETWEEN(fn, begin, end)                                                               \
    static void fn(void **state);                                                                  \
    static const bool added_##fn [[maybe_unused]] = runner_add(#fn, fn, begin, end);               \
    static void fn(void **)

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

// Runs them all, between `setup` and `teardown`.  `prefix`: what they are run on, for their names.
static inline int run_cases(int (*setup)(void **) = nullptr, int (*teardown)(void **) = nullptr,
                            const char *prefix = nullptr)
{
    static char names[RUNNER_MOST][100];
    struct CMUnitTest tests[RUNNER_MOST];
    memcpy(tests, runner_cases, sizeof tests);
    for (size_t i = 0; prefix != nullptr && i < runner_count; i++) {
        snprintf(names[i], sizeof names[i], "%s: %s", prefix, tests[i].name);
        tests[i].name = names[i];
        tests[i].initial_state = names[i];
    }
    return _cmocka_run_group_tests(prefix != nullptr ? prefix : "tests", tests, runner_count, setup,
                                   teardown);
}

#define RUN_CASES(...)                                                                             \
    int main(void)                                                                                 \
    {                                                                                              \
        return run_cases(__VA_ARGS__);                                                             \
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
