// word.cc: the words of commands as names, numbers, spans and patterns.
#include "server.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>

using namespace weft;

static char small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool weft::word_is(const word *w, const char *text)
{
    for (size_t i = 0; i < w->size; i++)
        if (text[i] == 0 || small(w->text[i]) != text[i])
            return false;
    return text[w->size] == 0;
}

bool weft::parse_integer(peer *p, const word *w, int64_t *number)
{
    if (parse_number(w->text, w->size, number))
        return true;
    reply_not_integer(p);
    return false;
}

// Not what is too near to 0, or beyond all.
bool weft::parse_float(const word *w, long double *number)
{
    char text[5120], *end;
    if (w->size == 0 || w->size >= sizeof text || isspace((unsigned char)w->text[0]))
        return false;
    memcpy(text, w->text, w->size);
    text[w->size] = 0;
    errno = 0;
    *number = strtold(text, &end);
    bool lost = errno == ERANGE && (isinf(*number) || *number == 0);
    return end == text + w->size && !lost && !isnan(*number);
}

bool weft::parse_seconds(peer *p, const word *w, weft_deadline *d)
{
    long double seconds;
    if (!parse_float(w, &seconds)) {
        reply_error(p, "ERR timeout is not a float or out of range");
        return false;
    }
    long double ms = seconds * 1000;
    if (ms > (long double)LLONG_MAX) {
        reply_error(p, "ERR timeout is out of range");
        return false;
    }
    if (ms < 0) {
        reply_error(p, "ERR timeout is negative");
        return false;
    }
    int64_t whole = (int64_t)ms;
    *d = ms == 0 ? WEFT_FOREVER : weft_in_ms(whole + ((long double)whole < ms));
    return true;
}

// ---- Patterns: * ? [a-z] [^a] and \ before any ----

// Whether `c` is of the class that begins behind the bracket; *p goes behind its end.
static bool is_of_class(const char **p, const char *end, char c)
{
    bool negated = *p < end && **p == '^', found = false;
    *p += negated;
    for (; *p < end && **p != ']'; ++*p) {
        if (**p == '\\' && end - *p >= 2) {
            ++*p;
            found = found || **p == c;
        } else if (end - *p >= 3 && (*p)[1] == '-') {
            char from = (*p)[0], to = (*p)[2];
            found = found || (from <= to ? c >= from && c <= to : c >= to && c <= from);
            *p += 2;
        } else {
            found = found || **p == c;
        }
    }
    *p += *p < end;
    return found != negated;
}

// Whether the pattern's next element takes `c`; then *p goes behind it.
static bool takes(const char **p, const char *end, char c)
{
    const char *at = *p;
    bool is;
    if (*at == '?') {
        is = true;
        at++;
    } else if (*at == '[') {
        at++;
        is = is_of_class(&at, end, c);
    } else {
        at += *at == '\\' && end - at >= 2;
        is = *at++ == c;
    }
    if (is)
        *p = at;
    return is;
}

// With only the last star to go back to, since what came before it fits already: no pattern takes
// longer than its length times the text's.
bool weft::glob_matches(const char *p, size_t n, const char *text, size_t size)
{
    const char *end = p + n, *text_end = text + size, *star = nullptr, *from = nullptr;
    if (size == 0) // Redis does not look at patterns then, but for "*"
        return n == 0 || (n == 1 && *p == '*');
    while (text < text_end) {
        if (p < end && *p == '*') {
            star = ++p;
            from = text;
        } else if (p < end && takes(&p, end, *text)) {
            text++;
        } else if (star != nullptr) {
            p = star;
            text = ++from;
        } else {
            return false;
        }
    }
    while (p < end && *p == '*')
        p++;
    return p == end;
}
