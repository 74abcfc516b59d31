// place.cc: places, waits and holds (place.h); what each kind of place does stands with its
// commands.
#include "place.h"

#include <limits.h>

// ---- Places ----

static weft_private_link *lists_of(weft_private_place *place, int i)
{
    return i == 0 ? &place->waiting : i == 1 ? &place->putters : &place->joiners;
}

weft_private_word weft_private_place_name(const weft_private_place *place)
{
    return {weft_private_entry_key(place->entry) + 2, place->entry->key_size - 2u};
}

weft_private_place *weft_private_place_find(weft_private_server *s, int kind, int db,
                                            const char *name, size_t n, bool make)
{
    char few[256], *key = n + 2 <= sizeof few ? few : (char *)weft_private_take(n + 2);
    key[0] = (char)kind;
    key[1] = (char)db;
    memcpy(key + 2, name, n);
    uint32_t hash = weft_private_hash(key, n + 2);
    weft_private_entry **link = weft_private_table_find(&s->places, key, n + 2, hash);
    weft_private_place *place =
        link != nullptr ? (weft_private_place *)weft_private_entry_object(*link) : nullptr;
    if (place == nullptr && make) {
        place = (weft_private_place *)weft_private_take_zeroed(1, sizeof *place);
        place->entry = weft_private_entry_new(WEFT_PLACE, key, n + 2, hash, 0);
        weft_private_entry_set_object(place->entry, place);
        weft_private_table_add(&s->places, place->entry);
        place->kind = kind;
        place->db = db;
        for (int i = 0; i < 3; i++)
            lists_of(place, i)->next = lists_of(place, i)->previous = lists_of(place, i);
    }
    if (key != few)
        weft_private_give(key);
    return place;
}

static bool is_idle(const weft_private_place *place)
{
    if (place->waiting.next != &place->waiting || place->putters.next != &place->putters ||
        place->joiners.next != &place->joiners || place->owner != nullptr || place->closed != 0 ||
        place->is_ready)
        return false;
    return place->kind == WEFT_AT_LIST ? place->number == 0 : place->kind != WEFT_AT_UNITS;
}

void weft_private_place_drop_if_idle(weft_private_server *s, weft_private_place *place)
{
    if (!is_idle(place))
        return;
    const weft_private_entry *e = place->entry;
    weft_private_entry **link =
        weft_private_table_find(&s->places, weft_private_entry_key(e), e->key_size, e->hash);
    weft_private_give(weft_private_table_remove(&s->places, link));
    weft_private_give(place);
}

void weft_private_place_ready(weft_private_server *s, weft_private_place *place)
{
    if (place->is_ready)
        return;
    place->is_ready = true;
    place->next_ready = nullptr;
    *s->ready_end = place;
    s->ready_end = &place->next_ready;
}

void weft_private_list_changed_slowly(weft_private_server *s, int db, const char *key, size_t n)
{
    weft_private_place *place = weft_private_place_find(s, WEFT_AT_LIST, db, key, n, false);
    if (place != nullptr)
        weft_private_place_ready(s, place);
}

void weft_private_places_serve(weft_private_server *s)
{
    while (s->ready != nullptr) {
        weft_private_place *place = s->ready;
        s->ready = place->next_ready;
        if (s->ready == nullptr)
            s->ready_end = &s->ready;
        place->is_ready = false;
        if (place->kind == WEFT_AT_LIST)
            weft_private_list_serve(s, place);
        else if (place->kind == WEFT_AT_LOCK)
            weft_private_lock_serve(s, place);
        else if (place->kind == WEFT_AT_UNITS)
            weft_private_units_serve(s, place);
        weft_private_place_drop_if_idle(s, place);
    }
}

// ---- Waits ----

static void on_time_out(weft_alarm *a)
{
    weft_private_wait *w = (weft_private_wait *)a->arg;
    weft_private_server *s = w->peer->server;
    w->time_out(w);
    weft_private_wait_end(w);
    if (s->ready != nullptr)
        weft_private_places_serve(s);
}

