/* loop.h: an event loop: descriptors, alarms, signals, children, posted functions.
 *
 *     static void on_read(weft_watch *w, int events, void *arg) { ... read(w->fd, ...) ... }
 *
 *     weft_watch w = {0};
 *     weft_loop_watch(l, &w, fd, WEFT_READ, on_read, NULL); // of l = weft_loop_create(NULL)
 *     weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER);
 *
 * The structs are the caller's memory, zeroed at first, in place while they are in use; NULL is
 * EINVAL.  All but post, wake, stop and blocked are for the loop's own thread: EPERM elsewhere. */
#ifndef WEFT_LOOP_H
#define WEFT_LOOP_H

#include <weft/deadline.h>

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_loop weft_loop;
typedef struct weft_watch weft_watch;
typedef struct weft_alarm weft_alarm;
typedef struct weft_signal weft_signal;
typedef struct weft_child weft_child;
typedef struct weft_task weft_task;
typedef struct weft_listener weft_listener;

/* A place in one of the loop's lists; private. */
typedef struct weft_loop_link {
    struct weft_loop_link *next, *previous;
} weft_loop_link;

/* ---- The loop ---- */

/* What weft_loop_blocked and the detector of blocked loops tell. */
typedef struct weft_loop_callback {
    const char *kind; /* "watch", "alarm", "task", "signal", "child", "listener" */
    void (*fn)(void); /* the function that was called, cast */
    int fd;           /* of a watch; else -1 */
    int64_t ns;       /* for how long it has run */
} weft_loop_callback;

typedef struct weft_loop_options {
    int batch; /* events fetched at once; 0: 64 */
    /* A callback that takes this long is reported when it returns; 0: none is, or by what
     * WEFT_IO_BLOCKED in the environment says, in milliseconds.  Costs a look at the clock for
     * each callback. */
    int64_t blocked_ns;
    void (*blocked)(weft_loop *l, const weft_loop_callback *c,
                    void *arg); /* NULL: a line on standard error */
    void *arg;
} weft_loop_options;

/* NULL: EINVAL: a number below 0; EMFILE, ENFILE, ENOMEM. */
weft_loop *weft_loop_create(const weft_loop_options *opts);

/* What is still on it is stopped without being called.  EBUSY: it runs, also in a function that it
 * called; EPERM.  NULL is ignored. */
int weft_loop_destroy(weft_loop *l);

/* Makes the calling thread the owner, after the former one is done with it.  EBUSY: it runs. */
int weft_loop_own(weft_loop *l);

#define WEFT_LOOP_ALL 0  /* run until nothing is left, or it is stopped */
#define WEFT_LOOP_ONCE 1 /* wait until something happens, run what is ready, return */

/* 0: nothing is left: no watch, alarm, signal, child or task, and no hold.  1: it was stopped, or
 * ran once.  -1: ETIMEDOUT: `d` has passed, with ONCE before anything happened; EBUSY: it runs
 * already; EPERM; EINVAL: another `how`. */
int weft_loop_run(weft_loop *l, int how, weft_deadline d);

/* Asks it to return 1 at the end of this round of callbacks: the present run, or else the next.
 * Any thread, signal handlers.  EINVAL: NULL. */
int weft_loop_stop(weft_loop *l);

/* Ends its sleep: a run with ONCE returns.  Any thread, signal handlers.  EINVAL: NULL. */
int weft_loop_wake(weft_loop *l);

/* Adds `by` to what keeps a run with ALL going: 1 for what the loop can't see, such as a post that
 * will come, -1 for a watch or an alarm that shall not keep it.  EPERM. */
int weft_loop_hold(weft_loop *l, int by);

/* When the present round of callbacks began, as weft_now; costs nothing. */
int64_t weft_loop_now(const weft_loop *l);

/* The loop's own; readable while a run with ONCE and WEFT_NOW has something to do: for another
 * loop, weft's or not.  Made by the first call.  EMFILE, ENFILE, ENOMEM, EPERM. */
int weft_loop_fd(weft_loop *l);

