// Stacks: guards by each method, limits, reuse, memory at scale, the overflow report.
#include <coro/coroutine.h>
#include <weft/coro.h>

#include "../runner.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

using namespace weft;

#define V(n) ((void *)(intptr_t)(n))

static void *echo(void *arg, void *v)
{
    (void)arg;
    while (v != WEFT_FAILED)
        v = weft_coro_yield(v);
    return v;
}

static void *run_in_thread(void *(*fn)(void *), void *arg)
{
    pthread_t t;
    void *result = NULL;
    assert_int_equal(pthread_create(&t, NULL, fn, arg), 0);
    assert_int_equal(pthread_join(t, &result), 0);
    return result;
}

static size_t read_number(const char *path, const char *line)
{
    char text[512] = "";
    size_t n = 0;
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(text, sizeof text, f) != NULL)
        if (line == NULL)
            n++;
        else if (strncmp(text, line, strlen(line)) == 0)
            n = strtoul(text + strlen(line), NULL, 10);
    if (f != NULL)
        fclose(f);
    return n;
}

static size_t mappings(void)
{
    return read_number("/proc/self/maps", NULL);
}

static size_t resident_kib(void)
{
    return read_number("/proc/self/status", "VmRSS:");
}

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

// Uses some 1,100 bytes of stack a step.
static void *use(void *arg, void *v)
{
    volatile char room[1024];
    intptr_t depth = (intptr_t)v;
    for (size_t i = 0; i < sizeof room; i += 64)
        room[i] = 0;
    if (depth == 0)
        return arg;
    return V((intptr_t)use(arg, V(depth - 1)) + room[64]);
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
    weft_coro *a = weft_coro_create(echo, NULL, NULL), *b = weft_coro_create(echo, NULL, NULL);
    weft_coro_destroy(a);
    weft_coro_destroy(b);
    weft_coro *first = weft_coro_create(echo, NULL, NULL);
    weft_coro *second = weft_coro_create(echo, NULL, NULL);
    assert_ptr_equal(first, b);
    assert_ptr_equal(second, a);
    weft_coro_destroy(first);
    weft_coro_destroy(second);
}

// ---- Guards: the kernel says whether one is there ----

// A read(2) into the guard fails with EFAULT, without a signal; just above it, it does not.
static int guarded(const weft_coro *co)
{
    const stack *s = &co->stack;
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    int above = read(fd, s->low + s->guard, 1) == 1;
    int low = read(fd, s->low, 1) == -1 && errno == EFAULT;
    int high = read(fd, s->low + s->guard - 1, 1) == -1 && errno == EFAULT;
    close(fd);
    return above && low && high;
}

// The default, as the overflow report has it.
#define SIZE STACK_DEFAULT
#ifdef __aarch64__
#define KIB "128"
#else
#define KIB "64"
#endif

static void *create_some(void *arg)
{
    weft_coro_options opts = {};
    intptr_t good = 0;
    weft_coro *some[100];
    opts.stack_size = SIZE;
    for (int i = 0; i < 100; i++) {
        some[i] = weft_coro_create(echo, NULL, &opts);
        if (some[i] == NULL)
            return V(-1);
    }
    size_t before = mappings();
    for (int i = 0; i < 100; i++)
        good += guarded(some[i]) && weft_coro_resume(some[i], V(i)) == V(i);
    *(size_t *)arg = before;
    for (int i = 0; i < 100; i++)
        weft_coro_destroy(some[i]);
    return V(good);
}

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

// ---- The limit of mappings ----

typedef struct {
    int created, error;
    char *dump;
    int can_map;
} limit;

static void *create_to_the_limit(void *arg)
{
    limit *l = (limit *)arg;
    size_t size = 0;
    weft_coro_options opts = {};
    opts.stack_size = 16384;
    while (l->created < 100000 && weft_coro_create(echo, NULL, &opts) != NULL)
        l->created++;
    l->error = errno;
    FILE *out = open_memstream(&l->dump, &size);
    weft_coro_dump(out);
    fclose(out);
    // The rest of the process goes on.
    void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    l->can_map = p != MAP_FAILED;
    munmap(p, 4096);
    return NULL;
}

CASE(test_limit_of_mappings_is_enomem)
{
    limit l = {0, 0, NULL, 0};
    size_t allowed = 0;
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
    assert_int_equal(fscanf(f, "%zu", &allowed), 1);
    fclose(f);
    if (RUNNER_SANITIZED || allowed > 150000) // TSan has 8,128 fibers
        allowed = 12000;
    stacks_force(GUARD_MPROTECT, allowed);
    run_in_thread(create_to_the_limit, &l);
    stacks_force(GUARD_BEST, 0);
    assert_int_equal(l.error, ENOMEM);
    assert_true((size_t)l.created < allowed / 2);
    assert_true((size_t)l.created >= (allowed - 4096) / 2 - 100);
    assert_non_null(strstr(l.dump, "vm.max_map_count"));
    assert_int_equal(l.can_map, 1);
    free(l.dump);
    // The thread's end gave them all back.
    size_t maps = 0;
    stacks_force(GUARD_MPROTECT, 0);
    void *good = run_in_thread(create_some, &maps);
    stacks_force(GUARD_BEST, 0);
    assert_ptr_equal(good, V(100));
}

