// command_pubsub.cc: SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE PUBLISH PUBSUB, as Redis has
// them.
//
// A message is encoded once for all who are told of it by one protocol, and by one name.  It
// cannot wait: for whom too much of it piles up, because he does not read, he is cut.
#include "commands.h"
#include "topic.h"

#include <base/number.h>

using namespace weft;

// ---- Messages ----

static bytes message; // that was encoded last

static void put(const char *text, size_t n)
{
    bytes_append(&message, text, n, 512, retake); // which does not fail
}

static void put_head(char sign, int64_t number)
{
    char text[NUMBER_ROOM + 3] = {sign};
    size_t n = 1 + number_print(text + 1, number);
    text[n++] = '\r';
    text[n++] = '\n';
    put(text, n);
}

static void put_string(const word *w)
{
    put_head('$', (int64_t)w->size);
    put(w->text, w->size);
    put("\r\n", 2);
}

static void begin(int protocol, int64_t parts, const char *kind)
{
    word w = {kind, strlen(kind)};
    message.begin = message.end = 0;
    put_head(protocol == 3 ? '>' : '*', parts);
    put_string(&w);
}

static void forget(void)
{
    memory_drop(message.data);
    message = {};
}

// Large ones are not kept room for.
static void end(void)
{
    if (message.room > INPUT_ROOM)
        forget();
}

// To a peer that may want no replies: this is none.
static void push(peer *p)
{
    if (p->ending)
        return;
    uint8_t silent = p->silent;
    p->silent = 0;
    reply_raw(p, bytes_at(&message), bytes_count(&message));
    p->silent |= silent;
}

// ---- Subscriptions ----

static table *table_of(server *s, bool pattern)
{
    return pattern ? &s->patterns : &s->channels;
}

static topic_list **list_of(peer *p, bool pattern)
{
    return pattern ? &p->patterns : &p->channels;
}

// What the peer is told of each name: how many it has now.  nullptr: it had none.
static void confirm(peer *p, const char *kind, const word *name, size_t count)
{
    begin(p->protocol, 3, kind);
    if (name != nullptr)
        put_string(name);
    else
        put(p->protocol == 3 ? "_\r\n" : "$-1\r\n", p->protocol == 3 ? 3 : 5);
    put_head(':', (int64_t)count);
    push(p);
    end();
}

static void subscribe(peer *p, const word *words, int n, bool pattern)
{
    for (int i = 1; i < n; i++) {
        topic_join(table_of(p->server, pattern), list_of(p, pattern), p, &words[i]);
        confirm(p, pattern ? "psubscribe" : "subscribe", &words[i], subscriptions(p));
    }
}

static void unsubscribe(peer *p, const word *words, int n, bool pattern)
{
    const char *kind = pattern ? "punsubscribe" : "unsubscribe";
    topic_list **own = list_of(p, pattern);
    size_t left = subscriptions(p);
    for (int i = 1; i < n; i++) {
        const topic *t = topic_find(table_of(p->server, pattern), words[i].text, words[i].size);
        topic_link *l = t != nullptr ? topic_link_of(t, *own) : nullptr;
        if (l != nullptr)
            topic_leave(l);
        confirm(p, kind, &words[i], subscriptions(p));
    }
    if (n > 1)
        return;
    if (topics_of(*own) == 0)
        confirm(p, kind, nullptr, left);
    else
        for (const topic_link *l = (*own)->first; l != nullptr; l = l->next_own) {
            word name = topic_name(l->topic);
            confirm(p, kind, &name, --left);
        }
    topics_leave(p->server, own);
}

void weft::command_subscribe(peer *p, const word *words, int n)
{
    subscribe(p, words, n, false);
}

void weft::command_psubscribe(peer *p, const word *words, int n)
{
    subscribe(p, words, n, true);
}

void weft::command_unsubscribe(peer *p, const word *words, int n)
{
    unsubscribe(p, words, n, false);
}

void weft::command_punsubscribe(peer *p, const word *words, int n)
{
    unsubscribe(p, words, n, true);
}

void weft::subscriptions_end(peer *p)
{
    topics_leave(p->server, &p->channels);
    topics_leave(p->server, &p->patterns);
}

// ---- PUBLISH ----

namespace {
struct publication {
    const word *channel, *text;
    int64_t receivers;
};
} // namespace

