// generator.h: random commands, most of them right, from a table of forms.
//
// A form is words: a word in capitals is itself, in any case; A|B is either; a letter stands for
// something made up (see `make`), and a letter with * for one to four of it.  One command in
// eight is then spoilt: a word lost, doubled, or replaced by junk.
#ifndef WEFT_TEST_GENERATOR_H
#define WEFT_TEST_GENERATOR_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

// ---- Chance ----

static uint64_t chance_state;

static inline uint32_t chance(uint32_t n)
{
    chance_state = chance_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((chance_state >> 33) % n);
}

// ---- A command ----

enum { WORDS = 24 };

// How replies are compared.
enum {
    EXACT,
    SORTED,
    SORTED_PAIRS,
    SCANNED,
    TIME_LEFT,
    HELLO_MAP,
    ANY_NUMBER,
    BEGINS,   // MULTI
    EXECUTED, // EXEC: each in the way of the command that was queued
    RANDOM,
    SCANNED_PAIRS
};

// What must not happen to a form's words.
enum {
    WHOLE = 1,     // spoilt, it would do something else that cannot be compared
    KEEP_LAST = 2, // its last word is a timeout: junk there might mean "for ever"
    NO_NUMBERS =
        4, // a number out of place might be valid, and its result not be defined, or endless
};

struct words {
    int n, kind;
    size_t size[WORDS];
    const char *text[WORDS];
};

struct form {
    const char *text;
    int weight = 1, kind = EXACT, flags = 0;
};

