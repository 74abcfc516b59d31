// bytes.h: bytes on their way: put in at one end, taken out at the other.
//
//     char *to = bytes_room(&b, 512, 4096, realloc); // nullptr: ENOMEM
//     bytes_put(&b, read(fd, to, bytes_free(&b)));
//     bytes_take(&b, parse(bytes_at(&b), bytes_count(&b)));
//
// What is there lies in one piece, from `begin` to `end`.  It is moved to the front of the memory
// only when that makes at least half of it free, so each byte is moved a bounded number of times.
#ifndef WEFT_BASE_BYTES_H
#define WEFT_BASE_BYTES_H

#include "errno.h"

#include <stddef.h>
#include <string.h>

namespace weft {

typedef void *reallocate(void *p, size_t n); // realloc(3), or what counts or limits its memory

// Doubles *room, from `least` on, until `need` fit in it.  *data stays what it was on ENOMEM.
static inline int grow(char **data, size_t *room, size_t need, size_t least, reallocate *get)
{
    size_t n = *room > least ? *room : least;
    while (n < need)
        if (__builtin_mul_overflow(n, (size_t)2, &n))
            return fail_with(ENOMEM);
    if (n == *room)
        return 0;
    char *grown = (char *)get(*data, n);
    if (grown == nullptr)
        return fail_with(ENOMEM);
    *data = grown;
    *room = n;
    return 0;
}

// All zero: empty, with no memory.
struct bytes {
    char *data;
    size_t room, begin, end;
};

static inline size_t bytes_count(const bytes *b)
{
    return b->end - b->begin;
}

static inline char *bytes_at(const bytes *b)
{
    return b->data + b->begin;
}

// How many can be put at once.
static inline size_t bytes_free(const bytes *b)
{
    return b->room - b->end;
}

// Moves what is there to the front, so that all the free room is behind it.
static inline void bytes_to_front(bytes *b)
{
    if (b->begin == 0)
        return;
    memmove(b->data, bytes_at(b), bytes_count(b));
    b->end -= b->begin;
    b->begin = 0;
}

// Where the next ones go, of which at least `n` fit; the first memory is
// of `least` bytes.  nullptr: ENOMEM, and nothing has changed.
static inline char *bytes_room(bytes *b, size_t n, size_t least, reallocate *get)
{
    if (__builtin_expect(bytes_free(b) < n, 0)) {
        size_t count = bytes_count(b), need;
        if (b->begin >= count && b->room - count >= n) {
            bytes_to_front(b);
        } else if (__builtin_add_overflow(b->end, n, &need) ||
                   grow(&b->data, &b->room, need, least, get) != 0) {
            errno = ENOMEM;
            return nullptr;
        }
    }
    return b->data + b->end;
}

// Gives the memory back.
static inline void bytes_release(bytes *b)
{
    free_keep_errno(b->data);
    *b = {};
}

// So many were put where bytes_room said.
static inline void bytes_put(bytes *b, size_t n)
{
    b->end += n;
}

// Copies n bytes behind the last.  As bytes_room: -1: ENOMEM.
static inline int bytes_append(bytes *b, const void *from, size_t n, size_t least, reallocate *get)
{
    if (n == 0)
        return 0;
    char *to = bytes_room(b, n, least, get);
    if (to == nullptr)
        return -1;
    memcpy(to, from, n);
    bytes_put(b, n);
    return 0;
}

// So many of the first are done with.
static inline void bytes_take(bytes *b, size_t n)
{
    b->begin += n;
    if (b->begin == b->end)
        b->begin = b->end = 0;
}

} // namespace weft

#endif
