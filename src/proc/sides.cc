// sides.cc: the two ends of the standard streams: a child's and ours.
//
// All descriptors made here are close-on-exec from birth and numbered 3 or higher
// (above_streams): if this process runs with one of its own standard streams closed, a pipe
// must not take that number, or the child's placing of streams would overwrite it.
#include "sides.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>

using namespace weft;

static bool kind_fits(int kind, int stream)
{
    switch (kind) {
    case WEFT_STREAM_INHERIT:
    case WEFT_STREAM_PIPE:
    case WEFT_STREAM_NULL:
    case WEFT_STREAM_FD:
    case WEFT_STREAM_PTY:
        return true;
    case WEFT_STREAM_READ:
        return stream == 0;
    case WEFT_STREAM_TRUNCATE:
    case WEFT_STREAM_APPEND:
        return stream != 0;
    case WEFT_STREAM_STDOUT:
        return stream == 2;
    default:
        return false;
    }
}

static int open_path(const char *path, int how)
{
    int fd;
    if (path == nullptr)
        return fail_with(EINVAL);
    do
        fd = uncancelled(open, path, how | O_CLOEXEC | O_NOCTTY, 0666);
    while (fd < 0 && errno == EINTR);
    return above_streams(fd);
}

static int open_pipe(int stream, int *ours)
{
    int ends[2];
    if (make_pipe(ends) != 0)
        return -1;
    *ours = ends[stream == 0];
    return ends[stream != 0];
}

int weft::open_side(const weft_stream *s, int stream, int *ours)
{
    switch (s->kind) {
    case WEFT_STREAM_PIPE:
        return open_pipe(stream, ours);
    case WEFT_STREAM_NULL:
        return open_path("/dev/null", stream == 0 ? O_RDONLY : O_WRONLY);
    case WEFT_STREAM_READ:
        return open_path(s->path, O_RDONLY);
    case WEFT_STREAM_TRUNCATE:
        return open_path(s->path, O_WRONLY | O_CREAT | O_TRUNC);
    default: // WEFT_STREAM_APPEND
        return open_path(s->path, O_WRONLY | O_CREAT | O_APPEND);
    }
}

static int place(struct sides *sides, const weft_stream *s, int stream, int *ours)
{
    if (!kind_fits(s->kind, stream) ||
        (s->sink != nullptr &&
         (stream == 0 || (s->kind != WEFT_STREAM_PIPE && s->kind != WEFT_STREAM_PTY))))
        return fail_with(EINVAL);
    if (s->kind == WEFT_STREAM_INHERIT || s->kind == WEFT_STREAM_PTY)
        return 0;
    if (s->kind == WEFT_STREAM_STDOUT) {
        sides->child[stream] = sides->child[1] < 0 ? 1 : sides->child[1];
        return 0;
    }
    if (s->kind == WEFT_STREAM_FD) {
        sides->child[stream] = s->fd;
        return fcntl(s->fd, F_GETFD) < 0 ? -1 : 0;
    }
    sides->child[stream] = open_side(s, stream, ours);
    sides->opened[stream] = sides->child[stream] >= 0;
    return sides->opened[stream] ? 0 : -1;
}

// ---- A pseudo-terminal ----

static bool is_pty(const weft_stream *s)
{
    return s->kind == WEFT_STREAM_PTY;
}

bool weft::sides_use_pty(const weft_subprocess_options *o)
{
    return is_pty(&o->in) || is_pty(&o->out) || is_pty(&o->err);
}

// The master; *slave is the other end.
static int open_pty(const weft_subprocess_options *o, int *slave)
{
    char name[64];
    struct winsize size = {};
    size.ws_row = o->rows > 0 ? o->rows : 24;
    size.ws_col = o->columns > 0 ? o->columns : 80;
    int master = above_streams(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (master < 0)
        return -1;
    if (grantpt(master) == 0 && unlockpt(master) == 0 &&
        ptsname_r(master, name, sizeof name) == 0 && ioctl(master, TIOCSWINSZ, &size) == 0) {
        *slave = open_path(name, O_RDWR);
        if (*slave >= 0)
            return master;
    }
    close_keep_errno(&master);
    return -1;
}

static int copy_of(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

// Input and output have descriptors of their own, to be closed apart; both outputs have one.
static int place_pty(struct sides *sides, const weft_subprocess_options *o, streams *s)
{
    const weft_stream *streams[3] = {&o->in, &o->out, &o->err};
    int slave, output = is_pty(&o->out) ? 1 : 2;
    s->pty = open_pty(o, &slave);
    if (s->pty < 0)
        return -1;
    for (int i = 0; i < 3; i++) {
        if (!is_pty(streams[i]))
            continue;
        sides->child[i] = slave;
        sides->opened[i] = sides->terminal < 0;
        sides->terminal = i;
    }
    if (is_pty(&o->in) && (s->fds[0] = copy_of(s->pty)) < 0)
        return -1;
    return is_pty(streams[output]) && (s->fds[output] = copy_of(s->pty)) < 0 ? -1 : 0;
}

// ---- All three ----

int weft::sides_open(struct sides *sides, const weft_subprocess_options *o, streams *s)
{
    const weft_stream *streams[3] = {&o->in, &o->out, &o->err};
    if (sides_use_pty(o) && place_pty(sides, o, s) != 0)
        return -1;
    for (int i = 0; i < 3; i++)
        if (place(sides, streams[i], i, &s->fds[i]) != 0)
            return -1;
    return 0;
}

void weft::sides_close(struct sides *sides)
{
    for (int i = 0; i < 3; i++)
        if (sides->opened[i])
            close_keep_errno(&sides->child[i]);
}
