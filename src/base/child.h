// child.h: one child process: its number, its pidfd, its end.
//
// Everything goes by the pidfd, which names the process and never another one that has its number
// by then: waits poll it, waitid(2) reaps by it, signals are sent through it.  A kernel may lack
// one of these calls and a sandbox refuse it with whatever errno it likes: then the older call by
// number is used, for signals only as long as the pidfd says that the child has not ended.  Without
// a pidfd waits look every few milliseconds, since SIGCHLD belongs to the program.
//
// Somebody else may reap it, a handler of SIGCHLD or the kernel when the program ignores
// SIGCHLD: then its end is seen all the same and its status is lost.
#ifndef WEFT_BASE_CHILD_H
#define WEFT_BASE_CHILD_H

#include "above_streams.h"
#include "errno.h"
#include "futex.h"
#include "poll.h"
#include "sigpipe.h"

#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weft {

// What a warden (proc/warden.h) between us and a program tells, in memory that both share.
struct child_warden {
    uint32_t state; // a futex, child_warden_state
    int stage, error;
    pid_t pid; // the program's
    int status;
    struct rusage usage;
};

enum child_warden_state { WARDEN_STARTS, WARDEN_RUNS, WARDEN_FAILED, WARDEN_ENDED };

struct child {
    pid_t pid;  // 0: only the pidfd is known
    int pidfd;  // -1: there is none
    bool leads; // a process group whose number is its own
    // Guarded by the owner.
    bool ended; // it has ended, and been reaped
    bool lost;  // ... by somebody else
    int status; // as waitpid(2)'s
    struct rusage usage;
    child_warden *warden; // not null: this is a warden, which is told what to do through `control`
    int control;
};

// What the kernel is taken not to have: for the tests of the fallbacks.
enum { CHILD_NO_PIDFD = 1, CHILD_NO_PIDFD_SIGNAL = 2, CHILD_NO_PIDFD_WAIT = 4 };
inline int child_without;

enum { CHILD_LOOK_MS = 5, CHILD_BY_PIDFD = 3 /* P_PIDFD, which glibc names since 2.36 */ };
enum { CHILD_SIGNAL_GROUP = 4 }; // PIDFD_SIGNAL_PROCESS_GROUP (Linux 6.9)
enum { CHILD_TO_ALL = 0x80 };    // with a signal: an order to a warden

// waitid(2) with its fifth argument.
static inline int child_wait_id(const child *c, int how, siginfo_t *info, struct rusage *usage)
{
    long result = -1;
    info->si_pid = 0;
    errno = ENOSYS;
    if (c->pidfd >= 0 && !(child_without & CHILD_NO_PIDFD_WAIT))
        do
            result = syscall(SYS_waitid, CHILD_BY_PIDFD, c->pidfd, info, how, usage);
        while (result != 0 && errno == EINTR);
    if (result != 0 && is_refused(errno) && c->pid > 0)
        do
            result = syscall(SYS_waitid, P_PID, c->pid, info, how, usage);
        while (result != 0 && errno == EINTR);
    return (int)result;
}

// Whether the pidfd says that it has ended; what it says holds whoever has reaped it.
static inline bool child_pidfd_ended(const child *c)
{
    struct pollfd f = {c->pidfd, POLLIN, 0};
    int saved = errno, n = poll_now(&f, 1);
    errno = saved;
    return n > 0;
}

static inline int child_status_of(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        return (info->si_status & 0xff) << 8;
    return info->si_status | (info->si_code == CLD_DUMPED ? WCOREFLAG : 0);
}

// Reaps it if it has ended (how = WNOHANG), or once it has (0); whether it has.  Leaves errno
// alone.  Where its pidfd has told its end: 0, for a tracer (strace, a debugger) hears of it first.
static inline bool child_reap(child *c, int how)
{
    siginfo_t info;
    int saved = errno;
    if (c->ended)
        return true;
    if (child_wait_id(c, WEXITED | how, &info, &c->usage) == 0) {
        if (info.si_pid != 0) {
            c->ended = true;
            c->status = child_status_of(&info);
        }
    } else if (is_refused(errno) && c->pid > 0) { // waitid(2) altogether: only wait4(2) is left
        pid_t pid;
        do
            pid = (pid_t)syscall(SYS_wait4, c->pid, &c->status, how, &c->usage);
        while (pid < 0 && errno == EINTR);
        c->ended = pid != 0;
        c->lost = pid < 0;
    } else { // ECHILD: the kernel or another wait has taken it; but has it ended?
        c->ended = c->lost = true;
    }
    if (c->ended && c->warden != nullptr &&
        __atomic_load_n(&c->warden->state, __ATOMIC_ACQUIRE) == WARDEN_ENDED) {
        c->status = c->warden->status;
        c->usage = c->warden->usage;
    }
    errno = saved;
    return c->ended;
}

