// signal.cc: signals by signalfd(2): no handler, so nothing runs in between.
//
// The signalfd is there while a signal is watched.  One signal is read at a time: if its function
// stops the watch of another that is pending, that one is still the kernel's and takes its
// usual course.
//
// What is blocked is the thread's, and so is the count of the loops that need it to be.
#include "loop_state.h"

#include <base/above_streams.h>

#include <signal.h>
#include <sys/signalfd.h>

using namespace weft;

static uint64_t bit_of(int signo)
{
    return 1ull << (signo - 1);
}

static bool waitable(int signo)
{
    const uint64_t never = bit_of(SIGKILL) | bit_of(SIGSTOP) | bit_of(SIGSEGV) | bit_of(SIGBUS) |
                           bit_of(SIGFPE) | bit_of(SIGILL) | bit_of(SIGTRAP);
    sigset_t s;
    sigemptyset(&s);
    int saved = errno;
    // sigaddset also refuses the two that pthreads keeps for itself.
    bool known = signo > 0 && signo <= 64 && sigaddset(&s, signo) == 0;
    errno = saved;
    return known && !(never & bit_of(signo));
}

static sigset_t set_of(uint64_t bits)
{
    sigset_t s;
    sigemptyset(&s);
    for (; bits != 0; bits &= bits - 1)
        sigaddset(&s, __builtin_ctzll(bits) + 1);
    return s;
}

// ---- The thread's mask ----

static __thread uint32_t holders[65]; // loops that watch it, by signal
static __thread uint64_t unblock;     // what the first of them blocked

static void hold(int signo)
{
    sigset_t one = set_of(bit_of(signo)), before;
    pthread_sigmask(SIG_BLOCK, &one, &before);
    if (holders[signo]++ == 0 && !sigismember(&before, signo))
        unblock |= bit_of(signo);
}

static void let_go(uint64_t bits)
{
    uint64_t last = 0;
    for (; bits != 0; bits &= bits - 1) {
        int signo = __builtin_ctzll(bits) + 1;
        if (--holders[signo] == 0)
            last |= bit_of(signo);
    }
    sigset_t set = set_of(last & unblock);
    unblock &= ~last;
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

// The loop is the calling thread's from now on.  What the former owner blocked stays so.
void weft::loop_move_signals(weft_loop *l)
{
    for (uint64_t bits = l->watched; bits != 0; bits &= bits - 1)
        hold(__builtin_ctzll(bits) + 1);
}

// ---- Watching ----

// Calls those that watch it.  A function may stop any of them, so each is taken off a list
// that a stop takes it off, too.
static void call_watchers(weft_loop *l, const struct signalfd_siginfo *info)
{
    weft_loop_link batch;
    list_init(&batch);
    list_splice(&batch, &l->signals);
    while (!list_is_empty(&batch)) {
        weft_signal *s = (weft_signal *)batch.next;
        list_remove(&s->link);
        list_insert(&l->signals, &s->link);
        if (s->signo != (int)info->ssi_signo)
            continue;
        s->code = info->ssi_code;
        s->sender = (int)info->ssi_pid;
        s->value = info->ssi_int;
        loop_callback_is(l, "signal", (void (*)(void))s->fn);
        s->fn(s, s->arg);
    }
}

static void on_signal(weft_watch *w, int, void *)
{
    weft_loop *l = w->loop;
    struct signalfd_siginfo info;
    int saved = errno;
    ssize_t n = read(w->fd, &info, sizeof info);
    errno = saved;
    if (n == (ssize_t)sizeof info)
        call_watchers(l, &info);
}

// Makes the signalfd read `bits`; 0 closes it.
static int listen_to(weft_loop *l, uint64_t bits)
{
    weft_watch *w = &l->signal_watch;
    sigset_t set = set_of(bits);
    if (w->loop != nullptr && bits != 0)
        return signalfd(w->fd, &set, 0) < 0 ? -1 : 0;
    if (w->loop != nullptr) {
        loop_stop_internal(l, w);
        close_keep_errno(&w->fd);
    }
    if (bits == 0)
        return 0;
    int fd = above_streams(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (fd < 0)
        return -1;
    if (loop_watch_internal(l, w, fd, on_signal) == 0)
        return 0;
    close_keep_errno(&fd);
    return -1;
}

int weft_loop_watch_signal(weft_loop *l, weft_signal *s, int signo,
                           void (*fn)(weft_signal *s, void *), void *arg)
{
    if (loop_enter_with(l, fn != nullptr && waitable(signo), s) != 0)
        return -1;
    if (l->watchers[signo] == 0) {
        if (listen_to(l, l->watched | bit_of(signo)) != 0)
            return -1;
        l->watched |= bit_of(signo);
        hold(signo);
    }
    s->fn = fn;
    s->arg = arg;
    s->loop = l;
    s->signo = signo;
    list_insert(&l->signals, &s->link);
    l->watchers[signo]++;
    l->stats.watches++;
    return 0;
}

int weft_loop_unwatch_signal(weft_signal *s)
{
    weft_loop *l = loop_enter_of(s);
    if (l == nullptr)
        return -1;
    list_remove(&s->link);
    s->loop = nullptr;
    l->stats.watches--;
    if (--l->watchers[s->signo] > 0)
        return 0;
    l->watched &= ~bit_of(s->signo);
    listen_to(l, l->watched); // fewer signals: nothing that could fail
    let_go(bit_of(s->signo));
    return 0;
}

// In a forked child: a change to the parent's signalfd would change what the parent gets.
int weft::loop_reborn_signals(weft_loop *l)
{
    if (l->signal_watch.loop == nullptr)
        return 0;
    sigset_t set = set_of(l->watched);
    return events_replace(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), l->signal_watch.fd);
}

void weft::loop_drop_signals(weft_loop *l)
{
    for (weft_loop_link *i = l->signals.next; i != &l->signals; i = i->next)
        ((weft_signal *)i)->loop = nullptr;
    list_init(&l->signals);
    if (l->signal_watch.loop != nullptr)
        close_keep_errno(&l->signal_watch.fd);
    let_go(l->watched);
}
