// What requests ask of a file: conditions in their order, ranges by conditions, codings by weight.
#include "../runner.h"

#include <http/asked.h>

using namespace weft;

static const int64_t NOW = 784111780, MODIFIED = 784111777;
#define AT "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"
#define AT_850 "Sunday, 06-Nov-94 08:49:37 GMT"
#define AT_ASCTIME "Sun Nov  6 08:49:37 1994"

static weft_http_field fields[16];
static weft_http_head head;

// Lines "name: value" with a newline behind each; values are trimmed, as the parser does it.
static asked read_lines(const char *lines)
{
    head = {};
    head.fields = fields;
    while (*lines != 0) {
        const char *colon = strchr(lines, ':'), *end = strchr(lines, '\n');
        const char *value = colon + 1 + strspn(colon + 1, " ");
        fields[head.count++] = {{lines, (size_t)(colon - lines)}, {value, (size_t)(end - value)}};
        lines = end + 1;
    }
    asked a;
    asked_read(&a, &head);
    return a;
}

static const validators FILE_STATE = {"\"abc\"", 5, MODIFIED};

CASE(test_asked_condition)
{
    static const struct {
        const char *lines;
        int status;
    } rows[] = {
        {"Host: a\nUser-Agent: b\n", 0},
        // If-None-Match, weakly
        {"If-None-Match: \"abc\"\n", 304},
        {"if-none-match: W/\"abc\"\n", 304},
        {"If-None-Match: *\n", 304},
        {"If-None-Match: \"x\", \"abc\"\n", 304},
        {"If-None-Match: \"x\",W/\"y\" , W/\"abc\"\n", 304},
        {"If-None-Match: ,, \"abc\"\n", 304},
        {"If-None-Match: \"x\"\nIf-None-Match: \"abc\"\n", 304},
        {"If-None-Match: \"a,b\", \"abc\"\n", 304},
        {"If-None-Match: \"x\"\n", 0},
        {"If-None-Match: \"ABC\"\n", 0},
        {"If-None-Match: abc\n", 0},
        {"If-None-Match: \"abc\n", 0},
        {"If-None-Match: \"abcd\", \"ab\", \"\"\n", 0},
        {"If-None-Match: w/\"abc\"\n", 0},
        {"If-None-Match: \"x *\"\n", 0},
        {"If-None-Match: \n", 0},
        {"If-None-Match: W/\n", 0},
        {"If-None-Match: \"\n", 0},
        // If-Modified-Since
        {"If-Modified-Since: " AT "\n", 304},
        {"If-Modified-Since: " AT_850 "\n", 304},
        {"If-Modified-Since: " AT_ASCTIME "\n", 304},
        {"If-Modified-Since: " AFTER "\n", 304},
        {"If-Modified-Since: " BEFORE "\n", 0},
        {"If-Modified-Since: yesterday\n", 0},
        {"If-Modified-Since: \n", 0},
        {"If-Modified-Since: " AT "\nIf-Modified-Since: " AT "\n", 0},
        // it is not looked at beside If-None-Match
        {"If-None-Match: \"x\"\nIf-Modified-Since: " AT "\n", 0},
        {"If-None-Match: \"abc\"\nIf-Modified-Since: " BEFORE "\n", 304},
        // If-Match, strongly
        {"If-Match: \"abc\"\n", 0},
        {"If-Match: *\n", 0},
        {"If-Match: \"x\", \"abc\"\n", 0},
        {"If-Match: W/\"abc\"\n", 412},
        {"If-Match: \"x\"\n", 412},
        {"If-Match: abc\n", 412},
        {"If-Match: \n", 412},
        // If-Unmodified-Since
        {"If-Unmodified-Since: " AT "\n", 0},
        {"If-Unmodified-Since: " AFTER "\n", 0},
        {"If-Unmodified-Since: " BEFORE "\n", 412},
        {"If-Unmodified-Since: never\n", 0},
        {"If-Unmodified-Since: " BEFORE "\nIf-Unmodified-Since: " BEFORE "\n", 0},
        // it is not looked at beside If-Match
        {"If-Match: \"abc\"\nIf-Unmodified-Since: " BEFORE "\n", 0},
        {"If-Match: \"x\"\nIf-Unmodified-Since: " AT "\n", 412},
        // first what may fail, then what may save the body
        {"If-None-Match: \"abc\"\nIf-Match: \"x\"\n", 412},
        {"If-None-Match: \"abc\"\nIf-Match: \"abc\"\n", 304},
        {"If-Modified-Since: " AT "\nIf-Unmodified-Since: " BEFORE "\n", 412},
        {"If-Modified-Since: " AT "\nIf-Unmodified-Since: " AT "\n", 304},
    };
    for (const auto &r : rows) {
        asked a = read_lines(r.lines);
        int status = asked_is_conditional(&a) ? asked_condition(&a, &FILE_STATE, NOW) : 0;
        if (status != r.status)
            fail_msg("%d: %s", status, r.lines);
    }
}

