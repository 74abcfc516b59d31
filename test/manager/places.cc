// What the server knows beside the keys: bounded names, the memory limit, what is not done of a
// queue in whatever way its items go, many holds of one connection, idle names.
#include "places.h"

static const char full[] = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";

// Asks with `name`, of n letters, after the command and before the rest.
static const char *ask_named(raw *r, const char *command, size_t n, const char *rest)
{
    char *line = (char *)malloc(n + 200), *text = (char *)malloc(n + 400);
    int k = sprintf(line, "%s ", command);
    memset(line + k, 'n', n);
    strcpy(line + k + n, rest);
    raw_send(r, text, request_of(text, n + 400, line));
    free(line);
    free(text);
    return reply(r);
}

static const struct {
    const char *command, *rest;
    bool waits;
} namers[] = {
    {"WEFT.PUT", " 0 0 v", false},   {"WEFT.CLOSE", " DRAIN", false}, {"WEFT.LOCK", " 0", false},
    {"WEFT.SEMAPHORE", " 1", false}, {"WEFT.BARRIER", " 2 0", false}, {"WEFT.BREAK", "", false},
    {"WEFT.SET", "", false},         {"WEFT.GET", "x 0", true},       {"WEFT.WAIT", "x 0", true},
    {"CLIENT SETNAME", "", false},
};

SERVER_CASE(test_names_are_bounded)
{
    static const char *const good[] = {":1\r\n",  "+OK\r\n", ":1\r\n",  ":1\r\n",  "$-1\r\n",
                                       "+OK\r\n", "+OK\r\n", "$-1\r\n", "$-1\r\n", "+OK\r\n"};
    for (size_t i = 0; i < sizeof namers / sizeof *namers; i++) {
        assert_string_equal(ask_named(&c, namers[i].command, 4097, namers[i].rest),
                            "-ERR the name is longer than 4096 bytes\r\n");
        assert_string_equal(
            ask_named(&c, namers[i].command, 4096 - namers[i].waits, namers[i].rest), good[i]);
    }
    assert_string_equal(ask_named(&c, "HELLO 2 SETNAME", 4097, ""),
                        "-ERR the name is longer than 4096 bytes\r\n");
}

// To the brim, without the memory that a long command takes meanwhile.
static void fill(raw *r)
{
    for (size_t n = 90000; n > 0; n /= 10)
        for (int i = 0; strcmp(ask_named(r, "RPUSH fill", n, ""), full) != 0; i++)
            assert_true(i < 10000);
}

// What is new needs memory, what is there does not; a wait is one a connection.
SERVER_CASE_WITH(test_memory_limit_is_for_places_too, o.max_memory = 4 << 20)
{
    says(&c, "WEFT.SEMAPHORE s 1", ":1\r\n");
    says(&c, "WEFT.LOCK old 0", ":1\r\n");
    raw other = open_one();
    says(&other, "CLIENT SETNAME longname", "+OK\r\n");
    fill(&c);
    all_say(&c,
            {"WEFT.PUT q 0 0 v", "WEFT.CLOSE q DRAIN", "WEFT.CLOSE q DISCARD", "WEFT.LOCK k 0",
             "WEFT.SEMAPHORE t 1", "WEFT.BARRIER b 2 0", "WEFT.BREAK b", "WEFT.SET e",
             "CLIENT SETNAME me", "HELLO 2 SETNAME me"},
            full);
    pending_is(0);
    says(&c, "WEFT.ISSET e", ":0\r\n");
    all_say(&c, {"WEFT.LOCK old 0 RECURSIVE", "WEFT.SEMAPHORE s 1"}, ":1\r\n");
    says(&c, "WEFT.ACQUIRE s 0", ":0\r\n");
    says(&c, "WEFT.RELEASE s", ":1\r\n");
    all_say(&c, {"WEFT.WAIT e 1", "WEFT.GET q 1"}, "$-1\r\n");
    blocks(&other, "WEFT.WAIT e -1");
    says(&c, "WEFT.SET e", "+OK\r\n"); // the place is there
    assert_string_equal(reply(&other), ":1\r\n");
    says(&other, "CLIENT SETNAME short", "+OK\r\n");
    raw_close(&other);
    says(&c, "DEL fill", ":1\r\n");
    says(&c, "WEFT.LOCK k 0", ":2\r\n");
}

