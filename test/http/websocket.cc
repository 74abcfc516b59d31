// What one end of a WebSocket makes of what the other sends, and two of them against each other,
// over a connected pair, without a handshake.
#include "../async/inside.h"

#include <http/websocket_state.h>

#include "framed.h"

using namespace weft;

static weft_websocket *w;          // one end
static int other = -1;             // the other, as it is
static weft_websocket *over_there; // or as one, too
static weft_websocket_options opts;
static int kind_of_pair = TCP_PAIR;

static void open_end(bool is_client)
{
    int p[2];
    make_pair(kind_of_pair, p);
    other = p[1];
    w = websocket_create(nullptr, p[0], is_client, &opts, {}, {});
    assert_non_null(w);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        weft_io_close(*fd);
    *fd = -1;
}

// A client closes its own.
static void close_end(weft_websocket **which)
{
    int fd = (*which)->is_client ? -1 : (*which)->fd;
    assert_int_equal(weft_websocket_destroy(*which), 0);
    close_fd(&fd);
    *which = nullptr;
}

static void open_both(void)
{
    open_end(false);
    over_there = websocket_create(nullptr, other, true, &opts, {}, {});
    assert_non_null(over_there);
    other = -1;
}

static void with_end(void (*body)(void), bool is_client, bool both)
{
    static void (*fn)(void);
    static bool client, pair;
    fn = body;
    client = is_client;
    pair = both;
    opts = {};
    inside([] {
        if (pair)
            open_both();
        else
            open_end(client);
        fn();
        if (w != nullptr)
            close_end(&w);
        if (over_there != nullptr)
            close_end(&over_there);
        close_fd(&other);
    });
}

static void server_end(void (*body)(void))
{
    with_end(body, false, false);
}

// TCP may have room again by itself.
static void unix_end(void (*body)(void))
{
    kind_of_pair = UNIX_PAIR;
    with_end(body, false, false);
    kind_of_pair = TCP_PAIR;
}

static void both_ends(void (*body)(void))
{
    with_end(body, false, true);
}

// ---- Conversations: what is sent to it, what it reads, what it sends ----

static framed in, out;
static told reads, sends;

// Reads all there is, until `d`; false: it is over, and the pieces of a message that did not end
// are left out.
static bool read_all_now(bool whole, weft_deadline d)
{
    weft_websocket_message m;
    static bool more;
    static size_t begun;
    for (int result;;) {
        result = whole ? weft_websocket_read(w, &m, d) : weft_websocket_read_piece(w, &m, d);
        if (result < 0 && errno == ETIMEDOUT)
            return true;
        if (result <= 0 && more)
            reads.text[reads.size = begun] = 0;
        if (result < 0)
            tell(&reads, strerrorname_np(errno));
        else if (result == 0)
            tell_close(&reads, m.code, m.data, m.size);
        if (result <= 0) {
            more = false;
            return false;
        }
        begun = more ? begun : reads.size;
        if (!more)
            tell(&reads, m.kind == WEFT_WEBSOCKET_TEXT ? "T:" : "B:");
        tell_bytes(&reads, m.data, m.size);
        more = m.more;
    }
}

static void put_bytes(const char *bytes, size_t n)
{
    assert_int_equal(weft_io_write(other, bytes, n, weft_in_s(30)), n);
}

// What it has sent, up to the end.
static void take_frames(bool masked)
{
    ssize_t n = weft_io_read_all(other, out.bytes, sizeof out.bytes, weft_in_s(30));
    assert_true(n >= 0);
    tell_frames(&sends, out.bytes, (size_t)n, masked);
}

static void converse(bool is_client, bool whole, size_t split)
{
    open_end(is_client);
    reads.size = sends.size = 0;
    reads.text[0] = sends.text[0] = 0;
    put_bytes(in.bytes, split);
    if (read_all_now(whole, WEFT_NOW)) {
        put_bytes(in.bytes + split, in.size - split);
        weft_io_shutdown(other, SHUT_WR);
        while (read_all_now(whole, weft_in_s(30)))
            ;
    }
    close_end(&w);
    take_frames(is_client);
    close_fd(&other);
}

