// place.h: where peers wait for one another: queues, locks, semaphores, barriers, events.
//
// A place is what is known of one name beyond the keys: who waits, in the order in which they
// came, who holds it, whether it is closed.  It exists while there is something to know.
//
// Who waits in BLPOP and its like, and those who wait to put, are in the place of the list's key:
// whatever changes that list says so (weft_private_list_changed), and when the command is done
// weft_private_places_serve goes through the places that may have something to give.
#ifndef WEFT_MANAGER_PLACE_H
#define WEFT_MANAGER_PLACE_H

#include "server.h"

enum {
    WEFT_AT_LIST = 'l',
    WEFT_AT_LOCK = 'k',
    WEFT_AT_UNITS = 's',
    WEFT_AT_BARRIER = 'b',
    WEFT_AT_EVENT = 'e'
};

typedef struct weft_private_link {
    struct weft_private_link *next, *previous;
    weft_private_wait *wait;
    weft_private_place *place;
    bool is_waiting; // in the place's `waiting`
} weft_private_link;

// What a peer holds of a place; in a list of the peer's.
struct weft_private_hold {
    weft_private_hold *next;
    weft_private_place *place;
    int64_t count; // how often it locked it; how many units
};

struct weft_private_place {
    weft_private_entry *entry; // its name
    int kind, db;
    bool is_ready; // it is in server->ready
    weft_private_place *next_ready;
    weft_private_link waiting; // takers; those who want the lock, a unit, the others
    weft_private_link putters; // of a list
    weft_private_link joiners; // of a list
    size_t count;              // of `waiting`
    int64_t number;            // list: not done; lock: its token; units: free;
                               // barrier: parties
    weft_private_peer *owner;  // of the lock
    int closed;                // list: 1 drain, 2 discard; event: set; barrier: errno
};

// What a blocked peer waits for: the links into one place or several, and what to do then.
struct weft_private_wait {
    weft_private_peer *peer;
    weft_alarm alarm;
    void (*time_out)(weft_private_wait *w); // replies
    void (*ended)(weft_private_wait *w);    // if not nullptr: it was not served, and is over
    int64_t number;                         // the command's capacity, or room
    bool gets, moves;                       // WEFT.GET, BLMOVE; else BLPOP and BRPOP
    bool front, front_to;                   // which end
    weft_private_word text;                 // a copy: the value, the destination
    int links;
    weft_private_link link[1]; // and on
};

// ---- Places ----

// nullptr: nothing is known of it.  `make`: then it is new.
weft_private_place *weft_private_place_find(weft_private_server *s, int kind, int db,
                                            const char *name, size_t n, bool make);
void weft_private_place_drop_if_idle(weft_private_server *s, weft_private_place *place);
weft_private_word weft_private_place_name(const weft_private_place *place);

// It may have something for those who wait.
void weft_private_place_ready(weft_private_server *s, weft_private_place *place);
void weft_private_list_changed_slowly(weft_private_server *s, int db, const char *key, size_t n);
void weft_private_places_serve(weft_private_server *s);

static inline void weft_private_list_changed(weft_private_server *s, int db, const char *key,
                                             size_t n)
{
    if (__builtin_expect(s->places.count != 0, 0))
        weft_private_list_changed_slowly(s, db, key, n);
}

// command_queue.cc, command_lock.cc: gives what the place has to those who wait.
void weft_private_list_serve(weft_private_server *s, weft_private_place *place);
void weft_private_lock_serve(weft_private_server *s, weft_private_place *place);
void weft_private_units_serve(weft_private_server *s, weft_private_place *place);

// ---- Waits ----

// Blocks the peer, with room for so many links; the copy of `text` is the wait's.
weft_private_wait *weft_private_wait_begin(weft_private_peer *p, int links,
                                           const weft_private_word *text, weft_deadline d);
void weft_private_wait_at(weft_private_wait *w, weft_private_link *list, weft_private_place *place);

// Both in one, with a reply of null when the time is out; that at once, and nullptr, if it must not
// wait.
weft_private_wait *weft_private_wait_in(weft_private_peer *p, weft_private_place *place,
                                        weft_private_link *list, const weft_private_word *text,
                                        weft_deadline d);

// The peer is blocked no longer: it was answered, or ends.
void weft_private_wait_end(weft_private_wait *w);

// The first in a list of waits; nullptr: nobody.  Those whose connection is at its end are passed.
weft_private_wait *weft_private_wait_first(const weft_private_link *list);

// Milliseconds as WEFT.* takes them, to a deadline.  false: the peer was told.
bool weft_private_milliseconds(weft_private_peer *p, const weft_private_word *w, weft_deadline *d);

// ---- Holds ----

weft_private_hold *weft_private_hold_find(const weft_private_peer *p,
                                          const weft_private_place *place);
void weft_private_hold_add(weft_private_peer *p, weft_private_place *place);
void weft_private_hold_remove(weft_private_peer *p, weft_private_hold *h);
void weft_private_holds_release(weft_private_peer *p);

// ---- Items of lists (command_list.cc) ----

// Takes one out of the list at `link`, which is not empty.
weft_private_item *weft_private_item_pop(weft_private_server *s, int db, weft_private_entry **link,
                                         bool front);
// Puts one in, into a list made if need be.  false: the key is of another type.
bool weft_private_item_push(weft_private_server *s, int db, const weft_private_word *key,
                            weft_private_item *item, bool front);

// Gives the first that waits there, by BLPOP and its like, what it waits for: the list is there.
void weft_private_list_give(weft_private_wait *w, int db, const weft_private_word *key);

// ---- Leases (command_queue.cc) ----

// Replies with the item, which the peer's next command shows to have been seen.  Until then it goes
// back to where it came from when the connection ends: `always`, or only if it was reset.
void weft_private_lease_begin(weft_private_peer *p, weft_private_item *item, int db,
                              const weft_private_word *key, bool front, bool always);
void weft_private_lease_done(weft_private_peer *p);
void weft_private_lease_back(weft_private_peer *p);

#endif
