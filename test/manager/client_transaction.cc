// Transactions from C, on both servers.
#include "../twins/peers.h"

#include <initializer_list>
#include <poll.h>

static void put(weft_client *c, std::initializer_list<const char *> words)
{
    assert_int_equal(weft_client_append(c, words.size(), words.begin(), nullptr), 0);
}

static long long number_at(weft_client *c, const char *key)
{
    const char *const words[] = {"GET", key};
    weft_reply *r = weft_client_command(c, 2, words, nullptr, soon());
    assert_non_null(r);
    long long n = r->type == WEFT_REPLY_STRING ? atoll(r->text) : -1;
    weft_reply_free(r);
    return n;
}

CASE(test_execute)
{
    weft_client *c = client_of(&here);
    errno = 77;
    tell(c, "DEL", "x");
    assert_int_equal(weft_client_begin(c), 0);
    put(c, {"SET", "x", "1"});
    put(c, {"INCR", "x"});
    put(c, {"LPUSH", "x", "v"});
    put(c, {"GET", "nosuch"});
    assert_int_equal(errno, 77);
    weft_reply *r = weft_client_execute(c, soon());
    assert_non_null(r);
    assert_int_equal(errno, 77);
    assert_int_equal(r->type, WEFT_REPLY_ARRAY);
    assert_int_equal(r->size, 4);
    assert_string_equal(r->items[0].text, "OK");
    assert_int_equal(r->items[1].integer, 2);
    assert_int_equal(r->items[2].type, WEFT_REPLY_ERROR);
    assert_int_equal(r->items[3].type, WEFT_REPLY_NULL);
    weft_reply_free(r);
    assert_int_equal(number_at(c, "x"), 2);
    // One with nothing in it.
    assert_int_equal(weft_client_begin(c), 0);
    r = weft_client_execute(c, soon());
    assert_non_null(r);
    assert_int_equal(r->size, 0);
    weft_reply_free(r);
    weft_client_destroy(c);
}

CASE(test_wrong_use)
{
    weft_client *c = client_of(&here);
    assert_errno(weft_client_execute(c, soon()), EINVAL);
    assert_errno(weft_client_execute(nullptr, soon()), EINVAL);
    assert_errno(weft_client_discard(c, soon()), EINVAL);
    assert_errno(weft_client_discard(nullptr, soon()), EINVAL);
    assert_errno(weft_client_begin(nullptr), EINVAL);
    assert_errno(weft_client_watch(nullptr, "k", 1, soon()), EINVAL);
    assert_errno(weft_client_watch(c, nullptr, 1, soon()), EINVAL);
    assert_errno(weft_client_unwatch(nullptr, soon()), EINVAL);
    assert_int_equal(weft_client_unwatch(c, soon()), 0);
    assert_int_equal(weft_client_begin(c), 0);
    assert_errno(weft_client_begin(c), EBUSY);
    assert_errno(weft_client_watch(c, "k", 1, soon()), EBUSY);
    assert_int_equal(weft_client_discard(c, soon()), 0);
    put(c, {"PING"});
    assert_errno(weft_client_begin(c), EBUSY);
    weft_reply_free(weft_client_next(c, soon()));
    weft_client_destroy(c);
}

// A command that the server does not take: none is run, and the error says which.
CASE(test_refused)
{
    weft_client *c = client_of(&here);
    tell(c, "SET", "x", "1");
    assert_int_equal(weft_client_begin(c), 0);
    put(c, {"INCR", "x"});
    put(c, {"NOSUCH", "x"});
    put(c, {"GET"});
    assert_errno(weft_client_execute(c, soon()), EPROTO);
    assert_non_null(strstr(weft_client_error(c), "unknown command 'NOSUCH'"));
    assert_int_equal(number_at(c, "x"), 1);
    weft_client_destroy(c);
}

static void end_two(weft_client *c, weft_client *other)
{
    weft_client_destroy(c);
    weft_client_destroy(other);
}

