// entry.cc: entries and lists (entry.h).
#include "entry.h"

#include "memory.h"

#include <stddef.h>

using namespace weft;

static const size_t HEAD = ENTRY_HEAD;

enum { SIZE_BITS = (1 << 30) - 1 };

// ---- Entries ----

static void *new_list(void)
{
    static uint64_t ids;
    item_list *l = (item_list *)memory_take_zeroed(1, sizeof *l);
    l->id = ++ids;
    return l;
}

static void *new_object(int type)
{
    if (type == TYPE_LIST)
        return new_list();
    return type == TYPE_HASH || type == TYPE_SET ? memory_take_zeroed(1, sizeof(table)) : nullptr;
}

entry *weft::entry_new(int type, const void *key, size_t key_size, uint32_t hash, size_t size)
{
    size_t object = type != TYPE_STRING ? sizeof(void *) : 0, all = HEAD + object + key_size + size;
    entry *e = (entry *)memory_take(all > sizeof *e ? all : sizeof *e);
    e->next = nullptr;
    e->hash = hash;
    e->key_size = (uint32_t)key_size & KEY_MAX;
    e->type = (unsigned)type & 7;
    e->expires = 0;
    e->size = (uint32_t)size & SIZE_BITS;
    e->general = 0;
    if (type != TYPE_STRING)
        entry_set_object(e, new_object(type));
    memcpy(entry_rest(e) + object, key, key_size);
    return e;
}

void weft::entry_set_object(entry *e, void *object)
{
    memcpy(entry_rest(e) + (e->expires ? sizeof object : 0), &object, sizeof object);
}

// It may lie elsewhere now.
static void tell_expiry(entry *e)
{
    void *expiry = entry_expiry(e);
    if (expiry != nullptr)
        *(entry **)expiry = e;
}

// To memory of another size.  A large rest is not given back at once.
static entry *moved(entry *e, size_t before, size_t room)
{
    if (room > before / 2)
        return (entry *)retake(e, room);
    entry *to = (entry *)memcpy(memory_take(room), e, room);
    memory_drop(e);
    return to;
}

entry *weft::entry_resize(entry **link, size_t size, bool growing)
{
    entry *e = *link;
    size_t before = HEAD + entry_before_key(e) + e->key_size, all = before + size;
    size_t room = malloc_usable_size(e);
    if (all > room || (all < room / 2 && !growing)) {
        if (growing) // twice as much, but no more than a mebibyte on top
            all += size < 1 << 20 ? size : 1 << 20;
        e = *link = moved(e, room, all > sizeof *e ? all : sizeof *e);
    }
    e->size = (uint32_t)size & SIZE_BITS;
    e->general = growing;
    tell_expiry(e);
    return e;
}

entry *weft::entry_set_expiry(entry **link, void *expiry)
{
    entry *e = *link;
    size_t after = entry_before_key(e) - (e->expires ? sizeof expiry : 0) + e->key_size +
                   (e->type == TYPE_STRING ? e->size : 0);
    if (expiry != nullptr && !e->expires) {
        e = *link = (entry *)retake(e, HEAD + sizeof expiry + after);
        memmove(entry_rest(e) + sizeof expiry, entry_rest(e), after);
    } else if (expiry == nullptr && e->expires) {
        memmove(entry_rest(e), entry_rest(e) + sizeof expiry, after);
    }
    e->expires = expiry != nullptr;
    if (expiry != nullptr) {
        memcpy(entry_rest(e), &expiry, sizeof expiry);
        tell_expiry(e);
    }
    return e;
}

// ---- Under another key ----

entry *weft::entry_renamed(entry *e, const void *key, size_t key_size, uint32_t hash)
{
    entry *to = entry_new((int)e->type, key, key_size, hash, e->size);
    to->general = e->general;
    if (e->type == TYPE_STRING) {
        memcpy(entry_text(to), entry_text(e), e->size);
    } else {
        memory_give(entry_object(to));
        entry_set_object(to, entry_object(e));
    }
    memory_give(e);
    return to;
}

static void copy_list(item_list *to, const item_list *from)
{
    for (size_t i = 0; i < from->count; i++) {
        const list_item *item = *list_item_at(from, i);
        list_push(to, item_new(item->text, item->size), false);
    }
}

static void copy_field(entry *e, void *to)
{
    table_add((table *)to, entry_copy(e, entry_key(e), e->key_size, e->hash));
}

entry *weft::entry_copy(entry *e, const void *key, size_t key_size, uint32_t hash)
{
    entry *to = entry_new((int)e->type, key, key_size, hash, e->size);
    to->general = e->general;
    if (e->type == TYPE_STRING)
        memcpy(entry_text(to), entry_text(e), e->size);
    else if (e->type == TYPE_LIST)
        copy_list(entry_list(to), entry_list(e));
    else
        table_each(entry_hash(e), copy_field, entry_hash(to));
    return to;
}

// ---- Lists ----

list_item *weft::item_new(const void *text, size_t n)
{
    list_item *item = (list_item *)memory_take(offsetof(list_item, text) + n);
    item->size = (uint32_t)n;
    memcpy(item->text, text, n);
    return item;
}

static bool is_large(const item_list *l)
{
    return l->room > LIST_PIECE;
}

