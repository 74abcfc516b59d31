// loop_child.cc: the end of a process, by its pidfd.
//
// A pidfd becomes readable when the process has ended.  It names the process and not a number that
// may be another's by then, works for any process, and takes SIGCHLD from nobody.
#include "loop_state.h"

#include <sys/syscall.h>
#include <sys/wait.h>

using namespace weft;

enum { BY_PIDFD = 3 }; // P_PIDFD, which glibc 2.35 and older lack

// waitid(2) by pidfd.  1: it has ended; 0: it runs; -1: errno.  ECHILD: not ours to reap.
static int look(int pidfd, int flags, siginfo_t *info)
{
    *info = {};
    int r;
    do
        r = waitid((idtype_t)BY_PIDFD, (id_t)pidfd, info, WEXITED | WNOHANG | flags);
    while (r != 0 && errno == EINTR);
    return r != 0 ? -1 : info->si_pid != 0;
}

// As waitpid(2) has it.
static int status_of(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        return (info->si_status & 255) << 8;
    return info->si_status | (info->si_code == CLD_DUMPED ? 128 : 0);
}

static void release(weft_child *c)
{
    weft_watch_stop(&c->watch);
    if (c->own)
        close_keep_errno(&c->watch.fd);
}

static void on_end(weft_watch *w, int)
{
    weft_child *c = (weft_child *)w->arg;
    weft_loop *l = w->loop;
    siginfo_t info;
    int saved = errno, ended = look(w->fd, 0, &info);
    errno = saved;
    if (ended == 0)
        return;
    release(c);
    loop_callback_is(l, "child", (void (*)(void))c->fn);
    c->fn(c, ended > 0 ? status_of(&info) : -1);
}

static int start(weft_loop *l, weft_child *c, int pidfd, void (*fn)(weft_child *c, int status),
                 void *arg)
{
    if (weft_loop_watch(l, &c->watch, pidfd, WEFT_READ, on_end, c) != 0)
        return -1;
    c->fn = fn;
    c->arg = arg;
    return 0;
}

int weft_loop_child(weft_loop *l, weft_child *c, pid_t pid, void (*fn)(weft_child *c, int status),
                    void *arg)
{
    if (loop_enter(l) != 0)
        return -1;
    if (fn == nullptr || pid < 1)
        return fail_with(EINVAL);
    if (c->watch.loop != nullptr)
        return fail_with(EBUSY);
    int fd = (int)syscall(SYS_pidfd_open, pid, 0); // close-on-exec always
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

int weft_loop_child_fd(weft_loop *l, weft_child *c, int pidfd,
                       void (*fn)(weft_child *c, int status), void *arg)
{
    if (loop_enter(l) != 0)
        return -1;
    if (fn == nullptr)
        return fail_with(EINVAL);
    if (c->watch.loop != nullptr)
        return fail_with(EBUSY);
    siginfo_t info;
    int saved = errno;
    if (pidfd < 0 || (look(pidfd, WNOWAIT, &info) < 0 && errno != ECHILD))
        return fail_with(EBADF);
    errno = saved;
    if (start(l, c, pidfd, fn, arg) != 0)
        return -1;
    c->pid = 0;
    c->own = 0;
    return 0;
}

int weft_child_stop(weft_child *c)
{
    if (c->watch.loop == nullptr)
        return fail_with(EALREADY);
    if (loop_enter(c->watch.loop) != 0)
        return -1;
    release(c);
    return 0;
}

void weft::loop_drop_child(weft_watch *w)
{
    if (w->fn == on_end && ((weft_child *)w->arg)->own)
        close_keep_errno(&w->fd);
}
