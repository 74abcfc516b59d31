// pipeline.cc: programs joined by pipes.
//
// The stages are subprocesses started from left to right; each one's output pipe is
// handed to the next as its input, and our copy closed at once: only the stages hold the
// pipes between them, which is what lets SIGPIPE run upstream.  The outer ends
// are taken from the first and the last stage into the pipeline.
//
// A file or pipe for errors is opened once and shared; opened by each stage, a
// truncated file's stages would write over each other.
//
// A group's number stays taken as long as one of its processes is not reaped, so
// the group is signalled only while a stage is left to be waited for.
#include <weft/pipeline.h>

#include <base/errno.h>

#include "handle.h"
#include "pump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

using namespace weft;

struct weft_pipeline {
    size_t size;
    int fds[3]; // our ends, or -1
    bool takes_input, leads;
    size_t written;
    int64_t grace;
    weft_subprocess *stages[1]; // size of them
};

static int take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

static void close_ends(weft_pipeline *l)
{
    for (int i = 0; i < 3; i++)
        close_keep_errno(&l->fds[i]);
}

static weft_pipeline *allocate(size_t n)
{
    weft_pipeline *l = n < SIZE_MAX / sizeof(void *) / 2
                           ? (weft_pipeline *)calloc(1, sizeof *l + n * sizeof(void *))
                           : nullptr;
    if (l == nullptr) {
        errno = ENOMEM;
        return nullptr;
    }
    l->fds[0] = l->fds[1] = l->fds[2] = -1;
    return l;
}

static weft_stream from_descriptor(int fd)
{
    weft_stream s = {WEFT_STREAM_FD, fd, nullptr};
    return s;
}

// Starts stage i of n; `before` is the pipe from the stage before it, ours to close.
static int start_stage(weft_pipeline *l, size_t i, size_t n, const char *const argv[],
                       const weft_subprocess_options *opts, int *before)
{
    weft_subprocess_options o = *opts;
    if (i > 0)
        o.in = from_descriptor(*before);
    if (i + 1 < n)
        o.out.kind = WEFT_STREAM_PIPE;
    if (i > 0 && l->leads)
        o.process_group = l->stages[0]->pid;
    weft_subprocess *p = weft_subprocess_start(argv, &o);
    close_keep_errno(before);
    if (p == nullptr)
        return -1;
    l->stages[l->size++] = p;
    if (i == 0)
        l->fds[0] = take(&p->fds[0]);
    *(i + 1 < n ? before : &l->fds[1]) = take(&p->fds[1]);
    return 0;
}

static bool is_shared(int kind)
{
    return kind == WEFT_STREAM_PIPE || kind == WEFT_STREAM_NULL || kind == WEFT_STREAM_TRUNCATE ||
           kind == WEFT_STREAM_APPEND;
}

static int start_stages(weft_pipeline *l, const char *const *const argvs[], size_t n,
                        weft_subprocess_options *o)
{
    int errors = -1, before = -1, result = 0;
    if (is_shared(o->err.kind)) {
        errors = open_side(&o->err, 2, &l->fds[2]);
        if (errors < 0) {
            if (o->stage != nullptr)
                *o->stage = WEFT_STAGE_STREAMS;
            return -1;
        }
        o->err = from_descriptor(errors);
    }
    for (size_t i = 0; i < n && result == 0; i++)
        result = start_stage(l, i, n, argvs[i], o, &before);
    close_keep_errno(&before);
    close_keep_errno(&errors);
    return result;
}

static void abandon(weft_pipeline *l)
{
    int saved = errno;
    close_ends(l);
    weft_pipeline_signal(l, SIGKILL);
    weft_pipeline_wait(l, nullptr, WEFT_FOREVER);
    weft_pipeline_destroy(l);
    errno = saved;
}

weft_pipeline *weft_pipeline_start(const char *const *const argvs[], size_t n,
                                   const weft_subprocess_options *opts)
{
    weft_subprocess_options o;
    memset(&o, 0, sizeof o);
    if (opts != nullptr)
        o = *opts;
    if (o.stage != nullptr)
        *o.stage = WEFT_STAGE_PREPARE;
    if (argvs == nullptr || n == 0 || (n > 1 && (o.flags & WEFT_SUBPROCESS_NEW_SESSION) != 0)) {
        errno = EINVAL;
        return nullptr;
    }
    weft_pipeline *l = allocate(n);
    if (l == nullptr)
        return nullptr;
    l->leads = o.process_group == WEFT_GROUP_NEW;
    l->takes_input = o.in.kind == WEFT_STREAM_PIPE;
    if (start_stages(l, argvs, n, &o) == 0) {
        l->grace = l->stages[0]->grace;
        return l;
    }
    abandon(l);
    return nullptr;
}

int weft_pipeline_destroy(weft_pipeline *l)
{
    if (l == nullptr)
        return 0;
    for (size_t i = 0; i < l->size; i++)
        if (!has_ended(l->stages[i]))
            return fail_with(EBUSY);
    for (size_t i = 0; i < l->size; i++)
        weft_subprocess_destroy(l->stages[i]);
    close_ends(l);
    free_keep_errno(l);
    return 0;
}

size_t weft_pipeline_size(const weft_pipeline *l)
{
    return l->size;
}

weft_subprocess *weft_pipeline_stage(const weft_pipeline *l, size_t i)
{
    if (i < l->size)
        return l->stages[i];
    errno = EINVAL;
    return nullptr;
}

