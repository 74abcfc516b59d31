// place.h: where peers wait for one another: queues, locks, semaphores, barriers, events.
//
// A place is what is known of one name beyond the keys: who waits, in the order in which they
// came, who holds it, whether it is closed.  It exists while there is something to know.
//
// Who waits in BLPOP and its like, and those who wait to put, are in the place of the list's key:
// whatever changes that list says so (key_changed), and when the command is done
// places_serve goes through the places that may have something to give.
#ifndef WEFT_MANAGER_PLACE_H
#define WEFT_MANAGER_PLACE_H

#include "server.h"

namespace weft {

enum { AT_LIST = 'l', AT_LOCK = 'k', AT_UNITS = 's', AT_BARRIER = 'b', AT_EVENT = 'e' };

struct place_link {
    struct place_link *next, *previous;
    peer_wait *wait;
    struct place *place;
    bool is_waiting; // in the place's `waiting`
};

// What a peer holds of a place; in a list of the peer's.
struct peer_hold {
    peer_hold *next;
    struct place *place;
    int64_t count; // how often it locked it; how many units
};

struct place {
    struct entry *entry; // its name
    int kind, db;
    bool is_ready; // it is in server->ready
    place *next_ready;
    place_link waiting; // takers; those who want the lock, a unit, the others
    place_link putters; // of a list
    place_link joiners; // of a list
    size_t count;       // of `waiting`
    int64_t number;     // list: not done; lock: its token; units: free;
                        // barrier: parties
    peer *owner;        // of the lock
    int closed;         // list: 1 drain, 2 discard; event: set; barrier: errno
};

// What a blocked peer waits for: the links into one place or several, and what to do then.
struct peer_wait {
    struct peer *peer;
    weft_alarm alarm;
    void (*time_out)(peer_wait *w); // replies
    void (*ended)(peer_wait *w);    // if not nullptr: it was not served, and is over
    int64_t number;                 // the command's capacity, or room
    bool gets, moves;               // WEFT.GET, BLMOVE; else BLPOP and BRPOP
    bool postponed;                 // the command has not run yet: CLIENT UNBLOCK does not end it
    bool front, front_to;           // which end
    word text;                      // a copy: the value, the destination
    int links;
    place_link link[1]; // and on
};

// ---- Places ----

// nullptr: nothing is known of it.  `make`: then it is new.
place *place_find(server *s, int kind, int db, const char *name, size_t n, bool make);
void place_drop_if_idle(server *s, place *place);
word place_name(const place *place);

// It may have something for those who wait.
void place_ready(server *s, place *place);
void key_changed_slowly(server *s, int db, const char *key, size_t n);
void places_serve(server *s);

// What the key holds is another now, or how long: said of each key that a command has changed.
static inline void key_changed(server *s, int db, const char *key, size_t n)
{
    if (__builtin_expect(s->places.count != 0, 0))
        key_changed_slowly(s, db, key, n);
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

// The peer is blocked no longer: it was answered, or ends.
void wait_end(peer_wait *w);

// The first in a list of waits; nullptr: nobody.  Those whose connection is at its end are passed.
peer_wait *wait_first(const place_link *list);

// Milliseconds as WEFT.* takes them, to a deadline.  false: the peer was told.
bool parse_milliseconds(peer *p, const word *w, weft_deadline *d);

// ---- Holds ----

peer_hold *hold_find(const peer *p, const place *place);
void hold_add(peer *p, place *place);
void hold_remove(peer *p, peer_hold *h);
void holds_release(peer *p);

// ---- Items of lists (command_list.cc) ----

// Takes one out of the list at `link`, which is not empty.
list_item *item_pop(server *s, int db, entry **link, bool front);
// Puts one in, into a list made if need be.  false: the key is of another type.
bool item_push(server *s, int db, const word *key, list_item *item, bool front);

// Gives the first that waits there, by BLPOP and its like, what it waits for: the list is there.
void list_give(peer_wait *w, int db, const word *key);

// ---- Leases (command_queue.cc) ----

// Replies with the item, which the peer's next command shows to have been seen.  Until then it goes
// back to where it came from when the connection ends: `always`, or only if it was reset.
void lease_begin(peer *p, list_item *item, int db, const word *key, bool front, bool always);
void lease_done(peer *p);
void lease_back(peer *p);

} // namespace weft

#endif
