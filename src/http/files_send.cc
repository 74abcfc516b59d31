// files_send.cc: what is answered with a file: all of it, ranges, or that a condition does not
// hold.
//
// A file that has become shorter than it was said to be ends the connection with a reset: no client
// takes what came for the whole.
#include "files.h"

#include "exchange.h"
#include "range.h"

#include <base/errno.h>

#include <weft/tasklet.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

using namespace weft;

static const int64_t PIECE = 256 << 10; // of a file, before others have their turn

// As file_send.
static bool send_large(weft_http_exchange *x, const file_body *b, int64_t at, int64_t n)
{
    while (n > 0) {
        int64_t size = n < PIECE ? n : PIECE;
        ssize_t sent = weft_http_send_file(x, b->fd, at, (size_t)size, WEFT_FOREVER);
        if (sent != size) {
            weft_http_abort(x);
            return false;
        }
        at += size;
        n -= size;
        if (n > 0)
            weft_tasklet_yield();
    }
    return true;
}

static bool send_bytes(weft_http_exchange *x, const file_body *b, int64_t at, int64_t n)
{
    if (exchange_is_mute(x))
        return true;
    if (b->fd >= 0)
        return send_large(x, b, at, n);
    if (n > 0)
        weft_http_write(x, b->bytes + at, (size_t)n, WEFT_FOREVER);
    return true;
}

static bool send_whole(weft_http_exchange *x, const file_body *b)
{
    return exchange_begin(x, 200, b->fields, b->fields_size, b->seen.st_size, false) != 0 ||
           send_bytes(x, b, 0, b->seen.st_size);
}

// ---- Ranges ----

// Content-Range: bytes 0-99/1234
static size_t print_range(char *to, size_t room, const byte_range *r, int64_t size)
{
    return (size_t)snprintf(to, room,
                            "Content-Range: bytes %" PRId64 "-%" PRId64 "/%" PRId64 "\r\n",
                            r->first, r->first + r->size - 1, size);
}

static bool send_none(weft_http_exchange *x, const file_body *b)
{
    char range[64];
    snprintf(range, sizeof range, "bytes */%" PRId64, (int64_t)b->seen.st_size);
    weft_http_set(x, "Content-Range", range);
    exchange_answer(x, 416);
    return true;
}

static bool send_one(weft_http_exchange *x, const file_body *b, const byte_range *r)
{
    char fields[FIELDS_MOST + 128];
    size_t n = print_range(fields, 128, r, b->seen.st_size);
    memcpy(fields + n, b->fields, b->fields_size);
    return exchange_begin(x, 206, fields, n + b->fields_size, r->size, false) != 0 ||
           send_bytes(x, b, r->first, r->size);
}

enum { BOUNDARY = 24, PART_HEAD = 512 };

// Nobody knows it beforehand, so nobody can put it into a file.
static bool make_boundary(char text[BOUNDARY + 1])
{
    static const char letters[] =
        "0123456789abcdefghijklmnopqrstuvABCDEFGHIJKLMNOPQRSTUVWXYZwxyz-_";
    unsigned char random[BOUNDARY];
    if (getrandom(random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
        return false;
    for (int i = 0; i < BOUNDARY; i++)
        text[i] = letters[random[i] & 63];
    text[BOUNDARY] = 0;
    return true;
}

static size_t print_part(char to[PART_HEAD], const file_body *b, const char *boundary,
                         const byte_range *r)
{
    size_t n =
        (size_t)snprintf(to, PART_HEAD, "\r\n--%s\r\n%.*s", boundary, (int)b->type_size, b->fields);
    n += print_range(to + n, PART_HEAD - n, r, b->seen.st_size);
    to[n++] = '\r';
    to[n++] = '\n';
    return n;
}

static bool send_parts(weft_http_exchange *x, const file_body *b, const byte_range *ranges,
                       int count)
{
    char boundary[BOUNDARY + 1], text[FIELDS_MOST + 128], end[BOUNDARY + 16];
    if (!make_boundary(boundary))
        return send_whole(x, b);
    int end_size = snprintf(end, sizeof end, "\r\n--%s--\r\n", boundary);
    int64_t length = end_size;
    for (int i = 0; i < count; i++)
        length += (int64_t)print_part(text, b, boundary, &ranges[i]) + ranges[i].size;
    size_t n = (size_t)snprintf(text, sizeof text,
                                "Content-Type: multipart/byteranges; boundary=%s\r\n%.*s", boundary,
                                (int)(b->fields_size - b->type_size), b->fields + b->type_size);
    if (exchange_begin(x, 206, text, n, length, false) != 0)
        return true;
    for (int i = 0; i < count; i++) {
        n = print_part(text, b, boundary, &ranges[i]);
        weft_http_write(x, text, n, WEFT_FOREVER);
        if (!send_bytes(x, b, ranges[i].first, ranges[i].size))
            return false;
    }
    weft_http_write(x, end, (size_t)end_size, WEFT_FOREVER);
    return true;
}

// ---- What is asked for ----

static bool send_body(weft_http_exchange *x, const asked *a, const file_body *b)
{
    byte_range ranges[RANGES_MOST];
    int count = 0;
    // Ranges are of GET alone (RFC 9110 14.2).
    if (strcmp(x->method, "GET") == 0 && asked_ranges(a, &b->v, time(nullptr)))
        count = range_parse(ranges, a->range.at, a->range.size, b->seen.st_size);
    if (count < 0)
        return send_none(x, b);
    if (count == 0)
        return send_whole(x, b);
    return count == 1 ? send_one(x, b, &ranges[0]) : send_parts(x, b, ranges, count);
}

bool weft::file_send(weft_http_exchange *x, const file_entry *e)
{
    asked a;
    asked_read(&a, x->head);
    const file_body *b = &e->bodies[asked_coding(&a, e->have)];
    int status = asked_is_conditional(&a) ? asked_condition(&a, &b->v, time(nullptr)) : 0;
    if (status == 0)
        return send_body(x, &a, b);
    if (status == 304)
        exchange_begin(x, 304, b->fields + b->type_size, b->fields_size - b->type_size, 0, false);
    else
        exchange_answer(x, status);
    return true;
}
