// workers.cc: a master that forks, replaces and drains.
//
// Each worker is held by a leash.  Letting it go tells the worker to drain, and the kernel does
// it, too, when the master dies or executes a program: no signal is needed that could be lost, come
// too early or hit a process that has the number by now.
//
// The callbacks of the master's loop only note what has happened; processes are started between
// two runs of the loop, so that a new worker is in no callback and can give the loop back.
#include <base/child.h>
#include <base/leash.h>
#include <weft/loop.h>
#include <weft/workers.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

using namespace weft;

enum { SIGNALS = 5 };
static const int signals[SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
static const int64_t long_life = 1000000000; // ns: who lives as long starts without a pause

// In a worker alone.
static int worker_stop_fd = -1, worker_number = -1;

namespace {
struct place;

// A process.  It is in its place's `now` until it shall drain, then only in the master's list.
struct worker {
    weft_loop_link link; // in the master's `all`
    struct master *master;
    struct place *place; // nullptr: it drains
    child process;
    weft_child watch; // of its end
    weft_alarm limit; // of its drain
    int number;
    int64_t started;
    leash held; // let go: it was told
};

// One of the numbers 0 to n - 1, and who has it.
struct place {
    struct worker *now;
    weft_alarm pause; // armed: until a new one may start
    int64_t pause_ns; // the next pause
};

struct master {
    weft_loop *loop;
    int (*fn)(void *);
    void *arg;
    weft_workers_options o;
    weft_signal signals[SIGNALS];
    struct place *places;
    int count;
    weft_loop_link all;
    bool stopping, killed, reloading;
};
} // namespace

static void tell(const struct master *m, weft_workers_event e, int number, pid_t pid, int status)
{
    if (m->o.tell != nullptr)
        m->o.tell(e, number, pid, status, m->o.tell_arg);
}

// sd_notify(3) by hand: one datagram.  Nobody is told of a failure, as there.
static void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = {};
    if (path == nullptr || strlen(path) < 2 || strlen(path) >= sizeof a.sun_path)
        return;
    int saved = errno;
    a.sun_family = AF_UNIX;
    strcpy(a.sun_path, path);
    if (path[0] == '@')
        a.sun_path[0] = 0; // the abstract namespace
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&a,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
        close(fd);
    }
    errno = saved;
}

// ---- Draining ----

static void kill_it(struct worker *w)
{
    w->master->killed = w->master->killed || w->master->stopping;
    tell(w->master, WEFT_WORKERS_KILLED, w->number, w->process.pid, 0);
    child_signal(&w->process, SIGKILL);
}

static void on_limit(weft_alarm *a)
{
    kill_it((struct worker *)a->arg);
}

static void drain(struct worker *w)
{
    if (w->held.end < 0)
        return;
    leash_let_go(&w->held);
    if (w->place != nullptr)
        w->place->now = nullptr;
    w->place = nullptr;
    int64_t now = weft_now(), ns = w->master->o.drain_ns;
    weft_loop_timer(w->master->loop, &w->limit, ns < WEFT_FOREVER - now ? now + ns : WEFT_FOREVER,
                    0, on_limit, w);
}

static void drain_all(struct master *m)
{
    for (weft_loop_link *i = m->all.next; i != &m->all; i = i->next)
        drain((struct worker *)i);
}

// ---- What happens ----

static void on_pause_over(weft_alarm *)
{
    // That it has gone off is what start_missing looks for.
}

static void pause_place(struct master *m, struct place *p)
{
    weft_loop_timer(m->loop, &p->pause, weft_in_ns(p->pause_ns), 0, on_pause_over, nullptr);
    p->pause_ns = p->pause_ns < m->o.pause_max_ns / 2 ? p->pause_ns * 2 : m->o.pause_max_ns;
}

