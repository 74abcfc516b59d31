// remote_subscriber.cc: messages: weft_remote_publish, and who is told of them.
//
// A subscriber has a connection of its own, on which nothing is said but SUBSCRIBE and its like.
// What is subscribed is noted, to be said again on the next connection; that a connection was
// another one than before is told once, since messages may have been lost in between.
#include "remote.h"

#include <base/errno.h>

#include <stdlib.h>

using namespace weft;

static const int64_t LONGEST_PAUSE_MS = 50;

namespace {
struct subscriptions {
    uint64_t connection; // on which all of them were said
    size_t size, room;   // of what follows: names, each behind a letter and with a 0 at its end
    char names[1];
};
} // namespace

enum { CHANNEL = 'c', PATTERN = 'p' };

static char kind_of(int flags)
{
    return (flags & WEFT_SUBSCRIBE_PATTERN) != 0 ? PATTERN : CHANNEL;
}

// ---- Names ----

static subscriptions *of(const weft_remote *r)
{
    return (subscriptions *)r->own;
}

static char *find_name(const subscriptions *s, char kind, const char *name)
{
    for (const char *at = s->names; at < s->names + s->size; at += strlen(at) + 1)
        if (*at == kind && strcmp(at + 1, name) == 0)
            return (char *)at;
    return nullptr;
}

static void forget_name(subscriptions *s, char *at)
{
    size_t n = strlen(at) + 1;
    memmove(at, at + n, s->size - (size_t)(at - s->names) - n);
    s->size -= n;
}

static int note_name(weft_remote *r, char kind, const char *name)
{
    subscriptions *s = of(r);
    size_t n = strlen(name) + 2, had = s != nullptr ? s->size : 0;
    if (s == nullptr || s->room - had < n) {
        size_t room = 2 * had + n;
        s = (subscriptions *)realloc(s, sizeof *s + room);
        if (s == nullptr)
            return -1;
        if (r->own == nullptr)
            *s = {};
        s->room = room;
        r->own = s;
    }
    s->names[had] = kind;
    memcpy(s->names + had + 1, name, n - 1);
    s->size = had + n;
    return 0;
}

// ---- Saying ----

static int say(weft_client *c, const char *what, const char *name, weft_deadline d)
{
    const char *const words[] = {what, name};
    weft_reply *reply = weft_client_command(c, 2, words, nullptr, d);
    if (reply == nullptr)
        return -1;
    int error = reply->type == WEFT_REPLY_ERROR ? client_errno(c, reply) : 0;
    weft_reply_free(reply);
    return error != 0 ? fail_with(error) : 0;
}

static const char *verb(char kind, bool begins)
{
    return kind == PATTERN ? begins ? "PSUBSCRIBE" : "PUNSUBSCRIBE"
           : begins        ? "SUBSCRIBE"
                           : "UNSUBSCRIBE";
}

// The connection is the one on which all was said, and there still as far as is known.
static bool is_subscribed(const weft_remote *r)
{
    return weft_client_fd(r->client) >= 0 && r->client->connection == of(r)->connection;
}

// All of them on one connection, which may be a new one.
static int say_all(weft_remote *r, weft_deadline d)
{
    subscriptions *s = of(r);
    uint64_t first = 0;
    for (const char *at = s->names; at < s->names + s->size; at += strlen(at) + 1) {
        if (say(r->client, verb(*at, true), at + 1, d) != 0)
            return -1;
        first = first == 0 ? r->client->connection : first;
    }
    if (first != r->client->connection)
        return fail_with(ECONNRESET);
    s->connection = first;
    return 0;
}

// Connects again and again, until `d`.
static int subscribe_again(weft_remote *r, weft_deadline d)
{
    for (int64_t ms = 1;; ms = 2 * ms < LONGEST_PAUSE_MS ? 2 * ms : LONGEST_PAUSE_MS) {
        if (say_all(r, d) == 0)
            return 0;
        if ((errno != ENOTCONN && errno != ECONNRESET) || weft_left(d) == 0)
            return -1;
        weft_deadline until = weft_in_ms(ms);
        if (client_sleep(r->client, until < d ? until : d) != 0)
            return -1;
    }
}

// ---- Opening ----

weft_remote *weft::remote_subscriber_open(weft_client *own, const char *name, int flags,
                                          weft_deadline d)
{
    if ((flags & ~WEFT_SUBSCRIBE_PATTERN) != 0) {
        errno = EINVAL;
        return nullptr;
    }
    weft_remote *r = remote_open(own, REMOTE_SUBSCRIBER, name, flags);
    if (r == nullptr)
        return nullptr;
    if (note_name(r, kind_of(flags), name) == 0 && say_all(r, d) == 0)
        return r;
    int saved = errno;
    weft_remote_destroy(r);
    errno = saved;
    return nullptr;
}

