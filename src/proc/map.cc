// map.cc: many commands, a few at a time.
//
// One poll watches the ends of those that run and the pipes that collect their output: so a command
// is never held up by the report of another, and what it does with /dev/stdout is what it would do
// in any pipeline.  Commands are asked for when there is room to run them.  One that has ended
// holds no descriptor, only its output, until it is its turn to be reported; how many such there
// may be is bounded, and so is how much they hold: neither grows with the number of commands.
//
// A command is in `running`, or in the list `waiting` to be started (again), or has ended; with
// reports in order it is also in the queue from `first` on, from the time it was given until then.
#include "pump.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <base/bytes.h>

using namespace weft;

enum { AHEAD = 1000 };                      // commands that have ended before their turn
static const size_t AHEAD_BYTES = 64 << 20; // and their output

namespace {
struct command {
    flow f; // first: what pump_round is given are these
    weft_subprocess_command what;
    weft_subprocess_options o;
    size_t i;
    weft_subprocess *p;   // it runs
    weft_buffer wrote[2]; // to streams 1 and 2
    int status, error, tries;
    bool incomplete;
    struct rusage usage;
    int64_t start, end; // end 0: not ended
    command *after;     // in the queue
    command *later;     // in `waiting` or `spare`
};

struct batch {
    const weft_subprocess_batch *how;
    const weft_subprocess_options *opts;
    const char *const *const *argvs;
    size_t n, next, jobs;
    bool all_given, asked; // asked: the source has none until next_fd says so
    bool starved;          // the system had no room for one more
    bool halted, killed;   // as `ended` answered
    int failed, error;
    flow **running;
    struct pollfd *fds;     // that of the source, then those of the flows
    size_t count, room;     // of `running`
    command *first, **last; // of the queue
    size_t queued, kept;    // how many, and the bytes of those that have ended
    command *waiting, *spare;
};
} // namespace

static command *command_of(flow *f)
{
    return (command *)f;
}

static void push(command **list, command *c)
{
    c->later = *list;
    *list = c;
}

static command *pop(command **list)
{
    command *c = *list;
    *list = c != nullptr ? c->later : nullptr;
    return c;
}

static void forget_output(command *c)
{
    weft_buffer_free(&c->wrote[0]);
    weft_buffer_free(&c->wrote[1]);
}

static weft_subprocess_result result_of(const command *c)
{
    weft_subprocess_result r = {};
    r.status = c->status;
    r.incomplete = c->incomplete;
    r.ns = c->end - c->start;
    r.out = c->wrote[0];
    r.err = c->wrote[1];
    r.usage = c->usage;
    r.start = c->start;
    r.tries = c->tries;
    r.data = c->what.data;
    return r;
}

// What is first in the queue, as long as it has ended.
static void report(batch *b)
{
    while (b->first != nullptr && b->first->end != 0) {
        command *c = b->first;
        weft_subprocess_result r = result_of(c);
        b->first = c->after;
        b->last = b->first != nullptr ? b->last : &b->first;
        b->queued--;
        b->kept -= r.out.size + r.err.size;
        b->how->report(c->i, &r, c->error, b->how->arg);
        forget_output(c);
        push(&b->spare, c);
    }
}

static void kill_all(batch *b)
{
    for (size_t k = 0; k < b->count; k++) {
        command *c = command_of(b->running[k]);
        if (c->error != 0 || child_has_ended(&c->p->c))
            continue;
        c->error = ECANCELED;
        weft_subprocess_kill(c->p);
    }
}

// Whether it is to run once more.
static bool obey(batch *b, int verdict)
{
    if (verdict == WEFT_MAP_AGAIN && !b->halted)
        return true;
    b->halted = b->halted || verdict == WEFT_MAP_NO_MORE || verdict == WEFT_MAP_KILL;
    if (verdict == WEFT_MAP_KILL)
        kill_all(b);
    return false;
}

