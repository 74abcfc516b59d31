// command_key.cc: keys: DEL UNLINK EXISTS TOUCH TYPE EXPIRE PEXPIRE EXPIREAT PEXPIREAT TTL PTTL
// EXPIRETIME PEXPIRETIME PERSIST RANDOMKEY DBSIZE FLUSHALL FLUSHDB, as Redis has them.
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

const char *weft::type_name(unsigned type)
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

// At words[2] times `unit` ms from `since` on.
static void expire(peer *p, const word *words, int n, int64_t unit, int64_t since)
{
    int flags;
    int64_t at;
    if (!read_conditions(p, words, n, &flags) || !parse_integer(p, &words[2], &at))
        return;
    if (__builtin_mul_overflow(at, unit, &at) || __builtin_add_overflow(at, since, &at)) {
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
    expire(p, words, n, 1000, wall_ms());
}

void weft::command_pexpire(peer *p, const word *words, int n)
{
    expire(p, words, n, 1, wall_ms());
}

void weft::command_expireat(peer *p, const word *words, int n)
{
    expire(p, words, n, 1000, 0);
}

void weft::command_pexpireat(peer *p, const word *words, int n)
{
    expire(p, words, n, 1, 0);
}

// When the key expires.  -2: there is no such key; -1: it does not expire.
static int64_t expiry_of(peer *p, const word *key)
{
    entry **link = key_find(p->server, p->db, key);
    return link != nullptr ? key_expires(*link) : -2;
}

static int64_t ms_left(peer *p, const word *key)
{
    int64_t at = expiry_of(p, key), left = at - wall_ms();
    return at < 0 ? at : left > 0 ? left : 0;
}

static void reply_seconds(peer *p, int64_t ms)
{
    reply_integer(p, ms < 0 ? ms : ms / 1000 + (ms % 1000 >= 500));
}

void weft::command_ttl(peer *p, const word *words, int)
{
    reply_seconds(p, ms_left(p, &words[1]));
}

void weft::command_pttl(peer *p, const word *words, int)
{
    reply_integer(p, ms_left(p, &words[1]));
}

void weft::command_expiretime(peer *p, const word *words, int)
{
    reply_seconds(p, expiry_of(p, &words[1]));
}

void weft::command_pexpiretime(peer *p, const word *words, int)
{
    reply_integer(p, expiry_of(p, &words[1]));
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

void weft::command_randomkey(peer *p, const word *, int)
{
    server *s = p->server;
    table *keys = &s->keys[p->db];
    while (keys->count > 0) {
        entry **link = table_random(keys);
        if (!(*link)->expires || key_expires(*link) > wall_ms()) {
            reply_string(p, entry_key(*link), (*link)->key_size);
            return;
        }
        key_remove(s, p->db, link);
    }
    reply_null(p);
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
