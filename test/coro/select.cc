// Select: which case happens, fairness, deadlines, and that the others have not.
#include "tasklets.h"

static weft_channel *a, *b, *c;
static int64_t x, y, z; // items
static weft_select_case cases[4];

static void begin(size_t capacity)
{
    weft_channel **all[] = {&a, &b, &c};
    for (weft_channel **each : all)
        assert_non_null(*each = weft_channel_create(sizeof(int64_t), capacity));
    x = y = 0;
    z = 5;
}

static void end(void)
{
    run_all();
    assert_int_equal(weft_channel_destroy(a), 0);
    assert_int_equal(weft_channel_destroy(b), 0);
    assert_int_equal(weft_channel_destroy(c), 0);
}

static weft_select_case make(weft_channel *of, int op, int64_t *item)
{
    weft_select_case k = {};
    k.channel = of;
    k.op = op;
    k.item = item;
    k.error = 77;
    return k;
}

// A select from up to three cases: receive from a into x, from b into y, send z to c.
static int select_abc(unsigned n, weft_deadline d)
{
    cases[0] = make(a, WEFT_RECEIVE, &x);
    cases[1] = make(b, WEFT_RECEIVE, &y);
    cases[2] = make(c, WEFT_SEND, &z);
    return (int)weft_select(cases, n, d);
}

static void assert_nobody_waits(void)
{
    assert_int_equal(weft_channel_balance(a), 0);
    assert_int_equal(weft_channel_balance(b), 0);
    assert_int_equal(weft_channel_balance(c), 0);
}

static void *send_seven(void *to)
{
    int64_t item = 7;
    weft_channel_send((weft_channel *)to, &item, WEFT_FOREVER);
    return NULL;
}

CASE(test_select_checks_its_arguments)
{
    begin(0);
    weft_select_case k = make(a, 5, &x);
    assert_errno(weft_select(&k, 1, WEFT_NOW), EINVAL);
    k = make(a, WEFT_SEND, NULL);
    assert_errno(weft_select(&k, 1, WEFT_NOW), EINVAL);
    assert_errno(weft_select(&k, SIZE_MAX, WEFT_NOW), EINVAL);
    assert_errno(weft_select(NULL, 1, WEFT_NOW), EINVAL);
    end();
}

CASE(test_select_of_nothing_waits_for_the_deadline)
{
    int64_t start = weft_now();
    weft_select_case never = make(NULL, WEFT_RECEIVE, &x);
    assert_errno(weft_select(NULL, 0, weft_in_ms(2)), ETIMEDOUT);
    assert_errno(weft_select(&never, 1, weft_in_ms(2)), ETIMEDOUT);
    assert_true(weft_now() - start >= 4000000);
}

CASE(test_select_takes_what_is_ready)
{
    begin(0);
    assert_errno(select_abc(2, WEFT_NOW), ETIMEDOUT);
    spawn_detached(send_seven, b);
    weft_tasklet_yield();
    assert_int_equal(select_abc(2, WEFT_NOW), 1);
    assert_int_equal(y, 7);
    assert_int_equal(cases[1].error, 0);
    assert_int_equal(cases[0].error, 77); // untouched
    end();
}

CASE(test_select_waits_for_a_send)
{
    begin(0);
    spawn_detached(send_seven, b);
    assert_int_equal(select_abc(3, WEFT_FOREVER), 1);
    assert_int_equal(y, 7);
    assert_int_equal(x, 0);
    assert_nobody_waits(); // no case is left in a queue
    end();
}

CASE(test_select_waits_for_a_receiver)
{
    static int64_t taken;
    begin(0);
    spawn_detached([](void *arg) {
        weft_channel_receive(c, &taken, WEFT_FOREVER);
        return arg;
    });
    assert_int_equal(select_abc(3, weft_in_s(500)), 2);
    end();
    assert_int_equal(taken, 5);
}

CASE(test_select_deadline_and_queues)
{
    begin(0);
    assert_errno(select_abc(3, weft_in_ms(1)), ETIMEDOUT);
    assert_nobody_waits();
    weft_select_case k[] = {make(a, WEFT_RECEIVE, &x), make(a, WEFT_SEND, &z)};
    assert_errno(weft_select(k, 2, weft_in_ms(1)), ETIMEDOUT);
    assert_nobody_waits();
    end();
}

static int met;

static void *select_both_ways(void *arg)
{
    int64_t in = 0, out = (intptr_t)arg;
    weft_select_case k[] = {make(a, WEFT_RECEIVE, &in), make(a, WEFT_SEND, &out)};
    ssize_t i = weft_select(k, 2, WEFT_FOREVER);
    met += i == 0 ? (int)in * 100 : i == 1 ? 1 : 1000000;
    return NULL;
}

