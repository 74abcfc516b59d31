// asleep.h: words to wait on.
#ifndef WEFT_TEST_ASLEEP_H
#define WEFT_TEST_ASLEEP_H

#include "../runner.h"

#include <sched.h>

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

#endif
