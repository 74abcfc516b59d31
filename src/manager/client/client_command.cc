// client_command.cc: commands as they are sent: RESP arrays of strings.
#include "client.h"

using namespace weft;

enum { FIRST_ROOM = 4 << 10 };

client_word weft::client_number(char text[NUMBER_ROOM], int64_t number)
{
    return {text, number_print(text, number), nullptr, nullptr};
}

static char *put_bytes(char *to, const void *data, size_t n)
{
    if (n > 0)
        memcpy(to, data, n);
    return to + n;
}

static char *put_header(char *to, char type, size_t n)
{
    *to++ = type;
    to += number_print(to, (int64_t)n);
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

// The header says `count` words; 0: there is none.
static int put_words(bytes *out, size_t count, const client_word words[], size_t n)
{
    size_t size = NUMBER_ROOM + 3;
    for (size_t i = 0; i < n; i++)
        size +=
            words[i].size + size_of(words[i].before) + size_of(words[i].after) + NUMBER_ROOM + 5;
    char *to = bytes_room(out, size, FIRST_ROOM, realloc);
    if (to == nullptr)
        return -1;
    if (count > 0)
        to = put_header(to, '*', count);
    for (size_t i = 0; i < n; i++)
        to = put_word(to, &words[i]);
    out->end = (size_t)(to - out->data);
    return 0;
}

int weft::client_put(bytes *out, const client_word words[], size_t n, size_t more)
{
    return put_words(out, n + more, words, n);
}

int weft::client_put_more(bytes *out, const client_word words[], size_t n)
{
    return put_words(out, 0, words, n);
}
