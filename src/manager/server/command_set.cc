// command_set.cc: sets: SADD SREM SMEMBERS SISMEMBER SMISMEMBER SCARD SPOP SRANDMEMBER SMOVE SINTER
// SINTERSTORE SINTERCARD SUNION SUNIONSTORE SDIFF SDIFFSTORE, as Redis has them.  A set is a table
// of string entries that are empty.
#include "commands.h"
#include "place.h"

using namespace weft;

static entry *member_new(const void *text, size_t n, uint32_t hash)
{
    return entry_new(TYPE_STRING, text, n, hash, 0);
}

// Whether it is new.  A set of other than few integers is a hash table from then on, as in Redis.
static bool add_member(entry *set, const word *w)
{
    table *t = entry_hash(set);
    int64_t number;
    uint32_t hash = hash_of(w->text, w->size);
    if (table_find(t, w->text, w->size, hash) != nullptr)
        return false;
    table_add(t, member_new(w->text, w->size, hash));
    if (!set->general &&
        (t->count > this_server->x.set_integers || !parse_number(w->text, w->size, &number)))
        set->general = 1;
    return true;
}

// Whether it was there.
static bool remove_member(table *t, const word *w)
{
    entry **link = table_find_word(t, w);
    if (link != nullptr)
        entry_drop(table_remove(t, link));
    return link != nullptr;
}

static void changed(peer *p, const word *key)
{
    key_changed(p->server, p->db, key->text, key->size);
}

static void reply_member(peer *p, entry *e)
{
    reply_string(p, entry_key(e), e->key_size);
}

static void reply_each(entry *e, void *arg)
{
    reply_member((peer *)arg, e);
}

static void reply_members(peer *p, const table *t)
{
    reply_set(p, t->count);
    table_each(t, reply_each, p);
}

// ---- One set ----

void weft::command_sadd(peer *p, const word *words, int n)
{
    entry *e = key_make(p, &words[1], TYPE_SET);
    if (e == nullptr)
        return;
    int64_t fresh = 0;
    for (int i = 2; i < n; i++)
        fresh += add_member(e, &words[i]);
    if (fresh > 0)
        changed(p, &words[1]);
    reply_integer(p, fresh);
}

void weft::command_srem(peer *p, const word *words, int n)
{
    table *t = key_table(p, &words[1], TYPE_SET);
    if (t == nullptr)
        return;
    int64_t removed = 0;
    for (int i = 2; i < n; i++)
        removed += remove_member(t, &words[i]);
    if (removed > 0) {
        changed(p, &words[1]);
        key_remove_if_empty(p->server, p->db, &words[1]);
    }
    reply_integer(p, removed);
}

void weft::command_smembers(peer *p, const word *words, int)
{
    const table *t = key_table(p, &words[1], TYPE_SET);
    if (t != nullptr)
        reply_members(p, t);
}

void weft::command_sismember(peer *p, const word *words, int)
{
    table *t = key_table(p, &words[1], TYPE_SET);
    if (t != nullptr)
        reply_integer(p, table_find_word(t, &words[2]) != nullptr);
}

void weft::command_smismember(peer *p, const word *words, int n)
{
    table *t = key_table(p, &words[1], TYPE_SET);
    if (t == nullptr)
        return;
    reply_array(p, (size_t)n - 2);
    for (int i = 2; i < n; i++)
        reply_integer(p, table_find_word(t, &words[i]) != nullptr);
}

void weft::command_scard(peer *p, const word *words, int)
{
    const table *t = key_table(p, &words[1], TYPE_SET);
    if (t != nullptr)
        reply_integer(p, (int64_t)t->count);
}

void weft::command_smove(peer *p, const word *words, int)
{
    server *s = p->server;
    const word *from = &words[1], *to = &words[2], *member = &words[3];
    // The source last: if it expires this moment, and is the target as well, neither is used.
    entry **link = key_find(s, p->db, to);
    const entry *target = link != nullptr ? *link : nullptr;
    link = key_find(s, p->db, from);
    if (link == nullptr) {
        reply_integer(p, 0);
        return;
    }
    const entry *source = *link;
    if (source->type != TYPE_SET || (target != nullptr && target->type != TYPE_SET)) {
        reply_wrong_type(p);
        return;
    }
    if (target == source) {
        reply_integer(p, table_find_word(entry_hash(source), member) != nullptr);
        return;
    }
    if (!remove_member(entry_hash(source), member)) {
        reply_integer(p, 0);
        return;
    }
    changed(p, from);
    key_remove_if_empty(s, p->db, from);
    if (add_member(key_make(p, to, TYPE_SET), member))
        changed(p, to);
    reply_integer(p, 1);
}

// ---- At random ----

