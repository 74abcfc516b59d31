// map_table.h: what a shared map is in memory; shared_map.cc says how it works.
#ifndef WEFT_SHM_MAP_TABLE_H
#define WEFT_SHM_MAP_TABLE_H

#include <weft/shared_map.h>

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

#endif
