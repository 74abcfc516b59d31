// cmocka.h: as much of cmocka as weft's coroutine tests use, for processors whose cmocka
// is not at hand (make check-aarch64).  A failure names its place and ends its test.
#ifndef WEFT_TEST_AARCH64_CMOCKA_H
#define WEFT_TEST_AARCH64_CMOCKA_H

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
    int (*setup)(void **state);
    int (*teardown)(void **state);
    void *initial_state;
};

#define RUNNER_EMULATED 1 // another's memory lies beside ours

static jmp_buf standin_failure;

#define print_message(...) printf(__VA_ARGS__)
#define fail_msg(...)                                                                              \
    (printf("[  ERROR   ] %s:%d: ", __FILE__, __LINE__), printf(__VA_ARGS__), printf("\n"),        \
     longjmp(standin_failure, 1))
#define standin_assert(what, text)                                                                 \
    do {                                                                                           \
        if (!(what))                                                                               \
            fail_msg("%s", text);                                                                  \
    } while (0)

#define assert_true(x) standin_assert(x, #x)
#define assert_false(x) standin_assert(!(x), "not " #x)
#define assert_null(x) standin_assert((x) == NULL, #x " is NULL")
#define assert_non_null(x) standin_assert((x) != NULL, #x " is not NULL")
#define assert_int_equal(a, b)                                                                     \
    standin_assert((unsigned long long)(a) == (unsigned long long)(b), #a " == " #b)
#define assert_ptr_equal(a, b) standin_assert((const void *)(a) == (const void *)(b), #a " == " #b)
#define assert_string_equal(a, b) standin_assert(strcmp(a, b) == 0, #a " == " #b)

static inline int standin_run(const struct CMUnitTest *t)
{
    void *state = t->initial_state;
    printf("[ RUN      ] %s\n", t->name);
    fflush(stdout);
    if (t->setup != NULL && t->setup(&state) != 0)
        return 1;
    int failed = setjmp(standin_failure);
    if (failed == 0)
        t->run(&state);
    if (t->teardown != NULL)
        t->teardown(&state);
    printf("[ %s ] %s\n", failed ? " FAILED " : "      OK", t->name);
    return failed;
}

// The coroutine tests have nothing to do before the first test and after the last one.
static inline int _cmocka_run_group_tests(const char *, const struct CMUnitTest *tests, size_t n,
                                          int (*)(void **), int (*)(void **))
{
    int failed = 0;
    for (size_t i = 0; i < n; i++)
        failed += standin_run(&tests[i]);
    printf("[  %s  ] %d of %d test(s).\n", failed ? "FAILED" : "PASSED", failed ? failed : (int)n,
           (int)n);
    return failed;
}

#endif
