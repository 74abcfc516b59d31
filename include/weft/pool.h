/* pool.h: a pool of worker processes that no death can hang.
 *
 *     static int square(const void *arg, size_t n, void *result, size_t room); // 0 or an errno
 *     weft_pool *p = weft_pool_create(0, NULL);                                // a worker per CPU
 *     weft_result *r = weft_pool_apply_async(p, square, &x, sizeof x, sizeof y, WEFT_NOW);
 *     weft_result_get(r, &y, weft_in_s(5));                // ECHILD: its worker was killed
 *     weft_pool_close(p), weft_pool_join(p, WEFT_FOREVER), weft_pool_destroy(p);
 *
 * Arguments and results are bytes, copied.  A function, and what pointers in its argument mean,
 * must have been there, as it is, when the pool was created: create pools early.
 */
#ifndef WEFT_POOL_H
#define WEFT_POOL_H

#include <weft/result.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_POOL_WORKERS_MAX 1000
#define WEFT_POOL_SLOTS_MAX (1 << 20)

typedef struct weft_pool weft_pool;
typedef struct weft_imap weft_imap;

/* A task, run in a worker: reads n bytes at arg, writes its result's bytes, which are 0 before.
 * Both are aligned to 16 bytes (in a map: the first of a chunk is).  0 or an errno.
 * What it prints to standard output is flushed when it returns. */
typedef int (*weft_pool_fn)(const void *arg, size_t n, void *result, size_t result_size);

/* ---- The pool ---- */

/* Zero means the default, for each. */
typedef struct weft_pool_options {
    int (*initialiser)(void *arg); /* run by each worker before its first task: 0 or an errno */
    void *arg;
    uint32_t tasks_per_child; /* a worker is replaced after so many calls (in a map: at the
                                 end of a chunk); 0: never */
    uint32_t retries;         /* how often a task is run again when its worker died in it */
    int64_t task_ns;          /* how long one call of a task may take; 0: as long as it likes */
    size_t slots;             /* how many tasks (and chunks) may exist at a time, until
                                 their results are released; 0: 16384 */
    size_t memory;            /* bytes for arguments and results that don't fit into their
                                 slots' 192 (the argument rounded up to 16), committed as
                                 used, rounded up to a power of two; 0: 256 MiB */
    const char *name;         /* of the workers, cut to 15 bytes; NULL: as the program */
    bool close_others;        /* workers have the descriptors 0, 1, 2 and `keep` alone */
    const int *keep;
    size_t keep_count;
} weft_pool_options;

/* Forks a supervisor, which forks `workers` processes (0: weft_cpu_count()).  Doesn't wait for
 * them.  When three initialisers have failed in a row the pool ends: EPIPE for all.
 * NULL: EINVAL (workers not in 0 .. WEFT_POOL_WORKERS_MAX, slots above WEFT_POOL_SLOTS_MAX, task_ns
 * negative, keep without close_others), EBADF (keep), EAGAIN, ENOMEM, EMFILE, ENFILE. */
weft_pool *weft_pool_create(int workers, const weft_pool_options *opts);

/* Lets no more tasks in (EPIPE); workers end when all tasks have.  -1: EPERM, as all calls but of
 * the process that created the pool. */
int weft_pool_close(weft_pool *p);

/* Kills the workers.  Tasks that have not ended end with ECANCELED.  Doesn't wait: join. */
int weft_pool_terminate(weft_pool *p);

/* Waits until a closed or terminated pool's processes have ended; runs callbacks meanwhile.
 * Results can still be got.  -1: ETIMEDOUT, ECANCELED, EBUSY (neither closed nor terminated), EPIPE
 * (they have ended, but before their time), EAGAIN, ENOMEM (no worker could be forked). */
int weft_pool_join(weft_pool *p, weft_deadline d);

/* Releases a pool whose processes have ended, and all its results.  -1: EBUSY (they have not, or an
 * imap is open).  NULL is ignored. */
int weft_pool_destroy(weft_pool *p);

/* A descriptor that is readable when tasks have ended since the last weft_pool_dispatch, and when
 * the supervisor has.  Poll it, then call weft_pool_dispatch, then look at results with WEFT_NOW.
 * Never read it.  Made by the first call, and the pool's; from then on each end of a task costs its
 * worker a system call.  -1: ENOSYS (no pidfds here), EMFILE, ENFILE, ENOMEM. */
int weft_pool_fd(weft_pool *p);

/* Calls the callbacks (weft_result_then) of tasks that have ended, after waiting until
 * d for one if there is none.  Returns how many it called; with no callback to wait for, 0 at once.
 * -1: ETIMEDOUT, ECANCELED, EPIPE (the pool has ended, and all callbacks have been called). */
