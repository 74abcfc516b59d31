// Channels: hand-off, buffer, order, deadlines, close, errors, balance.
#include <weft/channel.h>
#include <weft/coro.h>

#include "../runner.h"

#include <errno.h>

static const weft_tasklet_options detached = {NULL, 0, NULL, true, false, false};
static weft_channel *channel;
static char trace[512];

static void note(const char *what)
{
    strncat(trace, what, sizeof trace - strlen(trace) - 1);
}

static void note_item(const char *who, int64_t item)
{
    char text[32];
    snprintf(text, sizeof text, "%s%d ", who, (int)item);
    note(text);
}

static void begin(size_t capacity)
{
    trace[0] = 0;
    channel = weft_channel_create(sizeof(int64_t), capacity);
    assert_non_null(channel);
}

static void end(void)
{
    assert_int_equal(weft_tasklet_run(), 0);
    assert_int_equal(weft_channel_destroy(channel), 0);
}

static void go(void *(*fn)(void *), intptr_t arg)
{
    assert_non_null(weft_tasklet_spawn(fn, (void *)arg, &detached));
}

static void *send_three(void *first)
{
    for (int64_t i = 0; i < 3; i++) {
        int64_t item = (intptr_t)first + i;
        if (weft_channel_send(channel, &item, WEFT_FOREVER) == 0)
            note_item("s", item);
        else
            note(errno == EPIPE ? "broken " : "failed ");
    }
    return NULL;
}

static void *receive_three(void *arg)
{
    int64_t item;
    for (int i = 0; i < 3; i++)
        if (weft_channel_receive(channel, &item, WEFT_FOREVER) == 0)
            note_item("r", item);
        else
            note(errno == EPIPE ? "closed " : errno == EIO ? "EIO " : "failed ");
    return arg;
}

static void *send_and_close(void *n)
{
    for (int64_t i = 0; i < (intptr_t)n; i++)
        weft_channel_send(channel, &i, WEFT_FOREVER);
    weft_channel_close(channel);
    return NULL;
}

static int64_t total;
static int last_next;

static void *add_until_closed(void *arg)
{
    int64_t item;
    int r;
    while ((r = weft_channel_next(channel, &item, WEFT_FOREVER)) == 1)
        total += item;
    last_next = r;
    return arg;
}

// ---- Sizes ----

struct big {
    int64_t number;
    char text[100];
};

static size_t item_size;

static void *send_bytes(void *arg)
{
    unsigned char item[200];
    for (int i = 0; i < 20; i++) {
        memset(item, i + 1, sizeof item);
        weft_channel_send(channel, item, WEFT_FOREVER);
    }
    weft_channel_close(channel);
    return arg;
}

CASE(test_items_of_every_size)
{
    static const size_t sizes[] = {0, 1, 2, 3, 4, 7, 8, 9, 16, 64, 200};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++)
        for (size_t capacity = 0; capacity < 4; capacity++) {
            unsigned char item[201];
            int n = 0;
            item_size = sizes[k];
            channel = weft_channel_create(item_size, capacity);
            go(send_bytes, 0);
            memset(item, 0xee, sizeof item);
            while (weft_channel_next(channel, item, WEFT_FOREVER) == 1) {
                n++;
                for (size_t i = 0; i < item_size; i++)
                    assert_int_equal(item[i], n);
                assert_int_equal(item[item_size], 0xee);
            }
            assert_int_equal(n, 20);
            end();
        }
}

CASE(test_create_checks_sizes)
{
    assert_errno(weft_channel_create(SIZE_MAX / 2, 3), EINVAL);
    assert_errno(weft_channel_create(1, SIZE_MAX), EINVAL);
    if (!RUNNER_SANITIZED) // whose malloc ends the process instead
        assert_errno(weft_channel_create(SIZE_MAX / 4, 1), ENOMEM);
    assert_int_equal(weft_channel_destroy(NULL), 0);
}

