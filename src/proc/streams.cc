// streams.cc: feeding, reading, waiting for and signalling children, one or several.
//
// A group's number stays taken as long as one of its processes is not reaped, so the group can be
// signalled while a child is left to be waited for; where the kernel signals groups by pidfd, also
// afterwards.
#include "pump.h"
#include "sides.h"

#include <fcntl.h>
#include <string.h>
#include <termios.h>

#include <base/sigpipe.h>

using namespace weft;

void weft::streams_close(streams *s)
{
    for (int i = 0; i < 3; i++)
        close_keep_errno(&s->fds[i]);
    close_keep_errno(&s->pty);
}

// At the beginning of a line one is an end, elsewhere it only gives on the line.
static bool tell_end(streams *s)
{
    struct termios t;
    if (tcgetattr(s->fds[0], &t) != 0 || !(t.c_lflag & ICANON))
        return true;
    const char ends[2] = {(char)t.c_cc[VEOF], (char)t.c_cc[VEOF]};
    size_t n = s->last == '\n' ? 1 : 2;
    fcntl(s->fds[0], F_SETFL, O_RDWR | O_NONBLOCK);
    return uncancelled(write, s->fds[0], ends, n) == (ssize_t)n || errno != EAGAIN;
}

bool weft::streams_end_input(streams *s)
{
    int saved = errno;
    bool told = s->fds[0] < 0 || s->pty < 0 || tell_end(s);
    errno = saved;
    if (told)
        close_keep_errno(&s->fds[0]);
    return told;
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
    family_free(&s->relatives);
}

int weft::streams_wait(streams *s, int *status, weft_deadline d)
{
    bool lost = false;
    int saved = errno;
    for (size_t i = 0; i < s->count; i++) {
        child *c = &s->children[i]->c;
        while (child_wait(c, terminal_next(s, d)) != 0) {
            if (errno != ETIMEDOUT || weft_left(d) == 0)
                return -1;
            terminal_look(s);
            errno = saved;
        }
        lost = lost || c->lost;
    }
    terminal_back(s);
    if (lost)
        return fail_with(ECHILD);
    if (status != nullptr)
        *status = s->children[s->count - 1]->c.status;
    return 0;
}

// Whether one that is not reaped is in the first one's group, and so keeps that number taken.
static bool group_is_held(const streams *s)
{
    int saved = errno;
    bool held = false;
    for (size_t i = 0; i < s->count && !held; i++)
        held = child_holds_number(&s->children[i]->c) &&
               getpgid(s->children[i]->c.pid) == s->children[0]->c.pid;
    errno = saved;
    return held;
}

int weft::streams_signal(const streams *s, int signal)
{
    int saved = errno, error = ESRCH;
    child *first = &s->children[0]->c;
    bool sent = false;
    if (first->leads && first->warden == nullptr) {
        int result = child_signal_group(first, signal);
        if (result != 0 && errno == ESRCH && group_is_held(s))
            return kill(-first->pid, signal);
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

// ---- Bytes ----

int weft::streams_communicate(streams *s, const void *in, size_t n, weft_buffer *out,
                              weft_buffer *err, weft_deadline d)
{
    if (n > 0 && (in == nullptr || !s->takes_input))
        return fail_with(EINVAL);
    int saved = errno, incomplete;
    while ((incomplete = pump(s, in, n, out, err, terminal_next(s, d))) == -1 &&
           errno == ETIMEDOUT && weft_left(d) > 0) {
        terminal_look(s);
        errno = saved;
    }
    int error = incomplete == 1 ? streams_finish(s) : 0;
    if (error != 0)
        incomplete = fail_with(error) - 1;
    if (incomplete == -2) {
        error = errno;
        errno = 0; // ECANCELED may be the sink's word: then nothing stops this thread
        streams_end(s, nullptr, nullptr, nullptr);
        errno = error;
    }
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
    if (stream == 0)
        streams_end_input(s);
    close_keep_errno(&s->fds[stream]);
    if (stream == 0)
        s->takes_input = false;
    return 0;
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
        ssize_t got = uncancelled(read, fd, bytes, n);
        if (got < 0 && errno == EIO && s->pty >= 0) { // nobody has the terminal any more
            errno = saved;
            return 0;
        }
        if (got >= 0 || !is_for_now(errno))
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
        if (put > 0)
            s->last = ((const char *)bytes)[done + (size_t)put - 1];
        if (put >= 0)
            done += (size_t)put;
        else if (!is_for_now(errno) || (errno == EAGAIN && await(fd, POLLOUT, d) != 0))
            error = errno;
    }
    errno = error != 0 ? error : saved;
    return done > 0 || error == 0 ? (ssize_t)done : -1;
}

// ---- All in one ----

static void make_group(weft_subprocess_options *o)
{
    if (o->process_group != 0 || o->flags & WEFT_SUBPROCESS_NEW_SESSION ||
        (!sides_use_pty(o) && terminal_is_ours()))
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
    if (o->input != nullptr && o->in.kind != WEFT_STREAM_PTY)
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
