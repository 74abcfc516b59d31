// store.cc: the store's growth and its heap; see store.h.
#include "store.h"

#include <errno.h>
#include <stdlib.h>

using namespace weft;

enum { FIRST_ROOM = 16, KEPT = 262144 }; // cells; bytes

bool weft::store_init(store *s, size_t item_size, size_t limit, int order,
                      int (*compare)(const void *, const void *, void *), void *arg)
{
    size_t stride = item_size, end;
    if (compare != nullptr) {
        // The arrival number goes behind the item, which keeps the item as aligned as
        // an element of an array of its size can ask for.
        size_t align = item_size % 16 == 0 ? 16 : 8;
        if (__builtin_add_overflow(item_size, sizeof(uint64_t) + align - 1, &stride))
            return false;
        stride -= stride % align;
    }
    if (__builtin_mul_overflow(limit == SIZE_MAX ? 1 : limit, stride, &end) || end > PTRDIFF_MAX)
        return false;
    memset(s, 0, sizeof *s);
    s->item_size = item_size;
    s->stride = stride;
    s->limit = limit;
    s->compare = compare;
    s->arg = arg;
    s->order = order;
    return true;
}

// A circle is cut open at its oldest.
static bool resize(store *s, size_t room)
{
    char *cells = (char *)malloc(room * s->stride);
    if (cells == nullptr)
        return false;
    size_t count = store_count(s), head = s->out.at, back = s->room - head;
    size_t first = count < back ? count : back;
    if (count > 0) {
        memcpy(cells, store_cell(s, head), first * s->stride);
        memcpy(cells + first * s->stride, s->cells, (count - first) * s->stride);
    }
    char *before = s->cells;
    s->cells = cells; // first: a fork in between leaves the child something to free, once
    free(before);
    s->room = room;
    s->out.at = 0;
    s->in.at = s->order == 0 && count < room ? count : 0;
    s->low = room > FIRST_ROOM && room * s->stride > KEPT ? room / 8 : 0;
    return true;
}

bool weft::store_grow(store *s, size_t needed)
{
    size_t room = s->room == 0 ? (size_t)FIRST_ROOM : s->room, bytes;
    while (room < needed)
        if (__builtin_mul_overflow(room, 2, &room))
            return false;
    if (room > s->limit)
        room = s->limit;
    if (__builtin_mul_overflow(room, s->stride, &bytes) || bytes > PTRDIFF_MAX)
        return false;
    return resize(s, room);
}

void weft::store_shrink(store *s)
{
    int saved = errno;
    s->out.seen = s->in.count;
    if (store_is_sparse(s) &&
        !resize(s, s->room / 4 > FIRST_ROOM ? s->room / 4 : (size_t)FIRST_ROOM))
        s->low /= 2; // not again at once
    errno = saved;
}

size_t weft::store_clear(store *s)
{
    int saved = errno;
    size_t count = store_count(s);
    char *cells = s->cells;
    s->cells = nullptr; // as above
    free(cells);
    errno = saved;
    s->room = s->low = s->in.at = s->out.at = 0;
    __atomic_store_n(&s->out.count, s->in.count, __ATOMIC_RELEASE);
    s->in.seen = s->out.seen = s->in.count;
    return count;
}

static uint64_t arrival(const store *s, const char *cell)
{
    uint64_t n;
    memcpy(&n, cell + s->stride - sizeof n, sizeof n);
    return n;
}

static bool before(const store *s, const char *a, const char *b)
{
    int order = s->compare(a, b, s->arg);
    return order < 0 || (order == 0 && arrival(s, a) < arrival(s, b));
}

// The newcomer is the youngest: it passes its parents only when it is truly less.
void weft::heap_push(store *s, const void *item)
{
    size_t hole = s->in.count - s->out.count;
    while (hole > 0) {
        size_t parent = (hole - 1) / 2;
        if (s->compare(item, store_cell(s, parent), s->arg) >= 0)
            break;
        memcpy(store_cell(s, hole), store_cell(s, parent), s->stride);
        hole = parent;
    }
    char *cell = store_cell(s, hole);
    uint64_t n = s->in.count;
    copy_item(cell, item, s->item_size);
    memcpy(cell + s->stride - sizeof n, &n, sizeof n);
}

// The hole at the top sinks until the last cell fits into it.
void weft::heap_pop(store *s, void *item)
{
    size_t n = s->in.count - s->out.count - 1, hole = 0;
    const char *last = store_cell(s, n);
    copy_item(item, s->cells, s->item_size);
    for (size_t child = 1; child < n; child = 2 * hole + 1) {
        if (child + 1 < n && before(s, store_cell(s, child + 1), store_cell(s, child)))
            child++;
        if (!before(s, store_cell(s, child), last))
            break;
        memcpy(store_cell(s, hole), store_cell(s, child), s->stride);
        hole = child;
    }
    if (hole != n)
        memcpy(store_cell(s, hole), last, s->stride);
}
