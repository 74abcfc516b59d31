// run.cc: `weft-processes run`: one program, and what became of it.
#include "../verbs.h"

#include <weft/subprocess.h>

#include <err.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace {
struct limits {
    int64_t ns, kill_after; // to SIGTERM; from there to SIGKILL
    bool group;             // the command leads a group, which ends as a whole
    bool tree;              // so does all that descends from it
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

static void send(weft_subprocess *p, const limits *l, int signal)
{
    (l->group || l->tree ? weft_subprocess_signal_group : weft_subprocess_send_signal)(p, signal);
}

// How long we were stopped: no part of the command's time.
static int64_t pass_on(weft_subprocess *p, const limits *l, const signalfd_siginfo *s)
{
    if (l->group || s->ssi_code != SI_KERNEL) // else the terminal has told it already
        send(p, l, (int)s->ssi_signo);
    if (s->ssi_signo != SIGTSTP)
        return 0;
    int64_t before = weft_now();
    raise(SIGSTOP);
    send(p, l, SIGCONT);
    return weft_now() - before;
}

// Its status; *late: how often its time was over, 2 when it took SIGKILL.
static int attend(weft_subprocess *p, int signals, const limits *l, int *late)
{
    int status = 0, pidfd = weft_subprocess_fd(p);
    weft_deadline due = weft_in_ns(l->ns);
    while (weft_subprocess_poll(p, &status) == 0) {
        struct pollfd f[] = {{signals, POLLIN, 0}, {pidfd, POLLIN, 0}};
        struct signalfd_siginfo s;
        int64_t left = weft_left(due) / 1000000 + 1, longest = pidfd < 0 ? 20 : 60000;
        poll(f, 2, (int)(left < longest ? left : longest));
        while (read(signals, &s, sizeof s) == (ssize_t)sizeof s) {
            int64_t stopped = pass_on(p, l, &s);
            due = due < WEFT_FOREVER - stopped ? due + stopped : WEFT_FOREVER;
        }
        if (weft_left(due) > 0 || weft_subprocess_poll(p, &status) != 0)
            continue;
        send(p, l, *late == 0 ? SIGTERM : SIGKILL);
        send(p, l, SIGCONT); // who is stopped could not end
        due = (*late)++ == 0 ? weft_in_ns(l->kill_after) : WEFT_FOREVER;
    }
    return status;
}

static int run_one(char **argv, const limits *l)
{
    char text[64];
    signal(SIGCHLD, SIG_DFL); // ignored by who started us, it would lose the status
    int late = 0, signals = open_signals();
    int64_t began = weft_now();
    weft_subprocess_options o = {};
    o.flags = WEFT_SUBPROCESS_SCRIPTS | (l->tree ? WEFT_SUBPROCESS_TREE : 0);
    o.process_group = l->group ? WEFT_GROUP_NEW : 0;
    weft_subprocess *p = weft_subprocess_start(argv, &o);
    if (p == nullptr)
        err(errno == ENOENT ? 127 : 126, "%s", argv[0]); // as a shell
    int status = attend(p, signals, l, &late);
    weft_subprocess_destroy(p);
    warnx("%s: %s%s after %.3f s", argv[0], late > 0 ? "out of time, " : "",
          weft_status_text(status, text, sizeof text), (double)(weft_now() - began) / 1e9);
    return late == 1 ? 124 : weft_status_code(status);
}

static int run(int argc, char **argv)
{
    static const option longs[] = {{"foreground", no_argument, nullptr, 'f'},
                                   {"kill-after", required_argument, nullptr, 'k'},
                                   {"tree", no_argument, nullptr, 'T'},
                                   {"help", no_argument, nullptr, 'h'},
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

extern const verb verb_run;
const verb verb_run = {"run", "[-T] [-f] [-k seconds] [-t seconds] [--] CMD [ARG...]",
                       "runs a program, and says how it ended; with -t not longer than that\n",
                       run};
