// reply.cc: replies, in the protocol that the peer speaks.
//
// A peer that is being served borrows the server's spare buffer for its replies; others, to whom a
// reply comes unasked (their wait is over), get one of their own.  peer.cc sends both.
#include "server.h"

#include <stdarg.h>

// Makes room.  More than may wait for a peer is not kept for it: it is cut, and what else it would
// be told is dropped.  Moving what waits to the front has to make room for a good part of that, or
// for a slow reader it would be moved with each reply.
static void grow(weft_private_peer *p, size_t n)
{
    weft_private_buffer *b = &p->out;
    if (b->begin > 0) {
        memmove(b->data, b->data + b->begin, b->end - b->begin);
        b->end -= b->begin;
        b->begin = 0;
    }
    size_t limit = p->server->o.max_reply, most = limit < SIZE_MAX / 2 ? limit + limit / 2 : limit;
    if (b->end + n > limit) {
        weft_private_peer_doom(p);
        p->silent = 1;
    }
    if (b->room - b->end >= n && b->room - b->end >= b->room / 4)
        return;
    size_t room = b->room * 2 > 256 ? b->room * 2 : 256;
    room = room < most ? room : most;
    b->room = room > b->room && room - b->end >= n ? room : b->end + n;
    b->data = (char *)weft_private_retake(b->data, b->room);
}

// Memory for n more bytes; the peer is dirty from now on.
static char *room_for(weft_private_peer *p, size_t n)
{
    weft_private_buffer *b = &p->out;
    if (__builtin_expect(b->room - b->end < n, 0)) {
        if (b->room == 0 && p->server->spare.room - p->server->spare.end >= n) {
            *b = p->server->spare;
            p->server->spare = {};
        } else {
            grow(p, n);
        }
    }
    if (!p->is_dirty)
        weft_private_peer_dirty(p);
    return b->data + b->end;
}

void weft_private_reply_raw(weft_private_peer *p, const char *text, size_t n)
{
    if (__builtin_expect(p->silent != 0, 0))
        return;
    memcpy(room_for(p, n), text, n);
    p->out.end += n;
}

// A sign, a number and the line's end.
static void reply_number(weft_private_peer *p, char sign, int64_t number)
{
    char text[32], *at = text + sizeof text;
    uint64_t n = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    *--at = '\n';
    *--at = '\r';
    do {
        *--at = (char)('0' + n % 10);
    } while ((n /= 10) != 0);
    if (number < 0)
        *--at = '-';
    *--at = sign;
    weft_private_reply_raw(p, at, (size_t)(text + sizeof text - at));
}

void weft_private_reply_status(weft_private_peer *p, const char *text)
{
    weft_private_reply_raw(p, "+", 1);
    weft_private_reply_raw(p, text, strlen(text));
    weft_private_reply_raw(p, "\r\n", 2);
}

void weft_private_reply_ok(weft_private_peer *p)
{
    weft_private_reply_raw(p, "+OK\r\n", 5);
}

// It is one line, whatever the words in it are.
void weft_private_reply_error(weft_private_peer *p, const char *format, ...)
{
    char text[1024];
    va_list rest;
    va_start(rest, format);
    int n = vsnprintf(text, sizeof text, format, rest);
    va_end(rest);
    n = n < (int)sizeof text ? n : (int)sizeof text - 1;
    while (n > 0 && (text[n - 1] == '\r' || text[n - 1] == '\n'))
        n--;
    for (int i = 0; i < n; i++)
        if (text[i] == '\r' || text[i] == '\n')
            text[i] = ' ';
    weft_private_reply_raw(p, "-", 1);
    weft_private_reply_raw(p, text, (size_t)n);
    weft_private_reply_raw(p, "\r\n", 2);
}

void weft_private_reply_integer(weft_private_peer *p, int64_t number)
{
    reply_number(p, ':', number);
}

void weft_private_reply_string(weft_private_peer *p, const char *text, size_t n)
{
    reply_number(p, '$', (int64_t)n);
    weft_private_reply_raw(p, text, n);
    weft_private_reply_raw(p, "\r\n", 2);
}

void weft_private_reply_page(weft_private_peer *p, const char *text, size_t n)
{
    if (p->protocol < 3) {
        weft_private_reply_string(p, text, n);
        return;
    }
    reply_number(p, '=', (int64_t)n + 4);
    weft_private_reply_raw(p, "txt:", 4);
    weft_private_reply_raw(p, text, n);
    weft_private_reply_raw(p, "\r\n", 2);
}

void weft_private_reply_text(weft_private_peer *p, const char *text)
{
    weft_private_reply_string(p, text, strlen(text));
}

void weft_private_reply_null(weft_private_peer *p)
{
    weft_private_reply_raw(p, p->protocol == 3 ? "_\r\n" : "$-1\r\n", p->protocol == 3 ? 3 : 5);
}

void weft_private_reply_null_array(weft_private_peer *p)
{
    weft_private_reply_raw(p, p->protocol == 3 ? "_\r\n" : "*-1\r\n", p->protocol == 3 ? 3 : 5);
}

void weft_private_reply_array(weft_private_peer *p, size_t n)
{
    reply_number(p, '*', (int64_t)n);
}

void weft_private_reply_map(weft_private_peer *p, size_t n)
{
    reply_number(p, p->protocol == 3 ? '%' : '*', (int64_t)(p->protocol == 3 ? n : 2 * n));
}

void weft_private_reply_set(weft_private_peer *p, size_t n)
{
    reply_number(p, p->protocol == 3 ? '~' : '*', (int64_t)n);
}

void weft_private_reply_wrong_type(weft_private_peer *p)
{
    weft_private_reply_error(p,
                             "WRONGTYPE Operation against a key holding the wrong kind of value");
}

void weft_private_reply_syntax(weft_private_peer *p)
{
    weft_private_reply_error(p, "ERR syntax error");
}

void weft_private_reply_not_integer(weft_private_peer *p)
{
    weft_private_reply_error(p, "ERR value is not an integer or out of range");
}
