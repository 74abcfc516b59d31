// Strings and numbers in the scenarios of Redis's own suite, from what the manual of Redis says of
// each command.
#include "families.h"

#include <time.h>

static const char NO_TIME[] = "-ERR invalid expire time in '%s' command";

// Whether it expires, and in so many seconds or a little less.
static void expires_in(const char *key, long long seconds)
{
    send_all(line_of("TTL %s", key));
    for (int s = 0; s < sides_there; s++) {
        long long left = atoll(shown_reply(&at[s], 0));
        assert_true(left <= seconds && left > seconds - 30);
    }
}

// ---- Set, get ----

FAMILY_CASE(test_set_and_get)
{
    gives("SET k value", "OK");
    gives("GET k", "value");
    gives("SET k ", "OK");
    gives("GET k", "");
    gives("GET no", "nil");
    gives("DEL k", "1");
    gives("SETNX k first", "1");
    gives("SETNX k second", "0");
    gives("GET k", "first");
    gives("EXPIRE k 100", "1");
    gives("SETNX k second", "0");
    expires_in("k", 100);
    gives("PSETEX k 1 v", "OK");
    goes_within_time("k");
    gives("SETNX k third", "1");
    gives("TTL k", "-1");
    gives("RPUSH l a", "1");
    gives("SETNX l v", "0");
    gives("GET l", WRONG_TYPE);
    gives("SET l v", "OK"); // whatever it was
    gives("TYPE l", "string");
}

FAMILY_CASE(test_set_with_time)
{
    gives("SETEX k 100 v", "OK");
    expires_in("k", 100);
    gives("GET k", "v");
    gives("PSETEX k 200000 w", "OK");
    expires_in("k", 200);
    gives("GET k", "w");
    for (const char *command : {"SETEX", "PSETEX"}) {
        char small[8];
        snprintf(small, sizeof small, "%s", command[0] == 'P' ? "psetex" : "setex");
        char error[80];
        snprintf(error, sizeof error, NO_TIME, small);
        gives(line_of("%s k 0 v", command), error);
        gives(line_of("%s k -10 v", command), error);
        gives(line_of("%s k 9223372036854775807 v", command), error);
        gives(line_of("%s k word v", command), NO_INTEGER);
        gives(line_of("%s k 1.5 v", command), NO_INTEGER);
    }
    gives("GET k", "w"); // none of them has changed it
    gives("RPUSH l a", "1");
    gives("SETEX l 100 v", "OK");
    gives("TYPE l", "string");
}

FAMILY_CASE(test_getset)
{
    gives("GETSET k first", "nil");
    gives("GETSET k second", "first");
    gives("EXPIRE k 100", "1");
    gives("GETSET k third", "second");
    gives("TTL k", "-1");
    gives("RPUSH l a", "1");
    gives("GETSET l v", WRONG_TYPE);
    gives("LLEN l", "1");
}

FAMILY_CASE(test_getdel)
{
    gives("SET k v", "OK");
    gives("GETDEL k", "v");
    gives("GETDEL k", "nil");
    gives("EXISTS k", "0");
    gives("RPUSH l a", "1");
    gives("GETDEL l", WRONG_TYPE);
    gives("EXISTS l", "1");
}

FAMILY_CASE(test_getex)
{
    long long now = (long long)time(nullptr);
    gives("SET k v", "OK");
    gives("GETEX k", "v");
    gives("TTL k", "-1");
    gives("GETEX k EX 100", "v");
    expires_in("k", 100);
    gives("GETEX k", "v");
    expires_in("k", 100);
    gives("GETEX k px 200000", "v");
    expires_in("k", 200);
    gives(line_of("GETEX k EXAT %lld", now + 300), "v");
    expires_in("k", 300);
    gives(line_of("GETEX k PXAT %lld", (now + 400) * 1000), "v");
    expires_in("k", 400);
    gives("GETEX k PERSIST", "v");
    gives("TTL k", "-1");
    gives("GETEX k PERSIST", "v");
    gives("GETEX k EXAT 1", "v"); // it is over
    gives("EXISTS k", "0");
    gives("GETEX k", "nil");
    gives("GETEX k EX 100", "nil");
    gives("EXISTS k", "0");
    gives("SET k v", "OK");
    gives("GETEX k PX 1", "v");
    goes_within_time("k");
}

