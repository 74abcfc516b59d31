// run.cc: `weft-processes run`: one program, and what became of it.
#include "../verbs.h"

#include <weft/status.h>
#include <weft/subprocess.h>

#include <err.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {
struct limits {
    int64_t ns, kill_after; // to SIGTERM; from there to SIGKILL
    bool group;             // the command leads a group, which ends as a whole
    bool tree;              // so does all that descends from it
};

struct course {
    weft_subprocess *p;
    const limits *l;
    int signals;       // a signalfd
    weft_deadline due; // its next signal
    int late;          // how often its time was over, 2 when it took SIGKILL
    bool told;         // to end
};
} // namespace

// What ends or stops us is the command's too; but not what we were told to ignore (nohup(1)).
static int open_signals(void)
{
    const int passed_on[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
    sigset_t ours;
    sigemptyset(&ours);
    for (int signal : passed_on) {
        struct sigaction a;
        if (sigaction(signal, nullptr, &a) == 0 && a.sa_handler != SIG_IGN)
            sigaddset(&ours, signal);
    }
    sigprocmask(SIG_BLOCK, &ours, nullptr);
    return signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void send(const course *c, int signal)
{
    bool to_all = c->l->group || c->l->tree;
    (to_all ? weft_subprocess_send_signal_group : weft_subprocess_send_signal)(c->p, signal);
}

// From now on orphans become our children: a container may have nobody else who reaps them.
static void expect_end(course *c)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    c->told = true;
}

static void pass_on(course *c, const signalfd_siginfo *s)
{
    if (s->ssi_signo != SIGTSTP)
        expect_end(c);
    if (c->l->group || s->ssi_code != SI_KERNEL) // else the terminal has told it already
        send(c, (int)s->ssi_signo);
    if (s->ssi_signo != SIGTSTP)
        return;
    int64_t before = weft_now();
    raise(SIGSTOP);
    send(c, SIGCONT);
    int64_t stopped = weft_now() - before; // no part of its time
    c->due = c->due < WEFT_FOREVER - stopped ? c->due + stopped : WEFT_FOREVER;
}

// Until something is due or `ms` have passed, the pidfd (-1: none) tells an end or a signal came.
static void look(course *c, int pidfd, int64_t ms)
{
    struct pollfd f[] = {{c->signals, POLLIN, 0}, {pidfd, POLLIN, 0}};
    struct signalfd_siginfo s;
    int64_t left = weft_left(c->due) / 1000000 + 1;
    poll(f, 2, (int)(left < ms ? left : ms));
    while (read(c->signals, &s, sizeof s) == (ssize_t)sizeof s)
        pass_on(c, &s);
}

// It is not reaped yet: while it is not, its group has its number.
static bool has_ended(const course *c)
{
    struct pollfd f = {weft_subprocess_fd(c->p), POLLIN, 0};
    return f.fd >= 0 ? poll(&f, 1, 0) > 0 : weft_subprocess_poll(c->p, nullptr) != 0;
}

static void attend(course *c)
{
    int pidfd = weft_subprocess_fd(c->p);
    while (!has_ended(c)) {
        look(c, pidfd, pidfd < 0 ? 20 : 60000);
        if (weft_left(c->due) > 0 || has_ended(c))
            continue;
        expect_end(c);
        send(c, c->late == 0 ? SIGTERM : SIGKILL);
        send(c, SIGCONT); // who is stopped could not end
        c->due = c->late++ == 0 ? weft_in_ns(c->l->kill_after) : WEFT_FOREVER;
    }
}

// What is left of its group when a command that was told to end has: who cleans up, and whom the
// signal has missed.  (Who forks while it has that blocked, as some shells do, starts one that has
// not got it.)  Where the kernel does not tell who is left nobody has time to clean up.
static void end_rest(course *c)
{
    enum { TO_GROUP = 4 }; // PIDFD_SIGNAL_PROCESS_GROUP (Linux 6.9)
    if (!c->l->group || !c->told || c->late == 2)
        return;
    if (syscall(SYS_pidfd_send_signal, weft_subprocess_fd(c->p), 0, nullptr, TO_GROUP) == 0) {
        c->due = c->late == 0 ? weft_in_ns(c->l->kill_after) : c->due;
        weft_subprocess_join(c->p, nullptr, WEFT_FOREVER);
        while (weft_subprocess_send_signal_group(c->p, 0) == 0 && weft_left(c->due) > 0)
            if (waitpid(-1, nullptr, WNOHANG) <= 0)
                look(c, -1, 10);
    }
    weft_subprocess_send_signal_group(c->p, SIGKILL);
}

static int run_one(char **argv, const limits *l)
{
    char text[64];
    signal(SIGCHLD, SIG_DFL); // ignored by who started us, it would lose the status
    int signals = open_signals();
    int64_t began = weft_now();
    weft_subprocess_options o = {};
    o.flags = WEFT_SUBPROCESS_SCRIPTS | (l->tree ? WEFT_SUBPROCESS_TREE : 0);
    o.process_group = l->group ? WEFT_GROUP_NEW : 0;
    weft_subprocess *p = weft_subprocess_start(argv, &o);
    if (p == nullptr)
        err(errno == ENOENT ? 127 : 126, "%s", argv[0]); // as a shell
    course c = {p, l, signals, weft_in_ns(l->ns), 0, false};
    int status = 0;
    attend(&c);
    int64_t took = weft_now() - began;
    end_rest(&c);
    weft_subprocess_join(p, &status, WEFT_FOREVER);
    weft_subprocess_destroy(p);
    warnx("%s: %s%s after %.3f s", argv[0], c.late > 0 ? "out of time, " : "",
          weft_status_text(status, text, sizeof text), (double)took / 1e9);
    return c.late == 1 ? 124 : weft_status_code(status);
}

static int run(int argc, char **argv)
{
    static const option longs[] = {option_flag("foreground", 'f'),
                                   option_with("kill-after", 'k'),
                                   option_flag("tree", 'T'),
                                   option_flag("help", 'h'),
                                   {}};
    limits l = {INT64_MAX, 5000000000, false, false};
    bool foreground = false;
    for (int c; (c = options_next(argc, argv, "+:Tfhk:t:", longs)) != -1;) {
        if (c == 'f')
            foreground = true;
        else if (c == 'T')
            l.tree = true;
        else
            (c == 'k' ? l.kill_after : l.ns) = options_seconds(optarg);
    }
    if (optind == argc)
        options_bad("run", "needs CMD");
    l.group = l.ns != INT64_MAX && !foreground;
    return run_one(argv + optind, &l);
}

extern const verb verb_run = {
    "run", "[-T] [-f] [-k seconds] [-t seconds] [--] CMD [ARG...]",
    "runs a program, and says how it ended; with -t not longer than that\n", run};
