// entry.cc: entries and lists (entry.h).
#include "entry.h"

#include "memory.h"

#include <stddef.h>

static const size_t HEAD = WEFT_ENTRY_HEAD;

// ---- Entries ----

static void *new_object(int type)
{
    if (type == WEFT_LIST)
        return weft_private_take_zeroed(1, sizeof(weft_private_list));
    return type == WEFT_HASH ? weft_private_take_zeroed(1, sizeof(weft_private_table)) : nullptr;
}

weft_private_entry *weft_private_entry_new(int type, const void *key, size_t key_size,
                                           uint32_t hash, size_t size)
{
    size_t object = type != WEFT_STRING ? sizeof(void *) : 0, all = HEAD + object + key_size + size;
    weft_private_entry *e =
        (weft_private_entry *)weft_private_take(all > sizeof *e ? all : sizeof *e);
    e->next = nullptr;
    e->hash = hash;
    e->key_size = (uint32_t)key_size & WEFT_KEY_MAX;
    e->type = (unsigned)type & 3;
    e->expires = 0;
    e->size = (uint32_t)size;
    if (type != WEFT_STRING)
        weft_private_entry_set_object(e, new_object(type));
    memcpy(weft_private_entry_rest(e) + object, key, key_size);
    return e;
}

void weft_private_entry_set_object(weft_private_entry *e, void *object)
{
    memcpy(weft_private_entry_rest(e) + (e->expires ? sizeof object : 0), &object, sizeof object);
}

// It may lie elsewhere now.
static void tell_expiry(weft_private_entry *e)
{
    void *expiry = weft_private_entry_expiry(e);
    if (expiry != nullptr)
        *(weft_private_entry **)expiry = e;
}

weft_private_entry *weft_private_entry_resize(weft_private_entry **link, size_t size, bool growing)
{
    weft_private_entry *e = *link;
    size_t before = HEAD + weft_private_entry_before_key(e) + e->key_size, all = before + size;
    size_t room = malloc_usable_size(e);
    if (all > room || (all < room / 2 && !growing)) {
        if (growing) // twice as much, but no more than a mebibyte on top
            all += size < 1 << 20 ? size : 1 << 20;
        e = *link = (weft_private_entry *)weft_private_retake(e, all > sizeof *e ? all : sizeof *e);
    }
    e->size = (uint32_t)size;
    tell_expiry(e);
    return e;
}

weft_private_entry *weft_private_entry_set_expiry(weft_private_entry **link, void *expiry)
{
    weft_private_entry *e = *link;
    size_t after = weft_private_entry_before_key(e) - (e->expires ? sizeof expiry : 0) +
                   e->key_size + (e->type == WEFT_STRING ? e->size : 0);
    if (expiry != nullptr && !e->expires) {
        e = *link = (weft_private_entry *)weft_private_retake(e, HEAD + sizeof expiry + after);
        memmove(weft_private_entry_rest(e) + sizeof expiry, weft_private_entry_rest(e), after);
    } else if (expiry == nullptr && e->expires) {
        memmove(weft_private_entry_rest(e), weft_private_entry_rest(e) + sizeof expiry, after);
    }
    e->expires = expiry != nullptr;
    if (expiry != nullptr) {
        memcpy(weft_private_entry_rest(e), &expiry, sizeof expiry);
        tell_expiry(e);
    }
    return e;
}

static void drop_list(weft_private_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        weft_private_give(*weft_private_list_at(l, i));
    weft_private_give(l->ring);
    weft_private_give(l);
}

void weft_private_entry_drop(weft_private_entry *e)
{
    if (e->type == WEFT_LIST) {
        drop_list(weft_private_entry_list(e));
    } else if (e->type == WEFT_HASH) {
        weft_private_table_clear(weft_private_entry_hash(e), weft_private_entry_drop);
        weft_private_give(weft_private_entry_hash(e));
    }
    weft_private_give(e);
}

// ---- Lists ----

weft_private_item *weft_private_item_new(const void *text, size_t n)
{
    weft_private_item *item =
        (weft_private_item *)weft_private_take(offsetof(weft_private_item, text) + n);
    item->size = (uint32_t)n;
    memcpy(item->text, text, n);
    return item;
}

static void resize(weft_private_list *l, size_t room)
{
    weft_private_item **ring = (weft_private_item **)weft_private_take(room * sizeof *ring);
    for (size_t i = 0; i < l->count; i++)
        ring[i] = *weft_private_list_at(l, i);
    weft_private_give(l->ring);
    l->ring = ring;
    l->room = room;
    l->head = 0;
}

void weft_private_list_push(weft_private_list *l, weft_private_item *item, bool front)
{
    if (l->count == l->room)
        resize(l, l->room == 0 ? 4 : l->room * 2);
    if (front)
        l->head = (l->head - 1) & (l->room - 1);
    l->count++;
    *weft_private_list_at(l, front ? 0 : l->count - 1) = item;
}

static void shrink(weft_private_list *l)
{
    if (l->room > 16 && l->count < l->room / 4)
        resize(l, l->room / 2);
}

weft_private_item *weft_private_list_pop(weft_private_list *l, bool front)
{
    weft_private_item *item = *weft_private_list_at(l, front ? 0 : l->count - 1);
    if (front)
        l->head = (l->head + 1) & (l->room - 1);
    l->count--;
    shrink(l);
    return item;
}

void weft_private_list_compact(weft_private_list *l)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->count; i++) {
        weft_private_item *item = *weft_private_list_at(l, i);
        if (item != nullptr)
            *weft_private_list_at(l, kept++) = item;
    }
    l->count = kept;
    shrink(l);
}
