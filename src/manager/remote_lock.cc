// remote_lock.cc: a lock.  On Redis it is a hash that ends with its lease: owner, token, depth.
#include "remote.h"

#include <base/errno.h>

using namespace weft;

#define OWNED                                                                                      \
    "if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then "                                     \
    "  return redis.error_reply('NOTOWNER the client does not have it') "                          \
    "end "

// KEYS[2]: the hash; KEYS[3]: the last token, which outlives it.
static const redis_call redis_lock = {
    "local owner = redis.call('HGET', KEYS[2], 'owner') "
    "if owner == ARGV[1] then "
    "  if ARGV[3] ~= 'RECURSIVE' then "
    "    return redis.error_reply('DEADLOCK the client has it') "
    "  end "
    "  redis.call('HINCRBY', KEYS[2], 'depth', 1) "
    "  redis.call('PEXPIRE', KEYS[2], ARGV[2]) "
    "  return tonumber(redis.call('HGET', KEYS[2], 'token')) "
    "end "
    "if owner then return false end "
    "local token = redis.call('INCR', KEYS[3]) "
    "redis.call('HSET', KEYS[2], 'owner', ARGV[1], 'token', token, 'depth', 1) "
    "redis.call('PEXPIRE', KEYS[2], ARGV[2]) "
    "return token",
    {"}:lock", "}:token"}};

static const redis_call redis_unlock = {OWNED
                                        "local depth = redis.call('HINCRBY', KEYS[2], 'depth', -1) "
                                        "if depth == 0 then redis.call('DEL', KEYS[2]) "
                                        "else redis.call('PEXPIRE', KEYS[2], ARGV[2]) end "
                                        "return depth",
                                        {"}:lock"}};

static const redis_call redis_renew = {OWNED "redis.call('PEXPIRE', KEYS[2], ARGV[2]) "
                                             "return 1",
                                       {"}:lock"}};

static const remote_operation lock = {"WEFT.LOCK", &redis_lock},
                              unlock = {"WEFT.UNLOCK", &redis_unlock},
                              renew = {nullptr, &redis_renew};

weft_remote_lock *weft_remote_lock_open(weft_client *c, const char *name, int flags)
{
    if (flags != 0 && flags != WEFT_RECURSIVE) {
        errno = EINVAL;
        return nullptr;
    }
    return remote_open(c, REMOTE_LOCK, name, flags);
}

int weft_remote_lock_lock(weft_remote_lock *l, int64_t *token, weft_deadline d)
{
    client_word words[] = {remote_wait(), client_text("RECURSIVE")};
    if (remote_check(l, REMOTE_LOCK) != 0)
        return -1;
    return remote_integer(l, &lock, words, l->number == WEFT_RECURSIVE ? 2 : 1, token, d);
}

int weft_remote_lock_unlock(weft_remote_lock *l, weft_deadline d)
{
    if (remote_check(l, REMOTE_LOCK) != 0)
        return -1;
    return remote_do(l, &unlock, nullptr, 0, d);
}

// On weft's server there is nothing to renew.  Whether the client has the lock is found out by
// locking it once more, if that can be done at once, and unlocking.
static int look(weft_remote_lock *l, weft_deadline d)
{
    int64_t depth;
    client_word words[] = {client_text("0"), client_text("RECURSIVE")};
    weft_reply *reply = remote_ask(l, &lock, words, 2, d);
    if (reply == nullptr)
        return -1;
    bool others = reply->type == WEFT_REPLY_NULL;
    weft_reply_free(reply);
    if (others)
        return fail_with(EPERM);
    if (remote_integer(l, &unlock, nullptr, 0, &depth, d) != 0)
        return -1;
    return depth > 0 ? 0 : fail_with(EPERM);
}

int weft_remote_lock_renew(weft_remote_lock *l, weft_deadline d)
{
    if (remote_check(l, REMOTE_LOCK) != 0)
        return -1;
    return l->client->server == WEFT_SERVER_REDIS ? remote_do(l, &renew, nullptr, 0, d)
                                                  : look(l, d);
}
