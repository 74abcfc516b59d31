// The reader of replies: each type, cut everywhere, and what is no reply.
#include <manager/client/client_reply.h>

#include "../runner.h"
#include "tree.h"

#include <errno.h>
#include <locale.h>

using namespace weft;

static void give(reply_reader *r, const char *bytes, size_t n)
{
    while (n > 0) {
        size_t room;
        char *to = reader_room(r, &room);
        assert_non_null(to);
        room = room < n ? room : n;
        memcpy(to, bytes, room);
        reader_got(r, room);
        bytes += room;
        n -= room;
    }
}

// All replies of the bytes, given in pieces of `piece`; each followed by ';'.  `error`: how it
// ends.
static void read_all(const char *bytes, size_t n, size_t piece, char *said, size_t room, int *error)
{
    reply_reader r = {};
    said[0] = 0; // fmemopen ends only what was written
    FILE *out = fmemopen(said, room, "w");
    for (size_t i = 0; i < n; i += piece) {
        give(&r, bytes + i, piece < n - i ? piece : n - i);
        for (weft_reply *reply; (reply = reader_next(&r)) != nullptr;) {
            print_tree(out, reply);
            fputc(';', out);
            weft_reply_free(reply);
        }
        *error = errno;
        if (*error != EAGAIN)
            break;
    }
    fclose(out);
    reader_reset(&r);
}

static void expect(const char *bytes, size_t n, const char *text, int error)
{
    char said[512];
    for (size_t piece = 1; piece <= n; piece++) {
        int end = 0;
        read_all(bytes, n, piece, said, sizeof said, &end);
        assert_string_equal(said, text);
        assert_int_equal(end, error);
    }
}

#define EXPECT(bytes, text) expect(bytes, sizeof(bytes) - 1, text, EAGAIN)
#define REFUSE(bytes) expect(bytes, sizeof(bytes) - 1, "", EPROTO)

CASE(test_reader_lines)
{
    EXPECT("+OK\r\n", "+OK;");
    EXPECT("+\r\n-\r\n", "+;-;");
    EXPECT("-ERR no\r\n+PONG\r\n", "-ERR no;+PONG;");
    EXPECT(":0\r\n:-1\r\n:+7\r\n", ":0;:-1;:7;");
    EXPECT(":9223372036854775807\r\n:-9223372036854775808\r\n",
           ":9223372036854775807;:-9223372036854775808;");
    EXPECT("_\r\n#t\r\n#f\r\n", "_;#1;#0;");
    EXPECT("(-3492890328409238509324850943850943825024385\r\n",
           "(-3492890328409238509324850943850943825024385;");
}

CASE(test_reader_doubles)
{
    EXPECT(",1.5\r\n,-2\r\n,.5\r\n,1e3\r\n,1.25E-2\r\n", ",1.5;,-2;,0.5;,1000;,0.0125;");
    EXPECT(",inf\r\n,-inf\r\n", ",inf;,-inf;");
}

// A program may have a decimal comma.
CASE(test_reader_doubles_elsewhere)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "C.UTF-8"};
    for (size_t i = 0; i < 4 && setlocale(LC_NUMERIC, names[i]) == nullptr; i++)
        ;
    reply_reader r = {};
    give(&r, ",1.5\r\n", 6);
    weft_reply *reply = reader_next(&r);
    setlocale(LC_NUMERIC, "C");
    assert_non_null(reply);
    assert_true(reply->real == 1.5);
    assert_string_equal(reply->text, "1.5");
    weft_reply_free(reply);
    reader_reset(&r);
}

CASE(test_reader_strings)
{
    EXPECT("$5\r\nhello\r\n", "\"hello\";");
    EXPECT("$0\r\n\r\n$-1\r\n", "\"\";_;");
    EXPECT("$7\r\na\r\nb\r\nc\r\n", "\"a\r\nb\r\nc\";");
    EXPECT("!9\r\nERR never\r\n", "-ERR never;");
    EXPECT("=8\r\ntxt:some\r\n", "\"some\";");
}

CASE(test_reader_arrays)
{
    EXPECT("*0\r\n*-1\r\n", "[];_;");
    EXPECT("*3\r\n:1\r\n$1\r\na\r\n*2\r\n+x\r\n*0\r\n:9\r\n", "[:1 \"a\" [+x []]];:9;");
    EXPECT("%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n", "{+a :1 +b [:2]};");
    EXPECT("~2\r\n+a\r\n_\r\n", "<+a _>;");
    EXPECT(">2\r\n+message\r\n%0\r\n", "!+message {}!;");
}

