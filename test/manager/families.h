// families.h: a family of commands in its scenarios, on weft's server and, where it is installed,
// on redis-server 7.0 as well: the model says whether what is expected is true.
//
//     FAMILY_CASE(test_append)
//     {
//         gives("APPEND k ab", "2");
//         gives("LRANGE k 0 -1", "-WRONGTYPE ...");
//         gives_sorted("SMEMBERS s", "[a b]");
//     }
//
// Replies are shown as text: a number or a string as it is, null as "nil", an error with its minus,
// an array in brackets, a set or a map of RESP3 in braces.
#ifndef WEFT_TEST_FAMILIES_H
#define WEFT_TEST_FAMILIES_H

#include "beside.h"
#include "compare.h"

#include <initializer_list>

static raw at[SIDES]; // a connection to each
static int sides_there;

// ---- Replies as text ----

struct shown {
    char *text;
    size_t n, room;
};

static inline void show_bytes(shown *s, const char *p, size_t n)
{
    if (s->room - s->n < n + 1)
        s->text = (char *)realloc(s->text, s->room = s->room * 2 + n + 64);
    memcpy(s->text + s->n, p, n);
    s->n += n;
    s->text[s->n] = 0;
}

static inline void show_text(shown *s, const char *text)
{
    show_bytes(s, text, strlen(text));
}

static inline int text_order(const void *a, const void *b)
{
    span x = *(const span *)a, y = *(const span *)b;
    for (span *each : {&x, &y}) {
        size_t head = (size_t)((const char *)memchr(each->p, '\n', each->n) + 1 - each->p);
        *each = {each->p + head, each->n - head};
    }
    return span_order(&x, &y);
}

// `step`: an aggregate's items are sorted, so many together; 0: they stay as they are.
static inline void show_reply(shown *s, span r, size_t step)
{
    long long number = 0;
    size_t head = resp_line(r.p, r.n, &number), n;
    if (*r.p == '_' || ((*r.p == '$' || *r.p == '*') && number < 0))
        return show_text(s, "nil");
    if (*r.p == '$')
        return show_bytes(s, r.p + head, (size_t)number);
    if (!is_aggregate(r))
        return show_bytes(s, *r.p == '-' ? r.p : r.p + 1, head - (*r.p == '-' ? 2 : 3));
    span *items = items_of(r, step > 0 ? step : 1, &n);
    if (step > 0)
        qsort(items, n, sizeof *items, text_order);
    show_text(s, *r.p == '*' ? "[" : "{");
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0, from = 0; k < (step > 0 ? step : 1); k++) {
            span one = {items[i].p + from, resp_size(items[i].p + from, items[i].n - from)};
            show_text(s, i + k > 0 ? " " : "");
            show_reply(s, one, 0);
            from += one.n;
        }
    show_text(s, *r.p == '*' ? "]" : "}");
    free(items);
}

// The text is good until the call after the next three.
static inline const char *shown_reply(raw *c, size_t step)
{
    static shown kept[4];
    static unsigned turn;
    shown *s = &kept[turn++ % 4];
    size_t n;
    const char *p = raw_next(c, &n, weft_in_s(RAW_SECONDS));
    s->n = 0;
    if (p == nullptr)
        return "(no reply)";
    show_text(s, "");
    show_reply(s, {p, n}, step);
    return s->text;
}

// ---- Asking both ----

static inline void send_all(const char *line)
{
    size_t room = strlen(line) * 9 + 64; // each word of one byte has its own length
    char *text = (char *)malloc(room);
    size_t n = request_of(text, room, line);
    for (int s = 0; s < sides_there; s++)
        raw_send(&at[s], text, n);
    free(text);
}

// What ours says, which is what Redis says.
static inline const char *answer(const char *line, size_t step)
{
    send_all(line);
    const char *a = shown_reply(&at[OURS], step);
    if (sides_there == SIDES) {
        const char *b = shown_reply(&at[REDIS], step);
        if (strcmp(a, b) != 0)
            fail_msg("to %.200s weft says %.1000s, redis %.1000s", line, a, b);
    }
    return a;
}

#define gives(line, expected) assert_string_equal(answer(line, 0), expected)
#define gives_sorted(line, expected) assert_string_equal(answer(line, 1), expected)
#define gives_sorted_pairs(line, expected) assert_string_equal(answer(line, 2), expected)

// The same to each of the lines.
static inline void all_give(std::initializer_list<const char *> lines, const char *expected)
{
    for (const char *line : lines)
        gives(line, expected);
}

// What each says, which may differ: fn looks at it.
static inline void each_says(const char *line, void (*fn)(const char *text, int side))
{
    send_all(line);
    for (int s = 0; s < sides_there; s++)
        fn(shown_reply(&at[s], 0), s);
}

// Sends a request as it stands to each, which says `expected`.
static inline void each_replies(const char *request, const char *expected)
{
    for (int s = 0; s < sides_there; s++)
        raw_text(&at[s], request);
    for (int s = 0; s < sides_there; s++)
        assert_string_equal(reply(&at[s]), expected);
}

// From now on they reply in RESP3.
static inline void speak_resp3(void)
{
    for (int s = 0; s < sides_there; s++)
        ask(&at[s], "HELLO 3");
}

__attribute__((format(printf, 1, 2))) static inline const char *line_of(const char *format, ...)
{
    static char text[4][1000];
    static unsigned turn;
    char *t = text[turn++ % 4];
    va_list rest;
    va_start(rest, format);
    vsnprintf(t, sizeof text[0], format, rest);
    va_end(rest);
    return t;
}

static inline void goes_within_time(const char *key)
{
    for (int s = 0; s < sides_there; s++) {
        weft_deadline d = weft_in_s(RAW_SECONDS);
        while (ask_number(&at[s], line_of("EXISTS %s", key)) > 0 && weft_left(d) > 0)
            usleep(1000);
    }
    gives(line_of("EXISTS %s", key), "0");
}

static const char WRONG_TYPE[] =
    "-WRONGTYPE Operation against a key holding the wrong kind of value";
static const char NO_INTEGER[] = "-ERR value is not an integer or out of range";
static const char NO_KEYS[] = "-ERR numkeys should be greater than 0";
static const char SYNTAX[] = "-ERR syntax error";

// ---- Cases ----

static inline void with_family(void (*fn)(void))
{
    for (int s = 0; s < sides_there; s++)
        raw_open(&at[s], address_of[s]);
    gives("FLUSHALL", "OK");
    fn();
    for (int s = 0; s < sides_there; s++)
        raw_close(&at[s]);
}

#define FAMILY_CASE(fn) CASE_IN(fn, with_family)

static inline int family_begin(void **)
{
    left_out = redis_missing();
    sides_there = left_out == nullptr ? SIDES : 1;
    return left_out == nullptr ? beside_open(nullptr) : beside_open_ours(nullptr);
}

#define RUN_FAMILY() RUN_CASES(family_begin, beside_end)

#endif
