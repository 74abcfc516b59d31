// shared_map.cc: open addressing, in which each change is one store.
//
// An entry lies in a cell, and a slot of the table says which: one word, with some bits of the hash
// and the number of the change that wrote it.  A cell that a slot names is never written: a set
// fills a free cell and then has the slot name it.  So a reader copies what it finds and looks at
// the slot again: if that is still the same, the copy is whole.
//
// The table is searched from a key's home to the first UNUSED slot.  A removed entry first leaves a
// HOLE; then those behind that could stand there move up, each by a store of its word to the hole
// and one that makes its old slot the hole, and the last hole is UNUSED again.  Between the two
// stores it stands twice, and `moves` is counted: a reader that has found nothing looks whether
// that has changed, since it may have looked at both slots at the wrong time.
//
// Writers have a robust lock.  After a death the next one removes what stands twice, closes
// holes, and counts entries and free cells anew.
#include "map_table.h"

#include <base/errno.h>

using namespace weft;

static void read_bytes(void *to, const uint64_t *from, size_t n)
{
    char *bytes = (char *)to;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = load(from++);
        memcpy(bytes + i, &word, n - i < 8 ? n - i : 8);
    }
}

ssize_t weft_shared_map_get(const weft_shared_map *m, const void *key, size_t key_size, void *value,
                            size_t room)
{
    if (m == nullptr)
        return fail_with(EINVAL);
    if (key_size > m->key_size)
        return fail_with(ENOENT);
    uint64_t hash = hash_of(m, key, key_size), word;
    for (;;) {
        int64_t i = search(m, key, key_size, hash, &word);
        if (i < 0)
            return fail_with(ENOENT);
        const map_cell *c = cell_of(m, word);
        size_t size = (size_t)(load(&c->sizes) >> 32);
        if (size <= room && size <= m->value_size)
            read_bytes(value, value_of(m, c), size);
        if (slot(m, (uint64_t)i) != word)
            continue;
        return size <= room ? (ssize_t)size : fail_with(EMSGSIZE);
    }
}

// ---- the whole ----

size_t weft_shared_map_count(const weft_shared_map *m)
{
    return m != nullptr ? __atomic_load_n(&m->count, __ATOMIC_RELAXED) : 0;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

bool weft_shared_map_next(const weft_shared_map *m, uint64_t *cursor, weft_shared_map_entry *e)
{
    if (m == nullptr)
        return false;
    while (*cursor <= m->mask) {
        uint64_t word = slot(m, *cursor);
        if (!has_cell(word)) {
            ++*cursor;
            continue;
        }
        const map_cell *c = cell_of(m, word);
        uint64_t sizes = load(&c->sizes);
        size_t key_size = smaller((uint32_t)sizes, m->key_size);
        size_t value_size = smaller(sizes >> 32, m->value_size);
        read_bytes(e->key, key_of(c), smaller(key_size, e->key_size));
        read_bytes(e->value, value_of(m, c), smaller(value_size, e->value_size));
        if (slot(m, *cursor) != word)
            continue;
        ++*cursor;
        e->key_size = key_size;
        e->value_size = value_size;
        return true;
    }
    return false;
}