weft_remote_subscriber *weft_remote_subscribe(weft_client *c, const char *channel, int flags,
                                              weft_deadline d)
{
    int saved = errno;
    if (c == nullptr || channel == nullptr || *channel == 0) {
        errno = EINVAL;
        return nullptr;
    }
    weft_client *own = client_like(c, d);
    weft_remote *r = own != nullptr ? remote_subscriber_open(own, channel, flags, d) : nullptr;
    errno = r != nullptr ? saved : errno;
    return remote_with_own(r, own);
}

int weft_remote_subscriber_add(weft_remote_subscriber *s, const char *channel, int flags,
                               weft_deadline d)
{
    if (remote_check(s, REMOTE_SUBSCRIBER) != 0 || channel == nullptr || *channel == 0 ||
        (flags & ~WEFT_SUBSCRIBE_PATTERN) != 0)
        return fail_with(EINVAL);
    if (find_name(of(s), kind_of(flags), channel) != nullptr)
        return 0;
    if (say(s->client, verb(kind_of(flags), true), channel, d) != 0)
        return -1;
    return note_name(s, kind_of(flags), channel);
}

int weft_remote_subscriber_remove(weft_remote_subscriber *s, const char *channel, int flags,
                                  weft_deadline d)
{
    if (remote_check(s, REMOTE_SUBSCRIBER) != 0 || channel == nullptr ||
        (flags & ~WEFT_SUBSCRIBE_PATTERN) != 0)
        return fail_with(EINVAL);
    char *at = find_name(of(s), kind_of(flags), channel);
    if (at == nullptr)
        return fail_with(ENOENT);
    if (say(s->client, verb(*at, false), channel, d) != 0)
        return -1;
    forget_name(of(s), at);
    return 0;
}

// ---- Messages ----

// Makes it an array of the channel and the text.  false: it is something else.
static bool is_message(weft_reply *r)
{
    bool array = r->type == WEFT_REPLY_PUSH || r->type == WEFT_REPLY_ARRAY;
    const char *kind = array && r->size > 0 ? r->items[0].text : nullptr;
    bool direct = kind != nullptr && r->size == 3 && strcmp(kind, "message") == 0;
    bool matched = kind != nullptr && r->size == 4 && strcmp(kind, "pmessage") == 0;
    if (!direct && !matched)
        return false;
    r->type = WEFT_REPLY_ARRAY;
    r->items += r->size - 2;
    r->size = 2;
    return true;
}

weft_reply *weft_remote_subscriber_next(weft_remote_subscriber *s, weft_deadline d)
{
    int saved = errno;
    if (remote_check(s, REMOTE_SUBSCRIBER) != 0 || of(s)->size == 0) {
        errno = EINVAL;
        return nullptr;
    }
    for (;;) {
        weft_reply *r = nullptr;
        if (is_subscribed(s))
            r = weft_client_next(s->client, d);
        else if (subscribe_again(s, d) == 0)
            errno = ECONNRESET;
        if (r != nullptr && is_message(r)) {
            errno = saved;
            return r;
        }
        weft_reply_free(r);
        if (r != nullptr)
            continue; // what was said earlier is confirmed
        if (errno == ENOENT)
            errno = ETIMEDOUT;
        bool ended = errno == ENOTCONN || (errno == ECONNRESET && !is_subscribed(s));
        if (!ended || weft_left(d) == 0)
            return nullptr;
    }
}

ssize_t weft_remote_publish(weft_client *c, const char *channel, const void *v, size_t n,
                            weft_deadline d)
{
    int saved = errno;
    if (channel == nullptr)
        return fail_with(EINVAL);
    const char *const words[] = {"PUBLISH", channel, (const char *)v};
    const size_t sizes[] = {7, strlen(channel), n};
    weft_reply *r = weft_client_command(c, 3, words, sizes, d);
    if (r == nullptr)
        return -1;
    ssize_t result = -1;
    int error = r->type == WEFT_REPLY_INTEGER ? saved
                : r->type == WEFT_REPLY_ERROR ? client_errno(c, r)
                                              : EPROTO;
    if (r->type == WEFT_REPLY_INTEGER)
        result = (ssize_t)r->integer;
    weft_reply_free(r);
    errno = error;
    return result;
}
