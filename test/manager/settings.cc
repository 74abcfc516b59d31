// What CONFIG SET changes holds from then on; CLIENT SETINFO; what INFO counts.
#include "served.h"

SERVER_CASE(test_max_memory_is_set)
{
    all_say(&c, {"SET k v", "CONFIG SET maxmemory 1"}, "+OK\r\n");
    says(&c, "SET k v", "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    says(&c, "GET k", "$1\r\nv\r\n");
    all_say(&c, {"CONFIG SET maxmemory 0", "SET k v"}, "+OK\r\n");
}

// Who is blocked is not idle.
SERVER_CASE(test_timeout)
{
    raw idle = open_one(), blocked = open_one();
    says(&idle, "PING", "+PONG\r\n");
    blocks(&blocked, "BLPOP l 0");
    says(&c, "CONFIG SET timeout 1", "+OK\r\n");
    assert_true(wait_clients(&c, 2));
    assert_true(is_cut(&idle));
    says(&c, "CONFIG SET timeout 0", "+OK\r\n");
    says(&c, "RPUSH l v", ":1\r\n");
    assert_string_equal(reply(&blocked), "*2\r\n$1\r\nl\r\n$1\r\nv\r\n");
    raw_close(&idle);
    raw_close(&blocked);
}

SERVER_CASE(test_password_is_set)
{
    says(&c, "CONFIG SET requirepass secret", "+OK\r\n");
    says(&c, "CONFIG GET requirepass", "*2\r\n$11\r\nrequirepass\r\n$6\r\nsecret\r\n");
    raw other = open_one();
    says(&other, "PING", "-NOAUTH Authentication required.\r\n");
    says(&other, "AUTH secret", "+OK\r\n");
    says(&c, "CONFIG SET requirepass ", "+OK\r\n");
    raw_close(&other);
    other = open_one();
    says(&other, "PING", "+PONG\r\n");
    raw_close(&other);
}

// Over TCP there is always one.
CASE(test_password_over_tcp_stays)
{
    o = {};
    o.password = "secret";
    start_at("tcp:127.0.0.1:0", &o);
    says(&c, "AUTH secret", "+OK\r\n");
    assert_int_equal(ask(&c, "CONFIG SET requirepass ")[0], '-');
    says(&c, "CONFIG SET requirepass other", "+OK\r\n");
    raw other = open_one();
    says(&other, "AUTH secret",
         "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    raw_close(&other);
    stop_server();
}

// A value of just the length that it says is taken, and one of more than all is not.
SERVER_CASE_WITH(test_longest_word_is_true, o.max_message = 2 << 20)
{
    long long longest =
        field_number(ask(&c, "CONFIG GET proto-max-bulk-len"), "bulk-len\r\n$7\r\n");
    assert_true(longest > 2000000);
    round_trip((size_t)longest);
    says(&c, "CONFIG SET proto-max-bulk-len 3mb", "+OK\r\n");
    says(&c, "CONFIG GET proto-max-bulk-len",
         "*2\r\n$18\r\nproto-max-bulk-len\r\n$7\r\n3145728\r\n");
    round_trip(3 << 20);
    raw r = open_one();
    raw_text(&r, "*2\r\n$4\r\nECHO\r\n$4000000\r\n");
    assert_true(is_cut(&r));
    raw_close(&r);
}

SERVER_CASE(test_client_set_info)
{
    says(&c, "CLIENT SETINFO lib-name mine", "+OK\r\n");
    says(&c, "CLIENT SETINFO LIB-VER 1.2", "+OK\r\n");
    assert_non_null(strstr(ask(&c, "CLIENT INFO"), " lib-name=mine lib-ver=1.2\n"));
    says(&c, "CLIENT SETINFO lib-ver a\nb",
         "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n");
    says(&c, "CLIENT SETINFO lib x", "-ERR Unrecognized option 'lib'\r\n");
    says(&c, "CLIENT SETINFO lib-name ", "+OK\r\n");
    assert_non_null(strstr(ask(&c, "CLIENT INFO"), " lib-name= lib-ver=1.2\n"));
}

static long long stat_of(const char *command, const char *field)
{
    char line[64];
    const char *r = ask(&c, "INFO commandstats");
    snprintf(line, sizeof line, "\ncmdstat_%s:", command);
    r = strstr(r, line);
    return r != nullptr ? field_number(r, field) : -1;
}

SERVER_CASE(test_command_counts)
{
    says(&c, "SET k v", "+OK\r\n");
    for (int i = 0; i < 3; i++)
        ask(&c, "GET k");
    ask(&c, "INCR k");
    ask(&c, "GET");
    ask(&c, "CLIENT ID");
    raw_text(&c, "GET k\r\nGET k\r\nCLIENT ID\r\nGET k\r\n");
    for (int i = 0; i < 4; i++)
        reply(&c);
    assert_int_equal(stat_of("get", "calls="), 6);
    assert_int_equal(stat_of("get", "rejected_calls="), 1);
    assert_true(stat_of("get", "usec=") >= 1);
    assert_int_equal(stat_of("incr", "failed_calls="), 1);
    assert_int_equal(stat_of("client|id", "calls="), 2);
    assert_int_equal(stat_of("client", "calls="), -1);
    says(&c, "CONFIG RESETSTAT", "+OK\r\n");
    assert_int_equal(stat_of("get", "calls="), -1);
}

// What test suites set before anything else; nothing comes of it.
SERVER_CASE(test_what_means_nothing_is_kept)
{
    says(&c, "CONFIG SET list-max-ziplist-size 16 list-compress-depth 2", "+OK\r\n");
    says(&c, "CONFIG GET list-max-listpack-size",
         "*2\r\n$22\r\nlist-max-listpack-size\r\n$2\r\n16\r\n");
    says(&c, "CONFIG GET list-compress-depth", "*2\r\n$19\r\nlist-compress-depth\r\n$1\r\n2\r\n");
    says(&c, "CONFIG SET list-compress-depth -1",
         "-ERR CONFIG SET failed (possibly related to argument 'list-compress-depth') - argument "
         "must be between 0 and 2147483647 inclusive\r\n");
    says(&c, "CONFIG SET lua-time-limit 10", "+OK\r\n");
    says(&c, "CONFIG GET busy-reply-threshold",
         "*2\r\n$20\r\nbusy-reply-threshold\r\n$2\r\n10\r\n");
    says(&c, "CONFIG SET notify-keyspace-events ", "+OK\r\n");
    assert_int_equal(ask(&c, "CONFIG SET notify-keyspace-events KEA")[0], '-');
}

static void encodings_are(const char *h, const char *s)
{
    says(&c, "OBJECT ENCODING h", h);
    says(&c, "OBJECT ENCODING s", s);
}

// OBJECT ENCODING answers by them.
SERVER_CASE(test_sizes_of_encodings)
{
    says(&c, "HSET h f 0123456789", ":1\r\n");
    says(&c, "SADD s 1 2 3", ":3\r\n");
    encodings_are("$8\r\nlistpack\r\n", "$6\r\nintset\r\n");
    says(&c, "CONFIG SET hash-max-ziplist-value 9 set-max-intset-entries 2", "+OK\r\n");
    encodings_are("$9\r\nhashtable\r\n", "$9\r\nhashtable\r\n");
    says(&c, "CONFIG SET hash-max-listpack-value 10 hash-max-listpack-entries 0", "+OK\r\n");
    says(&c, "OBJECT ENCODING h", "$9\r\nhashtable\r\n");
}

RUN_SERVER_CASES()
