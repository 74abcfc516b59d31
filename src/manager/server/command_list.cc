// command_list.cc: lists: LPUSH RPUSH LPUSHX RPUSHX LPOP RPOP LLEN LRANGE LINDEX LPOS LSET LINSERT
// LREM LTRIM, as Redis has them.
#include "commands.h"
#include "place.h"

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
    if (link != nullptr)
        e = *link;
    else
        e = key_add(s, db, TYPE_LIST, key, hash_of(key->text, key->size), 0);
    list_push(entry_list(e), item, front);
    key_changed(s, db, key->text, key->size);
    return true;
}

static void reply_item(peer *p, const list_item *item)
{
    reply_string(p, item->text, item->size);
}

void weft::item_pop_reply(peer *p, entry **link, bool front)
{
    list_item *item = item_pop(p->server, p->db, link, front);
    reply_item(p, item);
    memory_give(item);
}

// The list at `link` has changed; if there is nothing left in it, it goes.
static void end_change(peer *p, entry **link)
{
    if (entry_is_empty(*link))
        key_remove(p->server, p->db, link);
    else
        key_changed(p->server, p->db, entry_key(*link), (*link)->key_size);
}

// So many from that end, in an entry of their own: when that is dropped, many are in the
// background.
static entry *cut(item_list *l, size_t n, bool front)
{
    entry *e = entry_new(TYPE_LIST, "", 0, 0, 0);
    list_cut(l, n, front, entry_list(e));
    return e;
}

// ---- Push, pop ----

static void push_all(peer *p, item_list *l, const word *words, int n, bool front)
{
    for (int i = 2; i < n; i++)
        list_push(l, item_new(words[i].text, words[i].size), front);
    reply_integer(p, (int64_t)l->count);
    key_changed(p->server, p->db, words[1].text, words[1].size);
}

static void push(peer *p, const word *words, int n, bool front)
{
    const entry *e = key_make(p, &words[1], TYPE_LIST);
    if (e != nullptr)
        push_all(p, entry_list(e), words, n, front);
}

void weft::command_lpush(peer *p, const word *words, int n)
{
    push(p, words, n, true);
}

void weft::command_rpush(peer *p, const word *words, int n)
{
    push(p, words, n, false);
}

entry **weft::list_at(peer *p, const word *key, void (*missing)(peer *p))
{
    entry **link;
    if (!key_typed(p, key, TYPE_LIST, &link))
        return nullptr;
    if (link == nullptr)
        missing(p);
    return link;
}

void weft::items_pop(peer *p, entry **link, int64_t count, bool front)
{
    item_list *l = entry_list(*link);
    size_t many = (uint64_t)count < l->count ? (size_t)count : l->count;
    reply_array(p, many);
    if (many == 0)
        return;
    entry *popped = cut(l, many, front);
    for (size_t i = 0; i < many; i++)
        reply_item(p, *list_item_at(entry_list(popped), front ? i : many - 1 - i));
    entry_drop(popped);
    end_change(p, link);
}

static void reply_zero(peer *p)
{
    reply_integer(p, 0);
}

static void push_if_there(peer *p, const word *words, int n, bool front)
{
    entry **link = list_at(p, &words[1], reply_zero);
    if (link != nullptr)
        push_all(p, entry_list(*link), words, n, front);
}

void weft::command_lpushx(peer *p, const word *words, int n)
{
    push_if_there(p, words, n, true);
}

