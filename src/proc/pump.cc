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
#include "streams.h"

#include <base/bytes.h>
#include <base/sigpipe.h>

#include <fcntl.h>
#include <string.h>

using namespace weft;

enum { PIPE_SIZE = 64 * 1024, WIDE_PIPE = 1024 * 1024, FIRST_ROOM = PIPE_SIZE + 4096 };

namespace {
struct transfer {
    streams *s;
    const char *input;
    size_t size;
    weft_buffer *to[3]; // [1] and [2]
    child *awaited;     // one that has not ended yet, until all have; then null
    weft_deadline over; // the grace's end; WEFT_FOREVER: it has not begun
};
} // namespace

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
    return b->capacity - b->size > PIPE_SIZE
               ? 0
               : grow(&b->data, &b->capacity, b->size + PIPE_SIZE + 1, FIRST_ROOM, realloc);
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
int weft::pump_output(streams *s, int stream, weft_buffer *to)
{
    int *fd = &s->fds[stream], saved = errno;
    ssize_t n = read_into(*fd, to);
    if (n < 0 && errno == ENOMEM)
        return -1;
    bool more = n > 0, ended = n == 0 || (n < 0 && !again());
    if (ended)
        close_keep_errno(fd);
    else if (n >= PIPE_SIZE && n < WIDE_PIPE)
        widen(*fd);
    errno = saved;
    return more;
}

// A child that reads no further has had enough: the rest is dropped.
static void serve_input(transfer *t)
{
    int *fd = &t->s->fds[0], saved = errno;
    size_t *written = &t->s->written;
    bool broken = false;
    if (*written < t->size) {
        ssize_t n = sigpipe_write(*fd, t->input + *written, t->size - *written);
        if (n > 0)
            *written += (size_t)n;
        broken = n < 0 && !again();
    }
    if (broken || *written == t->size)
        close_keep_errno(fd);
    errno = saved;
}

// The grace begins when all have ended.
static void look_for_ends(transfer *t)
{
    if (t->s->grace == 0 || t->over != WEFT_FOREVER ||
        (t->awaited != nullptr && !child_has_ended(t->awaited)))
        return;
    t->awaited = nullptr;
    for (size_t i = 0; i < t->s->count && t->awaited == nullptr; i++)
        if (!child_has_ended(&t->s->children[i]->c))
            t->awaited = &t->s->children[i]->c;
    if (t->awaited == nullptr)
        t->over = weft_in_ns(t->s->grace);
}

static bool fill(const transfer *t, struct pollfd fds[4])
{
    bool any = false;
    for (int i = 0; i < 3; i++) {
        fds[i] = {t->s->fds[i], (short)(i == 0 ? POLLOUT : POLLIN), 0};
        any = any || t->s->fds[i] >= 0;
    }
    fds[3] = {t->awaited != nullptr ? t->awaited->pidfd : -1, POLLIN, 0};
    return any;
}

static int serve(transfer *t, const struct pollfd fds[4])
{
    if (fds[0].revents != 0)
        serve_input(t);
    for (int i = 1; i < 3; i++)
        if (fds[i].revents != 0 && pump_output(t->s, i, t->to[i]) < 0)
            return -1;
    return 0;
}

static weft_deadline next_look(const transfer *t, weft_deadline d)
{
    weft_deadline next = d < t->over ? d : t->over;
    weft_deadline look =
        t->awaited != nullptr && t->awaited->pidfd < 0 ? weft_in_ms(CHILD_LOOK_MS) : WEFT_FOREVER;
    return next < look ? next : look;
}

// At a deadline that has passed there is still one round: what is there is taken.
static int transfer_until(transfer *t, weft_deadline d)
{
    struct pollfd fds[4];
    int saved = errno;
    for (;;) {
        look_for_ends(t);
        if (!fill(t, fds))
            return 0;
        bool late = weft_left(d) == 0, over = weft_left(t->over) == 0;
        int ready = poll_until(fds, 4, late || over ? WEFT_NOW : next_look(t, d));
        if (ready < 0 && errno != ETIMEDOUT)
            return -1;
        errno = saved;
        if (ready > 0 && serve(t, fds) != 0)
            return -1;
        if ((over || late) && fill(t, fds))
            return over ? 1 : fail_with(ETIMEDOUT);
    }
}

int weft::pump(streams *s, const void *in, size_t n, weft_buffer *out, weft_buffer *err,
               weft_deadline d)
{
    transfer t = {s, (const char *)in, n, {nullptr, out, err}, nullptr, WEFT_FOREVER};
    // Also what stays empty is a string.
    for (int i = 1; i < 3; i++) {
        weft_buffer *to = s->fds[i] >= 0 ? t.to[i] : nullptr;
        if (to != nullptr && make_room(to) != 0)
            return -1;
        if (to != nullptr)
            to->data[to->size] = 0;
    }
    if (s->fds[0] >= 0 && n <= s->written)
        close_keep_errno(&s->fds[0]);
    if (s->fds[0] >= 0) {
        if (n > PIPE_SIZE)
            widen(s->fds[0]);
        fcntl(s->fds[0], F_SETFL, O_WRONLY | O_NONBLOCK);
    }
    return transfer_until(&t, d);
}
