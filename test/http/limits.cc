// Limits of heads, to the byte; calls that go on; how a head is looked for; scanners that agree.
#include "../runner.h"
#include "describe.h"

#include <http/scan.h>

using namespace weft;

// ---- Limits ----

#define LAST_FIELD "X: 123456789"
#define FIRST_LINE "GET /23456789 HTTP/1.0"
static const char limited[] = "\r\n" FIRST_LINE "\r\n" LAST_FIELD "\r\n\r\n";

// What is said of it, at once and byte by byte.
static void assert_said(const message *m, const char *said)
{
    size_t end;
    for (size_t then = 0; then < 2; then++) {
        words is = describe(m, {then, then}, &end);
        assert_memory_equal(is.text, said, strlen(said));
        free(is.text);
    }
}

static message with_limits(weft_http_limits limits)
{
    message m = {};
    m.text = limited;
    m.size = sizeof limited - 1;
    m.limits = limits;
    return m;
}

CASE(test_limits_of_the_request_line)
{
    const size_t size = sizeof FIRST_LINE - 1;
    message m = with_limits({size, 0, 0});
    assert_said(&m, "GET ");
    for (m.limits.line = 1; m.limits.line < size; m.limits.line++)
        assert_said(&m, "414 the first line is too long");
}

CASE(test_limits_of_a_field)
{
    message m = {};
    m.text = "GET / HTTP/1.0\r\nX: 90123456789\r\n\r\n";
    m.size = strlen(m.text);
    m.limits.line = 14;
    assert_said(&m, "GET ");
    m.text = "GET / HTTP/1.0\r\nX: 901234567890\r\n\r\n";
    m.size++;
    assert_said(&m, "431 a field or all of them are too long");
}

CASE(test_limits_of_the_head)
{
    message m = with_limits({0, sizeof limited - 1, 0});
    assert_said(&m, "GET ");
    for (m.limits.head = 1; m.limits.head < m.size; m.limits.head++)
        assert_said(&m, m.limits.head < sizeof FIRST_LINE + 3 ? "414" : "431");
}

CASE(test_limits_of_the_number_of_fields)
{
    message m = {};
    m.text = "GET / HTTP/1.0\r\nA:\r\nB:\r\nC:\r\n\r\n";
    m.size = strlen(m.text);
    m.limits.fields = 3;
    assert_said(&m, "GET ");
    m.limits.fields = 2;
    assert_said(&m, "431 too many fields");
}

// A text of this size that never ends a line or a head.
static void assert_never_ends(const char *line, size_t size, int status)
{
    weft_http_field fields[200];
    weft_http_head h = {};
    h.fields = fields;
    h.room = 200;
    char *text = (char *)malloc(size);
    for (size_t i = 0; i < size; i++)
        text[i] = line[i % strlen(line)];
    memcpy(text, "GET / HTTP/1.0\r\n", 16);
    if (status == 414)
        memset(text, 'a', size);
    assert_errno(weft_http_parse_request(&h, text, size, NULL), EBADMSG);
    assert_int_equal(h.status, status);
    free(text);
}

CASE(test_limits_that_are_not_given)
{
    assert_never_ends("a", 8192 + 1, 414);
    assert_never_ends("a", 16 + 8192 + 1, 431);
    assert_never_ends("aaaaaaaa: bbbb\r\n", 16 * 102, 431); // the 101st field
    char text[33000];                                       // fields of 1 KiB each
    memset(text, 'a', sizeof text);
    memcpy(text, "GET / HTTP/1.0\r\n", 16);
    for (size_t i = 16 + 1024; i < sizeof text; i += 1024)
        memcpy(text + i - 3, ":\r\n", 3);
    weft_http_field fields[100];
    weft_http_head h = {};
    h.fields = fields;
    h.room = 100;
    assert_errno(weft_http_parse_request(&h, text, sizeof text, NULL), EBADMSG);
    assert_int_equal(h.status, 431);
    assert_true(h.count >= 30 && h.count < 33);
}

// ---- Calls that go on ----

// A line that comes byte by byte costs its size, not the square of it.
CASE(test_parse_goes_on_where_it_was)
{
    enum { SIZE = 4 << 20 };
    weft_http_limits limits = {SIZE, 2 * SIZE, 0};
    weft_http_head h = {};
    char *text = (char *)malloc(SIZE);
    memset(text, 'a', SIZE);
    for (size_t n = 1; n < SIZE; n++)
        assert_int_equal(weft_http_parse_request(&h, text, n, &limits), 0);
    free(text);
}

