// multi.h: transactions: what a peer queues between MULTI and EXEC, and the keys that it watches.
//
// Queued commands lie one behind the other in one piece of memory, and all of them together are no
// longer than one command may be.  While they run nobody else does, and none of them waits: what
// would have to is answered as if its time were out.
#ifndef WEFT_MANAGER_MULTI_H
#define WEFT_MANAGER_MULTI_H

#include "server.h"

namespace weft {

struct transaction {
    bytes queue;
    size_t count, most; // commands; words of the longest
    bool adds;          // one of them does (COMMAND_ADDS)
    bool writes;        // the same, or tells others
    bool failed;        // one was refused: then none is run
    bool running;
};

static inline bool runs_transaction(const peer *p)
{
    return p->multi != nullptr && p->multi->running;
}

// The command is run later; the peer is told so, or why not.
void transaction_queue(peer *p, const command_row *c, const word *words, int n);

// The peer has no transaction, and watches no key, nor has one of them changed.
void transaction_end(peer *p);

// Those who watch the key will not run their transactions; the same of all keys of a database.
void watch_touch(server *s, int db, const char *key, size_t n);
void watch_touch_all(server *s, int db);

// Those who watch a key that two databases have, or one of them: they get one another's keys.
void watch_touch_both(server *s, int a, int b);

} // namespace weft

#endif
