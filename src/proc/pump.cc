// pump.cc: feeding and reading children at the same time.
//
// One poll over the pipes of all flows, up to three for each; whichever is ready is served, so
// nobody can wait for another for ever.  Our end of the input is made non-blocking (a
// write of more than the pipe's room would sleep); an output is only read when
// poll says so, and one read takes all there is.
//
// Pipes are widened from 64 KB to 1 MB, which triples the rate, but only once a
// transfer proves large: the kernel limits what one user may have in all.
//
// The children's pidfds are watched where their ends matter: to start a grace period when the
// last of them has ended.  Where the kernel has no pidfds, by looking now and then.
#include "pump.h"

#include <base/sigpipe.h>

#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

using namespace weft;

enum { PIPE_SIZE = 64 * 1024, WIDE_PIPE = 1024 * 1024 };
enum { AT_END = 3 }; // the place of the child's pidfd, behind those of the streams

static void widen(int fd)
{
    int saved = errno;
    fcntl(fd, F_SETPIPE_SZ, WIDE_PIPE);
    errno = saved;
}

static void end_output(flow *f, int stream)
{
    int error = outlet_end(&f->s->outlets[stream - 1]);
    f->error = f->error != 0 ? f->error : error;
}

// One read.  A stream that can't be read is at its end, like one that has ended; after an error of
// what takes it, nobody does.  How many came.
static size_t serve_output(flow *f, int stream)
{
    int *fd = &f->s->fds[stream], saved = errno;
    ssize_t n = outlet_read(&f->s->outlets[stream - 1], *fd, &f->error);
    if (f->error != 0)
        streams_close(f->s);
    else if (n == 0 || (n < 0 && !is_for_now(errno)))
        close_keep_errno(fd);
    else if (n >= PIPE_SIZE && n < WIDE_PIPE)
        widen(*fd);
    if (*fd < 0)
        end_output(f, stream);
    errno = saved;
    return n > 0 ? (size_t)n : 0;
}

// A child that reads no further has had enough: the rest is dropped.
static void serve_input(flow *f)
{
    int *fd = &f->s->fds[0], saved = errno;
    size_t *written = &f->s->written;
    bool broken = false;
    if (*written < f->size) {
        ssize_t n = sigpipe_write(*fd, f->input + *written, f->size - *written);
        if (n > 0)
            *written += (size_t)n;
        if (n > 0)
            f->s->last = f->input[*written - 1];
        broken = n < 0 && !is_for_now(errno);
    }
    if (broken)
        close_keep_errno(fd);
    else if (*written == f->size)
        streams_end_input(f->s);
    errno = saved;
}

// Whether all have ended: then the grace begins.
static void look_for_ends(flow *f)
{
    if (f->awaited == nullptr || !child_has_ended(f->awaited))
        return;
    f->awaited = nullptr;
    for (size_t i = 0; i < f->s->count && f->awaited == nullptr; i++)
        if (!child_has_ended(&f->s->children[i]->c))
            f->awaited = &f->s->children[i]->c;
    if (f->awaited != nullptr)
        return;
    if (f->s->over == 0) // once, in however many parts they are waited for
        f->s->over = weft_in_ns(f->s->grace);
    f->over = f->s->over;
}

static bool has_pipes(const flow *f)
{
    return f->s->fds[0] >= 0 || f->s->fds[1] >= 0 || f->s->fds[2] >= 0;
}

int weft::flow_begin(flow *f, streams *s, const void *in, size_t n, weft_buffer *out,
                     weft_buffer *err, bool watch)
{
    *f = {s, (const char *)in, n, nullptr, WEFT_FOREVER, 0, {}};
    f->awaited = watch ? &s->children[0]->c : nullptr;
    for (int i = 1; i < 3; i++)
        if (s->fds[i] >= 0 && outlet_begin(&s->outlets[i - 1], i == 1 ? out : err) != 0)
            return -1;
    if (s->fds[0] >= 0 && n <= s->written)
        streams_end_input(s);
    if (s->fds[0] >= 0) {
        if (n > PIPE_SIZE)
            widen(s->fds[0]);
        fcntl(s->fds[0], F_SETFL, O_WRONLY | O_NONBLOCK);
    }
    return 0;
}

