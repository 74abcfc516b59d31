// loop_listen.cc: connections, in batches, and without spinning when there is no descriptor left.
//
// With none left the listening socket stays readable and accept(2) keeps failing: a loop that
// just tried again would take a whole CPU.  So it looks away and an alarm tries again.
#include "address.h"
#include "loop_state.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

using namespace weft;

enum { ACCEPTS_A_ROUND = 64, RETRY_MS = 100 };

static void retry(weft_alarm *a, void *)
{
    weft_listener *s = (weft_listener *)a->arg;
    s->error = 0;
    weft_watch_change(&s->watch, WEFT_READ | WEFT_EXCLUSIVE);
}

static void look_away(weft_listener *s, int error)
{
    s->error = error;
    weft_watch_change(&s->watch, 0);
    weft_loop_arm(s->watch.loop, &s->retry, 0, retry, s, weft_in_ms(RETRY_MS));
}

// Ready but nothing there: another process was faster, or the listener was shut down, which a
// Unix one tells by EAGAIN for ever.
static bool hung_up(int fd)
{
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

static void on_connections(weft_watch *w, int, void *)
{
    weft_listener *s = (weft_listener *)w->arg;
    int saved = errno, stopped = 0;
    loop_callback_is(w->loop, "listener", (void (*)(void))s->fn);
    s->stopped = &stopped;
    for (int i = 0; i < ACCEPTS_A_ROUND; i++) {
        int fd = accept4(w->fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            errno = saved;
            s->fn(s, fd, s->arg);
            if (stopped)
                return; // `s` may be gone
        } else if (!is_of_connection(errno)) {
            if (errno != EAGAIN)
                look_away(s, errno);
            else if (i == 0 && hung_up(w->fd))
                look_away(s, EINVAL);
            break;
        }
    }
    s->stopped = nullptr;
    errno = saved;
}

// What does not listen would be ready, and no accept would change that.
static bool listens(int fd)
{
    int is = 0, saved = errno;
    socklen_t size = sizeof is;
    bool asked = getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is, &size) == 0;
    errno = saved;
    return asked && is;
}

int weft_loop_listen(weft_loop *l, weft_listener *s, int listener,
                     void (*fn)(weft_listener *s, int fd, void *), void *arg)
{
    if (loop_enter(l) != 0)
        return -1;
    if (s == nullptr || fn == nullptr)
        return fail_with(EINVAL);
    int flags = fcntl(listener, F_GETFL);
    if (flags < 0)
        return -1;
    if (!(flags & O_NONBLOCK) || !listens(listener))
        return fail_with(EINVAL);
    if (weft_loop_watch(l, &s->watch, listener, WEFT_READ | WEFT_EXCLUSIVE, on_connections, s) != 0)
        return -1;
    s->fn = fn;
    s->arg = arg;
    s->error = 0;
    s->stopped = nullptr;
    return 0;
}

int weft_loop_unlisten(weft_listener *s)
{
    weft_loop *l = loop_enter_of(s != nullptr ? &s->watch : nullptr);
    if (l == nullptr)
        return -1;
    weft_loop_unwatch(&s->watch);
    if (s->retry.loop != nullptr)
        weft_loop_disarm(&s->retry);
    if (s->stopped != nullptr)
        *s->stopped = 1;
    s->stopped = nullptr;
    return 0;
}
