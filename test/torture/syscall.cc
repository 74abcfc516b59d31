// syscall.cc: at every system call of each operation of processes and pools: the call fails, or
// somebody is killed or stopped at that moment.
//
// The target is the program itself, then each process that it forks, until it executes another
// program.  A call fails with EINTR where it may, with EMFILE, ENOMEM, EAGAIN where it may: the
// operation must then be right, or fail with that errno (what a supervisor or worker lacks may also
// be told as their end).  With SIGKILL to kin the result is free, but there must be one;
// with SIGSTOP, or when the target is late, it must be right.  And always in time, and nothing is
// left: no descriptor, child, mapping, memory, name.  With SIGKILL to the program, all that it
// holds by a leash must be gone.
//
// The controls leak a descriptor, give up when interrupted, forget a child: they must fail.
// TORTURE_STRIDE: every how many calls (1; 5 if TORTURE_SECONDS is below 30).
#ifdef __x86_64__
#include "orphans.h"
#include "traced.h"

#include "../proc/operations.h"
#include "../shm/operations.h"

#include <stdio.h>

static bool starts_with(const char *text, const char *part)
{
    return strncmp(text, part, strlen(part)) == 0;
}

// ---- Which calls may fail how ----

static const struct {
    int number, errors[3];
} FAILURES[] = {
    {SYS_pipe2, {EMFILE}},
    {SYS_openat, {EMFILE}},
    {SYS_eventfd2, {EMFILE}},
    {SYS_signalfd4, {EMFILE}},
    {SYS_epoll_create1, {EMFILE}},
    {SYS_memfd_create, {EMFILE}},
    {SYS_pidfd_open, {EMFILE, ENOMEM}},
    {SYS_clone, {EAGAIN, ENOMEM}},
    {SYS_clone3, {EAGAIN, EMFILE}},
    {SYS_execve, {ENOMEM, EAGAIN}},
    {SYS_mmap, {ENOMEM}},
    {SYS_epoll_ctl, {ENOMEM}},
    {SYS_fallocate, {ENOSPC, EINTR}},
    {SYS_linkat, {ENOMEM}},
    {SYS_poll, {EINTR}},
    {SYS_ppoll, {EINTR}},
    {SYS_read, {EINTR}},
    {SYS_write, {EINTR}},
    {SYS_waitid, {EINTR}},
    {SYS_wait4, {EINTR}},
    {SYS_clock_nanosleep, {EINTR}},
    {SYS_futex, {EINTR, EAGAIN}},
    {SYS_madvise, {ENOMEM}},
};

// Who has blocked all signals is not interrupted: a child until it executes its program, and a
// pool's supervisor.
static bool blocks_signals(const struct plan *p)
{
    return p->target == 1 && !starts_with(p->o->name, "start and join") &&
           !starts_with(p->o->name, "kill");
}

// The errors with which this call may fail; how many.
static int errors_of(const struct call *c, const int **errors)
{
    // Those that do not wait are not interrupted.
    if ((c->number == SYS_wait4 && c->arguments[2] & WNOHANG) ||
        (c->number == SYS_futex && (c->arguments[1] & 127) != 0 && (c->arguments[1] & 127) != 9))
        return 0;
    if (c->number == SYS_fcntl &&
        (c->arguments[1] == F_DUPFD_CLOEXEC || c->arguments[1] == F_DUPFD)) {
        static const int dup = EMFILE;
        *errors = &dup;
        return 1;
    }
    for (const auto &f : FAILURES)
        if (f.number == c->number) {
            *errors = f.errors;
            return f.errors[1] != 0 ? 2 : 1;
        }
    return 0;
}

// ---- What must hold ----

// Whether all that it has started must end, though somebody is killed: not what a shell has in the
// background, nor a tree whose keeper is killed.
static bool is_held(const struct plan *p)
{
    const char *name = p->o->name;
    bool keeper = p->strike == KILL ? p->target == 1 : p->kin == 0;
    return starts_with(name, "pool") || starts_with(name, "start held") ||
           starts_with(name, "run until") || starts_with(name, "pipeline") ||
           (starts_with(name, "tree") && !keeper);
}

// Of those of shared memory: what is about processes.
static bool is_ours(const struct operation *o)
{
    return starts_with(o->name, "start") || starts_with(o->name, "kill") ||
           starts_with(o->name, "close") || starts_with(o->name, "pool");
}

// The processes of an operation that are to be struck, besides itself.
static int targets_of(const struct operation *o)
{
    return starts_with(o->name, "pool") || starts_with(o->name, "tree") ? 3 : 2;
}

static void end_all(void)
{
    pid_t kin[32];
    for (int n = kin_of(getpid(), kin, 32); n-- > 0;)
        kill(kin[n], SIGKILL);
    while (wait4(-1, NULL, 0, NULL) > 0 || errno == EINTR)
        ;
}

static bool result_is_good(const struct plan *p)
{
    int r = report->result;
    if (r == 0)
        return true;
    if (r >= LEFT_DESCRIPTOR && r < LINES)
        return false;
    if (p->strike == KILL || p->strike == KILL_KIN)
        return true;
    if (p->strike != FAIL || p->error == EINTR || calls[p->at].number == SYS_futex)
        return false;
    return r == p->error || (p->target > 0 && (r == EPIPE || r == ECHILD || r == EAGAIN));
}

