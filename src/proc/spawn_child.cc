// spawn_child.cc: what a child does between its birth and its exec.
//
// After clone(CLONE_VM) it runs on the parent's memory with the parent's thread
// stopped, after fork() on a copy of it; the code is the same.  Therefore it:
//  - makes system calls directly.  libc's setuid and friends would try to change
//    the parent's threads too; its sigaction keeps hands off some signals.
//  - is compiled without sanitizers: their shadow state belongs to the parent.
//  - allocates nothing and takes no lock.
// errno is the parent's, who puts it back.
//
// The steps' order matters: the streams before the rest are closed; resource
// limits before privileges are dropped, for raising them may need those; groups,
// then gid, then uid, for each needs the privileges that the next one drops; the leash
// before them, with our parent's right to send its signal; signals before the callback, which may
// set them anew; the numbers of opts->map last, which may be those of what was needed until then.
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace weft;

namespace {
// As the kernel knows it.  Its handler comes first on every processor; the rest is
// only ever zero here.
struct kernel_sigaction {
    void (*handler)(int);
    unsigned long rest[7];
};
} // namespace

enum { KERNEL_SIGSET = 8, SIGNALS = 64 };

[[noreturn]] PLAIN static void quit(spawn_plan *plan, int stage)
{
    int words[2] = {stage, errno};
    plan->stage = stage;
    plan->error = errno;
    if (plan->report != nullptr) {
        plan->report[0] = words[0];
        plan->report[1] = words[1];
    }
    // A pipe takes eight bytes whole; if the parent is gone nobody wants them.
    if (plan->report_pipe >= 0)
        syscall(SYS_write, plan->report_pipe, words, sizeof words);
    for (;;)
        syscall(SYS_exit_group, 127);
}

// A source below 3 could be overwritten before it is used (swapped streams): move it up first.
PLAIN static bool place_streams(const spawn_plan *plan)
{
    int source[3];
    for (int i = 0; i < 3; i++) {
        source[i] = plan->source[i];
        if (source[i] < 0 || source[i] > 2 || source[i] == i)
            continue;
        source[i] = (int)syscall(SYS_fcntl, source[i], F_DUPFD_CLOEXEC, 3);
        if (source[i] < 0)
            return false;
    }
    for (int i = 0; i < 3; i++) {
        if (source[i] == i && syscall(SYS_fcntl, i, F_SETFD, 0) != 0)
            return false;
        if (source[i] >= 0 && source[i] != i && syscall(SYS_dup3, source[i], i, 0) < 0)
            return false;
    }
    return true;
}

// A copy of fd above 2, with a number that is not to be another's.
PLAIN static int copy_away(const weft_subprocess_options *o, int fd)
{
    for (int least = 3;;) {
        int copy = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, least);
        if (copy < 0 || !is_mapped(o, copy))
            return copy;
        syscall(SYS_close, copy);
        least = copy + 1;
    }
}

// Before the streams take their numbers: what would be overwritten moves out of the way.
PLAIN static bool collect_mapped(const spawn_plan *plan)
{
    const weft_subprocess_options *o = plan->opts;
    for (size_t i = 0; i < o->map_count; i++) {
        int fd = o->map[i].fd;
        plan->from[i] = fd != o->map[i].as && (fd < 3 || is_mapped(o, fd)) ? copy_away(o, fd) : fd;
        if (plan->from[i] < 0)
            return false;
    }
    return true;
}

// As late as possible: the numbers may be those of descriptors that were needed until now.
PLAIN static bool place_mapped(const spawn_plan *plan)
{
    for (size_t i = 0; i < plan->opts->map_count; i++)
        if (plan->from[i] != plan->opts->map[i].as &&
            syscall(SYS_dup3, plan->from[i], plan->opts->map[i].as, 0) < 0)
            return false;
    return true;
}

PLAIN static bool pass_descriptors(const spawn_plan *plan)
{
    for (size_t i = 0; i < plan->keep_count; i++)
        if (plan->keep[i] != plan->report_pipe &&
            syscall(SYS_fcntl, plan->keep[i], F_SETFD, 0) != 0)
            return false;
    return true;
}

