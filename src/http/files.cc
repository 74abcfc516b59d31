// files.cc: a folder that is served: its options, and what is answered where there is no file.
#include "files.h"

#include "exchange.h"
#include "path.h"
#include "text.h"

#include <base/errno.h>
#include <base/list.h>

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

using namespace weft;

enum { CHARSET_MOST = 40 };

// ---- Options ----

static bool is_token(const char *text)
{
    return strlen(text) <= CHARSET_MOST && is_field_name(text, strlen(text));
}

static bool are_valid(const weft_http_files_options *o)
{
    const char *index = o->index != nullptr ? o->index : "", *charset = o->charset;
    return o->revalidate_ns >= 0 && strchr(index, '/') == nullptr && strlen(index) <= NAME_MAX &&
           strcmp(index, ".") != 0 && strcmp(index, "..") != 0 &&
           (charset == nullptr || charset[0] == 0 || is_token(charset));
}

// A copy; of "" nullptr.  false: ENOMEM.
static bool copy(char **to, const char *text, const char *otherwise)
{
    text = text != nullptr ? text : otherwise;
    *to = text[0] != 0 ? strdup(text) : nullptr;
    return text[0] == 0 || *to != nullptr;
}

static bool set_cache_control(weft_http_files *f, int64_t max_age_ns)
{
    char text[80] = "";
    if (max_age_ns > 0)
        snprintf(text, sizeof text, "Cache-Control: max-age=%" PRId64 "\r\n",
                 max_age_ns / 1000000000);
    return copy(&f->cache_control, max_age_ns < 0 ? "Cache-Control: no-cache\r\n" : text, "");
}

static bool set_options(weft_http_files *f, const weft_http_files_options *o)
{
    f->listing = o->listing;
    f->dotfiles = o->dotfiles;
    f->revalidate_ns = o->revalidate_ns > 0 ? o->revalidate_ns : 1000000000;
    if (f->revalidate_ns > NEVER_CHECKED / -2)
        f->revalidate_ns = NEVER_CHECKED / -2;
    f->limit.entries = o->entries > 0 ? o->entries : 4096;
    f->limit.bytes = o->bytes > 0 ? o->bytes : (size_t)64 << 20;
    f->limit.descriptors = o->descriptors > 0 ? o->descriptors : 256;
    const char *types = o->mime_types != nullptr ? o->mime_types : "/etc/mime.types";
    return copy(&f->index, o->index, "index.html") && copy(&f->charset, o->charset, "utf-8") &&
           set_cache_control(f, o->max_age_ns) &&
           (f->types = mime_open(types[0] != 0 ? types : nullptr)) != nullptr;
}

static bool make_buckets(weft_http_files *f)
{
    size_t n = 64;
    while (n < f->limit.entries && n < (size_t)1 << 20)
        n *= 2;
    f->mask = n - 1;
    f->buckets = (file_entry **)calloc(n, sizeof *f->buckets);
    return f->buckets != nullptr;
}

static void free_files(weft_http_files *f)
{
    root_close(&f->root);
    mime_close(f->types);
    free_keep_errno(f->index);
    free_keep_errno(f->charset);
    free_keep_errno(f->cache_control);
    free_keep_errno(f->buckets);
    free_keep_errno(f);
}

weft_http_files *weft_http_files_open(const char *dir, const weft_http_files_options *opts)
{
    weft_http_files_options none = {};
    opts = opts != nullptr ? opts : &none;
    if (dir == nullptr || !are_valid(opts))
        return (weft_http_files *)fail_null(EINVAL);
    weft_http_files *f = (weft_http_files *)calloc(1, sizeof *f);
    if (f == nullptr)
        return nullptr;
    list_init(&f->recent);
    f->root.fd = -1;
    if (root_open(&f->root, dir) == 0 && set_options(f, opts) && make_buckets(f))
        return f;
    free_files(f);
    return nullptr;
}

int weft_http_files_close(weft_http_files *f)
{
    if (f == nullptr)
        return fail_with(EINVAL);
    if (f->handlers > 0)
        return fail_with(EBUSY);
    files_forget(f);
    free_files(f);
    return 0;
}

