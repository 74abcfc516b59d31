/* sink.h: where what a program writes to a pipe goes: into a buffer, or to a function as it comes.
 *
 *     weft_sink lines = {.take = print_line, .arg = stdout, .lines = true};
 *     weft_subprocess_options o = {.out = {.kind = WEFT_STREAM_PIPE, .sink = &lines}};
 *     weft_subprocess_run(argv, &o, NULL, weft_in_s(5));
 *
 * Of subprocess.h's, subprocess_map.h's and pipeline.h's calls.  See weft_sink(3).
 */
#ifndef WEFT_SINK_H
#define WEFT_SINK_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that grow.  Start from {0}.  What has collected a stream is a string even if nothing came:
 * data is not NULL, and data[size] is 0. */
typedef struct weft_buffer {
    char *data;
    size_t size, capacity;
} weft_buffer;

/* Frees the bytes and makes *b empty again.  NULL is nothing to do. */
void weft_buffer_free(weft_buffer *b);

/* All zero: an output is collected, however much it is.  When a sink has had enough, or fails, the
 * child is ended as at a deadline, and the call fails with that errno. */
typedef struct weft_sink {
    /* Not NULL: nothing is collected, it gets n bytes as they come.  Not 0: that was enough, with
     * errno (ECANCELED if that is 0). */
    int (*take)(const char *bytes, size_t n, void *arg);
    void *arg;
    bool lines; /* it gets a line each time; one longer than `limit` (0: 1 MB) in parts */

    /* Collected: at more bytes than this, ENOBUFS, and the buffer has the first.  0: no limit. */
    size_t limit;

    /* Collected: what is longer goes into an unnamed file in TMPDIR (/tmp), which data is mapped
     * to; ENOSPC, EFBIG, ... if it can't.  0: all stays in memory. */
    size_t memory;
} weft_sink;

#ifdef __cplusplus
}
#endif

#endif
