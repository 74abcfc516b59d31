/* subprocess.h: run a program, feed it, read it, end it.
 *
 *     weft_subprocess_options o = {0};
 *     weft_subprocess_result r;
 *     o.out.kind = WEFT_STREAM_PIPE;
 *     if (weft_subprocess_run((const char *const[]){"ls", "-l", NULL}, &o, &r, weft_in_s(5)) == 0)
 *         fwrite(r.out.data, 1, r.out.size, stdout);
 *     weft_subprocess_result_free(&r);
 *
 * The cost of a start does not depend on the size of the calling process, except
 * with a callback or a change of user or group, which need a copy of its page tables.  A program
 * that can't be executed is an error of start, with the child's errno.  The child has the three
 * standard streams and the descriptors in `pass`, and no other; its signal mask is empty, and
 * SIGPIPE, SIGXFSZ and SIGCHLD have their default action again (see the options for other wishes).
 *
 * Only children started here are ever waited for, and no signal's disposition is
 * touched.  If this process ignores SIGCHLD, or somebody else reaps the child, the
 * status is lost: waits end when the child does, with ECHILD.
 *
 * A weft_subprocess belongs to one thread at a time; different ones are independent.  Every wait
 * fails with ECANCELED, too, in a thread that was told to stop (weft_thread_stop).  In a tasklet of
 * weft_io_run the tasklet waits and others run; a cancel of it is ECANCELED, too.
 */
#ifndef WEFT_SUBPROCESS_H
#define WEFT_SUBPROCESS_H

#include <weft/deadline.h>

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/select.h> /* sigset_t, which strict -std=c11 hides in signal.h */
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Bytes that grow ---- */

/* Start from {0}.  What has collected a stream is a string even if nothing came: data is
 * not NULL, and data[size] is 0. */
typedef struct weft_buffer {
    char *data;
    size_t size, capacity;
} weft_buffer;

/* Frees the bytes and makes *b empty again.  NULL is nothing to do. */
void weft_buffer_free(weft_buffer *b);

/* What becomes of an output that comes through a pipe, in communicate, run, pipelines and map.
 * All zero: it is collected, however much it is. */
typedef struct weft_sink {
    /* Not NULL: nothing is collected; takes n bytes as they come: a piece of any size, or with
     * `lines` a line, with its newline unless it is the last.  One that is longer than `limit` (0:
     * 1 MB) comes in parts.  Not 0: that was enough, see below; with errno, or ECANCELED if that
     * is 0. */
    int (*take)(const char *bytes, size_t n, void *arg);
    void *arg;
    bool lines;

    /* Collected: the most bytes of it.  At more: ENOBUFS, and the buffer has the first `limit`.
     * 0: no limit. */
    size_t limit;

    /* Collected: when it is longer than this, it goes into an unnamed file in TMPDIR (/tmp), as
     * which the buffer's data is mapped in the end (its capacity is 0 then, it can't grow).
     * ENOSPC, EFBIG, ...: what fits is there.  0: all stays in memory. */
    size_t memory;
} weft_sink;
/* When a sink has had enough, or fails, the child is ended as at a deadline, and the call fails
 * with that errno. */

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
    WEFT_STREAM_PTY /* a pseudo-terminal, one for all that have this, its session's terminal */
};

