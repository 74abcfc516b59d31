// list.cc: a folder as a page of HTML, folders first, by name.
//
// What is listed is what would be served: no hidden names, no devices, no links that lead out of
// the root, no names with controls, which no path may have.
#include "files.h"

#include "path.h"

#include <base/bytes.h>
#include <base/errno.h>

#include <weft/tasklet.h>

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

using namespace weft;

enum { LISTED_MOST = 20000, TURN = 256 }; // entries; and before others have their turn

namespace {
struct item {
    char *name;
    bool folder;
    int64_t size, changed;
};

struct listing {
    weft_http_files *files;
    const char *path;
    DIR *dir;
    item *items;
    size_t count, room;
    bool cut; // there are more
    bytes page;
};
} // namespace

// ---- Reading ----

static bool is_listed_name(const weft_http_files *f, const char *name)
{
    if (name[0] == '.' && (!f->dotfiles || name[1] == 0 || strcmp(name, "..") == 0))
        return false;
    for (const char *c = name; *c != 0; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    return true;
}

static bool look(const listing *l, const char *name, struct stat *s)
{
    char path[PATH_MAX];
    if (fstatat(dirfd(l->dir), name, s, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    if (S_ISLNK(s->st_mode) &&
        (snprintf(path, sizeof path, "%s%s", l->path, name) >= (int)sizeof path ||
         root_stat(&l->files->root, path, s) != 0))
        return false;
    return S_ISREG(s->st_mode) || S_ISDIR(s->st_mode);
}

static int add(listing *l, const char *name, const struct stat *s)
{
    if (l->count == l->room) {
        size_t room = l->room * 2 + 64;
        item *items = (item *)reallocarray(l->items, room, sizeof *items);
        if (items == nullptr)
            return -1;
        l->items = items;
        l->room = room;
    }
    char *copy = strdup(name);
    if (copy == nullptr)
        return -1;
    l->items[l->count++] = {copy, S_ISDIR(s->st_mode), s->st_size, s->st_mtim.tv_sec};
    return 0;
}

static int read_all(listing *l)
{
    struct stat s;
    for (size_t seen = 1;; seen++) {
        errno = 0;
        const struct dirent *e = readdir(l->dir);
        if (e == nullptr)
            return errno == 0 ? 0 : -1;
        if (seen % TURN == 0)
            weft_tasklet_yield();
        if (!is_listed_name(l->files, e->d_name) || !look(l, e->d_name, &s))
            continue;
        if (l->count == LISTED_MOST) {
            l->cut = true;
            return 0;
        }
        if (add(l, e->d_name, &s) != 0)
            return -1;
    }
}

static int compare(const void *a, const void *b)
{
    const item *x = (const item *)a, *y = (const item *)b;
    return x->folder != y->folder ? y->folder - x->folder : strcmp(x->name, y->name);
}

// ---- Writing ----

static int put(listing *l, const char *text, size_t n)
{
    return bytes_append(&l->page, text, n, 4096, realloc);
}

static int put(listing *l, const char *text)
{
    return put(l, text, strlen(text));
}

static int put_html(listing *l, const char *text)
{
    char *to = bytes_room(&l->page, strlen(text) * 6, 4096, realloc);
    if (to == nullptr)
        return -1;
    char *end = to;
    for (; *text != 0; text++) {
        const char *as = *text == '<'    ? "&lt;"
                         : *text == '>'  ? "&gt;"
                         : *text == '&'  ? "&amp;"
                         : *text == '"'  ? "&quot;"
                         : *text == '\'' ? "&#39;"
                                         : nullptr;
        if (as != nullptr)
            end = stpcpy(end, as);
        else
            *end++ = *text;
    }
    bytes_put(&l->page, (size_t)(end - to));
    return 0;
}

static int put_link(listing *l, const char *name)
{
    size_t n = strlen(name);
    char *to = bytes_room(&l->page, n * 3, 4096, realloc);
    if (to == nullptr)
        return -1;
    bytes_put(&l->page, path_escape(to, name, n));
    return 0;
}

static int put_row(listing *l, const item *i)
{
    char size[32] = "-", date[32] = "", row[128];
    struct tm tm;
    time_t changed = (time_t)i->changed;
    if (!i->folder)
        snprintf(size, sizeof size, "%" PRId64, i->size);
    if (gmtime_r(&changed, &tm) != nullptr)
        strftime(date, sizeof date, "%Y-%m-%d %H:%M", &tm);
    const char *slash = i->folder ? "/" : "";
    int n = snprintf(row, sizeof row, "%s</a><td>%s<td>%s\n", slash, size, date);
    if (put(l, "<tr><td><a href=\"./") != 0 || put_link(l, i->name) != 0 || put(l, slash) != 0 ||
        put(l, "\">") != 0 || put_html(l, i->name) != 0)
        return -1;
    return put(l, row, (size_t)n);
}

static int put_page(listing *l, const char *shown)
{
    static const char begin[] = "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n"
                                "<meta name=\"viewport\" content=\"width=device-width\">\n<title>";
    static const char style[] =
        "</title>\n<style>body{font:16px sans-serif;margin:2em}th,td{text-align:left;"
        "padding:.1em 2em .1em 0}td{font-variant-numeric:tabular-nums}"
        "td:nth-child(2){text-align:right}</style>\n<h1>";
    static const char table[] = "</h1>\n<table>\n<tr><th>Name<th>Bytes<th>Changed (UTC)\n";
    if (put(l, begin) != 0 || put_html(l, shown) != 0 || put(l, style) != 0 ||
        put_html(l, shown) != 0 || put(l, table) != 0)
        return -1;
    if (l->path[0] != 0 && put(l, "<tr><td><a href=\"../\">../</a><td>-<td>\n") != 0)
        return -1;
    for (size_t i = 0; i < l->count; i++) {
        if (put_row(l, &l->items[i]) != 0)
            return -1;
        if (i % TURN == TURN - 1)
            weft_tasklet_yield();
    }
    return put(l, l->cut ? "</table>\n<p>There are more.\n" : "</table>\n");
}

static void free_items(listing *l)
{
    for (size_t i = 0; i < l->count; i++)
        free_keep_errno(l->items[i].name);
    free_keep_errno(l->items);
}

static int open_dir(listing *l)
{
    int fd = root_openat(&l->files->root, l->path, O_RDONLY | O_DIRECTORY);
    l->dir = fd >= 0 ? fdopendir(fd) : nullptr;
    if (l->dir == nullptr)
        close_keep_errno(&fd);
    return l->dir != nullptr ? 0 : -1;
}

static void close_dir(listing *l)
{
    int saved = errno;
    closedir(l->dir);
    errno = saved;
}

char *weft::list_folder(weft_http_files *f, const char *path, const char *shown, size_t *size)
{
    listing l = {};
    int saved = errno;
    l.files = f;
    l.path = path;
    if (open_dir(&l) != 0)
        return nullptr;
    int result = read_all(&l);
    close_dir(&l);
    if (result == 0 && l.count > 0)
        qsort(l.items, l.count, sizeof *l.items, compare);
    if (result == 0)
        result = put_page(&l, shown);
    free_items(&l);
    if (result != 0) {
        bytes_release(&l.page);
        return nullptr;
    }
    errno = saved;
    *size = bytes_count(&l.page);
    return l.page.data;
}
