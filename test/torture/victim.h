// victim.h: a process that is stepped through an operation and killed on the way.
#ifndef WEFT_TORTURE_VICTIM_H
#define WEFT_TORTURE_VICTIM_H

#include "../descriptors.h"

#include <weft/deadline.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Forks a child that runs fn(arg) and exits with its result.
static inline pid_t start(int (*fn)(void *), void *arg)
{
    pid_t p = fork();
    if (p == 0) {
        alarm(120);
        _exit(fn(arg));
    }
    return p;
}

// Its exit status; -1 if it was killed; -2 if it has not ended by then.
static inline int end_by(pid_t p, weft_deadline d)
{
    int status, fd = (int)syscall(SYS_pidfd_open, p, 0);
    struct pollfd one = {fd, POLLIN, 0};
    int64_t left = weft_left(d) / 1000000 + 1;
    int n = poll(&one, 1, (int)left);
    close(fd);
    if (n != 1)
        return -2;
    waitpid(p, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline void finish(pid_t p)
{
    int status;
    if (p > 0) // -1, a fork that failed, would be everybody
        kill(p, SIGKILL);
    while (waitpid(p, &status, 0) == p && !WIFEXITED(status) && !WIFSIGNALED(status))
        ;
}

static inline char state_of(pid_t p)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", p);
    FILE *f = fopen(path, "r");
    if (f == nullptr)
        return 0;
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    const char *end = strrchr(text, ')');
    return end != nullptr ? end[2] : 0;
}

static inline void wait_asleep(pid_t p)
{
    char s;
    while ((s = state_of(p)) != 'S' && s != 'Z' && s != 0)
        usleep(100);
}

// ---- the victim ----

// A child that stops itself between prepare(w) and act(w).
static inline pid_t start_victim(int (*prepare)(void *), int (*act)(void *), void *w)
{
    pid_t p = fork();
    if (p == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        if (prepare != nullptr && prepare(w) != 0)
            _exit(99);
        raise(SIGSTOP);
        act(w);
        _exit(0);
    }
    int status;
    waitpid(p, &status, 0);
    if (!WIFSTOPPED(status)) {
        fprintf(stderr, "a victim's preparation failed: %x\n", status);
        exit(2);
    }
    return p;
}

// Lets it run to the next stop; false: it has ended.
static inline bool run_on(pid_t p, bool one_step)
{
    int status;
    if (one_step)
        ptrace(PTRACE_SINGLESTEP, p, nullptr, nullptr);
    else
        ptrace(PTRACE_CONT, p, nullptr, nullptr);
    return waitpid(p, &status, 0) == p && WIFSTOPPED(status);
}

// Lets it run until it sleeps, and kills it asleep.
static inline bool kill_asleep_in(int (*prepare)(void *), int (*act)(void *), void *w)
{
    pid_t p = start_victim(prepare, act, w);
    ptrace(PTRACE_CONT, p, nullptr, nullptr);
    wait_asleep(p);
    bool asleep = state_of(p) == 'S';
    finish(p);
    return asleep;
}

// ---- its path ----

// The addresses of an operation's instructions in order.  To be at the k-th, a victim runs to
// the nearest one before it that is the first at its address, by a breakpoint, and is stepped
// from there: a step costs 50 us in some virtual machines.
enum { LONGEST = 20000 };
struct path {
    long length;
    unsigned long at[LONGEST];
    long anchor[LONGEST]; // -1: step all the way
};

#ifdef __x86_64__
#include <stddef.h>
#include <sys/user.h>

static inline unsigned long address_of_next(pid_t p)
{
    return (unsigned long)ptrace(PTRACE_PEEKUSER, p, offsetof(struct user, regs.rip), nullptr);
}

// Runs to `address`; false: it has ended, or no breakpoint can be set there.
static inline bool run_to(pid_t p, unsigned long address)
{
    errno = 0;
    long text = ptrace(PTRACE_PEEKTEXT, p, address, nullptr);
    if (errno != 0 || ptrace(PTRACE_POKETEXT, p, address, (text & ~0xffL) | 0xcc) != 0)
        return false;
    if (!run_on(p, false) || address_of_next(p) != address + 1)
        return false;
    ptrace(PTRACE_POKETEXT, p, address, text);
    ptrace(PTRACE_POKEUSER, p, offsetof(struct user, regs.rip), address);
    return true;
}
#else
static inline unsigned long address_of_next(pid_t)
{
    return 0; // so no anchors: all is stepped
}

static inline bool run_to(pid_t, unsigned long)
{
    return false;
}
#endif

static inline void record_path(struct path *path, int (*prepare)(void *), int (*act)(void *),
                               void *w)
{
    pid_t p = start_victim(prepare, act, w);
    long n = 0;
    do
        path->at[n++] = address_of_next(p);
    while (n < LONGEST && run_on(p, true));
    if (n == LONGEST)
        finish(p);
    path->length = n;
    for (long k = 0; k < n; k++) {
        bool first = path->at[k] != 0;
        for (long i = 0; first && i < k; i++)
            first = path->at[i] != path->at[k];
        path->anchor[k] = first ? k : k > 0 ? path->anchor[k - 1] : -1;
    }
}

// Kills a victim after `steps` instructions.  False: it had ended before.
static inline bool kill_after(const struct path *path, long steps, int (*prepare)(void *),
                              int (*act)(void *), void *w)
{
    pid_t p = start_victim(prepare, act, w);
    long anchor = steps < path->length ? path->anchor[steps] : -1, i = 0;
    if (anchor > 0 && run_to(p, path->at[anchor]))
        i = anchor;
    else if (anchor > 0) { // not its path this time
        finish(p);
        return false;
    }
    for (; i < steps; i++)
        if (!run_on(p, true))
            return false;
    finish(p);
    return true;
}

#endif
