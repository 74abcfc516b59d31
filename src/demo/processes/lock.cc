// lock.cc: `weft-processes lock`: flock(1) across whatever can reach a manager.
//
// The lock is held by a process of its own, which connects, runs the command and ends after it:
// like flock(1)'s, the lock is released when the command has ended, also when who was called has
// been killed meanwhile, and no two commands run at once.  The command has the connection, too,
// which counts where the server cannot see whose it is.
#include "remote.h"

#include <err.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <weft/status.h>
#include <weft/subprocess.h>

// A call whose connection ends before its answer fails, and the next one connects again: on Redis
// the lock is still there then.
static bool remote_insist(int (*call)(weft_remote_lock *, weft_deadline), weft_remote_lock *l)
{
    return call(l, weft_in_s(5)) == 0 || (errno != EPERM && call(l, weft_in_s(5)) == 0);
}

static int remote_lock(const remote_order *o, char **command)
{
    char text[32];
    int64_t token;
    int status = 0;
    weft_client *c = remote_connect(o);
    weft_remote_lock *l = weft_remote_lock_open(c, o->name, 0);
    if (weft_remote_lock_lock(l, &token, o->end) != 0)
        return remote_failed(o->name, l);
    prctl(PR_SET_PDEATHSIG, 0); // from now on it stays for the command
    snprintf(text, sizeof text, "%lld", (long long)token);
    setenv("TOKEN", text, 1);
    int connection = weft_client_fd(c);
    weft_subprocess_options options = {};
    options.pass = &connection;
    options.pass_count = 1;
    weft_subprocess *p = weft_subprocess_start(command, &options);
    if (p == nullptr) {
        status = errno == ENOENT ? 127 : 126; // as a shell
        warn("%s", command[0]);
        remote_insist(weft_remote_lock_unlock, l); // on Redis the connection's end is no unlock
        weft_remote_destroy(l);
        weft_client_destroy(c);
        return status;
    }
    bool lost = false;
    while (weft_subprocess_join(p, &status, weft_in_ns(WEFT_REMOTE_LEASE_NS / 3)) != 0)
        if (!lost && !remote_insist(weft_remote_lock_renew, l)) {
            warn("%s: the lock is lost while %s runs", o->name, command[0]);
            lost = true;
        }
    weft_subprocess_destroy(p);
    if (!lost && !remote_insist(weft_remote_lock_unlock, l))
        warn("%s: the lock was lost while %s ran", o->name, command[0]);
    weft_remote_destroy(l);
    weft_client_destroy(c);
    return weft_status_code(status);
}

// In a process that ends with this one only as long as it has no lock.
static int keep_lock(const remote_order *o, char **command)
{
    int status = 0;
    pid_t self = getpid(), keeper = fork();
    if (keeper < 0)
        err(1, "fork");
    if (keeper > 0) {
        while (waitpid(keeper, &status, 0) < 0 && errno == EINTR)
            ;
        return weft_status_code(status);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != self)
        _exit(1);
    return remote_lock(o, command);
}

static int run(int argc, char **argv)
{
    remote_order o = remote_read_options(argc, argv, "+:ht:");
    return keep_lock(
        &o, remote_read_arguments(&o, argc, argv, 3, -1, "lock", "needs ADDRESS NAME CMD..."));
}

extern const verb verb_lock = {
    "lock", "[-t seconds] [--password-file F] ADDRESS NAME CMD [ARG...]",
    "runs CMD while it holds the lock; TOKEN is its fencing token there; -t: how long to wait,\n"
    "then the status is 1\n",
    run};