typedef struct weft_stream {
    int kind;
    int fd;
    const char
        *path; /* opened (a FIFO waits) by this process, before its child changes directory */
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
    WEFT_SUBPROCESS_NEW_SESSION = 1, /* setsid(2): a session and group of its own, no terminal */
    WEFT_SUBPROCESS_DIE_WITH_PARENT = 2, /* SIGKILL, for the group that it leads, when this process
                                            ends or executes another program */
    WEFT_SUBPROCESS_SET_UMASK = 4,       /* .umask counts */
    WEFT_SUBPROCESS_SET_UID = 8,         /* .uid counts: real, effective and saved */
    WEFT_SUBPROCESS_SET_GID = 16,        /* .gid counts, the same */

    /* All that descend from the child end with it, when it is killed, stopped or terminated, when
     * its time is over and when this process ends: also those in groups and sessions of their own.
     * What goes to the group that a child leads goes to all of them.  Their warden, a process of
     * ours, ends them when the child has ended, and is what is waited for; only its own SIGKILL
     * sets them free.  The start needs a copy of our page tables (as fork(2): up to 0.2 s for each
     * GB in use) and /proc; while it runs, memory that we change is copied.  Where our control
     * group is delegated they are in one below it. */
    WEFT_SUBPROCESS_TREE = 32,

    /* If our group is the foreground of our terminal, that of the child, a new one, is it instead
     * until its end is seen (by wait, poll, communicate, run, stop, destroy): it reads the
     * terminal, and what is typed signals it.  What the terminal does to it happens to our group as
     * well, once a wait sees it: when it is stopped we are, too, and it goes on with us; when
     * SIGINT or SIGQUIT ended it our group gets that signal.  Not with NEW_SESSION or TREE. */
    WEFT_SUBPROCESS_FOREGROUND = 128,

    WEFT_SUBPROCESS_SCRIPTS =
        64 /* /bin/sh runs what is neither a program nor has a #! (execvp(3)) */
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

    /* WEFT_GROUP_NEW, WEFT_GROUP_OURS, or one to join.  0: ours; but a call that starts its
     * commands, ends them and has a deadline makes a new one, with DIE_WITH_PARENT, so that all of
     * it ends, unless we are the foreground of a terminal, where they may ask.  A command that
     * leads no group ends with those that descend from it, as far as /proc tells: not those whose
     * parents have ended before. */
    pid_t process_group;

    /* At a deadline of such a call (and of weft_pclose): the time from SIGTERM to SIGKILL.  It
     * returns when all have ended, at the latest so much later, and two seconds more (ten with
     * WEFT_SUBPROCESS_TREE, whose warden has to find them) if even SIGKILL does not end them.  0:
     * WEFT_KILL_AFTER_NS; below 0: SIGKILL at once. */
    int64_t kill_after_ns;

    mode_t umask;
    uid_t
        uid; /* privileges are dropped last: groups, gid, uid; -1, as of a failed lookup: EINVAL */
    gid_t gid;
    const gid_t *groups; /* not NULL: the supplementary groups, groups_count may be 0 */
    size_t groups_count;
    int nice;        /* added to our niceness */
    const int *cpus; /* not NULL: the processors it may run on */
    size_t cpu_count;
    const weft_limit *limits; /* setrlimit(2) */
    size_t limits_count;

    const sigset_t *signal_mask;    /* NULL: nothing blocked */
    const sigset_t *signal_default; /* to their default action */
    const sigset_t *signal_ignore;  /* ignored (stronger than signal_default) */

    /* After the child has ended, how long communicate still reads from a pipe that some
     * grandchild keeps open.  0: until the deadline. */
    int64_t grace_ms;

    /* Runs in the child just before exec, on a copy of our memory: async-signal-safe calls
     * only if this process has threads; an environment it changes is the program's, unless env,
     * env_add or env_unset are given, and what it sets of signals stays.
     * Not 0: start fails with the callback's errno, ECANCELED if that is 0. */
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

/* Starts argv[0] (looked up in the PATH of the child's environment) with argv.  Waits
 * until the child has executed it.  Everything in opts may go away afterwards.  End it
 * with weft_subprocess_destroy.  EINVAL: no argv[0], options that contradict each other;
 * EBADF: a descriptor that isn't open; else errno from the failing stage: ENOENT, EACCES,
 * E2BIG, EMFILE, EAGAIN, ... (fork(2), execve(2)). */
weft_subprocess *weft_subprocess_start(const char *const argv[],
                                       const weft_subprocess_options *opts);

/* Closes its pipes and frees it.  EBUSY: it has not ended yet (stop it or wait).  NULL is fine. */
int weft_subprocess_destroy(weft_subprocess *p);

pid_t weft_subprocess_pid(const weft_subprocess *p);

/* A pidfd: readable when the child has ended.  Stays p's; do not read or close it.
 * ENOSYS: a kernel (or sandbox) without pidfds. */
int weft_subprocess_fd(const weft_subprocess *p);

/* Waits until it has ended.  *status (may be NULL) as from waitpid(2); again any number
 * of times.  ETIMEDOUT; ECHILD: it has ended, but its status is lost. */
int weft_subprocess_join(weft_subprocess *p, int *status, weft_deadline d);

/* 1: ended, *status set; 0: still running; -1 with ECHILD: ended, status lost. */
int weft_subprocess_poll(weft_subprocess *p, int *status);

/* Waits until one of ps[0..n-1] has ended (NULL entries don't count) and returns its
 * index; a weft_subprocess_wait on it then returns at once.  ETIMEDOUT; EINVAL: all NULL. */
ssize_t weft_subprocess_join_any(weft_subprocess *const ps[], size_t n, weft_deadline d);

/* ---- Its streams ---- */

/* Writes `in` to its standard input and closes that, reads both outputs to their ends, and
 * waits for it, all at once and any amount: no side can block the other.  in NULL: nothing
 * (the pipe is closed at once); out or err NULL: read and dropped.  Appends to the buffers.
 * A child that closes its input early is no error.
 * 0: all done, weft_subprocess_wait gives the status.  1: the child ended, but its grace
 * (options) ran out with a pipe still held open by another process: the output may be incomplete.
 * ETIMEDOUT: the buffers keep what came so far; the same call again goes on where it stopped.
 * EINVAL: input for a child without an input pipe; ENOMEM; ECHILD: all done but the status. */
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

/* Sends a signal to its whole process group.  EPERM: it was not started as a leader
 * (WEFT_GROUP_NEW, new session).  ESRCH: nobody is left in it; before Linux 6.9 also: it was
 * waited for, and its group's number may by now be somebody else's. */
int weft_subprocess_send_signal_group(weft_subprocess *p, int signal);

/* SIGTERM (and SIGCONT, for it may be stopped), SIGKILL: to its group if it leads one, else to it
 * alone. */
int weft_subprocess_terminate(weft_subprocess *p);
int weft_subprocess_kill(weft_subprocess *p);

/* Ends it by degrees: closes its input and waits until close_by; terminates it and waits
 * until term_by; kills it and waits until d.  A stage whose deadline has passed does not
 * wait.  A group it leads is killed as a whole in the end, if it has ended or not; without one, who
 * descends from it is killed with it, as far as /proc tells.  In a thread that was told to stop no
 * stage waits.
 * *status as in wait.  ETIMEDOUT: not even dead by d. */
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
    int tries;            /* of map: how often it was started */
    void *data;           /* of map: the command's */
} weft_subprocess_result;

