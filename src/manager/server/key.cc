// key.cc: the databases: finding, making, replacing and removing keys, and their expiry.
//
// A key that expires is removed by the background, in its turn (expiry.cc); so each look at a key
// compares the time as well.
#include "multi.h"
#include "place.h"
#include "server.h"

using namespace weft;

// ---- Find ----

static entry **find(server *s, int db, const char *key, size_t n, uint32_t hash)
{
    entry **link = table_find(&s->keys[db], key, n, hash);
    if (link == nullptr || !(*link)->expires || key_expires(*link) > wall_ms())
        return link;
    key_remove(s, db, link);
    s->expired++;
    return nullptr;
}

entry **weft::key_find(server *s, int db, const word *key)
{
    return find(s, db, key->text, key->size, hash_of(key->text, key->size));
}

bool weft::key_typed(peer *p, const word *key, int type, entry ***link)
{
    *link = key_find(p->server, p->db, key);
    if (*link == nullptr || (int)(**link)->type == type)
        return true;
    reply_wrong_type(p);
    return false;
}

// ---- Make, set, remove ----

entry *weft::key_add(server *s, int db, int type, const word *key, uint32_t hash, size_t size)
{
    entry *e = entry_new(type, key->text, key->size, hash, size);
    table_add(&s->keys[db], e);
    if (type == TYPE_LIST)
        list_added(s, db, key->text, key->size);
    return e;
}

entry *weft::key_make(peer *p, const word *key, int type)
{
    entry **link;
    if (!key_typed(p, key, type, &link))
        return nullptr;
    return link != nullptr ? *link
                           : key_add(p->server, p->db, type, key, hash_of(key->text, key->size), 0);
}

table *weft::key_table(peer *p, const word *key, int type)
{
    static table none;
    entry **link;
    if (!key_typed(p, key, type, &link))
        return nullptr;
    return link != nullptr ? entry_hash(*link) : &none;
}

// Puts a string where another type is; its expiry goes along.
static void replace(entry **link, size_t n)
{
    entry *old = *link;
    entry *fresh = entry_new(TYPE_STRING, entry_key(old), old->key_size, old->hash, n);
    fresh->next = old->next;
    *link = fresh;
    if (old->expires) {
        entry_set_expiry(link, entry_expiry(old));
        entry_set_expiry(&old, nullptr);
    }
    entry_drop(old);
}

void weft::key_set(server *s, int db, const word *key, const char *text, size_t n, bool keep)
{
    uint32_t hash = hash_of(key->text, key->size);
    entry **link = find(s, db, key->text, key->size, hash);
    if (link == nullptr) {
        entry *e = key_add(s, db, TYPE_STRING, key, hash, n);
        memcpy(entry_text(e), text, n);
        key_changed(s, db, key->text, key->size);
        return;
    }
    if ((*link)->expires && !keep)
        key_persist(s, db, link);
    if ((*link)->type == TYPE_STRING)
        entry_resize(link, n, false);
    else
        replace(link, n);
    memcpy(entry_text(*link), text, n);
    key_changed(s, db, key->text, key->size);
}

void weft::key_remove(server *s, int db, entry **link)
{
    entry *e = table_remove(&s->keys[db], link);
    key_changed(s, db, entry_key(e), e->key_size);
    s->expiring[db] -= e->expires;
    entry_drop(e);
}

void weft::key_remove_if_empty(server *s, int db, const word *key)
{
    entry **link = key_find(s, db, key);
    if (link != nullptr && entry_is_empty(*link))
        key_remove(s, db, link);
}

// Its keys are one entry from now on, which is dropped as a large hash is.
void weft::key_flush(server *s, int db)
{
    watch_touch_all(s, db);
    entry *all = entry_new(TYPE_HASH, "", 0, 0, 0);
    *entry_hash(all) = s->keys[db];
    s->keys[db] = {};
    s->expiring[db] = 0;
    entry_drop(all);
}

void weft::keys_swap(server *s, int a, int b)
{
    watch_touch_both(s, a, b);
    table keys = s->keys[a];
    s->keys[a] = s->keys[b];
    s->keys[b] = keys;
    expiries_swap(s, a, b);
    places_swapped(s, a, b);
}
