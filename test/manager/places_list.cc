// WEFT.LIST and WEFT.DELETE: each kind of name is told with its fields, and goes with those who
// wait.
#include "places.h"

// The number of a field in a reply of WEFT.LIST, of one of RESP3's maps or not.
static long long listed(const char *list, const char *name)
{
    char text[64];
    snprintf(text, sizeof text, "$%zu\r\n%s\r\n:", strlen(name), name);
    return field_number(list, text);
}

struct field {
    const char *name;
    long long number;
};

// The list's fields have these numbers.
static void lists(const char *list, std::initializer_list<field> fields)
{
    for (const field &each : fields)
        if (listed(list, each.name) != each.number)
            fail_msg("%s is %lld", each.name, listed(list, each.name));
}

#define HAS(list, text) assert_non_null(strstr(list, text))

// Deletes what somebody waits at, who is told.
static void deletes(const char *line, raw *waiter)
{
    says(&c, line, ":1\r\n");
    assert_string_equal(reply(waiter), "-DELETED it was deleted\r\n");
}

SERVER_CASE(test_list_of_each_kind)
{
    raw other = open_one(), third = open_one();
    long long id = ask_number(&other, "CLIENT ID");
    for (const char *kind : {"QUEUE", "LOCK", "SEMAPHORE", "BARRIER", "EVENT", "JOBS"}) {
        char line[64];
        snprintf(line, sizeof line, "WEFT.LIST %s", kind);
        says(&c, line, "*0\r\n");
    }
    says(&c, "WEFT.LIST THINGS",
         "-ERR the kind is none of QUEUE, LOCK, SEMAPHORE, BARRIER, EVENT, JOBS\r\n");
    says(&c, "WEFT.LIST LOCK a b", "-ERR syntax error\r\n");
    says(&c, "WEFT.DELETE LOCK none", ":0\r\n");

    all_say(&other, {"WEFT.LOCK one 0", "WEFT.LOCK one 0 RECURSIVE"}, ":1\r\n");
    says(&other, "WEFT.LOCK two 0", ":2\r\n");
    blocks(&third, "WEFT.LOCK one -1");
    const char *r = ask(&c, "WEFT.LIST lock o*");
    assert_true(strncmp(r, "*1\r\n*16\r\n$4\r\nname\r\n$3\r\none\r\n", 28) == 0);
    lists(r, {{"waiters", 1}, {"owner", id}, {"pid", getpid()}, {"token", 1}, {"count", 2}});
    assert_true(listed(r, "age") >= 0 && listed(r, "idle") >= 0);
    assert_true(strncmp(ask(&c, "WEFT.LIST LOCK"), "*2\r\n", 4) == 0);
    deletes("WEFT.DELETE LOCK one", &third);
    says(&other, "WEFT.UNLOCK one", "-NOTOWNER this connection does not have the lock\r\n");
    says(&c, "WEFT.LOCK one 0", ":3\r\n");

    says(&c, "WEFT.SEMAPHORE s 2", ":2\r\n");
    says(&other, "WEFT.ACQUIRE s 0", ":1\r\n");
    says(&other, "WEFT.ACQUIRE s 0", ":0\r\n");
    blocks(&third, "WEFT.ACQUIRE s -1");
    r = ask(&c, "WEFT.LIST SEMAPHORE");
    assert_int_equal(listed(r, "units"), 0);
    char owners[100];
    snprintf(owners, sizeof owners, "$6\r\nowners\r\n*1\r\n*3\r\n:%lld\r\n:%d\r\n:2\r\n", id,
             (int)getpid());
    HAS(r, owners);
    deletes("WEFT.DELETE SEMAPHORE s", &third);
    says(&c, "WEFT.UNITS s", "-NOSUCH there is no such semaphore\r\n");
    says(&c, "WEFT.SEMAPHORE s 5", ":5\r\n");
    says(&other, "WEFT.RELEASE s", ":6\r\n"); // it holds none of these
    says(&c, "WEFT.DELETE SEMAPHORE s", ":1\r\n");
    says(&c, "WEFT.DELETE SEMAPHORE s", ":0\r\n");

    blocks(&third, "WEFT.BARRIER b 3 -1");
    r = ask(&c, "WEFT.LIST BARRIER");
    lists(r, {{"parties", 3}, {"waiters", 1}, {"broken", 0}});
    deletes("WEFT.DELETE BARRIER b", &third);
    says(&c, "WEFT.BREAK b", "+OK\r\n");
    assert_int_equal(listed(ask(&c, "WEFT.LIST BARRIER"), "broken"), 1);
    says(&c, "WEFT.DELETE BARRIER b", ":1\r\n");
    says(&c, "WEFT.WAITING b", ":0\r\n");

    blocks(&third, "WEFT.WAIT e -1");
    assert_int_equal(listed(ask(&c, "WEFT.LIST EVENT"), "set"), 0);
    deletes("WEFT.DELETE EVENT e", &third);
    says(&c, "WEFT.SET e", "+OK\r\n");
    assert_int_equal(listed(ask(&c, "WEFT.LIST EVENT"), "set"), 1);
    says(&c, "WEFT.DELETE EVENT e", ":1\r\n");
    says(&c, "WEFT.ISSET e", ":0\r\n");
    raw_close(&other);
    raw_close(&third);
}

