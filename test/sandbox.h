// sandbox.h: each operation in each sandbox that refuses a system call.
//
// Containers, browsers and service managers refuse calls by seccomp(2), with whatever errno their
// makers liked.  A row of SANDBOXES names calls; each is refused with each of ERRORS in turn, for
// each of a test's operations: an operation must then give its right result, or, if it says that it
// needs that call, fail with that errno; in time; and leave nothing: no descriptor, child, mapping.
// An operation runs in a child of its own; all of one sandbox at the same time.
#ifndef WEFT_TEST_SANDBOX_H
#define WEFT_TEST_SANDBOX_H

#include "runner.h"

#include "operation.h"

#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

// ---- What is refused ----

struct refusal {
    long number;
    int argument; // only if (argument & mask) == value
    unsigned mask, value;
};

struct sandbox {
    const char *name;
    struct refusal calls[6]; // ends with one whose number is 0
    // Or a limit: of descriptors, from the first free one on; of processes, for a user of its own.
    int limit = 0;
    int value = 0;
};

enum { CLONE_WITH_PIDFD = 0x1000, WAIT_BY_PIDFD = 3 };

// clang-format off
static const struct sandbox SANDBOXES[] = {
    {"anything refused",  {}},
    {"descriptors",       {}, RLIMIT_NOFILE, 0},
    {"a second descriptor", {}, RLIMIT_NOFILE, 1},
    {"a third descriptor", {}, RLIMIT_NOFILE, 2},
    {"a fourth descriptor", {}, RLIMIT_NOFILE, 3},
    {"a fifth descriptor", {}, RLIMIT_NOFILE, 4},
    {"a seventh descriptor", {}, RLIMIT_NOFILE, 6},
    {"processes",         {}, RLIMIT_NPROC, 1},
    {"clone3",            {{SYS_clone3, 0, 0, 0}}},
    {"clone(PIDFD)",      {{SYS_clone, 0, CLONE_WITH_PIDFD, CLONE_WITH_PIDFD}}},
    {"clone(VFORK)",      {{SYS_clone, 0, CLONE_VFORK, CLONE_VFORK}}},
    {"clone3, clone(VFORK)", {{SYS_clone3, 0, 0, 0}, {SYS_clone, 0, CLONE_VFORK, CLONE_VFORK}}},
    {"close_range",       {{SYS_close_range, 0, 0, 0}}},
    {"pidfd_open",        {{SYS_pidfd_open, 0, 0, 0}}},
    {"pidfd_send_signal", {{SYS_pidfd_send_signal, 0, 0, 0}}},
    {"waitid(PIDFD)",     {{SYS_waitid, 0, ~0U, WAIT_BY_PIDFD}}},
    {"waitid",            {{SYS_waitid, 0, 0, 0}}},
    {"pidfds",            {{SYS_clone3, 0, 0, 0}, {SYS_clone, 0, CLONE_WITH_PIDFD, CLONE_WITH_PIDFD}, {SYS_pidfd_open, 0, 0, 0},
                           {SYS_pidfd_send_signal, 0, 0, 0}, {SYS_waitid, 0, ~0U, WAIT_BY_PIDFD}}},
    {"pidfds, waitid",    {{SYS_clone3, 0, 0, 0}, {SYS_clone, 0, CLONE_WITH_PIDFD, CLONE_WITH_PIDFD}, {SYS_pidfd_open, 0, 0, 0},
                           {SYS_pidfd_send_signal, 0, 0, 0}, {SYS_waitid, 0, 0, 0}}},
    {"openat2",           {{SYS_openat2, 0, 0, 0}}},
    {"memfd_create",      {{SYS_memfd_create, 0, 0, 0}}},
    {"eventfd2",          {{SYS_eventfd2, 0, 0, 0}}},
    {"timerfd_create",    {{SYS_timerfd_create, 0, 0, 0}}},
    {"signalfd4",         {{SYS_signalfd4, 0, 0, 0}}},
    {"epoll_pwait2",      {{SYS_epoll_pwait2, 0, 0, 0}}},
    {"prctl(NAME)",       {{SYS_prctl, 0, ~0U, PR_SET_NAME}}},
    {"prctl(PDEATHSIG)",  {{SYS_prctl, 0, ~0U, PR_SET_PDEATHSIG}}},
    {"prctl(SUBREAPER)",  {{SYS_prctl, 0, ~0U, PR_SET_CHILD_SUBREAPER}}},
    {"sched_getaffinity", {{SYS_sched_getaffinity, 0, 0, 0}}},
    {"membarrier",        {{SYS_membarrier, 0, 0, 0}}},
    {"getrandom",         {{SYS_getrandom, 0, 0, 0}}},
    {"fallocate",         {{SYS_fallocate, 0, 0, 0}}},
    {"linkat",            {{SYS_linkat, 0, 0, 0}}},
    {"fcntl(SETSIG)",     {{SYS_fcntl, 1, ~0U, 10}}},
};
// clang-format on

static const int ERRORS[] = {ENOSYS, EPERM, EINVAL, EACCES};

// Arguments lie in the lower half of 64 bits.
#define SECCOMP_WORD(offset)                                                                       \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, offset))

