// Lists in the scenarios of Redis's own suite, from what the manual of Redis says of each command.
// Who waits and gets what is in beside_waiting.cc, at random.
#include "families.h"

static raw other[SIDES]; // a second connection to each

static void open_other(void)
{
    for (int s = 0; s < sides_there; s++)
        raw_open(&other[s], address_of[s]);
}

static void close_other(void)
{
    for (int s = 0; s < sides_there; s++)
        raw_close(&other[s]);
}

// The second connections wait with this command.
static void waits(const char *line)
{
    for (int s = 0; s < sides_there; s++) {
        raw_ask(&other[s], line);
        assert_true(wait_blocked(&at[s], 1));
    }
}

static void gets(const char *expected)
{
    for (int s = 0; s < sides_there; s++)
        assert_string_equal(shown_reply(&other[s], 0), expected);
}

// ---- Push, pop ----

FAMILY_CASE(test_push_and_pop)
{
    gives("LPUSH l a b", "2");
    gives("RPUSH l c d e", "5");
    gives("LRANGE l 0 -1", "[b a c d e]");
    gives("LLEN l", "5");
    gives("LINDEX l 0", "b");
    gives("LINDEX l -1", "e");
    gives("LINDEX l 5", "nil");
    gives("LPOP l", "b");
    gives("RPOP l", "e");
    gives("RPOP l 2", "[d c]");
    gives("LPOP l 0", "[]");
    gives("LPOP l 10", "[a]");
    gives("EXISTS l", "0");
    gives("LPOP l", "nil");
    gives("LPOP l 1", "nil");
    gives("RPOP l 0", "nil");
    gives("LLEN l", "0");
    gives("RPUSH l a", "1");
    gives("LPOP l -1", "-ERR value is out of range, must be positive");
    gives("LPOP l word", "-ERR value is out of range, must be positive");
    gives("LPOP l 1 1", "-ERR wrong number of arguments for 'lpop' command");
    gives("LRANGE l 0 -1", "[a]");
}

FAMILY_CASE(test_push_if_there)
{
    gives("LPUSHX l a", "0");
    gives("RPUSHX l a", "0");
    gives("EXISTS l", "0");
    gives("RPUSH l b", "1");
    gives("LPUSHX l a", "2");
    gives("RPUSHX l c d", "4");
    gives("LPUSHX l 2 1", "6");
    gives("LRANGE l 0 -1", "[1 2 a b c d]");
}

FAMILY_CASE(test_wrong_type)
{
    gives("HSET h f v", "1");
    gives("RPUSH l a", "1");
    all_give({"LPUSH h a",
              "RPUSH h a",
              "LPUSHX h a",
              "RPUSHX h a",
              "LPOP h",
              "RPOP h 2",
              "LLEN h",
              "LRANGE h 0 -1",
              "LINDEX h 0",
              "LSET h 0 a",
              "LREM h 0 a",
              "LTRIM h 0 1",
              "LPOS h a",
              "LMOVE h l LEFT LEFT",
              "LINSERT h BEFORE a b",
              "RPOPLPUSH h l",
              "RPOPLPUSH l h",
              "LMPOP 1 h LEFT",
              "LMPOP 2 no h RIGHT COUNT 2",
              "BLPOP h 1",
              "BLPOP no h 1",
              "BRPOP h 1",
              "BLMPOP 1 1 h LEFT",
              "BLMOVE h l LEFT LEFT 1",
              "BLMOVE l h LEFT LEFT 1",
              "BRPOPLPUSH h l 1",
              "BRPOPLPUSH l h 1"},
             WRONG_TYPE);
    gives("LRANGE l 0 -1", "[a]");
    gives("RPOPLPUSH no h", "nil"); // nothing to move
}

// ---- In the middle ----

FAMILY_CASE(test_insert)
{
    gives("RPUSH l a b c d", "4");
    gives("LINSERT l BEFORE c zz", "5");
    gives("LRANGE l 0 -1", "[a b zz c d]");
    gives("LINSERT l after c yy", "6");
    gives("LINSERT l AFTER d xx", "7");
    gives("LINSERT l BEFORE a first", "8");
    gives("LINSERT l AFTER a second", "9");
    gives("LINSERT l BEFORE xx last", "10");
    gives("LRANGE l 0 -1", "[first a second b zz c yy d last xx]");
    gives("LINSERT l BEFORE no v", "-1");
    gives("LINSERT no BEFORE a v", "0");
    gives("EXISTS no", "0");
    gives("LINSERT l AROUND a v", SYNTAX);
    gives("LINSERT no AROUND a v", SYNTAX);
    gives("RPUSH n 1 2 2 3", "4");
    gives("LINSERT n AFTER 2 x", "5"); // the first of them
    gives("LRANGE n 0 -1", "[1 2 x 2 3]");
}

