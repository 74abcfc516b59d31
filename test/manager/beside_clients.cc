// CLIENT, AUTH, HELLO, INFO, CONFIG and the like beside redis-server 7.0, as far as clients rely
// on them: the same replies, and of tables the same lines.
#include "beside_two.h"

// ---- Fields ----

// The value of a field of a line such as "id=3 name= db=0", into `value`; false: there is none.
static bool field_of(const char *text, const char *field, char value[64])
{
    char name[32];
    snprintf(name, sizeof name, " %s=", field);
    const char *p = strstr(text, name);
    if (p == nullptr)
        return false;
    p += strlen(name);
    snprintf(value, 64, "%.*s", (int)strcspn(p, " \r\n"), p);
    return true;
}

static void same_field(const char *a, const char *b, const char *field, bool same_value)
{
    char x[64] = "", y[64] = "";
    if (field_of(a, field, x) != field_of(b, field, y) || (same_value && strcmp(x, y) != 0))
        fail_msg("%s: weft %s, redis %s; in %s", field, x, y, a);
}

BESIDE_CASE(test_client_info, open_all())
{
    same("CLIENT SETNAME somebody");
    same("SELECT 5");
    for (const char *protocol : {"HELLO 2", "HELLO 3"}) {
        for (int k = 0; k < SIDES; k++)
            ask(&one[k], protocol);
        const char *a = ask(&one[OURS], "CLIENT INFO"), *b = ask(&one[REDIS], "CLIENT INFO");
        assert_true(a[0] == b[0]);
        assert_non_null(strstr(a, "id="));
        for (const char *field : {"addr", "laddr", "fd", "age", "idle"})
            same_field(a, b, field, false);
        for (const char *field : {"name", "db", "flags", "sub", "multi", "cmd", "user", "resp"})
            same_field(a, b, field, true);
    }
}

static int lines_of(const char *text)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, "id=")) != nullptr; p++)
        n += p[-1] == '\n';
    return n;
}

BESIDE_CASE(test_client_list, open_all())
{
    char line[100];
    for (int k = 0; k < SIDES; k++) {
        long long a = ask_number(&one[k], "CLIENT ID"), b = ask_number(&two[k], "CLIENT ID");
        assert_true(a != b && a > 0 && b > a);
        says(&two[k], "CLIENT SETNAME the-other", "+OK\r\n");
        assert_int_equal(lines_of(ask(&one[k], "CLIENT LIST")), 2);
        assert_int_equal(lines_of(ask(&one[k], "CLIENT LIST TYPE normal")), 2);
        assert_int_equal(lines_of(ask(&one[k], "CLIENT LIST TYPE pubsub")), 0);
        snprintf(line, sizeof line, "CLIENT LIST ID %lld", b);
        const char *r = ask(&one[k], line);
        assert_int_equal(lines_of(r), 1);
        assert_non_null(strstr(r, "name=the-other"));
        snprintf(line, sizeof line, "CLIENT LIST ID %lld 99999999 %lld", b, a);
        assert_int_equal(lines_of(ask(&one[k], line)), 2);
    }
}

BESIDE_CASE(test_client_setname, open_all())
{
    same("CLIENT GETNAME");
    same("CLIENT SETNAME a-name");
    same("CLIENT GETNAME");
    same("HELLO 2 SETNAME");
    same("HELLO 3 AUTH x");
    for (int k = 0; k < SIDES; k++) {
        raw_text(&one[k], "CLIENT SETNAME \"a b\"\r\nCLIENT SETNAME \"\"\r\nCLIENT GETNAME\r\n");
        assert_non_null(strstr(reply(&one[k]), "-ERR Client names cannot contain"));
        assert_string_equal(reply(&one[k]), "+OK\r\n");
        assert_string_equal(reply(&one[k]), "$-1\r\n");
    }
}

// ---- Ends ----

static void is_cut(raw *c)
{
    assert_true(raw_ended(c, weft_in_s(RAW_SECONDS)));
    assert_int_equal(c->have - c->used, 0);
}

// The text after "addr=" of a CLIENT LIST line names one connection among those by TCP alone, so
// the old form of CLIENT KILL is tried with what nobody has, in beside_redis.
CASE(test_client_kill)
{
    needs_redis();
    char line[100];
    for (int k = 0; k < SIDES; k++) {
        open_all();
        long long b = ask_number(&two[k], "CLIENT ID");
        snprintf(line, sizeof line, "CLIENT KILL ID %lld", b);
        says(&one[k], line, ":1\r\n");
        is_cut(&two[k]);
        says(&one[k], line, ":0\r\n");
        long long self = ask_number(&one[k], "CLIENT ID");
        snprintf(line, sizeof line, "CLIENT KILL ID %lld SKIPME yes", self);
        says(&one[k], line, ":0\r\n");
        snprintf(line, sizeof line, "CLIENT KILL ID %lld SKIPME no", self);
        says(&one[k], line, ":1\r\n");
        is_cut(&one[k]);
        close_all();
        open_all();
        says(&one[k], "PING", "+PONG\r\n");
        says(&two[k], "PING", "+PONG\r\n");
        says(&one[k], "CLIENT KILL TYPE normal", ":1\r\n");
        is_cut(&two[k]);
        says(&one[k], "PING", "+PONG\r\n");
        close_all();
    }
}

