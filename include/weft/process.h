/* process.h: run a function in a child process, as threads run one in a thread.
 *
 *     weft_process_options o = {.name = "renderer", .flags = WEFT_PROCESS_DIE_WITH_PARENT};
 *     weft_process *p = weft_process_start(render, scene, &o);
 *     if (weft_process_join(p, &status, weft_in_s(5)) != 0)
 *         weft_process_kill(p), weft_process_join(p, &status, WEFT_FOREVER);
 *     weft_process_destroy(p);
 *
 * The child is a fork(2) of this process: it has a copy of all memory and the same
 * shared memory, descriptors, signal handlers and mask, and one thread, the copy of the
 * caller.  **If this process has other threads**, the child finds each lock that one of
 * them held at that moment locked for ever.  glibc makes good malloc, stdio and its own
 * locks; for all others, start children before threads, or let the child only
 * make calls that are async-signal-safe (signal-safety(7)).  pool.h forks all its workers from
 * one process without threads.
 *
 * Any thread may use a weft_process, several at a time, except while it is destroyed.
 * Calls return 0, or -1 with errno set.
 */
#ifndef WEFT_PROCESS_H
#define WEFT_PROCESS_H

#include <weft/deadline.h>

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* options.flags */
enum {
    WEFT_PROCESS_NEW_SESSION = 1,     /* setsid(2): a session and group of its own, no terminal */
    WEFT_PROCESS_NEW_GROUP = 2,       /* a process group of its own; signals from the calls here
                                         then reach all of it */
    WEFT_PROCESS_DIE_WITH_PARENT = 4, /* SIGKILL, for the group that it leads, as soon as this
                                         process (not: this thread) has ended, in whatever way, or
                                         executes a program */
    WEFT_PROCESS_CLOSE_OTHERS = 8     /* all descriptors but 0, 1, 2 and `keep` are closed */
};

/* Zero means the default, for each. */
typedef struct weft_process_options {
    const char *name; /* shown by ps and top; cut to 15 bytes */
    int flags;        /* WEFT_PROCESS_... */
    const int *keep;  /* descriptors that CLOSE_OTHERS leaves open, in any order */
    size_t keep_count;
} weft_process_options;

typedef struct weft_process weft_process;

/* Runs fn(arg) in a child process, which ends with the low 8 bits of what fn returns as its
 * exit code.  Standard output and error are flushed before the fork and at the child's
 * end; functions registered with atexit do not run.  Doesn't wait.  The handle is the
 * caller's, to be ended by weft_process_destroy.
 * In the child, weft's thread calls take the caller for a main thread.
 * DIE_WITH_PARENT holds a pipe here until the child is joined; what the child executes ends in
 * the same way.
 * A start waits until the child runs, so that its pidfd is surely its own.
 * NULL: EINVAL (no fn, unknown flags, keep without CLOSE_OTHERS), EBADF (a negative descriptor in
 * keep), EAGAIN, ENOMEM, EMFILE, ENFILE.  (POSIX fork) */
weft_process *weft_process_start(int (*fn)(void *arg), void *arg, const weft_process_options *opts);

/* Waits until the child has ended; *status (may be NULL) is set as by waitpid(2).  Again any
 * number of times, and by several threads.  A stop of the calling thread
 * (weft_thread_stop) is noticed within 50 ms.  In a tasklet of weft_io_run the tasklet waits.
 * -1: ETIMEDOUT, ECANCELED (told to stop, or the tasklet was cancelled), ECHILD (it has ended, but
 * somebody else reaped it or SIGCHLD is ignored: its status is lost), EINVAL (NULL). */
int weft_process_join(weft_process *p, int *status, weft_deadline d);

/* 1: it has ended, *status (may be NULL) is set as by join; 0: it has not.  Never waits.
 * -1: ECHILD (it has ended, its status is lost), EINVAL (NULL). */
int weft_process_poll(weft_process *p, int *status);

/* Its process id, also when it has ended.  -1: EINVAL (NULL). */
pid_t weft_process_pid(const weft_process *p);

/* A pidfd: readable when it has ended.  Stays p's.  -1: EINVAL (NULL), ENOSYS (a kernel or sandbox
 * without pidfds: the other calls do without). */
int weft_process_fd(const weft_process *p);

/* Sends a signal; to its whole group, if it was started with NEW_GROUP or NEW_SESSION.
 * Never reaches a stranger, whoever has reaped the child.  -1: ESRCH (it has ended and been reaped;
 * of a group: nobody is left), EINVAL (NULL, no such signal), EPERM. */
int weft_process_send_signal(weft_process *p, int signal);

/* SIGTERM, which it may catch; SIGKILL, which it may not. */
int weft_process_terminate(weft_process *p);
int weft_process_kill(weft_process *p);

/* Releases the handle.  -1: EBUSY (it has not ended: join it).  NULL is ignored. */
int weft_process_destroy(weft_process *p);

#ifdef __cplusplus
}
#endif

#endif
