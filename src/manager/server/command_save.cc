// command_save.cc: SAVE BGSAVE LASTSAVE, and the snapshot at the end (snapshot.h).
//
// Another process writes, a copy of this one by fork(2), so that nobody waits but who said SAVE.
// Of the descriptors it keeps the folder's alone: a client that ends meanwhile is seen to end.
#include "commands.h"
#include "place.h"
#include "snapshot.h"

#include <base/above_streams.h>
#include <base/close_others.h>
#include <base/errno.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace weft;

// ---- The file ----

int weft::save_open(server *s)
{
    char folder[PATH_MAX];
    const char *path = s->o.save, *slash;
    s->save.dir = -1;
    s->save.last = wall_ms() / 1000;
    if (path == nullptr || *path == 0)
        return 0;
    slash = strrchr(path, '/');
    s->save.name = slash != nullptr ? slash + 1 : path;
    size_t n = slash != nullptr ? (size_t)(slash - path) : 0;
    if (*s->save.name == 0)
        return fail_with(EISDIR);
    if (n >= sizeof folder || strlen(s->save.name) > NAME_MAX - sizeof ".saving")
        return fail_with(ENAMETOOLONG);
    snprintf(folder, sizeof folder, "%.*s", (int)n, path);
    s->save.dir = above_streams(open(slash == nullptr ? "."
                                     : n == 0         ? "/"
                                                      : folder,
                                     O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return s->save.dir < 0 ? -1 : snapshot_read(s);
}

static void note(server *s, int error)
{
    s->save.error = error;
    if (error == 0)
        s->save.last = wall_ms() / 1000;
    else
        fprintf(stderr, "weft-manager: %s: not saved: %s\n", s->o.save, strerror(error));
}

// Ends the process that writes, of which the loop will hear: two at a time would be in each other's
// way.
static void stop_other(const server *s)
{
    siginfo_t info;
    if (s->save.pid <= 0)
        return;
    kill(s->save.pid, SIGKILL);
    while (waitid(P_PID, (id_t)s->save.pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        ;
}

int weft::save_now(server *s)
{
    stop_other(s);
    int error = snapshot_write(s) == 0 ? 0 : errno;
    note(s, error);
    return error == 0 ? 0 : fail_with(error);
}

int weft::save_close(server *s)
{
    int result = 0;
    if (s->save.pid > 0) {
        stop_other(s);
        weft_loop_unwatch_child(&s->save.child);
        waitpid(s->save.pid, nullptr, 0);
        snapshot_forget(s);
    }
    if (s->save.dir >= 0 && !s->save.not_at_end)
        result = save_now(s);
    if (s->save.dir >= 0)
        close_keep_errno(&s->save.dir);
    return result;
}

// ---- In another process ----

static void reply_saved(peer_wait *w)
{
    const server *s = w->peer->server;
    if (s->save.error == 0)
        reply_ok(w->peer);
    else
        reply_error(w->peer, "ERR %s: not saved: %s", s->o.save, strerror(s->save.error));
}

static void on_saved(weft_child *, int status, void *arg)
{
    server *s = (server *)arg;
    s->save.pid = 0;
    s->save.took = weft_now() - s->save.begun;
    // Its end may have been taken by somebody else, in a program that serves.
    note(s, status < 0 ? ECHILD : WIFEXITED(status) ? WEXITSTATUS(status) : EOWNERDEAD);
    if (s->save.error != 0)
        snapshot_forget(s);
    for (peer *p = s->peers.next; p != &s->peers; p = p->next)
        if (p->wait != nullptr && p->wait->time_out == reply_saved) {
            reply_saved(p->wait);
            wait_end(p->wait);
        }
}

[[noreturn]] static void write_and_exit(server *s, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EOWNERDEAD);
    prctl(PR_SET_NAME, "weft-save");
    signal(SIGXFSZ, SIG_IGN); // that is an error of write(2)
    close_others(&s->save.dir, 1);
    _exit(snapshot_write(s) == 0 ? 0 : errno);
}

// Whether it has begun.  false: the peer was told.
static bool begin(peer *p)
{
    server *s = p->server;
    pid_t parent = getpid();
    if (s->save.dir < 0) {
        reply_error(p, "ERR there is no file to save to: the server was not given one");
        return false;
    }
    if (s->save.pid != 0) {
        reply_error(p, "ERR Background save already in progress");
        return false;
    }
    pid_t pid = fork();
    if (pid == 0)
        write_and_exit(s, parent);
    if (pid < 0 || weft_loop_watch_child(s->loop, &s->save.child, pid, on_saved, s) != 0) {
        int error = errno;
        if (pid > 0) {
            kill(pid, SIGKILL);
            waitpid(pid, nullptr, 0);
            snapshot_forget(s);
        }
        note(s, error);
        reply_error(p, "ERR %s: not saved: %s", s->o.save, strerror(error));
        return false;
    }
    s->save.pid = pid;
    s->save.begun = weft_now();
    return true;
}

// Replies when it is done; others are served meanwhile.
void weft::command_save(peer *p, const word *, int)
{
    if (!begin(p))
        return;
    peer_wait *w = wait_begin(p, 0, nullptr, WEFT_FOREVER);
    w->time_out = reply_saved;
    w->postponed = true;
}

void weft::command_bgsave(peer *p, const word *words, int n)
{
    if (n > 2 || (n == 2 && !word_is(&words[1], "schedule")))
        reply_syntax(p);
    else if (begin(p))
        reply_status(p, "Background saving started");
}

void weft::command_lastsave(peer *p, const word *, int)
{
    reply_integer(p, p->server->save.last);
}

// ---- SHUTDOWN ----

// SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] | ABORT: there is nothing to wait for.
void weft::command_shutdown(peer *p, const word *words, int n)
{
    static const char *const known[] = {"nosave", "save", "now", "force", "abort"};
    enum { NOSAVE = 1, SAVE = 2, FORCE = 8, ABORT = 16 };
    server *s = p->server;
    int given = 0;
    for (int i = 1; i < n; i++) {
        int k = 0;
        while (k < 5 && !word_is(&words[i], known[k]))
            k++;
        given |= 1 << k;
    }
    if (given > ABORT || (given & (NOSAVE | SAVE)) == (NOSAVE | SAVE)) {
        reply_syntax(p);
        return;
    }
    if (given == ABORT) {
        reply_error(p, "ERR No shutdown in progress.");
        return;
    }
    bool wanted = !(given & NOSAVE) && s->save.dir >= 0;
    if (((given & SAVE) && s->save.dir < 0) || (wanted && save_now(s) != 0)) {
        if (!(given & FORCE)) {
            reply_error(p, "ERR Errors trying to SHUTDOWN. Check logs.");
            return;
        }
    }
    s->save.not_at_end = true; // it is saved, or is not to be
    server_end(s);
}
