// warden.cc: the nearest subreaper of all that descends from a program.
//
// A descendant whose parent ends becomes the warden's child, in whatever group or session it is.
// So nobody gets out of reach, and "no child is left" means that no descendant is.  To end them it
// stops them all (family.h) and kills whom it has stopped, until wait4(2) says that.  Where control
// groups are ours to make (cgroup.h) they are in one, which is killed first: that leaves nobody to
// stop but who has got out of it.
//
// The warden is a copy of this process, for there is no program of ours to execute; it keeps none
// of its descriptors.  So its start takes as long as fork(2): with 4 KB pages some 0.15 s for each
// GB.  A warden that only shared our memory (CLONE_VM) would start at once, but end when we do: the
// kernel kills all who share a memory that it is short of, or (before Linux 5.16) that dumps core.
// And our memory would outlive our exec in it, and errno, malloc and stdio be ours.  It is held by
// a leash, through which it also gets its orders, a byte each: a signal for the program, or for all
// (CHILD_TO_ALL).  All signals are blocked in it.  It ends as the program did; what only the kernel
// could tell of that, it tells in shared memory.
#include "warden.h"

#include "cgroup.h"
#include "family.h"
#include "streams.h"

#include <base/close_others.h>

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

using namespace weft;

namespace {
struct warden {
    child_warden *told;
    int orders, signals;
    bool ended; // the program
    cgroup group;
};
} // namespace

// Nothing kills what the kernel itself holds up.
static const int64_t PATIENCE_NS = 30000000000;
enum { LOOK_MS = 5 };

static void tell(child_warden *told, uint32_t state)
{
    __atomic_store_n(&told->state, state, __ATOMIC_RELEASE);
    futex_wake(&told->state, 1, 1);
}

// Whether children are left.
static bool reap(warden *k)
{
    int status;
    struct rusage usage;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
        if (pid != k->told->pid || k->ended)
            continue;
        k->ended = true;
        k->told->status = status;
        k->told->usage = usage;
    }
    return pid == 0;
}

static void sleep_until_one_ends(const warden *k, int ms)
{
    struct signalfd_siginfo info;
    struct pollfd f = {k->signals, POLLIN, 0};
    poll(&f, 1, ms);
    while (read(k->signals, &info, sizeof info) > 0)
        ;
}

static void end_all(warden *k)
{
    family f = {};
    weft_deadline by = weft_in_ns(PATIENCE_NS);
    f.root = getpid();
    cgroup_kill(&k->group);
    while (reap(k) && weft_left(by) > 0) {
        family_stop(&f);
        family_signal(&f, SIGKILL);
        if (!k->ended) // also without /proc
            kill(k->told->pid, SIGKILL);
        sleep_until_one_ends(k, LOOK_MS);
    }
    cgroup_remove(&k->group);
}

static void signal_all(int signal)
{
    family f = {};
    f.root = getpid();
    family_look(&f);
    family_signal(&f, signal);
    family_free(&f);
}

// false: they are all to end.
static bool obey(const warden *k)
{
    unsigned char orders[64];
    ssize_t n = read(k->orders, orders, sizeof orders);
    for (ssize_t i = 0; i < n; i++) {
        int signal = orders[i] % CHILD_TO_ALL;
        if (orders[i] == (SIGKILL | CHILD_TO_ALL))
            return false;
        if (orders[i] & CHILD_TO_ALL)
            signal_all(signal);
        else
            kill(k->told->pid, signal);
    }
    return n != 0;
}

// As the program: a status that a shell, too, would give.
[[noreturn]] static void leave(const warden *k)
{
    int status = k->ended ? k->told->status : SIGKILL;
    if (k->ended)
        tell(k->told, WARDEN_ENDED);
    if (WIFSIGNALED(status)) {
        sigset_t all;
        prctl(PR_SET_DUMPABLE, 0);
        signal(WTERMSIG(status), SIG_DFL);
        kill(getpid(), WTERMSIG(status));
        sigemptyset(&all);
        sigprocmask(SIG_SETMASK, &all, nullptr);
    }
    _exit(WEXITSTATUS(status));
}