// Who waits for many keys makes as many places.
SERVER_CASE_WITH(test_memory_limit_is_for_waits_too, o.max_memory = 4 << 20)
{
    enum { KEYS = 50000 };
    char *text = (char *)malloc(KEYS * 20);
    for (const char *head : {"BLPOP", "BLMPOP"}) {
        size_t n = head[2] == 'M'
                       ? (size_t)sprintf(text, "*%d\r\n$6\r\nBLMPOP\r\n$1\r\n0\r\n$5\r\n%d\r\n",
                                         KEYS + 4, KEYS)
                       : (size_t)sprintf(text, "*%d\r\n$5\r\nBLPOP\r\n", KEYS + 2);
        for (int i = 0; i < KEYS; i++)
            n += (size_t)sprintf(text + n, "$6\r\nk%05d\r\n", i);
        n += (size_t)sprintf(text + n, head[2] == 'M' ? "$4\r\nLEFT\r\n" : "$1\r\n0\r\n");
        raw_send(&c, text, n);
        assert_string_equal(reply(&c), full);
        assert_int_equal(blocked_clients(&c), 0);
        assert_true(wait_places(0));
        says(&c, "SET k v", "+OK\r\n");
    }
    free(text);
}

// ---- Queues: what is not done ----

SERVER_CASE(test_not_done_follows_the_list)
{
    static const struct {
        const char *line;
        int left;
    } ways[] = {
        // clang-format off
        {"DEL q", 0}, {"UNLINK q", 0}, {"FLUSHDB", 0}, {"FLUSHALL", 0}, {"FLUSHALL ASYNC", 0},
        {"SET q v", 0}, {"SETEX q 100 v", 0}, {"MSET q v", 0}, {"SINTERSTORE q none", 0},
        {"PEXPIRE q -1", 0}, {"EXPIREAT q 1", 0}, {"RENAME q r", 0}, {"RENAMENX q r", 0}, {"MOVE q 1", 0}, {"COPY h q REPLACE", 0},
        {"RENAME t q", 0}, {"LPOP q", 2}, {"RPOP q 2", 1},
        {"LPOP q 3", 0}, {"LREM q 0 job", 0}, {"LTRIM q 1 -1", 2}, {"LTRIM q 5 6", 0},
        {"LMOVE q r LEFT LEFT", 2}, {"RPOPLPUSH q r", 2}, {"LMPOP 1 q LEFT COUNT 2", 1},
        {"BLPOP q 0", 2}, {"BLMPOP 0 1 q LEFT", 2}, {"BRPOPLPUSH q r 0", 2},
        {"LMOVE q q LEFT RIGHT", 3}, {"RPOPLPUSH q q", 3}, {"LSET q 0 other", 3},
        {"LINSERT q BEFORE job other", 3}, {"WEFT.CLOSE q DISCARD", 0},
        // clang-format on
    };
    for (const auto &way : ways) {
        put_three();
        says(&c, "RPUSH t a b c d", ":4\r\n");
        says(&c, "HSET h f v", ":1\r\n");
        pending_is(3);
        assert_int_not_equal(ask(&c, way.line)[0], '-');
        pending_is(way.left);
        says(&c, "WEFT.JOIN q 0", way.left == 0 ? ":1\r\n" : "$-1\r\n");
        for (int i = way.left; i > 0; i--)
            assert_int_equal(ask_number(&c, "WEFT.DONE q"), i - 1);
        says(&c, "WEFT.DONE q", "-TOOMANY all items are done\r\n");
        ask(&c, "DEL q r t h");
        ask(&c, "WEFT.OPEN q");
    }
    assert_int_equal(field_number(ask(&c, "INFO weft"), "weft_places:"), 0); // nothing is left
}

// One who waits is told, in whatever way the rest goes.
SERVER_CASE(test_join_ends_with_the_list)
{
    raw joiner = open_one();
    for (const char *way :
         {"DEL q", "FLUSHALL", "SET q v", "LPOP q 3", "PEXPIRE q 20", "RPOP q 3", "LREM q 0 job"}) {
        put_three();
        blocks(&joiner, "WEFT.JOIN q -1");
        ask(&c, way);
        assert_string_equal(reply(&joiner), ":1\r\n");
        ask(&c, "DEL q");
    }
    raw_close(&joiner);
}

