// remote_set.cc: a set.
#include "remote.h"

#include <base/errno.h>

using namespace weft;

static const remote_operation add = {REMOTE_SET, "SADD"}, remove_it = {REMOTE_SET, "SREM"},
                              contains = {REMOTE_SET, "SISMEMBER"}, pop = {REMOTE_SET, "SPOP"},
                              length = {REMOTE_SET, "SCARD"}, clear = {REMOTE_SET, "DEL"},
                              items = {REMOTE_SET, "SMEMBERS"};

weft_remote_set *weft_remote_set_open(weft_client *c, const char *name)
{
    return remote_open(c, REMOTE_SET, name, 0);
}

int weft_remote_set_add(weft_remote_set *s, const void *v, size_t n, weft_deadline d)
{
    client_word word = client_bytes(v, n);
    return remote_truth(s, &add, &word, 1, d);
}

int weft_remote_set_remove(weft_remote_set *s, const void *v, size_t n, weft_deadline d)
{
    client_word word = client_bytes(v, n);
    int was = remote_truth(s, &remove_it, &word, 1, d);
    return was > 0 ? 0 : was < 0 ? -1 : fail_with(ENOENT);
}

int weft_remote_set_contains(weft_remote_set *s, const void *v, size_t n, weft_deadline d)
{
    client_word word = client_bytes(v, n);
    return remote_truth(s, &contains, &word, 1, d);
}

weft_reply *weft_remote_set_pop(weft_remote_set *s, weft_deadline d)
{
    weft_reply *r = remote_ask(s, &pop, nullptr, 0, d);
    if (r == nullptr || r->type != WEFT_REPLY_NULL)
        return r;
    weft_reply_free(r);
    errno = ENOENT;
    return nullptr;
}

ssize_t weft_remote_set_length(weft_remote_set *s, weft_deadline d)
{
    return remote_count(s, &length, nullptr, 0, d);
}

int weft_remote_set_clear(weft_remote_set *s, weft_deadline d)
{
    return remote_do(s, &clear, nullptr, 0, d);
}

weft_reply *weft_remote_set_items(weft_remote_set *s, weft_deadline d)
{
    return remote_array(s, &items, d);
}