static inline bool child_poll(child *c)
{
    return child_reap(c, WNOHANG);
}

// Has it ended?  Does not reap it, unless there is no other way to know.  Leaves errno alone.
static inline bool child_has_ended(child *c)
{
    siginfo_t info;
    int saved = errno;
    if (c->ended)
        return true;
    if (c->pidfd >= 0)
        return child_pidfd_ended(c);
    bool ended = child_wait_id(c, WEXITED | WNOHANG | WNOWAIT, &info, nullptr) == 0
                     ? info.si_pid != 0
                     : !is_refused(errno) || child_poll(c);
    errno = saved;
    return ended;
}

// One slice of a wait for its end.  -1: ETIMEDOUT, ECANCELED.
static inline int child_sleep(const child *c, weft_deadline d)
{
    struct pollfd f = {c->pidfd, POLLIN, 0};
    if (c->pidfd >= 0)
        return poll_until(&f, 1, d) < 0 ? -1 : 0;
    weft_deadline look = weft_in_ms(CHILD_LOOK_MS);
    if (poll_until(nullptr, 0, look < d ? look : d) < 0 && (errno != ETIMEDOUT || look >= d))
        return -1;
    return 0;
}

// Waits until it has ended, but leaves it to be reaped.  -1: ETIMEDOUT, ECANCELED.
static inline int child_await(child *c, weft_deadline d)
{
    int saved = errno;
    while (!child_has_ended(c))
        if (child_sleep(c, d) != 0)
            return -1;
    errno = saved;
    return 0;
}

// Waits for its end and reaps it.  0, also when its status is lost; -1: ETIMEDOUT, ECANCELED.
static inline int child_wait(child *c, weft_deadline d)
{
    int saved = errno;
    if (d == WEFT_FOREVER && way_to_poll == nullptr)
        child_reap(c, 0);
    while (!child_poll(c))
        if (child_sleep(c, d) != 0)
            return -1;
    errno = saved;
    return 0;
}

// By the pidfd, with flags.  1: that call is missing or forbidden here (or it may not be signalled,
// as the older call will say).
static inline int child_signal_by_pidfd(const child *c, int signal, unsigned flags)
{
    int saved = errno;
    if (c->pidfd < 0 || child_without & CHILD_NO_PIDFD_SIGNAL)
        return 1;
    if (syscall(SYS_pidfd_send_signal, c->pidfd, signal, nullptr, flags) == 0)
        return 0;
    if (!is_refused(errno))
        return -1;
    errno = saved;
    return 1;
}

// Asks its warden to send a signal: to the program, or to all that descend from that.
static inline int child_signal_by_warden(const child *c, int signal, int to_all)
{
    unsigned char order = (unsigned char)(signal | to_all);
    if (signal < 0 || signal >= CHILD_TO_ALL)
        return fail_with(EINVAL);
    if (c->ended || sigpipe_write(c->control, &order, 1) != 1)
        return c->ended || errno == EPIPE ? fail_with(ESRCH) : -1;
    return 0;
}

// Sends a signal to it alone.  -1: ESRCH when it has ended; EPERM, EINVAL.
static inline int child_signal(child *c, int signal)
{
    if (c->warden != nullptr)
        return child_signal_by_warden(c, signal, 0);
    if (c->ended)
        return fail_with(ESRCH);
    int result = child_signal_by_pidfd(c, signal, 0);
    if (result <= 0)
        return result;
    // By number only while the pidfd says that it has not ended: else another wait may have reaped
    // it, and the number be a stranger's.
    return child_has_ended(c) ? fail_with(ESRCH) : kill(c->pid, signal);
}

// Whether its number is still its own: nobody has reaped it.
static inline bool child_holds_number(const child *c)
{
    siginfo_t info;
    int saved = errno;
    bool holds = !c->ended && (child_wait_id(c, WEXITED | WNOHANG | WNOWAIT, &info, nullptr) == 0 ||
                               is_refused(errno));
    errno = saved;
    return holds;
}

