// traced.h: a process of which every system call is seen, and one made to fail or to be the moment
// at which something else happens.
//
// The victim runs an operation; it, or a child of its, is the target.  A run either records the
// target's calls, or strikes at one of them.
#ifndef WEFT_TORTURE_TRACED_H
#define WEFT_TORTURE_TRACED_H

#include "../operation.h"

#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

enum strike {
    RECORD,    // nothing
    FAIL,      // the call fails with .error
    DELAY,     // the target comes late to it: the others are ahead
    KILL,      // SIGKILL to the target
    KILL_KIN,  // SIGKILL to a child of the victim's, or one of those
    PAUSE_KIN, // SIGSTOP to one, and after a while SIGCONT
    STRIKES
};

struct plan {
    const struct operation *o;
    int target; // 0: the victim; 1: the first that it, or a child of its, forks; ...
    enum strike strike;
    int error;
    long at; // which of the target's calls
    int kin; // which of the victim's descendants
};

enum { LONGEST = 400 };
struct call {
    int number;
    uint64_t arguments[3];
};

// Shared with the victim.
static struct report {
    int inside; // in the operation
    int told;   // its result is there
    int result;
    int struck;
    int64_t ns;
} * report;

static struct call calls[LONGEST]; // of the last recording
static long calls_count;

static inline void run_victim(const struct operation *o)
{
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    alarm(15);
    struct census before = census_now();
    size_t heap = mallinfo2().uordblks;
    raise(SIGSTOP);
    int64_t begun = weft_now();
    __atomic_store_n(&report->inside, 1, __ATOMIC_SEQ_CST);
    int result = o->act();
    __atomic_store_n(&report->inside, 0, __ATOMIC_SEQ_CST);
    report->ns = weft_now() - begun;
    bool leaks = mallinfo2().uordblks != heap;
    int left = left_since(&before);
    report->result = left != 0 ? left : leaks ? LEFT_MEMORY : result;
    report->told = 1;
    _exit(0);
}

// ---- The tracer ----

struct tracee {
    pid_t pid;
    int index; // in the order in which they came
    bool in_call;
};
enum { TRACEES = 64 };

struct tracer {
    const struct plan *plan;
    struct tracee all[TRACEES];
    int count;
    pid_t victim;
    long seen;    // the target's calls
    bool failing; // its present call is to fail
};

static inline struct tracee *tracee_of(struct tracer *t, pid_t pid)
{
    for (int i = 0; i < t->count; i++)
        if (t->all[i].pid == pid)
            return &t->all[i];
    if (t->count == TRACEES)
        abort();
    t->all[t->count] = {pid, t->count, false};
    return &t->all[t->count++];
}

// The children of p, and then theirs; how many.
static inline int kin_of(pid_t p, pid_t *kin, int most)
{
    char path[64], text[512];
    int n = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", p, p);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    for (char *at = text, *end; n < most; at = end) {
        long child = strtol(at, &end, 10);
        if (end == at)
            break;
        kin[n++] = (pid_t)child;
    }
    for (int i = 0, own = n; i < own; i++)
        n += kin_of(kin[i], kin + n, most - n);
    return n;
}

static inline void strike_kin(struct tracer *t)
{
    pid_t kin[16];
    int n = kin_of(t->victim, kin, 16);
    if (t->plan->kin >= n)
        return;
    report->struck = 1;
    pid_t p = kin[t->plan->kin];
    kill(p, t->plan->strike == KILL_KIN ? SIGKILL : SIGSTOP);
    if (t->plan->strike == PAUSE_KIN && fork() == 0) { // somebody who has the time
        usleep(3000);
        kill(p, SIGCONT);
        _exit(0);
    }
}

// The target enters a call.  False: it is no more.
static inline bool at_entry(struct tracer *t, struct tracee *e, struct user_regs_struct *r)
{
    long n = t->seen++;
    const struct plan *p = t->plan;
    if (p->strike == RECORD && n < LONGEST) {
        calls[n] = {(int)r->orig_rax, {r->rdi, r->rsi, r->rdx}};
        calls_count = n + 1;
    }
    // Only if it is on its path.
    if (p->strike == RECORD || n != p->at || calls[n].number != (int)r->orig_rax)
        return true;
    if (p->strike == FAIL) {
        t->failing = true;
        report->struck = 1;
        r->orig_rax = (unsigned long long)-1;
        ptrace(PTRACE_SETREGS, e->pid, NULL, r);
    } else if (p->strike == KILL) {
        report->struck = 1;
        kill(e->pid, SIGKILL);
        return false;
    } else if (p->strike == DELAY) {
        report->struck = 1;
        usleep(3000);
    } else {
        strike_kin(t);
    }
    return true;
}

static inline bool at_call(struct tracer *t, struct tracee *e)
{
    struct user_regs_struct r;
    e->in_call = !e->in_call;
    if (ptrace(PTRACE_GETREGS, e->pid, NULL, &r) != 0)
        return true;
    if (e->in_call)
        return (e->index == 0 && !__atomic_load_n(&report->inside, __ATOMIC_SEQ_CST)) ||
               at_entry(t, e, &r);
    if (t->failing) {
        t->failing = false;
        r.rax = (unsigned long long)-t->plan->error;
        ptrace(PTRACE_SETREGS, e->pid, NULL, &r);
    }
    return true;
}

static inline void go_on(struct tracer *t, const struct tracee *e, int signal)
{
    bool target = e->index == t->plan->target;
    ptrace(target                       ? PTRACE_SYSCALL
           : e->index > t->plan->target ? PTRACE_DETACH
                                        : PTRACE_CONT,
           e->pid, NULL, signal);
}

static inline void on_stop(struct tracer *t, struct tracee *e, int status, bool fresh)
{
    int signal = WSTOPSIG(status), event = status >> 16;
    if (signal == (SIGTRAP | 0x80)) {
        if (at_call(t, e))
            go_on(t, e, 0);
    } else if (event == PTRACE_EVENT_EXEC && e->index > 0) {
        ptrace(PTRACE_DETACH, e->pid, NULL, 0); // another program is not ours to prove
    } else {
        go_on(t, e, event != 0 || (fresh && signal == SIGSTOP) ? 0 : signal);
    }
}

// Runs the plan to the victim's end.
static inline void trace(struct tracer *t, const struct plan *p)
{
    int status;
    memset(report, 0, sizeof *report);
    *t = {};
    t->plan = p;
    t->victim = fork();
    if (t->victim == 0)
        run_victim(p->o);
    if (waitpid(t->victim, &status, 0) != t->victim || !WIFSTOPPED(status))
        abort();
    long follow =
        PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
    ptrace(PTRACE_SETOPTIONS, t->victim, NULL,
           PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | (p->target > 0 ? follow : 0));
    go_on(t, tracee_of(t, t->victim), 0);
    for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
        if (WIFSTOPPED(status)) {
            int before = t->count;
            struct tracee *e = tracee_of(t, pid);
            on_stop(t, e, status, t->count != before);
        } else if (pid == t->victim) {
            break;
        }
    }
}

#endif
