/* process.h: run a function in a child process, as threads run one in a thread.
 *
 *     weft_process_options o = {.name = "renderer", .flags = WEFT_PROCESS_DIE_WITH_PARENT};
 *     weft_process *p = weft_process_start(render, scene, &o);
 *     if (weft_process_join(p, &status, weft_in_s(5)) != 0)
 *         weft_process_kill(p), weft_process_join(p, &status, WEFT_FOREVER);
 *     weft_process_destroy(p);
 *
 * The child is made by fork(2).  **Locks that other threads hold then are locked in it for ever**,
 * but for malloc's and stdio's: start children before threads, or take pool.h.
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
 * exit code.  Standard output and error are flushed before the fork and at the child's end;
 * functions registered with atexit do not run.  Waits until the child runs, and no longer.  The
 * handle is the caller's until weft_process_destroy.  DIE_WITH_PARENT costs a descriptor here.
 * NULL: EINVAL (no fn, unknown flags, keep without CLOSE_OTHERS), EBADF (a negative descriptor in
 * keep), EAGAIN, ENOMEM, EMFILE, ENFILE.  (POSIX fork) */
weft_process *weft_process_start(int (*fn)(void *arg), void *arg, const weft_process_options *opts);

/* Waits until the child has ended; *status (may be NULL) is set as by waitpid(2).  Again any
 * number of times, and by several threads.  In a tasklet of weft_io_run the tasklet waits.
 * -1: ETIMEDOUT, ECANCELED (told to stop, or the tasklet was cancelled), ECHILD (it has ended, but
 * somebody else reaped it or SIGCHLD is ignored: its status is lost). */
int weft_process_join(weft_process *p, int *status, weft_deadline d);

/* 1: it has ended, *status (may be NULL) is set as by join; 0: it has not.  Never waits.
 * -1: ECHILD (it has ended, its status is lost). */
int weft_process_poll(weft_process *p, int *status);

/* Its process id, also when it has ended. */
pid_t weft_process_pid(const weft_process *p);

/* A pidfd: readable when it has ended.  Stays p's.  -1: ENOSYS (a kernel or sandbox without pidfds:
 * the other calls do without). */
int weft_process_fd(const weft_process *p);

/* Sends a signal; to its whole group, if it was started with NEW_GROUP or NEW_SESSION.
 * Never reaches a stranger, whoever has reaped the child.  -1: ESRCH (it has ended and been reaped;
 * of a group: nobody is left), EINVAL (no such signal), EPERM. */
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
