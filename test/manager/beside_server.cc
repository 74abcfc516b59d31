// CONFIG, CLIENT PAUSE, OBJECT, MEMORY, WAIT and COMMAND's filters beside redis-server 7.0: the
// same lines, the same replies.
#include "beside_two.h"

static void open_empty(void)
{
    open_all();
    same("FLUSHALL");
}

BESIDE_CASE(test_config_set, open_empty())
{
    all_same({"CONFIG SET maxmemory",
              "CONFIG SET a b c",
              "CONFIG SET nosuch 1",
              "CONFIG SET maxmemory abc",
              "CONFIG SET maxmemory -1",
              "CONFIG SET maxmemory 1.5mb",
              "CONFIG SET maxmemory 10xb",
              "CONFIG SET maxmemory 1kb",
              "CONFIG GET maxmemory",
              "CONFIG SET maxmemory 10M",
              "CONFIG GET maxmemory",
              "CONFIG SET MAXMEMORY 1GB",
              "CONFIG GET maxmemory",
              "CONFIG SET maxmemory ",
              "CONFIG GET maxmemory",
              "CONFIG SET maxmemory 1000 maxmemory 2000",
              "CONFIG SET maxmemory 100mb databases 3",
              "CONFIG SET databases 1 maxmemory abc",
              "CONFIG SET nosuch 1 maxmemory 100mb",
              "CONFIG SET maxmemory abc databases 1",
              "CONFIG SET maxmemory 100mb timeout -1",
              "CONFIG GET maxmemory",
              "CONFIG SET timeout abc",
              "CONFIG SET timeout -1",
              "CONFIG SET timeout ",
              "CONFIG SET timeout 99999999999",
              "CONFIG SET timeout 1000 maxmemory 200mb",
              "CONFIG GET timeout",
              "CONFIG GET maxmemory",
              "CONFIG SET timeout 0 maxmemory 0",
              "CONFIG SET maxclients 0",
              "CONFIG SET maxclients x",
              "CONFIG SET maxclients 2000",
              "CONFIG GET maxclients",
              "CONFIG SET appendonly maybe",
              "CONFIG SET appendonly no",
              "CONFIG SET unixsocket x",
              "CONFIG SET maxmemory-policy noeviction",
              "CONFIG SET hash-max-listpack-entries abc",
              "CONFIG SET hash-max-ziplist-entries 10",
              "CONFIG GET hash-max-listpack-entries",
              "CONFIG SET hash-max-listpack-entries 512",
              "CONFIG SET list-max-ziplist-size 16 list-compress-depth 2",
              "CONFIG SET list-compress-depth -1",
              "CONFIG SET list-max-listpack-size x",
              "CONFIG SET list-max-listpack-size -2 list-compress-depth 0",
              "CONFIG SET lua-time-limit -1",
              "CONFIG SET lua-time-limit 10",
              "CONFIG GET busy-reply-threshold",
              "CONFIG SET busy-reply-threshold 5000",
              "CONFIG SET notify-keyspace-events ",
              "CONFIG GET notify-keyspace-events",
              "CONFIG REWRITE",
              "CONFIG RESETSTAT",
              "CONFIG RESETSTAT x",
              "CONFIG REWRITE x"});
}

BESIDE_CASE(test_client_errors, open_empty())
{
    all_same({"CLIENT PAUSE",
              "CLIENT PAUSE abc",
              "CLIENT PAUSE -1",
              "CLIENT PAUSE abc foo",
              "CLIENT PAUSE 1 foo",
              "CLIENT PAUSE 1 all x",
              "CLIENT UNPAUSE",
              "CLIENT UNPAUSE 1",
              "CLIENT GETREDIR",
              "CLIENT GETREDIR x",
              "CLIENT NO-EVICT x",
              "CLIENT NO-EVICT on",
              "CLIENT NO-EVICT",
              "CLIENT PAUSE 99999999999999999999",
              "OBJECT",
              "MEMORY",
              "OBJECT ENCODING",
              "OBJECT NOSUCH k",
              "MEMORY NOSUCH",
              "CLIENT NOSUCH"});
}

static bool answers_within(raw *c, int ms)
{
    size_t n;
    return raw_next(c, &n, weft_in_ms(ms)) != nullptr;
}

BESIDE_CASE(test_pause_writes, open_empty())
{
    for (int k = 0; k < SIDES; k++) {
        says(&one[k], "CLIENT PAUSE 100000 WRITE", "+OK\r\n");
        raw_ask(&two[k], "SET k v");
        raw_ask(&two[k], "GET k");
        assert_true(wait_blocked(&one[k], 1));
        says(&one[k], "GET k", "$-1\r\n"); // reads go on
        assert_false(answers_within(&two[k], 20));
        long long id = ask_number(&one[k], "CLIENT ID");
        char line[64];
        snprintf(line, sizeof line, "CLIENT UNBLOCK %lld", id);
        says(&one[k], line, ":0\r\n");
        says(&one[k], "CLIENT UNPAUSE", "+OK\r\n");
        assert_string_equal(reply(&two[k]), "+OK\r\n");
        assert_string_equal(reply(&two[k]), "$1\r\nv\r\n");
    }
}

