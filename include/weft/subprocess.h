/* subprocess.h: run a program, feed it, read it, end it.  The whole contract: weft_subprocess(3).
 *
 *     weft_subprocess_options o = {.out = {.kind = WEFT_STREAM_PIPE}};
 *     weft_subprocess_result r;
 *     if (weft_subprocess_run(argv, &o, &r, weft_in_s(5)) == 0)
 *         fwrite(r.out.data, 1, r.out.size, stdout);
 *     weft_subprocess_result_free(&r);
 *
 * A handle belongs to one thread at a time.  Each wait fails with ECANCELED, too, in a thread that
 * was told to stop and in a cancelled tasklet of weft_io_run.
 */
#ifndef WEFT_SUBPROCESS_H
#define WEFT_SUBPROCESS_H

#include <weft/deadline.h>
#include <weft/sink.h>

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/select.h> /* sigset_t, which strict -std=c11 hides in signal.h */
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Options ---- */

/* Where a standard stream of the child comes from or goes to. */
enum weft_stream_kind {
    WEFT_STREAM_INHERIT,  /* ours, also when it is closed */
    WEFT_STREAM_PIPE,     /* a pipe to us */
    WEFT_STREAM_NULL,     /* /dev/null */
    WEFT_STREAM_FD,       /* .fd, which stays ours */
    WEFT_STREAM_READ,     /* input: the file .path */
    WEFT_STREAM_TRUNCATE, /* output: the file .path, created (0666 & ~umask) or emptied */
    WEFT_STREAM_APPEND,   /* output: the same, but written at its end */
    WEFT_STREAM_STDOUT,   /* error output: where standard output goes */
    WEFT_STREAM_PTY       /* a pseudo-terminal, one for all that have this */
};

typedef struct weft_stream {
    int kind;
    int fd;
    const char *path;      /* opened (a FIFO waits) by this process, in our directory */
    const weft_sink *sink; /* of an output through a pipe: NULL is all zero */
} weft_stream;

typedef struct weft_limit {
    int resource; /* RLIMIT_NOFILE, ... */
    struct rlimit limit;
} weft_limit;

/* A descriptor of ours that the child has by another number, or the same. */
typedef struct weft_descriptor {
    int fd, as; /* as: 3 and up */
} weft_descriptor;

/* options.flags */
enum {
    WEFT_SUBPROCESS_NEW_SESSION = 1,     /* setsid(2): a session and group of its own */
    WEFT_SUBPROCESS_DIE_WITH_PARENT = 2, /* SIGKILL, for the group that it leads, when this process
                                            ends or executes another program */
    WEFT_SUBPROCESS_SET_UMASK = 4,       /* .umask counts */
    WEFT_SUBPROCESS_SET_UID = 8,         /* .uid counts: real, effective and saved */
    WEFT_SUBPROCESS_SET_GID = 16,        /* .gid counts, the same */
    WEFT_SUBPROCESS_TREE = 32,           /* all that descend from it end with it; a start costs as
                                            much as fork(2) */
    WEFT_SUBPROCESS_SCRIPTS = 64,        /* /bin/sh runs what is neither a program nor has a #! */
    WEFT_SUBPROCESS_FOREGROUND = 128     /* it has our terminal until its end is seen; not with
                                            NEW_SESSION or TREE */
};

/* options.process_group: a new one, which the child leads; ours, with a deadline, too. */
#define WEFT_GROUP_NEW (-1)
#define WEFT_GROUP_OURS (-2)

/* options.kill_after_ns, if 0. */
#define WEFT_KILL_AFTER_NS INT64_C(1000000000)

