// spawn.cc: bringing a child into being.
//
// clone(CLONE_VM | CLONE_VFORK): the child borrows our memory until it execs, so
// no page table is copied and a start costs the same from 10 MB and from 100 GB.  It runs
// on a stack of its own: this frame's must be intact when we go on.  All signals are
// blocked meanwhile, also the two that libc keeps to itself (cancellation, and
// setuid in all threads): no handler may run in a child that shares our memory.
//
// clone3 is asked first, for CLONE_CLEAR_SIGHAND resets the handlers in one go.  Where
// it is missing or a sandbox forbids it: clone, and the child resets them itself.
//
// Two things need a copy of our memory.  A callback, which may do anything.  A change of user or
// group: in a child that shares our memory it would mark that memory as not dumpable, for us too
// and for good.  That is clone(CLONE_VFORK) alone, on this stack: it goes on when the child has
// executed its program or ended, and what the child has to tell lies in a page that both share. (By
// a pipe one would have to wait for its end of file, and any process that another thread has
// forked meanwhile can hold that up.)
//
// Only emulators that know no CLONE_VFORK (Valgrind, qemu-user) and sandboxes that refuse it need
// fork(2) and that pipe.
#include "spawn.h"

#include <base/child.h>

#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace weft;

int weft::spawn_without;

enum { STACK = 64 * 1024 }; // the child's deepest frames are close_listed's: under 2 KB

// The system call `number`, where the child comes back on another stack: there it calls
// fn(plan), which never returns.
static long call_cloning(long number, long a, long b, long c, long d, long e, void (*fn)(void *),
                         void *plan)
{
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register void (*r12)(void *) __asm__("r12") = fn;
    register void *r13 __asm__("r13") = plan;
    long result;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "and $-16, %%rsp\n\t"
                     "mov %%r13, %%rdi\n\t"
                     "call *%%r12\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r12), "r"(r13)
                     : "rcx", "r11", "memory", "cc");
    return result;
#elif defined(__aarch64__)
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x8 __asm__("x8") = number;
    register void (*x20)(void *) __asm__("x20") = fn;
    register void *x21 __asm__("x21") = plan;
    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x30, xzr\n\t"
                     "mov x0, x21\n\t"
                     "blr x20\n\t"
                     "brk #0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x8), "r"(x20), "r"(x21)
                     : "x30", "memory", "cc");
    return x0;
#else
#error "weft's processes know x86-64 and aarch64"
#endif
}

// The pid, or the negated errno.
static long clone_with(spawn_plan *plan, char *stack, bool use_clone3, int *pidfd)
{
    unsigned long flags = CLONE_VM | CLONE_VFORK;
    if (pidfd != nullptr)
        flags |= CLONE_PIDFD;
    plan->handlers_cleared = use_clone3;
    if (use_clone3) {
        struct clone_args args;
        memset(&args, 0, sizeof args);
        args.flags = flags | CLONE_CLEAR_SIGHAND;
        args.pidfd = (uint64_t)(uintptr_t)pidfd;
        args.exit_signal = SIGCHLD;
        args.stack = (uint64_t)(uintptr_t)stack;
        args.stack_size = STACK;
        if (plan->cgroup >= 0) {
            args.flags |= CLONE_INTO_CGROUP;
            args.cgroup = (uint64_t)plan->cgroup;
        }
        // Else the first version of the structure is all it takes.
        return call_cloning(SYS_clone3, (long)&args,
                            plan->cgroup >= 0 ? sizeof args : CLONE_ARGS_SIZE_VER0, 0, 0, 0,
                            spawn_child, plan);
    }
    return call_cloning(SYS_clone, (long)(flags | SIGCHLD), (long)(stack + STACK), (long)pidfd, 0,
                        0, spawn_child, plan);
}

// Missing, or forbidden by a sandbox: then with less.
static bool refused(long result)
{
    return result < 0 && is_refused((int)-result);
}

static pid_t spawn_sharing_memory(spawn_plan *plan, int *pidfd)
{
    int saved = errno;
    long result = -ENOSYS;
    char *stack = (char *)mmap(nullptr, STACK, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (stack == (char *)MAP_FAILED)
        return -1;
    bool with_pidfd = !(spawn_without & NO_PIDFD);
    if (!(spawn_without & NO_CLONE3))
        result = clone_with(plan, stack, true, with_pidfd ? pidfd : nullptr);
    if (result < 0 && plan->cgroup >= 0 && !(spawn_without & NO_CLONE3)) {
        plan->cgroup = -1;
        result = clone_with(plan, stack, true, with_pidfd ? pidfd : nullptr);
    }
    if (refused(result) && with_pidfd)
        result = clone_with(plan, stack, false, pidfd);
    if (refused(result))
        result = clone_with(plan, stack, false, nullptr);
    munmap(stack, STACK);
    errno = saved; // the child shared it
    return result < 0 ? fail_with((int)-result) : (pid_t)result;
}

// The child's report: none if it has executed its program, for the pipe closes then.
static void read_report(spawn_plan *plan, int fd)
{
    int words[2];
    ssize_t n;
    do
        n = uncancelled(read, fd, words, sizeof words);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof words) {
        plan->stage = words[0];
        plan->error = words[1];
    }
}

static int open_pidfd(pid_t pid)
{
    int saved = errno, fd = -1;
    if (!(spawn_without & NO_PIDFD))
        fd = (int)syscall(SYS_pidfd_open, pid, 0);
    errno = saved;
    return fd;
}

