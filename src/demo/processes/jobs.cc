// jobs.cc: `weft-processes jobs`: what is in a queue of jobs, as a table that is drawn again each
// second on a terminal, one page elsewhere, or JSON; and what is to become of it.
#include "remote.h"

#include <weft/remote_jobs.h>

#include <err.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1000 };

namespace {
// What two looks tell.
struct page {
    weft_remote_jobs_counters now;
    double rate; // jobs ended in a second
};
} // namespace

static remote_order order;
static bool as_json, dead_too;

static void look(weft_remote_jobs *q, page *p)
{
    static int64_t ended, at;
    if (weft_remote_jobs_statistics(q, &p->now, weft_in_s(10)) != 0)
        exit(remote_failed(order.name, q));
    int64_t now = weft_now();
    if (at != 0 && now > at)
        p->rate = (double)(p->now.ended - ended) * 1e9 / (double)(now - at);
    ended = p->now.ended;
    at = now;
}

// The first jobs in a state; nullptr: none.
static weft_remote_job *jobs_in(weft_remote_jobs *q, int state)
{
    weft_remote_job *j = weft_remote_jobs_list(q, state, 0, MOST, weft_in_s(10));
    if (j == nullptr && errno != ENOENT)
        exit(remote_failed(order.name, q));
    return j;
}

static double seconds_since(const weft_remote_job *j)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    int64_t ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec - j->since_ns;
    return ns > 0 ? (double)ns / 1e9 : 0;
}

// ---- For people ----

// Up to the end of its first line, without what a terminal would obey; how much that was.
static int print_text(const char *text, size_t most)
{
    size_t i = 0;
    for (; i < most && text[i] != 0 && text[i] != '\n'; i++)
        putchar((unsigned char)text[i] < 32 || text[i] == 127 ? '?' : text[i]);
    return (int)i;
}

// As many as there are lines for.
static void print_jobs(weft_remote_jobs *q, int state, size_t *lines, size_t columns)
{
    enum { BEFORE = 66 }; // columns before the job
    weft_remote_job *all = *lines > 3 ? jobs_in(q, state) : nullptr;
    if (all != nullptr) {
        printf("\n%-16s  %-24s %11s %5s  job\n", state == WEFT_JOB_DEAD ? "dead" : "running",
               "worker", "for", "try");
        *lines -= 2;
    }
    size_t left = columns > BEFORE ? columns - BEFORE : 0;
    for (const weft_remote_job *j = all; j != nullptr && *lines > 1; j = j->next, --*lines) {
        const char *more = state == WEFT_JOB_DEAD ? j->outcome : j->note;
        printf("%-16lld  ", (long long)j->id);
        int width = 24 - print_text(j->worker, 24);
        printf("%*s %9.1f s %5d  ", width, "", seconds_since(j), j->tries);
        print_text(j->value, *more != 0 ? left / 2 : left);
        if (*more != 0 && left > 0) {
            printf(": ");
            print_text(more, left / 2);
        }
        putchar('\n');
    }
    weft_remote_job_free(all);
}

static void print_page(weft_remote_jobs *q, const page *p, size_t lines, size_t columns)
{
    const weft_remote_jobs_counters *s = &p->now;
    int64_t left = s->waiting + s->delayed + s->running;
    printf("%s%s: waiting %lld, delayed %lld, running %lld, done %lld, dead %lld\n", order.name,
           s->paused ? " (paused)" : "", (long long)s->waiting, (long long)s->delayed,
           (long long)s->running, (long long)s->done, (long long)s->dead);
    printf("put %lld, ended %lld, failed %lld, lost %lld, %.1f a second", (long long)s->put,
           (long long)s->ended, (long long)s->failed, (long long)s->lost, p->rate);
    if (p->rate > 0 && left > 0)
        printf(", %.0f s left", (double)left / p->rate);
    putchar('\n');
    lines -= 2;
    print_jobs(q, WEFT_JOB_RUNNING, &lines, columns);
    if (dead_too)
        print_jobs(q, WEFT_JOB_DEAD, &lines, columns);
}

// Again and again, over what was there.
static int show(weft_remote_jobs *q)
{
    page p = {};
    for (struct winsize w = {};;) {
        if (ioctl(1, TIOCGWINSZ, &w) != 0 || w.ws_row < 5)
            w = {24, 80, 0, 0};
        look(q, &p);
        fputs("\033[H\033[J", stdout);
        print_page(q, &p, w.ws_row, w.ws_col);
        if (fflush(stdout) != 0)
            return 1;
        sleep(1);
    }
}

// ---- For programs ----

// Of the character that begins n bytes; 0: it is none of UTF-8 (RFC 3629).
static size_t size_of_character(const char *text, size_t n)
{
    const unsigned char *c = (const unsigned char *)text;
    size_t size = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
    if (c[0] > 0xf4 || size > n)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    bool wrong = (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) || // surrogates
                 (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f);
    return wrong ? 0 : size;
}

static void print_string(const char *name, const char *text, size_t n)
{
    printf("\"%s\":\"", name);
    for (size_t size; n > 0; text += size, n -= size) {
        unsigned char c = (unsigned char)*text;
        size_t known = size_of_character(text, n);
        size = known > 0 ? known : 1;
        if (known == 0)
            fputs("\\ufffd", stdout);
        else if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 32 || c == 127)
            printf("\\u%04x", c);
        else
            fwrite(text, 1, size, stdout);
    }
    putchar('"');
}

