// process.cc: fork, and a pidfd to wait on.
//
// A child is waited for through its pidfd, and then reaped under the handle's lock: so
// its number stays its own as long as anybody here may signal it.
//
// Dying with the parent: PR_SET_PDEATHSIG fires at the end of the *thread* that forked,
// so it can't be used where threads are.  Instead the child holds the read end of a pipe
// that is set to send it SIGKILL when something happens to it (F_SETSIG, O_ASYNC), and the only
// thing that can happen is that the last write end goes, which only the parent holds.  That takes
// no thread and no handler in the child, and the child can't block it.  Later children would
// inherit that write end; fork_child closes it there, by the list of all of them.
#include "fork.h"

#include <base/errno.h>
#include <thread/sleep.h>
#include <weft/process.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

using namespace weft;

struct weft_process {
    pid_t pid;
    int pidfd;
    bool leads_group;

    pthread_mutex_t lock; // guards the next three
    bool ended;
    bool status_lost;
    int status;

    int leash_end;                        // the write end; -1: none
    weft_process *next_line, *other_line; // guarded by leashes_lock
};

// The children that die with this process.  The lock is held across a fork, so that the child
// finds the list whole.
static pthread_mutex_t leashes_lock = PTHREAD_MUTEX_INITIALIZER;
static weft_process *leash_list;

// A pipe whose read end sends SIGKILL to its owner when all write ends are gone.
static int leash_pipe(int line[2])
{
    if (pipe2(line, O_CLOEXEC) != 0)
        return -1;
    if (fcntl(line[0], F_SETSIG, SIGKILL) == 0 && fcntl(line[0], F_SETFL, O_ASYNC) == 0)
        return 0;
    close_keep_errno(&line[0]);
    close_keep_errno(&line[1]);
    return -1;
}

// Makes one for p and returns its read end.  No fork comes between its birth and the list.
static int leash_begin_for(weft_process *p)
{
    int line[2] = {-1, -1};
    pthread_mutex_lock(&leashes_lock);
    if (leash_pipe(line) == 0) {
        p->leash_end = line[1];
        p->next_line = leash_list;
        p->other_line = nullptr;
        if (leash_list != nullptr)
            leash_list->other_line = p;
        leash_list = p;
    }
    pthread_mutex_unlock(&leashes_lock);
    return line[0];
}

static void leash_cut(weft_process *p)
{
    pthread_mutex_lock(&leashes_lock);
    if (p->leash_end >= 0) {
        *(p->other_line != nullptr ? &p->other_line->next_line : &leash_list) = p->next_line;
        if (p->next_line != nullptr)
            p->next_line->other_line = p->other_line;
        close_keep_errno(&p->leash_end);
    }
    pthread_mutex_unlock(&leashes_lock);
}

pid_t weft::fork_child(void)
{
    fflush(stdout);
    fflush(stderr);
    pthread_mutex_lock(&leashes_lock);
    pid_t pid = fork();
    if (pid == 0) {
        for (weft_process *p = leash_list; p != nullptr; p = p->next_line)
            close_keep_errno(&p->leash_end);
        leash_list = nullptr;
        disown_thread();
    }
    int saved = errno;
    pthread_mutex_unlock(&leashes_lock);
    errno = saved;
    return pid;
}

void weft::close_others(const int *keep, size_t n)
{
    unsigned first = 3;
    for (size_t i = 0; i < n; i++) {
        unsigned fd = (unsigned)keep[i];
        if (fd > first)
            syscall(SYS_close_range, first, fd - 1, 0);
        if (fd >= first)
            first = fd + 1;
    }
    syscall(SYS_close_range, first, ~0U, 0);
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b;
}

int *weft::sorted_descriptors(const int *keep, size_t *n, const int *also, size_t more)
{
    int *all = (int *)calloc(*n + more + 1, sizeof *all);
    if (all == nullptr)
        return nullptr;
    for (size_t i = 0; i < *n + more; i++) {
        all[i] = i < *n ? keep[i] : also[i - *n];
        if (all[i] < 0) {
            free(all);
            errno = EBADF;
            return nullptr;
        }
    }
    *n += more;
    qsort(all, *n, sizeof *all, by_number);
    return all;
}

void weft::name_process(const char *name)
{
    if (name != nullptr)
        prctl(PR_SET_NAME, name);
}

// In the child: from here on it ends with its parent.
static void leash_take(int line)
{
    struct pollfd f = {line, 0, 0}; // it may have ended before
    if (fcntl(line, F_SETOWN, getpid()) != 0 || poll(&f, 1, 0) != 0)
        kill(getpid(), SIGKILL);
}

namespace {
struct start_plan {
    int (*fn)(void *);
    void *arg;
    const weft_process_options *opts;
    int line;  // the leash_end's read end; -1: none
    int *keep; // sorted, with the leash_end's read end
    size_t keep_count;
};
} // namespace

[[noreturn]] static void child_main(const start_plan *plan)
{
    if (plan->line >= 0)
        leash_take(plan->line);
    int flags = plan->opts->flags;
    if (flags & WEFT_PROCESS_NEW_SESSION)
        setsid();
    else if (flags & WEFT_PROCESS_NEW_GROUP)
        setpgid(0, 0);
    if (flags & WEFT_PROCESS_CLOSE_OTHERS)
        close_others(plan->keep, plan->keep_count);
    name_process(plan->opts->name);
    int code = plan->fn(plan->arg);
    fflush(stdout);
    fflush(stderr);
    _exit(code & 0xff);
}