static inline size_t refuse(struct sock_filter *code, const struct refusal *r, int error)
{
    const struct sock_filter one[] = {
        SECCOMP_WORD(nr),
        BPF_JUMP(BPF_JMP | BPF_JEQ, (unsigned)r->number, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 (unsigned)(offsetof(struct seccomp_data, args) + 8 * (size_t)r->argument)),
        BPF_STMT(BPF_ALU | BPF_AND, r->mask),
        BPF_JUMP(BPF_JMP | BPF_JEQ, r->value, 0, 1),
        BPF_STMT(BPF_RET, SECCOMP_RET_ERRNO | (unsigned)error),
    };
    memcpy(code, one, sizeof one);
    return sizeof one / sizeof one[0];
}

static inline bool enter_limit(const struct sandbox *s)
{
    struct rlimit limit;
    uid_t one = 100000000 + (uid_t)getpid();
    int next = dup(0);
    close(next);
    if (getrlimit((__rlimit_resource)s->limit, &limit) != 0)
        return false;
    limit.rlim_cur = (rlim_t)(s->value + (s->limit == RLIMIT_NOFILE ? next : 0));
    if (s->limit == RLIMIT_NPROC && getuid() == 0 && setresuid(one, one, one) != 0)
        return false;
    return setrlimit((__rlimit_resource)s->limit, &limit) == 0;
}

static inline bool lift_limit(const struct sandbox *s)
{
    struct rlimit limit;
    if (getrlimit((__rlimit_resource)s->limit, &limit) != 0)
        return false;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit((__rlimit_resource)s->limit, &limit) == 0;
}

static inline bool enter_sandbox(const struct sandbox *s, int error)
{
    if (s->limit != 0)
        return enter_limit(s);
    struct sock_filter code[64];
    unsigned short n = 0;
    for (const struct refusal *r = s->calls; r < s->calls + 6 && (r->number != 0 || r->mask); r++)
        n = (unsigned short)(n + refuse(code + n, r, error));
    code[n++] = {BPF_RET, 0, 0, SECCOMP_RET_ALLOW};
    struct sock_fprog program = {n, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// In a child: what is to be told of the operation by its exit.
static inline int try_in(const struct operation *o, const struct sandbox *s, int error)
{
    struct census before = census_now();
    if (!enter_sandbox(s, error))
        return NO_SANDBOX;
    int result = o->act();
    if (s->limit != 0 && !lift_limit(s))
        return NO_SANDBOX;
    int left = left_since(&before);
    return left != 0 ? left : result;
}

// ---- A cell ----

static inline bool fails_without(const struct operation *o, const struct sandbox *s)
{
    if (s->limit != 0)
        return true;
    const char *at = o->needs != NULL ? strstr(o->needs, s->name) : NULL;
    size_t n = strlen(s->name);
    return at != NULL && (at == o->needs || at[-1] == ';') && (at[n] == 0 || at[n] == ';');
}

static inline int complain(const struct operation *o, const struct sandbox *s, int error,
                           int result)
{
    // ENOSYS is what the documentation says, whatever a sandbox does.
    if (result == 0 || ((result == error || result == ENOSYS) && fails_without(o, s)))
        return 0;
    fprintf(stderr, "%s without %s (%s): %s\n", o->name, s->name, strerrorname_np(error),
            result_text(result));
    return 1;
}

// Reaps all, whatever the children left behind too: it has come to us.
static inline bool all_ended(void)
{
    weft_deadline d = weft_in_s(RUNNER_SANITIZED ? 90 : 25);
    while (wait4(-1, NULL, WNOHANG, NULL) >= 0 || errno == EINTR) {
        if (weft_left(d) == 0)
            return false;
        usleep(500);
    }
    return true;
}

// *result is in memory that the child shares.
static inline void begin(const struct operation *o, const struct sandbox *s, int error, int *result)
{
    *result = DIED;
    if (fork() == 0) {
        alarm(RUNNER_SANITIZED ? 60 : 15);
        *result = try_in(o, s, error);
        _exit(0);
    }
}

// All operations in one sandbox with all its errors, at the same time.  How many are wrong.
static inline int try_row(const struct operation *operations, size_t n, const struct sandbox *s,
                          const int *errors, size_t m, int *results)
{
    int wrong = 0;
    for (size_t i = 0; i < n * m; i++)
        begin(&operations[i % n], s, errors[i / n], &results[i]);
    bool ended = all_ended();
    for (size_t i = 0; i < n * m; i++)
        wrong += complain(&operations[i % n], s, errors[i / n], results[i]);
    if (!ended) {
        fprintf(stderr, "without %s: a process lives on\n", s->name);
        exit(1);
    }
    return wrong;
}

// The whole matrix; a row, whose end all_ended sees to, has a case's time.  SANDBOX=name: that row
// alone.
static inline int try_matrix(const struct operation *operations, size_t n)
{
    const char *only = getenv("SANDBOX");
    int wrong = 0;
    int *results = (int *)mmap(NULL, 4 * n * sizeof *results, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(results != MAP_FAILED);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    // Away from any terminal: there a deadline ends no group, but whom /proc tells, if it can be
    // read.
    setsid();
    assert_non_null(freopen("/dev/null", "r", stdin));
    for (const struct sandbox &s : SANDBOXES) {
        const int limited = s.limit == RLIMIT_NPROC ? EAGAIN : EMFILE;
        if (only != NULL && strcmp(only, s.name) != 0)
            continue;
        runner_alarm();
        wrong += s.calls[0].number == 0 ? try_row(operations, n, &s, &limited, 1, results)
                                        : try_row(operations, n, &s, ERRORS, 4, results);
    }
    munmap(results, 4 * n * sizeof *results);
    return wrong;
}

#endif