// At each place of a list whose ring has come around.
FAMILY_CASE(test_insert_anywhere)
{
    for (int at_index = 0; at_index < 20; at_index++) {
        gives("DEL l", at_index == 0 ? "0" : "1");
        for (int i = 9; i >= 0; i--) {
            gives(line_of("LPUSH l %d", i), line_of("%d", (9 - i) * 2 + 1));
            gives(line_of("RPUSH l %d", 19 - i), line_of("%d", (9 - i) * 2 + 2));
        }
        gives(line_of("LINSERT l %s %d x", at_index % 2 == 0 ? "BEFORE" : "AFTER", at_index), "21");
        gives(line_of("LPOS l x"), line_of("%d", at_index + at_index % 2));
        gives("LREM l 0 x", "1");
        gives("LRANGE l 0 -1", "[0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19]");
    }
}

FAMILY_CASE(test_set_and_remove)
{
    gives("RPUSH l a b a c a", "5");
    gives("LSET l 1 x", "OK");
    gives("LSET l -1 y", "OK");
    gives("LSET l 5 z", "-ERR index out of range");
    gives("LSET no 0 z", "-ERR no such key");
    gives("LSET l word z", NO_INTEGER);
    gives("LRANGE l 0 -1", "[a x a c y]");
    gives("LREM l 1 a", "1");
    gives("LRANGE l 0 -1", "[x a c y]");
    gives("RPUSH l x x", "6");
    gives("LREM l -2 x", "2");
    gives("LRANGE l 0 -1", "[x a c y]");
    gives("LREM l 0 no", "0");
    gives("LREM no 0 a", "0");
    gives("DEL l", "1");
    gives("RPUSH l a a", "2");
    gives("LREM l 0 a", "2");
    gives("EXISTS l", "0");
}

FAMILY_CASE(test_trim)
{
    static const struct {
        const char *range, *left;
    } all[] = {{"0 0", "[1]"},          {"0 1", "[1 2]"},         {"0 -1", "[1 2 3 4 5]"},
               {"1 -1", "[2 3 4 5]"},   {"1 -2", "[2 3 4]"},      {"-2 -1", "[4 5]"},
               {"-1 -1", "[5]"},        {"-5 -1", "[1 2 3 4 5]"}, {"-10 10", "[1 2 3 4 5]"},
               {"0 10", "[1 2 3 4 5]"}, {"4 4", "[5]"},           {"-100 0", "[1]"}};
    for (auto &each : all) {
        gives("RPUSH l 1 2 3 4 5", "5");
        gives(line_of("LTRIM l %s", each.range), "OK");
        gives("LRANGE l 0 -1", each.left);
        gives("DEL l", "1");
    }
    for (const char *nothing : {"3 1", "5 10", "-1 -2", "-10 -6", "9223372036854775807 -1"}) {
        gives("RPUSH l 1 2 3 4 5", "5");
        gives(line_of("LTRIM l %s", nothing), "OK");
        gives("EXISTS l", "0");
    }
    gives("LTRIM no 0 1", "OK");
    gives("LTRIM no 0 word", NO_INTEGER);
    gives("RPUSH l a", "1");
    gives("LTRIM l word 1", NO_INTEGER);
}

// Thousands at once, from both ends, over and over.
FAMILY_CASE(test_trim_many)
{
    char line[4000];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 6000;) {
            size_t n = (size_t)sprintf(line, "RPUSH l");
            for (int k = 0; k < 500; k++, i++)
                n += (size_t)sprintf(line + n, " %d", i);
            gives(line, line_of("%d", i));
        }
        gives("LTRIM l 1500 -1501", "OK");
        gives("LLEN l", "3000");
        gives("LINDEX l 0", "1500");
        gives("LINDEX l -1", "4499");
        gives("LTRIM l -10 -1", "OK");
        gives("LRANGE l 0 -1", "[4490 4491 4492 4493 4494 4495 4496 4497 4498 4499]");
        gives("LTRIM l 1 0", "OK");
        gives("EXISTS l", "0");
    }
}

