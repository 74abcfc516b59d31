// terminal.cc: a child's group in the foreground of our terminal, as a shell's job.
//
// The terminal's signals reach the foreground alone, so what they do there is done here as well.
// Nothing but waitid(2) tells that a child was stopped, and that only who asks: a wait looks now
// and then.
#include "streams.h"

#include <weft/status.h>

#include <fcntl.h>

using namespace weft;

enum { LOOK_MS = 50 };

int weft::terminal_open(void)
{
    int saved = errno,
        fd = above_streams(uncancelled(open, "/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
    if (fd >= 0 && tcgetpgrp(fd) != getpgrp())
        close_keep_errno(&fd);
    errno = saved;
    return fd;
}

bool weft::terminal_is_ours(void)
{
    int fd = terminal_open();
    bool is = fd >= 0;
    close_keep_errno(&fd);
    return is;
}

// Also from the background, where SIGTTOU would stop us.
static void set_foreground(int terminal, pid_t group)
{
    sigset_t ttou, before;
    int saved = errno;
    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &ttou, &before);
    tcsetpgrp(terminal, group);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    errno = saved;
}

static bool is_foreground(int terminal, pid_t group)
{
    int saved = errno;
    bool is = tcgetpgrp(terminal) == group;
    errno = saved;
    return is;
}

weft_deadline weft::terminal_next(const streams *s, weft_deadline d)
{
    if (s->children[0]->terminal < 0)
        return d;
    weft_deadline look = weft_in_ms(LOOK_MS);
    return look < d ? look : d;
}

static bool was_stopped(const child *c)
{
    siginfo_t info;
    return !c->ended && child_wait_id(c, WSTOPPED | WNOHANG, &info, nullptr) == 0 &&
           info.si_pid != 0;
}

// Our group, as the terminal would.  The signal for this thread, which goes on only when all of us
// do, is there before another thread can take that for the process; a SIGCONT undoes both.
static void stop_group(void)
{
    sigset_t stop, before;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    pthread_sigmask(SIG_BLOCK, &stop, &before);
    if (sigismember(&before, SIGTSTP) == 0)
        raise(SIGTSTP);
    kill(0, SIGTSTP);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void weft::terminal_look(streams *s)
{
    const weft_subprocess *first = s->children[0];
    int saved = errno;
    bool stopped = false;
    for (size_t i = 0; first->terminal >= 0 && i < s->count; i++)
        stopped = was_stopped(&s->children[i]->c) || stopped;
    if (stopped) {
        if (is_foreground(first->terminal, first->c.pid))
            set_foreground(first->terminal, getpgrp());
        stop_group();
        if (is_foreground(first->terminal, getpgrp()))
            set_foreground(first->terminal, first->c.pid);
        streams_signal(s, SIGCONT);
    }
    errno = saved;
}

// SIGINT or SIGQUIT, if one of them was ended by that.
static int typed(const streams *s)
{
    int signal = 0;
    for (size_t i = 0; i < s->count && signal == 0; i++) {
        const child *c = &s->children[i]->c;
        int by = c->ended && !c->lost ? weft_status_signal(c->status) : 0;
        signal = by == SIGINT || by == SIGQUIT ? by : 0;
    }
    return signal;
}

void weft::terminal_back(streams *s)
{
    weft_subprocess *first = s->children[0];
    int signal = typed(s);
    if (first->terminal < 0)
        return;
    bool was = is_foreground(first->terminal, first->c.pid);
    terminal_close(first);
    if (was && signal != 0)
        kill(0, signal);
}

void weft::terminal_close(weft_subprocess *p)
{
    if (p->terminal >= 0 && is_foreground(p->terminal, p->c.pid))
        set_foreground(p->terminal, getpgrp());
    close_keep_errno(&p->terminal);
}
