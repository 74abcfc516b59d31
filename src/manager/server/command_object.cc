// command_object.cc: how values are kept: OBJECT, MEMORY; and WAIT, which has nobody to wait for.
//
// Values have one representation a type here.  What OBJECT ENCODING answers is what Redis 7.0
// would have, by the sizes that CONFIG has: clients and test suites look at it.
#include "commands.h"
#include "place.h"

using namespace weft;

// ---- OBJECT ----

namespace {
// What is looked for in all fields and values, or members.
struct looked_at {
    size_t longest;
    bool integers; // there is nothing else
};
} // namespace

static void look_at(entry *e, void *arg)
{
    looked_at *l = (looked_at *)arg;
    int64_t number;
    l->longest = e->key_size > l->longest ? e->key_size : l->longest;
    l->longest = e->size > l->longest ? e->size : l->longest;
    l->integers = l->integers && parse_number(entry_key(e), e->key_size, &number);
}

static const char *string_encoding(entry *e)
{
    int64_t number;
    if (!e->general && parse_number(entry_text(e), e->size, &number))
        return "int";
    return !e->general && e->size <= 44 ? "embstr" : "raw";
}

static const char *hash_encoding(const server *s, const entry *e)
{
    const table *t = entry_hash(e);
    looked_at l = {};
    if (t->count > s->x.hash_entries)
        return "hashtable";
    table_each(t, look_at, &l);
    return l.longest > s->x.hash_value ? "hashtable" : "listpack";
}

static const char *set_encoding(const server *s, const entry *e)
{
    const table *t = entry_hash(e);
    looked_at l = {};
    l.integers = true;
    bool few = !e->general && t->count <= s->x.set_integers;
    if (few)
        table_each(t, look_at, &l);
    return few && l.integers ? "intset" : "hashtable";
}

static const char *encoding(const server *s, entry *e)
{
    switch (e->type) {
    case TYPE_STRING:
        return string_encoding(e);
    case TYPE_LIST:
        return "quicklist";
    case TYPE_SET:
        return set_encoding(s, e);
    default:
        return hash_encoding(s, e);
    }
}

static void object_encoding(peer *p, const word *words, int)
{
    entry **link = key_find(p->server, p->db, &words[2]);
    if (link == nullptr)
        reply_null(p);
    else
        reply_text(p, encoding(p->server, *link));
}

static void object_refcount(peer *p, const word *words, int)
{
    if (key_find(p->server, p->db, &words[2]) == nullptr)
        reply_null(p);
    else
        reply_integer(p, 1); // nothing is shared
}

static void object_freq(peer *p, const word *words, int)
{
    if (key_find(p->server, p->db, &words[2]) == nullptr)
        reply_null(p);
    else
        reply_error(p, "ERR An LFU maxmemory policy is not selected, access frequency not tracked. "
                       "Please note that when switching between policies at runtime LRU and LFU "
                       "data will take some time to adjust.");
}

static void object_idletime(peer *p, const word *words, int)
{
    if (key_find(p->server, p->db, &words[2]) == nullptr)
        reply_null(p);
    else
        reply_error(p, "ERR Nothing is evicted, idle time not tracked.");
}

// clang-format off
const command_row weft::object_subcommands[] = {
    {"object|encoding", object_encoding, 3, 0, 2, 2, 1, nullptr,
     "ENCODING <key>\n    Return the kind of representation Redis would use for the value\n"
     "    associated with a <key>."},
    {"object|freq", object_freq, 3, 0, 2, 2, 1, nullptr,
     "FREQ <key>\n    Fail: nothing is evicted, so that access is not counted."},
    {"object|idletime", object_idletime, 3, 0, 2, 2, 1, nullptr,
     "IDLETIME <key>\n    Fail: nothing is evicted, so that the time of access is not kept."},
    {"object|refcount", object_refcount, 3, 0, 2, 2, 1, nullptr,
     "REFCOUNT <key>\n    Return the number of references of the value associated with the\n"
     "    specified <key>: 1."},
    {"object|help", command_help, 2, 0, 0, 0, 0},
    {},
};
// clang-format on

