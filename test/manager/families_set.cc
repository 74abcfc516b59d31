// Sets in the scenarios of Redis's own suite, from what the manual of Redis says of each command.
#include "families.h"

// A set of so many numbers, from `from` on, in commands of some hundred.
static void add_numbers(const char *key, int from, int count)
{
    char *line = (char *)malloc(16 * 200 + 100);
    for (int i = 0; i < count;) {
        size_t n = (size_t)sprintf(line, "SADD %s", key);
        int few = count - i < 200 ? count - i : 200;
        for (int k = 0; k < few; k++, i++)
            n += (size_t)sprintf(line + n, " %d", from + i);
        char text[16];
        snprintf(text, sizeof text, "%d", few);
        gives(line, text);
    }
    free(line);
}

FAMILY_CASE(test_add_and_members)
{
    gives("SADD s foo bar", "2");
    gives("SADD s foo", "0");
    gives("SADD s foo baz baz", "1");
    gives("SCARD s", "3");
    gives_sorted("SMEMBERS s", "[bar baz foo]");
    gives("SISMEMBER s foo", "1");
    gives("SISMEMBER s nobody", "0");
    gives("SMISMEMBER s foo nobody bar", "[1 0 1]");
    gives("TYPE s", "set");
    gives("SADD n 17 16 18 0", "4");
    gives_sorted("SMEMBERS n", "[0 16 17 18]");
    gives("SADD n word", "1"); // no longer numbers alone
    gives("SADD n 018", "1");
    gives("SMISMEMBER n 18 018 word", "[1 1 1]");
    gives("SADD s ", "1"); // the empty word
    gives("SISMEMBER s ", "1");
}

FAMILY_CASE(test_no_key)
{
    gives("SCARD no", "0");
    gives("SMEMBERS no", "[]");
    gives("SISMEMBER no a", "0");
    gives("SMISMEMBER no a b", "[0 0]");
    gives("SREM no a", "0");
    gives("SPOP no", "nil");
    gives("SPOP no 3", "[]");
    gives("SRANDMEMBER no", "nil");
    gives("SRANDMEMBER no 3", "[]");
    gives("SRANDMEMBER no -3", "[]");
    gives("SMOVE no s a", "0");
    gives("EXISTS no s", "0");
}

FAMILY_CASE(test_wrong_type)
{
    gives("RPUSH l a", "1");
    gives("SADD s a", "1");
    all_give({"SADD l a",
              "SREM l a",
              "SMEMBERS l",
              "SISMEMBER l a",
              "SMISMEMBER l a",
              "SCARD l",
              "SPOP l",
              "SPOP l 2",
              "SRANDMEMBER l",
              "SRANDMEMBER l 2",
              "SMOVE l s a",
              "SMOVE s l a",
              "SINTER l s",
              "SINTER no l",
              "SUNION no l",
              "SDIFF s l",
              "SDIFF no l",
              "SINTERSTORE d s l",
              "SUNIONSTORE d l s",
              "SDIFFSTORE d s l",
              "SSCAN l 0",
              "GET s",
              "LPUSH s a",
              "HGET s a",
              "SINTERCARD 2 no l"},
             WRONG_TYPE);
    gives("EXISTS d", "0");
    gives("SMOVE no l a", "0"); // nothing to move
}

FAMILY_CASE(test_remove)
{
    gives("SADD s foo bar ciao", "3");
    gives("SREM s nobody", "0");
    gives("SREM s foo", "1");
    gives_sorted("SMEMBERS s", "[bar ciao]");
    gives("SADD n 3 4 5", "3");
    gives("SREM n 6", "0");
    gives("SREM n 4 4 a", "1");
    gives_sorted("SMEMBERS n", "[3 5]");
    gives("SREM n 3 5 7 8 9", "2"); // and goes on behind the last
    gives("EXISTS n", "0");
    gives("SREM s", "-ERR wrong number of arguments for 'srem' command");
}