weft_private_wait *weft_private_wait_begin(weft_private_peer *p, int links,
                                           const weft_private_word *text, weft_deadline d)
{
    size_t all = sizeof(weft_private_wait) + (size_t)links * sizeof(weft_private_link);
    size_t n = text != nullptr ? text->size : 0;
    weft_private_wait *w = (weft_private_wait *)weft_private_take_zeroed(1, all + n);
    w->peer = p;
    w->text.text = (char *)w + all;
    w->text.size = n;
    if (n > 0)
        memcpy((char *)w + all, text->text, n);
    if (d != WEFT_FOREVER)
        weft_loop_timer(p->server->loop, &w->alarm, d, 0, on_time_out, w);
    p->wait = w;
    p->server->waiting++;
    return w;
}

void weft_private_wait_at(weft_private_wait *w, weft_private_link *list, weft_private_place *place)
{
    weft_private_link *l = &w->link[w->links++];
    l->wait = w;
    l->place = place;
    l->next = list;
    l->previous = list->previous;
    list->previous->next = l;
    list->previous = l;
    l->is_waiting = list == &place->waiting;
    place->count += l->is_waiting;
}

static void reply_null(weft_private_wait *w)
{
    weft_private_reply_null(w->peer);
}

weft_private_wait *weft_private_wait_in(weft_private_peer *p, weft_private_place *place,
                                        weft_private_link *list, const weft_private_word *text,
                                        weft_deadline d)
{
    if (d == WEFT_NOW) {
        weft_private_reply_null(p);
        weft_private_place_drop_if_idle(p->server, place);
        return nullptr;
    }
    weft_private_wait *w = weft_private_wait_begin(p, 1, text, d);
    w->time_out = reply_null;
    weft_private_wait_at(w, list, place);
    return w;
}

void weft_private_wait_end(weft_private_wait *w)
{
    weft_private_peer *p = w->peer;
    weft_private_server *s = p->server;
    if (w->alarm.loop != nullptr)
        weft_alarm_stop(&w->alarm);
    for (int i = 0; i < w->links; i++) {
        weft_private_link *l = &w->link[i];
        weft_private_place *place = l->place;
        l->previous->next = l->next;
        l->next->previous = l->previous;
        place->count -= l->is_waiting;
        // It may be the next one's turn: this one came first, and was not to be passed.
        weft_private_place_ready(s, place);
    }
    if (w->ended != nullptr)
        w->ended(w);
    p->wait = nullptr;
    p->resume = true;
    s->waiting--;
    weft_private_peer_dirty(p);
    weft_private_give(w);
}

weft_private_wait *weft_private_wait_first(const weft_private_link *list)
{
    for (weft_private_link *next, *l = list->next; l != list; l = next) {
        next = l->next;
        if (!l->wait->peer->doomed)
            return l->wait;
        weft_private_wait_end(l->wait);
    }
    return nullptr;
}

bool weft_private_milliseconds(weft_private_peer *p, const weft_private_word *w, weft_deadline *d)
{
    int64_t ms;
    if (!weft_private_integer(p, w, &ms))
        return false;
    *d = ms < 0 ? WEFT_FOREVER : weft_in_ms(ms);
    return true;
}

// ---- Holds ----

weft_private_hold *weft_private_hold_find(const weft_private_peer *p,
                                          const weft_private_place *place)
{
    weft_private_hold *h = p->holds;
    while (h != nullptr && h->place != place)
        h = h->next;
    return h;
}

void weft_private_hold_add(weft_private_peer *p, weft_private_place *place)
{
    weft_private_hold *h = weft_private_hold_find(p, place);
    if (h == nullptr) {
        h = (weft_private_hold *)weft_private_take_zeroed(1, sizeof *h);
        h->place = place;
        h->next = p->holds;
        p->holds = h;
    }
    h->count++;
}

void weft_private_hold_remove(weft_private_peer *p, weft_private_hold *h)
{
    weft_private_hold **at = &p->holds;
    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
    weft_private_give(h);
}

void weft_private_holds_release(weft_private_peer *p)
{
    weft_private_server *s = p->server;
    while (p->holds != nullptr) {
        weft_private_hold *h = p->holds;
        weft_private_place *place = h->place;
        if (place->kind == WEFT_AT_LOCK) {
            place->owner = nullptr;
            s->locks--;
        } else {
            place->number += h->count;
        }
        p->holds = h->next;
        weft_private_give(h);
        weft_private_place_ready(s, place);
    }
}