/* All zero: inherit everything. */
typedef struct weft_subprocess_options {
    weft_stream in, out, err;

    /* For the run calls: what to feed it; `in` is then a pipe whatever it says. */
    const void *input;
    size_t input_size;

    const char *file;       /* what to execute, if not argv[0]; no '/' in it: looked up in PATH */
    const char *cwd;        /* the child's directory; a relative `file` starts there */
    const char *const *env; /* "NAME=value"..., NULL: instead of our environment */
    const char *const *env_add;   /* then set these (of one name the last) ... */
    const char *const *env_unset; /* ... after removing these names */
    unsigned short rows, columns; /* of a pseudo-terminal; 0: 24, 80 */
    const int *pass;              /* descriptors (3 and up) the child has too, same number */
    size_t pass_count;
    const weft_descriptor *map; /* the same by other numbers, all at once: 3 and 4 may be swapped */
    size_t map_count;

    int flags; /* WEFT_SUBPROCESS_... */

    /* WEFT_GROUP_NEW, WEFT_GROUP_OURS, or one to join.  0: ours; but a call that starts, ends and
     * has a deadline makes a new one, unless we are the foreground of a terminal. */
    pid_t process_group;

    /* At a deadline of such a call (and of weft_pclose): the time from SIGTERM to SIGKILL.  0:
     * WEFT_KILL_AFTER_NS; below 0: SIGKILL at once. */
    int64_t kill_after_ns;

    mode_t umask;
    uid_t uid; /* -1, as of a failed lookup: EINVAL */
    gid_t gid;
    const gid_t *groups; /* not NULL: the supplementary groups, group_count may be 0 */
    size_t group_count;
    int nice;        /* added to our niceness */
    const int *cpus; /* not NULL: the processors it may run on */
    size_t cpu_count;
    const weft_limit *limits; /* setrlimit(2) */
    size_t limit_count;

    const sigset_t *signal_mask;    /* NULL: nothing blocked */
    const sigset_t *signal_default; /* to their default action */
    const sigset_t *signal_ignore;  /* ignored (stronger than signal_default) */

    /* After the child has ended, how long communicate still reads from a pipe that some
     * grandchild keeps open.  0: until the deadline. */
    int64_t grace_ns;

    /* Runs in the child just before exec, on a copy of our memory: async-signal-safe calls only if
     * this process has threads.  Not 0: start fails with its errno, ECANCELED if that is 0. */
    int (*callback)(void *arg);
    void *arg;

    int *stage; /* not NULL: what failed, a WEFT_STAGE_..., or WEFT_STAGE_NONE */

    /* Not NULL, for a pipeline that could not be started: which program, from 0. */
    size_t *program;
} weft_subprocess_options;

/* What a start was doing when it failed. */
enum weft_stage {
    WEFT_STAGE_NONE,
    WEFT_STAGE_PREPARE, /* arguments, memory */
    WEFT_STAGE_STREAMS, /* opening and placing the standard streams, pass */
    WEFT_STAGE_SPAWN,   /* clone, fork */
    WEFT_STAGE_DIRECTORY,
    WEFT_STAGE_SESSION, /* session, process group */
    WEFT_STAGE_LIMITS,  /* resource limits, nice, processors */
    WEFT_STAGE_GROUPS,
    WEFT_STAGE_GID,
    WEFT_STAGE_UID,
    WEFT_STAGE_PARENT, /* die with parent: no descriptors for that; it was gone already */
    WEFT_STAGE_CALLBACK,
    WEFT_STAGE_EXEC
};

/* "exec", "chdir", ...: for messages.  Static. */
const char *weft_stage_name(int stage);

/* ---- One child ---- */

typedef struct weft_subprocess weft_subprocess;

/* Starts argv[0] (looked up in the PATH of the child's environment) with argv.  Waits until the
 * child has executed it.  What opts points at may go away afterwards.  End it with
 * weft_subprocess_destroy.  EINVAL: no argv[0], options that contradict each other; EBADF: a
 * descriptor that isn't open; else the failing stage's: ENOENT, EACCES, EMFILE, EAGAIN, ... */
weft_subprocess *weft_subprocess_start(const char *const argv[],
                                       const weft_subprocess_options *opts);

/* Closes its pipes and frees it.  EBUSY: it has not ended (end or join it).  NULL is fine. */
int weft_subprocess_destroy(weft_subprocess *p);

pid_t weft_subprocess_pid(const weft_subprocess *p);

/* A pidfd: readable when the child has ended.  Stays p's; do not read or close it.
 * ENOSYS: a kernel (or sandbox) without pidfds. */
int weft_subprocess_fd(const weft_subprocess *p);

/* Waits until it has ended.  *status (may be NULL) as from waitpid(2), for weft_status_code and the
 * like; again any number of times.  ETIMEDOUT; ECHILD: it has ended, but its status is lost. */
int weft_subprocess_join(weft_subprocess *p, int *status, weft_deadline d);