FAMILY_CASE(test_move)
{
    gives("SADD one 1 a b", "3");
    gives("SADD two 2 3 4", "3");
    gives("SMOVE one two a", "1");
    gives_sorted("SMEMBERS one", "[1 b]");
    gives_sorted("SMEMBERS two", "[2 3 4 a]");
    gives("SMOVE one two nobody", "0");
    gives("SADD two b", "1");
    gives("SMOVE one two b", "1"); // it is there already
    gives("SCARD two", "5");
    gives("SMOVE one new 1", "1"); // the last of the one, the first of the other
    gives("EXISTS one", "0");
    gives("SMEMBERS new", "[1]");
    gives("SMOVE new new 1", "1");
    gives("SMOVE new new nobody", "0");
    gives("SMEMBERS new", "[1]");
}

FAMILY_CASE(test_intersection)
{
    gives("SADD a 195 196 197 198 199 x", "6");
    gives("SADD b 195 199 200 x y", "5");
    gives("SADD c x 199 7", "3");
    gives_sorted("SINTER a b", "[195 199 x]");
    gives_sorted("SINTER a b c", "[199 x]");
    gives_sorted("SINTER a a", "[195 196 197 198 199 x]");
    gives_sorted("SINTER a", "[195 196 197 198 199 x]");
    gives("SINTER a no", "[]");
    gives("SINTER no", "[]");
    gives("SINTERSTORE d a b", "3");
    gives_sorted("SMEMBERS d", "[195 199 x]");
    gives("SINTERSTORE a a c", "2"); // into one of them
    gives_sorted("SMEMBERS a", "[199 x]");
    gives("SINTERSTORE d a no", "0"); // nothing: the key goes
    gives("EXISTS d", "0");
    gives("SET text v", "OK");
    gives("SINTERSTORE text b c", "2"); // whatever it was
    gives("TYPE text", "set");
    gives("SET text v", "OK");
    gives("SINTERSTORE text b no", "0");
    gives("EXISTS text", "0");
}

FAMILY_CASE(test_count_of_the_intersection)
{
    gives("SADD a 1 2 3 4 5", "5");
    gives("SADD b 2 3 4 5 6", "5");
    gives("SINTERCARD 2 a b", "4");
    gives("SINTERCARD 1 a", "5");
    gives("SINTERCARD 2 a a", "5");
    gives("SINTERCARD 2 a no", "0");
    gives("SINTERCARD 2 a b LIMIT 0", "4");
    gives("SINTERCARD 2 a b LIMIT 3", "3");
    gives("SINTERCARD 2 a b limit 10", "4");
    gives("SINTERCARD 1 a LIMIT 1 LIMIT 2", "2");
    gives("SINTERCARD 0 a", NO_KEYS);
    gives("SINTERCARD -1 a", NO_KEYS);
    gives("SINTERCARD word a", NO_KEYS);
    static const char MANY[] = "-ERR Number of keys can't be greater than number of args";
    static const char NEGATIVE[] = "-ERR LIMIT can't be negative";
    gives("SINTERCARD 2 a", MANY);
    gives("SINTERCARD 4294967296 a", MANY);
    gives("SINTERCARD 1 a b", SYNTAX);
    gives("SINTERCARD 1 a LIMIT", SYNTAX);
    gives("SINTERCARD 1 a LIMIT -1", NEGATIVE);
    gives("SINTERCARD 1 a LIMIT word", NEGATIVE);
    gives("SINTERCARD 1", "-ERR wrong number of arguments for 'sintercard' command");
}

FAMILY_CASE(test_union)
{
    gives("SADD a 1 2 x", "3");
    gives("SADD b 2 3 y", "3");
    gives_sorted("SUNION a b", "[1 2 3 x y]");
    gives_sorted("SUNION no a no", "[1 2 x]");
    gives("SUNION no", "[]");
    gives_sorted("SUNION a a a", "[1 2 x]");
    gives("SUNIONSTORE a a b", "5");
    gives_sorted("SMEMBERS a", "[1 2 3 x y]");
    gives("SUNIONSTORE d no no2", "0");
    gives("EXISTS d", "0");
    gives("EXPIRE b 100", "1");
    gives("SUNIONSTORE b a", "5"); // a new key, which does not expire
    gives("TTL b", "-1");
}

