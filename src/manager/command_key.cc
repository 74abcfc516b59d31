// command_key.cc: keys: DEL EXISTS TYPE EXPIRE PEXPIRE TTL PTTL PERSIST KEYS SCAN DBSIZE FLUSHALL,
// as Redis has them.
#include "commands.h"
#include "place.h"

#include <limits.h>

void weft_private_command_del(weft_private_peer *p, const weft_private_word *words, int n)
{
    int64_t removed = 0;
    for (int i = 1; i < n; i++) {
        weft_private_entry **link = weft_private_key_find(p->server, p->db, &words[i]);
        if (link == nullptr)
            continue;
        weft_private_key_remove(p->server, p->db, link);
        removed++;
    }
    weft_private_reply_integer(p, removed);
}

void weft_private_command_exists(weft_private_peer *p, const weft_private_word *words, int n)
{
    int64_t there = 0;
    for (int i = 1; i < n; i++)
        there += weft_private_key_find(p->server, p->db, &words[i]) != nullptr;
    weft_private_reply_integer(p, there);
}

static const char *type_name(unsigned type)
{
    return type == WEFT_STRING ? "string" : type == WEFT_LIST ? "list" : "hash";
}

void weft_private_command_type(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_entry **link = weft_private_key_find(p->server, p->db, &words[1]);
    weft_private_reply_status(p, link != nullptr ? type_name((*link)->type) : "none");
}

// ---- Expiry ----

enum { ABSENT = 1, PRESENT = 2, GREATER = 4, LESS = 8 };

