// The scripts for Redis, alone: each compiles there, and does what its file says.
#include <manager/redis/scripts.h>

#include "servers.h"

using namespace weft;

static server redis;
static weft_client *client;

struct script {
    const char *name, *text;
};

#define ALONE(name) {#name, lua::name},
#define AFTER(begin, name) ALONE(name)
#define AFTER_TWO(name, begin, end) ALONE(name)
static const script scripts[] = {WEFT_SCRIPTS(ALONE, AFTER, AFTER_TWO)};

static weft_reply *asked(size_t n, const char *const words[])
{
    weft_reply *r = weft_client_command(client, n, words, NULL, weft_in_s(20));
    assert_non_null(r);
    return r;
}

CASE(test_each_compiles)
{
    for (const script &s : scripts) {
        const char *const words[] = {"SCRIPT", "LOAD", s.text};
        weft_reply *r = asked(3, words);
        if (r->type == WEFT_REPLY_ERROR)
            print_error("%s: %s\n", s.name, r->text);
        assert_int_equal(r->type, WEFT_REPLY_STRING);
        weft_reply_free(r);
    }
}

// Runs one for client 7 with a lease of `ms`, with up to four keys and two words.
static weft_reply *run(const char *text, const char *ms, const char *const keys[4],
                       const char *a = nullptr, const char *b = nullptr)
{
    const char *words[] = {"EVAL", text, "4", keys[0], keys[1], keys[2], keys[3], "7", ms, a, b};
    return asked(b != nullptr ? 11 : a != nullptr ? 10 : 9, words);
}

// The answer is this number, -1000 for null, or -errors' first letter.
static int64_t answer(weft_reply *r)
{
    int64_t n = r->type == WEFT_REPLY_INTEGER ? r->integer
                : r->type == WEFT_REPLY_NULL  ? -1000
                : r->type == WEFT_REPLY_ERROR ? -(int64_t)r->text[0]
                                              : 1000;
    weft_reply_free(r);
    return n;
}

CASE(test_queue)
{
    const char *const put[] = {"q", "q:closed", "q:left", "x"}, *const left[] = {"q", "q:left", "x",
                                                                                 "x"};
    assert_int_equal(answer(run(lua::queue_put, "0", put, "1", "one")), 1);
    assert_int_equal(answer(run(lua::queue_put, "0", put, "1", "two")), -1000); // full
    assert_int_equal(answer(run(lua::queue_may_put, "0", put, "1")), -1000);
    assert_int_equal(answer(run(lua::queue_join, "0", left)), -1000);
    assert_int_equal(answer(run(lua::queue_get, "0", put, "2")), -'T'); // TOOBIG
    weft_reply *r = run(lua::queue_get, "0", put);
    assert_string_equal(r->text, "one");
    weft_reply_free(r);
    assert_int_equal(answer(run(lua::queue_get, "0", put)), -1000);
    assert_int_equal(answer(run(lua::queue_done, "0", left)), 0);
    assert_int_equal(answer(run(lua::queue_done, "0", left)), -'T'); // TOOMANY
    assert_int_equal(answer(run(lua::queue_join, "0", left)), 1);
    assert_int_equal(answer(run(lua::queue_put, "0", put, "0", "rest")), 1);
    assert_int_equal(answer(run(lua::queue_close, "0", put, "DISCARD")), 1000);
    assert_int_equal(answer(run(lua::queue_get, "0", put)), -'C'); // CLOSED
    assert_int_equal(answer(run(lua::queue_put, "0", put, "0", "more")), -'C');
    assert_int_equal(answer(run(lua::queue_may_put, "0", put, "1")), 1); // to be told so
    assert_int_equal(answer(run(lua::queue_join, "0", left)), 1);
}

CASE(test_lock)
{
    const char *const keys[] = {"l", "l:lock", "l:token", "x"};
    const char *const steal[] = {"HSET", "l:lock", "owner", "8"};
    assert_int_equal(answer(run(lua::lock_unlock, "9000", keys)), -'N'); // NOTOWNER
    assert_int_equal(answer(run(lua::lock_lock, "9000", keys)), 1);
    assert_int_equal(answer(run(lua::lock_lock, "9000", keys)), -'D'); // DEADLOCK
    assert_int_equal(answer(run(lua::lock_lock, "9000", keys, "RECURSIVE")), 1);
    assert_int_equal(answer(run(lua::lock_renew, "9000", keys)), 1);
    assert_int_equal(answer(run(lua::lock_unlock, "9000", keys)), 1);
    weft_reply_free(asked(4, steal));
    assert_int_equal(answer(run(lua::lock_lock, "9000", keys)), -1000);
    assert_int_equal(answer(run(lua::lock_renew, "9000", keys)), -'N');
}

