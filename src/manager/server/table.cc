// table.cc: the hash table of table.h.  Buckets are chains; their number is a power of two.
#include "table.h"

#include "entry.h"
#include "memory.h"

#include <string.h>
#include <sys/random.h>

using namespace weft;

size_t weft::bytes_in_use, weft::gives_left = SIZE_MAX;

enum { LEAST = 4, STEP = 2 }; // buckets; buckets moved with each call
// Of LARGE and more buckets so many are given back together; bytes of these.
enum { EMPTIED = 1 << 15, LARGE = 4 * EMPTIED, PIECE = EMPTIED * sizeof(entry *) };

// ---- Hash: multiply and fold, 8 bytes at a time ----

static uint64_t seed = 0x9e3779b97f4a7c15;

void weft::hash_seed(uint64_t s)
{
    seed = s | 1;
}

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t load(const char *p, size_t n)
{
    uint64_t word = 0;
    memcpy(&word, p, n);
    return word;
}

uint32_t weft::hash_of(const void *key, size_t n)
{
    const char *p = (const char *)key;
    uint64_t h = seed ^ n;
    for (; n > 8; n -= 8, p += 8)
        h = fold(h ^ load(p, 8), 0xd6e8feb86659fd93);
    h = fold(h ^ load(p, n), 0xa0761d6478bd642f ^ seed);
    return (uint32_t)(h ^ h >> 32);
}

// ---- Growing and shrinking ----

// Large ones have pages of their own: malloc(3) would clear them at once, if it has the memory at
// hand, and give them back at once.
static void open_buckets(table *t, int set, size_t n)
{
    size_t size = n * sizeof *t->buckets[set];
    t->mapped[set] = n >= LARGE;
    t->buckets[set] = (entry **)(t->mapped[set] ? memory_map(size) : memory_take_zeroed(1, size));
    t->mask[set] = n - 1;
}

static void move_bucket(table *t)
{
    entry *next, *e = t->buckets[0][t->moving];
    t->buckets[0][t->moving++] = nullptr;
    for (; e != nullptr; e = next) {
        entry **to = &t->buckets[1][e->hash & t->mask[1]];
        next = e->next;
        e->next = *to;
        *to = e;
    }
}

// One step; empty buckets cost little, so more of those.
static void move(table *t)
{
    size_t before = t->moving;
    for (int none = 0, full = 0; full < STEP && none < 16 && t->moving <= t->mask[0];)
        if (t->buckets[0][t->moving] == nullptr)
            t->moving++, none++;
        else
            move_bucket(t), full++;
    if (t->mapped[0] && before / EMPTIED != t->moving / EMPTIED)
        memory_empty(t->buckets[0], before / EMPTIED * PIECE, PIECE);
    if (t->moving <= t->mask[0])
        return;
    if (t->mapped[0])
        memory_unmap(t->buckets[0], (t->mask[0] + 1) * sizeof(entry *));
    else
        memory_give(t->buckets[0]);
    t->buckets[0] = t->buckets[1];
    t->mask[0] = t->mask[1];
    t->mapped[0] = t->mapped[1];
    t->buckets[1] = nullptr;
}

static void resize(table *t, size_t buckets)
{
    open_buckets(t, 1, buckets);
    t->moving = 0;
}

// ---- Find, add, remove ----

static entry **search(entry **link, const void *key, size_t n, uint32_t hash)
{
    for (; *link != nullptr; link = &(*link)->next)
        if ((*link)->hash == hash && (*link)->key_size == n &&
            memcmp(entry_key(*link), key, n) == 0)
            return link;
    return nullptr;
}

entry **weft::table_find(table *t, const void *key, size_t n, uint32_t hash)
{
    if (t->count == 0)
        return nullptr;
    if (t->buckets[1] != nullptr)
        move(t);
    if (t->buckets[1] == nullptr)
        return search(&t->buckets[0][hash & t->mask[0]], key, n, hash);
    // Those that were moved are not touched: their pages have been given back.
    size_t old = hash & t->mask[0];
    entry **at = old < t->moving ? nullptr : search(&t->buckets[0][old], key, n, hash);
    return at != nullptr ? at : search(&t->buckets[1][hash & t->mask[1]], key, n, hash);
}

void weft::table_add(table *t, entry *e)
{
    if (t->buckets[0] == nullptr)
        open_buckets(t, 0, LEAST);
    if (t->buckets[1] != nullptr)
        move(t);
    else if (t->count > t->mask[0])
        resize(t, (t->mask[0] + 1) * 2);
    int set = t->buckets[1] != nullptr;
    entry **to = &t->buckets[set][e->hash & t->mask[set]];
    e->next = *to;
    *to = e;
    t->count++;
}

entry *weft::table_remove(table *t, entry **link)
{
    entry *e = *link;
    *link = e->next;
    t->count--;
    if (t->buckets[1] == nullptr && t->mask[0] >= (size_t)LEAST * 4 && t->count < t->mask[0] / 8)
        resize(t, (t->mask[0] + 1) / 4);
    return e;
}

// ---- Some at random ----

// From 0 to n - 1.
static size_t random_below(size_t n)
{
    static uint64_t state;
    if (state == 0)
        (void)!getrandom(&state, sizeof state, GRND_NONBLOCK);
    state += 0x9e3779b97f4a7c15;
    return (size_t)((__uint128_t)fold(state, 0xd6e8feb86659fd93 ^ state) * n >> 64);
}

