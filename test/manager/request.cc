// request.cc: commands out of bytes, whole and split at every byte; numbers and patterns.
#include "../runner.h"

#include <manager/server/memory.h>
#include <manager/server/server.h>

#include <initializer_list>
#include <stdio.h>

using namespace weft;

static const request_limits known = {INT32_MAX, 512 << 20, 512 << 20, true};
static const request_limits unknown = {10, 16384, SIZE_MAX, false};

// Reads all of `in` as it comes in pieces of `piece` bytes, and prints the commands: words in
// brackets, or the error.
static const char *read_in(const char *in, size_t n, size_t piece, const request_limits *limits)
{
    static char out[4096];
    request r = {};
    size_t begin = 0, there = 0, used = 0;
    const char *error = NULL;
    char *copy = (char *)malloc(n + 1); // exactly as much: a sanitizer sees a byte too far
    assert_non_null(copy);
    out[0] = 0;
    while (there < n && error == NULL) {
        there = there + piece < n ? there + piece : n;
        char *part = (char *)malloc(there - begin);
        assert_non_null(part);
        memcpy(part, in + begin, there - begin);
        size_t at = 0;
        for (;;) {
            int got = request_read(&r, part + at, there - begin - at, limits, &error);
            if (got != REQUEST_WHOLE)
                break;
            for (size_t i = 0; i < r.count; i++)
                used += (size_t)snprintf(out + used, sizeof out - used, "[%.*s]",
                                         (int)r.words[i].size, r.words[i].text);
            used += (size_t)snprintf(out + used, sizeof out - used, ";");
            at += r.at;
            request_next(&r);
        }
        free(part);
        begin += at;
    }
    if (error != NULL)
        snprintf(out + used, sizeof out - used, "%s", error);
    free(copy);
    memory_give(r.words);
    assert_int_equal(bytes_in_use, 0);
    return out;
}

static void expect(const char *in, const char *out)
{
    size_t n = strlen(in);
    for (size_t piece = n > 0 ? n : 1; piece > 0; piece--)
        assert_string_equal(read_in(in, n, piece, &known), out);
}

CASE(test_arrays)
{
    expect("*1\r\n$4\r\nPING\r\n", "[PING];");
    expect("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n", "[SET][a][];[PING];");
    expect("*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n", ";;[PING];");
    expect("*1\r\n$12\r\n\r\n*1\r\n$4\r\nPI\r\n", "[\r\n*1\r\n$4\r\nPI];");
    expect("*2\r\n$4\r\nECHO\r\n$3\r\nab", "");
}

CASE(test_arrays_malformed)
{
    expect("*x\r\n", "Protocol error: invalid multibulk length");
    expect("*\r\n", "Protocol error: invalid multibulk length");
    expect("*2147483648\r\n", "Protocol error: invalid multibulk length");
    expect("*99999999999999999999999999\r\n", "Protocol error: invalid multibulk length");
    expect("*1\r\nPING\r\n", "Protocol error: expected '$', got 'P'");
    expect("*1\r\n$-1\r\n", "Protocol error: invalid bulk length");
    expect("*1\r\n$+1\r\n", "Protocol error: invalid bulk length");
    expect("*1\r\n$01\r\n", "Protocol error: invalid bulk length");
    expect("*1\r\n$536870913\r\n", "Protocol error: invalid bulk length");
    expect("*1\r\n$9223372036854775808\r\n", "Protocol error: invalid bulk length");
}

CASE(test_before_the_password)
{
    const char *many = "*11\r\n", *large = "*1\r\n$16385\r\n";
    assert_string_equal(read_in(many, strlen(many), 99, &unknown),
                        "Protocol error: unauthenticated multibulk length");
    assert_string_equal(read_in(large, strlen(large), 99, &unknown),
                        "Protocol error: unauthenticated bulk length");
}

CASE(test_lines_that_never_end)
{
    static char text[70000];
    static const char *const heads[][2] = {
        {"", "Protocol error: too big inline request"},
        {"*", "Protocol error: too big mbulk count string"},
        {"*1\r\n$", "Protocol error: too big bulk count string"}};
    for (const auto &each : heads) {
        memset(text, '1', sizeof text);
        memcpy(text, each[0], strlen(each[0]));
        assert_string_equal(read_in(text, sizeof text, sizeof text, &known), each[1]);
        assert_string_equal(read_in(text, sizeof text, 1000, &known), each[1]);
    }
}

