// weft-processes: programs run, piped and fed; work and things shared out.  Without arguments `ls
// -l | wc`; subprocess.h (run, each), pipeline.h (pipe), shlex.h (split, quote), pool.h (pool,
// sum), manager.h (share, manager, put, get, lock).
#include "each.h"
#include "pool.h"
#include "remote.h"
#include "share.h"
#include "sum.h"

#include <weft/pipeline.h>
#include <weft/shlex.h>

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: weft-processes                 (ls -l | wc)\n"
    "       weft-processes run [-t seconds] [--] CMD [ARG...]\n"
    "       weft-processes pipe CMD...\n"
    "       weft-processes each [-j jobs] [-t seconds] <COMMANDS\n"
    "       weft-processes split [-0] [--posix] [--comments] STRING | quote [-0] ARG...\n"
    "       weft-processes pool [-w workers] [-n tasks] [-s seconds] [--kill]\n"
    "       weft-processes sum [-w workers] FILE...\n"
    "       weft-processes share | manager -l ADDRESS | put ADDRESS QUEUE VALUE...\n"
    "       weft-processes get ADDRESS QUEUE | lock ADDRESS NAME CMD...\n";
static int jobs, end_of_word = '\n';
static int64_t limit_ns = INT64_MAX;

static int list_and_count(char **)
{
    const char *const ls[] = {"ls", "-l", nullptr}, *const wc[] = {"wc", nullptr};
    const char *const *const stages[] = {ls, wc};
    weft_subprocess_options o = {};
    weft_subprocess_result r;
    o.out.kind = WEFT_STREAM_PIPE;
    if (weft_pipeline_run(stages, 2, &o, &r, nullptr, WEFT_FOREVER) != 0)
        err(1, "ls -l | wc");
    printf("out = %s", r.out.data);
    weft_subprocess_result_free(&r);
    return 0;
}

static int run(char **argv)
{
    char text[64];
    weft_subprocess_result r;
    bool late = weft_subprocess_run(argv, nullptr, &r, weft_in_ns(limit_ns)) != 0;
    if (late && errno != ETIMEDOUT)
        err(errno == ENOENT ? 127 : 126, "%s", argv[0]); // as a shell
    warnx("%s: %s%s after %.3f s", argv[0], late ? "out of time, " : "",
          weft_status_text(r.status, text, sizeof text), (double)r.ns / 1e9);
    return late ? 124 : weft_status_code(r.status);
}

static int pipe_together(char **commands)
{
    int failure = 0;
    for (; *commands != nullptr; commands++)
        add_command(*commands);
    if (weft_pipeline_run(each_argvs, each_count, nullptr, nullptr, &failure, WEFT_FOREVER) != 0)
        err(errno == ENOENT ? 127 : 126, "pipe");
    return weft_status_code(failure);
}

static int run_each(char **)
{
    return each(jobs, limit_ns);
}

static int split(char **argv)
{
    add_command(argv[0]);
    for (size_t i = 0; each_argvs[0] != nullptr && each_argvs[0][i] != nullptr; i++)
        printf("%s%c", each_argvs[0][i], end_of_word);
    return each_argvs[0] == nullptr;
}

static int quote(char **argv)
{
    for (char *q; *argv != nullptr && (q = weft_shlex_quote(*argv)) != nullptr; argv++, free(q))
        printf("%s%c", q, end_of_word);
    return 0;
}

// Verbs with options of their own.
static const struct {
    const char *verb;
    int (*main)(int argc, char **argv);
} others[] = {{"pool", pool_main},      {"sum", sum_main},    {"share", share_main},
              {"manager", remote_main}, {"put", remote_main}, {"get", remote_main},
              {"lock", remote_main}};

int main(int argc, char **argv)
{
    static const option longs[] = {{"posix", 0, &posix, 1}, {"comments", 0, &comments, 1}, {}};
    static const char *const verbs[] = {"run", "pipe", "each", "split", "quote"};
    static int (*const calls[])(char **) = {run,   pipe_together, run_each,
                                            split, quote,         list_and_count};
    static const int arguments[] = {-1, -1, 0, 1, -1, 0}; // -1: one or more
    int v = 0, given = argc > 1 && argv[1][0] != '-';
    for (const auto &each : others)
        if (given && strcmp(argv[1], each.verb) == 0)
            return each.main(argc, argv);
    while (v < 5 && (!given || strcmp(verbs[v], argv[1]) != 0))
        v++;
    optind = 1 + given, opterr = 0;
    for (int c; (c = getopt_long(argc, argv, "+h0j:t:", longs, nullptr)) != -1;) {
        if (c == 'h')
            return fputs(usage, stdout) < 0;
        else if (c == '0')
            end_of_word = 0;
        else if (c != 0 && (c != 'j' || (jobs = atoi(optarg)) <= 0) &&
                 (c != 't' || (limit_ns = (int64_t)(atof(optarg) * 1e9)) <= 0))
            errx(2, "bad option; -h shows the usage");
    }
    if (arguments[v] < 0 ? argc == optind : argc - optind != arguments[v] || (given && v == 5))
        errx(2, "wrong arguments; -h shows the usage");
    return calls[v](argv + optind);
}
