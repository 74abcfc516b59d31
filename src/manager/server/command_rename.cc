// command_rename.cc: keys under other names and in other databases: RENAME RENAMENX COPY MOVE
// SWAPDB, as Redis has them.
//
// The target is looked for, and removed, before the source is at hand: each look at a table may
// move what hangs in it.  The source has not expired when it is found first, and stays then.
#include "commands.h"
#include "place.h"

using namespace weft;

static bool is_there(peer *p, int db, const word *key)
{
    return key_find(p->server, db, key) != nullptr;
}

static void remove_if_there(peer *p, int db, const word *key)
{
    entry **link = key_find(p->server, db, key);
    if (link != nullptr)
        key_remove(p->server, db, link);
}

// Hangs an entry up under its key; `at`: when it expires, -1: never.
static void put(server *s, int db, entry *e, int64_t at)
{
    table_add(&s->keys[db], e);
    if (e->type == TYPE_LIST)
        list_added(s, db, entry_key(e), e->key_size);
    key_changed(s, db, entry_key(e), e->key_size);
    if (at >= 0)
        key_expire_at(s, db, table_find(&s->keys[db], entry_key(e), e->key_size, e->hash), at);
}

static void move_key(peer *p, const word *from, int db, const word *to)
{
    server *s = p->server;
    entry **link = table_find_word(&s->keys[p->db], from);
    int64_t at = key_expires(*link);
    if (at >= 0)
        key_persist(s, p->db, link);
    entry *e = table_remove(&s->keys[p->db], link);
    key_changed(s, p->db, from->text, from->size);
    put(s, db, entry_renamed(e, to->text, to->size, hash_of(to->text, to->size)), at);
}

static bool is_same(const word *a, const word *b)
{
    return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

void weft::command_rename(peer *p, const word *words, int)
{
    if (!is_there(p, p->db, &words[1])) {
        reply_error(p, "ERR no such key");
        return;
    }
    if (!is_same(&words[1], &words[2])) {
        remove_if_there(p, p->db, &words[2]);
        move_key(p, &words[1], p->db, &words[2]);
    }
    reply_ok(p);
}

void weft::command_renamenx(peer *p, const word *words, int)
{
    if (!is_there(p, p->db, &words[1])) {
        reply_error(p, "ERR no such key");
        return;
    }
    bool free = !is_same(&words[1], &words[2]) && !is_there(p, p->db, &words[2]);
    if (free)
        move_key(p, &words[1], p->db, &words[2]);
    reply_integer(p, free);
}

// ---- Other databases ----

static bool parse_database(peer *p, const word *w, int *db)
{
    int64_t number;
    if (!parse_integer(p, w, &number))
        return false;
    if (number < INT32_MIN || number > INT32_MAX) {
        reply_error(p, "ERR value is out of range, value must between %d and %d", INT32_MIN,
                    INT32_MAX);
        return false;
    }
    *db = (int)number;
    if (number >= 0 && number < DATABASES)
        return true;
    reply_error(p, "ERR DB index is out of range");
    return false;
}

static bool are_same(peer *p, const word *from, int db, const word *to)
{
    bool same = db == p->db && is_same(from, to);
    if (same)
        reply_error(p, "ERR source and destination objects are the same");
    return same;
}

void weft::command_move(peer *p, const word *words, int)
{
    int db;
    if (!parse_database(p, &words[2], &db) || are_same(p, &words[1], db, &words[1]))
        return;
    bool free = is_there(p, p->db, &words[1]) && !is_there(p, db, &words[1]);
    if (free)
        move_key(p, &words[1], db, &words[1]);
    reply_integer(p, free);
}

// COPY source destination [DB db] [REPLACE]
void weft::command_copy(peer *p, const word *words, int n)
{
    server *s = p->server;
    const word *from = &words[1], *to = &words[2];
    bool replace = false;
    int db = p->db;
    for (int i = 3; i < n; i++) {
        if (word_is(&words[i], "replace")) {
            replace = true;
        } else if (word_is(&words[i], "db") && i + 1 < n) {
            if (!parse_database(p, &words[++i], &db))
                return;
        } else {
            reply_syntax(p);
            return;
        }
    }
    if (are_same(p, from, db, to))
        return;
    if (!is_there(p, p->db, from) || (!replace && is_there(p, db, to))) {
        reply_integer(p, 0);
        return;
    }
    remove_if_there(p, db, to);
    entry *e = *table_find_word(&s->keys[p->db], from);
    put(s, db, entry_copy(e, to->text, to->size, hash_of(to->text, to->size)), key_expires(e));
    reply_integer(p, 1);
}

void weft::command_swapdb(peer *p, const word *words, int)
{
    int64_t db[2];
    for (int i = 0; i < 2; i++)
        if (!parse_number(words[1 + i].text, words[1 + i].size, &db[i]) || db[i] < INT32_MIN ||
            db[i] > INT32_MAX) {
            reply_error(p, "ERR invalid %s DB index", i == 0 ? "first" : "second");
            return;
        }
    if (db[0] < 0 || db[0] >= DATABASES || db[1] < 0 || db[1] >= DATABASES) {
        reply_error(p, "ERR DB index is out of range");
        return;
    }
    if (db[0] != db[1])
        keys_swap(p->server, (int)db[0], (int)db[1]);
    reply_ok(p);
}
