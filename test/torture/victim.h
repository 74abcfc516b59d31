// victim.h: a process that is stepped through an operation and killed on the way.
#ifndef WEFT_TORTURE_VICTIM_H
#define WEFT_TORTURE_VICTIM_H

#include <weft/deadline.h>

#include <dirent.h>
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

// Runs prepare(w), then steps through act(w) for `steps` instructions, then kills it there.
// With steps < 0: lets it run until it sleeps, and kills it asleep.
// Whether it was still at work.
static inline bool kill_in(int (*prepare)(void *), int (*act)(void *), void *w, long steps)
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
    if (steps < 0) {
        ptrace(PTRACE_CONT, p, nullptr, nullptr);
        wait_asleep(p);
        bool asleep = state_of(p) == 'S';
        finish(p);
        return asleep;
    }
    for (long i = 0; i < steps; i++) {
        ptrace(PTRACE_SINGLESTEP, p, nullptr, nullptr);
        waitpid(p, &status, 0);
        if (!WIFSTOPPED(status))
            return false;
    }
    finish(p);
    return true;
}

static inline int open_descriptors(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d) != nullptr)
        n++;
    closedir(d);
    return n;
}

#endif
