// command_list_move.cc: what takes from lists and may wait for it: LMOVE RPOPLPUSH LMPOP BLPOP
// BRPOP BLMPOP BLMOVE BRPOPLPUSH, as Redis has them.
#include "commands.h"
#include "place.h"

using namespace weft;

// ---- Move ----

static bool parse_end(peer *p, const word *w, bool *front)
{
    *front = word_is(w, "left");
    if (*front || word_is(w, "right"))
        return true;
    reply_syntax(p);
    return false;
}

// From the list `from` to the list `to`; replies with the item, or that `to` is no list.
static void move(peer *p, int db, const word *from, const word *to, bool front, bool front_to)
{
    server *s = p->server;
    entry **link = key_find(s, db, to);
    if (link != nullptr && (*link)->type != TYPE_LIST) {
        reply_wrong_type(p);
        return;
    }
    const entry *target = link != nullptr ? *link : nullptr;
    link = key_find(s, db, from);
    if (link == nullptr) { // it has expired this moment
        reply_null(p);
        return;
    }
    item_list *l = entry_list(*link);
    const list_item *item = *list_item_at(l, front ? 0 : l->count - 1);
    reply_string(p, item->text, item->size);
    if (target == *link) {
        list_push(l, list_pop(l, front), front_to);
        key_changed(s, db, from->text, from->size);
    } else {
        item_push(s, db, to, item_pop(s, db, link, front), front_to);
    }
}

static void move_now(peer *p, const word *words, bool front, bool front_to)
{
    entry **link = list_at(p, &words[1], reply_null);
    if (link != nullptr)
        move(p, p->db, &words[1], &words[2], front, front_to);
}

void weft::command_lmove(peer *p, const word *words, int)
{
    bool front, front_to;
    if (!parse_end(p, &words[3], &front) || !parse_end(p, &words[4], &front_to))
        return;
    move_now(p, words, front, front_to);
}

void weft::command_rpoplpush(peer *p, const word *words, int)
{
    move_now(p, words, false, true);
}

// ---- LMPOP ----

namespace {
struct multi_pop {
    const word *keys;
    int64_t n, count;
    bool front;
};
} // namespace

// From words[i] on: numkeys key [key ...] LEFT|RIGHT [COUNT count].  false: the peer was told.
static bool read_multi_pop(peer *p, const word *words, int i, int n, multi_pop *m)
{
    m->keys = words + i + 1;
    m->count = 1;
    if (!parse_number(words[i].text, words[i].size, &m->n) || m->n < 1) {
        reply_error(p, "ERR numkeys should be greater than 0");
        return false;
    }
    if (m->n > n - i - 2) {
        reply_syntax(p);
        return false;
    }
    i += 1 + (int)m->n;
    if (!parse_end(p, &words[i], &m->front))
        return false;
    if (i + 1 == n)
        return true;
    if (i + 3 > n || !word_is(&words[i + 1], "count")) {
        reply_syntax(p);
        return false;
    }
    if (!parse_number(words[i + 2].text, words[i + 2].size, &m->count) || m->count < 1) {
        reply_error(p, "ERR count should be greater than 0");
        return false;
    }
    if (i + 3 < n)
        reply_syntax(p);
    return i + 3 == n;
}

static void pop_from(peer *p, entry **link, const word *key, int64_t count, bool front)
{
    reply_array(p, 2);
    reply_string(p, key->text, key->size);
    items_pop(p, link, count, front);
}

// From the first list that is there.  false: there is none; else the peer was answered.
static bool pop_first(peer *p, const multi_pop *m)
{
    entry **link;
    for (int64_t i = 0; i < m->n; i++) {
        if (!key_typed(p, &m->keys[i], TYPE_LIST, &link))
            return true;
        if (link == nullptr)
            continue;
        pop_from(p, link, &m->keys[i], m->count, m->front);
        return true;
    }
    return false;
}