// They stand before what they belong to, anywhere, and are left out.
CASE(test_reader_attributes)
{
    EXPECT("|1\r\n+ttl\r\n:3\r\n:1\r\n", ":1;");
    EXPECT("|0\r\n:1\r\n", ":1;");
    EXPECT(
        "*2\r\n|1\r\n+a\r\n*2\r\n$1\r\nx\r\n:2\r\n:1\r\n|1\r\n|1\r\n+b\r\n+c\r\n+d\r\n+e\r\n:2\r\n",
        "[:1 :2];");
    EXPECT("%1\r\n|1\r\n+a\r\n+b\r\n+key\r\n+value\r\n:5\r\n", "{+key +value};:5;");
}

CASE(test_reader_types_and_sizes)
{
    reply_reader r = {};
    const char bytes[] = "*3\r\n$3\r\na\0b\r\n$-1\r\n+OK\r\n";
    give(&r, bytes, sizeof bytes - 1);
    errno = 77;
    weft_reply *a = reader_next(&r);
    assert_int_equal(errno, 77);
    assert_int_equal(a->type, WEFT_REPLY_ARRAY);
    assert_int_equal(a->size, 3);
    assert_int_equal(a->items[0].size, 3);
    assert_memory_equal(a->items[0].text, "a\0b", 4);
    assert_int_equal(a->items[1].type, WEFT_REPLY_NULL);
    assert_null(a->items[1].text);
    assert_int_equal(a->items[2].type, WEFT_REPLY_STATUS);
    weft_reply_free(a);
    weft_reply_free(nullptr);
    reader_reset(&r);
}

CASE(test_reader_refuses)
{
    REFUSE("HTTP/1.1 400 Bad Request\r\n");
    REFUSE("\r\n");
    REFUSE("\0\r\n");
    REFUSE(":\r\n");
    REFUSE(":-\r\n");
    REFUSE(":1a\r\n");
    REFUSE(": 1\r\n");
    REFUSE(":9223372036854775808\r\n");
    REFUSE(":-9223372036854775809\r\n");
    REFUSE(":99999999999999999999999\r\n");
    REFUSE("+a\nb\r\n");
    REFUSE("+a\rb\r\n");
    REFUSE("_x\r\n");
    REFUSE("#x\r\n");
    REFUSE("#\r\n");
    REFUSE("(\r\n");
    REFUSE("(1x\r\n");
    REFUSE(",\r\n");
    REFUSE(",.\r\n");
    REFUSE(",1e\r\n");
    REFUSE(",1.5 \r\n");
    REFUSE(",0x10\r\n");
    REFUSE(",infinity\r\n");
}

CASE(test_reader_refuses_lengths)
{
    REFUSE("$\r\n");
    REFUSE("$-2\r\n");
    REFUSE("$-01\r\n");
    REFUSE("$+1\r\na\r\n");
    REFUSE("$1\r\nab\r\n");
    REFUSE("$1\r\na\rb");
    REFUSE("$536870913\r\n");
    REFUSE("$18446744073709551617\r\n");
    REFUSE("$?\r\n");
    REFUSE("!-1\r\n");
    REFUSE("=-1\r\n");
    REFUSE("=2\r\nab\r\n");
    REFUSE("=5\r\nabcde\r\n");
    REFUSE("*-2\r\n");
    REFUSE("*1073741825\r\n");
    REFUSE("%-1\r\n");
    REFUSE("%1000000000\r\n");
    REFUSE("*9223372036854775807\r\n");
    REFUSE("*1\r\n>1\r\n:1\r\n"); // a push is nobody's item
    REFUSE("*?\r\n");
}

// A count that promises much takes no memory: only what has come does.
CASE(test_reader_promises)
{
    reply_reader r = {};
    give(&r, "*1000000000\r\n:1\r\n", 17);
    assert_errno(reader_next(&r), EAGAIN);
    assert_true(r.in.room < 1 << 20);
    reader_reset(&r);
}

