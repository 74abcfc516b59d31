/* status.h: what a status says, as waitpid(2) gives it, and as weft does of each child: of one that
 * runs a program (subprocess.h) or a function (process.h, pool.h).
 *
 *     char text[64];
 *     if (weft_process_join(p, &status, d) == 0 && weft_status_code(status) != 0)
 *         fprintf(stderr, "%s\n", weft_status_text(status, text, sizeof text));
 *
 * It needs no library.  Nothing here waits or fails.  See weft_status(3).
 */
#ifndef WEFT_STATUS_H
#define WEFT_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef __USE_GNU /* glibc 2.32 and newer have it; without _GNU_SOURCE string.h hides it */
const char *sigabbrev_np(int signal);
#endif

/* The exit code, or -1 if a signal killed it. */
static inline int weft_status_exited(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The signal that killed it, or 0. */
static inline int weft_status_signal(int status)
{
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* A signal killed it, and it left a core dump. */
static inline bool weft_status_core(int status)
{
    return WIFSIGNALED(status) && (status & 0x80) != 0; /* WCOREDUMP, which strict modes hide */
}

/* What a shell's $? would be: the exit code, or 128 + signal. */
static inline int weft_status_code(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* It is meant to cut, also in a caller's small array. */
#if defined __GNUC__ && !defined __clang__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-truncation"
#endif

/* "exited with 3", "killed by SIGSEGV (core dumped)": into text, cut to size.  Returns text. */
static inline char *weft_status_text(int status, char *text, size_t size)
{
    int by = weft_status_signal(status);
    const char *core = weft_status_core(status) ? " (core dumped)" : "";
    if (by == 0)
        snprintf(text, size, "exited with %d", weft_status_exited(status));
    else if (sigabbrev_np(by))
        snprintf(text, size, "killed by SIG%s%s", sigabbrev_np(by), core);
    else
        snprintf(text, size, "killed by signal %d%s", by, core);
    return text;
}

#if defined __GNUC__ && !defined __clang__
#pragma GCC diagnostic pop
#endif

#ifdef __cplusplus
}
#endif

#endif