static const struct conversation {
    const char *in, *reads, *sends;
    size_t limit = 0;
} CONVERSATIONS[] = {
    // Messages, whole and in fragments
    {"T:", "T: ECONNRESET", ""},
    {"B:", "B: ECONNRESET", ""},
    {"T:hello", "T:hello ECONNRESET", ""},
    {"T:a B:%00%ff T:b", "T:a B:%00%ff T:b ECONNRESET", ""},
    {"t:hel c:l C:o", "T:hello ECONNRESET", ""},
    {"t: c: C:", "T: ECONNRESET", ""},
    {"b: c:x C:", "B:x ECONNRESET", ""},
    {"b:x c:y C:z T:t", "B:xyz T:t ECONNRESET", ""},
    {"t:hel", "ECONNRESET", ""},
    {"", "ECONNRESET", ""},
    // Pings and pongs, also between fragments
    {"P: T:x", "T:x ECONNRESET", "O:"},
    {"P:%00%ff T:x", "T:x ECONNRESET", "O:%00%ff"},
    {"P:1 P:2 P:3 T:x", "T:x ECONNRESET", "O:1 O:2 O:3"},
    {"O: O:unasked T:x", "T:x ECONNRESET", ""},
    {"t:a P:1 c:b P:2 C:c", "T:abc ECONNRESET", "O:1 O:2"},
    {"b: P:1 O: P:2 C:", "B: ECONNRESET", "O:1 O:2"},
    // Continuations of nothing, and a message within another
    {"C:x", "EBADMSG", "X:1002"},
    {"c:x C:y", "EBADMSG", "X:1002"},
    {"T:a C:b", "T:a EBADMSG", "X:1002"},
    {"t:a T:b", "EBADMSG", "X:1002"},
    {"t:a b:b", "EBADMSG", "X:1002"},
    {"b:a P:x T:b", "EBADMSG", "O:x X:1002"},
    // Reserved bits and opcodes
    {"T:a R1T:b", "T:a EBADMSG", "X:1002"},
    {"R2B:b", "EBADMSG", "X:1002"},
    {"R4P:b", "EBADMSG", "X:1002"},
    {"R7X:1000", "EBADMSG", "X:1002"},
    {"t:a R1C:b", "EBADMSG", "X:1002"},
    {"#%83%80%01%02%03%04", "EBADMSG", "X:1002"},
    {"#%87%80%01%02%03%04", "EBADMSG", "X:1002"},
    {"T:a #%8b%80%01%02%03%04", "T:a EBADMSG", "X:1002"},
    {"#%8f%80%01%02%03%04", "EBADMSG", "X:1002"},
    // Control frames in parts, and too long
    {"p:x", "EBADMSG", "X:1002"},
    {"t:a p:x", "EBADMSG", "X:1002"},
    {"o:x", "EBADMSG", "X:1002"},
    {"x:1000", "EBADMSG", "X:1002"},
    {"#%89%fe%00%7e", "EBADMSG", "X:1002"},
    {"#%88%ff%00%00%00%00%00%01%00%00", "EBADMSG", "X:1002"},
    // No mask; lengths
    {"#%81%01x", "EBADMSG", "X:1002"},
    {"T:a #%89%00", "T:a EBADMSG", "X:1002"},
    {"#%82%fe%00%01%01%02%03%04x", "EBADMSG", "X:1002"},
    {"#%82%ff%00%00%00%00%00%00%01%00%01%02%03%04", "EBADMSG", "X:1002"},
    {"#%82%ff%80%00%00%00%00%00%00%00%01%02%03%04", "EBADMSG", "X:1002"},
    // Text
    {"T:%ce%ba%f0%9f%98%80", "T:%ce%ba%f0%9f%98%80 ECONNRESET", ""},
    {"t:%f0%9f C:%98%80", "T:%f0%9f%98%80 ECONNRESET", ""},
    {"t:%f0 c: c:%9f P: c:%98 C:%80", "T:%f0%9f%98%80 ECONNRESET", "O:"},
    {"T:%80", "EILSEQ", "X:1007"},
    {"T:a%f8b", "EILSEQ", "X:1007"},
    {"T:%ce", "EILSEQ", "X:1007"},
    {"t:%ce C:x", "EILSEQ", "X:1007"},
    {"t:%f0%9f C:", "EILSEQ", "X:1007"},
    {"T:ok T:%ed%a0%80", "T:ok EILSEQ", "X:1007"},
    {"t:%ff", "EILSEQ", "X:1007"},
    {"B:%ff%fe t:%c3 C:%a4", "B:%ff%fe T:%c3%a4 ECONNRESET", ""},
    // Closes
    {"X:", "X:1005", "X:"},
    {"X:1000", "X:1000", "X:1000"},
    {"T:a X:1001:%c3%a4 T:b", "T:a X:1001:%c3%a4", "X:1001"},
    {"X:3000:x", "X:3000:x", "X:3000"},
    {"X:4999", "X:4999", "X:4999"},
    {"X:1007 X:1000 P:", "X:1007", "X:1007"},
    {"P:p X:1000", "X:1000", "O:p X:1000"},
    {"t:a X:1000", "X:1000", "X:1000"},
    {"#%88%81%00%00%00%00x", "EBADMSG", "X:1002"},
    {"X:0", "EBADMSG", "X:1002"},
    {"X:999", "EBADMSG", "X:1002"},
    {"X:1004", "EBADMSG", "X:1002"},
    {"X:1005", "EBADMSG", "X:1002"},
    {"X:1006", "EBADMSG", "X:1002"},
    {"X:1015", "EBADMSG", "X:1002"},
    {"X:1016", "EBADMSG", "X:1002"},
    {"X:2999", "EBADMSG", "X:1002"},
    {"X:5000", "EBADMSG", "X:1002"},
    {"X:65535", "EBADMSG", "X:1002"},
    {"X:1000:%ce", "EILSEQ", "X:1007"},
    {"X:1000:a%ffb", "EILSEQ", "X:1007"},
};

