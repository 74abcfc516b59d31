// tasklets.h: what the tests of tasklets and channels share.
#ifndef WEFT_TEST_CORO_TASKLETS_H
#define WEFT_TEST_CORO_TASKLETS_H

#include <weft/channel.h>
#include <weft/tasklet.h>

#include "trace.h"

#include <stdio.h>

static const weft_tasklet_options detached = {NULL, 0, NULL, true, false, false};

static inline weft_tasklet *spawn(void *(*fn)(void *), const void *arg = NULL)
{
    weft_tasklet *t = weft_tasklet_spawn(fn, (void *)(uintptr_t)arg, NULL);
    assert_non_null(t);
    return t;
}

static inline void spawn_detached(void *(*fn)(void *), const void *arg = NULL)
{
    assert_non_null(weft_tasklet_spawn(fn, (void *)(uintptr_t)arg, &detached));
}

// Runs all to their ends; what they noted.
static inline void run_all(const char *expected = "")
{
    assert_int_equal(weft_tasklet_run(), 0);
    assert_noted(expected);
}

static inline void *join(weft_tasklet *t)
{
    void *result = NULL;
    assert_int_equal(weft_tasklet_join(t, &result, WEFT_FOREVER), 0);
    return result;
}

static inline void *cancel_and_join(weft_tasklet *t)
{
    assert_int_equal(weft_tasklet_cancel(t), 0);
    return join(t);
}

static inline void *identity(void *arg)
{
    return arg;
}

static inline void *note_thrice(void *name)
{
    for (int i = 0; i < 3; i++) {
        note((const char *)name);
        if (weft_tasklet_yield() != 0)
            note("!");
    }
    return NULL;
}

// Waits for ever and notes why it stopped.
static inline void *suspend_for_ever(void *arg)
{
    int r = weft_tasklet_suspend(WEFT_FOREVER);
    note_result(r, "woken");
    return r == 0 ? arg : WEFT_FAILED;
}

// The channel of a test.
static weft_channel *channel;

static inline void open_channel(size_t capacity, size_t item_size = sizeof(int64_t))
{
    channel = weft_channel_create(item_size, capacity);
    assert_non_null(channel);
}

static inline void close_channel(void)
{
    assert_int_equal(weft_channel_destroy(channel), 0);
}

static inline int send(int64_t item, weft_deadline d = WEFT_FOREVER)
{
    return weft_channel_send(channel, &item, d);
}

static inline int receive(int64_t *item, weft_deadline d = WEFT_FOREVER)
{
    return weft_channel_receive(channel, item, d);
}

// ---- What is said on standard error ----

static FILE *moved;
static int old_stderr;

static inline void move_stderr(void)
{
    fflush(stderr);
    moved = tmpfile();
    assert_non_null(moved);
    old_stderr = dup(STDERR_FILENO);
    dup2(fileno(moved), STDERR_FILENO);
}

// And what was said meanwhile; good until the next time.
static inline const char *restore_stderr(void)
{
    static char text[4096];
    fflush(stderr);
    dup2(old_stderr, STDERR_FILENO);
    close(old_stderr);
    rewind(moved);
    text[fread(text, 1, sizeof text - 1, moved)] = 0;
    fclose(moved);
    return text;
}

#endif
