// pump.cc: feeding and reading children at the same time.
//
// One poll over up to three pipes; whichever is ready is served, so neither side
// can wait for the other for ever.  Our end of the input is made non-blocking (a
// write of more than the pipe's room would sleep); an output is only read when
// poll says so, and one read takes all there is.
//
// Pipes are widened from 64 KB to 1 MB, which triples the rate, but only once a
// transfer proves large: the kernel limits what one user may have in all.
//
// The children's pidfds are watched only if there is a grace period to start when the
// last of them has ended; where the kernel has no pidfds, by looking now and then.
#include "pump.h"

#include <base/errno.h>
#include <base/time.h>

#include "handle.h"
#include <base/sigpipe.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

using namespace weft;

enum {
    PIPE_SIZE = 64 * 1024,
    WIDE_PIPE = 1024 * 1024,
    FIRST_ROOM = PIPE_SIZE + 4096,
    LOOK_EVERY_MS = 5
};

void weft_buffer_free(weft_buffer *b)
{
    if (b == nullptr)
        return;
    free_keep_errno(b->data);
    memset(b, 0, sizeof *b);
}

// Room for at least a pipe's content, and for the 0 after it.
static int make_room(weft_buffer *b)
{
    const size_t first = FIRST_ROOM;
    size_t capacity = b->capacity;
    if (capacity - b->size > PIPE_SIZE)
        return 0;
    capacity = capacity > PIPE_SIZE ? capacity * 2 : first;
    char *data = capacity < b->capacity ? nullptr : (char *)realloc(b->data, capacity);
    if (data == nullptr)
        return fail_with(ENOMEM);
    b->data = data;
    b->capacity = capacity;
    return 0;
}

static void widen(int fd)
{
    int saved = errno;
    fcntl(fd, F_SETPIPE_SZ, WIDE_PIPE);
    errno = saved;
}

static bool again(void)
{
    return errno == EAGAIN || errno == EINTR;
}

// Apart from read_into, whose callers may have little stack.
__attribute__((noinline)) static ssize_t read_and_drop(int fd)
{
    char dropped[16 * 1024];
    return read(fd, dropped, sizeof dropped);
}

static ssize_t read_into(int fd, weft_buffer *b)
{
    if (b == nullptr)
        return read_and_drop(fd);
    if (make_room(b) != 0)
        return -1;
    ssize_t n = read(fd, b->data + b->size, b->capacity - b->size - 1);
    if (n > 0)
        b->size += (size_t)n;
    b->data[b->size] = 0;
    return n;
}

// A stream that can't be read is at its end, like one that has ended.
static int serve_output(pump *pump, int stream)
{
    int *fd = &pump->fds[stream], saved = errno;
    ssize_t n = read_into(*fd, pump->to[stream]);
    if (n < 0 && errno == ENOMEM)
        return -1;
    if (n == 0 || (n < 0 && !again()))
        close_keep_errno(fd);
    else if (n >= PIPE_SIZE && n < WIDE_PIPE)
        widen(*fd);
    errno = saved;
    return 0;
}

// A child that reads no further has had enough: the rest is dropped.
static bool serve_input(pump *pump)
{
    int *fd = &pump->fds[0], saved = errno;
    bool broken = false;
    if (*pump->written < pump->size) {
        ssize_t n = write(*fd, pump->input + *pump->written, pump->size - *pump->written);
        if (n > 0)
            *pump->written += (size_t)n;
        broken = n < 0 && !again();
    }
    if (broken || *pump->written == pump->size)
        close_keep_errno(fd);
    errno = saved;
    return broken;
}

// One child that has not ended yet, to be watched for the grace's start; NULL: none.
static const weft_subprocess *still_running(const pump *pump)
{
    for (size_t i = 0; i < pump->count; i++)
        if (!has_ended(pump->children[i]))
            return pump->children[i];
    return nullptr;
}

namespace {
struct grace {
    const weft_subprocess *awaited;
    weft_deadline ends; // WEFT_FOREVER until all have ended
};
} // namespace

static void start_grace(const pump *pump, struct grace *g)
{
    if (pump->grace == 0 || g->ends != WEFT_FOREVER)
        return;
    if (g->awaited != nullptr && !has_ended(g->awaited))
        return;
    g->awaited = still_running(pump);
    if (g->awaited == nullptr)
        g->ends = weft_in_ns(pump->grace);
}

