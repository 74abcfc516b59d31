// map.cc: many commands, a few at a time.
//
// One poll watches the ends of those that run and the pipes that collect their output: so a command
// is never held up by the report of another, and what it does with /dev/stdout is what it would do
// in any pipeline.  Commands are asked for when there is room to run them.  One that has ended
// holds no descriptor, only its output, until it is its turn to be reported; how many such there
// may be is bounded, and so is how much they hold: neither grows with the number of commands.
#include "map.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

using namespace weft;

enum { OWN = 2 };      // descriptors of the call's, beside the flows
enum { AHEAD = 1000 }; // commands that have ended before their turn
static const int64_t PAUSE_MS = 10, LONGEST_PAUSE_MS = 1000, PATIENCE_MS = 5000;
static const size_t AHEAD_BYTES = 64 << 20; // and their output

// Whether it is a want of room that may end.  What own children that run take up comes back when
// one of them ends; for what they have left, and for others, there is some patience.
static bool waits_for_room(batch *b, int error)
{
    if (error != EAGAIN && error != EMFILE && error != ENFILE && error != ENOMEM)
        return false;
    if (b->count == 0 && b->patience == 0)
        b->patience = weft_in_ms(PATIENCE_MS);
    if (b->count == 0 && (error == EMFILE || weft_left(b->patience) == 0))
        return false;
    int64_t twice = b->pause > 0 ? 2 * b->pause : PAUSE_MS;
    b->pause = twice < LONGEST_PAUSE_MS ? twice : LONGEST_PAUSE_MS;
    b->again = weft_in_ms(b->pause);
    return true;
}

// A place for one more that runs.
static int make_place(batch *b)
{
    if (b->count < b->room)
        return 0;
    size_t more = 2 * b->room + 8;
    flow **running = (flow **)realloc(b->running, more * sizeof *running);
    if (running != nullptr)
        b->running = running;
    struct pollfd *fds = (struct pollfd *)realloc(b->fds, (FLOW_PLACES * more + OWN) * sizeof *fds);
    if (fds != nullptr)
        b->fds = fds;
    b->room = running != nullptr && fds != nullptr ? more : b->room;
    return b->count < b->room ? 0 : -1;
}

static int start(batch *b, command *c)
{
    int64_t limit = c->what.limit_ns > 0 ? c->what.limit_ns : b->how->limit_ns;
    c->start = weft_now();
    if (run_options(&c->o, c->what.opts != nullptr ? c->what.opts : b->opts,
                    b->bounded || limit > 0) != 0)
        return -1;
    if (c->what.limit_ns < 0 || (c->o.in.kind == WEFT_STREAM_PIPE && c->o.input == nullptr))
        return fail_with(EINVAL);
    if (make_place(b) != 0)
        return -1;
    c->p = weft_subprocess_start(c->what.argv, &c->o);
    if (c->p == nullptr)
        return -1;
    c->due = limit > 0 ? weft_in_ns(limit) : WEFT_FOREVER;
    if (flow_begin(&c->f, &c->p->s, c->o.input, c->o.input_size, &c->wrote[0], &c->wrote[1],
                   true) != 0)
        c->f.error = errno;
    b->running[b->count++] = &c->f;
    return 0;
}

// Whether it runs.
static bool start_or_wait(batch *b, command *c)
{
    int saved = errno;
    c->error = c->status = 0;
    c->incomplete = c->killed = false;
    c->tries++;
    b->again = 0;
    if (start(b, c) == 0) {
        b->pause = b->patience = 0;
        return true;
    }
    c->error = errno;
    errno = saved;
    if (waits_for_room(b, c->error)) {
        c->tries--;
        command_push(&b->waiting, c);
    } else {
        command_ended(b, c);
    }
    return false;
}

// The next of argvs or of the source: 1, 0 or -1 as that says.
static int ask(batch *b, weft_subprocess_command *what)
{
    *what = {};
    if (b->how->next != nullptr)
        return b->how->next(b->next, what, b->how->arg);
    if (b->next == b->n)
        return 0;
    what->argv = b->argvs[b->next];
    return 1;
}

static command *new_command(batch *b)
{
    command *c = b->spare != nullptr ? command_pop(&b->spare) : (command *)malloc(sizeof *c);
    if (c == nullptr)
        b->error = ENOMEM;
    return c;
}

// One that was not started yet, or null: none now.
static command *give(batch *b)
{
    weft_subprocess_command what;
    int saved = errno, given = ask(b, &what);
    b->all_given = given == 0;
    b->asked = given < 0 && errno == EAGAIN;
    b->error = given < 0 && errno != EAGAIN ? errno : 0;
    command *c = given > 0 ? new_command(b) : nullptr;
    errno = saved;
    if (c == nullptr)
        return nullptr;
    memset(c, 0, sizeof *c);
    c->what = what;
    c->i = b->next++;
    if (b->how->report != nullptr) {
        *b->last = c;
        b->last = &c->after;
        b->queued++;
    }
    return c;
}

static bool may_ask(const batch *b)
{
    return !b->all_given && !b->asked && b->error == 0 &&
           (b->count == 0 || (b->queued < AHEAD + b->count && b->kept < AHEAD_BYTES));
}

