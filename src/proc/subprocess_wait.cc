// subprocess_wait.cc: until a child has ended, and making it end (base/child.h).
#include "streams.h"

#include <stdlib.h>

using namespace weft;

static int result_of(const weft_subprocess *p, int *status)
{
    if (p->c.lost)
        return fail_with(ECHILD);
    if (status != nullptr)
        *status = p->c.status;
    return 0;
}

int weft_subprocess_poll(weft_subprocess *p, int *status)
{
    if (p == nullptr)
        return fail_with(EINVAL);
    if (!child_poll(&p->c)) {
        terminal_look(&p->s);
        return 0;
    }
    terminal_back(&p->s);
    return result_of(p, status) == 0 ? 1 : -1;
}

int weft_subprocess_join(weft_subprocess *p, int *status, weft_deadline d)
{
    return p != nullptr ? streams_wait(&p->s, status, d) : fail_with(EINVAL);
}

// ---- One of several ----

// The index of one that has ended, or -1.
static ssize_t find_ended(weft_subprocess *const ps[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ps[i] != nullptr && child_poll(&ps[i]->c))
            return (ssize_t)i;
    return -1;
}

static int wait_any(weft_subprocess *const ps[], size_t n, struct pollfd *fds, bool all_watched,
                    size_t watched, weft_deadline d)
{
    int saved = errno;
    for (;;) {
        ssize_t i = find_ended(ps, n);
        if (i >= 0) {
            errno = saved;
            return (int)i;
        }
        weft_deadline look = all_watched ? WEFT_FOREVER : weft_in_ms(CHILD_LOOK_MS);
        if (poll_until(fds, watched, look < d ? look : d) < 0 && (errno != ETIMEDOUT || d <= look))
            return -1;
    }
}

ssize_t weft_subprocess_join_any(weft_subprocess *const ps[], size_t n, weft_deadline d)
{
    if (ps == nullptr)
        return fail_with(EINVAL);
    enum { FEW = 64 };
    struct pollfd few[FEW];
    struct pollfd *fds = n <= FEW ? few : (struct pollfd *)malloc(n * sizeof *fds);
    size_t watched = 0, present = 0;
    if (fds == nullptr)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (ps[i] == nullptr)
            continue;
        present++;
        if (ps[i]->c.pidfd >= 0)
            fds[watched++] = {ps[i]->c.pidfd, POLLIN, 0};
    }
    int result = present == 0 || n > INT32_MAX
                     ? fail_with(EINVAL)
                     : wait_any(ps, n, fds, watched == present, watched, d);
    if (fds != few)
        free_keep_errno(fds);
    return result;
}

// ---- Ending it ----

int weft_subprocess_send_signal(weft_subprocess *p, int signal)
{
    return p != nullptr ? child_signal(&p->c, signal) : fail_with(EINVAL);
}

int weft_subprocess_send_signal_group(weft_subprocess *p, int signal)
{
    return p != nullptr ? child_signal_group(&p->c, signal) : fail_with(EINVAL);
}

int weft_subprocess_terminate(weft_subprocess *p)
{
    return p != nullptr ? streams_terminate(&p->s) : fail_with(EINVAL);
}

int weft_subprocess_kill(weft_subprocess *p)
{
    return p != nullptr ? child_signal_all(&p->c, SIGKILL) : fail_with(EINVAL);
}

int weft_subprocess_end(weft_subprocess *p, int *status, weft_deadline close_by,
                        weft_deadline term_by, weft_deadline d)
{
    return p != nullptr ? streams_stop(&p->s, status, close_by, term_by, d) : fail_with(EINVAL);
}