PLAIN static bool set_limits(const spawn_plan *plan)
{
    const weft_subprocess_options *o = plan->opts;
    for (size_t i = 0; i < o->limit_count; i++)
        if (syscall(SYS_prlimit64, 0, o->limits[i].resource, &o->limits[i].limit, nullptr) != 0)
            return false;
    if (o->nice != 0) {
        // The system call answers 20 - nice.
        long now = 20 - syscall(SYS_getpriority, PRIO_PROCESS, 0);
        if (syscall(SYS_setpriority, PRIO_PROCESS, 0, now + o->nice) != 0)
            return false;
    }
    return o->cpus == nullptr ||
           syscall(SYS_sched_setaffinity, 0, sizeof plan->cpus, plan->cpus) >= 0;
}

PLAIN static void default_action(int signal)
{
    kernel_sigaction action;
    action.handler = SIG_DFL;
    for (unsigned long &word : action.rest)
        word = 0;
    syscall(SYS_rt_sigaction, signal, &action, nullptr, KERNEL_SIGSET);
}

PLAIN static bool has_signal(const sigset_t *set, int signal)
{
    return set != nullptr && (*(const uint64_t *)(const void *)set >> (signal - 1) & 1) != 0;
}

// A handler must not run here: it would run on our parent's memory.  So they go before
// the mask opens.  exec keeps what is ignored, handlers it would reset itself.
PLAIN static void set_signals(const spawn_plan *plan)
{
    const weft_subprocess_options *o = plan->opts;
    static const uint64_t none = 0;
    for (int s = 1; s <= SIGNALS; s++) {
        kernel_sigaction action;
        bool reset =
            s == SIGPIPE || s == SIGXFSZ || s == SIGCHLD || has_signal(o->signal_default, s);
        if (has_signal(o->signal_ignore, s)) {
            action.handler = SIG_IGN;
            for (unsigned long &word : action.rest)
                word = 0;
            syscall(SYS_rt_sigaction, s, &action, nullptr, KERNEL_SIGSET);
        } else if (reset) {
            default_action(s);
        } else if (!plan->handlers_cleared &&
                   syscall(SYS_rt_sigaction, s, nullptr, &action, KERNEL_SIGSET) == 0 &&
                   action.handler != SIG_DFL && action.handler != SIG_IGN) {
            default_action(s);
        }
    }
    syscall(SYS_rt_sigprocmask, SIG_SETMASK,
            o->signal_mask != nullptr ? (const void *)o->signal_mask : &none, nullptr,
            KERNEL_SIGSET);
}

PLAIN static bool set_group(const spawn_plan *plan)
{
    const weft_subprocess_options *o = plan->opts;
    if (o->flags & WEFT_SUBPROCESS_NEW_SESSION)
        return syscall(SYS_setsid) >= 0 &&
               (plan->terminal < 0 || syscall(SYS_ioctl, plan->terminal, TIOCSCTTY, 0) == 0);
    pid_t group = o->process_group == WEFT_GROUP_NEW ? 0 : o->process_group;
    if (o->process_group == 0 || o->process_group == WEFT_GROUP_OURS) {
        if (plan->warden_of == 0)
            return true;
        group = plan->warden_of;
    }
    if (syscall(SYS_setpgid, 0, group) != 0)
        return false;
    int pid = (int)syscall(SYS_getpid);
    if (plan->foreground >= 0) // SIGTTOU, of who is not the foreground, is blocked
        syscall(SYS_ioctl, plan->foreground, TIOCSPGRP, &pid);
    return true;
}

PLAIN static void set_identity(spawn_plan *plan)
{
    const weft_subprocess_options *o = plan->opts;
    if (o->groups != nullptr && syscall(SYS_setgroups, o->group_count, o->groups) != 0)
        quit(plan, WEFT_STAGE_GROUPS);
    if (o->flags & WEFT_SUBPROCESS_SET_GID && syscall(SYS_setresgid, o->gid, o->gid, o->gid) != 0)
        quit(plan, WEFT_STAGE_GID);
    if (o->flags & WEFT_SUBPROCESS_SET_UID && syscall(SYS_setresuid, o->uid, o->uid, o->uid) != 0)
        quit(plan, WEFT_STAGE_UID);
}

