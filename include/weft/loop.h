/* loop.h: an event loop: descriptors, alarms, signals, children, posted functions.
 *
 *     static void on_read(weft_watch *w, int events, void *arg) { ... read(w->fd, ...) ... }
 *
 *     weft_loop *l = weft_loop_create(NULL);
 *     weft_watch w = {0};
 *     weft_loop_watch(l, &w, fd, WEFT_READ, on_read, NULL);
 *     weft_loop_run(l, WEFT_LOOP_ALL, WEFT_FOREVER);
 *
 * The structs below are the caller's memory: zeroed before their first use, in place until they
 * are stopped or, for what happens once, until their function is called.  Nothing is allocated for
 * them.  `arg`, and the fields said to be readable, are for the caller; the others are not.
 * Any function called by the loop may stop, change, free or start anything, itself included;
 * what was stopped is not called, not even when its event had been fetched already.
 *
 * A loop belongs to one thread, the one that created it or took it over (weft_loop_own).  Only
 * weft_loop_post, weft_loop_wake, weft_loop_stop and weft_loop_blocked may be called elsewhere;
 * those are also safe in signal handlers.  The rest fails in another thread with EPERM.
 *
 * After a fork the child has a loop of its own with the same watches, alarms, tasks and hold: the
 * kernel's part is made again by the child's first call.  Parent and child then do not disturb
 * each other, but each reads from the same sockets and pipes: stop what is not yours.
 */
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

/* NULL and EINVAL: a number below 0; EMFILE, ENFILE, ENOMEM. */
weft_loop *weft_loop_create(const weft_loop_options *opts);

/* Releases `l`; what is still on it is stopped without being called.  EBUSY: it runs (in a
 * function that it called, too); EPERM.  NULL is ignored. */
int weft_loop_destroy(weft_loop *l);

/* Makes the calling thread the owner.  The caller sees to it that the former owner is done with
 * it; the signals that it watches are blocked here, too, and stay blocked there.  EBUSY: it runs.
 */
int weft_loop_own(weft_loop *l);

#define WEFT_LOOP_ALL 0  /* run until nothing is left, or it is stopped */
#define WEFT_LOOP_ONCE 1 /* wait until something happens, run what is ready, return */

/* Runs the loop.  What is ready in the kernel comes first, then due alarms, posted, and deferred
 * functions; with nothing to do it runs the idle ones, and without those it sleeps.
 * 0: nothing is left: no watch, alarm, signal, child or task, and no hold.  1: it was stopped, or
 * ran once.  weft_thread_stop does not end it, weft_loop_stop does.  Fails with ETIMEDOUT when `d`
 * has passed (ALL), or before anything happened (ONCE; WEFT_NOW: nothing was ready), EBUSY when it
 * runs already, EPERM, EINVAL for another `how`. */
int weft_loop_run(weft_loop *l, int how, weft_deadline d);

/* Lets weft_loop_run return 1 at the end of the round of callbacks: the present run, or else the
 * next.  Any thread, signal handlers. */
int weft_loop_stop(weft_loop *l);

/* Ends the loop's sleep: weft_loop_run(ONCE) returns.  Any thread, signal handlers. */
int weft_loop_wake(weft_loop *l);

/* Adds `by` to what keeps weft_loop_run(ALL) running: 1 for something the loop can't see, such as
 * a post that will come, -1 for a watch or an alarm that shall not keep it; take it back with the
 * opposite.  Returns 0; EPERM. */
int weft_loop_hold(weft_loop *l, int by);

/* The time (weft_now) at which the present round of callbacks began; free. */
int64_t weft_loop_now(const weft_loop *l);

/* A descriptor that is readable when weft_loop_run(l, WEFT_LOOP_ONCE, WEFT_NOW) has something to
 * do, alarms included: watch it in another loop, weft's or not.  It is the loop's: don't close or
 * change it.  From the first call on, changes made outside of a run cost a system call at once.
 * In a forked child, call this before the outer loop's first call: the outer one then finds the
 * child's own under that number, and not the parent's.
 * -1 and EMFILE, ENFILE, ENOMEM, EPERM. */
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

