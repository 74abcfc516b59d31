// table.h: a hash table of entries that carry their key and value, in one piece of memory each.
//
// An entry is reached by the link that points at it, so that it can be replaced by a larger one in
// place.  Growing and shrinking go along with the calls, a few buckets each, so that none takes
// long: while that lasts there are two sets of buckets.
//
// A scan's cursor counts through the buckets with the bits reversed (the way of Redis, by
// P. Noordhuis): what is there from its beginning to its end is seen at least once, however
// often the table grows or shrinks meanwhile.
#ifndef WEFT_MANAGER_TABLE_H
#define WEFT_MANAGER_TABLE_H

#include <stddef.h>
#include <stdint.h>

namespace weft {

enum { TYPE_STRING, TYPE_LIST, TYPE_HASH, TYPE_SET, TYPE_PLACE };

// Behind it follow, unaligned: the expiry (a pointer) if it expires, the object (a pointer) if it
// is no string, the key, the string.
struct entry {
    struct entry *next;
    uint32_t hash;
    uint32_t key_size : 29, type : 3;
    // `size` of the string.  `general`: whatever is in it now, for OBJECT ENCODING it is a string
    // that was changed in part, or a set that had to be made a hash table.
    uint32_t size : 30, general : 1, expires : 1;
};

enum { KEY_MAX = (1 << 29) - 1 };

struct table {
    entry **buckets[2]; // [1]: what it moves to
    size_t mask[2];
    size_t count;  // entries
    size_t moving; // the next bucket to be moved
    bool mapped[2];
};

// Different in each process: who chooses keys can't choose collisions.
void hash_seed(uint64_t seed);
uint32_t hash_of(const void *key, size_t n);

// Where the entry of that key hangs.  nullptr: there is none.
entry **table_find(table *t, const void *key, size_t n, uint32_t hash);

// Adds an entry whose key is not there.
void table_add(table *t, entry *e);

// Takes out the entry that hangs at `link`; it is the caller's then.
entry *table_remove(table *t, entry **link);

// One at random, each as likely as any other: where it hangs.  The table is not empty.
entry **table_random(table *t);

// So many different ones, no more than there are; the memory is the caller's.
entry **table_sample(table *t, size_t count);

// Calls fn for each entry of some buckets; the next cursor, 0 at the end.  fn changes nothing.
uint64_t table_scan(table *t, uint64_t cursor, void (*fn)(entry *e, void *arg), void *arg);

// Calls fn for each entry; fn changes nothing.
void table_each(const table *t, void (*fn)(entry *e, void *arg), void *arg);

// Calls drop for each entry, and is empty.
void table_clear(table *t, void (*drop)(entry *e));

// Some of that, for a table that nobody looks at any more: with about `n` entries or buckets.
// Whether there is more.
bool table_drop_some(table *t, size_t n, void (*drop)(entry *e));

} // namespace weft

#endif
