// inside.h: a server in the test's own process, which the test runs round by round.
#ifndef WEFT_TEST_INSIDE_H
#define WEFT_TEST_INSIDE_H

#include "../runner.h"

#include <manager/server/server.h>

static struct weft::server inside;

static inline void inside_open(void)
{
    char where[64];
    snprintf(where, sizeof where, "unix:@weft-inside-%d", (int)getpid());
    if (weft::server_open(&inside, where, NULL) != 0)
        fail_msg("server_open: %s", strerror(errno));
}

static inline void inside_close(void)
{
    weft::server_close(&inside);
    assert_int_equal(weft::bytes_in_use, 0);
}

// One round of the loop, which is to have something to do.
static inline void inside_round(void)
{
    assert_int_equal(weft_loop_run(inside.loop, WEFT_LOOP_ONCE, WEFT_FOREVER), 1);
}

static inline weft::word inside_key(int i)
{
    static char text[32];
    return {text, (size_t)snprintf(text, sizeof text, "key:%d", i)};
}

// Where key i of database 0 is, whether it has expired or not.
static inline weft::entry **inside_find(int i)
{
    weft::word key = inside_key(i);
    return weft::table_find(&inside.keys[0], key.text, key.size, weft::hash_of(key.text, key.size));
}

static inline weft::entry **inside_set(int i)
{
    weft::word key = inside_key(i);
    weft::key_set(&inside, 0, &key, "value", 5, false);
    return inside_find(i);
}

#endif
