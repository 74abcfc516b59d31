// Heads of messages: what is read, what is refused, each fed at once, byte by byte and cut in two
// at every place.
#include "../runner.h"
#include "describe.h"

// A message, and how what is said of it begins.
struct row {
    const char *text, *said;
};

static void compare(const message *m, cut c, words said, size_t end)
{
    size_t other_end;
    words other = describe(m, c, &other_end);
    if (!same(said, other) || end != other_end)
        fail_msg("%.*s: cut at %zu: %s, not %s", (int)m->size, m->text, c.first, other.text,
                 said.text);
    free(other.text);
}

// What is said of it, however it is cut, and whatever is behind it.  free() it.
static char *said_of(message m)
{
    size_t end;
    words said = describe(&m, {m.size, 0}, &end);
    char *longer = copied(m.text, m.size + 1);
    compare(&m, {1, 1}, said, end);
    compare(&m, {3, 2}, said, end);
    for (size_t i = 1; i < m.size; i++)
        compare(&m, {i, 0}, said, end);
    if (end > 0) {
        message more = m;
        longer[m.size] = '\n';
        more.text = longer;
        more.size = m.size + 1;
        compare(&more, {more.size, 0}, said, end);
        assert_int_equal(end, m.size);
    }
    free(longer);
    return said.text;
}

static void check(message m, const row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        m.text = rows[i].text;
        m.size = strlen(m.text);
        char *said = said_of(m);
        if (strncmp(said, rows[i].said, strlen(rows[i].said)) != 0)
            fail_msg("%s: %s, not %s", m.text, said, rows[i].said);
        free(said);
    }
}

#define CHECK(message, rows) check(message, rows, sizeof(rows) / sizeof(rows)[0])

// A request with these fields beside Host.
#define WITH(fields) "POST / HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define LINE(line) line "\r\nHost: a\r\n\r\n"
#define HOST(host) "GET / HTTP/1.1\r\nHost:" host "\r\n\r\n"
#define OLD(fields) "GET / HTTP/1.0\r\n" fields "\r\n"
#define POSTED "POST / path=/ host=a 11 length="

// ---- Requests ----

static const row requests[] = {
    {LINE("GET / HTTP/1.1"), "GET / path=/ host=a 11 length=0 keep-alive|Host=a"},
    {"\r\n" LINE("GET / HTTP/1.1"), "GET / path=/ host=a 11 length=0 keep-alive|Host=a"},
    {LINE("GET / HTTP/1.2"), "GET / path=/ host=a 11 length=0 keep-alive|"},
    {LINE("GET / HTTP/1.9"), "GET / path=/ host=a 11 length=0 keep-alive|"},
    {LINE("get /?a=b&c=%20%zz HTTP/1.1"), "get /?a=b&c=%20%zz path=/?a=b&c=%20%zz host=a"},
    {LINE("M!#$%&'*+-.^_`|~9 //..//\"<>[]\\^`{|} HTTP/1.1"), "M!#$%&'*+-.^_`|~9 //..//\"<>[]\\"},
    {LINE("GET http://b HTTP/1.1"), "GET http://b path= host=b 11"},
    {LINE("GET HTTPS://[::1]:8443/x?y HTTP/1.1"),
     "GET HTTPS://[::1]:8443/x?y path=/x?y host=[::1]:8443 11"},
    {LINE("GET http://b:80?y HTTP/1.1"), "GET http://b:80?y path=?y host=b:80 11"},
    {LINE("CONNECT b.example:443 HTTP/1.1"), "CONNECT b.example:443 path= host=b.example:443 11"},
    {LINE("OPTIONS * HTTP/1.1"), "OPTIONS * path= host=a 11"},
    {LINE("OPTIONS /x HTTP/1.1"), "OPTIONS /x path=/x host=a 11"},
    {WITH(""), POSTED "0 keep-alive|Host=a"},
    {WITH("X:\r\nY: \t \r\nZ:\t a \t b\t\r\n"), POSTED "0 keep-alive|Host=a|X=|Y=|Z=a \t b"},
    {WITH("X:\x80\xff\r\nY::\r\n"), POSTED "0 keep-alive|Host=a|X=\x80\xff|Y=:"},
    {WITH("Content-Length: 0\r\n"), POSTED "0 keep-alive|"},
    {WITH("content-LENGTH:007\r\n"), POSTED "7 keep-alive|"},
    {WITH("Content-Length: 9223372036854775807\r\n"), POSTED "9223372036854775807 keep-alive|"},
    {WITH("Transfer-Encoding: chunked\r\n"), POSTED "-1 keep-alive|"},
    {WITH("TRANSFER-encoding: \tChunkeD\t\r\n"), POSTED "-1 keep-alive|"},
    {OLD(""), "GET / path=/ host= 10 length=0|"},
    {OLD("Host: b\r\n"), "GET / path=/ host=b 10 length=0|Host=b"},
    {OLD("Connection: keep-alive\r\n"), "GET / path=/ host= 10 length=0 keep-alive|"},
    {OLD("Connection: keep-alive, close\r\n"), "GET / path=/ host= 10 length=0|"},
    {OLD("Content-Length: 4\r\nExpect: 100-continue\r\n"), "GET / path=/ host= 10 length=4|"},
    {OLD("Connection: upgrade\r\nUpgrade: h\r\n"), "GET / path=/ host= 10 length=0|"},
};

