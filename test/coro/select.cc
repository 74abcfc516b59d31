// Select: which case happens, fairness, deadlines, and that the others have not.
#include <weft/channel.h>

#include "../runner.h"

#include <errno.h>

static const weft_tasklet_options detached = {NULL, 0, NULL, true, false, false};
static weft_channel *a, *b, *c;

static void begin(size_t capacity)
{
    a = weft_channel_create(sizeof(int64_t), capacity);
    b = weft_channel_create(sizeof(int64_t), capacity);
    c = weft_channel_create(sizeof(int64_t), capacity);
    assert_true(a != NULL && b != NULL && c != NULL);
}

static void end(void)
{
    assert_int_equal(weft_tasklet_run(), 0);
    assert_int_equal(weft_channel_destroy(a), 0);
    assert_int_equal(weft_channel_destroy(b), 0);
    assert_int_equal(weft_channel_destroy(c), 0);
}

static void go(void *(*fn)(void *), void *arg)
{
    assert_non_null(weft_tasklet_spawn(fn, arg, &detached));
}

static weft_select_case make(weft_channel *channel, int op, int64_t *item)
{
    weft_select_case k;
    memset(&k, 0, sizeof k);
    k.channel = channel;
    k.op = op;
    k.item = item;
    k.error = 77;
    return k;
}

static void *send_seven(void *channel)
{
    int64_t item = 7;
    weft_channel_send((weft_channel *)channel, &item, WEFT_FOREVER);
    return NULL;
}

static int64_t taken;

static void *take_one(void *channel)
{
    weft_channel_receive((weft_channel *)channel, &taken, WEFT_FOREVER);
    return NULL;
}

