// fetch.cc: plain HTTP/1.1 GETs, several at once, over connections that are kept.
#include <weft/http_client.h>
#include <weft/io.h>

#include "../verbs.h"

#include <unistd.h>

struct fetch_job {
    const char *url;
    int status;
    char *body; // to be freed
    size_t size;
};

static weft_http_client *fetch_client;
static char **fetch_urls;
static int fetch_count, fetch_next, fetch_ended, fetch_failed;
static bool fetch_to_files;

static bool fetch_get(fetch_job *f, weft_deadline d)
{
    weft_http_response *r = weft_http_get(fetch_client, f->url, d);
    if (r == nullptr)
        return false;
    f->status = r->status;
    ssize_t n = weft_http_response_read_all(r, &f->body, SIZE_MAX, d);
    f->size = n > 0 ? (size_t)n : 0;
    return weft_http_response_close(r) == 0 && n >= 0; // which leaves errno alone
}

// What failed, in the words of who asked.
static const char *fetch_why(int error)
{
    if (error == EINVAL || error == EPROTONOSUPPORT)
        return "not an http:// URL";
    return error == EBADMSG || error == ECONNRESET ? "no whole answer" : strerror(error);
}

// The last name of the path.
static void fetch_name(const char *url, char *name, size_t room)
{
    const char *path = strstr(url, "://");
    path = path != nullptr ? path + 3 : url;
    path += strcspn(path, "/?#");
    size_t end = strcspn(path, "?#"), begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    snprintf(name, room, "%.*s", (int)(end - begin), path + begin);
    if (*name == 0)
        snprintf(name, room, "index.html");
}

// To standard output, or to a file of that name.
static bool fetch_keep(const fetch_job *f)
{
    if (!fetch_to_files)
        return fwrite(f->body, 1, f->size, stdout) == f->size;
    char name[256];
    fetch_name(f->url, name, sizeof name);
    FILE *out = fopen(name, "w");
    bool well = out != nullptr && fwrite(f->body, 1, f->size, out) == f->size;
    return out != nullptr && fclose(out) == 0 && well;
}

static void fetch_report(const fetch_job *f, const char *why, int64_t ns)
{
    bool redraw = isatty(STDERR_FILENO) != 0;
    fprintf(stderr, "%s%s: ", redraw ? "\r\033[K" : "", f->url);
    if (why == nullptr)
        fprintf(stderr, "%d, %zu bytes", f->status, f->size);
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
        bool well = fetch_get(&f, weft_in_s(60)) && fetch_keep(&f);
        int error = errno;
        fetch_failed += !well || f.status >= 400;
        fetch_ended++;
        fetch_report(&f, well ? nullptr : fetch_why(error), weft_now() - start);
        free(f.body);
    }
    return nullptr;
}

static int fetch(char **urls, int count, long jobs)
{
    weft_tasklet_options o = {};
    weft_http_client_options limits = {};
    o.detached = true;
    limits.url = 4096;
    limits.redirects = -1;
    fetch_client = weft_http_client_create(&limits);
    if (fetch_client == nullptr)
        options_fail("weft-async");
    fetch_urls = urls;
    fetch_count = count;
    while (jobs-- > 0)
        if (weft_tasklet_spawn(fetch_some, nullptr, &o) == nullptr)
            options_fail("weft-async");
    weft_tasklet_run();
    weft_http_client_destroy(fetch_client);
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
