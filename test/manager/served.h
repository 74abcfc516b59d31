// served.h: one of weft's servers for each test, and a raw connection to it, `c`.
#ifndef WEFT_TEST_SERVED_H
#define WEFT_TEST_SERVED_H

#include "model.h"

#include <initializer_list>

static weft_manager *manager;
static const char *address;
static raw c;

static inline weft_deadline in_time(void)
{
    return weft_in_s(RAW_SECONDS);
}

static inline void start_at(const char *where, const weft_manager_options *with)
{
    if (manager != nullptr) { // a failed test has left it
        weft_manager_end(manager, in_time());
        weft_manager_destroy(manager);
    }
    manager = weft_manager_start(where, with);
    assert_non_null(manager);
    address = weft_manager_address(manager);
    raw_open(&c, address);
}

static inline void start(const weft_manager_options *with = nullptr)
{
    unlink(address_in_folder("weft") + 5);
    start_at(address_in_folder("weft"), with);
}

static inline void stop_server(void)
{
    raw_close(&c);
    assert_int_equal(weft_manager_end(manager, in_time()), 0);
    assert_int_equal(weft_manager_destroy(manager), 0);
    manager = nullptr;
}

static weft_manager_options o; // of a case's server

#define SERVER_CASE_WITH(fn, setting)                                                              \
    static void fn##_served(void);                                                                 \
    CASE(fn)                                                                                       \
    {                                                                                              \
        o = {};                                                                                    \
        setting;                                                                                   \
        start(&o);                                                                                 \
        fn##_served();                                                                             \
        stop_server();                                                                             \
    }                                                                                              \
    static void fn##_served(void)

#define SERVER_CASE(fn) SERVER_CASE_WITH(fn, )

static inline int begin_in_folder(void **)
{
    folder_make();
    return 0;
}

static inline int end_in_folder(void **)
{
    return folder_remove();
}

#define RUN_SERVER_CASES() RUN_CASES(begin_in_folder, end_in_folder)

// ---- Connections ----

static inline raw open_one(void)
{
    raw r;
    raw_open(&r, address);
    return r;
}

// The same reply to each of the lines.
static inline void all_say(raw *r, std::initializer_list<const char *> lines, const char *expected)
{
    for (const char *line : lines)
        says(r, line, expected);
}

// The lines in a transaction: what EXEC replies.
static inline void executes(raw *r, std::initializer_list<const char *> lines, const char *expected)
{
    says(r, "MULTI", "+OK\r\n");
    all_say(r, lines, "+QUEUED\r\n");
    says(r, "EXEC", expected);
}

// Asks what has to wait: then so many do.
static inline void blocks(raw *r, const char *line, int waiting = 1)
{
    raw_ask(r, line);
    assert_true(wait_blocked(&c, waiting));
}

static inline bool is_cut(raw *r)
{
    return raw_ended(r, in_time());
}

static inline bool wait_clients(raw *r, int n)
{
    for (weft_deadline d = in_time(); weft_left(d) > 0; usleep(500))
        if (field_number(ask(r, "INFO clients"), "connected_clients:") == n)
            return true;
    return false;
}

static inline long long memory_in_use(raw *r)
{
    return field_number(ask(r, "INFO memory"), "used_memory:");
}

// Until it uses less: what is large is given back in the background.
static inline bool wait_memory(raw *r, long long bytes)
{
    for (weft_deadline d = in_time(); weft_left(d) > 0; usleep(500))
        if (memory_in_use(r) < bytes)
            return true;
    return false;
}

// What it says to these bytes, which must be the last of the connection.
static inline void is_cut_after(const char *text, size_t n, const char *expected)
{
    raw r = open_one();
    raw_send(&r, text, n);
    if (!is_cut(&r)) {
        show(stderr, text, n, 100);
        fail_msg("is not cut");
    }
    size_t got = r.have - r.used;
    if (got != strlen(expected) || (got > 0 && memcmp(r.in, expected, got) != 0)) {
        show(stderr, text, n, 100);
        fputs(" gets ", stderr);
        show(stderr, r.in, got, 300);
        fail();
    }
    raw_close(&r);
}

// ---- Values ----

static inline char pattern_at(size_t i)
{
    return (char)(i ^ (i >> 8) * 31 ^ (i >> 16) * 7);
}

static inline void raw_set(raw *r, const char *command, const char *value, size_t n)
{
    char head[100];
    raw_send(r, head,
             (size_t)snprintf(head, sizeof head, "*3\r\n$%zu\r\n%s\r\n$3\r\nbig\r\n$%zu\r\n",
                              strlen(command), command, n));
    raw_send(r, value, n);
    raw_text(r, "\r\n");
}

static inline void round_trip(size_t n)
{
    char *value = (char *)malloc(n), head[32];
    for (size_t i = 0; i < n; i++)
        value[i] = pattern_at(i);
    raw_set(&c, "SET", value, n);
    assert_string_equal(reply(&c), "+OK\r\n");
    raw_ask(&c, "GET big");
    size_t size;
    const char *r = raw_next(&c, &size, in_time());
    size_t k = (size_t)snprintf(head, sizeof head, "$%zu\r\n", n);
    assert_non_null(r);
    assert_int_equal(size, n + k + 2);
    assert_memory_equal(r, head, k);
    assert_true(memcmp(r + k, value, n) == 0);
    free(value);
}

// The key "big" with so many bytes of nothing.
static inline void set_big(size_t n)
{
    char *value = (char *)calloc(1, n);
    raw_set(&c, "SET", value, n);
    assert_string_equal(reply(&c), "+OK\r\n");
    free(value);
}

#endif
