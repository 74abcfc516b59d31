// each.cc: `weft-processes each`: commands or arguments from standard input, some at a time.
//
// They run in a thread.  The first one draws the bar and waits for signals, which end the commands
// with all that they started: those are in groups of their own, which a terminal does not reach.
//
// A command is told of when it has ended, or with -k in the order of the input: its output is
// written, then its line in the log, then what standard error says of it.
#include "each.h"

#include "../verbs.h"

#include <weft/thread.h>

#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

static const weft_sink in_memory = {nullptr, nullptr, false, 0, 1 << 20};
static const int ending[] = {SIGHUP, SIGINT, SIGTERM};

namespace {
// After so many ends of a kind no more are started, or what runs is killed, too.
struct halt_rule {
    enum { NEVER, FAIL, SUCCESS, DONE } after;
    size_t count;
    int verdict;
};
} // namespace

static struct {
    int tries;
    bool in_order, tag, quiet;
    halt_rule halt;
    weft_subprocess_options o;
    weft_subprocess_batch b;
} how;

// The thread's.
static size_t ran, failed, skipped, succeeded;
static bool halted;
static bool output_lost;
static int log_error; // errno, or 0

// ---- What the thread does ----

static int next(size_t, weft_subprocess_command *c, void *)
{
    job *j;
    for (int result; (result = input_next(&j)) <= 0 || log_has(j); skipped++) {
        if (result <= 0)
            return result;
        job_free(j);
    }
    c->argv = j->argv;
    c->data = j;
    bar_starts();
    return 1;
}

static void print_output(const char *tag, const weft_buffer *out)
{
    if (out->size == 0)
        return;
    const char *at = out->data, *end = at + out->size;
    if (tag == nullptr)
        fwrite(at, 1, out->size, stdout);
    for (const char *stop; tag != nullptr && at < end; at = stop) {
        stop = (const char *)memchr(at, '\n', (size_t)(end - at));
        stop = stop != nullptr ? stop + 1 : end;
        printf("%s\t", tag);
        fwrite(at, 1, (size_t)(stop - at), stdout);
    }
    if (end[-1] != '\n' && (tag != nullptr || isatty(1)))
        putchar('\n');
    output_lost = fflush(stdout) != 0 || ferror(stdout);
}

static const char *why(const job *j, const weft_subprocess_result *r, int error, char text[64])
{
    if (error == ETIMEDOUT)
        return "out of time";
    if (error == ECANCELED)
        return "killed";
    if (j->argv == nullptr)
        return "malformed";
    if (error == 0)
        return weft_status_text(r->status, text, 64);
    snprintf(text, 64, "%s%s", r->out.size > 0 ? "output: " : "", strerror(error));
    return text;
}

static void print_end(const job *j, const weft_subprocess_result *r, int error)
{
    char text[64];
    fprintf(stderr, "%s: %s, %.2f s\n", j->name, why(j, r, error, text),
            r->tries > 0 ? (double)r->ns / 1e9 : 0.0);
}

static void tell(size_t, const weft_subprocess_result *r, int error, void *)
{
    job *j = (job *)r->data;
    bool good = error == 0 && r->status == 0;
    bar_hide();
    print_output(how.tag ? j->line : nullptr, &r->out);
    if (!output_lost && error != ECANCELED && log_add(j, r, error) != 0)
        log_error = errno;
    if (!good || !how.quiet)
        print_end(j, r, error);
    bar_show();
    job_free(j);
    if (output_lost || log_error != 0)
        weft_thread_stop(weft_thread_self());
}

static int ask_rule(void)
{
    const size_t counts[] = {0, failed, succeeded, ran};
    if (how.halt.after == halt_rule::NEVER || counts[how.halt.after] < how.halt.count)
        return WEFT_MAP_GO_ON;
    halted = true;
    return how.halt.verdict;
}

static int end(size_t i, const weft_subprocess_result *r, int error, void *)
{
    bool good = error == 0 && r->status == 0;
    if (!good && r->tries < how.tries && error != ECANCELED) {
        bar_ends(true, true);
        return WEFT_MAP_AGAIN;
    }
    ran++;
    failed += !good;
    succeeded += good;
    bar_ends(false, !good);
    if (!how.in_order)
        tell(i, r, error, nullptr);
    return ask_rule();
}

static void *run_all(void *)
{
    int result = weft_subprocess_map(nullptr, 0, &how.o, &how.b, WEFT_FOREVER);
    int error = result < 0 ? errno : 0;
    kill(getpid(), SIGUSR1); // wakes the first thread
    return (void *)(intptr_t)error;
}

// ---- What the first one does ----

// Lets them run; which signal ended them, or 0.
static int attend(weft_thread *t, int *error)
{
    const timespec look = {isatty(2) ? 0 : 3600, 150000000};
    int got = 0;
    sigset_t ours;
    void *result;
    sigemptyset(&ours);
    for (int signal : ending)
        sigaddset(&ours, signal);
    sigaddset(&ours, SIGUSR1);
    while (weft_thread_join(t, &result, WEFT_NOW) != 0) {
        int signal = sigtimedwait(&ours, nullptr, &look);
        if (signal == SIGUSR1 || got != 0) {
            weft_thread_join(t, &result, WEFT_FOREVER);
            break;
        }
        if (signal > 0) {
            got = signal;
            weft_thread_stop(t);
        }
        bar_redraw();
    }
    bar_end();
    *error = (int)(intptr_t)result;
    return got;
}

