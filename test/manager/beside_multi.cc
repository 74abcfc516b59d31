// Transactions beside redis-server 7.0: MULTI, EXEC, DISCARD, WATCH and UNWATCH say the same.
#include "beside.h"

#include <initializer_list>

enum { CONNECTIONS = 3 };

static raw sides[SIDES][CONNECTIONS];

static void open_all(void)
{
    sides_open(sides[0], CONNECTIONS);
    for (int k = 0; k < SIDES; k++)
        says(&sides[k][0], "FLUSHALL", "+OK\r\n");
}

static void close_all(void)
{
    sides_close(sides[0], CONNECTIONS);
}

// A line each: which connection says what; "0: ..." also after a connection was cut and is new.
static const char *scene(std::initializer_list<const char *> lines)
{
    const char *last = "";
    for (const char *line : lines) {
        int who = line[0] - '0';
        if (strncmp(line + 2, "HELLO", 5) == 0) { // who it is is its own
            for (int k = 0; k < SIDES; k++)
                ask(&sides[k][who], line + 2);
            continue;
        }
        if (strcmp(line + 1, " again") != 0) {
            last = both_say(&sides[OURS][who], &sides[REDIS][who], line + 2);
            continue;
        }
        for (int k = 0; k < SIDES; k++) {
            raw_close(&sides[k][who]);
            raw_open(&sides[k][who], address_of[k]);
        }
    }
    return last;
}

#define SCENE_CASE(fn) BESIDE_CASE(fn, open_all())

// A key that connection 0 watches, what is done to it, and whether EXEC runs after that.
static void watched(const char *before, const char *change, bool runs)
{
    char first[100], second[100];
    snprintf(first, sizeof first, "1 %s", before);
    snprintf(second, sizeof second, "1 %s", change);
    scene({"1 FLUSHALL", "1 SELECT 0", first, "0 WATCH x", second});
    const char *r = scene({"0 MULTI", "0 PING", "0 EXEC"});
    if (strcmp(r, runs ? "*1\r\n+PONG\r\n" : "*-1\r\n") != 0)
        fail_msg("%s, then %s: %s", before, change, r);
}

SCENE_CASE(test_run_and_discard)
{
    scene({"0 MULTI", "0 SET x 1", "0 INCR x", "0 GET x", "1 GET x", "0 EXEC", "1 GET x"});
    scene({"0 MULTI", "0 SET x 9", "0 DISCARD", "0 GET x", "0 EXEC", "0 DISCARD"});
    scene({"0 MULTI", "0 EXEC", "0 MULTI", "0 MULTI", "0 WATCH x", "0 UNWATCH", "0 EXEC"});
    scene({"0 MULTI", "0 SELECT 3", "0 SET x third", "0 EXEC", "0 GET x", "1 GET x"});
}

// One that fails when it runs does not keep the others from running; one that is refused does.
SCENE_CASE(test_errors)
{
    scene({"0 SET x text", "0 MULTI", "0 INCR x", "0 LPUSH x v", "0 SET y 1", "0 EXEC", "0 GET y"});
    scene({"0 MULTI", "0 SET z 1", "0 NOSUCH a b", "0 SET z 2", "0 EXEC", "0 EXISTS z"});
    scene({"0 MULTI", "0 SET z", "0 EXEC", "0 MULTI", "0 CLIENT NOSUCH", "0 EXEC"});
    scene({"0 MULTI", "0 CLIENT ID x", "0 EXEC", "0 MULTI", "0 CONFIG", "0 EXEC"});
    scene({"0 MULTI", "0 SHUTDOWN", "0 EXEC", "0 MULTI", "0 EXEC x", "0 EXEC"});
    scene({"0 EXEC x", "0 MULTI x", "0 DISCARD x", "0 WATCH", "0 UNWATCH x", "0 EXEC"});
    scene({"0 MULTI", "0 PING a b c", "0 EXEC"});
}

