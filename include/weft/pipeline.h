/* pipeline.h: programs joined by pipes, as the shell's `ls -l | wc`.  See weft_pipeline(3).
 *
 *     const char *const ls[] = {"ls", "-l", NULL}, *const wc[] = {"wc", NULL};
 *     const char *const *const stages[] = {ls, wc};
 *     weft_subprocess_options o = {.out = {.kind = WEFT_STREAM_PIPE}};
 *     weft_pipeline_run(stages, 2, &o, &result, NULL, weft_in_s(5));
 *
 * The whole looks like one subprocess: options.in is the first stage's, options.out the last one's,
 * options.err is shared; everything else holds for each stage.  One thread at a time.
 */
#ifndef WEFT_PIPELINE_H
#define WEFT_PIPELINE_H

#include <weft/subprocess.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_pipeline weft_pipeline;

/* Starts the n stages argvs[0..n-1].  All or none: if one can't be started, those before it are
 * killed and waited for, and errno (and options.stage) is that one's.  End it with
 * weft_pipeline_destroy.  EINVAL: n is 0, or a new session of more than one stage. */
weft_pipeline *weft_pipeline_start(const char *const *const argvs[], size_t n,
                                   const weft_subprocess_options *opts);

/* Frees it.  EBUSY: a stage has not ended yet.  NULL is fine. */
int weft_pipeline_destroy(weft_pipeline *l);

/* How many stages, and stage i (stays the pipeline's; NULL and EINVAL beyond the last). */
size_t weft_pipeline_size(const weft_pipeline *l);
weft_subprocess *weft_pipeline_stage(const weft_pipeline *l, size_t i);

/* Waits until all stages have ended.  *status (may be NULL): the last stage's.  ETIMEDOUT;
 * ECHILD: all ended, but a status is lost (weft_subprocess_poll tells whose). */
int weft_pipeline_join(weft_pipeline *l, int *status, weft_deadline d);

/* The shell's pipefail, after a join: the status of the last stage that did not exit with 0; 0 if
 * all did (or their statuses are lost).  EBUSY: not all have ended. */
int weft_pipeline_failure(const weft_pipeline *l, int *status);

/* As weft_subprocess_communicate, for the ends of the pipeline; joins all stages. */
int weft_pipeline_communicate(weft_pipeline *l, const void *in, size_t n, weft_buffer *out,
                              weft_buffer *err, weft_deadline d);

/* Our ends of its pipes: 0 the first stage's input, 1 the last one's output, 2 everybody's
 * errors.  As weft_subprocess_stream, _read, _write and _close. */
int weft_pipeline_stream(const weft_pipeline *l, int stream);
ssize_t weft_pipeline_read(weft_pipeline *l, int stream, void *bytes, size_t n, weft_deadline d);
ssize_t weft_pipeline_write(weft_pipeline *l, const void *bytes, size_t n, weft_deadline d);
int weft_pipeline_close(weft_pipeline *l, int stream);

/* Sends a signal to the pipeline's group, or without one to each stage that has not been
 * waited for.  ESRCH: none was left. */
int weft_pipeline_send_signal(weft_pipeline *l, int signal);

/* As weft_subprocess_end, for all stages at once: input closed, SIGTERM, SIGKILL. */
int weft_pipeline_end(weft_pipeline *l, int *status, weft_deadline close_by, weft_deadline term_by,
                      weft_deadline d);

/* As weft_subprocess_run.  r->status is the last stage's; *failure (may be NULL) is that of
 * weft_pipeline_failure. */
int weft_pipeline_run(const char *const *const argvs[], size_t n,
                      const weft_subprocess_options *opts, weft_subprocess_result *r, int *failure,
                      weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
