// mime.cc: two sorted tables, the user's file before the one below.
#include "mime.h"

#include <base/errno.h>

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace weft;

static const size_t FILE_MOST = 1 << 20;
static const size_t EXTENSION_MOST = 31, TYPE_MOST = 127;
static const char UNKNOWN[] = "application/octet-stream";

namespace {
struct row {
    const char *extension, *type;
};
} // namespace

struct weft::mime_types {
    char *text; // of the file; rows point into it
    row *rows;
    size_t count, room;
};

// Sorted by extension.
static const row KNOWN[] = {
    {"7z", "application/x-7z-compressed"},
    {"aac", "audio/aac"},
    {"apng", "image/apng"},
    {"atom", "application/atom+xml"},
    {"avi", "video/x-msvideo"},
    {"avif", "image/avif"},
    {"bmp", "image/bmp"},
    {"br", "application/x-brotli"},
    {"bz2", "application/x-bzip2"},
    {"c", "text/plain"},
    {"cc", "text/plain"},
    {"conf", "text/plain"},
    {"cpp", "text/plain"},
    {"css", "text/css"},
    {"csv", "text/csv"},
    {"deb", "application/vnd.debian.binary-package"},
    {"doc", "application/msword"},
    {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {"eot", "application/vnd.ms-fontobject"},
    {"epub", "application/epub+zip"},
    {"flac", "audio/flac"},
    {"gif", "image/gif"},
    {"gz", "application/gzip"},
    {"h", "text/plain"},
    {"htm", "text/html"},
    {"html", "text/html"},
    {"ico", "image/vnd.microsoft.icon"},
    {"ics", "text/calendar"},
    {"jar", "application/java-archive"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript"},
    {"json", "application/json"},
    {"jsonld", "application/ld+json"},
    {"jxl", "image/jxl"},
    {"log", "text/plain"},
    {"m3u8", "application/vnd.apple.mpegurl"},
    {"m4a", "audio/mp4"},
    {"map", "application/json"},
    {"md", "text/markdown"},
    {"mid", "audio/midi"},
    {"mjs", "text/javascript"},
    {"mov", "video/quicktime"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"mpeg", "video/mpeg"},
    {"mpg", "video/mpeg"},
    {"odp", "application/vnd.oasis.opendocument.presentation"},
    {"ods", "application/vnd.oasis.opendocument.spreadsheet"},
    {"odt", "application/vnd.oasis.opendocument.text"},
    {"oga", "audio/ogg"},
    {"ogg", "audio/ogg"},
    {"ogv", "video/ogg"},
    {"opus", "audio/ogg"},
    {"otf", "font/otf"},
    {"patch", "text/x-diff"},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"ppt", "application/vnd.ms-powerpoint"},
    {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
    {"ps", "application/postscript"},
    {"py", "text/x-python"},
    {"rar", "application/vnd.rar"},
    {"rss", "application/rss+xml"},
    {"rtf", "application/rtf"},
    {"sh", "text/x-sh"},
    {"svg", "image/svg+xml"},
    {"svgz", "image/svg+xml"},
    {"tar", "application/x-tar"},
    {"text", "text/plain"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"toml", "application/toml"},
    {"ts", "video/mp2t"},
    {"ttf", "font/ttf"},
    {"txt", "text/plain"},
    {"vtt", "text/vtt"},
    {"wasm", "application/wasm"},
    {"wav", "audio/wav"},
    {"weba", "audio/webm"},
    {"webm", "video/webm"},
    {"webmanifest", "application/manifest+json"},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"xhtml", "application/xhtml+xml"},
    {"xls", "application/vnd.ms-excel"},
    {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
    {"xml", "application/xml"},
    {"xsl", "application/xslt+xml"},
    {"xz", "application/x-xz"},
    {"yaml", "application/yaml"},
    {"yml", "application/yaml"},
    {"zip", "application/zip"},
    {"zst", "application/zstd"},
};

static const size_t KNOWN_COUNT = sizeof KNOWN / sizeof *KNOWN;

// ---- The file ----

static char *read_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat s;
    char *text =
        fd < 0 || fstat(fd, &s) != 0 || !S_ISREG(s.st_mode) ? nullptr : (char *)malloc(FILE_MOST);
    ssize_t n = text != nullptr ? read(fd, text, FILE_MOST - 1) : -1;
    close_keep_errno(&fd);
    if (n < 0) {
        free(text);
        return nullptr;
    }
    text[n] = 0;
    char *fits = (char *)realloc(text, (size_t)n + 1);
    return fits != nullptr ? fits : text;
}

// It becomes part of a header field.
static bool is_type(const char *text)
{
    static const char others[] = "!#$&^_.+-/";
    for (const char *c = text; *c != 0; c++)
        if (!((*c | 32) >= 'a' && (*c | 32) <= 'z') && !(*c >= '0' && *c <= '9') &&
            strchr(others, *c) == nullptr)
            return false;
    return strchr(text, '/') != nullptr && strlen(text) <= TYPE_MOST;
}

static void lower(char *text)
{
    for (; *text != 0; text++)
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text | 32);
}

