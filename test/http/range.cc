// Ranges: what is asked for, as RFC 9110 14.1.2 and its examples have it.
#include "../runner.h"

#include <http/range.h>

using namespace weft;

struct row {
    const char *text;
    int64_t size;
    int count;
    byte_range ranges[4];
};

static int parse(byte_range *ranges, const char *text, int64_t size)
{
    // A copy of the exact size, so that a step beyond it is seen.
    size_t n = strlen(text);
    char *copy = (char *)malloc(n > 0 ? n : 1);
    memcpy(copy, text, n);
    int count = range_parse(ranges, copy, n, size);
    free(copy);
    return count;
}

static void check(const row *rows, size_t n)
{
    for (const row *r = rows; r < rows + n; r++) {
        byte_range ranges[RANGES_MOST];
        int count = parse(ranges, r->text, r->size);
        if (count != r->count)
            fail_msg("%s of %lld: %d", r->text, (long long)r->size, count);
        for (int i = 0; i < count; i++)
            if (ranges[i].first != r->ranges[i].first || ranges[i].size != r->ranges[i].size)
                fail_msg("%s of %lld: %d is %lld+%lld", r->text, (long long)r->size, i,
                         (long long)ranges[i].first, (long long)ranges[i].size);
    }
}

#define CHECK(rows) check(rows, sizeof(rows) / sizeof *(rows))

CASE(test_range_one)
{
    static const row rows[] = {
        {"bytes=0-499", 10000, 1, {{0, 500}}},
        {"bytes=500-999", 10000, 1, {{500, 500}}},
        {"bytes=-500", 10000, 1, {{9500, 500}}},
        {"bytes=9500-", 10000, 1, {{9500, 500}}},
        {"bytes=0-0", 10000, 1, {{0, 1}}},
        {"bytes=-1", 10000, 1, {{9999, 1}}},
        {"bytes=9999-", 10000, 1, {{9999, 1}}},
        {"bytes=0-", 10000, 1, {{0, 10000}}},
        {"bytes=-10000", 10000, 1, {{0, 10000}}},
        {"bytes=-10001", 10000, 1, {{0, 10000}}},
        {"bytes=5-99999", 10000, 1, {{5, 9995}}},
        {"bytes=5-99999999999999999999999999", 10000, 1, {{5, 9995}}},
        {"bytes=-99999999999999999999999999", 10000, 1, {{0, 10000}}},
        {"bytes=9223372036854775806-", INT64_MAX, 1, {{INT64_MAX - 1, 1}}},
        {"BYTES=1-2", 10, 1, {{1, 2}}},
        {"bytes= 1-2 ", 10, 1, {{1, 2}}},
        {"bytes=,1-2", 10, 1, {{1, 2}}},
        {"bytes=1-2, ,\t,", 10, 1, {{1, 2}}},
        {"bytes=0-1,10-", 10, 1, {{0, 2}}},
        {"bytes=-0,3-3", 10, 1, {{3, 1}}},
    };
    CHECK(rows);
}

CASE(test_range_several)
{
    static const row rows[] = {
        {"bytes=0-0,-1", 10000, 2, {{0, 1}, {9999, 1}}},
        {"bytes=500-600,601-999", 10000, 2, {{500, 101}, {601, 399}}},
        {"bytes=500-700,601-999", 10000, 2, {{500, 201}, {601, 399}}},
        {"bytes= 0-999, 4500-5499, -1000", 10000, 3, {{0, 1000}, {4500, 1000}, {9000, 1000}}},
        {"bytes=5-5,3-3,1-1,0-0", 10, 4, {{5, 1}, {3, 1}, {1, 1}, {0, 1}}},
        {"bytes=0-4,5-9", 10, 2, {{0, 5}, {5, 5}}},
        {"bytes=0-0,0-0,0-0", 3, 3, {{0, 1}, {0, 1}, {0, 1}}},
    };
    CHECK(rows);
}