// Replies of what Redis does not define are left out here: COMMAND's tables, what DEBUG and OBJECT
// say.  Of subcommands only those that Redis 7.0 has (SETINFO came later) or nobody.
// clang-format off
static const form forms[] = {
    // connection
    {"PING", 2}, {"PING v"}, {"ECHO v", 2}, {"SELECT d", 6}, {"AUTH v"}, {"AUTH DEFAULT v"},
    {"AUTH k v"}, {"HELLO", 1, HELLO_MAP}, {"HELLO h", 1, HELLO_MAP},
    {"HELLO h SETNAME k", 1, HELLO_MAP}, {"HELLO h AUTH DEFAULT v SETNAME k", 1, HELLO_MAP},
    {"RESET"}, {"CLIENT ID", 1, ANY_NUMBER}, {"CLIENT GETNAME", 2}, {"CLIENT SETNAME k", 2},
    {"CLIENT NO-EVICT ON|OFF|k"}, {"CLIENT REPLY ON|k", 1, EXACT, WHOLE},
    {"CLIENT KILL 1.2.3.4:5", 1, EXACT, WHOLE},
    {"CLIENT KILL ID 999999999999|0|-1|k", 1, EXACT, WHOLE},
    {"CLIENT KILL ID 999999999999 SKIPME YES|NO|k", 1, EXACT, WHOLE},
    {"CLIENT KILL TYPE REPLICA|MASTER|k", 1, EXACT, WHOLE},
    {"CLIENT KILL ADDR 1.2.3.4:5 TYPE NORMAL", 1, EXACT, WHOLE},
    {"CLIENT KILL USER k", 1, EXACT, WHOLE}, {"CLIENT KILL LADDR 1.2.3.4:5", 1, EXACT, WHOLE},
    {"CLIENT KILL MAXAGE 5", 1, EXACT, WHOLE}, {"CLIENT UNBLOCK 999999999999"},
    {"CLIENT UNBLOCK 999999999999 TIMEOUT|ERROR|k"}, {"CLIENT LIST TYPE k", 1, EXACT, WHOLE},
    {"CLIENT LIST ID k", 1, EXACT, WHOLE}, {"CLIENT k"}, {"CLIENT", 1, EXACT, WHOLE},
    {"COMMAND k", 1, EXACT, WHOLE}, {"CONFIG GET", 1, EXACT, WHOLE},
    // In small letters: Redis names a setting as it was asked for.
    {"CONFIG GET save|appendonly|databases|k", 2, EXACT, WHOLE}, {"CONFIG k", 1, EXACT, WHOLE},
    {"CONFIG", 1, EXACT, WHOLE}, {"SHUTDOWN k", 1, EXACT, WHOLE},
    {"SHUTDOWN ABORT", 1, EXACT, WHOLE}, {"SHUTDOWN NOSAVE SAVE", 1, EXACT, WHOLE},
    // transactions
    {"MULTI", 80, BEGINS}, {"EXEC", 160, EXECUTED}, {"DISCARD", 4}, {"WATCH k*", 24},
    {"UNWATCH", 4},
    // keys
    {"DEL k*", 40}, {"EXISTS k*", 8}, {"TYPE k", 10}, {"EXPIRE k t", 10}, {"EXPIRE k t X", 10},
    {"EXPIRE k t X X", 3}, {"PEXPIRE k m", 8}, {"PEXPIRE k m X", 8}, {"EXPIREAT k T", 8},
    {"EXPIREAT k T X", 8}, {"PEXPIREAT k U", 8}, {"PEXPIREAT k U X", 8},
    {"EXPIRETIME k", 6, TIME_LEFT}, {"PEXPIRETIME k", 6, TIME_LEFT}, {"RENAME k k", 10},
    {"RENAMENX k k", 8}, {"COPY k k", 6}, {"COPY k k REPLACE", 10}, {"COPY k k DB d", 4},
    {"COPY k k DB d REPLACE", 4}, {"MOVE k d", 5}, {"SWAPDB d d", 2}, {"TOUCH k*", 4}, {"RANDOMKEY", 2, RANDOM},
    {"TIME", 1, RANDOM}, {"TTL k", 12, TIME_LEFT},
    {"PTTL k", 12, TIME_LEFT}, {"PERSIST k", 8}, {"KEYS p", 6, SORTED},
    {"SCAN c COUNT 100000", 2, SCANNED, NO_NUMBERS},
    {"SCAN c C COUNT 100000", 4, SCANNED, NO_NUMBERS},
    {"SCAN c C C COUNT 100000", 2, SCANNED, NO_NUMBERS},
    {"SCAN c COUNT j", 1, SCANNED, NO_NUMBERS}, {"DBSIZE", 3}, {"FLUSHALL"}, {"FLUSHDB"}, {"UNLINK k*", 6},
    {"FLUSHALL SYNC|ASYNC|k", 1, EXACT, WHOLE}, {"FLUSHDB SYNC|ASYNC|k", 1, EXACT, WHOLE},
    // strings
    {"GET k", 40}, {"SET k v", 40}, {"SET k n", 20},
    // A number out of place may be a time that is over: Redis counts such a key until it meets it.
    {"SET k v S", 20, EXACT, NO_NUMBERS}, {"SET k v S S", 10, EXACT, NO_NUMBERS},
    {"SET k v S S S", 4, EXACT, NO_NUMBERS}, {"GETDEL k", 6}, {"SETEX k t v", 4, EXACT, NO_NUMBERS},
    {"PSETEX k m v", 4, EXACT, NO_NUMBERS}, {"SETNX k v", 8}, {"GETSET k v", 8},
    {"GETEX k", 6}, {"GETEX k E", 12, EXACT, NO_NUMBERS}, {"GETEX k E E", 4, EXACT, NO_NUMBERS},
    {"MSETNX M", 4}, {"MSETNX M M", 4}, {"INCRBYFLOAT k z", 16}, {"INCRBYFLOAT k n", 6},
    {"SETRANGE k i v", 8}, {"SETBIT k q 0|1|2", 4, EXACT, NO_NUMBERS}, {"SETBIT k b 0|1", 4, EXACT, NO_NUMBERS}, {"GETBIT k b", 4}, {"GETRANGE|SUBSTR k i i", 10}, {"MGET k*", 6}, {"MSET M", 4},
    {"MSET M M", 4}, {"INCR k", 20}, {"DECR k", 12}, {"INCRBY k n", 12}, {"DECRBY k n", 12},
    {"APPEND k v", 10}, {"STRLEN k", 8},
    // lists
    {"LPUSH k v*", 30}, {"RPUSH k v*", 30}, {"LPOP k", 15}, {"RPOP k", 15}, {"LPOP k i", 8},
    {"RPOP k i", 8}, {"LLEN k", 8}, {"LRANGE k i i", 12}, {"LRANGE k 0 -1", 6},
    {"LINDEX k i", 12}, {"LSET k i v", 12}, {"LREM k i v", 12},
    {"LPUSHX|RPUSHX k v*", 10}, {"LPUSH k x*", 10}, {"LINSERT k BEFORE|AFTER x v", 8},
    {"LTRIM k i i", 6}, {"LPOS k x", 4}, {"LPOS k x RANK i", 4}, {"LPOS k x COUNT i", 4},
    {"LPOS k x MAXLEN i COUNT i RANK i", 6}, {"RPOPLPUSH k k", 8}, {"LMPOP 1 k LEFT|RIGHT", 6},
    {"LMPOP 2 k k LEFT|RIGHT COUNT i", 6}, {"LMPOP 0|1|2|3|abc k* LEFT|RIGHT", 4},
    {"BRPOPLPUSH k k w", 3, EXACT, KEEP_LAST},
    {"BLMPOP w 2 k k LEFT|RIGHT COUNT i", 3, EXACT, WHOLE}, {"BLMPOP w 1 k LEFT|RIGHT", 2, EXACT, WHOLE},
    {"LMOVE k k LEFT|RIGHT LEFT|RIGHT", 16}, {"BLPOP k* w", 3, EXACT, KEEP_LAST},
    {"BRPOP k* w", 3, EXACT, KEEP_LAST},
    {"BLMOVE k k LEFT|RIGHT LEFT|RIGHT w", 3, EXACT, KEEP_LAST},
    // hashes
    {"HSET k F", 20}, {"HSET k F F F", 20}, {"HSET k f n", 20}, {"HGET k f", 15},
    {"HMGET k f*", 8}, {"HDEL k f*", 12}, {"HLEN k", 6}, {"HEXISTS k f", 8},
    {"HGETALL k", 6, SORTED_PAIRS}, {"HKEYS k", 5, SORTED}, {"HVALS k", 5, SORTED},
    {"HINCRBY k f n", 20}, {"HMSET k F F", 8}, {"HSETNX k f v", 8}, {"HSTRLEN k f", 6},
    {"HINCRBYFLOAT k f z", 12}, {"HRANDFIELD k", 3, RANDOM}, {"HRANDFIELD k q", 5, RANDOM, NO_NUMBERS},
    {"HRANDFIELD k q WITHVALUES", 5, RANDOM, NO_NUMBERS}, {"HRANDFIELD k 100000", 3, SORTED, WHOLE},
    // sets
    {"SADD k x*", 40}, {"SADD k x*", 20}, {"SREM k x*", 15}, {"SMEMBERS k", 8, SORTED},
    {"SISMEMBER k x", 8}, {"SMISMEMBER k x*", 6}, {"SCARD k", 6}, {"SMOVE k k x", 12},
    {"SPOP k 100000", 2, SORTED, WHOLE}, {"SPOP k 0|-1|abc", 1, EXACT, WHOLE},
    {"SPOP k 1 1", 1, EXACT, WHOLE}, {"SRANDMEMBER k", 3, RANDOM}, {"SRANDMEMBER k q", 6, RANDOM, NO_NUMBERS},
    {"SRANDMEMBER k 100000", 3, SORTED, WHOLE}, {"SINTER k*", 8, SORTED}, {"SUNION k*", 8, SORTED},
    {"SDIFF k*", 8, SORTED}, {"SINTERSTORE k k*", 8}, {"SUNIONSTORE k k*", 8},
    {"SDIFFSTORE k k*", 8}, {"SINTERCARD 1|2|0|3|abc k*", 6}, {"SINTERCARD 2 k k LIMIT i", 6},
    {"SINTERCARD 1 k LIMIT i", 3}, {"SSCAN k c COUNT 100000", 3, SCANNED, NO_NUMBERS},
    {"SSCAN k c MATCH p COUNT 100000", 3, SCANNED, NO_NUMBERS},
    {"HSCAN k c COUNT 100000", 3, SCANNED_PAIRS, NO_NUMBERS},
    {"HSCAN k c MATCH p COUNT 100000", 3, SCANNED_PAIRS, NO_NUMBERS},
    // nobody's
    {"NOSUCH"}, {"NOSUCH v* k* v*"}, {"GETT k v"}, {"v"},
};
// clang-format on

