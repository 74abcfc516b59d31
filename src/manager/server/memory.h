// memory.h: memory that is counted, so that max_memory and INFO can be true.
//
// What the machine does not give ends the server with a message: a command can't be half done, and
// Linux promises more than it has, so that there is nobody to tell but its log.
#ifndef WEFT_MANAGER_MEMORY_H
#define WEFT_MANAGER_MEMORY_H

#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

namespace weft {

extern size_t bytes_in_use; // bytes, with what malloc(3) adds

enum { CHUNK_HEADER = sizeof(size_t) };

static inline void memory_check(bool given)
{
    if (__builtin_expect(given, 1))
        return;
    fputs("weft-manager: out of memory\n", stderr);
    abort();
}

static inline void *malloc_counted(void *p)
{
    memory_check(p != nullptr);
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

// So many pieces are given back at once, the others in the background: a command that frees very
// many does not take so much longer, nor do those behind it, for which malloc(3) would sort them.
enum { GIVES_AT_ONCE = 1000 }; // in a round
extern size_t gives_left;
void memory_give_later(void *p); // drop.cc

static inline void memory_give(void *p)
{
    if (p == nullptr)
        return;
    if (__builtin_expect(gives_left == 0, 0)) {
        memory_give_later(p);
        return;
    }
    gives_left--;
    uncount(p);
    free(p);
}

// The same for a piece that may be large: the background does that then, some pages at a time.
void memory_drop(void *p);

// Pages of their own, zeroed, which are taken when they are touched.
static inline void *memory_map(size_t n)
{
    void *p = mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory_check(p != MAP_FAILED);
    bytes_in_use += n;
    return p;
}

static inline void memory_unmap(void *p, size_t n)
{
    bytes_in_use -= n;
    munmap(p, n);
}

// The system may have what whole pages there are in these bytes, which are not needed: they are 0
// then, or as they were.  To give very many back at once takes milliseconds.
static inline void memory_empty(void *p, size_t from, size_t n)
{
    const uintptr_t page = 4096; // if they are larger it refuses, and takes them with the rest
    uintptr_t at = ((uintptr_t)p + from + page - 1) & ~(page - 1),
              end = ((uintptr_t)p + from + n) & ~(page - 1);
    if (at < end)
        madvise((void *)at, end - at, MADV_DONTNEED);
}

} // namespace weft

#endif
