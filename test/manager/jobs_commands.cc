// WEFT.JOB.*: what a client may say wrong, and in transactions.
#include "served.h"

#include <initializer_list>

static const char NOT_INTEGER[] = "-ERR value is not an integer or out of range\r\n",
                  SYNTAX[] = "-ERR syntax error\r\n", NO_JOB[] = "-NOSUCH there is no such job\r\n",
                  OVER[] = "-NOTOWNER the lease is over\r\n";

SERVER_CASE(test_numbers)
{
    for (const char *line : {"WEFT.JOB.PUT q -1 0 0 0 0 0 1 k v",
                             "WEFT.JOB.PUT q x 0 0 0 0 0 1 k v",
                             "WEFT.JOB.PUT q 4000000000001 0 0 0 0 0 1 k v",
                             "WEFT.JOB.PUT q 0 2147483648 0 0 0 0 1 k v",
                             "WEFT.JOB.PUT q 0 0 -1 0 0 0 1 k v",
                             "WEFT.JOB.PUT q 0 0 2147483648 0 0 0 1 k v",
                             "WEFT.JOB.PUT q 0 0 0 -1 0 0 1 k v",
                             "WEFT.JOB.PUT q 0 0 0 0 -1 0 1 k v",
                             "WEFT.JOB.PUT q 0 0 0 0 0 -1 1 k v",
                             "WEFT.JOB.PUT q 0 0 0 0 0 0 -1 k v",
                             "WEFT.JOB.TAKE q 0 -1 FREE w",
                             "WEFT.JOB.TAKE q 0 x FREE w",
                             "WEFT.JOB.TAKE q x 1 FREE w",
                             "WEFT.JOB.GET q x",
                             "WEFT.JOB.DONE q x 1 r",
                             "WEFT.JOB.DONE q 1 x r",
                             "WEFT.JOB.BEAT q 1 1 -1 0 n",
                             "WEFT.JOB.BEAT q 1 1 1 x n",
                             "WEFT.JOB.LIST q 0 0 1",
                             "WEFT.JOB.LIST q 6 0 1",
                             "WEFT.JOB.LIST q 1 0 1001",
                             "WEFT.JOB.LIST q 1 0 -1",
                             "WEFT.JOB.WAIT q 0 x",
                             "WEFT.JOB.WAIT q x 1",
                             "WEFT.JOB.PAUSE q 2",
                             "WEFT.JOB.RETRY q x",
                             "WEFT.JOB.REMOVE q x"})
        says(&c, line, NOT_INTEGER);
    says(&c, "DBSIZE", ":0\r\n");
    says(&c, "WEFT.LIST JOBS", "*0\r\n"); // none of that has made one
}

SERVER_CASE(test_words)
{
    says(&c, "WEFT.JOB.TAKE q 0 1 LOOSE w", SYNTAX);
    says(&c, "WEFT.JOB.FAIL q 1 1 LATER e", SYNTAX);
    says(&c, "WEFT.JOB.FAIL q 1 1 AGAIN e", OVER);
    says(&c, "WEFT.JOB.BEAT q 1 1 1 0 n", OVER);
    says(&c, "WEFT.JOB.DONE q 1 1 r", OVER);
    for (const char *line : {"WEFT.JOB.GET q 1", "WEFT.JOB.RETRY q 1", "WEFT.JOB.REMOVE q 1"})
        says(&c, line, NO_JOB);
    says(&c, "WEFT.JOB.WAIT q 0 1", "-NOSUCH there is no job 1\r\n");
    says(&c, "WEFT.JOB.LIST q 1 7 1", "-NOSUCH there is no such job in that state\r\n");
    says(&c, "WEFT.JOB.LIST q 1 0 1", "*0\r\n");
    says(&c, "WEFT.JOB.COUNT q",
         "*11\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n");
    says(&c, "WEFT.JOB.TAKE q 0 1 FREE w", "$-1\r\n");
    says(&c, "WEFT.JOB.PUT q 0", "-ERR wrong number of arguments for 'weft.job.put' command\r\n");
    says(&c, "WEFT.LIST JOBS", "*0\r\n");
}

// So many that they would take long.
SERVER_CASE(test_many_at_once)
{
    enum { MOST = 1000 };
    static char line[MOST * 20 + 200];
    long long id = ask_number(&c, "WEFT.JOB.PUT q 0 0 1 0 0 0 1  v");
    for (int n = MOST; n <= MOST + 1; n++) {
        int used = snprintf(line, sizeof line, "WEFT.JOB.WAIT q 0 \"");
        for (int i = 0; i < n; i++)
            used += snprintf(line + used, sizeof line - (size_t)used, "%lld ", id);
        snprintf(line + used, sizeof line - (size_t)used, "\"\r\n");
        raw_text(&c, line);
        assert_string_equal(reply(&c), n == MOST ? "$-1\r\n" : "-ERR more than 1000 jobs\r\n");
    }
}