SCENE_CASE(test_what_touches)
{
    watched("SET x 1", "SET x 1", false);
    watched("SET x 1", "SET y 1", true);
    watched("SET x 1", "GET x", true);
    watched("SET x 1", "DEL x", false);
    watched("SET y 1", "DEL x", true);
    watched("SET y 1", "SET x 1", false);
    watched("SET x 1", "INCR x", false);
    watched("SET x 1", "APPEND x 1", false);
    watched("SET x text", "INCR x", true);
    watched("SET x 1", "SET x 2 NX", true);
    watched("SET x 1", "GETDEL x", false);
    watched("SET x 1", "MSET y 1 x 2", false);
    watched("SET x 1", "EXPIRE x 100", false);
    watched("SET x 1", "EXPIRE x 100 XX", true);
    watched("SET x 1", "EXPIRE x 0", false);
    watched("SET x 1", "PERSIST x", true);
    watched("SET x 1 EX 100", "PERSIST x", false);
    watched("SET x 1 EX 100", "TTL x", true);
    watched("RPUSH x a b", "LPUSH x c", false);
    watched("RPUSH x a b", "RPOP x", false);
    watched("RPUSH x a b", "LPOP x 0", true);
    watched("RPUSH x a b", "LSET x 0 a", false);
    watched("RPUSH x a b", "LREM x 0 c", true);
    watched("RPUSH x a b", "LREM x 0 a", false);
    watched("RPUSH x a b", "LMOVE x x LEFT RIGHT", false);
    watched("RPUSH y a b", "LMOVE y x LEFT RIGHT", false);
    watched("RPUSH x a b", "LMOVE x y LEFT RIGHT", false);
    watched("RPUSH x a b", "BLPOP y x 0", false);
    watched("HSET x f 1", "HSET x f 1", false);
    watched("HSET x f 1", "HDEL x g", true);
    watched("HSET x f 1", "HDEL x f", false);
    watched("HSET x f 1", "HINCRBY x f 1", false);
    watched("HSET x f 1", "HGETALL x", true);
    watched("SET x 1", "FLUSHALL", false);
    watched("SET y 1", "FLUSHALL", true);
    watched("SET x 1", "SELECT 1", true);
}

// Keys of two databases change their places: what is there in either is touched by that.
SCENE_CASE(test_swap)
{
    for (const char *before : {"SET x 1", "SET y 1", "SET x 1 PX 1"})
        for (const char *other : {"SET x 2", "SET y 2", "SET x 2 PX 1"})
            for (const char *swap :
                 {"1 SWAPDB 0 1", "1 SWAPDB 1 0", "1 SWAPDB 2 1", "1 SWAPDB 0 0", "1 SWAPDB 2 3"}) {
                char first[64], second[64];
                snprintf(first, sizeof first, "1 %s", before);
                snprintf(second, sizeof second, "1 %s", other);
                scene({"1 FLUSHALL", "1 SELECT 0", first, "1 SELECT 1", second});
                usleep(5000);
                scene({"0 WATCH x", swap, "0 MULTI", "0 GET x", "0 EXEC", "0 GET x", "0 DBSIZE",
                       "1 GET x"});
            }
    scene({"0 SWAPDB a 1", "0 SWAPDB 0 b", "0 SWAPDB 0", "0 SWAPDB 0 16", "0 SWAPDB -1 0",
           "0 SWAPDB 99999999999 0", "0 SWAPDB 0 99999999999", "0 SWAPDB 1.0 0",
           "0 SWAPDB \"\" 0"});
    scene({"1 FLUSHALL", "1 SELECT 0", "1 SET x 1 EX 1000", "1 SET y 1", "1 SWAPDB 0 3",
           "1 EXPIRE x 100", "1 SELECT 3", "1 TTL x", "1 PERSIST x", "1 EXPIRE y 1000",
           "1 SWAPDB 3 4", "1 SWAPDB 4 0", "1 SELECT 0", "1 TTL y", "1 TTL x", "1 EXPIRE y 0",
           "1 DBSIZE"});
}

