// Tasklets: the poller.
#include "tasklets.h"

namespace {
struct test_poller {
    weft_poller poller;
    weft_tasklet *waiter;
    int polls, polls_now, refused;
};
} // namespace

static test_poller p;

static int poll_and_wake(weft_poller *, weft_deadline d)
{
    int64_t item;
    p.polls++;
    p.polls_now += d == WEFT_NOW;
    p.refused += weft_tasklet_yield() == -1 && errno == EPERM;
    p.refused += weft_tasklet_sleep(weft_in_ms(1)) == -1 && errno == EPERM;
    p.refused += receive(&item) == -1 && errno == EPERM;
    p.refused += weft_tasklet_run() == -1 && errno == EPERM;
    p.refused += weft_tasklet_self() == NULL && errno == EPERM;
    if (p.waiter == NULL)
        return 0;
    weft_tasklet_wake(p.waiter);
    p.waiter = NULL;
    return 1;
}

static int poll_fails(weft_poller *, weft_deadline)
{
    errno = EIO;
    return -1;
}

static int poll_counts(weft_poller *, weft_deadline d)
{
    p.polls_now += d == WEFT_NOW;
    return 1;
}

static void plug_in(int (*poll)(weft_poller *, weft_deadline), int64_t interval_ns)
{
    p = {{poll, interval_ns}, NULL, 0, 0, 0};
    assert_int_equal(weft_tasklet_set_poller(&p.poller), 0);
}

static void take_out(void)
{
    assert_int_equal(weft_tasklet_set_poller(NULL), 0);
}

CASE(test_poller_wakes)
{
    weft_poller other = {poll_fails, 0}, empty = {NULL, 0};
    open_channel(0);
    plug_in(poll_and_wake, 0);
    assert_int_equal(weft_tasklet_set_poller(&p.poller), 0);
    assert_errno(weft_tasklet_set_poller(&other), EBUSY);
    assert_errno(weft_tasklet_set_poller(&empty), EINVAL);
    join(p.waiter = spawn(suspend_for_ever));
    assert_noted("woken ");
    assert_int_equal(p.polls, 1);
    assert_int_equal(p.refused, 5);
    // Nothing to wait for outside: timers still work, and a deadlock is found.
    assert_int_equal(weft_tasklet_sleep(weft_in_ms(1)), 0);
    move_stderr();
    int r = weft_tasklet_suspend(WEFT_FOREVER), error = errno;
    restore_stderr();
    assert_int_equal(r, -1);
    assert_int_equal(error, EDEADLK);
    take_out();
    close_channel();
}

CASE(test_poller_has_turns_under_load)
{
    open_channel(0);
    plug_in(poll_and_wake, 1000);
    weft_tasklet *t = p.waiter = spawn(suspend_for_ever);
    for (int i = 0; i < 2; i++)
        spawn_detached([](void *arg) {
            while (p.waiter != NULL && weft_tasklet_yield() == 0)
                ;
            return arg;
        });
    run_all("woken ");
    assert_true(p.polls_now > 0);
    join(t);
    take_out();
    close_channel();
}

static void *yield_until_polled(void *arg)
{
    while (p.polls_now < 1000 && weft_tasklet_yield() == 0)
        ;
    return arg;
}

CASE(test_poller_always_due)
{
    plug_in(poll_counts, 1);
    for (int i = 0; i < 3; i++)
        spawn_detached(yield_until_polled);
    run_all();
    p.polls_now = 0;
    yield_until_polled(NULL); // alone
    assert_int_equal(p.polls_now, 1000);
    take_out();
}

CASE(test_poller_failure_reaches_main)
{
    plug_in(poll_fails, 0);
    assert_errno(weft_tasklet_sleep(weft_in_s(500)), EIO);
    take_out();
}

RUN_CASES()