// ---- Words ----

static char word_room[1 << 16];
static size_t word_used;

static inline void word(words *w, const char *text, size_t n)
{
    if (w->n == WORDS)
        return;
    w->text[w->n] = text;
    w->size[w->n++] = n;
}

static inline void word_text(words *w, const char *text)
{
    word(w, text, strlen(text));
}

static inline void word_number(words *w, long long n)
{
    char *p = word_room + word_used;
    int k = snprintf(p, 24, "%lld", n);
    word_used += (size_t)k;
    word(w, p, (size_t)k);
}

// As it is, in small letters or in both; in room of its own, since the same name comes in many.
static inline void word_name(words *w, const char *text, size_t n)
{
    char *p = word_room + word_used;
    uint32_t how = chance(10);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(how < 7                    ? text[i]
                      : how < 9 || chance(2) > 0 ? text[i] | (text[i] >= 'A' && text[i] <= 'Z') << 5
                                                 : text[i]);
    word_used += n;
    word(w, p, n);
}

#define ANY_OF(list) list[chance((uint32_t)(sizeof list / sizeof *list))]

// clang-format off
static const char *const junk_texts[] = {
    "", "abc", " 1", "1 ", "+1", "-0", "00", "01", "1.5", "1e3", "0x10", "nan", "NX", "XX",
    "GET", "LEFT", "-1", "0", "EX", "COUNT", "MATCH", "\r\n", "'", "\"", "(nil", "-", "--1",
    "4294967296", "*", "$", "KEEPTTL", "\xff", "9223372036854775808", "-9223372036854775809",
    "-2", "99999999999999999999999", "-9223372036854775808", "9223372036854775807"
};
static const char *const junk_names[] = {
    "", "abc", "NX", "XX", "GET", "LEFT", "EX", "\r\n", "-", "*"
};
// clang-format on

