// drop.cc: what is no longer reached is released, much of it in pieces.
//
// An entry that holds many things is set aside when it is dropped, and the background empties what
// is there: nobody sees a difference but in how much memory is used, which counts it until it is
// free.  All keys of a database are set aside as one such entry, and so is any large piece of
// memory, whose pages are given back to the system a few at a time.  What else is freed in one
// round, if it is very much, waits here as well, but is not counted.
#include "server.h"

using namespace weft;

struct weft::freed {
    freed *next;
};

enum { MANY = 32, PIECES = 32 };            // more are set aside; things or buckets in a step
enum { LARGE = 1 << 20, A_STEP = 1 << 18 }; // bytes: the same

static size_t room_of(const entry *e)
{
    return malloc_usable_size((void *)e);
}

static bool has_many(const entry *e)
{
    if (e->type == TYPE_STRING)
        return room_of(e) > LARGE;
    return e->type == TYPE_LIST ? entry_list(e)->count > MANY
                                : entry_has_table(e) && entry_hash(e)->count > MANY;
}

// Drops so many of the items, the last first.  Whether there are more.
static bool drop_items(item_list *l, size_t n)
{
    for (; n > 0 && l->count > 0; n--)
        memory_give(list_pop(l, false));
    return l->count > 0;
}

// Its text is not looked at any more: `size` says how many such steps there are.  The first has the
// entry itself.
static bool drop_pages(entry *e)
{
    if (e->size > 1)
        memory_empty(e, --e->size * (size_t)A_STEP, A_STEP);
    return e->size > 1;
}

static bool drop_held(entry *e, size_t n)
{
    if (e->type == TYPE_STRING)
        return n != SIZE_MAX && drop_pages(e);
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
    for (int n = 0; n < PIECES && s->later != nullptr; n++) {
        freed *f = s->later;
        s->later = f->next;
        free(f);
    }
    entry *e = s->aside;
    if (e != nullptr) {
        s->aside = e->next; // what it holds may be set aside, too
        if (drop_held(e, PIECES))
            set_aside(s, e);
        else if (e->type == TYPE_STRING && e->general)
            free(e);
        else
            drop_empty(e);
    }
    return s->dropping = s->aside != nullptr || s->later != nullptr;
}

static void drop_later(server *s)
{
    if (!s->dropping)
        background(s, drop_aside, nullptr);
    s->dropping = true;
}

// A large piece of memory, which begins like an entry of a string now; `general`: is not counted.
static void drop_piece(server *s, entry *e, bool general)
{
    e->type = TYPE_STRING;
    e->expires = 0;
    e->general = general;
    e->size = (uint32_t)(room_of(e) / A_STEP) & KEY_MAX;
    set_aside(s, e);
    drop_later(s);
}

void weft::entry_drop(entry *e)
{
    server *s = this_server;
    if (s == nullptr || !has_many(e)) {
        drop_held(e, SIZE_MAX);
        drop_empty(e);
    } else if (e->type == TYPE_STRING) {
        if (e->expires)
            expiry_drop(entry_expiry(e));
        drop_piece(s, e, false);
    } else {
        set_aside(s, e);
        drop_later(s);
    }
}

void weft::memory_drop(void *p)
{
    if (this_server == nullptr || p == nullptr || malloc_usable_size(p) <= LARGE) {
        memory_give(p);
        return;
    }
    uncount(p);
    drop_piece(this_server, (entry *)p, true);
}

void weft::memory_give_later(void *p)
{
    server *s = this_server;
    freed *f = (freed *)p;
    uncount(p);
    if (s == nullptr) { // nobody would come back to it
        free(p);
        return;
    }
    f->next = s->later;
    s->later = f;
    drop_later(s);
}

bool weft::drop_until(server *s, size_t bytes)
{
    size_t left = gives_left;
    gives_left = SIZE_MAX;
    while (bytes_in_use > bytes && s->aside != nullptr)
        drop_aside(s, nullptr);
    gives_left = left;
    return bytes_in_use <= bytes;
}