// ---- MEMORY ----

static size_t size_of(const void *p)
{
    return p != nullptr ? malloc_usable_size((void *)p) + CHUNK_HEADER : 0;
}

static size_t list_size(const item_list *l, int64_t samples)
{
    size_t looked = samples == 0 || (size_t)samples > l->count ? l->count : (size_t)samples;
    size_t size = 0, pieces = l->room > LIST_PIECE ? l->count / LIST_PIECE + 1 : 0;
    for (size_t i = 0; i < looked; i++)
        size += size_of(*list_item_at(l, i));
    return size_of(l) + size_of(l->ring) + pieces * LIST_PIECE * sizeof(list_item *) +
           (looked > 0 ? size * l->count / looked : 0);
}

namespace {
struct sampled {
    size_t size, count, most;
};
} // namespace

static void sample(entry *e, void *arg)
{
    sampled *s = (sampled *)arg;
    if (s->count == s->most)
        return;
    s->size += size_of(e);
    s->count++;
}

static size_t buckets_size(const table *t, int set)
{
    return t->buckets[set] == nullptr ? 0 : (t->mask[set] + 1) * sizeof(entry *) + CHUNK_HEADER;
}

static size_t table_size(table *t, int64_t samples)
{
    sampled s = {0, 0, samples == 0 ? SIZE_MAX : (size_t)samples};
    uint64_t cursor = 0;
    do
        cursor = table_scan(t, cursor, sample, &s);
    while (cursor != 0 && s.count < s.most);
    return size_of(t) + buckets_size(t, 0) + buckets_size(t, 1) +
           (s.count > 0 ? s.size * t->count / s.count : 0);
}

// MEMORY USAGE key [SAMPLES n]
static void memory_usage(peer *p, const word *words, int n)
{
    int64_t samples = 5;
    for (int i = 3; i < n; i += 2) {
        if (!word_is(&words[i], "samples") || i + 1 == n) {
            reply_syntax(p);
            return;
        }
        if (!parse_integer(p, &words[i + 1], &samples))
            return;
        if (samples < 0) {
            reply_syntax(p);
            return;
        }
    }
    entry **link = key_find(p->server, p->db, &words[2]);
    if (link == nullptr) {
        reply_null(p);
        return;
    }
    size_t size = size_of(entry_expiry(*link)) + size_of(*link);
    if ((*link)->type == TYPE_LIST)
        size += list_size(entry_list(*link), samples);
    else if ((*link)->type != TYPE_STRING)
        size += table_size(entry_hash(*link), samples);
    reply_integer(p, (int64_t)size);
}

static void memory_purge(peer *p, const word *, int)
{
    malloc_trim(0);
    reply_ok(p);
}

// clang-format off
const command_row weft::memory_subcommands[] = {
    {"memory|purge", memory_purge, 2, 0, 0, 0, 0, nullptr,
     "PURGE\n    Give unused memory back to the system."},
    {"memory|usage", memory_usage, -3, 0, 2, 2, 1, nullptr,
     "USAGE <key> [SAMPLES <count>]\n"
     "    Return memory in bytes used by <key> and its value. Nested values are\n"
     "    sampled up to <count> times (default: 5, 0 means sample all)."},
    {"memory|help", command_help, 2, 0, 0, 0, 0},
    {},
};
// clang-format on

// ---- WAIT ----

// WAIT replicas ms: there are none, now or later.
void weft::command_wait(peer *p, const word *words, int)
{
    int64_t replicas, ms;
    if (!parse_integer(p, &words[1], &replicas))
        return;
    if (!parse_number(words[2].text, words[2].size, &ms)) {
        reply_error(p, "ERR timeout is not an integer or out of range");
    } else if (ms < 0) {
        reply_error(p, "ERR timeout is negative");
    } else if (replicas <= 0) {
        reply_integer(p, 0);
    } else {
        wait_begin(p, 0, nullptr, ms == 0 ? WEFT_FOREVER : weft_in_ms(ms))->time_out =
            [](peer_wait *w) { reply_integer(w->peer, 0); };
    }
}