FAMILY_CASE(test_getex_errors)
{
    char error[80];
    gives("SET k v", "OK");
    for (const char *options : {"EX", "PX", "EXAT", "PXAT", "EX 1 PX 1", "EX 1 PERSIST",
                                "PERSIST EX 1", "KEEPTTL", "NX", "XX", "GET", "non-existent", "1"})
        gives(line_of("GETEX k %s", options), SYNTAX);
    snprintf(error, sizeof error, NO_TIME, "getex");
    for (const char *options : {"EX 0", "EX -1", "PX 0", "EXAT 0", "PXAT -5",
                                "EX 9223372036854775807", "PX 9223372036854775807"})
        gives(line_of("GETEX k %s", options), error);
    gives("GETEX k EX word", NO_INTEGER);
    gives("GETEX no EX 0", "nil"); // not looked at
    gives("TTL k", "-1");
    gives("GETEX", "-ERR wrong number of arguments for 'getex' command");
    gives("RPUSH l a", "1");
    gives("GETEX l EX 100", WRONG_TYPE);
    gives("TTL l", "-1");
}

FAMILY_CASE(test_set_options)
{
    gives("SET k 1 XX", "nil");
    gives("EXISTS k", "0");
    gives("SET k 1 NX", "OK");
    gives("SET k 2 NX", "nil");
    gives("SET k 2 XX", "OK");
    gives("SET k 3 GET", "2");
    gives("SET no 3 GET", "nil");
    gives("GET no", "3");
    gives("SET no 4 NX GET", "3");
    gives("GET no", "3");
    gives("SET k v EX 100", "OK");
    gives("SET k w KEEPTTL", "OK");
    expires_in("k", 100);
    gives("SET k w", "OK");
    gives("TTL k", "-1");
    for (const char *options : {"NX XX", "EX 1 PX 1", "EX 1 KEEPTTL", "EX", "PERSIST", "foo"})
        gives(line_of("SET k v %s", options), SYNTAX);
    gives("RPUSH l a", "1");
    gives("SET l v GET", WRONG_TYPE);
    gives("LLEN l", "1");
}

FAMILY_CASE(test_many)
{
    gives("MSET a 1 b 2", "OK");
    gives("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command");
    gives("MSETNX a 1 b", "-ERR wrong number of arguments for 'msetnx' command");
    gives("RPUSH l x", "1");
    gives("MGET a no b l", "[1 nil 2 nil]");
    gives("MSETNX c 3 a 4", "0");
    gives("EXISTS c", "0");
    gives("MSETNX c 3 l 4", "0"); // of whatever type
    gives("MSETNX c 3 d 4", "1");
    gives("MGET c d", "[3 4]");
    gives("MSETNX e 1 e 2", "1"); // the last counts
    gives("GET e", "2");
    gives("MSET a x a y", "OK");
    gives("GET a", "y");
}

// ---- Parts ----

FAMILY_CASE(test_setrange)
{
    gives("SETRANGE k 0 ", "0");
    gives("EXISTS k", "0");
    gives("SETRANGE k 0 foo", "3");
    gives("GET k", "foo");
    gives("SETRANGE k 0 ", "3");
    gives("SETRANGE k 0 b", "3");
    gives("GET k", "boo");
    gives("SETRANGE k 1 bar", "4");
    gives("GET k", "bbar");
    gives("SETRANGE k 6 xyz", "9");
    for (int s = 0; s < sides_there; s++)
        assert_memory_equal(ask(&at[s], "GETRANGE k 3 6"), "$4\r\nr\0\0x\r\n", 10);
    gives("GETRANGE k 6 -1", "xyz");
    gives("SET k 1234", "OK");
    gives("SETRANGE k 1 0", "4");
    gives("INCR k", "1035");
    gives("EXPIRE k 100", "1");
    gives("SETRANGE k 0 2", "4");
    expires_in("k", 100);
}

FAMILY_CASE(test_setrange_errors)
{
    static const char LONG[] = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    gives("SETRANGE k -1 x", "-ERR offset is out of range");
    gives("SETRANGE k word x", NO_INTEGER);
    gives("SETRANGE k 536870908 world", LONG);
    gives("SETRANGE k 9223372036854775807 x", LONG);
    gives("SETRANGE k 9223372036854775807 ", "0");
    gives("EXISTS k", "0");
    gives("SET k hello", "OK");
    gives("SETRANGE k 536870912 x", LONG);
    gives("GET k", "hello");
    gives("RPUSH l a", "1");
    gives("SETRANGE l 0 ", WRONG_TYPE);
    gives("SETRANGE l 0 x", WRONG_TYPE);
    gives("SETRANGE l -1 x", "-ERR offset is out of range");
}

