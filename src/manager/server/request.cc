// request.cc: see request.h.  Words are kept as offsets until the command is whole, since the
// input may move while more of it comes.
//
// As in Redis, a line ends at its CR, and the two bytes after a string are not looked at.
#include "request.h"

#include "memory.h"

#include <base/number.h>

#include <limits.h>
#include <string.h>

using namespace weft;

static const size_t LINE = 65536; // an inline command; the line of a length

bool weft::parse_number(const char *text, size_t n, int64_t *number)
{
    size_t sign = n > 0 && text[0] == '-';
    if (n > 1 && n > sign && text[sign] == '0') // as Redis: 0 is "0", and nothing else begins so
        return false;
    return number_parse(text, n, number);
}

static void add(request *r, size_t offset, size_t size)
{
    if (r->count == r->room) {
        r->room = r->room == 0 ? 8 : r->room * 2;
        r->words = (word *)retake(r->words, r->room * sizeof *r->words);
    }
    r->words[r->count].text = (const char *)offset;
    r->words[r->count++].size = size;
}

static int whole(request *r, const char *in)
{
    for (size_t i = 0; i < r->count; i++)
        r->words[i].text = in + (size_t)r->words[i].text;
    return REQUEST_WHOLE;
}

static int bad(const char **error, const char *why)
{
    *error = why;
    return REQUEST_BAD;
}

// ---- Inline commands ----

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == 0;
}

// What an escape in double quotes stands for; *p is behind the backslash, and goes to its last.
static char escaped(const char **p, const char *end)
{
    const char *s = *p;
    if (*s == 'x' && end - s > 2 && hex_digit(s[1]) >= 0 && hex_digit(s[2]) >= 0) {
        *p += 2;
        return (char)((unsigned)hex_digit(s[1]) << 4 | (unsigned)hex_digit(s[2]));
    }
    static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
    const char *which = *s != 0 ? strchr(from, *s) : nullptr;
    return which != nullptr ? to[which - from] : *s;
}

// A word from *p on, written to `to`.  Its end there; nullptr: quotes are out of balance.
static char *unquote(const char **p, const char *end, char *to)
{
    char quote = 0;
    for (; *p < end; ++*p) {
        char c = **p;
        if (quote == 0 && is_blank(c))
            break;
        if (quote == 0 && (c == '"' || c == '\'')) {
            quote = c;
        } else if (quote == '"' && c == '\\' && *p + 1 < end) {
            ++*p;
            *to++ = escaped(p, end);
        } else if (quote == '\'' && c == '\\' && *p + 1 < end && (*p)[1] == '\'') {
            ++*p;
            *to++ = '\'';
        } else if (quote != 0 && c == quote) {
            if (*p + 1 < end && !is_blank((*p)[1]))
                return nullptr;
            quote = 0;
            ++*p;
            break;
        } else {
            *to++ = c;
        }
    }
    return quote == 0 ? to : nullptr;
}

static int read_inline(request *r, char *in, size_t n, const request_limits *limits,
                       const char **error)
{
    char *line = in + r->at, *end = (char *)memchr(line, '\n', n - r->at);
    if (!limits->known && (end != nullptr ? (size_t)(end - line) : n - r->at) > limits->word)
        return bad(error, "Protocol error: too big inline request");
    if (end == nullptr) {
        return n - r->at > LINE ? bad(error, "Protocol error: too big inline request")
                                : REQUEST_PART;
    }
    r->at = (size_t)(end - in) + 1;
    if (end > line && end[-1] == '\r')
        end--;
    end = line + strnlen(line, (size_t)(end - line)); // Redis looks at it as a C string
    for (const char *p = line; p < end;) {
        while (p < end && is_blank(*p))
            p++;
        if (p == end)
            break;
        size_t begin = (size_t)(p - in);
        char *to = unquote(&p, end, in + begin);
        if (to == nullptr)
            return bad(error, "Protocol error: unbalanced quotes in request");
        add(r, begin, (size_t)(to - in) - begin);
        if (r->count > limits->words)
            return bad(error, "Protocol error: unauthenticated multibulk length");
    }
    return whole(r, in);
}