// NULL, or what is wrong.
static const char *verdict(const struct plan *p)
{
    bool program_dies = p->strike == KILL && p->target == 0;
    if ((p->strike == KILL || p->strike == KILL_KIN) && !is_held(p))
        end_all();
    if (!all_gone()) {
        end_all();
        return "a process lives on";
    }
    if (program_dies && report->struck)
        return report->told ? "it was not killed" : NULL;
    if (!report->told)
        return "died or hung";
    if (!result_is_good(p))
        return result_text(report->result);
    return report->ns > 5000000000 ? "late" : NULL; // less than late()
}

// ---- All points ----

static long points, fatal;
static bool quiet; // it must fail

static const char *const STRIKE_NAMES[] = {"record", "fails", "killed", "kin killed",
                                           "kin stopped"};

static const char *strike_once(const struct plan *p)
{
    struct tracer t;
    trace(&t, p);
    return verdict(p);
}

static void strike(struct plan *p)
{
    const char *wrong = strike_once(p);
    points++;
    if (wrong == NULL || (wrong = strike_once(p)) == NULL)
        return;
    fatal++;
    const struct call *c = &calls[p->at];
    if (quiet)
        return;
    printf("  %s: process %d, call %ld (number %d, %ld) %s %s: %s\n", p->o->name, p->target, p->at,
           c->number, (long)c->arguments[0], STRIKE_NAMES[p->strike],
           p->strike == FAIL ? strerrorname_np(p->error) : "", wrong);
}

static void strike_at(struct plan *p)
{
    const int *errors = NULL;
    int n = errors_of(&calls[p->at], &errors);
    p->strike = FAIL;
    for (int i = 0; i < n; i++) {
        p->error = errors[i];
        if (p->error != EINTR || !blocks_signals(p))
            strike(p);
    }
    for (int s = DELAY; s <= KILL; s++) {
        p->strike = (enum strike)s;
        strike(p);
    }
    for (p->kin = 0; p->target == 0 && p->kin < targets_of(p->o) - 1; p->kin++)
        for (int s = KILL_KIN; s <= PAUSE_KIN; s++) {
            p->strike = (enum strike)s;
            strike(p);
        }
    p->kin = 0;
}

// How many were fatal.
static long strike_all(const struct operation *o, long stride)
{
    long before = points, bad = fatal;
    for (int target = 0; target < targets_of(o); target++) {
        struct plan p = {o, target, RECORD, 0, 0, 0};
        calls_count = 0;
        const char *wrong = strike_once(&p);
        if (wrong != NULL) {
            printf("  %s: undisturbed: %s\n", o->name, wrong);
            fatal++;
        }
        for (long n = calls_count; p.at < n && fatal - bad < 8; p.at += stride)
            strike_at(&p);
    }
    printf("%-28s %6ld points, %ld fatal\n", o->name, points - before, fatal - bad);
    return fatal - bad;
}

// ---- Controls: these must fail ----

// Leaves the first when there is no second.
static int leaks(void)
{
    int one = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (one < 0)
        return errno;
    int two = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (two < 0)
        return errno;
    close(one);
    close(two);
    return 0;
}

static int gives_up(void)
{
    return poll(NULL, 0, 1) < 0 ? errno : 0;
}

// Does not wait for its child again when it was interrupted.
static int forgets(void)
{
    pid_t p = fork();
    if (p == 0)
        _exit(0);
    if (p < 0)
        return errno;
    waitpid(p, NULL, 0);
    return 0;
}

static const struct operation CONTROLS[] = {{"control: leaks a descriptor", leaks, NULL},
                                            {"control: gives up", gives_up, NULL},
                                            {"control: forgets", forgets, NULL}};

static void control(const struct operation *o)
{
    long before = fatal;
    quiet = true;
    bool caught = strike_all(o, 1) > 0;
    quiet = false;
    fatal = before + !caught;
    if (!caught)
        puts("the control held: this proves nothing");
}

int main(int, char **argv)
{
    const char *given = getenv("TORTURE_STRIDE"), *only = getenv("TORTURE_ONLY");
    const char *seconds = getenv("TORTURE_SECONDS");
    long stride = given != NULL ? atol(given) : seconds != NULL && atol(seconds) < 30 ? 5 : 1;
    // So that malloc's own keeping is not taken for a leak.
    if (getenv("GLIBC_TUNABLES") == NULL) {
        setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0", 1);
        execv("/proc/self/exe", argv);
    }
    setvbuf(stdout, NULL, _IOLBF, 0); // what waits there, children would say again
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    report = (struct report *)mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (const struct operation &o : PROC_OPERATIONS)
        if (only == NULL || strstr(o.name, only) != NULL)
            o.act(), strike_all(&o, stride);
    for (const struct operation &o : SHM_OPERATIONS)
        if ((only == NULL || strstr(o.name, only) != NULL) && is_ours(&o))
            o.act(), strike_all(&o, stride);
    for (const struct operation &o : CONTROLS)
        control(&o);
    puts(fatal != 0 ? "fatal points were found" : "all held");
    return fatal != 0;
}
#else
#include <stdio.h>

int main(void)
{
    puts("left out: it knows x86-64 alone");
}
#endif
