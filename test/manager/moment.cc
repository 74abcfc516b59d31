// Keys that expire between two looks at the clock of one command: for the server each look at the
// wall clock is a millisecond later than the one before.
#include "served.h"

#include <sys/syscall.h>
#include <time.h>

static bool steps;
static int64_t stepped;

extern "C" int clock_gettime(clockid_t clock, struct timespec *t) noexcept
{
    int result = (int)syscall(SYS_clock_gettime, clock, t);
    if (!steps || clock != CLOCK_REALTIME)
        return result;
    t->tv_sec += ++stepped / 1000;
    t->tv_nsec += stepped % 1000 * 1000000;
    if (t->tv_nsec >= 1000000000) {
        t->tv_sec++;
        t->tv_nsec -= 1000000000;
    }
    return result;
}

enum { LOOKS = 16 }; // more than a command takes

static const char *const making[] = {"SET k 1", "RPUSH k 1 2", "HSET k 1 2", "SADD k 1 2"};

// Does `line` where the keys k and o, both made so, expire at the n-th look from then on.
static void run(const char *make, int n, const char *line)
{
    char text[512];
    int type = (int)(strchr(make, ' ') - make);
    snprintf(
        text, sizeof text,
        "FLUSHALL\r\n%s\r\n%.*s o%s\r\nMULTI\r\nPEXPIRE k %d\r\nPEXPIRE o %d\r\n%s\r\nEXEC\r\n",
        make, type, make, make + type + 2, n, n, line);
    raw_text(&c, text);
    for (int i = 0; i < 7; i++)
        reply(&c);
    if (reply(&c)[0] != '*')
        fail_msg("%s, %s at look %d", make, line, n);
}

SERVER_CASE_WITH(test_commands, steps = true)
{
    for (const char *make : making)
        for (const char *line : {"SET k v KEEPTTL GET",
                                 "GETEX k PERSIST",
                                 "GETDEL k",
                                 "SETRANGE k 3 x",
                                 "APPEND k 1",
                                 "INCR k",
                                 "INCRBYFLOAT k 1",
                                 "GETSET k 1",
                                 "MSETNX k 1 o 2",
                                 "WEFT.REPLACE k 1 2",
                                 "RENAME k o",
                                 "RENAMENX k n",
                                 "COPY k n",
                                 "COPY k o REPLACE",
                                 "MOVE k 1",
                                 "PERSIST k",
                                 "RANDOMKEY",
                                 "LMOVE k o LEFT RIGHT",
                                 "LMOVE k k LEFT RIGHT",
                                 "LMPOP 2 k o LEFT",
                                 "LPOP k 2",
                                 "BLPOP k o 0",
                                 "BLMOVE k o LEFT LEFT 0",
                                 "BLMPOP 0 2 k o LEFT COUNT 2",
                                 "LTRIM k 1 1",
                                 "LREM k 0 1",
                                 "LINSERT k AFTER 1 x",
                                 "RPUSHX k x",
                                 "LPUSH k x",
                                 "HSETNX k 5 1",
                                 "HINCRBY k 1 1",
                                 "HINCRBYFLOAT k 9 1",
                                 "HDEL k 1",
                                 "HSET k 7 1",
                                 "HRANDFIELD k",
                                 "SMOVE k o 1",
                                 "SMOVE o k 1",
                                 "SPOP k 2",
                                 "SREM k 1 2",
                                 "SADD k 5",
                                 "SINTERSTORE k k o",
                                 "SUNIONSTORE n k o",
                                 "SDIFFSTORE o k o",
                                 "SINTERCARD 2 k o",
                                 "WEFT.GET k 0",
                                 "WEFT.PUT k 1 0 x",
                                 "WEFT.CLOSE k DISCARD",
                                 "WEFT.DELETE QUEUE k"})
            for (int n = 1; n <= LOOKS; n += 1 + n / 4)
                run(make, n, line);
}

// A list that is there when somebody is to get of it, and then not any more.
SERVER_CASE_WITH(test_who_waits, steps = true)
{
    char line[96];
    for (const char *wait :
         {"BLPOP k 0", "BLMOVE k to LEFT LEFT 0", "BLMPOP 0 1 k LEFT COUNT 2", "WEFT.GET k -1"})
        for (int n = 1; n <= LOOKS; n++) {
            raw waiter = open_one();
            raw_text(&waiter, wait);
            raw_text(&waiter, "\r\n");
            assert_true(wait_blocked(&c, 1));
            snprintf(line, sizeof line, "MULTI\r\nRPUSH k a b\r\nPEXPIRE k %d\r\nEXEC\r\n", n);
            raw_text(&c, line);
            for (int i = 0; i < 4; i++)
                reply(&c);
            assert_int_equal(ask(&c, "RPUSH k a")[0], ':');
            assert_true(wait_blocked(&c, 0));
            ask(&waiter, "PING"); // what it got does not go back
            raw_close(&waiter);
            says(&c, "FLUSHALL", "+OK\r\n");
        }
}

RUN_SERVER_CASES()
