// topic.h: names that peers have asked to be told of: channels, patterns, keys that are watched.
//
// A topic exists while at least one peer has asked for it.  Each of them is linked to it, and the
// link is in a list of the peer's own, so that its end takes it out of all.
#ifndef WEFT_MANAGER_TOPIC_H
#define WEFT_MANAGER_TOPIC_H

#include "server.h"

namespace weft {

struct topic_link {
    topic_link *next, **at;         // of the topic's, and what points here
    topic_link *next_own, **at_own; // of the peer's
    struct peer *peer;
    struct topic *topic;
};

struct topic {
    struct entry *entry; // its name
    table *in;
    topic_link *first;
    size_t count;
};

static inline topic *topic_of(const entry *e)
{
    return (topic *)entry_object(e);
}

static inline word topic_name(const topic *t)
{
    return {entry_key(t->entry), t->entry->key_size};
}

// nullptr: nobody has asked for it.
topic *topic_find(table *in, const char *name, size_t n);

// Links the peer to the topic, by its list `own`.  Whether it was not yet.
bool topic_join(table *in, topic_list *own, peer *p, const word *name);

// The peer's link.  nullptr: it has none.  Looks at the shorter of the two lists.
topic_link *topic_link_of(const topic *t, const topic_list *own, const peer *p);

void topic_leave(topic_list *own, topic_link *l);

// ---- Channels and patterns (command_pubsub.cc) ----

// Bytes of messages that may wait for a peer: a 32nd part of what is missing to PUSHES_OF_ALL.
static const size_t PUSHES_MAX = 32 << 20, PUSHES_OF_ALL = 32 * PUSHES_MAX;

static inline size_t subscriptions(const peer *p)
{
    return p->channels.count + p->patterns.count;
}

void subscriptions_end(peer *p);

// At the server's end, when nobody is left.
void subscriptions_close(server *s);

} // namespace weft

#endif