CASE(test_semaphore)
{
    const char *const keys[] = {"s", "s:free", "s:held", "s:leases"};
    assert_int_equal(answer(run(lua::semaphore_units, "9000", keys)), -'N'); // NOSUCH
    assert_int_equal(answer(run(lua::semaphore_create, "9000", keys, "1")), 1);
    assert_int_equal(answer(run(lua::semaphore_create, "9000", keys, "5")), 1); // it is there
    assert_int_equal(answer(run(lua::semaphore_acquire, "9000", keys)), 0);
    assert_int_equal(answer(run(lua::semaphore_acquire, "9000", keys)), -1000);
    assert_int_equal(answer(run(lua::semaphore_renew, "9000", keys)), 1);
    assert_int_equal(answer(run(lua::semaphore_release, "9000", keys, "MINE")), 1);
    assert_int_equal(answer(run(lua::semaphore_release, "9000", keys, "MINE")), -'N'); // NOTOWNER
    assert_int_equal(answer(run(lua::semaphore_release, "9000", keys)), 2);
    assert_int_equal(answer(run(lua::semaphore_acquire, "-1", keys)), 1); // a lease that is over
    assert_int_equal(answer(run(lua::semaphore_units, "9000", keys)), 2);
    assert_int_equal(answer(run(lua::semaphore_renew, "9000", keys)), -'N');
}

CASE(test_event)
{
    const char *const keys[] = {"e", "e:event", "x", "x"};
    assert_int_equal(answer(run(lua::event_wait, "0", keys)), -1000);
    assert_int_equal(answer(run(lua::event_set, "0", keys)), 1000);
    assert_int_equal(answer(run(lua::event_set, "0", keys)), 1000);
    assert_int_equal(answer(run(lua::event_wait, "0", keys)), 1);
    assert_int_equal(answer(run(lua::event_is_set, "0", keys)), 1);
    assert_int_equal(answer(run(lua::event_clear, "0", keys)), 1000);
    assert_int_equal(answer(run(lua::event_is_set, "0", keys)), 0);
}

CASE(test_barrier)
{
    const char *const keys[] = {"b", "b:barrier", "b:waiting", "b:resets"};
    const char *const partner[] = {"ZADD", "b:waiting", "+inf", "8"};
    const char *const away[] = {"ZADD", "b:waiting", "1", "9"};
    const char *const back[] = {"ZADD", "b:waiting", "+inf", "9"};
    const char *const dead[] = {"ZADD", "b:waiting", "-1", "9"};
    assert_int_equal(answer(run(lua::barrier_arrive, "0", keys, "2")), 0);
    assert_int_equal(answer(run(lua::barrier_waiting, "0", keys)), 1);
    assert_int_equal(answer(run(lua::barrier_arrive, "0", keys, "3")), -'P'); // PARTIES
    assert_int_equal(answer(run(lua::barrier_is_over, "0", keys, "0")), -1000);
    weft_reply_free(asked(4, partner));
    assert_int_equal(answer(run(lua::barrier_arrive, "0", keys, "2")), -1);
    assert_int_equal(answer(run(lua::barrier_is_over, "0", keys, "0")), 1);
    assert_int_equal(answer(run(lua::barrier_give_up, "0", keys, "0")), 1);
    assert_int_equal(answer(run(lua::barrier_arrive, "0", keys, "2")), 1);
    assert_int_equal(answer(run(lua::barrier_reset, "0", keys)), 1000);
    assert_int_equal(answer(run(lua::barrier_is_over, "0", keys, "1")), -'B'); // BROKEN
    assert_int_equal(answer(run(lua::barrier_arrive, "0", keys, "2")), 2);
    assert_int_equal(answer(run(lua::barrier_give_up, "0", keys, "2")), 0);
    assert_int_equal(answer(run(lua::barrier_arrive, "0", keys, "2")), -'B');
    assert_int_equal(answer(run(lua::barrier_reset, "0", keys)), 1000);
    // Not seen for long, but nor was anybody else: it is waited for.
    weft_reply_free(asked(4, away));
    assert_int_equal(answer(run(lua::barrier_waiting, "0", keys)), 1);
    assert_int_equal(answer(run(lua::barrier_arrive, "0", keys, "2")), 3);
    assert_int_equal(answer(run(lua::barrier_is_over, "0", keys, "3")), -1000);
    weft_reply_free(asked(4, back));
    assert_int_equal(answer(run(lua::barrier_is_over, "0", keys, "3")), -1);
    weft_reply_free(asked(4, dead));
    assert_int_equal(answer(run(lua::barrier_waiting, "0", keys)), -'O'); // OWNERDEAD
    assert_int_equal(answer(run(lua::barrier_break, "0", keys)), 1000);
    assert_int_equal(answer(run(lua::barrier_waiting, "0", keys)), -'B');
}

CASE(test_value)
{
    const char *const keys[] = {"v", "x", "x", "x"};
    assert_int_equal(answer(run(lua::value_replace, "0", keys, "0", "5")), -1000);
    weft_reply *r = run(lua::value_replace, "0", keys, "0", "6");
    assert_string_equal(r->text, "5");
    weft_reply_free(r);
}

int main(void)
{
    if (!has_redis()) {
        puts("left out: no redis-server");
        return 0;
    }
    redis.kind = WEFT_SERVER_REDIS;
    start_server(&redis);
    client = client_of(&redis);
    int failed = run_cases();
    weft_client_destroy(client);
    end_server(&redis);
    return failed;
}
