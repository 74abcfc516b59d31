// remote_lock.cc: a lock.  On Redis it is a hash that ends with its lease: owner, token, depth.
#include "remote.h"

#include <base/errno.h>
#include <manager/redis/scripts.h>

using namespace weft;

static const remote_operation unlock = {REMOTE_LOCK, "WEFT.UNLOCK", {lua::lock_unlock, {"}:lock"}}};
static const remote_operation lock = {
    REMOTE_LOCK, "WEFT.LOCK", {lua::lock_lock, {"}:lock", "}:token"}}, LATE_UNDO, &unlock};
static const remote_operation renew = {REMOTE_LOCK, nullptr, {lua::lock_renew, {"}:lock"}}};

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