static int open_pipes(const pump *pump, struct pollfd fds[4], const struct grace *g)
{
    int open = 0;
    for (int i = 0; i < 3; i++) {
        fds[i] = {pump->fds[i], (short)(i == 0 ? POLLOUT : POLLIN), 0};
        open += pump->fds[i] >= 0;
    }
    fds[3] = {g->awaited != nullptr ? g->awaited->pidfd : -1, POLLIN, 0};
    return open;
}

static int sleep_ms(const struct grace *g, weft_deadline d)
{
    int ms = poll_ms(d < g->ends ? d : g->ends);
    bool unwatched = g->awaited != nullptr && g->awaited->pidfd < 0;
    return unwatched && (ms < 0 || ms > LOOK_EVERY_MS) ? LOOK_EVERY_MS : ms;
}

static int serve(pump *pump, const struct pollfd fds[4], bool *broken)
{
    if (fds[0].revents != 0)
        *broken |= serve_input(pump);
    for (int i = 1; i < 3; i++)
        if (fds[i].revents != 0 && serve_output(pump, i) != 0)
            return -1;
    return 0;
}

// At a deadline that has passed there is still one round: what is there is taken.
static int pump_until(pump *pump, weft_deadline d, bool *broken)
{
    struct grace g = {nullptr, WEFT_FOREVER};
    struct pollfd fds[4];
    for (;;) {
        start_grace(pump, &g);
        if (open_pipes(pump, fds, &g) == 0)
            return 0;
        bool late = weft_left(d) == 0, over = weft_left(g.ends) == 0;
        int saved = errno, ready = poll(fds, 4, late || over ? 0 : sleep_ms(&g, d));
        errno = saved;
        if (ready > 0 && serve(pump, fds, broken) != 0)
            return -1;
        if ((over || late) && open_pipes(pump, fds, &g) > 0)
            return over ? 1 : fail_with(ETIMEDOUT);
    }
}

int weft::pump_run(pump *pump, weft_deadline d)
{
    struct sigpipe hold;
    bool broken = false;
    int *in = &pump->fds[0];
    // Also what stays empty is a string.
    for (int i = 1; i < 3; i++) {
        weft_buffer *to = pump->fds[i] >= 0 ? pump->to[i] : nullptr;
        if (to != nullptr && make_room(to) != 0)
            return -1;
        if (to != nullptr)
            to->data[to->size] = 0;
    }
    if (*in < 0)
        return pump_until(pump, d, &broken);
    if (pump->size <= *pump->written) {
        close_keep_errno(in);
        return pump_until(pump, d, &broken);
    }
    if (pump->size > PIPE_SIZE)
        widen(*in);
    fcntl(*in, F_SETFL, O_WRONLY | O_NONBLOCK);
    sigpipe_hold(&hold);
    int result = pump_until(pump, d, &broken);
    sigpipe_release(&hold, broken);
    return result;
}

// ---- One pipe ----

// 0 when fd is ready (or has an error to tell), else ETIMEDOUT.
static int await(int fd, short events, weft_deadline d)
{
    struct pollfd p = {fd, events, 0};
    int saved = errno;
    for (;;) {
        int n = poll(&p, 1, poll_ms(d));
        bool interrupted = n < 0;
        errno = saved;
        if (n > 0)
            return 0;
        if (!interrupted && weft_left(d) == 0)
            return fail_with(ETIMEDOUT);
    }
}

ssize_t weft::pipe_read(int fd, void *bytes, size_t n, weft_deadline d)
{
    int saved = errno;
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

ssize_t weft::pipe_write(int fd, const void *bytes, size_t n, weft_deadline d)
{
    struct sigpipe hold;
    size_t done = 0;
    int saved = errno, error = 0;
    if (fd < 0)
        return fail_with(EBADF);
    fcntl(fd, F_SETFL, O_WRONLY | O_NONBLOCK);
    sigpipe_hold(&hold);
    while (done < n && error == 0) {
        ssize_t put = write(fd, (const char *)bytes + done, n - done);
        if (put >= 0)
            done += (size_t)put;
        else if (!again() || (errno == EAGAIN && await(fd, POLLOUT, d) != 0))
            error = errno;
    }
    sigpipe_release(&hold, error == EPIPE);
    errno = error != 0 ? error : saved;
    return done > 0 || error == 0 ? (ssize_t)done : -1;
}