void weft::command_rpushx(peer *p, const word *words, int n)
{
    push_if_there(p, words, n, false);
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
        items_pop(p, link, count, front);
    else
        item_pop_reply(p, link, front);
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

// The list at words[1], and the part of it that words[2] and words[3] say, each from the end if
// below 0: [from, to).  nullptr: the peer was told, by no_list that there is none.
static entry **list_range(peer *p, const word *words, void (*no_list)(peer *p), size_t *from,
                          size_t *to)
{
    int64_t first, last;
    if (!parse_integer(p, &words[2], &first) || !parse_integer(p, &words[3], &last))
        return nullptr;
    entry **link = list_at(p, &words[1], no_list);
    if (link == nullptr)
        return nullptr;
    int64_t count = (int64_t)entry_list(*link)->count;
    first = first < 0 ? first + count : first;
    first = first < 0 ? 0 : first;
    last = last < 0 ? last + count : last;
    last = last >= count ? count - 1 : last;
    bool empty = first > last || first >= count;
    *from = empty ? 0 : (size_t)first;
    *to = empty ? 0 : (size_t)last + 1;
    return link;
}

void weft::command_lrange(peer *p, const word *words, int)
{
    size_t from, to;
    entry **link = list_range(p, words, reply_empty, &from, &to);
    if (link == nullptr)
        return;
    const item_list *l = entry_list(*link);
    reply_array(p, to - from);
    for (size_t i = from; i < to; i++)
        reply_item(p, *list_item_at(l, i));
}

static void drop_items(item_list *l, size_t n, bool front)
{
    const size_t few = 16;
    if (n > few)
        entry_drop(cut(l, n, front));
    else
        for (; n > 0; n--)
            memory_give(list_pop(l, front));
}

void weft::command_ltrim(peer *p, const word *words, int)
{
    size_t from, to;
    entry **link = list_range(p, words, reply_ok, &from, &to);
    if (link == nullptr)
        return;
    item_list *l = entry_list(*link);
    drop_items(l, l->count - to, false);
    drop_items(l, from, true);
    end_change(p, link);
    reply_ok(p);
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

static bool is_equal(const list_item *item, const word *w)
{
    return item->size == w->size && memcmp(item->text, w->text, w->size) == 0;
}

// LINSERT key BEFORE|AFTER pivot element
void weft::command_linsert(peer *p, const word *words, int)
{
    bool after = word_is(&words[2], "after");
    if (!after && !word_is(&words[2], "before")) {
        reply_syntax(p);
        return;
    }
    entry **link = list_at(p, &words[1], reply_zero);
    if (link == nullptr)
        return;
    item_list *l = entry_list(*link);
    size_t i = 0;
    while (i < l->count && !is_equal(*list_item_at(l, i), &words[3]))
        i++;
    if (i == l->count) {
        reply_integer(p, -1);
        return;
    }
    list_insert(l, i + after, item_new(words[4].text, words[4].size));
    end_change(p, link);
    reply_integer(p, (int64_t)l->count);
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
    entry *dropped = entry_new(TYPE_LIST, "", 0, 0, 0);
    for (size_t k = 0; k < l->count && (uint64_t)removed < most; k++) {
        list_item **at = list_item_at(l, count < 0 ? l->count - 1 - k : k);
        if (!is_equal(*at, &words[3]))
            continue;
        list_push(entry_list(dropped), *at, false);
        *at = nullptr;
        removed++;
    }
    entry_drop(dropped);
    if (removed > 0) {
        list_compact(l);
        end_change(p, link);
    }
    reply_integer(p, removed);
}

// ---- LPOS ----

namespace {
struct search {
    int64_t rank, count, most; // the first to be told, from 1, or from the end below 0; how many,
                               // and how many are looked at, 0: all
    bool many;                 // COUNT was given
};
} // namespace

static bool parse_not_negative(peer *p, const word *w, const char *name, int64_t *number)
{
    if (parse_number(w->text, w->size, number) && *number >= 0)
        return true;
    reply_error(p, "ERR %s can't be negative", name);
    return false;
}

static bool read_search(peer *p, const word *words, int n, search *s)
{
    *s = {1, 1, 0, false};
    for (int i = 3; i < n; i += 2) {
        bool good;
        if (i + 1 < n && word_is(&words[i], "rank")) {
            good = parse_integer(p, &words[i + 1], &s->rank);
            if (good && s->rank == 0) {
                reply_error(p, "ERR RANK can't be zero: use 1 to start from the first match, 2 "
                               "from the second ... or use negative to start from the end of the "
                               "list");
                return false;
            }
        } else if (i + 1 < n && word_is(&words[i], "count")) {
            s->many = true;
            good = parse_not_negative(p, &words[i + 1], "COUNT", &s->count);
        } else if (i + 1 < n && word_is(&words[i], "maxlen")) {
            good = parse_not_negative(p, &words[i + 1], "MAXLEN", &s->most);
        } else {
            reply_syntax(p);
            return false;
        }
        if (!good)
            return false;
    }
    return true;
}

// The indices of those that are found; how many.  The memory is the caller's.
static size_t find_items(const item_list *l, const word *w, const search *s, size_t **found)
{
    size_t most = s->most > 0 && (uint64_t)s->most < l->count ? (size_t)s->most : l->count;
    uint64_t skip = (s->rank < 0 ? 0 - (uint64_t)s->rank : (uint64_t)s->rank) - 1;
    size_t n = 0, room = 0;
    *found = nullptr;
    if (s->rank == INT64_MIN) // Redis finds the first then
        skip = 0;
    for (size_t k = 0; k < most && (s->count == 0 || n < (uint64_t)s->count); k++) {
        size_t i = s->rank < 0 ? l->count - 1 - k : k;
        if (!is_equal(*list_item_at(l, i), w))
            continue;
        if (skip > 0) {
            skip--;
            continue;
        }
        if (n == room) {
            room = room == 0 ? 8 : room * 2;
            *found = (size_t *)retake(*found, room * sizeof **found);
        }
        (*found)[n++] = i;
    }
    return n;
}

// LPOS key element [RANK rank] [COUNT count] [MAXLEN length]
void weft::command_lpos(peer *p, const word *words, int n)
{
    search s;
    if (!read_search(p, words, n, &s))
        return;
    entry **link = list_at(p, &words[1], s.many ? reply_empty : reply_null);
    if (link == nullptr)
        return;
    size_t *found, count = find_items(entry_list(*link), &words[2], &s, &found);
    if (s.many)
        reply_array(p, count);
    else if (count == 0)
        reply_null(p);
    for (size_t i = 0; i < count; i++)
        reply_integer(p, (int64_t)found[i]);
    memory_give(found);
}