static void at_every_split(const conversation *c, bool is_client, bool whole)
{
    for (size_t split = 0; split <= in.size; split++) {
        converse(is_client, whole, split);
        if (strcmp(reads.text, c->reads) != 0 || strcmp(sends.text, c->sends) != 0)
            fail_msg("%s, split at %zu: read \"%s\", not \"%s\"; sent \"%s\", not \"%s\"", c->in,
                     split, reads.text, c->reads, sends.text, c->sends);
    }
}

static void hold_conversations(bool is_client, bool whole)
{
    for (const conversation &c : CONVERSATIONS) {
        if (is_client && strchr(c.in, '#') != nullptr) // its bytes are a client's
            continue;
        opts = {};
        in.size = 0;
        put_all(&in, c.in, !is_client);
        at_every_split(&c, is_client, whole);
    }
}

CASE_IN(test_conversations_of_a_server, inside)
{
    hold_conversations(false, true);
}

CASE_IN(test_conversations_of_a_server_in_pieces, inside)
{
    hold_conversations(false, false);
}

CASE_IN(test_conversations_of_a_client, inside)
{
    hold_conversations(true, true);
}

CASE_IN(test_limit, inside)
{
    static const conversation limited[] = {
        {"B:1234", "B:1234 ECONNRESET", "", 4},
        {"B:12345", "EMSGSIZE", "X:1009", 4},
        {"b:12 C:34", "B:1234 ECONNRESET", "", 4},
        {"b:12 C:345", "EMSGSIZE", "X:1009", 4},
        {"b:1234 c: C:5", "EMSGSIZE", "X:1009", 4},
        {"B:1 B:1234 B:12", "B:1 B:1234 B:12 ECONNRESET", "", 4},
        {"#%82%ff%7f%ff%ff%ff%ff%ff%ff%ff%01%02%03%04", "EMSGSIZE", "X:1009", 4},
        {"b:x #%80%ff%7f%ff%ff%ff%ff%ff%ff%ff%01%02%03%04", "EMSGSIZE", "X:1009", 0},
    };
    for (const conversation &c : limited) {
        opts = {};
        opts.limit = c.limit;
        in.size = 0;
        put_all(&in, c.in, true);
        at_every_split(&c, false, true);
    }
}

// ---- Sizes, and memory ----

static char large[1 << 20], *const end_of_large = large + sizeof large;

static void fill_large(void)
{
    for (char *p = large; p < end_of_large; p++)
        *p = (char)((size_t)(p - large) * 31 >> 3);
}

static const size_t SIZES[] = {0,    1,    125,   126,   127,   128,    4082,        4083,
                               4084, 4096, 65535, 65536, 65537, 300000, sizeof large};

static weft_websocket *from;
static int written; // its result

static void *write_sizes(void *)
{
    written = 0;
    for (size_t n : SIZES)
        written |= weft_websocket_write(from, WEFT_WEBSOCKET_BINARY, large, n, weft_in_s(30));
    return nullptr;
}

static void read_sizes(weft_websocket *to)
{
    weft_tasklet *writer = spawn(write_sizes, nullptr, true);
    weft_websocket_message m;
    for (size_t n : SIZES) {
        assert_int_equal(weft_websocket_read(to, &m, weft_in_s(30)), 1);
        assert_int_equal(m.kind, WEFT_WEBSOCKET_BINARY);
        assert_int_equal(m.size, n);
        assert_memory_equal(m.data, large, n);
    }
    join(writer);
    assert_int_equal(written, 0);
}

CASE_IN(test_sizes, both_ends)
{
    fill_large();
    from = over_there;
    read_sizes(w);
    from = w;
    read_sizes(over_there);
}

CASE_IN(test_sizes_in_fragments, both_ends)
{
    fill_large();
    from = over_there;
    w->fragment = over_there->fragment = 1000;
    read_sizes(w);
    from = w;
    read_sizes(over_there);
}