typedef struct weft_loop_counters {
    uint64_t rounds;     /* how often it asked the kernel */
    uint64_t events;     /* calls for watches (signals and children included) */
    uint64_t alarms;     /* calls for alarms */
    uint64_t tasks;      /* calls for posted, deferred and idle functions */
    uint64_t stale;      /* events dropped: their watch had been stopped in the same round */
    uint64_t blocked;    /* callbacks that were reported as too long */
    int64_t busy_ns;     /* time spent outside of the kernel's wait */
    int64_t lag_ns;      /* how long the last round of callbacks took: what a new event waits */
    int64_t lag_max_ns;  /* the longest so far */
    int64_t late_max_ns; /* the latest alarm so far */
    size_t watches;      /* now: descriptors, signals, children */
    size_t armed;        /* now: alarms */
} weft_loop_counters;

/* EPERM. */
int weft_loop_statistics(const weft_loop *l, weft_loop_counters *s);

/* What runs now and for how long; needs the option blocked_ns.  1: `c` says it; 0: nothing runs.
 * Any thread, signal handlers. */
int weft_loop_blocked(const weft_loop *l, weft_loop_callback *c);

/* ---- Descriptors ---- */

#define WEFT_READ 1       /* there is something to read, or the end of it, or an error */
#define WEFT_WRITE 2      /* there is room to write, or an error */
#define WEFT_HANGUP 4     /* the peer will send no more; what it sent before is still to be read */
#define WEFT_ERROR 8      /* the descriptor is in error (SO_ERROR); told without being asked for */
#define WEFT_EDGE 16      /* tell each change once (EPOLLET), not as long as it lasts */
#define WEFT_EXCLUSIVE 32 /* of the loops that watch it wake one (EPOLLEXCLUSIVE) */
#define WEFT_URGENT 64    /* something urgent (EPOLLPRI), or an error; not with EXCLUSIVE */

struct weft_watch {
    void (*fn)(weft_watch *w, int events, void *arg);
    void *arg;
    weft_loop *loop; /* readable: NULL when it is not watched */
    int fd;          /* readable */
    int events;      /* readable: what is watched for */
};

/* Calls fn when `fd` is ready for one of `events`: READ, WRITE, HANGUP, URGENT, with EDGE and
 * EXCLUSIVE if you like, or 0 for the moment.  Unwatch it before closing `fd`.
 * EINVAL: no fn, unknown events; EBUSY: `w` is in use; EEXIST: `fd` is watched by this loop
 * already; EBADF; EPERM: can't be waited for (regular files), or another thread; ENOMEM; ENOSPC. */
int weft_loop_watch(weft_loop *l, weft_watch *w, int fd, int events,
                    void (*fn)(weft_watch *w, int events, void *arg), void *arg);

/* Watches for `events` from now on; costs nothing until the loop sleeps.  EINVAL: unknown events;
 * EALREADY: not watched; EPERM. */
int weft_watch_change(weft_watch *w, int events);

/* fn is not called any more.  EALREADY: it isn't watched; EPERM. */
int weft_loop_unwatch(weft_watch *w);

/* ---- Alarms ---- */

struct weft_alarm {
    weft_loop_link link;
    void (*fn)(weft_alarm *a, void *arg);
    void *arg;
    weft_loop *loop;  /* readable: NULL when it is not armed */
    weft_deadline at; /* readable: when it is due; in fn, the next time or what it was */
    int64_t every;
    uint64_t filed;
};

/* Calls fn at `at`, never before, and then each `every_ns`, less what was missed (0: once).  Moves
 * one that is armed.  EINVAL: no fn, every_ns below 0; EBUSY: armed in another loop; EPERM. */
int weft_loop_arm(weft_loop *l, weft_alarm *a, int64_t every_ns,
                  void (*fn)(weft_alarm *a, void *arg), void *arg, weft_deadline at);

/* Moves it, or arms it again; to a later time that costs one store (an idle timeout that each
 * request puts off).  EINVAL: never armed; EPERM. */
int weft_alarm_set(weft_alarm *a, weft_deadline at);

/* EALREADY: it isn't armed; EPERM. */
int weft_loop_disarm(weft_alarm *a);

/* ---- Signals ---- */

struct weft_signal {
    weft_loop_link link;
    void (*fn)(weft_signal *s, void *arg);
    void *arg;
    weft_loop *loop; /* readable: NULL when it is not watched */
    int signo;       /* readable; below, when fn is called: of the signal that came */
    int code;        /* si_code: SI_USER, SI_QUEUE, SI_KERNEL, ... */
    int sender;      /* process id, 0: the kernel */
    int value;       /* what sigqueue(3) sent */
};

