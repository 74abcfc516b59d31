// remote_value.cc: a number, which is a string with its digits, as INCRBY has it.
#include "remote.h"

#include <base/errno.h>

#include <stdlib.h>

using namespace weft;

static const redis_call redis_replace = {"local is = redis.call('GET', KEYS[1]) or '0' "
                                         "if is ~= ARGV[3] then return is end "
                                         "redis.call('SET', KEYS[1], ARGV[4]) "
                                         "return false",
                                         {}};

static const remote_operation set = {"SET", nullptr}, get = {"GET", nullptr},
                              add = {"INCRBY", nullptr}, replace = {"WEFT.REPLACE", &redis_replace};

weft_remote_value *weft_remote_value_open(weft_client *c, const char *name)
{
    return remote_open(c, REMOTE_VALUE, name, 0);
}

int weft_remote_value_set(weft_remote_value *v, int64_t to, weft_deadline d)
{
    char text[NUMBER_ROOM];
    if (remote_check(v, REMOTE_VALUE) != 0)
        return -1;
    client_word word = client_number(text, to);
    return remote_do(v, &set, &word, 1, d);
}

// The number that a reply is, 0 for null, and releases it.  EINVAL: it is some other text.
static int number_of(weft_reply *r, int64_t *number)
{
    char *end = nullptr;
    int saved = errno, error = 0;
    if (r == nullptr)
        return -1;
    errno = 0;
    long long n = r->type == WEFT_REPLY_STRING ? strtoll(r->text, &end, 10) : 0;
    if (r->type == WEFT_REPLY_STRING)
        error = errno != 0 || r->size == 0 || end != r->text + r->size ? EINVAL : 0;
    else if (r->type != WEFT_REPLY_NULL)
        error = EPROTO;
    weft_reply_free(r);
    errno = saved;
    if (error != 0)
        return fail_with(error);
    if (number != nullptr)
        *number = n;
    return 0;
}

int weft_remote_value_get(weft_remote_value *v, int64_t *number, weft_deadline d)
{
    if (remote_check(v, REMOTE_VALUE) != 0)
        return -1;
    return number_of(remote_ask(v, &get, nullptr, 0, d), number);
}

int weft_remote_value_add(weft_remote_value *v, int64_t n, int64_t *sum, weft_deadline d)
{
    char text[NUMBER_ROOM];
    if (remote_check(v, REMOTE_VALUE) != 0)
        return -1;
    client_word word = client_number(text, n);
    return remote_integer(v, &add, &word, 1, sum, d);
}

int weft_remote_value_exchange(weft_remote_value *v, int64_t to, int64_t *was, weft_deadline d)
{
    char text[NUMBER_ROOM];
    if (remote_check(v, REMOTE_VALUE) != 0)
        return -1;
    client_word words[] = {client_number(text, to), client_text("GET")};
    return number_of(remote_ask(v, &set, words, 2, d), was);
}

int weft_remote_value_replace(weft_remote_value *v, int64_t *was, int64_t to, weft_deadline d)
{
    char old[NUMBER_ROOM], text[NUMBER_ROOM];
    if (remote_check(v, REMOTE_VALUE) != 0)
        return -1;
    if (was == nullptr)
        return fail_with(EINVAL);
    client_word words[] = {client_number(old, *was), client_number(text, to)};
    weft_reply *r = remote_ask(v, &replace, words, 2, d);
    bool done = r != nullptr && r->type == WEFT_REPLY_NULL;
    if (number_of(r, done ? nullptr : was) != 0)
        return -1;
    return done;
}
