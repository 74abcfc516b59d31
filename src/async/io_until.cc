// io_until.cc: reading to a delimiter.  What comes beyond it stays in the caller's buffer; what was
// searched already is not searched again.
#include "descriptor.h"

#include <base/errno.h>

#include <string.h>

using namespace weft;

static ssize_t take(weft_io_buffer *b, size_t n, char **text)
{
    *text = b->data + b->begin;
    b->begin += n;
    return (ssize_t)n;
}

// Reads more; what is there is moved to the front when there is no room behind it.
static ssize_t fill(int fd, weft_io_buffer *b, weft_deadline d)
{
    if (b->begin == b->end) {
        b->begin = b->end = 0;
    } else if (b->end == b->room && b->begin > 0) {
        memmove(b->data, b->data + b->begin, b->end - b->begin);
        b->end -= b->begin;
        b->begin = 0;
    }
    if (b->end == b->room)
        return fail_with(EMSGSIZE);
    ssize_t n = weft_io_read(fd, b->data + b->end, b->room - b->end, d);
    if (n > 0)
        b->end += (size_t)n;
    return n;
}

static bool is_sound(const weft_io_buffer *b)
{
    return b != nullptr && b->data != nullptr && b->room > 0 && b->begin <= b->end &&
           b->end <= b->room;
}

ssize_t weft_io_read_until(int fd, weft_io_buffer *b, const void *delimiter, size_t length,
                           char **text, weft_deadline d)
{
    if (!is_sound(b) || delimiter == nullptr || length == 0 || text == nullptr)
        return fail_with(EINVAL);
    for (size_t searched = 0;;) {
        const char *from = b->data + b->begin + searched;
        size_t n = b->end - b->begin;
        const char *at = (const char *)memmem(from, n - searched, delimiter, length);
        if (at != nullptr)
            return take(b, (size_t)(at - (b->data + b->begin)) + length, text);
        searched = n >= length ? n - length + 1 : 0;
        ssize_t got = fill(fd, b, d);
        if (got < 0)
            return -1;
        if (got == 0)
            return take(b, b->end - b->begin, text);
    }
}

ssize_t weft_io_read_buffered(int fd, weft_io_buffer *b, void *buf, size_t n, weft_deadline d)
{
    if (!is_sound(b))
        return fail_with(EINVAL);
    size_t there = b->end - b->begin;
    if (there == 0)
        return weft_io_read(fd, buf, n, d);
    n = n < there ? n : there;
    memcpy(buf, b->data + b->begin, n);
    b->begin += n;
    return (ssize_t)n;
}
