// workers.cc: a master that forks, replaces and drains.
//
// Each worker is held by a leash.  Letting it go tells the worker to drain, and the kernel does
// it, too, when the master dies or executes a program: no signal is needed that could be lost, come
// too early or hit a process that has the number by now.
//
// The callbacks of the master's loop only note what has happened; processes are started between
// two runs of the loop, so that a new worker is in no callback and can give the loop back.
#include "master.h"

#include <base/notify.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

using namespace weft;

static const int64_t long_life = 1000000000; // ns: who lives as long starts without a pause

// ---- Draining ----

static void kill_it(master_worker *w)
{
    w->master->killed = w->master->killed || w->master->stopping;
    w->master->s.killed++;
    master_tell(w->master, WEFT_WORKERS_KILLED, w->number, w->process.pid, 0);
    child_signal(&w->process, SIGKILL);
}

static void on_limit(weft_alarm *a, void *)
{
    kill_it((master_worker *)a->arg);
}

static void drain(master_worker *w)
{
    if (w->held.end < 0)
        return;
    leash_let_go(&w->held);
    if (w->place != nullptr)
        w->place->now = nullptr;
    w->place = nullptr;
    int64_t now = weft_now(), ns = w->master->o.drain_ns;
    weft_loop_arm(w->master->loop, &w->limit, 0, on_limit, w,
                  ns < WEFT_FOREVER - now ? now + ns : WEFT_FOREVER);
}

static void drain_all(master *m)
{
    for (weft_loop_link *i = m->all.next; i != &m->all; i = i->next)
        drain((master_worker *)i);
}

// ---- What happens ----

static void on_pause_over(weft_alarm *, void *)
{
    // That it has gone off is what start_missing looks for.
}

static void pause_place(master *m, master_place *p)
{
    weft_loop_arm(m->loop, &p->pause, 0, on_pause_over, nullptr, weft_in_ns(p->pause_ns));
    p->pause_ns = p->pause_ns < m->o.pause_max_ns / 2 ? p->pause_ns * 2 : m->o.pause_max_ns;
}

static bool is_early(const master_worker *w)
{
    return w->place != nullptr && weft_now() - w->started < long_life;
}

// It ended unasked: there will be another.  How long that waits.
static int64_t replace(master_worker *w, int status, bool early)
{
    master *m = w->master;
    master_place *p = w->place;
    weft_worker_counters *s = &m->each[w->number];
    int64_t pause = early ? p->pause_ns : 0;
    p->now = nullptr;
    s->restarts++;
    s->early += early;
    m->s.all.last_status = s->last_status = status;
    if (early)
        pause_place(m, p);
    else
        p->pause_ns = m->o.pause_ns;
    return pause;
}

static void forget(master_worker *w)
{
    leash_let_go(&w->held);
    child_close(&w->process);
    if (w->counts != nullptr)
        munmap(w->counts, sizeof *w->counts);
    free_keep_errno(w);
}

static void on_end(weft_child *c, int status, void *)
{
    master_worker *w = (master_worker *)c->arg;
    master *m = w->master;
    if (status == -1 && child_poll(&w->process) && !w->process.lost) // by number: waitid is refused
        status = w->process.status;
    bool unasked = w->place != nullptr, early = is_early(w);
    if (early)
        master_tell(m, WEFT_WORKERS_EARLY, w->number, w->process.pid, status);
    master_tell(m, WEFT_WORKERS_ENDED, w->number, w->process.pid, status);
    int64_t pause = unasked ? replace(w, status, early) : 0;
    if (unasked || status != 0)
        master_say_end(w, status, pause);
    m->places[w->number].accepted += w->counts->accepted;
    if (w->limit.loop != nullptr)
        weft_loop_disarm(&w->limit);
    list_remove(&w->link);
    forget(w);
}

static void stop(master *m)
{
    if (m->stopping) { // told again: no more patience
        for (weft_loop_link *i = m->all.next; i != &m->all; i = i->next)
            kill_it((master_worker *)i);
        return;
    }
    m->stopping = true;
    notify("STOPPING=1");
    master_tell(m, WEFT_WORKERS_STOPPING, -1, -1, 0);
    for (int i = 0; i < m->count; i++)
        if (m->places[i].pause.loop != nullptr)
            weft_loop_disarm(&m->places[i].pause);
    drain_all(m);
}