FAMILY_CASE(test_position)
{
    gives("RPUSH l a b c 1 2 3 c c", "8");
    gives("LPOS l a", "0");
    gives("LPOS l c", "2");
    gives("LPOS l no", "nil");
    gives("LPOS l c RANK 1", "2");
    gives("LPOS l c RANK 2", "6");
    gives("LPOS l c RANK 4", "nil");
    gives("LPOS l c RANK -1", "7");
    gives("LPOS l c RANK -2", "6");
    gives("LPOS l c COUNT 0", "[2 6 7]");
    gives("LPOS l c COUNT 1", "[2]");
    gives("LPOS l c COUNT 2", "[2 6]");
    gives("LPOS l c COUNT 100", "[2 6 7]");
    gives("LPOS l c COUNT 0 RANK 2", "[6 7]");
    gives("LPOS l c COUNT 2 RANK -1", "[7 6]");
    gives("LPOS l b COUNT 10 RANK 5", "[]");
    gives("LPOS l c COUNT 0 MAXLEN 1", "[]");
    gives("LPOS l c COUNT 0 MAXLEN 3", "[2]");
    gives("LPOS l c COUNT 0 MAXLEN 3 RANK -1", "[7 6]");
    gives("LPOS l c COUNT 0 MAXLEN 7 RANK 2", "[6]");
    gives("LPOS no c", "nil");
    gives("LPOS no c COUNT 1", "[]");
    gives("LPOS l c RANK 0",
          "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or "
          "use negative to start from the end of the list");
    gives("LPOS l c RANK word", NO_INTEGER);
    gives("LPOS l c COUNT -1", "-ERR COUNT can't be negative");
    gives("LPOS l c COUNT word", "-ERR COUNT can't be negative");
    gives("LPOS l c MAXLEN -1", "-ERR MAXLEN can't be negative");
    gives("LPOS l c RANK", SYNTAX);
    gives("LPOS l c FIRST 1", SYNTAX);
    gives("LPOS l c RANK -9223372036854775808", "7");
    gives("LPOS l c RANK -9223372036854775807", "nil");
}

// ---- Move ----

FAMILY_CASE(test_move)
{
    static const char *const ends[] = {"LEFT", "RIGHT"};
    gives("RPUSH l a b c d", "4");
    gives("RPOPLPUSH l to", "d");
    gives("RPOPLPUSH l to", "c");
    gives("LRANGE to 0 -1", "[c d]");
    gives("RPOPLPUSH to to", "d");
    gives("LRANGE to 0 -1", "[d c]");
    gives("LMOVE l to LEFT RIGHT", "a");
    gives("LMOVE l to LEFT LEFT", "b");
    gives("EXISTS l", "0");
    gives("LRANGE to 0 -1", "[b d c a]");
    gives("LMOVE to to LEFT RIGHT", "b");
    gives("LRANGE to 0 -1", "[d c a b]");
    gives("LMOVE no to LEFT LEFT", "nil");
    gives("RPOPLPUSH no to", "nil");
    gives("LMOVE to l UP LEFT", SYNTAX);
    for (const char *from : ends)
        for (const char *to : ends) {
            gives("DEL one", strcmp(from, "LEFT") == 0 && strcmp(to, "LEFT") == 0 ? "0" : "1");
            gives("RPUSH one x", "1");
            gives(line_of("LMOVE one one %s %s", from, to), "x");
            gives("LRANGE one 0 -1", "[x]");
        }
}

FAMILY_CASE(test_pop_from_several)
{
    static const char NO_COUNT[] = "-ERR count should be greater than 0";
    gives("RPUSH l a b c d e", "5");
    gives("RPUSH m f", "1");
    gives("LMPOP 1 l LEFT", "[l [a]]");
    gives("LMPOP 2 no l RIGHT COUNT 2", "[l [e d]]");
    gives("LMPOP 2 m l LEFT COUNT 10", "[m [f]]");
    gives("LMPOP 2 m l LEFT COUNT 10", "[l [b c]]");
    gives("LMPOP 2 m l LEFT COUNT 10", "nil");
    gives("EXISTS l m", "0");
    gives("RPUSH l a b", "2");
    for (const char *command : {"LMPOP", "BLMPOP 1"}) {
        for (const char *keys : {"0", "-1", "word"})
            gives(line_of("%s %s l LEFT", command, keys), NO_KEYS);
        for (const char *count : {"0", "-1", "word"})
            gives(line_of("%s 1 l LEFT COUNT %s", command, count), NO_COUNT);
        for (const char *rest : {"1 l UP", "2 l LEFT", "4294967297 l LEFT", "1 l LEFT COUNT",
                                 "1 l LEFT COUNT 1 COUNT 1", "1 l LEFT LEFT 1"})
            gives(line_of("%s %s", command, rest), SYNTAX);
    }
    gives("LMPOP 1 l", "-ERR wrong number of arguments for 'lmpop' command");
    gives("BLMPOP 1 1 l", "-ERR wrong number of arguments for 'blmpop' command");
    gives("BLMPOP -1 1 l LEFT", "-ERR timeout is negative");
    gives("BLMPOP word 1 l LEFT", "-ERR timeout is not a float or out of range");
    gives("BLMPOP 1 2 no l LEFT COUNT 2", "[l [a b]]"); // does not wait
}

