// remote_barrier.cc: a barrier.  On Redis it is a hash with the number of the generation that
// gathers, and the set of those who are there with when each was seen last: who waits asks again
// and again whether it is over.  One who has not asked for so long that he must be dead breaks it.
// Generations that a reset ended are noted for those who have not asked since.
#include "remote.h"

#include <base/errno.h>

using namespace weft;

// How long one may not have asked: a hundred times the longest pause.
#define DEAD_AFTER_MS "5000"

#define BROKEN "return redis.error_reply('BROKEN the barrier is broken')"
#define GENERATION "(redis.call('HGET', KEYS[2], 'generation') or '0')"
#define KEYS                                                                                       \
    {                                                                                              \
        "}:barrier", "}:waiting", "}:resets"                                                       \
    }

// Breaks it if one is dead, and ends if it is broken.
#define LOOK                                                                                       \
    "local time = redis.call('TIME') "                                                             \
    "local now = time[1] * 1000 + math.floor(time[2] / 1000) "                                     \
    "if redis.call('ZCOUNT', KEYS[3], '-inf', now - " DEAD_AFTER_MS ") > 0 then "                  \
    "  redis.call('HSET', KEYS[2], 'broken', 'OWNERDEAD') "                                        \
    "  redis.call('DEL', KEYS[3]) "                                                                \
    "end "                                                                                         \
    "local broken = redis.call('HGET', KEYS[2], 'broken') "                                        \
    "if broken then return redis.error_reply(broken .. ' the barrier is broken') end "

// -1: the last to come; else the generation to wait for.
static const redis_call redis_arrive = {
    LOOK "local count = redis.call('ZCARD', KEYS[3]) "
         "if count > 0 and redis.call('HGET', KEYS[2], 'parties') ~= ARGV[3] then "
         "  return redis.error_reply('PARTIES others wait for another number') "
         "end "
         "redis.call('ZADD', KEYS[3], now, ARGV[1]) "
         "if redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[3]) then "
         "  redis.call('DEL', KEYS[3]) "
         "  redis.call('HINCRBY', KEYS[2], 'generation', 1) "
         "  return -1 "
         "end "
         "redis.call('HSET', KEYS[2], 'parties', ARGV[3]) "
         "return tonumber" GENERATION,
    KEYS};

#define IF_OVER                                                                                    \
    "if redis.call('HEXISTS', KEYS[4], ARGV[3]) == 1 then " BROKEN " end "                         \
    "if " GENERATION " ~= ARGV[3] then return 1 end "

static const redis_call redis_is_over = {
    IF_OVER "redis.call('ZADD', KEYS[3], 'XX', redis.call('TIME')[1] * 1000, ARGV[1]) " LOOK
            "return false",
    KEYS};

// By one whose wait is over; 1: the others had come.
static const redis_call redis_give_up = {IF_OVER LOOK
                                         "redis.call('HSET', KEYS[2], 'broken', 'BROKEN') "
                                         "redis.call('DEL', KEYS[3]) "
                                         "return 0",
                                         KEYS};

static const redis_call redis_break = {"redis.call('HSET', KEYS[2], 'broken', 'BROKEN') "
                                       "redis.call('DEL', KEYS[3]) "
                                       "return redis.status_reply('OK')",
                                       KEYS};

static const redis_call redis_reset = {"redis.call('HSET', KEYS[4], " GENERATION ", 1) "
                                       "redis.call('PEXPIRE', KEYS[4], 3600000) "
                                       "redis.call('HINCRBY', KEYS[2], 'generation', 1) "
                                       "redis.call('HDEL', KEYS[2], 'broken') "
                                       "redis.call('DEL', KEYS[3]) "
                                       "return redis.status_reply('OK')",
                                       KEYS};

static const redis_call redis_waiting = {LOOK "return redis.call('ZCARD', KEYS[3])", KEYS};

static const remote_operation arrive = {"WEFT.BARRIER", &redis_arrive},
                              is_over = {nullptr, &redis_is_over},
                              give_up = {nullptr, &redis_give_up},
                              break_it = {"WEFT.BREAK", &redis_break},
                              reset = {"WEFT.RESET", &redis_reset},
                              waiting = {"WEFT.WAITING", &redis_waiting};

weft_remote_barrier *weft_remote_barrier_open(weft_client *c, const char *name, uint32_t parties)
{
    if (parties == 0) {
        errno = EINVAL;
        return nullptr;
    }
    return remote_open(c, REMOTE_BARRIER, name, parties);
}

static int wait_redis(weft_remote_barrier *b, client_word parties, weft_deadline d)
{
    char text[NUMBER_ROOM];
    int saved = errno;
    int64_t n, over = 0;
    if (remote_integer(b, &arrive, &parties, 1, &n, d) != 0)
        return -1;
    if (n < 0)
        return 1;
    client_word words[] = {client_number(text, n), remote_wait()};
    if (remote_do(b, &is_over, words, 2, d) == 0)
        return 0;
    int error = errno;
    if (error == ETIMEDOUT)
        remote_integer(b, &give_up, words, 1, &over, WEFT_NOW);
    if (over == 0)
        return fail_with(error);
    errno = saved; // the others had come
    return 0;
}

int weft_remote_barrier_wait(weft_remote_barrier *b, weft_deadline d)
{
    char text[NUMBER_ROOM];
    int64_t last;
    if (remote_check(b, REMOTE_BARRIER) != 0)
        return -1;
    client_word words[] = {client_number(text, b->number), remote_wait()};
    if (b->client->server == WEFT_SERVER_REDIS)
        return wait_redis(b, words[0], d);
    return remote_integer(b, &arrive, words, 2, &last, d) == 0 ? last != 0 : -1;
}

int weft_remote_barrier_abort(weft_remote_barrier *b, weft_deadline d)
{
    if (remote_check(b, REMOTE_BARRIER) != 0)
        return -1;
    return remote_do(b, &break_it, nullptr, 0, d);
}

int weft_remote_barrier_reset(weft_remote_barrier *b, weft_deadline d)
{
    if (remote_check(b, REMOTE_BARRIER) != 0)
        return -1;
    return remote_do(b, &reset, nullptr, 0, d);
}

ssize_t weft_remote_barrier_waiting(weft_remote_barrier *b, weft_deadline d)
{
    int64_t n;
    if (remote_check(b, REMOTE_BARRIER) != 0)
        return -1;
    return remote_integer(b, &waiting, nullptr, 0, &n, d) == 0 ? (ssize_t)n : -1;
}