static bool parse_positive(peer *p, const word *w, int64_t *count)
{
    if (parse_number(w->text, w->size, count) && *count >= 0)
        return true;
    reply_error(p, "ERR value is out of range, must be positive");
    return false;
}

static void pop_one(peer *p, table *t)
{
    entry *e = table_remove(t, table_random(t));
    reply_member(p, e);
    entry_drop(e);
}

// So many, but not all; drawn together, since one by one from a table that becomes ever emptier
// takes long.
static void pop_some(peer *p, table *t, size_t n)
{
    entry **chosen = table_sample(t, n);
    for (size_t i = 0; i < n; i++) {
        entry *e = chosen[i];
        reply_member(p, e);
        entry_drop(table_remove(t, table_find(t, entry_key(e), e->key_size, e->hash)));
    }
    memory_give(chosen);
}

// The set of a command with a key and perhaps a count, which `parse` reads.  nullptr: the peer was
// told.
static table *set_and_count(peer *p, const word *words, int n,
                            bool (*parse)(peer *p, const word *w, int64_t *count), int64_t *count)
{
    if (n > 3) {
        reply_syntax(p);
        return nullptr;
    }
    if (n == 3 && !parse(p, &words[2], count))
        return nullptr;
    return key_table(p, &words[1], TYPE_SET);
}

void weft::command_spop(peer *p, const word *words, int n)
{
    int64_t count = 1;
    table *t = set_and_count(p, words, n, parse_positive, &count);
    if (t == nullptr)
        return;
    if (n == 2 && t->count == 0) {
        reply_null(p);
        return;
    }
    size_t many = (uint64_t)count < t->count ? (size_t)count : t->count;
    if (n == 3)
        reply_set(p, many);
    if (many == 0)
        return;
    if (many < t->count) {
        if (many == 1)
            pop_one(p, t);
        else
            pop_some(p, t, many);
        changed(p, &words[1]);
        return;
    }
    table_each(t, reply_each, p);
    entry **link = table_find_word(&p->server->keys[p->db], &words[1]); // it was there
    key_remove(p->server, p->db, link);
}

// So many, the same one more than once.  A reply that would be longer than a peer may have ends it
// before, not behind, the work.
static void reply_any(peer *p, table *t, uint64_t count, void (*reply)(peer *p, entry *e))
{
    const uint64_t shortest = 6;
    if (count > p->server->o.max_reply / shortest) {
        peer_end(p);
        return;
    }
    for (uint64_t i = 0; i < count && !p->ending; i++)
        reply(p, *table_random(t));
}

void weft::reply_random(peer *p, table *t, int64_t count, void (*head)(peer *p, size_t n),
                        void (*reply)(peer *p, entry *e))
{
    if (count < 0 && t->count > 0) {
        head(p, 0 - (size_t)count);
        reply_any(p, t, 0 - (uint64_t)count, reply);
        return;
    }
    size_t many = count < 0 ? 0 : (uint64_t)count < t->count ? (size_t)count : t->count;
    head(p, many);
    if (many == 0)
        return;
    entry **chosen = table_sample(t, many);
    for (size_t i = 0; i < many; i++)
        reply(p, chosen[i]);
    memory_give(chosen);
}

bool weft::parse_count(peer *p, const word *w, int64_t *count)
{
    if (!parse_integer(p, w, count))
        return false;
    if (*count != INT64_MIN)
        return true;
    reply_error(p, "ERR value is out of range, value must between -9223372036854775807 and "
                   "9223372036854775807");
    return false;
}

void weft::command_srandmember(peer *p, const word *words, int n)
{
    int64_t count = 0;
    table *t = set_and_count(p, words, n, parse_count, &count);
    if (t == nullptr)
        return;
    if (n == 3)
        reply_random(p, t, count, reply_array, reply_member);
    else if (t->count == 0)
        reply_null(p);
    else
        reply_member(p, *table_random(t));
}

// ---- Several sets ----

// The sets at n keys, an empty one where there is none; the memory is the caller's.  nullptr: one
// is no set, and the peer was told.
static table **sets_at(peer *p, const word *keys, size_t n)
{
    static table none;
    entry **link;
    for (size_t i = 0; i < n; i++)
        if (!key_typed(p, &keys[i], TYPE_SET, &link))
            return nullptr;
    // Once more without a look at the clock: what has not expired stays.
    table **sets = (table **)memory_take(n * sizeof *sets);
    for (size_t i = 0; i < n; i++) {
        link = table_find_word(&p->server->keys[p->db], &keys[i]);
        sets[i] = link != nullptr ? entry_hash(*link) : &none;
    }
    return sets;
}

namespace {
// Of the members of one set those that are in all, or in none, of some others; that set itself is
// not among them, since it must not move while it is gone through.
struct choice {
    table **sets;
    size_t n;
    bool in;
    table *into; // nullptr: they are only counted
    size_t count;
};
} // namespace

