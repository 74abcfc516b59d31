// io_filter.cc: a stream by way of a filter, which works on memory alone.
//
// The filter is asked first, and what it wants of the stream is done then: all that it has is sent,
// and if it wants more some is read and pushed.  Bytes on their way lie in the two buffers, so that
// a deadline or a cancel leaves them to the next call.
//
// Two tasklets may use one, to read and to write, and either may need both directions of the stream
// (a handshake).  In each direction one has its turn; the other waits until that is over and asks
// the filter again.  Only a reader need not wait for a sender, which sends for both.
#include "descriptor.h"

#include <base/errno.h>

#include <string.h>

using namespace weft;

namespace {
struct use {
    io_held stream;
    weft_io_filter *f;
    weft_deadline d;
};
} // namespace

static int begin_use(use *u, int fd, weft_io_filter *f, weft_deadline d)
{
    if (f == nullptr || f->read == nullptr || f->write == nullptr || f->push == nullptr ||
        f->take == nullptr || !io_buffer_is_sound(&f->in) || !io_buffer_is_sound(&f->out))
        return fail_with(EINVAL);
    u->f = f;
    u->d = d;
    if (io_hold(&u->stream, fd) != 0)
        return -1;
    int error = wait_refusal(d);
    return error == 0 ? 0 : fail_with(error);
}

// ---- Turns ----

static int wait_for_turn(const use *u)
{
    weft_io_filter *f = u->f;
    if (u->d <= WEFT_NOW || f->waits != nullptr)
        return fail_with(f->waits != nullptr ? EBUSY : ETIMEDOUT);
    f->waits = running_tasklet();
    int result = io_suspend(io_here, u->d);
    f->waits = nullptr;
    if (result != 0)
        return -1;
    return io_is_same(&u->stream) ? 0 : fail_with(ECANCELED);
}

static void end_turn(const use *u, weft_tasklet **turn)
{
    *turn = nullptr;
    end_wait(u->f->waits, 0);
}

// ---- The stream ----

static int send_pieces(const use *u, weft_deadline d)
{
    weft_io_filter *f = u->f;
    for (ssize_t n;;) {
        if (!io_is_same(&u->stream))
            return fail_with(ECANCELED);
        if (weft_io_flush(u->stream.fd, &f->out, d) != 0)
            return -1;
        n = f->take(f, f->out.data, f->out.room);
        if (n <= 0)
            return (int)n;
        f->out.begin = 0;
        f->out.end = (size_t)n;
    }
}

// Sends all that the filter has.  What is left after a failure is the receiver's to send, if there
// is one: it is woken to look again.
static int send_all(const use *u, weft_deadline d)
{
    weft_io_filter *f = u->f;
    f->sends = running_tasklet();
    int result = send_pieces(u, d);
    if (result != 0)
        end_wait(f->receives, EAGAIN);
    end_turn(u, &f->sends);
    return result;
}

static int send_in_turn(const use *u)
{
    while (u->f->sends != nullptr)
        if (wait_for_turn(u) != 0)
            return -1;
    return send_all(u, u->d);
}

// When a call has done its work already: what can be sent without a wait.
static void send_now(const use *u)
{
    int saved = errno;
    if (u->f->sends == nullptr)
        send_all(u, WEFT_NOW);
    errno = saved;
}

static int receive(const use *u)
{
    weft_io_filter *f = u->f;
    size_t n = f->in.end - f->in.begin;
    if (n == 0) {
        f->receives = running_tasklet();
        ssize_t got = weft_io_read(u->stream.fd, f->in.data, f->in.room, u->d);
        end_turn(u, &f->receives);
        if (got < 0)
            return errno == EAGAIN ? 0 : -1; // woken to send
        f->in.begin = 0;
        n = (size_t)got;
    }
    f->ended = n == 0;
    const char *from = f->in.data + f->in.begin;
    f->in.begin = f->in.end = 0;
    return f->push(f, from, n);
}

static bool is_want(ssize_t result)
{
    return result == WEFT_IO_WANT_READ || result == WEFT_IO_WANT_WRITE;
}

// Does what the filter wants, or waits until another has.  Then it is asked again.
static int satisfy(const use *u, ssize_t want)
{
    weft_io_filter *f = u->f;
    if ((f->sends == nullptr || want == WEFT_IO_WANT_WRITE) && send_in_turn(u) != 0)
        return -1;
    if (want == WEFT_IO_WANT_WRITE)
        return 0;
    if (f->ended)
        return fail_with(EPIPE);
    return f->receives != nullptr ? wait_for_turn(u) : receive(u);
}

// ---- Calls ----

ssize_t weft_io_filter_read(int fd, weft_io_filter *f, void *buf, size_t n, weft_deadline d)
{
    use u;
    int saved = errno;
    if (begin_use(&u, fd, f, d) != 0)
        return -1;
    if (n == 0)
        return 0;
    for (;;) {
        ssize_t got = f->read(f, buf, n);
        if (is_want(got)) {
            if (satisfy(&u, got) != 0)
                return -1;
            continue;
        }
        if (got >= 0)
            errno = saved;
        send_now(&u);
        return got;
    }
}

ssize_t weft_io_filter_write(int fd, weft_io_filter *f, const void *buf, size_t n, weft_deadline d)
{
    use u;
    int saved = errno;
    if (begin_use(&u, fd, f, d) != 0)
        return -1;
    if (send_in_turn(&u) != 0) // what an earlier one left: so that it does not become more and more
        return -1;
    for (size_t all = 0; n > 0;) {
        size_t part = n - all < f->out.room ? n - all : f->out.room;
        ssize_t put = f->write(f, (const char *)buf + all, part);
        if (!is_want(put) && put <= 0) {
            send_now(&u);
            return all > 0 ? (ssize_t)all : -1;
        }
        all += put > 0 ? (size_t)put : 0;
        int result = satisfy(&u, put > 0 ? WEFT_IO_WANT_WRITE : put);
        if (all == n) // what is not sent yet the next call sends, or says why not
            break;
        if (result != 0)
            return all > 0 ? (ssize_t)all : -1;
    }
    errno = saved;
    return (ssize_t)n;
}

int weft_io_filter_shutdown(int fd, weft_io_filter *f, weft_deadline d)
{
    use u;
    ssize_t result;
    int saved = errno;
    if (begin_use(&u, fd, f, d) != 0)
        return -1;
    while (is_want(result = f->shutdown != nullptr ? f->shutdown(f) : 0))
        if (satisfy(&u, result) != 0)
            return -1;
    if (result < 0) {
        send_now(&u);
        return -1;
    }
    if (send_in_turn(&u) != 0)
        return -1;
    errno = saved;
    return 0;
}
