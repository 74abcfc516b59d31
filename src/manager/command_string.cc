// command_string.cc: strings: GET SET GETDEL MGET MSET INCR DECR INCRBY DECRBY APPEND STRLEN, as
// Redis has them; WEFT.REPLACE.
#include "commands.h"
#include "server.h"

#include <limits.h>

static weft_private_word text_of(weft_private_entry *e)
{
    return {weft_private_entry_text(e), e->size};
}

// Replies with the string, or that there is none.  false: it is of another type.
static bool reply_value(weft_private_peer *p, const weft_private_word *key)
{
    weft_private_entry **link;
    if (!weft_private_key_typed(p, key, WEFT_STRING, &link))
        return false;
    p->server->hits += link != nullptr;
    p->server->misses += link == nullptr;
    if (link != nullptr)
        weft_private_reply_string(p, weft_private_entry_text(*link), (*link)->size);
    else
        weft_private_reply_null(p);
    return true;
}

void weft_private_command_get(weft_private_peer *p, const weft_private_word *words, int)
{
    reply_value(p, &words[1]);
}

// ---- SET ----

enum { ABSENT = 1, PRESENT = 2, OLD = 4, KEEP = 8, SECONDS = 16, ABSOLUTE = 32, EXPIRES = 64 };

typedef struct set_options {
    int flags;
    const weft_private_word *when;
} set_options;

static bool read_set_options(const weft_private_word *words, int n, set_options *o)
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
        while (k < 8 && !weft_private_word_is(&words[i], known[k].name))
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
static bool read_when(weft_private_peer *p, const set_options *o, int64_t *at)
{
    if (!weft_private_integer(p, o->when, at))
        return false;
    if (*at > 0 && !((o->flags & SECONDS) && __builtin_mul_overflow(*at, 1000, at)) &&
        !(!(o->flags & ABSOLUTE) && __builtin_add_overflow(*at, weft_private_wall_ms(), at)))
        return true;
    weft_private_reply_error(p, "ERR invalid expire time in 'set' command");
    return false;
}

void weft_private_command_set(weft_private_peer *p, const weft_private_word *words, int n)
{
    set_options o = {};
    weft_private_server *s = p->server;
    int64_t at = 0;
    if (n > 3 && !read_set_options(words, n, &o)) {
        weft_private_reply_syntax(p);
        return;
    }
    if ((o.flags & EXPIRES) && !read_when(p, &o, &at))
        return;
    if ((o.flags & OLD) && !reply_value(p, &words[1]))
        return;
    if (o.flags & (ABSENT | PRESENT)) {
        bool found = weft_private_key_find(s, p->db, &words[1]) != nullptr;
        if (found != ((o.flags & PRESENT) != 0)) {
            if (!(o.flags & OLD))
                weft_private_reply_null(p);
            return;
        }
    }
    weft_private_key_set(s, p->db, &words[1], words[2].text, words[2].size, o.flags & KEEP);
    if (o.flags & EXPIRES)
        weft_private_key_expire_at(s, p->db, weft_private_key_find(s, p->db, &words[1]), at);
    if (!(o.flags & OLD))
        weft_private_reply_ok(p);
}

// ---- The others ----

void weft_private_command_getdel(weft_private_peer *p, const weft_private_word *words, int)
{
    if (!reply_value(p, &words[1]))
        return;
    weft_private_entry **link = weft_private_key_find(p->server, p->db, &words[1]);
    if (link != nullptr)
        weft_private_key_remove(p->server, p->db, link);
}

void weft_private_command_mget(weft_private_peer *p, const weft_private_word *words, int n)
{
    weft_private_reply_array(p, (size_t)n - 1);
    for (int i = 1; i < n; i++) {
        weft_private_entry **link = weft_private_key_find(p->server, p->db, &words[i]);
        if (link != nullptr && (*link)->type == WEFT_STRING)
            weft_private_reply_string(p, weft_private_entry_text(*link), (*link)->size);
        else
            weft_private_reply_null(p);
    }
}

void weft_private_command_mset(weft_private_peer *p, const weft_private_word *words, int n)
{
    if (n % 2 == 0) {
        weft_private_reply_error(p, "ERR wrong number of arguments for 'mset' command");
        return;
    }
    for (int i = 1; i < n; i += 2)
        weft_private_key_set(p->server, p->db, &words[i], words[i + 1].text, words[i + 1].size,
                             false);
    weft_private_reply_ok(p);
}

static void add(weft_private_peer *p, const weft_private_word *key, int64_t by)
{
    weft_private_entry **link;
    int64_t number = 0;
    char text[24];
    if (!weft_private_key_typed(p, key, WEFT_STRING, &link))
        return;
    if (link != nullptr) {
        weft_private_word old = text_of(*link);
        if (!weft_private_integer(p, &old, &number))
            return;
    }
    if (__builtin_add_overflow(number, by, &number)) {
        weft_private_reply_error(p, "ERR increment or decrement would overflow");
        return;
    }
    size_t n = (size_t)snprintf(text, sizeof text, "%lld", (long long)number);
    if (link != nullptr && (*link)->size == n)
        memcpy(weft_private_entry_text(*link), text, n);
    else
        weft_private_key_set(p->server, p->db, key, text, n, true);
    weft_private_reply_integer(p, number);
}

void weft_private_command_incr(weft_private_peer *p, const weft_private_word *words, int)
{
    add(p, &words[1], 1);
}

void weft_private_command_decr(weft_private_peer *p, const weft_private_word *words, int)
{
    add(p, &words[1], -1);
}

void weft_private_command_incrby(weft_private_peer *p, const weft_private_word *words, int)
{
    int64_t by;
    if (weft_private_integer(p, &words[2], &by))
        add(p, &words[1], by);
}

void weft_private_command_decrby(weft_private_peer *p, const weft_private_word *words, int)
{
    int64_t by;
    if (!weft_private_integer(p, &words[2], &by))
        return;
    if (by == INT64_MIN)
        weft_private_reply_error(p, "ERR decrement would overflow");
    else
        add(p, &words[1], -by);
}

void weft_private_command_append(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_entry **link;
    const weft_private_word *more = &words[2];
    if (!weft_private_key_typed(p, &words[1], WEFT_STRING, &link))
        return;
    size_t old = link != nullptr ? (*link)->size : 0;
    if (old + more->size > 512 << 20) { // as in Redis
        weft_private_reply_error(p, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        return;
    }
    if (link == nullptr) {
        weft_private_key_set(p->server, p->db, &words[1], more->text, more->size, true);
    } else {
        weft_private_entry *e = weft_private_entry_resize(link, old + more->size, true);
        memcpy(weft_private_entry_text(e) + old, more->text, more->size);
    }
    weft_private_reply_integer(p, (int64_t)(old + more->size));
}

void weft_private_command_strlen(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_entry **link;
    if (weft_private_key_typed(p, &words[1], WEFT_STRING, &link))
        weft_private_reply_integer(p, link != nullptr ? (*link)->size : 0);
}

// WEFT.REPLACE key old new
void weft_private_command_replace(weft_private_peer *p, const weft_private_word *words, int)
{
    weft_private_entry **link;
    if (!weft_private_key_typed(p, &words[1], WEFT_STRING, &link))
        return;
    weft_private_word is = {"0", 1};
    if (link != nullptr)
        is = text_of(*link);
    if (is.size != words[2].size || memcmp(is.text, words[2].text, is.size) != 0) {
        weft_private_reply_string(p, is.text, is.size);
        return;
    }
    weft_private_key_set(p->server, p->db, &words[1], words[3].text, words[3].size, true);
    weft_private_reply_null(p);
}
