// shared_array.cc: an array in which no item is ever half written.
//
// A set first copies the item to a spare cell, then says so by one store, then copies it to
// its place, then takes that back.  Whoever locks after a death in between copies it
// again, which does no harm.
#include "brief_lock.h"

#include <base/errno.h>
#include <weft/shared_sync.h>

#include <string.h>

using namespace weft;

static const size_t FRONT = (sizeof(weft_shared_array) + 63) / 64 * 64;

static size_t whole(uint32_t item_size)
{
    return ((size_t)item_size + 63) / 64 * 64;
}

static char *spare(weft_shared_array *a)
{
    return (char *)a + FRONT;
}

static char *item(weft_shared_array *a, size_t i)
{
    return spare(a) + whole(a->item_size) + i * a->item_size;
}

size_t weft_shared_array_bytes(size_t count, uint32_t item_size)
{
    size_t n;
    if (__builtin_mul_overflow(count, (size_t)item_size, &n) ||
        __builtin_add_overflow(n, FRONT + whole(item_size), &n))
        return 0;
    return n;
}

int weft_shared_array_init(weft_shared_array *a, size_t count, uint32_t item_size)
{
    if (a == nullptr)
        return fail_with(EINVAL);
    size_t n = weft_shared_array_bytes(count, item_size);
    if (n == 0 || item_size == 0)
        return fail_with(EINVAL);
    memset((void *)a, 0, n);
    a->count = count;
    a->item_size = item_size;
    return weft_shared_mutex_init(&a->lock, WEFT_CHECKED);
}

// Locks it and ends a dead one's set.
static int lock(weft_shared_array *a, weft_deadline d)
{
    int saved = errno;
    if (weft_shared_mutex_lock(&a->lock, d) != 0 && errno != EOWNERDEAD)
        return -1;
    errno = saved;
    if (a->pending != 0) {
        memcpy(item(a, a->pending - 1), spare(a), a->item_size);
        __atomic_store_n(&a->pending, 0, __ATOMIC_RELEASE);
    }
    return 0;
}

int weft_shared_array_get(weft_shared_array *a, size_t i, void *to)
{
    if (a == nullptr || i >= a->count)
        return fail_with(EINVAL);
    if (lock(a, WEFT_FOREVER) != 0)
        return -1;
    memcpy(to, item(a, i), a->item_size);
    return weft_shared_mutex_unlock(&a->lock);
}

int weft_shared_array_set(weft_shared_array *a, size_t i, const void *from)
{
    if (a == nullptr || i >= a->count)
        return fail_with(EINVAL);
    if (lock(a, WEFT_FOREVER) != 0)
        return -1;
    memcpy(spare(a), from, a->item_size);
    __atomic_store_n(&a->pending, i + 1, __ATOMIC_RELEASE);
    // The item must not be touched before it is pending.
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    memcpy(item(a, i), from, a->item_size);
    __atomic_store_n(&a->pending, 0, __ATOMIC_RELEASE);
    return weft_shared_mutex_unlock(&a->lock);
}

int weft_shared_array_lock(weft_shared_array *a, weft_deadline d)
{
    if (a == nullptr)
        return fail_with(EINVAL);
    if (lock(a, d) != 0)
        return -1;
    // Still set from one who died between lock and unlock.
    bool died = a->in_use != 0;
    __atomic_store_n(&a->in_use, brief_this_thread()->id, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return died ? fail_with(EOWNERDEAD) : 0;
}

int weft_shared_array_unlock(weft_shared_array *a)
{
    if (a == nullptr)
        return fail_with(EINVAL);
    if (__atomic_load_n(&a->in_use, __ATOMIC_RELAXED) != brief_this_thread()->id)
        return fail_with(EPERM);
    __atomic_store_n(&a->in_use, 0, __ATOMIC_RELEASE);
    return weft_shared_mutex_unlock(&a->lock);
}

void *weft_shared_array_items(weft_shared_array *a)
{
    return a != nullptr ? item(a, 0) : fail_null(EINVAL);
}

size_t weft_shared_array_count(const weft_shared_array *a)
{
    return a != nullptr ? a->count : 0;
}
