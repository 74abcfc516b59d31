// Any bytes as what a request for a file has: its path, dates, ranges, conditions and codings. What
// comes of them must be true: a path is normal, a date reads back, a range lies in the file.
//
// sources: src/http/path.cc src/http/date.cc src/http/range.cc src/http/asked.cc
#include <http/asked.h>
#include <http/date.h>
#include <http/path.h>
#include <http/range.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

using namespace weft;

static const int64_t NOW = 1796133600;

static void must(bool truth)
{
    if (!truth)
        abort();
}

static void check_path(const char *text, size_t n)
{
    char *path = (char *)malloc(n + 1), *escaped = (char *)malloc(n * 3 + 2);
    ssize_t size = path_normalise(path, text, n);
    if (size >= 0) {
        must((size_t)size <= n && path[0] == '/' && strlen(path) == (size_t)size);
        must(strstr(path, "//") == NULL && strstr(path, "/./") == NULL);
        must(strstr(path, "/../") == NULL &&
             strcmp(path + size - (size < 3 ? size : 3), "/..") != 0);
        // It is its own normal form, and survives being escaped.
        char *again = (char *)malloc((size_t)size * 3 + 1);
        size_t m = path_escape(escaped, path, (size_t)size);
        must(path_normalise(again, escaped, m) == size && strcmp(again, path) == 0);
        free(again);
    }
    free(path);
    free(escaped);
}

static void check_date(const char *text, size_t n)
{
    int64_t seconds = 0, back = 0;
    char printed[DATE_ROOM];
    if (!date_parse(text, n, NOW, &seconds) || seconds > INT64_C(253402300799))
        return; // the last second of 9999 may be a leap second
    date_print(printed, seconds);
    must(date_parse(printed, DATE_SIZE, NOW, &back) && back == seconds);
}

static void check_range(const char *text, size_t n, int64_t size)
{
    byte_range ranges[RANGES_MOST];
    int count = range_parse(ranges, text, n, size);
    int64_t sum = 0;
    must(count >= -1 && count <= RANGES_MOST);
    for (int i = 0; i < count; i++) {
        must(ranges[i].first >= 0 && ranges[i].size > 0);
        must(ranges[i].first <= size - ranges[i].size);
        must(!__builtin_add_overflow(sum, ranges[i].size, &sum) && sum <= size);
    }
}

// Each line is a field: a letter for its name, then its value.
static void check_fields(const char *text, size_t n)
{
    static const char *const names[] = {
        "If-Match",          "If-None-Match",       "If-Range",        "Range",
        "If-Modified-Since", "If-Unmodified-Since", "Accept-Encoding", "Host"};
    static const validators v = {"\"abc\"", 5, 784111777};
    weft_http_field fields[16];
    weft_http_head head = {};
    head.fields = fields;
    for (const char *end = text + n; text < end && head.count < 16;) {
        const char *line = (const char *)memchr(text, '\n', (size_t)(end - text));
        line = line != NULL ? line : end;
        const char *name = names[(unsigned char)*text & 7];
        if (line > text)
            fields[head.count++] = {{name, strlen(name)}, {text + 1, (size_t)(line - text - 1)}};
        text = line + 1;
    }
    asked a;
    asked_read(&a, &head);
    int status = asked_condition(&a, &v, NOW);
    must(status == 0 || status == 304 || status == 412);
    if (asked_ranges(&a, &v, NOW))
        check_range(a.range.at, a.range.size, 1000);
    for (unsigned have = 1; have < 16; have += 2)
        must((have & 1U << asked_coding(&a, have)) != 0);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    // A copy of the exact size, so that a step beyond it is seen.
    char *text = (char *)malloc(size > 0 ? size : 1);
    if (size > 0)
        memcpy(text, data, size);
    check_path(text, size);
    check_date(text, size);
    check_range(text, size, 0);
    check_range(text, size, 1000);
    check_range(text, size, INT64_MAX);
    check_fields(text, size);
    free(text);
    return 0;
}
