// weft-processes: programs run, piped and fed, and work shared out.  Without arguments `ls -l |
// wc`; subprocess.h (run, each), pipeline.h (pipe), shlex.h (split, quote), pool.h (pool, sum).
#include "pool.h"
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
    "       weft-processes sum [-w workers] FILE...\n";
static int jobs, posix, comments, end_of_word = '\n';
static int64_t limit_ns = INT64_MAX;
static const char *const **argvs; // the commands of pipe and each
static char **lines;              // what they were split from
static size_t n;

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

static void add_command(char *line)
{
    int flags = posix * WEFT_SHLEX_STRICT | comments * WEFT_SHLEX_COMMENTS;
    size_t at;
    lines = (char **)realloc(lines, (n + 1) * sizeof *lines);
    argvs = (const char *const **)realloc(argvs, (n + 1) * sizeof *argvs);
    lines[n] = line;
    argvs[n++] = weft_shlex_split(line, flags, &at);
    if (argvs[n - 1] == nullptr)
        warnx("%s at byte %zu: %s", weft_shlex_reason(line, at), at, line);
}

static int pipe_together(char **commands)
{
    int failure = 0;
    for (; *commands != nullptr; commands++)
        add_command(*commands);
    if (weft_pipeline_run(argvs, n, nullptr, nullptr, &failure, WEFT_FOREVER) != 0)
        err(errno == ENOENT ? 127 : 126, "pipe");
    return weft_status_code(failure);
}

static void report(size_t i, const weft_subprocess_result *r, int error, void *)
{
    char text[64];
    fputs(isatty(2) ? "\r\033[K" : "", stderr); // the progress
    fwrite(r->out.data, 1, r->out.size, stdout);
    weft_status_text(r->status, text, sizeof text);
    const char *end = error == ETIMEDOUT ? "out of time" : error ? strerror(error) : text;
    printf("%s: %s, %.2f s\n", lines[i], end, (double)r->ns / 1e9);
}

static void progress(size_t ended, size_t all, int64_t ns, void *)
{
    double left = (double)ns / 1e9 / (double)ended * (double)(all - ended);
    fprintf(stderr, "\r[%-40.*s] %zu/%zu, %.0f s left ", (int)(ended * 40 / all),
            "########################################", ended, all, left);
}

static int each(char **)
{
    static char *line;
    comments = 1;
    for (size_t room = 0; getline(&line, &room, stdin) > 0;) {
        line[strcspn(line, "\n")] = 0;
        if (strchr("#", line[strspn(line, " \t")]) == nullptr)
            add_command(strdup(line));
    }
    weft_subprocess_options o = {};
    weft_subprocess_batch b = {jobs, limit_ns, report, isatty(2) ? progress : nullptr, nullptr};
    o.in.kind = WEFT_STREAM_NULL;
    o.out.kind = WEFT_STREAM_PIPE;
    o.err.kind = WEFT_STREAM_STDOUT;
    o.process_group = WEFT_GROUP_NEW;
    o.flags = WEFT_SUBPROCESS_DIE_WITH_PARENT;
    int failed = weft_subprocess_map(argvs, n, &o, &b, WEFT_FOREVER);
    printf("ran %zu, failed %d\n", n, failed);
    return failed != 0;
}

static int split(char **argv)
{
    add_command(argv[0]);
    for (size_t i = 0; argvs[0] != nullptr && argvs[0][i] != nullptr; i++)
        printf("%s%c", argvs[0][i], end_of_word);
    return argvs[0] == nullptr;
}

static int quote(char **argv)
{
    for (char *q; *argv != nullptr && (q = weft_shlex_quote(*argv)) != nullptr; argv++, free(q))
        printf("%s%c", q, end_of_word);
    return 0;
}

int main(int argc, char **argv)
{
    static const option longs[] = {{"posix", 0, &posix, 1}, {"comments", 0, &comments, 1}, {}};
    static const char *const verbs[] = {"run", "pipe", "each", "split", "quote"};
    static int (*const calls[])(char **) = {run, pipe_together, each, split, quote, list_and_count};
    static const int arguments[] = {-1, -1, 0, 1, -1, 0}; // -1: one or more
    int v = 0, given = argc > 1 && argv[1][0] != '-';
    if (given && (strcmp(argv[1], "pool") == 0 || strcmp(argv[1], "sum") == 0))
        return argv[1][0] == 'p' ? pool_main(argc, argv) : sum_main(argc, argv);
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
