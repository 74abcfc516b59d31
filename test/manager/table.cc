// table.cc: the server's hash table, entries and lists, and that they give all memory back.
#include "../runner.h"

#include <manager/server/entry.h>
#include <manager/server/memory.h>

#include <initializer_list>
#include <stdio.h>

using namespace weft;

enum { MANY = 20000 };

static entry **find(table *t, const char *key)
{
    return table_find(t, key, strlen(key), hash_of(key, strlen(key)));
}

static void add(table *t, const char *key, const char *value)
{
    size_t n = strlen(value);
    entry *e = entry_new(TYPE_STRING, key, strlen(key), hash_of(key, strlen(key)), n);
    memcpy(entry_text(e), value, n);
    table_add(t, e);
}

static const char *name(int i)
{
    static char text[32];
    snprintf(text, sizeof text, "key:%d", i);
    return text;
}

static void fill(table *t, int from, int to)
{
    for (int i = from; i < to; i++)
        add(t, name(i), "value");
}

static void empty(table *t)
{
    table_clear(t, entry_drop);
    assert_int_equal(t->count, 0);
    assert_int_equal(bytes_in_use, 0);
}

CASE(test_find_what_was_added)
{
    table t = {};
    assert_null(find(&t, "a"));
    fill(&t, 0, MANY);
    assert_int_equal(t.count, MANY);
    for (int i = 0; i < MANY; i++) {
        entry **at = find(&t, name(i));
        assert_non_null(at);
        assert_memory_equal(entry_key(*at), name(i), (*at)->key_size);
        assert_memory_equal(entry_text(*at), "value", 5);
    }
    assert_null(find(&t, "key:"));
    empty(&t);
}

// Removing makes the table smaller again, while it is used.
CASE(test_remove_shrinks)
{
    table t = {};
    fill(&t, 0, MANY);
    for (int i = 0; i < MANY - 3; i++)
        entry_drop(table_remove(&t, find(&t, name(i))));
    for (int i = 0; i < MANY; i++) // the calls that move buckets
        assert_int_equal(find(&t, name(i)) != NULL, i >= MANY - 3);
    assert_true(t.buckets[1] == NULL ? t.mask[0] < MANY / 4 : t.mask[1] < MANY / 4);
    empty(&t);
}

static void mark(entry *e, void *arg)
{
    char text[32] = {};
    memcpy(text, entry_key(e), e->key_size);
    ((unsigned char *)arg)[atoi(text + 4)] = 1;
}

