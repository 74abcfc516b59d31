// Messages from C, on both servers.
#include <weft/io.h>

#include "../async/inside.h"
#include "../twins/peers.h"

#include <poll.h>

static void publish(weft_client *c, const char *channel, const char *text, ssize_t receivers)
{
    assert_int_equal(weft_remote_publish(c, channel, text, strlen(text), soon()), receivers);
}

static void next_is(weft_remote_subscriber *s, const char *channel, const char *text)
{
    weft_reply *r = weft_remote_subscriber_next(s, soon());
    assert_non_null(r);
    assert_int_equal(r->type, WEFT_REPLY_ARRAY);
    assert_int_equal(r->size, 2);
    assert_string_equal(r->items[0].text, channel);
    assert_string_equal(r->items[1].text, text);
    weft_reply_free(r);
}

static void wait_for_receivers(weft_client *c, const char *channel, ssize_t n)
{
    ssize_t now = -1;
    for (weft_deadline d = soon(); weft_left(d) > 0 && now != n; usleep(500))
        now = weft_remote_publish(c, channel, "probe", 5, soon());
    assert_int_equal(now, n);
}

static void end_both(weft_remote_subscriber *s, weft_client *c)
{
    weft_remote_destroy(s);
    weft_client_destroy(c);
}

CASE(test_messages)
{
    weft_client *c = client_of(&here);
    publish(c, "news", "nobody is there", 0);
    errno = 77;
    weft_remote_subscriber *s = weft_remote_subscribe(c, "news", 0, soon());
    assert_non_null(s);
    publish(c, "news", "one", 1);
    publish(c, "newspaper", "not this", 0);
    publish(c, "news", "", 1);
    next_is(s, "news", "one");
    next_is(s, "news", "");
    assert_int_equal(weft_remote_publish(c, "news", "a\0b", 3, soon()), 1);
    assert_int_equal(weft_remote_publish(c, "news", nullptr, 0, soon()), 1);
    assert_int_equal(errno, 77);
    weft_reply *r = weft_remote_subscriber_next(s, soon());
    assert_int_equal(r->items[1].size, 3);
    assert_memory_equal(r->items[1].text, "a\0b", 3);
    weft_reply_free(r);
    next_is(s, "news", "");
    assert_errno(weft_remote_subscriber_next(s, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_remote_subscriber_next(s, weft_in_ms(5)), ETIMEDOUT);
    assert_int_equal(weft_remote_destroy(s), 0);
    wait_for_receivers(c, "news", 0);
    weft_client_destroy(c);
}

CASE(test_more_and_fewer)
{
    weft_client *c = client_of(&here);
    weft_remote_subscriber *s = weft_remote_subscribe(c, "n*", WEFT_SUBSCRIBE_PATTERN, soon());
    assert_int_equal(weft_remote_subscriber_add(s, "a", 0, soon()), 0);
    assert_int_equal(weft_remote_subscriber_add(s, "a", 0, soon()), 0);
    publish(c, "a", "1", 1);
    publish(c, "news", "2", 1);
    assert_int_equal(weft_remote_subscriber_add(s, "a", WEFT_SUBSCRIBE_PATTERN, soon()), 0);
    publish(c, "a", "3", 2);
    next_is(s, "a", "1");
    next_is(s, "news", "2");
    next_is(s, "a", "3");
    next_is(s, "a", "3");
    assert_int_equal(weft_remote_subscriber_remove(s, "a", 0, soon()), 0);
    assert_errno(weft_remote_subscriber_remove(s, "a", 0, soon()), ENOENT);
    assert_int_equal(weft_remote_subscriber_remove(s, "n*", WEFT_SUBSCRIBE_PATTERN, soon()), 0);
    publish(c, "a", "4", 1);
    publish(c, "news", "5", 0);
    next_is(s, "a", "4");
    assert_int_equal(weft_remote_subscriber_remove(s, "a", WEFT_SUBSCRIBE_PATTERN, soon()), 0);
    assert_errno(weft_remote_subscriber_next(s, soon()), EINVAL); // of what?
    end_both(s, c);
}

CASE(test_wrong_use)
{
    weft_client *c = client_of(&here);
    weft_remote_set *set = weft_remote_set_open(c, "set");
    assert_errno(weft_remote_subscribe(nullptr, "a", 0, soon()), EINVAL);
    assert_errno(weft_remote_subscribe(c, nullptr, 0, soon()), EINVAL);
    assert_errno(weft_remote_subscribe(c, "", 0, soon()), EINVAL);
    assert_errno(weft_remote_subscribe(c, "a", 2, soon()), EINVAL);
    assert_errno(weft_remote_publish(c, nullptr, "x", 1, soon()), EINVAL);
    assert_errno(weft_remote_publish(nullptr, "a", "x", 1, soon()), EINVAL);
    assert_errno(weft_remote_publish(c, "a", nullptr, 1, soon()), EINVAL);
    assert_errno(weft_remote_subscriber_next(nullptr, soon()), EINVAL);
    assert_errno(weft_remote_subscriber_next(set, soon()), EINVAL);
    assert_errno(weft_remote_subscriber_add(set, "a", 0, soon()), EINVAL);
    assert_errno(weft_remote_subscriber_remove(set, "a", 0, soon()), EINVAL);
    weft_remote_destroy(set);
    weft_client_destroy(c);
}

CASE(test_as_text)
{
    char text[200];
    weft_client *c = client_of(&here);
    weft_remote_subscriber *s = weft_remote_subscribe(c, "news.*", WEFT_SUBSCRIBE_PATTERN, soon());
    assert_true(weft_remote_text(s, text, sizeof text) > 0);
    assert_int_equal(strncmp(text, "subscriber:1:news.%2A@unix:", 27), 0);
    weft_remote_subscriber *other = weft_remote_open(text, here.password, soon());
    assert_non_null(other);
    publish(c, "news.x", "both", 2);
    next_is(s, "news.x", "both");
    next_is(other, "news.x", "both");
    weft_remote_destroy(s);
    weft_remote_destroy(other);
    weft_client_destroy(c);
}

// ---- Waiting ----

static ssize_t wait_for_one(peer *p)
{
    weft_reply *r = weft_remote_subscriber_next((weft_remote *)p->thing, soon());
    ssize_t n = r != nullptr ? (ssize_t)r->items[1].size : -1;
    weft_reply_free(r);
    return n;
}

CASE(test_waiting)
{
    begin_case();
    weft_client *c = client_of(&here);
    weft_remote_subscriber *s = weft_remote_subscribe(c, "awaited", 0, soon());
    peer *p = begin(wait_for_one, s);
    let_it_sleep(p);
    publish(c, "awaited", "four", 2);
    end(p, 4, 0);
    next_is(s, "awaited", "four");
    end_both(s, c);
}

CASE(test_by_descriptor)
{
    weft_client *c = client_of(&here);
    weft_remote_subscriber *s = weft_remote_subscribe(c, "polled", 0, soon());
    struct pollfd p = {weft_client_fd(weft_remote_client(s)), POLLIN, 0};
    assert_int_equal(poll(&p, 1, 0), 0);
    for (int i = 0; i < 10; i++)
        publish(c, "polled", "x", 1);
    int got = 0;
    while (got < 10) {
        assert_int_equal(poll(&p, 1, 20000), 1);
        for (weft_reply *r; (r = weft_remote_subscriber_next(s, WEFT_NOW)) != nullptr; got++)
            weft_reply_free(r);
        assert_int_equal(errno, ETIMEDOUT);
    }
    assert_int_equal(poll(&p, 1, 0), 0);
    end_both(s, c);
}

enum { TASKLETS = 8, MESSAGES = 50 };
static int received, ready, failed;

static void *subscriber(void *)
{
    weft_client *c = weft_client_connect(here.address, here.password, soon());
    weft_remote_subscriber *s = weft_remote_subscribe(c, "tasklets", 0, soon());
    ready += s != nullptr;
    for (int i = 0; i < MESSAGES; i++) {
        weft_reply *r = weft_remote_subscriber_next(s, soon());
        failed += r == nullptr || atoi(r->items[1].text) != i;
        received += r != nullptr;
        weft_reply_free(r);
    }
    end_both(s, c);
    return nullptr;
}

static void *publisher(void *)
{
    char text[16];
    weft_client *c = weft_client_connect(here.address, here.password, soon());
    while (ready < TASKLETS)
        weft_tasklet_sleep(weft_in_ms(1));
    for (int i = 0; i < MESSAGES; i++) {
        int n = snprintf(text, sizeof text, "%d", i);
        failed += weft_remote_publish(c, "tasklets", text, (size_t)n, soon()) != TASKLETS;
    }
    weft_client_destroy(c);
    return nullptr;
}

CASE(test_tasklets)
{
    received = ready = failed = 0;
    inside([] {
        weft_tasklet *all[TASKLETS + 1];
        for (int i = 0; i <= TASKLETS; i++)
            all[i] = spawn(i < TASKLETS ? subscriber : publisher, nullptr, true);
        for (weft_tasklet *t : all)
            join(t);
    });
    assert_int_equal(received, TASKLETS * MESSAGES);
    assert_int_equal(failed, 0);
}

// ---- Ends ----

// A server that was started again: told once, then messages come as before, of all channels.
CASE(test_server_restarted)
{
    server mine = start_another();
    weft_client *c = client_of(&mine);
    weft_remote_subscriber *s = weft_remote_subscribe(c, "first", 0, soon());
    assert_int_equal(weft_remote_subscriber_add(s, "sec*", WEFT_SUBSCRIBE_PATTERN, soon()), 0);
    kill_server(&mine);
    assert_errno(weft_remote_subscriber_next(s, WEFT_NOW), ENOTCONN);
    assert_errno(weft_remote_subscriber_next(s, weft_in_ms(30)), ENOTCONN);
    start_server(&mine);
    assert_errno(weft_remote_subscriber_next(s, soon()), ECONNRESET);
    publish(c, "first", "a", 1);
    publish(c, "second", "b", 1);
    next_is(s, "first", "a");
    next_is(s, "second", "b");
    assert_errno(weft_remote_subscriber_next(s, WEFT_NOW), ETIMEDOUT);
    end_both(s, c);
    end_server(&mine);
}

// A connection that ends while it is waited on.
CASE(test_connection_ends)
{
    begin_case();
    weft_client *c = client_of(&here);
    weft_remote_subscriber *s = weft_remote_subscribe(c, "ends", 0, soon());
    const char *const words[] = {"CLIENT", "KILL", "TYPE", "pubsub"};
    peer *p = begin(wait_for_one, s);
    let_it_sleep(p);
    weft_reply *r = weft_client_command(c, 4, words, nullptr, soon());
    assert_int_equal(r->integer, 2);
    weft_reply_free(r);
    end(p, -1, ECONNRESET);
    assert_errno(weft_remote_subscriber_next(s, soon()), ECONNRESET);
    publish(c, "ends", "again", 1);
    next_is(s, "ends", "again");
    end_both(s, c);
}

// A child of fork has a connection of its own, which it is told; the parent's goes on.
CASE(test_fork)
{
    weft_client *c = client_of(&here);
    weft_remote_subscriber *s = weft_remote_subscribe(c, "forked", 0, soon());
    pid_t child = child_of(
        [](void *arg) {
            weft_remote_subscriber *mine = (weft_remote_subscriber *)arg;
            if (weft_remote_subscriber_next(mine, soon()) != nullptr || errno != ECONNRESET)
                return 1;
            weft_reply *got = weft_remote_subscriber_next(mine, soon());
            return got != nullptr && strcmp(got->items[1].text, "probe") == 0 ? 0 : 2;
        },
        s);
    wait_for_receivers(c, "forked", 2);
    assert_int_equal(end_of(child), 0);
    next_is(s, "forked", "probe");
    end_both(s, c);
}

RUN_ON_BOTH_SERVERS
