// remote.h: proxies, and where the two servers part.
//
// A call of a proxy is an op: a command with the proxy's name as its first argument.  What Redis
// has is the same there.  What it has not, WEFT.LOCK and its like, is a script there that takes the
// same arguments and answers the same, but never waits: remote_redis.cc asks it again.
#ifndef WEFT_MANAGER_REMOTE_H
#define WEFT_MANAGER_REMOTE_H

#include "client.h"

enum {
    WEFT_REMOTE_QUEUE,
    WEFT_REMOTE_LOCK,
    WEFT_REMOTE_SEMAPHORE,
    WEFT_REMOTE_EVENT,
    WEFT_REMOTE_BARRIER,
    WEFT_REMOTE_VALUE,
    WEFT_REMOTE_DICT,
    WEFT_REMOTE_LIST,
    WEFT_REMOTE_NAMESPACE,
    WEFT_REMOTE_KINDS
};

struct weft_remote {
    weft_client *client;
    int kind;
    bool owns_client;
    bool asking;    // it is what the client's user is in a call of; atomic
    int64_t number; // capacity, flags, units, parties
    const char *name;
    size_t name_size;
    // Of a semaphore: units that were got here and not given back, on which connection.
    size_t held;
    uint64_t held_on;
};

// How Redis does what only weft's server has a command for.  KEYS[1] is the name, KEYS[2] and so
// on are made of it; ARGV[1] is the client's id, ARGV[2] the lease in ms, then come the op's words.
typedef struct weft_private_redis {
    const char *script; // null: not now
    const char *keys[3];
    // A cheaper one, without the last word: not null when `script` may go on.
    const char *ready = nullptr;
    int block = 0;             // which of KEYS is a list that has an item then; 0: none
    int slice_ms = 0;          // look at least so often; 0: need not
    bool item_will_do = false; // that it had one is all that was waited for
} weft_private_redis;

typedef struct weft_private_op {
    const char *name;
    const weft_private_redis *redis; // NULL: the same
} weft_private_op;

#define WEFT_REMOTE_MOST_WORDS 6

// The word that says how long the server may wait: a reply of null is then ETIMEDOUT.
static inline weft_private_client_word weft_private_remote_wait(void)
{
    return {nullptr, 1, nullptr, nullptr};
}

static inline bool weft_private_remote_waits(const weft_private_client_word words[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (words[i].data == nullptr && words[i].size == 1)
            return true;
    return false;
}

// What has no memory is EINVAL, which an op finds.
static inline bool weft_private_remote_lacks(const void *data, size_t n)
{
    return data == nullptr && n > 0;
}

#ifdef __cplusplus
extern "C" {
#endif

weft_remote *weft_private_remote_open(weft_client *c, int kind, const char *name, int64_t number);

// Whether it is one of that kind.  EINVAL.
int weft_private_remote_check(const weft_remote *r, int kind);

// Its client is the caller's from enter to leave, connected.
int weft_private_remote_enter(weft_remote *r, weft_deadline d);
void weft_private_remote_leave(weft_remote *r); // leaves errno alone

// Does the op, with n words after the name.  The reply, which is no error.  NULL: errno.
weft_reply *weft_private_remote_ask(weft_remote *r, const weft_private_op *op,
                                    const weft_private_client_word words[], size_t n,
                                    weft_deadline d);

// The same for those whose reply is a number; anything; bytes, with ENOENT for null.
int weft_private_remote_integer(weft_remote *r, const weft_private_op *op,
                                const weft_private_client_word words[], size_t n, int64_t *number,
                                weft_deadline d);
int weft_private_remote_do(weft_remote *r, const weft_private_op *op,
                           const weft_private_client_word words[], size_t n, weft_deadline d);
ssize_t weft_private_remote_bytes(weft_remote *r, const weft_private_op *op,
                                  const weft_private_client_word words[], size_t n, void *v,
                                  size_t room, weft_deadline d);

// remote_redis.cc: within a call on the client.  Any reply; null: the deadline passed.
weft_reply *weft_private_redis_ask(weft_remote *r, const weft_private_op *op,
                                   const weft_private_client_word words[], size_t n,
                                   weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