SERVER_CASE(test_list_and_delete_of_queues)
{
    raw other = open_one(), pops = open_one();
    put_three();
    says(&c, "WEFT.GET q 0", "$3\r\njob\r\n");
    says(&c, "RPUSH q more", ":3\r\n");
    says(&c, "WEFT.CLOSE q DRAIN", "+OK\r\n");
    blocks(&other, "WEFT.JOIN q -1");
    const char *r = ask(&c, "WEFT.LIST QUEUE q");
    lists(r, {{"pending", 3}, {"taken", 1}, {"waiters", 0}, {"joiners", 1}});
    HAS(r, "$6\r\nclosed\r\n$5\r\ndrain\r\n");
    says(&c, "SELECT 1", "+OK\r\n");
    says(&c, "WEFT.LIST QUEUE", "*0\r\n");
    says(&c, "WEFT.DELETE QUEUE q", ":0\r\n");
    says(&c, "SELECT 0", "+OK\r\n");
    deletes("WEFT.DELETE QUEUE q", &other);
    says(&c, "EXISTS q", ":0\r\n");
    says(&c, "WEFT.DONE q", "-TOOMANY all items are done\r\n");
    says(&c, "WEFT.LIST QUEUE", "*0\r\n");
    // Those who wait for the key go on.
    raw_ask(&pops, "BLPOP q 0");
    raw_ask(&other, "WEFT.GET q -1");
    assert_true(wait_blocked(&c, 2));
    assert_int_equal(listed(ask(&c, "WEFT.LIST QUEUE"), "waiters"), 2);
    deletes("WEFT.DELETE QUEUE q", &other);
    says(&c, "RPUSH q v", ":1\r\n");
    assert_string_equal(reply(&pops), "*2\r\n$1\r\nq\r\n$1\r\nv\r\n");
    // Putters.
    says(&c, "WEFT.PUT q 1 0 v", ":1\r\n");
    blocks(&other, "WEFT.PUT q 1 -1 w");
    assert_int_equal(listed(ask(&c, "WEFT.LIST QUEUE"), "putters"), 1);
    deletes("WEFT.DELETE QUEUE q", &other);
    says(&c, "RPUSH q only", ":1\r\n"); // a list alone is a queue, too
    says(&c, "WEFT.DELETE QUEUE q", ":1\r\n");
    raw_close(&other);
    raw_close(&pops);
}

SERVER_CASE(test_list_and_delete_of_jobs)
{
    raw other = open_one();
    assert_int_equal(ask(&c, "WEFT.JOB.PUT j 0 0 0 0 0 0 0 key value")[0], ':');
    assert_int_not_equal(ask(&c, "WEFT.JOB.PAUSE j 1")[0], '-');
    blocks(&other, "WEFT.JOB.TAKE j -1 1000 TIED me");
    const char *r = ask(&c, "WEFT.LIST JOBS");
    lists(r, {{"waiters", 1}, {"ready", 1}, {"running", 0}, {"paused", 1}});
    deletes("WEFT.DELETE JOBS j", &other);
    says(&c, "WEFT.LIST JOBS", "*0\r\n");
    assert_true(wait_places(0));
    raw_close(&other);
}

SERVER_CASE(test_list_in_maps)
{
    ask(&c, "HELLO 3");
    says(&c, "WEFT.SET e", "+OK\r\n");
    const char *r = ask(&c, "WEFT.LIST EVENT");
    assert_true(strncmp(r, "*1\r\n%5\r\n$4\r\nname\r\n$1\r\ne\r\n$3\r\nage\r\n:", 35) == 0);
}

RUN_SERVER_CASES()