BESIDE_CASE(test_pause_ends, open_empty())
{
    for (int k = 0; k < SIDES; k++) {
        weft_deadline begun = weft_now();
        says(&one[k], "CLIENT PAUSE 150", "+OK\r\n");
        raw_text(&two[k], "*1\r\n$4\r\nPI");
        raw_text(&two[k], "NG\r\nPING\r\n");
        assert_string_equal(reply(&two[k]), "+PONG\r\n");
        assert_string_equal(reply(&two[k]), "+PONG\r\n");
        assert_true(weft_now() - begun >= 150 * 1000000);
    }
}

// One that left while it was paused, and one that was killed, have done nothing.
BESIDE_CASE(test_pause_and_end, open_empty())
{
    for (int k = 0; k < SIDES; k++) {
        raw gone;
        raw_open(&gone, address_of[k]);
        says(&one[k], "CLIENT PAUSE 100000 WRITE", "+OK\r\n");
        raw_ask(&gone, "SET gone v");
        assert_true(wait_blocked(&one[k], 1));
        raw_close(&gone);
        assert_true(wait_blocked(&one[k], 0));
        says(&one[k], "CLIENT UNPAUSE", "+OK\r\n");
        says(&one[k], "EXISTS gone", ":0\r\n");
    }
}

// What writes only when it is executed, what tells others, and a line with quotes.
BESIDE_CASE(test_pause_others, open_empty())
{
    for (int k = 0; k < SIDES; k++) {
        says(&two[k], "MULTI", "+OK\r\n");
        says(&two[k], "SET k v", "+QUEUED\r\n");
        for (const char *line : {"EXEC\r\n", "PUBLISH c m\r\n", "SET \"a b\" \"c\\x41\"\r\n"}) {
            says(&one[k], "CLIENT PAUSE 100000 WRITE", "+OK\r\n");
            raw_text(&two[k], line);
            assert_true(wait_blocked(&one[k], 1));
            says(&one[k], "CLIENT UNPAUSE", "+OK\r\n");
            assert_int_not_equal(reply(&two[k])[0], '-');
        }
        raw_text(&two[k], "GET \"a b\"\r\n");
        assert_string_equal(reply(&two[k]), "$2\r\ncA\r\n");
    }
}

static long long idle_of(raw *c, long long id)
{
    char line[64];
    snprintf(line, sizeof line, "CLIENT LIST ID %lld", id);
    return field_number(ask(c, line), " idle=");
}

// Who waits is not idle, whether for a reply or for messages.
BESIDE_CASE(test_idle, open_empty())
{
    for (int k = 0; k < SIDES; k++) {
        raw idle, listens;
        long long id = ask_number(&two[k], "CLIENT ID");
        raw_ask(&two[k], "BLPOP list 0");
        raw_open(&listens, address_of[k]);
        assert_int_equal(ask(&listens, "SUBSCRIBE c")[0], '*');
        raw_open(&idle, address_of[k]);
        while (idle_of(&one[k], id) < 2)
            usleep(10000);
        says(&one[k], "RPUSH list a", ":1\r\n");
        assert_int_equal(reply(&two[k])[0], '*');
        assert_true(idle_of(&one[k], id) < 2);
        says(&one[k], "CONFIG SET timeout 1", "+OK\r\n");
        while (!raw_ended(&idle, weft_in_ms(10)))
            says(&one[k], "PING", "+PONG\r\n");
        says(&one[k], "CONFIG SET timeout 0", "+OK\r\n");
        says(&one[k], "PUBLISH c m", ":1\r\n");
        raw_close(&idle);
        raw_close(&listens);
    }
}

static char lines[40][400];

