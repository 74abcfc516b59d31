// Keys and their expiry in the scenarios of Redis's own suite, from what the manual of Redis says
// of each command.
#include "families.h"

#include <time.h>

static long long unix_now(void)
{
    return (long long)time(nullptr);
}

static void is_near(const char *line, long long expected, long long slack)
{
    send_all(line);
    for (int s = 0; s < sides_there; s++) {
        long long n = atoll(shown_reply(&at[s], 0));
        if (n < expected - slack || n > expected + slack)
            fail_msg("%s: %lld, not near %lld", line, n, expected);
    }
}

// One of each type.
static void set_all(void)
{
    gives("SET string v", "OK");
    gives("RPUSH list a b c", "3");
    gives("HSET hash f v g w", "2");
    gives("SADD set x y", "2");
}

// ---- There or not ----

FAMILY_CASE(test_delete_and_exists)
{
    set_all();
    gives("EXISTS string list no string", "3");
    gives("TOUCH string list no string", "3");
    gives("TYPE set", "set");
    gives("TYPE no", "none");
    gives("DEL string no list", "2");
    gives("UNLINK hash no", "1");
    gives("DBSIZE", "1");
    gives("TOUCH no", "0");
    gives("EXISTS", "-ERR wrong number of arguments for 'exists' command");
}

FAMILY_CASE(test_keys_and_random_key)
{
    gives("RANDOMKEY", "nil");
    gives("MSET key_x 1 key_y 2 key_z 3 foo_a 4 foo_b 5", "OK");
    gives_sorted("KEYS foo*", "[foo_a foo_b]");
    gives_sorted("KEYS *", "[foo_a foo_b key_x key_y key_z]");
    gives("KEYS no*", "[]");
    gives("KEYS key_[^xy]", "[key_z]");
    gives("FLUSHDB", "OK");
    gives("DBSIZE", "0");
    gives("RANDOMKEY", "nil");
    gives("SET only v", "OK");
    gives("RANDOMKEY", "only");
    gives("PEXPIRE only 1", "1");
    goes_within_time("only");
    gives("RANDOMKEY", "nil");
}

FAMILY_CASE(test_random_key_finds_each)
{
    bool seen[SIDES][16] = {};
    for (int i = 0; i < 16; i++)
        gives(line_of("SET k%d v", i), "OK");
    for (int s = 0; s < sides_there; s++)
        for (int left = 16, tries = 0; left > 0; tries++) {
            int i = atoi(strchr(ask(&at[s], "RANDOMKEY"), 'k') + 1);
            left -= !seen[s][i];
            seen[s][i] = true;
            assert_true(tries < 2000);
        }
}

// ---- Other names ----

FAMILY_CASE(test_rename)
{
    static const char NO_KEY[] = "-ERR no such key";
    set_all();
    gives("RENAME string other", "OK");
    gives("GET other", "v");
    gives("EXISTS string", "0");
    gives("RENAME other other", "OK");
    gives("RENAME no other", NO_KEY);
    gives("RENAME no no", NO_KEY);
    gives("RENAME list other", "OK"); // whatever was there
    gives("LRANGE other 0 -1", "[a b c]");
    gives("RENAME hash h2", "OK");
    gives_sorted_pairs("HGETALL h2", "[f v g w]");
    gives("RENAME set hash", "OK");
    gives_sorted("SMEMBERS hash", "[x y]");
    gives("RENAMENX hash h2", "0");
    gives("RENAMENX hash hash", "0");
    gives("RENAMENX hash set", "1");
    gives("RENAMENX no set", NO_KEY);
    gives_sorted("KEYS *", "[h2 other set]");
}

FAMILY_CASE(test_rename_takes_the_expiry_along)
{
    gives("SET a v EX 100", "OK");
    gives("SET b v EX 1000", "OK");
    gives("RENAME a b", "OK");
    is_near("TTL b", 100, 20);
    gives("SET c v", "OK");
    gives("RENAME c b", "OK");
    gives("TTL b", "-1");
    gives("RPUSH l x", "1");
    gives("PEXPIRE l 30", "1");
    gives("RENAME l m", "OK");
    goes_within_time("m");
    gives("RPUSH l x", "1");
    gives("TTL l", "-1");
}