static void reload(master *m)
{
    if (m->stopping)
        return;
    notify_reloading();
    master_tell(m, WEFT_WORKERS_RELOADING, -1, -1, 0);
    m->reloading = true;
    m->s.reloads++;
    for (int i = 0; i < m->count; i++) {
        master_place *p = &m->places[i];
        if (p->now != nullptr)
            p->now->place = nullptr; // it is drained once its successor runs
        p->now = nullptr;
        p->pause_ns = m->o.pause_ns; // what kept it from living may be mended
        if (p->pause.loop != nullptr)
            weft_loop_disarm(&p->pause);
    }
}

static void on_signal(weft_signal *s, void *)
{
    master *m = (master *)s->arg;
    if (s->signo == SIGTERM || s->signo == SIGINT) {
        stop(m);
    } else if (s->signo == SIGHUP) {
        reload(m);
    } else {
        for (weft_loop_link *i = m->all.next; i != &m->all; i = i->next)
            child_signal(&((master_worker *)i)->process, s->signo);
    }
}

// ---- Starting ----

// A new worker that is not yet one.  nullptr: errno.
static master_worker *prepare(master *m, int number, int *stop_fd)
{
    master_worker *w = (master_worker *)calloc(1, sizeof *w);
    if (w == nullptr)
        return nullptr;
    void *counts =
        mmap(nullptr, sizeof *w->counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (counts == MAP_FAILED || leash_make(&w->held, stop_fd) != 0) {
        int error = errno;
        if (counts != MAP_FAILED)
            munmap(counts, sizeof *w->counts);
        free(w);
        return fail_null(error);
    }
    w->counts = (worker_counts *)counts;
    w->master = m;
    w->number = number;
    return w;
}

// Forks; watches the new worker.  -1: errno, and nothing has changed.
static int start(master *m, int number)
{
    int stop_fd = -1;
    master_worker *w = prepare(m, number, &stop_fd);
    if (w == nullptr)
        return -1;
    fflush(nullptr); // else each worker would write what is buffered once more
    pid_t pid = child_fork(&w->process);
    if (pid == 0)
        worker_live(m, w, stop_fd);
    close_keep_errno(&stop_fd);
    if (pid < 0 || weft_loop_watch_child_fd(m->loop, &w->watch, w->process.pidfd, on_end, w) != 0) {
        int error = pid < 0 || w->process.pidfd >= 0 ? errno : ENOSYS;
        if (pid > 0)
            child_end(&w->process, WEFT_NOW, weft_in_s(2));
        child_poll(&w->process);
        forget(w);
        return fail_with(error);
    }
    w->place = &m->places[number];
    w->started = weft_now();
    w->place->now = w;
    m->each[number].starts++;
    list_insert(&m->all, &w->link);
    master_tell(m, WEFT_WORKERS_STARTED, number, pid, 0);
    return 0;
}

static void notify_ready(void)
{
    char state[64];
    snprintf(state, sizeof state, "READY=1\nMAINPID=%d", (int)getpid());
    notify(state);
}

static void start_missing(master *m)
{
    bool all_run = true;
    for (int i = 0; i < m->count; i++) {
        master_place *p = &m->places[i];
        if (p->now == nullptr && p->pause.loop == nullptr && start(m, i) != 0) {
            m->s.failed++;
            master_tell(m, WEFT_WORKERS_FAILED, i, -1, errno);
            pause_place(m, p);
        }
        all_run = all_run && p->now != nullptr;
    }
    if (!all_run || !m->reloading)
        return;
    for (weft_loop_link *i = m->all.next; i != &m->all; i = i->next) {
        master_worker *w = (master_worker *)i;
        if (w->place == nullptr) // it has been replaced
            drain(w);
    }
    m->reloading = false;
    notify_ready();
}

// ---- The master ----

static void on_watchdog(weft_alarm *, void *)
{
    notify("WATCHDOG=1");
}

static void on_metrics(weft_alarm *a, void *)
{
    master_tell_metrics((master *)a->arg);
}

static void begin_alarms(master *m)
{
    int64_t watchdog = notify_watchdog_ns();
    if (watchdog > 0)
        weft_loop_arm(m->loop, &m->watchdog, watchdog, on_watchdog, m, weft_in_ns(watchdog));
    if (m->o.metrics != nullptr)
        weft_loop_arm(m->loop, &m->metrics, m->o.metrics_ns, on_metrics, m,
                      weft_in_ns(m->o.metrics_ns));
}

static int run(master *m)
{
    for (int i = 0; i < MASTER_SIGNALS; i++)
        if (weft_loop_watch_signal(m->loop, &m->signals[i], master_signals[i], on_signal, m) != 0)
            return -1;
    for (int i = 0; i < m->count; i++)
        if (start(m, i) != 0)
            return -1;
    notify_ready();
    begin_alarms(m);
    while (!m->stopping || !list_is_empty(&m->all)) {
        if (weft_loop_run(m->loop, WEFT_LOOP_ONCE, WEFT_FOREVER) < 0)
            return -1;
        if (!m->stopping)
            start_missing(m);
    }
    master_tell_metrics(m);
    return m->killed ? fail_with(ETIMEDOUT) : 0;
}

// After a failure to begin: no worker stays.
static void end_all(master *m)
{
    int saved = errno;
    for (weft_loop_link *next, *i = m->all.next; i != &m->all; i = next) {
        master_worker *w = (master_worker *)i;
        next = i->next;
        weft_loop_unwatch_child(&w->watch);
        child_end(&w->process, WEFT_NOW, weft_in_s(2));
        child_poll(&w->process);
        if (w->limit.loop != nullptr)
            weft_loop_disarm(&w->limit);
        forget(w);
    }
    errno = saved;
}

static int64_t or_else(int64_t ns, int64_t usual)
{
    return ns == 0 ? usual : ns;
}

// -1: errno.
static int complete(weft_workers_options *o)
{
    if (o->drain_ns < 0 || o->pause_ns < 0 || o->pause_max_ns < 0 || o->metrics_ns < 0 ||
        (o->flags & ~WEFT_WORKERS_CLOSE_OTHERS) != 0 || (o->keep_count > 0 && o->flags == 0))
        return fail_with(EINVAL);
    for (size_t i = 0; i < o->keep_count; i++)
        if (o->keep[i] < 0)
            return fail_with(EBADF);
    o->drain_ns = or_else(o->drain_ns, 30000000000);
    o->pause_ns = or_else(o->pause_ns, 100000000);
    o->pause_max_ns = or_else(o->pause_max_ns, 10000000000);
    o->metrics_ns = or_else(o->metrics_ns, 10000000000);
    return 0;
}

static int make(master *m)
{
    list_init(&m->all);
    m->places = (master_place *)calloc((size_t)m->count, sizeof *m->places);
    m->each = (weft_worker_counters *)calloc((size_t)m->count, sizeof *m->each);
    m->keep = (int *)calloc(m->o.keep_count + 1, sizeof *m->keep);
    if (m->places == nullptr || m->each == nullptr || m->keep == nullptr)
        return -1;
    for (size_t i = 0; i < m->o.keep_count; i++)
        m->keep[i] = m->o.keep[i];
    for (int i = 0; i < m->count; i++) {
        m->places[i].pause_ns = m->o.pause_ns;
        m->each[i].last_status = -1;
    }
    m->s.workers = m->count;
    m->s.each = m->each;
    m->s.all.last_status = -1;
    m->loop = weft_loop_create(nullptr);
    return m->loop != nullptr ? 0 : -1;
}

int weft_workers_run(int workers, int (*fn)(void *arg), void *arg, const weft_workers_options *opts)
{
    master m = {};
    if (opts != nullptr)
        m.o = *opts;
    if (workers < 1 || fn == nullptr)
        return fail_with(EINVAL);
    if (complete(&m.o) != 0)
        return -1;
    m.fn = fn;
    m.arg = arg;
    m.count = workers;
    int r = make(&m);
    if (r == 0) {
        r = run(&m);
        end_all(&m);
        weft_loop_destroy(m.loop);
    }
    free_keep_errno(m.places);
    free_keep_errno(m.each);
    free_keep_errno(m.keep);
    return r;
}
