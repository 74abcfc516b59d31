// pipeline.cc: programs joined by pipes.
//
// The stages are subprocesses started from left to right; each one's output pipe is
// handed to the next as its input, and our copy closed at once: only the stages hold the
// pipes between them, which is what lets SIGPIPE run upstream.  The outer ends
// are taken from the first and the last stage into the pipeline.
//
// A file or pipe for errors is opened once and shared; opened by each stage, a
// truncated file's stages would write over each other.
#include <weft/pipeline.h>

#include "sides.h"

#include <stdlib.h>
#include <string.h>

using namespace weft;

struct weft_pipeline {
    streams s;
    weft_subprocess *stages[1]; // s.count of them
};

static int take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
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
    l->s.fds[0] = l->s.fds[1] = l->s.fds[2] = l->s.pty = -1;
    l->s.children = l->stages;
    return l;
}

static weft_stream from_descriptor(int fd)
{
    weft_stream s = {WEFT_STREAM_FD, fd, nullptr, nullptr};
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
    if (i > 0 && l->stages[0]->c.leads && l->stages[0]->c.warden == nullptr)
        o.process_group = l->stages[0]->c.pid;
    if (i > 0)
        o.flags &= ~WEFT_SUBPROCESS_FOREGROUND;
    weft_subprocess *p = weft_subprocess_start(argv, &o);
    close_keep_errno(before);
    if (p == nullptr)
        return -1;
    l->stages[l->s.count++] = p;
    if (i == 0)
        l->s.fds[0] = take(&p->s.fds[0]);
    *(i + 1 < n ? before : &l->s.fds[1]) = take(&p->s.fds[1]);
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
        errors = open_side(&o->err, 2, &l->s.fds[2]);
        if (errors < 0) {
            if (o->stage != nullptr)
                *o->stage = WEFT_STAGE_STREAMS;
            return -1;
        }
        o->err = from_descriptor(errors);
    }
    for (size_t i = 0; i < n && result == 0; i++) {
        if (o->program != nullptr)
            *o->program = i;
        result = start_stage(l, i, n, argvs[i], o, &before);
    }
    close_keep_errno(&before);
    close_keep_errno(&errors);
    return result;
}

static void free_all(weft_pipeline *l)
{
    streams_free(&l->s);
    for (size_t i = 0; i < l->s.count; i++)
        give_up(l->stages[i]);
    free_keep_errno(l);
}

static void abandon(weft_pipeline *l)
{
    streams_close(&l->s);
    if (l->s.count > 0)
        streams_kill(&l->s, nullptr);
    free_all(l);
}

weft_pipeline *weft_pipeline_start(const char *const *const argvs[], size_t n,
                                   const weft_subprocess_options *opts)
{
    static const weft_subprocess_options defaults = {};
    weft_subprocess_options o = opts != nullptr ? *opts : defaults;
    if (o.stage != nullptr)
        *o.stage = WEFT_STAGE_PREPARE;
    if (argvs == nullptr || n == 0 || sides_use_pty(&o) ||
        (n > 1 && (o.flags & WEFT_SUBPROCESS_NEW_SESSION) != 0)) {
        errno = EINVAL;
        return nullptr;
    }
    weft_pipeline *l = allocate(n);
    if (l == nullptr)
        return nullptr;
    l->s.takes_input = o.in.kind == WEFT_STREAM_PIPE;
    outlet_init(&l->s.outlets[0], &o.out);
    outlet_init(&l->s.outlets[1], &o.err);
    if (start_stages(l, argvs, n, &o) == 0) {
        l->s.grace = l->stages[0]->s.grace;
        l->s.kill_after = l->stages[0]->s.kill_after;
        return l;
    }
    abandon(l);
    return nullptr;
}

int weft_pipeline_destroy(weft_pipeline *l)
{
    if (l == nullptr)
        return 0;
    for (size_t i = 0; i < l->s.count; i++)
        if (!child_has_ended(&l->stages[i]->c))
            return fail_with(EBUSY);
    free_all(l);
    return 0;
}

size_t weft_pipeline_size(const weft_pipeline *l)
{
    return l != nullptr ? l->s.count : 0;
}

weft_subprocess *weft_pipeline_stage(const weft_pipeline *l, size_t i)
{
    if (l == nullptr)
        return fail_null(EINVAL);
    if (i < l->s.count)
        return l->stages[i];
    errno = EINVAL;
    return nullptr;
}

int weft_pipeline_join(weft_pipeline *l, int *status, weft_deadline d)
{
    return l != nullptr ? streams_wait(&l->s, status, d) : fail_with(EINVAL);
}

int weft_pipeline_failure(const weft_pipeline *l, int *status)
{
    if (l == nullptr)
        return fail_with(EINVAL);
    int failure = 0;
    for (size_t i = 0; i < l->s.count; i++) {
        const child *c = &l->stages[i]->c;
        if (!c->ended)
            return fail_with(EBUSY);
        if (c->status != 0)
            failure = c->status;
    }
    *status = failure;
    return 0;
}

int weft_pipeline_communicate(weft_pipeline *l, const void *in, size_t n, weft_buffer *out,
                              weft_buffer *err, weft_deadline d)
{
    return l != nullptr ? streams_communicate(&l->s, in, n, out, err, d) : fail_with(EINVAL);
}

int weft_pipeline_stream(const weft_pipeline *l, int stream)
{
    return l != nullptr ? streams_fd(&l->s, stream) : fail_with(EINVAL);
}

ssize_t weft_pipeline_read(weft_pipeline *l, int stream, void *bytes, size_t n, weft_deadline d)
{
    return l != nullptr ? streams_read(&l->s, stream, bytes, n, d) : fail_with(EINVAL);
}

ssize_t weft_pipeline_write(weft_pipeline *l, const void *bytes, size_t n, weft_deadline d)
{
    return l != nullptr ? streams_write(&l->s, bytes, n, d) : fail_with(EINVAL);
}

int weft_pipeline_close(weft_pipeline *l, int stream)
{
    return l != nullptr ? streams_close_one(&l->s, stream) : fail_with(EINVAL);
}

int weft_pipeline_send_signal(weft_pipeline *l, int signal)
{
    return l != nullptr ? streams_signal(&l->s, signal) : fail_with(EINVAL);
}

int weft_pipeline_end(weft_pipeline *l, int *status, weft_deadline close_by, weft_deadline term_by,
                      weft_deadline d)
{
    return l != nullptr ? streams_stop(&l->s, status, close_by, term_by, d) : fail_with(EINVAL);
}

int weft_pipeline_run(const char *const *const argvs[], size_t n,
                      const weft_subprocess_options *opts, weft_subprocess_result *r, int *failure,
                      weft_deadline d)
{
    weft_subprocess_options o;
    weft_subprocess_result unwanted, *to = r != nullptr ? r : &unwanted;
    memset(to, 0, sizeof *to);
    if (run_options(&o, opts, d != WEFT_FOREVER) != 0)
        return -1;
    int64_t begun = weft_now();
    weft_pipeline *l = weft_pipeline_start(argvs, n, &o);
    if (l == nullptr)
        return -1;
    int result = run_streams(&l->s, &o, to, begun, d);
    if (failure != nullptr)
        weft_pipeline_failure(l, failure);
    free_all(l);
    if (r == nullptr)
        weft_subprocess_result_free(&unwanted);
    return result;
}
