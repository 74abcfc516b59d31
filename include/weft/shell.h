/* shell.h: system(3) and popen(3) with deadlines, and without their surprises.
 *
 *     FILE *lines;
 *     weft_subprocess *p = weft_popen("ls | sort", "r", &lines);
 *     while (p != NULL && fgets(line, sizeof line, lines) != NULL)
 *         fputs(line, stdout);
 *     weft_pclose(p, lines, &status, weft_in_s(5));
 *
 * Signals stay as they are, and no other child inherits a pipe.  See weft_shell(3).
 */
#ifndef WEFT_SHELL_H
#define WEFT_SHELL_H

#include <weft/subprocess.h>

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Runs sh -c command on our streams and waits; at the deadline it is ended as by
 * weft_subprocess_run.  *status (may be NULL) as from waitpid(2).  EINVAL: no command; else as
 * weft_subprocess_run. */
int weft_system(const char *command, int *status, weft_deadline d);

/* Starts sh -c command with a stream to read its output ("r") or to write its input ("w").
 * fileno(*stream) is -1, weft_subprocess_stream gives the pipe.  A write when nobody reads fails
 * with EPIPE, without a signal.  End it with weft_pclose.  EINVAL: another mode, no command; else
 * as weft_subprocess_start. */
weft_subprocess *weft_popen(const char *command, const char *mode, FILE **stream);

/* Flushes and closes the stream, waits for the command, frees both, always.  At the deadline the
 * command gets SIGTERM, WEFT_KILL_AFTER_NS later SIGKILL: ETIMEDOUT.  ECHILD: its status is lost;
 * else the flush's error. */
int weft_pclose(weft_subprocess *p, FILE *stream, int *status, weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
