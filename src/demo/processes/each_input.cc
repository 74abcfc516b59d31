// each_input.cc: commands from standard input, as they come.
//
// Read by poll(2) and read(2): a descriptor of others is not made non-blocking.  What is read ahead
// is bounded, a line is not.
#include "each.h"

#include "commands.h"

#include <weft/shlex.h>

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AHEAD = 64 * 1024 };

static int line_end;
static char *const *words;
static char *bytes;                   // those from `begin` on are not given yet
static size_t room, begin, end, seen; // up to `seen` is no line_end
static bool over;
static size_t lines, given;
static job *jobs;    // not freed
static size_t total; // atomic: the bar's thread looks
static char fault[128];

static void make_room(void)
{
    if (room - end > AHEAD) // the last line may get an end
        return;
    room = 2 * room + AHEAD + 1;
    bytes = (char *)realloc(bytes, room);
    if (bytes == nullptr)
        err(1, "memory");
}

void input_begin(int ending, char *const command[])
{
    line_end = ending;
    words = command;
    make_room();
}

const char *input_fault(void)
{
    return *fault != 0 ? fault : nullptr;
}

size_t input_total(void)
{
    return __atomic_load_n(&total, __ATOMIC_RELAXED);
}

static bool is_readable(void)
{
    struct pollfd p = {0, POLLIN, 0};
    return poll(&p, 1, 0) > 0;
}

// Whether a line is no command.
static bool is_blank(const char *line, size_t n)
{
    size_t at = 0;
    while (at < n && (line[at] == ' ' || line[at] == '\t'))
        at++;
    return words == nullptr && (at == n || line[at] == '#');
}

static void count_rest(void)
{
    size_t rest = given;
    for (const char *line = bytes + begin, *stop; line < bytes + end; line = stop + 1) {
        stop = (const char *)memchr(line, line_end, (size_t)(bytes + end - line));
        stop = stop != nullptr ? stop : bytes + end;
        rest += !is_blank(line, (size_t)(stop - line));
    }
    __atomic_store_n(&total, rest, __ATOMIC_RELAXED);
}

// One read.
static void read_more(void)
{
    if (begin > 0)
        memmove(bytes, bytes + begin, end - begin);
    end -= begin;
    seen -= begin;
    begin = 0;
    make_room();
    ssize_t n = read(0, bytes + end, AHEAD);
    end += n > 0 ? (size_t)n : 0;
    over = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    if (n < 0 && over)
        snprintf(fault, sizeof fault, "standard input: %s", strerror(errno));
    if (over)
        count_rest();
}

// The next line, without its end, or null: none yet, or no more.
static char *next_line(void)
{
    for (;;) {
        char *stop = (char *)memchr(bytes + seen, line_end, end - seen);
        if (stop == nullptr && over && begin < end)
            stop = bytes + end++;
        if (stop != nullptr) {
            char *line = bytes + begin;
            *stop = 0;
            begin = seen = (size_t)(stop - bytes) + 1;
            lines++;
            if (strlen(line) == (size_t)(stop - line))
                return line;
            snprintf(fault, sizeof fault, "line %zu: has a NUL; with -0 those end the commands",
                     lines);
            over = true;
            begin = end;
        }
        seen = end;
        if (over || !is_readable())
            return nullptr;
        read_more();
    }
}

static const char *const *split(const char *line)
{
    size_t at;
    char **argv = weft_shlex_split(line, WEFT_SHLEX_COMMENTS, &at);
    if (argv == nullptr) {
        bar_hide();
        warnx("%s at byte %zu: %s", weft_shlex_reason(line, at), at, line);
        bar_show();
    }
    return argv;
}

static job *make_job(const char *line)
{
    job *j = (job *)malloc(sizeof *j);
    if (j == nullptr || (j->line = strdup(line)) == nullptr)
        err(1, "memory");
    j->number = ++given;
    j->before = nullptr;
    j->after = jobs;
    if (jobs != nullptr)
        jobs->before = j;
    jobs = j;
    j->argv = words != nullptr ? commands_apply(words, line) : split(line);
    j->name = words != nullptr ? weft_shlex_join(j->argv) : j->line;
    if (j->name == nullptr)
        err(1, "memory");
    return j;
}

int input_next(job **j)
{
    while (!over && end - begin < AHEAD / 2 && is_readable())
        read_more();
    for (char *line; (line = next_line()) != nullptr;)
        if (!is_blank(line, strlen(line))) {
            *j = make_job(line);
            return 1;
        }
    errno = EAGAIN;
    return over ? 0 : -1;
}

void job_free(job *j)
{
    (j->before != nullptr ? j->before->after : jobs) = j->after;
    if (j->after != nullptr)
        j->after->before = j->before;
    free((void *)j->argv);
    if (j->name != j->line)
        free(j->name);
    free(j->line);
    free(j);
}

void input_end(void)
{
    for (job *j = jobs, *next; j != nullptr; j = next) {
        next = j->after;
        job_free(j);
    }
    free(bytes);
}