static const row connections[] = {
    {WITH("Connection: close\r\n"), POSTED "0|"},
    {WITH("connection: x ,,\tCLOSE\r\n"), POSTED "0|"},
    {WITH("Connection: x\r\nConnection: close\r\n"), POSTED "0|"},
    {WITH("Connection: closed, xclose, clos\r\n"), POSTED "0 keep-alive|"},
    {WITH("Connection:\r\n"), POSTED "0 keep-alive|"},
    {WITH("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"),
     POSTED "0 keep-alive upgrades|"},
    {WITH("Upgrade: websocket\r\nConnection: upgrade\r\n"), POSTED "0 keep-alive upgrades|"},
    {WITH("Upgrade: websocket\r\n"), POSTED "0 keep-alive|"},
    {WITH("Connection: upgrade\r\n"), POSTED "0 keep-alive|"},
    {WITH("Expect: 100-Continue\r\nContent-Length: 4\r\n"), POSTED "4 keep-alive expects|"},
    {WITH("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"),
     POSTED "-1 keep-alive expects|"},
    {WITH("Expect: 100-continue\r\n"), POSTED "0 keep-alive|"},
    {WITH("Expect: 100-continue, x\r\n"), "417 an unknown expectation"},
    {WITH("Expect: 200-ok\r\n"), "417 an unknown expectation"},
    {WITH("Expect:\r\n"), "417 an unknown expectation"},
};

