// workers_told.cc: what a master tells: its own program, or else whoever reads standard error.
#include "master.h"

#include <stdio.h>
#include <string.h>

using namespace weft;

void weft::master_tell(const master *m, weft_workers_event e, int number, pid_t pid, int status)
{
    if (m->o.tell != nullptr)
        m->o.tell(e, number, pid, status, m->o.arg);
    else if (e == WEFT_WORKERS_FAILED)
        fprintf(stderr, "weft: worker %d does not start: %s\n", number, strerror(status));
}

static void print_status(char *text, size_t room, int status)
{
    if (status == -1)
        snprintf(text, room, "ended, its status is lost");
    else if (WIFSIGNALED(status))
        snprintf(text, room, "was killed by signal %d (%s)%s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "");
    else
        snprintf(text, room, "exited with %d", WEXITSTATUS(status));
}

void weft::master_say_end(const master_worker *w, int status, int64_t pause_ns)
{
    char how[128], next[64] = "";
    if (w->master->o.tell != nullptr)
        return;
    print_status(how, sizeof how, status);
    if (pause_ns > 0)
        snprintf(next, sizeof next, "; the next starts in %.1f s", (double)pause_ns / 1e9);
    fprintf(stderr, "weft: worker %d (process %d) %s after %.1f s%s\n", w->number, w->process.pid,
            how, (double)(weft_now() - w->started) / 1e9, next);
}

// ---- Metrics ----

static void add(weft_worker_counters *sum, const weft_worker_counters *s)
{
    sum->starts += s->starts;
    sum->restarts += s->restarts;
    sum->early += s->early;
    sum->accepted += s->accepted;
    sum->connections += s->connections;
}

static void collect(master *m)
{
    m->s.draining = 0;
    for (int i = 0; i < m->count; i++) {
        const master_worker *w = m->places[i].now;
        m->each[i].pid = w != nullptr ? w->process.pid : -1;
        m->each[i].accepted = m->places[i].accepted;
        m->each[i].connections = 0;
    }
    for (weft_loop_link *i = m->all.next; i != &m->all; i = i->next) {
        const master_worker *w = (const master_worker *)i;
        weft_worker_counters *s = &m->each[w->number];
        m->s.draining += w->place == nullptr;
        s->accepted += __atomic_load_n(&w->counts->accepted, __ATOMIC_RELAXED);
        s->connections += __atomic_load_n(&w->counts->now, __ATOMIC_RELAXED);
    }
}

void weft::master_tell_metrics(master *m)
{
    if (m->o.metrics == nullptr)
        return;
    int last_status = m->s.all.last_status;
    collect(m);
    m->s.all = {};
    m->s.all.pid = getpid();
    m->s.all.last_status = last_status;
    for (int i = 0; i < m->count; i++)
        add(&m->s.all, &m->each[i]);
    m->o.metrics(&m->s, m->o.arg);
}
