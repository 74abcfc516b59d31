// Channels: hand-off, buffer, order, deadlines, close, errors, balance.
#include "tasklets.h"

static void end(const char *expected = "")
{
    run_all(expected);
    close_channel();
}

// Closes it, too.
static void end_closed(void)
{
    assert_int_equal(weft_channel_close(channel), 0);
    end();
}

static void note_item(int r, const char *who, int64_t item)
{
    char text[32];
    snprintf(text, sizeof text, "%s%d", who, (int)item);
    note_result(r, text);
}

static void *send_three(void *first)
{
    for (int64_t i = 0; i < 3; i++)
        note_item(send((intptr_t)first + i), "s", (intptr_t)first + i);
    return NULL;
}

static void *receive_three(void *arg)
{
    for (int i = 0; i < 3; i++) {
        int64_t item = 0;
        int r = receive(&item);
        note_item(r, "r", item);
    }
    return arg;
}

static void *receive_one(void *name)
{
    int64_t item = 0;
    if (receive(&item) == 0)
        note_item(0, (const char *)name, item);
    return NULL;
}

static void *send_one(void *item)
{
    send((intptr_t)item);
    return NULL;
}

static int64_t total;

static void *add_until_closed(void *arg)
{
    int64_t item;
    int r;
    while ((r = weft_channel_next(channel, &item, WEFT_FOREVER)) == 1)
        total += item;
    if (r != 0)
        note("not closed");
    return arg;
}

// ---- Sizes ----