static int add(mime_types *m, char *extension, const char *type)
{
    if (m->count == m->room) {
        size_t room = m->room * 2 + 512;
        row *rows = (row *)reallocarray(m->rows, room, sizeof *rows);
        if (rows == nullptr)
            return -1;
        m->rows = rows;
        m->room = room;
    }
    lower(extension);
    m->rows[m->count++] = {extension, type};
    return 0;
}

// A type and extensions: "text/html  html htm".
static int add_line(mime_types *m, char *line)
{
    static const char blanks[] = " \t\r";
    char *rest, *type = strtok_r(line, blanks, &rest);
    if (type == nullptr || type[0] == '#' || !is_type(type))
        return 0;
    for (char *word; (word = strtok_r(nullptr, blanks, &rest)) != nullptr && word[0] != '#';)
        if (add(m, word, type) != 0)
            return -1;
    return 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const row *)a)->extension, ((const row *)b)->extension);
}

// Those of the same extension stay in the file's order.
static int compare_places(const void *a, const void *b)
{
    int order = compare(a, b);
    const row *x = (const row *)a, *y = (const row *)b;
    return order != 0 ? order : (x->extension > y->extension) - (x->extension < y->extension);
}

static void keep_first_of_each(mime_types *m)
{
    size_t kept = 0;
    qsort(m->rows, m->count, sizeof *m->rows, compare_places);
    for (size_t i = 0; i < m->count; i++)
        if (kept == 0 || compare(&m->rows[kept - 1], &m->rows[i]) != 0)
            m->rows[kept++] = m->rows[i];
    m->count = kept;
}

mime_types *weft::mime_open(const char *path)
{
    mime_types *m = (mime_types *)calloc(1, sizeof *m);
    int saved = errno;
    if (m == nullptr)
        return nullptr;
    m->text = path != nullptr ? read_file(path) : nullptr;
    char *rest, *line = m->text != nullptr ? strtok_r(m->text, "\n", &rest) : nullptr;
    for (; line != nullptr; line = strtok_r(nullptr, "\n", &rest))
        if (add_line(m, line) != 0) {
            mime_close(m);
            return fail_null(ENOMEM);
        }
    if (m->count > 0)
        keep_first_of_each(m);
    errno = saved;
    return m;
}

void weft::mime_close(mime_types *m)
{
    if (m == nullptr)
        return;
    free_keep_errno(m->text);
    free_keep_errno(m->rows);
    free_keep_errno(m);
}

// ---- Names ----

const char *weft::mime_type(const mime_types *m, const char *name, size_t n)
{
    char extension[EXTENSION_MOST + 1];
    const char *slash = (const char *)memrchr(name, '/', n);
    const char *base = slash != nullptr ? slash + 1 : name;
    const char *dot = (const char *)memrchr(base, '.', (size_t)(name + n - base));
    size_t size = dot != nullptr ? (size_t)(name + n - dot - 1) : 0;
    if (dot == base || size == 0 || size > EXTENSION_MOST)
        return UNKNOWN;
    memcpy(extension, dot + 1, size);
    extension[size] = 0;
    lower(extension);
    row key = {extension, nullptr};
    const row *r = m->count == 0
                       ? nullptr
                       : (const row *)bsearch(&key, m->rows, m->count, sizeof key, compare);
    if (r == nullptr)
        r = (const row *)bsearch(&key, KNOWN, KNOWN_COUNT, sizeof key, compare);
    return r != nullptr ? r->type : UNKNOWN;
}
