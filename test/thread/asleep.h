// asleep.h: wait until a thread sleeps in the kernel, as a condition to wait on.
#ifndef WEFT_TEST_ASLEEP_H
#define WEFT_TEST_ASLEEP_H

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// Whether /proc says that thread `tid` of this process sleeps; also when it is gone.
static inline bool is_asleep(pid_t tid)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
    FILE *f = fopen(path, "r");
    if (f == nullptr)
        return true;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    const char *end = strrchr(text, ')'); // the name may hold anything
    return end != nullptr && end[1] == ' ' && end[2] == 'S';
}

static inline void await_asleep(pid_t tid)
{
    while (!is_asleep(tid))
        sched_yield();
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

#endif
