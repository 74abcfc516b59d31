// each.cc: `weft-processes each`: the commands of standard input, some at a time.
//
// They run in a thread.  The first one draws the bar and waits for signals, which end the commands
// with all that they started: those are in groups of their own, which a terminal does not reach.
#include "../verbs.h"
#include "commands.h"

#include <weft/shlex.h>
#include <weft/subprocess.h>
#include <weft/thread.h>

#include <err.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const int ending[] = {SIGHUP, SIGINT, SIGTERM};

static commands all;

// Guarded by stderr's lock, and what the bar shows.
static size_t ended, failed;
static int64_t began;
static bool has_bar;

static void wipe(void)
{
    if (has_bar)
        fputs("\r\033[K", stderr);
}

static void draw(void)
{
    struct winsize w;
    char text[128];
    if (!has_bar)
        return;
    int columns = ioctl(2, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
    double seconds = (double)(weft_now() - began) / 1e9, rate = (double)ended / seconds;
    int n =
        snprintf(text, sizeof text, "%zu/%zu, %zu failed, %.1f/s", ended, all.count, failed, rate);
    if (ended > 0)
        n += snprintf(text + n, sizeof text - (size_t)n, ", %.0f s left",
                      (double)(all.count - ended) / rate);
    int width = columns - 4 - n < 40 ? columns - 4 - n : 40; // the last column stays free
    if (width > 0 && all.count > 0)
        fprintf(stderr, "\r[%-*.*s] %s\033[K", width, (int)(ended * (size_t)width / all.count),
                "########################################", text);
    else
        fprintf(stderr, "\r%.*s\033[K", columns - 1, text);
    fflush(stderr);
}

static void report(size_t i, const weft_subprocess_result *r, int error, void *)
{
    char text[64];
    weft_status_text(r->status, text, sizeof text);
    flockfile(stderr);
    wipe();
    fwrite(r->out.data, 1, r->out.size, stdout);
    if (r->out.size > 0 && r->out.data[r->out.size - 1] != '\n' && isatty(1))
        putchar('\n');
    fflush(stdout);
    fprintf(stderr, "%s: %s, %.2f s\n", all.lines[i],
            error == ETIMEDOUT ? "out of time"
            : error != 0       ? strerror(error)
                               : text,
            (double)r->ns / 1e9);
    failed += error != 0 || r->status != 0;
    draw();
    funlockfile(stderr);
}

static void redraw(void)
{
    flockfile(stderr);
    draw();
    funlockfile(stderr);
}

static int count_end(size_t, const weft_subprocess_result *, int, void *)
{
    flockfile(stderr);
    ended++;
    draw();
    funlockfile(stderr);
    return WEFT_MAP_GO_ON;
}

namespace {
struct work {
    weft_subprocess_options o;
    weft_subprocess_batch b;
};
} // namespace

static void *run_all(void *arg)
{
    const work *w = (const work *)arg;
    int result = weft_subprocess_map(all.argvs, all.count, &w->o, &w->b, WEFT_FOREVER);
    int error = result < 0 ? errno : 0;
    kill(getpid(), SIGUSR1); // wakes the first thread
    return (void *)(intptr_t)error;
}

// Lets them run; which signal ended them, or 0.
static int attend(weft_thread *t, int *error)
{
    const timespec look = {has_bar ? 0 : 3600, 200000000};
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
        redraw();
    }
    wipe();
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
}

// Runs them, so many at once.
static int each(int jobs, int64_t limit_ns)
{
    has_bar = isatty(2);
    work w = {};
    w.b.jobs = jobs;
    w.b.limit_ns = limit_ns;
    w.b.ended = count_end;
    w.b.report = report;
    w.o.in.kind = WEFT_STREAM_NULL;
    w.o.out.kind = WEFT_STREAM_PIPE;
    w.o.err.kind = WEFT_STREAM_STDOUT;
    w.o.process_group = WEFT_GROUP_NEW;
    w.o.flags = WEFT_SUBPROCESS_DIE_WITH_PARENT;
    int error;
    block_signals();
    began = weft_now();
    weft_thread *t = weft_thread_start(run_all, &w, nullptr);
    if (t == nullptr)
        options_fail("thread");
    int signal = attend(t, &error);
    if (signal != 0)
        return 128 + signal;
    errno = error;
    if (error != 0)
        options_fail("each");
    fprintf(stderr, "ran %zu, failed %zu\n", all.count, failed);
    return failed != 0;
}

// The commands, each to the next `end`.
static void read_commands(int end)
{
    static char *line;
    ssize_t n;
    all.flags = WEFT_SHLEX_COMMENTS;
    for (size_t room = 0, number = 1; (n = getdelim(&line, &room, end, stdin)) > 0; number++) {
        if (line[n - 1] == end)
            line[--n] = 0;
        if (strlen(line) != (size_t)n)
            errx(1, "line %zu: has a NUL; with -0 those end the commands", number);
        if (strchr("#", line[strspn(line, " \t")]) == nullptr)
            commands_add(&all, strdup(line));
    }
    if (ferror(stdin))
        options_fail("standard input");
}

static int run(int argc, char **argv)
{
    int jobs = 0, end = '\n';
    int64_t limit_ns = INT64_MAX;
    for (int c; (c = options_next(argc, argv, "+:0hj:t:", nullptr)) != -1;) {
        if (c == '0')
            end = 0;
        else if (c == 'j')
            jobs = (int)options_number(optarg, 1, INT_MAX);
        else
            limit_ns = options_seconds(optarg);
    }
    if (optind < argc)
        options_bad("unexpected", argv[optind]);
    read_commands(end);
    return options_finish(each(jobs, limit_ns));
}

extern const verb verb_each;
const verb verb_each = {"each", "[-0] [-j jobs] [-t seconds] <COMMANDS",
                        "runs commands, a line each, so many at once, each not longer than that\n",
                        run};
