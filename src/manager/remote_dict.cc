// remote_dict.cc: a dict is a hash; so is a namespace.
#include "remote.h"

#include <base/errno.h>

using namespace weft;

static const remote_operation set = {"HSET", nullptr}, get = {"HGET", nullptr},
                              remove_it = {"HDEL", nullptr}, exists = {"HEXISTS", nullptr},
                              length = {"HLEN", nullptr}, clear = {"DEL", nullptr},
                              keys = {"HKEYS", nullptr}, items = {"HGETALL", nullptr};

// What one can do to a dict one can do to a namespace.
static int check(const weft_remote *r)
{
    return r != nullptr && r->kind == REMOTE_NAMESPACE ? 0 : remote_check(r, REMOTE_DICT);
}

static int check_key(const weft_remote *r, const void *key, size_t size)
{
    if (check(r) != 0)
        return -1;
    return remote_lacks(key, size) ? fail_with(EINVAL) : 0;
}

weft_remote_dict *weft_remote_dict_open(weft_client *c, const char *name)
{
    return remote_open(c, REMOTE_DICT, name, 0);
}

int weft_remote_dict_set(weft_remote_dict *r, const void *key, size_t key_size, const void *v,
                         size_t n, weft_deadline d)
{
    if (check_key(r, key, key_size) != 0 || check_key(r, v, n) != 0)
        return -1;
    client_word words[] = {client_bytes(key, key_size), client_bytes(v, n)};
    return remote_do(r, &set, words, 2, d);
}

ssize_t weft_remote_dict_get(weft_remote_dict *r, const void *key, size_t key_size, void *v,
                             size_t room, weft_deadline d)
{
    if (check_key(r, key, key_size) != 0 || check_key(r, v, room) != 0)
        return -1;
    client_word word = client_bytes(key, key_size);
    return remote_bytes(r, &get, &word, 1, v, room, d);
}

int weft_remote_dict_remove(weft_remote_dict *r, const void *key, size_t key_size, weft_deadline d)
{
    int64_t n;
    if (check_key(r, key, key_size) != 0)
        return -1;
    client_word word = client_bytes(key, key_size);
    if (remote_integer(r, &remove_it, &word, 1, &n, d) != 0)
        return -1;
    return n > 0 ? 0 : fail_with(ENOENT);
}

int weft_remote_dict_contains(weft_remote_dict *r, const void *key, size_t key_size,
                              weft_deadline d)
{
    int64_t n;
    if (check_key(r, key, key_size) != 0)
        return -1;
    client_word word = client_bytes(key, key_size);
    return remote_integer(r, &exists, &word, 1, &n, d) == 0 ? n != 0 : -1;
}

ssize_t weft_remote_dict_length(weft_remote_dict *r, weft_deadline d)
{
    int64_t n;
    if (check(r) != 0)
        return -1;
    return remote_integer(r, &length, nullptr, 0, &n, d) == 0 ? (ssize_t)n : -1;
}

int weft_remote_dict_clear(weft_remote_dict *r, weft_deadline d)
{
    return check(r) == 0 ? remote_do(r, &clear, nullptr, 0, d) : -1;
}

weft_reply *weft_remote_dict_keys(weft_remote_dict *r, weft_deadline d)
{
    return check(r) == 0 ? remote_ask(r, &keys, nullptr, 0, d) : nullptr;
}

weft_reply *weft_remote_dict_items(weft_remote_dict *r, weft_deadline d)
{
    weft_reply *reply = check(r) == 0 ? remote_ask(r, &items, nullptr, 0, d) : nullptr;
    if (reply != nullptr && reply->type == WEFT_REPLY_MAP)
        reply->type = WEFT_REPLY_ARRAY; // whatever the protocol's version
    return reply;
}

// ---- Namespaces ----

weft_remote_namespace *weft_remote_namespace_open(weft_client *c, const char *name)
{
    return remote_open(c, REMOTE_NAMESPACE, name, 0);
}

static int check_name(const weft_remote *r, const char *key)
{
    if (remote_check(r, REMOTE_NAMESPACE) != 0)
        return -1;
    return key == nullptr ? fail_with(EINVAL) : 0;
}

int weft_remote_namespace_set(weft_remote_namespace *r, const char *key, const void *v, size_t n,
                              weft_deadline d)
{
    return check_name(r, key) == 0 ? weft_remote_dict_set(r, key, strlen(key), v, n, d) : -1;
}

ssize_t weft_remote_namespace_get(weft_remote_namespace *r, const char *key, void *v, size_t room,
                                  weft_deadline d)
{
    return check_name(r, key) == 0 ? weft_remote_dict_get(r, key, strlen(key), v, room, d) : -1;
}

int weft_remote_namespace_remove(weft_remote_namespace *r, const char *key, weft_deadline d)
{
    return check_name(r, key) == 0 ? weft_remote_dict_remove(r, key, strlen(key), d) : -1;
}
