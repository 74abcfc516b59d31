// command_list.cc: lists: LPUSH RPUSH LPOP RPOP LLEN LRANGE LINDEX LSET LREM LMOVE BLPOP BRPOP
// BLMOVE, as Redis has them.
#include "commands.h"
#include "place.h"

#include <limits.h>

// ---- Items ----

weft_private_item *weft_private_item_pop(weft_private_server *s, int db, weft_private_entry **link,
                                         bool front)
{
    weft_private_list *l = weft_private_entry_list(*link);
    weft_private_item *item = weft_private_list_pop(l, front);
    if (l->count == 0)
        weft_private_key_remove(s, db, link);
    else
        weft_private_list_changed(s, db, weft_private_entry_key(*link), (*link)->key_size);
    return item;
}

bool weft_private_item_push(weft_private_server *s, int db, const weft_private_word *key,
                            weft_private_item *item, bool front)
{
    weft_private_entry **link = weft_private_key_find(s, db, key), *e;
    if (link != nullptr && (*link)->type != WEFT_LIST)
        return false;
    if (link != nullptr) {
        e = *link;
    } else {
        e = weft_private_entry_new(WEFT_LIST, key->text, key->size,
                                   weft_private_hash(key->text, key->size), 0);
        weft_private_table_add(&s->keys[db], e);
    }
    weft_private_list_push(weft_private_entry_list(e), item, front);
    weft_private_list_changed(s, db, key->text, key->size);
    return true;
}

static void reply_item(weft_private_peer *p, const weft_private_item *item)
{
    weft_private_reply_string(p, item->text, item->size);
}

// ---- Push, pop ----

static void push(weft_private_peer *p, const weft_private_word *words, int n, bool front)
{
    const weft_private_entry *e = weft_private_key_make(p, &words[1], WEFT_LIST);
    if (e == nullptr)
        return;
    weft_private_list *l = weft_private_entry_list(e);
    for (int i = 2; i < n; i++)
        weft_private_list_push(l, weft_private_item_new(words[i].text, words[i].size), front);
    weft_private_reply_integer(p, (int64_t)l->count);
    weft_private_list_changed(p->server, p->db, words[1].text, words[1].size);
}

void weft_private_command_lpush(weft_private_peer *p, const weft_private_word *words, int n)
{
    push(p, words, n, true);
}

void weft_private_command_rpush(weft_private_peer *p, const weft_private_word *words, int n)
{
    push(p, words, n, false);
}

// The list at key; `missing` replies if there is none.  nullptr: the peer was answered.
static weft_private_entry **list_at(weft_private_peer *p, const weft_private_word *key,
                                    void (*missing)(weft_private_peer *p))
{
    weft_private_entry **link;
    if (!weft_private_key_typed(p, key, WEFT_LIST, &link))
        return nullptr;
    if (link == nullptr)
        missing(p);
    return link;
}

static void pop_many(weft_private_peer *p, weft_private_entry **link, const weft_private_word *key,
                     int64_t count, bool front)
{
    size_t there = weft_private_entry_list(*link)->count;
    size_t many = (uint64_t)count < there ? (size_t)count : there;
    weft_private_reply_array(p, many);
    for (size_t i = 0; i < many; i++) {
        weft_private_item *item = weft_private_item_pop(
            p->server, p->db, weft_private_key_find(p->server, p->db, key), front);
        reply_item(p, item);
        weft_private_give(item);
    }
}

static void pop(weft_private_peer *p, const weft_private_word *words, int n, bool front)
{
    int64_t count = 0;
    if (n > 3) {
        weft_private_reply_error(p, "ERR wrong number of arguments for '%s' command", p->running);
        return;
    }
    if (n == 3 && (!weft_private_number(words[2].text, words[2].size, &count) || count < 0)) {
        weft_private_reply_error(p, "ERR value is out of range, must be positive");
        return;
    }
    weft_private_entry **link =
        list_at(p, &words[1], n == 3 ? weft_private_reply_null_array : weft_private_reply_null);
    if (link == nullptr)
        return;
    if (n == 3) {
        pop_many(p, link, &words[1], count, front);
        return;
    }
    weft_private_item *item = weft_private_item_pop(p->server, p->db, link, front);
    reply_item(p, item);
    weft_private_give(item);
}

void weft_private_command_lpop(weft_private_peer *p, const weft_private_word *words, int n)
{
    pop(p, words, n, true);
}