// What the families of sets and of newer commands change.
SCENE_CASE(test_what_else_touches)
{
    static const char *const changes[][2] = {
        {"SET x 1", "GETSET x 1"},
        {"SET x 1", "SETEX x 100 1"},
        {"SET x 1", "SETNX x 1"},
        {"SET y 1", "SETNX x 1"},
        {"SET x 1", "GETEX x"},
        {"SET x 1", "GETEX x EX 100"},
        {"SET x 1", "GETEX x PERSIST"},
        {"SET x 1 EX 100", "GETEX x PERSIST"},
        {"SET x 1", "INCRBYFLOAT x 1.5"},
        {"SET x 1", "SETRANGE x 0 2"},
        {"SET x 1", "MSETNX x 1 y 1"},
        {"SET z 1", "MSETNX x 1 y 1"},
        {"SET x 1", "RENAME x y"},
        {"SET y 1", "RENAME y x"},
        {"SET x 1", "RENAMENX x y"},
        {"SET y 1", "COPY y x"},
        {"SET x 1", "COPY x y"},
        {"SET x 1", "TOUCH x"},
        {"SET x 1", "UNLINK x"},
        {"SET x 1", "FLUSHDB"},
        {"SET x 1", "EXPIREAT x 1"},
        {"SET x 1", "PEXPIREAT x 99999999999999"},
        {"SET x 1", "SWAPDB 0 1"},
        {"SET y 1", "SWAPDB 0 1"},
        {"SET x 1", "MOVE x 7"},
        {"RPUSH x a b", "LTRIM x 0 -1"},
        {"RPUSH x a b", "LTRIM x 1 0"},
        {"RPUSH x a b", "LINSERT x BEFORE a z"},
        {"RPUSH x a b", "LINSERT x BEFORE z z"},
        {"RPUSH x a b", "LPUSHX x z"},
        {"SET y 1", "LPUSHX x z"},
        {"RPUSH x a b", "RPOPLPUSH x x"},
        {"RPUSH x a b", "LMPOP 1 x LEFT"},
        {"RPUSH x a b", "LPOS x a"},
        {"HSET x f 1", "HSETNX x f 1"},
        {"HSET x f 1", "HSETNX x g 1"},
        {"HSET x f 1", "HMSET x f 1"},
        {"HSET x f 1", "HINCRBYFLOAT x f 1"},
        {"SADD x a b", "SADD x a"},
        {"SADD x a b", "SADD x c"},
        {"SADD x a b", "SREM x c"},
        {"SADD x a b", "SREM x a"},
        {"SADD x a", "SPOP x"},
        {"SADD x a b", "SMOVE x y a"},
        {"SADD y a b", "SMOVE y x a"},
        {"SADD x a b", "SINTERSTORE x y z"},
        {"SADD y a b", "SUNIONSTORE x y z"},
        {"SADD y a b", "SINTERSTORE x y z"},
        {"SADD x a b", "SMEMBERS x"},
    };
    for (auto &each : changes) {
        char known[64];
        snprintf(known, sizeof known, "COMMAND INFO %.*s", (int)strcspn(each[1], " "), each[1]);
        if (strstr(ask(&sides[OURS][2], known), "*1\r\n*10") == nullptr)
            continue; // weft has no such command
        for (int k = 0; k < SIDES; k++) {
            ask(&sides[k][1], "FLUSHALL");
            ask(&sides[k][1], each[0]);
            ask(&sides[k][0], "WATCH x");
            ask(&sides[k][1], each[1]);
        }
        scene({"0 MULTI", "0 PING"});
        const char *ours = ask(&sides[OURS][0], "EXEC"), *theirs = ask(&sides[REDIS][0], "EXEC");
        if (strcmp(ours, theirs) != 0)
            fail_msg("%s, then %s: weft %s, redis %s", each[0], each[1], ours, theirs);
    }
}

SCENE_CASE(test_watches)
{
    // Several keys; the same one twice; unwatched; one's own change.
    scene({"0 WATCH a b x", "0 WATCH x", "1 SET x 1", "0 MULTI", "0 PING", "0 EXEC"});
    scene({"0 MULTI", "0 PING", "0 EXEC"});
    scene({"0 WATCH x", "1 SET x 1", "0 UNWATCH", "0 MULTI", "0 PING", "0 EXEC"});
    scene({"0 WATCH x", "0 SET x 1", "0 MULTI", "0 PING", "0 EXEC"});
    // What runs in a transaction does not touch it itself, nor after it.
    scene({"0 WATCH x", "0 MULTI", "0 SET x 2", "0 SET x 3", "0 EXEC"});
    scene({"1 SET x 4", "0 MULTI", "0 PING", "0 EXEC"});
    // EXEC that fails unwatches; so does DISCARD; the other errors do not.
    scene({"0 WATCH x", "1 SET x 1", "0 MULTI", "0 NOSUCH", "0 EXEC"});
    scene({"0 MULTI", "0 PING", "0 EXEC"});
    scene({"0 WATCH x", "1 SET x 1", "0 MULTI", "0 DISCARD", "0 MULTI", "0 PING", "0 EXEC"});
    scene({"0 WATCH x", "1 SET x 1", "0 EXEC", "0 DISCARD", "0 MULTI", "0 PING", "0 EXEC"});
    scene({"0 WATCH x", "1 SET x 1", "0 EXEC x", "0 MULTI", "0 PING", "0 EXEC"});
    scene({"0 WATCH x", "0 MULTI", "0 UNWATCH", "1 SET x 1", "0 PING", "0 EXEC"});
    // One that was touched watches nothing more.
    scene({"0 WATCH x", "1 SET x 1", "0 WATCH y", "0 MULTI", "0 PING", "0 EXEC"});
    scene({"0 WATCH x", "2 WATCH x y", "1 SET x 1", "0 MULTI", "2 MULTI", "0 EXEC", "2 EXEC"});
}

SCENE_CASE(test_watches_of_databases)
{
    scene({"0 SELECT 1", "0 WATCH x", "0 SELECT 0", "1 SET x 1", "0 MULTI", "0 PING", "0 EXEC"});
    scene(
        {"0 SELECT 1", "0 WATCH x", "0 SELECT 0", "1 SELECT 1", "1 SET x 1", "0 MULTI", "0 EXEC"});
    scene({"0 SELECT 1", "0 WATCH x", "0 SELECT 0", "1 FLUSHALL", "0 MULTI", "0 EXEC"});
}