// A large message's memory is not kept while small ones come.
CASE_IN(test_memory_is_given_back, both_ends)
{
    weft_websocket_message m;
    from = over_there;
    read_sizes(w);
    assert_true(w->room >= sizeof large);
    for (int i = 0; i < 60; i++) {
        assert_int_equal(
            weft_websocket_write(over_there, WEFT_WEBSOCKET_TEXT, "x", 1, WEFT_FOREVER), 0);
        assert_int_equal(weft_websocket_read(w, &m, weft_in_s(30)), 1);
    }
    assert_int_equal(m.size, 1);
    assert_true(w->room < 100000);
}

// ---- Waiting ----

// However many of its calls end in the midst of something.
CASE_IN(test_read_deadline_loses_nothing, server_end)
{
    weft_websocket_message m;
    in.size = reads.size = 0;
    put_all(&in, "t:hel P:x C:lo T:next X:", true);
    for (size_t i = 0; i < in.size; i++) {
        for (int k = 0; k < 2; k++)
            while (weft_websocket_read(w, &m, k == 0 ? WEFT_NOW : weft_in_us(100)) == 1)
                tell_bytes(&reads, m.data, m.size);
        assert_int_equal(errno, ETIMEDOUT);
        put_bytes(in.bytes + i, 1);
    }
    while (weft_websocket_read(w, &m, weft_in_s(30)) == 1)
        tell_bytes(&reads, m.data, m.size);
    assert_string_equal(reads.text, "hellonext");
}

static int result, error;

static void *read_one(void *)
{
    weft_websocket_message m;
    result = weft_websocket_read(w, &m, WEFT_FOREVER);
    error = errno;
    return nullptr;
}

CASE_IN(test_read_cancelled_and_busy, server_end)
{
    weft_websocket_message m;
    weft_tasklet *reader = spawn(read_one, nullptr, true);
    weft_tasklet_yield();
    assert_errno(weft_websocket_read(w, &m, WEFT_FOREVER), EBUSY);
    assert_errno(weft_websocket_destroy(w), EBUSY);
    weft_tasklet_cancel(reader);
    join(reader);
    assert_int_equal(result, -1);
    assert_int_equal(error, ECANCELED);
    in.size = 0;
    put_all(&in, "T:x", true);
    put_bytes(in.bytes, in.size);
    assert_int_equal(weft_websocket_read(w, &m, weft_in_s(30)), 1);
}

// Until no more goes out.
static void fill_up(weft_websocket *which)
{
    do
        result = weft_websocket_write(which, WEFT_WEBSOCKET_BINARY, large, 100, WEFT_NOW);
    while (result == 0);
}

// A write that got nowhere can be done again; one that was cut is the end.
CASE_IN(test_write_deadline, server_end)
{
    fill_up(w);
    if (!w->cut) {
        assert_int_equal(errno, ETIMEDOUT);
        assert_errno(weft_websocket_write(w, WEFT_WEBSOCKET_TEXT, "x", 1, weft_in_ms(5)),
                     ETIMEDOUT);
    }
    result = weft_websocket_write(w, WEFT_WEBSOCKET_BINARY, large, sizeof large, WEFT_NOW);
    assert_int_equal(result, -1);
    static char drain[1 << 16];
    while (weft_io_read(other, drain, sizeof drain, weft_in_ms(10)) > 0)
        ;
    bool cut = w->cut;
    result = weft_websocket_write(w, WEFT_WEBSOCKET_TEXT, "x", 1, weft_in_s(30));
    assert_int_equal(result, cut ? -1 : 0);
    if (cut)
        assert_int_equal(errno, EPIPE);
}

CASE_IN(test_cut_write_is_the_end, server_end)
{
    assert_errno(
        weft_websocket_write(w, WEFT_WEBSOCKET_BINARY, large, sizeof large, weft_in_ms(20)),
        ETIMEDOUT);
    assert_errno(weft_websocket_write(w, WEFT_WEBSOCKET_BINARY, large, 1, WEFT_FOREVER), EPIPE);
    assert_errno(weft_websocket_ping(w, nullptr, 0, WEFT_FOREVER), EPIPE);
}

// ---- What comes on and on ----

static bool floods;

static void *flood(void *texts)
{
    in.size = 0;
    for (int i = 0; i < 100; i++)
        put_all(&in, (const char *)texts, true);
    while (floods && weft_io_write(other, in.bytes, in.size, weft_in_s(30)) > 0) {
        static char dropped[10000];
        while (weft_io_read(other, dropped, sizeof dropped, WEFT_NOW) > 0)
            ;
    }
    return nullptr;
}

static void end_flood(weft_tasklet *t)
{
    floods = false;
    weft_tasklet_cancel(t);
    join(t);
}