// ---- Scale ----

// MADV_GUARD_INSTALL, Linux 6.13: many stacks in few mappings.  (qemu takes all advice.)
static int kernel_marks_guards(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    int marks = madvise(p, 4096, 102) == 0 && read(fd, p, 1) == -1;
    close(fd);
    munmap(p, 4096);
    return marks;
}

CASE(test_many_again_and_again_without_growth)
{
    const int n = RUNNER_SANITIZED ? 500 : 20000, rounds = RUNNER_SANITIZED ? 10 : 20;
    size_t first = 0, last = 0;
    weft_coro **some = (weft_coro **)calloc((size_t)n, sizeof *some);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < n; i++) {
            some[i] = weft_coro_create(echo, NULL, NULL);
            assert_non_null(some[i]);
        }
        for (int i = 0; i < n; i += 7)
            assert_ptr_equal(weft_coro_resume(some[i], V(i)), V(i));
        for (int i = 0; i < n; i++)
            weft_coro_destroy(some[i]);
        last = resident_kib();
        if (round == 1)
            first = last;
    }
    free(some);
    // ASan keeps what was freed aside.
    assert_true(last < first + first / 10 + (RUNNER_SANITIZED ? 65536 : 1024));
    if (kernel_marks_guards() && !RUNNER_SANITIZED)
        assert_true(mappings() < 150);
}

CASE(test_a_million_in_turn)
{
    const int n = RUNNER_SANITIZED ? 5000 : 1000000, rounds = RUNNER_SANITIZED ? 2 : 10;
    size_t first = 0;
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < n / 10; i++) {
            weft_coro *some[10];
            for (int k = 0; k < 10; k++)
                some[k] = weft_coro_create(echo, NULL, NULL);
            for (int k = 0; k < 10; k++)
                weft_coro_destroy(some[k]);
        }
        if (round == 0)
            first = resident_kib();
    }
    assert_true(resident_kib() <
                first + (RUNNER_SANITIZED ? 400 << 10 : 1024)); // ASan's quarantine
}

typedef struct {
    size_t before, alive, warm, trimmed, kept; // resident KiB
    size_t addresses[3], tables;               // before, alive, trimmed; KiB
    size_t largest;                            // the size of every other one's stack
    int n;
} usage;

// Creates n that use some 25 KiB each, destroys them, trims.
static void *use_and_destroy(void *arg)
{
    usage *u = (usage *)arg;
    weft_coro **some = (weft_coro **)calloc((size_t)u->n, sizeof *some);
    u->before = resident_kib();
    u->addresses[0] = read_number("/proc/self/status", "VmSize:");
    for (int i = 0; i < u->n; i++) {
        weft_coro_options opts = {};
        opts.stack_size = i % 2 ? u->largest : 0;
        some[i] = weft_coro_create(use, NULL, &opts);
        weft_coro_resume(some[i], V(24));
    }
    u->alive = resident_kib();
    u->addresses[1] = read_number("/proc/self/status", "VmSize:");
    for (int i = 0; i < u->n; i++)
        weft_coro_destroy(some[i]);
    free(some);
    u->warm = resident_kib();
    errno = 6;
    weft_coro_trim();
    u->trimmed = errno == 6 ? resident_kib() : SIZE_MAX;
    u->addresses[2] = read_number("/proc/self/status", "VmSize:");
    u->tables = read_number("/proc/self/status", "VmPTE:");
    // There are stacks again, with their guards.
    weft_coro *co = weft_coro_create(echo, NULL, NULL);
    void *good = V(guarded(co) && weft_coro_resume(co, V(3)) == V(3));
    weft_coro_destroy(co);
    return good;
}

CASE(test_warm_stacks_are_limited_and_trim_gives_all_back)
{
    const size_t each = 24;
    if (RUNNER_SANITIZED) // whose own memory is in the way
        return;
    for (int sizes = 1; sizes <= 2; sizes++)
        for (int how = GUARD_BEST; how <= GUARD_MPROTECT; how += GUARD_MPROTECT) {
            usage u = {};
            u.n = 3000;
            u.largest = SIZE * (size_t)sizes;
            stacks_force(how, 0);
            void *good = run_in_thread(use_and_destroy, &u);
            stacks_force(GUARD_BEST, 0);
            assert_ptr_equal(good, V(1));
            assert_true(u.alive > u.before + 3000 * each);
            size_t stack = (u.alive - u.before) / 3000 + 1;
            assert_true(u.warm < u.before + 1024 * stack + 1024);
            assert_true(u.trimmed < u.before + 8192); // ucontext: what malloc keeps
            assert_true(u.addresses[1] > u.addresses[0] + 3000 * 64);
            assert_true(u.addresses[2] < u.addresses[0] + 8192);
        }
}

