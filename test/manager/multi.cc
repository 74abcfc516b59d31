// Transactions of weft's server: its own commands in them, their memory, and what they leave.
#include "served.h"

// None of them waits: it is as if the time were out at once.
SERVER_CASE(test_own_commands_do_not_wait)
{
    raw other = open_one();
    says(&other, "WEFT.LOCK lock 0", ":1\r\n");
    says(&other, "WEFT.SEMAPHORE units 0", ":0\r\n");
    says(&other, "WEFT.PUT full 1 0 v", ":1\r\n");
    executes(&c,
             {"WEFT.LOCK lock -1", "WEFT.ACQUIRE units 100000", "WEFT.GET empty -1",
              "WEFT.PUT full 1 -1 w", "WEFT.JOIN full -1", "WEFT.WAIT event -1",
              "WEFT.BARRIER b 2 -1"},
             "*7\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n");
    assert_int_equal(blocked_clients(&c), 0);
    says(&other, "WEFT.UNLOCK lock", ":0\r\n");
    executes(&c, {"WEFT.LOCK lock -1", "WEFT.GET full -1", "WEFT.PUT empty 0 -1 x"},
             "*3\r\n:2\r\n$1\r\nv\r\n:1\r\n");
    raw_close(&other);
}

// A lease lasts until the next command after EXEC.
SERVER_CASE(test_an_item_that_was_got_comes_back)
{
    raw other = open_one();
    says(&c, "RPUSH q item", ":1\r\n");
    executes(&other, {"WEFT.GET q 0", "PING"}, "*2\r\n$4\r\nitem\r\n+PONG\r\n");
    raw_close(&other);
    assert_true(wait_clients(&c, 1));
    says(&c, "LRANGE q 0 -1", "*1\r\n$4\r\nitem\r\n");
}

// Who waits in a WEFT.GET is served when all has run.
SERVER_CASE(test_getters_are_served_afterwards)
{
    raw other = open_one();
    blocks(&other, "WEFT.GET q -1");
    executes(&c, {"WEFT.PUT q 0 0 first", "DEL q", "WEFT.PUT q 0 0 second"},
             "*3\r\n:1\r\n:1\r\n:1\r\n");
    assert_string_equal(reply(&other), "$6\r\nsecond\r\n");
    raw_close(&other);
}

// Who waits for the list that was made first is served first: taking from a list, or leaving one,
// gives it no turn.
SERVER_CASE(test_lists_have_turns_as_they_are_made)
{
    raw of_c = open_one(), of_both = open_one(), from_b = open_one(), last = open_one();
    blocks(&of_c, "BLMOVE c d LEFT LEFT 0");
    blocks(&of_both, "BLPOP c a 0", 2);
    blocks(&from_b, "BRPOPLPUSH b a 0", 3);
    blocks(&last, "BRPOPLPUSH b c 0", 4);
    executes(&c, {"RPUSH c 1", "RPUSH b 2 3"}, "*2\r\n:1\r\n:2\r\n");
    assert_string_equal(reply(&of_c), "$1\r\n1\r\n");
    assert_string_equal(reply(&from_b), "$1\r\n3\r\n");
    assert_string_equal(reply(&last), "$1\r\n2\r\n");
    assert_string_equal(reply(&of_both), "*2\r\n$1\r\na\r\n$1\r\n3\r\n");
    raw *all[] = {&of_c, &of_both, &from_b, &last};
    for (raw *r : all)
        raw_close(r);
}