static void block_signals(void)
{
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGUSR1);
    for (int signal : ending) {
        struct sigaction a;
        if (sigaction(signal, nullptr, &a) == 0 && a.sa_handler != SIG_IGN) // nohup(1)
            sigaddset(&ours, signal);
    }
    sigprocmask(SIG_BLOCK, &ours, nullptr);
    signal(SIGPIPE, SIG_IGN); // who reads no more ends the commands, too
    signal(SIGXFSZ, SIG_IGN); // a log that is too long is an error
}

static int sum_up(int error)
{
    const char *fault = input_fault();
    if (fault != nullptr)
        warnx("%s", fault);
    if (log_error != 0)
        warnx("joblog: %s", strerror(log_error));
    else if (error != 0 && !output_lost)
        warnx("each: %s", strerror(error));
    fprintf(stderr, "ran %zu, failed %zu", ran, failed);
    if (skipped > 0)
        fprintf(stderr, ", skipped %zu", skipped);
    fputs(halted ? ", halted\n" : "\n", stderr);
    bool good = failed == 0 || (halted && how.halt.after == halt_rule::SUCCESS);
    return !good || error != 0 || fault != nullptr;
}

// Whether nobody reads our output any more.
static bool is_unread(void)
{
    struct pollfd out = {1, POLLOUT, 0};
    return output_lost && poll(&out, 1, 0) > 0 && (out.revents & POLLERR) != 0;
}

static int each(void)
{
    int error;
    how.b.next = next;
    how.b.ended = end;
    how.b.report = how.in_order ? tell : nullptr;
    how.o.in.kind = WEFT_STREAM_NULL;
    how.o.out.kind = WEFT_STREAM_PIPE;
    how.o.out.sink = &in_memory;
    how.o.err.kind = WEFT_STREAM_STDOUT;
    how.o.process_group = WEFT_GROUP_NEW;
    how.o.flags = WEFT_SUBPROCESS_DIE_WITH_PARENT | WEFT_SUBPROCESS_SCRIPTS;
    block_signals();
    bar_begin(input_total);
    weft_thread *t = weft_thread_start(run_all, nullptr, nullptr);
    if (t == nullptr)
        options_fail("thread");
    int got = attend(t, &error);
    if (got == 0 && is_unread()) { // now as who does not ignore it
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    return got != 0 ? 128 + got : sum_up(error);
}

// ---- Options ----

// "8", "50%", "+1": of the processors that we may use.
static int jobs_of(const char *text)
{
    long cpus = weft_cpu_count();
    size_t n = strlen(text);
    if (*text == '+')
        return (int)(cpus + options_number(text + 1, 0, 1000000));
    if (n < 2 || n > 8 || text[n - 1] != '%')
        return (int)options_number(text, 1, INT_MAX);
    char number[16];
    strcpy(number, text);
    number[n - 1] = 0;
    long jobs = cpus * options_number(number, 1, 1000000) / 100;
    return jobs > 0 ? (int)jobs : 1;
}

// "now,fail=1", "soon,success=2", "soon,done=3", "never".
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
            rule.count = (size_t)options_number(why + 1 + strlen(kinds[i]), 1, INT_MAX);
            rule.verdict = now ? WEFT_MAP_KILL : WEFT_MAP_NO_MORE;
            return rule;
        }
    options_bad("not a rule as now,fail=1", text);
}

static int run(int argc, char **argv)
{
    enum { TAG = 256, HALT, RETRIES, JOBLOG, RESUME };
    static const option longs[] = {{"help", no_argument, nullptr, 'h'},
                                   {"null", no_argument, nullptr, '0'},
                                   {"jobs", required_argument, nullptr, 'j'},
                                   {"keep-order", no_argument, nullptr, 'k'},
                                   {"quiet", no_argument, nullptr, 'q'},
                                   {"timeout", required_argument, nullptr, 't'},
                                   {"tag", no_argument, nullptr, TAG},
                                   {"halt", required_argument, nullptr, HALT},
                                   {"retries", required_argument, nullptr, RETRIES},
                                   {"joblog", required_argument, nullptr, JOBLOG},
                                   {"resume", no_argument, nullptr, RESUME},
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
            how.b.jobs = jobs_of(optarg);
            break;
        case 'k':
            how.in_order = true;
            break;
        case 'q':
            how.quiet = true;
            break;
        case 't':
            how.b.limit_ns = options_seconds(optarg);
            break;
        case TAG:
            how.tag = true;
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
    return options_finish(each());
}

extern const verb verb_each;
const verb verb_each = {
    "each",
    "[-0kq] [-j jobs] [-t seconds] [--tag] [--halt when,what] [--retries n]\n"
    "           [--joblog file [--resume]] [--] [CMD [ARG...]] <LINES",
    "runs CMD for each line, which takes the place of {} or follows it, or else the lines\n"
    "-j: 8, 50% or +1 at once; -t: none longer than that; -k: in order; -q: tells of faults\n"
    "--tag: lines of output begin with that of the input; --retries: runs up to n times\n"
    "--halt: soon or now, fail=N, success=N or done=N; --resume: not what the joblog has\n",
    run};
