// Blocking commands beside redis-server 7.0: many connections wait on few keys, and whoever gets
// what, and when somebody goes away or runs out of time, is the same.
//
// Nothing here is timed: before each step both servers have told how many connections are blocked.
#include "beside.h"
#include "generator.h"

enum { WAITERS = 10 };

struct side {
    raw waiters[WAITERS], other, control;
    long long ids[WAITERS];
};

static side sides[SIDES];
static bool waits[WAITERS];
static int waiting, served_in_all;
static uint64_t seed;
static char last_steps[40][256]; // for a failure
static unsigned steps;

static void note(int who, const char *line)
{
    snprintf(last_steps[steps++ % 40], sizeof last_steps[0], "%d: %s", who, line);
}

static void give_up(const char *why)
{
    fprintf(stderr, "WEFT_SEED=%llu: %s; the steps before:\n", (unsigned long long)seed, why);
    for (unsigned i = steps < 40 ? 0 : steps - 40; i < steps; i++)
        fprintf(stderr, "  %s\n", last_steps[i % 40]);
    fail();
}

// ---- Connections ----

static void open_waiter(side *s, const char *address, int i)
{
    raw_open(&s->waiters[i], address);
    ask(&s->waiters[i], i % 2 != 0 ? "HELLO 3" : "HELLO 2");
    says(&s->waiters[i], i % 5 == 4 ? "SELECT 1" : "SELECT 0", "+OK\r\n");
    s->ids[i] = ask_number(&s->waiters[i], "CLIENT ID");
}

static void open_all(void)
{
    seed = generator_seed(runner_test);
    memset(waits, 0, sizeof waits);
    waiting = served_in_all = 0;
    steps = 0;
    for (int k = 0; k < SIDES; k++) {
        raw_open(&sides[k].other, address_of[k]);
        raw_open(&sides[k].control, address_of[k]);
        says(&sides[k].control, "FLUSHALL", "+OK\r\n");
        for (int i = 0; i < WAITERS; i++)
            open_waiter(&sides[k], address_of[k], i);
    }
}

static void close_all(void)
{
    for (int k = 0; k < SIDES; k++) {
        for (int i = 0; i < WAITERS; i++)
            raw_close(&sides[k].waiters[i]);
        assert_true(wait_blocked(&sides[k].control, 0));
        raw_close(&sides[k].other);
        raw_close(&sides[k].control);
    }
}

// ---- Steps ----

static const char *key(void)
{
    static const char *const keys[] = {"a", "b", "c", "d"};
    return ANY_OF(keys);
}

static const char *end_of_list(void)
{
    return chance(2) > 0 ? "LEFT" : "RIGHT";
}

static void waiting_command(char *line, size_t room)
{
    static const char *const timeouts[] = {"0", "100", "0.0", "1000.5"};
    const char *t = ANY_OF(timeouts);
    switch (chance(6)) {
    case 4:
        snprintf(line, room, "BLMPOP %s 2 %s %s %s COUNT %u", t, key(), key(), end_of_list(),
                 1 + chance(3));
        break;
    case 5:
        snprintf(line, room, "BRPOPLPUSH %s %s %s", key(), key(), t);
        break;
    case 0:
        snprintf(line, room, "BLMOVE %s %s %s %s %s", key(), key(), end_of_list(), end_of_list(),
                 t);
        break;
    case 1:
        snprintf(line, room, "BLPOP %s %s", key(), t);
        break;
    default:
        snprintf(line, room, "%s %s %s %s %s", chance(2) > 0 ? "BLPOP" : "BRPOP", key(), key(),
                 key(), t);
    }
}

// Its reply, or (empty) it is blocked: as many are as `blocked` says.
static const char *reply_or_blocked(side *s, int i, int blocked)
{
    size_t n;
    for (weft_deadline d = weft_in_s(RAW_SECONDS); weft_left(d) > 0; usleep(100)) {
        if (raw_next(&s->waiters[i], &n, WEFT_NOW) != nullptr) {
            s->waiters[i].used -= n;
            return reply(&s->waiters[i]);
        }
        if (blocked_clients(&s->control) == blocked)
            return "";
    }
    return "(neither a reply nor blocked)";
}

// Takes the replies of `served` of those who wait.
static void collect(side *s, int served, const char *replies[WAITERS])
{
    static char texts[SIDES][WAITERS][300];
    for (int i = 0; i < WAITERS; i++)
        replies[i] = nullptr;
    for (weft_deadline d = weft_in_s(RAW_SECONDS); served > 0;) {
        for (int i = 0; i < WAITERS; i++) {
            size_t n;
            const char *r = waits[i] && replies[i] == nullptr
                                ? raw_next(&s->waiters[i], &n, WEFT_NOW)
                                : nullptr;
            if (r == nullptr)
                continue;
            snprintf(texts[s - sides][i], sizeof texts[0][0], "%.*s", (int)n, r);
            replies[i] = texts[s - sides][i];
            served--;
        }
        if (weft_left(d) <= 0)
            give_up(s == sides ? "weft says nothing to whom it served" : "redis says nothing");
    }
}