CASE(test_asked_ranges)
{
    static const struct {
        const char *lines;
        bool asked;
        int64_t now;
    } rows[] = {
        {"Host: a\n", false, NOW},
        {"Range: bytes=0-1\n", true, NOW},
        {"If-Range: \"abc\"\n", false, NOW},
        {"Range: bytes=0-1\nIf-Range: \"abc\"\n", true, NOW},
        {"If-Range: \"abc\"\nRange: bytes=0-1\n", true, NOW},
        {"Range: bytes=0-1\nIf-Range: \"x\"\n", false, NOW},
        {"Range: bytes=0-1\nIf-Range: W/\"abc\"\n", false, NOW},
        {"Range: bytes=0-1\nIf-Range: \"abc\", \"x\"\n", false, NOW},
        {"Range: bytes=0-1\nIf-Range: abc\n", false, NOW},
        {"Range: bytes=0-1\nIf-Range: *\n", false, NOW},
        {"Range: bytes=0-1\nIf-Range: \n", false, NOW},
        {"Range: bytes=0-1\nIf-Range: \"abc\"\nIf-Range: \"abc\"\n", false, NOW},
        // a date, which must be the same, and old enough
        {"Range: bytes=0-1\nIf-Range: " AT "\n", true, NOW},
        {"Range: bytes=0-1\nIf-Range: " AT_850 "\n", true, NOW},
        {"Range: bytes=0-1\nIf-Range: " AFTER "\n", false, NOW},
        {"Range: bytes=0-1\nIf-Range: " BEFORE "\n", false, NOW},
        {"Range: bytes=0-1\nIf-Range: " AT "\n", false, MODIFIED},
        {"Range: bytes=0-1\nIf-Range: " AT "\n", true, MODIFIED + 1},
    };
    for (const auto &r : rows) {
        asked a = read_lines(r.lines);
        if (asked_ranges(&a, &FILE_STATE, r.now) != r.asked)
            fail_msg("%s", r.lines);
    }
    asked a = read_lines("Range: bytes=0-1\nRange: bytes=2-3\n");
    assert_int_equal(a.range.size, 0); // which is no range
}

CASE(test_asked_coding)
{
    enum { ALL = 15, ONLY_GZIP = 1 << IDENTITY | 1 << GZIP };
    static const struct {
        const char *lines;
        unsigned have;
        coding best;
    } rows[] = {
        {"Host: a\n", ALL, IDENTITY},
        {"Accept-Encoding: gzip\n", ALL, GZIP},
        {"Accept-Encoding: gzip, deflate, br, zstd\n", ALL, BR},
        {"Accept-Encoding: gzip, deflate, zstd\n", ALL, ZSTD},
        {"Accept-Encoding: gzip, deflate, br\n", ONLY_GZIP, GZIP},
        {"Accept-Encoding: br\n", ONLY_GZIP, IDENTITY},
        {"Accept-Encoding: GZIP\n", ALL, GZIP},
        {"Accept-Encoding: x-gzip\n", ALL, GZIP},
        {"Accept-Encoding: gzipped\n", ALL, IDENTITY},
        {"Accept-Encoding: gz\n", ALL, IDENTITY},
        {"Accept-Encoding: \n", ALL, IDENTITY},
        {"Accept-Encoding: *\n", ALL, BR},
        {"Accept-Encoding: *\n", ONLY_GZIP, GZIP},
        {"Accept-Encoding: *;q=0\n", ALL, IDENTITY},
        {"Accept-Encoding: *;q=0, gzip\n", ALL, GZIP},
        {"Accept-Encoding: br;q=0, *\n", ALL, ZSTD},
        {"Accept-Encoding: deflate\n", ALL, IDENTITY},
        {"Accept-Encoding: identity\n", ALL, IDENTITY},
        {"Accept-Encoding: identity;q=0, gzip;q=0.001\n", ALL, GZIP},
        {"Accept-Encoding: identity;q=0\n", ALL, IDENTITY},
        // weights
        {"Accept-Encoding: br;q=0.5, gzip;q=1.0\n", ALL, GZIP},
        {"Accept-Encoding: br;q=0.999, gzip;q=1\n", ALL, GZIP},
        {"Accept-Encoding: br;q=0.5, gzip;q=0.50\n", ALL, BR},
        {"Accept-Encoding: br;q=0, gzip;q=0.1\n", ALL, GZIP},
        {"Accept-Encoding: gzip;q=0.5, identity\n", ALL, IDENTITY},
        {"Accept-Encoding: gzip, identity\n", ALL, GZIP},
        {"Accept-Encoding: gzip;q=0.5, identity;q=0.4\n", ALL, GZIP},
        {"Accept-Encoding: gzip;q=0\n", ALL, IDENTITY},
        {"Accept-Encoding: gzip;q=0.000\n", ALL, IDENTITY},
        {"Accept-Encoding: gzip ; Q=0.3 ,br\t;\tq=0.2\n", ALL, GZIP},
        // what is no weight
        {"Accept-Encoding: gzip;q=2\n", ALL, IDENTITY},
        {"Accept-Encoding: gzip;q=1.001\n", ALL, IDENTITY},
        {"Accept-Encoding: gzip;q=0.1234\n", ALL, IDENTITY},
        {"Accept-Encoding: gzip;q=\n", ALL, IDENTITY},
        {"Accept-Encoding: gzip;q=0,5\n", ALL, IDENTITY},
        {"Accept-Encoding: gzip;q=-1\n", ALL, IDENTITY},
        {"Accept-Encoding: gzip;q=0.x\n", ALL, IDENTITY},
        {"Accept-Encoding: gzip;level=9\n", ALL, IDENTITY},
        // lists
        {"Accept-Encoding: ,, gzip ,,\n", ALL, GZIP},
        {"Accept-Encoding: deflate\nAccept-Encoding: gzip\n", ALL, GZIP},
        {"Accept-Encoding: gzip;q=0.1\nHost: a\nAccept-Encoding: zstd\n", ALL, ZSTD},
    };
    for (const auto &r : rows) {
        asked a = read_lines(r.lines);
        coding best = asked_coding(&a, r.have);
        if (best != r.best)
            fail_msg("%d: %s", best, r.lines);
    }
}

RUN_CASES()
