// Queues, on both servers.
#include "servers.h"

static void put_text(weft_remote_queue *q, const char *text)
{
    assert_int_equal(weft_remote_queue_put(q, text, strlen(text), soon()), 0);
}

static void get_text(weft_remote_queue *q, const char *text)
{
    char got[64] = "";
    assert_int_equal(weft_remote_queue_get(q, got, sizeof got - 1, soon()), strlen(text));
    assert_string_equal(got, text);
}

static void test_queue_order(void **)
{
    weft_client *c = client_of(&here), *e = client_of(&here);
    weft_remote_queue *in = weft_remote_queue_open(c, "order", 0),
                      *out = weft_remote_queue_open(e, "order", 0);
    errno = 77;
    put_text(in, "one");
    put_text(in, "two");
    assert_int_equal(weft_remote_queue_put(in, nullptr, 0, soon()), 0);
    assert_int_equal(weft_remote_queue_put(in, "a\0b\r\n", 5, soon()), 0);
    assert_int_equal(weft_remote_queue_length(out, soon()), 4);
    get_text(out, "one");
    get_text(out, "two");
    get_text(out, "");
    char got[8];
    assert_int_equal(weft_remote_queue_get(out, got, sizeof got, soon()), 5);
    assert_memory_equal(got, "a\0b\r\n", 5);
    assert_int_equal(errno, 77);
    assert_errno(weft_remote_queue_get(out, got, sizeof got, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_remote_queue_get(out, got, sizeof got, weft_in_ms(20)), ETIMEDOUT);
    assert_errno(weft_remote_queue_take(out, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_remote_queue_length(in, soon()), 0);
    weft_remote_destroy(in);
    weft_remote_destroy(out);
    weft_client_destroy(c);
    weft_client_destroy(e);
}

static void test_queue_room(void **)
{
    weft_client *c = client_of(&here);
    weft_remote_queue *q = weft_remote_queue_open(c, "room", 0);
    char got[4];
    put_text(q, "hello");
    assert_errno(weft_remote_queue_get(q, got, 4, soon()), EMSGSIZE);
    assert_errno(weft_remote_queue_get(q, nullptr, 0, soon()), EMSGSIZE);
    assert_int_equal(weft_remote_queue_length(q, soon()), 1);
    weft_reply *r = weft_remote_queue_take(q, soon());
    assert_int_equal(r->type, WEFT_REPLY_STRING);
    assert_string_equal(r->text, "hello");
    weft_reply_free(r);
    weft_remote_destroy(q);
    weft_client_destroy(c);
}

static void test_queue_refuses(void **)
{
    weft_client *c = client_of(&here);
    assert_errno(weft_remote_queue_open(nullptr, "q", 0), EINVAL);
    assert_errno(weft_remote_queue_open(c, nullptr, 0), EINVAL);
    assert_errno(weft_remote_queue_open(c, "", 0), EINVAL);
    assert_errno(weft_remote_queue_open(c, "q", SIZE_MAX), EINVAL);
    weft_remote_lock *l = weft_remote_lock_open(c, "q", 0);
    weft_remote_queue *q = weft_remote_queue_open(c, "refuses", 0);
    assert_errno(weft_remote_queue_put(l, "x", 1, soon()), EINVAL);
    assert_errno(weft_remote_queue_put(nullptr, "x", 1, soon()), EINVAL);
    assert_errno(weft_remote_queue_put(q, nullptr, 1, soon()), EINVAL);
    assert_errno(weft_remote_queue_get(q, nullptr, 1, soon()), EINVAL);
    assert_errno(weft_remote_queue_close(q, 7, soon()), EINVAL);
    assert_errno(weft_remote_queue_take(l, soon()), EINVAL);
    tell(c, "SET", "refuses", "not a list");
    assert_errno(weft_remote_queue_put(q, "x", 1, soon()), EINVAL);
    assert_errno(weft_remote_queue_take(q, soon()), EINVAL);
    assert_errno(weft_remote_queue_length(q, soon()), EINVAL);
    assert_true(strncmp(weft_client_error(c), "WRONGTYPE", 9) == 0);
    assert_errno(weft_client_destroy(c), EBUSY);
    weft_remote_destroy(l);
    weft_remote_destroy(q);
    assert_int_equal(weft_remote_destroy(nullptr), 0);
    assert_int_equal(weft_client_destroy(c), 0);
}

// What was got is the client's with its end, also if it has noted commands that it never sends.
static void test_queue_got_at_the_end(void **)
{
    static const char *const set[] = {"SET", "noted", "1"}, *const get[] = {"EXISTS", "noted"};
    weft_client *c = client_of(&here), *e = client_of(&here);
    weft_remote_queue *q = weft_remote_queue_open(c, "at the end", 0),
                      *in = weft_remote_queue_open(e, "at the end", 0);
    put_text(in, "one");
    get_text(q, "one");
    assert_int_equal(weft_client_append(c, 3, set, nullptr), 0);
    weft_remote_destroy(q);
    assert_int_equal(weft_client_destroy(c), 0);
    assert_errno(weft_remote_queue_take(in, weft_in_ms(50)), ETIMEDOUT);
    weft_reply *r = weft_client_command(e, 2, get, nullptr, soon());
    assert_int_equal(r->integer, 0);
    weft_reply_free(r);
    weft_remote_destroy(in);
    weft_client_destroy(e);
}

static int64_t get_waiting(weft_client *c)
{
    char got[16];
    weft_remote_queue *q = weft_remote_queue_open(c, "waits", 1);
    ssize_t n = weft_remote_queue_get(q, got, sizeof got, soon());
    int error = errno;
    weft_remote_destroy(q);
    errno = error;
    return n;
}

static int64_t put_waiting(weft_client *c)
{
    weft_remote_queue *q = weft_remote_queue_open(c, "waits", 1);
    int result = weft_remote_queue_put(q, "later", 5, soon());
    int error = errno;
    weft_remote_destroy(q);
    errno = error;
    return result;
}

static void test_queue_waits(void **)
{
    weft_client *c = client_of(&here);
    weft_remote_queue *q = weft_remote_queue_open(c, "waits", 1);
    other o;
    begin_other(&o, get_waiting);
    wait_until_waiting(&o);
    put_text(q, "here");
    end_other(&o);
    assert_int_equal(o.result, 4);
    put_text(q, "first");
    assert_errno(weft_remote_queue_put(q, "x", 1, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_remote_queue_put(q, "x", 1, weft_in_ms(20)), ETIMEDOUT);
    begin_other(&o, put_waiting);
    wait_until_waiting(&o);
    assert_int_equal(weft_remote_queue_length(q, soon()), 1);
    get_text(q, "first");
    get_text(q, "later");
    end_other(&o);
    assert_int_equal(o.result, 0);
    weft_remote_destroy(q);
    weft_client_destroy(c);
}

// What others push or pop counts too: it is a list as any other.
static void test_queue_is_a_list(void **)
{
    weft_client *c = client_of(&here);
    weft_remote_queue *q = weft_remote_queue_open(c, "waits", 1);
    other o;
    begin_other(&o, get_waiting);
    wait_until_waiting(&o);
    tell(c, "RPUSH", "waits", "pushed");
    end_other(&o);
    assert_int_equal(o.result, 6);
    put_text(q, "first");
    begin_other(&o, put_waiting);
    wait_until_waiting(&o);
    tell(c, "LPOP", "waits");
    end_other(&o);
    assert_int_equal(o.result, 0);
    get_text(q, "later");
    weft_remote_destroy(q);
    weft_client_destroy(c);
}

static void test_queue_close_wakes(void **)
{
    weft_client *c = client_of(&here);
    weft_remote_queue *q = weft_remote_queue_open(c, "waits", 1);
    other getters[3];
    for (int i = 0; i < 3; i++)
        begin_other(&getters[i], get_waiting);
    for (int i = 0; i < 3; i++)
        wait_until_waiting(&getters[i]);
    assert_int_equal(weft_remote_queue_close(q, WEFT_DRAIN, soon()), 0);
    for (int i = 0; i < 3; i++) {
        end_other(&getters[i]);
        assert_int_equal(getters[i].result, -1);
        assert_int_equal(getters[i].error, EPIPE);
    }
    weft_remote_destroy(q);
    weft_client_destroy(c);
}

static int64_t put_full(weft_client *c)
{
    weft_remote_queue *q = weft_remote_queue_open(c, "full", 1);
    int result = weft_remote_queue_put(q, "x", 1, soon());
    int error = errno;
    weft_remote_destroy(q);
    errno = error;
    return result;
}

static void test_queue_close_drain(void **)
{
    weft_client *c = client_of(&here);
    weft_remote_queue *q = weft_remote_queue_open(c, "full", 2);
    other o;
    put_text(q, "one");
    put_text(q, "two");
    begin_other(&o, put_full);
    wait_until_waiting(&o);
    assert_int_equal(weft_remote_queue_close(q, WEFT_DRAIN, soon()), 0);
    end_other(&o);
    assert_int_equal(o.result, -1);
    assert_int_equal(o.error, EPIPE);
    assert_errno(weft_remote_queue_put(q, "x", 1, soon()), EPIPE);
    get_text(q, "one");
    get_text(q, "two");
    assert_errno(weft_remote_queue_take(q, soon()), EPIPE);
    assert_errno(weft_remote_queue_take(q, WEFT_NOW), EPIPE);
    weft_remote_destroy(q);
    weft_client_destroy(c);
}

static void test_queue_close_discard(void **)
{
    weft_client *c = client_of(&here);
    weft_remote_queue *q = weft_remote_queue_open(c, "discard", 0);
    put_text(q, "one");
    put_text(q, "two");
    get_text(q, "one");
    assert_int_equal(weft_remote_queue_close(q, WEFT_DISCARD, soon()), 0);
    assert_int_equal(weft_remote_queue_length(q, soon()), 0);
    assert_errno(weft_remote_queue_take(q, soon()), EPIPE);
    assert_errno(weft_remote_queue_join(q, WEFT_NOW), ETIMEDOUT); // "one" is at work
    assert_int_equal(weft_remote_queue_task_done(q, soon()), 0);
    assert_int_equal(weft_remote_queue_join(q, WEFT_NOW), 0); // what was thrown away is done
    weft_remote_destroy(q);
    weft_client_destroy(c);
}

static int64_t join_it(weft_client *c)
{
    weft_remote_queue *q = weft_remote_queue_open(c, "join", 0);
    int result = weft_remote_queue_join(q, soon());
    int error = errno;
    weft_remote_destroy(q);
    errno = error;
    return result;
}

static void test_queue_join(void **)
{
    weft_client *c = client_of(&here);
    weft_remote_queue *q = weft_remote_queue_open(c, "join", 0);
    other o;
    assert_int_equal(weft_remote_queue_join(q, WEFT_NOW), 0);
    assert_errno(weft_remote_queue_task_done(q, soon()), EINVAL);
    put_text(q, "one");
    put_text(q, "two");
    get_text(q, "one");
    get_text(q, "two");
    assert_errno(weft_remote_queue_join(q, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_remote_queue_join(q, weft_in_ms(5)), ETIMEDOUT);
    assert_int_equal(weft_remote_queue_task_done(q, soon()), 0);
    begin_other(&o, join_it);
    wait_until_waiting(&o);
    assert_int_equal(weft_remote_queue_task_done(q, soon()), 0);
    end_other(&o);
    assert_int_equal(o.result, 0);
    assert_errno(weft_remote_queue_task_done(q, soon()), EINVAL);
    weft_remote_destroy(q);
    weft_client_destroy(c);
}

static void test_queue_large(void **)
{
    const size_t n = 5 << 20;
    weft_client *c = client_of(&here);
    weft_remote_queue *q = weft_remote_queue_open(c, "large", 1);
    char *in = (char *)malloc(n), *out = (char *)malloc(n);
    for (size_t i = 0; i < n; i++)
        in[i] = (char)(i * 31 + i / 4093);
    assert_int_equal(weft_remote_queue_put(q, in, n, soon()), 0);
    assert_errno(weft_remote_queue_put(q, in, n, weft_in_ms(20)), ETIMEDOUT);
    assert_errno(weft_remote_queue_get(q, out, n - 1, soon()), EMSGSIZE);
    assert_int_equal(weft_remote_queue_get(q, out, n, soon()), n);
    assert_memory_equal(in, out, n);
    free(in);
    free(out);
    weft_remote_destroy(q);
    weft_client_destroy(c);
}

enum { PUTTERS = 3, GETTERS = 3, EACH = 300 };
static int next_putter;
static int seen[PUTTERS * EACH]; // each number is got once

static int64_t put_many(weft_client *c)
{
    int me = __atomic_fetch_add(&next_putter, 1, __ATOMIC_RELAXED);
    weft_remote_queue *q = weft_remote_queue_open(c, "many", 4);
    int result = 0;
    for (int i = 0; i < EACH && result == 0; i++) {
        int number = me * EACH + i;
        result = weft_remote_queue_put(q, &number, sizeof number, soon());
    }
    weft_remote_destroy(q);
    return result;
}

static int64_t get_many(weft_client *c)
{
    weft_remote_queue *q = weft_remote_queue_open(c, "many", 4);
    int number;
    while (weft_remote_queue_get(q, &number, sizeof number, soon()) == (ssize_t)sizeof number) {
        __atomic_fetch_add(&seen[number], 1, __ATOMIC_RELAXED);
        weft_remote_queue_task_done(q, soon());
    }
    int error = errno;
    weft_remote_destroy(q);
    return error;
}

static void test_queue_many(void **)
{
    other putters[PUTTERS], getters[GETTERS];
    weft_client *c = client_of(&here);
    weft_remote_queue *q = weft_remote_queue_open(c, "many", 0);
    next_putter = 0;
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < GETTERS; i++)
        begin_other(&getters[i], get_many);
    for (int i = 0; i < PUTTERS; i++)
        begin_other(&putters[i], put_many);
    for (int i = 0; i < PUTTERS; i++) {
        end_other(&putters[i]);
        assert_int_equal(putters[i].result, 0);
    }
    assert_int_equal(weft_remote_queue_join(q, soon()), 0);
    assert_int_equal(weft_remote_queue_close(q, WEFT_DRAIN, soon()), 0);
    for (int i = 0; i < GETTERS; i++) {
        end_other(&getters[i]);
        assert_int_equal(getters[i].result, EPIPE);
    }
    for (int i = 0; i < PUTTERS * EACH; i++)
        assert_int_equal(seen[i], 1);
    weft_remote_destroy(q);
    weft_client_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_queue_order),         TEST(test_queue_room),
        TEST(test_queue_refuses),       TEST(test_queue_got_at_the_end),
        TEST(test_queue_waits),         TEST(test_queue_is_a_list),
        TEST(test_queue_close_wakes),   TEST(test_queue_close_drain),
        TEST(test_queue_close_discard), TEST(test_queue_join),
        TEST(test_queue_large),         TEST(test_queue_many),
    };
    return on_both_servers(tests, sizeof tests / sizeof *tests);
}
