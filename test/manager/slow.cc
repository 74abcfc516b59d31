// Clients that do not read: their commands wait in their sockets, and what the server keeps for
// them has a limit, each and all together.
#include "served.h"

enum { BIG = 100000, MIB = 1 << 20 };

static long long used_memory(void)
{
    return field_number(ask(&c, "INFO memory"), "used_memory:");
}

// Sends the text again and again until the server takes no more: it has had its turn several times,
// and has not read.  How many times it was sent whole, and of the next *part bytes.
static int send_all_it_takes(raw *r, const char *text, size_t *part)
{
    size_t n = strlen(text);
    int whole = 0, refused = 0;
    for (*part = 0; refused < 20;) {
        ssize_t k = send(r->fd, text + *part, n - *part, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k < 0) {
            assert_int_equal(errno, EAGAIN);
            says(&c, "PING", "+PONG\r\n");
            refused++;
            continue;
        }
        refused = 0;
        *part += (size_t)k;
        whole += *part == n;
        *part = *part == n ? 0 : *part;
        assert_true(whole < 10000000);
    }
    return whole;
}

static void is_big(raw *r)
{
    size_t size;
    assert_non_null(raw_next(r, &size, in_time()));
    assert_int_equal(size, BIG + 11);
}

SERVER_CASE(test_its_commands_wait)
{
    set_big(BIG);
    long long before = used_memory();
    raw r = open_one();
    size_t part;
    int sent = send_all_it_takes(&r, "INCR n\r\nGET big\r\n", &part);
    assert_true(sent > 80);
    assert_true(used_memory() - before < 20 * MIB);
    // And go on when it reads, each once and in order.
    for (int i = 1; i <= sent; i++) {
        char number[24];
        snprintf(number, sizeof number, ":%d\r\n", i);
        assert_string_equal(reply(&r), number);
        is_big(&r);
    }
    raw_text(&r, &"INCR n\r\nGET big\r\n"[part]);
    assert_int_equal(reply(&r)[0], part > 7 ? '$' : ':');
    if (part <= 7)
        is_big(&r);
    says(&r, "PING", "+PONG\r\n");
    raw_close(&r);
}

// All together have less each than one alone.
SERVER_CASE(test_there_is_a_total)
{
    enum { CLIENTS = 40 };
    raw r[CLIENTS];
    int sent[CLIENTS];
    size_t part;
    set_big(BIG);
    long long before = used_memory();
    for (int i = 0; i < CLIENTS; i++) {
        r[i] = open_one();
        sent[i] = send_all_it_takes(&r[i], "GET big\r\n", &part);
        assert_true(used_memory() - before < 200 * MIB);
    }
    for (int i = 0; i < CLIENTS; i += 2)
        for (int k = 0; k < sent[i]; k++)
            is_big(&r[i]);
    for (raw &each : r)
        raw_close(&each);
    assert_true(wait_clients(&c, 1));
    assert_true(used_memory() - before < 2 * MIB);
}

// As many small replies as most that write all before they read will have.
SERVER_CASE(test_a_long_pipeline_is_written_first)
{
    enum { MANY = 500000 };
    char *text = (char *)malloc((size_t)MANY * 8);
    for (int i = 0; i < MANY; i++)
        memcpy(text + (size_t)i * 8, "INCR n\r\n", 8);
    raw r = open_one();
    assert_int_equal(raw_send(&r, text, (size_t)MANY * 8), MANY * 8);
    size_t size;
    for (int i = 0; i < MANY; i++)
        assert_non_null(raw_next(&r, &size, in_time()));
    assert_int_equal(ask_number(&r, "INCR n"), MANY + 1);
    raw_close(&r);
    free(text);
}

// One reply goes whole, however long it is.
SERVER_CASE(test_a_long_reply)
{
    enum { TIMES = 300 };
    set_big(BIG);
    raw r = open_one();
    raw_text(&r, "MGET");
    for (int i = 0; i < TIMES; i++)
        raw_text(&r, " big");
    raw_text(&r, "\r\nPING\r\n");
    for (int i = 0; i < 20; i++)
        says(&c, "PING", "+PONG\r\n");
    size_t size;
    assert_non_null(raw_next(&r, &size, in_time()));
    assert_true(size > (size_t)TIMES * BIG);
    assert_string_equal(reply(&r), "+PONG\r\n");
    raw_close(&r);
}

// Its end is seen although nothing is read from it, and it holds nothing any more.
SERVER_CASE(test_it_ends_meanwhile)
{
    size_t part;
    set_big(BIG);
    raw r = open_one();
    says(&r, "WEFT.LOCK k 0", ":1\r\n");
    send_all_it_takes(&r, "GET big\r\n", &part);
    raw_ask(&c, "WEFT.LOCK k 60000");
    raw_close(&r);
    assert_string_equal(reply(&c), ":2\r\n");
    assert_true(wait_clients(&c, 1));
}

// That it will say no more is read in its turn: not before what waits has run and gone.
SERVER_CASE(test_it_will_say_no_more)
{
    enum { TIMES = 300 };
    set_big(BIG);
    raw r = open_one();
    for (int i = 0; i < TIMES; i++)
        raw_text(&r, "INCR n\r\nGET big\r\n");
    assert_int_equal(shutdown(r.fd, SHUT_WR), 0);
    for (int i = 0; i < 20; i++)
        says(&c, "PING", "+PONG\r\n");
    is_cut(&r);
    assert_true(r.have > (size_t)TIMES / 2 * BIG);
    says(&c, "GET n", "$3\r\n300\r\n");
    raw_close(&r);
}

// Both together: it waits for what it gets, with replies that it has not read.
SERVER_CASE(test_blocked_while_it_does_not_read)
{
    size_t part;
    set_big(BIG);
    raw r = open_one();
    int sent = send_all_it_takes(&r, "GET big\r\nBLPOP l 0\r\n", &part);
    assert_true(sent > 10);
    is_big(&r);
    assert_true(wait_blocked(&c, 1));
    says(&c, "RPUSH l x", ":1\r\n");
    assert_string_equal(reply(&r), "*2\r\n$1\r\nl\r\n$1\r\nx\r\n");
    is_big(&r);
    raw_close(&r);
}

RUN_SERVER_CASES()