CASE(test_reader_depth)
{
    char bytes[4 * REPLY_DEPTH + 16] = "";
    for (int i = 0; i < REPLY_DEPTH; i++)
        strcat(bytes, "*1\r\n");
    strcat(bytes, ":1\r\n");
    int error = 0;
    char said[128];
    read_all(bytes, strlen(bytes), 5, said, sizeof said, &error);
    assert_int_equal(error, EAGAIN);
    assert_int_equal(strlen(said), 2 * REPLY_DEPTH + 3);
    strcpy(bytes + sizeof bytes - 16 - 4, "*1\r\n*1\r\n");
    read_all(bytes, strlen(bytes), 5, said, sizeof said, &error);
    assert_int_equal(error, EPROTO);
}

CASE(test_reader_long_line)
{
    static char line[REPLY_LINE + 100];
    memset(line, 'x', sizeof line);
    line[0] = '+';
    for (int whole = 0; whole <= 1; whole++) {
        reply_reader r = {};
        memcpy(line + REPLY_LINE + 50, whole ? "\r\n" : "xx", 2);
        give(&r, line, sizeof line);
        assert_errno(reader_next(&r), EPROTO);
        reader_reset(&r);
    }
    reply_reader r = {};
    memcpy(line + REPLY_LINE - 50, "\r\n", 2);
    give(&r, line, REPLY_LINE - 48);
    weft_reply *reply = reader_next(&r);
    assert_int_equal(reply->size, REPLY_LINE - 51);
    weft_reply_free(reply);
    reader_reset(&r);
}

// Large strings in an array, beside small ones, with more behind: cut in many places.
CASE(test_reader_large_strings)
{
    const size_t large = REPLY_LARGE + 1000, room = 3 * large + 200;
    char *bytes = (char *)malloc(room), *at = bytes;
    at += sprintf(at, "*4\r\n$%zu\r\n", large);
    at = (char *)memset(at, 'a', large) + large;
    at += sprintf(at, "\r\n$3\r\nmid\r\n=%zu\r\ntxt:", large);
    at = (char *)memset(at, 'b', large - 4) + large - 4;
    at += sprintf(at, "\r\n!%zu\r\n", large);
    at = (char *)memset(at, 'c', large) + large;
    at += sprintf(at, "\r\n:8\r\n");
    size_t n = (size_t)(at - bytes);
    for (size_t piece = 1; piece < n; piece += piece < 80 ? 1 : 977) {
        reply_reader r = {};
        int replies = 0;
        for (size_t i = 0; i < n; i += piece) {
            give(&r, bytes + i, piece < n - i ? piece : n - i);
            weft_reply *reply = reader_next(&r);
            if (reply != nullptr && replies++ == 0) {
                const weft_reply *s = reply->items;
                assert_int_equal(reply->size, 4);
                assert_true(s[0].size == large && s[0].text[large - 1] == 'a' && !s[0].text[large]);
                assert_string_equal(s[1].text, "mid");
                assert_true(s[2].size == large - 4 && s[2].text[0] == 'b' && !s[2].text[large - 4]);
                assert_true(s[3].type == WEFT_REPLY_ERROR && s[3].text[0] == 'c');
            }
            weft_reply_free(reply);
        }
        weft_reply *last = reader_next(&r);
        assert_int_equal(replies + (last != nullptr), 2);
        weft_reply_free(last);
        reader_reset(&r);
    }
    free(bytes);
}

CASE(test_reader_large_refused)
{
    for (int kind = 0; kind < 2; kind++) {
        reply_reader r = {};
        char head[32];
        static char body[REPLY_LARGE + 2];
        memset(body, 'x', sizeof body);
        memcpy(body + REPLY_LARGE, kind ? "\r\n" : "\r.", 2);
        int n = sprintf(head, "%c%d\r\n", kind ? '=' : '$', REPLY_LARGE);
        give(&r, head, (size_t)n);
        assert_errno(reader_next(&r), EAGAIN);
        give(&r, body, sizeof body);
        assert_errno(reader_next(&r), EPROTO);
        reader_reset(&r);
    }
}

// Many replies in one piece, and none is moved or looked at again and again.
CASE(test_reader_pipeline)
{
    reply_reader r = {};
    const int many = 200000;
    for (int i = 0; i < many; i++)
        give(&r, "$5\r\nhello\r\n", 11);
    for (int i = 0; i < many; i++) {
        weft_reply *reply = reader_next(&r);
        assert_non_null(reply);
        assert_string_equal(reply->text, "hello");
        weft_reply_free(reply);
    }
    assert_errno(reader_next(&r), EAGAIN);
    size_t room;
    reader_room(&r, &room);
    assert_true(r.in.room < 1 << 20); // it doesn't stay large
    reader_reset(&r);
}

RUN_CASES()
