// The server's protocol by raw sockets: requests in pieces, of wrong and of giant lengths, and each
// of its limits.  What Redis has as well is worded as Redis words it.
#include "served.h"

// ---- In pieces ----

static const char pieces[] = "*1\r\n$4\r\nPING\r\n"
                             "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$13\r\nva\r\nlue\n\r$1*2\r\n"
                             "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"
                             "\r\n*0\r\n*-1\r\n"
                             "ECHO \"in \\x6cine\"\r\n"
                             "PING\n"
                             "*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$0\r\n\r\n$1\r\nb\r\n$1\r\nx\r\n"
                             "*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n"
                             "*2\r\n$4\r\nMGET\r\n$2\r\n\r\n\r\n";
static const char pieces_answer[] = "+PONG\r\n+OK\r\n$13\r\nva\r\nlue\n\r$1*2\r\n$7\r\nin line\r\n"
                                    "+PONG\r\n+OK\r\n*2\r\n$0\r\n\r\n$1\r\nx\r\n*1\r\n$-1\r\n";

static void gets(raw *r, const char *expected)
{
    weft_deadline d = in_time();
    size_t n = strlen(expected);
    for (ssize_t k = 1; r->have - r->used < n && k != 0 && weft_left(d) > 0;)
        if ((k = raw_fill(r)) < 0)
            raw_ready(r->fd, POLLIN, d);
    if (r->have - r->used != n || memcmp(r->in + r->used, expected, n) != 0) {
        show(stderr, r->in + r->used, r->have - r->used, 1000);
        fail_msg(" is not what was expected");
    }
    r->used += n;
}

SERVER_CASE(test_split_at_every_byte)
{
    for (size_t at = 0; at < sizeof pieces; at++) {
        raw r = open_one();
        raw_send(&r, pieces, at);
        wait_read(&r);
        raw_send(&r, pieces + at, sizeof pieces - 1 - at);
        gets(&r, pieces_answer);
        raw_close(&r);
    }
}

SERVER_CASE(test_byte_by_byte)
{
    for (const char *p = pieces; *p != 0; p++) {
        raw_send(&c, p, 1);
        wait_read(&c);
    }
    gets(&c, pieces_answer);
}

// A beginning, and then the end: the whole commands in it are answered, the rest is forgotten.
SERVER_CASE(test_cut_off_anywhere)
{
    for (size_t at = 0; at < sizeof pieces; at++) {
        raw r = open_one();
        raw_send(&r, pieces, at);
        if (at % 2 == 0) {
            shutdown(r.fd, SHUT_WR);
            assert_true(raw_ended(&r, in_time()));
            assert_true(r.have < sizeof pieces_answer);
            assert_true(r.have == 0 || memcmp(r.in, pieces_answer, r.have) == 0);
        }
        raw_close(&r);
    }
    assert_true(wait_clients(&c, 1));
    says(&c, "PING", "+PONG\r\n");
}

// ---- Lengths ----