static void command_ends(batch *b, command *c)
{
    c->end = weft_now();
    if (b->how->ended != nullptr) {
        weft_subprocess_result r = result_of(c);
        if (obey(b, b->how->ended(c->i, &r, c->error, b->how->arg))) {
            forget_output(c);
            c->end = 0;
            push(&b->waiting, c);
            return;
        }
    }
    b->failed += c->error != 0 || c->status != 0;
    b->kept += c->wrote[0].size + c->wrote[1].size;
    if (b->how->report != nullptr)
        return;
    b->kept = 0;
    forget_output(c);
    push(&b->spare, c);
}

// What own children that run take up comes back when one of them ends.
static bool is_want_of_room(int error)
{
    return error == EAGAIN || error == EMFILE || error == ENFILE || error == ENOMEM;
}

// A place for one more that runs.
static int make_room(batch *b)
{
    if (b->count < b->room)
        return 0;
    size_t more = 2 * b->room + 8;
    flow **running = (flow **)realloc(b->running, more * sizeof *running);
    if (running != nullptr)
        b->running = running;
    struct pollfd *fds = (struct pollfd *)realloc(b->fds, (FLOW_PLACES * more + 1) * sizeof *fds);
    if (fds != nullptr)
        b->fds = fds;
    b->room = running != nullptr && fds != nullptr ? more : b->room;
    return b->count < b->room ? 0 : -1;
}

