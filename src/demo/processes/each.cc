// each.cc: `weft-processes each`: commands or arguments from standard input, some at a time.
//
// They run in a thread.  The first one draws the bar and waits for signals, which end the commands
// with all that they started: those are in groups of their own, which a terminal does not reach. ^Z
// stops them, too: map passes it on.
//
// A command is told of when it has ended, or with -k in the order of the input: its output is
// written, then its line in the log, then what standard error says of it.
#include "each.h"

#include "commands.h"

#include "../verbs.h"

#include <weft/status.h>
#include <weft/thread.h>

#include <err.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const weft_sink in_memory = {nullptr, nullptr, false, 0, 1 << 20};
static weft_subprocess_options options;
static weft_subprocess_map_options batch;

each_options how;

// The thread's.
static size_t ran, failed, skipped, succeeded;
static bool halted;
static bool output_lost;
static int log_error; // errno, or 0

// ---- What the thread does ----

static void print_line(const job *j, const char *line, size_t n)
{
    if (how.tag)
        printf("%s\t", j->line);
    fwrite(line, 1, n, stdout);
    if (line[n - 1] != '\n' && (how.tag || how.by_lines || isatty(1)))
        putchar('\n');
}

static void flush_output(void)
{
    output_lost = fflush(stdout) != 0 || ferror(stdout);
}

static void print_output(const job *j, const weft_buffer *out)
{
    const char *at = out->data, *end = at + out->size;
    for (const char *stop; at < end; at = stop) {
        stop = how.tag ? (const char *)memchr(at, '\n', (size_t)(end - at)) : nullptr;
        stop = stop != nullptr ? stop + 1 : end;
        print_line(j, at, (size_t)(stop - at));
    }
    if (out->size > 0)
        flush_output();
}

static int take_line(const char *line, size_t n, void *arg)
{
    bar_hide();
    print_line((const job *)arg, line, n);
    flush_output();
    bar_show();
    return output_lost;
}

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
    if (how.by_lines) {
        j->sink = {take_line, j, true, 0, 0};
        j->options = options;
        j->options.out.sink = &j->sink;
        c->opts = &j->options;
    }
    bar_starts();
    return 1;
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

// What the system had no room for has not been run; all else is done with.
static bool is_to_be_logged(int error)
{
    return error != ECANCELED && error != EAGAIN && error != EMFILE && error != ENFILE &&
           error != ENOMEM;
}

static void tell(size_t, const weft_subprocess_result *r, int error, void *)
{
    job *j = (job *)r->data;
    bool good = error == 0 && r->status == 0;
    bar_hide();
    print_output(j, &r->out);
    if (!output_lost && is_to_be_logged(error) && log_add(j, r, error) != 0)
        log_error = errno;
    if (!good || !how.quiet)
        print_end(j, r, error);
    bar_show();
    job_free(j);
    if (output_lost || log_error != 0)
        weft_thread_stop(weft_thread_self());
}

// As GNU parallel counts: what the log had before is done and no failure, and a success from the
// first one of ours on.
static bool rule_applies(void)
{
    const size_t counts[] = {0, failed, succeeded > 0 ? log_count() + succeeded : 0,
                             log_count() + ran};
    size_t all = input_total(), count = counts[how.halt.after];
    if (how.halt.percent > 0)
        return all > 0 && 100 * count >= how.halt.percent * all;
    return how.halt.after != halt_rule::NEVER && count >= how.halt.count;
}

static int ask_rule(void)
{
    if (!rule_applies())
        return WEFT_MAP_GO_ON;
    halted = true;
    return how.halt.verdict;
}

static int end(size_t i, const weft_subprocess_result *r, int error, void *)
{
    bool good = error == 0 && r->status == 0;
    if (!good && !halted && r->tries < how.tries && error != ECANCELED) {
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
    int error = weft_subprocess_map(nullptr, 0, &options, &batch, WEFT_FOREVER) < 0 ? errno : 0;
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
    for (int signal : commands_ending)
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

// What ^Z sends, or -1.
static int open_stop(void)
{
    sigset_t stop;
    sigemptyset(&stop);
    if (commands_ignores(SIGTSTP))
        return -1;
    sigaddset(&stop, SIGTSTP);
    sigprocmask(SIG_BLOCK, &stop, nullptr);
    return signalfd(-1, &stop, SFD_CLOEXEC);
}

static void block_signals(void)
{
    commands_block_ending();
    batch.signal_fd = open_stop();
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

int each_run(void)
{
    int error;
    batch.jobs = how.jobs;
    batch.limit_ns = how.limit_ns;
    batch.next = next;
    batch.ended = end;
    batch.report = how.in_order ? tell : nullptr;
    options.in.kind = WEFT_STREAM_NULL;
    options.out.kind = WEFT_STREAM_PIPE;
    options.out.sink = &in_memory;
    options.err.kind = WEFT_STREAM_STDOUT;
    options.process_group = WEFT_GROUP_NEW;
    options.flags = WEFT_SUBPROCESS_DIE_WITH_PARENT | WEFT_SUBPROCESS_SCRIPTS;
    block_signals();
    bar_begin(input_total);
    weft_thread *t = weft_thread_start(run_all, nullptr, nullptr);
    if (t == nullptr)
        options_fail("thread");
    int got = attend(t, &error);
    input_end();
    if (got == 0 && is_unread()) { // now as who does not ignore it
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    return got != 0 ? 128 + got : sum_up(error);
}