// Deadlines pass all the same.
CASE_IN(test_flood_of_pings, server_end)
{
    weft_websocket_message m;
    floods = true;
    weft_tasklet *t = spawn(flood, (void *)"P:x", true);
    for (int i = 0; i < 5; i++)
        assert_errno(weft_websocket_read(w, &m, weft_in_ms(5)), ETIMEDOUT);
    end_flood(t);
}

CASE_IN(test_flood_instead_of_a_close, server_end)
{
    weft_websocket_message m;
    floods = true;
    w->close_ns = 20000000;
    weft_tasklet *t = spawn(flood, (void *)"T:x P:", true);
    assert_errno(weft_websocket_close(w, 1000, nullptr, weft_in_s(30)), ETIMEDOUT);
    assert_errno(weft_websocket_read(w, &m, weft_in_s(30)), EPIPE);
    end_flood(t);
}

CASE_IN(test_flood_while_it_goes_away, server_end)
{
    weft_websocket_message m;
    floods = true;
    w->close_ns = 20000000;
    weft_tasklet *t = spawn(flood, (void *)"T:x P:", true);
    websocket_go_away(w);
    while (weft_websocket_read(w, &m, weft_in_s(30)) > 0)
        ;
    assert_int_equal(errno, ETIMEDOUT);
    assert_errno(weft_websocket_read(w, &m, weft_in_s(30)), EPIPE);
    end_flood(t);
}

// ---- Two tasklets, and more ----

static size_t count;

static void *write_many(void *arg)
{
    weft_websocket *mine = (weft_websocket *)arg;
    char text[200];
    for (int i = 0; i < 2000; i++) {
        size_t n = (size_t)snprintf(text, sizeof text, "%d%*s", i, i % 150, "");
        if (weft_websocket_write(mine, WEFT_WEBSOCKET_TEXT, text, n, weft_in_s(60)) != 0)
            break;
        if (i % 10 == 0 && weft_websocket_ping(mine, text, n < 125 ? n : 125, weft_in_s(60)) != 0)
            break;
        count++;
    }
    return nullptr;
}

static void *read_many(void *arg)
{
    weft_websocket *mine = (weft_websocket *)arg;
    weft_websocket_message m;
    for (int i = 0; i < 2000; i++)
        if (weft_websocket_read(mine, &m, weft_in_s(60)) != 1 || atoi(m.data) != i)
            break;
        else
            count++;
    return nullptr;
}

// Both ends read and write at once, and ping each other.
CASE_IN(test_both_directions_at_once, both_ends)
{
    weft_tasklet *t[] = {spawn(write_many, w, true), spawn(write_many, over_there, true),
                         spawn(read_many, w, true), spawn(read_many, over_there, true)};
    count = 0;
    for (weft_tasklet *each : t)
        join(each);
    assert_int_equal(count, 8000);
}

static void *write_alone(void *arg)
{
    static const char letters[] = "abcdefgh";
    char text[3000];
    size_t i = (size_t)(uintptr_t)arg;
    memset(text, letters[i], sizeof text);
    for (int n = 0; n < 50; n++)
        if (weft_websocket_write(w, WEFT_WEBSOCKET_TEXT, text, sizeof text, weft_in_s(60)) == 0)
            count++;
    return nullptr;
}

// Messages of several writers, who wait for their turns, are never mixed.
CASE_IN(test_several_writers, both_ends)
{
    weft_tasklet *t[8];
    weft_websocket_message m;
    count = 0;
    for (size_t i = 0; i < 8; i++)
        t[i] = spawn(write_alone, (void *)i, true);
    for (int i = 0; i < 8 * 50; i++) {
        assert_int_equal(weft_websocket_read(over_there, &m, weft_in_s(60)), 1);
        assert_int_equal(m.size, 3000);
        for (size_t k = 1; k < m.size; k++)
            assert_int_equal(m.data[k], m.data[0]);
    }
    for (weft_tasklet *each : t)
        join(each);
    assert_int_equal(count, 400);
}

static void *write_large(void *arg)
{
    result =
        weft_websocket_write(w, WEFT_WEBSOCKET_BINARY, large, sizeof large, *(weft_deadline *)arg);
    error = errno;
    return nullptr;
}

