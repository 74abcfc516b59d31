// remote.h: proxies, and where the two servers part.
//
// A call of a proxy is an operation: a command with the proxy's name as its first argument.  What
// Redis has is the same there.  What it has not, WEFT.LOCK and its like, is a script there that
// takes the same arguments and answers the same, but never waits: redis/ask.cc asks it again.
#ifndef WEFT_MANAGER_REMOTE_H
#define WEFT_MANAGER_REMOTE_H

#include "client.h"

#include <weft/remote.h>

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
    REMOTE_JOBS,
    REMOTE_SET,
    REMOTE_SUBSCRIBER,
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
    void *own; // of jobs: their rules
};

namespace weft {

// How Redis does what only weft's server has a command for (redis/scripts.h).
struct redis_script {
    const char *text;         // null: the command is there, too
    const char *keys[3] = {}; // what KEYS[2] and so on end with
    const char *ready =
        nullptr;      // a cheaper one, without the last word: not null when `text` may go on
    int block = 0;    // which of KEYS is a list that has an item then; 0: none
    int slice_ms = 0; // look at least so often; 0: need not
    bool item_will_do = false; // that it had one is all that was waited for
};

// The same script, which goes on when the cheaper `ready` is not null.
constexpr redis_script when_ready(redis_script s, const char *ready)
{
    s.ready = ready;
    return s;
}

// The same, which goes on when the list KEYS[key] has an item, or after slice_ms.
constexpr redis_script when_item(redis_script s, int key, int slice_ms)
{
    s.block = key;
    s.slice_ms = slice_ms;
    return s;
}

// The same, which is over when that list has had one.
constexpr redis_script until_item(redis_script s, int key)
{
    s.block = key;
    s.item_will_do = true;
    return s;
}

struct remote_operation {
    int kind;         // of the proxies that have it
    const char *name; // null: only on Redis
    redis_script redis = {nullptr};
    // Of its reply when that comes too late: LATE_..., and for LATE_UNDO and LATE_JOB by what.
    int late = LATE_DROP;
    const remote_operation *undo = nullptr;
    const char *undo_word = nullptr; // on Redis
};

#define REMOTE_MOST_WORDS 9

// The word that says how long the server may wait: a reply of null is then ETIMEDOUT.
inline const char remote_wait_mark = 0;
static inline client_word remote_wait(void)
{
    return {&remote_wait_mark, 0, nullptr, nullptr};
}

static inline bool remote_waits(const client_word words[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (words[i].data == &remote_wait_mark)
            return true;
    return false;
}

weft_remote *remote_open(weft_client *c, int kind, const char *name, int64_t number);

// Gives it the client for its own; without it the client ends.  What it is, with errno as it was.
weft_remote *remote_with_own(weft_remote *r, weft_client *own);

// remote_jobs.cc: jobs, of whose options a text has the lease, in ms.
weft_remote *remote_jobs_open_text(weft_client *c, const char *name, int64_t lease_ms);

// remote_subscriber.cc: on a client that nobody else uses.
weft_remote *remote_subscriber_open(weft_client *own, const char *name, int flags, weft_deadline d);

// The reply is of another kind than that of the command: not the server it said to be.  EPROTO.
int remote_strange(weft_reply *reply);

// Whether it is one of that kind.  EINVAL.
int remote_check(const weft_remote *r, int kind);

// Its client is the caller's from enter to leave, ready.
int remote_enter(weft_remote *r, weft_deadline d);
void remote_leave(weft_remote *r); // leaves errno alone

// Does the operation, with n words after the name.  The reply, which is no error.  nullptr: errno;
// EINVAL: no proxy of its kind, or a word without memory.
weft_reply *remote_ask(weft_remote *r, const remote_operation *op, const client_word words[],
                       size_t n, weft_deadline d);

// The same without words: an array, also where the protocol's version makes it a map or a set.
weft_reply *remote_array(weft_remote *r, const remote_operation *op, weft_deadline d);

// The same for those whose reply is a number; anything; bytes, with ENOENT for null.
int remote_integer(weft_remote *r, const remote_operation *op, const client_word words[], size_t n,
                   int64_t *number, weft_deadline d);
int remote_do(weft_remote *r, const remote_operation *op, const client_word words[], size_t n,
              weft_deadline d);
// The number as a result; what is not 0 as 1.  -1: errno.
ssize_t remote_count(weft_remote *r, const remote_operation *op, const client_word words[],
                     size_t n, weft_deadline d);
int remote_truth(weft_remote *r, const remote_operation *op, const client_word words[], size_t n,
                 weft_deadline d);
ssize_t remote_bytes(weft_remote *r, const remote_operation *op, const client_word words[],
                     size_t n, void *v, size_t room, weft_deadline d);

// Until when the server may wait, so that its answer is here by `d`.
weft_deadline remote_wait_end(weft_deadline d);

// redis/ask.cc: within a call on the client.  Any reply; null: errno.
weft_reply *redis_ask(weft_remote *r, const remote_operation *op, const client_word words[],
                      size_t n, weft_deadline d);

// Notes the command that does the operation, or its beginning (client_put).  ENOMEM.
int redis_put(bytes *to, const weft_remote *r, const remote_operation *op,
              const client_word words[], size_t n, size_t more);

} // namespace weft

#endif
