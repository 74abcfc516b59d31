// Messages beside redis-server 7.0: who subscribes is told the same, and gets the same messages.
#include "beside.h"
#include "generator.h"

#include <initializer_list>

enum { CONNECTIONS = 6 };

static raw sides[SIDES][CONNECTIONS];

static void close_all(void)
{
    sides_close(sides[0], CONNECTIONS);
}

#define PUBSUB_CASE(fn) BESIDE_CASE(fn, sides_open(sides[0], CONNECTIONS))

// Sends lines to one connection of each, and compares all that comes until their end.
static void told_same(int who, std::initializer_list<const char *> lines)
{
    const char *got[SIDES];
    for (int k = 0; k < SIDES; k++) {
        raw *c = &sides[k][who];
        for (const char *line : lines)
            raw_ask(c, line);
        raw_ask(c, "PING the-end");
        static const char resp2[] = "*2\r\n$4\r\npong\r\n$7\r\nthe-end\r\n";
        static const char resp3[] = "$7\r\nthe-end\r\n";
        size_t n;
        static char text[SIDES][1 << 16];
        size_t used = 0;
        for (;;) {
            const char *r = raw_next(c, &n, weft_in_s(RAW_SECONDS));
            if (r == nullptr)
                fail_msg("%.*s, and no end", (int)used, text[k]);
            assert_true(used + n < sizeof text[k]);
            memcpy(text[k] + used, r, n);
            text[k][used += n] = 0;
            if ((n == sizeof resp2 - 1 && memcmp(r, resp2, n) == 0) ||
                (n == sizeof resp3 - 1 && memcmp(r, resp3, n) == 0))
                break;
        }
        got[k] = text[k];
    }
    assert_string_equal(got[OURS], got[REDIS]);
}

static void both(int who, const char *line)
{
    both_say(&sides[OURS][who], &sides[REDIS][who], line);
}

// HELLO 3, whatever it says.
static void use_resp3(int who)
{
    for (int k = 0; k < SIDES; k++)
        assert_int_equal(ask(&sides[k][who], "HELLO 3")[0], '%');
}

PUBSUB_CASE(test_subscribe)
{
    told_same(0, {"SUBSCRIBE a b a", "PSUBSCRIBE a* ?", "PING", "UNSUBSCRIBE a z", "UNSUBSCRIBE",
                  "UNSUBSCRIBE", "PUNSUBSCRIBE ?", "PUNSUBSCRIBE", "PUNSUBSCRIBE",
                  "UNSUBSCRIBE x y", "PUNSUBSCRIBE x"});
    told_same(0, {"SUBSCRIBE", "PSUBSCRIBE", "PUBLISH a", "PUBLISH a b c", "PUBSUB",
                  "PUBSUB NOSUCH", "PUBSUB NUMPAT x", "PUBSUB CHANNELS a b", "PUBSUB NUMSUB"});
}

PUBSUB_CASE(test_messages)
{
    both(0, "SUBSCRIBE a");
    both(1, "PSUBSCRIBE a*");
    use_resp3(2);
    both(2, "SUBSCRIBE a");
    use_resp3(3);
    both(3, "PSUBSCRIBE [ab]*");
    both(4, "PUBLISH a first");
    both(4, "PUBLISH ab second");
    both(4, "PUBLISH b third");
    both(4, "PUBLISH c nobody");
    both(4, "PUBSUB CHANNELS");
    both(4, "PUBSUB CHANNELS b*");
    both(4, "PUBSUB NUMSUB a ab a");
    both(4, "PUBSUB NUMPAT");
    for (int i = 0; i < 4; i++)
        told_same(i, {});
    // Whoever ends is none.
    for (int k = 0; k < SIDES; k++) {
        raw_close(&sides[k][0]);
        raw_open(&sides[k][0], address_of[k]);
        while (strcmp(ask(&sides[k][4], "PUBLISH a fourth"), ":3\r\n") != 0)
            usleep(1000);
    }
}