static inline void word_junk(words *w, bool numbers)
{
    word_text(w, numbers ? ANY_OF(junk_texts) : ANY_OF(junk_names));
}

static inline void word_key(words *w)
{
    static const char *const keys[] = {"k0", "k1",    "k2",    "k3",   "k4",
                                       "k5", "alist", "ahash", "aset", "anumber"};
    uint32_t odd = chance(60);
    if (odd == 0)
        word(w, "", 0);
    else if (odd == 1)
        word(w, "k\0\r\n\xff", 5);
    else if (odd == 2)
        word_text(w, "a key with spaces, longer than what is kept in place");
    else
        word_text(w, ANY_OF(keys));
}

// The text, but one time in `one_in` a number from 0 to below `most`.
static inline void word_or_number(words *w, const char *text, uint32_t one_in, uint32_t most)
{
    if (chance(one_in) == 0)
        word_number(w, chance(most));
    else
        word_text(w, text);
}

static inline void word_field(words *w)
{
    static const char *const fields[] = {"f0", "f1", "f2", "f3", "number", "12", "-7", ""};
    word_or_number(w, ANY_OF(fields), 30, 600);
}

// Few enough that sets have some in common.
static inline void word_member(words *w)
{
    static const char *const members[] = {"a", "b", "c", "d", "12", "-7", "", "a longer member"};
    word_or_number(w, ANY_OF(members), 4, 40);
}

static inline void word_integer(words *w)
{
    // clang-format off
    static const char *const numbers[] = {
        "0", "1", "-1", "9223372036854775807", "-9223372036854775808",
        "9223372036854775806", "4611686018427387904", "-9223372036854775807",
        "1000000000000",
    };
    // clang-format on
    if (chance(3) > 0)
        word_number(w, (long long)chance(2000) - 1000);
    else
        word_text(w, ANY_OF(numbers));
}

static char long_value[100000];

static inline void word_value(words *w)
{
    static const char *const values[] = {"a",           "b",    "c",    "value", "",
                                         "hello world", "3.14", "\r\n", "$5\r\n"};
    uint32_t how = chance(100);
    if (how < 60)
        word_text(w, ANY_OF(values));
    else if (how < 80)
        word_integer(w);
    else if (how < 98)
        word(w, long_value + chance(256), chance(120));
    else
        word(w, long_value + chance(256), chance(chance(10) == 0 ? 90000 : 3000));
}

// Not far below 0: Redis would go on to reply for ever.
static inline void word_count(words *w)
{
    word_number(w, (long long)chance(14) - 5);
}

static inline void word_index(words *w)
{
    if (chance(20) == 0)
        word_integer(w);
    else
        word_number(w, (long long)chance(14) - 5);
}

// Times to live are far apart and none comes twice, so that "greater than" is no race between
// the clocks of two servers; none ends while the test runs.
static inline long long seconds_ahead(void)
{
    static uint32_t used;
    return 5000 + 100ll * (++used * 7919 % 65521);
}

static long long unix_seconds;

// As EX, PX, EXAT and PXAT take it; sometimes over at once, or not valid.
static inline void word_time(words *w, bool at, long long unit, bool over)
{
    static const char *const bad[] = {"",
                                      "abc",
                                      "1.5",
                                      "9223372036854775807",
                                      "9223372036854775808",
                                      "-9223372036854775808",
                                      "9223372036854775"};
    uint32_t how = chance(12);
    if (how == 0)
        word_text(w, ANY_OF(bad));
    else if (how == 1 && over)
        word_number(w, -(long long)chance(3));
    else
        word_number(w, (at ? unix_seconds : 0) * unit + seconds_ahead() * unit);
}

