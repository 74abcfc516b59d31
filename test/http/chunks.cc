// Chunked bodies: what is read, what is refused, each fed at once, byte by byte and cut in two at
// every place.
#include "../runner.h"
#include "describe.h"

struct row {
    const char *text, *said; // the body, and how it ended
};

static void compare(const message *m, cut c, words said, size_t end)
{
    size_t other_end;
    words other = describe_body(m, c, &other_end);
    if (!same(said, other) || (ends_with(said, "|ended") && end != other_end))
        fail_msg("%.*s: cut at %zu: %s, not %s", (int)m->size, m->text, c.first, other.text,
                 said.text);
    free(other.text);
}

// What comes of it, however it is cut.  free() it.
static char *said_of(const message *m, size_t *end)
{
    words said = describe_body(m, {m->size, 0}, end);
    compare(m, {1, 1}, said, *end);
    compare(m, {3, 2}, said, *end);
    for (size_t i = 1; i < m->size; i++)
        compare(m, {i, 0}, said, *end);
    return said.text;
}

static void check(const row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        message m = {};
        size_t end;
        m.text = rows[i].text;
        m.size = strlen(m.text);
        char *said = said_of(&m, &end);
        if (strcmp(said, rows[i].said) != 0)
            fail_msg("%s: %s, not %s", m.text, said, rows[i].said);
        free(said);
    }
}

#define CHECK(rows) check(rows, sizeof(rows) / sizeof(rows)[0])
#define NO_SIZE "|400 a chunk without a size"
#define NO_CRLF "|400 a line that does not end with CR LF"

static const row bodies[] = {
    {"0\r\n\r\n", "|ended"},
    {"5\r\nhello\r\n0\r\n\r\n", "hello|ended"},
    {"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n", "hello|ended"},
    {"1\r\n\r\r\n2\r\n\n\n\r\n0\r\n\r\n", "\r\n\n|ended"},
    {"a\r\n0123456789\r\nA\r\n0123456789\r\n00\r\n\r\n", "01234567890123456789|ended"},
    {"0000000000000003\r\nabc\r\n0000000000000000\r\n\r\n", "abc|ended"},
    {"3;a\r\nabc\r\n3;b=c\r\ndef\r\n0;d=\"e f;\tg\"\r\n\r\n", "abcdef|ended"},
    {"3;\r\nabc\r\n0\r\n\r\n", "abc|ended"},
    {"0\r\nX: y\r\nZ:\r\n\r\n", "|ended"},
    {"0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n", "|ended"},
    {"0\r\nX:\t\xff \t\r\n\r\nabc", "|ended"},
    {"7fffffffffffffff\r\nabc", "abc|more"},
    {"5\r\nhel", "hel|more"},
    {"5", "|more"},
    {"5\r\nhello\r\n0\r\n\r", "hello|more"},
};

