// Requests in which another hides: whoever reads the first one in another way than those before or
// behind it takes what is hidden for a request.  The server never does; where two readings are
// possible it serves nothing more.  Behind each comes a last request, which is served (202) only if
// both are sure where that begins.
#include "served.h"

static int found; // requests that were hidden

static void smuggled(weft_http_exchange *x, void *)
{
    found++;
    weft_http_reply(x, 200, nullptr, nullptr, 0);
}

// Reads the body to its end.
static void take(weft_http_exchange *x, void *)
{
    char some[16];
    ssize_t n;
    while ((n = weft_http_read(x, some, sizeof some, soon())) > 0)
        ;
    if (n == 0)
        weft_http_reply(x, 200, nullptr, nullptr, 0);
}

// Answers without a look at the body.
static void leave(weft_http_exchange *x, void *)
{
    weft_http_reply(x, 200, nullptr, nullptr, 0);
}

static void last(weft_http_exchange *x, void *)
{
    weft_http_reply(x, 202, nullptr, nullptr, 0);
}

#define HIDDEN "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n" // of 33 bytes, 21 in hexadecimal
#define LAST "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
#define TAKE(fields) "POST /take HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define LEAVE(fields) "POST /leave HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

struct row {
    const char *text, *statuses, *others = nullptr;
};

static const row ambiguous[] = {
    // Two lengths.
    {TAKE("Content-Length: 5\r\n" CHUNKED) "0\r\n\r\n" HIDDEN, "400"},
    {TAKE(CHUNKED "Content-Length: 38\r\n") "0\r\n\r\n" HIDDEN, "400"},
    {TAKE("Content-Length: 0\r\nContent-Length: 33\r\n") HIDDEN, "400"},
    {TAKE("Content-Length: 33\r\nContent-Length: 0\r\n") HIDDEN, "400"},
    {TAKE("Content-Length: 0, 33\r\n") HIDDEN, "400"},
    {TAKE("Content-Length: +33\r\n") HIDDEN, "400"},
    {TAKE("Content-Length: 33 0\r\n") HIDDEN, "400"},
    // A coding, or a length, that only some see.
    {TAKE("Transfer-Encoding: xchunked\r\nContent-Length: 33\r\n") HIDDEN, "501"},
    {TAKE("Transfer-Encoding: chunked, identity\r\n") "0\r\n\r\n" HIDDEN, "400"},
    {TAKE(CHUNKED "Transfer-Encoding: x\r\n") "0\r\n\r\n" HIDDEN, "400"},
    {TAKE("Transfer-Encoding : chunked\r\nContent-Length: 5\r\n") "0\r\n\r\n" HIDDEN, "400"},
    {TAKE("Transfer-Encoding:\x0b"
          "chunked\r\n") "0\r\n\r\n" HIDDEN,
     "400"},
    {TAKE("X: y\r\n " CHUNKED) "0\r\n\r\n" HIDDEN, "400"},
    {TAKE("X: y\nContent-Length: 33\r\n") HIDDEN, "400"},
    {TAKE("X: y\rContent-Length: 33\r\n") HIDDEN, "400"},
    {TAKE("Content-Length\r\n: 33\r\n") HIDDEN, "400"},
    {"POST /take HTTP/1.0\r\n" CHUNKED "\r\n0\r\n\r\n" HIDDEN, "400"},
    // Heads that end in two places, or targets and hosts that are more than one.
    {"GET /leave HTTP/1.1\r\nHost: a\n\n" HIDDEN, "400"},
    {"GET /leave HTTP/1.1\r\nHost: a\r\n\n" HIDDEN, "400"},
    {"GET /leave HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" HIDDEN, "400"},
    {"GET /leave\tHTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n" HIDDEN, "400"},
    {"GET /leave\r\n" HIDDEN, "400"},
    {"GET /leave HTTP/2.0\r\nHost: a\r\n\r\n" HIDDEN, "505"},
};

