// page.h: a text that grows, for people and machines that look in: INFO, the metrics.
#ifndef WEFT_MANAGER_PAGE_H
#define WEFT_MANAGER_PAGE_H

#include "server.h"

#include <stdarg.h>

namespace weft {

struct page {
    char *text; // memory_give; nullptr: nothing yet
    size_t n, room;
};

__attribute__((format(printf, 2, 3))) static inline void print(page *out, const char *format, ...)
{
    va_list rest;
    va_start(rest, format);
    va_list again;
    va_copy(again, rest);
    size_t n = (size_t)vsnprintf(nullptr, 0, format, rest);
    va_end(rest);
    if (out->room - out->n <= n) {
        out->room = out->room + n + 4096;
        out->text = (char *)retake(out->text, out->room);
    }
    vsnprintf(out->text + out->n, n + 1, format, again);
    va_end(again);
    out->n += n;
}

// Bytes of the process, as the system sees it (command_server.cc).
size_t memory_resident(void);

} // namespace weft

#endif