// While one has the turn for long, who waits for his gets none of it, and who reads goes on.
CASE_IN(test_turns_of_those_who_wait, both_ends)
{
    weft_websocket_message m;
    weft_deadline d = weft_in_s(60);
    weft_tasklet *t = spawn(write_large, &d, true);
    weft_tasklet_yield();
    assert_errno(weft_websocket_write(w, WEFT_WEBSOCKET_TEXT, "x", 1, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_websocket_write(w, WEFT_WEBSOCKET_TEXT, "x", 1, weft_in_ms(1)), ETIMEDOUT);
    assert_int_equal(weft_websocket_ping(over_there, "p", 1, d), 0);
    assert_int_equal(weft_websocket_write(over_there, WEFT_WEBSOCKET_TEXT, "t", 1, d), 0);
    assert_int_equal(weft_websocket_read(w, &m, d), 1);
    assert_int_equal(weft_websocket_read(over_there, &m, d), 1);
    assert_int_equal(m.size, sizeof large);
    join(t);
    assert_int_equal(result, 0);
    assert_errno(weft_websocket_read(over_there, &m, weft_in_ms(1)), ETIMEDOUT); // the pong
}

static void *read_forever(void *)
{
    weft_websocket_message m;
    while ((result = weft_websocket_read(w, &m, WEFT_FOREVER)) > 0)
        count++;
    error = errno;
    return nullptr;
}

// The stream itself, so that nothing more goes out.
static void stuff(int fd)
{
    while (send(fd, large, sizeof large, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        ;
    while (send(fd, large, 1, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        ;
}

// A pong that can't go out at once keeps nobody from reading, and goes out later.
CASE_IN(test_pong_when_there_is_room, unix_end)
{
    static char all[4 << 20];
    size_t have = 0;
    count = 0;
    memset(large, 'x', sizeof large);
    stuff(w->fd);
    weft_tasklet *reader = spawn(read_forever, nullptr, true);
    in.size = 0;
    put_all(&in, "P:late T:x", true);
    put_bytes(in.bytes, in.size);
    while (count == 0)
        weft_tasklet_sleep(weft_in_ms(1));
    assert_true(websocket_owes(w));
    while (memmem(all, have, "\x8a\x04late", 6) == nullptr) {
        ssize_t n = weft_io_read(other, all + have, sizeof all - have, weft_in_s(30));
        assert_true(n > 0);
        have += (size_t)n;
    }
    assert_false(websocket_owes(w));
    weft_io_shutdown(other, SHUT_WR);
    join(reader);
    assert_int_equal(error, ECONNRESET);
}

// ---- Pieces ----

CASE_IN(test_write_in_pieces, both_ends)
{
    weft_websocket_message m;
    weft_deadline d = weft_in_s(30);
    assert_int_equal(
        weft_websocket_write(w, WEFT_WEBSOCKET_TEXT | WEFT_WEBSOCKET_MORE, "\xc3", 1, d), 0);
    assert_errno(weft_websocket_write(w, WEFT_WEBSOCKET_BINARY, "x", 1, d), EINVAL);
    assert_errno(weft_websocket_write(w, WEFT_WEBSOCKET_TEXT, "x", 1, d), EILSEQ);
    assert_errno(weft_websocket_write(w, WEFT_WEBSOCKET_TEXT, "", 0, d), EILSEQ);
    assert_int_equal(weft_websocket_ping(w, "ping", 4, d), 0);
    assert_int_equal(weft_websocket_write(w, WEFT_WEBSOCKET_TEXT | WEFT_WEBSOCKET_MORE, "", 0, d),
                     0);
    assert_int_equal(weft_websocket_write(w, WEFT_WEBSOCKET_TEXT, "\xa4!", 2, d), 0);
    assert_int_equal(weft_websocket_write(w, WEFT_WEBSOCKET_BINARY, "x", 1, d), 0);
    assert_int_equal(weft_websocket_read(over_there, &m, d), 1);
    assert_int_equal(m.size, 3);
    assert_memory_equal(m.data, "\xc3\xa4!", 3);
    assert_false(m.more);
    assert_int_equal(weft_websocket_read(over_there, &m, d), 1);
    assert_int_equal(m.kind, WEFT_WEBSOCKET_BINARY);
}

// More than the limit, and than there is memory for.
CASE_IN(test_read_in_pieces, both_ends)
{
    weft_websocket_message m;
    weft_deadline d = weft_in_s(30);
    size_t all = 0;
    w->limit = 10;
    fill_large();
    weft_websocket *mine = w;
    w = over_there;
    weft_tasklet *t = spawn(write_large, &d, true);
    do {
        assert_int_equal(weft_websocket_read_piece(mine, &m, d), 1);
        assert_memory_equal(m.data, large + all, m.size);
        all += m.size;
    } while (m.more);
    join(t);
    w = mine;
    assert_int_equal(all, sizeof large);
    assert_true(w->room <= 4096);
}

// What read_piece has begun read ends.
CASE_IN(test_read_the_rest, server_end)
{
    weft_websocket_message m;
    in.size = 0;
    put_all(&in, "b:abc", true);
    put_bytes(in.bytes, in.size);
    assert_int_equal(weft_websocket_read_piece(w, &m, weft_in_s(30)), 1);
    assert_memory_equal(m.data, "abc", 3);
    assert_true(m.more);
    in.size = 0;
    put_all(&in, "c:de P: C:f", true);
    put_bytes(in.bytes, in.size);
    assert_int_equal(weft_websocket_read(w, &m, weft_in_s(30)), 1);
    assert_int_equal(m.size, 3);
    assert_memory_equal(m.data, "def", 3);
    assert_false(m.more);
}

// ---- Closing ----

static void *close_it(void *)
{
    result = weft_websocket_close(w, WEFT_WEBSOCKET_NORMAL, "bye", weft_in_s(30));
    error = errno;
    return nullptr;
}

CASE_IN(test_close_by_one, both_ends)
{
    weft_websocket_message m;
    weft_tasklet *t = spawn(close_it, nullptr, true);
    assert_int_equal(weft_websocket_read(over_there, &m, weft_in_s(30)), 0);
    assert_int_equal(m.kind, WEFT_WEBSOCKET_CLOSE);
    assert_int_equal(m.code, 1000);
    assert_int_equal(m.size, 3);
    assert_memory_equal(m.data, "bye", 3);
    join(t);
    assert_int_equal(result, 0);
    weft_websocket *ends[] = {w, over_there};
    for (weft_websocket *each : ends) {
        assert_errno(weft_websocket_read(each, &m, WEFT_FOREVER), EPIPE);
        assert_errno(weft_websocket_write(each, WEFT_WEBSOCKET_TEXT, "x", 1, WEFT_FOREVER), EPIPE);
        assert_errno(weft_websocket_ping(each, nullptr, 0, WEFT_FOREVER), EPIPE);
        assert_int_equal(weft_websocket_close(each, 1000, nullptr, WEFT_FOREVER), 0);
    }
}

// Both say it at the same time, while one of each reads.
static void *close_there(void *)
{
    written = weft_websocket_close(over_there, 4000, nullptr, weft_in_s(30));
    return nullptr;
}

CASE_IN(test_close_by_both_beside_readers, both_ends)
{
    weft_tasklet *reader = spawn(read_forever, nullptr, true);
    weft_tasklet_yield();
    weft_tasklet *t[] = {spawn(close_it, nullptr, true), spawn(close_there, nullptr, true)};
    join(t[0]);
    assert_int_equal(result, 0);
    join(t[1]);
    assert_int_equal(written, 0);
    join(reader);
}

// Messages that were on their way are dropped; a writer that waits is told.
CASE_IN(test_close_drops_what_comes, both_ends)
{
    weft_websocket_message m;
    for (int i = 0; i < 5; i++)
        assert_int_equal(
            weft_websocket_write(over_there, WEFT_WEBSOCKET_TEXT, "x", 1, WEFT_FOREVER), 0);
    weft_tasklet *t = spawn(close_it, nullptr, true);
    assert_int_equal(weft_websocket_read(over_there, &m, weft_in_s(30)), 0);
    join(t);
    assert_int_equal(result, 0);
}

CASE_IN(test_close_without_an_answer, server_end)
{
    w->close_ns = 20000000;
    assert_errno(weft_websocket_close(w, 1000, nullptr, WEFT_FOREVER), ETIMEDOUT);
    assert_int_equal(weft_websocket_close(w, 1000, nullptr, WEFT_FOREVER), 0); // it has ended
    close_fd(&other);
}

CASE_IN(test_close_deadline_and_again, both_ends)
{
    weft_websocket_message m;
    assert_errno(weft_websocket_close(w, 1000, nullptr, weft_in_ms(1)), ETIMEDOUT);
    assert_int_equal(weft_websocket_read(over_there, &m, weft_in_s(30)), 0);
    assert_int_equal(weft_websocket_close(w, 1000, nullptr, weft_in_s(30)), 0);
}

CASE_IN(test_close_of_a_connection_that_ends, server_end)
{
    close_fd(&other);
    assert_errno(weft_websocket_close(w, 1000, nullptr, WEFT_FOREVER), ECONNRESET);
}

CASE_IN(test_close_arguments, server_end)
{
    char reason[126];
    memset(reason, 'x', sizeof reason);
    reason[124] = 0;
    static const int bad[] = {-1, 1, 999, 1004, 1005, 1006, 1015, 2000, 5000, 65536 + 1000};
    for (int code : bad)
        assert_errno(weft_websocket_close(w, code, nullptr, WEFT_NOW), EINVAL);
    assert_errno(weft_websocket_close(w, 1000, reason, WEFT_NOW), EINVAL);
    assert_errno(weft_websocket_close(w, 1000, "\xff", WEFT_NOW), EINVAL);
    assert_errno(weft_websocket_close(w, 1000, "\xc3", WEFT_NOW), EINVAL);
    assert_errno(weft_websocket_close(w, 0, "why", WEFT_NOW), EINVAL);
    reason[123] = 0;
    assert_errno(weft_websocket_close(w, 1000, reason, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_io_read(other, out.bytes, sizeof out.bytes, weft_in_s(30)), 2 + 125);
}

// While a message goes out for long, the close goes behind it, and no other message.
CASE_IN(test_close_behind_a_message, both_ends)
{
    weft_websocket_message m;
    weft_deadline d = weft_in_s(30);
    weft_tasklet *t = spawn(write_large, &d, true);
    weft_tasklet_yield();
    websocket_go_away(w);
    assert_errno(weft_websocket_write(w, WEFT_WEBSOCKET_TEXT, "x", 1, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_websocket_read(over_there, &m, d), 1);
    assert_int_equal(m.size, sizeof large);
    assert_int_equal(weft_websocket_read(over_there, &m, d), 0);
    assert_int_equal(m.code, 1001);
    join(t);
    assert_int_equal(result, 0);
    assert_int_equal(weft_websocket_read(w, &m, d), 0);
    assert_int_equal(m.code, 1001);
}

// A reader is woken to say it, and has so long for the answer.
CASE_IN(test_go_away_while_it_reads, server_end)
{
    w->close_ns = 20000000;
    weft_tasklet *reader = spawn(read_forever, nullptr, true);
    weft_tasklet_yield();
    websocket_go_away(w);
    join(reader);
    assert_int_equal(result, -1);
    assert_int_equal(error, ETIMEDOUT);
    ssize_t n = weft_io_read(other, out.bytes, sizeof out.bytes, weft_in_s(30));
    sends.size = 0;
    tell_frames(&sends, out.bytes, (size_t)n, false);
    assert_string_equal(sends.text, "X:1001");
}

CASE_IN(test_destroy_says_so, both_ends)
{
    weft_websocket_message m;
    close_end(&w);
    assert_int_equal(weft_websocket_read(over_there, &m, weft_in_s(30)), 0);
    assert_int_equal(m.code, 1001);
}

// ---- The rest ----

CASE_IN(test_heard, both_ends)
{
    weft_websocket_message m;
    int64_t before = weft_websocket_heard(w);
    assert_true(before > 0 && before <= weft_now());
    assert_int_equal(weft_websocket_ping(over_there, "x", 1, WEFT_FOREVER), 0);
    assert_errno(weft_websocket_read(w, &m, weft_in_ms(50)), ETIMEDOUT);
    assert_true(weft_websocket_heard(w) > before);
}

CASE_IN(test_arguments, server_end)
{
    weft_websocket_message m;
    assert_errno(weft_websocket_read(nullptr, &m, WEFT_NOW), EINVAL);
    assert_errno(weft_websocket_read(w, nullptr, WEFT_NOW), EINVAL);
    static const int bad[] = {-1, 0, 3, 8, 9, 10, 256, 513, 255};
    for (int kind : bad)
        assert_errno(weft_websocket_write(w, kind, "x", 1, WEFT_NOW), EINVAL);
    assert_errno(weft_websocket_write(w, WEFT_WEBSOCKET_TEXT, nullptr, 1, WEFT_NOW), EINVAL);
    assert_errno(weft_websocket_write(w, WEFT_WEBSOCKET_TEXT, "\xff", 1, WEFT_NOW), EILSEQ);
    assert_errno(weft_websocket_ping(w, large, 126, WEFT_NOW), EINVAL);
    assert_errno(weft_websocket_ping(w, nullptr, 1, WEFT_NOW), EINVAL);
    assert_int_equal(weft_websocket_write(w, WEFT_WEBSOCKET_BINARY, "\xff", 1, WEFT_NOW), 0);
    assert_int_equal(weft_websocket_destroy(nullptr), 0);
}

// What small messages cost of memory: nothing.
#include <malloc.h>

CASE_IN(test_small_messages_take_no_memory, both_ends)
{
    weft_websocket_message m;
    size_t before = 0;
    for (int i = 0; i < 1000; i++) {
        if (i == 10)
            before = mallinfo2().uordblks;
        assert_int_equal(
            weft_websocket_write(over_there, WEFT_WEBSOCKET_TEXT, "hello", 5, WEFT_FOREVER), 0);
        assert_int_equal(weft_websocket_read(w, &m, WEFT_FOREVER), 1);
        assert_int_equal(weft_websocket_write(w, m.kind, m.data, m.size, WEFT_FOREVER), 0);
        assert_int_equal(weft_websocket_read(over_there, &m, WEFT_FOREVER), 1);
    }
    if (!RUNNER_SANITIZED)
        assert_int_equal(mallinfo2().uordblks, before);
}

RUN_CASES()
