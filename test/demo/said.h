// said.h: run a demo by a shell, and look at what it said.
//
// Tests run in a scratch folder with the demos (from WEFT_BIN) first on PATH; the tree's
// own files are linked there, so that they can be named.
#ifndef WEFT_TEST_SAID_H
#define WEFT_TEST_SAID_H

#include "../runner.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char said[1 << 20]; // what the last command wrote to standard output
static char scratch[] = "/tmp/weft-demo-XXXXXX";

// Runs a shell command; its exit status, or 128 + the signal that ended it.
static inline int run(const char *command)
{
    FILE *p = popen(command, "r");
    if (p == nullptr)
        return -1;
    size_t n = fread(said, 1, sizeof said - 1, p);
    said[n] = 0;
    int status = pclose(p);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// The same, with what is to be put in, as by printf(3).
__attribute__((format(printf, 1, 2))) static inline int run_with(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    return n < (int)sizeof command ? run(command) : -1;
}

// The same, with a status that it must end with.
__attribute__((format(printf, 2, 3))) static inline void ends_with(int status, const char *format,
                                                                   ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_true(n < (int)sizeof command);
    int ended = run(command);
    if (ended != status)
        fail_msg("%s: ends with %d", command, ended);
}

static inline void says_part(const char *part)
{
    if (strstr(said, part) == nullptr)
        fail_msg("\"%s\" is not in: %s", part, said);
}

static inline int lines(void)
{
    int n = 0;
    for (const char *c = said; (c = strchr(c, '\n')) != nullptr; c++)
        n++;
    return n;
}

// Each is refused with one line, and 2.
template <size_t N>
static inline void assert_refuses(const char *program, const char *const (&options)[N])
{
    for (const char *each : options) {
        assert_int_equal(run_with("%s %s 2>&1", program, each), 2);
        assert_int_equal(lines(), 1);
    }
}

static inline const char *last_line(void)
{
    static char line[4096];
    size_t end = strlen(said);
    while (end > 0 && said[end - 1] == '\n')
        end--;
    size_t begin = end;
    while (begin > 0 && said[begin - 1] != '\n')
        begin--;
    snprintf(line, sizeof line, "%.*s", (int)(end - begin), said + begin);
    return line;
}

static inline int enter_scratch(void **)
{
    char path[2 * PATH_MAX], tree[PATH_MAX];
    const char *bin = getenv("WEFT_BIN");
    if (bin == nullptr || getcwd(tree, sizeof tree) == nullptr || mkdtemp(scratch) == nullptr)
        return -1;
    snprintf(path, sizeof path, "%s:%s", bin, getenv("PATH"));
    setenv("PATH", path, 1);
    setenv("LC_ALL", "C", 1);
    if (chdir(scratch) != 0)
        return -1;
    snprintf(path, sizeof path, "ln -s '%s'/* .", tree);
    return run(path);
}

static inline int leave_scratch(void **)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", scratch);
    return chdir("/") != 0 ? -1 : run(command);
}

#endif