FAMILY_CASE(test_getrange)
{
    gives("GETRANGE no 0 -1", "");
    gives("SET k 0123456789", "OK");
    for (const char *command : {"GETRANGE", "SUBSTR"}) {
        gives(line_of("%s k 0 3", command), "0123");
        gives(line_of("%s k 0 -1", command), "0123456789");
        gives(line_of("%s k -4 -1", command), "6789");
        gives(line_of("%s k 5 3", command), "");
        gives(line_of("%s k 5 5000", command), "56789");
        gives(line_of("%s k -5000 10000", command), "0123456789");
        gives(line_of("%s k -1 -5", command), "");
        gives(line_of("%s k -5000 -4000", command), "0");
        gives(line_of("%s k 0 4294967297", command), "0123456789");
        gives(line_of("%s k 9223372036854775807 -1", command), "");
        gives(line_of("%s k 0 -9223372036854775808", command), "0");
    }
    gives("GETRANGE k word 1", NO_INTEGER);
    gives("RPUSH l a", "1");
    gives("GETRANGE l 0 1", WRONG_TYPE);
    gives("GETRANGE l word 1", NO_INTEGER);
}

FAMILY_CASE(test_bits)
{
    static const char NO_OFFSET[] = "-ERR bit offset is not an integer or out of range";
    static const char NO_BIT[] = "-ERR bit is not an integer or out of range";
    gives("GETBIT no 100", "0");
    gives("SETBIT k 1 1", "0");
    gives("GET k", "@");
    gives("SETBIT k 1 0", "1");
    gives("SETBIT k 1 1", "0");
    gives("SETBIT k 18 1", "0"); // the third byte
    gives("STRLEN k", "3");
    gives("GETRANGE k 2 2", " ");
    for (const char *bit : {"0", "2", "17", "19", "24", "100", "4294967295"})
        gives(line_of("GETBIT k %s", bit), "0");
    gives("GETBIT k 1", "1");
    gives("GETBIT k 18", "1");
    gives("SETBIT k 100 0", "0"); // makes it longer as well
    gives("STRLEN k", "13");
    gives("SET n 1", "OK");
    gives("SETBIT n 6 1", "0");
    gives("GET n", "3");
    gives("GETBIT n 7", "1");
    for (const char *wrong : {"-1", "4294967296", "word", "1.5"}) {
        gives(line_of("SETBIT k %s 1", wrong), NO_OFFSET);
        gives(line_of("GETBIT k %s", wrong), NO_OFFSET);
    }
    for (const char *wrong : {"-1", "2", "10", "word"})
        gives(line_of("SETBIT k 0 %s", wrong), NO_BIT);
    gives("WATCH k", "OK"); // a bit that is the same is no change
    gives("SETBIT k 1 1", "1");
    gives("MULTI", "OK");
    gives("GETBIT k 1", "QUEUED");
    gives("EXEC", "[1]");
    gives("RPUSH l a", "1");
    gives("SETBIT l 0 1", WRONG_TYPE);
    gives("GETBIT l 0", WRONG_TYPE);
}

FAMILY_CASE(test_append_and_length)
{
    gives("STRLEN no", "0");
    gives("APPEND k foo", "3");
    gives("APPEND k bar", "6");
    gives("GET k", "foobar");
    gives("STRLEN k", "6");
    gives("SET k -555", "OK");
    gives("STRLEN k", "4");
    gives("APPEND k ", "4");
}

// Some megabytes, taken apart and put together again.
FAMILY_CASE(test_large)
{
    enum { PIECE = 900 };
    char line[PIECE + 64], piece[PIECE + 1];
    memset(piece, 'x', PIECE);
    piece[PIECE] = 0;
    for (int i = 0; i < 100; i++) {
        snprintf(line, sizeof line, "SETRANGE k %d %s", i * 30000, piece);
        char end[16];
        snprintf(end, sizeof end, "%d", i * 30000 + PIECE);
        gives(line, end);
    }
    gives("STRLEN k", "2970900");
    gives("GETRANGE k 2970000 -1", piece);
    gives("APPEND k end", "2970903");
    gives("GETRANGE k -4 -1", "xend");
}

