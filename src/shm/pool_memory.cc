// pool_memory.cc: a buddy allocator (Knuth, TAOCP 1, 2.5) whose books lie in private memory.
//
// Only the program that owns the pool takes and gives blocks, so nothing that a worker's
// death could leave half done is shared.  A block of order n has 2^n units of 512 bytes and starts
// at a multiple of its size; its buddy's number differs in bit n.  A free block's first
// unit has the tag n + 1, all other units 0.
#include "pool_memory.h"

#include <base/errno.h>

using namespace weft;

static size_t units(const pool_memory *m)
{
    return (size_t)1 << (m->orders - 1);
}

uint32_t weft::pool_memory_order(size_t bytes)
{
    size_t n = (bytes + ((size_t)1 << POOL_UNIT_SHIFT) - 1) >> POOL_UNIT_SHIFT;
    return n <= 1 ? 0 : 64 - (uint32_t)__builtin_clzll(n - 1);
}

size_t weft::pool_memory_round(size_t bytes)
{
    return (size_t)1 << (pool_memory_order(bytes) + POOL_UNIT_SHIFT);
}

static void list_add(pool_memory *m, uint32_t unit, uint32_t order)
{
    uint32_t next = m->first[order];
    m->links[2 * (size_t)unit] = next;
    m->links[2 * (size_t)unit + 1] = 0;
    if (next != 0)
        m->links[2 * (size_t)(next - 1) + 1] = unit + 1;
    m->first[order] = unit + 1;
    m->tags[unit] = (unsigned char)(order + 1);
}

static void list_remove(pool_memory *m, uint32_t unit, uint32_t order)
{
    uint32_t next = m->links[2 * (size_t)unit], previous = m->links[2 * (size_t)unit + 1];
    *(previous != 0 ? &m->links[2 * (size_t)(previous - 1)] : &m->first[order]) = next;
    if (next != 0)
        m->links[2 * (size_t)(next - 1) + 1] = previous;
    m->tags[unit] = 0;
}

int weft::pool_memory_init(pool_memory *m, size_t bytes)
{
    m->orders = pool_memory_order(bytes) + 1;
    for (uint32_t &first : m->first)
        first = 0;
    m->links = (uint32_t *)calloc(units(m), 2 * sizeof *m->links);
    m->tags = (unsigned char *)calloc(units(m), 1);
    if (m->links == nullptr || m->tags == nullptr) {
        pool_memory_free(m);
        return -1;
    }
    list_add(m, 0, m->orders - 1);
    return 0;
}

void weft::pool_memory_free(pool_memory *m)
{
    free_keep_errno(m->links);
    free_keep_errno(m->tags);
    m->links = nullptr;
    m->tags = nullptr;
}

ptrdiff_t weft::pool_memory_take(pool_memory *m, uint32_t order)
{
    uint32_t from = order;
    while (from < m->orders && m->first[from] == 0)
        from++;
    if (from >= m->orders)
        return -1;
    uint32_t unit = m->first[from] - 1;
    list_remove(m, unit, from);
    while (from > order) { // the upper halves stay free
        from--;
        list_add(m, unit + (1u << from), from);
    }
    return (ptrdiff_t)((size_t)unit << POOL_UNIT_SHIFT);
}

void weft::pool_memory_give(pool_memory *m, size_t offset, uint32_t order)
{
    uint32_t unit = (uint32_t)(offset >> POOL_UNIT_SHIFT);
    for (; order + 1 < m->orders; order++) {
        uint32_t buddy = unit ^ 1u << order;
        if (m->tags[buddy] != order + 1)
            break;
        list_remove(m, buddy, order);
        unit &= ~(1u << order);
    }
    list_add(m, unit, order);
}
