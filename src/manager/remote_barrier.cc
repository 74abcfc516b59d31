// remote_barrier.cc: a barrier.  On Redis it is a hash with the number of the generation that
// gathers; who comes is told it, and asks again and again whether it is over.  Generations that a
// reset ended are noted for those who have not asked since.
#include "remote.h"

#include <base/saved_errno.h>

#define BROKEN "return redis.error_reply('BROKEN the barrier is broken')"
#define IF_BROKEN "if redis.call('HEXISTS', KEYS[2], 'broken') == 1 then " BROKEN " end "
#define GENERATION "(redis.call('HGET', KEYS[2], 'generation') or '0')"
#define KEYS                                                                                       \
    {                                                                                              \
        "}:barrier", "}:resets"                                                                    \
    }

// -1: the last to come; else the generation to wait for.
static const weft_private_redis redis_arrive = {
    IF_BROKEN "local count = tonumber(redis.call('HGET', KEYS[2], 'count') or '0') "
              "if count > 0 and redis.call('HGET', KEYS[2], 'parties') ~= ARGV[3] then "
              "  return redis.error_reply('PARTIES others wait for another number') "
              "end "
              "if count + 1 >= tonumber(ARGV[3]) then "
              "  redis.call('HSET', KEYS[2], 'count', 0) "
              "  redis.call('HINCRBY', KEYS[2], 'generation', 1) "
              "  return -1 "
              "end "
              "redis.call('HSET', KEYS[2], 'count', count + 1, 'parties', ARGV[3]) "
              "return tonumber" GENERATION,
    KEYS};

#define IF_OVER                                                                                    \
    "if redis.call('HEXISTS', KEYS[3], ARGV[3]) == 1 then " BROKEN " end "                         \
    "if " GENERATION " ~= ARGV[3] then return 1 end " IF_BROKEN

static const weft_private_redis redis_is_over = {IF_OVER "return false", KEYS};

// By one whose wait is over; 1: the others had come.
static const weft_private_redis redis_give_up = {
    IF_OVER "redis.call('HSET', KEYS[2], 'broken', 1, 'count', 0) "
            "return 0",
    KEYS};

static const weft_private_redis redis_break = {
    "redis.call('HSET', KEYS[2], 'broken', 1, 'count', 0) "
    "return redis.status_reply('OK')",
    KEYS};

static const weft_private_redis redis_reset = {"redis.call('HSET', KEYS[3], " GENERATION ", 1) "
                                               "redis.call('PEXPIRE', KEYS[3], 3600000) "
                                               "redis.call('HINCRBY', KEYS[2], 'generation', 1) "
                                               "redis.call('HSET', KEYS[2], 'count', 0) "
                                               "redis.call('HDEL', KEYS[2], 'broken') "
                                               "return redis.status_reply('OK')",
                                               KEYS};

static const weft_private_redis redis_waiting = {
    IF_BROKEN "return tonumber(redis.call('HGET', KEYS[2], 'count') or '0')", KEYS};

static const weft_private_op arrive = {"WEFT.BARRIER", &redis_arrive},
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
    return weft_private_remote_open(c, WEFT_REMOTE_BARRIER, name, parties);
}

// The wait for generation `text` has failed.
static int leave_redis(weft_remote_barrier *b, const weft_private_client_word *generation)
{
    int64_t over = 0;
    int error = errno;
    if (error == ECANCELED)
        weft_private_redis_part(b, &give_up, generation, 1);
    else if (error == ETIMEDOUT &&
             weft_private_remote_integer(b, &give_up, generation, 1, &over, WEFT_NOW) == 0 && over)
        return 0;
    return weft_fail(error);
}

static int wait_redis(weft_remote_barrier *b, weft_private_client_word parties, weft_deadline d)
{
    char text[WEFT_CLIENT_NUMBER_ROOM];
    int saved = errno;
    int64_t n;
    if (weft_private_remote_integer(b, &arrive, &parties, 1, &n, d) != 0)
        return -1;
    if (n < 0)
        return 1;
    weft_private_client_word words[] = {weft_private_client_number(text, n),
                                        weft_private_remote_wait()};
    if (weft_private_remote_do(b, &is_over, words, 2, d) != 0 && leave_redis(b, words) != 0)
        return -1;
    errno = saved;
    return 0;
}

int weft_remote_barrier_wait(weft_remote_barrier *b, weft_deadline d)
{
    char text[WEFT_CLIENT_NUMBER_ROOM];
    int64_t last;
    if (weft_private_remote_check(b, WEFT_REMOTE_BARRIER) != 0)
        return -1;
    weft_private_client_word words[] = {weft_private_client_number(text, b->number),
                                        weft_private_remote_wait()};
    if (b->client->server == WEFT_SERVER_REDIS)
        return wait_redis(b, words[0], d);
    return weft_private_remote_integer(b, &arrive, words, 2, &last, d) == 0 ? last != 0 : -1;
}

int weft_remote_barrier_abort(weft_remote_barrier *b, weft_deadline d)
{
    if (weft_private_remote_check(b, WEFT_REMOTE_BARRIER) != 0)
        return -1;
    return weft_private_remote_do(b, &break_it, nullptr, 0, d);
}

int weft_remote_barrier_reset(weft_remote_barrier *b, weft_deadline d)
{
    if (weft_private_remote_check(b, WEFT_REMOTE_BARRIER) != 0)
        return -1;
    return weft_private_remote_do(b, &reset, nullptr, 0, d);
}

ssize_t weft_remote_barrier_waiting(weft_remote_barrier *b, weft_deadline d)
{
    int64_t n;
    if (weft_private_remote_check(b, WEFT_REMOTE_BARRIER) != 0)
        return -1;
    return weft_private_remote_integer(b, &waiting, nullptr, 0, &n, d) == 0 ? (ssize_t)n : -1;
}