/* Calls fn when the process or this thread gets `signo`, which is blocked in this thread meanwhile:
 * watch before starting threads.  EINVAL: no fn, no signal, or one that can't be waited for; EBUSY:
 * `s` is in use; EMFILE, ENFILE, ENOMEM, EPERM. */
int weft_loop_watch_signal(weft_loop *l, weft_signal *s, int signo,
                           void (*fn)(weft_signal *s, void *arg), void *arg);

/* The last of the thread's loops unblocks the signal, unless it was blocked before.  EALREADY,
 * EPERM. */
int weft_loop_unwatch_signal(weft_signal *s);

/* ---- Processes ---- */

struct weft_child {
    weft_watch watch;
    void (*fn)(weft_child *c, int status, void *arg);
    void *arg;
    pid_t pid; /* readable: 0 if given by a descriptor */
    int own;
};

/* Calls fn once, when process `pid` has ended, with its status as of waitpid(2): a child is reaped;
 * of another's, or one reaped elsewhere, it is -1.  EINVAL: no fn, pid below 1; ESRCH: no such
 * process; EBUSY: `c` is in use; EMFILE, ENFILE, ENOMEM, EPERM; ENOSYS: no pidfd_open(2). */
int weft_loop_watch_child(weft_loop *l, weft_child *c, pid_t pid,
                          void (*fn)(weft_child *c, int status, void *arg), void *arg);

/* The same by a pidfd, which stays the caller's.  EINVAL: no fn; EBADF: not a pidfd; EEXIST: it is
 * watched by this loop already; EBUSY, ENOMEM, EPERM. */
int weft_loop_watch_child_fd(weft_loop *l, weft_child *c, int pidfd,
                             void (*fn)(weft_child *c, int status, void *arg), void *arg);

/* The process goes on, and is not reaped.  EALREADY, EPERM. */
int weft_loop_unwatch_child(weft_child *c);

/* ---- Functions to call ---- */

/* `weft_task t = {0}; t.fn = flush; t.arg = log;`: fn and arg are for the caller to set. */
struct weft_task {
    weft_loop_link link;
    void (*fn)(weft_task *t, void *arg);
    void *arg;
    uint32_t state;
    weft_loop *loop;
};

/* Has the loop's thread call t->fn; `t` is free again as soon as that begins.  Posted again before,
 * it is called once.  Any thread, signal handlers.  EINVAL: no fn; EBUSY: deferred or idle. */
int weft_loop_post(weft_loop *l, weft_task *t);

/* Calls t->fn once, at the end of this round, before the loop sleeps.  EINVAL: no fn; EBUSY: it is
 * in use; EPERM. */
int weft_loop_defer(weft_loop *l, weft_task *t);

/* Calls t->fn each time the loop has nothing else to do, until cancelled: it never sleeps
 * meanwhile.  EINVAL: no fn; EBUSY: it is in use; EPERM. */
int weft_loop_idle(weft_loop *l, weft_task *t);

/* Takes a deferred or idle task back.  EALREADY: it is neither (a post can't be taken back);
 * EPERM. */
int weft_task_cancel(weft_task *t);

/* ---- Listeners ---- */

struct weft_listener {
    weft_watch watch;
    weft_alarm retry;
    void (*fn)(weft_listener *s, int fd, void *arg);
    void *arg;
    int error; /* readable: why it waits at the moment (EMFILE, ...); 0: it accepts */
    int *stopped;
};

/* Calls fn for each connection on the non-blocking socket `listener`; `fd` is the callee's,
 * non-blocking and close-on-exec.  Of several loops one is woken.
 * EINVAL: no fn, a blocking socket, one that does not listen; else as weft_loop_watch. */
int weft_loop_listen(weft_loop *l, weft_listener *s, int listener,
                     void (*fn)(weft_listener *s, int fd, void *arg), void *arg);

/* Accepts no more; the socket stays open.  Where other loops share it: in a deferred function.
 * EALREADY, EPERM. */
int weft_loop_unlisten(weft_listener *s);

#ifdef __cplusplus
}
#endif

#endif
