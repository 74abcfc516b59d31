// command_queue.cc: WEFT.PUT GET DONE JOIN PENDING CLOSE OPEN: a list as a bounded queue; and what
// becomes of items whose getter ends.
//
// Of the items that are not done some were got and the others are in the list.  Of the latter there
// are never more than the list has, however it lost the others, so the count follows the list's
// length, and no command on lists needs to know of it.  What others push is not counted; where
// both are in a list, WEFT.GET is taken to get what counts first.
//
// An item that is got by WEFT.GET is on lease until the connection's next command: then it has
// surely been seen, and if that command records the result, the item has had its effect exactly
// once.  One that BLPOP waited for is on lease, too, but only goes back if the kernel says that the
// reply was not read.
#include "commands.h"
#include "place.h"

using namespace weft;

static place *place_of(server *s, int db, const word *key, bool make)
{
    return place_find(s, AT_LIST, db, key->text, key->size, make);
}

// ---- What is not done ----

// The list as it is, or nullptr.  What counts in one is not in another that has taken its place.
static const item_list *settle(server *s, place *place)
{
    word key = place_name(place);
    entry **link = key_find(s, place->db, &key);
    const item_list *l =
        link != nullptr && (*link)->type == TYPE_LIST ? entry_list(*link) : nullptr;
    uint64_t id = l != nullptr ? l->id : 0;
    bool same = place->list == 0 || place->list == id;
    int64_t most = l != nullptr && same ? (int64_t)l->count : 0;
    if (place->number - place->taken > most)
        place->number = place->taken + most;
    place->list = id;
    return l;
}

int64_t weft::queue_pending(server *s, place *place)
{
    settle(s, place);
    return place->number;
}

// ---- Leases ----

// One was popped: whether it was one that counts.
static bool count_popped(server *s, place *place, bool got)
{
    int64_t before = place->number;
    if (!got) {
        settle(s, place);
        return place->number < before;
    }
    bool counts = place->number > place->taken;
    place->taken += counts;
    return counts;
}

void weft::lease_begin(peer *p, list_item *item, int db, const word *key, bool front, bool always)
{
    server *s = p->server;
    place *place = s->places.count > 0 ? place_of(s, db, key, false) : nullptr;
    reply_string(p, item->text, item->size);
    lease_done(p);
    p->lease = {item, db, front, always, false, (char *)memory_take(key->size + 1), key->size};
    memcpy(p->lease.key, key->text, key->size);
    owner_watch(p, always);
    if (place != nullptr)
        p->lease.counts = count_popped(s, place, always);
}

void weft::lease_done(peer *p)
{
    if (p->lease.item == nullptr)
        return;
    memory_give(p->lease.item);
    memory_give(p->lease.key);
    p->lease = {};
}

void weft::lease_back(peer *p)
{
    item_lease *l = &p->lease;
    if (l->item == nullptr)
        return;
    server *s = p->server;
    word key = {l->key, l->key_size};
    place *place = place_of(s, l->db, &key, l->counts);
    bool unseen = l->always || p->reset, discarded = place != nullptr && place->closed == 2;
    bool counts = l->counts && place != nullptr;
    bool back = unseen && !discarded && item_push(s, l->db, &key, l->item, l->front);
    if (back)
        l->item = nullptr; // the list's
    if (place != nullptr)
        settle(s, place);
    if (counts && l->always && place->taken > 0) {
        place->taken--;
        place->number -= !back; // thrown away; nobody else will say that it is done
    } else if (counts && !l->always && back) {
        place->number++;
    }
    if (place != nullptr)
        place_ready(s, place);
    memory_give(l->item);
    memory_give(l->key);
    *l = {};
}

// ---- Serving those who wait ----

static void reply_closed(peer *p)
{
    reply_error(p, "CLOSED the queue is closed");
}

// Takes the first item, or says why not.
static void get(peer *p, int db, entry **link, const word *key, int64_t room)
{
    const list_item *first = *list_item_at(entry_list(*link), 0);
    if (first->size > room)
        reply_error(p, "TOOBIG %u", first->size);
    else
        lease_begin(p, item_pop(p->server, db, link, true), db, key, true, true);
}

static void put(peer *p, place *place, const word *key, const word *value)
{
    list_item *item = item_new(value->text, value->size);
    if (item_push(p->server, place->db, key, item, false)) {
        settle(p->server, place);
        place->number++;
        reply_integer(p, 1);
    } else {
        memory_give(item);
        reply_wrong_type(p);
    }
}