static void print_array(weft_remote_jobs *q, const char *name, int state)
{
    weft_remote_job *all = jobs_in(q, state);
    printf(",\"%s\":[", name);
    for (const weft_remote_job *j = all; j != nullptr; j = j->next) {
        printf("{\"id\":%lld,\"token\":%lld,\"priority\":%d,\"tries\":%d,\"retries\":%d,"
               "\"seconds\":%.3f,\"progress\":%lld,",
               (long long)j->id, (long long)j->token, j->priority, j->tries, j->retries,
               seconds_since(j), (long long)j->progress);
        print_string("worker", j->worker, strlen(j->worker));
        putchar(',');
        print_string("note", j->note, strlen(j->note));
        putchar(',');
        print_string("outcome", j->outcome, j->outcome_size);
        putchar(',');
        print_string("job", j->value, j->size);
        fputs(j->next != nullptr ? "}," : "}", stdout);
    }
    putchar(']');
    weft_remote_job_free(all);
}

static void print_json(weft_remote_jobs *q, const page *p)
{
    const weft_remote_jobs_counters *s = &p->now;
    const struct {
        const char *name;
        int64_t number;
    } numbers[] = {{"waiting", s->waiting}, {"delayed", s->delayed}, {"running", s->running},
                   {"done", s->done},       {"dead", s->dead},       {"put", s->put},
                   {"taken", s->taken},     {"ended", s->ended},     {"failed", s->failed},
                   {"lost", s->lost}};
    putchar('{');
    print_string("queue", order.name, strlen(order.name));
    printf(",\"paused\":%s", s->paused ? "true" : "false");
    for (const auto &each : numbers)
        printf(",\"%s\":%lld", each.name, (long long)each.number);
    printf(",\"rate\":%.3f", p->rate);
    print_array(q, "running_jobs", WEFT_JOB_RUNNING);
    print_array(q, "dead_jobs", WEFT_JOB_DEAD);
    puts("}");
}

// ---- What is to be done ----

// Calls it for all dead letters, but not for more than there were at first: what is tried again may
// soon be one again.  How many that was.
static size_t for_dead(weft_remote_jobs *q, int (*call)(weft_remote_jobs *, int64_t, weft_deadline))
{
    size_t n = 0;
    page p = {};
    look(q, &p);
    size_t most = (size_t)p.now.dead;
    for (weft_remote_job *all; n < most && (all = jobs_in(q, WEFT_JOB_DEAD)) != nullptr;
         weft_remote_job_free(all))
        for (const weft_remote_job *j = all; n < most && j != nullptr; j = j->next)
            if (call(q, j->id, weft_in_s(10)) >= 0)
                n++;
            else if (errno != ENOENT)
                exit(remote_failed(order.name, q));
    return n;
}

static int print(weft_remote_jobs *q)
{
    page p = {};
    if (!as_json && isatty(1))
        return show(q);
    look(q, &p);
    if (p.now.running > 0) { // else the rate is nothing
        usleep(500000);
        look(q, &p);
    }
    if (as_json)
        print_json(q, &p);
    else
        print_page(q, &p, SIZE_MAX, 160);
    return 0;
}

static int jobs(int what)
{
    int status = 0;
    weft_client *c = remote_connect(&order);
    weft_remote_jobs *q = weft_remote_jobs_open(c, order.name, nullptr);
    if (q == nullptr)
        err(1, "%s", order.name);
    if (what == 'r')
        printf("%zu dead letters wait again\n", for_dead(q, weft_remote_jobs_retry));
    else if (what == 'x')
        printf("%zu dead letters removed\n", for_dead(q, weft_remote_jobs_remove));
    else if (what == 0)
        status = print(q);
    else if (weft_remote_jobs_pause(q, what == 'p', weft_in_s(10)) != 0)
        return remote_failed(order.name, q);
    weft_remote_destroy(q);
    weft_client_destroy(c);
    return status;
}

static int run(int argc, char **argv)
{
    static const option longs[] = {
        option_flag("help", 'h'),   option_flag("dead", 'd'),          option_flag("json", 'j'),
        option_flag("retry", 'r'),  option_flag("remove", 'x'),        option_flag("pause", 'p'),
        option_flag("resume", 'c'), option_with("password-file", 'f'), {}};
    int what = 0;
    for (int c; (c = options_next(argc, argv, "+:dh", longs)) != -1;) {
        if (c == 'd')
            dead_too = true;
        else if (c == 'j')
            as_json = true;
        else if (c == 'f')
            remote_read_password(optarg, &order);
        else if (what != 0)
            options_bad("unexpected", argv[optind - 1]);
        else
            what = c;
    }
    order.end = weft_in_s(10); // as each call below
    remote_read_arguments(&order, argc, argv, 2, 2, "jobs", "needs ADDRESS QUEUE");
    return options_finish(jobs(what));
}

extern const verb verb_jobs = {
    "jobs",
    "[-d] [--json] [--retry | --remove | --pause | --resume] [--password-file F]\n"
    "           ADDRESS QUEUE",
    "shows the queue: what waits, what runs where and since when, what failed, how fast it goes\n"
    "-d: dead letters, too; --retry, --remove: all dead letters; --pause: no more are taken\n",
    run};