static pid_t spawn_on_copy(spawn_plan *plan, int *pidfd)
{
    int saved = errno;
    const long flags = CLONE_VFORK | SIGCHLD;
    long result = -EINVAL;
    void *page =
        mmap(nullptr, 2 * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return -1;
    plan->report = (int *)page;
    if (!(spawn_without & NO_PIDFD))
        result =
            call_cloning(SYS_clone, flags | CLONE_PIDFD, 0, (long)pidfd, 0, 0, spawn_child, plan);
    if (refused(result))
        result = call_cloning(SYS_clone, flags, 0, 0, 0, 0, spawn_child, plan);
    plan->stage = plan->report[0];
    plan->error = plan->report[1];
    munmap(page, 2 * sizeof(int));
    plan->report = nullptr; // a start that is tried another way reports there
    errno = saved;
    return result < 0 ? fail_with((int)-result) : (pid_t)result;
}

static pid_t fork_with_pipe(spawn_plan *plan, const int report[2], int *pidfd)
{
    pid_t pid = fork();
    if (pid < 0)
        return -1;
    if (pid == 0)
        spawn_child(plan);
    *pidfd = open_pidfd(pid);
    uncancelled(close, report[1]);
    read_report(plan, report[0]);
    return pid;
}

// A child that could not become its program: nobody hears of it.
static void reap(pid_t pid, int *pidfd)
{
    int saved = errno;
    while (uncancelled(waitpid, pid, nullptr, __WALL) < 0 && errno == EINTR)
        ;
    errno = saved;
    if (pidfd != nullptr)
        close_keep_errno(pidfd);
}

// Valgrind and qemu-user make a plain copy of such a child: then it can't report through our
// memory, and we do not wait for its exec.  Asked once, of a child that only sets a word.
static bool children_share_memory(void)
{
    static int known; // 0: not yet; 1: they do; 2: they don't
    int word = 0, answer = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (spawn_without & NO_SHARING)
        return false;
    if (answer != 0)
        return answer == 1;
    alignas(16) char stack[2048];
    // No signal at its end: nobody need hear of it.
    long pid = call_cloning(SYS_clone, CLONE_VM | CLONE_VFORK, (long)(stack + sizeof stack), 0, 0,
                            0, spawn_probe, &word);
    if (pid > 0)
        reap((pid_t)pid, nullptr);
    answer = __atomic_load_n(&word, __ATOMIC_RELAXED) != 0 ? 1 : 2;
    // Threads that ask at the same time find the same.
    __atomic_store_n(&known, pid > 0 ? answer : 0, __ATOMIC_RELAXED);
    return answer == 1;
}

static bool needs_copy(const weft_subprocess_options *o)
{
    return o->callback != nullptr || o->groups != nullptr ||
           (o->flags & (WEFT_SUBPROCESS_SET_UID | WEFT_SUBPROCESS_SET_GID)) != 0;
}

// keep, with one more, in order.
static void keep_also(int *keep, size_t *count, int fd)
{
    size_t i = (*count)++;
    for (; i > 0 && keep[i - 1] > fd; i--)
        keep[i] = keep[i - 1];
    keep[i] = fd;
}

static void keep_no_more(int *keep, size_t *count, int fd)
{
    size_t i = 0;
    while (keep[i] != fd)
        i++;
    for (--*count; i < *count; i++)
        keep[i] = keep[i + 1];
}

static pid_t spawn_forking(spawn_plan *plan, int *pidfd)
{
    int report[2];
    if (make_pipe(report) != 0)
        return -1;
    while (report[1] >= 0 && is_mapped(plan->opts, report[1]))
        report[1] = move_above(report[1], report[1] + 1);
    if (report[1] < 0) {
        close_keep_errno(&report[0]);
        return -1;
    }
    plan->report_pipe = report[1];
    keep_also(plan->keep, &plan->keep_count, report[1]);
    pid_t pid = fork_with_pipe(plan, report, pidfd);
    keep_no_more(plan->keep, &plan->keep_count, report[1]);
    if (pid < 0)
        close_keep_errno(&report[1]);
    close_keep_errno(&report[0]);
    return pid;
}

static int start_once(spawn_plan *plan, pid_t *pid, int *pidfd)
{
    uint64_t all = ~(uint64_t)0, before = 0;
    struct rlimit limit;
    int saved = errno;
    plan->stage = WEFT_STAGE_NONE;
    plan->error = 0;
    plan->report = nullptr;
    plan->report_pipe = -1;
    plan->handlers_cleared = false;
    plan->descriptors = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : 1024;
    *pidfd = -1;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    *pid = !children_share_memory() ? spawn_forking(plan, pidfd)
           : needs_copy(plan->opts) ? spawn_on_copy(plan, pidfd)
                                    : spawn_sharing_memory(plan, pidfd);
    if (*pid < 0 && is_refused(errno)) // a sandbox that was entered since it was known
        *pid = spawn_forking(plan, pidfd);
    int error = errno;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, sizeof before);
    if (*pid < 0) {
        plan->stage = WEFT_STAGE_SPAWN;
        return fail_with(error);
    }
    if (plan->stage != WEFT_STAGE_NONE) {
        reap(*pid, pidfd);
        return fail_with(plan->error);
    }
    *pidfd = above_streams(*pidfd);
    errno = saved;
    return 0;
}

// A program that somebody writes to can't be executed.  If that was another thread of ours, and it
// has closed the file, who still has it open is a child that yet another one starts: until it
// executes its program.  So that is waited for, some 30 ms.
int weft::spawn_start(spawn_plan *plan, pid_t *pid, int *pidfd)
{
    int result = start_once(plan, pid, pidfd);
    for (long ms = 1; result != 0 && errno == ETXTBSY && !__libc_single_threaded && ms <= 16;
         ms *= 2) {
        const struct timespec pause = {0, ms * 1000000};
        uncancelled(nanosleep, &pause, nullptr);
        result = start_once(plan, pid, pidfd);
    }
    return result;
}