/* Fills `s`.  EPERM. */
int weft_loop_statistics(const weft_loop *l, weft_loop_counters *s);

/* What runs now and for how long, for a watchdog thread or a signal handler: needs the option
 * blocked_ns.  Returns 1 and fills `c` when a callback runs, else 0.  Any thread. */
int weft_loop_blocked(const weft_loop *l, weft_loop_callback *c);

/* ---- Descriptors ---- */

#define WEFT_READ 1   /* there is something to read, or the end of it, or an error */
#define WEFT_WRITE 2  /* there is room to write, or an error */
#define WEFT_HANGUP 4 /* the peer will send no more.  Comes with WEFT_READ if that is watched: */
                      /* what it sent before is still to be read, up to read's 0 */
#define WEFT_ERROR 8  /* the descriptor is in error (SO_ERROR); told without being asked for */
#define WEFT_EDGE 16  /* tell each change once (EPOLLET), not as long as it lasts */
/* Of the loops that watch it wake one (EPOLLEXCLUSIVE): for listeners. */
#define WEFT_EXCLUSIVE 32
/* There is something urgent (EPOLLPRI): TCP's urgent data, a threshold of /proc/pressure, a change
 * in an attribute of sysfs or in /proc/mounts; or an error.  Not with WEFT_EXCLUSIVE. */
#define WEFT_URGENT 64

struct weft_watch {
    void (*fn)(weft_watch *w, int events, void *arg);
    void *arg;
    weft_loop *loop; /* readable: NULL when it is not watched */
    int fd;          /* readable */
    int events;      /* readable: what is watched for */
};

/* Calls fn(w, events) when `fd` is ready for one of `events`: READ, WRITE, HANGUP, URGENT, with
 * EDGE and EXCLUSIVE if you like, or 0 for the moment.  When the kernel tells of an error or a full
 * hang-up, READ, WRITE and URGENT are added if they are watched, so that the next read or write
 * finds it.
 * Stop it before closing `fd`: if a duplicate is open the kernel goes on telling, and the loop has
 * to register all anew to be rid of it (with WEFT_IO_CHECK=1 in the environment it says so on
 * standard error); one in another loop can't, and spins.
 * EINVAL: no fn, unknown events; EBUSY: `w` is in use; EEXIST: `fd` is watched by this loop
 * already; EBADF; EPERM: not a descriptor that can be waited for (regular files), or another
 * thread; ENOMEM; ENOSPC (/proc/sys/fs/epoll/max_user_watches). */
int weft_loop_watch(weft_loop *l, weft_watch *w, int fd, int events,
                    void (*fn)(weft_watch *w, int events, void *arg), void *arg);

/* Watches for `events` from now on.  Costs nothing until the loop sleeps: changes back and forth
 * cancel out.  If the kernel refuses then (`fd` was closed), fn(w, WEFT_ERROR) is called and
 * nothing is watched for.  EINVAL: unknown events; EALREADY: not watched; EPERM. */
int weft_watch_change(weft_watch *w, int events);

/* Stops: fn is not called any more.  EALREADY: it isn't watched; EPERM. */
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

/* Calls fn(a) at `at`, never before, and then each `every_ns` (0: once; times that were missed
 * are left out).  Late by what the kernel is: its timers have a slack of 50 us, which the
 * thread may change (PR_SET_TIMERSLACK in prctl(2)), and by up to 2^16 ns more when more than 16
 * are due within 2^19 ns.  One that is due when it is armed in a callback is called in the next
 * round.  Those that are due together are called in the order of their times if they are few
 * (16), else those of the same 2^19 ns in any order.  Arming one that is armed moves it.
 * EINVAL: no fn, every_ns below 0; EBUSY: armed in another loop; EPERM. */
int weft_loop_arm(weft_loop *l, weft_alarm *a, int64_t every_ns,
                  void (*fn)(weft_alarm *a, void *arg), void *arg, weft_deadline at);

/* Moves an armed alarm, or arms one that was armed before again; later than it is now costs one
 * store (an idle timeout that each request puts off).  EINVAL: never armed; EPERM. */
int weft_alarm_set(weft_alarm *a, weft_deadline at);

