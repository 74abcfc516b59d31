// client_command.cc: commands as they are sent: RESP arrays of strings.
#include "client.h"

#include <errno.h>
#include <stdlib.h>

using namespace weft;

enum { FIRST_ROOM = 4 << 10 };

static char *make_room(outbox *o, size_t n)
{
    size_t room = o->room > 0 ? o->room : (size_t)FIRST_ROOM;
    while (room - o->end < n)
        if (__builtin_mul_overflow(room, (size_t)2, &room)) {
            errno = ENOMEM;
            return nullptr;
        }
    if (room != o->room) {
        char *data = (char *)realloc(o->data, room);
        if (data == nullptr)
            return nullptr;
        o->data = data;
        o->room = room;
    }
    return o->data + o->end;
}

// The digits of u, before `end`.
static char *print(char *end, uint64_t u)
{
    do
        *--end = (char)('0' + u % 10);
    while ((u /= 10) > 0);
    return end;
}

client_word weft::client_number(char *text, int64_t number)
{
    char *end = text + CLIENT_NUMBER_ROOM,
         *begin = print(end, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
    if (number < 0)
        *--begin = '-';
    return {begin, (size_t)(end - begin), nullptr, nullptr};
}

static char *put_bytes(char *to, const void *data, size_t n)
{
    if (n > 0)
        memcpy(to, data, n);
    return to + n;
}

static char *put_header(char *to, char type, size_t n)
{
    char text[CLIENT_NUMBER_ROOM], *end = text + sizeof text, *begin = print(end, n);
    *to++ = type;
    to = put_bytes(to, begin, (size_t)(end - begin));
    return put_bytes(to, "\r\n", 2);
}

static size_t size_of(const char *text)
{
    return text != nullptr ? strlen(text) : 0;
}

static char *put_word(char *to, const client_word *w)
{
    size_t before = size_of(w->before), after = size_of(w->after);
    to = put_header(to, '$', before + w->size + after);
    to = put_bytes(to, w->before, before);
    to = put_bytes(to, w->data, w->size);
    to = put_bytes(to, w->after, after);
    return put_bytes(to, "\r\n", 2);
}

int weft::client_put(weft_client *c, const client_word words[], size_t n)
{
    size_t size = CLIENT_NUMBER_ROOM + 3;
    for (size_t i = 0; i < n; i++)
        size += words[i].size + size_of(words[i].before) + size_of(words[i].after) +
                CLIENT_NUMBER_ROOM + 5;
    char *to = make_room(&c->out, size);
    if (to == nullptr)
        return -1;
    to = put_header(to, '*', n);
    for (size_t i = 0; i < n; i++)
        to = put_word(to, &words[i]);
    c->out.end = (size_t)(to - c->out.data);
    return 0;
}
