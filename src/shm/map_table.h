// map_table.h: what a shared map is in memory, and how a key is found; shared_map.cc says how it
// works.
#ifndef WEFT_SHM_MAP_TABLE_H
#define WEFT_SHM_MAP_TABLE_H

#include <weft/shared_map.h>

#include <string.h>

namespace weft {

// A slot: cell + 1 in the low 24 bits, 8 bits of the hash, the change's number.  Without a cell it
// is UNUSED, or a hole, whose TAG is all ones.
static const uint64_t UNUSED = 0, CELL = ((uint64_t)1 << 24) - 1, TAG = (uint64_t)0xff << 24;
static const size_t MOST_ENTRIES = CELL - 2, MOST_BYTES = (size_t)1 << 30;

struct map_cell {
    uint64_t hash;
    uint64_t sizes; // the key's in the low half, the value's above
    // then the key's words and the value's
};

} // namespace weft

using namespace weft;

struct weft_shared_map { // NOLINT(clang-analyzer-optin.performance.Padding): a line for writers
    // Never changes.
    uint64_t seed;
    uint32_t entries, cells, mask; // one cell more than entries: a set in a full map needs it
    uint32_t key_size, value_size, key_words, cell_words;
    alignas(64) uint32_t lock; // guards all but what readers see
    uint32_t free_count;
    uint32_t changes;
    uint32_t count;
    alignas(64) uint64_t moves;
    // then the slots, the cells, and the numbers of the free ones
};

namespace weft {

// ---- where things are ----

static inline size_t words_for(size_t bytes)
{
    return (bytes + 7) / 8;
}

static inline uint64_t *slots_of(const weft_shared_map *m)
{
    return (uint64_t *)(uintptr_t)(m + 1);
}

static inline map_cell *cell_at(const weft_shared_map *m, uint32_t i)
{
    return (map_cell *)(void *)(slots_of(m) + m->mask + 1 + (size_t)i * m->cell_words);
}

static inline uint64_t slot(const weft_shared_map *m, uint64_t i)
{
    return __atomic_load_n(&slots_of(m)[i & m->mask], __ATOMIC_ACQUIRE);
}

static inline uint64_t *key_of(const map_cell *c)
{
    return (uint64_t *)(uintptr_t)(c + 1);
}

static inline uint64_t *value_of(const weft_shared_map *m, const map_cell *c)
{
    return key_of(c) + m->key_words;
}

static inline bool has_cell(uint64_t word)
{
    return (word & CELL) != 0;
}

static inline map_cell *cell_of(const weft_shared_map *m, uint64_t word)
{
    return cell_at(m, (uint32_t)(word & CELL) - 1);
}

// ---- cells, which a reader may see while they are written anew ----

// Acquire: a look at the slot comes after.
static inline uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

// The next 8 bytes, or as many as there are, and zeros.
static inline uint64_t word_of(const char *bytes, size_t n)
{
    uint64_t word = 0;
    if (n >= 8)
        memcpy(&word, bytes, 8);
    else if (n != 0)
        memcpy(&word, bytes, n);
    return word;
}

static inline bool is_key(const map_cell *c, const void *key, size_t n)
{
    const char *bytes = (const char *)key;
    const uint64_t *word = key_of(c);
    for (size_t i = 0; i < n; i += 8)
        if (load(word++) != word_of(bytes + i, n - i))
            return false;
    return (uint32_t)load(&c->sizes) == n;
}

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

// As wyhash does it.
static inline uint64_t hash_of(const weft_shared_map *m, const void *key, size_t n)
{
    const char *bytes = (const char *)key;
    uint64_t h = m->seed ^ n;
    for (size_t i = 0; i < n; i += 8)
        h = mix(h ^ word_of(bytes + i, n - i), 0xa0761d6478bd642f);
    return mix(h ^ 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3);
}

static inline uint64_t tag_of(uint64_t hash)
{
    return hash >> 32 & TAG;
}

// ---- searching ----

// The entry's slot; -1: there is none.  *word is what the slot held when its key was the key.
static inline int64_t search(const weft_shared_map *m, const void *key, size_t n, uint64_t hash,
                             uint64_t *word)
{
    for (;;) {
        uint64_t moves = load(&m->moves), home = hash & m->mask;
        for (uint64_t i = 0; i <= m->mask; i++) {
            *word = slot(m, home + i);
            if (*word == UNUSED)
                break;
            if (!has_cell(*word) || (*word & TAG) != tag_of(hash))
                continue;
            if (is_key(cell_of(m, *word), key, n))
                return (int64_t)((home + i) & m->mask);
            if (slot(m, home + i) != *word)
                i--; // what was compared may have been something else
        }
        if (load(&m->moves) == moves)
            return -1;
    }
}

} // namespace weft

#endif