void weft_private_command_rpop(weft_private_peer *p, const weft_private_word *words, int n)
{
    pop(p, words, n, false);
}

// ---- Look, change ----

static void reply_zero(weft_private_peer *p)
{
    weft_private_reply_integer(p, 0);
}

static void reply_empty(weft_private_peer *p)
{
    weft_private_reply_array(p, 0);
}

static void reply_no_key(weft_private_peer *p)
{
    weft_private_reply_error(p, "ERR no such key");
}

void weft_private_command_llen(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_entry **link = list_at(p, &words[1], reply_zero);
    if (link != nullptr)
        weft_private_reply_integer(p, (int64_t)weft_private_entry_list(*link)->count);
}

void weft_private_command_lrange(weft_private_peer *p, const weft_private_word *words, int)
{
    int64_t from, to;
    if (!weft_private_integer(p, &words[2], &from) || !weft_private_integer(p, &words[3], &to))
        return;
    weft_private_entry **link = list_at(p, &words[1], reply_empty);
    if (link == nullptr)
        return;
    const weft_private_list *l = weft_private_entry_list(*link);
    int64_t count = (int64_t)l->count;
    from = from < 0 ? from + count : from;
    from = from < 0 ? 0 : from;
    to = to < 0 ? to + count : to;
    to = to >= count ? count - 1 : to;
    if (from > to || from >= count) {
        reply_empty(p);
        return;
    }
    weft_private_reply_array(p, (size_t)(to - from + 1));
    for (int64_t i = from; i <= to; i++)
        reply_item(p, *weft_private_list_at(l, (size_t)i));
}

// The item of that index, from the end if below 0.  nullptr: there is none.
static weft_private_item **item_at(const weft_private_entry *e, int64_t i)
{
    const weft_private_list *l = weft_private_entry_list(e);
    i = i < 0 ? i + (int64_t)l->count : i;
    return i >= 0 && i < (int64_t)l->count ? weft_private_list_at(l, (size_t)i) : nullptr;
}

void weft_private_command_lindex(weft_private_peer *p, const weft_private_word *words, int)
{
    int64_t i;
    weft_private_entry **link = list_at(p, &words[1], weft_private_reply_null);
    if (link == nullptr || !weft_private_integer(p, &words[2], &i))
        return;
    weft_private_item **at = item_at(*link, i);
    if (at != nullptr)
        reply_item(p, *at);
    else
        weft_private_reply_null(p);
}

void weft_private_command_lset(weft_private_peer *p, const weft_private_word *words, int)
{
    int64_t i;
    weft_private_entry **link = list_at(p, &words[1], reply_no_key);
    if (link == nullptr || !weft_private_integer(p, &words[2], &i))
        return;
    weft_private_item **at = item_at(*link, i);
    if (at == nullptr) {
        weft_private_reply_error(p, "ERR index out of range");
        return;
    }
    weft_private_give(*at);
    *at = weft_private_item_new(words[3].text, words[3].size);
    weft_private_reply_ok(p);
}

void weft_private_command_lrem(weft_private_peer *p, const weft_private_word *words, int)
{
    int64_t count, removed = 0;
    if (!weft_private_integer(p, &words[2], &count))
        return;
    weft_private_entry **link = list_at(p, &words[1], reply_zero);
    if (link == nullptr)
        return;
    weft_private_list *l = weft_private_entry_list(*link);
    uint64_t most = count == 0 ? UINT64_MAX : count < 0 ? 0 - (uint64_t)count : (uint64_t)count;
    for (size_t k = 0; k < l->count && (uint64_t)removed < most; k++) {
        weft_private_item **at = weft_private_list_at(l, count < 0 ? l->count - 1 - k : k);
        if ((*at)->size != words[3].size || memcmp((*at)->text, words[3].text, words[3].size) != 0)
            continue;
        weft_private_give(*at);
        *at = nullptr;
        removed++;
    }
    if (removed > 0) {
        weft_private_list_compact(l);
        weft_private_list_changed(p->server, p->db, words[1].text, words[1].size);
        weft_private_key_remove_if_empty(p->server, p->db, &words[1]);
    }
    weft_private_reply_integer(p, removed);
}

// ---- Move ----

static bool end_of(weft_private_peer *p, const weft_private_word *w, bool *front)
{
    *front = weft_private_word_is(w, "left");
    if (*front || weft_private_word_is(w, "right"))
        return true;
    weft_private_reply_syntax(p);
    return false;
}

