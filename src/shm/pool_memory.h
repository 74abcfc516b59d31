// pool_memory.h: where a pool's larger arguments and results lie.
#ifndef WEFT_SHM_POOL_MEMORY_H
#define WEFT_SHM_POOL_MEMORY_H

#include <stddef.h>
#include <stdint.h>

namespace weft {

enum { POOL_UNIT_SHIFT = 9, POOL_ORDERS = 40 };

struct pool_memory {
    uint32_t orders; // the largest block has 2^(orders - 1) units
    uint32_t *links; // two a unit: next and previous in its list
    unsigned char *tags;
    uint32_t first[POOL_ORDERS]; // + 1; the free blocks of each order
};

// How much memory is managed if `bytes` are asked for: a power of two.
size_t pool_memory_round(size_t bytes);

// -1: ENOMEM.
int pool_memory_init(pool_memory *m, size_t bytes);
void pool_memory_free(pool_memory *m);

// The order of a block for so many bytes.
uint32_t pool_memory_order(size_t bytes);

// The offset of a free block, which is no longer free.  -1: none is left.
ptrdiff_t pool_memory_take(pool_memory *m, uint32_t order);
void pool_memory_give(pool_memory *m, size_t offset, uint32_t order);

} // namespace weft

#endif