// ---- Arrays ----

// The number in the line at `at`, behind its first byte.  PART: the line is not whole.
static int read_length(request *r, const char *in, size_t n, int64_t *length)
{
    const char *line = in + r->at + 1;
    size_t there = n - r->at - 1;
    // Nearly all lengths have one digit or two.
    const char *end = there > 3 && line[1] == '\r'   ? line + 1
                      : there > 3 && line[2] == '\r' ? line + 2
                                                     : (const char *)memchr(line, '\r', there);
    if (end == nullptr || end + 1 >= in + n)
        return REQUEST_PART;
    r->at = (size_t)(end - in) + 2;
    return parse_number(line, (size_t)(end - line), length) ? REQUEST_WHOLE : REQUEST_BAD;
}

static int read_head(request *r, const char *in, size_t n, const request_limits *limits,
                     const char **error)
{
    int64_t words;
    size_t from = r->at;
    int got = read_length(r, in, n, &words);
    if (got == REQUEST_PART)
        return n - from > LINE ? bad(error, "Protocol error: too big mbulk count string") : got;
    if (got == REQUEST_BAD || words > INT_MAX)
        return bad(error, "Protocol error: invalid multibulk length");
    if (words > (int64_t)limits->words)
        return bad(error, limits->known ? "Protocol error: invalid multibulk length"
                                        : "Protocol error: unauthenticated multibulk length");
    r->wanted = words > 0 ? (size_t)words : 0;
    return REQUEST_WHOLE;
}

static int read_size(request *r, const char *in, size_t n, const request_limits *limits,
                     const char **error)
{
    static char expected[] = "Protocol error: expected '$', got ' '";
    int64_t size;
    size_t from = r->at;
    if (from >= n)
        return REQUEST_PART;
    if (in[from] != '$') {
        const char *end = (const char *)memchr(in + from, '\r', n - from);
        if (end == nullptr || end + 1 == in + n)
            return n - from > LINE ? bad(error, "Protocol error: too big bulk count string")
                                   : REQUEST_PART;
        expected[sizeof expected - 3] = in[from];
        return bad(error, expected);
    }
    int got = read_length(r, in, n, &size);
    if (got == REQUEST_PART)
        return n - from > LINE ? bad(error, "Protocol error: too big bulk count string") : got;
    if (got == REQUEST_BAD || size < 0)
        return bad(error, "Protocol error: invalid bulk length");
    if ((uint64_t)size > limits->word || r->at + (size_t)size > limits->all)
        return bad(error, limits->known ? "Protocol error: invalid bulk length"
                                        : "Protocol error: unauthenticated bulk length");
    r->size = (size_t)size;
    r->sized = true;
    return REQUEST_WHOLE;
}

int weft::request_read(request *r, char *in, size_t n, const request_limits *limits,
                       const char **error)
{
    if (r->wanted == 0) {
        if (r->at >= n)
            return REQUEST_PART;
        if (in[r->at] != '*')
            return read_inline(r, in, n, limits, error);
        int got = read_head(r, in, n, limits, error);
        if (got != REQUEST_WHOLE || r->wanted == 0)
            return got;
    }
    while (r->count < r->wanted) {
        if (!r->sized) {
            int got = read_size(r, in, n, limits, error);
            if (got != REQUEST_WHOLE)
                return got;
        }
        if (n - r->at < r->size + 2)
            return REQUEST_PART;
        add(r, r->at, r->size);
        r->at += r->size + 2;
        r->sized = false;
    }
    return whole(r, in);
}

void weft::request_next(request *r)
{
    r->count = r->wanted = r->at = r->size = 0;
    r->sized = false;
}

size_t weft::request_size(const request *r)
{
    return r->at + (r->sized ? r->size + 2 : 0);
}
