// submit.cc: `weft-processes submit`: puts a job into a queue for each line of standard input.
//
// Each job has a key, so that a put whose answer was lost can be said again: the line itself with
// -u, or else a number of this process, drawn by lot.
#include "remote.h"

#include <weft/remote_jobs.h>

#include <err.h>
#include <sys/random.h>
#include <unistd.h>

namespace {
struct ids {
    int64_t *ids;
    size_t count, room;
};
} // namespace

static remote_order order;
static weft_remote_job_options job;
static bool unique, waits, quiet;
static int line_end = '\n';
static uint64_t lot;

static int64_t put(weft_remote_jobs *q, const char *line, size_t n, size_t number, bool *was_there)
{
    char key[64];
    int64_t id;
    weft_remote_job_options o = job;
    snprintf(key, sizeof key, "%016llx:%zu", (unsigned long long)lot, number);
    o.key = unique ? line : key;
    weft_deadline d = weft_in_s(60);
    for (unsigned pause = 10;; pause = pause < 1000 ? 2 * pause : 1000) {
        int result = weft_remote_jobs_put(q, line, n, &o, &id, d);
        *was_there = unique && result == 1;
        if (result >= 0)
            return id;
        if (errno == EACCES || errno == EINVAL || errno == EPROTO || errno == ENOMEM ||
            weft_left(d) == 0)
            exit(remote_failed(order.address, q));
        usleep(pause * 1000);
    }
}

static void add(ids *all, int64_t id)
{
    if (all->count == all->room) {
        all->room = 2 * all->room + 64;
        all->ids = (int64_t *)realloc(all->ids, all->room * sizeof *all->ids);
        if (all->ids == nullptr)
            err(1, "memory");
    }
    all->ids[all->count++] = id;
}

static size_t put_all(weft_remote_jobs *q, ids *all)
{
    char *line = nullptr;
    size_t room = 0, there = 0;
    for (ssize_t n; (n = getdelim(&line, &room, line_end, stdin)) > 0;) {
        bool was_there;
        n -= line[n - 1] == line_end;
        line[n] = 0;
        if (n == 0)
            continue;
        if (unique && strlen(line) != (size_t)n)
            errx(1, "job %zu: has a NUL", all->count + 1);
        add(all, put(q, line, (size_t)n, all->count, &was_there));
        there += was_there;
        if (!waits && !quiet)
            printf("%lld\n", (long long)all->ids[all->count - 1]);
    }
    if (ferror(stdin))
        options_fail("standard input");
    free(line);
    return there;
}

// What is known of it when it has ended; nullptr: nothing any more.
static weft_remote_job *ended(weft_remote_jobs *q, int64_t id)
{
    for (;;) {
        weft_remote_job *j = nullptr;
        if (weft_remote_jobs_wait(q, &id, 1, order.end) == 0 &&
            (j = weft_remote_jobs_get(q, id, order.end)) != nullptr)
            return j;
        if (errno == ENOENT)
            return nullptr;
        if (errno == EACCES || errno == EPROTO || weft_left(order.end) == 0)
            exit(remote_failed("wait", q));
        usleep(200000); // until there is a server again
    }
}

// Prints what came of it; whether that is a result.
static bool print_end(weft_remote_jobs *q, int64_t id)
{
    weft_remote_job *j = ended(q, id);
    bool done = j != nullptr && j->state == WEFT_JOB_DONE;
    if (j == nullptr)
        warnx("%lld: is not known any more", (long long)id);
    else if (done)
        fwrite(j->outcome, 1, j->outcome_size, stdout);
    else
        fprintf(stderr, "%s: %s, tried %d times\n", j->value, j->outcome, j->tries);
    fflush(stdout);
    weft_remote_job_free(j);
    return done;
}

static int submit(void)
{
    ids all = {};
    size_t failed = 0;
    weft_client *c = remote_connect(&order);
    weft_remote_jobs_options options = {};
    options.keep = waits ? 100000000 : 0; // all, until they have been printed
    weft_remote_jobs *q = weft_remote_jobs_open(c, order.name, &options);
    if (q == nullptr)
        err(1, "%s", order.name);
    size_t there = put_all(q, &all);
    for (size_t i = 0; waits && i < all.count; i++)
        failed += !print_end(q, all.ids[i]);
    if (!quiet) {
        fprintf(stderr, "put %zu", all.count - there);
        if (there > 0)
            fprintf(stderr, ", there were %zu", there);
        if (waits)
            fprintf(stderr, ", failed %zu", failed);
        fputc('\n', stderr);
    }
    weft_remote_destroy(q);
    weft_client_destroy(c);
    free(all.ids);
    return failed > 0;
}

static int run(int argc, char **argv)
{
    static const option longs[] = {
        option_flag("help", 'h'),    option_flag("null", '0'),          option_with("delay", 'd'),
        option_with("limit", 'l'),   option_with("priority", 'p'),      option_flag("quiet", 'q'),
        option_with("retries", 'r'), option_with("timeout", 't'),       option_flag("unique", 'u'),
        option_flag("wait", 'w'),    option_with("password-file", 'f'), {}};
    order.end = WEFT_FOREVER;
    for (int c; (c = options_next(argc, argv, "+:0d:hl:p:qr:t:uw", longs)) != -1;) {
        if (c == '0')
            line_end = 0;
        else if (c == 'd')
            job.delay_ns = options_seconds(optarg);
        else if (c == 'l')
            job.limit_ns = options_seconds(optarg);
        else if (c == 'p')
            job.priority = (int)options_number(optarg, INT_MIN, INT_MAX);
        else if (c == 'q')
            quiet = true;
        else if (c == 'r')
            job.retries = (int)options_number(optarg, 0, INT_MAX);
        else if (c == 't')
            order.end = weft_in_ns(options_seconds(optarg));
        else if (c == 'u')
            unique = true;
        else if (c == 'w')
            waits = true;
        else
            remote_read_password(optarg, &order);
        if (c == 'r' && job.retries == 0)
            job.retries = -1; // none, where 0 is the usual
    }
    remote_read_arguments(&order, argc, argv, 2, 2, "submit", "needs ADDRESS QUEUE");
    if (getrandom(&lot, sizeof lot, 0) != (ssize_t)sizeof lot)
        options_fail("getrandom");
    return options_finish(submit());
}

extern const verb verb_submit = {
    "submit",
    "[-0quw] [-d seconds] [-l seconds] [-p priority] [-r retries] [-t seconds]\n"
    "           [--password-file F] ADDRESS QUEUE <LINES",
    "puts a job for each line, for `work`, and prints their ids\n"
    "-d: not before that; -l: none longer than that; -p: greater ones first; -r: 3 if not said\n"
    "-u: none that is there already; -w: waits for all, up to -t, and prints their results in\n"
    "order; the status is 1 if one failed; -0: lines end with a NUL; -q: is quiet\n",
    run};
