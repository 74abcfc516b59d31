// runner.h: cmocka for weft's tests, each under an alarm that names it.
//
//     static void test_mutex_lock_twice(void **state) { ... }
//     int main(void)
//     {
//         const struct CMUnitTest tests[] = {TEST(test_mutex_lock_twice)};
//         return cmocka_run_group_tests(tests, NULL, NULL);
//     }
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

#define TEST(fn)                                                                                   \
    {                                                                                              \
#fn, fn, runner_begin, runner_end, (void *)(uintptr_t)(#fn)                                \
    }

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