// One step: whether anybody could be answered.
static bool serve_one(server *s, place *place, const word *key)
{
    const item_list *list = settle(s, place);
    peer_wait *w = list != nullptr ? wait_first(&place->waiting) : nullptr;
    if (w != nullptr) {
        // Without another look at the clock: the list was there.
        if (w->gets)
            get(w->peer, place->db, table_find_word(&s->keys[place->db], key), key, w->number);
        else
            list_give(w, place->db, key);
        wait_end(w);
        return true;
    }
    w = wait_first(&place->putters);
    if (w == nullptr || (list != nullptr && (int64_t)list->count >= w->number && !place->closed))
        return false;
    if (place->closed)
        reply_closed(w->peer);
    else
        put(w->peer, place, key, &w->text);
    wait_end(w);
    return true;
}

static void say_joined(peer *p)
{
    reply_integer(p, 1);
}

void weft::list_serve(server *s, place *place)
{
    word name = place_name(place);
    while (serve_one(s, place, &name))
        ;
    if (place->closed)
        gets_end(place, reply_closed); // had there been anything to get, they would have got it
    if (place->number == 0)
        waits_end(&place->joiners, say_joined);
}

// ---- Commands ----

// WEFT.PUT key capacity ms value
void weft::command_put(peer *p, const word *words, int)
{
    int64_t capacity;
    weft_deadline d;
    entry **link;
    if (!parse_integer(p, &words[2], &capacity) || !parse_milliseconds(p, &words[3], &d) ||
        !key_typed(p, &words[1], TYPE_LIST, &link))
        return;
    if (capacity < 0) {
        reply_not_integer(p);
        return;
    }
    place *place = place_make(p, AT_LIST, p->db, &words[1], true);
    if (place == nullptr)
        return;
    bool full = link != nullptr && capacity > 0 && (int64_t)entry_list(*link)->count >= capacity;
    if (place->closed) {
        reply_closed(p);
    } else if (!full && place->putters.next == &place->putters) {
        put(p, place, &words[1], &words[4]);
    } else {
        peer_wait *w = wait_in(p, place, &place->putters, &words[4], d);
        if (w == nullptr)
            return;
        w->number = capacity > 0 ? capacity : INT64_MAX;
        place_ready(p->server, place); // not bounded, but others were before it
    }
}

// WEFT.GET key ms [room]
void weft::command_get_item(peer *p, const word *words, int n)
{
    int64_t room = INT64_MAX;
    weft_deadline d;
    entry **link;
    if (n > 4) {
        reply_syntax(p);
        return;
    }
    if (!parse_milliseconds(p, &words[2], &d) || (n == 4 && !parse_integer(p, &words[3], &room)) ||
        !key_typed(p, &words[1], TYPE_LIST, &link))
        return;
    if (link != nullptr) {
        get(p, p->db, link, &words[1], room);
        return;
    }
    place *place = place_make(p, AT_LIST, p->db, &words[1], false);
    if (place == nullptr)
        return;
    if (place->closed) {
        reply_closed(p);
        return;
    }
    peer_wait *w = wait_in(p, place, &place->waiting, nullptr, d);
    if (w == nullptr)
        return;
    w->gets = w->front = true;
    w->number = room;
}

void weft::command_done(peer *p, const word *words, int)
{
    place *place = place_of(p->server, p->db, &words[1], false);
    if (place == nullptr || queue_pending(p->server, place) == 0) {
        reply_error(p, "TOOMANY all items are done");
        return;
    }
    place->taken -= place->taken > 0;
    reply_integer(p, --place->number);
    place_ready(p->server, place);
}

void weft::command_join(peer *p, const word *words, int)
{
    weft_deadline d;
    if (!parse_milliseconds(p, &words[2], &d))
        return;
    place *place = place_of(p->server, p->db, &words[1], false);
    if (place == nullptr || queue_pending(p->server, place) == 0) {
        reply_integer(p, 1);
    } else {
        wait_in(p, place, &place->joiners, nullptr, d);
    }
}

void weft::command_pending(peer *p, const word *words, int)
{
    place *place = place_of(p->server, p->db, &words[1], false);
    reply_integer(p, place != nullptr ? queue_pending(p->server, place) : 0);
}

// WEFT.CLOSE key DRAIN|DISCARD
void weft::command_close(peer *p, const word *words, int)
{
    bool discard = word_is(&words[2], "discard");
    entry **link;
    if (!discard && !word_is(&words[2], "drain")) {
        reply_syntax(p);
        return;
    }
    if (!key_typed(p, &words[1], TYPE_LIST, &link))
        return;
    place *place = place_make(p, AT_LIST, p->db, &words[1], true);
    if (place == nullptr)
        return;
    if (discard) {
        if (link != nullptr)
            key_remove(p->server, p->db, link);
        place->closed = 2;
    } else if (place->closed == 0) {
        place->closed = 1;
    }
    place_ready(p->server, place);
    reply_ok(p);
}

void weft::command_open(peer *p, const word *words, int)
{
    place *place = place_of(p->server, p->db, &words[1], false);
    if (place != nullptr) {
        place->closed = 0;
        place_ready(p->server, place);
    }
    reply_ok(p);
}