static const row refused[] = {
    {"\r\n", NO_SIZE},
    {"\n", NO_SIZE},
    {";a\r\n", NO_SIZE},
    {"-5\r\nhello\r\n", NO_SIZE},
    {"+5\r\nhello\r\n", NO_SIZE},
    {" 5\r\nhello\r\n", NO_SIZE},
    {"5 \r\nhello\r\n", NO_SIZE},
    {"5\t\r\nhello\r\n", NO_SIZE},
    {"5 ;a\r\nhello\r\n", NO_SIZE},
    {"0x5\r\nhello\r\n", NO_SIZE},
    {"x\r\n", NO_SIZE},
    {"5g\r\n", NO_SIZE},
    {"5,5\r\nhello\r\n", NO_SIZE},
    {"5_0\r\n", NO_SIZE},
    {"5\nhello\r\n", NO_SIZE},
    {"5\rhello\r\n", NO_CRLF},
    {"5\r\r\nhello\r\n", NO_CRLF},
    {"8000000000000000\r\n", "|400 a chunk's size that is too large"},
    {"ffffffffffffffff\r\n", "|400 a chunk's size that is too large"},
    {"10000000000000005\r\nhello\r\n", "|400 a chunk's size that is too large"},
    {"00000000000000005\r\nhello\r\n", "|400 a chunk's size that is too large"},
    {"5\r\nhelloo\r\n", "hello|400 a chunk that is longer than its size"},
    {"5\r\nhello\n", "hello|400 a chunk that is longer than its size"},
    {"5\r\nhello0\r\n\r\n", "hello|400 a chunk that is longer than its size"},
    {"5\r\nhello\rx", "hello" NO_CRLF},
    {"5\r\nhello\r\n\r\n", "hello" NO_SIZE},
    {"5;a\nhello\r\n", "|400 a control in a chunk's extension"},
    {"5;a\rhello\r\n", NO_CRLF},
    {"5;\x01\r\nhello\r\n", "|400 a control in a chunk's extension"},
    {"5;\x7f\r\nhello\r\n", "|400 a control in a chunk's extension"},
    {"5;a=\"\n\"\r\nhello\r\n", "|400 a control in a chunk's extension"},
    {"0\r\n\n", "|400 no field name and colon in the trailer"},
    {"0\r\n\r\r\n", NO_CRLF},
    {"0\r\nX\r\n\r\n", "|400 no field name and colon in the trailer"},
    {"0\r\n: y\r\n\r\n", "|400 no field name and colon in the trailer"},
    {"0\r\nX : y\r\n\r\n", "|400 no field name and colon in the trailer"},
    {"0\r\nX: y\r\n z\r\n\r\n", "|400 no field name and colon in the trailer"},
    {"0\r\n X: y\r\n\r\n", "|400 no field name and colon in the trailer"},
    {"0\r\nX: y\n\r\n", "|400 a control in the trailer"},
    {"0\r\nX: \x01\r\n\r\n", "|400 a control in the trailer"},
    {"0\r\nX: y\rZ: a\r\n\r\n", NO_CRLF},
    {"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "|400 no field name and colon in the trailer"},
};

CASE(test_chunks)
{
    CHECK(bodies);
}

CASE(test_chunks_refused)
{
    CHECK(refused);
}

CASE(test_chunks_end_where_the_next_message_begins)
{
    message m = {};
    size_t end;
    m.text = "5\r\nhello\r\n0\r\nX: y\r\n\r\nGET";
    m.size = strlen(m.text);
    free(said_of(&m, &end));
    assert_string_equal(m.text + end, "GET");
}

// ---- Limits ----

static void assert_said(const char *text, weft_http_limits limits, const char *said)
{
    message m = {};
    size_t end;
    m.text = text;
    m.size = strlen(text);
    m.limits = limits;
    char *is = said_of(&m, &end);
    assert_string_equal(is, said);
    free(is);
}

CASE(test_chunks_limit_extensions)
{
    // The semicolon is of the extension.
    assert_said("1;23\r\na\r\n0;2\r\n\r\n", {4, 0, 0}, "a|ended");
    assert_said("1;234\r\na\r\n0\r\n\r\n", {3, 0, 0}, "|400 too long extensions of chunks");
    // What the body has paid for doesn't count.
    assert_said("3;23\r\nabc\r\n3;23\r\ndef\r\n0;23\r\n\r\n", {3, 0, 0}, "abcdef|ended");
    assert_said("1;23\r\na\r\n1;2\r\nb\r\n", {3, 0, 0}, "a|400 too long extensions of chunks");
}

CASE(test_chunks_limit_the_trailer)
{
    static const char text[] = "0\r\nX: 4567\r\nY: 4567\r\n\r\n";
    static const char too_long[] = "|431 too long fields in the trailer";
    assert_said(text, {7, 0, 0}, "|ended");
    assert_said(text, {6, 0, 0}, too_long);
    assert_said(text, {2, 0, 0}, too_long);
    assert_said(text, {1, 0, 0}, too_long);
    assert_said(text, {0, 20, 0}, "|ended");
    for (size_t head = 1; head < 20; head++)
        assert_said(text, {0, head, 0}, too_long);
    assert_said(text, {0, 0, 2}, "|ended");
    assert_said(text, {0, 0, 1}, "|431 too many fields in the trailer");
}

// Extensions that are not given a limit, in a body of small chunks: what a peer may send for
// nothing.
CASE(test_chunks_limit_what_is_no_body)
{
    static const char chunk[] = "1;0123456789abcdef0123456789abcdef\r\nx\r\n";
    weft_http_chunks c = {};
    weft_http_text data;
    ssize_t n = 0;
    int chunks = 0;
    for (; n >= 0 && chunks < 10000; chunks++)
        for (size_t i = 0; n >= 0 && i < sizeof chunk - 1; i += (size_t)n)
            n = weft_http_chunks_next(&c, chunk + i, sizeof chunk - 1 - i, &data);
    assert_int_equal(n, -1);
    assert_int_equal(c.status, 400);
    assert_true(chunks > 200 && chunks < 300);
    assert_errno(weft_http_chunks_next(&c, "0", 1, &data), EBADMSG);
}

RUN_CASES()