void weft::command_lmpop(peer *p, const word *words, int n)
{
    multi_pop m;
    if (read_multi_pop(p, words, 1, n, &m) && !pop_first(p, &m))
        reply_null_array(p);
}

// ---- Waiting ----

static void time_out_array(peer_wait *w)
{
    reply_null_array(w->peer);
}

// What is known of a key that is waited for is far more than its name: many of them need memory.
// nullptr: the peer was told that there is none.
static peer_wait *wait_at(peer *p, const word *keys, int n, const word *text, weft_deadline d)
{
    enum { FEW = 16 };
    peer_wait *w = wait_begin(p, n, text, d);
    for (int i = 0; i < n; i++) {
        if (i >= FEW && memory_is_full(p->server)) {
            reply_full(p);
            wait_end(w);
            return nullptr;
        }
        place *place = place_find(p->server, AT_LIST, p->db, keys[i].text, keys[i].size, true);
        if (place->waiting.previous->wait != w) // not the same key twice
            wait_for_list(w, &place->waiting, place);
    }
    return w;
}

void weft::list_give(peer_wait *w, int db, const word *key)
{
    peer *p = w->peer;
    server *s = p->server;
    if (w->moves) {
        move(p, db, key, &w->text, w->front, w->front_to);
        return;
    }
    entry **link = table_find_word(&s->keys[db], key); // it was there, and is still
    if (w->number > 0) {
        pop_from(p, link, key, w->number, w->front);
        return;
    }
    reply_array(p, 2);
    reply_string(p, key->text, key->size);
    lease_begin(p, item_pop(s, db, link, w->front), db, key, w->front, false);
}

static void pop_waiting(peer *p, const word *words, int n, bool front)
{
    weft_deadline d;
    entry **link = nullptr;
    if (!parse_seconds(p, &words[n - 1], &d))
        return;
    for (int i = 1; i < n - 1; i++) {
        if (!key_typed(p, &words[i], TYPE_LIST, &link))
            return;
        if (link == nullptr)
            continue;
        reply_array(p, 2);
        reply_string(p, words[i].text, words[i].size);
        item_pop_reply(p, link, front);
        return;
    }
    peer_wait *w = wait_at(p, words + 1, n - 2, nullptr, d);
    if (w == nullptr)
        return;
    w->time_out = time_out_array;
    w->front = front;
}

void weft::command_blpop(peer *p, const word *words, int n)
{
    pop_waiting(p, words, n, true);
}

void weft::command_brpop(peer *p, const word *words, int n)
{
    pop_waiting(p, words, n, false);
}

void weft::command_blmpop(peer *p, const word *words, int n)
{
    multi_pop m;
    weft_deadline d;
    if (!read_multi_pop(p, words, 2, n, &m) || !parse_seconds(p, &words[1], &d) || pop_first(p, &m))
        return;
    peer_wait *w = wait_at(p, m.keys, (int)m.n, nullptr, d);
    if (w == nullptr)
        return;
    w->time_out = time_out_array;
    w->front = m.front;
    w->number = m.count;
}

static void move_waiting(peer *p, const word *words, bool front, bool front_to, weft_deadline d)
{
    entry **link;
    if (!key_typed(p, &words[1], TYPE_LIST, &link))
        return;
    if (link != nullptr) {
        move(p, p->db, &words[1], &words[2], front, front_to);
        return;
    }
    peer_wait *w = wait_at(p, &words[1], 1, &words[2], d);
    w->time_out = time_out_array; // as Redis does
    w->moves = true;
    w->front = front;
    w->front_to = front_to;
}

void weft::command_blmove(peer *p, const word *words, int)
{
    weft_deadline d;
    bool front, front_to;
    if (parse_end(p, &words[3], &front) && parse_end(p, &words[4], &front_to) &&
        parse_seconds(p, &words[5], &d))
        move_waiting(p, words, front, front_to, d);
}

void weft::command_brpoplpush(peer *p, const word *words, int)
{
    weft_deadline d;
    if (parse_seconds(p, &words[3], &d))
        move_waiting(p, words, false, true, d);
}