static int start(batch *b, command *c)
{
    c->start = weft_now();
    if (run_options(&c->o, c->what.opts != nullptr ? c->what.opts : b->opts, false) != 0)
        return -1;
    if (c->what.limit_ns < 0 || (c->o.in.kind == WEFT_STREAM_PIPE && c->o.input == nullptr))
        return fail_with(EINVAL);
    if (make_room(b) != 0)
        return -1;
    c->p = weft_subprocess_start(c->what.argv, &c->o);
    if (c->p == nullptr)
        return -1;
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
    c->incomplete = false;
    c->tries++;
    if (start(b, c) == 0)
        return true;
    c->error = errno;
    errno = saved;
    b->starved = b->count > 0 && is_want_of_room(c->error);
    if (b->starved) {
        c->tries--;
        push(&b->waiting, c);
    } else {
        command_ends(b, c);
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
    command *c = b->spare != nullptr ? pop(&b->spare) : (command *)malloc(sizeof *c);
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
    while (b->count < b->jobs && !b->starved && !b->halted) {
        command *c = b->waiting != nullptr ? pop(&b->waiting) : may_ask(b) ? give(b) : nullptr;
        if (c == nullptr)
            break;
        if (!start_or_wait(b, c) && pump_look(d) != 0)
            return -1;
        report(b);
    }
    for (command *c; b->halted && (c = pop(&b->waiting)) != nullptr;) {
        c->error = ECANCELED;
        command_ends(b, c);
    }
    return b->error != 0 ? fail_with(b->error) : 0;
}

// Kills what is beyond its limit; gives the time when the next one will be.
static weft_deadline enforce_limits(batch *b)
{
    weft_deadline first = WEFT_FOREVER;
    int64_t now = weft_now();
    for (size_t k = 0; k < b->count; k++) {
        command *c = command_of(b->running[k]);
        int64_t limit = c->what.limit_ns > 0 ? c->what.limit_ns : b->how->limit_ns;
        if (limit == 0 || c->error != 0)
            continue;
        if (now - c->start < limit) {
            weft_deadline by = limit >= WEFT_FOREVER - c->start ? WEFT_FOREVER : c->start + limit;
            first = by < first ? by : first;
        } else {
            // One that ended just in time keeps its status: nobody is there to be killed.
            c->error = child_has_ended(&c->p->c) ? 0 : ETIMEDOUT;
            weft_subprocess_kill(c->p);
        }
    }
    return first;
}

static void fit(weft_buffer *b)
{
    char *fits = b->data != nullptr ? (char *)realloc(b->data, b->size + 1) : nullptr;
    b->data = fits != nullptr ? fits : b->data;
    b->capacity = fits != nullptr ? b->size + 1 : b->capacity;
}

// What it wrote is there, with what others that have its pipes have written until now.
static void end_command(batch *b, size_t k)
{
    command *c = command_of(b->running[k]);
    c->incomplete = flow_end(&c->f) == 1;
    if (c->f.error != 0 && !child_has_ended(&c->p->c))
        streams_kill(&c->p->s, nullptr);
    c->error = c->f.error != 0 ? c->f.error : c->error;
    fit(&c->wrote[0]);
    fit(&c->wrote[1]);
    child_poll(&c->p->c);
    c->status = c->p->c.status;
    c->usage = c->p->c.usage;
    if (c->p->c.lost && c->error == 0)
        c->error = ECHILD;
    give_up(c->p);
    c->p = nullptr;
    b->running[k] = b->running[--b->count];
    b->starved = false;
    b->asked = b->asked && b->how->next_fd >= 0;
    command_ends(b, c);
}

// Sleeps until one of those that run has written or ended or the source has more; serves all that
// have.
static int serve(batch *b, weft_deadline d)
{
    bool ask_source = b->asked && b->how->next_fd >= 0 && b->count < b->jobs;
    if (!ask_source && b->count == 0)
        return fail_with(EDEADLK);
    weft_deadline limit = enforce_limits(b), wake = limit < d ? limit : d;
    int saved = errno;
    b->fds[0] = {b->how->next_fd, POLLIN, 0};
    if (pump_round(b->running, b->count, b->fds, ask_source, wake) != 0 &&
        (errno != ETIMEDOUT || wake == d))
        return -1;
    errno = saved;
    if (ask_source && b->fds[0].revents != 0)
        b->asked = false;
    // Backwards: one that ends gives its place to the last, which has been looked at.
    for (size_t k = b->count; k-- > 0;)
        if (flow_is_over(b->running[k]))
            end_command(b, k);
    return 0;
}

static bool is_done(const batch *b)
{
    return (b->all_given || b->halted) && b->count == 0 && b->waiting == nullptr;
}

static int run_all(batch *b, weft_deadline d)
{
    for (;;) {
        if (start_some(b, d) != 0)
            return -1;
        report(b);
        if (is_done(b))
            return b->failed;
        if ((b->count > 0 || b->asked) && serve(b, d) != 0)
            return -1;
    }
}

static void free_list(command *c)
{
    while (c != nullptr)
        free(pop(&c));
}

static void clean_up(batch *b)
{
    int saved = errno;
    while (b->count > 0) {
        command *c = command_of(b->running[--b->count]);
        streams_kill(&c->p->s, nullptr);
        give_up(c->p);
        forget_output(c);
        if (b->how->report == nullptr)
            free(c);
    }
    while (b->first != nullptr) {
        command *c = b->first;
        b->first = c->after;
        forget_output(c);
        free(c);
    }
    free_list(b->how->report == nullptr ? b->waiting : nullptr);
    free_list(b->spare);
    free(b->running);
    free(b->fds);
    errno = saved;
}

static size_t processors(void)
{
    cpu_set_t set;
    int saved = errno, n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    errno = saved;
    return n > 0 ? (size_t)n : (size_t)sysconf(_SC_NPROCESSORS_ONLN);
}

int weft_subprocess_map(const char *const *const argvs[], size_t n,
                        const weft_subprocess_options *opts, const weft_subprocess_batch *how,
                        weft_deadline d)
{
    static const weft_subprocess_options defaults = {};
    batch b = {};
    b.how = how;
    b.opts = opts != nullptr ? opts : &defaults;
    b.argvs = argvs;
    b.n = n;
    b.last = &b.first;
    if (how == nullptr || (how->report == nullptr && how->ended == nullptr) || how->jobs < 0 ||
        how->limit_ns < 0 || (argvs == nullptr && n > 0) || (argvs != nullptr && how->next) ||
        n > INT32_MAX || (b.opts->in.kind == WEFT_STREAM_PIPE && b.opts->input == nullptr))
        return fail_with(EINVAL);
    b.jobs = how->jobs > 0 ? (size_t)how->jobs : processors();
    int failed = make_room(&b) == 0 ? run_all(&b, d) : -1;
    clean_up(&b);
    return failed;
}
