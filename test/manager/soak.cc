// Clients of every bad kind at once: thousands that say nothing, some that do not read, that have
// sent half a request, that were stopped or killed with locks.  Who behaves is answered all the
// while, memory stays within its limit, and when they have gone nothing is left of them.
//
// WEFT_SOAK=SECONDS goes on for longer.
#include "served.h"

#include <sys/resource.h>

enum { IDLE = RUNNER_SANITIZED ? 500 : 10000, BAD = 24, LIMIT = 64 << 20 };

static raw idle[IDLE];

static int open_idle(void)
{
    struct rlimit files;
    int n = IDLE;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_max != RLIM_INFINITY && (rlim_t)n + 200 > files.rlim_max)
        n = (int)files.rlim_max - 200;
    for (int i = 0; i < n; i++)
        raw_open(&idle[i], address);
    return n;
}

// ---- The bad ones, each in a process of its own ----

static void bad_reader(raw *r)
{
    for (int i = 0; i < 10000; i++) // 100 MB, of which it reads nothing
        if (send(r->fd, "GET big\r\n", 9, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
}

static void bad_half(raw *r)
{
    raw_text(r, "*3\r\n$3\r\nSET\r\n$1\r\nh\r\n$500000000\r\nbeginning");
}

static void bad_locker(raw *r)
{
    char line[64];
    snprintf(line, sizeof line, "WEFT.LOCK lock%d 0", (int)getpid() % 4);
    ask(r, line);
    ask(r, "SUBSCRIBE news");
}

static void bad_waiter(raw *r)
{
    raw_ask(r, "BLPOP never 0");
}

static void bad_transaction(raw *r)
{
    ask(r, "WATCH big");
    ask(r, "MULTI");
    for (int i = 0; i < 1000; i++)
        ask(r, "APPEND big x");
}

static void bad_filler(raw *r)
{
    static char value[1 << 16];
    char line[128];
    memset(value, 'v', sizeof value);
    for (int i = 0; i < 2000; i++) { // until it is told that there is no more room
        int n = snprintf(line, sizeof line, "*3\r\n$3\r\nSET\r\n$9\r\nfill:%04d\r\n$%zu\r\n", i,
                         sizeof value);
        raw_send(r, line, (size_t)n);
        raw_send(r, value, sizeof value);
        raw_text(r, "\r\n");
        if (*reply(r) == '-')
            break;
    }
}

static int be_bad(void *how)
{
    static void (*const kinds[])(raw * r) = {bad_reader, bad_half,        bad_locker,
                                             bad_waiter, bad_transaction, bad_filler};
    raw r = {};
    raw_open(&r, address);
    kinds[(intptr_t)how % 6](&r);
    pause();
    return 0;
}

// ---- Who behaves ----

static void behave(int round)
{
    char line[64], text[32];
    says(&c, "PING", "+PONG\r\n");
    snprintf(line, sizeof line, "SET mine %d", round);
    const char *r = ask(&c, line);
    if (*r == '-') { // it is full, or there is room, and nothing in between
        assert_string_equal(r, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
        says(&c, "DEL mine", ":1\r\n");
        says(&c, "FLUSHALL", "+OK\r\n");
        says(&c, line, "+OK\r\n");
    }
    snprintf(text, sizeof text, "%d", round);
    snprintf(line, sizeof line, "$%zu\r\n%s\r\n", strlen(text), text);
    says(&c, "GET mine", line);
    says(&c, "PUBLISH other x", ":0\r\n");
    ask(&c, "PUBLISH news x");
}

SERVER_CASE_WITH(test_bad_clients, (o.max_memory = LIMIT, o.max_clients = IDLE + 200))
{
    const char *seconds = getenv("WEFT_SOAK");
    weft_deadline end = weft_in_s(seconds != nullptr ? atoi(seconds) : 2);
    pid_t bad[BAD] = {};
    says(&c, "SET mine 0", "+OK\r\n");
    set_big(10000);
    int n = open_idle();
    assert_true(wait_clients(&c, n + 1));
    int round = 0;
    for (; weft_left(end) > 0 || round < 3 * BAD; round++) {
        pid_t *p = &bad[round % BAD];
        if (*p > 0 && round / BAD % 2 == 1)
            kill(*p, SIGSTOP); // it stays for a round of all
        else if (*p > 0)
            kill_and_reap(*p);
        if (*p == 0 || round / BAD % 2 == 0)
            *p = child_of(be_bad, (void *)(intptr_t)round);
        behave(round);
        assert_true(field_number(ask(&c, "INFO memory"), "used_memory:") < 4LL * LIMIT);
    }
    for (pid_t p : bad)
        kill_and_reap(p);
    assert_true(wait_clients(&c, n + 1));
    for (int i = 0; i < n; i += 97)
        says(&idle[i], "PING", "+PONG\r\n");
    for (int i = 0; i < n; i++)
        raw_close(&idle[i]);
    assert_true(wait_clients(&c, 1));
    assert_true(wait_blocked(&c, 0));
    for (weft_deadline d = in_time(); weft_left(d) > 0; usleep(1000))
        if (field_number(ask(&c, "INFO weft"), "weft_locks_held:") == 0)
            break;
    assert_int_equal(field_number(ask(&c, "INFO weft"), "weft_locks_held:"), 0);
    says(&c, "FLUSHALL", "+OK\r\n");
    for (weft_deadline d = in_time(); weft_left(d) > 0; usleep(1000))
        if (field_number(ask(&c, "INFO memory"), "used_memory:") < 4 << 20)
            break;
    assert_true(field_number(ask(&c, "INFO memory"), "used_memory:") < 4 << 20);
    print_message("%d rounds, %d idle\n", round, n);
}

RUN_SERVER_CASES()
