// Stacks by the thousand: the limit of mappings, what is kept warm, what a trim gives back.
#include "stacks.h"

#include <sys/resource.h>

using namespace weft;

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
            assert_true(RUNNER_EMULATED || u.addresses[2] < u.addresses[0] + 8192);
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

RUN_CASES()