// Nobody misses what it does not hold.
static void let_go(const warden *k)
{
    int least = k->orders < k->signals ? k->orders : k->signals;
    const int keep[] = {least, k->orders + k->signals - least};
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    close_others(keep, 2);
    if (chdir("/") != 0)
        return;
}

static int begin(spawn_plan *plan, warden *k)
{
    sigset_t child;
    int pidfd;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    signal(SIGCHLD, SIG_DFL);
    prctl(PR_SET_NAME, "weft-warden");
    k->signals = above_streams(signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
    plan->stage = WEFT_STAGE_SPAWN;
    if (k->signals < 0 || access("/proc/self/stat", R_OK) != 0 ||
        prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        return -1;
    // Who kills our whole group does not kill it.
    plan->warden_of = getpgrp();
    setpgid(0, 0);
    cgroup_make(&k->group);
    plan->cgroup = k->group.folder;
    if (spawn_start(plan, &k->told->pid, &pidfd) == 0)
        return 0;
    int error = errno;
    cgroup_remove(&k->group);
    return fail_with(error);
}

[[noreturn]] static void keep(spawn_plan *plan, child_warden *told, int orders)
{
    static warden k; // of this process, for all its life
    k.told = told;
    k.orders = orders;
    if (begin(plan, &k) != 0) {
        told->stage = plan->stage;
        told->error = errno;
        tell(told, WARDEN_FAILED);
        _exit(127);
    }
    tell(told, WARDEN_RUNS);
    let_go(&k);
    for (reap(&k); !k.ended; reap(&k)) {
        struct signalfd_siginfo info;
        struct pollfd f[] = {{k.orders, POLLIN, 0}, {k.signals, POLLIN, 0}};
        poll(f, 2, -1);
        while (read(k.signals, &info, sizeof info) > 0)
            ;
        if (f[0].revents != 0 && !obey(&k))
            break;
    }
    end_all(&k);
    leave(&k);
}

// Until it has executed the program, or could not.
static int await_start(spawn_plan *plan, child *c)
{
    while (__atomic_load_n(&c->warden->state, __ATOMIC_ACQUIRE) == WARDEN_STARTS &&
           !child_has_ended(c))
        futex_wait(&c->warden->state, WARDEN_STARTS, weft_in_ms(20), 1);
    uint32_t state = __atomic_load_n(&c->warden->state, __ATOMIC_ACQUIRE);
    if (state == WARDEN_RUNS || state == WARDEN_ENDED)
        return 0;
    child_reap(c, 0); // it is about to exit; no stop or cancel may leave it a zombie
    plan->stage = state == WARDEN_FAILED ? c->warden->stage : WEFT_STAGE_SPAWN;
    return fail_with(state == WARDEN_FAILED ? c->warden->error : ECHILD);
}

static int start(spawn_plan *plan, child *c, int orders)
{
    sigset_t all, before;
    child_warden *told = c->warden;
    bool leads = c->leads;
    int control = c->control;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = child_fork(c);
    if (pid == 0)
        keep(plan, told, orders);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    c->warden = told;
    c->leads = leads;
    c->control = control;
    return pid < 0 ? -1 : await_start(plan, c);
}

int weft::warden_start(spawn_plan *plan, child *c, leash *control)
{
    int orders;
    plan->stage = WEFT_STAGE_SPAWN;
    void *page =
        mmap(nullptr, sizeof *c->warden, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return -1;
    c->warden = (child_warden *)page;
    if (leash_make(control, &orders) != 0)
        return -1;
    c->control = control->end;
    fcntl(control->end, F_SETFL, O_WRONLY | O_NONBLOCK);
    int result = start(plan, c, orders);
    close_keep_errno(&orders);
    return result;
}

void weft::warden_forget(child *c)
{
    int saved = errno;
    if (c->warden != nullptr)
        munmap(c->warden, sizeof *c->warden);
    c->warden = nullptr;
    errno = saved;
}