int weft_pipeline_wait(weft_pipeline *l, int *status, weft_deadline d)
{
    bool lost = false;
    int saved = errno;
    for (size_t i = 0; i < l->size; i++) {
        if (weft_subprocess_wait(l->stages[i], nullptr, d) != 0 && errno == ETIMEDOUT)
            return -1;
        lost = lost || l->stages[i]->lost;
    }
    errno = saved;
    if (lost)
        return fail_with(ECHILD);
    if (status != nullptr)
        *status = l->stages[l->size - 1]->status;
    return 0;
}

int weft_pipeline_failure(const weft_pipeline *l, int *status)
{
    int failure = 0;
    for (size_t i = 0; i < l->size; i++) {
        if (!l->stages[i]->ended)
            return fail_with(EBUSY);
        if (l->stages[i]->status != 0)
            failure = l->stages[i]->status;
    }
    *status = failure;
    return 0;
}

static int run_pump(weft_pipeline *l, const void *in, size_t n, weft_buffer *out, weft_buffer *err,
                    weft_deadline d)
{
    struct pump pump = {l->fds,    (const char *)in, n,       &l->written, {nullptr, out, err},
                        l->stages, l->size,          l->grace};
    return pump_run(&pump, d);
}

int weft_pipeline_communicate(weft_pipeline *l, const void *in, size_t n, weft_buffer *out,
                              weft_buffer *err, weft_deadline d)
{
    if (n > 0 && (in == nullptr || !l->takes_input))
        return fail_with(EINVAL);
    int incomplete = run_pump(l, in, n, out, err, d);
    if (incomplete < 0)
        return -1;
    return weft_pipeline_wait(l, nullptr, d) == 0 ? incomplete : -1;
}

int weft_pipeline_stream(const weft_pipeline *l, int stream)
{
    return stream >= 0 && stream <= 2 && l->fds[stream] >= 0 ? l->fds[stream] : fail_with(EBADF);
}

ssize_t weft_pipeline_read(weft_pipeline *l, int stream, void *bytes, size_t n, weft_deadline d)
{
    if (stream != 1 && stream != 2)
        return fail_with(EBADF);
    return pipe_read(l->fds[stream], bytes, n, d);
}

ssize_t weft_pipeline_write(weft_pipeline *l, const void *bytes, size_t n, weft_deadline d)
{
    return pipe_write(l->fds[0], bytes, n, d);
}

int weft_pipeline_close(weft_pipeline *l, int stream)
{
    if (weft_pipeline_stream(l, stream) < 0)
        return -1;
    close_keep_errno(&l->fds[stream]);
    if (stream == 0)
        l->takes_input = false;
    return 0;
}

int weft_pipeline_signal(weft_pipeline *l, int signal)
{
    int saved = errno, error = ESRCH;
    bool sent = false;
    for (size_t i = 0; i < l->size; i++) {
        if (l->stages[i]->ended)
            continue;
        if (l->leads)
            return kill(-l->stages[0]->pid, signal);
        if (weft_subprocess_send_signal(l->stages[i], signal) == 0)
            sent = true;
        else
            error = errno;
    }
    if (!sent)
        return fail_with(error);
    errno = saved;
    return 0;
}

static bool all_end_by(const weft_pipeline *l, weft_deadline d)
{
    for (size_t i = 0; i < l->size; i++)
        if (!ends_by(l->stages[i], d))
            return false;
    return true;
}

int weft_pipeline_stop(weft_pipeline *l, int *status, weft_deadline close_by, weft_deadline term_by,
                       weft_deadline d)
{
    int saved = errno;
    close_keep_errno(&l->fds[0]);
    bool ended = all_end_by(l, close_by);
    if (!ended) {
        weft_pipeline_signal(l, SIGTERM);
        ended = all_end_by(l, term_by);
    }
    // What is left of the group goes with it.
    if (!ended || l->leads)
        weft_pipeline_signal(l, SIGKILL);
    errno = saved;
    return weft_pipeline_wait(l, status, d);
}

// Ends a run that failed, with what its pipes still hold.
static void end_run(weft_pipeline *l, weft_subprocess_result *r)
{
    int saved = errno;
    weft_pipeline_signal(l, SIGKILL);
    weft_pipeline_wait(l, &r->status, WEFT_FOREVER);
    run_pump(l, nullptr, 0, &r->out, &r->err, WEFT_NOW);
    errno = saved;
}

int weft_pipeline_run(const char *const *const argvs[], size_t n,
                      const weft_subprocess_options *opts, weft_subprocess_result *r, int *failure,
                      weft_deadline d)
{
    weft_subprocess_options o;
    weft_subprocess_result unwanted;
    weft_subprocess_result *to = r != nullptr ? r : &unwanted;
    memset(&o, 0, sizeof o);
    memset(to, 0, sizeof *to);
    if (opts != nullptr)
        o = *opts;
    if (o.input == nullptr && o.input_size > 0)
        return fail_with(EINVAL);
    if (o.input != nullptr)
        o.in.kind = WEFT_STREAM_PIPE;
    int64_t start = weft_now();
    weft_pipeline *l = weft_pipeline_start(argvs, n, &o);
    if (l == nullptr)
        return -1;
    int result = weft_pipeline_communicate(l, o.input, o.input_size, &to->out, &to->err, d);
    to->incomplete = result == 1;
    if (result >= 0)
        result = weft_pipeline_wait(l, &to->status, WEFT_NOW);
    else if (errno != ECHILD)
        end_run(l, to);
    if (failure != nullptr)
        weft_pipeline_failure(l, failure);
    to->ns = weft_now() - start;
    weft_pipeline_destroy(l);
    if (r == nullptr)
        weft_subprocess_result_free(&unwanted);
    return result;
}
