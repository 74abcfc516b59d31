// command_number.cc: strings and fields of hashes as numbers: INCR DECR INCRBY DECRBY INCRBYFLOAT
// HINCRBY HINCRBYFLOAT, as Redis has them: fractions are long double, and written with 17 digits
// behind the point, less the zeros at the end.
#include "commands.h"
#include "place.h"

#include <base/number.h>

#include <math.h>

using namespace weft;

// The longest is 2^16384, and the 17 digits.
enum { FLOAT_ROOM = 5120 };

static size_t print_float(char text[FLOAT_ROOM], long double number)
{
    size_t n = (size_t)snprintf(text, FLOAT_ROOM, "%.17Lf", number);
    while (text[n - 1] == '0')
        n--;
    n -= text[n - 1] == '.';
    if (n == 2 && memcmp(text, "-0", 2) == 0) {
        text[0] = '0';
        n = 1;
    }
    return n;
}

// ---- Strings ----

static void add(peer *p, const word *key, int64_t by)
{
    entry **link;
    int64_t number = 0;
    char text[24];
    if (!key_typed(p, key, TYPE_STRING, &link))
        return;
    if (link != nullptr) {
        word old = {entry_text(*link), (*link)->size};
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
        (*link)->general = 0;
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

// The text of what is at `link`, or 0, and `by` together: its size.  0: the peer was told, by
// `no_float` that there is no number.
static size_t float_sum(peer *p, entry **link, long double by, const char *no_float, char *text)
{
    long double number = 0;
    word old = {"0", 1};
    if (link != nullptr)
        old = {entry_text(*link), (*link)->size};
    if (!parse_float(&old, &number)) {
        reply_error(p, "%s", no_float);
        return 0;
    }
    number += by;
    if (isfinite(number))
        return print_float(text, number);
    reply_error(p, "ERR increment would produce NaN or Infinity");
    return 0;
}

void weft::command_incrbyfloat(peer *p, const word *words, int)
{
    static const char no_float[] = "ERR value is not a valid float";
    entry **link;
    long double by;
    char text[FLOAT_ROOM];
    if (!key_typed(p, &words[1], TYPE_STRING, &link))
        return;
    if (!parse_float(&words[2], &by)) {
        reply_error(p, no_float);
        return;
    }
    size_t n = float_sum(p, link, by, no_float, text);
    if (n == 0)
        return;
    key_set(p->server, p->db, &words[1], text, n, true);
    reply_string(p, text, n);
}

// ---- Fields ----

void weft::command_hincrby(peer *p, const word *words, int)
{
    int64_t by, number = 0;
    char text[24];
    if (!parse_integer(p, &words[3], &by))
        return;
    table *t = key_table(p, &words[1], TYPE_HASH);
    if (t == nullptr)
        return;
    entry **link = table_find_word(t, &words[2]);
    if (link != nullptr && !parse_number(entry_text(*link), (*link)->size, &number)) {
        reply_error(p, "ERR hash value is not an integer");
        return;
    }
    if (__builtin_add_overflow(number, by, &number)) {
        reply_error(p, "ERR increment or decrement would overflow");
        return;
    }
    const entry *e = key_make(p, &words[1], TYPE_HASH);
    hash_set(entry_hash(e), &words[2], text, number_print(text, number));
    key_changed(p->server, p->db, words[1].text, words[1].size);
    reply_integer(p, number);
}

void weft::command_hincrbyfloat(peer *p, const word *words, int)
{
    long double by;
    char text[FLOAT_ROOM];
    if (!parse_float(&words[3], &by)) {
        reply_error(p, "ERR value is not a valid float");
        return;
    }
    if (!isfinite(by)) {
        reply_error(p, "ERR value is NaN or Infinity");
        return;
    }
    table *t = key_table(p, &words[1], TYPE_HASH);
    if (t == nullptr)
        return;
    entry **link = table_find_word(t, &words[2]);
    size_t n = float_sum(p, link, by, "ERR hash value is not a float", text);
    if (n == 0)
        return;
    hash_set(entry_hash(key_make(p, &words[1], TYPE_HASH)), &words[2], text, n);
    key_changed(p->server, p->db, words[1].text, words[1].size);
    reply_string(p, text, n);
}
