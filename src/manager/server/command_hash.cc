// command_hash.cc: hashes: HSET HMSET HSETNX HGET HMGET HDEL HLEN HSTRLEN HEXISTS HGETALL HKEYS
// HVALS HRANDFIELD, as Redis has them.  A hash is a table of string entries.
#include "commands.h"
#include "place.h"
using namespace weft;

bool weft::hash_set(table *t, const word *field, const char *text, size_t n)
{
    uint32_t hash = hash_of(field->text, field->size);
    entry **link = table_find(t, field->text, field->size, hash), *e;
    if (link != nullptr) {
        e = entry_resize(link, n, false);
    } else {
        e = entry_new(TYPE_STRING, field->text, field->size, hash, n);
        table_add(t, e);
    }
    memcpy(entry_text(e), text, n);
    return link == nullptr;
}

static table *table_at(peer *p, const word *key)
{
    return key_table(p, key, TYPE_HASH);
}

static void reply_field(peer *p, entry **link)
{
    if (link != nullptr)
        reply_string(p, entry_text(*link), (*link)->size);
    else
        reply_null(p);
}

// How many are new; -1: the peer was told.
static int64_t set_fields(peer *p, const word *words, int n)
{
    if (n % 2 != 0) {
        reply_error(p, "ERR wrong number of arguments for '%s' command", p->running);
        return -1;
    }
    const entry *e = key_make(p, &words[1], TYPE_HASH);
    if (e == nullptr)
        return -1;
    int64_t fresh = 0;
    for (int i = 2; i < n; i += 2)
        fresh += hash_set(entry_hash(e), &words[i], words[i + 1].text, words[i + 1].size);
    key_changed(p->server, p->db, words[1].text, words[1].size);
    return fresh;
}

void weft::command_hset(peer *p, const word *words, int n)
{
    int64_t fresh = set_fields(p, words, n);
    if (fresh >= 0)
        reply_integer(p, fresh);
}

void weft::command_hmset(peer *p, const word *words, int n)
{
    if (set_fields(p, words, n) >= 0)
        reply_ok(p);
}

void weft::command_hsetnx(peer *p, const word *words, int)
{
    table *t = table_at(p, &words[1]);
    if (t == nullptr)
        return;
    bool fresh = table_find_word(t, &words[2]) == nullptr;
    if (fresh) {
        t = entry_hash(key_make(p, &words[1], TYPE_HASH));
        hash_set(t, &words[2], words[3].text, words[3].size);
        key_changed(p->server, p->db, words[1].text, words[1].size);
    }
    reply_integer(p, fresh);
}

void weft::command_hget(peer *p, const word *words, int)
{
    table *t = table_at(p, &words[1]);
    if (t != nullptr)
        reply_field(p, table_find_word(t, &words[2]));
}

void weft::command_hmget(peer *p, const word *words, int n)
{
    table *t = table_at(p, &words[1]);
    if (t == nullptr)
        return;
    reply_array(p, (size_t)n - 2);
    for (int i = 2; i < n; i++)
        reply_field(p, table_find_word(t, &words[i]));
}

void weft::command_hdel(peer *p, const word *words, int n)
{
    table *t = table_at(p, &words[1]);
    if (t == nullptr)
        return;
    int64_t removed = 0;
    for (int i = 2; i < n; i++) {
        entry **link = table_find_word(t, &words[i]);
        if (link == nullptr)
            continue;
        entry_drop(table_remove(t, link));
        removed++;
    }
    if (removed > 0) {
        key_changed(p->server, p->db, words[1].text, words[1].size);
        key_remove_if_empty(p->server, p->db, &words[1]);
    }
    reply_integer(p, removed);
}

void weft::command_hlen(peer *p, const word *words, int)
{
    const table *t = table_at(p, &words[1]);
    if (t != nullptr)
        reply_integer(p, (int64_t)t->count);
}

void weft::command_hexists(peer *p, const word *words, int)
{
    table *t = table_at(p, &words[1]);
    if (t != nullptr)
        reply_integer(p, table_find_word(t, &words[2]) != nullptr);
}

void weft::command_hstrlen(peer *p, const word *words, int)
{
    table *t = table_at(p, &words[1]);
    if (t == nullptr)
        return;
    entry **link = table_find_word(t, &words[2]);
    reply_integer(p, link != nullptr ? (*link)->size : 0);
}

namespace {
struct listing {
    struct peer *peer;
    bool keys, values;
};
} // namespace

static void reply_entry(entry *e, void *arg)
{
    const listing *l = (const listing *)arg;
    if (l->keys)
        reply_string(l->peer, entry_key(e), e->key_size);
    if (l->values)
        reply_string(l->peer, entry_text(e), e->size);
}

static void reply_all(peer *p, const table *t, bool keys, bool values)
{
    listing l = {p, keys, values};
    if (keys && values)
        reply_map(p, t->count);
    else
        reply_array(p, t->count);
    table_each(t, reply_entry, &l);
}

void weft::command_hgetall(peer *p, const word *words, int)
{
    const table *t = table_at(p, &words[1]);
    if (t != nullptr)
        reply_all(p, t, true, true);
}

void weft::command_hkeys(peer *p, const word *words, int)
{
    const table *t = table_at(p, &words[1]);
    if (t != nullptr)
        reply_all(p, t, true, false);
}

void weft::command_hvals(peer *p, const word *words, int)
{
    const table *t = table_at(p, &words[1]);
    if (t != nullptr)
        reply_all(p, t, false, true);
}

// ---- At random ----

static void reply_name(peer *p, entry *e)
{
    reply_string(p, entry_key(e), e->key_size);
}

static void reply_pair(peer *p, entry *e)
{
    if (p->protocol == 3)
        reply_array(p, 2);
    reply_name(p, e);
    reply_string(p, entry_text(e), e->size);
}

static void reply_pairs(peer *p, size_t n)
{
    reply_array(p, p->protocol == 3 ? n : 2 * n);
}

// HRANDFIELD key [count [WITHVALUES]]
void weft::command_hrandfield(peer *p, const word *words, int n)
{
    int64_t count = 0;
    bool values = n == 4 && word_is(&words[3], "withvalues");
    if (n > 2 && !parse_count(p, &words[2], &count))
        return;
    if (n > 3 && !values) {
        reply_syntax(p);
        return;
    }
    if (values && (count < -INT64_MAX / 2 || count > INT64_MAX / 2)) {
        reply_error(p, "ERR value is out of range");
        return;
    }
    table *t = table_at(p, &words[1]);
    if (t == nullptr)
        return;
    if (n > 2)
        reply_random(p, t, count, values ? reply_pairs : reply_array,
                     values ? reply_pair : reply_name);
    else if (t->count == 0)
        reply_null(p);
    else
        reply_name(p, *table_random(t));
}
