// Stacks: options, reuse, guards by each method, the overflow report.
#include "stacks.h"

using namespace weft;

// ---- Options ----

static void *report_local(void *arg, void *v)
{
    *(uintptr_t *)arg = (uintptr_t)__builtin_frame_address(0);
    return v;
}

CASE(test_callers_stack_is_used)
{
    const size_t size = 131072;
    char *memory = (char *)malloc(size);
    uintptr_t local = 0;
    weft_coro_options opts = {};
    opts.stack = memory + 3; // any alignment does
    opts.stack_size = size - 3;
    weft_coro *co = weft_coro_create(report_local, &local, &opts);
    assert_ptr_equal(weft_coro_resume(co, V(1)), V(1));
    assert_true(local >= (uintptr_t)memory && local < (uintptr_t)memory + size);
    assert_true((char *)co >= memory && (char *)co < memory + size);
    assert_int_equal(weft_coro_destroy(co), 0);
    free(memory);
}

CASE(test_stack_size_is_what_was_asked)
{
    const size_t sizes[] = {16384, 16385, 100000, 1 << 20, 16 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        weft_coro_options opts = {};
        opts.stack_size = sizes[i];
        weft_coro *co = weft_coro_create(use, V(7), &opts);
        assert_non_null(co);
        // All but guard, record and a few KiB; a sanitizer's frames are larger.
        intptr_t depth =
            (intptr_t)(sizes[i] - 8192 - co->stack.guard) / (RUNNER_SANITIZED ? 2400 : 1200);
        assert_ptr_equal(weft_coro_resume(co, V(depth)), V(7));
        weft_coro_destroy(co);
    }
}

CASE(test_a_stack_is_reused_last_in_first_out)
{
    a = create(echo);
    b = create(echo);
    destroy(a);
    destroy(b);
    weft_coro *first = create(echo), *second = create(echo);
    assert_ptr_equal(first, b);
    assert_ptr_equal(second, a);
    destroy(first);
    destroy(second);
}

// ---- Guards ----

CASE(test_each_stack_is_guarded)
{
    size_t maps = 0;
    assert_ptr_equal(run_in_thread(create_some, &maps), V(100));
}

CASE(test_each_stack_is_guarded_one_by_one)
{
    size_t maps = 0;
    stacks_force(GUARD_ONE_BY_ONE, 0);
    void *good = run_in_thread(create_some, &maps);
    stacks_force(GUARD_BEST, 0);
    assert_ptr_equal(good, V(100));
}

CASE(test_each_stack_is_guarded_by_mprotect)
{
    size_t maps = 0, before = mappings();
    stacks_force(GUARD_MPROTECT, 0);
    void *good = run_in_thread(create_some, &maps);
    stacks_force(GUARD_BEST, 0);
    assert_ptr_equal(good, V(100));
    assert_true(maps >= before + 150); // two a stack, neighbours share
}

CASE(test_locked_memory_falls_back_to_mprotect)
{
    size_t maps = 0;
    if (mlockall(MCL_FUTURE | MCL_ONFAULT) != 0) {
        assert_true(errno == EPERM || errno == ENOMEM); // RLIMIT_MEMLOCK
        return;
    }
    void *good = run_in_thread(create_some, &maps);
    assert_int_equal(munlockall(), 0);
    assert_ptr_equal(good, V(100));
}

// ---- Overflow, in a child process ----

static void *overflow(void *arg, void *v)
{
    volatile char page[512];
    page[0] = (char)(intptr_t)v;
    if (v == arg)
        return v;
    void *r = overflow(arg, V((intptr_t)v + 1));
    return V((intptr_t)r + page[0]);
}

static void *overflow_in_one_leap(void *arg, void *v)
{
    volatile char large[300000];
    for (size_t i = 0; i < sizeof large; i += 100)
        large[i] = (char)(intptr_t)v;
    return V((intptr_t)arg + large[100]);
}

typedef void *(*body)(void *, void *);

static void own_handler(int sig, siginfo_t *info, void *context)
{
    static const char text[] = "own handler\n";
    (void)sig, (void)info, (void)context;
    ssize_t n = write(STDERR_FILENO, text, sizeof text - 1);
    (void)n;
    _exit(42);
}

static void *poke(void *arg, void *v)
{
    *(volatile int *)arg = (int)(intptr_t)v;
    return v;
}

// Runs fn in a coroutine of a child that reports overflows; its standard error in `text`.
static int child(body fn, void *arg, const char *name, int own, char text[512])
{
    int p[2], status = 0;
    assert_int_equal(pipe(p), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(p[1], STDERR_FILENO);
        weft_coro_options opts = {};
        opts.name = name;
        opts.stack_size = SIZE;
        struct sigaction sa = {};
        sa.sa_sigaction = own_handler;
        sa.sa_flags = SA_SIGINFO;
        if (own)
            sigaction(SIGSEGV, &sa, NULL);
        else
            signal(SIGSEGV, SIG_DFL);
        if (weft_coro_report_overflow() != 0 || weft_coro_report_overflow() != 0)
            _exit(1);
        weft_coro_resume(weft_coro_create(fn, arg, &opts), NULL);
        _exit(0);
    }
    close(p[1]);
    size_t n = 0;
    for (ssize_t got; (got = read(p[0], text + n, 511 - n)) > 0;)
        n += (size_t)got;
    text[n] = 0;
    if (strstr(text, "qemu: ") != NULL) // an emulator has its own words on the end
        *strstr(text, "qemu: ") = 0;
    close(p[0]);
    waitpid(pid, &status, 0);
    return status;
}

static void *send_oneself(void *, void *v)
{
    raise(SIGSEGV); // sent, not caused
    return v;
}

#define REPORT(name) "weft: stack overflow in coroutine \"" name "\" (" KIB " KiB stack)\n"

// Who reports what; the process ends by SIGSEGV but where the program's own handler ends it.
CASE(test_overflow_is_reported_and_other_faults_are_not)
{
    static const struct {
        body fn;
        intptr_t arg;
        const char *name;
        int own; // handler
        const char *said;
    } cases[] = {{overflow, -1, "deep", 0, REPORT("deep")},
                 {overflow, -1, NULL, 0, REPORT("(unnamed)")},
                 {overflow, -1, "deep", 1, REPORT("deep")}, // ours, whoever has a handler
                 // Built with -fstack-clash-protection a large frame can't jump the guard.
                 {overflow_in_one_leap, 0, "leap", 0, REPORT("leap")},
                 {poke, 4096, "wild", 0, ""},
                 {poke, 4096, "wild", 1, "own handler\n"},
                 {send_oneself, 0, NULL, 0, ""}};
    for (const auto &each : cases) {
        char text[512];
        int status = child(each.fn, V(each.arg), each.name, each.own, text);
        assert_string_equal(text, each.said);
        if (strcmp(each.said, "own handler\n") == 0)
            assert_int_equal(status, 42 << 8);
        else
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    }
}

static void *report_in_thread(void *arg)
{
    stack_t s;
    (void)arg;
    if (weft_coro_report_overflow() != 0 || sigaltstack(NULL, &s) != 0)
        return V(0);
    return V(!(s.ss_flags & SS_DISABLE));
}

CASE(test_report_gives_the_thread_a_signal_stack)
{
    struct sigaction segv, bus;
    sigaction(SIGSEGV, NULL, &segv);
    sigaction(SIGBUS, NULL, &bus);
    assert_ptr_equal(run_in_thread(report_in_thread, NULL), V(1));
    sigaction(SIGSEGV, &segv, NULL);
    sigaction(SIGBUS, &bus, NULL);
}

RUN_CASES()