static bool read_conditions(weft_private_peer *p, const weft_private_word *words, int n, int *flags)
{
    static const char *const names[] = {"nx", "xx", "gt", "lt"};
    *flags = 0;
    for (int i = 3; i < n; i++) {
        int k = 0;
        while (k < 4 && !weft_private_word_is(&words[i], names[k]))
            k++;
        if (k == 4) {
            weft_private_reply_error(p, "ERR Unsupported option %.*s", (int)words[i].size,
                                     words[i].text);
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
        weft_private_reply_error(p, "ERR %s options at the same time are not compatible",
                                 not_together);
    return not_together == nullptr;
}

static bool is_wanted(int flags, int64_t now, int64_t at)
{
    return !((flags & ABSENT) && now != -1) && !((flags & PRESENT) && now == -1) &&
           !((flags & GREATER) && (now == -1 || at <= now)) &&
           !((flags & LESS) && now != -1 && at >= now);
}

static void expire(weft_private_peer *p, const weft_private_word *words, int n, int64_t unit)
{
    int flags;
    int64_t at;
    if (!read_conditions(p, words, n, &flags) || !weft_private_integer(p, &words[2], &at))
        return;
    if (__builtin_mul_overflow(at, unit, &at) ||
        __builtin_add_overflow(at, weft_private_wall_ms(), &at)) {
        weft_private_reply_error(p, "ERR invalid expire time in '%s' command", p->running);
        return;
    }
    weft_private_entry **link = weft_private_key_find(p->server, p->db, &words[1]);
    bool wanted = link != nullptr && is_wanted(flags, weft_private_key_expires(*link), at);
    if (wanted && at <= weft_private_wall_ms())
        weft_private_key_remove(p->server, p->db, link);
    else if (wanted)
        weft_private_key_expire_at(p->server, p->db, link, at);
    weft_private_reply_integer(p, wanted);
}

void weft_private_command_expire(weft_private_peer *p, const weft_private_word *words, int n)
{
    expire(p, words, n, 1000);
}

void weft_private_command_pexpire(weft_private_peer *p, const weft_private_word *words, int n)
{
    expire(p, words, n, 1);
}

// -2: there is no such key; -1: it does not expire.
static int64_t ms_left(weft_private_peer *p, const weft_private_word *key)
{
    weft_private_entry **link = weft_private_key_find(p->server, p->db, key);
    if (link == nullptr)
        return -2;
    int64_t at = weft_private_key_expires(*link), left = at - weft_private_wall_ms();
    return at < 0 ? -1 : left > 0 ? left : 0;
}

void weft_private_command_ttl(weft_private_peer *p, const weft_private_word *words, int)
{
    int64_t left = ms_left(p, &words[1]);
    weft_private_reply_integer(p, left < 0 ? left : left / 1000 + (left % 1000 >= 500));
}

void weft_private_command_pttl(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_reply_integer(p, ms_left(p, &words[1]));
}

void weft_private_command_persist(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_entry **link = weft_private_key_find(p->server, p->db, &words[1]);
    bool expires = link != nullptr && (*link)->expires;
    if (expires)
        weft_private_key_persist(p->server, p->db, link);
    weft_private_reply_integer(p, expires);
}

// ---- All of them ----

typedef struct found {
    const weft_private_entry **entries;
    size_t count, room;
    const weft_private_word *pattern;   // nullptr: all
    const weft_private_word *type_word; // the same
    int64_t now;
} found;

static void note(weft_private_entry *e, void *arg)
{
    found *f = (found *)arg;
    const char *key = weft_private_entry_key(e);
    if ((e->expires && weft_private_key_expires(e) <= f->now) ||
        (f->pattern != nullptr &&
         !weft_private_matches(f->pattern->text, f->pattern->size, key, e->key_size)) ||
        (f->type_word != nullptr && !weft_private_word_is(f->type_word, type_name(e->type))))
        return;
    if (f->count == f->room) {
        f->room = f->room == 0 ? 32 : f->room * 2;
        f->entries = (const weft_private_entry **)weft_private_retake(f->entries,
                                                                      f->room * sizeof *f->entries);
    }
    f->entries[f->count++] = e;
}

static void reply_found(weft_private_peer *p, found *f)
{
    weft_private_reply_array(p, f->count);
    for (size_t i = 0; i < f->count; i++)
        weft_private_reply_string(p, weft_private_entry_key(f->entries[i]),
                                  f->entries[i]->key_size);
    weft_private_give(f->entries);
}

void weft_private_command_keys(weft_private_peer *p, const weft_private_word *words, int)
{
    found f = {};
    f.pattern = &words[1];
    f.now = weft_private_wall_ms();
    weft_private_table_each(&p->server->keys[p->db], note, &f);
    reply_found(p, &f);
}

// The options of SCAN.  false: the peer was told.
static bool read_scan(weft_private_peer *p, const weft_private_word *words, int n, found *f,
                      int64_t *count)
{
    for (int i = 2; i < n; i += 2) {
        bool is_count = weft_private_word_is(&words[i], "count");
        if (i + 1 < n && is_count) {
            if (!weft_private_integer(p, &words[i + 1], count))
                return false;
            if (*count >= 1)
                continue;
        } else if (i + 1 < n && weft_private_word_is(&words[i], "match")) {
            f->pattern = &words[i + 1];
            continue;
        } else if (i + 1 < n && weft_private_word_is(&words[i], "type")) {
            f->type_word = &words[i + 1];
            continue;
        }
        weft_private_reply_syntax(p);
        return false;
    }
    return true;
}

// As strtoul(3) reads it, since that is what Redis's clients may rely on.
static bool read_cursor(weft_private_peer *p, const weft_private_word *w, uint64_t *cursor)
{
    *cursor = 0;
    bool good = true; // no digit is 0
    for (size_t i = 0; i < w->size && good; i++) {
        unsigned digit = (unsigned)w->text[i] - '0';
        good = digit <= 9 && !__builtin_mul_overflow(*cursor, 10u, cursor) &&
               !__builtin_add_overflow(*cursor, digit, cursor);
    }
    if (!good)
        weft_private_reply_error(p, "ERR invalid cursor");
    return good;
}

void weft_private_command_scan(weft_private_peer *p, const weft_private_word *words, int n)
{
    found f = {};
    int64_t count = 10;
    uint64_t cursor;
    char text[24];
    if (!read_cursor(p, &words[1], &cursor) || !read_scan(p, words, n, &f, &count))
        return;
    f.now = weft_private_wall_ms();
    int64_t most = count > INT64_MAX / 10 ? INT64_MAX : count * 10; // buckets, most of them empty
    do {
        cursor = weft_private_table_scan(&p->server->keys[p->db], cursor, note, &f);
    } while (cursor != 0 && --most > 0 && (int64_t)f.count < count);
    weft_private_reply_array(p, 2);
    weft_private_reply_string(
        p, text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)cursor));
    reply_found(p, &f);
}

void weft_private_command_dbsize(weft_private_peer *p, const weft_private_word *, int)
{
    weft_private_reply_integer(p, (int64_t)p->server->keys[p->db].count);
}

void weft_private_command_flushall(weft_private_peer *p, const weft_private_word *words, int n)
{
    if (n > 2 || (n == 2 && !weft_private_word_is(&words[1], "sync") &&
                  !weft_private_word_is(&words[1], "async"))) {
        weft_private_reply_syntax(p);
        return;
    }
    for (int db = 0; db < WEFT_DATABASES; db++)
        weft_private_key_flush(p->server, db);
    weft_private_reply_ok(p);
}