bool weft::flow_is_over(const flow *f)
{
    if (f->over != WEFT_FOREVER && weft_left(f->over) == 0)
        return true;
    return !has_pipes(f) && f->awaited == nullptr;
}

static bool is_ready(int fd)
{
    struct pollfd p = {fd, POLLIN, 0};
    int saved = errno, n = fd >= 0 ? uncancelled(poll, &p, 1, 0) : 0;
    errno = saved;
    return n > 0;
}

int weft::flow_end(flow *f)
{
    for (int i = 1; i < 3; i++) {
        const int *fd = &f->s->fds[i];
        int held = 0;
        if (*fd >= 0)
            ioctl(*fd, FIONREAD, &held);
        for (ssize_t left = held; left >= 0 && f->error == 0 && is_ready(*fd);)
            left -= (ssize_t)serve_output(f, i);
    }
    return f->error != 0 ? fail_with(f->error) : has_pipes(f);
}

static size_t fill(flow *f, struct pollfd *fds, size_t n)
{
    for (int i = 0; i < FLOW_PLACES; i++) {
        int fd = i < AT_END ? f->s->fds[i] : f->awaited != nullptr ? f->awaited->pidfd : -1;
        f->place[i] = fd >= 0 ? (int)n : -1;
        if (fd >= 0)
            fds[n++] = {fd, (short)(i == 0 ? POLLOUT : POLLIN), 0};
    }
    return n;
}

static void serve(flow *f, const struct pollfd *fds)
{
    auto ready = [&](int i) { return f->place[i] >= 0 && fds[f->place[i]].revents != 0; };
    if (ready(0))
        serve_input(f);
    for (int i = 1; i < AT_END; i++)
        if (f->error == 0 && ready(i))
            serve_output(f, i);
    if (ready(AT_END) || f->place[AT_END] < 0)
        look_for_ends(f);
}

int weft::pump_look(weft_deadline d)
{
    const weft_deadline past = 1; // not WEFT_NOW, at which nobody asks whether to stop
    int saved = errno;
    if (weft_left(d) == 0)
        return fail_with(ETIMEDOUT);
    if (way_to_poll != nullptr && poll_until(nullptr, 0, past) < 0 && errno != ETIMEDOUT)
        return -1;
    errno = saved;
    return 0;
}

int weft::pump_round(flow *const flows[], size_t n, struct pollfd *fds, size_t own, weft_deadline d)
{
    size_t count = own;
    weft_deadline wake = d;
    bool late = weft_left(d) == 0;
    int saved = errno;
    for (size_t i = 0; i < n; i++) {
        flow *f = flows[i];
        count = fill(f, fds, count);
        weft_deadline look =
            f->awaited != nullptr && f->awaited->pidfd < 0 ? weft_in_ms(CHILD_LOOK_MS) : f->over;
        wake = look < wake ? look : wake;
    }
    if (poll_until(fds, count, wake) < 0 && (errno != ETIMEDOUT || wake == d))
        return -1;
    errno = saved;
    for (size_t i = 0; i < n; i++)
        serve(flows[i], fds);
    if (late)
        return fail_with(ETIMEDOUT);
    static __thread unsigned rounds;
    return ++rounds % 16 == 0 ? pump_look(WEFT_FOREVER) : 0;
}

int weft::pump(streams *s, const void *in, size_t n, weft_buffer *out, weft_buffer *err,
               weft_deadline d)
{
    flow f, *one = &f;
    struct pollfd fds[FLOW_PLACES];
    int error = 0;
    if (flow_begin(&f, s, in, n, out, err, s->grace > 0) != 0)
        return -1;
    while (error == 0 && has_pipes(&f) && !flow_is_over(&f))
        error = pump_round(&one, 1, fds, 0, d) == 0 ? 0 : errno;
    int open = flow_end(&f);
    if (open < 0)
        return -2;
    return error != 0 && open > 0 ? fail_with(error) : open;
}
