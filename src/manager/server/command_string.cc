// command_string.cc: strings: GET SET SETEX PSETEX SETNX GETSET GETEX GETDEL MGET MSET MSETNX
// APPEND STRLEN SETRANGE GETRANGE SUBSTR, as Redis has them; WEFT.REPLACE.
#include "commands.h"
#include "place.h"
#include <limits.h>

using namespace weft;

static word text_of(entry *e)
{
    return {entry_text(e), e->size};
}

// Replies with the string, or that there is none.  false: it is of another type.
static bool reply_value(peer *p, const word *key)
{
    entry **link;
    if (!key_typed(p, key, TYPE_STRING, &link))
        return false;
    p->server->hits += link != nullptr;
    p->server->misses += link == nullptr;
    if (link != nullptr)
        reply_string(p, entry_text(*link), (*link)->size);
    else
        reply_null(p);
    return true;
}

void weft::command_get(peer *p, const word *words, int)
{
    reply_value(p, &words[1]);
}

static void changed(peer *p, const word *key)
{
    key_changed(p->server, p->db, key->text, key->size);
}

// ---- Options of SET and GETEX ----

enum {
    ABSENT = 1,
    PRESENT = 2,
    OLD = 4,
    KEEP = 8,
    SECONDS = 16,
    ABSOLUTE = 32,
    EXPIRES = 64,
    PERSIST = 128,
    OF_SET = ABSENT | PRESENT | OLD | KEEP | SECONDS | ABSOLUTE | EXPIRES,
    OF_GETEX = SECONDS | ABSOLUTE | EXPIRES | PERSIST
};

namespace {
struct set_options {
    int flags;
    const word *when;
};
} // namespace

// From words[i] on those that are in `taken`.
static bool read_options(const word *words, int i, int n, int taken, set_options *o)
{
    static const struct {
        const char *name;
        int flags, against; // what it can't be with
    } known[] = {{"nx", ABSENT, PRESENT},
                 {"xx", PRESENT, ABSENT},
                 {"get", OLD, 0},
                 {"keepttl", KEEP, EXPIRES},
                 {"persist", PERSIST, EXPIRES},
                 {"ex", EXPIRES | SECONDS, EXPIRES | KEEP | PERSIST},
                 {"px", EXPIRES, EXPIRES | KEEP | PERSIST},
                 {"exat", EXPIRES | SECONDS | ABSOLUTE, EXPIRES | KEEP | PERSIST},
                 {"pxat", EXPIRES | ABSOLUTE, EXPIRES | KEEP | PERSIST}};
    const int all = sizeof known / sizeof *known;
    for (; i < n; i++) {
        int k = 0;
        while (k < all && !word_is(&words[i], known[k].name))
            k++;
        // The same one twice is fine with Redis: the last counts.
        bool again = k < all && (o->flags & (EXPIRES | SECONDS | ABSOLUTE)) == known[k].flags;
        if (k == all || (known[k].flags & ~taken) != 0 ||
            ((o->flags & known[k].against) != 0 && !again) ||
            ((known[k].flags & EXPIRES) && i + 1 == n))
            return false;
        o->flags |= known[k].flags;
        if (known[k].flags & EXPIRES)
            o->when = &words[++i];
    }
    return true;
}

// When it is to expire, in wall milliseconds.  false: the peer was told.
static bool read_when(peer *p, int flags, const word *when, int64_t *at)
{
    if (!parse_integer(p, when, at))
        return false;
    if (*at > 0 && !((flags & SECONDS) && __builtin_mul_overflow(*at, 1000, at)) &&
        !(!(flags & ABSOLUTE) && __builtin_add_overflow(*at, wall_ms(), at)))
        return true;
    reply_error(p, "ERR invalid expire time in '%s' command", p->running);
    return false;
}

// ---- SET ----

static void set_until(peer *p, const word *key, const word *value, int64_t at)
{
    key_set(p->server, p->db, key, value->text, value->size, false);
    key_expire_at(p->server, p->db, key_find(p->server, p->db, key), at);
}

void weft::command_set(peer *p, const word *words, int n)
{
    set_options o = {};
    server *s = p->server;
    int64_t at = 0;
    if (n > 3 && !read_options(words, 3, n, OF_SET, &o)) {
        reply_syntax(p);
        return;
    }
    if ((o.flags & EXPIRES) && !read_when(p, o.flags, o.when, &at))
        return;
    if ((o.flags & OLD) && !reply_value(p, &words[1]))
        return;
    if (o.flags & (ABSENT | PRESENT)) {
        bool found = key_find(s, p->db, &words[1]) != nullptr;
        if (found != ((o.flags & PRESENT) != 0)) {
            if (!(o.flags & OLD))
                reply_null(p);
            return;
        }
    }
    if (o.flags & EXPIRES)
        set_until(p, &words[1], &words[2], at);
    else
        key_set(s, p->db, &words[1], words[2].text, words[2].size, o.flags & KEEP);
    if (!(o.flags & OLD))
        reply_ok(p);
}

