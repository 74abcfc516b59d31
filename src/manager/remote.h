// remote.h: proxies, and where the two servers part.
//
// A call of a proxy is an op: a command with the proxy's name as its first argument.  What Redis
// has is the same there.  What it has not, WEFT.LOCK and its like, is a script there that takes the
// same arguments and answers the same, but never waits: remote_redis.cc asks it again.
#ifndef WEFT_MANAGER_REMOTE_H
#define WEFT_MANAGER_REMOTE_H

#include "client.h"

namespace weft {

enum {
    REMOTE_QUEUE,
    REMOTE_LOCK,
    REMOTE_SEMAPHORE,
    REMOTE_EVENT,
    REMOTE_BARRIER,
    REMOTE_VALUE,
    REMOTE_DICT,
    REMOTE_LIST,
    REMOTE_NAMESPACE,
    REMOTE_KINDS
};

} // namespace weft

using namespace weft;

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

namespace weft {

// How Redis does what only weft's server has a command for.  KEYS[1] is the name, KEYS[2] and so
// on are made of it; ARGV[1] is the client's id, ARGV[2] the lease in ms, then come the op's words.
struct redis_call {
    const char *script; // null: not now
    const char *keys[3];
    // A cheaper one, without the last word: not null when `script` may go on.
    const char *ready = nullptr;
    int block = 0;             // which of KEYS is a list that has an item then; 0: none
    int slice_ms = 0;          // look at least so often; 0: need not
    bool item_will_do = false; // that it had one is all that was waited for
};

struct remote_operation {
    const char *name;
    const redis_call *redis; // NULL: the same
};

#define REMOTE_MOST_WORDS 6

// The word that says how long the server may wait: a reply of null is then ETIMEDOUT.
static inline client_word remote_wait(void)
{
    return {nullptr, 1, nullptr, nullptr};
}

static inline bool remote_waits(const client_word words[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (words[i].data == nullptr && words[i].size == 1)
            return true;
    return false;
}

// What has no memory is EINVAL, which an op finds.
static inline bool remote_lacks(const void *data, size_t n)
{
    return data == nullptr && n > 0;
}

weft_remote *remote_open(weft_client *c, int kind, const char *name, int64_t number);

// Whether it is one of that kind.  EINVAL.
int remote_check(const weft_remote *r, int kind);

// Its client is the caller's from enter to leave, connected.
int remote_enter(weft_remote *r, weft_deadline d);
void remote_leave(weft_remote *r); // leaves errno alone

// Does the op, with n words after the name.  The reply, which is no error.  NULL: errno.
weft_reply *remote_ask(weft_remote *r, const remote_operation *op, const client_word words[],
                       size_t n, weft_deadline d);

// The same for those whose reply is a number; anything; bytes, with ENOENT for null.
int remote_integer(weft_remote *r, const remote_operation *op, const client_word words[], size_t n,
                   int64_t *number, weft_deadline d);
int remote_do(weft_remote *r, const remote_operation *op, const client_word words[], size_t n,
              weft_deadline d);
ssize_t remote_bytes(weft_remote *r, const remote_operation *op, const client_word words[],
                     size_t n, void *v, size_t room, weft_deadline d);

// remote_redis.cc: within a call on the client.  Any reply; null: the deadline passed.
weft_reply *redis_ask(weft_remote *r, const remote_operation *op, const client_word words[],
                      size_t n, weft_deadline d);

} // namespace weft

#endif
