// range.cc: ranges are taken in the order in which they are asked for.
//
// What is no range at all is ignored, as RFC 9110 14.2 has it.  That is also the answer to those
// who ask for the same bytes many times over: no answer is longer than the file and a few heads.
#include "range.h"

#include <string.h>
#include <strings.h>

using namespace weft;

namespace {
struct scan {
    const char *at, *end;
};
} // namespace

static void skip_blanks(scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t'))
        s->at++;
}

// Whether it is next; then it is taken.
static bool eat(scan *s, char c)
{
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

// A number, INT64_MAX if it is larger.  -1: there is none.
static int64_t number(scan *s)
{
    int64_t value = -1;
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++) {
        value = value < 0 ? 0 : value;
        if (__builtin_mul_overflow(value, (int64_t)10, &value) ||
            __builtin_add_overflow(value, (int64_t)(*s->at - '0'), &value))
            value = INT64_MAX;
    }
    return value;
}

// One range.  1: it has bytes; 0: it has none of them; -1: it is no range.
static int one(scan *s, int64_t size, byte_range *r)
{
    int64_t first = number(s);
    if (!eat(s, '-'))
        return -1;
    int64_t last = number(s);
    if (first < 0 ? last < 0 : last >= 0 && last < first)
        return -1;
    if (first < 0) {
        r->size = last < size ? last : size;
        r->first = size - r->size;
        return last > 0;
    }
    if (first >= size)
        return 0;
    last = last < 0 || last >= size ? size - 1 : last;
    *r = {first, last - first + 1};
    return 1;
}

int weft::range_parse(byte_range ranges[RANGES_MOST], const char *text, size_t n, int64_t size)
{
    scan s = {text + 6, text + n};
    int asked = 0, count = 0;
    int64_t sum = 0;
    if (n < 6 || strncasecmp(text, "bytes=", 6) != 0)
        return 0;
    for (skip_blanks(&s); s.at < s.end; skip_blanks(&s)) {
        if (eat(&s, ','))
            continue;
        byte_range r;
        int is = ++asked > RANGES_MOST ? -1 : one(&s, size, &r);
        skip_blanks(&s);
        if (is < 0 || (s.at < s.end && *s.at != ','))
            return 0;
        if (is == 0)
            continue;
        ranges[count++] = r;
        if (__builtin_add_overflow(sum, r.size, &sum) || (count > 1 && sum > size))
            return 0;
    }
    if (size == 0 && count > 0)
        return 0; // the last bytes of an empty file are all of it
    return count == 0 && asked > 0 ? -1 : count;
}
