// command_string.cc: strings: GET SET GETDEL MGET MSET INCR DECR INCRBY DECRBY APPEND STRLEN, as
// Redis has them; WEFT.REPLACE.
#include "commands.h"
#include "place.h"
#include <base/number.h>

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

// ---- SET ----

enum { ABSENT = 1, PRESENT = 2, OLD = 4, KEEP = 8, SECONDS = 16, ABSOLUTE = 32, EXPIRES = 64 };

namespace {
struct set_options {
    int flags;
    const word *when;
};
} // namespace

static bool read_set_options(const word *words, int n, set_options *o)
{
    static const struct {
        const char *name;
        int flags, against; // what it can't be with
    } known[] = {{"nx", ABSENT, PRESENT},
                 {"xx", PRESENT, ABSENT},
                 {"get", OLD, 0},
                 {"keepttl", KEEP, EXPIRES},
                 {"ex", EXPIRES | SECONDS, EXPIRES | KEEP},
                 {"px", EXPIRES, EXPIRES | KEEP},
                 {"exat", EXPIRES | SECONDS | ABSOLUTE, EXPIRES | KEEP},
                 {"pxat", EXPIRES | ABSOLUTE, EXPIRES | KEEP}};
    for (int i = 3; i < n; i++) {
        int k = 0;
        while (k < 8 && !word_is(&words[i], known[k].name))
            k++;
        // The same one twice is fine with Redis: the last counts.
        bool again = k < 8 && (o->flags & (EXPIRES | SECONDS | ABSOLUTE)) == known[k].flags;
        if (k == 8 || ((o->flags & known[k].against) != 0 && !again) ||
            ((known[k].flags & EXPIRES) && i + 1 == n))
            return false;
        o->flags |= known[k].flags;
        if (known[k].flags & EXPIRES)
            o->when = &words[++i];
    }
    return true;
}

// When it is to expire, in wall milliseconds.  false: the peer was told.
static bool read_when(peer *p, const set_options *o, int64_t *at)
{
    if (!parse_integer(p, o->when, at))
        return false;
    if (*at > 0 && !((o->flags & SECONDS) && __builtin_mul_overflow(*at, 1000, at)) &&
        !(!(o->flags & ABSOLUTE) && __builtin_add_overflow(*at, wall_ms(), at)))
        return true;
    reply_error(p, "ERR invalid expire time in 'set' command");
    return false;
}

void weft::command_set(peer *p, const word *words, int n)
{
    set_options o = {};
    server *s = p->server;
    int64_t at = 0;
    if (n > 3 && !read_set_options(words, n, &o)) {
        reply_syntax(p);
        return;
    }
    if ((o.flags & EXPIRES) && !read_when(p, &o, &at))
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
    key_set(s, p->db, &words[1], words[2].text, words[2].size, o.flags & KEEP);
    if (o.flags & EXPIRES)
        key_expire_at(s, p->db, key_find(s, p->db, &words[1]), at);
    if (!(o.flags & OLD))
        reply_ok(p);
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

void weft::command_mset(peer *p, const word *words, int n)
{
    if (n % 2 == 0) {
        reply_error(p, "ERR wrong number of arguments for 'mset' command");
        return;
    }
    for (int i = 1; i < n; i += 2)
        key_set(p->server, p->db, &words[i], words[i + 1].text, words[i + 1].size, false);
    reply_ok(p);
}

static void add(peer *p, const word *key, int64_t by)
{
    entry **link;
    int64_t number = 0;
    char text[24];
    if (!key_typed(p, key, TYPE_STRING, &link))
        return;
    if (link != nullptr) {
        word old = text_of(*link);
        if (!parse_integer(p, &old, &number))
            return;
    }
    if (__builtin_add_overflow(number, by, &number)) {
        reply_error(p, "ERR increment or decrement would overflow");
        return;
    }
    size_t n = number_print(text, number);
    if (link != nullptr && (*link)->size == n) {
        memcpy(entry_text(*link), text, n);
        key_changed(p->server, p->db, key->text, key->size);
    } else {
        key_set(p->server, p->db, key, text, n, true);
    }
    reply_integer(p, number);
}

void weft::command_incr(peer *p, const word *words, int)
{
    add(p, &words[1], 1);
}

void weft::command_decr(peer *p, const word *words, int)
{
    add(p, &words[1], -1);
}

void weft::command_incrby(peer *p, const word *words, int)
{
    int64_t by;
    if (parse_integer(p, &words[2], &by))
        add(p, &words[1], by);
}

void weft::command_decrby(peer *p, const word *words, int)
{
    int64_t by;
    if (!parse_integer(p, &words[2], &by))
        return;
    if (by == INT64_MIN)
        reply_error(p, "ERR decrement would overflow");
    else
        add(p, &words[1], -by);
}

void weft::command_append(peer *p, const word *words, int)
{
    entry **link;
    const word *more = &words[2];
    if (!key_typed(p, &words[1], TYPE_STRING, &link))
        return;
    size_t old = link != nullptr ? (*link)->size : 0;
    if (old + more->size > 512 << 20) { // as in Redis
        reply_error(p, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        return;
    }
    if (link == nullptr) {
        key_set(p->server, p->db, &words[1], more->text, more->size, true);
    } else {
        entry *e = entry_resize(link, old + more->size, true);
        memcpy(entry_text(e) + old, more->text, more->size);
        key_changed(p->server, p->db, words[1].text, words[1].size);
    }
    reply_integer(p, (int64_t)(old + more->size));
}

void weft::command_strlen(peer *p, const word *words, int)
{
    entry **link;
    if (key_typed(p, &words[1], TYPE_STRING, &link))
        reply_integer(p, link != nullptr ? (*link)->size : 0);
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
