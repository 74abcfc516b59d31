// command_hash.cc: hashes: HSET HGET HMGET HDEL HLEN HEXISTS HGETALL HKEYS HVALS HINCRBY, as Redis
// has them.  A hash is a table of string entries.
#include "commands.h"
#include "server.h"

static weft_private_entry **field_of(weft_private_table *t, const weft_private_word *field)
{
    return weft_private_table_find(t, field->text, field->size,
                                   weft_private_hash(field->text, field->size));
}

// Whether the field is new.
static bool set_field(weft_private_table *t, const weft_private_word *field, const char *text,
                      size_t n)
{
    uint32_t hash = weft_private_hash(field->text, field->size);
    weft_private_entry **link = weft_private_table_find(t, field->text, field->size, hash), *e;
    if (link != nullptr) {
        e = weft_private_entry_resize(link, n, false);
    } else {
        e = weft_private_entry_new(WEFT_STRING, field->text, field->size, hash, n);
        weft_private_table_add(t, e);
    }
    memcpy(weft_private_entry_text(e), text, n);
    return link == nullptr;
}

// The hash at key; an empty one if there is none.  nullptr: the peer was told.
static weft_private_table *table_at(weft_private_peer *p, const weft_private_word *key)
{
    static weft_private_table none;
    weft_private_entry **link;
    if (!weft_private_key_typed(p, key, WEFT_HASH, &link))
        return nullptr;
    return link != nullptr ? weft_private_entry_hash(*link) : &none;
}

static void reply_field(weft_private_peer *p, weft_private_entry **link)
{
    if (link != nullptr)
        weft_private_reply_string(p, weft_private_entry_text(*link), (*link)->size);
    else
        weft_private_reply_null(p);
}

void weft_private_command_hset(weft_private_peer *p, const weft_private_word *words, int n)
{
    if (n % 2 != 0) {
        weft_private_reply_error(p, "ERR wrong number of arguments for 'hset' command");
        return;
    }
    const weft_private_entry *e = weft_private_key_make(p, &words[1], WEFT_HASH);
    if (e == nullptr)
        return;
    int64_t fresh = 0;
    for (int i = 2; i < n; i += 2)
        fresh +=
            set_field(weft_private_entry_hash(e), &words[i], words[i + 1].text, words[i + 1].size);
    weft_private_reply_integer(p, fresh);
}

void weft_private_command_hget(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_table *t = table_at(p, &words[1]);
    if (t != nullptr)
        reply_field(p, field_of(t, &words[2]));
}

void weft_private_command_hmget(weft_private_peer *p, const weft_private_word *words, int n)
{
    weft_private_table *t = table_at(p, &words[1]);
    if (t == nullptr)
        return;
    weft_private_reply_array(p, (size_t)n - 2);
    for (int i = 2; i < n; i++)
        reply_field(p, field_of(t, &words[i]));
}

void weft_private_command_hdel(weft_private_peer *p, const weft_private_word *words, int n)
{
    weft_private_table *t = table_at(p, &words[1]);
    if (t == nullptr)
        return;
    int64_t removed = 0;
    for (int i = 2; i < n; i++) {
        weft_private_entry **link = field_of(t, &words[i]);
        if (link == nullptr)
            continue;
        weft_private_entry_drop(weft_private_table_remove(t, link));
        removed++;
    }
    if (removed > 0)
        weft_private_key_remove_if_empty(p->server, p->db, &words[1]);
    weft_private_reply_integer(p, removed);
}

void weft_private_command_hlen(weft_private_peer *p, const weft_private_word *words, int)
{
    const weft_private_table *t = table_at(p, &words[1]);
    if (t != nullptr)
        weft_private_reply_integer(p, (int64_t)t->count);
}

void weft_private_command_hexists(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_table *t = table_at(p, &words[1]);
    if (t != nullptr)
        weft_private_reply_integer(p, field_of(t, &words[2]) != nullptr);
}

typedef struct listing {
    weft_private_peer *peer;
    bool keys, values;
} listing;

static void reply_entry(weft_private_entry *e, void *arg)
{
    const listing *l = (const listing *)arg;
    if (l->keys)
        weft_private_reply_string(l->peer, weft_private_entry_key(e), e->key_size);
    if (l->values)
        weft_private_reply_string(l->peer, weft_private_entry_text(e), e->size);
}

static void reply_all(weft_private_peer *p, const weft_private_table *t, bool keys, bool values)
{
    listing l = {p, keys, values};
    if (keys && values)
        weft_private_reply_map(p, t->count);
    else
        weft_private_reply_array(p, t->count);
    weft_private_table_each(t, reply_entry, &l);
}

void weft_private_command_hgetall(weft_private_peer *p, const weft_private_word *words, int)
{
    const weft_private_table *t = table_at(p, &words[1]);
    if (t != nullptr)
        reply_all(p, t, true, true);
}

void weft_private_command_hkeys(weft_private_peer *p, const weft_private_word *words, int)
{
    const weft_private_table *t = table_at(p, &words[1]);
    if (t != nullptr)
        reply_all(p, t, true, false);
}

void weft_private_command_hvals(weft_private_peer *p, const weft_private_word *words, int)
{
    const weft_private_table *t = table_at(p, &words[1]);
    if (t != nullptr)
        reply_all(p, t, false, true);
}

void weft_private_command_hincrby(weft_private_peer *p, const weft_private_word *words, int)
{
    int64_t by, number = 0;
    char text[24];
    if (!weft_private_integer(p, &words[3], &by))
        return;
    weft_private_table *t = table_at(p, &words[1]);
    if (t == nullptr)
        return;
    weft_private_entry **link = field_of(t, &words[2]);
    if (link != nullptr &&
        !weft_private_number(weft_private_entry_text(*link), (*link)->size, &number)) {
        weft_private_reply_error(p, "ERR hash value is not an integer");
        return;
    }
    if (__builtin_add_overflow(number, by, &number)) {
        weft_private_reply_error(p, "ERR increment or decrement would overflow");
        return;
    }
    const weft_private_entry *e = weft_private_key_make(p, &words[1], WEFT_HASH);
    set_field(weft_private_entry_hash(e), &words[2], text,
              (size_t)snprintf(text, sizeof text, "%lld", (long long)number));
    weft_private_reply_integer(p, number);
}