CASE(test_items_of_every_size)
{
    static const size_t sizes[] = {0, 1, 2, 3, 4, 7, 8, 9, 16, 64, 200};
    for (size_t size : sizes)
        for (size_t capacity = 0; capacity < 4; capacity++) {
            unsigned char item[201];
            int n = 0;
            open_channel(capacity, size);
            spawn_detached([](void *arg) {
                unsigned char each[200];
                for (int i = 0; i < 20; i++) {
                    memset(each, i + 1, sizeof each);
                    weft_channel_send(channel, each, WEFT_FOREVER);
                }
                weft_channel_close(channel);
                return arg;
            });
            memset(item, 0xee, sizeof item);
            while (weft_channel_next(channel, item, WEFT_FOREVER) == 1) {
                n++;
                for (size_t i = 0; i < size; i++)
                    assert_int_equal(item[i], n);
                assert_int_equal(item[size], 0xee);
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
    open_channel(1);
    assert_errno(weft_channel_send(NULL, &item, WEFT_NOW), EINVAL);
    assert_errno(weft_channel_send(channel, NULL, WEFT_NOW), EINVAL);
    assert_errno(weft_channel_receive(NULL, &item, WEFT_NOW), EINVAL);
    assert_errno(weft_channel_receive(channel, NULL, WEFT_NOW), EINVAL);
    assert_errno(weft_channel_next(NULL, &item, WEFT_NOW), EINVAL);
    assert_errno(weft_channel_send_error(channel, 0, WEFT_NOW), EINVAL);
    assert_errno(weft_channel_send_error(channel, -1, WEFT_NOW), EINVAL);
    assert_errno(weft_channel_send_error(NULL, 1, WEFT_NOW), EINVAL);
    assert_errno(weft_channel_close(NULL), EINVAL);
    assert_int_equal(weft_channel_balance(NULL), 0);
    close_channel();
}

// ---- Hand-off ----

CASE(test_unbuffered_sender_first)
{
    open_channel(0);
    spawn_detached(send_three, V(1));
    spawn_detached(receive_three);
    end("r1 s1 s2 r2 r3 s3 ");
}

CASE(test_unbuffered_receiver_first)
{
    open_channel(0);
    spawn_detached(receive_three);
    spawn_detached(send_three, V(1));
    end("s1 r1 r2 s2 s3 r3 ");
}

CASE(test_unbuffered_send_has_no_room)
{
    int64_t item;
    open_channel(0);
    assert_errno(send(1, WEFT_NOW), ETIMEDOUT);
    assert_errno(receive(&item, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(weft_channel_balance(channel), 0);
    close_channel();
}

CASE(test_success_leaves_errno_alone)
{
    int64_t item;
    open_channel(1);
    errno = 77;
    assert_int_equal(send(1), 0);
    assert_int_equal(receive(&item), 0);
    assert_int_equal(weft_channel_close(channel), 0);
    assert_int_equal(weft_channel_next(channel, &item, WEFT_FOREVER), 0);
    assert_int_equal(errno, 77);
    close_channel();
}

CASE(test_main_hands_to_a_tasklet)
{
    open_channel(0);
    spawn_detached(receive_three);
    for (int64_t i = 1; i <= 3; i++)
        assert_int_equal(send(i), 0);
    end("r1 r2 r3 ");
}

CASE(test_waiters_are_served_in_order)
{
    open_channel(0);
    spawn_detached(receive_one, "a");
    spawn_detached(receive_one, "b");
    spawn_detached(receive_one, "c");
    for (intptr_t i = 1; i <= 3; i++)
        spawn_detached(send_one, V(i));
    run_all("a1 b2 c3 ");
    for (intptr_t i = 4; i <= 6; i++)
        spawn_detached(send_one, V(i));
    spawn_detached(receive_three);
    end("r4 r5 r6 ");
}

CASE(test_balance_counts_who_waits)
{
    open_channel(0);
    spawn_detached(send_one, V(1));
    spawn_detached(send_one, V(2));
    weft_tasklet_yield();
    assert_int_equal(weft_channel_balance(channel), 2);
    spawn_detached(receive_three);
    weft_tasklet_yield();
    assert_int_equal(weft_channel_balance(channel), -1);
    spawn_detached(send_one, V(3));
    end("r1 r2 r3 ");
    open_channel(5);
    send_three(V(1));
    assert_int_equal(weft_channel_balance(channel), 3);
    end("s1 s2 s3 ");
}

// Nothing with a deadline of now lets another tasklet run.
CASE(test_block_trap_is_a_deadline_of_now)
{
    int64_t item;
    open_channel(0);
    spawn_detached(send_three, V(1));
    assert_errno(receive(&item, WEFT_NOW), ETIMEDOUT);
    assert_errno(send(1, WEFT_NOW), ETIMEDOUT);
    assert_noted("");
    spawn_detached(receive_three);
    end("r1 s1 s2 r2 r3 s3 ");
}

// ---- The buffer ----

CASE(test_buffer_keeps_order)
{
    open_channel(2);
    spawn_detached(send_three, V(1)); // the third waits
    weft_tasklet_yield();
    assert_noted("s1 s2 ");
    assert_int_equal(weft_channel_balance(channel), 3);
    spawn_detached(receive_three);
    end("r1 r2 r3 s3 ");
}

CASE(test_buffer_wraps)
{
    for (size_t capacity = 1; capacity <= 7; capacity++) {
        open_channel(capacity);
        total = 0;
        spawn_detached([](void *arg) {
            for (int64_t i = 0; i < 1000; i++)
                send(i);
            weft_channel_close(channel);
            return arg;
        });
        spawn_detached(add_until_closed);
        end();
        assert_int_equal(total, 999 * 1000 / 2);
    }
}

CASE(test_many_senders_many_receivers)
{
    open_channel(0);
    total = 0;
    for (intptr_t i = 0; i < 30; i++)
        spawn_detached(send_one, V(i));
    for (int i = 0; i < 7; i++)
        spawn_detached(add_until_closed);
    while (total != 29 * 30 / 2)
        weft_tasklet_yield();
    end_closed();
    assert_int_equal(total, 29 * 30 / 2);
}

// ---- Deadlines ----

CASE(test_deadline_takes_the_waiter_out)
{
    int64_t item;
    open_channel(0);
    assert_errno(receive(&item, weft_in_ms(1)), ETIMEDOUT);
    assert_errno(send(9, weft_in_ms(1)), ETIMEDOUT);
    assert_errno(weft_channel_send_error(channel, EIO, weft_in_ms(1)), ETIMEDOUT);
    assert_errno(weft_channel_next(channel, &item, weft_in_ms(1)), ETIMEDOUT);
    assert_int_equal(weft_channel_balance(channel), 0);
    // The next pair meets nobody else.
    spawn_detached(send_three, V(1));
    spawn_detached(receive_three);
    end("r1 s1 s2 r2 r3 s3 ");
}

CASE(test_deadline_not_reached)
{
    int64_t item = 0;
    open_channel(0);
    spawn_detached(send_one, V(5));
    assert_int_equal(receive(&item, weft_in_s(500)), 0);
    assert_int_equal(item, 5);
    spawn_detached(receive_one, "r");
    assert_int_equal(send(6, weft_in_s(500)), 0);
    end("r6 ");
}

CASE(test_deadline_in_the_middle_of_the_queue)
{
    open_channel(0);
    spawn_detached(receive_one, "a");
    spawn_detached([](void *arg) {
        int64_t item;
        note_result(receive(&item, weft_in_ms(1)), "received");
        return arg;
    });
    spawn_detached(receive_one, "b");
    weft_tasklet_yield();
    assert_int_equal(weft_channel_balance(channel), -3);
    weft_tasklet_sleep(weft_in_ms(5));
    assert_int_equal(weft_channel_balance(channel), -2);
    spawn_detached(send_one, V(1));
    spawn_detached(send_one, V(2));
    end("ETIMEDOUT a1 b2 ");
}

// ---- Close ----

CASE(test_close_drains_then_ends)
{
    int64_t item;
    open_channel(3);
    send_three(V(1));
    assert_int_equal(weft_channel_close(channel), 0);
    assert_int_equal(weft_channel_close(channel), 0);
    assert_errno(send(1), EPIPE);
    assert_errno(weft_channel_send_error(channel, EIO, WEFT_FOREVER), EPIPE);
    receive_three(NULL);
    assert_errno(receive(&item), EPIPE);
    assert_int_equal(weft_channel_next(channel, &item, WEFT_FOREVER), 0);
    end("s1 s2 s3 r1 r2 r3 ");
}

CASE(test_close_ends_those_who_wait)
{
    void *(*const who[])(void *) = {receive_three, send_three, add_until_closed};
    for (void *(*each)(void *) : who) {
        open_channel(0);
        spawn_detached(each);
        weft_tasklet_yield();
        assert_int_equal(weft_channel_close(channel), 0);
        end(each == add_until_closed ? "" : "EPIPE EPIPE EPIPE ");
    }
}

CASE(test_destroy_refuses_while_someone_waits)
{
    void *(*const who[])(void *) = {receive_one, send_one};
    for (void *(*each)(void *) : who) {
        open_channel(0);
        spawn_detached(each);
        weft_tasklet_yield();
        assert_errno(weft_channel_destroy(channel), EBUSY);
        end_closed();
    }
}

// ---- Errors ----

static void *send_eio(void *arg)
{
    note_result(weft_channel_send_error(channel, EIO, WEFT_FOREVER), "sent");
    return arg;
}

CASE(test_error_reaches_the_receiver)
{
    for (int sender_first = 0; sender_first < 2; sender_first++) {
        open_channel(0);
        if (!sender_first)
            spawn_detached(receive_three);
        spawn_detached(send_eio);
        spawn_detached(send_one, V(1));
        spawn_detached(send_eio);
        if (sender_first)
            spawn_detached(receive_three);
        end(sender_first ? "EIO r1 EIO sent sent " : "sent EIO r1 EIO sent ");
    }
}

CASE(test_error_goes_through_the_buffer)
{
    open_channel(3);
    assert_int_equal(send(4, WEFT_NOW), 0);
    assert_int_equal(weft_channel_send_error(channel, EIO, WEFT_NOW), 0);
    assert_int_equal(send(5, WEFT_NOW), 0);
    spawn_detached(receive_three);
    end("r4 EIO r5 ");
}

// A tasklet that sent an error sends items again.
CASE(test_error_sent_once_only)
{
    open_channel(0);
    spawn_detached(receive_three);
    weft_tasklet_yield();
    assert_int_equal(weft_channel_send_error(channel, EIO, WEFT_FOREVER), 0);
    for (int64_t i = 1; i <= 2; i++)
        assert_int_equal(send(i), 0);
    end("EIO r1 r2 ");
}

// Also one that is the channel's own, when that is closed meanwhile.
CASE(test_next_reports_an_error_that_was_sent)
{
    const int errors[] = {EIO, EPIPE};
    int64_t item;
    for (int error : errors)
        for (int closed = 0; closed < 2; closed++) {
            open_channel(1);
            assert_int_equal(weft_channel_send_error(channel, error, WEFT_NOW), 0);
            if (closed)
                assert_int_equal(weft_channel_close(channel), 0);
            assert_errno(weft_channel_next(channel, &item, WEFT_NOW), error);
            if (closed)
                assert_int_equal(weft_channel_next(channel, &item, WEFT_NOW), 0);
            close_channel();
        }
}

RUN_CASES()