CASE(test_inline)
{
    expect("PING\r\n", "[PING];");
    expect("PING\n", "[PING];");
    expect("\r\n", ";");
    expect("  SET  a\tb \r\n", "[SET][a][b];");
    expect("SET a \"x y\"\n", "[SET][a][x y];");
    expect("SET a 'x\\'y'\n", "[SET][a][x'y];");
    expect("SET a \"\\x41\\n\\q\\\\\"\n", "[SET][a][A\nq\\];");
    expect("a\"b\"\n", "[ab];");
    expect("a \"b\n", "Protocol error: unbalanced quotes in request");
    expect("a \"b\"c\n", "Protocol error: unbalanced quotes in request");
    expect("a 'b\n", "Protocol error: unbalanced quotes in request");
    expect("PING\n*1\r\n$4\r\nPING\r\n", "[PING];[PING];");
}

CASE(test_number)
{
    int64_t number;
    static const struct {
        const char *text;
        int64_t number;
    } good[] = {{"0", 0},
                {"7", 7},
                {"-7", -7},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    for (const auto &each : good)
        if (!parse_number(each.text, strlen(each.text), &number) || number != each.number)
            fail_msg("\"%s\" is not read", each.text);
    for (const char *bad :
         {"-0", "00", "+7", " 7", "7 ", "", "-", "9223372036854775808", "-9223372036854775809",
          "18446744073709551616", "99999999999999999999", "1.5"})
        if (parse_number(bad, strlen(bad), &number))
            fail_msg("\"%s\" is a number", bad);
}

static bool matches(const char *pattern, const char *text)
{
    return glob_matches(pattern, strlen(pattern), text, strlen(text));
}

// Each is "pattern text".
static void match(bool expected, std::initializer_list<const char *> cases)
{
    for (const char *each : cases) {
        char pattern[32];
        const char *text = strchr(each, ' ') + 1;
        snprintf(pattern, sizeof pattern, "%.*s", (int)(text - each - 1), each);
        if (matches(pattern, text) != expected)
            fail_msg("\"%s\"", each);
    }
}

CASE(test_matches)
{
    match(true, {" ", "* ", "* abc", "a*c abbc", "h?llo hxllo", "h[ae]llo hallo", "h[^e]llo hallo",
                 "h[a-c]llo hbllo", "h[c-a]llo hbllo", "h\\*llo h*llo", "[\\]] ]", "**a** xay",
                 "*a*b*c* 1a2b3c4"});
    match(false, {" a", "a*c abb", "h?llo hllo", "h[ae]llo hillo", "h[^e]llo hello",
                  "h[a-c]llo hdllo", "h\\*llo hxllo", "a a*"});
}

// No pattern takes time that grows faster than the product of the lengths.
CASE(test_matches_soon)
{
    char pattern[201], text[5001];
    for (int i = 0; i < 200; i++)
        pattern[i] = i % 2 == 0 ? '*' : 'a';
    pattern[199] = 'b';
    pattern[200] = 0;
    memset(text, 'a', 5000);
    text[5000] = 0;
    assert_false(matches(pattern, text)); // the alarm is the judge
}

// What waits for a slow reader is not moved with each reply, however much it is.
CASE(test_replies_that_wait)
{
    enum { PIECE = 65536, WAITING = 2047, MORE = 20000 };
    static char piece[PIECE];
    server s = {};
    peer p = {};
    p.server = &s;
    p.is_dirty = true; // nobody is to be told
    s.o.max_reply = (size_t)PIECE * (WAITING + 1);
    for (uint32_t i = 0, next = 0; i < MORE; i++) {
        memcpy(piece, &i, sizeof i);
        reply_raw(&p, piece, sizeof piece);
        if (i < WAITING)
            continue;
        assert_memory_equal(p.out.data + p.out.begin, &next, sizeof next);
        next++;
        p.out.begin += PIECE; // it has read one
    }                         // the alarm is the judge
    assert_int_equal(p.out.end - p.out.begin, (size_t)PIECE * WAITING);
    assert_false(p.ending);
    for (int i = 0; !p.ending; i++, reply_raw(&p, piece, sizeof piece))
        assert_true(i <= WAITING / 2 + 2); // it is looked at when room is made
    memory_give(p.out.data);
    assert_int_equal(bytes_in_use, 0);
}

RUN_CASES()