static const row chunked[] = {
    // Sizes and ends that are read in two ways.
    {TAKE(CHUNKED) "0x21\r\n" HIDDEN "\r\n0\r\n\r\n", "400"},
    {TAKE(CHUNKED) "+0\r\n\r\n" HIDDEN, "400"},
    {TAKE(CHUNKED) "0 \r\n\r\n" HIDDEN, "400"},
    {TAKE(CHUNKED) "10000000000000000\r\n\r\n" HIDDEN, "400"},
    {TAKE(CHUNKED) "1\r\nab\r\n0\r\n\r\n" HIDDEN, "400"},
    {TAKE(CHUNKED) "1\r\na\n0\r\n\r\n" HIDDEN, "400"},
    {TAKE(CHUNKED) "1\r\naxx0\r\n\r\n" HIDDEN, "400"},
    {TAKE(CHUNKED) "0\n\n" HIDDEN, "400"},
    {TAKE(CHUNKED) "0;\n\r\n" HIDDEN, "400"},
    {TAKE(CHUNKED) "1;a\nx\r\n0\r\n\r\n" HIDDEN, "400"},
    {TAKE(CHUNKED) "0\r\n" HIDDEN, "400"},
    {TAKE(CHUNKED) "0\r\nX : y\r\n\r\n" HIDDEN, "400"},
    // The answer went out before that was seen.
    {LEAVE(CHUNKED) "+0\r\n\r\n" HIDDEN, "200"},
    {LEAVE(CHUNKED) "0\r\n" HIDDEN, "200"},
};

static const row served[] = {
    {TAKE("Content-Length: 33\r\n") HIDDEN, "200 202"},
    {TAKE(CHUNKED) "21\r\n" HIDDEN "\r\n0\r\n\r\n", "200 202"},
    {TAKE(CHUNKED) "0;a=\"b\"\r\nX: GET /hidden HTTP/1.1\r\n\r\n", "200 202"},
    {LEAVE("Content-Length: 33\r\n") HIDDEN, "200 202"},
    {LEAVE(CHUNKED) "21\r\n" HIDDEN "\r\n0\r\n\r\n", "200 202"},
    {"GET /leave HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\n" HIDDEN, "200 202"},
    {"HEAD /leave HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\n" HIDDEN, "200 202"},
    {"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\n" HIDDEN, "404 202"},
    {"POST /last HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\n" HIDDEN, "405 202"},
    {"OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\n" HIDDEN, "204 202"},
    // Nobody knows whether the body comes without the 100: it counts if it is there.
    {LEAVE("Expect: 100-continue\r\nContent-Length: 33\r\n") HIDDEN, "200", "200 202"},
    {LEAVE("Expect: 200-ok\r\nContent-Length: 33\r\n") HIDDEN, "417"},
    {LEAVE("Content-Length: 99999999999\r\n") HIDDEN, "413"},
    {LEAVE("Connection: close\r\nContent-Length: 33\r\n") HIDDEN, "200"},
    {"POST /leave HTTP/1.0\r\nContent-Length: 33\r\n\r\n" HIDDEN, "200"},
};

// The statuses of all responses that have come.
static void statuses_of(const char *text, char *to)
{
    *to = 0;
    for (const char *at = text; (at = strstr(at, "HTTP/1.1 ")) != nullptr; at += 9)
        sprintf(to + strlen(to), "%s%.3s", *to != 0 ? " " : "", at + 9);
}

// In two pieces, of which the server may have seen the first before the second comes.
static void check(const row *r, size_t cut)
{
    char text[512], statuses[256];
    int n = snprintf(text, sizeof text, "%s" LAST, r->text), fd = client();
    say_bytes(fd, text, cut);
    weft_tasklet_sleep(weft_in_ms(cut > 0));
    if (weft_io_write(fd, text + cut, (size_t)n - cut, soon()) < 0)
        assert_int_equal(errno, EPIPE); // it was refused by then
    hear_all(fd, heard, sizeof heard);
    weft_io_close(fd);
    statuses_of(heard, statuses);
    bool right = strcmp(statuses, r->statuses) == 0 ||
                 (r->others != nullptr && strcmp(statuses, r->others) == 0);
    if (!right || found > 0)
        fail_msg("%s\ncut at %zu: %s, not %s; %d found", text, cut, statuses, r->statuses, found);
}

static void check_all(const row *rows, size_t n)
{
    serve();
    route(nullptr, "/take", take);
    route(nullptr, "/leave", leave);
    route("GET", "/last", last);
    route(nullptr, "/hidden", smuggled);
    found = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t cut = 0; cut < strlen(rows[i].text); cut += 11)
            check(&rows[i], cut > 0 ? cut + i % 11 : 0);
    unserve();
}

INSIDE_CASE(test_smuggling_by_lengths_and_lines)
{
    check_all(ambiguous, sizeof ambiguous / sizeof *ambiguous);
}

INSIDE_CASE(test_smuggling_by_chunks)
{
    check_all(chunked, sizeof chunked / sizeof *chunked);
}

INSIDE_CASE(test_smuggling_by_bodies_that_nobody_reads)
{
    check_all(served, sizeof served / sizeof *served);
}

RUN_CASES()
