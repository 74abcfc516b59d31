// place.cc: places, waits and holds (place.h); what each kind of place does stands with its
// commands.
#include "place.h"

#include <limits.h>

using namespace weft;

// ---- Places ----

static place_link *lists_of(place *place, int i)
{
    return i == 0 ? &place->waiting : i == 1 ? &place->putters : &place->joiners;
}

word weft::place_name(const place *place)
{
    return {entry_key(place->entry) + 2, place->entry->key_size - 2u};
}

place *weft::place_find(server *s, int kind, int db, const char *name, size_t n, bool make)
{
    char few[256], *key = n + 2 <= sizeof few ? few : (char *)memory_take(n + 2);
    key[0] = (char)kind;
    key[1] = (char)db;
    memcpy(key + 2, name, n);
    uint32_t hash = hash_of(key, n + 2);
    entry **link = table_find(&s->places, key, n + 2, hash);
    place *place = link != nullptr ? (struct place *)entry_object(*link) : nullptr;
    if (place == nullptr && make) {
        place = (struct place *)memory_take_zeroed(1, sizeof *place);
        place->entry = entry_new(TYPE_PLACE, key, n + 2, hash, 0);
        entry_set_object(place->entry, place);
        table_add(&s->places, place->entry);
        place->kind = kind;
        place->db = db;
        for (int i = 0; i < 3; i++)
            lists_of(place, i)->next = lists_of(place, i)->previous = lists_of(place, i);
    }
    if (key != few)
        memory_give(key);
    return place;
}

static bool is_idle(const place *place)
{
    if (place->waiting.next != &place->waiting || place->putters.next != &place->putters ||
        place->joiners.next != &place->joiners || place->owner != nullptr || place->closed != 0 ||
        place->is_ready)
        return false;
    return place->kind == AT_LIST ? place->number == 0 : place->kind != AT_UNITS;
}

void weft::place_drop_if_idle(server *s, place *place)
{
    if (!is_idle(place))
        return;
    const entry *e = place->entry;
    entry **link = table_find(&s->places, entry_key(e), e->key_size, e->hash);
    memory_give(table_remove(&s->places, link));
    memory_give(place);
}

void weft::place_ready(server *s, place *place)
{
    if (place->is_ready)
        return;
    place->is_ready = true;
    place->next_ready = nullptr;
    *s->ready_end = place;
    s->ready_end = &place->next_ready;
}

void weft::key_changed_slowly(server *s, int db, const char *key, size_t n)
{
    place *place = place_find(s, AT_LIST, db, key, n, false);
    if (place != nullptr)
        place_ready(s, place);
}

void weft::places_serve(server *s)
{
    while (s->ready != nullptr) {
        place *place = s->ready;
        s->ready = place->next_ready;
        if (s->ready == nullptr)
            s->ready_end = &s->ready;
        place->is_ready = false;
        if (place->kind == AT_LIST)
            list_serve(s, place);
        else if (place->kind == AT_LOCK)
            lock_serve(s, place);
        else if (place->kind == AT_UNITS)
            units_serve(s, place);
        place_drop_if_idle(s, place);
    }
}

// ---- Waits ----

static void on_time_out(weft_alarm *, void *arg)
{
    peer_wait *w = (peer_wait *)arg;
    server *s = w->peer->server;
    w->time_out(w);
    wait_end(w);
    if (s->ready != nullptr)
        places_serve(s);
}

peer_wait *weft::wait_begin(peer *p, int links, const word *text, weft_deadline d)
{
    size_t all = sizeof(peer_wait) + (size_t)links * sizeof(place_link);
    size_t n = text != nullptr ? text->size : 0;
    peer_wait *w = (peer_wait *)memory_take_zeroed(1, all + n);
    w->peer = p;
    w->text.text = (char *)w + all;
    w->text.size = n;
    if (n > 0)
        memcpy((char *)w + all, text->text, n);
    if (d != WEFT_FOREVER)
        weft_loop_arm(p->server->loop, &w->alarm, 0, on_time_out, w, d);
    p->wait = w;
    p->server->waiting++;
    return w;
}

void weft::wait_for_list(peer_wait *w, place_link *list, place *place)
{
    place_link *l = &w->link[w->links++];
    l->wait = w;
    l->place = place;
    list_insert(list, l);
    l->is_waiting = list == &place->waiting;
    place->count += l->is_waiting;
}

static void time_out_null(peer_wait *w)
{
    reply_null(w->peer);
}

peer_wait *weft::wait_in(peer *p, place *place, place_link *list, const word *text, weft_deadline d)
{
    if (d == WEFT_NOW) {
        reply_null(p);
        place_drop_if_idle(p->server, place);
        return nullptr;
    }
    peer_wait *w = wait_begin(p, 1, text, d);
    w->time_out = time_out_null;
    wait_for_list(w, list, place);
    return w;
}

void weft::wait_end(peer_wait *w)
{
    peer *p = w->peer;
    server *s = p->server;
    if (w->alarm.loop != nullptr)
        weft_loop_disarm(&w->alarm);
    for (int i = 0; i < w->links; i++) {
        place_link *l = &w->link[i];
        place *place = l->place;
        list_remove(l);
        place->count -= l->is_waiting;
        // It may be the next one's turn: this one came first, and was not to be passed.
        place_ready(s, place);
    }
    if (w->ended != nullptr)
        w->ended(w);
    p->wait = nullptr;
    p->resume = true;
    s->waiting--;
    peer_dirty(p);
    memory_give(w);
}

peer_wait *weft::wait_first(const place_link *list)
{
    for (place_link *next, *l = list->next; l != list; l = next) {
        next = l->next;
        if (!l->wait->peer->ending)
            return l->wait;
        wait_end(l->wait);
    }
    return nullptr;
}

bool weft::parse_milliseconds(peer *p, const word *w, weft_deadline *d)
{
    int64_t ms;
    if (!parse_integer(p, w, &ms))
        return false;
    *d = ms < 0 ? WEFT_FOREVER : weft_in_ms(ms);
    return true;
}

// ---- Holds ----

peer_hold *weft::hold_find(const peer *p, const place *place)
{
    peer_hold *h = p->holds;
    while (h != nullptr && h->place != place)
        h = h->next;
    return h;
}

void weft::hold_add(peer *p, place *place)
{
    peer_hold *h = hold_find(p, place);
    if (h == nullptr) {
        h = (peer_hold *)memory_take_zeroed(1, sizeof *h);
        h->place = place;
        h->next = p->holds;
        p->holds = h;
    }
    h->count++;
}

void weft::hold_remove(peer *p, peer_hold *h)
{
    peer_hold **at = &p->holds;
    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
    memory_give(h);
}

void weft::holds_release(peer *p)
{
    server *s = p->server;
    while (p->holds != nullptr) {
        peer_hold *h = p->holds;
        place *place = h->place;
        if (place->kind == AT_LOCK) {
            place->owner = nullptr;
            s->locks--;
        } else {
            place->number += h->count;
        }
        p->holds = h->next;
        memory_give(h);
        place_ready(s, place);
    }
}
