// million.cc: `weft-coroutines million` and `overflow`: what a guarded stack costs, and does.
//
// Each coroutine runs to a yield, so that its stack is in use; then all are resumed.
#include "../verbs.h"

#include <weft/coro.h>
#include <weft/deadline.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static long resident_bytes(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != nullptr && fscanf(f, "%*s %ld", &pages) != 1)
        pages = 0;
    if (f != nullptr)
        fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

static long mappings(void)
{
    long lines = 0;
    FILE *f = fopen("/proc/self/maps", "re");
    for (int c; f != nullptr && (c = getc(f)) != EOF;)
        lines += c == '\n';
    if (f != nullptr)
        fclose(f);
    return lines;
}

static void *answer_once(void *, void *question)
{
    return weft_coro_yield(question);
}

static int million(long n)
{
    weft_coro **all = (weft_coro **)calloc(n > 0 ? (size_t)n : 1, sizeof *all);
    if (all == nullptr)
        options_fail("weft-coroutines: million");
    for (long i = 0; i < n; i++)
        all[i] = nullptr; // not part of what a coroutine takes
    long before = resident_bytes();
    int64_t start = weft_now();
    for (long i = 0; i < n; i++) {
        all[i] = weft_coro_create(answer_once, nullptr, nullptr);
        if (all[i] == nullptr) {
            weft_coro_dump(stderr);
            options_fail("weft-coroutines: million");
        }
        weft_coro_resume(all[i], all[i]);
    }
    int64_t created = weft_now();
    long after = resident_bytes(), maps = mappings(), alive = 0;
    int64_t resuming = weft_now();
    for (long i = 0; i < n; i++)
        alive += weft_coro_resume(all[i], all[i]) == all[i];
    int64_t resumed = weft_now();
    double each = n > 0 ? (double)n : 1;
    printf("create and run to a yield  %8.0f ns each\n", (double)(created - start) / each);
    printf("resume                     %8.1f ns each\n", (double)(resumed - resuming) / each);
    printf("resident memory            %8.0f bytes each\n", (double)(after - before) / each);
    printf("memory mappings            %8ld in all\n", maps);
    printf("%ld coroutines alive at once, all guarded\n", alive);
    for (long i = 0; i < n; i++)
        weft_coro_destroy(all[i]);
    free(all);
    return alive != n;
}

// Deeper and deeper; never inlined, and each frame is needed after the call.
__attribute__((noinline)) static void *descend(void *depth, void *)
{
    volatile char frame[1024];
    frame[0] = (char)(intptr_t)depth;
    void *deeper = (intptr_t)depth < 0 ? nullptr : descend((void *)((intptr_t)depth + 1), nullptr);
    return frame[0] != 0 ? deeper : nullptr;
}

// In a child process, for it dies of it.
static int overflow(void)
{
    static const weft_coro_options deep = {"deep", 0, nullptr, false, false};
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        if (weft_coro_report_overflow() == 0)
            weft_coro_resume(weft_coro_create(descend, nullptr, &deep), nullptr);
        _exit(1);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        options_fail("weft-coroutines: overflow");
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV)
        return 1;
    puts("the guard stopped it: ended by SIGSEGV");
    return 0;
}

static int run_million(int argc, char **argv)
{
    return options_finish(million(options_count(argc, argv, 1000000, 0, 1000000000)));
}

static int run_overflow(int argc, char **argv)
{
    options_none(argc, argv, 0, 0, "");
    return options_finish(overflow());
}

extern const verb verb_million = {"million", "[-n coroutines]",
                                  "coroutines (1000000) alive at once, each with a guarded stack\n",
                                  run_million};
extern const verb verb_overflow = {"overflow", "", "what the overflow of a stack reports\n",
                                   run_overflow};