CASE(test_select_never_meets_itself)
{
    begin(0);
    met = 0;
    spawn_detached(select_both_ways, V(3));
    weft_tasklet_yield();
    weft_tasklet_yield();
    assert_int_equal(met, 0); // alone, it waits
    spawn_detached(select_both_ways, V(4));
    end();
    assert_true(met == 301 || met == 401);
}

CASE(test_select_between_two_selects)
{
    begin(0);
    met = 0;
    for (intptr_t i = 0; i < 10; i++)
        spawn_detached(select_both_ways, V(i + 1));
    end();
    assert_int_equal(met % 100, 5); // five sent, five received
}

CASE(test_select_sees_a_close)
{
    begin(0);
    weft_channel_close(c);
    assert_int_equal(select_abc(3, WEFT_FOREVER), 2);
    assert_int_equal(cases[2].error, EPIPE);
    weft_channel_close(a);
    assert_int_equal(select_abc(2, WEFT_FOREVER), 0);
    assert_int_equal(cases[0].error, EPIPE);
    end();
}

CASE(test_select_is_woken_by_a_close)
{
    const auto close = [](void *which) {
        weft_channel_close((weft_channel *)which);
        return which;
    };
    begin(0);
    spawn_detached(close, c);
    assert_int_equal(select_abc(3, WEFT_FOREVER), 2);
    assert_int_equal(cases[2].error, EPIPE);
    spawn_detached(close, a);
    assert_int_equal(select_abc(2, WEFT_FOREVER), 0);
    assert_int_equal(cases[0].error, EPIPE);
    end();
}

CASE(test_select_receives_an_error)
{
    begin(0);
    for (int error_waits = 0; error_waits < 2; error_waits++) {
        spawn_detached([](void *arg) {
            weft_channel_send_error(a, EIO, WEFT_FOREVER);
            return arg;
        });
        if (error_waits)
            weft_tasklet_yield();
        assert_int_equal(select_abc(1, WEFT_FOREVER), 0);
        assert_int_equal(cases[0].error, EIO);
    }
    end();
}

CASE(test_select_with_buffers)
{
    begin(1);
    weft_select_case k[] = {make(a, WEFT_RECEIVE, &x), make(a, WEFT_SEND, &z)};
    assert_int_equal(weft_select(k, 2, WEFT_NOW), 1);
    assert_int_equal(weft_select(k, 2, WEFT_NOW), 0);
    assert_int_equal(x, 5);
    end();
}

// A select that receives from all three, into x.
static int select_any(void)
{
    weft_select_case k[] = {make(a, WEFT_RECEIVE, &x), make(b, WEFT_RECEIVE, &x),
                            make(c, WEFT_RECEIVE, &x)};
    ssize_t i = weft_select(k, 3, WEFT_FOREVER);
    return i < 0 || k[i].error != 0 ? -1 : (int)i;
}

CASE(test_select_is_fair)
{
    int count[3] = {0, 0, 0};
    begin(1);
    weft_channel *all[] = {a, b, c};
    for (int i = 0; i < 3000; i++) {
        for (weft_channel *each : all)
            weft_channel_send(each, &z, WEFT_NOW); // full ones refuse
        int j = select_any();
        assert_true(j >= 0 && j < 3);
        count[j]++;
    }
    for (int each : count)
        assert_true(each > 800 && each < 1200);
    end();
}

// Random senders and selecting receivers: each item arrives once.
static int64_t got_sum;

static void *send_some(void *to)
{
    for (int64_t i = 1; i <= 100; i++) {
        assert_int_equal(weft_channel_send((weft_channel *)to, &i, weft_in_s(500)), 0);
        if (i % 3 == 0)
            weft_tasklet_yield();
    }
    return NULL;
}

CASE(test_select_loses_nothing)
{
    for (size_t capacity = 0; capacity < 3; capacity++) {
        weft_tasklet *t[12];
        begin(capacity);
        got_sum = 0;
        weft_channel *all[] = {a, b, c};
        for (int i = 0; i < 4; i++)
            spawn_detached([](void *arg) {
                int64_t mine = 0;
                weft_select_case k[] = {make(a, WEFT_RECEIVE, &mine), make(b, WEFT_RECEIVE, &mine),
                                        make(c, WEFT_RECEIVE, &mine)};
                for (ssize_t j; (j = weft_select(k, 3, WEFT_FOREVER)) >= 0 && k[j].error == 0;)
                    got_sum += mine;
                return arg;
            });
        for (int i = 0; i < 12; i++)
            t[i] = spawn(send_some, all[i % 3]);
        for (weft_tasklet *each : t)
            join(each);
        for (weft_channel *each : all)
            while (weft_channel_balance(each) > 0)
                weft_tasklet_yield();
        weft_channel_close(a);
        end();
        assert_int_equal(got_sum, 12 * 5050);
    }
}

RUN_CASES()