// Also where none can be started the call comes to its end: -1: ETIMEDOUT, ECANCELED.
static int start_some(batch *b, weft_deadline d)
{
    while (b->count < b->jobs && weft_left(b->again) == 0 && !b->halted) {
        command *c = b->waiting != nullptr ? command_pop(&b->waiting)
                     : may_ask(b)          ? give(b)
                                           : nullptr;
        if (c == nullptr)
            break;
        if (!start_or_wait(b, c) && pump_look(d) != 0)
            return -1;
        batch_report(b);
    }
    for (command *c; b->halted && (c = command_pop(&b->waiting)) != nullptr;) {
        c->error = ECANCELED;
        b->again = 0;
        command_ended(b, c);
    }
    return b->error != 0 ? fail_with(b->error) : 0;
}

static void signal_all(batch *b, int signal)
{
    for (size_t k = 0; k < b->count; k++)
        streams_signal(&command_of(b->running[k])->p->s, signal);
}

// Time in which we were stopped is no part of theirs.
static void stop_with_all(batch *b)
{
    int64_t before = weft_now();
    raise(SIGSTOP);
    signal_all(b, SIGCONT);
    int64_t stopped = weft_now() - before;
    for (size_t k = 0; k < b->count; k++) {
        command *c = command_of(b->running[k]);
        c->due = c->due < WEFT_FOREVER - stopped ? c->due + stopped : WEFT_FOREVER;
    }
}

static void pass_on(batch *b)
{
    struct signalfd_siginfo s;
    struct pollfd one = {b->how->signal_fd, POLLIN, 0};
    while (uncancelled(poll, &one, 1, 0) > 0 &&
           uncancelled(read, one.fd, &s, sizeof s) == (ssize_t)sizeof s) {
        signal_all(b, (int)s.ssi_signo);
        if (s.ssi_signo == SIGTSTP)
            stop_with_all(b);
    }
}

// Sleeps until one of those that run has written or ended, the source has more or a signal is to be
// passed on; serves all that have.
static int serve(batch *b, weft_deadline d)
{
    bool ask_source = b->asked && b->how->next_fd >= 0 && b->count < b->jobs;
    if (!ask_source && b->count == 0 && b->again == 0)
        return fail_with(EDEADLK);
    weft_deadline limit = batch_enforce(b), wake = limit < d ? limit : d;
    wake = b->again != 0 && b->again < wake ? b->again : wake;
    int saved = errno;
    b->fds[0] = {ask_source ? b->how->next_fd : -1, POLLIN, 0};
    b->fds[1] = {b->how->signal_fd > 0 ? b->how->signal_fd : -1, POLLIN, 0};
    if (pump_round(b->running, b->count, b->fds, OWN, wake) != 0 &&
        (errno != ETIMEDOUT || wake == d))
        return -1;
    if (b->fds[0].revents != 0)
        b->asked = false;
    if (b->fds[1].revents != 0)
        pass_on(b);
    errno = saved;
    // Backwards: one that ends gives its place to the last, which has been looked at.
    for (size_t k = b->count; k-- > 0;)
        if (flow_is_over(b->running[k]))
            batch_end(b, k);
    return 0;
}

static bool is_done(const batch *b)
{
    return (b->all_given || b->halted) && b->count == 0 && b->waiting == nullptr;
}

static ssize_t run_all(batch *b, weft_deadline d)
{
    for (;;) {
        if (start_some(b, d) != 0)
            return -1;
        batch_report(b);
        if (is_done(b))
            return b->failed;
        if ((b->count > 0 || b->asked || b->again != 0) && serve(b, d) != 0)
            return -1;
    }
}

static size_t processors(void)
{
    cpu_set_t set;
    int saved = errno, n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    errno = saved;
    return n > 0 ? (size_t)n : (size_t)sysconf(_SC_NPROCESSORS_ONLN);
}

// At the deadline, when nothing more is told: ends what runs.
static void wind_up(batch *b)
{
    int saved = errno;
    int64_t longest = 0;
    b->silent = true;
    b->again = 0;
    for (size_t k = 0; k < b->count; k++) {
        command *c = command_of(b->running[k]);
        command_doom(c, ETIMEDOUT);
        longest = c->p->s.kill_after > longest ? c->p->s.kill_after : longest;
    }
    weft_deadline by = weft_in_ns(longest);
    while (b->count > 0 && serve(b, by) == 0)
        ;
    errno = saved;
}

ssize_t weft_subprocess_map(const char *const *const argvs[], size_t n,
                            const weft_subprocess_options *opts,
                            const weft_subprocess_map_options *how, weft_deadline d)
{
    static const weft_subprocess_options defaults = {};
    batch b = {};
    b.how = how;
    b.opts = opts != nullptr ? opts : &defaults;
    b.argvs = argvs;
    b.n = n;
    b.bounded = d != WEFT_FOREVER;
    b.last = &b.first;
    if (how == nullptr || (how->report == nullptr && how->ended == nullptr) || how->jobs < 0 ||
        how->limit_ns < 0 || (argvs == nullptr && n > 0) || (argvs != nullptr && how->next) ||
        (b.opts->in.kind == WEFT_STREAM_PIPE && b.opts->input == nullptr))
        return fail_with(EINVAL);
    b.jobs = how->jobs > 0 ? (size_t)how->jobs : processors();
    ssize_t failed = make_place(&b) == 0 ? run_all(&b, d) : -1;
    if (failed < 0 && errno == ETIMEDOUT)
        wind_up(&b);
    batch_free(&b);
    return failed;
}
