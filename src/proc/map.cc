// map.cc: many commands, a few at a time.
//
// Output that is to be collected goes to an unnamed file of each command, not through a
// pipe: nobody has to empty it while others are awaited, and a command whose turn to be reported
// has not come is not held up.  The commands that run are in one array for
// weft_subprocess_wait_any; `next` is the first not started, `told` the first not reported.
#include <weft/subprocess.h>

#include <base/errno.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "streams.h"

using namespace weft;

namespace {
struct command {
    int files[2]; // what it wrote to stream 1 and 2, or -1
    int status, error;
    int64_t start, end; // end 0: not ended
};

struct batch {
    const weft_subprocess_batch *how;
    const weft_subprocess_options *opts;
    const char *const *const *argvs;
    size_t n, next, told, ended;
    int running, failed;
    int64_t began;
    struct command *commands;
    weft_subprocess **children; // of commands that run, else NULL
};
} // namespace

static int collect_in_file(weft_stream *s, int *file)
{
    if (s->kind != WEFT_STREAM_PIPE)
        return 0;
    *file = above_streams(memfd_create("weft output", MFD_CLOEXEC));
    s->kind = WEFT_STREAM_FD;
    s->fd = *file;
    return *file >= 0 ? 0 : -1;
}

static void command_ends(struct batch *b, struct command *c)
{
    c->end = weft_now();
    b->ended++;
    b->failed += c->error != 0 || c->status != 0;
    if (b->how->progress != nullptr)
        b->how->progress(b->ended, b->n, c->end - b->began, b->how->arg);
}

static void start_next(struct batch *b)
{
    size_t i = b->next++;
    struct command *c = &b->commands[i];
    weft_subprocess_options o = *b->opts;
    c->files[0] = c->files[1] = -1;
    c->start = weft_now();
    if (collect_in_file(&o.out, &c->files[0]) == 0 && collect_in_file(&o.err, &c->files[1]) == 0)
        b->children[i] = weft_subprocess_start(b->argvs[i], &o);
    if (b->children[i] != nullptr) {
        b->running++;
        return;
    }
    c->error = errno;
    command_ends(b, c);
}

static void reap(struct batch *b, size_t i)
{
    struct command *c = &b->commands[i];
    if (weft_subprocess_wait(b->children[i], &c->status, WEFT_FOREVER) != 0 && c->error == 0)
        c->error = errno;
    weft_subprocess_destroy(b->children[i]);
    b->children[i] = nullptr;
    b->running--;
    command_ends(b, c);
}

static int read_file(int fd, weft_buffer *to)
{
    struct stat s;
    if (fd < 0 || fstat(fd, &s) != 0)
        return 0;
    to->data = (char *)malloc((size_t)s.st_size + 1);
    if (to->data == nullptr)
        return -1;
    to->capacity = (size_t)s.st_size + 1;
    while (to->size < (size_t)s.st_size) {
        ssize_t n = pread(fd, to->data + to->size, (size_t)s.st_size - to->size, (off_t)to->size);
        if (n <= 0)
            break;
        to->size += (size_t)n;
    }
    to->data[to->size] = 0;
    return 0;
}

static int tell(struct batch *b, size_t i)
{
    struct command *c = &b->commands[i];
    weft_subprocess_result r;
    memset(&r, 0, sizeof r);
    r.status = c->status;
    r.ns = c->end - c->start;
    int result = read_file(c->files[0], &r.out) != 0 ? -1 : read_file(c->files[1], &r.err);
    close_keep_errno(&c->files[0]);
    close_keep_errno(&c->files[1]);
    if (result == 0)
        b->how->report(i, &r, c->error, b->how->arg);
    weft_subprocess_result_free(&r);
    return result;
}

// Kills what is beyond its limit; gives the time when the next one will be.
static weft_deadline enforce_limit(struct batch *b)
{
    weft_deadline first = WEFT_FOREVER;
    int64_t now = weft_now(), limit = b->how->limit_ns;
    for (size_t i = b->told; limit > 0 && i < b->next; i++) {
        struct command *c = &b->commands[i];
        if (b->children[i] == nullptr || c->error != 0)
            continue;
        if (now - c->start < limit) {
            weft_deadline by = limit >= WEFT_FOREVER - c->start ? WEFT_FOREVER : c->start + limit;
            first = by < first ? by : first;
        } else {
            // One that ended just in time keeps its status: nobody is there to be killed.
            c->error = child_has_ended(&b->children[i]->c) ? 0 : ETIMEDOUT;
            weft_subprocess_kill(b->children[i]);
        }
    }
    return first;
}

static int run_all(struct batch *b, int jobs, weft_deadline d)
{
    int saved = errno;
    while (b->told < b->n) {
        while (b->running < jobs && b->next < b->n)
            start_next(b);
        for (; b->told < b->next && b->commands[b->told].end != 0; b->told++)
            if (tell(b, b->told) != 0)
                return -1;
        if (b->running == 0)
            continue;
        weft_deadline limit = enforce_limit(b);
        int i = weft_subprocess_wait_any(b->children + b->told, b->next - b->told,
                                         limit < d ? limit : d);
        if (i >= 0)
            reap(b, b->told + (size_t)i);
        else if (errno != ETIMEDOUT || weft_left(d) == 0)
            return -1;
    }
    errno = saved;
    return b->failed;
}

static void clean_up(struct batch *b)
{
    int saved = errno;
    for (size_t i = b->told; b->children != nullptr && b->commands != nullptr && i < b->next; i++) {
        if (b->children[i] != nullptr) {
            streams_kill(&b->children[i]->s, nullptr);
            give_up(b->children[i]);
        }
        close_keep_errno(&b->commands[i].files[0]);
        close_keep_errno(&b->commands[i].files[1]);
    }
    free(b->commands);
    free(b->children);
    errno = saved;
}

int weft_subprocess_map(const char *const *const argvs[], size_t n,
                        const weft_subprocess_options *opts, const weft_subprocess_batch *how,
                        weft_deadline d)
{
    static const weft_subprocess_options defaults = {};
    struct batch b;
    memset(&b, 0, sizeof b);
    b.how = how;
    b.opts = opts != nullptr ? opts : &defaults;
    b.argvs = argvs;
    b.n = n;
    b.began = weft_now();
    if (how == nullptr || how->report == nullptr || how->jobs < 0 || how->limit_ns < 0 ||
        (argvs == nullptr && n > 0) || n > INT32_MAX || b.opts->in.kind == WEFT_STREAM_PIPE)
        return fail_with(EINVAL);
    b.commands = (struct command *)calloc(n + 1, sizeof *b.commands);
    b.children = (weft_subprocess **)calloc(n + 1, sizeof(void *));
    int jobs = how->jobs > 0 ? how->jobs : (int)sysconf(_SC_NPROCESSORS_ONLN);
    int failed =
        b.commands != nullptr && b.children != nullptr ? run_all(&b, jobs, d) : fail_with(ENOMEM);
    clean_up(&b);
    return failed;
}