FAMILY_CASE(test_difference)
{
    gives("SADD a 1 2 3 4 x", "5");
    gives("SADD b 2 x", "2");
    gives("SADD c 4 5", "2");
    gives_sorted("SDIFF a b", "[1 3 4]");
    gives_sorted("SDIFF a b c", "[1 3]");
    gives_sorted("SDIFF a no", "[1 2 3 4 x]");
    gives_sorted("SDIFF a", "[1 2 3 4 x]");
    gives("SDIFF a a", "[]");
    gives("SDIFF a b a", "[]");
    gives("SDIFF no a", "[]");
    gives("SDIFFSTORE a a b c", "2");
    gives_sorted("SMEMBERS a", "[1 3]");
    gives("SDIFFSTORE a a a", "0");
    gives("EXISTS a", "0");
}

// Some thousand members, in all the ways that sets can be put together.
FAMILY_CASE(test_large_sets)
{
    add_numbers("a", 0, 3000);
    add_numbers("b", 1000, 3000);
    add_numbers("c", 2995, 10);
    gives("SINTERSTORE d a b", "2000");
    gives("SINTERCARD 2 b a LIMIT 1234", "1234");
    gives_sorted("SINTER a b c", "[2995 2996 2997 2998 2999]");
    gives("SUNIONSTORE d a b c", "4000");
    gives("SDIFFSTORE d a b", "1000");
    gives("SDIFFSTORE d b c a", "995");
    gives("SCARD d", "995");
}

FAMILY_CASE(test_encoding)
{
    gives("SADD n 1 2 3", "3");
    gives("OBJECT ENCODING n", "intset");
    gives("SADD n word", "1");
    gives("OBJECT ENCODING n", "hashtable");
    gives("SREM n word", "1"); // for good
    gives("OBJECT ENCODING n", "hashtable");
    gives("COPY n copy", "1");
    gives("OBJECT ENCODING copy", "hashtable");
    gives("RENAME n m", "OK");
    gives("OBJECT ENCODING m", "hashtable");
    gives("SUNIONSTORE m m", "3"); // it is another
    gives("OBJECT ENCODING m", "intset");
    gives("SMOVE copy m 3", "1");
    gives("OBJECT ENCODING m", "intset");
    add_numbers("many", 0, 512);
    gives("OBJECT ENCODING many", "intset");
    gives("SADD many 512", "1");
    gives("SREM many 512", "1");
    gives("OBJECT ENCODING many", "hashtable");
}

// ---- At random ----

FAMILY_CASE(test_pop)
{
    gives("SADD s only", "1");
    gives("SPOP s", "only");
    gives("EXISTS s", "0");
    gives("SADD s a b c", "3");
    gives("SPOP s 0", "[]");
    gives("SCARD s", "3");
    gives_sorted("SPOP s 100", "[a b c]");
    gives("EXISTS s", "0");
    gives("SADD s a", "1");
    gives("SPOP s -1", "-ERR value is out of range, must be positive");
    gives("SPOP s word", "-ERR value is out of range, must be positive");
    gives("SPOP s 1 1", SYNTAX);
    gives("SMEMBERS s", "[a]");
}

// Each member once, whether one by one, some at a time, or few of many.
static void pop_all(const char *key, int count, int many)
{
    for (int s = 0; s < sides_there; s++) {
        static bool seen[20000];
        memset(seen, 0, sizeof seen);
        for (int left = count; left > 0;) {
            const char *r =
                ask(&at[s], many > 1 ? line_of("SPOP %s %d", key, many) : line_of("SPOP %s", key));
            size_t n = 1;
            span whole = {r, strlen(r)}, *items = &whole;
            if (many > 1)
                items = items_of(whole, 1, &n);
            assert_int_equal(n, left < many ? left : many);
            for (size_t i = 0; i < n; i++) {
                int number = atoi(strchr(items[i].p, '\n') + 1);
                assert_true(number >= 0 && number < count && !seen[number]);
                seen[number] = true;
            }
            left -= (int)n;
            assert_int_equal(ask_number(&at[s], line_of("SCARD %s", key)), left);
            if (many > 1)
                free(items);
        }
    }
    gives(line_of("EXISTS %s", key), "0");
}

FAMILY_CASE(test_pop_gives_each_once)
{
    add_numbers("one", 0, 3000);
    pop_all("one", 3000, 1);
    add_numbers("few", 0, 5000);
    pop_all("few", 5000, 17);
    add_numbers("most", 0, 5000);
    pop_all("most", 5000, 4500);
}