// It is counted among what is unread at once: of what is told to many, nothing goes before all is.
static void deliver(peer *p)
{
    server *s = p->server;
    size_t n = bytes_count(&message),
           limit = s->unread < PUSHES_OF_ALL ? (PUSHES_OF_ALL - s->unread) / 32 : 0;
    limit = limit < s->o.max_reply ? limit : s->o.max_reply;
    if (bytes_count(&p->out) + n > limit) {
        peer_end(p);
        return;
    }
    push(p);
    p->unread += n;
    s->unread += n;
}

// To all of the topic's: first to those of one protocol, then to those of the other.
static void publish_to(const topic *t, const word *pattern, publication *what)
{
    for (int protocol = 2; protocol <= 3; protocol++) {
        bool encoded = false;
        for (const topic_link *l = t->first; l != nullptr; l = l->next) {
            peer *p = l->own->peer;
            if (p == nullptr || p->protocol != protocol || p->ending)
                continue;
            if (!encoded) {
                begin(protocol, pattern != nullptr ? 4 : 3,
                      pattern != nullptr ? "pmessage" : "message");
                if (pattern != nullptr)
                    put_string(pattern);
                put_string(what->channel);
                put_string(what->text);
                encoded = true;
            }
            deliver(p);
            what->receivers++;
        }
    }
}

static void publish_if_matches(entry *e, void *arg)
{
    publication *what = (publication *)arg;
    const topic *t = topic_of(e);
    word pattern = topic_name(t);
    if (glob_matches(pattern.text, pattern.size, what->channel->text, what->channel->size))
        publish_to(t, &pattern, what);
}

void weft::command_publish(peer *p, const word *words, int)
{
    server *s = p->server;
    publication what = {&words[1], &words[2], 0};
    const topic *t = topic_find(&s->channels, words[1].text, words[1].size);
    if (t != nullptr)
        publish_to(t, nullptr, &what);
    if (s->patterns.count != 0)
        table_each(&s->patterns, publish_if_matches, &what);
    end();
    reply_integer(p, what.receivers);
}

// ---- PUBSUB ----

namespace {
struct listing {
    struct peer *peer;
    const word *pattern;
    size_t count;
    bool counts; // only counts
};
} // namespace

static void list_channel(entry *e, void *arg)
{
    listing *l = (listing *)arg;
    if ((l->pattern != nullptr &&
         !glob_matches(l->pattern->text, l->pattern->size, entry_key(e), e->key_size)) ||
        topic_peers(l->peer->server, topic_of(e)) == 0)
        return;
    if (l->counts)
        l->count++;
    else
        reply_string(l->peer, entry_key(e), e->key_size);
}

static void pubsub_channels(peer *p, const word *words, int n)
{
    if (n > 3) {
        reply_error(p,
                    "ERR unknown subcommand or wrong number of arguments for '%.*s'. "
                    "Try PUBSUB HELP.",
                    (int)words[1].size, words[1].text);
        return;
    }
    listing l = {p, n == 3 ? &words[2] : nullptr, 0, true};
    table_each(&p->server->channels, list_channel, &l);
    reply_array(p, l.count);
    l.counts = false;
    table_each(&p->server->channels, list_channel, &l);
}

static void pubsub_numsub(peer *p, const word *words, int n)
{
    reply_array(p, 2 * ((size_t)n - 2));
    for (int i = 2; i < n; i++) {
        const topic *t = topic_find(&p->server->channels, words[i].text, words[i].size);
        reply_string(p, words[i].text, words[i].size);
        reply_integer(p, t != nullptr ? (int64_t)topic_peers(p->server, t) : 0);
    }
}

static void pubsub_numpat(peer *p, const word *, int)
{
    reply_integer(p, (int64_t)topics_in(p->server, &p->server->patterns));
}

// clang-format off
const command_row weft::pubsub_subcommands[] = {
    {"pubsub|channels", pubsub_channels, -2, 0, 0, 0, 0, nullptr,
     "CHANNELS [<pattern>]\n"
     "    Return the currently active channels matching a <pattern> (default: '*')."},
    {"pubsub|numpat", pubsub_numpat, 2, 0, 0, 0, 0, nullptr,
     "NUMPAT\n    Return number of subscriptions to patterns."},
    {"pubsub|numsub", pubsub_numsub, -2, 0, 0, 0, 0, nullptr,
     "NUMSUB [<channel> ...]\n"
     "    Return the number of subscribers for the specified channels, excluding\n"
     "    pattern subscriptions(default: no channels)."},
    {"pubsub|help", command_help, 2, 0, 0, 0, 0},
    {},
};
// clang-format on

void weft::subscriptions_close(server *s)
{
    table_clear(&s->channels, entry_drop);
    table_clear(&s->patterns, entry_drop);
    forget();
}