// One that is blocked can be ended as well, and is not served any more.
BESIDE_CASE(test_client_kill_blocked, open_all())
{
    char line[100];
    for (int k = 0; k < SIDES; k++) {
        says(&one[k], "FLUSHALL", "+OK\r\n");
        snprintf(line, sizeof line, "CLIENT KILL ID %lld", ask_number(&two[k], "CLIENT ID"));
        raw_ask(&two[k], "BLPOP a 0");
        assert_true(wait_blocked(&one[k], 1));
        says(&one[k], line, ":1\r\n");
        is_cut(&two[k]);
        assert_true(wait_blocked(&one[k], 0));
        says(&one[k], "RPUSH a x", ":1\r\n");
        says(&one[k], "LLEN a", ":1\r\n");
    }
}

BESIDE_CASE(test_client_reply, open_all())
{
    for (int k = 0; k < SIDES; k++) {
        raw *c = &one[k];
        raw_text(c, "CLIENT REPLY OFF\r\nPING\r\nNOSUCH\r\nCLIENT REPLY SKIP\r\n"
                    "CLIENT REPLY ON\r\nECHO on\r\n");
        assert_string_equal(reply(c), "+OK\r\n");
        assert_string_equal(reply(c), "$2\r\non\r\n");
        raw_text(c, "CLIENT REPLY SKIP\r\nECHO skipped\r\nECHO seen\r\n");
        assert_string_equal(reply(c), "$4\r\nseen\r\n");
        raw_text(c, "CLIENT REPLY SKIP\r\nCLIENT REPLY SKIP\r\nECHO skipped\r\nECHO seen\r\n");
        assert_string_equal(reply(c), "$4\r\nseen\r\n");
        raw_text(&two[k], "CLIENT REPLY SKIP\r\nBLPOP unasked 0\r\nECHO seen\r\n");
        assert_true(wait_blocked(c, 1));
        says(c, "RPUSH unasked skipped", ":1\r\n");
        assert_string_equal(reply(&two[k]), "$4\r\nseen\r\n");
    }
}

CASE(test_quit)
{
    needs_redis();
    for (const char *line : {"QUIT", "quit now"}) {
        open_all();
        for (int k = 0; k < SIDES; k++) {
            raw_ask(&one[k], "PING");
            raw_ask(&one[k], line);
            raw_ask(&one[k], "PING");
            assert_string_equal(reply(&one[k]), "+PONG\r\n");
        }
        assert_string_equal(reply(&one[OURS]), reply(&one[REDIS]));
        for (int k = 0; k < SIDES; k++)
            is_cut(&one[k]);
        close_all();
    }
}

BESIDE_CASE(test_reset, open_all())
{
    for (int k = 0; k < SIDES; k++)
        ask(&one[k], "HELLO 3 SETNAME me");
    all_same({"FLUSHALL", "SELECT 3", "SET here 1", "GET nothing", "CLIENT GETNAME", "RESET",
              "GET nothing", "CLIENT GETNAME", "EXISTS here", "RESET x"});
}

// ---- What clients ask when they connect ----

BESIDE_CASE(test_info, open_all())
{
    same("FLUSHALL");
    same("SET k v");
    same("SET k2 v EX 1000");
    same("INFO nosuch");
    for (const char *line : {"INFO", "INFO all", "INFO default", "INFO everything"}) {
        const char *a = ask(&one[OURS], line), *b = ask(&one[REDIS], line);
        assert_true(a[0] == '$');
        // clang-format off
        for (const char *field : {
              "\r\n# Server\r\n", "\r\nredis_version:7.", "\r\nredis_mode:standalone\r\n",
              "\r\nos:Linux", "\r\nprocess_id:", "\r\ntcp_port:", "\r\nuptime_in_seconds:",
              "# Clients\r\n", "\r\nconnected_clients:2\r\n", "\r\nblocked_clients:0\r\n",
              "\r\nmaxclients:", "# Memory\r\n", "\r\nused_memory:", "\r\nused_memory_human:",
              "\r\nused_memory_rss:", "\r\nmaxmemory:0\r\n", "# Stats\r\n",
              "\r\ntotal_connections_received:", "\r\ntotal_commands_processed:",
              "\r\nexpired_keys:", "\r\nkeyspace_hits:", "\r\nkeyspace_misses:",
              "# Replication\r\n", "\r\nrole:master\r\n", "\r\nconnected_slaves:0\r\n",
              "# Keyspace\r\n", "\r\ndb0:keys=2,expires=1,avg_ttl="})
            // clang-format on
            if ((strstr(a, field) == nullptr) != (strstr(b, field) == nullptr))
                fail_msg("%s: %s is in one alone: %s", line, field, a);
    }
    for (const char *line : {"INFO clients", "INFO Keyspace memory"}) {
        const char *a = ask(&one[OURS], line);
        assert_null(strstr(a, "# Server"));
        assert_true(strstr(a, "# Clients") != nullptr || strstr(a, "# Keyspace") != nullptr);
    }
}

