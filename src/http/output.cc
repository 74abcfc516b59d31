// output.cc: what goes to the client.
//
// All responses of a burst come together in the runner's `out`, and go out by one send at its end.
// Large pieces are sent from where they lie, behind what is in `out` already.
//
// A handler may wait for something else than its connection while there is something in `out`: a
// deferred function of the loop (`push`) then sends it, which is called before the loop sleeps and
// so after all that is ready has run.  What the kernel does not take then, it takes when the loop
// says so.
#include "server.h"

#include <string.h>

using namespace weft;

enum { PIECES = 4, LEAST = BUFFER, SENDS = MSG_DONTWAIT | MSG_NOSIGNAL };

char *weft::output_room(runner *r, size_t n)
{
    if (r->out.data == nullptr)
        r->out = buffer_take(r->home->server);
    return bytes_room(&r->out, n, LEAST, realloc);
}

int weft::output_put(runner *r, const void *text, size_t n)
{
    char *to = output_room(r, n);
    if (to == nullptr)
        return -1;
    memcpy(to, text, n);
    output_used(r, n);
    return 0;
}

int weft::output_failed(connection *c)
{
    if (is_for_now(errno))
        return 0;
    int error = errno == EPIPE || errno == ECONNRESET ? errno : ECONNRESET;
    c->broken = true;
    if (c->runner != nullptr)
        c->runner->out.begin = c->runner->out.end = 0;
    return fail_with(error);
}

// One call; what it took of `out` is gone from there.  How many bytes of the pieces it took.
static ssize_t send_some(runner *r, struct iovec *pieces, size_t count, int flags)
{
    struct iovec all[PIECES + 1];
    struct msghdr m = {};
    size_t own = bytes_count(&r->out);
    ssize_t n;
    if (count == 0) {
        n = send(r->c->fd, bytes_at(&r->out), own, flags);
    } else {
        all[0] = {own > 0 ? bytes_at(&r->out) : nullptr, own};
        memcpy(all + 1, pieces, count * sizeof *pieces);
        m.msg_iov = own > 0 ? all : all + 1;
        m.msg_iovlen = count + (own > 0);
        n = sendmsg(r->c->fd, &m, flags);
    }
    if (n < 0)
        return -1;
    r->home->server->stats.out += (size_t)n;
    size_t of_own = (size_t)n < own ? (size_t)n : own;
    bytes_take(&r->out, of_own);
    return n - (ssize_t)of_own;
}

// So many bytes of the pieces are done with.
static void advance(struct iovec **pieces, size_t *count, size_t n)
{
    while (*count > 0 && n >= (*pieces)->iov_len) {
        n -= (*pieces)->iov_len;
        ++*pieces;
        --*count;
    }
    if (n > 0) {
        (*pieces)->iov_base = (char *)(*pieces)->iov_base + n;
        (*pieces)->iov_len -= n;
    }
}

static ssize_t send_all(runner *r, const struct iovec *pieces, int count, int more, pace *p,
                        weft_deadline d)
{
    struct iovec copy[PIECES], *left = copy;
    size_t n = (size_t)count;
    ssize_t sent = 0;
    int saved = errno;
    if (count > 0)
        memcpy(copy, pieces, n * sizeof *pieces);
    advance(&left, &n, 0);
    while (bytes_count(&r->out) > 0 || n > 0) {
        connection_give_way(r->c, d);
        size_t before = bytes_count(&r->out);
        ssize_t some = send_some(r, left, n, SENDS | more);
        if (some >= 0) {
            connection_moved(r->c, before + (size_t)some);
            pace_moved(r->home->server, p, before - bytes_count(&r->out) + (size_t)some);
            sent += some;
            advance(&left, &n, (size_t)some);
        } else if (output_failed(r->c) != 0 ||
                   (errno == EAGAIN && connection_wait_paced(r->c, WEFT_WRITE, p, d) != 0)) {
            return sent;
        }
    }
    errno = saved;
    return sent;
}

ssize_t weft::output_send(runner *r, const struct iovec *pieces, int count, pace *p,
                          weft_deadline d)
{
    return send_all(r, pieces, count, 0, p, d);
}

static int flush(runner *r, int more, pace *p, weft_deadline d)
{
    int saved = errno;
    if (r->c->broken)
        return fail_with(EPIPE);
    if (bytes_count(&r->out) == 0)
        return 0;
    errno = 0;
    send_all(r, nullptr, 0, more, p, d);
    if (bytes_count(&r->out) > 0 || r->c->broken)
        return -1;
    errno = saved;
    return 0;
}

int weft::output_flush(runner *r, pace *p, weft_deadline d)
{
    return flush(r, 0, p, d);
}

int weft::output_lead(runner *r, pace *p, weft_deadline d)
{
    return flush(r, MSG_MORE, p, d);
}

int weft::output_push(runner *r)
{
    int saved = errno, result = 0;
    while (result == 0 && bytes_count(&r->out) > 0)
        if (send_some(r, nullptr, 0, SENDS) < 0 && (output_failed(r->c) != 0 || errno == EAGAIN))
            result = r->c->broken ? -1 : 1;
    r->pushing = result == 1;
    errno = saved;
    return result;
}

static void push(weft_task *, void *arg)
{
    runner *r = (runner *)arg;
    if (r->c == nullptr || r->c->broken || r->c->waiter[1] != nullptr)
        return;
    output_push(r);
    connection_watch(r->c, connection_interest(r->c));
}

void weft::output_later(runner *r)
{
    if (r->push.state != 0 || bytes_count(&r->out) == 0)
        return;
    int saved = errno;
    r->push.fn = push;
    r->push.arg = r;
    weft_loop_defer(r->home->loop, &r->push);
    errno = saved;
}
