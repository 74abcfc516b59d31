// operation.h: one use of the library, whole, that is tried where things are missing or go wrong.
//
// It gives its right result or fails cleanly, and in any case gives up what it has made: a census
// before and after tells.
#ifndef WEFT_TEST_OPERATION_H
#define WEFT_TEST_OPERATION_H

#include "descriptors.h"

#include <weft/deadline.h>

#include "descriptors.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef RUNNER_SANITIZED
#define RUNNER_SANITIZED 0
#endif

struct operation {
    const char *name;
    int (*act)(void);  // 0: right; an errno: it failed; or WRONG
    const char *needs; // the sandboxes in which it may fail with the sandbox's errno
};

// What an operation gave that is neither right nor a failure: the line says what.
enum {
    LEFT_DESCRIPTOR = 2000,
    LEFT_MAPPING,
    LEFT_CHILD,
    LEFT_MEMORY,
    NO_SANDBOX,
    DIED,
    LINES = 10000
};
#define WRONG (LINES + __LINE__)

// The result of an operation that has come to its end.
#define RIGHT_IF(condition) ((condition) ? 0 : WRONG)

static inline weft_deadline soon(void)
{
    return weft_in_ms(20);
}

static inline weft_deadline late(void)
{
    return weft_in_s(RUNNER_SANITIZED ? 30 : 8);
}

// ---- What is left ----

struct census {
    int descriptors;
    size_t mapped; // bytes, but for heap and stack
};

static inline struct census census_now(void)
{
    struct census c = {open_descriptors(), 0};
    char line[512];
    (void)!getrandom(line, 1, 0); // glibc 2.41 maps something at a thread's first
    unsigned long from, to;
    FILE *f = fopen("/proc/self/maps", "re");
    while (fgets(line, sizeof line, f) != NULL)
        if (!RUNNER_SANITIZED && strchr(line, '[') == NULL &&
            sscanf(line, "%lx-%lx", &from, &to) == 2)
            c.mapped += to - from;
    fclose(f);
    return c;
}

// 0, or what is left.
static inline int left_since(const struct census *before)
{
    struct census now = census_now();
    if (now.descriptors != before->descriptors)
        return LEFT_DESCRIPTOR;
    if (now.mapped != before->mapped)
        return LEFT_MAPPING;
    return wait4(-1, NULL, WNOHANG, NULL) != -1 ? LEFT_CHILD : 0;
}

// For people; valid until the next call.
static inline const char *result_text(int result)
{
    static const char *const left[] = {"left a descriptor", "left a mapping", "left a child",
                                       "left memory",       "no sandbox",     "died or hung"};
    static char line[32];
    snprintf(line, sizeof line, "wrong, line %d", result - LINES);
    return result >= LINES             ? line
           : result >= LEFT_DESCRIPTOR ? left[result - LEFT_DESCRIPTOR]
                                       : strerror(result);
}

#endif
