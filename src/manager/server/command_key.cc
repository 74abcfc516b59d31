// command_key.cc: keys: DEL UNLINK EXISTS TYPE EXPIRE PEXPIRE TTL PTTL PERSIST KEYS SCAN DBSIZE
// FLUSHALL FLUSHDB, as Redis has them.
#include "commands.h"
#include "place.h"

#include <limits.h>

using namespace weft;

void weft::command_del(peer *p, const word *words, int n)
{
    int64_t removed = 0;
    for (int i = 1; i < n; i++) {
        entry **link = key_find(p->server, p->db, &words[i]);
        if (link == nullptr)
            continue;
        key_remove(p->server, p->db, link);
        removed++;
    }
    reply_integer(p, removed);
}

void weft::command_exists(peer *p, const word *words, int n)
{
    int64_t there = 0;
    for (int i = 1; i < n; i++)
        there += key_find(p->server, p->db, &words[i]) != nullptr;
    reply_integer(p, there);
}

static const char *type_name(unsigned type)
{
    static const char *const names[] = {"string", "list", "hash", "set"};
    return names[type];
}

void weft::command_type(peer *p, const word *words, int)
{
    entry **link = key_find(p->server, p->db, &words[1]);
    reply_status(p, link != nullptr ? type_name((*link)->type) : "none");
}

// ---- Expiry ----

enum { ABSENT = 1, PRESENT = 2, GREATER = 4, LESS = 8 };

static bool read_conditions(peer *p, const word *words, int n, int *flags)
{
    static const char *const names[] = {"nx", "xx", "gt", "lt"};
    *flags = 0;
    for (int i = 3; i < n; i++) {
        int k = 0;
        while (k < 4 && !word_is(&words[i], names[k]))
            k++;
        if (k == 4) {
            reply_error(p, "ERR Unsupported option %.*s", (int)words[i].size, words[i].text);
            return false;
        }
        *flags |= 1 << k;
    }
    const char *not_together = nullptr;
    if ((*flags & ABSENT) && *flags != ABSENT)
        not_together = "NX and XX, GT or LT";
    else if ((*flags & GREATER) && (*flags & LESS))
        not_together = "GT and LT";
    if (not_together != nullptr)
        reply_error(p, "ERR %s options at the same time are not compatible", not_together);
    return not_together == nullptr;
}

static bool is_wanted(int flags, int64_t now, int64_t at)
{
    return !((flags & ABSENT) && now != -1) && !((flags & PRESENT) && now == -1) &&
           !((flags & GREATER) && (now == -1 || at <= now)) &&
           !((flags & LESS) && now != -1 && at >= now);
}

static void expire(peer *p, const word *words, int n, int64_t unit)
{
    int flags;
    int64_t at;
    if (!read_conditions(p, words, n, &flags) || !parse_integer(p, &words[2], &at))
        return;
    if (__builtin_mul_overflow(at, unit, &at) || __builtin_add_overflow(at, wall_ms(), &at)) {
        reply_error(p, "ERR invalid expire time in '%s' command", p->running);
        return;
    }
    entry **link = key_find(p->server, p->db, &words[1]);
    bool wanted = link != nullptr && is_wanted(flags, key_expires(*link), at);
    if (wanted && at <= wall_ms()) {
        key_remove(p->server, p->db, link);
    } else if (wanted) {
        key_expire_at(p->server, p->db, link, at);
        key_changed(p->server, p->db, words[1].text, words[1].size);
    }
    reply_integer(p, wanted);
}

void weft::command_expire(peer *p, const word *words, int n)
{
    expire(p, words, n, 1000);
}

void weft::command_pexpire(peer *p, const word *words, int n)
{
    expire(p, words, n, 1);
}

// -2: there is no such key; -1: it does not expire.
static int64_t ms_left(peer *p, const word *key)
{
    entry **link = key_find(p->server, p->db, key);
    if (link == nullptr)
        return -2;
    int64_t at = key_expires(*link), left = at - wall_ms();
    return at < 0 ? -1 : left > 0 ? left : 0;
}

void weft::command_ttl(peer *p, const word *words, int)
{
    int64_t left = ms_left(p, &words[1]);
    reply_integer(p, left < 0 ? left : left / 1000 + (left % 1000 >= 500));
}

void weft::command_pttl(peer *p, const word *words, int)
{
    reply_integer(p, ms_left(p, &words[1]));
}

