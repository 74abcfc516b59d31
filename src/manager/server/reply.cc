// reply.cc: replies, in the protocol that the peer speaks.
//
// The first peer with a reply in a round borrows the server's spare buffer; others get one of their
// own.  peer.cc sends them at the end of the round.
#include "server.h"

#include <base/number.h>

#include <stdarg.h>

using namespace weft;

// Makes room.  More than may wait for a peer is not kept for it: it is cut, and what else it would
// be told is dropped.  Moving what waits to the front has to make room for a good part of that, or
// for a slow reader it would be moved with each reply.
static void grow_out(peer *p, size_t n)
{
    bytes *b = &p->out;
    bytes_to_front(b);
    size_t limit = p->server->o.max_reply, most = limit < SIZE_MAX / 2 ? limit + limit / 2 : limit;
    if (b->end + n > limit) {
        peer_end(p);
        p->silent = 1;
    }
    if (bytes_free(b) >= n && bytes_free(b) >= b->room / 4)
        return;
    size_t room = b->room * 2 > 256 ? b->room * 2 : 256;
    room = room < most ? room : most;
    b->room = room > b->room && room - b->end >= n ? room : b->end + n;
    b->data = (char *)retake(b->data, b->room);
}

// Memory for n more bytes; the peer is dirty from now on.
static char *room_for(peer *p, size_t n)
{
    bytes *b = &p->out;
    if (__builtin_expect(bytes_free(b) < n, 0)) {
        if (b->room == 0 && p->server->spare.room - p->server->spare.end >= n) {
            *b = p->server->spare;
            p->server->spare = {};
        } else {
            grow_out(p, n);
        }
    }
    if (!p->is_dirty)
        peer_dirty(p);
    return b->data + b->end;
}

void weft::reply_raw(peer *p, const char *text, size_t n)
{
    if (__builtin_expect((p->silent & 1) != 0, 0))
        return;
    memcpy(room_for(p, n), text, n);
    p->out.end += n;
}

// A sign, a number and the line's end.
static void reply_number(peer *p, char sign, int64_t number)
{
    char text[NUMBER_ROOM + 3] = {sign};
    size_t n = 1 + number_print(text + 1, number);
    text[n++] = '\r';
    text[n++] = '\n';
    reply_raw(p, text, n);
}

void weft::reply_status(peer *p, const char *text)
{
    reply_raw(p, "+", 1);
    reply_raw(p, text, strlen(text));
    reply_raw(p, "\r\n", 2);
}

void weft::reply_line(peer *p, const char *format, ...)
{
    char text[256];
    va_list rest;
    va_start(rest, format);
    vsnprintf(text, sizeof text, format, rest);
    va_end(rest);
    reply_status(p, text);
}

void weft::reply_ok(peer *p)
{
    reply_raw(p, "+OK\r\n", 5);
}

// It is one line, whatever the words in it are.
void weft::reply_error(peer *p, const char *format, ...)
{
    char text[1024];
    va_list rest;
    va_start(rest, format);
    int n = vsnprintf(text, sizeof text, format, rest);
    va_end(rest);
    p->server->errors++;
    n = n < (int)sizeof text ? n : (int)sizeof text - 1;
    while (n > 0 && (text[n - 1] == '\r' || text[n - 1] == '\n'))
        n--;
    for (int i = 0; i < n; i++)
        if (text[i] == '\r' || text[i] == '\n')
            text[i] = ' ';
    reply_raw(p, "-", 1);
    reply_raw(p, text, (size_t)n);
    reply_raw(p, "\r\n", 2);
}

void weft::reply_integer(peer *p, int64_t number)
{
    reply_number(p, ':', number);
}

void weft::reply_string(peer *p, const char *text, size_t n)
{
    reply_number(p, '$', (int64_t)n);
    reply_raw(p, text, n);
    reply_raw(p, "\r\n", 2);
}

void weft::reply_page(peer *p, const char *text, size_t n)
{
    if (p->protocol < 3) {
        reply_string(p, text, n);
        return;
    }
    reply_number(p, '=', (int64_t)n + 4);
    reply_raw(p, "txt:", 4);
    reply_raw(p, text, n);
    reply_raw(p, "\r\n", 2);
}

void weft::reply_text(peer *p, const char *text)
{
    reply_string(p, text, strlen(text));
}

void weft::reply_null(peer *p)
{
    reply_raw(p, p->protocol == 3 ? "_\r\n" : "$-1\r\n", p->protocol == 3 ? 3 : 5);
}

void weft::reply_null_array(peer *p)
{
    reply_raw(p, p->protocol == 3 ? "_\r\n" : "*-1\r\n", p->protocol == 3 ? 3 : 5);
}

void weft::reply_array(peer *p, size_t n)
{
    reply_number(p, '*', (int64_t)n);
}

void weft::reply_map(peer *p, size_t n)
{
    reply_number(p, p->protocol == 3 ? '%' : '*', (int64_t)(p->protocol == 3 ? n : 2 * n));
}

void weft::reply_set(peer *p, size_t n)
{
    reply_number(p, p->protocol == 3 ? '~' : '*', (int64_t)n);
}

void weft::reply_wrong_type(peer *p)
{
    reply_error(p, "WRONGTYPE Operation against a key holding the wrong kind of value");
}

void weft::reply_syntax(peer *p)
{
    reply_error(p, "ERR syntax error");
}

void weft::reply_not_integer(peer *p)
{
    reply_error(p, "ERR value is not an integer or out of range");
}

void weft::reply_full(peer *p)
{
    reply_error(p, "OOM command not allowed when used memory > 'maxmemory'.");
}
