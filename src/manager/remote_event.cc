// remote_event.cc: an event.  On Redis it is a list, which has an item while it is set: so a wait
// for it blocks in the server, and one who waits is let go even if it is cleared at once.
#include "remote.h"

using namespace weft;

static const redis_call redis_set = {
    "if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('RPUSH', KEYS[2], 'set') end "
    "return redis.status_reply('OK')",
    {"}:event"}};

static const redis_call redis_clear = {"redis.call('DEL', KEYS[2]) "
                                       "return redis.status_reply('OK')",
                                       {"}:event"}};

static const redis_call redis_is_set = {"return redis.call('EXISTS', KEYS[2])", {"}:event"}};

static const redis_call redis_wait = {"if redis.call('EXISTS', KEYS[2]) == 1 then return 1 end "
                                      "return false",
                                      {"}:event"},
                                      nullptr,
                                      2,
                                      0,
                                      true};

static const remote_operation set = {"WEFT.SET", &redis_set}, clear = {"WEFT.CLEAR", &redis_clear},
                              is_set = {"WEFT.ISSET", &redis_is_set},
                              wait = {"WEFT.WAIT", &redis_wait};

weft_remote_event *weft_remote_event_open(weft_client *c, const char *name)
{
    return remote_open(c, REMOTE_EVENT, name, 0);
}

int weft_remote_event_set(weft_remote_event *e, weft_deadline d)
{
    if (remote_check(e, REMOTE_EVENT) != 0)
        return -1;
    return remote_do(e, &set, nullptr, 0, d);
}

int weft_remote_event_clear(weft_remote_event *e, weft_deadline d)
{
    if (remote_check(e, REMOTE_EVENT) != 0)
        return -1;
    return remote_do(e, &clear, nullptr, 0, d);
}

int weft_remote_event_is_set(weft_remote_event *e, weft_deadline d)
{
    int64_t n;
    if (remote_check(e, REMOTE_EVENT) != 0)
        return -1;
    return remote_integer(e, &is_set, nullptr, 0, &n, d) == 0 ? n != 0 : -1;
}

int weft_remote_event_wait(weft_remote_event *e, weft_deadline d)
{
    client_word word = remote_wait();
    if (remote_check(e, REMOTE_EVENT) != 0)
        return -1;
    return remote_do(e, &wait, &word, 1, d);
}