static long resident_kb(void)
{
    char path[64];
    long total, pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", weft_manager_pid(manager));
    FILE *f = fopen(path, "r");
    if (f == nullptr || fscanf(f, "%ld %ld", &total, &pages) != 2)
        pages = -1;
    if (f != nullptr)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

SERVER_CASE(test_wrong_lengths)
{
    static const struct {
        const char *text, *expected;
    } all[] = {
        {"*2147483648\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*99999999999999999999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*a\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*1 \r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*+1\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\n$536870913\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\n$9223372036854775808\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\n$x\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\n$\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\n$01\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\nPING\r\n", "-ERR Protocol error: expected '$', got 'P'\r\n"},
        {"*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"},
        {"*2\r\n$4\r\nPING\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'\r\n"},
        {"PING \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
        {"PING 'a'b\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
        {"PING\r\n*1\r\n$x\r\nPING\r\n", "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n"},
    };
    for (auto &a : all)
        is_cut_after(a.text, strlen(a.text), a.expected);
    assert_true(wait_clients(&c, 1));
}

SERVER_CASE(test_endless_lines)
{
    size_t n = 70000;
    char *line = (char *)malloc(n);
    memset(line, '1', n);
    memcpy(line, "PING ", 5);
    is_cut_after(line, n, "-ERR Protocol error: too big inline request\r\n");
    line[0] = '*';
    is_cut_after(line, n, "-ERR Protocol error: too big mbulk count string\r\n");
    memcpy(line, "*1\r\n$", 5);
    is_cut_after(line, n, "-ERR Protocol error: too big bulk count string\r\n");
    free(line);
}

// A length is a promise: no memory is taken for what has not come.
SERVER_CASE(test_giant_promises)
{
    says(&c, "PING", "+PONG\r\n");
    long before = resident_kb();
    raw r[40];
    for (int i = 0; i < 40; i++) {
        raw_open(&r[i], address);
        raw_text(&r[i], i % 2 != 0 ? "*2147483647\r\n$3\r\nDEL\r\n$1\r\nx\r\n"
                                   : "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nbegin");
        wait_read(&r[i]);
    }
    says(&c, "PING", "+PONG\r\n");
    if (!RUNNER_SANITIZED)
        assert_true(resident_kb() - before < 8192);
    for (int i = 0; i < 40; i++)
        raw_close(&r[i]);
    assert_true(wait_clients(&c, 1));
    says(&c, "EXISTS k x", ":0\r\n");
}

SERVER_CASE(test_many_words)
{
    enum { WORDS = 100000 };
    char *text = (char *)malloc(WORDS * 20 + 100), *p = text;
    p += sprintf(p, "*%d\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n", WORDS + 2);
    for (int i = 0; i < WORDS; i++)
        p += sprintf(p, "$5\r\n%05d\r\n", i);
    raw_send(&c, text, (size_t)(p - text));
    assert_string_equal(reply(&c), ":100000\r\n");
    says(&c, "LINDEX l 77777", "$5\r\n77777\r\n");
    says(&c, "LINDEX l -1", "$5\r\n99999\r\n");
    free(text);
}

// ---- Large values ----

// The time that a wait for many keys takes does not grow with their square: others are served.
SERVER_CASE(test_many_keys_to_wait_for)
{
    enum { KEYS = 600000 };
    char *text = (char *)malloc(KEYS * 24 + 100), *p = text;
    raw r;
    raw_open(&r, address);
    p += sprintf(p, "*%d\r\n$5\r\nBLPOP\r\n", KEYS + 2);
    for (int i = 0; i < KEYS; i++)
        p += sprintf(p, "$10\r\nk%09d\r\n", i / 2); // each of them twice
    p += sprintf(p, "$1\r\n0\r\n");
    raw_send(&r, text, (size_t)(p - text));
    assert_true(wait_blocked(&c, 1));
    says(&c, "RPUSH k000299999 v", ":1\r\n");
    assert_string_equal(reply(&r), "*2\r\n$10\r\nk000299999\r\n$1\r\nv\r\n");
    for (weft_deadline d = in_time(); weft_left(d) > 0; usleep(500)) // in the background
        if (field_number(ask(&c, "INFO weft"), "weft_places:") == 0)
            break;
    assert_int_equal(field_number(ask(&c, "INFO weft"), "weft_places:"), 0);
    raw_close(&r);
    free(text);
}

SERVER_CASE(test_value_of_1_mib)
{
    round_trip(1 << 20);
}

SERVER_CASE(test_value_of_64_mib)
{
    round_trip(64 << 20);
    says(&c, "STRLEN big", ":67108864\r\n");
    says(&c, "DEL big", ":1\r\n");
}

// ---- Browsers ----

SERVER_CASE(test_http_is_cut)
{
    static const char *const requests[] = {
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 20\r\n\r\nSET pwned yes\r\n",
        "post / HTTP/1.0\r\n\r\nSET pwned yes\r\n",
        "Host: 127.0.0.1\r\nSET pwned yes\r\n",
        "host: x\r\nSET pwned yes\r\n",
    };
    for (const char *text : requests)
        is_cut_after(text, strlen(text), "");
    raw r = open_one();
    raw_text(&r, "PUT / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nSET pwned yes\r\n");
    assert_true(raw_ended(&r, in_time()));
    raw_close(&r);
    says(&c, "EXISTS pwned", ":0\r\n");
}

RUN_SERVER_CASES()
