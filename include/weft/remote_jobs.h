/* remote_jobs.h: work that spreads over machines: a queue of jobs that a manager, or Redis, holds.
 *
 *     weft_remote_jobs *q = weft_remote_jobs_open(c, "mail", NULL);
 *     weft_remote_jobs_put(q, "hello", 5, NULL, NULL, weft_in_s(1));
 *
 *     weft_remote_job *j = weft_remote_jobs_take(q, WEFT_FOREVER); // a worker, on any machine
 *     weft_remote_jobs_done(q, j->id, j->token, "sent", 4, weft_in_s(1));
 *     weft_remote_job_free(j);
 */
#ifndef WEFT_REMOTE_JOBS_H
#define WEFT_REMOTE_JOBS_H

#include <weft/remote.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The queue ----
 *
 * A job runs at least once: who takes it has it on lease, and if the lease ends before the job,
 * with its worker or its machine, another gets it.  So a job may run twice, but of all that took it
 * only the last, which has the greatest token, can end it.
 *
 * Errors are as in weft/client.h, besides
 *   EPERM   the lease is over: the job is another's, or has ended; what was done for it may be done
 *           again
 *   ENOENT  there is no such job (any more)
 */
typedef weft_remote weft_remote_jobs;

#define WEFT_JOBS_TIED 1 /* a lease ends with the connection, too: weft's server only */

typedef struct weft_remote_jobs_options {
    int64_t lease_ns;   /* how long a take or a heartbeat holds a job; 0: 30 s */
    const char *worker; /* who takes; NULL: "HOST:PID" */
    int flags;
    /* For what is put: */
    int retries;        /* how many tries may follow the first; 0: 3; below 0: none */
    int64_t backoff_ns; /* before the second try, and twice as long each time; 0: 1 s; below 0:
                         * none */
    int64_t keep_ns;    /* how long results and dead letters stay; 0: a day */
    size_t keep;        /* the most results, and the most dead letters, that stay; the oldest go
                         * first; 0: 100,000 */
} weft_remote_jobs_options;

/* A proxy (weft/remote.h): those of one name are one queue, whatever their options.  `opts` may be
 * NULL.  EINVAL. */
weft_remote_jobs *weft_remote_jobs_open(weft_client *c, const char *name,
                                        const weft_remote_jobs_options *opts);

typedef struct weft_remote_job_options {
    int64_t delay_ns; /* not before */
    int priority;     /* greater ones first; equals in the order in which they were put */
    int retries;      /* as above; 0: the queue's */
    int64_t limit_ns; /* the longest a try may take: its lease ends then; 0: not bounded */
    /* While a job with this key is known, waiting, running, ended and kept, it is the one: a second
     * is not put.  So a put that failed and may have been done can be repeated.  NULL: none. */
    const char *key;
} weft_remote_job_options;

/* Puts n bytes.  *id, unless NULL: the job's, above 0.  0; 1: its key was there, *id is that
 * job's. */
int weft_remote_jobs_put(weft_remote_jobs *q, const void *v, size_t n,
                         const weft_remote_job_options *opts, int64_t *id, weft_deadline d);

/* Whether takes wait although there are jobs; what runs goes on. */
int weft_remote_jobs_pause(weft_remote_jobs *q, bool paused, weft_deadline d);

/* ---- Workers ---- */

enum {
    WEFT_JOB_WAITING = 1,
    WEFT_JOB_DELAYED, /* until its time, or until it is tried again */
    WEFT_JOB_RUNNING,
    WEFT_JOB_DONE,
    WEFT_JOB_DEAD /* it failed too often: a dead letter */
};

typedef struct weft_remote_job weft_remote_job;
struct weft_remote_job {
    int64_t id;
    int64_t token; /* of its last take; greater than all before */
    int state, priority;
    int tries, retries; /* takes so far; how many may follow the first */
    int64_t limit_ns;
    int64_t since_ns, until_ns; /* on the wall clock: of this state; 0: no end */
    int64_t progress;
    size_t size, outcome_size;
    const char *value;   /* `size` bytes, and a 0 after them; so are those below */
    const char *worker;  /* who took it last */
    const char *note;    /* what the worker said of its progress */
    const char *outcome; /* the result, or the last error */
    const char *key;
    const weft_remote_job *next; /* of a list; NULL: the last */
};

/* Takes the first job, on lease; waits for one, first come first served.  To be freed. */
weft_remote_job *weft_remote_jobs_take(weft_remote_jobs *q, weft_deadline d);

/* Frees a job and those after it, in a list from its first.  NULL is ignored. */
void weft_remote_job_free(weft_remote_job *j);

/* Extends the lease, which lasts as long from now as at first, but no longer than the time limit;
 * and says how far the job has come: `note` may be NULL.  EPERM. */
int weft_remote_jobs_heartbeat(weft_remote_jobs *q, int64_t id, int64_t token, int64_t progress,
                               const char *note, weft_deadline d);

/* The job is done; its result is kept.  Once: repeated with the same token it is 0 again.  EPERM.
 */
int weft_remote_jobs_done(weft_remote_jobs *q, int64_t id, int64_t token, const void *result,
                          size_t n, weft_deadline d);

#define WEFT_JOB_AGAIN 0  /* after a while; too often, and it is a dead letter */
#define WEFT_JOB_NEVER 1  /* it is a dead letter at once */
#define WEFT_JOB_UNDONE 2 /* it was not tried: at once, for others */

/* The try has failed.  1: it will be tried again; 0: it is a dead letter.  EPERM. */
int weft_remote_jobs_fail(weft_remote_jobs *q, int64_t id, int64_t token, int how,
                          const char *error, weft_deadline d);

/* ---- What became of them ---- */

/* What is known of a job.  To be freed.  ENOENT. */
weft_remote_job *weft_remote_jobs_get(weft_remote_jobs *q, int64_t id, weft_deadline d);

/* Waits until all n jobs are done or dead.  ENOENT: one of them is not known (any more). */
int weft_remote_jobs_wait(weft_remote_jobs *q, const int64_t ids[], size_t n, weft_deadline d);

/* Up to n jobs in a state, by the time when they came into it; those behind the job `after` of the
 * same state, 0: from the first.  The first of a list, to be freed; ENOENT: there are none. */
weft_remote_job *weft_remote_jobs_list(weft_remote_jobs *q, int state, int64_t after, size_t n,
                                       weft_deadline d);

/* A dead letter is tried again as if it were new; 1: it waits, 0: it was not dead.  ENOENT. */
int weft_remote_jobs_retry(weft_remote_jobs *q, int64_t id, weft_deadline d);

/* Forgets a job, whatever its state: its lease, if it has one, is over.  ENOENT. */
int weft_remote_jobs_remove(weft_remote_jobs *q, int64_t id, weft_deadline d);

typedef struct weft_remote_jobs_counters {
    int64_t waiting, delayed, running, done, dead; /* now */
    bool paused;
    int64_t put, taken, ended, failed, lost; /* so far: jobs put; takes, but those given back
                                              * (UNDONE); jobs done, tries failed, leases that
                                              * ended before the job */
} weft_remote_jobs_counters;

int weft_remote_jobs_statistics(weft_remote_jobs *q, weft_remote_jobs_counters *counters,
                                weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
