// streams.cc: feeding, reading, waiting for and ending children, one or several.
//
// A group's number stays taken as long as one of its processes is not reaped, so the group can be
// signalled while a child is left to be waited for; where the kernel signals groups by pidfd, also
// afterwards.
#include "pump.h"

#include <fcntl.h>
#include <string.h>

#include <base/sigpipe.h>

using namespace weft;

// After SIGKILL has been sent a child ends at once, unless the kernel itself is stuck.
static const int64_t KILLED_NS = 2000000000;
enum { LOOK_MS = 10 }; // at what ends, where nothing tells of its end

void weft::streams_close(streams *s)
{
    for (int i = 0; i < 3; i++)
        close_keep_errno(&s->fds[i]);
}

int weft::streams_finish(streams *s)
{
    int saved = errno, first = outlet_end(&s->outlets[0]), second = outlet_end(&s->outlets[1]);
    errno = saved;
    return first != 0 ? first : second;
}

void weft::streams_free(streams *s)
{
    streams_close(s);
    outlet_free(&s->outlets[0]);
    outlet_free(&s->outlets[1]);
}

int weft::streams_wait(streams *s, int *status, weft_deadline d)
{
    bool lost = false;
    for (size_t i = 0; i < s->count; i++) {
        child *c = &s->children[i]->c;
        if (child_wait(c, d) != 0)
            return -1;
        lost = lost || c->lost;
    }
    if (lost)
        return fail_with(ECHILD);
    if (status != nullptr)
        *status = s->children[s->count - 1]->c.status;
    return 0;
}

static bool await_all(const streams *s, weft_deadline d)
{
    int saved = errno;
    bool ended = true;
    for (size_t i = 0; i < s->count && ended; i++)
        ended = child_await(&s->children[i]->c, d) == 0;
    errno = saved;
    return ended;
}

static bool all_reaped(const streams *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (!s->children[i]->c.ended)
            return false;
    return true;
}

int weft::streams_signal(const streams *s, int signal)
{
    int saved = errno, error = ESRCH;
    child *first = &s->children[0]->c;
    bool sent = false;
    if (first->leads && first->kept == nullptr) {
        int result = child_signal_group(first, signal);
        if (result != 0 && errno == ESRCH && first->ended && !all_reaped(s))
            return kill(-first->pid, signal); // the others keep the number taken
        return result;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (child_signal_all(&s->children[i]->c, signal) == 0)
            sent = true;
        else if (errno != ESRCH)
            error = errno;
    }
    errno = sent ? saved : error;
    return sent ? 0 : -1;
}

int weft::streams_terminate(const streams *s)
{
    int saved = errno;
    if (streams_signal(s, SIGTERM) != 0)
        return -1;
    streams_signal(s, SIGCONT); // a stopped one could not follow
    errno = saved;
    return 0;
}

int weft::streams_stop(streams *s, int *status, weft_deadline close_by, weft_deadline term_by,
                       weft_deadline d)
{
    int saved = errno;
    close_keep_errno(&s->fds[0]);
    bool ended = await_all(s, close_by);
    if (!ended) {
        streams_terminate(s);
        ended = await_all(s, term_by);
    }
    // What is left of a group goes with it.
    if (!ended || s->children[0]->c.leads)
        streams_signal(s, SIGKILL);
    errno = saved;
    return streams_wait(s, status, d);
}

// Whether nobody is left: all have ended, and so have the others of their group, as far as the
// kernel tells (child_group_is_empty).
static bool is_over(const streams *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (!child_has_ended(&s->children[i]->c))
            return false;
    const child *first = &s->children[0]->c;
    if (!child_tells_group(first))
        return true;
    for (size_t i = 0; i < s->count; i++)
        child_poll(&s->children[i]->c); // or it would count as left
    return !child_tells_group(first);
}

// Reads on until nobody is left: who cleans up may have something to say.
static void attend_end(streams *s, weft_buffer *out, weft_buffer *err, weft_deadline kill_by)
{
    while (!is_over(s) && weft_left(kill_by) > 0) {
        weft_deadline look = weft_in_ms(LOOK_MS), by = look < kill_by ? look : kill_by;
        if (s->fds[0] < 0 && s->fds[1] < 0 && s->fds[2] < 0) {
            const child *c = nullptr;
            for (size_t i = 0; i < s->count && c == nullptr; i++)
                if (!child_has_ended(&s->children[i]->c))
                    c = &s->children[i]->c;
            if ((c != nullptr ? child_sleep(c, by) : poll_until(nullptr, 0, by)) != 0 &&
                errno == ECANCELED)
                return;
        } else if (pump(s, nullptr, 0, out, err, by) != 0 && errno != ETIMEDOUT) {
            return;
        }
    }
}

