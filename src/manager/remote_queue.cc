// remote_queue.cc: a queue is a list.  On Redis the mark that it is closed and the count of what
// join waits for are keys beside it.
#include "remote.h"

#include <base/errno.h>

using namespace weft;

#define CLOSED "return redis.error_reply('CLOSED the queue is closed')"

// KEYS[2]: how it was closed; KEYS[3]: put and not done.
static const redis_call redis_put = {
    "if redis.call('EXISTS', KEYS[2]) == 1 then " CLOSED " end "
    "local most = tonumber(ARGV[3]) "
    "if most > 0 and redis.call('LLEN', KEYS[1]) >= most then return false end "
    "redis.call('RPUSH', KEYS[1], ARGV[4]) "
    "redis.call('INCR', KEYS[3]) "
    "return 1",
    {"}:closed", "}:unfinished"},
    "if redis.call('EXISTS', KEYS[2]) == 1 then return 1 end "
    "if redis.call('LLEN', KEYS[1]) < tonumber(ARGV[3]) then return 1 end "
    "return false"};

static const redis_call redis_get = {"local first = redis.call('LINDEX', KEYS[1], 0) "
                                     "if not first then "
                                     "  if redis.call('EXISTS', KEYS[2]) == 1 then " CLOSED " end "
                                     "  return false "
                                     "end "
                                     "if ARGV[3] and #first > tonumber(ARGV[3]) then "
                                     "  return redis.error_reply('TOOBIG ' .. #first) "
                                     "end "
                                     "redis.call('LPOP', KEYS[1]) "
                                     "return first",
                                     {"}:closed"},
                                     nullptr,
                                     1,
                                     250, // a close is seen so soon
                                     false};

static const redis_call redis_done = {
    "if tonumber(redis.call('GET', KEYS[2]) or '0') <= 0 then "
    "  return redis.error_reply('TOOMANY more are done than were put') "
    "end "
    "return redis.call('DECR', KEYS[2])",
    {"}:unfinished"}};

static const redis_call redis_join = {
    "if tonumber(redis.call('GET', KEYS[2]) or '0') > 0 then return false end "
    "return 1",
    {"}:unfinished"}};

static const redis_call redis_close = {
    "redis.call('SET', KEYS[2], ARGV[3]) "
    "if ARGV[3] == 'DISCARD' then "
    "  local left = tonumber(redis.call('GET', KEYS[3]) or '0') - redis.call('LLEN', KEYS[1]) "
    "  redis.call('SET', KEYS[3], math.max(left, 0)) "
    "  redis.call('DEL', KEYS[1]) "
    "end "
    "return redis.status_reply('OK')",
    {"}:closed", "}:unfinished"}};

static const remote_operation put = {"WEFT.PUT", &redis_put}, get = {"WEFT.GET", &redis_get},
                              done = {"WEFT.DONE", &redis_done}, join = {"WEFT.JOIN", &redis_join},
                              close_it = {"WEFT.CLOSE", &redis_close}, length = {"LLEN", nullptr};

weft_remote_queue *weft_remote_queue_open(weft_client *c, const char *name, size_t capacity)
{
    if (capacity > INT64_MAX) {
        errno = EINVAL;
        return nullptr;
    }
    return remote_open(c, REMOTE_QUEUE, name, (int64_t)capacity);
}

int weft_remote_queue_put(weft_remote_queue *q, const void *v, size_t n, weft_deadline d)
{
    char capacity[NUMBER_ROOM];
    if (remote_check(q, REMOTE_QUEUE) != 0)
        return -1;
    if (remote_lacks(v, n))
        return fail_with(EINVAL);
    client_word words[] = {client_number(capacity, q->number), remote_wait(), client_bytes(v, n)};
    return remote_do(q, &put, words, 3, d);
}

ssize_t weft_remote_queue_get(weft_remote_queue *q, void *v, size_t room, weft_deadline d)
{
    char text[NUMBER_ROOM];
    if (remote_check(q, REMOTE_QUEUE) != 0)
        return -1;
    if (remote_lacks(v, room) || room > INT64_MAX)
        return fail_with(EINVAL);
    client_word words[] = {remote_wait(), client_number(text, (int64_t)room)};
    return remote_bytes(q, &get, words, 2, v, room, d);
}

weft_reply *weft_remote_queue_take(weft_remote_queue *q, weft_deadline d)
{
    client_word wait = remote_wait();
    if (remote_check(q, REMOTE_QUEUE) != 0)
        return nullptr;
    return remote_ask(q, &get, &wait, 1, d);
}

int weft_remote_queue_close(weft_remote_queue *q, int how, weft_deadline d)
{
    if (remote_check(q, REMOTE_QUEUE) != 0)
        return -1;
    if (how != WEFT_DRAIN && how != WEFT_DISCARD)
        return fail_with(EINVAL);
    client_word word = client_text(how == WEFT_DRAIN ? "DRAIN" : "DISCARD");
    return remote_do(q, &close_it, &word, 1, d);
}

ssize_t weft_remote_queue_length(weft_remote_queue *q, weft_deadline d)
{
    int64_t n;
    if (remote_check(q, REMOTE_QUEUE) != 0)
        return -1;
    return remote_integer(q, &length, nullptr, 0, &n, d) == 0 ? (ssize_t)n : -1;
}

int weft_remote_queue_task_done(weft_remote_queue *q, weft_deadline d)
{
    if (remote_check(q, REMOTE_QUEUE) != 0)
        return -1;
    return remote_do(q, &done, nullptr, 0, d);
}

int weft_remote_queue_join(weft_remote_queue *q, weft_deadline d)
{
    client_word wait = remote_wait();
    if (remote_check(q, REMOTE_QUEUE) != 0)
        return -1;
    return remote_do(q, &join, &wait, 1, d);
}
