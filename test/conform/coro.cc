// What weft(7) says of deadlines, signals, errno and NULL, of the calls of libweft-coro.  A stop of
// the thread is not for its tasklets: they are cancelled.
#include <weft/channel.h>
#include <weft/tasklet.h>

#include "conform.h"

static int item;
static weft_tasklet *other;
static weft_channel *channel;
static weft_scope scope;

static void *sleep_for_long(void *arg)
{
    weft_tasklet_sleep(weft_in_s(1000)); // so the others are not in a deadlock
    return arg;
}

static void in_tasklet(void (*fn)(void))
{
    weft_tasklet_spawn(sleep_for_long, NULL, NULL);
    fn();
}

static void *call_later(void *fn)
{
    weft_tasklet_sleep(weft_in_ms(5));
    ((void (*)(void))fn)();
    return NULL;
}

static void later(void (*fn)(void))
{
    weft_tasklet_spawn(call_later, (void *)fn, NULL);
}

static void *suspend(void *arg)
{
    weft_tasklet_suspend(WEFT_FOREVER);
    return arg;
}

static void begin_other(void)
{
    it = other = weft_tasklet_spawn(suspend, NULL, NULL);
}

static void wake_other(void)
{
    weft_tasklet_wake(other);
}

static void begin_scope(void)
{
    weft_tasklet_options o = {};
    it = o.scope = &scope;
    weft_scope_open(&scope);
    other = weft_tasklet_spawn(suspend, NULL, &o);
}

static void begin_channel(void)
{
    it = channel = weft_channel_create(sizeof item, 0);
}

static void *send(void *arg)
{
    weft_channel_send(channel, &item, WEFT_FOREVER);
    return arg;
}

// What comes may be an error, and errno is the thread's.
static void *receive(void *arg)
{
    int saved = errno;
    weft_channel_receive(channel, &item, WEFT_FOREVER);
    errno = saved;
    return arg;
}

static void send_one(void)
{
    weft_tasklet_spawn(send, NULL, NULL);
    weft_tasklet_yield();
}

static void receive_one(void)
{
    weft_tasklet_spawn(receive, NULL, NULL);
    weft_tasklet_yield();
}

static void begin_select(void)
{
    static weft_select_case cases[1];
    begin_channel();
    cases[0].channel = channel;
    cases[0].item = &item;
    it = cases;
}

static const row ROWS[] = {
    ROW(weft_tasklet_sleep, (d), DO(), NULL, SLEEPS | NO_HANDLE | UNSTOPPED),
    ROW(weft_tasklet_join, (it, NULL, d), begin_other, wake_other, UNSTOPPED),
    ROW(weft_tasklet_suspend, (d), DO(other = weft_tasklet_self()), wake_other,
        NO_HANDLE | UNSTOPPED),
    ROW(weft_scope_join, (it, d), begin_scope, wake_other, UNSTOPPED),
    ROW(weft_channel_send, (it, &item, d), begin_channel, receive_one, UNSTOPPED),
    ROW(weft_channel_send_error, (it, EIO, d), begin_channel, receive_one, UNSTOPPED),
    ROW(weft_channel_receive, (it, &item, d), begin_channel, send_one, UNSTOPPED),
    ROW(weft_channel_next, (it, &item, d), begin_channel, send_one, UNSTOPPED),
    ROW(weft_select, (it, 1, d), begin_select, send_one, UNSTOPPED),
};
RUN_ROWS(ROWS, {in_tasklet, later})
