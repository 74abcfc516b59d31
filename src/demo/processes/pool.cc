// pool.cc: `weft-processes pool`: the tutorial's pool of processes, and what it does when one is
// killed.
//
// Tasks that sleep for a while tell who runs them.  With --kill a worker is killed in its
// task: the others don't notice, and the task is run again by another.
#include "../verbs.h"

#include <weft/pool.h>
#include <weft/thread.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct pool_task {
    int number;
    double seconds;
};

static int pool_run(const void *arg, size_t, void *, size_t)
{
    const pool_task *t = (const pool_task *)arg;
    int64_t start = weft_now();
    printf("Run task %d (%d)...\n", t->number, (int)getpid());
    fflush(stdout);
    weft_thread_sleep(weft_in_us((int64_t)(t->seconds * 1e6)));
    printf("Task %d runs %.2f seconds.\n", t->number, (double)(weft_now() - start) / 1e9);
    return 0;
}

// Kills one of the workers that are in a task, whichever; waits for one while tasks are left.
static void pool_kill_one(weft_pool *p, int workers)
{
    weft_pool_counters s;
    bool busy = false;
    while (weft_pool_statistics(p, &s) == 0 && s.done < s.submitted) {
        pid_t pid = weft_pool_worker(p, (size_t)(rand() % workers), &busy);
        if (pid > 0 && busy && kill(pid, SIGKILL) == 0) {
            printf("Killed a worker (%d).\n", (int)pid);
            fflush(stdout);
            return;
        }
        weft_thread_sleep(weft_in_ms(1));
    }
}

static int pool_show(int workers, int tasks, double seconds, bool killing)
{
    weft_pool_options o = {};
    weft_pool_counters s;
    o.retries = 1;
    weft_pool *p = weft_pool_create(workers, &o);
    if (p == nullptr)
        options_fail("weft-processes: pool");
    srand((unsigned)weft_now());
    printf("Parent process %d.\n", (int)getpid());
    fflush(stdout);
    for (int i = 0; i < tasks; i++) {
        pool_task t = {i, seconds * (0.5 + 0.5 * rand() / RAND_MAX)};
        weft_result *r = weft_pool_apply_async(p, pool_run, &t, sizeof t, 0, WEFT_FOREVER);
        if (r == nullptr || weft_result_release(r) != 0) // the statistics tell what became of it
            options_fail("weft-processes: pool");
    }
    puts("Waiting for all subprocesses done...");
    fflush(stdout);
    if (killing)
        pool_kill_one(p, workers);
    weft_pool_close(p);
    if (weft_pool_join(p, WEFT_FOREVER) != 0 || weft_pool_statistics(p, &s) != 0)
        options_fail("weft-processes: pool");
    weft_pool_destroy(p);
    puts("All subprocesses done.");
    printf("%llu tasks done, %llu lost, %llu retried\n", (unsigned long long)s.done,
           (unsigned long long)s.lost, (unsigned long long)s.retried);
    return s.lost != 0;
}

static int run(int argc, char **argv)
{
    static const option longs[] = {option_flag("kill", 'k'), option_flag("help", 'h'), {}};
    int workers = 4, tasks = 4;
    double seconds = 0.5;
    bool killing = false;
    for (int c; (c = options_next(argc, argv, "+:hw:n:s:", longs)) != -1;)
        if (c == 'k')
            killing = true;
        else if (c == 's')
            seconds = (double)options_seconds(optarg) / 1e9;
        else if (c == 'w')
            workers = (int)options_number(optarg, 1, WEFT_POOL_WORKERS_MAX);
        else
            tasks = (int)options_number(optarg, 0, 1000000);
    if (optind < argc)
        options_bad("unexpected", argv[optind]);
    return options_finish(pool_show(workers, tasks, seconds, killing));
}

extern const verb verb_pool = {
    "pool", "[-w workers] [-n tasks] [-s seconds] [--kill]",
    "tasks (4) of half to whole seconds (0.5) on workers (4); --kill kills a busy one\n", run};
