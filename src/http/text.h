// text.h: what may stand where in a message (RFC 9110, 5.6; RFC 3986), and texts compared.
#ifndef WEFT_HTTP_TEXT_H
#define WEFT_HTTP_TEXT_H

#include <weft/http_parse.h>

#include <string.h>

namespace weft {

enum {
    IS_TOKEN = 1,  // of names, methods, options
    IS_TEXT = 2,   // of values: no controls but the tab
    IS_TARGET = 4, // visible ASCII; no fragment is sent
    IS_HOST = 8    // of names and IPv4 addresses
};

struct byte_classes {
    unsigned char of[256];

    constexpr byte_classes() : of()
    {
        for (int c = 0; c < 256; c++) {
            bool letter = (c | 32) >= 'a' && (c | 32) <= 'z', digit = c >= '0' && c <= '9';
            int is = (c >= ' ' || c == '\t') && c != 127 ? IS_TEXT : 0;
            if (c > ' ' && c < 127 && c != '#')
                is |= IS_TARGET;
            if (letter || digit)
                is |= IS_TOKEN | IS_HOST;
            of[c] = (unsigned char)is;
        }
        for (const char *c = "!#$%&'*+-.^_`|~"; *c != 0; c++)
            of[(unsigned char)*c] |= IS_TOKEN;
        for (const char *c = "-._~"; *c != 0; c++)
            of[(unsigned char)*c] |= IS_HOST;
    }
};

static constexpr byte_classes classes;

static inline bool byte_is(char c, int what)
{
    return (classes.of[(unsigned char)c] & what) != 0;
}

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

// How many of the first bytes are all of this class.
static inline size_t span_of(const char *at, size_t n, int what)
{
    size_t i = 0;
    while (i < n && byte_is(at[i], what))
        i++;
    return i;
}

// Whether it may be a field's name, or a method.
static inline bool is_field_name(const char *text, size_t n)
{
    return n > 0 && span_of(text, n, IS_TOKEN) == n;
}

// Whether it may be a field's value, with no blanks around it: the other side would not see those.
static inline bool is_field_value(const char *text, size_t n)
{
    return span_of(text, n, IS_TEXT) == n &&
           (n == 0 || !(is_blank(text[0]) || is_blank(text[n - 1])));
}

static inline bool is_letter(char c)
{
    return (c | 32) >= 'a' && (c | 32) <= 'z';
}

// Whether both are the same but for upper and lower case.
static inline bool text_is(weft_http_text text, const char *other, size_t size)
{
    if (text.size != size)
        return false;
    for (size_t i = 0; i < size; i++)
        if (text.at[i] != other[i] && ((text.at[i] ^ other[i]) != 32 || !is_letter(other[i])))
            return false;
    return true;
}

static inline bool text_is(weft_http_text text, const char *other)
{
    return text_is(text, other, strlen(other));
}

// Without the blanks around it.
static inline weft_http_text text_trim(weft_http_text t)
{
    const char *begin = t.at, *end = t.at + t.size;
    while (begin < end && is_blank(*begin))
        begin++;
    while (begin < end && is_blank(end[-1]))
        end--;
    return {begin, (size_t)(end - begin)};
}

// Takes the next member, which may be empty, from the front of a list with commas; false: no more.
// Not for lists in which a quoted string may have a comma.
static inline bool list_next(weft_http_text *list, weft_http_text *member)
{
    if (list->at == nullptr)
        return false;
    const char *comma = list->size > 0 ? (const char *)memchr(list->at, ',', list->size) : nullptr;
    size_t n = comma != nullptr ? (size_t)(comma - list->at) : list->size;
    *member = text_trim({list->at, n});
    *list = comma != nullptr ? weft_http_text{comma + 1, list->size - n - 1} : weft_http_text{};
    return true;
}

// All of it as a decimal number: digits alone.  false: it is none, or it is beyond 63 bits.
static inline bool text_number(weft_http_text t, int64_t *number)
{
    int64_t value = 0;
    for (size_t i = 0; i < t.size; i++) {
        int digit = t.at[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, (int64_t)10, &value) ||
            __builtin_add_overflow(value, (int64_t)digit, &value))
            return false;
    }
    *number = value;
    return t.size > 0;
}

} // namespace weft

#endif
