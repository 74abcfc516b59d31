// process.cc: a function in a child process, held by base/child.h.
//
// A child is reaped under the handle's lock, so that of several threads that join it each gets the
// status.  Dying with the parent is a leash (base/leash.h) that we keep.
#include "fork.h"
#include "handle_lock.h"

#include <base/close_others.h>
#include <base/leash.h>
#include <thread/sleep.h>
#include <weft/process.h>

#include <stdio.h>
#include <sys/prctl.h>

using namespace weft;

struct weft_process {
    handle_lock lock; // guards that the child is reaped once
    child c;
    leash held;
};

pid_t weft::fork_child(child *c)
{
    uncancelled(fflush, stdout);
    uncancelled(fflush, stderr);
    pid_t pid = c != nullptr ? child_fork(c) : fork();
    if (pid == 0) {
        disown_thread();
        // The child has a copy of what is on its way to our thread.
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
    }
    return pid;
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
    sort_descriptors(all, *n);
    return all;
}

void weft::name_process(const char *name)
{
    if (name != nullptr)
        prctl(PR_SET_NAME, name);
}

static const int leads = WEFT_PROCESS_NEW_GROUP | WEFT_PROCESS_NEW_SESSION;

namespace {
struct start_plan {
    int (*fn)(void *);
    void *arg;
    const weft_process_options *opts;
    int leash; // that is kept; -1: none
    int *keep; // sorted
    size_t keep_count;
};
} // namespace

[[noreturn]] static void child_main(const start_plan *plan)
{
    int flags = plan->opts->flags;
    if (flags & WEFT_PROCESS_NEW_SESSION)
        setsid();
    else if (flags & WEFT_PROCESS_NEW_GROUP)
        setpgid(0, 0);
    if (plan->leash >= 0 && leash_join(plan->leash, flags & leads) != 0)
        _exit(127);
    if (flags & WEFT_PROCESS_CLOSE_OTHERS)
        close_others(plan->keep, plan->keep_count);
    name_process(plan->opts->name);
    int code = plan->fn(plan->arg);
    uncancelled(fflush, stdout);
    uncancelled(fflush, stderr);
    _exit(code & 0xff);
}

static int start(weft_process *p, const start_plan *plan)
{
    leash_passed = plan->leash >= 0 ? &p->held : nullptr;
    leash_joins = true;
    pid_t pid = fork_child(&p->c);
    leash_passed = nullptr;
    leash_joins = false;
    if (pid == 0)
        child_main(plan);
    leash_await_join();
    if (pid < 0)
        return -1;
    p->c.leads = plan->opts->flags & leads;
    if ((plan->opts->flags & leads) == WEFT_PROCESS_NEW_GROUP) {
        int saved = errno;
        setpgid(pid, pid); // child or we, whichever is first: then nobody signals too early
        errno = saved;
    }
    return 0;
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
    if (o->flags & WEFT_PROCESS_DIE_WITH_PARENT) {
        if (leash_keep(&p->held, SIGKILL) != 0)
            return -1;
        plan->leash = p->held.kept;
    }
    if (!(o->flags & WEFT_PROCESS_CLOSE_OTHERS))
        return 0;
    plan->keep_count = o->keep_count;
    plan->keep = sorted_descriptors(o->keep, &plan->keep_count, nullptr, 0);
    return plan->keep != nullptr ? 0 : -1;
}

weft_process *weft_process_start(int (*fn)(void *arg), void *arg, const weft_process_options *opts)
{
    static const weft_process_options defaults = {};
    start_plan plan = {fn, arg, opts != nullptr ? opts : &defaults, -1, nullptr, 0};
    weft_process *p = (weft_process *)calloc(1, sizeof *p);
    if (p == nullptr)
        return nullptr;
    p->held.end = -1;
    bool started = plan_make(&plan, p) == 0 && start(p, &plan) == 0;
    free_keep_errno(plan.keep);
    if (started)
        return p;
    leash_let_go(&p->held);
    free_keep_errno(p);
    return nullptr;
}

// Reaps the child if it has ended; whether it has.
static bool reap(weft_process *p)
{
    handle_lock_take(&p->lock);
    bool ended = child_poll(&p->c);
    handle_lock_give(&p->lock);
    if (ended)
        leash_let_go(&p->held);
    return ended;
}

int weft_process_join(weft_process *p, int *status, weft_deadline d)
{
    if (p == nullptr)
        return fail_with(EINVAL);
    int saved = errno;
    while (!reap(p))
        if (child_sleep(&p->c, d) != 0)
            return -1;
    if (p->c.lost)
        return fail_with(ECHILD);
    errno = saved;
    if (status != nullptr)
        *status = p->c.status;
    return 0;
}

int weft_process_poll(weft_process *p, int *status)
{
    if (p != nullptr && !reap(p))
        return 0;
    return weft_process_join(p, status, WEFT_NOW) == 0 ? 1 : -1;
}

pid_t weft_process_pid(const weft_process *p)
{
    return p != nullptr ? p->c.pid : fail_with(EINVAL);
}

int weft_process_fd(const weft_process *p)
{
    return p == nullptr ? fail_with(EINVAL) : p->c.pidfd >= 0 ? p->c.pidfd : fail_with(ENOSYS);
}

int weft_process_send_signal(weft_process *p, int signal)
{
    if (p == nullptr)
        return fail_with(EINVAL);
    handle_lock_take(&p->lock); // so that nobody reaps it meanwhile
    int saved = errno, result = child_signal_all(&p->c, signal);
    if (result != 0 && errno == ESRCH && p->c.leads && !p->c.ended) {
        errno = saved; // it has not made its session yet
        result = child_signal(&p->c, signal);
    }
    int error = errno;
    handle_lock_give(&p->lock);
    errno = error;
    return result;
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
    child_close(&p->c);
    free_keep_errno(p);
    return 0;
}
