/* thread.h: threads that have names, deadlines and a polite way to stop them.
 *
 *     weft_thread_options o = {.name = "reader"};
 *     weft_thread *t = weft_thread_start(read_all, file, &o);
 *     weft_thread_stop(t);
 *     if (weft_thread_join(t, &result, weft_in_s(5)) != 0)
 *         perror("reader");
 *
 * Threads are pthreads (POSIX.1-2017, XBD 3): what works with a pthread works with them.
 */
#ifndef WEFT_THREAD_H
#define WEFT_THREAD_H

#include <weft/deadline.h>

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The longest name that a thread can have, in bytes: Linux keeps no more. */
#define WEFT_THREAD_NAME_MAX 15

typedef struct weft_thread weft_thread;

/* Zero means the default, for each. */
typedef struct weft_thread_options {
    const char *name;  /* shown by ps -L, top -H and gdb; cut to WEFT_THREAD_NAME_MAX bytes */
    size_t stack_size; /* bytes, rounded up to whole pages; 0: what ulimit -s says */
    const int *cpus;   /* the processors it may run on; NULL: those of its creator */
    size_t cpu_count;  /* how many `cpus` holds */
    bool detached;     /* nobody will join it; it is released when it ends */
    int policy;        /* with `priority` as weft_thread_set_priority takes them; both 0: */
    int priority;      /* those of its creator */
} weft_thread_options;

/* Runs fn(arg) in a new thread.  `opts` may be NULL; all it points to is copied.
 * The handle is the caller's until a join succeeds or it is detached.  Doesn't wait.
 * NULL: EINVAL (no fn, the stack's size, `cpus` without one that exists, no such priority), EPERM
 * (a priority that isn't allowed), EAGAIN (limits on threads), ENOMEM.  (POSIX pthread_create) */
weft_thread *weft_thread_start(void *(*fn)(void *), void *arg, const weft_thread_options *opts);

/* Waits until `t` has ended, stores what its function returned in *result (unless NULL), and
 * releases `t`: the last does, where several wait.  After an error it can be joined again.  A
 * cancellation point.
 * -1: ETIMEDOUT, ECANCELED (the caller was told to stop), EDEADLK (its own thread), ESRCH (`t` ran
 * in the parent of this forked child), EINVAL (NULL, detached, joined already).
 * (POSIX pthread_join) */
int weft_thread_join(weft_thread *t, void **result, weft_deadline d);

/* Lets `t` release itself when it ends: the handle is no longer the caller's.
 * -1: EBUSY (somebody is joining it), EINVAL (as for join).  (POSIX pthread_detach) */
int weft_thread_detach(weft_thread *t);

/* Asks `t` to stop: weft_thread_stopping() is true in it from now on, and each of
 * weft's waits in it, the present one and all later ones, fails with ECANCELED where
 * it would have to sleep, but for those of mutexes and rwlocks.  Waits until a sleeping `t` has
 * noticed (tens of microseconds).  -1: EINVAL (NULL, or joined already). */
int weft_thread_stop(weft_thread *t);

/* Whether the calling thread was told to stop.  False in threads weft didn't start. */
bool weft_thread_stopping(void);

/* Sleeps until `d`.  -1: ECANCELED (told to stop). */
int weft_thread_sleep(weft_deadline d);

/* The calling thread's handle; NULL in the main thread and others weft didn't start. */
weft_thread *weft_thread_self(void);

/* Copies the name of `t` (NULL: the calling thread, whoever started it).
 * 16 bytes are always enough.  -1: ERANGE (`room` is too small), EINVAL. */
int weft_thread_name(weft_thread *t, char *name, size_t room);

/* Names the calling thread; cuts the name to WEFT_THREAD_NAME_MAX bytes, and never
 * inside a UTF-8 character.  -1: EINVAL (NULL). */
int weft_thread_set_name(const char *name);

/* The kernel's thread id, as gettid(2), of `t` (NULL: the calling thread).
 * -1: ESRCH (it has ended), EINVAL. */
pid_t weft_thread_id(weft_thread *t);

/* How the kernel schedules `t` (NULL: the calling thread, whoever started it), as sched(7) has it:
 * SCHED_FIFO or SCHED_RR (sched.h) with a `priority` from 1 to 99; SCHED_OTHER or SCHED_BATCH with
 * a nice value from -20 to 19, the thread's own; or SCHED_IDLE with 0.  -1, and all is as before:
 * ESRCH (it has ended), EINVAL (no such priority), EPERM (it isn't allowed).
 * (POSIX pthread_setschedparam) */
int weft_thread_set_priority(weft_thread *t, int policy, int priority);
int weft_thread_priority(weft_thread *t, int *policy, int *priority);

/* One row a thread that weft started and that has not ended. */
typedef struct weft_thread_information {
    weft_thread *thread; /* to be compared: it may have ended since */
    pid_t id;            /* as weft_thread_id; 0: it has not begun to run */
    bool detached;
    bool stopping;                       /* it was told to stop */
    char name[WEFT_THREAD_NAME_MAX + 1]; /* "": never named */
} weft_thread_information;

/* Fills up to `room` rows, youngest record first, and returns how many threads there are.  Doesn't
 * wait.  (Python threading.enumerate) */
size_t weft_thread_list(weft_thread_information *to, size_t room);

/* How many processors this process can really use: those it may run on (sched_getaffinity), and no
 * more than its cgroups' quota.  At least 1.  Reads files each time: keep the answer. */
int weft_cpu_count(void);

/* A slot that holds one pointer per thread.  init makes the slot (each thread's
 * value is NULL); `destructor`, if any, is called at a thread's end with its value,
 * unless that is NULL.  destroy forgets the slot and calls no destructors.
 * No thread waits here.  init -1: EAGAIN (PTHREAD_KEYS_MAX slots exist), ENOMEM;
 * set -1: ENOMEM; set, destroy -1: EINVAL (not initialised).  (POSIX pthread_key_create) */
typedef struct weft_slot {
    pthread_key_t key;
    int ready;
} weft_slot;

int weft_slot_init(weft_slot *s, void (*destructor)(void *value));
int weft_slot_set(weft_slot *s, const void *value);
void *weft_slot_get(const weft_slot *s); /* NULL when never set, or not initialised */
int weft_slot_destroy(weft_slot *s);

#ifdef __cplusplus
}
#endif

#endif
