// tree.cc: trees of processes that do all they can to get away, and end all the same.
//
// Each process of a tree forks, and its children fork: some leave for sessions and groups of their
// own, some ignore SIGTERM, some stop, some end at once so that theirs are orphans, and some hop:
// they fork and end, for ever.  A tree is ended in one of five ways, once it has begun to grow. All
// of it holds the write end of one pipe: when the call returns, nobody may.  This process is a
// subreaper, so that also whoever has closed that comes to light.
// TORTURE_TREES (1000): how many.
#include <weft/subprocess.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// ---- A tree ----

static unsigned seed;

static unsigned dice(unsigned sides)
{
    return (unsigned)rand_r(&seed) / 7 % sides;
}

static void disguise(void)
{
    const unsigned what = dice(6);
    if (what == 0)
        setsid();
    else if (what == 1)
        setpgid(0, 0);
    if (dice(3) == 0)
        signal(SIGTERM, SIG_IGN);
    if (dice(3) == 0)
        signal(SIGHUP, SIG_IGN);
}

[[noreturn]] static void stay(void)
{
    if (dice(8) == 0)
        raise(SIGSTOP);
    for (;;)
        pause();
}

// Always one of them, and never the same for long.
[[noreturn]] static void hop(void)
{
    for (;;) {
        pid_t pid = fork();
        if (pid > 0)
            _exit(0);
        if (dice(10) == 0)
            setsid();
        if (dice(3) == 0)
            usleep(dice(500));
    }
}

[[noreturn]] static void grow(int depth)
{
    for (unsigned n = 1 + dice(3); depth > 0 && n > 0; n--) {
        pid_t pid = fork();
        seed = seed * 31 + n + (pid == 0);
        if (pid != 0)
            continue;
        disguise();
        grow(depth - 1);
    }
    if (depth > 0 && dice(3) == 0)
        _exit(0);
    if (depth == 0 && dice(10) == 0)
        hop();
    stay();
}

static int be_a_tree(const char *number)
{
    seed = (unsigned)atoi(number) * 2654435761U + 1;
    if (fork() == 0) {
        disguise();
        grow(3);
    }
    if (dice(2) == 0 && fork() == 0) {
        setsid();
        hop();
    }
    if (write(1, "", 1) != 1)
        return 1;
    if (dice(5) == 0) // it ends by itself
        usleep(dice(2000));
    else
        stay();
    return 0;
}

// ---- Its end ----

enum way { DEADLINE, KILL, STOP, DESTROY, DEATH, WAYS };

static const char *const names[] = {"at a deadline", "killed", "stopped", "by itself or killed",
                                    "by its owner's death"};

static weft_subprocess *plant(const char *self, const char *number, int witness)
{
    const char *const argv[] = {self, number, nullptr};
    weft_subprocess_options o = {};
    char byte;
    o.in.kind = WEFT_STREAM_NULL;
    o.out.kind = WEFT_STREAM_PIPE;
    o.err.kind = WEFT_STREAM_FD;
    o.err.fd = witness;
    o.flags = WEFT_SUBPROCESS_TREE;
    weft_subprocess *p = weft_subprocess_start(argv, &o);
    if (p == nullptr || weft_subprocess_read(p, 1, &byte, 1, weft_in_s(60)) != 1) {
        perror("tree: not planted");
        exit(1);
    }
    usleep(dice(3000));
    return p;
}

static void run_to_deadline(const char *self, const char *number, int witness)
{
    const char *const argv[] = {self, number, nullptr};
    weft_subprocess_options o = {};
    o.in.kind = o.out.kind = WEFT_STREAM_NULL;
    o.err.kind = WEFT_STREAM_FD;
    o.err.fd = witness;
    o.flags = WEFT_SUBPROCESS_TREE;
    o.kill_after_ns = 1 + (int64_t)dice(20000000);
    weft_subprocess_run(argv, &o, nullptr, weft_in_us(2000 + dice(10000)));
}

static void die_as_owner(const char *self, const char *number, int witness)
{
    pid_t owner = fork();
    if (owner == 0) {
        plant(self, number, witness);
        kill(getpid(), SIGKILL);
    }
    while (waitpid(owner, nullptr, 0) < 0 && errno == EINTR)
        ;
}

static void end(weft_subprocess *p, int way)
{
    int status;
    if (way == KILL)
        weft_subprocess_kill(p);
    if (way == DESTROY)
        weft_subprocess_send_signal(p, SIGKILL);
    if (way == STOP)
        weft_subprocess_end(p, &status, WEFT_NOW, weft_in_us(dice(5000)), weft_in_s(60));
    if (weft_subprocess_join(p, &status, weft_in_s(60)) != 0)
        perror("tree: wait");
    weft_subprocess_destroy(p);
}

// ---- The account ----

static bool is_let_go(int witness, int ms)
{
    struct pollfd f = {witness, 0, 0};
    return poll(&f, 1, ms) == 1 && (f.revents & POLLHUP) != 0;
}

// Whether all have ended: now, or by `d`.  Then who is left is waited for.
static bool all_have_ended(weft_deadline d)
{
    bool all = true;
    for (pid_t pid; (pid = waitpid(-1, nullptr, WNOHANG)) >= 0;) {
        all = all && (pid > 0 || weft_left(d) > 0);
        if (pid == 0)
            usleep(1000);
    }
    return all;
}

static bool torture(const char *self, int i)
{
    char number[16];
    int ends[2], way = i % WAYS;
    seed = (unsigned)i + 1;
    snprintf(number, sizeof number, "%d", i);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    if (way == DEADLINE)
        run_to_deadline(self, number, ends[1]);
    else if (way == DEATH)
        die_as_owner(self, number, ends[1]);
    else
        end(plant(self, number, ends[1]), way);
    close(ends[1]);
    // Its owner's death is seen by nobody but the warden: that takes its time.
    bool gone = is_let_go(ends[0], way == DEATH ? 60000 : 0);
    close(ends[0]);
    bool none = all_have_ended(way == DEATH ? weft_in_s(60) : WEFT_NOW);
    if (!gone || !none)
        printf("tree %d (ended %s): %s\n", i, names[way],
               gone ? "a child is left" : "somebody has its pipe");
    return gone && none;
}

int main(int argc, char **argv)
{
    const char *most = getenv("TORTURE_TREES");
    int trees = most != nullptr ? atoi(most) : 1000, failed = 0;
    if (argc == 2)
        return be_a_tree(argv[1]);
    setvbuf(stdout, nullptr, _IOLBF, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    int64_t began = weft_now();
    for (int i = 0; i < trees; i++)
        failed += !torture(argv[0], i);
    alarm(60); // whoever is left holds this up
    while (waitpid(-1, nullptr, 0) > 0)
        ;
    printf("%d trees ended in %.1f s, %d with somebody left\n", trees,
           (double)(weft_now() - began) / 1e9, failed);
    return failed != 0;
}
