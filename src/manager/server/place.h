// place.h: where peers wait for one another: queues, locks, semaphores, barriers, events.
//
// A place is what is known of one name beyond the keys: who waits, in the order in which they
// came, who holds it, whether it is closed.  It exists while there is something to know; what
// nobody holds, waits for or names for a day is forgotten.
//
// Who waits in BLPOP and its like, and those who wait to put, are in the place of the list's key:
// whatever changes that list says so (key_changed), and when the command is done
// places_serve goes through the places that may have something to give.
//
// A queue's count of what is not done is kept true there, too, by which list is there and its
// length alone: in whatever way items leave a list, no more of them can be waiting than it has.
#ifndef WEFT_MANAGER_PLACE_H
#define WEFT_MANAGER_PLACE_H

#include "server.h"

namespace weft {

enum { AT_LIST = 'l', AT_LOCK = 'k', AT_UNITS = 's', AT_BARRIER = 'b', AT_EVENT = 'e' };
enum { AT_JOBS = 'j' };

enum { PLACE_NAME_MAX = 4096 }; // bytes; of a client's name, too

struct job_queue;

struct place_link {
    struct place_link *next, *previous;
    peer_wait *wait;
    struct place *place;
    bool is_waiting; // in the place's `waiting`
};

// What a peer holds of a place.
struct peer_hold {
    hold_link of_peer, of_place;
    struct peer *peer;
    struct place *place;
    int64_t count; // how often it locked it; how many units
};

struct place {
    place_ring ring;     // first
    struct entry *entry; // its name
    int kind, db;
    uint32_t flushes;      // those that it has seen
    bool is_ready;         // it is in server->ready
    bool has_turn;         // and stays where it is: it has a list that was not there before
    bool is_erased;        // of a semaphore: there is none
    int64_t since, active; // it is known, or locked; was last used: weft_now()
    place_ring turn;       // in server->ready
    place_link waiting;    // takers; those who want the lock, a unit, the others
    place_link putters;    // of a list
    place_link joiners;    // of a list
    size_t count;          // of `waiting`
    int64_t number;        // list: not done; lock: its token; units: free;
                           // barrier: parties
    int64_t taken;         // list: of those not done, got by WEFT.GET; the others are in the list
    uint64_t list;         // its id when that was last looked at; 0: there was none
    hold_link holds;       // a lock has one at most
    int closed;            // list: 1 drain, 2 discard; event: set; barrier: errno
    job_queue *jobs;       // of jobs (job.h)
};

// What a blocked peer waits for: the links into one place or several, and what to do then.
struct peer_wait {
    struct peer *peer; // nullptr: it is over, and its links are still to be taken out
    peer_wait *next;   // of those
    weft_alarm alarm;
    void (*time_out)(peer_wait *w); // replies
    void (*ended)(peer_wait *w);    // if not nullptr: it was not served, and is over
    int64_t number;                 // the command's capacity, room, or (BLMPOP) count
    bool gets, moves;               // WEFT.GET, BLMOVE; else BLPOP and BRPOP
    bool postponed;                 // the command has not run yet: CLIENT UNBLOCK does not end it
    bool front, front_to;           // which end
    bool brief;                     // in a transaction: it is over before anybody has a turn
    word text;                      // a copy: the value, the destination
    int links, gone;                // the first that were taken out
    place_link link[1];             // and on
};

// ---- Places ----

// nullptr: nothing is known of it.  `make`: then it is new.
place *place_find(server *s, int kind, int db, const char *name, size_t n, bool make);
word place_name(const place *place);

// The same for a command that needs it.  What is new has a name of PLACE_NAME_MAX at most, and if
// it `adds`, what stays when the command is over, there must be memory for it.  nullptr: the peer
// was told.
place *place_make(peer *p, int kind, int db, const word *name, bool adds);

void place_drop_if_idle(server *s, place *place);

// Forgets a semaphore that nobody holds or waits for.
void place_erase(server *s, place *place);

// Whether it is known still, and not only to be forgotten yet.
bool place_is_known(server *s, const place *place);

// It may have something for those who wait.
void place_ready(server *s, place *place);
void key_changed_slowly(server *s, int db, const char *key, size_t n);
void list_added_slowly(server *s, int db, const char *key, size_t n);
void places_serve(server *s);

// FLUSHDB, and (-1) FLUSHALL: of the queues there nothing is known any more, and of the others
// nothing that nobody holds or waits for.  Their memory is given back in the background.
void places_flush(server *s, int db);
void places_close(server *s);

// Two databases have one another's lists: who waits there may be served.
void places_swapped(server *s, int a, int b);

// What the key holds is another now, or how long: said of each key that a command has changed.
static inline void key_changed(server *s, int db, const char *key, size_t n)
{
    if (__builtin_expect((s->places.count | s->watches) != 0, 0))
        key_changed_slowly(s, db, key, n);
}

// There is a list where none was.  Of the lists that one command or transaction makes, who waits
// for the first is served first, as with Redis.
static inline void list_added(server *s, int db, const char *key, size_t n)
{
    if (__builtin_expect(s->places.count != 0, 0))
        list_added_slowly(s, db, key, n);
}

// command_queue.cc, command_lock.cc: gives what the place has to those who wait.
void list_serve(server *s, place *place);
void lock_serve(server *s, place *place);
void units_serve(server *s, place *place);

// ---- Waits ----

// Blocks the peer, with room for so many links; the copy of `text` is the wait's.
peer_wait *wait_begin(peer *p, int links, const word *text, weft_deadline d);
void wait_for_list(peer_wait *w, place_link *list, place *place);

// Both in one, with a reply of null when the time is out; that at once, and nullptr, if it must not
// wait.
peer_wait *wait_in(peer *p, place *place, place_link *list, const word *text, weft_deadline d);

// The peer is blocked no longer: it was answered, or ends.  Many links are taken out in the
// background.
void wait_end(peer_wait *w);

// The first in a list of waits; nullptr: nobody.  Those whose connection is at its end are passed.
peer_wait *wait_first(const place_link *list);

// Answers all in a list of waits by `say`, which they were waiting for.
void waits_end(place_link *list, void (*say)(peer *p));

// Answers those who wait in a WEFT.GET by `say`; who waits by BLPOP and its like waits for the key,
// and goes on.
void gets_end(place *place, void (*say)(peer *p));

// Milliseconds as WEFT.* takes them, to a deadline.  false: the peer was told.
bool parse_milliseconds(peer *p, const word *w, weft_deadline *d);

// ---- Holds (hold.cc) ----

// The shorter of the peer's and the place's holds says how long it takes.
peer_hold *hold_find(const peer *p, const place *place);
void hold_add(peer *p, place *place);
void hold_remove(peer_hold *h);

// The one that has the lock.  nullptr: nobody.
static inline peer *lock_owner(const place *place)
{
    return place->holds.next != &place->holds ? place->holds.next->hold->peer : nullptr;
}

// Gives back what the peer holds, which has ended: some of it at once, the rest in later rounds.
// true: nothing is left, else the peer is freed with the last.
bool holds_release(peer *p);

// ---- The process behind a peer (owner.cc) ----

// What the system is taken not to have: for tests of what is done without.
enum { OWNER_NO_PEERPIDFD = 1, OWNER_NO_PIDFD = 2 };
inline int owner_without;

void owner_watch_slowly(peer *p, bool always);
void owner_rest_slowly(peer *p);
void owner_unwatch(peer *p);

// The peer holds something from now on: it ends with the process that connected.  Where that has
// ended already, too if `always`: else its connection alone counts then, as with Redis.
static inline void owner_watch(peer *p, bool always)
{
    if (p->owner == nullptr && p->local)
        owner_watch_slowly(p, always);
}

// It may hold nothing any more.
static inline void owner_rest(peer *p)
{
    if (__builtin_expect(p->owner != nullptr, 0))
        owner_rest_slowly(p);
}

// ---- Items of lists (command_list.cc) ----

// Takes one out of the list at `link`, which is not empty.
list_item *item_pop(server *s, int db, entry **link, bool front);
// Puts one in, into a list made if need be.  false: the key is of another type.
bool item_push(server *s, int db, const word *key, list_item *item, bool front);

// Takes one out and replies with it; some, no more than there are, and an array.
void item_pop_reply(peer *p, entry **link, bool front);
void items_pop(peer *p, entry **link, int64_t count, bool front);

// The list at key; `missing` replies if there is none.  nullptr: the peer was answered.
entry **list_at(peer *p, const word *key, void (*missing)(peer *p));

// Gives the first that waits there, by BLPOP and its like, what it waits for: the list is there.
void list_give(peer_wait *w, int db, const word *key);

// ---- Queues (command_queue.cc) ----

// How many items are not done: the number as it is now, and not when the place was served last.
int64_t queue_pending(server *s, place *place);

// Replies with the item, which was popped there and the peer's next command shows to have been
// seen.  Until then it goes back to where it came from when the connection ends: `always`, or
// only if it was reset.
void lease_begin(peer *p, list_item *item, int db, const word *key, bool front, bool always);
void lease_done(peer *p);
void lease_back(peer *p);

} // namespace weft

#endif