// What is in work stays so when the list goes, unless all is flushed.
SERVER_CASE(test_what_is_in_work_is_not_done)
{
    put_three();
    says(&c, "WEFT.GET q 0", "$3\r\njob\r\n");
    says(&c, "DEL q", ":1\r\n");
    pending_is(1);
    says(&c, "WEFT.JOIN q 0", "$-1\r\n");
    says(&c, "WEFT.PUT q 0 0 new", ":1\r\n");
    pending_is(2);
    says(&c, "LPOP q", "$3\r\nnew\r\n");
    says(&c, "WEFT.DONE q", ":0\r\n");
    says(&c, "WEFT.JOIN q 0", ":1\r\n");
    put_three();
    says(&c, "WEFT.GET q 0", "$3\r\njob\r\n");
    says(&c, "WEFT.CLOSE q DISCARD", "+OK\r\n");
    pending_is(1);
    says(&c, "WEFT.DONE q", ":0\r\n");
}

// Another list in its place is another, however long, also if nobody looked in between.
SERVER_CASE(test_not_done_is_of_one_list)
{
    put_three();
    says(&c, "WEFT.GET q 0", "$3\r\njob\r\n");
    executes(&c, {"DEL q", "RPUSH q a b c d e", "WEFT.PUT q 0 0 job"}, "*3\r\n:1\r\n:5\r\n:1\r\n");
    pending_is(2);
    says(&c, "DEL q", ":1\r\n");
    says(&c, "WEFT.DONE q", ":0\r\n");
}

// What comes back is to be done again, with a lease and without.
SERVER_CASE(test_not_done_of_what_comes_back)
{
    raw getter = open_one();
    says(&c, "WEFT.PUT q 0 0 job", ":1\r\n");
    says(&getter, "WEFT.GET q 0", "$3\r\njob\r\n");
    raw_close(&getter);
    assert_true(wait_clients(&c, 1));
    says(&c, "LLEN q", ":1\r\n");
    pending_is(1);
    says(&c, "DEL q", ":1\r\n");
    says(&c, "WEFT.JOIN q 0", ":1\r\n");
    // The same discarded meanwhile.
    getter = open_one();
    says(&c, "WEFT.PUT q 0 0 job", ":1\r\n");
    says(&getter, "WEFT.GET q 0", "$3\r\njob\r\n");
    says(&c, "WEFT.CLOSE q DISCARD", "+OK\r\n");
    pending_is(1);
    raw_close(&getter);
    assert_true(wait_clients(&c, 1));
    pending_is(0);
    says(&c, "WEFT.OPEN q", "+OK\r\n");
    // BLPOP: back if it was not read.
    getter = open_one();
    blocks(&getter, "BLPOP q 0");
    says(&c, "WEFT.PUT q 0 0 job", ":1\r\n");
    pending_is(0);
    assert_true(raw_ready(getter.fd, POLLIN, in_time()));
    raw_close(&getter);
    assert_true(wait_clients(&c, 1));
    says(&c, "LLEN q", ":1\r\n");
    pending_is(1);
}

// What other clients push is not counted, and ends no join too late.
SERVER_CASE(test_what_others_push_is_not_counted)
{
    says(&c, "RPUSH q a b", ":2\r\n");
    says(&c, "WEFT.JOIN q 0", ":1\r\n");
    says(&c, "WEFT.PUT q 0 0 c", ":1\r\n");
    pending_is(1);
    for (const char *item : {"$1\r\na\r\n", "$1\r\nb\r\n", "$1\r\nc\r\n"})
        says(&c, "WEFT.GET q 0", item);
    says(&c, "WEFT.DONE q", ":0\r\n");
    says(&c, "WEFT.DONE q", "-TOOMANY all items are done\r\n");
}

// ---- What is forgotten ----

// One of each kind that nobody uses.
static void make_unused(void)
{
    says(&c, "WEFT.CLOSE q DRAIN", "+OK\r\n");
    says(&c, "WEFT.BREAK b", "+OK\r\n");
    says(&c, "WEFT.SET e", "+OK\r\n");
    says(&c, "WEFT.SEMAPHORE s 2", ":2\r\n");
}

static void is_as_new(void)
{
    says(&c, "WEFT.GET q 0", "$-1\r\n");
    says(&c, "WEFT.WAITING b", ":0\r\n");
    says(&c, "WEFT.ISSET e", ":0\r\n");
    says(&c, "WEFT.UNITS s", "-NOSUCH there is no such semaphore\r\n");
}