FAMILY_CASE(test_copy)
{
    static const char SAME[] = "-ERR source and destination objects are the same";
    set_all();
    for (const char *type : {"string", "list", "hash", "set"}) {
        gives(line_of("COPY %s new", type), "1");
        gives(line_of("COPY %s new", type), "0");
        gives(line_of("COPY %s new REPLACE", type), "1");
        gives("TYPE new", type);
        gives("DEL new", "1");
    }
    gives("COPY list copy", "1"); // which is its own
    gives("LPUSH copy z", "4");
    gives("LRANGE list 0 -1", "[a b c]");
    gives("COPY hash copy REPLACE", "1");
    gives("HDEL copy f", "1");
    gives("HLEN hash", "2");
    gives("COPY set copy REPLACE", "1");
    gives("SADD set z", "1");
    gives_sorted("SMEMBERS copy", "[x y]");
    gives("EXPIRE string 100", "1");
    gives("COPY string copy REPLACE", "1");
    is_near("TTL copy", 100, 20);
    gives("PERSIST copy", "1");
    is_near("TTL string", 100, 20);
    gives("COPY no copy REPLACE", "0");
    gives("EXISTS copy", "1");
    gives("COPY string string", SAME);
    gives("COPY string string REPLACE", SAME);
    gives("COPY string string DB 0", SAME);
    gives("COPY string string DB 9", "1");
    gives("COPY string string DB 9", "0");
    gives("COPY list string DB 9 REPLACE", "1");
    gives("SELECT 9", "OK");
    gives("LRANGE string 0 -1", "[a b c]");
    gives("TTL string", "-1");
    gives("COPY string copy DB 16", "-ERR DB index is out of range");
    gives("COPY string copy DB -1", "-ERR DB index is out of range");
    gives("COPY string copy DB word", NO_INTEGER);
    gives("COPY string copy DB", SYNTAX);
    gives("COPY string copy OVER", SYNTAX);
}

FAMILY_CASE(test_move)
{
    gives("SET k v EX 100", "OK");
    gives("MOVE k 9", "1");
    gives("MOVE k 9", "0");
    gives("EXISTS k", "0");
    gives("SET k w", "OK");
    gives("MOVE k 9", "0"); // one is there
    gives("MOVE k 0", "-ERR source and destination objects are the same");
    gives("MOVE no 9", "0");
    gives("MOVE k 16", "-ERR DB index is out of range");
    gives("MOVE k word", NO_INTEGER);
    gives("MOVE k 4294967296",
          "-ERR value is out of range, value must between -2147483648 and 2147483647");
    gives("SELECT 9", "OK");
    gives("GET k", "v");
    is_near("TTL k", 100, 20);
    gives("PEXPIRE k 30", "1");
    gives("MOVE k 3", "1");
    gives("SELECT 3", "OK");
    goes_within_time("k");
}

// ---- Expiry ----

FAMILY_CASE(test_expire)
{
    gives("EXPIRE no 100", "0");
    gives("SET k v", "OK");
    gives("TTL k", "-1");
    gives("TTL no", "-2");
    gives("PTTL no", "-2");
    gives("EXPIRETIME k", "-1");
    gives("PEXPIRETIME no", "-2");
    gives("EXPIRE k 100", "1");
    is_near("TTL k", 100, 20);
    is_near("PTTL k", 100000, 20000);
    is_near("EXPIRETIME k", unix_now() + 100, 20);
    is_near("PEXPIRETIME k", (unix_now() + 100) * 1000, 20000);
    gives("APPEND k more", "5"); // changes keep it, other values do not
    is_near("TTL k", 100, 20);
    gives("SET k v", "OK");
    gives("TTL k", "-1");
    gives("PEXPIRE k 200000", "1");
    is_near("TTL k", 200, 20);
    gives("PERSIST k", "1");
    gives("PERSIST k", "0");
    gives("PERSIST no", "0");
    gives("TTL k", "-1");
    gives("EXPIRE k -1", "1"); // it is over
    gives("EXISTS k", "0");
    gives("SET k v PX 1", "OK");
    goes_within_time("k");
    gives("TTL k", "-2");
}

