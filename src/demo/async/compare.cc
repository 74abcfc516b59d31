// compare.cc: the same jobs, as threads, as tasklets, by a pool of processes and as alarms of
// one loop.
//
// A job waits 20 ms, as for an answer, and then works a little.  Each model runs in a child of
// its own, so that the kernel's figures for the child are the model's.
#include <weft/loop.h>
#include <weft/pool.h>
#include <weft/tasklet.h>
#include <weft/thread.h>

#include "../verbs.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t compare_wait_ms = 20;
static long compare_done; // by one model; threads share it

// A few microseconds.
static void compare_work(void)
{
    volatile unsigned hash = 2166136261;
    for (int i = 0; i < 5000; i++)
        hash = (hash ^ (unsigned)i) * 16777619;
    __atomic_fetch_add(&compare_done, 1, __ATOMIC_RELAXED);
}

static void *compare_thread(void *)
{
    weft_thread_sleep(weft_in_ms(compare_wait_ms));
    compare_work();
    return nullptr;
}

static void compare_threads(long n)
{
    weft_thread **all = (weft_thread **)calloc((size_t)n, sizeof *all);
    for (long i = 0; i < n; i++)
        if ((all[i] = weft_thread_start(compare_thread, nullptr, nullptr)) == nullptr)
            options_fail("weft-async: a thread");
    for (long i = 0; i < n; i++)
        weft_thread_join(all[i], nullptr, WEFT_FOREVER);
    free(all);
}

static void *compare_tasklet(void *)
{
    weft_tasklet_sleep(weft_in_ms(compare_wait_ms));
    compare_work();
    return nullptr;
}

static void compare_tasklets(long n)
{
    weft_tasklet_options o = {};
    o.detached = true;
    for (long i = 0; i < n; i++)
        if (weft_tasklet_spawn(compare_tasklet, nullptr, &o) == nullptr)
            options_fail("weft-async: a tasklet");
    weft_tasklet_run();
}

static int compare_task(const void *, size_t, void *, size_t)
{
    compare_thread(nullptr);
    return 0;
}

// A pool has few workers, so most jobs wait for one.
static void compare_pool(long n)
{
    weft_pool *p = weft_pool_create(32, nullptr);
    weft_result **all = (weft_result **)calloc((size_t)n, sizeof *all);
    if (p == nullptr)
        options_fail("weft-async: a pool");
    for (long i = 0; i < n; i++)
        all[i] = weft_pool_apply_async(p, compare_task, nullptr, 0, 0, WEFT_FOREVER);
    for (long i = 0; i < n; i++)
        compare_done += weft_result_get(all[i], nullptr, WEFT_FOREVER) == 0;
    weft_pool_close(p);
    weft_pool_join(p, WEFT_FOREVER);
    weft_pool_destroy(p);
    free(all);
}

static void compare_alarms(long n)
{
    weft_loop *l = weft_loop_create(nullptr);
    weft_alarm *all = (weft_alarm *)calloc((size_t)n, sizeof *all);
    for (long i = 0; i < n; i++)
        weft_loop_arm(
            l, &all[i], 0, [](weft_alarm *, void *) { compare_work(); }, nullptr,
            weft_in_ms(compare_wait_ms));
    weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER);
    weft_loop_destroy(l);
    free(all);
}

struct compare_model {
    const char *name;
    void (*run)(long n);
    double seconds;
    struct rusage used;
};

static double compare_ms(const struct timeval *t)
{
    return (double)t->tv_sec * 1e3 + (double)t->tv_usec / 1e3;
}

// Runs a model in a child.  Whether it did all jobs.
static bool compare_measure(compare_model *m, long n)
{
    int status = 0;
    fflush(stdout);
    int64_t start = weft_now();
    pid_t child = fork();
    if (child == 0) {
        if (m->run != nullptr)
            m->run(n);
        _exit(m->run == nullptr || compare_done == n ? 0 : 1);
    }
    if (child < 0 || wait4(child, &status, 0, &m->used) != child)
        options_fail("weft-async: fork");
    m->seconds = (double)(weft_now() - start) / 1e9;
    return status == 0;
}

static int compare(long n)
{
    compare_model nothing = {"", nullptr, 0, {}};
    compare_model models[] = {{"threads", compare_threads, 0, {}},
                              {"coroutines", compare_tasklets, 0, {}},
                              {"process pool", compare_pool, 0, {}},
                              {"event loop", compare_alarms, 0, {}}};
    double slowest = 0;
    int failed = !compare_measure(&nothing, 0);
    for (compare_model &m : models) {
        failed += !compare_measure(&m, n);
        slowest = m.seconds > slowest ? m.seconds : slowest;
    }
    printf("%ld jobs, each waits %ld ms and works a little\n"
           "%-12s %8s %9s %8s %10s %9s\n",
           n, (long)compare_wait_ms, "", "ms", "jobs/s", "CPU ms", "memory KB", "switches");
    for (const compare_model &m : models) {
        long kb = m.used.ru_maxrss - nothing.used.ru_maxrss;
        printf("%-12s %8.1f %9.0f %8.1f %10ld %9ld  %.*s\n", m.name, m.seconds * 1e3,
               (double)n / m.seconds, compare_ms(&m.used.ru_utime) + compare_ms(&m.used.ru_stime),
               kb > 0 ? kb : 0, m.used.ru_nvcsw + m.used.ru_nivcsw, (int)(m.seconds / slowest * 20),
               "####################");
    }
    printf("%ld of %ld jobs done by %d of 4 models\n", n, n, 4 - failed);
    return failed != 0;
}

static int run(int argc, char **argv)
{
    return options_finish(compare(options_count(argc, argv, 1000, 1, 30000)));
}

extern const verb verb_compare = {
    "compare", "[-n jobs]",
    "the same jobs (1000) as threads, coroutines, a process pool, on the event loop\n", run};
