/* subprocess_map.h: run many programs, some at a time, and be told of each, as xargs -P and more.
 *
 *     weft_subprocess_options o = {.out = {.kind = WEFT_STREAM_PIPE}};
 *     weft_subprocess_map_options how = {.jobs = 4, .report = print};
 *     ssize_t failed = weft_subprocess_map(argvs, n, &o, &how, weft_in_s(60));
 *
 * The functions are called in the caller's thread.  See weft_subprocess_map(3).
 */
#ifndef WEFT_SUBPROCESS_MAP_H
#define WEFT_SUBPROCESS_MAP_H

#include <weft/subprocess.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A command that is given by options.next. */
typedef struct weft_subprocess_command {
    const char *const *argv;
    const weft_subprocess_options *opts; /* NULL: the call's */
    int64_t limit_ns;                    /* the longest it may take; 0: the options' */
    void *data;                          /* result.data */
} weft_subprocess_command;

/* What options.ended answers. */
enum weft_map_verdict {
    WEFT_MAP_GO_ON,
    WEFT_MAP_AGAIN,   /* run this one again, its output is dropped; after NO_MORE: GO_ON */
    WEFT_MAP_NO_MORE, /* start none from now on */
    WEFT_MAP_KILL     /* the same, and end those that run, like late ones: ECANCELED */
};

typedef struct weft_subprocess_map_options {
    int jobs;         /* so many at once; 0: one for each processor that we may use */
    int64_t limit_ns; /* the longest any command may take, then it is ended; 0: no limit */

    /* Not NULL: gives command i, counted from 0, when there is room to run it; argvs is then
     * NULL.  1: *c is set, and what it points at stays until its last callback.  0: there are no
     * more.  -1: none now (EAGAIN), asked again once next_fd can be read or, if that is below 0,
     * when a command has ended; with any other errno the call fails. */
    int (*next)(size_t i, weft_subprocess_command *c, void *arg);
    int next_fd;

    /* One of the two, or both.  *r is valid during the call; error is 0, ETIMEDOUT, ECANCELED
     * (verdict), or the errno of its start or sink.  ended: as each one ends; answers a
     * WEFT_MAP_...  report: in the order of the commands. */
    int (*ended)(size_t i, const weft_subprocess_result *r, int error, void *arg);
    void (*report)(size_t i, const weft_subprocess_result *r, int error, void *arg);
    void *arg; /* of all three */

    int signal_fd; /* above 0: a signalfd(2), what comes there is passed on to the commands */
} weft_subprocess_map_options;

/* Runs the n commands argvs[0..n-1], or those that how->next gives, and waits for all.  Returns how
 * many failed: could not be started, were late or did not exit with 0.  ETIMEDOUT: what still ran
 * is ended like a late one, and nothing more told.  EINVAL: neither ended nor report, jobs or a
 * limit below 0, `in` a pipe without input; EDEADLK: next said EAGAIN, and nothing can change
 * that. */
ssize_t weft_subprocess_map(const char *const *const argvs[], size_t n,
                            const weft_subprocess_options *opts,
                            const weft_subprocess_map_options *how, weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
