// command_list.cc: lists: LPUSH RPUSH LPOP RPOP LLEN LRANGE LINDEX LSET LREM LMOVE BLPOP BRPOP
// BLMOVE, as Redis has them.
#include "commands.h"
#include "place.h"

#include <limits.h>

using namespace weft;

// ---- Items ----

list_item *weft::item_pop(server *s, int db, entry **link, bool front)
{
    item_list *l = entry_list(*link);
    list_item *item = list_pop(l, front);
    if (l->count == 0)
        key_remove(s, db, link);
    else
        key_changed(s, db, entry_key(*link), (*link)->key_size);
    return item;
}

bool weft::item_push(server *s, int db, const word *key, list_item *item, bool front)
{
    entry **link = key_find(s, db, key), *e;
    if (link != nullptr && (*link)->type != TYPE_LIST)
        return false;
    if (link != nullptr) {
        e = *link;
    } else {
        e = entry_new(TYPE_LIST, key->text, key->size, hash_of(key->text, key->size), 0);
        table_add(&s->keys[db], e);
    }
    list_push(entry_list(e), item, front);
    key_changed(s, db, key->text, key->size);
    return true;
}

static void reply_item(peer *p, const list_item *item)
{
    reply_string(p, item->text, item->size);
}

static void pop_and_reply(peer *p, entry **link, bool front)
{
    list_item *item = item_pop(p->server, p->db, link, front);
    reply_item(p, item);
    memory_give(item);
}

// ---- Push, pop ----

static void push(peer *p, const word *words, int n, bool front)
{
    const entry *e = key_make(p, &words[1], TYPE_LIST);
    if (e == nullptr)
        return;
    item_list *l = entry_list(e);
    for (int i = 2; i < n; i++)
        list_push(l, item_new(words[i].text, words[i].size), front);
    reply_integer(p, (int64_t)l->count);
    key_changed(p->server, p->db, words[1].text, words[1].size);
}

void weft::command_lpush(peer *p, const word *words, int n)
{
    push(p, words, n, true);
}

void weft::command_rpush(peer *p, const word *words, int n)
{
    push(p, words, n, false);
}

// The list at key; `missing` replies if there is none.  nullptr: the peer was answered.
static entry **list_at(peer *p, const word *key, void (*missing)(peer *p))
{
    entry **link;
    if (!key_typed(p, key, TYPE_LIST, &link))
        return nullptr;
    if (link == nullptr)
        missing(p);
    return link;
}

static void pop_many(peer *p, entry **link, const word *key, int64_t count, bool front)
{
    size_t there = entry_list(*link)->count;
    size_t many = (uint64_t)count < there ? (size_t)count : there;
    reply_array(p, many);
    for (size_t i = 0; i < many; i++)
        pop_and_reply(p, key_find(p->server, p->db, key), front);
}

static void pop(peer *p, const word *words, int n, bool front)
{
    int64_t count = 0;
    if (n > 3) {
        reply_error(p, "ERR wrong number of arguments for '%s' command", p->running);
        return;
    }
    if (n == 3 && (!parse_number(words[2].text, words[2].size, &count) || count < 0)) {
        reply_error(p, "ERR value is out of range, must be positive");
        return;
    }
    entry **link = list_at(p, &words[1], n == 3 ? reply_null_array : reply_null);
    if (link == nullptr)
        return;
    if (n == 3)
        pop_many(p, link, &words[1], count, front);
    else
        pop_and_reply(p, link, front);
}

void weft::command_lpop(peer *p, const word *words, int n)
{
    pop(p, words, n, true);
}

void weft::command_rpop(peer *p, const word *words, int n)
{
    pop(p, words, n, false);
}

// ---- Look, change ----

static void reply_zero(peer *p)
{
    reply_integer(p, 0);
}

static void reply_empty(peer *p)
{
    reply_array(p, 0);
}

static void reply_no_key(peer *p)
{
    reply_error(p, "ERR no such key");
}

void weft::command_llen(peer *p, const word *words, int)
{
    entry **link = list_at(p, &words[1], reply_zero);
    if (link != nullptr)
        reply_integer(p, (int64_t)entry_list(*link)->count);
}

