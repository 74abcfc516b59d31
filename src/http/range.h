// range.h: the ranges of bytes that a request asks for (RFC 9110 14.1.2).
#ifndef WEFT_HTTP_RANGE_H
#define WEFT_HTTP_RANGE_H

#include <stddef.h>
#include <stdint.h>

namespace weft {

enum { RANGES_MOST = 16 };

struct byte_range {
    int64_t first, size;
};

// Reads a Range field for `size` bytes.  Returns how many of its ranges there are bytes for; 0:
// send the whole, for the field says no ranges, more than RANGES_MOST, or several that come to more
// than the whole; -1: it says ranges, and there are no bytes for any of them (416).
int range_parse(byte_range ranges[RANGES_MOST], const char *text, size_t n, int64_t size);

} // namespace weft

#endif