// Forks, and opens the child's pidfd.  A child that is not to be is ended and reaped.
static int start(weft_process *p, const start_plan *plan)
{
    p->pid = fork_child();
    if (p->pid == 0)
        child_main(plan);
    if (p->pid < 0)
        return -1;
    if (plan->opts->flags & WEFT_PROCESS_NEW_GROUP &&
        !(plan->opts->flags & WEFT_PROCESS_NEW_SESSION)) {
        int saved = errno;
        setpgid(p->pid, p->pid); // who comes first, child or we: then nobody signals too early
        errno = saved;
    }
    p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    if (p->pidfd >= 0)
        return 0;
    int error = errno;
    kill(p->pid, SIGKILL);
    while (waitpid(p->pid, nullptr, 0) < 0 && errno == EINTR)
        ;
    return fail_with(error);
}

static int plan_check(const start_plan *plan)
{
    const int known = WEFT_PROCESS_NEW_SESSION | WEFT_PROCESS_NEW_GROUP |
                      WEFT_PROCESS_DIE_WITH_PARENT | WEFT_PROCESS_CLOSE_OTHERS;
    const weft_process_options *o = plan->opts;
    if (plan->fn == nullptr || o->flags & ~known ||
        (o->keep_count != 0 && (o->keep == nullptr || !(o->flags & WEFT_PROCESS_CLOSE_OTHERS))))
        return fail_with(EINVAL);
    return 0;
}

static int plan_make(start_plan *plan, weft_process *p)
{
    const weft_process_options *o = plan->opts;
    if (plan_check(plan) != 0)
        return -1;
    if (o->flags & WEFT_PROCESS_DIE_WITH_PARENT && (plan->line = leash_begin_for(p)) < 0)
        return -1;
    if (!(o->flags & WEFT_PROCESS_CLOSE_OTHERS))
        return 0;
    plan->keep_count = o->keep_count;
    plan->keep = sorted_descriptors(o->keep, &plan->keep_count, &plan->line, plan->line >= 0);
    return plan->keep != nullptr ? 0 : -1;
}

weft_process *weft_process_start(int (*fn)(void *arg), void *arg, const weft_process_options *opts)
{
    static const weft_process_options defaults = {};
    start_plan plan = {fn, arg, opts != nullptr ? opts : &defaults, -1, nullptr, 0};
    weft_process *p = (weft_process *)calloc(1, sizeof *p);
    if (p == nullptr)
        return nullptr;
    p->leash_end = -1;
    p->leads_group = plan.opts->flags & (WEFT_PROCESS_NEW_SESSION | WEFT_PROCESS_NEW_GROUP);
    pthread_mutex_init(&p->lock, nullptr);
    bool started = plan_make(&plan, p) == 0 && start(p, &plan) == 0;
    close_keep_errno(&plan.line);
    free_keep_errno(plan.keep);
    if (started)
        return p;
    leash_cut(p);
    free_keep_errno(p);
    return nullptr;
}

// Reaps the child if it has ended; whether it has.
static bool reap(weft_process *p)
{
    int saved = errno;
    pthread_mutex_lock(&p->lock);
    if (!p->ended) {
        pid_t pid = waitpid(p->pid, &p->status, WNOHANG);
        p->ended = pid != 0;
        p->status_lost = pid < 0;
    }
    bool ended = p->ended;
    pthread_mutex_unlock(&p->lock);
    if (ended)
        leash_cut(p);
    errno = saved;
    return ended;
}

int weft_process_join(weft_process *p, int *status, weft_deadline d)
{
    if (p == nullptr)
        return fail_with(EINVAL);
    int saved = errno;
    while (!reap(p)) {
        struct pollfd f = {p->pidfd, POLLIN, 0};
        if (poll_until(&f, 1, d) < 0)
            return -1;
    }
    if (p->status_lost)
        return fail_with(ECHILD);
    errno = saved;
    if (status != nullptr)
        *status = p->status;
    return 0;
}

bool weft_process_is_alive(weft_process *p)
{
    return p != nullptr && !reap(p);
}

static int status_of(weft_process *p, int *status)
{
    if (p != nullptr && !reap(p))
        return fail_with(EBUSY);
    return weft_process_join(p, status, WEFT_NOW);
}

int weft_process_exit_code(weft_process *p)
{
    int status;
    if (status_of(p, &status) != 0)
        return -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int weft_process_signal(weft_process *p)
{
    int status;
    if (status_of(p, &status) != 0)
        return -1;
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

pid_t weft_process_pid(const weft_process *p)
{
    return p != nullptr ? p->pid : fail_with(EINVAL);
}

int weft_process_fd(const weft_process *p)
{
    return p != nullptr ? p->pidfd : fail_with(EINVAL);
}

int weft_process_send_signal(weft_process *p, int signal)
{
    if (p == nullptr)
        return fail_with(EINVAL);
    // Under the lock it can't be reaped, so the number is its own.
    pthread_mutex_lock(&p->lock);
    int saved = errno;
    int r = p->ended ? fail_with(ESRCH) : kill(p->leads_group ? -p->pid : p->pid, signal);
    if (r != 0 && errno == ESRCH && p->leads_group && !p->ended) {
        errno = saved; // it has not made its session yet
        r = kill(p->pid, signal);
    }
    int error = errno;
    pthread_mutex_unlock(&p->lock);
    errno = error;
    return r;
}

int weft_process_terminate(weft_process *p)
{
    return weft_process_send_signal(p, SIGTERM);
}

int weft_process_kill(weft_process *p)
{
    return weft_process_send_signal(p, SIGKILL);
}

int weft_process_destroy(weft_process *p)
{
    if (p == nullptr)
        return 0;
    if (!reap(p))
        return fail_with(EBUSY);
    close_keep_errno(&p->pidfd);
    pthread_mutex_destroy(&p->lock);
    free_keep_errno(p);
    return 0;
}