// What is there from its beginning to its end is seen by a scan, whatever happens meanwhile.
static void scan_while(void (*step)(table *t, int round))
{
    static unsigned char seen[100 * MANY];
    table t = {};
    uint64_t cursor = 0;
    int round = 0;
    memset(seen, 0, sizeof seen);
    fill(&t, 0, 1000);
    do {
        cursor = table_scan(&t, cursor, mark, seen);
        step(&t, ++round);
        assert_true(round < 100 * MANY);
    } while (cursor != 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(seen[i], 1);
    empty(&t);
}

static void nothing(table *, int)
{
}

static void grow(table *t, int round)
{
    if (round < 2000)
        fill(t, 1000 + 20 * (round - 1), 1000 + 20 * round);
}

static void grow_and_shrink(table *t, int round)
{
    int block = (round - 1) / 40, i = (round - 1) % 40;
    for (int k = 0; k < 100 && block < 200; k++) {
        int which = 1000 + (block / 2) * 4000 + i * 100 + k;
        if (block % 2 == 0)
            add(t, name(which), "x");
        else
            entry_drop(table_remove(t, find(t, name(which))));
    }
}

CASE(test_scan_sees_all)
{
    scan_while(nothing);
    scan_while(grow);
    scan_while(grow_and_shrink);
}

CASE(test_entry_resize_keeps_the_text)
{
    table t = {};
    add(&t, "k", "0123456789");
    for (size_t n = 10; n < 300000; n = n * 3 / 2) {
        entry *e = entry_resize(find(&t, "k"), n, true);
        assert_int_equal(e->size, n);
        assert_memory_equal(entry_text(e), "0123456789", 10);
    }
    entry *e = entry_resize(find(&t, "k"), 4, false);
    assert_memory_equal(entry_text(e), "0123", 4);
    assert_true(bytes_in_use < 1000); // what it does not need it gives back
    empty(&t);
}

CASE(test_entry_expiry_moves_key_and_text)
{
    table t = {};
    entry *expiry[2] = {}; // begins with its entry
    add(&t, "key", "text");
    entry *e = entry_set_expiry(find(&t, "key"), expiry);
    assert_ptr_equal(expiry[0], e);
    assert_ptr_equal(entry_expiry(e), expiry);
    e = entry_resize(find(&t, "key"), 1000, false);
    assert_ptr_equal(expiry[0], e);
    assert_memory_equal(entry_text(e), "text", 4);
    e = entry_set_expiry(find(&t, "key"), NULL);
    assert_null(entry_expiry(e));
    assert_memory_equal(entry_text(e), "text", 4);
    empty(&t);
}

// As long a key as a message may bring.
CASE(test_entry_with_a_long_key)
{
    const size_t n = 300 << 20;
    table t = {};
    char *key = (char *)calloc(1, n);
    assert_non_null(key);
    key[n - 1] = 'k';
    uint32_t hash = hash_of(key, n);
    entry *e = entry_new(TYPE_STRING, key, n, hash, 4);
    memcpy(entry_text(e), "text", 4);
    table_add(&t, e);
    assert_int_equal(e->key_size, n);
    entry **at = table_find(&t, key, n, hash);
    assert_non_null(at);
    assert_memory_equal(entry_text(*at), "text", 4);
    empty(&t);
    free(key);
}

CASE(test_list_is_a_deque)
{
    item_list l = {};
    // Numbers -500 to 499, from both ends.
    for (int i = 0; i < 500; i++) {
        int back = i, front = -1 - i;
        list_push(&l, item_new(&back, sizeof back), false);
        list_push(&l, item_new(&front, sizeof front), true);
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(*(int *)(void *)(*list_item_at(&l, (size_t)i))->text, i - 500);
    for (int i = 0; i < 990; i++) {
        list_item *item = list_pop(&l, i % 2 == 0);
        assert_int_equal(*(int *)(void *)item->text, i % 2 == 0 ? i / 2 - 500 : 499 - i / 2);
        memory_give(item);
    }
    assert_true(l.room <= 64);
    for (size_t i = 0; i < l.count; i += 2) {
        memory_give(*list_item_at(&l, i));
        *list_item_at(&l, i) = NULL;
    }
    list_compact(&l);
    assert_int_equal(l.count, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(*(int *)(void *)(*list_item_at(&l, (size_t)i))->text, 2 * i - 4);
    while (l.count > 0)
        memory_give(list_pop(&l, true));
    memory_give(l.ring);
    assert_int_equal(bytes_in_use, 0);
}

static void give_list(item_list *l)
{
    while (l->count > 0)
        memory_give(list_pop(l, true));
    memory_give(l->ring);
}

// Cut anywhere, wherever its pieces begin, both parts have what is theirs, and go on.
CASE(test_list_cut)
{
    static const int counts[] = {0, 1, 3, 40, 511, 512, 513, 1024, 1025, 1600, 5000},
                     fronts[] = {0, 1, 100, 511, 512, 700};
    for (int count : counts)
        for (int front : fronts)
            for (int n : {0, 1, 2, 100, 511, 512, 513, count - 513, count - 1, count})
                for (bool from_front : {false, true}) {
                    item_list l = {}, cut = {};
                    if (n < 0 || n > count || front > count)
                        continue;
                    for (int i = front - 1; i >= 0; i--)
                        list_push(&l, item_new(&i, sizeof i), true);
                    for (int i = front; i < count; i++)
                        list_push(&l, item_new(&i, sizeof i), false);
                    list_cut(&l, (size_t)n, from_front, &cut);
                    assert_int_equal(cut.count, n);
                    assert_int_equal(l.count, count - n);
                    const item_list *first = from_front ? &cut : &l, *last = from_front ? &l : &cut;
                    for (int i = 0; i < count; i++) {
                        const item_list *in = (size_t)i < first->count ? first : last;
                        size_t at = (size_t)i - (in == first ? 0 : first->count);
                        assert_int_equal(*(int *)(void *)(*list_item_at(in, at))->text, i);
                    }
                    for (int i = 0; i < 600; i++)
                        for (item_list *one : {&l, &cut})
                            list_push(one, item_new(&i, sizeof i), i % 2 == 0);
                    give_list(&l);
                    give_list(&cut);
                    assert_int_equal(bytes_in_use, 0);
                }
}

// Against a plain array, as it grows and shrinks at both ends.
CASE(test_list_at_random)
{
    enum { MOST = 20000, STEPS = 400000 };
    static int model[2 * STEPS];
    item_list l = {};
    int begin = STEPS, end = STEPS;
    uint32_t state = 1;
    for (int i = 0; i < STEPS; i++) {
        state = state * 1664525 + 1013904223;
        bool front = state >> 16 & 1, grows = (i / MOST) % 2 == 0;
        if (begin == end || (state >> 20 & 7) < (grows ? 6u : 2u)) {
            model[front ? --begin : end++] = i;
            list_push(&l, item_new(&i, sizeof i), front);
        } else {
            list_item *item = list_pop(&l, front);
            assert_int_equal(*(int *)(void *)item->text, model[front ? begin++ : --end]);
            memory_give(item);
        }
        assert_int_equal(l.count, end - begin);
        for (int k = begin; i % 10000 == 0 && k < end; k++)
            assert_int_equal(*(int *)(void *)(*list_item_at(&l, (size_t)(k - begin)))->text,
                             model[k]);
    }
    give_list(&l);
    assert_int_equal(bytes_in_use, 0);
}

// No push to a large list, and no pop, moves much, nor takes or gives back much memory.
CASE(test_list_has_no_long_steps)
{
    enum { ALL = 3000000, MUCH = 1 << 18 };
    item_list l = {};
    int zero = 0;
    list_item *item = item_new(&zero, sizeof zero); // all of them
    size_t last = bytes_in_use;
    for (int i = 0; i < 2 * ALL; i++, last = bytes_in_use) {
        if (i < ALL)
            list_push(&l, item, i % 3 == 0);
        else
            list_pop(&l, i % 3 != 0);
        assert_true(bytes_in_use < last + MUCH && last < bytes_in_use + MUCH);
    }
    memory_give(l.ring);
    memory_give(item);
    assert_int_equal(bytes_in_use, 0);
}

// At each index of a ring that has come around, from either end.
CASE(test_list_insert_anywhere)
{
    for (size_t n = 0; n < 20; n++)
        for (size_t i = 0; i <= n; i++) {
            item_list l = {};
            for (size_t k = 0; k < n / 2; k++) {
                int number = (int)(n / 2 - 1 - k);
                list_push(&l, item_new(&number, sizeof number), true);
            }
            for (int k = (int)(n / 2); k < (int)n; k++)
                list_push(&l, item_new(&k, sizeof k), false);
            int fresh = -1;
            list_insert(&l, i, item_new(&fresh, sizeof fresh));
            assert_int_equal(l.count, n + 1);
            for (size_t k = 0; k <= n; k++)
                assert_int_equal(*(int *)(void *)(*list_item_at(&l, k))->text,
                                 k == i ? -1 : (int)k - (k > i));
            while (l.count > 0)
                memory_give(list_pop(&l, true));
            memory_give(l.ring);
        }
    assert_int_equal(bytes_in_use, 0);
}

// ---- At random ----

static int number_of(const entry *e)
{
    char text[32] = {};
    memcpy(text, entry_key(e), e->key_size);
    return atoi(text + 4);
}

// How far from what is to be expected of equal chances: the sum of the squares; about `entries`.
static double distance(table *t, int entries, int draws)
{
    static int often[1000];
    memset(often, 0, sizeof often);
    double each = (double)draws / entries, sum = 0;
    for (int i = 0; i < draws; i++)
        often[number_of(*table_random(t))]++;
    for (int i = 0; i < entries; i++)
        sum += (often[i] - each) * (often[i] - each) / each;
    return sum;
}

CASE(test_random_draws_all_alike)
{
    for (int entries : {1, 2, 5, 100, 1000}) {
        table t = {};
        fill(&t, 0, entries);
        assert_true(distance(&t, entries, entries * 200) < entries + entries / 3 + 60);
        empty(&t);
    }
}

// While it is made smaller as well: that goes on with each draw.
CASE(test_random_takes_all)
{
    static bool taken[MANY];
    table t = {};
    fill(&t, 0, MANY);
    for (int left = MANY; left > 0; left--) {
        entry *e = table_remove(&t, table_random(&t));
        assert_false(taken[number_of(e)]);
        taken[number_of(e)] = true;
        entry_drop(e);
    }
    assert_int_equal(t.count, 0);
    empty(&t);
}

CASE(test_sample_has_none_twice)
{
    table t = {};
    fill(&t, 0, MANY);
    for (size_t count :
         {(size_t)1, (size_t)100, (size_t)MANY / 16 + 1, (size_t)MANY - 1, (size_t)MANY}) {
        bool *taken = (bool *)calloc(MANY, 1);
        entry **all = table_sample(&t, count);
        for (size_t i = 0; i < count; i++) {
            assert_false(taken[number_of(all[i])]);
            taken[number_of(all[i])] = true;
        }
        memory_give(all);
        free(taken);
    }
    empty(&t);
}

// ---- Under another key ----

CASE(test_entry_copies_are_their_own)
{
    entry *e = entry_new(TYPE_HASH, "h", 1, hash_of("h", 1), 0);
    fill(entry_hash(e), 0, 100);
    entry *copy = entry_copy(e, "copy", 4, hash_of("copy", 4));
    entry *other = entry_renamed(e, "a longer name", 13, hash_of("a longer name", 13));
    assert_memory_equal(entry_key(other), "a longer name", 13);
    for (int i = 0; i < 100; i++)
        entry_drop(table_remove(entry_hash(other), find(entry_hash(other), name(i))));
    assert_int_equal(entry_hash(copy)->count, 100);
    assert_memory_equal(entry_text(*find(entry_hash(copy), name(99))), "value", 5);
    entry_drop(copy);
    entry_drop(other);
    assert_int_equal(bytes_in_use, 0);
}

// Keys that differ in one bit lie apart, and so do those of another seed.
CASE(test_hash_spreads)
{
    int worst = 0, buckets[1024] = {};
    for (int i = 0; i < 102400; i++) {
        int *b = &buckets[hash_of(&i, sizeof i) % 1024];
        worst = ++*b > worst ? *b : worst;
    }
    assert_true(worst < 160); // 100 on average, deviation 10
    uint32_t h = hash_of("a", 1);
    hash_seed(12345);
    assert_int_not_equal(hash_of("a", 1), h);
    assert_int_not_equal(hash_of("a\0", 2), hash_of("a", 1));
    assert_int_not_equal(hash_of("", 0), hash_of("\0", 1));
}

RUN_CASES()
