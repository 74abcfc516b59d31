// remote_dict.cc: a dict is a hash; so is a namespace.
#include "remote.h"

#include <base/errno.h>

using namespace weft;

static const remote_operation set = {REMOTE_DICT, "HSET"}, get = {REMOTE_DICT, "HGET"},
                              remove_it = {REMOTE_DICT, "HDEL"}, exists = {REMOTE_DICT, "HEXISTS"},
                              length = {REMOTE_DICT, "HLEN"}, clear = {REMOTE_DICT, "DEL"},
                              keys = {REMOTE_DICT, "HKEYS"}, items = {REMOTE_DICT, "HGETALL"};

weft_remote_dict *weft_remote_dict_open(weft_client *c, const char *name)
{
    return remote_open(c, REMOTE_DICT, name, 0);
}

int weft_remote_dict_set(weft_remote_dict *r, const void *key, size_t key_size, const void *v,
                         size_t n, weft_deadline d)
{
    client_word words[] = {client_bytes(key, key_size), client_bytes(v, n)};
    return remote_do(r, &set, words, 2, d);
}

ssize_t weft_remote_dict_get(weft_remote_dict *r, const void *key, size_t key_size, void *v,
                             size_t room, weft_deadline d)
{
    client_word word = client_bytes(key, key_size);
    return remote_bytes(r, &get, &word, 1, v, room, d);
}

int weft_remote_dict_remove(weft_remote_dict *r, const void *key, size_t key_size, weft_deadline d)
{
    int64_t n;
    client_word word = client_bytes(key, key_size);
    if (remote_integer(r, &remove_it, &word, 1, &n, d) != 0)
        return -1;
    return n > 0 ? 0 : fail_with(ENOENT);
}

int weft_remote_dict_contains(weft_remote_dict *r, const void *key, size_t key_size,
                              weft_deadline d)
{
    client_word word = client_bytes(key, key_size);
    return remote_truth(r, &exists, &word, 1, d);
}

ssize_t weft_remote_dict_length(weft_remote_dict *r, weft_deadline d)
{
    return remote_count(r, &length, nullptr, 0, d);
}

int weft_remote_dict_clear(weft_remote_dict *r, weft_deadline d)
{
    return remote_do(r, &clear, nullptr, 0, d);
}

weft_reply *weft_remote_dict_keys(weft_remote_dict *r, weft_deadline d)
{
    return remote_ask(r, &keys, nullptr, 0, d);
}

weft_reply *weft_remote_dict_items(weft_remote_dict *r, weft_deadline d)
{
    return remote_array(r, &items, d);
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
