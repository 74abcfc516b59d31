// io_copy.cc: bytes from one descriptor to another through a pipe (splice(2)), which takes pages
// and copies none.
//
// A pipe is only had while there is something in it, and a large one, for its size is what a turn
// of two system calls can take; one empty one is kept for the next, whoever that is,
// but in a forked child, which shares it with the parent.
//
// What can't be spliced, or might block since it has no O_NONBLOCK, goes through memory instead.
// Both ends are compared with what they were before each system call: while this waits for one the
// other may be closed.
#include "descriptor.h"

#include <base/above_streams.h>
#include <base/errno.h>
#include <base/sigpipe.h>

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

using namespace weft;

static const int PIPE = 1 << 20;    // bytes; as much as anyone may ask for
static const size_t PART = 1 << 16; // of memory

namespace {
struct copying {
    io_held from, to;
    int pipe[2]; // 0: none
    pid_t pipe_of;
    char *memory; // instead of the pipe
    size_t held;  // read, and not written yet
    size_t begin; // in the memory
    weft_deadline d;
};
} // namespace

static void drop(int pipe[2])
{
    for (int i = 0; i < 2; i++) {
        if (pipe[i] > 0)
            close_keep_errno(&pipe[i]);
        pipe[i] = 0;
    }
}

static int take_pipe(copying *c)
{
    int *spare = io_here->pipe, saved = errno;
    c->pipe_of = getpid();
    if (io_here->pipe_of != c->pipe_of)
        drop(spare);
    memcpy(c->pipe, spare, sizeof c->pipe);
    spare[0] = spare[1] = 0;
    if (c->pipe[0] > 0)
        return 0;
    if (make_pipe(c->pipe) != 0) {
        c->pipe[0] = c->pipe[1] = 0;
        return -1;
    }
    if (fcntl(c->pipe[1], F_SETPIPE_SZ, PIPE) < 0)
        errno = saved; // its size is limited, or that of all pipes of the user
    return 0;
}

static void leave_pipe(copying *c)
{
    int *spare = io_here->pipe;
    if (c->held == 0 && spare[0] == 0 && c->pipe_of == getpid()) {
        memcpy(spare, c->pipe, sizeof c->pipe);
        io_here->pipe_of = c->pipe_of;
        c->pipe[0] = c->pipe[1] = 0;
    }
    drop(c->pipe);
}

static ssize_t splice_in(int fd, descriptor *r, io_call *call)
{
    copying *c = (copying *)call->data;
    if (r->blocking)
        return fail_with(EINVAL);
    if (take_pipe(c) != 0)
        return -1;
    ssize_t got = splice(io_number(r, fd), nullptr, c->pipe[1], nullptr,
                         call->n < call->most ? call->n : call->most, SPLICE_F_NONBLOCK);
    if (got <= 0)
        leave_pipe(c);
    return got;
}

static ssize_t splice_out(int fd, descriptor *r, io_call *call)
{
    const copying *c = (const copying *)call->data;
    sigpipe hold;
    if (r->blocking)
        return fail_with(EINVAL);
    sigpipe_hold(&hold);
    ssize_t put = splice(c->pipe[0], nullptr, io_number(r, fd), nullptr,
                         c->held < call->most ? c->held : call->most, SPLICE_F_NONBLOCK);
    sigpipe_release(&hold, put < 0 && errno == EPIPE);
    return put;
}

// From now on, with what the pipe holds.
static int go_by_memory(copying *c)
{
    int saved = errno;
    c->memory = (char *)malloc(c->held < PART ? PART : c->held);
    if (c->memory == nullptr)
        return -1;
    if (c->held > 0 && read(c->pipe[0], c->memory, c->held) != (ssize_t)c->held)
        return fail_with(EIO);
    c->begin = 0;
    errno = saved;
    return 0;
}

static ssize_t take(copying *c, size_t n)
{
    if (!io_is_same(&c->from))
        return fail_with(ECANCELED);
    if (c->memory == nullptr) {
        io_call call = {splice_in, c, n < PIPE ? n : PIPE, 0, nullptr, nullptr, false};
        ssize_t got = io_do(c->from.fd, WEFT_READ, &call, c->d);
        if (got >= 0 || !is_refused(errno))
            return got;
        if (go_by_memory(c) != 0)
            return -1;
    }
    c->begin = 0;
    return io_is_same(&c->from) ? weft_io_read(c->from.fd, c->memory, n < PART ? n : PART, c->d)
                                : fail_with(ECANCELED);
}

static ssize_t give(copying *c)
{
    if (!io_is_same(&c->to))
        return fail_with(ECANCELED);
    if (c->memory == nullptr) {
        io_call call = {splice_out, c, 0, 0, nullptr, nullptr, false};
        ssize_t put = io_do(c->to.fd, WEFT_WRITE, &call, c->d);
        if (put >= 0 || !is_refused(errno))
            return put;
        if (go_by_memory(c) != 0)
            return -1;
    }
    ssize_t put = io_is_same(&c->to) ? weft_io_write(c->to.fd, c->memory + c->begin, c->held, c->d)
                                     : fail_with(ECANCELED);
    c->begin += put > 0 ? (size_t)put : 0;
    return put;
}

// How many came through; *error: why no more, 0: all did, or it was the end.
static size_t copy_all(copying *c, size_t n, int *error)
{
    size_t all = 0;
    for (ssize_t step; all < n;) {
        if (c->held == 0) {
            step = take(c, n - all);
            if (step <= 0) {
                *error = step < 0 ? errno : 0;
                return all;
            }
            c->held = (size_t)step;
        }
        step = give(c);
        if (step < 0) {
            *error = errno;
            return all;
        }
        c->held -= (size_t)step;
        all += (size_t)step;
        if (c->held == 0)
            leave_pipe(c);
    }
    *error = 0;
    return all;
}

ssize_t weft_io_copy(int from, int to, size_t n, weft_deadline d)
{
    struct stat s;
    copying c = {};
    int saved = errno, error;
    if (io_hold(&c.from, from) != 0 || io_hold(&c.to, to) != 0 || fstat(to, &s) != 0 ||
        fstat(from, &s) != 0)
        return -1;
    n = n < SSIZE_MAX ? n : SSIZE_MAX;
    if (S_ISREG(s.st_mode))
        return weft_io_sendfile(to, from, nullptr, n, d);
    c.d = d;
    size_t all = copy_all(&c, n, &error);
    leave_pipe(&c);
    free(c.memory);
    errno = error != 0 ? error : saved;
    return error != 0 && all == 0 ? -1 : (ssize_t)all;
}
