// command_scan.cc: what is there, in whole or in steps: KEYS SCAN HSCAN SSCAN, as Redis has them.
#include "commands.h"

#include <limits.h>

using namespace weft;

namespace {
struct found {
    entry **entries;
    size_t count, room;
    const word *pattern;   // nullptr: all
    const word *type_word; // the same
    int64_t now;
    bool values; // are told as well
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
        f->entries = (entry **)retake(f->entries, f->room * sizeof *f->entries);
    }
    f->entries[f->count++] = e;
}

static void reply_found(peer *p, found *f)
{
    reply_array(p, f->values ? f->count * 2 : f->count);
    for (size_t i = 0; i < f->count; i++) {
        entry *e = f->entries[i];
        reply_string(p, entry_key(e), e->key_size);
        if (f->values)
            reply_string(p, entry_text(e), e->size);
    }
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

// The options from words[i] on.  false: the peer was told.
static bool read_options(peer *p, const word *words, int i, int n, found *f, int64_t *count)
{
    for (; i < n; i += 2) {
        if (i + 1 < n && word_is(&words[i], "count")) {
            if (!parse_integer(p, &words[i + 1], count))
                return false;
            if (*count >= 1)
                continue;
        } else if (i + 1 < n && word_is(&words[i], "match")) {
            f->pattern = &words[i + 1];
            continue;
        } else if (i + 1 < n && i % 2 == 0 && word_is(&words[i], "type")) { // of SCAN alone
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

static void scan(peer *p, table *t, uint64_t cursor, found *f, int64_t count)
{
    char text[24];
    int64_t most = count > INT64_MAX / 10 ? INT64_MAX : count * 10; // buckets, most of them empty
    f->now = wall_ms();
    do {
        cursor = table_scan(t, cursor, note, f);
    } while (cursor != 0 && --most > 0 && (int64_t)f->count < count);
    reply_array(p, 2);
    reply_string(p, text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)cursor));
    reply_found(p, f);
}

void weft::command_scan(peer *p, const word *words, int n)
{
    found f = {};
    int64_t count = 10;
    uint64_t cursor;
    if (read_cursor(p, &words[1], &cursor) && read_options(p, words, 2, n, &f, &count))
        scan(p, &p->server->keys[p->db], cursor, &f, count);
}

// Of what is not there the options are not looked at, as in Redis.
static void scan_key(peer *p, const word *words, int n, int type)
{
    found f = {};
    int64_t count = 10;
    uint64_t cursor;
    f.values = type == TYPE_HASH;
    if (!read_cursor(p, &words[2], &cursor))
        return;
    table *t = key_table(p, &words[1], type);
    if (t != nullptr && (t->count == 0 || read_options(p, words, 3, n, &f, &count)))
        scan(p, t, cursor, &f, count);
}

void weft::command_hscan(peer *p, const word *words, int n)
{
    scan_key(p, words, n, TYPE_HASH);
}

void weft::command_sscan(peer *p, const word *words, int n)
{
    scan_key(p, words, n, TYPE_SET);
}
