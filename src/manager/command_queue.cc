// command_queue.cc: WEFT.PUT GET DONE JOIN CLOSE OPEN: a list as a bounded queue; and what becomes
// of items whose getter ends.
//
// An item that is got by WEFT.GET is on lease until the connection's next command: then it has
// surely been seen, and if that command records the result, the item has had its effect exactly
// once.  One that BLPOP waited for is on lease, too, but only goes back if the kernel says that the
// reply was not read.
#include "commands.h"
#include "place.h"

// ---- Leases ----

void weft_private_lease_begin(weft_private_peer *p, weft_private_item *item, int db,
                              const weft_private_word *key, bool front, bool always)
{
    weft_private_reply_string(p, item->text, item->size);
    weft_private_lease_done(p);
    p->lease = {item, db, front, always, (char *)weft_private_take(key->size + 1), key->size};
    memcpy(p->lease.key, key->text, key->size);
}

void weft_private_lease_done(weft_private_peer *p)
{
    if (p->lease.item == nullptr)
        return;
    weft_private_give(p->lease.item);
    weft_private_give(p->lease.key);
    p->lease = {};
}

static weft_private_place *place_of(weft_private_server *s, int db, const weft_private_word *key,
                                    bool make)
{
    return weft_private_place_find(s, WEFT_AT_LIST, db, key->text, key->size, make);
}

void weft_private_lease_back(weft_private_peer *p)
{
    weft_private_lease *l = &p->lease;
    if (l->item == nullptr)
        return;
    weft_private_word key = {l->key, l->key_size};
    weft_private_place *place = place_of(p->server, l->db, &key, false);
    bool unseen = l->always || p->reset, discarded = place != nullptr && place->closed == 2;
    if (unseen && discarded && place->number > 0) {
        place->number--; // thrown away as well, late; nobody else will say that it is done
        weft_private_place_ready(p->server, place);
    }
    if (unseen && !discarded && weft_private_item_push(p->server, l->db, &key, l->item, l->front))
        l->item = nullptr; // the list's
    weft_private_give(l->item);
    weft_private_give(l->key);
    *l = {};
}

// ---- Serving those who wait ----

static void reply_closed(weft_private_peer *p)
{
    weft_private_reply_error(p, "CLOSED the queue is closed");
}

// Takes the first item, or says why not.
static void get(weft_private_peer *p, int db, weft_private_entry **link,
                const weft_private_word *key, int64_t room)
{
    const weft_private_item *first = *weft_private_list_at(weft_private_entry_list(*link), 0);
    if (first->size > room)
        weft_private_reply_error(p, "TOOBIG %u", first->size);
    else
        weft_private_lease_begin(p, weft_private_item_pop(p->server, db, link, true), db, key, true,
                                 true);
}

static void put(weft_private_peer *p, int db, weft_private_place *place,
                const weft_private_word *key, const weft_private_word *value)
{
    weft_private_item *item = weft_private_item_new(value->text, value->size);
    if (weft_private_item_push(p->server, db, key, item, false)) {
        place->number++;
        weft_private_reply_integer(p, 1);
    } else {
        weft_private_give(item);
        weft_private_reply_wrong_type(p);
    }
}

// One step: whether anybody could be answered.
static bool serve_one(weft_private_server *s, weft_private_place *place,
                      const weft_private_word *key)
{
    weft_private_entry **link = weft_private_key_find(s, place->db, key);
    bool list = link != nullptr && (*link)->type == WEFT_LIST;
    weft_private_wait *w = list ? weft_private_wait_first(&place->waiting) : nullptr;
    if (w != nullptr) {
        if (w->gets)
            get(w->peer, place->db, link, key, w->number);
        else
            weft_private_list_give(w, place->db, key);
        weft_private_wait_end(w);
        return true;
    }
    w = weft_private_wait_first(&place->putters);
    if (w == nullptr ||
        (list && (int64_t)weft_private_entry_list(*link)->count >= w->number && !place->closed))
        return false;
    if (place->closed)
        reply_closed(w->peer);
    else
        put(w->peer, place->db, place, key, &w->text);
    weft_private_wait_end(w);
    return true;
}

static void end_gets(weft_private_place *place)
{
    for (weft_private_link *next, *l = place->waiting.next; l != &place->waiting; l = next) {
        next = l->next;
        if (!l->wait->gets)
            continue;
        reply_closed(l->wait->peer);
        weft_private_wait_end(l->wait);
    }
}