static void on_end(weft_child *c, int status)
{
    struct worker *w = (struct worker *)c->arg;
    struct master *m = w->master;
    if (status == -1 && child_poll(&w->process) && !w->process.lost) // by number: waitid is refused
        status = w->process.status;
    tell(m, WEFT_WORKERS_ENDED, w->number, w->process.pid, status);
    if (w->place != nullptr) {
        w->place->now = nullptr;
        if (weft_now() - w->started >= long_life)
            w->place->pause_ns = m->o.pause_ns;
        else
            pause_place(m, w->place);
    }
    leash_let_go(&w->held);
    child_close(&w->process);
    if (w->limit.loop != nullptr)
        weft_alarm_stop(&w->limit);
    list_remove(&w->link);
    free(w);
}

static void stop(struct master *m)
{
    if (m->stopping) { // told again: no more patience
        for (weft_loop_link *i = m->all.next; i != &m->all; i = i->next)
            kill_it((struct worker *)i);
        return;
    }
    m->stopping = true;
    notify("STOPPING=1");
    tell(m, WEFT_WORKERS_STOPPING, -1, -1, 0);
    for (int i = 0; i < m->count; i++)
        if (m->places[i].pause.loop != nullptr)
            weft_alarm_stop(&m->places[i].pause);
    drain_all(m);
}

// systemd wants the time of a reload with it (sd_notify(3), "RELOADING=1").
static void reload(struct master *m)
{
    char state[64];
    if (m->stopping)
        return;
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)(weft_now() / 1000));
    notify(state);
    tell(m, WEFT_WORKERS_RELOADING, -1, -1, 0);
    m->reloading = true;
    for (int i = 0; i < m->count; i++) {
        struct place *p = &m->places[i];
        if (p->now != nullptr)
            p->now->place = nullptr; // it is drained once its successor runs
        p->now = nullptr;
        p->pause_ns = m->o.pause_ns; // what kept it from living may be mended
        if (p->pause.loop != nullptr)
            weft_alarm_stop(&p->pause);
    }
}

static void on_signal(weft_signal *s)
{
    struct master *m = (struct master *)s->arg;
    if (s->signo == SIGTERM || s->signo == SIGINT) {
        stop(m);
    } else if (s->signo == SIGHUP) {
        reload(m);
    } else {
        for (weft_loop_link *i = m->all.next; i != &m->all; i = i->next)
            child_signal(&((struct worker *)i)->process, s->signo);
    }
}

// ---- Starting ----

// In the new process: becomes a worker, for good.
static void live(struct master *m, int number, int stop_fd)
{
    struct sigaction ignore = {};
    ignore.sa_handler = SIG_IGN;
    for (int signo : signals)
        sigaction(signo, &ignore, nullptr);
    weft_loop_destroy(m->loop); // our copy; also unblocks the signals
    worker_stop_fd = stop_fd;
    worker_number = number;
    int status = m->fn(m->arg);
    fflush(nullptr);
    _exit(status);
}

static void forget(struct worker *w)
{
    leash_let_go(&w->held);
    child_close(&w->process);
    free_keep_errno(w);
}

// Forks; watches the new worker.  -1: errno, and nothing has changed.
static int start(struct master *m, int number)
{
    int stop_fd = -1;
    struct worker *w = (struct worker *)calloc(1, sizeof *w);
    if (w == nullptr || leash_make(&w->held, &stop_fd) != 0) {
        free_keep_errno(w);
        return -1;
    }
    fflush(nullptr); // else each worker would write what is buffered once more
    pid_t pid = child_fork(&w->process);
    if (pid == 0)
        live(m, number, stop_fd);
    close_keep_errno(&stop_fd);
    if (pid < 0 || weft_loop_child_fd(m->loop, &w->watch, w->process.pidfd, on_end, w) != 0) {
        int error = pid < 0 || w->process.pidfd >= 0 ? errno : ENOSYS;
        if (pid > 0)
            child_end(&w->process, WEFT_NOW, weft_in_s(2));
        child_poll(&w->process);
        forget(w);
        return fail_with(error);
    }
    w->master = m;
    w->place = &m->places[number];
    w->number = number;
    w->started = weft_now();
    w->place->now = w;
    list_insert(&m->all, &w->link);
    tell(m, WEFT_WORKERS_STARTED, number, pid, 0);
    return 0;
}