// Keys whose time is over: as if they were not there.
SCENE_CASE(test_watches_and_expiry)
{
    scene({"1 SET x 1 PX 1", "1 SET y 1 PX 1"});
    usleep(5000);
    scene({"0 WATCH x", "0 MULTI", "0 PING", "0 EXEC"});
    scene({"0 WATCH y", "1 SET y 2", "0 MULTI", "0 PING", "0 EXEC"});
    scene({"1 SET x 1 PX 300", "0 WATCH x", "0 MULTI", "0 PING"});
    usleep(310000);
    scene({"0 EXEC", "0 WATCH x", "1 DEL x", "0 MULTI", "0 PING", "0 EXEC"});
    scene({"1 SET x 1 PX 1", "1 SET y 1"});
    usleep(5000);
    scene({"0 WATCH x", "1 FLUSHALL", "0 MULTI", "0 PING", "0 EXEC"});
}

// RESET, QUIT and the end of a connection.
SCENE_CASE(test_ends)
{
    scene({"0 MULTI", "0 SET x 1", "0 RESET", "0 EXEC", "0 EXISTS x"});
    scene({"0 WATCH x", "0 RESET", "1 SET x 1", "0 MULTI", "0 PING", "0 EXEC"});
    scene({"0 WATCH x", "1 SET x 1", "0 RESET", "0 MULTI", "0 PING", "0 EXEC"});
    scene({"0 WATCH x", "0 MULTI", "0 SET y 1", "0 QUIT", "0 again", "1 EXISTS y", "1 SET x 1"});
    scene({"0 WATCH x", "0 MULTI", "0 SET y 1", "0 again", "0 EXEC", "1 EXISTS y", "1 SET x 1"});
}

SCENE_CASE(test_protocols_and_names)
{
    scene({"0 HELLO 3 SETNAME me", "0 WATCH x", "1 SET x 1", "0 MULTI", "0 PING", "0 EXEC"});
    scene({"0 MULTI", "0 GET nosuch", "0 CLIENT GETNAME", "0 AUTH x", "0 AUTH default x"});
    scene({"0 HGETALL nosuch", "0 EXEC", "0 MULTI", "0 HELLO 9", "0 EXEC"});
}

// What would wait has had its time; who waits is served after all has run.
SCENE_CASE(test_waiting)
{
    scene({"0 MULTI", "0 BLPOP l 0", "0 BRPOP l m 1", "0 BLMOVE l m LEFT LEFT 0", "0 EXEC"});
    scene({"0 MULTI", "0 BRPOPLPUSH l m 0", "0 BLMPOP 0 1 l LEFT", "0 RPUSH l a b c",
           "0 BLMPOP 0 2 m l RIGHT COUNT 2", "0 BRPOPLPUSH l m 0", "0 EXEC", "1 DEL m"});
    scene({"0 HELLO 3", "0 MULTI", "0 BRPOPLPUSH l m 0", "0 BLMPOP 0 1 l LEFT", "0 EXEC"});
    scene({"0 HELLO 3", "0 MULTI", "0 BLPOP l 0", "0 BLMOVE l m LEFT LEFT 0", "0 EXEC"});
    scene({"0 MULTI", "0 RPUSH l a b", "0 BLPOP l 0", "0 BLMOVE l m LEFT LEFT 0", "0 EXEC"});
    for (int k = 0; k < SIDES; k++) {
        raw_ask(&sides[k][1], "BLPOP l 0");
        assert_true(wait_blocked(&sides[k][2], 1));
    }
    scene({"0 MULTI", "0 RPUSH l a", "0 DEL l", "0 RPUSH l b c", "0 LPOP l", "0 EXEC"});
    assert_string_equal(reply(&sides[OURS][1]), reply(&sides[REDIS][1]));
    scene({"0 EXISTS l"});
}

// Replies that are not wanted: only those of what is told to say nothing.
SCENE_CASE(test_silence)
{
    scene({"0 MULTI", "0 CLIENT REPLY OFF", "0 CLIENT REPLY ON", "0 GET x"});
    for (int k = 0; k < SIDES; k++) {
        raw *one = &sides[k][0];
        raw_text(one, "EXEC\r\nMULTI\r\nCLIENT REPLY SKIP\r\nGET x\r\nEXEC\r\nPING\r\nECHO 1\r\n"
                      "CLIENT REPLY SKIP\r\nMULTI\r\nPING\r\nEXEC\r\n");
        shutdown(one->fd, SHUT_WR);
        assert_true(raw_ended(one, weft_in_s(RAW_SECONDS)));
    }
    raw *a = &sides[OURS][0], *b = &sides[REDIS][0];
    assert_int_equal(a->have - a->used, b->have - b->used);
    assert_memory_equal(a->in + a->used, b->in + b->used, a->have - a->used);
}

RUN_CASES(beside_begin, beside_end)