BESIDE_CASE(test_object_encoding, open_empty())
{
    static const char x44[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    int n = 0;
    for (const char *line :
         {"SET k 1", "SET k -9223372036854775808", "SET k 9223372036854775808", "SET k 01",
          "SET k ", "SET k hello", "SET k", "RPUSH l a", "HSET h f v", "HSET h f 12"})
        strcpy(lines[n++], line);
    snprintf(lines[n++], sizeof *lines, "SET k %s", x44);
    snprintf(lines[n++], sizeof *lines, "SET k %sx", x44);
    snprintf(lines[n++], sizeof *lines, "HSET h2 f %s%s", x44, x44);
    snprintf(lines[n++], sizeof *lines, "HSET h3 %s%s v", x44, x44);
    for (int i = 0; i < n; i++) {
        same(lines[i]);
        for (const char *key : {"k", "l", "h", "h2", "h3"}) {
            char line[64];
            snprintf(line, sizeof line, "OBJECT ENCODING %s", key);
            same(line);
        }
    }
    for (int i = 0; i < 513; i++) {
        char line[64];
        snprintf(line, sizeof line, "HSET many f%d v", i);
        same(line);
        if (i >= 510)
            same("OBJECT ENCODING many");
    }
    same("CONFIG SET hash-max-ziplist-value 3");
    same("HSET small f four");
    same("OBJECT ENCODING small");
    same("CONFIG SET hash-max-ziplist-value 64");
    all_same({"OBJECT REFCOUNT nosuch", "OBJECT FREQ nosuch", "OBJECT FREQ k",
              "OBJECT IDLETIME nosuch", "OBJECT ENCODING k x"});
}

BESIDE_CASE(test_memory_and_wait, open_empty())
{
    same("SET a 1");
    all_same({"MEMORY USAGE nosuch", "MEMORY USAGE a SAMPLES", "MEMORY USAGE a SAMPLES x",
              "MEMORY USAGE a SAMPLES -1", "MEMORY USAGE a FOO 1", "MEMORY USAGE", "MEMORY PURGE",
              "WAIT 1 10", "WAIT 0 0", "WAIT a 0", "WAIT 0 a", "WAIT -1 0", "WAIT 0 -1",
              "WAIT 1 99999999999999999999", "WAIT 1"});
    assert_true(ask_number(&one[OURS], "MEMORY USAGE a") > 16);
}

BESIDE_CASE(test_command_keys, open_empty())
{
    all_same({"COMMAND GETKEYS",
              "COMMAND GETKEYS GET",
              "COMMAND GETKEYS GET a",
              "COMMAND GETKEYS GET a b",
              "COMMAND GETKEYS NOSUCH a",
              "COMMAND GETKEYS PING",
              "COMMAND GETKEYS PING a",
              "COMMAND GETKEYS MSET a b c d",
              "COMMAND GETKEYS MSET a b c",
              "COMMAND GETKEYS CONFIG GET a",
              "COMMAND GETKEYS MEMORY USAGE k",
              "COMMAND GETKEYS OBJECT ENCODING k",
              "COMMAND GETKEYS CLIENT FOO",
              "COMMAND GETKEYS BLPOP a b 0",
              "COMMAND GETKEYS DEL a b c",
              "COMMAND GETKEYS LMOVE a b LEFT LEFT",
              "COMMAND LIST FILTERBY",
              "COMMAND LIST FOO BAR",
              "COMMAND LIST FILTERBY FOO BAR",
              "COMMAND LIST FILTERBY MODULE foo",
              "COMMAND LIST FILTERBY PATTERN x y",
              "COMMAND LIST FILTERBY PATTERN set",
              "COMMAND LIST FILTERBY PATTERN GE[T]",
              "COMMAND LIST FILTERBY ACLCAT nosuch",
              "COMMAND LIST FILTERBY PATTERN nosuch*",
              "COMMAND LIST FOO",
              "COMMAND INFO get|key",
              "COMMAND INFO config|get|key",
              "COMMAND INFO nosuch"});
    // With their subcommands.
    const char *r = ask(&one[OURS], "COMMAND LIST FILTERBY PATTERN c*");
    for (const char *name : {"\r\nclient\r\n", "\r\nclient|pause\r\n", "\r\nconfig|resetstat\r\n"})
        assert_non_null(strstr(r, name));
    r = ask(&one[OURS], "COMMAND LIST FILTERBY MODULE weft");
    assert_non_null(strstr(r, "\r\nweft.lock\r\n"));
    assert_null(strstr(r, "\r\nget\r\n"));
}

// The line that the suite of Redis looks for: qbuf is what it takes to ask.
BESIDE_CASE(test_client_list_shows_the_request, open_empty())
{
    for (int k = 0; k < SIDES; k++) {
        const char *r = ask(&one[k], "CLIENT INFO");
        assert_int_equal(field_number(r, " qbuf="), 26);
        assert_int_equal(field_number(r, " argv-mem="), 10);
        assert_int_equal(field_number(r, " obl="), 0);
        assert_non_null(strstr(r, " cmd=client|info "));
        ask(&one[k], "CLIENT NO-EVICT ON");
        assert_non_null(strstr(ask(&one[k], "CLIENT INFO"), " flags=Ue"));
        ask(&one[k], "CLIENT NO-EVICT OFF");
    }
}

RUN_CASES(beside_begin, beside_end)