// How many different ones are among those that are given, and whether all are members.
static size_t different(int side, const char *line, int members, size_t *count)
{
    static bool seen[20000];
    size_t different = 0;
    memset(seen, 0, sizeof seen);
    const char *r = ask(&at[side], line);
    span *items = items_of({r, strlen(r)}, 1, count);
    for (size_t i = 0; i < *count; i++) {
        int number = atoi(strchr(items[i].p, '\n') + 1);
        assert_true(number >= 0 && number < members);
        different += !seen[number];
        seen[number] = true;
    }
    free(items);
    return different;
}

FAMILY_CASE(test_random_members)
{
    static const int counts[] = {1, 5, 20, 90, 99};
    size_t n;
    add_numbers("s", 0, 100);
    for (int s = 0; s < sides_there; s++) {
        for (int count : counts) {
            assert_int_equal(different(s, line_of("SRANDMEMBER s %d", count), 100, &n), count);
            assert_int_equal(n, count);
            different(s, line_of("SRANDMEMBER s -%d", count), 100, &n);
            assert_int_equal(n, count);
        }
        // Without a sign never one twice, with it surely.
        assert_int_equal(different(s, "SRANDMEMBER s 1000", 100, &n), 100);
        assert_int_equal(n, 100);
        assert_true(different(s, "SRANDMEMBER s -1000", 100, &n) > 90);
        assert_int_equal(n, 1000);
    }
    gives("SRANDMEMBER s 0", "[]");
    gives("SCARD s", "100");
    gives("SRANDMEMBER s word", NO_INTEGER);
    gives("SRANDMEMBER s 1 2", SYNTAX);
    gives("SRANDMEMBER s -9223372036854775808",
          "-ERR value is out of range, value must between -9223372036854775807 and "
          "9223372036854775807");
    gives("SADD one a", "1");
    gives("SRANDMEMBER one", "a");
    gives("SRANDMEMBER one 5", "[a]");
    gives("SRANDMEMBER one -3", "[a a a]");
}

// Few of very many: all are drawn alike, also while the table is made smaller.
FAMILY_CASE(test_random_members_of_many)
{
    size_t n;
    add_numbers("s", 0, 20000);
    for (int s = 0; s < sides_there; s++) {
        assert_int_equal(different(s, "SRANDMEMBER s 100", 20000, &n), 100);
        assert_int_equal(n, 100);
    }
    for (int s = 0; s < sides_there; s++)
        ask(&at[s], "SPOP s 19000");
    gives("SCARD s", "1000");
    for (int s = 0; s < sides_there; s++)
        assert_int_equal(different(s, "SRANDMEMBER s 50", 20000, &n), 50);
}

// The sum of the squared distances from what is to be expected: 64 members, 63 degrees of freedom.
FAMILY_CASE(test_random_members_are_drawn_alike)
{
    enum { MEMBERS = 64, DRAWN = 64 * 500 };
    add_numbers("s", 0, MEMBERS);
    for (int s = 0; s < sides_there; s++) {
        int often[MEMBERS] = {};
        double distance = 0;
        size_t n;
        const char *r = ask(&at[s], line_of("SRANDMEMBER s -%d", DRAWN));
        span *items = items_of({r, strlen(r)}, 1, &n);
        for (size_t i = 0; i < n; i++)
            often[atoi(strchr(items[i].p, '\n') + 1)]++;
        free(items);
        for (int o : often)
            distance += (o - 500.0) * (o - 500.0) / 500;
        assert_true(s == REDIS || distance < 150); // once in 10^8
    }
}

// ---- RESP3 ----

FAMILY_CASE(test_resp3)
{
    speak_resp3();
    gives("SADD s a", "1");
    gives("SMEMBERS s", "{a}");
    gives("SMEMBERS no", "{}");
    gives("SINTER s s", "{a}");
    gives("SUNION s no", "{a}");
    gives("SDIFF s no", "{a}");
    gives("SRANDMEMBER s 3", "[a]");
    gives("SRANDMEMBER no", "nil");
    gives("SPOP s 3", "{a}");
    gives("SPOP s 3", "{}");
    gives("SPOP s", "nil");
}

RUN_FAMILY()