/* 1: ended, *status set; 0: still running; -1 with ECHILD: ended, status lost. */
int weft_subprocess_poll(weft_subprocess *p, int *status);

/* Waits until one of ps[0..n-1] has ended (NULL entries don't count) and returns its index; a
 * weft_subprocess_join of it then returns at once.  ETIMEDOUT; EINVAL: all NULL. */
ssize_t weft_subprocess_join_any(weft_subprocess *const ps[], size_t n, weft_deadline d);

/* ---- Its streams ---- */

/* Writes `in` to its standard input and closes that, reads both outputs to their ends, and joins
 * it, all at once and any amount.  in NULL: nothing; out or err NULL: read and dropped.  Appends to
 * the buffers.  0: all done; 1: the child ended, but its grace (options) ran out with a pipe still
 * held open.  ETIMEDOUT: the same call again goes on where it stopped.  EINVAL: input for a child
 * without an input pipe; ENOMEM; ECHILD: all done but the status; a sink's. */
int weft_subprocess_communicate(weft_subprocess *p, const void *in, size_t n, weft_buffer *out,
                                weft_buffer *err, weft_deadline d);

/* Our end of its pipe for stream 0, 1 or 2.  Stays p's.  It may be non-blocking.
 * EBADF: no such pipe, or closed. */
int weft_subprocess_stream(const weft_subprocess *p, int stream);

/* Reads up to n bytes of its stream 1 or 2; waits for the first.  0: end.  EBADF, ETIMEDOUT. */
ssize_t weft_subprocess_read(weft_subprocess *p, int stream, void *bytes, size_t n,
                             weft_deadline d);

/* Writes all n bytes to its standard input.  Fewer: the deadline or an error struck in between
 * (errno says which).  EPIPE: nobody reads (no SIGPIPE is left behind); EBADF, ETIMEDOUT. */
ssize_t weft_subprocess_write(weft_subprocess *p, const void *bytes, size_t n, weft_deadline d);

/* Closes our end: the child sees the end of its input.  EBADF as above. */
int weft_subprocess_close(weft_subprocess *p, int stream);

/* ---- Ending it ---- */

/* Sends a signal to the child alone.  ESRCH: it has ended and was waited for. */
int weft_subprocess_send_signal(weft_subprocess *p, int signal);

/* Sends a signal to its whole process group.  EPERM: it was not started as a leader.  ESRCH:
 * nobody is left in it; before Linux 6.9 also: the child was waited for. */
int weft_subprocess_send_signal_group(weft_subprocess *p, int signal);

/* SIGTERM (and SIGCONT, for it may be stopped), SIGKILL: to its group if it leads one, else to it
 * alone. */
int weft_subprocess_terminate(weft_subprocess *p);
int weft_subprocess_kill(weft_subprocess *p);

/* Ends it by degrees: closes its input and waits until close_by; terminates it and waits until
 * term_by; kills it, with its group or who descends from it, and waits until d.  A stage whose
 * deadline has passed does not wait.  *status as in join.  ETIMEDOUT: not even dead by d. */
int weft_subprocess_end(weft_subprocess *p, int *status, weft_deadline close_by,
                        weft_deadline term_by, weft_deadline d);

/* ---- All in one ---- */

typedef struct weft_subprocess_result {
    int status;           /* as from waitpid(2) */
    bool incomplete;      /* the grace ran out: see communicate */
    int64_t ns;           /* from its start to its end */
    weft_buffer out, err; /* what came through the pipes */
    struct rusage usage;  /* getrusage(2)'s, with its waited-for children; zeros: status lost */
    int64_t start;        /* when it was started, as weft_now says */
    int tries;            /* of weft_subprocess_map: how often it was started */
    void *data;           /* of weft_subprocess_map: the command's */
} weft_subprocess_result;

void weft_subprocess_result_free(weft_subprocess_result *r);

/* Starts it, feeds it opts->input, collects what is a pipe, joins it.  *r (may be NULL) is set in
 * every case; free it with weft_subprocess_result_free.  At the deadline it gets SIGTERM, then
 * SIGKILL (process_group, kill_after_ns): ETIMEDOUT, *r holds what came until its end.  ECANCELED:
 * it was killed at once.  Other errors as start and communicate. */
int weft_subprocess_run(const char *const argv[], const weft_subprocess_options *opts,
                        weft_subprocess_result *r, weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
