// key.cc: the databases: finding, making, replacing and removing keys, and their expiry.
//
// A key that expires is removed by its alarm; since that may come half a millisecond late, each
// look at a key compares the time as well.
#include "place.h"
#include "server.h"

#include <time.h>

using namespace weft;

namespace {
struct expiry {
    struct entry *entry; // first: entry.h
    weft_alarm alarm;
    int64_t at_ms;
    int db;
};
} // namespace

int64_t weft::wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

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

static entry *add(server *s, int db, int type, const word *key, uint32_t hash, size_t size)
{
    entry *e = entry_new(type, key->text, key->size, hash, size);
    table_add(&s->keys[db], e);
    return e;
}

entry *weft::key_make(peer *p, const word *key, int type)
{
    entry **link;
    if (!key_typed(p, key, type, &link))
        return nullptr;
    return link != nullptr ? *link
                           : add(p->server, p->db, type, key, hash_of(key->text, key->size), 0);
}

// Puts a string where another type is; its expiry goes along.
static void replace(entry **link, size_t n)
{
    entry *old = *link;
    entry *fresh = entry_new(TYPE_STRING, entry_key(old), old->key_size, old->hash, n);
    fresh->next = old->next;
    *link = fresh;
    if (old->expires)
        entry_set_expiry(link, entry_expiry(old));
    entry_drop(old);
}

void weft::key_set(server *s, int db, const word *key, const char *text, size_t n, bool keep)
{
    uint32_t hash = hash_of(key->text, key->size);
    entry **link = find(s, db, key->text, key->size, hash);
    if (link == nullptr) {
        entry *e = add(s, db, TYPE_STRING, key, hash, n);
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

static void drop_expiry(server *s, int db, entry *e)
{
    expiry *x = (expiry *)entry_expiry(e);
    if (x == nullptr)
        return;
    if (x->alarm.loop != nullptr)
        weft_loop_disarm(&x->alarm);
    s->expiring[db]--;
    memory_give(x);
}

void weft::key_remove(server *s, int db, entry **link)
{
    entry *e = table_remove(&s->keys[db], link);
    key_changed(s, db, entry_key(e), e->key_size);
    drop_expiry(s, db, e);
    entry_drop(e);
}

void weft::key_remove_if_empty(server *s, int db, const word *key)
{
    entry **link = key_find(s, db, key);
    if (link != nullptr && entry_is_empty(*link))
        key_remove(s, db, link);
}

static server *flushing;
static int flushing_db;

static void drop(entry *e)
{
    key_changed(flushing, flushing_db, entry_key(e), e->key_size);
    drop_expiry(flushing, flushing_db, e);
    entry_drop(e);
}

void weft::key_flush(server *s, int db)
{
    flushing = s;
    flushing_db = db;
    table_clear(&s->keys[db], drop);
}

// ---- Expiry ----

int64_t weft::key_expires(const entry *e)
{
    const expiry *x = (const expiry *)entry_expiry(e);
    return x != nullptr ? x->at_ms : -1;
}

static weft_deadline in_ms(int64_t ms)
{
    return ms < 0 ? WEFT_NOW : weft_in_ms(ms);
}

static void on_expiry(weft_alarm *a, void *arg)
{
    expiry *x = (expiry *)arg;
    const entry *e = x->entry;
    int64_t left = x->at_ms - wall_ms();
    if (left > 0) // the wall clock was set back
        weft_loop_arm(this_server->loop, a, 0, on_expiry, x, in_ms(left));
    else // looking at it removes it
        find(this_server, x->db, entry_key(e), e->key_size, e->hash);
    if (this_server->ready != nullptr)
        places_serve(this_server);
}

void weft::key_expire_at(server *s, int db, entry **link, int64_t at_ms)
{
    expiry *x = (expiry *)entry_expiry(*link);
    if (x == nullptr) {
        x = (expiry *)memory_take_zeroed(1, sizeof *x);
        entry_set_expiry(link, x);
        s->expiring[db]++;
    }
    int64_t left;
    if (__builtin_sub_overflow(at_ms, wall_ms(), &left))
        left = at_ms < 0 ? 0 : INT64_MAX;
    x->at_ms = at_ms;
    x->db = db;
    weft_loop_arm(s->loop, &x->alarm, 0, on_expiry, x, in_ms(left));
}

void weft::key_persist(server *s, int db, entry **link)
{
    drop_expiry(s, db, *link);
    entry_set_expiry(link, nullptr);
}