// A flush is at once true, and soon nothing is left of what it forgot; what is in use stays.
SERVER_CASE(test_flushall_forgets_what_nobody_uses)
{
    raw other = open_one();
    for (int i = 0; i < 2; i++) {
        make_unused();
        assert_int_equal(places(), 4);
        says(&c, "FLUSHALL", "+OK\r\n");
        if (i == 0)
            is_as_new();
        assert_true(wait_places(0));
    }
    says(&c, "WEFT.SEMAPHORE s 2", ":2\r\n");
    all_say(&other, {"WEFT.ACQUIRE s 0", "WEFT.LOCK k 0", "WEFT.PUT q 0 0 v"}, ":1\r\n");
    says(&other, "WEFT.GET q 0", "$1\r\nv\r\n");
    raw_ask(&other, "WEFT.WAIT e -1");
    says(&c, "FLUSHALL", "+OK\r\n");
    pending_is(0);
    assert_true(wait_places(3));
    says(&c, "WEFT.UNITS s", ":1\r\n");
    says(&c, "WEFT.LOCK k 0", "$-1\r\n");
    says(&c, "WEFT.SET e", "+OK\r\n");
    assert_string_equal(reply(&other), ":1\r\n");
    raw_close(&other);
    assert_true(wait_clients(&c, 1));
    says(&c, "WEFT.UNITS s", ":2\r\n");
}

SERVER_CASE_WITH(test_idle_names_are_forgotten, o.forget_ns = 300000000)
{
    says(&c, "WEFT.PUT kept 0 0 v", ":1\r\n");
    says(&c, "WEFT.LOCK held 0", ":1\r\n");
    make_unused();
    assert_true(wait_places(2));
    is_as_new();
    assert_int_equal(ask_number(&c, "WEFT.PENDING kept"), 1);
    says(&c, "WEFT.UNLOCK held", ":0\r\n");
}

// What was held until now has been idle since now.
SERVER_CASE_WITH(test_what_was_held_is_not_idle, o.forget_ns = 1000000000)
{
    raw other = open_one();
    says(&c, "WEFT.SEMAPHORE s 1", ":1\r\n");
    says(&other, "WEFT.ACQUIRE s 0", ":0\r\n");
    usleep(1200000); // nobody names it
    weft_deadline closed = weft_now();
    raw_close(&other);
    assert_true(wait_clients(&c, 1));
    const char *r = ask(&c, "WEFT.UNITS s");
    if (weft_now() - closed < 800000000) // else: a busy machine
        assert_string_equal(r, ":1\r\n");
}

// What is used is not idle.
SERVER_CASE_WITH(test_used_names_are_kept, o.forget_ns = 500000000)
{
    says(&c, "WEFT.SET e", "+OK\r\n");
    for (weft_deadline d = weft_in_ms(1500), last = weft_now(); weft_left(d) > 0; usleep(1000)) {
        const char *r = ask(&c, "WEFT.ISSET e");
        if (weft_now() - last > 400000000)
            return; // a busy machine: that was not often enough
        last = weft_now();
        assert_string_equal(r, ":1\r\n");
    }
}

// ---- At random ----

enum { CONNECTIONS = 12, STEPS = RUNNER_SANITIZED ? 30000 : 100000 };

static uint32_t dice = 1;

static uint32_t roll(uint32_t n)
{
    dice = dice * 1664525 + 1013904223;
    return (dice >> 8) % n;
}

// One of the commands on one of few names, which mostly do not wait.
static void random_line(char *line, size_t room)
{
    static const char *const lines[] = {
        "WEFT.PUT q%u 0 0 v",
        "WEFT.PUT q%u 2 5 v",
        "WEFT.GET q%u 0",
        "WEFT.GET q%u 5",
        "WEFT.DONE q%u",
        "WEFT.JOIN q%u 0",
        "WEFT.JOIN q%u 5",
        "WEFT.PENDING q%u",
        "WEFT.CLOSE q%u DRAIN",
        "WEFT.CLOSE q%u DISCARD",
        "WEFT.OPEN q%u",
        "WEFT.DELETE QUEUE q%u",
        "WEFT.OPEN q%u",
        "LPOP q%u",
        "RPUSH q%u a b",
        "LREM q%u 1 v",
        "LMOVE q%u q1 LEFT LEFT",
        "DEL q%u",
        "SET q%u v",
        "PEXPIRE q%u 3",
        "BLPOP q%u 0.005",
        "WEFT.LOCK k%u 0",
        "WEFT.LOCK k%u 5",
        "WEFT.LOCK k%u 0 RECURSIVE",
        "WEFT.UNLOCK k%u",
        "WEFT.DELETE LOCK k%u",
        "WEFT.SEMAPHORE s%u 2",
        "WEFT.ACQUIRE s%u 0",
        "WEFT.ACQUIRE s%u 5",
        "WEFT.RELEASE s%u",
        "WEFT.DELETE SEMAPHORE s%u",
        "WEFT.BARRIER b%u 2 5",
        "WEFT.BREAK b%u",
        "WEFT.RESET b%u",
        "WEFT.WAITING b%u",
        "WEFT.DELETE BARRIER b%u",
        "WEFT.SET e%u",
        "WEFT.CLEAR e%u",
        "WEFT.WAIT e%u 5",
        "WEFT.DELETE EVENT e%u",
        "WEFT.LIST QUEUE q%u",
        "WEFT.LIST LOCK",
        "WEFT.LIST SEMAPHORE",
        "WEFT.LIST BARRIER",
        "WEFT.LIST EVENT",
    };
    if (roll(500) == 0)
        snprintf(line, room, "%s", roll(2) == 0 ? "FLUSHALL" : "MULTI");
    else if (roll(100) == 0)
        snprintf(line, room, "EXEC");
    else
        snprintf(line, room, lines[roll(sizeof lines / sizeof *lines)], roll(4));
}