static inline void word_set_option(words *w)
{
    static const struct {
        const char *name;
        long long unit = 0; // of the time that follows; 0: none does
        bool at = false;
    } all[] = {{"NX"},
               {"XX"},
               {"GET"},
               {"GET"},
               {"KEEPTTL"},
               {"EX", 1},
               {"PX", 1000},
               {"EXAT", 1, true},
               {"PXAT", 1000, true}};
    auto &one = ANY_OF(all);
    word_name(w, one.name, strlen(one.name));
    if (one.unit > 0)
        word_time(w, one.at, one.unit, !one.at);
}

// Sometimes over at once, but not as a time from now: that is an error alone.
static inline void word_getex_option(words *w)
{
    static const struct {
        const char *name;
        long long unit = 0;
        bool at = false;
    } all[] = {{"PERSIST"},       {"PERSIST"},          {"EX", 1},   {"PX", 1000},
               {"EXAT", 1, true}, {"PXAT", 1000, true}, {"KEEPTTL"}, {"NX"}};
    auto &one = ANY_OF(all);
    word_name(w, one.name, strlen(one.name));
    if (one.unit > 0)
        word_time(w, one.at, one.unit, !one.at);
}

static inline void word_float(words *w)
{
    // clang-format off
    static const char *const numbers[] = {
        "0.1", "-0.1", "1.5e2", "1e-10", "3.0000000000000001", "inf", "-inf", "nan",
        "0x1p4", "1e17", "-1e30", "", " 1", "1 ", "1e5000", "1e-5000",
        "123456789.123456789", "-0.0", ".5", "5.", "1e400", "-1e400",
    };
    // clang-format on
    if (chance(3) == 0)
        return word_number(w, (long long)chance(2000) - 1000);
    word_text(w, ANY_OF(numbers));
}

static inline void word_scan_option(words *w)
{
    static const char *const types[] = {"string", "list", "hash", "set", "LIST", "nosuch"};
    static const char *const patterns[] = {"*", "k*",   "k[0-3]", "?1", "[^k]*",
                                           "",  "k\\1", "*b*r",   "a*"};
    if (chance(2) == 0) {
        word_name(w, "TYPE", 4);
        return word_text(w, ANY_OF(types));
    }
    word_name(w, "MATCH", 5);
    word_text(w, ANY_OF(patterns));
}

static inline void word_pattern(words *w)
{
    static const char bits[] = "k*?[]^-\\01l*ist*k";
    char *p = word_room + word_used;
    size_t n = chance(7);
    for (size_t i = 0; i < n; i++)
        p[i] = bits[chance(sizeof bits - 1)];
    word_used += n;
    word(w, p, n);
}

static inline void word_of(words *w, char letter)
{
    static const char *const expire_options[] = {"NX", "XX", "GT", "LT",
                                                 "gt", "lt", "xX", "nosuch"};
    static const char *const databases[] = {"0", "0", "1", "2", "15", "16", "-1", "abc", "1.0", ""};
    static const char *const versions[] = {"2", "3", "3", "4", "1", "abc", "", "-3", "03"};
    static const char *const cursors[] = {"0", "0", "0", "0", "0", "abc", "0x", "1.5", " 0", "0 "};
    // Not "-0.001": Redis 7.0 rounds it to 0, which is for ever.
    static const char *const waits[] = {"0.001", "0.002", "0.0011", "1e-3", "-1",
                                        "abc",   "-0.5",  "",       "nan",  "1 "};
    static const char *const bits[] = {"0", "7", "8", "100", "999", "4294967296", "-1", "abc"};
    static const char *const counts[] = {"0", "-1", "abc", "", "1.5"};
#define LISTED(letter, list)                                                                       \
    {                                                                                              \
        letter, list, sizeof list / sizeof *list                                                   \
    }
    static const struct {
        char letter;
        const char *const *texts;
        size_t n;
    } lists[] = {LISTED('d', databases),     LISTED('h', versions), LISTED('c', cursors),
                 LISTED('w', waits),         LISTED('j', counts),   LISTED('b', bits),
                 LISTED('X', expire_options)};
    static const struct {
        char letter;
        void (*make)(words *w);
    } makers[] = {{'k', word_key},          {'v', word_value},      {'f', word_field},
                  {'x', word_member},       {'z', word_float},      {'q', word_count},
                  {'E', word_getex_option}, {'n', word_integer},    {'i', word_index},
                  {'p', word_pattern},      {'S', word_set_option}, {'C', word_scan_option}};
    for (auto &list : lists)
        if (list.letter == letter)
            return word_text(w, list.texts[chance((uint32_t)list.n)]);
    for (auto &one : makers)
        if (one.letter == letter)
            return one.make(w);
    switch (letter) {
    case 't':
        return word_time(w, false, 1, true);
    case 'T':
        return word_time(w, true, 1, true);
    case 'U':
        return word_time(w, true, 1000, true);
    case 'm':
        return word_time(w, false, 1000, true);
    case 'M':
        word_key(w);
        return word_value(w);
    case 'F':
        word_field(w);
        return word_value(w);
    default:
        abort();
    }
}