CASE(test_watch)
{
    weft_client *c = client_of(&here), *other = client_of(&here);
    tell(c, "SET", "x", "1");
    assert_int_equal(weft_client_watch(c, "x", 1, soon()), 0);
    assert_int_equal(weft_client_watch(c, "a\0b", 3, soon()), 0);
    tell(other, "SET", "x", "5");
    assert_int_equal(weft_client_begin(c), 0);
    put(c, {"SET", "x", "2"});
    assert_errno(weft_client_execute(c, soon()), EAGAIN);
    assert_int_equal(number_at(c, "x"), 5);
    // Once more, without a change.
    assert_int_equal(weft_client_watch(c, "x", 1, soon()), 0);
    assert_int_equal(weft_client_begin(c), 0);
    put(c, {"SET", "x", "2"});
    weft_reply *r = weft_client_execute(c, soon());
    assert_non_null(r);
    weft_reply_free(r);
    assert_int_equal(number_at(c, "x"), 2);
    // Nothing is watched after that; nor after unwatch and discard.
    for (int how = 0; how < 3; how++) {
        if (how > 0)
            assert_int_equal(weft_client_watch(c, "x", 1, soon()), 0);
        if (how == 2) {
            assert_int_equal(weft_client_begin(c), 0);
            put(c, {"SET", "x", "9"});
            assert_int_equal(weft_client_discard(c, soon()), 0);
        }
        tell(other, "INCR", "x");
        if (how == 1)
            assert_int_equal(weft_client_unwatch(c, soon()), 0);
        assert_int_equal(weft_client_begin(c), 0);
        put(c, {"INCR", "x"});
        r = weft_client_execute(c, soon());
        assert_non_null(r);
        weft_reply_free(r);
    }
    assert_int_equal(number_at(c, "x"), 8);
    end_two(c, other);
}

static void end_connection(weft_client *c, weft_client *by)
{
    char id[32];
    const char *const ask[] = {"CLIENT", "ID"};
    weft_reply *r = weft_client_command(c, 2, ask, nullptr, soon());
    assert_non_null(r);
    snprintf(id, sizeof id, "%lld", (long long)r->integer);
    weft_reply_free(r);
    const char *const kill[] = {"CLIENT", "KILL", "ID", id};
    weft_reply_free(weft_client_command(by, 4, kill, nullptr, soon()));
    struct pollfd p = {weft_client_fd(c), POLLIN, 0};
    assert_int_equal(poll(&p, 1, 20000), 1);
}

// A watch ends with its connection, however that is noticed: nothing runs.
CASE(test_lost_watch)
{
    weft_client *c = client_of(&here), *other = client_of(&here);
    tell(c, "SET", "x", "1");
    for (int how = 0; how < 4; how++) {
        assert_int_equal(weft_client_watch(c, "x", 1, soon()), 0);
        if (how == 3)
            assert_int_equal(weft_client_begin(c), 0);
        if (how < 3)
            end_connection(c, other);
        else
            shutdown(weft_client_fd(c), SHUT_RDWR);
        if (how == 1) { // a command in between notices, and the next connects
            const char *const ping[] = {"PING"};
            assert_errno(weft_client_command(c, 1, ping, nullptr, soon()), ENOTCONN);
            tell(c, "PING");
        }
        if (how == 2) {
            while (weft_client_watch(c, "y", 1, soon()) != 0 && errno == ENOTCONN)
                ;
            assert_int_equal(errno, EAGAIN);
            assert_int_equal(weft_client_watch(c, "y", 1, soon()), 0);
        }
        if (how < 3)
            assert_int_equal(weft_client_begin(c), 0);
        put(c, {"INCR", "x"});
        weft_reply *r = weft_client_execute(c, soon());
        if (how == 2)
            weft_reply_free(r);
        else if (r != nullptr || errno != EAGAIN)
            fail_msg("%d: %s", how, r != nullptr ? "it ran" : strerror(errno));
    }
    assert_int_equal(number_at(c, "x"), 2);
    end_two(c, other);
}

// The same of commands as they are: what is noted has ended nothing before it is sent.
CASE(test_lost_watch_of_a_pipeline)
{
    weft_client *c = client_of(&here), *other = client_of(&here);
    tell(c, "SET", "x", "1");
    tell(c, "WATCH", "x");
    end_connection(c, other);
    put(c, {"MULTI"});
    put(c, {"INCR", "x"});
    put(c, {"EXEC"});
    assert_errno(weft_client_next(c, soon()), ENOTCONN);
    for (int i = 0; i < 3; i++) // it was told: now they are sent
        weft_reply_free(weft_client_next(c, soon()));
    assert_int_equal(number_at(c, "x"), 2);
    end_two(c, other);
}

// Without a watch nothing hangs on the connection: a new one will do.
CASE(test_new_connection)
{
    weft_client *c = client_of(&here), *other = client_of(&here);
    tell(c, "SET", "x", "1");
    end_connection(c, other);
    assert_int_equal(weft_client_begin(c), 0);
    put(c, {"INCR", "x"});
    weft_reply *r = weft_client_execute(c, soon());
    assert_non_null(r);
    assert_int_equal(r->items[0].integer, 2);
    weft_reply_free(r);
    assert_int_equal(weft_client_begin(c), 0);
    put(c, {"INCR", "x"});
    shutdown(weft_client_fd(c), SHUT_RDWR);
    r = weft_client_execute(c, soon());
    assert_non_null(r);
    assert_int_equal(r->items[0].integer, 3);
    weft_reply_free(r);
    end_two(c, other);
}