int weft_http_files_statistics(const weft_http_files *f, weft_http_files_counters *c)
{
    if (f == nullptr || c == nullptr)
        return fail_with(EINVAL);
    *c = f->count;
    return 0;
}

// ---- Requests ----

// Whether a name in the path begins with a dot.  /.well-known is for everyone (RFC 8615).
static bool is_hidden(const weft_http_exchange *x, const char *path)
{
    static const char known[] = ".well-known";
    size_t n = strcspn(path, "/");
    if (n == sizeof known - 1 && memcmp(path, known, n) == 0 && strcmp(x->path + 1, path) == 0)
        path += n;
    return path[0] == '.' || strstr(path, "/.") != nullptr;
}

// The same path with a slash behind it.
static void redirect(weft_http_exchange *x)
{
    size_t n = strlen(x->path), query = x->query != nullptr ? strlen(x->query) : 0;
    char *place = (char *)malloc(n * 3 + query + 3);
    if (place == nullptr) {
        exchange_answer(x, 503);
        return;
    }
    char *end = place + path_escape(place, x->path, n);
    *end++ = '/';
    if (x->query != nullptr) {
        *end++ = '?';
        end = (char *)mempcpy(end, x->query, query);
    }
    *end = 0;
    weft_http_set(x, "Location", place);
    exchange_answer(x, 301);
    free(place);
}

static void list(weft_http_exchange *x, weft_http_files *f, const char *path)
{
    size_t size;
    char *page = list_folder(f, path, x->path, &size);
    if (page == nullptr) {
        exchange_answer(x, errno == EACCES ? 403 : 503);
        return;
    }
    weft_http_reply(x, 200, "text/html; charset=utf-8", page, size);
    free(page);
}

static int status_of(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case EXDEV:
    case ENAMETOOLONG:
        return 404;
    case EACCES:
    case EPERM:
        return 403;
    default:
        return is_out_of_descriptors(error) || error == ENOMEM || error == EAGAIN ? 503 : 500;
    }
}

static bool is_of_folder(const weft_http_exchange *x)
{
    return x->path[strlen(x->path) - 1] == '/';
}

// What is answered when file_find has failed.
static void answer_without(weft_http_exchange *x, weft_http_files *f, const char *path)
{
    struct stat s;
    if (!is_of_folder(x) || (errno != ENOENT && errno != EISDIR)) {
        if (errno == EISDIR)
            redirect(x);
        else
            exchange_answer(x, status_of(errno));
        return;
    }
    if (root_stat(&f->root, path, &s) != 0)
        exchange_answer(x, status_of(errno));
    else if (f->listing)
        list(x, f, path);
    else
        exchange_answer(x, 403);
}

static void answer(weft_http_exchange *x, weft_http_files *f)
{
    const char *path = x->rest + strspn(x->rest, "/");
    if (!f->dotfiles && is_hidden(x, path)) {
        exchange_answer(x, 404);
        return;
    }
    if (path[0] == 0 && !is_of_folder(x)) {
        redirect(x); // the route's prefix itself
        return;
    }
    file_entry *e = file_find(f, path, strlen(path));
    if (e == nullptr) {
        answer_without(x, f, path);
        return;
    }
    if (!file_send(x, e))
        e->checked = NEVER_CHECKED; // to be looked at by the next
    file_release(f, e);
}

void weft_http_files_handler(weft_http_exchange *x, void *files)
{
    weft_http_files *f = (weft_http_files *)files;
    if (x == nullptr || f == nullptr)
        return;
    if (strcmp(x->method, "GET") != 0 && strcmp(x->method, "HEAD") != 0) {
        weft_http_set(x, "Allow", "GET, HEAD, OPTIONS");
        if (strcmp(x->method, "OPTIONS") == 0)
            weft_http_reply(x, 204, nullptr, nullptr, 0);
        else
            exchange_answer(x, 405);
        return;
    }
    f->handlers++;
    answer(x, f);
    f->handlers--;
}
