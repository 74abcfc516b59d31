// answer.cc: an answer of HTTP/1.1 (RFC 9112), as `weft-async fetch` reads it: whole, into memory.
#include "answer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

// Appends n bytes, or all there are (n < 0).  Whether that many came.
static bool answer_take(answer *a, int fd, weft_io_buffer *b, long n, weft_deadline d)
{
    for (ssize_t got = 1; n != 0; n -= n > 0 ? got : 0) {
        size_t room = n > 0 && n < 65536 ? (size_t)n : 65536;
        char *more = (char *)realloc(a->body, a->size + room);
        if (more == nullptr)
            return false;
        a->body = more;
        got = weft_io_read_buffered(fd, b, a->body + a->size, room, d);
        if (got <= 0)
            return n < 0 && got == 0;
        a->size += (size_t)got;
    }
    return true;
}

static bool answer_chunks(answer *a, int fd, weft_io_buffer *b, weft_deadline d)
{
    char *line, *end;
    for (ssize_t got; (got = weft_io_read_until(fd, b, "\r\n", 2, &line, d)) > 2;) {
        if (line[got - 1] != '\n' || !isxdigit((unsigned char)*line))
            break;
        long n = strtol(line, &end, 16);
        if (n <= 0 || strchr(" \t;\r", *end) == nullptr)
            return n == 0;
        if (!answer_take(a, fd, b, n, d) || weft_io_read_until(fd, b, "\r\n", 2, &line, d) != 2)
            break;
    }
    return false;
}

// What a head says of the body behind it.
struct answer_length {
    long bytes; // -1: up to the end
    bool chunked;
};

static bool answer_head(answer *a, int fd, weft_io_buffer *b, answer_length *body, weft_deadline d)
{
    char *line, *end;
    *body = {-1, false};
    ssize_t n = weft_io_read_until(fd, b, "\r\n", 2, &line, d);
    if (n < 14 || memcmp(line, "HTTP/1.", 7) != 0)
        return false;
    a->status = atoi(line + 9);
    while ((n = weft_io_read_until(fd, b, "\r\n", 2, &line, d)) > 2) {
        line[n - 2] = 0;
        if (strncasecmp(line, "content-length:", 15) == 0) {
            body->bytes = strtol(line + 15, &end, 10);
            if (end == line + 15 || body->bytes < 0)
                return false;
        }
        if (strncasecmp(line, "transfer-encoding:", 18) == 0)
            body->chunked = strcasestr(line, "chunked") != nullptr;
    }
    return n == 2;
}

bool answer_read(answer *a, int fd, weft_deadline d)
{
    char memory[16384];
    weft_io_buffer b = {memory, sizeof memory, 0, 0};
    answer_length body;
    do
        if (!answer_head(a, fd, &b, &body, d))
            return false;
    while (a->status / 100 == 1);
    return body.chunked ? answer_chunks(a, fd, &b, d) : answer_take(a, fd, &b, body.bytes, d);
}
