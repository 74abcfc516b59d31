// memory.h: memory that is counted, so that max_memory and INFO can be true.
//
// What the machine does not give ends the server with a message: a command can't be half done, and
// Linux promises more than it has, so that there is nobody to tell but its log.
#ifndef WEFT_MANAGER_MEMORY_H
#define WEFT_MANAGER_MEMORY_H

#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

namespace weft {

extern size_t bytes_in_use; // bytes, with what malloc(3) adds

enum { CHUNK_HEADER = sizeof(size_t) };

static inline void *malloc_counted(void *p)
{
    if (__builtin_expect(p == nullptr, 0)) {
        fputs("weft-manager: out of memory\n", stderr);
        abort();
    }
    bytes_in_use += malloc_usable_size(p) + CHUNK_HEADER;
    return p;
}

static inline void uncount(void *p)
{
    bytes_in_use -= malloc_usable_size(p) + CHUNK_HEADER;
}

static inline void *memory_take(size_t n)
{
    return malloc_counted(malloc(n));
}

static inline void *memory_take_zeroed(size_t n, size_t size)
{
    return malloc_counted(calloc(n, size));
}

static inline void *retake(void *p, size_t n)
{
    if (p != nullptr)
        uncount(p);
    return malloc_counted(realloc(p, n));
}

static inline void memory_give(void *p)
{
    if (p == nullptr)
        return;
    uncount(p);
    free(p);
}

} // namespace weft

#endif
