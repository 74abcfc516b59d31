// entry.h: what an entry of a table holds: its key, and a string, a list, a hash, a set or a place.
#ifndef WEFT_MANAGER_ENTRY_H
#define WEFT_MANAGER_ENTRY_H

#include "table.h"

#include <string.h>

namespace weft {

// A list: items in a ring that grows, so that both ends and any index are at hand.  A large ring is
// in pieces, of which only those with items are there: it grows by one of them at a time, and they
// change hands when much is cut off.
struct list_item {
    uint32_t size;
    char text[4]; // and on
};

enum { LIST_PIECE = 512 }; // items

struct item_list {
    union {
        list_item **ring;    // with room for LIST_PIECE at most
        list_item ***pieces; // else
    };
    size_t room, head, count; // room: a power of two
    uint64_t id;              // above 0; no other list has had it
};

// ---- Entries ----

enum { ENTRY_HEAD = offsetof(entry, hash) + 3 * sizeof(uint32_t) };

static inline char *entry_rest(const entry *e)
{
    return (char *)e + ENTRY_HEAD;
}

static inline size_t entry_before_key(const entry *e)
{
    return (e->expires ? sizeof(void *) : 0) + (e->type != TYPE_STRING ? sizeof(void *) : 0);
}

static inline const char *entry_key(const entry *e)
{
    return entry_rest(e) + entry_before_key(e);
}

// The string; it is changed in place by who knows that it has the room.
static inline char *entry_text(entry *e)
{
    return entry_rest(e) + entry_before_key(e) + e->key_size;
}

static inline void *entry_object(const entry *e)
{
    void *object;
    memcpy(&object, entry_rest(e) + (e->expires ? sizeof object : 0), sizeof object);
    return object;
}

static inline item_list *entry_list(const entry *e)
{
    return (item_list *)entry_object(e);
}

// The fields of a hash, or the members of a set: those are entries whose strings are empty.
static inline table *entry_hash(const entry *e)
{
    return (table *)entry_object(e);
}

static inline bool entry_has_table(const entry *e)
{
    return e->type == TYPE_HASH || e->type == TYPE_SET;
}

// A list, a hash or a set with nothing in it.
static inline bool entry_is_empty(const entry *e)
{
    return e->type == TYPE_LIST ? entry_list(e)->count == 0
                                : entry_has_table(e) && entry_hash(e)->count == 0;
}

static inline void *entry_expiry(const entry *e)
{
    void *expiry = nullptr;
    if (e->expires)
        memcpy(&expiry, entry_rest(e), sizeof expiry);
    return expiry;
}

// An entry that hangs nowhere.  A list, a hash and a set get an empty object; a string `size`
// bytes, not yet written; a place nothing.
entry *entry_new(int type, const void *key, size_t key_size, uint32_t hash, size_t size);
void entry_set_object(entry *e, void *object);

// Gives the string at `link` room for `size` bytes, what fits of it kept.  `growing`: more will
// be added.
entry *entry_resize(entry **link, size_t size, bool growing);

// Puts the pointer to its expiry in, or (nullptr) takes it out.  An expiry begins with a pointer to
// its entry, which is kept true here.
entry *entry_set_expiry(entry **link, void *expiry);

// Releases it, its expiry and its object; not a place.  In a server much is only set aside, and
// released in pieces by the background (drop.cc).
void entry_drop(entry *e);

// Releases an expiry, which no entry has any more (expiry.cc).
void expiry_drop(void *expiry);

// The same under another key, which does not expire: `e` itself, which does not either, and is
// gone; or a copy of all that it holds.
entry *entry_renamed(entry *e, const void *key, size_t key_size, uint32_t hash);
entry *entry_copy(entry *e, const void *key, size_t key_size, uint32_t hash);

// ---- Lists ----

list_item *item_new(const void *text, size_t n);

static inline list_item **list_item_at(const item_list *l, size_t i)
{
    size_t at = (l->head + i) & (l->room - 1);
    return l->room <= LIST_PIECE ? &l->ring[at] : &l->pieces[at / LIST_PIECE][at % LIST_PIECE];
}

// Puts an item, which is the list's then, at the front or the back; takes one, the caller's.
void list_push(item_list *l, list_item *item, bool front);
list_item *list_pop(item_list *l, bool front);

// Moves so many from that end to a list with nothing in it, in no time to speak of.
void list_cut(item_list *l, size_t n, bool front, item_list *to);

// Puts one in before the one at the index `i`, or at the end: as long as from there to the nearer
// end.
void list_insert(item_list *l, size_t i, list_item *item);

// Closes the gaps that nullptr left.
void list_compact(item_list *l);

} // namespace weft

#endif
