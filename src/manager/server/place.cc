// place.cc: places and waits (place.h); what each kind of place does stands with its commands.
//
// All places are in a ring, that which was looked at least lately first.  Now and then a round goes
// through it in the background and drops what is to be forgotten; who finds such a place before
// that takes it for none.
#include "job.h"
#include "multi.h"

#include <limits.h>

using namespace weft;

static const int64_t ROUND_NS = INT64_C(600000000000);

enum { A_STEP = 32 }; // places, or links to them

// ---- Places ----

static place_link *lists_of(place *place, int i)
{
    return i == 0 ? &place->waiting : i == 1 ? &place->putters : &place->joiners;
}

word weft::place_name(const place *place)
{
    return {entry_key(place->entry) + 2, place->entry->key_size - 2u};
}

static bool is_used(const place *place)
{
    return place->waiting.next != &place->waiting || place->putters.next != &place->putters ||
           place->joiners.next != &place->joiners || place->holds.next != &place->holds;
}

static uint32_t flushes_of(const server *s, const place *place)
{
    return place->kind == AT_LIST ? s->flushes_of[place->db] : s->flushes;
}

// Whether it was flushed, or nobody has cared for it for long.
static bool is_past(const server *s, const place *place)
{
    return place->flushes != flushes_of(s, place) ||
           (!is_used(place) && !(place->kind == AT_LIST && place->number > 0) &&
            !(place->kind == AT_JOBS && !jobs_are_idle(place)) &&
            weft_loop_now(s->loop) - place->active > s->o.forget_ns);
}

void weft::place_erase(server *s, place *place)
{
    place->is_erased = true;
    place->number = 0;
    place_ready(s, place);
}

// What it has to forget; places_serve drops it if nothing is left.
static void forget(server *s, place *place)
{
    place->flushes = flushes_of(s, place);
    if (place->kind == AT_LIST)
        place->number = place->taken = place->closed = 0;
    else if (place->kind == AT_JOBS)
        jobs_remove(s, place);
    else if (!is_used(place) && place->kind == AT_UNITS)
        place_erase(s, place);
    else if (!is_used(place))
        place->closed = 0;
    place_ready(s, place);
}

bool weft::place_is_known(server *s, const place *place)
{
    return !place->is_erased && (is_used(place) || !is_past(s, place));
}

// ---- The round through all of them ----

static void begin_round(weft_alarm *, void *arg);

static void look_again(server *s)
{
    int64_t between = s->o.forget_ns / 8 < ROUND_NS ? s->o.forget_ns / 8 : ROUND_NS;
    if (s->places.count > 0)
        weft_loop_arm(s->loop, &s->look, 0, begin_round, s, weft_in_ns(between));
}

static bool look_at_some(server *s, void *)
{
    for (int n = 0; n < A_STEP && s->to_look_at > 0; n++) {
        place_ring *r = s->all_places.next;
        if (r == &s->all_places) {
            s->to_look_at = 0;
            break;
        }
        list_remove(r);
        list_insert(&s->all_places, r);
        s->to_look_at--;
        if (is_past(s, (place *)r))
            forget(s, (place *)r);
    }
    places_serve(s);
    if (s->to_look_at > 0)
        return true;
    look_again(s);
    return false;
}

static void look_at_all(server *s)
{
    bool looks = s->to_look_at > 0;
    s->to_look_at = s->places.count;
    if (!looks && s->to_look_at > 0)
        background(s, look_at_some, nullptr);
}

static void begin_round(weft_alarm *, void *arg)
{
    look_at_all((server *)arg);
}

void weft::places_flush(server *s, int db)
{
    s->flushes += db < 0;
    for (int i = 0; i < DATABASES; i++)
        s->flushes_of[i] += db < 0 || db == i;
    look_at_all(s);
}

void weft::places_swapped(server *s, int a, int b)
{
    for (place_ring *r = s->all_places.next; r != &s->all_places; r = r->next) {
        place *place = (struct place *)r;
        if (place->kind == AT_LIST && (place->db == a || place->db == b))
            place_ready(s, place);
    }
}

static void drop_place(entry *e)
{
    jobs_free((place *)entry_object(e));
    memory_give(entry_object(e));
    memory_give(e);
}

void weft::places_close(server *s)
{
    table_clear(&s->places, drop_place);
}

// ---- Finding ----

static place *place_new(server *s, entry *e, int kind, int db)
{
    place *place = (struct place *)memory_take_zeroed(1, sizeof *place);
    place->entry = e;
    entry_set_object(e, place);
    table_add(&s->places, e);
    place->kind = kind;
    place->db = db;
    place->flushes = flushes_of(s, place);
    place->since = weft_loop_now(s->loop);
    for (int i = 0; i < 3; i++)
        list_init(lists_of(place, i));
    list_init(&place->holds);
    list_insert(&s->all_places, &place->ring);
    if (s->look.loop == nullptr && s->to_look_at == 0)
        look_again(s);
    return place;
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
    if (place != nullptr && is_past(s, place))
        forget(s, place);
    if (place == nullptr && make)
        place = place_new(s, entry_new(TYPE_PLACE, key, n + 2, hash, 0), kind, db);
    else if (place != nullptr && place->is_erased && !make)
        place = nullptr; // it is about to be dropped
    if (place != nullptr) {
        place->active = weft_loop_now(s->loop);
        place->since = place->is_erased ? place->active : place->since;
        place->is_erased = false;
    }
    if (key != few)
        memory_give(key);
    return place;
}

