// fetch.cc: plain HTTP/1.1 GETs, several at once.
#include <weft/io.h>

#include "../verbs.h"
#include "answer.h"

#include <unistd.h>

struct fetch_job {
    char host[256], address[300];
    const char *url, *path; // the path without its first slash, if there is one
    int path_size;          // with the query
    answer got;
};

static char **fetch_urls;
static int fetch_count, fetch_next, fetch_ended, fetch_failed;
static bool fetch_to_files;

static bool fetch_parse(fetch_job *f)
{
    const char *host = f->url + 7;
    size_t n = strncmp(f->url, "http://", 7) == 0 ? strcspn(host, "/?#") : 0;
    if (n == 0 || n >= sizeof f->host || strpbrk(host, " \t\r\n") != nullptr)
        return false;
    snprintf(f->host, sizeof f->host, "%.*s", (int)n, host);
    f->path = host + n + (host[n] == '/');
    f->path_size = (int)strcspn(f->path, "#");
    const char *port = strrchr(f->host, ':');
    bool has_port = port != nullptr && strchr(port, ']') == nullptr;
    snprintf(f->address, sizeof f->address, "tcp:%s%s", f->host, has_port ? "" : ":80");
    return true;
}

static bool fetch_get(fetch_job *f, weft_deadline d)
{
    char request[4096];
    int n = snprintf(request, sizeof request,
                     "GET /%.*s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", f->path_size,
                     f->path, f->host);
    if (n >= (int)sizeof request) {
        errno = ENAMETOOLONG;
        return false;
    }
    int fd = weft_io_connect(f->address, d);
    if (fd < 0)
        return false;
    bool well = weft_io_write(fd, request, (size_t)n, d) == n && answer_read(&f->got, fd, d);
    return weft_io_close(fd) == 0 && well; // which leaves errno alone
}

// To standard output, or to a file of the path's last name.
static bool fetch_keep(const fetch_job *f)
{
    if (!fetch_to_files)
        return f->got.size == 0 || fwrite(f->got.body, 1, f->got.size, stdout) == f->got.size;
    size_t end = strcspn(f->path, "?#"), begin = end;
    char name[256] = "index.html";
    while (begin > 0 && f->path[begin - 1] != '/')
        begin--;
    if (begin < end)
        snprintf(name, sizeof name, "%.*s", (int)(end - begin), f->path + begin);
    FILE *out = fopen(name, "w");
    bool well = out != nullptr &&
                (f->got.size == 0 || fwrite(f->got.body, 1, f->got.size, out) == f->got.size);
    return out != nullptr && fclose(out) == 0 && well;
}

static void fetch_report(const fetch_job *f, const char *why, int64_t ns)
{
    bool redraw = isatty(STDERR_FILENO) != 0;
    fprintf(stderr, "%s%s: ", redraw ? "\r\033[K" : "", f->url);
    if (why == nullptr)
        fprintf(stderr, "%d, %zu bytes", f->got.status, f->got.size);
    fprintf(stderr, "%s, %.1f ms\n", why != nullptr ? why : "", (double)ns / 1e6);
    if (redraw && fetch_ended < fetch_count)
        fprintf(stderr, "%d of %d", fetch_ended, fetch_count);
}

static void *fetch_some(void *)
{
    while (fetch_next < fetch_count) {
        fetch_job f = {};
        int64_t start = weft_now();
        f.url = fetch_urls[fetch_next++];
        errno = 0;
        bool known = fetch_parse(&f),
             well = known && fetch_get(&f, weft_in_s(60)) && fetch_keep(&f);
        const char *why = !known  ? "not an http:// URL"
                          : errno ? strerror(errno)
                                  : "no whole answer";
        fetch_failed += !well || f.got.status >= 400;
        fetch_ended++;
        fetch_report(&f, well ? nullptr : why, weft_now() - start);
        free(f.got.body);
    }
    return nullptr;
}

static int fetch(char **urls, int count, long jobs)
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

struct fetch_order {
    char **urls;
    int count;
    long jobs;
};

static int fetch_all(void *arg)
{
    const fetch_order *o = (const fetch_order *)arg;
    return fetch(o->urls, o->count, o->jobs);
}

static int run(int argc, char **argv)
{
    fetch_order o = {nullptr, 0, 8};
    for (int c; (c = options_next(argc, argv, "+:hj:O", nullptr)) != -1;) {
        if (c == 'j')
            o.jobs = options_number(optarg, 1, 10000);
        else
            fetch_to_files = true;
    }
    if (optind == argc)
        options_bad("fetch", "needs URL...");
    o.urls = argv + optind;
    o.count = argc - optind;
    return options_finish(weft_io_run(fetch_all, &o) != 0);
}

extern const verb verb_fetch = {"fetch", "[-j jobs] [-O] URL...",
                                "gets URLs (http:// alone), so many at once (8); -O: into files\n",
                                run};