// Our parent's end is ours, and our group's if we lead one (base/leash.h).  We have the leash's one
// end, too, but not the other, so that the end can be seen here.
PLAIN static bool die_with_parent(const spawn_plan *plan)
{
    const weft_subprocess_options *o = plan->opts;
    long pid = syscall(SYS_getpid);
    bool leads = o->flags & WEFT_SUBPROCESS_NEW_SESSION || o->process_group == WEFT_GROUP_NEW;
    struct pollfd end = {plan->leash[0], 0, 0};
    timespec now = {0, 0};
    syscall(SYS_close, plan->leash[1]);
    if (syscall(SYS_fcntl, plan->leash[0], F_SETOWN, leads ? -pid : pid) != 0)
        return false;
    bool there = syscall(SYS_ppoll, &end, 1, &now, nullptr, KERNEL_SIGSET) == 0;
    syscall(SYS_close, plan->leash[0]); // or exec would, when our parent goes on already
    errno = ESRCH;
    return there;
}

// The first error that isn't "not there" wins: a program that may not be executed is
// worth more to know than that later folders of PATH don't have it.
PLAIN static void execute(const spawn_plan *plan)
{
    int first = 0;
    for (char *path = plan->candidates; *path != 0;) {
        syscall(SYS_execve, path, plan->argv, plan->envp);
        if (errno == ENOEXEC && plan->opts->flags & WEFT_SUBPROCESS_SCRIPTS) {
            plan->script[1] = path;
            syscall(SYS_execve, "/bin/sh", plan->script, plan->envp);
        }
        if (errno != ENOENT && errno != ENOTDIR && first == 0)
            first = errno;
        while (*path != 0)
            path++;
        path++;
    }
    if (first != 0)
        errno = first;
}

// A callback that changes our environment (setenv) may have moved it.
PLAIN static bool call_back(spawn_plan *plan)
{
    const weft_subprocess_options *o = plan->opts;
    bool inherits = plan->envp == environ;
    errno = 0;
    if (o->callback != nullptr && o->callback(o->arg) != 0) {
        errno = errno != 0 ? errno : ECANCELED;
        return false;
    }
    if (inherits)
        plan->envp = environ;
    return true;
}

PLAIN void weft::spawn_child(void *arg)
{
    spawn_plan *plan = (spawn_plan *)arg;
    const weft_subprocess_options *o = plan->opts;
    if (!collect_mapped(plan) || !place_streams(plan))
        quit(plan, WEFT_STAGE_STREAMS);
    if (o->cwd != nullptr && syscall(SYS_chdir, o->cwd) != 0)
        quit(plan, WEFT_STAGE_DIRECTORY);
    if (o->flags & WEFT_SUBPROCESS_SET_UMASK)
        syscall(SYS_umask, o->umask);
    if (!set_group(plan))
        quit(plan, WEFT_STAGE_SESSION);
    if (plan->leash != nullptr && !die_with_parent(plan))
        quit(plan, WEFT_STAGE_PARENT);
    if (!set_limits(plan))
        quit(plan, WEFT_STAGE_LIMITS);
    set_identity(plan);
    if (plan->warden_of != 0)
        syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    set_signals(plan);
    if (!call_back(plan))
        quit(plan, WEFT_STAGE_CALLBACK);
    if (!place_mapped(plan) || !pass_descriptors(plan))
        quit(plan, WEFT_STAGE_STREAMS);
    close_others(plan->keep, plan->keep_count, plan->descriptors, spawn_without);
    errno = ENOENT;
    execute(plan);
    quit(plan, WEFT_STAGE_EXEC);
}

PLAIN void weft::spawn_probe(void *word)
{
    *(volatile int *)word = 1;
    for (;;)
        syscall(SYS_exit_group, 0);
}
