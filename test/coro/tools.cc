// What debuggers see: gdb's backtrace ends at the base frame, Valgrind knows the stacks.
//
// The program runs itself under each tool that is installed.  A sanitizer's build does not go
// with either; there the tools are left out.
#include <weft/generator.h>

#include "../runner.h"

#include <errno.h>
#include <stdio.h>

static void stop_here(void)
{
    raise(SIGTRAP);
}

static __attribute__((noinline)) void innermost(int depth)
{
    if (depth > 0)
        innermost(depth - 1);
    else
        stop_here();
    __asm__ volatile(""); // no tail call: each frame stays
}

static void *coroutine_body(void *arg, void *first)
{
    (void)arg;
    innermost(3);
    return first;
}

static void *echo(void *arg, void *v)
{
    char *held = (char *)malloc(10);
    (void)arg;
    for (int i = 0; v != WEFT_FAILED; i++) {
        held[i % 10] = (char)i;
        v = weft_coro_yield(v);
    }
    free(held);
    return v;
}

static int count(weft_generator *g, void *arg)
{
    (void)arg;
    for (int i = 0; weft_generator_yield(g, &i) == 0; i++)
        ;
    return errno;
}

// What Valgrind watches: transfers of every kind, reused stacks, both kinds of stack.
static int work(void)
{
    weft_coro *some[10];
    int item = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10; i++)
            some[i] = weft_coro_create(echo, NULL, NULL);
        for (int n = 0; n < 5; n++)
            for (int i = 0; i < 10; i++)
                if (weft_coro_resume(some[i], &item) != &item)
                    return 1;
        for (int i = 0; i < 10; i++)
            if (weft_coro_cancel(some[i]) != 0 || weft_coro_destroy(some[i]) != 0)
                return 2;
    }
    weft_generator *g = weft_generator_create(count, NULL, sizeof(int), NULL);
    for (int i = 0; i < 10; i++)
        if (weft_generator_next(g, &item) != 1 || item != i)
            return 3;
    return weft_generator_destroy(g);
}

// The output of a shell command about this program, and its exit status.
static int output_of(const char *format, const char *mode, char text[16384])
{
    char self[512] = "", line[2048];
    size_t n = 0;
    if (readlink("/proc/self/exe", self, sizeof self - 1) <= 0)
        return -1;
    snprintf(line, sizeof line, format, self, mode);
    FILE *p = popen(line, "re");
    while (p != NULL && n < 16383 && (text[n] = (char)fgetc(p)) != (char)EOF && !feof(p))
        n++;
    text[n] = 0;
    return p != NULL ? pclose(p) : -1;
}

static int installed(const char *tool)
{
    char line[64];
    snprintf(line, sizeof line, "command -v %s >/dev/null 2>&1", tool);
    if (RUNNER_SANITIZED)
        return 0;
    if (system(line) == 0)
        return 1;
    print_message("%s is not installed: left out\n", tool);
    return 0;
}

// Whether the tool said so: the test is left out then, which is told with the reason.
static bool says(const char *text, const char *sign, const char *reason)
{
    if (strstr(text, sign) == NULL)
        return false;
    print_message("%s: left out\n", reason);
    return true;
}

CASE(test_gdb_backtrace_ends_at_the_base_frame)
{
    static char text[16384];
    if (!installed("gdb"))
        return;
    output_of("gdb -nx -batch -ex run -ex bt --args %s %s 2>&1 </dev/null", "stop", text);
    if (says(text, "ptrace", "gdb may not trace here"))
        return;
    assert_non_null(strstr(text, "innermost"));
    assert_non_null(strstr(text, "coroutine_body"));
    assert_non_null(strstr(text, "coro_begin"));
    assert_null(strstr(text, "corrupt"));
    assert_null(strstr(text, "Backtrace stopped"));
    // Only the backend's first steps lie above (libc's end in a frame of zero).
    const char *base = strstr(text, "coro_begin");
    int frames = 0;
    for (const char *p = base; (p = strstr(p, "\n#")) != NULL; p++)
        frames++;
    assert_true(frames <= 3);
}

CASE(test_valgrind_finds_nothing)
{
    static char text[16384];
    if (!installed("valgrind"))
        return;
    int status =
        output_of("valgrind --error-exitcode=9 --leak-check=full %s %s 2>&1", "work", text);
    if (says(text, "debuginfo reader: ensure_valid failed",
             "this valgrind can't read this compiler's debug information"))
        return;
    assert_null(strstr(text, "switching stacks"));
    assert_null(strstr(text, "linux syscall"));
    assert_non_null(strstr(text, "ERROR SUMMARY: 0 errors"));
    assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "stop") == 0)
        return weft_coro_resume(weft_coro_create(coroutine_body, NULL, NULL), NULL) != NULL;
    if (argc > 1 && strcmp(argv[1], "work") == 0)
        return work();
    return run_cases();
}