CASE(test_range_beyond)
{
    static const row rows[] = {
        {"bytes=10-", 10, -1, {}},
        {"bytes=10-20", 10, -1, {}},
        {"bytes=-0", 10, -1, {}},
        {"bytes=99999999999999999999999999-", 10, -1, {}},
        {"bytes=9223372036854775807-", INT64_MAX, -1, {}},
        {"bytes=10-,20-30,-0", 10, -1, {}},
        {"bytes=0-", 0, -1, {}},
        {"bytes=0-0", 0, -1, {}},
    };
    CHECK(rows);
}

// The whole is sent.
CASE(test_range_ignored)
{
    static const row rows[] = {
        {"", 10, 0, {}},
        {"bytes", 10, 0, {}},
        {"bytes=", 10, 0, {}},
        {"bytes=,", 10, 0, {}},
        {"bytes = 1-2", 10, 0, {}},
        {"byte=1-2", 10, 0, {}},
        {"lines=1-2", 10, 0, {}},
        {"bytes 1-2", 10, 0, {}},
        {"bytes=2-1", 10, 0, {}},
        {"bytes=1", 10, 0, {}},
        {"bytes=-", 10, 0, {}},
        {"bytes=a-b", 10, 0, {}},
        {"bytes=1-b", 10, 0, {}},
        {"bytes=1-2-3", 10, 0, {}},
        {"bytes=1 - 2", 10, 0, {}},
        {"bytes=1- 2", 10, 0, {}},
        {"bytes=+1-2", 10, 0, {}},
        {"bytes=--1", 10, 0, {}},
        {"bytes=0x1-2", 10, 0, {}},
        {"bytes=1-2;3-4", 10, 0, {}},
        {"bytes=1-2 3-4", 10, 0, {}},
        {"bytes=1-2,x", 10, 0, {}},
        {"bytes=10-,2-1", 10, 0, {}},
        {"bytes=-5", 0, 0, {}}, // the last five of nothing are all of it
        // More than there is, several times.
        {"bytes=0-,0-", 10, 0, {}},
        {"bytes=0-5,4-9", 10, 0, {}},
        {"bytes=-9,-2", 10, 0, {}},
        {"bytes=0-9223372036854775807,0-9223372036854775807", INT64_MAX, 0, {}},
    };
    CHECK(rows);
}

CASE(test_range_count)
{
    char text[400] = "bytes=0-0";
    byte_range ranges[RANGES_MOST];
    for (int i = 1; i < RANGES_MOST; i++)
        sprintf(text + strlen(text), ",%d-%d", i, i);
    assert_int_equal(parse(ranges, text, 1000), RANGES_MOST);
    assert_int_equal(ranges[RANGES_MOST - 1].first, RANGES_MOST - 1);
    strcat(text, ",99-99");
    assert_int_equal(parse(ranges, text, 1000), 0);
    strcpy(text, "bytes=0-0"); // those there are no bytes for count, too
    for (int i = 1; i <= RANGES_MOST; i++)
        strcat(text, ",2000-");
    assert_int_equal(parse(ranges, text, 1000), 0);
}

// Whatever is asked for lies in the file, and comes to no more than it.
CASE(test_range_random)
{
    static const char letters[] = "0123456789--,, \tx";
    unsigned seed = 7;
    for (int i = 0; i < 300000; i++) {
        char text[40] = "bytes=";
        for (int n = 6, end = 7 + i % 30; n < end; n++)
            text[n] = letters[((seed = seed * 1103515245 + 12345) >> 16) % (sizeof letters - 1)];
        byte_range ranges[RANGES_MOST];
        int64_t size = i % 50, sum = 0;
        int count = range_parse(ranges, text, strlen(text), size);
        assert_true(count >= -1 && count <= RANGES_MOST);
        for (int k = 0; k < count; k++) {
            sum += ranges[k].size;
            if (ranges[k].first < 0 || ranges[k].size < 1 ||
                ranges[k].first + ranges[k].size > size || sum > size)
                fail_msg("%s of %lld", text, (long long)size);
        }
    }
}

RUN_CASES()
