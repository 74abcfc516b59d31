// process_children.h: what children of weft_process_start run, and what they share with their test.
#ifndef WEFT_TEST_PROCESS_CHILDREN_H
#define WEFT_TEST_PROCESS_CHILDREN_H

#include "processes.h"

#include <weft/process.h>
#include <weft/thread.h>

#include <sched.h>
#include <sys/mman.h>

static inline int return_arg(void *arg)
{
    return *(int *)arg;
}

static inline int wait_for_signal(void *)
{
    for (;;)
        pause();
}

// What a test and its children share.
static struct shared {
    int ready; // how many have come so far
    pid_t pid, other;
    char name[16];
    int flags[4];
} * shared;

static inline int share(void **)
{
    shared = (struct shared *)mmap(nullptr, sizeof *shared, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return shared == MAP_FAILED ? -1 : 0;
}

static inline void fresh(void)
{
    memset(shared, 0, sizeof *shared);
}

static inline void await_ready(int n)
{
    while (__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE) < n)
        sched_yield();
}

static inline void say_ready(void)
{
    __atomic_fetch_add(&shared->ready, 1, __ATOMIC_RELEASE);
}

static inline void end(weft_process *p)
{
    assert_int_equal(weft_process_kill(p), 0);
    assert_int_equal(weft_process_join(p, nullptr, WEFT_FOREVER), 0);
    assert_int_equal(weft_process_destroy(p), 0);
}

#endif
