// loop_child.cc: the end of a process, by its pidfd.
//
// A pidfd becomes readable when the process has ended.  It names the process and not a number that
// may be another's by then, works for any process, and takes SIGCHLD from nobody.
#include "loop_state.h"

#include <base/child.h>

using namespace weft;

static child held(const weft_child *c)
{
    child held = {};
    held.pid = c->pid;
    held.pidfd = c->watch.fd;
    return held;
}

static void release(weft_child *c)
{
    weft_loop_unwatch(&c->watch);
    if (c->own)
        close_keep_errno(&c->watch.fd);
}

static void on_end(weft_watch *w, int, void *)
{
    weft_child *c = (weft_child *)w->arg;
    weft_loop *l = w->loop;
    child ended = held(c);
    if (!child_pidfd_ended(&ended))
        return;
    child_reap(&ended, 0);
    release(c);
    loop_callback_is(l, "child", (void (*)(void))c->fn);
    c->fn(c, ended.ended && !ended.lost ? ended.status : -1, c->arg);
}

static const weft_watch *watch_of(const weft_child *c)
{
    return c != nullptr ? &c->watch : nullptr;
}

static int start(weft_loop *l, weft_child *c, int pidfd,
                 void (*fn)(weft_child *c, int status, void *), void *arg)
{
    if (weft_loop_watch(l, &c->watch, pidfd, WEFT_READ, on_end, c) != 0)
        return -1;
    c->fn = fn;
    c->arg = arg;
    return 0;
}

int weft_loop_watch_child(weft_loop *l, weft_child *c, pid_t pid,
                          void (*fn)(weft_child *c, int status, void *), void *arg)
{
    if (loop_enter_with(l, fn != nullptr && pid >= 1, watch_of(c)) != 0)
        return -1;
    int fd = above_streams((int)syscall(SYS_pidfd_open, pid, 0)); // close-on-exec always
    if (fd < 0)
        return -1;
    if (start(l, c, fd, fn, arg) != 0) {
        close_keep_errno(&fd);
        return -1;
    }
    c->pid = pid;
    c->own = 1;
    return 0;
}

int weft_loop_watch_child_fd(weft_loop *l, weft_child *c, int pidfd,
                             void (*fn)(weft_child *c, int status, void *), void *arg)
{
    if (loop_enter_with(l, fn != nullptr, watch_of(c)) != 0)
        return -1;
    siginfo_t info;
    child asked = {};
    int saved = errno;
    asked.pidfd = pidfd;
    if (pidfd < 0 || (child_wait_id(&asked, WEXITED | WNOHANG | WNOWAIT, &info, nullptr) != 0 &&
                      errno != ECHILD && !is_refused(errno))) // then poll(2) will tell
        return fail_with(EBADF);
    errno = saved;
    if (start(l, c, pidfd, fn, arg) != 0)
        return -1;
    c->pid = 0;
    c->own = 0;
    return 0;
}

int weft_loop_unwatch_child(weft_child *c)
{
    if (loop_enter_of(watch_of(c)) == nullptr)
        return -1;
    release(c);
    return 0;
}

void weft::loop_drop_child(weft_watch *w)
{
    if (w->fn == on_end && ((weft_child *)w->arg)->own)
        close_keep_errno(&w->fd);
}
