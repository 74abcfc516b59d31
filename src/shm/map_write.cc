// map_write.cc: a shared map's changes.  shared_map.cc says how they are made.
#include "brief_lock.h"
#include "map_table.h"

#include <base/errno.h>

#include <sys/random.h>

using namespace weft;

static size_t slots_for(size_t entries)
{
    size_t n = 8;
    while (n < 2 * entries)
        n *= 2;
    return n;
}

static size_t cell_words(size_t key_size, size_t value_size)
{
    return sizeof(map_cell) / 8 + words_for(key_size) + words_for(value_size);
}

size_t weft_shared_map_bytes(size_t entries, size_t key_size, size_t value_size)
{
    if (entries == 0 || entries > MOST_ENTRIES || key_size > MOST_BYTES || value_size > MOST_BYTES)
        return 0;
    return sizeof(weft_shared_map) + slots_for(entries) * 8 +
           (entries + 1) * (cell_words(key_size, value_size) * 8 + sizeof(uint32_t));
}

static uint32_t *free_cells(weft_shared_map *m)
{
    return (uint32_t *)(void *)cell_at(m, m->cells);
}

// Release: who sees the word sees the cell.
static void set_slot(weft_shared_map *m, uint64_t i, uint64_t word)
{
    __atomic_store_n(&slots_of(m)[i & m->mask], word, __ATOMIC_RELEASE);
}

