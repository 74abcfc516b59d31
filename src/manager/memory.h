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

extern size_t weft_private_held; // bytes, with what malloc(3) adds

enum { WEFT_CHUNK_HEADER = sizeof(size_t) };

static inline void *weft_private_counted(void *p)
{
    if (__builtin_expect(p == nullptr, 0)) {
        fputs("weft-manager: out of memory\n", stderr);
        abort();
    }
    weft_private_held += malloc_usable_size(p) + WEFT_CHUNK_HEADER;
    return p;
}

static inline void weft_private_uncount(void *p)
{
    weft_private_held -= malloc_usable_size(p) + WEFT_CHUNK_HEADER;
}

static inline void *weft_private_take(size_t n)
{
    return weft_private_counted(malloc(n));
}

static inline void *weft_private_take_zeroed(size_t n, size_t size)
{
    return weft_private_counted(calloc(n, size));
}

static inline void *weft_private_retake(void *p, size_t n)
{
    if (p != nullptr)
        weft_private_uncount(p);
    return weft_private_counted(realloc(p, n));
}

static inline void weft_private_give(void *p)
{
    if (p == nullptr)
        return;
    weft_private_uncount(p);
    free(p);
}

#endif