// Whatever was said, and whoever ended at any time: once all have gone and all is flushed, nothing
// is held, waited for, or known.
SERVER_CASE(test_random_commands_leave_nothing)
{
    raw r[CONNECTIONS];
    char line[100], text[400];
    dice = (uint32_t)getpid();
    print_message("seed %u\n", dice);
    for (raw &each : r)
        each = open_one();
    for (int i = 0; i < STEPS; i++) {
        raw *one = &r[roll(CONNECTIONS)];
        random_line(line, sizeof line);
        raw_send(one, text, request_of(text, sizeof text, line));
        if (roll(300) == 0) {
            raw_close(one);
            *one = open_one();
        }
        while (roll(4) != 0 && raw_fill(one) > 0)
            one->used = one->have;
    }
    for (raw &each : r)
        raw_close(&each);
    assert_true(wait_clients(&c, 1));
    says(&c, "FLUSHALL", "+OK\r\n");
    assert_true(wait_places(0));
    assert_int_equal(field_number(ask(&c, "INFO weft"), "weft_locks_held:"), 0);
    assert_int_equal(blocked_clients(&c), 0);
    says(&c, "DBSIZE", ":0\r\n");
}

// ---- Many holds of one connection ----

enum { MANY = RUNNER_SANITIZED ? 5000 : 40000, AT_ONCE = 500 };

// "COMMAND nI REST" for all, in pipelines.
static void ask_many(raw *r, const char *command, const char *rest)
{
    char *text = (char *)malloc(AT_ONCE * 100), line[100];
    for (int i = 0; i < MANY; i += AT_ONCE) {
        size_t n = 0, size;
        for (int k = i; k < i + AT_ONCE; k++) {
            snprintf(line, sizeof line, "%s n%d%s", command, k, rest);
            n += request_of(text + n, 100, line);
        }
        raw_send(r, text, n);
        for (int k = 0; k < AT_ONCE; k++) {
            const char *p = raw_next(r, &size, in_time());
            assert_non_null(p);
            assert_int_equal(*p, ':');
        }
    }
    free(text);
}

// When its connection ends the others are served meanwhile, and get what it held.
SERVER_CASE(test_many_holds_of_one_connection)
{
    char line[100];
    raw r = open_one(), waits = open_one();
    ask_many(&r, "WEFT.LOCK", " 0");
    ask_many(&r, "WEFT.UNLOCK", "");
    ask_many(&r, "WEFT.LOCK", " 0");
    ask_many(&r, "WEFT.SEMAPHORE", " 1");
    ask_many(&r, "WEFT.ACQUIRE", " 0");
    snprintf(line, sizeof line, "WEFT.ACQUIRE n%d -1", MANY - 1);
    blocks(&waits, line);
    raw_close(&r);
    assert_true(wait_clients(&c, 2));
    int64_t worst = 0;
    do {
        int64_t began = weft_now();
        says(&c, "PING", "+PONG\r\n");
        worst = weft_now() - began > worst ? weft_now() - began : worst;
    } while (field_number(ask(&c, "INFO weft"), "weft_locks_held:") > 0);
    print_message("longest PING meanwhile: %.1f ms\n", (double)worst / 1e6);
    assert_string_equal(reply(&waits), ":0\r\n");
    assert_int_equal(ask_number(&c, "WEFT.LOCK n1 -1") > 0, 1);
    raw_close(&waits);
}

RUN_SERVER_CASES()
