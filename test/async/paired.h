// paired.h: tests of what runs in weft_io_run with two connected ends, p: [0] to read, [1] to
// write.
#ifndef WEFT_TEST_PAIRED_H
#define WEFT_TEST_PAIRED_H

#include "inside.h"

static int p[2];
static char text[64];

// Who closes one in the test calls this.
static inline void close_end(int i)
{
    assert_int_equal(weft_io_close(p[i]), 0);
    p[i] = -1;
}

static inline void with_pair(int of_kind, void (*fn)(void))
{
    static int kind;
    static void (*body)(void);
    kind = of_kind;
    body = fn;
    inside([] {
        make_pair(kind, p);
        body();
        close_pair(p);
    });
}

#define CASE_WITH(with, fn, kind)                                                                  \
    static void fn##_body(void);                                                                   \
    CASE(fn)                                                                                       \
    {                                                                                              \
        with(kind, fn##_body);                                                                     \
    }                                                                                              \
    static void fn##_body(void)

#define PAIR_CASE(fn, kind) CASE_WITH(with_pair, fn, kind)

#define EACH_PAIR_CASE(fn)                                                                         \
    static void fn##_body(void);                                                                   \
    CASE(fn##_unix)                                                                                \
    {                                                                                              \
        with_pair(UNIX_PAIR, fn##_body);                                                           \
    }                                                                                              \
    CASE(fn##_tcp)                                                                                 \
    {                                                                                              \
        with_pair(TCP_PAIR, fn##_body);                                                            \
    }                                                                                              \
    CASE(fn##_pipe)                                                                                \
    {                                                                                              \
        with_pair(PIPE_PAIR, fn##_body);                                                           \
    }                                                                                              \
    static void fn##_body(void)

// ---- Calls by another tasklet ----

// One call: result is -2 until it returns.
typedef struct transfer {
    ssize_t (*call)(struct transfer *t);
    int fd;
    char *data;
    size_t n;
    ssize_t result;
    int error;
    weft_tasklet *tasklet;
} transfer;

static inline ssize_t reading(transfer *t)
{
    return weft_io_read(t->fd, t->data, t->n, WEFT_FOREVER);
}

static inline ssize_t reading_all(transfer *t)
{
    return weft_io_read_all(t->fd, t->data, t->n, WEFT_FOREVER);
}

static inline ssize_t writing(transfer *t)
{
    return weft_io_write(t->fd, t->data, t->n, WEFT_FOREVER);
}

static inline ssize_t waiting(transfer *t)
{
    return weft_io_wait(t->fd, WEFT_READ, WEFT_FOREVER);
}

// Begins it, as far as it goes without waiting.
static inline void begin(transfer *t, ssize_t (*call)(transfer *), int fd, char *data, size_t n)
{
    *t = {call, fd, data, n, -2, 0, nullptr};
    t->tasklet = spawn(
        [](void *arg) -> void * {
            transfer *mine = (transfer *)arg;
            mine->result = mine->call(mine);
            mine->error = errno;
            return nullptr;
        },
        t, true);
    weft_tasklet_yield();
}

static inline void begin_reading(transfer *t)
{
    begin(t, reading, p[0], text, sizeof text);
    assert_int_equal(t->result, -2);
}

// Waits for its end.
static inline ssize_t result_of(transfer *t)
{
    join(t->tasklet);
    return t->result;
}

static inline void is_cancelled(transfer *t)
{
    assert_int_equal(result_of(t), -1);
    assert_int_equal(t->error, ECANCELED);
}

// ---- Short calls ----

static inline void put(const char *bytes)
{
    ssize_t n = (ssize_t)strlen(bytes);
    assert_int_equal(weft_io_write(p[1], bytes, (size_t)n, WEFT_FOREVER), n);
}

static inline ssize_t get(void *to, size_t n, weft_deadline d = WEFT_FOREVER)
{
    return weft_io_read(p[0], to, n, d);
}

// `get` gets these, of at most as many bytes as text has.
static inline void gets(const char *bytes)
{
    ssize_t n = (ssize_t)strlen(bytes);
    assert_int_equal(get(text, sizeof text), n);
    assert_memory_equal(text, bytes, n);
}

#endif