static void set_for(peer *p, const word *words, int unit)
{
    int64_t at;
    if (!read_when(p, unit, &words[2], &at))
        return;
    set_until(p, &words[1], &words[3], at);
    reply_ok(p);
}

void weft::command_setex(peer *p, const word *words, int)
{
    set_for(p, words, SECONDS);
}

void weft::command_psetex(peer *p, const word *words, int)
{
    set_for(p, words, 0);
}

void weft::command_setnx(peer *p, const word *words, int)
{
    bool fresh = key_find(p->server, p->db, &words[1]) == nullptr;
    if (fresh)
        key_set(p->server, p->db, &words[1], words[2].text, words[2].size, false);
    reply_integer(p, fresh);
}

void weft::command_getset(peer *p, const word *words, int)
{
    if (reply_value(p, &words[1]))
        key_set(p->server, p->db, &words[1], words[2].text, words[2].size, false);
}

// ---- GETEX ----

// GETEX key [EX seconds|PX ms|EXAT seconds|PXAT ms|PERSIST]: a time is looked at only if there is
// something that could expire then.
void weft::command_getex(peer *p, const word *words, int n)
{
    set_options o = {};
    server *s = p->server;
    entry **link;
    int64_t at = 0;
    if (!read_options(words, 2, n, OF_GETEX, &o)) {
        reply_syntax(p);
        return;
    }
    if (!key_typed(p, &words[1], TYPE_STRING, &link))
        return;
    if (link != nullptr && (o.flags & EXPIRES) && !read_when(p, o.flags, o.when, &at))
        return;
    reply_value(p, &words[1]);
    link = key_find(s, p->db, &words[1]);
    if (link == nullptr)
        return;
    if ((o.flags & EXPIRES) && at <= wall_ms()) {
        key_remove(s, p->db, link);
    } else if (o.flags & EXPIRES) {
        key_expire_at(s, p->db, link, at);
        changed(p, &words[1]);
    } else if ((o.flags & PERSIST) && (*link)->expires) {
        key_persist(s, p->db, link);
        changed(p, &words[1]);
    }
}

// ---- The others ----

void weft::command_getdel(peer *p, const word *words, int)
{
    if (!reply_value(p, &words[1]))
        return;
    entry **link = key_find(p->server, p->db, &words[1]);
    if (link != nullptr)
        key_remove(p->server, p->db, link);
}

void weft::command_mget(peer *p, const word *words, int n)
{
    reply_array(p, (size_t)n - 1);
    for (int i = 1; i < n; i++) {
        entry **link = key_find(p->server, p->db, &words[i]);
        if (link != nullptr && (*link)->type == TYPE_STRING)
            reply_string(p, entry_text(*link), (*link)->size);
        else
            reply_null(p);
    }
}

static void set_many(peer *p, const word *words, int n)
{
    for (int i = 1; i < n; i += 2)
        key_set(p->server, p->db, &words[i], words[i + 1].text, words[i + 1].size, false);
}

static bool are_pairs(peer *p, int n)
{
    if (n % 2 == 0)
        reply_error(p, "ERR wrong number of arguments for '%s' command", p->running);
    return n % 2 != 0;
}

void weft::command_mset(peer *p, const word *words, int n)
{
    if (!are_pairs(p, n))
        return;
    set_many(p, words, n);
    reply_ok(p);
}

void weft::command_msetnx(peer *p, const word *words, int n)
{
    bool fresh = true;
    if (!are_pairs(p, n))
        return;
    for (int i = 1; i < n && fresh; i += 2)
        fresh = key_find(p->server, p->db, &words[i]) == nullptr;
    if (fresh)
        set_many(p, words, n);
    reply_integer(p, fresh);
}