CASE(test_select_checks_its_arguments)
{
    int64_t item = 0;
    begin(0);
    weft_select_case k = make(a, 5, &item);
    assert_int_equal(weft_select(&k, 1, WEFT_NOW), -1);
    assert_int_equal(errno, EINVAL);
    k = make(a, WEFT_SEND, NULL);
    assert_int_equal(weft_select(&k, 1, WEFT_NOW), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(weft_select(&k, -1, WEFT_NOW), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(weft_select(NULL, 1, WEFT_NOW), -1);
    assert_int_equal(errno, EINVAL);
    end();
}

CASE(test_select_of_nothing_waits_for_the_deadline)
{
    int64_t item = 0, start = weft_now();
    weft_select_case never = make(NULL, WEFT_RECEIVE, &item);
    assert_int_equal(weft_select(NULL, 0, weft_in_ms(2)), -1);
    assert_int_equal(errno, ETIMEDOUT);
    assert_int_equal(weft_select(&never, 1, weft_in_ms(2)), -1);
    assert_int_equal(errno, ETIMEDOUT);
    assert_true(weft_now() - start >= 4000000);
}

CASE(test_select_takes_what_is_ready)
{
    int64_t x = 0, y = 0;
    begin(0);
    weft_select_case k[] = {make(a, WEFT_RECEIVE, &x), make(b, WEFT_RECEIVE, &y)};
    assert_int_equal(weft_select(k, 2, WEFT_NOW), -1);
    assert_int_equal(errno, ETIMEDOUT);
    go(send_seven, b);
    weft_tasklet_yield();
    assert_int_equal(weft_select(k, 2, WEFT_NOW), 1);
    assert_int_equal(y, 7);
    assert_int_equal(k[1].error, 0);
    assert_int_equal(k[0].error, 77); // untouched
    end();
}

CASE(test_select_waits_for_a_send)
{
    int64_t x = 0, y = 0, z = 5;
    begin(0);
    weft_select_case k[] = {make(a, WEFT_RECEIVE, &x), make(b, WEFT_RECEIVE, &y),
                            make(c, WEFT_SEND, &z)};
    go(send_seven, b);
    assert_int_equal(weft_select(k, 3, WEFT_FOREVER), 1);
    assert_int_equal(y, 7);
    assert_int_equal(x, 0);
    // No case is left in a queue.
    assert_int_equal(weft_channel_balance(a), 0);
    assert_int_equal(weft_channel_balance(b), 0);
    assert_int_equal(weft_channel_balance(c), 0);
    end();
}

CASE(test_select_waits_for_a_receiver)
{
    int64_t x = 0, z = 5;
    begin(0);
    weft_select_case k[] = {make(a, WEFT_RECEIVE, &x), make(c, WEFT_SEND, &z)};
    go(take_one, c);
    assert_int_equal(weft_select(k, 2, weft_in_s(500)), 1);
    end();
    assert_int_equal(taken, 5);
}

CASE(test_select_deadline_and_queues)
{
    int64_t x = 0, z = 5;
    begin(0);
    weft_select_case k[] = {make(a, WEFT_RECEIVE, &x), make(a, WEFT_SEND, &z),
                            make(b, WEFT_RECEIVE, &x)};
    assert_int_equal(weft_select(k, 3, weft_in_ms(1)), -1);
    assert_int_equal(errno, ETIMEDOUT);
    assert_int_equal(weft_channel_balance(a), 0);
    assert_int_equal(weft_channel_balance(b), 0);
    end();
}

static int met;

static void *select_both_ways(void *arg)
{
    int64_t in = 0, out = (intptr_t)arg;
    weft_select_case k[] = {make(a, WEFT_RECEIVE, &in), make(a, WEFT_SEND, &out)};
    int i = weft_select(k, 2, WEFT_FOREVER);
    met += i == 0 ? (int)in * 100 : i == 1 ? 1 : 1000000;
    return NULL;
}

CASE(test_select_never_meets_itself)
{
    begin(0);
    met = 0;
    go(select_both_ways, (void *)3);
    weft_tasklet_yield();
    weft_tasklet_yield();
    assert_int_equal(met, 0); // alone, it waits
    go(select_both_ways, (void *)4);
    end();
    assert_true(met == 301 || met == 401);
}

CASE(test_select_between_two_selects)
{
    begin(0);
    met = 0;
    for (intptr_t i = 0; i < 10; i++)
        go(select_both_ways, (void *)(i + 1));
    end();
    assert_int_equal(met % 100, 5); // five sent, five received
}

CASE(test_select_sees_a_close)
{
    int64_t x = 0, z = 5;
    begin(0);
    weft_select_case k[] = {make(a, WEFT_RECEIVE, &x), make(b, WEFT_SEND, &z)};
    weft_channel_close(b);
    assert_int_equal(weft_select(k, 2, WEFT_FOREVER), 1);
    assert_int_equal(k[1].error, EPIPE);
    weft_channel_close(a);
    assert_int_equal(weft_select(k, 1, WEFT_FOREVER), 0);
    assert_int_equal(k[0].error, EPIPE);
    end();
}

static void *close_it(void *channel)
{
    weft_channel_close((weft_channel *)channel);
    return NULL;
}

CASE(test_select_is_woken_by_a_close)
{
    int64_t x = 0, z = 5;
    begin(0);
    weft_select_case k[] = {make(a, WEFT_RECEIVE, &x), make(b, WEFT_SEND, &z),
                            make(c, WEFT_RECEIVE, &x)};
    go(close_it, b);
    assert_int_equal(weft_select(k, 3, WEFT_FOREVER), 1);
    assert_int_equal(k[1].error, EPIPE);
    go(close_it, c);
    assert_int_equal(weft_select(&k[2], 1, WEFT_FOREVER), 0);
    assert_int_equal(k[2].error, EPIPE);
    end();
}

static void *send_an_error(void *channel)
{
    weft_channel_send_error((weft_channel *)channel, EIO, WEFT_FOREVER);
    return NULL;
}

CASE(test_select_receives_an_error)
{
    int64_t x = 0;
    begin(0);
    weft_select_case k = make(a, WEFT_RECEIVE, &x);
    go(send_an_error, a);
    assert_int_equal(weft_select(&k, 1, WEFT_FOREVER), 0); // waits first
    assert_int_equal(k.error, EIO);
    go(send_an_error, a);
    weft_tasklet_yield();
    k.error = 0;
    assert_int_equal(weft_select(&k, 1, WEFT_FOREVER), 0); // the error waits
    assert_int_equal(k.error, EIO);
    end();
}

CASE(test_select_with_buffers)
{
    int64_t x = 0, z = 8;
    begin(1);
    weft_select_case k[] = {make(a, WEFT_RECEIVE, &x), make(a, WEFT_SEND, &z)};
    assert_int_equal(weft_select(k, 2, WEFT_NOW), 1);
    assert_int_equal(weft_select(k, 2, WEFT_NOW), 0);
    assert_int_equal(x, 8);
    end();
}

CASE(test_select_is_fair)
{
    int64_t x = 0;
    int count[3] = {0, 0, 0};
    begin(1);
    weft_channel *all[] = {a, b, c};
    for (int i = 0; i < 3000; i++) {
        weft_select_case k[] = {make(a, WEFT_RECEIVE, &x), make(b, WEFT_RECEIVE, &x),
                                make(c, WEFT_RECEIVE, &x)};
        for (int j = 0; j < 3; j++)
            weft_channel_send(all[j], &x, WEFT_NOW); // full ones refuse
        int j = weft_select(k, 3, WEFT_FOREVER);
        assert_true(j >= 0 && j < 3);
        count[j]++;
    }
    for (int j = 0; j < 3; j++)
        assert_true(count[j] > 800 && count[j] < 1200);
    end();
}

// Random senders and selecting receivers: each item arrives once.
static int64_t sent_sum, got_sum;

static void *send_some(void *channel)
{
    for (int64_t i = 1; i <= 100; i++) {
        if (weft_channel_send((weft_channel *)channel, &i, weft_in_s(500)) == 0)
            sent_sum += i;
        if (i % 3 == 0)
            weft_tasklet_yield();
    }
    return NULL;
}

static void *select_all(void *arg)
{
    (void)arg;
    int64_t x = 0;
    weft_select_case k[] = {make(a, WEFT_RECEIVE, &x), make(b, WEFT_RECEIVE, &x),
                            make(c, WEFT_RECEIVE, &x)};
    for (;;) {
        int i = weft_select(k, 3, WEFT_FOREVER);
        if (i < 0 || k[i].error != 0)
            return NULL;
        got_sum += x;
    }
}

CASE(test_select_loses_nothing)
{
    for (size_t capacity = 0; capacity < 3; capacity++) {
        weft_tasklet *t[12];
        begin(capacity);
        sent_sum = got_sum = 0;
        weft_channel *all[] = {a, b, c};
        for (int i = 0; i < 4; i++)
            go(select_all, NULL);
        for (int i = 0; i < 12; i++)
            t[i] = weft_tasklet_spawn(send_some, all[i % 3], NULL);
        for (int i = 0; i < 12; i++)
            assert_int_equal(weft_tasklet_join(t[i], NULL, WEFT_FOREVER), 0);
        while (weft_channel_balance(a) > 0 || weft_channel_balance(b) > 0 ||
               weft_channel_balance(c) > 0)
            weft_tasklet_yield();
        weft_channel_close(a);
        end();
        assert_int_equal(sent_sum, 12 * 5050);
        assert_int_equal(got_sum, sent_sum);
    }
}

RUN_CASES()
