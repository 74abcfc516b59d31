// beside.h: weft's server and redis-server 7.0, its model, side by side.
//
// With BESIDE_SELF set a second redis-server stands for ours: what fails then is the test's fault.
#ifndef WEFT_TEST_BESIDE_H
#define WEFT_TEST_BESIDE_H

#include "model.h"

enum { OURS, REDIS, SIDES };

static redis model, stand_in;
static weft_manager *manager;
static const char *left_out; // why there is nothing to compare
static const char *address_of[SIDES];

#define needs_redis()                                                                              \
    do {                                                                                           \
        if (left_out != nullptr) {                                                                 \
            fprintf(stderr, "%s: left out, %s\n", runner_test, left_out);                          \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

// n connections of each of a file's sides[SIDES][n].
static inline void sides_open(raw *sides, int n)
{
    for (int i = 0; i < SIDES * n; i++)
        raw_open(&sides[i], address_of[i / n]);
}

static inline void sides_close(raw *sides, int n)
{
    for (int i = 0; i < SIDES * n; i++)
        raw_close(&sides[i]);
}

// A case that is left out without Redis, between open() and close_all() of its file.
#define BESIDE_CASE(fn, open)                                                                      \
    static void fn##_beside(void);                                                                 \
    CASE(fn)                                                                                       \
    {                                                                                              \
        needs_redis();                                                                             \
        open;                                                                                      \
        fn##_beside();                                                                             \
        close_all();                                                                               \
    }                                                                                              \
    static void fn##_beside(void)

// The same line to both: the same reply, which it returns.
static inline const char *both_say(raw *ours, raw *theirs, const char *line)
{
    const char *a = ask(ours, line), *b = ask(theirs, line);
    if (strcmp(a, b) != 0)
        fprintf(stderr, "to %s\n", line);
    assert_string_equal(a, b);
    return a;
}

static inline int beside_open_ours(const char *password)
{
    weft_manager_options o = {};
    o.password = password;
    if (folder[0] == 0)
        folder_make();
    manager = weft_manager_start(address_in_folder("weft"), &o);
    if (manager == nullptr)
        return -1;
    address_of[OURS] = weft_manager_address(manager);
    return 0;
}

static inline int beside_open(const char *password)
{
    folder_make();
    redis_start(&model, password);
    address_of[REDIS] = model.address;
    if (getenv("BESIDE_SELF") != nullptr) {
        redis_start(&stand_in, password);
        address_of[OURS] = stand_in.address;
        return 0;
    }
    return beside_open_ours(password);
}

static inline int beside_begin(void **)
{
    left_out = redis_missing();
    return left_out != nullptr ? 0 : beside_open(nullptr);
}

static inline int beside_end(void **)
{
    int stopped = 0;
    if (manager == nullptr && model.pid == 0)
        return 0;
    if (model.pid > 0)
        redis_stop(&model);
    if (stand_in.pid > 0)
        redis_stop(&stand_in);
    if (manager != nullptr) {
        stopped = weft_manager_end(manager, weft_in_s(RAW_SECONDS));
        weft_manager_destroy(manager);
    }
    manager = nullptr;
    return folder_remove() == 0 ? stopped : -1;
}

#endif