ssize_t weft_pool_dispatch(weft_pool *p, weft_deadline d);

typedef struct weft_pool_counters {
    uint64_t submitted;    /* tasks; in a map, items */
    uint64_t done;         /* of those, ended by their function's return, well or ill */
    uint64_t lost;         /* ended with ECHILD */
    uint64_t timed_out;    /* ended with ETIMEDOUT */
    uint64_t retried;      /* times that a task was begun again after a death */
    uint64_t forked;       /* workers so far */
    uint64_t deaths;       /* of those, ended otherwise than at their time */
    size_t pending;        /* tasks and chunks that wait for a worker, now */
    int workers;           /* places for workers */
    int alive;             /* workers that live, now */
    int busy;              /* and that are in a task */
    int initialiser_error; /* the last initialiser's; ECHILD: it died; 0: fine */
    int fork_error;        /* EAGAIN, ENOMEM: the last try to fork a worker failed; 0: fine */
    pid_t supervisor;
} weft_pool_counters;

/* How it stands; the numbers are taken one after the other while work goes on. */
int weft_pool_statistics(weft_pool *p, weft_pool_counters *s);

/* The process in one of the `workers` places, from 0: its id, and whether it is in a task.
 * It may be gone when the caller reads this.  -1: EINVAL (no such place), ESRCH (it is empty). */
pid_t weft_pool_worker(weft_pool *p, size_t place, bool *busy);

/* ---- One task ---- */

/* Queues fn(arg, n) with room for result_size bytes, copies arg, and returns its result, to be
 * ended by weft_result_get or weft_result_release.  Waits until d for a slot and memory.
 * NULL: ETIMEDOUT (all slots or all memory in use), ECANCELED, EMSGSIZE (more than the pool's
 * memory could ever hold), EPIPE (closed, terminated, or its supervisor dead), EINVAL (no fn, no
 * arg for n bytes). */
weft_result *weft_pool_apply_async(weft_pool *p, weft_pool_fn fn, const void *arg, size_t n,
                                   size_t result_size, weft_deadline d);

/* Both in one: runs fn in a worker and waits for its result.  A task that has not ended at d is
 * given up: cancelled if it had not begun, else it goes on unheard.  Errors as
 * weft_pool_apply_async and weft_result_get. */
int weft_pool_apply(weft_pool *p, weft_pool_fn fn, const void *arg, size_t n, void *result,
                    size_t result_size, weft_deadline d);

/* ---- Many tasks ---- */

/* Zero means the default, for each. */
typedef struct weft_pool_map_options {
    size_t chunk;           /* items that a worker takes at a time; 0: as fits */
    bool unordered;         /* imap: results as they come */
    weft_outcome *outcomes; /* map: not NULL: n places for how each item ended */
} weft_pool_map_options;

/* Calls fn in the workers once for each of n items of item_size bytes, waits for all, and puts
 * their results of result_size bytes side by side into results, where 0 bytes stand for an item
 * that failed.  Chunks are the unit of copying, not of failure: a death costs the one item it
 * happened in, and a retry runs that one item again.
 * 0: all ended with 0; -1: the errno of the first item that did not; ETIMEDOUT, ECANCELED: also
 * when d came first: what had not begun was cancelled, what runs goes on unheard, and outcomes tell
 * ETIMEDOUT for it.  EINVAL, EMSGSIZE, EPIPE: as weft_pool_apply_async. */
int weft_pool_map(weft_pool *p, weft_pool_fn fn, const void *items, size_t item_size, size_t n,
                  void *results, size_t result_size, const weft_pool_map_options *opts,
                  weft_deadline d);

/* Begins the same and hands the results out one by one, in the items' order or, if so asked, as
 * they come.  Only a few chunks for each worker are in the pool at a time; items must stay until
 * the end.  Never waits.  NULL: EINVAL, EMSGSIZE, EPIPE, ENOMEM. */
weft_imap *weft_pool_imap(weft_pool *p, weft_pool_fn fn, const void *items, size_t item_size,
                          size_t n, size_t result_size, const weft_pool_map_options *opts);

/* The next result: 1, with its bytes (of an item that ended with 0), the item's index, and how it
 * ended in *outcome; each pointer may be NULL.  0: that was all.  -1: ETIMEDOUT, ECANCELED: of the
 * wait; call again. */
int weft_imap_next(weft_imap *it, void *result, size_t *index, weft_outcome *outcome,
                   weft_deadline d);

/* Ends it, at any time; what has not begun is cancelled.  NULL is ignored. */
int weft_imap_destroy(weft_imap *it);

#ifdef __cplusplus
}
#endif

#endif
