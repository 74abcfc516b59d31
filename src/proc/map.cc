// map.cc: many commands, a few at a time.
//
// One poll watches the ends of those that run and the pipes that collect their output: so a command
// is never held up by the report of another, and what it does with /dev/stdout is what it would do
// in any pipeline.  A command that has ended holds no descriptor, only its output, until it is its
// turn to be reported; how many such there may be is bounded, and so is how much they hold.
//
// `next` is the first not started, `told` the first not reported.
#include "streams.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

using namespace weft;

enum { AHEAD = 1000 };                      // commands that have ended before their turn
static const size_t AHEAD_BYTES = 64 << 20; // and their output

namespace {
struct command {
    weft_subprocess *p;   // it runs
    weft_buffer wrote[2]; // to streams 1 and 2
    int status, error;
    struct rusage usage;
    int64_t start, end; // end 0: not ended
};

struct batch {
    const weft_subprocess_batch *how;
    const weft_subprocess_options *opts;
    const char *const *const *argvs;
    size_t n, next, told, ended;
    size_t kept; // bytes of those that have ended and are not reported
    size_t running, jobs;
    bool starved; // the system had no room for one more
    int failed;
    int64_t began;
    command *commands;
    size_t *at;         // which ones run
    struct pollfd *fds; // up to three for each of those: its end, its output
    size_t *whose;      // 3 * its place among those that run + which of the three
};
} // namespace

static void command_ends(batch *b, command *c)
{
    c->end = weft_now();
    b->ended++;
    b->failed += c->error != 0 || c->status != 0;
    b->kept += c->wrote[0].size + c->wrote[1].size;
    if (b->how->progress != nullptr)
        b->how->progress(b->ended, b->n, c->end - b->began, b->how->arg);
}

// What own children that run take up comes back when one of them ends.
static bool is_want_of_room(int error)
{
    return error == EAGAIN || error == EMFILE || error == ENFILE || error == ENOMEM;
}

static void start_next(batch *b)
{
    command *c = &b->commands[b->next];
    c->start = weft_now();
    c->p = weft_subprocess_start(b->argvs[b->next], b->opts);
    if (c->p == nullptr && b->running > 0 && is_want_of_room(errno)) {
        b->starved = true;
        return;
    }
    b->at[b->running] = b->next++;
    if (c->p == nullptr) {
        c->error = errno;
        command_ends(b, c);
        return;
    }
    b->running++;
    for (int i = 1; i < 3; i++)
        if (c->p->s.fds[i] >= 0)
            fcntl(c->p->s.fds[i], F_SETFL, O_RDONLY | O_NONBLOCK);
}

static void start_some(batch *b)
{
    while (b->running < b->jobs && b->next < b->n && !b->starved &&
           (b->running == 0 || b->next - b->told - b->running < AHEAD) &&
           (b->running == 0 || b->kept < AHEAD_BYTES))
        start_next(b);
}

static void tell(batch *b, size_t i)
{
    command *c = &b->commands[i];
    weft_subprocess_result r = {};
    r.status = c->status;
    r.usage = c->usage;
    r.ns = c->end - c->start;
    r.out = c->wrote[0];
    r.err = c->wrote[1];
    b->kept -= r.out.size + r.err.size;
    b->how->report(i, &r, c->error, b->how->arg);
    c->wrote[0] = c->wrote[1] = {};
    weft_subprocess_result_free(&r);
}

