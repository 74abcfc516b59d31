// worker.cc: a worker process, from its fork on.
#include "master.h"

#include <base/close_others.h>

#include <stdio.h>
#include <sys/mman.h>

using namespace weft;

static int stop_fd = -1, number = -1;

// Its siblings' descriptors and counts are the master's alone.
static void forget_siblings(const master *m)
{
    for (weft_loop_link *i = m->all.next; i != &m->all; i = i->next) {
        master_worker *w = (master_worker *)i;
        child_close(&w->process);
        munmap(w->counts, sizeof *w->counts);
    }
}

static void close_what_is_not_kept(const master *m)
{
    size_t n = m->o.keep_count;
    if (!(m->o.flags & WEFT_WORKERS_CLOSE_OTHERS))
        return;
    m->keep[n++] = stop_fd;
    sort_descriptors(m->keep, n);
    close_others(m->keep, n);
}

void weft::worker_live(master *m, const master_worker *w, int stop)
{
    struct sigaction ignore = {};
    ignore.sa_handler = SIG_IGN;
    for (int signo : master_signals)
        sigaction(signo, &ignore, nullptr);
    weft_loop_destroy(m->loop); // our copy; also unblocks the signals
    forget_siblings(m);
    stop_fd = stop;
    number = w->number;
    counts_here = w->counts;
    close_what_is_not_kept(m);
    int status = m->fn(m->arg);
    fflush(nullptr);
    _exit(status);
}

int weft_worker_stop_fd(void)
{
    return stop_fd >= 0 ? stop_fd : fail_with(EPERM);
}

int weft_worker_number(void)
{
    return number >= 0 ? number : fail_with(EPERM);
}

int weft_worker_connections(int by)
{
    if (counts_here == nullptr)
        return fail_with(EPERM);
    count_connections(by);
    return 0;
}