// A server that is silent: its reply is owed, and comes with the next call; or is given up.
CASE(test_late)
{
    weft_client *c = client_of(&here);
    tell(c, "SET", "x", "1");
    for (int how = 0; how < 2; how++) {
        assert_int_equal(weft_client_begin(c), 0);
        put(c, {"INCR", "x"});
        kill(here.pid, SIGSTOP);
        assert_errno(weft_client_execute(c, weft_in_ms(20)), ETIMEDOUT);
        if (how == 1)
            assert_int_equal(weft_client_discard(c, soon()), 0);
        kill(here.pid, SIGCONT);
        if (how == 1)
            break;
        weft_reply *r = weft_client_execute(c, soon());
        assert_non_null(r);
        assert_int_equal(r->items[0].integer, 2);
        weft_reply_free(r);
    }
    assert_true(number_at(c, "x") >= 2);
    weft_client_destroy(c);
}

static bool adds; // a child's

// Nor does a child go on with it: what it adds does not run alone, and nothing is waited for that
// only the parent is told.
CASE(test_fork_within)
{
    weft_client *c = client_of(&here);
    tell(c, "SET", "x", "1");
    for (int sent = 0; sent < 2; sent++) {
        adds = !sent;
        assert_int_equal(weft_client_begin(c), 0);
        put(c, {"INCR", "x"});
        if (sent) {
            kill(here.pid, SIGSTOP);
            assert_errno(weft_client_execute(c, weft_in_ms(20)), ETIMEDOUT);
            kill(here.pid, SIGCONT);
        }
        pid_t child = child_of(
            [](void *arg) {
                weft_client *own = (weft_client *)arg;
                if (adds)
                    put(own, {"INCR", "x"});
                weft_reply *r = weft_client_execute(own, soon());
                if (r != nullptr || errno != EAGAIN || weft_client_begin(own) != 0)
                    return 1;
                put(own, {"GET", "x"});
                r = weft_client_execute(own, soon());
                bool done = r != nullptr;
                weft_reply_free(r);
                return done ? 0 : 2;
            },
            c);
        assert_int_equal(end_of(child), 0);
        weft_reply *r = weft_client_execute(c, soon());
        assert_non_null(r);
        assert_int_equal(r->items[0].integer, 2 + sent);
        weft_reply_free(r);
    }
    weft_client_destroy(c);
}

// A child of fork has nothing of its parent's transaction.
CASE(test_fork)
{
    weft_client *c = client_of(&here);
    tell(c, "SET", "x", "1");
    assert_int_equal(weft_client_watch(c, "x", 1, soon()), 0);
    assert_int_equal(weft_client_begin(c), 0);
    put(c, {"INCR", "x"});
    pid_t child = child_of(
        [](void *arg) {
            weft_reply *r = weft_client_execute((weft_client *)arg, soon());
            return r == nullptr && errno == EAGAIN ? 0 : 1;
        },
        c);
    assert_int_equal(end_of(child), 0);
    weft_reply *r = weft_client_execute(c, soon());
    assert_non_null(r);
    weft_reply_free(r);
    assert_int_equal(number_at(c, "x"), 2);
    weft_client_destroy(c);
}

// ---- Many at once ----

enum { ADDS = 200 };

// Adds one by looking and setting: correct only if no change in between is missed.
static ssize_t add_by_watch(peer *)
{
    weft_client *c = weft_client_connect(here.address, here.password, soon());
    for (int i = 0; i < ADDS; i++)
        for (;;) {
            char text[32];
            if (weft_client_watch(c, "sum", 3, soon()) != 0)
                return -1;
            const char *const get[] = {"GET", "sum"};
            weft_reply *r = weft_client_command(c, 2, get, nullptr, soon());
            if (r == nullptr)
                return -1;
            snprintf(text, sizeof text, "%lld", 1 + atoll(r->text));
            weft_reply_free(r);
            const char *const set[] = {"SET", "sum", text};
            weft_client_begin(c);
            weft_client_append(c, 3, set, nullptr);
            r = weft_client_execute(c, soon());
            weft_reply_free(r);
            if (r != nullptr)
                break;
            if (errno != EAGAIN)
                return -1;
        }
    weft_client_destroy(c);
    return 0;
}

CASE(test_many_at_once)
{
    begin_case();
    weft_client *c = client_of(&here);
    tell(c, "SET", "sum", "0");
    weft_remote_value *v = weft_remote_value_open(c, "sum");
    peer *all[4];
    for (peer *&p : all)
        p = begin(add_by_watch, v);
    for (peer *p : all) {
        end(p);
        assert_int_equal(p->code, 0);
    }
    assert_int_equal(number_at(c, "sum"), 4 * ADDS);
    weft_remote_destroy(v);
    weft_client_destroy(c);
}

RUN_ON_BOTH_SERVERS
