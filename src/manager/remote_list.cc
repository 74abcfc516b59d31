// remote_list.cc: a list.
#include "remote.h"

#include <base/errno.h>

using namespace weft;

static const remote_operation append = {"RPUSH", nullptr}, prepend = {"LPUSH", nullptr},
                              get = {"LINDEX", nullptr}, set = {"LSET", nullptr},
                              pop_first = {"LPOP", nullptr}, pop_last = {"RPOP", nullptr},
                              remove_it = {"LREM", nullptr}, length = {"LLEN", nullptr},
                              clear = {"DEL", nullptr}, range = {"LRANGE", nullptr};

static int check(const weft_remote *r, const void *v, size_t n)
{
    if (remote_check(r, REMOTE_LIST) != 0)
        return -1;
    return remote_lacks(v, n) ? fail_with(EINVAL) : 0;
}

weft_remote_list *weft_remote_list_open(weft_client *c, const char *name)
{
    return remote_open(c, REMOTE_LIST, name, 0);
}

static ssize_t push(weft_remote_list *l, const remote_operation *op, const void *v, size_t n,
                    weft_deadline d)
{
    int64_t long_now;
    if (check(l, v, n) != 0)
        return -1;
    client_word word = client_bytes(v, n);
    return remote_integer(l, op, &word, 1, &long_now, d) == 0 ? (ssize_t)long_now : -1;
}

ssize_t weft_remote_list_append(weft_remote_list *l, const void *v, size_t n, weft_deadline d)
{
    return push(l, &append, v, n, d);
}

ssize_t weft_remote_list_prepend(weft_remote_list *l, const void *v, size_t n, weft_deadline d)
{
    return push(l, &prepend, v, n, d);
}

ssize_t weft_remote_list_get(weft_remote_list *l, int64_t i, void *v, size_t room, weft_deadline d)
{
    char text[NUMBER_ROOM];
    if (check(l, v, room) != 0)
        return -1;
    client_word word = client_number(text, i);
    return remote_bytes(l, &get, &word, 1, v, room, d);
}

int weft_remote_list_set(weft_remote_list *l, int64_t i, const void *v, size_t n, weft_deadline d)
{
    char text[NUMBER_ROOM];
    if (check(l, v, n) != 0)
        return -1;
    client_word words[] = {client_number(text, i), client_bytes(v, n)};
    return remote_do(l, &set, words, 2, d);
}

weft_reply *weft_remote_list_pop(weft_remote_list *l, int64_t i, weft_deadline d)
{
    if (check(l, nullptr, 0) != 0)
        return nullptr;
    if (i != 0 && i != -1) {
        errno = EINVAL;
        return nullptr;
    }
    weft_reply *r = remote_ask(l, i == 0 ? &pop_first : &pop_last, nullptr, 0, d);
    if (r == nullptr || r->type != WEFT_REPLY_NULL)
        return r;
    weft_reply_free(r);
    errno = ENOENT;
    return nullptr;
}

int weft_remote_list_remove(weft_remote_list *l, const void *v, size_t n, weft_deadline d)
{
    int64_t removed;
    if (check(l, v, n) != 0)
        return -1;
    client_word words[] = {client_text("1"), client_bytes(v, n)};
    if (remote_integer(l, &remove_it, words, 2, &removed, d) != 0)
        return -1;
    return removed > 0 ? 0 : fail_with(ENOENT);
}

ssize_t weft_remote_list_length(weft_remote_list *l, weft_deadline d)
{
    int64_t n;
    if (check(l, nullptr, 0) != 0)
        return -1;
    return remote_integer(l, &length, nullptr, 0, &n, d) == 0 ? (ssize_t)n : -1;
}

int weft_remote_list_clear(weft_remote_list *l, weft_deadline d)
{
    return check(l, nullptr, 0) == 0 ? remote_do(l, &clear, nullptr, 0, d) : -1;
}

weft_reply *weft_remote_list_range(weft_remote_list *l, int64_t from, int64_t to, weft_deadline d)
{
    char first[NUMBER_ROOM], last[NUMBER_ROOM];
    if (check(l, nullptr, 0) != 0)
        return nullptr;
    client_word words[] = {client_number(first, from), client_number(last, to)};
    return remote_ask(l, &range, words, 2, d);
}