// ---- Waiting ----

FAMILY_CASE(test_timeouts)
{
    static const char NO_FLOAT[] = "-ERR timeout is not a float or out of range";
    all_give({"BLPOP a 0.001", "BRPOP a b 0.001", "BLMOVE a b LEFT LEFT 0.001",
              "BRPOPLPUSH a b 0.001", "BLMPOP 0.001 2 a b LEFT"},
             "nil");
    for (const char *line : {"BLPOP a", "BRPOP a", "BLMOVE a b LEFT LEFT", "BRPOPLPUSH a b"}) {
        gives(line_of("%s -1", line), "-ERR timeout is negative");
        gives(line_of("%s word", line), NO_FLOAT);
        gives(line_of("%s nan", line), NO_FLOAT);
    }
}

FAMILY_CASE(test_waiters_are_served)
{
    open_other();
    waits("BLMPOP 0 2 a b LEFT COUNT 2");
    gives("RPUSH b 1 2 3", "3");
    gets("[b [1 2]]");
    gives("LRANGE b 0 -1", "[3]");
    waits("BLMPOP 0 2 no a RIGHT COUNT 10");
    gives("RPUSH a 1 2", "2");
    gets("[a [2 1]]");
    gives("EXISTS a", "0");
    waits("BRPOPLPUSH a to 0");
    gives("RPUSH a x y", "2");
    gets("y");
    gives("LRANGE to 0 -1", "[y]");
    gives("LRANGE a 0 -1", "[x]");
    waits("BRPOPLPUSH no b 0");
    gives("LMOVE a no LEFT LEFT", "x");
    gets("x");
    waits("BLPOP no 0");
    gives("RPOPLPUSH b no", "3");
    gets("[no 3]");
    waits("BRPOPLPUSH self self 0");
    gives("RPUSH self 1 2 3", "3");
    gets("3");
    gives("LRANGE self 0 -1", "[3 1 2]");
    close_other();
}

FAMILY_CASE(test_waiters_and_other_types)
{
    open_other();
    waits("BLMPOP 0 1 k LEFT");
    gives("SADD k member", "1"); // it waits on
    gives("DEL k", "1");
    gives("SET k text", "OK");
    gives("DEL k", "1");
    gives("RPUSH k item", "1");
    gets("[k [item]]");
    gives("SADD to member", "1");
    waits("BRPOPLPUSH k to 0");
    gives("RPUSH k item", "1");
    gets(WRONG_TYPE);
    gives("LRANGE k 0 -1", "[item]"); // it stays
    close_other();
}

// Those that a waiter's own move serves in turn.
FAMILY_CASE(test_chain_of_waiters)
{
    raw third[SIDES];
    open_other();
    waits("BRPOPLPUSH one two 0");
    for (int s = 0; s < sides_there; s++) {
        raw_open(&third[s], address_of[s]);
        raw_ask(&third[s], "BLMPOP 0 1 two LEFT COUNT 5");
        assert_true(wait_blocked(&at[s], 2));
    }
    gives("LPUSH one item", "1");
    gets("item");
    for (int s = 0; s < sides_there; s++) {
        assert_string_equal(shown_reply(&third[s], 0), "[two [item]]");
        raw_close(&third[s]);
    }
    gives("EXISTS one two", "0");
    close_other();
}

FAMILY_CASE(test_resp3)
{
    speak_resp3();
    gives("LMPOP 1 no LEFT", "nil");
    gives("BLMPOP 0.001 1 no LEFT", "nil");
    gives("RPUSH l a a", "2");
    gives("LPOS l b", "nil");
    gives("LPOS l a COUNT 0", "[0 1]");
    gives("LMPOP 1 l LEFT", "[l [a]]");
    gives("LPOP l 2", "[a]");
    gives("LPOP l 2", "nil");
}

RUN_FAMILY()
