// SCAN, HSCAN and SSCAN in steps, in the scenarios of Redis's own suite: what is there from the
// beginning to the end is seen, whatever else comes and goes.
#include "families.h"

static bool seen[50000];

// All steps from 0 to 0; how many different names were met, each a word and a number; `step` each
// (2: with values, of which the number is the same); `between` is called after each step.
static int scan_all(int side, const char *command, const char *options, size_t step,
                    void (*between)(int side, int round))
{
    char cursor[32] = "0";
    int different = 0;
    memset(seen, 0, sizeof seen);
    for (int round = 0;; round++) {
        size_t parts, n;
        const char *r = ask(
            &at[side], line_of("%s %s%s%s", command, cursor, options[0] != 0 ? " " : "", options));
        span *two = items_of({r, strlen(r)}, 1, &parts);
        assert_int_equal(parts, 2);
        span *items = items_of(two[1], step, &n);
        for (size_t i = 0; i < n; i++) {
            const char *name = strchr(items[i].p, '\n') + 1;
            int number = atoi(name + strcspn(name, "0123456789"));
            if (step == 2)
                assert_int_equal(atoi(strchr(items[i].p, 'v') + 1), number);
            different += !seen[number];
            seen[number] = true;
        }
        snprintf(cursor, sizeof cursor, "%.*s", (int)strcspn(strchr(two[0].p, '\n') + 1, "\r"),
                 strchr(two[0].p, '\n') + 1);
        free(items);
        free(two);
        if (strcmp(cursor, "0") == 0)
            return different;
        if (between != nullptr)
            between(side, round);
        assert_true(round < 100000);
    }
}

// `count` names in as few commands as lines have room for.
static void add_many(const char *command, const char *format, int count)
{
    char line[4096];
    for (int i = 0; i < count;) {
        size_t n = (size_t)sprintf(line, "%s", command);
        for (int k = 0; k < 60 && i < count; k++, i++) {
            char one[64];
            snprintf(one, sizeof one, "%d", i);
            for (const char *p = format; *p != 0; p++)
                n += *p == '#' ? (size_t)sprintf(line + n, "%s", one)
                               : (size_t)sprintf(line + n, "%c", *p);
        }
        send_all(line);
        for (int s = 0; s < sides_there; s++)
            assert_true(shown_reply(&at[s], 0)[0] != '-');
    }
}

FAMILY_CASE(test_keys)
{
    add_many("MSET", " k# v", 1000);
    add_many("SADD set", " m#", 10);
    for (int s = 0; s < sides_there; s++) {
        assert_int_equal(scan_all(s, "SCAN", "", 1, nullptr), 1000);
        assert_int_equal(scan_all(s, "SCAN", "COUNT 5", 1, nullptr), 1000);
        assert_int_equal(scan_all(s, "SCAN", "MATCH k1??", 1, nullptr), 100);
        assert_int_equal(scan_all(s, "SCAN", "TYPE string MATCH *7", 1, nullptr), 100);
        assert_int_equal(scan_all(s, "SCAN", "TYPE set", 1, nullptr), 1);
        assert_int_equal(scan_all(s, "SCAN", "TYPE zset", 1, nullptr), 0);
    }
    gives("SCAN 0 COUNT 0", SYNTAX);
    gives("SCAN 0 COUNT word", NO_INTEGER);
    gives("SCAN 0 MATCH", SYNTAX);
    gives("SCAN word", "-ERR invalid cursor");
}

// Expired keys are not told.
FAMILY_CASE(test_expired_keys)
{
    add_many("MSET", " k# v", 10);
    gives("SET gone99 v PX 1", "OK");
    usleep(3000);
    for (int s = 0; s < sides_there; s++) {
        assert_int_equal(scan_all(s, "SCAN", "COUNT 1000", 1, nullptr), 10);
        assert_false(seen[99]);
    }
}

FAMILY_CASE(test_fields)
{
    for (int count : {5, 1000}) {
        gives("DEL h", count == 5 ? "0" : "1");
        add_many("HSET h", " f# v#", count);
        for (int s = 0; s < sides_there; s++) {
            assert_int_equal(scan_all(s, "HSCAN h", "", 2, nullptr), count);
            assert_int_equal(scan_all(s, "HSCAN h", "COUNT 3", 2, nullptr), count);
            assert_int_equal(scan_all(s, "HSCAN h", "MATCH f?", 2, nullptr),
                             count < 10 ? count : 10);
        }
    }
    gives("HSCAN no 0", "[0 []]");
    gives("HSCAN no 0 COUNT word", "[0 []]");
    gives("HSCAN no word", "-ERR invalid cursor");
    gives("HSCAN h 0 COUNT word", NO_INTEGER);
    gives("HSCAN h 0 TYPE string", SYNTAX);
    gives("HSCAN h", "-ERR wrong number of arguments for 'hscan' command");
}

FAMILY_CASE(test_members)
{
    for (const char *format : {" m#", " #"}) { // words, numbers
        gives("DEL s", format[1] == 'm' ? "0" : "1");
        add_many("SADD s", format, 1000);
        for (int s = 0; s < sides_there; s++) {
            assert_int_equal(scan_all(s, "SSCAN s", "", 1, nullptr), 1000);
            assert_int_equal(scan_all(s, "SSCAN s", "COUNT 7", 1, nullptr), 1000);
            assert_int_equal(scan_all(s, "SSCAN s", "MATCH *99", 1, nullptr), 10);
        }
    }
    gives("SSCAN no 0", "[0 []]");
    gives("SSCAN s 0 TYPE set", SYNTAX);
    gives("SET text v", "OK");
    gives("SSCAN text 0", WRONG_TYPE);
    gives("HSCAN text 0", WRONG_TYPE);
}

// ---- While it changes ----

static void grow(int side, int round)
{
    if (round < 200)
        ask(&at[side],
            line_of("SADD s %d %d %d", 10000 + round * 3, 10001 + round * 3, 10002 + round * 3));
}

static void shrink(int side, int round)
{
    for (int i = 0; i < 20; i++)
        ask(&at[side], line_of("SREM s %d", 2000 + round * 20 + i));
}

FAMILY_CASE(test_while_it_grows_and_shrinks)
{
    add_many("SADD s", " #", 1000);
    for (int s = 0; s < sides_there; s++) {
        scan_all(s, "SSCAN s", "COUNT 5", 1, grow);
        for (int i = 0; i < 1000; i++)
            assert_true(seen[i]);
    }
    add_many("SADD s", " #", 8000);
    for (int s = 0; s < sides_there; s++) {
        scan_all(s, "SSCAN s", "COUNT 5", 1, shrink);
        for (int i = 0; i < 2000; i++)
            assert_true(seen[i]);
    }
}

RUN_FAMILY()