// Release: it comes after the slot was changed.
static void store(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static void write_bytes(uint64_t *to, const void *from, size_t n)
{
    const char *bytes = (const char *)from;
    for (size_t i = 0; i < n; i += 8)
        store(to++, word_of(bytes + i, n - i));
}

// ---- changing, under the lock ----

static uint64_t home_of(const weft_shared_map *m, uint64_t word)
{
    return cell_of(m, word)->hash & m->mask;
}

static uint64_t next_change(weft_shared_map *m)
{
    return (uint64_t)++m->changes << 32;
}

static void count_to(weft_shared_map *m, uint32_t n)
{
    __atomic_store_n(&m->count, n, __ATOMIC_RELAXED);
}

// Makes the hole UNUSED, after all that stand behind and could stand there have moved up.
static void close_hole(weft_shared_map *m, uint64_t hole)
{
    for (uint64_t i = hole + 1; slot(m, i) != UNUSED; i++) {
        uint64_t word = slot(m, i);
        if (!has_cell(word) || ((i - home_of(m, word)) & m->mask) < ((i - hole) & m->mask))
            continue;
        set_slot(m, hole, word);
        __atomic_store_n(&m->moves, m->moves + 1, __ATOMIC_SEQ_CST);
        set_slot(m, i, next_change(m) | TAG);
        hole = i;
    }
    set_slot(m, hole, UNUSED);
}

static void take_out(weft_shared_map *m, uint64_t i)
{
    set_slot(m, i, next_change(m) | TAG);
    close_hole(m, i);
}

// Whether the entry stands in an earlier slot, too.
static bool stands_before(const weft_shared_map *m, uint64_t i)
{
    uint64_t word = slot(m, i);
    for (uint64_t at = home_of(m, word); (at & m->mask) != i; at++)
        if ((slot(m, at) & CELL) == (word & CELL))
            return true;
    return false;
}

static void find_free_cells(weft_shared_map *m)
{
    uint32_t *free = free_cells(m), n = 0, used = 0;
    memset(free, 0, m->cells * sizeof *free);
    for (uint64_t i = 0; i <= m->mask; i++)
        if (has_cell(slot(m, i))) {
            free[(slot(m, i) & CELL) - 1] = 1;
            used++;
        }
    for (uint32_t i = 0; i < m->cells; i++)
        if (!free[i])
            free[n++] = i; // n is never ahead of i
    m->free_count = n;
    count_to(m, used);
}

static void mend(weft_shared_map *m)
{
    for (uint64_t i = 0; i <= m->mask; i++)
        if (has_cell(slot(m, i)) && stands_before(m, i)) {
            // The dead one may not have counted its move; before the slot, as in close_hole.
            __atomic_store_n(&m->moves, m->moves + 1, __ATOMIC_SEQ_CST);
            set_slot(m, i, next_change(m) | TAG);
        }
    // What is behind a hole may move to before it: so each is closed as long as there are some.
    for (uint64_t i = 0; i <= m->mask; i++)
        if (slot(m, i) != UNUSED && !has_cell(slot(m, i)))
            close_hole(m, i);
    find_free_cells(m);
}

static int take_lock(weft_shared_map *m, weft_deadline d)
{
    int code = brief_lock(&m->lock, d);
    if (code == ETIMEDOUT)
        return fail_with(ETIMEDOUT);
    if (code == EOWNERDEAD)
        mend(m);
    return 0;
}

int weft_shared_map_init(weft_shared_map *m, size_t entries, size_t key_size, size_t value_size)
{
    if (m == nullptr || weft_shared_map_bytes(entries, key_size, value_size) == 0)
        return fail_with(EINVAL);
    memset((void *)m, 0, sizeof *m + slots_for(entries) * 8);
    if (uncancelled(getrandom, &m->seed, sizeof m->seed, GRND_NONBLOCK) < 0)
        m->seed = (uint64_t)weft_now();
    m->entries = (uint32_t)entries;
    m->cells = (uint32_t)entries + 1;
    m->mask = (uint32_t)slots_for(entries) - 1;
    m->key_size = (uint32_t)key_size;
    m->value_size = (uint32_t)value_size;
    m->key_words = (uint32_t)words_for(key_size);
    m->cell_words = (uint32_t)cell_words(key_size, value_size);
    find_free_cells(m);
    return 0;
}

static uint64_t fill_cell(weft_shared_map *m, uint64_t hash, const void *key, size_t key_size,
                          const void *value, size_t value_size)
{
    uint32_t number = free_cells(m)[--m->free_count];
    map_cell *c = cell_at(m, number);
    store(&c->hash, hash);
    store(&c->sizes, (uint64_t)value_size << 32 | key_size);
    write_bytes(key_of(c), key, key_size);
    write_bytes(value_of(m, c), value, value_size);
    return next_change(m) | tag_of(hash) | (number + 1);
}

// The slot for a new entry.
static uint64_t place_for(const weft_shared_map *m, uint64_t hash)
{
    uint64_t i = hash & m->mask;
    while (has_cell(slot(m, i)))
        i++;
    return i;
}

static int change(weft_shared_map *m, const void *key, size_t key_size, const void *value,
                  size_t value_size, bool only_new)
{
    uint64_t hash = hash_of(m, key, key_size), old;
    int64_t i = search(m, key, key_size, hash, &old);
    if (i >= 0 && only_new)
        return EEXIST;
    if (i < 0 && m->count == m->entries)
        return ENOSPC;
    uint64_t word = fill_cell(m, hash, key, key_size, value, value_size);
    set_slot(m, i >= 0 ? (uint64_t)i : place_for(m, hash), word);
    if (i >= 0)
        free_cells(m)[m->free_count++] = (uint32_t)(old & CELL) - 1;
    else
        count_to(m, m->count + 1);
    return 0;
}

static int set(weft_shared_map *m, const void *key, size_t key_size, const void *value,
               size_t value_size, bool only_new, weft_deadline d)
{
    if (key_size > m->key_size || value_size > m->value_size)
        return fail_with(EMSGSIZE);
    if (take_lock(m, d) != 0)
        return -1;
    int error = change(m, key, key_size, value, value_size, only_new);
    brief_unlock(&m->lock);
    return error != 0 ? fail_with(error) : 0;
}

int weft_shared_map_set(weft_shared_map *m, const void *key, size_t key_size, const void *value,
                        size_t value_size, weft_deadline d)
{
    return m != nullptr ? set(m, key, key_size, value, value_size, false, d) : fail_with(EINVAL);
}

int weft_shared_map_add(weft_shared_map *m, const void *key, size_t key_size, const void *value,
                        size_t value_size, weft_deadline d)
{
    return m != nullptr ? set(m, key, key_size, value, value_size, true, d) : fail_with(EINVAL);
}

int weft_shared_map_remove(weft_shared_map *m, const void *key, size_t key_size, weft_deadline d)
{
    if (m == nullptr)
        return fail_with(EINVAL);
    uint64_t hash, word;
    if (key_size > m->key_size)
        return fail_with(ENOENT);
    if (take_lock(m, d) != 0)
        return -1;
    hash = hash_of(m, key, key_size);
    int64_t i = search(m, key, key_size, hash, &word);
    if (i >= 0) {
        take_out(m, (uint64_t)i);
        free_cells(m)[m->free_count++] = (uint32_t)(word & CELL) - 1;
        count_to(m, m->count - 1);
    }
    brief_unlock(&m->lock);
    return i >= 0 ? 0 : fail_with(ENOENT);
}