void weft_subprocess_result_free(weft_subprocess_result *r);

/* Starts it, feeds it opts->input, collects what is a pipe, waits.  *r (may be NULL) is set
 * in every case; free it with weft_subprocess_result_free.  With a deadline it leads a group of its
 * own (options.process_group), which at the deadline gets SIGTERM, then SIGKILL
 * (kill_after_ns): ETIMEDOUT, *r holds what came until its end.  Before Linux 6.9 the rest of the
 * group is killed as soon as the child has ended.  ECANCELED: it was killed at once.
 * Other errors as start and communicate. */
int weft_subprocess_run(const char *const argv[], const weft_subprocess_options *opts,
                        weft_subprocess_result *r, weft_deadline d);

/* A command of weft_subprocess_map. */
typedef struct weft_subprocess_command {
    const char *const *argv;
    const weft_subprocess_options *opts; /* NULL: the call's */
    int64_t limit_ns;                    /* the longest it may take; 0: the batch's */
    void *data;                          /* result.data */
} weft_subprocess_command;

/* What weft_subprocess_batch.ended answers. */
enum weft_map_verdict {
    WEFT_MAP_GO_ON,
    WEFT_MAP_AGAIN,   /* run this one again, its output is dropped; after NO_MORE: GO_ON */
    WEFT_MAP_NO_MORE, /* start none from now on */
    WEFT_MAP_KILL     /* the same, and end those that run, like late ones: ECANCELED */
};