// Kills what is beyond its limit; gives the time when the next one will be.
static weft_deadline enforce_limit(batch *b)
{
    weft_deadline first = WEFT_FOREVER;
    int64_t now = weft_now(), limit = b->how->limit_ns;
    for (size_t k = 0; limit > 0 && k < b->running; k++) {
        command *c = &b->commands[b->at[k]];
        if (c->error != 0)
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

static int collect(command *c, int stream, bool all)
{
    weft_buffer *to = &c->wrote[stream - 1];
    int more = 1;
    while (more > 0 && c->p->s.fds[stream] >= 0) {
        more = pump_output(&c->p->s, stream, to);
        if (!all)
            break;
    }
    return more < 0 ? -1 : 0;
}

// What it wrote is there, with what others that have its pipes have written until now.
static int end_command(batch *b, size_t k)
{
    command *c = &b->commands[b->at[k]];
    for (int stream = 1; stream < 3; stream++) {
        weft_buffer *to = &c->wrote[stream - 1];
        if (collect(c, stream, true) != 0)
            return -1;
        if (to->data == nullptr)
            continue;
        char *fits = (char *)realloc(to->data, to->size + 1);
        to->data = fits != nullptr ? fits : to->data;
        to->capacity = to->size + 1;
    }
    child_poll(&c->p->c);
    c->status = c->p->c.status;
    c->usage = c->p->c.usage;
    if (c->p->c.lost && c->error == 0)
        c->error = ECHILD;
    weft_subprocess_destroy(c->p);
    c->p = nullptr;
    b->at[k] = b->at[--b->running];
    b->starved = false;
    command_ends(b, c);
    return 0;
}

// What is to be watched: poll(2) takes no more places than there may be descriptors.
static size_t fill(batch *b, bool *all_watched)
{
    size_t n = 0;
    *all_watched = true;
    for (size_t k = 0; k < b->running; k++) {
        const weft_subprocess *p = b->commands[b->at[k]].p;
        const int fds[] = {p->c.pidfd, p->s.fds[1], p->s.fds[2]};
        *all_watched = *all_watched && p->c.pidfd >= 0;
        for (int what = 0; what < 3; what++)
            if (fds[what] >= 0) {
                b->whose[n] = 3 * k + (size_t)what;
                b->fds[n++] = {fds[what], POLLIN, 0};
            }
    }
    return n;
}

// Sleeps until one of those that run has written or ended; serves all that have.
static int serve(batch *b, weft_deadline d)
{
    bool watched;
    size_t n = fill(b, &watched);
    weft_deadline look = watched ? WEFT_FOREVER : weft_in_ms(CHILD_LOOK_MS);
    if (poll_until(b->fds, n, look < d ? look : d) < 0 && (errno != ETIMEDOUT || d <= look))
        return -1;
    // Backwards: one that ends gives its place to the last, which has been served.
    while (n-- > 0) {
        size_t k = b->whose[n] / 3, what = b->whose[n] % 3;
        if (b->fds[n].revents == 0)
            continue;
        if (what == 0 ? end_command(b, k) != 0
                      : collect(&b->commands[b->at[k]], (int)what, false) != 0)
            return -1;
    }
    for (size_t k = b->running; !watched && k-- > 0;) {
        child *c = &b->commands[b->at[k]].p->c;
        if (c->pidfd < 0 && child_has_ended(c) && end_command(b, k) != 0)
            return -1;
    }
    return 0;
}

static int run_all(batch *b, weft_deadline d)
{
    int saved = errno;
    while (b->told < b->n) {
        start_some(b);
        for (; b->told < b->next && b->commands[b->told].end != 0; b->told++)
            tell(b, b->told);
        if (b->running == 0)
            continue;
        weft_deadline limit = enforce_limit(b);
        if (serve(b, limit < d ? limit : d) != 0 && (errno != ETIMEDOUT || weft_left(d) == 0))
            return -1;
    }
    errno = saved;
    return b->failed;
}

static void clean_up(batch *b)
{
    int saved = errno;
    for (size_t i = b->told; b->commands != nullptr && i < b->next; i++) {
        command *c = &b->commands[i];
        if (c->p != nullptr) {
            streams_kill(&c->p->s, nullptr);
            give_up(c->p);
        }
        weft_buffer_free(&c->wrote[0]);
        weft_buffer_free(&c->wrote[1]);
    }
    free(b->commands);
    free(b->at);
    free(b->fds);
    free(b->whose);
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
    b.began = weft_now();
    if (how == nullptr || how->report == nullptr || how->jobs < 0 || how->limit_ns < 0 ||
        (argvs == nullptr && n > 0) || n > INT32_MAX || b.opts->in.kind == WEFT_STREAM_PIPE)
        return fail_with(EINVAL);
    b.jobs = how->jobs > 0 ? (size_t)how->jobs : processors();
    size_t places = b.jobs < n ? b.jobs : n;
    b.commands = (command *)calloc(n + 1, sizeof *b.commands);
    b.at = (size_t *)calloc(places + 1, sizeof *b.at);
    b.fds = (struct pollfd *)calloc(places + 1, 3 * sizeof *b.fds);
    b.whose = (size_t *)calloc(places + 1, 3 * sizeof *b.whose);
    bool enough =
        b.commands != nullptr && b.at != nullptr && b.fds != nullptr && b.whose != nullptr;
    int failed = enough ? run_all(&b, d) : fail_with(ENOMEM);
    clean_up(&b);
    return failed;
}