// A place at random in a bucket at random until there is an entry: the rare chain that is longer
// than PLACES is taken as if it had so many.
entry **weft::table_random(table *t)
{
    static const size_t PLACES = 8;
    if (t->buckets[1] != nullptr)
        move(t);
    size_t first = t->buckets[1] != nullptr ? t->moving : 0, olds = t->mask[0] + 1 - first;
    size_t buckets = olds + (t->buckets[1] != nullptr ? t->mask[1] + 1 : 0);
    for (;;) {
        size_t at = random_below(buckets), n = 0;
        entry **link = t->buckets[1] != nullptr && at >= olds ? &t->buckets[1][at - olds]
                                                              : &t->buckets[0][first + at];
        for (const entry *e = *link; e != nullptr; e = e->next)
            n++;
        size_t place = n > 0 ? random_below(n < PLACES ? PLACES : n) : 0;
        if (place >= n)
            continue;
        for (; place > 0; place--)
            link = &(*link)->next;
        return link;
    }
}

static void append(entry *e, void *arg)
{
    entry ***end = (entry ***)arg;
    *(*end)++ = e;
}

// All, of which the first are exchanged with any behind them.
static entry **shuffled(const table *t, size_t count)
{
    entry **all = (entry **)memory_take(t->count * sizeof *all), **end = all;
    table_each(t, append, &end);
    for (size_t i = 0; i < count; i++) {
        size_t other = i + random_below(t->count - i);
        entry *e = all[i];
        all[i] = all[other];
        all[other] = e;
    }
    return all;
}

// Few of many: again if it was drawn already.
static entry **drawn(table *t, size_t count)
{
    entry **all = (entry **)memory_take(count * sizeof *all);
    table known = {};
    for (size_t i = 0; i < count;) {
        entry *e = *table_random(t);
        uint32_t hash = hash_of(&e, sizeof e);
        if (table_find(&known, &e, sizeof e, hash) != nullptr)
            continue;
        table_add(&known, entry_new(TYPE_STRING, &e, sizeof e, hash, 0));
        all[i++] = e;
    }
    table_clear(&known, entry_drop);
    return all;
}

entry **weft::table_sample(table *t, size_t count)
{
    return count < t->count / 16 ? drawn(t, count) : shuffled(t, count);
}

// ---- All of them ----

static uint64_t reversed(uint64_t v)
{
    v = __builtin_bswap64(v);
    v = (v >> 4 & 0x0f0f0f0f0f0f0f0f) | (v & 0x0f0f0f0f0f0f0f0f) << 4;
    v = (v >> 2 & 0x3333333333333333) | (v & 0x3333333333333333) << 2;
    return (v >> 1 & 0x5555555555555555) | (v & 0x5555555555555555) << 1;
}

// The next cursor, of which the bits of `mask` count.
static uint64_t following(uint64_t cursor, uint64_t mask)
{
    return reversed(reversed(cursor | ~mask) + 1);
}

static void call(entry *e, void (*fn)(entry *e, void *arg), void *arg)
{
    for (; e != nullptr; e = e->next)
        fn(e, arg);
}

uint64_t weft::table_scan(table *t, uint64_t cursor, void (*fn)(entry *e, void *arg), void *arg)
{
    if (t->count == 0)
        return 0;
    if (t->buckets[1] == nullptr) {
        call(t->buckets[0][cursor & t->mask[0]], fn, arg);
        return following(cursor, t->mask[0]);
    }
    // A bucket of the smaller set, and all those of the larger one that it becomes or came from.
    int small = t->mask[0] < t->mask[1] ? 0 : 1;
    call(t->buckets[small][cursor & t->mask[small]], fn, arg);
    do {
        call(t->buckets[!small][cursor & t->mask[!small]], fn, arg);
        cursor = following(cursor, t->mask[!small]);
    } while (cursor & (t->mask[small] ^ t->mask[!small]));
    return cursor;
}

void weft::table_each(const table *t, void (*fn)(entry *e, void *arg), void *arg)
{
    for (int set = 0; set < 2; set++)
        for (size_t i = 0; t->buckets[set] != nullptr && i <= t->mask[set]; i++)
            call(t->buckets[set][i], fn, arg);
}

// From the last bucket on: the mask says how many there are still.
bool weft::table_drop_some(table *t, size_t n, void (*drop)(entry *e))
{
    for (int set = 0; set < 2; set++) {
        entry **buckets = t->buckets[set];
        for (bool last = buckets == nullptr; !last; n--) {
            if (n == 0)
                return true;
            last = t->mask[set] == 0;
            for (entry *next, *e = buckets[t->mask[set]--]; e != nullptr; e = next) {
                next = e->next;
                drop(e);
            }
            if (t->mapped[set] && (t->mask[set] + 1) % EMPTIED == 0)
                memory_unmap(buckets + t->mask[set] + 1, PIECE);
        }
        if (!t->mapped[set])
            memory_give(buckets);
        t->buckets[set] = nullptr;
    }
    t->count = 0;
    return false;
}

void weft::table_clear(table *t, void (*drop)(entry *e))
{
    table old = *t;
    *t = {};
    table_drop_some(&old, SIZE_MAX, drop);
}