BESIDE_CASE(test_config_get, open_all())
{
    all_same({"CONFIG GET save", "CONFIG GET appendonly", "CONFIG GET databases",
              "CONFIG GET nosuch", "CONFIG GET maxmemory", "CONFIG GET nosuch*",
              "CONFIG GET appendonl[y]", "CONFIG NOSUCH", "CONFIG GET", "CONFIG"});
    for (int k = 0; k < SIDES; k++)
        ask(&one[k], "HELLO 3");
    same("CONFIG GET save");
    same("CONFIG GET nosuch");
}

// Name, arity, and where the keys are: what a client that shards or retries looks at.
BESIDE_CASE(test_command_info, open_all())
{
    static const char *const names[] = {
        "ping",    "echo",   "auth",   "hello",   "select", "quit",     "reset",    "del",
        "exists",  "type",   "expire", "pexpire", "ttl",    "pttl",     "persist",  "keys",
        "scan",    "dbsize", "get",    "set",     "getdel", "mget",     "mset",     "incr",
        "decr",    "incrby", "decrby", "append",  "strlen", "lpush",    "rpush",    "lpop",
        "rpop",    "llen",   "lrange", "lindex",  "lset",   "lrem",     "lmove",    "blpop",
        "brpop",   "blmove", "hset",   "hget",    "hmget",  "hdel",     "hlen",     "hexists",
        "hgetall", "hkeys",  "hvals",  "hincrby", "info",   "shutdown", "flushall", "command",
        "client",  "config", "unlink", "flushdb"};
    same("COMMAND INFO nosuch");
    same("COMMAND NOSUCH");
    assert_true(ask_number(&one[OURS], "COMMAND COUNT") > (int)(sizeof names / sizeof *names));
    for (const char *name : names) {
        char line[64], text[SIDES][200];
        snprintf(line, sizeof line, "COMMAND INFO %s", name);
        for (int k = 0; k < SIDES; k++) {
            // "*1 *10 $3 get :2 *2 +readonly +fast :1 :1 :1 ...": without the flags.
            const char *r = ask(&one[k], line), *p = r;
            int head = 0;
            for (int lines = 0; lines < 5 && p != nullptr; lines++)
                p = strchr(p, '\n') + 1;
            head = (int)(p - strchr(strchr(r, '\n') + 1, '\n')) - 1;
            const char *arity_ends = p;
            int flags = atoi(arity_ends + 1);
            for (int lines = 0; lines <= flags; lines++)
                p = strchr(p, '\n') + 1;
            const char *keys = p;
            for (int lines = 0; lines < 3; lines++)
                p = strchr(p, '\n') + 1;
            snprintf(text[k], sizeof text[k], "%.*s%.*s", head,
                     strchr(strchr(r, '\n') + 1, '\n') + 1, (int)(p - keys), keys);
        }
        assert_string_equal(text[OURS], text[REDIS]);
    }
}

// ---- Passwords: servers of their own ----

static void one_is(const char *line)
{
    raw_close(&one[OURS]);
    raw_close(&one[REDIS]);
    for (int k = 0; k < SIDES; k++)
        raw_open(&one[k], address_of[k]);
    same(line);
}

// The last: it ends the servers that the others had.
CASE(test_password)
{
    needs_redis();
    open_all();
    same("AUTH anything");
    same("AUTH default anything");
    same("AUTH other anything");
    close_all();
    beside_end(nullptr);
    assert_int_equal(beside_open("the secret"), 0);
    open_all();
    all_same({"GET k", "PING", "NOSUCH x", "GET", "SELECT 1", "CLIENT ID", "ECHO x", "HELLO",
              "HELLO 2", "HELLO 3", "HELLO 4", "COMMAND COUNT", "RESET", "AUTH", "AUTH a b c",
              "AUTH wrong", "AUTH other wrong", "PING"});
    one_is("HELLO 3 AUTH default wrong");
    same("HELLO 3 AUTH default");
    same("PING");
    for (int k = 0; k < SIDES; k++) {
        raw_text(&one[k], "AUTH \"the secret\"\r\nPING\r\nRESET\r\nPING\r\n"
                          "AUTH default \"the secret\"\r\nPING\r\n");
        for (const char *expected : {"+OK\r\n", "+PONG\r\n", "+RESET\r\n"})
            assert_string_equal(reply(&one[k]), expected);
        assert_non_null(strstr(reply(&one[k]), "-NOAUTH Authentication required."));
        assert_string_equal(reply(&one[k]), "+OK\r\n");
        assert_string_equal(reply(&one[k]), "+PONG\r\n");
        raw_text(&two[k], "HELLO 3 AUTH default \"the secret\" SETNAME me\r\nGET k\r\n");
        assert_int_equal(reply(&two[k])[0], '%');
        assert_string_equal(reply(&two[k]), "_\r\n");
    }
    one_is("QUIT");
    close_all();
    beside_end(nullptr);
}

RUN_CASES(beside_begin, beside_end)