FAMILY_CASE(test_expire_at)
{
    long long in_100 = unix_now() + 100;
    gives("SET k v", "OK");
    gives(line_of("EXPIREAT k %lld", in_100), "1");
    gives("EXPIRETIME k", line_of("%lld", in_100));
    gives("PEXPIRETIME k", line_of("%lld", in_100 * 1000));
    is_near("TTL k", 100, 20);
    gives(line_of("PEXPIREAT k %lld", in_100 * 1000 + 499), "1");
    gives("PEXPIRETIME k", line_of("%lld", in_100 * 1000 + 499));
    gives("EXPIRETIME k", line_of("%lld", in_100));
    gives(line_of("PEXPIREAT k %lld", in_100 * 1000 + 500), "1");
    gives("EXPIRETIME k", line_of("%lld", in_100 + 1));
    gives("EXPIREAT k 9223372036854775", "1");
    gives("EXPIRETIME k", "9223372036854775");
    gives("PEXPIREAT k 9223372036854775807", "1");
    gives("PEXPIRETIME k", "9223372036854775807");
    gives("EXPIREAT k 1", "1");
    gives("EXISTS k", "0");
    gives("EXPIREAT k 1", "0");
    gives("SET k v", "OK");
    gives("PEXPIREAT k -5", "1");
    gives("EXISTS k", "0");
}

FAMILY_CASE(test_expire_errors)
{
    gives("SET k v", "OK");
    for (const char *command : {"expire", "pexpire", "expireat", "pexpireat"}) {
        gives(line_of("%s k word", command), NO_INTEGER);
        gives(line_of("%s k 9223372036854775808", command), NO_INTEGER);
        gives(line_of("%s k 1.5", command), NO_INTEGER);
        gives(line_of("%s k 100 AB", command), "-ERR Unsupported option AB");
        gives(line_of("%s k 100 XX AB", command), "-ERR Unsupported option AB");
        gives(line_of("%s k 100 NX XX", command),
              "-ERR NX and XX, GT or LT options at the same time are not compatible");
        gives(line_of("%s k 100 NX GT", command),
              "-ERR NX and XX, GT or LT options at the same time are not compatible");
        gives(line_of("%s k 100 GT LT", command),
              "-ERR GT and LT options at the same time are not compatible");
        if (strcmp(command, "pexpireat") != 0)
            gives(line_of("%s k 9223372036854775807", command),
                  line_of("-ERR invalid expire time in '%s' command", command));
    }
    for (const char *command : {"expire", "expireat"})
        for (const char *wrong : {"9223372036854776", "-9223372036854776"})
            gives(line_of("%s k %s", command, wrong),
                  line_of("-ERR invalid expire time in '%s' command", command));
    gives("EXPIRE k 9223372036854775", "-ERR invalid expire time in 'expire' command");
    gives("TTL k", "-1");
}

// Each condition, of a key that expires and of one that does not.
FAMILY_CASE(test_expire_conditions)
{
    static const struct {
        const char *condition, *never, *sooner, *later; // 1: it is set
    } all[] = {{"NX", "1", "0", "0"},    {"XX", "0", "1", "1"},    {"GT", "0", "0", "1"},
               {"LT", "1", "1", "0"},    {"XX GT", "0", "0", "1"}, {"XX LT", "0", "1", "0"},
               {"lt xx", "0", "1", "0"}, {"nx NX", "1", "0", "0"}};
    for (auto &each : all)
        for (const char *command : {"EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"}) {
            long long unit = command[0] == 'P' ? 1000 : 1;
            long long base = strstr(command, "AT") != nullptr ? unix_now() : 0;
            gives("SET k v", "OK");
            gives(line_of("%s k %lld %s", command, (base + 100) * unit, each.condition),
                  each.never);
            gives("EXPIRE k 500", "1");
            gives(line_of("%s k %lld %s", command, (base + 200) * unit, each.condition),
                  each.sooner);
            gives("EXPIRE k 500", "1");
            gives(line_of("%s k %lld %s", command, (base + 900) * unit, each.condition),
                  each.later);
            is_near("TTL k", each.later[0] == '1' ? 900 : 500, 20);
            gives(line_of("%s no %lld %s", command, (base + 900) * unit, each.condition), "0");
        }
}