// One word of a form: [p, p + n).
static inline void word_from(words *w, const char *p, size_t n)
{
    size_t choices = 1;
    for (size_t i = 0; i < n; i++)
        choices += p[i] == '|';
    for (uint32_t skip = chance((uint32_t)choices); skip > 0; skip--) {
        const char *bar = (const char *)memchr(p, '|', n);
        n -= (size_t)(bar + 1 - p);
        p = bar + 1;
    }
    const char *bar = (const char *)memchr(p, '|', n);
    n = bar != nullptr ? (size_t)(bar - p) : n;
    if (n == 2 && p[1] == '*')
        for (uint32_t times = 1 + chance(4); times > 0; times--)
            word_of(w, *p);
    else if (n == 1 && (*p < '0' || *p > '9'))
        word_of(w, *p);
    else
        word_name(w, p, n);
}

// ---- Commands ----

static inline void spoil(words *w, const form *f)
{
    int at = (int)chance((uint32_t)w->n), last = w->n - 1;
    words junk = {};
    word_junk(&junk, (f->flags & NO_NUMBERS) == 0);
    if ((f->flags & KEEP_LAST) != 0 && at == last)
        at = 0;
    switch (chance(3)) {
    case 0: // lost
        for (int i = at; i < last; i++) {
            w->text[i] = w->text[i + 1];
            w->size[i] = w->size[i + 1];
        }
        w->n--;
        break;
    case 1: // doubled: the last is moved to the end
        word(w, w->text[last], w->size[last]);
        if (w->n - 1 > last)
            for (int i = last; i > at; i--) {
                w->text[i] = w->text[i - 1];
                w->size[i] = w->size[i - 1];
            }
        break;
    default: // junk
        w->text[at] = junk.text[0];
        w->size[at] = junk.size[0];
    }
}

static inline const form *any_form(void)
{
    static int all;
    if (all == 0)
        for (const form &f : forms)
            all += f.weight;
    int left = (int)chance((uint32_t)all);
    for (const form &f : forms)
        if ((left -= f.weight) < 0)
            return &f;
    abort();
}

// Makes a command up; its words stand in static room, until the next.
static inline void make_command(words *w)
{
    const form *f = any_form();
    *w = {};
    word_used = 0;
    w->kind = f->kind;
    for (const char *p = f->text;; p++) {
        size_t n = strcspn(p, " ");
        word_from(w, p, n);
        p += n;
        if (*p == 0)
            break;
    }
    if ((f->flags & WHOLE) == 0 && w->n > 0 && chance(8) == 0)
        spoil(w, f);
    if (w->n == 0)
        word_text(w, "PING");
}

// A sequence, named by the number that is returned and printed.  WEFT_SEED is that number, or
// `clock`: another each time, as `make soak` has it.  Without it the same each time: a test says
// of a change what it said of the last.
static inline uint64_t generator_seed(const char *test)
{
    const char *given = getenv("WEFT_SEED");
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t seed = given == nullptr ? 1
                    : strcmp(given, "clock") == 0
                        ? (uint64_t)(t.tv_sec * 1000003 + t.tv_nsec) % 1000000007
                        : strtoull(given, nullptr, 10);
    printf("%s: WEFT_SEED=%llu\n", test, (unsigned long long)seed);
    fflush(stdout);
    chance_state = seed * 2862933555777941757u + 3037000493u;
    unix_seconds = (long long)time(nullptr);
    for (size_t i = 0; i < sizeof long_value; i++)
        long_value[i] = (char)chance(256);
    return seed;
}

#endif