place *weft::place_make(peer *p, int kind, int db, const word *name, bool adds)
{
    place *place = place_find(p->server, kind, db, name->text, name->size, false);
    if (place != nullptr)
        return place;
    if (name->size > PLACE_NAME_MAX)
        reply_error(p, "ERR the name is longer than %d bytes", PLACE_NAME_MAX);
    else if (adds && memory_is_full(p->server))
        reply_full(p);
    else
        place = place_find(p->server, kind, db, name->text, name->size, true);
    return place;
}

static bool is_idle(const place *place)
{
    if (is_used(place) || place->is_ready || place->closed != 0)
        return false;
    if (place->kind == AT_JOBS)
        return jobs_are_idle(place);
    return place->kind == AT_LIST ? place->number == 0
                                  : place->kind != AT_UNITS || place->is_erased;
}

void weft::place_drop_if_idle(server *s, place *place)
{
    if (!is_idle(place))
        return;
    jobs_free(place);
    const entry *e = place->entry;
    entry **link = table_find(&s->places, entry_key(e), e->key_size, e->hash);
    list_remove(&place->ring);
    memory_give(table_remove(&s->places, link));
    memory_give(place);
}

void weft::place_ready(server *s, place *place)
{
    place->active = weft_loop_now(s->loop);
    if (place->is_ready)
        return;
    place->is_ready = true;
    list_insert(&s->ready, &place->turn);
}

void weft::key_changed_slowly(server *s, int db, const char *key, size_t n)
{
    if (s->watches != 0)
        watch_touch(s, db, key, n);
    place *place = s->places.count != 0 ? place_find(s, AT_LIST, db, key, n, false) : nullptr;
    if (place != nullptr)
        place_ready(s, place);
}

void weft::list_added_slowly(server *s, int db, const char *key, size_t n)
{
    place *place = place_find(s, AT_LIST, db, key, n, false);
    if (place == nullptr || place->has_turn)
        return;
    place_ready(s, place);
    list_remove(&place->turn);
    list_insert(&s->ready, &place->turn);
    place->has_turn = true;
}

void weft::places_serve(server *s)
{
    while (!list_is_empty(&s->ready)) {
        place *place = (struct place *)((char *)s->ready.next - offsetof(struct place, turn));
        list_remove(&place->turn);
        place->is_ready = place->has_turn = false;
        if (place->kind == AT_LIST)
            list_serve(s, place);
        else if (place->kind == AT_LOCK)
            lock_serve(s, place);
        else if (place->kind == AT_UNITS)
            units_serve(s, place);
        else if (place->kind == AT_JOBS)
            jobs_serve(s, place);
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
    if (!list_is_empty(&s->ready))
        places_serve(s);
}

peer_wait *weft::wait_begin(peer *p, int links, const word *text, weft_deadline d)
{
    size_t all = sizeof(peer_wait) + (size_t)links * sizeof(place_link);
    size_t n = text != nullptr ? text->size : 0;
    peer_wait *w = (peer_wait *)memory_take_zeroed(1, all + n);
    w->peer = p;
    w->brief = runs_transaction(p);
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

// Takes some of its links out: whether there are more.
static bool leave_some(server *s, peer_wait *w)
{
    for (int n = 0; n < A_STEP && w->gone < w->links; n++) {
        place_link *l = &w->link[w->gone++];
        place *place = l->place;
        list_remove(l);
        place->count -= l->is_waiting;
        // It may be the next one's turn: this one came first, and was not to be passed.
        if (w->brief && w->ended == nullptr)
            place_drop_if_idle(s, place);
        else
            place_ready(s, place);
    }
    return w->gone < w->links;
}

static bool leave_first(server *s, void *)
{
    peer_wait *w = s->over, *next = w->next;
    if (!leave_some(s, w)) {
        s->over = next;
        memory_drop(w);
    }
    places_serve(s);
    return s->over != nullptr;
}

void weft::wait_end(peer_wait *w)
{
    peer *p = w->peer;
    server *s = p->server;
    bool many = w->links > A_STEP;
    if (w->alarm.loop != nullptr)
        weft_loop_disarm(&w->alarm);
    if (!many)
        leave_some(s, w);
    if (w->ended != nullptr)
        w->ended(w);
    if (p->silent == 3) // this was the reply that it skips
        p->silent = 0;
    p->active = weft_loop_now(s->loop);
    p->wait = nullptr;
    p->resume = true;
    s->waiting--;
    peer_dirty(p);
    if (!many) {
        memory_give(w);
        return;
    }
    if (s->over == nullptr)
        background(s, leave_first, nullptr);
    w->peer = nullptr;
    w->next = s->over;
    s->over = w;
}

peer_wait *weft::wait_first(const place_link *list)
{
    for (place_link *next, *l = list->next; l != list; l = next) {
        next = l->next;
        if (l->wait->peer == nullptr)
            continue;
        if (!l->wait->peer->ending)
            return l->wait;
        wait_end(l->wait);
    }
    return nullptr;
}

void weft::waits_end(place_link *list, void (*say)(peer *p))
{
    while (!list_is_empty(list)) {
        peer_wait *w = list->next->wait;
        say(w->peer);
        w->ended = nullptr;
        wait_end(w);
    }
}

void weft::gets_end(place *place, void (*say)(peer *p))
{
    for (place_link *next, *l = place->waiting.next; l != &place->waiting; l = next) {
        next = l->next;
        if (!l->wait->gets)
            continue;
        say(l->wait->peer);
        wait_end(l->wait);
    }
}

bool weft::parse_milliseconds(peer *p, const word *w, weft_deadline *d)
{
    int64_t ms;
    if (!parse_integer(p, w, &ms))
        return false;
    *d = ms < 0 ? WEFT_FOREVER : weft_in_ms(ms);
    return true;
}