// By protocol 2 only some commands may follow; by 3 all may.
PUBSUB_CASE(test_what_is_allowed)
{
    told_same(0, {"SUBSCRIBE a", "GET a", "NOSUCH", "GET", "CLIENT ID", "CLIENT NOSUCH", "MULTI",
                  "EXEC", "HELLO 3", "PUBLISH a b", "PING", "PING x", "PING x y"});
    told_same(0, {"UNSUBSCRIBE", "PING"});
    told_same(0, {"SUBSCRIBE a", "RESET", "PING", "GET nosuch"});
    use_resp3(1);
    told_same(1, {"SUBSCRIBE a", "PSUBSCRIBE b", "GET nosuch", "PUBLISH a me", "PING", "PING x"});
    told_same(1, {"UNSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "PUNSUBSCRIBE"});
    told_same(1, {"SUBSCRIBE a"});
    for (int k = 0; k < SIDES; k++)
        assert_int_equal(ask(&sides[k][1], "HELLO 2")[0], '*');
    told_same(1, {"GET a"});
    both(2, "SUBSCRIBE a");
    both(2, "QUIT");
}

PUBSUB_CASE(test_in_transactions)
{
    told_same(0, {"MULTI", "SUBSCRIBE a b", "GET nosuch", "PING", "EXEC", "UNSUBSCRIBE a b"});
    use_resp3(1);
    told_same(1, {"MULTI", "SUBSCRIBE a", "UNSUBSCRIBE a", "PING", "EXEC"});
    told_same(1, {"SUBSCRIBE a", "MULTI", "PUBLISH a one", "PUBLISH a two", "EXEC"});
    both(2, "MULTI");
    both(2, "PUBLISH a three");
    both(2, "EXEC");
    told_same(1, {});
}

// To whom wants no replies they come still, and to whom waits for something else.
PUBSUB_CASE(test_silent_and_blocked)
{
    use_resp3(0);
    both(0, "SUBSCRIBE a");
    for (int k = 0; k < SIDES; k++)
        raw_ask(&sides[k][0], "CLIENT REPLY OFF");
    told_same(0, {"SUBSCRIBE b", "GET nosuch", "PUBLISH a x", "UNSUBSCRIBE b", "CLIENT REPLY ON"});
    use_resp3(1);
    both(1, "SUBSCRIBE a");
    for (int k = 0; k < SIDES; k++) {
        raw_ask(&sides[k][1], "BLPOP nosuch 0");
        assert_true(wait_blocked(&sides[k][2], 1));
        ask(&sides[k][2], "PUBLISH a y");
        assert_string_equal(reply(&sides[k][1]), ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\ny\r\n");
        ask(&sides[k][2], "RPUSH nosuch v");
    }
    told_same(1, {});
}

// ---- By chance ----

static const char *name(void)
{
    static const char *const names[] = {"a", "b", "ab", "abc", "news", "news.x"};
    return ANY_OF(names);
}

static const char *pattern(void)
{
    static const char *const patterns[] = {"*", "a*", "[ab]", "news.?", "?", "*b*", "a"};
    return ANY_OF(patterns);
}

static void random_line(char *line, size_t room)
{
    static const char *const by_name[] = {"SUBSCRIBE %s %s", "UNSUBSCRIBE %s",
                                          "PUBSUB NUMSUB %s %s"};
    static const char *const by_pattern[] = {"PSUBSCRIBE %s", "PUNSUBSCRIBE %s"};
    uint32_t what = chance(10);
    if (what < 3)
        snprintf(line, room, by_name[what], name(), name());
    else if (what < 5)
        snprintf(line, room, by_pattern[what - 3], pattern());
    else if (what == 5)
        snprintf(line, room, chance(8) == 0 ? "RESET" : "PUBSUB NUMPAT");
    else
        snprintf(line, room, "PUBLISH %s m%u", name(), chance(1000));
}

static int text_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// What one was told, in an order of its own: Redis goes through patterns in whatever order.
static char *sorted(raw *c)
{
    static char *parts[20000];
    size_t n = 0, size, all = 0;
    raw_ask(c, "PING the-end");
    for (bool end = false; !end; n++) {
        const char *r = raw_next(c, &size, weft_in_s(RAW_SECONDS));
        assert_non_null(r);
        assert_true(n < sizeof parts / sizeof *parts);
        parts[n] = strndup(r, size);
        all += size;
        end = strstr(parts[n], "the-end") != nullptr;
    }
    qsort(parts, n, sizeof *parts, text_order);
    char *text = (char *)malloc(all + 1), *to = text;
    *text = 0;
    for (size_t i = 0; i < n; i++) {
        to = stpcpy(to, parts[i]);
        free(parts[i]);
    }
    return text;
}

PUBSUB_CASE(test_random)
{
    generator_seed(runner_test);
    use_resp3(0);
    use_resp3(1);
    for (int round = 0; round < (RUNNER_SANITIZED ? 100 : 400); round++) {
        char line[100];
        for (int step = 0; step < 20; step++) {
            int who = (int)chance(CONNECTIONS);
            random_line(line, sizeof line);
            for (int k = 0; k < SIDES; k++) {
                raw_ask(&sides[k][who], line);
                wait_read(&sides[k][who]); // they come one after the other
            }
        }
        for (int who = 0; who < CONNECTIONS; who++) {
            char *ours = sorted(&sides[OURS][who]), *theirs = sorted(&sides[REDIS][who]);
            if (strcmp(ours, theirs) != 0)
                fail_msg("connection %d: weft %s\nredis %s", who, ours, theirs);
            free(ours);
            free(theirs);
        }
    }
}

RUN_CASES(beside_begin, beside_end)