FAMILY_CASE(test_encoding)
{
    gives("SET k 1234", "OK");
    gives("OBJECT ENCODING k", "int");
    gives("SETRANGE k 0 2", "4");
    gives("OBJECT ENCODING k", "raw");
    gives("INCR k", "2235");
    gives("OBJECT ENCODING k", "int");
    gives("APPEND k 6", "5");
    gives("OBJECT ENCODING k", "raw");
    gives("COPY k copy", "1");
    gives("OBJECT ENCODING copy", "raw");
    gives("SET k 7", "OK");
    gives("OBJECT ENCODING k", "int");
    gives("APPEND new 12", "2");
    gives("OBJECT ENCODING new", "int");
    gives("SETRANGE part 0 12", "2");
    gives("OBJECT ENCODING part", "raw");
    gives("SET k word", "OK");
    gives("OBJECT ENCODING k", "embstr");
    gives("APPEND k s", "5");
    gives("OBJECT ENCODING k", "raw");
}

// ---- Numbers ----

FAMILY_CASE(test_increments)
{
    gives("INCR n", "1");
    gives("INCR n", "2");
    gives("DECR n", "1");
    gives("SET n 17179869184", "OK");
    gives("INCR n", "17179869185");
    gives("INCRBY n 17179869184", "34359738369");
    gives("DECRBY n 17179869185", "17179869184");
    gives("INCRBY n -17179869184", "0");
    gives("SET n 9223372036854775807", "OK");
    gives("INCR n", "-ERR increment or decrement would overflow");
    gives("GET n", "9223372036854775807");
    gives("SET n -9223372036854775808", "OK");
    gives("DECR n", "-ERR increment or decrement would overflow");
    gives("DECRBY n -9223372036854775808", "-ERR decrement would overflow");
    each_replies("*3\r\n$3\r\nSET\r\n$1\r\nn\r\n$5\r\n  11 \r\n", "+OK\r\n");
    gives("INCR n", NO_INTEGER);
    gives("EXPIRE m 100", "0");
    gives("SET m 1 EX 100", "OK");
    gives("INCR m", "2");
    expires_in("m", 100);
    gives("RPUSH l 1", "1");
    gives("INCR l", WRONG_TYPE);
    gives("INCRBY n word", NO_INTEGER);
}

FAMILY_CASE(test_fractions)
{
    static const char NO_FLOAT[] = "-ERR value is not a valid float";
    gives("INCRBYFLOAT n 1", "1");
    gives("INCRBYFLOAT n 0.25", "1.25");
    gives("GET n", "1.25");
    gives("SET n 1.5", "OK");
    gives("INCRBYFLOAT n 1.5", "3");
    gives("INCR n", "4");
    gives("INCRBYFLOAT n 0.1", "4.1");
    gives("INCR n", NO_INTEGER);
    gives("SET n 17179869184", "OK");
    gives("INCRBYFLOAT n 1.5", "17179869185.5");
    gives("SET n 5.0e3", "OK");
    gives("INCRBYFLOAT n 2.0e2", "5200");
    gives("SET n 1", "OK");
    gives("INCRBYFLOAT n -1.1", "-0.1");
    gives("INCRBYFLOAT n 0.1", "0"); // not -0
    gives("SET n 3", "OK");
    gives("INCRBYFLOAT n 1.00000000000000001", "4.00000000000000001");
    gives("SET n 0x10", "OK");
    gives("INCRBYFLOAT n 0x.8p0", "16.5");
    for (const char *wrong : {"word", "", "1x", "nan", "1e5000", "1e-5000", "1.2.3"}) {
        gives(line_of("INCRBYFLOAT n %s", wrong), NO_FLOAT);
        gives(line_of("SET bad %s", wrong), "OK");
        gives("INCRBYFLOAT bad 1", NO_FLOAT);
    }
    gives("INCRBYFLOAT n +inf", "-ERR increment would produce NaN or Infinity");
    gives("GET n", "16.5");
    gives("SET m 1 EX 100", "OK");
    gives("INCRBYFLOAT m 1", "2");
    expires_in("m", 100);
    gives("RPUSH l 1", "1");
    gives("INCRBYFLOAT l 1", WRONG_TYPE);
}

RUN_FAMILY()
