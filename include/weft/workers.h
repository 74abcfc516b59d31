/* workers.h: a master process, and the worker processes that it keeps running.
 *
 *     static int serve(void *listener); // returns after weft_worker_stop_fd() is readable
 *
 *     return weft_workers_run(4, serve, &listener, NULL) == 0 ? 0 : 1;
 *
 * The master's signals: SIGTERM and SIGINT stop: the workers drain; again: they are killed.  SIGHUP
 * reloads: new workers, then the old ones drain.  SIGUSR1 and SIGUSR2 are passed on.  Workers,
 * which are forks of it, ignore all five. */
#ifndef WEFT_WORKERS_H
#define WEFT_WORKERS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What weft_workers_options.tell is told. */
typedef enum weft_workers_event {
    WEFT_WORKERS_STARTED,   /* a worker runs */
    WEFT_WORKERS_ENDED,     /* it ended with `status`, as waitpid(2) has it */
    WEFT_WORKERS_KILLED,    /* it was not done in time: it is being killed */
    WEFT_WORKERS_RELOADING, /* SIGHUP: number and pid are -1 */
    WEFT_WORKERS_STOPPING,  /* SIGTERM or SIGINT: number and pid are -1 */
    WEFT_WORKERS_FAILED,    /* fork failed with errno `status`; it is tried again */
    WEFT_WORKERS_EARLY      /* comes before ENDED: it did so unasked, in its first second */
} weft_workers_event;

/* Of those that have had a number, all in all. */
typedef struct weft_worker_counters {
    pid_t pid;           /* who has it; -1: nobody for now */
    int last_status;     /* of the last that ended unasked, as waitpid(2) has it; -1: none has */
    uint64_t starts;     /* how many have had it */
    uint64_t restarts;   /* how many of these ended unasked, and so were replaced */
    uint64_t early;      /* ... in their first second */
    uint64_t accepted;   /* connections that have begun */
    int64_t connections; /* ... and have not ended, those of who drains among them */
} weft_worker_counters;

typedef struct weft_workers_counters {
    int workers;                      /* how many numbers there are */
    int draining;                     /* processes, besides those that have the numbers */
    uint64_t reloads, killed, failed; /* how often: SIGHUP, WEFT_WORKERS_KILLED, _FAILED */
    weft_worker_counters all;         /* the sums; the master's pid */
    const weft_worker_counters *each; /* of each number */
} weft_workers_counters;

/* weft_workers_options.flags */
enum {
    WEFT_WORKERS_CLOSE_OTHERS = 1 /* in a worker all descriptors but 0, 1, 2 and `keep` are closed:
                                     name the listeners there */
};

typedef struct weft_workers_options {
    int64_t drain_ns; /* how long a worker may drain; 0: 30 s */
    /* A worker that ends unasked is replaced.  One that lived for less than a second, only after
     * a pause, which doubles each time up to the limit. */
    int64_t pause_ns;     /* the first pause; 0: 100 ms */
    int64_t pause_max_ns; /* the limit; 0: 10 s */
    /* Called in the master.  NULL: a line on standard error for each that ends unasked, or with
     * another status than 0, or does not start. */
    void (*tell)(weft_workers_event e, int number, pid_t pid, int status, void *arg);
    int flags;       /* WEFT_WORKERS_... */
    const int *keep; /* descriptors that CLOSE_OTHERS leaves open, in any order */
    size_t keep_count;
    /* Called in the master each metrics_ns (0: 10 s), and when all have ended. */
    void (*metrics)(const weft_workers_counters *s, void *arg);
    int64_t metrics_ns;
    void *arg; /* of tell and metrics */
} weft_workers_options;

/* Keeps `workers` processes running, each of which calls fn(arg) and exits with what it returns,
 * until SIGTERM or SIGINT, and waits until all have ended.  It forks: call it before starting
 * threads.  Listening sockets are opened before, and stay the master's.
 * 0: stopped, all drained.  -1: ETIMEDOUT: stopped, some were killed; EINVAL: workers below 1, no
 * fn, an option below 0, unknown flags, keep without CLOSE_OTHERS; EBADF: a negative descriptor in
 * keep; EAGAIN, EMFILE, ENFILE, ENOMEM: it could not begin; ENOSYS: no pidfds. */
int weft_workers_run(int workers, int (*fn)(void *arg), void *arg,
                     const weft_workers_options *opts);

/* In a worker: a descriptor that is readable from when it shall drain (don't read it, only wait
 * for it).  -1 and EPERM: not in a worker. */
int weft_worker_stop_fd(void);

/* In a worker: which of them it is, from 0; its replacement has the same.  -1 and EPERM: not in a
 * worker. */
int weft_worker_number(void);

/* In a worker: so many connections begin or, below 0, end; for the master's metrics.
 * weft_io_serve counts its own.  Any thread.  0; -1 and EPERM: not in a worker. */
int weft_worker_connections(int by);

#ifdef __cplusplus
}
#endif

#endif