void weft::command_persist(peer *p, const word *words, int)
{
    entry **link = key_find(p->server, p->db, &words[1]);
    bool expires = link != nullptr && (*link)->expires;
    if (expires) {
        key_persist(p->server, p->db, link);
        key_changed(p->server, p->db, words[1].text, words[1].size);
    }
    reply_integer(p, expires);
}

// ---- All of them ----

namespace {
struct found {
    const entry **entries;
    size_t count, room;
    const word *pattern;   // nullptr: all
    const word *type_word; // the same
    int64_t now;
};
} // namespace

static void note(entry *e, void *arg)
{
    found *f = (found *)arg;
    const char *key = entry_key(e);
    if ((e->expires && key_expires(e) <= f->now) ||
        (f->pattern != nullptr &&
         !glob_matches(f->pattern->text, f->pattern->size, key, e->key_size)) ||
        (f->type_word != nullptr && !word_is(f->type_word, type_name(e->type))))
        return;
    if (f->count == f->room) {
        f->room = f->room == 0 ? 32 : f->room * 2;
        f->entries = (const entry **)retake(f->entries, f->room * sizeof *f->entries);
    }
    f->entries[f->count++] = e;
}

static void reply_found(peer *p, found *f)
{
    reply_array(p, f->count);
    for (size_t i = 0; i < f->count; i++)
        reply_string(p, entry_key(f->entries[i]), f->entries[i]->key_size);
    memory_give(f->entries);
}

void weft::command_keys(peer *p, const word *words, int)
{
    found f = {};
    f.pattern = &words[1];
    f.now = wall_ms();
    table_each(&p->server->keys[p->db], note, &f);
    reply_found(p, &f);
}

// The options of SCAN.  false: the peer was told.
static bool read_scan(peer *p, const word *words, int n, found *f, int64_t *count)
{
    for (int i = 2; i < n; i += 2) {
        bool is_count = word_is(&words[i], "count");
        if (i + 1 < n && is_count) {
            if (!parse_integer(p, &words[i + 1], count))
                return false;
            if (*count >= 1)
                continue;
        } else if (i + 1 < n && word_is(&words[i], "match")) {
            f->pattern = &words[i + 1];
            continue;
        } else if (i + 1 < n && word_is(&words[i], "type")) {
            f->type_word = &words[i + 1];
            continue;
        }
        reply_syntax(p);
        return false;
    }
    return true;
}

// As strtoul(3) reads it, since that is what Redis's clients may rely on.
static bool read_cursor(peer *p, const word *w, uint64_t *cursor)
{
    *cursor = 0;
    bool good = true; // no digit is 0
    for (size_t i = 0; i < w->size && good; i++) {
        unsigned digit = (unsigned)w->text[i] - '0';
        good = digit <= 9 && !__builtin_mul_overflow(*cursor, 10u, cursor) &&
               !__builtin_add_overflow(*cursor, digit, cursor);
    }
    if (!good)
        reply_error(p, "ERR invalid cursor");
    return good;
}

void weft::command_scan(peer *p, const word *words, int n)
{
    found f = {};
    int64_t count = 10;
    uint64_t cursor;
    char text[24];
    if (!read_cursor(p, &words[1], &cursor) || !read_scan(p, words, n, &f, &count))
        return;
    f.now = wall_ms();
    int64_t most = count > INT64_MAX / 10 ? INT64_MAX : count * 10; // buckets, most of them empty
    do {
        cursor = table_scan(&p->server->keys[p->db], cursor, note, &f);
    } while (cursor != 0 && --most > 0 && (int64_t)f.count < count);
    reply_array(p, 2);
    reply_string(p, text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)cursor));
    reply_found(p, &f);
}

void weft::command_dbsize(peer *p, const word *, int)
{
    reply_integer(p, (int64_t)p->server->keys[p->db].count);
}

// [ASYNC|SYNC]: the memory is given back in pieces either way.
static void flush(peer *p, const word *words, int n, int which)
{
    if (n > 2 || (n == 2 && !word_is(&words[1], "sync") && !word_is(&words[1], "async"))) {
        reply_syntax(p);
        return;
    }
    for (int db = 0; db < DATABASES; db++)
        if (which < 0 || db == which)
            key_flush(p->server, db);
    places_flush(p->server, which);
    reply_ok(p);
}

void weft::command_flushall(peer *p, const word *words, int n)
{
    flush(p, words, n, -1);
}

void weft::command_flushdb(peer *p, const word *words, int n)
{
    flush(p, words, n, p->db);
}