static const row lines[] = {
    {"\r\n\r\n" LINE("GET / HTTP/1.1"), "400 no method"},
    {"\n" LINE("GET / HTTP/1.1"), "400 a control"},
    {" " LINE("GET / HTTP/1.1"), "400 no method"},
    {"\x16\x03\x01\x02", "400 a control"},
    {"GET / HTTP/1.1\nHost: a\n\n", "400 a control"},
    {"GET / HTTP/1.1\rHost: a\r\r", "400 a control"},
    {"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", "400 a control"},
    {LINE("GET"), "400 no method"},
    {LINE("GET /"), "400 no method, target and version"},
    {LINE("GET / "), "400 no method, target and version"},
    {LINE("GET HTTP/1.1"), "400 no method, target and version"},
    {LINE("GET  HTTP/1.1"), "400 a byte that may not be in a target"},
    {LINE("GET  / HTTP/1.1"), "400 a byte that may not be in a target"},
    {LINE("GET /  HTTP/1.1"), "400 a byte that may not be in a target"},
    {LINE("GET / HTTP/1.1 "), "400 no method, target and version"},
    {LINE("GET\t/ HTTP/1.1"), "400 no method"},
    {LINE("GET /\tHTTP/1.1"), "400 no method, target and version"},
    {LINE("GET /a b HTTP/1.1"), "400 a byte that may not be in a target"},
    {LINE("GET /\x01 HTTP/1.1"), "400 a control"},
    {LINE("GET /\x7f HTTP/1.1"), "400 a control"},
    {LINE("GET /\xc3\xa4 HTTP/1.1"), "400 a byte that may not be in a target"},
    {LINE("GET /a#b HTTP/1.1"), "400 a byte that may not be in a target"},
    {LINE("G(T / HTTP/1.1"), "400 no method"},
    {LINE("G\xc3\x84T / HTTP/1.1"), "400 no method"},
    {LINE("GET / http/1.1"), "400 no HTTP version"},
    {LINE("GET / HTTP/1,1"), "400 no HTTP version"},
    {LINE("GET / HTTP/1.10"), "400 no method, target and version"},
    {LINE("GET / HTTP/11.1"), "400 no method, target and version"},
    {LINE("GET / HTTP/1.x"), "400 no HTTP version"},
    {LINE("GET / HTTP/ 1.1"), "400 no method, target and version"},
    {LINE("GET / XTTP/1.1"), "400 no HTTP version"},
    {LINE("GET / HTTP/2.0"), "505 not HTTP/1"},
    {LINE("GET / HTTP/0.9"), "505 not HTTP/1"},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 not HTTP/1"},
    {LINE("GET * HTTP/1.1"), "400 * without OPTIONS"},
    {LINE("options * HTTP/1.1"), "400 * without OPTIONS"},
    {LINE("OPTIONS ** HTTP/1.1"), "400 a target of no known form"},
    {LINE("GET a HTTP/1.1"), "400 a target of no known form"},
    {LINE("GET a:80 HTTP/1.1"), "400 a target of no known form"},
    {LINE("GET ?a HTTP/1.1"), "400 a target of no known form"},
    {LINE("GET ftp://a/ HTTP/1.1"), "400 a target of no known form"},
    {LINE("GET http:/a HTTP/1.1"), "400 a target of no known form"},
    {LINE("GET http:// HTTP/1.1"), "400 a target of no known form"},
    {LINE("GET http:///a HTTP/1.1"), "400 no host in the target"},
    {LINE("GET http://a@b/ HTTP/1.1"), "400 no host in the target"},
    {LINE("GET http://a:b@c/ HTTP/1.1"), "400 no host in the target"},
    {LINE("GET https:///a HTTP/1.1"), "400 no host in the target"},
    {LINE("GET http://a\\b/ HTTP/1.1"), "400 no host in the target"},
    {LINE("CONNECT / HTTP/1.1"), "400 CONNECT without host:port"},
    {LINE("CONNECT a HTTP/1.1"), "400 CONNECT without host:port"},
    {LINE("CONNECT a: HTTP/1.1"), "400 CONNECT without host:port"},
    {LINE("CONNECT a:x HTTP/1.1"), "400 CONNECT without host:port"},
    {LINE("CONNECT http://a:1/ HTTP/1.1"), "400 CONNECT without host:port"},
    {LINE("CONNECT * HTTP/1.1"), "400 CONNECT without host:port"},
};