// One head serves for many messages, whole or refused.
CASE(test_parse_begins_anew)
{
    static const char bad[] = "GET\r\n", good[] = "GET / HTTP/1.0\r\nContent-Length: 1\r\n\r\n";
    static const char other[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    weft_http_field fields[4];
    weft_http_head h = {};
    h.fields = fields;
    h.room = 4;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weft_http_parse_request(&h, good, 10, NULL), 0);
        assert_int_equal(weft_http_parse_request(&h, good, sizeof good - 1, NULL), sizeof good - 1);
        assert_int_equal(h.count, 1);
        assert_int_equal(h.length, 1);
        assert_errno(weft_http_parse_request(&h, bad, sizeof bad - 1, NULL), EBADMSG);
        assert_int_equal(h.status, 400);
        assert_int_equal(weft_http_parse_request(&h, other, sizeof other - 1, NULL),
                         sizeof other - 1);
        assert_int_equal(h.count, 1);
        assert_int_equal(h.length, 0);
        assert_int_equal(h.status, 0);
        assert_null(h.why);
    }
}

CASE(test_parse_invalid)
{
    weft_http_head h = {};
    weft_http_text data;
    weft_http_chunks c = {};
    assert_errno(weft_http_parse_request(NULL, "a", 1, NULL), EINVAL);
    assert_errno(weft_http_parse_request(&h, NULL, 1, NULL), EINVAL);
    assert_errno(weft_http_parse_response(NULL, "a", 1, NULL, false), EINVAL);
    assert_int_equal(weft_http_parse_request(&h, NULL, 0, NULL), 0);
    assert_int_equal(weft_http_parse_request(&h, "GET", 3, NULL), 0);
    assert_errno(weft_http_parse_request(&h, "GE", 2, NULL), EINVAL);
    h = {};
    h.room = 1;
    assert_errno(weft_http_parse_request(&h, "a", 1, NULL), EINVAL);
    assert_errno(weft_http_chunks_next(NULL, "a", 1, &data), EINVAL);
    assert_errno(weft_http_chunks_next(&c, NULL, 1, &data), EINVAL);
    assert_errno(weft_http_chunks_next(&c, "a", 1, NULL), EINVAL);
    assert_errno(weft_http_find(NULL, "a"), EINVAL);
    assert_errno(weft_http_find(&h, NULL), EINVAL);
}

CASE(test_find)
{
    static const char text[] = "GET / HTTP/1.0\r\nAb-c: 1\r\nAB-C: 2\r\nAb: 3\r\n[: 4\r\n\r\n";
    weft_http_field fields[4];
    weft_http_head h = {};
    h.fields = fields;
    h.room = 4;
    assert_errno(weft_http_parse_request(&h, text, sizeof text - 1, NULL), EBADMSG); // "[" is none
    static const char well[] = "GET / HTTP/1.0\r\nAb-c: 1\r\nAB-C: 2\r\nAb: 3\r\n^: 4\r\n\r\n";
    assert_true(weft_http_parse_request(&h, well, sizeof well - 1, NULL) > 0);
    assert_memory_equal(weft_http_find(&h, "aB-C")->at, "1", 1);
    assert_memory_equal(weft_http_find(&h, "AB")->at, "3", 1);
    assert_memory_equal(weft_http_find(&h, "^")->at, "4", 1);
    assert_null(weft_http_find(&h, "~"));
    assert_null(weft_http_find(&h, "a"));
    assert_null(weft_http_find(&h, "Ab-cd"));
    assert_null(weft_http_find(&h, ""));
}

// ---- Scanners ----

static void assert_scanned(const char *at, size_t n)
{
    size_t text = 0;
    while (text < n && (((unsigned char)at[text] >= 32 && at[text] != 127) || at[text] == '\t'))
        text++;
    assert_int_equal(span_of(at, n, IS_TEXT), text);
    assert_int_equal(text_span_words(at, n), text);
    assert_int_equal(text_span(at, n), text);
    assert_int_equal(target_span(at, n), span_of(at, n, IS_TARGET));
    assert_int_equal(name_span(at, n), span_of(at, n, IS_TOKEN));
}

// Each byte at each place, in text of tabs, spaces, letters and bytes above 127.
CASE(test_scanners_agree)
{
    static const char around[] = "\t !az~-_09\x80\xa0\xff\x89";
    enum { SIZE = 40 };
    char *text = (char *)malloc(SIZE);
    for (size_t a = 0; a < sizeof around - 1; a++)
        for (int byte = 0; byte < 256; byte++)
            for (size_t place = 0; place < SIZE; place++) {
                memset(text, around[a], SIZE);
                text[place] = (char)byte;
                for (size_t from = 0; from < 18; from += 3)
                    assert_scanned(text + from, SIZE - from);
            }
    free(text);
}

RUN_CASES()
