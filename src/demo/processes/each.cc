// each.cc: `weft-processes each`: the commands of standard input, some at a time.
#include "../verbs.h"
#include "commands.h"

#include <weft/shlex.h>
#include <weft/subprocess.h>

#include <unistd.h>

static commands all;

static void report(size_t i, const weft_subprocess_result *r, int error, void *)
{
    char text[64];
    fputs(isatty(2) ? "\r\033[K" : "", stderr); // the progress
    fwrite(r->out.data, 1, r->out.size, stdout);
    weft_status_text(r->status, text, sizeof text);
    const char *end = error == ETIMEDOUT ? "out of time" : error ? strerror(error) : text;
    printf("%s: %s, %.2f s\n", all.lines[i], end, (double)r->ns / 1e9);
}

static void progress(size_t ended, size_t n, int64_t ns, void *)
{
    double left = (double)ns / 1e9 / (double)ended * (double)(n - ended);
    fprintf(stderr, "\r[%-40.*s] %zu/%zu, %.0f s left ", (int)(ended * 40 / n),
            "########################################", ended, n, left);
}

// Runs the lines of standard input, so many at once.
static int each(int jobs, int64_t limit_ns)
{
    static char *line;
    all.flags = WEFT_SHLEX_COMMENTS;
    for (size_t room = 0; getline(&line, &room, stdin) > 0;) {
        line[strcspn(line, "\n")] = 0;
        if (strchr("#", line[strspn(line, " \t")]) == nullptr)
            commands_add(&all, strdup(line));
    }
    weft_subprocess_options o = {};
    weft_subprocess_batch b = {jobs, limit_ns, report, isatty(2) ? progress : nullptr, nullptr};
    o.in.kind = WEFT_STREAM_NULL;
    o.out.kind = WEFT_STREAM_PIPE;
    o.err.kind = WEFT_STREAM_STDOUT;
    o.process_group = WEFT_GROUP_NEW;
    o.flags = WEFT_SUBPROCESS_DIE_WITH_PARENT;
    int failed = weft_subprocess_map(all.argvs, all.count, &o, &b, WEFT_FOREVER);
    printf("ran %zu, failed %d\n", all.count, failed);
    return failed != 0;
}

static int run(int argc, char **argv)
{
    int jobs = 0;
    int64_t limit_ns = INT64_MAX;
    for (int c; (c = options_next(argc, argv, "+:hj:t:", nullptr)) != -1;) {
        if (c == 'j')
            jobs = (int)options_number(optarg, 1, INT_MAX);
        else
            limit_ns = options_seconds(optarg);
    }
    if (optind < argc)
        options_bad("unexpected", argv[optind]);
    return options_finish(each(jobs, limit_ns));
}

extern const verb verb_each;
const verb verb_each = {"each", "[-j jobs] [-t seconds] <COMMANDS",
                        "runs commands, a line each, so many at once, each not longer than that\n",
                        run};
