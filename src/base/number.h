// number.h: whole numbers as text, without locale, white space or a leading plus.
#ifndef WEFT_BASE_NUMBER_H
#define WEFT_BASE_NUMBER_H

#include <stddef.h>
#include <stdint.h>

namespace weft {

enum { NUMBER_ROOM = 21 }; // digits and sign of any, and a 0

// Reads all n bytes as a decimal number.  false: they are none, or it is beyond 64 bits.
static inline bool number_parse(const char *text, size_t n, int64_t *number)
{
    bool negative = n > 0 && text[0] == '-';
    size_t i = negative;
    uint64_t value = 0;
    if (i == n)
        return false;
    for (; i < n; i++) {
        unsigned digit = (unsigned)(unsigned char)text[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value))
            return false;
    }
    if (value > (uint64_t)INT64_MAX + negative)
        return false;
    *number = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

// Writes it and a 0; how many characters, the 0 not counted.
static inline size_t number_print(char text[NUMBER_ROOM], int64_t number)
{
    char digits[NUMBER_ROOM], *d = digits + sizeof digits;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    size_t n = 0;
    do
        *--d = (char)('0' + left % 10);
    while ((left /= 10) != 0);
    if (number < 0)
        text[n++] = '-';
    while (d != digits + sizeof digits)
        text[n++] = *d++;
    text[n] = 0;
    return n;
}

// What a hexadecimal digit means; -1: it is none.
static inline int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 32);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

} // namespace weft

#endif