/* How weft_subprocess_map goes about its commands. */
typedef struct weft_subprocess_map_options {
    int jobs;         /* so many at once; 0: one for each processor that we may use */
    int64_t limit_ns; /* the longest any command may take; 0: no limit.  Then it is ended: it, or
                         the group that it leads, gets SIGTERM, kill_after_ns later SIGKILL */

    /* Not NULL: gives command i, counted from 0, when there is room to run it; argvs is then
     * NULL.  1: *c is set, and what it points at stays until its last callback.  0: there are no
     * more.  -1: none now (EAGAIN), asked again once next_fd can be read or, if that is below 0,
     * when a command has ended; with any other errno the call fails. */
    int (*next)(size_t i, weft_subprocess_command *c, void *arg);
    int next_fd;

    /* One of the two, or both.  The result is valid during the call; error is 0, ETIMEDOUT,
     * ECANCELED (verdict), or the errno of its start or of what collects its output (weft_sink).
     * ended: called as each one ends; answers a WEFT_MAP_...
     * report: called in the order of the commands, as soon as this one and those before it have
     * ended.  The command's memory may go away then. */
    int (*ended)(size_t i, const weft_subprocess_result *r, int error, void *arg);
    void (*report)(size_t i, const weft_subprocess_result *r, int error, void *arg);
    void *arg;

    /* Above 0: a signalfd(2).  What can be read from it is passed on to all commands that run, to
     * their groups if they lead one.  SIGTSTP then stops this process, too; when it goes on, so do
     * they, and their limits stood still meanwhile. */
    int signal_fd;
} weft_subprocess_map_options;

/* Runs the n commands argvs[0..n-1], or those that batch.next gives, several at once, and tells of
 * each.  What comes through a WEFT_STREAM_PIPE for out or err until the command has ended (and for
 * its grace) goes where its sink says, or stays in memory until the command's last callback; so
 * does what waits for its turn, which is bounded however many commands there are.  `input` feeds
 * each command.  Room that the system lacks (EAGAIN, EMFILE, ENFILE, ENOMEM) is waited for while
 * commands of this call run and, but for EMFILE, up to 5 s more.  The number of commands that
 * failed: could not be started, were late or did not exit with 0.  At the deadline what still runs
 * is ended like a late one, and nothing more told: ETIMEDOUT.  EINVAL: neither ended nor report,
 * jobs or a limit below 0, `in` a pipe without input; EDEADLK: next said EAGAIN, and nothing can
 * change that. */
int weft_subprocess_map(const char *const *const argvs[], size_t n,
                        const weft_subprocess_options *opts,
                        const weft_subprocess_map_options *batch, weft_deadline d);

/* sh -c command, with our streams (as system(3), but signals stay as they are).  A deadline ends it
 * as weft_subprocess_run does.  In a group of its own, which it has with a deadline unless we are
 * the foreground of a terminal, a signal to ours does not reach it, but it is killed when that ends
 * us. */
int weft_system(const char *command, int *status, weft_deadline d);

/* sh -c command with a stream to read its output ("r") or write its input ("w"), as popen(3);
 * fileno(*stream) is -1, weft_subprocess_stream gives the pipe.  Other children never
 * inherit the pipe.  A write when nobody reads fails with EPIPE, without a signal.  It leads a
 * group of its own, which no signal to ours reaches, unless we are the foreground of a terminal.
 * End it with weft_pclose.  EINVAL: another mode. */
weft_subprocess *weft_popen(const char *command, const char *mode, FILE **stream);

/* Flushes and closes the stream, waits for the command, frees both, always.  At the deadline: the
 * shell with its group, or who descends from it, gets SIGTERM, after WEFT_KILL_AFTER_NS SIGKILL;
 * ETIMEDOUT.
 * ECHILD: status lost; else the flush's error. */
int weft_pclose(weft_subprocess *p, FILE *stream, int *status, weft_deadline d);

/* ---- Statuses, as waitpid(2) and the calls here give them ---- */

int weft_status_exited(int status); /* the exit code, or -1 if a signal killed it */
int weft_status_signal(int status); /* the signal that killed it, or 0 */
bool weft_status_core(int status);  /* killed, and left a core dump */
int weft_status_code(int status);   /* what a shell's $? would be: the exit code, or 128 + signal */

/* "exited with 3", "killed by SIGSEGV (core dumped)": into text, cut to size.  Returns text. */
char *weft_status_text(int status, char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