// A lease of no time is over at once, and a queue whose results are not kept forgets them.
SERVER_CASE(test_no_time)
{
    char line[64];
    long long id = ask_number(&c, "WEFT.JOB.PUT q 0 0 1 0 0 0 0  v");
    const char *job = ask(&c, "WEFT.JOB.TAKE q 0 0 FREE w");
    assert_int_equal(job[0], '*');
    long long token = atoll(strchr(strchr(job, ':') + 1, ':') + 1);
    snprintf(line, sizeof line, "WEFT.JOB.DONE q %lld %lld r", id, token);
    says(&c, line, OVER);
    job = ask(&c, "WEFT.JOB.TAKE q -1 60000 FREE w");
    token = atoll(strchr(strchr(job, ':') + 1, ':') + 1);
    snprintf(line, sizeof line, "WEFT.JOB.DONE q %lld %lld r", id, token);
    says(&c, line, ":1\r\n");
    snprintf(line, sizeof line, "WEFT.JOB.GET q %lld", id);
    says(&c, line, NO_JOB);
    says(&c, "WEFT.LIST JOBS", "*0\r\n");
}

// What is said of a job whose lease has ended this moment: the job may be gone with that.
SERVER_CASE(test_over_this_moment)
{
    char lines[160];
    long long id = ask_number(&c, "WEFT.JOB.PUT q 0 0 0 0 0 0 0  v");
    const char *job = ask(&c, "WEFT.JOB.TAKE q 0 60000 FREE w");
    long long token = atoll(strchr(strchr(job, ':') + 1, ':') + 1);
    snprintf(lines, sizeof lines,
             "WEFT.JOB.BEAT q %lld %lld 0 0 n\r\nWEFT.JOB.DONE q %lld %lld r\r\n", id, token, id,
             token);
    raw_text(&c, lines);
    assert_string_equal(reply(&c), ":1\r\n");
    assert_string_equal(reply(&c), OVER);
    says(&c, "WEFT.LIST JOBS", "*0\r\n");
}

// Nothing waits in a transaction.
SERVER_CASE(test_in_transactions)
{
    char line[64];
    long long id = ask_number(&c, "WEFT.JOB.PUT q 1000000 0 0 0 0 0 1  v");
    says(&c, "MULTI", "+OK\r\n");
    says(&c, "WEFT.JOB.TAKE q -1 1000 TIED w", "+QUEUED\r\n");
    snprintf(line, sizeof line, "WEFT.JOB.WAIT q -1 %lld", id);
    says(&c, line, "+QUEUED\r\n");
    snprintf(line, sizeof line, "WEFT.JOB.REMOVE q %lld", id);
    says(&c, line, "+QUEUED\r\n");
    says(&c, "EXEC", "*3\r\n$-1\r\n$-1\r\n:1\r\n");
    says(&c, "WEFT.LIST JOBS", "*0\r\n");
}

// Whoever leaves while it waits for jobs leaves nothing.
SERVER_CASE(test_who_waits_leaves)
{
    char line[96];
    long long a = ask_number(&c, "WEFT.JOB.PUT q 1000000 0 0 0 0 0 1  a"),
              b = ask_number(&c, "WEFT.JOB.PUT q 1000000 0 0 0 0 0 1  b");
    raw taker = open_one(), waiter = open_one();
    raw_text(&taker, "WEFT.JOB.TAKE q -1 1000 TIED w\r\n");
    snprintf(line, sizeof line, "WEFT.JOB.WAIT q -1 \"%lld %lld %lld\"\r\n", a, b, a);
    raw_text(&waiter, line);
    while (strstr(ask(&c, "INFO clients"), "blocked_clients:2") == nullptr)
        usleep(1000);
    raw_close(&taker);
    raw_close(&waiter);
    while (strstr(ask(&c, "INFO clients"), "blocked_clients:0") == nullptr)
        usleep(1000);
    for (long long id : {a, b}) {
        snprintf(line, sizeof line, "WEFT.JOB.REMOVE q %lld", id);
        says(&c, line, ":1\r\n");
    }
    says(&c, "WEFT.LIST JOBS", "*0\r\n");
}

RUN_SERVER_CASES()