FAMILY_CASE(test_time)
{
    is_near("EXISTS no", 0, 0);
    send_all("TIME");
    for (int s = 0; s < sides_there; s++) {
        long long seconds, micro;
        assert_int_equal(sscanf(shown_reply(&at[s], 0), "[%lld %lld]", &seconds, &micro), 2);
        assert_true(seconds <= unix_now() && seconds > unix_now() - 60);
        assert_true(micro >= 0 && micro < 1000000);
    }
}

// Who waits for a list gets it, in whatever way it comes about.
FAMILY_CASE(test_waiters_of_a_key_that_comes)
{
    static const char *const ways[] = {"RENAME from k", "COPY from k", "RENAMENX from k"};
    raw waiter[SIDES];
    for (int s = 0; s < sides_there; s++)
        raw_open(&waiter[s], address_of[s]);
    for (const char *way : ways) {
        for (int s = 0; s < sides_there; s++) {
            raw_ask(&waiter[s], "BLPOP k 0");
            assert_true(wait_blocked(&at[s], 1));
        }
        gives("DEL from", way[0] == 'C' || way == ways[0] ? "0" : "1");
        gives("RPUSH from item", "1");
        gives(way, strncmp(way, "RENAME ", 7) == 0 ? "OK" : "1");
        for (int s = 0; s < sides_there; s++)
            assert_string_equal(shown_reply(&waiter[s], 0), "[k item]");
    }
    for (int s = 0; s < sides_there; s++)
        raw_close(&waiter[s]);
}

// ---- What COMMAND says of them ----

static const char *field(const char *reply, int which, const char *name)
{
    static char text[2][1000];
    static unsigned turn;
    char *t = text[turn++ % 2];
    size_t n, parts;
    span *one = items_of({reply, strlen(reply)}, 1, &n), *all = items_of(one[0], 1, &parts);
    if (n != 1 || !is_aggregate(one[0]) || parts < 6)
        fail_msg("%s: %s", name, reply);
    snprintf(t, sizeof text[0], "%.*s", (int)all[which].n, all[which].p);
    free(all);
    free(one);
    return t;
}

// Arity, keys, and the flags that decide whether it may run, of each that is claimed.
FAMILY_CASE(test_described_as_redis_does)
{
    static const char *const flags[] = {"+write\r", "+denyoom\r", "+blocking\r", "+readonly\r"};
    if (sides_there < SIDES)
        return;
    size_t n;
    const char *r = ask(&at[OURS], "COMMAND LIST");
    char *list = strdup(r);
    span *names = items_of({list, strlen(list)}, 1, &n);
    for (size_t i = 0; i < n; i++) {
        const char *from = strchr(names[i].p, '\n') + 1;
        const char *name = line_of("%.*s", (int)strcspn(from, "\r"), from);
        // WATCH keeps to the memory limit here.
        if (strncmp(name, "weft.", 5) == 0 || strchr(name, '|') != nullptr ||
            strcmp(name, "watch") == 0)
            continue;
        const char *ours = ask(&at[OURS], line_of("COMMAND INFO %s", name));
        const char *theirs = ask(&at[REDIS], line_of("COMMAND INFO %s", name));
        for (int which : {1, 3, 4, 5})
            if (strcmp(field(ours, which, name), field(theirs, which, name)) != 0)
                fail_msg("%s: part %d of what COMMAND INFO says is not Redis's", name, which);
        bool of_keys = strcmp(field(theirs, 3, name), ":0\r\n") != 0;
        for (const char *flag : flags)
            if (of_keys && (strstr(field(ours, 2, name), flag) != nullptr) !=
                               (strstr(field(theirs, 2, name), flag) != nullptr))
                fail_msg("%s: %s is not as in Redis", name, flag);
    }
    free(names);
    free(list);
}

RUN_FAMILY()