static const row fields[] = {
    {WITH("X : a\r\n"), "400 no field name and colon"},
    {WITH("X\t: a\r\n"), "400 no field name and colon"},
    {WITH("X\r\n"), "400 no field name and colon"},
    {WITH(": a\r\n"), "400 no field name and colon"},
    {WITH("(X): a\r\n"), "400 no field name and colon"},
    {WITH("X Y: a\r\n"), "400 no field name and colon"},
    {WITH("\xc3\xa4: a\r\n"), "400 no field name and colon"},
    {WITH("X@: a\r\n"), "400 no field name and colon"},
    {WITH("X: a\r\n b\r\n"), "400 a folded field"},
    {WITH("X: a\r\n\tb\r\n"), "400 a folded field"},
    {WITH(" X: a\r\n"), "400 a folded field"},
    {WITH(" \r\n"), "400 a folded field"},
    {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400 a folded field"},
    {WITH("X: a\n"), "400 a control"},
    {WITH("X: a\nContent-Length: 5\r\n"), "400 a control"},
    {WITH("X: a\rb\r\n"), "400 a control"},
    {WITH("X: a\r\r\n"), "400 a control"},
    {WITH("X: a\x0b\r\n"), "400 a control"},
    {WITH("X: \x01\r\n"), "400 a control"},
    {WITH("X: a\x7f\r\n"), "400 a control"},
    {WITH("\n"), "400 a control"},
    {WITH("\r"), "400 a control"},
    {WITH("A:\r\nB:\r\nC:\r\nD:\r\nE:\r\nF:\r\nG:\r\nH:\r\n"), "431 too many fields"},
};

static const row lengths[] = {
    {WITH("Content-Length: 5\r\nContent-Length: 5\r\n"), "400 more than one Content-Length"},
    {WITH("Content-Length: 5\r\nContent-length: 6\r\n"), "400 more than one Content-Length"},
    {WITH("Content-Length: 5, 5\r\n"), "400 a Content-Length that is no length"},
    {WITH("Content-Length: 5,6\r\n"), "400 a Content-Length that is no length"},
    {WITH("Content-Length: 5,\r\n"), "400 a Content-Length that is no length"},
    {WITH("Content-Length:\r\n"), "400 a Content-Length that is no length"},
    {WITH("Content-Length: +5\r\n"), "400 a Content-Length that is no length"},
    {WITH("Content-Length: -5\r\n"), "400 a Content-Length that is no length"},
    {WITH("Content-Length: -0\r\n"), "400 a Content-Length that is no length"},
    {WITH("Content-Length: 0x5\r\n"), "400 a Content-Length that is no length"},
    {WITH("Content-Length: 5 5\r\n"), "400 a Content-Length that is no length"},
    {WITH("Content-Length: 5.0\r\n"), "400 a Content-Length that is no length"},
    {WITH("Content-Length: \"5\"\r\n"), "400 a Content-Length that is no length"},
    {WITH("Content-Length: 9223372036854775808\r\n"), "400 a Content-Length that is no length"},
    {WITH("Content-Length: 18446744073709551621\r\n"), "400 a Content-Length that is no length"},
    {WITH("Content-Length : 5\r\n"), "400 no field name and colon"},
    {WITH("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), "400 both Content-Length and"},
    {WITH("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), "400 both Content-Length and"},
    {WITH("Transfer-Encoding: chunked, chunked\r\n"), "400 chunked is not the last coding"},
    {WITH("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
     "400 chunked is not the last coding"},
    {WITH("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
     "400 chunked is not the last coding"},
    {WITH("Transfer-Encoding: chunked, gzip\r\n"), "400 chunked is not the last coding"},
    {WITH("Transfer-Encoding: chunked,\r\n"), "400 chunked is not the last coding"},
    {WITH("Transfer-Encoding: ,chunked\r\n"), "400 an empty coding"},
    {WITH("Transfer-Encoding:\r\n"), "400 an empty coding"},
    {WITH("Transfer-Encoding: gzip, chunked\r\n"), "501 an unknown transfer coding"},
    {WITH("Transfer-Encoding: gzip\r\n"), "501 an unknown transfer coding"},
    {WITH("Transfer-Encoding: identity\r\n"), "501 an unknown transfer coding"},
    {WITH("Transfer-Encoding: xchunked\r\n"), "501 an unknown transfer coding"},
    {WITH("Transfer-Encoding: chunke\r\n"), "501 an unknown transfer coding"},
    {WITH("Transfer-Encoding: chunked;q=1\r\n"), "501 an unknown transfer coding"},
    {WITH("Transfer-Encoding: \"chunked\"\r\n"), "501 an unknown transfer coding"},
    {WITH("Transfer-Encoding: chunked\x0b\r\n"), "400 a control"},
    {WITH("Transfer-Encoding: chun\xc2\xa0ked\r\n"), "501 an unknown transfer coding"},
    {WITH("Transfer-Encoding\t: chunked\r\n"), "400 no field name and colon"},
    {OLD("Transfer-Encoding: chunked\r\n"), "400 Transfer-Encoding in HTTP/1.0"},
};

static const row hosts[] = {
    {HOST("a.b-c_d~e.example."), "GET / path=/ host=a.b-c_d~e.example. "},
    {HOST("127.0.0.1:8080"), "GET / path=/ host=127.0.0.1:8080 "},
    {HOST(" [2001:db8::1]:80 "), "GET / path=/ host=[2001:db8::1]:80 "},
    {HOST("[::ffff:1.2.3.4]"), "GET / path=/ host=[::ffff:1.2.3.4] "},
    {HOST("a:"), "GET / path=/ host=a: "},
    {HOST("a:65535"), "GET / path=/ host=a:65535 "},
    {"GET / HTTP/1.1\r\n\r\n", "400 no Host"},
    {"GET http://b/ HTTP/1.1\r\n\r\n", "400 no Host"},
    {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 more than one Host"},
    {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400 more than one Host"},
    {HOST(""), "400 a Host that is no host"},
    {HOST(":80"), "400 a Host that is no host"},
    {HOST("a:65536"), "400 a Host that is no host"},
    {HOST("a:000080"), "400 a Host that is no host"},
    {HOST("a:+80"), "400 a Host that is no host"},
    {HOST("a:80:80"), "400 a Host that is no host"},
    {HOST("a, b"), "400 a Host that is no host"},
    {HOST("a,b"), "400 a Host that is no host"},
    {HOST("a b"), "400 a Host that is no host"},
    {HOST("a/b"), "400 a Host that is no host"},
    {HOST("a?b"), "400 a Host that is no host"},
    {HOST("a#b"), "400 a Host that is no host"},
    {HOST("a@b"), "400 a Host that is no host"},
    {HOST("a%2eb"), "400 a Host that is no host"},
    {HOST("\xc3\xa4"), "400 a Host that is no host"},
    {HOST(".."), "400 a Host that is no host"},
    {HOST(".a"), "400 a Host that is no host"},
    {HOST("a..b"), "400 a Host that is no host"},
    {HOST("[]"), "400 a Host that is no host"},
    {HOST("[::1"), "400 a Host that is no host"},
    {HOST("[::1]80"), "400 a Host that is no host"},
    {HOST("[::g]"), "400 a Host that is no host"},
    {HOST("[::1%25lo]"), "400 a Host that is no host"},
    {HOST("[1.2.3.4]"), "400 a Host that is no host"},
    {HOST("[11112222:3333:4444:5555:6666:7777:8888:9999:0000]"), "400 a Host that is no host"},
    {HOST("::1"), "400 a Host that is no host"},
    {HOST("http://a"), "400 a Host that is no host"},
};

CASE(test_parse_requests)
{
    CHECK(message{}, requests);
}

CASE(test_parse_connection_and_expect)
{
    CHECK(message{}, connections);
}

CASE(test_parse_refuses_request_lines)
{
    CHECK(message{}, lines);
}

CASE(test_parse_refuses_fields)
{
    CHECK(message{}, fields);
}

CASE(test_parse_refuses_lengths)
{
    CHECK(message{}, lengths);
}

CASE(test_parse_hosts)
{
    CHECK(message{}, hosts);
}

// A NUL anywhere.
CASE(test_parse_refuses_nul)
{
    static const char text[] = "GET /abc HTTP/1.1\r\nHost: a\r\nX: abcdefghijklmnopqrstuvw\r\n\r\n";
    for (size_t i = 0; i < sizeof text - 1; i++) {
        char changed[sizeof text];
        memcpy(changed, text, sizeof text);
        changed[i] = 0;
        message m = {};
        m.text = changed;
        m.size = sizeof text - 1;
        char *said = said_of(m);
        assert_memory_equal(said, "400 a control", 13);
        free(said);
    }
}

// ---- Responses ----

#define OK(fields) "HTTP/1.1 200 OK\r\n" fields "\r\n"
#define STATUS(status, fields) "HTTP/1.1 " status " \r\n" fields "\r\n"

static const row responses[] = {
    {OK(""), "200 OK 11 length=-2|"},
    {OK("Content-Length: 5\r\n"), "200 OK 11 length=5 keep-alive|"},
    {OK("Transfer-Encoding: chunked\r\n"), "200 OK 11 length=-1 keep-alive|"},
    {OK("Content-Length: 5\r\nConnection: close\r\n"), "200 OK 11 length=5|"},
    {OK("Host: ?\r\nExpect: x\r\n"), "200 OK 11 length=-2|"},
    {"HTTP/1.1 404\r\n\r\n", "404  11 length=-2|"},
    {"HTTP/1.1 404 \r\n\r\n", "404  11 length=-2|"},
    {"HTTP/1.1 404  a\tb\xff \r\n\r\n", "404  a\tb\xff  11 length=-2|"},
    {"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "200 OK 10 length=5|"},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n",
     "200 OK 10 length=5 keep-alive|"},
    {"HTTP/1.3 999 x\r\n\r\n", "999 x 11 length=-2|"},
    {STATUS("100", ""), "100  11 length=0 keep-alive|"},
    {STATUS("101", "Connection: upgrade\r\nUpgrade: x\r\n"),
     "101  11 length=0 keep-alive upgrades|"},
    {STATUS("103", "Link: x\r\n"), "103  11 length=0 keep-alive|"},
    {STATUS("204", ""), "204  11 length=0 keep-alive|"},
    {STATUS("204", "Content-Length: 0\r\n"), "204  11 length=0 keep-alive|"},
    {STATUS("205", ""), "205  11 length=-2|"},
    {STATUS("304", ""), "304  11 length=0 keep-alive|"},
    {STATUS("304", "Content-Length: 5\r\n"), "304  11 length=0 keep-alive|"},
    {STATUS("304", "Transfer-Encoding: chunked\r\n"), "304  11 length=0 keep-alive|"},
};

static const row refused_responses[] = {
    {"\r\n" OK(""), "502 no version and status"},
    {"HTTP/1.1\r\n\r\n", "502 no version and status"},
    {"HTTP/1.1 \r\n\r\n", "502 no version and status"},
    {"HTTP/1.1 20\r\n\r\n", "502 no version and status"},
    {"HTTP/1.1  200\r\n\r\n", "502 no status"},
    {"HTTP/1.1\t200 OK\r\n\r\n", "502 no version and status"},
    {"HTTP/1.1 2000\r\n\r\n", "502 no status"},
    {"HTTP/1.1 200OK\r\n\r\n", "502 no status"},
    {"HTTP/1.1 099 x\r\n\r\n", "502 no status"},
    {"HTTP/1.1 +20 x\r\n\r\n", "502 no status"},
    {"HTTP/1.1 2x0 x\r\n\r\n", "502 no status"},
    {"HTTP/2.0 200 OK\r\n\r\n", "502 not HTTP/1"},
    {"HTTP/2 200 OK\r\n\r\n", "502 no version and status"},
    {"ICY 200 OK\r\n\r\n", "502 no version and status"},
    {"HTTP/1.1 200 OK\n\n", "502 a control"},
    {"HTTP/1.1 200 O\x01K\r\n\r\n", "502 a control"},
    {OK("X: a\r\n b\r\n"), "502 a folded field"},
    {OK("X : a\r\n"), "502 no field name and colon"},
    {OK("Content-Length: 5\r\nContent-Length: 5\r\n"), "502 more than one Content-Length"},
    {OK("Content-Length: 5, 5\r\n"), "502 a Content-Length that is no length"},
    {OK("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), "502 both Content-Length and"},
    {OK("Transfer-Encoding: gzip, chunked\r\n"), "502 an unknown transfer coding"},
    {OK("Transfer-Encoding: chunked, gzip\r\n"), "502 chunked is not the last coding"},
    {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "502 Transfer-Encoding in HTTP/1.0"},
    {STATUS("204", "Content-Length: 5\r\n"), "502 a body where none may be"},
    {STATUS("204", "Transfer-Encoding: chunked\r\n"), "502 a body where none may be"},
    {STATUS("100", "Content-Length: 5\r\n"), "502 a body where none may be"},
};

static const row responses_to_head[] = {
    {OK(""), "200 OK 11 length=0 keep-alive|"},
    {OK("Content-Length: 5\r\n"), "200 OK 11 length=0 keep-alive|"},
    {OK("Transfer-Encoding: chunked\r\n"), "200 OK 11 length=0 keep-alive|"},
    {OK("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), "502 both Content-Length and"},
};

static message response(bool to_head)
{
    message m = {};
    m.response = true;
    m.to_head = to_head;
    return m;
}

CASE(test_parse_responses)
{
    CHECK(response(false), responses);
}

CASE(test_parse_refuses_responses)
{
    CHECK(response(false), refused_responses);
}

CASE(test_parse_responses_to_head)
{
    CHECK(response(true), responses_to_head);
}

RUN_CASES()