CASE(test_misuse_is_an_error)
{
    int64_t item = 0;
    begin(1);
    assert_errno(weft_channel_send(NULL, &item, WEFT_NOW), EINVAL);
    assert_errno(weft_channel_send(channel, NULL, WEFT_NOW), EINVAL);
    assert_errno(weft_channel_receive(NULL, &item, WEFT_NOW), EINVAL);
    assert_errno(weft_channel_receive(channel, NULL, WEFT_NOW), EINVAL);
    assert_int_equal(weft_channel_next(NULL, &item, WEFT_NOW), -1);
    assert_int_equal(errno, EINVAL);
    assert_errno(weft_channel_send_error(channel, 0, WEFT_NOW), EINVAL);
    assert_errno(weft_channel_send_error(channel, -1, WEFT_NOW), EINVAL);
    assert_errno(weft_channel_send_error(NULL, 1, WEFT_NOW), EINVAL);
    assert_errno(weft_channel_close(NULL), EINVAL);
    assert_int_equal(weft_channel_balance(NULL), 0);
    end();
}

// ---- Hand-off ----

CASE(test_unbuffered_sender_first)
{
    begin(0);
    go(send_three, 1);
    go(receive_three, 0);
    end();
    assert_string_equal(trace, "r1 s1 s2 r2 r3 s3 ");
}

CASE(test_unbuffered_receiver_first)
{
    begin(0);
    go(receive_three, 0);
    go(send_three, 1);
    end();
    assert_string_equal(trace, "s1 r1 r2 s2 s3 r3 ");
}

