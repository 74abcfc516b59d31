// pool_memory.h: where a pool's larger arguments and results lie.
#ifndef WEFT_SHM_POOL_MEMORY_H
#define WEFT_SHM_POOL_MEMORY_H

#include <stddef.h>
#include <stdint.h>

enum { POOL_UNIT_SHIFT = 9, POOL_ORDERS = 40 };

struct weft_private_memory {
    uint32_t orders; // the largest block has 2^(orders - 1) units
    uint32_t *links; // two a unit: next and previous in its list
    unsigned char *tags;
    uint32_t first[POOL_ORDERS]; // + 1; the free blocks of each order
};

#ifdef __cplusplus
extern "C" {
#endif

// How much memory is managed if `bytes` are asked for: a power of two.
size_t weft_private_memory_round(size_t bytes);

// -1: ENOMEM.
int weft_private_memory_init(weft_private_memory *m, size_t bytes);
void weft_private_memory_free(weft_private_memory *m);

// The order of a block for so many bytes.
uint32_t weft_private_memory_order(size_t bytes);

// The offset of a free block, which is no longer free.  -1: none is left.
ptrdiff_t weft_private_memory_take(weft_private_memory *m, uint32_t order);
void weft_private_memory_give(weft_private_memory *m, size_t offset, uint32_t order);

#ifdef __cplusplus
}
#endif

#endif
