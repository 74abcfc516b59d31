/* http_files.h: folders and an access log for a server of http.h.
 *
 *     weft_http_files *f = weft_http_files_open("/var/www", NULL);
 *     weft_http_log *l = weft_http_log_open("access.log");
 *     weft_http_server_options o = {.done = weft_http_log_done, .arg = l};
 *     weft_http_route(s, "GET", "/", weft_http_files_handler, f); // of a server with these options
 *
 * Both are for one thread, and stay until the server is destroyed. */
#ifndef WEFT_HTTP_FILES_H
#define WEFT_HTTP_FILES_H

#include <weft/http.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_http_files weft_http_files;
typedef struct weft_http_log weft_http_log;

/* ---- Files ---- */

/* All zero is the default.  Texts are copied. */
typedef struct weft_http_files_options {
    const char *index;      /* what stands for a folder; NULL: index.html; "": nothing */
    const char *mime_types; /* a table of types, before the one that is built in; NULL:
                               /etc/mime.types; "": none */
    const char *charset;    /* said of text/... types; NULL: utf-8; "": none */
    bool listing;           /* folders without an index are listed; else 403 */
    bool dotfiles;          /* names that begin with a dot are served; else 404 */
    int64_t max_age_ns;    /* Cache-Control: max-age, in whole seconds; 0: the field is left out; */
                           /* below 0: no-cache */
    int64_t revalidate_ns; /* a file that changes is seen so much later at most; 0: 1 s */
    size_t entries;        /* kept in the cache at most; 0: 4096 */
    size_t bytes;          /* of the memory for them; 0: 64 MiB */
    size_t descriptors;    /* open for them; 0: 256 */
} weft_http_files_options;

/* Opens the folder, which stays that one even if it is moved.  EINVAL: NULL, an option below 0 or
 * that is no part of a field; as open(2); ENOMEM. */
weft_http_files *weft_http_files_open(const char *dir, const weft_http_files_options *opts);

/* EBUSY: a handler is at work.  EINVAL: NULL. */
int weft_http_files_close(weft_http_files *f);

/* Answers GET and HEAD with the file that x->rest names in the folder `files`, a weft_http_files:
 * for weft_http_route.  Nothing outside of the folder is ever opened.  Looking for a file that is
 * not in the cache, and reading one, may block.  The manual says what is answered. */
void weft_http_files_handler(weft_http_exchange *x, void *files);

typedef struct weft_http_files_counters {
    uint64_t hits;      /* answered from the cache without a look at the file */
    uint64_t checks;    /* looked at, and as it was */
    uint64_t misses;    /* opened */
    size_t entries;     /* now; those that are still being sent included */
    size_t bytes;       /* of memory, now */
    size_t descriptors; /* now */
} weft_http_files_counters;

/* EINVAL: NULL. */
int weft_http_files_statistics(const weft_http_files *f, weft_http_files_counters *c);

/* ---- The access log ---- */

/* Opens a file, or a pipe that somebody reads, to append to it; a new one has the mode 0640.
 * EINVAL: NULL; as open(2); ENOMEM. */
weft_http_log *weft_http_log_open(const char *path);

/* Opens the path anew, after the file was moved.  Doesn't wait.  As open; then the old one stays.
 */
int weft_http_log_reopen(weft_http_log *l);

/* Writes what is left and ends it.  Doesn't wait.  EPERM: another thread's; EINVAL: NULL. */
int weft_http_log_close(weft_http_log *l);

/* Adds a line for x to `log`, a weft_http_log: for weft_http_server_options.done.  It is written
 * within a second, with others. */
void weft_http_log_done(const weft_http_exchange *x, void *log);

typedef struct weft_http_log_counters {
    uint64_t lines;   /* written, or on their way */
    uint64_t dropped; /* lost, for the file or pipe took no more */
} weft_http_log_counters;

/* EINVAL: NULL. */
int weft_http_log_statistics(const weft_http_log *l, weft_http_log_counters *c);

#ifdef __cplusplus
}
#endif

#endif