// Whether a string may be so long, as in Redis; if not, the peer was told.
static bool fits(peer *p, size_t from, size_t n)
{
    const size_t most = 512 << 20;
    if (from <= most && n <= most - from)
        return true;
    reply_error(p, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    return false;
}

void weft::command_append(peer *p, const word *words, int)
{
    entry **link;
    const word *more = &words[2];
    if (!key_typed(p, &words[1], TYPE_STRING, &link))
        return;
    size_t old = link != nullptr ? (*link)->size : 0;
    if (!fits(p, old, more->size))
        return;
    if (link == nullptr) {
        key_set(p->server, p->db, &words[1], more->text, more->size, true);
    } else {
        entry *e = entry_resize(link, old + more->size, true);
        memcpy(entry_text(e) + old, more->text, more->size);
        changed(p, &words[1]);
    }
    reply_integer(p, (int64_t)(old + more->size));
}

void weft::command_strlen(peer *p, const word *words, int)
{
    entry **link;
    if (key_typed(p, &words[1], TYPE_STRING, &link))
        reply_integer(p, link != nullptr ? (*link)->size : 0);
}

void weft::command_setrange(peer *p, const word *words, int)
{
    entry **link;
    int64_t from;
    const word *key = &words[1], *part = &words[3];
    if (!parse_integer(p, &words[2], &from))
        return;
    if (from < 0) {
        reply_error(p, "ERR offset is out of range");
        return;
    }
    if (!key_typed(p, key, TYPE_STRING, &link))
        return;
    size_t old = link != nullptr ? (*link)->size : 0, end = (size_t)from + part->size;
    if (part->size == 0) {
        reply_integer(p, (int64_t)old);
        return;
    }
    if (!fits(p, (size_t)from, part->size))
        return;
    if (link == nullptr) {
        key_set(p->server, p->db, key, "", 0, false);
        link = key_find(p->server, p->db, key);
    }
    size_t size = end > old ? end : old;
    char *text = entry_text(entry_resize(link, size, true));
    if ((size_t)from > old)
        memset(text + old, 0, (size_t)from - old);
    memcpy(text + from, part->text, part->size);
    changed(p, key);
    reply_integer(p, (int64_t)size);
}

// The first bit of a byte is its highest.
static bool parse_bit(peer *p, const word *w, int64_t *bit)
{
    const int64_t most = (int64_t)8 * (512 << 20) - 1;
    if (parse_number(w->text, w->size, bit) && *bit >= 0 && *bit <= most)
        return true;
    reply_error(p, "ERR bit offset is not an integer or out of range");
    return false;
}

void weft::command_setbit(peer *p, const word *words, int)
{
    entry **link;
    int64_t bit, on;
    if (!parse_bit(p, &words[2], &bit))
        return;
    if (!parse_number(words[3].text, words[3].size, &on) || (on != 0 && on != 1)) {
        reply_error(p, "ERR bit is not an integer or out of range");
        return;
    }
    if (!key_typed(p, &words[1], TYPE_STRING, &link))
        return;
    if (link == nullptr) {
        key_set(p->server, p->db, &words[1], "", 0, false);
        link = key_find(p->server, p->db, &words[1]);
    }
    size_t at = (size_t)bit / 8, old = (*link)->size, size = at < old ? old : at + 1;
    char *text = entry_text(entry_resize(link, size, true));
    memset(text + old, 0, size - old);
    int mask = 0x80 >> bit % 8;
    bool was = (text[at] & mask) != 0;
    text[at] = (char)(on ? text[at] | mask : text[at] & ~mask);
    if (was != (on != 0) || size > old)
        changed(p, &words[1]);
    reply_integer(p, was);
}

void weft::command_getbit(peer *p, const word *words, int)
{
    entry **link;
    int64_t bit;
    if (!parse_bit(p, &words[2], &bit) || !key_typed(p, &words[1], TYPE_STRING, &link))
        return;
    bool there = link != nullptr && bit / 8 < (*link)->size;
    reply_integer(p, there && (entry_text(*link)[bit / 8] & 0x80 >> bit % 8) != 0);
}

// An index from the end if below 0, and not before the beginning.
static int64_t index_of(int64_t i, int64_t size)
{
    i = i < 0 ? i + size : i;
    return i < 0 ? 0 : i;
}

void weft::command_getrange(peer *p, const word *words, int)
{
    entry **link;
    int64_t from, to;
    if (!parse_integer(p, &words[2], &from) || !parse_integer(p, &words[3], &to) ||
        !key_typed(p, &words[1], TYPE_STRING, &link))
        return;
    int64_t size = link != nullptr ? (*link)->size : 0;
    bool crossed = from < 0 && to < 0 && from > to;
    from = index_of(from, size);
    to = index_of(to, size);
    to = to < size ? to : size - 1;
    if (crossed || from > to)
        reply_string(p, "", 0);
    else
        reply_string(p, entry_text(*link) + from, (size_t)(to - from + 1));
}

// WEFT.REPLACE key old new
void weft::command_replace(peer *p, const word *words, int)
{
    entry **link;
    if (!key_typed(p, &words[1], TYPE_STRING, &link))
        return;
    word is = {"0", 1};
    if (link != nullptr)
        is = text_of(*link);
    if (is.size != words[2].size || memcmp(is.text, words[2].text, is.size) != 0) {
        reply_string(p, is.text, is.size);
        return;
    }
    key_set(p->server, p->db, &words[1], words[3].text, words[3].size, true);
    reply_null(p);
}
