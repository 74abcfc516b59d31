// What queues on a server alone have, on both servers; for the rest see test/twins.
#include "../twins/peers.h"

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

CASE(test_queue_order)
{
    weft_remote_queue *in = weft_remote_queue_open(client_of(&here), "order", 0),
                      *out = weft_remote_queue_open(client_of(&here), "order", 0);
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
    assert_out_of_time(weft_remote_queue_get(out, got, sizeof got, shortly()));
    assert_errno(weft_remote_queue_take(out, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_remote_queue_length(in, soon()), 0);
    done_with(in);
    done_with(out);
}

CASE(test_queue_room)
{
    weft_remote_queue *q = weft_remote_queue_open(client_of(&here), "room", 0);
    char got[4];
    put_text(q, "hello");
    assert_errno(weft_remote_queue_get(q, got, 4, soon()), EMSGSIZE);
    assert_errno(weft_remote_queue_get(q, nullptr, 0, soon()), EMSGSIZE);
    assert_int_equal(weft_remote_queue_length(q, soon()), 1);
    weft_reply *r = weft_remote_queue_take(q, soon());
    assert_int_equal(r->type, WEFT_REPLY_STRING);
    assert_string_equal(r->text, "hello");
    weft_reply_free(r);
    done_with(q);
}

CASE(test_queue_refuses)
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
CASE(test_queue_got_at_the_end)
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
    assert_out_of_time(weft_remote_queue_take(in, shortly()));
    weft_reply *r = weft_client_command(e, 2, get, nullptr, soon());
    assert_int_equal(r->integer, 0);
    weft_reply_free(r);
    weft_remote_destroy(in);
    weft_client_destroy(e);
}

static ssize_t get_waiting(peer *p)
{
    char got[16];
    return weft_remote_queue_get((weft_remote *)p->thing, got, sizeof got, soon());
}

static ssize_t put_waiting(peer *p)
{
    return weft_remote_queue_put((weft_remote *)p->thing, "later", 5, soon());
}

// What others push or pop counts too: it is a list as any other.
CASE(test_queue_is_a_list)
{
    weft_client *c = client_of(&here);
    weft_remote_queue *q = weft_remote_queue_open(c, "waits", 1);
    peer *p = begin_asleep(get_waiting, q);
    tell(c, "RPUSH", "waits", "pushed");
    end(p, 6, 0);
    put_text(q, "first");
    p = begin_asleep(put_waiting, q);
    tell(c, "LPOP", "waits");
    end(p, 0, 0);
    get_text(q, "later");
    done_with(q);
}

CASE(test_queue_large)
{
    const size_t n = 5 << 20;
    weft_remote_queue *q = weft_remote_queue_open(client_of(&here), "large", 1);
    char *in = (char *)malloc(n), *out = (char *)malloc(n);
    for (size_t i = 0; i < n; i++)
        in[i] = (char)(i * 31 + i / 4093);
    assert_int_equal(weft_remote_queue_put(q, in, n, soon()), 0);
    assert_out_of_time(weft_remote_queue_put(q, in, n, shortly()));
    assert_errno(weft_remote_queue_get(q, out, n - 1, soon()), EMSGSIZE);
    assert_int_equal(weft_remote_queue_get(q, out, n, soon()), n);
    assert_memory_equal(in, out, n);
    free(in);
    free(out);
    done_with(q);
}

RUN_ON_BOTH_SERVERS
