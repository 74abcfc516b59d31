// subprocess_wait.cc: until a child has ended, and making it end.
//
// Waits sleep on the pidfd, so that they have a deadline and never touch other
// children; waitid on that pidfd then reaps exactly this one.  Without pidfds (an old
// kernel, a sandbox) they look every few milliseconds: SIGCHLD belongs to the program.
//
// Until a child is reaped its number can't be given to another process, so signals
// are sent only before that.
#include <weft/subprocess.h>

#include <base/errno.h>
#include <base/time.h>

#include "handle.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace weft;

// P_PIDFD, which glibc names since 2.36.
static const idtype_t by_pidfd = (idtype_t)3;

static int wait_id(const weft_subprocess *p, siginfo_t *info, int how)
{
    int result;
    info->si_pid = 0;
    do
        result = p->pidfd >= 0 ? waitid(by_pidfd, (id_t)p->pidfd, info, how)
                               : waitid(P_PID, (id_t)p->pid, info, how);
    while (result != 0 && errno == EINTR);
    return result;
}

static int wait_status(const siginfo_t *info)
{
    switch (info->si_code) {
    case CLD_EXITED:
        return (info->si_status & 0xff) << 8;
    case CLD_DUMPED:
        return info->si_status | WCOREFLAG;
    default:
        return info->si_status;
    }
}

// Takes the status if there is one (how = WNOHANG) or waits for it (0).
static void reap(weft_subprocess *p, int how)
{
    siginfo_t info;
    int saved = errno;
    if (p->ended)
        return;
    if (wait_id(p, &info, WEXITED | how) != 0) {
        // ECHILD: it has ended, and the kernel (SIGCHLD is ignored) or another wait took it.
        p->ended = p->lost = true;
    } else if (info.si_pid != 0) {
        p->ended = true;
        p->status = wait_status(&info);
    }
    errno = saved;
}

static int result_of(const weft_subprocess *p, int *status)
{
    if (p->lost)
        return fail_with(ECHILD);
    if (status != nullptr)
        *status = p->status;
    return 0;
}

bool weft::has_ended(const weft_subprocess *p)
{
    siginfo_t info;
    int saved = errno;
    bool ended =
        p->ended || wait_id(p, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
    errno = saved;
    return ended;
}

int weft_subprocess_poll(weft_subprocess *p, int *status)
{
    reap(p, WNOHANG);
    if (!p->ended)
        return 0;
    return result_of(p, status) == 0 ? 1 : -1;
}

// Sleeps until one of the descriptors is ready or the deadline has passed; without
// descriptors to watch, a little.
static void doze(struct pollfd *fds, size_t n, bool all_watched, weft_deadline d)
{
    int saved = errno, ms = poll_ms(d);
    if (!all_watched && (ms < 0 || ms > 5))
        ms = 5;
    poll(fds, n, ms);
    errno = saved;
}

int weft_subprocess_wait(weft_subprocess *p, int *status, weft_deadline d)
{
    reap(p, d == WEFT_FOREVER ? 0 : WNOHANG);
    while (!p->ended) {
        struct pollfd fd = {p->pidfd, POLLIN, 0};
        if (weft_left(d) == 0)
            return fail_with(ETIMEDOUT);
        doze(&fd, 1, p->pidfd >= 0, d);
        reap(p, WNOHANG);
    }
    return result_of(p, status);
}

// The index of one that has ended, or -1.
static ssize_t find_ended(weft_subprocess *const ps[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (ps[i] == nullptr)
            continue;
        reap(ps[i], WNOHANG);
        if (ps[i]->ended)
            return (ssize_t)i;
    }
    return -1;
}

int weft_subprocess_wait_any(weft_subprocess *const ps[], size_t n, weft_deadline d)
{
    enum { WATCHED = 64 };
    struct pollfd fds[WATCHED];
    size_t watched = 0, present = 0;
    for (size_t i = 0; i < n; i++) {
        if (ps[i] == nullptr)
            continue;
        present++;
        if (ps[i]->pidfd >= 0 && watched < WATCHED)
            fds[watched++] = {ps[i]->pidfd, POLLIN, 0};
    }
    if (present == 0 || n > INT32_MAX)
        return fail_with(EINVAL);
    for (;;) {
        ssize_t i = find_ended(ps, n);
        if (i >= 0)
            return (int)i;
        if (weft_left(d) == 0)
            return fail_with(ETIMEDOUT);
        doze(fds, watched, watched == present, d);
    }
}

// ---- Ending it ----

int weft_subprocess_send_signal(weft_subprocess *p, int signal)
{
    if (p->ended)
        return fail_with(ESRCH);
    int saved = errno;
    if (p->pidfd >= 0) {
        long result = syscall(SYS_pidfd_send_signal, p->pidfd, signal, nullptr, 0);
        if (result == 0 || errno != ENOSYS)
            return (int)result;
        errno = saved;
    }
    return kill(p->pid, signal);
}

int weft_subprocess_signal_group(weft_subprocess *p, int signal)
{
    if (!p->leads)
        return fail_with(EPERM);
    return p->ended ? fail_with(ESRCH) : kill(-p->pid, signal);
}

static int signal_all(weft_subprocess *p, int signal)
{
    return p->leads ? weft_subprocess_signal_group(p, signal)
                    : weft_subprocess_send_signal(p, signal);
}

int weft_subprocess_terminate(weft_subprocess *p)
{
    return signal_all(p, SIGTERM);
}

int weft_subprocess_kill(weft_subprocess *p)
{
    return signal_all(p, SIGKILL);
}

bool weft::ends_by(const weft_subprocess *p, weft_deadline d)
{
    while (!has_ended(p)) {
        struct pollfd fd = {p->pidfd, POLLIN, 0};
        if (weft_left(d) == 0)
            return false;
        doze(&fd, 1, p->pidfd >= 0, d);
    }
    return true;
}

int weft_subprocess_stop(weft_subprocess *p, int *status, weft_deadline close_by,
                         weft_deadline term_by, weft_deadline d)
{
    int saved = errno;
    close_keep_errno(&p->fds[0]);
    if (!ends_by(p, close_by)) {
        weft_subprocess_terminate(p);
        if (!ends_by(p, term_by))
            weft_subprocess_kill(p);
    }
    // What is left of its group goes with it.
    if (p->leads)
        weft_subprocess_kill(p);
    errno = saved;
    return weft_subprocess_wait(p, status, d);
}

// ---- Statuses ----

int weft_status_exited(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int weft_status_signal(int status)
{
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

bool weft_status_core(int status)
{
    return WIFSIGNALED(status) && WCOREDUMP(status);
}

int weft_status_code(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

char *weft_status_text(int status, char *text, size_t size)
{
    int s = weft_status_signal(status);
    const char *name = s != 0 ? sigabbrev_np(s) : nullptr,
               *core = weft_status_core(status) ? " (core dumped)" : "";
    if (s == 0)
        snprintf(text, size, "exited with %d", weft_status_exited(status));
    else if (name != nullptr)
        snprintf(text, size, "killed by SIG%s%s", name, core);
    else
        snprintf(text, size, "killed by signal %d%s", s, core);
    return text;
}