// From the list `from` to the list `to`; replies with the item, or that `to` is no list.
static void move(weft_private_peer *p, int db, const weft_private_word *from,
                 const weft_private_word *to, bool front, bool front_to)
{
    weft_private_server *s = p->server;
    weft_private_entry **link = weft_private_key_find(s, db, to);
    if (link != nullptr && (*link)->type != WEFT_LIST) {
        weft_private_reply_wrong_type(p);
        return;
    }
    const weft_private_entry *target = link != nullptr ? *link : nullptr;
    link = weft_private_key_find(s, db, from);
    if (link == nullptr) { // it has expired this moment
        weft_private_reply_null(p);
        return;
    }
    weft_private_list *l = weft_private_entry_list(*link);
    reply_item(p, *weft_private_list_at(l, front ? 0 : l->count - 1));
    if (target == *link)
        weft_private_list_push(l, weft_private_list_pop(l, front), front_to);
    else
        weft_private_item_push(s, db, to, weft_private_item_pop(s, db, link, front), front_to);
}

void weft_private_command_lmove(weft_private_peer *p, const weft_private_word *words, int)
{
    bool front, front_to;
    if (!end_of(p, &words[3], &front) || !end_of(p, &words[4], &front_to))
        return;
    weft_private_entry **link = list_at(p, &words[1], weft_private_reply_null);
    if (link != nullptr)
        move(p, p->db, &words[1], &words[2], front, front_to);
}

// ---- Waiting ----

static void time_out_array(weft_private_wait *w)
{
    weft_private_reply_null_array(w->peer);
}

static weft_private_wait *wait_at(weft_private_peer *p, const weft_private_word *keys, int n,
                                  const weft_private_word *text, weft_deadline d)
{
    weft_private_wait *w = weft_private_wait_begin(p, n, text, d);
    for (int i = 0; i < n; i++) {
        weft_private_place *place = weft_private_place_find(p->server, WEFT_AT_LIST, p->db,
                                                            keys[i].text, keys[i].size, true);
        if (place->waiting.previous->wait != w) // not the same key twice
            weft_private_wait_at(w, &place->waiting, place);
    }
    return w;
}

void weft_private_list_give(weft_private_wait *w, int db, const weft_private_word *key)
{
    weft_private_peer *p = w->peer;
    weft_private_server *s = p->server;
    if (w->moves) {
        move(p, db, key, &w->text, w->front, w->front_to);
        return;
    }
    weft_private_reply_array(p, 2);
    weft_private_reply_string(p, key->text, key->size);
    weft_private_entry **link = weft_private_key_find(s, db, key);
    weft_private_lease_begin(p, weft_private_item_pop(s, db, link, w->front), db, key, w->front,
                             false);
}

static void pop_waiting(weft_private_peer *p, const weft_private_word *words, int n, bool front)
{
    weft_deadline d;
    weft_private_entry **link = nullptr;
    if (!weft_private_seconds(p, &words[n - 1], &d))
        return;
    for (int i = 1; i < n - 1; i++) {
        if (!weft_private_key_typed(p, &words[i], WEFT_LIST, &link))
            return;
        if (link == nullptr)
            continue;
        weft_private_item *item = weft_private_item_pop(p->server, p->db, link, front);
        weft_private_reply_array(p, 2);
        weft_private_reply_string(p, words[i].text, words[i].size);
        reply_item(p, item);
        weft_private_give(item);
        return;
    }
    weft_private_wait *w = wait_at(p, words + 1, n - 2, nullptr, d);
    w->time_out = time_out_array;
    w->front = front;
}

void weft_private_command_blpop(weft_private_peer *p, const weft_private_word *words, int n)
{
    pop_waiting(p, words, n, true);
}

void weft_private_command_brpop(weft_private_peer *p, const weft_private_word *words, int n)
{
    pop_waiting(p, words, n, false);
}

void weft_private_command_blmove(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_deadline d;
    weft_private_entry **link;
    bool front, front_to;
    if (!end_of(p, &words[3], &front) || !end_of(p, &words[4], &front_to) ||
        !weft_private_seconds(p, &words[5], &d) ||
        !weft_private_key_typed(p, &words[1], WEFT_LIST, &link))
        return;
    if (link != nullptr) {
        move(p, p->db, &words[1], &words[2], front, front_to);
        return;
    }
    weft_private_wait *w = wait_at(p, &words[1], 1, &words[2], d);
    w->time_out = time_out_array; // as Redis does
    w->moves = true;
    w->front = front;
    w->front_to = front_to;
}
