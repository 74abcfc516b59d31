// Messages of weft's server: slow subscribers, memory, and what a subscription leaves.
#include "served.h"

static void publish(const char *text, size_t n)
{
    char head[100];
    raw_send(
        &c, head,
        (size_t)snprintf(head, sizeof head, "*3\r\n$7\r\nPUBLISH\r\n$7\r\nchannel\r\n$%zu\r\n", n));
    raw_send(&c, text, n);
    raw_text(&c, "\r\n");
}

static raw subscriber(const char *hello)
{
    raw r = open_one();
    ask(&r, hello);
    const char *said = ask(&r, "SUBSCRIBE channel");
    assert_string_equal(said + 1, "3\r\n$9\r\nsubscribe\r\n$7\r\nchannel\r\n:1\r\n");
    return r;
}

// One that reads nothing is cut once too much waits for it; one that reads gets all.
SERVER_CASE(test_slow_subscriber)
{
    enum { SIZE = 1 << 20, MOST = 100 };
    char *text = (char *)malloc(SIZE);
    memset(text, 'x', SIZE);
    raw slow = subscriber("HELLO 3"), quick = subscriber("HELLO 2");
    int sent = 0;
    for (long long receivers = 2; receivers == 2 && sent < MOST; sent++) {
        publish(text, SIZE);
        receivers = atoll(reply(&c) + 1);
        size_t n;
        const char *got = raw_next(&quick, &n, in_time());
        assert_non_null(got);
        assert_true(n > SIZE && *got == '*');
    }
    assert_in_range(sent, 30, 50); // 32 MiB, and what the socket takes
    assert_true(is_cut(&slow));
    assert_true(wait_clients(&c, 2));
    assert_true(wait_memory(&c, 4 << 20));
    raw_close(&slow);
    raw_close(&quick);
    free(text);
}

// Less than that may wait for it; it can take it when it likes.
SERVER_CASE(test_late_subscriber)
{
    char *text = (char *)calloc(1, 1 << 20);
    raw late = subscriber("HELLO 3");
    for (int i = 0; i < 20; i++) {
        publish(text, 1 << 20);
        assert_string_equal(reply(&c), ":1\r\n");
    }
    for (int i = 0; i < 20; i++) {
        size_t n;
        assert_non_null(raw_next(&late, &n, in_time()));
        assert_true(n > 1 << 20);
    }
    says(&late, "PING", "+PONG\r\n");
    raw_close(&late);
    free(text);
}

// A limit on replies holds for messages, too.
SERVER_CASE_WITH(test_limit_of_replies, o.max_reply = 1 << 20)
{
    char text[1000] = {};
    raw slow = subscriber("HELLO 2");
    int sent = 0;
    for (; sent < 20000; sent++) {
        publish(text, sizeof text);
        if (strcmp(reply(&c), ":1\r\n") != 0)
            break;
    }
    assert_in_range(sent, 1000, 10000);
    assert_true(is_cut(&slow));
    raw_close(&slow);
}

SERVER_CASE_WITH(test_full_memory, o.max_memory = 4 << 20)
{
    char line[1000], name[801] = "";
    memset(name, 'n', 800);
    raw r = open_one();
    int i = 0;
    do
        snprintf(line, sizeof line, "%s %d%s", i % 2 != 0 ? "SUBSCRIBE" : "PSUBSCRIBE", i, name);
    while (ask(&r, line)[0] == '*' && ++i < 10000);
    assert_in_range(i, 2000, 5000);
    // They are taken away still, and messages are sent.
    assert_int_equal(ask(&c, "SUBSCRIBE another")[0], '-');
    says(&c, "PUBLISH a b", ":0\r\n");
    snprintf(line, sizeof line, "UNSUBSCRIBE 1%s", name);
    assert_int_equal(ask(&r, line)[0], '*');
    raw_close(&r);
    assert_true(wait_clients(&c, 1));
    assert_int_equal(ask(&c, "SUBSCRIBE another")[0], '*');
    says(&c, "UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$7\r\nanother\r\n:0\r\n");
    assert_true(wait_memory(&c, 1 << 20));
}

// Many of each: joining, leaving and the end take a time that does not grow with all of them.
SERVER_CASE(test_many_subscriptions)
{
    enum { PEERS = 100, EACH = 200, CHANNELS = 20000 };
    static raw peers[PEERS];
    char line[100];
    long long before = memory_in_use(&c);
    raw one = open_one();
    for (int i = 0; i < CHANNELS; i++) {
        snprintf(line, sizeof line, "SUBSCRIBE c%d", i);
        assert_int_equal(ask(&one, line)[0], '*');
    }
    for (int i = 0; i < PEERS; i++) {
        peers[i] = open_one();
        for (int k = 0; k < EACH; k++) {
            snprintf(line, sizeof line, "PSUBSCRIBE p%d", k);
            assert_int_equal(ask(&peers[i], line)[0], '*');
        }
    }
    says(&c, "PUBLISH p7 x", ":100\r\n");
    says(&c, "PUBSUB NUMPAT", ":200\r\n");
    assert_int_equal(field_number(ask(&c, "INFO stats"), "pubsub_channels:"), CHANNELS);
    for (int i = 0; i < PEERS; i++)
        raw_close(&peers[i]);
    raw_text(&one, "UNSUBSCRIBE\r\n");
    for (int i = 0; i < CHANNELS; i++)
        assert_int_equal(reply(&one)[0], '*');
    raw_close(&one);
    assert_true(wait_clients(&c, 1));
    says(&c, "PUBSUB NUMPAT", ":0\r\n");
    assert_true(wait_memory(&c, before + 100000));
}

SERVER_CASE(test_client_list_and_kill)
{
    raw r = subscriber("HELLO 3");
    ask(&r, "PSUBSCRIBE a b");
    assert_int_equal(reply(&r)[0], '>');
    const char *list = ask(&c, "CLIENT LIST TYPE pubsub");
    assert_int_equal(field_number(list, " sub="), 1);
    assert_int_equal(field_number(list, " psub="), 2);
    assert_non_null(strstr(list, "flags=PU "));
    assert_null(strstr(ask(&c, "CLIENT LIST TYPE normal"), "flags=P"));
    says(&c, "CLIENT KILL TYPE pubsub", ":1\r\n");
    assert_true(is_cut(&r));
    raw_close(&r);
}

// An end while messages are on their way, and names with any byte.
SERVER_CASE(test_ends_and_odd_names)
{
    static const char odd[] = "*4\r\n$9\r\nSUBSCRIBE\r\n$0\r\n\r\n$3\r\n\0\r\n\r\n$1\r\nx\r\n";
    for (int i = 0; i < 200; i++) {
        raw r = open_one();
        raw_send(&r, odd, sizeof odd - 1);
        if (i % 2 == 0)
            for (int k = 0; k < 3; k++)
                assert_int_equal(reply(&r)[0], '*');
        raw_text(&c, "PUBLISH x y\r\n*3\r\n$7\r\nPUBLISH\r\n$0\r\n\r\n$1\r\nz\r\n");
        raw_close(&r);
        assert_int_equal(reply(&c)[0], ':');
        assert_int_equal(reply(&c)[0], ':');
    }
    assert_true(wait_clients(&c, 1));
    says(&c, "PUBSUB CHANNELS", "*0\r\n");
}

RUN_SERVER_CASES()