// After a step that may have served some: the same ones got the same.
static void step_served(void)
{
    const char *got[SIDES][WAITERS];
    long long left[SIDES];
    for (int k = 0; k < SIDES; k++)
        left[k] = blocked_clients(&sides[k].control);
    if (left[OURS] != left[REDIS]) {
        fprintf(stderr, "blocked: weft %lld, redis %lld\n", left[OURS], left[REDIS]);
        give_up("others are served");
    }
    for (int k = 0; k < SIDES; k++)
        collect(&sides[k], waiting - (int)left[k], got[k]);
    for (int i = 0; i < WAITERS; i++) {
        const char *a = got[OURS][i], *b = got[REDIS][i];
        if ((a == nullptr) != (b == nullptr) || (a != nullptr && strcmp(a, b) != 0)) {
            fprintf(stderr, "%d: weft %s, redis %s\n", i, a ? a : "waits", b ? b : "waits");
            give_up("another gets it");
        }
        waits[i] = waits[i] && a == nullptr;
    }
    served_in_all += waiting - (int)left[OURS];
    waiting = (int)left[OURS];
}

static void step_wait(int i)
{
    char line[200];
    waiting_command(line, sizeof line);
    note(i, line);
    for (int k = 0; k < SIDES; k++)
        raw_ask(&sides[k].waiters[i], line);
    const char *a = reply_or_blocked(&sides[OURS], i, waiting + 1);
    const char *b = reply_or_blocked(&sides[REDIS], i, waiting + 1);
    if (strcmp(a, b) != 0) {
        fprintf(stderr, "weft %s, redis %s\n", a, b);
        give_up("they differ");
    }
    waits[i] = a[0] == 0;
    waiting += waits[i];
    if (!waits[i])
        step_served(); // a BLMOVE may have pushed for others
}

static void pushing_command(char *line, size_t room)
{
    static int number;
    int v = number += 10;
    const char *push = chance(2) > 0 ? "LPUSH" : "RPUSH";
    switch (chance(19)) {
    case 0:
        snprintf(line, room, "SET %s text", key());
        break;
    case 1:
        snprintf(line, room, "HSET %s field v%d", key(), v);
        break;
    case 2:
        snprintf(line, room, "DEL %s %s", key(), key());
        break;
    case 3:
        snprintf(line, room, "LMOVE %s %s %s %s", key(), key(), end_of_list(), end_of_list());
        break;
    case 4:
        snprintf(line, room, "EXPIRE %s 0", key());
        break;
    case 5:
        snprintf(line, room, "LPOP %s 2", key());
        break;
    case 6:
        snprintf(line, room, "FLUSHALL");
        break;
    case 7:
        snprintf(line, room, "SELECT %d", chance(4) == 0);
        break;
    case 10:
        snprintf(line, room, "RPOPLPUSH %s %s", key(), key());
        break;
    case 11:
        snprintf(line, room, "%sX %s v%d", push, key(), v);
        break;
    case 12:
        snprintf(line, room, "LMPOP 2 %s %s %s COUNT 2", key(), key(), end_of_list());
        break;
    case 8:
    case 9:
        snprintf(line, room, "%s %s v%d v%d v%d", push, key(), v, v + 1, v + 2);
        break;
    default:
        snprintf(line, room, "%s %s v%d", push, key(), v);
    }
}

static void both_of_other(const char *line)
{
    note(-1, line);
    const char *a = ask(&sides[OURS].other, line), *b = ask(&sides[REDIS].other, line);
    if (strcmp(a, b) != 0) {
        fprintf(stderr, "weft %s, redis %s\n", a, b);
        give_up("they differ");
    }
}

// One command, or several at once: who waits is served when all have run.
static void step_push(void)
{
    char line[200];
    uint32_t several = chance(4) == 0 ? 1 + chance(5) : 0;
    if (several > 0)
        both_of_other("MULTI");
    for (uint32_t i = 0; i < several + (several == 0); i++) {
        if (several > 0 && chance(4) == 0)
            waiting_command(line, sizeof line); // it does not wait
        else
            pushing_command(line, sizeof line);
        both_of_other(line);
    }
    if (several > 0)
        both_of_other("EXEC");
    step_served();
}

static void step_leave(int i)
{
    note(i, "leaves");
    waiting -= waits[i];
    waits[i] = false;
    for (int k = 0; k < SIDES; k++) {
        raw_close(&sides[k].waiters[i]);
        if (!wait_blocked(&sides[k].control, waiting))
            give_up("who has left is blocked still");
        open_waiter(&sides[k], address_of[k], i);
    }
}

