// each_options.cc: the command line of `weft-processes each`.
#include "each.h"

#include "../verbs.h"

#include <weft/thread.h>

#include <fcntl.h>

// The 30 of "30%"; 0: it does not end so.
static long percent_of(const char *text, long most)
{
    size_t n = strlen(text);
    char number[16] = {};
    if (n < 2 || n > 8 || text[n - 1] != '%')
        return 0;
    memcpy(number, text, n - 1);
    return options_number(number, 1, most);
}

// "8", "50%", "+1": of the processors that we may use.
static int jobs_of(const char *text)
{
    long cpus = weft_cpu_count(), percent = percent_of(text, 1000000);
    if (*text == '+')
        return (int)(cpus + options_number(text + 1, 0, 1000000));
    if (percent == 0)
        return (int)options_number(text, 1, INT_MAX);
    return cpus * percent >= 100 ? (int)(cpus * percent / 100) : 1;
}

// "now,fail=1", "soon,success=2", "soon,done=30%", "never".
static halt_rule halt_of(const char *text)
{
    static const char *const kinds[] = {"", "fail=", "success=", "done="};
    halt_rule rule = {};
    const char *why = strchr(text, ',');
    bool now = strncmp(text, "now,", 4) == 0;
    if (strcmp(text, "never") == 0)
        return rule;
    for (int i = 1; why != nullptr && (now || strncmp(text, "soon,", 5) == 0) && i < 4; i++)
        if (strncmp(why + 1, kinds[i], strlen(kinds[i])) == 0) {
            rule.after = (decltype(rule.after))i;
            why += 1 + strlen(kinds[i]);
            rule.percent = (size_t)percent_of(why, 100);
            rule.count = rule.percent > 0 ? 0 : (size_t)options_number(why, 1, INT_MAX);
            rule.verdict = now ? WEFT_MAP_KILL : WEFT_MAP_NO_MORE;
            return rule;
        }
    options_bad("not a rule as now,fail=1", text);
}

static int run(int argc, char **argv)
{
    enum { TAG = 256, LINES, HALT, RETRIES, JOBLOG, RESUME };
    static const option longs[] = {option_flag("help", 'h'),
                                   option_flag("null", '0'),
                                   option_with("jobs", 'j'),
                                   option_flag("keep-order", 'k'),
                                   option_flag("quiet", 'q'),
                                   option_with("timeout", 't'),
                                   option_flag("tag", TAG),
                                   option_flag("line-buffer", LINES),
                                   option_with("halt", HALT),
                                   option_with("retries", RETRIES),
                                   option_with("joblog", JOBLOG),
                                   option_flag("resume", RESUME),
                                   {}};
    const char *log = nullptr;
    bool resume = false;
    int line_end = '\n';
    how.tries = 1;
    for (int c; (c = options_next(argc, argv, "+:0hj:kqt:", longs)) != -1;)
        switch (c) {
        case '0':
            line_end = 0;
            break;
        case 'j':
            how.jobs = jobs_of(optarg);
            break;
        case 'k':
            how.in_order = true;
            break;
        case 'q':
            how.quiet = true;
            break;
        case 't':
            how.limit_ns = options_seconds(optarg);
            break;
        case TAG:
            how.tag = true;
            break;
        case LINES:
            how.by_lines = true;
            break;
        case HALT:
            how.halt = halt_of(optarg);
            break;
        case RETRIES:
            how.tries = (int)options_number(optarg, 1, INT_MAX);
            break;
        case JOBLOG:
            log = optarg;
            break;
        default:
            resume = true;
        }
    if (resume && log == nullptr)
        options_bad("--resume", "needs --joblog");
    if (fcntl(0, F_GETFD) < 0)
        options_fail("standard input");
    if (log != nullptr)
        log_open(log, resume);
    input_begin(line_end, optind < argc ? argv + optind : nullptr);
    return options_finish(each_run());
}

extern const verb verb_each = {
    "each",
    "[-0kq] [-j jobs] [-t seconds] [--tag] [--line-buffer] [--halt when,what]\n"
    "           [--retries n] [--joblog file [--resume]] [--] [CMD [ARG...]] <LINES",
    "runs CMD for each line, which takes the place of {} or follows it, or else the lines\n"
    "-j: 8, 50% or +1 at once; -t: none longer than that; -k: in order; -q: tells of faults\n"
    "--tag: lines of output begin with that of the input; --line-buffer: prints them as they come\n"
    "--halt: soon or now, fail=N, success=N or done=N, or N% of all; --retries: runs up to n "
    "times\n"
    "--resume: leaves out what the joblog has\n",
    run};