void weft::command_lrange(peer *p, const word *words, int)
{
    int64_t from, to;
    if (!parse_integer(p, &words[2], &from) || !parse_integer(p, &words[3], &to))
        return;
    entry **link = list_at(p, &words[1], reply_empty);
    if (link == nullptr)
        return;
    const item_list *l = entry_list(*link);
    int64_t count = (int64_t)l->count;
    from = from < 0 ? from + count : from;
    from = from < 0 ? 0 : from;
    to = to < 0 ? to + count : to;
    to = to >= count ? count - 1 : to;
    if (from > to || from >= count) {
        reply_empty(p);
        return;
    }
    reply_array(p, (size_t)(to - from + 1));
    for (int64_t i = from; i <= to; i++)
        reply_item(p, *list_item_at(l, (size_t)i));
}

static void reply_no_item(peer *p)
{
    reply_error(p, "ERR index out of range");
}

// The item of the list words[1] at the index words[2], from the end if below 0; `no_list` or
// `no_item` replies if there is none.  nullptr: the peer was answered.
static list_item **item_at(peer *p, const word *words, void (*no_list)(peer *p),
                           void (*no_item)(peer *p))
{
    int64_t i;
    entry **link = list_at(p, &words[1], no_list);
    if (link == nullptr || !parse_integer(p, &words[2], &i))
        return nullptr;
    const item_list *l = entry_list(*link);
    i = i < 0 ? i + (int64_t)l->count : i;
    if (i >= 0 && i < (int64_t)l->count)
        return list_item_at(l, (size_t)i);
    no_item(p);
    return nullptr;
}

void weft::command_lindex(peer *p, const word *words, int)
{
    list_item **at = item_at(p, words, reply_null, reply_null);
    if (at != nullptr)
        reply_item(p, *at);
}

void weft::command_lset(peer *p, const word *words, int)
{
    list_item **at = item_at(p, words, reply_no_key, reply_no_item);
    if (at == nullptr)
        return;
    memory_give(*at);
    *at = item_new(words[3].text, words[3].size);
    key_changed(p->server, p->db, words[1].text, words[1].size);
    reply_ok(p);
}

void weft::command_lrem(peer *p, const word *words, int)
{
    int64_t count, removed = 0;
    if (!parse_integer(p, &words[2], &count))
        return;
    entry **link = list_at(p, &words[1], reply_zero);
    if (link == nullptr)
        return;
    item_list *l = entry_list(*link);
    uint64_t most = count == 0 ? UINT64_MAX : count < 0 ? 0 - (uint64_t)count : (uint64_t)count;
    for (size_t k = 0; k < l->count && (uint64_t)removed < most; k++) {
        list_item **at = list_item_at(l, count < 0 ? l->count - 1 - k : k);
        if ((*at)->size != words[3].size || memcmp((*at)->text, words[3].text, words[3].size) != 0)
            continue;
        memory_give(*at);
        *at = nullptr;
        removed++;
    }
    if (removed > 0) {
        list_compact(l);
        key_changed(p->server, p->db, words[1].text, words[1].size);
        key_remove_if_empty(p->server, p->db, &words[1]);
    }
    reply_integer(p, removed);
}

// ---- Move ----

static bool end_of(peer *p, const word *w, bool *front)
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
    reply_item(p, *list_item_at(l, front ? 0 : l->count - 1));
    if (target == *link) {
        list_push(l, list_pop(l, front), front_to);
        key_changed(s, db, from->text, from->size);
    } else {
        item_push(s, db, to, item_pop(s, db, link, front), front_to);
    }
}

void weft::command_lmove(peer *p, const word *words, int)
{
    bool front, front_to;
    if (!end_of(p, &words[3], &front) || !end_of(p, &words[4], &front_to))
        return;
    entry **link = list_at(p, &words[1], reply_null);
    if (link != nullptr)
        move(p, p->db, &words[1], &words[2], front, front_to);
}

// ---- Waiting ----

static void time_out_array(peer_wait *w)
{
    reply_null_array(w->peer);
}

static peer_wait *wait_at(peer *p, const word *keys, int n, const word *text, weft_deadline d)
{
    peer_wait *w = wait_begin(p, n, text, d);
    for (int i = 0; i < n; i++) {
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
    reply_array(p, 2);
    reply_string(p, key->text, key->size);
    entry **link = key_find(s, db, key);
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
        pop_and_reply(p, link, front);
        return;
    }
    peer_wait *w = wait_at(p, words + 1, n - 2, nullptr, d);
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

void weft::command_blmove(peer *p, const word *words, int)
{
    weft_deadline d;
    entry **link;
    bool front, front_to;
    if (!end_of(p, &words[3], &front) || !end_of(p, &words[4], &front_to) ||
        !parse_seconds(p, &words[5], &d) || !key_typed(p, &words[1], TYPE_LIST, &link))
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
