// entry.h: what an entry of a table holds: its key, and a string, a list, a hash or a place.
#ifndef WEFT_MANAGER_ENTRY_H
#define WEFT_MANAGER_ENTRY_H

#include "table.h"

#include <string.h>

// A list: items in a ring that grows, so that both ends and any index are at hand.
typedef struct weft_private_item {
    uint32_t size;
    char text[4]; // and on
} weft_private_item;

typedef struct weft_private_list {
    weft_private_item **ring;
    size_t room, head, count; // room: a power of two
} weft_private_list;

// ---- Entries ----

enum { WEFT_ENTRY_HEAD = offsetof(weft_private_entry, size) + sizeof(uint32_t) };

static inline char *weft_private_entry_rest(const weft_private_entry *e)
{
    return (char *)e + WEFT_ENTRY_HEAD;
}

static inline size_t weft_private_entry_before_key(const weft_private_entry *e)
{
    return (e->expires ? sizeof(void *) : 0) + (e->type != WEFT_STRING ? sizeof(void *) : 0);
}

static inline const char *weft_private_entry_key(const weft_private_entry *e)
{
    return weft_private_entry_rest(e) + weft_private_entry_before_key(e);
}

// The string; it is changed in place by who knows that it has the room.
static inline char *weft_private_entry_text(weft_private_entry *e)
{
    return weft_private_entry_rest(e) + weft_private_entry_before_key(e) + e->key_size;
}

static inline void *weft_private_entry_object(const weft_private_entry *e)
{
    void *object;
    memcpy(&object, weft_private_entry_rest(e) + (e->expires ? sizeof object : 0), sizeof object);
    return object;
}

static inline weft_private_list *weft_private_entry_list(const weft_private_entry *e)
{
    return (weft_private_list *)weft_private_entry_object(e);
}

static inline weft_private_table *weft_private_entry_hash(const weft_private_entry *e)
{
    return (weft_private_table *)weft_private_entry_object(e);
}

static inline void *weft_private_entry_expiry(const weft_private_entry *e)
{
    void *expiry = nullptr;
    if (e->expires)
        memcpy(&expiry, weft_private_entry_rest(e), sizeof expiry);
    return expiry;
}

// An entry that hangs nowhere.  A list and a hash get an empty object; a string `size` bytes, not
// yet written; a place nothing.
weft_private_entry *weft_private_entry_new(int type, const void *key, size_t key_size,
                                           uint32_t hash, size_t size);
void weft_private_entry_set_object(weft_private_entry *e, void *object);

// Gives the string at `link` room for `size` bytes, what fits of it kept.  `growing`: more will
// be added.
weft_private_entry *weft_private_entry_resize(weft_private_entry **link, size_t size, bool growing);

// Puts the pointer to its expiry in, or (nullptr) takes it out.  An expiry begins with a pointer to
// its entry, which is kept true here.
weft_private_entry *weft_private_entry_set_expiry(weft_private_entry **link, void *expiry);

// Releases it and its object; not its expiry, nor a place.
void weft_private_entry_drop(weft_private_entry *e);

// ---- Lists ----

weft_private_item *weft_private_item_new(const void *text, size_t n);

static inline weft_private_item **weft_private_list_at(const weft_private_list *l, size_t i)
{
    return &l->ring[(l->head + i) & (l->room - 1)];
}

// Puts an item, which is the list's then, at the front or the back; takes one, the caller's.
void weft_private_list_push(weft_private_list *l, weft_private_item *item, bool front);
weft_private_item *weft_private_list_pop(weft_private_list *l, bool front);

// Closes the gaps that nullptr left.
void weft_private_list_compact(weft_private_list *l);

#endif
