// fetch.h: plain HTTP/1.1 GETs, several at once.
#ifndef WEFT_DEMO_FETCH_H
#define WEFT_DEMO_FETCH_H

#include <weft/io.h>

#include "options.h"

#include <unistd.h>

struct fetch_job {
    char host[256], address[300];
    const char *url, *path;
    int status;
    char *body;
    size_t size;
};

static char **fetch_urls;
static int fetch_count, fetch_next, fetch_ended, fetch_failed;
static bool fetch_to_files;

static inline bool fetch_parse(fetch_job *f)
{
    const char *host = f->url + 7;
    size_t n = strncmp(f->url, "http://", 7) == 0 ? strcspn(host, "/") : 0;
    if (n == 0 || n >= sizeof f->host)
        return false;
    snprintf(f->host, sizeof f->host, "%.*s", (int)n, host);
    f->path = host[n] != 0 ? host + n : "/";
    const char *port = strrchr(f->host, ':');
    bool has_port = port != nullptr && strchr(port, ']') == nullptr;
    snprintf(f->address, sizeof f->address, "tcp:%s%s", f->host, has_port ? "" : ":80");
    return true;
}

// Appends n bytes, or all there are (n < 0).  Whether that many came.
static inline bool fetch_take(fetch_job *f, int fd, weft_io_buffer *b, long n, weft_deadline d)
{
    for (ssize_t got = 1; n != 0; n -= n > 0 ? got : 0) {
        size_t room = n > 0 && n < 65536 ? (size_t)n : 65536;
        char *more = (char *)realloc(f->body, f->size + room);
        if (more == nullptr)
            return false;
        f->body = more;
        got = weft_io_read_buffered(fd, b, f->body + f->size, room, d);
        if (got <= 0)
            return n < 0 && got == 0;
        f->size += (size_t)got;
    }
    return true;
}

static inline bool fetch_chunks(fetch_job *f, int fd, weft_io_buffer *b, weft_deadline d)
{
    char *line;
    while (weft_io_read_until(fd, b, "\r\n", 2, &line, d) > 0) {
        long n = strtol(line, nullptr, 16);
        if (n <= 0)
            return n == 0;
        if (!fetch_take(f, fd, b, n, d) || weft_io_read_until(fd, b, "\r\n", 2, &line, d) != 2)
            break;
    }
    return false;
}

// The head, then the body in whichever way the server sends it.
static inline bool fetch_answer(fetch_job *f, int fd, weft_deadline d)
{
    char memory[16384], *line;
    weft_io_buffer b = {memory, sizeof memory, 0, 0};
    long length = -1;
    bool chunked = false;
    ssize_t n = weft_io_read_until(fd, &b, "\r\n", 2, &line, d);
    if (n < 14 || memcmp(line, "HTTP/1.", 7) != 0)
        return false;
    f->status = atoi(line + 9);
    while ((n = weft_io_read_until(fd, &b, "\r\n", 2, &line, d)) > 2) {
        line[n - 2] = 0;
        if (strncasecmp(line, "content-length:", 15) == 0)
            length = atol(line + 15);
        if (strncasecmp(line, "transfer-encoding:", 18) == 0)
            chunked = strcasestr(line, "chunked") != nullptr;
    }
    return n == 2 && (chunked ? fetch_chunks(f, fd, &b, d) : fetch_take(f, fd, &b, length, d));
}

static inline bool fetch_get(fetch_job *f, weft_deadline d)
{
    char request[4096];
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", f->path, f->host);
    int fd = n < (int)sizeof request ? weft_io_connect(f->address, d) : -1;
    if (fd < 0)
        return false;
    bool well = weft_io_write(fd, request, (size_t)n, d) == n && fetch_answer(f, fd, d);
    return weft_io_close(fd) == 0 && well; // which leaves errno alone
}

// To standard output, or to a file of the path's last name.
static inline bool fetch_keep(const fetch_job *f)
{
    if (!fetch_to_files)
        return f->size == 0 || fwrite(f->body, 1, f->size, stdout) == f->size;
    const char *name = strrchr(f->path, '/') + 1;
    FILE *out = fopen(*name != 0 ? name : "index.html", "w");
    bool well = out != nullptr && (f->size == 0 || fwrite(f->body, 1, f->size, out) == f->size);
    return out != nullptr && fclose(out) == 0 && well;
}

static inline void fetch_report(const fetch_job *f, const char *why, int64_t ns)
{
    bool redraw = isatty(STDERR_FILENO) != 0;
    fprintf(stderr, "%s%s: ", redraw ? "\r\033[K" : "", f->url);
    if (why == nullptr)
        fprintf(stderr, "%d, %zu bytes", f->status, f->size);
    fprintf(stderr, "%s, %.1f ms\n", why != nullptr ? why : "", (double)ns / 1e6);
    if (redraw && fetch_ended < fetch_count)
        fprintf(stderr, "%d of %d", fetch_ended, fetch_count);
}

static inline void *fetch_some(void *)
{
    while (fetch_next < fetch_count) {
        fetch_job f = {};
        int64_t start = weft_now();
        f.url = fetch_urls[fetch_next++];
        errno = 0;
        bool known = fetch_parse(&f),
             well = known && fetch_get(&f, weft_in_s(60)) && fetch_keep(&f);
        const char *why = !known ? "not an http:// URL" : errno ? strerror(errno) : "no answer";
        fetch_failed += !well || f.status >= 400;
        fetch_ended++;
        fetch_report(&f, well ? nullptr : why, weft_now() - start);
        free(f.body);
    }
    return nullptr;
}

static inline int fetch(char **urls, int count, long jobs)
{
    weft_tasklet_options o = {};
    o.detached = true;
    fetch_urls = urls;
    fetch_count = count;
    while (jobs-- > 0)
        if (weft_tasklet_spawn(fetch_some, nullptr, &o) == nullptr)
            options_fail("weft-async");
    weft_tasklet_run();
    fprintf(stderr, "fetched %d of %d\n", count - fetch_failed, count);
    return fetch_failed != 0;
}

#endif
