// remote_list.cc: a list.
#include "remote.h"

#include <base/errno.h>

using namespace weft;

static const remote_operation append = {REMOTE_LIST, "RPUSH"}, prepend = {REMOTE_LIST, "LPUSH"},
                              get = {REMOTE_LIST, "LINDEX"}, set = {REMOTE_LIST, "LSET"},
                              pop_first = {REMOTE_LIST, "LPOP"}, pop_last = {REMOTE_LIST, "RPOP"},
                              remove_it = {REMOTE_LIST, "LREM"}, length = {REMOTE_LIST, "LLEN"},
                              clear = {REMOTE_LIST, "DEL"}, range = {REMOTE_LIST, "LRANGE"};

weft_remote_list *weft_remote_list_open(weft_client *c, const char *name)
{
    return remote_open(c, REMOTE_LIST, name, 0);
}

static ssize_t push(weft_remote_list *l, const remote_operation *op, const void *v, size_t n,
                    weft_deadline d)
{
    client_word word = client_bytes(v, n);
    return remote_count(l, op, &word, 1, d);
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
    client_word word = client_number(text, i);
    return remote_bytes(l, &get, &word, 1, v, room, d);
}

int weft_remote_list_set(weft_remote_list *l, int64_t i, const void *v, size_t n, weft_deadline d)
{
    char text[NUMBER_ROOM];
    client_word words[] = {client_number(text, i), client_bytes(v, n)};
    return remote_do(l, &set, words, 2, d);
}

weft_reply *weft_remote_list_pop(weft_remote_list *l, int64_t i, weft_deadline d)
{
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
    client_word words[] = {client_text("1"), client_bytes(v, n)};
    if (remote_integer(l, &remove_it, words, 2, &removed, d) != 0)
        return -1;
    return removed > 0 ? 0 : fail_with(ENOENT);
}

ssize_t weft_remote_list_length(weft_remote_list *l, weft_deadline d)
{
    return remote_count(l, &length, nullptr, 0, d);
}

int weft_remote_list_clear(weft_remote_list *l, weft_deadline d)
{
    return remote_do(l, &clear, nullptr, 0, d);
}

weft_reply *weft_remote_list_range(weft_remote_list *l, int64_t from, int64_t to, weft_deadline d)
{
    char first[NUMBER_ROOM], last[NUMBER_ROOM];
    client_word words[] = {client_number(first, from), client_number(last, to)};
    return remote_ask(l, &range, words, 2, d);
}