/* Disarms.  EALREADY: it isn't armed; EPERM. */
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

/* Calls fn(s) when the process or this thread gets `signo`.  No handler is installed: the signal
 * is blocked in the calling thread (pthread_sigmask) as long as something here watches it, and
 * read from a signalfd(2).  Threads that run already don't block it: watch before starting them.
 * Several can watch one signal in one loop, all are called; with several loops one of them gets it.
 * EINVAL: no fn, no signal, or one that can't be waited for (SIGKILL, SIGSTOP) or is about the
 * instruction that caused it (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP); EBUSY: `s` is in use;
 * EMFILE, ENFILE, ENOMEM, EPERM. */
int weft_loop_watch_signal(weft_loop *l, weft_signal *s, int signo,
                           void (*fn)(weft_signal *s, void *arg), void *arg);

/* Stops; with the last one of the thread's loops the signal is unblocked, unless it was blocked
 * before.  One that is pending then has its usual effect.  EALREADY, EPERM. */
int weft_loop_unwatch_signal(weft_signal *s);

/* ---- Processes ---- */

struct weft_child {
    weft_watch watch;
    void (*fn)(weft_child *c, int status, void *arg);
    void *arg;
    pid_t pid; /* readable: 0 if given by a descriptor */
    int own;
};

/* Calls fn(c, status) once, when process `pid` has ended.  If it is a child of this process it is
 * reaped, and `status` is as waitpid(2) has it; if it is another's, or was reaped elsewhere,
 * `status` is -1.  By pidfd: SIGCHLD is neither needed nor touched.
 * EINVAL: no fn, pid below 1; ESRCH: no such process; EBUSY: `c` is in use; EMFILE, ENFILE,
 * ENOMEM, EPERM; ENOSYS: the kernel has no pidfd_open(2). */
int weft_loop_watch_child(weft_loop *l, weft_child *c, pid_t pid,
                          void (*fn)(weft_child *c, int status, void *arg), void *arg);

/* The same by a pidfd, which stays the caller's.  EINVAL: no fn; EBADF: not a pidfd; EEXIST: it is
 * watched by this loop already; EBUSY, ENOMEM, EPERM. */
int weft_loop_watch_child_fd(weft_loop *l, weft_child *c, int pidfd,
                             void (*fn)(weft_child *c, int status, void *arg), void *arg);

/* Stops; the process goes on and is not reaped.  EALREADY, EPERM. */
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

/* Lets the loop's thread call t->fn(t); `t` is free again as soon as that begins.  Posted again
 * before it began, it is called once.  Neither locks nor allocates, and leaves errno alone.  Any
 * thread, signal handlers.  What was written before the post is seen by fn.
 * EINVAL: no fn; EBUSY: deferred or idle. */
int weft_loop_post(weft_loop *l, weft_task *t);

/* Calls t->fn(t) once, after the callbacks of this round and before the loop sleeps; deferred by a
 * deferred function, in the next round.  EINVAL: no fn; EBUSY: it is in use; EPERM. */
int weft_loop_defer(weft_loop *l, weft_task *t);

/* Calls t->fn(t) each time the loop has nothing else to do, until stopped: it never sleeps
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

/* Calls fn(s, fd) for each connection on the non-blocking listening socket `listener`; `fd` is
 * the callee's, non-blocking and close-on-exec.  Up to 64 are accepted a round.  Out of
 * descriptors or memory it looks away for 100 ms and tries again: connections wait in the backlog,
 * none is lost, and the loop does not spin.  Of several loops one is woken (WEFT_EXCLUSIVE).
 * EINVAL: no fn, a blocking socket, one that does not listen; else as weft_loop_watch. */
int weft_loop_listen(weft_loop *l, weft_listener *s, int listener,
                     void (*fn)(weft_listener *s, int fd, void *arg), void *arg);

/* Stops accepting; the socket stays open.  Where other loops share the socket, do it in a deferred
 * function (weft_loop_defer): the kernel may have woken this loop alone for a connection of this
 * round, and no other is woken for it before the next one comes.  EALREADY, EPERM. */
int weft_loop_unlisten(weft_listener *s);

#ifdef __cplusplus
}
#endif

#endif
