// shm_allocate.cc: blocks in a segment.
//
// Blocks lie one behind the other from `fixed` to `top`, each with its length in the cache
// line before its bytes.  Every change is one store that takes the structure from one valid
// state to another: a block is split by first writing the rest's length inside the free
// space, then the block's own; joined with the free one behind it by storing a larger
// length; added at the end by moving `top`.  So who is killed leaves nothing to mend.
//
// Free neighbours are joined by the search that meets them.  `hint` is where the last
// search ended; a join that swallows it sets it back first.
#include "shm_segment.h"

#include <base/errno.h>

using namespace weft;

static const uint64_t LINE = 64, USED = 1;
static const uint64_t TAG = 0x6b636f6c62747757; // in front of each block, mixed with its offset

namespace {
struct block {
    uint64_t length; // with this line; bit 0: USED
    uint64_t tag;
};
} // namespace

static block *block_at(const weft_shm *s, uint64_t offset)
{
    return (block *)(void *)((char *)s->head + offset);
}

// One store, after all that was written before.
static void publish(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

// Joins the free block at `at` with the free ones behind it; its length.
static uint64_t join_free(weft_shm *s, uint64_t at)
{
    shm_head *h = s->head;
    block *b = block_at(s, at);
    for (uint64_t next; (next = at + b->length) < h->top;) {
        uint64_t length = block_at(s, next)->length;
        if (length & USED)
            break;
        if (h->hint == next)
            publish(&h->hint, at);
        publish(&b->length, b->length + length);
    }
    return b->length;
}

// Takes `need` bytes of the free block at `at`.
static void take(weft_shm *s, uint64_t at, uint64_t need)
{
    block *b = block_at(s, at);
    uint64_t rest = b->length - need;
    if (rest != 0) {
        block *r = block_at(s, at + need);
        r->length = rest;
        r->tag = TAG ^ (at + need);
    }
    publish(&b->length, need | USED);
}

// A free block of `need` bytes between `from` and `to`, or 0.
static uint64_t find(weft_shm *s, uint64_t from, uint64_t to, uint64_t need)
{
    for (uint64_t at = from; at < to;) {
        uint64_t length = block_at(s, at)->length;
        if (!(length & USED) && (length = join_free(s, at)) >= need)
            return at;
        at += length & ~USED;
    }
    return 0;
}

// A new block behind the last.
static uint64_t extend(weft_shm *s, uint64_t need)
{
    shm_head *h = s->head;
    uint64_t at = h->top;
    if (need > h->room - at)
        return fail_with(ENOMEM), 0;
    if (shm_grow_locked(s, at + need) != 0) {
        if (errno == EPERM)
            errno = ENOMEM;
        return 0;
    }
    block *b = block_at(s, at);
    b->tag = TAG ^ at;
    b->length = need | USED;
    publish(&h->top, at + need);
    return at;
}

void *weft::shm_allocate_locked(weft_shm *s, size_t size)
{
    shm_head *h = s->head;
    if (size > s->room) {
        errno = ENOMEM;
        return nullptr;
    }
    uint64_t need = LINE + (size + (size == 0) + LINE - 1) / LINE * LINE;
    uint64_t start = h->hint != 0 ? h->hint : h->fixed;
    uint64_t at = find(s, start, h->top, need);
    if (at == 0)
        at = find(s, h->fixed, start, need);
    if (at != 0) {
        take(s, at, need);
        publish(&h->hint, at);
    } else {
        at = extend(s, need);
    }
    return at != 0 ? (char *)h + at + LINE : nullptr;
}

int weft::shm_release_locked(weft_shm *s, void *p)
{
    shm_head *h = s->head;
    uint64_t at = (uint64_t)((char *)p - (char *)h) - LINE;
    if (at < h->fixed || at >= h->top || at % LINE != 0)
        return fail_with(EINVAL);
    block *b = block_at(s, at);
    if (b->tag != (TAG ^ at) || !(b->length & USED))
        return fail_with(EINVAL);
    publish(&b->length, b->length & ~USED);
    if (at < h->hint)
        publish(&h->hint, at);
    return 0;
}

void *weft_shm_allocate(weft_shm *s, size_t size)
{
    if (shm_check_writable(s) != 0)
        return nullptr;
    shm_lock(s->head);
    void *p = shm_allocate_locked(s, size);
    weft_mutex_unlock(&s->head->lock);
    return p;
}

int weft_shm_free(weft_shm *s, void *p)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    if (p == nullptr)
        return 0;
    if (shm_check_writable(s) != 0)
        return -1;
    shm_lock(s->head);
    int n = shm_release_locked(s, p);
    weft_mutex_unlock(&s->head->lock);
    return n;
}

uint64_t weft_shm_offset(const weft_shm *s, const void *p)
{
    if (s == nullptr)
        return 0;
    uint64_t offset = (uint64_t)((const char *)p - (const char *)s->head);
    return offset >= SHM_HEAD && offset < s->room ? offset : 0;
}

void *weft_shm_at(const weft_shm *s, uint64_t offset)
{
    return offset >= SHM_HEAD && offset < s->room ? (char *)s->head + offset : nullptr;
}

int weft_shm_set_root(weft_shm *s, const void *p)
{
    if (s == nullptr)
        return fail_with(EINVAL);
    uint64_t offset = weft_shm_offset(s, p);
    if (shm_check_writable(s) != 0)
        return -1;
    if (offset == 0)
        return fail_with(EINVAL);
    __atomic_store_n(&s->head->root, offset, __ATOMIC_RELEASE);
    return 0;
}

void *weft_shm_root(const weft_shm *s)
{
    return s != nullptr ? weft_shm_at(s, __atomic_load_n(&s->head->root, __ATOMIC_ACQUIRE))
                        : fail_null(EINVAL);
}