static void choose(entry *e, void *arg)
{
    choice *c = (choice *)arg;
    const char *text = entry_key(e);
    for (size_t i = 0; i < c->n; i++)
        if ((table_find(c->sets[i], text, e->key_size, e->hash) != nullptr) != c->in)
            return;
    c->count++;
    if (c->into != nullptr)
        table_add(c->into, member_new(text, e->key_size, e->hash));
}

// Goes through the smallest; no more of them than `most`.
static size_t intersect(table **sets, size_t n, table *into, size_t most)
{
    size_t least = 0, others = 0;
    for (size_t i = 1; i < n; i++)
        least = sets[i]->count < sets[least]->count ? i : least;
    table *first = sets[least];
    for (size_t i = 0; i < n; i++)
        if (sets[i] != first)
            sets[others++] = sets[i];
    choice c = {sets, others, true, into, 0};
    uint64_t cursor = 0;
    do {
        cursor = table_scan(first, cursor, choose, &c);
    } while (cursor != 0 && c.count < most);
    return c.count < most ? c.count : most;
}

static void intersection(table **sets, size_t n, table *into)
{
    intersect(sets, n, into, SIZE_MAX);
}

static void difference(table **sets, size_t n, table *into)
{
    choice c = {sets + 1, n - 1, false, into, 0};
    for (size_t i = 1; i < n; i++)
        if (sets[i] == sets[0])
            return;
    table_each(sets[0], choose, &c);
}

static void all(table **sets, size_t n, table *into)
{
    choice c = {&into, 1, false, into, 0};
    for (size_t i = 0; i < n; i++)
        table_each(sets[i], choose, &c);
}

typedef void operation(table **sets, size_t n, table *into);

// Replies with the result; or makes it the set at `to`, and replies with its length.
static void operate(peer *p, const word *to, const word *keys, int n, operation *fn)
{
    server *s = p->server;
    word name = to != nullptr ? *to : word{"", 0};
    table **sets = sets_at(p, keys, (size_t)n);
    if (sets == nullptr)
        return;
    entry *result = entry_new(TYPE_SET, name.text, name.size, hash_of(name.text, name.size), 0);
    size_t count = 0;
    fn(sets, (size_t)n, entry_hash(result));
    memory_give(sets);
    if (to != nullptr) {
        entry **link = key_find(s, p->db, to);
        if (link != nullptr)
            key_remove(s, p->db, link);
        count = entry_hash(result)->count;
        reply_integer(p, (int64_t)count);
    } else {
        reply_members(p, entry_hash(result));
    }
    if (count > 0) {
        table_add(&s->keys[p->db], result);
        changed(p, to);
    } else {
        entry_drop(result);
    }
}

void weft::command_sinter(peer *p, const word *words, int n)
{
    operate(p, nullptr, words + 1, n - 1, intersection);
}

void weft::command_sinterstore(peer *p, const word *words, int n)
{
    operate(p, &words[1], words + 2, n - 2, intersection);
}

void weft::command_sunion(peer *p, const word *words, int n)
{
    operate(p, nullptr, words + 1, n - 1, all);
}

void weft::command_sunionstore(peer *p, const word *words, int n)
{
    operate(p, &words[1], words + 2, n - 2, all);
}

void weft::command_sdiff(peer *p, const word *words, int n)
{
    operate(p, nullptr, words + 1, n - 1, difference);
}

void weft::command_sdiffstore(peer *p, const word *words, int n)
{
    operate(p, &words[1], words + 2, n - 2, difference);
}

// SINTERCARD numkeys key [key ...] [LIMIT limit]
void weft::command_sintercard(peer *p, const word *words, int n)
{
    int64_t keys, limit = 0;
    if (!parse_number(words[1].text, words[1].size, &keys) || keys < 1) {
        reply_error(p, "ERR numkeys should be greater than 0");
        return;
    }
    if (keys > n - 2) {
        reply_error(p, "ERR Number of keys can't be greater than number of args");
        return;
    }
    for (int i = 2 + (int)keys; i < n; i += 2) {
        if (!word_is(&words[i], "limit") || i + 1 == n) {
            reply_syntax(p);
            return;
        }
        if (!parse_number(words[i + 1].text, words[i + 1].size, &limit) || limit < 0) {
            reply_error(p, "ERR LIMIT can't be negative");
            return;
        }
    }
    table **sets = sets_at(p, words + 2, (size_t)keys);
    if (sets == nullptr)
        return;
    size_t most = limit > 0 ? (size_t)limit : SIZE_MAX;
    reply_integer(p, (int64_t)intersect(sets, (size_t)keys, nullptr, most));
    memory_give(sets);
}