static void start_missing(struct master *m)
{
    bool all_run = true;
    for (int i = 0; i < m->count; i++) {
        struct place *p = &m->places[i];
        if (p->now == nullptr && p->pause.loop == nullptr && start(m, i) != 0) {
            tell(m, WEFT_WORKERS_FAILED, i, -1, errno);
            pause_place(m, p);
        }
        all_run = all_run && p->now != nullptr;
    }
    if (!all_run || !m->reloading)
        return;
    for (weft_loop_link *i = m->all.next; i != &m->all; i = i->next) {
        struct worker *w = (struct worker *)i;
        if (w->place == nullptr) // it has been replaced
            drain(w);
    }
    m->reloading = false;
    notify("READY=1");
}

// ---- The master ----

static int run(struct master *m)
{
    for (int i = 0; i < SIGNALS; i++)
        if (weft_loop_signal(m->loop, &m->signals[i], signals[i], on_signal, m) != 0)
            return -1;
    for (int i = 0; i < m->count; i++)
        if (start(m, i) != 0)
            return -1;
    notify("READY=1");
    while (!m->stopping || !list_is_empty(&m->all)) {
        if (weft_loop_run(m->loop, WEFT_LOOP_ONCE, WEFT_FOREVER) < 0)
            return -1;
        if (!m->stopping)
            start_missing(m);
    }
    return m->killed ? fail_with(ETIMEDOUT) : 0;
}

// After a failure to begin: no worker stays.
static void end_all(struct master *m)
{
    int saved = errno;
    for (weft_loop_link *next, *i = m->all.next; i != &m->all; i = next) {
        struct worker *w = (struct worker *)i;
        next = i->next;
        weft_child_stop(&w->watch);
        child_end(&w->process, WEFT_NOW, weft_in_s(2));
        child_poll(&w->process);
        if (w->limit.loop != nullptr)
            weft_alarm_stop(&w->limit);
        forget(w);
    }
    errno = saved;
}

static bool complete(weft_workers_options *o)
{
    if (o->drain_ns < 0 || o->pause_ns < 0 || o->pause_max_ns < 0)
        return false;
    if (o->drain_ns == 0)
        o->drain_ns = 30000000000;
    if (o->pause_ns == 0)
        o->pause_ns = 100000000;
    if (o->pause_max_ns == 0)
        o->pause_max_ns = 10000000000;
    return true;
}

int weft_workers_run(int workers, int (*fn)(void *arg), void *arg, const weft_workers_options *opts)
{
    struct master m = {};
    if (opts != nullptr)
        m.o = *opts;
    if (workers < 1 || fn == nullptr || !complete(&m.o))
        return fail_with(EINVAL);
    m.fn = fn;
    m.arg = arg;
    m.count = workers;
    list_init(&m.all);
    m.places = (struct place *)calloc((size_t)workers, sizeof *m.places);
    m.loop = m.places != nullptr ? weft_loop_create(nullptr) : nullptr;
    int r = -1;
    if (m.loop != nullptr) {
        for (int i = 0; i < workers; i++)
            m.places[i].pause_ns = m.o.pause_ns;
        r = run(&m);
        end_all(&m);
        weft_loop_destroy(m.loop);
    }
    free_keep_errno(m.places);
    return r;
}

int weft_worker_stop_fd(void)
{
    return worker_stop_fd >= 0 ? worker_stop_fd : fail_with(EPERM);
}

int weft_worker_number(void)
{
    return worker_number >= 0 ? worker_number : fail_with(EPERM);
}
