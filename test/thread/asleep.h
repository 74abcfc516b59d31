// asleep.h: threads, and words to wait on.
#ifndef WEFT_TEST_ASLEEP_H
#define WEFT_TEST_ASLEEP_H

#include "../runner.h"

#include <weft/thread.h>

#include <errno.h>
#include <sched.h>

// Joins it: what it returned.
static inline intptr_t joined(weft_thread *t, weft_deadline d = WEFT_FOREVER)
{
    void *result = nullptr;
    assert_non_null(t);
    assert_int_equal(weft_thread_join(t, &result, d), 0);
    return (intptr_t)result;
}

static inline void await_ended(weft_thread *t)
{
    while (weft_thread_id(t) > 0)
        sched_yield();
}

// What fn(arg) returns in a thread.
static inline intptr_t in_thread(void *(*fn)(void *), void *arg)
{
    return joined(weft_thread_start(fn, arg, nullptr));
}

// What a thread returns of a call: its result, or -errno.
static inline void *code_of(int code)
{
    return (void *)(intptr_t)(code >= 0 ? code : -errno);
}

// Waits until the word that a test and its threads share has (at least) this value.
static inline void await_word(const int *word, int value)
{
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) < value)
        sched_yield();
}

static inline void add_word(int *word)
{
    __atomic_fetch_add(word, 1, __ATOMIC_ACQ_REL);
}

// Waits until the thread that tells its number there is asleep.
static inline void await_told_asleep(const pid_t *tid)
{
    pid_t told;
    while ((told = __atomic_load_n(tid, __ATOMIC_ACQUIRE)) == 0)
        sched_yield();
    await_asleep(told);
}

// A task that adds one.
static inline void *count_one(void *word)
{
    add_word((int *)word);
    return NULL;
}

#endif
