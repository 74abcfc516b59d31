// remote_value.cc: a number, which is a string with its digits, as INCRBY has it.
#include "remote.h"

#include <base/errno.h>
#include <base/number.h>
#include <manager/redis/scripts.h>

using namespace weft;

static const remote_operation set = {REMOTE_VALUE, "SET"}, get = {REMOTE_VALUE, "GET"},
                              add = {REMOTE_VALUE, "INCRBY"},
                              replace = {REMOTE_VALUE, "WEFT.REPLACE", {lua::value_replace}};

weft_remote_value *weft_remote_value_open(weft_client *c, const char *name)
{
    return remote_open(c, REMOTE_VALUE, name, 0);
}

int weft_remote_value_set(weft_remote_value *v, int64_t to, weft_deadline d)
{
    char text[NUMBER_ROOM];
    client_word word = client_number(text, to);
    return remote_do(v, &set, &word, 1, d);
}

// The number that a reply is, 0 for null, and releases it.  EINVAL: it is some other text.
static int number_of(weft_reply *r, int64_t *number)
{
    int64_t n = 0;
    int error = 0;
    if (r == nullptr)
        return -1;
    if (r->type == WEFT_REPLY_STRING)
        error = number_parse(r->text, r->size, &n) ? 0 : EINVAL;
    else if (r->type != WEFT_REPLY_NULL)
        error = EPROTO;
    weft_reply_free(r);
    if (error != 0)
        return fail_with(error);
    if (number != nullptr)
        *number = n;
    return 0;
}

int weft_remote_value_get(weft_remote_value *v, int64_t *number, weft_deadline d)
{
    return number_of(remote_ask(v, &get, nullptr, 0, d), number);
}

int weft_remote_value_add(weft_remote_value *v, int64_t n, int64_t *sum, weft_deadline d)
{
    char text[NUMBER_ROOM];
    client_word word = client_number(text, n);
    return remote_integer(v, &add, &word, 1, sum, d);
}

int weft_remote_value_exchange(weft_remote_value *v, int64_t to, int64_t *was, weft_deadline d)
{
    char text[NUMBER_ROOM];
    client_word words[] = {client_number(text, to), client_text("GET")};
    return number_of(remote_ask(v, &set, words, 2, d), was);
}

int weft_remote_value_replace(weft_remote_value *v, int64_t *was, int64_t to, weft_deadline d)
{
    char old[NUMBER_ROOM], text[NUMBER_ROOM];
    if (was == nullptr)
        return fail_with(EINVAL);
    client_word words[] = {client_number(old, *was), client_number(text, to)};
    weft_reply *r = remote_ask(v, &replace, words, 2, d);
    bool done = r != nullptr && r->type == WEFT_REPLY_NULL;
    if (number_of(r, done ? nullptr : was) != 0)
        return -1;
    return done;
}
