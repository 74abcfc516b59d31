// work.cc: `weft-processes work`: a worker for a queue of jobs, one of any number on any machines.
//
// Each job that runs has a thread and a connection of its own; the first thread waits for signals.
// A first one lets no more jobs be taken: who waits for one looks up each second, and is not cut
// off in the middle of a take, which would leave a job to the end of its lease.  A second one ends
// the commands, and gives their jobs back.
#include "work.h"

#include "commands.h"
#include "remote.h"

#include <weft/thread.h>

#include <err.h>
#include <signal.h>
#include <unistd.h>

work_order work;

static remote_order order;
static weft_remote_jobs_options options;
static bool until_empty;
static int ended[WORK_UNDONE + 1], active; // atomic

static bool is_draining(void)
{
    return __atomic_load_n(&work.draining, __ATOMIC_RELAXED);
}

// ---- A thread ----

static bool has_jobs(weft_remote_jobs *q)
{
    weft_remote_jobs_counters s;
    return weft_remote_jobs_statistics(q, &s, weft_in_s(10)) != 0 ||
           s.waiting + s.delayed + s.running > 0;
}

static void take_jobs(weft_remote_jobs *q)
{
    for (unsigned pause = 100; !is_draining();) {
        weft_remote_job *j = weft_remote_jobs_take(q, weft_in_s(1));
        if (j != nullptr && is_draining()) { // it came too late
            weft_remote_jobs_fail(q, j->id, j->token, WEFT_JOB_UNDONE, nullptr, weft_in_s(10));
            weft_remote_job_free(j);
        } else if (j != nullptr) {
            __atomic_fetch_add(&ended[work_run(q, j)], 1, __ATOMIC_RELAXED);
            weft_remote_job_free(j);
            pause = 100;
        } else if (errno != ETIMEDOUT) {
            if (pause == 100) // once, until it works again
                remote_warn(order.address, q);
            usleep(pause * 1000);
            pause = pause < 2000 ? 2 * pause : 2000;
        } else if (until_empty && !has_jobs(q)) {
            return;
        }
    }
}

static void *work_on(void *)
{
    weft_client *c;
    while ((c = weft_client_connect(order.address, order.has_password ? order.password : nullptr,
                                    weft_in_s(1))) == nullptr &&
           !is_draining())
        usleep(500000); // others may have jobs that run
    weft_remote_jobs *q = c != nullptr ? weft_remote_jobs_open(c, order.name, &options) : nullptr;
    if (q != nullptr)
        take_jobs(q);
    else if (c != nullptr)
        err(1, "%s", order.name);
    weft_remote_destroy(q);
    weft_client_destroy(c);
    __atomic_fetch_sub(&active, 1, __ATOMIC_RELAXED);
    kill(getpid(), SIGUSR1); // wakes the first thread
    return nullptr;
}

// ---- The first one ----

// Until all threads have ended; the signal that ended commands, or 0.
static int attend(const sigset_t *ours)
{
    int got, last = 0;
    while (__atomic_load_n(&active, __ATOMIC_RELAXED) > 0) {
        if (sigwait(ours, &got) != 0 || got == SIGUSR1)
            continue;
        if (is_draining() && last == 0) {
            last = got;
            __atomic_store_n(&work.last, weft_in_s(5), __ATOMIC_RELAXED);
        } else if (!is_draining()) {
            warnx("ends when what runs has ended; once more: now");
        }
        __atomic_store_n(&work.draining, true, __ATOMIC_RELAXED);
    }
    return last;
}

static int work_all(long jobs)
{
    sigset_t ours = commands_block_ending();
    weft_client_destroy(remote_connect(&order)); // or there is no use in more
    weft_thread **threads = (weft_thread **)calloc((size_t)jobs, sizeof *threads);
    if (threads == nullptr)
        err(1, "memory");
    active = (int)jobs;
    for (long i = 0; i < jobs; i++)
        if ((threads[i] = weft_thread_start(work_on, nullptr, nullptr)) == nullptr)
            options_fail("thread");
    int got = attend(&ours);
    for (long i = 0; i < jobs; i++)
        weft_thread_join(threads[i], nullptr, WEFT_FOREVER);
    free(threads);
    fprintf(stderr, "ran %d, failed %d, lost %d, given back %d\n",
            ended[WORK_DONE] + ended[WORK_FAILED], ended[WORK_FAILED], ended[WORK_LOST],
            ended[WORK_UNDONE]);
    return got != 0 ? 128 + got : 0;
}

static int run(int argc, char **argv)
{
    static const option longs[] = {
        option_flag("help", 'h'),          option_with("jobs", 'j'),
        option_with("lease", 'l'),         option_with("output", 'o'),
        option_flag("quiet", 'q'),         option_flag("tied", 't'),
        option_with("name", 'w'),          option_flag("until-empty", 'x'),
        option_with("password-file", 'p'), {}};
    long jobs = weft_cpu_count();
    work.lease_ns = INT64_C(30000000000);
    work.output = 64 << 10;
    work.last = WEFT_FOREVER;
    for (int c; (c = options_next(argc, argv, "+:hj:l:o:qtw:x", longs)) != -1;) {
        if (c == 'j')
            jobs = options_number(optarg, 1, 10000);
        else if (c == 'l')
            work.lease_ns = options_seconds(optarg);
        else if (c == 'o')
            work.output = options_number(optarg, 0, 1 << 28);
        else if (c == 'q')
            work.quiet = true;
        else if (c == 't')
            options.flags = WEFT_JOBS_TIED;
        else if (c == 'w')
            options.worker = optarg;
        else if (c == 'x')
            until_empty = true;
        else
            remote_read_password(optarg, &order);
    }
    if (work.lease_ns < 100000000)
        options_bad("-l", "a lease has 0.1 seconds at least");
    options.lease_ns = work.lease_ns;
    order.end = weft_in_s(10); // to connect at first
    char **words = remote_read_arguments(&order, argc, argv, 2, -1, "work", "needs ADDRESS QUEUE");
    if (*words != nullptr && strcmp(*words, "--") == 0)
        words++;
    work.words = *words != nullptr ? words : nullptr;
    return work_all(jobs);
}

extern const verb verb_work = {
    "work",
    "[-qtx] [-j jobs] [-l seconds] [-o bytes] [-w name] [--password-file F]\n"
    "           ADDRESS QUEUE [--] [CMD [ARG...]]",
    "runs CMD for each job of the queue, which takes the place of {} or follows it, or else\n"
    "the jobs; JOB_ID, JOB_TOKEN and JOB_TRY are there in the environment\n"
    "-j: so many at once; -l: the lease; -o: keeps so much of the output as the result\n"
    "-t: gives its jobs back when its connection ends; -w: what it is called; -q: tells of faults\n"
    "-x: ends when there are no more; SIGTERM: when those that run have ended; twice: now\n",
    run};
