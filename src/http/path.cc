// path.cc: paths are decoded and normalised in one pass, a segment at a time.
//
// Decoding comes first, so that no encoding of a dot or a slash gets past what looks for them, and
// it is done once: %252e is the name %2e.  What is written never overtakes what is read.
#include "path.h"

#include <base/errno.h>
#include <base/number.h>

#include <string.h>

using namespace weft;

// The next character; -1: it is none that a path may have.
static int decode(const char *text, size_t n, size_t *at)
{
    int c = (unsigned char)text[(*at)++];
    if (c == '%') {
        int high = *at + 1 < n ? hex_digit(text[*at]) : -1;
        int low = high >= 0 ? hex_digit(text[*at + 1]) : -1;
        if (low < 0)
            return -1;
        c = high * 16 + low;
        *at += 2;
    }
    return c < ' ' || c == 0x7f ? -1 : c;
}

// The path to[0..n) ends with a segment that begins at *segment.  Returns the path's new length
// when that is empty or . or ..; -1: it leads above the root.
static ssize_t end_segment(const char *to, size_t *segment, size_t n)
{
    size_t size = n - *segment, at = *segment;
    if (size > 2 || (size > 0 && memcmp(to + at, "..", size) != 0))
        return (ssize_t)n;
    if (size == 2) {
        if (at == 1)
            return -1;
        for (at--; to[at - 1] != '/';)
            at--;
    }
    *segment = at;
    return (ssize_t)at;
}

ssize_t weft::path_normalise(char *to, const char *text, size_t n)
{
    size_t segment = 1, used = 1;
    if (n == 0 || text[0] != '/')
        return fail_with(EINVAL);
    to[0] = '/';
    for (size_t at = 1; at <= n;) {
        int c = at < n ? decode(text, n, &at) : (at++, 0);
        if (c < 0)
            return fail_with(EINVAL);
        if (c == '/' || c == 0) {
            ssize_t left = end_segment(to, &segment, used);
            if (left < 0)
                return fail_with(EINVAL);
            used = (size_t)left;
            if (used == segment || c == 0)
                continue;
        }
        to[used++] = (char)c;
        if (c == '/')
            segment = used;
    }
    to[used] = 0;
    return (ssize_t)used;
}

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("-._~/", c) != nullptr);
}

size_t weft::path_escape(char *to, const char *text, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    char *end = to;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (is_plain((char)c)) {
            *end++ = (char)c;
            continue;
        }
        *end++ = '%';
        *end++ = digits[c >> 4];
        *end++ = digits[c & 15];
    }
    return (size_t)(end - to);
}