CASE(test_unbuffered_send_has_no_room)
{
    int64_t item = 1;
    begin(0);
    assert_errno(weft_channel_send(channel, &item, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_channel_receive(channel, &item, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_channel_balance(channel), 0);
    end();
}

CASE(test_success_leaves_errno_alone)
{
    int64_t item = 1;
    begin(1);
    errno = 77;
    assert_int_equal(weft_channel_send(channel, &item, WEFT_FOREVER), 0);
    assert_int_equal(weft_channel_receive(channel, &item, WEFT_FOREVER), 0);
    assert_int_equal(weft_channel_close(channel), 0);
    assert_int_equal(weft_channel_next(channel, &item, WEFT_FOREVER), 0);
    assert_int_equal(errno, 77);
    end();
}

CASE(test_main_hands_to_a_tasklet)
{
    begin(0);
    go(receive_three, 0);
    for (int64_t i = 1; i <= 3; i++)
        assert_int_equal(weft_channel_send(channel, &i, WEFT_FOREVER), 0);
    end();
    assert_string_equal(trace, "r1 r2 r3 ");
}

static void *receive_one(void *name)
{
    int64_t item;
    if (weft_channel_receive(channel, &item, WEFT_FOREVER) == 0)
        note_item((const char *)name, item);
    return NULL;
}

static void *send_one(void *item)
{
    int64_t i = (intptr_t)item;
    weft_channel_send(channel, &i, WEFT_FOREVER);
    return NULL;
}

CASE(test_waiters_are_served_in_order)
{
    begin(0);
    go(receive_one, (intptr_t) "a");
    go(receive_one, (intptr_t) "b");
    go(receive_one, (intptr_t) "c");
    for (intptr_t i = 1; i <= 3; i++)
        go(send_one, i);
    weft_tasklet_run();
    assert_string_equal(trace, "a1 b2 c3 ");
    trace[0] = 0;
    for (intptr_t i = 4; i <= 6; i++)
        go(send_one, i);
    go(receive_three, 0);
    end();
    assert_string_equal(trace, "r4 r5 r6 ");
}

CASE(test_balance_counts_who_waits)
{
    begin(0);
    go(send_one, 1);
    go(send_one, 2);
    weft_tasklet_yield();
    assert_int_equal(weft_channel_balance(channel), 2);
    go(receive_three, 0);
    weft_tasklet_yield();
    assert_int_equal(weft_channel_balance(channel), -1);
    go(send_one, 3);
    end();
    begin(5);
    send_three((void *)1);
    assert_int_equal(weft_channel_balance(channel), 3);
    end();
}

// ---- The buffer ----

CASE(test_buffer_keeps_order)
{
    begin(2);
    go(send_three, 1); // the third waits
    weft_tasklet_yield();
    assert_string_equal(trace, "s1 s2 ");
    assert_int_equal(weft_channel_balance(channel), 3);
    go(receive_three, 0);
    end();
    assert_string_equal(trace, "s1 s2 r1 r2 r3 s3 ");
}

CASE(test_buffer_wraps)
{
    for (size_t capacity = 1; capacity <= 7; capacity++) {
        begin(capacity);
        total = 0;
        go(send_and_close, 1000);
        go(add_until_closed, 0);
        end();
        assert_int_equal(total, 999 * 1000 / 2);
        assert_int_equal(last_next, 0);
    }
}

CASE(test_many_senders_many_receivers)
{
    begin(0);
    total = 0;
    for (intptr_t i = 0; i < 10; i++)
        go(send_three, i);
    for (int i = 0; i < 7; i++)
        go(add_until_closed, 0);
    weft_tasklet_yield();
    while (total != 3 * 45 + 3 * 10)
        weft_tasklet_yield();
    weft_channel_close(channel);
    end();
    assert_int_equal(total, 3 * 45 + 3 * 10);
}

// ---- Deadlines ----

CASE(test_deadline_takes_the_waiter_out)
{
    int64_t item = 9;
    begin(0);
    assert_errno(weft_channel_receive(channel, &item, weft_in_ms(1)), ETIMEDOUT);
    assert_errno(weft_channel_send(channel, &item, weft_in_ms(1)), ETIMEDOUT);
    assert_errno(weft_channel_send_error(channel, EIO, weft_in_ms(1)), ETIMEDOUT);
    assert_int_equal(weft_channel_next(channel, &item, weft_in_ms(1)), -1);
    assert_int_equal(errno, ETIMEDOUT);
    assert_int_equal(weft_channel_balance(channel), 0);
    // The next pair meets nobody else.
    go(send_three, 1);
    go(receive_three, 0);
    end();
    assert_string_equal(trace, "r1 s1 s2 r2 r3 s3 ");
}

CASE(test_deadline_not_reached)
{
    int64_t item = 0;
    begin(0);
    go(send_one, 5);
    assert_int_equal(weft_channel_receive(channel, &item, weft_in_s(500)), 0);
    assert_int_equal(item, 5);
    go(receive_one, (intptr_t) "r");
    item = 6;
    assert_int_equal(weft_channel_send(channel, &item, weft_in_s(500)), 0);
    end();
    assert_string_equal(trace, "r6 ");
}

static void *receive_briefly(void *arg)
{
    int64_t item = 0;
    if (weft_channel_receive(channel, &item, weft_in_ms(1)) == -1 && errno == ETIMEDOUT)
        note("late ");
    return arg;
}

CASE(test_deadline_in_the_middle_of_the_queue)
{
    begin(0);
    go(receive_one, (intptr_t) "a");
    go(receive_briefly, 0);
    go(receive_one, (intptr_t) "b");
    weft_tasklet_yield();
    assert_int_equal(weft_channel_balance(channel), -3);
    weft_tasklet_sleep(weft_in_ms(5));
    assert_int_equal(weft_channel_balance(channel), -2);
    go(send_one, 1);
    go(send_one, 2);
    end();
    assert_string_equal(trace, "late a1 b2 ");
}

// ---- Close ----

CASE(test_close_drains_then_ends)
{
    int64_t item = 0;
    begin(3);
    send_three((void *)1);
    assert_int_equal(weft_channel_close(channel), 0);
    assert_int_equal(weft_channel_close(channel), 0);
    assert_errno(weft_channel_send(channel, &item, WEFT_FOREVER), EPIPE);
    assert_errno(weft_channel_send_error(channel, EIO, WEFT_FOREVER), EPIPE);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(weft_channel_receive(channel, &item, WEFT_NOW), 0);
        assert_int_equal(item, i);
    }
    assert_errno(weft_channel_receive(channel, &item, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_channel_next(channel, &item, WEFT_FOREVER), 0);
    end();
}

CASE(test_close_ends_those_who_wait)
{
    begin(0);
    last_next = 77;
    go(receive_three, 0);
    go(add_until_closed, 0);
    weft_tasklet_yield();
    assert_int_equal(weft_channel_close(channel), 0);
    end();
    assert_string_equal(trace, "closed closed closed ");
    assert_int_equal(last_next, 0);
    begin(0);
    go(send_three, 1);
    weft_tasklet_yield();
    assert_int_equal(weft_channel_close(channel), 0);
    end();
    assert_string_equal(trace, "broken broken broken ");
}

CASE(test_destroy_refuses_while_someone_waits)
{
    begin(0);
    go(receive_one, (intptr_t) "a");
    weft_tasklet_yield();
    assert_errno(weft_channel_destroy(channel), EBUSY);
    weft_channel_close(channel);
    end();
    begin(0);
    go(send_one, 1);
    weft_tasklet_yield();
    assert_errno(weft_channel_destroy(channel), EBUSY);
    weft_channel_close(channel);
    end();
}

// ---- Errors ----

static void *send_eio(void *arg)
{
    if (weft_channel_send_error(channel, EIO, WEFT_FOREVER) == 0)
        note("sent ");
    return arg;
}

CASE(test_error_reaches_the_receiver)
{
    begin(0);
    go(receive_three, 0); // waits first
    go(send_eio, 0);
    go(send_one, 1);
    go(send_eio, 0);
    end();
    assert_string_equal(trace, "sent EIO r1 EIO sent ");
    begin(0);
    go(send_eio, 0); // the sender waits first
    go(send_one, 2);
    go(send_eio, 0);
    go(receive_three, 0);
    end();
    assert_string_equal(trace, "EIO r2 EIO sent sent ");
}

CASE(test_error_goes_through_the_buffer)
{
    int64_t item = 4;
    begin(3);
    assert_int_equal(weft_channel_send(channel, &item, WEFT_NOW), 0);
    assert_int_equal(weft_channel_send_error(channel, EIO, WEFT_NOW), 0);
    item = 5;
    assert_int_equal(weft_channel_send(channel, &item, WEFT_NOW), 0);
    go(receive_three, 0);
    end();
    assert_string_equal(trace, "r4 EIO r5 ");
}

CASE(test_error_sent_once_only)
{
    // A tasklet that sent an error sends items again.
    begin(0);
    go(receive_three, 0);
    weft_tasklet_yield();
    assert_int_equal(weft_channel_send_error(channel, EIO, WEFT_FOREVER), 0);
    for (int64_t i = 1; i <= 2; i++)
        assert_int_equal(weft_channel_send(channel, &i, WEFT_FOREVER), 0);
    end();
    assert_string_equal(trace, "EIO r1 r2 ");
}

// Also one that is the channel's own, when that is closed meanwhile.
CASE(test_next_reports_an_error_that_was_sent)
{
    const int errors[] = {EIO, EPIPE};
    int64_t item;
    for (int error : errors)
        for (int closed = 0; closed < 2; closed++) {
            begin(1);
            assert_int_equal(weft_channel_send_error(channel, error, WEFT_NOW), 0);
            if (closed)
                assert_int_equal(weft_channel_close(channel), 0);
            assert_errno(weft_channel_next(channel, &item, WEFT_NOW), error);
            if (closed)
                assert_int_equal(weft_channel_next(channel, &item, WEFT_NOW), 0);
            end();
        }
}

// ---- Two messages for two switches ----

CASE(test_block_trap_is_a_deadline_of_now)
{
    int64_t item = 1;
    begin(0);
    go(send_three, 1);
    go(send_three, 4);
    // Nothing below lets another tasklet run.
    assert_errno(weft_channel_receive(channel, &item, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_channel_send(channel, &item, WEFT_NOW), ETIMEDOUT);
    assert_string_equal(trace, "");
    total = 0;
    go(add_until_closed, 0);
    while (total != 1 + 2 + 3 + 4 + 5 + 6)
        weft_tasklet_yield();
    weft_channel_close(channel);
    end();
}

RUN_CASES()
