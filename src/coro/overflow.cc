// overflow.cc: a stack overflow says whose it was (coro.h).
//
// The guard makes an overflow a SIGSEGV; the handler compares the address with the guard of the
// running coroutine.  It runs on an alternate stack, since there is no room on the one that
// overflowed.  After the report the default action is restored and the instruction
// runs into the guard once more, so the core shows the place.
#include "coroutine.h"
#include "say.h"

#include <base/errno.h>

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

using namespace weft;

static const int signals[] = {SIGSEGV, SIGBUS};
static struct sigaction previous[2];
static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER; // guards `previous`

static int in_guard(const weft_coro *co, const void *address)
{
    const char *a = (const char *)address;
    return co->stack.guard != 0 && a >= co->stack.low && a < co->stack.low + co->stack.guard;
}

static void report(const weft_coro *co)
{
    say_in_handler("weft: stack overflow in coroutine \"", co->name, "\" (", co->stack.size >> 10,
                   " KiB stack)\n");
}

static void die_by(int sig, const siginfo_t *info)
{
    signal(sig, SIG_DFL);
    if (info->si_code <= 0) // sent, not caused: no instruction will fault again
        raise(sig);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    const coro_thread *t = &coro_here;
    const struct sigaction *p = &previous[sig == SIGBUS];
    if (t->ready && info->si_code > 0 && in_guard(t->current, info->si_addr)) {
        report(t->current);
        die_by(sig, info);
    } else if (p->sa_flags & SA_SIGINFO) {
        p->sa_sigaction(sig, info, context);
    } else if (p->sa_handler == SIG_DFL) {
        die_by(sig, info);
    } else if (p->sa_handler != SIG_IGN) {
        p->sa_handler(sig);
    } else if (info->si_code > 0) {
        die_by(sig, info); // a fault can't be ignored
    }
}

// The program's own handler keeps the mask and the flags it asked for.
static int install(int i)
{
    struct sigaction now, ours;
    if (sigaction(signals[i], nullptr, &now) != 0)
        return -1;
    if (now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_fault)
        return 0;
    previous[i] = now;
    ours = now;
    ours.sa_sigaction = on_fault;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | (now.sa_flags & (SA_NODEFER | SA_RESTART));
    return sigaction(signals[i], &ours, nullptr);
}

static int alternate_stack(coro_thread *t)
{
    stack_t s;
    if (sigaltstack(nullptr, &s) != 0)
        return -1;
    if (!(s.ss_flags & SS_DISABLE))
        return 0;
    long least = sysconf(_SC_SIGSTKSZ);
    size_t size = least > 65536 ? (size_t)least : 65536;
    void *p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return fail_with(ENOMEM); // mmap may say EAGAIN, of locked memory
    memset(&s, 0, sizeof s);
    s.ss_sp = p;
    s.ss_size = size;
    if (sigaltstack(&s, nullptr) != 0) {
        int saved = errno;
        munmap(p, size);
        return fail_with(saved);
    }
    t->alternate_stack = p;
    t->alternate_size = size;
    return 0;
}

int weft_coro_report_overflow(void)
{
    coro_thread *t = coro_enter();
    if (t == nullptr || alternate_stack(t) != 0)
        return -1;
    pthread_mutex_lock(&installing);
    int error = install(0) != 0 || install(1) != 0 ? errno : 0;
    pthread_mutex_unlock(&installing);
    return error != 0 ? fail_with(error) : 0;
}