static void step_unblock(int i)
{
    static const char *const how[] = {"", " TIMEOUT", " ERROR", " error", " nosuch"};
    const char *h = ANY_OF(how), *replies[SIDES];
    note(i, "CLIENT UNBLOCK");
    for (int k = 0; k < SIDES; k++) {
        char line[100];
        snprintf(line, sizeof line, "CLIENT UNBLOCK %lld%s", sides[k].ids[i], h);
        replies[k] = ask(&sides[k].other, line);
    }
    assert_string_equal(replies[OURS], replies[REDIS]);
    step_served();
}

BESIDE_CASE(test_who_gets_what, open_all())
{
    const int steps_to_take = RUNNER_SANITIZED ? 1000 : 4000;
    for (int step = 0; step < steps_to_take; step++) {
        int i = (int)chance(WAITERS);
        uint32_t what = chance(100);
        if (what < 50 && !waits[i])
            step_wait(i);
        else if (what < 90)
            step_push();
        else if (what < 95)
            step_leave(i);
        else
            step_unblock(i);
    }
    assert_true(served_in_all > steps_to_take / 40); // an eighth are, whatever the seed
}

// ---- Timeouts ----

// Last, but of BLMPOP first.
static double seconds_of(const char *line)
{
    return atof(strncmp(line, "BLMPOP", 6) == 0 ? strchr(line, ' ') : strrchr(line, ' '));
}

BESIDE_CASE(test_timeouts, open_all())
{
    static const char *const lines[] = {
        "BLPOP a b 0.03", "BRPOP a 0.01",        "BLMOVE a b LEFT LEFT 0.02",
        "BLPOP a 0.001",  "BRPOPLPUSH b a 0.05", "BLMPOP 0.04 2 a b LEFT COUNT 2"};
    for (int round = 0; round < 10; round++) {
        weft_deadline began = weft_now();
        for (int i = 0; i < WAITERS; i++)
            for (int k = 0; k < SIDES; k++) {
                raw_ask(&sides[k].waiters[i], lines[i % 6]);
                raw_ask(&sides[k].waiters[i], "ECHO after"); // waits for its turn
            }
        for (int i = 0; i < WAITERS; i++)
            for (int k = 0; k < SIDES; k++) {
                const char *r = reply(&sides[k].waiters[i]);
                int64_t took = weft_now() - began;
                assert_string_equal(r, i % 2 != 0 ? "_\r\n" : "*-1\r\n");
                assert_true(took >= (int64_t)(seconds_of(lines[i % 6]) * 1e9) - 2000000);
                assert_string_equal(reply(&sides[k].waiters[i]), "$5\r\nafter\r\n");
            }
    }
}

// What a blocked connection has sent meanwhile is done once it is served, and not before.
BESIDE_CASE(test_sent_while_blocked, open_all())
{
    for (int k = 0; k < SIDES; k++) {
        raw *c = &sides[k].waiters[0];
        raw_ask(c, "BLPOP a 0");
        raw_ask(c, "INCR n");
        raw_ask(c, "BLPOP a b 0");
        raw_ask(c, "INCR n");
        assert_true(wait_blocked(&sides[k].control, 1));
        says(&sides[k].other, "EXISTS n", ":0\r\n");
        says(&sides[k].other, "RPUSH a x", ":1\r\n");
        assert_string_equal(reply(c), "*2\r\n$1\r\na\r\n$1\r\nx\r\n");
        assert_string_equal(reply(c), ":1\r\n");
        assert_true(wait_blocked(&sides[k].control, 1));
        says(&sides[k].other, "GET n", "$1\r\n1\r\n");
        says(&sides[k].other, "LPUSH b y", ":1\r\n");
        assert_string_equal(reply(c), "*2\r\n$1\r\nb\r\n$1\r\ny\r\n");
        assert_string_equal(reply(c), ":2\r\n");
    }
}

// Who waits for a list is given it when another database's comes there.
BESIDE_CASE(test_swapped_lists, open_all())
{
    for (int k = 0; k < SIDES; k++) {
        raw *c = &sides[k].waiters[0];
        says(&sides[k].other, "FLUSHALL", "+OK\r\n");
        raw_ask(c, "BLPOP a 0");
        assert_true(wait_blocked(&sides[k].control, 1));
        says(&sides[k].other, "SELECT 1", "+OK\r\n");
        says(&sides[k].other, "RPUSH a x y", ":2\r\n");
        says(&sides[k].other, "SWAPDB 0 2", "+OK\r\n");
        says(&sides[k].control, "EXISTS a", ":0\r\n");
        says(&sides[k].other, "SWAPDB 1 0", "+OK\r\n");
        assert_string_equal(reply(c), "*2\r\n$1\r\na\r\n$1\r\nx\r\n");
        says(&sides[k].control, "LRANGE a 0 -1", "*1\r\n$1\r\ny\r\n");
    }
}

RUN_CASES(beside_begin, beside_end)
