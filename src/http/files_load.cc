// files_load.cc: a file is looked at by its path first, which opens nothing that may be a device or
// a fifo, and opened then.  Another may have its name by now: what is open is what counts.
//
// A neighbour counts as the file compressed if it is no older, by whole seconds: what compresses
// keeps the file's time, and copies of both may come in any order within one.
#include "files.h"

#include "date.h"

#include <base/errno.h>

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

using namespace weft;

static bool ends_with(const char *text, size_t n, const char *end)
{
    size_t size = strlen(end);
    return n >= size && memcmp(text + n - size, end, size) == 0;
}

// What is compressed itself has no compressed neighbours.
static bool may_have_neighbours(const char *file, size_t n)
{
    for (int c = BR; c < CODINGS; c++)
        if (ends_with(file, n, CODING_ENDS[c]))
            return false;
    return true;
}

int weft::file_look(weft_http_files *f, const char *file, file_states *states)
{
    char path[PATH_MAX];
    size_t n = strlen(file);
    int saved = errno;
    const struct stat *own = &states->of[IDENTITY];
    states->have = 0;
    if (n + 5 > sizeof path)
        return fail_with(ENAMETOOLONG);
    if (root_stat(&f->root, file, &states->of[IDENTITY]) != 0)
        return -1;
    if (!S_ISREG(own->st_mode))
        return fail_with(S_ISDIR(own->st_mode) ? EISDIR : EACCES);
    states->have = 1U << IDENTITY;
    memcpy(path, file, n);
    for (int c = BR; c < CODINGS && may_have_neighbours(file, n); c++) {
        struct stat *s = &states->of[c];
        strcpy(path + n, CODING_ENDS[c]);
        if (root_stat(&f->root, path, s) != 0) {
            if (is_out_of_descriptors(errno))
                return -1;
        } else if (S_ISREG(s->st_mode) && s->st_mtim.tv_sec >= own->st_mtim.tv_sec) {
            states->have |= 1U << c;
        }
    }
    errno = saved;
    return 0;
}

// What is renamed or removed meanwhile has another ctime.
static bool has_same_content(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && memcmp(&a->st_mtim, &b->st_mtim, sizeof a->st_mtim) == 0;
}

bool weft::file_is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && has_same_content(a, b) &&
           memcmp(&a->st_ctim, &b->st_ctim, sizeof a->st_ctim) == 0;
}

// ---- A body ----

static int open_body(weft_http_files *f, file_body *b, const char *path)
{
    b->fd = root_openat(&f->root, path, O_RDONLY);
    if (b->fd < 0)
        return -1;
    f->count.descriptors++;
    if (fstat(b->fd, &b->seen) != 0)
        return -1;
    return S_ISREG(b->seen.st_mode) ? 0 : fail_with(EAGAIN);
}

static void close_body(weft_http_files *f, file_body *b)
{
    f->count.descriptors -= b->fd >= 0;
    close_keep_errno(&b->fd);
}

// Takes a small one into memory.
static int read_body(weft_http_files *f, file_body *b)
{
    size_t n = (size_t)b->seen.st_size, done = 0;
    struct stat now;
    if (b->seen.st_size > IN_MEMORY)
        return 0;
    b->bytes = (char *)malloc(n + 1);
    if (b->bytes == nullptr)
        return -1;
    while (done < n) {
        ssize_t got = pread(b->fd, b->bytes + done, n - done, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -1 : fail_with(EAGAIN);
        done += (size_t)got;
    }
    if (fstat(b->fd, &now) != 0 || !has_same_content(&now, &b->seen))
        return fail_with(EAGAIN);
    close_body(f, b);
    return 0;
}

static void describe_etag(file_body *b)
{
    const struct stat *s = &b->seen;
    int n = snprintf(b->etag, sizeof b->etag, "\"%" PRIx64 "-%" PRIx64 "-%" PRIx64 "\"",
                     (uint64_t)s->st_ino, (uint64_t)s->st_size,
                     (uint64_t)s->st_mtim.tv_sec * 1000000000 + (uint64_t)s->st_mtim.tv_nsec);
    int64_t now = time(nullptr);
    b->v.etag = b->etag;
    b->v.etag_size = (size_t)n;
    // One from the future would be of no use to a cache (RFC 9110 8.8.2.1).
    b->v.modified = s->st_mtim.tv_sec < now ? s->st_mtim.tv_sec : now;
}

static int describe(const weft_http_files *f, file_body *b, const file_entry *e, int c)
{
    char text[FIELDS_MOST], date[DATE_ROOM];
    const char *type = mime_type(f->types, e->file, strlen(e->file));
    bool with_charset = f->charset != nullptr && strncmp(type, "text/", 5) == 0;
    describe_etag(b);
    date_print(date, b->v.modified);
    b->type_size =
        (size_t)snprintf(text, sizeof text, "Content-Type: %s%s%s\r\n", type,
                         with_charset ? "; charset=" : "", with_charset ? f->charset : "");
    int n = snprintf(text + b->type_size, sizeof text - b->type_size,
                     "Last-Modified: %s\r\nETag: %s\r\nAccept-Ranges: bytes\r\n%s%s%s%s%s", date,
                     b->etag, c != IDENTITY ? "Content-Encoding: " : "",
                     c != IDENTITY ? CODING_NAMES[c] : "", c != IDENTITY ? "\r\n" : "",
                     e->have != 1U << IDENTITY ? "Vary: Accept-Encoding\r\n" : "",
                     f->cache_control != nullptr ? f->cache_control : "");
    b->fields_size = b->type_size + (size_t)n;
    b->fields = (char *)malloc(b->fields_size + 1);
    if (b->fields == nullptr)
        return -1;
    memcpy(b->fields, text, b->fields_size);
    return 0;
}

// ---- An entry ----

// Timestamps are as coarse as a tick of the kernel, or a second or two in some file systems.
static bool is_young(const struct stat *s)
{
    return time(nullptr) - s->st_ctim.tv_sec < 3;
}

static int load_body(weft_http_files *f, file_entry *e, int c)
{
    char path[PATH_MAX];
    file_body *b = &e->bodies[c];
    snprintf(path, sizeof path, "%s%s", e->file, CODING_ENDS[c]);
    if (open_body(f, b, path) != 0 || read_body(f, b) != 0 || describe(f, b, e, c) != 0)
        return -1;
    e->young = e->young || is_young(&b->seen);
    e->descriptors += b->fd >= 0;
    e->bytes += b->fields_size + (b->bytes != nullptr ? (size_t)b->seen.st_size : 0);
    return 0;
}

int weft::file_load(weft_http_files *f, file_entry *e, unsigned have)
{
    int saved = errno;
    e->seen = e->have = have;
    e->young = false;
    e->descriptors = 0;
    for (file_body &b : e->bodies)
        b.fd = -1; // there is nothing else in it yet
    for (int c = IDENTITY; c < CODINGS; c++)
        if ((e->have & 1U << c) != 0 && load_body(f, e, c) != 0) {
            if (c == IDENTITY || errno != EACCES) {
                file_unload(f, e);
                return -1;
            }
            e->have &= ~(1U << c);
        }
    errno = saved;
    return 0;
}

void weft::file_unload(weft_http_files *f, file_entry *e)
{
    for (file_body &b : e->bodies) {
        close_body(f, &b);
        free_keep_errno(b.bytes);
        free_keep_errno(b.fields);
        b = {};
        b.fd = -1;
    }
}