void weft::streams_end(streams *s, weft_buffer *out, weft_buffer *err, int *status)
{
    int saved = errno;
    int64_t grace = s->grace;
    s->grace = 0;
    if (errno != ECANCELED && s->kill_after > 0 && streams_terminate(s) == 0)
        attend_end(s, out, err, weft_in_ns(s->kill_after));
    streams_kill(s, status);
    pump(s, nullptr, 0, out, err, WEFT_NOW);
    s->grace = grace;
    errno = saved;
}

void weft::streams_kill(streams *s, int *status)
{
    int saved = errno;
    poll_way *way = way_to_poll; // neither a stop nor a cancel cuts this short
    way_to_poll = nullptr;
    bool dying = streams_signal(s, SIGKILL) == 0 || errno == ESRCH;
    streams_wait(s, status, dying ? weft_in_ns(KILLED_NS) : WEFT_NOW);
    way_to_poll = way;
    errno = saved;
}

// ---- Bytes ----

int weft::streams_communicate(streams *s, const void *in, size_t n, weft_buffer *out,
                              weft_buffer *err, weft_deadline d)
{
    if (n > 0 && (in == nullptr || !s->takes_input))
        return fail_with(EINVAL);
    int incomplete = pump(s, in, n, out, err, d);
    int error = incomplete == 1 ? streams_finish(s) : 0;
    if (error != 0)
        incomplete = fail_with(error) - 1;
    if (incomplete == -2)
        streams_end(s, nullptr, nullptr, nullptr);
    if (incomplete < 0)
        return -1;
    return streams_wait(s, nullptr, d) == 0 ? incomplete : -1;
}

int weft::streams_fd(const streams *s, int stream)
{
    return stream >= 0 && stream <= 2 && s->fds[stream] >= 0 ? s->fds[stream] : fail_with(EBADF);
}

int weft::streams_close_one(streams *s, int stream)
{
    if (streams_fd(s, stream) < 0)
        return -1;
    close_keep_errno(&s->fds[stream]);
    if (stream == 0)
        s->takes_input = false;
    return 0;
}

static bool again(void)
{
    return errno == EAGAIN || errno == EINTR;
}

static int await(int fd, short events, weft_deadline d)
{
    struct pollfd p = {fd, events, 0};
    return poll_until(&p, 1, d) < 0 ? -1 : 0;
}

ssize_t weft::streams_read(streams *s, int stream, void *bytes, size_t n, weft_deadline d)
{
    int saved = errno, fd = stream == 0 ? -1 : streams_fd(s, stream);
    if (fd < 0)
        return fail_with(EBADF);
    for (;;) {
        if (await(fd, POLLIN, d) != 0)
            return -1;
        ssize_t got = read(fd, bytes, n);
        if (got >= 0 || !again())
            return got;
        errno = saved;
    }
}

ssize_t weft::streams_write(streams *s, const void *bytes, size_t n, weft_deadline d)
{
    size_t done = 0;
    int saved = errno, error = 0, fd = streams_fd(s, 0);
    if (fd < 0)
        return -1;
    fcntl(fd, F_SETFL, O_WRONLY | O_NONBLOCK);
    while (done < n && error == 0) {
        ssize_t put = sigpipe_write(fd, (const char *)bytes + done, n - done);
        if (put >= 0)
            done += (size_t)put;
        else if (!again() || (errno == EAGAIN && await(fd, POLLOUT, d) != 0))
            error = errno;
    }
    errno = error != 0 ? error : saved;
    return done > 0 || error == 0 ? (ssize_t)done : -1;
}

// ---- All in one ----

static void make_group(weft_subprocess_options *o)
{
    int saved = errno;
    bool at_terminal = o->in.kind == WEFT_STREAM_INHERIT && isatty(0);
    errno = saved;
    if (at_terminal || o->process_group != 0 || o->flags & WEFT_SUBPROCESS_NEW_SESSION)
        return;
    o->process_group = WEFT_GROUP_NEW;
    o->flags |= WEFT_SUBPROCESS_DIE_WITH_PARENT;
}

int weft::run_options(weft_subprocess_options *o, const weft_subprocess_options *opts, bool bounded)
{
    memset(o, 0, sizeof *o);
    if (opts != nullptr)
        *o = *opts;
    if (o->input == nullptr && o->input_size > 0)
        return fail_with(EINVAL);
    if (o->input != nullptr)
        o->in.kind = WEFT_STREAM_PIPE;
    if (bounded)
        make_group(o);
    return 0;
}

int weft::run_streams(streams *s, const weft_subprocess_options *o, weft_subprocess_result *r,
                      int64_t begun, weft_deadline d)
{
    int result = streams_communicate(s, o->input, o->input_size, &r->out, &r->err, d);
    r->incomplete = result == 1;
    if (result >= 0)
        result = streams_wait(s, &r->status, WEFT_NOW);
    else if (errno != ECHILD)
        streams_end(s, &r->out, &r->err, &r->status);
    streams_finish(s);
    r->usage = s->children[s->count - 1]->c.usage;
    r->start = begun;
    r->ns = weft_now() - begun;
    return result;
}