void weft_private_list_serve(weft_private_server *s, weft_private_place *place)
{
    weft_private_word name = weft_private_place_name(place);
    while (serve_one(s, place, &name))
        ;
    if (place->closed)
        end_gets(place); // had there been anything to get, they would have got it
    while (place->number == 0 && place->joiners.next != &place->joiners) {
        weft_private_wait *w = place->joiners.next->wait;
        weft_private_reply_integer(w->peer, 1);
        weft_private_wait_end(w);
    }
}

// ---- Commands ----

// WEFT.PUT key capacity ms value
void weft_private_command_put(weft_private_peer *p, const weft_private_word *words, int)
{
    int64_t capacity;
    weft_deadline d;
    weft_private_entry **link;
    if (!weft_private_integer(p, &words[2], &capacity) ||
        !weft_private_milliseconds(p, &words[3], &d) ||
        !weft_private_key_typed(p, &words[1], WEFT_LIST, &link))
        return;
    if (capacity < 0) {
        weft_private_reply_not_integer(p);
        return;
    }
    weft_private_place *place = place_of(p->server, p->db, &words[1], true);
    bool full = link != nullptr && capacity > 0 &&
                (int64_t)weft_private_entry_list(*link)->count >= capacity;
    if (place->closed) {
        reply_closed(p);
    } else if (!full && place->putters.next == &place->putters) {
        put(p, p->db, place, &words[1], &words[4]);
    } else {
        weft_private_wait *w = weft_private_wait_in(p, place, &place->putters, &words[4], d);
        if (w == nullptr)
            return;
        w->number = capacity > 0 ? capacity : INT64_MAX;
        weft_private_place_ready(p->server, place); // not bounded, but others were before it
    }
}

// WEFT.GET key ms [room]
void weft_private_command_get_item(weft_private_peer *p, const weft_private_word *words, int n)
{
    int64_t room = INT64_MAX;
    weft_deadline d;
    weft_private_entry **link;
    if (n > 4) {
        weft_private_reply_syntax(p);
        return;
    }
    if (!weft_private_milliseconds(p, &words[2], &d) ||
        (n == 4 && !weft_private_integer(p, &words[3], &room)) ||
        !weft_private_key_typed(p, &words[1], WEFT_LIST, &link))
        return;
    if (link != nullptr) {
        get(p, p->db, link, &words[1], room);
        return;
    }
    weft_private_place *place = place_of(p->server, p->db, &words[1], true);
    if (place->closed) {
        reply_closed(p);
        return;
    }
    weft_private_wait *w = weft_private_wait_in(p, place, &place->waiting, nullptr, d);
    if (w == nullptr)
        return;
    w->gets = w->front = true;
    w->number = room;
}

void weft_private_command_done(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_place *place = place_of(p->server, p->db, &words[1], false);
    if (place == nullptr || place->number == 0) {
        weft_private_reply_error(p, "TOOMANY all items are done");
        return;
    }
    weft_private_reply_integer(p, --place->number);
    weft_private_place_ready(p->server, place);
}

void weft_private_command_join(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_deadline d;
    if (!weft_private_milliseconds(p, &words[2], &d))
        return;
    weft_private_place *place = place_of(p->server, p->db, &words[1], false);
    if (place == nullptr || place->number == 0) {
        weft_private_reply_integer(p, 1);
    } else {
        weft_private_wait_in(p, place, &place->joiners, nullptr, d);
    }
}

// WEFT.CLOSE key DRAIN|DISCARD
void weft_private_command_close(weft_private_peer *p, const weft_private_word *words, int)
{
    bool discard = weft_private_word_is(&words[2], "discard");
    weft_private_entry **link;
    if (!discard && !weft_private_word_is(&words[2], "drain")) {
        weft_private_reply_syntax(p);
        return;
    }
    if (!weft_private_key_typed(p, &words[1], WEFT_LIST, &link))
        return;
    weft_private_place *place = place_of(p->server, p->db, &words[1], true);
    if (discard) {
        if (link != nullptr) {
            // What is thrown away counts as done; what is in work does not.
            int64_t thrown = (int64_t)weft_private_entry_list(*link)->count;
            place->number = place->number > thrown ? place->number - thrown : 0;
            weft_private_key_remove(p->server, p->db, link);
        }
        place->closed = 2;
    } else if (place->closed == 0) {
        place->closed = 1;
    }
    weft_private_place_ready(p->server, place);
    weft_private_reply_ok(p);
}

void weft_private_command_open(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_place *place = place_of(p->server, p->db, &words[1], false);
    if (place != nullptr) {
        place->closed = 0;
        weft_private_place_ready(p->server, place);
    }
    weft_private_reply_ok(p);
}
