// command_hash.cc: hashes: HSET HGET HMGET HDEL HLEN HEXISTS HGETALL HKEYS HVALS HINCRBY, as Redis
// has them.  A hash is a table of string entries.
#include "commands.h"
#include "place.h"
#include <base/number.h>

using namespace weft;

// Whether the field is new.
static bool set_field(table *t, const word *field, const char *text, size_t n)
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

void weft::command_hset(peer *p, const word *words, int n)
{
    if (n % 2 != 0) {
        reply_error(p, "ERR wrong number of arguments for 'hset' command");
        return;
    }
    const entry *e = key_make(p, &words[1], TYPE_HASH);
    if (e == nullptr)
        return;
    int64_t fresh = 0;
    for (int i = 2; i < n; i += 2)
        fresh += set_field(entry_hash(e), &words[i], words[i + 1].text, words[i + 1].size);
    key_changed(p->server, p->db, words[1].text, words[1].size);
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

void weft::command_hincrby(peer *p, const word *words, int)
{
    int64_t by, number = 0;
    char text[24];
    if (!parse_integer(p, &words[3], &by))
        return;
    table *t = table_at(p, &words[1]);
    if (t == nullptr)
        return;
    entry **link = table_find_word(t, &words[2]);
    if (link != nullptr && !parse_number(entry_text(*link), (*link)->size, &number)) {
        reply_error(p, "ERR hash value is not an integer");
        return;
    }
    if (__builtin_add_overflow(number, by, &number)) {
        reply_error(p, "ERR increment or decrement would overflow");
        return;
    }
    const entry *e = key_make(p, &words[1], TYPE_HASH);
    set_field(entry_hash(e), &words[2], text, number_print(text, number));
    key_changed(p->server, p->db, words[1].text, words[1].size);
    reply_integer(p, number);
}