// Of a large one: the piece that the item at the index `i` is in; how many pieces `n` items from
// there on are in.
static list_item ***piece_of(const item_list *l, size_t i)
{
    return &l->pieces[((l->head + i) & (l->room - 1)) / LIST_PIECE];
}

static size_t pieces_of(const item_list *l, size_t i, size_t n)
{
    return ((l->head + i) % LIST_PIECE + n + LIST_PIECE - 1) / LIST_PIECE;
}

static list_item **new_piece(void)
{
    return (list_item **)memory_take(LIST_PIECE * sizeof(list_item *));
}

static list_item ***new_pieces(size_t room)
{
    return (list_item ***)memory_take_zeroed(room / LIST_PIECE, sizeof(list_item **));
}

// To a ring in one, whatever it was.
static void resize(item_list *l, size_t room)
{
    list_item **ring = (list_item **)memory_take(room * sizeof *ring);
    for (size_t i = 0; i < l->count; i++)
        ring[i] = *list_item_at(l, i);
    for (size_t i = 0; is_large(l) && i < l->room / LIST_PIECE; i++)
        memory_give(l->pieces[i]);
    memory_give(l->ring);
    l->ring = ring;
    l->room = room;
    l->head = 0;
}

static void resize_large(item_list *l, size_t room)
{
    list_item ***pieces = new_pieces(room);
    for (size_t n = pieces_of(l, 0, l->count), i = 0; i < n; i++)
        pieces[i] = *piece_of(l, i * LIST_PIECE);
    memory_give(l->pieces);
    l->pieces = pieces;
    l->room = room;
    l->head %= LIST_PIECE;
}

static void grow(item_list *l)
{
    if (is_large(l)) {
        resize_large(l, l->room * 4);
    } else if (l->room < LIST_PIECE) {
        resize(l, l->room == 0 ? 4 : l->room * 2);
    } else {
        resize(l, LIST_PIECE); // so that it begins with the first
        list_item **ring = l->ring;
        l->room = (size_t)LIST_PIECE * 4;
        l->pieces = new_pieces(l->room);
        l->pieces[0] = ring;
    }
}

static void shrink(item_list *l)
{
    while (is_large(l) && l->count < l->room / 8)
        if (l->room > (size_t)LIST_PIECE * 4)
            resize_large(l, l->room / 4);
        else
            resize(l, LIST_PIECE);
    while (!is_large(l) && l->room > 16 && l->count < l->room / 4)
        resize(l, l->room / 2);
}

// Of a large one the ends are not to come into the same piece.
void weft::list_push(item_list *l, list_item *item, bool front)
{
    if (l->count + (is_large(l) ? LIST_PIECE : 0) == l->room)
        grow(l);
    if (front)
        l->head = (l->head - 1) & (l->room - 1);
    l->count++;
    size_t i = front ? 0 : l->count - 1;
    if (is_large(l) && *piece_of(l, i) == nullptr)
        *piece_of(l, i) = new_piece();
    *list_item_at(l, i) = item;
}

list_item *weft::list_pop(item_list *l, bool front)
{
    list_item *item = *list_item_at(l, front ? 0 : l->count - 1);
    if (front)
        l->head = (l->head + 1) & (l->room - 1);
    l->count--;
    if (is_large(l) && (l->head + (front ? 0 : l->count)) % LIST_PIECE == 0) {
        list_item ***piece = piece_of(l, front ? 0 - (size_t)1 : l->count);
        memory_give(*piece);
        *piece = nullptr;
    }
    shrink(l);
    return item;
}

// The pieces of a large one are the other's then, but for that where the cut is: both need it.
void weft::list_cut(item_list *l, size_t n, bool front, item_list *to)
{
    if (!is_large(l) || n < LIST_PIECE) {
        for (; n > 0; n--)
            list_push(to, list_pop(l, front), !front);
        return;
    }
    size_t from = front ? 0 : l->count - n, cut = front ? n : from;
    memory_give(to->ring);
    to->room = l->room;
    to->head = (l->head + from) & (l->room - 1);
    to->count = n;
    to->pieces = new_pieces(l->room);
    for (size_t k = 0; k < pieces_of(l, from, n); k++) {
        list_item ***piece = piece_of(l, from + k * LIST_PIECE);
        to->pieces[piece - l->pieces] = *piece;
        *piece = nullptr;
    }
    if (n < l->count && (l->head + cut) % LIST_PIECE != 0) {
        list_item ***piece = piece_of(l, cut);
        *piece = new_piece();
        memcpy(*piece, to->pieces[piece - l->pieces], LIST_PIECE * sizeof **piece);
    }
    l->head = front ? (l->head + n) & (l->room - 1) : l->head;
    l->count -= n;
    shrink(l);
    shrink(to);
}

void weft::list_insert(item_list *l, size_t i, list_item *item)
{
    bool front = i < l->count / 2;
    list_push(l, item, front);
    for (size_t k = 0; front && k < i; k++)
        *list_item_at(l, k) = *list_item_at(l, k + 1);
    for (size_t k = l->count - 1; !front && k > i; k--)
        *list_item_at(l, k) = *list_item_at(l, k - 1);
    *list_item_at(l, i) = item;
}

void weft::list_compact(item_list *l)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->count; i++) {
        list_item *item = *list_item_at(l, i);
        if (item != nullptr)
            *list_item_at(l, kept++) = item;
    }
    for (size_t gaps = l->count - kept; gaps > 0; gaps--)
        list_pop(l, false);
}
