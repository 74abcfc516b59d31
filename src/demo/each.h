// each.h: `weft-processes each`: the commands of standard input, some at a time; and how commands
// are split, for `pipe` and `split`, too.
#ifndef WEFT_DEMO_EACH_H
#define WEFT_DEMO_EACH_H

#include <weft/shlex.h>
#include <weft/subprocess.h>

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int posix, comments;
static const char *const **each_argvs; // the commands of pipe and each
static char **each_lines;              // what they were split from
static size_t each_count;

static void add_command(char *line)
{
    int flags = posix * WEFT_SHLEX_STRICT | comments * WEFT_SHLEX_COMMENTS;
    size_t at;
    each_lines = (char **)realloc(each_lines, (each_count + 1) * sizeof *each_lines);
    each_argvs = (const char *const **)realloc(each_argvs, (each_count + 1) * sizeof *each_argvs);
    each_lines[each_count] = line;
    each_argvs[each_count++] = weft_shlex_split(line, flags, &at);
    if (each_argvs[each_count - 1] == nullptr)
        warnx("%s at byte %zu: %s", weft_shlex_reason(line, at), at, line);
}

static void report(size_t i, const weft_subprocess_result *r, int error, void *)
{
    char text[64];
    fputs(isatty(2) ? "\r\033[K" : "", stderr); // the progress
    fwrite(r->out.data, 1, r->out.size, stdout);
    weft_status_text(r->status, text, sizeof text);
    const char *end = error == ETIMEDOUT ? "out of time" : error ? strerror(error) : text;
    printf("%s: %s, %.2f s\n", each_lines[i], end, (double)r->ns / 1e9);
}

static void progress(size_t ended, size_t all, int64_t ns, void *)
{
    double left = (double)ns / 1e9 / (double)ended * (double)(all - ended);
    fprintf(stderr, "\r[%-40.*s] %zu/%zu, %.0f s left ", (int)(ended * 40 / all),
            "########################################", ended, all, left);
}

// Runs the lines of standard input, so many at once.
static int each(int jobs, int64_t limit_ns)
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
    int failed = weft_subprocess_map(each_argvs, each_count, &o, &b, WEFT_FOREVER);
    printf("ran %zu, failed %d\n", each_count, failed);
    return failed != 0;
}

#endif
