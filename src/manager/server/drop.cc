// drop.cc: what is no longer reached is released, much of it in pieces.
//
// An entry that holds many things is set aside when it is dropped, and the background empties what
// is there: nobody sees a difference but in how much memory is used, which counts it until it is
// free.  All keys of a database are set aside as one such entry.
#include "server.h"

using namespace weft;

enum { MANY = 32, PIECES = 32 }; // more are set aside; things or buckets in a step

static bool has_many(const entry *e)
{
    return e->type == TYPE_LIST ? entry_list(e)->count > MANY
                                : entry_has_table(e) && entry_hash(e)->count > MANY;
}

// Drops so many of the items, the last first.  Whether there are more.
static bool drop_items(item_list *l, size_t n)
{
    for (; n > 0 && l->count > 0; n--)
        memory_give(*list_item_at(l, --l->count));
    return l->count > 0;
}

static bool drop_held(const entry *e, size_t n)
{
    if (e->type == TYPE_LIST)
        return drop_items(entry_list(e), n);
    return entry_has_table(e) && table_drop_some(entry_hash(e), n, entry_drop);
}

static void drop_empty(entry *e)
{
    if (e->type == TYPE_LIST)
        memory_give(entry_list(e)->ring);
    if (e->type == TYPE_LIST || entry_has_table(e))
        memory_give(entry_object(e));
    if (e->expires)
        expiry_drop(entry_expiry(e));
    memory_give(e);
}

static void set_aside(server *s, entry *e)
{
    e->next = s->aside;
    s->aside = e;
}

// One step of it.
static bool drop_aside(server *s, void *)
{
    entry *e = s->aside;
    if (e == nullptr)
        return s->dropping = false;
    s->aside = e->next; // what it holds may be set aside, too
    if (drop_held(e, PIECES))
        set_aside(s, e);
    else
        drop_empty(e);
    return s->dropping = s->aside != nullptr;
}

void weft::entry_drop(entry *e)
{
    server *s = this_server;
    if (s == nullptr || !has_many(e)) {
        drop_held(e, SIZE_MAX);
        drop_empty(e);
        return;
    }
    set_aside(s, e);
    if (!s->dropping)
        background(s, drop_aside, nullptr);
    s->dropping = true;
}

bool weft::drop_until(server *s, size_t bytes)
{
    while (bytes_in_use > bytes && s->aside != nullptr)
        drop_aside(s, nullptr);
    return bytes_in_use <= bytes;
}