// One that is alive keeps its own mapping, and only that.
CASE(test_trim_spares_what_is_in_use)
{
    weft_coro *some[2000];
    for (int i = 0; i < 2000; i++)
        assert_non_null(some[i] = weft_coro_create(echo, NULL, NULL));
    assert_ptr_equal(weft_coro_resume(some[3], V(5)), V(5));
    for (int i = 0; i < 2000; i++)
        if (i != 3)
            weft_coro_destroy(some[i]);
    size_t before = read_number("/proc/self/status", "VmSize:");
    weft_coro_trim();
    if (!RUNNER_SANITIZED)
        assert_true(read_number("/proc/self/status", "VmSize:") + 1000 * (SIZE >> 10) < before);
    assert_ptr_equal(weft_coro_resume(some[3], V(6)), V(6));
    assert_int_equal(weft_coro_destroy(some[3]), 0);
    for (int i = 0; i < 2000; i++) {
        assert_non_null(some[i] = weft_coro_create(echo, NULL, NULL));
        if (i % 100 == 0)
            assert_int_equal(guarded(some[i]), 1);
    }
    for (int i = 0; i < 2000; i++)
        weft_coro_destroy(some[i]);
}

// What ended last of one kind is no obstacle to the others.
static void *take_turns(void *arg)
{
    const size_t extras[] = {0, 48, 96};
    const coro_thread *t = weft_coro_self()->thread;
    (void)arg;
    for (size_t extra : extras) {
        weft_coro *some[SPARES + 16];
        for (weft_coro *&co : some)
            co = coro_create(echo, NULL, NULL, extra);
        for (weft_coro *co : some)
            coro_release(co);
    }
    for (size_t extra : extras) {
        size_t before = 0, after = 0;
        for (const spare_list &each : t->spares)
            before += each.count;
        weft_coro *co = coro_create(echo, NULL, NULL, extra);
        for (const spare_list &each : t->spares)
            after += each.count;
        if (!(t->watched | t->valgrind) && (before != 3 * SPARES || after != before - 1))
            return V(1);
        coro_release(co);
    }
    return NULL;
}

CASE(test_each_kind_has_its_spares)
{
    assert_null(run_in_thread(take_turns, NULL));
}

// mmap says EAGAIN when it would lock more than allowed.
CASE(test_locked_memory_that_is_refused_is_enomem)
{
    if (RUNNER_SANITIZED)
        return;
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit few = {4 << 20, 4 << 20};
        limit l = {0, 0, NULL, 0};
        if (setrlimit(RLIMIT_MEMLOCK, &few) != 0 || (geteuid() == 0 && setuid(65534) != 0) ||
            mlockall(MCL_FUTURE) != 0)
            _exit(77);
        create_to_the_limit(&l);
        _exit(l.error == ENOMEM && strstr(l.dump, "mmap") != NULL ? 0 : l.error);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != 77)
        assert_int_equal(WEXITSTATUS(status), 0);
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

CASE(test_overflow_is_reported)
{
    char text[512];
    int status = child(overflow, V(-1), "deep", 0, text);
    assert_string_equal(text, "weft: stack overflow in coroutine \"deep\" (" KIB " KiB stack)\n");
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
    status = child(overflow, V(-1), NULL, 0, text);
    assert_string_equal(text,
                        "weft: stack overflow in coroutine \"(unnamed)\" (" KIB " KiB stack)\n");
    assert_true(WIFSIGNALED(status));
}

// Built with -fstack-clash-protection a large frame can't jump the guard.
CASE(test_overflow_by_a_large_frame)
{
    char text[512];
    int status = child(overflow_in_one_leap, NULL, "leap", 0, text);
    assert_string_equal(text, "weft: stack overflow in coroutine \"leap\" (" KIB " KiB stack)\n");
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

CASE(test_other_faults_go_to_the_programs_own_handler)
{
    char text[512];
    int status = child(poke, V(4096), "wild", 1, text);
    assert_string_equal(text, "own handler\n");
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    status = child(poke, V(4096), "wild", 0, text);
    assert_string_equal(text, "");
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
    // An overflow is ours, whoever else has a handler.
    status = child(overflow, V(-1), "deep", 1, text);
    assert_string_equal(text, "weft: stack overflow in coroutine \"deep\" (" KIB " KiB stack)\n");
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static void *send_oneself(void *arg, void *v)
{
    (void)arg;
    raise(SIGSEGV); // sent, not caused
    return v;
}

CASE(test_a_sent_sigsegv_still_kills)
{
    char text[512];
    int status = child(send_oneself, NULL, NULL, 0, text);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
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
