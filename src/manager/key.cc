// key.cc: the databases: finding, making, replacing and removing keys, and their expiry.
//
// A key that expires is removed by its alarm; since that may come half a millisecond late, each
// look at a key compares the time as well.
#include "place.h"
#include "server.h"

#include <time.h>

typedef struct expiry {
    weft_private_entry *entry; // first: entry.h
    weft_alarm alarm;
    int64_t at_ms;
    int db;
} expiry;

int64_t weft_private_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// ---- Find ----

static weft_private_entry **find(weft_private_server *s, int db, const char *key, size_t n,
                                 uint32_t hash)
{
    weft_private_entry **link = weft_private_table_find(&s->keys[db], key, n, hash);
    if (link == nullptr || !(*link)->expires ||
        weft_private_key_expires(*link) > weft_private_wall_ms())
        return link;
    weft_private_key_remove(s, db, link);
    s->expired++;
    return nullptr;
}

weft_private_entry **weft_private_key_find(weft_private_server *s, int db,
                                           const weft_private_word *key)
{
    return find(s, db, key->text, key->size, weft_private_hash(key->text, key->size));
}

bool weft_private_key_typed(weft_private_peer *p, const weft_private_word *key, int type,
                            weft_private_entry ***link)
{
    *link = weft_private_key_find(p->server, p->db, key);
    if (*link == nullptr || (int)(**link)->type == type)
        return true;
    weft_private_reply_wrong_type(p);
    return false;
}

// ---- Make, set, remove ----

static weft_private_entry *add(weft_private_server *s, int db, int type,
                               const weft_private_word *key, uint32_t hash, size_t size)
{
    weft_private_entry *e = weft_private_entry_new(type, key->text, key->size, hash, size);
    weft_private_table_add(&s->keys[db], e);
    return e;
}

weft_private_entry *weft_private_key_make(weft_private_peer *p, const weft_private_word *key,
                                          int type)
{
    weft_private_entry **link;
    if (!weft_private_key_typed(p, key, type, &link))
        return nullptr;
    return link != nullptr
               ? *link
               : add(p->server, p->db, type, key, weft_private_hash(key->text, key->size), 0);
}

// Puts a string where another type is; its expiry goes along.
static void replace(weft_private_server *s, int db, weft_private_entry **link, size_t n)
{
    weft_private_entry *old = *link;
    weft_private_entry *fresh = weft_private_entry_new(WEFT_STRING, weft_private_entry_key(old),
                                                       old->key_size, old->hash, n);
    fresh->next = old->next;
    *link = fresh;
    if (old->expires)
        weft_private_entry_set_expiry(link, weft_private_entry_expiry(old));
    bool list = old->type == WEFT_LIST;
    weft_private_entry_drop(old);
    if (list)
        weft_private_list_changed(s, db, weft_private_entry_key(*link), (*link)->key_size);
}

void weft_private_key_set(weft_private_server *s, int db, const weft_private_word *key,
                          const char *text, size_t n, bool keep)
{
    uint32_t hash = weft_private_hash(key->text, key->size);
    weft_private_entry **link = find(s, db, key->text, key->size, hash);
    if (link == nullptr) {
        weft_private_entry *e = add(s, db, WEFT_STRING, key, hash, n);
        memcpy(weft_private_entry_text(e), text, n);
        return;
    }
    if ((*link)->expires && !keep)
        weft_private_key_persist(s, db, link);
    if ((*link)->type == WEFT_STRING)
        weft_private_entry_resize(link, n, false);
    else
        replace(s, db, link, n);
    memcpy(weft_private_entry_text(*link), text, n);
}

static void drop_expiry(weft_private_server *s, int db, weft_private_entry *e)
{
    expiry *x = (expiry *)weft_private_entry_expiry(e);
    if (x == nullptr)
        return;
    if (x->alarm.loop != nullptr)
        weft_alarm_stop(&x->alarm);
    s->expiring[db]--;
    weft_private_give(x);
}

void weft_private_key_remove(weft_private_server *s, int db, weft_private_entry **link)
{
    weft_private_entry *e = weft_private_table_remove(&s->keys[db], link);
    if (e->type == WEFT_LIST)
        weft_private_list_changed(s, db, weft_private_entry_key(e), e->key_size);
    drop_expiry(s, db, e);
    weft_private_entry_drop(e);
}

void weft_private_key_remove_if_empty(weft_private_server *s, int db, const weft_private_word *key)
{
    weft_private_entry **link = weft_private_key_find(s, db, key);
    if (link != nullptr &&
        ((*link)->type == WEFT_LIST
             ? weft_private_entry_list(*link)->count == 0
             : (*link)->type == WEFT_HASH && weft_private_entry_hash(*link)->count == 0))
        weft_private_key_remove(s, db, link);
}

static weft_private_server *flushing;
static int flushing_db;

static void drop(weft_private_entry *e)
{
    if (e->type == WEFT_LIST)
        weft_private_list_changed(flushing, flushing_db, weft_private_entry_key(e), e->key_size);
    drop_expiry(flushing, flushing_db, e);
    weft_private_entry_drop(e);
}

void weft_private_key_flush(weft_private_server *s, int db)
{
    flushing = s;
    flushing_db = db;
    weft_private_table_clear(&s->keys[db], drop);
}

// ---- Expiry ----

int64_t weft_private_key_expires(const weft_private_entry *e)
{
    const expiry *x = (const expiry *)weft_private_entry_expiry(e);
    return x != nullptr ? x->at_ms : -1;
}

static weft_deadline in_ms(int64_t ms)
{
    return ms < 0 ? WEFT_NOW : weft_in_ms(ms);
}

static void on_expiry(weft_alarm *a)
{
    expiry *x = (expiry *)a->arg;
    const weft_private_entry *e = x->entry;
    int64_t left = x->at_ms - weft_private_wall_ms();
    if (left > 0) // the wall clock was set back
        weft_loop_timer(weft_private_here->loop, a, in_ms(left), 0, on_expiry, x);
    else // looking at it removes it
        find(weft_private_here, x->db, weft_private_entry_key(e), e->key_size, e->hash);
    if (weft_private_here->ready != nullptr)
        weft_private_places_serve(weft_private_here);
}

void weft_private_key_expire_at(weft_private_server *s, int db, weft_private_entry **link,
                                int64_t at_ms)
{
    expiry *x = (expiry *)weft_private_entry_expiry(*link);
    if (x == nullptr) {
        x = (expiry *)weft_private_take_zeroed(1, sizeof *x);
        weft_private_entry_set_expiry(link, x);
        s->expiring[db]++;
    }
    int64_t left;
    if (__builtin_sub_overflow(at_ms, weft_private_wall_ms(), &left))
        left = at_ms < 0 ? 0 : INT64_MAX;
    x->at_ms = at_ms;
    x->db = db;
    weft_loop_timer(s->loop, &x->alarm, in_ms(left), 0, on_expiry, x);
}

void weft_private_key_persist(weft_private_server *s, int db, weft_private_entry **link)
{
    drop_expiry(s, db, *link);
    weft_private_entry_set_expiry(link, nullptr);
}
