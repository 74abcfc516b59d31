// coroutines.h: what the tests of coroutines and generators share.
#ifndef WEFT_TEST_CORO_COROUTINES_H
#define WEFT_TEST_CORO_COROUTINES_H

#include <weft/coro.h>

#include "trace.h"

#include <pthread.h>

[[maybe_unused]] static weft_coro *a, *b, *c;

static inline weft_coro *create(void *(*fn)(void *arg, void *first), void *arg = NULL)
{
    weft_coro *co = weft_coro_create(fn, arg, NULL);
    assert_non_null(co);
    return co;
}

static inline void destroy(weft_coro *co)
{
    assert_int_equal(weft_coro_destroy(co), 0);
}

static inline void *echo(void *, void *v)
{
    while (v != WEFT_FAILED)
        v = weft_coro_yield(v);
    return V(errno);
}

static inline void *give_back(void *, void *v)
{
    return v;
}

static inline void *switch_to_main(void *, void *v)
{
    return weft_coro_switch(weft_coro_main(), v);
}

static inline void *resume_b(void *, void *v)
{
    return weft_coro_resume(b, v);
}

static inline void *run_in_thread(void *(*fn)(void *), void *arg)
{
    pthread_t t;
    void *result = NULL;
    assert_int_equal(pthread_create(&t, NULL, fn, arg), 0);
    assert_int_equal(pthread_join(t, &result), 0);
    return result;
}

#endif
