// work.h: the parts of `weft-processes work`: its options and loop, and how one job is run.
#ifndef WEFT_DEMO_WORK_H
#define WEFT_DEMO_WORK_H

#include <weft/remote_jobs.h>

// What the command line says, and what signals have said since.
struct work_order {
    char *const *words; // of the command; nullptr: each job is one
    int64_t lease_ns;
    long output; // bytes that are kept of a job's
    bool quiet;
    bool draining; // atomic
    weft_deadline
        last; // atomic: commands are to end, and until then that is told; WEFT_FOREVER: not
};

extern work_order work;

enum work_end { WORK_DONE, WORK_FAILED, WORK_LOST, WORK_UNDONE };

// Runs a job, and tells the queue how it ended.
work_end work_run(weft_remote_jobs *q, const weft_remote_job *j);

#endif
