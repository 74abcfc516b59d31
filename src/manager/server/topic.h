// topic.h: names that peers have asked to be told of: channels, patterns, keys that are watched.
//
// A topic exists while at least one peer has asked for it.  Each of them is linked to it, and the
// link is in a list of the peer's own, so that its end takes it out of all.
//
// A list of many is left in no time: it is nobody's from then on, and the background takes its
// links out.  So a topic may have links of lists that nobody has any more, which count for nothing.
#ifndef WEFT_MANAGER_TOPIC_H
#define WEFT_MANAGER_TOPIC_H

#include "server.h"

namespace weft {

struct topic_link {
    topic_link *next, **at;         // of the topic's, and what points here
    topic_link *next_own, **at_own; // of the list's
    struct topic_list *own;
    struct topic *topic;
};

// What a peer has asked to be told of, of one kind.
struct topic_list {
    topic_list *next;  // of those that were left
    struct peer *peer; // nullptr: it was left
    topic_link *first;
    size_t count;
    // Of keys that are watched: the databases in which one of them is there, a bit each, and when
    // the first expires.  Neither changes before one of the keys does, and then the list is left.
    uint32_t there;
    int64_t expires;
};
static_assert(DATABASES <= 32, "a bit each");

struct topic {
    struct entry *entry; // its name
    table *in;
    topic_link *first;
    size_t count; // links
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

// Links the peer to the topic, by its list `own`, which is made if need be.  Whether it was not
// yet.
bool topic_join(table *in, topic_list **own, peer *p, const word *name);

// The link of that list.  nullptr: there is none.  Looks at the shorter of the two.
topic_link *topic_link_of(const topic *t, const topic_list *own);

// Takes out one link; all of the list, which is nullptr then.
void topic_leave(topic_link *l);
void topics_leave(server *s, topic_list **own);

static inline size_t topics_of(const topic_list *own)
{
    return own != nullptr ? own->count : 0;
}

// How many peers have asked for it; for how many topics of a table any has.
size_t topic_peers(const server *s, const topic *t);
size_t topics_in(const server *s, const table *in);

// ---- Channels and patterns (command_pubsub.cc) ----

// Bytes of messages that may wait for a peer: a 32nd part of what is missing to PUSHES_OF_ALL.
static const size_t PUSHES_MAX = 32 << 20, PUSHES_OF_ALL = 32 * PUSHES_MAX;

static inline size_t subscriptions(const peer *p)
{
    return topics_of(p->channels) + topics_of(p->patterns);
}

void subscriptions_end(peer *p);

// At the server's end, when nobody is left.
void subscriptions_close(server *s);

} // namespace weft

#endif