SERVER_CASE_WITH(test_full_memory, o.max_memory = 4 << 20)
{
    raw other = open_one();
    says(&c, "MULTI", "+OK\r\n");
    says(&c, "SET x 1", "+QUEUED\r\n");
    raw second = open_one();
    says(&second, "MULTI", "+OK\r\n");
    says(&second, "GET x", "+QUEUED\r\n");
    char value[10000] = {};
    do
        raw_set(&other, "RPUSH", value, sizeof value);
    while (reply(&other)[0] == ':');
    // By more than what waits and is queued takes.
    says(&other, "CONFIG SET maxmemory 3000000", "+OK\r\n");
    static const char oom[] = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    // What only reads runs, what adds does not; and nothing is queued.
    says(&second, "EXEC", "*1\r\n$-1\r\n");
    says(&c, "EXEC",
         "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > "
         "'maxmemory'.\r\n");
    says(&c, "EXEC", "-ERR EXEC without MULTI\r\n");
    says(&c, "WATCH x", oom);
    says(&c, "MULTI", "+OK\r\n");
    says(&c, "GET x", oom);
    says(&c, "EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
    says(&c, "MULTI", "+OK\r\n");
    says(&c, "GET x", oom);
    says(&c, "DISCARD", "+OK\r\n");
    says(&other, "DEL big", ":1\r\n");
    says(&c, "SET x 1", "+OK\r\n");
    raw_close(&second);
    raw_close(&other);
}

// All of a transaction is no longer than one command may be.
SERVER_CASE_WITH(test_its_length, o.max_message = 100000)
{
    static const char failed[] = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    char value[30000] = {};
    says(&c, "MULTI", "+OK\r\n");
    for (int i = 0; i < 3; i++) {
        raw_set(&c, "SET", value, sizeof value);
        assert_string_equal(reply(&c), "+QUEUED\r\n");
    }
    raw_set(&c, "SET", value, sizeof value);
    assert_string_equal(reply(&c), "-ERR the transaction is longer than a command may be\r\n");
    says(&c, "PING", "+QUEUED\r\n");
    says(&c, "EXEC", failed);
    says(&c, "EXISTS big", ":0\r\n");
}

// Nothing is left of transactions and watches, however they end.
SERVER_CASE(test_memory_is_given_back)
{
    char line[100], value[10000] = {};
    ask(&c, "SET k v");
    raw one = open_one();
    says(&one, "PING", "+PONG\r\n");
    long long before = memory_in_use(&c);
    for (int i = 0; i < 1000; i++) {
        snprintf(line, sizeof line, "WATCH a-key-of-some-length-%d k other-%d", i, i);
        says(&one, line, "+OK\r\n");
    }
    says(&one, "MULTI", "+OK\r\n");
    raw_set(&one, "SET", value, sizeof value);
    assert_string_equal(reply(&one), "+QUEUED\r\n");
    assert_true(memory_in_use(&c) > before + 200000);
    says(&one, "DISCARD", "+OK\r\n");
    assert_true(wait_memory(&c, before + 5000));
    says(&one, "WATCH k", "+OK\r\n");
    says(&one, "MULTI", "+OK\r\n");
    raw_set(&one, "SET", value, sizeof value);
    assert_string_equal(reply(&one), "+QUEUED\r\n");
    raw_close(&one);
    assert_true(wait_clients(&c, 1));
    says(&c, "SET k w", "+OK\r\n");
    assert_true(wait_memory(&c, before + 1000));
}

// Many who watch many keys: an end, and a flush, take no time that grows with both.
SERVER_CASE(test_many_watches)
{
    enum { MANY = 20000, PEERS = 20 };
    static raw peers[PEERS];
    char line[64];
    for (int i = 0; i < PEERS; i++) {
        peers[i] = open_one();
        for (int k = 0; k < MANY / PEERS; k++) {
            snprintf(line, sizeof line, "WATCH all k%d", i * (MANY / PEERS) + k);
            says(&peers[i], line, "+OK\r\n");
        }
        says(&peers[i], "MULTI", "+OK\r\n");
    }
    says(&c, "SET k5 v", "+OK\r\n");
    says(&c, "FLUSHALL", "+OK\r\n");
    for (int i = 0; i < PEERS; i++) {
        says(&peers[i], "EXEC", i == 0 ? "*-1\r\n" : "*0\r\n");
        raw_close(&peers[i]);
    }
    assert_true(wait_clients(&c, 1));
}

// CLIENT LIST tells how many are queued, and what became of a watch.
SERVER_CASE(test_client_list)
{
    raw other = open_one();
    says(&c, "WATCH k", "+OK\r\n");
    says(&c, "MULTI", "+OK\r\n");
    says(&c, "PING", "+QUEUED\r\n");
    says(&c, "PING", "+QUEUED\r\n");
    const char *list = ask(&other, "CLIENT LIST");
    assert_non_null(strstr(list, " flags=xU "));
    assert_int_equal(field_number(list, "multi="), 2);
    says(&other, "SET k v", "+OK\r\n");
    assert_non_null(strstr(ask(&other, "CLIENT LIST"), " flags=xdU "));
    says(&c, "EXEC", "*-1\r\n");
    assert_int_equal(field_number(ask(&c, "CLIENT LIST"), "multi="), -1);
    raw_close(&other);
}

RUN_SERVER_CASES()
