// start.cc: the server as a process of its own, and what ends it.
//
// The process is made by two forks: the child ends at once, so that the server is nobody's child
// that could be waited for or left unreaped, and its pidfd is made by the server itself and sent
// back, so that it can't be another process's.  It learns from two descriptors that it is to end: a
// pidfd of the process that started it, and the read end of a pipe whose write end is in the
// handle and so, after a fork, in each process that has one.  (That is no leash of base/leash.h,
// which its maker alone holds: here all who have the handle are to keep the server, as long as
// the one that started it lives.)
#include "server.h"

#include <base/child.h>
#include <base/close_others.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace weft;

struct weft_manager {
    child server; // nobody's that could be waited for: its end alone is seen
    int leash;    // the pipe's write end
    char address[160];
};

namespace {
// What the server says once: that it listens, or why not.
struct news {
    int error;
    pid_t pid;
    char address[160];
};
} // namespace

int weft_manager_serve(const char *address, const weft_manager_options *opts)
{
    server s;
    if (this_server != nullptr)
        return fail_with(EBUSY);
    if (server_open(&s, address, opts) != 0)
        return -1;
    service_begin(&s);
    int result = server_run(&s), closed = server_close(&s);
    return result != 0 ? result : closed;
}

// ---- In the new process ----

static void tell(int channel, int error, const char *address)
{
    news n = {};
    struct iovec piece = {&n, sizeof n};
    char space[CMSG_SPACE(sizeof(int))] = {};
    struct msghdr m = {};
    n.error = error;
    n.pid = getpid();
    snprintf(n.address, sizeof n.address, "%s", address);
    m.msg_iov = &piece;
    m.msg_iovlen = 1;
    int self = error == 0 ? (int)syscall(SYS_pidfd_open, getpid(), 0) : -1;
    if (error == 0 && self < 0)
        n.error = errno;
    if (self >= 0) {
        m.msg_control = space;
        m.msg_controllen = sizeof space;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof self);
        memcpy(CMSG_DATA(c), &self, sizeof self);
    }
    (void)!sendmsg(channel, &m, MSG_NOSIGNAL);
    close_keep_errno(&self);
}

static void on_end(weft_watch *w, int, void *arg)
{
    weft_loop_unwatch(w);
    server_end((server *)arg);
}

// Any of 0 to 2 may have been closed, so that one of ours is there.
static void move_up(int *fd)
{
    if (*fd > 2)
        return;
    int above = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
    if (above >= 0)
        *fd = above;
}

// The listening socket of fd: and systemd: is among what was inherited.
static void shed(const char *address, int *keep, size_t n)
{
    int sorted[8], null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int listener = strncmp(address, "fd:", 3) == 0 ? atoi(address + 3) : -1;
    move_up(&null);
    for (size_t i = 0; i < n; i++) {
        move_up(&keep[i]);
        sorted[i] = keep[i];
    }
    sort_descriptors(sorted, n);
    for (int fd = 0; fd <= 2 && null >= 0; fd++)
        if (fd != listener && (fd < 2 || fcntl(fd, F_GETFD) < 0))
            dup2(null, fd);
    // A pipe or socket of the other process's would never end.
    if (strncmp(address, "fd:", 3) != 0 && strncmp(address, "systemd:", 8) != 0)
        close_others(sorted, n);
}

static void reset_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int signo = 1; signo < NSIG; signo++)
        signal(signo, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // a file that may not grow is an error of write(2)
    sigprocmask(SIG_SETMASK, &none, nullptr);
}

// A descriptor a client, however few the other process needs.
static void raise_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

static int watch_owners(server *s, int parent, int leash)
{
    return weft_loop_watch(s->loop, &s->parent, parent, WEFT_READ, on_end, s) != 0 ||
                   weft_loop_watch(s->loop, &s->owners, leash, WEFT_READ, on_end, s) != 0
               ? -1
               : 0;
}

static __attribute__((noreturn)) void live(const char *address, const weft_manager_options *opts,
                                           int channel, int parent, int leash)
{
    server *s = (server *)calloc(1, sizeof *s);
    weft_manager_options o = {};
    if (opts != nullptr)
        o = *opts;
    setsid();
    prctl(PR_SET_NAME, "weft-manager");
    reset_signals();
    raise_limit();
    int keep[] = {channel, parent, leash};
    shed(address, keep, 3);
    channel = keep[0];
    parent = keep[1];
    leash = keep[2];
    o.flags |= WEFT_MANAGER_SIGNALS;
    if (s == nullptr || server_open(s, address, &o) != 0 || watch_owners(s, parent, leash) != 0) {
        tell(channel, errno, "");
        _exit(1);
    }
    tell(channel, 0, s->address);
    close(channel);
    int result = server_run(s), closed = server_close(s);
    _exit(result != 0 || closed != 0);
}