// Sends a signal to the group that it leads, also when it has ended itself.  -1: EPERM when it
// leads none; ESRCH when nobody is left, or (before Linux 6.9) when it has been reaped: then the
// group's number may be another's.
static inline int child_signal_group(child *c, int signal)
{
    if (c->warden != nullptr)
        return child_signal_by_warden(c, signal, CHILD_TO_ALL);
    if (!c->leads)
        return fail_with(EPERM);
    int result = child_signal_by_pidfd(c, signal, CHILD_SIGNAL_GROUP);
    if (result <= 0)
        return result;
    return child_holds_number(c) ? kill(-c->pid, signal) : fail_with(ESRCH);
}

// Whether somebody is in the group that it leads; a zombie is, too, itself as well.  Only signals
// to groups by pidfd tell, without an end of telling: false where there are none.
static inline bool child_tells_group(const child *c)
{
    int saved = errno;
    bool some =
        c->leads && c->warden == nullptr && child_signal_by_pidfd(c, 0, CHILD_SIGNAL_GROUP) == 0;
    errno = saved;
    return some;
}

// To its group if it leads one, else to it alone.
static inline int child_signal_all(child *c, int signal)
{
    return c->leads ? child_signal_group(c, signal) : child_signal(c, signal);
}

// Ends it: SIGTERM, from `kill_at` on SIGKILL, to its group if it leads one, and waits until it has
// ended.  It is not reaped.  -1: ETIMEDOUT, ECANCELED: it may run on (it can't be
// signalled, or sleeps in the kernel).
static inline int child_end(child *c, weft_deadline kill_at, weft_deadline d)
{
    int saved = errno;
    weft_deadline first = kill_at < d ? kill_at : d;
    if (child_has_ended(c))
        return 0;
    if (first > WEFT_NOW) {
        child_signal_all(c, SIGTERM);
        child_signal_all(c, SIGCONT); // a stopped one does not hear SIGTERM
        if (child_await(c, first) == 0) {
            errno = saved;
            return 0;
        }
        if (errno != ETIMEDOUT)
            return -1;
    }
    child_signal_all(c, SIGKILL);
    if (child_await(c, d) != 0)
        return -1;
    errno = saved;
    return 0;
}

static inline void child_close(child *c)
{
    close_keep_errno(&c->pidfd);
}

// ---- Starting one that runs on in this program ----

// The child of child_fork, until it may go on.
static inline void child_hold(uint32_t *word, pid_t parent)
{
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == 0) {
        futex_wait(word, 0, weft_in_ms(20), 1);
        if (getppid() != parent) // that nobody waits for
            _exit(127);
    }
    __atomic_store_n(word, 2, __ATOMIC_RELEASE);
    futex_wake(word, 1, 1);
}

// The parent of one: opens its pidfd and lets it go on.  -1: it was ended and reaped.
static inline int child_adopt(child *c, uint32_t *word)
{
    if (!(child_without & CHILD_NO_PIDFD))
        c->pidfd = above_streams((int)syscall(SYS_pidfd_open, c->pid, 0));
    if (c->pidfd < 0 && !(child_without & CHILD_NO_PIDFD) && !is_refused(errno)) {
        int error = errno;
        kill(c->pid, SIGKILL);
        while (uncancelled(waitpid, c->pid, nullptr, 0) < 0 && errno == EINTR)
            ;
        return fail_with(error);
    }
    __atomic_store_n(word, 1, __ATOMIC_RELEASE);
    futex_wake(word, 1, 1);
    // That it goes on says that it lived when the pidfd was opened.
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != 2 && !child_has_ended(c))
        futex_wait(word, 1, weft_in_ms(1), 1);
    return 0;
}

// fork(2), with a pidfd that can't be another process's: the child does not go on before the parent
// has opened it, and while it lives its number is its own.  fork and not clone, since glibc's
// fork alone leaves malloc and stdio usable in the child; it has none that gives a pidfd.
// In the child 0; -1: errno, and there is no child.
//
// The word that the child waits for lies in memory that both share, so that no third process that
// was forked meanwhile can hold it up, as one can hold a pipe open.
static inline pid_t child_fork(child *c)
{
    int saved = errno;
    pid_t parent = getpid();
    *c = {};
    c->pidfd = -1;
    uint32_t *word = (uint32_t *)mmap(nullptr, sizeof *word, PROT_READ | PROT_WRITE,
                                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (word == MAP_FAILED)
        return -1;
    c->pid = fork();
    if (c->pid == 0)
        child_hold(word, parent);
    pid_t pid = c->pid > 0 && child_adopt(c, word) != 0 ? -1 : c->pid;
    int error = errno;
    munmap(word, sizeof *word);
    errno = pid < 0 ? error : saved;
    return pid;
}

} // namespace weft

#endif
