// master.h: what a master keeps of its workers.  workers.cc starts and ends them, workers_told.cc
// tells of them, worker.cc is what becomes of a fork.
#ifndef WEFT_ASYNC_MASTER_H
#define WEFT_ASYNC_MASTER_H

#include "worker.h"

#include <base/child.h>
#include <base/leash.h>
#include <weft/loop.h>
#include <weft/workers.h>

namespace weft {

enum { MASTER_SIGNALS = 5 };
inline const int master_signals[MASTER_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

struct master_place;

// A process.  It is in its place's `now` until it shall drain, then only in the master's list.
struct master_worker {
    weft_loop_link link; // in the master's `all`
    struct master *master;
    master_place *place; // nullptr: it drains
    child process;
    weft_child watch; // of its end
    weft_alarm limit; // of its drain
    int number;
    int64_t started;
    leash held; // let go: it was told
    worker_counts *counts;
};

// One of the numbers 0 to n - 1, and who has it.
struct master_place {
    master_worker *now;
    weft_alarm pause;  // armed: until a new one may start
    int64_t pause_ns;  // the next pause
    uint64_t accepted; // by those that have ended
};

struct master {
    weft_loop *loop;
    int (*fn)(void *);
    void *arg;
    weft_workers_options o;
    int *keep; // o.keep, and room for one more
    weft_signal signals[MASTER_SIGNALS];
    weft_alarm watchdog, metrics;
    master_place *places;
    int count;
    weft_loop_link all;
    weft_workers_counters s;
    weft_worker_counters *each; // s.each
    bool stopping, killed, reloading;
};

// ---- Telling ----

void master_tell(const master *m, weft_workers_event e, int number, pid_t pid, int status);

// It has ended, unasked or while it drained, and has been told of.
void master_say_end(const master_worker *w, int status, int64_t pause_ns);

// Gives the metrics callback what holds now.
void master_tell_metrics(master *m);

// ---- The fork ----

// Becomes a worker, for good; what is the master's alone goes.
[[noreturn]] void worker_live(master *m, const master_worker *w, int stop_fd);

} // namespace weft

#endif