// ---- In the process that starts it ----

static int hear(int channel, news *n)
{
    struct iovec piece = {n, sizeof *n};
    char space[CMSG_SPACE(sizeof(int))] = {};
    struct msghdr m = {};
    ssize_t got;
    int process = -1;
    m.msg_iov = &piece;
    m.msg_iovlen = 1;
    m.msg_control = space;
    m.msg_controllen = sizeof space;
    while ((got = recvmsg(channel, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        ;
    if (got != (ssize_t)sizeof *n)
        return got < 0 ? -1 : fail_with(ECHILD); // it died at birth
    const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c != nullptr && c->cmsg_type == SCM_RIGHTS)
        memcpy(&process, CMSG_DATA(c), sizeof process);
    return n->error != 0 ? fail_with(n->error) : above_streams(process);
}

// Forks twice.  0, or -1 and errno.  What is buffered in stdio stays: the copies leave by _exit.
static int fork_server(const char *address, const weft_manager_options *opts, const int *channel,
                       int parent, const int *leash)
{
    int error = 0;
    pid_t child = fork();
    if (child < 0)
        return -1;
    if (child > 0) {
        int status;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
        return 0;
    }
    close(channel[0]);
    close(leash[1]);
    pid_t server = fork();
    if (server == 0)
        live(address, opts, channel[1], parent, leash[0]);
    error = errno;
    if (server < 0)
        tell(channel[1], error, "");
    _exit(0);
}

weft_manager *weft_manager_start(const char *address, const weft_manager_options *opts)
{
    int channel[2] = {-1, -1}, leash[2] = {-1, -1}, parent = -1, saved = errno;
    news n;
    weft_manager *m = (weft_manager *)calloc(1, sizeof *m);
    if (address == nullptr) {
        free(m);
        errno = EINVAL;
        return nullptr;
    }
    if (m != nullptr) {
        m->server.pidfd = -1;
        parent = (int)syscall(SYS_pidfd_open, getpid(), 0);
        if (parent >= 0 && make_pipe(leash) == 0 &&
            socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) == 0 &&
            fork_server(address, opts, channel, parent, leash) == 0) {
            close_keep_errno(&channel[1]);
            m->server.pidfd = hear(channel[0], &n);
        }
    }
    close_keep_errno(&channel[0]);
    close_keep_errno(&channel[1]);
    close_keep_errno(&leash[0]);
    close_keep_errno(&parent);
    if (m == nullptr || m->server.pidfd < 0) {
        close_keep_errno(&leash[1]);
        free_keep_errno(m);
        return nullptr;
    }
    m->leash = leash[1];
    m->server.pid = n.pid;
    memcpy(m->address, n.address, sizeof m->address);
    errno = saved;
    return m;
}

const char *weft_manager_address(const weft_manager *m)
{
    return m != nullptr ? m->address : fail_null(EINVAL);
}

pid_t weft_manager_pid(const weft_manager *m)
{
    return m != nullptr ? m->server.pid : fail_with(EINVAL);
}

int weft_manager_fd(const weft_manager *m)
{
    return m != nullptr ? m->server.pidfd : fail_with(EINVAL);
}

int weft_manager_end(weft_manager *m, weft_deadline d)
{
    if (m == nullptr)
        return fail_with(EINVAL);
    int saved = errno;
    child_signal(&m->server, SIGTERM); // ESRCH: it has ended
    if (child_await(&m->server, d) == 0) {
        errno = saved;
        return 0;
    }
    if (errno != ETIMEDOUT)
        return -1;
    child_signal(&m->server, SIGKILL);
    child_await(&m->server, weft_in_s(2)); // it ends at once, unless the kernel is stuck
    return fail_with(ETIMEDOUT);
}

int weft_manager_destroy(weft_manager *m)
{
    if (m == nullptr)
        return 0;
    int saved = errno;
    close(m->leash);
    close(m->server.pidfd);
    free(m);
    errno = saved;
    return 0;
}
